#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # what stands in single quotes is for the job's shell
# mayfly trigger: what starts runs, once each, and what becomes of it when somebody dies or something is wrong.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/trigger_lib.sh"

case_a_threshold_starts_one_batch() {
    queue_with documents
    trigger_job pages '{queue: documents, when: {count: 10}, max_batch: 15}'
    install pages
    push documents 9
    assert_equal "$(jq -c .started out)" '[]'
    assert_equal "$(listed pages '"\(.ready) \(.when.count) \(.last_run)"')" '9 10 null'
    push documents 16
    assert_equal "$(jq -r '.started[0].trigger' out)" pages
    only_run
    wait_until all_settled
    # The rest, 10 of them, is started by the master of the first batch.
    assert_equal "$(ask 'SELECT messages, state FROM firing ORDER BY made_us' | tr '\n' ' ')" \
        '15|succeeded 10|succeeded '
    assert_equal "$(figure documents 'done')" 25
    assert_equal "$(done_in_runs)" 25
    assert_equal "$(listed pages '"\(.ready) \(.last_state) \(.error)"')" '0 succeeded null'
}

case_the_environment_is_that_of_the_installation() {
    queue_with q
    # No worker needs the home that is gone; the master would not find its runs without XDG_STATE_HOME.
    trigger_job where '{queue: q}'
    printf 'prepare: "pwd; env | sort >env.txt"\n' >>where.yaml
    mkdir folder
    mv where.yaml folder/job.yaml
    PASSWORD=sesame mayfly trigger install folder --scheduler none
    assert_exit 0
    (cd / && env -i XDG_STATE_HOME="$XDG_STATE_HOME" LANG=tlh SECRET=x "$MAYFLY_BIN" queue push q a) >out
    only_run
    wait_until all_settled
    assert_equal "$(cat "$RUN/prepare.log")" "$PWD/folder"
    assert_contains folder/env.txt "HOME=$HOME"
    assert_not_contains folder/env.txt SECRET
    assert_not_contains folder/env.txt sesame
}

# Dies at each point between a push and the end of its run: afterwards everything was done, once.
case_killed_on_the_way() {
    local point
    queue_with q
    trigger_job light '{queue: q, when: 5}'
    install light
    CODE=0
    MAYFLY_CRASH=trigger.before-commit mayfly queue push q 1 2 3 4 5
    assert_equal "$CODE" 137
    assert_equal "$(figure q pushed)" 0
    for point in trigger.after-commit trigger.after-start trigger.after-word; do
        MAYFLY_CRASH=$point mayfly queue push q 1 2 3 4 5
        assert_equal "$CODE" 137 "$point"
        wait_until settled_by_ticks
    done
    # ... and of the run itself, which has its environment from the installation. queue_runs.sh has all of them.
    for point in firing.after-claim master.before-record firing.after-settle; do
        MAYFLY_CRASH=$point install light
        mayfly queue push q 1 2 3 4 5
        wait_until '[ -z "$(masters)" ]'
        [ "$point" = firing.after-settle ] || assert_equal "$(open_firings)" 1 "open after $point"
        install light
        wait_until settled_by_ticks
    done
    assert_equal "$(figure q 'done')" 30
    assert_equal "$(done_in_runs)" 30
    assert_equal "$(ask 'SELECT DISTINCT state, messages FROM firing')" 'succeeded|5'
}

masters() {
    { grep -lsazxF "XDG_STATE_HOME=$XDG_STATE_HOME" /proc/[0-9]*/environ || :; } 2>/dev/null | cut -d/ -f3 |
        while read -r pid; do
            if command_of "$pid" | grep -qE '^[^ ]*/mayfly (submit|resume) '; then echo "$pid"; fi
        done
}

