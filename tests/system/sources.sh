#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # what stands in single quotes is for the job's shell
# Files that arrive in a folder, and entries of a real Redis server, become messages that start runs: each once, whoever
# dies on the way. The details are in tests/unit/source.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mount_lib.sh"
. "$(dirname "$0")/trigger_lib.sh"

# A job whose subtasks print the size of their file, and fail for one that says so; three make a batch.
sizes_job() {
    trigger_job sizes '{queue: files, when: {count: 3}, spool: incoming}' '{queue: files, items: files}' \
        'if grep -q poison {path}; then exit 1; else wc -c <{path}; fi'
}

arrive() { # NAME TEXT
    printf '%s' "$2" >"incoming/.$1"
    mv "incoming/.$1" "incoming/$1"
}

case_files_end_where_their_run_has_ended() {
    mayfly queue create files --max-claims 1
    assert_exit 0
    sizes_job
    mayfly trigger install sizes.yaml --scheduler none
    assert_exit 2
    assert_contains err "trigger.spool: there is no folder $PWD/incoming: make it first"
    mkdir incoming
    install sizes
    arrive $'\xff\n' 1 # any bytes may be in a name
    arrive b 22
    exec 7>incoming/c
    tick
    assert_contains err "sources brought 2 messages"
    assert_equal "$(figure files ready)" 2
    printf 333 >&7
    exec 7>&-
    tick
    only_run
    wait_until all_settled
    assert_equal "$(sort "$RUN/result" | tr '\n' ' ')" "1 2 3 "
    assert_equal "$(cd incoming && find . -type f ! -name '*.lock' -print0 | LC_ALL=C sort -z | tr '\0' '|')" \
        "./done/$RUN_ID/b|./done/$RUN_ID/c|./done/$RUN_ID/"$'\xff\n|'
}

# A poisoned file: its run is partial at best, it becomes a dead letter, is mended, and comes again.
case_a_poisoned_file_is_set_aside_and_replayed() {
    local path
    mayfly queue create files --max-claims 1
    assert_exit 0
    mkdir incoming
    sizes_job
    echo 'tolerate: 1' >>sizes.yaml
    install sizes
    arrive a 1
    arrive b poison
    arrive 'c d' 22
    tick
    only_run
    wait_until all_settled
    assert_equal "$(summary .state)" partial
    path=$PWD/incoming/failed/$RUN_ID/b
    assert_equal "$(ask 'SELECT state, body FROM message')" "dead|$path"
    assert_file "incoming/done/$RUN_ID/a"
    assert_file "incoming/done/$RUN_ID/c d"
    echo good >"$path"
    mayfly queue replay files --all
    assert_exit 0
    mayfly trigger run sizes
    assert_exit 0
    wait_until all_settled
    assert_equal "$(ask 'SELECT count(*) FROM message')" 0
    assert_no_file "$path"
    assert_equal "$(cat incoming/done/*/b)" good
}

# Killed between the rename and the push, after the push, and among the moves at the end.
case_killed_on_the_way_of_a_file() {
    local point
    queue_with files
    mkdir incoming
    sizes_job
    install sizes
    for point in source.after-take source.after-commit; do
        for name in a b c; do arrive "$name" "$point"; done
        CODE=0
        MAYFLY_CRASH=$point mayfly trigger tick
        assert_equal "$CODE" 137 "$point"
        wait_until settled_by_ticks
    done
    MAYFLY_CRASH=source.after-move:2 install sizes
    for name in a b c; do arrive "$name" move; done
    tick
    wait_until 'grep -q . <<<"$(find incoming/done -name b)"'
    install sizes
    wait_until settled_by_ticks
    assert_equal "$(figure files 'done')" 9
    assert_equal "$(done_in_runs)" 9
    assert_equal "$(find incoming/done -type f | wc -l)" 9
    assert_equal "$(find incoming/.claimed -mindepth 1 ! -name '*.lock')" ""
}

# The folder is a small file system, then read-only, then .claimed is another one: said each time, and nothing is lost.
in_a_folder_of_its_own() {
    arrive a 1
    tick
    assert_contains err "1 could not be asked"
    listed sizes .error >said
    assert_contains said "(No space left on device): free space"
    mount -o remount,nr_inodes=20 "$PWD/incoming"
    mount -o remount,ro "$PWD/incoming"
    tick
    listed sizes .error >said
    assert_contains said "mount it writable"
    mount -o remount,rw "$PWD/incoming"
    mkdir -p incoming/.claimed
    mount -t tmpfs tmpfs "$PWD/incoming/.claimed"
    tick
    listed sizes .error >said
    assert_contains said "is on another file system"
    umount "$PWD/incoming/.claimed"
    assert_file incoming/a
    tick
    assert_equal "$(listed sizes '"\(.ready) \(.error)"')" "1 null"
}

