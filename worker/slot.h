/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the executor and its slot processes say to each other over the control socket (a stream; a
 * header, then `length` bytes). Both ends are always the very same executable, started by one
 * another on one machine: so plain structs, no versions, and a malformed message is a bug that ends
 * the slot.
 *
 * The executor sends one CONFIGURE, then STARTs: never more than two that have not ended (the one
 * that runs and one ahead). The slot starts the one ahead as soon as the running one has ended,
 * which is why it need not say so: ENDED of one is the start of the next. RECALL and CANCEL name a
 * fence; for one that was not started RETURNED is the answer, a RECALL of any other is ignored, a
 * CANCEL of the running one ends it.
 */
#ifndef MAYFLY_WORKER_SLOT_H
#define MAYFLY_WORKER_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/message.h"

#define SLOT_CONTROL_FD 3
#define SLOT_REQUEST_MAX (4u << 20) /* body of a START; more than execve takes */
#define SLOT_STRINGS_MAX (1u << 18) /* arguments and environment of one attempt */
#define SLOT_SEGMENT_MAX                                                                           \
    (64u << 20) /* a segment that has reached this takes no further attempt                        \
                 */
#define SLOT_DETAIL_MAX 1000

enum slot_message {
    SLOT_CONFIGURE = 1, /* struct slot_configure, folder NUL */
    SLOT_START = 2,     /* struct slot_start and what follows it */
    SLOT_RECALL = 3,    /* struct mf_fence */
    SLOT_CANCEL = 4,    /* struct mf_fence */
    SLOT_ENDED = 65,    /* struct slot_ended, inline result, detail */
    SLOT_RETURNED = 66, /* struct mf_fence */
    SLOT_OUTPUT = 67,   /* struct slot_output, name; before its attempt's ENDED */
    SLOT_STREAMS = 68   /* struct slot_streams; of a running attempt, when they have grown */
};

struct slot_header {
    uint32_t kind; /* enum slot_message */
    uint32_t length;
};

struct slot_configure {
    uint32_t slot; /* from 1 */
    uint32_t segment;
    /* folder of the worker, NUL */
};

/* Followed by strings, each with its NUL: folder name, cwd, input, argv, env, links (name, target),
 * outputs; and then by the item's bytes. */
struct slot_start {
    struct mf_fence fence;
    uint32_t argc;
    uint32_t env_count;
    uint32_t link_count;
    uint32_t output_count;
    uint32_t stdin_mode; /* enum mf_stdin */
    uint32_t reserved;
    uint64_t timeout_us;
    uint64_t kill_after_us;
    uint64_t output_max;
    uint64_t log_max;
    uint64_t offset;
    uint64_t length;
    uint64_t header_length;
    uint64_t input_size;
    int64_t input_mtime_ns;
    uint64_t input_inode; /* 0 = not checked */
    uint64_t item_length;
};

struct slot_stream {
    uint64_t offset;
    uint64_t length;
    uint64_t cut_bytes;
    uint32_t segment;
    uint32_t reserved;
};

struct slot_ended {
    struct mf_fence fence;
    uint32_t cause; /* enum mf_cause */
    int32_t exit_code;
    int32_t signal;
    uint32_t inline_length;
    uint32_t detail_length;
    uint32_t stuck; /* the slot ends itself now: it has processes that nobody can end */
    uint64_t wall_us;
    uint64_t user_us;
    uint64_t system_us;
    uint64_t peak_kib;
    uint64_t result_bytes;
    int64_t ended_us;
    struct slot_stream out;
    struct slot_stream err;
};

/* What a running attempt has written so far and may be sent (standard output up to log_max). It
 * stays where it is until the attempt is released. cut_bytes are 0. */
struct slot_streams {
    struct mf_fence fence;
    struct slot_stream out;
    struct slot_stream err;
};

struct slot_output {
    struct mf_fence fence;
    uint64_t size;
    uint32_t mode;
    uint32_t number; /* its name in <folder>.out */
};

/* An attempt's folder in attempts/; its outputs are kept in the same name with ".out" behind it. */
#define SLOT_NAME_SIZE 48
static inline void slot_folder_name(char *text, const struct mf_fence *fence)
{
    snprintf(text,
             SLOT_NAME_SIZE,
             "%llu-%u-%u",
             (unsigned long long)fence->subtask,
             fence->attempt,
             fence->epoch);
}

static inline bool slot_same_fence(const struct mf_fence *a, const struct mf_fence *b)
{
    return a->subtask == b->subtask && a->attempt == b->attempt && a->epoch == b->epoch;
}

#endif
