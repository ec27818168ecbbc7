#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2119 # what stands in single quotes is meant as it is
# A finished result is told at once, also when the master was told before that its subtask runs: with a lease of ten
# minutes, anything that waits for a held poll to end would wait for more than three.
. "$(dirname "$0")/lib.sh"

case_the_last_results_do_not_wait_for_a_held_poll() {
    job <<END
mayfly: 1
split: {range: 1-6}
task: {shell: "sleep 0.3; sleep 0.{}; echo {}"}
workers: {slots: 2}
lease: 10m
END
    run_job
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" <(seq 6)
}

run_cases "$@"
