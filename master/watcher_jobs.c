/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Job files become triggers: see watcher_internal.h.
 *
 * Of each file that could be read a copy is kept in the watcher's place. When the file is broken,
 * or what it asks for is refused, its trigger stays as it was, and is started from the copy. Files
 * are told apart by path, triggers by the job's name: a file that is renamed keeps its trigger,
 * with all that is known of it.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/checksum.h"
#include "common/log.h"
#include "master/run_folder.h"
#include "master/trigger_check.h"
#include "master/watcher_internal.h"

void watcher_say_once(char **said, const char *text)
{
    if (text != NULL && (*said == NULL || strcmp(*said, text) != 0))
        mf_log(MF_WARNING, "%s", text);
    mf_free(*said);
    *said = text == NULL ? NULL : mf_strdup(text);
}

static void served_fini(struct served *served)
{
    watcher_source_close(served->source);
    mf_free(served->path);
    mf_free(served->name);
    mf_free(served->copy);
    mf_free(served->trouble);
}

void watcher_forget_jobs(struct watcher *watcher)
{
    for (size_t i = 0; i < watcher->job_count; i++)
        served_fini(&watcher->jobs[i]);
    mf_free(watcher->jobs);
    watcher->jobs = NULL;
    watcher->job_count = 0;
}

/* Of the path, not of the job's name: which job a broken file is can only be read from its copy. */
static char *copy_path(const struct watcher *watcher, const char *path)
{
    struct mf_sha256 sum;
    unsigned char digest[MF_SHA256_SIZE];
    char text[MF_SHA256_TEXT];
    mf_sha256_init(&sum);
    mf_sha256_update(&sum, mf_bytes_text(path));
    mf_sha256_finish(&sum, digest);
    return mf_format("%s/%.16s.yaml", watcher->place, mf_sha256_text(digest, text));
}

static struct served *find_path(struct watcher *watcher, const char *path)
{
    for (size_t i = 0; i < watcher->job_count; i++)
        if (strcmp(watcher->jobs[i].path, path) == 0)
            return &watcher->jobs[i];
    return NULL;
}

/* Another file whose job has that name. */
static const struct served *
find_name(const struct watcher *watcher, const char *name, const struct served *except)
{
    for (size_t i = 0; i < watcher->job_count; i++) {
        const struct served *served = &watcher->jobs[i];
        if (served != except && served->is_found && served->name != NULL &&
            strcmp(served->name, name) == 0)
            return served;
    }
    return NULL;
}

static struct served *add_path(struct watcher *watcher, const char *path, struct mf_error *error)
{
    struct served *more = mf_realloc(watcher->jobs, (watcher->job_count + 1) * sizeof *more);
    if (more != NULL)
        watcher->jobs = more;
    struct served served = {.path = mf_strdup(path), .copy = copy_path(watcher, path)};
    if (more == NULL || served.path == NULL || served.copy == NULL) {
        served_fini(&served);
        mf_raise(error, MF_ENOMEM, "out of memory: a job file");
        return NULL;
    }
    more[watcher->job_count] = served;
    return &more[watcher->job_count++];
}

