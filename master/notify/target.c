/* SPDX-License-Identifier: Apache-2.0 */
/* Subscribers in words. Of an address, what stands behind ? is left out, and all of it when it
 * comes from outside: both are places for keys. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/utf8.h"
#include "master/notify/notify.h"

#define SHOWN_MAX 100

#define IS_CONTINUATION(c) (((unsigned char)(c)&0xc0) == 0x80) /* of a character of UTF-8 */

/* Appends, on one line; what does not fit is cut, once, and no half of a character is left. */
static void append(char out[NOTIFY_TARGET_SIZE], const char *text, size_t length)
{
    size_t used = strlen(out);
    if (used + sizeof "..." > NOTIFY_TARGET_SIZE - 1)
        return; /* it is cut already */
    size_t room = NOTIFY_TARGET_SIZE - sizeof "..." - used;
    bool is_cut = length > room;
    for (size_t i = 0; i < length && i < room; i++)
        out[used++] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i];
    if (is_cut && IS_CONTINUATION(text[room])) {
        while (used > 0 && IS_CONTINUATION(out[used - 1]))
            used--;
        used -= used > 0;
    }
    snprintf(out + used, NOTIFY_TARGET_SIZE - used, "%s", is_cut ? "..." : "");
}

static void append_source(char out[NOTIFY_TARGET_SIZE], const struct job_secret *value)
{
    const char *kind = value->file != NULL ? "(file " : value->env != NULL ? "($" : "(command ";
    const char *name = value->file != NULL  ? value->file
                       : value->env != NULL ? value->env
                                            : value->command.items[0];
    append(out, kind, strlen(kind));
    append(out, name, strlen(name));
    append(out, ")", 1);
}

const char *notify_target(const struct job_notify *subscriber, char out[NOTIFY_TARGET_SIZE])
{
    if (subscriber->queue != NULL) {
        snprintf(out, NOTIFY_TARGET_SIZE, "queue ");
        append(out, subscriber->queue, strlen(subscriber->queue));
    } else if (subscriber->webhook.text != NULL) {
        snprintf(out, NOTIFY_TARGET_SIZE, "webhook ");
        append(out, subscriber->webhook.text, strcspn(subscriber->webhook.text, "?#"));
    } else if (subscriber->webhook.place != NULL) {
        snprintf(out, NOTIFY_TARGET_SIZE, "webhook ");
        append_source(out, &subscriber->webhook);
    } else if (subscriber->shell != NULL) {
        snprintf(out, NOTIFY_TARGET_SIZE, "shell ");
        size_t length = strlen(subscriber->shell);
        append(out, subscriber->shell, length < SHOWN_MAX ? length : SHOWN_MAX);
    } else {
        snprintf(out, NOTIFY_TARGET_SIZE, "command");
        for (size_t i = 0; i < subscriber->command.count; i++) {
            append(out, " ", 1);
            append(out, subscriber->command.items[i], strlen(subscriber->command.items[i]));
        }
    }
    mf_utf8_mend(out); /* a path need not be text, and this goes into JSON */
    return out;
}
