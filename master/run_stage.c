/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workers fetch: requests are resolved through the plan or the list of the job's own files (a
 * worker never names a path), read by the threads of the stage, and answered.
 *
 * All replies that may be on their way count: from their order until the worker's lane asks again,
 * which says that they have come, or its connection is gone. Beyond UNDER_WAY_MAX a request waits
 * its turn; so memory depends neither on inputs nor on the number of workers.
 */
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/frame.h"
#include "common/log.h"
#include "master/run_internal.h"
#include "master/stage/files.h"
#include "master/stage/serve.h"

#define UNDER_WAY_MAX (64u << 20)
#define OVERHEAD 1024u /* of a reply, besides its data */
#define FREE_MAX 8u    /* orders whose memory is kept */

struct fetch_order {
    struct serve_order base; /* first */
    struct fetch_order *next;
    struct scatter_ticket ticket;
    int64_t since_us;
};

struct run_stage {
    struct serve *serve;
    struct stage_files files;
    struct fetch_order *waiting, **waiting_last; /* for their turn, oldest first */
    struct fetch_order *active;                  /* with the threads */
    struct fetch_order *free;
    unsigned free_count;
    uint64_t under_way; /* bytes */
};

static uint32_t weight_of(const struct fetch_order *order)
{
    return order->base.length + OVERHEAD;
}

static void free_order(struct fetch_order *order)
{
    mf_free(order->base.path);
    mf_buffer_fini(&order->base.frame);
    mf_free(order);
}

static void drop_order(struct run_stage *stage, struct fetch_order *order)
{
    mf_free(order->base.path);
    order->base.path = NULL;
    if (stage->free_count == FREE_MAX) {
        free_order(order);
        return;
    }
    order->next = stage->free;
    stage->free = order;
    stage->free_count++;
}

static struct fetch_order *take_order(struct run_stage *stage)
{
    struct fetch_order *order = stage->free;
    if (order == NULL)
        return mf_calloc(1, sizeof *order);
    stage->free = order->next;
    stage->free_count--;
    struct mf_buffer frame = order->base.frame;
    *order = (struct fetch_order){.base = {.frame = frame}};
    return order;
}

/* Lets those whose turn has come begin. One that is larger than all room begins alone. */
static void begin_waiting(struct run *run)
{
    struct run_stage *stage = run->stage;
    while (stage->waiting != NULL) {
        struct fetch_order *order = stage->waiting;
        uint32_t weight = weight_of(order);
        if (stage->under_way > 0 && stage->under_way + weight > UNDER_WAY_MAX)
            return;
        stage->waiting = order->next;
        if (stage->waiting == NULL)
            stage->waiting_last = &stage->waiting;
        stage->under_way += weight;
        order->next = stage->active;
        stage->active = order;
        order->since_us = mf_monotonic_us();
        serve_submit(stage->serve, &order->base);
    }
}

static struct run_sent *sent_to(struct run *run, uint32_t worker, uint32_t lane)
{
    if (worker >= run->worker_count || lane < MF_LANE_FETCH)
        return NULL;
    return &run->workers[worker].sent[lane - MF_LANE_FETCH];
}

/* What was on its way to the lane has come, or is lost. */
static void settle(struct run *run, uint32_t worker, uint32_t lane)
{
    struct run_sent *sent = sent_to(run, worker, lane);
    if (sent == NULL)
        return;
    run->stage->under_way -= sent->weight;
    *sent = (struct run_sent){0};
}

void run_stage_lost(struct run *run, uint32_t worker)
{
    if (run->stage == NULL)
        return;
    for (uint32_t lane = MF_LANE_FETCH; lane < MF_LANES; lane++)
        settle(run, worker, lane);
    begin_waiting(run);
}

