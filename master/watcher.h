/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watcher: the one small process that serves the triggers of a folder's job files, for as long as
 * it lives (mayfly trigger watch FOLDER; docs/triggers.md). Its runs are masters of their own,
 * which go on without it.
 */
#ifndef MAYFLY_MASTER_WATCHER_H
#define MAYFLY_MASTER_WATCHER_H

#include "common/error.h"

/*
 * Serves `folder` until SIGTERM or SIGINT asks it to stop: 0. -1 when it cannot begin: MF_EUSAGE
 * (no such folder, another watcher has it), MF_ESETUP. Takes over the process: its signals, its
 * log. What goes wrong later is logged and tried again.
 */
int watcher_run(const char *folder, struct mf_error *error);

#endif
