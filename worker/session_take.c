/* SPDX-License-Identifier: Apache-2.0 */
/* What the master answers, and what the executor says: see session.h and session_internal.h. */
#include "common/clock.h"
#include "common/crash.h"
#include "common/lease.h"
#include "common/log.h"
#include "worker/journal.h"
#include "worker/session_internal.h"

static void on_started(void *arg, const struct mf_fence *fence)
{
    struct session *session = arg;
    if (!session->started_due)
        session->started_us = mf_monotonic_us();
    session->started_due = true;
    if (fence->attempt > 1) /* it may have killed a worker: told before it does so again */
        session->started_us = 0;
}

static void make_ready(struct session *session, struct executed *executed)
{
    struct mf_error error;
    if (executed->failure != NULL) /* it has become another end than it was */
        journal_end(executed);
    if (ready_add(&session->ready, &executed->result, executed->ended_us, executed, &error) < 0)
        session_fail(session, &error);
}

void session_take_uploaded(struct session *session)
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
        session_fail(session, &error);
    else
        session_take_uploaded(session);
}

static void on_grew(void *arg, const struct executed_growth *growth)
{
    struct session *session = arg;
    struct mf_error error;
    if (upload_grew(session->upload, growth, &error) < 0)
        session_fail(session, &error);
}

static void on_returned(void *arg, const struct mf_fence *fence)
{
    struct session *session = arg;
    struct mf_error error;
    if (fences_add(&session->returned, fence, &error) < 0)
        session_fail(session, &error);
}

static void on_failed(void *arg, const struct mf_error *error)
{
    session_fail(arg, error);
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
        session_fail(session, &error);
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
        session_fail(session, &error);
}

static void handle_welcome(struct session *session, const struct mf_welcome *welcome)
{
    session->epoch = welcome->epoch;
    journal_joined(welcome->epoch);
    session->orphan_us = welcome->orphan_us;
    session->phase = WORKING;
    link_expect(session->link, (int64_t)mf_lease_silence_us(welcome->lease_us));
#ifdef MAYFLY_BENCH
    session->is_noop = welcome->task.executor == MF_EXECUTOR_NOOP;
#endif
    struct mf_error error;
    if (secrets_welcome(&session->secrets, session->input, session->folder, welcome, &error) < 0)
        session_fail(session, &error);
    else if (!session->is_noop && session->executor == NULL)
        start_executor(session, &welcome->task);
    mf_log(
        MF_INFO, "joined the run in epoch %u with %u slots", welcome->epoch, session->input->slots);
}

void session_release(struct session *session, struct ready_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->owners[i] != NULL)
            executor_release(session->executor, list->owners[i]);
    list->count = 0;
}

/* The master has no room for them now: they wait here. */
static void keep_unrecorded(struct session *session, unsigned lane)
{
    struct mf_error error;
    if (ready_return(&session->sent[lane], &session->ready, &error) < 0)
        session_fail(session, &error);
    again_later(&session->again, mf_monotonic_us());
}

static void take_subtasks(struct session *session, const struct mf_work *work)
{
    struct mf_error error;
    int64_t now_us = session->is_noop ? mf_monotonic_us() : 0;
    for (uint32_t i = 0; i < work->subtask_count; i++) {
        const struct mf_subtask *subtask = &work->subtasks[i];
        int rc;
        if (session->is_noop) {
            struct mf_result result = {
                .subtask = subtask->id, .attempt = subtask->attempt, .epoch = subtask->epoch};
            journal_noop(&result);
            rc = ready_add(&session->ready, &result, now_us, NULL, &error);
        } else {
            rc = executor_submit(session->executor, subtask, &error);
        }
        if (rc < 0) {
            session_fail(session, &error);
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
    const struct ready_list *sent = &session->sent[lane];
    if (work->unrecorded) {
        keep_unrecorded(session, lane);
    } else if (sent->count > 0) {
        MF_CRASH(WORKER_BEFORE_ACKNOWLEDGED);
        journal_acknowledged(sent->results, sent->count, session->epoch);
        MF_CRASH(WORKER_AFTER_ACKNOWLEDGED);
        session_release(session, &session->sent[lane]);
        session->again = (struct again){0};
    }
    if (work->renewal_count > 0)
        link_renew(session->link, &work->renewals[0]);
    secrets_take(session->secrets, work->secrets, work->secret_count);
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
        session_fail(session, &error);
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

void session_take_reply(struct session *session, unsigned lane, nng_msg *reply)
{
    struct mf_message message;
    struct mf_error error;
    struct mf_bytes frame = mf_bytes_of(nng_msg_body(reply), nng_msg_len(reply));
    session->heard_us = mf_monotonic_us();
    if (mf_decode(session->decoder, frame, &message, &error) < 0) {
        mf_error_prefix(&error, "the master's answer is malformed");
        session_fail(session, &error);
    } else if (asks_for_hello(session, &message)) {
        begin_rejoining(session);
    } else if (message.type == MF_REFUSED) {
        session->refused = true;
        mf_raise(&error, MF_EPROTOCOL, "the master refused: %s", message.refused.text);
        session_fail(session, &error);
    } else if (session->phase == REJOINING) {
        /* The last word of the old master. */
    } else if (message.type == MF_WELCOME && session->phase == JOINING) {
        handle_welcome(session, &message.welcome);
    } else if (message.type == MF_WORK && lane < 2) {
        handle_work(session, lane, &message.work);
    } else if (message.type == MF_RECEIVED && lane == MF_LANE_CHUNK) {
        upload_received(session->upload);
        session_take_uploaded(session);
    } else if (message.type == MF_PIECE && session->stage != NULL && lane >= MF_LANE_FETCH) {
        handle_piece(session, lane, &message.piece);
    } else if (message.type == MF_RECEIVED && session->phase == SAYING_BYE) {
        session_end(session, 0);
    } else if (session->phase != PARTING) { /* then nothing but lane 2 counts */
        mf_raise(&error,
                 MF_EPROTOCOL,
                 "the master answered lane %u with a message of type %d",
                 lane,
                 message.type);
        session_fail(session, &error);
    }
}
