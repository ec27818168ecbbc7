#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Connect, log in, run `true` and close, beside `ssh host true` with OpenSSH's defaults, on an sshd of this
# benchmark's own on loopback; 16 at once, beside pdsh -R ssh (or ssh in parallel); and 256 MiB brought there.
# Milliseconds.
# usage: login.sh     environment: ROUNDS, BENCH_REMOTE (build/bench/tests/bench/bench_remote), BENCH_DIR
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

at_once=16
bytes=$((256 << 20))
program=${BENCH_REMOTE:-$source_folder/build/bench/tests/bench/bench_remote}
need "$program" "run 'cmake --preset bench && cmake --build --preset bench' first"
# shellcheck source=tests/bench/sshd_lib.sh
. "$bench_folder/sshd_lib.sh"

run_peers() {
    local hosts
    hosts=127.0.0.[1-$at_once]
    if command -v pdsh >/dev/null; then
        PDSH_SSH_ARGS="${ssh_options[*]} -l%u %h" pdsh -R ssh -f "$at_once" -w "$hosts" true
    else
        seq -f "127.0.0.%g" "$at_once" | xargs -P "$at_once" -I{} ssh "${ssh_options[@]}" {} true
    fi
}

run_upload() {
    head -c "$bytes" /dev/zero | ssh "${ssh_options[@]}" 127.0.0.1 'cat > /dev/null'
}

for ((round = 1; round <= rounds; round++)); do
    "$program" "$port" "$scratch/key" "$scratch/known" 3 1 >>"$scratch/ours"
    for i in 1 2 3; do ms ssh "${ssh_options[@]}" 127.0.0.1 true >>"$scratch/ssh"; done
    "$program" "$port" "$scratch/key" "$scratch/known" 1 "$at_once" >>"$scratch/ours-many"
    ms run_peers >>"$scratch/peers"
    "$program" "$port" "$scratch/key" "$scratch/known" 1 1 "$bytes" >>"$scratch/ours-bytes"
    ms run_upload >>"$scratch/ssh-bytes"
done
head_line
figure "login: one / ssh, ms" "$(cut -d' ' -f1 "$scratch/ours" | median)" "$(median <"$scratch/ssh")" "<= 0.9"
figure "login: $at_once at once / pdsh, ms" "$(cut -d' ' -f1 "$scratch/ours-many" | median)" \
    "$(median <"$scratch/peers")" "<= 1.0"
figure "256 MiB there: ours / ssh, ms" "$(cut -d' ' -f1 "$scratch/ours-bytes" | median)" "$(median <"$scratch/ssh-bytes")" "<= 1.3"
echo "CPU of this side for a login: $(cut -d' ' -f2 "$scratch/ours" | median) ms"
