/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetching: see fetch.h. Requests stand in a queue of at most one a lane. An answer that is not the
 * oldest request's waits there as a copy; so at most one piece is kept.
 *
 * On a slow network pieces become smaller, so that what else the master says to this worker does
 * not wait behind them for long.
 *
 * The master counts the bytes that are on their way to a worker until the lane asks again. A lane
 * with nothing to ask for says after SAY_US that its last piece has come.
 */
#include "worker/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/write.h"

#define SAY_US 100000
#define SLOW_US 2000000 /* a piece that takes longer is followed by smaller ones */
#define FAST_US 500000  /* and one that takes less by larger ones */
#define PIECE_MIN (32u << 10)
#define ALLOCATE_FROM (1u << 20) /* from this size on, disk space is taken beforehand */

struct request {
    struct transfer *transfer; /* NULL: given up, or only said that a piece has come */
    unsigned lane;
    uint32_t file;
    uint64_t at; /* bytes of what is wanted of the file that go before */
    uint32_t length;
    int64_t asked_us;
    bool is_queued;
    bool is_answered;
    struct mf_piece piece;   /* when answered */
    struct mf_buffer copies; /* what the piece borrows */
};

struct fetch {
    struct cache *cache;
    struct fetch_callbacks callbacks;
    struct transfer *first, *last;
    struct request *queue[FETCH_LANES]; /* oldest first */
    unsigned queued;
    uint32_t piece;                       /* how much is asked for at once */
    struct request requests[FETCH_LANES]; /* one a lane */
    int64_t say_at_us[FETCH_LANES];       /* MF_NEVER: nothing to say */
};

struct fetch *
fetch_create(struct cache *cache, const struct fetch_callbacks *callbacks, struct mf_error *error)
{
    struct fetch *fetch = mf_calloc(1, sizeof *fetch);
    if (fetch == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: fetching inputs");
        return NULL;
    }
    fetch->cache = cache;
    fetch->callbacks = *callbacks;
    fetch->piece = MF_PIECE_MAX;
    for (unsigned i = 0; i < FETCH_LANES; i++)
        fetch->say_at_us[i] = MF_NEVER;
    return fetch;
}

void fetch_destroy(struct fetch *fetch)
{
    if (fetch == NULL)
        return;
    while (fetch->first != NULL)
        fetch_abandon(fetch, fetch->first);
    for (unsigned i = 0; i < FETCH_LANES; i++)
        mf_buffer_fini(&fetch->requests[i].copies);
    mf_free(fetch);
}

static uint64_t wanted_of(const struct fetch_file *file)
{
    return file->header_length + file->length;
}

/* Where byte `at` of what is wanted of the file stands in it, and how many follow without a gap. */
static uint64_t position_of(const struct fetch_file *file, uint64_t at, uint64_t *run)
{
    if (at < file->header_length) {
        *run = file->header_length - at;
        return at;
    }
    *run = wanted_of(file) - at;
    return file->offset + (at - file->header_length);
}

static void close_file(struct transfer *transfer)
{
    if (transfer->fd >= 0)
        close(transfer->fd);
    transfer->fd = -1;
    transfer->is_begun = false;
}

void fetch_begin(struct fetch *fetch, struct transfer *transfer)
{
    transfer->asking = transfer->taking = 0;
    transfer->asked = transfer->taken = transfer->wrote = 0;
    transfer->is_begun = false;
    transfer->fd = -1;
    transfer->next = NULL;
    transfer->previous = fetch->last;
    if (fetch->last != NULL)
        fetch->last->next = transfer;
    else
        fetch->first = transfer;
    fetch->last = transfer;
}

/* What is under way for it is not waited for any more. */
static void disown(struct fetch *fetch, const struct transfer *transfer)
{
    for (unsigned i = 0; i < fetch->queued; i++)
        if (fetch->queue[i]->transfer == transfer)
            fetch->queue[i]->transfer = NULL;
}

void fetch_abandon(struct fetch *fetch, struct transfer *transfer)
{
    disown(fetch, transfer);
    close_file(transfer);
    if (transfer->previous != NULL)
        transfer->previous->next = transfer->next;
    else
        fetch->first = transfer->next;
    if (transfer->next != NULL)
        transfer->next->previous = transfer->previous;
    else
        fetch->last = transfer->previous;
    transfer->previous = transfer->next = NULL;
}

