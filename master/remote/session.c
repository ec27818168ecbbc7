/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SSH session around a socket: how libssh2 is set up, the handshake, the end.
 *
 * All reading and writing of libssh2, its agent's included, goes through two functions of ours.
 * They remember how the connection was lost and what the host said before its banner, which
 * libssh2 does not tell, and once we have hung up they refuse everything, so that no clean-up of
 * libssh2 can wait for the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/remote/remote_internal.h"

#define GREETING_MAX 16384 /* bytes that may stand before a banner */
#define AGENT_SECONDS 5    /* that an agent may take for an answer: its calls block */

/*
 * What libssh2 1.10 has and is safe, quickest first: curve25519 costs a fraction of the others,
 * and a login moves so little that the cipher hardly counts.
 */
static const struct {
    int method;
    const char *names;
} preferences[] = {
    {LIBSSH2_METHOD_KEX,
     "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,"
     "ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group14-sha256,"
     "diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,kex-strict-c-v00@openssh.com"},
    {LIBSSH2_METHOD_CRYPT_CS, "aes128-ctr,aes256-ctr,aes192-ctr"},
    {LIBSSH2_METHOD_CRYPT_SC, "aes128-ctr,aes256-ctr,aes192-ctr"},
    {LIBSSH2_METHOD_MAC_CS, "hmac-sha2-256,hmac-sha2-512"},
    {LIBSSH2_METHOD_MAC_SC, "hmac-sha2-256,hmac-sha2-512"}};

static LIBSSH2_ALLOC_FUNC(on_alloc)
{
    (void)abstract;
    return mf_malloc(count);
}

static LIBSSH2_REALLOC_FUNC(on_realloc)
{
    (void)abstract;
    return mf_realloc(ptr, count);
}

static LIBSSH2_FREE_FUNC(on_free)
{
    (void)abstract;
    mf_free(ptr);
}

/* Notes the first line, and whether a line begins with "SSH-". */
static void note_greeting(struct greeting *greeting, const unsigned char *bytes, size_t count)
{
    static const char banner[] = "SSH-";
    for (size_t i = 0; i < count && !greeting->ssh; i++) {
        unsigned char c = bytes[i];
        greeting->total++;
        if (c == '\n') {
            greeting->state = 0;
            greeting->line_over = true;
            continue;
        }
        greeting->state = greeting->state < 4 && c == (unsigned char)banner[greeting->state]
                              ? greeting->state + 1
                              : 5;
        greeting->ssh = greeting->state == 4;
        if (!greeting->line_over && greeting->length + 1 < sizeof greeting->text && c != '\r')
            greeting->text[greeting->length++] = c < ' ' || c > '~' ? '?' : (char)c;
    }
}

/* The agent's socket is blocking and libssh2's own. It would be inherited by children, waited for
 * without a limit, and its end not be seen. */
static ssize_t agent_result(ssize_t n)
{
    if (n > 0)
        return n;
    return n == 0 ? -ECONNRESET : errno == EAGAIN ? -ETIMEDOUT : -errno;
}

static ssize_t agent_send(int fd, const void *bytes, size_t count)
{
    struct timeval limit = {.tv_sec = AGENT_SECONDS};
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return agent_result(send(fd, bytes, count, MSG_NOSIGNAL));
}

static LIBSSH2_SEND_FUNC(on_send)
{
    struct remote *remote = *abstract;
    if (remote->cut)
        return -ECONNRESET;
    if (socket != remote->fd)
        return agent_send(socket, buffer, length);
    ssize_t n = send(socket, buffer, length, flags | MSG_NOSIGNAL);
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EINTR)
        return -EAGAIN;
    remote->lost = errno;
    return -errno;
}

/*
 * sshd leaves Nagle's algorithm on for what is no terminal: it holds a small packet back until the
 * one before has been acknowledged, which we would do 40 ms later. So that is done as soon as all
 * was read. (The option does not last, it has to be said each time.)
 */
static void acknowledge(int fd)
{
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &yes, sizeof yes);
}

static LIBSSH2_RECV_FUNC(on_recv)
{
    struct remote *remote = *abstract;
    if (remote->cut)
        return -ECONNRESET;
    if (socket != remote->fd)
        return agent_result(recv(socket, buffer, length, 0));
    ssize_t n = recv(socket, buffer, length, flags);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        acknowledge(socket);
        return -EAGAIN;
    }
    if (n <= 0)
        remote->lost = n == 0 ? LOST_END : errno;
    if (n < 0)
        return -errno;
    remote->heard_us = mf_monotonic_us();
    if (!remote->greeting.ssh)
        note_greeting(&remote->greeting, buffer, (size_t)n);
    if (!remote->greeting.ssh && remote->greeting.total > GREETING_MAX)
        return -EPROTO;
    return n;
}

static LIBSSH2_DISCONNECT_FUNC(on_disconnect)
{
    (void)session;
    (void)reason;
    (void)language;
    (void)language_len;
    struct remote *remote = *abstract;
    bool silent = message == NULL || message_len <= 0;
    remote_print(remote->farewell,
                 sizeof remote->farewell,
                 silent ? "nothing" : message,
                 silent ? sizeof "nothing" - 1 : (size_t)message_len);
}

static void init_library(void)
{
    libssh2_init(0);
}

