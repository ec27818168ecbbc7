#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# The master's disk fills up in the middle of a run: it waits, and goes on when there is room. The state folder is a
# small file system with ballast on it, in a mount namespace of its own.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mount_lib.sh"

# Leaves so many MiB free.
fill_up_to() { # MIB
    local free
    free=$(df --output=avail -k "$XDG_STATE_HOME" | tail -n 1)
    fallocate -l "$((free - $1 * 1024))K" "$XDG_STATE_HOME/ballast"
}

# Starts job.yaml with what is free now, and waits until it waits.
start_until_paused() { # [ARGUMENT...]
    ulimit -c 0
    "$MAYFLY_BIN" run job.yaml "$@" >out 2>err </dev/null &
    PID=$!
    wait_until "grep -q 'mayfly: paused: ' err || ! kill -0 $PID"
    find_run
    assert_contains err 'is full'
    assert_contains err 'for room (disk_wait)'
}

note_end() {
    CODE=0
    wait "$PID" || CODE=$?
    echo "$CODE" >code
    cp -r "$RUN" run
    sqlite3 -batch -readonly "$RUN/run.db" 'pragma integrity_check' >integrity
    sqlite3 -batch -readonly "$RUN/run.db" \
        "select state, (select count(*) from attempt where state = 'done') from run" >state
}

results_job() { # MORE
    job <<END
mayfly: 1
split: {range: 1-100}
task: {shell: "echo {} >>$PWD/begun; head -c 60000 /dev/zero | tr '\\\\0' x; echo {}"}
workers: {slots: 2}
END
}

wanted_results() {
    local i
    for i in $(seq 100); do
        head -c 60000 /dev/zero | tr '\0' x
        echo "$i"
    done
}

assert_lossless() {
    assert_equal "$(cat code)" 0 "exit code; $(cat err)"
    assert_equal "$(cat integrity)" ok
    assert_equal "$(cat state)" "succeeded|$1"
    assert_equal "$(sort -n begun | uniq | wc -l) $(wc -l <begun)" "$1 $1" "subtasks, and how often they were executed"
    assert_contains run/master.log 'there is room again'
    assert_no_file run/reserve
    assert_no_file run/reserve.probe
    wait_until "is_all_gone $RUN_ID"
}

makes_room() {
    fill_up_to 5
    start_until_paused
    "$MAYFLY_BIN" status "$RUN_ID" --json --explain >shown
    sleep 0.5 # it stays so: nothing is promised of how long, only that nothing is lost
    rm "$XDG_STATE_HOME/ballast"
    note_end
}

case_goes_on_with_results() {
    results_job
    on_tmpfs "$XDG_STATE_HOME" size=48m makes_room
    find_run
    assert_equal "$(jq -r '.paused, (.disk_full | contains("is full")), .explain.reasons[0].reason' shown | xargs)" \
        "true true disk_full"
    assert_lossless 100
    assert_same run/result <(wanted_results)
}

# Large results and outputs are files: received, moved into their places, and gathered.
case_goes_on_with_files() {
    job <<END
mayfly: 1
split: {range: 1-20}
task: {outputs: [o], shell: "echo {} >>$PWD/begun; head -c 300000 /dev/zero | tr '\\\\0' x; echo {}; head -c 200000 /dev/zero >o"}
workers: {slots: 2}
END
    on_tmpfs "$XDG_STATE_HOME" size=32m makes_room
    find_run
    assert_lossless 20
    assert_equal "$(find run/outputs -name o -size 200000c | wc -l)" 20
    assert_equal "$(find run/outputs -name '*.result' -size +299999c | wc -l)" 20
}

never_room() {
    fill_up_to 5
    start_until_paused --set disk_wait=1s
    note_end
}

case_stops_when_there_is_never_room() {
    results_job
    on_tmpfs "$XDG_STATE_HOME" size=48m never_room
    find_run
    assert_equal "$(cat code)" 3
    assert_contains err 'there was no room within 1 s (disk_wait)'
    assert_equal "$(cat integrity)" ok
    assert_equal "$(grep -cE '^(planning|running|dismissing)\|' state)" 1 "the state is final: $(cat state)"
    assert_contains run/summary.json '"state": "interrupted"'
    assert_contains run/master.log 'there was no room within'
    [ "$(cut -d '|' -f 2 state)" -gt 0 ] || fail "nothing was recorded"
    wait_until "is_all_gone $RUN_ID"
}

cancelled() {
    fill_up_to 5
    start_until_paused
    "$MAYFLY_BIN" cancel last >/dev/null
    note_end
}

case_is_cancelled_meanwhile() {
    results_job
    on_tmpfs "$XDG_STATE_HOME" size=48m cancelled
    find_run
    # The reserve may have room for what had come and could not be recorded, or not.
    case $(cat code) in
    4) assert_equal "$(cut -d '|' -f 1 state)" cancelled ;;
    3) assert_contains err "mayfly resume $RUN_ID" ;;
    *) fail "exit code $(cat code): $(cat err)" ;;
    esac
    wait_until "is_all_gone $RUN_ID"
}

run_cases "$@"
