/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no single key can show: kinds, options that need each other, names, placeholders. Runs once
 * all keys were read.
 */
#include <ctype.h>
#include <string.h>

#include "common/alloc.h"
#include "common/placeholder.h"
#include "master/job/only.h"
#include "master/job/read.h"

#define NAME_MAX_BYTES 64
#define DEFAULT_CHUNK_BYTES (1u << 20)

static int raise_missing(const struct reader *reader,
                         const char *path,
                         struct mf_error *error,
                         const char *text)
{
    if (reader_seen(reader, path) > 0)
        return reader_raise(reader, path, error, "%s", text);
    return mf_raise(error, MF_EUSAGE, "%s: %s: %s", reader->tree.path, path, text);
}

const char *reader_only_one(const struct reader *reader,
                            const char *parent,
                            const char *const *paths,
                            size_t count,
                            const char *words,
                            struct mf_error *error)
{
    const char *found = NULL;
    for (size_t i = 0; i < count; i++) {
        if (reader_seen(reader, paths[i]) == 0)
            continue;
        if (found != NULL) {
            reader_raise(reader,
                         paths[i],
                         error,
                         "%s is given too; exactly one of %s is expected",
                         found,
                         words);
            return NULL;
        }
        found = paths[i];
    }
    if (found == NULL) {
        char text[160];
        snprintf(text, sizeof text, "exactly one of %s is expected", words);
        raise_missing(reader, parent, error, text);
    }
    return found;
}

/* Whether subtasks have input files. */
static bool has_inputs(const struct job_split *split)
{
    return split->kind <= SPLIT_RECORDS ||
           (split->kind == SPLIT_QUEUE && split->items == QUEUE_FILES);
}

/* `option` is only for some kinds. */
static int needs_kind(const struct reader *reader,
                      const char *option,
                      bool is_fitting,
                      const char *kinds,
                      struct mf_error *error)
{
    if (reader_seen(reader, option) == 0 || is_fitting)
        return 0;
    return reader_raise(reader, option, error, "this option is only for %s", kinds);
}

static int check_inputs(const struct reader *reader, const char *path, struct mf_error *error)
{
    const struct job *job = reader->job;
    if (job->split.globs.count == 0)
        return reader_raise(
            reader, path, error, "the list is empty; at least one glob is expected");
    /* A run that another one has started finds that one's result there. */
    bool has_prepared =
        job->prepare.count > 0 || job->prepare_shell != NULL || job->trigger.after != NULL;
    for (size_t i = 0; i < job->split.globs.count; i++) {
        const char *glob = job->split.globs.items[i];
        if (*glob == '\0')
            return reader_raise(reader, path, error, "an empty text is no glob");
        if (!has_prepared && (strncmp(glob, "$MAYFLY_PREPARED", 16) == 0 ||
                              strncmp(glob, "${MAYFLY_PREPARED}", 18) == 0))
            return reader_raise(reader,
                                path,
                                error,
                                "'%.60s' needs the key 'prepare' or 'trigger.after', which "
                                "make that folder",
                                glob);
    }
    return 0;
}

static int check_pieces(const struct reader *reader, struct mf_error *error)
{
    struct job_split *split = &reader->job->split;
    bool is_records = split->kind == SPLIT_RECORDS,
         is_pieces = is_records || split->kind == SPLIT_LINES;
    if (needs_kind(reader, "split.group", split->kind == SPLIT_FILES, "files", error) < 0 ||
        needs_kind(reader, "split.format", is_records, "records", error) < 0 ||
        needs_kind(reader, "split.count", is_pieces, "lines and records", error) < 0 ||
        needs_kind(reader,
                   "split.bytes",
                   is_pieces,
                   "lines and records; split kind 'bytes' is not available in this version",
                   error) < 0)
        return -1;
    if (is_records && split->format == 0)
        return reader_raise(reader,
                            "split.records",
                            error,
                            "split.format is missing; csv, tsv, jsonl or paragraphs is expected");
    if (split->chunk_lines > 0 && split->chunk_bytes > 0)
        return reader_raise(
            reader, "split.bytes", error, "split.count is given too; one of the two is expected");
    if (is_pieces && split->chunk_lines == 0 && split->chunk_bytes == 0)
        split->chunk_bytes = DEFAULT_CHUNK_BYTES;
    return 0;
}

