#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# mayfly debug --host: a subtask again on the host that it ran on, with what it had there; nothing is left.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

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
[ "$X" != 2 ] || exit 7
END
    chmod +x probe.sh
    export WORD_FROM=hush
    job <<'END'
mayfly: 1
secrets: {WORD: {env: WORD_FROM}}
split: {lines: "in/*.txt", count: 4}
task: {command: [./probe.sh, "{path}", "{offset}"], files: [probe.sh, lib], env: {X: "{id}"}}
workers: {staging: always}
END
}

# What differs from run to run: the folders.
without_folders() {
    sed -E 's,^(PWD|TMPDIR)=.*/(attempts/[0-9-]+)$,\1=\2,; s,^(MAYFLY_SECRETS|MAYFLY_JOB)=.*,\1,'
}

case_on_the_host_it_ran_on() {
    local host
    hosts_start 2
    probe_job
    over_ssh run_job "$(entries 1 2)"
    assert_exit 1
    assert_pristine
    host=$(query "select host from worker join attempt on worker.id = worker where subtask = 2")
    mayfly debug last 2 --host
    assert_exit 7
    assert_same <(without_folders <out) <("$MAYFLY_BIN" logs last 2 --stdout | without_folders)
    assert_contains out hush
    assert_contains out "of the library"
    assert_contains err "on $host"
    assert_pristine
    mayfly debug last 1 --host=etl@10.77.0.2
    assert_exit 0
    assert_contains err "on h2"
    assert_same <(without_folders <out) <("$MAYFLY_BIN" results last 1 | without_folders | sed "s/^MAYFLY_WORKER=.*/$(grep ^MAYFLY_WORKER= out)/")
    mayfly debug last 1 --host=etl@10.77.0.2 --keep
    host_exec 2 ls "$(sed -n 's/^mayfly: kept: //p' err)/in" >kept
    assert_same kept <(echo "a b.txt")
    host_exec 2 sh -c 'rm -r /home/etl/mayfly-debug.*'
    "$MAYFLY_BIN" debug last 3 --host=etl@10.77.0.1 --shell >out 2>err <<<'uname -n; head -n 1 ../../stdin; exit 9' && fail "exit code 0"
    assert_same out <(printf 'h1\n9\n')
    # At a terminal the shell there has one, too.
    python3 - "$MAYFLY_BIN" "$RUN_ID" <<'END'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], ["mayfly", "debug", sys.argv[2], "3", "--host=etl@10.77.0.1", "--shell"])
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
    mayfly debug last 1 --host=nowhere
    assert_exit 2
    assert_contains err '"nowhere" is no host of the run: its job has etl@10.77.0.1 and others'
    assert_pristine
}

# Whoever started it has gone: the command there ends, and its folder goes.
case_the_connection_ends() {
    hosts_start 1
    gated_job 2 1
    over_ssh start_job "$(entries 1)"
    await_running 1
    open_gates
    await_end
    assert_complete 2
    host_exec 1 rm /run/gate
    "$MAYFLY_BIN" debug last 1 --host >out 2>err </dev/null &
    PID=$!
    wait_until 'grep -q "^on h1" err'
    kill -KILL "$PID"
    wait "$PID" 2>/dev/null || :
    wait_until '[ -z "$(host_processes 1)" ]'
    assert_pristine
}

run_cases "$@"
