/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorder: the one writer of run.db (docs/results-table.md). A thread of its own takes batches
 * from a queue and commits as many as wait in one transaction (group commit); each batch comes back
 * through `committed` after its commit, and only then may its results be acknowledged. Order is
 * kept.
 *
 * The fence: the transaction accepts an attempt only while run.epoch is the recorder's own epoch
 * and the subtask has no final row (that is not superseded). What is refused is counted in the
 * batch, not stored.
 *
 * Threads: record_submit from the loop thread; `committed` is called on the writer's thread and
 * must only hand over (mailbox). All else from the loop thread.
 */
#ifndef MAYFLY_MASTER_RECORD_RECORD_H
#define MAYFLY_MASTER_RECORD_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/mailbox.h"
#include "common/mayfly.h"
#include "master/schedule/schedule.h"

#define RECORD_SCHEMA_VERSION MAYFLY_RESULTS_TABLE_VERSION
#define RECORD_NETWORK_FS_WARNING 1

/* One row of table attempt. Bytes are borrowed until the batch comes back. */
struct record_row {
    uint64_t subtask;
    uint32_t attempt, epoch, worker;
    enum schedule_record state;
    uint32_t cause; /* enum mf_cause */
    int32_t exit_code, signal;
    bool has_result;  /* inline; else, with result_bytes > 0, it is the file outputs/N/S.result */
    int64_t ended_us; /* wall clock of the master; 0 = not known */
    uint64_t wall_us, user_us, system_us, peak_kib;
    uint64_t result_bytes;
    struct mf_bytes result;
    uint64_t output_count, output_bytes;
    struct mf_bytes detail;
};

/* Work for the writer. The poster owns it again when `committed` is called with it. */
struct record_batch {
    struct mf_mail mail; /* first: for the queue, and for the poster's mailbox afterwards */
    uint32_t kind;       /* the recorder's own; set by record_submit */
    struct record_row *rows;
    uint32_t row_count;
    uint32_t fenced;       /* out: rows that the transaction refused */
    struct mf_error error; /* out: code != MF_OK when nothing of the batch was committed */
    void (*release)(
        struct record_batch *batch); /* not called by the recorder: for the poster's use */
    void *owner;                     /* likewise */
};

/* The row of table run; only what is set is written. */
struct record_run {
    const char *state;  /* NULL = unchanged */
    const char *reason; /* NULL = unchanged, "" = none */
    bool has_total;
    uint64_t total;
    bool has_high_water;
    uint64_t high_water; /* subtasks up to this one may have been offered; never falls */
    bool has_counts;
    uint64_t done, failed, dead, cancelled, retried, fenced, attempts;
    int64_t ended_us;    /* 0 = unchanged */
    const char *address; /* NULL = unchanged */
    /* Rows of table notification that become true with this: a JSON array of objects with event,
     * subscriber, target, payload (an object) and once (a boolean: not when there is a row of that
     * event and subscriber). NULL = none. */
    const char *outbox;
};

struct record_worker {
    uint32_t id;
    const char *state, *host, *system, *version, *folder, *verified_by; /* NULL = unchanged */
    const char *place;   /* the host as the job names it */
    const char *address; /* numeric, where that host was reached; "" = this machine */
    uint32_t pid, slots, cpus, port;
    uint64_t memory_bytes;
    int64_t launched_us, joined_us, ended_us; /* 0 = unchanged */
};

struct record_config {
    const char *path; /* of run.db */
    const char *run_id;
    const char *job_name;
    const char *job_text;   /* NUL-terminated */
    const char *job_path;   /* of the job file, as given; may be NULL */
    const char *job_folder; /* absolute; may be NULL */
    bool durability_full;
    int network_fs; /* 0 = find out, 1 = treat the disk as a network file system, -1 = as a local
                       one */
    void (*committed)(struct record_batch *batch, void *arg); /* on the writer's thread */
    void *arg;
};

struct recorder;

/*
 * Opens run.db, or makes it with the schema; commits the next epoch (1 for a new file) before it
 * returns, and gives it in *epoch. On a network file system it uses a rollback journal and
 * synchronous full, and sets *notice to RECORD_NETWORK_FS_WARNING (else 0). -1: MF_ESETUP when the
 * disk is full or read-only (naming the path), MF_EINPUT when the file is damaged or of a newer
 * schema.
 */
struct recorder *record_open(const struct record_config *config,
                             uint32_t *epoch,
                             int *notice,
                             struct mf_error *error);

/* Queues a batch; never blocks on the disk. */
void record_submit(struct recorder *recorder, struct record_batch *batch);

/* These copy what they are given and are committed in order with the batches. 0, or -1 and
 * MF_ENOMEM. */
int record_run(struct recorder *recorder, const struct record_run *run, struct mf_error *error);
int record_worker(struct recorder *recorder,
                  const struct record_worker *worker,
                  struct mf_error *error);
int record_event(struct recorder *recorder,
                 int64_t wall_us,
                 const char *kind,
                 uint32_t worker,
                 uint64_t subtask,
                 const char *text,
                 struct mf_error *error);

/* Waits until all that was queued is committed (or has failed). -1 with the first error of
 * non-batch work. */
int record_flush(struct recorder *recorder, struct mf_error *error);

/* Flushes, ends the thread, checkpoints the log into the file and closes it. NULL is fine. */
int record_close(struct recorder *recorder, struct mf_error *error);

#endif
