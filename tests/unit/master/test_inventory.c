/* SPDX-License-Identifier: Apache-2.0 */
/* What ansible-inventory has listed becomes hosts, or is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/inventory.h"

#define VARS(host, text) "{\"_meta\": {\"hostvars\": {\"" host "\": {" text "}}}, "
#define ONE(host) "\"all\": {\"hosts\": [\"" host "\"]}}"

/* The entries, separated by blanks. */
static void expect_hosts(const char *json, const char *group, const char *wanted)
{
    struct inventory inventory = {0};
    struct mf_error error = {0};
    char got[400] = "";
    if (inventory_parse("/i", group, mf_bytes_text(json), true, &inventory, &error) < 0)
        fail_msg("%s", error.text);
    for (size_t i = 0; i < inventory.hosts.count; i++) {
        strncat(got, i == 0 ? "" : " ", sizeof got - strlen(got) - 1);
        strncat(got, inventory.hosts.items[i].text, sizeof got - strlen(got) - 1);
    }
    assert_string_equal(got, wanted);
    inventory_fini(&inventory);
}

static void expect_refused(const char *json, const char *group, const char *wanted)
{
    struct inventory inventory = {0};
    struct mf_error error = {0};
    assert_int_equal(inventory_parse("/i", group, mf_bytes_text(json), true, &inventory, &error),
                     -1);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_string_equal(error.text, wanted);
    inventory_fini(&inventory);
}

static void groups_give_their_hosts_once(void **state)
{
    (void)state;
    static const char json[] =
        "{\"_meta\": {\"hostvars\": {\"h1\": {\"ansible_user\": \"etl\", \"mayfly_slots\": 3}}},"
        " \"all\": {\"children\": [\"ungrouped\", \"both\", \"web\"]},"
        " \"ungrouped\": {\"hosts\": [\"h3\"]},"
        " \"both\": {\"hosts\": [\"h2\"], \"children\": [\"web\", \"empty\"]},"
        " \"web\": {\"hosts\": [\"h1\", \"h2\"]}}";
    expect_hosts(json, NULL, "h3 h2 etl@h1/3");
    expect_hosts(json, "web", "etl@h1/3 h2");
    expect_hosts(json, "both", "h2 etl@h1/3");
    expect_refused(json, "empty", "inventory /i: the group 'empty' has no host");
    expect_refused(json,
                   "wbe",
                   "inventory /i: there is no group 'wbe'; groups are all, ungrouped, both, web, "
                   "empty");
}

static void variables_make_the_entry(void **state)
{
    (void)state;
    expect_hosts(VARS("a",
                      "\"ansible_host\": \"10.0.0.5\", \"ansible_port\": 2222, "
                      "\"ansible_user\": \"etl\", \"mayfly_slots\": \"4\"") ONE("a"),
                 NULL,
                 "etl@10.0.0.5:2222/4");
    expect_hosts(VARS("a", "\"ansible_host\": \"fd00::1\", \"ansible_port\": \"22\"") ONE("a"),
                 NULL,
                 "[fd00::1]:22");
    expect_hosts(VARS("a",
                      "\"ansible_ssh_host\": \"b\", \"ansible_ssh_port\": 7, "
                      "\"ansible_ssh_user\": \"u\", \"ansible_connection\": \"smart\"") ONE("a"),
                 NULL,
                 "u@b:7");
    expect_hosts(
        VARS("a", "\"ansible_connection\": \"local\", \"mayfly_slots\": 2") ONE("a"), NULL, ":/2");
    expect_hosts("{" ONE("localhost"), NULL, ":");
    expect_hosts(
        VARS("localhost", "\"ansible_host\": \"127.0.0.1\"") ONE("localhost"), NULL, "127.0.0.1");
    expect_hosts(VARS("localhost", "\"ansible_connection\": \"ansible.builtin.ssh\"")
                     ONE("localhost"),
                 NULL,
                 "localhost");
}

