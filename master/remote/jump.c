/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ProxyJump: the connection to a host goes through that to another one, which goes through the
 * next. Each hop is a connection of its own, with its own settings, verified and logged in to like
 * any other; when it is in, it opens a channel to what lies beyond (tunnel.c) and moves bytes
 * between that and one end of a pair of sockets. The other end is the socket of the connection
 * beyond, which knows no difference.
 *
 *     T --pair-- hop 2 --pair-- hop 1 --TCP-- ...
 *
 * As with ssh, `ProxyJump a,b` is b by way of a; how a is reached, its own settings say. A hop that
 * libssh2 can't log in to makes the whole way one for OpenSSH's client.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/remote/remote_internal.h"

#define HOPS_MAX 8u

/* "user@host:port", also as ssh://. Cuts `text`. */
int jump_parse(char *text, struct remote_target *target)
{
    *target = (struct remote_target){0};
    if (strncmp(text, "ssh://", 6) == 0)
        text += 6;
    text[strcspn(text, "/")] = '\0';
    char *at = strrchr(text, '@');
    if (at != NULL) {
        *at = '\0';
        target->user = text;
        text = at + 1;
    }
    char *colon = strrchr(text, ':'), *end = NULL;
    if (*text == '[') {
        char *close = strchr(text, ']');
        if (close == NULL)
            return -1;
        *close = '\0';
        colon = close[1] == ':' ? close + 1 : NULL;
        text++;
    } else if (colon != NULL && strchr(text, ':') != colon) {
        colon = NULL; /* a bare IPv6 address */
    }
    if (colon != NULL) {
        unsigned long port = strtoul(colon + 1, &end, 10);
        if (port == 0 || port > 65535 || *end != '\0')
            return -1;
        target->port = (uint16_t)port;
        *colon = '\0';
    }
    target->host = text;
    return *text == '\0' || *text == '-' ? -1 : 0;
}

static bool is_same(const struct remote *remote, const struct remote_target *target)
{
    return strcmp(remote->named_host, target->host) == 0 && remote->named_port == target->port &&
           (target->user == NULL || strcmp(remote->user, target->user) == 0);
}

/* "a -> b -> a" from the outermost on; or too long a way to be one. */
static enum remote_step looped(struct remote *remote, const struct remote_target *target)
{
    char way[300] = "";
    const struct remote *outer = remote;
    while (outer->beyond != NULL)
        outer = outer->beyond;
    for (; outer != NULL; outer = outer == remote ? NULL : outer->via) {
        size_t at = strlen(way);
        snprintf(way + at, sizeof way - at, "%.60s -> ", outer->named_host);
    }
    return remote_fail(remote,
                       false,
                       "ProxyJump leads in a circle (%s%s): mend the ssh configuration",
                       way,
                       target->host);
}

static bool is_loop(const struct remote *remote, const struct remote_target *target)
{
    unsigned depth = 0;
    for (const struct remote *at = remote; at != NULL; at = at->beyond)
        if (is_same(at, target) || ++depth > HOPS_MAX)
            return true;
    return false;
}

/* The last of the list is the hop before us; what is before it is its own way. */
static enum remote_step open_hop(struct remote *remote)
{
    char *list = mf_strdup(remote->jump);
    if (list == NULL) {
        mf_raise(&remote->error, MF_ENOMEM, "out of memory: the way to %s", remote->place);
        return STEP_FAILED;
    }
    char *comma = strrchr(list, ',');
    struct remote_target target;
    enum remote_step step = STEP_FAILED;
    if (comma != NULL)
        *comma = '\0';
    if (jump_parse(comma == NULL ? list : comma + 1, &target) < 0) {
        remote_fail(remote,
                    false,
                    "the ProxyJump of %s is no list of user@host:port (%s): mend the ssh "
                    "configuration",
                    remote->place,
                    remote->jump);
    } else if (is_loop(remote, &target)) {
        looped(remote, &target);
    } else {
        target.jump = comma == NULL ? NULL : list;
        remote->via = remote_open(remote->loop, remote->config, &target, &remote->error);
        if (remote->via != NULL) {
            remote->via->beyond = remote;
            step = STEP_ON;
        }
    }
    mf_free(list);
    return step;
}

static enum remote_step hop_failed(struct remote *remote)
{
    const struct remote *via = remote->via;
    remote->error = via->error;
    remote->again = via->again;
    remote->crowded = via->crowded;
    if (via->error.code != MF_ENOMEM)
        mf_error_prefix(&remote->error, "the way to %s by ProxyJump", remote->named_host);
    return STEP_FAILED;
}

void jump_explain(struct remote *remote)
{
    if (remote->via != NULL && remote->via->state == REMOTE_FAILED && remote->state > REMOTE_JUMP)
        hop_failed(remote);
}

/* The hop is in: the channel, and the sockets. */
static enum remote_step start_tunnel(struct remote *remote)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
        mf_raise_errno(&remote->error, "cannot make a pair of sockets");
        return STEP_FAILED;
    }
    if (remote_forward(remote->via, pair[1], remote->host, remote->port, &remote->error) < 0) {
        close(pair[0]);
        return STEP_FAILED;
    }
    remote->fd = pair[0];
    remote->wanted = 0;
    remote_set_deadline(remote);
    return STEP_ON;
}

enum remote_step step_jump(struct remote *remote)
{
    if (remote->via == NULL)
        return open_hop(remote);
    const struct remote *via = remote->via;
    if (via->state == REMOTE_FAILED)
        return hop_failed(remote);
    if (via->state == REMOTE_OPENSSH_IDLE) {
        remote_cannot(remote, "on the way, %.60s: %.180s", via->place, via->elsewhere);
        return remote_fail(remote, false, "%s", remote->elsewhere);
    }
    if (via->state == REMOTE_IDLE && remote->fd < 0)
        return start_tunnel(remote);
    if (via->state != REMOTE_TUNNEL)
        return STEP_WAIT;
    if (host_key_prepare(remote, &remote->error) < 0 || session_start(remote, &remote->error) < 0)
        return STEP_FAILED;
    remote_set_state(remote, REMOTE_HANDSHAKE);
    return STEP_ON;
}

void jump_fini(struct remote *remote)
{
    if (remote->via == NULL)
        return;
    remote->via->beyond = NULL;
    remote_close(remote->via);
    remote->via = NULL;
}
