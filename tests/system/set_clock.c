/* SPDX-License-Identifier: Apache-2.0 */
/* Loaded before the C library (LD_PRELOAD): the wall clock is off by as many seconds as the file
 * says that MAYFLY_CLOCK names. When that changes, the process's timer of the wall clock is
 * cancelled, as the kernel does with TFD_TIMER_CANCEL_ON_SET when somebody sets the clock of the
 * machine. One timer; nothing else asks for the date. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static atomic_int timer_fd = -1;
static atomic_bool is_cancelled;

static long offset(void)
{
    char text[32] = "";
    const char *name = getenv("MAYFLY_CLOCK");
    FILE *file = name == NULL ? NULL : fopen(name, "re");
    if (file == NULL)
        return 0;
    if (fgets(text, sizeof text, file) == NULL)
        text[0] = '\0';
    fclose(file);
    return strtol(text, NULL, 10);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, now);
    if (rc == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += offset();
    return rc;
}

static void *notice(void *arg)
{
    static const struct itimerspec now = {.it_value = {.tv_nsec = 1}};
    long before = offset();
    for (;;) {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        if (offset() == before)
            continue;
        before = offset();
        atomic_store(&is_cancelled, true);
        syscall(SYS_timerfd_settime, atomic_load(&timer_fd), 0, &now, NULL);
    }
    return arg;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved. */
int timerfd_create(clockid_t clock, int flags)
{
    pthread_t thread;
    int fd = (int)syscall(SYS_timerfd_create, clock, flags);
    atomic_store(&timer_fd, fd);
    if (pthread_create(&thread, NULL, notice, NULL) == 0)
        pthread_detach(thread);
    return fd;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved. */
int timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *old)
{
    struct itimerspec shifted = *when;
    if (shifted.it_value.tv_sec > offset())
        shifted.it_value.tv_sec -= offset();
    int rc = (int)syscall(SYS_timerfd_settime, fd, flags, &shifted, old);
    if (rc == 0 && atomic_exchange(&is_cancelled, false)) {
        errno = ECANCELED;
        return -1;
    }
    return rc;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved. */
ssize_t read(int fd, void *data, size_t size)
{
    if (fd == atomic_load(&timer_fd) && atomic_exchange(&is_cancelled, false)) {
        errno = ECANCELED;
        return -1;
    }
    return syscall(SYS_read, fd, data, size);
}
