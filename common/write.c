/* SPDX-License-Identifier: Apache-2.0 */
/* Writing all of it: see write.h. */
#include "common/write.h"

#include <errno.h>
#include <unistd.h>

int mf_write_all(int fd, struct mf_bytes data)
{
    while (data.length > 0) {
        ssize_t n = write(fd, data.data, data.length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data.data += n;
        data.length -= (size_t)n;
    }
    return 0;
}

int mf_pwrite_all(int fd, struct mf_bytes data, uint64_t at)
{
    while (data.length > 0) {
        ssize_t n = pwrite(fd, data.data, data.length, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data.data += n;
        data.length -= (size_t)n;
        at += (uint64_t)n;
    }
    return 0;
}
