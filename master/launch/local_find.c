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
#include "common/process.h"

/* The n-th string, NULL when there are not so many. */
static const char *nth(const struct mf_buffer *strings, unsigned n)
{
    const char *at = (const char *)strings->data, *end = at + strings->length;
    for (; at < end; at += strlen(at) + 1)
        if (n-- == 0)
            return at;
    return NULL;
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
    char *variable = mf_format("MAYFLY_RUN=%s", run_id);
    bool is_it =
        variable != NULL && stands_in_its_folder(pid, run_id, worker) &&
        mf_process_read((pid_t)pid, "cmdline", &strings) == 0 && is_started(&strings, run_id) &&
        mf_process_read((pid_t)pid, "environ", &strings) == 0 && mf_process_has(&strings, variable);
    mf_buffer_fini(&strings);
    mf_free(variable);
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
