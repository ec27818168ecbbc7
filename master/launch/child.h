/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one primitive of the local launcher, of the same shape as the remote one: run argv with some
 * standard input, and get standard output, standard error and the exit code when it is over. Loop
 * thread only.
 */
#ifndef MAYFLY_MASTER_LAUNCH_CHILD_H
#define MAYFLY_MASTER_LAUNCH_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/loop.h"

struct child_result {
    int code;            /* exit code, or 128 + signal */
    const char *output;  /* at most 1 MiB of it, NUL-terminated */
    bool is_cut;         /* there was more */
    const char *problem; /* of standard error, likewise */
};

typedef void child_f(void *arg, const struct child_result *result);

struct child;

/*
 * Starts argv[0] (a path) with the environment `envp`. `input` (at most 64 KiB) is its whole
 * standard input. `done` is called once, from the loop, when it has exited and both its streams are
 * closed; the child frees itself then.
 */
struct child *child_start(struct mf_loop *loop,
                          const char *const *argv,
                          char *const *envp,
                          struct mf_bytes input,
                          child_f *done,
                          void *arg,
                          struct mf_error *error);
/* The same in a folder, where a relative argv[0] starts. */
struct child *child_start_in(struct mf_loop *loop,
                             const char *folder,
                             const char *const *argv,
                             char *const *envp,
                             struct mf_bytes input,
                             child_f *done,
                             void *arg,
                             struct mf_error *error);
/* Kills it (if it runs) and frees it; `done` is not called. */
void child_abandon(struct child *child);
/* The same with the whole process group that it leads. */
void child_abandon_group(struct child *child);
pid_t child_pid(const struct child *child);
/* It has exited, but somebody that it left behind may hold its streams. */
bool child_has_exited(const struct child *child);
/* Of one that has exited: what its streams have said so far is all of it. `done` is called. */
void child_settle(struct child *child);

#endif
