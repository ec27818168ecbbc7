/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run from its first file to its last: see run.h. Set up, loop, dismiss and verify, close.
 *
 *     recorder -> prepare -> plan -> authority -> endpoint -> scatter -> launcher -> scheduler ->
 * loop finish: sweep -> logs and files closed -> final state recorded -> credentials removed ->
 * summary
 */
#include "master/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/socket.h"
#include "master/launch/slurm_clean.h"
#include "master/prepare.h"
#include "master/record/tree.h"
#include "master/run_folder.h"
#include "master/run_hosts.h"
#include "master/run_internal.h"
#include "master/run_result.h"
#include "master/summary.h"

#define FILES_BASE 128u /* open files of a run: its own */
#define FILES_EACH                                                                                 \
    4u /* ... and for each worker: two connections at times, a pidfd, a file that comes */
#define SWEEP_US 60000000
#define QUEUED_JOIN_US (3650LL * 86400 * 1000000) /* a queue takes the time that it takes */
#define REMOTE_JOIN_US 120000000                  /* many launches wait for their turn */

static int open_log(struct run *run, struct mf_error *error)
{
    char *path = run_path(run->folder, "master.log");
    int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        mf_raise_errno(error, "cannot make %s", path == NULL ? "master.log" : path);
    else
        mf_log_to(fd, MF_INFO);
    mf_free(path);
    return fd < 0 ? -1 : 0;
}

static int open_recorder(struct run *run, struct mf_error *error)
{
    char *path = run_path(run->folder, "run.db");
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    struct record_config config = {.path = path,
                                   .run_id = run->run_id,
                                   .job_name = run->job->name,
                                   .job_text = run->job->text,
                                   .job_path = run->job->path,
                                   .job_folder = run->job->folder,
                                   .durability_full = run->job->durability == DURABILITY_FULL,
                                   .committed = run_batch_committed,
                                   .arg = run};
    int notice = 0;
    run->recorder = record_open(&config, &run->epoch, &notice, error);
    if (notice == RECORD_NETWORK_FS_WARNING) {
        mf_log(MF_WARNING,
               "%s is on a network file system: a rollback journal is used, which is slower",
               path);
        progress_say(run->progress,
                     "warning: %s is on a network file system: recording is slower there (set "
                     "XDG_STATE_HOME to a "
                     "local disk)",
                     path);
    }
    mf_free(path);
    return run->recorder == NULL ? -1 : 0;
}

/* What was made of it before is of no use: nobody has seen it. */
static int prepare(struct run *run, const char *prepared, struct mf_error *error)
{
    if (run->again != NULL &&
        (prepare_end_earlier(prepared, error) < 0 || tree_remove(prepared, error) < 0))
        return -1;
    if (run_firing_inputs(run, prepared, error) < 0)
        return -1;
    return prepare_run(
        run->job, run->run_id, run->folder, prepared, run->signal_fd, &run->interrupts, error);
}

static int open_plan(struct run *run, struct mf_error *error)
{
    const struct run_again *again = run->again;
    bool sync = run->job->durability == DURABILITY_FULL;
    bool is_planned = again != NULL && again->is_planned;
    char *prepared = run_path(run->folder, "prepared");
    int rc = prepared == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path") : 0;
    if (rc == 0 && !is_planned)
        rc = prepare(run, prepared, error);
    if (rc == 0 && is_planned) {
        const struct plan_rest rest = {.open = again->open,
                                       .open_count = again->open_count,
                                       .mark = again->high_water,
                                       .is_whole = again->has_total,
                                       .sync = sync};
        run->plan = plan_reopen(run->job, run->folder, prepared, &rest, error);
    } else if (rc == 0) {
        run->plan = plan_create(run->job, run->folder, prepared, sync, error);
    }
    mf_free(prepared);
    return run->plan == NULL ? -1 : 0;
}

/* The terminal is somebody's who types a passphrase. */
static void hold_progress(void *arg, bool asks)
{
    struct run *run = arg;
    progress_hold(run->progress, asks);
}

