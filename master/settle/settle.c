/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settling: see settle.h. run.db and the plan are read before the transaction begins, so that
 * others who push or claim wait for some updates alone.
 */
#include "master/settle/settle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/crash.h"
#include "common/message.h"
#include "master/record/run_db.h"
#include "master/record/sql.h"
#include "master/source/source.h"
#include "master/split/plan_seg.h"
#include "master/trigger/after.h"

#define CAUSE_MAX 512
#define REST FIRING_REST_SQL("failed")

/* The ending being read. */
struct reading {
    const char *folder;
    char *path; /* of run.db */
    sqlite3 *db;
    sqlite3_stmt *finals; /* all final rows, in the order of the plan */
    bool has_final;       /* finals stands on a row ... */
    uint64_t subtask;     /* ... of this subtask */
    bool is_partial;
    struct settle_ending *ending;
};

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory: the messages of a run");
}

static bool is_final(const char *state)
{
    static const char *const finals[] = {"succeeded", "partial", "failed", "cancelled"};
    for (size_t i = 0; i < sizeof finals / sizeof *finals; i++)
        if (strcmp(state, finals[i]) == 0)
            return true;
    return false;
}

static bool is_state(const struct settle_ending *ending, const char *state)
{
    return strcmp(ending->state, state) == 0;
}

static bool has_result(const struct settle_ending *ending)
{
    return is_state(ending, "succeeded") || is_state(ending, "partial");
}

static int next_final(struct reading *reading, struct mf_error *error)
{
    int rc = sqlite3_step(reading->finals);
    reading->has_final = rc == SQLITE_ROW;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return sql_raise(reading->db, reading->path, error);
    if (reading->has_final)
        reading->subtask = (uint64_t)sqlite3_column_int64(reading->finals, 0);
    return 0;
}

static int add_failure(struct settle_ending *ending,
                       int64_t message,
                       const char *cause,
                       struct mf_error *error)
{
    if (ending->failure_count == ending->failure_capacity) {
        size_t capacity = ending->failure_capacity == 0 ? 16 : ending->failure_capacity * 2;
        struct settle_failure *more = mf_realloc(ending->failures, capacity * sizeof *more);
        if (more == NULL)
            return raise_memory(error);
        ending->failures = more;
        ending->failure_capacity = capacity;
    }
    char *copy = mf_strdup(cause);
    if (copy == NULL)
        return raise_memory(error);
    ending->failures[ending->failure_count++] =
        (struct settle_failure){.message = message, .cause = copy};
    return 0;
}

/* "exit 3: sentence", of the row that finals stands on. */
static void describe(sqlite3_stmt *row, char cause[CAUSE_MAX])
{
    const char *name = (const char *)sqlite3_column_text(row, 2);
    const char *detail = (const char *)sqlite3_column_text(row, 5);
    int code = sqlite3_column_int(row, 3), signal = sqlite3_column_int(row, 4);
    char number[24] = "";
    if (signal != 0)
        snprintf(number, sizeof number, " %d", signal);
    else if (code > 0) /* else there was no command */
        snprintf(number, sizeof number, " %d", code);
    snprintf(cause,
             CAUSE_MAX,
             "%s%s%s%.400s",
             name == NULL ? "failed" : name,
             number,
             detail == NULL || *detail == '\0' ? "" : ": ",
             detail == NULL ? "" : detail);
}

/* A piece of the plan, which the final rows are read beside. */
static int
judge_piece(struct reading *reading, const struct mf_subtask *piece, struct mf_error *error)
{
    while (reading->has_final && reading->subtask < piece->id)
        if (next_final(reading, error) < 0)
            return -1;
    if (piece->message == 0)
        return 0;
    if (!reading->has_final || reading->subtask != piece->id) /* it was cancelled */
        return reading->is_partial
                   ? add_failure(reading->ending, piece->message, "cancelled", error)
                   : 0;
    const char *state = (const char *)sqlite3_column_text(reading->finals, 1);
    if (state != NULL && strcmp(state, "done") == 0)
        return 0;
    char cause[CAUSE_MAX];
    describe(reading->finals, cause);
    return add_failure(reading->ending, piece->message, cause, error);
}

