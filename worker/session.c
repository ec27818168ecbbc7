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
#include "common/crash.h"
#include "common/log.h"
#include "common/loop.h"
#include "worker/daemon.h"
#include "worker/executor.h"
#include "worker/fences.h"
#include "worker/hello.h"
#include "worker/journal.h"
#include "worker/link.h"
#include "worker/ready.h"
#include "worker/stage.h"
#include "worker/upload.h"

#define FLUSH_US 100000      /* a finished result waits no longer than this for others */
#define STARTED_US 20000     /* the master hears of a long-running subtask after this */
#define LOG_US 2000000       /* the worker's log goes home this often */
#define LEAVE_US 10000000    /* after a dismissal: the master has this long to take the rest */
#define PART_US 1000000      /* after an error: as long for the end of the logs */
#define ADDRESSES_US 1000000 /* without a connection: a new master's addresses are looked for */
#define POLL_RESULTS 2048u   /* results in one poll */
#define POLL_BYTES (1u << 20)

enum phase { JOINING, WORKING, LEAVING, SAYING_BYE, REJOINING, PARTING, OVER };

struct session {
    struct launch_input *input;
    const char *folder, *binary;
    enum phase phase;
    int outcome; /* 0 or -1, when OVER */
    struct mf_error *error;
    struct mf_loop *loop;
    struct link *link;
    struct executor *executor;
    struct stage *stage; /* NULL: all is in its place */
    struct upload *upload;
    struct mf_decoder *decoder;
    struct mf_buffer frame;
    uint64_t id;
    uint32_t epoch;
    uint64_t orphan_us;
    bool is_noop;
    bool refused, orphaned;
    bool log_is_whole; /* of one that leaves: its log was looked at when nothing else was left */
    bool started_due;  /* something runs that no poll has told yet */
    int64_t started_us;
    uint64_t sequences[MF_LANES];
    struct ready_list ready;
    struct ready_list sent[2];
    struct fences returned;
    struct mf_fence *running; /* scratch */
    uint32_t running_capacity;
    int64_t heard_us, log_us, leaving_us, addresses_us;
    int signal_fd;
};

static void end_session(struct session *session, int outcome)
{
    session->phase = OVER;
    session->outcome = outcome;
}

static void fail_session(struct session *session, const struct mf_error *why)
{
    if (session->phase == OVER)
        return;
    if (session->phase == PARTING) { /* the first error counts */
        end_session(session, -1);
        return;
    }
    if (session->error != NULL && why != session->error)
        *session->error = *why;
    end_session(session, -1);
}

static void on_started(void *arg, const struct mf_fence *fence)
{
    (void)fence;
    struct session *session = arg;
    if (session->started_due)
        return;
    session->started_due = true;
    session->started_us = mf_monotonic_us();
}

static void make_ready(struct session *session, struct executed *executed)
{
    struct mf_error error;
    if (ready_add(&session->ready, &executed->result, executed->ended_us, executed, &error) < 0)
        fail_session(session, &error);
}

static void take_uploaded(struct session *session)
{
    struct executed *executed;
    while ((executed = upload_next_done(session->upload)) != NULL)
        make_ready(session, executed);
}

static void on_ended(void *arg, struct executed *executed)
{
    struct session *session = arg;
    struct mf_error error;
    if (executed->file_count == 0 && !executed->has_grown)
        make_ready(session, executed);
    else if (upload_add(session->upload, executed, &error) < 0)
        fail_session(session, &error);
    else
        take_uploaded(session);
}

static void on_grew(void *arg, const struct executed_growth *growth)
{
    struct session *session = arg;
    struct mf_error error;
    if (upload_grew(session->upload, growth, &error) < 0)
        fail_session(session, &error);
}

static void on_returned(void *arg, const struct mf_fence *fence)
{
    struct session *session = arg;
    struct mf_error error;
    if (fences_add(&session->returned, fence, &error) < 0)
        fail_session(session, &error);
}

static void on_failed(void *arg, const struct mf_error *error)
{
    fail_session(arg, error);
}

static struct mf_request next_request(struct session *session, unsigned lane)
{
    struct mf_request request = {.worker = session->input->worker,
                                 .lane = lane,
                                 .sequence = ++session->sequences[lane],
                                 .epoch = session->epoch,
                                 .session = session->id};
    memcpy(request.token, link_token(session->link), MF_TOKEN_SIZE);
    return request;
}

static void send_frame(struct session *session, unsigned lane)
{
    struct mf_error error;
    if (link_send(session->link, lane, mf_buffer_view(&session->frame), &error) < 0)
        fail_session(session, &error);
}

static void say_hello(struct session *session)
{
    struct mf_request request = next_request(session, 0);
    struct mf_error error;
    if (hello_encode(
            session->input, &request, session->executor, &session->ready, &session->frame, &error) <
        0)
        fail_session(session, &error);
    else
        send_frame(session, 0);
    MF_CRASH(WORKER_AFTER_HELLO);
}

