/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within the job module: whether the keys of `trigger` go together. Exactly one of queue, cron and
 * after makes its kind; the options of another kind are refused, since who writes them expects
 * something that would not happen.
 */
#include <inttypes.h>
#include <string.h>

#include "common/alloc.h"
#include "master/cron/cron.h"
#include "master/job/read.h"

#define QUEUE_NAME_MAX_BYTES 64 /* as in master/queue/queue.h */
#define DEFAULT_BATCH 1000
#define DEFAULT_SERVER "127.0.0.1:6379"
#define DEFAULT_GROUP "mayfly"

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory while reading the job file");
}

/* Options that are only for some kinds. */
static const struct {
    const char *path;
    unsigned kinds; /* bits, by enum trigger_kind */
    const char *words;
} options[] = {
    {"trigger.when", 1u << TRIGGER_QUEUE, "trigger.queue"},
    {"trigger.max_batch", 1u << TRIGGER_QUEUE, "trigger.queue"},
    {"trigger.max_running",
     1u << TRIGGER_QUEUE | 1u << TRIGGER_AFTER,
     "trigger.queue and trigger.after; with trigger.cron it is 'overlap' that says so"},
    {"trigger.spool", 1u << TRIGGER_QUEUE, "trigger.queue"},
    {"trigger.redis", 1u << TRIGGER_QUEUE, "trigger.queue"},
    {"trigger.zone", 1u << TRIGGER_CRON, "trigger.cron"},
    {"trigger.overlap", 1u << TRIGGER_CRON, "trigger.cron"},
    {"trigger.catchup", 1u << TRIGGER_CRON, "trigger.cron"},
    {"trigger.jitter", 1u << TRIGGER_CRON, "trigger.cron"},
    {"trigger.on", 1u << TRIGGER_AFTER, "trigger.after"},
};

static int check_options(const struct reader *reader, struct mf_error *error)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        bool is_fitting = (options[i].kinds & 1u << reader->job->trigger.kind) != 0;
        if (!is_fitting && reader_seen(reader, options[i].path) > 0)
            return reader_raise(
                reader, options[i].path, error, "this option is only for %s", options[i].words);
    }
    return 0;
}

static bool is_queue_name(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t length = strlen(name);
    return length > 0 && length <= QUEUE_NAME_MAX_BYTES && strspn(name, letters) == length &&
           *name != '.' && *name != '-';
}

/* A text that stands for `fallback` when it was not given. */
static int complete(char **text, const char *fallback, struct mf_error *error)
{
    if (*text == NULL)
        *text = mf_strdup(fallback);
    return *text == NULL ? raise_memory(error) : 0;
}

static int check_password(const struct reader *reader, struct mf_error *error)
{
    struct job_secret *password = &reader->job->trigger.redis.password;
    int sources =
        (password->file != NULL) + (password->command.count > 0) + (password->env != NULL);
    char place[TREE_PLACE_MAX];
    int id = reader_seen(reader, "trigger.redis.password");
    if (id == 0)
        return 0;
    if (sources != 1)
        return reader_raise(reader,
                            "trigger.redis.password",
                            error,
                            "expected exactly one of file, command and env, got %s",
                            sources == 0 ? "none" : "several");
    if (password->env != NULL && (*password->env == '\0' || strchr(password->env, '=') != NULL))
        return reader_raise(
            reader, "trigger.redis.password.env", error, "expected the name of a variable");
    password->name = mf_strdup("password");
    password->place = mf_format("%s: trigger.redis.password", tree_place(&reader->tree, id, place));
    return password->name == NULL || password->place == NULL ? raise_memory(error) : 0;
}

static int check_redis(const struct reader *reader, struct mf_error *error)
{
    static const char *const paths[] = {"trigger.redis.list", "trigger.redis.stream"};
    struct job_redis *redis = &reader->job->trigger.redis;
    if (reader_seen(reader, "trigger.redis") == 0)
        return 0;
    const char *path = reader_only_one(reader, "trigger.redis", paths, 2, "list and stream", error);
    if (path == NULL)
        return -1;
    if (*(path == paths[0] ? redis->list : redis->stream) == '\0')
        return reader_raise(reader, path, error, "expected the name of a key, got an empty text");
    if (redis->group != NULL && redis->stream == NULL)
        return reader_raise(
            reader, "trigger.redis.group", error, "this option is only for trigger.redis.stream");
    if (redis->user != NULL && reader_seen(reader, "trigger.redis.password") == 0)
        return reader_raise(
            reader, "trigger.redis.user", error, "trigger.redis.password is missing");
    if (complete(&redis->server, DEFAULT_SERVER, error) < 0 ||
        (redis->stream != NULL && complete(&redis->group, DEFAULT_GROUP, error) < 0))
        return -1;
    return check_password(reader, error);
}

