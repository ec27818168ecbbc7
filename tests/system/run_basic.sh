#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# The main path: what a job's command gets (arguments, environment, folder, standard input), and what comes back.
. "$(dirname "$0")/lib.sh"

case_range_command_concat() {
    job <<'END'
mayfly: 1
name: count
split: {range: 1-500}
task: {command: [echo, "{}", "{value}", "{id}"]}
workers: {count: 2, slots: 2}
END
    succeed
    assert_same out <(seq 500 | awk '{ print $1, $1, $1 }')
    assert_same "$RUN/result" out
    assert_equal "$(counts)" "500 0 0 0"
    assert_equal "$(summary '.attempts | "\(.total) \(.retried) \(.fenced)"')" "500 0 0"
    assert_equal "$(summary '.workers | "\(.launched) \(.lost) \(.verified_gone) \(.unverified)"')" "2 0 2 0"
    assert_equal "$(summary '.hosts | map(.verified_by) | unique | join(",")')" sweep
    assert_equal "$(query "select state, total, done, attempts from run")" "succeeded|500|500|500"
    assert_equal "$(query "select count(*), count(distinct subtask) from attempt where state = 'done'")" "500|500"
    [[ $RUN_ID =~ ^[0-9]{8}-[0-9]{6}-count-[0-9a-f]{4}$ ]] || fail "a run id of another form: $RUN_ID"
    assert_equal "$(stat -c %a "$RUN")" 700
}

case_range_with_step_and_negative_numbers() {
    job <<'END'
mayfly: 1
split: {range: {from: 3, to: -4, step: -3}}
task: {command: [echo, "{}"]}
END
    succeed
    assert_same out <(printf '3\n0\n-3\n')
}

case_shell_quotes_values() {
    mkdir 'there is; a $folder'
    job <<'END'
mayfly: 1
split: {list: ["plain", "two words", "it's", "$(echo no) `echo no` \\ \"", "*", "", "-n", "a\nb"]}
task: {shell: "printf '<%s>\\n' {} | cat; x={}; [ \"$x\" = {} ] || echo differs"}
workers: {slots: 2}
END
    succeed
    assert_same out <(printf '<%s>\n' plain 'two words' "it's" '$(echo no) `echo no` \ "' '*' '' -n $'a\nb')
}

case_command_keeps_arguments_whole() {
    job <<'END'
mayfly: 1
split: {list: ["two words", "a;b|c", "{value}", ""]}
task: {command: [printf, "[%s]", "x{}y", "{{value}}", "$VAR", "{unknown here}"]}
END
    succeed
    assert_equal "$(cat out)" "$(for v in 'two words' 'a;b|c' '{value}' ''; do
        printf '[%s]' "x${v}y" '{value}' '$VAR' '{unknown here}'
    done)"
}

case_environment_is_exact() {
    export LEAKED=secret LD_LIBRARY_PATH=/nowhere
    job <<'END'
mayfly: 1
split: {list: [a]}
task:
  command: [env, -0]
  env: {ADDED: "item {}, subtask {id}", LANG: C, EMPTY: ""}
END
    succeed
    tr '\0' '\n' <out | sort >environment
    assert_not_contains environment LEAKED
    assert_not_contains environment LD_LIBRARY_PATH
    assert_not_contains environment ASAN_OPTIONS
    assert_contains environment "MAYFLY_RUN=$RUN_ID"
    grep -v '^MAYFLY_' environment | sed "s|$XDG_CACHE_HOME/mayfly/runs/$RUN_ID/1|PLACE|" >rest
    assert_equal "$(sed 's/=.*//' rest | tr '\n' ' ')" "ADDED EMPTY HOME LANG PATH TMPDIR "
    assert_contains rest "PATH=/usr/local/bin:/usr/bin:/bin"
    assert_contains rest "HOME=$HOME"
    assert_contains rest "LANG=C"
    assert_contains rest "ADDED=item a, subtask 1"
    grep -qx 'EMPTY=' rest || fail "EMPTY is not empty"
    grep -q '^TMPDIR=PLACE/' rest || fail "TMPDIR is not in the worker's place: $(grep TMPDIR rest)"
}

