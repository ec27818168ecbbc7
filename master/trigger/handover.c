/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Masters are started: see handover.h. All of a transaction's at once; then this process listens to
 * what they say, through a pipe each, until each has ended (its master goes on in a session of its
 * own) or the time is over. Not by a shell and not by a copy of this process: whoever calls may
 * have threads.
 */
#include "master/trigger/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/process.h"
#include "common/spawn.h"
#include "master/queue/firing.h"
#include "master/trigger/row.h"

#define WAIT_US (30 * 1000000LL)
#define SAID_MAX 4096u

/* One that is being started. */
struct start {
    const struct trigger_run *run;
    struct trigger_row row;
    pid_t pid; /* 0 = it has ended, or was never there */
    int fd;    /* what it says; -1 = nothing more */
    int status;
    struct mf_buffer said;
    char why[512]; /* it cannot be started; "" = nothing is known against it */
};

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory: the start of a run");
}

/* The lines of a text as an array of strings that point into it, NULL at its end. NULL when memory
 * is exhausted. */
static char **split_lines(char *text)
{
    size_t count = 0;
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
        count++;
    char **lines = mf_calloc(count + 1, sizeof *lines);
    for (size_t i = 0; lines != NULL && i < count; i++) {
        char *end = strchr(text, '\n');
        *end = '\0';
        lines[i] = text;
        text = end + 1;
    }
    return lines;
}

/* The folder of a path; "/" when there is none. */
static char *folder_of(const char *path)
{
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    return slash == NULL || slash == path ? mf_strdup("/")
                                          : mf_memdup(path, (size_t)(slash - path));
}

/* posix_spawn of the start's command, with `out` for what it says; the number of an error or 0. */
static int spawn(char *const *argv, char *const *env, const char *folder, int out, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, out, 2);
    posix_spawn_file_actions_addchdir_np(&actions, folder);
    int rc = mf_spawn(argv, env, &actions, POSIX_SPAWN_SETSID, pid);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static int spawn_start(struct start *start, const char *program, int out)
{
    const char *submit[] = {
        program, "submit", start->row.job_path, "--firing", start->run->run_id, NULL};
    const char *resume[] = {program, "resume", "--detach", start->run->run_id, NULL};
    bool has_row = start->row.environment != NULL; /* a run outlives its trigger */
    char *text = has_row ? mf_strdup(start->row.environment) : NULL;
    char **env = text == NULL ? NULL : split_lines(text);
    char *folder = folder_of(start->row.job_path);
    int rc = ENOMEM;
    if (folder != NULL && (env != NULL || !has_row))
        rc = spawn((char *const *)(start->run->is_begun ? resume : submit),
                   has_row ? env : environ,
                   access(folder, X_OK) == 0 ? folder : "/",
                   out,
                   &start->pid);
    mf_free(folder);
    mf_free(env);
    mf_free(text);
    return rc;
}

/* What is wrong is in start->why. */
static void begin(struct start *start, const char *program)
{
    int fds[2], rc = 0;
    if (!start->run->is_begun && start->row.job_path == NULL) {
        snprintf(start->why, sizeof start->why, "its trigger was removed");
        return;
    }
    if (pipe2(fds, O_CLOEXEC) < 0) {
        snprintf(start->why, sizeof start->why, "cannot make a pipe: %s", strerror(errno));
        return;
    }
    start->fd = fds[0];
    if ((rc = spawn_start(start, program, fds[1])) != 0) {
        start->pid = 0;
        snprintf(start->why, sizeof start->why, "cannot start %s: %s", program, strerror(rc));
    }
    close(fds[1]);
}

/* What can be read now; at the end of file nothing more is expected. */
static void listen_to(struct start *start)
{
    char piece[512];
    ssize_t n = read(start->fd, piece, sizeof piece);
    if (n < 0 && errno == EINTR)
        return;
    if (n > 0 && start->said.length < SAID_MAX)
        mf_buffer_append(&start->said, piece, (size_t)n, NULL);
    if (n > 0)
        return;
    close(start->fd);
    start->fd = -1;
}

static bool has_ended(struct start *start)
{
    pid_t pid = start->pid == 0 ? 0 : waitpid(start->pid, &start->status, WNOHANG);
    if (pid == start->pid || (pid < 0 && errno == ECHILD))
        start->pid = 0;
    return start->pid == 0;
}

/* Waits until all have ended, or until the deadline. */
static void await(struct start *starts, size_t count, int64_t deadline_us)
{
    struct pollfd *fds = mf_calloc(count, sizeof *fds);
    for (bool is_over = fds == NULL; !is_over && mf_monotonic_us() < deadline_us;) {
        bool has_stream = false;
        is_over = true;
        for (size_t i = 0; i < count; i++) {
            fds[i] = (struct pollfd){.fd = starts[i].fd, .events = POLLIN};
            has_stream |= starts[i].fd >= 0;
            is_over &= starts[i].fd < 0 && has_ended(&starts[i]);
        }
        /* A stream ends a moment before its process does. */
        if (!is_over && poll(fds, count, has_stream ? 100 : 1) > 0)
            for (size_t i = 0; i < count; i++)
                if (fds[i].revents != 0)
                    listen_to(&starts[i]);
    }
    mf_free(fds);
}