static void what_is_wrong_names_the_host(void **state)
{
    (void)state;
    expect_refused(
        VARS("a", "\"ansible_host\": \"{{ x }}\"") ONE("a"),
        NULL,
        "inventory /i: host 'a': ansible_host is a template, which ansible-inventory does "
        "not fill in; expected its value");
    expect_refused(
        VARS("a", "\"ansible_user\": {\"__ansible_vault\": \"x\"}") ONE("a"),
        NULL,
        "inventory /i: host 'a': ansible_user is encrypted by itself, which ansible-inventory does "
        "not undo; write it in plain text, or encrypt the file as a whole");
    expect_refused(VARS("a", "\"ansible_user\": [1]") ONE("a"),
                   NULL,
                   "inventory /i: host 'a': ansible_user is no text; expected a text or a number");
    expect_refused(
        VARS("a", "\"ansible_connection\": \"docker\"") ONE("a"),
        NULL,
        "inventory /i: host 'a': ansible_connection is neither ssh nor local; workers are "
        "started over nothing else");
    expect_refused(
        VARS("a", "\"mayfly_slots\": 0") ONE("a"),
        NULL,
        "inventory /i: 'a': host 'a/0': behind the slash, a number of slots from 1 to 4096 "
        "is expected");
    expect_refused(
        "{" ONE("-oProxyCommand=x"),
        NULL,
        "inventory /i: '-oProxyCommand=x': host '-oProxyCommand=x': it starts with a dash, "
        "as an option does");
    expect_refused("{\"all\": {\"children\": [\"all\"]}}",
                   NULL,
                   "inventory /i: the group 'all' is in itself, or in too many others");
    expect_refused("[]",
                   NULL,
                   "inventory /i: ansible-inventory --list did not print a JSON object: run "
                   "`ansible-inventory -i /i --list` by hand to see what it prints");
}

#define TWO(first, second)                                                                         \
    "{\"_meta\": {\"hostvars\": {\"a\": {" first "}, \"b\": {" second "}, "                        \
    "\"localhost\": {}}}, \"all\": {\"hosts\": [\"localhost\", \"a\", \"b\"]}}"
#define KEY(path) "\"ansible_ssh_private_key_file\": \"" path "\""

static void one_key_is_the_runs_and_others_their_hosts(void **state)
{
    (void)state;
    struct inventory inventory = {0};
    struct mf_error error = {0};
    static const char differing[] = TWO(KEY("k"), KEY("l"));
    assert_int_equal(
        inventory_parse(
            "/in/i", NULL, mf_bytes_text(TWO(KEY("k"), KEY("/in/k"))), true, &inventory, &error),
        0);
    assert_string_equal(inventory.identity, "/in/k");
    inventory_fini(&inventory);
    assert_int_equal(
        inventory_parse(
            "/in/i", NULL, mf_bytes_text(TWO("", KEY("~/k"))), true, &inventory, &error),
        0);
    assert_null(inventory.identity);
    assert_null(inventory.hosts.items[1].identity);
    assert_string_equal(inventory.hosts.items[2].identity, "~/k");
    inventory_fini(&inventory);
    assert_int_equal(
        inventory_parse("/in/i", NULL, mf_bytes_text(differing), true, &inventory, &error), 0);
    assert_null(inventory.identity);
    assert_string_equal(inventory.hosts.items[1].identity, "/in/k");
    assert_string_equal(inventory.hosts.items[2].identity, "/in/l");
    inventory_fini(&inventory);
    assert_int_equal(
        inventory_parse("/i", NULL, mf_bytes_text(differing), false, &inventory, &error), 0);
    assert_null(inventory.identity);
    assert_null(inventory.hosts.items[1].identity);
    inventory_fini(&inventory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_give_their_hosts_once),
        cmocka_unit_test(variables_make_the_entry),
        cmocka_unit_test(what_is_wrong_names_the_host),
        cmocka_unit_test(one_key_is_the_runs_and_others_their_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
