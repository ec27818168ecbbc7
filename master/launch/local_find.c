/* SPDX-License-Identifier: Apache-2.0 */
/* Workers of an earlier master: see local_find.h. */
#include "master/launch/local_find.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/buffer.h"

/* A file of /proc that holds strings, each with its NUL, into `out`. */
static bool read_strings(uint32_t pid, const char *name, struct mf_buffer *out)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    mf_buffer_clear(out);
    while (n > 0 && mf_buffer_reserve(out, 4096, NULL) == 0) {
        n = read(fd, out->data + out->length, 4096);
        out->length += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    return n == 0 && out->length > 0 && out->data[out->length - 1] == '\0';
}

/* The n-th string, NULL when there are not so many. */
static const char *nth(const struct mf_buffer *strings, unsigned n)
{
    const char *at = (const char *)strings->data, *end = at + strings->length;
    for (; at < end; at += strlen(at) + 1)
        if (n-- == 0)
            return at;
    return NULL;
}

static bool has_environment(const struct mf_buffer *strings, const char *run_id)
{
    static const char name[] = "MAYFLY_RUN=";
    const char *at;
    for (unsigned i = 0; (at = nth(strings, i)) != NULL; i++)
        if (strncmp(at, name, sizeof name - 1) == 0)
            return strcmp(at + sizeof name - 1, run_id) == 0;
    return false;
}

static bool is_started(const struct mf_buffer *strings, const char *run_id)
{
    const char *command = nth(strings, 1), *run = nth(strings, 2);
    return command != NULL && run != NULL && strcmp(command, "start") == 0 &&
           strcmp(run, run_id) == 0;
}

static bool stands_in_its_folder(uint32_t pid, const char *run_id, uint32_t worker)
{
    char path[64], folder[PATH_MAX], end[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%u/cwd", pid);
    ssize_t length = readlink(path, folder, sizeof folder - 1);
    int size = snprintf(end, sizeof end, "/runs/%s/%u", run_id, worker);
    return size > 0 && length > (ssize_t)size &&
           memcmp(folder + length - size, end, (size_t)size) == 0;
}

bool local_is_worker(uint32_t pid, const char *run_id, uint32_t worker)
{
    struct mf_buffer strings = {0};
    bool is_it = stands_in_its_folder(pid, run_id, worker) &&
                 read_strings(pid, "cmdline", &strings) && is_started(&strings, run_id) &&
                 read_strings(pid, "environ", &strings) && has_environment(&strings, run_id);
    mf_buffer_fini(&strings);
    return is_it;
}

uint32_t local_find_worker(uint32_t pid, const char *run_id, uint32_t worker)
{
    if (pid != 0 && local_is_worker(pid, run_id, worker))
        return pid;
    DIR *all = opendir("/proc");
    if (all == NULL)
        return 0;
    uint32_t found = 0;
    const struct dirent *entry;
    while (found == 0 && (entry = readdir(all)) != NULL) {
        unsigned long number = strtoul(entry->d_name, NULL, 10);
        if (number > 0 && number <= INT32_MAX && local_is_worker((uint32_t)number, run_id, worker))
            found = (uint32_t)number;
    }
    closedir(all);
    return found;
}
