#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts that can't be reached: each is named with the reason and the remedy, the others do the work, and when none is
# left the run ends at once.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_bad_lib.sh"

# The name server that this machine asks, in the network of the hosts: answers every question with that code.
name_server() { # 2|3: SERVFAIL, NXDOMAIN
    local address
    address=$(sed -n 's/^nameserver *//p' /etc/resolv.conf | head -n 1)
    address=${address:-127.0.0.1}
    hosts_run ip addr replace "$address/32" dev lo
    setpriv --pdeathsig KILL nsenter --net="/proc/$HOSTS_SWITCH/ns/net" -- python3 -c '
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
print("listens", flush=True)
while True:
    query, peer = server.recvfrom(512)
    server.sendto(query[:2] + bytes([0x81, 0x80 | int(sys.argv[2])]) + query[4:6] + bytes(6) + query[12:], peer)
' "$address" "$1" >dns &
    name_server=$!
    hosts_helpers+=("$name_server")
    wait_until "grep -q listens dns"
}

case_a_name_that_does_not_resolve() {
    hosts_start 1
    name_server 3
    assert_refused etl@nobody.invalid "the host name nobody.invalid does not resolve (Name or service not known): check its spelling, or add it to /etc/hosts"
    assert_passed_over nobody.invalid,etl@no.such.host 1 "the host name nobody.invalid does not resolve" \
        "the host name no.such.host does not resolve"
    kill "$name_server"
    wait "$name_server" 2>/dev/null || :
    name_server 2
    assert_refused nobody.invalid "the name nobody.invalid cannot be resolved now: the name servers do not answer"
    assert_passed_over nobody.invalid 1
    assert_hosts_clean
}

case_nobody_there_or_nobody_who_speaks() {
    local host refused
    hosts_start 3
    host_stop_sshd 2
    refused="cannot connect to 10.77.0.2 (Connection refused): is sshd running there, and on this port?"
    assert_refused "$(entries 2)" "$refused"
    # Silent, hung behind its greeting, no SSH server, and a host that is down: all in one run that nobody else helps.
    host_hang 2 2000
    host_hang 2 2001 $'SSH-2.0-silent\r\n'
    host_hang 2 2002 $'220 mail\r\n'
    host_cut 3
    host=etl@$(host_address 2)
    over_ssh run_job --hosts "$host:2000,$host:2001,$host:2002,$(entries 2 3)"
    assert_exit 3
    assert_contains err "mayfly: left out: $refused"
    assert_contains err "mayfly: left out: 10.77.0.2:2000 hung in the middle of the handshake, 15 s after the start: look at its sshd"
    assert_contains err "mayfly: left out: 10.77.0.2:2001 hung in the middle of the handshake, 15 s after the start: look at its sshd"
    assert_contains err "mayfly: left out: 10.77.0.2:2002 is not an SSH server (it says '220 mail'): check host and port"
    assert_contains err "mayfly: left out: 10.77.0.3 did not answer within 15 s: is it up, and does a firewall let port 22 through?"
    # Beside a good one they hold nothing up, not even the end.
    assert_passed_over "$host:2000,$host:2001,$(entries 2 3)" 1 "$refused"
    [ "$(summary '.seconds.wall < 10')" = true ] || fail "the hosts that hang held up the end: $(summary .seconds.wall) s"
    assert_equal "$(summary '"\(.reason) \(.hosts_left_out | length)"')" "null 1"
    host_mend 3
    assert_hosts_clean
}

# Whoever is not admitted (a firewall, tcpwrappers) gets a connection that is closed without a word.
case_closed_without_a_word() {
    hosts_start 2
    setpriv --pdeathsig KILL nsenter --net="/proc/${HOST_PID[2]}/ns/net" -- python3 -c '
import socket
server = socket.create_server(("", 2000))
while True:
    server.accept()[0].close()' &
    hosts_helpers+=($!)
    wait_until "hosts_run bash -c ': </dev/tcp/$(host_address 2)/2000'"
    assert_refused "etl@$(host_address 2):2000" "10.77.0.2:2000 closed the connection before it said anything: too many logins at once for MaxStartups in its sshd_config, or this machine is not admitted there"
    assert_passed_over "etl@$(host_address 2):2000" 1
    assert_hosts_clean
}

run_cases "$@"
