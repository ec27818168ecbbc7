/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing logs/: pieces gather in a block; a full block is compressed and appended to the segment,
 * then its entry to the index. Killed in between, the block is found again by scanning behind the
 * last entry. What a failed write left behind is cut off at once, and the block stays in memory and
 * is tried again. Flushed logs survive the death of every process; closed ones a power cut, too.
 */
#include "master/record/log_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "common/alloc.h"
#include "master/record/log_format.h"

struct log_writer {
    char *folder;
    int index_fd, segment_fd;
    uint64_t index_size;
    uint32_t segment; /* its number; 0 before the first */
    uint64_t segment_size;
    struct mf_buffer plain; /* the block that is being filled */
    uint32_t piece_count;
    uint64_t *subtasks; /* of its pieces */
    size_t subtask_capacity;
    struct mf_buffer stored, entry; /* scratch */
    z_stream stream;
    bool has_stream;
};

static int no_memory(const struct log_writer *writer, struct mf_error *error)
{
    return mf_raise(
        error, MF_ENOMEM, "memory is exhausted while writing logs in %s", writer->folder);
}

static int raise_write(const struct log_writer *writer, struct mf_error *error)
{
    return mf_raise_write(error, "cannot write a log in %s", writer->folder);
}

static int write_at(const struct log_writer *writer,
                    int fd,
                    uint64_t offset,
                    struct mf_bytes bytes,
                    struct mf_error *error)
{
    while (bytes.length > 0) {
        ssize_t done = pwrite(fd, bytes.data, bytes.length, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return raise_write(writer, error);
        bytes = mf_bytes_of(bytes.data + done, bytes.length - (size_t)done);
        offset += (uint64_t)done;
    }
    return 0;
}

/* Opens a file of the store and makes sure of its header; *size is its size then. A header that is
 * damaged is written anew (a power cut can take it, and leave what was written later): what the
 * file holds speaks for itself, block by block. Another version is an error. */
static int open_file(const struct log_writer *writer,
                     enum log_file file,
                     uint32_t number,
                     uint64_t *size,
                     struct mf_error *error)
{
    unsigned char header[LOG_FILE_HEADER];
    struct stat facts;
    char *path = log_path(writer->folder, file, number);
    if (path == NULL)
        return no_memory(writer, error);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &facts) < 0) {
        mf_raise_write(error, "cannot open %s", path);
        goto fail;
    }
    *size = (uint64_t)facts.st_size;
    bool is_new = *size < LOG_FILE_HEADER; /* or killed while it was made */
    if (is_new || pread(fd, header, sizeof header, 0) != sizeof header ||
        !log_check_file_header(header, file, number)) {
        if (!is_new && log_is_other_version(header)) {
            mf_raise(error,
                     MF_ESETUP,
                     "the logs in %s are of another version: use the mayfly that wrote them",
                     writer->folder);
            goto fail;
        }
        log_put_file_header(header, file, number);
        if (write_at(writer, fd, 0, mf_bytes_of(header, sizeof header), error) < 0)
            goto fail;
        if (is_new)
            *size = LOG_FILE_HEADER;
    }
    mf_free(path);
    return fd;
fail:
    if (fd >= 0)
        close(fd);
    mf_free(path);
    return -1;
}

static int open_segment(struct log_writer *writer, uint32_t number, struct mf_error *error)
{
    uint64_t size;
    int fd = open_file(writer, LOG_SEGMENT, number, &size, error);
    if (fd < 0)
        return -1;
    if (writer->segment_fd >= 0) {
        fdatasync(writer->segment_fd); /* the log is best effort until it is closed */
        close(writer->segment_fd);
    }
    writer->segment_fd = fd;
    writer->segment = number;
    writer->segment_size = size;
    return 0;
}

static int cut_file(const struct log_writer *writer, int fd, uint64_t size, struct mf_error *error)
{
    return ftruncate(fd, (off_t)size) < 0 ? raise_write(writer, error) : 0;
}

static bool has_segment(const struct log_writer *writer, uint32_t number)
{
    char path[4096]; /* not from the heap: no answer is not the answer no */
    snprintf(path, sizeof path, "%s/%06u.seg", writer->folder, number);
    return access(path, F_OK) == 0;
}

