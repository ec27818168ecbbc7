#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# A number of workers that follows the work: they end early when it dries up, and come again with it.
. "$(dirname "$0")/lib.sh"

# All four are tried at once, by four workers. Subtask 1 goes on until the others are done; these fail until the file
# `few` says that the workers that have nothing to do are gone: each retry waits for longer than idle workers stay.
case_workers_go_and_come_again() {
    job <<END
mayfly: 1
split: {range: 1-4}
task:
  shell: |
    touch $PWD/tried-{}
    all() { [ -e $PWD/\$1-2 ] && [ -e $PWD/\$1-3 ] && [ -e $PWD/\$1-4 ]; }
    until all tried && [ -e $PWD/tried-1 ]; do sleep 0.05; done
    case {} in
    1) until all done; do sleep 0.05; done ;;
    *) [ -e $PWD/few ] || exit 1; touch $PWD/done-{} ;;
    esac
    echo {}
  retries: {max: 100, backoff: 3s, jitter: none}
  stragglers: {factor: 0}
workers: {hosts: [":", ":", ":", ":"], min: 1, max: 9, idle: 1s, slots: 1} # each place is used again
END
    start_job
    wait_until '[ "$(query "select count(*) from worker where id <= 4 and ended_us is not null")" = 3 ]'
    wait_until '"$MAYFLY_BIN" status "$RUN_ID" | grep -qE "([3-9]|[1-9][0-9]+) let go; [1-4] wanted of 1 to 4"'
    touch few
    await_end
    assert_exit 0
    assert_same "$RUN/result" <(seq 4)
    assert_equal "$(counts)" "4 0 0 0"
    assert_equal "$(summary .workers.lost)" 0 "lost workers"
    assert_equal "$(query "select count(*) from worker where state <> 'gone' or verified_by <> 'sweep'")" 0
    assert_equal "$(query "select count(*) from attempt where subtask > 1 and state = 'done' and worker > 4")" 3 \
        "what later workers did"
    assert_equal "$(query "select max((select count(*) from worker b where b.launched_us <= a.launched_us
        and b.ended_us > a.launched_us)) from worker a")" 4 "workers at once"
    assert_equal "$(summary '.workers.let_go >= 3')" true "let go"
    assert_cost_adds_up
}

run_cases "$@"
