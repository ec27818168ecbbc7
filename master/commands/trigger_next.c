/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly trigger next: when something fires, and why not. Of a job that is installed it tells what
 * ticks will do (the same reckoning, from the same last time); of a job file or an expression, what
 * it would be.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/commands/table.h"
#include "master/commands/text.h"
#include "master/commands/trigger.h"
#include "master/cron/due.h"
#include "master/cron/show.h"
#include "master/cron/zone.h"
#include "master/install/install.h"
#include "master/job/job.h"
#include "master/run_folder.h"
#include "master/watch/place.h"

#define TIMES_MAX 10000u
#define MINUTE_US 60000000

struct arguments {
    const char *what; /* NULL = all that is installed */
    uint64_t count;   /* 0 = not said */
    const char *zone;
    bool json;
};

static const struct argp_option options[] = {
    {"number", 'n', "N", 0, "Show the next N times (5; of all triggers the next one)", 0},
    {"zone", 'z', "ZONE", 0, "Time zone of an expression, such as Europe/Vienna", 0},
    {"json", 'J', NULL, 0, "Write a JSON array, an object a trigger", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'n':
        if (text_number(text, 1, TIMES_MAX, &arguments->count) < 0)
            argp_error(state, "-n takes a number from 1 to %u, not \"%s\"", TIMES_MAX, text);
        return 0;
    case 'z':
        arguments->zone = text;
        return 0;
    case 'J':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->what != NULL)
            argp_error(state,
                       "one at a time: \"%s\" is too much (an expression is one argument: put it "
                       "in quotes)",
                       text);
        arguments->what = text;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What is asked for, and what is said of it. Texts are borrowed. */
struct subject {
    const char *job;  /* NULL = an expression by itself */
    const char *text; /* NULL = it does not go by the clock */
    const char *zone; /* NULL = the machine's */
    struct cron cron;
    int64_t from_us;        /* all until then is over */
    struct mf_buffer notes; /* a sentence a line */
};

struct printing {
    uint64_t count;
    int64_t now_us;
    json_t *array; /* NULL = as text */
    uint64_t printed;
    bool has_looked; /* for an entry: */
    enum install_kind entry;
};

static int note(struct subject *subject, const char *text, struct mf_error *error)
{
    if (text[0] == '\0')
        return 0;
    return mf_buffer_printf(&subject->notes, error, "%s\n", text);
}

/* --- Printing. --- */

/* One more time: *at_us is the one before, and then this one. 1, 0 when there is none, -1. */
static int step(const struct subject *subject,
                int64_t *at_us,
                struct cron_shown *shown,
                struct mf_error *error)
{
    int64_t before_us = *at_us;
    int rc = cron_next(&subject->cron, subject->zone, before_us, at_us, error);
    if (rc <= 0)
        return rc;
    return cron_show(&subject->cron, subject->zone, before_us, *at_us, shown, error) < 0 ? -1 : 1;
}

static int add_cells(struct table *table,
                     const struct cron_shown *shown,
                     int64_t at_us,
                     int64_t now_us,
                     struct mf_error *error)
{
    char stamp[MF_STAMP_SIZE], in[TEXT_SIZE] = "now";
    mf_stamp(at_us, stamp);
    stamp[19] = 'Z'; /* seconds are enough */
    stamp[20] = '\0';
    if (at_us > now_us)
        text_duration(at_us - now_us, in);
    if (table_text(table, shown->local, error) < 0 || table_text(table, stamp, error) < 0 ||
        table_cell(table, mf_bytes_text(in), true, error) < 0)
        return -1;
    return table_text(table, shown->note, error);
}

static int
print_times(const struct printing *printing, const struct subject *subject, struct mf_error *error)
{
    static const char *const titles[] = {"TIME", "UTC", "IN", ""};
    struct table *table = table_create(4, titles, error);
    struct cron_shown shown;
    int64_t at_us = subject->from_us;
    int rc = table == NULL ? -1 : 1;
    for (uint64_t i = 0; i < printing->count && rc > 0; i++) {
        rc = step(subject, &at_us, &shown, error);
        if (rc > 0 && add_cells(table, &shown, at_us, printing->now_us, error) < 0)
            rc = -1;
    }
    if (rc >= 0)
        rc = table_end(table, error);
    table_destroy(table);
    return rc;
}

static int
print_text(const struct printing *printing, const struct subject *subject, struct mf_error *error)
{
    char own[ZONE_NAME_SIZE];
    if (printing->printed > 0)
        putchar('\n');
    if (subject->job != NULL)
        printf("%s: ", subject->job);
    if (subject->text == NULL)
        printf("does not go by the clock\n");
    else
        printf("%s in %s%s\n",
               subject->text,
               subject->zone != NULL ? subject->zone : zone_own_name(own),
               subject->zone != NULL ? "" : " (this machine's zone)");
    printf("%.*s", (int)subject->notes.length, (const char *)subject->notes.data);
    return subject->text == NULL ? 0 : print_times(printing, subject, error);
}

static int add_time(json_t *times, const struct cron_shown *shown, int64_t at_us, int64_t now_us)
{
    json_t *time = json_object();
    int rc = text_json_stamp(time, "time", at_us) |
             json_object_set_new(time, "local", json_string(shown->iso)) |
             json_object_set_new(time, "seconds", json_real((double)(at_us - now_us) / 1e6)) |
             json_object_set_new(
                 time, "note", shown->note[0] == '\0' ? json_null() : json_string(shown->note));
    return json_array_append_new(times, time) | rc;
}

static int add_times(const struct printing *printing,
                     const struct subject *subject,
                     json_t *times,
                     struct mf_error *error)
{
    struct cron_shown shown;
    int64_t at_us = subject->from_us;
    int rc = subject->text == NULL ? 0 : 1;
    for (uint64_t i = 0; i < printing->count && rc > 0; i++) {
        rc = step(subject, &at_us, &shown, error);
        if (rc > 0 && add_time(times, &shown, at_us, printing->now_us) != 0)
            return mf_raise(error, MF_ENOMEM, "out of memory: times");
    }
    return rc < 0 ? -1 : 0;
}

static int add_notes(struct subject *subject, json_t *notes)
{
    char *rest = (char *)mf_buffer_text(&subject->notes), *line;
    if (rest == NULL)
        return -1;
    while ((line = strsep(&rest, "\n")) != NULL)
        if (line[0] != '\0' && json_array_append_new(notes, json_string(line)) != 0)
            return -1;
    return 0;
}

static json_t *text_or_null(const char *text)
{
    return text == NULL ? json_null() : json_string(text);
}

static int
add_object(const struct printing *printing, struct subject *subject, struct mf_error *error)
{
    json_t *object = json_object(), *times = json_array(), *notes = json_array();
    int rc = json_array_append_new(printing->array, object) |
             json_object_set_new(object, "job", text_or_null(subject->job)) |
             json_object_set_new(object, "cron", text_or_null(subject->text)) |
             json_object_set_new(object, "zone", text_or_null(subject->zone)) |
             json_object_set_new(object, "times", times) |
             json_object_set_new(object, "notes", notes) | add_notes(subject, notes);
    if (rc != 0)
        return mf_raise(error, MF_ENOMEM, "out of memory: times");
    return add_times(printing, subject, times, error);
}

static int print(struct printing *printing, struct subject *subject, struct mf_error *error)
{
    int rc = printing->array == NULL ? print_text(printing, subject, error)
                                     : add_object(printing, subject, error);
    printing->printed++;
    return rc;
}

/* --- What is known of it. --- */

static int read_text(struct subject *subject, struct mf_error *error)
{
    if (cron_parse(subject->text, &subject->cron, error) < 0 ||
        zone_check(subject->zone, error) < 0)
        return -1;
    if (subject->cron.every_us > 0 && subject->cron.every_us < MINUTE_US)
        return note(subject,
                    "shorter than a minute: only mayfly trigger watch is in time, ticks come each "
                    "minute",
                    error);
    return 0;
}

static int note_settings(struct subject *subject,
                         enum trigger_overlap overlap,
                         uint64_t jitter_us,
                         struct mf_error *error)
{
    static const char *const words[] = {
        [OVERLAP_SKIP] = "what is due while a run of before goes on is left out (overlap: skip)",
        [OVERLAP_QUEUE] = "what is due while a run of before goes on waits for it (overlap: queue)",
        [OVERLAP_ALLOW] = "runs may go on at once (overlap: allow)"};
    char text[TEXT_SIZE];
    if (note(subject, words[overlap], error) < 0)
        return -1;
    if (jitter_us == 0)
        return 0;
    return mf_buffer_printf(&subject->notes,
                            error,
                            "each is late by up to %s (jitter)\n",
                            text_duration((int64_t)jitter_us, text));
}

static enum cron_catchup catchup_of(enum trigger_catchup catchup)
{
    return catchup == CATCHUP_NONE   ? CRON_CATCHUP_NONE
           : catchup == CATCHUP_LAST ? CRON_CATCHUP_LAST
                                     : CRON_CATCHUP_ALL;
}

/* What the next tick does, and from where it goes on. */
static int look_at_due(struct subject *subject,
                       const struct trigger_row *row,
                       int64_t now_us,
                       struct mf_error *error)
{
    struct cron_answer answer;
    char text[CRON_NOTE_SIZE];
    enum cron_catchup catchup = catchup_of(row->catchup);
    const struct cron_question question = {.cron = &subject->cron,
                                           .zone = row->zone,
                                           .last_due_us = row->last_due_us,
                                           .now_us = now_us,
                                           .catchup = catchup,
                                           .tick_us = CRON_TICK_US};
    if (cron_due(&question, &answer, error) < 0 ||
        note(subject, cron_note(&answer, catchup, text), error) < 0)
        return -1;
    subject->from_us = answer.last_due_us;
    if (answer.count == 0)
        return 0;
    return mf_buffer_printf(&subject->notes,
                            error,
                            "due now: %s%zu %s; the next tick sees to it\n",
                            answer.has_more ? "more than " : "",
                            answer.count,
                            answer.count == 1 ? "time" : "times");
}

/* What keeps it from firing. */
static int
look_at_row(struct subject *subject, const struct trigger_row *row, struct mf_error *error)
{
    char *why = NULL;
    int rc = 0;
    if (!trigger_row_is_current(row, &why))
        rc = note(subject, why == NULL ? "its job file has changed" : why, error);
    else if (row->last_error != NULL)
        rc = note(subject, row->last_error, error);
    mf_free(why);
    if (rc == 0 && row->waiting > 0)
        rc = mf_buffer_printf(&subject->notes,
                              error,
                              "%" PRIu64 " firings wait for the run that goes on\n",
                              row->waiting);
    return rc;
}

static int find_entry(enum install_kind *kind, struct mf_error *error)
{
    struct install install = {0};
    char *folder = state_folder(error);
    int rc = folder == NULL ? -1 : install_here(&install, folder, error);
    if (rc == 0)
        rc = install_find(&install, kind, error);
    install_here_fini(&install);
    mf_free(folder);
    return rc;
}

/* 1 when it lives: all else is left to it; else 0. */
static int look_at_watcher(struct subject *subject, const char *watcher, struct mf_error *error)
{
    long pid = 0;
    char *folder = state_folder(error);
    if (folder == NULL)
        return -1;
    bool is_live = place_is_live(folder, watcher, &pid);
    mf_free(folder);
    int rc = is_live ? mf_buffer_printf(&subject->notes,
                                        error,
                                        "served by the watcher of %s (process %ld)\n",
                                        watcher,
                                        pid)
                     : mf_buffer_printf(&subject->notes,
                                        error,
                                        "the watcher of %s, which serves it, does not run now\n",
                                        watcher);
    return rc < 0 ? -1 : is_live;
}

/* Who looks whether it is due. */
static int look_at_entry(struct printing *printing,
                         struct subject *subject,
                         const char *watcher,
                         struct mf_error *error)
{
    if (watcher != NULL) {
        int rc = look_at_watcher(subject, watcher, error);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
    }
    if (!printing->has_looked && find_entry(&printing->entry, error) < 0)
        return -1;
    printing->has_looked = true;
    if (printing->entry != INSTALL_AUTO)
        return 0;
    return note(subject,
                "neither your crontab nor your systemd has an entry that runs mayfly trigger tick: "
                "nothing sees when it is due (mayfly trigger install makes one)",
                error);
}

/* --- The subjects. --- */

static int show_expression(struct printing *printing,
                           const struct arguments *arguments,
                           struct mf_error *error)
{
    struct subject subject = {
        .text = arguments->what, .zone = arguments->zone, .from_us = printing->now_us};
    int rc = read_text(&subject, error);
    if (rc == 0)
        rc = print(printing, &subject, error);
    mf_buffer_fini(&subject.notes);
    return rc;
}

static int
show_row(struct printing *printing, const struct trigger_row *row, struct mf_error *error)
{
    struct subject subject = {.job = row->name, .zone = row->zone};
    int rc = 0;
    if (row->kind != TRIGGER_CRON) {
        rc = note(&subject, "see mayfly trigger list for what it waits for", error);
    } else {
        subject.text = row->cron;
        rc = read_text(&subject, error);
        if (rc == 0)
            rc = note_settings(&subject, row->overlap, row->jitter_us, error);
        if (rc == 0)
            rc = look_at_due(&subject, row, printing->now_us, error);
        if (rc == 0)
            rc = look_at_entry(printing, &subject, row->watcher, error);
    }
    if (rc == 0)
        rc = look_at_row(&subject, row, error);
    if (rc == 0)
        rc = print(printing, &subject, error);
    mf_buffer_fini(&subject.notes);
    return rc;
}

static int show_file(struct printing *printing, const char *path, struct mf_error *error)
{
    struct job *job = job_load(path, NULL, 0, error);
    if (job == NULL)
        return -1;
    const struct job_trigger *trigger = &job->trigger;
    struct subject subject = {.job = job->name, .zone = trigger->zone, .from_us = printing->now_us};
    int rc = note(&subject, "not installed: mayfly trigger install does that", error);
    if (rc == 0 && trigger->kind == TRIGGER_CRON) {
        subject.text = trigger->cron;
        rc = read_text(&subject, error);
        if (rc == 0)
            rc = note_settings(&subject, trigger->overlap, trigger->jitter_us, error);
    }
    if (rc == 0)
        rc = print(printing, &subject, error);
    mf_buffer_fini(&subject.notes);
    job_destroy(job);
    return rc;
}

/* A name of what is installed, or a file that is or is not. */
static int show_job(struct printing *printing, const char *job, struct mf_error *error)
{
    struct trigger_row row = {0};
    struct queues *queues = trigger_command_open(error);
    int rc = queues == NULL ? -1 : trigger_command_find(queues, job, &row, error);
    if (rc > 0) {
        rc = show_row(printing, &row, error);
    } else if (rc == 0 || error->code == MF_EUSAGE) {
        char *path = trigger_command_path(job, NULL);
        rc = path == NULL ? -1 : show_file(printing, path, error);
        mf_free(path);
    }
    trigger_row_fini(&row);
    queues_close(queues);
    return rc;
}

static int
show_each(void *arg, struct queues *queues, struct trigger_row *row, struct mf_error *error)
{
    (void)queues;
    return row->kind == TRIGGER_CRON ? show_row(arg, row, error) : 0;
}

static int show_all(struct printing *printing, struct mf_error *error)
{
    struct queues *queues = trigger_command_open(error);
    int rc = queues == NULL ? -1 : trigger_row_each(queues, show_each, printing, error);
    queues_close(queues);
    if (rc == 0 && printing->printed == 0 && printing->array == NULL)
        fputs("mayfly: no trigger that is installed goes by the clock\n", stderr);
    return rc;
}

static bool is_expression(const char *what)
{
    return what[0] == '@' || strpbrk(what, " \t") != NULL || what[0] == '\0';
}

static int
show(struct printing *printing, const struct arguments *arguments, struct mf_error *error)
{
    if (arguments->what != NULL && is_expression(arguments->what))
        return show_expression(printing, arguments, error);
    if (arguments->zone != NULL)
        return mf_raise(
            error,
            MF_EUSAGE,
            "--zone goes with an expression: a job says its zone itself (trigger.zone)");
    return arguments->what == NULL ? show_all(printing, error)
                                   : show_job(printing, arguments->what, error);
}

static int next_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct mf_error error = {0};
    command_parse(&command_trigger_next,
                  options,
                  parse,
                  "Say when a job that goes by the clock is started next: of one that is installed "
                  "(by name or file), of a job file, of an expression such as '0 2 * * mon-fri' or "
                  "'@every 90s', or of all that are installed.\v"
                  "Times are those of the trigger's zone, with their distance from UTC. What the "
                  "clock skips or shows twice is said, and what keeps a trigger from firing.",
                  argc,
                  argv,
                  &arguments);
    struct printing printing = {.now_us = mf_wall_us(), .count = arguments.count};
    if (printing.count == 0)
        printing.count = arguments.what == NULL ? 1 : 5;
    if (arguments.json)
        printing.array = json_array();
    text_begin();
    int rc = show(&printing, &arguments, &error);
    if (rc == 0 && arguments.json)
        rc = text_json_print(json_incref(printing.array), JSON_INDENT(2), &error);
    json_decref(printing.array);
    return text_end(rc < 0 ? command_fail(&error) : 0);
}

const struct command command_trigger_next = {.name = "next",
                                             .arguments = "[JOB|'EXPRESSION']",
                                             .summary = "say when it fires next",
                                             .main = next_main};
