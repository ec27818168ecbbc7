#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A key with a passphrase that no agent has (and somebody in front of a terminal; without one: ssh_bad_key.sh): it is asked for on the terminal, once for all hosts, and stands nowhere.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"
typist=$(dirname "$(readlink -f "$0")")/terminal.py

# mayfly on a terminal, where somebody types an answer to each question. Sets CODE, RUN_ID, RUN.
typing() { # ANSWER... -- ARGUMENT...
    local answers=()
    while [ "$1" != -- ]; do
        answers+=("$1")
        shift
    done
    CODE=0
    "$typist" shown 'assphrase of the key' "${answers[@]}" -- "$MAYFLY_BIN" "${@:2}" || CODE=$?
    tr -d '\r' <shown >err
    : >out
}

case_asked_once() {
    local key
    hosts_start 2
    unset SSH_AUTH_SOCK
    key=$(hosts_key locked)
    hosts_are_ready
    gated_job 6 0
    typing nonsense mayfly -- run job.yaml --hosts "$(entries 1 2)" -j 1 -i "$key" --known-hosts "$HOSTS/known_hosts"
    find_run
    assert_exit 0
    assert_equal "$(grep -c "assphrase of the key $key: " err)" 2 "questions"
    assert_contains err "That was not it. Passphrase of the key"
    assert_equal "$(verified)" "etl@10.77.0.1 etl@10.77.0.2"
    # What was typed is nowhere: not on the terminal, not in the run's folder.
    assert_not_contains err nonsense
    ! grep -rqaF nonsense "$RUN" || fail "a passphrase stands in the run's folder"
    # Nobody knows it: the run ends, and says what helps.
    typing a b c -- run job.yaml --hosts "$(entries 1)" -i "$key" --known-hosts "$HOSTS/known_hosts"
    assert_exit 3
    assert_contains err "cannot log in to 10.77.0.1: the key $key needs a passphrase, and nobody says the right one: unlock it once with ssh-add $key"
    assert_pristine
}

run_cases "$@"
