/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of the job file by options: see sets.h. */
#include "master/commands/sets.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/buffer.h"

void sets_take(struct sets *sets, char *set, struct argp_state *state)
{
    if (set == NULL)
        argp_failure(state, 3, ENOMEM, "an option");
    else if (sets->count == SETS_MAX) {
        mf_free(set);
        argp_error(state, "at most %d --set are allowed", SETS_MAX);
    } else
        sets->items[sets->count++] = set;
}

void sets_add(struct sets *sets, const char *text, struct argp_state *state)
{
    sets_take(sets, mf_strdup(text), state);
}

/* In double quotes, where YAML has an escape for every byte that matters. */
static int write_text(struct mf_buffer *out, const char *key, const char *value)
{
    if (mf_buffer_printf(out, NULL, "%s=\"", key) < 0)
        return -1;
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;
        int rc = c < 0x20 || c == 0x7f   ? mf_buffer_printf(out, NULL, "\\x%02x", c)
                 : c == '"' || c == '\\' ? mf_buffer_printf(out, NULL, "\\%c", c)
                                         : mf_buffer_append(out, value, 1, NULL);
        if (rc < 0)
            return -1;
    }
    return mf_buffer_append_text(out, "\"", NULL);
}

void sets_add_text(struct sets *sets, const char *key, const char *value, struct argp_state *state)
{
    struct mf_buffer out = {0};
    char *set = write_text(&out, key, value) < 0 ? NULL : mf_memdup(out.data, out.length);
    mf_buffer_fini(&out);
    sets_take(sets, set, state);
}

bool sets_has(const struct sets *sets, const char *key)
{
    size_t length = strlen(key);
    for (size_t i = 0; i < sets->count; i++) {
        if (strncmp(sets->items[i], key, length) == 0 && sets->items[i][length] == '=')
            return true;
    }
    return false;
}

void sets_fini(struct sets *sets)
{
    for (size_t i = 0; i < sets->count; i++)
        mf_free((void *)sets->items[i]);
    sets->count = 0;
}
