/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivering: see notify.h. A thread a subscriber; each opens the outbox only while it has
 * something to do, so that a run that goes on for days keeps no second connection to run.db.
 *
 *     wait for rows, or for the time of the next try
 *     take the subscriber's lock, then: first pending row -> one try -> note what came of it
 */
#include "master/notify/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/utf8.h"
#include "master/notify/outbox.h"
#include "master/notify/tell.h"

#define FIRST_WAIT_US INT64_C(1000000) /* doubled with each try */
#define LAST_WAIT_US (INT64_C(900) * 1000000)
#define GIVE_UP_US (INT64_C(86400) * 1000000) /* after the event */
#define TROUBLE_US INT64_C(1000000)           /* run.db cannot be read or written now */
#define LOCK_MS 50
#define MOST_US INT64_C(10000000)

struct subscriber {
    struct notify_session *session;
    int64_t number; /* from 1 */
    pthread_t thread;
    int lock_fd;
    bool is_in_trouble; /* with run.db: that is logged once */
};

struct notify_session {
    const struct job *job;
    const char *folder, *run_id;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    uint64_t wakes;
    bool is_ending;
    int64_t until_us; /* monotonic, when it is ending: no try begins later */
    size_t running;   /* threads */
    int stop;         /* atomic */
    int done_fd;      /* eventfd: the last thread has ended */
    size_t count;
    struct subscriber subscribers[];
};

void told_set(struct told *told, enum told_verdict verdict, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(told->text, sizeof told->text, format, args);
    va_end(args);
    mf_utf8_mend(told->text); /* it goes into JSON */
    told->verdict = verdict;
}

int64_t notify_most_us(void)
{
    const char *text = getenv("MAYFLY_NOTIFY_MOST_US");
    char *end = NULL;
    long long us = text == NULL ? 0 : strtoll(text, &end, 10);
    return us > 0 && *end == '\0' ? us : MOST_US;
}

static bool is_stopped(const struct notify_session *session)
{
    return __atomic_load_n(&session->stop, __ATOMIC_RELAXED) != 0;
}

/* Whether a try may still begin. */
static bool may_begin(struct notify_session *session)
{
    pthread_mutex_lock(&session->lock);
    bool may = !session->is_ending || mf_monotonic_us() < session->until_us;
    pthread_mutex_unlock(&session->lock);
    return may && !is_stopped(session);
}

/* The subscriber's byte of notify.lock: 1, 0 when it was not to be had before the session ends, -1.
 */
static int take_lock(struct subscriber *subscriber, struct mf_error *error)
{
    struct notify_session *session = subscriber->session;
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = subscriber->number, .l_len = 1};
    char *path = mf_format("%s/notify.lock", session->folder);
    subscriber->lock_fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    mf_free(path);
    if (subscriber->lock_fd < 0)
        return mf_raise_errno(error, "cannot open notify.lock in %s", session->folder);
    while (fcntl(subscriber->lock_fd, F_OFD_SETLK, &lock) < 0) {
        if (!may_begin(session)) {
            close(subscriber->lock_fd);
            subscriber->lock_fd = -1;
            return 0;
        }
        poll(NULL, 0, LOCK_MS);
    }
    return 1;
}

/* The event with its id in front. NULL: no memory, or the payload is no object. The C library's. */
static char *make_body(const struct outbox_row *row, const char *id)
{
    json_t *payload = json_loads(row->payload, 0, NULL), *event = json_pack("{s:s}", "id", id);
    char *text = NULL;
    if (payload != NULL && event != NULL && json_object_update(event, payload) == 0)
        text = json_dumps(event, JSON_COMPACT);
    json_decref(payload);
    json_decref(event);
    return text;
}

static void try_once(const struct subscriber *subscriber,
                     const struct job_notify *to,
                     const struct outbox_row *row,
                     struct told *told)
{
    const struct notify_session *session = subscriber->session;
    char id[160];
    snprintf(id, sizeof id, "%s:%" PRId64, session->run_id, row->id);
    char *body = make_body(row, id);
    if (body == NULL) {
        told_set(told, TELL_LATER, "the event cannot be put together: out of memory?");
        return;
    }
    const struct tell tell = {.job = session->job,
                              .to = to,
                              .folder = session->folder,
                              .run_id = session->run_id,
                              .id = id,
                              .event = row->event,
                              .payload = row->payload,
                              .body = mf_bytes_text(body),
                              .stop = &session->stop};
    MF_CRASH(MASTER_BEFORE_TELL);
    if (to->queue != NULL)
        tell_queue(&tell, told);
    else if (to->webhook.place != NULL)
        tell_webhook(&tell, told);
    else
        tell_command(&tell, told);
    MF_CRASH(MASTER_AFTER_TELL);
    free(body); /* jansson's own */
}

