#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Inputs that are wrong, or become wrong while the run goes on.
. "$(dirname "$0")/lib.sh"

ends_with() { # CODE TEXT...: the run ends so, with a sentence that has all of the texts; nothing is left
    local code=$1 text
    shift
    mayfly run job.yaml
    assert_equal "$CODE" "$code" "exit code; standard error: $(cat err)"
    for text in "$@"; do assert_contains err "$text"; done
    assert_equal "$(find "$XDG_STATE_HOME" "$XDG_CACHE_HOME" -name keys -o -name control.sock -o -path '*/runs/*/1')" "" \
        "what is left"
}

case_a_glob_without_a_match() {
    job <<'END'
mayfly: 1
split: {files: ["*.txt", "nothing/*.csv"]}
task: {command: [cat, "{path}"]}
END
    touch a.txt
    ends_with 2 'nothing/*.csv'
}

case_an_input_that_cannot_be_read() {
    echo x >a.txt
    mkdir b.txt
    job <<'END'
mayfly: 1
split: {files: "*.txt"}
task: {command: [cat, "{path}"]}
END
    succeed
    assert_equal "$(cat out)" x "folders are passed over"
}

case_an_input_vanishes_between_plan_and_use() {
    printf 'a\n' >1.txt
    printf 'b\n' >2.txt
    job <<END
mayfly: 1
split: {files: "*.txt"}
task: {shell: "rm -f $PWD/2.txt; cat {path}", retries: 3}
workers: {slots: 1}
END
    run_job
    assert_exit 1
    assert_equal "$(counts)" "1 1 0 0" "final at once"
    assert_equal "$(query "select cause from attempt where state = 'failed'")" "input missing"
    assert_equal "$(query "select detail like '%2.txt%is missing%' from attempt where state = 'failed'")" 1
}

case_an_input_changes_between_plan_and_use() {
    local how
    for how in 'echo more >>2.txt' 'touch -d 2001-01-01 2.txt' 'cp -p 2.txt new; mv new 2.txt' 'rm 2.txt; mkdir 2.txt'; do
        rm -rf ./*.txt
        printf 'a\n' >1.txt
        printf 'b\n' >2.txt
        job <<END
mayfly: 1
split: {lines: "*.txt"}
task: {shell: "cat; cd $PWD && $how", retries: 3}
workers: {slots: 1}
END
        run_job
        assert_exit 1
        assert_equal "$(counts)" "1 1 0 0" "$how"
        assert_equal "$(query "select cause from attempt where state = 'failed'")" "input changed" "$how"
    done
}

case_csv_with_a_ragged_row() {
    printf 'a,b\n1,2\n3\n4,5\n' >data.csv
    job <<'END'
mayfly: 1
split: {records: data.csv, format: csv, count: 1}
task: {command: [cat]}
END
    ends_with 1 'data.csv' 'line 3'
}

case_csv_with_an_unfinished_quote() {
    { printf 'a,b\n1,2\n3,"never ends\n'; seq 1000; } >data.csv
    job <<'END'
mayfly: 1
split: {records: data.csv, format: csv, count: 1}
task: {command: [cat]}
END
    ends_with 1 'data.csv' 'quote' 'line 3'
    find_run
    assert_equal "$(query "select state, ended_us > 0, reason like '%quote%' from run")" 'failed|1|1'
}

case_csv_that_is_only_a_header() {
    printf 'a,b' >data.csv
    job <<'END'
mayfly: 1
split: {records: data.csv, format: csv, allow_empty: true}
task: {command: [cat]}
END
    succeed
    assert_equal "$(counts)" "0 0 0 0"
}

case_a_file_of_the_job_is_missing() {
    job <<'END'
mayfly: 1
split: {range: 1-3}
task: {command: [./tool.sh], files: [tool.sh]}
END
    ends_with 2 'tool.sh'
}

case_an_endless_device_is_no_input() {
    job <<'END'
mayfly: 1
split: {lines: /dev/zero}
task: {command: [cat]}
END
    mayfly run job.yaml
    [ "$CODE" -ne 0 ] || fail "a device was taken for a file"
    assert_contains err /dev/zero
}

run_cases "$@"
