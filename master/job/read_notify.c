/* SPDX-License-Identifier: Apache-2.0 */
/* `notify` of a job file: the subscribers, and what must be true of each. */
#include <string.h>
#include <strings.h>

#include "common/alloc.h"
#include "master/job/read.h"

static const char *const event_names[] = {
    [NOTIFY_STARTED] = "started",
    [NOTIFY_SUCCEEDED] = "succeeded",
    [NOTIFY_PARTIAL] = "partial",
    [NOTIFY_FAILED] = "failed",
    [NOTIFY_CANCELLED] = "cancelled",
    [NOTIFY_DEAD] = "dead",
};
#define EVENT_COUNT ((int)(sizeof event_names / sizeof *event_names))
#define DEFAULT_EVENTS (1u << NOTIFY_SUCCEEDED | 1u << NOTIFY_PARTIAL | 1u << NOTIFY_FAILED)
#define NOT_SAID UINT64_MAX

const char *notify_event_name(int event)
{
    return event > 0 && event < EVENT_COUNT ? event_names[event] : NULL;
}

int read_notify_begin(struct job *job, const char *place, struct mf_error *error)
{
    if (job->notify_count == NOTIFY_MAX)
        return mf_raise(error, MF_EUSAGE, "a job can have at most %d subscribers", NOTIFY_MAX);
    struct job_notify *list = mf_realloc(job->notify, (job->notify_count + 1) * sizeof *list);
    if (list == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory while reading the job file");
    job->notify = list;
    struct job_notify *item = &list[job->notify_count++];
    *item = (struct job_notify){.place = mf_strdup(place), .dead_above = NOT_SAID};
    return item->place == NULL
               ? mf_raise(error, MF_ENOMEM, "out of memory while reading the job file")
               : 0;
}

void read_notify_fini(struct job *job)
{
    for (size_t i = 0; i < job->notify_count; i++) {
        struct job_notify *item = &job->notify[i];
        mf_free(item->place);
        strings_fini(&item->on);
        strings_fini(&item->command);
        mf_free(item->shell);
        read_secret_fini(&item->webhook);
        read_secret_fini(&item->secret);
        mf_free(item->ca_file);
        mf_free(item->queue);
    }
    mf_free(job->notify);
    job->notify = NULL;
    job->notify_count = 0;
}

static int
raise_at(const struct job_notify *item, const char *key, const char *text, struct mf_error *error)
{
    return mf_raise(error, MF_EUSAGE, "%s%s: %s", item->place, key, text);
}

static int raise_event(const struct job_notify *item, const char *word, struct mf_error *error)
{
    const char *near = NULL;
    char shown[80];
    for (int i = 1; i < EVENT_COUNT; i++)
        if (schema_distance(word, event_names[i]) < 3)
            near = event_names[i];
    tree_show(word, shown, sizeof shown);
    return mf_raise(error,
                    MF_EUSAGE,
                    "%s.on: expected started, succeeded, partial, failed, cancelled or dead, got "
                    "'%s'%s%s%s",
                    item->place,
                    shown,
                    near == NULL ? "" : "; did you mean '",
                    near == NULL ? "" : near,
                    near == NULL ? "" : "'?");
}

static int set_events(struct job_notify *item, bool has_on, struct mf_error *error)
{
    for (size_t i = 0; i < item->on.count; i++) {
        int event = 1;
        while (event < EVENT_COUNT && strcmp(item->on.items[i], event_names[event]) != 0)
            event++;
        if (event == EVENT_COUNT)
            return raise_event(item, item->on.items[i], error);
        item->events |= 1u << event;
    }
    if (item->events == 0 && has_on)
        return raise_at(item, ".on", "the list is empty", error);
    if (item->events == 0)
        item->events = DEFAULT_EVENTS;
    bool has_dead = (item->events & 1u << NOTIFY_DEAD) != 0;
    if (item->dead_above != NOT_SAID && !has_dead)
        return raise_at(item, ".dead_above", "this goes with 'dead' in 'on'", error);
    if (item->dead_above == NOT_SAID)
        item->dead_above = 0;
    return 0;
}

/* An address that curl may be given. What is secret about one does not belong into a job file. */
static int check_address(const struct job_notify *item, struct mf_error *error)
{
    const char *url = item->webhook.text;
    if (url == NULL)
        return 0;
    const char *host = strncasecmp(url, "http://", 7) == 0    ? url + 7
                       : strncasecmp(url, "https://", 8) == 0 ? url + 8
                                                              : "";
    size_t length = strcspn(host, "/?#");
    for (const char *p = url; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~')
            length = 0;
    if (length == 0)
        return raise_at(item,
                        ".webhook",
                        "expected an address such as https://ops.example/hook (printable ASCII)",
                        error);
    if (memchr(host, '@', length) != NULL)
        return raise_at(item,
                        ".webhook",
                        "an address with a user or password does not belong into a job file: put "
                        "it into a file and write 'webhook: {file: ~/.hook}'",
                        error);
    return 0;
}

int read_notify_end(struct job *job, bool has_on, struct mf_error *error)
{
    struct job_notify *item = &job->notify[job->notify_count - 1];
    int ways = (item->command.count > 0) + (item->shell != NULL) + (item->webhook.place != NULL) +
               (item->queue != NULL);
    if (ways != 1)
        return raise_at(item,
                        "",
                        ways == 0 ? "exactly one of command, shell, webhook and queue is expected, "
                                    "got none"
                                  : "exactly one of command, shell, webhook and queue is expected, "
                                    "got several",
                        error);
    if (item->webhook.place == NULL && item->secret.place != NULL)
        return raise_at(item, ".secret", "this goes with 'webhook' only", error);
    if (item->webhook.place == NULL && item->ca_file != NULL)
        return raise_at(item, ".ca_file", "this goes with 'webhook' only", error);
    if (item->queue == NULL && item->lines)
        return raise_at(item, ".lines", "this goes with 'queue' only", error);
    if (item->command.count > 0 && *item->command.items[0] == '\0')
        return raise_at(item, ".command", "the command is empty", error);
    if (item->shell != NULL && item->shell[strspn(item->shell, " \t\n")] == '\0')
        return raise_at(item, ".shell", "the command is empty", error);
    if (item->queue != NULL && *item->queue == '\0')
        return raise_at(item, ".queue", "expected the name of a queue", error);
    return check_address(item, error) < 0 ? -1 : set_events(item, has_on, error);
}
