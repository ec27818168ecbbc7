#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Hosts behind others (ProxyJump): each hop is verified and logged in to with what the configuration says of it.
# Functions named long_* are run by .ci/long.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

# Only connections from host FROM get through to sshd of host I.
guard() { # I FROM
    command -v nft >/dev/null || skip "this test needs nft (package nftables)"
    host_exec "$1" nft "add table inet guard
        add chain inet guard in { type filter hook input priority 0; }
        add rule inet guard in tcp dport 22 ip saddr != 10.77.0.$2 drop"
}

# Nothing but SSH by way of another host leads to the worker, and nothing leads out.
shut_in() { # I BUT_FOR
    command -v nft >/dev/null || skip "this test needs nft (package nftables)"
    host_exec "$1" nft "add table inet shut
        add chain inet shut in { type filter hook input priority 0; }
        add chain inet shut out { type filter hook output priority 0; }
        add rule inet shut in iif != lo ip saddr != 10.77.0.$2 drop
        add rule inet shut in iif != lo tcp flags & (syn|ack) == syn tcp dport != 22 drop
        add rule inet shut out oif != lo ip daddr != 10.77.0.$2 drop"
}

# target is host 3, by way of host 1 and then host 2: as it stands in the user's own configuration.
write_config() {
    mkdir -p "$HOME/.ssh"
    cat >"$HOME/.ssh/config" <<END
Host target
    HostName 10.77.0.3
    User etl
    ProxyJump one,etl@two
Host one
    HostName 10.77.0.1
    User etl
Host two
    HostName 10.77.0.2
Host *
    UserKnownHostsFile $HOSTS/known_hosts.hashed
END
}

start_agent() {
    eval "$(ssh-agent -a "$PWD/agent" -s)" >/dev/null
    trap 'kill "$SSH_AGENT_PID" 2>/dev/null || :; hosts_clean_up' EXIT
}

# Host 3 only by way of the others, with a locked key that the agent has, hashed known_hosts, a csh at the end.
start_two_hops() {
    local host
    hosts_start 3
    hosts_key locked >/dev/null
    for host in 1 2 3; do
        host_exec "$host" cp /dev/stdin /etc/ssh/authorized_keys/etl <"$HOSTS/id_locked.pub"
    done
    host_shell 3 tcsh
    host_banner 3 'Welcome to h3!'
    guard 2 1
    shut_in 3 2
    hosts_are_ready
    write_config
    start_agent
    printf '#!/bin/sh\necho mayfly\n' >ask
    chmod +x ask
    SSH_ASKPASS=$PWD/ask SSH_ASKPASS_REQUIRE=force ssh-add -q "$HOSTS/id_locked"
    gated_job 20 0
}

# What "just works" is said of, and nothing weaker.
assert_two_hops() {
    local host
    for host in 1 2 3; do
        assert_equal "$(host_exec "$host" cut -d ' ' -f 3 /etc/ssh/authorized_keys/etl)" locked "who may log in to h$host"
        hosts_run ssh-keygen -F "10.77.0.$host" -f "$HOSTS/known_hosts.hashed" >/dev/null || fail "h$host is not known"
    done
    assert_equal "$(grep -cv '^|1|' "$HOSTS/known_hosts.hashed")" 0 "lines of known_hosts that are not hashed"
    ! ssh-keygen -y -P '' -f "$HOSTS/id_locked" >/dev/null 2>&1 || fail "the key needs no passphrase"
    assert_equal "$(ssh-add -l | wc -l)" 1 "keys of the agent"
    assert_equal "$(host_exec 3 sh -c 'basename "$(getent passwd etl | cut -d : -f 7)"')" tcsh "login shell"
    for host in 2 3; do
        ! hosts_run timeout 0.3 bash -c ": </dev/tcp/10.77.0.$host/22" 2>/dev/null || fail "h$host needs no hop"
    done
}

# That it works needs nothing more than the name, also where no address leads from the host to the master or back.
case_just_works() {
    start_two_hops
    assert_two_hops
    succeed --hosts target
    assert_same "$RUN/result" <(seq 20)
    assert_equal "$(verified)" target
    assert_not_contains "$RUN/master.log" "OpenSSH's client"
    assert_contains err "mayfly: target: no address leads from there to this machine or back: its worker is reached through SSH"
    assert_pristine
    printf 'Host loop\n ProxyJump loop2\nHost loop2\n ProxyJump loop\n' >>"$HOME/.ssh/config"
    run_job --hosts loop
    assert_exit 3
    assert_contains err "ProxyJump leads in a circle (loop -> loop2 -> loop): mend the ssh configuration"
    # The middle hop refuses: to go on, then the login.
    host_exec 2 sed -i 's/^/restrict /' /etc/ssh/authorized_keys/etl
    run_job --hosts target
    assert_exit 3
    assert_contains err "left out: the way to target by ProxyJump: two (10.77.0.2) lets etl log in but does not connect on to 10.77.0.3 port 22: look at AllowTcpForwarding and PermitOpen in its sshd_config"
    host_exec 2 truncate -s 0 /etc/ssh/authorized_keys/etl
    run_job --hosts target
    assert_exit 3
    assert_contains err "left out: the way to target by ProxyJump: two (10.77.0.2) refuses the login of etl with the agent's ssh-ed25519 SHA256:"
    # The agent does not have the key.
    ssh-add -q -D 2>/dev/null
    ssh-add -q "$HOSTS/id_ed25519" 2>/dev/null
    run_job --hosts target
    assert_exit 3
    assert_contains err "left out: the way to target by ProxyJump: the way to two by ProxyJump: one (10.77.0.1) refuses the login of etl with the agent's ssh-ed25519 SHA256:"
    assert_contains err "it accepts publickey: add the key to ~/.ssh/authorized_keys there (ssh-copy-id), or name another with -i"
    kill "$SSH_AGENT_PID"
}

