#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How soon the subtask of a worker runs elsewhere: after kill -9 of the worker (its connection is reset), on this machine
# and over SSH (an sshd of this benchmark's own on loopback), and after it fell silent (SIGSTOP, as a partition), beyond
# its lease. Milliseconds; the peer column has the goal.
# usage: losses.sh     environment: ROUNDS, LEASE_MS (2000), MAYFLY (build/release/mayfly), BENCH_DIR
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

lease_ms=${LEASE_MS:-2000}
mayfly=${MAYFLY:-$source_folder/build/release/mayfly}
need "$mayfly" "run './setup.sh build' first"
# shellcheck source=tests/bench/sshd_lib.sh
. "$bench_folder/sshd_lib.sh"

cat >"$scratch/losses.yaml" <<END
mayfly: 1
split: {range: 1-2}
task: {shell: 'echo \$\$ \$(date +%s%6N) {} >>$scratch/begun; until [ -e $scratch/gate ]; do sleep 0.05; done'}
gather: none
END

# The worker above a process.
worker_above() { # PID
    local pid=$1
    while [ "$pid" -gt 1 ]; do
        if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q 'mayfly-worker start '; then
            echo "$pid"
            return
        fi
        pid=$(sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f2)
    done
    fail "no worker is above process $1"
}

# begun_lines COUNT: waits for so many.
begun_lines() {
    local i
    for ((i = 0; i < 1500; i++)); do
        if [ "$(wc -l <"$scratch/begun")" -ge "$1" ]; then return; fi
        sleep 0.02
    done
    fail "subtasks did not begin: $(cat "$scratch/err")"
}

# Milliseconds from the signal to the worker of the first subtask until that has begun again.
move() { # SIGNAL OPTION...
    local signal=$1 pid subtask worker at run
    shift
    rm -f "$scratch/gate"
    : >"$scratch/begun"
    "$mayfly" run "$scratch/losses.yaml" --set workers.slots=2 "$@" >"$scratch/out" 2>"$scratch/err" &
    run=$!
    begun_lines 2
    read -r pid _ subtask <"$scratch/begun"
    worker=$(worker_above "$pid")
    at=$(now_us)
    kill "-$signal" "$worker"
    begun_lines 3
    touch "$scratch/gate"
    wait "$run" || fail "$(cat "$scratch/err")"
    awk -v at="$at" -v subtask="$subtask" \
        'NR > 2 && $3 == subtask { printf "%.1f\n", ($2 - at) / 1000; exit }' "$scratch/begun"
}

over_ssh=(--hosts "127.0.0.2:$port/2,127.0.0.3:$port/2" -i "$scratch/key" --known-hosts "$scratch/known-all")
for ((round = 1; round <= rounds; round++)); do
    move KILL --set workers.count=2 >>"$scratch/local"
    move KILL "${over_ssh[@]}" >>"$scratch/ssh"
    move STOP "${over_ssh[@]}" --set "lease=${lease_ms}ms" >>"$scratch/silent"
done
head_line
figure "killed worker, here, ms" "$(median <"$scratch/local")" 1000 "<= 1.0"
figure "killed worker, over SSH, ms" "$(median <"$scratch/ssh")" 1000 "<= 1.0"
figure "silent worker, lease $lease_ms ms" "$(median <"$scratch/silent")" $((lease_ms + 1000)) "<= 1.0"
