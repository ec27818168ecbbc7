/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a cron expression. It is refused with a sentence, or it means something: then its
 * sets are within their fields, and the next time is one that fits, with none that fits before it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "master/cron/calendar.h"
#include "master/cron/cron.h"

#define AFTER 1767225600 /* 2026 */

static void check_that(bool holds)
{
    if (!holds)
        abort();
}

static void check_sets(const struct cron *cron)
{
    check_that(cron->minutes != 0 && cron->minutes >> 60 == 0);
    check_that(cron->hours != 0 && cron->hours >> 24 == 0);
    check_that((cron->days & 1) == 0 && (cron->days != 0 || cron->has_last_day));
    check_that(cron->months != 0 && (cron->months & 1) == 0 && cron->months >> 13 == 0);
    check_that(cron->weekdays >> 7 == 0);
    for (int i = 0; i < 7; i++)
        check_that(cron->nth[i] < 1u << 6);
}

static void check_next(const struct cron *cron)
{
    int64_t next, after = AFTER * INT64_C(1000000);
    check_that(cron_next(cron, "UTC", after, &next, NULL) == 1 && next > after);
    if (cron->every_us != 0) {
        check_that(next == after + cron->every_us);
        return;
    }
    check_that(next == calendar_after(cron, AFTER) * 1000000);
    check_that(cron->minutes >> (next / 60000000 % 60) & 1);
    check_that(cron->hours >> (next / 3600000000 % 24) & 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mf_error error = {0};
    struct cron cron;
    char *text = mf_memdup(data, size);
    check_that(text != NULL);
    if (cron_parse(text, &cron, &error) < 0) {
        check_that(error.code == MF_EUSAGE && strstr(error.text, "cron expression: ") != NULL);
    } else {
        if (cron.every_us == 0)
            check_sets(&cron);
        check_next(&cron);
    }
    mf_free(text);
    return 0;
}
