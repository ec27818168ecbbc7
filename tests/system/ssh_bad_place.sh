#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts whose folders are no good: no space, read-only, noexec. The worker goes to the next place that will do; when
# there is none, each is named with its reason.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_bad_lib.sh"

# A run on that host lives below that folder, as check says before.
assert_place() { # I FOLDER
    job <<'END'
mayfly: 1
split: {range: 1-1}
task: {shell: 'echo "$PWD"'}
END
    hosts_are_ready
    over_ssh mayfly check job.yaml --hosts "$(entries "$1")" --json
    assert_exit 0
    assert_equal "$(jq -r '.[0].place' out)" "$2"
    over_ssh succeed --hosts "$(entries "$1")"
    assert_equal "$(cut -d / -f "1-$(tr -dc / <<<"$2/" | wc -c)" "$RUN/result")" "$2"
    assert_hosts_clean
}

case_the_next_place() {
    local user=61001
    hosts_start 1
    assert_place 1 /home/etl/.cache/mayfly
    host_remount 1 /home/etl noexec
    assert_place 1 /var/tmp/mayfly-$user
    over_ssh mayfly check job.yaml --hosts "$(entries 1)"
    assert_contains out "ok; passed over: /home/etl/.cache/mayfly is on a file system mounted noexec"
    host_exec 1 umount /home/etl
    host_remount 1 /home/etl ro
    assert_place 1 /var/tmp/mayfly-$user
    # Whoever was quicker in /var/tmp is not trusted.
    host_exec 1 mkdir /var/tmp/mayfly-$user
    assert_place 1 /tmp/mayfly-$user
    # The folder is ours, but others can write there.
    host_exec 1 chown etl /var/tmp/mayfly-$user
    host_exec 1 chmod 777 /var/tmp/mayfly-$user
    assert_place 1 /tmp/mayfly-$user
    host_exec 1 rm -rf /var/tmp/mayfly-$user
    host_limit_disk 1 64k /var/tmp
    assert_place 1 /tmp/mayfly-$user
}

case_no_place_at_all() {
    local sentence user=61001
    hosts_start 2
    host_exec 1 mkdir -m 755 /tmp/mayfly-$user
    host_limit_disk 1 1m /var/tmp
    host_remount 1 /home/etl noexec
    hosts_are_ready
    sentence="etl@10.77.0.1: no place for the worker: /home/etl/.cache/mayfly is on a file system mounted noexec; /var/tmp/mayfly-$user has only 1024 KiB free, $(($(stat -c %s "$hosts_mayfly-worker") / 1024 + 1024)) are needed; /tmp/mayfly-$user cannot be written or is not ours alone; make one of them usable, or set XDG_CACHE_HOME there to a folder that is"
    assert_refused "$(entries 1)" "$sentence"
    over_ssh mayfly check job.yaml --hosts "$(entries 1)"
    assert_exit 3
    assert_contains out "$sentence"
    assert_passed_over "$(entries 1)" 2 "$sentence"
    assert_hosts_clean
}

case_no_space_for_the_program() {
    local needed
    hosts_start 2
    host_limit_disk 1 1m
    hosts_are_ready
    needed=$(($(stat -c %s "$hosts_mayfly-worker") / 1024 + 1024))
    assert_refused "$(entries 1)" "etl@10.77.0.1: no place for the worker: /home/etl/.cache/mayfly has only 1024 KiB free, $needed are needed; /var/tmp/mayfly-61001 has only 1024 KiB free"
    assert_passed_over "$(entries 1)" 2 "etl@10.77.0.1: no place for the worker"
    assert_hosts_clean
}

# The worker starts, but what the subtasks make has no room: that is their failure, and other hosts make it good.
case_no_space_for_results() {
    hosts_start 2
    host_limit_disk 1 $(($(stat -c %s "$hosts_mayfly-worker") / 1024 + 1200))k
    hosts_are_ready
    job <<'END'
mayfly: 1
split: {range: 1-4}
task: {shell: 'head -c 8388608 /dev/zero | tr "\0" {}'}
tolerate: 4
END
    over_ssh run_job --hosts "$(entries 1)"
    assert_equal "$(counts)" "0 0 4 0"
    assert_contains err "failed on h1: worker error: cannot write captured output"
    assert_contains err "No space left on device; make room on this host, or leave it out"
    assert_hosts_clean
    sed -i '/shell/ s/}$/, retries: {max: 20, backoff: 100ms}}/' job.yaml
    over_ssh succeed --hosts "$(entries 1 2)"
    assert_equal "$(for ((i = 1; i <= 4; i++)); do head -c 8388608 /dev/zero | tr '\0' "$i"; done | sha256sum)" \
        "$(sha256sum <"$RUN/result")"
    assert_hosts_clean
}

run_cases "$@"
