/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a run share (run*.c only). One thread: the loop's. */
#ifndef MAYFLY_MASTER_RUN_INTERNAL_H
#define MAYFLY_MASTER_RUN_INTERNAL_H

#include <jansson.h>
#include <pthread.h>

#include "common/loop.h"
#include "common/mailbox.h"
#include "master/control.h"
#include "master/firing_note.h"
#include "master/launch/fleet.h"
#include "master/plan.h"
#include "master/progress.h"
#include "master/record/intake.h"
#include "master/record/log_store.h"
#include "master/record/record.h"
#include "master/run.h"
#include "master/run_stats.h"
#include "master/scatter/authority.h"
#include "master/scatter/scatter.h"
#include "master/schedule/schedule.h"
#include "master/secret_sources.h"
#include "master/settle/settle.h"
#include "master/sweep.h"
#include "master/stage/pace.h"

/* The piece that is on its way to a worker, by lane. */
struct run_sent {
    uint32_t weight; /* bytes that it counts; 0 = none */
    uint32_t length; /* of its data */
    bool is_deflated;
    int64_t since_us; /* monotonic: when it was ordered */
};

#define RUN_SAID_SIZE 1000

/* A worker as the run sees it, by id. */
struct run_worker {
    bool known;     /* an earlier master started it */
    bool is_due;    /* to be started as soon as that is durable */
    bool launching; /* the launcher has not reported yet */
    bool alive;     /* its process is known to run */
    bool joined;
    bool given_up; /* started, and never joined */
    bool dismissed, lost;
    bool gone; /* EVENT_WORKER_GONE was said */
    uint32_t slots;
    uint32_t pid;
    uint16_t port; /* where it can be dialed, 0 = nowhere */
    bool dialed;
    char dialed_at[96]; /* address and port */
    int64_t way_us;     /* monotonic: since when there is a way through SSH; 0 = there is none */
    char address[64];   /* numeric, of its host; "" = this machine */
    char host[64];
    bool is_placed;      /* a queue has said which host it is */
    int64_t begun_us;    /* monotonic: its launch was asked for */
    int64_t launched_us; /* its start was reported */
    uint64_t attempts, busy_us;
    int64_t joined_us, over_us; /* monotonic */
    struct run_sent sent[MF_LANES - MF_LANE_FETCH];
    struct pace pace;
    char said[RUN_SAID_SIZE]; /* the end of its log as far as it came home; not terminated */
    uint16_t said_length;
};

/* Rows on their way to the writer, with what they borrow from. */
struct run_batch {
    struct record_batch base; /* first */
    struct run_batch *next_free;
    uint32_t capacity;
    nng_msg *message;
    struct mf_decoder *decoder;
    bool has_ticket;
    struct scatter_ticket ticket;
    uint64_t high_water; /* not 0: this mark is durable when the batch comes back */
    uint32_t settled;    /* rows whose files are in their places */
    bool has_failed;     /* to settle: a part of the next one's may be in its place */
    bool tells;          /* rows of the outbox were committed before it */
    size_t weight;       /* bytes that it holds */
};

/* What the scheduler's time is made of: run_clock.c. */
struct run_clock {
    int64_t seen_us;  /* the clock was read then, or will be read by then */
    int64_t stood_us; /* in all */
};

/* A worker that was lost, while the scheduler tells with what: run_loss.c. */
#define RUN_LOSS_NAMED 5
struct run_loss {
    uint32_t worker; /* 0 = none */
    uint64_t count;
    uint64_t named[RUN_LOSS_NAMED]; /* the first of its subtasks */
};

/* A full disk that is waited for: run_disk.c. */
struct run_disk {
    bool is_waiting;
    bool is_last_try; /* cancelled meanwhile: it is not waited for again */
    int64_t since_us; /* the disk is full since then; 0 = something was stored since */
    int64_t since_wall_us;
    int64_t probe_us, delay_us;
    struct run_batch *held, **held_last; /* not recorded yet, oldest first */
    bool gather_again;
    char text[512]; /* what could not be written, and why */
};

/* What the run has to do with queues.db: run_firing.c. */
struct run_firing {
    struct firing_note note;
    struct queues *queues; /* for the lease; NULL: there is none */
    int64_t renew_us;      /* monotonic: when the lease is renewed next */
    bool is_late;          /* it could not be renewed, and that was said */
    bool is_open;          /* there is a firing, which the end of the run settles */
    bool is_settled;
    struct settled settled;
    struct trigger_fired fired; /* by that: to be handed over when all else is done */
};

