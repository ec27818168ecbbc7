/* SPDX-License-Identifier: Apache-2.0 */
/* A timer of the wall clock: see alarm.h and timerfd_create(2), TFD_TIMER_CANCEL_ON_SET. */
#include "master/watch/alarm.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

/* Far enough: some 290 years from now, and still within what the kernel takes. */
#define FAR_SECONDS ((time_t)9000000000)

int alarm_open(struct mf_error *error)
{
    int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    return fd < 0 ? mf_raise_errno(error, "cannot make a timer") : fd;
}

int alarm_set(int fd, int64_t wall_us, struct mf_error *error)
{
    struct itimerspec when = {.it_value = {.tv_sec = FAR_SECONDS}};
    if (wall_us < MF_NEVER && wall_us / 1000000 < FAR_SECONDS)
        when.it_value = (struct timespec){.tv_sec = (time_t)(wall_us / 1000000),
                                          .tv_nsec = (long)(wall_us % 1000000) * 1000};
    if (wall_us <= 0) /* all zero would switch it off */
        when.it_value = (struct timespec){.tv_nsec = 1};
    if (timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL) == 0)
        return 0;
    /* ECANCELED: the clock was set since the last read; the timer is set all the same. */
    return errno == ECANCELED ? 1 : mf_raise_errno(error, "cannot set a timer");
}

bool alarm_take(int fd)
{
    uint64_t times;
    return read(fd, &times, sizeof times) < 0 && errno == ECANCELED;
}
