/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intake: see intake.h. A worker sends one file at a time, in order, so the state of a file that is
 * being received is one entry a worker. A chunk comes again only when it could not be written (a
 * full disk): until then nothing of it counts, and the same bytes go to the same place.
 *
 * With `sync` a file is on the disk, with all folders that lead to it, before intake_accept
 * returns: its bytes when its last chunk has come, the folders when it is in its place.
 */
#include "master/record/intake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/checksum.h"
#include "common/crash.h"
#include "master/record/live.h"
#include "master/record/stored.h"
#include "master/record/tree.h"

struct receiving {
    int fd; /* -1 = none */
    uint64_t offset;
    struct mf_sha256 sha256;
    char *path;
};

struct intake {
    char *folder; /* of the run */
    struct log_writer *logs;
    struct live *live;
    struct stored *stored; /* NULL: there was no master before */
    uint32_t epoch;        /* with stored: attempts of older ones send their streams again */
    bool sync;
    uint64_t synced_group; /* outputs/<this, less 1>/ is on the disk; 0 = none that we know of */
    struct receiving *workers; /* by id */
    uint32_t worker_count;
};

struct intake *intake_create(const char *run_folder,
                             struct log_writer *logs,
                             bool sync,
                             uint64_t log_max,
                             struct mf_error *error)
{
    struct intake *intake = mf_calloc(1, sizeof *intake);
    if (intake == NULL || (intake->folder = mf_strdup(run_folder)) == NULL) {
        mf_free(intake);
        mf_raise(error, MF_ENOMEM, "out of memory: the intake of files");
        return NULL;
    }
    intake->logs = logs;
    intake->sync = sync;
    intake->live = live_create(run_folder, logs, log_max, error);
    if (intake->live == NULL) {
        intake_destroy(intake);
        return NULL;
    }
    return intake;
}

static void stop_receiving(struct receiving *receiving)
{
    if (receiving->fd >= 0)
        close(receiving->fd);
    receiving->fd = -1;
    mf_free(receiving->path);
    receiving->path = NULL;
}

static int drop_incoming(const struct intake *intake, struct mf_error *error)
{
    char *incoming = mf_format("%s/incoming", intake->folder);
    int rc = incoming == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path")
                              : tree_remove(incoming, error);
    mf_free(incoming);
    return rc;
}

int intake_resume(struct intake *intake, uint32_t epoch, struct mf_error *error)
{
    char *logs = mf_format("%s/logs", intake->folder);
    int rc = logs == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path")
                          : drop_incoming(intake, error);
    if (rc == 0 && (intake->stored = stored_create(logs, error)) == NULL)
        rc = -1;
    intake->epoch = epoch;
    mf_free(logs);
    return rc;
}

void intake_destroy(struct intake *intake)
{
    if (intake == NULL)
        return;
    for (uint32_t i = 0; i < intake->worker_count; i++)
        stop_receiving(&intake->workers[i]);
    drop_incoming(intake, NULL);
    stored_destroy(intake->stored);
    live_destroy(intake->live);
    mf_free(intake->workers);
    mf_free(intake->folder);
    mf_free(intake);
}

static struct receiving *
receiving_of(struct intake *intake, uint32_t worker, struct mf_error *error)
{
    if (worker >= intake->worker_count) {
        uint32_t count = worker + 16;
        struct receiving *workers = mf_realloc(intake->workers, count * sizeof *workers);
        if (workers == NULL) {
            mf_raise(error, MF_ENOMEM, "out of memory: files of worker %u", worker);
            return NULL;
        }
        for (uint32_t i = intake->worker_count; i < count; i++)
            workers[i] = (struct receiving){.fd = -1};
        intake->workers = workers;
        intake->worker_count = count;
    }
    return &intake->workers[worker];
}

/* A relative path that stays below its folder: no empty, "." or ".." part, no NUL. */
static bool is_safe_path(struct mf_bytes path)
{
    if (path.length == 0 || path.length >= 4096 || memchr(path.data, '\0', path.length) != NULL)
        return false;
    const char *text = (const char *)path.data;
    for (size_t start = 0; start <= path.length;) {
        const char *slash = memchr(text + start, '/', path.length - start);
        size_t length = slash == NULL ? path.length - start : (size_t)(slash - text) - start;
        if (length == 0 || (length == 1 && text[start] == '.') ||
            (length == 2 && text[start] == '.' && text[start + 1] == '.'))
            return false;
        start += length + 1;
    }
    return true;
}

static char *
attempt_folder(const struct intake *intake, uint32_t worker, const struct mf_fence *fence)
{
    return mf_format("%s/incoming/%llu-%u-%u-%u",
                     intake->folder,
                     (unsigned long long)fence->subtask,
                     fence->attempt,
                     fence->epoch,
                     worker);
}

