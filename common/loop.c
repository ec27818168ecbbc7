/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: see loop.h.
 *
 * Watches stand in an array indexed by descriptor. Each has a generation, which travels in the
 * epoll data, so that an event fetched for a watch that a callback has removed meanwhile is
 * dropped, also when the number was reused.
 */
#include "common/loop.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"

struct watch {
    mf_loop_f *callback; /* NULL: free */
    void *arg;
    uint32_t generation;
};

struct mf_loop {
    int epoll_fd;
    uint32_t generation;
    struct watch *watches;
    size_t watch_count;
};

struct mf_loop *mf_loop_create(struct mf_error *error)
{
    struct mf_loop *loop = mf_calloc(1, sizeof *loop);
    if (loop == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: an event loop");
        return NULL;
    }
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        mf_raise_errno(error, "cannot make an epoll instance");
        mf_free(loop);
        return NULL;
    }
    return loop;
}

void mf_loop_destroy(struct mf_loop *loop)
{
    if (loop == NULL)
        return;
    close(loop->epoll_fd);
    mf_free(loop->watches);
    mf_free(loop);
}

static int make_room(struct mf_loop *loop, int fd, struct mf_error *error)
{
    if ((size_t)fd < loop->watch_count)
        return 0;
    size_t count = loop->watch_count < 32 ? 32 : loop->watch_count;
    while (count <= (size_t)fd)
        count *= 2;
    struct watch *watches = mf_realloc(loop->watches, count * sizeof *watches);
    if (watches == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: %zu watched descriptors", count);
    memset(watches + loop->watch_count, 0, (count - loop->watch_count) * sizeof *watches);
    loop->watches = watches;
    loop->watch_count = count;
    return 0;
}

static int
control(struct mf_loop *loop, int operation, int fd, uint32_t events, struct mf_error *error)
{
    uint64_t data = (uint64_t)loop->watches[fd].generation << 32 | (uint32_t)fd;
    struct epoll_event event = {.events = events, .data.u64 = data};
    if (epoll_ctl(loop->epoll_fd, operation, fd, &event) < 0)
        return mf_raise_errno(error, "cannot watch descriptor %d", fd);
    return 0;
}

int mf_loop_add(struct mf_loop *loop,
                int fd,
                uint32_t events,
                mf_loop_f *callback,
                void *arg,
                struct mf_error *error)
{
    if (make_room(loop, fd, error) < 0)
        return -1;
    loop->watches[fd].generation = ++loop->generation;
    if (control(loop, EPOLL_CTL_ADD, fd, events, error) < 0)
        return -1;
    loop->watches[fd].callback = callback;
    loop->watches[fd].arg = arg;
    return 0;
}

int mf_loop_change(struct mf_loop *loop, int fd, uint32_t events, struct mf_error *error)
{
    return control(loop, EPOLL_CTL_MOD, fd, events, error);
}

void mf_loop_remove(struct mf_loop *loop, int fd)
{
    if (fd < 0 || (size_t)fd >= loop->watch_count || loop->watches[fd].callback == NULL)
        return;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    loop->watches[fd].callback = NULL;
}

static int wait_ms(int64_t deadline_us)
{
    if (deadline_us == MF_NEVER)
        return -1;
    int64_t left = deadline_us - mf_monotonic_us();
    if (left <= 0)
        return 0;
    int64_t ms = (left + 999) / 1000;
    return ms > 3600000 ? 3600000 : (int)ms;
}

int mf_loop_step(struct mf_loop *loop, int64_t deadline_us, struct mf_error *error)
{
    struct epoll_event events[64];
    int n = epoll_wait(loop->epoll_fd, events, 64, wait_ms(deadline_us));
    if (n < 0)
        return errno == EINTR ? 0 : mf_raise_errno(error, "waiting for events failed");
    for (int i = 0; i < n; i++) {
        uint32_t fd = (uint32_t)events[i].data.u64;
        struct watch *watch = &loop->watches[fd];
        if (watch->callback != NULL && watch->generation == (uint32_t)(events[i].data.u64 >> 32))
            watch->callback(watch->arg, events[i].events);
    }
    return 0;
}