int session_start(struct remote *remote, struct mf_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_library);
    remote->session = libssh2_session_init_ex(on_alloc, on_free, on_realloc, remote);
    if (remote->session == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: an SSH session with %s", remote->place);
    /* The prototypes differ, libssh2 wants them all as void pointers. */
    libssh2_session_callback_set(remote->session, LIBSSH2_CALLBACK_SEND, (void *)on_send);
    libssh2_session_callback_set(remote->session, LIBSSH2_CALLBACK_RECV, (void *)on_recv);
    libssh2_session_callback_set(
        remote->session, LIBSSH2_CALLBACK_DISCONNECT, (void *)on_disconnect);
    libssh2_session_set_blocking(remote->session, 0);
    for (unsigned i = 0; i < sizeof preferences / sizeof *preferences; i++)
        libssh2_session_method_pref(remote->session, preferences[i].method, preferences[i].names);
    return libssh2_session_method_pref(
               remote->session, LIBSSH2_METHOD_HOSTKEY, remote->host_key_types) == 0
               ? 0
               : mf_raise(error,
                          MF_ESYSTEM,
                          "libssh2 knows none of the host key types %s",
                          remote->host_key_types);
}

/* The host was not willing, or is no SSH server: it never got to its banner. */
static enum remote_step no_banner(struct remote *remote)
{
    const char *said = remote->greeting.text;
    remote->crowded =
        strncmp(said, "Exceeded MaxStartups", 20) == 0 || strncmp(said, "Not allowed at", 14) == 0;
    if (remote->crowded)
        return remote_fail(remote,
                           true,
                           "%s refused a login ('%s'): too many at once for MaxStartups in its "
                           "sshd_config",
                           remote->place,
                           said);
    if (remote->greeting.total > 0)
        return remote_fail(remote,
                           false,
                           "%s is not an SSH server (it says '%s'): check host and port",
                           remote->place,
                           said);
    return remote_fail(remote,
                       true,
                       "%s closed the connection before it said anything: too many logins at once "
                       "for MaxStartups in its sshd_config, or this machine is not admitted there",
                       remote->place);
}

enum remote_step session_broke(struct remote *remote, const char *doing)
{
    char *said = NULL;
    int code = libssh2_session_last_error(remote->session, &said, NULL, 0);
    if (remote->farewell[0] != '\0')
        return remote_fail(remote,
                           false,
                           "%s ended the connection while %s, and says: %s",
                           remote->place,
                           doing,
                           remote->farewell);
    if (remote->lost != 0)
        return remote_fail(remote,
                           true,
                           "%s broke the connection while %s (%s)",
                           remote->place,
                           doing,
                           remote->lost == LOST_END ? "closed by the host"
                                                    : strerror(remote->lost));
    if (code == LIBSSH2_ERROR_ALLOC) {
        mf_raise(&remote->error, MF_ENOMEM, "out of memory: %s on %s", doing, remote->place);
        return STEP_FAILED;
    }
    return remote_fail(remote,
                       false,
                       "%s and this client do not understand each other while %s (libssh2: %s, %d)",
                       remote->place,
                       doing,
                       said == NULL ? "" : said,
                       code);
}

static enum remote_step handshake_failed(struct remote *remote, int rc)
{
    if (!remote->greeting.ssh)
        return no_banner(remote);
    if (remote->lost == 0 && remote->farewell[0] == '\0') {
        if (rc == LIBSSH2_ERROR_KEX_FAILURE || rc == LIBSSH2_ERROR_METHOD_NONE)
            remote_cannot(remote, "it has no algorithm in common with the host");
        if (rc == LIBSSH2_ERROR_KEX_FAILURE || rc == LIBSSH2_ERROR_METHOD_NONE)
            return remote_fail(
                remote,
                false,
                "%s has no key exchange, host key type, cipher or MAC in common with this client: "
                "allow curve25519-sha256, an ED25519 or ECDSA host key, aes128-ctr and "
                "hmac-sha2-256 in its sshd_config",
                remote->place);
        if (rc == LIBSSH2_ERROR_HOSTKEY_INIT || rc == LIBSSH2_ERROR_HOSTKEY_SIGN)
            return remote_fail(remote,
                               false,
                               "%s does not prove that its host key is its own: somebody may be "
                               "listening in between, do not go on before you know",
                               remote->place);
    }
    return session_broke(remote, "shaking hands");
}

enum remote_step step_handshake(struct remote *remote)
{
    int rc = libssh2_session_handshake(remote->session, remote->fd);
    remote->shaking = remote_blocked(rc);
    if (remote->shaking)
        return STEP_WAIT;
    if (rc != 0)
        return handshake_failed(remote, rc);
    mf_log(MF_DEBUG,
           "ssh %s@%s: %s, %s, %s, %s",
           remote->user,
           remote->place,
           libssh2_session_methods(remote->session, LIBSSH2_METHOD_KEX),
           libssh2_session_methods(remote->session, LIBSSH2_METHOD_HOSTKEY),
           libssh2_session_methods(remote->session, LIBSSH2_METHOD_CRYPT_CS),
           libssh2_session_methods(remote->session, LIBSSH2_METHOD_MAC_CS));
    remote_set_state(remote, REMOTE_HOST_KEY);
    return STEP_ON;
}

void session_end(struct remote *remote)
{
    if (remote->session == NULL)
        return;
    /* Only between commands: in the middle of one, a packet may be half written. */
    if (remote->state == REMOTE_IDLE)
        libssh2_session_disconnect(remote->session, "done");
    remote->cut = true;
    /* A key exchange that is under way frees its secrets only when it fails. */
    if (remote->shaking)
        libssh2_session_handshake(remote->session, remote->fd);
    login_fini(remote);
    if (libssh2_session_free(remote->session) != 0)
        mf_log(MF_WARNING, "ssh %s@%s: a session was not freed", remote->user, remote->place);
    remote->session = NULL;
    remote->channel = NULL;
    remote->shaking = false;
}
