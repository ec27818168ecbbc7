/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a firing to its master: `mayfly submit JOB --firing RUN_ID` (or `mayfly resume --detach
 * RUN_ID`), as a process of its own session that outlives this one. It works in the job's folder
 * with the environment that was recorded when the trigger was installed, whoever happens to start
 * it: PATH, HOME, USER, LOGNAME, SHELL, LANG, LC_*, TZ, TMPDIR and XDG_*; nothing else is there.
 *
 * It is waited for until it has said the run's id, or has ended, at most so long; while that lasts,
 * the firing's starter is this process, and nobody else starts it. What it says when it cannot
 * begin is in the trigger's last_error then, and the firing stays open for the next sweep.
 */
#ifndef MAYFLY_MASTER_TRIGGER_HANDOVER_H
#define MAYFLY_MASTER_TRIGGER_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "master/queue/queue.h"
#include "master/trigger/evaluate.h"

struct handover {
    const char *program; /* of mayfly; NULL = the one that runs */
    int64_t wait_us;     /* for the word of each; 0 = 30 s */
};

/*
 * Outside of any transaction, after the commit. Starts all of them at once, then waits. *failed
 * (may be NULL) is how many did not begin; that is no error: it is noted, and the sweep tries
 * again. -1: queues.db could not be read or written; recovery takes over then, too.
 */
int trigger_hand_over(struct queues *queues,
                      const struct trigger_fired *fired,
                      const struct handover *handover,
                      size_t *failed,
                      struct mf_error *error);

#endif
