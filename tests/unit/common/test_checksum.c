/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums against published values, and of a file. */
#include "common/checksum.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"

static const char abc_digest[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void crc32_is_that_of_gzip(void **state)
{
    (void)state;
    assert_int_equal(mf_crc32(mf_bytes_text("123456789")), 0xcbf43926);
    assert_int_equal(mf_crc32(mf_bytes_of(NULL, 0)), 0);
}

static void sha256_in_pieces(void **state)
{
    unsigned char digest[MF_SHA256_SIZE];
    char text[MF_SHA256_TEXT];
    struct mf_sha256 sum;
    (void)state;
    mf_sha256_init(&sum);
    mf_sha256_update(&sum, mf_bytes_text("a"));
    mf_sha256_update(&sum, mf_bytes_of(NULL, 0));
    mf_sha256_update(&sum, mf_bytes_text("bc"));
    mf_sha256_finish(&sum, digest);
    assert_string_equal(mf_sha256_text(digest, text), abc_digest);
}

static void sha256_of_a_file(void **state)
{
    static const char million[] =
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
    unsigned char digest[MF_SHA256_SIZE];
    char text[MF_SHA256_TEXT], block[1000];
    struct mf_error error = {0};
    (void)state;
    int fd = memfd_create("sum", MFD_CLOEXEC);
    assert_true(fd >= 0);
    memset(block, 'a', sizeof(block));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
    assert_int_equal(mf_sha256_file(fd, "sum", digest, &error), 0);
    assert_string_equal(mf_sha256_text(digest, text), million);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 1000000); /* neither used nor moved */
    mf_alloc_fail_at(1);
    assert_int_equal(mf_sha256_file(fd, "sum", digest, &error), -1);
    mf_alloc_fail_at(0);
    assert_int_equal(error.code, MF_ENOMEM);
    close(fd);
}

static void an_unreadable_file_is_named(void **state)
{
    unsigned char digest[MF_SHA256_SIZE];
    struct mf_error error = {0};
    (void)state;
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(mf_sha256_file(fd, "out/data.csv", digest, &error), -1);
    assert_int_equal(error.code, MF_ESYSTEM);
    assert_non_null(strstr(error.text, "out/data.csv"));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32_is_that_of_gzip),
        cmocka_unit_test(sha256_in_pieces),
        cmocka_unit_test(sha256_of_a_file),
        cmocka_unit_test(an_unreadable_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
