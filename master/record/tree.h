/* SPDX-License-Identifier: Apache-2.0 */
/* Folders below a run folder: making and removing them. Any thread. */
#ifndef MAYFLY_MASTER_RECORD_TREE_H
#define MAYFLY_MASTER_RECORD_TREE_H

#include <stddef.h>

#include "common/error.h"

/* Makes the folders (0700) that lead to `path`; the first `known` bytes of it are there already. */
int tree_make_parents(const char *path, size_t known, struct mf_error *error);
/* Removes `path` with all that is in it; never follows links or leaves the file system. A missing
 * one is fine. */
int tree_remove(const char *path, struct mf_error *error);
/* Writes the entry of `path` in its folder to the disk. */
int tree_sync_parent(const char *path, struct mf_error *error);
/* Writes the entries of the folder `path` and of all folders in it to the disk. */
int tree_sync_folders(const char *path, struct mf_error *error);

#endif
