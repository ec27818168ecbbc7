/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named points at which a test has a process killed: MF_CRASH(point) does nothing, until the
 * process was armed with that point; then its n-th pass is the process's last moment, by SIGKILL,
 * as a crash of the machine or the kernel's OOM killer would do it. tests/system/crash_points.sh
 * goes through all of them. Built in only with -DMAYFLY_CRASH_POINTS=ON, the default where the
 * tests are built; otherwise MF_CRASH is nothing. Unarmed it costs the read of a bool that never
 * changes.
 *
 * The specification is a list "POINT[:N][@WORKER]", separated by commas: N counts from 1, WORKER
 * (of a worker's point) is its id, 1 by default. As a worker's id is never used again, the worker
 * that replaces it lives on.
 */
#ifndef MAYFLY_COMMON_CRASH_H
#define MAYFLY_COMMON_CRASH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/* Where they stand; the part before the dot says whose they are: the worker's, or else the
 * master's. */
#define MF_CRASH_POINTS(X)                                                                         \
    X(MASTER_AFTER_EPOCH, "master.after-epoch") /* its epoch is committed, nothing else */         \
    X(MASTER_IN_PREPARE, "master.in-prepare")   /* its command has been started */                 \
    X(MASTER_BEFORE_MARK, "master.before-mark") /* the high-water mark is to be moved */           \
    X(MASTER_AFTER_MARK, "master.after-mark")   /* ... and was committed */                        \
    X(MASTER_BEFORE_LAUNCH, "master.before-launch")                                                \
    X(MASTER_AFTER_LAUNCH, "master.after-launch") /* a worker's start was reported */              \
    X(SLURM_BEFORE_NOTE, "slurm.before-note") /* the array is submitted, and nobody knows of it */ \
    X(SLURM_AFTER_NOTE, "slurm.after-note")                                                        \
    X(MASTER_BEFORE_RECORD, "master.before-record") /* a row goes into its batch */                \
    X(MASTER_AFTER_RECORD, "master.after-record")                                                  \
    X(MASTER_BEFORE_RENAME, "master.before-rename") /* a file of a result into its place */        \
    X(MASTER_AFTER_RENAME, "master.after-rename")                                                  \
    X(MASTER_BEFORE_COMMIT, "master.before-commit") /* a transaction with rows */                  \
    X(MASTER_AFTER_COMMIT, "master.after-commit")                                                  \
    X(MASTER_BEFORE_ACKNOWLEDGE, "master.before-acknowledge")                                      \
    X(MASTER_AFTER_ACKNOWLEDGE, "master.after-acknowledge")                                        \
    X(MASTER_BEFORE_GATHER, "master.before-gather")                                                \
    X(MASTER_BEFORE_RESULT, "master.before-result") /* result.tmp is written and synced */         \
    X(MASTER_AFTER_RESULT, "master.after-result")   /* ... and renamed */                          \
    X(MASTER_AFTER_GATHER, "master.after-gather")                                                  \
    X(MASTER_BEFORE_DISMISS, "master.before-dismiss")                                              \
    X(MASTER_AFTER_DISMISS, "master.after-dismiss")                                                \
    X(MASTER_BEFORE_SWEEP, "master.before-sweep")                                                  \
    X(MASTER_AFTER_SWEEP, "master.after-sweep")                                                    \
    X(MASTER_BEFORE_END, "master.before-end")     /* the run's final state is to be recorded */    \
    X(SOURCE_AFTER_TAKE, "source.after-take")     /* from where it comes, no message of it yet */  \
    X(SOURCE_AFTER_COMMIT, "source.after-commit") /* it is in the queue, not acknowledged */       \
    X(SOURCE_AFTER_MOVE, "source.after-move")     /* a file of a message that has ended */         \
    X(MASTER_BEFORE_TELL, "master.before-tell")   /* a subscriber is told of an event */           \
    X(MASTER_AFTER_TELL, "master.after-tell")     /* ... and that is to be noted */                \
    X(TRIGGER_BEFORE_COMMIT, "trigger.before-commit") /* a firing is made, not committed */        \
    X(TRIGGER_AFTER_COMMIT, "trigger.after-commit")   /* ... it is, nothing has been started */    \
    X(TRIGGER_AFTER_START, "trigger.after-start")     /* its master was spawned, and not heard */  \
    X(TRIGGER_AFTER_WORD, "trigger.after-word")       /* ... and has said its run */               \
    X(TRIGGER_BEFORE_SWEEP, "trigger.before-sweep")   /* an open firing was taken */               \
    X(FIRING_BEFORE_CLAIM, "firing.before-claim")     /* the run folder is made */                 \
    X(FIRING_AFTER_CLAIM, "firing.after-claim") /* committed; the folder does not know of it */    \
    X(FIRING_AFTER_NOTE, "firing.after-note")   /* ... and knows now: there is no run.db */        \
    X(FIRING_BEFORE_SETTLE, "firing.before-settle") /* the final state is recorded */              \
    X(FIRING_IN_SETTLE, "firing.in-settle")         /* all is done but committed */                \
    X(FIRING_AFTER_SETTLE, "firing.after-settle")   /* committed */                                \
    X(WORKER_BEFORE_HELLO, "worker.before-hello")                                                  \
    X(WORKER_AFTER_HELLO, "worker.after-hello")                                                    \
    X(WORKER_BEFORE_START, "worker.before-start") /* an attempt goes to its slot */                \
    X(WORKER_AFTER_START, "worker.after-start")                                                    \
    X(WORKER_BEFORE_END, "worker.before-end") /* an attempt's end came from its slot */            \
    X(WORKER_AFTER_END, "worker.after-end")                                                        \
    X(WORKER_BEFORE_UPLOAD, "worker.before-upload") /* a piece of a file */                        \
    X(WORKER_AFTER_UPLOAD, "worker.after-upload")   /* ... and the master has it */                \
    X(WORKER_BEFORE_RESULT, "worker.before-result") /* results are sent */                         \
    X(WORKER_AFTER_RESULT, "worker.after-result")                                                  \
    X(WORKER_BEFORE_ACKNOWLEDGED, "worker.before-acknowledged") /* the master has them */          \
    X(WORKER_AFTER_ACKNOWLEDGED, "worker.after-acknowledged")                                      \
    X(WORKER_AFTER_DISMISSED, "worker.after-dismissed")                                            \
    X(WORKER_BEFORE_BYE, "worker.before-bye")                                                      \
    X(WORKER_AFTER_BYE, "worker.after-bye")                                                        \
    X(WORKER_BEFORE_CLEANING, "worker.before-cleaning") /* its folder is removed */                \
    X(WORKER_AFTER_CLEANING, "worker.after-cleaning")

#define MF_CRASH_ENUM(name, text) MF_CRASH_##name,
enum mf_crash_point { MF_CRASH_POINTS(MF_CRASH_ENUM) MF_CRASH_POINT_COUNT };

/*
 * Arms the process with those points of the specification that are its own: the master's for
 * worker 0, else those of that worker. NULL or "": none. Before the first thread starts, once.
 * -1: a point is not known, a number is malformed, or this program was built without the points.
 */
int mf_crash_arm(const char *specification, uint32_t worker, struct mf_error *error);
/* Called with the point's name right before the end; NULL = nobody. */
void mf_crash_tell(void (*last_words)(const char *point));

#ifdef MAYFLY_CRASH_POINTS
extern bool mf_crash_is_armed;
/* Any thread. */
void mf_crash_pass(enum mf_crash_point point);
#define MF_CRASH(point)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(mf_crash_is_armed, 0))                                                \
            mf_crash_pass(MF_CRASH_##point);                                                       \
    } while (0)
#else
#define MF_CRASH(point) ((void)0)
#endif

#endif
