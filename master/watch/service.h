/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service says to the manager that has started it (systemd's notification protocol): a
 * datagram of lines NAME=VALUE to the socket that $NOTIFY_SOCKET names. Without that variable
 * nothing is said. One thread.
 */
#ifndef MAYFLY_MASTER_WATCH_SERVICE_H
#define MAYFLY_MASTER_WATCH_SERVICE_H

#include <stdint.h>

#include "common/error.h"

struct service {
    int fd;              /* connected; -1 = nobody to speak to */
    int64_t watchdog_us; /* the manager wants to hear of us that often at least; 0 = it does not */
};

/*
 * Takes what the manager has told in the environment, and removes it from there: it is meant for
 * this process, and for none that it starts. -1 with a service that says nothing: the socket cannot
 * be reached.
 */
int service_open(struct service *service, struct mf_error *error);
void service_close(struct service *service);

/* The lines of one datagram, "READY=1\nSTATUS=..."; waits for a second at most. That it was not
 * taken is not said: it must not stop the work, and a manager that misses something acts itself. */
void service_say(const struct service *service, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
