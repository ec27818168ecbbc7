#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Workers on hosts that die or stand still, and an sshd that ends, in the middle of a run: it goes on, its result is
# right, and of each host is said what is known.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

case_sshd_ends_after_the_launch() {
    hosts_start 3
    gated_job 60 6
    over_ssh start_job "$(entries 1/2 2/2 3/2)"
    await_running 6
    host_stop_sshd 2
    open_gates
    await_end
    assert_complete 60
    assert_equal "$(summary '.workers | "\(.launched) \(.lost) \(.verified_gone) \(.unverified)"')" "3 0 2 1"
    assert_equal "$(verified)" "etl@10.77.0.1 etl@10.77.0.3"
    assert_equal "$(summary '.hosts[] | select(.verified | not) | "\(.host): \(.verified_by): \(.left)"')" \
        "etl@10.77.0.2: none: cannot connect to 10.77.0.2 (Connection refused): is sshd running there, and on this port?"
    assert_contains err "2 of 3 hosts verified"
    assert_contains err "etl@10.77.0.2: NOT verified: cannot connect to 10.77.0.2 (Connection refused)"
    assert_equal "$(query "select group_concat(verified_by) from (select verified_by from worker order by id)")" \
        sweep,none,sweep
    assert_nothing_left "$RUN_ID"
    # The worker itself has cleaned up all the same; the program is what only the sweep removes.
    assert_pristine program 2
    assert_pristine 1 3
}

case_a_worker_is_killed() {
    local killed
    hosts_start 3
    gated_job 60 6
    over_ssh start_job "$(entries 1/2 2/2 3/2)" --set lease=2s --set orphan_limit=60s
    await_running 6
    killed=$(workers_on 2)
    kill -KILL "$killed"
    wait_until "grep -q 'is lost' $RUN/master.log"
    wait_until "[ \"\$(workers_on 2 | grep -vcx $killed)\" = 1 ]" # its replacement, on the host that became free
    open_gates
    await_end
    assert_complete 60
    assert_equal "$(summary '.workers | "\(.launched) \(.lost) \(.verified_gone) \(.unverified)"')" "4 1 4 0"
    assert_equal "$(verified | wc -w)" 3 "hosts that were verified"
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

# Its connection is reset: what it ran runs elsewhere at once, although its lease goes on for a long time.
case_a_killed_worker_is_made_up_for_within_its_lease() {
    hosts_start 2
    gated_job 4 4
    over_ssh start_job "$(entries 1/2 2/2)" --set lease=50s
    await_running 4
    open_gates 1
    wait_until '[ "$(status .subtasks.done)" = 2 ]'
    kill -KILL "$(workers_on 2)"
    await_end
    assert_complete 4
    assert_equal "$(sed -n '/the run is gathering/q; /is lost/p' "$RUN/master.log")" "" "lost workers"
    [ "$(summary '.seconds.dismiss < 20')" = true ] || fail "it was waited for: $(summary .seconds)"
    open_gates
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

# A host on which no worker does anything but die is left out, and the others do the work.
case_a_host_that_only_loses_workers_is_left_out() {
    hosts_start 2
    gated_job 8 8
    over_ssh start_job "$(entries 1/2 2/2)" --set lease=2s --set workers.max_losses=2
    await_running 4
    for lost in 1 2; do
        wait_until '[ -n "$(workers_on 2)" ] && [ "$(status .live.running)" = 4 ]'
        kill -KILL "$(workers_on 2)"
        wait_until "[ \"\$(status .workers.lost)\" = $lost ]"
    done
    wait_until "grep -q 'left out: etl@10.77.0.2: 2 workers in a row were lost there' $RUN/master.log"
    open_gates 1
    await_end
    assert_complete 8
    assert_contains err "left out: etl@10.77.0.2: 2 workers in a row were lost there"
    assert_contains err "it had said: "
    assert_equal "$(summary .workers.lost)" 2 "workers lost"
    open_gates
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

# It is lost, replaced and ended by the master while it stands still.
case_a_worker_stands_still_beyond_its_lease() {
    local stopped
    hosts_start 2
    gated_job 40 4
    over_ssh start_job "$(entries 1/2 2/2)" --set lease=2s --set orphan_limit=60s
    await_running 4
    stopped=$(workers_on 2)
    kill -STOP "$stopped"
    wait_until "grep -q 'is lost' $RUN/master.log"
    open_gates
    await_end
    assert_complete 40
    assert_equal "$(summary .workers.lost)" 1 "workers lost"
    assert_equal "$(verified)" "etl@10.77.0.1 etl@10.77.0.2"
    has_ended "$stopped" || fail "the worker that stood still is still there"
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

# It wakes up before the master gets at it, for its host lets nobody in any more: it is refused, and goes by itself.
case_a_worker_stands_still_and_goes_on_late() {
    local stopped
    hosts_start 2
    gated_job 40 4
    over_ssh start_job "$(entries 1/2 2/2)" --set lease=2s --set orphan_limit=60s
    await_running 4
    host_stop_sshd 2
    stopped=$(workers_on 2)
    kill -STOP "$stopped"
    wait_until "grep -q 'is lost' $RUN/master.log"
    wait_until "grep -q 'worker 2 on etl@10.77.0.2 could not be ended: cannot connect' $RUN/master.log"
    kill -CONT "$stopped"
    wait_until "has_ended $stopped"
    open_gates 1
    await_end
    assert_complete 40
    assert_equal "$(summary '.workers | "\(.launched) \(.lost) \(.unverified)"')" "3 1 2"
    assert_contains err "etl@10.77.0.2: NOT verified: cannot connect"
    assert_pristine program 2
    assert_pristine 1
    assert_nothing_left "$RUN_ID"
}

run_cases "$@"
