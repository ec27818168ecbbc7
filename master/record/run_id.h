/* SPDX-License-Identifier: Apache-2.0 */
/* The id of a run, "20261122-084512-wordcount-7f3a": when it was made (UTC), its job's name, and a
 * random part. Any thread. */
#ifndef MAYFLY_MASTER_RECORD_RUN_ID_H
#define MAYFLY_MASTER_RECORD_RUN_ID_H

#define RUN_ID_SIZE 96

/*
 * Who makes the id. A trigger binds a run to its id before there is a folder that would make the id
 * unique; so that no run by hand can take it in between, the random parts of the two never meet:
 * those of triggers are odd.
 */
enum run_id_maker { RUN_ID_BY_HAND, RUN_ID_BY_TRIGGER };

void run_id_make(const char *job_name, enum run_id_maker maker, char run_id[RUN_ID_SIZE]);

#endif
