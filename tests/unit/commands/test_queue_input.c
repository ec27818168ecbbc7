/* SPDX-License-Identifier: Apache-2.0 */
/* What is pushed from standard input: where items end, however they come, and lines of JSON as
 * messages. */
#include "master/commands/queue_input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* All items as "number:body[key,group]|", with the text written to a pipe in pieces of `step`. */
static void
read_all(enum queue_input_form form, struct mf_bytes text, size_t step, char *seen, size_t size)
{
    int fds[2];
    struct mf_error error;
    assert_int_equal(pipe(fds), 0);
    struct queue_input input = {.fd = fds[0], .form = form};
    struct queue_input_item item;
    size_t written = 0, at = 0;
    int rc = 1;
    seen[0] = '\0';
    while (rc == 1) {
        size_t piece = text.length - written < step ? text.length - written : step;
        if (piece > 0) {
            assert_false(queue_input_has_more(&input));
            assert_int_equal(write(fds[1], text.data + written, piece), piece);
            assert_true(queue_input_has_more(&input));
            written += piece;
        } else {
            close(fds[1]);
        }
        rc = queue_input_fill(&input, &error);
        assert_true(rc >= 0);
        while (queue_input_next(&input, &item, &error) == 1)
            at += (size_t)snprintf(seen + at,
                                   size - at,
                                   "%d:%.*s%s%s%s%s|",
                                   (int)item.number,
                                   (int)item.body.length,
                                   (const char *)item.body.data,
                                   item.key == NULL ? "" : "[",
                                   item.key == NULL ? "" : item.key,
                                   item.group == NULL ? "" : ",",
                                   item.group == NULL ? "" : item.group);
        if (piece == 0 && rc == 1)
            rc = queue_input_fill(&input, &error);
    }
    close(fds[0]);
    queue_input_fini(&input);
}

static void check(enum queue_input_form form, struct mf_bytes text, const char *wanted)
{
    char seen[512];
    for (size_t step = 1; step <= text.length; step++) {
        read_all(form, text, step, seen, sizeof seen);
        assert_string_equal(seen, wanted);
    }
}

static void test_lines(void **state)
{
    (void)state;
    check(QUEUE_INPUT_LINES, mf_bytes_text("one\n\n two \r\n\nthree"), "1:one|3: two \r|5:three|");
    check(QUEUE_INPUT_LINES, mf_bytes_text("\n\n"), "");
    check(QUEUE_INPUT_LINES, mf_bytes_text("a\n"), "1:a|");
}

static void test_items_up_to_a_nul(void **state)
{
    (void)state;
    check(QUEUE_INPUT_NUL, mf_bytes_of("a\nb\0\0c", 6), "1:a\nb|2:|3:c|");
    check(QUEUE_INPUT_NUL, mf_bytes_of("a\0", 2), "1:a|");
}

static void test_lines_of_json(void **state)
{
    (void)state;
    check(
        QUEUE_INPUT_JSONL,
        mf_bytes_text("{\"body\":\"b\\n\",\"key\":\"k\",\"group\":\"g\"}\n \r\n {\"x\": 1.10} \r\n"
                      "\"text\"\n{\"key\":\"k\"}"),
        "1:b\n[k,g|3:{\"x\": 1.10}|4:\"text\"|5:{\"key\":\"k\"}|");
}

static void test_nothing_at_all(void **state)
{
    (void)state;
    char seen[64];
    read_all(QUEUE_INPUT_LINES, mf_bytes_text(""), 1, seen, sizeof seen);
    assert_string_equal(seen, "");
    read_all(QUEUE_INPUT_NUL, mf_bytes_text(""), 1, seen, sizeof seen);
    assert_string_equal(seen, "");
}

static void test_an_endless_line_is_refused(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    struct mf_error error;
    struct queue_input_item item;
    assert_non_null(file);
    fputs("short\n", file);
    for (int i = 0; i < 9 * 1024; i++)
        fprintf(file, "%01024d", i);
    rewind(file);
    struct queue_input input = {.fd = fileno(file), .form = QUEUE_INPUT_LINES};
    assert_int_equal(queue_input_fill(&input, &error), 1);
    assert_int_equal(queue_input_next(&input, &item, &error), 1);
    int rc = 0;
    while (rc == 0 && queue_input_fill(&input, &error) == 1)
        rc = queue_input_next(&input, &item, &error);
    assert_int_equal(rc, -1);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_int_equal(input.items, 2);
    assert_true(input.read.capacity <= 2 * QUEUE_INPUT_ITEM_MAX);
    queue_input_fini(&input);
    fclose(file);
}

