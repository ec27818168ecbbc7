/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly-sim: runs seeded worlds against the scheduler and says what it saw. Exit code 1 and one
 * line that repeats the failure when a guarantee is broken.
 */
#include <argp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/simulation/sim.h"

#define NAME(name, text) text,
#define BREAK_NAME(name, text) [BREAK_##name] = text,
static const char *const fault_names[] = {FAULTS(NAME)};

void violation(struct sim *sim, const char *format, ...)
{
    if (sim->violation[0] != '\0') /* the first one counts */
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(sim->violation, sizeof sim->violation, format, args);
    va_end(args);
}

void say(const struct sim *sim, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%12.6f  ", (double)sim->now_us / 1e6);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

static void configure(struct sim *sim)
{
    struct schedule_config *config = &sim->config;
    schedule_config_default(config);
    config->seed = sim->options->seed;
    config->epoch = 1 + (uint32_t)chance(sim, 3);
    config->retries_max = sim->options->retries;
    config->final_code_count = 1;
    config->final_codes[0] = 64;
    sim->duration_us = sim->options->duration_us;
    if (sim->duration_us == 0)
        sim->duration_us =
            between(sim, 1, 3) == 1 ? between(sim, 10, 20 * MS) : between(sim, MS, 3 * SECOND);
    if (sim->options->faults == 0) {
        elastic_configure(sim);
        return;
    }
    static const uint32_t sizes[] = {1, 3, 64, 4096};
    config->batch_max = sizes[chance(sim, 4)];
    config->plan_ahead = sizes[chance(sim, 4)] * 2;
    config->tolerate_count = percent(sim, 50) ? UINT64_MAX : chance(sim, 20);
    config->stop_on_failure = percent(sim, 20);
    config->jitter_full = percent(sim, 50);
    config->backoff_us = percent(sim, 20) ? 0 : 1000000;
    if (percent(sim, 20))
        config->relaunch_max = (uint32_t)chance(sim, 4);
    config->straggler_factor = percent(sim, 30) ? 0 : 1 + (double)chance(sim, 3);
    config->straggler_min_us = percent(sim, 50) ? 0 : (uint64_t)between(sim, 0, 30 * SECOND);
    config->resume_us = percent(sim, 50) ? 0 : (uint64_t)between(sim, SECOND, 60 * SECOND);
    if (fault(sim, FAULT_USER) && percent(sim, 8))
        config->run_timeout_us = (uint64_t)between(sim, SECOND, 300 * SECOND);
    if (fault(sim, FAULT_FAIL) && percent(sim, 60))
        sim->fail_percent = (unsigned)chance(sim, 40);
    elastic_configure(sim);
}

static bool of_worker(enum world_kind kind)
{
    return kind == WORLD_DIAL || kind == WORLD_REPLY || kind == WORLD_TASK_END ||
           kind == WORLD_CUT || kind == WORLD_ORPHAN || kind == WORLD_RECONNECT ||
           kind == WORLD_SILENCE;
}

static void run(struct sim *sim)
{
    struct world_event event;
    unsigned after = 200; /* what comes in after the end must not harm either */
    shell_begin(sim);
    while (sim->violation[0] == '\0' && (!sim->finished || after > 0)) {
        if (!next_event(sim, &event)) {
            if (!sim->finished)
                violation(sim, "G4: the run hangs: nothing will ever happen again");
            break;
        }
        if (sim->now_us > BOUND_US && !sim->finished) {
            violation(
                sim, "G4: the run is not over after %d hours", (int)(BOUND_US / 3600 / SECOND));
        } else if (of_worker(event.kind)) {
            world_event(sim, &event);
        } else {
            shell_event(sim, &event);
            after -= sim->finished;
        }
        letter_release(event.letter);
    }
    if (sim->violation[0] == '\0')
        ledger_end(sim);
}

static void print_faults(unsigned faults)
{
    if (faults == FAULT_ALL || faults == 0) {
        fputs(faults == 0 ? "none" : "all", stdout);
        return;
    }
    const char *comma = "";
    for (unsigned i = 0; i < FAULT_COUNT; i++) {
        if ((faults >> i) & 1u) {
            printf("%s%s", comma, fault_names[i]);
            comma = ",";
        }
    }
}

static void report(const struct sim *sim)
{
    const struct options *o = sim->options;
    printf("mayfly-sim: seed %llu: %s\n  after %.6f s of virtual time, %llu steps\n  repeat: "
           "mayfly-sim --seed %llu --workers %u --subtasks %llu --retries %u --faults ",
           (unsigned long long)o->seed,
           sim->violation,
           (double)sim->now_us / 1e6,
           (unsigned long long)sim->steps,
           (unsigned long long)o->seed,
           o->workers,
           (unsigned long long)o->subtasks,
           o->retries);
    print_faults(o->faults);
    if (o->duration_us != 0)
        printf(" --duration %lld", (long long)o->duration_us);
    puts(o->elastic ? " --elastic --verbose" : " --verbose");
}

struct totals {
    uint64_t runs, steps, offers, fenced, subtasks, crashes, adopted, stragglers;
    uint64_t launches, let_go;
    uint64_t ends[RUN_INTERRUPTED + 1];
    uint64_t peak_bytes, peak_live;
    double virtual_s;
    bool failed; /* it could not be run */
};

static int run_seed(const struct options *options, struct totals *totals)
{
    struct mf_error error = {0};
    struct sim sim = {.options = options, .random = options->seed * 7919 + 17};
    sim.tick_us = INT64_MAX;
    configure(&sim);
    ledger_begin(&sim);
    table_begin(&sim);
    sim.schedule = need(schedule_create(&sim.config, &error));
    sim.first_bytes = schedule_memory(sim.schedule);
    run(&sim);
    bool bad = sim.violation[0] != '\0';
    if (bad)
        report(&sim);
    else
        totals->ends[sim.final_state]++;
    totals->runs++;
    totals->steps += sim.steps;
    totals->offers += sim.earlier.offers + sim.offers;
    totals->fenced += sim.earlier.fenced + sim.fenced;
    totals->subtasks += sim.options->subtasks;
    totals->crashes += sim.crashes;
    totals->adopted += sim.adopted;
    totals->launches += sim.elastic.launches;
    totals->let_go += sim.elastic.let_go;
    totals->stragglers += sim.earlier.stragglers + sim.stragglers;
    totals->virtual_s += (double)sim.now_us / 1e6;
    totals->peak_bytes = sim.peak_bytes > totals->peak_bytes ? sim.peak_bytes : totals->peak_bytes;
    totals->peak_live = sim.peak_live > totals->peak_live ? sim.peak_live : totals->peak_live;
    for (size_t i = 0; i < sim.heap_count; i++)
        letter_release(sim.heap[i].letter);
    free(sim.heap);
    shell_end(&sim);
    ledger_free(&sim);
    table_end(&sim);
    schedule_destroy(sim.schedule);
    return bad ? -1 : 0;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void add_totals(struct totals *sum, const struct totals *more)
{
    sum->runs += more->runs;
    sum->steps += more->steps;
    sum->offers += more->offers;
    sum->fenced += more->fenced;
    sum->subtasks += more->subtasks;
    sum->crashes += more->crashes;
    sum->adopted += more->adopted;
    sum->launches += more->launches;
    sum->let_go += more->let_go;
    sum->stragglers += more->stragglers;
    for (int state = 0; state <= RUN_INTERRUPTED; state++)
        sum->ends[state] += more->ends[state];
    if (more->peak_bytes > sum->peak_bytes)
        sum->peak_bytes = more->peak_bytes;
    if (more->peak_live > sum->peak_live)
        sum->peak_live = more->peak_live;
    sum->virtual_s += more->virtual_s;
}

/* Every jobs-th seed from the first one of this job on. */
static int run_share(struct options options, uint32_t job, struct totals *totals)
{
    uint64_t first = options.seed;
    for (uint64_t i = job; i < options.seeds; i += options.jobs) {
        options.seed = first + i;
        if (run_seed(&options, totals) == -1)
            return 1;
    }
    return 0;
}

/* A process a share; each writes its totals into memory that all of them see. */
static int run_shares(const struct options *options, struct totals *sum)
{
    size_t size = options->jobs * sizeof *sum;
    struct totals *totals =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (totals == MAP_FAILED)
        need(NULL);
    fflush(stdout);
    for (uint32_t job = 0; job < options->jobs; job++) {
        pid_t pid = fork();
        if (pid == 0)
            exit(run_share(*options, job, &totals[job]));
        if (pid == -1) {
            perror("mayfly-sim: fork");
            totals[job].failed = true;
        }
    }
    int status, rc = 0;
    while (wait(&status) > 0)
        rc |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    for (uint32_t job = 0; job < options->jobs; job++) {
        rc |= totals[job].failed;
        add_totals(sum, &totals[job]);
    }
    munmap(totals, size);
    return rc;
}

static int run_seeds(const struct options *options)
{
    struct totals totals = {0};
    double begin = seconds();
    uint64_t first = options->seed;
    int rc = options->jobs > 1 ? run_shares(options, &totals) : run_share(*options, 0, &totals);
    if (rc != 0)
        return rc;
    double took = seconds() - begin;
    printf("mayfly-sim: %llu seeds from %llu, %u workers, %llu subtasks, faults ",
           (unsigned long long)totals.runs,
           (unsigned long long)first,
           options->workers,
           (unsigned long long)options->subtasks);
    print_faults(options->faults);
    printf(": every guarantee held\n  %llu steps, %llu attempts, %llu fenced, %llu by stragglers, "
           "%llu "
           "masters died, %llu attempts adopted, %.0f s of virtual time in %.1f s\n ",
           (unsigned long long)totals.steps,
           (unsigned long long)totals.offers,
           (unsigned long long)totals.fenced,
           (unsigned long long)totals.stragglers,
           (unsigned long long)totals.crashes,
           (unsigned long long)totals.adopted,
           totals.virtual_s,
           took);
    if (options->elastic)
        printf(" %llu workers launched, %llu let go\n ",
               (unsigned long long)totals.launches,
               (unsigned long long)totals.let_go);
    for (int state = RUN_SUCCEEDED; state <= RUN_INTERRUPTED; state++)
        printf(" %s %llu", run_state_name(state), (unsigned long long)totals.ends[state]);
    printf(
        "\n  scheduler: at most %llu bytes, %.1f a subtask; at most %llu subtasks alive at once; "
        "%.0f ns a subtask with its world\n",
        (unsigned long long)totals.peak_bytes,
        (double)totals.peak_bytes / (double)(options->subtasks + (options->subtasks == 0)),
        (unsigned long long)totals.peak_live,
        took * 1e9 / (double)(totals.subtasks + (totals.subtasks == 0)));
    return 0;
}

static unsigned parse_faults(struct argp_state *state, const char *text)
{
    unsigned faults = 0;
    if (strcmp(text, "all") == 0)
        return FAULT_ALL;
    if (strcmp(text, "none") == 0)
        return 0;
    while (*text != '\0') {
        size_t length = strcspn(text, ",");
        unsigned i = 0;
        while (i < FAULT_COUNT &&
               (strlen(fault_names[i]) != length || strncmp(fault_names[i], text, length) != 0))
            i++;
        if (i == FAULT_COUNT)
            argp_error(state, "there is no fault %.*s", (int)length, text);
        faults |= 1u << i;
        text += length + (text[length] == ',');
    }
    return faults;
}

static uint64_t
parse_number(struct argp_state *state, const char *text, uint64_t low, uint64_t high)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value < low || value > high)
        argp_error(state,
                   "%s is not a number from %llu to %llu",
                   text,
                   (unsigned long long)low,
                   (unsigned long long)high);
    return value;
}

