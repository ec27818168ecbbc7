#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # what stands in single quotes is meant as it is
# mayfly debug: a subtask again in the foreground, as it was in the run, of which nothing changes.
. "$(dirname "$0")/lib.sh"

# Four pieces; each prints all that a command can see of itself, and that of lines 5 to 8 fails.
probe_job() {
    mkdir in
    seq 16 >in/a.txt
    cat >probe.sh <<'EOF2'
#!/bin/sh
echo "arguments: $*"
cat
env | sort
find . | sort
cat "$MAYFLY_SECRETS/WORD" "$MAYFLY_PREPARED/made"
echo "to the other one" >&2
[ "$X" != 2 ] || exit 7
EOF2
    chmod +x probe.sh
    export WORD_FROM=hush
    job <<'EOF2'
mayfly: 1
prepare: echo made >"$MAYFLY_PREPARED/made"
secrets: {WORD: {env: WORD_FROM}}
split: {lines: "in/*.txt", count: 4}
task: {command: [./probe.sh, "{path}", "{offset}"], files: [probe.sh], env: {X: "{id}"}}
workers: {count: 1, slots: 1}
EOF2
    run_job
    assert_exit 1
}

# All of the run's folder but for what readers of run.db leave beside it.
fingerprint() {
    (cd "$RUN" && find . -type f ! -name 'run.db-*' -exec sha256sum {} + | sort)
}

assert_no_trace() {
    assert_equal "$(find "$XDG_CACHE_HOME" -mindepth 2 2>/dev/null)" "" "what is left of mayfly debug"
    assert_equal "$(find "/dev/shm/mayfly-$(id -u)" -path "*debug-$RUN_ID*" 2>/dev/null)" "" "secrets that are left"
}

# What differs from run to run: the folder, by which the attempt is called there.
without_folder() {
    sed -E 's,^(PWD|TMPDIR)=.*/(attempts/[0-9-]+)$,\1=\2,; s,^(MAYFLY_SECRETS)=.*,\1,'
}

it_is_as_it_was_in_the_run() {
    fingerprint >before
    mayfly debug last 2
    assert_exit 7
    assert_same <(without_folder <out) <("$MAYFLY_BIN" logs last 2 --stdout | without_folder)
    assert_contains out hush
    assert_contains err "to the other one"
    assert_contains err "subtask 2 of $RUN_ID, as attempt 1: ./probe.sh in/a.txt 8"
    mayfly debug last 1
    assert_exit 0
    assert_same <(without_folder <out) <("$MAYFLY_BIN" results last 1 | without_folder)
    assert_same before <(fingerprint)
    mayfly debug last 1 --attempt 3
    assert_contains out MAYFLY_ATTEMPT=3
    assert_no_trace
}

what_has_changed_is_named() {
    mayfly debug last 3
    assert_not_contains err changed
    sed -i s/9/nine/ in/a.txt
    touch probe.sh
    mayfly debug last 3
    assert_exit 0
    assert_contains out nine
    assert_contains err "the input in/a.txt has changed since the run: it had 39 bytes and has 42 now; the piece is"
    assert_contains err "files: probe.sh has changed since the run began"
    chmod -x probe.sh
    mayfly debug last 3
    assert_exit 125
    assert_contains err 'cannot start "./probe.sh": Permission denied; is it an executable file (chmod +x)?'
    rm in/a.txt
    mayfly debug last 3
    assert_exit 125
    assert_contains err "in/a.txt of subtask 3 cannot be read any more: No such file"
    assert_no_trace
}

a_shell_and_a_folder_that_is_kept() {
    local code=0 kept
    SHELL=/bin/sh "$MAYFLY_BIN" debug last 2 --shell >out 2>err <<'EOF2' || code=$?
echo "$X $MAYFLY_SUBTASK"
./probe.sh by hand <../../stdin | head -n 5
exit 9
EOF2
    assert_equal "$code" 9
    assert_same out <(printf '2 2\narguments: by hand\n5\n6\n7\n8\n')
    assert_contains err "the subtask's standard input is in "
    assert_no_trace
    mayfly debug last 2 --keep
    assert_exit 7
    kept=$(sed -n 's/^mayfly: kept: //p' err)
    assert_equal "$(cd "$kept" && find . | sort | xargs)" ". ./in ./in/a.txt ./probe.sh"
    [ ! -e "$kept/../../secrets/WORD" ] || fail "the secrets were kept as well"
    rm -r "$XDG_CACHE_HOME/mayfly"
}

