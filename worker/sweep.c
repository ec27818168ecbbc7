/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sweep: see sweep.h. Processes of the run that do not end by themselves get TERM (a worker
 * then ends its slots in order), KILL after KILL_AFTER_US, and are looked for until none is found;
 * then the run's folders are removed. The sweep spares itself, its ancestors and other sweeps.
 * Neither does it touch the master, which has no MAYFLY_RUN in its environment, nor a living
 * mayfly debug and what that has started.
 *
 * Processes of other users can't be looked into, so they are not ours to find.
 */
#include "worker/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/buffer.h"
#include "common/clock.h"
#include "common/process.h"
#include "worker/place.h"
#include "worker/program.h"
#include "worker/sweep_debug.h"

#define ANCESTORS_MAX 64
#define GRACE_US 500000 /* for a worker that has said goodbye and is about to end */
#define KILL_AFTER_US 6500000
#define GIVE_UP_US 10500000
#define AGAIN_MS 20
#define WITHIN_MAX 8

struct sweep {
    const char *run_id;
    const char *worker; /* NULL = all of the run */
    bool remove_program;
    const char *debug; /* what a killed mayfly debug has left: a number, or an absolute folder */
    char *within[WITHIN_MAX]; /* the folders that it may have been in */
    unsigned within_count;
    char *mark;        /* MAYFLY_RUN=<run id> */
    char *worker_mark; /* MAYFLY_WORKER=<worker> */
    char *folder_end;  /* /runs/<run id>/<worker>: where that worker stands */
    pid_t spared[ANCESTORS_MAX];
    unsigned spared_count;
    struct mf_buffer scratch;
    pid_t *signalled; /* that had TERM */
    size_t signalled_count, signalled_capacity;
    uint32_t files_removed;
    json_t *left; /* sentences */
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static bool is_sweep(struct sweep *sweep, pid_t pid)
{
    if (mf_process_read(pid, "cmdline", &sweep->scratch) < 0 || sweep->scratch.length == 0)
        return false;
    const char *name = (const char *)sweep->scratch.data;
    const char *command = name + strlen(name) + 1;
    return strcmp(base_name(name), "mayfly-worker") == 0 &&
           command < name + sweep->scratch.length && strcmp(command, "sweep") == 0;
}

/* What a worker starts carries its number; the worker itself stands in its folder. */
static bool is_of_worker(struct sweep *sweep, pid_t pid)
{
    char path[64], folder[PATH_MAX];
    if (sweep->worker == NULL)
        return true;
    if (mf_process_read(pid, "environ", &sweep->scratch) == 0 &&
        mf_process_has(&sweep->scratch, sweep->worker_mark))
        return true;
    snprintf(path, sizeof path, "/proc/%d/cwd", (int)pid);
    ssize_t length = readlink(path, folder, sizeof folder - 1);
    size_t end = strlen(sweep->folder_end);
    return length > (ssize_t)end && memcmp(folder + length - end, sweep->folder_end, end) == 0;
}

static bool is_of_run(struct sweep *sweep, pid_t pid)
{
    if (mf_process_read(pid, "environ", &sweep->scratch) == 0 &&
        mf_process_has(&sweep->scratch, sweep->mark))
        return !is_sweep(sweep, pid);
    if (mf_process_read(pid, "cmdline", &sweep->scratch) < 0 || sweep->scratch.length == 0 ||
        strcmp(base_name((const char *)sweep->scratch.data), "mayfly-worker") != 0 ||
        !mf_process_has(&sweep->scratch, sweep->run_id))
        return false;
    return !is_sweep(sweep, pid);
}

/* In a container, that is: in another PID namespace and below another root. The superuser sees
 * such processes, too, but that is another host, which has a sweep of its own. */
static bool is_elsewhere(pid_t pid)
{
    char path[64], own[64], its[64];
    struct stat here, there;
    ssize_t own_length = readlink("/proc/self/ns/pid", own, sizeof own);
    snprintf(path, sizeof path, "/proc/%d/ns/pid", (int)pid);
    ssize_t its_length = readlink(path, its, sizeof its);
    if (own_length <= 0 || its_length <= 0 ||
        (own_length == its_length && memcmp(own, its, (size_t)own_length) == 0))
        return false;
    snprintf(path, sizeof path, "/proc/%d/root", (int)pid);
    return stat("/", &here) == 0 && stat(path, &there) == 0 &&
           (here.st_dev != there.st_dev || here.st_ino != there.st_ino);
}

static bool belongs(struct sweep *sweep, pid_t pid)
{
    for (unsigned i = 0; i < sweep->spared_count; i++)
        if (sweep->spared[i] == pid)
            return false;
    if (!is_of_run(sweep, pid) || is_elsewhere(pid))
        return false;
    if (sweep->debug == NULL)
        return is_of_worker(sweep, pid) && !sweep_debug_lives(pid, &sweep->scratch);
    for (unsigned i = 0; i < sweep->within_count; i++)
        if (sweep_debug_is_within(pid, sweep->within[i], &sweep->scratch))
            return true;
    return false;
}

static void spare_ancestors(struct sweep *sweep)
{
    pid_t pid = getpid();
    while (pid > 0 && sweep->spared_count < ANCESTORS_MAX) {
        sweep->spared[sweep->spared_count++] = pid;
        pid = sweep_parent_of(pid, &sweep->scratch);
    }
}

static bool was_signalled(const struct sweep *sweep, pid_t pid)
{
    for (size_t i = 0; i < sweep->signalled_count; i++)
        if (sweep->signalled[i] == pid)
            return true;
    return false;
}

static void signal_process(struct sweep *sweep, pid_t pid, bool kill_now)
{
    if (kill_now)
        kill(pid, SIGKILL);
    if (was_signalled(sweep, pid))
        return;
    if (sweep->signalled_count == sweep->signalled_capacity) {
        size_t capacity = sweep->signalled_capacity * 2 + 16;
        pid_t *signalled = mf_realloc(sweep->signalled, capacity * sizeof *signalled);
        if (signalled == NULL)
            return;
        sweep->signalled = signalled;
        sweep->signalled_capacity = capacity;
    }
    sweep->signalled[sweep->signalled_count++] = pid;
    if (!kill_now) {
        kill(pid, SIGTERM);
        kill(pid, SIGCONT);
    }
}

static void add_left(struct sweep *sweep, const char *sentence)
{
    /* Names of processes and paths may be any bytes. */
    json_t *text = json_string(sentence);
    json_array_append_new(sweep->left,
                          text != NULL ? text : json_string("something whose name is not UTF-8"));
}

static void report_process(struct sweep *sweep, pid_t pid)
{
    char sentence[128];
    const char *name = "?";
    if (mf_process_read(pid, "comm", &sweep->scratch) == 0 && sweep->scratch.length > 0) {
        sweep->scratch.data[sweep->scratch.length - 1] = '\0';
        name = (const char *)sweep->scratch.data;
    }
    snprintf(sentence, sizeof sentence, "process %d (%.32s)", (int)pid, name);
    add_left(sweep, sentence);
}

enum sweep_step { WAIT, SEND_TERM, SEND_KILL, REPORT };

/* Goes over all processes of the run; returns how many there are. */
static unsigned each_process(struct sweep *sweep, enum sweep_step step)
{
    DIR *all = opendir("/proc");
    if (all == NULL)
        return 0;
    unsigned count = 0;
    struct dirent *entry;
    while ((entry = readdir(all)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || !belongs(sweep, pid))
            continue;
        count++;
        if (step == REPORT)
            report_process(sweep, pid);
        else if (step != WAIT)
            signal_process(sweep, pid, step == SEND_KILL);
    }
    closedir(all);
    return count;
}

static void end_processes(struct sweep *sweep)
{
    int64_t start_us = mf_monotonic_us();
    for (;;) {
        int64_t spent_us = mf_monotonic_us() - start_us;
        enum sweep_step step = spent_us < GRACE_US && sweep->debug == NULL ? WAIT
                               : spent_us < KILL_AFTER_US                  ? SEND_TERM
                                                                           : SEND_KILL;
        if (each_process(sweep, step) == 0 || spent_us > GIVE_UP_US)
            return;
        poll(NULL, 0, AGAIN_MS);
    }
}

/* `base`: the place itself goes, too, when it is empty. */
static void remove_below(struct sweep *sweep, const char *place, bool base)
{
    struct mf_error error;
    uint32_t removed = 0;
    char *runs = mf_format("%s/runs", place);
    char *run = mf_format("%s/runs/%s", place, sweep->run_id);
    char *path = sweep->worker == NULL
                     ? mf_format("%s/runs/%s", place, sweep->run_id)
                     : mf_format("%s/runs/%s/%s", place, sweep->run_id, sweep->worker);
    if (runs == NULL || run == NULL || path == NULL) {
        add_left(sweep, "unknown: out of memory");
    } else if (place_remove(path, &removed, &error) < 0) {
        add_left(sweep, error.text);
    } else {
        rmdir(run); /* when it was the last one */
        rmdir(runs);
        if (base)
            rmdir(place);
    }
    sweep->files_removed += removed;
    mf_free(runs);
    mf_free(run);
    mf_free(path);
}

static void remove_folders(struct sweep *sweep)
{
    unsigned count = 0;
    char **places = place_candidates(&count);
    if (places == NULL) {
        add_left(sweep, "unknown: out of memory");
        return;
    }
    for (unsigned i = 0; i < count; i++)
        remove_below(sweep, places[i], false);
    place_candidates_free(places, count);
    char *secrets = place_of_secrets();
    if (secrets != NULL)
        remove_below(sweep, secrets, true);
    else
        add_left(sweep, "unknown: out of memory");
    mf_free(secrets);
}

static bool is_name(const char *text)
{
    return text[0] != '\0' && text[0] != '.' && strchr(text, '/') == NULL;
}

/* A place of its own: runs/debug-RUN/NUMBER in each place of a worker, and its secrets. */
static void remove_debug_at(struct sweep *sweep, const char *number, bool only_secrets)
{
    char *id = mf_format("debug-%s", sweep->run_id), *secrets = place_of_secrets();
    if (id == NULL || secrets == NULL) {
        add_left(sweep, "unknown: out of memory");
    } else {
        struct sweep part = {.run_id = id, .worker = number, .left = sweep->left};
        if (only_secrets)
            remove_below(&part, secrets, true);
        else
            remove_folders(&part);
        sweep->files_removed += part.files_removed;
    }
    mf_free(secrets);
    mf_free(id);
}

/* One that was brought along, with all that was made in it; its secrets have numbers from there. */
static void remove_debug_folder(struct sweep *sweep)
{
    struct mf_error error;
    uint32_t removed = 0;
    char *runs = mf_format("%s/runs/debug-%s", sweep->debug, sweep->run_id);
    DIR *dir = runs == NULL ? NULL : opendir(runs);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (is_name(entry->d_name))
            remove_debug_at(sweep, entry->d_name, true);
    if (dir != NULL)
        closedir(dir);
    if (place_remove(sweep->debug, &removed, &error) < 0)
        add_left(sweep, error.text);
    sweep->files_removed += removed;
    mf_free(runs);
}

static int find_debug(struct sweep *sweep)
{
    unsigned count = 0;
    if (sweep->debug == NULL)
        return 0;
    if (sweep->debug[0] == '/') {
        sweep->within[sweep->within_count++] = mf_strdup(sweep->debug);
        return sweep->within[0] == NULL ? -1 : 0;
    }
    char **places = place_candidates(&count);
    int rc = places == NULL ? -1 : 0;
    for (unsigned i = 0; rc == 0 && i < count && i < WITHIN_MAX; i++) {
        char *path = mf_format("%s/runs/debug-%s/%s", places[i], sweep->run_id, sweep->debug);
        rc = path == NULL ? -1 : 0;
        if (rc == 0)
            sweep->within[sweep->within_count++] = path;
    }
    place_candidates_free(places, count);
    return rc;
}

static int report(struct sweep *sweep)
{
    unsigned ended = 0;
    for (size_t i = 0; i < sweep->signalled_count; i++)
        ended += !belongs(sweep, sweep->signalled[i]); /* gone, or a zombie: that has no strings */
    bool verified = json_array_size(sweep->left) == 0;
    json_t *line = json_pack("{s:i, s:s, s:b, s:i, s:i, s:O}",
                             "version",
                             1,
                             "run",
                             sweep->run_id,
                             "verified",
                             verified,
                             "processes_ended",
                             (int)ended,
                             "files_removed",
                             (int)sweep->files_removed,
                             "left",
                             sweep->left);
    int rc = line == NULL ? -1 : json_dumpf(line, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(line);
    if (rc < 0 || printf("\n") < 0 || fflush(stdout) != 0) {
        fprintf(stderr, "mayfly-worker: the result of the sweep cannot be written\n");
        return 1;
    }
    return verified ? 0 : 1;
}

static bool read_arguments(struct sweep *sweep, int argc, char **argv)
{
    sweep->run_id = argc > 2 ? argv[2] : "";
    bool is_right = is_name(sweep->run_id);
    for (int i = 3; i < argc && is_right; i++) {
        if (strcmp(argv[i], "--remove-program") == 0)
            sweep->remove_program = true;
        else if (strcmp(argv[i], "--worker") == 0 && i + 1 < argc)
            sweep->worker = argv[++i];
        else if (strcmp(argv[i], "--debug") == 0 && i + 1 < argc)
            sweep->debug = argv[++i];
        else
            is_right = false;
    }
    return is_right && (sweep->debug == NULL || sweep->debug[0] == '/' || is_name(sweep->debug)) &&
           (sweep->worker == NULL ||
            (is_name(sweep->worker) && sweep->worker[strspn(sweep->worker, "0123456789")] == '\0'));
}

static int make_marks(struct sweep *sweep)
{
    const char *worker = sweep->worker == NULL ? "" : sweep->worker;
    sweep->mark = mf_format("MAYFLY_RUN=%s", sweep->run_id);
    sweep->worker_mark = mf_format("MAYFLY_WORKER=%s", worker);
    sweep->folder_end = mf_format("/runs/%s/%s", sweep->run_id, worker);
    sweep->left = json_array();
    return sweep->mark == NULL || sweep->worker_mark == NULL || sweep->folder_end == NULL ||
                   sweep->left == NULL
               ? -1
               : 0;
}

int sweep_main(int argc, char **argv)
{
    struct sweep sweep = {0};
    int rc = 1;
    if (!read_arguments(&sweep, argc, argv)) {
        fprintf(stderr,
                "usage: mayfly-worker sweep RUN [--worker N | --debug N|FOLDER] [--remove-program] "
                "(RUN is the id of a run)\n");
        return 2;
    }
    if (make_marks(&sweep) < 0 || find_debug(&sweep) < 0) {
        fprintf(stderr, "mayfly-worker: out of memory\n");
        goto end;
    }
    spare_ancestors(&sweep);
    end_processes(&sweep);
    if (sweep.debug == NULL)
        remove_folders(&sweep);
    else if (sweep.debug[0] == '/')
        remove_debug_folder(&sweep);
    else
        remove_debug_at(&sweep, sweep.debug, false);
    each_process(&sweep, REPORT);
    if (sweep.remove_program)
        sweep.files_removed += program_remove();
    rc = report(&sweep);
end:
    json_decref(sweep.left);
    mf_free(sweep.mark);
    mf_free(sweep.worker_mark);
    mf_free(sweep.folder_end);
    for (unsigned i = 0; i < sweep.within_count; i++)
        mf_free(sweep.within[i]);
    mf_free(sweep.signalled);
    mf_buffer_fini(&sweep.scratch);
    return rc;
}
