/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placeholders: see placeholder.h.
 *
 * Templates are read token by token; what is no token is copied. In a shell line the quoting is
 * followed on the way (shell_scan.h), both when the job is checked and when the value goes in: a
 * bare {NAME} is only known to be a placeholder once the subtask's fields are known, and must not
 * slip into quotes then.
 */
#include "common/placeholder.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/shell_scan.h"

enum token_kind {
    TOKEN_NONE,
    TOKEN_LITERAL, /* {{name}} */
    TOKEN_ITEM,    /* {} and {value} */
    TOKEN_PATH,
    TOKEN_OFFSET,
    TOKEN_LENGTH,
    TOKEN_ID,
    TOKEN_ATTEMPT,
    TOKEN_MESSAGE,
    TOKEN_FIELD,  /* {field:NAME} */
    TOKEN_MAYBE,  /* {NAME}: a field, if there is one of that name */
    TOKEN_BROKEN, /* {field: that does not end as it must */
};

struct token {
    enum token_kind kind;
    size_t length; /* of the whole token in the template */
    const char *name;
    size_t name_length;
};

static const struct {
    const char *name;
    enum token_kind kind;
} built_in[] = {
    {"", TOKEN_ITEM},
    {"path", TOKEN_PATH},
    {"value", TOKEN_ITEM},
    {"offset", TOKEN_OFFSET},
    {"length", TOKEN_LENGTH},
    {"id", TOKEN_ID},
    {"attempt", TOKEN_ATTEMPT},
    {"message", TOKEN_MESSAGE},
};

static size_t name_span(const char *p)
{
    size_t n = 0;
    for (;; n++) {
        unsigned char c = (unsigned char)p[n];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
        bool is_other = (c >= '0' && c <= '9') || c == '-' || c == '.';
        if (!is_letter && !(is_other && n > 0))
            return n;
    }
}

static struct token named_token(const char *name, size_t length)
{
    struct token token = {
        .kind = TOKEN_MAYBE, .length = length + 2, .name = name, .name_length = length};
    for (size_t i = 0; i < sizeof built_in / sizeof *built_in; i++) {
        if (strlen(built_in[i].name) == length && memcmp(built_in[i].name, name, length) == 0)
            token.kind = built_in[i].kind;
    }
    return token;
}

/* The token at text + at; TOKEN_NONE when none starts there. */
static struct token token_at(const char *text, size_t at)
{
    const char *p = text + at;
    if (*p != '{' || (at > 0 && text[at - 1] == '$'))
        return (struct token){0};
    if (p[1] == '{') {
        const char *name = p + 2;
        size_t n = strncmp(name, "field:", 6) == 0 ? 6 + name_span(name + 6) : name_span(name);
        if (name[n] == '}' && name[n + 1] == '}')
            return (struct token){
                .kind = TOKEN_LITERAL, .length = n + 4, .name = name, .name_length = n};
        return (struct token){0};
    }
    if (strncmp(p + 1, "field:", 6) == 0) {
        size_t n = name_span(p + 7);
        enum token_kind kind = n > 0 && p[7 + n] == '}' ? TOKEN_FIELD : TOKEN_BROKEN;
        return (struct token){.kind = kind,
                              .length = kind == TOKEN_FIELD ? n + 8 : 7,
                              .name = p + 7,
                              .name_length = n};
    }
    size_t n = name_span(p + 1);
    return p[1 + n] == '}' ? named_token(p + 1, n) : (struct token){0};
}

static bool is_bare(struct mf_bytes value)
{
    static const char others[] = "_@%+=:,./-";
    for (size_t i = 0; i < value.length; i++) {
        unsigned char c = value.data[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_plain && (c == '\0' || strchr(others, c) == NULL))
            return false;
    }
    return value.length > 0;
}

