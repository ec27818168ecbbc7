/* SPDX-License-Identifier: Apache-2.0 */
/* From job to fleet: see run_hosts.h. */
#include "master/run_hosts.h"

#include "common/alloc.h"
#include "master/launch/slurm_clean.h"

struct launch_host *hosts_of_job(const struct job *job, uint32_t *count, struct mf_error *error)
{
    bool is_slurm = job->launcher == LAUNCHER_SLURM;
    bool is_elsewhere = job_has_engine(job);
    const char *name = is_slurm ? "slurm" : "command";
    *count = is_elsewhere ? job->worker_max : (uint32_t)job->hosts.count;
    struct launch_host *hosts = mf_calloc(*count + 1, sizeof *hosts);
    if (hosts == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the hosts of the run");
        return NULL;
    }
    for (size_t i = 0; i < job->hosts.count; i++) {
        const struct job_host *host = &job->hosts.items[i];
        hosts[i] = (struct launch_host){.name = host->name,
                                        .is_local = host->is_local,
                                        .user = host->user,
                                        .host = host->host,
                                        .port = host->port,
                                        .slots = host->slots,
                                        .identity = host->identity};
    }
    for (uint32_t i = 0; is_elsewhere && i < *count; i++)
        hosts[i] = (struct launch_host){.name = name,
                                        .host = name,
                                        .kind = is_slurm ? LAUNCH_BY_SLURM : LAUNCH_BY_COMMAND,
                                        .slots = job->slots};
    return hosts;
}

char *shared_folder_of(const struct job *job, const char *run_id, const char *run_folder)
{
    bool is_slurm = job->launcher == LAUNCHER_SLURM;
    const char *folder = is_slurm ? job->slurm.folder : job->launch.folder;
    return folder == NULL ? mf_format("%s/%s", run_folder, is_slurm ? SLURM_FOLDER : "workers")
                          : mf_format("%s/mayfly-%s", folder, run_id);
}

static enum launch_client client_of(enum ssh_client client)
{
    switch (client) {
    case SSH_CLIENT_LIBSSH2:
        return LAUNCH_CLIENT_LIBSSH2;
    case SSH_CLIENT_OPENSSH:
        return LAUNCH_CLIENT_OPENSSH;
    default:
        return LAUNCH_CLIENT_AUTO;
    }
}

static struct launch_words words_of(const struct job_strings *words)
{
    return (struct launch_words){.items = (const char *const *)words->items, .count = words->count};
}

struct launch_config
launch_config_of(const struct job *job, const char *run_id, const char *worker_binary)
{
    return (struct launch_config){
        .run_id = run_id,
        .worker_binary = worker_binary,
        .identity = job->ssh.identity,
        .known_hosts = job->ssh.known_hosts,
        .ssh_config = job->ssh.config,
        .accept_new = job->ssh.accept_new,
        .client = client_of(job->ssh.client),
        .keep_worker = job->keep_worker,
        .slurm = {.partition = job->slurm.partition,
                  .account = job->slurm.account,
                  .time_us = job->slurm.time_us,
                  .memory = job->slurm.memory,
                  .cpus = job->slurm.cpus,
                  .options = (const char *const *)job->slurm.options.items,
                  .option_count = job->slurm.options.count},
        .commands = {.folder = job->folder,
                     .start = words_of(&job->launch.start),
                     .list = words_of(&job->launch.list),
                     .stop = words_of(&job->launch.stop),
                     .program = job->launch.program,
                     .timeout_us = (int64_t)job->launch.timeout_us,
                     .join_us = (int64_t)job->launch.join_us}};
}
