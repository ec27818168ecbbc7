#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Hosts whose cable is pulled out in the middle of a run, and a master that is gone: the run goes on without them, and
# a worker that nobody hears of ends itself, and all that is its own, at its orphan limit.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

case_a_host_is_cut_off_for_good() {
    hosts_start 3
    gated_job 60 6
    over_ssh start_job "$(entries 1/2 2/2 3/2)" --set lease=2s --set orphan_limit=4s
    await_running 6
    host_cut 3
    wait_until "grep -q 'is lost' $RUN/master.log"
    open_gates 1 2
    # What its worker had goes to the others; it itself sees that nobody is there any more.
    wait_until '[ "$(status .subtasks.done)" = 60 ] || has_ended "$PID"'
    wait_until '[ -z "$(host_processes 3)" ]'
    assert_pristine 3
    await_end
    assert_complete 60
    [ "$(query "select count(*) from event where kind = 'lost'")" -ge 2 ] || fail "no event says what was lost"
    assert_equal "$(verified)" "etl@10.77.0.1 etl@10.77.0.2"
    assert_contains err "etl@10.77.0.3: NOT verified: 10.77.0.3 did not answer within 15 s"
    [ "$(summary '.seconds.dismiss < 25')" = true ] || fail "its end was waited for twice: $(summary .seconds)"
    assert_equal "$(summary '.workers | "\(.lost) \(.unverified > 0)"')" "1 true"
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

# It comes back after it was given up: its worker is told to go, and the host is proved clean.
case_a_host_is_cut_off_and_comes_back() {
    hosts_start 2
    gated_job 40 4
    over_ssh start_job "$(entries 1/2 2/2)" --set lease=2s --set orphan_limit=60s
    await_running 4
    host_cut 2
    wait_until "grep -q 'is lost' $RUN/master.log"
    local lost
    lost=$(workers_on 2)
    host_mend 2
    wait_until "has_ended $lost" # while the run goes on
    ! grep -q 'is gathering' "$RUN/master.log" || fail "the lost worker ended only with the run"
    open_gates
    await_end
    assert_complete 40
    assert_equal "$(verified)" "etl@10.77.0.1 etl@10.77.0.2"
    assert_equal "$(summary .workers.lost)" 1 "workers lost"
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

# For less than the lease: nobody notices. Its worker does meanwhile all that it was handed ahead of time (how much
# that is, differs), and has the results ready when the cable is back.
case_a_short_cut_does_no_harm() {
    hosts_start 2
    gated_job 40 4
    over_ssh start_job "$(entries 1/2 2/2)"
    await_running 4
    host_cut 2
    open_gates
    wait_until '! host_processes 2 | grep -q /run/gate'
    host_mend 2
    await_end
    assert_complete 40
    assert_equal "$(summary '.workers | "\(.launched) \(.lost) \(.verified_gone)"')" "2 0 2"
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

# For most of the lease: the worker gives its dead connection up and comes back on a new one, with all that it has.
case_a_long_cut_within_the_lease_repeats_nothing() {
    hosts_start 2
    job <<'END'
mayfly: 1
split: {range: 1-20}
task: {shell: 'echo {} >>/dev/shm/ran; echo {}; until [ {} -gt 4 ] || [ -e /run/gate ]; do sleep 0.05; done'}
END
    over_ssh start_job "$(entries 1/2 2/2)" --set lease=10s
    await_running 4
    host_cut 2
    wait_until 'host_exec 2 grep -rqs "connecting again" /home/etl/.cache/mayfly/runs'
    open_gates
    host_mend 2
    await_end
    assert_complete 20
    assert_equal "$(summary '.workers | "\(.launched) \(.lost) \(.verified_gone)"')" "2 0 2"
    assert_equal "$(for host in 1 2; do host_exec "$host" cat /dev/shm/ran; done | sort -n | tr '\n' ' ')" \
        "$(seq -s ' ' 20) " "what ran"
    for host in 1 2; do
        host_exec "$host" rm /dev/shm/ran
    done
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

# Inputs were fetched to both hosts; on one there are two workers, of which the last one to end cleans up. Each
# command has a child in a session of its own, which the worker ends with it.
case_the_master_is_killed() {
    hosts_start 2
    mkdir in
    for name in a b c d e f; do
        head -c 100000 /dev/urandom >"in/$name"
    done
    job <<'END'
mayfly: 1
split: {files: ["in/*"]}
task: {shell: '(setsid sleep 1000 &) >/dev/null 2>&1; cksum {}; until [ -e /run/gate ]; do sleep 0.05; done'}
END
    over_ssh start_job "$(entries 1/2 2 2)" --set lease=2s --set orphan_limit=4s
    await_running 4
    for name in 1 2; do
        [ "$(host_files "$name" "$RUN_ID" | grep -c /inputs/)" -ge 1 ] || fail "no inputs were fetched to h$name"
    done
    kill -KILL "$PID"
    wait_until '[ -z "$(host_processes 1; host_processes 2)" ]'
    assert_pristine
    assert_equal "$(sqlite3 -batch "$RUN/run.db" "pragma integrity_check")" ok
    assert_equal "$(query "select state from run")" running
}

case_an_orphan_leaves_its_program_when_that_is_wanted() {
    hosts_start 1
    gated_job 4 4
    over_ssh start_job "$(entries 1/2)" --set lease=2s --set orphan_limit=3s --keep-worker
    await_running 2
    kill -KILL "$PID"
    wait_until '[ -z "$(host_processes 1)" ]'
    assert_equal "$(host_new_files 1 | grep -c '/bin/[0-9a-f]*/mayfly-worker$')" 1 "programs that are kept"
    assert_pristine program
}

run_cases "$@"
