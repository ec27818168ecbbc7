#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What an idle `mayfly trigger watch` costs: processor time, wake-ups and memory, with 100 jobs of which nothing is due (50
# by the clock, 50 of a queue, 5 of these with a spool folder), beside a shell that does nothing but sleep a minute at a
# time.
# usage: idle.sh [SECONDS]     (300)     environment: BENCH_BUILD (build/bench), BENCH_DIR
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

seconds=${1:-300}
mayfly=${BENCH_BUILD:-$source_folder/build/bench}/mayfly
need "$mayfly" "run 'cmake --preset bench && cmake --build --preset bench' first"

mkdir -p "$scratch/jobs"
"$mayfly" queue create documents >/dev/null
for i in $(seq 50); do
    mkdir -p "$scratch/jobs/night-$i" "$scratch/jobs/queue-$i/incoming"
    source=''
    [ "$i" -gt 5 ] || source='spool: incoming'
    cat >"$scratch/jobs/night-$i/job.yaml" <<END
mayfly: 1
name: night-$i
trigger: {cron: "0 0 29 2 *"}
split: {range: 1-3}
task: {shell: "echo {}"}
END
    cat >"$scratch/jobs/queue-$i/job.yaml" <<END
mayfly: 1
name: queue-$i
trigger: {queue: documents, when: {count: 100, age: 10s}, $source}
split: queue
task: {shell: "echo {}"}
END
done

# cost PID: wake-ups, milliseconds of processor time and KiB of resident memory so far.
cost() {
    local ms
    ms=$(awk -v tick=$((1000 / $(getconf CLK_TCK))) '{ sub(/.*\) /, ""); print ($12 + $13) * tick }' "/proc/$1/stat")
    awk -v ms="$ms" '/^VmRSS/ { rss = $2 } /^voluntary/ { wakes = $2 } END { print wakes, ms, rss }' "/proc/$1/status"
}

"$mayfly" trigger watch "$scratch/jobs" 2>"$scratch/log" &
ours=$!
while :; do sleep 60; done &
peer_pid=$!
until grep -q 'watching' "$scratch/log"; do
    kill -0 "$ours" 2>/dev/null || fail "the watcher has ended: $(cat "$scratch/log")"
    sleep 0.1
done
sleep 2 # what it has just written is on its way to the disk
read -r wakes ms _ <<<"$(cost "$ours")"
read -r peer_wakes peer_ms _ <<<"$(cost "$peer_pid")"
sleep "$seconds"
read -r wakes_now ms_now rss <<<"$(cost "$ours")"
read -r peer_wakes_now peer_ms_now peer_rss <<<"$(cost "$peer_pid")"
kill "$ours"

per_minute() {
    awk -v n="$1" -v s="$seconds" 'BEGIN { printf "%.2f", n * 60 / s }'
}
line() {
    printf '%-34s %14s %14s %8s  %s\n' "$@"
}
head_line
line "wake-ups a minute" "$(per_minute $((wakes_now - wakes)))" "$(per_minute $((peer_wakes_now - peer_wakes)))" - "the sweep and its waits"
line "processor time a minute, ms" "$(per_minute $((ms_now - ms)))" "$(per_minute $((peer_ms_now - peer_ms)))" - "none to speak of"
line "resident memory, KiB" "$rss" "$peer_rss" - "< 10240"
