/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in the table of keys, and what is said about them: see schema.h. */
#include "master/job/schema.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "master/job/schema_row.h"

#define WORD_MAX 63

static const struct schema_table *const tables[] = {
    &schema_main, &schema_command, &schema_trigger, &schema_notify};
#define TABLE_COUNT (sizeof tables / sizeof *tables)

const struct schema_key *schema_at(size_t number)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (number < tables[i]->count)
            return &tables[i]->rows[number];
        number -= tables[i]->count;
    }
    return NULL;
}

size_t schema_count(void)
{
    size_t count = 0;
    for (size_t i = 0; i < TABLE_COUNT; i++)
        count += tables[i]->count;
    return count;
}

size_t schema_number(const struct schema_key *row)
{
    size_t number = 0;
    while (schema_at(number) != row)
        number++;
    return number;
}

/* The last part of a row's path, if the row is a child of `parent`; else NULL. */
static const char *child_name(const struct schema_key *row, const char *parent)
{
    size_t length = strlen(parent);
    const char *name = row->path;
    if (length > 0) {
        if (strncmp(name, parent, length) != 0 || name[length] != '.')
            return NULL;
        name += length + 1;
    }
    return strchr(name, '.') == NULL ? name : NULL;
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot == NULL ? path : dot + 1;
}

const struct schema_key *schema_row(const char *path)
{
    for (size_t i = 0; i < schema_count(); i++) {
        if (strcmp(schema_at(i)->path, path) == 0)
            return schema_at(i);
    }
    return NULL;
}

const struct schema_key *schema_find(const char *parent, const char *key)
{
    for (size_t i = 0; i < schema_count(); i++) {
        const char *name = child_name(schema_at(i), parent);
        if (name != NULL && (strcmp(name, "*") == 0 || strcmp(name, key) == 0))
            return schema_at(i);
    }
    return NULL;
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t low = a < b ? a : b;
    return low < c ? low : c;
}

size_t schema_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    size_t rows[3][WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX + 1;
    for (size_t k = 0; k <= m; k++)
        rows[0][k] = k;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t k = 1; k <= m; k++) {
            row[k] = least(above[k] + 1, row[k - 1] + 1, above[k - 1] + (a[i - 1] != b[k - 1]));
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                row[k] = least(row[k], two_above[k - 2] + 1, row[k]);
        }
    }
    return rows[n % 3][m];
}

static const char *nearest(const char *parent, const char *key)
{
    size_t best = strlen(key) < 6 ? 3 : 4;
    const char *found = NULL;
    for (size_t i = 0; i < schema_count(); i++) {
        const char *name = child_name(schema_at(i), parent);
        if (name == NULL || (schema_at(i)->types & SCHEMA_LATER) != 0)
            continue;
        size_t distance = schema_distance(key, name);
        if (distance < best && distance < strlen(name)) {
            best = distance;
            found = name;
        }
    }
    return found;
}

/* A row of this very name under another parent. */
static const struct schema_key *elsewhere(const char *key)
{
    for (size_t i = 0; i < schema_count(); i++) {
        if ((schema_at(i)->types & SCHEMA_LATER) == 0 &&
            strcmp(last_part(schema_at(i)->path), key) == 0)
            return schema_at(i);
    }
    return NULL;
}

static int append_known(const char *parent, struct mf_buffer *out, struct mf_error *error)
{
    const char *separator = "; known keys here are ";
    for (size_t i = 0; i < schema_count(); i++) {
        const char *name = child_name(schema_at(i), parent);
        if (name == NULL || (schema_at(i)->types & SCHEMA_LATER) != 0)
            continue;
        if (mf_buffer_printf(out, error, "%s%s", separator, name) < 0)
            return -1;
        separator = ", ";
    }
    return 0;
}

int schema_hint(const char *parent, const char *key, struct mf_buffer *out, struct mf_error *error)
{
    const struct schema_key *other = elsewhere(key);
    const char *name = nearest(parent, key);
    if (other == NULL && name != NULL)
        return mf_buffer_printf(out, error, "; did you mean '%s'?", name);
    if (other != NULL)
        return mf_buffer_printf(out, error, "; did you mean '%s'?", other->path);
    return append_known(parent, out, error);
}

/* Runs over the words of `choices`: the next one's start and length, whether it is for later; NULL
 * at the end. */
static const char *next_choice(const char *at, size_t *length, bool *is_later)
{
    at += strspn(at, " *");
    *length = strcspn(at, " *");
    *is_later = at[*length] == '*';
    return *length == 0 ? NULL : at;
}

int schema_choice(const struct schema_key *row, const char *word)
{
    size_t length;
    bool is_later;
    int number = row->choice_base;
    for (const char *p = row->choices;
         p != NULL && (p = next_choice(p, &length, &is_later)) != NULL;
         p += length) {
        if (strlen(word) == length && memcmp(word, p, length) == 0)
            return is_later ? -2 : number;
        number += is_later ? 0 : 1;
    }
    return -1;
}

