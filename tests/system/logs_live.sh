#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # what stands in single quotes is meant as it is
# Logs come home as they grow: what runs can be read, and at the end everything is there once.
. "$(dirname "$0")/lib.sh"

# Subtasks that print a line to each stream, wait for the file `gate`, and print another one.
gated_job() { # SUBTASKS END_OF_THE_LINE [WORKERS...]
    job <<END
mayfly: 1
split: {range: 1-$1}
task: {shell: "echo out {}; echo err {} >&2; until [ -e $PWD/gate ]; do sleep 0.05; done; echo end {}; echo END {} >&2; $2"}
workers: ${3:-{count: 1, slots: 2\}}
END
}

logs() {
    "$MAYFLY_BIN" logs "$RUN_ID" "$@"
}

logs_are() { # WANTED [ARGUMENT...]
    local wanted=$1
    shift
    assert_equal "$(logs "$@")" "$wanted" "mayfly logs $*"
}

logs_have() { # LINE [ARGUMENT...]
    local line=$1
    shift
    logs "$@" | grep -qxF -e "$line"
}

live_what_runs_is_shown_and_then_stands_once() {
    gated_job 2 true
    start_job
    wait_until 'logs_have "1 stdout: out 1" && logs_have "2 stdout: out 2" && logs_have "2 stderr: err 2"'
    assert_equal "$(logs | sort)" $'1 stderr: err 1\n1 stdout: out 1\n2 stderr: err 2\n2 stdout: out 2'
    logs_are $'err 1\n[attempt 1, stdout]\nout 1' 1
    logs_are "out 2" 2 --stdout
    logs_are "err 2" 2 --stderr
    logs_are "" 2 -a 2
    logs_are "out 2" 2 --stdout --worker 1
    logs_are "" 2 --worker 2
    logs_are "" --stdout --worker 2
    assert_equal "$(find "$RUN/live" -type f | wc -l)" 2 "files of attempts that run"
    touch gate
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_no_file "$RUN/live"
    assert_same "$RUN/result" <(printf 'out 1\nend 1\nout 2\nend 2\n')
    assert_equal "$(query "select subtask || ':' || cast(result as text) from attempt order by subtask")" \
        $'1:out 1\nend 1\n\n2:out 2\nend 2'
    assert_equal "$(logs | sort)" $'1 stderr: END 1\n1 stderr: err 1\n2 stderr: END 2\n2 stderr: err 2'
    logs_are $'err 1\nEND 1' 1
}

live_a_failing_one_has_its_output_once() {
    gated_job 1 "exit 3"
    start_job
    wait_until 'logs_have "1 stdout: out 1" && logs_have "1 stderr: err 1"'
    touch gate
    await_end
    assert_exit 1
    assert_nothing_left "$RUN_ID"
    assert_no_file "$RUN/live"
    logs_are $'out 1\nend 1' 1 --stdout
    logs_are $'err 1\nEND 1' 1 --stderr
}

# A result above 64 KiB of which a part was shown is whole, and so is one that is cut out of a larger buffer.
live_large_results_are_whole() {
    job <<END
mayfly: 1
split: {list: [30000, 65536, 65537, 300000]}
task: {shell: "yes {} | head -c {}; until [ -e $PWD/gate ]; do sleep 0.05; done; yes end | head -c {}"}
workers: {slots: 4}
END
    start_job
    wait_until '[ "$(find "$RUN/live" -type f -size +29999c | wc -l)" = 4 ]'
    touch gate
    await_end
    assert_exit 0
    local size
    for size in 30000 65536 65537 300000; do
        head -c "$size" <(yes "$size")
        head -c "$size" <(yes end)
    done >wanted 2>/dev/null
    assert_same "$RUN/result" wanted
    assert_equal "$(query "select group_concat(result is null) from (select result from attempt order by subtask)")" 0,1,1,1
}

