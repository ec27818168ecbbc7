/* SPDX-License-Identifier: Apache-2.0 */
/* The secrets of a run, and their renewal: see secret_sources.h. */
#include "master/secret_sources.h"

#include <poll.h>
#include <pthread.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/mailbox.h"
#include "master/secret_read.h"

struct secret_sources {
    const struct job *job;
    struct mf_secret list[MF_SECRETS_MAX];
    struct mf_buffer values[MF_SECRETS_MAX];
    uint32_t version;
    /* of the thread, until its mail has come */
    struct mf_buffer fresh[MF_SECRETS_MAX];
    struct mf_error errors[MF_SECRETS_MAX]; /* code MF_OK: it was read */
    pthread_t thread;
    bool is_reading;
    int stop; /* atomic */
    struct mf_mailbox done;
    struct mf_mail mail;
};

static int read_all_once(struct secret_sources *sources,
                         const struct secret_patience *patience,
                         struct mf_error *error)
{
    const struct job *job = sources->job;
    size_t total = 0;
    for (size_t i = 0; i < job->secret_count; i++) {
        if (secret_read(job->folder, &job->secrets[i], patience, &sources->values[i], error) < 0)
            return -1;
        sources->list[i] = (struct mf_secret){.name = job->secrets[i].name,
                                              .version = 1,
                                              .data = mf_buffer_view(&sources->values[i])};
        total += sources->values[i].length;
        if (total > SECRETS_TOTAL_MAX)
            return mf_raise(error,
                            MF_EUSAGE,
                            "%s: the secrets of a job are larger than 1 MiB together",
                            job->secrets[i].place);
    }
    sources->version = 1;
    return 0;
}

struct secret_sources *
secret_sources_open(const struct job *job, int signal_fd, bool *interrupted, struct mf_error *error)
{
    struct secret_sources *sources = mf_calloc(1, sizeof *sources);
    *interrupted = false;
    if (sources == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the secrets");
        return NULL;
    }
    const struct secret_patience patience = {.signal_fd = signal_fd, .stop = &sources->stop};
    struct pollfd signals = {.fd = signal_fd, .events = POLLIN};
    sources->job = job;
    sources->done.fd = -1;
    if (mf_mailbox_init(&sources->done, error) == 0 &&
        read_all_once(sources, &patience, error) == 0)
        return sources;
    *interrupted = signal_fd >= 0 && poll(&signals, 1, 0) > 0;
    secret_sources_close(sources);
    return NULL;
}

int secret_sources_check(const struct job *job, struct mf_error *error)
{
    int stop = 0, rc = 0;
    const struct secret_patience patience = {.signal_fd = -1, .stop = &stop};
    struct mf_buffer value = {0};
    for (size_t i = 0; i < job->secret_count && rc == 0; i++)
        if (job->secrets[i].command.count == 0) {
            rc = secret_read(job->folder, &job->secrets[i], &patience, &value, error);
            secret_wipe(&value);
        }
    return rc;
}

const struct mf_secret *secret_sources_list(const struct secret_sources *sources, uint32_t *count)
{
    *count = (uint32_t)sources->job->secret_count;
    return sources->list;
}

static void *read_again(void *arg)
{
    struct secret_sources *sources = arg;
    const struct secret_patience patience = {.signal_fd = -1, .stop = &sources->stop};
    for (size_t i = 0; i < sources->job->secret_count; i++) {
        const struct job_secret *secret = &sources->job->secrets[i];
        sources->errors[i] = (struct mf_error){0};
        if (secret->env == NULL) /* its value cannot have changed */
            secret_read(
                sources->job->folder, secret, &patience, &sources->fresh[i], &sources->errors[i]);
    }
    mf_mailbox_post(&sources->done, &sources->mail);
    return NULL;
}

void secret_sources_refresh(struct secret_sources *sources)
{
    if (sources->is_reading)
        return;
    sources->is_reading = pthread_create(&sources->thread, NULL, read_again, sources) == 0;
    if (!sources->is_reading)
        mf_log(MF_WARNING, "the secrets cannot be read again now: no thread");
}

int secret_sources_fd(const struct secret_sources *sources)
{
    return sources->done.fd;
}

static size_t total_of(const struct secret_sources *sources, size_t replaced)
{
    size_t total = sources->fresh[replaced].length;
    for (size_t i = 0; i < sources->job->secret_count; i++)
        total += i == replaced ? 0 : sources->values[i].length;
    return total;
}

/* Whether the i-th has another value now. */
static bool take_one(struct secret_sources *sources, size_t i)
{
    struct mf_buffer *fresh = &sources->fresh[i], *value = &sources->values[i];
    if (sources->errors[i].code != MF_OK) {
        mf_log(MF_WARNING, "%s; the value from before is still used", sources->errors[i].text);
        return false;
    }
    bool is_changed =
        fresh->length > 0 && !mf_bytes_equal(mf_buffer_view(fresh), mf_buffer_view(value));
    if (is_changed && total_of(sources, i) > SECRETS_TOTAL_MAX) {
        mf_log(MF_WARNING,
               "%s: the secrets would be larger than 1 MiB together; the value from before is "
               "still used",
               sources->job->secrets[i].place);
        is_changed = false;
    }
    if (is_changed) {
        secret_wipe(value);
        *value = *fresh;
        *fresh = (struct mf_buffer){0};
        sources->list[i].data = mf_buffer_view(value);
    }
    secret_wipe(fresh);
    return is_changed;
}

uint32_t secret_sources_take(struct secret_sources *sources)
{
    uint32_t changed = 0;
    if (mf_mailbox_take(&sources->done) == NULL)
        return 0;
    pthread_join(sources->thread, NULL);
    sources->is_reading = false;
    for (size_t i = 0; i < sources->job->secret_count; i++)
        if (take_one(sources, i)) {
            sources->list[i].version = sources->version + 1;
            changed++;
        }
    sources->version += changed > 0;
    return changed;
}

void secret_sources_close(struct secret_sources *sources)
{
    if (sources == NULL)
        return;
    __atomic_store_n(&sources->stop, 1, __ATOMIC_RELAXED);
    if (sources->is_reading) {
        pthread_join(sources->thread, NULL);
        mf_mailbox_take(&sources->done);
    }
    for (size_t i = 0; i < MF_SECRETS_MAX; i++) {
        secret_wipe(&sources->values[i]);
        secret_wipe(&sources->fresh[i]);
    }
    if (sources->done.fd >= 0)
        mf_mailbox_fini(&sources->done);
    mf_free(sources);
}
