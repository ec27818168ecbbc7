# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the tests of runs over SSH share; sourced after hosts_lib.sh. Subtasks on a host wait for the file /run/gate
# there: so many run, and go on when the test says so.

# A job of COUNT subtasks, of which those up to GATED wait for the gate of their host. Each says something on both
# streams at once; the result is `seq COUNT`.
gated_job() { # COUNT GATED
    job <<END
mayfly: 1
split: {range: 1-$1}
task: {shell: 'echo "on \$(uname -n)" >&2; echo {}; until [ {} -gt $2 ] || [ -e /run/gate ]; do sleep 0.05; done'}
END
}

# The entries of hosts for --hosts; `2/3` is a worker with three slots on host 2.
entries() { # I[/SLOTS]...
    local entry list=''
    for entry in "$@"; do
        list+=,etl@$(host_address "${entry%/*}")
        [ "$entry" = "${entry%/*}" ] || list+=/${entry#*/}
    done
    echo "${list#,}"
}

# run_job, start_job or succeed over SSH; one slot where an entry says nothing.
over_ssh() { # COMMAND LIST [ARGUMENT...]
    "$1" --hosts "$2" -j 1 -i "$HOSTS/id_ed25519" --known-hosts "$HOSTS/known_hosts" "${@:3}"
}

status() { # FILTER
    "$MAYFLY_TEST_BIN/say" "$RUN/control.sock" '{"command": "status"}' | jq -r "$1"
}

# Until so many subtasks run.
await_running() { # COUNT
    wait_until "[ \"\$(status .live.running)\" = $1 ] || has_ended $PID"
    ! has_ended "$PID" || fail "$(printf 'the run has ended:\n'; cat err)"
}

open_gates() { # [I...]
    local host
    [ $# -gt 0 ] || set -- "${!HOST_PID[@]}"
    for host in "$@"; do
        host_exec "$host" touch /run/gate
    done
}

# Process ids of the workers on a host.
workers_on() { # I
    host_processes "$1" | sed -n 's/^\([0-9]*\) [^ ]*mayfly-worker start .*/\1/p'
}

# The hosts of the summary that a sweep has verified, "etl@10.77.0.1 etl@10.77.0.3".
verified() {
    summary '[.hosts[] | select(.verified and .verified_by == "sweep" and .left == "") | .host] | sort | join(" ")'
}

# Nothing is on the hosts that was not there before the run, process or file; after `program`, but for the program.
assert_pristine() { # [program] [I...]
    local host found program=no
    if [ "${1:-}" = program ]; then
        program=yes
        shift
    fi
    [ $# -gt 0 ] || set -- "${!HOST_PID[@]}"
    for host in "$@"; do
        host_exec "$host" rm -f /run/gate
        found=$(host_processes "$host")
        [ -z "$found" ] || fail "$(printf 'processes are left on h%s:\n%s' "$host" "$found")"
        found=$(host_new_files "$host")
        if [ "$program" = yes ]; then
            found=$(grep -vxE '/home/etl/\.cache(/mayfly(/bin(/[0-9a-f]{64}(/mayfly-worker)?)?)?)?' <<<"$found" || :)
        fi
        [ -z "$found" ] || fail "$(printf 'files are left on h%s:\n%s' "$host" "$found")"
    done
}

# The end of a run of gated_job that did all of it, whatever was lost on the way.
assert_complete() { # COUNT
    assert_exit 0
    assert_equal "$(summary .state)" succeeded "state"
    assert_same "$RUN/result" <(seq "$1")
    assert_equal "$(counts)" "$1 0 0 0"
    assert_equal "$(query "select count(*), count(distinct subtask) from attempt where state = 'done'")" "$1|$1"
    assert_cost_adds_up
}

asked=0 # when the run was asked to end, in SECONDS

# The run ends with this exit code and state, soon after that.
assert_ended() { # CODE STATE [SECONDS]
    await_end
    assert_exit "$1"
    assert_equal "$(summary .state)" "$2" "state"
    counts >/dev/null
    [ $((SECONDS - asked)) -le "${3:-10}" ] || fail "the run ended only $((SECONDS - asked)) s after it was asked to"
    assert_nothing_left "$RUN_ID"
}
