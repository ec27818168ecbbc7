/* SPDX-License-Identifier: Apache-2.0 */
/* The run's authority: what it issues verifies against it and against nothing else, survives on
 * disk for the next epoch, and goes without a trace. */
#include "master/scatter/authority.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <mbedtls/x509_crt.h>

#include "common/alloc.h"

#define RUN "20261122-084512-wordcount-7f3a"

struct state {
    char root[256], keys[300], other[300];
    struct mf_error error;
};

static int set_up(void **place)
{
    struct state *state = mf_calloc(1, sizeof(*state));
    const char *base = getenv("TMPDIR");
    snprintf(state->root,
             sizeof(state->root),
             "%s/mayfly-authority-XXXXXX",
             base == NULL ? "/tmp" : base);
    *place = state;
    if (mkdtemp(state->root) == NULL)
        return -1;
    snprintf(state->keys, sizeof(state->keys), "%s/keys", state->root);
    snprintf(state->other, sizeof(state->other), "%s/other", state->root);
    return 0;
}

static int tear_down(void **place)
{
    struct state *state = *place;
    int rc = authority_remove(state->keys, &state->error) < 0 ||
             authority_remove(state->other, &state->error) < 0 || rmdir(state->root) < 0;
    if (rc != 0)
        print_error("%s\n", state->error.text);
    mf_free(state);
    return rc;
}

static struct authority *create(struct state *state, const char *folder, const char *run)
{
    struct authority *authority = authority_create(folder, run, &state->error);
    if (authority == NULL)
        fail_msg("%s", state->error.text);
    return authority;
}

static struct credential issued(struct state *state, struct authority *authority, uint32_t worker)
{
    struct credential credential;
    if (authority_issue(authority, worker, &credential, &state->error) < 0)
        fail_msg("%s", state->error.text);
    return credential;
}

static void parse(mbedtls_x509_crt *certificate, const char *pem)
{
    mbedtls_x509_crt_init(certificate);
    assert_int_equal(
        mbedtls_x509_crt_parse(certificate, (const unsigned char *)pem, strlen(pem) + 1), 0);
}

/* The flags of a verification, 0 when it is good. */
static uint32_t verify(const char *pem, const char *authority_pem, const char *name)
{
    mbedtls_x509_crt certificate, authority;
    uint32_t flags = 0;
    parse(&certificate, pem);
    parse(&authority, authority_pem);
    int rc = mbedtls_x509_crt_verify(&certificate, &authority, NULL, name, &flags, NULL, NULL);
    assert_true((rc == 0) == (flags == 0));
    mbedtls_x509_crt_free(&certificate);
    mbedtls_x509_crt_free(&authority);
    return flags;
}

static bool key_matches(const struct credential *credential)
{
    mbedtls_x509_crt certificate;
    mbedtls_pk_context key;
    const char *pem = credential->key_pem;
    parse(&certificate, credential->certificate_pem);
    mbedtls_pk_init(&key);
    assert_int_equal(
        mbedtls_pk_parse_key(&key, (const unsigned char *)pem, strlen(pem) + 1, NULL, 0), 0);
    bool matches = mbedtls_pk_check_pair(&certificate.pk, &key) == 0;
    mbedtls_pk_free(&key);
    mbedtls_x509_crt_free(&certificate);
    return matches;
}

static void certificates_verify_against_their_authority(void **place)
{
    struct state *state = *place;
    struct authority *authority = create(state, state->keys, RUN);
    const struct credential *master = authority_master(authority);
    struct credential worker = issued(state, authority, 7);
    assert_int_equal(verify(master->certificate_pem, worker.authority_pem, RUN), 0);
    assert_int_equal(verify(worker.certificate_pem, master->authority_pem, NULL), 0);
    assert_int_equal(verify(worker.certificate_pem, master->authority_pem, "worker-7"), 0);
    assert_int_equal(verify(master->certificate_pem, master->authority_pem, "another-run"),
                     MBEDTLS_X509_BADCERT_CN_MISMATCH);
    assert_int_equal(verify(worker.certificate_pem, master->authority_pem, RUN),
                     MBEDTLS_X509_BADCERT_CN_MISMATCH);
    assert_true(key_matches(master));
    assert_true(key_matches(&worker));
    credential_fini(&worker);
    authority_destroy(authority);
}

