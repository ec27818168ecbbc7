#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One `mayfly queue push` as a process, which crosses no threshold, beside `sqlite3 FILE 'insert ...'` as a process: both
# end when the row is on the disk. The peer once as it comes, with a rollback journal and synchronous full, and once with a
# write-ahead log whose file somebody has open, so that, as with ours, closing it copies nothing back: the least that a
# durable insert can cost. Then the rate of many in bulk.
# usage: queue.sh [PUSHES] [MESSAGES]     environment: ROUNDS, MAYFLY (build/release/mayfly), BENCH_DIR
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

pushes=${1:-200}
messages=${2:-500000}
mayfly=${MAYFLY:-$source_folder/build/release/mayfly}
need "$mayfly" "run './setup.sh build' first"
need "$(command -v sqlite3)" "run './setup.sh deps test' first"

# Microseconds of each of COUNT runs of two commands in turns, to the files `ours` and `peer`.
in_turns() { # COUNT OURS PEER
    local i start
    for ((i = 0; i < $1; i++)); do
        start=$(now_us)
        $2
        echo $(($(now_us) - start)) >>"$scratch/ours"
        start=$(now_us)
        $3
        echo $(($(now_us) - start)) >>"$scratch/peer"
    done
}

ours() {
    "$mayfly" queue push -q documents 'scans/2026-11-24/document-17.pdf'
}

peer() {
    sqlite3 "$scratch/$peer_file" "insert into message(queue, state, arrived_us, body)
        values (1, 'ready', 1795500000000000, 'scans/2026-11-24/document-17.pdf')"
}

make_peer() { # FILE JOURNAL
    sqlite3 "$scratch/$1" "pragma journal_mode = $2; create table message(id integer primary key autoincrement,
        queue integer, state text, arrived_us integer, body blob);
        create index message_ready on message(queue) where state = 'ready'" >"$scratch/out"
}

"$mayfly" queue create documents
make_peer wal.db wal
make_peer rollback.db delete
mkfifo "$scratch/open"
sqlite3 "$scratch/wal.db" <"$scratch/open" >"$scratch/answer" &
peer_pid=$!
exec 7>"$scratch/open"
echo 'select count(*) from message;' >&7
until [ -s "$scratch/answer" ]; do sleep 0.01; done

head_line
for peer_file in wal.db rollback.db; do
    rm -f "$scratch/ours" "$scratch/peer"
    in_turns "$pushes" ours peer
    figure "queue: push / sqlite3 (${peer_file%.db}), us" "$(median <"$scratch/ours")" "$(median <"$scratch/peer")" "<= 2.0"
done

seq -f 'scans/2026-11-24/document-%.0f.pdf' "$messages" >"$scratch/lines"
sed 's/.*/{"body": "&", "key": "&", "group": "scans"}/' "$scratch/lines" >"$scratch/objects"
bulk() { # FILE OPTION...
    "$mayfly" queue push documents "${@:2}" <"$1"
}
for ((round = 0; round < rounds; round++)); do
    rate "$messages" bulk "$scratch/lines" --stdin >>"$scratch/bulk"
    "$mayfly" queue purge documents >"$scratch/out"
    rate "$messages" bulk "$scratch/objects" --jsonl >>"$scratch/jsonl"
    "$mayfly" queue remove documents --with-messages
    "$mayfly" queue create documents
done
figure "queue: bulk, lines, per s" "$(median <"$scratch/bulk")" 50000 ">= 1.0"
figure "queue: bulk, JSON with keys, per s" "$(median <"$scratch/jsonl")" 50000 ">= 1.0"
