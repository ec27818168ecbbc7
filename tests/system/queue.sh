#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mayfly queue: what is pushed is there, in order and once; what is refused or fails says what is there and what is not.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mount_lib.sh"

queue() {
    mayfly queue "$@"
}

# Pushes standard input; as mayfly, whose standard input is empty.
push_input() { # ARGUMENT...
    CODE=0
    "$MAYFLY_BIN" queue push "$@" >out 2>err || CODE=$?
}

# One figure of a queue.
figure() { # QUEUE NAME
    "$MAYFLY_BIN" queue stats "$1" --json | jq -r ".$2"
}

bodies() { # QUEUE: separated by spaces
    "$MAYFLY_BIN" queue peek "$1" -n 0 --raw | tr '\n' ' '
}

case_nothing_is_made_before_it_is_used() {
    queue ls
    assert_exit 0
    assert_contains err 'no queues yet'
    queue ls --json
    assert_equal "$(cat out)" '[]'
    queue push docs a
    assert_exit 2
    assert_contains err 'mayfly queue create NAME makes one'
    queue create 'no good'
    assert_exit 2
    assert_no_file "$XDG_STATE_HOME/mayfly"
    queue create docs --if-missing --max-claims 7
    assert_exit 0
    queue create docs --if-missing
    assert_exit 0
    assert_equal "$(figure docs max_claims)" 7
    assert_equal "$(stat -c %a "$XDG_STATE_HOME/mayfly")" 700
}

case_what_is_pushed_is_shown() {
    queue create docs --max-body 1KiB --max-claims 5 --key-window 12h
    queue push docs one 'two words' -- -three
    assert_exit 0
    assert_equal "$(cat out)" 'pushed 3 messages to docs'
    assert_equal "$(bodies docs)" 'one two words -three '
    printf 'whole\nfile\0' >file
    queue push docs --file file --key k --group g --json
    assert_equal "$(cat out)" '{"queue":"docs","pushed":1,"known":0,"started":[]}'
    queue push docs again --key k -q
    assert_equal "$(cat out)" ''
    queue push docs again --key k
    assert_equal "$(cat out)" 'pushed 0 messages to docs (1 came before)'
    queue peek docs -n 0 --json
    assert_equal "$(jq -c '[.id, .state, .claims, .failures, .key, .group, .run_id, .body]' out | tail -n 1)" \
        '[4,"ready",0,0,"k","g",null,"whole\nfile\u0000"]'
    queue stats docs --json
    assert_equal "$(jq -c '[.ready, .ready_bytes, .claimed, .dead, .pushed, .done, .max_body, .max_claims, .key_window_seconds]' out)" \
        '[4,29,0,0,4,0,1024,5,43200]'
    queue ls --json
    assert_equal "$(jq -c '.[] | [.queue, .ready]' out)" '["docs",4]'
    queue peek docs
    assert_contains out 'whole\nfile\x00'
    queue purge docs
    assert_equal "$(cat out)" 'purged 4 ready messages'
    queue remove docs
    assert_exit 0
    queue ls
    assert_contains err 'no queues yet'
}

case_what_comes_by_standard_input() {
    queue create docs
    push_input docs --stdin --unique < <(printf 'a\n\nb\nc')
    assert_exit 0
    push_input docs --stdin --unique < <(printf 'c\nd\n')
    assert_equal "$(cat out)" 'pushed 1 message to docs (1 came before)'
    push_input docs -0 < <(printf 'x y\0')
    push_input docs --jsonl < <(printf '{"body":"j","group":"g"}\n\n[1.10]\n')
    assert_exit 0
    push_input docs -f - < <(printf 'all of\nit')
    assert_equal "$(bodies docs)" 'a b c d x y j [1.10] all of it '
    # What is shown can be pushed again.
    "$MAYFLY_BIN" queue peek docs -n 0 --json >shown
    queue create copy
    push_input copy --jsonl <shown
    assert_equal "$(bodies copy)" "$(bodies docs)"
    assert_equal "$("$MAYFLY_BIN" queue peek copy -n 0 --json | jq -c '[.key, .group]' | sort -u | xargs)" \
        '[a,null] [b,null] [c,null] [d,null] [null,g] [null,null]'
    push_input docs --stdin </dev/null
    assert_exit 0
    assert_equal "$(cat out)" 'pushed 0 messages to docs'
    # Lines of a pipe or a file without being asked for, as xargs has it, but not beside what is given.
    queue create more
    seq 2 | "$MAYFLY_BIN" queue push more >out
    seq 3 4 >lines
    push_input more --group g <lines
    assert_equal "$(cat out)" 'pushed 2 messages to more'
    push_input more 5 <lines
    assert_equal "$(bodies more)" '1 2 3 4 5 '
    push_input more --key k <lines
    assert_exit 2
}

