/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the tree to struct job: see read.h. Each mapping is walked key by key; the row of the schema
 * says what the value may be and where it goes.
 */
#include "master/job/read.h"

#include <stdarg.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/job/hosts.h"
#include "master/job/store.h"
#include "master/job/value.h"

#define PATH_BYTES 160

/* One key being read. */
struct entry {
    const struct schema_key *row;
    const char *path; /* in full, with the real name where the row has a * */
    const char *name; /* the last part */
    int id;
};

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory while reading the job file");
}

int strings_add(struct job_strings *strings, const char *text, struct mf_error *error)
{
    /* Capacity is the next power of two, so that it need not be stored. */
    if ((strings->count & (strings->count - 1)) == 0) {
        size_t capacity = strings->count == 0 ? 1 : strings->count * 2;
        char **items = mf_realloc(strings->items, capacity * sizeof *items);
        if (items == NULL)
            return raise_memory(error);
        strings->items = items;
    }
    char *copy = mf_strdup(text);
    if (copy == NULL)
        return raise_memory(error);
    strings->items[strings->count++] = copy;
    return 0;
}

void strings_fini(struct job_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        mf_free(strings->items[i]);
    mf_free(strings->items);
    *strings = (struct job_strings){0};
}

int reader_seen(const struct reader *reader, const char *path)
{
    const struct schema_key *row = schema_row(path);
    return row == NULL ? 0 : reader->seen[schema_number(row)];
}

void reader_drop(struct reader *reader, const char *path)
{
    const struct schema_key *row = schema_row(path);
    const char *dot = strrchr(path, '.');
    char parent[PATH_BYTES];
    if (row == NULL || dot == NULL || reader->seen[schema_number(row)] == 0)
        return;
    snprintf(parent, sizeof parent, "%.*s", (int)(dot - path), path);
    tree_drop(&reader->tree, reader_seen(reader, parent), dot + 1);
    reader->seen[schema_number(row)] = 0;
    reader->is_changed = true;
}

int reader_raise(
    const struct reader *reader, const char *path, struct mf_error *error, const char *format, ...)
{
    char place[TREE_PLACE_MAX], text[700];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return mf_raise(error,
                    MF_EUSAGE,
                    "%s: %s: %s",
                    tree_place(&reader->tree, reader_seen(reader, path), place),
                    path,
                    text);
}

static int raise_entry(struct reader *reader,
                       const struct entry *entry,
                       struct mf_error *error,
                       const char *text)
{
    char place[TREE_PLACE_MAX];
    return mf_raise(error,
                    MF_EUSAGE,
                    "%s: %s: %s",
                    tree_place(&reader->tree, entry->id, place),
                    entry->path,
                    text);
}

/* The word of the row's choices that is nearest to what was written, as "; did you mean 'x'?". */
static int append_near_choice(const struct schema_key *row,
                              const char *word,
                              struct mf_buffer *out,
                              struct mf_error *error)
{
    char choice[32];
    for (const char *p = row->choices; p != NULL && *p != '\0'; p += strspn(p, " *")) {
        size_t length = strcspn(p, " *");
        snprintf(choice, sizeof choice, "%.*s", (int)length, p);
        size_t distance = schema_distance(word, choice);
        p += length;
        if (distance > 0 && distance < 3 && distance < length && *p != '*')
            return mf_buffer_printf(out, error, "; did you mean '%s'?", choice);
    }
    return 0;
}

static int raise_expected(struct reader *reader, const struct entry *entry, struct mf_error *error)
{
    struct mf_buffer text = {0};
    const yaml_node_t *node = tree_node(&reader->tree, entry->id);
    char shown[TREE_PLACE_MAX];
    int rc = mf_buffer_printf(&text, error, "expected ");
    if (rc == 0)
        rc = schema_expectation(entry->row, &text, error);
    if (rc == 0)
        rc = mf_buffer_printf(&text, error, ", got %s", tree_describe(node, shown));
    if (rc == 0 && node->type == YAML_SCALAR_NODE)
        rc = append_near_choice(entry->row, tree_text(node), &text, error);
    const char *all = rc == 0 ? mf_buffer_text(&text) : NULL;
    if (all != NULL)
        raise_entry(reader, entry, error, all);
    else
        raise_memory(error);
    mf_buffer_fini(&text);
    return -1;
}

