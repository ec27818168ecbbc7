/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to slots: see request.h.
 *
 * What does not change from subtask to subtask (constant arguments, most of the environment, the
 * links of the job's own files) is laid out once, as blocks of strings that are copied in one go.
 *
 * Names: an input appears in the attempt's folder under its name relative to the job. One that has
 * no such name (absolute, or leading out of the job's folder by "..") appears under its base name,
 * and its {path} is absolute. One that was fetched has the same name; only what the link leads to,
 * or the absolute path, is another.
 */
#include "worker/request.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/placeholder.h"
#include "worker/secrets.h"
#include "worker/slot.h"

struct request_maker {
    char *folder;
    char *job_folder;
    char *files_folder;
    char *cwd;
    enum mf_quoting quoting;
    bool constant_argv;
    uint32_t argc;
    char **argv;             /* templates */
    uint32_t changing_count; /* of the environment */
    char **changing;
    uint32_t env_count; /* strings in env_block */
    bool own_tmpdir;    /* env: has another TMPDIR */
    struct mf_buffer env_block;
    struct mf_buffer argv_block; /* when constant_argv */
    uint32_t link_count;
    struct mf_buffer link_block;
    uint32_t output_count;
    struct mf_buffer output_block;
    struct slot_start start; /* what all have in common */
};

static const char *const our_names[] = {"MAYFLY_RUN",
                                        "MAYFLY_WORKER",
                                        "MAYFLY_SUBTASK",
                                        "MAYFLY_ATTEMPT",
                                        "MAYFLY_EPOCH",
                                        "MAYFLY_SLOT",
                                        "MAYFLY_JOB",
                                        "MAYFLY_PREPARED",
                                        "MAYFLY_SECRETS"};

static int out_of_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory: the requests of a worker to its slots");
}

static int add_string(struct mf_buffer *out, const char *text, struct mf_error *error)
{
    return mf_buffer_append(out, text, strlen(text) + 1, error);
}

static int
add_pair(struct mf_buffer *out, const char *name, const char *value, struct mf_error *error)
{
    if (mf_buffer_append_text(out, name, error) < 0 || mf_buffer_append_text(out, "=", error) < 0)
        return -1;
    return add_string(out, value, error);
}

/* Appends the expanded template and its NUL. */
static int add_expanded(struct mf_buffer *out,
                        const char *text,
                        const struct mf_subtask *subtask,
                        enum mf_quoting quoting,
                        struct mf_error *error)
{
    size_t before = out->length;
    if (mf_placeholder_expand(text, subtask, quoting, out, error) < 0)
        return -1;
    if (memchr(out->data + before, '\0', out->length - before) != NULL)
        return mf_raise(error,
                        MF_EINPUT,
                        "the item holds a NUL byte, which no argument or variable can hold: "
                        "use stdin: item instead of a placeholder in \"%s\"",
                        text);
    return mf_buffer_append(out, "", 1, error);
}

static bool names_variable(const char *pair, const char *name)
{
    size_t length = strlen(name);
    return strncmp(pair, name, length) == 0 && pair[length] == '=';
}

static bool is_overridden(const struct mf_task *task, const char *name)
{
    for (uint32_t i = 0; i < task->env_count; i++)
        if (names_variable(task->env[i], name))
            return true;
    return false;
}

static int add_default(struct request_maker *maker,
                       const struct mf_task *task,
                       const char *name,
                       const char *value,
                       struct mf_error *error)
{
    if (value == NULL || is_overridden(task, name))
        return 0;
    maker->env_count++;
    return add_pair(&maker->env_block, name, value, error);
}

static int check_variable(const char *pair, struct mf_error *error)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL || equals == pair)
        return mf_raise(error, MF_EUSAGE, "env: \"%s\" is not of the form NAME=value", pair);
    for (size_t i = 0; i < sizeof our_names / sizeof *our_names; i++)
        if (names_variable(pair, our_names[i]))
            return mf_raise(error,
                            MF_EUSAGE,
                            "env: %s is set by mayfly itself: choose another name",
                            our_names[i]);
    return 0;
}

