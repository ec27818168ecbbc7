/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the user's ssh configuration says of one host, as `ssh -G` prints it: a word and its value a
 * line, with all patterns, inclusions and defaults settled. Pure: text in, settings out. What is as
 * by default is left out, so that only what somebody has chosen counts.
 *
 * Threads: any.
 */
#ifndef MAYFLY_MASTER_REMOTE_SETTINGS_H
#define MAYFLY_MASTER_REMOTE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

#define SETTINGS_FILES 16u

struct settings {
    char *hostname; /* where to connect to; NULL = not said */
    char *user;     /* NULL = not said */
    uint16_t port;  /* 0 = not said */
    unsigned identity_count, known_count;
    char *identities[SETTINGS_FILES]; /* absolute paths; none = the usual ones */
    char *known[SETTINGS_FILES];      /* known_hosts files, likewise; keys are added to the first */
    bool has_user_known;              /* the user's own known_hosts is a chosen one, too */
    bool only_identities;             /* of the agent's keys only those that are in the files */
    bool accept_new;
    char *agent;        /* a socket's path or "none"; NULL = SSH_AUTH_SOCK */
    char *key_alias;    /* the name in known_hosts; NULL = the host's */
    char *jump;         /* "user@host:port,host"; NULL = none */
    char *proxy;        /* a ProxyCommand; NULL = none */
    unsigned connect_s; /* 0 = not said */
    unsigned alive_s, alive_count;
    int family;          /* AF_INET, AF_INET6 or AF_UNSPEC */
    char elsewhere[256]; /* what of it libssh2 can't; "" = nothing */
};

/* Whose paths they are, and who is asked for; borrowed. */
struct settings_scope {
    const char *home;      /* what `~` stands for */
    const char *user_home; /* what it does for ssh: the user data base's */
    const char *name;      /* the host as it was named */
};

/* Zero-initialised is nothing said. -1: MF_ENOMEM, or no settings at all (MF_ESETUP); *settings is
 * to be released in either case. */
int settings_parse(struct settings *settings,
                   const char *text,
                   const struct settings_scope *scope,
                   struct mf_error *error);
void settings_fini(struct settings *settings);

#endif
