/* SPDX-License-Identifier: Apache-2.0 */
/* The notification protocol of systemd, by hand: see service.h and sd_notify(3). */
#include "master/watch/service.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A path, or "@name" of the abstract name space; length 0: neither. */
static socklen_t address_of(const char *name, struct sockaddr_un *address)
{
    size_t length = strlen(name);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((name[0] != '/' && name[0] != '@') || length < 2 || length >= sizeof address->sun_path)
        return 0;
    memcpy(address->sun_path, name, length);
    if (name[0] == '@')
        address->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

static int reach(const char *name, struct mf_error *error)
{
    static const struct timeval patience = {.tv_sec = 1};
    struct sockaddr_un address;
    socklen_t length = address_of(name, &address);
    if (length == 0)
        return mf_raise(error,
                        MF_ESETUP,
                        "NOTIFY_SOCKET is \"%.200s\", which is not a socket's address: the service "
                        "manager hears nothing of this process",
                        name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return mf_raise_errno(error, "cannot make a socket to the service manager");
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
        connect(fd, (struct sockaddr *)&address, length) == 0)
        return fd;
    mf_raise_errno(error, "cannot reach the service manager at NOTIFY_SOCKET=%.200s", name);
    close(fd);
    return -1;
}

/* 0 unless it is asked of this process. */
static int64_t asked_watchdog_us(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    char *end = NULL;
    if (usec == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    errno = 0;
    long long value = strtoll(usec, &end, 10);
    return errno != 0 || end == usec || *end != '\0' || value <= 0 ? 0 : (int64_t)value;
}

int service_open(struct service *service, struct mf_error *error)
{
    const char *name = getenv("NOTIFY_SOCKET");
    int rc = 0;
    *service = (struct service){.fd = -1};
    if (name != NULL && name[0] != '\0') {
        service->fd = reach(name, error);
        rc = service->fd < 0 ? -1 : 0;
    }
    if (service->fd >= 0)
        service->watchdog_us = asked_watchdog_us();
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return rc;
}

void service_close(struct service *service)
{
    if (service->fd >= 0)
        close(service->fd);
    service->fd = -1;
}

void service_say(const struct service *service, const char *format, ...)
{
    char text[2048];
    va_list args;
    if (service->fd < 0)
        return;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length <= 0)
        return;
    size_t size = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    while (send(service->fd, text, size, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}