/* Finds the end of the index: behind the last entry whose block is there. */
static int find_index_end(struct log_writer *writer, struct log_scan *scan, struct mf_error *error)
{
    uint64_t at = LOG_FILE_HEADER;
    struct log_entry entry;
    uint64_t end = LOG_FILE_HEADER; /* of the last block, in its segment */
    for (;;) {
        enum log_find found = log_read_entry(scan, writer->index_fd, at, &entry, error);
        if (found == LOG_FAILED)
            return -1;
        if (found != LOG_FOUND)
            break; /* torn or damaged: from here on it is made again from the segments */
        if (entry.segment < writer->segment || !has_segment(writer, entry.segment))
            break; /* its segment is gone: what follows has lost its place, too */
        if (entry.segment != writer->segment) {
            if (open_segment(writer, entry.segment, error) < 0)
                return -1;
            end = LOG_FILE_HEADER;
        }
        if (entry.offset + entry.length > writer->segment_size)
            break;
        end = entry.offset + entry.length;
        at += LOG_ENTRY_HEADER + entry.set_length;
    }
    writer->index_size = at;
    if (writer->segment == 0 && open_segment(writer, 1, error) < 0)
        return -1;
    writer->segment_size = end < writer->segment_size ? end : writer->segment_size;
    return cut_file(writer, writer->index_fd, at, error);
}

static int add_subtask(struct log_writer *writer, uint64_t subtask, struct mf_error *error)
{
    if (writer->piece_count == writer->subtask_capacity) {
        size_t capacity = writer->subtask_capacity != 0 ? writer->subtask_capacity * 2 : 1024;
        uint64_t *subtasks = mf_realloc(writer->subtasks, capacity * sizeof *subtasks);
        if (subtasks == NULL)
            return no_memory(writer, error);
        writer->subtasks = subtasks;
        writer->subtask_capacity = capacity;
    }
    writer->subtasks[writer->piece_count++] = subtask;
    return 0;
}

/* Appends the entry of a block that stands at the end of the segment. */
static int append_entry(struct log_writer *writer, struct log_entry *entry, struct mf_error *error)
{
    mf_buffer_clear(&writer->entry);
    if (log_put_entry(&writer->entry, entry, writer->subtasks, error) < 0)
        return -1;
    struct mf_bytes bytes = mf_buffer_view(&writer->entry);
    if (write_at(writer, writer->index_fd, writer->index_size, bytes, error) < 0) {
        cut_file(writer, writer->index_fd, writer->index_size, NULL);
        return -1;
    }
    writer->index_size += bytes.length;
    return 0;
}

/* Gives an entry to each whole block behind the index's end, past what is damaged. */
static int recover_segment(struct log_writer *writer, struct log_scan *scan, struct mf_error *error)
{
    struct log_entry entry = {.segment = writer->segment};
    enum log_find found;
    while ((found = log_next_block(
                scan, writer->segment_fd, writer->segment_size, &entry, error)) == LOG_FOUND) {
        struct log_piece piece;
        size_t at = 0;
        writer->piece_count = 0;
        while (log_get_piece(mf_buffer_view(&scan->plain), &at, &piece))
            if (add_subtask(writer, piece.subtask, error) < 0)
                return -1;
        if (append_entry(writer, &entry, error) < 0)
            return -1;
        writer->segment_size = entry.offset + entry.length;
    }
    writer->piece_count = 0;
    return found == LOG_FAILED ? -1 : 0;
}

/* What is torn at the end of the last segment is cut off; what is more than a block that a killed
 * writer left is kept, and the next segment begun. */
static int settle_end(struct log_writer *writer, struct mf_error *error)
{
    struct stat facts;
    if (fstat(writer->segment_fd, &facts) < 0)
        return mf_raise_errno(error, "cannot look at a log in %s", writer->folder);
    if ((uint64_t)facts.st_size <= writer->segment_size + LOG_BLOCK_MAX)
        return cut_file(writer, writer->segment_fd, writer->segment_size, error);
    return open_segment(writer, writer->segment + 1, error);
}

static int continue_store(struct log_writer *writer, struct mf_error *error)
{
    struct log_scan scan = {0};
    int result = find_index_end(writer, &scan, error);
    if (result == 0)
        result = recover_segment(writer, &scan, error);
    while (result == 0 && has_segment(writer, writer->segment + 1)) {
        result = open_segment(writer, writer->segment + 1, error);
        writer->segment_size = LOG_FILE_HEADER;
        if (result == 0)
            result = recover_segment(writer, &scan, error);
    }
    log_scan_fini(&scan);
    return result == 0 ? settle_end(writer, error) : result;
}

struct log_writer *log_writer_open(const char *folder, struct mf_error *error)
{
    struct log_writer *writer = mf_calloc(1, sizeof *writer);
    if (writer == NULL) {
        mf_raise(error, MF_ENOMEM, "memory is exhausted while opening %s", folder);
        return NULL;
    }
    writer->index_fd = writer->segment_fd = -1;
    writer->folder = mf_strdup(folder);
    if (writer->folder == NULL || deflateInit(&writer->stream, 1) != Z_OK) {
        mf_raise(error, MF_ENOMEM, "memory is exhausted while opening %s", folder);
        goto fail;
    }
    writer->has_stream = true;
    if (mkdir(folder, 0700) < 0 && errno != EEXIST) {
        mf_raise_write(error, "cannot make the folder %s", folder);
        goto fail;
    }
    writer->index_fd = open_file(writer, LOG_INDEX, 0, &writer->index_size, error);
    if (writer->index_fd < 0 || continue_store(writer, error) < 0)
        goto fail;
    return writer;
fail:
    log_writer_close(writer);
    return NULL;
}

