/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of the job file by options, in the order of the command line: --set itself, and options
 * that are a short form of it. For job_load and job_parse. */
#ifndef MAYFLY_MASTER_COMMANDS_SETS_H
#define MAYFLY_MASTER_COMMANDS_SETS_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>

#define SETS_MAX 96

/* Zero-initialised is empty. */
struct sets {
    const char *items[SETS_MAX];
    size_t count;
};

/* Appends "key=value" (heap, taken; NULL = memory is exhausted). Does not return when it can't. */
void sets_take(struct sets *sets, char *set, struct argp_state *state);
/* "KEY=VALUE" as the user wrote it. */
void sets_add(struct sets *sets, const char *text, struct argp_state *state);
/* A key with a text, put so that YAML reads this very text. */
void sets_add_text(struct sets *sets, const char *key, const char *value, struct argp_state *state);
/* Whether the key was set, in whatever way. */
bool sets_has(const struct sets *sets, const char *key);
void sets_fini(struct sets *sets);

#endif
