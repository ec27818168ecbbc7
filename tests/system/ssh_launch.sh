#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Workers on several hosts at once: the program goes to each host once, side by side, and the work begins with the first
# worker. The same with 64 hosts is in tests/bench/launch64.sh.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_bad_lib.sh"

# Two workers each: one waits for what the other one copies.
case_one_copy_for_each_host() {
    local host
    hosts_start 5
    job <<'END'
mayfly: 1
split: {range: 1-40}
task: {shell: 'sleep 0.1; uname -n'}
workers: {slots: 1}
END
    over_ssh succeed --hosts "$(entries 1 2 3 4 5 1 2 3 4 5)"
    assert_equal "$(counts)" "40 0 0 0"
    assert_equal "$(query "select count(joined_us) from worker")" 10 "workers that joined:"
    for host in 1 2 3 4 5; do
        assert_equal "$(grep -c "copying the worker's program to etl@10.77.0.$host\$" "$RUN/master.log")" 1 \
            "copies to host $host:"
    done
    assert_equal "$(grep "copying the worker's\|joined from" "$RUN/master.log" | head -n 2 | grep -c copying)" 2 \
        "copies that had begun before the first worker joined:"
    assert_equal "$(query "select (select min(started_us) from attempt) < (select max(joined_us) from worker)")" 1 \
        "the first subtask began before the last worker had joined:"
    assert_hosts_clean
}

run_cases "$@"
