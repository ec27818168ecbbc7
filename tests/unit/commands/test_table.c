/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned tables: what stands on standard output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/commands/table.h"

/* What was printed to standard output since capture_begin. */
struct capture {
    FILE *file;
    int kept;
    char *text;
};

static void capture_begin(struct capture *capture)
{
    fflush(stdout);
    capture->file = tmpfile();
    assert_non_null(capture->file);
    capture->kept = dup(1);
    assert_true(capture->kept >= 0);
    assert_int_equal(dup2(fileno(capture->file), 1), 1);
}

static const char *capture_end(struct capture *capture)
{
    fflush(stdout);
    dup2(capture->kept, 1);
    close(capture->kept);
    fseek(capture->file, 0, SEEK_END);
    long size = ftell(capture->file);
    rewind(capture->file);
    capture->text = mf_calloc(1, (size_t)size + 1);
    assert_non_null(capture->text);
    assert_int_equal(fread(capture->text, 1, (size_t)size, capture->file), size);
    fclose(capture->file);
    return capture->text;
}

static void test_columns_are_aligned(void **state)
{
    static const char *const titles[] = {"NAME", "N", "LAST"};
    struct capture capture;
    (void)state;
    capture_begin(&capture);
    struct table *table = table_create(3, titles, NULL);
    assert_non_null(table);
    assert_int_equal(table_text(table, "b\xc3\xa4r", NULL), 0);
    assert_int_equal(table_number(table, 1234, NULL), 0);
    assert_int_equal(table_text(table, "x\ny", NULL), 0);
    assert_int_equal(table_text(table, "longer", NULL), 0);
    assert_int_equal(table_number(table, 7, NULL), 0);
    assert_int_equal(table_text(table, "", NULL), 0);
    assert_int_equal(table_end(table, NULL), 0);
    assert_string_equal(capture_end(&capture),
                        "NAME    N     LAST\n"
                        "b\xc3\xa4r     1234  x\\ny\n"
                        "longer     7  \n");
    table_destroy(table);
    mf_free(capture.text);
}

/* The widths are those of the rows that were kept; later ones follow at once, in order. */
static void test_many_rows_stream(void **state)
{
    static const char *const titles[] = {"N"};
    struct capture capture;
    (void)state;
    capture_begin(&capture);
    struct table *table = table_create(1, titles, NULL);
    for (uint64_t i = 1; i <= 3000; i++)
        assert_int_equal(table_number(table, i, NULL), 0);
    assert_int_equal(table_end(table, NULL), 0);
    const char *text = capture_end(&capture);
    assert_non_null(strstr(text, "\n  1\n"));
    assert_non_null(strstr(text, "\n999\n1000\n1001\n"));
    assert_string_equal(text + strlen(text) - 5, "3000\n");
    table_destroy(table);
    mf_free(capture.text);
}

static void test_half_a_row_is_an_error(void **state)
{
    static const char *const titles[] = {"A", "B"};
    struct mf_error error;
    (void)state;
    struct table *table = table_create(2, titles, &error);
    assert_int_equal(table_text(table, "x", &error), 0);
    assert_int_equal(table_end(table, &error), -1);
    assert_int_equal(error.code, MF_ESYSTEM);
    table_destroy(table);
}

/* Each allocation fails once; nothing is leaked. */
static void test_exhausted_memory(void **state)
{
    static const char *const titles[] = {"A", "B"};
    struct mf_error error;
    (void)state;
    for (unsigned long n = 1; n <= 4; n++) {
        mf_alloc_fail_at(n);
        struct table *table = table_create(2, titles, &error);
        mf_alloc_fail_at(0);
        assert_null(table);
        assert_int_equal(error.code, MF_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_are_aligned),
        cmocka_unit_test(test_many_rows_stream),
        cmocka_unit_test(test_half_a_row_is_an_error),
        cmocka_unit_test(test_exhausted_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
