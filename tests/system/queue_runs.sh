#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# What a run does with messages of a queue: it claims them, works on them and settles, or gives them back; and that
# none is lost or done twice when it is killed anywhere on this way.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mount_lib.sh"

queue_of() { # QUEUE BODY...
    local queue=$1
    shift
    mayfly queue create "$queue" --max-claims=2
    assert_exit 0
    mayfly queue push --quiet "$queue" "$@"
    assert_exit 0
}

# What SQL says of queues.db.
queues() { # SQL
    sqlite3 -batch -readonly "$XDG_STATE_HOME/mayfly/queues.db" "$1"
}

# ready claimed dead done
stand() { # QUEUE
    queues "SELECT ready || ' ' || claimed || ' ' || dead || ' ' || done FROM queue WHERE name = '$1'"
}

# A trigger's decision on a run, as the trigger's own code commits it: sets RUN_ID, RUN.
decide() { # TRIGGER QUEUE
    RUN_ID=20261124-120000-$1-0001
    RUN=$XDG_STATE_HOME/mayfly/runs/$RUN_ID
    sqlite3 -batch "$XDG_STATE_HOME/mayfly/queues.db" "
        BEGIN IMMEDIATE;
        INSERT INTO firing(run_id, trigger, queue, cause, made_us, starter, messages, state)
            SELECT '$RUN_ID', '$1', id, 'count', 1, '', ready, 'open' FROM queue WHERE name = '$2';
        UPDATE message SET state = 'claimed', run_id = '$RUN_ID', claims = claims + 1
            WHERE state = 'ready' AND queue = (SELECT id FROM queue WHERE name = '$2');
        UPDATE queue SET claimed = ready, ready = 0, ready_bytes = 0 WHERE name = '$2';
        COMMIT"
}

# Bodies that are "bad" fail.
pages_job() {
    job <<'END'
mayfly: 1
name: pages
split: {queue: documents}
task: {shell: "[ {} != bad ] || exit 3; echo {message} {}"}
END
}

case_a_run_by_hand_works_on_what_is_there() {
    queue_of documents a 'b c' '{"name": "d e", "n": 5}'
    job <<'END'
mayfly: 1
name: pages
split: {queue: documents, max_batch: 2}
task: {command: [echo, "{message}", "{}"]}
END
    mayfly run --dry-run job.yaml
    assert_exit 0
    assert_same out <(printf '1\ta\n2\tb c\n')
    assert_equal "$(stand documents)" "3 0 0 0"
    succeed
    assert_same out <(printf '1 a\n2 b c\n')
    assert_equal "$(stand documents)" "1 0 0 2"
    assert_equal "$(summary '.firing | "\(.trigger) \(.cause) \(.queue) \(.messages) \(.done) \(.failed) \(.back)"')" \
        "null hand documents 2 2 0 0"
    mayfly status
    assert_contains out 'started  by hand, queue documents, 2 messages'
    assert_contains out 'messages 2 done, 0 failed, 0 given back'
    mayfly status --json
    assert_equal "$(jq -r .firing.queue out)" documents
    mayfly results --json last
    assert_equal "$(jq -r '"\(.message) \(.item)"' out)" $'1 a\n2 b c'
    assert_equal "$(queues "SELECT state FROM firing WHERE run_id = '$RUN_ID'")" succeeded
    sed -i 's/command.*/shell: "echo {name} {field:n}"}/' job.yaml
    succeed
    assert_same out <(echo 'd e 5')
    mayfly run job.yaml
    assert_exit 2
    assert_contains err "the queue 'documents' has no message that can be claimed (0 are ready, 0 are with other runs)"
    assert_equal "$(find "$XDG_STATE_HOME/mayfly/runs" -mindepth 1 -maxdepth 1 | wc -l)" 2 "runs"
    sed -i 's/documents,/nowhere,/' job.yaml
    mayfly run job.yaml
    assert_exit 2
    assert_contains err nowhere
}

# The whole batch fails with it, until it is set aside; then the others are done, once.
case_poison_is_set_aside_and_the_others_are_done_once() {
    queue_of documents a bad c
    pages_job
    run_job
    assert_exit 1
    assert_equal "$(stand documents)" "3 0 0 0"
    run_job
    assert_exit 1
    assert_equal "$(stand documents)" "2 0 1 0"
    mayfly retry "$RUN_ID"
    assert_exit 2
    assert_contains err 'went back to the queue documents'
    assert_contains err 'mayfly queue replay documents'
    succeed
    assert_same out <(printf '1 a\n3 c\n')
    assert_equal "$(stand documents)" "0 0 1 2"
    assert_equal "$(queues "SELECT cause FROM message")" "exit 3"
}

