#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# retry and clean: ended runs go on, or go away.
. "$(dirname "$0")/lib.sh"

# Subtasks 2 (dead) and 3 (failed) do not succeed before `fixed` is there; all leave a mark of each execution.
broken_job() {
    job <<EOF
mayfly: 1
name: broken
split: {range: 1-5}
task:
  shell: |
    echo {} >>$PWD/executed
    [ -e $PWD/fixed ] || [ {} -ne 2 ] || exit 1
    [ -e $PWD/fixed ] || [ {} -ne 3 ] || exit 64
    echo {}
  retries: {max: 1, backoff: 1ms, final_codes: [64]}
gather: concat
EOF
    run_job -j 1
    assert_exit 1
    assert_equal "$(counts)" "3 1 1 0" "counts"
    : >executed
}

case_retry_all() {
    broken_job
    touch fixed
    mayfly retry last
    assert_exit 0
    seq 5 >wanted
    assert_same out wanted
    assert_same "$RUN/result" wanted
    assert_nothing_left "$RUN_ID"
    assert_equal "$(counts)" "5 0 0 0" "counts"
    assert_equal "$(sort executed | xargs)" "2 3" "what was executed again"
    assert_equal "$(query "SELECT id >> 16, id & 65535, state, superseded, epoch FROM attempt WHERE id >> 16 IN (2, 3) ORDER BY id" | xargs)" \
        "2|1|retried|1|1 2|2|dead|1|1 2|3|done|0|2 3|1|failed|1|1 3|2|done|0|2" "attempts"
    mayfly retry last
    assert_exit 2
    assert_contains err "succeeded: it has nothing"
}

case_retry_some() {
    broken_job
    touch fixed
    mayfly retry last 2 --json
    assert_exit 1
    assert_equal "$(jq -c '[.state, .subtasks.done, .subtasks.failed, .subtasks.dead]' out)" '["failed",4,1,0]' "after 2"
    mayfly retry last --dead
    assert_exit 2
    assert_contains err "no such dead letter"
    mayfly retry last 1
    assert_exit 2
    assert_contains err "subtask 1 is not a dead letter"
    mayfly retry last --failed -o copy
    assert_exit 0
    seq 5 >wanted
    assert_same copy wanted
    assert_equal "$(sort executed | xargs)" "2 3" "what was executed again"
}

case_retry_that_fails_again() {
    broken_job
    mayfly retry last
    assert_exit 1
    assert_equal "$(counts)" "3 1 1 0" "counts"
    assert_no_file "$RUN/result"
    touch fixed
    mayfly retry last -q
    assert_exit 0
    assert_equal "$(counts)" "5 0 0 0" "counts"
}

# A retry that is killed can be resumed, not retried.
case_retry_that_is_killed() {
    broken_job
    sed -i "s|echo {} >>|while [ -e $PWD/hold ]; do sleep 0.05; done; echo {} >>|" "$RUN/job.yaml"
    touch fixed hold
    "$MAYFLY_BIN" retry last >out 2>err &
    local pid=$!
    wait_until "$MAYFLY_BIN status --json | jq -e '.live.running == 1'"
    kill -KILL "$pid"
    wait "$pid" || :
    mayfly retry last
    assert_exit 2
    assert_contains err "mayfly resume $RUN_ID"
    rm hold
    mayfly resume last
    assert_exit 0
    seq 5 >wanted
    assert_same out wanted
    assert_equal "$(counts)" "5 0 0 0" "counts"
    assert_nothing_left "$RUN_ID"
}

# Inputs that changed since the plan are refused, the others go on.
case_retry_with_changed_input() {
    echo one >1.txt
    echo two >2.txt
    job <<EOF
mayfly: 1
name: inputs
split: {files: ["*.txt"]}
task:
  shell: "test -e $PWD/fixed && cat {path}"
EOF
    run_job -j 1
    assert_exit 1
    touch fixed
    echo other >2.txt
    mayfly retry last
    assert_exit 1
    assert_equal "$(counts)" "1 1 0 0" "counts"
    mayfly results --failed
    assert_contains out "subtask 2 (2.txt): failed"
    assert_contains out "input changed"
}

case_retry_refused() {
    mayfly retry
    assert_exit 2
    assert_contains err "a run is needed"
    broken_job
    rm "$RUN/job.yaml"
    mayfly retry last
    assert_exit 3
    assert_contains err "job.yaml"
    assert_equal "$(query "SELECT state FROM run")" failed "the run as it was"
    printf 'damaged' | dd of="$RUN/run.db" bs=1 conv=notrunc status=none
    mayfly retry last
    assert_exit 1
    assert_contains err "run.db"
}

# Exports the dead letters of the newest run and runs them elsewhere; what must fail no more is told by `fixed`.
run_export() { # [ARGUMENT OF results...]
    rm -rf elsewhere
    mkdir elsewhere
    mayfly results last "$@" --export elsewhere/letters.yaml
    assert_exit 0
    touch fixed
    mayfly run elsewhere/letters.yaml -j 1
    rm fixed
    find_run
    assert_nothing_left "$RUN_ID"
}

