/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of logs/ on any bytes. The input: a byte of flags, the length of the index (4 bytes,
 * little-endian), the index, the rest is segment 1. Checksums would keep the fuzzer outside, so by
 * the flags it has the headers (1), the blocks (2) and the index entries (4) made right for it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "master/record/log_format.h"
#include "master/record/log_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];

static uint32_t get_u32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static void put_u32(unsigned char *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (unsigned char)(value >> (8 * i));
}

static void remove_folder(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/index", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/000001.seg", folder);
    unlink(path);
    rmdir(folder);
}

static void make_folder(void)
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%s/fuzz-log-XXXXXX", base);
    if (mkdtemp(folder) == NULL)
        abort();
    atexit(remove_folder);
}

static void write_file(const char *name, const unsigned char *bytes, size_t length)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length)
        abort();
    close(fd);
}

/* Gives each block the checksums that its bytes ask for. */
static void mend_blocks(unsigned char *bytes, size_t length)
{
    for (size_t at = LOG_FILE_HEADER; length - at >= LOG_BLOCK_HEADER && at < length;) {
        size_t left = length - at - LOG_BLOCK_HEADER;
        size_t stored = get_u32(bytes + at + 4);
        if (stored > left)
            return;
        unsigned char *body = bytes + at + LOG_BLOCK_HEADER;
        put_u32(bytes + at, 0x424c464du); /* "MFLB" */
        put_u32(bytes + at + 20, (uint32_t)crc32_z(0, body, stored));
        put_u32(bytes + at + 24, (uint32_t)crc32_z(0, bytes + at, 24));
        at += LOG_BLOCK_HEADER + stored;
    }
}

static void mend_entries(unsigned char *bytes, size_t length)
{
    for (size_t at = LOG_FILE_HEADER; length - at >= LOG_ENTRY_HEADER && at < length;) {
        size_t left = length - at - LOG_ENTRY_HEADER;
        size_t set = get_u32(bytes + at + 28);
        if (set > left)
            return;
        put_u32(bytes + at, 0x454c464du); /* "MFLE" */
        uint32_t crc = (uint32_t)crc32_z(0, bytes + at, 48);
        put_u32(bytes + at + 48, (uint32_t)crc32_z(crc, bytes + at + LOG_ENTRY_HEADER, set));
        at += LOG_ENTRY_HEADER + set;
    }
}

/* Reads all that matches, and a little more after the end or an error. */
static void read_all(uint64_t subtask, unsigned streams)
{
    struct mf_error error;
    struct log_reader *reader = log_reader_open(folder, &error);
    struct log_piece piece;
    unsigned sum = 0;
    if (reader == NULL)
        abort();
    for (int calls = 0; calls < 3; calls++)
        while (log_reader_next(reader, subtask, 0, 0, streams, &piece, &error) > 0)
            for (size_t i = 0; i < piece.data.length; i++)
                sum += piece.data.data[i];
    log_reader_close(reader);
    if (sum == 0xffffffff) /* the bytes were touched */
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 5 || size > 1 << 20)
        return 0;
    if (folder[0] == '\0')
        make_folder();
    size_t index_length = get_u32(data + 1);
    if (index_length > size - 5)
        index_length = size - 5;
    size_t segment_length = size - 5 - index_length;
    unsigned char *index = malloc(index_length + 1), *segment = malloc(segment_length + 1);
    if (index == NULL || segment == NULL)
        abort();
    memcpy(index, data + 5, index_length);
    memcpy(segment, data + 5 + index_length, segment_length);
    if ((data[0] & 1) != 0 && index_length >= LOG_FILE_HEADER)
        log_put_file_header(index, LOG_INDEX, 0);
    if ((data[0] & 1) != 0 && segment_length >= LOG_FILE_HEADER)
        log_put_file_header(segment, LOG_SEGMENT, 1);
    if ((data[0] & 2) != 0)
        mend_blocks(segment, segment_length);
    if ((data[0] & 4) != 0)
        mend_entries(index, index_length);
    write_file("index", index, index_length);
    write_file("000001.seg", segment, segment_length);
    free(index);
    free(segment);
    read_all(0, 0);
    read_all(3, 1u << LOG_STDERR);

    /* A writer that continues may refuse, but what it accepts can be read afterwards. */
    struct log_writer *writer = log_writer_open(folder, NULL);
    if (writer != NULL)
        log_writer_append(writer, 3, 1, 1, LOG_STDERR, mf_bytes_text("more"), 0, NULL);
    log_writer_close(writer);
    read_all(3, 0);
    return 0;
}
