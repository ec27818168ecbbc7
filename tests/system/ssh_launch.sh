#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # what stands in single quotes is meant as it is
# Workers on several hosts at once: the program goes to each host once, side by side, also where that is cut, and the
# work begins with the first worker. The same with 64 hosts is in tests/bench/launch64.sh.
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

# The login breaks off after the first 1,000,000 bytes: the second one sends only what is missing. Of two workers there,
# whichever is first goes on with it.
case_a_copy_that_is_cut_goes_on() {
    local size
    hosts_start 1
    size=$(stat -c %s "$hosts_mayfly-worker")
    host_program 1 cat <<'END'
#!/bin/sh
if mkdir /dev/shm/first 2>/dev/null; then
    head -c 1000000
    touch /dev/shm/cut
    while [ -e /dev/shm/cut ]; do sleep 0.02; done
    exit 0
fi
/usr/bin/tee -a /dev/shm/second
END
    hosts_are_ready
    small_job 4
    over_ssh start_job --hosts "$(entries 1 1)"
    wait_until "host_exec 1 test -e /dev/shm/cut || has_ended $PID"
    host_exec 1 pkill -KILL -u etl sshd
    host_exec 1 rm /dev/shm/cut
    await_end
    assert_exit 0
    assert_equal "$(counts)" "4 0 0 0"
    assert_equal "$(host_exec 1 stat -c %s /dev/shm/second)" $((size - 1000000 / 1024 * 1024)) "bytes sent again:"
    assert_contains "$RUN/master.log" "broke off"
    assert_equal "$(grep -c 'copying the' "$RUN/master.log")" 2 "copies that were begun:"
    assert_contains "$RUN/master.log" "copying the rest of the worker's program to etl@10.77.0.1, which has 976 KiB of it"
    host_exec 1 rm -r /dev/shm/first /dev/shm/second
    wait_until '[ -z "$(host_processes 1)" ]' # what kept the part looks once a second whether it is there
    assert_hosts_clean
}

run_cases "$@"
