/* SPDX-License-Identifier: Apache-2.0 */
/* Limits: see limits.h. */
#include "common/limits.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Raises the soft limit to `needed`, if it is lower. Returns what it is then. */
static uint64_t raise_to(int resource, uint64_t needed)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0)
        return UINT64_MAX; /* not known: not held against anybody */
    if (limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    if (limit.rlim_cur >= needed)
        return limit.rlim_cur;
    struct rlimit raised = limit;
    raised.rlim_cur =
        limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= needed ? needed : limit.rlim_max;
    return setrlimit(resource, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

int mf_limit_files(uint64_t needed, const char *what, struct mf_error *error)
{
    uint64_t found = raise_to(RLIMIT_NOFILE, needed);
    if (found >= needed)
        return 0;
    return mf_raise(error,
                    MF_ESETUP,
                    "%s up to %llu open files, and a process may have %llu here: raise the limit "
                    "(ulimit -Hn; nofile in /etc/security/limits.conf; LimitNOFILE= of a service)",
                    what,
                    (unsigned long long)needed,
                    (unsigned long long)found);
}

/* Threads of processes of this user, as far as they can be seen. */
static uint64_t count_own_threads(void)
{
    uint64_t count = 0;
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        char path[300];
        struct stat facts;
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        snprintf(path, sizeof path, "/proc/%s/task", entry->d_name);
        /* A folder has a link for itself, one for its name, and one for each folder in it. */
        if (stat(path, &facts) == 0 && facts.st_uid == getuid() && facts.st_nlink > 2)
            count += facts.st_nlink - 2;
    }
    if (proc != NULL)
        closedir(proc);
    return count;
}

int mf_limit_processes(uint64_t needed, const char *what, struct mf_error *error)
{
    if (getuid() == 0)
        return 0;
    uint64_t used = count_own_threads();
    uint64_t found = raise_to(RLIMIT_NPROC, used + needed);
    if (found >= used + needed)
        return 0;
    return mf_raise(error,
                    MF_ESETUP,
                    "%s up to %llu processes and threads, and user %u may have %llu here, %llu of "
                    "which are in use: raise the limit (ulimit -Hu; nproc in "
                    "/etc/security/limits.conf; TasksMax= of a service)",
                    what,
                    (unsigned long long)needed,
                    (unsigned)getuid(),
                    (unsigned long long)found,
                    (unsigned long long)used);
}