static void foreign_certificates_do_not_verify(void **place)
{
    struct state *state = *place;
    struct authority *authority = create(state, state->keys, RUN);
    struct authority *foreign = create(state, state->other, RUN); /* even of the same name */
    struct credential worker = issued(state, foreign, 1);
    const char *authority_pem = authority_master(authority)->authority_pem;
    assert_int_equal(verify(worker.certificate_pem, authority_pem, NULL),
                     MBEDTLS_X509_BADCERT_NOT_TRUSTED);
    assert_int_equal(verify(authority_master(foreign)->certificate_pem, authority_pem, RUN),
                     MBEDTLS_X509_BADCERT_NOT_TRUSTED);
    credential_fini(&worker);
    authority_destroy(foreign);
    authority_destroy(authority);
}

static void a_worker_cannot_issue(void **place)
{
    struct state *state = *place;
    struct authority *authority = create(state, state->keys, RUN);
    struct credential worker = issued(state, authority, 1);
    mbedtls_x509_crt certificate, own;
    parse(&certificate, worker.certificate_pem);
    parse(&own, worker.authority_pem);
    assert_false(certificate.ca_istrue);
    assert_int_equal(mbedtls_x509_crt_check_key_usage(&certificate, MBEDTLS_X509_KU_KEY_CERT_SIGN),
                     MBEDTLS_ERR_X509_BAD_INPUT_DATA);
    assert_true(own.ca_istrue);
    assert_int_equal(mbedtls_x509_crt_check_key_usage(&own, MBEDTLS_X509_KU_KEY_CERT_SIGN), 0);
    mbedtls_x509_crt_free(&certificate);
    mbedtls_x509_crt_free(&own);
    credential_fini(&worker);
    authority_destroy(authority);
}

static void expired_certificates_do_not_verify(void **place)
{
    struct state *state = *place;
    struct authority *authority = create(state, state->keys, RUN);
    struct credential past, future;
    assert_int_equal(
        authority_issue_at(authority, 1, "20200101000000", "20200102000000", &past, &state->error),
        0);
    assert_int_equal(authority_issue_at(
                         authority, 2, "20900101000000", "20910101000000", &future, &state->error),
                     0);
    assert_int_equal(verify(past.certificate_pem, past.authority_pem, NULL),
                     MBEDTLS_X509_BADCERT_EXPIRED);
    assert_int_equal(verify(future.certificate_pem, future.authority_pem, NULL),
                     MBEDTLS_X509_BADCERT_FUTURE);
    credential_fini(&past);
    credential_fini(&future);
    authority_destroy(authority);
}

static void credentials_differ(void **place)
{
    struct state *state = *place;
    struct authority *authority = create(state, state->keys, RUN);
    struct credential one = issued(state, authority, 1), two = issued(state, authority, 1);
    mbedtls_x509_crt first, second;
    parse(&first, one.certificate_pem);
    parse(&second, two.certificate_pem);
    assert_string_not_equal(one.key_pem, two.key_pem);
    assert_int_equal(first.serial.len, 16);
    assert_memory_not_equal(first.serial.p, second.serial.p, 16);
    mbedtls_x509_crt_free(&first);
    mbedtls_x509_crt_free(&second);
    credential_fini(&one);
    credential_fini(&two);
    assert_null(one.key_pem);
    authority_destroy(authority);
}

static void a_later_epoch_goes_on(void **place)
{
    struct state *state = *place;
    struct authority *authority = create(state, state->keys, RUN);
    struct credential before = issued(state, authority, 1);
    authority_destroy(authority);
    authority = authority_open(state->keys, RUN, &state->error);
    assert_non_null(authority);
    struct credential after = issued(state, authority, 2);
    assert_string_equal(before.authority_pem, after.authority_pem);
    assert_int_equal(verify(before.certificate_pem, after.authority_pem, NULL), 0);
    assert_int_equal(verify(after.certificate_pem, before.authority_pem, NULL), 0);
    assert_int_equal(
        verify(authority_master(authority)->certificate_pem, before.authority_pem, RUN), 0);
    credential_fini(&before);
    credential_fini(&after);
    authority_destroy(authority);
    assert_null(authority_open(state->keys, "another-run", &state->error));
    assert_non_null(strstr(state->error.text, "not one of run another-run"));
}

