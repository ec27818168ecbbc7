/* SPDX-License-Identifier: Apache-2.0 */
/* What commands print, as ids. */
#include "master/launch/command_ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"

static void ids_are_the_first_words(void **state)
{
    (void)state;
    struct command_ids ids;
    struct mf_error error;
    assert_int_equal(command_ids_parse("\n pod/b Running 3s\r\na\t1\nb2\n a \n", &ids, &error), 0);
    assert_int_equal(ids.count, 3); /* each once */
    assert_string_equal(ids.items[0], "a");
    assert_string_equal(ids.items[1], "b2");
    assert_true(command_ids_has(&ids, "pod/b"));
    assert_true(command_ids_has(&ids, "a"));
    assert_false(command_ids_has(&ids, "b"));
    assert_true(ids.known[0]);
    assert_false(ids.known[1]);
    command_ids_fini(&ids);
    assert_int_equal(command_ids_parse(" \n\n", &ids, &error), 0);
    assert_int_equal(ids.count, 0);
    assert_false(command_ids_has(&ids, "a"));
    command_ids_fini(&ids);
}

static void rubbish_is_no_list(void **state)
{
    (void)state;
    char longest[COMMAND_ID_MAX + 2], flood[70000];
    const char *const rubbish[] = {"ok\n\001\n", "--help\n", "gr\xc3\xbcn\n", longest, flood};
    struct command_ids ids;
    struct mf_error error;
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memset(flood, '\n', sizeof flood - 1);
    flood[sizeof flood - 1] = '\0';
    for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++) {
        assert_int_equal(command_ids_parse(rubbish[i], &ids, &error), -1);
        assert_int_equal(error.code, MF_EINPUT);
        assert_int_equal(ids.count, 0);
        command_ids_fini(&ids);
    }
    command_ids_parse("\033[1mx\n", &ids, &error);
    assert_non_null(strstr(error.text, "'?[1mx'"));
    assert_int_equal(command_ids_parse(longest + 1, &ids, &error), 0);
    command_ids_fini(&ids);
}

static void exhausted_memory_is_reported(void **state)
{
    (void)state;
    struct command_ids ids;
    struct mf_error error;
    for (unsigned long n = 1; n <= 5; n++) {
        mf_alloc_fail_at(n);
        assert_int_equal(command_ids_parse("a\nb\n", &ids, &error), -1);
        assert_int_equal(error.code, MF_ENOMEM);
        mf_alloc_fail_at(0);
        command_ids_fini(&ids);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_the_first_words),
        cmocka_unit_test(rubbish_is_no_list),
        cmocka_unit_test(exhausted_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
