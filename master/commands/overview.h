/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run stands, whether it is live, has ended or was interrupted: for the commands that read.
 * A live master is asked over its control socket, but never waited for: one that does not answer
 * in time is read around.
 */
#ifndef MAYFLY_MASTER_COMMANDS_OVERVIEW_H
#define MAYFLY_MASTER_COMMANDS_OVERVIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "master/run_folder.h"

struct overview {
    char run_id[RUN_ID_SIZE];
    char job_name[128];
    char job_path[1024]; /* of the job file, as it was given */
    char state[32];      /* of table run, or "starting" (no run.db yet) or "interrupted" */
    char reason[512];
    bool is_live;   /* a master holds the lock */
    bool is_silent; /* it listens, but does not answer */
    bool is_ended;  /* the state is final */
    bool has_total;
    uint64_t total, done, failed, dead, cancelled;
    int64_t started_us, ended_us; /* 0 = not known, has not ended */
    int64_t left_us;              /* of an interrupted run: when its master last wrote */
};

/*
 * -1: MF_EINPUT when the folder is no run or is damaged, MF_ENOMEM. Counts of a run that has ended
 * are as recorded; else they are counted.
 */
int overview_read(const char *folder,
                  const char *run_id,
                  struct overview *overview,
                  struct mf_error *error);
/* As overview_read of the run that `name` means; its folder (heap), NULL with an error. */
char *overview_find(const char *name, struct overview *overview, struct mf_error *error);

/* From the start to the end, to now of a live run. */
int64_t overview_wall_us(const struct overview *overview);
/* When the run's master last wrote, wall clock; `started_us` when that cannot be told. */
int64_t overview_left_us(const char *folder, int64_t started_us);
/* The exit code of `mayfly run` for a state; 3 for one that is not an end. */
int overview_exit_code(const char *state);
/* Says on standard error how an interrupted run goes on; of others nothing. */
void overview_say_interrupted(const struct overview *overview);
/* "3 done, 1 failed ..." into `out`. */
const char *overview_counts(const struct overview *overview, char *out, size_t size);
/* {total, done, failed, dead, cancelled}: a new reference, NULL when memory is exhausted. */
json_t *overview_subtasks_json(const struct overview *overview);

/* Whether the run's control socket is there: its master makes it when run.db and the plan are open.
 */
bool overview_has_socket(const char *folder);
/* One request to the live master, answered within 2 s: a new reference. NULL: MF_ESETUP when it
 * does not answer or refuses. */
json_t *overview_ask(const char *folder, const char *command, struct mf_error *error);
/* The same with a request of more keys (a steal of the reference). */
json_t *overview_request(const char *folder, json_t *request, struct mf_error *error);

#endif
