/* SPDX-License-Identifier: Apache-2.0 */
/* Placeholders: what is one, what it becomes, and that no value of a shell line ever becomes code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/placeholder.h"

static const unsigned char fields[] = "\x82\xa4name\xa3"
                                      "a b\xc4\x01n\xd9\x01"
                                      "7";

static struct mf_subtask subtask_of(const char *item)
{
    return (struct mf_subtask){
        .id = 12,
        .attempt = 3,
        .item = mf_bytes_text(item),
        .path = mf_bytes_text("dir/in put.txt"),
        .offset = 100,
        .length = 18446744073709551615u,
        .fields = mf_bytes_of(fields, sizeof fields - 1),
    };
}

static void expect(const char *text, const char *item, enum mf_quoting quoting, const char *wanted)
{
    struct mf_subtask subtask = subtask_of(item);
    struct mf_buffer out = {0};
    struct mf_error error = {0};
    int rc = mf_placeholder_expand(text, &subtask, quoting, &out, &error);
    if (rc != 0)
        fail_msg("%s: %s", text, error.text);
    assert_string_equal(mf_buffer_text(&out), wanted);
    mf_buffer_fini(&out);
}

static void each_placeholder_has_its_value(void **state)
{
    (void)state;
    expect("{}|{value}|{path}", "x y", MF_QUOTE_NONE, "x y|x y|dir/in put.txt");
    expect("{offset} {length} {id} {attempt}", "", MF_QUOTE_NONE, "100 18446744073709551615 12 3");
    expect("{field:name} {name} {n} {field:n}", "", MF_QUOTE_NONE, "a b a b 7 7");
    struct mf_subtask number = {.has_number = true, .number = INT64_MIN};
    struct mf_buffer out = {0};
    assert_int_equal(mf_placeholder_expand("{}", &number, MF_QUOTE_SHELL, &out, NULL), 0);
    assert_string_equal(mf_buffer_text(&out), "-9223372036854775808");
    mf_buffer_fini(&out);
}

static void other_braces_stay(void **state)
{
    (void)state;
    static const char *const same[] = {
        "${path} ${}",
        "{a,b}",
        "{ path }",
        "{print}",
        "{",
        "}{",
        "{\"a\": 1}",
        "{path",
        "{9}",
        "{{ jinja }}",
        "$${id}",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        expect(same[i], "x", MF_QUOTE_NONE, same[i]);
    expect(
        "{{path}} {{}} {{field:n}} {{other}}", "x", MF_QUOTE_NONE, "{path} {} {field:n} {other}");
}

static void constants_are_known(void **state)
{
    (void)state;
    assert_true(mf_placeholder_is_constant("awk '{ print $1 }' ${x}"));
    assert_false(mf_placeholder_is_constant("a{}"));
    assert_false(mf_placeholder_is_constant("{name}"));
    assert_false(mf_placeholder_is_constant("{{path}}"));
    assert_true(mf_placeholder_has("x {path}", "path"));
    assert_true(mf_placeholder_has("x {}", ""));
    assert_true(mf_placeholder_has("{field:x}", "field"));
    assert_false(mf_placeholder_has("x {{path}} ${path} {}", "path"));
}

static void shell_values_are_quoted(void **state)
{
    (void)state;
    expect("echo {}", "a_@%+=:,./-9Z", MF_QUOTE_SHELL, "echo a_@%+=:,./-9Z");
    expect("echo {}", "", MF_QUOTE_SHELL, "echo ''");
    expect("echo {}.bak", "it's $(id)", MF_QUOTE_SHELL, "echo 'it'\\''s $(id)'.bak");
    expect("awk '{print}' {path}", "x", MF_QUOTE_SHELL, "awk '{print}' 'dir/in put.txt'");
}

static void a_message_has_its_id(void **state)
{
    (void)state;
    struct mf_subtask subtask = subtask_of("x");
    struct mf_buffer out = {0};
    subtask.message = 4711;
    assert_int_equal(
        mf_placeholder_expand("m{message} {{message}}", &subtask, MF_QUOTE_SHELL, &out, NULL), 0);
    assert_string_equal(mf_buffer_text(&out), "m4711 {message}");
    mf_buffer_fini(&out);
    assert_true(mf_placeholder_has("x{message}", "message"));
    assert_false(mf_placeholder_wants_fields("{message} {} {path} {{name}} ${name} { x }"));
    assert_true(mf_placeholder_wants_fields("{message} {name}"));
    assert_true(mf_placeholder_wants_fields("{field:message}"));
}

static void nul_bytes_and_missing_fields_are_errors(void **state)
{
    (void)state;
    struct mf_subtask subtask = subtask_of("x");
    struct mf_buffer out = {0};
    struct mf_error error;
    assert_int_equal(mf_placeholder_expand("{field:none}", &subtask, MF_QUOTE_NONE, &out, &error),
                     -1);
    assert_int_equal(error.code, MF_EINPUT);
    assert_string_equal(error.text, "subtask 12 has no field 'none'");
    subtask.item = mf_bytes_of("a\0b", 3);
    assert_int_equal(mf_placeholder_expand("{}", &subtask, MF_QUOTE_NONE, &out, &error), -1);
    assert_string_equal(error.text,
                        "the value of {} holds a NUL byte, which no argument can carry");
    mf_buffer_fini(&out);
}

static void damaged_fields_are_no_fields(void **state)
{
    (void)state;
    static const char *const maps[] = {
        "\x81", "\x81\xa5name", "\xdf\xff\xff\xff\xff", "\x81\xc6\xff\xff\xff\xff", "\xde"};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        struct mf_subtask subtask = {.fields = mf_bytes_text(maps[i])};
        struct mf_buffer out = {0};
        assert_int_equal(mf_placeholder_expand("{name}", &subtask, MF_QUOTE_NONE, &out, NULL), 0);
        assert_string_equal(mf_buffer_text(&out), "{name}");
        mf_buffer_fini(&out);
    }
}

static void expect_refused(const char *text, const char *part)
{
    struct mf_error error = {0};
    if (mf_placeholder_check(text, MF_QUOTE_SHELL, &error) != -1)
        fail_msg("not refused: %s", text);
    assert_int_equal(error.code, MF_EUSAGE);
    if (strstr(error.text, part) == NULL)
        fail_msg("%s: '%s' does not hold '%s'", text, error.text, part);
}

static void placeholders_that_could_become_code_are_refused(void **state)
{
    (void)state;
    expect_refused("echo '{}'",
                   "column 7: {} stands inside single quotes, where its value could become code");
    expect_refused("echo \"a {path}\"", "column 9: {path} stands inside double quotes");
    expect_refused("echo `cat {}`", "column 11: {} stands inside backticks");
    expect_refused("cat <<E\nx {}\nE\n", "line 2, column 3: {} stands inside a here-document");
    expect_refused("cat <<-'E F'\n\tx\n\tE F\ncat <<{}\n", "here-document");
    expect_refused("a \\{}", "behind a backslash");
    expect_refused("echo # {}", "inside a comment");
    expect_refused("echo $(( {} + 1 ))", "inside $(( ))");
    expect_refused("echo ${x:-{}}", "inside ${ }");
    expect_refused("echo $'a\\'b {}'", "behind $'");
    expect_refused("(( x = {} ))", "behind (( or =(");
    expect_refused("cat <<E\\\nF\nE\n{}\nEF\n", "whose delimiter goes on in the next line");
    expect_refused("echo \"$(case x in a) echo \"{}\" ;; esac)\"", "");
    expect_refused("true \\\n# it's\n echo '{}'", "inside single quotes");
    expect_refused("echo $(true)#'\n{}'", "inside single quotes");
    expect_refused("cat <<E\nfoo \\\nE\n{}\nE\n", "behind a here-document with substitutions");
    expect_refused("cat <<E $(echo {})\nE\n", "within brackets on the line of a here-document");
    expect_refused("cat {} <<E", "the shell line is not finished");
    expect_refused("echo {} \"x", "the shell line is not finished");
    expect_refused("echo $(cat {}", "the shell line is not finished");
    expect_refused("echo {field:} x", "column 6: {field:NAME} is not finished");
}

static void placeholders_in_the_open_are_taken(void **state)
{
    (void)state;
    static const char *const good[] = {
        "wc -l {path} | awk '{print $1}'",
        "x={}; echo \"$x\"",
        "echo \"$(wc -l < {path})\"",
        "echo $(( $(wc -l < {path}) + 1 ))",
        "cat <<E >out\nhello\nE\ncat {}",
        "cat <<'E' <<-\"F\"\n$(x)\nE\n\t`\n\tF\ncat {}",
        "( cd /tmp && ls {} ) # it's done",
        "a#b {}",
        "echo '{print}' \"{name}\" '{{path}}' {}",
        "case {} in (a) echo b;; c) echo {path};; esac",
        "tr a b <<< {}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct mf_error error = {0};
        if (mf_placeholder_check(good[i], MF_QUOTE_SHELL, &error) != 0)
            fail_msg("%s: %s", good[i], error.text);
    }
    assert_int_equal(mf_placeholder_check("'{}'", MF_QUOTE_NONE, NULL), 0);
}

static void a_field_inside_quotes_is_not_filled_in(void **state)
{
    (void)state;
    struct mf_subtask subtask = subtask_of("x");
    struct mf_buffer out = {0};
    struct mf_error error;
    assert_int_equal(mf_placeholder_check("echo '{name}'", MF_QUOTE_SHELL, &error), 0);
    assert_int_equal(mf_placeholder_expand("echo '{name}'", &subtask, MF_QUOTE_SHELL, &out, &error),
                     -1);
    assert_string_equal(
        error.text,
        "column 7: {name} stands inside single quotes, where its value could become code");
    mf_buffer_fini(&out);
}

/* Runs the expanded line in a real shell and compares what it printed. */
static void expect_printed(const char *shell, const char *line, const char *wanted)
{
    if (setenv("LINE", line, 1) != 0)
        fail_msg("setenv failed");
    char command[64];
    snprintf(command, sizeof command, "exec %s -c \"$LINE\"", shell);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    char got[256];
    size_t n = fread(got, 1, sizeof got - 1, pipe);
    got[n] = '\0';
    assert_int_equal(pclose(pipe), 0);
    assert_string_equal(got, wanted);
}

