/* SPDX-License-Identifier: Apache-2.0 */
/* Stamps as text, for tables of times. */
#ifndef MAYFLY_TESTS_UNIT_CRON_STAMPS_H
#define MAYFLY_TESTS_UNIT_CRON_STAMPS_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>

#include <cmocka.h>

#include "master/cron/cron.h"

/* "2026-03-29T01:00Z" or with seconds, in microseconds. */
static inline int64_t stamp(const char *text)
{
    struct tm tm = {0};
    const char *end =
        strptime(text, strlen(text) > 17 ? "%Y-%m-%dT%H:%M:%SZ" : "%Y-%m-%dT%H:%MZ", &tm);
    assert_true(end != NULL && *end == '\0');
    return (int64_t)timegm(&tm) * 1000000;
}

static inline const char *shown(int64_t us, char text[32])
{
    time_t at = us / 1000000;
    struct tm tm;
    gmtime_r(&at, &tm);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return text;
}

static inline struct cron parsed(const char *text)
{
    struct mf_error error;
    struct cron cron;
    if (cron_parse(text, &cron, &error) < 0)
        fail_msg("%s: %s", text, error.text);
    return cron;
}

#endif
