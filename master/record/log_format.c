/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of logs/: see log_format.h. Lengths are checked before they are used or allocated for.
 */
#include "master/record/log_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "common/alloc.h"

#define FILE_MAGIC_SEGMENT 0x534c464du /* "MFLS" */
#define FILE_MAGIC_INDEX 0x494c464du   /* "MFLI" */
#define BLOCK_MAGIC 0x424c464du        /* "MFLB" */
#define ENTRY_MAGIC 0x454c464du        /* "MFLE" */
#define VERSION 1
#define FLAG_DEFLATED 1u

static void put_u32(unsigned char *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (unsigned char)(value >> (8 * i));
}

static void put_u64(unsigned char *out, uint64_t value)
{
    put_u32(out, (uint32_t)value);
    put_u32(out + 4, (uint32_t)(value >> 32));
}

static uint32_t get_u32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static uint64_t get_u64(const unsigned char *bytes)
{
    return (uint64_t)get_u32(bytes) | (uint64_t)get_u32(bytes + 4) << 32;
}

static uint32_t checksum(const unsigned char *bytes, size_t length)
{
    return (uint32_t)crc32_z(0, bytes, length);
}

void log_put_file_header(unsigned char *out, enum log_file file, uint32_t number)
{
    put_u32(out, file == LOG_SEGMENT ? FILE_MAGIC_SEGMENT : FILE_MAGIC_INDEX);
    put_u32(out + 4, VERSION);
    put_u32(out + 8, number);
    put_u32(out + 12, checksum(out, 12));
}

bool log_check_file_header(const unsigned char *bytes, enum log_file file, uint32_t number)
{
    unsigned char expected[LOG_FILE_HEADER];
    log_put_file_header(expected, file, number);
    return memcmp(bytes, expected, sizeof expected) == 0;
}

bool log_is_other_version(const unsigned char *bytes)
{
    uint32_t magic = get_u32(bytes);
    return (magic == FILE_MAGIC_SEGMENT || magic == FILE_MAGIC_INDEX) &&
           get_u32(bytes + 12) == checksum(bytes, 12) && get_u32(bytes + 4) != VERSION;
}

int log_put_piece(struct mf_buffer *plain, const struct log_piece *piece, struct mf_error *error)
{
    if (mf_buffer_reserve(plain, LOG_PIECE_HEADER + piece->data.length, error) < 0)
        return -1;
    unsigned char header[LOG_PIECE_HEADER];
    put_u64(header, piece->subtask);
    put_u32(header + 8, piece->attempt);
    put_u32(header + 12, piece->worker);
    put_u32(header + 16, (uint32_t)piece->stream);
    put_u64(header + 20, piece->cut_bytes);
    put_u32(header + 28, (uint32_t)piece->data.length);
    mf_buffer_append(plain, header, sizeof header, NULL); /* reserved: these cannot fail */
    mf_buffer_append(plain, piece->data.data, piece->data.length, NULL);
    return 0;
}

bool log_get_piece(struct mf_bytes plain, size_t *at, struct log_piece *piece)
{
    if (plain.length - *at < LOG_PIECE_HEADER)
        return false;
    const unsigned char *header = plain.data + *at;
    uint32_t length = get_u32(header + 28);
    uint32_t stream = get_u32(header + 16);
    if (length > plain.length - *at - LOG_PIECE_HEADER || stream < LOG_STDOUT ||
        stream > LOG_WORKER)
        return false;
    piece->subtask = get_u64(header);
    piece->attempt = get_u32(header + 8);
    piece->worker = get_u32(header + 12);
    piece->stream = (enum log_stream)stream;
    piece->cut_bytes = get_u64(header + 20);
    piece->data = mf_bytes_of(header + LOG_PIECE_HEADER, length);
    *at += LOG_PIECE_HEADER + length;
    return true;
}

void log_put_block_header(unsigned char *out,
                          struct mf_bytes stored,
                          uint32_t plain_length,
                          uint32_t piece_count,
                          bool is_deflated)
{
    put_u32(out, BLOCK_MAGIC);
    put_u32(out + 4, (uint32_t)stored.length);
    put_u32(out + 8, plain_length);
    put_u32(out + 12, piece_count);
    put_u32(out + 16, is_deflated ? FLAG_DEFLATED : 0);
    put_u32(out + 20, checksum(stored.data, stored.length));
    put_u32(out + 24, checksum(out, 24));
}

static int compare_subtasks(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;
    return (one > two) - (one < two);
}

