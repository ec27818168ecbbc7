/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One captured stream of a slot: a pipe that stays from attempt to attempt, a buffer, and the
 * slot's segment file, to which it is appended when the buffer does not hold it, or when the
 * attempt runs on and what it has written so far is to be sent.
 */
#ifndef MAYFLY_WORKER_CAPTURE_H
#define MAYFLY_WORKER_CAPTURE_H

#include "worker/failure.h"

struct capture {
    int read_fd; /* never blocks */
    int write_fd;
    int segment_fd; /* -1: not opened yet */
    const char *suffix;
    uint32_t slot;
    uint32_t segment;
    uint64_t position; /* where the segment ends */
    uint64_t start;    /* of this attempt in the segment */
    uint64_t limit;    /* bytes to keep */
    uint64_t total;    /* bytes that came */
    uint64_t kept;     /* bytes of them that are in the segment or the buffer */
    uint64_t shown;    /* bytes of them that capture_grow has told of */
    size_t buffered;
    size_t copied; /* bytes at the buffer's start that are in the segment too */
    unsigned char buffer[MF_INLINE_MAX];
};

/* `suffix` ("out" or "err") is borrowed. -1 with errno. */
int capture_open(struct capture *capture, const char *suffix, uint32_t slot, uint32_t segment);
void capture_close(struct capture *capture);

/* For a new attempt: keeps at most `limit` bytes. -1 with errno when the pipe is lost. */
int capture_begin(struct capture *capture, uint64_t limit);

/* Reads once what is in the pipe. */
int capture_read(struct capture *capture, struct failure *failure);

/* Whether all of it is in the buffer still. */
bool capture_is_inline(const struct capture *capture);

/* Whether there is something that capture_grow would tell, of the first `limit` bytes. */
bool capture_has_grown(const struct capture *capture, uint64_t limit);
/* While the attempt runs: what came so far, at most `limit` bytes of it, can be read from the
 * segment as *stream says. Where the segment cannot be written that is less; it is no failure of
 * the attempt. */
void capture_grow(struct capture *capture, uint64_t limit, struct slot_stream *stream);

/* At the end: what is in the buffer goes to the segment, and what is over `limit` is cut off. */
int capture_finish(struct capture *capture,
                   uint64_t limit,
                   struct slot_stream *stream,
                   struct failure *failure);
/* At the end of one that is inline: nothing is written. */
void capture_drop(const struct capture *capture, struct slot_stream *stream);

#endif
