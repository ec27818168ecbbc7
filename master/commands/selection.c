/* SPDX-License-Identifier: Apache-2.0 */
/* Named subtasks: see selection.h. */
#include "master/commands/selection.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "master/commands/text.h"

static int parse_range(const char *text, struct selection_range *range)
{
    const char *dash = strchr(text, '-');
    char first[24];
    if (dash == NULL) {
        int rc = text_number(text, 1, SELECTION_SUBTASK_MAX, &range->first);
        range->last = range->first;
        return rc;
    }
    size_t length = (size_t)(dash - text);
    if (length >= sizeof first)
        return -1;
    memcpy(first, text, length);
    first[length] = '\0';
    if (text_number(first, 1, SELECTION_SUBTASK_MAX, &range->first) < 0)
        return -1;
    return text_number(dash + 1, range->first, SELECTION_SUBTASK_MAX, &range->last);
}

int selection_add(struct selection *selection, const char *text, struct mf_error *error)
{
    struct selection_range range;
    if (parse_range(text, &range) < 0)
        return mf_raise(error,
                        MF_EUSAGE,
                        "\"%s\" is no subtask: expected a number from 1 or a range such as 5-9",
                        text);
    if (selection->count == selection->capacity) {
        size_t capacity = selection->capacity == 0 ? 8 : selection->capacity * 2;
        struct selection_range *more = mf_realloc(selection->ranges, capacity * sizeof *more);
        if (more == NULL)
            return mf_raise(error, MF_ENOMEM, "out of memory: a list of subtasks");
        selection->ranges = more;
        selection->capacity = capacity;
    }
    selection->ranges[selection->count++] = range;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct selection_range *left = a, *right = b;
    return (left->first > right->first) - (left->first < right->first);
}

void selection_close(struct selection *selection)
{
    size_t kept = 0;
    if (selection->count == 0)
        return;
    qsort(selection->ranges, selection->count, sizeof *selection->ranges, compare);
    for (size_t i = 1; i < selection->count; i++) {
        struct selection_range *last = &selection->ranges[kept], *next = &selection->ranges[i];
        if (next->first > last->last + 1)
            selection->ranges[++kept] = *next;
        else if (next->last > last->last)
            last->last = next->last;
    }
    selection->count = kept + 1;
}

bool selection_has(const struct selection *selection, uint64_t subtask)
{
    for (size_t i = 0; i < selection->count; i++)
        if (subtask >= selection->ranges[i].first && subtask <= selection->ranges[i].last)
            return true;
    return selection->count == 0;
}

void selection_fini(struct selection *selection)
{
    mf_free(selection->ranges);
    *selection = (struct selection){0};
}