static int append_quoted(struct mf_bytes value, struct mf_buffer *out, struct mf_error *error)
{
    if (is_bare(value))
        return mf_buffer_append(out, value.data, value.length, error);
    if (mf_buffer_append(out, "'", 1, error) < 0)
        return -1;
    for (size_t at = 0; at < value.length;) {
        const unsigned char *quote = memchr(value.data + at, '\'', value.length - at);
        size_t end = quote == NULL ? value.length : (size_t)(quote - value.data);
        if (mf_buffer_append(out, value.data + at, end - at, error) < 0 ||
            (quote != NULL && mf_buffer_append(out, "'\\''", 4, error) < 0))
            return -1;
        at = quote == NULL ? end : end + 1;
    }
    return mf_buffer_append(out, "'", 1, error);
}

/* Big-endian length of `size` bytes behind the type byte at *at, then as many bytes: a view of
 * them. */
static bool take_sized(struct mf_bytes map, size_t *at, size_t size, struct mf_bytes *out)
{
    size_t length = 0;
    if (map.length - *at < size)
        return false;
    for (size_t i = 0; i < size; i++)
        length = length << 8 | map.data[(*at)++];
    if (map.length - *at < length)
        return false;
    *out = mf_bytes_of(map.data + *at, length);
    *at += length;
    return true;
}

/* One msgpack str or bin. */
static bool take_string(struct mf_bytes map, size_t *at, struct mf_bytes *out)
{
    if (*at >= map.length)
        return false;
    unsigned char type = map.data[(*at)++];
    if (type >= 0xa0 && type <= 0xbf) {
        size_t length = type & 0x1fu;
        if (map.length - *at < length)
            return false;
        *out = mf_bytes_of(map.data + *at, length);
        *at += length;
        return true;
    }
    switch (type) {
    case 0xc4:
    case 0xd9:
        return take_sized(map, at, 1, out);
    case 0xc5:
    case 0xda:
        return take_sized(map, at, 2, out);
    case 0xc6:
    case 0xdb:
        return take_sized(map, at, 4, out);
    default:
        return false;
    }
}

/* The field's value in a msgpack map of strings; false when there is none (or the map is damaged).
 */
static bool find_field(struct mf_bytes map, struct mf_bytes name, struct mf_bytes *value)
{
    size_t at = 1, pairs = 0;
    if (map.length == 0)
        return false;
    if ((map.data[0] & 0xf0u) == 0x80)
        pairs = map.data[0] & 0x0fu;
    else if (map.data[0] == 0xde && map.length >= 3)
        pairs = (size_t)map.data[1] << 8 | map.data[2];
    if (map.data[0] == 0xde)
        at = 3;
    for (; pairs > 0; pairs--) {
        struct mf_bytes key;
        if (!take_string(map, &at, &key) || !take_string(map, &at, value))
            return false;
        if (mf_bytes_equal(key, name))
            return true;
    }
    return false;
}

static struct mf_bytes decimal(uint64_t number, char *scratch, size_t size)
{
    int n = snprintf(scratch, size, "%" PRIu64, number);
    return mf_bytes_of(scratch, n < 0 ? 0 : (size_t)n);
}

/* The token's value: 1, 0 when it is none (a {NAME} without such a field), -1. */
static int token_value(const struct token *token,
                       const struct mf_subtask *subtask,
                       char *scratch,
                       size_t size,
                       struct mf_bytes *value,
                       struct mf_error *error)
{
    switch (token->kind) {
    case TOKEN_ITEM:
        *value = subtask->item;
        if (subtask->has_number) {
            int n = snprintf(scratch, size, "%" PRId64, subtask->number);
            *value = mf_bytes_of(scratch, n < 0 ? 0 : (size_t)n);
        }
        return 1;
    case TOKEN_PATH:
        *value = subtask->path;
        return 1;
    case TOKEN_OFFSET:
        *value = decimal(subtask->offset, scratch, size);
        return 1;
    case TOKEN_LENGTH:
        *value = decimal(subtask->length, scratch, size);
        return 1;
    case TOKEN_ID:
        *value = decimal(subtask->id, scratch, size);
        return 1;
    case TOKEN_ATTEMPT:
        *value = decimal(subtask->attempt, scratch, size);
        return 1;
    case TOKEN_MESSAGE:
        *value = decimal((uint64_t)subtask->message, scratch, size);
        return 1;
    case TOKEN_FIELD:
        if (find_field(subtask->fields, mf_bytes_of(token->name, token->name_length), value))
            return 1;
        return mf_raise(error,
                        MF_EINPUT,
                        "subtask %" PRIu64 " has no field '%.*s'",
                        subtask->id,
                        (int)token->name_length,
                        token->name);
    case TOKEN_MAYBE:
        return find_field(subtask->fields, mf_bytes_of(token->name, token->name_length), value) ? 1
                                                                                                : 0;
    default:
        return 0;
    }
}

