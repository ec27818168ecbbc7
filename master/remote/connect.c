/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a name to a connected socket.
 *
 * Numeric addresses need no thread. A name is looked up by one that shares nothing with the
 * connection but `struct lookup`, which the later of the two frees: getaddrinfo cannot be
 * interrupted, so a connection that is closed leaves it behind. Addresses are tried in the order
 * in which they come; each gets its share of the time that is left, at most 3 s unless it is the
 * last.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/mailbox.h"
#include "master/remote/remote_internal.h"

#define THREAD_STACK (256u << 10)
#define ADDRESS_US 3000000 /* at most for an address that is not the last */

struct lookup {
    struct mf_mail mail;
    struct mf_mailbox mailbox;
    atomic_int holders;
    char *host;
    char port[8];
    int family;
    int rc; /* of getaddrinfo */
    struct addrinfo *addresses;
};

static void lookup_release(struct lookup *lookup)
{
    if (lookup == NULL || atomic_fetch_sub(&lookup->holders, 1) > 1)
        return;
    if (lookup->addresses != NULL)
        freeaddrinfo(lookup->addresses);
    mf_mailbox_fini(&lookup->mailbox);
    mf_free(lookup->host);
    mf_free(lookup);
}

static int
look_up(const char *host, const char *port, int family, int flags, struct addrinfo **addresses)
{
    struct addrinfo hints = {
        .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    return getaddrinfo(host, port, &hints, addresses);
}

static void *run_lookup(void *arg)
{
    struct lookup *lookup = arg;
    lookup->rc =
        look_up(lookup->host, lookup->port, lookup->family, AI_ADDRCONFIG, &lookup->addresses);
    mf_mailbox_post(&lookup->mailbox, &lookup->mail);
    lookup_release(lookup);
    return NULL;
}

static int start_thread(struct lookup *lookup, struct mf_error *error)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    atomic_store(&lookup->holders, 2);
    int rc = pthread_create(&thread, &attributes, run_lookup, lookup);
    pthread_attr_destroy(&attributes);
    if (rc == 0)
        return 0;
    atomic_store(&lookup->holders, 1);
    errno = rc;
    return mf_raise_errno(error, "cannot start a thread that looks up the name %s", lookup->host);
}

static int family_of(const struct remote *remote)
{
    return remote->settings == NULL ? AF_UNSPEC : remote->settings->family;
}

static struct lookup *lookup_start(struct remote *remote, const char *port, struct mf_error *error)
{
    struct lookup *lookup = mf_calloc(1, sizeof *lookup);
    if (lookup == NULL || (lookup->host = mf_strdup(remote->host)) == NULL) {
        mf_free(lookup);
        mf_raise(error, MF_ENOMEM, "out of memory: looking up the name %s", remote->host);
        return NULL;
    }
    snprintf(lookup->port, sizeof lookup->port, "%s", port);
    lookup->family = family_of(remote);
    atomic_init(&lookup->holders, 1);
    lookup->mailbox.fd = -1;
    if (mf_mailbox_init(&lookup->mailbox, error) < 0)
        goto fail;
    if (mf_loop_add(remote->loop, lookup->mailbox.fd, EPOLLIN, remote_on_event, remote, error) < 0)
        goto fail;
    if (start_thread(lookup, error) == 0)
        return lookup;
    mf_loop_remove(remote->loop, lookup->mailbox.fd);
fail:
    lookup_release(lookup);
    return NULL;
}

static void lookup_leave(struct remote *remote)
{
    if (remote->lookup == NULL)
        return;
    mf_loop_remove(remote->loop, remote->lookup->mailbox.fd);
    lookup_release(remote->lookup);
    remote->lookup = NULL;
}

static enum remote_step resolved(struct remote *remote, int rc, struct addrinfo *addresses)
{
    if (rc == EAI_AGAIN)
        return remote_fail(remote,
                           true,
                           "the name %s cannot be resolved now: the name servers do not answer",
                           remote->host);
    if (rc != 0)
        return remote_fail(remote,
                           false,
                           "the host name %s does not resolve (%s): check its spelling, or add it "
                           "to /etc/hosts%s",
                           remote->host,
                           rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc),
                           remote->has_unread ? "; ~/.ssh/config is not read, since there is no "
                                                "ssh here: install openssh-client"
                                              : "");
    remote->addresses = remote->address = addresses;
    remote_set_state(remote, REMOTE_CONNECT);
    return STEP_ON;
}

enum remote_step step_resolve(struct remote *remote)
{
    char port[8];
    if (remote->lookup != NULL) {
        if (mf_mailbox_take(&remote->lookup->mailbox) == NULL)
            return STEP_WAIT;
        int rc = remote->lookup->rc;
        struct addrinfo *addresses = remote->lookup->addresses;
        remote->lookup->addresses = NULL;
        lookup_leave(remote);
        return resolved(remote, rc, addresses);
    }
    snprintf(port, sizeof port, "%u", (unsigned)remote->port);
    struct addrinfo *addresses = NULL;
    int rc = look_up(remote->host, port, family_of(remote), AI_NUMERICHOST, &addresses);
    if (rc != EAI_NONAME)
        return resolved(remote, rc, addresses);
    remote->lookup = lookup_start(remote, port, &remote->error);
    return remote->lookup == NULL ? STEP_FAILED : STEP_WAIT;
}

