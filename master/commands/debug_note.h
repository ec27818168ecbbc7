/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notes of what a mayfly debug may leave behind when it is killed: a file each in debug/ of the
 * run's folder, there and locked as long as it lives. `mayfly clean` looks at those that nobody
 * holds. They are no part of the record: when nothing is going on there is no such folder.
 */
#ifndef MAYFLY_MASTER_COMMANDS_DEBUG_NOTE_H
#define MAYFLY_MASTER_COMMANDS_DEBUG_NOTE_H

#include "common/error.h"

#define DEBUG_NOTES "debug" /* in the run's folder */
#define DEBUG_STAGE "mayfly-debug."
/* Where debug makes its folder on another host, in that order, as words of sh; a home with a blank
 * in its name will not do, and the next one is taken. */
#define DEBUG_PLACES "$HOME/.cache $HOME /var/tmp /tmp"

/*
 * Makes the note `name` about `host` (as the job names it; "" = this machine). Returns a descriptor
 * that holds the lock, closed on exec, and in *path where the note is (heap); -1.
 */
int debug_note_make(
    const char *folder, const char *name, const char *host, char **path, struct mf_error *error);
/* Nothing is left, or it is somebody else's now. The folder of notes goes when it is empty. */
void debug_note_remove(const char *path);

/*
 * Ends and removes what killed ones have left of this run, on this machine and on its hosts; what
 * lives is left alone. -1 with the first that could not be cleaned, and where it may still be; the
 * others are cleaned all the same.
 */
int debug_clean(const char *folder, const char *run_id, struct mf_error *error);

#endif
