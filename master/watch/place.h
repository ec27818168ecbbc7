/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The place of a watcher in the state folder: watchers/<digest of its folder's path>/, with
 *
 *     lock          held while it lives; its process id and its folder
 *     <job>.yaml    the job file as it was when it could be read last: served while it is broken
 *
 * Whether a watcher lives is asked of the lock, never of a process id.
 */
#ifndef MAYFLY_MASTER_WATCH_PLACE_H
#define MAYFLY_MASTER_WATCH_PLACE_H

#include <stdbool.h>

#include "common/error.h"

/* The place of the watcher of `folder`, an absolute path without links (heap). `state`: the state
 * folder. NULL: MF_ENOMEM. */
char *place_path(const char *state, const char *folder, struct mf_error *error);

struct place_lock {
    int state_fd;  /* `lock` in the place */
    int folder_fd; /* the folder itself, kept for watchers with another state folder; -1 = its file
                      system has no locks */
};

/*
 * Makes the place and takes the lock for the life of the descriptors. -1: MF_EUSAGE naming the
 * watcher that has the folder, MF_ESETUP when the place cannot be made.
 */
int place_take(const char *place,
               const char *folder,
               struct place_lock *lock,
               struct mf_error *error);
void place_release(struct place_lock *lock);

/* Whether a watcher of `folder` lives now; *pid (may be NULL) is what it has written, 0 = unknown.
 * Only asks: it never stands in the way of one that starts just now. */
bool place_is_live(const char *state, const char *folder, long *pid);

#endif
