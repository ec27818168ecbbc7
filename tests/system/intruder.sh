#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Peers that do not belong to a run, on its port: nothing that they say reaches the scheduler, the master counts or
# logs them, and the run is unharmed. To know as much as an intruder at the worst, a stand-in for mayfly-worker
# keeps a copy of each launch input, with its certificate and token.
. "$(dirname "$0")/lib.sh"

# A folder of binaries whose worker copies its launch input to input.<worker>. A worker for which hold.<worker>
# exists is started, but never joins.
make_stand_in() {
    mkdir bin
    cp "$MAYFLY_BIN" bin/mayfly
    cat >bin/mayfly-worker <<END
#!/bin/bash
[ "\$1" = start ] || exec "$MAYFLY_BIN-worker" "\$@"
IFS= read -r input
[[ \$input =~ \"worker\":\ *([0-9]+) ]]
worker=\${BASH_REMATCH[1]}
printf '%s\n' "\$input" >"$PWD/input.new.\$worker" && mv "$PWD/input.new.\$worker" "$PWD/input.\$worker"
if [ -e "$PWD/hold.\$worker" ]; then
    sleep 1000 >/dev/null 2>&1 </dev/null &
    echo "mayfly 1 started \$worker \$! 0"
    exit 0
fi
exec "$MAYFLY_BIN-worker" "\$@" <<<"\$input"
END
    chmod +x bin/mayfly-worker
    MAYFLY_BIN=$PWD/bin/mayfly
}

# A run of 60 subtasks, of which the first ones wait for `gate`; comes back when all its workers have joined.
start_gated() { # WORKERS [KEY_LINE]
    make_stand_in
    job <<END
mayfly: 1
split: {range: 1-60}
task: {shell: "until [ {} -gt 4 ] || [ -e $PWD/gate ]; do sleep 0.05; done; echo {}"}
workers: {count: $1, slots: 1}
${2:-}
END
    start_job
    wait_until "[ \"\$(grep -c ' joined from ' $RUN/master.log)\" -eq $1 ]"
}

# Opens the gate; the run must come out as if nobody had been there.
assert_unharmed() { # WORKERS
    touch gate
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" <(seq 60)
    assert_equal "$(counts)" "60 0 0 0"
    assert_equal "$(summary '.attempts | "\(.total) \(.retried) \(.fenced)"')" "60 0 0"
    assert_equal "$(summary '.workers | "\(.launched) \(.lost) \(.unverified)"')" "$1 0 0"
    assert_equal "$(query "select count(*) from worker where host = 'intruder' or slots = 4")" 0 "intruders in run.db"
    assert_equal "$(grep -c ' joined from ' "$RUN/master.log")" "$1" "who joined"
}

intruder() { # KIND [FOLDER]
    "$MAYFLY_TEST_BIN/intruder" "$1" input.1 "${@:2}" >>said
}

refused_in_tls() { # the count that the log says, 0 if it says none
    sed -n 's/.* \([0-9]*\) connections\? .*refused inside TLS.*/\1/p' "$RUN/master.log" | tail -n 1 | grep . || echo 0
}

case_certificates_that_do_not_belong() {
    local kind before after=0
    start_gated 2
    for kind in foreign none expired; do
        before=$after
        case $kind in
        foreign) intruder foreign "$PWD/foreign-keys" ;;
        none) intruder none ;;
        expired) intruder expired "$RUN/keys" ;;
        esac
        wait_until "[ \"\$(refused_in_tls)\" -gt $before ]"
        after=$(refused_in_tls)
    done
    assert_same said <(printf '%s: no answer\n' foreign none expired)
    assert_unharmed 2
    assert_not_contains "$RUN/master.log" "refused a message"
}

case_lies_past_tls() {
    local kind
    start_gated 2
    for kind in wrong-token unknown-worker second-session other-run reply garbage bad-body forged-result; do
        intruder "$kind"
        wait_until "[ \"\$(grep -c 'refused a message from 127.0.0.1:[0-9]*: ' $RUN/master.log)\" -eq $(wc -l <said) ]"
    done
    assert_contains said "wrong-token: refused 2: worker 1 with this token is not (or no longer) part of the run"
    assert_contains said "unknown-worker: refused 2: worker 4711 with this token is not"
    assert_contains said "second-session: refused 5: worker 1 has joined already, in another session"
    assert_contains said "other-run: refused 3: worker 1 belongs to run 20200101-000000-other-0000, this is run $RUN_ID"
    assert_contains said "reply: refused 4: "
    assert_contains said "garbage: refused 4: "
    assert_contains said "bad-body: refused "
    assert_contains said "forged-result: refused 5: "
    sed -n 's/^[a-z-]*: refused [0-9]: //p' said | while IFS= read -r reason; do
        assert_contains "$RUN/master.log" ": $reason"
    done
    assert_equal "$(refused_in_tls)" 0 "all of them had a right certificate"
    assert_unharmed 2
}

# What a worker was started with ends with the ttl, for whoever has it: its token is refused, and a connection that was
# made with its certificate is closed. The workers themselves, renewed meanwhile, go on as if nothing had been.
case_a_credential_that_has_expired() {
    start_gated 2 'credentials: {ttl: 5s}'
    intruder silent &
    intruder second-session
    assert_contains said "second-session: refused 5: worker 1 has joined already"
    wait_until 'intruder second-session; grep -q "refused 6" said'
    assert_contains said "second-session: refused 6: the credential of worker 1 has expired: it is of generation 1, and"
    assert_contains "$RUN/master.log" ": the credential of worker 1 has expired: it is of generation 1, and"
    wait "$!" || fail "the silent one was not sent away: $(cat said)"
    assert_contains said "silent: the connection is closed"
    assert_contains "$RUN/master.log" " is closed: it never said who it is"
    # Beyond two lives of the first credential.
    wait_until "grep -q 'credential of worker 2 is renewed (generation 8)' $RUN/master.log"
    assert_unharmed 2
    assert_not_contains "$RUN/master.log" "that was shown on it has expired"
    for worker in 1 2; do
        mayfly logs last --worker "$worker"
        mv out worker.log
        assert_not_contains worker.log "is lost"
        [ "$(grep -c 'the credential is renewed' worker.log)" -ge 6 ] || fail "$(cat worker.log)"
    done
}

