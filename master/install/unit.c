/* SPDX-License-Identifier: Apache-2.0 */
/* Units as text: see unit.h. */
#include "master/install/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checksum.h"

static const char comment[] = "# ";

static bool is_usual(const struct install *install)
{
    const char *home = getenv("HOME");
    size_t length = home == NULL ? 0 : strlen(home);
    return length > 0 && strncmp(install->state_home, home, length) == 0 &&
           strcmp(install->state_home + length, "/.local/state") == 0;
}

const char *unit_name(const struct install *install, char name[UNIT_NAME_SIZE])
{
    if (is_usual(install))
        snprintf(name, UNIT_NAME_SIZE, "mayfly-tick");
    else
        snprintf(name,
                 UNIT_NAME_SIZE,
                 "mayfly-tick-%08x",
                 mf_crc32(mf_bytes_text(install->state_folder)));
    return name;
}

const char *unit_suffix(enum unit unit)
{
    return unit == UNIT_SERVICE ? "service" : "timer";
}

/* % is the start of a specifier everywhere. */
static int append_value(struct mf_buffer *out, const char *text, struct mf_error *error)
{
    for (; *text != '\0'; text++)
        if ((*text == '%' && mf_buffer_append_text(out, "%", error) < 0) ||
            mf_buffer_append(out, text, 1, error) < 0)
            return -1;
    return 0;
}

/* In double quotes, as in Environment= and ExecStart=. */
static int append_quoted(struct mf_buffer *out, const char *text, struct mf_error *error)
{
    int rc = 0;
    for (; rc == 0 && *text != '\0'; text++) {
        char one[2] = {*text, '\0'};
        if (*text == '"' || *text == '\\')
            rc = mf_buffer_append_text(out, "\\", error);
        if (rc == 0)
            rc = append_value(out, one, error);
    }
    return rc;
}

static int
append_setting(struct mf_buffer *out, const char *name, const char *value, struct mf_error *error)
{
    if (value == NULL)
        return 0;
    if (mf_buffer_printf(out, error, "Environment=\"%s=", name) < 0 ||
        append_quoted(out, value, error) < 0)
        return -1;
    return mf_buffer_append_text(out, "\"\n", error);
}

/* What a tick starts outlives it: only the process of the tick itself belongs to the service. */
static int
append_service(const struct install *install, struct mf_buffer *out, struct mf_error *error)
{
    /* systemd takes no program with these in its path, but any argument. */
    bool needs_env = strpbrk(install->program, "\"'\\") != NULL;
    if (mf_buffer_append_text(out, "[Unit]\nDescription=Mayfly: start what is due, for ", error) <
            0 ||
        append_value(out, install->state_folder, error) < 0 ||
        mf_buffer_append_text(out, "\n\n[Service]\nType=oneshot\n", error) < 0 ||
        append_setting(out, "XDG_STATE_HOME", install->state_home, error) < 0 ||
        append_setting(out, "XDG_CACHE_HOME", install->cache_home, error) < 0 ||
        mf_buffer_printf(out, error, "ExecStart=:%s\"", needs_env ? "/usr/bin/env " : "") < 0 ||
        append_quoted(out, install->program, error) < 0 ||
        mf_buffer_append_text(out, "\" trigger tick\nStandardOutput=append:", error) < 0 ||
        append_value(out, install->state_folder, error) < 0)
        return -1;
    return mf_buffer_append_text(
        out, "/tick.log\nStandardError=inherit\nKillMode=process\n", error);
}

static int
append_timer(const struct install *install, struct mf_buffer *out, struct mf_error *error)
{
    if (mf_buffer_append_text(out, "[Unit]\nDescription=Mayfly: each minute, for ", error) < 0 ||
        append_value(out, install->state_folder, error) < 0)
        return -1;
    return mf_buffer_append_text(out,
                                 "\n\n[Timer]\nOnCalendar=minutely\nAccuracySec=1s\n"
                                 "Persistent=true\n\n[Install]\nWantedBy=timers.target\n",
                                 error);
}

int unit_text(const struct install *install,
              enum unit unit,
              struct mf_buffer *out,
              struct mf_error *error)
{
    struct mf_buffer body = {0};
    int rc = unit == UNIT_SERVICE ? append_service(install, &body, error)
                                  : append_timer(install, &body, error);
    if (rc == 0)
        rc = mf_buffer_append_text(out, comment, error);
    if (rc == 0)
        rc = mark_append(out, mf_buffer_view(&body), install->state_folder, error);
    if (rc == 0)
        rc = mf_buffer_append_text(out, "\n", error);
    if (rc == 0)
        rc = mf_buffer_append(out, body.data, body.length, error);
    mf_buffer_fini(&body);
    return rc;
}

enum mark_state unit_look(const struct install *install, struct mf_bytes text)
{
    const size_t start = sizeof comment - 1;
    const unsigned char *end = text.length == 0 ? NULL : memchr(text.data, '\n', text.length);
    if (end == NULL || (size_t)(end - text.data) < start || memcmp(text.data, comment, start) != 0)
        return MARK_NONE;
    size_t length = (size_t)(end - text.data);
    return mark_look(mf_bytes_of(text.data + start, length - start),
                     mf_bytes_of(end + 1, text.length - length - 1),
                     install->state_folder);
}
