/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serving pieces: see serve.h. Each thread keeps a few descriptors open, since workers read files
 * from start to end. A kept one is checked like a new one: what it reads is the file of the plan,
 * whatever has its name by now.
 */
#include "master/stage/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/checksum.h"
#include "common/frame.h"

#define THREADS 2u /* deflating is what takes the time */
#define KEPT 8u    /* descriptors of a thread */

struct kept {
    char *path;
    int fd;
    uint64_t used; /* when, as a count of orders */
};

struct server {
    struct serve *serve;
    pthread_t thread;
    bool is_running;
    unsigned char *data; /* MF_PIECE_MAX */
    struct kept kept[KEPT];
    uint64_t orders;
};

struct serve {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct mf_mail *first, **last; /* orders to do */
    bool stop;
    struct mf_mailbox done;
    struct server servers[THREADS];
};

/* What an order has become, before it is encoded. */
struct answer {
    struct mf_piece piece;
    char detail[1024];
};

static int fail(struct answer *answer, uint32_t cause, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct answer *answer, uint32_t cause, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(answer->detail, sizeof answer->detail, format, args);
    va_end(args);
    answer->piece = (struct mf_piece){.cause = cause, .detail = mf_bytes_text(answer->detail)};
    return -1;
}

static int fail_read(struct answer *answer, const struct serve_order *order)
{
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
        return fail(answer,
                    MF_CAUSE_WORKER_ERROR,
                    "the master cannot read the input \"%s\": %s",
                    order->path,
                    strerror(errno));
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
        return fail(answer,
                    MF_CAUSE_INPUT_MISSING,
                    "the input \"%s\" is missing: it was there when the plan was made",
                    order->path);
    return fail(answer,
                MF_CAUSE_INPUT_MISSING,
                "the input \"%s\" cannot be read: %s",
                order->path,
                strerror(errno));
}

static void drop_kept(struct kept *kept)
{
    if (kept->path == NULL)
        return;
    close(kept->fd);
    mf_free(kept->path);
    kept->path = NULL;
}

/* The descriptor that is kept for the order's file, or a place for one. */
static struct kept *find_kept(struct server *server, const char *path)
{
    struct kept *oldest = &server->kept[0];
    for (unsigned i = 0; i < KEPT; i++) {
        struct kept *kept = &server->kept[i];
        if (kept->path != NULL && strcmp(kept->path, path) == 0)
            return kept;
        if (kept->path == NULL || (oldest->path != NULL && kept->used < oldest->used))
            oldest = kept;
    }
    drop_kept(oldest);
    return oldest;
}

