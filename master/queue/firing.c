/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of firings, and which process started one: see firing.h. */
#include "master/queue/firing.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/process.h"
#include "master/queue/statements.h"
#include "master/record/sql.h"

#define COLUMNS                                                                                    \
    "run_id, trigger, queue, cause, due_us, input, made_us, starter, lease_us, messages, state,"   \
    " ended_us, text, tries, not_before_us"
#define COLUMN_COUNT 15
#define BOOT_ID_SIZE 40
#define REST FIRING_REST_SQL("tries - 7")
#define REST_MAX_US (3600 * INT64_C(1000000)) /* of FIRING_REST_SQL */

static const char insert_sql[] =
    "INSERT INTO firing(run_id, trigger, queue, cause, due_us, input, made_us, starter, messages,"
    " state) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'open')";
static const char find_sql[] = "SELECT " COLUMNS " FROM firing WHERE run_id = ?1";
static const char open_sql[] =
    "SELECT run_id FROM firing WHERE state = 'open' ORDER BY made_us, run_id";
static const char count_sql[] = "SELECT count(*) FROM firing WHERE trigger = ?1 AND state = 'open'";
static const char renew_sql[] =
    "UPDATE firing SET lease_us = ?2 WHERE run_id = ?1 AND state = 'open'";
static const char take_sql[] =
    "UPDATE firing SET starter = ?3 WHERE run_id = ?1 AND state = 'open' AND starter = ?2";
static const char release_sql[] = "UPDATE firing SET starter = '', tries = tries + 1, "
                                  "not_before_us = CASE WHEN tries < 7 THEN NULL"
                                  " ELSE ?3 + " REST " END"
                                  " WHERE run_id = ?1 AND starter = ?2";
static const char forget_sql[] =
    "DELETE FROM firing WHERE rowid IN (SELECT rowid FROM firing WHERE ended_us < ?1 LIMIT 5000)";
static const char end_sql[] = "UPDATE firing SET state = ?2, ended_us = ?3, text = ?4"
                              " WHERE run_id = ?1 AND state = 'open'";

static void read_boot_id(char boot_id[BOOT_ID_SIZE])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, boot_id, BOOT_ID_SIZE - 1);
    if (fd >= 0)
        close(fd);
    boot_id[n < 0 ? 0 : n] = '\0';
    boot_id[strcspn(boot_id, "\n")] = '\0';
}

/* When a process started, in ticks since the boot; 0 = there is none, or it has ended and is only
 * not buried yet. */
static uint64_t start_of(pid_t pid)
{
    struct mf_buffer stat = {0};
    uint64_t start = 0;
    if (mf_process_read(pid, "stat", &stat) == 0) {
        /* The name of the program stands in parentheses and can hold anything. Behind it: state,
         * and 18 numbers before this one. */
        const char *at = strrchr((const char *)stat.data, ')');
        bool is_alive = at != NULL && strlen(at) > 2 && at[2] != 'Z' && at[2] != 'X';
        for (int i = 0; is_alive && at != NULL && i < 20; i++)
            at = strchr(at + 1, ' ');
        start = is_alive && at != NULL ? strtoull(at, NULL, 10) : 0;
    }
    mf_buffer_fini(&stat);
    return start;
}

char *firing_starter(void)
{
    char boot_id[BOOT_ID_SIZE];
    read_boot_id(boot_id);
    return mf_format("%d %" PRIu64 " %s", (int)getpid(), start_of(getpid()), boot_id);
}

bool firing_starter_lives(const char *starter)
{
    char boot_id[BOOT_ID_SIZE], *end;
    long pid = strtol(starter, &end, 10);
    uint64_t start = strtoull(end, &end, 10);
    read_boot_id(boot_id);
    if (pid <= 0 || *end != ' ' || strcmp(end + 1, boot_id) != 0)
        return false;
    return start != 0 && start_of((pid_t)pid) == start;
}

bool firing_rests(int64_t not_before_us, int64_t now_us)
{
    return not_before_us > now_us && not_before_us - now_us <= REST_MAX_US + FIRING_CLOCK_SLACK_US;
}

int firing_insert(struct queues *queues, const struct firing *firing, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, insert_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, firing->run_id);
    sql_bind_string(stmt, 2, firing->trigger);
    sql_bind_nonzero(stmt, 3, firing->queue);
    sql_bind_string(stmt, 4, firing->cause);
    sql_bind_nonzero(stmt, 5, firing->due_us);
    sql_bind_string(stmt, 6, firing->input);
    sqlite3_bind_int64(stmt, 7, firing->made_us);
    sql_bind_string(stmt, 8, firing->starter);
    sqlite3_bind_int64(stmt, 9, (int64_t)firing->messages);
    return queue_run(queues, stmt, error) < 0 ? -1 : 0;
}

/* Copies all texts of the row one behind the other; where each stands, or -1 for NULL. */
static int copy_texts(struct mf_buffer *texts,
                      sqlite3_stmt *stmt,
                      ptrdiff_t at[COLUMN_COUNT],
                      struct mf_error *error)
{
    mf_buffer_clear(texts);
    for (int i = 0; i < COLUMN_COUNT; i++) {
        const char *text = (const char *)sqlite3_column_text(stmt, i);
        at[i] = text == NULL ? -1 : (ptrdiff_t)texts->length;
        if (text != NULL && mf_buffer_append(texts, text, strlen(text) + 1, error) < 0)
            return -1;
    }
    return 0;
}

