/* SPDX-License-Identifier: Apache-2.0 */
/* The program: see program.h. A run that is about to begin has the file open already or brings it
 * again. */
#include "worker/program.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_version(const char *name)
{
    return strspn(name, "0123456789abcdef") == 64 && name[64] == '\0';
}

/* Cuts <place>/bin/<sha256>/mayfly-worker at its last three slashes, which are in `slashes`. */
static bool is_ours(char *path, char *slashes[3])
{
    char runs[PATH_MAX + 8];
    for (int i = 0; i < 3; i++) {
        slashes[i] = strrchr(path, '/');
        if (slashes[i] == NULL || slashes[i] == path)
            return false;
        *slashes[i] = '\0';
    }
    snprintf(runs, sizeof runs, "%s/runs", path);
    return strcmp(slashes[2] + 1, "bin") == 0 && is_version(slashes[1] + 1) &&
           access(runs, F_OK) < 0 && errno == ENOENT;
}

bool program_remove(void)
{
    char path[PATH_MAX], *slashes[3];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0)
        return false;
    path[length] = '\0';
    if (!is_ours(path, slashes))
        return false;
    for (int i = 2; i >= 0; i--)
        *slashes[i] = '/';
    bool went = unlink(path) == 0;
    for (int i = 0; i < 3; i++) {
        *slashes[i] = '\0';
        if (rmdir(path) < 0)
            return went;
    }
    char *cache = strrchr(path, '/');
    if (cache == NULL)
        return went;
    *cache = '\0';
    const char *name = strrchr(path, '/');
    if (name != NULL && strcmp(name, "/.cache") == 0) /* an empty one was most likely made by us */
        rmdir(path);
    return went;
}