static int
lay_out_task_env(struct request_maker *maker, const struct mf_task *task, struct mf_error *error)
{
    maker->changing = mf_calloc(task->env_count, sizeof *maker->changing);
    if (maker->changing == NULL)
        return out_of_memory(error);
    static const struct mf_subtask nothing;
    for (uint32_t i = 0; i < task->env_count; i++) {
        if (check_variable(task->env[i], error) < 0)
            return -1;
        if (!mf_placeholder_is_constant(task->env[i])) {
            char *copy = mf_strdup(task->env[i]);
            if (copy == NULL)
                return out_of_memory(error);
            maker->changing[maker->changing_count++] = copy;
            continue;
        }
        maker->env_count++;
        if (add_expanded(&maker->env_block, task->env[i], &nothing, MF_QUOTE_NONE, error) < 0)
            return -1;
    }
    return 0;
}

/* Where they are, if the run has any: the folder itself, not the link in the worker's own. */
static int
add_secrets(struct request_maker *maker, const struct mf_task *task, struct mf_error *error)
{
    char *link = mf_format("%s/" SECRETS_NAME, maker->folder);
    if (link == NULL)
        return out_of_memory(error);
    char *folder = realpath(link, NULL);
    mf_free(link);
    int rc = folder == NULL ? 0 : add_default(maker, task, "MAYFLY_SECRETS", folder, error);
    free(folder); /* the C library's own */
    return rc;
}

static int lay_out_env(struct request_maker *maker,
                       const struct mf_task *task,
                       const char *run_id,
                       uint32_t worker,
                       struct mf_error *error)
{
    char number[16];
    const char *home = getenv("HOME");
    maker->own_tmpdir = is_overridden(task, "TMPDIR");
    snprintf(number, sizeof number, "%u", worker);
    if (add_default(maker, task, "PATH", "/usr/local/bin:/usr/bin:/bin", error) < 0 ||
        add_default(maker, task, "HOME", home == NULL ? "/" : home, error) < 0 ||
        add_default(maker, task, "LANG", "C.UTF-8", error) < 0 ||
        add_default(maker, task, "MAYFLY_RUN", run_id, error) < 0 ||
        add_default(maker, task, "MAYFLY_WORKER", number, error) < 0 ||
        add_default(maker, task, "MAYFLY_JOB", maker->files_folder, error) < 0 ||
        add_default(maker, task, "MAYFLY_PREPARED", task->prepared_folder, error) < 0 ||
        add_secrets(maker, task, error) < 0)
        return -1;
    return lay_out_task_env(maker, task, error);
}

static int
lay_out_argv(struct request_maker *maker, const struct mf_task *task, struct mf_error *error)
{
    static const struct mf_subtask nothing;
    bool shell = task->executor == MF_EXECUTOR_SHELL;
    if (task->argc == 0 || (shell && task->argc != 1))
        return mf_raise(error, MF_EUSAGE, "the task has no command to execute");
    maker->quoting = shell ? MF_QUOTE_SHELL : MF_QUOTE_NONE;
    maker->argv = mf_calloc(task->argc + 2, sizeof *maker->argv);
    if (maker->argv == NULL)
        return out_of_memory(error);
    uint32_t fixed = shell ? 2 : 0;
    maker->argc = task->argc + fixed;
    maker->constant_argv = true;
    for (uint32_t i = 0; i < maker->argc; i++) {
        const char *text = i >= fixed ? task->argv[i - fixed] : i == 0 ? "/bin/sh" : "-c";
        maker->constant_argv = maker->constant_argv && mf_placeholder_is_constant(text);
        maker->argv[i] = mf_strdup(text);
        if (maker->argv[i] == NULL)
            return out_of_memory(error);
    }
    for (uint32_t i = 0; maker->constant_argv && i < maker->argc; i++)
        if (add_expanded(&maker->argv_block, maker->argv[i], &nothing, maker->quoting, error) < 0)
            return -1;
    return 0;
}