static int walk_plan(struct reading *reading, const char *path, struct mf_error *error)
{
    struct plan_reader *plan = plan_reader_open(path, error);
    struct mf_subtask piece;
    int rc = plan == NULL ? -1 : next_final(reading, error);
    while (rc == 0 && (rc = plan_reader_next(plan, &piece, error)) > 0)
        rc = judge_piece(reading, &piece, error);
    plan_reader_destroy(plan);
    return rc;
}

static int read_failures(struct reading *reading, struct mf_error *error)
{
    char *path = mf_format("%s/plan.seg", reading->folder);
    if (path == NULL)
        return raise_memory(error);
    int rc = 0;
    if (access(path, F_OK) == 0) { /* else no subtask was a message */
        rc = sql_prepare(reading->db,
                         reading->path,
                         "SELECT id >> 16, state, cause, exit_code, signal, detail FROM attempt"
                         " WHERE state <> 'retried' AND superseded = 0 ORDER BY id",
                         &reading->finals,
                         error);
        if (rc == 0)
            rc = walk_plan(reading, path, error);
    }
    mf_free(path);
    return rc;
}

/* Whether the run failed because it could not be carried out (nobody came to work for it, a secret
 * could not be read): then no message is to blame. */
static int was_unable(const struct reading *reading, bool *none, struct mf_error *error)
{
    int64_t value;
    int rc = sql_integer(reading->db,
                         reading->path,
                         "SELECT EXISTS (SELECT 1 FROM event WHERE kind = 'unable')",
                         &value,
                         error);
    *none = rc == 0 && value != 0;
    return rc;
}

static int read_failed(struct reading *reading, struct mf_error *error)
{
    bool is_unable = false;
    if (read_failures(reading, error) < 0 || was_unable(reading, &is_unable, error) < 0)
        return -1;
    reading->ending->is_blamed = reading->ending->failure_count == 0 && !is_unable;
    return 0;
}

/* Where the result is, for those who go on with it. */
static int find_result(const struct reading *reading, struct mf_error *error)
{
    struct settle_ending *ending = reading->ending;
    ending->folder = mf_strdup(reading->folder);
    char *result = mf_format("%s/result", reading->folder);
    if (ending->folder == NULL || result == NULL) {
        mf_free(result);
        return raise_memory(error);
    }
    if (has_result(ending) && access(result, F_OK) == 0)
        ending->result = result;
    else
        mf_free(result);
    return 0;
}

/* Messages are gone for good as soon as that is committed: so is what they were worth, whatever the
 * run's own durability is. */
static int sync_file(const struct reading *reading, const char *name, struct mf_error *error)
{
    char *path = mf_format("%s/%s", reading->folder, name);
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    if (path == NULL)
        rc = raise_memory(error);
    else if (fd < 0 && errno != ENOENT)
        rc = mf_raise_errno(error, "cannot open %s", path);
    else if (fd >= 0 && fsync(fd) < 0)
        rc = mf_raise_errno(error, "cannot write %s to the disk", path);
    if (fd >= 0)
        close(fd);
    mf_free(path);
    return rc;
}

