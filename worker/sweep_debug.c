/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of mayfly debug: see sweep_debug.h. */
#include "worker/sweep_debug.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/process.h"

#define DEPTH_MAX 1000

pid_t sweep_parent_of(pid_t pid, struct mf_buffer *scratch)
{
    if (mf_process_read(pid, "stat", scratch) < 0)
        return 0;
    const char *after = strrchr((const char *)scratch->data, ')');
    return after == NULL || strlen(after) < 5 ? 0 : (pid_t)strtol(after + 4, NULL, 10);
}

static bool is_debug(pid_t pid, struct mf_buffer *scratch)
{
    if (mf_process_read(pid, "cmdline", scratch) < 0 || scratch->length == 0)
        return false;
    const char *name = (const char *)scratch->data, *slash = strrchr(name, '/');
    const char *word = name + strlen(name) + 1;
    return strcmp(slash == NULL ? name : slash + 1, "mayfly-worker") == 0 &&
           word < name + scratch->length && strcmp(word, "debug") == 0;
}

bool sweep_debug_lives(pid_t pid, struct mf_buffer *scratch)
{
    for (unsigned depth = 0; pid > 1 && depth < DEPTH_MAX; depth++) {
        if (is_debug(pid, scratch))
            return true;
        pid = sweep_parent_of(pid, scratch);
    }
    return false;
}

static bool begins_with(const char *text, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(text, folder, length) == 0 && (text[length] == '/' || text[length] == '\0');
}

bool sweep_debug_is_within(pid_t pid, const char *folder, struct mf_buffer *scratch)
{
    char path[64], cwd[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%d/cwd", (int)pid);
    ssize_t length = readlink(path, cwd, sizeof cwd - 1);
    cwd[length < 0 ? 0 : length] = '\0';
    if (begins_with(cwd, folder))
        return true;
    if (mf_process_read(pid, "environ", scratch) < 0 || scratch->length == 0)
        return false;
    const char *at = (const char *)scratch->data, *end = at + scratch->length;
    for (; at < end; at += strlen(at) + 1)
        if (strncmp(at, "TMPDIR=", 7) == 0)
            return begins_with(at + 7, folder);
    return false;
}
