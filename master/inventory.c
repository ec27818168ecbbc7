/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an inventory to hosts: see inventory.h. Each host becomes an entry such as job files have,
 * which hosts_add checks; so nothing of the inventory gets further than the same text of a job file
 * would.
 */
#include "master/inventory.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/job/hosts.h"

#define DEPTH_MAX 100 /* of groups in groups */

struct taking {
    const char *path, *group;
    json_t *root, *vars; /* of all hosts, by name */
    json_t *taken;       /* the names that are in already, as keys */
    bool is_keyed;
    struct inventory *out;
};

/* What would lead elsewhere with Ansible, and does not count here. */
static const char *const unheeded[] = {
    "ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args", NULL};

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory: an inventory");
}

static int refuse(const struct taking *taking,
                  const char *host,
                  const char *what,
                  const char *why,
                  struct mf_error *error)
{
    return mf_raise(
        error, MF_EUSAGE, "inventory %s: host '%.100s': %s %s", taking->path, host, what, why);
}

/* The value of the first of `names` that the host has: a text or a whole number, written to *value
 * as a text (to be freed; NULL when there is none). */
static int take_value(const struct taking *taking,
                      const char *host,
                      const char *const *names,
                      char **value,
                      struct mf_error *error)
{
    json_t *vars = json_object_get(taking->vars, host), *found = NULL;
    for (; found == NULL && *names != NULL; names++)
        found = json_object_get(vars, *names);
    *value = NULL;
    if (found == NULL || json_is_null(found))
        return 0;
    const char *text = json_string_value(found), *name = names[-1];
    if (text != NULL && strstr(text, "{{") != NULL)
        return refuse(taking,
                      host,
                      name,
                      "is a template, which ansible-inventory does not fill in; expected its value",
                      error);
    if (json_object_get(found, "__ansible_vault") != NULL)
        return refuse(taking,
                      host,
                      name,
                      "is encrypted by itself, which ansible-inventory does not undo; write it in "
                      "plain text, or encrypt the file as a whole",
                      error);
    if (text == NULL && !json_is_integer(found))
        return refuse(taking, host, name, "is no text; expected a text or a number", error);
    *value =
        text == NULL ? mf_format("%lld", (long long)json_integer_value(found)) : mf_strdup(text);
    return *value == NULL ? raise_memory(error) : 0;
}

/* Names of variables, the newest first, as Ansible has them. */
static const char *const connection_names[] = {"ansible_connection", NULL};
static const char *const host_names[] = {"ansible_host", "ansible_ssh_host", NULL};
static const char *const port_names[] = {"ansible_port", "ansible_ssh_port", NULL};
static const char *const user_names[] = {"ansible_user", "ansible_ssh_user", NULL};
static const char *const slots_names[] = {"mayfly_slots", NULL};
static const char *const key_names[] = {
    "ansible_ssh_private_key_file", "ansible_private_key_file", NULL};

/* What makes an entry. NULL = the inventory does not say. */
struct parts {
    char *connection, *host, *port, *user, *slots, *key;
};

static void parts_fini(struct parts *parts)
{
    char *all[] = {
        parts->connection, parts->host, parts->port, parts->user, parts->slots, parts->key};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mf_free(all[i]);
}

static int take_parts(const struct taking *taking,
                      const char *host,
                      struct parts *parts,
                      struct mf_error *error)
{
    *parts = (struct parts){0};
    if (take_value(taking, host, connection_names, &parts->connection, error) < 0 ||
        take_value(taking, host, host_names, &parts->host, error) < 0 ||
        take_value(taking, host, port_names, &parts->port, error) < 0 ||
        take_value(taking, host, user_names, &parts->user, error) < 0 ||
        take_value(taking, host, slots_names, &parts->slots, error) < 0)
        return -1;
    return taking->is_keyed ? take_value(taking, host, key_names, &parts->key, error) : 0;
}

/* The connection is SSH, or none is needed. */
static int check_connection(const struct taking *taking,
                            const char *host,
                            const struct parts *parts,
                            bool *is_local,
                            struct mf_error *error)
{
    static const char prefix[] = "ansible.builtin.";
    static const char *const by_ssh[] = {"ssh", "smart", "paramiko", "paramiko_ssh"};
    const char *kind = parts->connection;
    *is_local = kind == NULL && parts->host == NULL && strcmp(host, "localhost") == 0;
    if (kind == NULL)
        return 0;
    if (strncmp(kind, prefix, sizeof prefix - 1) == 0)
        kind += sizeof prefix - 1;
    *is_local = strcmp(kind, "local") == 0;
    for (size_t i = 0; i < sizeof by_ssh / sizeof *by_ssh; i++)
        if (strcmp(kind, by_ssh[i]) == 0)
            return 0;
    return *is_local ? 0
                     : refuse(taking,
                              host,
                              "ansible_connection",
                              "is neither ssh nor local; workers are started over nothing else",
                              error);
}

