#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Workers that commands of the job start, list and stop: here processes of this machine, each known by a file with its
# number.
. "$(dirname "$0")/lib.sh"

# Commands that do what they should; cases replace them.
good_commands() {
    mkdir -p started
    echo 1 >round
    cat >start.sh <<'EOF'
#!/bin/sh
echo "$*" >>calls
setsid sh "$2" <&- >&- 2>&- &
echo "$!" >"started/$1"
echo "p$!"
EOF
    cat >list.sh <<'EOF'
#!/bin/sh
read -r round <round # that of its begin
for file in started/mayfly-"$1"-*; do
    [ -s "$file" ] && read -r pid <"$file" && grep -q '^State:.[RSDT]' "/proc/$pid/status" 2>/dev/null &&
        echo "p$pid lives" && echo "$round $pid" >>listed
done
exit 0
EOF
    cat >stop.sh <<'EOF'
#!/bin/sh
echo "$1" >>stopped
kill -TERM "-${1#p}" && kill -CONT "-${1#p}"
EOF
    chmod +x ./*.sh
}

command_job() { # RANGE COUNT [KEY OF command...]
    local key
    good_commands
    job <<EOF
mayfly: 1
split: {range: 1-$1}
task: {shell: 'until [ {} -le 20 ] || [ -e "$PWD/gate" ]; do sleep 0.05; done; echo {}'}
lease: 2s
workers:
  launcher: command
  count: $2
  slots: 2
  command:
    start: [./start.sh, "{name}", "{script}"]
    list: [./list.sh, "{run}"]
    stop: [./stop.sh, "{id}"]
EOF
    shift 2
    for key in "$@"; do
        printf '    %s\n' "$key" >>job.yaml
    done
}

# Writes one of the commands from standard input.
command_is() { # NAME
    cat >"$1.sh"
}

assert_ended() {
    assert_equal "$(./list.sh "$RUN_ID")" "" "what is listed"
    assert_no_file "$RUN/workers"
    assert_nothing_left "$RUN_ID"
}

assert_result() { # LAST
    assert_exit 0
    seq "$1" >wanted
    assert_same out wanted
}

joined() {
    query "select count(*) from worker where state = 'ready'"
}

# The process of the first worker's script.
first_pid() {
    cat started/*-1
}

case_two_workers_go_in_the_middle() {
    command_job 60 3
    start_job
    wait_until '[ "$(joined)" = 3 ]'
    assert_equal "$(find "$RUN/workers" -name 'input.*')" "" "launch inputs that were not removed"
    wait_until '[ "$(sort -u listed | wc -l)" = 3 ]'
    ! grep -rl --exclude=mayfly-worker PRIVATE calls started "$RUN/workers" || fail "a key is in there"
    kill -KILL -- "-$(first_pid)" # list names it no more
    kill -STOP -- "-$(cat started/*-2)" # it is listed, but does not answer: it is stopped
    wait_until '[ "$(query "select count(*) from worker")" = 5 ]'
    wait_until '[ "$(joined)" = 3 ]'
    assert_contains stopped "p$(cat started/*-2)"
    touch gate
    await_end
    assert_result 60
    assert_equal "$(summary '.workers.lost')" 2
    assert_equal "$(query "select distinct verified_by from worker")" command
    rm -rf "$XDG_CACHE_HOME/mayfly/runs/$RUN_ID" # of the one that was killed: as docs/known-limits.md says
    assert_ended
}

# While the last subtask runs, the workers that have nothing to do end by themselves: nobody stops them.
case_idle_workers_end_early() {
    command_job 21 4
    sed -i 's/count: 4/min: 1\n  max: 4\n  idle: 1s/; s/slots: 2/slots: 1/' job.yaml
    start_job
    wait_until '[ "$(query "select count(*) > 0 from worker where state = '"'gone'"'")" = 1 ] && [ "$(./list.sh "$RUN_ID" | wc -l)" = 1 ]'
    assert_equal "$(query "select count(*) from subtask where state = 'done'")" 20
    assert_no_file stopped
    touch gate
    await_end
    assert_result 21
    assert_equal "$(summary '.workers | .lost == 0 and .let_go > 0')" true
    assert_ended
}

case_a_master_is_killed() {
    command_job 60 2
    start_job
    wait_until '[ "$(joined)" = 2 ]'
    kill_master
    touch gate
    mayfly resume "$RUN_ID"
    assert_result 60
    assert_equal "$(summary '.workers | "\(.launched) \(.lost)"')" "0 0" # they went on
    assert_ended
}

kill_master() {
    kill -KILL "$PID"
    wait "$PID" 2>/dev/null || : # its lock is free when the last of its threads is gone
}

# The run is not gone on with; its folder is elsewhere.
case_a_dead_run_is_cleaned() {
    mkdir shared
    command_job 60 2 "folder: $PWD/shared"
    # It signals the script alone, which passes that on.
    printf '#!/bin/sh\necho "$1" >>stopped\nkill -TERM "${1#p}"\n' | command_is stop
    start_job
    wait_until '[ "$(joined)" = 2 ]'
    kill_master
    mayfly clean "$RUN_ID"
    assert_exit 0
    assert_equal "$(cat err)" ""
    assert_equal "$(ls shared)" "" "what is left in the shared folder"
    assert_equal "$(sort stopped)" "$(sed s/^/p/ started/* | sort)" "what was stopped"
    assert_ended
}

# Killed when it does not know the id yet: list names it.
case_a_master_is_killed_by_its_start() {
    command_job 60 1
    command_is start <<'EOF'
#!/bin/sh
if [ ! -e again ]; then
    touch again
    # Earlier, what is said is that it may have gone on.
    until grep -qs " ? $$ " "$XDG_STATE_HOME"/mayfly/runs/*/workers/jobs; do sleep 0.02; done
    kill -KILL "$PPID"
    sleep 0.3 # it goes on for a while
    set -- "$1" 'sleep 100'
fi
setsid sh -c "$2" <&- >&- 2>&- &
echo "$!" >"started/$1"
echo "p$!"
EOF
    touch gate
    start_job
    await_end
    mayfly resume "$RUN_ID"
    assert_result 60
    assert_contains "$RUN/master.log" "list names p$(first_pid), which no start has printed"
    assert_contains stopped "p$(first_pid)"
    assert_equal "$(summary '.workers.unverified')" 0
    assert_ended
}

