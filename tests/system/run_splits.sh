#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# From inputs to subtasks and back: each split on awkward bytes, and the same result however many work on it.
. "$(dirname "$0")/lib.sh"

# Names that break scripts. The last one is not UTF-8.
odd_names=('two words' $'new\nline' "quote's" 'double"quote' '-dash' '--help' '*' 'back\slash' '$HOME' ' ' 'ünï'
    $'caf\xe9')

case_files_with_odd_names() {
    local name
    mkdir in
    for name in "${odd_names[@]}"; do printf '%s|' "$name" >"in/$name"; done
    job <<'END'
mayfly: 1
split: {files: "in/*"}
task: {command: [cat, "{path}"]}
workers: {count: 2, slots: 2}
END
    succeed
    assert_same out <(find in -type f -print0 | LC_ALL=C sort -z | xargs -0 cat --)
    job <<'END'
mayfly: 1
split: {files: "in/*"}
task: {shell: "cat {path}; printf %s {path} | od -An -tx1 | tr -d ' \\n'; echo"}
END
    succeed
    assert_same out <(find in -type f -print0 | LC_ALL=C sort -z | while IFS= LC_ALL=C read -rd "" name; do
        cat -- "$name"
        printf %s "$name" | od -An -tx1 | tr -d ' \n'
        echo
    done)
}

case_a_leading_dash_stays_an_argument() {
    local name
    for name in '-n' '--version'; do printf '%s\n' "$name" >"./$name"; done
    job <<'END'
mayfly: 1
split: {files: "./-*"}
task: {command: [cat, "{path}"]}
END
    succeed
    assert_equal "$(cat out)" "$(printf '%s\n' --version -n)"
}

case_groups_of_files() {
    local i
    mkdir in
    for i in $(seq 10 40); do printf '%100s' "$i" >"in/file $i"; done
    job <<'END'
mayfly: 1
split: {files: "in/*", group: 1000}
task: {shell: "xargs -0 cat | wc -c"}
workers: {slots: 2}
END
    succeed
    assert_equal "$(tr '\n' ' ' <out)" "1000 1000 1000 100 "
}

case_lines_as_they_are() {
    printf 'a\r\nb\n\n\nwithout end' >input
    printf '' >empty
    printf '\n' >one
    job <<'END'
mayfly: 1
split: {lines: [input, empty, one], count: 2}
task: {shell: "od -An -c | tr -d ' \\n'; echo ."}
END
    succeed
    assert_equal "$(cat out)" "$(printf '%s\n' 'a\r\nb\n.' '\n\n.' 'withoutend.' '\n.')"
    job <<'END'
mayfly: 1
split: {lines: [input, empty, one], bytes: 3}
task: {command: [cat]}
END
    succeed
    assert_same out <(cat input empty one)
}

case_records_of_csv() {
    printf '\xef\xbb\xbfid,text\r\n1,"two\r\nlines"\r\n2,"a ""quoted"", word"\r\n\r\n3,"last\n\n"' >data.csv
    job <<'END'
mayfly: 1
split: {records: data.csv, format: csv, count: 1}
task: {shell: "od -An -c | tr -d ' \\n'; echo"}
END
    succeed
    local head='357273277id,text\r\n'
    assert_equal "$(cat out)" "$(printf '%s\n' "$head"'1,"two\r\nlines"\r\n' \
        "$head"'2,"a""quoted"",word"\r\n\r\n' "$head"'3,"last\n\n"')"
}

case_records_of_other_formats() {
    printf 'a\tb\n1\t"x\ny"\n2\tz\n' >data.tsv
    printf '{"a":1}\n{"a":2}\n' >data.jsonl
    printf '\n\nPackage: a\nText: b\n more\n\n\n\nPackage: c\n\nPackage: d' >paragraphs
    job <<'END'
mayfly: 1
split: {records: data.tsv, format: tsv, count: 1}
task: {shell: "tail -n +2 | tr '\\n' ' '; echo ."}
END
    succeed
    assert_equal "$(cat out)" "$(printf '1\t"x y" .\n2\tz .\n')"
    job <<'END'
mayfly: 1
split: {records: data.jsonl, format: jsonl, count: 1}
task: {command: [cat]}
END
    succeed
    assert_same out data.jsonl
    job <<'END'
mayfly: 1
split: {records: paragraphs, format: paragraphs, count: 1}
task: {shell: "grep -c .; true"}
END
    succeed
    assert_equal "$(tr '\n' ' ' <out)" "3 1 1 "
}

case_same_bytes_with_any_number_of_workers() {
    awk 'BEGIN { srand(7); for (i = 1; i <= 20000; i++) print i "," int(rand() * 1000) ",\"line\n" i "\"" }' >rows
    { echo 'id,n,text'; cat rows; } >data.csv
    job <<'END'
mayfly: 1
split: {records: data.csv, format: csv, bytes: 4KiB}
task: {shell: "sort -t, -k2n", output: text}
END
    local workers
    for workers in 1 2 8; do
        succeed --set "workers.count=$workers" --set workers.slots=2
        sha256sum <"$RUN/result" >>sums
    done
    assert_equal "$(sort -u sums | wc -l)" 1 "results of 1, 2 and 8 workers"
    [ "$(summary .subtasks.total)" -gt 50 ] || fail "only $(summary .subtasks.total) pieces"
}

case_a_line_of_100_megabytes() {
    { echo first; head -c 100000000 /dev/zero | tr '\0' x; printf '\nlast'; } >big
    job <<'END'
mayfly: 1
split: {lines: big, bytes: 64KiB}
task: {command: [wc, -c]}
workers: {slots: 2}
END
    succeed
    assert_equal "$(awk '{ n += $1 } END { printf "%d", n }' out)" "$(wc -c <big)"
    assert_equal "$(sort -n out | tail -n 1)" 100000007 "the piece with the long line is whole"
}

case_empty_plans() {
    printf '' >empty
    job <<'END'
mayfly: 1
split: {lines: empty}
task: {command: [cat]}
END
    mayfly run job.yaml
    assert_equal "$CODE" 2 "an empty plan"
    assert_contains err "allow_empty"
    succeed --set split.allow_empty=true
    assert_equal "$(cat out)" ""
    assert_equal "$(counts)" "0 0 0 0"
}

run_cases "$@"
