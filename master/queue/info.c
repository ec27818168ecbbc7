/* SPDX-License-Identifier: Apache-2.0 */
/* The queues themselves: made, found, listed, removed, and which of them pass messages on. */
#include "master/queue/queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "master/queue/statements.h"
#include "master/record/sql.h"

#define CLAIMS_MAX 3
#define KEY_US (7 * 24 * 3600 * 1000000ULL)
#define NAMES_MAX 10 /* of those that a message lists */

/* The oldest that can be claimed is the first of the index message_ready. */
#define SELECT_INFO                                                                                \
    "SELECT id, name, created_us, body_max, claims_max, key_us, ready, ready_bytes, claimed, "     \
    "dead,"                                                                                        \
    " pushed, done,"                                                                               \
    " (SELECT arrived_us FROM message WHERE message.queue = q.id AND state = 'ready' AND held = 0" \
    "   ORDER BY id LIMIT 1),"                                                                     \
    " (SELECT count(*) FROM fan_out WHERE source = q.id) FROM queue AS q "

static const char find_sql[] = SELECT_INFO "WHERE name = ?1";
static const char by_id_sql[] = SELECT_INFO "WHERE id = ?1";
static const char each_sql[] = SELECT_INFO "ORDER BY name";
static const char targets_sql[] =
    SELECT_INFO "WHERE id IN (SELECT target FROM fan_out WHERE source = ?1) ORDER BY name";
static const char names_sql[] = "SELECT name FROM queue WHERE name NOT LIKE 'after.%'"
                                " ORDER BY name";
static const char insert_sql[] =
    "INSERT INTO queue(name, created_us, body_max, claims_max, key_us) VALUES(?1, ?2, ?3, ?4, ?5)";
static const char passes_sql[] = "SELECT 1 FROM fan_out WHERE source = ?2 OR target = ?1";
static const char fan_out_sql[] = "INSERT OR IGNORE INTO fan_out(source, target) VALUES(?1, ?2)";
static const char no_fan_out_sql[] = "DELETE FROM fan_out WHERE source = ?1 AND target = ?2";
static const char trigger_sql[] = "SELECT name FROM trigger WHERE queue = ?1";
static const char source_sql[] =
    "SELECT name FROM queue, fan_out WHERE target = ?1 AND id = source";

int queue_check_name(const char *name, struct mf_error *error)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t length = strlen(name);
    if (length == 0 || strchr(letters, name[0]) == NULL)
        return mf_raise(error,
                        MF_EUSAGE,
                        "\"%s\" cannot be the name of a queue: it begins with a letter, a digit or"
                        " '_'",
                        name);
    for (size_t i = 0; i < length; i++)
        if (strchr(letters, name[i]) == NULL && name[i] != '.' && name[i] != '-')
            return mf_raise(error,
                            MF_EUSAGE,
                            "\"%s\" cannot be the name of a queue: use letters, digits, '.', '-'"
                            " and '_'",
                            name);
    if (length > QUEUE_NAME_MAX)
        return mf_raise(error,
                        MF_EUSAGE,
                        "\"%s\" is too long for the name of a queue: use up to %u characters",
                        name,
                        QUEUE_NAME_MAX);
    return 0;
}

static void read_info(sqlite3_stmt *stmt, struct queue_info *info)
{
    *info = (struct queue_info){.id = sqlite3_column_int64(stmt, 0)};
    sql_column_copy(stmt, 1, info->name, sizeof info->name);
    info->created_us = sqlite3_column_int64(stmt, 2);
    info->body_max = (uint64_t)sqlite3_column_int64(stmt, 3);
    info->claims_max = (uint64_t)sqlite3_column_int64(stmt, 4);
    info->key_us = (uint64_t)sqlite3_column_int64(stmt, 5);
    info->ready = (uint64_t)sqlite3_column_int64(stmt, 6);
    info->ready_bytes = (uint64_t)sqlite3_column_int64(stmt, 7);
    info->claimed = (uint64_t)sqlite3_column_int64(stmt, 8);
    info->dead = (uint64_t)sqlite3_column_int64(stmt, 9);
    info->pushed = (uint64_t)sqlite3_column_int64(stmt, 10);
    info->done = (uint64_t)sqlite3_column_int64(stmt, 11);
    info->oldest_us = sqlite3_column_int64(stmt, 12);
    info->fan_out = (uint64_t)sqlite3_column_int64(stmt, 13);
}