static void real_shells_print_hostile_values_unharmed(void **state)
{
    (void)state;
    static const char *const values[] = {
        "$(echo gotcha)",
        "`echo gotcha`",
        "'; echo gotcha; '",
        "\"; echo gotcha; \"",
        "a\nb",
        "-n",
        "\\",
        "${HOME}",
        "~",
        "*",
        "#",
        "",
        "\xff\xfe",
        "a b",
    };
    static const char *const lines[] = {
        "printf '<%s>' {}",
        "x={}; printf '<%s>' \"$x\"",
        "printf '<%s>' \"$(printf '%s.' {})\" | sed 's/\\.>$/>/'",
        "cat <<E >/dev/null\nit's\nE\nprintf '<%s>' {} # it's",
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        for (size_t k = 0; k < sizeof lines / sizeof *lines; k++) {
            struct mf_subtask subtask = subtask_of(values[i]);
            struct mf_buffer out = {0};
            char wanted[64];
            snprintf(wanted, sizeof wanted, "<%s>", values[i]);
            assert_int_equal(mf_placeholder_check(lines[k], MF_QUOTE_SHELL, NULL), 0);
            assert_int_equal(mf_placeholder_expand(lines[k], &subtask, MF_QUOTE_SHELL, &out, NULL),
                             0);
            expect_printed("dash", mf_buffer_text(&out), wanted);
            expect_printed("bash", mf_buffer_text(&out), wanted);
            mf_buffer_fini(&out);
        }
    }
}

