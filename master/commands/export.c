/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead letters as a job: see export.h. How its split names them depends on the kind:
 *
 *     range, list      list: the values
 *     queue            list: the bodies; with items: files, files: the names
 *     files            files: the names, as globs that match nothing else
 *     lines, records   the inputs that have some, and split.only with the numbers of their pieces
 *                      within these
 *     with split.only  the split as it was, and other numbers in split.only
 *
 * Names, not numbers, wherever that is possible: inputs that came or went since then don't shift
 * them.
 */
#include "master/commands/export.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/placeholder.h"
#include "master/command.h"
#include "master/commands/items.h"
#include "master/commands/outcome.h"
#include "master/job/narrow.h"
#include "master/job/only.h"
#include "master/record/run_db.h"
#include "master/run_folder.h"

/* Texts one behind the other. */
struct texts {
    struct mf_buffer bytes; /* each ended by NUL */
    size_t count;
};

struct exporting {
    const char *run_folder;
    bool dead, failed;
    struct job *job;
    struct items *items;
    uint64_t *ids; /* of the dead letters, rising */
    size_t id_count, id_capacity;
    struct texts values, only;
    /* lines and records: */
    uint64_t base;         /* pieces of the inputs that were kept before this one */
    uint64_t in_input;     /* pieces of the input at hand so far */
    bool is_kept;          /* the input at hand has a dead letter */
    uint64_t first, last;  /* numbers that are not written yet; first 0 = none */
    size_t only_at;        /* split.only: the range at hand */
    uint64_t only_skipped; /* and how many pieces the ranges before it have */
};

static bool wants_message(const char *template)
{
    return mf_placeholder_has(template, "message") || mf_placeholder_has(template, "field");
}

static int add_text(struct texts *texts, struct mf_bytes text, struct mf_error *error)
{
    texts->count++;
    return mf_buffer_append(&texts->bytes, text.data, text.length, error) < 0
               ? -1
               : mf_buffer_append(&texts->bytes, "", 1, error);
}

/* An array that borrows from the texts; NULL when memory is exhausted. */
static struct mf_bytes *list_texts(const struct texts *texts)
{
    struct mf_bytes *list = mf_calloc(texts->count + 1, sizeof *list);
    const char *text = (const char *)texts->bytes.data;
    for (size_t i = 0; list != NULL && i < texts->count; i++) {
        list[i] = mf_bytes_text(text);
        text += list[i].length + 1;
    }
    return list;
}

static int add_id(void *arg, const struct outcome *outcome, struct mf_error *error)
{
    struct exporting *e = arg;
    if (!(e->dead && strcmp(outcome->state, "dead") == 0) &&
        !(e->failed && strcmp(outcome->state, "failed") == 0))
        return 0;
    if (e->id_count == e->id_capacity) {
        size_t capacity = e->id_capacity == 0 ? 64 : e->id_capacity * 2;
        uint64_t *more = mf_realloc(e->ids, capacity * sizeof *more);
        if (more == NULL)
            return mf_raise(error, MF_ENOMEM, "out of memory: a list of subtasks");
        e->ids = more;
        e->id_capacity = capacity;
    }
    e->ids[e->id_count++] = outcome->subtask;
    return 0;
}

/* Values of a list have no fields and are no messages. */
static int check_templates(const struct job *job, struct mf_error *error)
{
    bool wants = job->shell != NULL && wants_message(job->shell);
    for (size_t i = 0; i < job->command.count; i++)
        wants |= wants_message(job->command.items[i]);
    for (size_t i = 0; i < job->env.count; i++)
        wants |= wants_message(strchr(job->env.items[i], '=') + 1);
    if (job->split.kind != SPLIT_QUEUE || !wants)
        return 0;
    return mf_raise(error,
                    MF_EUSAGE,
                    "the job asks for {message} or {field:NAME}, which only a queue gives: mayfly "
                    "queue replay %s makes its dead messages ready again",
                    job->split.queue);
}

static int check_utf8(struct mf_bytes text, uint64_t subtask, struct mf_error *error)
{
    json_t *value = json_stringn((const char *)text.data, text.length);
    bool is_good = value != NULL || text.length == 0;
    json_decref(value);
    if (is_good)
        return 0;
    return mf_raise(error,
                    MF_EUSAGE,
                    "the input of subtask %" PRIu64
                    " is not UTF-8, which a job file has to be: use mayfly retry",
                    subtask);
}

