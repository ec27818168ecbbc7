/* SPDX-License-Identifier: Apache-2.0 */
/* The entry that runs ticks: see trigger_entry.h. */
#include "master/commands/trigger_entry.h"

#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "master/command.h"
#include "master/run_folder.h"

/* Lines, each as a message of this program. */
static void say(struct mf_buffer *text)
{
    char *line = text->length == 0 ? NULL : (char *)mf_buffer_text(text);
    for (char *save = NULL, *p = line == NULL ? NULL : strtok_r(line, "\n", &save); p != NULL;
         p = strtok_r(NULL, "\n", &save))
        fprintf(stderr, "mayfly: %s\n", p);
}

/* Calls `what` for this program and its state folder. */
static int with_install(enum install_kind kind,
                        int (*what)(const struct install *install,
                                    struct install_report *report,
                                    struct mf_error *error),
                        struct mf_error *error)
{
    struct install install = {0};
    struct install_report report = {0};
    char *state = state_folder(error);
    int rc = state == NULL ? -1 : install_here(&install, state, error);
    if (rc == 0) {
        install.kind = kind;
        rc = what(&install, &report, error);
        say(&report.text);
    }
    install_here_fini(&install);
    install_report_fini(&report);
    mf_free(state);
    return rc;
}

int trigger_entry_make(enum install_kind kind, struct mf_error *error)
{
    return with_install(kind, install_tick, error);
}

int trigger_entry_remove(void)
{
    struct mf_error error;
    return with_install(INSTALL_AUTO, install_remove, &error) < 0 ? command_fail(&error) : 0;
}

static int
print(const struct install *install, struct install_report *report, struct mf_error *error)
{
    (void)report;
    return install_print(install, stdout, error);
}

int trigger_entry_print(enum install_kind kind)
{
    struct mf_error error;
    return with_install(kind, print, &error) < 0 ? command_fail(&error) : 0;
}
