#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119,SC2120 # what stands in single quotes is meant as it is
# resume: the master is killed wherever it stands, and the run goes on as if it had not been; workers that live are
# taken over with what they run.
. "$(dirname "$0")/lib.sh"

# COUNT subtasks; each notes its begin; those up to HELD wait for the file `gate`.
gated_job() { # COUNT HELD [LINE...]
    local count=$1 held=$2
    shift 2
    job <<END
mayfly: 1
name: gated
split: {range: 1-$count}
task: {shell: "echo {} >>$PWD/begun; until [ {} -gt $held ] || [ -e $PWD/gate ]; do sleep 0.05; done; echo {}"}
workers: {count: 2, slots: 2}
$(printf '%s\n' "$@")
END
}

kill_master() {
    kill -KILL "$PID"
    wait "$PID" 2>/dev/null || :
}

# As start_job: comes back as soon as the new master has said something.
start_resume() { # [ARGUMENT...]
    "$MAYFLY_BIN" resume "$@" >out 2>err </dev/null &
    PID=$!
    wait_until "grep -q resuming: err || ! kill -0 $PID"
}

has_begun() { # COUNT
    [ -e begun ] && [ "$(wc -l <begun)" -ge "$1" ]
}

is_recorded() { # COUNT
    [ "$(query "select count(*) from attempt where state = 'done'" 2>/dev/null)" -ge "$1" ]
}

assert_complete() { # COUNT
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" <(seq "$1")
    assert_equal "$(counts)" "$1 0 0 0"
    assert_equal "$(query "select count(*), count(distinct subtask) from attempt where state = 'done'")" "$1|$1"
}

# The very attempts that ran when the master died finish, and nothing is executed twice.
case_running_subtasks_are_taken_over() {
    gated_job 20 3
    start_job
    wait_until 'is_recorded 10 && [ "$(grep -cx "[123]" begun)" = 3 ]'
    kill_master
    mayfly ls
    assert_contains out interrupted
    mayfly status last
    assert_contains out "next     mayfly resume $RUN_ID"
    local before paid launching
    mayfly status last --json
    assert_equal "$(jq '.cost | .workers == 2 and .paid > 0 and .dismissing == 0' out)" true "the cost so far"
    paid=$(jq .cost.paid out)
    launching=$(jq .cost.launching out)
    before=$(workers_of "$RUN_ID")
    start_resume
    wait_until "grep -q 'worker 1 says that it holds' $RUN/master.log && grep -q 'worker 2 says that it holds' $RUN/master.log"
    assert_equal "$(workers_of "$RUN_ID")" "$before" "the workers"
    touch gate
    await_end
    assert_complete 20
    assert_equal "$(sort -n begun | xargs)" "$(seq 20 | xargs)" "what was executed"
    assert_equal "$(query 'select epoch, high_water >= 20 from run')" "2|1"
    assert_equal "$(query 'select count(*) from worker')" 2 "workers in all"
    assert_equal "$(query 'select count(*) from attempt where subtask <= 3 and epoch = 1')" 3 "fences that were kept"
    assert_same out <(seq 20)
    # One account of both masters: workers that join again are not launched again.
    assert_equal "$(summary ".cost | .workers == 2 and .paid > $paid and .launching == $launching and .busy > 0")" true \
        "the cost account"
    assert_cost_adds_up
}

# Again and again, and with one of the workers killed along with its master.
case_masters_and_a_worker_are_killed() {
    local round
    gated_job 12 4
    start_job
    wait_until 'has_begun 4'
    kill_master
    for round in 1 2; do
        start_resume
        wait_until "[ \$(grep -c 'says that it holds' $RUN/master.log) -ge $((round * 2)) ]"
        kill_master
    done
    kill -KILL "$(workers_of "$RUN_ID" | head -n 1)"
    touch gate
    mayfly resume "$RUN_ID"
    assert_complete 12
    assert_contains "$RUN/master.log" "did not outlive its master"
    assert_equal "$(query 'select epoch from run')" 4
    assert_equal "$(query "select count(*) from worker where state = 'lost'")" 1
    [ "$(wc -l <begun)" -le 14 ] || fail "too much was executed: $(sort -n begun | xargs)"
}

