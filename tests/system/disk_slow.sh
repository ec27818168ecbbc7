#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# The master's disk is slower than results come: nothing is lost, nobody counts as dead, and the master's memory does
# not grow with what has come.
. "$(dirname "$0")/lib.sh"

# As start_job; each commit takes as many milliseconds longer as the file `slow` says, while it is there.
start_slowly() { # [ARGUMENT...]
    rm -f out err
    MAYFLY_SLOW=$PWD/slow LD_PRELOAD=$MAYFLY_TEST_BIN/slow_disk.so \
        ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0 \
        "$MAYFLY_BIN" run job.yaml "$@" >out 2>err </dev/null &
    PID=$!
    wait_until "grep -q 'mayfly: run 2' err || has_ended $PID"
    find_run
}

assert_each_once() { # COUNT
    assert_exit 0
    assert_equal "$(counts)" "$1 0 0 0"
    assert_equal "$(sort -u begun | wc -l) $(wc -l <begun)" "$1 $1" "subtasks, and how often they were executed"
    assert_equal "$(query "select count(*), count(distinct subtask) from attempt")" "$1|$1"
    assert_equal "$(summary .workers.lost)" 0 "workers lost"
    assert_nothing_left "$RUN_ID"
}

case_a_commit_takes_longer_than_the_lease() {
    job <<END
mayfly: 1
split: {range: 1-6}
task: {shell: "echo {} >>$PWD/begun; until [ -e $PWD/gate ]; do sleep 0.05; done; echo {}"}
workers: {count: 2, slots: 1}
END
    start_slowly --set lease=3s --set orphan_limit=3500ms
    wait_until '[ "$(sort -u begun | wc -l)" -ge 2 ]'
    echo 4000 >slow
    touch gate
    wait_until '[ "$(sort -u begun | wc -l)" -ge 6 ]' # nothing is acknowledged, and work goes on
    rm slow
    await_end
    assert_each_once 6
    assert_same out <(seq 6)
    assert_not_contains "$RUN/master.log" "is lost"
}

# 12 MiB of results, of which 1 MiB may be on its way to the disk.
case_results_come_faster_than_they_are_stored() {
    job <<END
mayfly: 1
split: {range: 1-200}
task: {shell: "echo {} >>$PWD/begun; head -c 60000 /dev/zero | tr '\\\\0' x; echo {}"}
gather: none
workers: {count: 2, slots: 1}
END
    export MAYFLY_RESULTS_MOST=1000000
    echo 50 >slow
    start_slowly
    local peak=0 now
    while ! has_ended "$PID"; do
        now=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$PID/status" 2>/dev/null) || :
        peak=${now:-$peak}
        sleep 0.1
    done
    await_end
    assert_each_once 200
    assert_equal "$(query "select sum(length(result)) from attempt")" $((200 * 60000 + 9 * 2 + 90 * 3 + 101 * 4))
    echo "the master's peak was $peak KiB"
    # A sanitizer's shadow is no measure.
    case ${MAYFLY_BUILD##*/} in asan | tsan) return 0 ;; esac
    [ "$peak" -lt 40000 ] || fail "the master's peak was $peak KiB"
}

run_cases "$@"
