/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a known_hosts file, for a host with the usual port and one with another. A line that
 * proves a key good must also be found by its type. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "master/remote/known_hosts.h"

static void check(const unsigned char *text, size_t size, const char *host, uint16_t port)
{
    struct known_host known = {0};
    if (known_host_scan(&known, mf_bytes_of(text, size), 0, host, port, NULL) < 0) {
        known_host_fini(&known);
        return;
    }
    for (unsigned i = 0; i < known.count; i++) {
        const struct known_key *key = &known.keys[i], *which = NULL;
        struct mf_bytes blob = mf_bytes_of(key->blob, key->length);
        char print[KNOWN_PRINT_SIZE];
        enum known_verdict verdict = known_host_judge(&known, blob, &which);
        if (which == NULL || verdict == KNOWN_NEVER_SEEN)
            abort();
        if (key->marker == KNOWN_REVOKED && verdict != KNOWN_IS_REVOKED)
            abort();
        if (verdict == KNOWN_GOOD && !known_host_has_type(&known, key->type))
            abort();
        if (strlen(known_key_print(blob, print)) != 50)
            abort();
    }
    known_host_fini(&known);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy of its very size, so that a byte read too many is seen. */
    unsigned char *text = malloc(size == 0 ? 1 : size);
    if (text == NULL)
        abort();
    memcpy(text, data, size);
    check(text, size, "h", 22);
    check(text, size, "host.example.org", 2222);
    free(text);
    return 0;
}
