/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly trigger run: fires a trigger now. */
#include <stdio.h>

#include "common/clock.h"
#include "master/commands/text.h"
#include "master/commands/trigger.h"
#include "master/sources.h"

static const struct argp_option options[] = {{0}};

/* 1 fired and committed, 0 there is nothing to do, -1. */
static int fire(struct queues *queues,
                const char *trigger,
                struct trigger_fired *fired,
                struct mf_error *error)
{
    int rc = queues_begin(queues, error);
    if (rc == 0)
        rc = trigger_fire(queues, trigger, mf_wall_us(), fired, error);
    if (rc > 0 && queues_commit(queues, error) < 0)
        rc = -1;
    queues_rollback(queues);
    return rc;
}

static int run_trigger(struct queues *queues, const char *job)
{
    struct trigger_row row = {0};
    struct trigger_fired fired = {0};
    struct sources_polled polled = {0};
    struct mf_error error;
    int rc = trigger_command_find(queues, job, &row, &error), code = 0;
    if (rc > 0)
        rc = sources_poll(queues, row.name, &polled, &error) < 0
                 ? -1
                 : fire(queues, row.name, &fired, &error);
    if (rc == 0) {
        mf_raise(&error,
                 MF_EUSAGE,
                 row.kind == TRIGGER_AFTER
                     ? "job %s has no run of %s left that it was not started after"
                     : "job %s has no message that can be claimed in the queue it waits for%s",
                 row.name,
                 row.kind == TRIGGER_AFTER ? row.after_job : "");
        rc = -1;
    }
    code = rc < 0 ? command_fail(&error) : trigger_command_hand_over(queues, &fired);
    trigger_fired_fini(&fired);
    trigger_row_fini(&row);
    return code;
}

static int run_main(int argc, char **argv)
{
    const char *job = NULL;
    struct mf_error error;
    command_parse(&command_trigger_run,
                  options,
                  trigger_command_job,
                  "Start a run of an installed job now, as its trigger would: with what is in its "
                  "queue, however little, and whatever else runs. Its run id goes to standard "
                  "output.\v"
                  "`mayfly submit JOB` starts the job as it stands in its file instead.",
                  argc,
                  argv,
                  &job);
    struct queues *queues = trigger_command_open(&error);
    text_begin();
    int code = queues == NULL ? command_fail(&error) : run_trigger(queues, job);
    queues_close(queues);
    return text_end(code);
}

const struct command command_trigger_run = {
    .name = "run", .arguments = "JOB", .summary = "start a run now", .main = run_main};
