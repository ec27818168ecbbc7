/* SPDX-License-Identifier: Apache-2.0 */
/* Deflating where it pays: both ways are tried, the faster one is taken, and a change is noticed.
 */
#include "master/stage/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PIECE 524288u

/* How many of `count` pieces go deflated when that takes so long, and the other way so long. */
static unsigned
deflated_of(struct pace *pace, unsigned count, int64_t deflated_us, int64_t plain_us)
{
    unsigned deflated = 0;
    for (unsigned i = 0; i < count; i++) {
        bool way = pace_deflates(pace);
        deflated += way;
        pace_note(pace, way, PIECE, way ? deflated_us : plain_us);
    }
    return deflated;
}

static void a_slow_network_gets_deflated_pieces(void **state)
{
    (void)state;
    struct pace pace = {0};
    unsigned deflated = deflated_of(&pace, 320, 5000, 50000);
    assert_true(deflated >= 320 - 4 - 10 && deflated < 320);
}

static void a_fast_network_gets_them_as_they_are(void **state)
{
    (void)state;
    struct pace pace = {0};
    unsigned deflated = deflated_of(&pace, 320, 8000, 3000);
    assert_true(deflated >= 4 && deflated <= 4 + 10);
}

static void what_changes_is_noticed(void **state)
{
    (void)state;
    struct pace pace = {0};
    deflated_of(&pace, 320, 8000, 3000);
    deflated_of(&pace, 1000, 8000, 80000); /* the network is shared now */
    assert_true(deflated_of(&pace, 320, 8000, 80000) > 300);
}

static void what_has_no_sample_is_not_judged(void **state)
{
    (void)state;
    struct pace pace = {0};
    /* Nothing ever was deflated: it does not gain with these data. */
    for (unsigned i = 0; i < 100; i++) {
        assert_true(pace_deflates(&pace));
        pace_note(&pace, false, PIECE, 1000);
    }
    /* Small pieces, and times that are none, say nothing. */
    pace_note(&pace, true, 1000, 10);
    pace_note(&pace, true, PIECE, 0);
    assert_int_equal(pace.samples[1], 0);
    pace_note(&pace, true, PIECE, 100000);
    assert_false(pace_deflates(&pace));
}

static void an_idle_lane_does_not_look_slow(void **state)
{
    (void)state;
    struct pace pace = {0};
    deflated_of(&pace, 64, 8000, 3000);
    pace_note(&pace, false, PIECE, 60000000);
    unsigned deflated = deflated_of(&pace, 31, 8000, 3000);
    assert_true(deflated <= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_network_gets_deflated_pieces),
        cmocka_unit_test(a_fast_network_gets_them_as_they_are),
        cmocka_unit_test(what_changes_is_noticed),
        cmocka_unit_test(what_has_no_sample_is_not_judged),
        cmocka_unit_test(an_idle_lane_does_not_look_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