/* A glob that means this file alone. What prepare has made is named as it will be again. */
static int
add_glob(struct exporting *e, struct mf_bytes path, uint64_t subtask, struct mf_error *error)
{
    struct mf_buffer glob = {0};
    char *prepared = run_path(e->run_folder, "prepared/");
    size_t at = 0;
    int rc = prepared == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path") : 0;
    if (rc == 0 && path.length > strlen(prepared) &&
        memcmp(path.data, prepared, strlen(prepared)) == 0) {
        at = strlen(prepared);
        rc = mf_buffer_append_text(&glob, "$MAYFLY_PREPARED/", error);
    }
    for (; rc == 0 && at < path.length; at++) {
        if (strchr("*?[]\\", path.data[at]) != NULL) /* a path has no NUL */
            rc = mf_buffer_append_text(&glob, "\\", error);
        if (rc == 0)
            rc = mf_buffer_append(&glob, &path.data[at], 1, error);
    }
    if (rc == 0)
        rc = check_utf8(mf_buffer_view(&glob), subtask, error);
    if (rc == 0)
        rc = add_text(&e->values, mf_buffer_view(&glob), error);
    mf_buffer_fini(&glob);
    mf_free(prepared);
    return rc;
}

static int add_group(struct exporting *e, const struct mf_subtask *piece, struct mf_error *error)
{
    const unsigned char *at = piece->item.data, *end = at + piece->item.length;
    while (at < end) {
        const unsigned char *stop = memchr(at, '\0', (size_t)(end - at));
        if (stop == NULL)
            stop = end;
        if (add_glob(e, mf_bytes_of(at, (size_t)(stop - at)), piece->id, error) < 0)
            return -1;
        at = stop + 1;
    }
    return 0;
}

static int add_value(struct exporting *e, const struct mf_subtask *piece, struct mf_error *error)
{
    char number[24];
    if (!piece->has_number && memchr(piece->item.data, '\0', piece->item.length) != NULL)
        return mf_raise(error,
                        MF_EUSAGE,
                        "the message of subtask %" PRIu64
                        " holds a NUL byte, which a job file can't hold",
                        piece->id);
    if (!piece->has_number)
        return check_utf8(piece->item, piece->id, error) < 0
                   ? -1
                   : add_text(&e->values, piece->item, error);
    snprintf(number, sizeof number, "%" PRId64, piece->number);
    return add_text(&e->values, mf_bytes_text(number), error);
}

static int flush_only(struct exporting *e, struct mf_error *error)
{
    struct mf_buffer range = {0};
    if (e->first == 0)
        return 0;
    int rc = only_write(e->first, e->last, &range, error);
    if (rc == 0)
        rc = add_text(&e->only, mf_buffer_view(&range), error);
    e->first = 0;
    mf_buffer_fini(&range);
    return rc;
}

static int add_only(struct exporting *e, uint64_t number, struct mf_error *error)
{
    if (e->first != 0 && number == e->last + 1) {
        e->last = number;
        return 0;
    }
    if (flush_only(e, error) < 0)
        return -1;
    e->first = e->last = number;
    return 0;
}

/* The number that a subtask of a run with split.only has in the whole split. */
static uint64_t whole_number(struct exporting *e, uint64_t subtask)
{
    const struct job_only *only = &e->job->split.only;
    for (; e->only_at < only->count; e->only_at++) {
        const struct job_range *range = &only->ranges[e->only_at];
        uint64_t count = range->last - range->first + 1;
        if (subtask <= e->only_skipped + count)
            break;
        e->only_skipped += count;
    }
    return e->only_at < only->count
               ? only->ranges[e->only_at].first + (subtask - e->only_skipped - 1)
               : subtask;
}

/* A piece of lines or records, wanted or not: its number counts those of kept inputs alone. */
static int walk_piece(struct exporting *e,
                      const struct mf_subtask *piece,
                      bool is_wanted,
                      struct mf_error *error)
{
    if (piece->offset == piece->header_length) { /* the first one of its input */
        e->base += e->is_kept ? e->in_input : 0;
        e->in_input = 0;
        e->is_kept = false;
    }
    e->in_input++;
    if (!is_wanted)
        return 0;
    if (!e->is_kept && add_glob(e, piece->path, piece->id, error) < 0)
        return -1;
    e->is_kept = true;
    return add_only(e, e->base + e->in_input, error);
}

static int add_letter(struct exporting *e,
                      const struct mf_subtask *piece,
                      bool is_wanted,
                      struct mf_error *error)
{
    const struct job_split *split = &e->job->split;
    if (split->only.count > 0)
        return is_wanted ? add_only(e, whole_number(e, piece->id), error) : 0;
    if (split->kind == SPLIT_LINES || split->kind == SPLIT_RECORDS)
        return walk_piece(e, piece, is_wanted, error);
    if (!is_wanted)
        return 0;
    if (split->kind == SPLIT_QUEUE && split->items == QUEUE_FILES)
        return add_glob(e, piece->path, piece->id, error);
    if (split->kind != SPLIT_FILES)
        return add_value(e, piece, error);
    return split->group_bytes > 0 ? add_group(e, piece, error)
                                  : add_glob(e, piece->path, piece->id, error);
}

