/* SPDX-License-Identifier: Apache-2.0 */
/* The state folder: see state_folder.h. A power cut takes no folder that something was put into. */
#include "master/record/state_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "master/record/tree.h"

char *state_folder(struct mf_error *error)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *path;
    if (state != NULL && state[0] == '/') {
        path = mf_format("%s/mayfly", state);
    } else if (home != NULL && home[0] == '/') {
        path = mf_format("%s/.local/state/mayfly", home);
    } else {
        mf_raise(error,
                 MF_ESETUP,
                 "there is no place for runs: neither XDG_STATE_HOME nor HOME is an absolute path; "
                 "set one of them");
        return NULL;
    }
    if (path == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    return path;
}

static int make_one(const char *path, struct mf_error *error)
{
    int rc = mkdir(path, 0700);
    if (rc == 0)
        return tree_sync_parent(path, error);
    if (errno == EEXIST)
        return 0;
    mf_raise_errno(error,
                   "cannot make the folder %s for runs (set XDG_STATE_HOME to a place that is "
                   "writable)",
                   path);
    if (error != NULL)
        error->code = MF_ESETUP;
    return -1;
}

int state_folder_make(const char *path, struct mf_error *error)
{
    char *copy = mf_strdup(path);
    if (copy == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int rc = 0;
    for (char *slash = strchr(copy + 1, '/'); rc == 0 && slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = make_one(copy, error);
        *slash = '/';
    }
    if (rc == 0)
        rc = make_one(copy, error);
    mf_free(copy);
    return rc;
}
