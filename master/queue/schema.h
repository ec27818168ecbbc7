/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of queues.db as SQL, made from schema.sql. */
#ifndef MAYFLY_MASTER_QUEUE_SCHEMA_H
#define MAYFLY_MASTER_QUEUE_SCHEMA_H

#define QUEUE_APPLICATION_ID 0x4d617971 /* "Mayq" */
#define QUEUE_SCHEMA_VERSION 1

extern const char queue_schema[];

#endif
