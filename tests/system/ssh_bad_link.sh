#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts on which a worker can be started, and no more.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_bad_lib.sh"

# Neither side gets through: the host is left out in time, and its worker ended.
case_nobody_gets_through() {
    hosts_start 2
    host_block_dialling 2
    hosts_are_ready
    small_job 4
    over_ssh run_job --hosts "$(entries 2)" --set workers.connect=worker
    assert_exit 3
    assert_contains err "left out: etl@10.77.0.2: the worker was started, but it cannot dial this master: let TCP through in one direction, on ports above 1023, or name an address of this machine that it can dial with --advertise"
    assert_contains err "mayfly: no worker is left, and none may be launched any more: etl@10.77.0.2: the worker was started"
    assert_equal "$(summary '.hosts[0] | "\(.verified) \(.verified_by)"')" "true sweep"
    assert_hosts_clean
}

run_cases "$@"
