/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Results that are ready to be told, oldest first, and those that were told and wait for their
 * acknowledgement. Plain values in reused arrays: a result costs no allocation here. Loop thread
 * only.
 */
#ifndef MAYFLY_WORKER_READY_H
#define MAYFLY_WORKER_READY_H

#include <stdint.h>

#include "common/error.h"
#include "common/message.h"
#include "worker/executor.h"

struct ready_list {
    struct mf_result *results;
    struct executed **owners; /* NULL for results that own nothing (noop) */
    int64_t *ended_us;
    uint32_t count, capacity;
};

int ready_add(struct ready_list *list,
              const struct mf_result *result,
              int64_t ended_us,
              struct executed *owner,
              struct mf_error *error);
/* Moves the first results of `from`, at most `most` and about `bytes` of inline data, to the empty
 * list `to`. */
int ready_move(struct ready_list *from,
               struct ready_list *to,
               uint32_t most,
               size_t bytes,
               struct mf_error *error);
/* Says of each how long ago it ended. */
void ready_stamp(struct ready_list *list, int64_t now_us);
/* Puts all of `from` back before what is in `to`: it was told in vain. */
int ready_return(struct ready_list *from, struct ready_list *to, struct mf_error *error);
/* Takes out what has files of its own, for upload, one after another: the next owner, or NULL. */
struct executed *ready_take_with_files(struct ready_list *list);
void ready_fini(struct ready_list *list);

#endif
