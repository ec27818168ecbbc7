/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's life: see session.h.
 *
 *     joining --welcome--> working --dismiss--> leaving --all sent--> bye --received--> over
 *        any of these --another master--> rejoining --no request under way--> joining
 *        any --refused, orphaned, executor failed--> over, with an error
 *
 * A master that dies and is followed by another one is a connection that was lost, as far as the
 * executor can tell. The next master refuses what it does not know, and is told again who is here
 * and what is held; lanes, files on their way and results not acknowledged begin anew.
 *
 * What ends with an error still sends the end of its logs, when the master can be reached and wants
 * to hear of it.
 *
 * Lane 0 always has a poll at the master, so that it can speak at once. Lane 1 brings results while
 * lane 0 is held; what comes in the meantime is collected, so that a message carries many. Lane 2
 * carries files home, lanes 3 and 4 inputs here.
 */
#include "worker/session.h"

#include <nng/nng.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "worker/daemon.h"
#include "worker/session_internal.h"

#define LOG_US 2000000       /* the worker's log goes home this often */
#define LEAVE_US 10000000    /* after a dismissal: the master has this long to take the rest */
#define PART_US 1000000      /* after an error: as long for the end of the logs */
#define ADDRESSES_US 1000000 /* without a connection: a new master's addresses are looked for */

void session_end(struct session *session, int outcome)
{
    session->phase = OVER;
    session->outcome = outcome;
}

void session_fail(struct session *session, const struct mf_error *why)
{
    if (session->phase == OVER)
        return;
    if (session->phase == PARTING) { /* the first error counts */
        session_end(session, -1);
        return;
    }
    if (session->error != NULL && why != session->error)
        *session->error = *why;
    session_end(session, -1);
}

static void on_link(void *arg, uint32_t events)
{
    (void)events;
    struct session *session = arg;
    nng_msg *reply;
    int lane;
    while (session->phase != OVER && (lane = link_take(session->link, &reply)) >= 0) {
        if (reply == NULL) {
            struct mf_error error;
            mf_raise(&error, MF_ESYSTEM, "a request on lane %d failed inside nng", lane);
            session_fail(session, &error);
            return;
        }
        session_take_reply(session, (unsigned)lane, reply);
        nng_msg_free(reply);
    }
}

static void on_signal(void *arg, uint32_t events)
{
    (void)events;
    struct session *session = arg;
    struct mf_error error;
    if (daemon_was_signalled(session->signal_fd, &error))
        session_fail(session, &error);
}

static int watch_signals(struct session *session, struct mf_error *error)
{
    session->signal_fd = daemon_signals(error);
    if (session->signal_fd < 0)
        return -1;
    return mf_loop_add(session->loop, session->signal_fd, EPOLLIN, on_signal, session, error);
}

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t check_orphan(struct session *session, int64_t now_us)
{
    int64_t limit = session->heard_us + (int64_t)session->orphan_us;
    if (now_us >= limit) {
        struct mf_error error;
        session->orphaned = session->phase != OVER;
        mf_raise(&error,
                 MF_ESETUP,
                 "nothing was heard of the master for %llu s: ending as an orphan",
                 (unsigned long long)(session->orphan_us / 1000000));
        session_fail(session, &error);
    }
    if (session->phase != LEAVING && session->phase != SAYING_BYE)
        return limit;
    int64_t leave_limit = session->leaving_us + LEAVE_US;
    if (now_us >= leave_limit)
        session_end(session, 0);
    return earliest(limit, leave_limit);
}

/* The link takes them from the launch input when it dials the next time. */
static void look_for_addresses(struct session *session, int64_t now_us)
{
    if (link_is_up(session->link) || now_us < session->addresses_us)
        return;
    session->addresses_us = now_us + ADDRESSES_US;
    if (launch_input_renew(session->input, session->folder))
        mf_log(MF_INFO, "another master says where it listens: %s", session->input->addresses[0]);
}

