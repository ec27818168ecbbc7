/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading logs/, also while it is written. The index leads to the blocks; behind its end (or
 * without it) blocks are found one after the other in the segments. A block or entry that is not
 * whole at the very end is what a writer is writing now, or was when it was killed: the end.
 * Anywhere else it is damage: it is named once, with file and offset, and what is whole behind it
 * comes with the next calls. A block speaks for itself, so a damaged index or header costs nothing.
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
    bool has_bad_index;
    bool has_torn_end;   /* that was named */
    uint32_t bad_header; /* the segment whose damaged header was named */
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
             file == LOG_INDEX ? ": the segments are read without it" : "");
    mf_free(path);
    return -1;
}

static uint64_t size_of(int fd)
{
    struct stat facts;
    return fd >= 0 && fstat(fd, &facts) == 0 ? (uint64_t)facts.st_size : 0;
}

/* A header that does not fit: -1 when it has to be named, 0 when that is done. */
static int judge_header(struct log_reader *reader,
                        const unsigned char *header,
                        enum log_file file,
                        uint32_t number,
                        struct mf_error *error)
{
    if (log_is_other_version(header))
        return mf_raise(error,
                        MF_ESETUP,
                        "the logs in %s are of another version: use the mayfly that wrote them",
                        reader->folder);
    if (file == LOG_INDEX)
        reader->has_bad_index = true;
    else if (reader->bad_header == number)
        return 0;
    else
        reader->bad_header = number;
    return raise_damage(reader, file, number, 0, error);
}

/* Opens a file of the store: 1, 0 when it is not there or has no whole header yet, -1. */
static int open_file(
    struct log_reader *reader, enum log_file file, uint32_t number, int *fd, struct mf_error *error)
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
            result = log_check_file_header(header, file, number) ||
                             judge_header(reader, header, file, number, error) == 0
                         ? 1
                         : -1;
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

/* No whole block is at the place that is reached: goes to where the next one is and names what is
 * between, or goes to the next segment (1), or this is the end (0). */
static int pass_damage(struct log_reader *reader, bool is_last, struct mf_error *error)
{
    struct log_entry entry;
    uint64_t damaged = reader->at, size = size_of(reader->segment_fd);
    uint32_t segment = reader->segment;
    enum log_find found = log_next_block(&reader->scan, reader->segment_fd, damaged, &entry, error);
    if (found == LOG_FAILED)
        return -1;
    if (found == LOG_FOUND) {
        reader->at = entry.offset;
        return damaged == entry.offset ? 1
                                       : raise_damage(reader, LOG_SEGMENT, segment, damaged, error);
    }
    if (is_last && (size <= damaged || size - damaged <= LOG_BLOCK_MAX))
        return 0;
    reader->at = size;
    if (!is_last) {
        int is_open = open_segment(reader, segment + 1, error);
        if (is_open <= 0)
            return is_open;
    }
    return size == damaged ? 1 : raise_damage(reader, LOG_SEGMENT, segment, damaged, error);
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
        int passed = pass_damage(reader, is_last, error);
        if (passed <= 0)
            return passed;
    }
}

/* The block of an index entry; where it is not, what the segment has instead. 1, 0 at the end, -1.
 */
static int
open_block(struct log_reader *reader, const struct log_entry *entry, struct mf_error *error)
{
    struct log_entry actual;
    int rc = open_segment(reader, entry->segment, error);
    if (rc > 0) {
        enum log_find found =
            log_read_block(&reader->scan, reader->segment_fd, entry->offset, &actual, error);
        if (found == LOG_FAILED)
            return -1;
        if (found == LOG_FOUND && actual.length == entry->length)
            return begin_block(reader, entry);
        reader->at = entry->offset;
        rc = next_scanned(reader, error);
    }
    /* A block is written before its entry: one that is torn, although it has an entry, is damage.
     */
    if (rc != 0 || reader->has_torn_end)
        return rc;
    reader->has_torn_end = true;
    return raise_damage(reader, LOG_SEGMENT, entry->segment, entry->offset, error);
}

/* The entry at the place that is reached in the index: 1, 0 when there is none (any more), -1. */
static int next_entry(struct log_reader *reader, struct log_entry *entry, struct mf_error *error)
{
    if (reader->index_fd < 0 && !reader->has_bad_index &&
        open_file(reader, LOG_INDEX, 0, &reader->index_fd, error) < 0)
        return -1;
    if (reader->index_fd < 0 || reader->has_bad_index)
        return 0;
    enum log_find found =
        log_read_entry(&reader->scan, reader->index_fd, reader->index_at, entry, error);
    if (found == LOG_FAILED)
        return -1;
    if (found == LOG_BAD &&
        size_of(reader->index_fd) > reader->index_at + LOG_ENTRY_HEADER + LOG_PLAIN_MAX) {
        reader->has_bad_index = true;
        return raise_damage(reader, LOG_INDEX, 0, reader->index_at, error);
    }
    return found == LOG_FOUND ? 1 : 0;
}

/* Whether something stands before the entry's block that no entry tells of. 1, 0, -1. */
static int has_gap(struct log_reader *reader, const struct log_entry *entry, struct mf_error *error)
{
    int is_open = open_segment(reader, reader->segment, error);
    if (is_open <= 0)
        return is_open;
    return entry->segment == reader->segment ? entry->offset > reader->at
                                             : size_of(reader->segment_fd) > reader->at;
}

/* The next block that may hold `subtask`. 1, 0 at the end, -1. */
static int next_block(struct log_reader *reader, uint64_t subtask, struct mf_error *error)
{
    struct log_entry entry;
    for (;;) {
        int rc = next_entry(reader, &entry, error);
        if (rc <= 0)
            return rc < 0 ? -1 : next_scanned(reader, error);
        uint64_t following = reader->index_at + LOG_ENTRY_HEADER + entry.set_length;
        bool is_done = entry.segment < reader->segment ||
                       (entry.segment == reader->segment && entry.offset < reader->at);
        int gap = is_done ? 0 : has_gap(reader, &entry, error);
        if (gap != 0)
            return gap < 0 ? -1 : next_scanned(reader, error);
        if (!is_done && subtask != 0 && !log_entry_has(&reader->scan, &entry, subtask)) {
            int is_open = open_segment(reader, entry.segment, error);
            if (is_open <= 0)
                return is_open;
            reader->at = entry.offset + entry.length;
            is_done = true;
        }
        reader->index_at = is_done ? following : reader->index_at;
        if (!is_done) {
            rc = open_block(reader, &entry, error);
            if (rc > 0)
                reader->index_at = following;
            return rc;
        }
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