case_another_protocol_version() {
    start_gated 1
    intruder protocol
    assert_contains said "protocol: refused 1: "
    assert_contains said "speaks protocol 999"
    assert_contains said "with protocol 1"
    assert_unharmed 1
}

case_an_oversized_frame() {
    start_gated 1
    intruder oversized
    assert_equal "$(cat said)" "oversized: no answer"
    [ "$(awk '/VmHWM/ { print $2 }' "/proc/$PID/status")" -lt 500000 ] || fail "the master took it into memory"
    assert_unharmed 1
}

case_a_replayed_hello() {
    touch hold.1
    make_stand_in
    job <<END
mayfly: 1
split: {range: 1-60}
task: {shell: "until [ {} -gt 4 ] || [ -e $PWD/gate ]; do sleep 0.05; done; echo {}"}
workers: {count: 2, slots: 1}
END
    start_job
    wait_until "grep -q 'worker 2 joined' $RUN/master.log && [ -e input.1 ]"
    intruder replay
    assert_contains said "hello: answer of type 65"
    assert_contains said "hello again: refused 5"
    assert_contains "$RUN/master.log" ": request 1 of lane 0 of worker 1 is an old one"
    assert_contains said "hello without a certificate: no answer"
    assert_contains said "poll on the first connection: answer of type 66"
    [ "$(refused_in_tls)" -gt 0 ] || fail "the one without a certificate is not counted"
    rm hold.1
    # The pretended worker dies and is replaced; only what it was given has to be given again.
    kill "$(sed -n 's/.*worker 1 .*process \([0-9]*\).*/\1/p' "$RUN/master.log" | head -n 1)" 2>/dev/null || :
    for pid in $(processes_of "$RUN_ID"); do
        if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = sleep ] && command_of "$pid" | grep -q 'sleep 1000'; then
            kill "$pid"
        fi
    done
    touch gate
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" <(seq 60)
    assert_equal "$(counts)" "60 0 0 0"
    assert_equal "$(summary .attempts.total)" 60
}

# One that has its credentials gets what belongs to the run, and nothing else of the master's files.
case_a_worker_that_fetches_what_it_likes() {
    touch hold.1
    make_stand_in
    mkdir lib
    echo own >own
    echo input >in
    echo secret >secret
    job <<END
mayfly: 1
split: {files: in}
task: {shell: "until [ -e $PWD/gate ]; do sleep 0.05; done; cat {path}", files: [own, lib]}
workers: {count: 1, slots: 1, staging: always}
END
    start_job
    wait_until "[ -e input.1 ]"
    intruder fetch
    assert_contains said 'own file: cause 0, "own'
    assert_contains said 'folder: cause 7, ""'
    assert_contains said 'no such file: cause 7, ""'
    assert_contains said 'input: cause 0, "input'
    assert_contains said 'member of no group: cause 0, "inpu"'
    assert_contains said 'beyond the end: cause 0, ""'
    assert_contains said 'no such subtask: cause 10, ""'
    assert_contains said 'nothing: cause 0, ""'
    assert_contains said 'wrong lane: refused 4'
    assert_not_contains said secret
    for pid in $(processes_of "$RUN_ID"); do
        if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = sleep ] && command_of "$pid" | grep -q 'sleep 1000'; then
            kill "$pid"
        fi
    done
    touch gate
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" in
}

case_garbage_on_the_port_while_eight_join() {
    make_stand_in
    job <<END
mayfly: 1
split: {range: 1-60}
task: {shell: "until [ {} -gt 4 ] || [ -e $PWD/gate ]; do sleep 0.05; done; echo {}"}
workers: {count: 8, slots: 1}
END
    start_job
    wait_until "[ -e input.1 ]"
    local port
    port=$(sed -n 's|.*tls+tcp://127.0.0.1:\([0-9]*\).*|\1|p' input.1)
    (
        set +e
        n=0
        while [ ! -e enough ]; do
            case $((n++ % 5)) in
            0) head -c 300 /dev/urandom ;;
            1) printf 'GET / HTTP/1.0\r\n\r\n' ;;
            2) printf '\x16\x03\x01\x40\x00\x01' ;;
            3) : ;;
            4) head -c 100000 /dev/zero ;;
            esac 2>/dev/null >"/dev/tcp/127.0.0.1/$port"
            echo >>sent
            sleep 0.2
        done
    ) 2>/dev/null &
    local noise=$!
    wait_until "[ \"\$(grep -c ' joined from ' $RUN/master.log)\" -eq 8 ]"
    wait_until '[ "$(wc -l <sent)" -ge 10 ]'
    touch enough
    wait "$noise" || :
    wait_until "[ \"\$(refused_in_tls)\" -gt 0 ]"
    assert_unharmed 8
}

case_connections_that_say_nothing() {
    start_gated 2
    local port fds=() fd
    port=$(sed -n 's|.*tls+tcp://127.0.0.1:\([0-9]*\).*|\1|p' input.1)
    for _ in $(seq 60); do
        exec {fd}<>"/dev/tcp/127.0.0.1/$port"
        fds+=("$fd")
    done
    assert_unharmed 2
    for fd in "${fds[@]}"; do exec {fd}>&-; done
}

run_cases "$@"
