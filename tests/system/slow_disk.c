/* SPDX-License-Identifier: Apache-2.0 */
/* Loaded before the C library (LD_PRELOAD): while there is the file that MAYFLY_SLOW names, each
 * sync of run.db's log, a commit that is, takes as many milliseconds longer as the file says. The
 * worker is linked statically and does not notice. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char slow[] = "/run.db-wal";

static int sync_slowly(long call, int fd)
{
    char link[64], path[PATH_MAX];
    const char *name = getenv("MAYFLY_SLOW");
    FILE *file = name == NULL ? NULL : fopen(name, "re");
    char text[16] = "";
    if (file != NULL && fgets(text, sizeof text, file) == NULL)
        text[0] = '\0';
    if (file != NULL)
        fclose(file);
    long ms = strtol(text, NULL, 10);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = '\0';
    if (length >= (ssize_t)sizeof slow && strcmp(path + length - (sizeof slow - 1), slow) == 0)
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
    return (int)syscall(call, fd);
}

int fsync(int fd)
{
    return sync_slowly(SYS_fsync, fd);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's is reserved. */
int fdatasync(int fd)
{
    return sync_slowly(SYS_fdatasync, fd);
}