static int check_only(const struct reader *reader, struct mf_error *error)
{
    struct job_split *split = &reader->job->split;
    struct mf_error inner = {0};
    if (reader_seen(reader, "split.only") == 0)
        return 0;
    if (only_parse(&split->only_texts, &split->only, &inner) == 0)
        return 0;
    if (inner.code == MF_ENOMEM)
        return mf_raise(error, MF_ENOMEM, "%s", inner.text);
    return reader_raise(reader, "split.only", error, "%s", inner.text);
}

static bool is_word(const struct reader *reader, const char *path)
{
    int id = reader_seen(reader, path);
    return id > 0 && tree_node((struct tree *)&reader->tree, id)->type == YAML_SCALAR_NODE;
}

/* The kind of the split; the path of the key that says it. */
static const char *find_kind(const struct reader *reader, struct mf_error *error)
{
    static const char *const paths[] = {
        "split.files", "split.lines", "split.records", "split.range", "split.list", "split.queue"};
    static const enum split_kind kinds[] = {
        SPLIT_FILES, SPLIT_LINES, SPLIT_RECORDS, SPLIT_RANGE, SPLIT_LIST, SPLIT_QUEUE};
    if (is_word(reader, "split")) /* it was stored as it was read */
        return "split";
    const char *path = reader_only_one(
        reader, "split", paths, 6, "files, lines, records, range, list and queue", error);
    for (size_t i = 0; path != NULL && i < 6; i++) {
        if (strcmp(path, paths[i]) == 0)
            reader->job->split.kind = kinds[i];
    }
    return path;
}

static int check_split(const struct reader *reader, struct mf_error *error)
{
    struct job_split *split = &reader->job->split;
    if (reader_seen(reader, "split.bytes") > 0 && reader_seen(reader, "split.lines") == 0 &&
        reader_seen(reader, "split.records") == 0)
        return reader_raise(reader,
                            "split.bytes",
                            error,
                            "split kind 'bytes' is not available in this version; as an option it "
                            "goes with lines or "
                            "records");
    const char *path = find_kind(reader, error);
    if (path == NULL)
        return -1;
    if (split->kind <= SPLIT_RECORDS && check_inputs(reader, path, error) < 0)
        return -1;
    if (split->kind == SPLIT_RANGE && !is_word(reader, path)) {
        if (reader_seen(reader, "split.range.from") == 0 ||
            reader_seen(reader, "split.range.to") == 0)
            return reader_raise(reader, path, error, "both 'from' and 'to' are expected");
        if (split->range_step == 0)
            return reader_raise(
                reader, "split.range.step", error, "expected a number that is not 0");
    }
    return check_pieces(reader, error) < 0 ? -1 : check_only(reader, error);
}

static bool is_inside(const char *path)
{
    if (*path == '/' || *path == '\0')
        return false;
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part += *part == '/' ? 1 : 0;
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return false;
    }
    return true;
}

static int check_paths(const struct reader *reader,
                       const char *key,
                       const struct job_strings *paths,
                       const char *folder,
                       struct mf_error *error)
{
    for (size_t i = 0; i < paths->count; i++) {
        if (!is_inside(paths->items[i]))
            return reader_raise(reader,
                                key,
                                error,
                                "'%.200s' leaves %s; expected a relative path without '..'",
                                paths->items[i],
                                folder);
    }
    return 0;
}

static int check_env(const struct reader *reader, struct mf_error *error)
{
    for (size_t i = 0; i < reader->job->env.count; i++) {
        const char *line = reader->job->env.items[i];
        size_t length = strcspn(line, "=");
        for (size_t k = 0; k < length; k++) {
            unsigned char c = (unsigned char)line[k];
            if (!(isalpha(c) || c == '_' || (isdigit(c) && k > 0)) || c >= 0x80)
                length = 0;
        }
        if (length == 0)
            return reader_raise(
                reader,
                "task.env",
                error,
                "'%.60s' does not start with a variable's name of letters, digits and _",
                line);
        if (strncmp(line, "MAYFLY_", 7) == 0)
            return reader_raise(reader,
                                "task.env",
                                error,
                                "names that start with MAYFLY_ are Mayfly's own: '%.*s'",
                                (int)(length > 60 ? 60 : length),
                                line);
    }
    return 0;
}

