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

/* Those of a run: claimed ones by their index, dead ones of its queue. */
static const char select_sql[] =
    "SELECT id, state, body FROM message WHERE run_id = ?1 AND state = 'claimed' UNION ALL "
    "SELECT id, state, body FROM message WHERE run_id = ?1 AND state = 'dead' AND queue IN "
    "(SELECT queue FROM firing WHERE run_id = ?1)";

struct settling {
    struct queues *queues;
    const char *run_id;
    bool has_succeeded;
    char *path; /* of SPOOL */
    int folder; /* SPOOL */
    bool has_moved;
};

/* One file: where it was, in parts of its old path. */
struct file {
    char *old_path;   /* below SPOOL */
    const char *name; /* its last part */
    char *folder;     /* without that */
    const char *tag;  /* the last part of the folder */
};

/* Whether the body of a message names a claimed file, or one that has failed before; a path that
 * leads out again by ".." does not. 1, 0, -1. */
static int read_body(const struct settling *settling,
                     struct mf_bytes body,
                     struct file *file,
                     struct mf_error *error)
{
    size_t length = strlen(settling->path);
    *file = (struct file){0};
    if (body.length <= length + 1 || memchr(body.data, '\0', body.length) != NULL ||
        memcmp(body.data, settling->path, length) != 0 || body.data[length] != '/')
        return 0;
    char *old = mf_memdup(body.data + length + 1, body.length - length - 1);
    char *copy = old == NULL ? NULL : mf_strdup(old);
    if (copy == NULL) {
        mf_free(old);
        return mf_raise(error, MF_ENOMEM, "out of memory: the path of a claimed file");
    }
    char *slash = strrchr(copy, '/');
    if (slash == NULL ||
        (strncmp(old, SPOOL_CLAIMED "/", sizeof SPOOL_CLAIMED) != 0 &&
         strncmp(old, SPOOL_FAILED "/", sizeof SPOOL_FAILED) != 0) ||
        strstr(old, "/../") != NULL || strcmp(slash, "/..") == 0) {
        mf_free(old);
        mf_free(copy);
        return 0;
    }
    *slash = '\0';
    *file = (struct file){.old_path = old, .name = old + (slash - copy) + 1, .folder = copy};
    file->tag = strrchr(copy, '/') == NULL ? copy : strrchr(copy, '/') + 1;
    return 1;
}

static void file_fini(struct file *file)
{
    mf_free(file->old_path);
    mf_free(file->folder);
}

static int raise_move(const struct settling *settling, const char *where, struct mf_error *error)
{
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
static int make_folders(const struct settling *settling, char *path, struct mf_error *error)
{
    for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool is_made = mkdirat(settling->folder, path, 0777) == 0 || errno == EEXIST;
        *slash = '/';
        if (!is_made)
            return raise_move(settling, path, error);
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
    settling->has_moved = true;
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
        read_body(settling,
                  mf_bytes_of(sqlite3_column_blob(stmt, 2), (size_t)sqlite3_column_bytes(stmt, 2)),
                  &file,
                  error);
    if (rc == 1) {
        rc = settle_file(settling, &file, is_dead, &path, error);
        if (rc == 0 && is_dead && path != NULL)
            rc = set_body(settling, id, path, error);
    }
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

int spool_settle(struct queues *queues,
                 const char *spool,
                 const char *run_id,
                 bool succeeded,
                 struct mf_error *error)
{
    struct settling settling = {.queues = queues, .run_id = run_id, .has_succeeded = succeeded};
    settling.folder = open(spool, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (settling.folder < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0; /* and all its files with it */
    if (settling.folder < 0)
        return mf_raise_write(error, "cannot open the spool folder %s", spool);
    settling.path = spool_path(spool, error);
    int rc = settling.path == NULL ? -1 : settle_messages(&settling, error);
    if (rc == 0 && settling.has_moved && syncfs(settling.folder) < 0)
        rc = mf_raise_write(error, "cannot sync the spool folder %s", spool);
    mf_free(settling.path);
    close(settling.folder);
    return rc;
}
