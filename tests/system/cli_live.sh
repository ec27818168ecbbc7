#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The commands beside a live run: submit, ls, status, watch, results, logs --follow, cancel; and runs whose
# master was killed or does not answer.
. "$(dirname "$0")/lib.sh"

# A job whose subtasks wait for the file `go`; each tells that it runs.
waiting_job() { # SUBTASKS
    job <<EOF
mayfly: 1
name: waiting
split: {range: 1-$1}
task:
  shell: "echo started {} >&2; while [ ! -e $PWD/go ]; do sleep 0.02; done; echo {}"
EOF
}

submit() { # [ARGUMENT...]
    mayfly submit job.yaml "$@"
    assert_exit 0
    find_run
    assert_equal "$(cat out)" "$RUN_ID" "what submit says"
}

# jq of the live status is true.
status_is() { # FILTER
    "$MAYFLY_BIN" status --json "$RUN_ID" | jq -e "$1"
}

master_pid() {
    sed -n 's/.* process \([0-9]*\)$/\1/p' "$RUN/master.log" | head -n 1
}

end_of_run() {
    ! "$MAYFLY_BIN" ls --json | jq -e ".[] | select(.run_id == \"$RUN_ID\") | .state | IN(\"running\", \"planning\", \"starting\", \"gathering\", \"dismissing\")"
}

case_submit_and_watch() {
    waiting_job 5
    submit -j 2
    wait_until "status_is '.live.running == 2'"
    mayfly status
    assert_contains out "state    running"
    assert_contains out "now      2 running"
    mayfly ls
    grep -qE "^$RUN_ID +waiting +running +0/5" out || fail "$(cat out)"
    "$MAYFLY_BIN" watch --json >watched 2>watch_err &
    local watcher=$!
    wait_until "grep -q running watched"
    touch go
    wait "$watcher" || fail "watch ended with $?"
    assert_equal "$(tail -n 1 watched | jq -r .state)" succeeded "the last status"
    assert_contains watch_err "succeeded: 5 done"
    wait_until "is_all_gone $RUN_ID"
    assert_nothing_left "$RUN_ID"
    assert_equal "$(cat "$RUN/result")" "$(seq 5)" "the result"
    mayfly watch
    assert_exit 0
}

case_results_of_a_live_run() {
    job <<EOF
mayfly: 1
name: half
split: {range: 1-2}
task:
  shell: "echo started {} >&2; while [ {} = 2 ] && [ ! -e $PWD/go ]; do sleep 0.02; done; echo {}"
EOF
    submit -j 2
    wait_until "[ \"\$($MAYFLY_BIN results)\" = 1 ]"
    mayfly results last 2
    assert_exit 1
    mayfly sql last "SELECT count(*) AS n FROM attempt"
    assert_equal "$(tail -n 1 out)" "1" "rows"
    mayfly retry last
    assert_exit 2
    assert_contains err "is live"
    mayfly clean last
    assert_exit 2
    assert_contains err "is live, so it stays"
    mayfly clean --all --interrupted
    assert_file "$RUN/run.db"
    touch go
    mayfly watch -q
    assert_exit 0
}

case_logs_follow() {
    waiting_job 3
    submit -j 1
    "$MAYFLY_BIN" logs --follow >followed 2>follow_err &
    local follower=$!
    touch go
    wait "$follower" || fail "logs --follow ended with $?"
    printf '%d stderr: started %d\n' 1 1 2 2 3 3 >wanted
    assert_same followed wanted
    assert_equal "$(cat follow_err)" "" "standard error"
}

case_cancel() {
    waiting_job 5
    submit -j 2
    wait_until "status_is '.live.running == 2'"
    mayfly cancel
    assert_exit 0
    assert_contains err "cancelled: 0 done, 0 failed, 0 dead, 5 cancelled"
    assert_nothing_left "$RUN_ID"
    mayfly watch
    assert_exit 4
    mayfly cancel
    assert_exit 2
    assert_contains err "there is nothing to cancel"
    mayfly retry last
    assert_exit 2
    assert_contains err "was cancelled"
}

case_cancel_without_waiting() {
    waiting_job 5
    submit -j 2
    wait_until "status_is '.live.running == 2'"
    mayfly cancel --no-wait
    assert_exit 0
    mayfly watch -q
    assert_exit 4
}