/* Whether a path stays below the folder that it is relative to. */
static bool stays_below(const char *path)
{
    if (path[0] == '/')
        return false;
    for (const char *at = path; at != NULL; at = strchr(at, '/')) {
        at += *at == '/';
        if (at[0] == '.' && at[1] == '.' && (at[2] == '/' || at[2] == '\0'))
            return false;
    }
    return true;
}

/* Appends the name in the attempt's folder and the target of the link, each with its NUL. The
 * target is the path, or where a fetched input is instead. */
static int add_link(const char *path,
                    const char *folder,
                    const char *instead,
                    struct mf_buffer *out,
                    struct mf_error *error)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    const char *name = path;
    if (!stays_below(path))
        for (const char *at = path; at < path + length; at++)
            if (*at == '/')
                name = at + 1;
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    if (mf_buffer_append(out, name, length - (size_t)(name - path), error) < 0 ||
        mf_buffer_append(out, "", 1, error) < 0)
        return -1;
    if (instead != NULL)
        return add_string(out, instead, error);
    if (path[0] != '/' && (mf_buffer_append_text(out, folder, error) < 0 ||
                           mf_buffer_append_text(out, "/", error) < 0))
        return -1;
    return add_string(out, path, error);
}

static int
lay_out_files(struct request_maker *maker, const struct mf_task *task, struct mf_error *error)
{
    for (uint32_t i = 0; i < task->file_count; i++)
        if (add_link(task->files[i], maker->files_folder, NULL, &maker->link_block, error) < 0)
            return -1;
    for (uint32_t i = 0; i < task->output_count; i++)
        if (add_string(&maker->output_block, task->outputs[i], error) < 0)
            return -1;
    maker->link_count = task->file_count;
    maker->output_count = task->output_count;
    return 0;
}

struct request_maker *request_maker_create(const struct mf_task *task,
                                           const char *files_folder,
                                           const char *run_id,
                                           uint32_t worker,
                                           const char *folder,
                                           struct mf_error *error)
{
    struct request_maker *maker = mf_calloc(1, sizeof *maker);
    if (maker == NULL) {
        out_of_memory(error);
        return NULL;
    }
    if (task->executor != MF_EXECUTOR_COMMAND && task->executor != MF_EXECUTOR_SHELL) {
        mf_raise(error, MF_EUSAGE, "slots know no executor with the number %u", task->executor);
        goto fail;
    }
    maker->folder = mf_strdup(folder);
    maker->job_folder = mf_strdup(task->job_folder == NULL ? "" : task->job_folder);
    maker->files_folder = maker->job_folder == NULL
                              ? NULL
                              : mf_strdup(files_folder == NULL ? maker->job_folder : files_folder);
    maker->cwd = mf_strdup(task->cwd == NULL ? "" : task->cwd);
    if (maker->folder == NULL || maker->files_folder == NULL || maker->cwd == NULL) {
        out_of_memory(error);
        goto fail;
    }
    maker->start = (struct slot_start){.stdin_mode = task->stdin_mode,
                                       .timeout_us = task->timeout_us,
                                       .kill_after_us = task->kill_after_us,
                                       .output_max = task->output_max,
                                       .log_max = task->log_max};
    if (lay_out_env(maker, task, run_id, worker, error) < 0 ||
        lay_out_argv(maker, task, error) < 0 || lay_out_files(maker, task, error) < 0)
        goto fail;
    return maker;
fail:
    request_maker_destroy(maker);
    return NULL;
}

void request_maker_destroy(struct request_maker *maker)
{
    if (maker == NULL)
        return;
    for (uint32_t i = 0; maker->argv != NULL && i < maker->argc; i++)
        mf_free(maker->argv[i]);
    for (uint32_t i = 0; i < maker->changing_count; i++)
        mf_free(maker->changing[i]);
    mf_free(maker->argv);
    mf_free(maker->changing);
    mf_free(maker->folder);
    mf_free(maker->job_folder);
    mf_free(maker->files_folder);
    mf_free(maker->cwd);
    mf_buffer_fini(&maker->env_block);
    mf_buffer_fini(&maker->argv_block);
    mf_buffer_fini(&maker->link_block);
    mf_buffer_fini(&maker->output_block);
    mf_free(maker);
}

