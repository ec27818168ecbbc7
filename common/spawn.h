/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a program that inherits nothing of how this process treats signals. Any thread. */
#ifndef MAYFLY_COMMON_SPAWN_H
#define MAYFLY_COMMON_SPAWN_H

#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Starts argv (NULL at its end; a name without a slash is looked for in PATH) with the environment
 * `env`, default signals and an empty mask, after `actions`. `flags`: POSIX_SPAWN_SETPGROUP, it
 * leads a process group of its own; POSIX_SPAWN_SETSID, a session; or 0. 0 and *pid, or the number
 * of the error.
 */
int mf_spawn(char *const *argv,
             char *const *env,
             const posix_spawn_file_actions_t *actions,
             short flags,
             pid_t *pid);

/* The path of a program that is in PATH; false: there is none of that name that may be executed. */
bool mf_program_find(const char *name, char *path, size_t size);

#endif