int firing_find(struct queues *queues,
                const char *run_id,
                struct firing *firing,
                struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, find_sql, error);
    struct mf_buffer *texts = queue_scratch(queues);
    ptrdiff_t at[COLUMN_COUNT];
    const char *text[COLUMN_COUNT];
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, run_id);
    int rc = queue_step(queues, stmt, error);
    if (rc != 1)
        return rc;
    if (copy_texts(texts, stmt, at, error) < 0) {
        sqlite3_reset(stmt);
        return -1;
    }
    for (int i = 0; i < COLUMN_COUNT; i++)
        text[i] = at[i] < 0 ? NULL : (const char *)texts->data + at[i];
    *firing = (struct firing){.run_id = text[0],
                              .trigger = text[1],
                              .queue = sqlite3_column_int64(stmt, 2),
                              .cause = text[3],
                              .due_us = sqlite3_column_int64(stmt, 4),
                              .input = text[5],
                              .made_us = sqlite3_column_int64(stmt, 6),
                              .starter = text[7],
                              .lease_us = sqlite3_column_int64(stmt, 8),
                              .messages = (uint64_t)sqlite3_column_int64(stmt, 9),
                              .state = text[10],
                              .ended_us = sqlite3_column_int64(stmt, 11),
                              .text = text[12],
                              .tries = (uint64_t)sqlite3_column_int64(stmt, 13),
                              .not_before_us = sqlite3_column_int64(stmt, 14)};
    sqlite3_reset(stmt);
    return 1;
}

/* The ids of all open firings, one behind the other, each with its NUL. */
static int list_open(struct queues *queues, struct mf_buffer *ids, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, open_sql, error);
    int rc = stmt == NULL ? -1 : 1;
    while (rc == 1 && (rc = queue_step(queues, stmt, error)) == 1) {
        const char *id = (const char *)sqlite3_column_text(stmt, 0);
        if (id != NULL && mf_buffer_append(ids, id, strlen(id) + 1, error) < 0) {
            sqlite3_reset(stmt);
            return -1;
        }
    }
    return rc;
}

int firing_each_open(struct queues *queues, firing_each_f *f, void *arg, struct mf_error *error)
{
    struct mf_buffer ids = {0};
    int rc = list_open(queues, &ids, error);
    for (size_t at = 0; rc == 0 && at < ids.length; at += strlen((const char *)ids.data + at) + 1) {
        struct firing firing;
        int found = firing_find(queues, (const char *)ids.data + at, &firing, error);
        if (found < 0)
            rc = -1;
        else if (found == 1 && strcmp(firing.state, "open") == 0 && f(arg, &firing) != 0)
            break;
    }
    mf_buffer_fini(&ids);
    return rc;
}

int firing_count_open(struct queues *queues,
                      const char *trigger,
                      uint64_t *count,
                      struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, count_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, trigger);
    int rc = queue_step(queues, stmt, error);
    if (rc != 1)
        return -1;
    *count = (uint64_t)sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return 0;
}

int firing_take(struct queues *queues,
                const char *run_id,
                const char *before,
                const char *starter,
                struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, take_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, run_id);
    sql_bind_string(stmt, 2, before);
    sql_bind_string(stmt, 3, starter);
    int64_t changed = queue_run(queues, stmt, error);
    return changed < 0 ? -1 : changed > 0;
}

int firing_release(struct queues *queues,
                   const char *run_id,
                   const char *starter,
                   int64_t now_us,
                   struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, release_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, run_id);
    sql_bind_string(stmt, 2, starter);
    sqlite3_bind_int64(stmt, 3, now_us);
    return queue_run(queues, stmt, error) < 0 ? -1 : 0;
}

int firing_renew(struct queues *queues,
                 const char *run_id,
                 int64_t lease_us,
                 struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, renew_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, run_id);
    sqlite3_bind_int64(stmt, 2, lease_us);
    return queue_run(queues, stmt, error) < 0 ? -1 : 0;
}

int firing_end(struct queues *queues,
               const char *run_id,
               const char *state,
               int64_t now_us,
               const char *text,
               struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, end_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, run_id);
    sql_bind_string(stmt, 2, state);
    sqlite3_bind_int64(stmt, 3, now_us);
    sql_bind_string(stmt, 4, text);
    return (int)queue_run(queues, stmt, error);
}

int firing_forget(struct queues *queues, int64_t before_us, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, forget_sql, error);
    if (stmt == NULL)
        return -1;
    sqlite3_bind_int64(stmt, 1, before_us);
    return queue_run(queues, stmt, error) < 0 ? -1 : 0;
}

int queues_forget(struct queues *queues, int64_t now_us, struct mf_error *error)
{
    int rc = queues_begin(queues, error);
    if (rc == 0)
        rc = queue_forget_keys(queues, now_us, error);
    if (rc == 0)
        rc = firing_forget(queues, now_us - FIRING_KEPT_US, error);
    if (rc == 0)
        rc = queues_commit(queues, error);
    queues_rollback(queues);
    return rc;
}
