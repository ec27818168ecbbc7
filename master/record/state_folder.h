/* SPDX-License-Identifier: Apache-2.0 */
/* Where all that Mayfly keeps of a user lives. Any thread. */
#ifndef MAYFLY_MASTER_RECORD_STATE_FOLDER_H
#define MAYFLY_MASTER_RECORD_STATE_FOLDER_H

#include "common/error.h"

/* $XDG_STATE_HOME/mayfly, or ~/.local/state/mayfly (heap). NULL: MF_ESETUP when neither variable is
 * set. */
char *state_folder(struct mf_error *error);

/* Makes the folder (0700) with all that lead to it, durably; one that is there is fine. -1:
 * MF_ESETUP naming the place and the remedy. */
int state_folder_make(const char *path, struct mf_error *error);

#endif
