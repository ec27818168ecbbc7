/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of expressions, for compare.py: a line of standard input is a question, its answer a line
 * of standard output. Times are seconds since 1970.
 *
 *     next TAB FROM TAB COUNT TAB EXPRESSION    the first COUNT after FROM
 *     ticks TAB FROM TAB TO TAB EXPRESSION      what ticks each minute fire from FROM to TO
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/cron/due.h"

#define SECOND 1000000

static void print_next(const struct cron *cron, int64_t from, int64_t count)
{
    int64_t at = from * SECOND;
    for (int64_t i = 0; i < count && cron_next(cron, "UTC", at, &at, NULL) == 1; i++)
        printf("%" PRId64 " ", at / SECOND);
}

/* A tick comes some seconds after each full minute; nobody looks at those where nothing is due. */
static void print_ticks(const struct cron *cron, int64_t from, int64_t to)
{
    struct cron_question question = {.cron = cron,
                                     .zone = "UTC",
                                     .last_due_us = from * SECOND,
                                     .now_us = from * SECOND,
                                     .catchup = CRON_CATCHUP_NONE,
                                     .tick_us = CRON_TICK_US};
    for (;;) {
        struct cron_answer answer;
        if (cron_due(&question, &answer, NULL) < 0)
            abort();
        for (size_t i = 0; i < answer.count; i++)
            printf("%" PRId64 " ", answer.due_us[i] / SECOND);
        question.last_due_us = answer.last_due_us;
        if (answer.next_us > to * SECOND)
            return;
        question.now_us = answer.next_us / CRON_TICK_US * CRON_TICK_US + CRON_TICK_US + 3 * SECOND;
    }
}

static void answer(char *line)
{
    struct mf_error error;
    struct cron cron;
    char *rest = line;
    const char *what = strsep(&rest, "\t");
    const char *from = strsep(&rest, "\t"), *number = strsep(&rest, "\t");
    if (number == NULL || rest == NULL)
        abort();
    if (cron_parse(rest, &cron, &error) < 0)
        printf("error: %s", error.text);
    else if (strcmp(what, "next") == 0)
        print_next(&cron, strtoll(from, NULL, 10), strtoll(number, NULL, 10));
    else
        print_ticks(&cron, strtoll(from, NULL, 10), strtoll(number, NULL, 10));
    putchar('\n');
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    while ((length = getline(&line, &size, stdin)) > 0) {
        line[length - 1] = '\0';
        answer(line);
    }
    free(line);
    return 0;
}
