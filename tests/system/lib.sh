# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the system tests share; sourced, never run. A test script defines functions named case_* and ends with
# `run_cases "$@"`: each case runs in a subshell of its own, in an empty folder of its own ($WORK, the current
# folder) that also holds its HOME, XDG_STATE_HOME, XDG_CACHE_HOME and TMPDIR, so that copies of a script can
# run at once. With arguments only the named cases run, without them all but those of EXCEPT_CASES (which are tests of
# their own, see suffer.cmake); KEEP=1 keeps the folders.
#
# All workers on this machine keep journals ($MAYFLY_JOURNAL), which are compared with run.db at the end of each case. One
# that makes a run.db of its own, or breaks one, unsets MAYFLY_JOURNAL.
#
# A case waits for conditions (wait_until), never for times. The first assertion that does not hold ends it.
# Exit code: 1 when a case failed; 77 when one was skipped (a failure where CI=true); else 0.
set -euo pipefail
export LC_ALL=C.UTF-8

: "${MAYFLY_BIN:?the path of mayfly; run these tests by ctest}"
: "${MAYFLY_TEST_BIN:?the folder of the test programs; run these tests by ctest}"
EXCEPT_CASES=${EXCEPT_CASES:-none}
history_check=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../history/check.py
LIMIT_SECONDS=${LIMIT_SECONDS:-60} # after so long a condition counts as never met
AT_ONCE=${AT_ONCE:-4} # see each_at_once

