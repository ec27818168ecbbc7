#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Master and worker are killed at each named point of a result's path (common/crash.h): the run goes on, or is resumed,
# its result and outputs have the bytes of the undisturbed run, what was recorded is not executed again, nothing is
# left. With ROUNDS=N (in .ci/long) also N times at several points at once, drawn from SEED.
. "$(dirname "$0")/lib.sh"
SOURCE=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
SEED=${SEED:-1}
ROUNDS=${ROUNDS:-0}

# Those of notifications are passed in tests/system/notify.sh alone.
points() { # master|worker
    sed -n "/-tell\"/d; s/.*X([A-Z_]*, \"\\($1\\.[a-z-]*\\)\").*/\\1/p" "$SOURCE/common/crash.h"
}

# Results inline and as files, outputs, an attempt that fails at first, retries.
attack_job() {
    job <<END
mayfly: 1
prepare: "echo begun >>$PWD/prepare; while [ -e $PWD/hold ]; do sleep 0.02; done; echo ended >>$PWD/prepare"
split: {range: 1-24}
task:
  shell: |
    echo {} >half.txt
    [ {} != 4 ] || ! mkdir "$PWD/failed_once" 2>/dev/null || exit 1
    [ {} -gt 3 ] || head -c 100000 /dev/zero
    echo {}
    sleep 0.05
  outputs: ["*.txt"]
  retries: {max: 2, backoff: 1ms}
workers: {count: 2, slots: 2}
lease: 2s
orphan_limit: 20s
notify: {on: started, shell: "cat >/dev/null"}
END
}

# Every file of the run's outputs with its checksum.
list_outputs() {
    (cd "$RUN/outputs" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

# The run that nobody disturbs.
make_reference() {
    attack_job
    succeed
    cp "$RUN/result" "$WORK/reference.result"
    list_outputs >"$WORK/reference.outputs"
    REFERENCE=$WORK/reference
}

assert_as_undisturbed() {
    assert_exit 0
    assert_equal "$(summary .state)" succeeded "state"
    assert_equal "$(counts)" "24 0 0 0"
    assert_same "$RUN/result" "$REFERENCE.result"
    list_outputs >outputs
    assert_same outputs "$REFERENCE.outputs"
    assert_nothing_left "$RUN_ID"
}

has_crashed_at() { # POINT
    grep -qh "^crash .* $1\$" "$WORK/journals/$RUN_ID"-*.journal
}

kill_a_worker() { # POINT
    attack_job
    MAYFLY_CRASH=$1 run_job
    has_crashed_at "$1" || fail "no worker came to $1"
    assert_as_undisturbed
}

case_the_worker_is_killed_at_each_point() {
    make_reference
    # shellcheck disable=SC2046
    each_at_once kill_a_worker $(points worker)
}

# The only run that there is: a master that is killed early has not said its name.
find_only_run() {
    RUN=$(find "$XDG_STATE_HOME/mayfly/runs" -mindepth 1 -maxdepth 1)
    RUN_ID=${RUN##*/}
}

# Goes on with the run until a master lives to its end; each may be killed at a point of its own. What had a final
# record when one was killed is noted.
resume_until_it_ends() { # [POINTS]...
    while [ "$CODE" -eq 137 ]; do
        find_only_run
        "$history_check" finals "$RUN" >>recorded
        MAYFLY_CRASH=${1:-} mayfly resume "$RUN_ID"
        [ $# -eq 0 ] || shift
    done
}

assert_nothing_was_executed_again() {
    local found
    found=$("$history_check" check "$RUN" "$WORK/journals" --finals recorded) ||
        fail "$(printf 'the history is wrong:\n%s' "$found")"
}

kill_the_master() { # POINT
    attack_job
    MAYFLY_CRASH=$1 mayfly run job.yaml
    assert_exit 137
    resume_until_it_ends
    assert_as_undisturbed
    assert_nothing_was_executed_again
}

case_the_master_is_killed_at_each_point() {
    make_reference
    # shellcheck disable=SC2046
    each_at_once kill_the_master $(points master)
}

random_points() { # master|worker|both
    local all=() count
    mapfile -t all < <([ "$1" = worker ] || points master; [ "$1" = master ] || points worker)
    for ((count = 1 + RANDOM % 3; count > 0; count--)); do
        printf '%s:%s%s' "${all[RANDOM % ${#all[@]}]}" $((1 + RANDOM % 6)) "@$((1 + RANDOM % 2))"
        [ "$count" -eq 1 ] || printf ','
    done
}

# Of two commands that prepare at once each would write into the files of the other.
case_what_prepares_does_not_outlive_the_next_master() {
    attack_job
    touch hold
    MAYFLY_CRASH=master.in-prepare mayfly run job.yaml
    assert_exit 137
    wait_until 'grep -q begun prepare'
    (wait_until '[ "$(grep -c begun prepare)" = 2 ]' && rm hold) &
    mayfly resume last
    assert_exit 0
    assert_equal "$(grep -c ended prepare)" 1 "commands of prepare that came to their end"
}

# Several points at once (of two workers: three deaths would make poison of a subtask), of the first master and of those that go on; which, depends on the seed alone.
kill_at_random() { # SEED
    RANDOM=$1
    local first again=() count
    first=$(random_points both)
    for ((count = RANDOM % 3; count > 0; count--)); do again+=("$(random_points both)"); done
    echo "seed $1: $first, then ${again[*]:-nothing}"
    attack_job
    : >recorded
    MAYFLY_CRASH=$first mayfly run job.yaml
    resume_until_it_ends "${again[@]}"
    find_only_run
    assert_as_undisturbed
    assert_nothing_was_executed_again
}

case_master_and_workers_are_killed_at_random_points() {
    [ "$ROUNDS" -gt 0 ] || return 0
    make_reference
    # shellcheck disable=SC2046
    each_at_once kill_at_random $(seq "$SEED" $((SEED + ROUNDS - 1)))
}

case_a_point_that_is_not_known_is_refused() {
    attack_job
    MAYFLY_CRASH=master.before-comit mayfly run job.yaml
    assert_exit 2
    assert_contains err 'there is no point "master.before-comit"'
    MAYFLY_CRASH=worker.after-end:x mayfly run job.yaml
    assert_exit 2
    assert_contains err 'not of the form POINT[:N][@WORKER]'
}

run_cases "$@"
