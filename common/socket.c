/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of nng: see socket.h. Of closing: The closing thread and the one that waits for it share
 * what they need; whoever is last frees it. */
#include "common/socket.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"

#define CLOSE_S 3

struct closing {
    nng_socket socket;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_closed;
    unsigned users;
};

static void release(struct closing *closing)
{
    pthread_mutex_lock(&closing->lock);
    bool is_last = --closing->users == 0;
    pthread_mutex_unlock(&closing->lock);
    if (!is_last)
        return;
    pthread_cond_destroy(&closing->done);
    pthread_mutex_destroy(&closing->lock);
    mf_free(closing);
}

static void *close_socket(void *arg)
{
    struct closing *closing = arg;
    nng_close(closing->socket);
    pthread_mutex_lock(&closing->lock);
    closing->is_closed = true;
    pthread_cond_signal(&closing->done);
    pthread_mutex_unlock(&closing->lock);
    release(closing);
    return NULL;
}

static bool begin(struct closing *closing)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    bool begun = pthread_create(&thread, &attributes, close_socket, closing) == 0;
    pthread_attr_destroy(&attributes);
    return begun;
}

static bool await(struct closing *closing)
{
    struct timespec limit;
    clock_gettime(CLOCK_MONOTONIC, &limit);
    limit.tv_sec += CLOSE_S;
    pthread_mutex_lock(&closing->lock);
    while (!closing->is_closed &&
           pthread_cond_timedwait(&closing->done, &closing->lock, &limit) == 0)
        continue;
    bool is_closed = closing->is_closed;
    pthread_mutex_unlock(&closing->lock);
    return is_closed;
}

static struct closing *create(nng_socket socket)
{
    struct closing *closing = mf_calloc(1, sizeof *closing);
    pthread_condattr_t attributes;
    if (closing == NULL)
        return NULL;
    closing->socket = socket;
    closing->users = 2;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&closing->done, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&closing->lock, NULL);
    return closing;
}

bool mf_socket_close(nng_socket socket)
{
    struct closing *closing = create(socket);
    if (closing == NULL || !begin(closing)) {
        nng_close(socket);
        if (closing != NULL) {
            closing->users = 1;
            release(closing);
        }
        return true;
    }
    bool is_closed = await(closing);
    release(closing);
    if (!is_closed)
        mf_log(MF_WARNING, "a connection does not close: it is left to the end of this process");
    return is_closed;
}

const char *mf_socket_any(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    int is_apart = 1, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof is_apart;
    bool is_usable = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                     getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &is_apart, &size) == 0;
    if (fd >= 0)
        close(fd);
    return is_usable && is_apart == 0 ? "[::]" : "0.0.0.0";
}