/* Asks again from where it has been taken. */
static void rewind_asking(struct fetch *fetch, struct transfer *transfer)
{
    disown(fetch, transfer);
    transfer->asking = transfer->taking;
    transfer->asked = transfer->taken;
}

/* The transfer's next request; false when all is asked for, or when an answer must come first. */
static bool
ask(struct transfer *transfer, uint32_t piece, struct request *request, struct mf_fetch *message)
{
    while (transfer->asking < transfer->file_count) {
        const struct fetch_file *file = &transfer->files[transfer->asking];
        uint64_t run;
        bool is_first = transfer->asked == 0;
        if (file->is_folder ||
            (!is_first && file->is_known && transfer->asked == wanted_of(file))) {
            transfer->asking++;
            transfer->asked = 0;
            continue;
        }
        if (!is_first && !file->is_known)
            return false;
        uint64_t position = position_of(file, transfer->asked, &run);
        /* Of an unknown one its place is compared before anything is fetched. */
        bool is_probe = !file->is_known && file->place != NULL;
        if (is_probe)
            run = 0;
        else if (!file->is_known)
            run = piece;
        *request = (struct request){.transfer = transfer,
                                    .file = transfer->asking,
                                    .at = transfer->asked,
                                    .length = run < piece ? (uint32_t)run : piece,
                                    .copies = request->copies};
        *message = (struct mf_fetch){.subtask = transfer->subtask,
                                     .file = file->file,
                                     .member = file->member,
                                     .offset = position,
                                     .length = request->length};
        /* An empty file is asked for too: it must be there, as planned. */
        transfer->asked += request->length;
        if (request->length == 0 || !file->is_known) {
            transfer->asked = file->is_known ? 0 : 1;
            transfer->asking += file->is_known;
        }
        return true;
    }
    return false;
}

int fetch_next(struct fetch *fetch, unsigned lane, int64_t now_us, struct mf_fetch *message)
{
    unsigned i = lane - MF_LANE_FETCH;
    struct request *request = &fetch->requests[i];
    bool found = false;
    if (request->is_queued)
        return 0;
    for (struct transfer *at = fetch->first; at != NULL && !found; at = at->next)
        found = ask(at, fetch->piece, request, message);
    if (!found && now_us < fetch->say_at_us[i])
        return 0;
    if (!found) {
        *request = (struct request){.copies = request->copies};
        *message = (struct mf_fetch){0};
    }
    request->lane = lane;
    request->asked_us = now_us;
    fetch->say_at_us[i] = MF_NEVER;
    request->is_queued = true;
    fetch->queue[fetch->queued++] = request;
    return 1;
}

int64_t fetch_deadline(const struct fetch *fetch)
{
    int64_t next = MF_NEVER;
    for (unsigned i = 0; i < FETCH_LANES; i++)
        next = fetch->say_at_us[i] < next ? fetch->say_at_us[i] : next;
    return next;
}

static void
fail_transfer(struct fetch *fetch, struct transfer *transfer, const struct failure *failure)
{
    fetch_abandon(fetch, transfer);
    fetch->callbacks.failed(fetch->callbacks.arg, transfer, failure);
}

/* The disk does not take it: again later, or never. */
static void
fail_write(struct fetch *fetch, struct transfer *transfer, const struct fetch_file *file)
{
    struct failure failure = {0};
    int reason = errno;
    fetch_abandon(fetch, transfer);
    if ((reason == ENOSPC || reason == EDQUOT) &&
        fetch->callbacks.full(fetch->callbacks.arg, transfer, &failure))
        return;
    errno = reason;
    fail_attempt_errno(&failure,
                       MF_CAUSE_WORKER_ERROR,
                       "the input \"%s\" of %llu bytes cannot be stored on this host",
                       file->shown,
                       (unsigned long long)file->size);
    fetch->callbacks.failed(fetch->callbacks.arg, transfer, &failure);
}

