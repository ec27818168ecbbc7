/* SPDX-License-Identifier: Apache-2.0 */
/* The log: see log.h. An entry is one write, so that lines of several threads never mix. */
#include "common/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

static atomic_int log_fd = -1;
static atomic_int log_level = MF_INFO;

void mf_log_to(int fd, enum mf_level level)
{
    atomic_store(&log_fd, fd);
    atomic_store(&log_level, (int)level);
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
    static const char *const names[] = {"debug", "info", "warning", "error"};
    int fd = atomic_load(&log_fd);
    if (fd < 0 || (int)level < atomic_load(&log_level))
        return;
    char text[2048], line[3072], stamp[MF_STAMP_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t n =
        (size_t)snprintf(line, sizeof line, "%s %s ", mf_stamp(mf_wall_us(), stamp), names[level]);
    n = escape(line, n, sizeof line - 1, text);
    line[n++] = '\n';
    ssize_t written = write(fd, line, n);
    (void)written; /* a log that cannot be written must not stop the work */
}
