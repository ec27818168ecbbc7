/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's end of the wire: see link.h.
 *
 * nng 1.5.2's dialers can stay idle for ever when a connection was closed very early. So the link
 * counts connections (from ADD_PRE on: the end of one is told whether it came further or not) and
 * makes a new dialer, with the next address, when there was none for PATIENCE_US.
 *
 * Whoever can dial does: when no address has answered once, or none is known, the worker listens,
 * too, if its launch input allows that. Once there is a connection, the other way is closed: two of
 * them would share the requests.
 *
 * Nobody tells that a network is gone. The master answers a poll before long in any case
 * (common/lease.h); so a connection on which nothing was heard for twice that time is closed, and a
 * new dialer takes the place of its own, whether nng has seen the end of it or not. What was under
 * way on it goes out again; the master knows a request that it has had.
 */
#include "worker/link.h"

#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/tls/tls.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/message.h"
#include "common/socket.h"

#define PATIENCE_US 3000000
#define CHECK_DOWN_US 200000
#define CHECK_UP_US 1000000
#define SILENCE_US 10000000 /* before the welcome, which comes at once */

struct link_lane {
    struct mf_mail mail; /* first */
    struct link *link;
    nng_ctx ctx;
    nng_aio *aio;
    bool is_open;
    bool busy;      /* loop thread */
    bool receiving; /* the send is through; written and read by the callback only */
    nng_msg *reply; /* NULL with an error */
};

/* A TLS configuration in use, and the one before: nng 1.5.2 reads that of a running dialer or
 * listener without a lock, and may still be looking at it. */
struct kept_tls {
    nng_tls_config *now, *before;
};

struct link {
    const struct launch_input *input;
    nng_socket socket;
    bool is_open;
    char *certificate_pem, *key_pem; /* renewed; NULL = those of the input */
    unsigned char token[MF_TOKEN_SIZE];
    struct kept_tls dialer_tls, listener_tls;
    nng_dialer dialer;
    bool has_dialer;
    uint32_t address; /* the one that is dialed */
    nng_listener listener;
    bool has_listener;
    atomic_int pipes;
    atomic_bool was_dialed;  /* the last connection was made by the master */
    atomic_uint newest_pipe; /* its id */
    bool was_up;
    int64_t heard_us; /* an answer, or that it is up */
    int64_t
        silence_us; /* so long nothing need be heard on a live connection; SILENCE_US at first */
    int64_t down_since_us;
    struct mf_mailbox mailbox;
    struct mf_mail *taken; /* chain of replies not yet handed out */
    struct link_lane lanes[MF_LANES];
};

static void lane_ready(void *arg)
{
    struct link_lane *lane = arg;
    int rc = nng_aio_result(lane->aio);
    if (rc == 0 && !lane->receiving) {
        lane->receiving = true;
        nng_ctx_recv(lane->ctx, lane->aio);
        return;
    }
    if (rc != 0 && !lane->receiving)
        nng_msg_free(nng_aio_get_msg(lane->aio));
    lane->reply = rc == 0 ? nng_aio_get_msg(lane->aio) : NULL;
    if (rc != NNG_ECLOSED && rc != NNG_ECANCELED) /* these only when the link is destroyed */
        mf_mailbox_post(&lane->link->mailbox, &lane->mail);
}

static void pipe_changed(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct link *link = arg;
    if (event == NNG_PIPE_EV_ADD_PRE) {
        atomic_store(&link->was_dialed, nng_listener_id(nng_pipe_listener(pipe)) > 0);
        atomic_store(&link->newest_pipe, (unsigned)nng_pipe_id(pipe));
    }
    atomic_fetch_add(&link->pipes, event == NNG_PIPE_EV_ADD_PRE ? 1 : -1);
}

