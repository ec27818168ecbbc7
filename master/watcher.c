/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a watcher and its loop: see watcher.h and watcher_internal.h.
 *
 * It sleeps in the kernel until one of its descriptors has something to say: the wall clock's alarm
 * (the next time that something is due, or that clock was set), a signal, a change of the folder, a
 * source. While nothing happens it wakes once in WATCHER_SWEEP_US.
 */
#include "master/watcher.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/process.h"
#include "master/record/state_folder.h"
#include "master/watcher_internal.h"

/* --- What wakes it. --- */

static void note_clock_set(struct watcher *watcher)
{
    mf_log(MF_INFO, "the clock was set: looking at what is due by the new time");
    watcher->is_due = true;
}

static void on_alarm(void *arg, uint32_t events)
{
    struct watcher *watcher = arg;
    (void)events;
    if (alarm_take(watcher->alarm_fd))
        note_clock_set(watcher);
    watcher->is_due = true;
}

static void on_files(void *arg, uint32_t events)
{
    struct watcher *watcher = arg;
    (void)events;
    files_take(watcher->files, mf_monotonic_us());
}

static void on_stir(void *arg, uint32_t events)
{
    struct watcher *watcher = arg;
    (void)events;
    stir_take(watcher->stir_fd);
    watcher->is_stir_armed = false;
    watcher->stir_us = mf_monotonic_us();
    watcher->is_due = true;
}

static void reap(struct watcher *watcher)
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        if (pid == watcher->deliverer)
            watcher->deliverer = 0;
}

