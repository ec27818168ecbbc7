/* SPDX-License-Identifier: Apache-2.0 */
/* The fleet over a launcher that does nothing by itself: what is swept, and what is told of it. */
#include "master/launch/fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* The launcher, of both kinds: it notes what is asked of it. */
struct launcher {
    struct launcher_callbacks callbacks;
    unsigned started, stopped, swept;
    const struct launch_host *last_swept;
};

static struct launcher stub;

static struct launcher *stub_create(struct mf_loop *loop,
                                    const struct launch_config *config,
                                    const struct launcher_callbacks *callbacks,
                                    struct mf_error *error)
{
    (void)loop;
    (void)config;
    (void)error;
    stub = (struct launcher){.callbacks = *callbacks};
    return &stub;
}

static int
stub_start(struct launcher *launcher, const struct launch_order *order, struct mf_error *error)
{
    (void)order;
    (void)error;
    launcher->started++;
    return 0;
}

static void stub_stop(struct launcher *launcher, const struct launch_host *host, uint32_t worker)
{
    (void)host;
    (void)worker;
    launcher->stopped++;
}

static int
stub_sweep(struct launcher *launcher, const struct launch_host *host, struct mf_error *error)
{
    (void)error;
    launcher->swept++;
    launcher->last_swept = host;
    return 0;
}

static void stub_destroy(struct launcher *launcher)
{
    (void)launcher;
}

const struct launcher_class launcher_local = {.name = "local"};
const struct launcher_class launcher_ssh = {.name = "ssh",
                                            .create = stub_create,
                                            .start = stub_start,
                                            .stop = stub_stop,
                                            .sweep = stub_sweep,
                                            .destroy = stub_destroy};

/* What the fleet tells. */
struct told {
    unsigned launched, swept, unverified;
    uint32_t place;
    char left[256];
};

static void on_launched(void *arg, const struct launch_report *report)
{
    struct told *told = arg;
    (void)report;
    told->launched++;
}

static void on_swept(void *arg, uint32_t place, const struct sweep_report *report)
{
    struct told *told = arg;
    told->swept++;
    told->unverified += !report->verified;
    told->place = place;
    snprintf(told->left, sizeof told->left, "%s", report->left == NULL ? "" : report->left);
}

static void on_unusable(void *arg, const char *host, const char *reason)
{
    (void)arg;
    (void)host;
    (void)reason;
}

/* Two workers on `a`, one on `b`. */
static const struct launch_host hosts[] = {
    {.name = "a", .host = "a"}, {.name = "b", .host = "b"}, {.name = "a", .host = "a"}};

static struct fleet *start_three(struct told *told)
{
    struct mf_error error;
    const struct launch_config config = {.run_id = "r"};
    const struct fleet_callbacks callbacks = {
        .launched = on_launched, .swept = on_swept, .unusable = on_unusable, .arg = told};
    *told = (struct told){0};
    struct fleet *fleet = fleet_create(NULL, &config, hosts, 3, &callbacks, &error);
    assert_non_null(fleet);
    assert_int_equal(fleet_place_count(fleet), 2);
    for (uint32_t worker = 1; worker <= 3; worker++) {
        assert_ptr_equal(fleet_assign(fleet, worker, &error), &hosts[worker - 1]);
        assert_int_equal(fleet_start(fleet, worker, "", &error), 0);
    }
    assert_int_equal(stub.started, 3);
    return fleet;
}

static void report_start(uint32_t worker, bool touched)
{
    const struct launch_report report = {.worker = worker, .ok = touched, .touched = touched};
    stub.callbacks.launched(stub.callbacks.arg, &report);
}

static void report_sweep(const struct launch_host *host)
{
    const struct sweep_report report = {
        .host = host, .place = host->name, .verified = true, .verified_by = "sweep"};
    stub.callbacks.swept(stub.callbacks.arg, &report);
}

static void a_host_is_swept_once_for_all_its_workers(void **state)
{
    (void)state;
    struct told told;
    struct mf_error error;
    struct fleet *fleet = start_three(&told);
    report_start(1, true);
    report_start(3, true);
    report_start(2, false);
    assert_int_equal(fleet_sweep(fleet, &error), 0);
    assert_int_equal(stub.swept, 1); /* nothing was begun on b */
    assert_ptr_equal(stub.last_swept, &hosts[0]);
    report_sweep(&hosts[0]);
    fleet_end_sweep(fleet);
    assert_int_equal(told.swept, 1);
    assert_int_equal(told.unverified, 0);
    fleet_destroy(fleet);
}

static void a_start_that_is_late_is_swept_then(void **state)
{
    (void)state;
    struct told told;
    struct mf_error error;
    struct fleet *fleet = start_three(&told);
    report_start(1, true);
    assert_int_equal(fleet_sweep(fleet, &error), 0);
    assert_int_equal(stub.swept, 1);
    report_start(3, true); /* its host is being swept already */
    assert_int_equal(stub.swept, 1);
    report_start(2, true);
    assert_int_equal(stub.swept, 2);
    assert_ptr_equal(stub.last_swept, &hosts[1]);
    assert_int_equal(told.launched, 3);
    fleet_destroy(fleet);
}

static void a_sweep_that_never_answers_is_told(void **state)
{
    (void)state;
    struct told told;
    struct mf_error error;
    struct fleet *fleet = start_three(&told);
    report_start(1, true);
    report_start(2, true);
    assert_int_equal(fleet_sweep(fleet, &error), 0);
    report_sweep(&hosts[0]);
    assert_int_equal(told.swept, 1);
    fleet_end_sweep(fleet);
    assert_int_equal(told.swept, 2);
    assert_int_equal(told.unverified, 1);
    assert_int_equal(told.place, 1);
    assert_string_equal(told.left, "the sweep did not end in time");
    fleet_destroy(fleet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_is_swept_once_for_all_its_workers),
        cmocka_unit_test(a_start_that_is_late_is_swept_then),
        cmocka_unit_test(a_sweep_that_never_answers_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
