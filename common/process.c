/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says of a process: see process.h. Its files have no size: they are read to their end.
 */
#include "common/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"

#define STEP 4096

int mf_process_read(pid_t pid, const char *name, struct mf_buffer *out)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    mf_buffer_clear(out);
    while (n > 0 && mf_buffer_reserve(out, STEP, NULL) == 0) {
        n = read(fd, out->data + out->length, STEP);
        out->length += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    return n == 0 && mf_buffer_text(out) != NULL ? 0 : -1;
}

bool mf_process_has(const struct mf_buffer *strings, const char *wanted)
{
    const char *at = (const char *)strings->data, *end = at + strings->length;
    for (; at < end; at += strlen(at) + 1)
        if (strcmp(at, wanted) == 0)
            return true;
    return false;
}

char *mf_process_program(struct mf_error *error)
{
    static const char replaced[] = " (deleted)"; /* is what the kernel adds */
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0) {
        mf_raise_errno(error, "cannot find this program's own file");
        return NULL;
    }
    size_t n = (size_t)length, suffix = sizeof replaced - 1;
    if (n > suffix && memcmp(path + n - suffix, replaced, suffix) == 0)
        n -= suffix;
    char *copy = mf_memdup(path, n);
    if (copy == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
    return copy;
}
