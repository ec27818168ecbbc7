#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2119
# Hosts that have nothing but IPv6: the logins and the run's own connection, whoever dials.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

case_without_ipv4() {
    local address
    hosts_start 1
    address=$(host_address6 1)
    host_exec 1 ip -4 address flush dev eth0
    hosts_are_ready
    gated_job 10 0
    over_ssh succeed "etl@[$address]/2"
    assert_same "$RUN/result" <(seq 10)
    assert_equal "$(verified)" "etl@[$address]"
    assert_contains "$RUN/master.log" "worker 1 joined from [$address]:"
    over_ssh succeed "etl@[$address]/2" --set workers.connect=master
    assert_contains "$RUN/master.log" "worker 1 could not dial this master and was dialed at [$address]:"
    assert_pristine
}

run_cases "$@"
