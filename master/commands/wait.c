/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a master: see wait.h. Its lock is the one thing that also tells of a killed one, and
 * can only be asked for again and again. */
#include "master/commands/wait.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "common/clock.h"
#include "master/control.h"
#include "master/run_folder.h"

#define SAY_US 1000000

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

int wait_connect(const char *folder, struct mf_error *error)
{
    int64_t say_us = mf_monotonic_us() + SAY_US;
    for (;;) {
        bool is_live = run_folder_is_live(folder); /* before: what ends now has ended */
        int fd = control_connect(folder, error);
        if (fd >= 0 || !is_live)
            return fd;
        if (mf_monotonic_us() >= say_us) {
            fprintf(stderr, "mayfly: the run's master does not listen yet: waiting for it\n");
            say_us = MF_NEVER;
        }
        pause_a_little();
    }
}

void wait_end(const char *folder)
{
    while (run_folder_is_live(folder))
        pause_a_little();
}
