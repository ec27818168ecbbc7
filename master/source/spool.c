/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A spool folder as a source: see spool.h. The message of a file is its absolute path once it is
 * claimed.
 *
 * inotify is only what wakes a watcher, and one of the ways to know that a file is complete
 * (spool_scan.c); what is there is always found by reading the folder. So nothing depends on a
 * queue of events that may overflow, and a tick without a watcher does the same.
 */
#include "master/source/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"

#define QUIET_US INT64_C(10000000)
#define LOOK_US INT64_C(60000000)      /* a watcher looks all the same, since a watch can be lost */
#define LOOK_BLIND_US INT64_C(2000000) /* ... so often where inotify sees nothing */
#define LOOK_BUSY_US INT64_C(1000000)  /* another process is at it */
#define WATCHED (IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR | IN_MOVE_SELF | IN_DELETE_SELF)
#define EVENTS_MAX (64u << 10)
#define CLOSED_MAX 4096u

struct spool {
    struct feed feed;
    char *path;
    int64_t quiet_us;
    int inotify;  /* -1 = none */
    int watch;    /* -1 = none */
    dev_t device; /* of the folder that is watched */
    ino_t inode;
    struct spool_names closed; /* that were told of since the last poll */
};

static bool spool_fits(const struct feed_settings *settings)
{
    return settings->spool != NULL;
}

static int spool_check(const struct feed_settings *settings, struct mf_error *error)
{
    if (settings->server != NULL)
        return mf_raise(error,
                        MF_EUSAGE,
                        "a queue has one source: name a spool folder or a Redis server, not both");
    if (settings->spool[0] != '/')
        return mf_raise(
            error, MF_EUSAGE, "the path of the spool folder %s is not absolute", settings->spool);
    if (strlen(settings->spool) > SPOOL_PATH_MAX)
        return mf_raise(error,
                        MF_EUSAGE,
                        "the path of the spool folder is longer than %u bytes",
                        SPOOL_PATH_MAX);
    return 0;
}

char *spool_path(const char *path, struct mf_error *error)
{
    char *copy = mf_strdup(path);
    if (copy == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the spool folder %s", path);
        return NULL;
    }
    size_t length = strlen(copy);
    while (length > 1 && copy[length - 1] == '/')
        copy[--length] = '\0';
    return copy;
}

static struct feed *
spool_open(const struct feed_settings *settings, bool watch, struct mf_error *error)
{
    struct spool *spool = mf_calloc(1, sizeof *spool);
    if (spool == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the spool folder %s", settings->spool);
        return NULL;
    }
    spool->path = spool_path(settings->spool, error);
    if (spool->path == NULL) {
        mf_free(spool);
        return NULL;
    }
    spool->quiet_us = settings->quiet_us > 0 ? settings->quiet_us : QUIET_US;
    spool->watch = -1;
    /* None to be had (their number is limited): it looks more often instead. */
    spool->inotify = watch ? inotify_init1(IN_NONBLOCK | IN_CLOEXEC) : -1;
    return &spool->feed;
}

static struct spool *spool_of(const struct feed *feed)
{
    return (struct spool *)feed; /* its first member */
}

static int spool_fd(const struct feed *feed)
{
    const struct spool *spool = spool_of(feed);
    return spool->watch >= 0 ? spool->inotify : -1;
}

static void spool_close(struct feed *feed)
{
    struct spool *spool = spool_of(feed);
    if (spool->inotify >= 0)
        close(spool->inotify);
    spool_names_fini(&spool->closed);
    mf_free(spool->path);
}

static void take_event(struct spool *spool, const struct inotify_event *event)
{
    if ((event->mask & (IN_IGNORED | IN_MOVE_SELF | IN_DELETE_SELF)) != 0 &&
        event->wd == spool->watch)
        spool->inode = 0; /* not the folder of that path any more: watched anew */
    if ((event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0 && event->len > 0 &&
        spool->closed.count < CLOSED_MAX)
        spool_names_add(&spool->closed, event->name, NULL); /* without it, it has to be quiet */
}

static void take_events(struct spool *spool)
{
    _Alignas(struct inotify_event) char events[EVENTS_MAX];
    ssize_t n;
    spool_names_fini(&spool->closed);
    while (spool->inotify >= 0 && (n = read(spool->inotify, events, sizeof events)) > 0)
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(events + at);
            at += (ssize_t)(sizeof *event + event->len);
            take_event(spool, event);
        }
}

/* Before the folder is read, so that whatever comes afterwards is told. */
static void keep_watch(struct spool *spool, int folder)
{
    struct stat status;
    if (spool->inotify < 0 || fstat(folder, &status) < 0 ||
        (spool->watch >= 0 && status.st_dev == spool->device && status.st_ino == spool->inode))
        return;
    if (spool->watch >= 0)
        inotify_rm_watch(spool->inotify, spool->watch);
    spool->watch = inotify_add_watch(spool->inotify, spool->path, WATCHED);
    spool->device = status.st_dev;
    spool->inode = status.st_ino;
}

/* Whoever has to look before LOOK_US has a cause for it. */
static void plan_next(struct spool *spool, const struct spool_scan *scan, bool is_busy)
{
    int64_t now_us = mf_monotonic_us();
    bool is_blind = scan->is_remote || spool->watch < 0;
    spool->feed.next_us = now_us + (is_busy ? LOOK_BUSY_US : is_blind ? LOOK_BLIND_US : LOOK_US);
    if (spool->feed.report->more)
        spool->feed.next_us = now_us;
    else if (scan->ready_us < spool->feed.next_us)
        spool->feed.next_us = scan->ready_us;
}

static int claim_some(struct spool *spool,
                      struct spool_claim *claim,
                      struct spool_scan *scan,
                      uint64_t most,
                      struct mf_error *error)
{
    struct spool_names names = {0};
    bool more = false;
    int rc = spool_claim_heal(claim, error);
    if (rc == 0)
        rc = spool_list(scan->folder, spool->path, &names, error);
    if (rc == 0 && names.count > 0)
        rc = spool_claim_names(claim, scan, &names, most, &more, error);
    spool->feed.report->more = more;
    spool_names_fini(&names);
    return rc;
}

static int poll_folder(struct spool *spool, int folder, uint64_t most, struct mf_error *error)
{
    struct spool_claim claim = {
        .feed = &spool->feed, .path = spool->path, .folder = folder, .claimed = -1, .lock = -1};
    struct spool_scan scan = {.folder = folder,
                              .is_remote = spool_is_remote(folder),
                              .quiet_us = spool->quiet_us,
                              .closed = &spool->closed,
                              .ready_us = MF_NEVER};
    int rc = spool_claim_begin(&claim, error);
    bool is_busy = rc == 0;
    if (rc == 1)
        rc = claim_some(spool, &claim, &scan, most, error);
    spool_claim_end(&claim);
    if (rc == 0)
        plan_next(spool, &scan, is_busy);
    return rc;
}

static int spool_poll(struct feed *feed, uint64_t most, struct mf_error *error)
{
    struct spool *spool = spool_of(feed);
    int folder = open(spool->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return mf_raise(error,
                        MF_ESETUP,
                        "the spool folder %s cannot be read (%s): make it, or mend `spool` in the "
                        "job file",
                        spool->path,
                        strerror(errno));
    take_events(spool);
    keep_watch(spool, folder);
    int rc = poll_folder(spool, folder, most, error);
    close(folder);
    return rc;
}

const struct feed_class feed_spool = {
    spool_fits, spool_check, spool_open, spool_poll, spool_fd, spool_close};
