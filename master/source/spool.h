/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A spool folder, as its parts see it. Within this station only.
 *
 *     SPOOL/NAME                        arriving, or arrived
 *     SPOOL/.claimed/BATCH/NAME         ours: the body of a message
 *     SPOOL/.claimed/BATCH.open         files of BATCH may have no message yet
 *     SPOOL/.claimed/CONSUMER.lock      held by the one who claims
 *     SPOOL/done/RUN_ID/NAME            its run has succeeded
 *     SPOOL/failed/RUN_ID/NAME          a dead letter
 *
 * BATCH is CONSUMER-TIME-NUMBER and never used again, so that names cannot collide in it, and
 * "spool:BATCH/NAME" is a key that no other claim has. In done/ and failed/ a second file of the
 * same name and run is RUN_ID/BATCH/NAME.
 */
#ifndef MAYFLY_MASTER_SOURCE_SPOOL_H
#define MAYFLY_MASTER_SOURCE_SPOOL_H

#include <sys/types.h>

#include "common/buffer.h"
#include "master/source/feed.h"

#define SPOOL_PATH_MAX 3072u /* of the folder: the rest has to fit into PATH_MAX */
#define SPOOL_CLAIMED ".claimed"
#define SPOOL_DONE "done"
#define SPOOL_FAILED "failed"

/* The path of a spool folder without slashes at its end (heap). */
char *spool_path(const char *path, struct mf_error *error);

/* Names, each ended by NUL. */
struct spool_names {
    struct mf_buffer bytes;
    size_t count;
};

void spool_names_fini(struct spool_names *names);
int spool_names_add(struct spool_names *names, const char *name, struct mf_error *error);
/* The one behind `name`; NULL begins. NULL = no more. Not after a call of spool_names_add. */
const char *spool_names_next(const struct spool_names *names, const char *name);
bool spool_names_has(const struct spool_names *names, const char *name);

/* --- What there is (spool_scan.c). --- */

struct spool_scan {
    int folder;     /* SPOOL */
    bool is_remote; /* others may write where our kernel does not see it */
    int64_t quiet_us;
    const struct spool_names *closed; /* of which inotify has told; NULL = nobody listened */
    int64_t ready_us;                 /* out: monotonic: when one that waits will be quiet */
};

/*
 * Whether nobody writes to SPOOL/name any more. 1 and *fd, which keeps others from beginning until
 * it is closed (-1 when that can't be said), 0 not yet, or not a file that counts; -1 only when
 * memory is exhausted.
 */
int spool_is_complete(struct spool_scan *scan, const char *name, int *fd);
/* Whether a name is one that can count. */
bool spool_is_name(const char *name);
/* All names in SPOOL that can count, in the order of their bytes; `path` is for messages. */
int spool_list(int folder, const char *path, struct spool_names *names, struct mf_error *error);
/* Whether the folder is on a file system that other machines can write to. */
bool spool_is_remote(int folder);

/* --- Claiming (spool_claim.c). --- */

struct spool_claim {
    struct feed *feed;
    const char *path; /* of SPOOL */
    int folder;       /* SPOOL */
    int claimed;      /* SPOOL/.claimed */
    int lock;
};

/* Opens and locks .claimed, which is made. 1; 0: another process is at it. */
int spool_claim_begin(struct spool_claim *claim, struct mf_error *error);
void spool_claim_end(struct spool_claim *claim);
/* Messages for what others have claimed and not lived to tell. */
int spool_claim_heal(struct spool_claim *claim, struct mf_error *error);
/* Claims those of `names` that are complete, at most `most`; *more when it has not come to all. */
int spool_claim_names(struct spool_claim *claim,
                      struct spool_scan *scan,
                      const struct spool_names *names,
                      uint64_t most,
                      bool *more,
                      struct mf_error *error);

#endif
