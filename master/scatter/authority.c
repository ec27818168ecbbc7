/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run's authority, made with mbed TLS: see authority.h.
 *
 * Every certificate is EC P-256 with SHA-256, has a random serial number, and may serve either side
 * of a connection, since either side may dial. The master's carries the run id as common name and
 * as DNS name: that is the server name which workers verify. Randomness comes from the kernel. Key
 * material is wiped where it was held.
 *
 * Tokens are derived, not kept: from a key that lies beside the authority's, the worker's number
 * and a generation. The number of the newest generation is on disk before anything of it is issued,
 * so that a later epoch knows which ones there can be.
 */
#include "master/scatter/authority.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <mbedtls/ecp.h>
#include <mbedtls/error.h>
#include <mbedtls/md.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/x509_crt.h>

#include "common/alloc.h"
#include "master/scatter/secret_file.h"

/* Decades in both directions: a worker's clock may stand at the epoch. */
#define NOT_BEFORE "19700101000000"
#define NOT_AFTER "20991231235959"

#define PEM_SIZE 4096
#define RUN_ID_MAX 100 /* so that every DER length of the DNS name is one byte */

#define AUTHORITY_PEM "authority.pem"
#define AUTHORITY_KEY "authority.key"
#define MASTER_PEM "master.pem"
#define MASTER_KEY "master.key"
#define TOKEN_KEY "token.key"
#define TOKEN_GENERATION "token.generation"

#define TOKEN_KEY_SIZE 32
#define TOKEN_KEY_TEXT (2 * TOKEN_KEY_SIZE + 1)

static const char *const file_names[] = {AUTHORITY_PEM,
                                         AUTHORITY_KEY,
                                         MASTER_PEM,
                                         MASTER_KEY,
                                         TOKEN_KEY,
                                         TOKEN_GENERATION,
                                         "." AUTHORITY_PEM ".new",
                                         "." AUTHORITY_KEY ".new",
                                         "." MASTER_PEM ".new",
                                         "." MASTER_KEY ".new",
                                         "." TOKEN_KEY ".new",
                                         "." TOKEN_GENERATION ".new"};

struct authority {
    char *run_id;
    char *folder;
    unsigned char token_key[TOKEN_KEY_SIZE];
    mbedtls_md_context_t token_mac; /* HMAC-SHA256 with token_key */
    uint32_t generation;
    char *pem;
    char *key_pem;
    mbedtls_pk_context key;
    mbedtls_x509_crt certificate;
    struct credential master;
};

/* What a certificate says. */
struct request {
    const char *subject; /* distinguished name */
    const char *dns;     /* NULL = none */
    bool is_authority;
    const char *not_before, *not_after;
};

static int raise_tls(struct mf_error *error, int rc, const char *what)
{
    char text[128];
    mbedtls_strerror(rc, text, sizeof(text));
    int code = rc == MBEDTLS_ERR_X509_ALLOC_FAILED || rc == MBEDTLS_ERR_PK_ALLOC_FAILED ||
                       rc == MBEDTLS_ERR_MPI_ALLOC_FAILED
                   ? MF_ENOMEM
                   : MF_ESYSTEM;
    return mf_raise(error, code, "cannot %s: %s", what, text);
}

static int no_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory: making a run's credentials");
}

/* The kernel's randomness, in the form that mbed TLS asks for. */
static int random_bytes(void *unused, unsigned char *out, size_t size)
{
    (void)unused;
    while (size > 0) {
        ssize_t n = getrandom(out, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return MBEDTLS_ERR_ECP_RANDOM_FAILED;
        out += n;
        size -= (size_t)n;
    }
    return 0;
}

static int make_key(mbedtls_pk_context *key, char **pem, struct mf_error *error)
{
    unsigned char text[PEM_SIZE];
    int rc = mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (rc == 0)
        rc = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key), random_bytes, NULL);
    if (rc == 0)
        rc = mbedtls_pk_write_key_pem(key, text, sizeof(text));
    if (rc != 0)
        return raise_tls(error, rc, "make a key");
    *pem = mf_strdup((char *)text);
    mbedtls_platform_zeroize(text, sizeof(text));
    return *pem == NULL ? no_memory(error) : 0;
}