# Two ticks (and more) at once: each firing is carried on by one of them, each time of the clock fires once.
case_many_ticks_at_once() {
    local i
    queue_with q
    trigger_job light '{queue: q, when: 5}'
    trigger_job clock '{cron: "@every 1h"}' '{range: 1-2}'
    install light
    install clock
    MAYFLY_CRASH=trigger.after-commit mayfly queue push q 1 2 3 4 5
    sqlite3 "$XDG_STATE_HOME/mayfly/queues.db" \
        "UPDATE trigger SET last_due_us = last_due_us - 3700000000, installed_us = 0 WHERE name = 'clock'"
    for i in 1 2 3 4 5; do
        "$MAYFLY_BIN" trigger tick -v 2>"tick.$i" &
    done
    wait
    wait_until all_settled
    assert_equal "$(ask 'SELECT trigger, cause, state FROM firing ORDER BY trigger' | tr '\n' ' ')" \
        'clock|cron|succeeded light|count|succeeded '
    assert_equal "$(runs)" 2
    assert_equal "$(figure q 'done')" 5
}

case_chains() {
    trigger_job first '{cron: "0 0 1 1 *"}' '{range: 1-3}' 'echo {}; test ! -e '"$PWD"'/broken'
    trigger_job good '{after: first}' '{lines: ["$MAYFLY_PREPARED/after/result"]}' 'cat'
    trigger_job bad '{after: first, on: failure}' '{range: 1-1}' 'true'
    trigger_job both '{after: first, on: always}' '{files: ["$MAYFLY_PREPARED/after/event.json"]}' 'cat {path}'
    local name
    install good
    assert_contains err "nothing is known of a job 'first' yet"
    for name in first bad both; do install "$name"; done
    assert_equal "$(cat err)" ''
    # By hand: that counts as well. One event, two jobs.
    mayfly run first.yaml
    assert_exit 0
    find_run
    wait_until all_settled
    local first=$RUN
    assert_equal "$(ask "SELECT trigger, cause, state FROM firing WHERE trigger IS NOT NULL ORDER BY trigger" | tr '\n' ' ')" \
        'both|after|succeeded good|after|succeeded '
    RUN=$XDG_STATE_HOME/mayfly/runs/$(listed good .last_run)
    assert_same "$RUN/result" "$first/result"
    RUN=$XDG_STATE_HOME/mayfly/runs/$(listed both .last_run)
    assert_equal "$(jq -r '"\(.job) \(.state) \(.run_id) \(.result)"' "$RUN/result")" \
        "first succeeded $(basename "$first") $first/result"
    touch broken
    mayfly run first.yaml
    assert_exit 1
    wait_until all_settled
    assert_equal "$(ask "SELECT trigger FROM firing WHERE trigger IS NOT NULL ORDER BY trigger" | tr '\n' ' ')" \
        'bad both both good '
}

# A master that dies between its run's final state and telling it: whoever sweeps makes up for it. So it is with
# a run by hand, which no sweep resumes.
case_the_end_of_a_killed_run_is_passed_on() {
    trigger_job first '{cron: "0 0 1 1 *"}' '{range: 1-3}'
    trigger_job second '{after: first}' '{range: 1-1}'
    install second
    CODE=0
    MAYFLY_CRASH=firing.before-settle mayfly run first.yaml
    assert_equal "$CODE" 137
    assert_equal "$(ask 'SELECT cause, state FROM firing')" 'hand|open'
    wait_until settled_by_ticks
    assert_equal "$(listed second .last_state)" succeeded
    MAYFLY_CRASH=master.before-record mayfly run first.yaml
    assert_equal "$CODE" 137
    tick
    assert_contains err 'resumed 0'
    assert_equal "$(open_firings)" 1
    mayfly resume last
    assert_exit 0
    wait_until all_settled
    assert_equal "$(ask "SELECT count(*) FROM firing WHERE trigger = 'second' AND state = 'succeeded'")" 2
}

