#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Accounts and machines that are not what one expects: login shells that greet or speak another language, another
# processor, a kernel too old, clocks that are years off.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_bad_lib.sh"

# Whatever the shell says before, and be it what the worker would say, what comes last counts.
case_login_shells() {
    # The C shell reads no text of several lines.
    local shell banner one='mayfly 1 started 1 1 1' several='welcome to h1
mayfly 1 started 1 1 1
mayfly 1 system none
{"verified": false}'
    for shell in fish tcsh; do
        command -v "$shell" >/dev/null || skip "$shell is not installed (package $shell)"
    done
    hosts_start 1
    job <<'END'
mayfly: 1
split: {range: 1-2}
task: {shell: 'n={}; echo "$n $HOME"; echo $n >"out of $n"', outputs: "out*"}
END
    for shell in bash sh fish tcsh; do
        host_shell 1 "$shell"
        banner=$several
        [ "$shell" != tcsh ] || banner=$one
        host_banner 1 "$banner"
        hosts_ssh 1 true >/dev/null # fish makes folders of its own
        hosts_are_ready
        over_ssh succeed --hosts "$(entries 1)"
        assert_same "$RUN/result" <(printf '%s /home/etl\n' 1 2)
        assert_equal "$(cat "$RUN/outputs/0/2/out of 2")" 2
        assert_equal "$(summary '.hosts[0] | "\(.verified) \(.verified_by)"')" "true sweep" "with $shell:"
        over_ssh mayfly check job.yaml --hosts "$(entries 1)" --json
        assert_exit 0
        assert_equal "$(jq -r '.[0].place, .[0].system' out)" "/home/etl/.cache/mayfly
$(uname -srm)" "with $shell:"
        assert_hosts_clean
    done
}

# What sshd gives all its sessions.
force_path() { # I PATH
    host_exec "$1" sed -i -e "1i SetEnv PATH=$2" -e '/^SetEnv/d' /etc/ssh/sshd_config
    host_stop_sshd "$1"
    host_start_sshd "$1"
}

case_an_account_that_runs_nothing() {
    hosts_start 2
    # A PATH that is forced upon it will do when the usual programs are there, wherever that is.
    host_exec 1 mkdir /opt/few
    host_exec 1 cp -s /usr/bin/sh /usr/bin/uname /usr/bin/id /usr/bin/ls /usr/bin/df /usr/bin/tail /usr/bin/mkdir \
        /usr/bin/rmdir /usr/bin/rm /usr/bin/mv /usr/bin/cat /usr/bin/wc /usr/bin/chmod /usr/bin/dd /opt/few
    force_path 1 /opt/few
    hosts_are_ready
    small_job 2
    over_ssh succeed --hosts "$(entries 1)"
    assert_equal "$(worked)" "h1 "
    force_path 1 /opt/none
    assert_refused "$(entries 1)" "etl@10.77.0.1: its login shell runs no command (exit code 127: bash: line 1: sh: command not found): look at the PATH that its sshd_config (SetEnv) or the shell's start files give it, sh has to be there"
    host_shell 1 /usr/sbin/nologin
    hosts_are_ready
    assert_refused "$(entries 1)" "etl@10.77.0.1: its login shell runs no command (exit code 1: This account is currently not available.): give the account a shell with chsh, or look at its authorized_keys for a forced command"
    assert_equal "$(summary '.hosts | length')" 0 "hosts to verify"
    assert_passed_over "$(entries 1)" 2 "etl@10.77.0.1: its login shell runs no command"
    assert_hosts_clean
}

case_another_processor_or_kernel() {
    local machine
    machine=$(uname -m)
    hosts_start 4
    host_uname 1 riscv64
    host_uname 2 "$machine" 3.10.0-1160.el7
    host_uname 3 "$machine" 4.4.0-1-generic
    hosts_are_ready
    assert_refused "$(entries 1)" "etl@10.77.0.1: it is Linux $(uname -r) riscv64, but this worker is for Linux on $machine: "
    assert_refused "$(entries 2)" "etl@10.77.0.2: its kernel is too old (Linux 3.10.0-1160.el7 $machine): the worker needs Linux 4.4 or newer"
    assert_passed_over "$(entries 1 2)" 4 "etl@10.77.0.1: it is Linux" "etl@10.77.0.2: its kernel is too old"
    over_ssh succeed --hosts "$(entries 3)"
    over_ssh mayfly check job.yaml --hosts "$(entries 1 2 3)"
    assert_exit 3
    assert_contains out "etl@10.77.0.1: it is Linux $(uname -r) riscv64"
    assert_contains out "etl@10.77.0.2: its kernel is too old"
    assert_equal "$(grep -c ' ok$' out)" 1
    assert_hosts_clean
}

# What the master does by its clock is done by one that goes on evenly, and certificates are valid for decades.
case_clocks_that_are_years_off() {
    local by mayfly_bin
    command -v faketime >/dev/null || skip "faketime is not installed (package faketime)"
    hosts_start 2
    hosts_are_ready
    mayfly_bin=$MAYFLY_BIN
    # A sanitizer wants to be the first library; faketime is.
    export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0
    for by in -8y +8y; do
        printf '#!/bin/sh\nFAKETIME_DONT_FAKE_MONOTONIC=1 exec faketime -f %s %s "$@"\n' "$by" "$mayfly_bin" >skewed
        chmod +x skewed
        MAYFLY_BIN=$PWD/skewed
        job <<'END'
mayfly: 1
split: {range: 1-8}
task: {shell: 'uname -n; echo >out; false || [ {attempt} -gt 1 ]', outputs: out, retries: {max: 3, backoff: 50ms}}
lease: 2s
END
        over_ssh succeed --hosts "$(entries 1 2)"
        assert_equal "$(counts)" "8 0 0 0"
        assert_equal "$(summary .workers.lost)" 0
        assert_equal "${RUN_ID:0:4}" "$(($(date +%Y) + ${by%y}))" "the year of the run, by $by:"
        over_ssh mayfly check job.yaml --hosts "$(entries 1 2)"
        assert_exit 0
        assert_equal "$(grep -c 'ok, but its clock is off (harmless)$' out)" 2
        assert_hosts_clean
    done
}

run_cases "$@"
