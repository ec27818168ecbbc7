#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# What happens when subtasks fail: re-tries, time limits, tolerance, and the end of the run.
. "$(dirname "$0")/lib.sh"

case_retries_with_backoff() {
    job <<'END'
mayfly: 1
split: {range: 1-4}
task: {shell: "echo {attempt}; [ {attempt} -ge {} ]", retries: {max: 3, backoff: 100ms, factor: 3, jitter: none}}
workers: {slots: 4}
END
    succeed
    assert_equal "$(tr '\n' ' ' <out)" "1 2 3 4 "
    assert_equal "$(summary '.attempts | "\(.total) \(.retried)"')" "10 6"
    assert_equal "$(query "select group_concat(state) from (select state from attempt where subtask = 3 order by id)")" \
        "retried,retried,done"
    # The waits before attempts 2, 3 and 4 of subtask 4: at least 100, 300 and 900 ms.
    assert_equal "$(query "select count(*) from attempt a join attempt b on b.id = a.id + 1
        where a.subtask = 4 and b.started_us - a.ended_us >= case a.attempt when 1 then 100000 when 2 then 300000
        else 900000 end - 20000")" 3 "waits that are long enough"
}

case_attempts_used_up() {
    job <<'END'
mayfly: 1
split: {range: 1-3}
task: {shell: "[ {} != 2 ]", retries: {max: 2, backoff: 10ms}}
END
    run_job
    assert_exit 1
    assert_equal "$(counts)" "2 0 1 0"
    assert_equal "$(query "select count(*), max(exit_code), min(cause) from attempt where subtask = 2")" "3|1|exit"
}

case_final_codes_are_not_tried_again() {
    job <<'END'
mayfly: 1
split: {list: [64, 65, 0]}
task: {shell: "exit {}", retries: {max: 2, backoff: 10ms, final_codes: [64]}}
END
    run_job
    assert_exit 1
    assert_equal "$(counts)" "1 1 1 0"
    assert_equal "$(query "select subtask, count(*), max(state) from attempt group by subtask" | tr '\n' ' ')" \
        "1|1|failed 2|3|retried 3|1|done "
}

case_time_limit() {
    job <<'END'
mayfly: 1
split: {range: 1-2}
task: {shell: "[ {} = 1 ] || { echo before; sleep 1000 & sleep 1000; }", timeout: 300ms}
END
    run_job
    assert_exit 1
    assert_equal "$(query "select cause, signal from attempt where subtask = 2")" "timeout|15"
}

case_tolerate_a_count() {
    job <<'END'
mayfly: 1
split: {range: 1-10}
task: {shell: "echo {}; [ {} -gt 2 ]"}
tolerate: 2
END
    run_job
    assert_exit 0
    assert_equal "$(summary .state)" partial
    assert_same out <(seq 3 10)
    run_job --set tolerate=1
    assert_exit 1
    assert_equal "$(summary .state)" failed
    assert_equal "$(counts)" "8 0 2 0" "the rest still runs"
}

case_tolerate_a_share() {
    job <<'END'
mayfly: 1
split: {range: 1-10}
task: {shell: "[ {} != 5 ]"}
END
    run_job --set tolerate=10%
    assert_exit 0
    assert_equal "$(summary .state)" partial
    run_job --set tolerate=9%
    assert_exit 1
    assert_equal "$(summary .state)" failed
}

case_stop_on_failure() {
    job <<'END'
mayfly: 1
split: {range: 1-2000}
task: {shell: "[ {} != 1 ] || exit 9; sleep 0.2"}
on_failure: stop
workers: {slots: 2}
END
    run_job
    assert_exit 1
    assert_equal "$(summary .state)" failed
    counts >/dev/null
    [ "$(summary .subtasks.cancelled)" -gt 1900 ] || fail "too few were cancelled: $(summary .subtasks)"
}

case_standard_error_is_kept() {
    job <<'END'
mayfly: 1
split: {range: 1-2}
task: {shell: "echo said {} >&2; echo result {}; [ {} = 1 ]"}
END
    run_job
    assert_exit 1
    assert_equal "$(query "select state from attempt order by id" | tr '\n' ' ')" "done dead "
    [ -s "$RUN/logs/index" ] || fail "no log was kept"
}

case_prepare_makes_the_input() {
    cat >extract.sh <<'END'
#!/bin/sh
echo "prepared for $MAYFLY_RUN" >&2
for n in 1 2 3; do echo "$1 $n" >"$MAYFLY_PREPARED/part$n.txt"; done
END
    chmod +x extract.sh
    job <<'END'
mayfly: 1
prepare: [./extract.sh, part]
split: {files: "$MAYFLY_PREPARED/*.txt"}
task: {shell: "cat {path}; ls \"$MAYFLY_PREPARED\" | wc -l"}
END
    succeed
    assert_equal "$(cat out)" "$(printf 'part 1\n3\npart 2\n3\npart 3\n3')"
}

case_prepare_that_fails_ends_the_run() {
    job <<'END'
mayfly: 1
prepare: "echo its last words >&2; exit 7"
split: {range: 1-2}
task: {command: [echo, "{}"]}
END
    mayfly run job.yaml
    assert_equal "$CODE" 1 "exit code of a run whose prepare failed"
    assert_contains err "prepare"
    assert_contains err 7
    assert_contains err "its last words"
    assert_equal "$(find "$XDG_STATE_HOME" -name keys -o -name control.sock)" ""
}

run_cases "$@"
