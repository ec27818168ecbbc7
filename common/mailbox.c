/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mailbox: a locked list and an eventfd. The descriptor is written only when the list was
 * empty, so a burst costs one system call.
 */
#include "common/mailbox.h"

#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mf_mailbox_init(struct mf_mailbox *mailbox, struct mf_error *error)
{
    mailbox->first = NULL;
    mailbox->last = &mailbox->first;
    mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (mailbox->fd < 0)
        return mf_raise_errno(error, "cannot make an eventfd for a mailbox");
    pthread_mutex_init(&mailbox->lock, NULL);
    return 0;
}

void mf_mailbox_fini(struct mf_mailbox *mailbox)
{
    if (mailbox->fd < 0)
        return;
    close(mailbox->fd);
    mailbox->fd = -1;
    pthread_mutex_destroy(&mailbox->lock);
}

void mf_mailbox_post(struct mf_mailbox *mailbox, struct mf_mail *mail)
{
    mail->next = NULL;
    pthread_mutex_lock(&mailbox->lock);
    int was_empty = mailbox->first == NULL;
    *mailbox->last = mail;
    mailbox->last = &mail->next;
    /* Inside the lock, so that the taker cannot close the descriptor in between. */
    if (was_empty) {
        uint64_t one = 1;
        ssize_t written = write(mailbox->fd, &one, sizeof one);
        (void)written; /* the counter cannot overflow: at most one write per take */
    }
    pthread_mutex_unlock(&mailbox->lock);
}

struct mf_mail *mf_mailbox_take(struct mf_mailbox *mailbox)
{
    uint64_t count;
    pthread_mutex_lock(&mailbox->lock);
    ssize_t got = read(mailbox->fd, &count, sizeof count);
    (void)got; /* EAGAIN when nothing was posted since */
    struct mf_mail *chain = mailbox->first;
    mailbox->first = NULL;
    mailbox->last = &mailbox->first;
    pthread_mutex_unlock(&mailbox->lock);
    return chain;
}
