#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Job files that are wrong: each gives one clear sentence, exit code 2, and leaves no run folder behind.
. "$(dirname "$0")/lib.sh"

refused() { # TEXT...: job.yaml is refused with one line that has all of them
    local text
    mayfly run job.yaml
    assert_equal "$CODE" 2 "exit code"
    assert_equal "$(cat out)" "" "standard output"
    assert_equal "$(wc -l <err)" 1 "lines on standard error: $(cat err)"
    for text in "$@"; do assert_contains err "$text"; done
    assert_equal "$(find "$XDG_STATE_HOME" -mindepth 3 2>/dev/null)" "" "what is left in the state folder"
}

case_not_there() {
    refused 'job.yaml' 'No such file'
}

case_a_folder() {
    mkdir job.yaml
    refused 'job.yaml'
}

case_unreadable() {
    echo 'mayfly: 1' >job.yaml
    chmod 0 job.yaml
    if [ "$(id -u)" -eq 0 ]; then
        as_user 65534 run job.yaml
    else
        mayfly run job.yaml
    fi
    assert_exit 2
    assert_contains err 'job.yaml: the job file cannot be opened: Permission denied'
}

case_empty() {
    : >job.yaml
    refused 'job.yaml' 'empty'
}

case_only_comments() {
    printf '# nothing\n\n' >job.yaml
    refused 'job.yaml' 'empty'
}

case_huge() {
    { echo 'mayfly: 1'; head -c 20000000 /dev/zero | tr '\0' '#'; } >job.yaml
    refused 'job.yaml' 'more than 1 MiB'
}

case_endless() {
    ln -s /dev/zero job.yaml
    refused 'job.yaml'
}

case_not_yaml() {
    printf 'mayfly: 1\nsplit: {range: 1-3\ntask: [\n' >job.yaml
    refused 'job.yaml:' 'not valid YAML'
}

case_binary() {
    head -c 3000 "$MAYFLY_BIN" >job.yaml
    refused 'job.yaml' 'YAML'
}

case_many_aliases() {
    {
        echo 'mayfly: 1'
        echo 'a: &a [x, x, x, x, x, x, x, x, x, x]'
        for n in b c d e f g h i; do
            last=$(printf %s "$n" | tr b-i a-h)
            echo "$n: &$n [*$last, *$last, *$last, *$last, *$last, *$last, *$last, *$last, *$last]"
        done
    } >job.yaml
    refused 'job.yaml'
}

case_unknown_key_with_the_nearest_one() {
    printf 'mayfly: 1\nsplit: {range: 1-3}\ntask: {comand: [true]}\n' >job.yaml
    refused 'job.yaml:3' 'comand' 'command'
    printf 'mayfly: 1\nsplit: {range: 1-3}\ntask: {command: ["true"]}\nworker: {count: 2}\n' >job.yaml
    refused 'job.yaml:4' 'worker' 'workers'
}

case_wrong_types() {
    printf 'mayfly: 1\nsplit: {range: 1-3}\ntask: {command: [x]}\nworkers: {count: many}\n' >job.yaml
    refused 'job.yaml:4' 'workers.count' 'many'
    printf 'mayfly: 1\nsplit: {range: 1-3}\ntask: {command: echo}\n' >job.yaml
    refused 'job.yaml:3' 'task.command' 'list'
    printf 'mayfly: 1\nsplit: [range, 3]\ntask: {command: [x]}\n' >job.yaml
    refused 'job.yaml:2' 'split'
    printf 'mayfly: 1\nsplit: {range: 1-3}\ntask: {command: [x], timeout: soon}\n' >job.yaml
    refused 'job.yaml:3' 'task.timeout' 'soon'
    printf 'just text\n' >job.yaml
    refused 'job.yaml:1'
}

case_a_key_twice() {
    printf 'mayfly: 1\nsplit: {range: 1-3}\ntask: {command: [x]}\nsplit: {range: 1-4}\n' >job.yaml
    refused 'job.yaml:4' 'split'
}

case_what_is_missing() {
    printf 'split: {range: 1-3}\ntask: {command: [x]}\n' >job.yaml
    refused 'job.yaml' 'mayfly'
    printf 'mayfly: 1\ntask: {command: [x]}\n' >job.yaml
    refused 'job.yaml' 'split'
    printf 'mayfly: 1\nsplit: {range: 1-3}\n' >job.yaml
    refused 'job.yaml' 'task'
    printf 'mayfly: 2\nsplit: {range: 1-3}\ntask: {command: [x]}\n' >job.yaml
    refused 'job.yaml:1' 'mayfly'
}

case_what_comes_later() {
    printf 'mayfly: 1\nsplit: {matrix: x}\ntask: {command: [x]}\n' >job.yaml
    refused 'job.yaml:2' 'matrix'
}

case_a_placeholder_that_could_become_code() {
    printf 'mayfly: 1\nsplit: {range: 1-3}\ntask: {shell: "echo \x27{}\x27"}\n' >job.yaml
    refused 'job.yaml:3' 'task.shell'
}

case_wrong_set_on_the_command_line() {
    printf 'mayfly: 1\nsplit: {range: 1-3}\ntask: {command: [x]}\n' >job.yaml
    mayfly run job.yaml --set workers.cuont=2
    assert_equal "$CODE" 2
    assert_contains err cuont
    mayfly run job.yaml --set nothing
    assert_equal "$CODE" 2
    mayfly run job.yaml -j 0
    assert_equal "$CODE" 2
    assert_contains err '1 to 4096'
}

run_cases "$@"
