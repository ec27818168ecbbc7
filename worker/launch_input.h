/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker is given when it is started: one line of JSON on its standard input
 * (docs/protocol.md, "Launch"). Credentials never travel any other way.
 */
#ifndef MAYFLY_WORKER_LAUNCH_INPUT_H
#define MAYFLY_WORKER_LAUNCH_INPUT_H

#include <stdbool.h>
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
    char *journal_folder, *crash; /* aids for tests (docs/testing.md), NULL = none */
    bool keep_program;            /* an orphan leaves the worker's program on the host */
    bool listens;                 /* when no address answers: let the master dial */
    uint16_t listen_port;         /* where then; 0 before launch_input_reserve_port */
};

/*
 * Reads to the end of the line from `fd`. The key's memory is wiped by launch_input_fini. A worker
 * that was started over SSH tries the address first from which it was logged in
 * ($SSH_CONNECTION).
 */
int launch_input_read(int fd, struct launch_input *input, struct mf_error *error);
/* Finds a free port to listen on, if the input asks for that. */
int launch_input_reserve_port(struct launch_input *input, struct mf_error *error);
/*
 * Where a later master of the run listens when it can't listen where the first one did: in the file
 * `addresses` of the worker's folder, JSON with the keys "addresses" and "ssh_port" of the launch
 * input. True when the addresses are others now.
 */
bool launch_input_renew(struct launch_input *input, const char *folder);
void launch_input_fini(struct launch_input *input);

#endif
