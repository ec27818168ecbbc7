/* SPDX-License-Identifier: Apache-2.0 */
/* From the keys of a job to a source. */
#include "master/job/job.h"
#include "master/source/source.h"

bool feed_settings_of(const struct job_trigger *trigger, struct feed_settings *settings)
{
    const struct job_redis *redis = &trigger->redis;
    *settings = (struct feed_settings){.spool = trigger->spool,
                                       .server = redis->server,
                                       .list = redis->list,
                                       .stream = redis->stream,
                                       .group = redis->group,
                                       .user = redis->user,
                                       .password_file = redis->password.file,
                                       .password_env = redis->password.env};
    return trigger->kind == TRIGGER_QUEUE && (settings->spool != NULL || settings->server != NULL);
}
