/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of a run exchanges its keys on P-256, whoever makes the configuration: on either side. */
#include <mbedtls/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_only_p256(void **state)
{
    (void)state;
    static const int sides[] = {MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_IS_SERVER};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        mbedtls_ssl_config config;
        mbedtls_ssl_config_init(&config);
        assert_int_equal(
            mbedtls_ssl_config_defaults(
                &config, sides[i], MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT),
            0);
        assert_int_equal(config.curve_list[0], MBEDTLS_ECP_DP_SECP256R1);
        assert_int_equal(config.curve_list[1], MBEDTLS_ECP_DP_NONE);
        mbedtls_ssl_config_free(&config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_only_p256)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