fail() {
    local depth
    printf 'FAIL: %s\n' "$*"
    for ((depth = 1; depth < ${#FUNCNAME[@]} - 1; depth++)); do
        case ${FUNCNAME[depth]} in
        case_*) printf '  in %s, line %s\n' "${FUNCNAME[depth]}" "${BASH_LINENO[depth - 1]}" ;;
        esac
    done
    exit 1
} >&2

skip() {
    printf 'SKIPPED: %s\n' "$*" >&2
    if [ "${CI:-}" = true ]; then
        fail "with CI=true nothing may be skipped"
    fi
    exit 77
}

assert_equal() { # GOT WANTED WHAT
    [ "$1" = "$2" ] || fail "$(printf '%s\n  got    %q\n  wanted %q' "${3:-these differ:}" "$1" "$2")"
}

assert_same() { # GOT_FILE WANTED_FILE
    cat -- "$1" >"$WORK/got"
    cat -- "$2" >"$WORK/wanted"
    cmp -s "$WORK/got" "$WORK/wanted" ||
        fail "$(printf '%s is not as wanted:\n' "$1"; diff -a "$WORK/got" "$WORK/wanted" | head -n 20)"
}

assert_contains() { # FILE TEXT
    grep -qaF -e "$2" -- "$1" || fail "$(printf '%s does not contain: %s\nit says:\n' "$1" "$2"; tail -n 20 -- "$1")"
}

assert_not_contains() { # FILE TEXT
    ! grep -qaF -e "$2" -- "$1" || fail "$(printf '%s contains: %s\n' "$1" "$2"; grep -aF -e "$2" -- "$1")"
}

assert_exit() { # WANTED: the exit code of the last run_job
    [ "$CODE" = "$1" ] || fail "$(printf 'exit code %s, wanted %s; standard error:\n' "$CODE" "$1"; tail -n 20 err)"
}

assert_file() { # FILE
    [ -e "$1" ] || fail "$1 is not there"
}

assert_no_file() { # FILE
    if [ -e "$1" ] || [ -L "$1" ]; then fail "$1 is there"; fi
}

# A condition is a command; a string of several words goes through eval.
wait_until() { # CONDITION
    local deadline=$((SECONDS + LIMIT_SECONDS))
    until eval "$1" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || fail "never came true within $LIMIT_SECONDS s: $1"
        sleep 0.05
    done
}

# Writes job.yaml from standard input.
job() {
    cat >job.yaml
}

# mayfly with the streams `out` and `err`; sets CODE.
mayfly() {
    CODE=0
    "$MAYFLY_BIN" "$@" >out 2>err </dev/null || CODE=$?
}

# As `mayfly`, by root, as a user without rights, who can get at what is in the case's folder.
as_user() { # UID ARGUMENT...
    local uid=$1
    shift
    mkdir "$WORK/bin"
    cp "$MAYFLY_BIN" "$MAYFLY_BIN-worker" "$WORK/bin"
    chmod o+x "$BASE"
    chown -R "$uid" "$WORK"
    CODE=0
    setpriv --reuid="$uid" --regid="$uid" --clear-groups "$WORK/bin/mayfly" "$@" >out 2>err </dev/null || CODE=$?
}

# The run that `err` or `out` names: sets RUN_ID and RUN (its folder).
find_run() {
    RUN_ID=$(grep -aohE '[0-9]{8}-[0-9]{6}-[A-Za-z0-9_-]+-[0-9a-f]{4}' err out | head -n 1) ||
        fail "$(printf 'no run id in the output:\n'; cat err)"
    RUN=$XDG_STATE_HOME/mayfly/runs/$RUN_ID
}

# Runs job.yaml to its end, whatever it is, and checks that nothing of it is left. Sets CODE, RUN_ID, RUN.
run_job() { # [ARGUMENT...]
    mayfly run job.yaml "$@"
    find_run
    assert_nothing_left "$RUN_ID"
}

# run_job that has to succeed.
succeed() { # [ARGUMENT...]
    run_job "$@"
    assert_exit 0
    assert_equal "$(summary .state)" succeeded "state"
}

# Starts job.yaml and comes back as soon as its run folder is known. Sets PID, RUN_ID, RUN.
start_job() { # [ARGUMENT...]
    rm -f out err # what stands there names another run
    "$MAYFLY_BIN" run job.yaml "$@" >out 2>err </dev/null &
    PID=$!
    wait_until "grep -q 'mayfly: run 2' err || ! kill -0 $PID"
    find_run
}

# Waits for what start_job started. Sets CODE.
await_end() {
    wait_until "has_ended $PID"
    CODE=0
    wait "$PID" 2>/dev/null || CODE=$?
}

has_ended() { # PID: gone, or a child of ours that waits to be reaped
    local state
    state=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) || return 0
    [ "$state" = Z ]
}

# What jq says of summary.json.
summary() { # FILTER
    jq -r "$1" "$RUN/summary.json"
}

# The account of what the hosts were used for: that of each host and of all is what run.db says by another reckoning, and
# its parts add up.
assert_cost_adds_up() {
    "$(dirname "$history_check")/../system/cost_check.py" "$RUN" >"$WORK/cost" ||
        fail "$(printf 'the cost account is wrong:\n'; cat "$WORK/cost")"
    # shellcheck disable=SC2016
    [ "$(summary 'def near($a; $b): ($a - $b) * ($a - $b) < 1e-6;
        .cost | [., .hosts[]] | all(near(.paid; .busy + .idle + .launching + .dismissing))')" = true ] ||
        fail "the cost account does not add up: $(summary .cost)"
}

# done failed dead cancelled, after checking that they add up to total.
counts() {
    [ "$(summary '.subtasks | .total == .done + .failed + .dead + .cancelled')" = true ] ||
        fail "the counts do not add up: $(summary .subtasks)"
    assert_cost_adds_up
    summary '.subtasks | "\(.done) \(.failed) \(.dead) \(.cancelled)"'
}

# Rows of run.db, columns separated by |.
query() { # SQL
    sqlite3 -batch -readonly "$RUN/run.db" "$1"
}

# Listens there until the case ends, as soon as nobody else does, and comes back then. IN_NETWORK: a command that runs
# another one where the port is meant.
take_port() { # ADDRESS PORT
    "${IN_NETWORK[@]:-env}" python3 - "$1" "$2" "$PWD/taken" <<'END' &
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
while True:
    try:
        s.bind((sys.argv[1], int(sys.argv[2])))
        break
    except OSError:
        time.sleep(0.01)
s.listen()
open(sys.argv[3], "w").close()
time.sleep(1000)
END
    wait_until '[ -e taken ]'
}

# Process ids of the run: those that carry its id in their environment or command line.
processes_of() { # RUN_ID
    printf 'MAYFLY_RUN=%s\n' "$1" >"$BASE/mark"
    printf '%s\n' "$1" >"$BASE/id"
    {
        grep -lsazxF -f "$BASE/mark" /proc/[0-9]*/environ || :
        grep -lsaF -f "$BASE/id" /proc/[0-9]*/cmdline || :
    } 2>/dev/null | cut -d/ -f3 | sort -un
}

# The command line of a process; nothing when it is gone.
command_of() { # PID
    { tr '\0' ' ' <"/proc/$1/cmdline" || :; } 2>/dev/null
}

# Process ids of the workers of a run (not of their slots).
workers_of() { # RUN_ID
    local pid
    for pid in $(processes_of "$1"); do
        if command_of "$pid" | grep -q 'mayfly-worker start '; then echo "$pid"; fi
    done
}

slots_of() { # RUN_ID
    local pid
    for pid in $(processes_of "$1"); do
        if command_of "$pid" | grep -q 'mayfly-worker slot'; then echo "$pid"; fi
    done
}

# Folders of the run at all the places where a worker may live.
places_of() { # RUN_ID
    find "$XDG_CACHE_HOME" "$HOME/.cache" "/var/tmp/mayfly-$(id -u)" "/tmp/mayfly-$(id -u)" /dev/shm/mayfly-* \
        -path "*/runs/$1" 2>/dev/null || :
}

is_all_gone() { # RUN_ID
    [ -z "$(processes_of "$1")" ] && [ -z "$(places_of "$1")" ]
}

assert_nothing_left() { # RUN_ID
    local pids places run=$XDG_STATE_HOME/mayfly/runs/$1
    pids=$(processes_of "$1")
    if [ -n "$pids" ]; then
        fail "processes of run $1 are left: $(for pid in $pids; do
            printf '\n  %s %s' "$pid" "$(command_of "$pid")"
        done)"
    fi
    places=$(places_of "$1")
    [ -z "$places" ] || fail "folders of run $1 are left: $places"
    assert_no_file "$run/keys"
    assert_no_file "$run/control.sock"
}

# Nothing in the histories of the case's runs speaks against what is promised: docs/testing.md.
assert_histories() {
    local found
    [ "${HOSTS_COUNT:-0}" -eq 0 ] || hosts_collect_journals
    found=$("$history_check" all "$XDG_STATE_HOME" "$WORK/journals" 2>&1) ||
        fail "$(printf 'the history is wrong:\n%s' "$found")"
}

# Ends everything that the case started, by the runs that stand in its state folder.
end_all() {
    local run pid
    for run in "$1"/state*/mayfly/runs/*; do
        if [ ! -d "$run" ]; then continue; fi
        while read -r pid; do
            if grep -qsazF "HOME=$1/" "/proc/$pid/environ"; then kill -KILL "$pid" 2>/dev/null || :; fi
        done < <(sed -n 's/.*, epoch .* process \([0-9]*\)$/\1/p' "$run/master.log" 2>/dev/null)
        for pid in $(processes_of "$(basename "$run")"); do
            kill -KILL "$pid" 2>/dev/null || :
        done
        rm -rf /dev/shm/mayfly-*/runs/"$(basename "$run")"
    done
    for pid in $(jobs -p); do
        kill -KILL "$pid" 2>/dev/null || :
    done
}

clean_up() {
    end_all "$WORK"
    cd /
    chmod -R u+rwX "$WORK" 2>/dev/null || :
    if [ -z "${KEEP:-}" ]; then rm -rf "$WORK"; else echo "kept: $WORK"; fi
}

run_case() { # NAME [ARGUMENT...]
    WORK=$BASE/$1
    mkdir -p "$WORK/home" "$WORK/state" "$WORK/cache" "$WORK/tmp"
    cd "$WORK"
    trap clean_up EXIT
    trap 'exit 1' INT TERM
    export HOME=$WORK/home XDG_STATE_HOME=$WORK/state XDG_CACHE_HOME=$WORK/cache TMPDIR=$WORK/tmp
    mkdir work journals
    cd work
    MAYFLY_JOURNAL=$(readlink -f "$WORK")/journals
    export MAYFLY_JOURNAL
    "$@"
    [ -z "${MAYFLY_JOURNAL:-}" ] || assert_histories
}

# Runs FUNCTION for each ARGUMENT, some at once, each as a case of its own; what failed says so.
each_at_once() { # FUNCTION ARGUMENT...
    local function=$1 number=0 failed=0 argument
    shift
    for argument in "$@"; do
        while [ "$(jobs -pr | wc -l)" -ge "$AT_ONCE" ]; do wait -n || :; done
        number=$((number + 1))
        (
            set -e
            BASE=$WORK/$function.$number
            mkdir "$BASE"
            run_case "$function" "$argument"
            touch "$BASE/passed"
        ) >"$WORK/$function.$number.log" 2>&1 &
    done
    wait
    for ((number = 1; number <= $#; number++)); do
        [ ! -e "$WORK/$function.$number/passed" ] || continue
        printf 'at %s:\n' "${!number}" >&2
        cat "$WORK/$function.$number.log" >&2
        failed=$((failed + 1))
    done
    [ "$failed" -eq 0 ] || fail "$failed of $# failed"
}

run_cases() { # [NAME...]
    local name code failed=0 skipped=0 started names=("$@")
    if [ $# -eq 0 ]; then
        mapfile -t names < <(declare -F | sed -n 's/^declare -f \(case_.*\)/\1/p' |
            grep -vxF -e "${EXCEPT_CASES// /$'\n'}")
    fi
    unset "${!MAYFLY_RUN@}" "${!XDG_@}"
    BASE=$(mktemp -d "${TMPDIR:-/tmp}/mayfly-system.XXXXXX")
    trap '[ -n "${KEEP:-}" ] || rm -rf "$BASE"' EXIT
    trap 'exit 1' INT TERM
    for name in "${names[@]}"; do
        started=$EPOCHREALTIME
        set +e
        (
            set -e
            run_case "$name"
        )
        code=$?
        set -e
        case $code in
        0) code=ok ;;
        77) code=SKIPPED skipped=1 ;;
        *) code=FAILED failed=1 ;;
        esac
        printf '%-8s %6.1f s  %s\n' "$code" "$(bc_minus "$EPOCHREALTIME" "$started")" "$name"
    done
    [ "$failed" -eq 0 ] || exit 1
    [ "$skipped" -eq 0 ] || exit 77
}

bc_minus() {
    awk -v a="$1" -v b="$2" 'BEGIN { print a - b }'
}