# A worker that nobody answers takes the new master's address out of its folder.
case_the_port_is_taken() {
    local port
    gated_job 6 4
    start_job
    wait_until 'has_begun 4'
    kill_master
    port=$(query "select replace(address, '127.0.0.1:', '') from run")
    take_port 127.0.0.1 "$port"
    start_resume
    wait_until "grep -q 'cannot listen on port $port' $RUN/master.log"
    touch gate
    await_end
    assert_complete 6
    assert_equal "$(sort -n begun | xargs)" "$(seq 6 | xargs)" "what was executed"
    [ "$(query 'select address from run')" != "127.0.0.1:$port" ] || fail "the address is the old one"
}

case_in_the_background() {
    gated_job 6 4
    start_job
    wait_until 'has_begun 4'
    mayfly resume --detach
    assert_exit 3
    assert_contains err "another master works on this run: process $PID"
    kill_master
    mayfly resume --detach
    assert_exit 0
    assert_equal "$(cat out)" "$RUN_ID"
    touch gate
    mayfly watch last
    assert_complete 6
    mayfly resume --detach
    assert_exit 2
    assert_contains err "there is nothing to resume"
}

# Without the old keys no old worker can join: they are ended, others take their place.
case_without_keys() {
    gated_job 8 4
    start_job
    wait_until 'has_begun 4'
    kill_master
    rm "$RUN/keys/authority.pem"
    touch gate
    mayfly resume
    assert_complete 8
    assert_contains "$RUN/master.log" "the run's keys cannot be used, so its workers are given up"
    assert_equal "$(query "select group_concat(state) from (select state from worker order by id)")" "lost,lost,gone,gone"
}

case_two_masters_are_impossible() {
    gated_job 4 4
    start_job
    wait_until 'has_begun 4'
    mayfly resume last
    assert_exit 3
    assert_contains err "another master works on this run: process $PID"
    kill -STOP "$PID"
    mayfly resume last
    assert_exit 3
    assert_contains err "process $PID, which is stopped"
    kill -CONT "$PID"
    touch gate
    await_end
    assert_complete 4
    assert_equal "$(query 'select epoch from run')" 1
}

case_what_cannot_be_resumed() {
    mayfly resume
    assert_exit 2
    assert_contains err "there are no runs yet"
    gated_job 2 0
    run_job
    mayfly resume last
    assert_exit 2
    assert_contains err "has ended (succeeded): there is nothing to resume"
    mayfly resume --changed=maybe last
    assert_exit 2
    gated_job 4 4
    start_job
    wait_until 'has_begun 6'
    mayfly cancel last
    await_end
    mayfly resume last
    assert_exit 2
    assert_contains err "was cancelled"
}

# The third Ctrl-C leaves at once: the workers live on, with what does not want to end.
case_ctrl_c_thrice() {
    local i
    gated_job 8 4
    sed -i "s/shell: \"/&trap '' TERM; /" job.yaml
    start_job
    wait_until 'has_begun 4'
    for i in 1 2 3; do
        kill -INT "$PID"
        wait_until "has_ended $PID || grep -q 'signal 2, the $i. of its kind' $RUN/master.log"
    done
    await_end
    assert_exit 130
    local before
    before=$(workers_of "$RUN_ID")
    assert_equal "$(wc -w <<<"$before")" 2 "workers"
    touch gate
    start_resume
    wait_until "[ \$(grep -c ' joined from' $RUN/master.log) -ge 4 ]"
    await_end
    assert_complete 8
    assert_equal "$(query 'select count(*) from worker')" 2 "workers in all"
}

