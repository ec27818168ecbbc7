#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Hosts as the user's ssh knows them: aliases and all that ~/.ssh/config says of them, by `ssh -G`; and the second back
# end, OpenSSH's client: a run over it is the same run, `auto` takes it where libssh2 can't, and says so, nothing of it
# stays.
# Functions named long_* are run by .ci/long.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

# Processes of ssh on this machine that were started for this case: all name a file of it.
clients() {
    local pid
    for pid in $({ grep -lsaF -e "$(readlink -f "$WORK")/" /proc/[0-9]*/cmdline || :; } | cut -d/ -f3); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != ssh ] || echo "$pid"
    done
}

assert_no_clients() {
    [ -z "$(clients)" ] || fail "processes of ssh are left: $(clients)"
}

# Everything by the configuration at home: address, port, user, key, known_hosts (hashed), from a pattern and a file that
# is included; what the job says wins. One host has a ProxyCommand, which is for OpenSSH's client, whose shared connection
# nobody opens, and has a csh and a banner of its sshd.
start() {
    hosts_start 2 'Port 2222' 'Banner /etc/issue'
    host_shell 2 tcsh
    host_exec 2 sh -c 'echo "no entry" >/etc/issue'
    hosts_are_ready
    mkdir -p "$HOME/.ssh"
    cat >way <<'END'
#!/bin/bash
exec 3<>"/dev/tcp/$1/$2"
cat <&3 &
exec cat >&3
END
    chmod +x way
    cat >"$HOME/.ssh/config" <<END
Include more
Host web2
    ProxyCommand $PWD/way %h %p
    ControlMaster auto
    ControlPath $PWD/shared.%C
    ControlPersist yes
Host web* 10.77.0.1
    User etl
    Port 2222
    IdentityFile $HOSTS/id_ed25519
    IdentitiesOnly yes
    UserKnownHostsFile $HOSTS/known_hosts.hashed
    ServerAliveInterval 5
END
    cat >"$HOME/.ssh/more" <<'END'
Host web1
    HostName 10.77.0.1
Host web2
    HostName 10.77.0.2
Host nobody
    HostName 10.77.0.1
    Port 9
    User etl
END
}

case_aliases() {
    start
    gated_job 10 3
    start_job --hosts web1/2,web2 -j 1
    await_running 3
    assert_no_clients # as long as the run lasts, nothing holds a connection
    open_gates
    await_end
    assert_complete 10
    assert_no_clients
    assert_contains err "web2: OpenSSH's client logs in, since libssh2 can't: it is reached by a ProxyCommand ($PWD/way %h %p)"
    assert_not_contains err "web1"
    assert_equal "$(verified)" "web1 web2"
    assert_equal "$(find . -name 'shared.*')" "" "shared connections"
    mayfly check --hosts web1,web2 --json
    assert_exit 0
    assert_equal "$(jq -r '.[] | "\(.host) \(.client): \(.client_reason)"' out)" \
        "web1 libssh2: 
web2 openssh: it is reached by a ProxyCommand ($PWD/way %h %p)"
    # A key that the job names is tried alone, its known_hosts file is the only one.
    ssh-keygen -q -t ed25519 -N '' -f other
    : >none
    run_job --hosts web1 -i other
    assert_exit 3
    assert_contains err "web1 (10.77.0.1:2222) refuses the login of etl with $PWD/other;"
    run_job --hosts web1 --known-hosts none
    assert_contains err "the host web1 (10.77.0.1:2222) is not known (its ssh-ed25519 key is "
    assert_contains err "add it with ssh-keyscan -p 2222 10.77.0.1 >> $PWD/none"
    # Without a configuration there is no such port.
    run_job --hosts etl@10.77.0.1 --ssh-config none
    assert_exit 3
    assert_contains err "cannot connect to 10.77.0.1 (Connection refused)"
    # Another one than the user's own, which is not understood.
    echo 'Hots web' >bad
    run_job --hosts web1 --ssh-config bad
    assert_contains err "the ssh configuration cannot be used for web1: $PWD/bad: line 1: Bad configuration option: hots: mend it, or do without (--ssh-config none)"
    assert_pristine
}

long_refusals() {
    start
    gated_job 4 0
    run_job --hosts nobody,web1:2223 -i "$HOSTS/id_ed25519"
    assert_contains err "cannot connect to nobody (10.77.0.1:9) (Connection refused)"
    assert_contains err "cannot connect to web1 (10.77.0.1:2223) (Connection refused)"
    run_job --hosts web2 --ssh-client libssh2
    assert_contains err "web2 (10.77.0.2:2222) cannot be logged in to by libssh2: it is reached by a ProxyCommand ($PWD/way %h %p); use --ssh-client openssh"
    printf '#!/bin/sh\necho no way here >&2\nexit 1\n' >no_way
    chmod +x no_way
    printf 'Host web1\n HostName 10.77.0.1\n ProxyCommand %s\n' "$PWD/no_way" >bad
    run_job --hosts web1 --ssh-config bad
    assert_contains err "the way to web1 (10.77.0.1) by its ProxyCommand or ProxyJump ended before web1 (10.77.0.1) answered: no way here: try ssh web1"
    mayfly run job.yaml --hosts web1 --ssh-config missing
    assert_exit 2
    assert_contains err "workers.ssh.config: the ssh configuration $PWD/missing cannot be read: No such file"
}

# A host with csh and a banner of its sshd, one with neither; workers are started, dismissed and swept by ssh.
long_a_run_over_openssh() {
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
