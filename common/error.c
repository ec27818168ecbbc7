/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: see error.h. Nothing here allocates, so that exhausted memory can be reported too. */
#include "common/error.h"

#include "common/mayfly.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#undef mf_raise
#undef mf_raise_errno
#undef mf_raise_write
#undef mf_error_prefix

/* Puts ": " and `text` at `at`, the length of what stands there; what does not fit is cut. */
static void append(struct mf_error *error, int at, const char *text)
{
    if (at < 0 || (size_t)at + 3 > sizeof error->text)
        return;
    size_t room = sizeof error->text - (size_t)at - 3;
    size_t length = strnlen(text, room);
    memcpy(error->text + at, ": ", 2);
    memcpy(error->text + at + 2, text, length);
    error->text[(size_t)at + 2 + length] = 0;
}

int mf_raise(struct mf_error *error, int code, const char *format, ...)
{
    if (error == NULL)
        return -1;
    va_list args;
    va_start(args, format);
    error->code = code;
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return -1;
}

int mf_raise_errno(struct mf_error *error, const char *format, ...)
{
    int saved = errno;
    if (error == NULL)
        return -1;
    va_list args;
    va_start(args, format);
    error->code = saved == ENOMEM ? MF_ENOMEM : MF_ESYSTEM;
    int n = vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    append(error, n, strerror(saved));
    errno = saved;
    return -1;
}

static const char *remedy_of(int number)
{
    switch (number) {
    case ENOSPC:
        return "free space";
    case EDQUOT:
        return "free space, or raise the quota";
    case EFBIG:
        return "raise the limit on the size of files (ulimit -f)";
    case EROFS:
        return "mount it writable, and see why it is not (dmesg)";
    case EIO:
        return "check the disk (dmesg)";
    default:
        return NULL;
    }
}

int mf_raise_write(struct mf_error *error, const char *format, ...)
{
    int saved = errno;
    bool is_full = saved == ENOSPC || saved == EDQUOT || saved == EFBIG;
    const char *remedy = remedy_of(saved);
    char why[192];
    if (error == NULL)
        return -1;
    va_list args;
    va_start(args, format);
    error->code = is_full ? MF_EFULL : saved == ENOMEM ? MF_ENOMEM : MF_ESETUP;
    int n = vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    snprintf(why,
             sizeof why,
             is_full ? "the disk is full (%s)%s%s" : "%s%s%s",
             strerror(saved),
             remedy == NULL ? "" : ": ",
             remedy == NULL ? "" : remedy);
    append(error, n, why);
    errno = saved;
    return -1;
}

int mf_error_prefix(struct mf_error *error, const char *format, ...)
{
    if (error == NULL)
        return -1;
    char old[sizeof error->text];
    memcpy(old, error->text, sizeof old);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    append(error, n, old);
    return -1;
}

int mf_error_exit_code(int code)
{
    if (code == MF_OK)
        return MAYFLY_EXIT_SUCCEEDED;
    if (code == MF_EINPUT)
        return MAYFLY_EXIT_FAILED;
    return code == MF_EUSAGE ? MAYFLY_EXIT_USAGE : MAYFLY_EXIT_UNABLE;
}
