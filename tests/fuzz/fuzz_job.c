/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a job file, with what stands before the first line "--set" as options. It is refused
 * with a sentence, or it is a job: then the copy for the run folder is a job too, with the same
 * name and the same copy again, and the shell line, if any, can be expanded; unless it asks for a
 * field, which only an item can say whether it has.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/placeholder.h"
#include "master/job/job.h"

static void check_that(bool holds)
{
    if (!holds)
        abort();
}

static void check_copy(const struct job *job)
{
    struct mf_buffer first = {0}, second = {0};
    struct mf_error error = {0};
    check_that(job_write(job, &first, &error) == 0);
    struct job *again = job_parse("again.yaml", "/folder", mf_buffer_view(&first), NULL, 0, &error);
    check_that(again != NULL);
    check_that(strcmp(again->name, job->name) == 0 && again->split.kind == job->split.kind);
    check_that(again->timeout_us == job->timeout_us && again->command.count == job->command.count);
    check_that(job_write(again, &second, &error) == 0);
    check_that(mf_bytes_equal(mf_buffer_view(&first), mf_buffer_view(&second)));
    job_destroy(again);
    mf_buffer_fini(&first);
    mf_buffer_fini(&second);
}

static void check_expansion(const struct job *job)
{
    struct mf_subtask subtask = {.item = mf_bytes_text("a'b $(c)"), .path = mf_bytes_text("-x y")};
    struct mf_buffer out = {0};
    struct mf_error error = {0};
    if (job->shell != NULL &&
        mf_placeholder_expand(job->shell, &subtask, MF_QUOTE_SHELL, &out, &error) < 0)
        check_that(error.code == MF_EINPUT && strstr(error.text, "has no field") != NULL);
    mf_buffer_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char mark[] = "--set ";
    struct mf_error error = {0};
    const uint8_t *end = size > sizeof mark && memcmp(data, mark, sizeof mark - 1) == 0
                             ? memchr(data, '\n', size)
                             : NULL;
    char *set = end == NULL
                    ? NULL
                    : mf_memdup(data + sizeof mark - 1, (size_t)(end - data) - (sizeof mark - 1));
    struct mf_bytes text = end == NULL ? mf_bytes_of(data, size)
                                       : mf_bytes_of(end + 1, size - (size_t)(end + 1 - data));
    const char *sets[] = {set};
    struct job *job = job_parse("fuzz.yaml", "/folder", text, sets, set == NULL ? 0 : 1, &error);
    if (job == NULL) {
        check_that(error.code == MF_EUSAGE && error.text[0] != '\0');
    } else {
        check_copy(job);
        check_expansion(job);
    }
    job_destroy(job);
    mf_free(set);
    return 0;
}