static int append_varint(struct mf_buffer *out, uint64_t value, struct mf_error *error)
{
    unsigned char bytes[10];
    size_t length = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[length++] = (unsigned char)(value | 0x80);
    bytes[length++] = (unsigned char)value;
    return mf_buffer_append(out, bytes, length, error);
}

int log_put_entry(struct mf_buffer *out,
                  struct log_entry *entry,
                  uint64_t *subtasks,
                  struct mf_error *error)
{
    unsigned char header[LOG_ENTRY_HEADER] = {0};
    size_t start = out->length;
    qsort(subtasks, entry->piece_count, sizeof *subtasks, compare_subtasks);
    if (mf_buffer_append(out, header, sizeof header, error) < 0)
        return -1;
    for (uint32_t i = 1; i < entry->piece_count; i++)
        if (subtasks[i] != subtasks[i - 1] &&
            append_varint(out, subtasks[i] - subtasks[i - 1], error) < 0)
            return -1;
    entry->first = subtasks[0];
    entry->last = subtasks[entry->piece_count - 1];
    entry->set_length = (uint32_t)(out->length - start - sizeof header);
    unsigned char *at = out->data + start;
    put_u32(at, ENTRY_MAGIC);
    put_u32(at + 4, entry->segment);
    put_u64(at + 8, entry->offset);
    put_u32(at + 16, entry->length);
    put_u32(at + 20, entry->plain_length);
    put_u32(at + 24, entry->piece_count);
    put_u32(at + 28, entry->set_length);
    put_u64(at + 32, entry->first);
    put_u64(at + 40, entry->last);
    /* The checksum is over everything but itself: the head, then the set. */
    uint32_t crc = checksum(at, 48);
    crc = (uint32_t)crc32_z(crc, at + LOG_ENTRY_HEADER, entry->set_length);
    put_u32(at + 48, crc);
    return 0;
}

void log_scan_fini(struct log_scan *scan)
{
    mf_buffer_fini(&scan->raw);
    mf_buffer_fini(&scan->plain);
}

/* Reads `length` bytes to the end of scan->raw. */
static enum log_find
read_at(struct log_scan *scan, int fd, uint64_t offset, size_t length, struct mf_error *error)
{
    if (offset > (uint64_t)INT64_MAX - length)
        return LOG_BAD;
    if (mf_buffer_reserve(&scan->raw, length, error) < 0)
        return LOG_FAILED;
    for (size_t done = 0; done < length;) {
        ssize_t got =
            pread(fd, scan->raw.data + scan->raw.length, length - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            mf_raise_errno(error, "cannot read a log");
            return LOG_FAILED;
        }
        if (got == 0)
            return LOG_TORN;
        scan->raw.length += (size_t)got;
        done += (size_t)got;
    }
    return LOG_FOUND;
}

enum log_find log_read_entry(
    struct log_scan *scan, int fd, uint64_t offset, struct log_entry *entry, struct mf_error *error)
{
    mf_buffer_clear(&scan->raw);
    enum log_find found = read_at(scan, fd, offset, LOG_ENTRY_HEADER, error);
    if (found != LOG_FOUND)
        return found;
    const unsigned char *at = scan->raw.data;
    entry->segment = get_u32(at + 4);
    entry->offset = get_u64(at + 8);
    entry->length = get_u32(at + 16);
    entry->plain_length = get_u32(at + 20);
    entry->piece_count = get_u32(at + 24);
    entry->set_length = get_u32(at + 28);
    entry->first = get_u64(at + 32);
    entry->last = get_u64(at + 40);
    if (get_u32(at) != ENTRY_MAGIC || entry->segment == 0 || entry->segment > 999999 ||
        entry->length > LOG_BLOCK_MAX || entry->plain_length > LOG_PLAIN_MAX ||
        entry->piece_count > LOG_PLAIN_MAX / LOG_PIECE_HEADER ||
        entry->set_length > entry->piece_count * 10)
        return LOG_BAD;
    found = read_at(scan, fd, offset + LOG_ENTRY_HEADER, entry->set_length, error);
    if (found != LOG_FOUND)
        return found;
    at = scan->raw.data;
    uint32_t crc = checksum(at, 48);
    crc = (uint32_t)crc32_z(crc, at + LOG_ENTRY_HEADER, entry->set_length);
    return crc == get_u32(at + 48) ? LOG_FOUND : LOG_BAD;
}

