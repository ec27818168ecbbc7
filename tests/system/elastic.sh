#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# A number of workers that follows the work: they end early when it dries up, and come again with it.
. "$(dirname "$0")/lib.sh"

# Subtask 1 goes on until the others are done; these fail at first, and wait for longer than idle workers stay.
case_workers_go_and_come_again() {
    job <<END
mayfly: 1
split: {range: 1-4}
task:
  shell: |
    case {} in
    1) until [ -e $PWD/done-2 ] && [ -e $PWD/done-3 ] && [ -e $PWD/done-4 ]; do sleep 0.05; done ;;
    *) if mkdir $PWD/tried-{} 2>/dev/null; then sleep 0.4; exit 1; fi; touch $PWD/done-{} ;;
    esac
    echo {}
  retries: {max: 2, backoff: 3s, jitter: none}
  stragglers: {factor: 0}
workers: {hosts: [":", ":", ":", ":"], min: 1, max: 9, idle: 1s, slots: 1} # each place is used again
END
    start_job
    wait_until '"$MAYFLY_BIN" status "$RUN_ID" | grep -q "[3-9] let go; [1-4] wanted of 1 to 4"'
    await_end
    assert_exit 0
    assert_same "$RUN/result" <(seq 4)
    assert_equal "$(counts)" "4 0 0 0"
    assert_equal "$(summary .workers.lost)" 0 "lost workers"
    # The first four, three of which ended while subtask 1 ran; those that came again ran the rest.
    assert_equal "$(query "select count(*) from worker where state <> 'gone' or verified_by <> 'sweep'")" 0
    assert_equal "$(query "select count(*) from worker where id <= 4 and ended_us < (select min(launched_us)
        from worker where id > 4)")" 3 "workers that ended early"
    assert_equal "$(query "select count(*) from attempt where subtask > 1 and state = 'done' and worker > 4") of \
$(query "select count(*) > 4 and count(*) <= 7 from worker")" "3 of 1" "what later workers did"
    assert_equal "$(summary '.workers.let_go >= 3')" true "let go"
    assert_cost_adds_up
}

run_cases "$@"
