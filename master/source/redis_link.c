/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to Redis: see redis_link.h. Commands are written here and not by hiredis, so that a
 * password is left in no buffer of it and a connection that has gone is an error, not SIGPIPE.
 */
#include "master/source/redis_link.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mbedtls/platform_util.h>

#include "common/alloc.h"
#include "master/secret_read.h"

#define PORT 6379
#define REFUSAL_MAX 32u

struct redis_link {
    const struct redis_library *library;
    const struct redis_place *place;
    redisContext *context;
    char refusal[REFUSAL_MAX]; /* the beginning of the last one */
};

/* A decimal number up to `max` that fills the string; -1: it is none. */
static long read_number(const char *text, long max)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    long number = strtol(text, &end, 10);
    return errno != 0 || *end != '\0' || number > max ? -1 : number;
}

static int raise_server(const char *server, const char *what, struct mf_error *error)
{
    return mf_raise(error,
                    MF_EUSAGE,
                    "the Redis server \"%s\": %s; expected HOST, HOST:PORT or HOST:PORT/DATABASE, "
                    "or the absolute path of a socket",
                    server,
                    what);
}

/* Cuts `mark` and the number behind it off the text; *number stays when there is none. */
static int cut_number(char *text, char mark, long max, int *number)
{
    char *at = strrchr(text, mark);
    if (at == NULL || (mark == ':' && at[1 + strcspn(at + 1, "]")] == ']'))
        return 0;
    long value = read_number(at + 1, max);
    if (value < 0)
        return -1;
    *at = '\0';
    *number = (int)value;
    return 0;
}

/* Brackets around an IPv6 address; without them its colons are no port's. */
static int check_host(char *host)
{
    size_t length = strlen(host);
    if (length > 2 && host[0] == '[' && host[length - 1] == ']') {
        memmove(host, host + 1, length - 2);
        host[length - 2] = '\0';
    } else if (strchr(host, ':') != NULL) {
        return -1;
    }
    return *host != '\0' && strpbrk(host, " @[]/") == NULL ? 0 : -1;
}