case_a_slow_producer_waits_for_nobody() {
    queue create docs
    mkfifo pipe
    "$MAYFLY_BIN" queue push docs --stdin -q <pipe &
    local pid=$!
    exec 7>pipe
    echo first >&7
    wait_until "[ \$(figure docs ready) = 1 ]"
    # It locks nothing while it waits.
    queue push docs second
    assert_exit 0
    printf 'no end' >&7
    exec 7>&-
    wait "$pid"
    assert_equal "$(bodies docs)" 'first second no end '
}

case_what_is_refused_is_named() {
    queue create docs --max-body 5
    queue create other
    queue push dosc a
    assert_exit 2
    assert_contains err 'there is no queue "dosc", but docs, other'
    push_input docs --stdin < <(printf 'a\n\nsixsix\n')
    assert_exit 2
    assert_contains err 'line 3: a body of 6 bytes is larger than the 5 bytes that queue "docs" takes; nothing was pushed'
    queue push docs a sixsix
    assert_exit 2
    assert_contains err 'message 2: '
    push_input other -f - < <(head -c 1100000 /dev/zero)
    assert_exit 2
    assert_contains err '1048576 bytes'
    push_input other --jsonl < <(printf '1\n{"a":\n')
    assert_exit 2
    assert_contains err 'line 2: not JSON: it ends where a value should stand; nothing was pushed'
    push_input docs -0 --key k < <(printf 'a\0b\0')
    assert_exit 2
    assert_contains err '--key is for one message'
    local wrong
    for wrong in 'push docs' 'push' 'push docs a --stdin' 'push docs -0 --jsonl' 'push docs a --key k --unique' \
        'push docs --file no-such-file' 'push docs a --key=' 'create docs' 'create x --max-body 2MiB' \
        'create x --max-claims 0' 'create x --key-window soon' 'create after.x' 'create x --fan-out-to nobody' \
        'replay docs' 'replay docs --all 7' 'replay docs x' 'replay docs 7' 'peek docs --state gone' \
        'peek docs --json --raw' 'stats' 'remove' 'purge other docs' 'frobnicate'; do
        # shellcheck disable=SC2086 # several words
        queue $wrong
        assert_equal "$CODE" 2 "exit code of: queue $wrong"
        [ -s err ] || fail "nothing is said of: queue $wrong"
    done
    assert_equal "$(figure docs pushed) $(figure other pushed)" '0 0'
    queue ls --json
    assert_equal "$(jq -r '.[].queue' out | xargs)" 'docs other'
}

case_a_late_error_says_what_is_in() {
    queue create docs --max-body 10
    { seq 12000; echo 'far too long'; echo last; } >lines # of a file there is always more to read
    push_input docs --stdin <lines
    assert_exit 2
    assert_contains err 'line 12001: a body of 12 bytes'
    assert_contains err 'up to line 10000 all are in queue "docs" (10000 new messages), from line 10001 on none is'
    assert_not_contains err 'safe'
    assert_equal "$(figure docs ready)" 10000
    push_input docs --stdin --unique <lines
    assert_contains err 'pushing all again is safe, they have keys'
    push_input docs --stdin --unique < <(seq 12000)
    assert_equal "$(cat out)" 'pushed 2000 messages to docs (10000 came before)'
}

case_dead_messages_come_back() {
    queue create docs
    queue push docs a b c d
    # As a run leaves them that failed too often.
    sqlite3 -batch "$XDG_STATE_HOME/mayfly/queues.db" "update message set state = 'dead', failures = 3,
        run_id = 'run-1', cause = 'exit code 7' where body in (x'62', x'63', x'64');
        update queue set ready = 1, ready_bytes = 1, dead = 3"
    queue dead docs --json
    assert_equal "$(jq -c '[.id, .run_id, .cause, .body]' out | xargs)" \
        '[2,run-1,exit code 7,b] [3,run-1,exit code 7,c] [4,run-1,exit code 7,d]'
    queue dead docs
    assert_contains out 'exit code 7'
    queue replay docs 3 1
    assert_exit 2
    assert_contains err 'message 1 is not a dead one of queue "docs": nothing was replayed'
    queue replay docs 3
    assert_equal "$(cat out)" 'replayed 1 message'
    assert_equal "$(bodies docs)" 'a c '
    queue remove docs
    assert_exit 2
    assert_contains err '2 ready and 2 dead messages'
    queue replay docs --all
    assert_equal "$(bodies docs)" 'a c b d '
    queue dead docs --raw
    assert_equal "$(cat out)" ''
    queue purge docs --dead
    assert_equal "$(cat out)" 'purged 0 dead messages'
    queue remove docs --with-messages
    assert_exit 0
}

