/* SPDX-License-Identifier: Apache-2.0 */
/* How a run stands: see overview.h. */
#include "master/commands/overview.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/control.h"
#include "master/record/run_db.h"
#include "master/record/sql.h"

#define ANSWER_S 2

static const struct {
    const char *state;
    int code;
} ends[] = {
    {"succeeded", 0}, {"partial", 0}, {"failed", 1}, {"cancelled", 4}, {"interrupted", 130}};

int overview_exit_code(const char *state)
{
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(state, ends[i].state) == 0)
            return ends[i].code;
    return 3;
}

static bool is_final(const char *state)
{
    return overview_exit_code(state) != 3 && strcmp(state, "interrupted") != 0;
}

json_t *overview_request(const char *folder, json_t *request, struct mf_error *error)
{
    int fd = control_connect(folder, error);
    if (fd < 0) {
        json_decref(request);
        return NULL;
    }
    struct timeval limit = {.tv_sec = ANSWER_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    json_t *answer = control_ask(fd, request, error);
    close(fd);
    if (answer == NULL) {
        if (error != NULL && error->code == MF_ESYSTEM)
            mf_raise(error,
                     MF_ESETUP,
                     "the master of the run in %s does not answer (waited %d s): is it stopped?",
                     folder,
                     ANSWER_S);
        return NULL;
    }
    if (json_is_true(json_object_get(answer, "ok")))
        return answer;
    const char *why = json_string_value(json_object_get(answer, "error"));
    mf_raise(error, MF_ESETUP, "the master refused: %s", why == NULL ? "no reason given" : why);
    json_decref(answer);
    return NULL;
}

json_t *overview_ask(const char *folder, const char *command, struct mf_error *error)
{
    return overview_request(folder, json_pack("{s:s}", "command", command), error);
}

bool overview_has_socket(const char *folder)
{
    char *path = run_path(folder, "control.sock");
    bool has = path == NULL || access(path, F_OK) == 0;
    mf_free(path);
    return has;
}

static uint64_t count_in(const json_t *subtasks, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(subtasks, key));
}

/* 0, or -1 when the master says nothing now. */
static int ask_counts(const char *folder, struct overview *overview)
{
    json_t *status = overview_ask(folder, "status", NULL);
    overview->is_silent = status == NULL && overview_has_socket(folder);
    if (status == NULL)
        return -1;
    const json_t *subtasks = json_object_get(status, "subtasks");
    const char *state = json_string_value(json_object_get(status, "state"));
    if (state != NULL)
        snprintf(overview->state, sizeof overview->state, "%s", state);
    overview->has_total = json_is_integer(json_object_get(subtasks, "total"));
    overview->total = count_in(subtasks, "total");
    overview->done = count_in(subtasks, "done");
    overview->failed = count_in(subtasks, "failed");
    overview->dead = count_in(subtasks, "dead");
    overview->cancelled = count_in(subtasks, "cancelled");
    json_decref(status);
    return 0;
}

static int
read_row(sqlite3 *db, const char *path, struct overview *overview, struct mf_error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sql_prepare(db,
                         path,
                         "SELECT job_name, state, reason, total, done, failed, dead, cancelled,"
                         " started_us, ended_us, job_path FROM run",
                         &stmt,
                         error);
    if (rc == 0 && sqlite3_step(stmt) != SQLITE_ROW)
        rc = sqlite3_errcode(db) == SQLITE_DONE
                 ? mf_raise(error, MF_EINPUT, "%s has no row in table run", path)
                 : sql_raise(db, path, error);
    if (rc == 0) {
        sql_column_copy(stmt, 0, overview->job_name, sizeof overview->job_name);
        sql_column_copy(stmt, 1, overview->state, sizeof overview->state);
        sql_column_copy(stmt, 2, overview->reason, sizeof overview->reason);
        overview->has_total = sqlite3_column_type(stmt, 3) != SQLITE_NULL;
        overview->total = (uint64_t)sqlite3_column_int64(stmt, 3);
        overview->done = (uint64_t)sqlite3_column_int64(stmt, 4);
        overview->failed = (uint64_t)sqlite3_column_int64(stmt, 5);
        overview->dead = (uint64_t)sqlite3_column_int64(stmt, 6);
        overview->cancelled = (uint64_t)sqlite3_column_int64(stmt, 7);
        overview->started_us = sqlite3_column_int64(stmt, 8);
        overview->ended_us = sqlite3_column_int64(stmt, 9);
        sql_column_copy(stmt, 10, overview->job_path, sizeof overview->job_path);
        overview->is_ended = is_final(overview->state);
    }
    sqlite3_finalize(stmt);
    return rc;
}

