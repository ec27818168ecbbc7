#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# mayfly trigger watch: what it serves, what it survives, what it says, and what it costs.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mount_lib.sh"
TESTS=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

# Starts a watcher of ./jobs; its log is ./log. Sets WATCHER.
start_watcher() { # [COMMAND before it...]
    : >log
    mkdir -p jobs
    "$@" "$MAYFLY_BIN" trigger watch jobs 2>log </dev/null &
    WATCHER=$!
    wait_until "grep -q ' watching ' log || ! kill -0 $WATCHER"
    assert_contains log ' watching '
}

# It ends by itself, as asked.
stop_watcher() {
    kill -TERM "$WATCHER"
    PID=$WATCHER
    await_end
    assert_equal "$CODE" 0 "exit code of the watcher"
}

# Has it look at everything now.
ask() {
    local asked
    asked=$(grep -c SIGHUP log) || :
    kill -HUP "$WATCHER"
    wait_until "[ \"\$(grep -c SIGHUP log)\" -gt $asked ]"
}

# A job file from standard input is there whole, as `mv` brings it.
put() { # FILE
    cat >"$WORK/put"
    mv "$WORK/put" "jobs/$1"
}

cron_job() { # FILE NAME CRON [SHELL]
    put "$1" <<END
mayfly: 1
name: $2
trigger: {cron: "$3", catchup: last}
split: {list: [a, b]}
task: {shell: "${4:-echo $2 {\}}"}
END
}

queue_job() { # FILE NAME QUEUE WHEN [SHELL]
    put "$1" <<END
mayfly: 1
name: $2
trigger: {queue: $3, when: $4}
split: queue
task: {shell: "${5:-echo {\}}"}
END
}

rows() { # SQL, on queues.db
    sqlite3 -batch -readonly "$XDG_STATE_HOME/mayfly/queues.db" "$1"
}

triggers() {
    rows "select group_concat(name, ' ') from (select name from trigger order by name)"
}

# Its time has come an hour ago, and the watcher is told to look.
make_due() { # NAME
    sqlite3 -batch "$XDG_STATE_HOME/mayfly/queues.db" '.timeout 10000' \
        "update trigger set last_due_us = last_due_us - 3600000000 where name = '$1'"
    kill -HUP "$WATCHER"
}

# Runs of a trigger that have ended as wanted.
ended() { # NAME [STATE]
    rows "select count(*) from firing where trigger = '$1' and state = '${2:-succeeded}'"
}

# The newest run of a job: sets RUN_ID and RUN.
newest_run() { # NAME
    RUN_ID=$(rows "select run_id from firing where trigger = '$1' order by made_us desc limit 1")
    RUN=$XDG_STATE_HOME/mayfly/runs/$RUN_ID
}

case_cron_below_a_minute_and_a_clean_stop() {
    mkdir jobs
    cron_job every.yaml every '@every 1s'
    start_watcher
    wait_until '[ "$(ended every)" -ge 2 ]'
    stop_watcher
    assert_contains log 'asked to stop (SIGTERM)'
    newest_run every
    wait_until '[ "$(rows "select count(*) from firing where state = '"'open'"'")" = 0 ]'
    assert_same "$RUN/result" <(printf 'every a\nevery b\n')
    # A time fires once.
    assert_equal "$(rows "select count(*) from firing" )" "$(rows "select count(distinct due_us) from firing")"
}

case_runs_outlive_their_watcher() {
    mkdir jobs
    cron_job long.yaml long '@every 1h' 'touch $HOME/began; until [ -e $HOME/go ]; do sleep 0.02; done'
    start_watcher
    make_due long
    wait_until '[ -e "$HOME/began" ]'
    kill -KILL "$WATCHER"
    PID=$WATCHER
    await_end
    rm jobs/long.yaml
    newest_run long
    touch "$HOME/go"
    wait_until '[ "$(ended long)" -ge 1 ]'
    # Killed or not, the next one has the folder.
    start_watcher
    assert_equal "$(triggers)" ""
    stop_watcher
}

