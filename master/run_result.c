/* SPDX-License-Identifier: Apache-2.0 */
/* Delivering the result: see run_result.h. The file `result` in the run folder is the original,
 * this is a copy. */
#include "master/run_result.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/run_folder.h"
#include "master/run_internal.h"

static int copy(int from, int to, const char *name, struct mf_error *error)
{
    static char data[1 << 16];
    for (;;) {
        ssize_t got = read(from, data, sizeof data);
        if (got == 0)
            return 0;
        if (got < 0)
            return mf_raise_errno(error, "cannot read the result");
        for (ssize_t n = 0; n < got;) {
            ssize_t written = write(to, data + n, (size_t)(got - n));
            if (written < 0 && errno != EINTR)
                return mf_raise_errno(error, "cannot write the result to %s", name);
            n += written > 0 ? written : 0;
        }
    }
}

static int copy_to_file(int from, const char *name, struct mf_error *error)
{
    char *temporary = mf_format("%s.new", name);
    if (temporary == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int rc = fd < 0 ? mf_raise_errno(error, "cannot make %s", temporary)
                    : copy(from, fd, temporary, error);
    if (fd >= 0 && close(fd) < 0 && rc == 0)
        rc = mf_raise_errno(error, "cannot write %s", temporary);
    if (rc == 0 && rename(temporary, name) < 0)
        rc = mf_raise_errno(error, "cannot rename %s to %s", temporary, name);
    if (rc < 0 && fd >= 0)
        unlink(temporary);
    mf_free(temporary);
    return rc;
}

int run_result_copy_file(const char *from, const char *to, struct mf_error *error)
{
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? mf_raise_errno(error, "cannot open %s", from) : copy_to_file(fd, to, error);
    if (fd >= 0)
        close(fd);
    return rc;
}

int run_result_copy(const char *folder, int fd, const char *name, struct mf_error *error)
{
    char *path = run_path(folder, "result");
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int rc =
        from >= 0
            ? copy(from, fd, name, error)
            : mf_raise(
                  error,
                  MF_EINPUT,
                  "there is no gathered result (%s): the run has not succeeded, or gathers nothing",
                  path);
    if (from >= 0)
        close(from);
    mf_free(path);
    return rc;
}

int run_result_deliver(struct run *run, struct mf_error *error)
{
    const struct run_options *options = run->options;
    bool has_result = (run->final_state == RUN_SUCCEEDED || run->final_state == RUN_PARTIAL) &&
                      run->job->gather != GATHER_NONE && run->failure.code == MF_OK;
    int rc = 0;
    if (has_result && (options->output != NULL || (!options->json && !options->detached))) {
        char *path = run_path(run->folder, "result");
        int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            rc = mf_raise_errno(error, "cannot open the result");
        else
            rc = options->output != NULL ? copy_to_file(fd, options->output, error)
                                         : copy(fd, 1, "standard output", error);
        if (fd >= 0)
            close(fd);
        mf_free(path);
    }
    return rc;
}

int run_result_summary(const struct run *run, const json_t *summary, struct mf_error *error)
{
    const struct run_options *options = run->options;
    if (options->json && !options->detached &&
        (summary == NULL || json_dumpf(summary, stdout, JSON_INDENT(2)) < 0 ||
         putchar('\n') == EOF || fflush(stdout) != 0))
        return mf_raise(error, MF_ESYSTEM, "cannot write the summary to standard output");
    return 0;
}
