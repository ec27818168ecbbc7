/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master's end of the wire: see endpoint.h.
 *
 * A context goes round: receiving (nng) -> in the mailbox -> with the loop -> sending (nng) ->
 * receiving. Its entry is embedded, so a request costs no allocation. A pipe has two entries, up
 * and down, made in ADD_PRE, since a request can arrive before ADD_POST; they are one allocation,
 * freed when the loop is done with both.
 */
#include "master/scatter/endpoint.h"

#include <arpa/inet.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/supplemental/tls/tls.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/message.h"
#include "common/socket.h"

/* So many contexts are receiving at least, whatever is held. */
#define SPARE_CONTEXTS 8u
#define NEVER_MS 2000000000

struct context {
    struct endpoint_mail entry; /* first: the loop holds a context by its entry */
    struct context *next;
    struct endpoint *endpoint;
    nng_ctx ctx;
    nng_aio *aio;
    bool sending; /* written before a send is started, read in its callback: nng orders the two */
};

struct pipe_entries {
    struct endpoint_mail up, down;
    struct pipe_entries *next; /* open pipes, under pipes_lock */
    uint32_t pipe;
};

/* A worker that is dialed from here. */
struct dialed {
    struct dialed *next;
    uint32_t worker;
    nng_dialer dialer;
    nng_tls_config *tls;
};

struct endpoint {
    nng_socket socket;
    struct dialed *dialed;
    nng_listener listener;
    nng_tls_config *tls;
    bool is_open;
    bool is_deaf; /* its listener was closed, and there is no other one yet */
    char host[64];
    uint16_t port;
    uint64_t refused; /* by listeners that are closed */
    struct mf_mailbox mailbox;
    struct context *contexts;
    unsigned context_count;
    unsigned busy; /* with the loop */
    pthread_mutex_t pipes_lock;
    struct pipe_entries *pipes;
};

static void receive(struct context *context)
{
    context->sending = false;
    nng_ctx_recv(context->ctx, context->aio);
}

static void context_ready(void *arg)
{
    struct context *context = arg;
    int rc = nng_aio_result(context->aio);
    if (rc == NNG_ECLOSED || rc == NNG_ECANCELED)
        return;
    if (context->sending) {
        if (rc != 0)
            nng_msg_free(nng_aio_get_msg(context->aio));
        receive(context);
        return;
    }
    if (rc != 0) {
        receive(context);
        return;
    }
    context->entry.kind = ENDPOINT_REQUEST;
    context->entry.message = nng_aio_get_msg(context->aio);
    context->entry.pipe = (uint32_t)nng_pipe_id(nng_msg_get_pipe(context->entry.message));
    mf_mailbox_post(&context->endpoint->mailbox, &context->entry.mail);
}

static int add_context(struct endpoint *endpoint, struct mf_error *error)
{
    struct context *context = mf_calloc(1, sizeof *context);
    if (context == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a receiving context");
    context->endpoint = endpoint;
    int rc = nng_ctx_open(&context->ctx, endpoint->socket);
    if (rc == 0 && (rc = nng_aio_alloc(&context->aio, context_ready, context)) != 0)
        nng_ctx_close(context->ctx);
    if (rc != 0) {
        mf_free(context);
        return mf_raise(error, MF_ESYSTEM, "cannot open a receiving context: %s", nng_strerror(rc));
    }
    context->next = endpoint->contexts;
    endpoint->contexts = context;
    endpoint->context_count++;
    receive(context);
    return 0;
}

static void write_address(nng_pipe pipe, char *text, size_t size)
{
    nng_sockaddr address;
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0;
    if (nng_pipe_get_addr(pipe, NNG_OPT_REMADDR, &address) != 0) {
        snprintf(text, size, "unknown address");
    } else if (address.s_family == NNG_AF_INET) {
        inet_ntop(AF_INET, &address.s_in.sa_addr, host, sizeof host);
        port = ntohs(address.s_in.sa_port);
        snprintf(text, size, "%s:%u", host, port);
    } else {
        struct in6_addr ip;
        memcpy(&ip, address.s_in6.sa_addr, sizeof ip);
        port = ntohs(address.s_in6.sa_port);
        /* IPv4 that came to a socket for both. */
        bool is_v4 = IN6_IS_ADDR_V4MAPPED(&ip);
        inet_ntop(
            is_v4 ? AF_INET : AF_INET6, is_v4 ? &ip.s6_addr[12] : ip.s6_addr, host, sizeof host);
        snprintf(text, size, is_v4 ? "%s:%u" : "[%s]:%u", host, port);
    }
}

static void pipe_up(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)event;
    struct endpoint *endpoint = arg;
    struct pipe_entries *entries = mf_calloc(1, sizeof *entries);
    if (entries == NULL) {
        nng_pipe_close(pipe);
        return;
    }
    entries->pipe = (uint32_t)nng_pipe_id(pipe);
    entries->up.kind = ENDPOINT_PIPE_UP;
    entries->down.kind = ENDPOINT_PIPE_DOWN;
    entries->up.pipe = entries->down.pipe = entries->pipe;
    write_address(pipe, entries->up.address, sizeof entries->up.address);
    pthread_mutex_lock(&endpoint->pipes_lock);
    entries->next = endpoint->pipes;
    endpoint->pipes = entries;
    pthread_mutex_unlock(&endpoint->pipes_lock);
    mf_mailbox_post(&endpoint->mailbox, &entries->up.mail);
}

