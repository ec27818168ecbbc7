/* SPDX-License-Identifier: Apache-2.0 */
/* `trigger` as JSON: see settings.h. */
#include "master/trigger/settings.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"

static const char *const kinds[] = {
    [TRIGGER_QUEUE] = "queue", [TRIGGER_CRON] = "cron", [TRIGGER_AFTER] = "after"};
static const char *const overlaps[] = {
    [OVERLAP_SKIP] = "skip", [OVERLAP_QUEUE] = "queue", [OVERLAP_ALLOW] = "allow"};
static const char *const catchups[] = {
    [CATCHUP_NONE] = "none", [CATCHUP_LAST] = "last", [CATCHUP_ALL] = "all"};
static const char *const ons[] = {
    [AFTER_SUCCESS] = "success", [AFTER_FAILURE] = "failure", [AFTER_ALWAYS] = "always"};

/* All of these lists count from 1. */
#define WORDS_LAST 3

static int number_of(const char *const words[WORDS_LAST + 1], const char *word)
{
    for (int i = 1; word != NULL && i <= WORDS_LAST; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return 0;
}

const char *trigger_kind_word(enum trigger_kind kind)
{
    return kinds[kind];
}

enum trigger_kind trigger_kind_of(const char *word)
{
    return (enum trigger_kind)number_of(kinds, word);
}

const char *trigger_on_word(enum trigger_on on)
{
    return ons[on];
}

/* What is not said is left out. */
static int set_text(json_t *object, const char *key, const char *text)
{
    return text == NULL ? 0 : json_object_set_new(object, key, json_string(text));
}

static int set_number(json_t *object, const char *key, uint64_t number)
{
    return number == 0 ? 0 : json_object_set_new(object, key, json_integer((json_int_t)number));
}

static int set_redis(json_t *object, const struct job_redis *redis)
{
    if (redis->list == NULL && redis->stream == NULL)
        return 0;
    json_t *inner = json_object();
    return set_text(inner, "server", redis->server) | set_text(inner, "list", redis->list) |
           set_text(inner, "stream", redis->stream) | set_text(inner, "group", redis->group) |
           set_text(inner, "user", redis->user) | json_object_set_new(object, "redis", inner);
}

static int set_queue(json_t *object, const struct job_trigger *trigger)
{
    json_t *when = json_object();
    return set_text(object, "queue", trigger->queue) |
           set_number(when, "count", trigger->when_count) |
           set_number(when, "bytes", trigger->when_bytes) |
           set_number(when, "age_us", trigger->when_age_us) |
           json_object_set_new(object, "when", when) |
           set_number(object, "max_batch", trigger->batch_max) |
           set_number(object, "max_running", trigger->running_max) |
           set_text(object, "spool", trigger->spool) | set_redis(object, &trigger->redis);
}

static int set_cron(json_t *object, const struct job_trigger *trigger)
{
    return set_text(object, "cron", trigger->cron) | set_text(object, "zone", trigger->zone) |
           set_text(object, "overlap", overlaps[trigger->overlap]) |
           set_text(object, "catchup", catchups[trigger->catchup]) |
           set_number(object, "jitter_us", trigger->jitter_us);
}

static int set_after(json_t *object, const struct job_trigger *trigger)
{
    return set_text(object, "after", trigger->after) | set_text(object, "on", ons[trigger->on]) |
           set_number(object, "max_running", trigger->running_max);
}

char *trigger_settings_write(const struct job_trigger *trigger, struct mf_error *error)
{
    json_t *object = json_object();
    char *text = NULL;
    int rc = trigger->kind == TRIGGER_QUEUE  ? set_queue(object, trigger)
             : trigger->kind == TRIGGER_CRON ? set_cron(object, trigger)
                                             : set_after(object, trigger);
    char *dumped = rc == 0 ? json_dumps(object, JSON_COMPACT) : NULL;
    if (dumped != NULL)
        text = mf_strdup(dumped);
    free(dumped); /* jansson's own */
    json_decref(object);
    if (text == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: the settings of a trigger");
    return text;
}

static int read_cron(const json_t *object, struct trigger_row *row, struct mf_error *error)
{
    const char *cron = json_string_value(json_object_get(object, "cron"));
    const char *zone = json_string_value(json_object_get(object, "zone"));
    const char *overlap = json_string_value(json_object_get(object, "overlap"));
    const char *catchup = json_string_value(json_object_get(object, "catchup"));
    row->overlap = (enum trigger_overlap)number_of(overlaps, overlap);
    row->catchup = (enum trigger_catchup)number_of(catchups, catchup);
    row->jitter_us = (uint64_t)json_integer_value(json_object_get(object, "jitter_us"));
    if (cron == NULL || row->overlap == 0 || row->catchup == 0)
        return mf_raise(error,
                        MF_EINPUT,
                        "the settings of trigger %s in queues.db are damaged; mayfly trigger "
                        "install %s writes them anew",
                        row->name,
                        row->job_path);
    row->cron = mf_strdup(cron);
    row->zone = zone == NULL ? NULL : mf_strdup(zone);
    return row->cron == NULL || (zone != NULL && row->zone == NULL)
               ? mf_raise(error, MF_ENOMEM, "out of memory: the settings of a trigger")
               : 0;
}

int trigger_settings_read(const char *text, struct trigger_row *row, struct mf_error *error)
{
    if (row->kind != TRIGGER_CRON)
        return 0;
    json_t *object = json_loads(text, 0, NULL);
    int rc = read_cron(object, row, error);
    json_decref(object);
    return rc;
}
