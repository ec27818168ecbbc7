/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captured streams: see capture.h.
 *
 * The pipe is made once. Nobody waits for its end of file (this process holds its write end): when
 * all processes of the attempt are gone, what is in the pipe is all there is. A short attempt that
 * prints little and succeeds never touches a file.
 *
 * What capture_grow writes stays in the buffer, since the attempt's result may still be an inline
 * one. The copy is then in nobody's stream, but its place is not used again: it may be read now.
 *
 * Killed in the middle, a segment holds bytes that nobody refers to; it is removed with the
 * worker's folder.
 */
#include "worker/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int capture_open(struct capture *capture, const char *suffix, uint32_t slot, uint32_t segment)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    capture->read_fd = ends[0];
    capture->write_fd = ends[1];
    capture->segment_fd = -1;
    capture->suffix = suffix;
    capture->slot = slot;
    capture->segment = segment;
    capture->position = 0;
    return fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

void capture_close(struct capture *capture)
{
    close(capture->read_fd);
    close(capture->write_fd);
    if (capture->segment_fd >= 0)
        close(capture->segment_fd);
}

int capture_begin(struct capture *capture, uint64_t limit)
{
    if (capture->position >= SLOT_SEGMENT_MAX) {
        close(capture->segment_fd);
        capture->segment_fd = -1;
        capture->segment++;
        capture->position = 0;
    }
    capture->start = capture->position;
    capture->limit = limit;
    capture->total = 0;
    capture->kept = 0;
    capture->shown = 0;
    capture->buffered = 0;
    capture->copied = 0;
    /* The former command may have made its end non-blocking: it is the same open pipe. */
    return fcntl(capture->write_fd, F_SETFL, 0);
}

static int open_segment(struct capture *capture, struct failure *failure)
{
    char path[64];
    snprintf(path,
             sizeof path,
             "../streams/slot%u-%u.%s",
             capture->slot,
             capture->segment,
             capture->suffix);
    capture->segment_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (capture->segment_fd < 0)
        return fail_attempt_errno(
            failure, MF_CAUSE_WORKER_ERROR, "cannot make the segment %s for captured output", path);
    return 0;
}

/* What is in the buffer is in the segment, too. */
static int copy(struct capture *capture, struct failure *failure)
{
    if (capture->segment_fd < 0 && capture->buffered > 0 && open_segment(capture, failure) < 0)
        return -1;
    while (capture->copied < capture->buffered) {
        ssize_t n = pwrite(capture->segment_fd,
                           capture->buffer + capture->copied,
                           capture->buffered - capture->copied,
                           (off_t)capture->position);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_attempt_errno(failure,
                                      MF_CAUSE_WORKER_ERROR,
                                      "cannot write captured output (%llu bytes so far) to the "
                                      "worker's streams folder",
                                      (unsigned long long)capture->kept);
        capture->copied += (size_t)n;
        capture->position += (uint64_t)n;
    }
    return 0;
}

static int spill(struct capture *capture, struct failure *failure)
{
    if (copy(capture, failure) < 0)
        return -1;
    capture->buffered = capture->copied = 0;
    return 0;
}

int capture_read(struct capture *capture, struct failure *failure)
{
    if (capture->buffered == sizeof capture->buffer && spill(capture, failure) < 0)
        capture->buffered = capture->copied = 0; /* the attempt has failed; go on draining */
    unsigned char *at = capture->buffer + capture->buffered;
    ssize_t n = read(capture->read_fd, at, sizeof capture->buffer - capture->buffered);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0)
        return fail_attempt_errno(
            failure, MF_CAUSE_WORKER_ERROR, "cannot read the command's output from its pipe");
    uint64_t room = capture->limit - capture->kept;
    size_t taken = (uint64_t)n < room ? (size_t)n : (size_t)room;
    capture->total += (uint64_t)n;
    capture->kept += taken;
    capture->buffered += taken;
    return 0;
}

bool capture_is_inline(const struct capture *capture)
{
    return capture->kept == capture->total && capture->buffered == capture->total;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool capture_has_grown(const struct capture *capture, uint64_t limit)
{
    uint64_t held =
        capture->position - capture->start + (uint64_t)(capture->buffered - capture->copied);
    return least(held, limit) > capture->shown;
}

void capture_grow(struct capture *capture, uint64_t limit, struct slot_stream *stream)
{
    struct failure ignored = {0};
    copy(capture, &ignored);
    capture->shown = least(capture->position - capture->start, limit);
    *stream = (struct slot_stream){
        .offset = capture->start, .length = capture->shown, .segment = capture->segment};
}

int capture_finish(struct capture *capture,
                   uint64_t limit,
                   struct slot_stream *stream,
                   struct failure *failure)
{
    int rc = spill(capture, failure);
    uint64_t held = capture->position - capture->start;
    if (held > limit) {
        held = limit;
        capture->position = capture->start + held;
        if (ftruncate(capture->segment_fd, (off_t)capture->position) < 0)
            rc = fail_attempt_errno(
                failure, MF_CAUSE_WORKER_ERROR, "cannot cut the segment of captured output");
    }
    *stream = (struct slot_stream){.offset = capture->start,
                                   .length = held,
                                   .cut_bytes = capture->total - held,
                                   .segment = capture->segment};
    return rc;
}

void capture_drop(const struct capture *capture, struct slot_stream *stream)
{
    *stream = (struct slot_stream){.segment = capture->segment};
}