static int make_tls(const struct link *link, nng_tls_mode mode, nng_tls_config **tls)
{
    const struct launch_input *input = link->input;
    const char *certificate_pem = input->certificate_pem, *key_pem = input->key_pem;
    if (link->certificate_pem != NULL) {
        certificate_pem = link->certificate_pem;
        key_pem = link->key_pem;
    }
    int rc = nng_tls_config_alloc(tls, mode);
    if (rc == 0)
        rc = nng_tls_config_ca_chain(*tls, input->authority_pem, NULL);
    if (rc == 0)
        rc = nng_tls_config_own_cert(*tls, certificate_pem, key_pem, NULL);
    if (rc == 0 && mode == NNG_TLS_MODE_CLIENT)
        rc = nng_tls_config_server_name(*tls, input->run_id);
    if (rc == 0)
        rc = nng_tls_config_auth_mode(*tls, NNG_TLS_AUTH_MODE_REQUIRED);
    return rc;
}

static int open_socket(struct link *link, struct mf_error *error)
{
    int rc = nng_req0_open(&link->socket);
    if (rc == 0) {
        link->is_open = true;
        /* No timed resend (it would double held polls); infinite would lose the request with its
         * pipe. */
        rc = nng_socket_set_ms(link->socket, NNG_OPT_REQ_RESENDTIME, 2147483647);
    }
    if (rc == 0)
        rc = nng_socket_set_size(link->socket, NNG_OPT_RECVMAXSZ, MF_FRAME_MAX);
    if (rc == 0)
        rc = nng_pipe_notify(link->socket, NNG_PIPE_EV_ADD_PRE, pipe_changed, link);
    if (rc == 0)
        rc = nng_pipe_notify(link->socket, NNG_PIPE_EV_REM_POST, pipe_changed, link);
    if (rc == 0)
        rc = make_tls(link, NNG_TLS_MODE_CLIENT, &link->dialer_tls.now);
    if (rc != 0)
        return mf_raise(
            error, MF_ESYSTEM, "cannot set up the connection to the master: %s", nng_strerror(rc));
    return 0;
}

static int open_lane(struct link *link, struct link_lane *lane, struct mf_error *error)
{
    lane->link = link;
    int rc = nng_ctx_open(&lane->ctx, link->socket);
    if (rc == 0 && (rc = nng_aio_alloc(&lane->aio, lane_ready, lane)) != 0)
        nng_ctx_close(lane->ctx);
    if (rc != 0)
        return mf_raise(
            error, MF_ESYSTEM, "cannot open a lane to the master: %s", nng_strerror(rc));
    lane->is_open = true;
    return 0;
}

static void stop_dialing(struct link *link)
{
    if (link->has_dialer)
        nng_dialer_close(link->dialer);
    link->has_dialer = false;
}

static void stop_listening(struct link *link)
{
    if (link->has_listener)
        nng_listener_close(link->listener);
    link->has_listener = false;
}

/* Takes tls; NULL: forgets. */
static void keep_tls(struct kept_tls *kept, nng_tls_config *tls)
{
    if (kept->before != NULL)
        nng_tls_config_free(kept->before);
    kept->before = kept->now;
    kept->now = tls;
}

static void listen_for_master(struct link *link)
{
    char url[64];
    nng_tls_config *tls = NULL;
    if (link->has_listener || link->input->listen_port == 0)
        return;
    snprintf(url, sizeof url, "tls+tcp://%s:%u", mf_socket_any(), link->input->listen_port);
    int rc = make_tls(link, NNG_TLS_MODE_SERVER, &tls);
    if (rc == 0 && (rc = nng_listener_create(&link->listener, link->socket, url)) == 0) {
        link->has_listener = true;
        rc = nng_listener_set_ptr(link->listener, NNG_OPT_TLS_CONFIG, tls);
        if (rc == 0)
            rc = nng_listener_start(link->listener, 0);
    }
    if (tls != NULL)
        keep_tls(&link->listener_tls, tls);
    if (rc == 0) {
        mf_log(MF_INFO, "no address of the master answers: waiting for it to dial %s", url);
        return;
    }
    mf_log(MF_WARNING, "cannot listen for the master on %s: %s", url, nng_strerror(rc));
    stop_listening(link);
}

