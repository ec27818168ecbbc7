/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly sql: a query of run.db, on a connection that can only read. Rows are printed as they come.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "master/command.h"
#include "master/commands/table.h"
#include "master/commands/text.h"
#include "master/record/run_db.h"
#include "master/record/sql.h"
#include "master/run_folder.h"

struct arguments {
    const char *run, *sql;
    bool csv, json;
};

static const struct argp_option options[] = {
    {"csv", 'c', NULL, 0, "Write CSV with a header (RFC 4180)", 0},
    {"json", 'J', NULL, 0, "Write a line of JSON a row", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->csv = true;
        return 0;
    case 'J':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->run == NULL)
            arguments->run = text;
        else if (arguments->sql == NULL)
            arguments->sql = text;
        else
            argp_error(state, "\"%s\" is too much: put the query in quotes", text);
        return 0;
    case ARGP_KEY_END:
        if (arguments->sql == NULL)
            argp_error(state, "a run and a query are needed: mayfly sql last \"SELECT ...\"");
        if (arguments->csv && arguments->json)
            argp_error(state, "--csv and --json exclude each other");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static struct mf_bytes column_bytes(sqlite3_stmt *stmt, int column)
{
    const void *data = sqlite3_column_blob(stmt, column);
    return mf_bytes_of(data, (size_t)sqlite3_column_bytes(stmt, column));
}

/* The rest of a row's work depends on how it is printed. */
struct printer {
    sqlite3_stmt *stmt;
    int columns;
    struct table *table; /* NULL for CSV and JSON */
    bool json;
};

static bool needs_quotes(unsigned char c)
{
    return c == ',' || c == '"' || c == '\r' || c == '\n';
}

static void print_field(struct mf_bytes bytes)
{
    bool is_quoted = false;
    for (size_t i = 0; i < bytes.length; i++)
        is_quoted |= needs_quotes(bytes.data[i]);
    if (!is_quoted) {
        if (bytes.length > 0)
            fwrite(bytes.data, 1, bytes.length, stdout);
        return;
    }
    putchar('"');
    for (size_t i = 0; i < bytes.length; i++) {
        if (bytes.data[i] == '"')
            putchar('"');
        putchar(bytes.data[i]);
    }
    putchar('"');
}

static void print_csv(const struct printer *printer, bool header)
{
    for (int i = 0; i < printer->columns; i++) {
        if (i > 0)
            putchar(',');
        print_field(header ? mf_bytes_text(sqlite3_column_name(printer->stmt, i))
                           : column_bytes(printer->stmt, i));
    }
    putchar('\n');
}

static int set_value(json_t *row, const char *name, sqlite3_stmt *stmt, int column)
{
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER:
        return json_object_set_new(row, name, json_integer(sqlite3_column_int64(stmt, column)));
    case SQLITE_FLOAT: {
        json_t *real = json_real(sqlite3_column_double(stmt, column)); /* NULL when infinite */
        return json_object_set_new(row, name, real == NULL ? json_null() : real);
    }
    case SQLITE_NULL:
        return json_object_set_new(row, name, json_null());
    default:
        return text_json_bytes(row, name, column_bytes(stmt, column));
    }
}

static int print_json(const struct printer *printer, struct mf_error *error)
{
    json_t *row = json_object();
    int rc = 0;
    for (int i = 0; i < printer->columns; i++)
        rc |= set_value(row, sqlite3_column_name(printer->stmt, i), printer->stmt, i);
    if (rc == 0)
        return text_json_print(row, 0, error);
    json_decref(row);
    return mf_raise(error, MF_ENOMEM, "out of memory: a row of the answer");
}

static int print_cells(const struct printer *printer, struct mf_error *error)
{
    for (int i = 0; i < printer->columns; i++) {
        int type = sqlite3_column_type(printer->stmt, i);
        bool is_number = type == SQLITE_INTEGER || type == SQLITE_FLOAT;
        if (table_cell(printer->table, column_bytes(printer->stmt, i), is_number, error) < 0)
            return -1;
    }
    return 0;
}

