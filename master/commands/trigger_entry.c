/* SPDX-License-Identifier: Apache-2.0 */
/* The entry that runs ticks: see trigger_entry.h. */
#include "master/commands/trigger_entry.h"

#include <stdio.h>

int trigger_entry_make(enum install_kind kind, struct mf_error *error)
{
    (void)kind;
    (void)error;
    fputs("mayfly: have `mayfly trigger tick` run each minute, by crontab or a timer\n", stderr);
    return 0;
}

int trigger_entry_remove(void)
{
    return 0;
}

int trigger_entry_print(enum install_kind kind)
{
    (void)kind;
    return puts("* * * * * mayfly trigger tick") < 0 ? 3 : 0;
}
