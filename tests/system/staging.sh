#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Inputs and the job's own files travel to the workers (workers: staging: always): the same results as in place,
# only what is needed, once per host, whole or not at all.
. "$(dirname "$0")/lib.sh"

# Runs job.yaml twice, in place and staged: the same result.
same_both_ways() {
    succeed --set workers.staging=never
    cp "$RUN/result" ../in-place
    succeed --set workers.staging=always
    cmp -s "$RUN/result" ../in-place ||
        fail "$(printf 'staged it is another result:\n'; diff -a "$RUN/result" ../in-place | head -n 20)"
}

# Bytes that the master sent in the last run.
sent() {
    summary .bytes.out
}

assert_between() { # GOT LEAST MOST WHAT
    if [ "$1" -lt "$2" ] || [ "$1" -gt "$3" ]; then fail "$4: $1, wanted $2 to $3"; fi
}

odd_names=('two words' $'new\nline' "quote's" 'double"quote' '-dash' '*' 'back\slash' '$HOME' ' ' 'ünï' $'caf\xe9')

case_files_with_odd_names() {
    local name
    mkdir -p in
    for name in "${odd_names[@]}"; do printf '%s|' "$name" >"in/$name"; done
    : >in/empty
    job <<'END'
mayfly: 1
split: {files: "in/*"}
task: {shell: "cat {path}; printf %s {path} | od -An -tx1 | tr -d ' \\n'; echo"}
workers: {count: 2, slots: 2}
END
    same_both_ways
    head -c 2500000 /dev/urandom >'in/several pieces'
    job <<'END'
mayfly: 1
split: {files: "in/*"}
task: {command: [sha256sum, "{path}"], env: {WHICH: "{}"}}
workers: {slots: 2}
END
    same_both_ways
}

case_every_split() {
    mkdir in
    seq 30000 >in/numbers
    seq 5 7 | tr -d '\n' >'in/no line end'
    job <<'END'
mayfly: 1
split: {lines: "in/*", count: 700}
task: {command: [md5sum]}
workers: {count: 2, slots: 2}
END
    same_both_ways
    { echo 'a,b'; seq 2000 | sed 's/.*/&,"x\n&"/'; } >in.csv
    job <<'END'
mayfly: 1
split: {records: in.csv, format: csv, count: 111}
task: {command: [cat], output: csv}
gather: csv
END
    same_both_ways
    assert_equal "$(head -n 1 "$RUN/result")" 'a,b'
    job <<'END'
mayfly: 1
split: {records: in.csv, format: csv, bytes: 3000}
task:
  command: [sh, -c, 'tail -c +$(($1 + 1)) "$3" | head -c "$2"; stat -Lc %s "$3"', sh, "{offset}", "{length}", "{path}"]
  input: file
END
    same_both_ways
    job <<'END'
mayfly: 1
split: {files: "in/*"}
task: {command: [wc], stdin: input}
END
    same_both_ways
    job <<'END'
mayfly: 1
split: {lines: "in/*", count: 9000}
task: {command: [md5sum], stdin: input}
END
    same_both_ways
    job <<'END'
mayfly: 1
split: {range: 1-20}
task: {command: [echo, "{}"]}
END
    same_both_ways
    job <<'END'
mayfly: 1
split: {list: [a, b, c]}
task: {command: [cat], stdin: item}
END
    same_both_ways
}

case_groups() {
    local i
    mkdir -p in/deep
    for i in $(seq 10 60); do printf '%100s' "$i" >"in/deep/file $i.txt"; done
    head -c 1500000 /dev/urandom >'in/deep/large one'
    job <<'END'
mayfly: 1
split: {files: "in/deep/*", group: 1000}
task: {shell: "xargs -0 cat | md5sum; "}
workers: {count: 2, slots: 2}
END
    same_both_ways
    job <<'END'
mayfly: 1
split: {files: "in/deep/*", group: 2000000}
task: {shell: "xargs -0 -n 1 basename"}
END
    same_both_ways
}

case_outside_of_the_job() {
    mkdir ../elsewhere
    echo outside >'../elsewhere/a b.data'
    echo inside >a.data
    job <<END
mayfly: 1
split: {files: ["../elsewhere/*", "$WORK/elsewhere/*", "*.data", "\$MAYFLY_PREPARED/*"]}
prepare: "echo made >\$MAYFLY_PREPARED/made.data"
task: {shell: "cat {path}; basename {path}; ls *.data"}
END
    same_both_ways
    # Staged it is not read in its own place.
    succeed --set workers.staging=always --set 'task.shell=case {path} in /*) readlink -f {path} ;; esac'
    assert_not_contains "$RUN/result" "$WORK/elsewhere"
    assert_contains "$RUN/result" '/inputs/'
}

