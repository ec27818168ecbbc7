/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aligned tables: see table.h. Kept cells stand one behind the other in `text`; cell i ends at
 * ends[i]. A very wide cell does not push the others of its column aside.
 */
#include "master/commands/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "master/commands/text.h"

#define KEPT_ROWS 1000u
#define KEPT_BYTES (1u << 20)
#define WIDTH_MAX 60u

struct cell {
    size_t end;
    bool right;
};

struct table {
    size_t columns;
    size_t *widths;
    struct mf_buffer text;
    struct cell *cells;
    size_t count, capacity;
    bool is_printing; /* the widths are final */
};

/* Characters, as a terminal shows them (none is wide). */
static size_t width_of(const unsigned char *text, size_t length)
{
    size_t width = 0;
    for (size_t i = 0; i < length; i++)
        width += (text[i] & 0xc0) != 0x80;
    return width;
}

static size_t start_of(const struct table *table, size_t i)
{
    return i == 0 ? 0 : table->cells[i - 1].end;
}

static void pad(size_t width, size_t used)
{
    for (; used < width; used++)
        putchar(' ');
}

static void print_cell(const struct table *table, size_t i)
{
    size_t start = start_of(table, i), length = table->cells[i].end - start;
    size_t column = i % table->columns;
    const unsigned char *text = table->text.data + start;
    size_t width = width_of(text, length);
    bool is_last = column + 1 == table->columns;
    if (table->cells[i].right)
        pad(table->widths[column], width);
    if (length > 0)
        fwrite(text, 1, length, stdout);
    if (!table->cells[i].right && !is_last)
        pad(table->widths[column], width);
    fputs(is_last ? "\n" : "  ", stdout);
}

static void measure(struct table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        size_t start = start_of(table, i), *width = &table->widths[i % table->columns];
        size_t own = width_of(table->text.data + start, table->cells[i].end - start);
        if (own > *width)
            *width = own < WIDTH_MAX ? own : WIDTH_MAX;
    }
}

/* Prints all whole rows that are kept. */
static void print_rows(struct table *table)
{
    if (!table->is_printing)
        measure(table);
    table->is_printing = true;
    for (size_t i = 0; i < table->count; i++)
        print_cell(table, i);
    table->count = 0;
    mf_buffer_clear(&table->text);
}

static int grow(struct table *table, struct mf_error *error)
{
    size_t capacity = table->capacity == 0 ? 64 : table->capacity * 2;
    struct cell *more = mf_realloc(table->cells, capacity * sizeof *more);
    if (more == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a table");
    table->cells = more;
    table->capacity = capacity;
    return 0;
}

int table_cell(struct table *table, struct mf_bytes text, bool right, struct mf_error *error)
{
    if (table->count == table->capacity && grow(table, error) < 0)
        return -1;
    if (text_printable(&table->text, text, error) < 0)
        return -1;
    table->cells[table->count++] = (struct cell){.end = table->text.length, .right = right};
    if (table->count % table->columns != 0)
        return 0;
    if (table->is_printing || table->count >= KEPT_ROWS * table->columns ||
        table->text.length >= KEPT_BYTES)
        print_rows(table);
    return 0;
}

int table_text(struct table *table, const char *text, struct mf_error *error)
{
    return table_cell(table, mf_bytes_text(text), false, error);
}

int table_number(struct table *table, uint64_t number, struct mf_error *error)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    return table_cell(table, mf_bytes_text(text), true, error);
}

struct table *table_create(size_t columns, const char *const *titles, struct mf_error *error)
{
    struct table *table = mf_calloc(1, sizeof *table);
    if (table == NULL || (table->widths = mf_calloc(columns, sizeof *table->widths)) == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a table");
        table_destroy(table);
        return NULL;
    }
    table->columns = columns;
    for (size_t i = 0; i < columns; i++)
        if (table_text(table, titles[i], error) < 0) {
            table_destroy(table);
            return NULL;
        }
    return table;
}

int table_end(struct table *table, struct mf_error *error)
{
    if (table->count % table->columns != 0)
        return mf_raise(error, MF_ESYSTEM, "a table ends within a row");
    print_rows(table);
    return 0;
}

void table_destroy(struct table *table)
{
    if (table == NULL)
        return;
    mf_buffer_fini(&table->text);
    mf_free(table->cells);
    mf_free(table->widths);
    mf_free(table);
}