case_an_event_goes_to_several_queues() {
    queue create mail
    queue create audit
    queue create events --fan-out-to mail --fan-out-to audit
    assert_exit 0
    queue push events e --key k
    queue push events e --key k
    assert_equal "$(bodies events)$(bodies mail)$(bodies audit)" 'e e e '
    assert_equal "$(figure events 'fan_out_to | join(" ")')" 'audit mail'
    queue remove mail --with-messages
    assert_exit 2
    assert_contains err 'it gets copies of what is pushed to "events"'
    queue create later
    queue fan-out events --to later --not-to mail
    assert_equal "$(cat out)" $'audit\nlater'
    queue push events f
    assert_equal "$(bodies mail)$(bodies later)" 'e f '
    queue fan-out events --not-to mail
    assert_exit 2
    assert_contains err 'queue "events" passes nothing on to "mail"'
    queue remove mail --with-messages
    assert_exit 0
    queue create more --fan-out-to events
    assert_exit 2
    assert_contains err 'not passed on again'
}

case_many_push_at_once() {
    queue create docs
    local i
    for i in $(seq 6); do
        { seq -f "$i-%g" 3000 | "$MAYFLY_BIN" queue push docs --stdin -q; } &
        "$MAYFLY_BIN" queue push docs "$i-single" -q &
    done
    wait
    assert_equal "$(figure docs ready)" 18006
    "$MAYFLY_BIN" queue peek docs -n 0 --raw >got
    assert_equal "$(sort -u got | wc -l)" 18006
    for i in $(seq 6); do # what one of them pushed is in its order
        grep "^$i-[0-9]" got >one
        seq -f "$i-%g" 3000 >wanted
        assert_same one wanted
    done
}

# What a push left that was killed at any time can be pushed again.
case_a_killed_push_can_be_repeated() {
    queue create docs
    local i pid
    seq 60000 >numbers
    for i in 1 5000 20000; do
        "$MAYFLY_BIN" queue push docs --stdin --unique -q <numbers &
        pid=$!
        wait_until "[ \$(figure docs pushed) -ge $i ]"
        kill -KILL "$pid" 2>/dev/null || :
        wait "$pid" 2>/dev/null || :
        assert_equal "$(($(figure docs pushed) % 5000))" 0 "messages of whole transactions, over 5000"
    done
    push_input docs --stdin --unique <numbers
    assert_exit 0
    "$MAYFLY_BIN" queue peek docs -n 0 --raw >got
    assert_same got numbers
}

fills_up() {
    queue create docs
    fallocate -l "$(($(df --output=avail -k "$XDG_STATE_HOME" | tail -n 1) - 3000))K" "$XDG_STATE_HOME/ballast"
    seq -f 'message %g of those that fill the disk, with some more text so that it is soon full' 200000 >lines
    push_input docs --stdin <lines
    echo "$CODE" >code
    cp err said
    rm "$XDG_STATE_HOME/ballast"
    figure docs ready >count
    "$MAYFLY_BIN" queue peek docs -n 0 --raw >got
    sqlite3 -batch "$XDG_STATE_HOME/mayfly/queues.db" 'pragma integrity_check' >integrity
    queue push docs 'there is room again' -q
    echo "$CODE" >again
}

case_the_disk_is_full() {
    on_tmpfs "$XDG_STATE_HOME" size=16m fills_up
    assert_equal "$(cat code) $(cat integrity) $(cat again)" '3 ok 0'
    local ready
    ready=$(cat count)
    assert_equal "$((ready % 5000))" 0 "messages of whole transactions, over 5000"
    [ "$ready" -gt 0 ] || fail "nothing was pushed: $(cat said)"
    assert_contains said 'is full'
    assert_contains said "up to line $ready all are in queue \"docs\" ($ready new messages), from line $((ready + 1)) on none is"
    head -n "$ready" lines >wanted
    assert_same got wanted
}

case_files_that_are_not_queues() {
    mkdir -p "$XDG_STATE_HOME/mayfly"
    printf 'something else entirely, and long enough to be looked at %0500d' 0 >"$XDG_STATE_HOME/mayfly/queues.db"
    queue push docs a
    assert_exit 1
    assert_contains err 'queues.db'
    rm "$XDG_STATE_HOME/mayfly/queues.db"
    queue create docs
    sqlite3 -batch "$XDG_STATE_HOME/mayfly/queues.db" 'pragma user_version = 99'
    queue push docs a
    assert_exit 1
    assert_contains err 'use a newer mayfly'
    CODE=0
    env -u XDG_STATE_HOME -u HOME "$MAYFLY_BIN" queue push docs a >out 2>err || CODE=$?
    assert_exit 3
    assert_contains err 'set one of them'
}

run_cases "$@"
