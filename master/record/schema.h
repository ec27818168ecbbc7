/* SPDX-License-Identifier: Apache-2.0 */
/* The text of schema.sql, built into the program. */
#ifndef MAYFLY_MASTER_RECORD_SCHEMA_H
#define MAYFLY_MASTER_RECORD_SCHEMA_H

extern const char record_schema[];

#endif
