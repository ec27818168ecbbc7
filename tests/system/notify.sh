#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Subscribers are told of a run, at least once, whatever becomes of them or of the master: commands, webhooks (a real
# server, see hook_server.py; signatures are computed again by openssl), queues. No run fails because of them.
. "$(dirname "$0")/lib.sh"
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
export no_proxy=127.0.0.1,localhost

# Sets PORT; the server's requests are in hooks/.
start_server() { # [CERTIFICATE KEY]
    rm -rf hooks
    mkdir hooks
    "$HERE/hook_server.py" hooks "$@" &
    wait_until '[ -e hooks/port ]'
    PORT=$(cat hooks/port)
}

# A job of three subtasks; its subscribers from standard input.
notify_job() { # [LINE_OF_THE_JOB...]
    {
        printf 'mayfly: 1\nname: told\nsplit: {range: 1-3}\ntask: {shell: "echo {}"}\n'
        [ $# -eq 0 ] || printf '%s\n' "$@"
        printf 'notify:\n'
        cat
    } >job.yaml
}

rows() { # the outbox, a row a line
    query "select event || ' ' || subscriber || ' ' || state || ' ' || attempts from notification order by id"
}

header() { # NUMBER NAME
    jq -r --arg name "$2" '.headers[$name]' "hooks/$1.json"
}

requests() { # PATH: numbers of its requests
    local number
    for number in $(seq 1 "$(find hooks -name '*.json' | wc -l)"); do
        if [ "$(jq -r .path "hooks/$number.json")" = "$1" ]; then echo "$number"; fi
    done
}

# Runs that the sweep is to look at.
waiting_runs() {
    sqlite3 -batch -readonly "$XDG_STATE_HOME/mayfly/queues.db" 'select count(*) from outbox_run'
}

# Webhook and command hear of the start, and of the end when the result is there; the signature is the one that openssl
# computes; the key is nowhere else.
case_in_order_and_signed() {
    local number signature
    start_server
    printf 'k3y-of-the-hook\n' >key
    notify_job <<END
  - {on: [started, succeeded], webhook: "http://127.0.0.1:$PORT/ok?token=t0ken", secret: {file: key}}
  - {on: [started, succeeded], shell: 'cat >>events; [ \$MAYFLY_EVENT = started ] || cat "$XDG_STATE_HOME"/mayfly/runs/*/result >seen; echo said by the command'}
  - {on: [failed, partial, cancelled, dead], command: [touch, wrong]}
END
    succeed
    assert_equal "$(rows | sort)" "$(printf '%s\n' 'started 1 delivered 1' 'started 2 delivered 1' \
        'succeeded 1 delivered 1' 'succeeded 2 delivered 1')"
    assert_no_file wrong
    assert_equal "$(jq -r .event events | tr '\n' ' ')" 'started succeeded '
    assert_same seen "$RUN/result"
    assert_contains "$RUN/master.log" 'said by the command'
    assert_equal "$(requests '/ok?token=t0ken' | tr '\n' ' ')" '1 2 '
    assert_equal "$(header 1 X-Mayfly-Event) $(header 2 X-Mayfly-Event)" 'started succeeded'
    for number in 1 2; do
        signature=$({
            printf '%s.' "$(header "$number" X-Mayfly-Timestamp)"
            cat "hooks/$number.body"
        } | openssl dgst -sha256 -hmac k3y-of-the-hook -r | cut -d' ' -f1)
        assert_equal "$(header "$number" X-Mayfly-Signature)" "sha256=$signature"
        assert_equal "$(jq -r .id "hooks/$number.body")" "$(header "$number" X-Mayfly-Id)"
    done
    assert_equal "$(jq -r '"\(.event) \(.run_id) \(.job) \(.state) \(.subtasks.done) \(.result)"' hooks/2.body)" \
        "succeeded $RUN_ID told succeeded 3 $RUN/result"
    assert_equal "$(summary '.notifications | "\(.delivered) \(.pending) \(.failed)"')" '4 0 0'
    ! grep -rqaF k3y-of-the-hook "$XDG_STATE_HOME" out err || fail "the key is in the state folder or the output"
    assert_not_contains "$RUN/master.log" t0ken
    [ "$(query 'select count(*) from notification where target like "%t0ken%"')" = 0 ] || fail "t0ken in the outbox"
    assert_equal "$(waiting_runs)" 0
    mayfly notify
    assert_exit 0
    assert_equal "$(grep -c ' delivered ' out)" 4
}

# What may pass is tried again, not before the server wants it; what does not is given up. One of them does not wait for
# the other.
case_tried_again() {
    local first later
    start_server
    notify_job <<END
  - {webhook: "http://127.0.0.1:$PORT/first/503/1/x"}
  - {webhook: "http://127.0.0.1:$PORT/later/2"}
  - {webhook: "http://127.0.0.1:$PORT/status/404"}
  - {webhook: "http://127.0.0.1:$PORT/redirect"}
  - {webhook: "http://127.0.0.1:$PORT/endless"}
  - {shell: "mkdir once || exit 0; exit 3"}
END
    succeed
    assert_equal "$(rows | sort)" "$(printf '%s\n' 'succeeded 1 delivered 2' 'succeeded 2 delivered 2' \
        'succeeded 3 failed 1' 'succeeded 4 failed 1' 'succeeded 5 delivered 1' 'succeeded 6 delivered 2')"
    assert_contains err '2 notifications are not delivered'
    assert_equal "$(requests /ok)" '' # nobody followed
    mapfile -t first < <(requests /first/503/1/x)
    assert_equal "${#first[@]} $(header "${first[0]}" X-Mayfly-Id)" "2 $(header "${first[1]}" X-Mayfly-Id)"
    mapfile -t later < <(requests /later/2)
    [ "$(jq -s '.[1].at - .[0].at >= 1.9' "hooks/${later[0]}.json" "hooks/${later[1]}.json")" = true ] ||
        fail "tried again before the server wanted it"
    mayfly notify last --json
    assert_equal "$(jq -r '.notifications[] | select(.state == "failed") | .error' out)" "$(printf '%s\n' \
        'the server answered 404: not  [31m today ' \
        'the server answered 302, a redirect, which is not followed: name the address that it leads to')"
    assert_equal "$(jq -r '"\(.delivered) \(.pending) \(.failed)"' out)" '4 0 2'
    assert_equal "$(waiting_runs)" 0
}

# Those who hang are given up in time and hold up nobody; the run succeeds. Later the same event is sent by hand.
case_some_hang() {
    start_server
    notify_job <<END
  - {webhook: "http://127.0.0.1:$PORT/hang", timeout: 300ms}
  - {shell: "[ -e hooks/healed ] || exec sleep 1000", timeout: 300ms}
  - {webhook: "http://127.0.0.1:1/"}
  - {webhook: "http://127.0.0.1:$PORT/ok"}
END
    MAYFLY_NOTIFY_MOST_US=900000 succeed
    assert_equal "$(rows)" "$(printf '%s\n' 'succeeded 1 pending 1' 'succeeded 2 pending 1' 'succeeded 3 pending 1' \
        'succeeded 4 delivered 1')"
    assert_equal "$(waiting_runs)" 1
    assert_equal "$(summary '.notifications.undelivered[0].error')" 'no answer within 0.3 s'
    assert_equal "$(summary '.notifications.undelivered[1].error')" 'it did not end within 0.3 s'
    mayfly status
    assert_contains out 'told     1 delivered, 3 not (mayfly notify '
    touch hooks/healed
    MAYFLY_NOTIFY_MOST_US=900000 mayfly notify last --again
    assert_exit 1
    assert_equal "$(rows)" "$(printf '%s\n' 'succeeded 1 delivered 2' 'succeeded 2 delivered 2' \
        'succeeded 3 pending 2' 'succeeded 4 delivered 1')"
    MAYFLY_NOTIFY_MOST_US=900000 mayfly notify last --again 4
    assert_equal "$(requests /ok | wc -l)" 2
    mayfly notify last --again 99
    assert_exit 2
    assert_contains err 'there is no notification 99'
    mayfly clean last
    mayfly notify --due
    assert_exit 0
    assert_equal "$(waiting_runs)" 0
}

# Killed before a subscriber is told, or before that is noted: the sweep delivers; with the same id when it is the second
# time. The next master of an interrupted run does not begin from the start.
case_the_master_is_killed() {
    local point times
    start_server
    notify_job <<END
  - {webhook: "http://127.0.0.1:$PORT/ok"}
END
    for point in before-tell:1 after-tell:2; do
        times=${point#*:}
        rm -rf "$XDG_STATE_HOME"
        MAYFLY_CRASH=master.${point%:*} mayfly run job.yaml
        assert_exit 137
        RUN=$(echo "$XDG_STATE_HOME"/mayfly/runs/2*)
        assert_equal "$(query 'select state from run')" succeeded
        assert_equal "$(rows)" 'succeeded 1 pending 0'
        if [ "$times" = 1 ]; then mayfly trigger tick; else mayfly notify --due; fi
        assert_exit 0
        assert_equal "$(rows)" 'succeeded 1 delivered 1'
        assert_equal "$(cat hooks/*.body | jq -r "select(.run_id == \"${RUN##*/}\") | .id" | uniq -c | tr -s ' ')" \
            " $times ${RUN##*/}:1"
        assert_equal "$(waiting_runs)" 0
    done
    notify_job <<END
  - {on: [started, succeeded], shell: "cat >>events"}
END
    rm -rf "$XDG_STATE_HOME"
    MAYFLY_CRASH=master.before-end mayfly run job.yaml
    assert_exit 137
    find_run
    mayfly notify --due
    assert_equal "$(rows)" 'started 1 delivered 1'
    assert_equal "$(waiting_runs)" 1
    mayfly resume "$RUN_ID"
    assert_exit 0
    assert_equal "$(jq -r .event events | tr '\n' ' ')" 'started succeeded '
    assert_equal "$(waiting_runs)" 0
}

# Dead letters are told of once, when there are more than wanted; a retry is another start. What fails before there is a
# plan is told of, too.
case_failures() {
    notify_job 'tolerate: 100%' 'split: {range: 1-3}' <<END
  - {on: [dead, partial, failed], dead_above: 1, shell: "cat >>events"}
  - {on: dead, dead_above: 3, shell: "touch wrong"}
  - {on: started, shell: "cat >>starts"}
END
    sed -i '0,/^split/{/^split/d}; s/echo {}/exit 1/' job.yaml
    mayfly run job.yaml
    assert_exit 0
    assert_equal "$(jq -r '"\(.event) \(.dead_above)"' events | tr '\n' ' ')" 'dead 1 partial null '
    [ "$(jq -r 'select(.event == "dead") | .dead_letters > 1' events)" = true ] || fail "told too early"
    mayfly retry last
    assert_equal "$(jq -r .event events | tr '\n' ' ')" 'dead partial dead partial '
    assert_equal "$(wc -l <starts)" 2
    assert_no_file wrong
    rm events
    notify_job 'prepare: "exit 7"' <<END
  - {on: failed, shell: "cat >>events"}
END
    mayfly run job.yaml
    assert_exit 1
    assert_contains events 'prepare: the command ended with exit code 7'
    notify_job <<END
  - {on: failed, shell: "cat >>events"}
END
    sed -i 's/range: 1-3/files: ["nothing*"]/' job.yaml
    mayfly run job.yaml
    assert_equal "$(wc -l <events)" 2
    # What the reason quotes need not be text.
    printf '#!/bin/sh\nprintf "caf\\351 is away\\n"\nexit 1\n' >prepare.sh
    chmod +x prepare.sh
    notify_job 'prepare: [./prepare.sh]' <<END
  - {on: failed, shell: "cat >>events"}
END
    mayfly run job.yaml
    assert_equal "$(wc -l <events)" 3
    assert_contains events 'it said: caf? is away'
}

# The lines of the result are pushed on, once, however often that is tried; what waits for a queue starts.
case_pushed_on() {
    printf '%s\n' 'mayfly: 1' 'name: next' 'trigger: {queue: events}' 'split: queue' \
        'task: {command: [echo, "{field:run_id}"]}' >next.yaml
    mayfly queue create events
    mayfly trigger install --scheduler none next.yaml
    assert_exit 0
    notify_job <<END
  - {queue: counted, lines: true}
  - {queue: counted}
  - {queue: events}
END
    mayfly queue create counted
    succeed
    wait_until '[ -s "$(echo "$XDG_STATE_HOME"/mayfly/runs/*-next-*/result)" ]'
    assert_equal "$(cat "$XDG_STATE_HOME"/mayfly/runs/*-next-*/result)" "$RUN_ID"
    wait_until 'is_all_gone "$(basename "$XDG_STATE_HOME"/mayfly/runs/*-next-*)"'
    mayfly queue peek counted --raw
    assert_equal "$(grep -cxE '[123]' out)" 3
    assert_equal "$(wc -l <out)" 4
    mayfly notify "$RUN_ID" --again 1 2
    assert_exit 0
    mayfly queue peek counted --raw
    assert_equal "$(wc -l <out)" 4
}

# What is wrong with subscribers is said by --dry-run, which is no worse for it.
case_dry_run() {
    notify_job <<END
  - {webhook: {file: nowhere}}
  - {webhook: "http://127.0.0.1:1/", secret: {env: NO_SUCH_KEY}}
  - {webhook: "https://127.0.0.1:1/", ca_file: ca.pem}
  - {queue: counted}
  - {shell: "true"}
END
    mayfly run job.yaml --dry-run
    assert_exit 0
    assert_equal "$(sed -n 's/^mayfly: warning: //p' err)" "$(printf '%s\n' \
        "job.yaml:6: notify[1].webhook.file: $PWD/nowhere cannot be read: No such file or directory" \
        'job.yaml:7: notify[2].secret.env: the variable NO_SUCH_KEY is not in the environment of mayfly' \
        "job.yaml:8: notify[3].ca_file: $PWD/ca.pem cannot be read: No such file or directory" \
        'job.yaml:9: notify[4].queue: there is no queue counted: make it with mayfly queue create counted')"
}

# Servers are verified: by the authority that the job names, with the name in the address.
case_tls() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out ca.pem -days 2 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
    start_server ca.pem key.pem
    printf 'https://localhost:%s/ok\n' "$PORT" >address
    notify_job <<END
  - {webhook: {file: address}, ca_file: ca.pem}
  - {webhook: "https://localhost:$PORT/ok"}
  - {webhook: "https://127.0.0.1:$PORT/ok", ca_file: ca.pem}
END
    MAYFLY_NOTIFY_MOST_US=900000 succeed
    assert_equal "$(rows)" "$(printf '%s\n' 'succeeded 1 delivered 1' 'succeeded 2 pending 1' 'succeeded 3 pending 1')"
    assert_contains "$RUN/summary.json" 'SSL'
    assert_equal "$(requests /ok | wc -l)" 1
}

fill_the_disk() {
    notify_job <<END
  - shell: >-
      cat >>events; mkdir filled || exit 0; head -c 100M /dev/zero >"$XDG_STATE_HOME/fill"; exit 0
END
    MAYFLY_NOTIFY_MOST_US=900000 mayfly run job.yaml
    assert_exit 0
    find_run
    assert_equal "$(rows)" 'succeeded 1 pending 0'
    assert_contains "$RUN/master.log" 'what came of notification 1'
    rm "$XDG_STATE_HOME/fill"
    mayfly notify --due
    assert_equal "$(rows)" 'succeeded 1 delivered 1'
    assert_equal "$(jq -r .id events | tr '\n' ' ')" "$RUN_ID:1 $RUN_ID:1 "
}

# The disk is full when it is to be noted that a subscriber was told: the run is as it is, and that one hears again.
case_the_disk_is_full() {
    . "$HERE/mount_lib.sh"
    on_tmpfs "$XDG_STATE_HOME" size=16m fill_the_disk
}

without_curl() {
    local library
    for library in $(/sbin/ldconfig -p | sed -n 's/.*=> \(.*libcurl.*\)/\1/p'); do
        mount --bind /dev/null "$library"
    done
    mayfly run job.yaml --dry-run
    cp err dry
    MAYFLY_NOTIFY_MOST_US=900000 mayfly run job.yaml
}

# Who has no webhook needs no libcurl; who has one is told what to install.
case_no_libcurl() {
    . "$HERE/mount_lib.sh"
    ! ldd "$MAYFLY_BIN" | grep -q curl || fail "mayfly is linked with libcurl"
    notify_job <<END
  - {webhook: "http://127.0.0.1:1/"}
  - {shell: "cat >>events"}
END
    mkdir empty
    on_tmpfs "$PWD/empty" size=1m without_curl
    find_run
    assert_contains dry "job.yaml:6: notify[1].webhook: webhooks need libcurl"
    assert_equal "$(rows)" "$(printf '%s\n' 'succeeded 1 pending 1' 'succeeded 2 delivered 1')"
    assert_contains "$RUN/summary.json" "install Debian's package libcurl4"
}

run_cases "$@"