static int raise_plan(const struct exporting *e, uint64_t subtask, struct mf_error *error)
{
    const char *trouble = items_trouble(e->items);
    return mf_raise(error,
                    MF_EINPUT,
                    "the plan of the run does not tell what subtask %" PRIu64 " is%s%s",
                    subtask,
                    trouble == NULL ? "" : ": ",
                    trouble == NULL ? "" : trouble);
}

/* Goes over the plan up to the last dead letter. */
static int walk_plan(struct exporting *e, struct mf_error *error)
{
    size_t at = 0;
    for (uint64_t id = 1; at < e->id_count; id++) {
        const struct mf_subtask *piece = items_find(e->items, id);
        bool is_wanted = id == e->ids[at];
        if (piece == NULL)
            return raise_plan(e, id, error);
        if (add_letter(e, piece, is_wanted, error) < 0)
            return -1;
        at += is_wanted;
    }
    return flush_only(e, error);
}

static const char *kind_of(const struct job_split *split)
{
    switch (split->only.count > 0 ? 0 : split->kind) {
    case SPLIT_FILES:
        return "files";
    case SPLIT_LINES:
        return "lines";
    case SPLIT_RECORDS:
        return "records";
    case SPLIT_RANGE:
    case SPLIT_LIST:
        return "list";
    case SPLIT_QUEUE:
        return split->items == QUEUE_FILES ? "files" : "list";
    default:
        return NULL;
    }
}

static int write_job(const struct exporting *e, const char *path, struct mf_error *error)
{
    struct mf_buffer text = {0};
    struct mf_bytes *values = list_texts(&e->values), *only = list_texts(&e->only);
    const struct narrowing narrowing = {.kind = kind_of(&e->job->split),
                                        .items = values,
                                        .item_count = e->values.count,
                                        .only = only,
                                        .only_count = e->only.count};
    int rc = values == NULL || only == NULL
                 ? mf_raise(error, MF_ENOMEM, "out of memory: a job file")
                 : job_narrow(e->job, &narrowing, &text, error);
    if (rc == 0 && strcmp(path, "-") == 0)
        fwrite(text.data, 1, text.length, stdout);
    else if (rc == 0)
        rc = write_file(path, text.data, text.length, false, error);
    mf_free(values);
    mf_free(only);
    mf_buffer_fini(&text);
    return rc;
}

static int collect(struct exporting *e,
                   sqlite3 *db,
                   const char *path,
                   const struct selection *selection,
                   struct mf_error *error)
{
    if (outcome_each(db, path, selection, add_id, e, error) < 0)
        return -1;
    if (e->id_count == 0)
        return mf_raise(error, MF_EUSAGE, "the run has no such dead letter");
    e->job = items_job(e->run_folder, db, error);
    e->items = e->job == NULL || check_templates(e->job, error) < 0
                   ? NULL
                   : items_open(e->run_folder, db, error);
    return e->items == NULL ? -1 : walk_plan(e, error);
}

int export_letters(const char *run_folder,
                   const struct selection *selection,
                   bool dead,
                   bool failed,
                   const char *path)
{
    struct exporting e = {
        .run_folder = run_folder, .dead = dead || !failed, .failed = failed || !dead};
    struct mf_error error;
    char *db_path = run_path(run_folder, "run.db");
    sqlite3 *db = db_path == NULL ? NULL : run_db_open(db_path, &error);
    int rc = db_path == NULL ? mf_raise(&error, MF_ENOMEM, "out of memory: a path")
             : db == NULL    ? -1
                             : collect(&e, db, db_path, selection, &error);
    if (rc == 0)
        rc = write_job(&e, path, &error);
    if (rc == 0)
        fprintf(stderr,
                "mayfly: %zu dead letter%s written to %s: mayfly run %s does them as a run of "
                "their own\n",
                e.id_count,
                e.id_count == 1 ? "" : "s",
                strcmp(path, "-") == 0 ? "standard output" : path,
                strcmp(path, "-") == 0 ? "FILE" : path);
    items_close(e.items);
    job_destroy(e.job);
    run_db_close(db);
    mf_free(db_path);
    mf_free(e.ids);
    mf_buffer_fini(&e.values.bytes);
    mf_buffer_fini(&e.only.bytes);
    return rc == 0 ? 0 : command_fail(&error);
}
