/* SPDX-License-Identifier: Apache-2.0 */
/* Filling table `results`: see table.h. One transaction; rows in plan order, so that the bytes of
 * the query's output do not depend on who computed what when. */
#include "master/gather/table.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "master/gather/records.h"
#include "master/gather/value.h"
#include "master/record/sql.h"

struct column {
    char *name;
    int type; /* enum column_type or VALUE_ANY */
};

struct table {
    struct gather *gather;
    sqlite3 *db;
    const char *path;
    struct records records;
    struct column *columns; /* without `subtask` */
    size_t column_count;
    sqlite3_stmt *insert; /* NULL until it is known, and after a column came */
    json_t *indexes;      /* jsonl: name -> index of the column */
};

static int no_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "memory is exhausted while gathering");
}

static int raise_here(const struct table *table, const char *what, struct mf_error *error)
{
    return mf_raise(error,
                    MF_EINPUT,
                    "the result of subtask %llu, line %llu: %s",
                    (unsigned long long)source_subtask(table->gather->source),
                    (unsigned long long)table->records.record_line,
                    what);
}

static int raise_value(const struct table *table,
                       const struct column *column,
                       struct mf_bytes value,
                       struct mf_error *error)
{
    char shown[256];
    return mf_raise(error,
                    MF_EINPUT,
                    "the result of subtask %llu, line %llu, column %s: '%s' is not %s",
                    (unsigned long long)source_subtask(table->gather->source),
                    (unsigned long long)table->records.record_line,
                    column->name,
                    value_show(value, shown),
                    value_type_name(column->type));
}

static int declared_type(const struct job_output *output, const char *name, int otherwise)
{
    for (size_t i = 0; i < output->column_count; i++)
        if (strcmp(output->columns[i].name, name) == 0)
            return (int)output->columns[i].type;
    return otherwise;
}

/* SQLite compares names without case; it would say so in its own words later. */
static int check_name(const struct table *table, const char *name, struct mf_error *error)
{
    struct mf_error inner;
    if (*name == '\0')
        return raise_here(table, "a column has no name", error);
    if (sqlite3_stricmp(name, "subtask") == 0)
        return raise_here(
            table,
            "a column is called 'subtask', which is the name of a column of ours: rename it",
            error);
    for (size_t i = 0; i < table->column_count; i++)
        if (sqlite3_stricmp(name, table->columns[i].name) == 0) {
            mf_raise(&inner, 0, "two columns are called '%.200s'", name);
            return raise_here(table, inner.text, error);
        }
    return 0;
}

/* Takes a copy of the name. */
static int add_column(struct table *table, const char *name, int type, struct mf_error *error)
{
    if (check_name(table, name, error) < 0)
        return -1;
    struct column *columns =
        mf_realloc(table->columns, (table->column_count + 1) * sizeof *columns);
    if (columns == NULL)
        return no_memory(error);
    table->columns = columns;
    char *copy = mf_strdup(name);
    if (copy == NULL)
        return no_memory(error);
    table->columns[table->column_count++] = (struct column){copy, type};
    return 0;
}

static const char *sql_type(int type)
{
    if (type == COLUMN_INTEGER)
        return "INTEGER";
    if (type == COLUMN_REAL)
        return "REAL";
    return type == COLUMN_TEXT ? "TEXT" : "";
}

static int append_name(struct mf_buffer *sql, const char *name, struct mf_error *error)
{
    char *quoted = sqlite3_mprintf("\"%w\"", name);
    if (quoted == NULL)
        return no_memory(error);
    int result = mf_buffer_append_text(sql, quoted, error);
    sqlite3_free(quoted);
    return result;
}