case_within_what_is_tolerated_only_the_failed_go_back() {
    queue_of documents a bad c
    pages_job
    echo 'tolerate: 1' >>job.yaml
    run_job
    assert_exit 0
    assert_equal "$(summary .state)" partial
    assert_equal "$(stand documents)" "1 0 0 2"
    assert_contains err 'messages of queue documents: 2 done, 1 failed, 0 given back'
    mayfly retry "$RUN_ID" --export=again.yaml
    assert_exit 2
    assert_contains err '{message}'
    sed -i 's/{message} //; s/tolerate.*/tolerate: 1/' job.yaml
    run_job
    mayfly retry "$RUN_ID" --export=again.yaml
    assert_exit 0
    mayfly run --dry-run again.yaml
    assert_same out <(printf '1\tbad\n')
}

case_cancelled_messages_go_back_and_interrupted_ones_stay() {
    queue_of documents a b c
    job <<END
mayfly: 1
name: pages
split: {queue: documents}
task: {shell: "echo >>$PWD/begun; until [ -e $PWD/gate ]; do sleep 0.02; done; echo {}"}
workers: {slots: 1}
END
    start_job
    wait_until '[ -s begun ]'
    assert_equal "$(stand documents)" "0 3 0 0"
    mayfly status
    assert_contains out 'started  by hand, queue documents, 3 messages'
    mayfly cancel "$RUN_ID"
    await_end
    assert_exit 4
    assert_equal "$(stand documents) $(queues 'SELECT sum(failures) FROM message')" "3 0 0 0 0"
    rm begun
    start_job
    wait_until '[ -s begun ]'
    wait_until "[ -n \"\$(queues \"SELECT lease_us FROM firing WHERE run_id = '$RUN_ID'\")\" ]"
    kill -INT "$PID"
    wait_until 'grep -q draining err'
    touch gate
    await_end
    assert_exit 130
    assert_equal "$(stand documents)" "0 3 0 0"
    # The folder holds the batch: what is left is done without queues.db, and settled when it is back.
    mv "$XDG_STATE_HOME"/mayfly/queues.db* .
    mayfly resume "$RUN_ID"
    assert_exit 0
    assert_same out <(printf 'a\nb\nc\n')
    mv queues.db* "$XDG_STATE_HOME/mayfly"
    assert_equal "$(stand documents)" "0 3 0 0"
    mayfly clean "$RUN_ID"
    assert_exit 0
    assert_equal "$(stand documents)" "0 0 0 3"
}

case_a_body_may_be_the_path_of_a_file() {
    mkdir in
    echo one >'in/a b.txt'
    echo two >"$PWD/in/c.txt"
    queue_of spool 'in/a b.txt' "$PWD/in/c.txt" in/gone.txt
    job <<'END'
mayfly: 1
name: files
split: {queue: spool, items: files}
task: {command: [cat, "{path}"], timeout: 10s}
tolerate: 1
END
    run_job
    assert_exit 0
    assert_same out <(printf 'one\ntwo\n')
    assert_equal "$(stand spool)" "1 0 0 2"
    assert_equal "$(queues 'SELECT cause FROM message' | cut -d: -f1)" "input missing"
    mayfly queue push --quiet spool 'in/a b.txt' "$PWD/in/c.txt"
    run_job --set workers.staging=always
    assert_exit 0
    assert_same out <(printf 'one\ntwo\n')
    assert_equal "$(stand spool)" "0 0 1 4"
    assert_equal "$(queues 'SELECT cause FROM message' | cut -d: -f1)" "input missing"
}

case_what_a_trigger_decided_on_is_carried_out_once() {
    local i
    queue_of documents a b
    pages_job
    decide pages documents
    for i in 1 2 3; do "$MAYFLY_BIN" submit job.yaml --firing "$RUN_ID" >"out.$i" 2>"err.$i" </dev/null & done
    wait
    assert_same <(cat out.?) <(echo "$RUN_ID")
    mayfly watch "$RUN_ID"
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    wait_until '[ "$(stand documents)" = "0 0 0 2" ]'
    assert_equal "$(summary '.firing | "\(.trigger) \(.cause) \(.messages) \(.done)"')" "pages count 2 2"
    mayfly submit job.yaml --firing "$RUN_ID"
    assert_exit 2
    assert_contains err "run $RUN_ID has begun already"
    mayfly submit job.yaml --firing 20261124-120000-pages-0002
    assert_exit 2
    assert_contains err 'no trigger has decided on run 20261124-120000-pages-0002'
    assert_equal "$(find "$XDG_STATE_HOME/mayfly/runs" -mindepth 1 -maxdepth 1 | wc -l)" 1 "runs"
}

case_a_job_that_can_not_be_started_gives_its_messages_back() {
    queue_of documents a b
    pages_job
    echo 'wrong: true' >>job.yaml
    decide pages documents
    mayfly submit job.yaml --firing "$RUN_ID"
    assert_exit 2
    assert_equal "$(stand documents) $(queues 'SELECT sum(failures) FROM message')" "2 0 0 0 0"
    assert_equal "$(queues 'SELECT state FROM firing')" given_up
    assert_contains <(queues 'SELECT text FROM firing') "unknown key"
    assert_no_file "$RUN"
}