# Drained: all workers were dismissed and all keys removed; others come.
case_after_a_drain() {
    gated_job 12 12
    start_job
    wait_until 'has_begun 4'
    kill -INT "$PID"
    wait_until 'grep -q draining err'
    touch gate
    await_end
    assert_exit 130
    assert_contains err "mayfly resume $RUN_ID goes on from here"
    assert_nothing_left "$RUN_ID"
    mayfly resume
    assert_complete 12
    assert_equal "$(sort -n begun | xargs)" "$(seq 12 | xargs)" "what was executed"
    assert_equal "$(query "select group_concat(id) from (select id from worker order by id)")" "1,2,3,4"
}

# Files on their way home, outputs and streams: all of it is there, and once.
case_files_and_streams() {
    job <<END
mayfly: 1
name: files
split: {range: 1-4}
task:
  shell: |
    echo begin {} >&2
    head -c 1000000 /dev/zero | tr '\\0' {} >big.out
    until [ -e $PWD/gate ]; do sleep 0.05; done
    seq 100000; echo end {} >&2
  outputs: ["*.out"]
workers: {count: 1, slots: 4}
END
    start_job
    wait_until "[ -s $RUN/logs/000001.seg ] || $MAYFLY_BIN logs last 1 | grep -q 'begin 1'"
    touch gate
    wait_until "[ -n \"\$(ls -A $RUN/incoming 2>/dev/null)\" ] || is_recorded 1"
    kill_master
    local i recorded
    recorded=$(query 'select subtask from attempt')
    mayfly resume
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_equal "$(counts)" "4 0 0 0"
    for i in 1 2 3 4; do
        assert_same "$RUN/outputs/0/$i.result" <(seq 100000)
        assert_equal "$(tr -d "$i" <"$RUN/outputs/0/$i/big.out" | wc -c)" 0
        assert_equal "$(stat -c %s "$RUN/outputs/0/$i/big.out")" 1000000
        mayfly logs last "$i" --stderr
        # What was acknowledged in the last seconds before the kill may have gone with the master; nothing is there twice.
        if grep -qx "$i" <<<"$recorded" && ! grep -q end out; then continue; fi
        assert_equal "$(grep -c "begin $i" out) $(grep -c "end $i" out)" "1 1" "the log of subtask $i"
    done
    assert_no_file "$RUN/incoming"
    assert_no_file "$RUN/live"
}

# Inputs on their way to a worker are asked for again.
case_inputs_on_their_way() {
    local i
    for i in 1 2 3 4; do head -c 20000000 /dev/urandom >"$i.bin"; done
    job <<END
mayfly: 1
name: staging
split: {files: ["*.bin"]}
task: {shell: "sha256sum <{path}"}
workers: {count: 1, slots: 2, staging: always}
END
    start_job
    wait_until "[ -n \"\$(find $XDG_CACHE_HOME -path '*/inputs/*' -size +1000k)\" ]"
    kill_master
    mayfly resume
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" <(for i in 1 2 3 4; do sha256sum <"$i.bin"; done)
}

# Nothing starts while an input is not as it was planned.
case_changed_inputs() {
    local i
    for i in 1 2 3 4 5 6 7 8; do echo "text $i" >"$i.txt"; done
    job <<END
mayfly: 1
name: inputs
split: {files: ["*.txt"]}
task: {shell: "echo {} >>$PWD/begun; until [ {} = 1.txt ] || [ -e $PWD/gate ]; do sleep 0.05; done; cat {path}"}
workers: {count: 1, slots: 2}
on_failure: continue
END
    start_job
    wait_until 'is_recorded 1 && has_begun 3'
    kill_master
    kill -KILL "$(workers_of "$RUN_ID")"
    wait_until '[ -z "$(processes_of "$RUN_ID")" ]'
    rm 6.txt
    echo other >7.txt
    mayfly resume
    assert_exit 1
    assert_contains err "2 inputs of run $RUN_ID, which 2 subtasks still need, are not as they were planned"
    assert_contains err "6.txt (No such file or directory), 7.txt (changed)"
    assert_contains err "mayfly resume --changed=fail $RUN_ID"
    assert_equal "$(query 'select epoch from run')" 1 "nothing was begun"
    touch gate
    mayfly resume --changed=fail
    assert_exit 1
    assert_nothing_left "$RUN_ID"
    assert_equal "$(counts)" "6 2 0 0"
    assert_equal "$(query "select group_concat(cause) from (select cause from attempt where state = 'failed' order by id)")" \
        "input missing,input changed"
}

