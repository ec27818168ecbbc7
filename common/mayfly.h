/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of Mayfly that other programs may rely on; installed as <mayfly/mayfly.h>. None of
 * them ever changes its meaning. The interfaces themselves are described in the installed
 * documents.
 */
#ifndef MAYFLY_MAYFLY_H
#define MAYFLY_MAYFLY_H

#define MAYFLY_JOB_FILE_VERSION 1      /* `mayfly: 1` in a job file */
#define MAYFLY_PROTOCOL_VERSION 1      /* master and worker */
#define MAYFLY_RESULTS_TABLE_VERSION 3 /* PRAGMA user_version of run.db */
#define MAYFLY_CONTROL_VERSION 1       /* control.sock and summary.json */

/* Exit codes of the command line. */
enum mayfly_exit {
    MAYFLY_EXIT_SUCCEEDED = 0, /* or partial, within `tolerate` */
    MAYFLY_EXIT_FAILED = 1,
    MAYFLY_EXIT_USAGE = 2,  /* wrong command line or job file */
    MAYFLY_EXIT_UNABLE = 3, /* could not be carried out: no host, no disk */
    MAYFLY_EXIT_CANCELLED = 4,
    MAYFLY_EXIT_INTERRUPTED = 130 /* the run can go on */
};

/* The key of table `attempt` in run.db. */
#define MAYFLY_ATTEMPT_ID(subtask, attempt) ((long long)(subtask) << 16 | (attempt))
#define MAYFLY_ATTEMPT_SUBTASK(id) ((long long)(id) >> 16)
#define MAYFLY_ATTEMPT_NUMBER(id) ((int)((id) % 65536))

#endif
