/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the files of messages end: see spool_settle in source.h, and spool.h for the folders.
 *
 * The files are moved before the transaction that speaks of them is committed. When that never
 * happens all of it comes again, so a file that is not in its old place any more has to be found in
 * its new one, which is therefore a matter of names alone: RUN_ID/NAME, or RUN_ID/TAG/NAME when
 * another one had the name, where TAG is the folder that the file comes from.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/crash.h"
#include "master/record/sql.h"
#include "master/source/spool.h"

/* Those of a run whose files we have claimed for their queue: claimed messages by their index, dead
 * ones of the run's queue. A copy in another queue (fan-out) has the same key, and one with a name
 * that is not UTF-8 is a blob. */
#define THOSE                                                                                      \
    "SELECT m.id, m.state, m.body FROM message AS m, queue AS q, consumer AS c"                    \
    " WHERE m.run_id = ?1 AND q.id = m.queue AND"                                                  \
    " CAST(substr(m.key, 1, length(c.name) + length(q.name) + 8) AS TEXT) ="                       \
    " 'spool:' || c.name || '-' || q.name || '@' AND "
static const char select_sql[] =
    THOSE "m.state = 'claimed' UNION ALL " THOSE "m.state = 'dead' AND m.queue IN"
          " (SELECT queue FROM firing WHERE run_id = ?1)";

struct settling {
    struct queues *queues;
    const char *run_id;
    bool has_succeeded;
    char *path;                 /* of the SPOOL of the last file; NULL = none yet */
    int folder;                 /* that, -1 = it is gone, and all its files with it */
    struct spool_names folders; /* below it, that files were moved to, and what these lie in */
};

/* Where a file was, in parts of its old path: SPOOL/.claimed/BATCH/NAME, or
 * SPOOL/failed/RUN_ID/NAME or SPOOL/failed/RUN_ID/TAG/NAME of a dead letter that was replayed. */
struct file {
    char *spool;
    char *old_path;   /* below SPOOL */
    const char *name; /* its last part */
    char *folder;     /* without that */
    const char *tag;  /* the last part of the folder */
};

/* Cuts the last part off a path; NULL when that was all of it. */
static char *cut(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return NULL;
    *slash = '\0';
    return slash + 1;
}

/* The length of SPOOL in a body; 0 when it is not of that form. */
static size_t length_of_spool(char *body)
{
    if (cut(body) == NULL)
        return 0;
    for (int i = 0; i < 3; i++) {
        const char *part = cut(body);
        if (part == NULL)
            return 0;
        if (i > 0 &&
            (strcmp(part, SPOOL_FAILED) == 0 || (i == 1 && strcmp(part, SPOOL_CLAIMED) == 0)))
            return strlen(body);
    }
    return 0;
}

/* 1; 0: the message does not say so, whatever it was made of; -1. */
static int read_body(struct mf_bytes body, struct file *file, struct mf_error *error)
{
    *file = (struct file){0};
    char *path = mf_memdup(body.data, body.length), *copy = mf_memdup(body.data, body.length);
    size_t length = 0;
    int rc = path == NULL || copy == NULL ? -1 : 0;
    if (rc == 0 && strlen(path) == body.length && strstr(path, "/../") == NULL)
        length = length_of_spool(copy);
    if (length > 0) {
        *file = (struct file){.spool = mf_memdup(path, length),
                              .old_path = mf_strdup(path + length + 1),
                              .folder = mf_strdup(path + length + 1)};
        rc = file->spool == NULL || file->old_path == NULL || file->folder == NULL ? -1 : 1;
    }
    mf_free(path);
    mf_free(copy);
    if (rc < 0)
        return mf_raise(error, MF_ENOMEM, "out of memory: the path of a claimed file");
    if (rc == 1) {
        file->name = file->old_path + (cut(file->folder) - file->folder);
        file->tag = strrchr(file->folder, '/') + 1;
    }
    return rc;
}

