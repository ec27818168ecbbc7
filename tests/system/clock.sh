#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# A master whose date jumps by years while it runs: leases, backoff, credentials and durations follow the clock that
# goes on evenly; only stamps follow the date. (Dates that are off from the start: ssh_bad_system.)
. "$(dirname "$0")/lib.sh"

# A stand-in for mayfly whose date is off by what stands in the file `offset`. Workers have the right one.
make_skewed() {
    local library
    library=$(compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1') || skip "faketime is not installed (package faketime)"
    echo +0 >offset
    cat >skewed <<END
#!/bin/sh
export FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1 FAKETIME_TIMESTAMP_FILE=$PWD/offset LD_PRELOAD=$library
exec "$MAYFLY_BIN" "\$@"
END
    chmod +x skewed
    export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0
}

# Comes back when the master's log has a stamp of then: some of its clock's readings are.
jump() { # YEARS
    echo "${1}y" >offset.new
    mv offset.new offset
    wait_until "grep -q '^$(($(date +%Y) + $1))-' $RUN/master.log"
}

# Milliseconds from the end of the first attempt of a subtask to the start of its second one.
backoff_of() { # SUBTASK
    echo "$(($(cat "began.$1.2") - $(cat "ended.$1.1")))"
}

assert_backoff() { # SUBTASK
    local ms
    ms=$(backoff_of "$1")
    if [ "$ms" -lt 1500 ] || [ "$ms" -gt 10000 ]; then
        fail "the second attempt of subtask $1 began after $ms ms, not after 1.5 s"
    fi
}

case_a_date_that_jumps_while_a_run_goes_on() {
    make_skewed
    job <<END
mayfly: 1
split: {range: 1-20}
task:
  shell: |
    cd $PWD
    if [ {} -gt 2 ]; then echo {}; exit; fi
    if [ -e ended.{}.1 ]; then try=2; else try=1; fi
    date +%s%3N >began.{}.new
    mv began.{}.new began.{}.\$try
    until [ -e gate.{}.\$try ]; do sleep 0.02; done
    date +%s%3N >ended.{}.\$try
    [ \$try = 2 ] && echo {}
  retries: {max: 1, backoff: 1500ms, jitter: none}
workers: {count: 3, slots: 1}
lease: 2s
credentials: {ttl: 5s}
END
    MAYFLY_BIN=$PWD/skewed start_job
    wait_until "[ -e began.1.1 ] && [ -e began.2.1 ]"
    wait_until "grep -q 'generation 2' $RUN/master.log"
    touch gate.1.1
    wait_until "[ -e ended.1.1 ]"
    jump +30
    wait_until "[ -e began.1.2 ]"
    assert_backoff 1
    # Back behind where it began, with another one waiting for its second attempt.
    touch gate.2.1
    wait_until "[ -e ended.2.1 ]"
    jump -20
    wait_until "[ -e began.2.2 ]"
    assert_backoff 2
    wait_until "grep -q 'generation 5' $RUN/master.log"
    touch gate.1.2 gate.2.2
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" <(seq 20)
    assert_equal "$(counts)" "20 0 0 0"
    assert_equal "$(summary '.workers | "\(.launched) \(.lost)"')" "3 0"
    assert_equal "$(summary '.attempts | "\(.total) \(.retried) \(.fenced)"')" "22 2 0"
    assert_equal "$(summary '.seconds | [.[] | . >= 0 and . < 120] | all')" true "durations"
}

run_cases "$@"
