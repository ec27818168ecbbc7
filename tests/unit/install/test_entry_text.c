/* SPDX-License-Identifier: Apache-2.0 */
/* Entries as text: what is written for odd paths, what is known again, and what is foreign. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/install/crontab.h"
#include "master/install/unit.h"

/* The struct owns its paths elsewhere: here they can be written to, and nobody does. */
#define PATH(text) ((char[]){text})

static struct install plain = {.program = PATH("/usr/bin/mayfly"),
                               .state_home = PATH("/home/u/.local/state"),
                               .state_folder = PATH("/home/u/.local/state/mayfly")};
static struct install odd = {.program = PATH("/o'p/100%/may fly"),
                             .state_home = PATH("/s t/%\""),
                             .state_folder = PATH("/s t/%\"/mayfly"),
                             .cache_home = PATH("/c;d")};

static const char *entry_of(const struct install *install, struct mf_buffer *line)
{
    line->length = 0;
    assert_int_equal(crontab_entry(install, line, NULL), 0);
    return mf_buffer_text(line);
}

static void an_entry_is_quoted_for_the_shell_and_for_cron(void **state)
{
    (void)state;
    struct mf_buffer line = {0};
    assert_string_equal(
        entry_of(&plain, &line),
        "* * * * * XDG_STATE_HOME=/home/u/.local/state /usr/bin/mayfly trigger tick "
        ">>/home/u/.local/state/mayfly/tick.log 2>&1 "
        "# mayfly-tick 4bb7768e /home/u/.local/state/mayfly\n");
    const char *wanted = "* * * * * XDG_STATE_HOME='/s t/\\%\"' XDG_CACHE_HOME='/c;d' "
                         "'/o'\"'\"'p/100\\%/may fly' trigger tick >>'/s t/\\%\"/mayfly/tick.log' "
                         "2>&1 # mayfly-tick ";
    assert_memory_equal(entry_of(&odd, &line), wanted, strlen(wanted));
    mf_buffer_fini(&line);
}

static struct crontab_look look_at(const struct install *install, const char *text)
{
    struct crontab_look look;
    assert_int_equal(crontab_look(install, mf_bytes_text(text), &look, NULL), 0);
    return look;
}

static void an_entry_is_known_again(void **state)
{
    (void)state;
    struct install *both[] = {&plain, &odd};
    for (size_t i = 0; i < 2; i++) {
        struct mf_buffer line = {0};
        char text[2048];
        const char *entry = entry_of(both[i], &line);
        snprintf(text, sizeof text, "# a\r\n%s1 1 * * * b\n", entry);
        struct crontab_look look = look_at(both[i], text);
        assert_int_equal(look.ours, 1);
        assert_int_equal(look.edited, 0);
        assert_true(look.is_current && look.has_end);
        assert_int_equal(look_at(both[1 - i], text).ours, 0);
        snprintf(text, sizeof text, "%s%s", entry, entry);
        look = look_at(both[i], text);
        assert_int_equal(look.ours, 2);
        assert_false(look.is_current);
        mf_buffer_fini(&line);
    }
}

static void what_somebody_has_changed_is_seen(void **state)
{
    (void)state;
    struct mf_buffer line = {0};
    char text[2048];
    const char *entry = entry_of(&plain, &line);
    static const char *const before[] = {"#", " ", "1", "@hourly ", "5 4 * * * x; "};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        snprintf(text, sizeof text, "# a\n%s%s", before[i], entry);
        struct crontab_look look = look_at(&plain, text);
        assert_int_equal(look.ours, 1);
        assert_int_equal(look.edited, 1);
        assert_memory_equal(look.first.data, text + 4, look.first.length);
    }
    /* A carriage return or blanks at its end are nobody's intention. */
    snprintf(text, sizeof text, "%.*s \t\r\n", (int)line.length - 1, entry);
    assert_int_equal(look_at(&plain, text).ours, 1);
    assert_false(look_at(&plain, text).is_current);
    mf_buffer_fini(&line);
}

