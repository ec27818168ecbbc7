/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ssh launcher: workers on machines that have nothing but sshd. A worker is started by one
 * command of one login, as nohup would, and then the connection is closed: a thousand workers hold
 * none. Its death can't be seen from here; it says goodbye over the wire, or its lease ends.
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/launch/answer.h"
#include "master/launch/ssh_internal.h"
#include "master/launch/ssh_script.h"

#define LOGIN_US 15000000

static void ssh_destroy(struct launcher *launcher);

static enum remote_client client_of(enum launch_client client)
{
    switch (client) {
    case LAUNCH_CLIENT_LIBSSH2:
        return REMOTE_LIBSSH2;
    case LAUNCH_CLIENT_OPENSSH:
        return REMOTE_OPENSSH;
    default:
        return REMOTE_AUTO;
    }
}

static int copy_texts(struct launcher *launcher, const struct launch_config *config)
{
    launcher->run_id = mf_strdup(config->run_id);
    if (launcher->run_id == NULL)
        return -1;
    launcher->login = (struct remote_config){.identity = config->identity,
                                             .known_hosts = config->known_hosts,
                                             .accept_new = config->accept_new,
                                             .client = client_of(config->client),
                                             .ssh_config = config->ssh_config,
                                             .connect_us = LOGIN_US};
    launcher->keep_worker = config->keep_worker;
    return 0;
}

static struct launcher *ssh_create(struct mf_loop *loop,
                                   const struct launch_config *config,
                                   const struct launcher_callbacks *callbacks,
                                   struct mf_error *error)
{
    struct launcher *launcher = mf_calloc(1, sizeof *launcher);
    if (launcher == NULL || copy_texts(launcher, config) < 0 ||
        (launcher->login.book = remote_book_create(error)) == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the ssh launcher");
        ssh_destroy(launcher);
        return NULL;
    }
    if (config->hold != NULL)
        remote_book_hold(launcher->login.book, config->hold, config->hold_arg);
    launcher->loop = loop;
    launcher->callbacks = *callbacks;
    if (getrandom(&launcher->random, sizeof launcher->random, 0) != sizeof launcher->random ||
        launcher->random == 0)
        launcher->random = (uint64_t)mf_wall_us() | 1;
    if (ssh_program_open(&launcher->program, config->worker_binary, error) < 0) {
        ssh_destroy(launcher);
        return NULL;
    }
    return launcher;
}

static struct errand *add(struct launcher *launcher,
                          enum errand_kind kind,
                          const struct launch_host *host,
                          uint32_t worker,
                          const char *input,
                          struct mf_error *error)
{
    struct errand *errand = errand_create(launcher, kind, host, worker, input, error);
    if (errand == NULL)
        return NULL;
    struct errand **last = &launcher->errands;
    while (*last != NULL)
        last = &(*last)->next;
    *last = errand;
    return errand;
}

bool ssh_is_refusal(const struct remote_result *result)
{
    return result->code >= SCRIPT_NO_PROGRAM && result->code <= SCRIPT_NO_PART;
}

bool ssh_has_begun(const struct remote_result *result)
{
    char system[8];
    return result->code == 0 || ssh_is_refusal(result) ||
           answer_line(result->output, "system", system, sizeof system);
}

/* Why a host whose shell answered does not take the worker, in a sentence. */
static void raise_refusal(const struct errand *errand,
                          const struct remote_result *result,
                          struct mf_error *error)
{
    const char *name = errand->host->name;
    char text[512], system[128];
    answer_problem(result->problem, text, sizeof text);
    if (!ssh_has_begun(result)) {
        answer_problem(
            result->problem[0] == '\0' ? result->output : result->problem, text, sizeof text);
        mf_raise(error,
                 MF_ESETUP,
                 "%s: its login shell runs no command (exit code %d: %s): give the account a shell "
                 "with chsh, or look at its authorized_keys for a forced command",
                 name,
                 result->code,
                 text);
        return;
    }
    answer_line(result->output, "system", system, sizeof system);
    switch (result->code) {
    case SCRIPT_WRONG_SYSTEM:
        mf_raise(error,
                 MF_ESETUP,
                 "%s: it is %s, but this worker is for Linux on %s: install a mayfly-worker for "
                 "that architecture on a master of its kind, or leave the host out",
                 name,
                 system,
                 errand->launcher->program.machine);
        break;
    case SCRIPT_OLD_KERNEL:
        mf_raise(error,
                 MF_ESETUP,
                 "%s: its kernel is too old (%s): the worker needs Linux " SCRIPT_KERNEL_MIN
                 " or newer",
                 name,
                 system);
        break;
    case SCRIPT_NO_PLACE:
        mf_raise(error,
                 MF_ESETUP,
                 "%s: %s make one of them usable, or set XDG_CACHE_HOME there to a folder that is",
                 name,
                 text);
        break;
    case SCRIPT_NO_COPY:
    case SCRIPT_NO_PART:
        mf_raise(error,
                 MF_ESETUP,
                 "%s: the worker's program could not be copied: %s; is there space left?",
                 name,
                 text);
        break;
    default:
        mf_raise(error,
                 MF_ESETUP,
                 "%s: the worker did not start (exit code %d): %s",
                 name,
                 result->code,
                 text);
        break;
    }
}

