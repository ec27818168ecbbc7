/* SPDX-License-Identifier: Apache-2.0 */
/* What sbatch is asked, and what it answers: see slurm_sbatch.h. */
#include "master/launch/slurm_sbatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/launch/answer.h"
#include "master/launch/worker_script.h"

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

/* Whatever became of sbatch: see slurm_notes.h. */
static const char says_job[] = "echo \"mayfly 1 job $SLURM_ARRAY_JOB_ID $SLURM_ARRAY_TASK_ID\"\n"
                               "echo \"mayfly 1 node $SLURMD_NODENAME\"\n";

int slurm_script_make(const char *folder,
                      const char *run_id,
                      const uint32_t *workers,
                      uint32_t count,
                      struct mf_buffer *script,
                      struct mf_error *error)
{
    int rc = mf_buffer_printf(script, error, "#!/bin/sh\nset --");
    for (uint32_t i = 0; rc >= 0 && i < count; i++)
        rc = mf_buffer_printf(script, error, " %u", workers[i]);
    if (rc >= 0)
        rc = mf_buffer_printf(script, error, "\nshift \"$SLURM_ARRAY_TASK_ID\"\nw=$1\n");
    return rc < 0 ? -1 : worker_script_append(script, folder, NULL, run_id, says_job, error);
}

/* "JOB" or "JOB;CLUSTER", behind what a site's wrapper may say. */
bool slurm_job_read(const char *output, uint32_t *job)
{
    bool is_there = false;
    for (const char *line = output; line != NULL && *line != '\0';) {
        char *end;
        unsigned long long value = strtoull(line, &end, 10);
        if (*line >= '1' && *line <= '9' && value <= UINT32_MAX &&
            (*end == '\n' || *end == ';' || *end == '\0')) {
            *job = (uint32_t)value;
            is_there = true;
        }
        line = strchr(line, '\n');
        line += line != NULL;
    }
    return is_there;
}

static bool says(const struct child_result *result, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strstr(result->problem, *words) != NULL)
            return true;
    return false;
}

bool slurm_refusal(const struct child_result *result, char *reason, size_t size)
{
    static const char *const key[] = {"unge", "uthentication", NULL};
    static const char *const way[] = {
        "ontact", "ommunicat", "resolve", "timed out", "not answer", NULL};
    char problem[400];
    const char *text = problem;
    answer_problem(result->problem, problem, sizeof problem);
    if (strncmp(text, "sbatch: error: ", 15) == 0)
        text += 15;
    if (result->code == 0) {
        snprintf(reason, size, "slurm: sbatch has taken the workers, but names no job: %s", text);
        return false;
    }
    if (says(result, key)) {
        snprintf(reason,
                 size,
                 "slurm: its controller does not know who asks (%s): is munged running here, with "
                 "the cluster's key?",
                 text);
        return false;
    }
    if (says(result, way)) {
        snprintf(reason,
                 size,
                 "slurm: its controller cannot be reached (%s): is slurmctld running, and is this "
                 "machine a part of the cluster?",
                 text);
        return true;
    }
    snprintf(reason,
             size,
             "slurm: sbatch refuses the workers (exit code %d): %s; look at workers.slurm",
             result->code,
             text);
    return false;
}

char **slurm_environment(struct mf_error *error)
{
    static const char *const others[] = {"SQUEUE_", "SCANCEL_", "SBATCH_WAIT=", NULL};
    size_t count = 0, kept = 0;
    while (environ[count] != NULL)
        count++;
    char **environment = mf_calloc(count + 1, sizeof *environment);
    if (environment == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: the environment of Slurm's commands");
    for (size_t i = 0; environment != NULL && i < count; i++) {
        bool is_wanted = true;
        for (size_t n = 0; others[n] != NULL; n++)
            is_wanted = is_wanted && strncmp(environ[i], others[n], strlen(others[n])) != 0;
        if (is_wanted)
            environment[kept++] = environ[i];
    }
    return environment;
}
