#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `mayfly run` of /bin/true subtasks on 2 local slots (durable, streams captured) beside xargs -P2 -n1.
# usage: true.sh [SUBTASKS]     environment: ROUNDS, MAYFLY (build/release/mayfly), BENCH_DIR
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

subtasks=${1:-10000}
mayfly=${MAYFLY:-$source_folder/build/release/mayfly}
need "$mayfly" "run './setup.sh build' first"

cat >"$scratch/true.yaml" <<END
mayfly: 1
name: bench-true
split: {range: 1-$subtasks}
task: {command: [/bin/true]}
gather: none
workers: {count: 1, slots: 2}
END

seq "$subtasks" >"$scratch/numbers"
run_xargs() {
    xargs -P2 -n1 /bin/true <"$scratch/numbers"
}

for ((round = 1; round <= rounds; round++)); do
    rate "$subtasks" "$mayfly" run "$scratch/true.yaml" --quiet --json >>"$scratch/ours"
    rate "$subtasks" run_xargs >>"$scratch/xargs"
done
head_line
figure "true: run / xargs -P2, per s" "$(median <"$scratch/ours")" "$(median <"$scratch/xargs")" ">= 1.0"
