#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# What a run has stored, cut by a byte and by a page, and with bits flipped: every command that reads it answers, with
# what is intact and a warning, or with one message; none dies or hangs, and none is silently wrong. (A bit that flips
# within a value of run.db is not noticed: SQLite keeps no checksums.)
. "$(dirname "$0")/lib.sh"

make_job() {
    seq 150 >input
    job <<END
mayfly: 1
split: {lines: [input], count: 1}
task: {shell: "read -r n; [ ! -e $PWD/hold ] || [ \$n -lt 100 ] || sleep 1000; head -c 1000 /dev/urandom | base64 >&2; echo \$n; [ \$n != 7 ]", retries: 0}
tolerate: 5
workers: {slots: 2}
END
}

# Keeps the run's folder as it is in `whole`, to be put back after each damage.
keep() {
    rm -rf whole
    cp -r "$RUN" whole
}

put_back() {
    rm -rf "$RUN"
    cp -r whole "$RUN"
}

cut_by() { # BYTES FILE
    truncate -s "-$1" "$2"
}

flip() { # OFFSET FILE
    local byte
    byte=$(od -An -tu1 -j "$1" -N 1 "$2")
    printf '%b' "\\x$(printf %02x $((byte ^ 16)))" | dd of="$2" bs=1 seek="$1" conv=notrunc status=none
}

answer() { # FOLDER NAME ARGUMENT...: what a command says goes to FOLDER/NAME.out, .err and .code
    local folder=$1 name=$2 code=0
    shift 2
    timeout 20 "$MAYFLY_BIN" "$@" >"$folder/$name.out" 2>"$folder/$name.err" </dev/null || code=$?
    echo "$code" >"$folder/$name.code"
}

read_all() { # FOLDER
    mkdir -p "$1"
    answer "$1" results results "$RUN_ID"
    answer "$1" logs logs "$RUN_ID"
    answer "$1" status status "$RUN_ID"
    answer "$1" sql sql "$RUN_ID" "select count(*), sum(length(result)) from attempt"
}

# After the damage that WHAT says: no death, no hang; what failed says why, what differs says so.
check_all() { # WHAT IS_CHECKED
    local name code
    read_all now
    for name in results logs status sql; do
        code=$(cat "now/$name.code")
        [ "$code" -lt 124 ] || fail "$1: mayfly $name ended with $code: $(cat "now/$name.err")"
        if [ "$code" -ne "$(cat "intact/$name.code")" ]; then
            grep -q '^mayfly: ' "now/$name.err" || fail "$1: mayfly $name failed with $code and says nothing"
            grep -qF "$RUN_ID" "now/$name.err" || fail "$1: mayfly $name does not say where: $(cat "now/$name.err")"
        elif [ "$2" = checked ] && ! cmp -s "now/$name.out" "intact/$name.out"; then
            [ -s "now/$name.err" ] || fail "$1: mayfly $name is silently wrong"
        fi
    done
}

damage_each() { # FILE IS_CHECKED
    local size at i
    size=$(stat -c %s "$RUN/$1")
    [ "$size" -gt 0 ] || fail "$1 is empty"
    cut_by 1 "$RUN/$1"
    check_all "$1, cut by a byte" "$2"
    put_back
    if [ "$size" -gt 4096 ]; then
        cut_by 4096 "$RUN/$1"
        check_all "$1, cut by a page" "$2"
        put_back
    fi
    for i in 0 1 3 5; do
        at=$((i == 0 ? 9 : size * (2 * i + 1) / 13))
        flip "$at" "$RUN/$1"
        check_all "$1, a bit of byte $at flipped" "$2"
        put_back
    done
}

case_of_a_run_that_has_ended() {
    unset MAYFLY_JOURNAL
    make_job
    run_job
    assert_exit 0
    keep
    read_all intact
    assert_equal "$(cat intact/*.code | sort -u)" 0 "exit codes; $(cat intact/*.err)"
    damage_each run.db unchecked
    damage_each plan.seg checked
    damage_each logs/000001.seg checked
    damage_each logs/index checked
    # Nothing but the index is lost with the index.
    rm "$RUN/logs/index"
    read_all now
    assert_same now/logs.out intact/logs.out
}

# The write-ahead log is there, the plan is whole, some subtasks are open.
case_of_a_run_that_was_interrupted() {
    unset MAYFLY_JOURNAL # it goes on from the same place again and again
    make_job
    touch hold
    start_job --set orphan_limit=2s --set lease=1s
    wait_until "[ \"\$(sqlite3 -readonly $RUN/run.db 'select count(*) >= 90 from attempt')\" = 1 ]"
    kill -KILL "$PID"
    wait_until "is_all_gone $RUN_ID"
    rm hold
    keep
    read_all intact
    damage_each run.db-wal unchecked
    local damage
    for damage in "cut_by 1 $RUN/plan.seg" "cut_by 1 $RUN/run.db-wal" "flip 5 $RUN/logs/000001.seg" \
        "flip 300 $RUN/plan.seg"; do
        eval "$damage"
        mayfly resume "$RUN_ID"
        if [ "$CODE" -eq 0 ]; then
            assert_same out <(seq 150 | grep -vx 7)
        else
            [ "$CODE" -lt 124 ] || fail "$damage: resume ended with $CODE: $(cat err)"
            grep -q '^mayfly: ' err || fail "$damage: resume failed with $CODE and says nothing"
        fi
        wait_until "is_all_gone $RUN_ID"
        echo "$damage: exit code $CODE $(tail -n 1 err)" >>resumed
        put_back
    done
    assert_equal "$(grep -c 'exit code' resumed)" 4
    sed "s|$RUN/||" resumed
}

run_cases "$@"
