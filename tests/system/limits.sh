#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Limits of the system are looked at before work begins: raised where that is allowed, else named with a remedy.
. "$(dirname "$0")/lib.sh"

simple_job() { # WORKERS SLOTS
    job <<END
mayfly: 1
split: {range: 1-5}
task: {command: [echo, "{}"]}
workers: {count: $1, slots: $2}
END
}

# mayfly under `ulimit OPTION VALUE`.
limited() { # OPTION VALUE ARGUMENT...
    local option=$1 value=$2
    shift 2
    CODE=0
    (ulimit "$option" "$value" && exec "$MAYFLY_BIN" "$@") >out 2>err </dev/null || CODE=$?
}

case_a_soft_limit_is_raised() {
    simple_job 3 2
    limited -Sn 48 run job.yaml
    find_run
    assert_exit 0
    assert_same out <(seq 5)
}

case_too_few_open_files_for_the_master() {
    simple_job 50 1
    limited -n 200 run job.yaml
    assert_exit 3
    assert_contains err '50 workers need up to 328 open files, and a process may have 200 here'
    assert_contains err 'ulimit -Hn'
    find "$XDG_STATE_HOME" -name keys | grep . && fail "a run that was refused has left keys"
    [ -z "$(find "$XDG_CACHE_HOME" -name runs)" ] || fail "a worker was started"
}

case_too_few_open_files_for_a_worker() {
    simple_job 1 100
    limited -n 150 run job.yaml
    find_run
    assert_exit 3
    assert_contains err '100 slots (workers.slots) need up to 464 open files'
    assert_nothing_left "$RUN_ID"
}

case_too_few_processes_for_a_worker() {
    [ "$(id -u)" -eq 0 ] || skip "needs root to become a user of its own"
    local uid=$((200000 + $$ % 100000))
    simple_job 1 60
    mkdir "$WORK/bin"
    cp "$MAYFLY_BIN" "$MAYFLY_BIN-worker" "$WORK/bin"
    chmod o+x "$BASE"
    chown -R "$uid" "$WORK"
    CODE=0
    setpriv --reuid="$uid" --regid="$uid" --clear-groups bash -c "ulimit -u 100; exec '$WORK/bin/mayfly' run job.yaml" \
        >out 2>err </dev/null || CODE=$?
    find_run
    assert_exit 3
    assert_contains err '60 slots (workers.slots) need up to 144 processes and threads'
    assert_contains err "user $uid may have 100 here"
    assert_contains err 'ulimit -Hu'
    wait_until "is_all_gone $RUN_ID"
}

run_cases "$@"
