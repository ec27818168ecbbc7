/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks: "mayfly-tick 1a2b3c4d /home/u/.local/state/mayfly" says of an entry whose it is, and with
 * a checksum of what was written whether somebody has edited it since. Pure.
 */
#ifndef MAYFLY_MASTER_INSTALL_MARK_H
#define MAYFLY_MASTER_INSTALL_MARK_H

#include <stdbool.h>

#include "common/buffer.h"
#include "common/error.h"

#define MARK_WORD "mayfly-tick "

enum mark_state {
    MARK_NONE,   /* no mark of this owner */
    MARK_INTACT, /* as it was written */
    MARK_EDITED  /* changed since */
};

/* Appends the mark for `content`, in the form that `owner` is written in (no blank before it). */
int mark_append(struct mf_buffer *out,
                struct mf_bytes content,
                const char *owner,
                struct mf_error *error);

/* Whether `text` is the mark of this owner, and if so, whether of this content. */
enum mark_state mark_look(struct mf_bytes text, struct mf_bytes content, const char *owner);

#endif
