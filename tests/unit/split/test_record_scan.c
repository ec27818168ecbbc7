/* SPDX-License-Identifier: Apache-2.0 */
/* The record scanner against a plain reading, over many small inputs; and its speed-ups change
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/split/record_check.h"

/* All texts of up to `length` bytes over `alphabet`. */
static void check_all(enum scan_kind kind, const char *alphabet, size_t length)
{
    unsigned char text[16];
    size_t letters = strlen(alphabet), total = 1;
    for (size_t n = 0; n <= length; n++, total *= letters) {
        for (size_t i = 0; i < total; i++) {
            size_t rest = i;
            for (size_t k = 0; k < n; k++, rest /= letters)
                text[k] = (unsigned char)alphabet[rest % letters];
            record_check(kind, 1, 0, text, n);
            record_check(kind, 2, 0, text, n);
            record_check(kind, 0, 1, text, n);
            record_check(kind, 0, 5, text, n);
        }
    }
}

static void all_short_texts_of_lines(void **state)
{
    (void)state;
    check_all(SCAN_LINE, "a\r\n", 7);
}

static void all_short_texts_of_paragraphs(void **state)
{
    (void)state;
    check_all(SCAN_PARAGRAPH, "a\r\n", 8);
}

static void all_short_texts_of_csv(void **state)
{
    (void)state;
    check_all(SCAN_CSV, "a\",\n", 7);
    check_all(SCAN_TSV, "\t\"\r\n", 6);
}

static void random_longer_texts(void **state)
{
    (void)state;
    static const char alphabet[] = "ab\"\"\n\n\n\r,,\t\xef\xbb\xbf";
    unsigned char text[200];
    uint32_t seed = 1;
    for (int i = 0; i < 3000; i++) {
        size_t n = 0;
        do {
            seed = seed * 1664525u + 1013904223u;
            text[n++] = (unsigned char)alphabet[(seed >> 16) % (sizeof alphabet - 1)];
        } while (n < sizeof text && (seed >> 24) != 0);
        for (int kind = SCAN_LINE; kind <= SCAN_TSV; kind++) {
            record_check((enum scan_kind)kind, 3, 0, text, n);
            record_check((enum scan_kind)kind, 0, 20, text, n);
        }
    }
}

static void what_is_wrong_with_csv(void **state)
{
    (void)state;
    static const char ragged[] = "a,b\n\"x\n\",1\n\n1\n";
    struct record_scan scan;
    size_t used;
    record_scan_init(&scan, SCAN_CSV, 100, 0);
    assert_int_equal(record_scan_step(&scan, (const unsigned char *)ragged, 4, &used), SCAN_HEADER);
    assert_int_equal(used, 4);
    assert_int_equal(
        record_scan_step(&scan, (const unsigned char *)ragged + 4, sizeof ragged - 5, &used),
        SCAN_RAGGED);
    assert_int_equal(scan.line, 5);
    assert_int_equal(scan.columns, 1);
    assert_int_equal(scan.header_columns, 2);
    record_scan_init(&scan, SCAN_CSV, 100, 0);
    assert_int_equal(record_scan_step(&scan, (const unsigned char *)"a\n\"b\n", 2, &used),
                     SCAN_HEADER);
    assert_int_equal(record_scan_step(&scan, (const unsigned char *)"\"b\n", 3, &used), SCAN_MORE);
    assert_int_equal(record_scan_end(&scan), SCAN_OPEN);
    assert_int_equal(scan.line, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_short_texts_of_lines),
        cmocka_unit_test(all_short_texts_of_paragraphs),
        cmocka_unit_test(all_short_texts_of_csv),
        cmocka_unit_test(random_longer_texts),
        cmocka_unit_test(what_is_wrong_with_csv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
