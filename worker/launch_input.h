/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker is given when it is started: one line of JSON on its standard input
 * (docs/protocol.md, "Launch"). Credentials never travel any other way.
 */
#ifndef MAYFLY_WORKER_LAUNCH_INPUT_H
#define MAYFLY_WORKER_LAUNCH_INPUT_H

#include <stdint.h>

#include "common/error.h"
#include "common/message.h"

#define LAUNCH_ADDRESSES_MAX 16

struct launch_input {
    char *run_id;
    uint32_t worker;
    uint32_t slots; /* at least 1: 0 in the input means one a core */
    char *authority_pem, *certificate_pem, *key_pem;
    unsigned char token[MF_TOKEN_SIZE];
    char *addresses[LAUNCH_ADDRESSES_MAX];
    uint32_t address_count;
    uint64_t orphan_us;
};

/* Reads to the end of the line from `fd`. The key's memory is wiped by launch_input_fini. */
int launch_input_read(int fd, struct launch_input *input, struct mf_error *error);
void launch_input_fini(struct launch_input *input);

#endif
