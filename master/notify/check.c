/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a subscriber is better said before the run than after it: see notify_check. */
#include <unistd.h>

#include "common/alloc.h"
#include "master/notify/curl.h"
#include "master/notify/notify.h"
#include "master/queue/queue.h"
#include "master/secret_read.h"

static int check_queue(const struct job_notify *to, struct mf_error *error)
{
    struct queues *queues = NULL;
    struct queue_info info;
    char *path = queues_path(error);
    int rc = path == NULL ? -1 : queues_open(path, false, &queues, error);
    if (rc > 0)
        rc = queue_find(queues, to->queue, &info, error);
    else if (rc == 0)
        rc = mf_raise(error,
                      MF_EUSAGE,
                      "there is no queue %s: make it with mayfly queue create %s",
                      to->queue,
                      to->queue);
    queues_close(queues);
    mf_free(path);
    return rc < 0 ? mf_error_prefix(error, "%s.queue", to->place) : 0;
}

/* Its sentence has the place. */
static int
check_value(const struct job *job, const struct job_secret *source, struct mf_error *error)
{
    const int stop = 0;
    const struct secret_patience patience = {.signal_fd = -1, .stop = &stop};
    struct mf_buffer value = {0};
    if (source->place == NULL || source->text != NULL || source->command.count > 0)
        return 0;
    int rc = secret_read(job->folder, source, &patience, &value, error);
    secret_wipe(&value);
    return rc;
}

static int check_webhook(const struct job *job, const struct job_notify *to, struct mf_error *error)
{
    if (check_value(job, &to->webhook, error) < 0 || check_value(job, &to->secret, error) < 0)
        return -1;
    if (to->ca_file != NULL && access(to->ca_file, R_OK) < 0)
        return mf_raise_errno(error, "%s.ca_file: %s cannot be read", to->place, to->ca_file);
    return curl_library(error) == NULL ? mf_error_prefix(error, "%s.webhook", to->place) : 0;
}

int notify_check(const struct job *job, const struct job_notify *subscriber, struct mf_error *error)
{
    return subscriber->queue != NULL           ? check_queue(subscriber, error)
           : subscriber->webhook.place != NULL ? check_webhook(job, subscriber, error)
                                               : 0;
}