case_folders_that_cannot_be_used() {
    queue_with files
    mkdir incoming
    sizes_job
    install sizes
    on_tmpfs "$PWD/incoming" nr_inodes=3 in_a_folder_of_its_own
}

# --- Redis. ---

redis_start() {
    redis-server --port 0 --unixsocket "$WORK/redis.sock" --dir "$WORK" --appendonly yes --appendfsync always \
        --save '' --logfile "$WORK/redis.log" ${REDIS_PASSWORD:+--requirepass "$REDIS_PASSWORD"} &
    REDIS_PID=$!
    wait_until 'redis PING | grep -q PONG'
}

redis() {
    env ${REDIS_PASSWORD:+REDISCLI_AUTH="$REDIS_PASSWORD"} redis-cli -s "$WORK/redis.sock" "$@"
}

redis_kill() {
    kill -KILL "$REDIS_PID"
    wait "$REDIS_PID" 2>/dev/null || :
}

case_a_list_of_redis() {
    redis_start
    queue_with events
    trigger_job light "{queue: events, when: {count: 3}, redis: {server: $WORK/redis.sock, list: work}}" queue 'echo {}'
    install light
    redis RPUSH work one two >/dev/null
    tick
    assert_equal "$(figure events ready)" 2
    # The server goes away: that is said, until it is back.
    redis_kill
    tick
    assert_contains err "1 could not be asked"
    assert_equal "$(listed light .error | grep -c 'its source: the Redis server')" 1
    redis_start
    redis RPUSH work three four >/dev/null
    MAYFLY_CRASH=source.after-commit mayfly trigger tick
    assert_equal "$CODE" 137
    tick
    only_run
    wait_until all_settled
    assert_equal "$(tr '\n' ' ' <"$RUN/result")" "one two three four "
    assert_equal "$(listed light .error)" null
    assert_equal "$(redis DBSIZE)" 0
    redis_kill
}

# It is woken by what comes, notices that the server has gone, and finds it again.
case_a_watcher_of_redis() {
    local watcher
    redis_start
    queue_with events
    mkdir jobs
    trigger_job light "{queue: events, redis: {server: $WORK/redis.sock, stream: s}}" queue 'echo {}'
    mv light.yaml jobs
    "$MAYFLY_BIN" trigger watch jobs 2>log </dev/null &
    watcher=$!
    wait_until 'redis CLIENT LIST | grep -q cmd=xreadgroup'
    redis XADD s '*' body one >/dev/null
    wait_until '[ "$(figure events done)" = 1 ]'
    redis_kill
    wait_until 'grep -q "the Redis server .* tried again" log'
    redis_start
    redis XADD s '*' body two >/dev/null
    wait_until '[ "$(figure events done)" = 2 ]'
    assert_equal "$(redis XPENDING s mayfly | head -n 1)" 0
    wait_until all_settled
    kill "$watcher"
    wait "$watcher"
    redis_kill
}

# It is nowhere but where the job says, and in the server.
case_the_password_of_redis_stays_where_it_is() {
    REDIS_PASSWORD=sesame-of-this-case
    redis_start
    queue_with events
    printf '%s\n' "$REDIS_PASSWORD" >"$WORK/password"
    trigger_job light "{queue: events, redis: {server: $WORK/redis.sock, stream: s, password: {file: $WORK/password}}}" \
        queue 'echo {n}'
    install light
    redis XADD s '*' n 1 >/dev/null
    tick
    only_run
    wait_until all_settled
    assert_equal "$(cat "$RUN/result")" 1
    echo wrong >"$WORK/password"
    tick
    assert_equal "$(listed light .error | grep -c 'WRONGPASS')" 1
    assert_equal "$(grep -rlaF "$REDIS_PASSWORD" "$WORK" --exclude-dir=redis.sock)" ""
    redis_kill
}

# What a package that is not installed says of itself: a library that cannot be loaded stands for it.
case_without_hiredis() {
    queue_with events
    mkdir libs
    echo >libs/libhiredis.so.0.14
    trigger_job light '{queue: events, redis: {list: work}}'
    LD_LIBRARY_PATH=$PWD/libs mayfly trigger install light.yaml --scheduler none
    assert_exit 3
    assert_contains err "install Debian's package libhiredis0.14"
    # Not even loaded by others.
    LD_LIBRARY_PATH=$PWD/libs mayfly queue push events a
    assert_exit 0
    if ldd "$MAYFLY_BIN" | grep hiredis; then fail "mayfly is linked against it"; fi
}

run_cases "$@"
