#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Ends that somebody asks for: submit and leave, drain, cancel, leave at once. Nothing may be left by any of them.
. "$(dirname "$0")/lib.sh"

# A job of many subtasks, of which the first ones wait for the file `gate`.
gated_job() {
    job <<END
mayfly: 1
split: {range: 1-400}
task: {shell: "echo {} >>$PWD/begun; until [ -e $PWD/gate ]; do sleep 0.05; done; echo {}"}
workers: {count: 2, slots: 2}
END
}

control() { # LINE
    "$MAYFLY_TEST_BIN/say" "$RUN/control.sock" "$1"
}


case_submit_leaves_a_master_that_ends_by_itself() {
    gated_job
    setsid "$MAYFLY_BIN" submit job.yaml >out 2>err </dev/null
    assert_equal "$(cat err)" ""
    find_run
    assert_equal "$(cat out)" "$RUN_ID" "submit prints the run id alone"
    wait_until "[ -s begun ]"
    local master
    master=$(sed -n 's/.* process \([0-9]*\)$/\1/p' "$RUN/master.log" | head -n 1)
    assert_equal "$(ps -o sid= -p "$master" | tr -d ' ')" "$master" "its own session"
    assert_equal "$(ps -o ppid= -p "$master" | tr -d ' ')" 1 "its parent is gone"
    assert_equal "$(readlink "/proc/$master/fd/0")" /dev/null
    assert_equal "$(readlink "/proc/$master/fd/2")" "$RUN/master.log"
    kill -HUP "$master"
    touch gate
    wait_until "has_ended $master"
    assert_nothing_left "$RUN_ID"
    assert_equal "$(summary .state)" succeeded
    assert_same "$RUN/result" <(seq 400)
}

case_submit_says_what_is_wrong() {
    echo 'mayfly: 1' >job.yaml
    mayfly submit job.yaml
    assert_equal "$CODE" 2
    assert_equal "$(cat out)" ""
    assert_contains err "job.yaml"
}

case_interrupt_once_drains() {
    gated_job
    start_job
    wait_until '[ "$(wc -l <begun)" -ge 4 ]'
    kill -INT "$PID"
    wait_until 'grep -q draining err'
    touch gate
    await_end
    assert_exit 130
    assert_nothing_left "$RUN_ID"
    local count
    count=$(query "select count(*) from attempt where state = 'done'")
    [ "$count" -ge 4 ] || fail "what ran was not finished: $count done"
    [ "$count" -lt 100 ] || fail "new subtasks were begun: $count done"
    assert_no_file "$RUN/result"
    assert_equal "$(query "select ended_us is null from run")" 1 "an interrupted run has not ended"
}

case_interrupt_twice_cancels() {
    gated_job
    start_job
    wait_until '[ "$(wc -l <begun)" -ge 4 ]'
    kill -INT "$PID"
    wait_until 'grep -q draining err'
    kill -INT "$PID"
    await_end
    assert_exit 4
    assert_nothing_left "$RUN_ID"
    assert_equal "$(summary .state)" cancelled
    assert_equal "$(counts)" "0 0 0 400"
    assert_no_file gate
}

case_interrupt_thrice_leaves_at_once() {
    gated_job
    sed -i "s/^task: {shell: \"/&trap '' TERM; /" job.yaml
    start_job --set orphan_limit=3s --set lease=3s --set task.kill_after=60s
    wait_until '[ "$(wc -l <begun)" -ge 4 ]'
    kill -INT "$PID"
    wait_until 'grep -q draining err'
    kill -INT "$PID"
    wait_until 'grep -q cancelling err'
    kill -INT "$PID"
    await_end
    assert_exit 130
    touch gate
    wait_until "is_all_gone $RUN_ID"
}

case_terminate_is_like_interrupt() {
    gated_job
    start_job
    wait_until '[ "$(wc -l <begun)" -ge 4 ]'
    kill -TERM "$PID"
    wait_until 'grep -q draining err'
    touch gate
    await_end
    assert_exit 130
    assert_nothing_left "$RUN_ID"
}

case_cancel_over_the_control_socket() {
    gated_job
    start_job
    wait_until '[ "$(wc -l <begun)" -ge 4 ]'
    assert_equal "$(stat -c %a "$RUN/control.sock")" 600
    assert_equal "$(control '{"command": "status"}' | jq -r '.run_id, .state, .live.running')" \
        "$(printf '%s\n' "$RUN_ID" running 4)"
    assert_equal "$(control 'no json' | jq -r .ok)" false
    assert_equal "$(control '{"command": "dance"}' | jq -r .ok)" false
    assert_equal "$(control '{"command": "cancel"}' | jq -r .ok)" true
    await_end
    assert_exit 4
    assert_nothing_left "$RUN_ID"
    assert_equal "$(summary .state)" cancelled
    assert_equal "$(counts)" "0 0 0 400"
    assert_equal "$(query "select state, cancelled from run")" "cancelled|400"
}