case_what_a_killed_master_leaves_is_carried_on() {
    mkdir jobs
    "$MAYFLY_BIN" queue create numbers >out
    queue_job n.yaml n numbers '{count: 2}' 'until [ -e $HOME/go ]; do sleep 0.02; done; echo {}'
    start_watcher
    printf '%s\n' 1 2 | "$MAYFLY_BIN" queue push numbers --stdin >out
    newest_run n
    wait_until 'grep -q "epoch 1" "$RUN/master.log" && [ -n "$(workers_of "$RUN_ID")" ]'
    kill -KILL "$(sed -n 's/.*, epoch .* process \([0-9]*\)$/\1/p' "$RUN/master.log")"
    touch "$HOME/go"
    wait_until 'ask; sleep 0.2; [ "$(ended n)" = 1 ]'
    assert_same "$RUN/result" <(printf '1\n2\n')
    assert_contains "$RUN/master.log" 'epoch 2'
    stop_watcher
}

case_files_come_change_break_and_go() {
    start_watcher
    cron_job a.yaml a '0 0 29 2 *'
    mkdir jobs/b
    cron_job b/job.yaml b '0 0 29 2 *'
    wait_until '[ "$(triggers)" = "a b" ]'
    assert_equal "$(rows 'select distinct watcher from trigger')" "$PWD/jobs"
    # Broken: named once, and a goes on as it was, from a copy.
    cp jobs/a.yaml good
    sed 's/cron:/corn:/' good >jobs/a.yaml
    wait_until 'grep -q "a.yaml:3: .*served as it was before" log'
    wait_until '[ "$(rows "select job_path like '"'%/watchers/%.yaml'"' from trigger where name = '"'a'"'")" = 1 ]'
    ask
    assert_equal "$(grep -c 'a.yaml:3: ' log)" 1 "how often it is named"
    stop_watcher
    # Also after a restart.
    start_watcher
    assert_equal "$(triggers)" "a b"
    cp good jobs/a.yaml
    wait_until 'grep -q "a.yaml is served again as it stands" log'
    assert_equal "$(rows "select job_path from trigger where name = 'a'")" "$PWD/jobs/a.yaml"
    # Renamed: the same trigger.
    mv jobs/a.yaml jobs/c.yaml
    wait_until "[ \"\$(rows \"select job_path from trigger where name = 'a'\")\" = $PWD/jobs/c.yaml ]"
    assert_equal "$(triggers)" "a b"
    # Two of one name: the one that came first.
    cp jobs/c.yaml jobs/d.yaml
    wait_until 'grep -q "d.yaml: name: .*c.yaml has a job of the name" log'
    rm jobs/d.yaml jobs/b/job.yaml
    wait_until '[ "$(triggers)" = a ]'
    # The folder is away: nothing is removed.
    mv jobs away
    wait_until 'grep -q "cannot read the folder" log'
    assert_equal "$(triggers)" a
    mv away jobs
    rm jobs/c.yaml
    wait_until 'ask; [ "$(triggers)" = "" ]'
    stop_watcher
    assert_equal "$(find "$XDG_STATE_HOME/mayfly/watchers" -name '*.yaml')" "" "copies that are left"
}

in_a_mounted_folder() {
    cron_job a.yaml a '0 0 29 2 *'
    start_watcher
    umount -l "$PWD/jobs"
    ask
    wait_until 'grep -q "it is empty, and on another file system" log'
    assert_equal "$(triggers)" a
    stop_watcher
    mount -t tmpfs tmpfs "$PWD/jobs" # which on_tmpfs undoes
}

# What lies below a mount that is gone is not the folder without its files.
case_a_folder_whose_mount_goes() {
    mkdir jobs
    on_tmpfs "$PWD/jobs" size=1M in_a_mounted_folder
}