static int sync_run(const struct reading *reading, struct mf_error *error)
{
    static const char *const names[] = {"run.db", "run.db-wal", "result"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (sync_file(reading, names[i], error) < 0)
            return -1;
    return 0;
}

static int read_db(struct reading *reading, struct mf_error *error)
{
    struct settle_ending *ending = reading->ending;
    struct run_facts facts;
    reading->db = run_db_open(reading->path, error);
    if (reading->db == NULL || run_db_facts(reading->db, &facts, error) < 0)
        return -1;
    snprintf(ending->run_id, sizeof ending->run_id, "%s", facts.run_id);
    snprintf(ending->job_name, sizeof ending->job_name, "%s", facts.job_name);
    snprintf(ending->state, sizeof ending->state, "%s", facts.state);
    snprintf(ending->reason, sizeof ending->reason, "%s", facts.reason);
    ending->epoch = facts.epoch;
    if (!is_final(ending->state))
        return 0;
    reading->is_partial = strcmp(ending->state, "partial") == 0;
    int rc = 0;
    if (strcmp(ending->state, "failed") == 0)
        rc = read_failed(reading, error);
    else if (reading->is_partial)
        rc = read_failures(reading, error);
    if (rc == 0 && has_result(ending))
        rc = sync_run(reading, error);
    return rc < 0 || find_result(reading, error) < 0 ? -1 : 1;
}

int settle_read(const char *folder, struct settle_ending *ending, struct mf_error *error)
{
    struct reading reading = {.folder = folder, .ending = ending};
    *ending = (struct settle_ending){0};
    reading.path = mf_format("%s/run.db", folder);
    if (reading.path == NULL)
        return raise_memory(error);
    int rc = run_db_is_made(reading.path, error);
    if (rc > 0)
        rc = read_db(&reading, error);
    sqlite3_finalize(reading.finals);
    run_db_close(reading.db);
    mf_free(reading.path);
    if (rc <= 0)
        settle_fini(ending);
    return rc;
}

void settle_give_up(const char *run_id, const char *why, struct settle_ending *ending)
{
    *ending = (struct settle_ending){.state = "given_up"};
    snprintf(ending->run_id, sizeof ending->run_id, "%s", run_id);
    snprintf(ending->reason, sizeof ending->reason, "%s", why);
}

void settle_fini(struct settle_ending *ending)
{
    for (size_t i = 0; i < ending->failure_count; i++)
        mf_free(ending->failures[i].cause);
    mf_free(ending->failures);
    mf_free(ending->folder);
    mf_free(ending->result);
    *ending = (struct settle_ending){0};
}

/* --- What is done about it. --- */

static int settle_messages(struct queues *queues,
                           const struct settle_ending *ending,
                           struct settled *settled,
                           struct mf_error *error)
{
    for (size_t i = 0; i < ending->failure_count; i++) {
        const struct settle_failure *failure = &ending->failures[i];
        int rc = queue_fail(queues, ending->run_id, failure->message, failure->cause, error);
        if (rc < 0)
            return -1;
        settled->failed += rc > 0;
    }
    if (has_result(ending))
        return spool_settle(queues, ending->run_id, true, error) < 0
                   ? -1
                   : queue_done(queues, ending->run_id, &settled->gone, error);
    uint64_t *count = ending->is_blamed ? &settled->failed : &settled->back;
    const char *why = ending->reason[0] == '\0' ? "its run failed" : ending->reason;
    if (queue_give_back(queues, ending->run_id, ending->is_blamed, why, count, error) < 0)
        return -1;
    return spool_settle(queues, ending->run_id, false, error);
}

/* What the trigger remembers of its run: how it went is -1 failed, 0 cancelled, 1 well. */
static const char trigger_change[] =
    "UPDATE trigger SET last_run = ?2, last_error = ?3,"
    " not_before_us = CASE ?5 WHEN 1 THEN NULL WHEN 0 THEN ?4 + 60000000"
    " ELSE ?4 + " REST " END,"
    " failed = CASE ?5 WHEN 1 THEN 0 WHEN 0 THEN failed ELSE failed + 1 END"
    " WHERE name = ?1";

static int settle_trigger(struct queues *queues,
                          const char *trigger,
                          const struct settle_ending *ending,
                          int64_t now_us,
                          struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    int went = has_result(ending) ? 1 : is_state(ending, "cancelled") ? 0 : -1;
    const char *why = ending->reason[0] == '\0' ? ending->state : ending->reason;
    if (sql_prepare(queues->db, queues->path, trigger_change, &stmt, error) < 0)
        return -1;
    int rc = 0;
    if (sql_bind_string(stmt, 1, trigger) != SQLITE_OK ||
        sql_bind_string(stmt, 2, ending->run_id) != SQLITE_OK ||
        sql_bind_string(stmt, 3, went > 0 ? NULL : why) != SQLITE_OK ||
        sqlite3_bind_int64(stmt, 4, now_us) != SQLITE_OK ||
        sqlite3_bind_int(stmt, 5, went) != SQLITE_OK)
        rc = sql_raise(queues->db, queues->path, error);
    if (rc == 0)
        rc = sql_run(queues->db, queues->path, stmt, error);
    sqlite3_finalize(stmt);
    return rc;
}

/* What else of a firing is needed when it is over. */
struct over {
    char *trigger; /* heap; NULL = none */
    int64_t queue; /* 0 = none */
};

/* 1, 0 when there is no such firing, -1. */
static int
find_firing(struct queues *queues, const char *run_id, struct over *over, struct mf_error *error)
{
    struct firing firing;
    *over = (struct over){0};
    int rc = firing_find(queues, run_id, &firing, error);
    if (rc <= 0)
        return rc;
    over->queue = firing.queue;
    if (firing.trigger != NULL && (over->trigger = mf_strdup(firing.trigger)) == NULL)
        return raise_memory(error);
    return 1;
}

/* Those who wait for this run hear of it. */
static int tell(struct queues *queues,
                const struct settle_ending *ending,
                int64_t now_us,
                struct trigger_fired *fired,
                struct mf_error *error)
{
    const struct after_event event = {.run_id = ending->run_id,
                                      .job = ending->job_name,
                                      .state = ending->state,
                                      .folder = ending->folder,
                                      .result = ending->result,
                                      .epoch = ending->epoch};
    return ending->folder == NULL ? 0 : after_push(queues, &event, now_us, fired, error);
}

static int conclude(struct queues *queues,
                    const struct settle_ending *ending,
                    const struct over *over,
                    int64_t now_us,
                    struct settled *settled,
                    struct trigger_fired *fired,
                    struct mf_error *error)
{
    if (settle_messages(queues, ending, settled, error) < 0 ||
        (over->trigger != NULL &&
         settle_trigger(queues, over->trigger, ending, now_us, error) < 0) ||
        tell(queues, ending, now_us, fired, error) < 0)
        return -1;
    return over->queue == 0 ? 0 : trigger_evaluate_queue(queues, over->queue, now_us, fired, error);
}

int settle_within(struct queues *queues,
                  const struct settle_ending *ending,
                  int64_t now_us,
                  struct settled *settled,
                  struct trigger_fired *fired,
                  struct mf_error *error)
{
    struct over over;
    *settled = (struct settled){0};
    int rc = find_firing(queues, ending->run_id, &over, error);
    if (rc > 0)
        rc = firing_end(queues, ending->run_id, ending->state, now_us, ending->reason, error);
    if (rc > 0 && conclude(queues, ending, &over, now_us, settled, fired, error) < 0)
        rc = -1;
    mf_free(over.trigger);
    return rc;
}

int settle_ending(struct queues *queues,
                  const struct settle_ending *ending,
                  int64_t now_us,
                  struct settled *settled,
                  struct trigger_fired *fired,
                  struct mf_error *error)
{
    *fired = (struct trigger_fired){0};
    if (queues_begin(queues, error) < 0)
        return -1;
    int rc = settle_within(queues, ending, now_us, settled, fired, error);
    if (rc > 0)
        MF_CRASH(FIRING_IN_SETTLE);
    if (rc > 0 && queues_commit(queues, error) < 0)
        rc = -1;
    if (rc > 0) {
        MF_CRASH(FIRING_AFTER_SETTLE);
        return rc;
    }
    queues_rollback(queues);
    trigger_fired_fini(fired);
    return rc;
}

int settle_run(struct queues *queues,
               const char *folder,
               int64_t now_us,
               struct settled *settled,
               struct trigger_fired *fired,
               struct mf_error *error)
{
    struct settle_ending ending;
    *settled = (struct settled){0};
    *fired = (struct trigger_fired){0};
    int rc = settle_read(folder, &ending, error);
    if (rc > 0)
        rc = settle_ending(queues, &ending, now_us, settled, fired, error);
    settle_fini(&ending);
    return rc;
}
