/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema is sound, and docs/job-file.md shows it. After a change of the schema, run this test
 * with MAYFLY_WRITE_DOCS=1 in the environment: it then writes the table into the document.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "master/job/job.h"
#include "master/job/schema.h"

#define DOCUMENT MAYFLY_SOURCE_DIR "/docs/job-file.md"
#define BEGIN "<!-- keys: made from the schema -->\n"
#define END "<!-- end of keys -->\n"

static void read_document(struct mf_buffer *text)
{
    FILE *file = fopen(DOCUMENT, "r");
    assert_non_null(file);
    for (int c; (c = fgetc(file)) != EOF;) {
        char byte = (char)c;
        assert_int_equal(mf_buffer_append(text, &byte, 1, NULL), 0);
    }
    fclose(file);
}

static void write_document(const char *text, const char *begin, const char *end, const char *table)
{
    FILE *file = fopen(DOCUMENT, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "%.*s%s%s", (int)(begin - text), text, table, end) > 0);
    assert_int_equal(fclose(file), 0);
}

static void the_document_shows_the_schema(void **state)
{
    (void)state;
    struct mf_buffer text = {0}, table = {0};
    read_document(&text);
    assert_int_equal(schema_document(&table, NULL), 0);
    const char *begin = strstr(mf_buffer_text(&text), BEGIN),
               *end = strstr(mf_buffer_text(&text), END);
    assert_non_null(begin);
    assert_non_null(end);
    begin += strlen(BEGIN);
    if (getenv("MAYFLY_WRITE_DOCS") != NULL)
        write_document(mf_buffer_text(&text), begin, end, mf_buffer_text(&table));
    else if (table.length != (size_t)(end - begin) || memcmp(table.data, begin, table.length) != 0)
        fail_msg(
            "docs/job-file.md differs from the schema: run this test with MAYFLY_WRITE_DOCS=1");
    mf_buffer_fini(&text);
    mf_buffer_fini(&table);
}

static void every_row_is_complete(void **state)
{
    (void)state;
    assert_in_range(schema_count(), 1, SCHEMA_MAX);
    for (size_t i = 0; i < schema_count(); i++) {
        const struct schema_key *row = schema_at(i);
        assert_ptr_equal(schema_row(row->path), row);
        assert_int_equal(schema_number(row), i);
        if ((row->types & SCHEMA_LATER) != 0)
            continue;
        assert_non_null(row->help);
        assert_non_null(row->example);
        const char *dot = strrchr(row->path, '.');
        if (dot != NULL) {
            char parent[64];
            snprintf(parent, sizeof parent, "%.*s", (int)(dot - row->path), row->path);
            assert_non_null(schema_row(parent));
            assert_true((schema_row(parent)->types & SCHEMA_MAP) != 0);
        }
    }
}

static void distances(void **state)
{
    (void)state;
    assert_int_equal(schema_distance("", ""), 0);
    assert_int_equal(schema_distance("abc", ""), 3);
    assert_int_equal(schema_distance("command", "comand"), 1);
    assert_int_equal(schema_distance("abcd", "abdc"), 1);
    assert_int_equal(schema_distance("kitten", "sitting"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document_shows_the_schema),
        cmocka_unit_test(every_row_is_complete),
        cmocka_unit_test(distances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