case_messages_stay_when_the_file_goes() {
    mkdir jobs
    "$MAYFLY_BIN" queue create numbers >out
    queue_job n.yaml n numbers '{count: 100}'
    start_watcher
    printf '%s\n' 1 2 3 | "$MAYFLY_BIN" queue push numbers --stdin >out
    rm jobs/n.yaml
    wait_until '[ "$(triggers)" = "" ]'
    assert_equal "$(rows "select ready from queue where name = 'numbers'")" 3
    stop_watcher
}

case_a_queue_that_is_made_later_and_an_age_below_a_minute() {
    local pushed_us waited_us
    mkdir jobs
    queue_job n.yaml n numbers '{count: 100, age: 500ms}'
    start_watcher
    assert_contains log 'n.yaml: trigger.queue: there is no queue'
    "$MAYFLY_BIN" queue create numbers >out
    wait_until 'ask; [ "$(triggers)" = n ]'
    pushed_us=$(date +%s%6N)
    echo 7 | "$MAYFLY_BIN" queue push numbers --stdin >out
    wait_until '[ "$(ended n)" = 1 ]'
    newest_run n
    assert_same "$RUN/result" <(echo 7)
    assert_equal "$(rows "select cause from firing")" age
    # When it was that old, not before and not at the next sweep.
    waited_us=$(($(rows "select made_us from firing") - pushed_us))
    if [ "$waited_us" -lt 500000 ] || [ "$waited_us" -gt 30000000 ]; then fail "it fired after $waited_us us"; fi
    stop_watcher
}

