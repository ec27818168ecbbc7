/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mailbox: any thread posts, one loop thread takes. Nodes are embedded in what is posted, so
 * posting never allocates and never fails. The loop polls the mailbox's descriptor (an eventfd):
 * readable when something waits.
 *
 * Threads: mf_mailbox_post from any thread; all else from the loop's thread only.
 */
#ifndef MAYFLY_COMMON_MAILBOX_H
#define MAYFLY_COMMON_MAILBOX_H

#include <pthread.h>

#include "common/error.h"

struct mf_mail {
    struct mf_mail *next;
};

struct mf_mailbox {
    pthread_mutex_t lock;
    struct mf_mail *first; /* oldest */
    struct mf_mail **last; /* where the next one is linked in */
    int fd;
};

int mf_mailbox_init(struct mf_mailbox *mailbox, struct mf_error *error);
/* What still waits is not freed: take it first. */
void mf_mailbox_fini(struct mf_mailbox *mailbox);
/* Hands over `mail`; the order of one poster's posts is kept. Wakes the loop if the mailbox was
 * empty. */
void mf_mailbox_post(struct mf_mailbox *mailbox, struct mf_mail *mail);
/* Everything that waits, oldest first, as a chain by `next`; NULL when there is nothing. Resets the
 * descriptor. */
struct mf_mail *mf_mailbox_take(struct mf_mailbox *mailbox);

#endif
