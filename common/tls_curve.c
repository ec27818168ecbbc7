/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The curve of the key exchange of a run's TLS connections: P-256.
 *
 * mbed TLS 2.28 prefers the largest curve that both sides know, P-521, which costs each of them ten
 * times as much: with many workers that is a good part of the time until they have joined. The
 * certificates are P-256, so that nothing is the safer for a larger one. nng makes the
 * configurations and has no option for it; the linker puts the function here in the place of mbed
 * TLS's own (--wrap in MayflyLibraries.cmake). A curve that the other side does not allow would
 * end the handshake: both sides are always of one version, as the master brings its own worker.
 *
 * Threads: any.
 */
#include <mbedtls/ssl.h>

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's --wrap makes these names. */
int __real_mbedtls_ssl_config_defaults(mbedtls_ssl_config *config,
                                       int endpoint,
                                       int transport,
                                       int preset);
int __wrap_mbedtls_ssl_config_defaults(mbedtls_ssl_config *config,
                                       int endpoint,
                                       int transport,
                                       int preset);

int __wrap_mbedtls_ssl_config_defaults(mbedtls_ssl_config *config,
                                       int endpoint,
                                       int transport,
                                       int preset)
{
    static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_NONE};
    int rc = __real_mbedtls_ssl_config_defaults(config, endpoint, transport, preset);
    if (rc == 0)
        mbedtls_ssl_conf_curves(config, curves);
    return rc;
}
/* NOLINTEND(bugprone-reserved-identifier) */