case_a_killed_worker_leaves_what_it_had_sent() {
    gated_job 2 true
    start_job
    wait_until 'logs_have "1 stdout: out 1" && logs_have "2 stdout: out 2" && logs_have "1 stderr: err 1"'
    # shellcheck disable=SC2046
    kill -KILL $(workers_of "$RUN_ID")
    wait_until "grep -q 'is lost' $RUN/master.log"
    wait_until 'logs_have "1.2 stdout: out 1"' # the next attempt, while the first is history
    logs_have "1 stdout: out 1" || fail "standard output of the lost attempt is gone: $(logs)"
    logs_have "1 stderr: err 1" || fail "standard error of the lost attempt is gone: $(logs)"
    # The victims are named: to the user, and in the table of events.
    grep -qE "^mayfly: worker 1 on this machine is lost with subtasks (1, 2|2, 1) " err || fail "$(cat err)"
    assert_equal "$(query "select distinct subtask from event where kind = 'lost' order by subtask" | xargs)" "1 2"
    touch gate
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_equal "$(logs 1 -a 1 --stdout)" "out 1"
    assert_equal "$(logs 1 -a 1 --stderr)" "err 1"
    assert_equal "$(logs 1 -a 2)" $'err 1\nEND 1'
    assert_same "$RUN/result" <(printf 'out 1\nend 1\nout 2\nend 2\n')
}

live_a_killed_slot_leaves_what_it_had_told() {
    gated_job 1 true "{slots: 1}"
    start_job
    wait_until 'logs_have "1 stdout: out 1" && logs_have "1 stderr: err 1"'
    # shellcheck disable=SC2046
    kill -KILL $(slots_of "$RUN_ID")
    wait_until 'logs_have "1.2 stdout: out 1"'
    touch gate
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_equal "$(logs 1 -a 1 --stdout)" "out 1"
    assert_equal "$(logs 1 -a 1 --stderr)" "err 1"
}

live_follow_sees_lines_as_they_come() {
    job <<END
mayfly: 1
split: {range: 1-3}
task: {shell: "echo a{}; echo A{} >&2; until [ -e $PWD/gate{} ]; do sleep 0.05; done; echo b{}; echo B{} >&2; until [ -e $PWD/gate ]; do sleep 0.05; done; printf c{}; [ {} != 2 ]"}
workers: {slots: 3}
END
    start_job
    "$MAYFLY_BIN" logs "$RUN_ID" --follow >followed 2>follow_err &
    local follower=$! code=0 stream="stdout: a stderr: A"
    wait_until "[ \"\$(wc -l <followed)\" = 6 ]"
    touch gate2
    wait_until "grep -qx '2 stdout: b2' followed && grep -qx '2 stderr: B2' followed"
    ! grep -q ' b1$' followed || fail "followed too far: $(cat followed)"
    touch gate1 gate3
    wait_until "[ \"\$(wc -l <followed)\" = 12 ]"
    touch gate
    await_end
    wait_until "has_ended $follower"
    wait "$follower" || code=$?
    assert_equal "$code" 0 "exit code of logs --follow"
    assert_equal "$(cat follow_err)" ""
    # Each line once, the last one too, be it from the results, be it from the log of a failed one.
    local wanted="" i
    for i in 1 2 3; do
        for stream in "stderr: A" "stderr: B" "stdout: a" "stdout: b" "stdout: c"; do
            wanted+="$i $stream$i"$'\n'
        done
    done
    assert_equal "$(LC_ALL=C sort followed)" "${wanted%$'\n'}" "what was followed"
}

# Of results that are files the follower reads the rest, too; what it shows is the output of the attempt.
live_follow_to_the_end_of_a_large_result() {
    job <<END
mayfly: 1
split: {range: 1-1}
task: {shell: "seq 20000; until [ -e $PWD/gate ]; do sleep 0.05; done; seq 20001 40000"}
END
    start_job
    "$MAYFLY_BIN" logs "$RUN_ID" 1 -f >followed &
    local follower=$!
    wait_until "[ \"\$(wc -l <followed)\" -ge 20000 ]"
    touch gate
    await_end
    wait_until "has_ended $follower"
    assert_same followed <(seq 40000)
}

