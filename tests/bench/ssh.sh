#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Workers over SSH, on an sshd of this benchmark's own on loopback: how soon the first subtask starts (beside `ssh host
# true` with OpenSSH's defaults), how soon 16 workers have joined (beside pdsh), how many subtasks a second go through
# (beside local workers).
# usage: ssh.sh     environment: ROUNDS, COUNT (6000), MAYFLY (build/release/mayfly), BENCH_DIR
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

at_once=16
count=${COUNT:-6000}
mayfly=${MAYFLY:-$source_folder/build/release/mayfly}
need "$mayfly" "run './setup.sh build' first"
need /usr/bin/pdsh "run './setup.sh deps bench' first"
# shellcheck source=tests/bench/sshd_lib.sh
. "$bench_folder/sshd_lib.sh"

cat >"$scratch/first.yaml" <<END
mayfly: 1
split: {range: 1-1}
task: {shell: date +%s%6N}
END
cat >"$scratch/many.yaml" <<END
mayfly: 1
split: {range: 1-$at_once}
task: {shell: sleep 1}
workers: {slots: 1}
END
cat >"$scratch/true.yaml" <<END
mayfly: 1
split: {range: 1-$count}
task: {command: [/bin/true]}
gather: none
workers: {slots: 2}
END

mayfly_ssh() { # HOSTS JOB OPTION...
    local hosts=$1 job=$2
    shift 2
    "$mayfly" run "$scratch/$job.yaml" -q --hosts "$hosts" -i "$scratch/key" --known-hosts "$scratch/known-all" "$@"
}

# Milliseconds from the start of mayfly to the start of the first subtask.
first_subtask() { # OPTION...
    local start begun
    start=$(now_us)
    begun=$(mayfly_ssh "127.0.0.1:$port" first "$@" 2>"$scratch/err") || fail "$(cat "$scratch/err")"
    awk -v us=$((begun - start)) 'BEGIN { printf "%.1f\n", us / 1000 }'
}

# Milliseconds from the start of mayfly until the last of the workers had joined.
all_joined() {
    local start hosts joined
    hosts=$(seq -f "127.0.0.%g:$port" "$at_once" | paste -sd,)
    start=$(now_us)
    mayfly_ssh "$hosts" many --keep-worker --json >"$scratch/summary" 2>"$scratch/err" || fail "$(cat "$scratch/err")"
    joined=$("$mayfly" sql last "select max(joined_us) from worker where joined_us is not null" | tail -n 1)
    [ "$("$mayfly" sql last "select count(*) from worker where joined_us > 0" | tail -n 1)" -eq "$at_once" ] ||
        fail "not all workers have joined"
    awk -v us=$((joined - start)) 'BEGIN { printf "%.1f\n", us / 1000 }'
}

run_pdsh() {
    PDSH_SSH_ARGS="${ssh_options[*]} -l%u %h" pdsh -R ssh -f "$at_once" -w "127.0.0.[1-$at_once]" true
}

copy_worker() {
    scp -q "${ssh_options[@]}" "$mayfly-worker" "127.0.0.1:$scratch/home/copy"
}

# Subtasks a second between the first worker's joining and the gathering.
run_rate() { # COMMAND...
    "$@" --json >"$scratch/summary" 2>"$scratch/err" || fail "$(cat "$scratch/err")"
    sed -n 's/.*"rate_per_s": *\([0-9.]*\).*/\1/p' "$scratch/summary"
}

for ((round = 1; round <= rounds; round++)); do
    first_subtask >>"$scratch/cold" # the program is copied, and removed at the end
    ms copy_worker >>"$scratch/scp"
    first_subtask --keep-worker >/dev/null
    for i in 1 2 3; do
        first_subtask --keep-worker >>"$scratch/warm"
        ms ssh "${ssh_options[@]}" 127.0.0.1 true >>"$scratch/ssh"
    done
    all_joined >>"$scratch/joined"
    ms run_pdsh >>"$scratch/pdsh"
    run_rate mayfly_ssh "127.0.0.1:$port" true >>"$scratch/over-ssh"
    run_rate "$mayfly" run "$scratch/true.yaml" -q >>"$scratch/locally"
done
head_line
figure "first subtask / ssh host true, ms" "$(median <"$scratch/warm")" "$(median <"$scratch/ssh")" "<= 0.9"
figure "with the copy / that and scp, ms" "$(median <"$scratch/cold")" \
    "$(awk -v a="$(median <"$scratch/ssh")" -v b="$(median <"$scratch/scp")" 'BEGIN { print 0.9 * a + b }')" "<= 1.0"
figure "$at_once workers joined / pdsh, ms" "$(median <"$scratch/joined")" "$(median <"$scratch/pdsh")" "<= 1.0"
figure "/bin/true over ssh / locally, per s" "$(median <"$scratch/over-ssh")" "$(median <"$scratch/locally")" ">= 0.9"
