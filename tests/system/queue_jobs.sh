#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # what stands in single quotes is meant as it is
# The jobs that start by themselves: jobs/page-count (a hundred documents arrive, are counted, and the counts are pushed
# on) and jobs/fifo-ledger (in order, one at a time, poison aside and replayed). Each as its README says.
. "$(dirname "$0")/lib.sh"
JOBS=$(readlink -f "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../jobs")

figure() { # QUEUE NAME
    "$MAYFLY_BIN" queue stats "$1" --json | jq -r ".$2"
}

is_settled() { # QUEUE READY
    [ "$(figure "$1" ready) $(figure "$1" claimed)" = "$2 0" ]
}

runs() { # those of the case, oldest first
    find "$XDG_STATE_HOME/mayfly/runs" -mindepth 1 -maxdepth 1 -name '2*' -printf '%f\n' 2>/dev/null | sort
}

# Until the last master has ended, too.
await_runs() { # COUNT
    local run
    for run in $(runs); do
        wait_until "! '$MAYFLY_BIN' status '$run' --json | jq -e '.ended == null'"
        wait_until "[ -e '$XDG_STATE_HOME/mayfly/runs/$run/summary.json' ]"
        wait_until "is_all_gone '$run'"
    done
    assert_equal "$(runs | wc -l)" "$1" "runs"
}

# Manual pages that are so many pages of paper long: the truth does not come from what is tested.
write_manuals() { # PAGES...
    local pages page
    mkdir -p manuals
    for pages in "$@"; do
        {
            printf '.TH PAGES%s 1\n.SH NAME\npages%s \\- a page\n' "$pages" "$pages"
            for ((page = 1; page < pages; page++)); do printf '.bp\nanother page\n'; done
            printf '.\\" %01000d so that it does not count as one that leads to another\n' 0
        } >"manuals/pages$pages.1"
    done
}

case_page_count() {
    local number
    for number in pdfinfo groff; do
        command -v "$number" >/dev/null || skip "$number is not here: ./setup.sh deps documents"
    done
    cp -r "$JOBS/page-count" job
    write_manuals 1 2 3
    job/make_documents.sh made 3 manuals 2>err
    mkdir job/incoming
    mayfly queue create documents
    mayfly queue create counted
    mayfly trigger install --scheduler none job/job.yaml
    assert_exit 0
    for number in $(seq 33); do
        cp made/pages1.1.pdf "job/incoming/$number \"a\".pdf"
        cp made/pages2.1.pdf "job/incoming/$number b.pdf"
        cp made/pages3.1.pdf "job/incoming/$number c.pdf"
    done
    mayfly trigger tick
    assert_exit 0
    assert_equal "$(figure documents ready)" 99 # one is missing
    echo 'no document' >job/incoming/broken.pdf
    mayfly trigger tick
    wait_until 'is_settled documents 1' # what cannot be counted waits for the next batch
    await_runs 1
    RUN_ID=$(runs)
    RUN=$XDG_STATE_HOME/mayfly/runs/$RUN_ID
    assert_equal "$(summary .state)" partial
    assert_equal "$(counts)" '99 1 0 0'
    wait_until '[ "$(figure counted ready)" -eq 99 ]'
    mayfly queue peek counted --raw -n 0
    assert_equal "$(jq -s 'map(.pages) | add' out)" $((33 * (1 + 2 + 3)))
    assert_equal "$(jq -r .document out | sort -u | wc -l)" 99
    assert_equal "$(find "job/incoming/done/$RUN_ID" -type f | wc -l)" 99
    assert_equal "$(find job/incoming -maxdepth 1 -type f | wc -l)" 0
    mayfly trigger tick
    await_runs 1
}

case_fifo_ledger() {
    cp -r "$JOBS/fifo-ledger" job
    mayfly queue create bookings --max-claims 1
    mayfly trigger install --scheduler none job/job.yaml
    assert_exit 0
    printf '{"account": "%s", "amount": %s}\n' ann 100 ann -30 ben -50 ann 5 >entries
    "$MAYFLY_BIN" queue push bookings --jsonl <entries >out 2>err
    wait_until 'is_settled bookings 0'
    await_runs 4
    assert_equal "$(cat "$HOME/ledger/ann.csv")" "$(printf '%s\n' message,amount,balance 1,100,100 2,-30,70 4,5,75)"
    assert_no_file "$HOME/ledger/ben.csv"
    mayfly queue dead bookings
    assert_contains out '"ben", "amount": -50'
    # None began before the one before it had ended.
    sqlite3 "$XDG_STATE_HOME/mayfly/history.db" 'select started_us, ended_us from run order by started_us' >span
    assert_equal "$(awk -F'|' 'NR > 1 && $1 < ended { print "too early" } { ended = $2 }' span)" ''
    assert_equal "$(wc -l <span)" 4
    echo '{"account": "ben", "amount": 80}' | "$MAYFLY_BIN" queue push bookings --jsonl >out 2>err
    mayfly queue replay bookings --all
    wait_until 'is_settled bookings 0'
    await_runs 6
    assert_equal "$(cat "$HOME/ledger/ben.csv")" "$(printf '%s\n' message,amount,balance 5,80,80 6,-50,30)"
}

run_cases "$@"
