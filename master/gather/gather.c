/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of every gather: open the source, let the kind write, make the result durable. */
#include "master/gather/gather.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "master/gather/kinds.h"

typedef int kind_f(struct gather *gather, struct mf_error *error);

static kind_f *const kinds[] = {
    [GATHER_CONCAT] = gather_concat,
    [GATHER_JSONL] = gather_jsonl,
    [GATHER_CSV] = gather_csv,
    [GATHER_SQL] = gather_sql,
};

/* A result of an earlier gather is not this one's: it goes first, whatever happens then. */
static int remove_result(const char *run_folder, struct mf_error *error)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/result", run_folder);
    if (unlink(path) < 0 && errno != ENOENT)
        return mf_raise_errno(error, "cannot remove the old %s", path);
    return 0;
}

int gather_run(const struct job *job,
               const char *run_folder,
               uint64_t *bytes,
               const volatile int *stop,
               struct mf_error *error)
{
    struct gather gather = {.job = job, .run_folder = run_folder, .stop = stop};
    int result = -1;
    *bytes = 0;
    if (remove_result(run_folder, error) < 0)
        return -1;
    if (job->gather == GATHER_NONE)
        return 0;
    if ((size_t)job->gather >= sizeof kinds / sizeof *kinds || kinds[job->gather] == NULL)
        return mf_raise(error, MF_EUSAGE, "gather kind %d is not known", (int)job->gather);
    gather.output = output_open(run_folder, error);
    if (gather.output == NULL)
        return -1;
    gather.source = source_open(run_folder, stop, error);
    if (gather.source != NULL && kinds[job->gather](&gather, error) == 0)
        result = output_finish(gather.output, bytes, error);
    source_close(gather.source);
    output_close(gather.output);
    return result;
}
