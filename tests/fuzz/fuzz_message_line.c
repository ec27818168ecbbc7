/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what is pushed by --jsonl: they are refused with a sentence, or they are messages.
 * What jansson takes for JSON is taken, and what is taken is what jansson takes, but for numbers
 * that it finds too large, escapes that mean no character, and depth.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "master/commands/json_scan.h"
#include "master/commands/queue_input.h"

static void check_that(bool holds)
{
    if (!holds)
        abort();
}

static void check_against_jansson(struct mf_bytes text)
{
    json_error_t trouble;
    struct mf_error error = {0};
    int taken = json_scan(text, NULL, NULL, &error);
    json_t *value = json_loadb((const char *)text.data,
                               text.length,
                               JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL,
                               &trouble);
    enum json_error_code why = value == NULL ? json_error_code(&trouble) : json_error_unknown;
    if (value != NULL)
        check_that(taken == json_is_object(value) || strstr(error.text, "in each other") != NULL);
    else if (taken >= 0)
        check_that(why == json_error_numeric_overflow || why == json_error_invalid_syntax ||
                   why == json_error_stack_overflow);
    check_that(taken >= 0 || (error.code == MF_EUSAGE && error.text[0] != '\0'));
    json_decref(value);
}

static void check_message(struct mf_bytes text)
{
    struct message_line line = {0};
    struct mf_error error = {0};
    if (message_line_read(&line, text, &error) == 0) {
        check_that(json_scan(text, NULL, NULL, NULL) >= 0);
        check_that(line.body.length <= text.length);
        check_that(line.key == NULL || strlen(line.key) <= text.length);
        check_that(line.group == NULL || strlen(line.group) <= text.length);
    } else {
        check_that(error.code == MF_EUSAGE && error.text[0] != '\0');
    }
    message_line_fini(&line);
}

/* Items of each form do not overlap and are in the text. */
static void check_items(struct mf_bytes text, enum queue_input_form form)
{
    struct queue_input input = {.fd = -1, .form = form, .is_ended = true};
    struct queue_input_item item;
    struct mf_error error = {0};
    size_t length = 0, items = 0;
    int rc;
    if (mf_buffer_append(&input.read, text.data, text.length, NULL) < 0)
        return;
    while ((rc = queue_input_next(&input, &item, &error)) == 1) {
        length += item.body.length;
        check_that(item.number > items && item.number == input.items);
        items = item.number;
    }
    check_that(length <= text.length);
    check_that(rc == 0 || form == QUEUE_INPUT_JSONL);
    queue_input_fini(&input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy of its very size, so that a byte read too many is seen. */
    unsigned char *copy = malloc(size == 0 ? 1 : size);
    check_that(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    struct mf_bytes text = mf_bytes_of(copy, size);
    if (size > 0 && memchr(copy, 0, size) == NULL) /* jansson takes a NUL for the end */
        check_against_jansson(text);
    check_message(text);
    check_items(text, QUEUE_INPUT_LINES);
    check_items(text, QUEUE_INPUT_NUL);
    check_items(text, QUEUE_INPUT_JSONL);
    free(copy);
    return 0;
}