static char *make_entry(const char *host, const struct parts *parts, bool is_local)
{
    const char *name = parts->host == NULL ? host : parts->host;
    const char *user = parts->user, *port = parts->port, *slots = parts->slots;
    bool is_v6 = strchr(name, ':') != NULL;
    if (is_local)
        return mf_format(":%s%s", slots == NULL ? "" : "/", slots == NULL ? "" : slots);
    return mf_format("%s%s%s%s%s%s%s%s%s",
                     user == NULL ? "" : user,
                     user == NULL ? "" : "@",
                     is_v6 ? "[" : "",
                     name,
                     is_v6 ? "]" : "",
                     port == NULL ? "" : ":",
                     port == NULL ? "" : port,
                     slots == NULL ? "" : "/",
                     slots == NULL ? "" : slots);
}

/* A relative key counts from the inventory's folder, wherever mayfly is called. */
static char *key_path(const char *inventory, const char *key)
{
    const char *slash = strrchr(inventory, '/');
    if (*key == '/' || strncmp(key, "~/", 2) == 0 || slash == NULL)
        return mf_strdup(key);
    return mf_format("%.*s/%s", (int)(slash - inventory), inventory, key);
}

/* The host that was added last has that key. */
static int give_key(struct taking *taking, const char *key, struct mf_error *error)
{
    struct job_hosts *hosts = &taking->out->hosts;
    char *path = key == NULL ? NULL : key_path(taking->path, key);
    if (key != NULL && path == NULL)
        return raise_memory(error);
    hosts->items[hosts->count - 1].identity = path;
    return 0;
}

static int add_parts(struct taking *taking,
                     const char *host,
                     const struct parts *parts,
                     struct mf_error *error)
{
    bool is_local = false;
    if (check_connection(taking, host, parts, &is_local, error) < 0)
        return -1;
    char *entry = make_entry(host, parts, is_local);
    if (entry == NULL)
        return raise_memory(error);
    int rc = hosts_add(&taking->out->hosts, mf_bytes_text(entry), error);
    mf_free(entry);
    if (rc < 0)
        return error != NULL && error->code == MF_ENOMEM
                   ? -1
                   : mf_error_prefix(error, "inventory %s: '%.100s'", taking->path, host);
    return is_local || !taking->is_keyed ? 0 : give_key(taking, parts->key, error);
}

/* Said once: what it asks for may be why a host can't be reached. */
static void note_unheeded(struct taking *taking, const char *host)
{
    json_t *vars = json_object_get(taking->vars, host);
    for (const char *const *name = unheeded; *name != NULL; name++) {
        const char *text = json_string_value(json_object_get(vars, *name));
        if (taking->out->unheeded == NULL && text != NULL && *text != '\0')
            taking->out->unheeded =
                mf_format("inventory %s: host '%.100s': %s does not count here; "
                          "what it says belongs into ~/.ssh/config",
                          taking->path,
                          host,
                          *name);
    }
}

static int add_host(struct taking *taking, const char *host, struct mf_error *error)
{
    struct parts parts;
    if (json_object_get(taking->taken, host) != NULL)
        return 0;
    if (json_object_set_new(taking->taken, host, json_true()) < 0)
        return raise_memory(error);
    int rc = take_parts(taking, host, &parts, error);
    if (rc == 0)
        rc = add_parts(taking, host, &parts, error);
    parts_fini(&parts);
    if (rc == 0)
        note_unheeded(taking, host);
    return rc;
}

/* Its hosts, then those of the groups in it. One that has neither is not in the list. */
/* NOLINTNEXTLINE(misc-no-recursion): groups in groups, at most DEPTH_MAX */
static int add_group(struct taking *taking, const char *name, int depth, struct mf_error *error)
{
    json_t *group = json_object_get(taking->root, name), *item;
    size_t i;
    if (depth > DEPTH_MAX)
        return mf_raise(error,
                        MF_EUSAGE,
                        "inventory %s: the group '%.100s' is in itself, or in too many others",
                        taking->path,
                        name);
    json_array_foreach(json_object_get(group, "hosts"), i, item)
    {
        if (json_is_string(item) && add_host(taking, json_string_value(item), error) < 0)
            return -1;
    }
    json_array_foreach(json_object_get(group, "children"), i, item)
    {
        if (json_is_string(item) &&
            add_group(taking, json_string_value(item), depth + 1, error) < 0)
            return -1;
    }
    return 0;
}

