/* SPDX-License-Identifier: Apache-2.0 */
/* The two schedulers, for install.c. Each function: what install.h says of install_tick and the
 * like, for its kind alone. */
#ifndef MAYFLY_MASTER_INSTALL_KINDS_H
#define MAYFLY_MASTER_INSTALL_KINDS_H

#include "master/install/install.h"

/* Whether its scheduler can be used here, and why not (`why` holds 300 bytes). -1 on an error. */
#define WHY_SIZE 300
int cron_is_usable(char why[WHY_SIZE], struct mf_error *error);
int systemd_is_usable(char why[WHY_SIZE], struct mf_error *error);
/* Whether a cron daemon runs, as far as can be seen. */
bool cron_is_running(void);

/* 1 when there is an entry (perhaps edited), 0. */
int cron_find(const struct install *install, struct mf_error *error);
int systemd_find(const struct install *install, struct mf_error *error);

int cron_install(const struct install *install,
                 struct install_report *report,
                 struct mf_error *error);
int systemd_install(const struct install *install,
                    struct install_report *report,
                    struct mf_error *error);
int cron_remove(const struct install *install,
                struct install_report *report,
                struct mf_error *error);
int systemd_remove(const struct install *install,
                   struct install_report *report,
                   struct mf_error *error);
int systemd_print(const struct install *install, FILE *out, struct mf_error *error);

/* A line of the report. */
int install_say(struct install_report *report, struct mf_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
