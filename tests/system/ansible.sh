#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The collection in ansible/, on test hosts: from an empty host to a finished run and back. Each play takes seconds, so
# one case does it all; LONG=1 (.ci/long) adds a host, check modes and interruptions.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

command -v ansible-playbook >/dev/null || skip "this needs ansible-playbook (package ansible-core)"
collection=$(readlink -f "$(dirname "$0")/../../ansible")

# Hosts 1 (the master's) to N, an inventory, a job with a trigger, and the collection as if it were installed.
prepare() { # N
    local number
    mkdir -p collections/ansible_collections/mayfly jobs programs "$HOME"
    cp "$MAYFLY_BIN" "$MAYFLY_BIN-worker" programs
    hosts_start "$1"
    ln -s "$collection" collections/ansible_collections/mayfly/mayfly
    {
        printf '[mayfly_masters]\nh1\n[mayfly_workers]\n'
        for ((number = 2; number <= $1; number++)); do
            echo "h$number mayfly_slots=2"
        done
        printf '[all:vars]\nansible_user=root\nansible_become_method=su\nansible_python_interpreter=/usr/bin/python3\n'
        printf 'ansible_ssh_private_key_file=%s\n' "$HOSTS/id_ed25519"
        printf 'mayfly_master_host_binaries=%s\nmayfly_master_host_jobs=%s\n' "$PWD/programs" "$PWD/jobs"
        printf 'mayfly_master_host_packages=[]\nmayfly_master_host_scheduler=cron\n'
        printf 'mayfly_master_host_triggers=["squares.yaml"]\n'
    } >inventory
    for ((number = 1; number <= $1; number++)); do
        sed -i "s/^h$number\b/& ansible_host=$(host_address "$number")/" inventory
        host_exec "$number" cp /etc/ssh/authorized_keys/etl /etc/ssh/authorized_keys/root
        host_written "$number" >"$HOSTS/h$number.files"
        host_exec "$number" getent passwd >"passwd.$number"
    done
    cat >jobs/squares.yaml <<'END'
mayfly: 1
trigger: {cron: "0 2 * * *"}
split: {range: 1-20}
task: {shell: 'expr {} \* {}'}
END
    export ANSIBLE_COLLECTIONS_PATH=$PWD/collections ANSIBLE_HOME=$HOME/ansible ANSIBLE_LOCAL_TEMP=$HOME/ansible/tmp
    export ANSIBLE_PIPELINING=True ANSIBLE_NOCOLOR=1 ANSIBLE_LOCALHOST_WARNING=False
    export ANSIBLE_SSH_ARGS="-F none -o ControlMaster=auto -o ControlPersist=20 -o UserKnownHostsFile=$HOSTS/known_hosts"
    export ANSIBLE_SSH_CONTROL_PATH_DIR=$WORK/c
}

play() { # PLAYBOOK [ARGUMENT...]
    local name=$1
    shift
    hosts_run ansible-playbook -i inventory "$collection/playbooks/$name.yml" "$@" >play.log 2>&1 </dev/null ||
        fail "$(printf '%s failed:\n' "$name"; tail -n 60 play.log)"
}

assert_changed() { # none|some
    local changed
    changed=$(awk 'match($0, /changed=[0-9]+/) { n += substr($0, RSTART + 8, RLENGTH - 8) } END { print n + 0 }' play.log)
    if [ "$1" = none ]; then
        [ "$changed" = 0 ] || fail "$(printf 'something changed:\n'; grep -B3 '^changed' play.log)"
    else
        [ "$changed" -gt 0 ] || fail "$(printf 'nothing changed:\n'; tail -n 60 play.log)"
    fi
}

