/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the worker's session share: session.c (its life), session_send.c (what the
 * master is asked and told), session_take.c (what it answers, and what the executor says). */
#ifndef MAYFLY_WORKER_SESSION_INTERNAL_H
#define MAYFLY_WORKER_SESSION_INTERNAL_H

#include <nng/nng.h>

#include "common/loop.h"
#include "worker/again.h"
#include "worker/executor.h"
#include "worker/fences.h"
#include "worker/launch_input.h"
#include "worker/link.h"
#include "worker/ready.h"
#include "worker/secrets.h"
#include "worker/session.h"
#include "worker/stage.h"
#include "worker/upload.h"

enum phase { JOINING, WORKING, LEAVING, SAYING_BYE, REJOINING, PARTING, OVER };

struct session {
    struct launch_input *input;
    const char *folder, *binary;
    enum phase phase;
    int outcome; /* 0 or -1, when OVER */
    struct mf_error *error;
    struct mf_loop *loop;
    struct link *link;
    struct executor *executor;
    struct stage *stage;     /* NULL: all is in its place */
    struct secrets *secrets; /* NULL: the run has none */
    struct upload *upload;
    struct mf_decoder *decoder;
    struct mf_buffer frame;
    uint64_t id;
    uint32_t epoch;
    uint64_t orphan_us;
    bool is_noop;
    bool refused, orphaned;
    bool log_is_whole; /* of one that leaves: its log was looked at when nothing else was left */
    bool started_due;  /* something runs that no poll has told yet */
    int64_t started_us;
    uint64_t sequences[MF_LANES];
    struct ready_list ready;
    struct ready_list sent[2];
    struct fences returned;
    struct mf_fence *running; /* scratch */
    uint32_t running_capacity;
    struct again again;
    int64_t heard_us, log_us, leaving_us, addresses_us;
    int signal_fd;
};

/* session.c */
void session_end(struct session *session, int outcome);
void session_fail(struct session *session, const struct mf_error *why);

/* session_send.c: sends whatever is due on every lane that is free. */
void session_pump(struct session *session, int64_t now_us);
void session_say_hello(struct session *session);
/* The next of what goes home in files; of a session that parts only logs. */
void session_send_upload(struct session *session);
/* When the second lane is to carry what lies ready: MF_NEVER = nothing to carry. */
int64_t session_flush_due(const struct session *session);

/* session_take.c */
void session_take_reply(struct session *session, unsigned lane, nng_msg *reply);
/* What has arrived in files is ready to be told. */
void session_take_uploaded(struct session *session);
/* The results in the list are acknowledged, or of no use any more. */
void session_release(struct session *session, struct ready_list *list);

#endif