# A file that was edited is run as it is now, unless it asks for another trigger, is broken or gone: then messages wait,
# and `trigger list` says what to do.
case_a_job_file_that_changed_gone_or_broken() {
    queue_with q
    trigger_job light '{queue: q, when: 2}'
    install light
    sed -i 's/shell: "true"/shell: "echo new"/' light.yaml
    push q 2
    assert_exit 0
    assert_equal "$(cat err)" ''
    wait_until all_settled
    only_run
    assert_equal "$(cat "$RUN/result")" "new
new"
    cp light.yaml kept
    assert_waits 's/when: 2/when: 1/' "has another name or 'trigger' now .* mayfly trigger install $PWD/light.yaml"
    assert_waits 's/^name: light/name: heavy/' "has another name or 'trigger' now"
    assert_waits '/^trigger/d' 'light.yaml:.*split'
    assert_waits 's/^task:/tusk:/' "light.yaml:.*tusk"
    echo ':' >light.yaml
    mayfly trigger install light.yaml --scheduler none
    assert_exit 2
    rm light.yaml
    tick
    assert_equal "$(listed light .error | grep -c 'cannot be opened')" 1
    assert_equal "$(figure q ready)" 8
    assert_equal "$(runs)" 1
    cp kept light.yaml
    tick
    wait_until all_settled
    assert_equal "$(figure q 'done')" 10
    assert_equal "$(listed light .error)" null
}

# Two more messages start nothing while the job file is edited so.
assert_waits() { # SED PATTERN
    cp kept light.yaml
    sed -i "$1" light.yaml
    push q 2
    assert_exit 0
    assert_equal "$(jq -c .started out)" '[]'
    listed light .error >said
    grep -q "$2" said || fail "'$1' lists: $(cat said)"
    mayfly trigger run light
    assert_exit 2
    grep -q "$2" err || fail "'$1' says: $(cat err)"
    assert_equal "$(ask "SELECT last_error FROM trigger")" "$(cat said)"
}

# What cannot be started is given up, with a reason; its messages wait, and so does the trigger.
case_a_run_that_cannot_be_started() {
    queue_with q
    trigger_job light '{queue: q, when: 2}'
    sed -i 's/^task: .*/task: {shell: "true", files: [tool]}/' light.yaml
    touch tool
    install light
    rm tool
    mayfly queue push q 1 2
    assert_exit 0
    assert_contains err 'could not be started'
    assert_equal "$(ask 'SELECT state FROM firing')" given_up
    assert_equal "$(figure q ready)" 2
    assert_equal "$(listed light '.error' | grep -c "'tool' is not in the job's folder")" 1
    assert_equal "$(listed light .failed)" 1
    tick
    assert_equal "$(ask 'SELECT count(*) FROM firing')" 1
    touch tool
    mayfly trigger run light
    assert_exit 0
    wait_until all_settled
    assert_equal "$(figure q 'done')" 2
    assert_equal "$(listed light '"\(.failed) \(.error)"')" '0 null'
}

case_bad_usage() {
    mayfly trigger list
    assert_exit 0
    assert_contains err 'no trigger is installed'
    mayfly trigger run x
    assert_exit 2
    trigger_job light '{queue: nowhere}'
    mayfly trigger install light.yaml --scheduler none
    assert_exit 2
    assert_contains err 'nowhere'
    trigger_job light '{cron: "0 0 30 2 *"}' '{range: 1-1}'
    mayfly trigger install light.yaml --scheduler none
    assert_exit 2
    assert_contains err 'trigger.cron'
    trigger_job light '{cron: "@daily", zone: Mars/Base}' '{range: 1-1}'
    mayfly trigger install light.yaml --scheduler none
    assert_exit 2
    assert_contains err 'Mars/Base'
    trigger_job light '{cron: "@daily"}' '{range: 1-1}'
    printf 'secrets: {KEY: {env: MY_KEY}}\n' >>light.yaml
    MY_KEY=1 mayfly trigger install light.yaml --scheduler none
    assert_exit 2
    assert_contains err 'secrets.KEY: a run that a trigger starts has no variable MY_KEY'
    trigger_job light '{cron: "@daily"}' '{range: 1-1}'
    install light
    mayfly trigger remove other
    assert_exit 2
    assert_contains err 'there are light'
    mayfly trigger remove light.yaml
    assert_exit 0
    mayfly trigger list
    assert_contains err 'no trigger is installed'
}

run_cases "$@"
