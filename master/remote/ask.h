/* SPDX-License-Identifier: Apache-2.0 */
/* Passphrases of private keys, asked on the terminal once each: see ask.c. Loop thread only. */
#ifndef MAYFLY_MASTER_REMOTE_ASK_H
#define MAYFLY_MASTER_REMOTE_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

#include "common/loop.h"

struct phrase;

struct ask {
    struct phrase *first;  /* keys that were asked for */
    struct phrase *phrase; /* that is asked for now */
    int fd;                /* the terminal; -1: nothing is asked now */
    struct mf_loop *loop;
    struct termios saved;
    char line[1024];
    size_t length;
    void (*hold)(void *arg, bool asks); /* told while the terminal is taken; NULL = nobody is */
    void *hold_arg;
};

enum ask_answer {
    ASK_SAID,  /* ask_known has it */
    ASK_WAITS, /* for somebody to type: look again after each turn of the loop */
    ASK_NOBODY /* there is nobody to ask, or who was asked does not know it */
};

void ask_init(struct ask *ask);
/* Wipes what was said, and gives the terminal back. */
void ask_fini(struct ask *ask);
/* What was said for the key of that path; NULL = nothing. */
const char *ask_known(const struct ask *ask, const char *path);
bool ask_is_possible(const struct ask *ask, const char *path);
enum ask_answer ask_for(struct ask *ask, struct mf_loop *loop, const char *path);
/* What was said does not unlock it: it is asked again, three times in all. */
void ask_was_wrong(struct ask *ask, const char *path);

#endif
