/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of queues.db: see stir.h. */
#include "master/watch/stir.h"

#include <sys/inotify.h>
#include <unistd.h>

int stir_open(struct mf_error *error)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return fd < 0 ? mf_raise_errno(error,
                                   "cannot watch queues.db (fs.inotify.max_user_instances is how "
                                   "many watchers a user may have)")
                  : fd;
}

int stir_arm(int fd, const char *folder, struct mf_error *error)
{
    if (inotify_add_watch(fd, folder, IN_MODIFY | IN_ONLYDIR | IN_ONESHOT) < 0)
        return mf_raise_errno(error, "cannot watch the folder %s", folder);
    return 0;
}

void stir_take(int fd)
{
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    while (read(fd, buffer, sizeof buffer) > 0)
        ;
}
