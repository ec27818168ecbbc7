/* SPDX-License-Identifier: Apache-2.0 */
/* Generations of credentials: when one begins, which ones count, and what a later epoch makes of
 * them. */
#include "master/scatter/validity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TTL 9000

static void a_credential_lives_for_two_thirds_of_the_ttl_at_least(void **state)
{
    (void)state;
    struct validity validity;
    int64_t now = 1000;
    validity_start(&validity, 1, TTL, now);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(validity.next_us, now + TTL / 3);
        now = validity.next_us - 1; /* as late as one can be issued */
        assert_true(validity_end(&validity, validity.newest) - now >= 2 * TTL / 3);
        now++;
        validity_advance(&validity, now);
        assert_int_equal(validity_end(&validity, validity.newest), now + TTL);
    }
    assert_int_equal(validity.newest, 101);
}

static void old_generations_end(void **state)
{
    (void)state;
    struct validity validity;
    validity_start(&validity, 1, TTL, 0);
    assert_int_equal(validity_end(&validity, 0), 0);
    assert_int_equal(validity_end(&validity, 2), 0); /* not issued yet */
    for (int64_t now = TTL / 3; now <= 2 * TTL; now += TTL / 3)
        validity_advance(&validity, now);
    assert_int_equal(validity.newest, 7);
    assert_int_equal(validity_end(&validity, 7), 3 * TTL);
    assert_int_equal(validity_end(&validity, 5), 2 * TTL + TTL / 3);
    assert_int_equal(validity_end(&validity, 4), 2 * TTL); /* is ending just now */
    assert_int_equal(validity_end(&validity, 3), 0);
    assert_int_equal(validity_end(&validity, 1), 0);
}

static void what_could_not_begin_is_due_soon_again(void **state)
{
    (void)state;
    struct validity validity;
    validity_start(&validity, 1, TTL, 0);
    validity_postpone(&validity, TTL / 3);
    assert_int_equal(validity.newest, 1);
    assert_int_equal(validity.next_us, TTL / 3 + TTL / 30);
    assert_int_equal(validity_end(&validity, 1), TTL);
}

static void a_later_epoch_knows_the_last_three(void **state)
{
    (void)state;
    struct validity validity;
    validity_start(&validity, 41, TTL, 5);
    for (uint32_t generation = 39; generation <= 41; generation++)
        assert_int_equal(validity_end(&validity, generation), TTL + 5);
    assert_int_equal(validity_end(&validity, 38), 0);
    validity_advance(&validity, TTL / 3);
    assert_int_equal(validity_end(&validity, 39), TTL + 5);
    assert_int_equal(validity_end(&validity, 38), 0);
    assert_int_equal(validity_end(&validity, 42), TTL / 3 + TTL);
    validity_start(&validity, 2, TTL, 5);
    assert_int_equal(validity_end(&validity, 1), TTL + 5);
    assert_int_equal(validity_end(&validity, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_credential_lives_for_two_thirds_of_the_ttl_at_least),
        cmocka_unit_test(old_generations_end),
        cmocka_unit_test(what_could_not_begin_is_due_soon_again),
        cmocka_unit_test(a_later_epoch_knows_the_last_three),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
