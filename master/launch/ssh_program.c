/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's program: see ssh_program.h. It was built with this one, so it runs where this runs.
 */
#include "master/launch/ssh_program.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

int ssh_program_open(struct ssh_program *program, const char *path, struct mf_error *error)
{
    struct stat st;
    struct utsname name;
    unsigned char digest[MF_SHA256_SIZE];
    *program = (struct ssh_program){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        mf_raise_errno(
            error, "the worker's program %s cannot be read (install it beside mayfly)", path);
        goto fail;
    }
    if (mf_sha256_file(fd, path, digest, error) < 0)
        goto fail;
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        mf_raise_errno(error, "the worker's program %s cannot be mapped", path);
        goto fail;
    }
    close(fd);
    program->bytes = mf_bytes_of(data, (size_t)st.st_size);
    mf_sha256_text(digest, program->sha256);
    uname(&name);
    snprintf(program->machine, sizeof program->machine, "%s", name.machine);
    return 0;
fail:
    if (fd >= 0)
        close(fd);
    return -1;
}

void ssh_program_close(struct ssh_program *program)
{
    if (program->bytes.data != NULL)
        munmap((void *)(uintptr_t)program->bytes.data, program->bytes.length);
    *program = (struct ssh_program){0};
}