/* Whether a template asks for what the split does not give. */
static int check_template(const struct reader *reader,
                          const char *key,
                          const char *text,
                          enum mf_quoting quoting,
                          struct mf_error *error)
{
    const struct job_split *split = &reader->job->split;
    static const char *const of_inputs[] = {"path", "offset", "length"};
    struct mf_error inner = {0};
    if (mf_placeholder_check(text, quoting, &inner) < 0)
        return reader_raise(reader, key, error, "%s", inner.text);
    if (check_queue_template(reader, key, text, error) < 0)
        return -1;
    bool has_input = has_inputs(split);
    for (size_t i = 0; i < 3; i++) {
        if ((!has_input || split->group_bytes > 0) && mf_placeholder_has(text, of_inputs[i]))
            return reader_raise(
                reader,
                key,
                error,
                "{%s} is of no use here: %s",
                of_inputs[i],
                has_input ? "with split.group, a subtask has several inputs; their paths come on "
                            "standard input"
                          : "this split has no input files; {} is the value");
    }
    if (split->group_bytes > 0 &&
        (mf_placeholder_has(text, "") || mf_placeholder_has(text, "value")))
        return reader_raise(reader,
                            key,
                            error,
                            "{} is of no use here: with split.group, a subtask has several inputs; "
                            "their paths come "
                            "on standard input");
    return 0;
}

static int check_templates(const struct reader *reader, struct mf_error *error)
{
    const struct job *job = reader->job;
    for (size_t i = 0; i < job->command.count; i++) {
        if (check_template(reader, "task.command", job->command.items[i], MF_QUOTE_NONE, error) < 0)
            return -1;
    }
    for (size_t i = 0; i < job->env.count; i++) {
        if (check_template(
                reader, "task.env", strchr(job->env.items[i], '=') + 1, MF_QUOTE_NONE, error) < 0)
            return -1;
    }
    if (job->shell != NULL)
        return check_template(reader, "task.shell", job->shell, MF_QUOTE_SHELL, error);
    return 0;
}

static int check_executor(const struct reader *reader, struct mf_error *error)
{
    static const char *const paths[] = {"task.command", "task.shell", "task.noop"};
    struct job *job = reader->job;
    const char *path = reader_only_one(reader, "task", paths, 3, "command and shell", error);
    if (path == NULL)
        return -1;
    if (path == paths[0] && (job->command.count == 0 || *job->command.items[0] == '\0'))
        return reader_raise(
            reader, path, error, "the list is empty; its first part is the program");
    if (path == paths[1] && job->shell[strspn(job->shell, " \t\n")] == '\0')
        return reader_raise(reader, path, error, "the shell line is empty");
#ifdef MAYFLY_BENCH
    if (path == paths[2] && !job->is_noop)
        return reader_raise(reader, path, error, "expected true");
#else
    if (path == paths[2])
        return reader_raise(
            reader,
            path,
            error,
            "this executor is only in programs that were built for benchmarks (MAYFLY_BENCH)");
#endif
    return 0;
}

/* The default of stdin, and whether what was asked for exists. */
static int check_stdin(const struct reader *reader, struct mf_error *error)
{
    struct job *job = reader->job;
    const struct job_split *split = &job->split;
    bool is_pieces = split->kind == SPLIT_LINES || split->kind == SPLIT_RECORDS;
    bool has_input = has_inputs(split) && split->group_bytes == 0;
    int input = reader_seen(reader, "task.input");
    bool is_file =
        input > 0 && strcmp(tree_text(tree_node((struct tree *)&reader->tree, input)), "file") == 0;
    if (is_file && !has_input)
        return reader_raise(
            reader, "task.input", error, "this split has no input file for each subtask");
    if (is_file && job->stdin_mode != MF_STDIN_NONE)
        return reader_raise(
            reader, "task.stdin", error, "with 'input: file' there is nothing on standard input");
    if (reader_seen(reader, "task.stdin") == 0 && !is_file)
        job->stdin_mode = is_pieces                ? MF_STDIN_PIECE
                          : split->group_bytes > 0 ? MF_STDIN_ITEM
                                                   : MF_STDIN_NONE;
    if (job->stdin_mode == MF_STDIN_PIECE && !is_pieces)
        return reader_raise(
            reader, "task.stdin", error, "only the splits lines and records have pieces");
    if (job->stdin_mode == MF_STDIN_INPUT && !has_input)
        return reader_raise(
            reader, "task.stdin", error, "this split has no input file for each subtask");
    return 0;
}

