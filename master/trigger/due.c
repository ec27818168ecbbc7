/* SPDX-License-Identifier: Apache-2.0 */
/* What fires by the clock: see due.h. */
#include "master/trigger/due.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/cron/cron.h"
#include "master/cron/due.h"
#include "master/queue/firing.h"
#include "master/queue/statements.h"
#include "master/record/sql.h"
#include "master/trigger/fire.h"

static const char settled_sql[] =
    "UPDATE trigger SET last_due_us = ?2, waiting = ?3 WHERE name = ?1";

static const enum cron_catchup catchups[] = {[CATCHUP_NONE] = CRON_CATCHUP_NONE,
                                             [CATCHUP_LAST] = CRON_CATCHUP_LAST,
                                             [CATCHUP_ALL] = CRON_CATCHUP_ALL};

/* The jitter of a trigger differs from that of others, and on each machine. */
static uint64_t seed_of(const struct trigger_row *row)
{
    char host[256] = "", text[512];
    gethostname(host, sizeof host - 1);
    snprintf(text, sizeof text, "%s@%s", row->name, host);
    return cron_seed(text);
}

static int ask(const struct trigger_row *row,
               int64_t now_us,
               struct cron_answer *answer,
               struct mf_error *error)
{
    struct cron cron;
    if (cron_parse(row->cron, &cron, error) < 0)
        return -1;
    const struct cron_question question = {.cron = &cron,
                                           .zone = row->zone,
                                           .last_due_us = row->last_due_us,
                                           .now_us = now_us,
                                           .catchup = catchups[row->catchup],
                                           .tick_us = CRON_TICK_US,
                                           .jitter_us = (int64_t)row->jitter_us,
                                           .seed = seed_of(row)};
    return cron_due(&question, answer, error);
}

static int settle(struct queues *queues,
                  const struct trigger_row *row,
                  int64_t last_due_us,
                  uint64_t waiting,
                  struct mf_error *error)
{
    if (last_due_us == row->last_due_us && waiting == row->waiting)
        return 0;
    sqlite3_stmt *stmt = queue_statement(queues, settled_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, row->name);
    sqlite3_bind_int64(stmt, 2, last_due_us);
    sqlite3_bind_int64(stmt, 3, (int64_t)waiting);
    return queue_run(queues, stmt, error) < 0 ? -1 : 0;
}

/* Each one that was missed is to come about: these wait for each other, whatever `overlap` says of
 * those that come in time. */
static bool is_made_up_for(const struct trigger_row *row, const struct fire *fire)
{
    int64_t late_us = fire->now_us - fire->due_us - (int64_t)row->jitter_us;
    return row->catchup == CATCHUP_ALL && late_us > 2 * CRON_TICK_US;
}

/* One time that is due. */
static int fire_one(struct queues *queues,
                    const struct trigger_row *row,
                    const struct fire *fire,
                    uint64_t *waiting,
                    struct trigger_fired *fired,
                    struct mf_error *error)
{
    uint64_t open;
    if (firing_count_open(queues, row->name, &open, error) < 0)
        return -1;
    if (row->overlap == OVERLAP_ALLOW || (open == 0 && *waiting == 0))
        return trigger_fire_once(queues, row, fire, fired, error) < 0 ? -1 : 0;
    bool waits = row->overlap == OVERLAP_QUEUE || is_made_up_for(row, fire);
    if (waits && *waiting < DUE_WAITING_MAX)
        ++*waiting;
    return 0;
}

int due_fire(struct queues *queues,
             const struct trigger_row *row,
             int64_t now_us,
             struct trigger_fired *fired,
             int64_t *next_us,
             struct mf_error *error)
{
    struct cron_answer answer;
    uint64_t waiting = row->waiting;
    if (next_us != NULL)
        *next_us = MF_NEVER;
    if (row->kind != TRIGGER_CRON)
        return 0;
    if (ask(row, now_us, &answer, error) < 0)
        return -1;
    if (next_us != NULL)
        *next_us = answer.has_more ? now_us : answer.next_us;
    if (answer.count > 0) {
        int rc = trigger_is_ready(queues, row, error);
        if (rc <= 0)
            return rc;
    }
    char note[CRON_NOTE_SIZE];
    if (*cron_note(&answer, catchups[row->catchup], note) != '\0')
        mf_log(MF_INFO, "job %s: %s", row->name, note);
    for (size_t i = 0; i < answer.count; i++) {
        const struct fire fire = {.cause = "cron", .due_us = answer.due_us[i], .now_us = now_us};
        if (fire_one(queues, row, &fire, &waiting, fired, error) < 0)
            return -1;
    }
    return settle(queues, row, answer.last_due_us, waiting, error);
}

struct all {
    int64_t now_us;
    due_left_f *is_left;
    void *arg;
    struct trigger_fired *fired;
};

/* Reads the row again, in the transaction: another tick may have been faster. */
static int fire_within(struct queues *queues,
                       const char *name,
                       int64_t now_us,
                       struct trigger_fired *made,
                       struct mf_error *error)
{
    struct trigger_row row;
    int rc = trigger_row_find(queues, name, &row, error);
    if (rc > 0)
        rc = due_fire(queues, &row, now_us, made, NULL, error);
    trigger_row_fini(&row);
    return rc;
}

static int
fire_of(void *arg, struct queues *queues, struct trigger_row *row, struct mf_error *error)
{
    struct all *all = arg;
    struct trigger_fired made = {0};
    struct mf_error why = {0};
    if (row->kind != TRIGGER_CRON || (all->is_left != NULL && all->is_left(all->arg, row)))
        return 0;
    if (queues_begin(queues, error) < 0)
        return -1;
    int rc = fire_within(queues, row->name, all->now_us, &made, &why);
    if (rc == 0 && queues_commit(queues, &why) < 0)
        rc = -1;
    queues_rollback(queues);
    if (rc == 0)
        rc = trigger_fired_move(all->fired, &made, error);
    else
        rc = trigger_row_note(queues, row->name, why.text, error);
    trigger_fired_fini(&made);
    return rc;
}

int due_fire_all(struct queues *queues,
                 int64_t now_us,
                 due_left_f *is_left,
                 void *arg,
                 struct trigger_fired *fired,
                 struct mf_error *error)
{
    struct all all = {.now_us = now_us, .is_left = is_left, .arg = arg, .fired = fired};
    return trigger_row_each(queues, fire_of, &all, error);
}

int due_next(const struct trigger_row *row,
             int64_t now_us,
             int64_t *next_us,
             struct mf_error *error)
{
    struct cron cron;
    if (row->kind != TRIGGER_CRON)
        return 0;
    if (cron_parse(row->cron, &cron, error) < 0)
        return -1;
    int64_t after_us = cron.every_us > 0 ? row->last_due_us : now_us;
    return cron_next(&cron, row->zone, after_us, next_us, error);
}
