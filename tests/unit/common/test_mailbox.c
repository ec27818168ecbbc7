/* SPDX-License-Identifier: Apache-2.0 */
/* The mailbox and the loop: many threads post, one takes; nothing is lost, each poster's order is
 * kept. */
#include "common/mailbox.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/loop.h"

#define POSTERS 4
#define POSTS 5000

struct note {
    struct mf_mail mail; /* first */
    unsigned poster, number;
};

struct poster {
    struct mf_mailbox *mailbox;
    unsigned number;
    struct note *notes;
};

static void *post_all(void *arg)
{
    struct poster *poster = arg;
    for (unsigned i = 0; i < POSTS; i++) {
        poster->notes[i].poster = poster->number;
        poster->notes[i].number = i;
        mf_mailbox_post(poster->mailbox, &poster->notes[i].mail);
    }
    return NULL;
}

struct taken {
    struct mf_mailbox mailbox;
    unsigned next[POSTERS];
    unsigned count;
};

static void take_all(void *arg, uint32_t events)
{
    (void)events;
    struct taken *taken = arg;
    for (struct mf_mail *mail = mf_mailbox_take(&taken->mailbox); mail != NULL; mail = mail->next) {
        const struct note *note = (const struct note *)mail;
        assert_int_equal(note->number, taken->next[note->poster]);
        taken->next[note->poster]++;
        taken->count++;
    }
}

static void test_many_posters_one_taker(void **state)
{
    (void)state;
    struct mf_error error;
    struct taken taken = {0};
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];
    struct mf_loop *loop = mf_loop_create(&error);
    assert_int_equal(mf_mailbox_init(&taken.mailbox, &error), 0);
    assert_int_equal(mf_loop_add(loop, taken.mailbox.fd, EPOLLIN, take_all, &taken, &error), 0);
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){&taken.mailbox, i, calloc(POSTS, sizeof(struct note))};
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    while (taken.count < POSTERS * POSTS)
        assert_int_equal(mf_loop_step(loop, MF_NEVER, &error), 0);
    for (unsigned i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
        free(posters[i].notes);
    }
    assert_null(mf_mailbox_take(&taken.mailbox));
    mf_loop_destroy(loop);
    mf_mailbox_fini(&taken.mailbox);
}

static void test_descriptor_is_readable_only_while_something_waits(void **state)
{
    (void)state;
    struct mf_error error;
    struct mf_mailbox mailbox;
    struct note note = {0};
    assert_int_equal(mf_mailbox_init(&mailbox, &error), 0);
    struct pollfd fd = {.fd = mailbox.fd, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
    mf_mailbox_post(&mailbox, &note.mail);
    assert_int_equal(poll(&fd, 1, 0), 1);
    assert_ptr_equal(mf_mailbox_take(&mailbox), &note.mail);
    assert_int_equal(poll(&fd, 1, 0), 0);
    mf_mailbox_fini(&mailbox);
}

static void count(void *arg, uint32_t events)
{
    (void)events;
    ++*(unsigned *)arg;
}

struct remover {
    struct mf_loop *loop;
    int other;
    unsigned calls;
};

/* Both pipes are readable in one step; the first callback removes the second's watch. */
static void remove_other(void *arg, uint32_t events)
{
    (void)events;
    struct remover *remover = arg;
    remover->calls++;
    mf_loop_remove(remover->loop, remover->other);
}

static void test_removed_watch_is_not_called(void **state)
{
    (void)state;
    struct mf_error error;
    struct mf_loop *loop = mf_loop_create(&error);
    int a[2], b[2];
    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    struct remover first = {.loop = loop, .other = b[0]}, second = {.loop = loop, .other = a[0]};
    assert_int_equal(mf_loop_add(loop, a[0], EPOLLIN, remove_other, &first, &error), 0);
    assert_int_equal(mf_loop_add(loop, b[0], EPOLLIN, remove_other, &second, &error), 0);
    assert_int_equal(write(a[1], "x", 1), 1);
    assert_int_equal(write(b[1], "x", 1), 1);
    assert_int_equal(mf_loop_step(loop, MF_NEVER, &error), 0);
    assert_int_equal(first.calls + second.calls, 1);
    for (unsigned i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    mf_loop_destroy(loop);
}

static void test_deadline_ends_the_wait(void **state)
{
    (void)state;
    struct mf_error error;
    unsigned calls = 0;
    int fds[2];
    struct mf_loop *loop = mf_loop_create(&error);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(mf_loop_add(loop, fds[0], EPOLLIN, count, &calls, &error), 0);
    int64_t deadline = mf_monotonic_us() + 1000;
    while (mf_monotonic_us() < deadline)
        assert_int_equal(mf_loop_step(loop, deadline, &error), 0);
    assert_int_equal(calls, 0);
    assert_int_equal(mf_loop_add(loop, fds[0], EPOLLIN, count, &calls, &error),
                     -1); /* one watch a descriptor */
    close(fds[0]);
    close(fds[1]);
    mf_loop_destroy(loop);
}

static void test_exhausted_memory(void **state)
{
    (void)state;
    struct mf_error error;
    mf_alloc_fail_at(1);
    assert_null(mf_loop_create(&error));
    assert_int_equal(error.code, MF_ENOMEM);
    struct mf_loop *loop;
    mf_alloc_fail_at(0);
    loop = mf_loop_create(&error);
    mf_alloc_fail_at(1);
    assert_int_equal(mf_loop_add(loop, 0, EPOLLIN, count, NULL, &error), -1);
    assert_int_equal(error.code, MF_ENOMEM);
    mf_alloc_fail_at(0);
    mf_loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_posters_one_taker),
        cmocka_unit_test(test_descriptor_is_readable_only_while_something_waits),
        cmocka_unit_test(test_removed_watch_is_not_called),
        cmocka_unit_test(test_deadline_ends_the_wait),
        cmocka_unit_test(test_exhausted_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
