/* SPDX-License-Identifier: Apache-2.0 */
/* What squeue answers: see slurm_squeue.h. A state that is not known here counts as one of a job
 * that is there: what may run is never taken for gone. */
#include "master/launch/slurm_squeue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of jobs that have ended, and how it is said; NULL: by the state's name. */
static const struct ending {
    const char *state, *words;
} endings[] = {
    {"CANCELLED", "it was cancelled"},
    {"TIMEOUT", "its time was over (workers.slurm.time, or the partition's limit)"},
    {"DEADLINE", "its deadline had come"},
    {"OUT_OF_MEMORY", "it had too little memory (workers.slurm.memory)"},
    {"NODE_FAIL", "its node failed"},
    {"PREEMPTED", "it was preempted"},
    {"BOOT_FAIL", "its node did not start"},
    {"COMPLETED", NULL},
    {"FAILED", NULL},
    {"REVOKED", NULL},
};

static const struct ending *ending_of(const char *state)
{
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcmp(endings[i].state, state) == 0)
            return &endings[i];
    return NULL;
}

/* Takes the field at *at, cut to `size`, and the bar behind it. */
static void take_field(const char **at, char *text, size_t size)
{
    size_t length = strcspn(*at, "|\n");
    snprintf(text, size, "%.*s", (int)length, *at);
    *at += length + ((*at)[length] == '|');
}

static bool read_number(const char *text, uint32_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value > UINT32_MAX)
        return false;
    *number = (uint32_t)value;
    return true;
}

int64_t slurm_time_us(const char *text)
{
    int64_t days = 0, seconds = 0;
    int parts = 0;
    for (const char *at = text; *at != '\0'; at++) {
        char *end;
        if (*at < '0' || *at > '9' || ++parts > 4)
            return 0;
        long value = strtol(at, &end, 10);
        if (value > 100000)
            return 0;
        if (*end == '-' && parts == 1)
            days = value;
        else
            seconds = 60 * seconds + value;
        if (*end == '\0')
            return (86400 * days + seconds) * 1000000;
        if (*end != ':' && (*end != '-' || parts != 1))
            return 0;
        at = end;
    }
    return 0;
}

bool slurm_line_read(const char *line, struct slurm_line *out)
{
    char job[16], index[16], used[32];
    *out = (struct slurm_line){0};
    take_field(&line, job, sizeof job);
    take_field(&line, index, sizeof index);
    take_field(&line, out->state, sizeof out->state);
    take_field(&line, used, sizeof used);
    take_field(&line, out->node, sizeof out->node);
    take_field(&line, out->why, sizeof out->why);
    if (!read_number(job, &out->job) || out->state[0] == '\0')
        return false;
    out->is_array = read_number(index, &out->index);
    out->is_there = ending_of(out->state) == NULL;
    out->is_live = out->is_there && strcmp(out->state, "COMPLETING") != 0;
    out->is_pending = strcmp(out->state, "PENDING") == 0;
    out->is_running = strcmp(out->state, "RUNNING") == 0;
    out->used_us = out->is_pending ? 0 : slurm_time_us(used);
    return true;
}

bool slurm_line_ending(const struct slurm_line *line, char *text, size_t size)
{
    const struct ending *ending = ending_of(line->state);
    if (ending != NULL && ending->words != NULL)
        snprintf(text, size, "%s", ending->words);
    else if (line->why[0] == '\0' || strcmp(line->why, "None") == 0)
        snprintf(text, size, "Slurm says %s", line->state);
    else
        snprintf(text, size, "Slurm says %s (%s)", line->state, line->why);
    return ending != NULL && ending->words != NULL;
}