static int append_value(const char *text,
                        size_t at,
                        const struct token *token,
                        struct mf_bytes value,
                        const char *obstacle,
                        enum mf_quoting quoting,
                        struct mf_buffer *out,
                        struct mf_error *error)
{
    if (value.length > 0 && memchr(value.data, '\0', value.length) != NULL)
        return mf_raise(error,
                        MF_EINPUT,
                        "the value of %.*s holds a NUL byte, which no argument can carry",
                        (int)token->length,
                        text + at);
    if (obstacle != NULL)
        return mf_raise(error,
                        MF_EINPUT,
                        "column %zu: %.*s stands %s, where its value could become code",
                        at + 1,
                        (int)token->length,
                        text + at,
                        obstacle);
    if (quoting == MF_QUOTE_SHELL)
        return append_quoted(value, out, error);
    return mf_buffer_append(out, value.data, value.length, error);
}

/* Where `at` is, as text for a reader: the column, and the line if there are several. */
static void describe_place(const char *text, size_t at, char *out, size_t size)
{
    size_t line = 1, start = 0;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    if (strchr(text, '\n') == NULL || strchr(text, '\n')[1] == '\0')
        snprintf(out, size, "column %zu", at + 1);
    else
        snprintf(out, size, "line %zu, column %zu", line, at - start + 1);
}

int mf_placeholder_expand(const char *text,
                          const struct mf_subtask *subtask,
                          enum mf_quoting quoting,
                          struct mf_buffer *out,
                          struct mf_error *error)
{
    struct mf_shell_scan scan = {0};
    for (size_t at = 0, next; text[at] != '\0'; at = next) {
        struct token token = token_at(text, at);
        char scratch[24];
        struct mf_bytes value;
        int is_value = token.kind == TOKEN_NONE
                           ? 0
                           : token_value(&token, subtask, scratch, sizeof scratch, &value, error);
        if (is_value < 0)
            return -1;
        if (is_value > 0) {
            const char *obstacle = quoting == MF_QUOTE_SHELL ? mf_shell_obstacle(&scan, at) : NULL;
            if (append_value(text, at, &token, value, obstacle, quoting, out, error) < 0)
                return -1;
            mf_shell_value(&scan);
            next = at + token.length;
            continue;
        }
        if (token.kind == TOKEN_LITERAL) {
            /* {{name}} loses its outer braces; what is within has no meaning to a shell. */
            next = at + token.length;
            mf_shell_value(&scan);
            if (mf_buffer_append(out, text + at + 1, token.length - 2, error) < 0)
                return -1;
            continue;
        }
        next = quoting == MF_QUOTE_SHELL ? mf_shell_step(&scan, text, at) : at + 1;
        if (mf_buffer_append(out, text + at, next - at, error) < 0)
            return -1;
    }
    return 0;
}

int mf_placeholder_check(const char *text, enum mf_quoting quoting, struct mf_error *error)
{
    struct mf_shell_scan scan = {0};
    char place[64];
    bool has_value = false;
    for (size_t at = 0, next; text[at] != '\0'; at = next) {
        struct token token = token_at(text, at);
        const char *obstacle = quoting == MF_QUOTE_SHELL ? mf_shell_obstacle(&scan, at) : NULL;
        next = quoting == MF_QUOTE_SHELL ? mf_shell_step(&scan, text, at) : at + 1;
        if (token.kind == TOKEN_NONE || token.kind == TOKEN_MAYBE)
            continue;
        describe_place(text, at, place, sizeof place);
        if (token.kind == TOKEN_BROKEN)
            return mf_raise(
                error,
                MF_EUSAGE,
                "%s: {field:NAME} is not finished: a name of letters, digits and _.- and then } is "
                "expected",
                place);
        if (obstacle != NULL && token.kind != TOKEN_LITERAL)
            return mf_raise(
                error,
                MF_EUSAGE,
                "%s: %.*s stands %s, where its value could become code; put it bare into the line "
                "(Mayfly quotes the value itself) or set a variable to it first",
                place,
                (int)token.length,
                text + at,
                obstacle);
        has_value = has_value || token.kind != TOKEN_LITERAL;
        mf_shell_value(&scan);
        next = at + token.length;
    }
    /* What a shell makes of a broken line is not to be foreseen. */
    if (has_value && quoting == MF_QUOTE_SHELL && mf_shell_is_open(&scan))
        return mf_raise(
            error,
            MF_EUSAGE,
            "the shell line is not finished: a quote, bracket or here-document that it opens is "
            "not closed");
    return 0;
}

