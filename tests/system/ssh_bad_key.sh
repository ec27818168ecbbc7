#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Keys: hosts whose key is another one or not known, keys of ours that a host refuses or that can't be used. Nothing is
# begun on such a host; a good one beside it does the work.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_bad_lib.sh"

print_of() { # I: fingerprint of a host's ED25519 key, or of a file
    ssh-keygen -lf "${2:-/proc/${HOST_PID[$1]}/root/etc/ssh/ssh_host_ed25519_key.pub}" | cut -d ' ' -f 2
}

case_a_host_key_that_has_changed() {
    local line sentence
    hosts_start 2
    cp "$HOSTS/known_hosts" good
    host_new_key 2
    cp good "$HOSTS/known_hosts"
    line=$(grep -n '^10.77.0.2 ssh-ed25519' good | cut -d : -f 1)
    sentence="THE HOST KEY OF 10.77.0.2 HAS CHANGED: it now shows the ssh-ed25519 key $(print_of 2), which is not the one in $HOSTS/known_hosts:$line"
    assert_refused "$(entries 2)" "$sentence" --accept-new
    assert_contains err "ssh-keygen -R '10.77.0.2'"
    assert_passed_over "$(entries 2)" 1 "THE HOST KEY OF 10.77.0.2 HAS CHANGED"
    assert_same "$HOSTS/known_hosts" good
    assert_hosts_clean
}

case_a_host_that_is_not_known() {
    local sentence
    hosts_start 2
    grep -vF 10.77.0.2 "$HOSTS/known_hosts" >known
    cp known "$HOSTS/known_hosts"
    sentence="the host 10.77.0.2 is not known (its ssh-ed25519 key is $(print_of 2)): compare that, then add it with ssh-keyscan 10.77.0.2 >> $HOSTS/known_hosts, or use --accept-new"
    assert_refused "$(entries 2)" "$sentence"
    assert_passed_over "$(entries 2)" 1 "the host 10.77.0.2 is not known"
    assert_same "$HOSTS/known_hosts" known

    # What the sentence says helps, and so does the option; then it is known for the next run.
    hosts_run ssh-keyscan 10.77.0.2 >>"$HOSTS/known_hosts" 2>/dev/null
    over_ssh succeed --hosts "$(entries 2)"
    cp known "$HOSTS/known_hosts"
    over_ssh succeed --hosts "$(entries 2 2)" --accept-new
    assert_equal "$(grep -cF 10.77.0.2 "$HOSTS/known_hosts")" 1 "lines that were added"
    assert_contains "$RUN/master.log" "the host 10.77.0.2 is new: its key $(print_of 2) was added to $HOSTS/known_hosts"
    over_ssh succeed --hosts "$(entries 2)"
    assert_hosts_clean
}

case_a_key_that_the_host_refuses() {
    hosts_start 2
    # Nobody has a key with which that user may log in.
    assert_passed_over "nobody@10.77.0.1" 2 "10.77.0.1 refuses the login of nobody with $HOSTS/id_ed25519"
    ssh-keygen -q -t ed25519 -N '' -f other
    KEY=$PWD/other
    assert_refused "$(entries 1)" "10.77.0.1 refuses the login of etl with $KEY; it accepts publickey: add the key to ~/.ssh/authorized_keys there (ssh-copy-id), or name another with -i"
    head -c 100 other >broken
    KEY=$PWD/broken
    assert_refused "$(entries 1)" "cannot log in to 10.77.0.1: $KEY cannot be used as a private key: is it damaged, or of a rare kind? (make one with ssh-keygen -t ed25519)"
    assert_hosts_clean
}

start_agent() {
    eval "$(ssh-agent -a "$PWD/agent" -s)" >/dev/null
    trap 'kill "$SSH_AGENT_PID" 2>/dev/null || :; hosts_clean_up' EXIT
}

case_a_key_with_a_passphrase() {
    hosts_start 1
    unset SSH_AUTH_SOCK
    KEY=$(hosts_key locked)
    hosts_are_ready
    assert_refused "$(entries 1)" "cannot log in to 10.77.0.1: the key $KEY needs a passphrase (no agent is running (SSH_AUTH_SOCK is not set)): unlock it once with ssh-add $KEY"
    start_agent
    assert_refused "$(entries 1)" "cannot log in to 10.77.0.1: the key $KEY needs a passphrase (the agent has no keys (ssh-add adds one)): unlock it once with ssh-add $KEY"
    ssh-add -q "$HOSTS/id_ed25519" 2>/dev/null
    assert_refused "$(entries 1)" "cannot log in to 10.77.0.1: the key $KEY needs a passphrase (the agent has other keys): unlock it once with ssh-add $KEY"
    # What the sentence says helps.
    printf '#!/bin/sh\necho mayfly\n' >ask
    chmod +x ask
    SSH_ASKPASS=$PWD/ask SSH_ASKPASS_REQUIRE=force ssh-add -q "$KEY"
    over_ssh succeed --hosts "$(entries 1)"
    kill "$SSH_AGENT_PID"
    wait_until "[ ! -e agent ]"
    assert_refused "$(entries 1)" "cannot log in to 10.77.0.1: the key $KEY needs a passphrase (the agent at $SSH_AUTH_SOCK (SSH_AUTH_SOCK) does not answer): unlock it once with ssh-add $KEY"

    # As the one that is taken when none is named.
    unset SSH_AUTH_SOCK
    mkdir "$HOME/.ssh"
    cp "$KEY" "$HOME/.ssh/id_ed25519"
    KEY=
    assert_refused "$(entries 1)" "there is no key to log in to 10.77.0.1 as etl with (no agent is running (SSH_AUTH_SOCK is not set); $HOME/.ssh/id_ed25519 needs a passphrase (ssh-add $HOME/.ssh/id_ed25519)); it accepts publickey: make one with ssh-keygen -t ed25519 and bring it there with ssh-copy-id, or name one with -i"
    assert_hosts_clean
}

case_an_rsa_key_only() {
    local sentence="which this client (libssh2 1.10) can only use with SHA-1"
    hosts_start 1
    unset SSH_AUTH_SOCK
    hosts_key ecdsa >/dev/null
    KEY=$(hosts_key rsa)
    hosts_are_ready
    assert_refused "$(entries 1)" "cannot log in to 10.77.0.1: $KEY is an RSA key, $sentence" --ssh-client libssh2
    assert_contains err "ssh-keygen -t ed25519"
    mkdir "$HOME/.ssh"
    cp "$KEY" "$HOME/.ssh/id_rsa"
    KEY=
    assert_refused "$(entries 1)" "there is no key to log in to 10.77.0.1 as etl with (no agent is running (SSH_AUTH_SOCK is not set); $HOME/.ssh/id_rsa is an RSA key, $sentence" --ssh-client libssh2
    start_agent
    ssh-add -q "$HOSTS/id_rsa" 2>/dev/null
    assert_refused "$(entries 1)" "there is no key to log in to 10.77.0.1 as etl with (the agent's key 'rsa' is an RSA key, $sentence" --ssh-client libssh2
    ssh-add -q "$(hosts_key ecdsa)" 2>/dev/null
    over_ssh succeed --hosts "$(entries 1)" --ssh-client libssh2
    assert_hosts_clean
}

run_cases "$@"
