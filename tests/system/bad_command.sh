#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Commands that misbehave: each fails (or succeeds) as described, harms no other subtask, and leaves nothing.
. "$(dirname "$0")/lib.sh"

# Subtask 2 of 3 does what task.yaml says; sets CAUSE and DETAIL of its last attempt.
second_does() { # SHELL_LINE [KEY...]
    job <<END
mayfly: 1
split: {range: 1-3}
task:
  shell: |
    [ {} != 2 ] || { $1; }; echo {}
  ${2:-}
workers: {slots: 2}
END
    run_job
    read_cause 2
}

read_cause() { # SUBTASK
    CAUSE=$(query "select cause from attempt where subtask = $1 order by id desc limit 1")
    DETAIL=$(query "select coalesce(detail, '') from attempt where subtask = $1 order by id desc limit 1")
}

command_is() { # YAML_LIST
    job <<END
mayfly: 1
split: {range: 1-2}
task: {command: $1}
END
    run_job
    assert_exit 1
    read_cause 1
}

case_not_found() {
    command_is '[no-such-command-here]'
    assert_equal "$CAUSE" "not started"
    [[ $DETAIL == *no-such-command-here*PATH* ]] || fail "$DETAIL"
    command_is '[./nowhere.sh]'
    [[ $DETAIL == *nowhere.sh* ]] || fail "$DETAIL"
}

case_not_executable() {
    echo 'echo hello' >tool.sh
    command_is '[./tool.sh], files: [tool.sh]'
    assert_equal "$CAUSE" "not started"
    [[ $DETAIL == *tool.sh*chmod* ]] || fail "$DETAIL"
}

case_interpreter_not_there() {
    printf '#!/no/such/interpreter\n' >tool.sh
    chmod +x tool.sh
    command_is '[./tool.sh], files: [tool.sh]'
    assert_equal "$CAUSE" "not started"
    [[ $DETAIL == *interpreter* ]] || fail "$DETAIL"
}

case_killed_by_a_signal() {
    second_does 'kill -SEGV $$'
    assert_exit 1
    assert_equal "$CAUSE" signal
    assert_equal "$(query "select signal from attempt where subtask = 2")" 11
    assert_equal "$(counts)" "2 0 1 0"
}

case_ignores_term() {
    second_does "trap '' TERM INT HUP; while :; do sleep 1; done" $'timeout: 200ms\n  kill_after: 200ms'
    assert_exit 1
    assert_equal "$CAUSE" timeout
    assert_equal "$(query "select signal from attempt where subtask = 2")" 9
}

case_forks_away() {
    second_does "setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & sleep 1000' >/dev/null 2>&1 & setsid sleep 1000 & :" "kill_after: 300ms"
    assert_exit 0
    assert_equal "$(counts)" "3 0 0 0" "what it left behind was ended with it"
}

case_forks_away_with_its_streams() {
    second_does "(setsid sleep 1000) & echo early" "kill_after: 300ms"
    assert_exit 0
    assert_same out <(printf '%s\n' 1 early 2 3)
}

case_forks_without_end() {
    second_does "i=0; while [ \$i -lt 200 ]; do sleep 1000 & i=\$((i + 1)); done; exit 3" "kill_after: 300ms"
    assert_exit 1
    assert_equal "$CAUSE" exit
    assert_equal "$(query "select exit_code from attempt where subtask = 2")" 3
}

case_floods_its_output() {
    second_does "yes" $'output: {max: 1MiB}\n  kill_after: 200ms'
    assert_exit 1
    assert_equal "$CAUSE" "output too large"
    assert_equal "$(counts)" "2 0 1 0"
}

case_floods_its_log() {
    second_does "yes noise | head -c 30000000 >&2" "log: {max: 100KiB}"
    assert_exit 0
    assert_same out <(seq 3)
    [ "$(du -sb "$RUN/logs" | cut -f1)" -lt 1000000 ] || fail "the log was not cut"
    mayfly logs "$RUN_ID" 2
    assert_equal "$CODE" 0
    [ "$(wc -c <out)" -lt 110000 ] || fail "the log was not cut: $(wc -c <out) bytes"
    assert_contains out "cut"
}

case_closes_its_streams() {
    second_does "exec <&- >&- 2>&-; sleep 0.2; exit 0"
    assert_exit 0
    assert_same out <(printf '1\n3\n')
}

case_reads_standard_input() {
    second_does "cat; read -r x; echo \"<\$x>\""
    assert_exit 0
    assert_same out <(printf '%s\n' 1 '<>' 2 3)
}

case_does_not_read_its_piece() {
    head -c 3000000 /dev/zero | tr '\0' '\n' >lines
    job <<'END'
mayfly: 1
split: {lines: lines, bytes: 1MiB}
task: {command: [echo, ok]}
END
    succeed
    assert_equal "$(sort -u out)" ok
}

case_fills_its_folder_with_deep_folders() {
    second_does "i=0; while [ \$i -lt 300 ]; do mkdir d; cd d; i=\$((i + 1)); done; touch end"
    assert_exit 0
}

case_leaves_files_without_rights() {
    second_does "mkdir locked; touch locked/file; chmod 0 locked"
    assert_exit 0
}

case_removes_its_own_folder() {
    second_does 'cd /; rm -rf "$TMPDIR"'
    assert_exit 0
    assert_same out <(seq 3)
}

case_stops_itself() {
    second_does 'kill -STOP $$' $'timeout: 300ms\n  kill_after: 300ms'
    assert_exit 1
    assert_equal "$CAUSE" timeout
}

run_cases "$@"
