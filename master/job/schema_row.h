/* SPDX-License-Identifier: Apache-2.0 */
/* Within the job module: what the files that hold rows of the schema share. */
#ifndef MAYFLY_MASTER_JOB_SCHEMA_ROW_H
#define MAYFLY_MASTER_JOB_SCHEMA_ROW_H

#include "master/job/job.h"
#include "master/job/schema.h"

#define MEMBER(member)                                                                             \
    .offset = offsetof(struct job, member), .size = sizeof(((struct job *)0)->member)
#define LATER(name)                                                                                \
    {                                                                                              \
        .path = name, .types = SCHEMA_LATER                                                        \
    }

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

/* Rows that one file holds. */
struct schema_table {
    const struct schema_key *rows;
    size_t count;
};
#define SCHEMA_TABLE(array)                                                                        \
    {                                                                                              \
        .rows = (array), .count = sizeof(array) / sizeof *(array)                                  \
    }

extern const struct schema_table schema_main, schema_command, schema_trigger, schema_notify;

#endif
