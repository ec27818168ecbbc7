/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a START: see unpack.h. The vector of pointers is static: one attempt runs at a time. */
#include "worker/unpack.h"

#include <string.h>

static char *vector[SLOT_STRINGS_MAX + 2];

struct reader {
    const char *at;
    const char *end;
    bool bad;
};

static const char *next_string(struct reader *reader)
{
    const char *text = reader->at;
    const char *nul = memchr(text, '\0', (size_t)(reader->end - text));
    if (nul == NULL) {
        reader->bad = true;
        return "";
    }
    reader->at = nul + 1;
    return text;
}

static const char *skip_strings(struct reader *reader, uint64_t count)
{
    const char *first = reader->at;
    for (uint64_t i = 0; i < count && !reader->bad; i++)
        next_string(reader);
    return first;
}

static char **list_strings(struct reader *reader, char **list, uint32_t count)
{
    for (uint32_t i = 0; i < count && !reader->bad; i++)
        list[i] = (char *)(uintptr_t)next_string(reader);
    list[count] = NULL;
    return list;
}

enum unpack_result unpack(const void *body, size_t length, struct unpacked *request)
{
    const struct slot_start *start = body;
    if (length < sizeof *start)
        return UNPACK_MALFORMED;
    struct reader reader = {(const char *)body + sizeof *start, (const char *)body + length, false};
    request->start = start;
    request->folder = next_string(&reader);
    request->cwd = next_string(&reader);
    request->input = next_string(&reader);
    uint64_t strings = (uint64_t)start->argc + start->env_count;
    bool too_many = strings > SLOT_STRINGS_MAX;
    if (too_many) {
        request->argv = request->env = vector;
        vector[0] = NULL;
        skip_strings(&reader, strings);
    } else {
        request->argv = list_strings(&reader, vector, start->argc);
        request->env = list_strings(&reader, vector + start->argc + 1, start->env_count);
    }
    request->links = skip_strings(&reader, (uint64_t)start->link_count * 2);
    request->outputs = skip_strings(&reader, start->output_count);
    request->item = (const unsigned char *)reader.at;
    if (reader.bad || (uint64_t)(reader.end - reader.at) != start->item_length)
        return UNPACK_MALFORMED;
    return too_many ? UNPACK_TOO_MANY : UNPACK_OK;
}

const char *unpack_next(const char *text)
{
    return text + strlen(text) + 1;
}
