/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the job that the master itself runs: see spawn.h. */
#include "master/spawn.h"

#include <fcntl.h>

#include "common/spawn.h"

static void redirect(posix_spawn_file_actions_t *actions, int to, int stream)
{
    if (to >= 0)
        posix_spawn_file_actions_adddup2(actions, to, stream);
    else
        posix_spawn_file_actions_addopen(actions, stream, "/dev/null", O_WRONLY, 0);
}

int spawn_in_group_with(
    char *const *argv, char *const *env, const char *folder, int in, int out, int err, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (in >= 0)
        posix_spawn_file_actions_adddup2(&actions, in, 0);
    else
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    redirect(&actions, out, 1);
    redirect(&actions, err, 2);
    posix_spawn_file_actions_addchdir_np(&actions, folder);
    int rc = mf_spawn(argv, env, &actions, POSIX_SPAWN_SETPGROUP, pid);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

int spawn_in_group(
    char *const *argv, char *const *env, const char *folder, int out, int err, pid_t *pid)
{
    return spawn_in_group_with(argv, env, folder, -1, out, err, pid);
}
