#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# State and cache folders that are missing, read-only, or full. What needs a file system of its own gets it in a
# mount namespace of its own; without the right to that such a case is skipped.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mount_lib.sh"

simple_job() {
    job <<'END'
mayfly: 1
split: {range: 1-5}
task: {command: [echo, "{}"]}
END
}

case_no_home_at_all() {
    simple_job
    CODE=0
    env -u HOME -u XDG_STATE_HOME "$MAYFLY_BIN" run job.yaml >out 2>err || CODE=$?
    assert_exit 3
    assert_equal "$(wc -l <err)" 1 "lines: $(cat err)"
    assert_contains err 'XDG_STATE_HOME'
}

case_a_file_stands_in_the_way() {
    simple_job
    rm -r "$XDG_STATE_HOME"
    touch "$XDG_STATE_HOME"
    mayfly run job.yaml
    assert_exit 3
    assert_contains err "$XDG_STATE_HOME"
    mayfly submit job.yaml
    assert_exit 3
    assert_contains err "$XDG_STATE_HOME"
}

read_only_run() {
    mount -o remount,ro "$XDG_STATE_HOME"
    mayfly run job.yaml
    echo "$CODE" >code
}

case_read_only() {
    simple_job
    on_tmpfs "$XDG_STATE_HOME" size=4m read_only_run
    assert_equal "$(cat code)" 3
    assert_contains err 'Read-only file system'
    assert_contains err "$XDG_STATE_HOME"
}

full_run() {
    ulimit -c 0
    mayfly run job.yaml --set disk_wait=1s --set lease=3s
    echo "$CODE" >code
    ls -A "$XDG_STATE_HOME"/mayfly/runs/*/ >left
}

case_full_with_results() {
    job <<'END'
mayfly: 1
split: {range: 1-400}
task: {shell: "head -c 60000 /dev/urandom; echo {}"}
workers: {slots: 2}
END
    on_tmpfs "$XDG_STATE_HOME" size=6m full_run
    find_run
    assert_equal "$(cat code)" 3
    grep -qiE 'full|no space' err || fail "it does not say that the disk is full: $(cat err)"
    assert_equal "$(grep -cE '^(keys|control.sock)$' left)" 0 "what is left: $(cat left)"
    wait_until "is_all_gone $RUN_ID"
}

case_full_with_large_results() {
    job <<'END'
mayfly: 1
split: {range: 1-40}
task: {shell: "head -c 1000000 /dev/urandom", outputs: [], log: {max: 1KiB}}
workers: {slots: 2}
END
    sed -i 's/, outputs: \[\]//' job.yaml
    on_tmpfs "$XDG_STATE_HOME" size=8m full_run
    find_run
    assert_equal "$(cat code)" 3
    grep -qiE 'full|no space' err || fail "it does not say that the disk is full: $(cat err)"
    assert_equal "$(grep -cE '^(keys|control.sock)$' left)" 0 "what is left: $(cat left)"
    wait_until "is_all_gone $RUN_ID"
}

case_full_from_the_start() {
    simple_job
    on_tmpfs "$XDG_STATE_HOME" size=16k full_run || :
    assert_equal "$(cat code)" 3
    grep -qiE 'full|no space' err || fail "it does not say that the disk is full: $(cat err)"
}

full_cache_run() {
    mayfly run job.yaml --json
    echo "$CODE" >code
}

case_full_on_the_side_of_the_worker() {
    job <<'END'
mayfly: 1
split: {range: 1-4}
task: {shell: "[ {} != 2 ] || head -c 20000000 /dev/zero >big; echo {}"}
workers: {slots: 1}
END
    on_tmpfs "$XDG_CACHE_HOME" size=8m full_cache_run
    find_run
    assert_equal "$(cat code)" 1
    assert_equal "$(jq -c .subtasks out)" '{"total":4,"done":3,"failed":0,"dead":1,"cancelled":0}'
    wait_until "is_all_gone $RUN_ID"
}

case_no_place_for_a_worker() {
    simple_job
    [ "$(id -u)" -eq 0 ] || skip "needs root to become a user with no place"
    local uid=$((100000 + $$)) code=0
    # shellcheck disable=SC2064
    trap "rmdir /tmp/mayfly-$uid /var/tmp/mayfly-$uid; clean_up" EXIT
    mkdir "/tmp/mayfly-$uid" "/var/tmp/mayfly-$uid" # of another user
    rm -r "$XDG_CACHE_HOME"
    touch "$XDG_CACHE_HOME" "$HOME/.cache"
    as_user "$uid" run job.yaml
    assert_exit 3
    assert_contains err 'no place on this host is writable and executable for a worker'
    assert_contains err "/tmp/mayfly-$uid belongs to user 0"
    assert_contains err 'set XDG_CACHE_HOME'
}

case_state_folder_with_a_long_and_odd_name() {
    simple_job
    XDG_STATE_HOME="$WORK/state of
$(printf '%0150d' 0)'\""
    mkdir "$XDG_STATE_HOME"
    succeed
    assert_same out <(seq 5)
}

run_cases "$@"
