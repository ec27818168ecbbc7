/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly trigger remove: the job is started by nothing any more. With the last one, the entry of
 * the machine's scheduler goes, too, unless there are runs that a sweep may have to carry on. */
#include <inttypes.h>
#include <stdio.h>

#include "common/alloc.h"
#include "master/commands/text.h"
#include "master/commands/trigger.h"
#include "master/commands/trigger_entry.h"
#include "master/record/sql.h"

static const struct argp_option options[] = {{0}};

/* *left: triggers and open firings that need ticks. */
static int remove_row(struct queues *queues,
                      const char *name,
                      uint64_t *events,
                      int64_t *left,
                      struct mf_error *error)
{
    int rc = queues_begin(queues, error);
    if (rc == 0)
        rc = trigger_row_remove(queues, name, events, error);
    if (rc >= 0 && sql_integer(queues->db,
                               queues->path,
                               "SELECT (SELECT count(*) FROM trigger)"
                               " + (SELECT count(*) FROM firing WHERE state = 'open')"
                               " + (SELECT count(*) FROM outbox_run)",
                               left,
                               error) < 0)
        rc = -1;
    if (rc >= 0 && queues_commit(queues, error) < 0)
        rc = -1;
    queues_rollback(queues);
    return rc;
}

static int remove_trigger(struct queues *queues, const char *job)
{
    struct trigger_row row = {0};
    struct mf_error error;
    uint64_t events = 0;
    int64_t left = 0;
    int code = 0;
    if (trigger_command_find(queues, job, &row, &error) < 0 ||
        remove_row(queues, row.name, &events, &left, &error) < 0) {
        code = command_fail(&error);
    } else {
        printf("removed %s\n", row.name);
        if (events > 0)
            fprintf(stderr,
                    "mayfly: %" PRIu64 " runs of %s were not followed by one of %s yet, and never "
                    "will be\n",
                    events,
                    row.after_job,
                    row.name);
        if (left == 0)
            code = trigger_entry_remove();
    }
    trigger_row_fini(&row);
    return code;
}

static int remove_main(int argc, char **argv)
{
    const char *job = NULL;
    struct mf_error error;
    command_parse(&command_trigger_remove,
                  options,
                  trigger_command_job,
                  "Remove the trigger of a job. Its queue keeps its messages, and what runs goes "
                  "on. With the last trigger, the entry in crontab or systemd is removed.",
                  argc,
                  argv,
                  &job);
    struct queues *queues = trigger_command_open(&error);
    text_begin();
    int code = queues == NULL ? command_fail(&error) : remove_trigger(queues, job);
    queues_close(queues);
    return text_end(code);
}

const struct command command_trigger_remove = {.name = "remove",
                                               .arguments = "JOB",
                                               .summary = "remove the trigger of a job",
                                               .main = remove_main};