# Ends the connections that Ansible keeps.
hang_up() {
    local socket
    for socket in c/*; do
        ssh -F none -o ControlPath="$socket" -O exit nobody 2>/dev/null || :
    done
}

# The hosts are as they were: accounts, processes, files. Accounts rewrite their files, and Ansible its module cache.
assert_empty() {
    local number found
    hang_up
    for ((number = 1; number <= HOSTS_COUNT; number++)); do
        found=$(host_exec "$number" getent passwd | diff "passwd.$number" - || :)
        [ -z "$found" ] || fail "$(printf 'accounts of h%s differ:\n%s' "$number" "$found")"
        found=$(host_processes "$number")
        [ -z "$found" ] || fail "$(printf 'processes are left on h%s:\n%s' "$number" "$found")"
        found=$(host_new_files "$number" | grep -vE '^/(etc/(passwd|group|shadow|gshadow|subuid|subgid|\.pwd\.lock)-?|root/\.ansible.*|var/log/.*|home)$' || :)
        [ -z "$found" ] || fail "$(printf 'files are left on h%s:\n%s' "$number" "$found")"
    done
}

case_from_an_empty_host_and_back() {
    prepare 2
    play provision
    assert_changed some
    assert_equal "$(crontab_lines)" 1 "lines of mayfly in the crontab"
    play provision
    assert_changed none
    assert_equal "$(crontab_lines)" 1 "lines of mayfly in the crontab"
    play run-job -e mayfly_job=squares.yaml -e mayfly_job_poll=1
    assert_same results/* <(for n in $(seq 20); do echo $((n * n)); done)
    [ -n "$(host_exec 2 find /home/mayfly/.cache -type f)" ] || fail "the run took the folder for state with it"
    play teardown
    assert_empty
}

# What runs under an account that is to go is named, and ended when that is asked for. An account that was there before
# loses what is ours, and nothing else.
case_teardown_refuses() {
    [ -n "${LONG:-}" ] || return 0
    LIMIT_SECONDS=300
    prepare 2
    play provision
    host_exec 2 setpriv --reuid mayfly --clear-groups sleep 1234 &
    wait_until "host_exec 2 pgrep -u mayfly sleep"
    ! play_succeeds teardown || fail "a process was ended that nobody had asked to end"
    assert_contains play.log 'processes run under mayfly:'
    assert_contains play.log 'sleep 1234; end them, wait for the run they belong to, or set mayfly_worker_host_force'
    play teardown --check -e mayfly_worker_host_force=true
    host_exec 2 pgrep -u mayfly sleep >/dev/null || fail "a check has ended it"
    play teardown -e mayfly_worker_host_force=true
    wait $! || :
    assert_empty
    host_exec 1 install -d -o etl /home/etl/jobs
    host_exec 1 tee /home/etl/jobs/mine </dev/null
    play provision -e mayfly_master_host_user=etl -e mayfly_worker_host_user=etl
    play run-job -e mayfly_job=squares.yaml -e mayfly_job_poll=1 -e mayfly_master_host_user=etl \
        -e mayfly_worker_host_user=etl
    play provision -e mayfly_master_host_user=etl -e mayfly_worker_host_user=etl
    assert_changed none
    play teardown -e mayfly_master_host_user=etl -e mayfly_worker_host_user=etl
    play teardown -e mayfly_master_host_user=etl -e mayfly_worker_host_user=etl
    assert_changed none
    host_exec 1 test -e /home/etl/jobs/mine || fail "a job of somebody else's was removed"
    assert_equal "$(host_exec 1 sh -c 'ls /home/etl/.ssh')" known_hosts "what is left in ~/.ssh of the master's account"
    assert_equal "$(host_exec 2 sh -c 'cat /home/etl/.ssh/authorized_keys')" "" "keys that may log in"
}

# The commands of docs/ansible.md as they stand there, but for the addresses and how Ansible logs in.
case_the_five_minutes() {
    [ -n "${LONG:-}" ] || return 0
    LIMIT_SECONDS=300
    prepare 3
    unset ANSIBLE_COLLECTIONS_PATH ANSIBLE_HOME ANSIBLE_PIPELINING
    export ANSIBLE_REMOTE_USER=root ANSIBLE_BECOME_METHOD=su ANSIBLE_PRIVATE_KEY_FILE=$HOSTS/id_ed25519
    mkdir -p checkout/build
    ln -s "$collection" "$collection/../jobs" checkout
    ln -s ../../programs checkout/build/release
    sed -n '/^### Five minutes/,/^### \|^Two groups/s/^    //p' "$collection/../docs/ansible.md" |
        sed 's/10\.0\.0\.2/10.77.0.1/; s/10\.0\.0\.5/10.77.0.2/; s/10\.0\.0\.6/10.77.0.3/
            s/^mayfly_master_host_jobs=/mayfly_master_host_packages=[]\n&/' >five.sh
    (cd checkout && hosts_run bash -euo pipefail ../five.sh >../play.log 2>&1 </dev/null) ||
        fail "$(tail -n 60 play.log)"
    assert_file checkout/results/*
    assert_file checkout/logs/control/*/summary.json
    assert_empty
}

