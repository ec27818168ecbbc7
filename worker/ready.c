/* SPDX-License-Identifier: Apache-2.0 */
/* Results on their way: see ready.h. Three parallel arrays, so that a poll can point at the results
 * as they lie. */
#include "worker/ready.h"

#include <string.h>

#include "common/alloc.h"

static int grow(struct ready_list *list, uint32_t wanted, struct mf_error *error)
{
    if (wanted <= list->capacity)
        return 0;
    uint32_t capacity = list->capacity < 64 ? 64 : list->capacity;
    while (capacity < wanted)
        capacity *= 2;
    struct mf_result *results = mf_realloc(list->results, capacity * sizeof *results);
    if (results != NULL)
        list->results = results;
    struct executed **owners = mf_realloc(list->owners, capacity * sizeof *owners);
    if (owners != NULL)
        list->owners = owners;
    int64_t *ended_us = mf_realloc(list->ended_us, capacity * sizeof *ended_us);
    if (ended_us != NULL)
        list->ended_us = ended_us;
    if (results == NULL || owners == NULL || ended_us == NULL)
        return mf_raise(
            error, MF_ENOMEM, "out of memory: %u results that wait for the master", capacity);
    list->capacity = capacity;
    return 0;
}

int ready_add(struct ready_list *list,
              const struct mf_result *result,
              int64_t ended_us,
              struct executed *owner,
              struct mf_error *error)
{
    if (grow(list, list->count + 1, error) < 0)
        return -1;
    list->results[list->count] = *result;
    list->owners[list->count] = owner;
    list->ended_us[list->count] = ended_us;
    list->count++;
    return 0;
}

static uint32_t count_fitting(const struct ready_list *list, uint32_t most, size_t bytes)
{
    uint32_t count = 0;
    size_t sum = 0;
    while (count < list->count && count < most && (count == 0 || sum < bytes)) {
        sum += list->results[count].inline_result.length + list->results[count].detail.length;
        count++;
    }
    return count;
}

int ready_move(struct ready_list *from,
               struct ready_list *to,
               uint32_t most,
               size_t bytes,
               struct mf_error *error)
{
    uint32_t count = count_fitting(from, most, bytes);
    if (count == from->count) { /* the usual case: swap the lists */
        struct ready_list whole = *from;
        *from = *to;
        *to = whole;
        return 0;
    }
    if (grow(to, count, error) < 0)
        return -1;
    uint32_t rest = from->count - count;
    memcpy(to->results, from->results, count * sizeof *to->results);
    memcpy(to->owners, from->owners, count * sizeof *to->owners);
    memcpy(to->ended_us, from->ended_us, count * sizeof *to->ended_us);
    memmove(from->results, from->results + count, rest * sizeof *from->results);
    memmove(from->owners, from->owners + count, rest * sizeof *from->owners);
    memmove(from->ended_us, from->ended_us + count, rest * sizeof *from->ended_us);
    to->count = count;
    from->count = rest;
    return 0;
}

void ready_stamp(struct ready_list *list, int64_t now_us)
{
    for (uint32_t i = 0; i < list->count; i++)
        list->results[i].age_us = (uint64_t)(now_us - list->ended_us[i]);
}

int ready_return(struct ready_list *from, struct ready_list *to, struct mf_error *error)
{
    uint32_t count = from->count;
    if (grow(to, to->count + count, error) < 0)
        return -1;
    if (count == 0)
        return 0;
    memmove(to->results + count, to->results, to->count * sizeof *to->results);
    memmove(to->owners + count, to->owners, to->count * sizeof *to->owners);
    memmove(to->ended_us + count, to->ended_us, to->count * sizeof *to->ended_us);
    memcpy(to->results, from->results, count * sizeof *to->results);
    memcpy(to->owners, from->owners, count * sizeof *to->owners);
    memcpy(to->ended_us, from->ended_us, count * sizeof *to->ended_us);
    to->count += count;
    from->count = 0;
    return 0;
}

struct executed *ready_take_with_files(struct ready_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        struct executed *owner = list->owners[i];
        if (owner == NULL || owner->file_count == 0)
            continue;
        uint32_t rest = --list->count - i;
        memmove(list->results + i, list->results + i + 1, rest * sizeof *list->results);
        memmove(list->owners + i, list->owners + i + 1, rest * sizeof *list->owners);
        memmove(list->ended_us + i, list->ended_us + i + 1, rest * sizeof *list->ended_us);
        return owner;
    }
    return NULL;
}

void ready_fini(struct ready_list *list)
{
    mf_free(list->results);
    mf_free(list->owners);
    mf_free(list->ended_us);
    *list = (struct ready_list){0};
}