static void put_file(const char *folder, const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void damaged_files_are_named(void **place)
{
    struct state *state = *place;
    assert_null(authority_open(state->keys, RUN, &state->error));
    assert_non_null(strstr(state->error.text, state->keys));
    struct authority *authority = create(state, state->keys, RUN);
    struct authority *foreign = create(state, state->other, RUN);
    put_file(state->keys, "master.pem", authority_master(foreign)->certificate_pem);
    assert_null(authority_open(state->keys, RUN, &state->error));
    assert_non_null(strstr(state->error.text, "not its own"));
    put_file(state->keys, "master.key", authority_master(foreign)->key_pem);
    assert_null(authority_open(state->keys, RUN, &state->error));
    assert_non_null(strstr(state->error.text, "not one of run " RUN " and its authority"));
    put_file(state->keys, "master.pem", "no certificate");
    assert_null(authority_open(state->keys, RUN, &state->error));
    char path[400];
    snprintf(path, sizeof(path), "%s/authority.pem", state->keys);
    assert_int_equal(unlink(path), 0);
    assert_null(authority_open(state->keys, RUN, &state->error));
    assert_int_equal(state->error.code, MF_EINPUT);
    assert_non_null(strstr(state->error.text, "authority.pem is not there"));
    authority_destroy(foreign);
    authority_destroy(authority);
}

static void assert_mode(const char *folder, const char *name, mode_t mode)
{
    char path[400];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, mode);
}