live_a_flood_is_cut_and_marked_once() {
    job <<END
mayfly: 1
split: {range: 1-2}
task:
  shell: "yes {} | head -c 100000; yes {} | head -c 100000 >&2; until [ -e $PWD/gate ]; do sleep 0.05; done; yes x | head -c 100000 >&2; [ {} = 1 ]"
  log: {max: 20KiB}
workers: {slots: 2}
END
    start_job
    wait_until '[ "$(logs 2 | wc -c)" -ge 40960 ]'
    touch gate
    await_end
    assert_exit 1
    local stream
    assert_equal "$(logs 1 | grep -c 'bytes cut')" 1
    for stream in stderr stdout; do
        assert_equal "$(logs 2 "--$stream" | grep -c 'bytes cut')" 1 "marks of $stream"
        assert_equal "$(logs 2 "--$stream" | grep -vc '^2$')" 1 "other lines of $stream"
        assert_equal "$(logs 2 "--$stream" | grep -v 'bytes cut' | wc -c)" 20480 "bytes of $stream"
    done
    logs_have "[... 179520 bytes cut ...]" 1 --stderr || fail "$(logs 1 | tail -n 1)"
    assert_equal "$(query "select result_bytes from attempt where subtask = 1")" 100000
}

live_many_slots() {
    gated_job 40 "[ {} -gt 3 ]" "{count: 2, slots: 20}"
    start_job
    wait_until '[ "$(logs | grep -c " stdout: out ")" = 40 ] && [ "$(logs | grep -c " stderr: err ")" = 40 ]'
    assert_equal "$(logs | sort -u | wc -l)" 80
    touch gate
    await_end
    assert_exit 1
    assert_nothing_left "$RUN_ID"
    assert_equal "$(logs --stderr | LC_ALL=C sort)" \
        "$(for i in $(seq 40); do printf '%s stderr: END %s\n%s stderr: err %s\n' "$i" "$i" "$i" "$i"; done | LC_ALL=C sort)"
    assert_equal "$(logs --stdout | LC_ALL=C sort)" \
        "$(for i in 1 2 3; do printf '%s stdout: end %s\n%s stdout: out %s\n' "$i" "$i" "$i" "$i"; done | LC_ALL=C sort)"
}

live_a_killed_master_leaves_what_it_had() {
    gated_job 1 true
    start_job --set lease=1s --set orphan_limit=1s
    wait_until 'logs_have "1 stdout: out 1"'
    kill -KILL "$PID"
    wait_until "is_all_gone $RUN_ID"
    logs_are "out 1" 1 --stdout
    "$MAYFLY_BIN" clean "$RUN_ID" >/dev/null 2>&1
    assert_no_file "$RUN"
}

# What ends with an error sends the end of its log, with the reason.
live_the_last_words_of_a_worker() {
    gated_job 1 true "{slots: 1}"
    start_job
    wait_until 'logs_have "1 stdout: out 1"'
    # shellcheck disable=SC2046
    kill -TERM $(workers_of "$RUN_ID")
    wait_until "grep -q 'is lost' $RUN/master.log"
    touch gate
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    logs --worker 1 >log1
    assert_contains log1 "ended by signal 15"
    logs --worker 2 >log2
    assert_equal "$(tail -n 1 log2 | cut -d' ' -f2-)" "info dismissed"
    logs_are "out 1" 1 -a 1 --stdout
    logs_are "out 1" 1 --worker 1 --stdout # that is the same, and the second attempt ran on worker 2
    logs_are "1.2 stderr: err 1"$'\n'"1.2 stderr: END 1" --worker 2 --stderr
}

