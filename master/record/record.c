/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorder's queue and thread. The thread takes what waits (up to GROUP_ROWS rows), writes it
 * in one transaction, and only after the commit hands the batches back. When the transaction fails,
 * all of it is rolled back and each batch comes back with the error; the caller decides whether to
 * submit it again. Updates of run and worker that failed for a reason that can pass (disk full) are
 * kept here and go into the next transaction first; events are dropped then, they only tell a
 * story.
 */
#include "master/record/record.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "common/alloc.h"
#include "common/crash.h"
#include "master/record/run_writer.h"

#define GROUP_ROWS 20000
#define SUBTASK_MAX ((uint64_t)1 << 36)
#define ATTEMPT_MAX 65535
#define STRINGS_MAX 8

enum kind { KIND_BATCH = 0, KIND_RUN, KIND_WORKER, KIND_EVENT, KIND_FLUSH };

struct event {
    int64_t wall_us;
    uint32_t worker;
    uint64_t subtask;
    const char *kind, *text;
};

/* What is not a batch, in the same queue. Owned by the recorder, with the strings behind it; a
 * flush is on its caller's stack. */
struct work {
    struct record_batch head;
    union {
        struct record_run run;
        struct record_worker worker;
        struct event event;
        bool flushed;
    };
};

struct recorder {
    struct run_writer *writer;
    void (*committed)(struct record_batch *batch, void *arg);
    void *arg;
    pthread_t thread;
    pthread_mutex_t lock; /* guards first, last, ending, and the `flushed` of waiting flushes */
    pthread_cond_t wake, flushed;
    struct mf_mail *first; /* oldest */
    struct mf_mail **last;
    bool ending;
    /* The writer's thread only: */
    struct mf_mail *kept;    /* updates to try again, oldest first */
    struct mf_error failure; /* of the first update that failed since the last flush */
};

static struct record_batch *batch_of(struct mf_mail *mail)
{
    return (struct record_batch *)mail; /* mail is its first member */
}

static struct work *work_of(struct mf_mail *mail)
{
    return (struct work *)mail; /* head.mail is its first member */
}

static int check_rows(const struct record_batch *batch, struct mf_error *error)
{
    for (uint32_t i = 0; i < batch->row_count; i++) {
        const struct record_row *row = &batch->rows[i];
        if (row->subtask == 0 || row->subtask > SUBTASK_MAX || row->attempt == 0 ||
            row->attempt > ATTEMPT_MAX || (unsigned)row->state > RECORD_DEAD)
            return mf_raise(error,
                            MF_EPROTOCOL,
                            "subtask %llu attempt %u state %d cannot be recorded: out of range",
                            (unsigned long long)row->subtask,
                            row->attempt,
                            (int)row->state);
    }
    return 0;
}

static int
write_batch(struct run_writer *writer, struct record_batch *batch, struct mf_error *error)
{
    if (check_rows(batch, &batch->error) < 0)
        return 0; /* its own fault: the rest of the group goes on */
    for (uint32_t i = 0; i < batch->row_count; i++) {
        bool fenced;
        if (run_writer_attempt(writer, &batch->rows[i], &fenced, error) < 0)
            return -1;
        batch->fenced += fenced;
    }
    return 0;
}

static int write_one(struct run_writer *writer, struct mf_mail *mail, struct mf_error *error)
{
    struct work *work = work_of(mail);
    switch ((enum kind)batch_of(mail)->kind) {
    case KIND_BATCH:
        return write_batch(writer, batch_of(mail), error);
    case KIND_RUN:
        return run_writer_run(writer, &work->run, error);
    case KIND_WORKER:
        return run_writer_worker(writer, &work->worker, error);
    case KIND_EVENT:
        return run_writer_event(writer,
                                work->event.wall_us,
                                work->event.kind,
                                work->event.worker,
                                work->event.subtask,
                                work->event.text,
                                error);
    case KIND_FLUSH:
        return 0;
    }
    return 0;
}

/* One transaction for the whole group. */
static int write_group(struct recorder *recorder, struct mf_mail *group, struct mf_error *error)
{
    bool is_empty = true, has_rows = false;
    for (struct mf_mail *mail = group; mail != NULL; mail = mail->next) {
        is_empty &= batch_of(mail)->kind == KIND_FLUSH;
        has_rows |= batch_of(mail)->kind == KIND_BATCH && batch_of(mail)->row_count > 0;
    }
    if (is_empty)
        return 0;
    if (run_writer_begin(recorder->writer, error) < 0)
        goto fail;
    for (struct mf_mail *mail = group; mail != NULL; mail = mail->next)
        if (write_one(recorder->writer, mail, error) < 0)
            goto fail;
    if (has_rows)
        MF_CRASH(MASTER_BEFORE_COMMIT);
    if (run_writer_commit(recorder->writer, error) < 0)
        goto fail;
    if (has_rows)
        MF_CRASH(MASTER_AFTER_COMMIT);
    return 0;
fail:
    run_writer_rollback(recorder->writer);
    return -1;
}

