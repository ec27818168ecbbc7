#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Which side dials (workers.connect), and what `mayfly check` says of hosts without running anything.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_bad_lib.sh"

# As many subtasks as keep two hosts busy until the second one has joined.
long_job() { # COUNT
    job <<END
mayfly: 1
split: {range: 1-$1}
task: {shell: 'sleep 0.2; uname -n'}
END
}

case_the_master_dials() {
    hosts_start 2
    host_block_dialling 2
    hosts_are_ready
    # By itself when a host lets nothing out; the other one does not wait for that.
    long_job 60
    over_ssh succeed --hosts "$(entries 1 2)"
    assert_equal "$(worked)" "h1 h2 "
    assert_equal "$(grep -o 'could not dial this master and was dialed at 10.77.0..' "$RUN/master.log")" \
        "could not dial this master and was dialed at 10.77.0.2"
    # Always.
    long_job 24
    over_ssh succeed --hosts "$(entries 1 2)" --set workers.connect=master
    assert_equal "$(worked)" "h1 h2 "
    assert_equal "$(grep -c 'dialing it at 10.77.0.. port' "$RUN/master.log")" 2
    assert_hosts_clean
}

case_dialed_workers_are_renewed() {
    hosts_start 1
    job <<'END'
mayfly: 1
split: {range: 1-44}
task: {shell: 'sleep 0.4; echo {}'}
credentials: {ttl: 5s}
END
    over_ssh succeed --hosts "$(entries 1)" --set workers.connect=master
    assert_same "$RUN/result" <(seq 44)
    assert_equal "$(summary '.workers | "\(.launched) \(.lost)"')" "1 0"
    assert_equal "$(summary .attempts.total)" 44
    assert_contains "$RUN/master.log" "the credential of worker 1 is renewed (generation 5)"
    assert_not_contains "$RUN/master.log" "that was shown on it has expired"
    mayfly logs last --worker 1
    assert_equal "$(grep -c 'connection to the master is lost' out)" 0
    assert_hosts_clean
}

# What was dialed from here is closed by one side only: closed by both at once, such a connection was waited for for ever
# at the end, every other time.
case_dialed_workers_end() {
    hosts_start 2
    small_job 6
    for ((i = 0; i < 8; i++)); do
        over_ssh succeed --hosts "$(entries 1 2)" --keep-worker --set workers.connect=master
        assert_equal "$(summary '[.hosts[].verified] | tostring')" "[true,true]"
    done
}

case_check_of_a_mixed_list() {
    local hosts
    hosts_start 4
    host_stop_sshd 2
    host_uname 3 riscv64
    host_limit_disk 4 1m
    hosts_are_ready
    hosts="$(entries 1 1 2),:,etl@10.77.0.3/2,$(entries 4)"
    over_ssh mayfly check --hosts "$hosts"
    assert_exit 3
    assert_equal "$(wc -l <out)" 6 "a title and a line each host:"
    assert_equal "$(sed 's/ .*//' out | tr '\n' ' ')" \
        "HOST etl@10.77.0.1 etl@10.77.0.2 : etl@10.77.0.3 etl@10.77.0.4 "
    assert_equal "$(grep -c ' ok$' out)" 2
    assert_equal "$(head -n 1 out | tr -s ' ')" \
        "HOST REACHED USER ARCH KERNEL CORES MEMORY PLACE FREE CLOCK WORKER LOGIN VERDICT"
    assert_contains out "cannot connect to 10.77.0.2 (Connection refused): is sshd running there, and on this port?"
    assert_contains out "etl@10.77.0.3: it is Linux $(uname -r) riscv64"
    assert_contains out "etl@10.77.0.4: no place for the worker"
    over_ssh mayfly check --hosts "$hosts" --json
    assert_exit 3
    jq -c '.[] | [.host, .verdict, .reachable, .user, .arch, .kernel == "", .ok, .place, .cores > 0, .memory_bytes > 0, .free_bytes > 0, .worker_there, .reason == ""]' out >rows
    assert_same rows - <<END
["etl@10.77.0.1","ok",true,"etl","$(uname -m)",false,true,"/home/etl/.cache/mayfly",true,true,true,false,true]
["etl@10.77.0.2","unreachable",false,"","",true,false,"",false,false,false,false,false]
[":","ok",true,"$(id -un)","$(uname -m)",false,true,"$(dirname "$hosts_mayfly")",true,true,true,true,true]
["etl@10.77.0.3","wrong system",true,"","riscv64",false,false,"",false,false,false,false,false]
["etl@10.77.0.4","no place",true,"etl","$(uname -m)",false,false,"",true,true,false,false,false]
END
    over_ssh mayfly check --hosts "$(entries 1),:"
    assert_exit 0
    # What a run would use, and nothing else.
    small_job 2
    over_ssh mayfly check job.yaml --hosts "$(entries 2)" --json
    assert_exit 3
    assert_equal "$(jq -c '[.[0].host, .[0].ok]' out)" '["etl@10.77.0.2",false]'
    mayfly check
    assert_exit 2
    assert_contains err "a job file, --hosts, --hosts-file or --inventory is needed"
    assert_hosts_clean
}

run_cases "$@"
