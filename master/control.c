/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: see control.h. A client is a connection with a line buffer; whoever does not
 * read its answers is dropped. The socket is bound and reached through /proc/self/fd, since a run
 * folder's path can be longer than a socket address.
 */
#include "master/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/buffer.h"
#include "common/clock.h"
#include "common/log.h"

#define LINE_MAX_BYTES 4096u
#define WATCH_US 500000
#define CLIENTS_MAX 64u

struct client {
    struct client *next;
    struct control *control;
    int fd;
    bool watching;
    size_t length;
    char line[LINE_MAX_BYTES];
};

struct control {
    struct mf_loop *loop;
    struct control_callbacks callbacks;
    int folder_fd, listen_fd;
    struct client *clients;
    unsigned client_count;
    int64_t watch_us;
};

static void make_address(int folder_fd, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(
        address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/control.sock", folder_fd);
}

static void drop_client(struct client *client)
{
    struct control *control = client->control;
    struct client **link = &control->clients;
    while (*link != client)
        link = &(*link)->next;
    *link = client->next;
    control->client_count--;
    mf_loop_remove(control->loop, client->fd);
    close(client->fd);
    mf_free(client);
}

/* False when the client does not take it: it is to be dropped. Steals the reference. */
static bool send_json(struct client *client, json_t *value)
{
    char *text = value == NULL ? NULL : json_dumps(value, JSON_COMPACT);
    json_decref(value);
    if (text == NULL)
        return false;
    size_t length = strlen(text);
    text[length] = '\n'; /* in place of its NUL */
    ssize_t sent = send(client->fd, text, length + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    free(text);
    return sent == (ssize_t)(length + 1);
}

static json_t *refusal(const char *text)
{
    return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

/* 0 when the key is not there, -1 when it is no number of a subtask. */
static int64_t subtask_of(const json_t *request)
{
    const json_t *value = json_object_get(request, "subtask");
    if (value == NULL || json_is_null(value))
        return 0;
    return json_is_integer(value) && json_integer_value(value) > 0 ? json_integer_value(value) : -1;
}

static json_t *explain(const struct control_callbacks *callbacks, const json_t *request)
{
    int64_t subtask = subtask_of(request);
    if (subtask < 0)
        return refusal("\"subtask\" is a number from 1");
    return callbacks->explain(callbacks->arg, (uint64_t)subtask);
}

static void
pause_or_go_on(const struct control_callbacks *callbacks, const json_t *request, bool on)
{
    const char *reason = json_string_value(json_object_get(request, "reason"));
    callbacks->pause(callbacks->arg, on, reason == NULL ? "" : reason);
}

static json_t *handle(struct client *client, json_t *request)
{
    const struct control_callbacks *callbacks = &client->control->callbacks;
    const char *command = json_string_value(json_object_get(request, "command"));
    if (command == NULL)
        return refusal("a request is an object with a \"command\"");
    if (strcmp(command, "status") == 0)
        return callbacks->status(callbacks->arg);
    if (strcmp(command, "watch") == 0) {
        client->watching = true;
        client->control->watch_us = 0;
        return callbacks->status(callbacks->arg);
    }
    if (strcmp(command, "explain") == 0)
        return explain(callbacks, request);
    if (strcmp(command, "flush") == 0) {
        struct mf_error error;
        if (callbacks->flush(callbacks->arg, &error) < 0)
            return refusal(error.text);
        return json_pack("{s:b}", "ok", 1);
    }
    if (strcmp(command, "cancel") == 0)
        callbacks->cancel(callbacks->arg, json_is_true(json_object_get(request, "drain")));
    else if (strcmp(command, "pause") == 0 || strcmp(command, "unpause") == 0)
        pause_or_go_on(callbacks, request, command[0] == 'p');
    else
        return refusal(
            "unknown command: status, watch, explain, cancel, pause, unpause and flush are known");
    return json_pack("{s:b}", "ok", 1);
}

static bool handle_line(struct client *client, const char *line, size_t length)
{
    json_t *request = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    json_t *answer =
        request == NULL ? refusal("a request is one line of JSON") : handle(client, request);
    json_decref(request);
    return send_json(client, answer);
}

static bool handle_lines(struct client *client)
{
    char *newline;
    while ((newline = memchr(client->line, '\n', client->length)) != NULL) {
        size_t length = (size_t)(newline - client->line);
        if (!handle_line(client, client->line, length))
            return false;
        client->length -= length + 1;
        memmove(client->line, newline + 1, client->length);
    }
    return client->length < sizeof client->line;
}

static void on_client(void *arg, uint32_t events)
{
    (void)events;
    struct client *client = arg;
    ssize_t got = recv(client->fd,
                       client->line + client->length,
                       sizeof client->line - client->length,
                       MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0)
        client->length += (size_t)got;
    if (got <= 0 || !handle_lines(client))
        drop_client(client);
}

static bool is_owner(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

static void on_connection(void *arg, uint32_t events)
{
    (void)events;
    struct control *control = arg;
    int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct client *client = NULL;
    if (!is_owner(fd))
        mf_log(MF_WARNING,
               "refused a connection to the control socket: it is not from the owner of the run");
    else if (control->client_count < CLIENTS_MAX)
        client = mf_calloc(1, sizeof *client);
    if (client == NULL || mf_loop_add(control->loop, fd, EPOLLIN, on_client, client, NULL) < 0) {
        mf_free(client);
        close(fd);
        return;
    }
    client->control = control;
    client->fd = fd;
    client->next = control->clients;
    control->clients = client;
    control->client_count++;
}

static int listen_on(struct control *control, const char *run_folder, struct mf_error *error)
{
    struct sockaddr_un address;
    control->folder_fd = open(run_folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (control->folder_fd < 0)
        return mf_raise_errno(error, "cannot open the run folder %s", run_folder);
    unlinkat(control->folder_fd, "control.sock", 0);
    make_address(control->folder_fd, &address);
    control->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* The mode of an unbound socket is what its name gets. */
    if (control->listen_fd < 0 || fchmod(control->listen_fd, 0600) < 0 ||
        bind(control->listen_fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(control->listen_fd, 16) < 0)
        return mf_raise_errno(error, "cannot make the control socket in %s", run_folder);
    return mf_loop_add(control->loop, control->listen_fd, EPOLLIN, on_connection, control, error);
}

struct control *control_create(struct mf_loop *loop,
                               const char *run_folder,
                               const struct control_callbacks *callbacks,
                               struct mf_error *error)
{
    struct control *control = mf_calloc(1, sizeof *control);
    if (control == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the control socket");
        return NULL;
    }
    control->loop = loop;
    control->callbacks = *callbacks;
    control->folder_fd = control->listen_fd = -1;
    control->watch_us = MF_NEVER;
    if (listen_on(control, run_folder, error) == 0)
        return control;
    control_destroy(control);
    return NULL;
}

/* All watchers get the same status. Returns how many there are. */
static unsigned send_watchers(struct control *control)
{
    unsigned count = 0;
    for (struct client *client = control->clients, *next; client != NULL; client = next) {
        next = client->next;
        if (!client->watching)
            continue;
        if (send_json(client, control->callbacks.status(control->callbacks.arg)))
            count++;
        else
            drop_client(client);
    }
    return count;
}

int64_t control_tick(struct control *control, int64_t now_us)
{
    if (now_us >= control->watch_us)
        control->watch_us = send_watchers(control) > 0 ? now_us + WATCH_US : MF_NEVER;
    return control->watch_us;
}

void control_destroy(struct control *control)
{
    if (control == NULL)
        return;
    send_watchers(control);
    while (control->clients != NULL)
        drop_client(control->clients);
    if (control->listen_fd >= 0) {
        mf_loop_remove(control->loop, control->listen_fd);
        close(control->listen_fd);
        unlinkat(control->folder_fd, "control.sock", 0);
    }
    if (control->folder_fd >= 0)
        close(control->folder_fd);
    mf_free(control);
}

int control_connect(const char *run_folder, struct mf_error *error)
{
    struct sockaddr_un address;
    int folder_fd = open(run_folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return mf_raise_errno(error, "cannot open the run folder %s", run_folder);
    make_address(folder_fd, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        mf_raise(error,
                 MF_ESETUP,
                 "no master answers for the run in %s: it has ended or was killed",
                 run_folder);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    close(folder_fd);
    return fd;
}

json_t *control_read(int fd, struct mf_error *error)
{
    struct mf_buffer line = {0};
    json_t *value = NULL;
    char c = '\0';
    ssize_t got = 0;
    mf_raise(error, MF_OK, "the master closed the connection");
    while (c != '\n' && ((got = recv(fd, &c, 1, 0)) == 1 || (got < 0 && errno == EINTR)))
        if (got == 1 && mf_buffer_append(&line, &c, 1, error) < 0)
            break;
    if (c == '\n') {
        json_error_t why;
        value = json_loadb((const char *)line.data, line.length, 0, &why);
        if (value == NULL)
            mf_raise(error, MF_EPROTOCOL, "the master's answer is not JSON: %s", why.text);
    } else if (got < 0) {
        mf_raise_errno(error, "the connection to the master broke");
    }
    mf_buffer_fini(&line);
    return value;
}

json_t *control_ask(int fd, json_t *request, struct mf_error *error)
{
    char *text = request == NULL ? NULL : json_dumps(request, JSON_COMPACT);
    json_decref(request);
    if (text == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a request to the master");
        return NULL;
    }
    size_t length = strlen(text);
    text[length] = '\n';
    ssize_t sent = send(fd, text, length + 1, MSG_NOSIGNAL);
    free(text);
    if (sent != (ssize_t)(length + 1)) {
        mf_raise_errno(error, "the connection to the master broke");
        return NULL;
    }
    json_t *answer = control_read(fd, error);
    if (answer == NULL && error != NULL && error->code == MF_OK)
        error->code = MF_ESETUP;
    return answer;
}
