#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Files that commands leave behind (outputs:), and what they say on standard error.
. "$(dirname "$0")/lib.sh"

outputs_of() { # SUBTASK: the folder of its outputs
    echo "$RUN/outputs/$(($1 / 1000))/$1"
}

case_globs_and_folders() {
    job <<'END'
mayfly: 1
split: {range: 1-3}
task:
  shell: "mkdir -p a/b; echo {} >a/b/deep.txt; echo {} >top.txt; echo no >other.dat; ln -s top.txt link.txt"
  outputs: ["*.txt", "a/*/*.txt"]
workers: {count: 2}
END
    succeed
    local n
    for n in 1 2 3; do
        assert_equal "$(cd "$(outputs_of $n)" && find . ! -type d | sort | tr '\n' ' ')" \
            "./a/b/deep.txt ./link.txt ./top.txt " "outputs of $n"
        assert_equal "$(cat "$(outputs_of $n)/a/b/deep.txt")" "$n"
    done
}

case_odd_names_and_modes() {
    cat >make.sh <<'END'
#!/bin/bash
cd made || exit 1
for name in 'two words' $'new\nline' "quote's" 'double"quote' '-dash' '*' 'back\slash' $'caf\xe9'; do
    printf '%s' "$name" >"./$name"
done
chmod 755 -- -dash
printf '' >empty
END
    job <<'END'
mayfly: 1
split: {list: [a]}
task: {shell: "mkdir made; bash ./make.sh", files: [make.sh], outputs: "made/*"}
END
    succeed
    mkdir made
    bash ./make.sh
    diff -r made "$(outputs_of 1)/made" || fail "outputs differ"
    assert_equal "$(stat -c %a "$(outputs_of 1)/made/-dash")" 755
    assert_equal "$(query "select output_count, output_bytes from attempt")" \
        "9|$(find made -type f -print0 | xargs -0 cat -- | wc -c)"
}

case_large_ones() {
    job <<'END'
mayfly: 1
split: {list: [1, 524288, 524289, 7000000]}
task: {shell: "head -c {} /dev/zero | tr '\\0' y >large; echo done", outputs: large}
workers: {slots: 2}
END
    succeed
    local n=1 size
    for size in 1 524288 524289 7000000; do
        assert_equal "$(wc -c <"$(outputs_of $n)/large")" "$size"
        assert_equal "$(tr -d y <"$(outputs_of $n)/large")" ""
        n=$((n + 1))
    done
}

case_missing_output_fails_the_attempt() {
    job <<'END'
mayfly: 1
split: {range: 1-2}
task: {shell: "[ {} = 1 ] || touch wanted", outputs: wanted}
END
    run_job
    assert_exit 1
    assert_equal "$(counts)" "1 0 1 0"
    assert_equal "$(query "select cause from attempt where subtask = 1")" "output missing"
    assert_equal "$(query "select detail like '%wanted%' from attempt where subtask = 1")" 1
}

case_outputs_of_failed_attempts_are_not_kept() {
    job <<END
mayfly: 1
split: {list: [a]}
task: {shell: "echo {attempt} >kept; [ {attempt} = 3 ]", outputs: kept, retries: {max: 5, backoff: 0, jitter: none}}
END
    succeed
    assert_equal "$(cat "$(outputs_of 1)/kept")" 3
    assert_equal "$(find "$RUN/outputs" -type f | wc -l)" 1
}

case_too_large_a_result_fails_the_attempt() {
    job <<'END'
mayfly: 1
split: {list: [100, 101, 300000]}
task: {shell: "head -c {} /dev/zero", output: {max: 100}}
END
    run_job
    assert_exit 1
    assert_equal "$(counts)" "1 0 2 0"
    assert_equal "$(query "select group_concat(distinct cause) from attempt where state = 'dead'")" "output too large"
}

run_cases "$@"