# Killed while it planned: the rest of the plan is made by the next master. (Where it was killed is made up here: the
# end of the plan is not there, and a piece is cut.)
case_while_planning() {
    seq 40 >lines.txt
    job <<END
mayfly: 1
name: planning
split: {lines: [lines.txt], count: 1}
task: {shell: "until [ -e $PWD/gate ]; do sleep 0.05; done; cat", stdin: piece}
workers: {count: 1, slots: 1}
END
    start_job
    wait_until "[ \"\$(query 'select total from run')\" = 40 ] && [ -n \"\$(workers_of $RUN_ID)\" ]"
    kill_master
    kill -KILL "$(workers_of "$RUN_ID")"
    cp "$RUN/plan.seg" whole.seg
    truncate -s $(($(stat -c %s whole.seg) * 6 / 10)) "$RUN/plan.seg"
    sqlite3 "$RUN/run.db" 'update run set total = null'
    touch gate
    mayfly resume
    assert_complete 40
    assert_equal "$(query 'select total from run')" 40
    mv lines.txt other.txt
    mayfly results last
    assert_exit 0
}

# The same, but the input is another one now.
case_while_planning_an_input_changes() {
    seq 40 >lines.txt
    job <<END
mayfly: 1
name: planning
split: {lines: [lines.txt], count: 1}
task: {shell: "until [ -e $PWD/gate ]; do sleep 0.05; done; cat", stdin: piece}
workers: {count: 1, slots: 1}
END
    start_job
    wait_until "[ \"\$(query 'select total from run')\" = 40 ]"
    kill_master
    truncate -s $(($(stat -c %s "$RUN/plan.seg") * 6 / 10)) "$RUN/plan.seg"
    sqlite3 "$RUN/run.db" 'update run set total = null'
    mv lines.txt kept
    seq 41 80 >lines.txt
    mayfly resume --changed=fail
    assert_exit 1
    assert_contains err "lines.txt (changed); put them back, or start anew (the plan was not finished)"
    assert_equal "$(query 'select epoch from run')" 1 "nothing was begun"
    mv kept lines.txt
    touch gate
    mayfly resume
    assert_complete 40
}

# Killed while it gathers: the result is made again.
case_while_gathering() {
    job <<END
mayfly: 1
name: gathering
split: {range: 1-10}
task: {shell: "echo {}"}
workers: {count: 1, slots: 2}
gather:
  sql: "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000000) select (select count(*) from results) as k, max(i) as m from n"
END
    start_job
    wait_until "$MAYFLY_BIN status --json | jq -e '.state == \"gathering\"'"
    kill_master
    assert_no_file "$RUN/result"
    mayfly resume
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" <(printf 'k,m\n10,2000000\n')
}

# Killed while it dismisses: a worker that does not go keeps it there.
case_while_dismissing() {
    gated_job 1 1
    start_job
    wait_until "has_begun 1 && [ \$(grep -c ' joined from' $RUN/master.log) = 2 ]"
    local worker idle=''
    for worker in $(workers_of "$RUN_ID"); do
        if ! pgrep -f -P "$(pgrep -d, -P "$worker")" gate >/dev/null; then idle=$worker; fi
    done
    kill -STOP "$idle"
    touch gate
    wait_until "$MAYFLY_BIN status --json | jq -e '.state == \"dismissing\"'"
    kill_master
    kill -CONT "$idle"
    mayfly resume
    assert_complete 1
    assert_same out <(seq 1)
}

run_cases "$@"