/* A positive serial number of 16 random bytes. */
static int set_serial(mbedtls_x509write_cert *certificate)
{
    unsigned char bytes[16];
    mbedtls_mpi serial;
    mbedtls_mpi_init(&serial);
    int rc = random_bytes(NULL, bytes, sizeof(bytes));
    bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40);
    if (rc == 0)
        rc = mbedtls_mpi_read_binary(&serial, bytes, sizeof(bytes));
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_serial(certificate, &serial);
    mbedtls_mpi_free(&serial);
    return rc;
}

/* subjectAltName with one DNS name: SEQUENCE { [2] name }. */
static int set_dns_name(mbedtls_x509write_cert *certificate, const char *name)
{
    unsigned char der[4 + RUN_ID_MAX];
    size_t length = strlen(name);
    der[0] = 0x30;
    der[1] = (unsigned char)(length + 2);
    der[2] = 0x82;
    der[3] = (unsigned char)length;
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): DER carries lengths */
    memcpy(der + 4, name, length);
    return mbedtls_x509write_crt_set_extension(certificate,
                                               MBEDTLS_OID_SUBJECT_ALT_NAME,
                                               MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME),
                                               0,
                                               der,
                                               length + 4);
}

/* extendedKeyUsage: SEQUENCE { serverAuth, clientAuth }. */
static int set_both_sides(mbedtls_x509write_cert *certificate)
{
    static const unsigned char der[] =
        "\x30\x14"
        "\x06\x08" MBEDTLS_OID_SERVER_AUTH "\x06\x08" MBEDTLS_OID_CLIENT_AUTH;
    return mbedtls_x509write_crt_set_extension(certificate,
                                               MBEDTLS_OID_EXTENDED_KEY_USAGE,
                                               MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE),
                                               0,
                                               der,
                                               sizeof(der) - 1);
}

static int set_extensions(mbedtls_x509write_cert *certificate, const struct request *request)
{
    unsigned usage = request->is_authority
                         ? MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN
                         : MBEDTLS_X509_KU_DIGITAL_SIGNATURE;
    int rc = mbedtls_x509write_crt_set_basic_constraints(
        certificate, request->is_authority, request->is_authority ? 0 : -1);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_key_usage(certificate, usage);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_subject_key_identifier(certificate);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_authority_key_identifier(certificate);
    if (rc == 0 && !request->is_authority)
        rc = set_both_sides(certificate);
    if (rc == 0 && request->dns != NULL)
        rc = set_dns_name(certificate, request->dns);
    return rc;
}

/* Signs a certificate for `key` with the authority's key. */
static int make_certificate(struct authority *authority,
                            mbedtls_pk_context *key,
                            const struct request *request,
                            char **pem,
                            struct mf_error *error)
{
    unsigned char text[PEM_SIZE];
    char issuer[RUN_ID_MAX + 32];
    mbedtls_x509write_cert certificate;
    mbedtls_x509write_crt_init(&certificate);
    snprintf(issuer, sizeof(issuer), "CN=authority,O=%s", authority->run_id);
    mbedtls_x509write_crt_set_version(&certificate, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&certificate, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&certificate, key);
    mbedtls_x509write_crt_set_issuer_key(&certificate, &authority->key);
    int rc =
        mbedtls_x509write_crt_set_validity(&certificate, request->not_before, request->not_after);
    if (rc == 0)
        rc = set_serial(&certificate);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_subject_name(
            &certificate, request->is_authority ? issuer : request->subject);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_issuer_name(&certificate, issuer);
    if (rc == 0)
        rc = set_extensions(&certificate, request);
    if (rc == 0)
        rc = mbedtls_x509write_crt_pem(&certificate, text, sizeof(text), random_bytes, NULL);
    mbedtls_x509write_crt_free(&certificate);
    if (rc != 0)
        return raise_tls(error, rc, "make a certificate");
    *pem = mf_strdup((char *)text);
    return *pem == NULL ? no_memory(error) : 0;
}