static uint32_t collect_running(struct session *session)
{
    return session->executor == NULL
               ? 0
               : executor_running(session->executor, session->running, session->running_capacity);
}

/* With `results`, it carries what lies ready; else it only gives the master a request to answer. */
static void send_poll(struct session *session, unsigned lane, bool results)
{
    struct mf_error error;
    struct ready_list *sent = &session->sent[lane];
    if (results && ready_move(&session->ready, sent, POLL_RESULTS, POLL_BYTES, &error) < 0) {
        fail_session(session, &error);
        return;
    }
    if (!session->is_noop)
        ready_stamp(sent, mf_monotonic_us());
    uint32_t returned =
        session->returned.count < MF_BATCH_MAX ? session->returned.count : MF_BATCH_MAX;
    struct mf_poll poll = {.request = next_request(session, lane),
                           .free_places = session->executor == NULL
                                              ? session->input->slots
                                              : executor_free_places(session->executor),
                           .running_count = collect_running(session),
                           .running = session->running,
                           .returned_count = returned,
                           .returned = session->returned.items,
                           .result_count = sent->count,
                           .results = sent->results};
    session->started_due = false;
    mf_buffer_clear(&session->frame);
    if (mf_encode_poll(&poll, &session->frame, &error) < 0) {
        fail_session(session, &error);
        return;
    }
    fences_drop(&session->returned, returned);
    MF_CRASH_IF(sent->count > 0, WORKER_BEFORE_RESULT);
    send_frame(session, lane);
    MF_CRASH_IF(sent->count > 0, WORKER_AFTER_RESULT);
}

/* When the second lane is to carry what lies ready: MF_NEVER = nothing to carry. */
static int64_t flush_due(const struct session *session)
{
    if (session->returned.count > 0)
        return 0;
    int64_t due = session->started_due ? session->started_us + STARTED_US : MF_NEVER;
    if (session->ready.count == 0)
        return due;
    uint32_t queued = session->executor == NULL ? 0 : executor_queued(session->executor);
    if (session->ready.count >= POLL_RESULTS || session->ready.count >= (queued + 1) / 2)
        return 0;
    int64_t flush = session->ready.ended_us[0] + FLUSH_US;
    return flush < due ? flush : due;
}

static void send_bye(struct session *session)
{
    unsigned lane = link_is_free(session->link, 0) ? 0 : 1;
    if (!link_is_free(session->link, lane))
        return;
    struct mf_bye bye = {.request = next_request(session, lane), .reason = "dismissed"};
    struct mf_error error;
    mf_buffer_clear(&session->frame);
    if (mf_encode_bye(&bye, &session->frame, &error) < 0) {
        fail_session(session, &error);
        return;
    }
    session->phase = SAYING_BYE;
    MF_CRASH(WORKER_BEFORE_BYE);
    send_frame(session, lane);
    MF_CRASH(WORKER_AFTER_BYE);
}

static void send_upload(struct session *session)
{
    if (!link_is_free(session->link, 2))
        return;
    struct mf_request request = next_request(session, 2);
    struct mf_error error;
    int rc = session->phase == PARTING
                 ? upload_next_log(session->upload, &request, &session->frame, &error)
                 : upload_next(session->upload, &request, &session->frame, &error);
    take_uploaded(session);
    if (rc > 0) {
        send_frame(session, 2);
        return;
    }
    session->sequences[2]--;
    if (rc < 0)
        fail_session(session, &error);
}

static void send_fetches(struct session *session, int64_t now_us)
{
    struct mf_fetch fetch;
    struct mf_error error;
    for (unsigned lane = MF_LANE_FETCH; session->stage != NULL && lane < MF_LANES; lane++) {
        if (!link_is_free(session->link, lane) ||
            stage_next(session->stage, lane, now_us, &fetch) == 0)
            continue;
        fetch.request = next_request(session, lane);
        mf_buffer_clear(&session->frame);
        if (mf_encode_fetch(&fetch, &session->frame, &error) < 0) {
            fail_session(session, &error);
            return;
        }
        send_frame(session, lane);
    }
}

static bool has_request_under_way(const struct session *session)
{
    for (unsigned lane = 0; lane < MF_LANES; lane++)
        if (!link_is_free(session->link, lane))
            return true;
    return false;
}

/* To the next master as to the first one, but with what is here. What was told and not acknowledged
 * is told again; what has files sends them first, since the last master may have had only half. */