static void test_what_cannot_be_read_is_said(void **state)
{
    (void)state;
    struct mf_error error;
    struct queue_input input = {.fd = -1};
    assert_int_equal(queue_input_fill(&input, &error), -1);
    assert_non_null(strstr(error.text, "cannot read what is to be pushed"));
    queue_input_fini(&input);
}

/* The body that a line comes to, or what is wrong with it. */
static struct message_line line;
static const char *body_of(const char *text)
{
    static char body[sizeof((struct mf_error *)0)->text];
    struct mf_error error;
    if (message_line_read(&line, mf_bytes_text(text), &error) < 0) {
        assert_int_equal(error.code, MF_EUSAGE);
        snprintf(body, sizeof body, "%s", error.text);
    } else {
        snprintf(body, sizeof body, "%.*s", (int)line.body.length, (const char *)line.body.data);
    }
    return body;
}

static void test_an_object_with_a_body_is_a_message(void **state)
{
    (void)state;
    assert_string_equal(body_of("{\"body\":\"\\u00e9\"}"), "\xc3\xa9");
    assert_null(line.key);
    assert_string_equal(body_of("{\"group\":\"g\",\"body\":{\"a\": 1e2},\"key\":null}"),
                        "{\"a\": 1e2}");
    assert_string_equal(line.group, "g");
    assert_null(line.key);
    assert_string_equal(body_of("{\"body\":null}"), "null");
    assert_string_equal(body_of("{\"body\":\"b\",\"key\":\"\"}"), "b");
    assert_string_equal(line.key, "");
    assert_string_equal(body_of("{\"body\":\"\"}"), "");
    assert_string_equal(body_of("{\"body_base64\":\"aGFs\\/w==\"}"), "hal\xff");
    assert_string_equal(body_of("{\"body_base64\":\"\"}"), "");
    /* As peek --json writes it. */
    assert_string_equal(
        body_of("{\"id\":1,\"state\":\"dead\",\"arrived\":\"x\",\"claims\":0,\"failures\":0,"
                "\"key\":\"k\",\"group\":null,\"run_id\":null,\"cause\":null,\"body\":\"b\"}"),
        "b");
    assert_string_equal(line.key, "k");
    assert_string_equal(body_of("[{\"body\":1}]"), "[{\"body\":1}]");
    assert_null(line.key);
    message_line_fini(&line);
}

static void test_a_doubtful_line_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } wrong[] = {{"{\"body\":\"b\",\"subject\":1}", "has no \"subject\""},
                 {"{\"body\":\"b\",\"body_base64\":\"b\"}", "exclude each other"},
                 {"{\"body\":\"b\",\"key\":7}", "\"key\" is not a string"},
                 {"{\"body\":\"b\",\"group\":[\"g\"]}", "\"group\" is not a string"},
                 {"{\"body\":\"b\",\"key\":\"a\\u0000b\"}", "\"key\" has a NUL"},
                 {"{\"body\":\"\\ud800\"}", "\"body\" is not a string: "},
                 {"{\"body_base64\":\"a\"}", "not base64"},
                 {"{\"body_base64\":17}", "not a string"},
                 {"{\"body\":\"b\"", "not JSON"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (strstr(body_of(wrong[i].text), wrong[i].says) == NULL)
            fail_msg("%s: %s", wrong[i].text, body_of(wrong[i].text));
    message_line_fini(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_items_up_to_a_nul),
        cmocka_unit_test(test_lines_of_json),
        cmocka_unit_test(test_nothing_at_all),
        cmocka_unit_test(test_an_endless_line_is_refused),
        cmocka_unit_test(test_what_cannot_be_read_is_said),
        cmocka_unit_test(test_an_object_with_a_body_is_a_message),
        cmocka_unit_test(test_a_doubtful_line_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