/* The poll whose results are being decided. */
struct answering {
    const struct mf_poll *poll;
    struct run_batch *batch;
    uint32_t next; /* the next result that the scheduler answers */
    int64_t wall_us;
    bool borrows;
};

struct run {
    const struct job *job;
    const struct run_options *options;
    const char *run_id;
    char *folder;
    uint32_t epoch;
    const struct run_again *again; /* NULL: a new run; borrowed */
    uint64_t base_done, base_failed, base_dead;
    bool has_old_keys; /* those of the earlier master, so that its workers can join */
    bool has_moved;    /* it listens elsewhere than the earlier master did */

    struct mf_loop *loop;
    struct run_clock clock;
    int signal_fd;
    unsigned interrupts;
    const char *early; /* "draining" or "cancelling", when somebody asked for that; else NULL */
    char early_by[64]; /* who did: a signal, a command */
    char pause_reason[256]; /* as it was given, "" = none */
    int64_t pause_wall_us;  /* since when */
    struct schedule *schedule;
    struct plan *plan;
    struct recorder *recorder;
    struct authority *authority;
    char *keys_folder;
    struct secret_sources *secrets; /* NULL: the job has none */
    struct mf_welcome welcome;      /* borrows from the job and from what follows */
    char *prepared;
    void *task_scratch;
    struct endpoint *endpoint;
    struct run_stage *stage; /* NULL: nothing travels to workers */
    struct scatter *scatter;
    struct fleet *fleet;
    struct launch_host *hosts; /* those of the job, for the fleet */
    bool has_due;              /* workers are to be started */
    bool awaiting;             /* workers on other hosts may be there that have not joined */
    int64_t dial_us;           /* no look for them before */
    int64_t leave_us;          /* dismissed workers without a connection are ended then; 0 = none */
    struct log_writer *logs;
    int64_t logs_us; /* when they are flushed next; monotonic */
    struct intake *intake;
    struct control *control;
    struct progress *progress;
    bool said_way;    /* that a host is reached through SSH alone */
    bool said_client; /* which SSH client is used on the first host where it is another one */
    bool has_outbox;  /* somebody is to be told, and run.db is there */
    struct notify_session *notify; /* NULL: only others deliver */
    uint64_t notify_letters;       /* dead letters when run_notify_dead last looked */
    uint32_t notify_dead;          /* bits: subscribers who were told of dead letters */

    struct mf_mailbox commits; /* batches that come back */
    struct run_batch *free_batches;
    struct run_batch *own_batch; /* rows that the master itself makes */
    struct answering answering;
    unsigned batches_out;
    size_t batch_bytes; /* of batches that are out or held */
    struct run_disk disk;
    struct run_firing firing;
    struct run_loss loss;
    bool user_paused;

    uint64_t plan_wanted; /* pieces that the scheduler waits for */
    bool plan_over;
    uint64_t planned; /* highest id */
    uint64_t high_water, high_water_asked;

    struct run_worker *workers;
    uint32_t worker_count; /* of the array; ids are smaller */

    pthread_t gather_thread;
    bool is_gathering;
    volatile int gather_stop;
    struct mf_mailbox gathered;
    struct mf_mail gather_mail;
    struct mf_error gather_error;
    int gather_rc;
    uint64_t result_bytes;

    bool finished; /* SCHEDULE_FINISH came */
    bool sweeping;
    enum run_state final_state;
    struct mf_error failure; /* code != MF_OK: why the run can't go on (exit code from it) */
    char reason[640];
    char held_up[1024];       /* run_held_up */
    char launch_problem[512]; /* why the last launch that failed did */
    struct run_stats stats;
};

/* run_act.c: applies an event and carries out all actions that follow. */
void run_apply(struct run *run, struct schedule_event event);
void run_queue(struct run *run, struct schedule_event event); /* applies, without carrying out */
void run_act(struct run *run);
/* The run can't go on: remembers the first reason and stops. */
void run_fail(struct run *run, const struct mf_error *error);
struct run_worker *run_worker(struct run *run, uint32_t worker);
/* All subtasks of the run, as far as they are known: with those that an earlier master finished. */
uint64_t run_total(const struct run *run);
bool run_has_total(const struct run *run);

