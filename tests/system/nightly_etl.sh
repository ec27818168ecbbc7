#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # what stands in single quotes is meant as it is
# jobs/nightly-etl: what is due fires by a tick, once, and is the ETL of jobs/etl-packages.
. "$(dirname "$0")/lib.sh"
SOURCE=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")

rows() { # SQL, on queues.db
    sqlite3 -batch "$XDG_STATE_HOME/mayfly/queues.db" "$1"
}

# All from the first step on.
steps_of() { # JOB
    sed -n '/^# Extract:/,$p' "$SOURCE/jobs/$1/job.yaml"
}

case_it_is_the_etl_of_etl_packages() {
    assert_same <(steps_of nightly-etl) <(steps_of etl-packages)
    assert_same "$SOURCE/jobs/nightly-etl/transform.awk" "$SOURCE/jobs/etl-packages/transform.awk"
    [ "$(steps_of nightly-etl | wc -l)" -gt 40 ] || fail "the steps of the job were not found"
}

# A small package list in place of the machine's: the job's real one is that of etl_jobs.sh.
make_lists() {
    mkdir lists
    printf 'Package: %s\nVersion: 1\nSection: libs\nInstalled-Size: 2\nSize: 3\nMaintainer: A\nDepends: %s\n\n' \
        libc6 libgcc-s1 hello libc6 bash libc6 >lists/here_Packages
}

# Three nights were missed: one run for all of them. Without jitter, so that this is so at any time of the day.
case_missed_nights_are_made_up_for_once() {
    make_lists
    cp -rL "$SOURCE/jobs/nightly-etl" nightly-etl
    sed -i -e 's/^  jitter: .*/  jitter: 0s/' \
        -e "s|^prepare: .*|prepare: [env, MAYFLY_APT_LISTS=$PWD/lists, ./prepare.sh]|" nightly-etl/job.yaml
    mayfly trigger install nightly-etl/job.yaml --scheduler none
    assert_exit 0
    mayfly trigger tick
    assert_equal "$(rows 'select count(*) from firing')" 0 "fired without being due"
    rows 'update trigger set last_due_us = last_due_us - 3 * 86400000000'
    mayfly trigger tick
    mayfly trigger tick
    assert_equal "$(rows 'select count(*), cause from firing')" '1|cron'
    RUN_ID=$(rows 'select run_id from firing')
    RUN=$XDG_STATE_HOME/mayfly/runs/$RUN_ID
    wait_until '[ "$(rows "select state from firing")" != open ]'
    assert_equal "$(summary .state)" succeeded
    assert_same "$RUN/result" - <<'END'
kind,name,packages,maintainers,installed_kib,download_bytes
section,libs,3,1,6,9
needed,libc6,2,1,4,6
needed,libgcc-s1,1,1,2,3
END
    assert_nothing_left "$RUN_ID"
}

run_cases "$@"
