/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel from a host on to another address, and a socket of ours: bytes go both ways until one
 * side has ended. For what libssh2 wants of calls that are stuck, see command.c; here it is one
 * channel, too.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/remote/remote_internal.h"

#define WINDOW (512u << 10)
#define TURNS 32

int remote_forward(
    struct remote *remote, int fd, const char *host, uint16_t port, struct mf_error *error)
{
    struct tunnel *tunnel = &remote->tunnel;
    tunnel->fd = fd;
    tunnel->watched = UNWATCHED;
    tunnel->port = port;
    tunnel->is_wanted = true;
    tunnel->host = mf_strdup(host);
    if (tunnel->host == NULL || (tunnel->up = mf_malloc(TUNNEL_PIECE)) == NULL ||
        (tunnel->down = mf_malloc(TUNNEL_PIECE)) == NULL) {
        tunnel_fini(remote);
        return mf_raise(error, MF_ENOMEM, "out of memory: a channel through %s", remote->place);
    }
    remote->kicked = true;
    return 0;
}

bool remote_is_over(const struct remote *remote, struct mf_error *error)
{
    *error = (struct mf_error){0};
    if (remote->state == REMOTE_FAILED)
        *error = remote->error;
    return remote->state == REMOTE_FAILED ||
           (remote->state == REMOTE_TUNNEL && remote->tunnel.fd < 0);
}

enum remote_step tunnel_begin(struct remote *remote)
{
    struct tunnel *tunnel = &remote->tunnel;
    tunnel->is_wanted = false;
    if (mf_loop_add(remote->loop, tunnel->fd, 0, remote_on_event, remote, &remote->error) < 0)
        return STEP_FAILED;
    tunnel->watched = 0;
    remote_set_state(remote, REMOTE_TUNNEL_OPEN);
    return STEP_ON;
}

static enum remote_step refused(struct remote *remote)
{
    char *said = NULL;
    libssh2_session_last_error(remote->session, &said, NULL, 0);
    bool is_policy = said != NULL && strstr(said, "prohibited") != NULL;
    return remote_fail(remote,
                       false,
                       is_policy ? "%s lets %s log in but does not connect on to %s port %u: look "
                                   "at AllowTcpForwarding and PermitOpen in its sshd_config"
                                 : "%s lets %s log in but cannot connect on to %s port %u: is that "
                                   "up, does it resolve there, and does a firewall let it through?",
                       remote->place,
                       remote->user,
                       remote->tunnel.host,
                       (unsigned)remote->tunnel.port);
}

enum remote_step step_tunnel_open(struct remote *remote)
{
    remote->channel = libssh2_channel_direct_tcpip_ex(
        remote->session, remote->tunnel.host, remote->tunnel.port, "127.0.0.1", 0);
    if (remote->channel != NULL) {
        remote->stuck = STUCK_NOT;
        remote_set_state(remote, REMOTE_TUNNEL);
        if (remote->beyond != NULL)
            remote->beyond->kicked = true;
        return STEP_ON;
    }
    int code = libssh2_session_last_errno(remote->session);
    if (remote_blocked(code))
        return STEP_WAIT;
    if (code == LIBSSH2_ERROR_CHANNEL_FAILURE && remote->lost == 0 && remote->farewell[0] == '\0')
        return refused(remote);
    return session_broke(remote, "opening a channel");
}

