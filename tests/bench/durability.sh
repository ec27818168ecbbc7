#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `durability: full` costs beside `durability: process`: wall time of a whole run of short subtasks, of which each
# result is recorded, with two local workers. Without real commands (noop), where recording is nearly all there is to
# do, and with /bin/true.
# usage: durability.sh [SUBTASKS [TRUE_SUBTASKS]]     environment: ROUNDS, BENCH_BUILD (build/bench), BENCH_DIR
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

subtasks=${1:-100000}
true_subtasks=${2:-10000}
build=${BENCH_BUILD:-$source_folder/build/bench}
mayfly=$build/mayfly
need "$mayfly" "run 'cmake --preset bench && cmake --build --preset bench' first"

write_job() { # NAME SUBTASKS TASK DURABILITY
    cat >"$scratch/$1-$4.yaml" <<END
mayfly: 1
name: bench-$1
split: {range: 1-$2}
task: $3
gather: none
durability: $4
workers: {count: 2, slots: 1}
END
}

compare() { # NAME SUBTASKS TASK
    local durability round
    for durability in full process; do
        write_job "$1" "$2" "$3" "$durability"
    done
    for ((round = 1; round <= rounds; round++)); do
        for durability in full process; do
            rate "$2" "$mayfly" run "$scratch/$1-$durability.yaml" --quiet --json >>"$scratch/$1-$durability"
            rm -rf "$XDG_STATE_HOME"
        done
    done
    # Wall times: the inverse of rates.
    awk -v name="$1 x $2: s, full / process" -v n="$2" -v full="$(median <"$scratch/$1-full")" \
        -v process="$(median <"$scratch/$1-process")" 'BEGIN {
            printf "%-34s %14.2f %14.2f %8.2f  %s\n", name, n / full, n / process, process / full, "<= 1.3"
        }'
}

head_line
compare noop "$subtasks" '{noop: true}'
compare true "$true_subtasks" '{command: [/bin/true]}'
