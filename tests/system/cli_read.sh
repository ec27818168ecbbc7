#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The commands that read ended runs: ls, status, results, logs, sql; and what they say of runs that are not
# there, not one, or damaged.
. "$(dirname "$0")/lib.sh"

# Four subtasks: 2 is dead after a second try, 3 failed for good, all write to both streams.
mixed_job() {
    job <<'EOF'
mayfly: 1
name: mixed
split:
  list: [one, two three, four, "fi'e"]
task:
  shell: |
    echo err {} $MAYFLY_ATTEMPT >&2
    case $MAYFLY_SUBTASK in 2) kill -9 $$ ;; 3) echo gone >&2; exit 64 ;; esac
    echo out {}
  retries: {max: 1, backoff: 1ms, final_codes: [64]}
tolerate: 3
gather: concat
EOF
    run_job -j 1
    assert_exit 0
}

case_no_runs() {
    local command
    mayfly ls
    assert_exit 0
    assert_contains err "there are no runs yet"
    mayfly ls --json
    assert_exit 0
    assert_equal "$(cat out)" "[]" "the list"
    for command in status watch results logs "retry last" cancel "sql last x" "clean last"; do
        # shellcheck disable=SC2086
        mayfly $command
        assert_exit 2
        assert_contains err "there are no runs yet"
    done
}

case_no_place_for_runs() {
    (
        unset HOME XDG_STATE_HOME
        mayfly ls
        assert_exit 3
        assert_contains err "neither XDG_STATE_HOME nor HOME"
    )
}

case_ls() {
    mixed_job
    mayfly ls
    assert_exit 0
    grep -qE "^$RUN_ID +mixed +partial +2/4 +2 +20[0-9-]*T[0-9:]*Z " out || fail "$(cat out)"
    job <<'EOF'
mayfly: 1
name: second
split: {range: 1-3}
task: {command: [/bin/true]}
EOF
    run_job -j 1
    mayfly ls -n 1 --json
    assert_equal "$(jq -r 'length, .[0].run_id, .[0].state, .[0].subtasks.total, .[0].subtasks.done' out | xargs)" \
        "1 $RUN_ID succeeded 3 3" "the newest run"
}

# Whatever lies among the runs, the others are listed, and `last` is a run.
case_foreign_and_damaged_folders() {
    mixed_job
    local runs=$XDG_STATE_HOME/mayfly/runs
    mkdir "$runs/zz-foreign" "$runs/20990101-000000-empty-0000"
    echo text >"$runs/notes.txt"
    cp -r "$RUN" "$runs/20980101-000000-broken-0000"
    printf 'damaged' | dd of="$runs/20980101-000000-broken-0000/run.db" bs=1 seek=0 conv=notrunc status=none
    mayfly ls
    assert_exit 0
    grep -qE "^$RUN_ID +mixed +partial" out || fail "the run is not listed: $(cat out)"
    assert_equal "$(grep -c unreadable out)" 4 "unreadable lines"
    assert_contains err "20990101-000000-empty-0000 has no run.db"
    assert_contains err "zz-foreign is not a run folder"
    mayfly ls --json
    assert_equal "$(jq -r '[.[] | select(.state == "unreadable") | .error] | length' out)" 4 "errors"
    mayfly status 20980101
    assert_exit 1
    assert_contains err "20980101-000000-broken-0000/run.db"
    mayfly results 20980101
    assert_exit 1
    rm -r "$runs/zz-foreign" "$runs/20980101-000000-broken-0000" "$runs/20990101-000000-empty-0000"
    touch "$runs/zz.txt"
    mayfly status
    assert_exit 0
    assert_contains out "$RUN_ID"
}

case_names_of_runs() {
    mixed_job
    cp -r "$RUN" "$XDG_STATE_HOME/mayfly/runs/${RUN_ID%????}zzzz"
    unset MAYFLY_JOURNAL # nobody has executed the copy
    mayfly status "${RUN_ID%????}"
    assert_exit 2
    assert_contains err "means several runs"
    mayfly status nosuchrun
    assert_exit 2
    assert_contains err 'there is no run "nosuchrun"'
    mayfly status "$RUN_ID"
    assert_exit 0
    mayfly status "${RUN_ID%?}"
    assert_exit 0
    mayfly stauts
    assert_exit 2
    assert_contains err 'did you mean "status"'
}

case_status() {
    mixed_job
    mayfly status
    assert_exit 0
    assert_contains out "state    partial"
    assert_contains out "subtasks 4 planned: 2 done, 1 failed, 1 dead, 0 cancelled"
    grep -qE '^paid     [0-9.]+ host-seconds: [0-9.]+ busy' out || fail "no cost account: $(cat out)"
    assert_cost_adds_up
    mayfly status --json
    assert_equal "$(jq -c '[.version, .run_id, .state, .subtasks.total, .summary.attempts.retried]' out)" \
        "[1,\"$RUN_ID\",\"partial\",4,1]" "the status"
    assert_equal "$(jq -c '[.cost == .summary.cost, .cost.workers, (.cost.hosts | map(.host))]' out)" \
        '[true,1,["this machine"]]' "the cost account"
}

