/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's end of one slot process: started, spoken to without ever waiting, and ended. What
 * the messages mean is the executor's business.
 */
#ifndef MAYFLY_WORKER_SLOTS_H
#define MAYFLY_WORKER_SLOTS_H

#include <sys/types.h>

#include "common/buffer.h"
#include "worker/attempts.h"
#include "worker/slot.h"

struct executor;

struct slot_process {
    struct executor *executor;
    uint32_t number; /* from 1 */
    pid_t pid;       /* 0: none */
    int fd;          /* -1: none */
    bool wants_room; /* more is to be sent than the socket takes */
    struct attempt *running;
    struct attempt *ahead;
    bool recalled;       /* the one ahead was asked back */
    bool short_attempts; /* its last one was short: worth handing ahead */
    int64_t since_us;    /* when `running` was handed over or began */
    unsigned deaths;     /* one after another, while they had no attempt */
    uint32_t segment;    /* the next process of this slot starts with it */
    struct segment_list segments[2];
    struct mf_buffer in;
    size_t taken; /* bytes of `in` that are handled */
    struct mf_buffer out;
};

/* Starts the process and sends its CONFIGURE. `folder` is the worker's; env: of the process. */
int slot_process_start(struct slot_process *slot,
                       const char *binary,
                       const char *folder,
                       char *const env[],
                       struct mf_error *error);

/* Appends a message about a fence to what is to be sent. */
int slot_process_say(struct slot_process *slot,
                     enum slot_message kind,
                     const struct mf_fence *fence,
                     struct mf_error *error);

/* Sends what the socket takes of `out`; sets wants_room. -1: the process is gone. */
int slot_process_send(struct slot_process *slot);

/* Reads what is there. 1: go on with slot_process_next; 0: nothing; -1: the process is gone. */
int slot_process_read(struct slot_process *slot, struct mf_error *error);

/* The next whole message; its body is borrowed until the next read. */
bool slot_process_next(struct slot_process *slot, uint32_t *kind, struct mf_bytes *body);

/* Ends the process at once (not its tree) and says in `why` how it ended. */
void slot_process_kill(struct slot_process *slot, char *why, size_t size);

/* Kills what dead slot processes left to this one (all children that are no slots), and takes in
 * what has ended. Returns how many were found. */
unsigned slots_kill_leftovers(const struct slot_process *slots, uint32_t count);

void slot_process_fini(struct slot_process *slot);

#endif