static int count_rows(sqlite3 *db, struct overview *overview, struct mf_error *error)
{
    struct run_facts facts;
    if (run_db_facts(db, &facts, error) < 0)
        return -1;
    overview->done = facts.done;
    overview->failed = facts.failed;
    overview->dead = facts.dead;
    return 0;
}

/* Whichever of its files is the newest says so. */
int64_t overview_left_us(const char *folder, int64_t started_us)
{
    static const char *const written[] = {"master.log", "run.db", "run.db-wal"};
    int64_t left_us = started_us;
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        struct stat facts;
        char *path = run_path(folder, written[i]);
        if (path != NULL && stat(path, &facts) == 0) {
            int64_t us = (int64_t)facts.st_mtim.tv_sec * 1000000 + facts.st_mtim.tv_nsec / 1000;
            left_us = us > left_us ? us : left_us;
        }
        mf_free(path);
    }
    return left_us;
}

static void set_interrupted(const char *folder, struct overview *overview)
{
    snprintf(overview->state, sizeof overview->state, "interrupted");
    overview->left_us = overview_left_us(folder, overview->started_us);
}

static int
read_db(const char *folder, const char *path, struct overview *overview, struct mf_error *error)
{
    sqlite3 *db = run_db_open(path, error);
    if (db == NULL)
        return -1;
    int rc = read_row(db, path, overview, error);
    if (rc == 0 && !overview->is_ended) {
        overview->is_live = run_folder_is_live(folder);
        /* It may have ended between the two questions. */
        if (!overview->is_live)
            rc = read_row(db, path, overview, error);
    }
    if (rc == 0 && !overview->is_ended) {
        if (!overview->is_live)
            set_interrupted(folder, overview);
        if (!overview->is_live || ask_counts(folder, overview) < 0)
            rc = count_rows(db, overview, error);
    }
    run_db_close(db);
    return rc;
}

int overview_read(const char *folder,
                  const char *run_id,
                  struct overview *overview,
                  struct mf_error *error)
{
    struct stat facts;
    struct overview fresh = {0};
    snprintf(fresh.run_id, sizeof fresh.run_id, "%s", run_id); /* it may be the old one's */
    *overview = fresh;
    run_id = overview->run_id;
    if (stat(folder, &facts) < 0)
        return mf_raise(error, MF_EINPUT, "cannot read %s: %s", folder, strerror(errno));
    if (!S_ISDIR(facts.st_mode) || !run_folder_is_id(run_id))
        return mf_raise(error, MF_EINPUT, "%s is not a run folder", folder);
    char *path = run_path(folder, "run.db");
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    bool was_live = run_folder_is_live(folder);
    int rc = access(path, F_OK) == 0
                 ? read_db(folder, path, overview, error)
                 : mf_raise(error,
                            MF_EINPUT,
                            "%s has no run.db: its master ended before it made one, or it was "
                            "removed",
                            folder);
    if (rc < 0 && was_live && !overview_has_socket(folder)) {
        overview->is_live = true;
        snprintf(overview->state, sizeof overview->state, "starting");
        rc = 0;
    }
    mf_free(path);
    return rc;
}

char *overview_find(const char *name, struct overview *overview, struct mf_error *error)
{
    char run_id[RUN_ID_SIZE];
    char *folder = run_folder_find(name, run_id, error);
    if (folder == NULL || overview_read(folder, run_id, overview, error) == 0)
        return folder;
    mf_free(folder);
    return NULL;
}

int64_t overview_wall_us(const struct overview *overview)
{
    int64_t end_us = overview->ended_us != 0  ? overview->ended_us
                     : overview->left_us != 0 ? overview->left_us
                                              : mf_wall_us();
    if (overview->started_us == 0)
        return 0;
    return end_us > overview->started_us ? end_us - overview->started_us : 0;
}

void overview_say_interrupted(const struct overview *overview)
{
    if (!overview->is_live && !overview->is_ended)
        fprintf(stderr,
                "mayfly: run %s was interrupted: mayfly resume %s goes on with it\n",
                overview->run_id,
                overview->run_id);
}

const char *overview_counts(const struct overview *overview, char *out, size_t size)
{
    snprintf(out,
             size,
             "%" PRIu64 " done, %" PRIu64 " failed, %" PRIu64 " dead, %" PRIu64 " cancelled",
             overview->done,
             overview->failed,
             overview->dead,
             overview->cancelled);
    return out;
}

json_t *overview_subtasks_json(const struct overview *overview)
{
    return json_pack("{s:o, s:I, s:I, s:I, s:I}",
                     "total",
                     overview->has_total ? json_integer((json_int_t)overview->total) : json_null(),
                     "done",
                     (json_int_t)overview->done,
                     "failed",
                     (json_int_t)overview->failed,
                     "dead",
                     (json_int_t)overview->dead,
                     "cancelled",
                     (json_int_t)overview->cancelled);
}
