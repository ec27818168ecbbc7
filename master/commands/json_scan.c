/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as RFC 8259 has it, read by descent: see json_scan.h. */
#include "master/commands/json_scan.h"

#include <stdbool.h>
#include <string.h>

#include "common/utf8.h"

struct scan {
    const unsigned char *data;
    size_t length, at;
    unsigned depth;
    json_member_f *f; /* for the outermost object */
    void *arg;
    struct mf_error *error;
};

static int scan_value(struct scan *scan);

static int refuse(const struct scan *scan, const char *what)
{
    if (scan->at >= scan->length)
        return mf_raise(scan->error, MF_EUSAGE, "not JSON: it ends where %s should stand", what);
    return mf_raise(
        scan->error, MF_EUSAGE, "not JSON: at byte %zu %s should stand", scan->at + 1, what);
}

/* The next byte, 0 at the end: none that is looked for. */
static unsigned char next(const struct scan *scan)
{
    return scan->at < scan->length ? scan->data[scan->at] : 0;
}

static void skip_space(struct scan *scan)
{
    while (next(scan) == ' ' || next(scan) == '\t' || next(scan) == '\n' || next(scan) == '\r')
        scan->at++;
}

static bool is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_hex(unsigned char byte)
{
    return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

static int scan_escape(struct scan *scan)
{
    scan->at++;
    unsigned char kind = next(scan);
    if (kind == 0 || strchr("\"\\/bfnrtu", kind) == NULL)
        return refuse(scan, "one of \"\\/bfnrtu behind a backslash");
    scan->at++;
    for (int i = 0; kind == 'u' && i < 4; i++, scan->at++)
        if (!is_hex(next(scan)))
            return refuse(scan, "a hexadecimal digit");
    return 0;
}

static int scan_string(struct scan *scan)
{
    if (next(scan) != '"')
        return refuse(scan, "a string");
    scan->at++;
    while (next(scan) != '"') {
        if (scan->at >= scan->length || scan->data[scan->at] < ' ')
            return refuse(scan,
                          "the end of a string (control characters are written \\n, \\u0007)");
        if (next(scan) == '\\') {
            if (scan_escape(scan) < 0)
                return -1;
            continue;
        }
        size_t length = mf_utf8_length(scan->data + scan->at, scan->length - scan->at);
        if (length == 0)
            return refuse(scan, "UTF-8");
        scan->at += length;
    }
    scan->at++;
    return 0;
}

static int scan_digits(struct scan *scan)
{
    if (!is_digit(next(scan)))
        return refuse(scan, "a digit");
    while (is_digit(next(scan)))
        scan->at++;
    return 0;
}

static int scan_number(struct scan *scan)
{
    if (next(scan) == '-')
        scan->at++;
    if (next(scan) == '0')
        scan->at++;
    else if (scan_digits(scan) < 0)
        return -1;
    if (next(scan) == '.') {
        scan->at++;
        if (scan_digits(scan) < 0)
            return -1;
    }
    if (next(scan) != 'e' && next(scan) != 'E')
        return 0;
    scan->at++;
    if (next(scan) == '+' || next(scan) == '-')
        scan->at++;
    return scan_digits(scan);
}

static int scan_word(struct scan *scan, const char *word)
{
    size_t length = strlen(word);
    if (scan->length - scan->at < length || memcmp(scan->data + scan->at, word, length) != 0)
        return refuse(scan, word);
    scan->at += length;
    return 0;
}

static struct mf_bytes since(const struct scan *scan, size_t start)
{
    return mf_bytes_of(scan->data + start, scan->at - start);
}

static int scan_member(struct scan *scan)
{
    size_t start = scan->at;
    if (scan_string(scan) < 0)
        return -1;
    struct mf_bytes name = since(scan, start);
    skip_space(scan);
    if (next(scan) != ':')
        return refuse(scan, "':'");
    scan->at++;
    skip_space(scan);
    start = scan->at;
    if (scan_value(scan) < 0)
        return -1;
    if (scan->depth == 1 && scan->f != NULL)
        return scan->f(scan->arg, name, since(scan, start), scan->error);
    return 0;
}

/* An array or an object, from its first bracket to its last. */
static int scan_group(struct scan *scan, unsigned char last, int (*f)(struct scan *scan))
{
    if (++scan->depth > JSON_SCAN_DEPTH)
        return mf_raise(scan->error,
                        MF_EUSAGE,
                        "not taken: more than %d arrays and objects in each other",
                        JSON_SCAN_DEPTH);
    scan->at++;
    skip_space(scan);
    for (bool is_first = true; next(scan) != last; is_first = false) {
        if (!is_first) {
            if (next(scan) != ',')
                return refuse(scan, last == '}' ? "',' or '}'" : "',' or ']'");
            scan->at++;
            skip_space(scan);
        }
        if (f(scan) < 0)
            return -1;
        skip_space(scan);
    }
    scan->at++;
    scan->depth--;
    return 0;
}

static int scan_value(struct scan *scan)
{
    switch (next(scan)) {
    case '{':
        return scan_group(scan, '}', scan_member);
    case '[':
        return scan_group(scan, ']', scan_value);
    case '"':
        return scan_string(scan);
    case 't':
        return scan_word(scan, "true");
    case 'f':
        return scan_word(scan, "false");
    case 'n':
        return scan_word(scan, "null");
    default:
        if (next(scan) != '-' && !is_digit(next(scan)))
            return refuse(scan, "a value");
        return scan_number(scan);
    }
}

int json_scan(struct mf_bytes text, json_member_f *f, void *arg, struct mf_error *error)
{
    struct scan scan = {
        .data = text.data, .length = text.length, .f = f, .arg = arg, .error = error};
    skip_space(&scan);
    int is_object = next(&scan) == '{';
    if (scan_value(&scan) < 0)
        return -1;
    skip_space(&scan);
    return scan.at < scan.length ? refuse(&scan, "the end of the line") : is_object;
}