case_fresh_folder_for_each_attempt() {
    job <<'END'
mayfly: 1
split: {range: 1-20}
task: {shell: "ls -A; pwd | grep -q /runs/ || echo elsewhere; [ \"$PWD\" = \"$TMPDIR\" ] || echo tmp; echo x >left; mkdir -p d/e"}
workers: {slots: 1}
END
    succeed
    assert_equal "$(cat out)" ""
}

case_files_of_the_job_are_links() {
    mkdir lib other
    printf '#!/bin/sh\ncat lib/words.txt "$@"\n' >show.sh
    chmod +x show.sh
    echo word >lib/words.txt
    echo "the item" >other/item.txt
    job <<'END'
mayfly: 1
split: {files: "other/*"}
task:
  shell: "./show.sh {path}; for f in show.sh lib/words.txt {path}; do [ -L $f ] && [ -r $f ] || echo no link $f; done"
  files: [show.sh, lib/words.txt]
END
    succeed
    assert_equal "$(cat out)" "$(printf 'word\nthe item')"
}

case_cwd_is_below_the_attempt() {
    mkdir tools
    echo 'echo from "$(basename "$PWD")"' >tools/say.sh
    job <<'END'
mayfly: 1
split: {list: [a]}
task: {command: [sh, say.sh], files: [tools/say.sh], cwd: tools}
END
    succeed
    assert_equal "$(cat out)" "from tools"
}

case_standard_input_modes() {
    printf 'one\ntwo\nthree\n' >input.txt
    local mode wanted
    for mode in none item piece input; do
        job <<END
mayfly: 1
split: {lines: input.txt, count: 2}
task: {shell: "cat; echo .", stdin: $mode}
END
        succeed
        case $mode in
        none) wanted=$'.\n.' ;;
        item) wanted=- ;;
        piece) wanted=$'one\ntwo\n.\nthree\n.' ;;
        input) wanted=$'one\ntwo\nthree\n.\none\ntwo\nthree\n.' ;;
        esac
        [ "$wanted" = - ] || assert_equal "$(cat out)" "$wanted" "stdin: $mode"
    done
    job <<'END'
mayfly: 1
split: {list: [red, "green\nlines", ""]}
task: {shell: "wc -c", stdin: item}
END
    succeed
    assert_equal "$(tr '\n' ' ' <out)" "3 11 0 "
}

case_input_as_file() {
    seq 100 >numbers
    job <<'END'
mayfly: 1
split: {lines: numbers, count: 40}
task: {shell: "at={offset}; tail -c +$((at + 1)) {path} | head -c {length} | tail -n 1; cat", input: file}
END
    succeed
    assert_equal "$(tr '\n' ' ' <out)" "40 80 100 "
}

case_exit_codes_of_mayfly() {
    job <<'END'
mayfly: 1
split: {range: 1-3}
task: {shell: "[ {} != 2 ]"}
END
    run_job
    assert_exit 1
    assert_equal "$(summary .state)" failed
    assert_equal "$(counts)" "2 0 1 0"
    assert_equal "$(cat out)" "" "a failed run has no result"
    assert_no_file "$RUN/result"
    run_job --set tolerate=1
    assert_exit 0
    assert_equal "$(summary .state)" partial
    assert_same out "$RUN/result"
    mayfly run
    assert_equal "$CODE" 2 "no job"
    mayfly run --no-such-option job.yaml
    assert_equal "$CODE" 2 "unknown option"
    mayfly run nowhere.yaml
    assert_equal "$CODE" 2 "no job file"
    assert_contains err nowhere.yaml
}

case_output_file_and_json() {
    job <<'END'
mayfly: 1
split: {range: 1-3}
task: {command: [echo, "{}"]}
END
    succeed -o result.txt
    assert_equal "$(cat out)" ""
    assert_same result.txt "$RUN/result"
    succeed --json
    assert_equal "$(jq -r '.run_id, .state, .subtasks.done, .result' out)" \
        "$(printf '%s\n' "$RUN_ID" succeeded 3 "$RUN/result")"
    mayfly run job.yaml --quiet
    assert_equal "$CODE" 0
    assert_equal "$(cat err)" "" "--quiet"
    mayfly run job.yaml -o /nowhere/result
    assert_equal "$CODE" 3 "a result that cannot be delivered"
    assert_contains err /nowhere/result
}

run_cases "$@"
