#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Runs over SSH that are cancelled while their launches are still under way, for hosts hang: they end without waiting
# for those, and what was begun is looked for.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

# Two hosts hang in their handshake, one works.
case_cancel_while_hosts_hang() {
    hosts_start 2
    host_hang 2 2000
    host_hang 2 2001 $'SSH-2.0-silent\r\n'
    gated_job 100 100
    over_ssh start_job "$(entries 1/2),etl@10.77.0.2:2000,etl@10.77.0.2:2001"
    await_running 2
    "$MAYFLY_BIN" status "$RUN_ID" --json --explain >shown
    assert_equal "$(jq -r '[.explain.reasons[] | select(.reason == "launching") | .host] | sort | join(" ")' shown)" \
        "etl@10.77.0.2:2000 etl@10.77.0.2:2001" "the hosts that are waited for"
    asked=$SECONDS
    "$MAYFLY_BIN" cancel "$RUN_ID" >cancelled 2>&1 || fail "$(cat cancelled)"
    assert_ended 4 cancelled
    assert_equal "$(counts)" "0 0 0 100"
    assert_equal "$(summary '.hosts | length')" 1 "hosts where something was begun"
    assert_equal "$(verified)" etl@10.77.0.1
    assert_pristine
}

# The shell of one hangs behind the login: what was begun there is not known, so it is looked for, and that hangs, too.
case_cancel_while_a_shell_hangs() {
    hosts_start 2
    host_program 2 sh <<'END'
#!/bin/bash
exec /bin/sleep 1000
END
    gated_job 100 100
    over_ssh start_job "$(entries 1/2 2)"
    await_running 2
    wait_until 'host_processes 2 | grep -q "sleep 1000"'
    asked=$SECONDS
    "$MAYFLY_BIN" cancel "$RUN_ID" >cancelled 2>&1 || fail "$(cat cancelled)"
    assert_ended 4 cancelled 30
    assert_equal "$(verified)" etl@10.77.0.1
    assert_contains err "etl@10.77.0.2: NOT verified: etl@10.77.0.2: no answer to a command within 20 s"
    assert_pristine 1
}

run_cases "$@"
