/* SPDX-License-Identifier: Apache-2.0 */
/* What start and list commands print: ids, the first word of each line. */
#ifndef MAYFLY_MASTER_LAUNCH_COMMAND_IDS_H
#define MAYFLY_MASTER_LAUNCH_COMMAND_IDS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

#define COMMAND_ID_MAX 200u /* bytes */

/* Sorted, each once; zeroed = none. */
struct command_ids {
    char **items;
    bool *known; /* of each: command_ids_has was asked for it */
    size_t count;
};

/* MF_EINPUT and nothing in *ids when a line is no id: a sentence with what it is. Ended by
 * command_ids_fini in any case. */
int command_ids_parse(const char *output, struct command_ids *ids, struct mf_error *error);
void command_ids_fini(struct command_ids *ids);
bool command_ids_has(struct command_ids *ids, const char *id);

#endif