# Without a shared folder: what the worker needs is start's standard input. The second one of two that have it is
# refused, and stopped: nobody printed its id.
case_a_start_that_starts_twice() {
    command_job 60 1 "program: $MAYFLY_BIN-worker"
    sed -i 's/{script}/{run}/' job.yaml
    command_is start <<EOF
#!/bin/sh
cat >in
for n in '' -twice; do
    exec 3<in # here, since it is removed below
    setsid "$MAYFLY_BIN-worker" start "\$2" --stay <&3 >/dev/null 2>&1 &
    echo \$! >"started/\$1\$n"
    [ -n "\$n" ] || { until grep -q joined "$XDG_STATE_HOME/mayfly/runs/\$2/master.log"; do sleep 0.05; done; echo "p\$!"; }
done
rm in
EOF
    start_job
    wait_until '[ "$(joined)" = 1 ]'
    wait_until 'grep -q refused "$RUN/master.log"'
    touch gate
    await_end
    assert_result 60
    assert_ended
}

expect_start() { # SENTENCE: why no worker could be started
    run_job
    assert_exit 3
    assert_contains err "$1"
    assert_ended
}

bad_starts_that_fail() {
    command_job 10 3 'timeout: 500ms'
    printf '#!/bin/sh\necho "quota exceeded" >&2\nexit 7\n' | command_is start
    expect_start ": exit code 7: quota exceeded"
    printf '#!/bin/sh\necho\n' | command_is start
    expect_start "it printed no id: one line with the id is expected"
    printf '#!/bin/sh\nsleep 100\n' | command_is start
    expect_start "it did not end within 0.5 s (workers.command.timeout)"
    chmod -x start.sh
    mayfly run job.yaml
    assert_exit 3
    assert_contains err "start.sh is no program that you may run"
    rm start.sh
    mayfly run job.yaml
    assert_exit 3
    assert_contains err "workers.command.start: $PWD/start.sh cannot be used: No such file or directory"
}

# What start does, and what is said.
start_lies() { # WHAT
    command_job 10 3 'timeout: 500ms' 'join: 500ms'
    case $1 in
    two)
        printf '#!/bin/sh\nfor n in 1 2; do setsid sleep 100 >/dev/null & echo $! >started/$1-$n; echo p$!; done\n' |
            command_is start
        expect_start "it printed 2 ids"
        assert_equal "$(sort stopped)" "$(sed s/^/p/ started/* | sort)" "what was stopped"
        ;;
    nothing)
        printf '#!/bin/sh\necho nowhere$$\n' | command_is start
        run_job
        assert_exit 3
        assert_contains err " was printed by start, but list does not name it: it left no word"
        assert_contains err "NOT verified: list has never named what start printed: nowhere"
        ;;
    other)
        printf '#!/bin/sh\nsetsid sleep 100 >/dev/null &\necho $! >started/$1\necho p$!\n' | command_is start
        expect_start "is there, but its worker has not joined in time (workers.command.join)"
        ;;
    same)
        printf '#!/bin/sh\necho nowhere\n' | command_is start
        run_job
        assert_exit 3
        assert_contains err "it printed the id nowhere, which worker"
        ;;
    esac
}

