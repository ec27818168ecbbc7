/* SPDX-License-Identifier: Apache-2.0 */
/* Where a new master listens: see readdress.h. The file is in place whole or not at all. */
#include "worker/readdress.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/write.h"
#include "worker/place.h"

#define TEXT_MAX (64u << 10)

/* Into the folder, if it is there and ours: 1; 0; -1 with errno. */
static int leave(const char *folder, const char *text, size_t length)
{
    struct stat facts;
    if (lstat(folder, &facts) < 0 || !S_ISDIR(facts.st_mode) || facts.st_uid != geteuid())
        return 0;
    char *path = mf_format("%s/addresses", folder);
    char *temporary = mf_format("%s/addresses.new", folder);
    int rc = -1, fd = -1;
    if (path != NULL && temporary != NULL)
        fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && mf_write_all(fd, mf_bytes_of(text, length)) == 0 && rename(temporary, path) == 0)
        rc = 1;
    if (fd >= 0)
        close(fd);
    mf_free(path);
    mf_free(temporary);
    return rc;
}

static size_t read_text(char *text)
{
    size_t length = 0;
    ssize_t n;
    while (length < TEXT_MAX && (n = read(0, text + length, TEXT_MAX - length)) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        length += n > 0 ? (size_t)n : 0;
    }
    return length;
}

static bool is_name(const char *text)
{
    return text[0] != '\0' && text[0] != '.' && strchr(text, '/') == NULL;
}

int readdress_main(int argc, char **argv)
{
    static char text[TEXT_MAX];
    if (argc != 4 || !is_name(argv[2]) || argv[3][0] == '\0' ||
        argv[3][strspn(argv[3], "0123456789")] != '\0') {
        fprintf(stderr, "usage: mayfly-worker readdress RUN WORKER <ADDRESSES\n");
        return 2;
    }
    size_t length = read_text(text);
    unsigned count = 0, left = 0;
    char **places = place_candidates(&count);
    for (unsigned i = 0; places != NULL && i < count; i++) {
        char *folder = mf_format("%s/runs/%s/%s", places[i], argv[2], argv[3]);
        int rc = folder == NULL ? -1 : leave(folder, text, length);
        if (rc < 0)
            fprintf(stderr, "mayfly-worker: cannot write to %s: %s\n", folder, strerror(errno));
        left += rc > 0;
        mf_free(folder);
    }
    if (places != NULL)
        place_candidates_free(places, count);
    if (left == 0)
        fprintf(stderr, "mayfly-worker: worker %s of run %s is not here\n", argv[3], argv[2]);
    return left == 0 ? 1 : 0;
}