#ifdef SCHEDULE_BREAKABLE
static void parse_break(struct argp_state *state, const char *text)
{
    static const char *const names[] = {[BREAK_NOTHING] = "nothing", SCHEDULE_BREAKS(BREAK_NAME)};
    for (int i = 0; i < BREAK_COUNT; i++) {
        if (strcmp(names[i], text) == 0) {
            schedule_broken_rule = (enum schedule_break)i;
            return;
        }
    }
    argp_error(state, "there is no rule %s", text);
}
#endif

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 's':
        options->seed = parse_number(state, arg, 0, UINT64_MAX);
        break;
    case 'n':
        options->seeds = parse_number(state, arg, 1, UINT64_MAX);
        break;
    case 'j':
        options->jobs = (uint32_t)parse_number(state, arg, 1, 1024);
        break;
    case 'w':
        options->workers = (uint32_t)parse_number(state, arg, 1, 100000);
        break;
    case 't':
        options->subtasks = parse_number(state, arg, 0, 1000000000);
        break;
    case 'r':
        options->retries = (uint32_t)parse_number(state, arg, 0, 1000);
        break;
    case 'd':
        options->duration_us = (int64_t)parse_number(state, arg, 1, 3600000000u);
        break;
    case 'f':
        options->faults = parse_faults(state, arg);
        break;
    case 'e':
        options->elastic = true;
        break;
    case 'v':
        options->verbose = true;
        break;
    case 'b':
        options->bench = true;
        break;