bad_lists_that_fail() {
    command_job 60 1 'timeout: 2s'
    cp list.sh good.sh
    printf '#!/bin/sh\necho "no such cluster" >&2\nexit 1\n' | command_is list
    run_job
    assert_exit 3
    assert_contains err "command: list: exit code 1: no such cluster"
    printf '#!/bin/sh\nprintf "\\001\\002\\n"\n' | command_is list
    run_job
    assert_exit 3
    assert_contains err "command: list: it printed '??', which is no id"
    printf '#!/bin/sh\necho 4711\n' | command_is list
    run_job
    assert_exit 3
    assert_contains err "list names 4711 before anything was started"
    assert_no_file calls
    assert_no_file stopped
    cp good.sh list.sh
    start_job
    wait_until '[ "$(joined)" = 1 ]'
    printf '#!/bin/sh\necho "timed out" >&2\nexit 1\n' | command_is list
    touch gate
    await_end
    assert_result 60
    assert_contains err "NOT verified: list cannot say (exit code 1: timed out)"
    assert_equal "$(query "select verified_by from worker")" none
}

# COMMAND|SENTENCE
stop_fails() {
    command_job 10 1 'timeout: 500ms'
    printf '#!/bin/sh\nsetsid sleep 100 >/dev/null &\necho $! >started/$1\necho p$!\n' | command_is start
    printf '#!/bin/sh\n%s\n' "${1%%|*}" | command_is stop
    start_job
    wait_until '[ -s started/*-1 ]'
    mayfly cancel "$RUN_ID"
    await_end
    assert_exit 4
    assert_contains err "NOT verified: still listed: p$(first_pid); stop: ${1#*|}"
    kill "$(first_pid)"
}

# The folder goes all the same, and with it what could begin later.
bad_clean() { # WHAT
    mkdir shared
    command_job 60 1 "folder: $PWD/shared" 'timeout: 500ms'
    start_job
    wait_until '[ "$(joined)" = 1 ]'
    kill_master
    if [ "$1" = gone ]; then
        rm stop.sh
        set -- "workers.command.stop: $PWD/stop.sh cannot be used: No such file or directory; start has printed: p$(first_pid)"
    else
        printf '#!/bin/sh\necho "not allowed" >&2\nexit 1\n' | command_is stop
        set -- "still listed: p$(first_pid); stop: exit code 1: not allowed"
    fi
    mayfly clean "$RUN_ID"
    assert_exit 3
    assert_contains err "mayfly: workers of run $RUN_ID may be left ($1): end them by hand"
    assert_equal "$(ls shared)" "" "what is left in the shared folder"
    kill -TERM -- "-$(first_pid)"
    wait_until '[ -z "$(./list.sh "$RUN_ID")" ]'
    assert_ended
}

bad_check() {
    command_job 10 1
    mayfly check job.yaml
    assert_exit 0
    assert_no_file calls
    printf '#!/bin/sh\nexit 1\n' | command_is list
    mayfly check job.yaml
    assert_exit 3
    assert_contains out "command: list: exit code 1: it said nothing"
    printf '#!/bin/sh\necho 4711\n' | command_is list
    mayfly check job.yaml
    assert_exit 3
    assert_contains out "list names 4711 before anything was started"
    rm stop.sh
    mayfly check job.yaml
    assert_exit 3
    assert_contains out "workers.command.stop: $PWD/stop.sh cannot be used"
}

bad() { # WHAT [ARGUMENT]: they mostly wait
    "${1%%:*}" "${1#*:}"
}

case_what_goes_wrong() {
    each_at_once bad bad_starts_that_fail: bad_lists_that_fail: bad_clean:gone bad_clean:refused bad_check: start_lies:two start_lies:nothing \
        start_lies:other start_lies:same 'stop_fails:echo "not allowed" >&2; exit 1|exit code 1: not allowed' \
        'stop_fails:exit 0|it says that it did'
}

run_cases "$@"
