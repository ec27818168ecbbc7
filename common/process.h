/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says of a process. Any thread. */
#ifndef MAYFLY_COMMON_PROCESS_H
#define MAYFLY_COMMON_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/buffer.h"
#include "common/error.h"

/* A whole file of /proc/<pid>/ into `out`, with a NUL behind it that is not counted. 0; -1 when
 * there is none to read, or no memory. */
int mf_process_read(pid_t pid, const char *name, struct mf_buffer *out);

/* Whether one of the strings is `wanted`: of cmdline or environ, each string with its NUL. */
bool mf_process_has(const struct mf_buffer *strings, const char *wanted);

/* The absolute path of this process's program (heap), also when the file has been replaced by
 * another one since it began. NULL with an error. */
char *mf_process_program(struct mf_error *error);

#endif
