/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passphrases of keys: asked on the terminal, each once a run, and kept in memory until its end.
 *
 * Only somebody who sits in front of it is asked: standard error is a terminal, there is a
 * controlling one, and we are in its foreground (who is not would be stopped for touching it). The
 * loop goes on meanwhile; all logins that need the same key wait for the one answer, others for
 * their turn. Nothing of it is ever logged, and the terminal shows it to nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/write.h"
#include "master/remote/ask.h"

#define WRONG_MAX 3u

struct phrase {
    struct phrase *next;
    char *path;
    char *text; /* NULL: nobody has said it, or it was wrong */
    unsigned wrong;
    bool is_over; /* nobody is asked for it any more */
};

void ask_init(struct ask *ask)
{
    *ask = (struct ask){.fd = -1};
}

static struct phrase *find(const struct ask *ask, const char *path)
{
    struct phrase *phrase = ask->first;
    while (phrase != NULL && strcmp(phrase->path, path) != 0)
        phrase = phrase->next;
    return phrase;
}

static void forget(struct phrase *phrase)
{
    if (phrase->text != NULL)
        explicit_bzero(phrase->text, strlen(phrase->text));
    mf_free(phrase->text);
    phrase->text = NULL;
}

const char *ask_known(const struct ask *ask, const char *path)
{
    const struct phrase *phrase = find(ask, path);
    return phrase == NULL ? NULL : phrase->text;
}

void ask_was_wrong(struct ask *ask, const char *path)
{
    struct phrase *phrase = find(ask, path);
    if (phrase == NULL || phrase->text == NULL) /* another login has found out already */
        return;
    forget(phrase);
    phrase->is_over = ++phrase->wrong >= WRONG_MAX;
}

static void say(const struct ask *ask, const char *text)
{
    (void)mf_write_all(ask->fd, mf_bytes_text(text));
}

/* Gives the terminal back as it was. */
static void hang_up(struct ask *ask)
{
    if (ask->fd < 0)
        return;
    mf_loop_remove(ask->loop, ask->fd);
    tcsetattr(ask->fd, TCSADRAIN, &ask->saved);
    close(ask->fd);
    ask->fd = -1;
    ask->phrase = NULL;
    explicit_bzero(ask->line, sizeof ask->line);
    ask->length = 0;
    if (ask->hold != NULL)
        ask->hold(ask->hold_arg, false);
}

static void take_line(struct ask *ask, bool is_said)
{
    struct phrase *phrase = ask->phrase;
    ask->line[ask->length] = '\0';
    if (is_said && ask->length > 0)
        phrase->text = mf_strdup(ask->line);
    if (phrase->text == NULL)
        phrase->is_over = true;
    say(ask, "\n");
    hang_up(ask);
}

static void on_terminal(void *arg, uint32_t events)
{
    struct ask *ask = arg;
    (void)events;
    while (ask->fd >= 0) {
        char c;
        ssize_t got = read(ask->fd, &c, 1);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0 || c == '\n' || c == '\r')
            take_line(ask, got > 0);
        else if (ask->length + 1 < sizeof ask->line)
            ask->line[ask->length++] = c;
    }
}

static int open_terminal(void)
{
    if (isatty(STDERR_FILENO) == 0)
        return -1;
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && tcgetpgrp(fd) != getpgrp()) {
        close(fd);
        return -1;
    }
    return fd;
}

bool ask_is_possible(const struct ask *ask, const char *path)
{
    const struct phrase *phrase = find(ask, path);
    if (phrase != NULL && phrase->is_over)
        return false;
    if (ask->fd >= 0)
        return true;
    int fd = open_terminal();
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static struct phrase *add(struct ask *ask, const char *path)
{
    struct phrase *phrase = mf_calloc(1, sizeof *phrase);
    if (phrase == NULL || (phrase->path = mf_strdup(path)) == NULL) {
        mf_free(phrase);
        return NULL;
    }
    phrase->next = ask->first;
    ask->first = phrase;
    return phrase;
}

/* -1: it cannot be asked. */
static int begin(struct ask *ask, struct mf_loop *loop, struct phrase *phrase)
{
    int fd = open_terminal();
    if (fd < 0 || tcgetattr(fd, &ask->saved) < 0 ||
        mf_loop_add(loop, fd, EPOLLIN, on_terminal, ask, NULL) < 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    struct termios silent = ask->saved;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(fd, TCSAFLUSH, &silent);
    ask->fd = fd;
    ask->loop = loop;
    ask->phrase = phrase;
    if (ask->hold != NULL)
        ask->hold(ask->hold_arg, true);
    if (phrase->wrong > 0)
        say(ask, "That was not it. ");
    say(ask, "Passphrase of the key ");
    say(ask, phrase->path);
    say(ask, ": ");
    return 0;
}

enum ask_answer ask_for(struct ask *ask, struct mf_loop *loop, const char *path)
{
    struct phrase *phrase = find(ask, path);
    if (phrase == NULL && (phrase = add(ask, path)) == NULL)
        return ASK_NOBODY;
    if (phrase->text != NULL)
        return ASK_SAID;
    if (phrase->is_over)
        return ASK_NOBODY;
    if (ask->fd < 0 && begin(ask, loop, phrase) < 0)
        return ASK_NOBODY;
    return ASK_WAITS;
}

void ask_fini(struct ask *ask)
{
    hang_up(ask);
    while (ask->first != NULL) {
        struct phrase *phrase = ask->first;
        ask->first = phrase->next;
        forget(phrase);
        mf_free(phrase->path);
        mf_free(phrase);
    }
}
