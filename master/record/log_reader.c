/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading logs/, also while it is written. The index leads to the blocks; behind its end (or
 * without it) blocks are found one after the other in the segments. A block or entry that is not
 * whole at the very end is what a writer is writing now, or was when it was killed: the end.
 * Anywhere else it is damage, named with file and offset.
 */
#include "master/record/log_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/record/log_format.h"

struct log_reader {
    char *folder;
    int index_fd; /* -1 while it is not there */
    uint64_t index_at;
    int segment_fd;   /* -1 while it is not there */
    uint32_t segment; /* the one that is read, from 1 */
    uint64_t at;      /* blocks before this place in it are done */
    struct log_scan scan;
    bool in_block;   /* pieces of scan.plain are left */
    size_t piece_at; /* where the next one is */
};

static int raise_damage(const struct log_reader *reader,
                        enum log_file file,
                        uint32_t number,
                        uint64_t offset,
                        struct mf_error *error)
{
    char *path = log_path(reader->folder, file, number);
    mf_raise(error,
             MF_EINPUT,
             "%s is damaged at offset %llu%s",
             path != NULL ? path : reader->folder,
             (unsigned long long)offset,
             file == LOG_INDEX ? ": remove it, the segments can be read without it" : "");
    mf_free(path);
    return -1;
}

static uint64_t size_of(int fd)
{
    struct stat facts;
    return fd >= 0 && fstat(fd, &facts) == 0 ? (uint64_t)facts.st_size : 0;
}

/* Opens a file of the store: 1, 0 when it is not there or has no whole header yet, -1. */
static int open_file(const struct log_reader *reader,
                     enum log_file file,
                     uint32_t number,
                     int *fd,
                     struct mf_error *error)
{
    unsigned char header[LOG_FILE_HEADER];
    char *path = log_path(reader->folder, file, number);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "memory is exhausted while reading a log");
    int result = 0;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) {
        result = errno == ENOENT ? 0 : mf_raise_errno(error, "cannot open %s", path);
    } else {
        ssize_t got = pread(*fd, header, sizeof header, 0);
        if (got == sizeof header)
            result = log_check_file_header(header, file, number)
                         ? 1
                         : raise_damage(reader, file, number, 0, error);
        else if (got < 0)
            result = mf_raise_errno(error, "cannot read %s", path);
    }
    if (result != 1 && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    mf_free(path);
    return result;
}

/* Makes `number` the segment that is read, from its start: as open_file. */
static int open_segment(struct log_reader *reader, uint32_t number, struct mf_error *error)
{
    int fd = -1;
    if (reader->segment_fd >= 0 && reader->segment == number)
        return 1;
    int result = open_file(reader, LOG_SEGMENT, number, &fd, error);
    if (result != 1)
        return result;
    if (reader->segment_fd >= 0)
        close(reader->segment_fd);
    reader->segment_fd = fd;
    reader->segment = number;
    reader->at = LOG_FILE_HEADER;
    return 1;
}

static bool has_segment(const struct log_reader *reader, uint32_t number)
{
    char path[4096]; /* not from the heap: no answer is not the answer no */
    snprintf(path, sizeof path, "%s/%06u.seg", reader->folder, number);
    return access(path, F_OK) == 0;
}

struct log_reader *log_reader_open(const char *folder, struct mf_error *error)
{
    struct log_reader *reader = mf_calloc(1, sizeof *reader);
    if (reader == NULL || (reader->folder = mf_strdup(folder)) == NULL) {
        mf_raise(error, MF_ENOMEM, "memory is exhausted while opening %s", folder);
        mf_free(reader);
        return NULL;
    }
    reader->index_fd = reader->segment_fd = -1;
    reader->index_at = LOG_FILE_HEADER;
    reader->segment = 1;
    reader->at = LOG_FILE_HEADER;
    return reader;
}

void log_reader_close(struct log_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->index_fd >= 0)
        close(reader->index_fd);
    if (reader->segment_fd >= 0)
        close(reader->segment_fd);
    log_scan_fini(&reader->scan);
    mf_free(reader->folder);
    mf_free(reader);
}

/* A block begins to be read: its pieces come now. */
static int begin_block(struct log_reader *reader, const struct log_entry *entry)
{
    reader->at = entry->offset + entry->length;
    reader->in_block = true;
    reader->piece_at = 0;
    return 1;
}

