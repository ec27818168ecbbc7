/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a job file: see job.h. The text that goes into the run folder is the file's own, unless
 * --set, a name that comes from the file's name or a host file changed it: then it is written anew
 * from the tree.
 */
#include "master/job/job.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/job/only.h"
#include "master/job/hosts.h"
#include "master/job/read.h"

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory while reading the job file");
}

/* At most one byte more than a job file may have, so that a device or a huge file ends too. */
static int read_all(int fd, const char *path, struct mf_buffer *text, struct mf_error *error)
{
    while (text->length <= TREE_BYTES_MAX) {
        if (mf_buffer_reserve(text, 16384, error) < 0)
            return -1;
        ssize_t n = read(fd, text->data + text->length, 16384);
        if (n == 0)
            return 0;
        if (n > 0)
            text->length += (size_t)n;
        else if (errno != EINTR) {
            mf_raise_errno(error, "%s: the job file cannot be read", path);
            if (error != NULL)
                error->code = MF_EUSAGE;
            return -1;
        }
    }
    return 0;
}

static int read_file(const char *path, struct mf_buffer *text, struct mf_error *error)
{
    /* Not blocking: a pipe that nobody writes to must not hang the command line. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        mf_raise_errno(error, "%s: the job file cannot be opened", path);
        if (error != NULL)
            error->code = MF_EUSAGE;
        return -1;
    }
    int rc = read_all(fd, path, text, error);
    close(fd);
    return rc;
}

/* The job file's real path below a folder that was named instead. NULL when memory is exhausted. */
static char *resolve(const char *path)
{
    struct stat status;
    size_t length = strlen(path);
    if (stat(path, &status) < 0 || !S_ISDIR(status.st_mode))
        return mf_strdup(path);
    return mf_format("%s%sjob.yaml", path, length > 0 && path[length - 1] == '/' ? "" : "/");
}

/* The absolute folder of a file that is there. */
static char *folder_of(const char *path, struct mf_error *error)
{
    char *slash, *copy = mf_strdup(path), *folder = NULL;
    if (copy == NULL) {
        raise_memory(error);
        return NULL;
    }
    slash = strrchr(copy, '/');
    if (slash != NULL)
        slash[slash == copy ? 1 : 0] = '\0';
    char *real = realpath(slash == NULL ? "." : copy, NULL);
    if (real == NULL)
        mf_raise_errno(error, "%s: its folder cannot be resolved", path);
    else if ((folder = mf_strdup(real)) == NULL)
        raise_memory(error);
    free(real); /* the C library's own */
    mf_free(copy);
    return folder;
}

/* The name of a job that has none: of its file, or of its folder when the file is job.yaml. */
static char *name_of(const char *path, const char *folder)
{
    const char *slash = strrchr(path, '/'), *base = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(base, '.');
    size_t length = dot == NULL || dot == base ? strlen(base) : (size_t)(dot - base);
    if (length == 3 && memcmp(base, "job", 3) == 0) {
        slash = strrchr(folder, '/');
        base = slash == NULL ? folder : slash + 1;
        length = strlen(base);
    }
    char *name = mf_memdup(base, length > 64 ? 64 : length);
    for (char *p = name; p != NULL && *p != '\0'; p++) {
        bool is_plain =
            (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        if (!is_plain && (p == name || *p != '-'))
            *p = p == name ? 'x' : '_';
    }
    if (name != NULL && *name == '\0') {
        mf_free(name);
        name = mf_strdup("job");
    }
    return name;
}

/* Fills job->name when the file gives none. */
static int complete_name(struct reader *reader, struct mf_error *error)
{
    struct job *job = reader->job;
    if (job->name != NULL)
        return 0;
    job->name = name_of(job->path, job->folder);
    if (job->name == NULL)
        return raise_memory(error);
    return tree_add(&reader->tree, "name", job->name, error);
}

static int keep_text(struct reader *reader, struct mf_bytes text, struct mf_error *error)
{
    struct job *job = reader->job;
    struct mf_buffer written = {0};
    if (reader->is_changed) {
        if (tree_write(&reader->tree, &written, error) < 0) {
            mf_buffer_fini(&written);
            return -1;
        }
        text = mf_buffer_view(&written);
    }
    job->text = mf_memdup(text.data, text.length);
    job->text_length = text.length;
    mf_buffer_fini(&written);
    return job->text == NULL ? raise_memory(error) : 0;
}

static int parse(struct reader *reader,
                 struct mf_bytes text,
                 const char *const *sets,
                 size_t set_count,
                 struct mf_error *error)
{
    if (tree_load(&reader->tree, reader->job->path, text, error) < 0)
        return -1;
    if (set_count > 0 && tree_set(&reader->tree, sets, set_count, error) < 0)
        return -1;
    if (read_job(reader, error) < 0)
        return -1;
    if (set_count > 0 || reader->job->name == NULL)
        reader->is_changed = true;
    if (complete_name(reader, error) < 0 || check_job(reader, error) < 0)
        return -1;
    return keep_text(reader, text, error);
}

/* A file for the logins is there: better said now than by every login. */
static int check_readable(const struct job *job,
                          const char *path,
                          const char *key,
                          const char *what,
                          struct mf_error *error)
{
    if (path == NULL || access(path, R_OK) == 0)
        return 0;
    int code = errno;
    return mf_raise(error,
                    MF_EUSAGE,
                    "%s: %s: the %s %s cannot be read: %s",
                    job->path,
                    key,
                    what,
                    path,
                    strerror(code));
}

static int check_logins(const struct job *job, struct mf_error *error)
{
    for (size_t i = 0; i < job->hosts.count; i++)
        if (check_readable(
                job, job->hosts.items[i].identity, "workers.ssh.identities", "key file", error) < 0)
            return -1;
    const char *config = job->ssh.config;
    bool is_file = config != NULL && strcmp(config, "none") != 0;
    return check_readable(job, job->ssh.identity, "workers.ssh.identity", "key file", error) == 0 &&
                   check_readable(job,
                                  is_file ? config : NULL,
                                  "workers.ssh.config",
                                  "ssh configuration",
                                  error) == 0
               ? 0
               : -1;
}

/* The job's own files are there: better said now than by every attempt. */
static int check_files(const struct job *job, struct mf_error *error)
{
    for (size_t i = 0; i < job->files.count; i++) {
        char *path = mf_format("%s/%s", job->folder, job->files.items[i]);
        struct stat status;
        if (path == NULL)
            return raise_memory(error);
        int rc = stat(path, &status);
        if (rc < 0) {
            int code = errno;
            mf_raise(error,
                     MF_EUSAGE,
                     "%s: task.files: '%s' is not in the job's folder %s: %s",
                     job->path,
                     job->files.items[i],
                     job->folder,
                     strerror(code));
        }
        mf_free(path);
        if (rc < 0)
            return -1;
    }
    return 0;
}

struct job *job_parse(const char *path,
                      const char *folder,
                      struct mf_bytes text,
                      const char *const *sets,
                      size_t set_count,
                      struct mf_error *error)
{
    struct reader reader = {.job = mf_calloc(1, sizeof *reader.job)};
    if (reader.job == NULL) {
        raise_memory(error);
        return NULL;
    }
    reader.job->path = mf_strdup(path);
    reader.job->folder = mf_strdup(folder);
    int rc = reader.job->path == NULL || reader.job->folder == NULL
                 ? raise_memory(error)
                 : parse(&reader, text, sets, set_count, error);
    tree_fini(&reader.tree);
    if (rc == 0)
        return reader.job;
    job_destroy(reader.job);
    return NULL;
}

struct job *
job_load(const char *path, const char *const *sets, size_t set_count, struct mf_error *error)
{
    struct mf_buffer text = {0};
    struct job *job = NULL;
    char *folder = NULL, *file = resolve(path);
    if (file == NULL) {
        raise_memory(error);
        return NULL;
    }
    if (read_file(file, &text, error) == 0 && (folder = folder_of(file, error)) != NULL)
        job = job_parse(file, folder, mf_buffer_view(&text), sets, set_count, error);
    if (job != NULL && (check_files(job, error) < 0 || check_logins(job, error) < 0)) {
        job_destroy(job);
        job = NULL;
    }
    mf_buffer_fini(&text);
    mf_free(folder);
    mf_free(file);
    return job;
}

bool job_has_engine(const struct job *job)
{
    return job->launcher == LAUNCHER_SLURM || job->launcher == LAUNCHER_COMMAND;
}

void job_destroy(struct job *job)
{
    if (job == NULL)
        return;
    struct job_strings *lists[] = {&job->split.globs,
                                   &job->split.list,
                                   &job->split.only_texts,
                                   &job->prepare,
                                   &job->command,
                                   &job->files,
                                   &job->slurm.options,
                                   &job->launch.start,
                                   &job->launch.list,
                                   &job->launch.stop,
                                   &job->ssh.identities,
                                   &job->env,
                                   &job->outputs};
    char *texts[] = {job->path,
                     job->folder,
                     job->text,
                     job->name,
                     job->split.queue,
                     job->prepare_shell,
                     job->shell,
                     job->cwd,
                     job->gather_sql,
                     job->hosts_file,
                     job->inventory,
                     job->ssh.identity,
                     job->ssh.known_hosts,
                     job->ssh.config,
                     job->slurm.partition,
                     job->slurm.account,
                     job->slurm.folder,
                     job->launch.folder,
                     job->launch.program,
                     job->advertise};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        strings_fini(lists[i]);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        mf_free(texts[i]);
    hosts_fini(&job->hosts);
    only_fini(&job->split.only);
    read_secrets_fini(job);
    read_notify_fini(job);
    trigger_fini(&job->trigger);
    for (size_t i = 0; i < job->output.column_count; i++)
        mf_free(job->output.columns[i].name);
    mf_free(job->output.columns);
    mf_free(job);
}

int job_write(const struct job *job, struct mf_buffer *out, struct mf_error *error)
{
    return mf_buffer_append(out, job->text, job->text_length, error);
}

int job_task(const struct job *job,
             const char *prepared_folder,
             struct mf_task *task,
             void **scratch,
             struct mf_error *error)
{
    const char **shell = mf_calloc(1, sizeof *shell);
    *scratch = shell;
    if (shell == NULL)
        return raise_memory(error);
    *shell = job->shell;
    bool is_shell = job->shell != NULL;
    *task = (struct mf_task){
        .executor = job->is_noop ? MF_EXECUTOR_NOOP
                    : is_shell   ? MF_EXECUTOR_SHELL
                                 : MF_EXECUTOR_COMMAND,
        .argc = is_shell ? 1 : (uint32_t)job->command.count,
        .argv = is_shell ? shell : (const char **)job->command.items,
        .env_count = (uint32_t)job->env.count,
        .env = (const char **)job->env.items,
        .cwd = job->cwd,
        .stdin_mode = job->stdin_mode,
        .output_count = (uint32_t)job->outputs.count,
        .outputs = (const char **)job->outputs.items,
        .file_count = (uint32_t)job->files.count,
        .files = (const char **)job->files.items,
        .job_folder = job->folder,
        .prepared_folder = prepared_folder,
        .timeout_us = job->timeout_us,
        .kill_after_us = job->kill_after_us,
        .output_max = job->output.max_bytes,
        .log_max = job->log_max,
    };
    return 0;
}