static void on_signal(void *arg, uint32_t events)
{
    struct watcher *watcher = arg;
    struct signalfd_siginfo info;
    (void)events;
    while (read(watcher->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD) {
            reap(watcher);
        } else if (info.ssi_signo == SIGHUP) {
            watcher->is_asked_to_read = true;
        } else {
            mf_log(MF_INFO,
                   "asked to stop (%s); runs that it has started go on",
                   info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
            watcher->is_asked_to_stop = true;
        }
    }
}

static int take_signals(struct watcher *watcher, struct mf_error *error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return mf_raise_errno(error, "cannot block signals");
    watcher->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return watcher->signal_fd < 0 ? mf_raise_errno(error, "cannot take signals") : 0;
}

/* --- Its beginning and its end. --- */

/* The folder's one name: links and the way that led there do not make it another. */
static int find_folder(struct watcher *watcher, const char *name, struct mf_error *error)
{
    char path[PATH_MAX];
    struct stat facts;
    if (realpath(name, path) == NULL || stat(path, &facts) < 0)
        mf_raise_errno(error, "cannot watch \"%s\"", name);
    else if (!S_ISDIR(facts.st_mode))
        return mf_raise(error,
                        MF_EUSAGE,
                        "cannot watch \"%s\": it is not a folder; give the one that holds the job "
                        "files",
                        name);
    else if ((watcher->folder = mf_strdup(path)) != NULL)
        return 0;
    else
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    error->code = MF_EUSAGE;
    return -1;
}

static int find_places(struct watcher *watcher, const char *folder, struct mf_error *error)
{
    if (find_folder(watcher, folder, error) < 0 || (watcher->state = state_folder(error)) == NULL ||
        state_folder_make(watcher->state, error) < 0)
        return -1;
    watcher->place = place_path(watcher->state, watcher->folder, error);
    if (watcher->place == NULL)
        return -1;
    return place_take(watcher->place, watcher->folder, &watcher->lock, error);
}

static int watch_fd(struct watcher *watcher, int fd, mf_loop_f *callback, struct mf_error *error)
{
    return fd < 0 ? -1 : mf_loop_add(watcher->loop, fd, EPOLLIN, callback, watcher, error);
}

static int begin(struct watcher *watcher, const char *folder, struct mf_error *error)
{
    if (find_places(watcher, folder, error) < 0 ||
        (watcher->program = mf_process_program(error)) == NULL ||
        take_signals(watcher, error) < 0 || (watcher->loop = mf_loop_create(error)) == NULL ||
        (watcher->files = files_open(watcher->folder, error)) == NULL)
        return -1;
    watcher->alarm_fd = alarm_open(error);
    if (watch_fd(watcher, watcher->alarm_fd, on_alarm, error) < 0)
        return -1;
    watcher->stir_fd = stir_open(error);
    if (watch_fd(watcher, watcher->stir_fd, on_stir, error) < 0 ||
        watch_fd(watcher, watcher->signal_fd, on_signal, error) < 0 ||
        watch_fd(watcher, files_fd(watcher->files), on_files, error) < 0)
        return -1;
    /* Without the manager's ear all else works. */
    if (service_open(&watcher->service, error) < 0)
        mf_log(MF_WARNING, "%s", error->text);
    return 0;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void finish(struct watcher *watcher)
{
    watcher_forget_jobs(watcher);
    watcher_close_queues(watcher);
    files_close(watcher->files);
    mf_loop_destroy(watcher->loop);
    close_fd(watcher->alarm_fd);
    close_fd(watcher->stir_fd);
    close_fd(watcher->signal_fd);
    service_close(&watcher->service);
    place_release(&watcher->lock);
    mf_free(watcher->folder_trouble);
    mf_free(watcher->round_trouble);
    mf_free(watcher->program);
    mf_free(watcher->place);
    mf_free(watcher->folder);
    mf_free(watcher->state);
}

/* --- Its days. --- */

static size_t count_served(const struct watcher *watcher)
{
    size_t count = 0;
    for (size_t i = 0; i < watcher->job_count; i++)
        count += watcher->jobs[i].name != NULL;
    return count;
}

/* What the manager shows of it, and that it is alive. */
static void speak(struct watcher *watcher, const char *before)
{
    size_t served = count_served(watcher), broken = 0;
    char next[64] = "", stamp[MF_STAMP_SIZE];
    for (size_t i = 0; i < watcher->job_count; i++)
        broken += watcher->jobs[i].trouble != NULL;
    if (watcher->next_us < MF_NEVER)
        snprintf(next, sizeof next, ", next %.19sZ", mf_stamp(watcher->next_us, stamp));
    service_say(&watcher->service,
                "%sWATCHDOG=1\nSTATUS=%zu job%s%s%s",
                before,
                served,
                served == 1 ? "" : "s",
                broken > 0 ? ", some with trouble (see the log)" : "",
                next);
    watcher->spoken_us = mf_monotonic_us();
}

static void look_if_due(struct watcher *watcher, bool sweep, bool all)
{
    if (all) {
        mf_log(MF_INFO, "asked to read the job files anew (SIGHUP)");
        service_say(
            &watcher->service, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)mf_monotonic_us());
    }
    if (all || sweep || files_due_us(watcher->files) <= mf_monotonic_us()) {
        watcher_look(watcher, all);
        watcher->is_due = true;
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When it has to wake at the latest, of the monotonic clock, files aside. */
static int64_t wake_us(const struct watcher *watcher)
{
    int64_t next = watcher->sweep_us;
    if (watcher->service.watchdog_us > 0)
        next = earlier(next, watcher->spoken_us + watcher->service.watchdog_us / 2);
    for (size_t i = 0; i < watcher->job_count; i++)
        next = earlier(next, watcher_source_next_us(watcher->jobs[i].source));
    return next;
}

/* One timer for both clocks. 1 when the clock was set meanwhile. */
static int set_alarm(struct watcher *watcher, struct mf_error *error)
{
    int64_t left_us = wake_us(watcher) - mf_monotonic_us();
    int64_t at_us = mf_wall_us() + (left_us > 0 ? left_us : 0);
    return alarm_set(watcher->alarm_fd, earlier(at_us, watcher->next_us), error);
}

/* After a round that failed: whatever made it due may still do so, and would have it made again and
 * again at once. A signal ends the rest. */
static void rest(struct watcher *watcher)
{
    struct pollfd signals = {.fd = watcher->signal_fd, .events = POLLIN};
    poll(&signals, 1, WATCHER_REST_US / 1000);
    watcher->is_due = true;
}

/* SIGHUP is also a sweep: whoever asks wants to see it now. */
static void work(struct watcher *watcher)
{
    bool all = watcher->is_asked_to_read, sweep = all || mf_monotonic_us() >= watcher->sweep_us;
    watcher->is_asked_to_read = false;
    look_if_due(watcher, sweep, all);
    if (sweep)
        watcher->sweep_us = mf_monotonic_us() + WATCHER_SWEEP_US;
    if (sweep || watcher->is_due) {
        watcher->is_due = false;
        int rc = watcher_round(watcher, sweep);
        speak(watcher, all ? "READY=1\n" : "");
        if (rc < 0)
            rest(watcher);
    }
}

static int live(struct watcher *watcher, struct mf_error *error)
{
    work(watcher); /* the first sweep */
    mf_log(MF_INFO, "watching %s: jobs served: %zu", watcher->folder, count_served(watcher));
    speak(watcher, "READY=1\n");
    while (!watcher->is_asked_to_stop) {
        int was_set = set_alarm(watcher, error);
        if (was_set < 0)
            return -1;
        if (was_set > 0)
            note_clock_set(watcher);
        int64_t until_us = watcher->is_due ? 0 : files_due_us(watcher->files);
        if (mf_loop_step(watcher->loop, until_us, error) < 0)
            return -1;
        if (!watcher->is_asked_to_stop)
            work(watcher);
    }
    service_say(&watcher->service, "STOPPING=1\nSTATUS=stopping");
    return 0;
}

int watcher_run(const char *folder, struct mf_error *error)
{
    struct watcher watcher = {.alarm_fd = -1,
                              .signal_fd = -1,
                              .stir_fd = -1,
                              .lock = {-1, -1},
                              .service = {.fd = -1},
                              .next_us = MF_NEVER};
    mf_log_to(STDERR_FILENO, MF_INFO);
    mf_log_for_journal(STDERR_FILENO);
    int rc = begin(&watcher, folder, error);
    if (rc == 0)
        rc = live(&watcher, error);
    finish(&watcher);
    return rc;
}
