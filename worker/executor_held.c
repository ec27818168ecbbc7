/* SPDX-License-Identifier: Apache-2.0 */
/* What the executor holds when the worker's master is replaced: see executor.h. */
#include "worker/executor_internal.h"

struct pass {
    struct executor *executor;
    struct mf_held *held;
    uint32_t size, count;
    enum mf_held_state state; /* those of this state are collected now */
};

/* What is being ended or goes back is no matter of the next master: it would get a result that says
 * "cancelled", and take it for a loss. */
static bool is_over(const struct attempt *attempt)
{
    if (attempt->state == ATTEMPT_ENDED)
        return attempt->executed.result.cause == MF_CAUSE_CANCELLED;
    return attempt->cancel || attempt->take_back;
}

static enum mf_held_state state_of(const struct attempt *attempt)
{
    switch (attempt->state) {
    case ATTEMPT_RUNNING:
        return MF_HELD_RUNNING;
    case ATTEMPT_ENDED:
        return MF_HELD_ENDED;
    default:
        return MF_HELD_QUEUED;
    }
}

static void collect(void *arg, struct attempt *attempt)
{
    struct pass *pass = arg;
    const struct mf_fence fence = attempt->fence;
    if (state_of(attempt) != pass->state || is_over(attempt))
        return;
    if (pass->count < pass->size)
        pass->held[pass->count++] = (struct mf_held){.subtask = fence.subtask,
                                                     .attempt = fence.attempt,
                                                     .epoch = fence.epoch,
                                                     .state = pass->state};
    else if (pass->state == MF_HELD_QUEUED)
        executor_take_back(pass->executor, &fence);
}

uint32_t executor_held(struct executor *executor, struct mf_held *held, uint32_t size)
{
    static const enum mf_held_state order[] = {MF_HELD_ENDED, MF_HELD_RUNNING, MF_HELD_QUEUED};
    struct pass pass = {.executor = executor, .held = held, .size = size};
    for (unsigned i = 0; i < sizeof order / sizeof *order; i++) {
        pass.state = order[i];
        attempts_each(&executor->attempts, collect, &pass);
    }
    return pass.count;
}
