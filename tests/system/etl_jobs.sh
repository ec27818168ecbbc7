#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The jobs of jobs/ on this machine's package lists: their results have the bytes that a plain Unix pipeline
# yields, whatever the number of workers.
. "$(dirname "$0")/lib.sh"
SOURCE=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")

need_lists() {
    compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || skip "no package lists: run 'apt-get update'"
}

# Runs a job of jobs/ that has to succeed; its summary is in `out`.
run_real() { # NAME [ARGUMENT...]
    local name=$1
    shift
    mayfly run "$SOURCE/jobs/$name/job.yaml" --json "$@"
    find_run
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_equal "$(jq -r .state out)" succeeded
    assert_equal "$(jq -r '.subtasks | .total == .done and .failed + .dead + .cancelled == 0' out)" true "counts"
    assert_equal "$(jq -r '.workers | .launched == .verified_gone and .unverified == 0' out)" true "workers"
    assert_equal "$(jq -r .subtasks.done out)" "$(query "select count(*) from attempt where state = 'done'")"
}

case_etl_has_the_same_bytes_with_1_2_and_8_workers_and_as_a_pipeline() {
    local workers
    need_lists
    for workers in 1 2 8; do
        run_real etl-packages --set workers.count="$workers" --set workers.slots=1
        assert_equal "$(jq -r .workers.launched out)" "$workers" "workers launched"
        cp "$RUN/result" "result.$workers"
        cp "$RUN/prepared/Packages" "packages.$workers"
    done
    # What is compared is what was transformed, should the machine's lists change meanwhile.
    for workers in 1 2 8; do
        if [ ! -f pipeline ] || ! cmp -s "packages.$workers" packages; then
            cp "packages.$workers" packages
            "$SOURCE/tests/system/etl_pipeline.sh" packages >pipeline
        fi
        assert_same "result.$workers" pipeline
    done
    [ "$(wc -l <pipeline)" -gt 30 ] || fail "the result has only $(wc -l <pipeline) lines"
    assert_contains pipeline needed,libc6,
}

case_wordcount_counts_as_one_process_does() {
    need_lists
    run_real wordcount --set workers.count=2
    {
        echo word,n
        LC_ALL=C grep -oE '[A-Za-z]+' "$RUN/prepared/descriptions.txt" | LC_ALL=C tr '[:upper:]' '[:lower:]' |
            LC_ALL=C sort | uniq -c | LC_ALL=C sort -k1,1nr -k2,2 | awk 'NR <= 100 { print $2 "," $1 }'
    } >wanted
    assert_same "$RUN/result" wanted
}

case_hello_says_hello_in_order() {
    run_real hello
    assert_same "$RUN/result" <(seq -f 'hello from subtask %g' 10)
}

case_a_prepare_without_lists_names_the_remedy() {
    mkdir none prepared
    CODE=0
    MAYFLY_PREPARED=$PWD/prepared MAYFLY_APT_LISTS=$PWD/none "$SOURCE/jobs/etl-packages/prepare.sh" 2>err || CODE=$?
    assert_equal "$CODE" 1
    assert_contains err "run 'apt-get update' first"
    assert_no_file prepared/Packages
}

run_cases "$@"
