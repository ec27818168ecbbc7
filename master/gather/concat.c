/* SPDX-License-Identifier: Apache-2.0 */
/* Gather `concat`: the bytes of all results, one after the other. */
#include "master/gather/kinds.h"

int gather_concat(struct gather *gather, struct mf_error *error)
{
    uint64_t subtask;
    struct mf_bytes piece;
    int more, part;
    while ((more = source_next(gather->source, &subtask, error)) > 0) {
        while ((part = source_read(gather->source, &piece, error)) > 0)
            if (output_write(gather->output, piece, error) < 0)
                return -1;
        if (part < 0)
            return -1;
    }
    return more;
}