/* All groups as keys of a new object, in their order; those without hosts stand only in others. */
static json_t *groups_of(json_t *root)
{
    json_t *groups = json_object(), *group, *item;
    const char *name;
    size_t i;
    json_object_foreach(root, name, group)
    {
        if (strcmp(name, "_meta") == 0)
            continue;
        json_object_set_new(groups, name, json_true());
        json_array_foreach(json_object_get(group, "children"), i, item)
        {
            if (json_is_string(item))
                json_object_set_new(groups, json_string_value(item), json_true());
        }
    }
    return groups;
}

static int raise_no_group(const struct taking *taking, json_t *groups, struct mf_error *error)
{
    char names[500];
    size_t length = 0;
    const char *name;
    json_t *item;
    json_object_foreach(groups, name, item)
    {
        int n =
            snprintf(names + length, sizeof names - length, "%s%s", length == 0 ? "" : ", ", name);
        if (n < 0 || (size_t)n >= sizeof names - length - 4) {
            snprintf(names + length, sizeof names - length, "%s", ", ...");
            break;
        }
        length += (size_t)n;
    }
    names[sizeof names - 1] = '\0';
    return mf_raise(error,
                    MF_EUSAGE,
                    "inventory %s: there is no group '%.100s'; groups are %s",
                    taking->path,
                    taking->group,
                    names);
}

static int check_group(const struct taking *taking, struct mf_error *error)
{
    json_t *groups = groups_of(taking->root);
    if (groups == NULL)
        return raise_memory(error);
    int rc =
        json_object_get(groups, taking->group) != NULL ? 0 : raise_no_group(taking, groups, error);
    json_decref(groups);
    return rc;
}

static bool is_same_key(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* One key that all hosts have is the run's. */
static int join_keys(struct taking *taking, struct mf_error *error)
{
    struct job_hosts *hosts = &taking->out->hosts;
    const struct job_host *first = NULL;
    for (size_t i = 0; i < hosts->count; i++) {
        const struct job_host *host = &hosts->items[i];
        if (host->is_local)
            continue;
        first = first == NULL ? host : first;
        if (!is_same_key(first->identity, host->identity))
            return 0;
    }
    if (first == NULL || first->identity == NULL)
        return 0;
    taking->out->identity = mf_strdup(first->identity);
    for (size_t i = 0; i < hosts->count; i++) {
        mf_free(hosts->items[i].identity);
        hosts->items[i].identity = NULL;
    }
    return taking->out->identity == NULL ? raise_memory(error) : 0;
}

static int take_all(struct taking *taking, struct mf_error *error)
{
    if (check_group(taking, error) < 0 || add_group(taking, taking->group, 0, error) < 0)
        return -1;
    if (taking->out->hosts.count > 0)
        return join_keys(taking, error);
    return mf_raise(error,
                    MF_EUSAGE,
                    "inventory %s: the group '%.100s' has no host",
                    taking->path,
                    taking->group);
}

int inventory_parse(const char *path,
                    const char *group,
                    struct mf_bytes json,
                    bool is_keyed,
                    struct inventory *out,
                    struct mf_error *error)
{
    struct taking taking = {
        .path = path, .group = group == NULL ? "all" : group, .is_keyed = is_keyed, .out = out};
    taking.root = json_loadb((const char *)json.data, json.length, 0, NULL);
    if (!json_is_object(taking.root)) {
        json_decref(taking.root);
        return mf_raise(error,
                        MF_EUSAGE,
                        "inventory %s: ansible-inventory --list did not print a JSON object: run "
                        "`ansible-inventory -i %s --list` by hand to see what it prints",
                        path,
                        path);
    }
    taking.vars = json_object_get(json_object_get(taking.root, "_meta"), "hostvars");
    taking.taken = json_object();
    int rc = taking.taken == NULL ? raise_memory(error) : take_all(&taking, error);
    json_decref(taking.taken);
    json_decref(taking.root);
    return rc;
}

void inventory_fini(struct inventory *inventory)
{
    hosts_fini(&inventory->hosts);
    mf_free(inventory->identity);
    mf_free(inventory->unheeded);
    *inventory = (struct inventory){0};
}

/* Cuts the group off a copy of the source; a file whose whole name is that is the file. */
static char *take_group(char *source)
{
    char *colon = strrchr(source, ':');
    if (colon == NULL || strchr(colon, '/') != NULL || access(source, F_OK) == 0)
        return NULL;
    *colon = '\0';
    return colon + 1;
}

/* ansible-inventory would take a file that is not there for a list of hosts, or for nothing. */
static int read_source(const struct job *job, struct inventory *out, struct mf_error *error)
{
    struct mf_buffer json = {0};
    char *path = mf_strdup(job->inventory);
    if (path == NULL)
        return raise_memory(error);
    const char *group = take_group(path);
    int rc = 0;
    if (access(path, R_OK) < 0) {
        int code = errno;
        rc =
            mf_raise(error, MF_EUSAGE, "inventory %s: it cannot be read: %s", path, strerror(code));
    } else if (group != NULL && *group == '\0')
        rc =
            mf_raise(error, MF_EUSAGE, "inventory %s: behind the colon, a group is expected", path);
    if (rc == 0)
        rc = inventory_list(path, &json, error);
    if (rc == 0)
        rc = inventory_parse(
            path, group, mf_buffer_view(&json), job->ssh.identity == NULL, out, error);
    mf_buffer_fini(&json);
    mf_free(path);
    return rc;
}

/* "key=value" with the value as JSON, which is YAML, too. Takes `value`. */
static char *make_set(const char *key, json_t *value)
{
    char *text = value == NULL ? NULL : json_dumps(value, JSON_ENCODE_ANY);
    char *set = text == NULL ? NULL : mf_format("%s=%s", key, text);
    free(text); /* jansson's own */
    json_decref(value);
    return set;
}

static json_t *entries_of(const struct inventory *inventory)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < inventory->hosts.count; i++) {
        if (json_array_append_new(list, json_string(inventory->hosts.items[i].text)) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* Hosts with keys of their own, as workers.ssh.identities has them. */
static json_t *identities_of(const struct inventory *inventory)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < inventory->hosts.count; i++) {
        const struct job_host *host = &inventory->hosts.items[i];
        char *line = host->identity == NULL ? NULL : mf_format("%s %s", host->name, host->identity);
        if (host->identity != NULL && json_array_append_new(list, json_string(line)) < 0) {
            json_decref(list);
            list = NULL;
        }
        mf_free(line);
    }
    return list;
}