case_results() {
    mixed_job
    mayfly results
    assert_exit 0
    printf "out one\nout fi'e\n" >wanted
    assert_same out wanted
    mayfly results --gathered
    assert_exit 0
    assert_same out "$RUN/result"
    mayfly results --gathered last 3
    assert_exit 2
    mayfly results last 4 1-1
    assert_exit 0
    assert_same out wanted
    mayfly results last 1-3
    assert_exit 1
    assert_equal "$(cat out)" "out one" "the results"
    assert_contains err "subtask 2 has no result, it is dead: killed by signal 9 (KILL)"
    assert_contains err "subtask 3 has no result, it is failed: exit code 64"
    mayfly results last 9
    assert_exit 1
    assert_contains err "1 of the 1 named subtasks have not ended"
    mayfly results last zero
    assert_exit 2
    assert_contains err '"zero" is no subtask'
}

case_dead_letters() {
    mixed_job
    mayfly results --dead
    assert_exit 0
    assert_equal "$(grep -c '^subtask' out)" 1 "dead letters"
    assert_contains out "subtask 2 (two three): dead after 2 attempts: killed by signal 9 (KILL)"
    assert_contains out "    attempt 1: killed by signal 9 (KILL), on worker 1 on "
    assert_contains out "    | err two three 2"
    mayfly results --dead --json --tail 1
    assert_equal "$(jq -c '[.log_tail, .lost_with, [.tries[] | .attempt, .state, .signal]]' out)" \
        '["err two three 2\n",[],[1,"retried",9,2,"dead",9]]' "the letter as JSON"
    mayfly results --failed --tail 1
    assert_contains out "subtask 3 (four): failed after 1 attempt: exit code 64"
    assert_contains out "    | gone"
    assert_not_contains out "| err four"
    mayfly results --dead --failed
    assert_equal "$(grep -c '^subtask' out)" 2 "letters of both kinds"
}

case_results_json() {
    mixed_job
    mayfly results --json
    assert_exit 0
    assert_equal "$(jq -sc 'map([.subtask, .state, .attempts, .cause, .exit_code, .item])' out)" \
        "[[1,\"done\",1,\"none\",0,\"one\"],[2,\"dead\",2,\"signal\",-1,\"two three\"],[3,\"failed\",1,\"exit\",64,\"four\"],[4,\"done\",1,\"none\",0,\"fi'e\"]]" \
        "the outcomes"
    assert_equal "$(jq -sc '[.[0].result, .[1].signal, .[0].worker, (.[0].wall_us > 0)]' out)" \
        '["out one\n",9,1,true]' "values"
    mayfly results last 3 --json --failed
    assert_equal "$(jq -r .subtask out)" 3 "the named subtask"
}

case_joblog() {
    job <<'EOF'
mayfly: 1
name: joblog
split: {list: [a, "b c", d]}
task: {command: [sh, -c, 'test "$1" != d || exit 7; echo "$1"', sh, "{}"]}
tolerate: 1
EOF
    run_job -j 1
    mayfly results --joblog
    assert_exit 0
    assert_equal "$(head -n 1 out)" \
        "$(printf 'Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand')" "the header"
    assert_equal "$(tail -n +2 out | cut -f 1,6,7,8 | tr '\t\n' ' ;')" "1 2 0 0;2 4 0 0;3 0 7 0;" "rows"
    # The command is one that a shell can run again.
    assert_equal "$(sh -c "$(sed -n 3p out | cut -f 9)")" "b c" "the command of subtask 2"
}

case_binary_and_large_results() {
    job <<'EOF'
mayfly: 1
name: binary
split: {range: 1-3}
task: {shell: "printf 'a\\000\\377'; test {} -ne 2 || head -c 200000 /dev/zero"}
EOF
    succeed -j 1
    mayfly results
    assert_exit 0
    printf 'a\0\377a\0\377' >wanted
    head -c 200000 /dev/zero >>wanted
    printf 'a\0\377' >>wanted
    assert_same out wanted
    mayfly results --json
    assert_equal "$(jq -r 'select(.subtask == 1) | .result_base64' out)" "YQD/" "bytes that are not UTF-8"
    local file
    file=$(jq -r 'select(.subtask == 2) | .result_file' out)
    assert_equal "$(wc -c <"$file")" 200003 "the large result"
    unset MAYFLY_JOURNAL # what follows would be noticed
    truncate -s 100 "$file"
    mayfly results last 2
    assert_exit 1
    assert_contains err "does not have the 200003 bytes"
    rm "$file"
    mayfly results last 2
    assert_exit 1
    assert_contains err "cannot read the result of subtask 2"
}

