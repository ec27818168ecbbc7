/* SPDX-License-Identifier: Apache-2.0 */
/* From a text to a member: see store.h. */
#include "master/job/store.h"

#include <string.h>

#include "common/alloc.h"
#include "master/job/value.h"

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory while reading the job file");
}

static bool is_within(const struct schema_key *row, double value)
{
    return (row->min == 0 && row->max == 0) ||
           (value >= (double)row->min && value <= (double)row->max);
}

char *store_member(struct job *job, const struct schema_key *row)
{
    char *base = row->of_notify ? (char *)&job->notify[job->notify_count - 1] : (char *)job;
    return base + row->offset;
}

/* Writes an unsigned or signed number into the member, whatever its width. */
static void store_integer(struct job *job, const struct schema_key *row, uint64_t value)
{
    char *member = store_member(job, row);
    uint32_t narrow = (uint32_t)value;
    bool flag = value != 0;
    if (row->size == sizeof value)
        memcpy(member, &value, sizeof value);
    else if (row->size == sizeof narrow)
        memcpy(member, &narrow, sizeof narrow);
    else if (row->size == sizeof flag)
        memcpy(member, &flag, sizeof flag);
}

int store_text(struct job *job,
               const struct schema_key *row,
               const char *text,
               struct mf_error *error)
{
    char *copy = mf_strdup(text), *old;
    if (copy == NULL)
        return raise_memory(error);
    memcpy(&old, store_member(job, row), sizeof old);
    mf_free(old);
    memcpy(store_member(job, row), &copy, sizeof copy);
    return 0;
}

int store_scalar(struct job *job, const struct schema_key *row, const char *text)
{
    uint64_t value;
    int64_t number;
    bool flag;
    double real;
    int choice = (row->types & SCHEMA_CHOICE) != 0 ? schema_choice(row, text) : -1;
    if (choice >= 0) {
        store_integer(job, row, (uint64_t)choice);
        return 1;
    }
    if ((row->types & SCHEMA_BOOL) != 0 && value_bool(text, &flag) == 0) {
        store_integer(job, row, flag);
        return 1;
    }
    if (((row->types & SCHEMA_DURATION) != 0 && value_duration(text, &value) == 0) ||
        ((row->types & SCHEMA_SIZE) != 0 && value_size(text, &value) == 0)) {
        if (!is_within(row, (double)value))
            return -1;
        store_integer(job, row, value);
        return 1;
    }
    if ((row->types & SCHEMA_INTEGER) != 0 && value_integer(text, &number) == 0) {
        if (!is_within(row, (double)number))
            return -1;
        store_integer(job, row, (uint64_t)number);
        return 1;
    }
    if ((row->types & SCHEMA_NUMBER) != 0 && value_number(text, &real) == 0) {
        if (!is_within(row, real))
            return -1;
        memcpy(store_member(job, row), &real, sizeof real);
        return 1;
    }
    return 0;
}

int store_defaults(struct job *job, bool of_notify, struct mf_error *error)
{
    for (size_t i = 0; i < schema_count(); i++) {
        const struct schema_key *row = schema_at(i);
        if (row->of_notify != of_notify || row->fallback == NULL || *row->fallback == '(' ||
            row->size == 0)
            continue;
        if (store_scalar(job, row, row->fallback) != 1)
            return mf_raise(
                error, MF_ESYSTEM, "the default of %s does not fit its own schema", row->path);
    }
    return 0;
}
