/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one thing that stays on a machine: an entry of its own scheduler that runs `mayfly trigger
 * tick` each minute for one state folder. Two kinds of scheduler: the user's crontab, and timers of
 * the user's systemd. An entry is marked: whose it is (the state folder) and a checksum of what was
 * written, so that one that a person has changed since is known, named, and left alone. Nothing
 * else in the crontab is touched; what is there already is not made again.
 */
#ifndef MAYFLY_MASTER_INSTALL_INSTALL_H
#define MAYFLY_MASTER_INSTALL_INSTALL_H

#include <stdbool.h>
#include <stdio.h>

#include "common/buffer.h"
#include "common/error.h"

enum install_kind {
    INSTALL_AUTO, /* the one that is there; else the crontab if it can be used, else systemd */
    INSTALL_CRON,
    INSTALL_SYSTEMD
};

struct install {
    enum install_kind kind; /* what the caller wants; 0 = INSTALL_AUTO */
    /* Absolute paths, on the heap: of mayfly; $XDG_STATE_HOME; mayfly's folder in that, which names
     * the entry; $XDG_CACHE_HOME where that is set, else NULL. */
    char *program, *state_home, *state_folder, *cache_home;
};

/* The program that runs, and the folders as they are here; state_folder is what state_folder()
 * says. MF_ESETUP: a path that no entry can hold. install_here_fini in either case. */
int install_here(struct install *install, const char *state_folder, struct mf_error *error);
void install_here_fini(struct install *install);

struct install_report {
    enum install_kind kind; /* what was used */
    bool has_changed;       /* something was written or removed */
    /* What people should know, a sentence a line: why this kind, an entry that somebody has edited,
     * a line end that was added, a scheduler that does not run, what is left to do. */
    struct mf_buffer text;
};

void install_report_fini(struct install_report *report);

/*
 * Makes the entry unless it is there, and looks whether it is. Can be repeated. Zero-initialise the
 * report. MF_ESETUP: crontab absent or refused, systemd not there ..., with the remedy.
 */
int install_tick(const struct install *install,
                 struct install_report *report,
                 struct mf_error *error);
/* Removes the entry from where it is (INSTALL_AUTO: from both). It is no error when there is none.
 */
int install_remove(const struct install *install,
                   struct install_report *report,
                   struct mf_error *error);
/* Whether there is an entry for this state folder, and what kind; *kind is INSTALL_AUTO for none.
 */
int install_find(const struct install *install, enum install_kind *kind, struct mf_error *error);
/* Prints what install_tick would write, for people who do it themselves. INSTALL_AUTO: the
 * crontab's line. */
int install_print(const struct install *install, FILE *out, struct mf_error *error);

#endif
