/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The units of a timer of systemd, as text: NAME.service and NAME.timer. Their first line is a
 * comment with the mark (mark.h), of all that follows it. Pure.
 */
#ifndef MAYFLY_MASTER_INSTALL_UNIT_H
#define MAYFLY_MASTER_INSTALL_UNIT_H

#include "master/install/install.h"
#include "master/install/mark.h"

enum unit { UNIT_SERVICE, UNIT_TIMER };
#define UNIT_COUNT 2

/* "mayfly-tick" for the usual state folder (of this HOME), else with a checksum of it. */
#define UNIT_NAME_SIZE 32
const char *unit_name(const struct install *install, char name[UNIT_NAME_SIZE]);
/* "service", "timer" */
const char *unit_suffix(enum unit unit);

/* The whole file. */
int unit_text(const struct install *install,
              enum unit unit,
              struct mf_buffer *out,
              struct mf_error *error);
/* Whether a file's text is ours, and unchanged. */
enum mark_state unit_look(const struct install *install, struct mf_bytes text);

#endif
