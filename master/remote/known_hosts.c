/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads known_hosts: see known_hosts.h.
 *
 * Every byte may come from elsewhere, so fields are views into the text with a length, and nothing
 * is copied but the key of a line that names our host.
 */
#include "master/remote/known_hosts.h"

#include <ctype.h>
#include <mbedtls/base64.h>
#include <mbedtls/md.h>
#include <mbedtls/sha256.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"

#define SHA1_SIZE 20
#define KEY_MAX 16384u /* of a key's base64 */

/* The two names under which a host may stand. */
struct names {
    char with_port[512]; /* "" when the port is 22 */
    char plain[512];
};

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next field of *line, which is shortened by it; empty at the end. */
static struct mf_bytes take_field(struct mf_bytes *line)
{
    while (line->length > 0 && is_blank(line->data[0])) {
        line->data++;
        line->length--;
    }
    struct mf_bytes field = {line->data, 0};
    while (line->length > 0 && !is_blank(line->data[0])) {
        line->data++;
        line->length--;
        field.length++;
    }
    return field;
}

static bool field_is(struct mf_bytes field, const char *text)
{
    return mf_bytes_equal(field, mf_bytes_text(text));
}

/* `*` and `?`; in linear steps back to the last star only, so that no pattern is expensive. */
static bool matches_pattern(struct mf_bytes pattern, const char *name)
{
    size_t p = 0, n = 0, star = SIZE_MAX, mark = 0, length = strlen(name);
    while (n < length) {
        if (p < pattern.length && pattern.data[p] == '*') {
            star = p++;
            mark = n;
        } else if (p < pattern.length &&
                   (pattern.data[p] == '?' || tolower(pattern.data[p]) == name[n])) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.length && pattern.data[p] == '*')
        p++;
    return p == pattern.length;
}

/* A negation that matches outweighs whatever else the line says. */
static bool matches_list(struct mf_bytes list, const char *name)
{
    bool matched = false;
    while (list.length > 0) {
        const unsigned char *comma = memchr(list.data, ',', list.length);
        size_t length = comma == NULL ? list.length : (size_t)(comma - list.data);
        struct mf_bytes pattern = {list.data, length};
        bool negated = length > 0 && pattern.data[0] == '!';
        if (negated) {
            pattern.data++;
            pattern.length--;
        }
        if (pattern.length > 0 && matches_pattern(pattern, name)) {
            if (negated)
                return false;
            matched = true;
        }
        size_t used = comma == NULL ? length : length + 1;
        list.data += used;
        list.length -= used;
    }
    return matched;
}

/* "|1|salt|hash", both base64: HMAC-SHA1 of the name under the salt. */
static bool matches_hash(struct mf_bytes field, const char *name)
{
    unsigned char salt[SHA1_SIZE], hash[SHA1_SIZE], made[SHA1_SIZE];
    size_t salt_size = 0, hash_size = 0;
    const unsigned char *start = field.data + 3;
    size_t length = field.length - 3;
    const unsigned char *bar = memchr(start, '|', length);
    if (bar == NULL)
        return false;
    size_t first = (size_t)(bar - start);
    if (mbedtls_base64_decode(salt, sizeof salt, &salt_size, start, first) != 0 ||
        mbedtls_base64_decode(hash, sizeof hash, &hash_size, bar + 1, length - first - 1) != 0 ||
        salt_size != SHA1_SIZE || hash_size != SHA1_SIZE)
        return false;
    if (mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA1),
                        salt,
                        sizeof salt,
                        (const unsigned char *)name,
                        strlen(name),
                        made) != 0)
        return false;
    return memcmp(made, hash, SHA1_SIZE) == 0;
}

static bool matches(struct mf_bytes field, const char *name)
{
    if (name[0] == '\0')
        return false;
    if (field.length >= 3 && memcmp(field.data, "|1|", 3) == 0)
        return matches_hash(field, name);
    return matches_list(field, name);
}

int known_key_type(struct mf_bytes key, char type[KNOWN_TYPE_SIZE])
{
    if (key.length < 4)
        return -1;
    size_t length = (size_t)key.data[0] << 24 | (size_t)key.data[1] << 16 |
                    (size_t)key.data[2] << 8 | (size_t)key.data[3];
    if (length == 0 || length > key.length - 4 || length >= KNOWN_TYPE_SIZE)
        return -1;
    for (size_t i = 0; i < length; i++)
        if (key.data[4 + i] <= ' ' || key.data[4 + i] > '~')
            return -1;
    memcpy(type, key.data + 4, length);
    type[length] = '\0';
    return 0;
}

