/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempts that run, as `mayfly logs` sees them: see running.h. Their files are held open, so that
 * what was there at a look can be read after the master has removed it. The master removes a file
 * after it has put what replaces it into the log store: one that is gone at a look and is not in
 * the store read after it is the output of a done attempt, whose end is in the results.
 */
#include "master/commands/running.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/record/live.h"
#include "master/record/run_db.h"
#include "master/run_folder.h"

#define PIECE (64u << 10)

struct running_file {
    uint64_t subtask;
    uint32_t attempt, worker;
    int fd;
    uint64_t printed;
    uint64_t stored; /* bytes of it that the log store has given back */
    bool is_stored;
    bool is_gone; /* from live/: it grows no more */
    bool is_over; /* its result is recorded: there is nothing behind its end */
};

struct running {
    const char *folder;
    uint64_t subtask;
    uint32_t attempt, worker;
    uint32_t count, next; /* `next` is looked at by running_next */
    struct running_file files[LIVE_MAX];
    unsigned char piece[PIECE];
};

struct running *running_create(
    const char *folder, uint64_t subtask, uint32_t attempt, uint32_t worker, struct mf_error *error)
{
    struct running *running = mf_calloc(1, sizeof *running);
    if (running == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: what attempts write");
        return NULL;
    }
    running->folder = folder;
    running->subtask = subtask;
    running->attempt = attempt;
    running->worker = worker;
    return running;
}

static void forget(struct running *running, struct running_file *file)
{
    close(file->fd);
    *file = running->files[--running->count];
}

void running_destroy(struct running *running)
{
    if (running == NULL)
        return;
    while (running->count > 0)
        forget(running, &running->files[0]);
    mf_free(running);
}

static struct running_file *
find(struct running *running, uint64_t subtask, uint32_t attempt, uint32_t worker)
{
    for (uint32_t i = 0; i < running->count; i++) {
        struct running_file *file = &running->files[i];
        if (file->subtask == subtask && file->attempt == attempt && file->worker == worker)
            return file;
    }
    return NULL;
}

/* One that can't be opened has just been removed. */
static void found(void *arg, const struct mf_fence *fence, uint32_t worker, const char *path)
{
    struct running *running = arg;
    if ((running->subtask != 0 && fence->subtask != running->subtask) ||
        (running->attempt != 0 && fence->attempt != running->attempt) ||
        (running->worker != 0 && worker != running->worker) || running->count == LIVE_MAX ||
        find(running, fence->subtask, fence->attempt, worker) != NULL)
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0)
        running->files[running->count++] = (struct running_file){
            .subtask = fence->subtask, .attempt = fence->attempt, .worker = worker, .fd = fd};
}

int running_look(struct running *running, struct mf_error *error)
{
    running->next = 0;
    for (uint32_t i = 0; i < running->count; i++) {
        struct stat facts;
        struct running_file *file = &running->files[i];
        file->is_gone = fstat(file->fd, &facts) < 0 || facts.st_nlink == 0;
    }
    return live_list(running->folder, found, running, error);
}

void running_skip(struct running *running, struct log_piece *piece)
{
    struct running_file *file = piece->stream == LOG_STDOUT
                                    ? find(running, piece->subtask, piece->attempt, piece->worker)
                                    : NULL;
    if (file == NULL)
        return;
    file->is_stored = true;
    uint64_t known = file->printed > file->stored ? file->printed - file->stored : 0;
    size_t skipped = piece->data.length < known ? piece->data.length : (size_t)known;
    file->stored += piece->data.length;
    piece->data = mf_bytes_of(piece->data.data + skipped, piece->data.length - skipped);
}

/* The file of a result that is not inline; -1 when it is, or is not there. */
static int open_result(const struct running *running, uint64_t subtask)
{
    char *path = mf_format("%s/outputs/%llu/%llu.result",
                           running->folder,
                           (unsigned long long)subtask / 1000,
                           (unsigned long long)subtask);
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    mf_free(path);
    return fd;
}

