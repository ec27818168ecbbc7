/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the job that the master itself runs: `prepare:`, those that give a secret, those that
 * are told of the run. */
#ifndef MAYFLY_MASTER_SPAWN_H
#define MAYFLY_MASTER_SPAWN_H

#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"

/*
 * Starts argv (NULL at its end) in `folder`, with the environment `env`, as the leader of a process
 * group of its own, with default signals and an empty mask. Its standard input is empty; the other
 * two go to `out` and `err`, a descriptor or -1 for nowhere. 0, or the number of the error.
 */
int spawn_in_group(
    char *const *argv, char *const *env, const char *folder, int out, int err, pid_t *pid);
/* The same with `in` as its standard input; -1 = empty. */
int spawn_in_group_with(
    char *const *argv, char *const *env, const char *folder, int in, int out, int err, pid_t *pid);

/* The environment of such a command: the few variables that a subtask has, whoever starts it, and
 * the `count` ones of `more`, "NAME=value" on the heap, which become its own (NULL: memory is
 * exhausted). NULL when memory is exhausted; else ended by spawn_environment_free. */
char **spawn_environment(char *const *more, size_t count);
void spawn_environment_free(char **environment); /* NULL is fine */

#endif
