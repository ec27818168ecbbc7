/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local launcher: workers as detached processes of this machine. They are started, join, work
 * and end exactly as those that come over SSH; only that their death is known at once, by a pidfd.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/launch/answer.h"
#include "master/launch/child.h"
#include "master/launch/launcher.h"
#include "master/launch/local_find.h"

#define KILL_AFTER_US 7000000 /* more than a worker gives its own subtasks */

struct worker_process {
    struct worker_process *next;
    struct launcher *launcher;
    struct child *child; /* the start that is under way */
    uint32_t worker;
    uint32_t pid;
    int pidfd;          /* -1 before it runs and after it has ended */
    int64_t kill_at_us; /* 0 = not asked to stop */
    bool given_up;      /* asked to stop while it was started */
};

struct launcher {
    struct mf_loop *loop;
    struct launcher_callbacks callbacks;
    char *run_id, *binary;
    char host[256];
    char **envp;
    struct worker_process *workers;
    struct child *sweep;
    const struct launch_host *swept;
    unsigned under_way;
};

static char **make_environment(const char *run_id)
{
    static const char *const names[] = {"PATH",
                                        "HOME",
                                        "XDG_CACHE_HOME",
                                        "TMPDIR",
                                        "ASAN_OPTIONS",
                                        "TSAN_OPTIONS",
                                        "LSAN_OPTIONS",
                                        "UBSAN_OPTIONS"};
    char **envp = mf_calloc(sizeof names / sizeof *names + 2, sizeof *envp);
    if (envp == NULL)
        return NULL;
    unsigned n = 0;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]) != NULL &&
            (envp[n] = mf_format("%s=%s", names[i], getenv(names[i]))) != NULL)
            n++;
    envp[n] = mf_format("MAYFLY_RUN=%s", run_id);
    return envp;
}

static void local_destroy(struct launcher *launcher);