static int set_name(struct served *served, const char *name, struct mf_error *error)
{
    char *copy = name == NULL ? NULL : mf_strdup(name);
    if (name != NULL && copy == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the name of a job");
    mf_free(served->name);
    served->name = copy;
    return 0;
}

static int keep_copy(const struct served *served, const struct job *job, struct mf_error *error)
{
    struct mf_buffer text = {0};
    int rc = job_write(job, &text, error);
    if (rc == 0)
        rc = write_file(served->copy, text.data, text.length, true, error);
    mf_buffer_fini(&text);
    return rc;
}

/* The trigger that the file had under another name is gone. */
static int drop_former(struct watcher *watcher,
                       const struct served *served,
                       const char *name,
                       struct mf_error *error)
{
    if (served->name == NULL || (name != NULL && strcmp(served->name, name) == 0) ||
        find_name(watcher, served->name, served) != NULL)
        return 0;
    if (watcher_unregister(watcher, served->name, error) < 0)
        return -1;
    mf_log(
        MF_INFO, "the trigger of job %s is removed: %s has it no more", served->name, served->path);
    return 0;
}

static int serve_none(struct watcher *watcher, struct served *served, struct mf_error *error)
{
    if (drop_former(watcher, served, NULL, error) < 0)
        return -1;
    watcher_source_close(served->source);
    served->source = NULL;
    unlink(served->copy);
    mf_log(MF_INFO, "%s has no trigger: it is left alone", served->path);
    return set_name(served, NULL, error);
}

/* The trigger and the source of a job that is started from `path`. */
static int serve_from(struct watcher *watcher,
                      struct served *served,
                      const struct job *job,
                      const char *path,
                      struct mf_error *error)
{
    struct watcher_source *source;
    if (trigger_check(job, error) < 0) {
        if (error->code == MF_ESETUP) /* of this job alone: a library that is not there */
            error->code = MF_EUSAGE;
        return -1;
    }
    if (watcher_source_open(watcher, job, &source, error) < 0)
        return -1;
    if (watcher_register(watcher, job, path, error) < 0 ||
        drop_former(watcher, served, job->name, error) < 0 ||
        set_name(served, job->name, error) < 0) {
        watcher_source_close(source);
        return -1;
    }
    watcher_source_close(served->source);
    served->source = source;
    return 0;
}

static int serve_job(struct watcher *watcher,
                     struct served *served,
                     const struct job *job,
                     struct mf_error *error)
{
    const struct served *other = find_name(watcher, job->name, served);
    if (other != NULL)
        return mf_raise(
            error,
            MF_EUSAGE,
            "%s: name: %s has a job of the name \"%s\" already; give each a name of its "
            "own",
            served->path,
            other->path,
            job->name);
    struct mf_error trouble;
    if (serve_from(watcher, served, job, served->path, error) < 0)
        return -1;
    if (keep_copy(served, job, &trouble) < 0)
        mf_log(MF_WARNING, "%s: no copy of it could be kept: %s", served->path, trouble.text);
    return 0;
}

/* As it was when it could be read last, in this watcher's life or in an earlier one. */
static bool serve_copy(struct watcher *watcher, struct served *served)
{
    struct mf_error ignored;
    struct job *job =
        access(served->copy, R_OK) < 0 ? NULL : job_load(served->copy, NULL, 0, &ignored);
    bool done = job != NULL && find_name(watcher, job->name, served) == NULL &&
                serve_from(watcher, served, job, served->copy, &ignored) == 0;
    job_destroy(job);
    return done;
}

/* Says what is wrong, once, and goes on with the former version where there is one. */
static void serve_former(struct watcher *watcher, struct served *served, const struct mf_error *why)
{
    bool has_former = serve_copy(watcher, served);
    char *text = mf_format("%s%s",
                           why->text,
                           has_former ? " (until then the job is served as it was before)"
                                      : " (until then it is not served)");
    watcher_say_once(&served->trouble, text == NULL ? why->text : text);
    mf_free(text);
}

static void read_file(struct watcher *watcher, struct served *served)
{
    struct mf_error error;
    struct job *job = job_load(served->path, NULL, 0, &error);
    int rc = job == NULL                         ? -1
             : job->trigger.kind == TRIGGER_NONE ? serve_none(watcher, served, &error)
                                                 : serve_job(watcher, served, job, &error);
    job_destroy(job);
    served->is_to_try = false;
    if (rc < 0 && error.code != MF_EUSAGE) {
        /* No fault of the file, and the round that follows has the same to say. */
        watcher_say_once(&watcher->round_trouble, error.text);
        served->is_to_try = true;
        return;
    }
    if (rc < 0) {
        serve_former(watcher, served, &error);
        served->is_to_try = true; /* names, queues, and files that it names, may change */
        return;
    }
    if (served->trouble != NULL)
        mf_log(MF_INFO, "%s is served again as it stands", served->path);
    else if (served->name != NULL)
        mf_log(MF_INFO, "%s: job %s", served->path, served->name);
    watcher_say_once(&served->trouble, NULL);
}

/* Files that are new, changed, or to be tried again. */
static void take_found(struct watcher *watcher, const struct job_file *file, bool all)
{
    struct mf_error error;
    struct served *served = find_path(watcher, file->path);
    bool is_known = served != NULL;
    if (!is_known)
        served = add_path(watcher, file->path, &error);
    if (served == NULL) {
        mf_log(MF_ERROR, "%s: %s", file->path, error.text);
        return;
    }
    served->is_found = true;
    served->is_to_try |= !is_known || all || !file_version_equal(&served->version, &file->version);
    served->version = file->version;
}

/* A name that another file has now keeps its trigger. */
static void drop_gone(struct watcher *watcher)
{
    size_t kept = 0;
    for (size_t i = 0; i < watcher->job_count; i++) {
        struct served *served = &watcher->jobs[i];
        struct mf_error error;
        if (!served->is_found && drop_former(watcher, served, NULL, &error) < 0)
            watcher_say_once(&served->trouble, error.text); /* tried again at the next look */
        else if (!served->is_found) {
            unlink(served->copy);
            served_fini(served);
            continue;
        }
        watcher->jobs[kept++] = *served;
    }
    watcher->job_count = kept;
}

/* What is mounted there is gone, and what it has covered, an empty folder of another file system,
 * is seen: that is not a folder whose files were removed. */
static bool is_unmounted(struct watcher *watcher, size_t count)
{
    struct stat facts;
    if (stat(watcher->folder, &facts) < 0)
        return false;
    if (count == 0 && watcher->job_count > 0 && facts.st_dev != watcher->folder_device)
        return true;
    watcher->folder_device = facts.st_dev;
    return false;
}

/* NULL: it cannot be read now, which is said once. */
static struct job_file *list_folder(struct watcher *watcher, size_t *count)
{
    struct mf_error error;
    struct job_file *list = files_list(watcher->files, count, &error);
    if (list != NULL && is_unmounted(watcher, *count)) {
        files_free_list(list, *count);
        list = NULL;
        mf_raise(&error,
                 MF_ESETUP,
                 "cannot read the folder %s: it is empty, and on another file system than before",
                 watcher->folder);
    }
    watcher_say_once(&watcher->folder_trouble, list == NULL ? error.text : NULL);
    return list;
}

void watcher_look(struct watcher *watcher, bool all)
{
    struct mf_error error;
    size_t count;
    struct job_file *list = list_folder(watcher, &count);
    if (list == NULL)
        return; /* away, not empty: all stays as it was */
    for (size_t i = 0; i < watcher->job_count; i++)
        watcher->jobs[i].is_found = false;
    for (size_t i = 0; i < count; i++)
        take_found(watcher, &list[i], all);
    files_free_list(list, count);
    for (size_t i = 0; i < watcher->job_count; i++)
        if (watcher->jobs[i].is_found && watcher->jobs[i].is_to_try)
            read_file(watcher, &watcher->jobs[i]);
    drop_gone(watcher);
    /* The round that follows has the same to say. */
    if (watcher_unregister_others(watcher, &error) < 0)
        watcher_say_once(&watcher->round_trouble, error.text);
}