static int check_queue(const struct reader *reader, struct mf_error *error)
{
    struct job_trigger *trigger = &reader->job->trigger;
    bool is_counted = reader_seen(reader, "trigger.when.count") > 0,
         is_other = trigger->when_bytes > 0 || trigger->when_age_us > 0;
    if (!is_queue_name(trigger->queue))
        return reader_raise(reader,
                            "trigger.queue",
                            error,
                            "expected a queue's name of at most %d letters, digits, '.', '-' and "
                            "'_', got '%.80s'",
                            QUEUE_NAME_MAX_BYTES,
                            trigger->queue);
    if (is_other && !is_counted)
        trigger->when_count = 0;
    if (trigger->batch_max == 0)
        trigger->batch_max =
            trigger->when_count > DEFAULT_BATCH ? trigger->when_count : DEFAULT_BATCH;
    if (trigger->batch_max < trigger->when_count)
        return reader_raise(reader,
                            "trigger.max_batch",
                            error,
                            "%" PRIu64 " is less than when.count, which is %" PRIu64
                            ": a run must be able to get as many messages as it was waited for",
                            trigger->batch_max,
                            trigger->when_count);
    if (trigger->spool != NULL && reader_seen(reader, "trigger.redis") > 0)
        return reader_raise(reader,
                            "trigger.redis",
                            error,
                            "trigger.spool is given too; a trigger has at most one source, and a "
                            "queue may be fed by several triggers");
    return check_redis(reader, error);
}

static int check_cron(const struct reader *reader, struct mf_error *error)
{
    struct mf_error wrong;
    struct cron cron;
    if (cron_parse(reader->job->trigger.cron, &cron, &wrong) < 0)
        return reader_raise(reader, "trigger.cron", error, "%s", wrong.text);
    return 0;
}

static int check_after(const struct reader *reader, struct mf_error *error)
{
    const struct job *job = reader->job;
    const char *after = job->trigger.after;
    if (!is_job_name(after))
        return reader_raise(reader,
                            "trigger.after",
                            error,
                            "expected the name of a job (its key 'name', not its file), got "
                            "'%.80s'",
                            after);
    if (strcmp(after, job->name) == 0)
        return reader_raise(reader,
                            "trigger.after",
                            error,
                            "a job that starts after itself would never end; expected the name of "
                            "another one");
    return 0;
}

int check_trigger(struct reader *reader, struct mf_error *error)
{
    static const char *const paths[] = {"trigger.queue", "trigger.cron", "trigger.after"};
    struct job_trigger *trigger = &reader->job->trigger;
    if (reader_seen(reader, "trigger") == 0)
        return 0;
    const char *path = reader_only_one(reader, "trigger", paths, 3, "queue, cron and after", error);
    if (path == NULL)
        return -1;
    trigger->kind = path == paths[0]   ? TRIGGER_QUEUE
                    : path == paths[1] ? TRIGGER_CRON
                                       : TRIGGER_AFTER;
    if (check_options(reader, error) < 0)
        return -1;
    return trigger->kind == TRIGGER_QUEUE  ? check_queue(reader, error)
           : trigger->kind == TRIGGER_CRON ? check_cron(reader, error)
                                           : check_after(reader, error);
}

void trigger_fini(struct job_trigger *trigger)
{
    struct job_redis *redis = &trigger->redis;
    char *texts[] = {trigger->queue,
                     trigger->spool,
                     trigger->cron,
                     trigger->zone,
                     trigger->after,
                     redis->server,
                     redis->list,
                     redis->stream,
                     redis->group,
                     redis->user,
                     redis->password.name,
                     redis->password.place,
                     redis->password.file,
                     redis->password.env};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        mf_free(texts[i]);
    strings_fini(&redis->password.command);
}
