/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket of a live run: control.sock in its folder, JSON lines both ways
 * (docs/control.md), only for the owner of the run. Loop thread only; the client functions are for
 * the command line.
 */
#ifndef MAYFLY_MASTER_CONTROL_H
#define MAYFLY_MASTER_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/loop.h"

struct control_callbacks {
    json_t *(*status)(void *arg); /* a new reference, NULL when memory is exhausted */
    json_t *(*explain)(void *arg, uint64_t subtask); /* the same; subtask 0 = the run alone */
    void (*cancel)(void *arg, bool drain);
    void (*pause)(void *arg, bool on, const char *reason); /* "" = none was given */
    int (*flush)(void *arg, struct mf_error *error);       /* received logs become readable */
    void *arg;
};

struct control;
struct control *control_create(struct mf_loop *loop,
                               const char *run_folder,
                               const struct control_callbacks *callbacks,
                               struct mf_error *error);
/* Sends watchers a status twice a second; the next deadline. */
int64_t control_tick(struct control *control, int64_t now_us);
/* Sends watchers the last status, closes all, removes the socket. */
void control_destroy(struct control *control);

/* A connection to the live master of that run folder; -1 with MF_ESETUP when there is none. */
int control_connect(const char *run_folder, struct mf_error *error);
/* Sends one request (a steal of the reference) and reads one answer (a new reference). NULL with an
 * error. */
json_t *control_ask(int fd, json_t *request, struct mf_error *error);
/* The next line that comes, a new reference; NULL at the end (error->code MF_OK) or with an error.
 */
json_t *control_read(int fd, struct mf_error *error);

#endif
