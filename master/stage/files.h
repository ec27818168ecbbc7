/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job's own files as they travel: what task.files names, and all that is in folders among them.
 * Links are followed, so that a worker's host gets files and folders only. Not thread-safe.
 */
#ifndef MAYFLY_MASTER_STAGE_FILES_H
#define MAYFLY_MASTER_STAGE_FILES_H

#include "common/error.h"
#include "common/message.h"
#include "master/job/job.h"

/* They travel in one message. */
#define STAGE_FILES_MAX MF_BATCH_MAX
#define STAGE_NAMES_MAX (1u << 20) /* bytes of all paths */

/* Zero-initialised is empty. Owns the paths. */
struct stage_files {
    struct mf_task_file *items; /* a folder before what is in it */
    uint32_t count, capacity;
    size_t names;
};

/* Lists them once, as they are now. -1: MF_EUSAGE with the file that can't travel, and why;
 * MF_ENOMEM. */
int stage_files_list(struct stage_files *files, const struct job *job, struct mf_error *error);
void stage_files_fini(struct stage_files *files);

#endif