static void rejoin(struct session *session)
{
    struct mf_error error;
    struct executed *executed;
    session->phase = JOINING;
    session->epoch = 0;
    session->log_is_whole = false;
    memset(session->sequences, 0, sizeof session->sequences);
    for (unsigned lane = 2; lane-- > 0;)
        if (ready_return(&session->sent[lane], &session->ready, &error) < 0)
            fail_session(session, &error);
    while ((executed = ready_take_with_files(&session->ready)) != NULL)
        if (upload_add(session->upload, executed, &error) < 0)
            fail_session(session, &error);
    upload_restart(session->upload);
    take_uploaded(session);
    if (session->stage != NULL)
        stage_restart(session->stage);
    if (session->phase == JOINING)
        say_hello(session);
    session->returned.count = 0; /* not in the hello: the next master never misses it */
}

static bool has_nothing_left(const struct session *session)
{
    return (session->executor == NULL || executor_queued(session->executor) == 0) &&
           upload_is_idle(session->upload);
}

/* Sends whatever is due on every lane that is free. */
static void pump(struct session *session, int64_t now_us)
{
    if (session->phase == REJOINING && !has_request_under_way(session))
        rejoin(session);
    if (session->phase == WORKING || session->phase == LEAVING)
        send_upload(session);
    if (session->phase == WORKING)
        send_fetches(session, now_us);
    /* A poll with results is answered at once, so a lane that took along whatever lies ready would
     * go to and fro with one or two results and a commit each time. */
    if (session->phase == WORKING && link_is_free(session->link, 0))
        send_poll(session, 0, flush_due(session) <= now_us);
    if (session->phase == WORKING && link_is_free(session->link, 1) && flush_due(session) <= now_us)
        send_poll(session, 1, true);
    if (session->phase != LEAVING || !has_nothing_left(session) || !link_is_free(session->link, 2))
        return;
    if (!session->log_is_whole) {
        session->log_is_whole = true;
        upload_log_due(session->upload);
        send_upload(session);
    }
    if (has_nothing_left(session))
        send_bye(session);
}

static void start_executor(struct session *session, const struct mf_task *task)
{
    struct executor_callbacks callbacks = {.started = on_started,
                                           .ended = on_ended,
                                           .returned = on_returned,
                                           .grew = on_grew,
                                           .failed = on_failed,
                                           .arg = session};
    struct mf_error error;
    if (task->staging != MF_STAGING_NEVER &&
        (session->stage = stage_create(task, session->folder, session->input->slots, &error)) ==
            NULL) {
        fail_session(session, &error);
        return;
    }
    session->executor = executor_create(session->loop,
                                        task,
                                        session->input->run_id,
                                        session->input->worker,
                                        session->folder,
                                        session->binary,
                                        session->input->slots,
                                        session->stage,
                                        &callbacks,
                                        &error);
    if (session->executor == NULL)
        fail_session(session, &error);
}

static void handle_welcome(struct session *session, const struct mf_welcome *welcome)
{
    session->epoch = welcome->epoch;
    journal_joined(welcome->epoch);
    session->orphan_us = welcome->orphan_us;
    session->phase = WORKING;
    /* It holds a poll for a third of the lease. */
    link_expect(session->link, (int64_t)(welcome->lease_us / 2));
#ifdef MAYFLY_BENCH
    session->is_noop = welcome->task.executor == MF_EXECUTOR_NOOP;
#endif
    if (!session->is_noop && session->executor == NULL)
        start_executor(session, &welcome->task);
    mf_log(
        MF_INFO, "joined the run in epoch %u with %u slots", welcome->epoch, session->input->slots);
}

static void release_owners(struct session *session, struct ready_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->owners[i] != NULL)
            executor_release(session->executor, list->owners[i]);
    list->count = 0;
}

static void take_subtasks(struct session *session, const struct mf_work *work)
{
    struct mf_error error;
    int64_t now_us = session->is_noop ? mf_monotonic_us() : 0;
    for (uint32_t i = 0; i < work->subtask_count; i++) {
        const struct mf_subtask *subtask = &work->subtasks[i];
        int rc = session->is_noop ? ready_add_noop(&session->ready, subtask, now_us, &error)
                                  : executor_submit(session->executor, subtask, &error);
        if (rc < 0) {
            fail_session(session, &error);
            return;
        }
    }
}

static void leave(struct session *session)
{
    mf_log(MF_INFO, "dismissed");
    MF_CRASH(WORKER_AFTER_DISMISSED);
    session->phase = LEAVING;
    session->leaving_us = mf_monotonic_us();
    session->started_due = false;
    if (session->executor != NULL)
        executor_cancel_all(session->executor);
    upload_log_due(session->upload);
}

static void handle_work(struct session *session, unsigned lane, const struct mf_work *work)
{
    ready_acknowledged(&session->sent[lane], session->epoch);
    release_owners(session, &session->sent[lane]);
    if (work->renewal_count > 0)
        link_renew(session->link, &work->renewals[0]);
    if (session->phase != WORKING)
        return;
    take_subtasks(session, work);
    for (uint32_t i = 0; i < work->take_back_count && session->executor != NULL; i++)
        executor_take_back(session->executor, &work->take_back[i]);
    for (uint32_t i = 0; i < work->cancel_count && session->executor != NULL; i++)
        executor_cancel(session->executor, &work->cancel[i]);
    if (work->dismiss && session->phase == WORKING)
        leave(session);
}

