# shellcheck shell=bash disable=SC2034 # what is set here is read by the tests
# SPDX-License-Identifier: Apache-2.0
# What tests of triggers share; sourced after lib.sh.

# Writes NAME.yaml: a light job that does nothing with each message, or as SPLIT and SHELL say.
trigger_job() { # NAME TRIGGER [SPLIT [SHELL]]
    cat >"$1.yaml" <<END
mayfly: 1
name: $1
split: ${3:-queue}
task: {shell: "${4:-true}"}
gather: concat
workers: {count: 1, slots: 2}
trigger: $2
END
}

# Registers it, without an entry for ticks: the tests do that themselves.
install() { # NAME
    mayfly trigger install "$1.yaml" --scheduler none
    assert_exit 0
}

queue_with() { # NAME
    mayfly queue create "$1"
    assert_exit 0
}

push() { # QUEUE COUNT
    CODE=0
    seq "$2" | "$MAYFLY_BIN" queue push "$1" --stdin --json >out 2>err || CODE=$?
}

tick() {
    mayfly trigger tick -v
    assert_exit 0
}

# Rows of queues.db, columns separated by |.
ask() { # SQL
    sqlite3 -batch -readonly -cmd ".timeout 20000" "$XDG_STATE_HOME/mayfly/queues.db" "$1"
}

# One figure of a queue.
figure() { # QUEUE NAME
    "$MAYFLY_BIN" queue stats "$1" --json | jq -r ".$2"
}

# What `trigger list` says of a job.
listed() { # NAME FILTER
    "$MAYFLY_BIN" trigger list --json | jq -r ".[] | select(.job == \"$1\") | $2"
}

open_firings() {
    ask "SELECT count(*) FROM firing WHERE state = 'open'"
}

# Until nothing is open any more; runs end and start by themselves.
all_settled() {
    [ "$(open_firings)" = 0 ]
}

# The same, with a tick now and then.
settled_by_ticks() {
    "$MAYFLY_BIN" trigger tick >>ticks 2>&1
    all_settled
}

# The only run there is: sets RUN_ID, RUN.
only_run() {
    RUN_ID=$(ls "$XDG_STATE_HOME/mayfly/runs")
    RUN=$XDG_STATE_HOME/mayfly/runs/$RUN_ID
    assert_equal "$(echo "$RUN_ID" | wc -w)" 1 "runs"
}

runs() {
    find "$XDG_STATE_HOME/mayfly/runs" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l
}

# Subtasks that are done, over all runs that succeeded.
done_in_runs() {
    local run
    for run in "$XDG_STATE_HOME"/mayfly/runs/*/run.db; do
        sqlite3 -batch -readonly -cmd ".timeout 20000" "$run" \
            "SELECT count(*) FROM attempt, run WHERE attempt.state = 'done' AND run.state = 'succeeded'"
    done | awk '{ n += $1 } END { print n + 0 }'
}
