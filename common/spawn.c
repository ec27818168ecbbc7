/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a program: see spawn.h. */
#include "common/spawn.h"

#include <signal.h>

int mf_spawn(char *const *argv,
             char *const *env,
             const posix_spawn_file_actions_t *actions,
             short flags,
             pid_t *pid)
{
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes,
                             (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | flags));
    int rc = posix_spawnp(pid, argv[0], actions, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
    return rc;
}