/* The one row that the statement yields: 1 and *info, 0, -1. */
static int
one(struct queues *queues, sqlite3_stmt *stmt, struct queue_info *info, struct mf_error *error)
{
    int rc = queue_step(queues, stmt, error);
    if (rc == 1) {
        read_info(stmt, info);
        sqlite3_reset(stmt);
    }
    return rc;
}

/* "there is no queue "x"" and which there are. */
static int raise_unknown(struct queues *queues, const char *name, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, names_sql, error);
    char names[NAMES_MAX * (QUEUE_NAME_MAX + 2) + 32] = "";
    size_t at = 0, count = 0, more = 0;
    int rc = stmt == NULL ? -1 : 1;
    while (rc == 1 && (rc = queue_step(queues, stmt, error)) == 1) {
        if (count == NAMES_MAX) {
            more++;
            continue;
        }
        at += (size_t)snprintf(names + at,
                               sizeof names - at,
                               "%s%s",
                               count++ == 0 ? "" : ", ",
                               (const char *)sqlite3_column_text(stmt, 0));
    }
    if (rc < 0)
        return -1;
    if (more > 0)
        snprintf(names + at, sizeof names - at, " and %zu more", more);
    if (count == 0)
        return mf_raise(error,
                        MF_EUSAGE,
                        "there is no queue \"%s\", nor any other: mayfly queue create makes one",
                        name);
    return mf_raise(error,
                    MF_EUSAGE,
                    "there is no queue \"%s\", but %s (mayfly queue create makes one)",
                    name,
                    names);
}

int queue_find(struct queues *queues,
               const char *name,
               struct queue_info *info,
               struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, find_sql, error);
    if (stmt == NULL)
        return -1;
    sql_bind_string(stmt, 1, name);
    int rc = one(queues, stmt, info, error);
    return rc != 0 ? rc : raise_unknown(queues, name, error);
}

int queue_by_id(struct queues *queues, int64_t id, struct queue_info *info, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, by_id_sql, error);
    if (stmt == NULL)
        return -1;
    sqlite3_bind_int64(stmt, 1, id);
    int rc = one(queues, stmt, info, error);
    if (rc != 0)
        return rc;
    return mf_raise(error, MF_EUSAGE, "queue %" PRId64 " is not there any more", id);
}

int queue_create(struct queues *queues,
                 const char *name,
                 const struct queue_settings *settings,
                 int64_t now_us,
                 int64_t *id,
                 struct mf_error *error)
{
    struct queue_info there;
    sqlite3_stmt *find = queue_statement(queues, find_sql, error);
    sqlite3_stmt *insert = queue_statement(queues, insert_sql, error);
    if (queue_check_name(name, error) < 0 || find == NULL || insert == NULL)
        return -1;
    if (settings->body_max > QUEUE_BODY_MAX)
        return mf_raise(error,
                        MF_EUSAGE,
                        "the bodies of queue \"%s\" can be up to %u bytes, not %" PRIu64,
                        name,
                        QUEUE_BODY_MAX,
                        settings->body_max);
    sql_bind_string(find, 1, name);
    int rc = one(queues, find, &there, error);
    if (rc != 0)
        return rc < 0 ? -1 : mf_raise(error, MF_EUSAGE, "there is a queue \"%s\" already", name);
    sql_bind_string(insert, 1, name);
    sqlite3_bind_int64(insert, 2, now_us);
    sqlite3_bind_int64(
        insert, 3, (int64_t)(settings->body_max == 0 ? QUEUE_BODY_MAX : settings->body_max));
    sqlite3_bind_int64(
        insert, 4, (int64_t)(settings->claims_max == 0 ? CLAIMS_MAX : settings->claims_max));
    sqlite3_bind_int64(insert, 5, (int64_t)(settings->key_us == 0 ? KEY_US : settings->key_us));
    if (queue_run(queues, insert, error) < 0)
        return -1;
    *id = sqlite3_last_insert_rowid(queues->db);
    return 0;
}

