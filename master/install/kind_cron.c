/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's crontab, by the program crontab alone: it knows who may, and tells the daemon. There
 * is no lock on crontabs: between reading and writing somebody else may write, so it is read again
 * afterwards.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/process.h"
#include "master/install/crontab.h"
#include "master/install/kinds.h"
#include "master/install/program.h"

#define PID_FILE "/run/crond.pid"

static int raise_absent(struct mf_error *error)
{
    return mf_raise(error,
                    MF_ESETUP,
                    "there is no program crontab on this machine: install the package cron, or use "
                    "--scheduler=systemd");
}

static bool has_said(const struct program_end *end, const char *words)
{
    return memmem(end->err.data, end->err.length, words, strlen(words)) != NULL;
}

static int raise_refused(const struct program_end *end, const char *what, struct mf_error *error)
{
    char said[PROGRAM_SAID_SIZE];
    program_said(end, said);
    if (has_said(end, "not allowed"))
        return mf_raise(
            error,
            MF_ESETUP,
            "crontab does not let you in (\"%s\"): have your name put into "
            "/etc/cron.allow, or taken out of /etc/cron.deny, or use --scheduler=systemd",
            said);
    return mf_raise(error,
                    MF_ESETUP,
                    "crontab failed to %s (exit code %d): \"%s\"; nothing was changed",
                    what,
                    end->code,
                    said);
}

/*
 * Debian's crontab -l shows a carriage return as \r (and a backspace as \b), so what it shows is
 * not always what is there. An editor gets the very bytes: one that prints them and changes
 * nothing.
 */
static int read_bytes(struct mf_buffer *text, struct mf_error *error)
{
    static const char *const argv[] = {"env", "VISUAL=cat", "EDITOR=cat", "crontab", "-e", NULL};
    struct program_end end = {0};
    int rc = program_run(argv, mf_bytes_of(NULL, 0), &end, error);
    if (rc == 1)
        rc = raise_absent(error);
    else if (rc == 0 && end.code != 0)
        rc = raise_refused(&end, "hand out the bytes of your entries (crontab -e)", error);
    else if (rc == 0)
        rc = mf_buffer_append(text, end.out.data, end.out.length, error);
    program_end_fini(&end);
    return rc;
}

/* The whole crontab; empty when there is none. */
static int read_table(struct mf_buffer *text, struct mf_error *error)
{
    static const char *const argv[] = {"crontab", "-l", NULL};
    struct program_end end = {0};
    int rc = program_run(argv, mf_bytes_of(NULL, 0), &end, error);
    if (rc == 1)
        rc = raise_absent(error);
    else if (rc == 0 && end.code != 0 && !has_said(&end, "no crontab for"))
        rc = raise_refused(&end, "list your entries", error);
    else if (rc == 0 && end.code == 0 && memchr(end.out.data, '\\', end.out.length) != NULL)
        rc = read_bytes(text, error);
    else if (rc == 0 && end.code == 0)
        rc = mf_buffer_append(text, end.out.data, end.out.length, error);
    program_end_fini(&end);
    return rc;
}

/* An empty one is removed. */
static int write_table(struct mf_bytes text, struct mf_error *error)
{
    static const char *const write_it[] = {"crontab", "-", NULL};
    static const char *const remove_it[] = {"crontab", "-r", NULL};
    struct program_end end = {0};
    int rc = program_run(text.length > 0 ? write_it : remove_it, text, &end, error);
    if (rc == 1)
        rc = raise_absent(error);
    else if (rc == 0 && end.code != 0)
        rc = raise_refused(&end, "take the new entries", error);
    program_end_fini(&end);
    return rc;
}

/* Writes, and reads again. */
static int replace(struct mf_bytes text, struct mf_error *error)
{
    struct mf_buffer again = {0};
    int rc = write_table(text, error);
    if (rc == 0)
        rc = read_table(&again, error);
    if (rc == 0 && !mf_bytes_equal(text, mf_buffer_view(&again)))
        rc = mf_raise(error,
                      MF_ESETUP,
                      "the crontab is not what was just written: somebody else changes it, too; "
                      "look at crontab -l, and try again");
    mf_buffer_fini(&again);
    return rc;
}

bool cron_is_running(void)
{
    char text[32] = "";
    struct mf_buffer comm = {0};
    FILE *file = fopen(PID_FILE, "re");
    if (file == NULL)
        return false;
    bool has_line = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    long pid = has_line ? strtol(text, NULL, 10) : 0;
    bool is_cron = pid > 0 && mf_process_read((pid_t)pid, "comm", &comm) == 0 && comm.length >= 4 &&
                   memcmp(comm.data, "cron", 4) == 0;
    mf_buffer_fini(&comm);
    return is_cron;
}