static void close_socket(struct remote *remote)
{
    if (remote->fd < 0)
        return;
    mf_loop_remove(remote->loop, remote->fd);
    close(remote->fd);
    remote->fd = -1;
    remote->watched = UNWATCHED;
}

/* A host that vanishes while a command runs is noticed within half a minute, or as the user's
 * ServerAliveInterval says. */
static void set_options(int fd, const struct settings *settings)
{
    static const struct {
        int level, name, value;
    } options[] = {{IPPROTO_TCP, TCP_NODELAY, 1},
                   {SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, 15},
                   {IPPROTO_TCP, TCP_KEEPINTVL, 5},
                   {IPPROTO_TCP, TCP_KEEPCNT, 3},
                   {IPPROTO_TCP, TCP_USER_TIMEOUT, 30000}};
    for (unsigned i = 0; i < sizeof options / sizeof *options; i++)
        setsockopt(
            fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
    if (settings == NULL || settings->alive_s == 0)
        return;
    int interval = (int)settings->alive_s, count = (int)settings->alive_count;
    int whole_ms = interval * (count < 1 ? 1 : count) * 1000;
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    if (count > 0)
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &whole_ms, sizeof whole_ms);
}

static void set_address_deadline(struct remote *remote)
{
    int64_t now = mf_monotonic_us(), left = remote->deadline_us - now;
    int64_t count = 0;
    for (const struct addrinfo *a = remote->address; a != NULL; a = a->ai_next)
        count++;
    int64_t share = count <= 1 ? left : left / count;
    if (count > 1 && share > ADDRESS_US)
        share = ADDRESS_US;
    remote->address_deadline_us = now + share;
}

/* Gives up on the current address because of errno `problem`. */
static void next_address(struct remote *remote, int problem)
{
    char name[64] = "?";
    getnameinfo(remote->address->ai_addr,
                remote->address->ai_addrlen,
                name,
                sizeof name,
                NULL,
                0,
                NI_NUMERICHOST);
    bool same = strcmp(name, remote->host) == 0;
    snprintf(remote->connect_problem,
             sizeof remote->connect_problem,
             "%s%s%s",
             same ? "" : name,
             same ? "" : ": ",
             strerror(problem));
    remote->connect_errno = problem;
    close_socket(remote);
    remote->address = remote->address->ai_next;
}

static enum remote_step unconnected(struct remote *remote)
{
    const char *remedy = "check host, port, and the network between";
    if (remote->connect_errno == ECONNREFUSED)
        remedy = "is sshd running there, and on this port?";
    else if (remote->connect_errno == ETIMEDOUT)
        remedy = "is it up, and does a firewall let it through?";
    else if (remote->connect_errno == ECONNRESET)
        remedy = "too many logins at once there?";
    return remote_fail(remote,
                       remote->connect_errno == ECONNRESET,
                       "cannot connect to %s (%s): %s",
                       remote->place,
                       remote->connect_problem,
                       remedy);
}

static void start_connect(struct remote *remote)
{
    const struct addrinfo *a = remote->address;
    remote->fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (remote->fd < 0) {
        next_address(remote, errno);
        return;
    }
    set_options(remote->fd, remote->settings);
    set_address_deadline(remote);
    if (connect(remote->fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)
        next_address(remote, errno);
}

static void name_ends(struct remote *remote)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getpeername(remote->fd, (struct sockaddr *)&address, &size) == 0)
        getnameinfo((struct sockaddr *)&address,
                    size,
                    remote->peer_address,
                    sizeof remote->peer_address,
                    NULL,
                    0,
                    NI_NUMERICHOST);
    size = sizeof address;
    if (getsockname(remote->fd, (struct sockaddr *)&address, &size) == 0)
        getnameinfo((struct sockaddr *)&address,
                    size,
                    remote->own_address,
                    sizeof remote->own_address,
                    NULL,
                    0,
                    NI_NUMERICHOST);
}

/* 1: connected; 0: not yet; -1: failed, errno says why. */
static int is_connected(int fd)
{
    int problem = 0;
    socklen_t size = sizeof problem;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) < 0)
        return -1;
    struct sockaddr_storage peer;
    size = sizeof peer;
    if (problem == 0 && getpeername(fd, (struct sockaddr *)&peer, &size) == 0)
        return 1;
    if (problem == 0 && errno == ENOTCONN)
        return 0;
    errno = problem == 0 ? errno : problem;
    return -1;
}

enum remote_step step_connect(struct remote *remote)
{
    if (remote->address == NULL)
        return unconnected(remote);
    if (remote->fd < 0) {
        start_connect(remote);
        if (remote->fd < 0)
            return STEP_ON;
    }
    int rc = is_connected(remote->fd);
    if (rc < 0) {
        next_address(remote, errno);
        return STEP_ON;
    }
    if (rc == 0 && mf_monotonic_us() >= remote->address_deadline_us) {
        next_address(remote, ETIMEDOUT);
        return STEP_ON;
    }
    if (rc == 0) {
        remote->wanted = EPOLLOUT;
        return STEP_WAIT;
    }
    name_ends(remote);
    if (host_key_prepare(remote, &remote->error) < 0 || session_start(remote, &remote->error) < 0)
        return STEP_FAILED;
    remote_set_state(remote, REMOTE_HANDSHAKE);
    return STEP_ON;
}

void connect_fini(struct remote *remote)
{
    lookup_leave(remote);
    if (remote->addresses != NULL)
        freeaddrinfo(remote->addresses);
    remote->addresses = remote->address = NULL;
    close_socket(remote);
}
