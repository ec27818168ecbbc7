/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the job that the master itself runs: see spawn.h. */
#include "master/spawn.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/spawn.h"

#define OWN 3u /* variables that all have */

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

void spawn_environment_free(char **environment)
{
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++)
        mf_free(environment[i]);
    mf_free(environment);
}

char **spawn_environment(char *const *more, size_t count)
{
    const char *home = getenv("HOME");
    char **environment = mf_calloc(OWN + count + 1, sizeof *environment);
    bool has_all = environment != NULL;
    char *const own[OWN] = {mf_strdup("PATH=/usr/local/bin:/usr/bin:/bin"),
                            mf_strdup("LANG=C.UTF-8"),
                            mf_format("HOME=%s", home == NULL ? "/" : home)};
    size_t n = 0;
    for (size_t i = 0; i < OWN + count; i++) {
        char *variable = i < OWN ? own[i] : more[i - OWN];
        has_all = has_all && variable != NULL;
        if (environment == NULL)
            mf_free(variable);
        else if (variable != NULL)
            environment[n++] = variable;
    }
    if (has_all)
        return environment;
    spawn_environment_free(environment);
    return NULL;
}
