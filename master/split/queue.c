/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split `queue`: the messages that are claimed for the run, one each, in their order. They are read
 * a page at a time. What is claimed stays claimed for this run, so that a plan that was not
 * finished goes on with the same messages.
 *
 * Without a run it is what one would claim now: that is claimed, read, and the transaction is taken
 * back.
 */
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/placeholder.h"
#include "master/queue/queue.h"
#include "master/split/fields.h"
#include "master/split/kind.h"

#define PAGE_BYTES (1u << 20)
#define PAGE_COUNT 1024u
#define NOBODY "nobody" /* no id of a run */

struct message {
    int64_t id;
    size_t offset, length; /* of its body */
};

struct split_state {
    const struct job *job;
    struct queues *queues; /* NULL: all has been read */
    int64_t queue;
    char *run_id;
    struct mf_buffer bodies; /* of the page, one behind the other */
    struct message *messages;
    size_t count, capacity, next;
    size_t page_bytes, page_count; /* 0 = no limit */
    int64_t last_id;
    bool has_more;
    bool wants_fields;
    struct mf_buffer fields;
    char *path; /* of the last piece */
    struct mf_error error;
};

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory for the split");
}

static bool wants_fields(const struct job *job)
{
    bool wants = job->shell != NULL && mf_placeholder_wants_fields(job->shell);
    for (size_t i = 0; i < job->command.count; i++)
        wants |= mf_placeholder_wants_fields(job->command.items[i]);
    for (size_t i = 0; i < job->env.count; i++)
        wants |= mf_placeholder_wants_fields(strchr(job->env.items[i], '=') + 1);
    return wants && job->split.items == QUEUE_VALUES;
}

static int append(struct split_state *state, const struct queue_message *message)
{
    if (state->count == state->capacity) {
        size_t capacity = state->capacity == 0 ? 64 : state->capacity * 2;
        struct message *more = mf_realloc(state->messages, capacity * sizeof *more);
        if (more == NULL)
            return raise_memory(&state->error);
        state->messages = more;
        state->capacity = capacity;
    }
    state->messages[state->count] = (struct message){
        .id = message->id, .offset = state->bodies.length, .length = message->body.length};
    if (mf_buffer_append(&state->bodies, message->body.data, message->body.length, &state->error) <
        0)
        return -1;
    state->count++;
    return 0;
}

/* Non-zero ends the page. */
static int take(void *arg, const struct queue_message *message)
{
    struct split_state *state = arg;
    state->last_id = message->id;
    if (message->queue != state->queue)
        return 0;
    if (append(state, message) < 0)
        return 1;
    state->has_more = (state->page_bytes > 0 && state->bodies.length >= state->page_bytes) ||
                      (state->page_count > 0 && state->count >= state->page_count);
    return state->has_more;
}

static int read_page(struct split_state *state, struct mf_error *error)
{
    state->count = state->next = 0;
    state->has_more = false;
    mf_buffer_clear(&state->bodies);
    if (queue_claimed(state->queues, state->run_id, state->last_id, 0, take, state, error) < 0)
        return -1;
    if (state->error.code == MF_OK)
        return 0;
    if (error != NULL)
        *error = state->error;
    return -1;
}

/* All that a run would claim, in memory; nothing is claimed after it. */
static int read_claimable(struct split_state *state, struct mf_error *error)
{
    uint64_t count;
    if (queues_begin(state->queues, error) < 0)
        return -1;
    int rc = queue_claim(
        state->queues, state->queue, state->run_id, state->job->split.batch_max, &count, error);
    if (rc == 0)
        rc = read_page(state, error);
    queues_rollback(state->queues);
    queues_close(state->queues);
    state->queues = NULL;
    return rc;
}

static int open_queue(struct split_state *state, struct mf_error *error)
{
    struct queue_info info;
    const char *name = state->job->split.queue;
    char *path = queues_path(error);
    if (path == NULL)
        return -1;
    int rc = queues_open(path, false, &state->queues, error);
    if (rc == 0)
        rc = mf_raise(error,
                      MF_EUSAGE,
                      "there is no queue '%s', and none at all: mayfly queue create %s makes it",
                      name,
                      name);
    mf_free(path);
    if (rc < 0 || queue_find(state->queues, name, &info, error) < 0)
        return -1;
    state->queue = info.id;
    return 0;
}

static void queue_destroy(struct split_state *state)
{
    queues_close(state->queues);
    mf_free(state->run_id);
    mf_buffer_fini(&state->bodies);
    mf_free(state->messages);
    mf_buffer_fini(&state->fields);
    mf_free(state->path);
    mf_free(state);
}

static struct split_state *queue_create_split(const struct split_from *from, struct mf_error *error)
{
    struct split_state *state = mf_calloc(1, sizeof *state);
    if (state == NULL) {
        raise_memory(error);
        return NULL;
    }
    state->job = from->job;
    state->wants_fields = wants_fields(from->job);
    state->run_id = mf_strdup(from->run_id == NULL ? NOBODY : from->run_id);
    int rc = state->run_id == NULL ? raise_memory(error) : open_queue(state, error);
    if (rc == 0 && from->run_id == NULL)
        rc = read_claimable(state, error);
    state->page_bytes = PAGE_BYTES;
    state->page_count = PAGE_COUNT;
    state->has_more = from->run_id != NULL;
    if (rc == 0)
        return state;
    queue_destroy(state);
    return NULL;
}

/* The body as the path of an input. One that is no file (any more) fails its own subtask, by a name
 * that no file can have where the body is none. */
static int
describe_file(struct split_state *state, struct mf_subtask *piece, struct mf_error *error)
{
    struct mf_bytes body = piece->item;
    struct stat status;
    mf_free(state->path);
    state->path = NULL;
    bool is_path = body.length > 0 && memchr(body.data, '\0', body.length) == NULL;
    char *text = is_path ? mf_format("%.*s", (int)body.length, (const char *)body.data)
                         : mf_strdup("/dev/null/a body that is no path");
    state->path = text == NULL ? NULL : inputs_name(text, state->job->folder);
    mf_free(text);
    char *absolute = state->path == NULL   ? NULL
                     : *state->path == '/' ? mf_strdup(state->path)
                                           : mf_format("%s/%s", state->job->folder, state->path);
    if (absolute == NULL)
        return raise_memory(error);
    if (stat(absolute, &status) == 0 && S_ISREG(status.st_mode)) {
        inputs_describe(&status, piece);
        piece->length = piece->input_size;
    }
    mf_free(absolute);
    piece->path = piece->item = mf_bytes_text(state->path);
    return 0;
}

static int describe(struct split_state *state, struct mf_subtask *piece, struct mf_error *error)
{
    if (state->job->split.items == QUEUE_FILES)
        return describe_file(state, piece, error);
    if (!state->wants_fields)
        return 0;
    mf_buffer_clear(&state->fields);
    if (fields_of_json(piece->item, &state->fields, error) < 0)
        return -1;
    piece->fields = mf_buffer_view(&state->fields);
    return 0;
}

static int queue_next(struct split_state *state, struct mf_subtask *piece, struct mf_error *error)
{
    if (state->next == state->count && state->has_more && read_page(state, error) < 0)
        return -1;
    if (state->next == state->count)
        return 0;
    const struct message *message = &state->messages[state->next++];
    piece->message = message->id;
    piece->item = mf_bytes_of(state->bodies.data + message->offset, message->length);
    return describe(state, piece, error) < 0 ? -1 : 1;
}

const struct split_class split_queue = {queue_create_split, queue_next, queue_destroy};
