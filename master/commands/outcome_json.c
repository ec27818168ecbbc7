/* SPDX-License-Identifier: Apache-2.0 */
/* Outcomes as JSON: see outcome_json.h. Keys are kept for good; a new one is a new key. */
#include "master/commands/outcome_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "master/commands/items.h"
#include "master/commands/letter.h"
#include "master/commands/text.h"
#include "master/gather/gather.h"

static int set_result(json_t *object, const char *folder, const struct outcome *outcome)
{
    char path[4096];
    int rc = json_object_set_new(
        object, "result_bytes", json_integer((json_int_t)outcome->result_bytes));
    if (outcome->has_result || outcome->result_bytes == 0)
        rc |= text_json_bytes(object, "result", outcome->result);
    else
        rc |= text_json_bytes(object,
                              "result_file",
                              mf_bytes_text(gather_result_path(folder, outcome->subtask, path)));
    if (outcome->output_count == 0)
        return rc;
    int length = snprintf(path,
                          sizeof path,
                          "%s/outputs/%" PRIu64 "/%" PRIu64,
                          folder,
                          outcome->subtask / 1000,
                          outcome->subtask);
    return rc | text_json_bytes(object, "outputs", mf_bytes_of(path, (size_t)length));
}

static json_t *head_json(const struct outcome *outcome)
{
    return json_pack("{s:I, s:s, s:i, s:i, s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I}",
                     "subtask",
                     (json_int_t)outcome->subtask,
                     "state",
                     outcome->state,
                     "attempts",
                     (int)outcome->attempts,
                     "attempt",
                     (int)outcome->attempt,
                     "cause",
                     outcome->cause,
                     "exit_code",
                     outcome->exit_code,
                     "signal",
                     outcome->signal,
                     "epoch",
                     (int)outcome->epoch,
                     "worker",
                     (int)outcome->worker,
                     "wall_us",
                     (json_int_t)outcome->wall_us,
                     "user_us",
                     (json_int_t)outcome->user_us,
                     "system_us",
                     (json_int_t)outcome->system_us,
                     "peak_kib",
                     (json_int_t)outcome->peak_kib,
                     "output_count",
                     (json_int_t)outcome->output_count,
                     "output_bytes",
                     (json_int_t)outcome->output_bytes);
}

/* Sets started and ended. */
static int set_stamps(json_t *object, int64_t ended_us, int64_t wall_us)
{
    int rc = text_json_stamp(object, "started", ended_us == 0 ? 0 : ended_us - wall_us);
    return rc | text_json_stamp(object, "ended", ended_us);
}

static int add_try(void *arg, const struct outcome_try *one, struct mf_error *error)
{
    json_t *object = json_pack("{s:i, s:s, s:b, s:s, s:i, s:i, s:i, s:i, s:I}",
                               "attempt",
                               (int)one->attempt,
                               "state",
                               one->state,
                               "superseded",
                               (int)one->superseded,
                               "cause",
                               one->cause,
                               "exit_code",
                               one->exit_code,
                               "signal",
                               one->signal,
                               "epoch",
                               (int)one->epoch,
                               "worker",
                               (int)one->worker,
                               "wall_us",
                               (json_int_t)one->wall_us);
    int rc = text_json_bytes(object, "host", mf_bytes_text(one->host));
    rc |= set_stamps(object, one->ended_us, one->wall_us);
    if (one->detail.length > 0)
        rc |= text_json_bytes(object, "detail", one->detail);
    if ((json_array_append_new(arg, object) | rc) != 0)
        return mf_raise(error, MF_ENOMEM, "out of memory: an attempt");
    return 0;
}

static int add_loss(void *arg, uint32_t worker, const char *host, struct mf_error *error)
{
    json_t *object = json_pack("{s:I}", "worker", (json_int_t)worker);
    int rc = text_json_bytes(object, "host", mf_bytes_text(host));
    if ((json_array_append_new(arg, object) | rc) != 0)
        return mf_raise(error, MF_ENOMEM, "out of memory: a lost worker");
    return 0;
}

static int set_log_tail(json_t *object,
                        const struct outcome_source *source,
                        const struct outcome *outcome,
                        struct mf_error *error)
{
    struct mf_buffer tail = {0};
    int rc = letter_tail(source, outcome, &tail, error);
    if (rc == 0 && text_json_bytes(object, "log_tail", mf_buffer_view(&tail)) < 0)
        rc = mf_raise(error, MF_ENOMEM, "out of memory: the end of a log");
    mf_buffer_fini(&tail);
    return rc;
}

/* What led to a dead letter. */
static int set_letter(json_t *object,
                      const struct outcome_source *source,
                      const struct outcome *outcome,
                      struct mf_error *error)
{
    json_t *tries = json_array(), *lost_with = json_array();
    json_object_set_new(object, "tries", tries);
    json_object_set_new(object, "lost_with", lost_with);
    if (outcome_each_try(source, outcome->subtask, add_try, tries, error) < 0 ||
        outcome_each_loss(source, outcome->subtask, add_loss, lost_with, error) < 0)
        return -1;
    return source->tail_lines == 0 ? 0 : set_log_tail(object, source, outcome, error);
}

static json_t *outcome_json(const struct outcome_source *source,
                            const struct outcome *outcome,
                            const struct mf_subtask *piece)
{
    json_t *object = head_json(outcome);
    int rc = text_json_bytes(object, "host", mf_bytes_text(outcome->host));
    rc |= set_stamps(object, outcome->ended_us, outcome->wall_us);
    if (piece != NULL)
        rc |= items_set_json(object, piece);
    if (outcome->detail.length > 0)
        rc |= text_json_bytes(object, "detail", outcome->detail);
    if (strcmp(outcome->state, "done") == 0)
        rc |= set_result(object, source->folder, outcome);
    if (rc == 0)
        return object;
    json_decref(object);
    return NULL;
}

int outcome_json_print(const struct outcome_source *source,
                       const struct outcome *outcome,
                       const struct mf_subtask *piece,
                       struct mf_error *error)
{
    json_t *object = outcome_json(source, outcome, piece);
    if (object == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: subtask %" PRIu64, outcome->subtask);
    if (strcmp(outcome->state, "done") == 0 || set_letter(object, source, outcome, error) == 0)
        return text_json_print(object, 0, error);
    json_decref(object);
    return -1;
}
