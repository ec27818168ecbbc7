/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly trigger tick: once a minute, by the machine's own scheduler. What the clock says is due is
 * fired; what has come to spool folders and brokers is brought in; open firings are carried on; all
 * queues are evaluated (age, and whatever nobody has seen); at last, who was to be told of a run
 * and was not is told (notify_sweep.h). Any number of them may run at once. It prints nothing
 * unless asked, since cron sends a mail otherwise.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/commands/tick_log.h"
#include "master/commands/trigger.h"
#include "master/notify_sweep.h"
#include "master/queue/firing.h"
#include "master/record/state_folder.h"
#include "master/sources.h"
#include "master/sweep.h"
#include "master/trigger/due.h"
#include "master/trigger/handover.h"
#include "master/watch/place.h"

static const struct argp_option options[] = {
    {"verbose", 'v', NULL, 0, "Say on standard error what was done", 0}, {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    bool *is_verbose = state->input;
    if (key != 'v')
        return command_no_arguments(key, text, state);
    *is_verbose = true;
    return 0;
}

/* A watcher that lives serves it, to the second. */
static bool is_watched(void *arg, const struct trigger_row *row)
{
    const char *state = arg;
    return row->watcher != NULL && place_is_live(state, row->watcher, NULL);
}

static int sweep(struct queues *queues, struct swept *swept, struct mf_error *error)
{
    struct swept one = {0};
    int rc = sweep_queues(queues, NULL, &one, error);
    swept->started += one.started;
    swept->resumed += one.resumed;
    swept->settled += one.settled;
    swept->given_up += one.given_up;
    swept->fired += one.fired;
    swept->failed += one.failed;
    return rc;
}

static int fire_by_clock(struct queues *queues, struct swept *swept, struct mf_error *error)
{
    struct trigger_fired fired = {0};
    char *state = state_folder(error);
    if (state == NULL)
        return -1;
    int rc = due_fire_all(queues, mf_wall_us(), is_watched, state, &fired, error);
    mf_free(state);
    if (trigger_hand_over(queues, &fired, NULL, &swept->failed, error) < 0)
        rc = -1;
    swept->fired += fired.count;
    trigger_fired_fini(&fired);
    return rc;
}

/* Each also when what comes before it has failed. Sources are the last: a server that does not
 * answer takes its time. */
static int tick(struct queues *queues,
                struct swept *swept,
                struct sources_polled *polled,
                struct mf_error *error)
{
    int rc = fire_by_clock(queues, swept, error);
    if (sweep(queues, swept, error) < 0)
        rc = -1;
    if (sources_poll(queues, NULL, polled, error) < 0)
        rc = -1;
    if (polled->pushed > 0 && sweep(queues, swept, error) < 0)
        rc = -1;
    return rc;
}

static void say(const struct swept *swept, const struct sources_polled *polled)
{
    fprintf(stderr,
            "mayfly: sources brought %" PRIu64 " messages, %" PRIu64 " were set aside, %" PRIu64
            " left where they are; %zu could not be asked\n",
            polled->pushed,
            polled->aside,
            polled->left,
            polled->failed);
    fprintf(stderr,
            "mayfly: fired %zu, started again %zu, resumed %zu, settled %zu, given up %zu; "
            "%zu could not be started\n",
            swept->fired,
            swept->started,
            swept->resumed,
            swept->settled,
            swept->given_up,
            swept->failed);
}

static int tick_main(int argc, char **argv)
{
    bool is_verbose = false;
    struct swept swept = {0};
    struct sources_polled polled = {0};
    struct mf_error error;
    struct queues *queues;
    command_parse(&command_trigger_tick,
                  options,
                  parse,
                  "Do what is due: what the clock says, what has waited too long, runs whose "
                  "master died. `mayfly trigger install` has it run each minute.",
                  argc,
                  argv,
                  &is_verbose);
    tick_log_turn();
    if (is_verbose)
        mf_log_to(2, MF_INFO);
    int rc = queues_open_own(false, &queues, &error), code = 0;
    if (rc > 0 && ((rc = tick(queues, &swept, &polled, &error)) < 0 ||
                   queues_forget(queues, mf_wall_us(), &error) < 0))
        rc = -1;
    if (rc < 0) {
        tick_log_stamp();
        code = command_fail(&error);
    }
    if (is_verbose)
        say(&swept, &polled);
    queues_close(queues);
    uint64_t waiting;
    if (rc >= 0 && notify_sweep(NOTIFY_SWEEP_US, &waiting, &error) < 0)
        code = command_fail(&error);
    return code;
}

const struct command command_trigger_tick = {.name = "tick",
                                             .arguments = "",
                                             .summary = "do what is due (run each minute)",
                                             .main = tick_main};
