/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly check: looks at each host as a run would (name, connection, host key, login, system, place
 * for the worker), runs nothing there and leaves nothing. A table, or JSON; exit code 0 when every
 * host can be used.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/command.h"
#include "master/commands/sets.h"
#include "master/commands/ssh_options.h"
#include "master/commands/table.h"
#include "master/commands/text.h"
#include "master/inventory.h"
#include "master/launch/fleet.h"
#include "master/run_hosts.h"

#define CLOCK_OFFSET_S 60 /* more is worth a word */

struct arguments {
    const char *job;
    struct sets sets;
    bool json;
};

/* Reports as they come; rows in the order of the list. */
struct check {
    struct launch_host *hosts;
    struct mf_loop *loop;
    struct fleet *fleet;
    struct check_report *reports;
    uint32_t count;
    uint32_t unusable;
};

static const struct argp_option options[] = {
    {"json", 'J', NULL, 0, "Write a JSON array, an object a host", 0},
    {"set", 's', "KEY=VALUE", 0, "Set a key of the job file", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->sets;
        return 0;
    case 'J':
        arguments->json = true;
        return 0;
    case 's':
        sets_add(&arguments->sets, text, state);
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->job != NULL)
            argp_error(state, "one job at a time: \"%s\" is too much", text);
        arguments->job = text;
        return 0;
    case ARGP_KEY_END:
        if (arguments->job == NULL && !sets_has(&arguments->sets, "workers.hosts") &&
            !sets_has(&arguments->sets, "workers.hosts_file") &&
            !sets_has(&arguments->sets, "workers.inventory"))
            argp_error(state, "a job file, --hosts, --hosts-file or --inventory is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static struct job *load(const struct arguments *arguments, struct mf_error *error)
{
    static const char nothing[] =
        "{mayfly: 1, name: check, split: {range: 1-1}, task: {command: [true]}}";
    if (arguments->job != NULL)
        return inventory_settle(
            job_load(arguments->job, arguments->sets.items, arguments->sets.count, error), error);
    char *folder = realpath(".", NULL);
    struct job *job = job_parse("--hosts",
                                folder == NULL ? "/" : folder,
                                mf_bytes_text(nothing),
                                arguments->sets.items,
                                arguments->sets.count,
                                error);
    free(folder);
    return inventory_settle(job, error);
}

static void on_checked(void *arg, const struct check_report *report)
{
    struct check *check = arg;
    for (uint32_t i = 0; i < check->count; i++)
        if (check->reports[i].host == report->host)
            check->reports[i] = *report;
    check->unusable += !report->ok;
}

static int
open_check(struct check *check, const struct job *job, const char *binary, struct mf_error *error)
{
    const struct launch_config config = launch_config_of(job, "check", binary);
    uint32_t count = 0;
    const struct fleet_callbacks callbacks = {.checked = on_checked, .arg = check};
    if ((check->hosts = hosts_of_job(job, &count, error)) == NULL ||
        (check->loop = mf_loop_create(error)) == NULL ||
        (check->fleet =
             fleet_create(check->loop, &config, check->hosts, count, &callbacks, error)) == NULL)
        return -1;
    check->count = fleet_place_count(check->fleet);
    check->reports = mf_calloc(check->count, sizeof *check->reports);
    if (check->reports == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the hosts to check");
    for (uint32_t i = 0; i < check->count; i++) {
        struct fleet_place place;
        fleet_place(check->fleet, i, &place);
        check->reports[i].host = place.host;
        check->reports[i].verdict = "failed";
    }
    return 0;
}

static void close_check(struct check *check)
{
    fleet_destroy(check->fleet);
    mf_loop_destroy(check->loop);
    mf_free(check->hosts);
    mf_free(check->reports);
}

static int look(struct check *check, struct mf_error *error)
{
    int rc = fleet_check(check->fleet, error);
    while (rc == 0 && !fleet_is_idle(check->fleet)) {
        int64_t next_us = fleet_tick(check->fleet, mf_monotonic_us());
        if (!fleet_is_idle(check->fleet))
            rc = mf_loop_step(check->loop, next_us, error);
    }
    return rc;
}

static const char *verdict_of(const struct check_report *report, char *text, size_t size)
{
    bool is_off =
        report->clock_offset_s > CLOCK_OFFSET_S || report->clock_offset_s < -CLOCK_OFFSET_S;
    if (!report->ok)
        return report->error.text;
    snprintf(text,
             size,
             "ok%s%s%s%s",
             strcmp(report->client, "openssh") == 0 ? " (by ssh)" : "",
             is_off ? ", but its clock is off (harmless)" : "",
             report->passed[0] == '\0' ? "" : "; passed over: ",
             report->passed);
    return text;
}

/* The parts of `uname -srm`: what is between the first and the last blank, and behind that. */
static void split_system(const char *system, char kernel[128], char machine[128])
{
    const char *first = strchr(system, ' '), *last = strrchr(system, ' ');
    bool is_linux = strncmp(system, "Linux ", 6) == 0;
    const char *begin = is_linux ? first + 1 : system;
    bool is_whole = last != NULL && last > begin;
    snprintf(kernel, 128, "%.*s", is_whole ? (int)(last - begin) : 0, begin);
    snprintf(machine, 128, "%s", is_whole ? last + 1 : "");
}

static int print_row(struct table *table, const struct check_report *report, struct mf_error *error)
{
    char cores[TEXT_SIZE] = "", memory[TEXT_SIZE] = "", space[TEXT_SIZE] = "", took[TEXT_SIZE] = "",
         clock[TEXT_SIZE] = "", verdict[sizeof report->passed + 64], kernel[128], machine[128];
    split_system(report->system, kernel, machine);
    if (report->cores > 0) {
        snprintf(cores, sizeof cores, "%" PRIu64, report->cores);
        text_size(report->memory_kib * 1024, memory);
        snprintf(clock, sizeof clock, "%+" PRId64 " s", report->clock_offset_s);
    }
    if (report->folder[0] != '\0')
        text_size(report->free_kib * 1024, space);
    if (report->took_us > 0)
        text_duration(report->took_us, took);
    const char *cells[] = {report->host->name,
                           report->reachable ? "yes" : "no",
                           report->user,
                           machine,
                           kernel,
                           cores,
                           memory,
                           report->folder,
                           space,
                           clock,
                           report->folder[0] == '\0' ? ""
                           : report->has_program     ? "there"
                                                     : "to copy",
                           took,
                           verdict_of(report, verdict, sizeof verdict)};
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        if (table_text(table, cells[i], error) < 0)
            return -1;
    return 0;
}

static int print_table(const struct check *check, struct mf_error *error)
{
    static const char *const titles[] = {"HOST",
                                         "REACHED",
                                         "USER",
                                         "ARCH",
                                         "KERNEL",
                                         "CORES",
                                         "MEMORY",
                                         "PLACE",
                                         "FREE",
                                         "CLOCK",
                                         "WORKER",
                                         "LOGIN",
                                         "VERDICT"};
    struct table *table = table_create(sizeof titles / sizeof *titles, titles, error);
    int rc = table == NULL ? -1 : 0;
    for (uint32_t i = 0; rc == 0 && i < check->count; i++)
        rc = print_row(table, &check->reports[i], error);
    if (rc == 0)
        rc = table_end(table, error);
    table_destroy(table);
    return rc;
}

static int print_json(const struct check *check, struct mf_error *error)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < check->count; i++) {
        const struct check_report *report = &check->reports[i];
        char kernel[128], machine[128];
        split_system(report->system, kernel, machine);
        json_t *row = json_pack("{s:s, s:b, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:s, "
                                "s:s, s:b, s:I, s:f, s:s, s:s}",
                                "host",
                                report->host->name,
                                "ok",
                                report->ok,
                                "reason",
                                report->ok ? "" : report->error.text,
                                "verdict",
                                report->verdict,
                                "reachable",
                                report->reachable,
                                "user",
                                report->user,
                                "system",
                                report->system,
                                "arch",
                                machine,
                                "kernel",
                                kernel,
                                "cores",
                                (json_int_t)report->cores,
                                "memory_bytes",
                                (json_int_t)report->memory_kib * 1024,
                                "free_bytes",
                                (json_int_t)report->free_kib * 1024,
                                "place",
                                report->folder,
                                "passed_over",
                                report->passed,
                                "worker_there",
                                report->has_program,
                                "clock_offset_s",
                                (json_int_t)report->clock_offset_s,
                                "seconds",
                                (double)report->took_us / 1e6,
                                "client",
                                report->client,
                                "client_reason",
                                report->client_reason);
        json_array_append_new(list, row);
    }
    return text_json_print(list, JSON_INDENT(2), error);
}

static int check_hosts(const struct job *job, bool json, struct mf_error *error)
{
    struct check check = {0};
    char *binary = command_worker_binary(error);
    int rc = binary == NULL ? -1 : open_check(&check, job, binary, error);
    if (rc == 0)
        rc = look(&check, error);
    if (rc == 0) {
        text_begin();
        rc = json ? print_json(&check, error) : print_table(&check, error);
    }
    int code = check.unusable > 0 ? 3 : 0;
    close_check(&check);
    mf_free(binary);
    return rc < 0 ? -1 : text_end(code);
}

static int check_main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct mf_error error;
    command_parse(
        &command_check,
        options,
        parse,
        "Look whether workers could be started on the hosts of a job, or on those that are "
        "named. Nothing is run there, and nothing is left.",
        argc,
        argv,
        &arguments);
    struct job *job = load(&arguments, &error);
    int code = job == NULL ? -1 : check_hosts(job, arguments.json, &error);
    job_destroy(job);
    sets_fini(&arguments.sets);
    return code < 0 ? command_fail(&error) : code;
}

const struct command command_check = {.name = "check",
                                      .arguments = "[JOB]",
                                      .summary = "look whether the hosts of a job can be used",
                                      .children = ssh_options,
                                      .main = check_main};
