/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a host still answers while something is under way: a link that dies in silence tells
 * nobody. TCP notices that on the way to the first host only, not behind a ProxyJump; so a host
 * that has said nothing for a while is asked, over SSH itself, as ssh does it (ServerAliveInterval,
 * ServerAliveCountMax). Any bytes that come are an answer.
 *
 * libssh2 holds a packet that could not be written whole, and wants the call that made it again
 * before any other. So a question is asked only when nothing is stuck and the socket has room.
 */
#include <inttypes.h>
#include <poll.h>

#include "common/clock.h"
#include "master/remote/remote_internal.h"

#define INTERVAL_S 10u
#define COUNT 2u        /* questions without an answer; the same for ssh, see openssh_args.c */
#define INTERVAL_MIN 2u /* libssh2 asks no more often */

/* Logged in by libssh2, and not idle: nobody waits for one that is. */
static bool is_watched(const struct remote *remote)
{
    return remote->session != NULL && remote->state > REMOTE_IDLE &&
           remote->state < REMOTE_OPENSSH_IDLE;
}

static bool has_room(const struct remote *remote)
{
    struct pollfd poller = {.fd = remote->fd, .events = POLLOUT};
    return remote->stuck == STUCK_NOT && poll(&poller, 1, 0) > 0 && (poller.revents & POLLOUT) != 0;
}

static void ask(struct remote *remote)
{
    int seconds;
    if (!has_room(remote))
        return;
    libssh2_keepalive_config(remote->session, 1, 1);
    (void)libssh2_keepalive_send(remote->session,
                                 &seconds); /* that fails when the next step does */
}

int64_t alive_tick(struct remote *remote, int64_t now_us)
{
    const struct settings *settings = remote->settings;
    bool is_said = settings != NULL && settings->alive_s != 0;
    unsigned interval_s = is_said ? settings->alive_s : INTERVAL_S;
    unsigned count = is_said ? settings->alive_count : COUNT;
    int64_t interval_us =
        (interval_s < INTERVAL_MIN ? INTERVAL_MIN : interval_s) * INT64_C(1000000);
    if (!is_watched(remote)) {
        remote->heard_us = remote->asked_us = now_us;
        return MF_NEVER;
    }
    int64_t last_us = remote->heard_us > remote->asked_us ? remote->heard_us : remote->asked_us;
    int64_t end_us = remote->heard_us + interval_us * ((int64_t)count + 1);
    if (now_us >= end_us) {
        remote_fail(remote,
                    true,
                    "%s has not answered for %" PRId64 " s: is it up, and the network between?",
                    remote->place,
                    (now_us - remote->heard_us) / 1000000);
        remote_give_up(remote);
        return now_us;
    }
    if (now_us >= last_us + interval_us) {
        ask(remote);
        remote->asked_us = last_us = now_us;
    }
    return last_us + interval_us < end_us ? last_us + interval_us : end_us;
}
