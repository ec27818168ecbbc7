/* SPDX-License-Identifier: Apache-2.0 */
/* Where a trigger's masters find themselves: the job file as it was installed, and the environment.
 * See row.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/checksum.h"
#include "master/job/job.h"
#include "master/trigger/row.h"
#include "master/trigger/settings.h"

/* What a command line has and a cron job has not; a star = all that begin so. No value of a user's
 * own is among them, so that no secret gets into queues.db. */
static const char *const names[] = {"PATH",
                                    "HOME",
                                    "USER",
                                    "LOGNAME",
                                    "SHELL",
                                    "LANG",
                                    "LC_*",
                                    "TZ",
                                    "TMPDIR",
                                    "XDG_STATE_HOME",
                                    "XDG_CACHE_HOME",
                                    "XDG_CONFIG_HOME",
                                    "XDG_DATA_HOME",
                                    /* for tests: of crash.h and journal.h, of sanitizers */
                                    "MAYFLY_CRASH",
                                    "MAYFLY_JOURNAL",
                                    "ASAN_OPTIONS",
                                    "UBSAN_OPTIONS"};

static bool is_kept(const char *variable)
{
    size_t length = strcspn(variable, "=");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        bool is_start = names[i][n - 1] == '*';
        if (is_start ? length >= n - 1 && memcmp(variable, names[i], n - 1) == 0
                     : length == n && memcmp(variable, names[i], n) == 0)
            return strchr(variable, '\n') == NULL;
    }
    return false;
}

char *trigger_environment(struct mf_error *error)
{
    struct mf_buffer text = {0};
    char *copy = NULL;
    int rc = 0;
    for (char **variable = environ; rc == 0 && *variable != NULL; variable++)
        if (is_kept(*variable))
            rc = mf_buffer_printf(&text, error, "%s\n", *variable);
    if (rc == 0 && (copy = mf_memdup(text.data, text.length)) == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: the environment of a trigger");
    mf_buffer_fini(&text);
    return copy;
}

char *trigger_file_sum(const char *path, struct mf_error *error)
{
    unsigned char digest[MF_SHA256_SIZE];
    char text[MF_SHA256_TEXT], *copy = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        mf_raise_errno(error, "the job file %s cannot be opened", path);
        if (error != NULL)
            error->code = MF_EUSAGE;
        return NULL;
    }
    if (mf_sha256_file(fd, path, digest, error) == 0 &&
        (copy = mf_strdup(mf_sha256_text(digest, text))) == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: a checksum");
    close(fd);
    return copy;
}

/* Whether the file, which is another one now, still asks for what the row says; if not, why. */
static bool asks_the_same(const struct trigger_row *row, char **why)
{
    struct mf_error error;
    struct job *job = job_load(row->job_path, NULL, 0, &error);
    if (job == NULL) {
        *why = mf_format("%s (it starts nothing until that is mended; what waits for it stays)",
                         error.text);
        return false;
    }
    char *settings = job->trigger.kind == TRIGGER_NONE || strcmp(job->name, row->name) != 0
                         ? NULL
                         : trigger_settings_write(&job->trigger, NULL);
    bool is_same = settings != NULL && strcmp(settings, row->settings) == 0;
    if (!is_same)
        *why = mf_format("the job file %s has another name or 'trigger' now than when it was "
                         "installed, so it starts nothing until that is said again: mayfly "
                         "trigger install %s",
                         row->job_path,
                         row->job_path);
    mf_free(settings);
    job_destroy(job);
    return is_same;
}

bool trigger_row_is_current(const struct trigger_row *row, char **why)
{
    struct mf_error error = {0};
    char *sum = trigger_file_sum(row->job_path, &error);
    bool is_unchanged = sum != NULL && strcmp(sum, row->job_sha256) == 0;
    *why = NULL;
    if (sum == NULL)
        *why = mf_format("%s: put it back, or remove the trigger: mayfly trigger remove %s",
                         error.text,
                         row->name);
    bool is_current = is_unchanged || (sum != NULL && asks_the_same(row, why));
    mf_free(sum);
    return is_current;
}
