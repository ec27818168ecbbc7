#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The options that say on which hosts workers run: what they become in the run's own copy of the job file, and
# what is refused before a run is made.
. "$(dirname "$0")/lib.sh"

three() {
    job <<END
mayfly: 1
split: {range: 1-3}
task: {shell: 'echo {}'}
workers: ${1:-"{}"}
END
}

case_options_become_keys() {
    three '{hosts_file: none, count: 7, launcher: local}'
    touch key
    mkdir -p "$HOME"
    touch "$HOME/known"
    # shellcheck disable=SC2088 # it is for the job, not for the shell
    succeed --hosts ' : , :' --set workers.launcher=local -j 2 -i 'key' --known-hosts '~/known' --accept-new \
        --advertise 127.0.0.1 --keep-worker
    assert_equal "$(summary .workers.launched)" 2
    assert_equal "$(sed -n '/^workers:/,$p' "$RUN/job.yaml" | tr -d '\n')" \
        "workers: {launcher: local, hosts: \" : , :\", slots: 2, ssh: {identity: \"$PWD/key\", known_hosts: \"~/known\", accept_new: true}, advertise: \"127.0.0.1\", keep_worker: true}name: work"
}

case_a_host_file_is_copied() {
    three
    mkdir sub
    printf '# two\r\n:\r\n\r\n: # again\r\n' >'sub/ho"sts'
    (cd sub && mayfly run ../job.yaml --hosts-file 'ho"sts' --set workers.launcher=local && [ "$CODE" = 0 ]) ||
        fail "$(cat sub/err)"
    mv sub/err sub/out .
    find_run
    assert_equal "$(summary .workers.launched)" 2
    assert_not_contains "$RUN/job.yaml" hosts_file
    rm -r sub
    "$MAYFLY_BIN" results "$RUN_ID" 2 >item || fail "the copy needs the host file"
    assert_equal "$(cat item)" 2
    succeed --hosts-file <(echo :) --set workers.launcher=local
}

refused() { # WANTED ARGUMENT...
    local wanted=$1
    shift
    mayfly run job.yaml "$@"
    assert_exit 2
    assert_contains err "$wanted"
    [ -z "$(ls "$XDG_STATE_HOME/mayfly/runs" 2>/dev/null)" ] || fail "a run was made"
}

case_what_is_wrong() {
    three
    refused "--hosts: host 'a b': there is a blank inside" --hosts 'a b'
    refused "--hosts: an entry is empty" --hosts 'a,,b'
    refused "--hosts: host '-x': it starts with a dash" --hosts=-x
    refused "hosts are given twice" --hosts a --hosts b
    refused "hosts are given twice" --hosts a --hosts-file b
    refused "hosts are given twice" --hosts-file a --set workers.count=2 --hosts-file b
    refused "$PWD/none: the host file cannot be read: No such file" --hosts-file none
    printf 'a\nb:x\n' >hosts
    refused "$PWD/hosts:2: host 'b:x': behind the colon, a port" --hosts-file hosts
    : >hosts
    refused "$PWD/hosts: the host file names no host" --hosts-file hosts
    refused "a host in the list is one worker" --hosts a,b --set workers.count=2
    refused "'local' starts workers on this machine only, but 'b' is" --hosts :,b --set workers.launcher=local
    refused "the key file $PWD/key cannot be read: No such file" --hosts a --identity key
    refused "workers.ssh.known_hosts: expected a path" --hosts a --known-hosts ''
    refused "workers.advertise: expected a numeric address" --hosts a --advertise localhost
    refused "ssh needs workers.hosts" --set workers.launcher=ssh
}

case_a_dry_run_needs_no_host() {
    three
    mayfly run job.yaml --dry-run --hosts nobody.invalid
    assert_exit 0
}

run_cases "$@"
