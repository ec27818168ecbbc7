/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job files of a folder: *.yaml in it, and job.yaml in each of its sub-folders; names that
 * begin with a dot do not count. What they are now is always read from the folder itself; inotify
 * only says when it is worth while to look. One thread.
 *
 * A look waits until nothing has happened for FILES_SETTLE_US, so that a file that is being written
 * (or a dozen that are being copied) is seen when that is over; at most FILES_SETTLE_MOST_US.
 */
#ifndef MAYFLY_MASTER_WATCH_FILES_H
#define MAYFLY_MASTER_WATCH_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "common/error.h"

#define FILES_SETTLE_US 200000
#define FILES_SETTLE_MOST_US 2000000

/* What tells one version of a file from another. */
struct file_version {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

struct job_file {
    char *path;
    struct file_version version;
};

struct files;

/* Of an absolute path. The folder need not be there. */
struct files *files_open(const char *folder, struct mf_error *error);
void files_close(struct files *files);

int files_fd(const struct files *files); /* readable: call files_take */
/* Takes what has happened in the folder up to now_us (monotonic). */
void files_take(struct files *files, int64_t now_us);
/* When a look is due (monotonic); MF_NEVER while nothing has happened. */
int64_t files_due_us(const struct files *files);

/*
 * Looks: sorted by path (heap: files_free_list), *count of them. What happens later is due again.
 * NULL: the folder cannot be read (MF_ESETUP), or MF_ENOMEM. A sub-folder that cannot be read
 * counts as empty.
 */
struct job_file *files_list(struct files *files, size_t *count, struct mf_error *error);
void files_free_list(struct job_file *list, size_t count);

bool file_version_equal(const struct file_version *a, const struct file_version *b);

/* Whether changes in some folder stay unnoticed until somebody looks, for the kernel takes no
 * further watches (fs.inotify.max_user_watches). */
bool files_is_blind(const struct files *files);

#endif
