/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways to workers that nothing but SSH leads to. A way is a port of ours on loopback, which the
 * master's wire dials like any worker; each connection that comes there gets a login of its own to
 * the host, and goes on through a channel to the worker's port on the loopback there. So a way that
 * breaks mends itself as every dialed connection does: the wire dials again. The worker proves
 * itself by its certificate, as always: who else takes that port gets nowhere.
 *
 *     wire --> 127.0.0.1:LOCAL | accepted --> SSH, channel --> 127.0.0.1:PORT of the host
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/launch/ssh_internal.h"

#define PAUSE_US 2000000 /* after a login that failed */

struct way {
    struct way *next;
    struct launcher *launcher;
    const struct launch_host *host;
    const struct gate *gate;
    struct remote_config login;
    uint32_t worker;
    uint16_t port;         /* of the worker */
    int listener;          /* -1 = not yet */
    struct remote *remote; /* of the newest connection; NULL = there is none */
    int64_t pause_until_us;
};

static void hang_up(struct way *way)
{
    remote_close(way->remote);
    way->remote = NULL;
}

/* Takes `fd`. */
static void go_on(struct way *way, int fd)
{
    struct launcher *launcher = way->launcher;
    const struct remote_target target = {
        .user = way->host->user,
        .host = way->host->host,
        .port = way->host->port,
        .elsewhere = way->gate->elsewhere[0] == '\0' ? NULL : way->gate->elsewhere};
    struct mf_error error;
    way->remote = remote_open(launcher->loop, &way->login, &target, &error);
    if (way->remote == NULL) {
        close(fd);
        mf_log(MF_WARNING, "%s", error.text);
    } else if (remote_forward(way->remote, fd, "127.0.0.1", way->port, &error) < 0) {
        mf_log(MF_WARNING, "%s", error.text);
        hang_up(way);
    }
}

static void on_connection(void *arg, uint32_t events)
{
    struct way *way = arg;
    (void)events;
    int fd = accept4(way->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (mf_monotonic_us() < way->pause_until_us) {
        close(fd); /* it is dialed again */
        return;
    }
    /* The wire has given up the one before: it has one connection at a time. */
    hang_up(way);
    go_on(way, fd);
}

static int listen_here(struct way *way, uint16_t *port, struct mf_error *error)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    way->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (way->listener < 0 || bind(way->listener, (struct sockaddr *)&address, size) < 0 ||
        listen(way->listener, 4) < 0 ||
        getsockname(way->listener, (struct sockaddr *)&address, &size) < 0)
        return mf_raise_errno(
            error, "cannot listen on loopback for the way to %s", way->host->name);
    *port = ntohs(address.sin_port);
    return mf_loop_add(way->launcher->loop, way->listener, EPOLLIN, on_connection, way, error);
}

static void destroy(struct way *way)
{
    hang_up(way);
    if (way->listener >= 0) {
        mf_loop_remove(way->launcher->loop, way->listener);
        close(way->listener);
    }
    mf_free(way);
}

int ssh_open_way(struct launcher *launcher,
                 const struct launch_host *host,
                 uint32_t worker,
                 uint16_t port,
                 uint16_t *local,
                 struct mf_error *error)
{
    struct way *way = mf_calloc(1, sizeof *way);
    const struct gate *gate = ssh_gate_of(launcher, host);
    if (way == NULL || gate == NULL) {
        mf_free(way);
        return mf_raise(error, MF_ENOMEM, "out of memory: the way to %s", host->name);
    }
    *way = (struct way){.launcher = launcher,
                        .host = host,
                        .gate = gate,
                        .login = ssh_login_of(launcher, host),
                        .worker = worker,
                        .port = port,
                        .listener = -1};
    if (listen_here(way, local, error) < 0) {
        if (way->listener >= 0)
            close(way->listener);
        mf_free(way);
        return -1;
    }
    way->next = launcher->ways;
    launcher->ways = way;
    return 0;
}

void ssh_close_way(struct launcher *launcher, uint32_t worker)
{
    for (struct way **at = &launcher->ways; *at != NULL;) {
        struct way *way = *at;
        if (way->worker != worker) {
            at = &way->next;
            continue;
        }
        *at = way->next;
        destroy(way);
    }
}

void ssh_close_ways(struct launcher *launcher)
{
    while (launcher->ways != NULL)
        ssh_close_way(launcher, launcher->ways->worker);
}

static int64_t tick(struct way *way, int64_t now_us)
{
    struct mf_error error;
    if (way->remote == NULL)
        return MF_NEVER;
    int64_t next_us = remote_tick(way->remote, now_us);
    if (!remote_is_over(way->remote, &error))
        return next_us;
    if (error.text[0] != '\0') {
        mf_log(MF_WARNING, "the way to worker %u by SSH: %s", way->worker, error.text);
        way->pause_until_us = now_us + PAUSE_US;
    }
    hang_up(way);
    return MF_NEVER;
}

int64_t ssh_tick_ways(struct launcher *launcher, int64_t now_us)
{
    int64_t next_us = MF_NEVER;
    for (struct way *way = launcher->ways; way != NULL; way = way->next) {
        int64_t due_us = tick(way, now_us);
        next_us = due_us < next_us ? due_us : next_us;
    }
    return next_us;
}