bool log_entry_has(const struct log_scan *scan, const struct log_entry *entry, uint64_t subtask)
{
    if (subtask < entry->first || subtask > entry->last)
        return false;
    const unsigned char *at = scan->raw.data + LOG_ENTRY_HEADER, *end = at + entry->set_length;
    uint64_t value = entry->first;
    while (value < subtask && at < end) {
        uint64_t delta = 0;
        unsigned shift = 0;
        do
            delta |= (uint64_t)(*at & 0x7f) << shift;
        while ((*at++ & 0x80) != 0 && at < end && (shift += 7) < 64);
        value += delta;
    }
    return value == subtask;
}

static enum log_find
inflate_block(struct log_scan *scan, uint32_t plain_length, struct mf_error *error)
{
    mf_buffer_clear(&scan->plain);
    if (mf_buffer_reserve(&scan->plain, plain_length, error) < 0)
        return LOG_FAILED;
    uLongf length = plain_length;
    int rc = uncompress(scan->plain.data,
                        &length,
                        scan->raw.data + LOG_BLOCK_HEADER,
                        scan->raw.length - LOG_BLOCK_HEADER);
    if (rc == Z_MEM_ERROR) {
        mf_raise(error, MF_ENOMEM, "memory is exhausted while reading a log");
        return LOG_FAILED;
    }
    scan->plain.length = length;
    return rc == Z_OK && length == plain_length ? LOG_FOUND : LOG_BAD;
}

static bool are_pieces_whole(struct mf_bytes plain, uint32_t expected)
{
    struct log_piece piece;
    size_t at = 0;
    uint32_t count = 0;
    while (log_get_piece(plain, &at, &piece))
        count++;
    return at == plain.length && count == expected;
}

enum log_find log_read_block(
    struct log_scan *scan, int fd, uint64_t offset, struct log_entry *entry, struct mf_error *error)
{
    mf_buffer_clear(&scan->raw);
    enum log_find found = read_at(scan, fd, offset, LOG_BLOCK_HEADER, error);
    if (found != LOG_FOUND)
        return found;
    const unsigned char *header = scan->raw.data;
    uint32_t stored_length = get_u32(header + 4), plain_length = get_u32(header + 8);
    uint32_t piece_count = get_u32(header + 12), flags = get_u32(header + 16);
    uint32_t crc = get_u32(header + 20);
    if (get_u32(header) != BLOCK_MAGIC || get_u32(header + 24) != checksum(header, 24) ||
        plain_length > LOG_PLAIN_MAX || stored_length > plain_length || piece_count == 0 ||
        flags > FLAG_DEFLATED || (flags == 0 && stored_length != plain_length))
        return LOG_BAD;
    found = read_at(scan, fd, offset + LOG_BLOCK_HEADER, stored_length, error);
    if (found != LOG_FOUND)
        return found;
    if (checksum(scan->raw.data + LOG_BLOCK_HEADER, stored_length) != crc)
        return LOG_BAD;
    if (flags == FLAG_DEFLATED) {
        found = inflate_block(scan, plain_length, error);
    } else {
        mf_buffer_clear(&scan->plain);
        if (mf_buffer_append(
                &scan->plain, scan->raw.data + LOG_BLOCK_HEADER, stored_length, error) < 0)
            found = LOG_FAILED;
    }
    if (found != LOG_FOUND)
        return found;
    if (!are_pieces_whole(mf_buffer_view(&scan->plain), piece_count))
        return LOG_BAD;
    entry->offset = offset;
    entry->length = LOG_BLOCK_HEADER + stored_length;
    entry->plain_length = plain_length;
    entry->piece_count = piece_count;
    return LOG_FOUND;
}

enum log_find log_next_block(
    struct log_scan *scan, int fd, uint64_t offset, struct log_entry *entry, struct mf_error *error)
{
    static const unsigned char magic[4] = {'M', 'F', 'L', 'B'};
    unsigned char window[16384];
    for (;;) {
        enum log_find found = log_read_block(scan, fd, offset, entry, error);
        if (found == LOG_FOUND || found == LOG_FAILED)
            return found;
        const unsigned char *next = NULL;
        while (next == NULL) { /* the next place that looks like one */
            ssize_t got = pread(fd, window, sizeof window, (off_t)offset + 1);
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0) {
                mf_raise_errno(error, "cannot read a log");
                return LOG_FAILED;
            }
            if (got < (ssize_t)sizeof magic)
                return LOG_TORN;
            next = memmem(window, (size_t)got, magic, sizeof magic);
            offset +=
                next != NULL ? (uint64_t)(next - window) + 1 : (uint64_t)got - (sizeof magic - 1);
        }
    }
}

char *log_path(const char *folder, enum log_file file, uint32_t number)
{
    if (file == LOG_INDEX)
        return mf_format("%s/index", folder);
    return mf_format("%s/%06u.seg", folder, number);
}
