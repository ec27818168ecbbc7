/* SPDX-License-Identifier: Apache-2.0 */
/* What the master is asked and told: see session.h and session_internal.h. */
#include <string.h>

#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "worker/hello.h"
#include "worker/session_internal.h"

#define FLUSH_US 100000    /* a finished result waits no longer than this for others */
#define STARTED_US 20000   /* the master hears of a long-running subtask after this */
#define POLL_RESULTS 2048u /* results in one poll */
#define POLL_BYTES (1u << 20)

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
        session_fail(session, &error);
}

void session_say_hello(struct session *session)
{
    struct mf_request request = next_request(session, 0);
    struct mf_error error;
    MF_CRASH(WORKER_BEFORE_HELLO);
    if (hello_encode(
            session->input, &request, session->executor, &session->ready, &session->frame, &error) <
        0)
        session_fail(session, &error);
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
    int64_t now_us = session->is_noop && session->again.at_us == 0 ? 0 : mf_monotonic_us();
    /* One is enough to find out whether results are taken again. */
    uint32_t most = session->again.delay_us > 0 ? 1 : POLL_RESULTS;
    if (results && now_us >= session->again.at_us &&
        ready_move(&session->ready, sent, most, POLL_BYTES, &error) < 0) {
        session_fail(session, &error);
        return;
    }
    if (!session->is_noop)
        ready_stamp(sent, now_us);
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
        session_fail(session, &error);
        return;
    }
    fences_drop(&session->returned, returned);
    if (sent->count > 0)
        MF_CRASH(WORKER_BEFORE_RESULT);
    send_frame(session, lane);
    if (sent->count > 0)
        MF_CRASH(WORKER_AFTER_RESULT);
}

/* When the second lane is to carry what lies ready: MF_NEVER = nothing to carry. */
int64_t session_flush_due(const struct session *session)
{
    if (session->returned.count > 0)
        return 0;
    int64_t due = session->started_due ? session->started_us + STARTED_US : MF_NEVER;
    if (session->ready.count == 0)
        return due;
    uint32_t queued = session->executor == NULL ? 0 : executor_queued(session->executor);
    bool is_full = session->ready.count >= POLL_RESULTS || session->ready.count >= (queued + 1) / 2;
    int64_t flush = is_full ? 0 : session->ready.ended_us[0] + FLUSH_US;
    if (flush < session->again.at_us)
        flush = session->again.at_us;
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
        session_fail(session, &error);
        return;
    }
    session->phase = SAYING_BYE;
    MF_CRASH(WORKER_BEFORE_BYE);
    send_frame(session, lane);
    MF_CRASH(WORKER_AFTER_BYE);
}

void session_send_upload(struct session *session)
{
    if (!link_is_free(session->link, 2))
        return;
    struct mf_request request = next_request(session, 2);
    struct mf_error error;
    int rc = session->phase == PARTING
                 ? upload_next_log(session->upload, &request, &session->frame, &error)
                 : upload_next(session->upload, &request, &session->frame, &error);
    session_take_uploaded(session);
    if (rc > 0) {
        send_frame(session, 2);
        return;
    }
    session->sequences[2]--;
    if (rc < 0)
        session_fail(session, &error);
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
            session_fail(session, &error);
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
            session_fail(session, &error);
    while ((executed = ready_take_with_files(&session->ready)) != NULL)
        if (upload_add(session->upload, executed, &error) < 0)
            session_fail(session, &error);
    upload_restart(session->upload);
    session_take_uploaded(session);
    if (session->stage != NULL)
        stage_restart(session->stage);
    if (session->phase == JOINING)
        session_say_hello(session);
    session->returned.count = 0; /* not in the hello: the next master never misses it */
}

static bool has_nothing_left(const struct session *session)
{
    return (session->executor == NULL || executor_queued(session->executor) == 0) &&
           upload_is_idle(session->upload);
}

/* Sends whatever is due on every lane that is free. */
void session_pump(struct session *session, int64_t now_us)
{
    if (session->phase == REJOINING && !has_request_under_way(session))
        rejoin(session);
    if (session->phase == WORKING || session->phase == LEAVING)
        session_send_upload(session);
    if (session->phase == WORKING)
        send_fetches(session, now_us);
    /* A poll with results is answered at once, so a lane that took along whatever lies ready would
     * go to and fro with one or two results and a commit each time. */
    if (session->phase == WORKING && link_is_free(session->link, 0))
        send_poll(session, 0, session_flush_due(session) <= now_us);
    if (session->phase == WORKING && link_is_free(session->link, 1) &&
        session_flush_due(session) <= now_us)
        send_poll(session, 1, true);
    if (session->phase != LEAVING || !has_nothing_left(session) || !link_is_free(session->link, 2))
        return;
    if (!session->log_is_whole) {
        session->log_is_whole = true;
        upload_log_due(session->upload);
        session_send_upload(session);
    }
    if (has_nothing_left(session))
        send_bye(session);
}
