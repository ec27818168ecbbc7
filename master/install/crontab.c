/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of crontabs: see crontab.h. cron cuts a command at a bare % and takes the backslash
 * before one away, before the shell sees it; what it does with other backslashes differs from one
 * cron to another, so that none is written.
 */
#include "master/install/crontab.h"

#include <string.h>

#include "common/alloc.h"

#define BEFORE_MARK " # "
#define LINE_MAX_OF_CRON 999 /* a command of Debian's cron */

/* The next line of `text` from *at on, without its end; false behind the last one. */
static bool next_line(struct mf_bytes text, size_t *at, struct mf_bytes *line)
{
    if (*at >= text.length)
        return false;
    const unsigned char *start = text.data + *at;
    const unsigned char *end = memchr(start, '\n', text.length - *at);
    line->data = start;
    line->length = end == NULL ? text.length - *at : (size_t)(end - start);
    *at += line->length + (end == NULL ? 0 : 1);
    return true;
}

/* For cron: % with a backslash. */
static int append_escaped(struct mf_buffer *out, const char *text, struct mf_error *error)
{
    for (const char *p = text; *p != '\0'; p++)
        if ((*p == '%' && mf_buffer_append_text(out, "\\", error) < 0) ||
            mf_buffer_append(out, p, 1, error) < 0)
            return -1;
    return 0;
}

/* For a shell, then for cron: bare where it can be, else in single quotes. */
static int append_quoted(struct mf_buffer *out, const char *text, struct mf_error *error)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_@+=:,./-";
    if (text[0] != '\0' && text[strspn(text, plain)] == '\0')
        return mf_buffer_append_text(out, text, error);
    int rc = mf_buffer_append_text(out, "'", error);
    for (; rc == 0 && *text != '\0'; text++) {
        char one[2] = {*text, '\0'};
        rc = *text == '\'' ? mf_buffer_append_text(out, "'\"'\"'", error)
                           : append_escaped(out, one, error);
    }
    return rc < 0 ? -1 : mf_buffer_append_text(out, "'", error);
}

static int
append_setting(struct mf_buffer *out, const char *name, const char *value, struct mf_error *error)
{
    if (value == NULL)
        return 0;
    if (mf_buffer_printf(out, error, "%s=", name) < 0 || append_quoted(out, value, error) < 0)
        return -1;
    return mf_buffer_append_text(out, " ", error);
}

static int
append_command(const struct install *install, struct mf_buffer *out, struct mf_error *error)
{
    char *log = mf_format("%s/tick.log", install->state_folder);
    if (log == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int rc = append_setting(out, "XDG_STATE_HOME", install->state_home, error);
    if (rc == 0)
        rc = append_setting(out, "XDG_CACHE_HOME", install->cache_home, error);
    if (rc == 0)
        rc = append_quoted(out, install->program, error);
    if (rc == 0)
        rc = mf_buffer_append_text(out, " trigger tick >>", error);
    if (rc == 0)
        rc = append_quoted(out, log, error);
    mf_free(log);
    return rc < 0 ? -1 : mf_buffer_append_text(out, " 2>&1", error);
}

static int check_path(const char *path, struct mf_error *error)
{
    if (path == NULL || strchr(path, '\\') == NULL)
        return 0;
    return mf_raise(
        error,
        MF_ESETUP,
        "a crontab cannot hold a path with a backslash: %s; use --scheduler=systemd, or another "
        "place",
        path);
}

/* The owner as it stands in the mark (heap). */
static char *owner_of(const struct install *install, struct mf_error *error)
{
    struct mf_buffer owner = {0};
    char *text = NULL;
    if (append_escaped(&owner, install->state_folder, error) == 0 &&
        (text = mf_memdup(owner.data, owner.length)) == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: an entry");
    mf_buffer_fini(&owner);
    return text;
}

int crontab_entry(const struct install *install, struct mf_buffer *line, struct mf_error *error)
{
    size_t start = line->length;
    if (check_path(install->program, error) < 0 || check_path(install->state_folder, error) < 0 ||
        check_path(install->cache_home, error) < 0)
        return -1;
    char *owner = owner_of(install, error);
    if (owner == NULL)
        return -1;
    int rc = mf_buffer_append_text(line, "* * * * * ", error);
    if (rc == 0)
        rc = append_command(install, line, error);
    size_t length = line->length - start;
    if (rc == 0)
        rc = mf_buffer_append_text(line, BEFORE_MARK, error);
    if (rc == 0) /* the line may move while the mark is appended: its checksum is made first */
        rc = mark_append(line, mf_bytes_of(line->data + start, length), owner, error);
    if (rc == 0)
        rc = mf_buffer_append_text(line, "\n", error);
    mf_free(owner);
    if (rc == 0 && line->length - start > LINE_MAX_OF_CRON)
        return mf_raise(error,
                        MF_ESETUP,
                        "the paths of this entry are too long for a crontab (%zu of %u bytes): use "
                        "--scheduler=systemd, or shorter ones",
                        line->length - start,
                        LINE_MAX_OF_CRON);
    return rc;
}

/* Whose a line is: what follows the last " # " is looked at, but for blanks at the end. */
static enum mark_state state_of(struct mf_bytes line, const char *owner)
{
    static const char word[] = BEFORE_MARK MARK_WORD;
    size_t length = sizeof word - 1;
    while (line.length > 0 && strchr(" \t\r", line.data[line.length - 1]) != NULL &&
           line.data[line.length - 1] != '\0')
        line.length--;
    for (size_t at = line.length; at-- > 0;) {
        if (line.length - at < length || memcmp(line.data + at, word, length) != 0)
            continue;
        size_t mark = at + sizeof BEFORE_MARK - 1;
        return mark_look(
            mf_bytes_of(line.data + mark, line.length - mark), mf_bytes_of(line.data, at), owner);
    }
    return MARK_NONE;
}

static void look_at(struct crontab_look *look, struct mf_bytes line, enum mark_state state)
{
    if (state == MARK_NONE)
        return;
    if (look->ours == 0 || (state == MARK_EDITED && look->edited == 0))
        look->first = line;
    look->ours++;
    look->edited += state == MARK_EDITED ? 1 : 0;
}

int crontab_look(const struct install *install,
                 struct mf_bytes text,
                 struct crontab_look *look,
                 struct mf_error *error)
{
    struct mf_buffer wanted = {0};
    struct mf_bytes line;
    *look =
        (struct crontab_look){.has_end = text.length == 0 || text.data[text.length - 1] == '\n'};
    char *owner = owner_of(install, error);
    if (owner == NULL)
        return -1;
    for (size_t at = 0; next_line(text, &at, &line);)
        look_at(look, line, state_of(line, owner));
    mf_free(owner);
    int rc = look->ours == 0 ? 0 : crontab_entry(install, &wanted, error);
    if (rc == 0 && look->ours == 1 && look->edited == 0)
        look->is_current = mf_bytes_equal(look->first, mf_bytes_of(wanted.data, wanted.length - 1));
    mf_buffer_fini(&wanted);
    return rc;
}

int crontab_without(const struct install *install,
                    struct mf_bytes text,
                    struct mf_buffer *out,
                    struct mf_error *error)
{
    struct mf_bytes line;
    int rc = 0;
    char *owner = owner_of(install, error);
    if (owner == NULL)
        return -1;
    for (size_t at = 0; rc == 0 && next_line(text, &at, &line);)
        if (state_of(line, owner) == MARK_NONE &&
            ((rc = mf_buffer_append(out, line.data, line.length, error)) == 0))
            rc = mf_buffer_append_text(out, "\n", error);
    mf_free(owner);
    return rc;
}
