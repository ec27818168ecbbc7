#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # what stands in single quotes is for the job's shell
# Twenty pushers race against a threshold, and whatever takes part is killed (trigger_chaos.py): every message is worked on
# exactly once as recorded, and no batch is smaller than the threshold unless by age. MESSAGES, KILLS and SEED say how
# much; .ci/long pushes a hundred thousand.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/trigger_lib.sh"
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
MESSAGES=${MESSAGES:-1000}
KILLS=${KILLS:-15}
SEED=${SEED:-1}

# Bodies that are the results of runs that succeeded, one a line. A master that is killed after the end was recorded has
# written no summary.
results() {
    local run
    for run in "$XDG_STATE_HOME"/mayfly/runs/*; do
        if [ "$(sqlite3 "$run/run.db" 'SELECT state FROM run')" = succeeded ]; then cat "$run/result"; fi
    done
}

case_twenty_pushers_and_a_threshold() {
    queue_with q
    trigger_job light '{queue: q, when: {count: 100, age: 2s}, max_batch: 400, max_running: 2}' queue 'echo {}'
    printf 'lease: 2s\norphan_limit: 20s\n' >>light.yaml
    install light
    python3 "$HERE/trigger_chaos.py" "$MAYFLY_BIN" q "$MESSAGES" "$KILLS" "$SEED"
    assert_equal "$(ask "SELECT pushed, done, dead FROM queue WHERE name = 'q'")" "$MESSAGES|$MESSAGES|0"
    assert_equal "$(ask "SELECT DISTINCT state FROM firing")" succeeded
    assert_equal "$(ask "SELECT count(*) FROM firing WHERE messages < 100 AND cause <> 'age'")" 0
    assert_equal "$(ask 'SELECT sum(messages) FROM firing')" "$MESSAGES"
    assert_equal "$(done_in_runs)" "$MESSAGES" "subtasks that are done"
    results | sort -n >bodies
    seq "$MESSAGES" >wanted
    assert_same bodies wanted
    wait_until '[ -z "$(left_behind)" ]'
}

# Exactly as many messages as are waited for, five from each of twenty that push at once: one batch, of all of them.
case_one_crossing_one_batch() {
    local _
    queue_with q
    trigger_job light '{queue: q, when: 100, max_running: 5}'
    install light
    for _ in {1..20}; do
        "$MAYFLY_BIN" queue push q 1 2 3 4 5 --quiet &
    done
    wait
    wait_until all_settled
    assert_equal "$(ask 'SELECT messages, state FROM firing')" '100|succeeded'
}

# Processes of runs that are still there.
left_behind() {
    local run
    for run in "$XDG_STATE_HOME"/mayfly/runs/*; do processes_of "$(basename "$run")"; done
}

run_cases "$@"
