#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# The job's `secrets`: subtasks find them as files, renewed in place; they are nowhere else, and leave nothing behind.
. "$(dirname "$0")/lib.sh"

# The first subtasks, one a slot, write down what they find, and wait until the secret has another value.
secret_job() {
    job <<END
mayfly: 1
split: {range: 1-12}
task:
  shell: |
    cd "\$MAYFLY_SECRETS" || exit 1
    if [ {} -le 2 ]; then
        { stat -c '%a %F %n' . ./*; cat FROM_FILE FROM_COMMAND FROM_ENV; } >$PWD/found.{}.new
        pwd >$PWD/place.{}
        mv $PWD/found.{}.new $PWD/found.{}
        until grep -q ^second FROM_FILE; do sleep 0.05; done
    fi
    [ -s FROM_FILE ] && echo {}
workers: {count: 2, slots: 1}
credentials: {ttl: 5s}
secrets:
  FROM_FILE: {file: value}
  FROM_COMMAND: {command: [cat, other]}
  FROM_ENV: {env: SECRET_VARIABLE}
END
    printf 'first-value-of-the-file' >value
    printf 'value-of-the-command' >other
    export SECRET_VARIABLE=value-of-the-variable
}

case_secrets_reach_subtasks_and_nothing_else() {
    local place wanted pids
    secret_job
    start_job
    wait_until "[ -e found.1 ] && [ -e found.2 ]"
    wanted=$(printf '%s\n' '700 directory .' '600 regular file ./FROM_COMMAND' '600 regular file ./FROM_ENV' \
        '600 regular file ./FROM_FILE')
    assert_equal "$(head -n 4 found.1)" "$wanted" "modes"
    assert_equal "$(tail -n 1 found.1)" "first-value-of-the-filevalue-of-the-commandvalue-of-the-variable" "values"
    if [ "$(stat -f -c %T /dev/shm)" = tmpfs ]; then
        place=/dev/shm/mayfly-$(id -u)/runs/$RUN_ID
        assert_equal "$(sort place.1 place.2 | xargs dirname | uniq)" "$place" "where they are:"
    fi
    # A worker that is killed cannot clean up: its subtask runs on the other one's replacement, the rest is swept.
    kill -KILL "$(sed -n 's/^.* worker 1 joined .*, process \([0-9]*\)$/\1/p' "$RUN/master.log")"
    wait_until "grep -q 'worker 3 joined' $RUN/master.log"
    pids=$(processes_of "$RUN_ID")
    printf 'second-value-of-the-file' >value.new
    mv value.new value
    for pid in $pids; do
        cat "/proc/$pid/cmdline" "/proc/$pid/environ" 2>/dev/null || :
    done >processes
    assert_not_contains processes value-of
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" <(seq 12)
    assert_equal "$(grep -rlaE '(first|second)-value-of-the-file|value-of-the-(command|variable)' "$RUN" out err)" "" \
        "values in files of the run:"
    assert_contains "$RUN/job.yaml" "SECRET_VARIABLE"
    assert_contains "$RUN/master.log" "1 secrets have changed"
    mayfly logs last --worker 2
    assert_contains out "the secret FROM_FILE is renewed"
}

# The next master knows the tokens of a generation that it has not issued, and reads the secrets anew: the very subtasks
# that waited for the other value find it.
case_a_resumed_run_goes_on_with_both() {
    local before
    secret_job
    start_job
    wait_until "[ -e found.1 ] && [ -e found.2 ] && grep -q 'worker 2 is renewed (generation 2)' $RUN/master.log"
    before=$(workers_of "$RUN_ID")
    kill -KILL "$PID"
    wait "$PID" 2>/dev/null || :
    rm found.1 found.2
    printf 'second-value-of-the-file' >value
    mayfly resume last
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" <(seq 12)
    assert_no_file found.1
    assert_no_file found.2
    assert_equal "$(wc -w <<<"$before")" 2 "workers before"
    assert_equal "$(query 'select count(*) from worker')" 2 "workers in all"
    assert_equal "$(grep -c 'credential.* has expired' "$RUN/master.log")" 0
}

# Each refused with one sentence that names place and key, before anything is started.
case_secrets_that_cannot_be_read() {
    local source message
    mkdir folder
    head -c 65537 /dev/zero >large
    : >empty
    export EMPTY_VARIABLE=
    while IFS='|' read -r source message; do
        job <<END
mayfly: 1
split: {range: 1-3}
task: {command: [echo, "{}"]}
secrets:
  KEY: {$source}
END
        mayfly run job.yaml
        [ "$CODE" = 1 ] || [ "$CODE" = 2 ] || fail "exit code $CODE for $source"
        assert_contains err "job.yaml:5: secrets.KEY$message"
        assert_equal "$(grep -c "secrets.KEY" err)" 1 "sentences for $source:"
        assert_equal "$(find "$XDG_STATE_HOME" "$XDG_CACHE_HOME" -name 'worker*' | wc -l)" 0
    done <<'END'
file: nowhere|.file: 
file: folder|.file: 
file: large|: the value is larger than 64 KiB
file: empty|: the value is empty
env: NO_SUCH_VARIABLE|.env: the variable NO_SUCH_VARIABLE is not in the environment of mayfly
env: EMPTY_VARIABLE|.env: the variable EMPTY_VARIABLE is empty in the environment of mayfly
command: [no-such-command]|.command: cannot start no-such-command: 
command: [sh, -c, "echo half; exit 3"]|.command: sh ended with exit code 3: run it by hand
command: [yes]|: the value is larger than 64 KiB
command: ["true"]|: the value is empty
END
    # A dry run looks, too, but runs no command.
    job <<END
mayfly: 1
split: {range: 1-3}
task: {command: [echo, "{}"]}
secrets: {KEY: {file: nowhere}, OTHER: {command: [touch, ran]}}
END
    mayfly run --dry-run job.yaml
    assert_exit 2
    assert_contains err "job.yaml:4: secrets.KEY.file: $PWD/nowhere cannot be read: No such file or directory"
    assert_no_file ran
}

case_a_command_that_hangs_can_be_interrupted() {
    job <<END
mayfly: 1
split: {range: 1-3}
task: {command: [echo, "{}"]}
secrets: {KEY: {command: [sh, -c, "echo \$\$ >started.new; mv started.new started; exec sleep 1000"]}}
END
    "$MAYFLY_BIN" run job.yaml >out 2>err </dev/null &
    PID=$!
    wait_until "[ -e started ]"
    kill -INT "$PID"
    await_end
    assert_exit 130
    assert_contains err "job.yaml:4: secrets.KEY.command: interrupted while it ran"
    ! kill -0 "$(cat started)" 2>/dev/null || fail "the command goes on"
}

run_cases "$@"