case_drain() {
    waiting_job 5
    submit -j 2
    wait_until "status_is '.live.running == 2'"
    "$MAYFLY_BIN" cancel --drain 2>cancel_err &
    local canceller=$!
    wait_until "grep -q 'asked to drain' $RUN/master.log"
    touch go
    wait "$canceller" || fail "cancel --drain ended with $?"
    assert_contains cancel_err "was interrupted: 2 done"
    assert_contains cancel_err "mayfly resume $RUN_ID goes on with it"
    mayfly results last
    assert_exit 0
    assert_equal "$(wc -l <out)" 2 "results so far"
    assert_contains err "mayfly resume $RUN_ID goes on with it"
    mayfly pause
    assert_exit 2
    assert_contains err "there is nothing to pause: run $RUN_ID is not live, its state is interrupted"
    assert_nothing_left "$RUN_ID"
    mayfly watch
    assert_exit 130
    mayfly retry last
    assert_exit 2
    assert_contains err "was interrupted"
    mayfly clean --all
    assert_file "$RUN/run.db"
    mayfly clean --all --interrupted
    assert_no_file "$RUN"
}

# While `prepare` runs, the master does not listen yet; it is waited for.
case_cancel_while_preparing() {
    waiting_job 5
    echo "prepare: 'while [ ! -e $PWD/prepared ]; do sleep 0.02; done'" >>job.yaml
    submit
    mayfly status
    assert_exit 0
    "$MAYFLY_BIN" cancel 2>cancel_err &
    local canceller=$!
    wait_until "grep -q 'does not listen yet' cancel_err"
    touch prepared
    wait "$canceller" || fail "cancel ended with $?"
    assert_contains cancel_err "cancelled: 0 done"
    assert_nothing_left "$RUN_ID"
}

case_master_killed() {
    waiting_job 4
    submit -j 2
    wait_until "status_is '.live.running == 2'"
    "$MAYFLY_BIN" watch 2>watch_err &
    local watcher=$! code=0
    wait_until "grep -q 'watch' /proc/$watcher/cmdline"
    kill -KILL "$(master_pid)"
    wait "$watcher" || code=$?
    case $code in
    3) assert_contains watch_err "its master was lost" ;;
    130) ;; # it began to look after the end
    *) fail "watch ended with $code: $(cat watch_err)" ;;
    esac
    mayfly ls
    grep -qE "^$RUN_ID +waiting +interrupted +0/4" out || fail "$(cat out)"
    mayfly status
    assert_contains out "state    interrupted"
    mayfly cancel
    assert_exit 2
    touch go
}

# A master that is stopped does not make the others wait for ever.
case_silent_master() {
    waiting_job 4
    submit -j 2
    wait_until "status_is '.live.running == 2'"
    local pid
    pid=$(master_pid)
    kill -STOP "$pid"
    mayfly ls
    grep -qE "^$RUN_ID +waiting +running" out || fail "$(cat out)"
    mayfly status
    assert_exit 0
    assert_contains err "does not answer"
    mayfly logs
    assert_exit 0
    kill -CONT "$pid"
    mayfly cancel
    assert_exit 0
}

# Whoever speaks nonsense to the control socket is answered or dropped, and the run goes on.
case_control_socket() {
    waiting_job 2
    submit -j 1
    wait_until "status_is '.live.running == 1'"
    assert_equal "$(stat -c %a "$RUN/control.sock")" 600 "the mode of the socket"
    ask_socket() { # LINE
        python3 - "$RUN/control.sock" "$1" <<'EOF'
import os, socket, sys
os.chdir(os.path.dirname(sys.argv[1]))
s = socket.socket(socket.AF_UNIX)
s.settimeout(30)
s.connect("control.sock")
s.sendall(sys.argv[2].encode() + b"\n")
print(s.makefile().readline(), end="")
EOF
    }
    command -v python3 >/dev/null || skip "python3 is not there"
    ask_socket "nonsense" >answer
    assert_equal "$(jq -c '[.ok, .error]' answer)" '[false,"a request is one line of JSON"]' "nonsense"
    ask_socket '{"command": "dance"}' >answer
    assert_equal "$(jq .ok answer)" false "an unknown command"
    ask_socket '{"command": "status", "unknown": 1}' >answer
    assert_equal "$(jq -c '[.ok, .version, .run_id]' answer)" "[true,1,\"$RUN_ID\"]" "status"
    ask_socket '{"command": "pause"}' >answer
    wait_until "status_is '.paused'"
    ask_socket '{"command": "unpause"}' >answer
    wait_until "status_is '.paused | not'"
    touch go
    mayfly watch -q
    assert_exit 0
}

run_cases "$@"