case_cancel_ends_what_ignores_it() {
    job <<END
mayfly: 1
split: {range: 1-20}
task: {shell: "trap '' TERM INT; (trap '' TERM; setsid sleep 1000) & echo {} >>$PWD/begun; while :; do sleep 1000; done", kill_after: 500ms}
workers: {slots: 2}
END
    start_job
    wait_until '[ "$(wc -l <begun)" -ge 2 ]'
    control '{"command": "cancel"}' >answer
    await_end
    assert_exit 4
    assert_nothing_left "$RUN_ID"
}

case_pause_and_go_on() {
    job <<END
mayfly: 1
split: {range: 1-60}
task: {shell: "echo {} >>$PWD/begun; sleep 0.05; echo {}"}
workers: {slots: 2}
END
    start_job
    wait_until '[ -s begun ]'
    control '{"command": "pause"}' >answer
    wait_until '[ "$(control "{\"command\": \"status\"}" | jq -r ".paused, .live.running" | tr "\n" " ")" = "true 0 " ]'
    control '{"command": "unpause"}' >answer
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same out <(seq 60)
}

case_cancel_during_a_gather() {
    job <<'END'
mayfly: 1
split: {range: 1-4}
task: {shell: "seq 1000"}
gather: {sql: "with recursive endless(n) as (select 1 union all select n + 1 from endless) select count(n) from endless"}
END
    start_job
    wait_until 'control "{\"command\": \"status\"}" | grep -q gathering'
    control '{"command": "cancel"}' >answer
    await_end
    assert_exit 4
    assert_nothing_left "$RUN_ID"
    assert_no_file "$RUN/result"
}

# Starts a job whose prepare command runs until it is ended; a TERM does so where $1 is not "stubborn".
start_preparing() {
    job <<END
mayfly: 1
prepare: "[ $1 != stubborn ] || trap 'touch $PWD/termed' TERM; touch $PWD/preparing; while :; do sleep 0.05; done"
split: {range: 1-2}
task: {command: [echo, "{}"]}
END
    "$MAYFLY_BIN" run job.yaml >out 2>err </dev/null &
    PID=$!
    wait_until "[ -e preparing ]"
    RUN_ID=$(basename "$XDG_STATE_HOME"/mayfly/runs/*)
    RUN=$XDG_STATE_HOME/mayfly/runs/$RUN_ID
    [ -n "$(processes_of "$RUN_ID")" ] || fail "the command of prepare is not part of the run"
}

case_interrupt_while_preparing() {
    start_preparing gentle
    kill -INT "$PID"
    await_end
    assert_exit 130
    assert_nothing_left "$RUN_ID"
    assert_equal "$("$MAYFLY_BIN" status --json | jq -r .state)" interrupted "it can be taken up again"
}

case_interrupt_twice_while_preparing() {
    start_preparing stubborn
    kill -INT "$PID"
    wait_until "[ -e termed ]"
    kill -INT "$PID"
    await_end
    assert_exit 4
    assert_nothing_left "$RUN_ID"
    assert_equal "$(query "select state, ended_us > 0 from run")" "cancelled|1"
}

# The launch hangs: nothing runs that could be waited for.
case_interrupt_while_launching() {
    mkdir bin
    cp "$MAYFLY_BIN" bin/mayfly
    cat >bin/mayfly-worker <<END
#!/bin/sh
[ "\$1" != start ] || { touch $PWD/launching; exec sleep 1000; }
exec $MAYFLY_BIN-worker "\$@"
END
    chmod +x bin/mayfly-worker
    gated_job
    MAYFLY_BIN=$PWD/bin/mayfly start_job
    wait_until "[ -e launching ]"
    wait_until '"$MAYFLY_BIN" status "$RUN_ID" --json --explain | jq -e ".explain.reasons[0].reason == \"launching\""'
    kill -INT "$PID"
    await_end
    assert_exit 130
    assert_nothing_left "$RUN_ID"
    assert_equal "$("$MAYFLY_BIN" status --json | jq -r .state)" interrupted
}

# Once lets the gather go on, twice ends it.
case_interrupt_while_gathering() {
    job <<'END'
mayfly: 1
split: {range: 1-4}
task: {shell: "seq 1000"}
gather: {sql: "with recursive endless(n) as (select 1 union all select n + 1 from endless) select count(n) from endless"}
END
    start_job
    wait_until 'control "{\"command\": \"status\"}" | grep -q gathering'
    kill -INT "$PID"
    wait_until 'grep -q "gathering is finished" err'
    control '{"command": "status"}' | grep -q gathering || fail "it was not gone on with"
    kill -INT "$PID"
    await_end
    assert_exit 4
    assert_nothing_left "$RUN_ID"
    assert_equal "$(query "select state from run")" cancelled
    assert_no_file "$RUN/result"
}

run_cases "$@"