static int check_task(const struct reader *reader, struct mf_error *error)
{
    struct job *job = reader->job;
    struct job_strings cwd = {.count = 1, .items = &job->cwd};
    if (check_executor(reader, error) < 0 || check_env(reader, error) < 0 ||
        check_templates(reader, error) < 0 || check_stdin(reader, error) < 0 ||
        check_paths(reader, "task.files", &job->files, "the job's folder", error) < 0 ||
        check_paths(reader, "task.outputs", &job->outputs, "the attempt's folder", error) < 0)
        return -1;
    if (job->cwd != NULL &&
        check_paths(reader, "task.cwd", &cwd, "the attempt's folder", error) < 0)
        return -1;
    if (job->output.column_count > 0 && job->output.format == OUTPUT_TEXT)
        return reader_raise(reader,
                            "task.output.columns",
                            error,
                            "columns need 'format: csv', tsv or jsonl; the format is text");
    if (job->straggler_factor > 0 && job->straggler_factor < 1)
        return reader_raise(reader,
                            "task.stragglers.factor",
                            error,
                            "expected 0, or a number from 1: nothing is slow by taking less than "
                            "the others");
    return 0;
}

static int check_gather(const struct reader *reader, struct mf_error *error)
{
    static const char *const paths[] = {
        "gather.none", "gather.concat", "gather.jsonl", "gather.csv", "gather.sql"};
    struct job *job = reader->job;
    int id = reader_seen(reader, "gather");
    if (id > 0 && tree_node((struct tree *)&reader->tree, id)->type == YAML_MAPPING_NODE) {
        const char *path =
            reader_only_one(reader, "gather", paths, 5, "none, concat, jsonl, csv and sql", error);
        if (path == NULL)
            return -1;
        for (int i = 0; i < 5; i++) {
            if (strcmp(path, paths[i]) == 0)
                job->gather = (enum gather_kind)(GATHER_NONE + i);
        }
    }
    if (job->gather == GATHER_SQL && job->gather_sql[strspn(job->gather_sql, " \t\n;")] == '\0')
        return reader_raise(reader, "gather.sql", error, "the query is empty");
    if (job->gather == GATHER_CSV && job->output.format == OUTPUT_JSONL)
        return reader_raise(reader,
                            "gather",
                            error,
                            "csv does not go with 'output: jsonl'; gather by jsonl or sql");
    return 0;
}

bool is_job_name(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c >= 0x80 || !(isalnum(c) || (i > 0 && (c == '-' || c == '_'))))
            n = 0;
    }
    return n > 0 && n <= NAME_MAX_BYTES;
}

static int check_name(const struct reader *reader, struct mf_error *error)
{
    const char *name = reader->job->name;
    if (!is_job_name(name))
        return reader_raise(
            reader,
            "name",
            error,
            "expected at most 64 letters, digits, - and _ that start with a letter or digit, got "
            "'%.60s'",
            name);
    return 0;
}

static int check_prepare(const struct reader *reader, struct mf_error *error)
{
    const struct job *job = reader->job;
    bool is_empty = job->prepare_shell != NULL
                        ? job->prepare_shell[strspn(job->prepare_shell, " \t\n")] == '\0'
                        : job->prepare.count == 0 || *job->prepare.items[0] == '\0';
    if (reader_seen(reader, "prepare") > 0 && is_empty)
        return reader_raise(reader, "prepare", error, "the command is empty");
    return 0;
}

int check_job(struct reader *reader, struct mf_error *error)
{
    const struct job *job = reader->job;
    if (reader_seen(reader, "split") == 0)
        return raise_missing(
            reader, "split", error, "this key is missing; for example 'split: {range: 1-10}'");
    if (reader_seen(reader, "task") == 0)
        return raise_missing(reader,
                             "task",
                             error,
                             "this key is missing; for example 'task: {command: [echo, \"{}\"]}'");
    if (check_name(reader, error) < 0 || check_prepare(reader, error) < 0 ||
        check_trigger(reader, error) < 0 || check_split(reader, error) < 0 ||
        check_queue_split(reader, error) < 0 || check_task(reader, error) < 0 ||
        check_gather(reader, error) < 0 || check_workers(reader, error) < 0)
        return -1;
    if (job->orphan_us < job->lease_us)
        return reader_raise(reader,
                            reader_seen(reader, "orphan_limit") > 0 ? "orphan_limit" : "lease",
                            error,
                            "orphan_limit must not be shorter than lease");
    return 0;
}