/* Reads a pair back and checks that they belong together: nng does not. */
static int parse_pair(const char *certificate_pem,
                      const char *key_pem,
                      mbedtls_x509_crt *certificate,
                      mbedtls_pk_context *key,
                      struct mf_error *error)
{
    int rc = mbedtls_x509_crt_parse(
        certificate, (const unsigned char *)certificate_pem, strlen(certificate_pem) + 1);
    if (rc != 0)
        return raise_tls(error, rc, "read a certificate");
    rc = mbedtls_pk_parse_key(key, (const unsigned char *)key_pem, strlen(key_pem) + 1, NULL, 0);
    if (rc != 0)
        return raise_tls(error, rc, "read a key");
    rc = mbedtls_pk_check_pair(&certificate->pk, key);
    if (rc != 0)
        return raise_tls(error, rc, "use a certificate with a key that is not its own");
    return 0;
}

static int check_pair(const struct credential *credential, struct mf_error *error)
{
    mbedtls_x509_crt certificate;
    mbedtls_pk_context key;
    mbedtls_x509_crt_init(&certificate);
    mbedtls_pk_init(&key);
    int rc =
        parse_pair(credential->certificate_pem, credential->key_pem, &certificate, &key, error);
    mbedtls_pk_free(&key);
    mbedtls_x509_crt_free(&certificate);
    return rc;
}

/* In the byte order of the network, so that a token is the same on any machine. */
static void put_number(unsigned char *bytes, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(number >> (24 - 8 * i));
}

/*
 * A token is its generation (4 bytes), and the first 28 bytes of HMAC-SHA256(token.key, "mayfly
 * token" || worker || generation). Nothing of it has to be kept but the key: a later epoch makes
 * the same ones again.
 */
void authority_token(struct authority *authority,
                     uint32_t worker,
                     uint32_t generation,
                     unsigned char token[MF_TOKEN_SIZE])
{
    static const unsigned char purpose[] = "mayfly token";
    unsigned char said[8], mac[32];
    put_number(said, worker);
    put_number(said + 4, generation);
    /* None of these allocates or fails on a context that was set up. */
    mbedtls_md_hmac_reset(&authority->token_mac);
    mbedtls_md_hmac_update(&authority->token_mac, purpose, sizeof(purpose) - 1);
    mbedtls_md_hmac_update(&authority->token_mac, said, sizeof(said));
    mbedtls_md_hmac_finish(&authority->token_mac, mac);
    put_number(token, generation);
    memcpy(token + 4, mac, MF_TOKEN_SIZE - 4);
    mbedtls_platform_zeroize(mac, sizeof(mac));
}

uint32_t token_generation(const unsigned char token[MF_TOKEN_SIZE])
{
    return (uint32_t)token[0] << 24 | (uint32_t)token[1] << 16 | (uint32_t)token[2] << 8 | token[3];
}

static int start_tokens(struct authority *authority, struct mf_error *error)
{
    int rc =
        mbedtls_md_setup(&authority->token_mac, mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), true);
    if (rc == 0)
        rc = mbedtls_md_hmac_starts(
            &authority->token_mac, authority->token_key, sizeof(authority->token_key));
    return rc == 0 ? 0 : no_memory(error);
}

static int issue(struct authority *authority,
                 const struct request *request,
                 struct credential *credential,
                 struct mf_error *error)
{
    mbedtls_pk_context key;
    mbedtls_pk_init(&key);
    *credential = (struct credential){0};
    credential->authority_pem = mf_strdup(authority->pem);
    if (credential->authority_pem == NULL) {
        no_memory(error);
        goto fail;
    }
    if (make_key(&key, &credential->key_pem, error) < 0 ||
        make_certificate(authority, &key, request, &credential->certificate_pem, error) < 0 ||
        check_pair(credential, error) < 0)
        goto fail;
    mbedtls_pk_free(&key);
    return 0;
fail:
    mbedtls_pk_free(&key);
    credential_fini(credential);
    return -1;
}

