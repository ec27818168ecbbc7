#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts of Ansible inventories: what real ones become in the run's own copy of the job file, and what is said of those
# that cannot be read. ansible-inventory is the real one; each call of it takes most of a second.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"

command -v ansible-inventory >/dev/null || skip "this needs ansible-inventory (package ansible-core)"
export ANSIBLE_LOCAL_TEMP=$HOME/ansible ANSIBLE_HOME=$HOME/ansible

two() {
    job <<END
mayfly: 1
split: {range: 1-2}
task: {shell: 'echo {}'}
workers: ${1:-"{}"}
END
}

refused() { # CODE WANTED ARGUMENT...
    local wanted=$2 code=$1
    shift 2
    mayfly run job.yaml "$@"
    assert_exit "$code"
    assert_contains err "$wanted"
    [ -z "$(ls "$XDG_STATE_HOME/mayfly/runs" 2>/dev/null)" ] || fail "a run was made"
}

program() { # NAME: from standard input
    cat >"$1"
    chmod +x "$1"
}

# A group of an INI file on the command line, in place of what the file says; the copy needs neither.
case_a_group_of_an_ini_file() {
    two '{hosts_file: none, count: 7, launcher: local}'
    mkdir sub
    cat >sub/inventory.ini <<'END'
[here]
one ansible_connection=local
two ansible_connection=local mayfly_slots=2
[there]
10.77.0.9
END
    succeed --inventory sub/inventory.ini:here
    assert_equal "$(summary .workers.launched)" 2
    rm -r sub
    assert_contains "$RUN/job.yaml" 'hosts: [":", ":/2"]'
    assert_not_contains "$RUN/job.yaml" inventory
    "$MAYFLY_BIN" results "$RUN_ID" 2 >item || fail "the copy needs the inventory"
    assert_equal "$(cat item)" 2
}

# The job file names a program; it prints the key, too.
case_a_program_in_the_job_file() {
    two '{inventory: "hosts.py:etl"}'
    touch key
    program hosts.py <<'END'
#!/usr/bin/python3
import json
print(json.dumps({"etl": {"hosts": ["h1", "localhost"], "vars": {"ansible_user": "etl"}},
                  "_meta": {"hostvars": {"h1": {"ansible_host": "fd00::5", "ansible_port": 2222,
                                                "ansible_ssh_private_key_file": "key"}}}}))
END
    # Nobody is at that address; this machine does it all.
    run_job
    assert_exit 0
    assert_contains "$RUN/job.yaml" 'hosts: ["etl@[fd00::5]:2222", ":"]'
    assert_contains "$RUN/job.yaml" "identity: \"$PWD/key\""
    assert_contains "$RUN/job.yaml" "folder: \"$PWD\""
}

# Each host lets in who has its own key; both clients take it. A key on the command line is for all.
case_a_key_a_host() {
    local client
    two
    hosts_start 2
    hosts_key ecdsa >/dev/null
    host_exec 2 tee /etc/ssh/authorized_keys/etl <"$HOSTS/id_ecdsa.pub" >/dev/null
    cat >inventory <<END
[all:vars]
ansible_user=etl
[etl]
${hosts_network}.[1:2] mayfly_slots=1
[etl:vars]
ansible_ssh_private_key_file=../hosts/id_ed25519
END
    mkdir host_vars
    echo 'ansible_ssh_private_key_file: ../hosts/id_ecdsa' >"host_vars/$(host_address 2).yml"
    for client in libssh2 openssh; do
        succeed --inventory inventory:etl --known-hosts "$HOSTS/known_hosts" --ssh-config none --ssh-client "$client"
        assert_equal "$(summary '[.hosts_left_out[], .workers.launched] | join(" ")')" 2 "workers with $client"
        assert_hosts_clean "$RUN_ID"
    done
    assert_contains "$RUN/job.yaml" "etl@$(host_address 2) $PWD/../hosts/id_ecdsa"
    mayfly check --inventory inventory:etl -i "$HOSTS/id_ed25519" --known-hosts "$HOSTS/known_hosts" --ssh-config none job.yaml
    assert_exit 3
    assert_contains out "etl@$(host_address 2)"
    rm "$HOSTS"/id_ecdsa
    mayfly run job.yaml --inventory inventory:etl
    assert_exit 2
    assert_contains err "ansible_ssh_private_key_file: the key file $PWD/../hosts/id_ecdsa cannot be read"
}

case_what_does_not_parse() {
    two
    printf 'all: {hosts: [\n' >bad.yml
    refused 2 "inventory $PWD/bad.yml: ansible-inventory ended with exit code" --inventory bad.yml
    assert_contains err 'Syntax Error while loading YAML'
}

case_a_group_that_is_not_there() {
    two
    printf 'all: {children: {web: {hosts: {a: {}}}, db: {hosts: {b: {}}}}}\n' >good.yml
    refused 2 "inventory $PWD/good.yml: there is no group 'wbe'; groups are all, ungrouped, web, db" \
        --inventory good.yml:wbe
}

# One without its password, and what Ansible would heed.
case_a_vault_and_arguments() {
    two
    printf '[etl]\nh1 ansible_ssh_common_args="-o ProxyJump=gate"\n' >inventory
    mayfly run job.yaml --dry-run --inventory inventory
    assert_exit 0
    assert_contains err "inventory $PWD/inventory: host 'h1': ansible_ssh_common_args does not count here"
    mkdir group_vars
    printf '%s;1.1;AES256\n3030\n' \$ANSIBLE_VAULT >group_vars/etl.yml
    refused 2 "no vault secrets found (set ANSIBLE_VAULT_PASSWORD_FILE" --inventory inventory
}

case_a_program_that_fails() {
    two
    program fails <<'END'
#!/bin/sh
echo "the cloud is out of reach" >&2
exit 3
END
    refused 2 "the cloud is out of reach" --inventory fails
}

# It leaves nothing behind, whoever ends the wait.
case_a_program_that_hangs() {
    two
    program hangs <<END
#!/bin/sh
echo \$\$ >$PWD/pid
exec sleep 1000
END
    MAYFLY_INVENTORY_MOST_US=1500000 \
        refused 3 "ansible-inventory has not ended within 1.5 s, and was ended" --inventory hangs
    [ ! -s pid ] || wait_until "has_ended $(cat pid)"
    rm -f pid
    "$MAYFLY_BIN" run job.yaml --inventory hangs >out 2>err </dev/null &
    PID=$!
    wait_until '[ -s pid ]'
    kill -TERM "$PID"
    await_end
    assert_equal "$CODE" 143
    wait_until "has_ended $(cat pid)"
}

# These need no ansible-inventory.
case_what_is_wrong_before() {
    two
    printf 'localhost\n' >inventory
    mkdir empty
    CODE=0
    env PATH="$PWD/empty" "$MAYFLY_BIN" run job.yaml --inventory inventory >out 2>err </dev/null || CODE=$?
    assert_exit 3
    assert_contains err "not installed or not in PATH (it is in the Debian package ansible-core)"
    refused 2 "inventory $PWD/none: it cannot be read: No such file" --inventory none
    refused 2 "inventory $PWD/inventory: behind the colon, a group is expected" --inventory inventory:
    refused 2 "hosts are given twice" --hosts a --inventory inventory
    refused 2 "the hosts are those of an inventory" --inventory inventory --set workers.launcher=local
}

run_cases "$@"