/* The known answer was computed by another implementation of HMAC (Python's). */
static void tokens_are_derived(void **place)
{
    struct state *state = *place;
    authority_destroy(create(state, state->keys, RUN));
    put_file(state->keys,
             "token.key",
             "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    struct authority *authority = authority_open(state->keys, RUN, &state->error);
    assert_non_null(authority);
    struct credential credential = {0};
    char text[MF_TOKEN_TEXT];
    authority_token(authority, 7, 3, credential.token);
    assert_string_equal(credential_token_text(&credential, text),
                        "000000039baf4aa9015a8e22f0b2e24a"
                        "ccd76eca49efd643aa1213272e4f41b8");
    assert_int_equal(token_generation(credential.token), 3);
    unsigned char again[MF_TOKEN_SIZE], other[MF_TOKEN_SIZE];
    authority_token(authority, 7, 3, again);
    assert_memory_equal(credential.token, again, MF_TOKEN_SIZE);
    authority_token(authority, 8, 3, other);
    assert_memory_not_equal(credential.token + 4, other + 4, MF_TOKEN_SIZE - 4);
    authority_token(authority, 7, 4, other);
    assert_memory_not_equal(credential.token + 4, other + 4, MF_TOKEN_SIZE - 4);
    authority_destroy(authority);
}

static void generations_outlive_an_epoch(void **place)
{
    struct state *state = *place;
    unsigned char before[MF_TOKEN_SIZE];
    struct authority *authority = create(state, state->keys, RUN);
    assert_int_equal(authority_generation(authority), 1);
    assert_int_equal(authority_begin_generation(authority, &state->error), 0);
    struct credential worker = issued(state, authority, 5);
    assert_int_equal(token_generation(worker.token), 2);
    authority_token(authority, 5, 1, before);
    authority_destroy(authority);
    authority = authority_open(state->keys, RUN, &state->error);
    assert_non_null(authority);
    assert_int_equal(authority_generation(authority), 2);
    unsigned char after[MF_TOKEN_SIZE];
    authority_token(authority, 5, 2, after);
    assert_memory_equal(after, worker.token, MF_TOKEN_SIZE);
    authority_token(authority, 5, 1, after);
    assert_memory_equal(after, before, MF_TOKEN_SIZE);
    credential_fini(&worker);
    authority_destroy(authority);
    /* Another run has another key. */
    authority = create(state, state->other, RUN);
    authority_token(authority, 5, 1, after);
    assert_memory_not_equal(after + 4, before + 4, MF_TOKEN_SIZE - 4);
    authority_destroy(authority);
}

static void damaged_token_files_are_named(void **place)
{
    struct state *state = *place;
    authority_destroy(create(state, state->keys, RUN));
    put_file(state->keys, "token.generation", "0");
    assert_null(authority_open(state->keys, RUN, &state->error));
    assert_non_null(strstr(state->error.text, "token.generation is damaged"));
    put_file(state->keys, "token.generation", "4294967296");
    assert_null(authority_open(state->keys, RUN, &state->error));
    put_file(state->keys, "token.generation", "1");
    put_file(state->keys, "token.key", "0001");
    assert_null(authority_open(state->keys, RUN, &state->error));
    assert_non_null(strstr(state->error.text, "token.key is damaged"));
}

static void files_are_the_owners_alone(void **place)
{
    struct state *state = *place;
    assert_int_equal(mkdir(state->keys, 0755), 0); /* a folder that was there is closed, too */
    authority_destroy(create(state, state->keys, RUN));
    assert_mode(state->keys, ".", 0700);
    assert_mode(state->keys, "authority.pem", 0600);
    assert_mode(state->keys, "authority.key", 0600);
    assert_mode(state->keys, "master.pem", 0600);
    assert_mode(state->keys, "master.key", 0600);
    assert_mode(state->keys, "token.key", 0600);
    assert_mode(state->keys, "token.generation", 0600);
    put_file(state->keys, ".master.key.new", "left by a crash");
    assert_int_equal(authority_remove(state->keys, &state->error), 0);
    assert_int_equal(access(state->keys, F_OK), -1);
    assert_int_equal(authority_remove(state->keys, &state->error), 0);
}

static void credentials_can_be_written_down(void **place)
{
    static const char *const names[] = {"authority.pem", "certificate.pem", "key.pem", "token"};
    struct state *state = *place;
    struct authority *authority = create(state, state->keys, RUN);
    struct credential worker = issued(state, authority, 3);
    char folder[300], path[400], text[100] = "", token[MF_TOKEN_TEXT];
    snprintf(folder, sizeof(folder), "%s/worker", state->root);
    assert_int_equal(credential_write(&worker, folder, &state->error), 0);
    snprintf(path, sizeof(path), "%s/token", folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    assert_string_equal(text, credential_token_text(&worker, token));
    assert_int_equal(strlen(text), 64);
    for (int i = 0; i < 4; i++) {
        assert_mode(folder, names[i], 0600);
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
    credential_fini(&worker);
    authority_destroy(authority);
}

static void unfit_run_ids_are_refused(void **place)
{
    struct state *state = *place;
    char long_id[120];
    memset(long_id, 'a', sizeof(long_id));
    long_id[101] = '\0';
    assert_null(authority_create(state->keys, long_id, &state->error));
    assert_null(authority_create(state->keys, "", &state->error));
    assert_null(authority_create(state->keys, "run,CN=other", &state->error));
    assert_int_equal(state->error.code, MF_ESETUP);
    long_id[100] = '\0';
    struct authority *authority = create(state, state->keys, long_id);
    const struct credential *master = authority_master(authority);
    assert_int_equal(verify(master->certificate_pem, master->authority_pem, long_id), 0);
    authority_destroy(authority);
}

static void exhausted_memory_is_reported(void **place)
{
    struct state *state = *place;
    struct authority *authority = NULL;
    for (unsigned long n = 1; authority == NULL; n++) {
        mf_alloc_fail_at(n);
        authority = authority_create(state->keys, RUN, &state->error);
        mf_alloc_fail_at(0);
        assert_true(authority != NULL || state->error.code == MF_ENOMEM);
        assert_true(n < 100);
    }
    int rc = -1;
    for (unsigned long n = 1; rc != 0; n++) {
        struct credential worker;
        mf_alloc_fail_at(n);
        rc = authority_issue(authority, 1, &worker, &state->error);
        mf_alloc_fail_at(0);
        assert_true(rc == 0 || state->error.code == MF_ENOMEM);
        credential_fini(&worker);
    }
    authority_destroy(authority);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(certificates_verify_against_their_authority),
        CASE(foreign_certificates_do_not_verify),
        CASE(a_worker_cannot_issue),
        CASE(expired_certificates_do_not_verify),
        CASE(credentials_differ),
        CASE(a_later_epoch_goes_on),
        CASE(damaged_files_are_named),
        CASE(tokens_are_derived),
        CASE(generations_outlive_an_epoch),
        CASE(damaged_token_files_are_named),
        CASE(files_are_the_owners_alone),
        CASE(credentials_can_be_written_down),
        CASE(unfit_run_ids_are_refused),
        CASE(exhausted_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