/* The run id goes into names without any quoting. */
static int check_run_id(const char *run_id, struct mf_error *error)
{
    size_t length = strlen(run_id);
    if (length == 0 || length > RUN_ID_MAX ||
        strspn(run_id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") !=
            length)
        return mf_raise(error,
                        MF_ESETUP,
                        "run id %.120s cannot stand in a certificate: use at most %d letters, "
                        "digits and - _ .",
                        run_id,
                        RUN_ID_MAX);
    return 0;
}

static struct authority *make_empty(const char *folder, const char *run_id, struct mf_error *error)
{
    if (check_run_id(run_id, error) < 0)
        return NULL;
    struct authority *authority = mf_calloc(1, sizeof(*authority));
    if (authority == NULL) {
        no_memory(error);
        return NULL;
    }
    mbedtls_pk_init(&authority->key);
    mbedtls_x509_crt_init(&authority->certificate);
    mbedtls_md_init(&authority->token_mac);
    authority->run_id = mf_strdup(run_id);
    authority->folder = mf_strdup(folder);
    if (authority->run_id == NULL || authority->folder == NULL) {
        no_memory(error);
        authority_destroy(authority);
        return NULL;
    }
    return authority;
}

static int make_self(struct authority *authority, struct mf_error *error)
{
    const struct request request = {
        .is_authority = true, .not_before = NOT_BEFORE, .not_after = NOT_AFTER};
    if (make_key(&authority->key, &authority->key_pem, error) < 0 ||
        make_certificate(authority, &authority->key, &request, &authority->pem, error) < 0)
        return -1;
    int rc = mbedtls_x509_crt_parse(
        &authority->certificate, (unsigned char *)authority->pem, strlen(authority->pem) + 1);
    return rc == 0 ? 0 : raise_tls(error, rc, "read the run's own authority");
}

static int make_master(struct authority *authority, struct mf_error *error)
{
    char subject[RUN_ID_MAX + 8];
    const struct request request = {.subject = subject,
                                    .dns = authority->run_id,
                                    .not_before = NOT_BEFORE,
                                    .not_after = NOT_AFTER};
    snprintf(subject, sizeof(subject), "CN=%s", authority->run_id);
    return issue(authority, &request, &authority->master, error);
}

static void to_hex(const unsigned char *bytes, size_t size, char *text)
{
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

/* Exactly `size` bytes, in lower-case digits; -1 for anything else. */
static int from_hex(const char *text, unsigned char *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    if (strlen(text) != 2 * size || strspn(text, digits) != 2 * size)
        return -1;
    for (size_t i = 0; i < size; i++) {
        const char *high = strchr(digits, text[2 * i]), *low = strchr(digits, text[2 * i + 1]);
        bytes[i] = (unsigned char)((high - digits) << 4 | (low - digits));
    }
    return 0;
}

static int save_token_key(const struct authority *authority, int folder, struct mf_error *error)
{
    char text[TOKEN_KEY_TEXT];
    to_hex(authority->token_key, sizeof(authority->token_key), text);
    int rc = secret_file_write(folder, TOKEN_KEY, text, error);
    mbedtls_platform_zeroize(text, sizeof(text));
    return rc;
}

static int save_generation(int folder, uint32_t generation, struct mf_error *error)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", generation);
    return secret_file_write(folder, TOKEN_GENERATION, text, error);
}

static int make_tokens(struct authority *authority, struct mf_error *error)
{
    if (random_bytes(NULL, authority->token_key, sizeof(authority->token_key)) != 0)
        return mf_raise_errno(error, "cannot make a key for tokens");
    authority->generation = 1;
    return start_tokens(authority, error);
}

/* The authority's certificate goes last: authority_open asks for it first, so that a folder whose
 * writing was interrupted is seen as one that has no authority. */
static int save(const struct authority *authority, int folder, struct mf_error *error)
{
    if (secret_file_write(folder, AUTHORITY_KEY, authority->key_pem, error) < 0 ||
        secret_file_write(folder, MASTER_KEY, authority->master.key_pem, error) < 0 ||
        secret_file_write(folder, MASTER_PEM, authority->master.certificate_pem, error) < 0 ||
        save_token_key(authority, folder, error) < 0 ||
        save_generation(folder, authority->generation, error) < 0)
        return -1;
    return secret_file_write(folder, AUTHORITY_PEM, authority->pem, error);
}

struct authority *authority_create(const char *folder, const char *run_id, struct mf_error *error)
{
    int fd = -1;
    struct authority *authority = make_empty(folder, run_id, error);
    if (authority == NULL)
        return NULL;
    if (make_tokens(authority, error) < 0 || make_self(authority, error) < 0 ||
        make_master(authority, error) < 0)
        goto fail;
    fd = secret_folder_make(folder, error);
    if (fd < 0)
        goto fail;
    if (secret_file_remove(fd, AUTHORITY_PEM, error) < 0 || save(authority, fd, error) < 0) {
        mf_error_prefix(error, "the authority in %s", folder);
        goto fail;
    }
    close(fd);
    return authority;
fail:
    if (fd >= 0)
        close(fd);
    authority_destroy(authority);
    return NULL;
}

static int load_tokens(struct authority *authority, int folder, struct mf_error *error)
{
    int rc = -1;
    char *end = NULL;
    char *key = secret_file_read(folder, TOKEN_KEY, error);
    char *generation = key == NULL ? NULL : secret_file_read(folder, TOKEN_GENERATION, error);
    unsigned long number = generation == NULL ? 0 : strtoul(generation, &end, 10);
    if (generation == NULL)
        goto done;
    if (from_hex(key, authority->token_key, sizeof(authority->token_key)) < 0)
        mf_raise(error, MF_EINPUT, "the file %s is damaged: it is not a key", TOKEN_KEY);
    else if (number == 0 || number > UINT32_MAX || *end != '\0')
        mf_raise(error, MF_EINPUT, "the file %s is damaged: it is not a number", TOKEN_GENERATION);
    else
        rc = start_tokens(authority, error);
    authority->generation = (uint32_t)number;
done:
    secret_text_free(key);
    secret_text_free(generation);
    return rc;
}

static int load(struct authority *authority, int folder, struct mf_error *error)
{
    struct credential *master = &authority->master;
    if ((authority->pem = secret_file_read(folder, AUTHORITY_PEM, error)) == NULL ||
        (authority->key_pem = secret_file_read(folder, AUTHORITY_KEY, error)) == NULL ||
        (master->certificate_pem = secret_file_read(folder, MASTER_PEM, error)) == NULL ||
        (master->key_pem = secret_file_read(folder, MASTER_KEY, error)) == NULL)
        return -1;
    if ((master->authority_pem = mf_strdup(authority->pem)) == NULL)
        return no_memory(error);
    if (load_tokens(authority, folder, error) < 0)
        return -1;
    return parse_pair(
        authority->pem, authority->key_pem, &authority->certificate, &authority->key, error);
}

/* The master's certificate must be of this authority and of this run. */
static int check_master(struct authority *authority, struct mf_error *error)
{
    mbedtls_x509_crt certificate;
    mbedtls_pk_context key;
    uint32_t flags = 0;
    mbedtls_x509_crt_init(&certificate);
    mbedtls_pk_init(&key);
    int rc = parse_pair(
        authority->master.certificate_pem, authority->master.key_pem, &certificate, &key, error);
    if (rc == 0 &&
        mbedtls_x509_crt_verify(
            &certificate, &authority->certificate, NULL, authority->run_id, &flags, NULL, NULL) !=
            0)
        rc = mf_raise(error,
                      MF_EINPUT,
                      "the master's certificate is not one of run %s and its authority",
                      authority->run_id);
    mbedtls_pk_free(&key);
    mbedtls_x509_crt_free(&certificate);
    return rc;
}

struct authority *authority_open(const char *folder, const char *run_id, struct mf_error *error)
{
    int fd = -1;
    struct authority *authority = make_empty(folder, run_id, error);
    if (authority == NULL)
        return NULL;
    fd = secret_folder_open(folder, error);
    if (fd < 0)
        goto fail;
    if (load(authority, fd, error) < 0 || check_master(authority, error) < 0) {
        mf_error_prefix(error, "the authority in %s", folder);
        goto fail;
    }
    close(fd);
    return authority;
fail:
    if (fd >= 0)
        close(fd);
    authority_destroy(authority);
    return NULL;
}

void authority_destroy(struct authority *authority)
{
    if (authority == NULL)
        return;
    credential_fini(&authority->master);
    secret_text_free(authority->key_pem);
    mbedtls_pk_free(&authority->key);
    mbedtls_x509_crt_free(&authority->certificate);
    mbedtls_md_free(&authority->token_mac);
    mbedtls_platform_zeroize(authority->token_key, sizeof(authority->token_key));
    mf_free(authority->pem);
    mf_free(authority->run_id);
    mf_free(authority->folder);
    mf_free(authority);
}

const struct credential *authority_master(const struct authority *authority)
{
    return &authority->master;
}

uint32_t authority_generation(const struct authority *authority)
{
    return authority->generation;
}

int authority_begin_generation(struct authority *authority, struct mf_error *error)
{
    int fd = secret_folder_open(authority->folder, error);
    if (fd < 0)
        return -1;
    int rc = save_generation(fd, authority->generation + 1, error);
    close(fd);
    if (rc < 0)
        return mf_error_prefix(error, "the authority in %s", authority->folder);
    authority->generation++;
    return 0;
}

int authority_issue_at(struct authority *authority,
                       uint32_t worker,
                       const char *not_before,
                       const char *not_after,
                       struct credential *credential,
                       struct mf_error *error)
{
    char subject[RUN_ID_MAX + 48];
    const struct request request = {
        .subject = subject, .not_before = not_before, .not_after = not_after};
    snprintf(subject, sizeof(subject), "CN=worker-%u,O=%s", worker, authority->run_id);
    if (issue(authority, &request, credential, error) < 0)
        return mf_error_prefix(error, "the credential of worker %u", worker);
    authority_token(authority, worker, authority->generation, credential->token);
    return 0;
}

int authority_issue(struct authority *authority,
                    uint32_t worker,
                    struct credential *credential,
                    struct mf_error *error)
{
    return authority_issue_at(authority, worker, NOT_BEFORE, NOT_AFTER, credential, error);
}

const char *credential_token_text(const struct credential *credential, char *text)
{
    to_hex(credential->token, MF_TOKEN_SIZE, text);
    return text;
}

int credential_write(const struct credential *credential,
                     const char *folder,
                     struct mf_error *error)
{
    char token[MF_TOKEN_TEXT];
    int fd = secret_folder_make(folder, error);
    if (fd < 0)
        return -1;
    credential_token_text(credential, token);
    int rc = secret_file_write(fd, "authority.pem", credential->authority_pem, error);
    if (rc == 0)
        rc = secret_file_write(fd, "certificate.pem", credential->certificate_pem, error);
    if (rc == 0)
        rc = secret_file_write(fd, "key.pem", credential->key_pem, error);
    if (rc == 0)
        rc = secret_file_write(fd, "token", token, error);
    mbedtls_platform_zeroize(token, sizeof(token));
    close(fd);
    return rc < 0 ? mf_error_prefix(error, "the credential in %s", folder) : 0;
}

void credential_fini(struct credential *credential)
{
    mf_free(credential->authority_pem);
    mf_free(credential->certificate_pem);
    secret_text_free(credential->key_pem);
    mbedtls_platform_zeroize(credential, sizeof(*credential));
}

int authority_remove(const char *folder, struct mf_error *error)
{
    if (access(folder, F_OK) < 0 && errno == ENOENT)
        return 0;
    int fd = secret_folder_open(folder, error);
    if (fd < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; i < sizeof(file_names) / sizeof(file_names[0]); i++)
        if (secret_file_remove(fd, file_names[i], rc == 0 ? error : NULL) < 0)
            rc = -1;
    close(fd);
    if (rc < 0)
        return mf_error_prefix(error, "the authority in %s", folder);
    if (rmdir(folder) < 0 && errno != ENOENT)
        return mf_raise_errno(error, "cannot remove the folder %s", folder);
    return 0;
}