case_own_files() {
    mkdir -p lib/deep/empty lib/bin
    printf '#!/bin/sh\n. ./lib/deep/part\necho "$(part) $1"\n' >'run me.sh'
    printf 'part() { echo part; }\n' >lib/deep/part
    printf '#!/bin/sh\necho tool\n' >lib/bin/tool
    chmod 750 'run me.sh' lib/bin/tool
    chmod 444 lib/deep/part
    ln -s deep/part lib/link
    printf 'x' >$'lib/caf\xe9 \n'
    : >lib/nothing
    job <<'END'
mayfly: 1
split: {range: 1-6}
task:
  shell: >-
    './run me.sh' {}; lib/bin/tool; test -d lib/deep/empty; cat lib/link;
    find -L "$MAYFLY_JOB"/lib -type f -size -2 | wc -l; stat -Lc '%a' 'run me.sh' lib/bin/tool lib/deep/part
  files: ["run me.sh", ./lib/, lib/deep/part]
workers: {count: 2, slots: 2}
END
    same_both_ways
    succeed --set workers.staging=always --set 'task.shell=echo $MAYFLY_JOB; ls $MAYFLY_JOB'
    assert_contains "$RUN/result" '/inputs/job/'
    assert_not_contains "$RUN/result" 'job.yaml'
}

case_own_files_that_cannot_travel() {
    mkdir lib
    ln -s . lib/self
    job <<'END'
mayfly: 1
split: {range: 1-2}
task: {command: ["true"], files: [lib]}
workers: {staging: always}
END
    mayfly run job.yaml
    assert_exit 2
    assert_contains err "task.files: 'lib/self' cannot travel"
    rm lib/self
    mkfifo lib/pipe
    mayfly run job.yaml
    assert_exit 2
    assert_contains err "neither a file nor a folder"
    rm lib/pipe
    (cd lib && seq 4096 | xargs touch)
    mayfly run job.yaml
    assert_exit 2
    assert_contains err "more than 4,096 files"
    # In place they may be as many as they like.
    succeed --set workers.staging=never
}

# Each piece alone travels, not its input; headers again and again.
case_only_what_is_needed() {
    head -c 3000000 /dev/urandom | base64 -w 0 | fold -w 99 >in
    job <<'END'
mayfly: 1
split: {lines: in, bytes: 400000}
task: {command: [md5sum]}
workers: {count: 2, slots: 1, staging: always}
END
    succeed
    # 4 MB that deflate to three quarters.
    assert_between "$(sent)" 2900000 4300000 "bytes that were sent"
    # A retry of one subtask fetches its piece alone.
    job <<'END'
mayfly: 1
split: {lines: in, bytes: 400000}
task: {shell: "if [ {id} = 3 ]; then test -e $MAYFLY_PREPARED/go || exit 1; fi; md5sum"}
prepare: "true"
workers: {count: 1, slots: 1, staging: always}
tolerate: 1
END
    run_job
    assert_exit 0
    assert_equal "$(counts)" "10 0 1 0"
    touch "$RUN/prepared/go"
    mayfly retry "$RUN_ID"
    assert_exit 0
    assert_equal "$(counts)" "11 0 0 0"
    assert_between "$(sent)" 250000 500000 "bytes of the retry"
}

case_once_per_host() {
    head -c 4000000 /dev/urandom >in
    job <<'END'
mayfly: 1
split: {records: in, format: paragraphs, bytes: 200000}
task: {command: [sha256sum], stdin: input}
workers: {count: 2, slots: 4, staging: always}
END
    succeed
    [ "$(counts | cut -d ' ' -f 1)" -gt 8 ] || fail "too few subtasks: $(counts)"
    assert_equal "$(sort -u "$RUN/result")" "$(sha256sum <in)"
    assert_between "$(sent)" 4000000 4400000 "bytes that were sent"
}

case_what_compresses_is_compressed() {
    yes 'a line that comes again and again' | head -c 2000000 >in || :
    job <<'END'
mayfly: 1
split: {files: in}
task: {command: [sha256sum], stdin: input}
workers: {staging: always}
END
    succeed
    assert_equal "$(cat "$RUN/result")" "$(sha256sum <in)"
    # So few pieces are deflated whatever is faster; what the master does later depends on that.
    assert_between "$(sent)" 1000 200000 "bytes that were sent"
}

# What the first subtask does happens before the last one's input is fetched.
changing_job() { # SHELL
    local i
    mkdir -p in
    for i in $(seq 10 40); do head -c 100000 /dev/urandom >"in/$i"; done
    job <<END
mayfly: 1
split: {files: "in/*"}
task: {shell: "case {id} in 1) $1 ;; 31) cat {path} ;; esac"}
workers: {slots: 1, staging: always}
tolerate: 1
END
}

case_an_input_that_vanishes() {
    changing_job "rm $PWD/in/40"
    run_job
    assert_exit 0
    assert_equal "$(counts)" "30 1 0 0"
    assert_equal "$(query "select cause from attempt where state = 'failed'")" 'input missing'
    assert_contains <(query "select detail from attempt where state = 'failed'") "in/40\" is missing: it was there"
}

