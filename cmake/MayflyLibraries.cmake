# SPDX-License-Identifier: Apache-2.0
# Debian 12's libraries. Most ship a pkg-config file; nng, mbed TLS and msgpack's archive are found by hand.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
pkg_check_modules(sqlite3 REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(yaml REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(libssh2 REQUIRED IMPORTED_TARGET libssh2)
if(MAYFLY_TESTS)
    pkg_check_modules(cmocka REQUIRED IMPORTED_TARGET cmocka)
endif()

# mayfly_static(TARGET FILE.a HEADER): an imported archive, so that the worker can link everything statically.
function(mayfly_static target archive header)
    string(MAKE_C_IDENTIFIER ${archive} id)
    find_library(${id}_path NAMES ${archive} REQUIRED)
    find_path(${id}_include NAMES ${header} REQUIRED)
    add_library(${target} STATIC IMPORTED GLOBAL)
    set_target_properties(${target} PROPERTIES IMPORTED_LOCATION ${${id}_path}
                          INTERFACE_INCLUDE_DIRECTORIES ${${id}_include})
endfunction()

mayfly_static(mbedcrypto_static libmbedcrypto.a mbedtls/version.h)
mayfly_static(mbedx509_static libmbedx509.a mbedtls/x509.h)
mayfly_static(mbedtls_static libmbedtls.a mbedtls/ssl.h)
mayfly_static(crypto_static libcrypto.a openssl/sha.h)
mayfly_static(sodium_static libsodium.a sodium.h)
mayfly_static(nng_static libnng.a nng/nng.h)
mayfly_static(msgpack_static libmsgpackc.a msgpack.h)
mayfly_static(zlib_static libz.a zlib.h)
set_property(TARGET mbedx509_static APPEND PROPERTY INTERFACE_LINK_LIBRARIES mbedcrypto_static)
set_property(TARGET mbedtls_static APPEND PROPERTY INTERFACE_LINK_LIBRARIES mbedx509_static)
set_property(TARGET nng_static APPEND PROPERTY INTERFACE_LINK_LIBRARIES mbedtls_static Threads::Threads)
# common/stream_guard.c stands in for these functions of nng, wherever nng itself calls them.
set_property(TARGET nng_static APPEND PROPERTY INTERFACE_LINK_OPTIONS
             -Wl,--wrap=nni_aio_begin,--wrap=nng_stream_send,--wrap=nng_stream_recv,--wrap=nni_pipe_send,--undefined=__wrap_nni_aio_begin)
# common/tls_curve.c: the curve of nng's TLS connections.
set_property(TARGET nng_static APPEND PROPERTY INTERFACE_LINK_OPTIONS
             -Wl,--wrap=mbedtls_ssl_config_defaults,--undefined=__wrap_mbedtls_ssl_config_defaults)
mayfly_static(jansson_static libjansson.a jansson.h)
# Only its SHA-256 is used (common/checksum.c); it must not stand in for the libcrypto.so of other libraries.
set_property(TARGET crypto_static APPEND PROPERTY INTERFACE_LINK_OPTIONS -Wl,--exclude-libs,libcrypto.a)
