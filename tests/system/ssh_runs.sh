#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Runs on hosts that have nothing but sshd: the result is that of one machine, logs come home while it runs, and
# every host is proved clean, by the sweep and by a search of our own.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

case_eight_hosts_do_one_job_and_are_clean() {
    local host
    hosts_start 8
    gated_job 400 8
    over_ssh start_job "$(entries 1 2 3 4 5 6 7 8)"
    await_running 8
    for host in 1 2 3 4 5 6 7 8; do
        assert_equal "$(workers_on "$host" | wc -l)" 1 "workers on h$host"
        assert_equal "$(host_sessions "$host")" 0 "SSH sessions on h$host while the run goes on"
    done
    open_gates
    await_end
    assert_complete 400
    assert_equal "$(query "select count(distinct worker) from attempt")" 8 "workers that did something"
    assert_equal "$(query "select count(distinct host) from worker where verified_by = 'sweep' and state = 'gone'")" 8 \
        "hosts in run.db"
    assert_equal "$(summary '.hosts | length') $(verified | wc -w)" "8 8" "hosts that were looked at and verified"
    assert_equal "$(summary '.workers | "\(.launched) \(.lost) \(.verified_gone) \(.unverified)"')" "8 0 8 0"
    assert_equal "$(summary '.hosts_left_out | length')" 0
    assert_equal "$(summary .credentials_removed)" true
    assert_contains err "8 of 8 hosts verified: no process, file or credential of the run is left"
    assert_hosts_clean "$RUN_ID"
    assert_pristine
    assert_nothing_left "$RUN_ID" # of the master's keys and sockets, either
}

case_the_program_is_copied_once_and_kept_when_that_is_wanted() {
    hosts_start 2
    gated_job 10 0
    over_ssh succeed "$(entries 1 2)" --keep-worker
    assert_equal "$(grep -c "copying the worker's program" "$RUN/master.log")" 2 "copies"
    assert_equal "$(host_new_files 1 | grep -c '/bin/[0-9a-f]*/mayfly-worker$')" 1 "programs that are kept"
    assert_pristine program
    over_ssh succeed "$(entries 1 2)"
    assert_not_contains "$RUN/master.log" "copying the worker's program"
    assert_pristine
}

case_several_workers_on_a_host() {
    hosts_start 2
    gated_job 100 12
    over_ssh start_job "$(entries 1 1/2 1/2 2/3 2 2/3)"
    await_running 12
    assert_equal "$(workers_on 1 | wc -l) $(workers_on 2 | wc -l)" "3 3" "workers on the hosts"
    open_gates
    await_end
    assert_complete 100
    assert_equal "$(summary '.hosts | length')" 2 "hosts that were looked at"
    assert_equal "$(verified)" "etl@10.77.0.1 etl@10.77.0.2"
    assert_equal "$(summary '.workers | "\(.launched) \(.verified_gone)"')" "6 6"
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

case_this_machine_works_beside_a_host() {
    hosts_start 1
    job <<END
mayfly: 1
split: {range: 1-50}
task: {shell: 'until [ {} -gt 2 ] || [ -e /run/gate ] || [ -e "$PWD/gate" ]; do sleep 0.05; done; echo {}'}
END
    over_ssh start_job ":,$(entries 1)"
    await_running 2
    touch gate
    open_gates
    await_end
    assert_complete 50
    assert_equal "$(summary '[.hosts[] | "\(.host) \(.verified_by)"] | sort | join(", ")')" \
        "etl@10.77.0.1 sweep, $(uname -n) sweep"
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

case_logs_come_home_while_it_runs() {
    local worker
    hosts_start 2
    gated_job 2 2
    over_ssh start_job "$(entries 1 2)"
    await_running 2
    # Both streams of what still runs there.
    wait_until '"$MAYFLY_BIN" logs "$RUN_ID" 1 --stdout | grep -qx 1'
    wait_until '"$MAYFLY_BIN" logs "$RUN_ID" 1 --stderr | grep -qxE "on h[12]"'
    wait_until '"$MAYFLY_BIN" logs "$RUN_ID" 2 --stderr | grep -qxE "on h[12]"'
    # The log of a worker that runs there.
    for worker in 1 2; do
        wait_until "'$MAYFLY_BIN' logs $RUN_ID --worker $worker | grep -q 'joined the run in epoch 1'"
    done
    assert_equal "$(status .live.running)" 2 "what runs is not disturbed"
    open_gates
    await_end
    assert_complete 2
    for worker in 1 2; do
        "$MAYFLY_BIN" logs "$RUN_ID" --worker "$worker" >log
        assert_contains log "worker $worker of run $RUN_ID started"
        assert_equal "$(tail -n 1 log | cut -d' ' -f2-)" "info dismissed" "the last word of worker $worker"
    done
    assert_equal "$("$MAYFLY_BIN" logs "$RUN_ID" | sed 's/^[0-9]* //' | sort)" $'stderr: on h1\nstderr: on h2'
    assert_pristine
}

run_cases "$@"