case_logs() {
    mixed_job
    mayfly logs
    assert_exit 0
    assert_contains out "1 stderr: err one 1"
    assert_contains out "2.2 stderr: err two three 2"
    mayfly logs last 2
    printf 'err two three 1\n[attempt 2, stderr]\nerr two three 2\n' >wanted
    assert_same out wanted
    mayfly logs last 2 --attempt 2
    echo "err two three 2" >wanted
    assert_same out wanted
    mayfly logs last 2 --stdout
    assert_exit 0
    assert_equal "$(cat out)" "" "standard output of subtask 2"
    mayfly logs --worker 1
    assert_contains out "joined the run"
    mayfly logs last 0
    assert_exit 2
    mayfly logs --worker 1 last 2
    assert_same out <(printf 'err two three 1\n[attempt 2, stderr]\nerr two three 2\n')
    mayfly logs --worker 2 last 2
    assert_exit 2
    assert_contains err "has no worker 2: it has 1"
}

case_cut_log() {
    job <<'EOF'
mayfly: 1
name: cut
split: {range: 1-1}
task: {shell: "yes mayfly | head -c 200000 >&2", log: {max: 64KiB}}
EOF
    succeed -j 1
    mayfly logs last 1
    grep -qaE '^\[\.\.\. [0-9]+ bytes cut \.\.\.\]$' out || fail "no mark of the cut: $(tail -c 200 out)"
    mayfly logs last
    grep -qaE '^1 stderr: \[\.\.\. [0-9]+ bytes cut \.\.\.\]$' out || fail "no mark of the cut: $(tail -c 200 out)"
}

case_sql() {
    mixed_job
    mayfly sql last "SELECT state, count(*) AS n FROM subtask GROUP BY state ORDER BY state"
    assert_exit 0
    printf 'state   n\ndead    1\ndone    2\nfailed  1\n' >wanted
    assert_same out wanted
    mayfly sql --csv last "SELECT 1 AS a, 'x,\"y' AS b, NULL AS c"
    printf 'a,b,c\n1,"x,""y",\n' >wanted
    assert_same out wanted
    mayfly sql --json last "SELECT 1 AS a, x'00ff' AS b, NULL AS c; SELECT 2 AS a"
    printf '{"a":1,"b_base64":"AP8=","c":null}\n{"a":2}\n' >wanted
    assert_same out wanted
}

case_sql_only_reads() {
    mixed_job
    local before statement
    before=$(query "SELECT count(*) FROM attempt")
    for statement in "DELETE FROM attempt" "PRAGMA query_only = OFF; DELETE FROM attempt" "CREATE TABLE x(a)" \
        "ATTACH 'other.db' AS other; CREATE TABLE other.x(a)"; do
        mayfly sql last "$statement"
        assert_exit 2
    done
    assert_equal "$(query "SELECT count(*) FROM attempt")" "$before" "rows"
    assert_no_file other.db
    mayfly sql last "SELEKT"
    assert_exit 2
    assert_contains err 'near "SELEKT": syntax error'
    mayfly sql last
    assert_exit 2
    assert_contains err "a run and a query are needed"
}

# Standard output that is full, closed, or of a reader who went away.
case_output_that_fails() {
    mixed_job
    local command code
    for command in ls status results "results --json" logs "sql last SELECT(1)"; do
        CODE=0
        # shellcheck disable=SC2086
        "$MAYFLY_BIN" $command >/dev/full 2>err || CODE=$?
        assert_exit 3
        assert_contains err "cannot write to standard output"
        CODE=0
        # shellcheck disable=SC2086
        "$MAYFLY_BIN" $command >&- 2>err || CODE=$?
        assert_exit 3
        assert_contains err "cannot write to standard output"
    done
    job <<'EOF'
mayfly: 1
name: long
split: {range: 1-20}
task: {shell: "yes mayfly | head -c 60000"}
EOF
    succeed -j 2
    {
        code=0
        (trap '' PIPE; "$MAYFLY_BIN" results 2>err) || code=$?
        echo "$code" >code
    } | head -n 1 >out
    assert_equal "$(cat out)" mayfly "the first line"
    assert_equal "$(cat err)" "" "standard error after the reader went away"
}

case_help() {
    local command
    for command in run submit ls status watch results logs retry cancel sql clean version; do
        mayfly "$command" --help
        assert_exit 0
        assert_contains out "Usage: mayfly $command"
        mayfly "$command" --no-such-option
        assert_exit 2
    done
    mayfly
    assert_exit 2
}

run_cases "$@"
