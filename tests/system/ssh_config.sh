#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2119
# Hosts as the user's ssh knows them: aliases and all that ~/.ssh/config says of them, by `ssh -G`.
# Functions named long_* are run by .ci/long.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

# Everything by the configuration at home: address, port, user, key, known_hosts (hashed), from a pattern and a file that
# is included; what the job says wins. One host has a ProxyCommand, which is for OpenSSH's client, whose shared connection
# nobody opens.
start() {
    hosts_start 2 'Port 2222'
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
Host web*
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
    open_gates
    await_end
    assert_complete 10
    assert_contains err "web2: OpenSSH's client logs in, since libssh2 can't: it is reached by a ProxyCommand ($PWD/way %h %p)"
    assert_not_contains err "web1"
    assert_equal "$(verified)" "web1 web2"
    assert_equal "$(find . -name 'shared.*')" "" "shared connections"
    # A key that the job names is tried alone, its known_hosts file is the only one.
    ssh-keygen -q -t ed25519 -N '' -f other
    : >none
    run_job --hosts web1 -i other
    assert_exit 3
    assert_contains err "web1 (10.77.0.1:2222) refuses the login of etl with $PWD/other;"
    run_job --hosts web1 --known-hosts none
    assert_contains err "the host web1 (10.77.0.1:2222) is not known (its ssh-ed25519 key is "
    assert_contains err "add it with ssh-keyscan -p 2222 10.77.0.1 >> $PWD/none"
    # Without a configuration the names are nobody's.
    run_job --hosts web1 --ssh-config none
    assert_exit 3
    assert_contains err "web1"
    assert_not_contains err "10.77.0.1"
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

run_cases "$@"
