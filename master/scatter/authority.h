/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run's own certificate authority: born with the run, removed with it. Makes the authority, the
 * master's certificate (subject = run id) and one certificate, key and token a worker (EC P-256;
 * all valid for decades, since workers' clocks can be wrong: what ends them is the run, and the
 * master's own clock). Not thread-safe.
 */
#ifndef MAYFLY_MASTER_SCATTER_AUTHORITY_H
#define MAYFLY_MASTER_SCATTER_AUTHORITY_H

#include "common/error.h"
#include "common/message.h"

/* PEM texts, NUL-terminated, on the heap; the token is raw bytes (the master's own is zero: it
 * never shows one). credential_fini wipes before it frees. */
struct credential {
    char *authority_pem;
    char *certificate_pem;
    char *key_pem;
    unsigned char token[MF_TOKEN_SIZE];
};

struct authority;

/* Makes a new authority and the master's certificate, and writes both with their keys (0600) into
 * `folder` (0700, made here) so that a later epoch can go on with them. */
struct authority *authority_create(const char *folder, const char *run_id, struct mf_error *error);
/* The authority that authority_create left in `folder`. */
struct authority *authority_open(const char *folder, const char *run_id, struct mf_error *error);
void authority_destroy(struct authority *authority);

/* The master's own credential; borrowed until authority_destroy. */
const struct credential *authority_master(const struct authority *authority);

/*
 * The token of worker `worker` in `generation` (from 1): the same in every epoch of the run. It
 * says its generation in the clear (token_generation, true of authentic tokens only).
 */
void authority_token(struct authority *authority,
                     uint32_t worker,
                     uint32_t generation,
                     unsigned char token[MF_TOKEN_SIZE]);
uint32_t token_generation(const unsigned char token[MF_TOKEN_SIZE]);

/* The newest generation that may have been issued, in this epoch or an earlier one. */
uint32_t authority_generation(const struct authority *authority);
/* From now on credentials are issued in the next one; its number is durable when this returns. */
int authority_begin_generation(struct authority *authority, struct mf_error *error);

/* A new certificate, key and token of the newest generation for worker `id`; the key is checked to
 * match its certificate. */
int authority_issue(struct authority *authority,
                    uint32_t worker,
                    struct credential *credential,
                    struct mf_error *error);

/* The same with a validity of one's own ("YYYYMMDDhhmmss", UTC), which authority_issue sets to
 * decades: for credentials that have expired or are not valid yet. */
int authority_issue_at(struct authority *authority,
                       uint32_t worker,
                       const char *not_before,
                       const char *not_after,
                       struct credential *credential,
                       struct mf_error *error);

/* Writes authority.pem, certificate.pem, key.pem and token (hexadecimal) into `folder` (0700, made
 * here), each 0600. */
int credential_write(const struct credential *credential,
                     const char *folder,
                     struct mf_error *error);

/* The token as 64 hexadecimal digits, as in the launch input; `text` holds MF_TOKEN_TEXT bytes. */
#define MF_TOKEN_TEXT (2 * MF_TOKEN_SIZE + 1)
const char *credential_token_text(const struct credential *credential, char *text);

void credential_fini(struct credential *credential);

/* Removes the authority's files (overwritten first) and their folder. Missing ones are fine. */
int authority_remove(const char *folder, struct mf_error *error);

#endif
