/* SPDX-License-Identifier: Apache-2.0 */
/* The entry each minute: see install.h. Chooses the kind. */
#include "master/install/install.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/process.h"
#include "master/install/crontab.h"
#include "master/install/kinds.h"

static int check_path(const char *what, const char *path, struct mf_error *error)
{
    for (const char *p = path; p != NULL && *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return mf_raise(error,
                            MF_ESETUP,
                            "%s has a control character in its path, which no entry of a "
                            "scheduler can hold: use another place",
                            what);
    return 0;
}

static int find_folders(struct install *install, const char *state_folder, struct mf_error *error)
{
    const char *slash = strrchr(state_folder, '/'), *cache = getenv("XDG_CACHE_HOME");
    bool has_cache = cache != NULL && cache[0] == '/';
    if (slash == NULL)
        return mf_raise(error, MF_ESETUP, "%s is no absolute path", state_folder);
    install->state_folder = mf_strdup(state_folder);
    install->state_home = mf_memdup(state_folder, (size_t)(slash - state_folder));
    if (has_cache)
        install->cache_home = mf_strdup(cache);
    if (install->state_folder == NULL || install->state_home == NULL ||
        (has_cache && install->cache_home == NULL))
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    return 0;
}

int install_here(struct install *install, const char *state_folder, struct mf_error *error)
{
    *install = (struct install){0};
    if ((install->program = mf_process_program(error)) == NULL ||
        find_folders(install, state_folder, error) < 0 ||
        check_path("mayfly", install->program, error) < 0 ||
        check_path("XDG_STATE_HOME", install->state_folder, error) < 0)
        return -1;
    return check_path("XDG_CACHE_HOME", install->cache_home, error);
}

void install_here_fini(struct install *install)
{
    mf_free(install->program);
    mf_free(install->state_home);
    mf_free(install->state_folder);
    mf_free(install->cache_home);
    *install = (struct install){0};
}

void install_report_fini(struct install_report *report)
{
    mf_buffer_fini(&report->text);
}

int install_say(struct install_report *report, struct mf_error *error, const char *format, ...)
{
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return mf_buffer_printf(&report->text, error, "%s\n", line);
}

/* A crontab that cannot be read has no entry of ours. */
static int find_in_crontab(const struct install *install, struct mf_error *error)
{
    char why[WHY_SIZE];
    int rc = cron_is_usable(why, error);
    return rc == 1 ? cron_find(install, error) : rc;
}

int install_find(const struct install *install, enum install_kind *kind, struct mf_error *error)
{
    *kind = INSTALL_AUTO;
    int rc = find_in_crontab(install, error);
    if (rc == 1)
        *kind = INSTALL_CRON;
    else if (rc == 0 && (rc = systemd_find(install, error)) == 1)
        *kind = INSTALL_SYSTEMD;
    return rc < 0 ? -1 : 0;
}

/* Which of the two, where there is no entry yet. */
static int choose(enum install_kind *kind, struct install_report *report, struct mf_error *error)
{
    char no_cron[WHY_SIZE], no_systemd[WHY_SIZE];
    int cron = cron_is_usable(no_cron, error);
    int systemd = cron < 0 ? -1 : systemd_is_usable(no_systemd, error);
    if (systemd < 0)
        return -1;
    if (cron == 0 && systemd == 0)
        return mf_raise(error,
                        MF_ESETUP,
                        "nothing on this machine can start what is due. %s. systemctl --user: %s. "
                        "Mend one of them, or let mayfly trigger watch run",
                        no_cron,
                        no_systemd);
    if (cron == 1 && (systemd == 0 || cron_is_running())) {
        *kind = INSTALL_CRON;
        return install_say(report,
                           error,
                           "the entry goes into your crontab, which also works while you are not "
                           "logged in (--scheduler=systemd: a timer of your systemd instead)");
    }
    *kind = INSTALL_SYSTEMD;
    return install_say(
        report,
        error,
        "the entry is a timer of your systemd: %s",
        cron == 1 ? "no cron daemon can be seen (--scheduler=cron: the crontab instead)" : no_cron);
}

/* Two entries do no harm, but nobody wants them. */
static int say_other(const struct install *install,
                     enum install_kind kind,
                     struct install_report *report,
                     struct mf_error *error)
{
    bool is_cron = kind == INSTALL_CRON;
    int rc = is_cron ? systemd_find(install, error) : find_in_crontab(install, error);
    if (rc != 1)
        return rc;
    return install_say(report,
                       error,
                       "there is an entry %s, too: one of them is enough (mayfly trigger remove "
                       "removes both)",
                       is_cron ? "of your systemd" : "in your crontab");
}

int install_tick(const struct install *install,
                 struct install_report *report,
                 struct mf_error *error)
{
    enum install_kind kind = install->kind;
    if (kind == INSTALL_AUTO && install_find(install, &kind, error) < 0)
        return -1;
    if (kind == INSTALL_AUTO && choose(&kind, report, error) < 0)
        return -1;
    int rc = kind == INSTALL_CRON ? cron_install(install, report, error)
                                  : systemd_install(install, report, error);
    return rc < 0 ? -1 : say_other(install, kind, report, error);
}

int install_remove(const struct install *install,
                   struct install_report *report,
                   struct mf_error *error)
{
    if (install->kind == INSTALL_SYSTEMD)
        return systemd_remove(install, report, error);
    if (install->kind == INSTALL_CRON)
        return cron_remove(install, report, error);
    int found = find_in_crontab(install, error);
    if (found < 0 || (found == 1 && cron_remove(install, report, error) < 0))
        return -1;
    return systemd_remove(install, report, error);
}

int install_print(const struct install *install, FILE *out, struct mf_error *error)
{
    if (install->kind == INSTALL_SYSTEMD)
        return systemd_print(install, out, error);
    struct mf_buffer line = {0};
    int rc = crontab_entry(install, &line, error);
    if (rc == 0)
        fwrite(line.data, 1, line.length, out);
    mf_buffer_fini(&line);
    return rc;
}
