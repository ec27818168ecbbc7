#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# mayfly debug --host: a subtask again on the host that it ran on, with what it had there; nothing is left.
# Functions named long_* are run by .ci/long.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

# Host 2 only by way of host 1, user, key and known_hosts from a configuration that the job names.
write_config() {
    cat >config <<END
Host direct
    HostName 10.77.0.1
Host target
    HostName 10.77.0.2
    ProxyJump direct
Host *
    User etl
    IdentityFile $HOSTS/id_ed25519
    UserKnownHostsFile $HOSTS/known_hosts.hashed
END
    command -v nft >/dev/null || skip "this test needs nft (package nftables)"
    host_exec 2 nft 'add table inet guard
        add chain inet guard in { type filter hook input priority 0; }
        add rule inet guard in tcp dport 22 ip saddr != 10.77.0.1 drop'
}

# Three pieces of an input that no host has; what each sees of itself goes to standard output.
probe_job() {
    mkdir in lib
    seq 12 >"in/a b.txt"
    echo "of the library" >lib/words
    cat >probe.sh <<'END'
#!/bin/sh
echo "arguments: $*"
cat
env | grep -v '^SHLVL=' | sort
find . | sort
cat "$MAYFLY_SECRETS/WORD" lib/words
echo "on $(uname -n)" >&2
until [ ! -e /run/wait ]; do sleep 0.05; done
[ "$X" != 2 ] || exit 7
END
    chmod +x probe.sh
    export WORD_FROM=hush
    job <<'END'
mayfly: 1
secrets: {WORD: {env: WORD_FROM}}
split: {lines: "in/*.txt", count: 4}
task: {command: [./probe.sh, "{path}", "{offset}"], files: [probe.sh, lib], env: {X: "{id}"}}
workers:
  staging: always
  hosts: [direct, target]
  ssh: {config: config}
END
}

# What differs from run to run: the folders.
without_folders() {
    sed -E 's,^(PWD|TMPDIR)=.*/(attempts/[0-9-]+)$,\1=\2,; s,^(MAYFLY_SECRETS|MAYFLY_JOB)=.*,\1,'
}

as_it_was_in_the_run() {
    local host
    host=$(query "select place from worker join attempt on worker.id = worker where subtask = 2")
    mayfly debug last 2 --host
    assert_exit 7
    assert_same <(without_folders <out) <("$MAYFLY_BIN" logs last 2 --stdout | without_folders)
    assert_contains out hush
    assert_contains out "of the library"
    assert_contains err "on h$([ "$host" = direct ] && echo 1 || echo 2)"
    mayfly debug last 1 --host=target --keep
    assert_exit 0
    assert_contains err "on h2"
    assert_same <(without_folders <out) <("$MAYFLY_BIN" results last 1 | without_folders | sed "s/^MAYFLY_WORKER=.*/$(grep ^MAYFLY_WORKER= out)/")
    host_exec 2 ls "$(sed -n 's/^mayfly: kept: //p' err)/in" >kept
    assert_same kept <(echo "a b.txt")
    host_exec 2 sh -c 'rm -r /home/etl/mayfly-debug.*'
}

a_shell_there() {
    local code=0
    "$MAYFLY_BIN" debug last 3 --host=direct --shell >out 2>err <<<'uname -n; head -n 1 ../../stdin; exit 255' || code=$?
    assert_equal "$code" 255 # of the command, not of ssh
    assert_same out <(printf 'h1\n9\n')
}

at_a_terminal() {
    # At a terminal the shell there has one, too.
    python3 - "$MAYFLY_BIN" "$RUN_ID" <<'END'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], ["mayfly", "debug", sys.argv[2], "3", "--host=direct", "--shell"])
os.write(fd, b"unset HISTFILE; test -t 0 && echo a\"\" terminal; exit 4\n")
seen = b""
while b"a terminal" not in seen:
    got = os.read(fd, 4096)
    seen += got
while True:
    try:
        if not os.read(fd, 4096):
            break
    except OSError:
        break
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(0 if code == 4 else f"exit code {code}")
END
}

start_waiting() { # HOST I
    host_exec "$2" touch /run/wait
    : >err # of the one before
    "$MAYFLY_BIN" debug last 1 --host="$1" >out 2>err </dev/null &
    PID=$!
    wait_until "grep -q '^on h$2' err || has_ended $PID"
    ! has_ended "$PID" || fail "it has ended: $(cat err)"
}

await_clean() { # I
    wait_until "[ -z \"\$(host_processes $1)\" ]"
    host_exec "$1" rm /run/wait
}

# A signal ends the command there, in order; whoever is killed is noticed: the command there ends, and its folder goes.
what_ends_it() {
    start_waiting direct 1
    kill -TERM "$PID"
    await_end
    assert_exit 143
    await_clean 1
    assert_pristine 1
    assert_no_file "$RUN/debug"
}

# The connection breaks, and whoever could say so is gone.
the_link_breaks() {
    start_waiting target 2
    kill -KILL "$PID" "$(pgrep -P "$PID" -x ssh)"
    wait "$PID" 2>/dev/null || :
    await_clean 2
    assert_pristine
    mayfly clean --all --older-than 1h # of a run that stays nothing is touched
    assert_equal "$(find "$RUN/debug" -type f | wc -l)" 1 "notes"
    mayfly clean "$RUN_ID"
    assert_exit 0
    assert_no_file "$RUN"
    assert_pristine
}

# What nobody is left for on the host is removed with the run.
what_clean_finds() {
    local there
    start_waiting direct 1
    there=$(host_processes 1 | sed -n 's/^\([0-9]*\) [^ ]*mayfly-worker debug .*/\1/p')
    # Nobody gets to clean up: debug stands still, and the shell there goes before what it waits for.
    kill -STOP "$PID"
    # shellcheck disable=SC2046
    kill -KILL $(ps -o ppid= "$there") "$there" $(pgrep -P "$PID" -x ssh) "$PID"
    wait "$PID" 2>/dev/null || :
    [ -n "$(host_processes 1)" ] || fail "no process was left"
    host_new_files 1 >left
    assert_contains left mayfly-debug
    mayfly clean "$RUN_ID" --dry-run
    [ -n "$(host_processes 1)" ] || fail "what was only asked for is done"
    host_stop_sshd 1
    mayfly clean "$RUN_ID"
    assert_exit 3
    assert_contains err "what a killed mayfly debug left on direct may still be there (mayfly-debug.$RUN_ID."
    assert_contains err "it would not be looked for): cannot connect to direct (10.77.0.1) (Connection refused)"
    mayfly debug last 1 --host=direct
    assert_exit 125
    assert_contains err "cannot connect to direct (10.77.0.1) (Connection refused): is sshd running there, and on this port?"
    host_start_sshd 1
    assert_equal "$(find "$RUN/debug" -type f | wc -l)" 1 "notes"
    mayfly clean "$RUN_ID"
    assert_exit 0
    assert_no_file "$RUN"
    await_clean 1
    assert_pristine
}

start() {
    hosts_start 2
    write_config
    hosts_are_ready
    probe_job
    run_job -j 1
    assert_exit 1
    assert_pristine
}

long_at_a_terminal_and_a_link_that_breaks() {
    start
    at_a_terminal
    assert_pristine
    the_link_breaks
}

case_on_the_host_it_ran_on() {
    start
    as_it_was_in_the_run
    a_shell_there
    mayfly debug last 1 --host=nowhere
    assert_exit 2
    assert_contains err '"nowhere" is no host of the run: its job has direct and others'
    assert_pristine
    what_ends_it
    what_clean_finds
}

run_cases "$@"
