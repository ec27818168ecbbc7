/* SPDX-License-Identifier: Apache-2.0 */
/* What kind of file system a path is on: SQLite's write-ahead log needs shared memory, which
 * network file systems do not offer between hosts. */
#ifndef MAYFLY_MASTER_RECORD_FILE_SYSTEM_H
#define MAYFLY_MASTER_RECORD_FILE_SYSTEM_H

#include <stdbool.h>

/* Whether `path`, or the folder it is to be made in, is on a network file system (or one that may
 * be: FUSE). False when that cannot be found out. */
bool file_system_is_network(const char *path);

#endif
