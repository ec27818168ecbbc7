/* SPDX-License-Identifier: Apache-2.0 */
/* The job's secrets during a run: read when it begins, and again with each generation of
 * credentials. */
#include "common/log.h"
#include "master/run_internal.h"

int run_open_secrets(struct run *run, struct mf_error *error)
{
    bool interrupted = false;
    if (run->job->secret_count == 0)
        return 0;
    run->secrets = secret_sources_open(run->job, run->signal_fd, &interrupted, error);
    if (interrupted)
        run->interrupts = 1;
    if (run->secrets == NULL)
        return -1;
    run->welcome.secrets = secret_sources_list(run->secrets, &run->welcome.secret_count);
    return 0;
}

void run_secrets_read(void *arg, uint32_t events)
{
    (void)events;
    struct run *run = arg;
    uint32_t changed = secret_sources_take(run->secrets);
    if (changed == 0)
        return;
    mf_log(MF_INFO, "%u secrets have changed", changed);
    scatter_secrets_changed(run->scatter);
}

void run_generation_begun(void *arg)
{
    const struct run *run = arg;
    if (run->secrets != NULL)
        secret_sources_refresh(run->secrets);
}
