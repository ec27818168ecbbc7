/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection's life and its queue: see remote.h.
 *
 * The steps are a table by state. remote_proceed does them until one has to wait, then watches the
 * descriptor for what libssh2 waits for. Whatever fails goes to the one state `failed`, which
 * answers all commands with the reason and stays. A callback may close the connection: then
 * everything is released at once but the struct itself, which remote_proceed frees on its way out.
 */
#include "master/remote/remote.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/remote/remote_internal.h"

#define CONNECT_US 15000000

typedef enum remote_step step_f(struct remote *remote);

static enum remote_step step_failed(struct remote *remote);

#define REMOTE_STEP(upper, lower) [REMOTE_##upper] = {#lower, step_##lower},
static const struct {
    const char *name;
    step_f *step;
} states[] = {REMOTE_STATES(REMOTE_STEP)};

void remote_set_state(struct remote *remote, enum remote_state state)
{
    mf_log(MF_DEBUG,
           "ssh %s@%s: [%s] -> [%s]",
           remote->user,
           remote->place,
           states[remote->state].name,
           states[state].name);
    remote->state = state;
    bool is_news = state == REMOTE_IDLE || state == REMOTE_OPENSSH_IDLE || state == REMOTE_FAILED;
    if (is_news && remote->beyond != NULL)
        remote->beyond->kicked = true;
}

