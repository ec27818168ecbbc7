/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entry in a crontab, as text. It stands first: what the user sets further down (SHELL, PATH,
 * MAILTO) does not reach it. All other lines are foreign: they stay as they are, byte for byte.
 * Pure.
 *
 *     * * * * * XDG_STATE_HOME=... /usr/bin/mayfly trigger tick >>.../tick.log 2>&1 # mayfly-tick
 * SUM FOLDER
 */
#ifndef MAYFLY_MASTER_INSTALL_CRONTAB_H
#define MAYFLY_MASTER_INSTALL_CRONTAB_H

#include "master/install/install.h"
#include "master/install/mark.h"

/* The whole line, with its end. MF_ESETUP when a path has what no crontab can hold. */
int crontab_entry(const struct install *install, struct mf_buffer *line, struct mf_error *error);

struct crontab_look {
    size_t ours;           /* lines with the mark of this state folder */
    size_t edited;         /* of these, changed by somebody */
    struct mf_bytes first; /* the first edited one, else the first one; without its end; borrows */
    bool is_current;       /* there is one, intact, and it says what would be written now */
    bool has_end;          /* the text is empty or ends with a line end */
};

/* What of ours is in a crontab. -1: as crontab_entry. */
int crontab_look(const struct install *install,
                 struct mf_bytes text,
                 struct crontab_look *look,
                 struct mf_error *error);
/* The text without our lines, and with a line end behind its last one. */
int crontab_without(const struct install *install,
                    struct mf_bytes text,
                    struct mf_buffer *out,
                    struct mf_error *error);

#endif
