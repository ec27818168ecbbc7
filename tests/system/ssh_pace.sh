#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many workers, few logins at once; several runs on one host; what the list of hosts may look like.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_bad_lib.sh"

# The host drops 9 of 10 logins from the third on, and each from the fifth on. No worker may be lost by that, and the
# first does not wait for the last.
case_few_logins_at_once() {
    hosts_start 1 "MaxStartups 2:90:4"
    job <<'END'
mayfly: 1
split: {range: 1-200}
task: {shell: 'sleep 0.2; echo $MAYFLY_WORKER'}
workers: {slots: 1}
END
    over_ssh succeed --hosts "$(entries 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1)"
    assert_equal "$(counts)" "200 0 0 0"
    assert_equal "$(query "select count(joined_us) from worker")" 16 "workers that joined"
    assert_equal "$(summary '.hosts_left_out | length')" 0
    host_exec 1 grep -q 'past MaxStartups' /var/log/sshd.log || fail "the host dropped no login"
    assert_equal "$(query "select (select min(started_us) from attempt) < (select max(joined_us) from worker)")" 1 \
        "the first subtask began before the last worker had joined:"
    assert_hosts_clean
}

# The program is removed with the last run on the host, and never under another's feet.
case_runs_side_by_side() {
    local round run code
    hosts_start 1
    for run in 1 2 3; do
        mkdir "$run"
        # They end one after the other, and each sweeps while others start, work or sweep.
        cat >"$run/job.yaml" <<END
mayfly: 1
split: {range: 1-$((run * 4))}
task: {shell: 'sleep 0.0{}; echo $run'}
workers: {slots: 2}
END
    done
    for round in 1 2 3 4 5; do
        for run in 1 2 3; do
            over_ssh "$MAYFLY_BIN" run "$run/job.yaml" --hosts "$(entries 1 1)" >"$run/out" 2>"$run/err" </dev/null &
            PIDS[run]=$!
        done
        for run in 1 2 3; do
            code=0
            wait "${PIDS[run]}" || code=$?
            cp "$run/err" "$run/out" .
            CODE=$code
            assert_exit 0
            find_run
            assert_nothing_left "$RUN_ID"
            assert_equal "$(counts)" "$((run * 4)) 0 0 0" "round $round, run $run:"
            assert_equal "$(summary '.hosts[] | "\(.verified) \(.verified_by) \(.left)"')" "true sweep "
        done
        assert_hosts_clean
    done
}

case_what_a_list_may_hold() {
    hosts_start 3
    host_sshd_config 2 "Port 2222"
    hosts_are_ready
    job <<'END'
mayfly: 1
split: {range: 1-40}
task: {shell: 'sleep 0.1; uname -n'}
END
    cat >hosts <<'END'
# the rack
etl@10.77.0.1      # two cores of it
etl@10.77.0.2:2222/3

: # this machine
1/etl@10.77.0.3
END
    over_ssh succeed --hosts-file hosts -j 2
    assert_equal "$(query "select group_concat(slots, ' ') from worker order by id")" "2 3 2 1"
    assert_equal "$(worked)" "$(printf '%s\n' h1 h2 h3 "$(uname -n)" | sort | tr '\n' ' ')"
    assert_equal "$(summary '[.hosts[] | "\(.host) \(.verified)"] | sort | .[]')" \
        "$(printf '%s true\n' etl@10.77.0.1 etl@10.77.0.2:2222 etl@10.77.0.3 "$(uname -n)" | sort)"
    assert_hosts_clean
    # One entry, none of which can be used, beside this machine.
    host_stop_sshd 3
    over_ssh succeed --hosts "etl@10.77.0.3,:"
    assert_equal "$(worked)" "$(uname -n) "
    assert_contains err "mayfly: left out: cannot connect to 10.77.0.3 (Connection refused)"
    [ ! -e /proc/net/if_inet6 ] || {
        over_ssh succeed --hosts "etl@[$(host_address6 2)]:2222,etl@$(host_address6 1)/1"
        assert_equal "$(worked)" "h1 h2 "
    }
    assert_hosts_clean
}

case_the_program_is_kept() {
    local path
    hosts_start 1
    small_job 4
    over_ssh succeed --hosts "$(entries 1)" --keep-worker
    path=/home/etl/.cache/mayfly/bin/$(sha256sum <"$hosts_mayfly-worker" | cut -d ' ' -f 1)/mayfly-worker
    assert_equal "$(host_new_files 1 | tail -n 1)" "$path"
    assert_equal "$(host_new_files 1 | wc -l)" 5 "that file and its folders"
    assert_equal "$(host_processes 1)" ""
    host_exec 1 cat "$path" | cmp - "$hosts_mayfly-worker"
    assert_contains "$RUN/master.log" "copying the worker's program"
    over_ssh succeed --hosts "$(entries 1)" --keep-worker
    assert_not_contains "$RUN/master.log" "copying the worker's program"
    over_ssh mayfly check job.yaml --hosts "$(entries 1)"
    assert_contains out "  there  "
    over_ssh succeed --hosts "$(entries 1)"
    assert_not_contains "$RUN/master.log" "copying the worker's program"
    assert_hosts_clean
}

run_cases "$@"