static void all_else_is_foreign(void **state)
{
    (void)state;
    static const char *const foreign[] = {"",
                                          "\n",
                                          "# mayfly-tick\n",
                                          "x # mayfly-tick 4bb7768e /home/u/.local/state/mayfly2\n",
                                          "x # mayfly-tick 4bb7768e /home/u/.local/state\n",
                                          "x # mayfly-tick 4bb7768e  /home/u/.local/state/mayfly\n",
                                          "mayfly-tick 4bb7768e /home/u/.local/state/mayfly\n",
                                          "x # mayfly-tick 4bb7768e /home/u/.local/state/mayfly y"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        struct mf_buffer out = {0};
        assert_int_equal(look_at(&plain, foreign[i]).ours, 0);
        assert_int_equal(crontab_without(&plain, mf_bytes_text(foreign[i]), &out, NULL), 0);
        assert_memory_equal(mf_buffer_text(&out), foreign[i], strlen(foreign[i]));
        mf_buffer_fini(&out);
    }
    assert_false(look_at(&plain, foreign[7]).has_end);
    assert_true(look_at(&plain, "").has_end);
}

static void lines_with_nul_stay(void **state)
{
    (void)state;
    static const char text[] = "a\0b\n\0\n\0";
    struct mf_buffer out = {0};
    assert_int_equal(crontab_without(&plain, mf_bytes_of(text, sizeof text - 1), &out, NULL), 0);
    assert_int_equal(out.length, sizeof text);
    assert_memory_equal(out.data, text, sizeof text - 1);
    mf_buffer_fini(&out);
}

static void a_unit_is_known_again(void **state)
{
    (void)state;
    struct install *both[] = {&plain, &odd};
    for (int i = 0; i < 2; i++) {
        for (int unit = 0; unit < UNIT_COUNT; unit++) {
            struct mf_buffer text = {0};
            assert_int_equal(unit_text(both[i], unit, &text, NULL), 0);
            assert_int_equal(unit_look(both[i], mf_buffer_view(&text)), MARK_INTACT);
            assert_int_equal(unit_look(both[1 - i], mf_buffer_view(&text)), MARK_NONE);
            text.data[text.length - 2] ^= 1;
            assert_int_equal(unit_look(both[i], mf_buffer_view(&text)), MARK_EDITED);
            text.data[0] = ';';
            assert_int_equal(unit_look(both[i], mf_buffer_view(&text)), MARK_NONE);
            mf_buffer_fini(&text);
        }
    }
    assert_int_equal(unit_look(&plain, mf_bytes_text("")), MARK_NONE);
    assert_int_equal(unit_look(&plain, mf_bytes_text("#")), MARK_NONE);
    assert_int_equal(unit_look(&plain, mf_bytes_text("\n")), MARK_NONE);
}

/* One try of everything; -1 when memory was exhausted. */
static int everything(void)
{
    struct mf_buffer out = {0};
    struct crontab_look look;
    int rc = crontab_entry(&odd, &out, NULL);
    if (rc == 0)
        rc = crontab_look(&odd, mf_buffer_view(&out), &look, NULL);
    if (rc == 0)
        rc = crontab_without(&odd, mf_bytes_text("a\nb"), &out, NULL);
    for (int unit = 0; rc == 0 && unit < UNIT_COUNT; unit++)
        rc = unit_text(&odd, unit, &out, NULL);
    mf_buffer_fini(&out);
    return rc;
}

static void exhausted_memory_is_reported(void **state)
{
    (void)state;
    mf_alloc_fail_at(1000000);
    assert_int_equal(everything(), 0);
    unsigned long count = mf_alloc_count();
    assert_true(count > 5);
    for (unsigned long n = 1; n <= count; n++) {
        mf_alloc_fail_at(n);
        assert_int_equal(everything(), -1);
    }
    mf_alloc_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_quoted_for_the_shell_and_for_cron),
        cmocka_unit_test(an_entry_is_known_again),
        cmocka_unit_test(what_somebody_has_changed_is_seen),
        cmocka_unit_test(all_else_is_foreign),
        cmocka_unit_test(lines_with_nul_stay),
        cmocka_unit_test(a_unit_is_known_again),
        cmocka_unit_test(exhausted_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