/* The result of a done attempt from `printed` on: 1, 0 when it is not recorded yet, -1. */
static int read_row(struct running *running,
                    const struct running_file *file,
                    sqlite3 *db,
                    struct mf_bytes *data,
                    struct mf_error *error)
{
    sqlite3_stmt *row = NULL;
    int rc = sqlite3_prepare_v2(
        db, "select result from attempt where id = ? and state = 'done'", -1, &row, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(row, 1, (int64_t)(file->subtask * 65536 + file->attempt));
    if (rc == SQLITE_OK)
        rc = sqlite3_step(row);
    if (rc == SQLITE_ROW && sqlite3_column_type(row, 0) != SQLITE_NULL) {
        size_t length = (size_t)sqlite3_column_bytes(row, 0);
        size_t from = file->printed < length ? (size_t)file->printed : length;
        *data = mf_bytes_of(running->piece, length - from);
        if (length - from > 0 && length <= PIECE)
            memcpy(running->piece, (const char *)sqlite3_column_blob(row, 0) + from, length - from);
    }
    sqlite3_finalize(row);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE || rc == SQLITE_BUSY)
        return rc == SQLITE_ROW;
    return mf_raise(error, MF_EINPUT, "the results table cannot be read: %s", sqlite3_errmsg(db));
}

/* The attempt is done: the rest of its output is in the results. 1 with it or, where it is a file,
 * with that file in place of the live one; 0 to ask again later, -1. */
static int read_result(struct running *running,
                       struct running_file *file,
                       struct mf_bytes *data,
                       struct mf_error *error)
{
    char *path = run_path(running->folder, "run.db");
    sqlite3 *db = path == NULL ? NULL : run_db_open(path, error);
    int rc = db == NULL ? -1 : read_row(running, file, db, data, error);
    if (path == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    run_db_close(db);
    mf_free(path);
    if (rc <= 0)
        return rc;
    file->is_over = true;
    int fd = data->data == NULL ? open_result(running, file->subtask) : -1;
    if (fd >= 0) {
        close(file->fd);
        file->fd = fd;
    }
    return 1;
}

/* The next bytes of a file: how many, 0 at its present end, -1. */
static ssize_t read_more(struct running *running, const struct running_file *file)
{
    ssize_t got;
    do
        got = pread(file->fd, running->piece, PIECE, (off_t)file->printed);
    while (got < 0 && errno == EINTR);
    return got;
}

static void give(struct running_file *file, struct mf_bytes data, struct log_piece *piece)
{
    file->printed += data.length;
    *piece = (struct log_piece){.subtask = file->subtask,
                                .attempt = file->attempt,
                                .worker = file->worker,
                                .stream = LOG_STDOUT,
                                .data = data};
}

/* What is new of one file: 1, 0 when there is no more now, -1. */
static int next_of(struct running *running,
                   struct running_file *file,
                   struct mf_bytes *data,
                   struct mf_error *error)
{
    ssize_t got = read_more(running, file);
    if (got == 0 && file->is_gone && !file->is_over) {
        int rc = read_result(running, file, data, error);
        if (rc <= 0 || data->length > 0)
            return rc;
        got = read_more(running, file);
    }
    if (got < 0)
        return mf_raise_errno(
            error, "cannot read what subtask %llu has written", (unsigned long long)file->subtask);
    *data = mf_bytes_of(running->piece, (size_t)got);
    return got > 0;
}

int running_next(struct running *running, struct log_piece *piece, struct mf_error *error)
{
    while (running->next < running->count) {
        struct running_file *file = &running->files[running->next];
        struct mf_bytes data = {0};
        if (file->is_stored && file->stored >= file->printed) {
            forget(running, file);
            continue;
        }
        int rc = file->is_stored ? 0 : next_of(running, file, &data, error);
        if (rc != 0) {
            if (rc > 0)
                give(file, data, piece);
            return rc;
        }
        if (file->is_over)
            forget(running, file);
        else
            running->next++;
    }
    return 0;
}
