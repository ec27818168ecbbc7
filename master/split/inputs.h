/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input files of a split: globs expanded, sorted bytewise, each once. Paths are bytes: whatever
 * a file is called. Not thread-safe.
 */
#ifndef MAYFLY_MASTER_SPLIT_INPUTS_H
#define MAYFLY_MASTER_SPLIT_INPUTS_H

#include <stddef.h>
#include <sys/stat.h>

#include "common/error.h"
#include "common/message.h"
#include "master/job/job.h"

/* Zero-initialised is empty. */
struct inputs {
    char **paths; /* relative to the job's folder, or absolute */
    size_t count, capacity;
    const char *folder; /* the job's; borrowed */
};

/* -1 with MF_EUSAGE when a glob matches no file, MF_EINPUT when a file can't be read. */
int inputs_expand(struct inputs *inputs,
                  const struct job *job,
                  const char *prepared,
                  struct mf_error *error);
void inputs_fini(struct inputs *inputs);

/* The path as it can be opened; on the heap, NULL when memory is exhausted. */
char *inputs_absolute(const struct inputs *inputs, size_t index);

/* The name that an input has in the plan, of a path relative to the folder or absolute (heap):
 * below the folder relative to it, else absolute. NULL when memory is exhausted. */
char *inputs_name(const char *path, const char *folder);

/* Looks at the file again, through fd or (fd -1) by its name. */
int inputs_stat(
    const struct inputs *inputs, size_t index, int fd, struct stat *status, struct mf_error *error);

/* What the worker checks before it uses the input. */
void inputs_describe(const struct stat *status, struct mf_subtask *piece);

#endif