static struct launcher *local_create(struct mf_loop *loop,
                                     const struct launch_config *config,
                                     const struct launcher_callbacks *callbacks,
                                     struct mf_error *error)
{
    struct launcher *launcher = mf_calloc(1, sizeof *launcher);
    if (launcher == NULL)
        goto fail;
    launcher->loop = loop;
    launcher->callbacks = *callbacks;
    launcher->run_id = mf_strdup(config->run_id);
    launcher->binary = mf_strdup(config->worker_binary);
    launcher->envp = make_environment(config->run_id);
    if (launcher->run_id == NULL || launcher->binary == NULL || launcher->envp == NULL)
        goto fail;
    /* A worker's parent ends at once; without this its zombie would be left to whatever process 1
     * is. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (gethostname(launcher->host, sizeof launcher->host - 1) < 0)
        snprintf(launcher->host, sizeof launcher->host, "localhost");
    if (access(config->worker_binary, X_OK) < 0) {
        mf_raise_errno(error,
                       "the worker's program %s cannot be executed (install it beside mayfly)",
                       config->worker_binary);
        local_destroy(launcher);
        return NULL;
    }
    return launcher;
fail:
    mf_raise(error, MF_ENOMEM, "out of memory: the local launcher");
    local_destroy(launcher);
    return NULL;
}

/* In place whole or not at all. */
static int write_whole(const char *path, const char *text, struct mf_error *error)
{
    char temporary[96];
    size_t length = strlen(text);
    snprintf(temporary, sizeof temporary, "%.80s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    ssize_t n = fd < 0 ? -1 : write(fd, text, length);
    int rc = n != (ssize_t)length || rename(temporary, path) < 0
                 ? mf_raise_errno(error, "cannot write %s", path)
                 : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

static void on_death(void *arg, uint32_t events)
{
    (void)events;
    struct worker_process *process = arg;
    mf_loop_remove(process->launcher->loop, process->pidfd);
    close(process->pidfd);
    process->pidfd = -1;
    process->kill_at_us = 0;
    waitpid((pid_t)process->pid, NULL, WNOHANG);
    process->launcher->callbacks.died(process->launcher->callbacks.arg, process->worker);
}

static int watch_process(struct worker_process *process, struct mf_error *error)
{
    process->pidfd = pidfd_open((pid_t)process->pid, 0);
    if (process->pidfd < 0)
        return mf_raise_errno(error, "worker %u ended right after its start", process->worker);
    return mf_loop_add(process->launcher->loop, process->pidfd, EPOLLIN, on_death, process, error);
}

static void on_started(void *arg, const struct child_result *result)
{
    struct worker_process *process = arg;
    struct launcher *launcher = process->launcher;
    process->child = NULL;
    launcher->under_way--;
    struct launch_report report = {
        .worker = process->worker, .place = launcher->host, .touched = true, .again = true};
    if (result->code == 0 && answer_started(result->output, process->worker, &report)) {
        process->pid = report.pid;
        report.ok = watch_process(process, &report.error) == 0;
    } else {
        char problem[512];
        answer_problem(result->problem, problem, sizeof problem);
        mf_raise(&report.error,
                 MF_ESETUP,
                 "worker %u did not start (exit code %d): %s",
                 process->worker,
                 result->code,
                 problem);
    }
    launcher->callbacks.launched(launcher->callbacks.arg, &report);
}

static int
local_start(struct launcher *launcher, const struct launch_order *order, struct mf_error *error)
{
    struct worker_process *process = mf_calloc(1, sizeof *process);
    if (process == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: worker %u", order->worker);
    process->launcher = launcher;
    process->worker = order->worker;
    process->pidfd = -1;
    const char *argv[] = {launcher->binary, "start", launcher->run_id, NULL};
    process->child = child_start(launcher->loop,
                                 argv,
                                 launcher->envp,
                                 mf_bytes_text(order->input),
                                 on_started,
                                 process,
                                 error);
    if (process->child == NULL) {
        mf_free(process);
        return -1;
    }
    process->next = launcher->workers;
    launcher->workers = process;
    launcher->under_way++;
    return 0;
}

static int
local_adopt(struct launcher *launcher, const struct launch_known *known, struct mf_error *error)
{
    uint32_t pid = local_find_worker(known->pid, launcher->run_id, known->worker);
    if (pid == 0)
        return 0;
    struct worker_process *process = mf_calloc(1, sizeof *process);
    if (process == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: worker %u", known->worker);
    process->launcher = launcher;
    process->worker = known->worker;
    process->pid = pid;
    process->next = launcher->workers;
    launcher->workers = process;
    if (watch_process(process, NULL) == 0 &&
        /* Again, now that its number cannot become another's unnoticed. */
        local_is_worker(pid, launcher->run_id, known->worker))
        return 1;
    if (process->pidfd >= 0) {
        mf_loop_remove(launcher->loop, process->pidfd);
        close(process->pidfd);
        process->pidfd = -1;
    }
    return 0;
}

/* Its folder is where it stands. */
static void local_readdress(struct launcher *launcher,
                            const struct launch_host *host,
                            uint32_t worker,
                            const char *addresses)
{
    char path[64];
    struct mf_error error;
    (void)host;
    for (struct worker_process *p = launcher->workers; p != NULL; p = p->next) {
        if (p->worker != worker || p->pidfd < 0)
            continue;
        snprintf(path, sizeof path, "/proc/%u/cwd/addresses", p->pid);
        if (write_whole(path, addresses, &error) < 0)
            mf_log(MF_WARNING, "worker %u is not told where its master is: %s", worker, error.text);
    }
}

static void local_stop(struct launcher *launcher, const struct launch_host *host, uint32_t worker)
{
    (void)host;
    for (struct worker_process *p = launcher->workers; p != NULL; p = p->next) {
        if (p->worker != worker)
            continue;
        p->given_up = p->child != NULL;
        if (p->pidfd >= 0 && p->kill_at_us == 0) {
            pidfd_send_signal(p->pidfd, SIGTERM, NULL, 0);
            p->kill_at_us = mf_monotonic_us() + KILL_AFTER_US;
        }
    }
}

/* Nobody waits for the end of this start. What it may have left is found by the sweep. */
static void give_up_start(struct worker_process *process)
{
    struct launcher *launcher = process->launcher;
    struct launch_report report = {.worker = process->worker,
                                   .place = launcher->host,
                                   .touched = true,
                                   .again = true,
                                   .given_up = true};
    mf_raise(
        &report.error, MF_ESETUP, "worker %u was given up while it was started", process->worker);
    child_abandon(process->child);
    process->child = NULL;
    process->given_up = false;
    launcher->under_way--;
    launcher->callbacks.launched(launcher->callbacks.arg, &report);
}

/* A pidfd knows better than what a worker says of itself. */
static void local_farewell(struct launcher *launcher, uint32_t worker)
{
    (void)launcher;
    (void)worker;
}

static void on_swept(void *arg, const struct child_result *result)
{
    struct launcher *launcher = arg;
    launcher->sweep = NULL;
    launcher->under_way--;
    char left[1024];
    struct sweep_report report = {.host = launcher->swept, .place = launcher->host};
    answer_swept(result->output, result->problem, result->code, left, sizeof left, &report);
    launcher->callbacks.swept(launcher->callbacks.arg, &report);
}

static int
local_sweep(struct launcher *launcher, const struct launch_host *host, struct mf_error *error)
{
    launcher->swept = host;
    const char *argv[] = {launcher->binary, "sweep", launcher->run_id, NULL};
    /* The sweep itself must not look like a part of the run. */
    char **envp = launcher->envp;
    unsigned last = 0;
    while (envp[last + 1] != NULL)
        last++;
    char *mark = envp[last];
    envp[last] = NULL;
    launcher->sweep =
        child_start(launcher->loop, argv, envp, mf_bytes_text(""), on_swept, launcher, error);
    envp[last] = mark;
    if (launcher->sweep == NULL)
        return -1;
    launcher->under_way++;
    return 0;
}

/* On this machine the program is where it was installed, and copied nowhere. */
static int
local_check(struct launcher *launcher, const struct launch_host *host, struct mf_error *error)
{
    (void)error;
    struct check_report report = {
        .host = host, .ok = true, .verdict = "ok", .reachable = true, .has_program = true};
    const struct passwd *account = getpwuid(geteuid());
    struct utsname name;
    struct statvfs fs;
    uname(&name);
    if (account != NULL)
        snprintf(report.user, sizeof report.user, "%s", account->pw_name);
    snprintf(report.system,
             sizeof report.system,
             "%.40s %.40s %.40s",
             name.sysname,
             name.release,
             name.machine);
    snprintf(report.folder,
             sizeof report.folder,
             "%.*s",
             (int)(strrchr(launcher->binary, '/') - launcher->binary),
             launcher->binary);
    report.cores = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    report.memory_kib = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
    if (statvfs(report.folder, &fs) == 0)
        report.free_kib = (uint64_t)fs.f_bavail * fs.f_frsize / 1024;
    launcher->callbacks.checked(launcher->callbacks.arg, &report);
    return 0;
}

static bool local_is_idle(const struct launcher *launcher)
{
    return launcher->under_way == 0;
}

static int64_t local_tick(struct launcher *launcher, int64_t now_us)
{
    int64_t next = MF_NEVER;
    for (struct worker_process *p = launcher->workers; p != NULL; p = p->next) {
        if (p->given_up && p->child != NULL)
            give_up_start(p);
        if (p->pidfd < 0 || p->kill_at_us == 0)
            continue;
        if (p->kill_at_us <= now_us) {
            pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
            p->kill_at_us = now_us + KILL_AFTER_US;
        }
        if (p->kill_at_us < next)
            next = p->kill_at_us;
    }
    return next;
}

static void local_destroy(struct launcher *launcher)
{
    if (launcher == NULL)
        return;
    while (launcher->workers != NULL) {
        struct worker_process *process = launcher->workers;
        launcher->workers = process->next;
        child_abandon(process->child);
        if (process->pidfd >= 0) {
            mf_loop_remove(launcher->loop, process->pidfd);
            close(process->pidfd);
        }
        mf_free(process);
    }
    child_abandon(launcher->sweep);
    while (waitpid(-1, NULL, WNOHANG) > 0) /* what killed workers have left to us */
        ;
    for (unsigned i = 0; launcher->envp != NULL && launcher->envp[i] != NULL; i++)
        mf_free(launcher->envp[i]);
    mf_free(launcher->envp);
    mf_free(launcher->run_id);
    mf_free(launcher->binary);
    mf_free(launcher);
}

const struct launcher_class launcher_local = {.name = "local",
                                              .create = local_create,
                                              .start = local_start,
                                              .adopt = local_adopt,
                                              .readdress = local_readdress,
                                              .stop = local_stop,
                                              .farewell = local_farewell,
                                              .sweep = local_sweep,
                                              .check = local_check,
                                              .is_idle = local_is_idle,
                                              .tick = local_tick,
                                              .destroy = local_destroy};