# Hosts that are down are nobody's fault, however early in the run that shows.
case_hosts_that_are_down_blame_no_message() {
    local i
    mayfly queue create documents
    seq 20000 | "$MAYFLY_BIN" queue push documents --quiet
    pages_job
    for i in 1 2; do
        run_job --hosts 127.0.0.1:1 --set 'split={queue: documents, max_batch: 20000}'
        assert_exit 3
    done
    assert_equal "$(stand documents) $(queues 'SELECT sum(failures) FROM message')" "20000 0 0 0 0"
}

# The event and the result of another run, before prepare.
case_a_chained_run_finds_what_it_is_about() {
    local other=$WORK/other
    mkdir "$other"
    echo of the other >"$other/result"
    queue_of hidden "{\"run_id\": \"x\", \"state\": \"succeeded\", \"result\": \"$other/result\"}"
    job <<'END'
mayfly: 1
name: report
trigger: {after: extract}
prepare: "jq -r .state $MAYFLY_PREPARED/after/event.json >$MAYFLY_PREPARED/state"
split: {files: ["$MAYFLY_PREPARED/state", "$MAYFLY_PREPARED/after/result"]}
task: {command: [cat, "{path}"]}
END
    decide report hidden
    sqlite3 "$XDG_STATE_HOME/mayfly/queues.db" "
        UPDATE firing SET cause = 'after';
        UPDATE queue SET name = 'after.report'"
    mayfly run job.yaml --firing "$RUN_ID"
    assert_exit 0
    assert_same out <(printf 'of the other\nsucceeded\n')
    assert_equal "$(stand after.report)" "0 0 0 1"
    mayfly status "$RUN_ID"
    assert_contains out 'started  trigger report (after)'
}

claim_on_a_full_disk() {
    queue_of documents a b
    pages_job
    head -c 16m /dev/zero >"$XDG_STATE_HOME/full" 2>/dev/null || :
    mayfly run job.yaml
    assert_exit 3
    rm "$XDG_STATE_HOME/full"
    assert_equal "$(stand documents)" "2 0 0 0" "what a run that could not begin has left"
    assert_equal "$(find "$XDG_STATE_HOME/mayfly/runs" -mindepth 1 | wc -l)" 0
    mayfly run job.yaml
    assert_exit 0
    assert_equal "$(stand documents)" "0 0 0 2"
}

case_nothing_is_claimed_on_a_full_disk() {
    unset MAYFLY_JOURNAL # the runs are gone with their file system
    on_tmpfs "$XDG_STATE_HOME" size=8m claim_on_a_full_disk
}

# Killed before its end is settled: whoever comes next does it, and once.
killed_before_the_end_is_settled() { # POINT
    local before="0 2 0 0"
    [ "$1" != firing.after-settle ] || before="0 0 0 2"
    queue_of documents a b
    pages_job
    MAYFLY_CRASH=$1 mayfly run job.yaml
    assert_exit 137
    find_run
    assert_equal "$(stand documents)" "$before" "$1"
    mayfly trigger tick
    assert_exit 0
    assert_equal "$(stand documents)" "0 0 0 2" "$1"
    assert_equal "$(queues 'SELECT state FROM firing')" succeeded "$1"
}

# Killed before there is a results table: by hand it is as if nothing had been, and what a trigger has decided on begins
# again.
killed_before_it_has_begun() { # POINT
    queue_of documents a b
    pages_job
    MAYFLY_CRASH=$1 mayfly run job.yaml
    assert_exit 137
    mayfly clean last
    assert_exit 0
    assert_equal "$(stand documents)" "2 0 0 0" "$1"
    decide pages documents
    MAYFLY_CRASH=$1 mayfly submit job.yaml --firing "$RUN_ID"
    assert_equal "$(stand documents)" "0 2 0 0" "$1"
    mayfly submit job.yaml --firing "$RUN_ID"
    assert_exit 0
    mayfly watch "$RUN_ID"
    # Its master settles after the end that watch has seen.
    wait_until '[ "$(stand documents)" = "0 0 0 2" ]'
}

# Killed on its way: whoever resumes it does what is left, of the same messages.
killed_on_its_way() { # POINT
    queue_of documents a b c
    pages_job
    MAYFLY_CRASH=$1 mayfly run job.yaml
    assert_exit 137
    assert_equal "$(stand documents)" "0 3 0 0" "$1"
    mayfly queue push --quiet documents later
    mayfly resume last
    assert_exit 0
    assert_same out <(printf '1 a\n2 b\n3 c\n')
    assert_equal "$(stand documents)" "1 0 0 3" "$1"
}

case_killed_at_each_point() {
    each_at_once killed_before_it_has_begun firing.before-claim firing.after-claim firing.after-note
    each_at_once killed_on_its_way \
        master.after-epoch master.before-mark master.before-launch master.before-commit master.before-end
    each_at_once killed_before_the_end_is_settled firing.before-settle firing.in-settle firing.after-settle
}

run_cases "$@"
