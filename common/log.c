/* SPDX-License-Identifier: Apache-2.0 */
/* The log: see log.h. An entry is one write, so that lines of several threads never mix. */
#include "common/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"

static atomic_int log_fd = -1;
static atomic_int log_level = MF_INFO;
static atomic_bool log_for_journal;

void mf_log_to(int fd, enum mf_level level)
{
    atomic_store(&log_fd, fd);
    atomic_store(&log_level, (int)level);
}

/* "device:inode" of the journal's stream: another one, to a file say, is not it. */
void mf_log_for_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat facts;
    char own[64] = "";
    if (stream != NULL && fstat(fd, &facts) == 0)
        snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)facts.st_dev, (uintmax_t)facts.st_ino);
    atomic_store(&log_for_journal, own[0] != '\0' && strcmp(own, stream) == 0);
}

/* What stands before the sentence; its length. */
static size_t begin_line(char *line, size_t size, enum mf_level level)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    static const int priorities[] = {7, 6, 4, 3}; /* of syslog(3) */
    char stamp[MF_STAMP_SIZE];
    if (atomic_load(&log_for_journal))
        return (size_t)snprintf(line, size, "<%d>", priorities[level]);
    return (size_t)snprintf(line, size, "%s %s ", mf_stamp(mf_wall_us(), stamp), names[level]);
}

static size_t escape(char *line, size_t at, size_t size, const char *text)
{
    for (; *text != '\0' && at + 6 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f)
            at += (size_t)snprintf(line + at, size - at, "\\x%02x", c);
        else
            line[at++] = *text;
    }
    return at;
}

void mf_log(enum mf_level level, const char *format, ...)
{
    int fd = atomic_load(&log_fd);
    if (fd < 0 || (int)level < atomic_load(&log_level))
        return;
    char text[2048], line[3072];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t n = begin_line(line, sizeof line, level);
    n = escape(line, n, sizeof line - 1, text);
    line[n++] = '\n';
    ssize_t written = write(fd, line, n);
    (void)written; /* a log that cannot be written must not stop the work */
}