/*
 * The subtask as its placeholders see it, and the input's absolute path in `absolute` (empty: no
 * input), or where it was fetched to. *name: the path as it is linked, within `absolute` or
 * `staged`.
 */
static int place_input(const struct request_maker *maker,
                       struct mf_subtask *subtask,
                       const char *staged,
                       struct mf_buffer *absolute,
                       const char **name,
                       struct mf_error *error)
{
    struct mf_bytes path = subtask->path;
    if (path.length == 0)
        return 0;
    if (memchr(path.data, '\0', path.length) != NULL)
        return mf_raise(error, MF_EINPUT, "the path of the input holds a NUL byte");
    if (path.data[0] != '/' && (mf_buffer_append_text(absolute, maker->job_folder, error) < 0 ||
                                mf_buffer_append_text(absolute, "/", error) < 0))
        return -1;
    size_t prefix = absolute->length;
    if (mf_buffer_append(absolute, path.data, path.length, error) < 0)
        return -1;
    if (mf_buffer_text(absolute) == NULL)
        return out_of_memory(error);
    *name = (const char *)absolute->data + prefix;
    if (path.data[0] != '/' && stays_below(*name))
        return 0;
    if (path.data[0] == '/' && staged == NULL)
        return 0;
    if (staged != NULL) {
        mf_buffer_clear(absolute);
        if (mf_buffer_append_text(absolute, staged, error) < 0)
            return -1;
        if (mf_buffer_text(absolute) == NULL)
            return out_of_memory(error);
    }
    *name = (const char *)absolute->data;
    if (!subtask->has_number && mf_bytes_equal(subtask->item, path))
        subtask->item = mf_buffer_view(absolute);
    subtask->path = mf_buffer_view(absolute);
    return 0;
}

static int add_argv(const struct request_maker *maker,
                    const struct mf_subtask *subtask,
                    struct mf_buffer *out,
                    struct mf_error *error)
{
    if (maker->constant_argv)
        return mf_buffer_append(out, maker->argv_block.data, maker->argv_block.length, error);
    for (uint32_t i = 0; i < maker->argc; i++)
        if (add_expanded(out, maker->argv[i], subtask, maker->quoting, error) < 0)
            return -1;
    return 0;
}

/* Returns how many variables were added, or -1. */
static int add_env(const struct request_maker *maker,
                   const struct mf_subtask *subtask,
                   uint32_t slot,
                   struct mf_buffer *out,
                   struct mf_error *error)
{
    struct mf_fence fence = {subtask->id, subtask->attempt, subtask->epoch};
    char name[SLOT_NAME_SIZE];
    slot_folder_name(name, &fence);
    static const char variables[] = "MAYFLY_SUBTASK=%llu%cMAYFLY_ATTEMPT=%u%cMAYFLY_EPOCH=%u%c"
                                    "MAYFLY_SLOT=%u%c";
    if (mf_buffer_append(out, maker->env_block.data, maker->env_block.length, error) < 0)
        return -1;
    if (!maker->own_tmpdir &&
        mf_buffer_printf(out, error, "TMPDIR=%s/attempts/%s%c", maker->folder, name, 0) < 0)
        return -1;
    if (mf_buffer_printf(out,
                         error,
                         variables,
                         (unsigned long long)fence.subtask,
                         0,
                         fence.attempt,
                         0,
                         fence.epoch,
                         0,
                         slot,
                         0) < 0)
        return -1;
    for (uint32_t i = 0; i < maker->changing_count; i++)
        if (add_expanded(out, maker->changing[i], subtask, MF_QUOTE_NONE, error) < 0)
            return -1;
    return (int)(maker->env_count + (maker->own_tmpdir ? 4 : 5) + maker->changing_count);
}

