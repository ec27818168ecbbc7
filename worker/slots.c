/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's end of a slot process: see slots.h. */
#include "worker/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/tree.h"

#define READ_SIZE (16u << 10)

static int spawn(struct slot_process *slot,
                 const char *binary,
                 int control,
                 char *const env[],
                 struct mf_error *error)
{
    char *argv[] = {(char *)(uintptr_t) "mayfly-worker", (char *)(uintptr_t) "slot", NULL};
    posix_spawn_file_actions_t actions;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, control, SLOT_CONTROL_FD);
    if (rc == 0)
        rc = posix_spawn(&slot->pid, binary, &actions, NULL, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    if (rc == 0)
        return 0;
    slot->pid = 0;
    errno = rc;
    return mf_raise_errno(
        error, "cannot start the process of slot %u from %s", slot->number, binary);
}

static int say_configure(struct slot_process *slot, const char *folder, struct mf_error *error)
{
    struct slot_configure configure = {.slot = slot->number, .segment = slot->segment};
    size_t length = strlen(folder) + 1;
    struct slot_header header = {SLOT_CONFIGURE, (uint32_t)(sizeof configure + length)};
    if (mf_buffer_append(&slot->out, &header, sizeof header, error) < 0 ||
        mf_buffer_append(&slot->out, &configure, sizeof configure, error) < 0)
        return -1;
    return mf_buffer_append(&slot->out, folder, length, error);
}

int slot_process_start(struct slot_process *slot,
                       const char *binary,
                       const char *folder,
                       char *const env[],
                       struct mf_error *error)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return mf_raise_errno(error, "cannot make the control socket of slot %u", slot->number);
    mf_buffer_clear(&slot->in);
    mf_buffer_clear(&slot->out);
    slot->taken = 0;
    slot->wants_room = slot->recalled = slot->short_attempts = false;
    int rc = spawn(slot, binary, ends[1], env, error);
    close(ends[1]);
    slot->fd = ends[0];
    if (rc == 0)
        rc = say_configure(slot, folder, error);
    if (rc == 0 && slot_process_send(slot) == 0)
        return 0;
    if (rc == 0)
        mf_raise(error, MF_ESYSTEM, "the process of slot %u cannot be spoken to", slot->number);
    slot_process_kill(slot, NULL, 0);
    return -1;
}

int slot_process_say(struct slot_process *slot,
                     enum slot_message kind,
                     const struct mf_fence *fence,
                     struct mf_error *error)
{
    struct slot_header header = {kind, sizeof *fence};
    if (mf_buffer_reserve(&slot->out, sizeof header + sizeof *fence, error) < 0)
        return -1;
    mf_buffer_append(&slot->out, &header, sizeof header, error);
    return mf_buffer_append(&slot->out, fence, sizeof *fence, error);
}

int slot_process_send(struct slot_process *slot)
{
    size_t done = 0;
    slot->wants_room = false;
    while (done < slot->out.length) {
        ssize_t n = send(
            slot->fd, slot->out.data + done, slot->out.length - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return -1;
        if (n < 0) {
            slot->wants_room = true;
            break;
        }
        done += (size_t)n;
    }
    slot->out.length -= done;
    if (slot->out.length > 0 && done > 0)
        memmove(slot->out.data, slot->out.data + done, slot->out.length);
    return 0;
}

int slot_process_read(struct slot_process *slot, struct mf_error *error)
{
    if (slot->taken > 0) {
        slot->in.length -= slot->taken;
        memmove(slot->in.data, slot->in.data + slot->taken, slot->in.length);
        slot->taken = 0;
    }
    struct slot_header header;
    size_t wanted = READ_SIZE;
    if (slot->in.length >= sizeof header) {
        memcpy(&header, slot->in.data, sizeof header);
        if (header.length > wanted)
            wanted = header.length;
    }
    if (mf_buffer_reserve(&slot->in, wanted, error) < 0)
        return -1;
    ssize_t n = recv(slot->fd, slot->in.data + slot->in.length, wanted, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return mf_raise(error, MF_ESYSTEM, "the control socket of slot %u has ended", slot->number);
    slot->in.length += (size_t)n;
    return 1;
}

bool slot_process_next(struct slot_process *slot, uint32_t *kind, struct mf_bytes *body)
{
    struct slot_header header;
    size_t left = slot->in.length - slot->taken;
    if (left < sizeof header)
        return false;
    const unsigned char *at = slot->in.data + slot->taken;
    memcpy(&header, at, sizeof header);
    if (left - sizeof header < header.length)
        return false;
    *kind = header.kind;
    *body = mf_bytes_of(at + sizeof header, header.length);
    slot->taken += sizeof header + header.length;
    return true;
}

void slot_process_kill(struct slot_process *slot, char *why, size_t size)
{
    int status = 0;
    if (slot->fd >= 0)
        close(slot->fd);
    slot->fd = -1;
    if (slot->pid > 0) {
        pid_t done = waitpid(slot->pid, &status, WNOHANG);
        if (done == 0) {
            kill(slot->pid, SIGKILL);
            while (waitpid(slot->pid, &status, 0) < 0 && errno == EINTR)
                continue;
        }
    }
    slot->pid = 0;
    if (why != NULL && WIFSIGNALED(status))
        snprintf(why, size, "was killed by signal %d", WTERMSIG(status));
    else if (why != NULL)
        snprintf(why, size, "ended with exit code %d", WEXITSTATUS(status));
}

struct slot_array {
    const struct slot_process *slots;
    uint32_t count;
};

static bool is_slot(const void *arg, pid_t pid)
{
    const struct slot_array *array = arg;
    for (uint32_t i = 0; i < array->count; i++)
        if (array->slots[i].pid == pid)
            return true;
    return false;
}

unsigned slots_kill_leftovers(const struct slot_process *slots, uint32_t count)
{
    struct slot_array array = {slots, count};
    unsigned found = tree_signal(SIGKILL, 0, is_slot, &array);
    siginfo_t info = {0};
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0 &&
           !is_slot(&array, info.si_pid)) {
        waitpid(info.si_pid, NULL, 0);
        info.si_pid = 0;
    }
    return found;
}

void slot_process_fini(struct slot_process *slot)
{
    mf_buffer_fini(&slot->in);
    mf_buffer_fini(&slot->out);
    segments_fini(&slot->segments[0]);
    segments_fini(&slot->segments[1]);
}
