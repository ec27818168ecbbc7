/* SPDX-License-Identifier: Apache-2.0 */
/* Messages for a run: see claim.h. */
#include "master/claim.h"

#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/crash.h"
#include "master/firing_note.h"
#include "master/queue/firing.h"
#include "master/queue/queue.h"
#include "master/settle/settle.h"

/* A claim in the making. */
struct claim {
    const struct job *job;
    const char *run_id;
    struct queues *queues;
    struct queue_info queue; /* of the split */
    uint64_t of_split;       /* messages of it that the run has */
    struct firing_note note;
    struct mf_error error; /* of a callback */
};

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory: the messages of a run");
}

static bool has_queue(const struct job *job)
{
    return job->split.kind == SPLIT_QUEUE;
}

static int copy_text(const char *from, char **to, struct mf_error *error)
{
    mf_free(*to);
    *to = from == NULL ? NULL : mf_strdup(from);
    return from != NULL && *to == NULL ? raise_memory(error) : 0;
}

static int open_queues(struct claim *claim, struct mf_error *error)
{
    char *path = queues_path(error);
    int rc = path == NULL ? -1 : queues_open(path, false, &claim->queues, error);
    mf_free(path);
    if (rc == 0)
        rc = mf_raise(
            error,
            MF_EUSAGE,
            has_queue(claim->job)
                ? "there is no queue '%s', and none at all: mayfly queue create NAME makes it"
                : "there is nothing that run %s was started by: no queue and no trigger",
            has_queue(claim->job) ? claim->job->split.queue : claim->run_id);
    return rc < 0 ? -1 : 0;
}

/* Within a transaction: what the run does not have of the queue of its split, it gets. */
static int claim_of_split(struct claim *claim, struct mf_error *error)
{
    const struct job_split *split = &claim->job->split;
    if (claim->of_split > 0)
        return 0;
    if (queue_claim(claim->queues,
                    claim->queue.id,
                    claim->run_id,
                    split->batch_max,
                    &claim->of_split,
                    error) < 0)
        return -1;
    if (claim->of_split == 0 && !split->allow_empty)
        return mf_raise(error,
                        MF_EUSAGE,
                        "%s: the queue '%s' has no message that can be claimed (%llu are ready, "
                        "%llu are with other runs); 'allow_empty: true' allows that",
                        claim->job->path,
                        split->queue,
                        (unsigned long long)claim->queue.ready,
                        (unsigned long long)claim->queue.claimed);
    return 0;
}

static int find_queue(struct claim *claim, struct mf_error *error)
{
    return queue_find(claim->queues, claim->job->split.queue, &claim->queue, error) < 0 ? -1 : 0;
}

static int insert_by_hand(struct claim *claim, struct mf_error *error)
{
    char *starter = firing_starter();
    const struct firing firing = {.run_id = claim->run_id,
                                  .queue = claim->queue.id,
                                  .cause = "hand",
                                  .made_us = mf_wall_us(),
                                  .starter = starter,
                                  .messages = claim->of_split};
    int rc = starter == NULL ? raise_memory(error) : firing_insert(claim->queues, &firing, error);
    mf_free(starter);
    return rc < 0 ? -1 : 0;
}

/* In a transaction: 0 and committed, or -1 and nothing of it. */
static int in_transaction(struct claim *claim,
                          int (*change)(struct claim *claim, struct mf_error *error),
                          struct mf_error *error)
{
    if (queues_begin(claim->queues, error) < 0)
        return -1;
    MF_CRASH(FIRING_BEFORE_CLAIM);
    if (change(claim, error) < 0) {
        queues_rollback(claim->queues);
        return -1;
    }
    if (queues_commit(claim->queues, error) < 0)
        return -1;
    MF_CRASH(FIRING_AFTER_CLAIM);
    return 0;
}

static int change_by_hand(struct claim *claim, struct mf_error *error)
{
    if (find_queue(claim, error) < 0 || claim_of_split(claim, error) < 0 ||
        insert_by_hand(claim, error) < 0 || copy_text("hand", &claim->note.cause, error) < 0)
        return -1;
    return copy_text(claim->job->split.queue, &claim->note.queue, error);
}

static bool is_chained(const struct claim *claim)
{
    return claim->note.cause != NULL && strcmp(claim->note.cause, "after") == 0;
}

/* A message that the trigger has bound to the run. */
static int see_message(void *arg, const struct queue_message *message)
{
    struct claim *claim = arg;
    claim->of_split += has_queue(claim->job) && message->queue == claim->queue.id;
    if (!is_chained(claim) || claim->note.event != NULL)
        return 0;
    claim->note.event =
        mf_format("%.*s", (int)message->body.length, (const char *)message->body.data);
    if (claim->note.event == NULL)
        raise_memory(&claim->error);
    return claim->note.event == NULL;
}

