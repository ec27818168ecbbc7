/* SPDX-License-Identifier: Apache-2.0 */
/* Wanted pieces: see only.h. */
#include "master/job/only.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"

#define PIECE_MAX (((uint64_t)1 << 47) - 1)

static int compare(const void *a, const void *b)
{
    const struct job_range *left = a, *right = b;
    return (left->first > right->first) - (left->first < right->first);
}

static int add(struct job_only *only, uint64_t first, uint64_t last, struct mf_error *error)
{
    if ((only->count & (only->count - 1)) == 0) { /* full: it holds powers of two */
        size_t capacity = only->count == 0 ? 1 : only->count * 2;
        struct job_range *more = mf_realloc(only->ranges, capacity * sizeof *more);
        if (more == NULL)
            return mf_raise(error, MF_ENOMEM, "out of memory while reading the job file");
        only->ranges = more;
    }
    only->ranges[only->count++] = (struct job_range){.first = first, .last = last};
    return 0;
}

/* A number from 1 at *text, which is moved behind it and blanks; 0 = there is none. */
static uint64_t read_number(const char **text)
{
    uint64_t number = 0;
    const char *p = *text + strspn(*text, " \t");
    for (; *p >= '0' && *p <= '9' && number <= PIECE_MAX; p++)
        number = number * 10 + (uint64_t)(*p - '0');
    *text = p + strspn(p, " \t");
    return number <= PIECE_MAX ? number : 0;
}

static int parse_text(const char *text, struct job_only *only, struct mf_error *error)
{
    const char *p = text;
    do {
        uint64_t first = read_number(&p), last = first;
        if (first > 0 && *p == '-') {
            p++;
            last = read_number(&p);
        }
        if (first == 0 || last < first || (*p != '\0' && *p != ','))
            return mf_raise(error,
                            MF_EUSAGE,
                            "expected numbers from 1 and ranges such as 5-9, got '%.60s'",
                            text);
        if (add(only, first, last, error) < 0)
            return -1;
    } while (*p++ == ',');
    return 0;
}

/* Sorts them, and joins those that touch. */
static void settle(struct job_only *only)
{
    size_t kept = 0;
    qsort(only->ranges, only->count, sizeof *only->ranges, compare);
    for (size_t i = 1; i < only->count; i++) {
        struct job_range *last = &only->ranges[kept], *next = &only->ranges[i];
        if (next->first > last->last + 1)
            only->ranges[++kept] = *next;
        else if (next->last > last->last)
            last->last = next->last;
    }
    only->count = kept + 1;
}

int only_parse(const struct job_strings *texts, struct job_only *only, struct mf_error *error)
{
    for (size_t i = 0; i < texts->count; i++)
        if (parse_text(texts->items[i], only, error) < 0)
            return -1;
    if (only->count == 0)
        return mf_raise(error, MF_EUSAGE, "the list is empty; at least one number is expected");
    settle(only);
    return 0;
}

void only_fini(struct job_only *only)
{
    mf_free(only->ranges);
    *only = (struct job_only){0};
}

int only_write(uint64_t first, uint64_t last, struct mf_buffer *out, struct mf_error *error)
{
    if (first == last)
        return mf_buffer_printf(out, error, "%" PRIu64, first);
    return mf_buffer_printf(out, error, "%" PRIu64 "-%" PRIu64, first, last);
}
