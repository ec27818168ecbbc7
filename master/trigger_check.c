/* SPDX-License-Identifier: Apache-2.0 */
/* Before a trigger is registered: see trigger_check.h. */
#include "master/trigger_check.h"

#include <sys/stat.h>

#include "master/cron/zone.h"
#include "master/source/source.h"

/* A run that a trigger starts has the environment of the installation, without any secret. */
static int check_secrets(const struct job *job, struct mf_error *error)
{
    for (size_t i = 0; i < job->secret_count; i++)
        if (job->secrets[i].env != NULL)
            return mf_raise(error,
                            MF_EUSAGE,
                            "%s: a run that a trigger starts has no variable %s: use 'file' or "
                            "'command'",
                            job->secrets[i].place,
                            job->secrets[i].env);
    return 0;
}

/* A zone is of this machine; the expression was looked at with the job file. */
static int check_clock(const struct job *job, struct mf_error *error)
{
    const struct job_trigger *trigger = &job->trigger;
    if (trigger->kind != TRIGGER_CRON)
        return 0;
    if (trigger->zone != NULL && zone_check(trigger->zone, error) < 0)
        return mf_error_prefix(error, "%s: trigger.zone", job->path);
    return 0;
}

/* A server may be away just now; a folder that is not there is a mistake. */
static int check_source(const struct job *job, struct mf_error *error)
{
    struct feed_settings settings;
    struct stat status;
    if (!feed_settings_of(job, &settings))
        return 0;
    struct feed *feed = feed_open(&settings, job->trigger.queue, false, error);
    if (feed == NULL)
        return mf_error_prefix(error, "%s: trigger", job->path);
    feed_close(feed);
    if (settings.spool != NULL && (stat(settings.spool, &status) < 0 || !S_ISDIR(status.st_mode)))
        return mf_raise(error,
                        MF_EUSAGE,
                        "%s: trigger.spool: there is no folder %s: make it first",
                        job->path,
                        settings.spool);
    return 0;
}

int trigger_check(const struct job *job, struct mf_error *error)
{
    if (check_secrets(job, error) < 0 || check_clock(job, error) < 0)
        return -1;
    return check_source(job, error);
}