case_files_that_arrive() {
    mkdir -p jobs/spool/incoming
    "$MAYFLY_BIN" queue create files >out
    put spool/job.yaml <<'END'
mayfly: 1
name: spool
trigger: {queue: files, when: {count: 3}, spool: incoming}
split: {queue: files, items: files}
task: {shell: "cat {path}"}
END
    echo one >jobs/spool/incoming/1 # came while nobody watched
    start_watcher
    echo two >jobs/spool/incoming/2
    echo three >"$WORK/3"
    mv "$WORK/3" jobs/spool/incoming/3
    wait_until '[ "$(ended spool)" = 1 ]'
    newest_run spool
    assert_equal "$(sort "$RUN/result" | xargs)" "one three two"
    assert_equal "$(find jobs/spool/incoming -path "*/done/$RUN_ID/*" -type f | wc -l)" 3
    stop_watcher
}

start_redis() {
    redis-server --port 0 --unixsocket "$WORK/redis" --dir "$WORK" --appendonly yes --save '' >redis.log 2>&1 &
    REDIS=$!
    wait_until 'redis-cli -s "$WORK/redis" ping | grep -q PONG'
}

# What a broker has comes at once; one that goes away and comes back goes on.
case_a_broker_that_goes_away_and_comes_back() {
    command -v redis-server >/dev/null || skip "redis-server is not installed"
    mkdir jobs
    start_redis
    "$MAYFLY_BIN" queue create work >out
    put r.yaml <<END
mayfly: 1
name: r
trigger: {queue: work, when: {count: 2}, redis: {server: $WORK/redis, list: work}}
split: queue
task: {shell: "echo {}"}
END
    start_watcher
    redis-cli -s "$WORK/redis" rpush work one two >out
    wait_until '[ "$(ended r)" = 1 ]'
    newest_run r
    assert_same "$RUN/result" <(printf 'one\ntwo\n')
    kill -KILL "$REDIS"
    wait_until 'grep -q "warning job r: " log'
    start_redis
    redis-cli -s "$WORK/redis" rpush work three four >out
    wait_until '[ "$(ended r)" = 2 ]'
    # A connection that ends and one that is refused are two troubles; each is named once.
    assert_equal "$(sed -n 's/.*warning job r: //p' log | sort | uniq -d)" "" "what is named more than once"
    stop_watcher
}

case_a_folder_has_one_watcher() {
    local below
    mkdir -p jobs/below
    cron_job below/job.yaml x '0 0 29 2 *'
    start_watcher
    mayfly trigger watch jobs/below/..
    assert_exit 2
    assert_contains err "another watcher serves $PWD/jobs already: process $WATCHER"
    # The folder in it may be watched, too: what both find is left to the first one.
    "$MAYFLY_BIN" trigger watch jobs/below 2>below.log </dev/null &
    below=$!
    wait_until 'grep -q " watching " below.log'
    assert_contains below.log "job x is served by the watcher of $PWD/jobs already (process $WATCHER)"
    assert_equal "$(rows 'select watcher from trigger')" "$PWD/jobs"
    stop_watcher
    kill -HUP "$below"
    wait_until "[ \"\$(rows 'select watcher from trigger')\" = $PWD/jobs/below ]"
    WATCHER=$below
    stop_watcher
}

# What is due by the clock is the watcher's as long as it lives, stopped or not; then a tick's.
case_a_tick_leaves_it_to_a_live_watcher() {
    mkdir jobs
    cron_job daily.yaml daily '0 3 * * *'
    start_watcher
    kill -STOP "$WATCHER"
    sqlite3 -batch "$XDG_STATE_HOME/mayfly/queues.db" 'update trigger set last_due_us = last_due_us - 3 * 86400000000'
    mayfly trigger tick
    assert_exit 0
    assert_equal "$(rows 'select count(*) from firing')" 0
    mayfly trigger next daily
    assert_contains out "served by the watcher of $PWD/jobs (process $WATCHER)"
    kill -KILL "$WATCHER"
    PID=$WATCHER
    await_end
    mayfly trigger next daily
    assert_contains out "the watcher of $PWD/jobs, which serves it, does not run now"
    mayfly trigger tick
    assert_equal "$(rows 'select count(*), cause from firing')" '1|cron'
    wait_until '[ "$(ended daily)" = 1 ]'
}

case_what_was_installed_by_hand_stays_so() {
    mkdir jobs
    cron_job x.yaml x '0 0 29 2 *'
    mayfly trigger install jobs/x.yaml --scheduler none
    assert_exit 0
    start_watcher
    assert_contains log "job x was installed by hand from $PWD/jobs/x.yaml"
    assert_equal "$(rows 'select watcher is null from trigger')" 1
    mayfly trigger remove x
    assert_exit 0
    ask
    wait_until "[ \"\$(rows 'select watcher from trigger')\" = $PWD/jobs ]"
    stop_watcher
}

case_wrong_usage() {
    mayfly trigger watch
    assert_exit 2
    assert_contains err 'which folder'
    mayfly trigger watch a b
    assert_exit 2
    mayfly trigger watch nowhere
    assert_exit 2
    assert_contains err 'cannot watch "nowhere"'
    echo >file
    mayfly trigger watch file
    assert_exit 2
    assert_contains err 'it is not a folder'
}

case_a_service_manager_hears_of_it() {
    mkdir jobs
    cron_job a.yaml a '0 0 29 2 *'
    "$TESTS/hear.py" "$WORK/ear" heard &
    wait_until '[ -S "$WORK/ear" ]'
    start_watcher env NOTIFY_SOCKET="$WORK/ear" WATCHDOG_USEC=300000
    wait_until 'grep -q "^READY=1" heard'
    assert_contains heard 'STATUS=1 job, next 20'
    wait_until '[ "$(grep -c "^WATCHDOG=1" heard)" -ge 4 ]' # while nothing else happens
    ask
    wait_until '[ "$(sed -n "/^RELOADING=1/,\$p" heard | grep -c "^READY=1")" = 1 ]'
    stop_watcher
    wait_until 'grep -q "^STOPPING=1" heard'
}

# Decided and not started: whoever comes next starts it, once.
case_killed_between_a_decision_and_its_run() {
    mkdir jobs
    cron_job every.yaml every '@every 1h'
    start_watcher env MAYFLY_CRASH=trigger.after-commit
    make_due every
    PID=$WATCHER
    await_end
    assert_equal "$CODE" 137
    assert_equal "$(rows 'select state, count(*) from firing')" 'open|1'
    start_watcher
    wait_until '[ "$(ended every)" = 1 ]'
    assert_equal "$(rows 'select count(*) from firing')" 1
    stop_watcher
}

# A queues.db that nobody can use: said once, tried again, and not without a pause.
case_queues_that_cannot_be_used_for_a_while() {
    local db=$XDG_STATE_HOME/mayfly/queues.db before
    mkdir jobs away
    cron_job every.yaml every '@every 1h'
    start_watcher
    kill -STOP "$WATCHER"
    mv "$db"* away
    echo 'this is not a database, and nothing that could be taken for one' >"$db"
    kill -HUP "$WATCHER"
    before=$(awk '/^voluntary/ { print $2 }' "/proc/$WATCHER/status")
    kill -CONT "$WATCHER"
    wait_until 'grep -q "warning .*queues.db" log'
    sleep 1.2
    [ "$(awk '/^voluntary/ { print $2 }' "/proc/$WATCHER/status")" -lt $((before + 20)) ] || fail "it does not rest"
    assert_equal "$(grep -c "warning .*queues.db" log)" 1 "how often it is named"
    mv away/* "$XDG_STATE_HOME/mayfly/"
    make_due every
    wait_until '[ "$(ended every)" = 1 ]'
    stop_watcher
}

# Nothing happens, so nothing is done: no wake-up for more than a second. A second is the shortest that
# anything in it ever waits for.
case_idle_it_sleeps() {
    local i
    mkdir -p jobs/spool/incoming
    "$MAYFLY_BIN" queue create files >out
    for i in 1 2 3 4 5; do cron_job "$i.yaml" "job-$i" '0 0 29 2 *'; done
    put spool/job.yaml <<'END'
mayfly: 1
name: spool
trigger: {queue: files, when: {count: 3, age: 5s}, spool: incoming}
split: queue
task: {shell: "echo {}"}
END
    start_watcher
    wait_until has_slept
    if ! is_sanitized; then
        [ "$(awk '/^VmRSS/ { print $2 }' "/proc/$WATCHER/status")" -lt 10240 ] ||
            fail "it takes $(grep VmRSS "/proc/$WATCHER/status")"
    fi
    stop_watcher
}

# More than a second without a wake-up and without any processor time.
has_slept() {
    local before
    before=$(wakes)
    sleep 1.2
    [ "$(wakes)" = "$before" ]
}

# How often the watcher has slept, and its processor time.
wakes() {
    awk '/^voluntary/ { print $2 }' "/proc/$WATCHER/status"
    awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$WATCHER/stat"
}

is_sanitized() {
    grep -qaE '__(asan|tsan)_init' "$MAYFLY_BIN"
}

case_a_clock_that_is_set() {
    mkdir jobs
    cron_job daily.yaml daily '0 3 * * *'
    echo 0 >clock
    export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0
    start_watcher env MAYFLY_CLOCK="$PWD/clock" LD_PRELOAD="$MAYFLY_TEST_BIN/set_clock.so"
    assert_equal "$(rows 'select count(*) from firing')" 0
    # Three days on: one run for all that was missed, without anything else that wakes it.
    echo 259200 >clock.new
    mv clock.new clock
    wait_until '[ "$(ended daily)" = 1 ]'
    assert_contains log 'the clock was set'
    # Back again: nothing is due, and nothing goes round in circles.
    echo 0 >clock.new
    mv clock.new clock
    wait_until '[ "$(grep -c "the clock was set: " log)" = 2 ]'
    ask
    assert_equal "$(rows 'select count(*) from firing')" 1
    stop_watcher
}

run_cases "$@"