static void finish_flush(struct recorder *recorder, struct work *flush)
{
    flush->head.error = recorder->failure;
    recorder->failure.code = MF_OK;
    pthread_mutex_lock(&recorder->lock);
    flush->flushed = true;
    pthread_cond_broadcast(&recorder->flushed);
    pthread_mutex_unlock(&recorder->lock);
}

/* Hands back, frees or keeps every member of a group that was written (result 0) or rolled back. */
static void settle_group(struct recorder *recorder,
                         struct mf_mail *group,
                         int result,
                         const struct mf_error *error)
{
    bool can_retry = result < 0 && run_writer_can_retry(recorder->writer);
    struct mf_mail **kept_end = &recorder->kept;
    for (struct mf_mail *mail = group, *next; mail != NULL; mail = next) {
        struct record_batch *batch = batch_of(mail);
        next = mail->next;
        mail->next = NULL;
        if (result < 0 && batch->kind != KIND_BATCH && batch->kind != KIND_FLUSH &&
            recorder->failure.code == MF_OK)
            recorder->failure = *error;
        switch ((enum kind)batch->kind) {
        case KIND_BATCH:
            if (result < 0) {
                batch->fenced = 0;
                if (batch->error.code == MF_OK)
                    batch->error = *error;
            }
            recorder->committed(batch, recorder->arg);
            break;
        case KIND_RUN:
        case KIND_WORKER:
            if (can_retry) {
                *kept_end = mail;
                kept_end = &mail->next;
                break;
            }
            mf_free(work_of(mail));
            break;
        case KIND_EVENT:
            mf_free(work_of(mail));
            break;
        case KIND_FLUSH:
            finish_flush(recorder, work_of(mail));
            break;
        }
    }
}

/* With the lock: what waits, up to about GROUP_ROWS rows. */
static struct mf_mail *take_group(struct recorder *recorder)
{
    struct mf_mail *group = recorder->first;
    uint64_t rows = 0;
    struct mf_mail **end = &recorder->first;
    while (*end != NULL && rows < GROUP_ROWS) {
        if (batch_of(*end)->kind == KIND_BATCH)
            rows += batch_of(*end)->row_count;
        end = &(*end)->next;
    }
    struct mf_mail *rest = *end;
    *end = NULL;
    recorder->first = rest;
    if (rest == NULL)
        recorder->last = &recorder->first;
    return group;
}

static void *record_thread(void *arg)
{
    struct recorder *recorder = arg;
    for (;;) {
        pthread_mutex_lock(&recorder->lock);
        while (recorder->first == NULL && !recorder->ending)
            pthread_cond_wait(&recorder->wake, &recorder->lock);
        struct mf_mail *taken = take_group(recorder);
        pthread_mutex_unlock(&recorder->lock);
        if (taken == NULL)
            return NULL;
        struct mf_mail *group = taken;
        if (recorder->kept != NULL) {
            struct mf_mail **end = &recorder->kept;
            while (*end != NULL)
                end = &(*end)->next;
            *end = taken;
            group = recorder->kept;
            recorder->kept = NULL;
        }
        struct mf_error error = {0};
        int result = write_group(recorder, group, &error);
        settle_group(recorder, group, result, &error);
    }
}

/* No signal is delivered to this thread: they belong to the loop. */
static int start_thread(struct recorder *recorder, struct mf_error *error)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&recorder->thread, NULL, record_thread, recorder);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return mf_raise(error, MF_ESYSTEM, "cannot start the recorder's thread: %s", strerror(rc));
    return 0;
}

struct recorder *record_open(const struct record_config *config,
                             uint32_t *epoch,
                             int *notice,
                             struct mf_error *error)
{
    struct recorder *recorder = mf_calloc(1, sizeof *recorder);
    if (recorder == NULL) {
        mf_raise(error, MF_ENOMEM, "memory is exhausted while opening %s", config->path);
        return NULL;
    }
    recorder->writer = run_writer_open(config, epoch, notice, error);
    if (recorder->writer == NULL)
        goto fail;
    recorder->committed = config->committed;
    recorder->arg = config->arg;
    recorder->last = &recorder->first;
    pthread_mutex_init(&recorder->lock, NULL);
    pthread_cond_init(&recorder->wake, NULL);
    pthread_cond_init(&recorder->flushed, NULL);
    if (start_thread(recorder, error) < 0) {
        pthread_cond_destroy(&recorder->flushed);
        pthread_cond_destroy(&recorder->wake);
        pthread_mutex_destroy(&recorder->lock);
        goto fail;
    }
    return recorder;
fail:
    run_writer_close(recorder->writer);
    mf_free(recorder);
    return NULL;
}

