/* SPDX-License-Identifier: Apache-2.0 */
/* From the keys of a job to a source. */
#include "master/job/job.h"
#include "master/source/source.h"

bool feed_settings_of(const struct job *job, struct feed_settings *settings)
{
    const struct job_trigger *trigger = &job->trigger;
    const struct job_redis *redis = &trigger->redis;
    *settings = (struct feed_settings){.spool = trigger->spool,
                                       .server = redis->server,
                                       .list = redis->list,
                                       .stream = redis->stream,
                                       .group = redis->group,
                                       .user = redis->user,
                                       .folder = job->folder};
    const struct job_secret *password = &redis->password;
    if (password->file != NULL || password->env != NULL || password->command.count > 0)
        settings->password = password;
    return trigger->kind == TRIGGER_QUEUE && (settings->spool != NULL || settings->server != NULL);
}
