/* SPDX-License-Identifier: Apache-2.0 */
/* Gathering a small run in a test. */
#ifndef MAYFLY_TESTS_GATHER_FIXTURE_H
#define MAYFLY_TESTS_GATHER_FIXTURE_H

#include "tests/unit/record/run_fixture.h"

#include "master/gather/gather.h"

struct gather_test {
    struct run_fixture run;
    struct job job;
    struct mf_error error;
    uint64_t bytes;
    char *text; /* of the result, NUL behind it; NULL when there is none */
};

static inline int gather_setup(void **state)
{
    struct gather_test *test = calloc(1, sizeof *test);
    test->job.output.format = OUTPUT_TEXT;
    fixture_folder(&test->run);
    fixture_open(&test->run);
    *state = test;
    return 0;
}

static inline int gather_teardown(void **state)
{
    struct gather_test *test = *state;
    fixture_close(&test->run);
    fixture_remove(test->run.folder);
    free(test->text);
    free(test);
    return 0;
}

/* Results of subtasks 1, 2, ... up to a NULL. */
static inline void gather_results(struct gather_test *test, const char *const *texts)
{
    for (uint64_t i = 0; texts[i] != NULL; i++)
        fixture_result(&test->run, i + 1, texts[i]);
}

/* A result that is a file. */
static inline void
gather_file(struct gather_test *test, uint64_t subtask, const char *text, size_t length)
{
    char path[4096], folder[4096];
    struct record_row row = fixture_row(subtask, 1, RECORD_DONE);
    row.result_bytes = length;
    assert_int_equal(fixture_record(&test->run, &row, 1), 0);
    snprintf(folder, sizeof folder, "%s/outputs", test->run.folder);
    mkdir(folder, 0700);
    snprintf(folder, sizeof folder, "%s/outputs/%d", test->run.folder, (int)(subtask / 1000));
    mkdir(folder, 0700);
    gather_result_path(test->run.folder, subtask, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

/* The kept text of `result`, or NULL. */
static inline const char *gather_read(struct gather_test *test)
{
    char path[4096];
    free(test->text);
    test->text = NULL;
    snprintf(path, sizeof path, "%s/result", test->run.folder);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return NULL;
    struct stat facts;
    assert_int_equal(fstat(fileno(file), &facts), 0);
    test->text = calloc(1, (size_t)facts.st_size + 1);
    assert_int_equal(fread(test->text, 1, (size_t)facts.st_size, file), facts.st_size);
    fclose(file);
    return test->text;
}

static inline void expect_result(struct gather_test *test, enum gather_kind kind, const char *text)
{
    test->job.gather = kind;
    if (gather_run(&test->job, test->run.folder, &test->bytes, NULL, &test->error) < 0)
        fail_msg("%s", test->error.text);
    assert_string_equal(gather_read(test), text);
    assert_int_equal(test->bytes, strlen(text));
}

/* Fails with that code, says all of `parts` (up to a NULL), and leaves nothing behind. */
static inline void
expect_failure(struct gather_test *test, enum gather_kind kind, int code, const char *const *parts)
{
    char path[4096];
    test->job.gather = kind;
    assert_int_equal(gather_run(&test->job, test->run.folder, &test->bytes, NULL, &test->error),
                     -1);
    assert_int_equal(test->error.code, code);
    for (; *parts != NULL; parts++)
        if (strstr(test->error.text, *parts) == NULL)
            fail_msg("'%s' is not in '%s'", *parts, test->error.text);
    assert_null(gather_read(test));
    static const char *const temporaries[] = {"result.tmp", "gather.db"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", test->run.folder, temporaries[i]);
        assert_int_equal(access(path, F_OK), -1);
    }
}

#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif
