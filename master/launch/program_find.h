/* SPDX-License-Identifier: Apache-2.0 */
/* Where a program is. */
#ifndef MAYFLY_MASTER_LAUNCH_PROGRAM_FIND_H
#define MAYFLY_MASTER_LAUNCH_PROGRAM_FIND_H

#include <stdbool.h>
#include <stddef.h>

/* The path of a program that is in PATH. */
bool program_find(const char *name, char *path, size_t size);

#endif
