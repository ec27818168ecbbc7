/* SPDX-License-Identifier: Apache-2.0 */
/* firing.json: what is written is read, and said in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/firing_note.h"
#include "master/record/tree.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/mayfly-note-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return tree_remove(folder, NULL);
}

/* What a note that is made of these is in words, once it was written and read. */
static void expect_text(struct firing_note note, const char *text)
{
    struct mf_error error = {0};
    struct firing_note read;
    char said[400];
    assert_int_equal(firing_note_write(folder, &note, &error), 0);
    assert_int_equal(firing_note_read(folder, &read, &error), 1);
    assert_true(read.messages == note.messages && read.due_us == note.due_us);
    if (note.event != NULL)
        assert_string_equal(read.event, note.event);
    else
        assert_null(read.event);
    json_t *json = firing_note_json_of(folder);
    assert_string_equal(firing_note_text(json, said, sizeof said), text);
    json_decref(json);
    firing_note_fini(&read);
}

static void what_is_written_is_said(void **state)
{
    (void)state;
    char pages[] = "pages", count[] = "count", documents[] = "documents", hand[] = "hand",
         after[] = "after", event[] = "{\"run_id\": \"x\"}", cron[] = "cron";
    expect_text(
        (struct firing_note){.trigger = pages, .cause = count, .queue = documents, .messages = 100},
        "trigger pages (count), queue documents, 100 messages");
    expect_text((struct firing_note){.cause = hand, .queue = documents, .messages = 1},
                "by hand, queue documents, 1 message");
    expect_text((struct firing_note){.trigger = pages, .cause = after, .event = event},
                "trigger pages (after)");
    expect_text((struct firing_note){.trigger = pages, .cause = cron, .due_us = 5},
                "trigger pages (cron)");
}

static void what_is_not_there_or_damaged_is_told_apart(void **state)
{
    (void)state;
    struct mf_error error = {0};
    struct firing_note note;
    char path[96];
    assert_int_equal(firing_note_read(folder, &note, &error), 0);
    json_t *json = firing_note_json_of(folder);
    assert_true(json_is_null(json));
    json_decref(json);
    snprintf(path, sizeof path, "%s/firing.json", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs("{\"trigger\": ", file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(firing_note_read(folder, &note, &error), -1);
    assert_int_equal(error.code, MF_EINPUT);
    assert_non_null(strstr(error.text, path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_said, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(
            what_is_not_there_or_damaged_is_told_apart, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
