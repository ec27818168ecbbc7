/* SPDX-License-Identifier: Apache-2.0 */
/* What a job says of its hosts, as the fleet takes it. */
#ifndef MAYFLY_MASTER_RUN_HOSTS_H
#define MAYFLY_MASTER_RUN_HOSTS_H

#include "master/job/job.h"
#include "master/launch/launcher.h"

/* An array of job->hosts.count entries that borrow from the job, freed by mf_free; NULL: out of
 * memory. */
struct launch_host *hosts_of_job(const struct job *job, struct mf_error *error);
/* The rest, for fleet_create; borrows, too. */
struct launch_config
launch_config_of(const struct job *job, const char *run_id, const char *worker_binary);

#endif
