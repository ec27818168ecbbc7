/* SPDX-License-Identifier: Apache-2.0 */
/* Small files that hold secrets: 0600, in place whole or not at all, wiped when they go. Names are
 * relative to a folder's descriptor. Not thread-safe for one name. */
#ifndef MAYFLY_MASTER_SCATTER_SECRET_FILE_H
#define MAYFLY_MASTER_SCATTER_SECRET_FILE_H

#include "common/error.h"

/* Makes `folder` (0700) if it is not there, and makes it 0700 if it is. A descriptor, or -1. */
int secret_folder_make(const char *folder, struct mf_error *error);
/* Opens an existing one. */
int secret_folder_open(const char *folder, struct mf_error *error);

/* Written to a temporary name, synced, renamed, the folder synced. */
int secret_file_write(int folder, const char *name, const char *text, struct mf_error *error);

/* The whole file as text on the heap: the caller wipes (secret_text_free). NULL and MF_EINPUT when
 * it is not there or implausibly large. */
char *secret_file_read(int folder, const char *name, struct mf_error *error);
void secret_text_free(char *text); /* NULL is fine */

/* Overwrites and unlinks; a missing file is fine. */
int secret_file_remove(int folder, const char *name, struct mf_error *error);

#endif