case_a_subtask_of_a_run() {
    probe_job
    it_is_as_it_was_in_the_run
    a_shell_and_a_folder_that_is_kept
    what_has_changed_is_named
}

# Its command runs on, and its folder is there: both go with the run, but not those of one that lives.
what_a_killed_one_leaves() {
    local living
    rm -f waiting
    "$MAYFLY_BIN" debug last 4 >/dev/null 2>&1 </dev/null &
    PID=$!
    wait_until '[ -e waiting ]'
    kill -KILL "$PID"
    wait "$PID" 2>/dev/null || :
    wait_until "[ \"\$(processes_of $RUN_ID | wc -l)\" -ge 1 ]"
    [ -n "$(find "$XDG_CACHE_HOME" -path "*debug-$RUN_ID/$PID/*")" ] || fail "nothing was left"
    rm -f waiting
    "$MAYFLY_BIN" debug last 4 >out 2>err </dev/null &
    living=$!
    wait_until '[ -e waiting ]'
    cp -r "$RUN" as_it_was
    mayfly clean "$RUN_ID"
    assert_exit 0
    assert_no_file "$RUN"
    assert_equal "$(find "$XDG_CACHE_HOME" -path "*debug-$RUN_ID/$PID*")" "" "what is left of a killed one"
    # Nor has the sweep of the run itself anything to do with it.
    "$MAYFLY_BUILD/mayfly-worker" sweep "$RUN_ID" >swept
    assert_contains swept '"verified":true,"processes_ended":0'
    : >gate
    PID=$living
    await_end
    assert_exit 0
    assert_equal "$(processes_of "$RUN_ID")" "" "processes"
    mv as_it_was "$RUN"
    rm -r "$RUN/debug"
}

case_how_it_can_end() {
    job <<END
mayfly: 1
split: {list: [signal, none, leaves, waits]}
task:
  shell: |
    case {} in
    signal) kill -9 \$\$ ;;
    leaves) sleep 1000 & echo \$! >$PWD/left ;;
    waits) trap 'echo ended; exit 5' TERM; : >$PWD/waiting; while [ ! -e $PWD/gate ]; do sleep 0.05; done ;;
    esac
  kill_after: 100ms
workers: {count: 1, slots: 4}
tolerate: 4
END
    : >gate
    run_job
    assert_exit 0
    mayfly debug last 1
    assert_exit 137
    assert_contains err "ended by signal 9 (Killed)"
    mayfly debug last 3
    assert_exit 0
    ! kill -0 "$(cat left)" 2>/dev/null || fail "what the command left behind still runs"
    rm -f gate waiting
    "$MAYFLY_BIN" debug last 4 >out 2>err </dev/null &
    PID=$!
    wait_until '[ -e waiting ]'
    kill -TERM "$PID"
    wait_until "has_ended $PID"
    await_end
    assert_exit 5
    assert_same out <(echo ended)
    what_a_killed_one_leaves
    mayfly debug last 5
    assert_exit 2
    assert_contains err "has no subtask 5 in its plan"
    mayfly debug last
    assert_exit 2
    mayfly debug last one
    assert_exit 2
    mayfly debug nothing 1
    assert_exit 2
    assert_no_trace
    mayfly clean "$RUN_ID"
    mayfly debug "$RUN_ID" 1
    assert_exit 2
    assert_contains err "there are no runs yet"
}

# At a terminal the command is its foreground job: Ctrl-C goes to it, and to nobody else; what was there before is
# in the foreground again afterwards.
case_at_a_terminal() {
    job <<END
mayfly: 1
split: {list: [1]}
task: {shell: "trap 'exit 6' INT; echo re''ady; until [ -e $PWD/gate ]; do sleep 0.05; done"}
workers: {count: 1, slots: 1}
END
    : >gate
    run_job
    assert_exit 0
    rm gate
    python3 - "$MAYFLY_BIN" "$RUN_ID" <<'END'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", '"$0" debug "$1" 1; echo "code $?"; read x && echo "read $x"', *sys.argv[1:3]])
seen = b""
def until(text):
    global seen
    while text not in seen:
        try:
            got = os.read(fd, 4096)
        except OSError:
            got = b""
        if not got:
            sys.exit(f"{text!r} did not come: {seen!r}")
        seen += got
until(b"ready")
os.write(fd, b"\x03")
until(b"code 6")
os.write(fd, b"word\n")
until(b"read word")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
    assert_no_trace
}

run_cases "$@"
