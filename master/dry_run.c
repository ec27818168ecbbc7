/* SPDX-License-Identifier: Apache-2.0 */
/* Printing a plan: see dry_run.h. Bytes that are not printable are shown as \xNN, so that a line
 * stays a line. */
#include "master/dry_run.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/message.h"
#include "master/notify/notify.h"
#include "master/secret_sources.h"
#include "master/split/split.h"

static void print_bytes(struct mf_bytes bytes)
{
    for (size_t i = 0; i < bytes.length; i++) {
        unsigned char c = bytes.data[i];
        if (c < 0x20 || c == 0x7f || c == '\\')
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

static void print_piece(const struct mf_subtask *piece)
{
    printf("%" PRIu64 "\t", piece->id);
    if (piece->has_number)
        printf("%" PRId64, piece->number);
    else
        print_bytes(piece->path.length > 0 ? piece->path : piece->item);
    if (piece->length > 0)
        printf("\t%" PRIu64 "+%" PRIu64, piece->offset, piece->length);
    putchar('\n');
}

/* No run fails because of them, so neither does this. */
static void warn_of_subscribers(const struct job *job)
{
    struct mf_error error;
    for (size_t i = 0; i < job->notify_count; i++)
        if (notify_check(job, &job->notify[i], &error) < 0)
            fprintf(stderr, "mayfly: warning: %s\n", error.text);
}

int dry_run(const struct job *job)
{
    struct mf_error error;
    struct mf_subtask piece;
    struct split *split = NULL;
    uint64_t count = 0;
    int rc = secret_sources_check(job, &error) < 0 ? -1 : 1;
    if (rc > 0 && (split = split_create(job, NULL, &error)) == NULL)
        rc = -1;
    while (rc > 0 && (rc = split_next(split, &piece, &error)) > 0) {
        print_piece(&piece);
        count++;
    }
    split_destroy(split);
    if (rc < 0) {
        fprintf(stderr, "mayfly: %s\n", error.text);
        if (job->prepare.count > 0 || job->prepare_shell != NULL)
            fprintf(stderr, "mayfly: (the job's prepare command is not run by --dry-run)\n");
        return mf_error_exit_code(error.code);
    }
    if (fflush(stdout) != 0)
        return 3;
    warn_of_subscribers(job);
    if (job->worker_max > job->worker_min)
        fprintf(stderr,
                "mayfly: %u to %u workers, as there is work for; one that has nothing for %.3g s "
                "ends\n",
                job->worker_min,
                job->worker_max,
                (double)job->worker_idle_us / 1e6);
    fprintf(stderr, "mayfly: %" PRIu64 " subtasks, nothing was run\n", count);
    return 0;
}
