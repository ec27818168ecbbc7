/* SPDX-License-Identifier: Apache-2.0 */
/* The entry that runs ticks: see trigger_entry.h. */
#include "master/commands/trigger_entry.h"

#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "master/command.h"
#include "master/run_folder.h"

/* For this program and this state folder. install_here_fini in any case. */
static int find_here(struct install *install, enum install_kind kind, struct mf_error *error)
{
    *install = (struct install){0};
    char *folder = state_folder(error);
    int rc = folder == NULL ? -1 : install_here(install, folder, error);
    install->kind = kind;
    mf_free(folder);
    return rc;
}

/* A line of standard error each. */
static void say(struct install_report *report)
{
    char *rest = (char *)mf_buffer_text(&report->text), *line;
    while (rest != NULL && (line = strsep(&rest, "\n")) != NULL)
        if (line[0] != '\0')
            fprintf(stderr, "mayfly: %s\n", line);
    install_report_fini(report);
}

int trigger_entry_make(enum install_kind kind, struct mf_error *error)
{
    struct install install;
    struct install_report report = {0};
    int rc = find_here(&install, kind, error);
    if (rc == 0)
        rc = install_tick(&install, &report, error);
    install_here_fini(&install);
    say(&report);
    return rc;
}

int trigger_entry_remove(void)
{
    struct install install;
    struct install_report report = {0};
    struct mf_error error;
    int rc = find_here(&install, INSTALL_AUTO, &error);
    if (rc == 0)
        rc = install_remove(&install, &report, &error);
    install_here_fini(&install);
    say(&report);
    return rc < 0 ? command_fail(&error) : 0;
}

int trigger_entry_print(enum install_kind kind)
{
    struct install install;
    struct mf_error error;
    int rc = find_here(&install, kind, &error);
    if (rc == 0)
        rc = install_print(&install, stdout, &error);
    install_here_fini(&install);
    return rc < 0 ? command_fail(&error) : 0;
}
