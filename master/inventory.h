/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts of an Ansible inventory (workers.inventory: "FILE" or "FILE:GROUP"), whatever kind it is
 * of: `ansible-inventory --list` reads it, and what that says becomes workers.hosts and, where the
 * hosts name a key, workers.ssh.identity or workers.ssh.identities. This happens once, when a run
 * or a check begins: reading a job file starts no program. Not thread-safe; before any other thread
 * is made.
 */
#ifndef MAYFLY_MASTER_INVENTORY_H
#define MAYFLY_MASTER_INVENTORY_H

#include "common/buffer.h"
#include "common/error.h"
#include "master/job/job.h"

/* What an inventory says, zero-initialised is empty. */
struct inventory {
    struct job_hosts hosts;
    char *identity; /* the key that all have; NULL = there is none, or each has its own */
    char *unheeded; /* a sentence on what does not count, for people; NULL = nothing */
};

/*
 * Takes `job` and returns it, or, when it has an inventory, one with its hosts instead; NULL with a
 * sentence that names the inventory: MF_EUSAGE, MF_ESETUP (no ansible-inventory, or it does not
 * end), MF_ENOMEM. NULL is returned as it is.
 */
struct job *inventory_settle(struct job *job, struct mf_error *error);

/*
 * The hosts of `group` (NULL = all) in what `ansible-inventory --list` has said of `path`, in the
 * inventory's order, each once. `is_keyed`: keys that hosts name count; their paths are absolute,
 * or begin with ~/. MF_EUSAGE, MF_ENOMEM.
 */
int inventory_parse(const char *path,
                    const char *group,
                    struct mf_bytes json,
                    bool is_keyed,
                    struct inventory *out,
                    struct mf_error *error);
void inventory_fini(struct inventory *inventory);

/* What `ansible-inventory --list` says of the inventory `path`, appended. MF_EUSAGE with what it
 * has said when it fails, MF_ESETUP, MF_ENOMEM. An end by SIGINT, SIGTERM or SIGHUP ends it, too.
 */
int inventory_list(const char *path, struct mf_buffer *json, struct mf_error *error);

#endif