static void enqueue(struct recorder *recorder, struct mf_mail *mail)
{
    mail->next = NULL;
    pthread_mutex_lock(&recorder->lock);
    bool was_empty = recorder->first == NULL;
    *recorder->last = mail;
    recorder->last = &mail->next;
    if (was_empty)
        pthread_cond_signal(&recorder->wake);
    pthread_mutex_unlock(&recorder->lock);
}

void record_submit(struct recorder *recorder, struct record_batch *batch)
{
    batch->kind = KIND_BATCH;
    batch->fenced = 0;
    batch->error.code = MF_OK;
    enqueue(recorder, &batch->mail);
}

/* A work item with copies of `strings` behind it; the pointers are set to the copies. */
static struct work *
make_work(enum kind kind, const char **strings[], size_t count, struct mf_error *error)
{
    size_t size = sizeof(struct work), lengths[STRINGS_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        lengths[i] = *strings[i] != NULL ? strlen(*strings[i]) + 1 : 0;
        size += lengths[i];
    }
    struct work *work = mf_calloc(1, size);
    if (work == NULL) {
        mf_raise(error, MF_ENOMEM, "memory is exhausted while recording");
        return NULL;
    }
    work->head.kind = kind;
    char *at = (char *)(work + 1);
    for (size_t i = 0; i < count; i++) {
        if (*strings[i] == NULL)
            continue;
        memcpy(at, *strings[i], lengths[i]);
        *strings[i] = at;
        at += lengths[i];
    }
    return work;
}

int record_run(struct recorder *recorder, const struct record_run *run, struct mf_error *error)
{
    struct record_run copy = *run;
    const char **strings[] = {&copy.state, &copy.reason, &copy.address, &copy.outbox};
    struct work *work = make_work(KIND_RUN, strings, sizeof strings / sizeof *strings, error);
    if (work == NULL)
        return -1;
    work->run = copy;
    enqueue(recorder, &work->head.mail);
    return 0;
}

int record_worker(struct recorder *recorder,
                  const struct record_worker *worker,
                  struct mf_error *error)
{
    struct record_worker copy = *worker;
    const char **strings[] = {&copy.state,
                              &copy.host,
                              &copy.system,
                              &copy.version,
                              &copy.folder,
                              &copy.verified_by,
                              &copy.place,
                              &copy.address};
    struct work *work = make_work(KIND_WORKER, strings, sizeof strings / sizeof *strings, error);
    if (work == NULL)
        return -1;
    work->worker = copy;
    enqueue(recorder, &work->head.mail);
    return 0;
}

int record_event(struct recorder *recorder,
                 int64_t wall_us,
                 const char *kind,
                 uint32_t worker,
                 uint64_t subtask,
                 const char *text,
                 struct mf_error *error)
{
    struct event copy = {wall_us, worker, subtask, kind, text};
    const char **strings[] = {&copy.kind, &copy.text};
    struct work *work = make_work(KIND_EVENT, strings, sizeof strings / sizeof *strings, error);
    if (work == NULL)
        return -1;
    work->event = copy;
    enqueue(recorder, &work->head.mail);
    return 0;
}

int record_flush(struct recorder *recorder, struct mf_error *error)
{
    struct work flush = {.head = {.kind = KIND_FLUSH}};
    enqueue(recorder, &flush.head.mail);
    pthread_mutex_lock(&recorder->lock);
    while (!flush.flushed)
        pthread_cond_wait(&recorder->flushed, &recorder->lock);
    pthread_mutex_unlock(&recorder->lock);
    if (flush.head.error.code == MF_OK)
        return 0;
    if (error != NULL)
        *error = flush.head.error;
    return -1;
}

int record_close(struct recorder *recorder, struct mf_error *error)
{
    if (recorder == NULL)
        return 0;
    int result = record_flush(recorder, error);
    pthread_mutex_lock(&recorder->lock);
    recorder->ending = true;
    pthread_cond_signal(&recorder->wake);
    pthread_mutex_unlock(&recorder->lock);
    pthread_join(recorder->thread, NULL);
    for (struct mf_mail *mail = recorder->kept, *next; mail != NULL; mail = next) {
        next = mail->next;
        mf_free(work_of(mail));
    }
    run_writer_close(recorder->writer);
    pthread_cond_destroy(&recorder->flushed);
    pthread_cond_destroy(&recorder->wake);
    pthread_mutex_destroy(&recorder->lock);
    mf_free(recorder);
    return result;
}