enum remote_step remote_fail(struct remote *remote, bool again, const char *format, ...)
{
    char text[sizeof remote->error.text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    mf_raise(&remote->error, MF_ESETUP, "%s", text);
    remote->again = again;
    return STEP_FAILED;
}

void remote_cannot(struct remote *remote, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(remote->elsewhere, sizeof remote->elsewhere, format, args);
    va_end(args);
}

static uint64_t connect_us(const struct remote *remote)
{
    if (remote->settings != NULL && remote->settings->connect_s != 0)
        return (uint64_t)remote->settings->connect_s * 1000000;
    return remote->config->connect_us == 0 ? CONNECT_US : remote->config->connect_us;
}

void remote_set_deadline(struct remote *remote)
{
    remote->deadline_us = mf_monotonic_us() + (int64_t)connect_us(remote);
}

unsigned remote_connect_seconds(const struct remote *remote)
{
    return (unsigned)((connect_us(remote) + 999999) / 1000000);
}

void remote_print(char *text, size_t size, const char *said, size_t length)
{
    size_t n = length < size ? length : size - 1;
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(said[i] < ' ' || said[i] > '~' ? '?' : said[i]);
    text[n] = '\0';
}

void remote_say_elsewhere(const struct remote *remote)
{
    mf_log(MF_INFO,
           "%s: OpenSSH's client logs in, since libssh2 can't: %s",
           remote->place,
           remote->elsewhere);
}

bool remote_accepts_new(const struct remote *remote)
{
    return remote->config->accept_new || (remote->settings != NULL && remote->settings->accept_new);
}

void remote_set_place(struct remote *remote)
{
    char address[300];
    bool bare = strchr(remote->host, ':') == NULL;
    if (remote->port == 22)
        snprintf(address, sizeof address, "%s", remote->host);
    else
        snprintf(address,
                 sizeof address,
                 bare ? "%s:%u" : "[%s]:%u",
                 remote->host,
                 (unsigned)remote->port);
    if (strcmp(remote->host, remote->named_host) == 0)
        snprintf(remote->place, sizeof remote->place, "%s", address);
    else
        snprintf(remote->place, sizeof remote->place, "%.255s (%s)", remote->named_host, address);
}

void remote_release(struct remote *remote)
{
    openssh_end(remote);
    session_end(remote);
    connect_fini(remote);
    jump_fini(remote);
    known_host_fini(&remote->known);
    /* As before the first attempt: another one may follow. */
    remote->cut = false;
    remote->lost = 0;
    remote->greeting = (struct greeting){0};
    remote->farewell[0] = remote->host_key_types[0] = '\0';
    remote->stuck = STUCK_NOT;
}

static enum remote_step step_failed(struct remote *remote)
{
    struct command *command = remote->first;
    if (command == NULL)
        return STEP_WAIT;
    struct remote_result result = {
        .code = -1, .output = "", .problem = "", .again = remote->again, .error = remote->error};
    result.crowded = remote->again && remote->crowded;
    result.begun = command->begun;
    if (command->begun) {
        result.again = false;
        mf_error_prefix(&result.error,
                        "a command on %s was begun, and whether it did its work is unknown",
                        remote->place);
    }
    command_answer(remote, &result);
    return STEP_ON;
}

/* Watches for what the current state waits for. */
static int watch(struct remote *remote, struct mf_error *error)
{
    if (remote->fd < 0)
        return 0;
    uint32_t events = remote->wanted;
    if (events == 0 && remote->session != NULL) {
        int directions = libssh2_session_block_directions(remote->session);
        events = ((directions & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0 ? (uint32_t)EPOLLOUT : 0) |
                 ((directions & LIBSSH2_SESSION_BLOCK_INBOUND) != 0 ? (uint32_t)EPOLLIN : 0);
    }
    if (events == 0)
        events = EPOLLIN;
    if (events == remote->watched)
        return 0;
    int rc = remote->watched == UNWATCHED
                 ? mf_loop_add(remote->loop, remote->fd, events, remote_on_event, remote, error)
                 : mf_loop_change(remote->loop, remote->fd, events, error);
    if (rc == 0)
        remote->watched = events;
    return rc;
}

static void enter_failed(struct remote *remote)
{
    mf_log(MF_DEBUG, "ssh %s@%s: %s", remote->user, remote->place, remote->error.text);
    remote_release(remote);
    tunnel_fini(remote);
    remote_set_state(remote, REMOTE_FAILED);
}

void remote_give_up(struct remote *remote)
{
    enter_failed(remote);
    remote->kicked = true;
}

/* What libssh2 cannot do, OpenSSH's client may. */
static bool go_elsewhere(struct remote *remote)
{
    if (remote->config->client != REMOTE_AUTO || remote->elsewhere[0] == '\0' || remote->again ||
        remote->state >= REMOTE_OPENSSH_LOGIN)
        return false;
    if (!openssh_is_there()) {
        size_t length = strlen(remote->error.text);
        snprintf(remote->error.text + length,
                 sizeof remote->error.text - length,
                 " (OpenSSH's client could, but there is no ssh here: install openssh-client)");
        return false;
    }
    remote_say_elsewhere(remote);
    remote_release(remote);
    remote->error = (struct mf_error){0};
    remote_set_state(remote, REMOTE_OPENSSH_IDLE);
    return true;
}

/* False: a callback has closed the connection, and it is freed. */
static bool remote_proceed(struct remote *remote)
{
    enum remote_step step = STEP_ON;
    remote->kicked = false;
    remote->busy = true;
    while (step != STEP_WAIT && !remote->closed) {
        remote->wanted = 0;
        step = states[remote->state].step(remote);
        if (step == STEP_FAILED && !remote->closed)
            jump_explain(remote);
        if (step == STEP_FAILED && !remote->closed && !go_elsewhere(remote))
            enter_failed(remote);
        if (step == STEP_WAIT && !remote->closed && watch(remote, &remote->error) < 0) {
            remote->again = false;
            enter_failed(remote);
            step = STEP_ON;
        }
    }
    remote->busy = false;
    if (!remote->closed)
        return true;
    mf_free(remote);
    return false;
}

void remote_on_event(void *arg, uint32_t events)
{
    (void)events;
    remote_proceed(arg);
}

static char *find_home(void)
{
    const char *home = getenv("HOME");
    if (home == NULL || home[0] != '/') {
        const struct passwd *entry = getpwuid(geteuid());
        home = entry == NULL ? NULL : entry->pw_dir;
    }
    return home == NULL ? NULL : mf_strdup(home);
}

static char *find_user(const struct remote_target *target)
{
    if (target->user != NULL)
        return mf_strdup(target->user);
    const struct passwd *entry = getpwuid(geteuid());
    return entry == NULL ? mf_format("%u", (unsigned)geteuid()) : mf_strdup(entry->pw_name);
}

struct remote *remote_open(struct mf_loop *loop,
                           const struct remote_config *config,
                           const struct remote_target *target,
                           struct mf_error *error)
{
    struct remote *remote = mf_calloc(1, sizeof *remote);
    if (remote == NULL)
        goto fail;
    remote->loop = loop;
    remote->config = config;
    remote->fd = -1;
    openssh_init(remote);
    tunnel_init(remote);
    remote->watched = UNWATCHED;
    remote->last = &remote->first;
    remote->kicked = true;
    remote->port = target->port == 0 ? 22 : target->port;
    remote->named_port = target->port;
    remote->named_user = target->user != NULL;
    remote->user = find_user(target);
    remote->host = mf_strdup(target->host);
    remote->home = find_home();
    remote->named_host = mf_strdup(target->host);
    remote->jump = target->jump == NULL ? NULL : mf_strdup(target->jump);
    if (remote->user == NULL || remote->host == NULL || remote->named_host == NULL ||
        (target->jump != NULL && remote->jump == NULL))
        goto fail;
    remote_set_place(remote);
    if (config_find(remote, error) < 0)
        goto fail;
    remote_set_deadline(remote);
    if (config->client == REMOTE_OPENSSH)
        remote_cannot(remote, "it was asked for");
    else if (config->client == REMOTE_AUTO && target->elsewhere != NULL)
        remote_cannot(remote, "%s", target->elsewhere);
    memcpy(remote->was_elsewhere, remote->elsewhere, sizeof remote->elsewhere);
    return remote;
fail:
    mf_raise(error, MF_ENOMEM, "out of memory: a connection to %s", target->host);
    remote_close(remote);
    return NULL;
}

int remote_exec(struct remote *remote,
                const char *command,
                struct mf_bytes input,
                remote_f *done,
                void *arg,
                struct mf_error *error)
{
    struct command *made = mf_calloc(1, sizeof *made);
    if (made == NULL || (made->text = mf_strdup(command)) == NULL) {
        mf_free(made);
        return mf_raise(error, MF_ENOMEM, "out of memory: a command for %s", remote->place);
    }
    made->input = input;
    made->done = done;
    made->arg = arg;
    *remote->last = made;
    remote->last = &made->next;
    if (remote->state == REMOTE_IDLE || remote->state == REMOTE_FAILED ||
        remote->state == REMOTE_OPENSSH_IDLE)
        remote->kicked = true;
    return 0;
}

const char *remote_elsewhere(const struct remote *remote)
{
    bool is_other = remote->state == REMOTE_OPENSSH_LOGIN || remote->state == REMOTE_OPENSSH_IDLE ||
                    remote->state == REMOTE_OPENSSH_RUN;
    return is_other ? remote->elsewhere : NULL;
}

bool remote_is_asking(const struct remote *remote)
{
    return remote->state == REMOTE_PASSPHRASE ||
           (remote->via != NULL && remote_is_asking(remote->via));
}

bool remote_has_begun(const struct remote *remote)
{
    return remote->answered || (remote->first != NULL && remote->first->begun);
}

bool remote_is_reached(const struct remote *remote)
{
    return remote->peer_address[0] != '\0';
}

const char *remote_peer_address(const struct remote *remote)
{
    return remote->answered ? remote->peer_address : "";
}

const char *remote_own_address(const struct remote *remote)
{
    return remote->answered ? remote->own_address : "";
}

static void time_out(struct remote *remote)
{
    double seconds = (double)connect_us(remote) / 1e6;
    if (remote->state == REMOTE_CONFIG)
        remote_fail(remote,
                    false,
                    "ssh -G %s did not answer within %g s: does a 'Match exec' of the ssh "
                    "configuration hang?",
                    remote->named_host,
                    seconds);
    else if (remote->state == REMOTE_JUMP)
        remote_fail(remote,
                    false,
                    "%s did not answer within %g s by way of %s: is it up, and does a firewall let "
                    "port %u through from there?",
                    remote->place,
                    seconds,
                    remote->via->place,
                    (unsigned)remote->port);
    else if (remote->state == REMOTE_RESOLVE)
        remote_fail(remote,
                    false,
                    "the name %s was not resolved within %g s: check it, and the name servers",
                    remote->host,
                    seconds);
    else if (remote->state == REMOTE_CONNECT || openssh_is_connecting(remote))
        remote_fail(remote,
                    false,
                    "%s did not answer within %g s: is it up, and does a firewall let port %u "
                    "through?",
                    remote->place,
                    seconds,
                    (unsigned)remote->port);
    else if (remote->session != NULL && !remote->greeting.ssh && remote->greeting.length > 0)
        remote_fail(remote,
                    false,
                    "%s is not an SSH server (it says '%s'): check host and port",
                    remote->place,
                    remote->greeting.text);
    else
        remote_fail(remote,
                    false,
                    "%s hung in the middle of the %s, %g s after the start: look at its sshd",
                    remote->place,
                    remote->state <= REMOTE_HANDSHAKE ? "handshake" : "login",
                    seconds);
    remote_give_up(remote);
}

static int64_t own_tick(struct remote *remote, int64_t now_us)
{
    if (remote->state < REMOTE_IDLE && now_us >= remote->deadline_us)
        time_out(remote);
    if (remote->state == REMOTE_CONNECT && now_us >= remote->address_deadline_us)
        remote->kicked = true;
    int64_t alive_us = alive_tick(remote, now_us);
    if (remote->state == REMOTE_PASSPHRASE) /* somebody may have said it to another one */
        remote->kicked = true;
    if (remote->kicked) {
        remote->called = false;
        if (!remote_proceed(remote) || remote->called)
            return now_us;
    }
    if (remote->kicked)
        return now_us;
    if (remote->state == REMOTE_CONNECT)
        return remote->address_deadline_us;
    return remote->state < REMOTE_IDLE ? remote->deadline_us : alive_us;
}

int64_t remote_tick(struct remote *remote, int64_t now_us)
{
    /* The hop first: what it comes to is then known here. */
    int64_t hop_us = remote->via == NULL ? MF_NEVER : remote_tick(remote->via, now_us);
    int64_t own_us = own_tick(remote, now_us);
    if (own_us > now_us && remote->via != NULL && remote->via->kicked)
        return now_us; /* something was asked of it */
    return hop_us < own_us ? hop_us : own_us;
}

static void finish(struct remote *remote)
{
    remote_release(remote);
    tunnel_fini(remote);
    while (remote->first != NULL) {
        struct command *command = remote->first;
        remote->first = command->next;
        command_free(command);
    }
    config_fini(remote);
    mf_free(remote->user);
    mf_free(remote->host);
    mf_free(remote->named_host);
    mf_free(remote->jump);
    mf_free(remote->locked);
    remote->jump = remote->locked = NULL;
    mf_free(remote->home);
    remote->user = remote->host = remote->named_host = remote->home = NULL;
}

void remote_close(struct remote *remote)
{
    if (remote == NULL)
        return;
    if (remote->user != NULL && remote->host != NULL)
        mf_log(MF_DEBUG,
               "ssh %s@%s: [%s] closed",
               remote->user,
               remote->place,
               states[remote->state].name);
    finish(remote);
    remote->closed = true;
    if (!remote->busy)
        mf_free(remote);
}
