/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What known_hosts files say about one host. The files are OpenSSH's: several names a line,
 * wildcards and negations, hashed names, [host]:port, and the markers @revoked and @cert-authority.
 * Pure: text in, verdict out. A line that is no such line is passed over, as OpenSSH does.
 *
 * Threads: any, one known host at a time.
 */
#ifndef MAYFLY_MASTER_REMOTE_KNOWN_HOSTS_H
#define MAYFLY_MASTER_REMOTE_KNOWN_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

#define KNOWN_KEYS_MAX 256 /* of one host; more are an error */
#define KNOWN_TYPE_SIZE 64
#define KNOWN_PRINT_SIZE 64 /* of a fingerprint with its NUL */

enum known_marker { KNOWN_PLAIN, KNOWN_REVOKED, KNOWN_AUTHORITY };

struct known_key {
    enum known_marker marker;
    char type[KNOWN_TYPE_SIZE]; /* "ssh-ed25519" */
    unsigned char *blob;        /* owned */
    size_t length;
    unsigned file; /* which, as told to known_host_scan */
    unsigned line; /* from 1 */
    bool portless; /* recorded for the host without its port: it may vouch, it cannot contradict */
};

/* Zero-initialised is a host of which nothing is known. */
struct known_host {
    struct known_key *keys;
    unsigned count;
};

enum known_verdict {
    KNOWN_GOOD,        /* recorded */
    KNOWN_NEVER_SEEN,  /* nothing is recorded for this host */
    KNOWN_CHANGED,     /* another key of this type is recorded */
    KNOWN_OTHER_TYPE,  /* only keys of other types are recorded */
    KNOWN_IS_REVOKED,  /* recorded as revoked */
    KNOWN_BY_AUTHORITY /* only an authority is recorded, whose certificates we do not read */
};

/* Adds what `text`, the content of a file, says about the host. -1: out of memory, too many keys.
 */
int known_host_scan(struct known_host *known,
                    struct mf_bytes text,
                    unsigned file,
                    const char *host,
                    uint16_t port,
                    struct mf_error *error);
/* *which: the line that decided, or NULL; it lives as long as `known`. */
enum known_verdict known_host_judge(const struct known_host *known,
                                    struct mf_bytes key,
                                    const struct known_key **which);
/* Whether a key of this type is recorded that could prove good. */
bool known_host_has_type(const struct known_host *known, const char *type);
void known_host_fini(struct known_host *known);

/* The name under which a host stands in a file: "host", or "[host]:port" when it is not 22; in
 * small letters. -1: longer than `size`. */
int known_host_name(char *name, size_t size, const char *host, uint16_t port);
/* The type that a key's blob starts with; -1: it is no key. */
int known_key_type(struct mf_bytes key, char type[KNOWN_TYPE_SIZE]);
/* "SHA256:..." as ssh-keygen -l shows it. Returns print. */
const char *known_key_print(struct mf_bytes key, char print[KNOWN_PRINT_SIZE]);

#endif
