/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: see journal.h. Lines, their words separated by blanks; all begin with the kind, the
 * monotonic and the wall clock in microseconds:
 *
 *     joined       MONO WALL EPOCH
 *     start        MONO WALL SUBTASK ATTEMPT EPOCH
 *     end          MONO WALL SUBTASK ATTEMPT EPOCH CAUSE EXIT_CODE SIGNAL BYTES CRC OUTPUTS CRC
 *     acknowledged MONO WALL SUBTASK ATTEMPT EPOCH EPOCH_OF_THE_MASTER
 *     crash        MONO WALL POINT
 *
 * The first crc32 is of the result, the second of the outputs in the order of their names: name,
 * NUL, content, one behind the other. Both are 0 of what is not done.
 */
#include "worker/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"

#define LINE_SIZE 256

static int journal_fd = -1;
static char path_of_journal[PATH_MAX];

int journal_open_file(const char *path, struct mf_error *error)
{
    if (path == NULL)
        return 0;
    int n = snprintf(path_of_journal, sizeof path_of_journal, "%s", path);
    if (n < 0 || (size_t)n >= sizeof path_of_journal)
        return mf_raise(error, MF_ESETUP, "MAYFLY_JOURNAL: its path is too long");
    journal_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (journal_fd < 0)
        return mf_raise_errno(error, "cannot open the journal %s (MAYFLY_JOURNAL)", path);
    return 0;
}

int journal_open(const char *folder, const char *run_id, uint32_t worker, struct mf_error *error)
{
    if (folder == NULL)
        return 0;
    if (folder[0] != '/')
        return mf_raise(error, MF_ESETUP, "MAYFLY_JOURNAL=%.200s is not an absolute path", folder);
    char *path = mf_format("%s/%s-%u.journal", folder, run_id, worker);
    int rc = path == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: the journal")
                          : journal_open_file(path, error);
    mf_free(path);
    return rc;
}

const char *journal_path(void)
{
    return journal_fd < 0 ? NULL : path_of_journal;
}

static void note(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One line, by one write: nothing else of it is there when the process is killed. */
static void note(const char *kind, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list args;
    int length = snprintf(line,
                          sizeof line,
                          "%s %lld %lld ",
                          kind,
                          (long long)mf_monotonic_us(),
                          (long long)mf_wall_us());
    va_start(args, format);
    length += vsnprintf(line + length, sizeof line - (size_t)length, format, args);
    va_end(args);
    if (length < LINE_SIZE - 1) {
        line[length++] = '\n';
        if (write(journal_fd, line, (size_t)length) == length)
            return;
    }
    mf_log(MF_ERROR, "cannot write the journal %s: %s", path_of_journal, strerror(errno));
    abort();
}

void journal_joined(uint32_t epoch)
{
    if (journal_fd >= 0)
        note("joined", "%u", epoch);
}

void journal_start(const struct mf_fence *fence)
{
    if (journal_fd >= 0)
        note("start",
             "%llu %u %u",
             (unsigned long long)fence->subtask,
             fence->attempt,
             fence->epoch);
}

static void write_end(const struct mf_result *result, uint32_t checksum, uint32_t outputs)
{
    bool done = result->cause == MF_CAUSE_NONE;
    note("end",
         "%llu %u %u %u %d %d %llu %08x %u %08x",
         (unsigned long long)result->subtask,
         result->attempt,
         result->epoch,
         result->cause,
         result->exit_code,
         result->signal,
         done ? (unsigned long long)result->result_bytes : 0ull,
         done ? checksum : 0,
         done ? result->output_count : 0,
         done ? outputs : 0);
}

static unsigned long sum_file(unsigned long sum, const struct executed_file *file)
{
    unsigned char buffer[8192];
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    uint64_t at = 0;
    while (fd >= 0 && at < file->length) {
        uint64_t left = file->length - at;
        ssize_t n = pread(fd,
                          buffer,
                          left < sizeof buffer ? (size_t)left : sizeof buffer,
                          (off_t)(file->offset + at));
        if (n <= 0)
            break; /* the upload says so, and this attempt gets another end */
        sum = crc32(sum, buffer, (uInt)n);
        at += (uint64_t)n;
    }
    if (fd >= 0)
        close(fd);
    return sum;
}

void journal_end(const struct executed *executed)
{
    if (journal_fd < 0)
        return;
    const struct mf_result *result = &executed->result;
    unsigned long checksum = result->checksum, outputs = 0;
    for (uint32_t i = 0; i < executed->file_count; i++) {
        const struct executed_file *file = &executed->files[i];
        if (file->kind == MF_CHUNK_RESULT) {
            checksum = sum_file(0, file);
        } else if (file->kind == MF_CHUNK_OUTPUT) {
            outputs = crc32(outputs, (const Bytef *)file->name, (uInt)strlen(file->name) + 1);
            outputs = sum_file(outputs, file);
        }
    }
    write_end(result, (uint32_t)checksum, (uint32_t)outputs);
}

void journal_noop(const struct mf_result *result)
{
    const struct mf_fence fence = {
        .subtask = result->subtask, .attempt = result->attempt, .epoch = result->epoch};
    if (journal_fd < 0)
        return;
    journal_start(&fence);
    write_end(result, result->checksum, 0);
}

void journal_acknowledged(const struct mf_result *results, uint32_t count, uint32_t epoch)
{
    for (uint32_t i = 0; journal_fd >= 0 && i < count; i++)
        note("acknowledged",
             "%llu %u %u %u",
             (unsigned long long)results[i].subtask,
             results[i].attempt,
             results[i].epoch,
             epoch);
}

void journal_crash(const char *point)
{
    if (journal_fd >= 0)
        note("crash", "%s", point);
}