static int open_file(struct intake *intake,
                     uint32_t worker,
                     const struct mf_chunk *chunk,
                     struct receiving *receiving,
                     struct mf_error *error)
{
    struct mf_fence fence = {
        .subtask = chunk->subtask, .attempt = chunk->attempt, .epoch = chunk->epoch};
    char *folder = attempt_folder(intake, worker, &fence);
    stop_receiving(receiving);
    if (folder != NULL && chunk->kind == MF_CHUNK_RESULT)
        receiving->path = mf_format("%s/result", folder);
    else if (folder != NULL)
        receiving->path = mf_format(
            "%s/files/%.*s", folder, (int)chunk->path.length, (const char *)chunk->path.data);
    mf_free(folder);
    if (receiving->path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    if (tree_make_parents(receiving->path, strlen(intake->folder), error) < 0)
        return -1;
    receiving->fd =
        open(receiving->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (receiving->fd < 0)
        return mf_raise_write(error, "cannot make %s", receiving->path);
    receiving->offset = 0;
    mf_sha256_init(&receiving->sha256);
    return 0;
}

static int write_data(const struct receiving *receiving,
                      uint64_t offset,
                      struct mf_bytes data,
                      struct mf_error *error)
{
    for (size_t n = 0; n < data.length;) {
        ssize_t written =
            pwrite(receiving->fd, data.data + n, data.length - n, (off_t)(offset + n));
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return mf_raise_write(error, "cannot write %s", receiving->path);
        n += (size_t)written;
    }
    return 0;
}

/* A sync that fails is final: what it has dropped is not known. */
static int finish_file(const struct intake *intake,
                       const struct mf_chunk *chunk,
                       const struct receiving *receiving,
                       struct mf_sha256 sha256,
                       struct mf_error *error)
{
    unsigned char digest[MF_SHA256_SIZE];
    mf_sha256_finish(&sha256, digest);
    if (!mf_bytes_equal(chunk->sha256, mf_bytes_of(digest, sizeof digest)))
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "%s arrived with another checksum than it was sent with",
                        receiving->path);
    if (chunk->kind == MF_CHUNK_OUTPUT && fchmod(receiving->fd, chunk->mode & 0777) < 0)
        return mf_raise_errno(error, "cannot set the mode of %s", receiving->path);
    if (intake->sync && fsync(receiving->fd) < 0)
        return mf_raise_errno(error, "cannot write %s to the disk", receiving->path);
    return 0;
}

static int take_file(struct intake *intake,
                     uint32_t worker,
                     const struct mf_chunk *chunk,
                     struct mf_error *error)
{
    struct receiving *receiving = receiving_of(intake, worker, error);
    if (receiving == NULL)
        return -1;
    if (chunk->kind == MF_CHUNK_OUTPUT && !is_safe_path(chunk->path))
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "an output of subtask %llu has a path that leaves its folder",
                        (unsigned long long)chunk->subtask);
    if (chunk->offset == 0 && open_file(intake, worker, chunk, receiving, error) < 0)
        return -1;
    if (receiving->fd < 0 || chunk->offset != receiving->offset)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "a piece of a file of subtask %llu does not follow the one before",
                        (unsigned long long)chunk->subtask);
    struct mf_sha256 sha256 = receiving->sha256;
    mf_sha256_update(&sha256, chunk->data);
    if (write_data(receiving, chunk->offset, chunk->data, error) < 0 ||
        (chunk->last && finish_file(intake, chunk, receiving, sha256, error) < 0))
        return -1;
    receiving->sha256 = sha256;
    receiving->offset += chunk->data.length;
    if (chunk->last)
        stop_receiving(receiving);
    return 0;
}

/* How many of the chunk's bytes an earlier master has stored. */
static uint64_t known_bytes(struct intake *intake,
                            uint32_t worker,
                            const struct mf_chunk *chunk,
                            enum log_stream stream)
{
    bool is_again =
        intake->stored != NULL && (stream == LOG_WORKER || chunk->epoch < intake->epoch);
    if (!is_again)
        return 0;
    uint64_t length = stored_length(intake->stored, chunk->subtask, chunk->attempt, worker, stream);
    if (length <= chunk->offset)
        return 0;
    length -= chunk->offset;
    return length < chunk->data.length ? length : chunk->data.length;
}

static int append_log(struct intake *intake,
                      uint32_t worker,
                      const struct mf_chunk *chunk,
                      enum log_stream stream,
                      struct mf_error *error)
{
    struct mf_bytes data = chunk->data;
    uint64_t known = known_bytes(intake, worker, chunk, stream);
    if (known > 0 && known == data.length)
        return 0;
    data.data += known;
    data.length -= (size_t)known;
    return log_writer_append(intake->logs,
                             chunk->subtask,
                             chunk->attempt,
                             worker,
                             stream,
                             data,
                             chunk->last ? chunk->cut_bytes : 0,
                             error);
}

/* Of an attempt that has ended: it stands in for what was shown while that ran. */
static int take_stdout(struct intake *intake,
                       uint32_t worker,
                       const struct mf_chunk *chunk,
                       struct mf_error *error)
{
    const struct mf_fence fence = {
        .subtask = chunk->subtask, .attempt = chunk->attempt, .epoch = chunk->epoch};
    if (append_log(intake, worker, chunk, LOG_STDOUT, error) < 0)
        return -1;
    live_drop(intake->live, worker, &fence);
    return 0;
}

