/* SPDX-License-Identifier: Apache-2.0 */
/* Failures of an attempt: see failure.h. */
#include "worker/failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 4, 0))) static int raise_failure(
    struct failure *failure, uint32_t cause, const char *reason, const char *format, va_list args)
{
    if (failure->cause != MF_CAUSE_NONE)
        return -1;
    failure->cause = cause;
    int n = vsnprintf(failure->text, sizeof failure->text, format, args);
    if (reason != NULL && n >= 0 && (size_t)n < sizeof failure->text)
        snprintf(failure->text + n, sizeof failure->text - (size_t)n, ": %s", reason);
    return -1;
}

int fail_attempt(struct failure *failure, uint32_t cause, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    raise_failure(failure, cause, NULL, format, args);
    va_end(args);
    return -1;
}

int fail_attempt_errno(struct failure *failure, uint32_t cause, const char *format, ...)
{
    char reason[128];
    bool is_full = errno == ENOSPC || errno == EDQUOT;
    snprintf(reason,
             sizeof reason,
             "%s%s",
             strerror(errno),
             is_full ? "; make room on this host, or leave it out" : "");
    va_list args;
    va_start(args, format);
    raise_failure(failure, cause, reason, format, args);
    va_end(args);
    return -1;
}
