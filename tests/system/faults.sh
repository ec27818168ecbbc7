#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # what stands in single quotes is meant as it is
# Workers whose connections to the master go through fault_proxy.py: it delays them, cuts them in the middle of
# messages, lets them stand still, lets later ones overtake earlier ones, and plays old ones again. The result is that of
# an undisturbed run, each subtask is recorded once, and the run ends.
#
# MAYFLY_SEEDS="7 8" runs these seeds instead of the two of the short form: a failure names the seed.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

proxy_port=40001

# All that hosts dial on the machine goes through the proxy from now on.
proxy_start() { # SEED
    command -v nft >/dev/null || skip "the fault proxy needs nft (package nftables)"
    hosts_run nft 'add table ip proxy
        add chain ip proxy in { type nat hook prerouting priority dstnat; }
        add rule ip proxy in iifname "switch" tcp dport 1024-65535 redirect to :'"$proxy_port"
    setpriv --pdeathsig KILL nsenter --net="/proc/$HOSTS_SWITCH/ns/net" -- \
        python3 "$tools/fault_proxy.py" "$1" "$proxy_port" "$HOSTS/proxy.log" </dev/null >>"$HOSTS/log" 2>&1 &
    hosts_helpers+=($!)
    hosts_await "grep -q listening $HOSTS/proxy.log"
}

faults_of() { # PATTERN
    grep -c "$1" "$HOSTS/proxy.log" || :
}

run_with_seed() { # SEED
    echo "seed $1"
    hosts_start 2
    proxy_start "$1"
    job <<'END'
mayfly: 1
split: {range: 1-200}
task: {shell: 'head -c 2000 /dev/urandom >&2; sleep 0.01; echo {}'}
END
    over_ssh start_job "$(entries 1/2 2/2)" --set lease=4s --set workers.max_losses=0
    await_end
    assert_complete 200
    assert_equal "$(verified)" "etl@10.77.0.1 etl@10.77.0.2"
    assert_pristine
    assert_nothing_left "$RUN_ID"
    [ "$(faults_of cut)" -ge 1 ] || fail "no connection was cut: $(cat "$HOSTS/proxy.log")"
    echo "seed $1: $(faults_of cut) cut, $(faults_of still) still, $(faults_of waits) late, $(faults_of again) played again," \
        "$(summary '.workers | "\(.launched) workers, \(.lost) lost"')"
    hosts_stop
}

case_connections_fail_in_all_ways() {
    local seed
    for seed in ${MAYFLY_SEEDS:-2 3}; do
        run_with_seed "$seed"
    done
}

tools=$(dirname "$(readlink -f "$0")")
run_cases "$@"
