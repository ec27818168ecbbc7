#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2119
# Hosts as the user's ssh knows them: aliases and all that ~/.ssh/config says of them, by `ssh -G`.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

# Everything by the configuration at home: address, port, user, key, known_hosts (hashed), from a pattern and a file that
# is included; what the job says wins.
case_aliases() {
    hosts_start 2 'Port 2222'
    mkdir -p "$HOME/.ssh"
    cat >"$HOME/.ssh/config" <<END
Include more
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
    gated_job 10 0
    succeed --hosts web1,web2 -j 1
    assert_same "$RUN/result" <(seq 10)
    assert_equal "$(verified)" "web1 web2"
    # A key that the job names is tried alone, its known_hosts file is the only one.
    ssh-keygen -q -t ed25519 -N '' -f other
    : >none
    run_job --hosts web1 -i other
    assert_exit 3
    assert_contains err "web1 (10.77.0.1:2222) refuses the login of etl with $PWD/other;"
    run_job --hosts web1 --known-hosts none
    assert_exit 3
    assert_contains err "the host web1 (10.77.0.1:2222) is not known (its ssh-ed25519 key is "
    assert_contains err "add it with ssh-keyscan -p 2222 10.77.0.1 >> $PWD/none"
    run_job --hosts nobody,web1:2223 -i "$HOSTS/id_ed25519"
    assert_exit 3
    assert_contains err "cannot connect to nobody (10.77.0.1:9) (Connection refused)"
    assert_contains err "cannot connect to web1 (10.77.0.1:2223) (Connection refused)"
    # Without a configuration the names are nobody's.
    run_job --hosts web1 --ssh-config none
    assert_exit 3
    assert_contains err "web1"
    assert_not_contains err "10.77.0.1"
    assert_pristine
}

# A named file instead of the user's own. ProxyCommand is for OpenSSH's client, whose shared connection nobody opens.
case_a_proxy_command() {
    hosts_start 1
    cat >way <<'END'
#!/bin/bash
exec 3<>"/dev/tcp/$1/$2"
cat <&3 &
exec cat >&3
END
    chmod +x way
    cat >config <<END
Host behind
    HostName 10.77.0.1
    User etl
    IdentityFile $HOSTS/id_ed25519
    UserKnownHostsFile $HOSTS/known_hosts
    ProxyCommand $PWD/way %h %p
    ControlMaster auto
    ControlPath $PWD/shared.%C
    ControlPersist yes
END
    gated_job 4 0
    succeed --hosts behind -j 1 --ssh-config config
    assert_contains err "behind: OpenSSH's client logs in, since libssh2 can't: it is reached by a ProxyCommand ($PWD/way %h %p)"
    assert_equal "$(find . -name 'shared.*')" "" "shared connections"
    assert_equal "$(verified)" behind
    run_job --hosts behind --ssh-config config --ssh-client libssh2
    assert_exit 3
    assert_contains err "behind (10.77.0.1) cannot be logged in to by libssh2: it is reached by a ProxyCommand ($PWD/way %h %p); use --ssh-client openssh"
    sed -i 's/ProxyCommand .*/ProxyCommand echo no way here >\&2; false/' config
    run_job --hosts behind --ssh-config config
    assert_exit 3
    assert_contains err "the way to behind (10.77.0.1) by its ProxyCommand or ProxyJump ended before behind (10.77.0.1) answered: no way here: try ssh behind"
    # One that is not understood, and one that is not there.
    echo 'Hots web' >bad
    run_job --hosts behind --ssh-config bad
    assert_exit 3
    assert_contains err "the ssh configuration cannot be used for behind: $PWD/bad: line 1: Bad configuration option: hots: mend it, or do without (--ssh-config none)"
    mayfly run job.yaml --hosts behind --ssh-config missing
    assert_exit 2
    assert_contains err "workers.ssh.config: the ssh configuration $PWD/missing cannot be read: No such file"
    assert_pristine
}

run_cases "$@"