static void dial(struct link *link)
{
    if (link->input->address_count == 0)
        return;
    const char *address = link->input->addresses[link->address % link->input->address_count];
    int rc = nng_dialer_create(&link->dialer, link->socket, address);
    if (rc != 0) {
        mf_log(MF_WARNING, "cannot dial %s: %s", address, nng_strerror(rc));
        return;
    }
    link->has_dialer = true;
    rc = nng_dialer_set_ptr(link->dialer, NNG_OPT_TLS_CONFIG, link->dialer_tls.now);
    if (rc == 0)
        rc = nng_dialer_set_ms(link->dialer, NNG_OPT_RECONNMINT, 50);
    if (rc == 0)
        rc = nng_dialer_set_ms(link->dialer, NNG_OPT_RECONNMAXT, 500);
    if (rc == 0)
        rc = nng_dialer_start(link->dialer, NNG_FLAG_NONBLOCK);
    if (rc != 0)
        mf_log(MF_WARNING, "cannot dial %s: %s", address, nng_strerror(rc));
}

static void forget_renewed(struct link *link)
{
    if (link->key_pem != NULL)
        explicit_bzero(link->key_pem, strlen(link->key_pem));
    mf_free(link->key_pem);
    mf_free(link->certificate_pem);
    link->key_pem = link->certificate_pem = NULL;
}

struct link *link_create(const struct launch_input *input, struct mf_error *error)
{
    struct link *link = mf_calloc(1, sizeof *link);
    if (link == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the connection to the master");
        return NULL;
    }
    link->input = input;
    memcpy(link->token, input->token, MF_TOKEN_SIZE);
    link->down_since_us = mf_monotonic_us();
    link->silence_us = SILENCE_US;
    if (mf_mailbox_init(&link->mailbox, error) < 0)
        goto fail;
    if (open_socket(link, error) < 0)
        goto fail;
    for (unsigned i = 0; i < MF_LANES; i++)
        if (open_lane(link, &link->lanes[i], error) < 0)
            goto fail;
    if (input->address_count == 0)
        listen_for_master(link);
    dial(link);
    return link;
fail:
    link_destroy(link);
    return NULL;
}

void link_destroy(struct link *link)
{
    if (link == NULL)
        return;
    /* Lanes before the socket: a callback that still uses its context when the socket's memory is
     * gone makes nng panic. */
    for (unsigned i = 0; i < MF_LANES; i++)
        if (link->lanes[i].is_open) {
            nng_aio_stop(link->lanes[i].aio);
            nng_ctx_close(link->lanes[i].ctx);
        }
    if (link->is_open && !mf_socket_close(link->socket))
        return; /* its callbacks may still come */
    for (unsigned i = 0; i < MF_LANES; i++)
        if (link->lanes[i].is_open) {
            nng_aio_free(link->lanes[i].aio);
            nng_msg_free(link->lanes[i].reply);
        }
    for (int i = 0; i < 2; i++) {
        keep_tls(&link->dialer_tls, NULL);
        keep_tls(&link->listener_tls, NULL);
    }
    forget_renewed(link);
    mf_mailbox_fini(&link->mailbox);
    mf_free(link);
}

int link_fd(const struct link *link)
{
    return link->mailbox.fd;
}

int link_take(struct link *link, nng_msg **message)
{
    if (link->taken == NULL)
        link->taken = mf_mailbox_take(&link->mailbox);
    if (link->taken == NULL)
        return -1;
    struct link_lane *lane = (struct link_lane *)link->taken;
    link->taken = lane->mail.next;
    lane->busy = false;
    link->heard_us = mf_monotonic_us();
    *message = lane->reply;
    lane->reply = NULL;
    return (int)(lane - link->lanes);
}

bool link_is_free(const struct link *link, unsigned lane)
{
    return !link->lanes[lane].busy;
}

int link_send(struct link *link,
              unsigned lane_number,
              struct mf_bytes frame,
              struct mf_error *error)
{
    struct link_lane *lane = &link->lanes[lane_number];
    nng_msg *message;
    if (nng_msg_alloc(&message, 0) != 0)
        return mf_raise(error, MF_ENOMEM, "out of memory: a message to the master");
    if (nng_msg_append(message, frame.data, frame.length) != 0) {
        nng_msg_free(message);
        return mf_raise(
            error, MF_ENOMEM, "out of memory: a message of %zu bytes to the master", frame.length);
    }
    lane->busy = true;
    lane->receiving = false;
    nng_aio_set_msg(lane->aio, message);
    nng_ctx_send(lane->ctx, lane->aio);
    return 0;
}

