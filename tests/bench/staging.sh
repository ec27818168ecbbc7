#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Inputs that travel to two workers beside the same bytes by scp in two streams, over loopback, to an sshd of our
# own; and the master's peak memory for few and for many bytes.
# usage: staging.sh [MIB]     environment: ROUNDS, BENCH_BUILD (build/bench), BENCH_DIR
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

mib=${1:-1024}
rounds=${ROUNDS:-3}
mayfly=${BENCH_BUILD:-$source_folder/build/bench}/mayfly
sshd=$(command -v sshd || echo /usr/sbin/sshd)
need "$mayfly" "run 'cmake --preset bench && cmake --build --preset bench' first"
need "$sshd" "install openssh-server"
files=16

# peak COMMAND...: as memory.sh has it, of the master alone: workers are detached.
peak() {
    python3 -c 'import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)' "$@"
}

start_sshd() {
    local port
    port=$(python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
    ssh-keygen -q -t ed25519 -N '' -f "$scratch/host_key"
    ssh-keygen -q -t ed25519 -N '' -f "$scratch/key"
    if [ "$(id -u)" -eq 0 ]; then mkdir -p /run/sshd; fi
    cat >"$scratch/sshd_config" <<END
Port $port
ListenAddress 127.0.0.1
HostKey $scratch/host_key
AuthorizedKeysFile $scratch/key.pub
PidFile none
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
END
    "$sshd" -D -f "$scratch/sshd_config" 2>"$scratch/sshd.log" &
    peer_pid=$!
    scp_options=(-q -P "$port" -i "$scratch/key" -F none -o "StrictHostKeyChecking=no" -o "UserKnownHostsFile=/dev/null"
        -o LogLevel=ERROR)
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
        sleep 0.05
    done
    fail "the sshd of the benchmark does not listen: $(cat "$scratch/sshd.log")"
}

# make_inputs KIND MIB FOLDER: random bytes, or text that compresses to about a third.
make_inputs() {
    local i each=$(($2 * 1024 * 1024 / files))
    mkdir -p "$3"
    for ((i = 10; i < 10 + files; i++)); do
        if [ "$1" = random ]; then
            head -c "$each" /dev/urandom >"$3/$i"
        else
            awk -v seed="$i" -v size="$each" 'BEGIN {
                srand(seed)
                for (n = 0; n < 5000; n++)
                    word[n] = sprintf("%c%c%s", 97 + rand() * 26, 97 + rand() * 26, substr("abcdefghijkl", 1, 1 + rand() * 9))
                for (at = 0; at < size; at += length(line)) {
                    line = ""
                    for (n = 0; n < 12; n++)
                        line = line word[int(rand() * rand() * 5000)] " "
                    line = line int(rand() * 100000) "\n"
                    printf "%s", line
                } }' >"$3/$i"
            truncate -s "$each" "$3/$i"
        fi
    done
}

write_job() { # FOLDER
    cat >"$1/../staging.yaml" <<END
mayfly: 1
name: bench-staging
split: {files: "$1/*"}
task: {command: ["true", "{path}"]}
gather: none
workers: {count: 2, slots: 1, staging: always}
END
}

ours() { # FOLDER
    "$mayfly" run "$1/../staging.yaml" --quiet
    rm -rf "$XDG_STATE_HOME"
}

by_scp() { # FOLDER
    local half=$((10 + files / 2)) i pids=()
    local -a first=() second=()
    for ((i = 10; i < 10 + files; i++)); do
        if [ "$i" -lt "$half" ]; then first+=("$1/$i"); else second+=("$1/$i"); fi
    done
    mkdir -p "$scratch/to/1" "$scratch/to/2"
    scp "${scp_options[@]}" "${first[@]}" "127.0.0.1:$scratch/to/1/" &
    pids+=($!)
    scp "${scp_options[@]}" "${second[@]}" "127.0.0.1:$scratch/to/2/" &
    pids+=($!)
    wait "${pids[@]}"
    rm -rf "$scratch/to"
}

start_sshd
head_line
for kind in random text; do
    inputs=$scratch/$kind/in
    make_inputs "$kind" "$mib" "$inputs"
    write_job "$inputs"
    cat "$inputs"/* >/dev/null
    for ((round = 1; round <= rounds; round++)); do
        rate "$mib" ours "$inputs" >>"$scratch/$kind.ours"
        rate "$mib" by_scp "$inputs" >>"$scratch/$kind.scp"
    done
    figure "staging: MiB/s of $kind to two" "$(median <"$scratch/$kind.ours")" \
        "$(median <"$scratch/$kind.scp")" ">= 0.5"
    if [ "$kind" = random ]; then
        large=$(peak "$mayfly" run "$scratch/$kind/staging.yaml" --quiet)
        rm -rf "$XDG_STATE_HOME"
        make_inputs random $((mib < 64 ? mib : 64)) "$scratch/few/in"
        write_job "$scratch/few/in"
        small=$(peak "$mayfly" run "$scratch/few/staging.yaml" --quiet)
        figure "staging: master's peak KiB, $mib / 64 MiB" "$large" "$small" ""
        rm -rf "$XDG_STATE_HOME" "$scratch/few"
    fi
    rm -rf "${scratch:?}/$kind"
done