static void answer_at_once(struct run *run,
                           const struct scatter_ticket *ticket,
                           uint32_t cause,
                           const char *text)
{
    struct mf_piece piece = {.cause = cause, .detail = mf_bytes_text(text)};
    struct mf_buffer frame = {0};
    if (mf_encode_piece(&piece, false, &frame, NULL) < 0)
        mf_buffer_clear(&frame);
    scatter_piece(run->scatter, ticket, mf_buffer_view(&frame));
    mf_buffer_fini(&frame);
}

/* The n-th path of a group's list; empty when there are fewer. */
static struct mf_bytes member_of(struct mf_bytes list, uint32_t n)
{
    const unsigned char *at = list.data, *end = list.data + list.length, *nul = NULL;
    while (at < end && (nul = memchr(at, '\0', (size_t)(end - at))) != NULL && n > 0) {
        at = nul + 1;
        n--;
    }
    return at < end && nul != NULL ? mf_bytes_of(at, (size_t)(nul - at)) : (struct mf_bytes){0};
}

static char *absolute_path(const struct run *run, struct mf_bytes path)
{
    if (path.data[0] == '/')
        return mf_memdup(path.data, path.length);
    return mf_format("%s/%.*s", run->job->folder, (int)path.length, (const char *)path.data);
}

/* Which file is meant, and what it must be. 0, or the cause why it is none, with a sentence. */
static uint32_t resolve(const struct run *run,
                        const struct mf_fetch *fetch,
                        struct serve_order *order,
                        struct mf_bytes *path,
                        const char **why)
{
    const struct stage_files *files = &run->stage->files;
    struct mf_subtask subtask;
    *why = "there is no such file";
    if (fetch->subtask == 0) {
        if (fetch->file > files->count || files->items[fetch->file - 1].is_folder)
            return MF_CAUSE_INPUT_MISSING;
        const struct mf_task_file *file = &files->items[fetch->file - 1];
        *path = file->path;
        order->is_known = true;
        order->size = file->size;
        order->mtime_ns = file->mtime_ns;
        order->inode = file->inode;
        return MF_CAUSE_NONE;
    }
    if (plan_payload(run->plan, fetch->subtask, &subtask) < 0) {
        *why = "the subtask is over";
        return MF_CAUSE_CANCELLED;
    }
    bool is_grouped = run->job->split.group_bytes > 0;
    *path = is_grouped ? member_of(subtask.item, fetch->member) : subtask.path;
    order->is_known = !is_grouped && subtask.input_inode != 0;
    order->size = subtask.input_size;
    order->mtime_ns = subtask.input_mtime_ns;
    order->inode = subtask.input_inode;
    return path->length == 0 ? MF_CAUSE_INPUT_MISSING : MF_CAUSE_NONE;
}

/* The lane's next question shows how long the last answer took, unless it had nothing to ask. */
static void
note_pace(struct run *run, const struct mf_fetch *fetch, const struct scatter_ticket *ticket)
{
    const struct run_sent *sent = sent_to(run, ticket->worker, ticket->lane);
    if (sent == NULL || sent->weight == 0 || fetch->length == 0)
        return;
    pace_note(&run->workers[ticket->worker].pace,
              sent->is_deflated,
              sent->length,
              mf_monotonic_us() - sent->since_us);
}

void run_stage_fetch(void *arg, const struct mf_fetch *fetch, const struct scatter_ticket *ticket)
{
    struct run *run = arg;
    struct run_stage *stage = run->stage;
    struct mf_bytes path = {0};
    const char *why;
    note_pace(run, fetch, ticket);
    settle(run, ticket->worker, ticket->lane);
    struct fetch_order *order = NULL;
    if (fetch->subtask == 0 && fetch->file == 0) {
        answer_at_once(run, ticket, MF_CAUSE_NONE, "");
    } else if ((order = take_order(stage)) == NULL) {
        answer_at_once(run, ticket, MF_CAUSE_WORKER_ERROR, "the master is out of memory");
    } else {
        uint32_t cause = resolve(run, fetch, &order->base, &path, &why);
        order->base.path = cause == MF_CAUSE_NONE ? absolute_path(run, path) : NULL;
        order->base.offset = fetch->offset;
        order->base.length = fetch->length;
        order->base.may_deflate = fetch->length >= PACE_FROM &&
                                  ticket->worker < run->worker_count &&
                                  pace_deflates(&run->workers[ticket->worker].pace);
        order->ticket = *ticket;
        if (cause == MF_CAUSE_NONE && order->base.path == NULL) {
            cause = MF_CAUSE_WORKER_ERROR;
            why = "the master is out of memory";
        }
        if (cause != MF_CAUSE_NONE) {
            drop_order(stage, order);
            answer_at_once(run, ticket, cause, why);
        } else {
            order->next = NULL;
            *stage->waiting_last = order;
            stage->waiting_last = &order->next;
        }
    }
    begin_waiting(run);
}

