#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# What is killed or falls silent in the middle of a run: the run goes on, its result is right, nothing is left.
. "$(dirname "$0")/lib.sh"

# 200 subtasks; each notes its begin; those up to four wait for the file `gate`.
gated_job() {
    job <<END
mayfly: 1
split: {range: 1-200}
task: {shell: "echo {} >>$PWD/begun; until [ {} -gt 4 ] || [ -e $PWD/gate ]; do sleep 0.05; done; echo {}"}
workers: {count: 2, slots: 3}
END
}

assert_complete() {
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" <(seq 200)
    assert_equal "$(counts)" "200 0 0 0"
    assert_equal "$(query "select count(*), count(distinct subtask) from attempt where state = 'done'")" "200|200"
}

first() {
    echo "$1"
}

# The process of a slot that has one of the gated commands in it.
busy_slot() {
    local slot
    for slot in $(slots_of "$1"); do
        if [ -n "$(pgrep -P "$slot")" ]; then echo "$slot" && return; fi
    done
}

case_a_worker_is_killed() {
    gated_job
    start_job
    wait_until '[ "$(sort -u begun | head -n 4 | wc -l)" -ge 4 ]'
    # shellcheck disable=SC2046
    kill -KILL "$(first $(workers_of "$RUN_ID"))"
    wait_until "grep -q 'is lost' $RUN/master.log"
    touch gate
    await_end
    assert_complete
    assert_contains "$RUN/master.log" "died"
    assert_equal "$(summary '.workers | "\(.launched) \(.lost) \(.verified_gone) \(.unverified)"')" "3 1 3 0"
    assert_equal "$(summary '.cost.workers')" 3 "workers that were paid for"
    assert_cost_adds_up
    grep -qE '^mayfly: paid for [0-9.]+ host-seconds: [0-9.]+ busy \([0-9]+ %\), [0-9.]+ idle, [0-9.]+ launching, [0-9.]+ dismissing$' err ||
        fail "no cost account at the end: $(tail -n 3 err)"
    assert_equal "$(query "select count(*) from event join worker on worker.id = event.worker
        where kind = 'worker dismissed' and worker.state = 'gone'")" 2 "workers that were told to go"
    [ "$(query "select count(*) from event where kind = 'lost'")" -gt 0 ] || fail "no event says what was lost"
}

# Both at one blow: what ran on one must not be issued to the other, only to be lost with it again in the same round.
case_every_worker_is_killed_again_and_again() {
    local round both
    gated_job
    start_job
    for round in 1 2; do
        wait_until "grep -q 'worker $((round * 2 - 1)) joined' $RUN/master.log && grep -q 'worker $((round * 2)) joined' $RUN/master.log"
        # Stopped first: what one has lost is not begun by the other in the moment before that is killed, too.
        mapfile -t both < <(workers_of "$RUN_ID")
        kill -STOP "${both[@]}"
        kill -KILL "${both[@]}"
        wait_until "[ \"\$(grep -c 'is lost' $RUN/master.log)\" -ge $((round * 2)) ]"
    done
    touch gate
    await_end
    assert_complete
}

case_a_slot_is_killed() {
    gated_job
    start_job
    wait_until '[ "$(sort -u begun | wc -l)" -ge 200 ]' # only the gated ones are left in their slots
    kill -KILL "$(busy_slot "$RUN_ID")"
    touch gate
    await_end
    counts >/dev/null
    assert_nothing_left "$RUN_ID"
    assert_equal "$(summary .workers.lost)" 0 "the worker lives on"
    assert_exit 0
    assert_same "$RUN/result" <(seq 200)
    assert_contains "$RUN/master.log" "the slot process that ran it was killed by signal 9"
}

case_a_worker_is_stopped_beyond_its_lease() {
    gated_job
    start_job --set lease=2s --set orphan_limit=60s
    wait_until '[ "$(sort -u begun | wc -l)" -ge 4 ]'
    # shellcheck disable=SC2046
    kill -STOP "$(first $(workers_of "$RUN_ID"))"
    wait_until "grep -q 'is lost' $RUN/master.log"
    touch gate
    await_end
    assert_complete
    assert_equal "$(summary .workers.lost)" 1
}

case_a_worker_is_stopped_and_goes_on_late() {
    gated_job
    start_job --set lease=2s --set orphan_limit=60s
    wait_until '[ "$(sort -u begun | wc -l)" -ge 4 ]'
    local worker
    # shellcheck disable=SC2046
    worker=$(first $(workers_of "$RUN_ID"))
    kill -STOP "$worker"
    touch gate
    wait_until "grep -q 'is lost' $RUN/master.log"
    kill -CONT "$worker" 2>/dev/null || :
    await_end
    assert_complete
}

# What it could not hear meanwhile is no silence of its workers.
case_the_master_stands_still_beyond_the_lease() {
    gated_job
    start_job --set lease=2s --set orphan_limit=60s
    wait_until '[ "$(sort -u begun | wc -l)" -ge 4 ]'
    kill -STOP "$PID"
    sleep 3 # longer than the lease: this is the fault, nothing is waited for
    kill -CONT "$PID"
    wait_until "grep -q 'stood still' $RUN/master.log"
    touch gate
    await_end
    assert_complete
    assert_equal "$(summary .workers.lost)" 0 "workers lost"
    # A worker that needs longer than the grace to connect anew is helped out, as always; nothing else begins twice.
    query "select subtask from event where kind = 'second attempt'" | sort >helped
    assert_equal "$(sort begun | uniq -d | comm -23 - helped)" "" "subtasks that began twice"
}

case_the_master_is_killed() {
    gated_job
    start_job --set lease=2s --set orphan_limit=3s
    wait_until '[ "$(sort -u begun | wc -l)" -ge 4 ]'
    kill -KILL "$PID"
    wait_until "is_all_gone $RUN_ID"
    assert_equal "$(sqlite3 -batch "$RUN/run.db" "pragma integrity_check")" ok
    assert_equal "$(query "select state from run")" running
}

case_a_command_kills_its_worker() {
    job <<END
mayfly: 1
split: {range: 1-10}
task: {shell: "[ {} != 5 ] || kill -KILL \$(cut -d' ' -f4 /proc/\$(cut -d' ' -f4 /proc/\$\$/stat)/stat); echo {}"}
workers: {slots: 1}
END
    run_job
    assert_exit 1
    counts >/dev/null
    assert_equal "$(query "select group_concat(distinct cause) from attempt where state = 'dead'")" poison
    # A subtask that stood next in the slot at each of its ends may be taken for poison, too.
    [ "$(summary .subtasks.done)" -ge 8 ] || fail "too many died of one bad neighbour: $(summary .subtasks)"
    assert_equal "$(query "select cause from attempt where subtask = 5 and state = 'dead'")" poison
    mayfly results "$RUN_ID" 5 --dead
    grep -qE '^    lost with worker [0-9]+ on [^,]+, worker [0-9]+ on [^,]+, worker [0-9]+ on ' out || fail "$(cat out)"
    assert_equal "$(summary .workers.unverified)" 0
}

case_a_command_kills_its_slot() {
    job <<END
mayfly: 1
split: {range: 1-10}
task: {shell: "[ {} != 5 ] || kill -KILL \$PPID; echo {}"}
workers: {slots: 2}
END
    run_job
    counts >/dev/null
    assert_equal "$(summary .subtasks.done)" 9
    assert_exit 1
    assert_equal "$(query "select cause from attempt where subtask = 5")" poison
}

run_cases "$@"
