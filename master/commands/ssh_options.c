/* SPDX-License-Identifier: Apache-2.0 */
/* Options for hosts and logins: see ssh_options.h. */
#include "master/commands/ssh_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/commands/sets.h"
#include "master/job/hosts.h"

enum {
    KEY_HOSTS = 512,
    KEY_HOSTS_FILE,
    KEY_INVENTORY,
    KEY_KNOWN_HOSTS,
    KEY_ACCEPT_NEW,
    KEY_ADVERTISE,
    KEY_KEEP,
    KEY_CLIENT,
    KEY_CONFIG
};

static const struct argp_option options[] = {
    {0, 0, 0, 0, "Workers on other hosts, over SSH:", 10},
    {"hosts",
     KEY_HOSTS,
     "H,H",
     0,
     "Hosts, one worker each: user@host:port/slots; : is this machine",
     10},
    {"hosts-file", KEY_HOSTS_FILE, "FILE", 0, "File with such hosts, one a line", 10},
    {"inventory",
     KEY_INVENTORY,
     "FILE[:GROUP]",
     0,
     "Ansible inventory of any kind: its hosts, or those of a group",
     10},
    {"identity", 'i', "KEY", 0, "File of the private key (workers.ssh.identity)", 10},
    {"known-hosts",
     KEY_KNOWN_HOSTS,
     "FILE",
     0,
     "File with the hosts' keys (workers.ssh.known_hosts)",
     10},
    {"accept-new",
     KEY_ACCEPT_NEW,
     NULL,
     0,
     "Take and record the keys of hosts that are not known yet",
     10},
    {"ssh-config",
     KEY_CONFIG,
     "FILE",
     0,
     "ssh configuration instead of the user's own, or none (workers.ssh.config)",
     10},
    {"ssh-client",
     KEY_CLIENT,
     "CLIENT",
     0,
     "auto, libssh2 (built in) or openssh (the program ssh)",
     10},
    {"advertise",
     KEY_ADVERTISE,
     "ADDRESS",
     0,
     "Numeric address of this machine that workers can dial",
     10},
    {"keep-worker", KEY_KEEP, NULL, 0, "Leave the worker's program on the hosts", 10},
    {0}};

/* Said here, with the option's name, and not of the change that it becomes. */
static void add_hosts(struct sets *sets, const char *text, struct argp_state *state)
{
    struct job_hosts hosts = {0};
    struct mf_error error = {0};
    int rc = hosts_add_list(&hosts, text, &error);
    hosts_fini(&hosts);
    if (rc < 0)
        argp_error(state, "--hosts: %s", error.text);
    sets_add_text(sets, "workers.hosts", text, state);
}

/* `~/` stays: it is read by the job. */
static void add_path(struct sets *sets, const char *key, const char *path, struct argp_state *state)
{
    if (*path == '/' || *path == '\0' || strncmp(path, "~/", 2) == 0) {
        sets_add_text(sets, key, path, state);
        return;
    }
    char *folder = getcwd(NULL, 0);
    if (folder == NULL)
        argp_failure(state, 3, errno, "the current folder");
    char *whole = folder == NULL ? NULL : mf_format("%s/%s", folder, path);
    if (whole == NULL)
        argp_failure(state, 3, ENOMEM, "a path");
    else
        sets_add_text(sets, key, whole, state);
    mf_free(whole);
    free(folder); /* the C library's own */
}

/* The second of two would win without a word. */
static void check_hosts_once(const struct sets *sets, struct argp_state *state)
{
    if (sets_has(sets, "workers.hosts") || sets_has(sets, "workers.hosts_file") ||
        sets_has(sets, "workers.inventory"))
        argp_error(state,
                   "hosts are given twice; expected one list (--hosts H,H), one file or one "
                   "inventory");
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct sets *sets = state->input;
    switch (key) {
    case KEY_HOSTS:
        check_hosts_once(sets, state);
        add_hosts(sets, text, state);
        return 0;
    case KEY_HOSTS_FILE:
        check_hosts_once(sets, state);
        add_path(sets, "workers.hosts_file", text, state);
        return 0;
    case KEY_INVENTORY:
        check_hosts_once(sets, state);
        add_path(sets, "workers.inventory", text, state);
        return 0;
    case 'i':
        add_path(sets, "workers.ssh.identity", text, state);
        return 0;
    case KEY_KNOWN_HOSTS:
        add_path(sets, "workers.ssh.known_hosts", text, state);
        return 0;
    case KEY_ACCEPT_NEW:
        sets_add(sets, "workers.ssh.accept_new=true", state);
        return 0;
    case KEY_CONFIG:
        if (strcmp(text, "none") == 0)
            sets_add_text(sets, "workers.ssh.config", text, state);
        else
            add_path(sets, "workers.ssh.config", text, state);
        return 0;
    case KEY_CLIENT:
        sets_add_text(sets, "workers.ssh.client", text, state);
        return 0;
    case KEY_ADVERTISE:
        sets_add_text(sets, "workers.advertise", text, state);
        return 0;
    case KEY_KEEP:
        sets_add(sets, "workers.keep_worker=true", state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp ssh_argp = {.options = options, .parser = parse};

const struct argp_child ssh_options[] = {{&ssh_argp, 0, NULL, 0}, {0}};
