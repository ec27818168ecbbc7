/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread's event loop: descriptors with a callback (epoll). Deadlines belong to the modules:
 * each has an x_tick(now) that returns its next deadline, and whoever runs the loop passes the
 * earliest one.
 */
#ifndef MAYFLY_COMMON_LOOP_H
#define MAYFLY_COMMON_LOOP_H

#include <stdint.h>

#include "common/error.h"

struct mf_loop;

/* events: EPOLLIN, EPOLLOUT, EPOLLHUP ... as epoll reports them. May add, change and remove any
 * watch. */
typedef void mf_loop_f(void *arg, uint32_t events);

struct mf_loop *mf_loop_create(struct mf_error *error);
void mf_loop_destroy(struct mf_loop *loop); /* descriptors stay open: they belong to their owners */
/* events: EPOLLIN and the like; 0 watches only for errors and hang-up. One watch a descriptor. */
int mf_loop_add(struct mf_loop *loop,
                int fd,
                uint32_t events,
                mf_loop_f *callback,
                void *arg,
                struct mf_error *error);
int mf_loop_change(struct mf_loop *loop, int fd, uint32_t events, struct mf_error *error);
/* Before the descriptor is closed. Its callback is not called any more, not even for events already
 * fetched. */
void mf_loop_remove(struct mf_loop *loop, int fd);
/*
 * Waits until a descriptor is ready or deadline_us (monotonic; MF_NEVER = no limit) has come, calls
 * the callbacks, and returns 0; -1 only when epoll itself fails. A signal ends the wait early.
 */
int mf_loop_step(struct mf_loop *loop, int64_t deadline_us, struct mf_error *error);

#endif