int cron_is_usable(char why[WHY_SIZE], struct mf_error *error)
{
    struct mf_buffer text = {0};
    struct mf_error found = {0};
    int rc = read_table(&text, &found);
    mf_buffer_fini(&text);
    why[0] = '\0';
    if (rc == 0)
        return 1;
    if (found.code != MF_ESETUP) {
        if (error != NULL)
            *error = found;
        return -1;
    }
    snprintf(why, WHY_SIZE, "%.*s", WHY_SIZE - 1, found.text);
    return 0;
}

int cron_find(const struct install *install, struct mf_error *error)
{
    struct mf_buffer text = {0};
    struct crontab_look look = {0};
    int rc = read_table(&text, error);
    if (rc == 0)
        rc = crontab_look(install, mf_buffer_view(&text), &look, error);
    mf_buffer_fini(&text);
    return rc < 0 ? -1 : look.ours > 0;
}

static int say_edited(const struct crontab_look *look,
                      const char *end,
                      struct install_report *report,
                      struct mf_error *error)
{
    bool is_off = look->first.data[0] == '#';
    return install_say(report,
                       error,
                       "the entry in your crontab was %s by hand%s: %.*s",
                       is_off ? "switched off" : "edited",
                       end,
                       (int)look->first.length,
                       (const char *)look->first.data);
}

static int
say_end(const struct crontab_look *look, struct install_report *report, struct mf_error *error)
{
    if (look->has_end)
        return 0;
    return install_say(report,
                       error,
                       "the last line of your crontab had no line end, which crontab refuses: it "
                       "was added");
}

/* Calls `change` with what the crontab holds now. */
static int with_table(const struct install *install,
                      int (*change)(const struct install *install,
                                    struct mf_bytes text,
                                    struct install_report *report,
                                    struct mf_error *error),
                      struct install_report *report,
                      struct mf_error *error)
{
    struct mf_buffer text = {0};
    report->kind = INSTALL_CRON;
    int rc = read_table(&text, error);
    if (rc == 0)
        rc = change(install, mf_buffer_view(&text), report, error);
    mf_buffer_fini(&text);
    return rc;
}

/* The entry, then all that is foreign. */
static int put_entry(const struct install *install,
                     struct mf_bytes text,
                     struct install_report *report,
                     struct mf_error *error)
{
    struct mf_buffer out = {0};
    int rc = crontab_entry(install, &out, error);
    if (rc == 0)
        rc = crontab_without(install, text, &out, error);
    if (rc == 0)
        rc = replace(mf_buffer_view(&out), error);
    mf_buffer_fini(&out);
    if (rc == 0)
        report->has_changed = true;
    return rc;
}

static int install_in(const struct install *install,
                      struct mf_bytes text,
                      struct install_report *report,
                      struct mf_error *error)
{
    struct crontab_look look;
    if (crontab_look(install, text, &look, error) < 0)
        return -1;
    if (look.edited > 0)
        return say_edited(&look,
                          " and is left as it is (to have it anew: mayfly trigger remove, then "
                          "install)",
                          report,
                          error);
    if (look.is_current)
        return 0;
    return put_entry(install, text, report, error) < 0 ? -1 : say_end(&look, report, error);
}

int cron_install(const struct install *install,
                 struct install_report *report,
                 struct mf_error *error)
{
    int rc = with_table(install, install_in, report, error);
    if (rc == 0 && !cron_is_running())
        rc = install_say(report,
                         error,
                         "no cron daemon can be seen (%s): nothing will be started until one runs "
                         "(systemctl start cron)",
                         PID_FILE);
    return rc;
}

static int remove_from(const struct install *install,
                       struct mf_bytes text,
                       struct install_report *report,
                       struct mf_error *error)
{
    struct mf_buffer out = {0};
    struct crontab_look look;
    if (crontab_look(install, text, &look, error) < 0)
        return -1;
    if (look.ours == 0)
        return 0;
    int rc = crontab_without(install, text, &out, error);
    if (rc == 0)
        rc = replace(mf_buffer_view(&out), error);
    mf_buffer_fini(&out);
    if (rc < 0)
        return -1;
    report->has_changed = true;
    if (look.edited > 0 && say_edited(&look, "; it is removed now", report, error) < 0)
        return -1;
    return say_end(&look, report, error);
}

int cron_remove(const struct install *install,
                struct install_report *report,
                struct mf_error *error)
{
    return with_table(install, remove_from, report, error);
}