/* The last line that it has said, without "mayfly: ". */
static const char *last_words(struct start *start)
{
    char *text = (char *)mf_buffer_text(&start->said);
    if (text == NULL || *text == '\0')
        return "";
    for (size_t n = strlen(text); n > 0 && text[n - 1] == '\n'; n--)
        text[n - 1] = '\0';
    char *line = strrchr(text, '\n');
    line = line == NULL ? text : line + 1;
    return strncmp(line, "mayfly: ", 8) == 0 ? line + 8 : line;
}

/* Whether its master has begun; else start->why says why not. */
static bool judge(struct start *start)
{
    if (start->why[0] != '\0')
        return false;
    if (start->pid != 0 || start->fd >= 0) {
        snprintf(start->why, sizeof start->why, "it has not begun in time");
        return false;
    }
    if (WIFEXITED(start->status) && WEXITSTATUS(start->status) == 0)
        return true;
    const char *words = last_words(start);
    if (WIFSIGNALED(start->status))
        snprintf(start->why,
                 sizeof start->why,
                 "what should start it was ended by signal %d",
                 WTERMSIG(start->status));
    else if (*words != '\0')
        snprintf(start->why, sizeof start->why, "%s", words);
    else
        snprintf(start->why,
                 sizeof start->why,
                 "exit code %d, without a word",
                 WEXITSTATUS(start->status));
    return false;
}

/* Nobody is about to start it any more, and what went wrong is noted. */
static int note(struct queues *queues,
                struct start *start,
                const char *starter,
                size_t *failed,
                struct mf_error *error)
{
    if (!judge(start)) {
        ++*failed;
        mf_log(MF_WARNING, "run %s could not be started: %s", start->run->run_id, start->why);
        char *text = mf_format("run %s could not be started: %s", start->run->run_id, start->why);
        int rc = text == NULL || start->run->trigger == NULL
                     ? 0
                     : trigger_row_note(queues, start->run->trigger, text, error);
        mf_free(text);
        if (rc < 0)
            return -1;
    }
    return firing_release(queues, start->run->run_id, starter, mf_wall_us(), error);
}

static int note_all(struct queues *queues,
                    struct start *starts,
                    size_t count,
                    size_t *failed,
                    struct mf_error *error)
{
    char *starter = firing_starter();
    if (starter == NULL)
        return raise_memory(error);
    int rc = queues_begin(queues, error);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = note(queues, &starts[i], starter, failed, error);
    if (rc == 0)
        rc = queues_commit(queues, error);
    queues_rollback(queues);
    mf_free(starter);
    return rc;
}

static int begin_all(struct queues *queues,
                     const struct trigger_fired *fired,
                     const char *program,
                     struct start *starts,
                     struct mf_error *error)
{
    for (size_t i = 0; i < fired->count; i++) {
        struct start *start = &starts[i];
        start->run = &fired->runs[i];
        start->fd = -1;
        if (start->run->trigger != NULL &&
            trigger_row_find(queues, start->run->trigger, &start->row, error) < 0)
            return -1;
        begin(start, program);
    }
    return 0;
}

static void end_all(struct start *starts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (starts[i].fd >= 0)
            close(starts[i].fd);
        mf_buffer_fini(&starts[i].said);
        trigger_row_fini(&starts[i].row);
    }
    mf_free(starts);
}

int trigger_hand_over(struct queues *queues,
                      const struct trigger_fired *fired,
                      const struct handover *handover,
                      size_t *failed,
                      struct mf_error *error)
{
    size_t none;
    if (failed == NULL)
        failed = &none;
    *failed = 0;
    if (fired->count == 0)
        return 0;
    MF_CRASH(TRIGGER_AFTER_COMMIT);
    const char *named = handover == NULL ? NULL : handover->program;
    int64_t wait_us = handover == NULL || handover->wait_us == 0 ? WAIT_US : handover->wait_us;
    char *program = named == NULL ? mf_process_program(error) : mf_strdup(named);
    struct start *starts = mf_calloc(fired->count, sizeof *starts);
    int rc = -1;
    if (program == NULL || starts == NULL) {
        if (starts == NULL || named != NULL)
            raise_memory(error);
    } else if (begin_all(queues, fired, program, starts, error) == 0) {
        MF_CRASH(TRIGGER_AFTER_START);
        await(starts, fired->count, mf_monotonic_us() + wait_us);
        MF_CRASH(TRIGGER_AFTER_WORD);
        rc = note_all(queues, starts, fired->count, failed, error);
    }
    if (starts != NULL)
        end_all(starts, fired->count);
    mf_free(program);
    return rc;
}
