/* SPDX-License-Identifier: Apache-2.0 */
/* Segments of captured streams: see segments.h. */
#include "worker/segments.h"

#include <unistd.h>

#include "common/alloc.h"

static void remove_segment(struct segment *segment)
{
    struct segment **at = &segment->list->first;
    while (*at != segment)
        at = &(*at)->next;
    *at = segment->next;
    unlink(segment->path);
    mf_free(segment->path);
    mf_free(segment);
}

struct segment *segments_refer(struct segment_list *list,
                               uint32_t number,
                               const char *folder,
                               uint32_t slot,
                               const char *suffix,
                               struct mf_error *error)
{
    struct segment *former = list->first;
    if (former != NULL && former->number == number) {
        former->references++;
        return former;
    }
    struct segment *segment = mf_calloc(1, sizeof *segment);
    char *path = mf_format("%s/streams/slot%u-%u.%s", folder, slot, number, suffix);
    if (segment == NULL || path == NULL) {
        mf_free(segment);
        mf_free(path);
        mf_raise(error, MF_ENOMEM, "out of memory: a segment of captured output");
        return NULL;
    }
    *segment = (struct segment){
        .list = list, .next = former, .number = number, .references = 1, .path = path};
    list->first = segment;
    if (former != NULL && former->references == 0)
        remove_segment(former);
    return segment;
}

void segment_release(struct segment *segment)
{
    if (segment == NULL || --segment->references > 0 || segment == segment->list->first)
        return;
    remove_segment(segment);
}

void segments_fini(struct segment_list *list)
{
    while (list->first != NULL) {
        struct segment *segment = list->first;
        list->first = segment->next;
        mf_free(segment->path);
        mf_free(segment);
    }
}