static int open_file(struct server *server, const struct serve_order *order, struct kept **place)
{
    struct kept *kept = find_kept(server, order->path);
    *place = kept;
    kept->used = ++server->orders;
    if (kept->path != NULL)
        return 0;
    int fd = open(order->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -1;
    kept->path = mf_strdup(order->path);
    kept->fd = fd;
    if (kept->path != NULL)
        return 0;
    close(fd);
    errno = ENOMEM;
    return -1;
}

static int64_t mtime_of(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* The sentences of a worker that finds an input changed in its own place. */
static int
check_identity(struct answer *answer, const struct serve_order *order, const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return fail(
            answer, MF_CAUSE_INPUT_CHANGED, "the input \"%s\" is not a regular file", order->path);
    if (!order->is_known)
        return 0;
    if ((uint64_t)st->st_size != order->size)
        return fail(answer,
                    MF_CAUSE_INPUT_CHANGED,
                    "the input \"%s\" has changed since the plan was made: it had %llu bytes and "
                    "has %llu now",
                    order->path,
                    (unsigned long long)order->size,
                    (unsigned long long)st->st_size);
    if (mtime_of(st) != order->mtime_ns)
        return fail(answer,
                    MF_CAUSE_INPUT_CHANGED,
                    "the input \"%s\" was written to since the plan was made: its time of "
                    "modification differs",
                    order->path);
    if ((uint64_t)st->st_ino != order->inode)
        return fail(answer,
                    MF_CAUSE_INPUT_CHANGED,
                    "the input \"%s\" was replaced since the plan was made: it is another file of "
                    "the same name",
                    order->path);
    return 0;
}

static ssize_t read_range(int fd, unsigned char *into, size_t length, uint64_t offset)
{
    size_t n = 0;
    while (n < length) {
        ssize_t got = pread(fd, into + n, length - n, (off_t)(offset + n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

static int read_piece(struct server *server, const struct serve_order *order, struct answer *answer)
{
    struct stat before, after;
    struct kept *kept;
    if (open_file(server, order, &kept) < 0 || fstat(kept->fd, &before) < 0)
        return fail_read(answer, order);
    if (check_identity(answer, order, &before) < 0) {
        drop_kept(kept);
        return -1;
    }
    uint64_t size = (uint64_t)before.st_size, length = order->length;
    uint64_t left = order->offset < size ? size - order->offset : 0;
    length = length < left ? length : left;
    ssize_t n = read_range(kept->fd, server->data, (size_t)length, order->offset);
    if (n < 0 || fstat(kept->fd, &after) < 0) {
        int reason = errno;
        drop_kept(kept);
        errno = reason;
        return fail_read(answer, order);
    }
    if (after.st_size != before.st_size || mtime_of(&after) != mtime_of(&before) ||
        (uint64_t)n != length) {
        drop_kept(kept);
        return fail(answer,
                    MF_CAUSE_INPUT_CHANGED,
                    "the input \"%s\" changed while it was read",
                    order->path);
    }
    answer->piece = (struct mf_piece){.data = mf_bytes_of(server->data, (size_t)n),
                                      .size = size,
                                      .mtime_ns = mtime_of(&before),
                                      .inode = (uint64_t)before.st_ino};
    answer->piece.checksum = mf_crc32(answer->piece.data);
    /* Whoever asks for a file that is not of the plan may find another one under its name later. */
    if (!order->is_known)
        drop_kept(kept);
    return 0;
}

static void carry_out(struct server *server, struct serve_order *order)
{
    struct answer answer = {0};
    struct mf_error error;
    mf_buffer_clear(&order->frame);
    read_piece(server, order, &answer);
    bool gains = order->may_deflate && answer.piece.data.length >= MF_DEFLATE_FROM &&
                 mf_frame_gains(answer.piece.data);
    if (mf_encode_piece(&answer.piece, gains, &order->frame, &error) < 0)
        mf_buffer_clear(&order->frame);
}

static struct serve_order *next_order(struct serve *serve)
{
    pthread_mutex_lock(&serve->lock);
    while (serve->first == NULL && !serve->stop)
        pthread_cond_wait(&serve->more, &serve->lock);
    struct mf_mail *mail = serve->stop ? NULL : serve->first;
    if (mail != NULL) {
        serve->first = mail->next;
        if (serve->first == NULL)
            serve->last = &serve->first;
    }
    pthread_mutex_unlock(&serve->lock);
    return (struct serve_order *)mail;
}

static void *serve_main(void *arg)
{
    struct server *server = arg;
    struct serve_order *order;
    while ((order = next_order(server->serve)) != NULL) {
        carry_out(server, order);
        mf_mailbox_post(&server->serve->done, &order->mail);
    }
    return NULL;
}

static int start(struct serve *serve, struct server *server, struct mf_error *error)
{
    server->serve = serve;
    server->data = mf_malloc(MF_PIECE_MAX);
    if (server->data == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: serving inputs");
    errno = pthread_create(&server->thread, NULL, serve_main, server);
    if (errno != 0)
        return mf_raise_errno(error, "cannot start a thread that serves inputs");
    server->is_running = true;
    return 0;
}

struct serve *serve_create(struct mf_error *error)
{
    struct serve *serve = mf_calloc(1, sizeof *serve);
    if (serve == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: serving inputs");
        return NULL;
    }
    pthread_mutex_init(&serve->lock, NULL);
    pthread_cond_init(&serve->more, NULL);
    serve->last = &serve->first;
    int rc = mf_mailbox_init(&serve->done, error);
    for (unsigned i = 0; rc == 0 && i < THREADS; i++)
        rc = start(serve, &serve->servers[i], error);
    if (rc == 0)
        return serve;
    serve_destroy(serve);
    return NULL;
}

void serve_destroy(struct serve *serve)
{
    if (serve == NULL)
        return;
    pthread_mutex_lock(&serve->lock);
    serve->stop = true;
    pthread_cond_broadcast(&serve->more);
    pthread_mutex_unlock(&serve->lock);
    for (unsigned i = 0; i < THREADS; i++) {
        struct server *server = &serve->servers[i];
        if (server->is_running)
            pthread_join(server->thread, NULL);
        for (unsigned k = 0; k < KEPT; k++)
            drop_kept(&server->kept[k]);
        mf_free(server->data);
    }
    mf_mailbox_fini(&serve->done);
    pthread_cond_destroy(&serve->more);
    pthread_mutex_destroy(&serve->lock);
    mf_free(serve);
}

void serve_submit(struct serve *serve, struct serve_order *order)
{
    order->mail.next = NULL;
    pthread_mutex_lock(&serve->lock);
    *serve->last = &order->mail;
    serve->last = &order->mail.next;
    pthread_cond_signal(&serve->more);
    pthread_mutex_unlock(&serve->lock);
}

int serve_fd(const struct serve *serve)
{
    return serve->done.fd;
}

struct serve_order *serve_take(struct serve *serve)
{
    return (struct serve_order *)mf_mailbox_take(&serve->done);
}
