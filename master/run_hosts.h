/* SPDX-License-Identifier: Apache-2.0 */
/* What a job says of its hosts, as the fleet takes it. */
#ifndef MAYFLY_MASTER_RUN_HOSTS_H
#define MAYFLY_MASTER_RUN_HOSTS_H

#include "master/job/job.h"
#include "master/launch/launcher.h"

/* An array of *count entries that borrow from the job, freed by mf_free; NULL: out of
 * memory. */
struct launch_host *hosts_of_job(const struct job *job, uint32_t *count, struct mf_error *error);
/* The rest, for fleet_create; borrows, too. */
struct launch_config
launch_config_of(const struct job *job, const char *run_id, const char *worker_binary);
/* The folder of that run that the places of its workers see (launchers slurm and command), freed by
 * mf_free; NULL: out of memory. */
char *shared_folder_of(const struct job *job, const char *run_id, const char *run_folder);

#endif