# A field that is not right is named before anything is done.
case_bad_variables() {
    [ -n "${LONG:-}" ] || return 0
    prepare 1
    ! play_succeeds provision -e mayfly_master_host_scheduler=at || fail "such a scheduler is none"
    assert_contains play.log 'value of mayfly_master_host_scheduler must be one of: auto, cron, systemd, none, got: at'
    assert_empty
}

# The host's own: its /var is nobody else's.
crontab_lines() {
    host_exec 1 crontab -u mayfly -l | grep -c 'mayfly.* trigger tick' || :
}

# Starts a playbook and kills it when its output has TEXT.
interrupt() { # TEXT PLAYBOOK [ARGUMENT...]
    local text=$1 name=$2 pid
    shift 2
    rm -f play.log
    setsid nsenter --net="/proc/$HOSTS_SWITCH/ns/net" -- \
        ansible-playbook -i inventory "$collection/playbooks/$name.yml" "$@" >play.log 2>&1 </dev/null &
    pid=$!
    wait_until "grep -qF '$text' play.log || has_ended $pid"
    kill -KILL -- "-$pid" || fail "$(printf '%s ended before it could be killed:\n' "$name"; cat play.log)"
    wait "$pid" 2>/dev/null || :
}

# Check modes change nothing; each playbook is killed in its midst, and does the rest when it is called again; what goes
# on is not torn down unless that is asked for.
case_killed_playbooks() {
    [ -n "${LONG:-}" ] || return 0
    LIMIT_SECONDS=300
    prepare 3
    play provision --check --diff
    assert_empty
    interrupt 'Make the job folder' provision
    interrupt 'Let the masters log in' provision
    play provision
    play provision
    assert_changed none
    play provision --check --diff
    assert_changed none
    play run-job -e mayfly_job=squares.yaml --check
    assert_equal "$(as_master ls --json | jq length)" 0 "runs of a check"
    sed -i 's/expr/sleep 5; expr/' jobs/squares.yaml
    play provision
    interrupt 'Wait for its end' run-job -e mayfly_job=squares.yaml
    ! play_succeeds teardown || fail "a run goes on, and its host was torn down"
    assert_contains play.log 'runs go on: 2'
    play run-job -e mayfly_job=squares.yaml -e mayfly_job_poll=1
    assert_equal "$(host_exec 1 find /home/mayfly/.local/state/mayfly-ansible -type f | wc -l)" 0 "notes of runs"
    assert_equal "$(as_master ls --json | jq length)" 1 "runs"
    assert_same results/* <(for n in $(seq 20); do echo $((n * n)); done)
    play collect-logs
    assert_file logs/h1/*/master.log
    assert_file logs/h1/*/subtasks.log
    play teardown --check
    play provision
    assert_changed none
    interrupt 'Remove the programs' teardown
    play teardown
    assert_empty
    play teardown
    assert_changed none
}

# Whether it succeeds.
play_succeeds() { # PLAYBOOK [ARGUMENT...]
    hosts_run ansible-playbook -i inventory "$collection/playbooks/$1.yml" "${@:2}" >play.log 2>&1 </dev/null
}

as_master() { # ARGUMENT...
    host_exec 1 runuser -u mayfly -- env HOME=/home/mayfly mayfly "$@"
}

run_cases "$@"
