#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# resume over SSH: the master is killed, workers on other hosts live on and are taken over with what they run.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

kill_master() {
    kill -KILL "$PID"
    wait "$PID" 2>/dev/null || :
}

# What the master takes for running may still be on its way to a worker: the gated commands have truly begun.
await_begun() { # GATED
    await_running "$1"
    wait_until "hosts_collect_journals; [ \"\$(gated_starts $1)\" = $1 ]"
}

gated_starts() { # GATED
    cat "$WORK"/journals/*.journal | awk -v last="$1" '$1 == "start" && $4 <= last' | wc -l
}

start_resume() {
    "$MAYFLY_BIN" resume >out 2>err </dev/null &
    PID=$!
    wait_until "grep -q resuming: err || has_ended $PID"
}

# The gated subtasks of the workers that lived began once, and were recorded with the fence that they had.
assert_taken_over() { # WORKER...
    local worker subtask
    for worker in "$@"; do
        for subtask in $(query "select subtask from attempt where worker = $worker and subtask <= 4"); do
            mayfly logs last "$subtask" --stderr
            assert_equal "$(grep -c '^on h\|on h' out) $(query "select epoch from attempt where subtask = $subtask")" "1 1" \
                "begins and epoch of subtask $subtask"
        done
    done
}

# One worker lives, the other one is killed while nobody looks: it is replaced on its host.
case_a_master_and_a_worker_are_killed() {
    local lived
    hosts_start 2
    gated_job 30 4
    over_ssh start_job "$(entries 1/2 2/2)" --set lease=4s
    await_begun 4
    kill_master
    lived=$(workers_on 1)
    kill -KILL "$(workers_on 2)"
    start_resume
    wait_until "grep -q 'says that it holds' $RUN/master.log"
    wait_until "grep -q 'is lost' $RUN/master.log && [ \"\$(workers_on 2 | wc -w)\" = 1 ]"
    assert_equal "$(workers_on 1)" "$lived" "the worker on the first host"
    open_gates
    await_end
    assert_complete 30
    assert_taken_over "$(query "select worker from attempt where epoch = 1 and subtask <= 4 limit 1")"
    assert_equal "$(query 'select count(*) from worker')" 3 "workers in all"
    assert_equal "$(verified | wc -w)" 2 "hosts that were verified"
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

# The new master cannot listen where the old one did, and leaves word in the workers' folders.
case_the_port_is_taken() {
    local port IN_NETWORK
    hosts_start 2
    IN_NETWORK=(nsenter --net="/proc/$HOSTS_SWITCH/ns/net" --)
    gated_job 12 4
    over_ssh start_job "$(entries 1/2 2/2)" --set lease=12s
    await_begun 4
    kill_master
    port=$(query "select address from run" | sed 's/.*://')
    take_port 0.0.0.0 "$port"
    start_resume
    wait_until "[ \"\$(grep -c 'says that it holds' $RUN/master.log)\" = 2 ]"
    open_gates
    await_end
    assert_complete 12
    assert_contains "$RUN/master.log" "cannot listen on port $port, where the workers expect this master"
    assert_taken_over 1 2
    assert_equal "$(query 'select count(*) from worker')" 2 "workers in all"
    assert_pristine
}

# Workers that were dialed by the old master are dialed by the new one.
case_the_master_dials() {
    hosts_start 1
    gated_job 8 2
    over_ssh start_job "$(entries 1/2)" --set workers.connect=master
    await_begun 2
    kill_master
    start_resume
    wait_until "grep -q 'says that it holds' $RUN/master.log"
    open_gates
    await_end
    assert_complete 8
    assert_taken_over 1
    assert_pristine
}

run_cases "$@"
