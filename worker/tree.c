/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descendants: see tree.h.
 *
 * The kernel lists the children of a thread in /proc/<pid>/task/<tid>/children; where it was built
 * without that, the parents in /proc/<pid>/stat say the same, slowly. Memory is constant: a slot's
 * own peak would show in the peak of every command that it spawns.
 */
#include "worker/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of one process; more are found when the caller repeats. */
#define CHILDREN_MAX 1024
#define DEPTH_MAX 64

struct order {
    int signal;
    pid_t done_group;
    tree_spares_f *spares;
    const void *arg;
    pid_t own_group;
    pid_t own_session;
    unsigned found;
};

static unsigned read_children(int fd, pid_t *children, unsigned count)
{
    char text[1024];
    ssize_t n;
    pid_t pid = 0;
    while ((n = read(fd, text, sizeof text)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
            } else if (pid > 0) {
                if (count < CHILDREN_MAX)
                    children[count++] = pid;
                pid = 0;
            }
        }
    return count;
}

static unsigned listed_children(pid_t pid, pid_t *children)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    if (threads == NULL)
        return 0;
    unsigned count = 0;
    struct dirent *entry;
    while ((entry = readdir(threads)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        char name[NAME_MAX + 16];
        snprintf(name, sizeof name, "%s/children", entry->d_name);
        int fd = openat(dirfd(threads), name, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        count = read_children(fd, children, count);
        close(fd);
    }
    closedir(threads);
    return count;
}

static pid_t parent_of(pid_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    /* The name in parentheses may hold anything, so what follows its last one counts. */
    const char *after = strrchr(text, ')');
    if (after == NULL || strlen(after) < 5)
        return 0;
    return (pid_t)strtol(after + 4, NULL, 10);
}

static unsigned searched_children(pid_t pid, pid_t *children)
{
    DIR *all = opendir("/proc");
    if (all == NULL)
        return 0;
    unsigned count = 0;
    struct dirent *entry;
    while ((entry = readdir(all)) != NULL) {
        pid_t candidate = (pid_t)strtol(entry->d_name, NULL, 10);
        if (candidate > 0 && parent_of(candidate) == pid && count < CHILDREN_MAX)
            children[count++] = candidate;
    }
    closedir(all);
    return count;
}

static bool kernel_lists_children(void)
{
    static int known = -1;
    if (known < 0)
        known = access("/proc/thread-self/children", F_OK) == 0;
    return known;
}

static void send_one(const struct order *order, pid_t pid)
{
    pid_t group = getpgid(pid);
    if (group > 0 && group == order->done_group)
        return;
    if (order->signal == SIGKILL && group > 1 && group != order->own_group &&
        getsid(pid) != order->own_session)
        kill(-group, SIGKILL);
    kill(pid, order->signal);
    /* What is stopped takes a TERM only when it goes on. */
    if (order->signal == SIGTERM)
        kill(pid, SIGCONT);
}

static void visit(struct order *order, pid_t pid, unsigned depth)
{
    pid_t children[CHILDREN_MAX];
    unsigned count =
        kernel_lists_children() ? listed_children(pid, children) : searched_children(pid, children);
    if (depth > 0) {
        order->found++;
        send_one(order, pid);
    }
    for (unsigned i = 0; i < count && depth < DEPTH_MAX; i++)
        if (order->spares == NULL || !order->spares(order->arg, children[i]))
            visit(order, children[i], depth + 1);
}

unsigned tree_signal(int signal, pid_t done_group, tree_spares_f *spares, const void *arg)
{
    struct order order = {.signal = signal,
                          .done_group = done_group,
                          .spares = spares,
                          .arg = arg,
                          .own_group = getpgrp(),
                          .own_session = getsid(0)};
    visit(&order, getpid(), 0);
    return order.found;
}