static void file_fini(struct file *file)
{
    mf_free(file->spool);
    mf_free(file->old_path);
    mf_free(file->folder);
}

static int raise_move(const struct settling *settling, const char *where, struct mf_error *error)
{
    if (errno == EXDEV)
        return mf_raise(
            error,
            MF_ESETUP,
            "%s/%s is on another file system than %s: files of runs that have ended are "
            "moved there by renaming, so both have to be on one",
            settling->path,
            where,
            settling->path);
    return mf_raise_write(error,
                          "cannot move a file of the run %s to %s/%s",
                          settling->run_id,
                          settling->path,
                          where);
}

static bool is_there(const struct settling *settling, const char *path)
{
    struct stat status;
    return fstatat(settling->folder, path, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* WHERE/RUN_ID/NAME, or with the tag between (heap). */
static char *
new_path(const struct settling *settling, const struct file *file, const char *where, bool tagged)
{
    return tagged ? mf_format("%s/%s/%s/%s", where, settling->run_id, file->tag, file->name)
                  : mf_format("%s/%s/%s", where, settling->run_id, file->name);
}

/* The folders that `path` lies in, below SPOOL. */
static int make_folders(struct settling *settling, char *path, struct mf_error *error)
{
    for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = mkdirat(settling->folder, path, 0777) == 0 || errno == EEXIST
                     ? 0
                     : raise_move(settling, path, error);
        if (rc == 0 && !spool_names_has(&settling->folders, path))
            rc = spool_names_add(&settling->folders, path, error);
        *slash = '/';
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int
rename_file(struct settling *settling, const struct file *file, char *path, struct mf_error *error)
{
    if (make_folders(settling, path, error) < 0)
        return -1;
    if (renameat(settling->folder, file->old_path, settling->folder, path) < 0)
        return raise_move(settling, path, error);
    MF_CRASH(SOURCE_AFTER_MOVE);
    return 0;
}

/* Below SPOOL/WHERE; *path (heap) is where the file is then, NULL when it is nowhere. */
static int move_file(struct settling *settling,
                     const struct file *file,
                     const char *where,
                     char **path,
                     struct mf_error *error)
{
    char *plain = new_path(settling, file, where, false);
    char *tagged = new_path(settling, file, where, true);
    int rc = 0;
    *path = NULL;
    if (plain == NULL || tagged == NULL) {
        rc = mf_raise(error, MF_ENOMEM, "out of memory: the path of a file");
    } else {
        bool is_old_there = is_there(settling, file->old_path);
        char **target = is_there(settling, is_old_there ? plain : tagged) ? &tagged : &plain;
        if (is_old_there)
            rc = rename_file(settling, file, *target, error);
        if (rc == 0 && (is_old_there || is_there(settling, *target))) {
            *path = *target;
            *target = NULL;
        }
    }
    mf_free(plain);
    mf_free(tagged);
    return rc;
}

/* The batch's folder goes with its last file. */
static void remove_tag(const struct settling *settling, const struct file *file)
{
    unlinkat(settling->folder, file->folder, AT_REMOVEDIR);
}

static int settle_file(struct settling *settling,
                       const struct file *file,
                       bool is_dead,
                       char **path,
                       struct mf_error *error)
{
    const char *where = is_dead ? SPOOL_FAILED : SPOOL_DONE;
    size_t length = strlen(where);
    *path = NULL;
    if (strncmp(file->old_path, where, length) == 0 && file->old_path[length] == '/' &&
        strncmp(file->old_path + length + 1, settling->run_id, strlen(settling->run_id)) == 0)
        return 0; /* it is there */
    if (move_file(settling, file, where, path, error) < 0)
        return -1;
    remove_tag(settling, file);
    return 0;
}

/* A rename is durable when the folder is that it leads to. */
static int sync_folders(const struct settling *settling, struct mf_error *error)
{
    const char *name = NULL;
    int rc = settling->folders.count == 0 ? 0 : fsync(settling->folder);
    while (rc == 0 && (name = spool_names_next(&settling->folders, name)) != NULL) {
        int fd = openat(settling->folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = fd < 0 ? -1 : fsync(fd);
        if (fd >= 0)
            close(fd);
    }
    return rc < 0 ? mf_raise_write(error, "cannot sync the spool folder %s", settling->path) : 0;
}

/* What was done to the last folder is made durable. */
static int leave_spool(struct settling *settling, struct mf_error *error)
{
    int rc = sync_folders(settling, error);
    if (settling->folder >= 0)
        close(settling->folder);
    mf_free(settling->path);
    spool_names_fini(&settling->folders);
    settling->path = NULL;
    settling->folder = -1;
    return rc;
}

/* Makes the file's folder the one that is worked in: 1, 0 it is gone, -1. */
static int enter_spool(struct settling *settling, struct file *file, struct mf_error *error)
{
    if (settling->path == NULL || strcmp(settling->path, file->spool) != 0) {
        if (leave_spool(settling, error) < 0)
            return -1;
        settling->folder = open(file->spool, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (settling->folder < 0 && errno != ENOENT && errno != ENOTDIR)
            return mf_raise_write(error, "cannot open the spool folder %s", file->spool);
        settling->path = file->spool;
        file->spool = NULL;
    }
    return settling->folder >= 0 ? 1 : 0;
}

/* The body of a dead letter names the file where it is now. */
static int
set_body(const struct settling *settling, int64_t id, const char *path, struct mf_error *error)
{
    char *body = mf_format("%s/%s", settling->path, path);
    if (body == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the path of a dead letter");
    int rc = queue_set_body(settling->queues, id, mf_bytes_text(body), error);
    mf_free(body);
    return rc;
}

static int settle_message(struct settling *settling, sqlite3_stmt *stmt, struct mf_error *error)
{
    int64_t id = sqlite3_column_int64(stmt, 0);
    bool is_dead = strcmp((const char *)sqlite3_column_text(stmt, 1), "dead") == 0;
    struct file file;
    char *path = NULL;
    if (!is_dead && !settling->has_succeeded)
        return 0;
    int rc =
        read_body(mf_bytes_of(sqlite3_column_blob(stmt, 2), (size_t)sqlite3_column_bytes(stmt, 2)),
                  &file,
                  error);
    if (rc == 1)
        rc = enter_spool(settling, &file, error);
    if (rc == 1)
        rc = settle_file(settling, &file, is_dead, &path, error);
    if (rc == 0 && is_dead && path != NULL)
        rc = set_body(settling, id, path, error);
    mf_free(path);
    file_fini(&file);
    return rc;
}

static int settle_messages(struct settling *settling, struct mf_error *error)
{
    struct queues *queues = settling->queues;
    sqlite3_stmt *stmt;
    int rc, step = SQLITE_DONE;
    if (sql_prepare(queues->db, queues->path, select_sql, &stmt, error) < 0)
        return -1;
    rc = sql_bind_string(stmt, 1, settling->run_id) == SQLITE_OK ? 0 : -1;
    while (rc == 0 && (step = sqlite3_step(stmt)) == SQLITE_ROW)
        rc = settle_message(settling, stmt, error);
    if (rc == 0 && step != SQLITE_DONE)
        rc = sql_raise(queues->db, queues->path, error);
    sqlite3_finalize(stmt);
    return rc;
}

int spool_settle(struct queues *queues, const char *run_id, bool succeeded, struct mf_error *error)
{
    struct settling settling = {
        .queues = queues, .run_id = run_id, .has_succeeded = succeeded, .folder = -1};
    int rc = settle_messages(&settling, error);
    if (leave_spool(&settling, rc == 0 ? error : NULL) < 0)
        rc = -1;
    return rc;
}