static int add_item(const struct mf_subtask *subtask,
                    struct slot_start *start,
                    struct mf_buffer *out,
                    struct mf_error *error)
{
    size_t before = out->length;
    if (start->stdin_mode != MF_STDIN_ITEM)
        return 0;
    int rc = subtask->has_number
                 ? mf_buffer_printf(out, error, "%lld", (long long)subtask->number)
                 : mf_buffer_append(out, subtask->item.data, subtask->item.length, error);
    if (rc < 0)
        return -1;
    start->item_length = out->length - before;
    return 0;
}

static int add_strings(const struct request_maker *maker,
                       const struct mf_subtask *subtask,
                       const char *input,
                       const char *input_name,
                       const char *staged,
                       uint32_t slot,
                       struct slot_start *start,
                       struct mf_buffer *out,
                       struct mf_error *error)
{
    char name[SLOT_NAME_SIZE];
    slot_folder_name(name, &start->fence);
    if (add_string(out, name, error) < 0 || add_string(out, maker->cwd, error) < 0 ||
        add_string(out, input, error) < 0 || add_argv(maker, subtask, out, error) < 0)
        return -1;
    int env_count = add_env(maker, subtask, slot, out, error);
    if (env_count < 0)
        return -1;
    start->argc = maker->argc;
    start->env_count = (uint32_t)env_count;
    start->link_count = maker->link_count;
    start->output_count = maker->output_count;
    if (mf_buffer_append(out, maker->link_block.data, maker->link_block.length, error) < 0)
        return -1;
    if (input[0] != '\0') {
        start->link_count++;
        if (add_link(input_name, maker->job_folder, staged, out, error) < 0)
            return -1;
    }
    if (mf_buffer_append(out, maker->output_block.data, maker->output_block.length, error) < 0)
        return -1;
    return add_item(subtask, start, out, error);
}

static int make_body(const struct request_maker *maker,
                     const struct mf_subtask *original,
                     const struct staged_input *staged,
                     uint32_t slot,
                     struct mf_buffer *out,
                     struct mf_error *error)
{
    struct mf_subtask subtask = *original;
    struct mf_buffer input = {0};
    struct slot_start start = maker->start;
    size_t before = out->length;
    start.fence = (struct mf_fence){subtask.id, subtask.attempt, subtask.epoch};
    start.offset = subtask.offset;
    start.length = subtask.length;
    start.header_length = subtask.header_length;
    start.input_size = subtask.input_size;
    start.input_mtime_ns = subtask.input_mtime_ns;
    start.input_inode = staged->path == NULL ? subtask.input_inode : 0;
    if (staged->item.length > 0)
        subtask.item = staged->item;
    const char *name = NULL;
    int rc = place_input(maker, &subtask, staged->path, &input, &name, error);
    if (rc == 0)
        rc = mf_buffer_append(out, &start, sizeof start, error);
    if (rc == 0)
        rc = add_strings(maker,
                         &subtask,
                         input.length == 0      ? ""
                         : staged->path != NULL ? staged->path
                                                : (const char *)input.data,
                         name,
                         staged->path,
                         slot,
                         &start,
                         out,
                         error);
    if (rc == 0)
        memcpy(out->data + before, &start, sizeof start);
    mf_buffer_fini(&input);
    return rc;
}

int request_make(const struct request_maker *maker,
                 const struct mf_subtask *subtask,
                 const struct staged_input *staged,
                 uint32_t slot,
                 struct mf_buffer *out,
                 struct mf_error *error)
{
    struct slot_header header = {.kind = SLOT_START};
    size_t before = out->length;
    if (mf_buffer_append(out, &header, sizeof header, error) < 0)
        return -1;
    int rc = make_body(maker, subtask, staged, slot, out, error);
    size_t length = out->length - before - sizeof header;
    if (rc == 0 && length > SLOT_REQUEST_MAX)
        rc = mf_raise(error,
                      MF_EINPUT,
                      "the arguments, environment and item of the command take %zu bytes; at most "
                      "%u are possible: use stdin: or an input file",
                      length,
                      SLOT_REQUEST_MAX);
    if (rc < 0) {
        out->length = before;
        return -1;
    }
    header.length = (uint32_t)length;
    memcpy(out->data + before, &header, sizeof header);
    return 0;
}
