/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sources of triggers (master/source), for those who come by now and then: a tick, and whoever
 * fires a trigger by hand. A watcher has those of its folder open instead, and they are left to it.
 */
#ifndef MAYFLY_MASTER_SOURCES_H
#define MAYFLY_MASTER_SOURCES_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "master/queue/queue.h"

struct sources_polled {
    uint64_t pushed; /* messages that are new in their queues */
    uint64_t aside;  /* that became dead letters at once */
    uint64_t left;   /* that could not be taken */
    size_t failed;   /* sources that could not be asked */
};

/*
 * Moves what is there into the queues; does not evaluate them. Outside of any transaction. Each
 * source is asked until nothing more comes, for half a minute at most; one that fails does not keep
 * the others, and is named in its trigger (last_error) until it works again. `trigger`: only that
 * one's; NULL = all. *report is added to. -1: queues.db could not be used.
 */
int sources_poll(struct queues *queues,
                 const char *trigger,
                 struct sources_polled *report,
                 struct mf_error *error);

#endif
