/* SPDX-License-Identifier: Apache-2.0 */
/* From job to fleet: see run_hosts.h. */
#include "master/run_hosts.h"

#include <string.h>

#include "common/alloc.h"

/* The entry without its slots, which stand before or behind a slash. */
static void name_host(char *name, const char *text)
{
    const char *slash = strchr(text, '/'), *from = text;
    size_t length = strlen(text);
    if (slash != NULL && slash[1 + strspn(slash + 1, "0123456789")] == '\0') {
        length = (size_t)(slash - text);
    } else if (slash != NULL) {
        from = slash + 1;
        length = strlen(from);
    }
    memcpy(name, from, length); /* of calloc: the end is there */
}

struct launch_host *hosts_of_job(const struct job *job, struct mf_error *error)
{
    size_t size = (job->hosts.count + 1) * sizeof(struct launch_host);
    for (size_t i = 0; i < job->hosts.count; i++)
        size += strlen(job->hosts.items[i].text) + 1;
    struct launch_host *hosts = mf_calloc(1, size);
    if (hosts == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the hosts of the run");
        return NULL;
    }
    char *name = (char *)(hosts + job->hosts.count + 1);
    for (size_t i = 0; i < job->hosts.count; i++) {
        const struct job_host *host = &job->hosts.items[i];
        name_host(name, host->text);
        hosts[i] = (struct launch_host){.name = name,
                                        .is_local = host->is_local,
                                        .user = host->user,
                                        .host = host->host,
                                        .port = host->port,
                                        .slots = host->slots};
        name += strlen(name) + 1;
    }
    return hosts;
}

struct launch_config
launch_config_of(const struct job *job, const char *run_id, const char *worker_binary)
{
    return (struct launch_config){.run_id = run_id,
                                  .worker_binary = worker_binary,
                                  .identity = job->ssh.identity,
                                  .known_hosts = job->ssh.known_hosts,
                                  .accept_new = job->ssh.accept_new,
                                  .keep_worker = job->keep_worker};
}