static int64_t tick(struct session *session)
{
    int64_t now_us = mf_monotonic_us();
    look_for_addresses(session, now_us);
    int64_t next = link_tick(session->link, now_us);
    if (session->executor != NULL)
        next = earliest(next, executor_tick(session->executor, now_us));
    next = earliest(next, check_orphan(session, now_us));
    if (session->phase == WORKING && now_us >= session->log_us) {
        upload_log_due(session->upload);
        session->log_us = now_us + LOG_US;
    }
    session_pump(session, now_us);
    if (session->phase == WORKING)
        next = earliest(next, session->log_us);
    if (session->phase == WORKING && link_is_free(session->link, 1))
        next = earliest(next, session_flush_due(session));
    return next;
}

static int open_session(struct session *session, const char *log_path, struct mf_error *error)
{
    if (getrandom(&session->id, sizeof session->id, 0) != sizeof session->id)
        return mf_raise_errno(error, "cannot make a session id");
    session->running_capacity = 2 * session->input->slots + 2;
    session->running = mf_calloc(session->running_capacity, sizeof *session->running);
    session->decoder = mf_decoder_create();
    if (session->running == NULL || session->decoder == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the worker's session");
    if ((session->loop = mf_loop_create(error)) == NULL || watch_signals(session, error) < 0 ||
        (session->upload = upload_create(log_path, error)) == NULL ||
        (session->link = link_create(session->input, error)) == NULL)
        return -1;
    return mf_loop_add(session->loop, link_fd(session->link), EPOLLIN, on_link, session, error);
}

static void release_all(struct session *session)
{
    struct ready_list *lists[] = {&session->sent[0], &session->sent[1], &session->ready};
    for (unsigned i = 0; i < sizeof lists / sizeof *lists; i++) {
        session_release(session, lists[i]);
        ready_fini(lists[i]);
    }
}

/* The end of the logs goes home, with the reason why there comes no more. */
static void part(struct session *session)
{
    int64_t limit_us = mf_monotonic_us() + PART_US;
    struct mf_error error;
    if (session->outcome == 0 || session->epoch == 0 || session->refused ||
        !link_is_up(session->link))
        return;
    mf_log(MF_ERROR, "%s", session->error->text);
    session->phase = PARTING;
    upload_log_due(session->upload);
    while (session->phase == PARTING && mf_monotonic_us() < limit_us) {
        session_send_upload(session);
        if (session->phase != PARTING || link_is_free(session->link, 2))
            break;
        if (mf_loop_step(session->loop, limit_us, &error) < 0)
            break;
    }
}

int session_run(struct launch_input *input,
                const char *folder,
                const char *log_path,
                const char *binary,
                bool *orphaned,
                struct mf_error *error)
{
    struct session session = {.input = input,
                              .folder = folder,
                              .binary = binary,
                              .error = error,
                              .orphan_us = input->orphan_us,
                              .heard_us = mf_monotonic_us(),
                              .signal_fd = -1,
                              .outcome = -1};
    if (open_session(&session, log_path, error) == 0) {
        session_say_hello(&session);
        while (session.phase != OVER) {
            int64_t next = tick(&session);
            struct mf_error why;
            if (session.phase != OVER && mf_loop_step(session.loop, next, &why) < 0)
                session_fail(&session, &why);
        }
        part(&session);
    }
    release_all(&session);
    upload_destroy(session.upload);
    executor_destroy(session.executor);
    stage_destroy(session.stage);
    secrets_destroy(session.secrets);
    link_destroy(session.link);
    mf_loop_destroy(session.loop);
    mf_decoder_destroy(session.decoder);
    mf_buffer_fini(&session.frame);
    if (session.signal_fd >= 0)
        close(session.signal_fd);
    fences_fini(&session.returned);
    mf_free(session.running);
    *orphaned = session.orphaned;
    return session.outcome;
}