case_an_input_that_changes() {
    changing_job "echo more >>$PWD/in/40"
    run_job
    assert_equal "$(counts)" "30 1 0 0"
    assert_equal "$(query "select cause from attempt where state = 'failed'")" 'input changed'
    assert_contains <(query "select detail from attempt where state = 'failed'") "it had 100000 bytes and has 100005 now"
    changing_job "cp $PWD/in/40 $PWD/new; mv $PWD/new $PWD/in/40"
    run_job
    assert_equal "$(counts)" "30 1 0 0"
    assert_equal "$(query "select cause from attempt where state = 'failed'")" 'input changed'
}

case_an_own_file_that_changes() {
    echo one >own
    job <<END
mayfly: 1
split: {range: 1-3}
task: {command: [cat, own], files: [own]}
prepare: "true"
workers: {staging: always}
END
    # Between the list and the fetch: while the master waits for its worker.
    mkdir ../bin
    cp "$MAYFLY_BIN" ../bin/mayfly
    printf '#!/bin/sh\necho two >%s\nexec %s-worker "$@"\n' "$PWD/own" "$MAYFLY_BIN" >../bin/mayfly-worker
    chmod +x ../bin/mayfly-worker
    sleep 0.02
    MAYFLY_BIN=$WORK/bin/mayfly mayfly run job.yaml
    find_run
    assert_exit 1
    assert_equal "$(counts)" "0 3 0 0"
    assert_equal "$(query "select distinct cause from attempt")" 'input changed'
}

case_a_worker_is_killed_while_it_fetches() {
    local i worker
    mkdir in
    for i in $(seq 10 17); do head -c 20000000 /dev/urandom >"in/$i"; done
    job <<'END'
mayfly: 1
split: {files: "in/*"}
task: {command: [sha256sum, "{path}"]}
workers: {count: 2, slots: 1, staging: always}
END
    start_job --set lease=3s
    wait_until "ls $XDG_CACHE_HOME/mayfly/runs/$RUN_ID/inputs/*/part/* || has_ended $PID"
    for worker in $(workers_of "$RUN_ID"); do kill -KILL "$worker" && break; done
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" <(sha256sum in/*)
    assert_equal "$(counts)" "8 0 0 0"
}

# In the middle of pieces: whatever nng makes of it, the worker connects again and goes on.
case_connections_are_cut() {
    local i port
    mkdir in
    for i in $(seq 10 17); do head -c 20000000 /dev/urandom >"in/$i"; done
    job <<'END'
mayfly: 1
split: {files: "in/*"}
task: {command: [sha256sum, "{path}"]}
workers: {count: 2, slots: 1, staging: always}
lease: 8s
END
    # nng 1.5.2 never frees the message that it was writing to a connection that is cut.
    export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
    start_job
    wait_until "ls $XDG_CACHE_HOME/mayfly/runs/$RUN_ID/inputs/*/part/* || has_ended $PID"
    port=$(ss -Hltnp | sed -n "s/.*127.0.0.1:\([0-9]*\) .*pid=$PID,.*/\1/p")
    ss -HKtn state established "dport = :$port" >killed 2>&1 || skip "connections cannot be cut here: $(cat killed)"
    await_end
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_same "$RUN/result" <(sha256sum in/*)
    assert_equal "$(counts)" "8 0 0 0"
}

small_disk() {
    mayfly run job.yaml
    echo "$CODE" >code
    ls -A "$XDG_CACHE_HOME"/mayfly/runs >left 2>/dev/null || :
}

on_tmpfs() { # FOLDER OPTIONS NAME
    local how=(--mount)
    [ "$(id -u)" -eq 0 ] || how+=(--map-root-user)
    unshare "${how[@]}" true 2>/dev/null || how+=(--propagation unchanged)
    unshare "${how[@]}" true 2>/dev/null || skip "no right to mount: run as root"
    declare -fx "$3" mayfly
    export MAYFLY_BIN
    unshare "${how[@]}" bash -euc "mount -t tmpfs -o '$2' tmpfs '$1'
        trap \"cd /; umount -l '$1'\" EXIT
        cd '$PWD'; $3"
}

case_larger_than_the_disk() {
    local i
    mkdir in
    for i in $(seq 10 30); do head -c 2000000 /dev/urandom >"in/$i"; done
    head -c 30000000 /dev/zero >in/large
    job <<'END'
mayfly: 1
split: {files: "in/*"}
task: {command: [sha256sum, "{path}"]}
workers: {count: 2, slots: 2, staging: always}
tolerate: 1
END
    # Room for a few inputs at a time: what is not used any more makes room, nothing is cut.
    on_tmpfs "$XDG_CACHE_HOME" size=12m small_disk
    assert_equal "$(cat code)" 0
    assert_equal "$(cat left)" ""
    find_run
    assert_equal "$(counts)" "21 0 1 0"
    assert_same "$RUN/result" <(sha256sum in/[0-9]*)
    assert_equal "$(query "select cause from attempt where cause <> 'none'")" 'worker error'
    assert_contains <(query "select detail from attempt where cause <> 'none'") \
        'the input "in/large" of 30000000 bytes does not fit on this host'
}

run_cases "$@"
