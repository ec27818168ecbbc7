#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# No key, certificate or token of a run is seen at any moment of it: on the hosts in no argument, environment or file,
# on the master in no argument, environment, log or database. To know what to look for, a stand-in for the hosts' sh
# tells the test what each worker is given through standard input. Nor is a value of the job's own `secrets` seen
# anywhere but in the file that subtasks are to find it in.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"

# The secrets of each launch input go to the file `secrets`; `told` gets a line for each worker. A start that finds no
# program takes in nothing, or a part.
listen_for_secrets() {
    : >secrets
    setpriv --pdeathsig KILL nsenter --net="/proc/$HOSTS_SWITCH/ns/net" -- python3 -c '
import json, socket
server = socket.create_server(("10.77.0.254", 9999))
print("listens", flush=True)
workers = set()
while True:
    with server.accept()[0] as peer, peer.makefile() as lines:
        line = lines.readline()
    if not line.endswith("\n"):
        continue
    told = json.loads(line)
    if told["worker"] in workers:
        continue
    workers.add(told["worker"])
    with open("secrets", "a") as file:
        for name in "token", "key", "certificate", "authority":
            file.write(told[name].strip() + "\n")
    print("worker", told["worker"], flush=True)' >told 2>listen_err </dev/null &
    hosts_helpers+=($!)
    wait_until "grep -q listens told"
}

# From then on every `sh -c` that starts a worker tells its standard input.
tell_secrets() { # I
    host_program "$1" sh <<'END'
#!/bin/bash
case " $* " in
*" start "*) exec /usr/bin/sh "$@" < <(tee >(cat >/dev/tcp/10.77.0.254/9999)) ;;
*) exec /usr/bin/sh "$@" ;;
esac
END
}

# The secrets of which a line stands in one of the files.
seen_in() { # FILE...
    grep -v -e '-----' secrets | grep -E '.{16}' >needles
    grep -laF -f needles -- "$@" 2>/dev/null || :
}

# What the master has in the open: its arguments and environment, what it says, all in the run's folder but keys/.
assert_master_keeps_secrets() {
    local seen files=(out err)
    has_ended "$PID" || files+=("/proc/$PID/cmdline" "/proc/$PID/environ")
    mapfile -d '' -O "${#files[@]}" files < <(find "$RUN" -type f -not -path "$RUN/keys/*" -print0)
    [[ " ${files[*]} " == *" $RUN/master.log "* && " ${files[*]} " == *" $RUN/run.db "* ]] ||
        fail "the log or the database was not searched: ${files[*]}"
    seen=$(seen_in "${files[@]}")
    [ -z "$seen" ] || fail "$(printf 'secrets stand in\n%s' "$seen")"
}

case_nobody_sees_a_key_a_certificate_or_a_token() {
    local host killed
    hosts_start 4
    listen_for_secrets
    for host in 1 2 3 4; do
        tell_secrets "$host"
    done
    host_watch_secrets all "$PWD/secrets"
    gated_job 120 12
    echo 'value of the secret of the user' | tee value >>secrets
    over_ssh start_job "$(entries 1/2 2/2 3/2 4/2 1/2 2/2)" --set lease=3s \
        --set "secrets.USER_SECRET={command: [cat, value]}"
    await_running 12
    assert_equal "$(grep -c worker told)" 6 "workers whose secrets are known"
    assert_equal "$(grep -cxE '[0-9a-f]{64}' secrets)" 6 "tokens"
    assert_equal "$(grep -c 'BEGIN .*PRIVATE KEY' secrets)" 6 "keys"
    assert_equal "$(stat -c %a "$RUN" "$RUN/keys" | sort -u)" 700 "modes of the master's folders"
    assert_equal "$(find "$RUN/keys" -type f -printf '%m\n' | sort -u)" 600 "modes of the master's keys"
    assert_master_keeps_secrets
    # One dies, and is replaced by one with secrets of its own.
    killed=$(workers_on 3)
    kill -KILL "$killed"
    wait_until '[ "$(grep -c worker told)" -ge 7 ]'
    wait_until "grep -q 'worker 7 joined' $RUN/master.log"
    open_gates
    await_end
    assert_complete 120
    # /dev/shm of these hosts is no file system in memory: secrets are in the workers' folders.
    assert_equal "$(host_secrets_found | sed -E 's|/[^ ]*/runs/[^/]*/[0-9]+/|F/|; s|\.(USER_SECRET)\.new$|\1|' | sort -u)" \
        "$(printf 'h%s: file F/secrets/USER_SECRET\n' 1 2 3 4)" "where secrets were seen:"
    assert_master_keeps_secrets
    assert_no_file "$RUN/keys"
    assert_equal "$(cat listen_err)" ""
    for host in 1 2 3 4; do
        host_exec "$host" rm /usr/local/bin/sh
    done
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

# The search above finds what is there: what a subtask is handed on purpose.
case_what_is_there_is_found() {
    hosts_start 1
    listen_for_secrets
    tell_secrets 1
    host_watch_secrets all "$PWD/secrets"
    gated_job 1 1
    over_ssh start_job "$(entries 1)"
    await_running 1
    grep -xE '[0-9a-f]{64}' secrets | host_exec 1 tee /tmp/leak >/dev/null
    assert_equal "$(host_secrets_found)" "h1: file /tmp/leak"
    cp secrets "$RUN/leak"
    assert_equal "$(seen_in "$RUN/leak" "$RUN/master.log")" "$RUN/leak"
    open_gates
    await_end
    assert_complete 1
}

run_cases "$@"
