/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of the machine: crontab, systemctl. One thread. */
#ifndef MAYFLY_MASTER_INSTALL_PROGRAM_H
#define MAYFLY_MASTER_INSTALL_PROGRAM_H

#include "common/buffer.h"
#include "common/error.h"

struct program_end {
    int code;                  /* exit code; 128 + signal */
    struct mf_buffer out, err; /* what it printed */
};

/*
 * Runs argv (found by PATH, NULL at its end) with `input` as its standard input, for at most a
 * minute. 0 when it ran, whatever it said; 1 when there is no such program; -1. Zero-initialise
 * *end; program_end_fini in any case.
 */
int program_run(const char *const *argv,
                struct mf_bytes input,
                struct program_end *end,
                struct mf_error *error);
void program_end_fini(struct program_end *end);

/* What it said on standard error, on one line, without control characters, cut when it is long.
 * Returns text. */
#define PROGRAM_SAID_SIZE 300
const char *program_said(const struct program_end *end, char text[PROGRAM_SAID_SIZE]);

#endif