/* 1: decoded; 0: the fields are no key; -1: out of memory. */
static int
read_key(struct known_key *key, struct mf_bytes type, struct mf_bytes text, struct mf_error *error)
{
    if (text.length == 0 || text.length > KEY_MAX)
        return 0;
    size_t room = text.length / 4 * 3 + 3;
    key->blob = mf_malloc(room);
    if (key->blob == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a host key");
    if (mbedtls_base64_decode(key->blob, room, &key->length, text.data, text.length) == 0 &&
        known_key_type(mf_bytes_of(key->blob, key->length), key->type) == 0 &&
        field_is(type, key->type))
        return 1;
    mf_free(key->blob);
    key->blob = NULL;
    return 0;
}

static int add_key(struct known_host *known,
                   const struct known_key *key,
                   unsigned line,
                   struct mf_error *error)
{
    if (known->count == KNOWN_KEYS_MAX)
        return mf_raise(error,
                        MF_ESETUP,
                        "more than %d lines of known_hosts name one host (line %u is the next): "
                        "remove those that are out of date",
                        KNOWN_KEYS_MAX,
                        line);
    struct known_key *keys = mf_realloc(known->keys, (known->count + 1) * sizeof *keys);
    if (keys == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: %u host keys", known->count + 1);
    known->keys = keys;
    known->keys[known->count++] = *key;
    return 0;
}

static int scan_line(struct known_host *known,
                     struct mf_bytes line,
                     struct known_key key,
                     const struct names *names,
                     struct mf_error *error)
{
    struct mf_bytes field = take_field(&line);
    if (field.length == 0 || field.data[0] == '#')
        return 0;
    if (field.data[0] == '@') {
        if (field_is(field, "@revoked"))
            key.marker = KNOWN_REVOKED;
        else if (field_is(field, "@cert-authority"))
            key.marker = KNOWN_AUTHORITY;
        else
            return 0;
        field = take_field(&line);
    }
    if (field.length == 0)
        return 0;
    if (names->with_port[0] != '\0' && !matches(field, names->with_port))
        key.portless = true;
    if ((names->with_port[0] == '\0' || key.portless) && !matches(field, names->plain))
        return 0;
    struct mf_bytes type = take_field(&line);
    int rc = read_key(&key, type, take_field(&line), error);
    if (rc <= 0)
        return rc;
    if (add_key(known, &key, key.line, error) == 0)
        return 0;
    mf_free(key.blob);
    return -1;
}

int known_host_name(char *name, size_t size, const char *host, uint16_t port)
{
    int n = port == 22 ? snprintf(name, size, "%s", host)
                       : snprintf(name, size, "[%s]:%u", host, (unsigned)port);
    if (n < 0 || (size_t)n >= size)
        return -1;
    for (char *c = name; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    return 0;
}

int known_host_scan(struct known_host *known,
                    struct mf_bytes text,
                    unsigned file,
                    const char *host,
                    uint16_t port,
                    struct mf_error *error)
{
    struct names names = {.with_port = ""};
    if (known_host_name(names.plain, sizeof names.plain, host, 22) < 0 ||
        (port != 22 && known_host_name(names.with_port, sizeof names.with_port, host, port) < 0))
        return mf_raise(error, MF_ESETUP, "the host name %.40s... is too long", host);
    for (unsigned number = 1; text.length > 0; number++) {
        const unsigned char *end = memchr(text.data, '\n', text.length);
        size_t length = end == NULL ? text.length : (size_t)(end - text.data);
        struct known_key key = {.file = file, .line = number};
        if (scan_line(known, mf_bytes_of(text.data, length), key, &names, error) < 0)
            return -1;
        size_t used = end == NULL ? length : length + 1;
        text.data += used;
        text.length -= used;
    }
    return 0;
}

enum known_verdict known_host_judge(const struct known_host *known,
                                    struct mf_bytes key,
                                    const struct known_key **which)
{
    char type[KNOWN_TYPE_SIZE] = "";
    const struct known_key *good = NULL, *changed = NULL, *other = NULL, *authority = NULL;
    known_key_type(key, type);
    for (unsigned i = 0; i < known->count; i++) {
        const struct known_key *k = &known->keys[i];
        bool same = mf_bytes_equal(mf_bytes_of(k->blob, k->length), key);
        *which = k;
        if (k->marker == KNOWN_REVOKED && same)
            return KNOWN_IS_REVOKED;
        if (k->marker == KNOWN_AUTHORITY && authority == NULL)
            authority = k;
        if (k->marker != KNOWN_PLAIN)
            continue;
        if (same && good == NULL)
            good = k;
        else if (!same && !k->portless && strcmp(k->type, type) == 0 && changed == NULL)
            changed = k;
        else if (!same && !k->portless && other == NULL)
            other = k;
    }
    *which = good != NULL ? good : changed != NULL ? changed : other != NULL ? other : authority;
    if (good != NULL)
        return KNOWN_GOOD;
    if (changed != NULL)
        return KNOWN_CHANGED;
    if (other != NULL)
        return KNOWN_OTHER_TYPE;
    return authority != NULL ? KNOWN_BY_AUTHORITY : KNOWN_NEVER_SEEN;
}

bool known_host_has_type(const struct known_host *known, const char *type)
{
    for (unsigned i = 0; i < known->count; i++)
        if (known->keys[i].marker == KNOWN_PLAIN && strcmp(known->keys[i].type, type) == 0)
            return true;
    return false;
}

void known_host_fini(struct known_host *known)
{
    for (unsigned i = 0; i < known->count; i++)
        mf_free(known->keys[i].blob);
    mf_free(known->keys);
    *known = (struct known_host){0};
}

const char *known_key_print(struct mf_bytes key, char print[KNOWN_PRINT_SIZE])
{
    unsigned char hash[32], text[KNOWN_PRINT_SIZE];
    size_t length = 0;
    mbedtls_sha256_ret(key.data, key.length, hash, 0);
    mbedtls_base64_encode(text, sizeof text, &length, hash, sizeof hash);
    while (length > 0 && text[length - 1] == '=')
        length--;
    snprintf(print, KNOWN_PRINT_SIZE, "SHA256:%.*s", (int)length, text);
    return print;
}