int redis_place_read(struct redis_place *place, const char *server, struct mf_error *error)
{
    place->server = server;
    place->port = PORT;
    if (server[0] == '/')
        return 0;
    place->host = mf_strdup(server);
    if (place->host == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a Redis server's name");
    if (strchr(server, '@') != NULL)
        return raise_server("...", "user and password have keys of their own", error);
    if (cut_number(place->host, '/', 65535, &place->database) < 0)
        return raise_server(server, "what stands behind / is not the number of a database", error);
    if (cut_number(place->host, ':', 65535, &place->port) < 0 || place->port == 0)
        return raise_server(server, "what stands behind : is not a port", error);
    if (check_host(place->host) < 0)
        return raise_server(server, "that is not the name of a host", error);
    return 0;
}

static struct timeval limit_of(int64_t limit_us)
{
    return (struct timeval){.tv_sec = limit_us / 1000000, .tv_usec = limit_us % 1000000};
}

/* hiredis keeps no number of the error, only its text. */
static bool is_late(const redisContext *context)
{
    static const int numbers[] = {EAGAIN, ETIMEDOUT};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (context->err == REDIS_ERR_IO && strcmp(context->errstr, strerror(numbers[i])) == 0)
            return true;
    return false;
}

/* What went wrong with the connection itself. */
static int raise_link(const struct redis_link *link, struct mf_error *error)
{
    const redisContext *context = link->context;
    bool late = context != NULL && is_late(context);
    return mf_raise(error,
                    MF_ESETUP,
                    "the Redis server %s %s (%s): it is tried again",
                    link->place->server,
                    late ? "does not answer" : "cannot be reached, or has gone",
                    context == NULL ? "out of memory"
                    : late          ? "timeout"
                                    : context->errstr);
}

static int write_command(struct redis_link *link, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = send(link->context->fd, bytes, length, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes += n;
        length -= (size_t)n;
    }
    return 0;
}

int redis_send(struct redis_link *link, const char *const *words, struct mf_error *error)
{
    int count = 0;
    char *bytes = NULL;
    while (words[count] != NULL)
        count++;
    /* Without lengths they are strings. */
    int length = link->library->format(&bytes, count, (const char **)words, NULL);
    if (length < 0)
        return mf_raise(error, MF_ENOMEM, "out of memory: a command to Redis");
    int rc = write_command(link, bytes, (size_t)length);
    int code = errno;
    mbedtls_platform_zeroize(bytes, (size_t)length); /* it may be a password */
    link->library->free_command(bytes);
    if (rc == 0)
        return 0;
    return mf_raise(error,
                    MF_ESETUP,
                    "the Redis server %s has gone (%s): it is tried again",
                    link->place->server,
                    strerror(code));
}

static int raise_refusal(struct redis_link *link, const redisReply *reply, struct mf_error *error)
{
    snprintf(link->refusal, sizeof link->refusal, "%s", reply->str);
    return mf_raise(
        error, MF_ESETUP, "the Redis server %s says: %s", link->place->server, reply->str);
}

redisReply *redis_receive(struct redis_link *link, struct mf_error *error)
{
    void *found = NULL;
    link->refusal[0] = '\0';
    if (link->library->get_reply(link->context, &found) != REDIS_OK || found == NULL) {
        raise_link(link, error);
        return NULL;
    }
    redisReply *reply = found;
    if (reply->type != REDIS_REPLY_ERROR)
        return reply;
    raise_refusal(link, reply, error);
    link->library->free_reply(reply);
    return NULL;
}

redisReply *
redis_ask_words(struct redis_link *link, const char *const *words, struct mf_error *error)
{
    return redis_send(link, words, error) < 0 ? NULL : redis_receive(link, error);
}

int redis_tell_words(struct redis_link *link, const char *const *words, struct mf_error *error)
{
    redisReply *reply = redis_ask_words(link, words, error);
    if (reply == NULL)
        return -1;
    link->library->free_reply(reply);
    return 0;
}

void redis_free(redisReply *reply)
{
    if (reply != NULL)
        redis_library(NULL)->free_reply(reply); /* it came from there, so that is loaded */
}

bool redis_was_refused(const struct redis_link *link, const char *word)
{
    return strncmp(link->refusal, word, strlen(word)) == 0;
}

int redis_link_fd(const struct redis_link *link)
{
    return link->context->fd;
}

/* --- Logging in. --- */

static int log_in(struct redis_link *link, struct mf_error *error)
{
    const struct redis_place *place = link->place;
    struct mf_buffer password = {0};
    if (place->password == NULL || !redis_password_is_there(place->password))
        return 0;
    if (redis_password_read(place->password, &password, error) < 0)
        return -1;
    const char *text = (const char *)password.data;
    int rc = place->user != NULL ? redis_tell(link, error, "AUTH", place->user, text)
                                 : redis_tell(link, error, "AUTH", text);
    secret_wipe(&password);
    return rc;
}

static int select_database(struct redis_link *link, struct mf_error *error)
{
    char number[16];
    if (link->place->database == 0)
        return 0;
    snprintf(number, sizeof number, "%d", link->place->database);
    return redis_tell(link, error, "SELECT", number);
}

struct redis_link *redis_link_open(const struct redis_place *place, struct mf_error *error)
{
    const struct redis_library *library = redis_library(error);
    if (library == NULL)
        return NULL;
    struct redis_link *link = mf_calloc(1, sizeof *link);
    if (link == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a connection to Redis");
        return NULL;
    }
    const struct timeval limit = limit_of(place->limit_us == 0 ? REDIS_LIMIT_US : place->limit_us);
    link->library = library;
    link->place = place;
    link->context = place->host == NULL ? library->connect_unix(place->server, limit)
                                        : library->connect(place->host, place->port, limit);
    if (link->context != NULL && link->context->err == 0) {
        fcntl(link->context->fd, F_SETFD, FD_CLOEXEC);
        if (library->set_timeout(link->context, limit) == REDIS_OK && log_in(link, error) == 0 &&
            select_database(link, error) == 0)
            return link;
    } else {
        raise_link(link, error);
    }
    redis_link_close(link);
    return NULL;
}

void redis_link_close(struct redis_link *link)
{
    if (link == NULL)
        return;
    if (link->context != NULL)
        link->library->free_context(link->context);
    mf_free(link);
}
