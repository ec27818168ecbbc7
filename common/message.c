/* SPDX-License-Identifier: Apache-2.0 */
/* Names of causes and the weights of items: the parts of message.h that are neither encoding nor
 * decoding. */
#include "common/message.h"

#include <string.h>

/* No item's numbers take more than this with their keys: 17 keys and values of 9 bytes, the
 * headers of its map and of its binaries. */
#define NUMBERS_WEIGHT 192

#define CAUSE_NAME(name, number, text) [number] = text,
static const char *const cause_names[] = {MF_CAUSES(CAUSE_NAME)};
#define CAUSE_COUNT (int)(sizeof(cause_names) / sizeof(cause_names[0]))

const char *mf_cause_name(int cause)
{
    if (cause < 0 || cause >= CAUSE_COUNT)
        return "unknown";
    return cause_names[cause];
}

int mf_cause_from_name(const char *name)
{
    for (int i = 0; i < CAUSE_COUNT; i++)
        if (strcmp(cause_names[i], name) == 0)
            return i;
    return -1;
}

size_t mf_subtask_weight(const struct mf_subtask *subtask)
{
    return NUMBERS_WEIGHT + subtask->item.length + subtask->path.length + subtask->fields.length;
}

size_t mf_result_weight(const struct mf_result *result)
{
    return NUMBERS_WEIGHT + result->inline_result.length + result->detail.length;
}
