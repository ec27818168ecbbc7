/* SPDX-License-Identifier: Apache-2.0 */
/* The log of ticks: see tick_log.h. */
#include "master/commands/tick_log.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/run_folder.h"

#define SIZE_MAX_OF_LOG (1024 * 1024)

/* Its path (heap) when standard error is it; *size. NULL when not. */
static char *own_log(off_t *size)
{
    struct stat err, file;
    char *folder = state_folder(NULL);
    char *path = folder == NULL ? NULL : mf_format("%s/tick.log", folder);
    mf_free(folder);
    bool is_own = path != NULL && fstat(2, &err) == 0 && stat(path, &file) == 0 &&
                  err.st_dev == file.st_dev && err.st_ino == file.st_ino;
    if (is_own) {
        *size = file.st_size;
        return path;
    }
    mf_free(path);
    return NULL;
}

void tick_log_turn(void)
{
    off_t size;
    char *path = own_log(&size);
    char *old = path == NULL ? NULL : mf_format("%s.old", path);
    if (old != NULL && size > SIZE_MAX_OF_LOG)
        rename(path, old); /* if it cannot be done now, the next tick tries it again */
    mf_free(old);
    mf_free(path);
}

void tick_log_stamp(void)
{
    off_t size;
    char stamp[MF_STAMP_SIZE];
    char *path = own_log(&size);
    if (path != NULL)
        fprintf(stderr, "%s ", mf_stamp(mf_wall_us(), stamp));
    mf_free(path);
}
