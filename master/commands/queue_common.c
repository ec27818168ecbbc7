/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands on queues share: see queue.h. */
#include "master/commands/queue.h"

#include "common/alloc.h"

struct queues *queue_command_open(bool make, struct mf_error *error)
{
    struct queues *queues = NULL;
    char *path = queues_path(error);
    if (path == NULL)
        return NULL;
    if (queues_open(path, make, &queues, error) == 0)
        mf_raise(error, MF_EUSAGE, "there are no queues yet: mayfly queue create NAME makes one");
    mf_free(path);
    return queues;
}

error_t queue_command_name(int key, char *text, struct argp_state *state)
{
    const char **name = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (*name != NULL)
            argp_error(state, "one queue at a time: \"%s\" is too much", text);
        *name = text;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "say which queue (mayfly queue ls lists them)");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int queue_command_commit(struct queues *queues,
                         int64_t queue,
                         json_t *started,
                         struct mf_error *error)
{
    (void)queue;
    (void)started;
    return queues_commit(queues, error);
}