/* Compresses the block into writer->stored behind its header; bytes that do not shrink stay as they
 * are. */
static int pack_block(struct log_writer *writer, struct mf_error *error)
{
    size_t plain = writer->plain.length;
    mf_buffer_clear(&writer->stored);
    if (mf_buffer_reserve(&writer->stored, LOG_BLOCK_HEADER + plain, error) < 0)
        return -1;
    unsigned char *body = writer->stored.data + LOG_BLOCK_HEADER;
    deflateReset(&writer->stream);
    writer->stream.next_in = writer->plain.data;
    writer->stream.avail_in = (uInt)plain;
    writer->stream.next_out = body;
    writer->stream.avail_out = (uInt)plain;
    bool is_deflated = deflate(&writer->stream, Z_FINISH) == Z_STREAM_END;
    size_t length = is_deflated ? plain - writer->stream.avail_out : plain;
    if (!is_deflated)
        memcpy(body, writer->plain.data, plain);
    log_put_block_header(writer->stored.data,
                         mf_bytes_of(body, length),
                         (uint32_t)plain,
                         writer->piece_count,
                         is_deflated);
    writer->stored.length = LOG_BLOCK_HEADER + length;
    return 0;
}

int log_writer_flush(struct log_writer *writer, struct mf_error *error)
{
    if (writer->piece_count == 0)
        return 0;
    if (writer->segment_size >= LOG_SEGMENT_MAX &&
        open_segment(writer, writer->segment + 1, error) < 0)
        return -1;
    if (pack_block(writer, error) < 0)
        return -1;
    struct mf_bytes block = mf_buffer_view(&writer->stored);
    struct log_entry entry = {.segment = writer->segment,
                              .offset = writer->segment_size,
                              .length = (uint32_t)block.length,
                              .plain_length = (uint32_t)writer->plain.length,
                              .piece_count = writer->piece_count};
    if (write_at(writer, writer->segment_fd, writer->segment_size, block, error) < 0 ||
        append_entry(writer, &entry, error) < 0) {
        cut_file(writer, writer->segment_fd, writer->segment_size, NULL);
        return -1;
    }
    writer->segment_size += block.length;
    mf_buffer_clear(&writer->plain);
    writer->piece_count = 0;
    return 0;
}

int log_writer_append(struct log_writer *writer,
                      uint64_t subtask,
                      uint32_t attempt,
                      uint32_t worker,
                      enum log_stream stream,
                      struct mf_bytes data,
                      uint64_t cut_bytes,
                      struct mf_error *error)
{
    if (data.length == 0 && cut_bytes == 0)
        return 0;
    do {
        size_t length = data.length > LOG_PIECE_MAX ? LOG_PIECE_MAX : data.length;
        bool is_last = length == data.length;
        struct log_piece piece = {.subtask = subtask,
                                  .attempt = attempt,
                                  .worker = worker,
                                  .stream = stream,
                                  .data = mf_bytes_of(data.data, length),
                                  .cut_bytes = is_last ? cut_bytes : 0};
        if (writer->plain.length + LOG_PIECE_HEADER + length > LOG_BLOCK_PLAIN &&
            log_writer_flush(writer, error) < 0)
            return -1;
        if (add_subtask(writer, subtask, error) < 0)
            return -1;
        if (log_put_piece(&writer->plain, &piece, error) < 0) {
            writer->piece_count--;
            return -1;
        }
        if (is_last)
            break;
        data = mf_bytes_of(data.data + length, data.length - length);
    } while (true);
    return 0;
}

void log_writer_close(struct log_writer *writer)
{
    if (writer == NULL)
        return;
    log_writer_flush(writer, NULL); /* who must know calls it before */
    if (writer->segment_fd >= 0) {
        fdatasync(writer->segment_fd);
        close(writer->segment_fd);
    }
    if (writer->index_fd >= 0) {
        fdatasync(writer->index_fd);
        close(writer->index_fd);
    }
    if (writer->has_stream)
        deflateEnd(&writer->stream);
    mf_buffer_fini(&writer->plain);
    mf_buffer_fini(&writer->stored);
    mf_buffer_fini(&writer->entry);
    mf_free(writer->subtasks);
    mf_free(writer->folder);
    mf_free(writer);
}
