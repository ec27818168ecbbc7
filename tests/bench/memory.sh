#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Peak resident memory of the master for a range of a million no-op subtasks beside a range of a thousand.
# usage: memory.sh [SUBTASKS]     environment: ROUNDS, BENCH_BUILD (build/bench), BENCH_DIR
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

large=${1:-1000000}
rounds=${ROUNDS:-3}
mayfly=${BENCH_BUILD:-$source_folder/build/bench}/mayfly
need "$mayfly" "run 'cmake --preset bench && cmake --build --preset bench' first"
cc=$(command -v cc) || fail "cc is missing; run './setup.sh deps'"

# Prints the peak resident memory of a command in KiB: the largest process of it and of those it waited for; the
# detached workers are not among them.
cat >"$scratch/peak.c" <<'END'
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    int status;
    struct rusage usage;
    pid_t pid = fork();
    if (argc < 2 || pid < 0)
        return 1;
    if (pid == 0) {
        execv(argv[1], argv + 1);
        _exit(127);
    }
    if (wait4(pid, &status, 0, &usage) != pid)
        return 1;
    fprintf(stderr, "peak_kib=%ld\n", usage.ru_maxrss);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
END
"$cc" -O2 -o "$scratch/peak" "$scratch/peak.c"

# peak COUNT: the master's peak in KiB for a range of COUNT.
peak() {
    cat >"$scratch/memory.yaml" <<END
mayfly: 1
name: bench-memory
split: {range: 1-$1}
task: {noop: true}
gather: none
workers: {count: 2, slots: 1}
END
    "$scratch/peak" "$mayfly" run "$scratch/memory.yaml" --quiet --json >/dev/null 2>"$scratch/err" || {
        cat "$scratch/err" >&2
        fail "the run of $1 subtasks failed"
    }
    rm -rf "$XDG_STATE_HOME"
    sed -n 's/^peak_kib=//p' "$scratch/err"
}

for ((round = 1; round <= rounds; round++)); do
    peak 1000 >>"$scratch/small"
    peak "$large" >>"$scratch/large"
done
small=$(median <"$scratch/small")
big=$(median <"$scratch/large")
head_line
figure "memory: KiB for $large / 1000" "$big" "$small" ""
awk -v big="$big" -v small="$small" -v n="$large" 'BEGIN {
    printf "%-34s %14.1f %14s %8s  %s\n", "memory: MiB more", (big - small) / 1024, "-", "-", "<= 64"
    printf "%-34s %14.1f\n", "memory: bytes a subtask", (big - small) * 1024 / (n - 1000) }'
