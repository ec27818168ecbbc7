#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A soak: many short subtasks, and all the while a worker is killed by SIGKILL again and again, about every KILL_MS. The
# result has the bytes that it must have, and the history of all workers is that of a run that lost nothing. Prints what
# it cost. ctest runs a short form, .ci/long (part `soak`) the long one.
# environment: SUBTASKS (20000), KILL_MS (300), SEED (1: which worker, and when)
# shellcheck disable=SC2119 # cases have no arguments
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/../system/lib.sh"
SUBTASKS=${SUBTASKS:-20000}
KILL_MS=${KILL_MS:-300}
SEED=${SEED:-1}

# Kills one of the run's workers after the other until the run has ended, each at a time around KILL_MS after the one
# before; sets KILLS.
kill_workers() {
    local pids
    KILLS=0
    until has_ended "$PID"; do
        sleep "$(awk -v ms="$KILL_MS" -v r="$RANDOM" 'BEGIN { print ms * (0.5 + r / 32768) / 1000 }')"
        mapfile -t pids < <(workers_of "$RUN_ID")
        [ ${#pids[@]} -gt 0 ] || continue
        if kill -KILL "${pids[RANDOM % ${#pids[@]}]}" 2>/dev/null; then KILLS=$((KILLS + 1)); fi
    done
}

case_soak() {
    local start_ms
    job <<END
mayfly: 1
split: {range: 1-$SUBTASKS}
task: {command: [echo, "{}"]}
workers: {count: 2, slots: 2}
END
    RANDOM=$SEED
    start_ms=$(date +%s%3N)
    start_job
    kill_workers
    await_end
    printf '%s subtasks in %s s: %s workers killed, %s noticed, %s issues lost with them, %s results void, %s MB of run.db\n' \
        "$SUBTASKS" "$(awk -v ms=$(($(date +%s%3N) - start_ms)) 'BEGIN { print ms / 1000 }')" "$KILLS" \
        "$(summary .workers.lost)" "$(query "select count(*) from event where kind = 'lost'")" \
        "$(query 'select fenced from run')" "$(($(stat -c %s "$RUN/run.db") >> 20))"
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_equal "$(counts)" "$SUBTASKS 0 0 0"
    cmp -s "$RUN/result" <(seq "$SUBTASKS") || fail "the result is not that of an undisturbed run"
    [ "$(summary .workers.lost)" -ge $((KILLS / 2)) ] || fail "of $KILLS kills only $(summary .workers.lost) were noticed"
    [ "$KILLS" -ge 3 ] || fail "only $KILLS workers were killed: too few to prove anything"
}

run_cases "$@"
