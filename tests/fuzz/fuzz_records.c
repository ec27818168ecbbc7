/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses what a record is, the second how large a piece; the rest is the input: see
 * record_check.h. */
#include "tests/unit/split/record_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size - 2 >= CHECK_CUTS_MAX)
        return 0;
    enum scan_kind kind = (enum scan_kind)(data[0] % 4);
    uint64_t amount = data[1] / 2 + 1;
    bool by_count = data[1] % 2 == 0;
    /* A copy of its very size, so that a byte read too many is seen. */
    unsigned char *text = malloc(size - 2 == 0 ? 1 : size - 2);
    check_that(text != NULL);
    memcpy(text, data + 2, size - 2);
    record_check(kind, by_count ? amount : 0, by_count ? 0 : amount, text, size - 2);
    free(text);
    return 0;
}
