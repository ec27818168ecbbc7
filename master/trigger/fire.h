/* SPDX-License-Identifier: Apache-2.0 */
/* Within this station: one firing. */
#ifndef MAYFLY_MASTER_TRIGGER_FIRE_H
#define MAYFLY_MASTER_TRIGGER_FIRE_H

#include "master/queue/firing.h"
#include "master/trigger/evaluate.h"
#include "master/trigger/row.h"

/* Why a trigger fires: `cause` as in the table firing. */
struct fire {
    const char *cause;
    int64_t due_us; /* 0 = none */
    int64_t now_us;
};

/*
 * Within a transaction: a new run id, the messages that it gets (of a queue), the firing's row, the
 * trigger's last_run, and an entry in *fired. 1; 0 when there is a queue and nothing can be
 * claimed; -1.
 */
int trigger_fire_once(struct queues *queues,
                      const struct trigger_row *row,
                      const struct fire *fire,
                      struct trigger_fired *fired,
                      struct mf_error *error);

/* Whether the job file is as it was installed: 1; 0 when not, which is noted in the row; -1. */
int trigger_is_ready(struct queues *queues, const struct trigger_row *row, struct mf_error *error);

#endif