static void pipe_down(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)event;
    struct endpoint *endpoint = arg;
    uint32_t id = (uint32_t)nng_pipe_id(pipe);
    pthread_mutex_lock(&endpoint->pipes_lock);
    struct pipe_entries **link = &endpoint->pipes, *entries;
    while ((entries = *link) != NULL && entries->pipe != id)
        link = &entries->next;
    if (entries != NULL)
        *link = entries->next;
    pthread_mutex_unlock(&endpoint->pipes_lock);
    if (entries != NULL)
        mf_mailbox_post(&endpoint->mailbox, &entries->down.mail);
}

static int make_tls(const struct credential *credential, nng_tls_mode mode, nng_tls_config **tls)
{
    int rc = nng_tls_config_alloc(tls, mode);
    if (rc == 0)
        rc = nng_tls_config_ca_chain(*tls, credential->authority_pem, NULL);
    if (rc == 0)
        rc = nng_tls_config_own_cert(*tls, credential->certificate_pem, credential->key_pem, NULL);
    if (rc == 0)
        rc = nng_tls_config_auth_mode(*tls, NNG_TLS_AUTH_MODE_REQUIRED);
    return rc;
}

static int
listen_on(struct endpoint *endpoint, const char *host, uint16_t port, struct mf_error *error)
{
    char url[128];
    snprintf(url, sizeof url, "tls+tcp://%s:%u", host, port);
    int rc = nng_listener_create(&endpoint->listener, endpoint->socket, url);
    bool is_made = rc == 0;
    if (rc == 0)
        rc = nng_listener_set_ptr(endpoint->listener, NNG_OPT_TLS_CONFIG, endpoint->tls);
    if (rc == 0)
        rc = nng_listener_start(endpoint->listener, 0);
    int bound = 0;
    if (rc == 0)
        rc = nng_listener_get_int(endpoint->listener, NNG_OPT_TCP_BOUND_PORT, &bound);
    if (rc != 0 && is_made)
        nng_listener_close(endpoint->listener);
    if (rc != 0)
        return mf_raise(
            error, MF_ESETUP, "cannot listen on %s for workers: %s", url, nng_strerror(rc));
    endpoint->port = (uint16_t)bound;
    snprintf(endpoint->host, sizeof endpoint->host, "%s", host);
    endpoint->is_deaf = false;
    return 0;
}

static int
open_socket(struct endpoint *endpoint, const struct credential *credential, struct mf_error *error)
{
    int rc = nng_rep0_open(&endpoint->socket);
    if (rc != 0)
        return mf_raise(
            error, MF_ESYSTEM, "cannot open the socket for workers: %s", nng_strerror(rc));
    endpoint->is_open = true;
    rc = nng_socket_set_size(endpoint->socket, NNG_OPT_RECVMAXSZ, MF_FRAME_MAX);
    if (rc == 0)
        rc = nng_pipe_notify(endpoint->socket, NNG_PIPE_EV_ADD_PRE, pipe_up, endpoint);
    if (rc == 0)
        rc = nng_pipe_notify(endpoint->socket, NNG_PIPE_EV_REM_POST, pipe_down, endpoint);
    if (rc == 0)
        rc = make_tls(credential, NNG_TLS_MODE_SERVER, &endpoint->tls);
    if (rc != 0)
        return mf_raise(error, MF_ESYSTEM, "cannot set up TLS for workers: %s", nng_strerror(rc));
    return 0;
}