/* Behind the index: the block at the place that is reached. 1, 0 at the end, -1. */
static int next_scanned(struct log_reader *reader, struct mf_error *error)
{
    struct log_entry entry;
    for (;;) {
        int is_open = open_segment(reader, reader->segment, error);
        if (is_open <= 0)
            return is_open;
        /* Asked before the read: once the next one is there, this one grows no more. */
        bool is_last = !has_segment(reader, reader->segment + 1);
        enum log_find found =
            log_read_block(&reader->scan, reader->segment_fd, reader->at, &entry, error);
        if (found == LOG_FAILED)
            return -1;
        if (found == LOG_FOUND)
            return begin_block(reader, &entry);
        uint64_t size = size_of(reader->segment_fd);
        if (is_last && (size <= reader->at || size - reader->at <= LOG_BLOCK_MAX))
            return 0;
        if (is_last || size != reader->at)
            return raise_damage(reader, LOG_SEGMENT, reader->segment, reader->at, error);
        is_open = open_segment(reader, reader->segment + 1, error);
        if (is_open <= 0)
            return is_open;
    }
}

/* The block of an index entry. 1, 0 when it is torn off at the end, -1. */
static int open_block(struct log_reader *reader,
                      const struct log_entry *entry,
                      uint64_t next_entry,
                      struct mf_error *error)
{
    struct log_entry actual, next;
    int is_open = open_segment(reader, entry->segment, error);
    if (is_open < 0)
        return -1;
    enum log_find found = LOG_TORN;
    if (is_open > 0)
        found = log_read_block(&reader->scan, reader->segment_fd, entry->offset, &actual, error);
    if (found == LOG_FAILED)
        return -1;
    if (found == LOG_FOUND && actual.length == entry->length)
        return begin_block(reader, entry);
    bool is_last = !has_segment(reader, entry->segment + 1);
    if (is_last && found == LOG_BAD) {
        found = log_read_entry(&reader->scan, reader->index_fd, next_entry, &next, error);
        if (found == LOG_FAILED)
            return -1;
        is_last = found != LOG_FOUND;
    }
    if (is_last)
        return 0;
    return raise_damage(reader, LOG_SEGMENT, entry->segment, entry->offset, error);
}

/* The next block that may hold `subtask`. 1, 0 at the end, -1. */
static int next_block(struct log_reader *reader, uint64_t subtask, struct mf_error *error)
{
    struct log_entry entry;
    for (;;) {
        if (reader->index_fd < 0 && open_file(reader, LOG_INDEX, 0, &reader->index_fd, error) < 0)
            return -1;
        if (reader->index_fd < 0)
            return next_scanned(reader, error);
        enum log_find found =
            log_read_entry(&reader->scan, reader->index_fd, reader->index_at, &entry, error);
        if (found == LOG_FAILED)
            return -1;
        if (found == LOG_BAD &&
            size_of(reader->index_fd) > reader->index_at + LOG_ENTRY_HEADER + LOG_PLAIN_MAX)
            return raise_damage(reader, LOG_INDEX, 0, reader->index_at, error);
        if (found != LOG_FOUND)
            return next_scanned(reader, error);
        uint64_t next_entry = reader->index_at + LOG_ENTRY_HEADER + entry.set_length;
        bool is_done = entry.segment < reader->segment ||
                       (entry.segment == reader->segment && entry.offset < reader->at);
        if (!is_done && subtask != 0 && !log_entry_has(&reader->scan, &entry, subtask)) {
            int is_open = open_segment(reader, entry.segment, error);
            if (is_open <= 0)
                return is_open;
            reader->at = entry.offset + entry.length;
            is_done = true;
        }
        if (!is_done) {
            int result = open_block(reader, &entry, next_entry, error);
            if (result <= 0)
                return result;
            reader->index_at = next_entry;
            return 1;
        }
        reader->index_at = next_entry;
    }
}

int log_reader_next(struct log_reader *reader,
                    uint64_t subtask,
                    uint32_t attempt,
                    uint32_t worker,
                    unsigned streams,
                    struct log_piece *piece,
                    struct mf_error *error)
{
    for (;;) {
        struct mf_bytes plain = mf_buffer_view(&reader->scan.plain);
        while (reader->in_block) {
            reader->in_block = log_get_piece(plain, &reader->piece_at, piece);
            if (reader->in_block && (subtask == 0 || piece->subtask == subtask) &&
                (attempt == 0 || piece->attempt == attempt) &&
                (worker == 0 || piece->worker == worker) &&
                (streams == 0 || (streams >> piece->stream & 1) != 0))
                return 1;
        }
        int more = next_block(reader, subtask, error);
        if (more <= 0)
            return more;
    }
}
