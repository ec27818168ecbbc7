/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entry each minute by itself: tick_entry install|remove|find|print auto|cron|systemd
 * STATE_FOLDER [PROGRAM]. Prints what is to be said of it; exit code 0, 10 when something was
 * changed, else as the command line has it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "master/install/install.h"

#define CHANGED 10

static enum install_kind kind_of(const char *name)
{
    static const char *const names[] = {"auto", "cron", "systemd"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    abort();
}

static int find(const struct install *install, struct mf_error *error)
{
    static const char *const names[] = {"none", "crontab", "systemd"};
    enum install_kind kind;
    if (install_find(install, &kind, error) < 0)
        return -1;
    puts(names[kind]);
    return 0;
}

static int act(const char *what,
               const struct install *install,
               struct install_report *report,
               struct mf_error *error)
{
    if (strcmp(what, "install") == 0)
        return install_tick(install, report, error);
    if (strcmp(what, "remove") == 0)
        return install_remove(install, report, error);
    if (strcmp(what, "print") == 0)
        return install_print(install, stdout, error);
    return find(install, error);
}

int main(int argc, char **argv)
{
    struct install install;
    struct install_report report = {0};
    struct mf_error error = {0};
    if (argc < 4)
        return 2;
    int rc = install_here(&install, argv[3], &error);
    install.kind = kind_of(argv[2]);
    if (argc > 4) {
        mf_free(install.program);
        install.program = mf_strdup(argv[4]);
    }
    if (rc == 0)
        rc = act(argv[1], &install, &report, &error);
    printf("%.*s", (int)report.text.length, (const char *)report.text.data);
    if (rc < 0)
        fprintf(stderr, "%s\n", error.text);
    int code = rc < 0 ? mf_error_exit_code(error.code) : report.has_changed ? CHANGED : 0;
    install_report_fini(&report);
    install_here_fini(&install);
    return code;
}
