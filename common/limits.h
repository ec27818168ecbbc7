/* SPDX-License-Identifier: Apache-2.0 */
/* The system's limits for this process and its user, looked at before work begins. Any thread. */
#ifndef MAYFLY_COMMON_LIMITS_H
#define MAYFLY_COMMON_LIMITS_H

#include <stdint.h>

#include "common/error.h"

/*
 * Makes sure that this process may have `needed` open files: the soft limit is raised as far as the
 * hard one allows, if it has to be. -1, MF_ESETUP: it may not; the sentence begins with `what` ("64
 * workers need") and says what is needed, what there is, and how to raise it or do with less.
 */
int mf_limit_files(uint64_t needed, const char *what, struct mf_error *error);

/* The same of `needed` more processes and threads of this user, who may have some already. Does not
 * hold for root, and there is nothing to be raised beyond the hard limit. */
int mf_limit_processes(uint64_t needed, const char *what, struct mf_error *error);

#endif
