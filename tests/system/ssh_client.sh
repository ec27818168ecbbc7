#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# The second back end, OpenSSH's client: a run over it is the same run; `auto` takes it where libssh2 can't, and says so;
# nothing of it stays. Functions named long_* are run by .ci/long.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

# Processes of ssh on this machine that were started for the hosts of this case.
clients() {
    local pid
    for pid in $({ grep -lsaF -e "$HOSTS/" /proc/[0-9]*/cmdline || :; } | cut -d/ -f3); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != ssh ] || echo "$pid"
    done
}

assert_no_clients() {
    [ -z "$(clients)" ] || fail "processes of ssh are left: $(clients)"
}

# A host with csh and a banner of its sshd, one with neither; workers are started, dismissed and swept by ssh.
case_a_run_over_openssh() {
    hosts_start 2 'Banner /etc/issue'
    host_shell 2 tcsh
    host_exec 2 sh -c 'echo "no entry" >/etc/issue'
    hosts_are_ready
    gated_job 40 3
    over_ssh start_job "$(entries 1/2 2)" --ssh-client openssh
    await_running 3
    assert_no_clients # as long as the run lasts, nothing holds a connection
    open_gates
    await_end
    assert_complete 40
    assert_equal "$(verified)" "etl@10.77.0.1 etl@10.77.0.2"
    assert_no_clients
    assert_not_contains err "since libssh2 can't"
    assert_pristine
    "$MAYFLY_BIN" check --hosts "$(entries 1)" --ssh-client openssh -i "$HOSTS/id_ed25519" \
        --known-hosts "$HOSTS/known_hosts" --json >out
    assert_equal "$(jq -r '.[] | "\(.ok) \(.client): \(.client_reason)"' out)" "true openssh: it was asked for"
    assert_pristine
}

# One key for both hosts, and libssh2 cannot use it; of the second host only the RSA key is known.
long_auto_where_libssh2_cannot() {
    local key
    hosts_start 2
    key=$(hosts_key rsa)
    host_exec 2 ssh-keygen -q -t rsa -b 2048 -N '' -f /etc/ssh/ssh_host_rsa_key
    host_sshd_config 2 'HostKey /etc/ssh/ssh_host_rsa_key'
    hosts_are_ready
    gated_job 10 0
    over_ssh succeed "$(entries 1)"
    assert_not_contains "$RUN/master.log" "OpenSSH's client"
    grep -v '^10.77.0.1 ' "$HOSTS/known_hosts" | grep rsa >>rsa_only
    grep -F '10.77.0.1 ' "$HOSTS/known_hosts" | cat - rsa_only >known
    over_ssh succeed "$(entries 1 2)" --known-hosts known
    assert_contains "$RUN/master.log" "10.77.0.2: OpenSSH's client logs in, since libssh2 can't: of the host only an RSA key is recorded, in $PWD/known:"
    assert_not_contains "$RUN/master.log" "10.77.0.1: OpenSSH's client"
    over_ssh succeed "$(entries 1 2)" -i "$key"
    assert_contains err ": OpenSSH's client logs in, since libssh2 can't: $key is a key of type ssh-rsa"
    # What was found out once is not tried again, and says nothing a second time.
    assert_equal "$(grep -c "since libssh2 can't" "$RUN/master.log")" 2
    assert_equal "$(verified)" "etl@10.77.0.1 etl@10.77.0.2"
    over_ssh run_job "$(entries 1)" -i "$key" --ssh-client libssh2
    assert_exit 3
    assert_contains err "$key is an RSA key"
    assert_no_clients
    assert_pristine
}

# Logins that hang are ended with the run, also when that is cancelled.
long_stopped_while_ssh_hangs() {
    hosts_start 1
    host_hang 1 2000
    gated_job 100 100
    over_ssh start_job "$(entries 1),etl@10.77.0.1:2000" --ssh-client openssh
    await_running 1
    wait_until '[ -n "$(clients)" ]'
    asked=$SECONDS
    "$MAYFLY_BIN" cancel "$RUN_ID" >cancelled 2>&1 || fail "$(cat cancelled)"
    assert_ended 4 cancelled
    assert_no_clients
    assert_equal "$(verified)" etl@10.77.0.1
    assert_pristine
}

run_cases "$@"
