# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the benchmarks share. Each prints a line a figure: name, ours, peer, ratio (ours : peer), goal; medians
# of several rounds in which ours and the peer take turns, since only ratios travel from machine to machine.
set -euo pipefail
export LC_ALL=C

bench_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source_folder=$(cd "$bench_folder/../.." && pwd)
# shellcheck disable=SC2034 # the scripts that read this file use it
rounds=${ROUNDS:-5}

# A folder of our own on a real disk (durability costs nothing on tmpfs), with the state of the runs.
mkdir -p "${BENCH_DIR:-$source_folder/build}"
scratch=$(mktemp -d "${BENCH_DIR:-$source_folder/build}/bench-run.XXXXXX")
export XDG_STATE_HOME=$scratch/state XDG_CACHE_HOME=$scratch/cache
peer_pid=''

cleanup() {
    if [ -n "$peer_pid" ]; then kill "$peer_pid" 2>/dev/null || true; fi
    rm -rf "$scratch"
}
trap cleanup EXIT

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# need FILE HOW: ends with the remedy when a program is missing.
need() {
    [ -x "$1" ] || fail "$1 is missing; $2"
}

now_us() {
    date +%s%6N
}

median() {
    sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# rate COUNT COMMAND...: runs the command, prints COUNT per second of its wall-clock time.
rate() {
    local count=$1 start
    shift
    start=$(now_us)
    "$@" >"$scratch/out" 2>"$scratch/err" || {
        cat "$scratch/err" >&2
        fail "failed: $*"
    }
    awk -v n="$count" -v us=$(($(now_us) - start)) 'BEGIN { printf "%.1f\n", n * 1e6 / us }'
}

head_line() {
    printf '%-34s %14s %14s %8s  %s\n' "figure" "ours" "peer" "ratio" "goal"
}

# figure NAME OURS PEER GOAL: one line; OURS and PEER are medians.
figure() {
    awk -v name="$1" -v ours="$2" -v peer="$3" -v goal="$4" \
        'BEGIN { printf "%-34s %14.1f %14.1f %8.2f  %s\n", name, ours, peer, ours / peer, goal }'
}