static void report_start(struct errand *errand,
                         const struct remote_result *result,
                         bool again,
                         const struct mf_error *error)
{
    struct launcher *launcher = errand->launcher;
    struct launch_report report = {.worker = errand->worker,
                                   .place = errand->host->name,
                                   .again = again,
                                   .given_up = errand->cancelled && result == NULL,
                                   .touched = errand->touched};
    if (result == NULL) {
        report.error = *error;
    } else if (result->code == 0 && answer_started(result->output, errand->worker, &report)) {
        report.ok = true;
        report.address = remote_peer_address(errand->remote);
        report.elsewhere =
            launcher->login.client == REMOTE_AUTO ? remote_elsewhere(errand->remote) : NULL;
    } else {
        report.again = ssh_has_begun(result) && !ssh_is_refusal(result);
        raise_refusal(errand, result, &report.error);
    }
    launcher->callbacks.launched(launcher->callbacks.arg, &report);
}

/* Where it could not be ended, there is nothing to wait for either: it is refused should it speak,
 * ends at its orphan limit, and the sweep looks again. */
static void
report_stop(struct errand *errand, const struct remote_result *result, const struct mf_error *error)
{
    struct launcher *launcher = errand->launcher;
    if (result == NULL || (result->code != 0 && result->code != SCRIPT_NO_PROGRAM))
        mf_log(MF_WARNING,
               "worker %u on %s could not be ended: %s",
               errand->worker,
               errand->host->name,
               result == NULL ? error->text : result->problem);
    launcher->callbacks.died(launcher->callbacks.arg, errand->worker);
}

bool ssh_is_verdict(const struct errand *errand, const struct remote_result *result)
{
    char left[64];
    struct sweep_report report = {.host = errand->host};
    if (errand->kind != ERRAND_SWEEP)
        return true;
    if (result->code != 0 && result->code != 1)
        return false;
    answer_swept(result->output, result->problem, result->code, left, sizeof left, &report);
    return strcmp(report.verified_by, "sweep") == 0;
}

static void report_sweep(struct errand *errand,
                         const struct remote_result *result,
                         const struct mf_error *error)
{
    struct launcher *launcher = errand->launcher;
    char left[1024];
    struct sweep_report report = {.host = errand->host, .place = errand->host->name};
    if (result != NULL && (result->code == 0 || result->code == 1)) {
        answer_swept(result->output, result->problem, result->code, left, sizeof left, &report);
    } else {
        struct mf_error refusal;
        if (result != NULL)
            raise_refusal(errand, result, &refusal);
        snprintf(left, sizeof left, "%s", result == NULL ? error->text : refusal.text);
        report.verified_by = "none";
        report.left = left;
    }
    launcher->callbacks.swept(launcher->callbacks.arg, &report);
}

/* One that is not told is lost when it has not joined in time. */
static void report_readdress(struct errand *errand,
                             const struct remote_result *result,
                             const struct mf_error *error)
{
    if (result == NULL || result->code != 0)
        mf_log(MF_WARNING,
               "worker %u on %s is not told where its master is: %s",
               errand->worker,
               errand->host->name,
               result == NULL ? error->text : result->problem);
}

static const char *verdict_of(const struct remote_result *result, bool reachable)
{
    if (result == NULL)
        return reachable ? "no login" : "unreachable";
    if (!ssh_has_begun(result))
        return "no shell";
    switch (result->code) {
    case 0:
        return "ok";
    case SCRIPT_WRONG_SYSTEM:
        return "wrong system";
    case SCRIPT_OLD_KERNEL:
        return "old kernel";
    case SCRIPT_NO_PLACE:
        return "no place";
    default:
        return "failed";
    }
}

static void note_client(const struct errand *errand, struct check_report *report)
{
    const char *reason = errand->remote == NULL ? NULL : remote_elsewhere(errand->remote);
    bool was_in = errand->remote != NULL && remote_has_begun(errand->remote);
    snprintf(report->client,
             sizeof report->client,
             "%s",
             reason != NULL ? "openssh"
             : was_in       ? "libssh2"
                            : "");
    snprintf(
        report->client_reason, sizeof report->client_reason, "%s", reason == NULL ? "" : reason);
}

static void report_check(struct errand *errand,
                         const struct remote_result *result,
                         const struct mf_error *error)
{
    struct launcher *launcher = errand->launcher;
    struct check_report report = {.host = errand->host,
                                  .took_us = mf_monotonic_us() - errand->opened_us};
    report.ok = result != NULL && result->code == 0;
    report.reachable = errand->remote != NULL && remote_is_reached(errand->remote);
    report.verdict = verdict_of(result, report.reachable);
    if (result == NULL)
        report.error = *error;
    else if (!report.ok)
        raise_refusal(errand, result, &report.error);
    if (result != NULL)
        answer_checked(result->output, &report);
    note_client(errand, &report);
    launcher->callbacks.checked(launcher->callbacks.arg, &report);
}

