/* SPDX-License-Identifier: Apache-2.0 */
/* Asking sources now and then: see sources.h. */
#include "master/sources.h"

#include <stdbool.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/job/job.h"
#include "master/record/state_folder.h"
#include "master/source/source.h"
#include "master/trigger/row.h"
#include "master/watch/place.h"

#define LIMIT_US INT64_C(30000000)
#define NOTE "its source: " /* how a last_error of ours begins */

struct polling {
    const char *trigger; /* NULL = all */
    const char *state;   /* the state folder */
    struct sources_polled *report;
};

/* What is wrong with a source, NULL = nothing; only what we have noted ourselves is forgotten. */
static int note(struct queues *queues,
                const struct trigger_row *row,
                const char *trouble,
                struct mf_error *error)
{
    bool is_ours = row->last_error != NULL && strncmp(row->last_error, NOTE, strlen(NOTE)) == 0;
    if (trouble == NULL && !is_ours)
        return 0;
    char *text = trouble == NULL ? NULL : mf_format(NOTE "%s", trouble);
    if (trouble != NULL && text == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: what is wrong with a source");
    int rc = queues_begin(queues, error);
    if (rc == 0)
        rc = trigger_row_note(queues, row->name, text, error);
    if (rc == 0)
        rc = queues_commit(queues, error);
    queues_rollback(queues);
    mf_free(text);
    return rc;
}

static void add(struct sources_polled *report, const struct feed_report *one)
{
    report->pushed += one->pushed;
    report->aside += one->aside;
    report->left += one->left;
}

/* Until nothing more comes; *last is of the last look. */
static int poll_feed(struct feed *feed,
                     struct queues *queues,
                     struct sources_polled *report,
                     struct feed_report *last,
                     struct mf_error *error)
{
    int64_t end_us = mf_monotonic_us() + LIMIT_US;
    int rc;
    do {
        rc = feed_poll(feed, queues, 0, last, error);
        add(report, last);
    } while (rc == 0 && last->more && mf_monotonic_us() < end_us);
    return rc;
}

static int poll_source(struct queues *queues,
                       const struct trigger_row *row,
                       const struct job *job,
                       struct sources_polled *report,
                       struct mf_error *error)
{
    struct feed_settings settings;
    struct feed_report last = {0};
    struct mf_error trouble = {0};
    if (!feed_settings_of(job, &settings))
        return 0;
    struct feed *feed = feed_open(&settings, job->trigger.queue, false, &trouble);
    int rc = feed == NULL ? -1 : poll_feed(feed, queues, report, &last, &trouble);
    feed_close(feed);
    if (rc < 0) {
        report->failed++;
        mf_log(MF_WARNING, "trigger %s: %s", row->name, trouble.text);
    } else if (last.left > 0) {
        mf_log(MF_WARNING, "trigger %s: %s", row->name, last.text);
    }
    return note(queues, row, rc < 0 ? trouble.text : last.left > 0 ? last.text : NULL, error);
}

/* A watcher that lives has it open. */
static bool is_watched(const struct polling *polling, const struct trigger_row *row)
{
    return row->watcher != NULL && place_is_live(polling->state, row->watcher, NULL);
}

/* A job file that has changed since is none of ours: evaluating its trigger says so. */
static int
poll_row(void *arg, struct queues *queues, struct trigger_row *row, struct mf_error *error)
{
    struct polling *polling = arg;
    char *why = NULL;
    if (row->kind != TRIGGER_QUEUE ||
        (polling->trigger != NULL && strcmp(polling->trigger, row->name) != 0) ||
        is_watched(polling, row))
        return 0;
    bool is_current = trigger_row_is_current(row, &why);
    mf_free(why);
    struct job *job = is_current ? job_load(row->job_path, NULL, 0, NULL) : NULL;
    int rc = job == NULL ? 0 : poll_source(queues, row, job, polling->report, error);
    job_destroy(job);
    return rc;
}

int sources_poll(struct queues *queues,
                 const char *trigger,
                 struct sources_polled *report,
                 struct mf_error *error)
{
    char *state = state_folder(error);
    if (state == NULL)
        return -1;
    struct polling polling = {.trigger = trigger, .state = state, .report = report};
    int rc = trigger_row_each(queues, poll_row, &polling, error);
    mf_free(state);
    return rc;
}
