#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mayfly trigger next: what it says of expressions, of job files and of what is installed.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$(readlink -f "$0")")/lib.sh"

at() { # TIME ARGUMENT...: `mayfly trigger next` at that time (UTC)
    CODE=0
    # A sanitizer wants to be the first library; faketime is.
    ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0 TZ=UTC faketime -f "@$1" "$MAYFLY_BIN" trigger next "${@:2}" >out 2>err </dev/null || CODE=$?
    assert_exit 0
}

case_clock_changes_are_explained() {
    at '2026-03-28 12:00:00' '30 2 * * *' --zone Europe/Vienna -n 2
    assert_contains out '30 2 * * * in Europe/Vienna'
    assert_contains out 'Sun 2026-03-29 03:00:00 +02:00 CEST  2026-03-29T01:00:00Z'
    assert_contains out 'the clock goes from 02:00 to 03:00 here: it stands for what is due in between'
    assert_contains out 'Mon 2026-03-30 02:30:00 +02:00 CEST  2026-03-30T00:30:00Z'
    at '2026-10-24 12:00:00' '30 2 * * *' --zone Europe/Vienna -n 2
    assert_contains out 'the clock shows this time twice: it fires the first time only'
    assert_contains out 'the clock has changed from +02:00 to +01:00'
    at '2026-10-24 23:30:00' '0 * * * *' --zone Europe/Vienna -n 3 --json
    assert_equal "$(jq -r '.[0].times[] | "\(.time) \(.local) \(.note)"' out)" \
        "2026-10-25T00:00:00.000Z 2026-10-25T02:00:00+02:00 the clock shows this time twice: this is the first
2026-10-25T01:00:00.000Z 2026-10-25T02:00:00+01:00 the clock shows this time for the second time
2026-10-25T02:00:00.000Z 2026-10-25T03:00:00+01:00 null"
    at '2026-10-03 15:00:00' '15 2 * * *' --zone Australia/Lord_Howe -n 1
    assert_contains out '2026-10-04 02:30:00 +11:00'
    assert_contains out 'the clock goes from 02:00 to 02:30 here'
}

case_bad_expressions_are_refused() {
    mayfly trigger next '0 25 * * *'
    assert_exit 2
    assert_contains err 'hour (field 2), position 3: "25" is out of range; expected 0 to 23'
    mayfly trigger next '0 2 30 2 *'
    assert_exit 2
    assert_contains err 'never fires'
    mayfly trigger next @daily --zone Mars/Olympus
    assert_exit 2
    assert_contains err 'time zone "Mars/Olympus" is unknown'
    mayfly trigger next 0 2 1 1 1
    assert_exit 2
    assert_contains err 'put it in quotes'
    mayfly trigger next nightly
    assert_exit 2
    mayfly trigger next @daily -n 0
    assert_exit 2
}

case_what_is_installed_is_explained() {
    mkdir nightly bin
    cat >nightly/job.yaml <<'END'
mayfly: 1
name: nightly
split: {range: 1-2}
task: {shell: "echo {}"}
trigger: {cron: "0 2 * * mon-fri", zone: Europe/Vienna, jitter: 30s, overlap: queue}
END
    printf '#!/bin/sh\necho "no crontab for you" >&2\nexit 1\n' >bin/crontab
    chmod +x bin/crontab
    export PATH=$PWD/bin:$PATH
    mayfly trigger next nightly
    assert_exit 0
    assert_contains out 'nightly: 0 2 * * mon-fri in Europe/Vienna'
    assert_contains out 'not installed'
    mayfly trigger install nightly --scheduler none
    assert_exit 0
    mayfly trigger next nightly -n 3
    assert_exit 0
    assert_not_contains out 'not installed'
    assert_contains out 'late by up to 30.0 s (jitter)'
    assert_contains out 'overlap: queue'
    assert_contains out 'neither your crontab nor your systemd has an entry'
    assert_equal "$(grep -c ' 02:00:00 ' out)" 3
    sqlite3 "$XDG_STATE_HOME/mayfly/queues.db" \
        'UPDATE trigger SET last_due_us = last_due_us - 14 * 86400000000, waiting = 2'
    mayfly trigger next --json
    assert_exit 0
    assert_equal "$(jq -r '.[0] | "\(.job) \(.cron) \(.zone) \(.times | length)"' out)" \
        'nightly 0 2 * * mon-fri Europe/Vienna 1'
    assert_contains out 'times were missed'
    assert_contains out 'due now: 1 time; the next tick sees to it'
    assert_contains out '2 firings wait for the run that goes on'
    sed -i 's/mon-fri/mon-sat/' nightly/job.yaml
    mayfly trigger next nightly/job.yaml
    assert_exit 0
    assert_contains out 'was installed, so it starts nothing until that is said again'
}

run_cases "$@"
