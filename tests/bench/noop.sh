#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No-op subtasks over the real wire, each result recorded with durability full before it is acknowledged, two
# local workers; beside a bare program that bulk-inserts the same rows, and beside gearman without persistence.
# usage: noop.sh [SUBTASKS]     environment: ROUNDS, BENCH_BUILD (build/bench), BENCH_DIR
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

subtasks=${1:-1000000}
gearman_jobs=${GEARMAN_JOBS:-50000}
build=${BENCH_BUILD:-$source_folder/build/bench}
mayfly=$build/mayfly
insert=$build/tests/bench/bench_insert
gearman=$build/tests/bench/bench_gearman
need "$mayfly" "run 'cmake --preset bench && cmake --build --preset bench' first"
need "$insert" "run 'cmake --build --preset bench' first"

cat >"$scratch/noop.yaml" <<END
mayfly: 1
name: bench-noop
split: {range: 1-$subtasks}
task: {noop: true}
gather: none
durability: full
workers: {count: 2, slots: 1}
END

# A port that nobody listens on, from the range that the kernel does not give out by itself.
free_port() {
    local port
    for port in $(shuf -i 20000-32000 -n 50); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    fail "no free port on 127.0.0.1"
}

start_gearmand() {
    port=$(free_port)
    gearmand --port "$port" --listen 127.0.0.1 --log-file stderr 2>"$scratch/gearmand.log" &
    peer_pid=$!
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
        kill -0 "$peer_pid" 2>/dev/null || break
        sleep 0.05
    done
    cat "$scratch/gearmand.log" >&2
    fail "gearmand does not listen on port $port"
}

with_gearman=yes
if ! command -v gearmand >/dev/null || [ ! -x "$gearman" ]; then
    with_gearman=no
    echo "SKIP gearman: run './setup.sh deps bench', then build the preset bench again" >&2
    [ "${CI:-}" != true ] || fail "a skipped benchmark is a failure in CI"
else
    start_gearmand
fi

for ((round = 1; round <= rounds; round++)); do
    rate "$subtasks" "$mayfly" run "$scratch/noop.yaml" --quiet --json >>"$scratch/ours"
    # The rate of the phase `run` alone, without start and dismissal.
    jq '.subtasks.done / .seconds.run' "$scratch/out" >>"$scratch/ours_run"
    rm -rf "$XDG_STATE_HOME" # a database of this size a round
    "$insert" "$subtasks" "$scratch" | sed 's/.*rows_per_s=//' >>"$scratch/insert"
    [ "$with_gearman" = no ] || "$gearman" "$port" "$gearman_jobs" 2 >>"$scratch/gearman"
done
ours=$(median <"$scratch/ours")
insert_rate=$(median <"$scratch/insert")
head_line
figure "noop: whole run / bulk insert" "$ours" "$insert_rate" ">= 0.4"
figure "noop: phase run / bulk insert" "$(median <"$scratch/ours_run")" "$insert_rate" ""
[ "$with_gearman" = no ] || figure "noop: whole run / gearman" "$ours" "$(median <"$scratch/gearman")" ">= 10"