void ssh_errand_over(struct errand *errand,
                     const struct remote_result *result,
                     bool again,
                     const struct mf_error *error)
{
    if (errand->kind == ERRAND_START)
        report_start(errand, result, again, error);
    else if (errand->kind == ERRAND_STOP)
        report_stop(errand, result, error);
    else if (errand->kind == ERRAND_READDRESS)
        report_readdress(errand, result, error);
    else if (errand->kind == ERRAND_CHECK)
        report_check(errand, result, error);
    else
        report_sweep(errand, result, error);
}

static int
ssh_start(struct launcher *launcher, const struct launch_order *order, struct mf_error *error)
{
    return add(launcher, ERRAND_START, order->host, order->worker, order->input, error) == NULL ? -1
                                                                                                : 0;
}

/* Of a start that waits for its turn or logs in nothing has happened yet: it is given up. */
static const struct launch_host *give_up_start(struct launcher *launcher, uint32_t worker)
{
    for (struct errand *errand = launcher->errands; errand != NULL; errand = errand->next)
        if (errand->kind == ERRAND_START && errand->worker == worker && !errand->is_over) {
            errand_cancel(errand);
            return errand->host;
        }
    return NULL;
}

static void ssh_stop(struct launcher *launcher, const struct launch_host *host, uint32_t worker)
{
    struct mf_error error;
    if (give_up_start(launcher, worker) == NULL &&
        add(launcher, ERRAND_STOP, host, worker, NULL, &error) == NULL)
        mf_log(MF_ERROR, "%s", error.text);
}

static void ssh_farewell(struct launcher *launcher, uint32_t worker)
{
    launcher->callbacks.died(launcher->callbacks.arg, worker);
}

/* Whether it lives shows when it joins, or does not. */
static int
ssh_adopt(struct launcher *launcher, const struct launch_known *known, struct mf_error *error)
{
    (void)launcher;
    (void)known;
    (void)error;
    return 1;
}

static void ssh_readdress(struct launcher *launcher,
                          const struct launch_host *host,
                          uint32_t worker,
                          const char *addresses)
{
    struct mf_error error;
    if (add(launcher, ERRAND_READDRESS, host, worker, addresses, &error) == NULL)
        mf_log(MF_ERROR, "%s", error.text);
}

static int
ssh_sweep(struct launcher *launcher, const struct launch_host *host, struct mf_error *error)
{
    return add(launcher, ERRAND_SWEEP, host, 0, NULL, error) == NULL ? -1 : 0;
}

static int
ssh_check(struct launcher *launcher, const struct launch_host *host, struct mf_error *error)
{
    return add(launcher, ERRAND_CHECK, host, 0, NULL, error) == NULL ? -1 : 0;
}

static bool ssh_is_idle(const struct launcher *launcher)
{
    for (const struct errand *errand = launcher->errands; errand != NULL; errand = errand->next)
        if (!errand->is_over)
            return false;
    return true;
}

static int64_t ssh_tick(struct launcher *launcher, int64_t now_us)
{
    int64_t next = ssh_tick_ways(launcher, now_us);
    for (struct errand **at = &launcher->errands; *at != NULL;) {
        struct errand *errand = *at;
        if (errand->is_over) {
            *at = errand->next;
            errand_destroy(errand);
            continue;
        }
        int64_t due_us = errand_tick(errand, now_us);
        next = due_us < next ? due_us : next;
        at = &errand->next;
    }
    return next;
}

static void ssh_destroy(struct launcher *launcher)
{
    if (launcher == NULL)
        return;
    while (launcher->errands != NULL) {
        struct errand *errand = launcher->errands;
        launcher->errands = errand->next;
        errand_destroy(errand);
    }
    ssh_close_ways(launcher);
    while (launcher->gates != NULL) {
        struct gate *gate = launcher->gates;
        launcher->gates = gate->next;
        mf_free(gate);
    }
    remote_book_destroy(launcher->login.book);
    ssh_program_close(&launcher->program);
    mf_free(launcher->run_id);
    mf_free(launcher);
}

const struct launcher_class launcher_ssh = {.name = "ssh",
                                            .create = ssh_create,
                                            .start = ssh_start,
                                            .adopt = ssh_adopt,
                                            .readdress = ssh_readdress,
                                            .open_way = ssh_open_way,
                                            .close_way = ssh_close_way,
                                            .stop = ssh_stop,
                                            .farewell = ssh_farewell,
                                            .sweep = ssh_sweep,
                                            .check = ssh_check,
                                            .is_idle = ssh_is_idle,
                                            .tick = ssh_tick,
                                            .destroy = ssh_destroy};