/* Those that are not about a subtask. */
static void named_placeholders_are_filled_in(void **state)
{
    (void)state;
    const struct mf_named values[] = {{"id", "7"}, {"run", "r {id}"}};
    struct mf_buffer out = {0};
    struct mf_error error = {0};
    assert_int_equal(
        mf_placeholder_fill("{id}-{run} {{id}} {{.ID}} {.x} ${id} {", values, 2, &out, &error), 0);
    assert_string_equal(mf_buffer_text(&out), "7-r {id} {id} {{.ID}} {.x} ${id} {");
    mf_buffer_fini(&out);
    assert_int_equal(mf_placeholder_fill("a{name}", values, 2, NULL, &error), -1);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_string_equal(
        error.text,
        "there is no placeholder {name} here, but {id} {run}; for the text itself write {{name}}");
    const char *const none[] = {"{}", "{path}", "{field:id}", "{field:"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(mf_placeholder_fill(none[i], values, 2, NULL, &error), -1);
    assert_true(mf_placeholder_names("x{run}", "run"));
    assert_false(mf_placeholder_names("x{{run}} ${run} {runs}", "run"));
}

static void exhausted_memory_is_reported(void **state)
{
    (void)state;
    struct mf_subtask subtask = subtask_of("it's");
    struct mf_buffer out = {0};
    struct mf_error error = {0};
    mf_alloc_fail_at(1);
    assert_int_equal(mf_placeholder_expand("echo {}", &subtask, MF_QUOTE_SHELL, &out, &error), -1);
    assert_int_equal(error.code, MF_ENOMEM);
    mf_alloc_fail_at(0);
    mf_buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_placeholder_has_its_value),
        cmocka_unit_test(other_braces_stay),
        cmocka_unit_test(constants_are_known),
        cmocka_unit_test(shell_values_are_quoted),
        cmocka_unit_test(a_message_has_its_id),
        cmocka_unit_test(nul_bytes_and_missing_fields_are_errors),
        cmocka_unit_test(damaged_fields_are_no_fields),
        cmocka_unit_test(placeholders_that_could_become_code_are_refused),
        cmocka_unit_test(placeholders_in_the_open_are_taken),
        cmocka_unit_test(a_field_inside_quotes_is_not_filled_in),
        cmocka_unit_test(real_shells_print_hostile_values_unharmed),
        cmocka_unit_test(named_placeholders_are_filled_in),
        cmocka_unit_test(exhausted_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
