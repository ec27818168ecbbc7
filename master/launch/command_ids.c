/* SPDX-License-Identifier: Apache-2.0 */
/* Ids that commands print: see command_ids.h. Whatever program printed them, they become arguments
 * and lines of files: printable bytes without blanks, not too many, and no options. */
#include "master/launch/command_ids.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"

#define OUTPUT_MAX (64u << 10) /* as much as is kept of it: more is cut somewhere */

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_id(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x21 || (unsigned char)text[i] > 0x7e)
            return false;
    return length > 0 && length <= COMMAND_ID_MAX && text[0] != '-';
}

static int raise_rubbish(const char *text, size_t length, struct mf_error *error)
{
    char shown[41];
    size_t n = 0;
    for (; n < length && n < sizeof shown - 1; n++)
        shown[n] = (unsigned char)text[n] < 0x20 || (unsigned char)text[n] > 0x7e ? '?' : text[n];
    shown[n] = '\0';
    return mf_raise(error,
                    MF_EINPUT,
                    "it printed '%s%s', which is no id (up to %u printable characters that do not "
                    "begin with -)",
                    shown,
                    n < length ? "..." : "",
                    COMMAND_ID_MAX);
}

static int add(struct command_ids *ids, const char *text, size_t length, struct mf_error *error)
{
    char **items = ids->items;
    if ((ids->count & (ids->count - 1)) == 0)
        items = mf_realloc(items, (ids->count == 0 ? 1 : 2 * ids->count) * sizeof *items);
    if (items != NULL)
        ids->items = items;
    char *copy = items == NULL ? NULL : mf_format("%.*s", (int)length, text);
    if (copy == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the ids of workers");
    ids->items[ids->count++] = copy;
    return 0;
}

static void drop_doubles(struct command_ids *ids)
{
    size_t kept = 0;
    for (size_t i = 0; i < ids->count; i++)
        if (kept > 0 && strcmp(ids->items[kept - 1], ids->items[i]) == 0)
            mf_free(ids->items[i]);
        else
            ids->items[kept++] = ids->items[i];
    ids->count = kept;
}

int command_ids_parse(const char *output, struct command_ids *ids, struct mf_error *error)
{
    int rc = 0;
    *ids = (struct command_ids){0};
    if (strlen(output) >= OUTPUT_MAX)
        return mf_raise(error, MF_EINPUT, "it printed more than %u KiB", OUTPUT_MAX >> 10);
    for (const char *line = output; rc == 0 && *line != '\0';) {
        size_t length = strcspn(line, "\n");
        const char *word = line + strspn(line, " \t\r");
        size_t word_length = strcspn(word, " \t\r\n");
        if (word < line + length)
            rc = is_id(word, word_length) ? add(ids, word, word_length, error)
                                          : raise_rubbish(word, word_length, error);
        line += length + (line[length] == '\n');
    }
    if (rc == 0 && ids->count > 0) {
        qsort(ids->items, ids->count, sizeof *ids->items, compare);
        drop_doubles(ids);
        if ((ids->known = mf_calloc(ids->count, sizeof *ids->known)) == NULL)
            rc = mf_raise(error, MF_ENOMEM, "out of memory: the ids of workers");
    }
    if (rc < 0)
        command_ids_fini(ids);
    return rc;
}

void command_ids_fini(struct command_ids *ids)
{
    for (size_t i = 0; i < ids->count; i++)
        mf_free(ids->items[i]);
    mf_free(ids->items);
    mf_free(ids->known);
    *ids = (struct command_ids){0};
}

bool command_ids_has(struct command_ids *ids, const char *id)
{
    char **found =
        ids->count == 0 ? NULL : bsearch(&id, ids->items, ids->count, sizeof *ids->items, compare);
    if (found != NULL)
        ids->known[found - ids->items] = true;
    return found != NULL;
}
