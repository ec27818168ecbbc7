/* SPDX-License-Identifier: Apache-2.0 */
/* Converting values: see value.h. Nothing is guessed: digits, a sign, a point and an exponent are a
 * number, all else is not. */
#include "master/gather/value.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 400

/* Copies a value made only of the characters of a number, so that strtoll and strtod can end it. */
static bool copy_number(struct mf_bytes text, const char *allowed, char *out)
{
    if (text.length >= NUMBER_MAX)
        return false;
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] == 0 || strchr(allowed, text.data[i]) == NULL)
            return false;
    memcpy(out, text.data, text.length);
    out[text.length] = '\0';
    return true;
}

static bool parse_integer(struct mf_bytes text, int64_t *value)
{
    char copy[NUMBER_MAX], *end;
    if (!copy_number(text, "+-0123456789", copy))
        return false;
    errno = 0;
    *value = strtoll(copy, &end, 10);
    return errno == 0 && end != copy && *end == '\0';
}

static bool parse_real(struct mf_bytes text, double *value)
{
    char copy[NUMBER_MAX], *end;
    if (!copy_number(text, "+-.eE0123456789", copy))
        return false;
    *value = strtod(copy, &end);
    return end != copy && *end == '\0' && isfinite(*value);
}

static void bind_bytes(sqlite3_stmt *stmt, int index, struct mf_bytes text)
{
    sqlite3_bind_text64(stmt,
                        index,
                        text.data != NULL ? (const char *)text.data : "",
                        text.length,
                        SQLITE_STATIC,
                        SQLITE_UTF8);
}

bool value_bind_text(sqlite3_stmt *stmt, int index, int type, struct mf_bytes text)
{
    int64_t integer;
    double real;
    if (type != COLUMN_INTEGER && type != COLUMN_REAL) {
        bind_bytes(stmt, index, text);
        return true;
    }
    if (text.length == 0)
        return sqlite3_bind_null(stmt, index) == SQLITE_OK;
    if (type == COLUMN_INTEGER)
        return parse_integer(text, &integer) &&
               sqlite3_bind_int64(stmt, index, integer) == SQLITE_OK;
    return parse_real(text, &real) && sqlite3_bind_double(stmt, index, real) == SQLITE_OK;
}

/* A value that SQLite has no type for, or that goes into a text column, as its JSON text. */
static bool bind_dump(sqlite3_stmt *stmt, int index, json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (text == NULL)
        return false;
    return sqlite3_bind_text(stmt, index, text, -1, free) == SQLITE_OK;
}

bool value_bind_json(sqlite3_stmt *stmt, int index, int type, json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
        return sqlite3_bind_null(stmt, index) == SQLITE_OK;
    case JSON_STRING: {
        struct mf_bytes text = mf_bytes_of(json_string_value(value), json_string_length(value));
        return value_bind_text(stmt, index, type, text);
    }
    case JSON_TRUE:
    case JSON_FALSE:
        if (type == COLUMN_TEXT)
            return bind_dump(stmt, index, value);
        return type != COLUMN_REAL &&
               sqlite3_bind_int(stmt, index, json_is_true(value)) == SQLITE_OK;
    case JSON_INTEGER:
        if (type == COLUMN_TEXT)
            return bind_dump(stmt, index, value);
        if (type == COLUMN_REAL)
            return sqlite3_bind_double(stmt, index, (double)json_integer_value(value)) == SQLITE_OK;
        return sqlite3_bind_int64(stmt, index, json_integer_value(value)) == SQLITE_OK;
    case JSON_REAL:
        if (type == COLUMN_TEXT)
            return bind_dump(stmt, index, value);
        return type != COLUMN_INTEGER &&
               sqlite3_bind_double(stmt, index, json_real_value(value)) == SQLITE_OK;
    case JSON_ARRAY:
    case JSON_OBJECT:
        return (type == COLUMN_TEXT || type == VALUE_ANY) && bind_dump(stmt, index, value);
    }
    return false;
}

const char *value_type_name(int type)
{
    if (type == COLUMN_INTEGER)
        return "an integer";
    return type == COLUMN_REAL ? "a number" : "text";
}

const char *value_show(struct mf_bytes value, char *out)
{
    size_t to = 0, shown = value.length > 60 ? 60 : value.length;
    for (size_t i = 0; i < shown; i++) {
        unsigned char byte = value.data[i];
        if (byte >= 0x20 && byte != 0x7f)
            out[to++] = (char)byte;
        else
            to += (size_t)snprintf(out + to, 5, "\\x%02x", byte);
    }
    snprintf(out + to, 4, "%s", shown < value.length ? "..." : "");
    return out;
}