static int raise_bounds(struct reader *reader, const struct entry *entry, struct mf_error *error)
{
    char text[160];
    const struct schema_key *row = entry->row;
    char shown[TREE_PLACE_MAX];
    tree_describe(tree_node(&reader->tree, entry->id), shown);
    bool is_time = (row->types & SCHEMA_DURATION) != 0;
    const char *unit = is_time ? " s" : "";
    double scale = is_time ? 1e6 : 1;
    if (row->max == INT64_MAX)
        snprintf(text,
                 sizeof text,
                 "expected at least %.15g%s, got %.40s",
                 (double)row->min / scale,
                 unit,
                 shown);
    else
        snprintf(text,
                 sizeof text,
                 "expected %.15g to %.15g%s, got %.40s",
                 (double)row->min / scale,
                 (double)row->max / scale,
                 unit,
                 shown);
    return raise_entry(reader, entry, error, text);
}

static int
read_column(struct job *job, const struct entry *entry, const char *word, struct mf_error *error)
{
    int type = schema_choice(entry->row, word);
    struct job_output *output = &job->output;
    struct job_column *columns =
        mf_realloc(output->columns, (output->column_count + 1) * sizeof *columns);
    if (columns == NULL)
        return raise_memory(error);
    output->columns = columns;
    char *name = mf_strdup(entry->name);
    if (name == NULL)
        return raise_memory(error);
    columns[output->column_count++] =
        (struct job_column){.name = name, .type = (enum column_type)type};
    return 0;
}

static int
read_env(struct job *job, const struct entry *entry, const char *value, struct mf_error *error)
{
    char *line = mf_format("%s=%s", entry->name, value);
    if (line == NULL)
        return raise_memory(error);
    int rc = strings_add(&job->env, line, error);
    mf_free(line);
    return rc;
}

/* The user's home, NULL when there is none. Borrowed. */
static const char *find_home(void)
{
    const char *home = getenv("HOME");
    const struct passwd *user = home == NULL || *home != '/' ? getpwuid(getuid()) : NULL;
    return user != NULL ? user->pw_dir : home;
}

char *read_path_text(const struct job *job, const char *text, struct mf_error *error)
{
    bool is_home = strncmp(text, "~/", 2) == 0;
    const char *home = is_home ? find_home() : "";
    if (*text == '\0' || home == NULL) {
        mf_raise(error,
                 MF_EUSAGE,
                 home == NULL ? "~/ is of no use here: the user has no home"
                              : "expected a path, got an empty text");
        return NULL;
    }
    char *path = is_home        ? mf_format("%s%s", home, text + 1)
                 : *text == '/' ? mf_strdup(text)
                                : mf_format("%s/%s", job->folder, text);
    if (path == NULL)
        raise_memory(error);
    return path;
}

/* Gives an error that has no place yet the one of the entry. */
static int place_error(struct reader *reader,
                       const struct entry *entry,
                       const struct mf_error *inner,
                       struct mf_error *error)
{
    return inner->code == MF_ENOMEM ? raise_memory(error)
                                    : raise_entry(reader, entry, error, inner->text);
}

static int read_path(struct reader *reader,
                     const struct entry *entry,
                     const char *text,
                     struct mf_error *error)
{
    struct mf_error inner = {0};
    if (strcmp(entry->row->path, "workers.ssh.config") == 0 && strcmp(text, "none") == 0)
        return store_text(reader->job, entry->row, text, error);
    char *path = read_path_text(reader->job, text, &inner);
    if (path == NULL)
        return place_error(reader, entry, &inner, error);
    int rc = store_text(reader->job, entry->row, path, error);
    mf_free(path);
    return rc;
}

/* A source of the value that is being read; or the value itself, where the key allows that. */
static int read_secret(struct reader *reader,
                       const struct entry *entry,
                       const char *text,
                       struct mf_error *error)
{
    struct mf_error inner = {0};
    struct job_secret *whole = (void *)store_member(reader->job, entry->row);
    char place[TREE_PLACE_MAX];
    int rc;
    if (entry->row->size == 0) {
        rc = read_secret_source(reader->job, reader->secret, entry->name, text, &inner);
        return rc < 0 ? place_error(reader, entry, &inner, error) : 0;
    }
    char *named = mf_format("%s: %s", tree_place(&reader->tree, entry->id, place), entry->path);
    rc = named == NULL ? -1 : read_secret_begin(whole, named, error);
    mf_free(named);
    if (rc == 0)
        whole->text = mf_strdup(text);
    return rc < 0 || whole->text == NULL ? raise_memory(error) : 0;
}

