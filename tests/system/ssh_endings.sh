#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Runs over SSH that end before their work is done, because somebody asks for it or because it fails: soon, with the
# right exit code, and every host is as clean as after any other run.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

# All hosts, or those that are named, were proved clean, and are.
assert_all_clean() { # [I...]
    [ $# -gt 0 ] || set -- "${!HOST_PID[@]}"
    assert_equal "$(verified)" "$(printf 'etl@10.77.0.%s ' "$@" | sed 's/ $//')" "hosts that were verified"
    assert_equal "$(summary .workers.unverified)" 0 "workers that were not verified"
    assert_pristine "$@"
}

case_cancel_in_the_middle() {
    hosts_start 4
    gated_job 400 400
    over_ssh start_job "$(entries 1/2 2/2 3/2 4/2)"
    await_running 8
    asked=$SECONDS
    "$MAYFLY_BIN" cancel "$RUN_ID" >cancelled 2>&1 || fail "$(cat cancelled)"
    assert_ended 4 cancelled
    assert_equal "$(counts)" "0 0 0 400"
    assert_contains err "4 of 4 hosts verified"
    assert_all_clean
}

case_interrupt_twice_cancels() {
    hosts_start 3
    gated_job 400 400
    over_ssh start_job "$(entries 1/2 2/2 3/2)"
    await_running 6
    kill -INT "$PID"
    wait_until 'grep -q draining err'
    asked=$SECONDS
    kill -INT "$PID"
    assert_ended 4 cancelled
    assert_equal "$(counts)" "0 0 0 400"
    assert_all_clean
}

# What ran is finished, nothing else is begun, and the run can be gone on with: it has no final state.
case_interrupt_once_drains() {
    hosts_start 2
    gated_job 400 400
    over_ssh start_job "$(entries 1/2 2/2)"
    await_running 4
    kill -INT "$PID"
    wait_until 'grep -q draining err'
    open_gates
    await_end
    assert_exit 130
    assert_nothing_left "$RUN_ID"
    assert_equal "$(query "select count(*) from attempt where state = 'done'")" 4 "what ran was finished"
    assert_contains err "2 of 2 hosts verified"
    assert_pristine
}

# They ignore TERM and leave their tree; a sweep finds them all the same.
case_cancel_ends_what_ignores_it() {
    hosts_start 2
    job <<'END'
mayfly: 1
split: {range: 1-40}
task: {shell: "trap '' TERM INT; (trap '' TERM; setsid sleep 1000) & setsid -f sleep 1000; while :; do sleep 1000; done", kill_after: 500ms}
END
    over_ssh start_job "$(entries 1/2 2/2)"
    await_running 4
    wait_until '[ "$(host_processes 1 | grep -c "sleep 1000")" -ge 6 ] && [ "$(host_processes 2 | grep -c "sleep 1000")" -ge 6 ]'
    asked=$SECONDS
    "$MAYFLY_BIN" cancel "$RUN_ID" >cancelled 2>&1 || fail "$(cat cancelled)"
    assert_ended 4 cancelled
    assert_all_clean
}

case_a_failing_run() {
    hosts_start 3
    job <<'END'
mayfly: 1
split: {range: 1-90}
task: {shell: 'echo no {} >&2; n={}; [ $((n % 3)) -ne 0 ] || exit 65', retries: {max: 0}}
END
    asked=$SECONDS
    over_ssh start_job "$(entries 1/2 2/2 3/2)"
    assert_ended 1 failed
    assert_equal "$(counts)" "60 0 30 0"
    assert_all_clean
}

case_on_failure_stop() {
    hosts_start 3
    job <<'END'
mayfly: 1
split: {range: 1-400}
task: {shell: 'until [ -e /run/gate ]; do sleep 0.05; done; [ {} = 1 ] || sleep 1000; exit 7', retries: {max: 0}}
on_failure: stop
END
    over_ssh start_job "$(entries 1/2 2/2 3/2)"
    await_running 6
    asked=$SECONDS
    open_gates
    assert_ended 1 failed
    assert_equal "$(counts | cut -d' ' -f1,4)" "0 399"
    assert_all_clean
}

# Before any worker is there: each host is either not begun with or swept.
case_cancel_at_once() {
    local host hosts
    hosts_start 8
    gated_job 100 100
    over_ssh start_job "$(entries 1 2 3 4 5 6 7 8 1 2 3 4 5 6 7 8)"
    asked=$SECONDS
    kill -INT "$PID"
    kill -INT "$PID"
    await_end
    [ "$CODE" = 4 ] || [ "$CODE" = 130 ] || fail "exit code $CODE"
    [ $((SECONDS - asked)) -le 10 ] || fail "the run ended only $((SECONDS - asked)) s after it was asked to"
    assert_nothing_left "$RUN_ID"
    assert_equal "$(summary '[.hosts[] | select(.verified | not)] | length')" 0 "hosts that were not verified"
    assert_pristine
}

run_cases "$@"