case_export_of_values() {
    broken_job
    mayfly retry last --dead --export elsewhere
    assert_exit 0
    assert_contains err "1 dead letter written to elsewhere"
    assert_equal "$(query "SELECT state, epoch FROM run")" "failed|1" "the run is not touched"
    rm elsewhere
    run_export --dead --failed
    assert_exit 0
    printf '2\n3\n' >wanted
    assert_same out wanted
    mayfly results last --export nothing
    assert_exit 2
    assert_contains err "no such dead letter"
    job <<END
mayfly: 1
split: {list: ["null", "1", "a 'b'", "~", "x: [y]"]}
task: {shell: "[ -e $PWD/fixed ] && printf '<%s>' {}"}
END
    run_job
    run_export 1 3-5
    assert_exit 0
    assert_equal "$(cat out)" "<null><a 'b'><~><x: [y]>" "the values"
}

case_export_of_files() {
    mkdir -p "in [1]"
    for name in plain 'a*b' 'a?b' 'q"u' 'back\slash' axb; do echo "$name" >"in [1]/$name"; done
    cat >own <<'END'
#!/bin/sh
cat "$1"
END
    chmod +x own
    job <<END
mayfly: 1
prepare: "echo prepared >\"\$MAYFLY_PREPARED/made [2]\""
split: {files: ["in \\\\[1\\\\]/*", "\$MAYFLY_PREPARED/*"]}
task: {shell: "[ -e $PWD/fixed ] || case {path} in */axb|*/plain) ;; *) exit 1 ;; esac; ./own {path}", files: [own]}
END
    run_job
    assert_exit 1
    assert_equal "$(counts)" "2 0 5 0" "counts"
    touch "in [1]/a new one" # what came since then is none of it
    run_export --dead
    assert_exit 0
    printf '%s\n' prepared 'a*b' 'a?b' 'back\slash' 'q"u' | sort >wanted
    sort out >sorted
    assert_same sorted wanted
    assert_not_contains elsewhere/letters.yaml "$RUN_ID"
}

# Pieces: of the inputs that have dead letters, in files that have grown in number since then; and of an export itself.
case_export_of_pieces() {
    local n
    for n in 1 3 5; do seq -f "$n-%g" 5 >"$n.txt"; done
    job <<END
mayfly: 1
split: {lines: ["*.txt"], count: 2}
task: {shell: "[ -e $PWD/fixed ] || ! [ {id} -eq 2 -o {id} -ge 8 ] && cat"}
END
    run_job -j 1
    assert_equal "$(counts)" "6 0 3 0" "of nine pieces"
    echo before >0.txt
    run_export
    assert_exit 0
    printf '%s\n' 1-3 1-4 5-3 5-4 5-5 >wanted
    assert_same out wanted
    assert_equal "$(sed -n '/only/,$p' elsewhere/letters.yaml | tr -d '\n "' | grep -o 'only:[][0-9,-]*')" \
        "only:[2,5-6]" "the numbers of the pieces"
    cp elsewhere/letters.yaml job.yaml
    sed -i 's/{id} -eq 2/{id} -eq 3/' job.yaml
    run_job -j 1
    assert_equal "$(counts)" "2 0 1 0" "of three pieces"
    run_export
    assert_exit 0
    assert_equal "$(cat out)" 5-5 "the last piece"
}

small_run() {
    job <<'EOF'
mayfly: 1
name: small
split: {range: 1-2}
task: {command: [echo, "{}"]}
EOF
    succeed -j 1
}

case_clean() {
    mayfly clean
    assert_exit 2
    assert_contains err "say which runs are to be removed"
    small_run
    local first=$RUN
    small_run
    mayfly clean --older-than 1h
    assert_exit 0
    assert_equal "$(cat out)" "0 runs, 0 B freed" "what is removed"
    mayfly clean "$(basename "$first")" --dry-run
    assert_exit 0
    assert_contains out "would remove $(basename "$first") (succeeded, "
    assert_file "$first/run.db"
    mayfly clean "$(basename "$first")"
    assert_exit 0
    assert_contains out "removed $(basename "$first") (succeeded, "
    assert_no_file "$first"
    assert_file "$RUN/run.db"
    mayfly clean --older-than 0
    assert_exit 0
    assert_no_file "$RUN"
    assert_equal "$(ls -A "$XDG_STATE_HOME/mayfly/runs")" "" "the folder of runs"
}

case_clean_of_wrong_names() {
    small_run
    mkdir "$XDG_STATE_HOME/mayfly/runs/zz-foreign"
    mayfly clean last nosuchrun
    assert_exit 2
    assert_file "$RUN/run.db"
    mayfly clean zz-foreign
    assert_exit 2
    assert_contains err "is not a run folder, so it stays"
    mayfly clean last --all
    assert_exit 2
    mayfly clean --older-than soon
    assert_exit 2
    assert_contains err 'not "soon"'
    mayfly clean --all
    assert_no_file "$RUN"
    rmdir "$XDG_STATE_HOME/mayfly/runs/zz-foreign" || fail "what is no run was touched"
}

# Damaged runs stay until they are named; what a killed clean has left goes with the next one.
case_clean_of_damaged_and_left_over() {
    small_run
    mv "$RUN" "$XDG_STATE_HOME/mayfly/runs/.$RUN_ID.removed"
    small_run
    : >"$RUN/run.db"
    mayfly clean --all
    assert_exit 0
    assert_contains err "name it to remove it"
    assert_equal "$(ls -A "$XDG_STATE_HOME/mayfly/runs")" "$RUN_ID" "what stays"
    mayfly clean last
    assert_exit 0
    assert_contains out "(unreadable, "
    assert_no_file "$RUN"
}

run_cases "$@"