static int append_choices(const struct schema_key *row,
                          const char *quote,
                          struct mf_buffer *out,
                          struct mf_error *error)
{
    size_t length;
    bool is_later, is_first = true;
    for (const char *p = row->choices; (p = next_choice(p, &length, &is_later)) != NULL;
         p += length) {
        if (is_later)
            continue;
        if (mf_buffer_printf(
                out, error, "%s%s%.*s%s", is_first ? "" : " or ", quote, (int)length, p, quote) < 0)
            return -1;
        is_first = false;
    }
    return 0;
}

static bool has_choice_now(const struct schema_key *row)
{
    size_t length;
    bool is_later;
    for (const char *p = row->choices;
         p != NULL && (p = next_choice(p, &length, &is_later)) != NULL;
         p += length) {
        if (!is_later)
            return true;
    }
    return false;
}

static const struct {
    unsigned type;
    const char *text;       /* in an error */
    const char *short_text; /* in the document */
} type_texts[] = {
    {SCHEMA_TEXT, "text", "text"},
    {SCHEMA_INTEGER, "a whole number", "whole number"},
    {SCHEMA_NUMBER, "a number", "number"},
    {SCHEMA_SHARE, "a share such as 1%", "share"},
    {SCHEMA_BOOL, "true or false", "true, false"},
    {SCHEMA_DURATION, "a duration such as 500ms, 15m or 1h", "duration"},
    {SCHEMA_SIZE, "a size such as 64MiB, 100k or 4096", "size"},
    {SCHEMA_RANGE, "a range such as 1-100 or \"0-10:2\"", "range"},
    {SCHEMA_LIST, "a list of texts", "list"},
    {SCHEMA_CODES, "a list of exit codes from 1 to 255, at most 32", "list of exit codes"},
    {SCHEMA_MAP, "a mapping", "mapping"},
    {SCHEMA_MAPS, "a list of mappings", "list of mappings"},
};

int schema_expectation(const struct schema_key *row, struct mf_buffer *out, struct mf_error *error)
{
    const char *separator = "";
    if (has_choice_now(row)) {
        if (append_choices(row, "", out, error) < 0)
            return -1;
        separator = ", or ";
    }
    for (size_t i = 0; i < sizeof type_texts / sizeof *type_texts; i++) {
        if ((row->types & type_texts[i].type) == 0)
            continue;
        if (mf_buffer_printf(out, error, "%s%s", separator, type_texts[i].text) < 0)
            return -1;
        separator = " or ";
    }
    return 0;
}

static int append_types(const struct schema_key *row, struct mf_buffer *out, struct mf_error *error)
{
    const char *separator = "";
    if (has_choice_now(row)) {
        if (append_choices(row, "`", out, error) < 0)
            return -1;
        separator = " or ";
    }
    for (size_t i = 0; i < sizeof type_texts / sizeof *type_texts; i++) {
        if ((row->types & type_texts[i].type) == 0)
            continue;
        if (mf_buffer_printf(out, error, "%s%s", separator, type_texts[i].short_text) < 0)
            return -1;
        separator = " or ";
    }
    return 0;
}

/* Text of a table's cell: a bar would end it. */
static int append_cell(const char *text, struct mf_buffer *out, struct mf_error *error)
{
    for (; *text != '\0'; text++) {
        if (mf_buffer_printf(out, error, *text == '|' ? "\\%c" : "%c", *text) < 0)
            return -1;
    }
    return 0;
}

static int append_row(const struct schema_key *row, struct mf_buffer *out, struct mf_error *error)
{
    const char *fallback = row->fallback == NULL ? "" : row->fallback;
    const char *quote = *fallback == '\0' || *fallback == '(' ? "" : "`";
    size_t length = strlen(fallback);
    if (*fallback == '(') {
        fallback++;
        length -= 2;
    }
    if (mf_buffer_printf(out, error, "| `%s` | ", row->path) < 0 ||
        append_types(row, out, error) < 0 ||
        mf_buffer_printf(out, error, " | %s%.*s%s | `", quote, (int)length, fallback, quote) < 0 ||
        append_cell(row->example, out, error) < 0 || mf_buffer_printf(out, error, "` | ") < 0 ||
        append_cell(row->help, out, error) < 0)
        return -1;
    return mf_buffer_append_text(out, " |\n", error);
}

int schema_document(struct mf_buffer *out, struct mf_error *error)
{
    if (mf_buffer_append_text(
            out, "| key | value | default | example | meaning |\n|---|---|---|---|---|\n", error) <
        0)
        return -1;
    for (size_t i = 0; i < schema_count(); i++) {
        if ((schema_at(i)->types & SCHEMA_LATER) == 0 && append_row(schema_at(i), out, error) < 0)
            return -1;
    }
    if (mf_buffer_append_text(out, "\nKnown, but not available in this version:", error) < 0)
        return -1;
    for (size_t i = 0, n = 0; i < schema_count(); i++) {
        if ((schema_at(i)->types & SCHEMA_LATER) == 0)
            continue;
        if (mf_buffer_printf(out, error, "%s `%s`", n++ == 0 ? "" : ",", schema_at(i)->path) < 0)
            return -1;
    }
    return mf_buffer_append_text(out, ".\n", error);
}
