/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands on queues share: see queue.h. */
#include "master/commands/queue.h"

#include <stdio.h>

#include "common/clock.h"
#include "master/commands/text.h"
#include "master/trigger/evaluate.h"
#include "master/trigger/handover.h"

struct queues *queue_command_open(bool make, struct mf_error *error)
{
    struct queues *queues;
    if (queues_open_own(make, &queues, error) == 0)
        mf_raise(error, MF_EUSAGE, "there are no queues yet: mayfly queue create NAME makes one");
    return queues;
}

int queue_command_do(queue_command_f *f, const void *arguments)
{
    struct mf_error error;
    struct queues *queues = queue_command_open(false, &error);
    text_begin();
    int code = queues == NULL || f(queues, arguments, &error) < 0 ? command_fail(&error) : 0;
    queues_close(queues);
    return text_end(code);
}

error_t queue_command_name(int key, char *text, struct argp_state *state)
{
    const char **name = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (*name != NULL)
            argp_error(state, "one queue at a time: \"%s\" is too much", text);
        *name = text;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "say which queue (mayfly queue ls lists them)");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Those whose masters did not begin have it noted in their triggers, and the next sweep tries
 * again: what was pushed is pushed, so nothing that goes wrong here is a failure of the push. */
static void hand_over(struct queues *queues,
                      const struct trigger_fired *fired,
                      json_t *started,
                      struct mf_error *error)
{
    size_t failed = 0;
    if (trigger_hand_over(queues, fired, NULL, &failed, error) < 0)
        fprintf(stderr, "mayfly: what was started is left to the next sweep: %s\n", error->text);
    else if (failed > 0)
        fprintf(stderr,
                "mayfly: %zu of %zu runs could not be started yet: mayfly trigger list says why\n",
                failed,
                fired->count);
    for (size_t i = 0; started != NULL && i < fired->count; i++) {
        json_t *run = json_pack(
            "{s:s, s:s}", "trigger", fired->runs[i].trigger, "run_id", fired->runs[i].run_id);
        if (json_array_append_new(started, run) < 0)
            fputs("mayfly: out of memory: what was started is not all shown\n", stderr);
    }
}

int queue_command_commit(struct queues *queues,
                         int64_t queue,
                         json_t *started,
                         struct mf_error *error)
{
    struct trigger_fired fired = {0};
    int rc = trigger_evaluate_queue(queues, queue, mf_wall_us(), &fired, error);
    if (rc == 0)
        rc = queues_commit(queues, error);
    if (rc == 0)
        hand_over(queues, &fired, started, error);
    trigger_fired_fini(&fired);
    return rc;
}
