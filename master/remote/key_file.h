/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private key file, read whole and looked at before libssh2 gets it, so that what is wrong with
 * it can be told. Threads: any.
 */
#ifndef MAYFLY_MASTER_REMOTE_KEY_FILE_H
#define MAYFLY_MASTER_REMOTE_KEY_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"
#include "common/error.h"

struct key_file {
    char *text;    /* NUL-terminated; wiped when freed */
    size_t length; /* of text */
    char type[64]; /* "ssh-ed25519"; "" when the format does not tell without a passphrase */
    bool locked;   /* needs a passphrase */
    bool foreign; /* reading it failed only since libssh2 cannot use its type; that and `locked` are
                     set then */
    struct mf_buffer public_key; /* its blob, where the format shows it */
};

/*
 * Reads `path`. -1: missing, unreadable, no private key, or one that cannot be used here (RSA,
 * hardware); *error says which and the remedy. A key that needs a passphrase is read all the same.
 */
int key_file_read(struct key_file *key, const char *path, struct mf_error *error);
void key_file_fini(struct key_file *key);
/* -1, and the reason, when keys of this type cannot log in with libssh2 1.10. `name`: which key. */
int key_type_usable(const char *type, const char *name, struct mf_error *error);

#endif