/* One text of hosts: of `text` as a whole, or one item of a list. */
static int read_hosts(struct reader *reader,
                      const struct entry *entry,
                      const char *text,
                      bool is_item,
                      struct mf_error *error)
{
    struct job_hosts *hosts = &reader->job->hosts;
    struct mf_error inner = {0};
    int rc = is_item ? hosts_add(hosts, mf_bytes_text(text), &inner)
                     : hosts_add_list(hosts, text, &inner);
    return rc < 0 ? place_error(reader, entry, &inner, error) : 0;
}

/* Texts that go elsewhere than into a number: 1 taken, 0 not meant for here, -1. */
static int read_special(struct reader *reader,
                        const struct entry *entry,
                        const char *text,
                        struct mf_error *error)
{
    struct job *job = reader->job;
    const struct schema_key *row = entry->row;
    uint64_t none = 0;
    switch (row->target) {
    case TARGET_ENV:
        return read_env(job, entry, text, error) < 0 ? -1 : 1;
    case TARGET_COLUMN:
        if (schema_choice(row, text) < 0)
            return 0;
        return read_column(job, entry, text, error) < 0 ? -1 : 1;
    case TARGET_LINE: {
        struct job_strings *strings = (void *)store_member(job, row);
        return strings_add(strings, text, error) < 0 ? -1 : 1;
    }
    case TARGET_TOLERATE:
        if (value_share(text, &job->tolerate_share) == 0)
            return 1;
        if (value_size(text, &none) < 0 || text[strspn(text, "0123456789")] != '\0')
            return 0;
        job->tolerate_count = none;
        return 1;
    case TARGET_PATH:
        return read_path(reader, entry, text, error) < 0 ? -1 : 1;
    case TARGET_HOSTS:
        return read_hosts(reader, entry, text, false, error) < 0 ? -1 : 1;
    case TARGET_SECRET:
        if ((row->types & SCHEMA_TEXT) == 0)
            return 0;
        return read_secret(reader, entry, text, error) < 0 ? -1 : 1;
    default:
        break;
    }
    if ((row->types & SCHEMA_RANGE) != 0) {
        struct job_split *split = &job->split;
        return value_range(text, &split->range_first, &split->range_last, &split->range_step) == 0
                   ? 1
                   : 0;
    }
    if (strcmp(row->path, "prepare") == 0) {
        job->prepare_shell = mf_strdup(text);
        return job->prepare_shell == NULL ? raise_memory(error) : 1;
    }
    return 0;
}

static int read_scalar(struct reader *reader,
                       const struct entry *entry,
                       const yaml_node_t *node,
                       struct mf_error *error)
{
    const struct schema_key *row = entry->row;
    const char *text = tree_text(node);
    if ((row->types & SCHEMA_CHOICE) != 0 && schema_choice(row, text) == -2) {
        char said[96];
        snprintf(said, sizeof said, "'%.40s' is not available in this version", text);
        return raise_entry(reader, entry, error, said);
    }
    int rc = tree_is_nothing(node) ? 0 : read_special(reader, entry, text, error);
    if (rc == 0 && !tree_is_nothing(node) && row->target == TARGET_FIELD) {
        rc = store_scalar(reader->job, row, text);
        if (rc < 0)
            return raise_bounds(reader, entry, error);
        if (rc == 0 && (row->types & SCHEMA_TEXT) != 0 && row->size == sizeof(char *)) {
            rc = store_text(reader->job, row, text, error);
            return rc;
        }
    }
    return rc == 0 ? raise_expected(reader, entry, error) : rc < 0 ? -1 : 0;
}

static int read_codes(struct reader *reader,
                      const struct entry *entry,
                      const yaml_node_t *node,
                      struct mf_error *error)
{
    struct job_retries *retries = &reader->job->retries;
    for (int *item = node->data.sequence.items.start; item < node->data.sequence.items.top;
         item++) {
        const yaml_node_t *child = tree_node(&reader->tree, *item);
        struct entry place = *entry;
        int64_t code;
        place.id = *item;
        if (child->type != YAML_SCALAR_NODE || value_integer(tree_text(child), &code) < 0 ||
            code < 1 || code > 255 ||
            retries->final_code_count == sizeof retries->final_codes / sizeof *retries->final_codes)
            return raise_expected(reader, &place, error);
        retries->final_codes[retries->final_code_count++] = (int32_t)code;
    }
    return 0;
}

