# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the tests of hosts that are no good share; sourced after hosts_lib.sh. A job of few short subtasks runs on a
# list of hosts; whatever is wrong with one of them, the others do the work, and on none is anything left.

# A job whose subtasks say on which host they ran.
small_job() { # COUNT
    job <<END
mayfly: 1
split: {range: 1-$1}
task: {shell: 'uname -n'}
END
}

# The entries of hosts, "etl@10.77.0.1,etl@10.77.0.2".
entries() { # I...
    local host list=''
    for host in "$@"; do
        list+=,etl@$(host_address "$host"):$(host_port "$host")
    done
    list=${list//:22,/,}
    list=${list%:22}
    echo "${list#,}"
}

# A command of mayfly over SSH, with the hosts' key, or that in the file KEY, or (empty) none that is named.
over_ssh() { # COMMAND... --hosts LIST ...
    local key=${KEY-$HOSTS/id_ed25519}
    "$@" ${key:+-i "$key"} --known-hosts "$HOSTS/known_hosts"
}

# Neither a file nor a process that was not there before the runs.
assert_hosts_clean() { # [I...]
    local host left
    [ $# -gt 0 ] || set -- "${!HOST_PID[@]}"
    for host in "$@"; do
        left=$(host_processes "$host")
        [ -z "$left" ] || fail "processes are left on host $host: $left"
        left=$(host_new_files "$host")
        [ -z "$left" ] || fail "files are left on host $host: $left"
    done
}

# The hosts on which subtasks ran, "h1 h2 ".
worked() {
    query "select distinct rtrim(text, char(10)) from result order by 1" | tr '\n' ' '
}

# A run on the named hosts alone ends at once, with the sentence; check says the same.
assert_refused() { # LIST SENTENCE [ARGUMENT...]
    local started=$SECONDS
    small_job 6
    over_ssh run_job --hosts "$1" "${@:3}"
    assert_exit 3
    assert_contains err "mayfly: left out: $2"
    assert_contains err "mayfly: no worker is left, and none may be launched any more: $2"
    assert_equal "$(summary .state)" failed
    [ $((SECONDS - started)) -lt 15 ] || fail "the run ended only after $((SECONDS - started)) s"
    mv err said
    over_ssh mayfly check job.yaml --hosts "$1" "${@:3}"
    assert_exit 3
    assert_contains out "$2"
    mv said err
}

# Beside a good host the bad ones of LIST are named, each with its SENTENCE, before that does the work.
assert_passed_over() { # LIST GOOD_HOST SENTENCE...
    local sentence
    job <<'END'
mayfly: 1
split: {range: 1-6}
task: {shell: 'until [ -e /run/named ]; do sleep 0.05; done; uname -n'}
END
    over_ssh start_job --hosts "$1,$(entries "$2")"
    for sentence in "${@:3}"; do
        wait_until "grep -qF -e '$sentence' err || has_ended $PID"
        assert_contains err "mayfly: left out: $sentence"
    done
    host_exec "$2" touch /run/named
    await_end
    host_exec "$2" rm /run/named
    assert_exit 0
    assert_nothing_left "$RUN_ID"
    assert_equal "$(worked)" "h$2 "
    assert_equal "$(counts)" "6 0 0 0"
    small_job 6
}