int intake_chunk(struct intake *intake,
                 uint32_t worker,
                 const struct mf_chunk *chunk,
                 struct mf_error *error)
{
    enum log_stream stream;
    switch (chunk->kind) {
    case MF_CHUNK_RESULT:
    case MF_CHUNK_OUTPUT:
        return take_file(intake, worker, chunk, error);
    case MF_CHUNK_LIVE:
        live_append(intake->live, worker, chunk);
        return 0;
    case MF_CHUNK_STDOUT:
        return take_stdout(intake, worker, chunk, error);
    case MF_CHUNK_STDERR:
        stream = LOG_STDERR;
        break;
    case MF_CHUNK_WORKER_LOG:
        stream = LOG_WORKER;
        break;
    default:
        return mf_raise(error, MF_EPROTOCOL, "a piece of an unknown kind %u", chunk->kind);
    }
    return append_log(intake, worker, chunk, stream, error);
}

/* Once a process for each folder, also for one that is there: a killed master may have made it. */
static int
sync_group(struct intake *intake, uint64_t subtask, const char *path, struct mf_error *error)
{
    uint64_t group = subtask / 1000 + 1;
    char *folder = NULL, *outputs = NULL;
    if (!intake->sync || group == intake->synced_group)
        return 0;
    folder = mf_memdup(path, (size_t)(strrchr(path, '/') - path));
    outputs = mf_format("%s/outputs", intake->folder);
    int rc =
        folder == NULL || outputs == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path") : 0;
    if (rc == 0 && (tree_sync_parent(folder, error) < 0 || tree_sync_parent(outputs, error) < 0))
        rc = -1;
    if (rc == 0)
        intake->synced_group = group;
    mf_free(folder);
    mf_free(outputs);
    return rc;
}

/* Renames, replacing a left-over of a crash between this and the row. */
static int move_into_place(const char *from, const char *to, bool again, struct mf_error *error)
{
    MF_CRASH(MASTER_BEFORE_RENAME);
    int rc = rename(from, to);
    if (rc < 0 && (errno == ENOTEMPTY || errno == EEXIST || errno == EISDIR || errno == ENOTDIR))
        rc = tree_remove(to, error) < 0 ? -1 : rename(from, to);
    if (rc < 0 && again && errno == ENOENT && access(to, F_OK) == 0)
        rc = 0; /* it got as far as this the last time */
    if (rc < 0)
        return mf_raise_write(error, "cannot move %s to %s", from, to);
    MF_CRASH(MASTER_AFTER_RENAME);
    return 0;
}

/* One of the two things that an attempt may bring: `what` in its folder below incoming/. */
static int accept_one(struct intake *intake,
                      uint32_t worker,
                      const struct mf_fence *fence,
                      bool is_result,
                      bool again,
                      struct mf_error *error)
{
    unsigned long long subtask = fence->subtask;
    char *folder = attempt_folder(intake, worker, fence);
    char *from = folder == NULL ? NULL : mf_format("%s/%s", folder, is_result ? "result" : "files");
    char *to = mf_format("%s/outputs/%llu/%llu%s",
                         intake->folder,
                         subtask / 1000,
                         subtask,
                         is_result ? ".result" : "");
    int rc = from == NULL || to == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path") : 0;
    if (rc == 0)
        rc = tree_make_parents(to, strlen(intake->folder), error);
    if (rc == 0)
        rc = sync_group(intake, subtask, to, error);
    if (rc == 0 && intake->sync && !is_result && access(from, F_OK) == 0)
        rc = tree_sync_folders(from, error);
    if (rc == 0)
        rc = move_into_place(from, to, again, error);
    if (rc == 0 && intake->sync)
        rc = tree_sync_parent(to, error);
    mf_free(folder);
    mf_free(from);
    mf_free(to);
    return rc;
}

int intake_accept(struct intake *intake,
                  uint32_t worker,
                  const struct mf_fence *fence,
                  bool has_result,
                  bool has_outputs,
                  bool again,
                  struct mf_error *error)
{
    if ((has_result && accept_one(intake, worker, fence, true, again, error) < 0) ||
        (has_outputs && accept_one(intake, worker, fence, false, again, error) < 0))
        return -1;
    char *folder = attempt_folder(intake, worker, fence);
    if (folder != NULL)
        rmdir(folder);
    mf_free(folder);
    return 0;
}

void intake_ended(struct intake *intake, uint32_t worker, const struct mf_fence *fence)
{
    live_drop(intake->live, worker, fence);
}

int intake_lost(struct intake *intake, uint32_t worker, struct mf_error *error)
{
    return live_lost(intake->live, worker, error);
}

void intake_drop(struct intake *intake, uint32_t worker, const struct mf_fence *fence)
{
    char *folder = attempt_folder(intake, worker, fence);
    if (folder != NULL)
        tree_remove(folder, NULL);
    mf_free(folder);
}