struct endpoint *endpoint_create(const struct credential *credential,
                                 const char *host,
                                 uint16_t port,
                                 struct mf_error *error)
{
    struct endpoint *endpoint = mf_calloc(1, sizeof *endpoint);
    if (endpoint == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the endpoint for workers");
        return NULL;
    }
    pthread_mutex_init(&endpoint->pipes_lock, NULL);
    if (mf_mailbox_init(&endpoint->mailbox, error) < 0)
        goto fail;
    if (open_socket(endpoint, credential, error) < 0)
        goto fail;
    while (endpoint->context_count < 2 * SPARE_CONTEXTS)
        if (add_context(endpoint, error) < 0)
            goto fail;
    if (listen_on(endpoint, host, port, error) < 0)
        goto fail;
    return endpoint;
fail:
    endpoint_destroy(endpoint);
    return NULL;
}

static void free_dialed(struct dialed *dialed)
{
    if (dialed->tls != NULL)
        nng_tls_config_free(dialed->tls);
    mf_free(dialed);
}

int endpoint_dial(struct endpoint *endpoint,
                  const struct credential *credential,
                  uint32_t worker,
                  const char *name,
                  const char *address,
                  uint16_t port,
                  struct mf_error *error)
{
    char url[128];
    for (struct dialed *dialed = endpoint->dialed; dialed != NULL; dialed = dialed->next)
        if (dialed->worker == worker)
            return 0;
    bool is_v6 = strchr(address, ':') != NULL;
    snprintf(
        url, sizeof url, "tls+tcp://%s%s%s:%u", is_v6 ? "[" : "", address, is_v6 ? "]" : "", port);
    struct dialed *dialed = mf_calloc(1, sizeof *dialed);
    if (dialed == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the connection to worker %u", worker);
    dialed->worker = worker;
    int rc = make_tls(credential, NNG_TLS_MODE_CLIENT, &dialed->tls);
    if (rc == 0)
        rc = nng_tls_config_server_name(dialed->tls, name);
    if (rc == 0)
        rc = nng_dialer_create(&dialed->dialer, endpoint->socket, url);
    if (rc == 0) {
        rc = nng_dialer_set_ptr(dialed->dialer, NNG_OPT_TLS_CONFIG, dialed->tls);
        if (rc == 0)
            rc = nng_dialer_set_ms(dialed->dialer, NNG_OPT_RECONNMINT, 200);
        if (rc == 0)
            rc = nng_dialer_set_ms(dialed->dialer, NNG_OPT_RECONNMAXT, 2000);
        if (rc == 0)
            rc = nng_dialer_start(dialed->dialer, NNG_FLAG_NONBLOCK);
        if (rc != 0)
            nng_dialer_close(dialed->dialer);
    }
    if (rc != 0) {
        free_dialed(dialed);
        return mf_raise(
            error, MF_ESYSTEM, "cannot dial worker %u at %s: %s", worker, url, nng_strerror(rc));
    }
    dialed->next = endpoint->dialed;
    endpoint->dialed = dialed;
    return 0;
}

void endpoint_undial(struct endpoint *endpoint, uint32_t worker)
{
    struct dialed **link = &endpoint->dialed, *dialed;
    while ((dialed = *link) != NULL && dialed->worker != worker)
        link = &dialed->next;
    if (dialed == NULL)
        return;
    *link = dialed->next;
    nng_dialer_close(dialed->dialer);
    free_dialed(dialed);
}

/*
 * nng 1.5.2 can wait for ever for a TLS pipe that both ends close at once: the worker closes this
 * one, and the dialer, which stays until the end, must not come back then.
 */
void endpoint_let_go(struct endpoint *endpoint, uint32_t worker)
{
    for (struct dialed *dialed = endpoint->dialed; dialed != NULL; dialed = dialed->next) {
        if (dialed->worker != worker)
            continue;
        nng_dialer_set_ms(dialed->dialer, NNG_OPT_RECONNMAXT, NEVER_MS);
        nng_dialer_set_ms(dialed->dialer, NNG_OPT_RECONNMINT, NEVER_MS);
    }
}

static void free_mail(struct endpoint *endpoint)
{
    struct mf_mail *mail = endpoint->mailbox.fd < 0 ? NULL : mf_mailbox_take(&endpoint->mailbox);
    while (mail != NULL) {
        struct endpoint_mail *entry = (struct endpoint_mail *)mail;
        mail = mail->next;
        if (entry->kind != ENDPOINT_REQUEST)
            endpoint_done(endpoint, entry);
    }
}

void endpoint_destroy(struct endpoint *endpoint)
{
    if (endpoint == NULL)
        return;
    /* Contexts before the socket: a callback that still uses its context when the socket's memory
     * is gone makes nng panic. */
    for (struct context *context = endpoint->contexts; context != NULL; context = context->next) {
        nng_aio_stop(context->aio);
        nng_ctx_close(context->ctx);
    }
    if (endpoint->is_open && !mf_socket_close(endpoint->socket))
        return; /* its callbacks may still come */
    while (endpoint->dialed != NULL) {
        struct dialed *dialed = endpoint->dialed;
        endpoint->dialed = dialed->next;
        free_dialed(dialed);
    }
    free_mail(endpoint);
    while (endpoint->contexts != NULL) {
        struct context *context = endpoint->contexts;
        endpoint->contexts = context->next;
        nng_aio_free(context->aio);
        nng_msg_free(context->entry.message);
        mf_free(context);
    }
    if (endpoint->tls != NULL)
        nng_tls_config_free(endpoint->tls);
    mf_mailbox_fini(&endpoint->mailbox);
    while (endpoint->pipes != NULL) {
        struct pipe_entries *entries = endpoint->pipes;
        endpoint->pipes = entries->next;
        mf_free(entries);
    }
    pthread_mutex_destroy(&endpoint->pipes_lock);
    mf_free(endpoint);
}

uint16_t endpoint_port(const struct endpoint *endpoint)
{
    return endpoint->port;
}

int endpoint_fd(const struct endpoint *endpoint)
{
    return endpoint->mailbox.fd;
}

struct endpoint_mail *endpoint_take(struct endpoint *endpoint)
{
    struct mf_mail *chain = mf_mailbox_take(&endpoint->mailbox);
    for (struct mf_mail *mail = chain; mail != NULL; mail = mail->next)
        if (((struct endpoint_mail *)mail)->kind == ENDPOINT_REQUEST)
            endpoint->busy++;
    while (endpoint->context_count < endpoint->busy + SPARE_CONTEXTS) {
        struct mf_error error;
        if (add_context(endpoint, &error) < 0) {
            mf_log(MF_WARNING, "%s", error.text);
            break;
        }
    }
    return (struct endpoint_mail *)chain;
}

void endpoint_done(struct endpoint *endpoint, struct endpoint_mail *entry)
{
    (void)endpoint;
    /* The up entry lives as long as its pipe; the down entry is the last word on it. */
    if (entry->kind == ENDPOINT_PIPE_DOWN)
        mf_free((char *)entry - offsetof(struct pipe_entries, down));
}

void endpoint_reply(struct endpoint *endpoint, struct endpoint_mail *request, nng_msg *reply)
{
    struct context *context = (struct context *)request;
    nng_msg_free(request->message);
    request->message = NULL;
    endpoint->busy--;
    context->sending = true;
    nng_aio_set_msg(context->aio, reply);
    nng_ctx_send(context->ctx, context->aio);
}

void endpoint_drop(struct endpoint *endpoint, struct endpoint_mail *request)
{
    nng_msg_free(request->message);
    request->message = NULL;
    endpoint->busy--;
    receive((struct context *)request);
}

void endpoint_close_pipe(struct endpoint *endpoint, uint32_t pipe)
{
    (void)endpoint;
    nng_pipe handle = {.id = pipe};
    nng_pipe_close(handle);
}

nng_msg *endpoint_message(struct mf_bytes frame)
{
    nng_msg *message;
    if (nng_msg_alloc(&message, 0) != 0)
        return NULL;
    if (nng_msg_append(message, frame.data, frame.length) != 0) {
        nng_msg_free(message);
        return NULL;
    }
    return message;
}

static uint64_t listener_count(const struct endpoint *endpoint, const char *what)
{
    nng_stat *all;
    if (nng_stats_get(&all) != 0)
        return 0;
    nng_stat *listener = nng_stat_find_listener(all, endpoint->listener);
    nng_stat *stat = listener == NULL ? NULL : nng_stat_find(listener, what);
    uint64_t count = stat == NULL ? 0 : nng_stat_value(stat);
    nng_stats_free(all);
    return count;
}

uint64_t endpoint_refused_count(struct endpoint *endpoint)
{
    return endpoint->refused + listener_count(endpoint, "auth");
}

bool endpoint_may_be_deaf(const struct endpoint *endpoint)
{
    return endpoint->is_deaf ||
           listener_count(endpoint, "other") + listener_count(endpoint, "canceled") > 0;
}

int endpoint_listen_again(struct endpoint *endpoint, struct mf_error *error)
{
    char host[sizeof endpoint->host];
    if (!endpoint->is_deaf) {
        endpoint->refused = endpoint_refused_count(endpoint);
        nng_listener_close(endpoint->listener);
        endpoint->is_deaf = true;
    }
    snprintf(host, sizeof host, "%s", endpoint->host);
    return listen_on(endpoint, host, endpoint->port, error);
}