int queue_add_fan_out(struct queues *queues,
                      const struct queue_info *source,
                      const struct queue_info *target,
                      struct mf_error *error)
{
    sqlite3_stmt *passes = queue_statement(queues, passes_sql, error);
    sqlite3_stmt *insert = queue_statement(queues, fan_out_sql, error);
    if (passes == NULL || insert == NULL)
        return -1;
    sqlite3_bind_int64(passes, 1, source->id);
    sqlite3_bind_int64(passes, 2, target->id);
    bool is_same = source->id == target->id;
    int rc = queue_step(queues, passes, error);
    sqlite3_reset(passes);
    if (rc < 0)
        return -1;
    if (rc == 1 || is_same)
        return mf_raise(error,
                        MF_EUSAGE,
                        "queue \"%s\" cannot pass its messages on to \"%s\": a copy is not passed"
                        " on again",
                        source->name,
                        target->name);
    sqlite3_bind_int64(insert, 1, source->id);
    sqlite3_bind_int64(insert, 2, target->id);
    return queue_run(queues, insert, error) < 0 ? -1 : 0;
}

int queue_remove_fan_out(struct queues *queues,
                         const struct queue_info *source,
                         const struct queue_info *target,
                         struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, no_fan_out_sql, error);
    if (stmt == NULL)
        return -1;
    sqlite3_bind_int64(stmt, 1, source->id);
    sqlite3_bind_int64(stmt, 2, target->id);
    return (int)queue_run(queues, stmt, error);
}

/* Reads all first, so that f may do what it likes. */
static int
each(struct queues *queues, sqlite3_stmt *stmt, queue_each_f *f, void *arg, struct mf_error *error)
{
    struct queue_info *all = NULL;
    size_t count = 0;
    int rc;
    while ((rc = queue_step(queues, stmt, error)) == 1) {
        struct queue_info *more = mf_realloc(all, (count + 1) * sizeof *more);
        if (more == NULL) {
            sqlite3_reset(stmt);
            rc = mf_raise(error, MF_ENOMEM, "out of memory: the list of queues");
            break;
        }
        all = more;
        read_info(stmt, &all[count++]);
    }
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (f(arg, &all[i]) != 0)
            break;
    mf_free(all);
    return rc;
}

int queue_each(struct queues *queues, queue_each_f *f, void *arg, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, each_sql, error);
    return stmt == NULL ? -1 : each(queues, stmt, f, arg, error);
}

int queue_each_target(
    struct queues *queues, int64_t source, queue_each_f *f, void *arg, struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, targets_sql, error);
    if (stmt == NULL)
        return -1;
    sqlite3_bind_int64(stmt, 1, source);
    return each(queues, stmt, f, arg, error);
}

/* Whether somebody needs the queue: `sql` yields its name, `why` says what for. */
static int check_unused(struct queues *queues,
                        const struct queue_info *queue,
                        const char *sql,
                        const char *why,
                        struct mf_error *error)
{
    sqlite3_stmt *stmt = queue_statement(queues, sql, error);
    if (stmt == NULL)
        return -1;
    sqlite3_bind_int64(stmt, 1, queue->id);
    int rc = queue_step(queues, stmt, error);
    if (rc != 1)
        return rc;
    mf_raise(error,
             MF_EUSAGE,
             "queue \"%s\" stays: %s \"%s\"",
             queue->name,
             why,
             (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_reset(stmt);
    return -1;
}

int queue_remove(struct queues *queues, const struct queue_info *queue, struct mf_error *error)
{
    static const char messages_sql[] = "DELETE FROM message WHERE queue = ?1";
    static const char seen_sql[] = "DELETE FROM seen WHERE queue = ?1";
    static const char targets_of_sql[] = "DELETE FROM fan_out WHERE source = ?1";
    static const char queue_sql[] = "DELETE FROM queue WHERE id = ?1";
    static const char *const deletions[] = {messages_sql, seen_sql, targets_of_sql, queue_sql};
    struct queue_info now = {0};
    if (queue_by_id(queues, queue->id, &now, error) < 0 ||
        check_unused(queues, queue, trigger_sql, "it is waited for by the trigger of", error) < 0 ||
        check_unused(queues, queue, source_sql, "it gets copies of what is pushed to", error) < 0)
        return -1;
    if (now.claimed > 0)
        return mf_raise(error,
                        MF_EUSAGE,
                        "queue \"%s\" stays: runs have %" PRIu64 " of its messages; wait for them"
                        " or cancel them",
                        queue->name,
                        now.claimed);
    for (size_t i = 0; i < sizeof deletions / sizeof *deletions; i++) {
        sqlite3_stmt *stmt = queue_statement(queues, deletions[i], error);
        if (stmt == NULL)
            return -1;
        sqlite3_bind_int64(stmt, 1, queue->id);
        if (queue_run(queues, stmt, error) < 0)
            return -1;
    }
    return 0;
}
