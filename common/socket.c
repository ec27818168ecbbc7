/* SPDX-License-Identifier: Apache-2.0 */
/* Closing sockets: see socket.h. */
#include "common/socket.h"

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "common/log.h"

#define CLOSE_S 3

static void *close_socket(void *arg)
{
    nng_socket socket = {.id = (uint32_t)(uintptr_t)arg};
    nng_close(socket);
    return NULL;
}

bool mf_socket_close(nng_socket socket)
{
    pthread_t thread;
    struct timespec limit;
    if (pthread_create(&thread, NULL, close_socket, (void *)(uintptr_t)socket.id) != 0) {
        nng_close(socket);
        return true;
    }
    clock_gettime(CLOCK_MONOTONIC, &limit);
    limit.tv_sec += CLOSE_S;
    if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &limit) == 0)
        return true;
    pthread_detach(thread);
    mf_log(MF_WARNING, "a connection does not close: it is left to the end of this process");
    return false;
}
