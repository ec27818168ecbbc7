#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The unit file of a watcher, as it is installed: systemd finds nothing wrong with it, and its runs outlive it.
. "$(dirname "$0")/lib.sh"

# The unit with the program of this build, as an instance for /srv/jobs.
make_unit() {
    mkdir -p units runtime
    sed "s|^ExecStart=[^ ]*|ExecStart=$MAYFLY_BIN|" "$MAYFLY_BUILD/master/watch/mayfly-watch@.service" \
        >units/mayfly-watch@.service
}

verify() { # NAME: sets CODE
    command -v systemd-analyze >/dev/null || skip "systemd-analyze is not there (package systemd)"
    local runtime=$PWD/runtime
    CODE=0
    (cd units && XDG_RUNTIME_DIR=$runtime systemd-analyze verify --user "$1") >out 2>&1 || CODE=$?
}

case_systemd_finds_nothing_wrong() {
    make_unit
    verify ./mayfly-watch@srv-jobs.service
    assert_equal "$CODE $(cat out)" "0 "
    verify ./mayfly-watch@.service
    assert_equal "$CODE $(cat out)" "0 "
}

# What is looked at can fail.
case_a_wrong_unit_is_found_out() {
    make_unit
    sed -i "s|^ExecStart=.*|ExecStart=$WORK/no-such-program|" units/mayfly-watch@.service
    verify ./mayfly-watch@srv-jobs.service
    [ "$CODE" -ne 0 ] || fail "a program that is not there was not noticed"
}

case_it_says_what_a_watcher_relies_on() {
    local unit=$MAYFLY_BUILD/master/watch/mayfly-watch@.service line
    for line in Type=notify KillMode=process Restart=on-failure; do
        grep -qxF "$line" "$unit" || fail "$unit does not say $line"
    done
    assert_contains "$unit" "trigger watch %f"
    assert_not_contains "$unit" @CMAKE
}

run_cases "$@"