static int run_sql(struct table *table, struct mf_buffer *sql, struct mf_error *error)
{
    const char *text = mf_buffer_text(sql);
    if (text == NULL)
        return no_memory(error);
    if (sqlite3_exec(table->db, text, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    if ((sqlite3_errcode(table->db) & 0xff) == SQLITE_ERROR) /* too many columns and the like */
        return raise_here(table, sqlite3_errmsg(table->db), error);
    return sql_raise(table->db, table->path, error);
}

static int create_table(struct table *table, struct mf_error *error)
{
    struct mf_buffer sql = {0};
    int result = mf_buffer_append_text(&sql, "CREATE TABLE results(subtask INTEGER", error);
    for (size_t i = 0; result == 0 && i < table->column_count; i++) {
        result = mf_buffer_append_text(&sql, ", ", error);
        if (result == 0)
            result = append_name(&sql, table->columns[i].name, error);
        if (result == 0)
            result = mf_buffer_printf(&sql, error, " %s", sql_type(table->columns[i].type));
    }
    if (result == 0)
        result = mf_buffer_append_text(&sql, ")", error);
    if (result == 0)
        result = run_sql(table, &sql, error);
    mf_buffer_fini(&sql);
    return result;
}

static int prepare_insert(struct table *table, struct mf_error *error)
{
    struct mf_buffer sql = {0};
    if (table->insert != NULL)
        return 0;
    int result = mf_buffer_append_text(&sql, "INSERT INTO results VALUES(?", error);
    for (size_t i = 0; result == 0 && i < table->column_count; i++)
        result = mf_buffer_append_text(&sql, ", ?", error);
    if (result == 0)
        result = mf_buffer_append_text(&sql, ")", error);
    if (result == 0) {
        const char *text = mf_buffer_text(&sql);
        result = text == NULL ? no_memory(error)
                              : sql_prepare(table->db, table->path, text, &table->insert, error);
    }
    mf_buffer_fini(&sql);
    return result;
}

static int insert_row(struct table *table, struct mf_error *error)
{
    sqlite3_bind_int64(table->insert, 1, (int64_t)source_subtask(table->gather->source));
    return sql_run(table->db, table->path, table->insert, error);
}

/* csv and tsv: the first header names the columns. */
static int take_first_header(struct table *table, struct mf_error *error)
{
    const struct job_output *output = &table->gather->job->output;
    for (size_t i = 0; i < table->records.field_count; i++) {
        struct mf_bytes field = records_field(&table->records, i);
        char *name = mf_memdup(field.data, field.length);
        if (name == NULL)
            return no_memory(error);
        int result = add_column(table, name, declared_type(output, name, COLUMN_TEXT), error);
        mf_free(name);
        if (result < 0)
            return -1;
    }
    for (size_t i = 0; i < output->column_count; i++) {
        bool is_there = false;
        for (size_t j = 0; j < table->column_count; j++)
            is_there |= strcmp(output->columns[i].name, table->columns[j].name) == 0;
        if (!is_there)
            return mf_raise(error,
                            MF_EINPUT,
                            "the header of the result of subtask %llu has no column '%s', which"
                            " task.output.columns declares",
                            (unsigned long long)source_subtask(table->gather->source),
                            output->columns[i].name);
    }
    if (create_table(table, error) < 0)
        return -1;
    return prepare_insert(table, error);
}

static int take_header(struct table *table, struct mf_error *error)
{
    if (table->insert == NULL)
        return take_first_header(table, error);
    bool is_same = table->records.field_count == table->column_count;
    for (size_t i = 0; is_same && i < table->column_count; i++)
        is_same = mf_bytes_equal(records_field(&table->records, i),
                                 mf_bytes_text(table->columns[i].name));
    if (is_same)
        return 0;
    return raise_here(table, "the header differs from that of the first result", error);
}

static int take_row(struct table *table, struct mf_error *error)
{
    struct records *records = &table->records;
    if (records->field_count != table->column_count) {
        struct mf_error inner;
        mf_raise(&inner,
                 0,
                 "the row has %zu values, the header has %zu",
                 records->field_count,
                 table->column_count);
        return raise_here(table, inner.text, error);
    }
    for (size_t i = 0; i < table->column_count; i++) {
        struct mf_bytes field = records_field(records, i);
        if (!value_bind_text(table->insert, (int)i + 2, table->columns[i].type, field))
            return raise_value(table, &table->columns[i], field, error);
    }
    return insert_row(table, error);
}

static int load_rows(struct table *table, struct mf_error *error)
{
    bool is_header = true;
    int more;
    while ((more = records_next(&table->records, error)) > 0) {
        if ((is_header ? take_header : take_row)(table, error) < 0)
            return -1;
        is_header = false;
    }
    return more;
}

static int load_lines(struct table *table, struct mf_error *error)
{
    int more;
    while ((more = records_next(&table->records, error)) > 0) {
        value_bind_text(table->insert, 2, COLUMN_TEXT, records_field(&table->records, 0));
        if (insert_row(table, error) < 0)
            return -1;
    }
    return more;
}

static int note_index(struct table *table, const char *name, struct mf_error *error)
{
    if (json_object_set_new(table->indexes, name, json_integer((json_int_t)table->column_count)) <
        0)
        return no_memory(error);
    return 0;
}

/* jsonl: a key that was not seen before becomes a column; rows before it have NULL there. */
static int new_key(struct table *table, const char *key, struct mf_error *error)
{
    struct mf_buffer sql = {0};
    if (note_index(table, key, error) < 0 || add_column(table, key, VALUE_ANY, error) < 0)
        return -1;
    int result = mf_buffer_append_text(&sql, "ALTER TABLE results ADD COLUMN ", error);
    if (result == 0)
        result = append_name(&sql, key, error);
    sqlite3_finalize(table->insert);
    table->insert = NULL;
    if (result == 0)
        result = run_sql(table, &sql, error);
    mf_buffer_fini(&sql);
    return result;
}

static int take_object(struct table *table, json_t *object, struct mf_error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (json_object_get(table->indexes, key) == NULL && new_key(table, key, error) < 0)
            return -1;
    }
    if (prepare_insert(table, error) < 0)
        return -1;
    sqlite3_clear_bindings(table->insert);
    json_object_foreach(object, key, value)
    {
        json_int_t i = json_integer_value(json_object_get(table->indexes, key));
        const struct column *column = &table->columns[i];
        if (value_bind_json(table->insert, (int)i + 2, column->type, value))
            continue;
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        raise_value(table, column, mf_bytes_text(text), error);
        free(text);
        return -1;
    }
    return insert_row(table, error);
}

static int load_objects(struct table *table, struct mf_error *error)
{
    int more;
    while ((more = records_next(&table->records, error)) > 0) {
        struct mf_bytes line = records_field(&table->records, 0);
        json_error_t problem;
        json_t *object = json_loadb((const char *)line.data,
                                    line.length,
                                    JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY,
                                    &problem);
        if (object == NULL)
            return raise_here(table, problem.text, error);
        int result = json_is_object(object) ? take_object(table, object, error)
                                            : raise_here(table, "this is not a JSON object", error);
        json_decref(object);
        if (result < 0)
            return -1;
    }
    return more;
}

/* Columns that are known before the first result: all of text and jsonl. */
static int begin_table(struct table *table, struct mf_error *error)
{
    const struct job_output *output = &table->gather->job->output;
    if (output->format == OUTPUT_CSV || output->format == OUTPUT_TSV) {
        table->records.syntax = output->format == OUTPUT_CSV ? RECORD_CSV : RECORD_TSV;
        return 0;
    }
    table->records.syntax = RECORD_LINES;
    if (output->format != OUTPUT_JSONL) {
        if (add_column(table, "line", COLUMN_TEXT, error) < 0)
            return -1;
    } else {
        table->indexes = json_object();
        if (table->indexes == NULL)
            return no_memory(error);
        for (size_t i = 0; i < output->column_count; i++)
            if (note_index(table, output->columns[i].name, error) < 0 ||
                add_column(table, output->columns[i].name, (int)output->columns[i].type, error) < 0)
                return -1;
    }
    if (create_table(table, error) < 0)
        return -1;
    return prepare_insert(table, error);
}

/* Without any csv or tsv result there is no header: the declared columns make the table. */
static int end_table(struct table *table, struct mf_error *error)
{
    const struct job_output *output = &table->gather->job->output;
    if (table->records.syntax == RECORD_LINES || table->insert != NULL)
        return 0;
    for (size_t i = 0; i < output->column_count; i++)
        if (add_column(table, output->columns[i].name, (int)output->columns[i].type, error) < 0)
            return -1;
    return create_table(table, error);
}

static int load_all(struct table *table, struct mf_error *error)
{
    int (*load)(struct table *, struct mf_error *) = load_lines;
    uint64_t subtask;
    int more;
    if (table->records.syntax != RECORD_LINES)
        load = load_rows;
    else if (table->indexes != NULL)
        load = load_objects;
    while ((more = source_next(table->gather->source, &subtask, error)) > 0) {
        records_begin(&table->records);
        if (load(table, error) < 0)
            return -1;
    }
    return more;
}

int table_load(struct gather *gather, sqlite3 *db, const char *path, struct mf_error *error)
{
    struct table table = {
        .gather = gather, .db = db, .path = path, .records = {.source = gather->source}};
    int result = -1;
    if (sql_exec(db, path, "BEGIN", error) == 0 && begin_table(&table, error) == 0 &&
        load_all(&table, error) == 0 && end_table(&table, error) == 0)
        result = 0;
    sqlite3_finalize(table.insert);
    if (result == 0)
        result = sql_exec(db, path, "COMMIT", error);
    records_fini(&table.records);
    for (size_t i = 0; i < table.column_count; i++)
        mf_free(table.columns[i].name);
    mf_free(table.columns);
    json_decref(table.indexes);
    return result;
}
