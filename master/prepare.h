/* SPDX-License-Identifier: Apache-2.0 */
/* The extract step: the job's `prepare:` command, run by the master before the plan. */
#ifndef MAYFLY_MASTER_PREPARE_H
#define MAYFLY_MASTER_PREPARE_H

#include "common/error.h"
#include "master/job/job.h"

/*
 * Runs job->prepare (if any) in the job's folder with MAYFLY_PREPARED=`prepared` (made here); both
 * its streams go to run_folder/prepare.log. signal_fd is a signalfd: a signal ends the command and
 * the preparation, a second one at once; *interrupts counts them; with the third the program ends
 * here. -1: MF_EINPUT with the exit code and the last line of its log.
 */
int prepare_run(const struct job *job,
                const char *run_id,
                const char *run_folder,
                const char *prepared,
                int signal_fd,
                unsigned *interrupts,
                struct mf_error *error);

/*
 * Ends what is left of a command that an earlier master of the run started for this `prepared`: one
 * that was killed could not. Both at once would write into each other's files. Processes are found
 * by MAYFLY_PREPARED in their environment, which they all inherit. -1: some cannot be ended.
 */
int prepare_end_earlier(const char *prepared, struct mf_error *error);

#endif