/* The job as it is in force already, with the hosts of the inventory in its place. */
static struct job *
read_again(const struct job *job, const struct inventory *inventory, struct mf_error *error)
{
    const char *sets[3];
    struct job *again = NULL;
    json_t *keys = identities_of(inventory);
    size_t count = 0, wanted = inventory->identity == NULL && json_array_size(keys) == 0 ? 2 : 3;
    sets[0] = make_set("workers.hosts", entries_of(inventory));
    sets[1] = make_set("folder", json_string(job->folder));
    sets[2] = inventory->identity == NULL
                  ? make_set("workers.ssh.identities", keys)
                  : make_set("workers.ssh.identity", json_string(inventory->identity));
    if (inventory->identity != NULL)
        json_decref(keys);
    while (count < wanted && sets[count] != NULL)
        count++;
    if (count < wanted || sets[2] == NULL)
        raise_memory(error);
    else
        again = job_parse(
            job->path, job->folder, mf_bytes_of(job->text, job->text_length), sets, count, error);
    for (size_t i = 0; i < 3; i++)
        mf_free((void *)sets[i]);
    return again;
}

static int check_key(const char *inventory, const char *key, struct mf_error *error)
{
    if (key == NULL || access(key, R_OK) == 0)
        return 0;
    int code = errno;
    return mf_raise(
        error,
        MF_EUSAGE,
        "inventory %s: ansible_ssh_private_key_file: the key file %s cannot be read: %s",
        inventory,
        key,
        strerror(code));
}

static int check_keys(const struct job *job, const char *inventory, struct mf_error *error)
{
    for (size_t i = 0; i < job->hosts.count; i++)
        if (check_key(inventory, job->hosts.items[i].identity, error) < 0)
            return -1;
    return check_key(inventory, job->ssh.identity, error);
}

struct job *inventory_settle(struct job *job, struct mf_error *error)
{
    struct inventory inventory = {0};
    struct job *again = NULL;
    if (job == NULL || job->inventory == NULL)
        return job;
    if (read_source(job, &inventory, error) == 0)
        again = read_again(job, &inventory, error);
    if (again != NULL && inventory.unheeded != NULL)
        fprintf(stderr, "mayfly: warning: %s\n", inventory.unheeded);
    if (again != NULL && check_keys(again, job->inventory, error) < 0) {
        job_destroy(again);
        again = NULL;
    }
    inventory_fini(&inventory);
    job_destroy(job);
    return again;
}
