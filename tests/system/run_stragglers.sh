#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# What takes too long: a subtask that is started a second time, a run that is given up.
. "$(dirname "$0")/lib.sh"

# The first execution of subtask 5 would go on for ever; its second one wins, and the first is ended.
case_a_straggler_is_started_a_second_time() {
    job <<END
mayfly: 1
split: {range: 1-8}
task:
  shell: "if [ {} = 5 ] && mkdir $PWD/once 2>/dev/null; then sleep 1000; fi; echo {}"
  stragglers: {factor: 2, after: 1s}
workers: {count: 2, slots: 1}
END
    succeed
    assert_same "$RUN/result" <(seq 8)
    assert_equal "$(counts)" "8 0 0 0"
    # On a busy machine others may seem slow, too, and the second one may be asked back and given out once more.
    assert_equal "$(query "select attempt > 1, state from attempt where subtask = 5")" "1|done" "who was recorded"
    assert_equal "$(query "select distinct subtask, text from event where kind = 'second attempt' and subtask = 5")" \
        "5|the first one takes much longer than the others took"
}

case_no_second_attempt_when_not_wanted() {
    job <<END
mayfly: 1
split: {range: 1-8}
task:
  shell: "echo {} >>$PWD/begun; if [ {} = 5 ]; then sleep 1; fi; echo {}"
  stragglers: {factor: 0, after: 0s}
workers: {count: 2, slots: 1}
END
    succeed
    assert_equal "$(sort begun | tr '\n' ' ')" "1 2 3 4 5 6 7 8 "
    assert_equal "$(query "select count(*) from event where kind = 'second attempt'")" 0
}

case_a_run_takes_longer_than_its_timeout() {
    job <<END
mayfly: 1
split: {range: 1-20}
task: {shell: "[ {} = 1 ] || { touch $PWD/begun; sleep 1000; }"}
timeout: 1500ms
workers: {count: 2, slots: 2}
END
    run_job
    assert_exit 1
    assert_file begun
    assert_equal "$(summary .state)" failed "state"
    assert_contains err "the run took longer than its timeout"
    assert_equal "$(summary .reason)" "the run took longer than its timeout"
    assert_equal "$(counts)" "1 0 0 19"
    assert_no_file "$RUN/result"
}

run_cases "$@"