static void handle_piece(struct session *session, unsigned lane, const struct mf_piece *piece)
{
    struct mf_error error;
    if (stage_take(session->stage, lane, piece, mf_monotonic_us(), &error) < 0)
        fail_session(session, &error);
}

static bool asks_for_hello(const struct session *session, const struct mf_message *message)
{
    return message->type == MF_REFUSED && message->refused.code == MF_REFUSAL_EPOCH &&
           session->phase != JOINING && session->phase != PARTING;
}

/* All other requests that are under way will be refused, too; until then nothing is sent. */
static void begin_rejoining(struct session *session)
{
    if (session->phase != REJOINING)
        mf_log(MF_INFO, "another master serves the run now: saying hello again");
    session->phase = REJOINING;
}

static void handle_reply(struct session *session, unsigned lane, nng_msg *reply)
{
    struct mf_message message;
    struct mf_error error;
    struct mf_bytes frame = mf_bytes_of(nng_msg_body(reply), nng_msg_len(reply));
    session->heard_us = mf_monotonic_us();
    if (mf_decode(session->decoder, frame, &message, &error) < 0) {
        mf_error_prefix(&error, "the master's answer is malformed");
        fail_session(session, &error);
    } else if (asks_for_hello(session, &message)) {
        begin_rejoining(session);
    } else if (message.type == MF_REFUSED) {
        session->refused = true;
        mf_raise(&error, MF_EPROTOCOL, "the master refused: %s", message.refused.text);
        fail_session(session, &error);
    } else if (session->phase == REJOINING) {
        /* The last word of the old master. */
    } else if (message.type == MF_WELCOME && session->phase == JOINING) {
        handle_welcome(session, &message.welcome);
    } else if (message.type == MF_WORK && lane < 2) {
        handle_work(session, lane, &message.work);
    } else if (message.type == MF_RECEIVED && lane == MF_LANE_CHUNK) {
        upload_received(session->upload);
        take_uploaded(session);
    } else if (message.type == MF_PIECE && session->stage != NULL && lane >= MF_LANE_FETCH) {
        handle_piece(session, lane, &message.piece);
    } else if (message.type == MF_RECEIVED && session->phase == SAYING_BYE) {
        end_session(session, 0);
    } else if (session->phase != PARTING) { /* then nothing but lane 2 counts */
        mf_raise(&error,
                 MF_EPROTOCOL,
                 "the master answered lane %u with a message of type %d",
                 lane,
                 message.type);
        fail_session(session, &error);
    }
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
            fail_session(session, &error);
            return;
        }
        handle_reply(session, (unsigned)lane, reply);
        nng_msg_free(reply);
    }
}

static void on_signal(void *arg, uint32_t events)
{
    (void)events;
    struct session *session = arg;
    struct mf_error error;
    if (daemon_was_signalled(session->signal_fd, &error))
        fail_session(session, &error);
}

static int watch_signals(struct session *session, struct mf_error *error)
{
    session->signal_fd = daemon_signals(error);
    if (session->signal_fd < 0)
        return -1;
    return mf_loop_add(session->loop, session->signal_fd, EPOLLIN, on_signal, session, error);
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
        fail_session(session, &error);
    }
    if (session->phase != LEAVING && session->phase != SAYING_BYE)
        return limit;
    int64_t leave_limit = session->leaving_us + LEAVE_US;
    if (now_us >= leave_limit)
        end_session(session, 0);
    return mf_earlier(limit, leave_limit);
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
        next = mf_earlier(next, executor_tick(session->executor, now_us));
    next = mf_earlier(next, check_orphan(session, now_us));
    if (session->phase == WORKING && now_us >= session->log_us) {
        upload_log_due(session->upload);
        session->log_us = now_us + LOG_US;
    }
    pump(session, now_us);
    if (session->phase == WORKING)
        next = mf_earlier(next, session->log_us);
    if (session->phase == WORKING && link_is_free(session->link, 1))
        next = mf_earlier(next, flush_due(session));
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
        release_owners(session, lists[i]);
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
        send_upload(session);
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
        say_hello(&session);
        while (session.phase != OVER) {
            int64_t next = tick(&session);
            struct mf_error why;
            if (session.phase != OVER && mf_loop_step(session.loop, next, &why) < 0)
                fail_session(&session, &why);
        }
        part(&session);
    }
    release_all(&session);
    upload_destroy(session.upload);
    executor_destroy(session.executor);
    stage_destroy(session.stage);
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