static bool is_stuck(struct remote *remote, enum stuck call)
{
    bool stuck =
        (libssh2_session_block_directions(remote->session) & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0;
    remote->stuck = stuck ? call : STUCK_NOT;
    return stuck;
}

/* From our socket into the channel. -1: failed; 1: something moved. */
static int move_up(struct remote *remote)
{
    struct tunnel *tunnel = &remote->tunnel;
    int moved = 0;
    for (unsigned turn = 0; turn < TURNS; turn++) {
        if (tunnel->up_at == tunnel->up_length && !tunnel->up_over) {
            ssize_t got = recv(tunnel->fd, tunnel->up, TUNNEL_PIECE, MSG_DONTWAIT);
            if (got < 0 && (errno == EAGAIN || errno == EINTR))
                return moved;
            tunnel->up_over = got <= 0;
            tunnel->up_at = 0;
            tunnel->up_length = got <= 0 ? 0 : (size_t)got;
        }
        if (tunnel->up_at == tunnel->up_length)
            return moved;
        if (remote->stuck != STUCK_INPUT && libssh2_channel_window_write(remote->channel) == 0)
            return moved;
        ssize_t n = libssh2_channel_write(
            remote->channel, tunnel->up + tunnel->up_at, tunnel->up_length - tunnel->up_at);
        if (n == LIBSSH2_ERROR_EAGAIN) {
            is_stuck(remote, STUCK_INPUT);
            return moved;
        }
        remote->stuck = STUCK_NOT;
        if (n < 0)
            return -1;
        tunnel->up_at += (size_t)n;
        moved = 1;
    }
    remote->kicked = true;
    return moved;
}

/* What came out of the channel into our socket; false: that takes no more now. */
static bool flush_down(struct tunnel *tunnel)
{
    while (tunnel->down_at < tunnel->down_length) {
        ssize_t n = send(tunnel->fd,
                         tunnel->down + tunnel->down_at,
                         tunnel->down_length - tunnel->down_at,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        if (n < 0) { /* nobody reads it any more */
            tunnel->down_at = tunnel->down_length;
            tunnel->up_over = true;
            return true;
        }
        tunnel->down_at += (size_t)n;
    }
    return true;
}

/* -1: failed. */
static int move_down(struct remote *remote)
{
    struct tunnel *tunnel = &remote->tunnel;
    for (unsigned turn = 0; turn < TURNS; turn++) {
        if (remote->stuck == STUCK_NOT && !flush_down(tunnel))
            return 0;
        ssize_t n = libssh2_channel_read(remote->channel, tunnel->down, TUNNEL_PIECE);
        if (n == LIBSSH2_ERROR_EAGAIN)
            is_stuck(remote, STUCK_OUTPUT);
        else
            remote->stuck = STUCK_NOT;
        if (n == 0 || n == LIBSSH2_ERROR_EAGAIN)
            return 0;
        if (n < 0)
            return -1;
        tunnel->down_at = 0;
        tunnel->down_length = (size_t)n;
    }
    remote->kicked = true;
    return 0;
}

static int watch_socket(struct remote *remote)
{
    struct tunnel *tunnel = &remote->tunnel;
    uint32_t events = 0;
    if (tunnel->fd < 0)
        return 0;
    if (tunnel->up_at == tunnel->up_length && !tunnel->up_over)
        events |= EPOLLIN;
    if (tunnel->down_at < tunnel->down_length)
        events |= EPOLLOUT;
    if (events == tunnel->watched)
        return 0;
    tunnel->watched = events;
    return mf_loop_change(remote->loop, tunnel->fd, events, &remote->error);
}

static void close_socket(struct remote *remote)
{
    struct tunnel *tunnel = &remote->tunnel;
    if (tunnel->fd < 0)
        return;
    if (tunnel->watched != UNWATCHED)
        mf_loop_remove(remote->loop, tunnel->fd);
    close(tunnel->fd);
    tunnel->fd = -1;
    tunnel->watched = UNWATCHED;
}

enum remote_step step_tunnel(struct remote *remote)
{
    struct tunnel *tunnel = &remote->tunnel;
    int moved = 0;
    if (remote->stuck != STUCK_INPUT && move_down(remote) < 0)
        return session_broke(remote, "moving data");
    if (remote->stuck != STUCK_OUTPUT && (moved = move_up(remote)) < 0)
        return session_broke(remote, "moving data");
    bool is_ended = libssh2_channel_eof(remote->channel) && flush_down(tunnel);
    if (is_ended || tunnel->up_over)
        close_socket(remote); /* who is behind it sees the end */
    if (watch_socket(remote) < 0)
        return STEP_FAILED;
    if (moved > 0)
        remote->kicked = true; /* what was read meanwhile is in libssh2, and no event tells it */
    remote->wanted = remote->stuck != STUCK_NOT ? EPOLLOUT : EPOLLIN;
    return STEP_WAIT;
}

void tunnel_init(struct remote *remote)
{
    remote->tunnel = (struct tunnel){.fd = -1, .watched = UNWATCHED};
}

void tunnel_fini(struct remote *remote)
{
    close_socket(remote);
    mf_free(remote->tunnel.host);
    mf_free(remote->tunnel.up);
    mf_free(remote->tunnel.down);
    tunnel_init(remote);
}
