#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2119
# How results become one, end to end, with results of all sizes: inline, a file, several MiB.
. "$(dirname "$0")/lib.sh"

case_none() {
    job <<'END'
mayfly: 1
split: {range: 1-3}
task: {command: [echo, "{}"]}
gather: none
END
    succeed
    assert_equal "$(cat out)" ""
    assert_no_file "$RUN/result"
    assert_equal "$(summary .result)" null
    assert_equal "$(query "select group_concat(cast(result as text), '') from (select result from attempt order by id)")" \
        "$(printf '1\n2\n3\n')" "results in run.db"
}

case_concat_of_large_results() {
    job <<'END'
mayfly: 1
split: {list: [0, 1, 65535, 65536, 65537, 200000, 5000000, 10]}
task: {shell: "head -c {} /dev/zero | tr '\\0' x; echo {} >&2"}
workers: {count: 2, slots: 2}
END
    succeed
    assert_equal "$(wc -c <out)" $((1 + 65535 + 65536 + 65537 + 200000 + 5000000 + 10))
    assert_equal "$(tr -d x <out)" ""
    assert_same out "$RUN/result"
    assert_equal "$(query "select group_concat(result_bytes) from (select result_bytes from attempt order by id)")" \
        "0,1,65535,65536,65537,200000,5000000,10"
}

case_concat_keeps_plan_order() {
    job <<END
mayfly: 1
split: {range: 1-12}
task: {shell: "if [ {} = 1 ]; then until [ -e $PWD/last ]; do sleep 0.05; done; fi; if [ {} = 12 ]; then touch $PWD/last; fi; head -c 70000 /dev/zero; echo {}"}
workers: {count: 2, slots: 2}
END
    succeed
    assert_same <(tr -d '\0' <out) <(seq 12)
    assert_equal "$(query "select (select ended_us from attempt where subtask = 1 and state = 'done') >
        (select started_us from attempt where subtask = 12 and state = 'done')")" 1 "the first ended after the last began"
}

case_jsonl() {
    job <<'END'
mayfly: 1
split: {range: 1-5}
task: {shell: "n={}; echo \"{\\\"n\\\": $n}\"", output: jsonl}
gather: jsonl
END
    succeed
    assert_equal "$(jq -c . out | tr '\n' ' ')" '{"n":1} {"n":2} {"n":3} {"n":4} {"n":5} '
}

case_csv_has_one_header() {
    job <<'END'
mayfly: 1
split: {range: 1-4}
task: {shell: "echo 'n,text'; echo {},'\"a, b\"'", output: csv}
gather: csv
workers: {slots: 2}
END
    succeed
    assert_equal "$(tr -d '\r' <out)" "$(echo 'n,text'; for n in 1 2 3 4; do echo "$n,\"a, b\""; done)"
}

case_sql_over_typed_columns() {
    job <<'END'
mayfly: 1
split: {range: 1-10}
task:
  shell: "echo word,n; echo a,{}; echo b,1"
  output: {format: csv, columns: {word: text, n: integer}}
gather: {sql: "select word, sum(n) as n, count(*) as rows from results group by word order by word"}
workers: {slots: 2}
END
    succeed
    assert_equal "$(tr -d '\r' <out)" "$(printf 'word,n,rows\na,55,10\nb,10,10')"
}

case_sql_over_text_lines() {
    job <<'END'
mayfly: 1
split: {range: 1-3}
task: {shell: "seq {}"}
gather: {sql: "select subtask, count(*) as lines, max(line) as last from results group by subtask order by 1"}
END
    succeed
    assert_equal "$(tr -d '\r' <out)" "$(printf 'subtask,lines,last\n1,1,1\n2,2,2\n3,3,3')"
}

case_sql_that_is_wrong_fails_the_run() {
    job <<'END'
mayfly: 1
split: {range: 1-3}
task: {shell: "seq {}"}
gather: {sql: "select nothing from nowhere"}
END
    run_job
    [ "$CODE" -ne 0 ] || fail "a gather that fails must not succeed"
    assert_contains err "gather: sql: near \"nothing\": syntax error"
    assert_equal "$(summary .state)" failed
    assert_no_file "$RUN/result"
}

case_csv_that_cannot_be_joined_is_named() {
    job <<'END'
mayfly: 1
split: {range: 1-3}
task: {shell: "case {} in 1) echo a,b; echo 1,2;; 2) : ;; 3) echo a,c; echo 1,2;; esac", output: csv}
gather: csv
END
    run_job
    assert_exit 1
    assert_contains err "subtask 3"
    assert_no_file "$RUN/result"
    sed -i "s/echo a,c; echo 1,2/echo a,b; printf '\\\\\\\\42'x,2/" job.yaml
    run_job
    assert_exit 1
    assert_contains err "the result of subtask 3, line 2: the quote that begins here has no end"
}

run_cases "$@"