static int take_firing(struct claim *claim, struct mf_error *error)
{
    struct firing firing;
    struct queue_info queue;
    int rc = firing_find(claim->queues, claim->run_id, &firing, error);
    if (rc < 0)
        return -1;
    if (rc == 0 || strcmp(firing.state, "open") != 0)
        return mf_raise(error,
                        MF_EUSAGE,
                        rc == 0 ? "no trigger has decided on run %s%s"
                                : "what was decided on as run %s is over: it is %s",
                        claim->run_id,
                        rc == 0 ? "" : firing.state);
    int64_t id = firing.queue; /* what it borrows is gone with the next look */
    claim->note.messages = firing.messages;
    if (has_queue(claim->job) && id == claim->queue.id)
        claim->of_split = firing.messages;
    claim->note.due_us = firing.due_us;
    if (copy_text(firing.trigger, &claim->note.trigger, error) < 0 ||
        copy_text(firing.cause, &claim->note.cause, error) < 0)
        return -1;
    if (id == 0)
        return 0;
    if (is_chained(claim)) /* its queue is hidden */
        return 0;
    if (queue_by_id(claim->queues, id, &queue, error) < 0)
        return -1;
    return copy_text(queue.name, &claim->note.queue, error);
}

static int change_of_firing(struct claim *claim, struct mf_error *error)
{
    if ((has_queue(claim->job) && find_queue(claim, error) < 0) || take_firing(claim, error) < 0)
        return -1;
    /* Its bodies are only read where it is not known what they are. */
    bool is_known = claim->of_split > 0 || (!has_queue(claim->job) && !is_chained(claim));
    if (!is_known &&
        queue_claimed(claim->queues, claim->run_id, 0, 0, see_message, claim, error) < 0)
        return -1;
    if (claim->error.code != MF_OK) {
        *error = claim->error;
        return -1;
    }
    if (!has_queue(claim->job) || claim->of_split > 0)
        return 0;
    return claim_of_split(claim, error) < 0
               ? -1
               : copy_text(claim->job->split.queue, &claim->note.queue, error);
}

/* Ends an open firing; 0 when it is so, also when there is none. Whatever fires because of it is
 * started by the next sweep. */
static int end_firing(const struct settle_ending *ending, struct mf_error *error)
{
    struct queues *queues = NULL;
    struct settled settled;
    struct trigger_fired fired = {0};
    char *path = queues_path(error);
    int rc = path == NULL ? -1 : queues_open(path, false, &queues, error);
    if (rc > 0)
        rc = settle_ending(queues, ending, mf_wall_us(), &settled, &fired, error);
    trigger_fired_fini(&fired);
    queues_close(queues);
    mf_free(path);
    return rc < 0 ? -1 : 0;
}

void claim_give_up(const char *run_id, const char *why)
{
    struct settle_ending ending;
    settle_give_up(run_id, why, &ending);
    end_firing(&ending, NULL);
    settle_fini(&ending);
}

/* Whether the run has an open firing: 1, 0, -1. */
static int is_open(const char *run_id, struct mf_error *error)
{
    struct queues *queues = NULL;
    struct firing firing = {.state = ""};
    char *path = queues_path(error);
    int rc = path == NULL ? -1 : queues_open(path, false, &queues, error);
    if (rc > 0)
        rc = firing_find(queues, run_id, &firing, error);
    rc = rc < 0 ? -1 : rc > 0 && strcmp(firing.state, "open") == 0;
    queues_close(queues);
    mf_free(path);
    return rc;
}

int claim_settle(const char *folder, struct mf_error *error)
{
    struct settle_ending ending;
    int rc = settle_read(folder, &ending, error);
    if (rc > 0)
        rc = end_firing(&ending, error);
    settle_fini(&ending);
    return rc < 0 ? -1 : 0;
}

int claim_let_go(const char *folder, const char *run_id, struct mf_error *error)
{
    struct settle_ending ending;
    int open = is_open(run_id, error);
    if (open <= 0)
        return open;
    /* One that can't be read is like one that never came about. */
    if (settle_read(folder, &ending, NULL) <= 0)
        settle_give_up(run_id, "its run was removed", &ending);
    int rc = end_firing(&ending, error);
    settle_fini(&ending);
    return rc;
}

static int carry_out(const struct job *job,
                     const char *run_id,
                     const char *folder,
                     int (*change)(struct claim *claim, struct mf_error *error),
                     struct mf_error *error)
{
    struct claim claim = {.job = job, .run_id = run_id};
    int rc = open_queues(&claim, error);
    bool is_claimed = rc == 0 && in_transaction(&claim, change, error) == 0;
    if (is_claimed && has_queue(job))
        claim.note.messages = claim.of_split;
    rc = is_claimed ? firing_note_write(folder, &claim.note, error) : -1;
    if (rc == 0)
        MF_CRASH(FIRING_AFTER_NOTE);
    else if (is_claimed && change == change_by_hand)
        claim_give_up(run_id, error->text);
    firing_note_fini(&claim.note);
    queues_close(claim.queues);
    return rc;
}

int claim_by_hand(const struct job *job,
                  const char *run_id,
                  const char *folder,
                  struct mf_error *error)
{
    return has_queue(job) ? carry_out(job, run_id, folder, change_by_hand, error) : 0;
}

int claim_of_firing(const struct job *job,
                    const char *run_id,
                    const char *folder,
                    struct mf_error *error)
{
    return carry_out(job, run_id, folder, change_of_firing, error);
}