static int begin_file(struct fetch *fetch, struct transfer *transfer, const struct fetch_file *file)
{
    if (transfer->is_begun)
        return 0;
    transfer->fd = cache_create_file(fetch->cache, transfer->entry, file->name);
    if (transfer->fd < 0)
        return -1;
    transfer->is_begun = true;
    mf_sha256_init(&transfer->sha256);
    if (file->length >= ALLOCATE_FROM &&
        fallocate(transfer->fd, 0, (off_t)file->offset, (off_t)file->length) < 0 &&
        (errno == ENOSPC || errno == EDQUOT))
        return -1;
    return ftruncate(transfer->fd, (off_t)file->size);
}

static bool is_same(const struct fetch_file *file, const struct mf_piece *piece)
{
    return piece->size == file->size && piece->mtime_ns == file->mtime_ns &&
           piece->inode == file->inode;
}

static bool is_at_place(const struct fetch_file *file, const struct mf_piece *piece)
{
    struct stat st;
    return file->place != NULL && stat(file->place, &st) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == piece->size && (uint64_t)st.st_ino == piece->inode &&
           (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec == piece->mtime_ns;
}

/* The first answer for a file that the plan says nothing of. */
static void learn(struct transfer *transfer, struct fetch_file *file, const struct mf_piece *piece)
{
    file->is_known = true;
    file->size = file->length = piece->size;
    file->mtime_ns = piece->mtime_ns;
    file->inode = piece->inode;
    file->is_in_place = is_at_place(file, piece);
    if (file->is_in_place)
        file->length = 0;
    transfer->asked = piece->data.length;
    if (transfer->asked == wanted_of(file)) {
        transfer->asking++;
        transfer->asked = 0;
    }
}

/* What an answer that is no failure of the file must be. */
static int check(const struct fetch_file *file,
                 const struct request *request,
                 const struct mf_piece *piece,
                 struct failure *failure)
{
    if (piece->checksum != mf_crc32(piece->data))
        return fail_attempt(failure,
                            MF_CAUSE_WORKER_ERROR,
                            "a piece of the input \"%s\" was damaged on its way",
                            file->shown);
    uint64_t expected = request->length;
    if (!file->is_known && expected > piece->size)
        expected = piece->size;
    if ((file->is_known && !is_same(file, piece)) || piece->data.length != expected)
        return fail_attempt(failure,
                            MF_CAUSE_INPUT_CHANGED,
                            "the input \"%s\" has changed while it was fetched",
                            file->shown);
    return 0;
}

/* Makes the folders that stand before the next file. */
static int pass_folders(struct fetch *fetch, struct transfer *transfer)
{
    for (; transfer->taking < transfer->file_count && transfer->files[transfer->taking].is_folder;
         transfer->taking++)
        if (cache_create_folder(
                fetch->cache, transfer->entry, transfer->files[transfer->taking].name) < 0)
            return -1;
    return 0;
}

static int
finish_file(struct fetch *fetch, struct transfer *transfer, const struct fetch_file *file)
{
    unsigned char digest[MF_SHA256_SIZE];
    char text[MF_SHA256_TEXT];
    struct mf_error error;
    struct failure failure = {0};
    bool is_full = file->length == file->size;
    transfer->taking++;
    transfer->taken = 0;
    if (!file->is_in_place) {
        mf_sha256_finish(&transfer->sha256, digest);
        mf_sha256_text(digest, text);
        close_file(transfer);
        if (cache_finish_file(fetch->cache,
                              transfer->entry,
                              file->name,
                              file->mode,
                              is_full ? text : NULL,
                              &error) < 0) {
            fail_attempt(&failure, MF_CAUSE_WORKER_ERROR, "%s", error.text);
            fail_transfer(fetch, transfer, &failure);
            return -1;
        }
    }
    if (pass_folders(fetch, transfer) < 0) {
        fail_write(fetch, transfer, file);
        return -1;
    }
    return 0;
}

static void take_data(struct fetch *fetch, struct request *request, const struct mf_piece *piece)
{
    struct transfer *transfer = request->transfer;
    struct fetch_file *file = &transfer->files[request->file];
    struct failure failure = {0};
    uint64_t run;
    if (check(file, request, piece, &failure) < 0) {
        fail_transfer(fetch, transfer, &failure);
        return;
    }
    if (pass_folders(fetch, transfer) < 0) {
        fail_write(fetch, transfer, file);
        return;
    }
    bool is_probe = !file->is_known && request->length == 0;
    if (!file->is_known)
        learn(transfer, file, piece);
    if (is_probe && !file->is_in_place && file->size > 0)
        return;
    if (!file->is_in_place) {
        uint64_t position = position_of(file, request->at, &run);
        if (begin_file(fetch, transfer, file) < 0 ||
            mf_pwrite_all(transfer->fd, piece->data, position) < 0) {
            fail_write(fetch, transfer, file);
            return;
        }
        mf_sha256_update(&transfer->sha256, piece->data);
        transfer->wrote += piece->data.length;
        transfer->taken += piece->data.length;
    }
    if (transfer->taken < wanted_of(file))
        return;
    if (finish_file(fetch, transfer, file) < 0 || transfer->taking < transfer->file_count)
        return;
    fetch_abandon(fetch, transfer);
    fetch->callbacks.done(fetch->callbacks.arg, transfer);
}

static void take_answer(struct fetch *fetch, struct request *request, const struct mf_piece *piece)
{
    struct transfer *transfer = request->transfer;
    struct failure failure = {0};
    if (transfer == NULL)
        return;
    if (piece->cause == MF_CAUSE_NONE) {
        take_data(fetch, request, piece);
        return;
    }
    if (piece->cause == MF_CAUSE_CANCELLED) {
        uint64_t other = fetch->callbacks.gone(fetch->callbacks.arg, transfer);
        if (other != 0) {
            transfer->subtask = other;
            rewind_asking(fetch, transfer);
            return;
        }
    }
    fail_attempt(&failure,
                 piece->cause,
                 "%.*s",
                 (int)piece->detail.length,
                 (const char *)piece->detail.data);
    fail_transfer(fetch, transfer, &failure);
}

static int keep(struct request *request, const struct mf_piece *piece, struct mf_error *error)
{
    mf_buffer_clear(&request->copies);
    if (mf_buffer_append(&request->copies, piece->detail.data, piece->detail.length, error) < 0 ||
        mf_buffer_append(&request->copies, piece->data.data, piece->data.length, error) < 0)
        return -1;
    request->piece = *piece;
    request->piece.detail = mf_bytes_of(request->copies.data, piece->detail.length);
    request->piece.data =
        mf_bytes_of(request->copies.data + piece->detail.length, piece->data.length);
    request->is_answered = true;
    return 0;
}

static void drop_oldest(struct fetch *fetch)
{
    fetch->queue[0]->is_queued = false;
    fetch->queued--;
    memmove(fetch->queue, fetch->queue + 1, fetch->queued * sizeof *fetch->queue);
}

static void adapt(struct fetch *fetch, const struct request *request, int64_t now_us)
{
    int64_t took_us = now_us - request->asked_us;
    if (took_us > SLOW_US && fetch->piece > PIECE_MIN)
        fetch->piece /= 2;
    else if (took_us < FAST_US && fetch->piece < MF_PIECE_MAX && request->length == fetch->piece)
        fetch->piece *= 2;
}

int fetch_take(struct fetch *fetch,
               unsigned lane,
               const struct mf_piece *piece,
               int64_t now_us,
               struct mf_error *error)
{
    unsigned i = lane - MF_LANE_FETCH;
    struct request *request = &fetch->requests[i];
    if (!request->is_queued || request->is_answered)
        return mf_raise(error, MF_EPROTOCOL, "the master sent a piece on lane %u unasked", lane);
    if (piece->data.length > 0) {
        fetch->say_at_us[i] = now_us + SAY_US;
        adapt(fetch, request, now_us);
    }
    if (fetch->queue[0] != request)
        return keep(request, piece, error);
    drop_oldest(fetch);
    take_answer(fetch, request, piece);
    while (fetch->queued > 0 && fetch->queue[0]->is_answered) {
        struct request *next = fetch->queue[0];
        drop_oldest(fetch);
        take_answer(fetch, next, &next->piece);
    }
    return 0;
}

void fetch_restart(struct fetch *fetch)
{
    for (unsigned i = 0; i < FETCH_LANES; i++) {
        fetch->requests[i].is_queued = fetch->requests[i].is_answered = false;
        fetch->requests[i].transfer = NULL;
        fetch->say_at_us[i] = MF_NEVER;
    }
    fetch->queued = 0;
    for (struct transfer *at = fetch->first; at != NULL; at = at->next)
        rewind_asking(fetch, at);
}
