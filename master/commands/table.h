/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table with aligned columns on standard output. The first rows are kept until their widths are
 * known, the others follow as they come: memory does not grow with the table. One thread.
 */
#ifndef MAYFLY_MASTER_COMMANDS_TABLE_H
#define MAYFLY_MASTER_COMMANDS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

struct table;

/* Titles are copied. NULL: MF_ENOMEM. */
struct table *table_create(size_t columns, const char *const *titles, struct mf_error *error);
/* The next cell; a row is complete with its last one. Control characters are escaped. */
int table_cell(struct table *table, struct mf_bytes text, bool right, struct mf_error *error);
int table_text(struct table *table, const char *text, struct mf_error *error); /* to the left */
int table_number(struct table *table, uint64_t number, struct mf_error *error);
/* Prints what is kept. */
int table_end(struct table *table, struct mf_error *error);
void table_destroy(struct table *table); /* NULL is fine */

#endif
