/* SPDX-License-Identifier: Apache-2.0 */
/* A master in a process of its own, that outlives the command: mayfly submit, mayfly resume
 * --detach. */
#ifndef MAYFLY_MASTER_COMMANDS_BACKGROUND_H
#define MAYFLY_MASTER_COMMANDS_BACKGROUND_H

/*
 * Calls `master` in a child with a session of its own, and waits until that has said its run
 * (background_say), which goes to standard output, or has ended. Returns the exit code of the
 * command: 0, or the child's. In the child it does not return before `master` does.
 */
int background_start(int (*master)(void *arg, int say_fd), void *arg);

/* In the child, as soon as nothing can be refused any more: standard error goes to the run's log,
 * and the run is said. Takes say_fd. */
void background_say(int say_fd, const char *folder, const char *run_id);

#endif