# What is wrong on the way is said of the hop where it is.
long_refusing_hops() {
    start_two_hops
    host_exec 2 nft flush ruleset
    host_sshd_config 2 'AllowTcpForwarding no'
    run_job --hosts target
    assert_exit 3
    assert_contains err "left out: the way to target by ProxyJump: two (10.77.0.2) lets etl log in but does not connect on to 10.77.0.3 port 22: look at AllowTcpForwarding and PermitOpen in its sshd_config"
    host_stop_sshd 2
    run_job --hosts target
    assert_contains err "left out: the way to target by ProxyJump: the way to two by ProxyJump: one (10.77.0.1) lets etl log in but cannot connect on to 10.77.0.2 port 22: is that up"
    grep -v '^10.77.0.1 ' "$HOSTS/known_hosts" >known
    run_job --hosts target --known-hosts known
    assert_contains err "the host one (10.77.0.1) is not known"
    kill "$SSH_AGENT_PID"
}

# The same way by the other client.
long_just_works_over_openssh() {
    start_two_hops
    succeed --hosts target --ssh-client openssh
    assert_equal "$(verified)" target
    assert_pristine
    kill "$SSH_AGENT_PID"
}

# A hop that only OpenSSH's client can log in to.
long_a_hop_for_openssh() {
    hosts_start 2
    printf 'Host target\n HostName 10.77.0.2\n User etl\n IdentityFile %s\n ProxyJump etl@10.77.0.1\n' \
        "$HOSTS/id_ed25519" >config
    printf 'Host 10.77.0.1\n IdentityFile %s\nHost *\n UserKnownHostsFile %s\n' \
        "$(hosts_key rsa)" "$HOSTS/known_hosts" >>config
    guard 2 1
    hosts_are_ready
    gated_job 4 0
    succeed --hosts target --ssh-config config
    assert_contains err "OpenSSH's client logs in, since libssh2 can't: on the way, 10.77.0.1: $HOSTS/id_rsa is a key of type ssh-rsa"
    assert_equal "$(verified)" target
    assert_pristine
}

start_bastion() {
    hosts_start 2
    printf 'Host target\n HostName 10.77.0.2\n ProxyJump etl@10.77.0.1\nHost *\n UserKnownHostsFile %s\n' \
        "$HOSTS/known_hosts" >config
    shut_in 2 1
    hosts_are_ready
}

# What leads to the worker's port through SSH is made again when it breaks.
long_way_that_breaks() {
    start_bastion
    gated_job 20 2
    start_job --hosts etl@target/2 --ssh-config config -i "$HOSTS/id_ed25519"
    await_running 2
    host_exec 1 pkill -KILL -u etl sshd
    wait_until "grep -q 'the way to worker 1 by SSH' $RUN/master.log"
    open_gates 2
    await_end
    assert_complete 20
    assert_equal "$(summary .workers.lost)" 0 "lost workers"
    assert_equal "$(verified)" etl@target
    assert_pristine
}

# A link behind the bastion that dies in silence is noticed, though the one to the bastion is fine.
long_link_that_dies() {
    start_bastion
    printf ' ServerAliveInterval 2\n ServerAliveCountMax 1\n' >>config
    gated_job 20 2
    start_job --hosts etl@target/2 --ssh-config config -i "$HOSTS/id_ed25519"
    await_running 2
    host_cut 2
    wait_until "grep -q 'the way to worker 1 by SSH: .*target (10.77.0.2) has not answered for' $RUN/master.log"
    host_mend 2
    open_gates 2
    await_end
    assert_complete 20
    assert_equal "$(summary .workers.lost)" 0 "lost workers"
    assert_pristine
}

# Asked for at once, by the other client.
long_a_bastion_over_openssh() {
    start_bastion
    gated_job 4 0
    succeed --hosts etl@target/2 --ssh-config config -i "$HOSTS/id_ed25519" --ssh-client openssh \
        --set workers.connect=ssh
    assert_contains "$RUN/master.log" "worker 1 on etl@target is reached through a channel of SSH"
    assert_not_contains err "no address leads"
    assert_equal "$(verified)" etl@target
    assert_pristine
}

# Where the host does not allow it, that is said; until then it is tried for 20 s.
long_refused_way() {
    hosts_start 1 'AllowTcpForwarding no'
    gated_job 4 0
    over_ssh run_job "$(entries 1)" --set workers.connect=ssh
    assert_exit 3
    assert_contains err "etl@10.77.0.1: the worker was started, but cannot be dialed through SSH at its port"
    assert_contains err "or allow AllowTcpForwarding in its sshd_config"
    assert_contains "$RUN/master.log" "the way to worker 1 by SSH: 10.77.0.1 lets etl log in but does not connect on to 127.0.0.1 port"
    assert_pristine
}

run_cases "$@"
