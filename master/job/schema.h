/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of the job file's keys. It drives reading, defaults, error messages and the table
 * in docs/job-file.md (a test compares them).
 */
#ifndef MAYFLY_MASTER_JOB_SCHEMA_H
#define MAYFLY_MASTER_JOB_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

/* What a key may hold; several bits = several ways to write it. */
enum schema_type {
    SCHEMA_MAP = 1 << 0,
    SCHEMA_LIST = 1 << 1, /* of strings */
    SCHEMA_TEXT = 1 << 2,
    SCHEMA_INTEGER = 1 << 3,
    SCHEMA_NUMBER = 1 << 4,
    SCHEMA_BOOL = 1 << 5,
    SCHEMA_DURATION = 1 << 6,
    SCHEMA_SIZE = 1 << 7,
    SCHEMA_CHOICE = 1 << 8,
    SCHEMA_SHARE = 1 << 9,  /* "1%" */
    SCHEMA_CODES = 1 << 10, /* a list of exit codes */
    SCHEMA_RANGE = 1 << 11, /* "0-10:2" */
    SCHEMA_LATER = 1 << 12, /* known, but of a later version */
    SCHEMA_MAPS = 1 << 13   /* a list of mappings, each with the keys below */
};

/* Where a value goes when it is not simply a member of struct job. */
enum schema_target {
    TARGET_FIELD, /* the member at offset, or nothing when size is 0 */
    TARGET_LINE,  /* one text: as a list of one (globs) */
    TARGET_ENV,
    TARGET_COLUMN,
    TARGET_TOLERATE,
    TARGET_PATH, /* a text that becomes an absolute path: ~/ is the home, else from the job's folder
                  */
    TARGET_HOSTS,
    TARGET_SECRET, /* a struct job_secret, and its sources: the member, or a new one of `secrets` */
    TARGET_NOTIFY, /* the list; each mapping of it becomes a struct job_notify */
    TARGET_NAMED_KIND /* a bare word of a kind whose mapping has options */
};

struct schema_key {
    const char *path;    /* "task.timeout"; the last part * = any name */
    unsigned types;      /* enum schema_type */
    const char *choices; /* words, separated by spaces; a * behind one: of a later version */
    const char
        *fallback; /* as written in YAML, NULL = none, "(...)": in words, for the reader only */
    const char *example;
    const char *help;
    int64_t min,
        max;         /* of an integer, number, size or duration (us); both 0 = as the type allows */
    int choice_base; /* number of the first choice */
    enum schema_target target;
    bool of_notify;      /* the member is one of struct job_notify, of the one that is being read */
    size_t offset, size; /* the member of struct job; size 0 = none */
};

#define SCHEMA_MAX 192 /* rows */

/* The rows, numbered from 0; NULL behind the last one. */
const struct schema_key *schema_at(size_t number);
size_t schema_count(void);
/* The number of a row, below SCHEMA_MAX. */
size_t schema_number(const struct schema_key *row);

/* The row of `parent` (its path, "" at the top) and `key`; NULL when unknown. */
const struct schema_key *schema_find(const char *parent, const char *key);
/* The row of a whole path; for paths known when written. */
const struct schema_key *schema_row(const char *path);

/* Appends what helps with an unknown key: "; did you mean 'x'?", or where it belongs, or the known
 * keys. */
int schema_hint(const char *parent, const char *key, struct mf_buffer *out, struct mf_error *error);

/* Appends what the key expects: "a duration such as 500ms, 15m or 1h". */
int schema_expectation(const struct schema_key *row, struct mf_buffer *out, struct mf_error *error);

/* The number of a choice; -1: none of them, -2: of a later version. */
int schema_choice(const struct schema_key *row, const char *word);

/* Edit distance (insert, delete, replace, swap neighbours); words over 63 bytes are far from
 * everything. */
size_t schema_distance(const char *a, const char *b);

/* Appends the table of keys as it stands in docs/job-file.md. */
int schema_document(struct mf_buffer *out, struct mf_error *error);

#endif
