#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How soon a resumed run scatters what was never given out, behind a million recorded subtasks; and what may be with
# workers of the killed master, when none of them lives. The goal is 2 s.
# usage: resume.sh [RECORDED]     environment: ROUNDS, BENCH_BUILD (build/bench), BENCH_DIR
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

recorded=${1:-1000000}
rounds=${ROUNDS:-3}
mayfly=${BENCH_BUILD:-$source_folder/build/bench}/mayfly
need "$mayfly" "run 'cmake --preset bench && cmake --build --preset bench' first"
command -v sqlite3 >/dev/null || fail "sqlite3 is missing; run './setup.sh deps'"

seconds_until() { # FILE START_US
    until [ -s "$1" ]; do sleep 0.01; done
    awk -v a="$(head -n 1 "$1")" -v b="$2" 'BEGIN { printf "%.3f\n", (a - b) / 1e6 }'
}

# A run whose master was killed after RECORDED subtasks, which are made up; 64 below the mark and 64 above are open.
# Each of these writes down when it began. Prints both times.
one_round() {
    local folder=$scratch/round run pid start
    rm -rf "$folder" "$XDG_STATE_HOME"
    mkdir -p "$folder"
    cat >"$folder/job.yaml" <<END
mayfly: 1
name: bench-resume
split: {range: 1-$((recorded + 128))}
task: {shell: "[ -e $folder/go ] || exec sleep 1000; i={}; f=above; [ \$i -gt $((recorded + 64)) ] || f=below; date +%s%6N >>$folder/\$f; sleep 1"}
workers: {count: 1, slots: 128}
gather: none
END
    "$mayfly" run "$folder/job.yaml" -q >/dev/null 2>"$folder/err" &
    pid=$!
    until run=$(ls -d "$XDG_STATE_HOME"/mayfly/runs/*-bench-resume-* 2>/dev/null) &&
        [ "$(sqlite3 -readonly "$run/run.db" "select count(*) from worker where state = 'ready'" 2>/dev/null)" = 1 ]; do
        sleep 0.05
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
    "$mayfly-worker" sweep "$(basename "$run")" >/dev/null
    sqlite3 "$run/run.db" "
        insert or ignore into attempt(id, state, cause, exit_code, signal, epoch, worker, ended_us, wall_us, user_us,
            system_us, peak_kib, result_bytes, output_count, output_bytes)
        with recursive n(i) as (select 1 union all select i + 1 from n where i < $recorded)
        select i << 16 | 1, 'done', 'none', 0, 0, 1, 1, 1800000000000000, 1000, 500, 500, 1000, 0, 0, 0 from n;
        update run set high_water = $((recorded + 64)), total = null;"
    touch "$folder/go"
    start=$(now_us)
    "$mayfly" resume -q >/dev/null 2>"$folder/err" &
    pid=$!
    echo "$(seconds_until "$folder/above" "$start") $(seconds_until "$folder/below" "$start")"
    wait "$pid" || fail "the resumed run failed: $(cat "$folder/err")"
}

for ((round = 0; round < rounds; round++)); do one_round; done >"$scratch/times"
head_line
figure "s to what lies above the mark" "$(cut -d' ' -f1 "$scratch/times" | median)" 2 "<= 2"
figure "s to what lies below it" "$(cut -d' ' -f2 "$scratch/times" | median)" 2 "<= 2"
