/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An errand on a host: see ssh_internal.h.
 *
 *     waits --its turn--> program --answer--> over
 *                            |  ^
 *             not there (91) v  | copied, by this errand or another of that host
 *                           copy
 *     program, copy --refused for the number of logins--> waits
 *
 * Pace: at most OPEN_MAX connections in all, and for each host as many as it has been seen to bear
 * (a stock sshd drops logins from the tenth on, at random): one that is dropped halves the number,
 * one that is let in raises it by one.
 */
#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/launch/answer.h"
#include "master/launch/ssh_internal.h"
#include "master/launch/ssh_script.h"

#define OPEN_MAX 48u
#define GATE_FIRST 8u
#define GATE_MOST 32u
#define COPIES_MAX 5 /* other runs may remove the program as soon as it is there */
#define CUTS_MAX 4   /* copies in a row that bring it no further */
#define PART_KEPT_S 90
#define TRY_FOR_US 60000000
#define ANSWER_US 60000000 /* login and command together */
#define COPY_US 300000000
#define SWEEP_US 20000000    /* twice what the sweep itself takes at most */
#define CANCELLED_US 3000000 /* for a start that is not wanted any more, but begun */
/* Of a host that has not let anybody in, and does not say that it is crowded. */
#define TRIES_MAX 6
#define SWEEPS_MAX 4
#define BACKOFF_US 150000
#define BACKOFF_DOUBLINGS 5

/* A share of `span`, at random (xorshift64): that many launches do not knock in step. */
static int64_t jitter(struct launcher *launcher, int64_t span_us)
{
    uint64_t x = launcher->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    launcher->random = x;
    return (int64_t)(x % (uint64_t)span_us);
}

