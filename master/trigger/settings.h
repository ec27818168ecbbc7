/* SPDX-License-Identifier: Apache-2.0 */
/* A job's `trigger` as JSON, as it stands in the column `settings`: durations in us, no password.
 */
#ifndef MAYFLY_MASTER_TRIGGER_SETTINGS_H
#define MAYFLY_MASTER_TRIGGER_SETTINGS_H

#include "common/error.h"
#include "master/job/job.h"
#include "master/trigger/row.h"

/* "queue", "cron", "after". */
const char *trigger_kind_word(enum trigger_kind kind);
/* TRIGGER_NONE when it is none of them. */
enum trigger_kind trigger_kind_of(const char *word);
/* "success", "failure", "always". */
const char *trigger_on_word(enum trigger_on on);

/* Heap; NULL: MF_ENOMEM. */
char *trigger_settings_write(const struct job_trigger *trigger, struct mf_error *error);
/* What a row takes from there: all of kind cron. MF_EINPUT when it is malformed. */
int trigger_settings_read(const char *text, struct trigger_row *row, struct mf_error *error);

#endif