static void unlink_active(struct run_stage *stage, struct fetch_order *order)
{
    struct fetch_order **at = &stage->active;
    while (*at != order)
        at = &(*at)->next;
    *at = order->next;
}

static void finish(struct run *run, struct fetch_order *order)
{
    struct run_stage *stage = run->stage;
    uint32_t weight = weight_of(order);
    struct mf_bytes frame = mf_buffer_view(&order->base.frame);
    struct run_sent *sent = sent_to(run, order->ticket.worker, order->ticket.lane);
    unlink_active(stage, order);
    if (scatter_piece(run->scatter, &order->ticket, frame) && sent != NULL)
        *sent = (struct run_sent){.weight = weight,
                                  .length = order->base.length,
                                  .is_deflated = mf_frame_is_deflated(frame),
                                  .since_us = order->since_us};
    else
        stage->under_way -= weight;
    drop_order(stage, order);
}

static void on_served(void *arg, uint32_t events)
{
    (void)events;
    struct run *run = arg;
    struct mf_mail *mail = (struct mf_mail *)serve_take(run->stage->serve);
    while (mail != NULL) {
        struct mf_mail *next = mail->next;
        finish(run, (struct fetch_order *)mail);
        mail = next;
    }
    begin_waiting(run);
}

/* What is probed and settable: workers that are this machine's own processes share its files. */
static uint32_t staging_of(const struct job *job)
{
    if (job->staging == STAGING_ALWAYS)
        return MF_STAGING_ALWAYS;
    return job->staging == STAGING_AUTO && job->launcher != LAUNCHER_LOCAL ? MF_STAGING_AUTO
                                                                           : MF_STAGING_NEVER;
}

int run_stage_open(struct run *run, struct mf_task *task, struct mf_error *error)
{
    task->staging = staging_of(run->job);
    if (task->staging == MF_STAGING_NEVER || run->job->is_noop) {
        task->staging = MF_STAGING_NEVER;
        return 0;
    }
    struct run_stage *stage = mf_calloc(1, sizeof *stage);
    if (stage == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: staging");
    run->stage = stage;
    stage->waiting_last = &stage->waiting;
    if (stage_files_list(&stage->files, run->job, error) < 0 ||
        (stage->serve = serve_create(error)) == NULL)
        return -1;
    task->own_files = stage->files.items;
    task->own_file_count = stage->files.count;
    task->is_grouped = run->job->split.group_bytes > 0;
    return mf_loop_add(run->loop, serve_fd(stage->serve), EPOLLIN, on_served, run, error);
}

static void free_orders(struct fetch_order *order)
{
    while (order != NULL) {
        struct fetch_order *next = order->next;
        free_order(order);
        order = next;
    }
}

void run_stage_close(struct run *run)
{
    struct run_stage *stage = run->stage;
    if (stage == NULL)
        return;
    if (stage->serve != NULL)
        mf_loop_remove(run->loop, serve_fd(stage->serve));
    serve_destroy(stage->serve);
    free_orders(stage->waiting);
    free_orders(stage->active);
    free_orders(stage->free);
    stage_files_fini(&stage->files);
    mf_free(stage);
    run->stage = NULL;
}
