/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of an attempt in a slot process: fresh, with the links of files: and input, and cwd.
 */
#ifndef MAYFLY_WORKER_FOLDER_H
#define MAYFLY_WORKER_FOLDER_H

#include "worker/failure.h"
#include "worker/unpack.h"

/* Relative to the current folder, attempts/. */
int folder_make(const struct unpacked *request, struct failure *failure);
void folder_remove(const struct unpacked *request);

/* At the slot's end: removes the folder that was kept for the next attempt. */
void folder_forget_spare(void);

#endif
