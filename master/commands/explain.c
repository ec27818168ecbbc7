/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Explanations: see explain.h. A subtask with a final record is explained by that, whoever lives:
 * the scheduler forgets what has ended.
 */
#include "master/commands/explain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/commands/outcome.h"
#include "master/record/run_db.h"

static void add(json_t *reasons, const char *word, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add(json_t *reasons, const char *word, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_array_append_new(reasons, json_pack("{s:s, s:s}", "reason", word, "text", text));
}

/* Of a run without a master, or whose master says nothing. */
static void add_recorded(json_t *reasons, const struct overview *overview)
{
    char stamp[MF_STAMP_SIZE];
    const char *why = overview->reason;
    if (overview->is_ended)
        add(reasons,
            "ended",
            "the run has ended, %s since %s%s%s",
            overview->state,
            mf_stamp(overview->ended_us, stamp),
            *why == '\0' ? "" : ": ",
            why);
    else if (!overview->is_live)
        add(reasons,
            "interrupted",
            "interrupted since %s: %s; mayfly resume %s goes on from there",
            mf_stamp(overview->left_us, stamp),
            *why == '\0' ? "its master was lost (killed, or its machine went down)" : why,
            overview->run_id);
    else if (overview->is_silent)
        add(reasons, "silent", "the run's master does not answer: is it stopped?");
    else
        add(reasons,
            "starting",
            "the run's master does not listen yet: it starts, or its prepare command runs");
}

static json_t *recorded(const struct overview *overview)
{
    json_t *reasons = json_array();
    add_recorded(reasons, overview);
    return json_pack("{s:i, s:s, s:s, s:o}",
                     "version",
                     1,
                     "run_id",
                     overview->run_id,
                     "state",
                     overview->state,
                     "reasons",
                     reasons);
}

static int on_outcome(void *arg, const struct outcome *outcome, struct mf_error *error)
{
    json_t **subtask = arg;
    char why[96], stamp[MF_STAMP_SIZE], text[256];
    (void)error;
    bool is_done = strcmp(outcome->state, "done") == 0;
    snprintf(text,
             sizeof text,
             "%s since %s, on worker %" PRIu32 "%s%s%s%s",
             outcome->state,
             outcome->ended_us == 0 ? "?" : mf_stamp(outcome->ended_us, stamp),
             outcome->worker,
             outcome->host[0] == '\0' ? "" : " on ",
             outcome->host,
             is_done ? "" : ": ",
             is_done ? "" : outcome_why(outcome->cause, outcome->exit_code, outcome->signal, why));
    *subtask = json_pack("{s:I, s:s, s:s}",
                         "subtask",
                         (json_int_t)outcome->subtask,
                         "state",
                         outcome->state,
                         "text",
                         text);
    return 1;
}

/* Its final record; NULL when there is none. */
static json_t *find_outcome(const char *folder, uint64_t id)
{
    struct selection_range range = {.first = id, .last = id};
    const struct selection selection = {.ranges = &range, .count = 1, .capacity = 1};
    json_t *subtask = NULL;
    char *path = run_path(folder, "run.db");
    sqlite3 *db = path == NULL ? NULL : run_db_open(path, NULL);
    if (db != NULL)
        outcome_each(db, path, &selection, on_outcome, &subtask, NULL);
    run_db_close(db);
    mf_free(path);
    return subtask;
}

static const char *open_text(const struct overview *overview, uint64_t id)
{
    if (overview->has_total && id > overview->total)
        return "there is no such subtask: the plan has fewer";
    if (overview->is_ended)
        return "it has no final record: it was not run any more";
    return "it has no final record: it was not begun, or was under way when the master ended";
}

static void
set_subtask(json_t *explanation, const char *folder, const struct overview *overview, uint64_t id)
{
    json_t *subtask = find_outcome(folder, id);
    bool is_beyond = overview->has_total && id > overview->total;
    if (subtask == NULL && (is_beyond || json_object_get(explanation, "subtask") == NULL))
        subtask = json_pack("{s:I, s:s, s:s}",
                            "subtask",
                            (json_int_t)id,
                            "state",
                            is_beyond ? "unknown" : "open",
                            "text",
                            open_text(overview, id));
    if (subtask != NULL)
        json_object_set_new(explanation, "subtask", subtask);
}

json_t *explain_run(const char *folder,
                    const struct overview *overview,
                    uint64_t subtask,
                    struct mf_error *error)
{
    json_t *explanation = NULL;
    if (overview->is_live && !overview->is_silent && overview_has_socket(folder))
        explanation =
            overview_request(folder,
                             json_pack("{s:s, s:o*}",
                                       "command",
                                       "explain",
                                       "subtask",
                                       subtask == 0 ? NULL : json_integer((json_int_t)subtask)),
                             NULL);
    if (explanation == NULL)
        explanation = recorded(overview);
    if (explanation == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: an explanation");
        return NULL;
    }
    json_object_del(explanation, "ok");
    if (subtask != 0)
        set_subtask(explanation, folder, overview, subtask);
    return explanation;
}

void explain_print(const json_t *explanation)
{
    const json_t *reasons = json_object_get(explanation, "reasons");
    const json_t *subtask = json_object_get(explanation, "subtask");
    for (size_t i = 0; i < json_array_size(reasons); i++) {
        const char *text = json_string_value(json_object_get(json_array_get(reasons, i), "text"));
        printf("%s%s\n", i == 0 ? "why      " : "         ", text == NULL ? "" : text);
    }
    if (explanation != NULL && json_array_size(reasons) == 0)
        puts("why      nothing holds the run up");
    if (subtask != NULL)
        printf("subtask  %" JSON_INTEGER_FORMAT ": %s: %s\n",
               json_integer_value(json_object_get(subtask, "subtask")),
               json_string_value(json_object_get(subtask, "state")),
               json_string_value(json_object_get(subtask, "text")));
}