#ifdef SCHEDULE_BREAKABLE
    case 'x':
        parse_break(state, arg);
        break;
#endif
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument %s", arg);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct argp_option keys[] = {
        {"seed", 's', "N", 0, "first seed (1)", 0},
        {"seeds", 'n', "N", 0, "how many seeds (1)", 0},
        {"jobs", 'j', "N", 0, "so many processes share the seeds (1)", 0},
        {"workers", 'w', "N", 0, "workers (8)", 0},
        {"subtasks", 't', "N", 0, "subtasks (200)", 0},
        {"retries", 'r', "N", 0, "re-tries of a failed subtask (2)", 0},
        {"duration", 'd', "US", 0, "mean duration of a subtask (by the seed)", 0},
        {"faults",
         'f',
         "LIST",
         0,
         "all (default), none, or a list of late slow fail silent crash return reconnect delay "
         "double reorder master straggle launchfail user",
         0},
        {"elastic", 'e', NULL, 0, "up to so many workers, by the work that waits", 0},
        {"verbose", 'v', NULL, 0, "print every event and action", 0},
#ifdef SCHEDULE_BREAKABLE
        {"break", 'x', "RULE", 0, "break this rule of the scheduler or of its shell", 0},
#endif
        {"bench", 'b', NULL, 0, "time the scheduler alone, without a world", 0},
        {0}};
    static const struct argp argp = {keys,
                                     parse,
                                     NULL,
                                     "Simulates runs in virtual time and checks the guarantees.",
                                     NULL,
                                     NULL,
                                     NULL};
    struct options options = {.seed = 1,
                              .seeds = 1,
                              .jobs = 1,
                              .workers = 8,
                              .subtasks = 200,
                              .retries = 2,
                              .faults = FAULT_ALL};
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    return options.bench ? bench(&options) : run_seeds(&options);
}
