/* SPDX-License-Identifier: Apache-2.0 */
/* What sbatch is asked, and what it answers: see slurm_sbatch.h. */
#include "master/launch/slurm_sbatch.h"

#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "master/launch/answer.h"

void slurm_arguments_fini(struct slurm_arguments *arguments)
{
    for (size_t i = 0; i < arguments->count; i++)
        mf_free(arguments->items[i]);
    mf_free(arguments->items);
}

static int give(struct slurm_arguments *arguments, char *text)
{
    if (text == NULL)
        return -1;
    arguments->items[arguments->count++] = text;
    return 0;
}

int slurm_arguments_make(const struct launch_slurm *o,
                         const char *sbatch,
                         const char *job_name,
                         bool is_test,
                         uint32_t count,
                         struct slurm_arguments *arguments,
                         struct mf_error *error)
{
    arguments->items = mf_calloc(o->option_count + 16, sizeof *arguments->items);
    int rc = arguments->items == NULL ? -1 : 0;
    const char *fixed[] = {sbatch,
                           is_test ? "--test-only" : "--parsable",
                           "--no-requeue",
                           "--export=NIL",
                           "--output=/dev/null",
                           "--chdir=/",
                           "--nodes=1",
                           "--ntasks=1"};
    for (size_t i = 0; rc == 0 && i < sizeof fixed / sizeof *fixed; i++)
        rc = give(arguments, mf_strdup(fixed[i]));
    if (rc == 0)
        rc = give(arguments, mf_format("--job-name=%s", job_name));
    if (rc == 0)
        rc = give(arguments, mf_format("--array=0-%u", count - 1));
    if (rc == 0)
        rc = give(arguments, mf_format("--cpus-per-task=%u", o->cpus > 0 ? o->cpus : 1));
    if (rc == 0 && o->partition != NULL)
        rc = give(arguments, mf_format("--partition=%s", o->partition));
    if (rc == 0 && o->account != NULL)
        rc = give(arguments, mf_format("--account=%s", o->account));
    if (rc == 0 && o->time_us > 0) /* minutes, rounded up */
        rc = give(
            arguments,
            mf_format("--time=%llu", (unsigned long long)((o->time_us + 59999999) / 60000000)));
    if (rc == 0 && o->memory > 0)
        rc = give(arguments,
                  mf_format("--mem=%lluM", (unsigned long long)((o->memory + 1048575) >> 20)));
    for (size_t i = 0; rc == 0 && i < o->option_count; i++)
        rc = give(arguments, mf_strdup(o->options[i]));
    return rc < 0 ? mf_raise(error, MF_ENOMEM, "out of memory: the arguments of sbatch") : 0;
}

/* The last sentence of sbatch, without its name. */
void slurm_refusal(const struct child_result *result, char *reason, size_t size)
{
    char problem[400];
    const char *text = problem;
    answer_problem(result->problem, problem, sizeof problem);
    if (strncmp(text, "sbatch: error: ", 15) == 0)
        text += 15;
    if (strstr(result->problem, "ontact") != NULL || strstr(result->problem, "ommunicat") != NULL ||
        strstr(result->problem, "resolve") != NULL)
        snprintf(reason,
                 size,
                 "slurm: its controller cannot be reached (%s): is slurmctld running, and is this "
                 "machine a part of the cluster?",
                 text);
    else
        snprintf(reason,
                 size,
                 "slurm: sbatch refuses the workers (exit code %d): %s; look at workers.slurm",
                 result->code,
                 text);
}