static int print_row(const struct printer *printer, struct mf_error *error)
{
    if (printer->table != NULL)
        return print_cells(printer, error);
    if (printer->json)
        return print_json(printer, error);
    print_csv(printer, false);
    return 0;
}

static struct table *make_table(sqlite3_stmt *stmt, int columns, struct mf_error *error)
{
    const char **titles = mf_calloc((size_t)columns, sizeof *titles);
    struct table *table = NULL;
    if (titles == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a table");
        return NULL;
    }
    for (int i = 0; i < columns; i++)
        titles[i] = sqlite3_column_name(stmt, i);
    table = table_create((size_t)columns, titles, error);
    mf_free(titles);
    return table;
}

/* The reader asked in SQL and is answered in SQLite's own words, unless it is the file that is
 * wrong. */
static int raise_sql(sqlite3 *db, struct mf_error *error)
{
    int code = sqlite3_errcode(db) & 0xff;
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_IOERR)
        return sql_raise(db, sqlite3_db_filename(db, "main"), error);
    return mf_raise(error, MF_EUSAGE, "%s", sqlite3_errmsg(db));
}

static int print_rows(sqlite3 *db,
                      sqlite3_stmt *stmt,
                      const struct arguments *arguments,
                      struct mf_error *error)
{
    struct printer printer = {
        .stmt = stmt, .columns = sqlite3_column_count(stmt), .json = arguments->json};
    int rc = SQLITE_ROW, result = 0;
    bool is_table = !arguments->csv && !arguments->json && printer.columns > 0;
    if (is_table && (printer.table = make_table(stmt, printer.columns, error)) == NULL)
        return -1;
    if (arguments->csv && printer.columns > 0)
        print_csv(&printer, true);
    while (result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        result = print_row(&printer, error);
    if (result == 0 && printer.table != NULL)
        result = table_end(printer.table, error);
    if (result == 0 && rc != SQLITE_DONE)
        result = raise_sql(db, error);
    table_destroy(printer.table);
    return result;
}

/* Each statement of the text in turn. */
static int run_text(sqlite3 *db, const struct arguments *arguments, struct mf_error *error)
{
    for (const char *rest = arguments->sql; *rest != '\0';) {
        sqlite3_stmt *stmt = NULL;
        if (sqlite3_prepare_v2(db, rest, -1, &stmt, &rest) != SQLITE_OK)
            return raise_sql(db, error);
        if (stmt == NULL)
            continue; /* a comment, or only space */
        int rc = print_rows(db, stmt, arguments, error);
        sqlite3_finalize(stmt);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int query(const char *folder, const struct arguments *arguments, struct mf_error *error)
{
    char *path = run_path(folder, "run.db");
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    sqlite3 *db = run_db_open(path, error);
    int rc = db == NULL ? -1 : sql_exec(db, path, "PRAGMA query_only = ON", error);
    if (rc == 0)
        rc = run_text(db, arguments, error);
    run_db_close(db);
    mf_free(path);
    return rc;
}

static int sql_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    char run_id[RUN_ID_SIZE];
    struct mf_error error;
    command_parse(&command_sql,
                  options,
                  parse,
                  "Ask a run's results table in SQL, also while the run is live; nothing can be "
                  "changed.\v"
                  "Tables: run, attempt, worker, event; views: subtask, result "
                  "(docs/results-table.md). For example:\n"
                  "  mayfly sql last \"SELECT state, count(*) FROM subtask GROUP BY state\"",
                  argc,
                  argv,
                  &arguments);
    char *folder = run_folder_find(arguments.run, run_id, &error);
    if (folder == NULL)
        return command_fail(&error);
    text_begin();
    int code = query(folder, &arguments, &error) < 0 ? command_fail(&error) : 0;
    mf_free(folder);
    return text_end(code);
}

const struct command command_sql = {.name = "sql",
                                    .arguments = "RUN QUERY",
                                    .summary = "ask a run's results table in SQL",
                                    .main = sql_main};
