/* SPDX-License-Identifier: Apache-2.0 */
/* Within the split module: the named fields of an item that is a JSON object. */
#ifndef MAYFLY_MASTER_SPLIT_FIELDS_H
#define MAYFLY_MASTER_SPLIT_FIELDS_H

#include "common/buffer.h"
#include "common/error.h"

/*
 * Appends the object's members as mf_subtask has fields: strings as they are, numbers and true and
 * false as JSON writes them, null as nothing, what is nested as JSON. Appends nothing for a body
 * that is no JSON object. -1: MF_ENOMEM.
 */
int fields_of_json(struct mf_bytes body, struct mf_buffer *out, struct mf_error *error);

#endif