static int64_t backoff_us(int64_t attempts, const struct told *told)
{
    int64_t wait_us =
        attempts > 10 ? LAST_WAIT_US : FIRST_WAIT_US << (attempts > 0 ? attempts - 1 : 0);
    wait_us = wait_us < LAST_WAIT_US ? wait_us : LAST_WAIT_US;
    return told->wait_us > wait_us ? told->wait_us : wait_us;
}

static void say(const struct outbox_row *row, const struct told *told, int64_t wait_us)
{
    if (told->verdict == TOLD)
        mf_log(MF_INFO,
               "notification %" PRId64 " (%s): delivered to %s",
               row->id,
               row->event,
               row->target);
    else if (told->verdict == TELL_LATER)
        mf_log(MF_WARNING,
               "notification %" PRId64 " (%s) to %s: %s; it is tried again, not before %.3g s",
               row->id,
               row->event,
               row->target,
               told->text,
               (double)wait_us / 1e6);
    else
        mf_log(MF_WARNING,
               "notification %" PRId64 " (%s) to %s: %s; it is given up",
               row->id,
               row->event,
               row->target,
               told->text);
}

/* What came of the try goes into the outbox. It is tried until the session has to end: what is
 * delivered and not noted is sent again some day. */
static int note(struct subscriber *subscriber,
                struct outbox *outbox,
                const struct outbox_row *row,
                const struct told *told)
{
    static const char *const states[] = {
        [TOLD] = "delivered", [TELL_LATER] = "pending", [TELL_NEVER] = "failed"};
    struct mf_error error;
    int64_t id = row->id, now_us = mf_wall_us(), wait_us = backoff_us(row->attempts + 1, told);
    say(row, told, wait_us);
    while (outbox_note(outbox,
                       id,
                       states[told->verdict],
                       now_us,
                       told->verdict == TELL_LATER ? now_us + wait_us : 0,
                       told->verdict == TOLD ? NULL : told->text,
                       &error) < 0) {
        mf_log(MF_WARNING, "what came of notification %" PRId64 ": %s", id, error.text);
        if (!may_begin(subscriber->session))
            return -1;
        poll(NULL, 0, TROUBLE_US / 1000);
    }
    return 0;
}

/* One row that is due. -1: the outbox cannot be used now. */
static int deliver(struct subscriber *subscriber, struct outbox *outbox, struct outbox_row *row)
{
    const struct job *job = subscriber->session->job;
    struct told told = {.verdict = TELL_LATER};
    try_once(subscriber, &job->notify[subscriber->number - 1], row, &told);
    if (told.verdict == TELL_LATER && mf_wall_us() - row->made_us > GIVE_UP_US)
        told.verdict = TELL_NEVER;
    return note(subscriber, outbox, row, &told);
}

/* Delivers what is due; the wall time of the next try, 0 = at once, MF_NEVER = nothing is pending.
 */
static int64_t
deliver_due(struct subscriber *subscriber, struct outbox *outbox, struct mf_error *error)
{
    struct outbox_row row;
    int rc;
    while ((rc = outbox_next(outbox, subscriber->number, &row, error)) > 0) {
        int64_t now_us = mf_wall_us();
        /* Further away than it can be: the clock was set back. */
        if (row.next_us > now_us && row.next_us <= now_us + 2 * INT64_C(3600000000))
            return row.next_us;
        if (!may_begin(subscriber->session))
            return 0;
        if (deliver(subscriber, outbox, &row) < 0)
            return now_us + TROUBLE_US;
    }
    return rc == 0 ? MF_NEVER : -1;
}

/* The outbox cannot be used now: said once. When it is looked at again. */
static int64_t note_trouble(struct subscriber *subscriber, const struct mf_error *error)
{
    if (!subscriber->is_in_trouble)
        mf_log(MF_WARNING, "notifications: %s", error->text);
    subscriber->is_in_trouble = true;
    return mf_wall_us() + TROUBLE_US;
}

static int64_t serve(struct subscriber *subscriber)
{
    struct mf_error error;
    int rc = take_lock(subscriber, &error);
    if (rc <= 0)
        return rc < 0 ? note_trouble(subscriber, &error) : mf_wall_us() + TROUBLE_US;
    struct outbox *outbox = outbox_open(subscriber->session->folder, &error);
    int64_t next_us = outbox == NULL ? -1 : deliver_due(subscriber, outbox, &error);
    if (next_us < 0)
        next_us = note_trouble(subscriber, &error);
    else
        subscriber->is_in_trouble = false;
    outbox_close(outbox);
    close(subscriber->lock_fd);
    return next_us;
}

