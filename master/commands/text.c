/* SPDX-License-Identifier: Apache-2.0 */
/* Printing: see text.h. */
#include "master/commands/text.h"

#include <errno.h>
#include <inttypes.h>
#include <mbedtls/base64.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"

void text_begin(void)
{
    signal(SIGPIPE, SIG_DFL);
}

int text_end(int code)
{
    bool had_failed = ferror(stdout) != 0;
    if (fflush(stdout) == 0 && !had_failed)
        return code;
    fprintf(stderr, "mayfly: cannot write to standard output: %s\n", strerror(errno));
    return 3;
}

static int append_escaped(struct mf_buffer *out, unsigned char c, struct mf_error *error)
{
    if (c == '\n')
        return mf_buffer_append_text(out, "\\n", error);
    if (c == '\t')
        return mf_buffer_append_text(out, "\\t", error);
    return mf_buffer_printf(out, error, "\\x%02x", c);
}

int text_printable(struct mf_buffer *out, struct mf_bytes bytes, struct mf_error *error)
{
    size_t plain = 0;
    for (size_t i = 0; i < bytes.length; i++) {
        unsigned char c = bytes.data[i];
        if (c >= ' ' && c != 0x7f)
            continue;
        if (mf_buffer_append(out, bytes.data + plain, i - plain, error) < 0 ||
            append_escaped(out, c, error) < 0)
            return -1;
        plain = i + 1;
    }
    return mf_buffer_append(out, bytes.data + plain, bytes.length - plain, error);
}

const char *text_duration(int64_t us, char *out)
{
    int64_t seconds = us / 1000000;
    if (us < 10000)
        snprintf(out, TEXT_SIZE, "%.1f ms", (double)us / 1e3);
    else if (us < 1000000)
        snprintf(out, TEXT_SIZE, "%.2f s", (double)us / 1e6);
    else if (seconds < 60)
        snprintf(out, TEXT_SIZE, "%.1f s", (double)us / 1e6);
    else if (seconds < 3600)
        snprintf(out, TEXT_SIZE, "%" PRId64 "m%02" PRId64 "s", seconds / 60, seconds % 60);
    else if (seconds < 86400)
        snprintf(out, TEXT_SIZE, "%" PRId64 "h%02" PRId64 "m", seconds / 3600, seconds / 60 % 60);
    else
        snprintf(
            out, TEXT_SIZE, "%" PRId64 "d%02" PRId64 "h", seconds / 86400, seconds / 3600 % 24);
    return out;
}

const char *text_size(uint64_t bytes, char *out)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    double size = (double)bytes / 1024;
    size_t unit = 0;
    if (bytes < 1024) {
        snprintf(out, TEXT_SIZE, "%" PRIu64 " B", bytes);
        return out;
    }
    for (; size >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++)
        size /= 1024;
    snprintf(out, TEXT_SIZE, "%.1f %s", size, units[unit]);
    return out;
}

int text_number(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return -1;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < least || number > most)
        return -1;
    *value = number;
    return 0;
}

static int set_base64(json_t *object, const char *key, struct mf_bytes bytes)
{
    size_t size = (bytes.length + 2) / 3 * 4 + 1, length = 0;
    unsigned char *text = mf_malloc(size);
    char *name = mf_format("%s_base64", key);
    int rc = -1;
    if (text != NULL && name != NULL &&
        mbedtls_base64_encode(text, size, &length, bytes.data, bytes.length) == 0)
        rc = json_object_set_new(object, name, json_stringn((const char *)text, length));
    mf_free(name);
    mf_free(text);
    return rc;
}

int text_json_bytes(json_t *object, const char *key, struct mf_bytes bytes)
{
    const char *data = bytes.length == 0 ? "" : (const char *)bytes.data;
    json_t *text = json_stringn(data, bytes.length); /* NULL when it is not UTF-8 */
    if (text != NULL)
        return json_object_set_new(object, key, text);
    return set_base64(object, key, bytes);
}

int text_json_stamp(json_t *object, const char *key, int64_t wall_us)
{
    char stamp[MF_STAMP_SIZE];
    json_t *value = wall_us == 0 ? json_null() : json_string(mf_stamp(wall_us, stamp));
    return json_object_set_new(object, key, value);
}

int text_json_print(json_t *value, size_t flags, struct mf_error *error)
{
    if (value == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: JSON to print");
    /* What can't be written shows in the stream's state: text_end says it. */
    if (json_dumpf(value, stdout, (flags == 0 ? JSON_COMPACT : flags) | JSON_REAL_PRECISION(9)) ==
        0)
        putchar('\n');
    json_decref(value);
    return 0;
}