# One subtask, as its bytes are: until it has ended, or that attempt of it, whatever else still runs.
live_follow_ends_with_its_subtask() {
    job <<END
mayfly: 1
split: {range: 1-2}
task:
  shell: "printf %s out{}.{attempt}; printf %s err{}.{attempt} >&2; until [ -e $PWD/gate{}.{attempt} ]; do sleep 0.05; done; printf E >&2; [ {attempt} = 2 ]"
  retries: {max: 1, backoff: 0s}
workers: {slots: 2}
END
    start_job
    wait_until 'logs | grep -q "^1 stderr: err1.1" && logs | grep -q "^2 stdout: out2.1"'
    local code=0 whole first interrupted
    "$MAYFLY_BIN" logs "$RUN_ID" 1 -f --stderr >whole 2>whole_err &
    whole=$!
    "$MAYFLY_BIN" logs "$RUN_ID" 1 -f -a 1 --stdout >first 2>first_err &
    first=$!
    # Who is not read any more ends, though nothing is written; who is interrupted does, too.
    "$MAYFLY_BIN" logs "$RUN_ID" --follow --stderr | head -c 1 >/dev/null || code=$?
    [ "$code" = 0 ] || [ "$code" = 141 ] || fail "logs into a closed pipe: exit code $code"
    env --default-signal=INT "$MAYFLY_BIN" logs "$RUN_ID" --follow >all &
    interrupted=$!
    wait_until "[ -s all ]"
    kill -INT "$interrupted"
    wait_until "has_ended $interrupted"
    code=0
    wait "$interrupted" || code=$?
    assert_equal "$code" 130 "exit code after Ctrl-C"
    touch gate1.1
    wait_until "has_ended $first"
    assert_same first <(printf out1.1)
    ! has_ended "$whole" || fail "it ended with the first attempt: $(cat whole_err)"
    touch gate1.2
    wait_until "has_ended $whole"
    assert_same whole <(printf 'err1.1E\n[attempt 2, stderr]\nerr1.2E')
    assert_equal "$(cat whole_err first_err)" ""
    ! has_ended "$PID" || fail "the run has ended"
    touch gate2.1 gate2.2
    await_end
    assert_exit 0
    assert_same <(logs 1 -a 2 --stderr --worker 1) <(printf err1.2E)
    assert_same <(logs 1 -f -a 1 --stdout) <(printf out1.1)
}

refused() { # WORDS ARGUMENT...
    mayfly logs "$RUN_ID" "${@:2}"
    assert_exit 2
    assert_equal "$(cat out)" ""
    assert_contains err "$1"
}

# Also of one that timed out, and of a run that came to its end by another master.
live_what_is_not_there_is_said() {
    gated_job 2 true "{count: 1, slots: 1}"
    start_job
    wait_until 'logs_have "1 stdout: out 1"'
    mayfly logs "$RUN_ID" 2
    assert_exit 0
    assert_contains err "subtask 2 of $RUN_ID has written nothing so far, and no attempt of it is recorded"
    refused "run $RUN_ID has no subtask 3: it has 1 to 2" 3 --follow
    refused "run $RUN_ID has no worker 2 so far: it has 1" --worker 2
    kill -KILL "$PID"
    wait "$PID" 2>/dev/null || :
    touch gate
    mayfly resume "$RUN_ID"
    assert_exit 0
    assert_same <(logs 1 --stderr) <(printf 'err 1\nEND 1\n')
    refused "subtask 1 of run $RUN_ID has no attempt 7: the last one that is recorded is 1" 1 -a 7
    refused "run $RUN_ID has no worker 9: it has 1" 1 --worker 9
    rm -r "$XDG_STATE_HOME/mayfly/runs"
    job <<'END'
mayfly: 1
split: {range: 1-1}
task: {shell: "printf abc; printf xyz >&2; sleep 100", timeout: 300ms, kill_after: 100ms}
END
    run_job
    assert_exit 1
    assert_same <(logs 1 --stdout) <(printf abc)
    assert_same <(logs 1 --stderr) <(printf xyz)
}

# They wait for what comes home each second: side by side.
case_live() {
    AT_ONCE=20 each_at_once live_case what_runs_is_shown_and_then_stands_once \
        a_failing_one_has_its_output_once \
        large_results_are_whole \
        a_killed_slot_leaves_what_it_had_told \
        follow_sees_lines_as_they_come \
        follow_to_the_end_of_a_large_result \
        a_flood_is_cut_and_marked_once \
        many_slots \
        a_killed_master_leaves_what_it_had \
        the_last_words_of_a_worker \
        follow_ends_with_its_subtask \
        what_is_not_there_is_said
}

live_case() {
    "live_$1"
}

run_cases "$@"
