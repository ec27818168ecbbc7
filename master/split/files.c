/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split `files`: each input a subtask, or several up to a size. A group's item is the list of
 * absolute paths, each ended by NUL; it has no path of its own.
 */
#include <string.h>

#include "common/alloc.h"
#include "common/buffer.h"
#include "master/split/kind.h"

/* A group's list travels in one message. */
#define LIST_MAX (256u << 10)

struct split_state {
    const struct inputs *inputs;
    uint64_t group_bytes;
    size_t next;
    struct mf_buffer list;
};

static struct split_state *files_create(const struct split_from *from, struct mf_error *error)
{
    struct split_state *state = mf_calloc(1, sizeof *state);
    if (state == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory for the split");
        return NULL;
    }
    state->inputs = from->inputs;
    state->group_bytes = from->job->split.group_bytes;
    return state;
}

static int next_file(struct split_state *state, struct mf_subtask *piece, struct mf_error *error)
{
    struct stat status;
    if (inputs_stat(state->inputs, state->next, -1, &status, error) < 0)
        return -1;
    inputs_describe(&status, piece);
    piece->path = mf_bytes_text(state->inputs->paths[state->next++]);
    piece->item = piece->path;
    piece->length = piece->input_size;
    return 1;
}

static int append_path(struct split_state *state, struct mf_error *error)
{
    char *path = inputs_absolute(state->inputs, state->next);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory for the split");
    int rc = mf_buffer_append(&state->list, path, strlen(path) + 1, error);
    mf_free(path);
    return rc;
}

static int next_group(struct split_state *state, struct mf_subtask *piece, struct mf_error *error)
{
    mf_buffer_clear(&state->list);
    uint64_t bytes = 0;
    for (; state->next < state->inputs->count && state->list.length < LIST_MAX; state->next++) {
        struct stat status;
        if (inputs_stat(state->inputs, state->next, -1, &status, error) < 0)
            return -1;
        uint64_t size = (uint64_t)status.st_size;
        if (state->list.length > 0 &&
            (bytes > state->group_bytes || size > state->group_bytes - bytes))
            break;
        if (append_path(state, error) < 0)
            return -1;
        bytes += size;
    }
    piece->item = mf_buffer_view(&state->list);
    piece->length = bytes;
    return 1;
}

static int files_next(struct split_state *state, struct mf_subtask *piece, struct mf_error *error)
{
    if (state->next == state->inputs->count)
        return 0;
    return state->group_bytes == 0 ? next_file(state, piece, error)
                                   : next_group(state, piece, error);
}

static void files_destroy(struct split_state *state)
{
    mf_buffer_fini(&state->list);
    mf_free(state);
}

const struct split_class split_files = {files_create, files_next, files_destroy};
