#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2119
# Hosts that have nothing but IPv6: the logins and the run's own connection, whoever dials.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

case_without_ipv4() {
    local host one two
    hosts_start 2
    one=$(host_address6 1) two=$(host_address6 2)
    host_block_dialling 2
    for host in 1 2; do
        host_exec "$host" ip -4 address flush dev eth0
    done
    hosts_are_ready
    gated_job 40 4
    over_ssh start_job "etl@[$one]/2,etl@[$two]/2"
    await_running 4
    open_gates
    await_end
    assert_complete 40
    assert_equal "$(verified)" "etl@[$one] etl@[$two]"
    assert_contains "$RUN/master.log" "worker 1 joined from [$one]:"
    assert_contains "$RUN/master.log" "worker 2 could not dial this master and was dialed at [$two]:"
    assert_pristine
}

run_cases "$@"