/* run_loss.c: a worker was lost with this subtask; then, once for all of them, tells the user. */
void run_loss_add(struct run *run, const struct schedule_action *action);
void run_loss_say(struct run *run);
/* What came home of a worker's log: its last lines are told when it is lost. */
void run_loss_hear(struct run *run, uint32_t id, struct mf_bytes log);

/* run_disk.c */
/* Makes the reserve; MF_EFULL when there is no room even for that. */
int run_disk_open(struct run *run, struct mf_error *error);
/* Gives the reserve back, so that the end can be written: what run.db needs, then the rest. */
void run_disk_release(struct run *run);
void run_disk_close(struct run *run);
/* Something could not be stored: a full disk is waited for, anything else is run_fail. */
void run_trouble(struct run *run, const struct mf_error *error);
/* Whether more results can be taken in now. */
bool run_disk_takes(const struct run *run);
/* Keeps a batch until there is room. */
void run_disk_hold(struct run *run, struct run_batch *batch);
/* Something was stored. */
void run_disk_stored(struct run *run);
/* Looks for room; the time it wants to be called again. */
int64_t run_disk_step(struct run *run, int64_t now_us);
/* The user pauses, or goes on; a full disk pauses besides. */
void run_pause(struct run *run, bool on);

/* run_clock.c: the scheduler's time now, and a time of its as a monotonic one. */
int64_t run_now_us(struct run *run);
int64_t run_monotonic_us(const struct run *run, int64_t scheduler_us);
/* The loop is about to sleep, until this monotonic time at the latest. */
void run_sleeps_until(struct run *run, int64_t until_us);

/* run_batch.c */
struct run_batch *run_batch_take(struct run *run, uint32_t rows);
void run_batch_free(struct run *run, struct run_batch *batch);
/* Moves files into their places and gives the rows to the writer; holds them while there is no
 * room. */
void run_batch_submit(struct run *run, struct run_batch *batch);
void run_batches_committed(void *arg, uint32_t events);
void run_batch_committed(struct record_batch *batch, void *arg);
void run_batches_fini(struct run *run);

/* run_wire.c: captured streams leave this process now and then; when that is due again. */
int64_t run_logs_step(struct run *run, int64_t now_us);
/* What workers say; fills the callbacks of scatter. */
void run_wire_callbacks(struct run *run, struct scatter_callbacks *callbacks);

/* run_launch.c: workers from launch to end; fills the callbacks of the fleet. */
void run_fleet_callbacks(struct run *run, struct fleet_callbacks *callbacks);
/* When a worker that is over now ended, at the latest: wall clock. */
int64_t run_worker_end_us(const struct run *run, uint32_t id);
void run_note_worker(struct run *run, const struct record_worker *row);
void run_launch(struct run *run, uint32_t id);
/* Starts what run_launch was asked for, when that is durable. */
void run_start_due(struct run *run);
/* Where the worker is, for people; NULL = nowhere yet. */
const char *run_host_name(const struct run *run, uint32_t id);
/* How a worker on that host and this master find each other: keys of the launch input. */
int run_add_addresses(const struct run *run, const struct launch_host *host, json_t *root);
void run_worker_connected(struct run *run, uint32_t id, const char *address);
/* What leads to a worker through SSH is not needed any more. */
void run_close_way(struct run *run, uint32_t id);
void run_worker_lost(struct run *run, uint32_t id);
void run_worker_dismiss(struct run *run, uint32_t id);
/* At the end nobody waits for lost workers on other hosts: the sweep looks for them, too. */
void run_leave_lost(struct run *run);
/* Dials workers that do not come by themselves; the time it wants to be called again. */
int64_t run_dial_step(struct run *run, int64_t now_us);
/* Has dismissed workers ended that are not there to hear of it; as above. */
int64_t run_leave_step(struct run *run, int64_t now_us);

/* run_resume.c: what is taken over from an earlier master. */
/* Opens the earlier one's keys, or makes new ones. */
int run_open_authority(struct run *run, struct mf_error *error);
/* Listens where the earlier one did, if that is possible. */
int run_listen(struct run *run, const char *host, struct mf_error *error);
/* Takes over the workers that may live, before any action is taken; how many. */
uint32_t run_take_over(struct run *run);
/* What a worker says that it holds, before it joins. */
void run_adopt_held(struct run *run, const struct mf_hello *hello);

