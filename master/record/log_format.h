/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of logs/ (docs/results-table.md, "logs/"): segments of blocks, and one index. All
 * integers are little-endian. Shared by writer and reader; everything read is checked here.
 */
#ifndef MAYFLY_MASTER_RECORD_LOG_FORMAT_H
#define MAYFLY_MASTER_RECORD_LOG_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "master/record/log_store.h"

#define LOG_FILE_HEADER 16           /* of a segment and of the index */
#define LOG_BLOCK_HEADER 28          /* before a block's stored bytes */
#define LOG_ENTRY_HEADER 52          /* of an index entry, before its set of subtasks */
#define LOG_PIECE_HEADER 32          /* before a piece's data, within a block */
#define LOG_BLOCK_PLAIN (256u << 10) /* a block is closed at about this size */
#define LOG_PIECE_MAX (1u << 20)     /* data of one piece; more is split */
#define LOG_PLAIN_MAX (2u << 20)     /* of any block, when read */
#define LOG_BLOCK_MAX (LOG_BLOCK_HEADER + LOG_PLAIN_MAX) /* stored bytes never exceed the plain */
#define LOG_SEGMENT_MAX (64u << 20) /* a segment that has reached it gets no more blocks */

enum log_file { LOG_SEGMENT, LOG_INDEX };

/* What a place in a file turned out to hold. */
enum log_find { LOG_FOUND, LOG_TORN /* the file ends before it does */, LOG_BAD, LOG_FAILED };

/* A block, as its index entry describes it. */
struct log_entry {
    uint32_t segment;
    uint64_t offset; /* of the block's header in the segment */
    uint32_t length; /* of header and stored bytes */
    uint32_t plain_length;
    uint32_t piece_count;
    uint32_t set_length;
    uint64_t first, last; /* the lowest and highest subtask in it */
};

/* Writes LOG_FILE_HEADER bytes. `number` is the segment's; 0 for the index. */
void log_put_file_header(unsigned char *out, enum log_file file, uint32_t number);
bool log_check_file_header(const unsigned char *bytes, enum log_file file, uint32_t number);
/* Whether a header that does not fit is whole, and of another version. */
bool log_is_other_version(const unsigned char *bytes);

/* Appends header and data of a piece to the plain bytes of a block. */
int log_put_piece(struct mf_buffer *plain, const struct log_piece *piece, struct mf_error *error);
/* The piece at *at (which moves behind it): false at the end or when the bytes are none. Borrows.
 */
bool log_get_piece(struct mf_bytes plain, size_t *at, struct log_piece *piece);

/* Writes LOG_BLOCK_HEADER bytes. */
void log_put_block_header(unsigned char *out,
                          struct mf_bytes stored,
                          uint32_t plain_length,
                          uint32_t piece_count,
                          bool is_deflated);

/*
 * Appends an entry; `subtasks` (one a piece) are sorted by it. first, last and set_length of *entry
 * are filled in.
 */
int log_put_entry(struct mf_buffer *out,
                  struct log_entry *entry,
                  uint64_t *subtasks,
                  struct mf_error *error);

/* A reader of blocks and entries; zero-initialised is valid, release with log_scan_fini. */
struct log_scan {
    struct mf_buffer raw;   /* bytes as they are in the file */
    struct mf_buffer plain; /* the last block's, inflated: its pieces */
};
void log_scan_fini(struct log_scan *scan);

/* The entry at `offset` of the index; its set is then in scan->raw behind the header. */
enum log_find log_read_entry(struct log_scan *scan,
                             int fd,
                             uint64_t offset,
                             struct log_entry *entry,
                             struct mf_error *error);
/* Whether the set of the entry that was read last has the subtask. */
bool log_entry_has(const struct log_scan *scan, const struct log_entry *entry, uint64_t subtask);
/* The block at `offset` of a segment, checked and inflated; its pieces are in scan->plain. */
enum log_find log_read_block(struct log_scan *scan,
                             int fd,
                             uint64_t offset,
                             struct log_entry *entry,
                             struct mf_error *error);

/* The first whole block at or behind `offset`, whatever stands before it; LOG_TORN when there is
 * none. */
enum log_find log_next_block(struct log_scan *scan,
                             int fd,
                             uint64_t offset,
                             struct log_entry *entry,
                             struct mf_error *error);

/* "FOLDER/000001.seg" or "FOLDER/index". Freed by mf_free. */
char *log_path(const char *folder, enum log_file file, uint32_t number);

#endif