static int read_list(struct reader *reader,
                     const struct entry *entry,
                     const yaml_node_t *node,
                     struct mf_error *error)
{
    const struct schema_key *row = entry->row;
    struct job_strings *strings = strcmp(row->path, "prepare") == 0 ? &reader->job->prepare
                                  : row->target == TARGET_SECRET
                                      ? &reader->secret->command
                                      : (void *)store_member(reader->job, row);
    for (int *item = node->data.sequence.items.start; item < node->data.sequence.items.top;
         item++) {
        const yaml_node_t *child = tree_node(&reader->tree, *item);
        if (child->type != YAML_SCALAR_NODE || tree_is_nothing(child)) {
            char place[TREE_PLACE_MAX], shown[TREE_PLACE_MAX];
            return mf_raise(
                error,
                MF_EUSAGE,
                "%s: %s: expected a text in this list, got %s%s",
                tree_place(&reader->tree, *item, place),
                entry->path,
                tree_describe(child, shown),
                child->type == YAML_MAPPING_NODE ? "; put placeholders in quotes: \"{}\"" : "");
        }
        struct entry at = *entry;
        at.id = *item;
        int rc = row->target == TARGET_HOSTS
                     ? read_hosts(reader, &at, tree_text(child), true, error)
                     : strings_add(strings, tree_text(child), error);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int raise_unknown(struct reader *reader,
                         const char *parent,
                         const char *shown,
                         const struct entry *entry,
                         struct mf_error *error)
{
    struct mf_buffer hint = {0};
    char text[800], said[TREE_PLACE_MAX];
    tree_describe(tree_node(&reader->tree, entry->id), said);
    if (schema_hint(parent, entry->name, &hint, error) < 0 || mf_buffer_text(&hint) == NULL) {
        mf_buffer_fini(&hint);
        return raise_memory(error);
    }
    snprintf(text, sizeof text, "unknown key %s%s", said, mf_buffer_text(&hint));
    mf_buffer_fini(&hint);
    struct entry at = *entry;
    at.path = *parent == '\0' ? "the job file" : shown;
    return raise_entry(reader, &at, error, text);
}

static int read_mapping(
    struct reader *reader, const char *parent, const char *shown, int id, struct mf_error *error);

static int
read_secret_mapping(struct reader *reader, const struct entry *entry, struct mf_error *error)
{
    char place[TREE_PLACE_MAX];
    struct mf_error inner = {0};
    char *named = mf_format("%s: %s", tree_place(&reader->tree, entry->id, place), entry->path);
    if (named == NULL)
        return raise_memory(error);
    reader->secret = entry->row->size == 0
                         ? read_secret_add(reader->job, entry->name, &inner)
                         : (struct job_secret *)(void *)store_member(reader->job, entry->row);
    int rc = reader->secret == NULL ? -1 : read_secret_begin(reader->secret, named, &inner);
    mf_free(named);
    if (rc < 0)
        return place_error(reader, entry, &inner, error);
    if (read_mapping(reader, entry->row->path, entry->path, entry->id, error) < 0)
        return -1;
    return read_secret_end(reader->secret, &inner) < 0 ? place_error(reader, entry, &inner, error)
                                                       : 0;
}

/* One mapping of `notify`; `index` from 1, 0 = it stands alone. */
static int read_notify_mapping(
    struct reader *reader, const struct entry *entry, int id, size_t index, struct mf_error *error)
{
    char place[TREE_PLACE_MAX], shown[PATH_BYTES];
    struct mf_error inner = {0};
    struct entry at = *entry;
    at.id = id;
    snprintf(shown, sizeof shown, index == 0 ? "%s" : "%s[%zu]", entry->path, index);
    at.path = shown;
    if (tree_node(&reader->tree, id)->type != YAML_MAPPING_NODE)
        return raise_entry(reader,
                           &at,
                           error,
                           "expected a mapping, such as {on: [failed], "
                           "command: [./tell.sh]}");
    char *named = mf_format("%s: %s", tree_place(&reader->tree, id, place), shown);
    int rc = named == NULL ? raise_memory(&inner) : read_notify_begin(reader->job, named, &inner);
    mf_free(named);
    if (rc < 0)
        return place_error(reader, &at, &inner, error);
    if (store_defaults(reader->job, true, error) < 0)
        return -1;
    int *seen_on = &reader->seen[schema_number(schema_row("notify.on"))];
    *seen_on = 0; /* that of the one before */
    if (read_mapping(reader, entry->row->path, shown, id, error) < 0)
        return -1;
    return read_notify_end(reader->job, *seen_on > 0, error);
}

static int read_notify(struct reader *reader,
                       const struct entry *entry,
                       const yaml_node_t *node,
                       struct mf_error *error)
{
    size_t index = 0;
    if (node->type == YAML_MAPPING_NODE)
        return read_notify_mapping(reader, entry, entry->id, 0, error);
    for (int *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++)
        if (read_notify_mapping(reader, entry, *item, ++index, error) < 0)
            return -1;
    return 0;
}

static int read_value(struct reader *reader, const struct entry *entry, struct mf_error *error)
{
    const yaml_node_t *node = tree_node(&reader->tree, entry->id);
    reader->seen[schema_number(entry->row)] = entry->id;
    if (node->type == YAML_SCALAR_NODE)
        return read_scalar(reader, entry, node, error);
    if (entry->row->target == TARGET_NOTIFY)
        return read_notify(reader, entry, node, error);
    if (node->type == YAML_MAPPING_NODE && (entry->row->types & SCHEMA_MAP) != 0)
        return entry->row->target == TARGET_SECRET
                   ? read_secret_mapping(reader, entry, error)
                   : read_mapping(reader, entry->row->path, entry->path, entry->id, error);
    if (node->type == YAML_SEQUENCE_NODE && (entry->row->types & SCHEMA_CODES) != 0)
        return read_codes(reader, entry, node, error);
    if (node->type == YAML_SEQUENCE_NODE && (entry->row->types & SCHEMA_LIST) != 0)
        return read_list(reader, entry, node, error);
    return raise_expected(reader, entry, error);
}

/* The keys of one mapping: `parent` is its path in the schema, `shown` the same with the names that
 * the file gives. Recursion is as deep as the schema. */
static int read_mapping(
    struct reader *reader, const char *parent, const char *shown, int id, struct mf_error *error)
{
    const yaml_node_t *node = tree_node(&reader->tree, id);
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top;
         pair++) {
        char path[PATH_BYTES];
        struct entry entry = {
            .name = tree_text(tree_node(&reader->tree, pair->key)), .path = path, .id = pair->key};
        snprintf(path, sizeof path, "%s%s%.100s", shown, *shown == '\0' ? "" : ".", entry.name);
        entry.row = schema_find(parent, entry.name);
        if (entry.row == NULL)
            return raise_unknown(reader, parent, shown, &entry, error);
        if ((entry.row->types & SCHEMA_LATER) != 0)
            return raise_entry(reader, &entry, error, "not available in this version");
        /* Errors name the line of the value: it is the one to be mended. */
        entry.id = pair->value;
        if (read_value(reader, &entry, error) < 0)
            return -1;
    }
    return 0;
}

/* First of all: in a file of another version, other keys may mean other things. */
static int check_version(struct reader *reader, struct mf_error *error)
{
    const yaml_node_t *root = tree_root(&reader->tree);
    char place[TREE_PLACE_MAX], shown[TREE_PLACE_MAX];
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *value = tree_node(&reader->tree, pair->value);
        if (strcmp(tree_text(tree_node(&reader->tree, pair->key)), "mayfly") != 0)
            continue;
        if (value->type == YAML_SCALAR_NODE && strcmp(tree_text(value), "1") == 0)
            return 0;
        return mf_raise(error,
                        MF_EUSAGE,
                        "%s: mayfly: expected version 1 of the job file's format, the only one "
                        "that this program "
                        "knows, got %s",
                        tree_place(&reader->tree, pair->value, place),
                        tree_describe(value, shown));
    }
    return mf_raise(error,
                    MF_EUSAGE,
                    "%s: the key 'mayfly' is missing; a job file starts with 'mayfly: 1'",
                    tree_place(&reader->tree, 0, place));
}

/* Before all others: paths may start at it. */
static int read_folder(struct reader *reader, struct mf_error *error)
{
    const yaml_node_t *root = tree_root(&reader->tree);
    char place[TREE_PLACE_MAX], shown[TREE_PLACE_MAX];
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *value = tree_node(&reader->tree, pair->value);
        if (strcmp(tree_text(tree_node(&reader->tree, pair->key)), "folder") != 0)
            continue;
        if (value->type != YAML_SCALAR_NODE || *tree_text(value) != '/')
            return mf_raise(error,
                            MF_EUSAGE,
                            "%s: folder: expected an absolute path, got %s",
                            tree_place(&reader->tree, pair->value, place),
                            tree_describe(value, shown));
        return store_text(reader->job, schema_row("folder"), tree_text(value), error);
    }
    return 0;
}

int read_job(struct reader *reader, struct mf_error *error)
{
    if (check_version(reader, error) < 0 || read_folder(reader, error) < 0)
        return -1;
    if (store_defaults(reader->job, false, error) < 0)
        return -1;
    return read_mapping(reader, "", "", 1, error);
}
