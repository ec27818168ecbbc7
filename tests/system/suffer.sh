#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# What users of tools like this one suffer from, as far as no other script tries it: suffer.cmake says which case is
# which test, docs/guarantees.md what they are about.
. "$(dirname "$0")/lib.sh"

# What a lost attempt had written so far is no part of a result: its next one begins in a folder of its own, and a file
# counts when all of its bytes are home.
case_a_truncated_output_is_never_a_result() {
    job <<END
mayfly: 1
split: {range: 1-3}
task:
  shell: |
    [ ! -e o ] || echo "a file of an earlier attempt is there" >>$PWD/trouble
    printf half >>o; printf half
    [ {} -ne 2 ] || echo {attempt} >>$PWD/begun
    until [ {} -ne 2 ] || [ -e $PWD/gate ]; do sleep 0.02; done
    echo whole >>o; echo whole
  outputs: [o]
workers: {count: 2, slots: 1}
END
    start_job
    wait_until '[ -s begun ]'
    wait_until '[ "$(query "select count(*) from attempt")" = 2 ]'
    local busy
    busy=$("$MAYFLY_BIN" status "$RUN_ID" --json --explain=2 | jq -r '.explain.subtask.text' | sed 's/.*on worker \([0-9]*\) .*/\1/')
    kill -KILL "$(sed -n "s/^.* worker $busy joined .*, process \([0-9]*\)\$/\1/p" "$RUN/master.log")"
    wait_until '[ "$(wc -l <begun)" = 2 ]'
    touch gate
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_no_file trouble
    printf 'halfwhole\n%.0s' 1 2 3 >wanted
    assert_same "$RUN/result" wanted
    cat "$RUN"/outputs/0/[123]/o >outputs
    assert_same outputs wanted
    # What was shortened behind its back is noticed, not taken.
    job <<'END'
mayfly: 1
split: {range: 1-1}
task: {shell: "head -c 100000 /dev/zero | tr '\\0' x"}
END
    succeed
    cp "$RUN/outputs/0/1.result" kept
    truncate -s 99999 "$RUN/outputs/0/1.result"
    mayfly results "$RUN_ID" 1
    assert_exit 1
    assert_contains err "does not have the 100000 bytes that were recorded"
    mv kept "$RUN/outputs/0/1.result" # as it was, for what looks at the run after the case
}

# The gather begins once, after the last record, whatever was lost and tried again; beyond the tolerance never.
case_the_fan_in_comes_once_and_last() {
    job <<END
mayfly: 1
split: {range: 1-60}
task:
  shell: "echo {} >>$PWD/begun; until [ {} -gt 2 ] || [ -e $PWD/gate ]; do sleep 0.02; done; [ {attempt} -gt 1 ] || [ {} -ne 7 ] || exit 1; echo {}"
  retries: {max: 1, backoff: 100ms, jitter: none}
workers: {count: 2, slots: 2}
END
    start_job
    wait_until '[ "$(sort -u begun | wc -l)" -ge 60 ]' # all but the gated ones are through
    assert_not_contains "$RUN/master.log" "gathering"
    assert_no_file "$RUN/result"
    local workers
    mapfile -t workers < <(workers_of "$RUN_ID")
    kill -KILL "${workers[0]}"
    wait_until "grep -q 'is lost' $RUN/master.log"
    touch gate
    await_end
    assert_exit 0
    assert_same "$RUN/result" <(seq 60)
    assert_equal "$(grep -c 'the run is gathering' "$RUN/master.log")" 1 "how often it was gathered"
    local gathering last
    gathering=$(sed -n 's/^\([^ ]*\) .*the run is gathering.*/\1/p' "$RUN/master.log")
    last=$(query "select strftime('%Y-%m-%dT%H:%M:%S', max(ended_us) / 1000000, 'unixepoch') from attempt")
    [[ ! $gathering < $last ]] || fail "gathered at $gathering, before the last record of $last"
    assert_equal "$(query "select count(*) from subtask where state = 'done'")" 60 "done"
    assert_nothing_left "$RUN_ID"
    run_job --set task.retries=0
    assert_exit 1
    assert_no_file "$RUN/result"
    assert_not_contains "$RUN/master.log" "gathering"
    run_job --set task.retries=0 --set tolerate=1
    assert_exit 0
    assert_equal "$(summary .state)" partial "within the tolerance"
    assert_same "$RUN/result" <(seq 60 | grep -vx 7)
}

# Logs and results are packed: the number of files does not follow the number of subtasks.
case_files_do_not_grow_with_the_job() {
    job <<'END'
mayfly: 1
split: {range: 1-400}
task: {shell: "echo said {} >&2; echo {}"}
workers: {slots: 2}
END
    start_job
    local most=0 now
    while ! has_ended "$PID"; do
        now=$({ find "$RUN" "$XDG_CACHE_HOME" -type f 2>/dev/null || :; } | wc -l) # some go while it looks
        most=$((now > most ? now : most))
        sleep 0.05
    done
    await_end
    assert_exit 0
    now=$(find "$RUN" -type f | wc -l)
    [ "$most" -le 60 ] || fail "$most files while 400 subtasks ran"
    [ "$now" -le 15 ] || fail "$now files in the run folder: $(find "$RUN" -type f)"
    assert_equal "$("$MAYFLY_BIN" logs "$RUN_ID" | wc -l)" 400 "log lines"
}

