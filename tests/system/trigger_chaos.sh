#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # what stands in single quotes is for the job's shell
# Twenty pushers race against a threshold, and whatever takes part is killed (trigger_chaos.py): every message is worked on
# exactly once as recorded, and no batch is smaller than the threshold unless by age. MESSAGES, KILLS and SEED say how
# much; .ci/long pushes a hundred thousand.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/trigger_lib.sh"
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
MESSAGES=${MESSAGES:-1500}
KILLS=${KILLS:-25}
SEED=${SEED:-1}

# Bodies that are the results of runs that succeeded, one a line.
results() {
    local run
    for run in "$XDG_STATE_HOME"/mayfly/runs/*; do
        if [ "$(jq -r .state "$run/summary.json")" = succeeded ]; then cat "$run/result"; fi
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

# Processes of runs that are still there.
left_behind() {
    local run
    for run in "$XDG_STATE_HOME"/mayfly/runs/*; do processes_of "$(basename "$run")"; done
}

run_cases "$@"
