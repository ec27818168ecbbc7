/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of JSON: see message_line.h. A member that is not known is refused only where there is a
 * body: else the line is just somebody's object. An object of somebody's that happens to have a
 * `body` is not taken for a message in silence, as long as it has anything else.
 */
#include "master/commands/message_line.h"

#include <jansson.h>
#include <mbedtls/base64.h>
#include <stdbool.h>
#include <string.h>

#include "master/commands/json_scan.h"

/* Where the members stand; data NULL = it is not there. */
struct members {
    struct mf_bytes body, body_base64, key, group, unknown;
};

static bool is_named(struct mf_bytes name, const char *wanted)
{
    return name.length == strlen(wanted) + 2 && memcmp(name.data + 1, wanted, name.length - 2) == 0;
}

/* What peek and dead write of a message, and a push has no use for. */
static bool is_shown(struct mf_bytes name)
{
    static const char *const names[] = {
        "id", "queue", "state", "arrived", "claims", "failures", "run_id", "cause"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_named(name, names[i]))
            return true;
    return false;
}

static int
note_member(void *arg, struct mf_bytes name, struct mf_bytes value, struct mf_error *error)
{
    struct members *members = arg;
    (void)error;
    if (is_named(name, "body"))
        members->body = value;
    else if (is_named(name, "body_base64"))
        members->body_base64 = value;
    else if (is_named(name, "key"))
        members->key = value;
    else if (is_named(name, "group"))
        members->group = value;
    else if (members->unknown.data == NULL && !is_shown(name))
        members->unknown = name;
    return 0;
}

/* The text of a JSON string into *out. */
static int
unquote(const char *what, struct mf_bytes value, struct mf_buffer *out, struct mf_error *error)
{
    mf_buffer_clear(out);
    if (value.data[0] != '"')
        return mf_raise(error, MF_EUSAGE, "\"%s\" is not a string", what);
    if (memchr(value.data, '\\', value.length) == NULL)
        return mf_buffer_append(out, value.data + 1, value.length - 2, error);
    json_error_t trouble;
    json_t *string = json_loadb(
        (const char *)value.data, value.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &trouble);
    if (string == NULL)
        return mf_raise(error, MF_EUSAGE, "\"%s\" is not a string: %s", what, trouble.text);
    int rc = mf_buffer_append(out, json_string_value(string), json_string_length(string), error);
    json_decref(string);
    return rc;
}

static int read_text(const char *what,
                     struct mf_bytes value,
                     struct mf_buffer *own,
                     const char **text,
                     struct mf_error *error)
{
    if (value.data == NULL || (value.length == 4 && memcmp(value.data, "null", 4) == 0))
        return 0;
    if (unquote(what, value, own, error) < 0)
        return -1;
    *text = mf_buffer_text(own);
    if (*text == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a message");
    if (strlen(*text) != own->length)
        return mf_raise(error, MF_EUSAGE, "\"%s\" has a NUL in it", what);
    return 0;
}

static int read_base64(struct message_line *line, struct mf_bytes value, struct mf_error *error)
{
    struct mf_buffer text = {0};
    size_t length = 0;
    int rc = unquote("body_base64", value, &text, error);
    mf_buffer_clear(&line->own_body);
    if (rc == 0)
        rc = mf_buffer_reserve(&line->own_body, text.length + 1, error);
    if (rc == 0 && text.length % 4 != 0)
        rc = mf_raise(error, MF_EUSAGE, "\"body_base64\" is not base64");
    if (rc == 0 &&
        mbedtls_base64_decode(
            line->own_body.data, line->own_body.capacity, &length, text.data, text.length) != 0)
        rc = mf_raise(error, MF_EUSAGE, "\"body_base64\" is not base64");
    line->own_body.length = length;
    line->body = mf_buffer_view(&line->own_body);
    mf_buffer_fini(&text);
    return rc;
}

static int
read_body(struct message_line *line, const struct members *members, struct mf_error *error)
{
    if (members->body.data != NULL && members->body_base64.data != NULL)
        return mf_raise(error, MF_EUSAGE, "\"body\" and \"body_base64\" exclude each other");
    if (members->body_base64.data != NULL)
        return read_base64(line, members->body_base64, error);
    line->body = members->body;
    if (members->body.data[0] != '"')
        return 0;
    if (unquote("body", members->body, &line->own_body, error) < 0)
        return -1;
    line->body = mf_buffer_view(&line->own_body);
    return 0;
}

static struct mf_bytes trim(struct mf_bytes text)
{
    while (text.length > 0 && strchr(" \t\r\n", text.data[0]) != NULL)
        text = mf_bytes_of(text.data + 1, text.length - 1);
    while (text.length > 0 && strchr(" \t\r\n", text.data[text.length - 1]) != NULL)
        text.length--;
    return text;
}

int message_line_read(struct message_line *line, struct mf_bytes text, struct mf_error *error)
{
    struct members members = {0};
    line->key = line->group = NULL;
    if (json_scan(text, note_member, &members, error) < 0)
        return -1;
    if (members.body.data == NULL && members.body_base64.data == NULL) {
        line->body = trim(text);
        return 0;
    }
    if (members.unknown.data != NULL)
        return mf_raise(error,
                        MF_EUSAGE,
                        "an object with \"body\" is a message, which has no %.*s: write"
                        " {\"body\": {...}} around what is a body itself",
                        (int)(members.unknown.length > 60 ? 60 : members.unknown.length),
                        (const char *)members.unknown.data);
    if (read_text("key", members.key, &line->own_key, &line->key, error) < 0 ||
        read_text("group", members.group, &line->own_group, &line->group, error) < 0)
        return -1;
    return read_body(line, &members, error);
}

void message_line_fini(struct message_line *line)
{
    mf_buffer_fini(&line->own_body);
    mf_buffer_fini(&line->own_key);
    mf_buffer_fini(&line->own_group);
}
