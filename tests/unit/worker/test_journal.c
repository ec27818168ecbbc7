/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: its lines, its checksums, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/checksum.h"
#include "stand.h"
#include "worker/journal.h"

static char journal[16][256];

/* The journal's lines without their stamps; how many there are. */
static unsigned read_journal(const struct stand *stand)
{
    char path[256], line[256];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/run-7.journal", stand->root);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        char *at = strchr(line, ' ');
        assert_true(count < 16);
        assert_non_null(at);
        *at++ = '\0';
        long long mono = strtoll(at, &at, 10), wall = strtoll(at, &at, 10);
        assert_true(mono > 0 && wall > mono);
        at[strcspn(at, "\n")] = '\0';
        snprintf(journal[count++], sizeof journal[0], "%.20s%.200s", line, at);
    }
    fclose(file);
    return count;
}

static void start_journal(const struct stand *stand)
{
    struct mf_error error;
    assert_int_equal(journal_open(stand->root, "run", 7, &error), 0);
}

static void an_attempt_is_told_from_start_to_end(void **state)
{
    struct stand *stand = *state;
    char end[256];
    start_journal(stand);
    journal_joined(4);
    stand_run(stand, "echo hello");
    assert_int_equal(read_journal(stand), 3);
    assert_string_equal(journal[0], "joined 4");
    assert_string_equal(journal[1], "start 1 1 1");
    snprintf(end,
             sizeof end,
             "end 1 1 1 0 0 0 6 %08x 0 00000000",
             (unsigned)mf_crc32(mf_bytes_text("hello\n")));
    assert_string_equal(journal[2], end);
    const struct mf_result result = {.subtask = 1, .attempt = 2, .epoch = 3};
    journal_acknowledged(&result, 1, 4);
    journal_crash("worker.after-end");
    assert_int_equal(read_journal(stand), 5);
    assert_string_equal(journal[3], "acknowledged 1 2 3 4");
    assert_string_equal(journal[4], "crash worker.after-end");
}

static void a_failure_has_no_checksums(void **state)
{
    struct stand *stand = *state;
    start_journal(stand);
    stand_run(stand, "echo hello; exit 3");
    assert_int_equal(read_journal(stand), 2);
    assert_string_equal(journal[1], "end 1 1 1 1 3 0 0 00000000 0 00000000");
}

static void files_have_checksums(void **state)
{
    struct stand *stand = *state;
    static unsigned char zeros[100000];
    char end[256];
    start_journal(stand);
    stand->outputs[0] = "*.txt";
    stand->task.output_count = 1;
    stand_run(stand, "printf B >b.txt; printf A >a.txt; head -c 100000 /dev/zero");
    assert_int_equal(read_journal(stand), 2);
    snprintf(end,
             sizeof end,
             "end 1 1 1 0 0 0 100000 %08x 2 %08x",
             (unsigned)mf_crc32(mf_bytes_of(zeros, sizeof zeros)),
             (unsigned)mf_crc32(mf_bytes_of("a.txt\0Ab.txt\0B", 14)));
    assert_string_equal(journal[1], end);
}

static void what_cannot_be_kept_is_refused(void **state)
{
    struct stand *stand = *state;
    struct mf_error error;
    char missing[128];
    assert_int_equal(journal_open(NULL, "run", 7, &error), 0);
    assert_int_equal(journal_open("here", "run", 7, &error), -1);
    assert_non_null(strstr(error.text, "MAYFLY_JOURNAL=here is not an absolute path"));
    snprintf(missing, sizeof missing, "%s/missing", stand->root);
    assert_int_equal(journal_open(missing, "run", 7, &error), -1);
    assert_non_null(strstr(error.text, "missing/run-7.journal (MAYFLY_JOURNAL)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            an_attempt_is_told_from_start_to_end, stand_setup, stand_teardown),
        cmocka_unit_test_setup_teardown(a_failure_has_no_checksums, stand_setup, stand_teardown),
        cmocka_unit_test_setup_teardown(files_have_checksums, stand_setup, stand_teardown),
        cmocka_unit_test_setup_teardown(
            what_cannot_be_kept_is_refused, stand_setup, stand_teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
