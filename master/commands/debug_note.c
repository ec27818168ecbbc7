/* SPDX-License-Identifier: Apache-2.0 */
/* Notes of mayfly debug: see debug_note.h. */
#include "master/commands/debug_note.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/write.h"
#include "master/run_folder.h"

int debug_note_make(
    const char *folder, const char *name, const char *host, char **path, struct mf_error *error)
{
    char *notes = run_path(folder, DEBUG_NOTES);
    int fd = -1;
    *path = notes == NULL ? NULL : run_path(notes, name);
    if (*path == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
        mf_free(notes);
        return -1;
    }
    mkdir(notes, 0700);
    fd = open(*path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || mf_write_all(fd, mf_bytes_text(host)) < 0) {
        mf_raise_errno(error,
                       "cannot note in %s that a subtask is run, without which mayfly clean would "
                       "not find what is left if this is killed",
                       *path);
        if (fd >= 0)
            debug_note_remove(*path);
        if (fd >= 0)
            close(fd);
        mf_free(*path);
        *path = NULL;
        fd = -1;
    }
    mf_free(notes);
    return fd;
}

void debug_note_remove(const char *path)
{
    char *folder = mf_strdup(path), *slash = folder == NULL ? NULL : strrchr(folder, '/');
    unlink(path);
    if (slash != NULL) {
        *slash = '\0';
        rmdir(folder);
    }
    mf_free(folder);
}