# 10^12 subtasks: the first results are there as quickly as those of a small job, and the master stays small.
case_a_plan_without_end_starts_at_once() {
    job <<END
mayfly: 1
split: {range: 1-1000000000000}
task: {command: [echo, "{}"]}
gather: none
workers: {slots: 2}
END
    start_job
    wait_until '[ "$("$MAYFLY_BIN" status --json "$RUN_ID" | jq .subtasks.done)" -ge 500 ]'
    local peak planned
    peak=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$PID/status")
    planned=$("$MAYFLY_BIN" status --json "$RUN_ID" | jq '.live.pending + .live.offered')
    [ "$planned" -le 20000 ] || fail "$planned subtasks are planned ahead"
    "$MAYFLY_BIN" cancel "$RUN_ID" 2>/dev/null
    await_end
    assert_exit 4
    assert_nothing_left "$RUN_ID"
    [ "$peak" -le "${PEAK_KIB:-65536}" ] || fail "the master took $peak KiB"
}

explain() { # [SUBTASK]
    "$MAYFLY_BIN" status "$RUN_ID" --json --explain"${1:+=$1}"
}

reasons() {
    explain | jq -r '[.explain.reasons[].reason] | join(" ")'
}

case_explain_says_why() {
    job <<END
mayfly: 1
name: why
prepare: "until [ -e $PWD/prepared ]; do sleep 0.02; done"
split: {range: 1-6}
task:
  shell: "echo {} >>$PWD/begun; until [ -e $PWD/gate ]; do sleep 0.02; done; [ {} -ne 1 ] || exit 1; echo {}"
  retries: {max: 1, backoff: 1h, jitter: none}
workers: {slots: 2}
END
    mayfly submit job.yaml
    find_run
    assert_equal "$(reasons)" starting "before the plan"
    touch prepared
    wait_until '[ -s begun ] && [ "$(wc -l <begun)" -ge 2 ]'
    wait_until '[ "$(reasons)" = no_free_place ]'
    assert_equal "$(explain 1 | jq -r .explain.subtask.state)" running "subtask 1"
    assert_equal "$(explain 6 | jq -r .explain.subtask.state)" pending "subtask 6"
    assert_equal "$(explain 9 | jq -r .explain.subtask.state)" unknown "subtask 9"
    "$MAYFLY_BIN" pause "$RUN_ID" --reason "the printer is on fire" 2>err
    assert_contains err "is paused"
    mayfly status "$RUN_ID" --explain=6
    assert_contains out "why      paused since"
    assert_contains out "the printer is on fire"
    assert_contains out "subtask  6: pending"
    touch gate
    wait_until '[ "$(explain | jq ".live.running + .live.offered")" = 0 ]'
    assert_equal "$(reasons)" "paused backoff" "paused, and one waits"
    assert_equal "$(explain 1 | jq -r .explain.subtask.state)" waiting "subtask 1"
    "$MAYFLY_BIN" watch "$RUN_ID" --json >watched 2>watch_err &
    local watcher=$!
    wait_until 'jq -e "select(.held_up | contains(\"the printer is on fire\"))" watched'
    "$MAYFLY_BIN" unpause "$RUN_ID" 2>/dev/null
    wait_until '[ "$(explain | jq ".subtasks.done")" = 5 ]'
    wait_until '[ "$(reasons)" = backoff ]'
    assert_equal "$(explain 2 | jq -r .explain.subtask.state)" "done" "subtask 2"
    "$MAYFLY_BIN" cancel --drain "$RUN_ID" 2>/dev/null
    wait "$watcher" || :
    mayfly status "$RUN_ID" --explain=1
    assert_contains out "why      interrupted since"
    assert_contains out "asked for by mayfly cancel --drain"
    assert_contains out "mayfly resume $RUN_ID"
    assert_contains out "subtask  1: open"
    assert_nothing_left "$RUN_ID"
}

# After the master's death: what its worker may have waits for that worker, and this is said.
case_explain_says_what_is_held() {
    job <<END
mayfly: 1
split: {range: 1-4}
task: {shell: "echo {} >>$PWD/begun; until [ -e $PWD/gate ]; do sleep 0.02; done; echo {}"}
workers: {slots: 2}
END
    start_job
    wait_until '[ "$(wc -l <begun)" = 2 ]'
    local workers
    mapfile -t workers < <(workers_of "$RUN_ID")
    kill -STOP "${workers[@]}"
    kill -KILL "$PID"
    wait "$PID" 2>/dev/null || :
    mayfly status "$RUN_ID" --explain
    assert_contains out "its master was lost (killed, or its machine went down); mayfly resume $RUN_ID"
    "$MAYFLY_BIN" resume "$RUN_ID" >out 2>resume_err </dev/null &
    PID=$!
    wait_until 'reasons | grep -q held'
    assert_equal "$(explain 1 | jq -r .explain.subtask.state)" held "subtask 1"
    assert_equal "$(explain | jq -r '[.explain.reasons[] | select(.reason == "joining") | .worker] | tostring')" "[1]"
    kill -CONT "${workers[@]}"
    touch gate
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_equal "$(sort begun | xargs)" "1 2 3 4" "what was executed"
}

run_cases "$@"