static bool is_same_sshd(const struct launch_host *a, const struct launch_host *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

struct gate *ssh_gate_of(struct launcher *launcher, const struct launch_host *host)
{
    for (struct gate *gate = launcher->gates; gate != NULL; gate = gate->next)
        if (is_same_sshd(gate->host, host))
            return gate;
    struct gate *gate = mf_calloc(1, sizeof *gate);
    if (gate == NULL)
        return NULL;
    *gate = (struct gate){.next = launcher->gates, .host = host, .limit = GATE_FIRST};
    launcher->gates = gate;
    return gate;
}

struct remote_config ssh_login_of(const struct launcher *launcher, const struct launch_host *host)
{
    struct remote_config login = launcher->login;
    if (host->identity != NULL)
        login.identity = host->identity;
    return login;
}

struct errand *errand_create(struct launcher *launcher,
                             enum errand_kind kind,
                             const struct launch_host *host,
                             uint32_t worker,
                             const char *input,
                             struct mf_error *error)
{
    struct errand *errand = mf_calloc(1, sizeof *errand);
    if (errand == NULL || (errand->gate = ssh_gate_of(launcher, host)) == NULL ||
        (input != NULL && (errand->input = mf_strdup(input)) == NULL)) {
        mf_raise(error, MF_ENOMEM, "out of memory: what is to be done on %s", host->name);
        mf_free(errand);
        return NULL;
    }
    errand->launcher = launcher;
    errand->kind = kind;
    errand->host = host;
    errand->login = ssh_login_of(launcher, host);
    errand->worker = worker;
    return errand;
}

static void disconnect(struct errand *errand)
{
    if (errand->gate->copier == errand)
        errand->gate->copier = NULL;
    errand->awaits_copy = false;
    if (errand->remote == NULL)
        return;
    remote_close(errand->remote);
    errand->remote = NULL;
    errand->gate->open--;
    errand->launcher->open--;
}

void errand_destroy(struct errand *errand)
{
    disconnect(errand);
    if (errand->input != NULL)
        mbedtls_platform_zeroize(errand->input, strlen(errand->input));
    mf_free(errand->input);
    mf_free(errand);
}

static void finish(struct errand *errand,
                   const struct remote_result *result,
                   bool again,
                   const struct mf_error *error)
{
    errand->is_over = true;
    ssh_errand_over(errand, result, again, error);
    disconnect(errand);
}

static void wait_for_another_try(struct errand *errand)
{
    struct gate *gate = errand->gate;
    unsigned doublings = errand->tries < BACKOFF_DOUBLINGS ? errand->tries : BACKOFF_DOUBLINGS;
    int64_t backoff_us = (int64_t)BACKOFF_US << doublings;
    gate->limit = gate->limit > 1 ? gate->limit / 2 : 1;
    disconnect(errand);
    errand->tries++;
    errand->due_us = mf_monotonic_us() + backoff_us / 2 + jitter(errand->launcher, backoff_us);
    mf_log(MF_DEBUG,
           "%s refused a login (%u so far), %u at a time from now on",
           errand->host->name,
           errand->tries,
           gate->limit);
}

static bool is_worth_another_try(const struct errand *errand, const struct remote_result *result)
{
    bool is_patient = result->crowded || errand->gate->is_known;
    return result->again && !errand->cancelled &&
           (is_patient ? mf_monotonic_us() < errand->give_up_us : errand->tries + 1 < TRIES_MAX);
}

/* A sweep can be done any number of times, and what it finds out counts: one that broke off, or
 * that other runs of the host got in the way of, is done again. */
static bool is_worth_another_sweep(const struct errand *errand)
{
    return errand->kind == ERRAND_SWEEP && errand->gate->is_known && errand->tries + 1 < SWEEPS_MAX;
}

static void fail(struct errand *errand, const struct remote_result *result)
{
    errand->touched = errand->touched || result->begun;
    if (is_worth_another_try(errand, result) || (result->begun && is_worth_another_sweep(errand)))
        wait_for_another_try(errand);
    else
        finish(errand,
               NULL,
               result->begun || (result->again && errand->gate->is_known),
               &result->error);
}

static void run_program(struct errand *errand);
static void copy_program(struct errand *errand);

/* Not there, or removed by another run's sweep between the look and the start (127, of the shell).
 */
static bool is_program_gone(const struct remote_result *result)
{
    return result->code == SCRIPT_NO_PROGRAM || (result->code == 127 && ssh_has_begun(result));
}

/* By another errand, if one copies there now or has done so since this one looked. */
static void fetch_program(struct errand *errand)
{
    const struct gate *gate = errand->gate;
    errand->awaits_copy = gate->copier != NULL;
    if (gate->copier == NULL && gate->copied_us >= errand->ran_us)
        run_program(errand);
    else if (gate->copier == NULL)
        copy_program(errand);
}

/* So that later logins there do not begin with what is known to fail. */
static void note_client(struct errand *errand)
{
    const char *reason = remote_elsewhere(errand->remote);
    if (reason != NULL)
        snprintf(errand->gate->elsewhere, sizeof errand->gate->elsewhere, "%s", reason);
}

/* What an earlier copy has left, the largest; one that is larger than before shows that the way
 * bears something. */
static void choose_part(struct errand *errand, const struct remote_result *result)
{
    unsigned before = errand->part.kib;
    size_t most = errand->launcher->program.bytes.length / 1024;
    errand->part = (struct script_part){.kept_s = PART_KEPT_S};
    if (errand->begins_anew)
        return;
    answer_part(result->output, most, &errand->part);
    if (errand->part.kib > before) {
        errand->cuts = 0;
        errand->give_up_us = mf_monotonic_us() + TRY_FOR_US;
    }
}

static void on_program(void *arg, const struct remote_result *result)
{
    struct errand *errand = arg;
    struct gate *gate = errand->gate;
    errand->answer_by_us = 0;
    note_client(errand);
    if (result->code < 0) {
        fail(errand, result);
        return;
    }
    gate->limit += gate->limit < GATE_MOST;
    gate->is_known = true;
    /* To end one worker nothing is copied: the program went when no run had a folder there. */
    if (is_program_gone(result) && errand->copies < COPIES_MAX && errand->kind != ERRAND_STOP &&
        errand->kind != ERRAND_READDRESS) {
        choose_part(errand, result);
        fetch_program(errand);
        return;
    }
    if (!ssh_is_verdict(errand, result) && is_worth_another_sweep(errand)) {
        mf_log(MF_INFO,
               "the sweep of %s came to nothing (exit code %d) and is done again: %s",
               errand->host->name,
               result->code,
               result->problem);
        wait_for_another_try(errand);
        return;
    }
    errand->touched = errand->touched || (ssh_has_begun(result) && !ssh_is_refusal(result));
    finish(errand, result, false, NULL);
}

/* A copy may be made any number of times: one that was cut is taken up where it was. */
static void copy_was_cut(struct errand *errand, const struct remote_result *result)
{
    errand->touched = true;
    errand->cuts++;
    if (errand->cuts <= CUTS_MAX && !errand->cancelled) {
        mf_log(MF_INFO,
               "the copy of the worker's program to %s broke off: %s",
               errand->host->name,
               result->error.text);
        wait_for_another_try(errand);
    } else {
        fail(errand, result);
    }
}

static void on_copied(void *arg, const struct remote_result *result)
{
    struct errand *errand = arg;
    errand->answer_by_us = 0;
    if (result->code < 0) {
        copy_was_cut(errand, result);
    } else if (result->code == SCRIPT_NO_PART && errand->copies < COPIES_MAX) {
        errand->copies++;
        errand->begins_anew = true;
        errand->part.name[0] = '\0';
        copy_program(errand);
    } else if (result->code != 0 && is_worth_another_sweep(errand)) {
        wait_for_another_try(errand);
    } else if (result->code != 0) {
        finish(errand, result, false, NULL);
    } else {
        errand->copies++;
        errand->touched = true;
        errand->gate->copier = NULL;
        errand->gate->copied_us = mf_monotonic_us();
        run_program(errand);
    }
}

static int64_t answer_limit(const struct errand *errand, bool copies)
{
    return copies ? COPY_US : errand->kind == ERRAND_SWEEP ? SWEEP_US : ANSWER_US;
}

/* Takes the command. */
static void execute(struct errand *errand, char *command, struct mf_bytes input, remote_f *done)
{
    struct mf_error error;
    errand->answer_by_us = mf_monotonic_us() + answer_limit(errand, done == on_copied);
    int rc =
        command == NULL
            ? mf_raise(&error, MF_ENOMEM, "out of memory: a command for %s", errand->host->name)
            : remote_exec(errand->remote, command, input, done, errand, &error);
    mf_free(command);
    if (rc < 0)
        finish(errand, NULL, false, &error);
}

/* What the program is started with; heap. */
static char *arguments_of(const struct errand *errand)
{
    const struct launcher *launcher = errand->launcher;
    switch (errand->kind) {
    case ERRAND_START:
        return mf_format("start %s", launcher->run_id);
    case ERRAND_READDRESS:
        return mf_format("readdress %s %u", launcher->run_id, errand->worker);
    case ERRAND_STOP:
        return mf_format("sweep %s --worker %u", launcher->run_id, errand->worker);
    default:
        return mf_format(
            "sweep %s%s", launcher->run_id, launcher->keep_worker ? "" : " --remove-program");
    }
}

static void run_program(struct errand *errand)
{
    const struct ssh_program *program = &errand->launcher->program;
    char *command = NULL;
    errand->ran_us = mf_monotonic_us();
    if (errand->kind == ERRAND_CHECK) {
        command = script_check(program->sha256, program->machine, program->bytes.length);
    } else {
        char *arguments = arguments_of(errand);
        if (arguments != NULL)
            command = script_program(program->sha256, program->machine, arguments);
        mf_free(arguments);
    }
    execute(errand, command, mf_bytes_text(errand->input), on_program);
}

static void copy_program(struct errand *errand)
{
    const struct ssh_program *program = &errand->launcher->program;
    const struct script_part *part = &errand->part;
    size_t there = part->name[0] == '\0' ? 0 : (size_t)part->kib * 1024;
    errand->gate->copier = errand;
    if (there == 0)
        mf_log(MF_INFO, "copying the worker's program to %s", errand->host->name);
    else
        mf_log(MF_INFO,
               "copying the rest of the worker's program to %s, which has %u KiB of it",
               errand->host->name,
               part->kib);
    execute(errand,
            script_upload(program->sha256, program->bytes.length, part),
            mf_bytes_of(program->bytes.data + there, program->bytes.length - there),
            on_copied);
}

static void connect(struct errand *errand)
{
    struct launcher *launcher = errand->launcher;
    const struct launch_host *host = errand->host;
    const struct remote_target target = {
        .user = host->user,
        .host = host->host,
        .port = host->port,
        .elsewhere = errand->gate->elsewhere[0] == '\0' ? NULL : errand->gate->elsewhere};
    struct mf_error error;
    errand->remote = remote_open(launcher->loop, &errand->login, &target, &error);
    if (errand->remote == NULL) {
        finish(errand, NULL, true, &error);
        return;
    }
    errand->opened_us = mf_monotonic_us();
    if (errand->give_up_us == 0)
        errand->give_up_us = errand->opened_us + TRY_FOR_US;
    errand->gate->open++;
    launcher->open++;
    run_program(errand);
}

/* The host let us in, and then nothing came: its login shell may wait for something. */
static void give_up_waiting(struct errand *errand)
{
    struct mf_error error;
    int64_t waited_us = mf_monotonic_us() - errand->opened_us;
    mf_raise(
        &error,
        MF_ESETUP,
        "%s: no answer to a command within %d s: does `ssh %s true` come back at once? (a start "
        "file of its login shell may wait for input)",
        errand->host->name,
        (int)((waited_us + 500000) / 1000000),
        errand->host->name);
    errand->touched = true;
    finish(errand, NULL, true, &error);
}

void errand_cancel(struct errand *errand)
{
    int64_t limit_us = mf_monotonic_us() + CANCELLED_US;
    errand->cancelled = true;
    if (errand->answer_by_us > limit_us)
        errand->answer_by_us = limit_us;
}

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t errand_tick(struct errand *errand, int64_t now_us)
{
    struct mf_error error;
    if (errand->is_over)
        return MF_NEVER;
    if (errand->cancelled && (errand->remote == NULL || !remote_has_begun(errand->remote))) {
        mf_raise(&error,
                 MF_ESETUP,
                 "%s had not let it in when it was not needed any more",
                 errand->host->name);
        finish(errand, NULL, false, &error);
        return MF_NEVER;
    }
    if (errand->remote == NULL) {
        if (now_us < errand->due_us)
            return errand->due_us;
        /* When a place becomes free the loop has just turned, and this is asked again. */
        if (errand->launcher->open >= OPEN_MAX || errand->gate->open >= errand->gate->limit)
            return MF_NEVER;
        connect(errand);
    }
    if (errand->awaits_copy && errand->gate->copier == NULL) {
        errand->awaits_copy = false;
        run_program(errand);
    }
    if (errand->remote != NULL && remote_is_asking(errand->remote) && !errand->cancelled) {
        errand->answer_by_us = now_us + ANSWER_US; /* somebody types */
        errand->give_up_us = now_us + TRY_FOR_US;
    }
    if (errand->answer_by_us != 0 && now_us >= errand->answer_by_us)
        give_up_waiting(errand);
    if (errand->remote == NULL)
        return now_us;
    int64_t next_us = remote_tick(errand->remote, now_us);
    /* It may have failed in there: then it has another deadline, and its place is free. */
    if (errand->remote == NULL)
        return now_us;
    return errand->answer_by_us == 0 ? next_us : earliest(next_us, errand->answer_by_us);
}