/*
 * Puts the renewed certificate onto what is running; it shows with the next connection. nng 1.5.2
 * changes the configuration under one lock and uses it under another, which setting the size limit
 * takes, too: so what is used next is what was set here, whole.
 */
static int use_renewed(struct link *link)
{
    nng_tls_config *dialing = NULL, *listening = NULL;
    int rc = make_tls(link, NNG_TLS_MODE_CLIENT, &dialing);
    if (rc == 0 && link->has_dialer)
        rc = nng_dialer_set_ptr(link->dialer, NNG_OPT_TLS_CONFIG, dialing);
    if (rc == 0 && link->has_dialer)
        rc = nng_dialer_set_size(link->dialer, NNG_OPT_RECVMAXSZ, MF_FRAME_MAX);
    if (rc == 0 && link->has_listener)
        rc = make_tls(link, NNG_TLS_MODE_SERVER, &listening);
    if (rc == 0 && link->has_listener)
        rc = nng_listener_set_ptr(link->listener, NNG_OPT_TLS_CONFIG, listening);
    if (rc == 0 && link->has_listener)
        rc = nng_listener_set_size(link->listener, NNG_OPT_RECVMAXSZ, MF_FRAME_MAX);
    if (dialing != NULL)
        keep_tls(&link->dialer_tls, dialing);
    if (listening != NULL)
        keep_tls(&link->listener_tls, listening);
    return rc;
}

const unsigned char *link_token(const struct link *link)
{
    return link->token;
}

void link_renew(struct link *link, const struct mf_renewal *renewal)
{
    char *certificate = mf_strdup(renewal->certificate_pem), *key = mf_strdup(renewal->key_pem);
    if (certificate == NULL || key == NULL) {
        mf_free(certificate);
        mf_free(key);
        mf_log(MF_WARNING, "out of memory: the renewed credential is not used");
        return;
    }
    forget_renewed(link);
    link->certificate_pem = certificate;
    link->key_pem = key;
    memcpy(link->token, renewal->token.data, MF_TOKEN_SIZE);
    int rc = use_renewed(link);
    if (rc != 0)
        mf_log(MF_WARNING, "the renewed certificate cannot be used: %s", nng_strerror(rc));
    else
        mf_log(MF_INFO, "the credential is renewed");
}

void link_expect(struct link *link, int64_t silence_us)
{
    link->silence_us = silence_us;
}

bool link_is_up(const struct link *link)
{
    return atomic_load(&link->pipes) > 0;
}

static void close_silent(struct link *link, int64_t now_us)
{
    nng_pipe pipe = {.id = atomic_load(&link->newest_pipe)};
    if (now_us - link->heard_us < link->silence_us)
        return;
    mf_log(MF_WARNING,
           "nothing was heard of the master for %.1f s: connecting again",
           (double)(now_us - link->heard_us) / 1e6);
    link->heard_us = now_us;
    nng_pipe_close(pipe);
    if (!link->has_dialer)
        return; /* the master dials */
    stop_dialing(link);
    dial(link);
}

int64_t link_tick(struct link *link, int64_t now_us)
{
    bool up = link_is_up(link);
    if (up != link->was_up) {
        mf_log(MF_INFO, up ? "connected to the master" : "the connection to the master is lost");
        link->was_up = up;
        link->down_since_us = link->heard_us = now_us;
        if (up && atomic_load(&link->was_dialed))
            stop_dialing(link);
        else if (up)
            stop_listening(link);
    }
    if (up) {
        close_silent(link, now_us);
        return now_us + CHECK_UP_US;
    }
    if (now_us - link->down_since_us >= PATIENCE_US) {
        stop_dialing(link);
        link->address++;
        link->down_since_us = now_us;
        listen_for_master(link);
        dial(link);
    }
    return now_us + CHECK_DOWN_US;
}