static int raise_unknown(const char *text,
                         const struct token *token,
                         const struct mf_named *values,
                         size_t count,
                         struct mf_error *error)
{
    char known[256] = "";
    size_t n = 0;
    for (size_t i = 0; i < count && n < sizeof known; i++)
        n += (size_t)snprintf(
            known + n, sizeof known - n, "%s{%s}", i == 0 ? "" : " ", values[i].name);
    return mf_raise(error,
                    MF_EUSAGE,
                    "there is no placeholder %.*s here, but %s; for the text itself write {%.*s}",
                    (int)token->length,
                    text,
                    known,
                    (int)token->length,
                    text);
}

int mf_placeholder_fill(const char *text,
                        const struct mf_named *values,
                        size_t count,
                        struct mf_buffer *out,
                        struct mf_error *error)
{
    for (size_t at = 0, length; text[at] != '\0'; at += length) {
        struct token token = token_at(text, at);
        const char *value = text + at;
        size_t value_length = length = token.length > 0 ? token.length : 1, i = 0;
        if (token.kind == TOKEN_LITERAL) {
            value++;
            value_length = length - 2;
        } else if (token.kind != TOKEN_NONE) {
            while (i < count && !(strlen(values[i].name) == token.name_length &&
                                  memcmp(values[i].name, token.name, token.name_length) == 0))
                i++;
            if (i == count || token.kind == TOKEN_FIELD || token.kind == TOKEN_BROKEN)
                return raise_unknown(text + at, &token, values, count, error);
            value = values[i].value;
            value_length = out == NULL ? 0 : strlen(value);
        }
        if (out != NULL && mf_buffer_append(out, value, value_length, error) < 0)
            return -1;
    }
    return 0;
}

bool mf_placeholder_names(const char *text, const char *name)
{
    for (size_t at = 0; text[at] != '\0';) {
        struct token token = token_at(text, at);
        if (token.kind != TOKEN_NONE && token.kind != TOKEN_LITERAL &&
            token.name_length == strlen(name) && memcmp(token.name, name, token.name_length) == 0)
            return true;
        at += token.length == 0 ? 1 : token.length;
    }
    return false;
}

bool mf_placeholder_is_constant(const char *text)
{
    for (size_t at = 0; text[at] != '\0'; at++) {
        if (token_at(text, at).kind != TOKEN_NONE)
            return false;
    }
    return true;
}

bool mf_placeholder_has(const char *text, const char *name)
{
    for (size_t at = 0; text[at] != '\0';) {
        struct token token = token_at(text, at);
        bool is_field = strcmp(name, "field") == 0;
        if (token.kind == TOKEN_FIELD && is_field)
            return true;
        if (token.kind >= TOKEN_ITEM && token.kind <= TOKEN_MESSAGE &&
            token.name_length == strlen(name) && memcmp(token.name, name, token.name_length) == 0)
            return true;
        at += token.length == 0 ? 1 : token.length;
    }
    return false;
}

bool mf_placeholder_wants_fields(const char *text)
{
    for (size_t at = 0; text[at] != '\0';) {
        struct token token = token_at(text, at);
        if (token.kind == TOKEN_FIELD || token.kind == TOKEN_MAYBE)
            return true;
        at += token.length == 0 ? 1 : token.length;
    }
    return false;
}