/* Until there may be something to do: rows that came after `seen`, or the time `due_us` (wall,
 * MF_NEVER = none). False: the session is over for this one. With the lock. */
static bool await(struct notify_session *session, int64_t due_us, uint64_t seen)
{
    int64_t due_mono_us =
        due_us == MF_NEVER ? MF_NEVER : mf_monotonic_us() + (due_us - mf_wall_us());
    for (;;) {
        int64_t now_us = mf_monotonic_us();
        if (is_stopped(session) || (session->is_ending && now_us >= session->until_us))
            return false;
        if (seen != session->wakes || now_us >= due_mono_us)
            return true;
        if (session->is_ending && due_mono_us >= session->until_us)
            return false;
        struct timespec at = {.tv_sec = due_mono_us / 1000000,
                              .tv_nsec = due_mono_us % 1000000 * 1000};
        if (due_mono_us == MF_NEVER)
            pthread_cond_wait(&session->wake, &session->lock);
        else
            pthread_cond_timedwait(&session->wake, &session->lock, &at);
    }
}

static void *subscriber_main(void *arg)
{
    struct subscriber *subscriber = arg;
    struct notify_session *session = subscriber->session;
    pthread_mutex_lock(&session->lock);
    for (bool goes_on = true; goes_on;) {
        uint64_t seen = session->wakes;
        pthread_mutex_unlock(&session->lock);
        int64_t due_us = serve(subscriber);
        pthread_mutex_lock(&session->lock);
        goes_on = await(session, due_us, seen);
    }
    bool is_last = --session->running == 0;
    pthread_mutex_unlock(&session->lock);
    if (is_last)
        eventfd_write(session->done_fd, 1);
    return NULL;
}

/* No signal is delivered to these threads: they belong to the loop. */
static int start_threads(struct notify_session *session, struct mf_error *error)
{
    sigset_t all, old;
    int rc = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_mutex_lock(&session->lock);
    for (size_t i = 0; rc == 0 && i < session->job->notify_count; i++) {
        struct subscriber *subscriber = &session->subscribers[i];
        *subscriber =
            (struct subscriber){.session = session, .number = (int64_t)i + 1, .lock_fd = -1};
        rc = pthread_create(&subscriber->thread, NULL, subscriber_main, subscriber);
        session->count += rc == 0;
    }
    session->running = session->count;
    pthread_mutex_unlock(&session->lock);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc == 0 ? 0
                   : mf_raise(error, MF_ESYSTEM, "no thread for notifications: %s", strerror(rc));
}

struct notify_session *notify_session_open(const struct job *job,
                                           const char *folder,
                                           const char *run_id,
                                           struct mf_error *error)
{
    pthread_condattr_t monotonic;
    struct notify_session *session =
        mf_calloc(1, sizeof *session + job->notify_count * sizeof *session->subscribers);
    if (session == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: notifications");
        return NULL;
    }
    session->job = job;
    session->folder = folder;
    session->run_id = run_id;
    session->done_fd = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&session->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&session->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (session->done_fd >= 0 ? start_threads(session, error) == 0
                              : mf_raise_errno(error, "no descriptor for notifications") == 0)
        return session;
    notify_session_end(session, 0, -1);
    return NULL;
}

void notify_session_wake(struct notify_session *session)
{
    pthread_mutex_lock(&session->lock);
    session->wakes++;
    pthread_cond_broadcast(&session->wake);
    pthread_mutex_unlock(&session->lock);
}

void notify_session_end(struct notify_session *session, int64_t most_us, int stop_fd)
{
    if (session == NULL)
        return;
    pthread_mutex_lock(&session->lock);
    session->is_ending = true;
    session->until_us = mf_monotonic_us() + most_us;
    session->wakes++;
    pthread_cond_broadcast(&session->wake);
    bool is_done = session->running == 0;
    pthread_mutex_unlock(&session->lock);
    while (!is_done) {
        struct pollfd fds[] = {{.fd = session->done_fd, .events = POLLIN},
                               {.fd = stop_fd, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        is_done = (fds[0].revents & POLLIN) != 0;
        if (!is_done && (fds[1].revents & POLLIN) != 0) {
            __atomic_store_n(&session->stop, 1, __ATOMIC_RELAXED);
            notify_session_wake(session);
            break;
        }
    }
    for (size_t i = 0; i < session->count; i++)
        pthread_join(session->subscribers[i].thread, NULL);
    pthread_cond_destroy(&session->wake);
    pthread_mutex_destroy(&session->lock);
    if (session->done_fd >= 0)
        close(session->done_fd);
    mf_free(session);
}
