#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2119 # cases have no arguments
# Random kills of the master: jobs/etl-packages over SSH, on hosts that have nothing but sshd. The master is killed by
# SIGKILL at a random time and resumed, several times a run, until KILLS is reached. After each run: the bytes of the
# undisturbed run; by the workers' journals nothing that had a final record at a kill was executed after it; nothing is
# left on any host. ctest runs a few kills, .ci/long (part `kills`) 200 of them.
# environment: KILLS (5), KILLS_A_RUN (at most so many, 8), SEED (1), HOSTS_USED (3)
# The times are drawn from SEED, as parts of the time that the undisturbed run took.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/../system/lib.sh"
# shellcheck source=tests/system/hosts_lib.sh
. "$(dirname "$0")/../system/hosts_lib.sh"
# shellcheck source=tests/system/ssh_lib.sh
. "$(dirname "$0")/../system/ssh_lib.sh"
SOURCE=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
KILLS=${KILLS:-5}
KILLS_A_RUN=${KILLS_A_RUN:-8}
SEED=${SEED:-1}
HOSTS_USED=${HOSTS_USED:-3}

kills=0 runs=0 unborn=0

# A part of the time that an undisturbed run takes, in seconds. Early ones are likelier: a resumed master begins further on.
random_time() {
    awk -v us="$TOOK_US" -v r="$RANDOM" 'BEGIN { print us / 1e6 * (r / 32768) ^ 2 }'
}

start_etl() {
    rm -f out err
    "$MAYFLY_BIN" run job.yaml --hosts "$(entries $(seq "$HOSTS_USED"))" -j 1 -i "$HOSTS/id_ed25519" \
        --known-hosts "$HOSTS/known_hosts" --set lease=5s --set orphan_limit=1m >out 2>err </dev/null &
    PID=$!
}

resume_etl() {
    "$MAYFLY_BIN" resume last >out 2>err </dev/null &
    PID=$!
}

# Kills the master after that time. 1: it had ended before.
kill_master() { # SECONDS
    sleep "$1"
    if has_ended "$PID"; then return 1; fi
    kill -KILL "$PID"
    wait "$PID" 2>/dev/null || :
    kills=$((kills + 1))
}

# The only run that there is; a master that is killed at once has none.
find_only_run() {
    RUN=$(find "$XDG_STATE_HOME/mayfly/runs" -mindepth 1 -maxdepth 1 2>/dev/null) || :
    RUN_ID=${RUN##*/}
}

assert_as_undisturbed() { # FINAL_RECORDS
    local found
    assert_exit 0
    assert_equal "$(query 'select state from run')" succeeded "state"
    assert_same "$RUN/result" "$WORK/reference"
    hosts_collect_journals
    found=$("$history_check" check "$RUN" "$WORK/journals" --finals "$1") ||
        fail "$(printf 'the history is wrong:\n%s' "$found")"
    assert_hosts_clean "$RUN_ID"
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

# Whether the run was killed before there was anything to resume: then nothing was promised yet, and it says so.
is_unborn() {
    find_only_run
    [ -n "$RUN_ID" ] && [ -e "$RUN/run.db" ] || return 0
    if "$history_check" finals "$RUN" >now 2>/dev/null; then return 1; fi
    mayfly resume last
    assert_contains err "its run was ended before it began"
}

# One run with up to so many kills, to its end.
attacked_run() { # KILLS
    local left=$1
    rm -rf "$XDG_STATE_HOME/mayfly"
    : >recorded
    start_etl
    while [ "$left" -gt 0 ] && kill_master "$(random_time)"; do
        left=$((left - 1))
        if is_unborn; then
            unborn=$((unborn + 1))
            rm -rf "$XDG_STATE_HOME/mayfly"
            start_etl
            continue
        fi
        cat now >>recorded
        resume_etl
    done
    await_end
    find_only_run
    assert_as_undisturbed recorded
    runs=$((runs + 1))
}

case_random_kills() {
    local started count
    compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || skip "no package lists: run 'apt-get update'"
    cp -r "$SOURCE/jobs/etl-packages/." .
    hosts_start "$HOSTS_USED"
    started=${EPOCHREALTIME/./}
    start_etl
    await_end
    find_only_run
    cp "$RUN/result" "$WORK/reference"
    TOOK_US=$((${EPOCHREALTIME/./} - started))
    assert_as_undisturbed /dev/null
    started=${EPOCHREALTIME/./}
    RANDOM=$SEED
    while [ "$kills" -lt "$KILLS" ]; do
        count=$((1 + RANDOM % KILLS_A_RUN))
        attacked_run $((count < KILLS - kills ? count : KILLS - kills))
    done
    echo "$kills kills in $runs runs ($unborn before there was anything to resume), $(((${EPOCHREALTIME/./} - started) / 1000)) ms; an undisturbed run takes $((TOOK_US / 1000)) ms"
}

run_cases "$@"