/* run_stage.c: what workers fetch. Fills the part of the task that is about it. */
int run_stage_open(struct run *run, struct mf_task *task, struct mf_error *error);
void run_stage_close(struct run *run);
void run_stage_fetch(void *arg, const struct mf_fetch *fetch, const struct scatter_ticket *ticket);
/* What was on its way to the worker will not come any more. */
void run_stage_lost(struct run *run, uint32_t worker);

/* run_plan.c: what an earlier master may have given out, before requests are taken in. */
int run_plan_held(struct run *run, struct mf_error *error);
/* The plan cannot be continued: the run fails, or stops when that may be mended. */
void run_plan_failed(struct run *run, const struct mf_error *error);
/* Pulls the plan in small steps; the time it wants to be called again. */
int64_t run_plan_step(struct run *run, int64_t now_us);

/* run_secrets.c: reads the job's secrets, before anything else of the run is there. */
int run_open_secrets(struct run *run, struct mf_error *error);
/* They were read again, on the loop. */
void run_secrets_read(void *arg, uint32_t events);
/* A generation of credentials has begun: time to look whether secrets have changed, too. */
void run_generation_begun(void *arg);

/* run_firing.c: what goes wrong with queues.db is logged and harms no run. */
/* Learns from the run folder how the run was started. -1: its firing.json is damaged. */
int run_firing_open(struct run *run, struct mf_error *error);
/* The last thing that a run does: starts what fires because of its end, and sweeps (sweep.h). */
void run_firing_close(struct run *run);
/* Puts the event and the result that a chained run is about below $MAYFLY_PREPARED. */
int run_firing_inputs(struct run *run, const char *prepared, struct mf_error *error);
/* Says that the master lives; the time it wants to be called again. */
int64_t run_firing_step(struct run *run, int64_t now_us);
/* The final state is recorded: what becomes of the messages. */
void run_firing_settle(struct run *run);
/* The run never came about: the messages go back. */
void run_firing_give_up(struct run *run, const struct mf_error *error);
/* When all else is done and the run's lock is free: starts what its end has fired. */
void run_firing_finish(struct run *run);
/* How it was started: a new reference, json null when by hand and without messages. */
json_t *run_firing_json(const struct run *run);
/* The same in words, "" for nothing. */
const char *run_firing_text(const struct run *run, char *out, size_t size);

/* run_history.c: what goes wrong with the history is logged and harms no run. */
void run_history_begin(struct run *run);
void run_history_end(struct run *run, const struct record_run *row);
void run_history_remove(struct run *run);

/* run_signals.c: they come to the loop from now on. */
int run_watch_signals(struct run *run, struct mf_error *error);

/* run_control.c: what is asked for over the control socket; fills its callbacks. */
void run_control_callbacks(struct run *run, struct control_callbacks *callbacks);
/* Drains or cancels, for whoever asked: "SIGINT", "mayfly cancel". */
void run_end_early(struct run *run, bool drain, const char *by);

/* run_explain.c: why something does not run. A new reference, NULL when memory is exhausted.
 * `subtask` 0 = the run alone. */
json_t *run_explain_json(struct run *run, uint64_t subtask);
/* The same in a sentence when nothing runs although there is work, else NULL. Borrowed until the
 * next call. */
const char *run_held_up(struct run *run);

/* run_notify.c: subscribers are told; nothing of it fails a run. */
/* The run is known (run.db is open): registers it, and tells that it has started. */
void run_notify_begin(struct run *run);
/* Rows were recorded: tells of too many dead letters. */
void run_notify_dead(struct run *run);
void run_notify_wake(struct run *run);
/* Rows of the outbox for a state that is to be recorded, for record_run (free by free()); NULL:
 * none. */
char *run_notify_end_rows(struct run *run, enum run_state state, const char *reason);
/* run.db is closed: delivers for a bounded time. What came of it, for the summary; NULL: nobody is
 * to be told. */
json_t *run_notify_end(struct run *run, bool is_final);
/* The same, into the summary and its file. */
void run_notify_summary(struct run *run, json_t *summary, bool is_final);

/* run_gather.c */
void run_gather_start(struct run *run);
void run_gathered(void *arg, uint32_t events);

#endif