static int open_fleet(struct run *run, struct mf_error *error)
{
    struct launch_config config =
        launch_config_of(run->job, run->run_id, run->options->worker_binary);
    config.hold = hold_progress;
    config.hold_arg = run;
    struct fleet_callbacks callbacks;
    run_fleet_callbacks(run, &callbacks);
    uint32_t count = 0;
    char *shared = NULL;
    run->hosts = hosts_of_job(run->job, &count, error);
    if (run->hosts == NULL)
        return -1;
    if (job_has_engine(run->job) &&
        (shared = shared_folder_of(run->job, run->run_id, run->folder)) == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    if (shared != NULL && run->job->launcher == LAUNCHER_SLURM &&
        slurm_clean_link(run->folder, shared, error) < 0) {
        mf_free(shared);
        return -1;
    }
    config.shared_folder = shared;
    run->fleet = fleet_create(run->loop, &config, run->hosts, count, &callbacks, error);
    mf_free(shared);
    return run->fleet == NULL ? -1 : 0;
}

static int open_welcome(struct run *run, struct mf_error *error)
{
    run->welcome.epoch = run->epoch;
    run->welcome.lease_us = run->job->lease_us;
    run->welcome.orphan_us = run->job->orphan_us;
    run->prepared = run_path(run->folder, "prepared");
    if (run->prepared == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    if (job_task(run->job,
                 access(run->prepared, F_OK) == 0 ? run->prepared : NULL,
                 &run->welcome.task,
                 &run->task_scratch,
                 error) < 0)
        return -1;
    return run_stage_open(run, &run->welcome.task, error);
}

static int open_wire(struct run *run, struct mf_error *error)
{
    run->keys_folder = run_path(run->folder, "keys");
    if (run->keys_folder == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    if (open_welcome(run, error) < 0 || run_open_authority(run, error) < 0 ||
        run_listen(run, fleet_is_remote(run->fleet) ? mf_socket_any() : "127.0.0.1", error) < 0)
        return -1;
    struct scatter_config config = {.endpoint = run->endpoint,
                                    .authority = run->authority,
                                    .ttl_us = (int64_t)run->job->credentials_ttl_us,
                                    .run_id = run->run_id,
                                    .welcome = &run->welcome};
    run_wire_callbacks(run, &config.callbacks);
    config.callbacks.generation = run_generation_begun;
    run->scatter = scatter_create(&config, error);
    return run->scatter == NULL ? -1 : 0;
}

static void on_wire(void *arg, uint32_t events)
{
    (void)events;
    struct run *run = arg;
    scatter_receive(run->scatter);
}

/* What is known before the worker itself says it. */
static uint32_t slots_of(const struct run *run, uint32_t host)
{
    const struct job *job = run->job;
    uint32_t slots = host < job->hosts.count ? job->hosts.items[host].slots : 0;
    return slots > 0 ? slots : job->slots > 0 ? job->slots : 1;
}

/* Of any host; where nothing is said each has one a core, and they may be as large as this one. */
static uint32_t usual_slots(const struct run *run)
{
    const struct job *job = run->job;
    bool is_said = job->slots > 0 || (job->hosts.count > 0 && job->hosts.items[0].slots > 0);
    long cores = is_said ? 0 : sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 0 ? (uint32_t)cores : slots_of(run, 0);
}

static void configure_workers(const struct run *run, struct schedule_config *config)
{
    const struct job *job = run->job;
    config->worker_last = run->again != NULL ? run->again->last_worker : 0;
    if (job->worker_max == job->worker_min)
        return;
    config->workers_min = job->worker_min;
    config->workers_max = job->worker_max;
    config->worker_slots = usual_slots(run);
    config->idle_us = job->worker_idle_us;
}

static void configure(const struct run *run, struct schedule_config *config)
{
    const struct job *job = run->job;
    schedule_config_default(config);
    if (getrandom(&config->seed, sizeof config->seed, 0) != sizeof config->seed)
        config->seed = (uint64_t)mf_wall_us();
    config->epoch = run->epoch;
    config->retries_max = job->retries.max;
    config->backoff_us = job->retries.backoff_us;
    config->backoff_factor = job->retries.factor;
    config->backoff_cap_us = job->retries.cap_us;
    config->jitter_full = job->retries.jitter_full;
    config->final_code_count = job->retries.final_code_count;
    memcpy(config->final_codes, job->retries.final_codes, sizeof config->final_codes);
    config->tolerate_count = job->tolerate_count;
    config->tolerate_share = job->tolerate_share;
    config->stop_on_failure = job->stop_on_failure;
    config->straggler_factor = job->straggler_factor;
    config->straggler_min_us = job->straggler_after_us;
    config->run_timeout_us = job->run_timeout_us;
    config->lease_us = job->lease_us;
    if (fleet_is_remote(run->fleet))
        config->join_us = job_has_engine(job) ? QUEUED_JOIN_US : REMOTE_JOIN_US;
    config->base_total = run->again != NULL && run->again->has_total ? run->again->total : 0;
    configure_workers(run, config);
    config->base_ended = run->base_done + run->base_failed + run->base_dead;
    config->base_failures = run->base_failed + run->base_dead;
}

static int open_rest(struct run *run, struct mf_error *error)
{
    struct schedule_config config;
    struct control_callbacks control;
    char *logs = run_path(run->folder, "logs");
    if (logs == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    run->logs = log_writer_open(logs, error);
    mf_free(logs);
    if (run->logs == NULL)
        return -1;
    run->intake = intake_create(
        run->folder, run->logs, run->job->durability == DURABILITY_FULL, run->job->log_max, error);
    if (run->intake == NULL || (run->again != NULL && run->again->is_resume &&
                                intake_resume(run->intake, run->epoch, error) < 0))
        return -1;
    configure(run, &config);
    if ((run->schedule = schedule_create(&config, error)) == NULL)
        return -1;
    run_control_callbacks(run, &control);
    if ((run->control = control_create(run->loop, run->folder, &control, error)) == NULL)
        return -1;
    if (mf_loop_add(run->loop, endpoint_fd(run->endpoint), EPOLLIN, on_wire, run, error) < 0 ||
        mf_loop_add(run->loop, run->commits.fd, EPOLLIN, run_batches_committed, run, error) < 0 ||
        mf_loop_add(run->loop, run->gathered.fd, EPOLLIN, run_gathered, run, error) < 0)
        return -1;
    if (run->secrets != NULL &&
        mf_loop_add(
            run->loop, secret_sources_fd(run->secrets), EPOLLIN, run_secrets_read, run, error) < 0)
        return -1;
    return 0;
}

static int check_limits(const struct run *run, struct mf_error *error)
{
    char what[64];
    uint64_t count = run->job->worker_max;
    snprintf(what,
             sizeof what,
             "%llu worker%s need%s",
             (unsigned long long)count,
             count == 1 ? "" : "s",
             count == 1 ? "s" : "");
    return mf_limit_files(FILES_BASE + count * FILES_EACH, what, error);
}

static int open_run(struct run *run, struct mf_error *error)
{
    run->commits.fd = run->gathered.fd = -1;
    if (open_log(run, error) < 0 || run_firing_open(run, error) < 0 ||
        check_limits(run, error) < 0 || run_disk_open(run, error) < 0 ||
        (run->loop = mf_loop_create(error)) == NULL || run_watch_signals(run, error) < 0)
        return -1;
    if (mf_mailbox_init(&run->commits, error) < 0 || mf_mailbox_init(&run->gathered, error) < 0)
        return -1;
    if (open_recorder(run, error) < 0)
        return -1;
    MF_CRASH(MASTER_AFTER_EPOCH);
    mf_log(MF_INFO,
           "run %s, epoch %u, mayfly %s, process %d",
           run->run_id,
           run->epoch,
           MAYFLY_VERSION,
           (int)getpid());
    run_history_begin(run);
    run_notify_begin(run);
    if (run_open_secrets(run, error) < 0 || open_plan(run, error) < 0 ||
        open_fleet(run, error) < 0 || open_wire(run, error) < 0)
        return -1;
    return open_rest(run, error);
}

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void show_progress(struct run *run, int64_t now_us)
{
    struct schedule_counts counts;
    schedule_counts(run->schedule, &counts);
    struct progress_view view = {
        .state = run_state_name(counts.state),
        .total_known = run_has_total(run),
        .total = run_total(run),
        .done = run->base_done + counts.done,
        .failed = run->base_failed + run->base_dead + counts.failed + counts.dead,
        .retried = counts.retried,
        .running = counts.running,
        .workers = counts.workers_alive,
        .held_up = run_held_up(run),
        .seconds = run->stats.first_joined_us == 0
                       ? 0
                       : (double)(now_us - run->stats.first_joined_us) / 1e6};
    progress_show(run->progress, &view, now_us);
}

static int64_t tick(struct run *run)
{
    run_start_due(run);
    int64_t now_us = mf_monotonic_us();
    int64_t next = run_plan_step(run, now_us);
    if (!run->finished && schedule_deadline(run->schedule) <= run_now_us(run))
        run_apply(run, (struct schedule_event){.kind = EVENT_TICK});
    if (!run->finished)
        next = earliest(next, run_monotonic_us(run, schedule_deadline(run->schedule)));
    next = earliest(next, scatter_tick(run->scatter, now_us));
    next = earliest(next, fleet_tick(run->fleet, now_us));
    next = earliest(next, run_dial_step(run, now_us));
    next = earliest(next, run_leave_step(run, now_us));
    next = earliest(next, run_logs_step(run, now_us));
    next = earliest(next, run_disk_step(run, now_us));
    next = earliest(next, run_firing_step(run, now_us));
    next = earliest(next, control_tick(run->control, now_us));
    if (run->has_due && !run->disk.is_waiting)
        next = now_us;
    if (progress_is_due(run->progress, now_us))
        show_progress(run, now_us);
    return earliest(next, progress_deadline(run->progress));
}

/* So many as the job asks for, without those that may still live. Ids are never used again. */
static void add_workers(struct run *run, uint32_t known)
{
    uint32_t last = run->again == NULL ? 0 : run->again->last_worker;
    for (uint32_t i = known; i < run->job->worker_count; i++)
        run_queue(run,
                  (struct schedule_event){
                      .kind = EVENT_WORKER_ADD, .worker = ++last, .slots = slots_of(run, i)});
}

static void resume_workers(struct run *run)
{
    const struct run_again *again = run->again;
    uint64_t recorded = run->base_done + run->base_failed + run->base_dead;
    uint32_t known = run_take_over(run);
    if (!again->has_total || again->open_count > 0)
        add_workers(run, known);
    progress_say(run->progress,
                 "resuming: %llu subtasks are recorded, %u workers may still be there",
                 (unsigned long long)recorded,
                 known);
}

static void begin(struct run *run)
{
    struct mf_error error;
    bool is_resume = run->again != NULL && run->again->is_resume;
    if (is_resume)
        resume_workers(run);
    else
        add_workers(run, 0);
    if (is_resume && run->again->is_planned && run_plan_held(run, &error) < 0)
        run_plan_failed(run, &error);
    run_act(run);
}

/* Until the scheduler has finished and every place was swept. */
static void run_loop(struct run *run)
{
    int64_t give_up_us = MF_NEVER;
    struct mf_error error;
    while (!run->finished || run->is_gathering || !run->sweeping || !fleet_is_idle(run->fleet)) {
        int64_t next = tick(run);
        if (run->finished && !run->sweeping) {
            run->sweeping = true;
            MF_CRASH(MASTER_BEFORE_SWEEP);
            give_up_us = mf_monotonic_us() + SWEEP_US;
            if (fleet_sweep(run->fleet, &error) < 0)
                run_fail(run, &error);
            continue;
        }
        if (mf_monotonic_us() >= give_up_us) {
            fleet_end_sweep(run->fleet);
            break;
        }
        next = earliest(next, give_up_us);
        run_sleeps_until(run, next);
        if (mf_loop_step(run->loop, next, &error) < 0) {
            mf_log(MF_ERROR, "%s", error.text);
            break;
        }
    }
}

static bool is_final(const struct run *run)
{
    return run->final_state != RUN_INTERRUPTED && run->failure.code == MF_OK;
}

/* Not a single worker came, although the plan was good (or is not known to be bad). */
static bool had_no_worker(const struct run *run)
{
    bool is_plan_wrong = run->plan_over && run->stats.planned_us == 0;
    return run->stats.first_joined_us == 0 && run->stats.launched + run->stats.known > 0 &&
           !is_plan_wrong;
}

/* A failure that is neither the job's nor its input's: settling the run blames no message then. */
static void record_unable(struct run *run)
{
    struct mf_error error;
    if (run->final_state == RUN_FAILED && had_no_worker(run) &&
        record_event(run->recorder, mf_wall_us(), "unable", 0, 0, run->reason, &error) < 0)
        mf_log(MF_ERROR, "%s", error.text);
}

static void record_end(struct run *run)
{
    struct schedule_counts counts;
    struct mf_error error;
    schedule_counts(run->schedule, &counts);
    MF_CRASH(MASTER_BEFORE_END);
    run->stats.ended_us = mf_monotonic_us();
    run->stats.ended_wall_us = mf_wall_us();
    if (run->failure.code != MF_OK)
        snprintf(run->reason, sizeof run->reason, "%.500s", run->failure.text);
    record_unable(run);
    struct record_run row = {.state = is_final(run) ? run_state_name(run->final_state) : NULL,
                             .reason = run->reason,
                             .has_counts = true,
                             .done = run->base_done + counts.done,
                             .failed = run->base_failed + counts.failed,
                             .dead = run->base_dead + counts.dead,
                             .cancelled = counts.cancelled,
                             .retried = counts.retried,
                             .fenced = counts.fenced,
                             .attempts = counts.recorded,
                             .ended_us = is_final(run) ? run->stats.ended_wall_us : 0};
    char *outbox = is_final(run) ? run_notify_end_rows(run, run->final_state, run->reason) : NULL;
    row.outbox = outbox;
    if (record_run(run->recorder, &row, &error) < 0)
        mf_log(MF_ERROR, "%s", error.text);
    free(outbox); /* jansson's own */
    if (record_close(run->recorder, &error) < 0) {
        mf_log(MF_ERROR, "%s", error.text);
        if (run->failure.code == MF_OK)
            run->failure = error;
    }
    run->recorder = NULL;
    run_disk_close(run);
    row.has_total = run_has_total(run);
    row.total = run_total(run);
    run_history_end(run, &row);
}

/* The authority's key and the server's: with them gone nobody can join this run any more. */
static void remove_credentials(struct run *run)
{
    struct mf_error error;
    if (run->keys_folder == NULL)
        return;
    run->stats.credentials_removed = authority_remove(run->keys_folder, &error) == 0;
    if (!run->stats.credentials_removed)
        mf_log(MF_ERROR, "the run's keys cannot be removed: %s", error.text);
    mf_free(run->keys_folder);
    run->keys_folder = NULL;
}

static void close_run(struct run *run)
{
    struct mf_error error;
    control_destroy(run->control);
    run_stage_close(run);
    scatter_destroy(run->scatter);
    endpoint_destroy(run->endpoint);
    fleet_destroy(run->fleet);
    if (run->job->launcher == LAUNCHER_SLURM)
        slurm_clean_unlink(run->folder);
    mf_free(run->hosts);
    mf_free(run->stats.sweeps);
    intake_destroy(run->intake);
    if (run->logs != NULL && log_writer_flush(run->logs, &error) < 0)
        mf_log(MF_ERROR, "%s", error.text);
    log_writer_close(run->logs);
    record_close(run->recorder, NULL);
    authority_destroy(run->authority);
    remove_credentials(run);
    secret_sources_close(run->secrets);
    mf_free(run->prepared);
    mf_free(run->task_scratch);
    plan_destroy(run->plan);
    schedule_destroy(run->schedule);
    if (run->own_batch != NULL)
        run_batch_free(run, run->own_batch);
    run_batches_fini(run);
    mf_mailbox_fini(&run->commits);
    mf_mailbox_fini(&run->gathered);
    if (run->loop != NULL && run->signal_fd >= 0)
        close(run->signal_fd);
    mf_loop_destroy(run->loop);
    mf_free(run->workers);
    run_firing_close(run);
}

static int exit_code(const struct run *run)
{
    if (run->failure.code != MF_OK)
        return mf_error_exit_code(run->failure.code);
    switch (run->final_state) {
    case RUN_SUCCEEDED:
    case RUN_PARTIAL:
        return MAYFLY_EXIT_SUCCEEDED;
    case RUN_CANCELLED:
        return MAYFLY_EXIT_CANCELLED;
    case RUN_INTERRUPTED:
        return MAYFLY_EXIT_INTERRUPTED;
    default:
        return had_no_worker(run) ? MAYFLY_EXIT_UNABLE : MAYFLY_EXIT_FAILED;
    }
}

static int finish(struct run *run)
{
    struct mf_error error;
    remove_credentials(run);
    run_disk_release(run);
    record_end(run);
    if (is_final(run))
        run_firing_settle(run);
    json_t *summary = run_summary_json(run);
    if (run_summary_write(run, summary, &error) < 0)
        mf_log(MF_ERROR, "%s", error.text);
    run_summary_print(run, summary);
    int code = exit_code(run);
    if (code != 0 && code != 130 && run->reason[0] != '\0')
        fprintf(stderr, "mayfly: %s\n", run->reason);
    int rc = run_result_deliver(run, &error);
    run_notify_summary(run, summary, is_final(run));
    if ((rc < 0 ? rc : run_result_summary(run, summary, &error)) < 0) {
        fprintf(stderr, "mayfly: %s\n", error.text);
        code = code == 0 ? 3 : code;
    }
    json_decref(summary);
    return code;
}

/* Why a run that has not begun is over. What is neither its input's fault nor what `prepare:` says
 * is noted: its messages are not to blame. */
static void record_failure(struct run *run, const struct mf_error *error)
{
    struct mf_error ignored;
    char *outbox = NULL;
    struct record_run row = {.reason = error->text};
    if (run->interrupts != 1) { /* else it can be taken up again */
        row.state = run_state_name(run->interrupts > 1 ? RUN_CANCELLED : RUN_FAILED);
        row.ended_us = mf_wall_us();
        row.outbox = outbox =
            run_notify_end_rows(run, run->interrupts > 1 ? RUN_CANCELLED : RUN_FAILED, error->text);
    }
    if (error->code != MF_EINPUT)
        record_event(run->recorder, mf_wall_us(), "unable", 0, 0, error->text, &ignored);
    record_run(run->recorder, &row, &ignored);
    record_close(run->recorder, &ignored);
    free(outbox); /* jansson's own */
    run->recorder = NULL;
    run_history_end(run, &row);
    if (row.state != NULL)
        run_firing_settle(run);
    json_decref(run_notify_end(run, row.state != NULL));
}

/* A run that never got as far as its loop. One that is only a wrong job file leaves no folder
 * behind. */
static int give_up(struct run *run, const struct mf_error *error)
{
    fprintf(stderr, "mayfly: %s\n", error->text);
    mf_log(MF_ERROR, "%s", error->text);
    struct mf_error ignored;
    bool is_trace = error->code != MF_EUSAGE || run->again != NULL ||
                    run->firing.note.cause != NULL || run->has_outbox;
    run_disk_close(run);
    if (run->recorder != NULL && run->again == NULL)
        record_failure(run, error);
    else if (run->again == NULL)
        run_firing_give_up(run, error);
    json_decref(run_notify_end(run, false));           /* when it is to go on */
    if (run->again != NULL && run->again->is_resume) { /* its workers can be taken over yet */
        mf_free(run->keys_folder);
        run->keys_folder = NULL;
    }
    close_run(run);
    mf_log_to(-1, MF_ERROR);
    if (!is_trace) {
        tree_remove(run->folder, &ignored);
        run_history_remove(run);
    }
    if (run->interrupts > 0)
        return run->interrupts > 1 ? MAYFLY_EXIT_CANCELLED : MAYFLY_EXIT_INTERRUPTED;
    return mf_error_exit_code(error->code);
}

int run_master(const struct job *job,
               const char *run_id,
               char *folder,
               int lock_fd,
               const struct run_again *again,
               const struct run_options *options)
{
    struct run run = {.job = job,
                      .options = options,
                      .run_id = run_id,
                      .folder = folder,
                      .again = again,
                      .signal_fd = -1,
                      .final_state = RUN_FAILED};
    struct mf_error error;
    int code;
    if (again != NULL) {
        run.base_done = again->done;
        run.base_failed = again->failed;
        run.base_dead = again->dead;
    }
    run.stats.started_us = mf_monotonic_us();
    run.stats.started_wall_us = mf_wall_us();
    run.progress = progress_create(options->quiet || options->detached);
    if (open_run(&run, &error) < 0) {
        code = give_up(&run, &error);
    } else {
        progress_say(run.progress, "run %s", run_id);
        begin(&run);
        run_loop(&run);
        code = finish(&run);
        close_run(&run);
    }
    progress_destroy(run.progress);
    close(lock_fd);
    run_firing_finish(&run);
    return code;
}
