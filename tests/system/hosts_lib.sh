# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Test hosts: machines that have nothing but sshd. Sourced after lib.sh; each case starts its own.
#
# How they are made. One process, the *switch*, has a network, a mount and a PID namespace of its own. In its network
# stands a bridge, 10.77.0.254 and fd00:77::254; in its mount namespace a tmpfs, which nobody else sees, with the
# disks of all hosts. Each *host* is a child of it with network, mount, PID, UTS and IPC namespaces of its own: a veth
# pair to the bridge, 10.77.0.<I> and fd00:77::<I>; an overlay as root, so that it has the machine's programs, packages
# and /etc; its own /proc, /sys, /dev and host name h<I>. The layers of the overlay are, topmost first: the host's own
# (all that is written); what all hosts have in common (empty /tmp, /var/tmp, /home, /root, /run, /dev/shm, /var/log);
# whiteouts for what the machine must not show (all at its top but /usr, /etc and the like; the case's folder; the
# checkout and the build); the machine's root.
#
# Why nothing is left. The switch dies with the shell that called hosts_start, whatever ends that; the kernel then ends
# all in its PID namespace, hosts and all; and with the processes go their mounts and networks, which have no names
# anywhere. So two sets of hosts never meet, either: they have the same addresses, each in its own network.
#
# Where mayfly runs. On the machine, with its file system and processes, but in the switch's network: hosts_run.
# hosts_start sets MAYFLY_BIN so that run_job, start_job and mayfly of lib.sh do that, too. The machine (root) sees the
# hosts' processes in its own /proc, under other ids than the hosts do; ids are the machine's in all functions here.
#
# Each host has a user `etl` (home /home/etl, another user id on each host). Needs root; says by `skip` what is missing.
# Variables: HOSTS (a folder of the case: id_ed25519, known_hosts, known_hosts.hashed, log), HOSTS_COUNT, HOSTS_SWITCH
# and HOST_PID[I] (process ids of the switch and of each host's first process). With KEEP=1 what was written on the
# hosts is kept in the case's folder.

hosts_tool=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/hosts
hosts_network=10.77.0
hosts_network6=fd00:77::
HOSTS_COUNT=0
HOSTS_SWITCH=
HOST_PID=()
hosts_disk=
hosts_helpers=() # process ids of what runs beside the hosts and ends with them

# Starts hosts 1 to N and waits until each answers. Lines for sshd_config win over the ones here.
hosts_start() { # N [SSHD_CONFIG_LINE...]
    local count=$1 checkout number
    shift
    hosts_need "$count"
    HOSTS_SWITCH='' HOST_PID=() hosts_helpers=() hosts_disk='' # a subshell may have those of its parent
    checkout=$(readlink -f "$(dirname "$hosts_tool")/../..")
    HOSTS=$(readlink -f "$WORK")/hosts
    mkdir -p "$HOSTS/disk"
    hosts_sshd_config "$@" >"$HOSTS/sshd_config"
    hosts_make_key ed25519
    cp "$HOSTS/id_ed25519.pub" "$HOSTS/authorized_keys"
    trap hosts_clean_up EXIT
    setpriv --pdeathsig KILL env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
        unshare --net --mount --propagation unchanged --pid --fork --kill-child \
        "$hosts_tool" switch "$HOSTS" "$count" "$(readlink -f "${BASE:-$WORK}")" "$checkout" \
        "${MAYFLY_BUILD:-$checkout}" </dev/null >"$HOSTS/log" 2>&1 &
    hosts_job=$!
    hosts_await "[ -s $HOSTS/switch ]"
    HOSTS_SWITCH=$(cat "$HOSTS/switch")
    hosts_disk=/proc/$HOSTS_SWITCH/root$HOSTS/disk
    HOSTS_COUNT=$count
    for ((number = 1; number <= count; number++)); do
        hosts_await "[ -s $hosts_disk/h$number/pid ] || [ -e $hosts_disk/failed ]"
        [ ! -e "$hosts_disk/failed" ] || fail "$(printf 'a test host did not start:\n'; hosts_logs)"
        HOST_PID[number]=$(cat "$hosts_disk/h$number/pid")
    done
    for ((number = 1; number <= count; number++)); do
        host_await_sshd "$number"
        hosts_note_key "$number"
        [ -z "${MAYFLY_JOURNAL:-}" ] || host_exec "$number" install -d -m 1777 "$(readlink -f "$WORK")/journals"
        host_written "$number" >"$HOSTS/h$number.files"
    done
    hosts_hash_keys
    hosts_wrap_mayfly
}

# Brings home what workers on the hosts have written to $MAYFLY_JOURNAL, which has the same name there.
hosts_collect_journals() {
    local host place
    for host in "${!HOST_PID[@]}"; do
        for place in "/proc/${HOST_PID[host]}/root" "$hosts_disk/h$host/upper"; do # the first is gone without power
            cp -u "$place$(readlink -f "$WORK")/journals/"*.journal "$WORK/journals/" 2>/dev/null || :
        done
    done
}

# Ends all hosts and comes back when nothing of them is left; may be called at any time and again.
hosts_stop() {
    local job
    if [ -n "${hosts_job:-}" ]; then
        [ -z "${KEEP:-}" ] || hosts_keep
        hosts_collect_journals
        # When the first process of a PID namespace is reaped, nothing is left in it.
        kill -KILL "${HOSTS_SWITCH:-$hosts_job}" 2>/dev/null || :
        for job in "$hosts_job" "${hosts_helpers[@]}"; do
            [ "$job" = "$hosts_job" ] || kill -KILL "$job" 2>/dev/null || :
            wait "$job" 2>/dev/null || :
        done
        rm -rf "$HOSTS"
        MAYFLY_BIN=${hosts_mayfly:-}
    fi
    hosts_job='' HOSTS_SWITCH='' HOSTS_COUNT=0 HOST_PID=() hosts_helpers=()
}

# Runs a command on the machine, but in the network of the hosts.
hosts_run() { # COMMAND...
    nsenter --net="/proc/$HOSTS_SWITCH/ns/net" -- "$@"
}

# Logs in by OpenSSH's client, as etl, without questions and without anybody's configuration.
hosts_ssh() { # I COMMAND...
    local host=$1
    shift
    hosts_run ssh -F none -i "$HOSTS/id_ed25519" -p "$(host_port "$host")" -o IdentitiesOnly=yes -o BatchMode=yes \
        -o GlobalKnownHostsFile=none -o UserKnownHostsFile="$HOSTS/known_hosts" "etl@$(host_address "$host")" "$@"
}

# Prints the path of a private key with which etl may log in; it is made when first asked for. `locked` is ed25519
# with the passphrase "mayfly".
hosts_key() { # ed25519|ecdsa|rsa|locked
    local number
    if [ ! -e "$HOSTS/id_$1" ]; then
        hosts_make_key "$1"
        for ((number = 1; number <= HOSTS_COUNT; number++)); do
            host_exec "$number" tee -a /etc/ssh/authorized_keys/etl <"$HOSTS/id_$1.pub" >/dev/null
        done
    fi
    echo "$HOSTS/id_$1"
}

host_address() { # I
    echo "$hosts_network.$1"
}

host_address6() { # I
    [ -e /proc/net/if_inet6 ] || skip "this kernel has no IPv6"
    echo "$hosts_network6$1"
}

# The first port that its sshd_config names.
host_port() { # I
    local port
    port=$(sed -n 's/^Port //p; /^Port /q' "/proc/${HOST_PID[$1]}/root/etc/ssh/sshd_config" 2>/dev/null || :)
    echo "${port:-22}"
}

# Runs a command on host I as its root, with standard input, without a login.
host_exec() { # I COMMAND...
    local pid=${HOST_PID[$1]}
    shift
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        nsenter --target "$pid" --mount --net --pid --uts --ipc --root --wd -- "$@"
}

# What is pulled out is the cable: neither side is told, open connections stay as they are.
host_cut() { # I
    hosts_run ip link set "h$1" down
}

host_mend() { # I
    hosts_run ip link set "h$1" up
}

# From one moment to the next: its processes and its network are gone; no function can do anything with it after that.
host_power_off() { # I
    kill -KILL "${HOST_PID[$1]}"
    wait_until "[ ! -e /proc/${HOST_PID[$1]} ]"
}

# Nothing that the host dials gets through any more; who dials the host does.
host_block_dialling() { # I
    command -v nft >/dev/null || skip "host_block_dialling needs nft (package nftables)"
    host_exec "$1" nft 'add table inet block
        add chain inet block out { type filter hook output priority 0; }
        add rule inet block out tcp flags & (syn|ack) == syn drop'
}

# Ends the listening sshd only; sessions and workers live on. The port then refuses.
host_stop_sshd() { # I
    # shellcheck disable=SC2016
    host_exec "$1" bash -c 'pid=$(cat /run/sshd.pid) && kill "$pid" && while kill -0 "$pid"; do sleep 0.02; done' \
        2>/dev/null
}

host_start_sshd() { # I
    host_exec "$1" /usr/sbin/sshd -E /var/log/sshd.log
    host_await_sshd "$1"
}

# New lines for sshd_config of one host, instead of those of hosts_start; sshd starts anew.
host_sshd_config() { # I LINE...
    local host=$1
    shift
    host_stop_sshd "$host"
    hosts_sshd_config "$@" | host_exec "$host" tee /etc/ssh/sshd_config >/dev/null
    host_start_sshd "$host"
    hosts_note_key "$host"
    hosts_hash_keys
}

# Gives a host other host keys than known_hosts has; sshd starts anew.
host_new_key() { # I
    host_stop_sshd "$1"
    # shellcheck disable=SC2016
    host_exec "$1" bash -c 'cd /etc/ssh && for key in ssh_host_*_key; do
        rm "$key" "$key.pub" && type=${key#ssh_host_} && ssh-keygen -q -t "${type%_key}" -N "" -f "$key"
    done'
    host_start_sshd "$1"
}

# etl's login shell: sh, bash, fish, tcsh or a path.
host_shell() { # I SHELL
    # shellcheck disable=SC2016
    host_exec "$1" sh -c 'shell=$(command -v "$1") && sed -i "/^etl:/ s|[^:]*\$|$shell|" /etc/passwd' sh "$2"
}

# Each of etl's shells that reads a file at the start says TEXT then.
host_banner() { # I TEXT
    # shellcheck disable=SC2016
    host_exec "$1" bash -c 'cd /home/etl && mkdir -p .config/fish &&
        echo "echo '\''$1'\''" | tee .bashrc .profile .cshrc .config/fish/config.fish >/dev/null && chown -R etl: .' \
        bash "$2"
}

# Puts a program, read from standard input, first in the PATH of SSH commands.
host_program() { # I NAME
    # shellcheck disable=SC2016
    host_exec "$1" sh -c 'cat >"/usr/local/bin/$1" && chmod 755 "/usr/local/bin/$1"' sh "$2"
}

# Its `uname` then says another architecture or kernel.
host_uname() { # I MACHINE [RELEASE]
    host_program "$1" uname <<END
#!/bin/sh
/usr/bin/uname "\$@" | sed 's/$(uname -m)/$2/g; s/$(uname -r)/${3:-$(uname -r)}/g'
END
}

# One small disk instead of the folders, for all of them together. SIZE as in `mount -o size=` (8m).
host_limit_disk() { # I SIZE [FOLDER...]
    local host=$1 size=$2
    unset MAYFLY_JOURNAL # it could be full, too
    shift 2
    [ $# -gt 0 ] || set -- /home/etl /tmp /var/tmp
    # shellcheck disable=SC2016
    host_exec "$host" bash -c 'set -e; mkdir -p /mnt/small
        mount -t tmpfs -o "mode=755,size=$1" small /mnt/small
        for folder in "${@:2}"; do
            place=/mnt/small/${folder//\//_}
            cp -a "$folder" "$place"
            mount --bind "$place" "$folder"
        done
        umount /mnt/small' bash "$size" "$@"
}

# Mounts a folder over itself with other options: ro, noexec. `host_exec I umount FOLDER` takes it back.
host_remount() { # I FOLDER OPTIONS
    unset MAYFLY_JOURNAL # it may be in there
    host_exec "$1" mount --bind "$2" "$2"
    host_exec "$1" mount -o "remount,bind,$3" "$2"
}

# A port that accepts connections, says GREETING (nothing by default) and then nothing more. It is no process of the
# host. A port where nobody listens refuses; a host that was cut is silent.
host_hang() { # I PORT [GREETING]
    setpriv --pdeathsig KILL nsenter --net="/proc/${HOST_PID[$1]}/ns/net" -- python3 -c '
import socket, sys
server = socket.create_server(("", int(sys.argv[1])))
kept = []
while True:
    kept.append(server.accept()[0])
    kept[-1].sendall(sys.argv[2].encode())' "$2" "${3:-}" </dev/null >>"$HOSTS/log" 2>&1 &
    hosts_helpers+=($!)
    hosts_await "hosts_run bash -c ': </dev/tcp/$(host_address "$1")/$2'"
}

# "PID COMMAND" of each process on the host but its first one and sshd.
host_processes() { # I
    local pid command
    for pid in $(hosts_pids "$1"); do
        command=$(cat "/proc/$pid/comm" 2>/dev/null) || continue
        if [ "$command" != sshd ] && [ "$pid" != "${HOST_PID[$1]}" ]; then
            echo "$pid $(hosts_command_of "$pid")"
        fi
    done
}

# How many sessions its sshd has open.
host_sessions() { # I
    local pid
    for pid in $(hosts_pids "$1"); do
        hosts_command_of "$pid"
        echo
    done | grep -c '^sshd: etl@' || :
}

# Paths of files on the host that were written since it exists, and carry the run id or the name mayfly.
host_files() { # I [RUN_ID]
    host_written "$1" | grep -F -e mayfly ${2:+-e "$2"} || :
}

# Paths of all files and folders that the host has, and did not have when hosts_start was through; also of the
# machine's files that it changed.
host_new_files() { # I
    local path
    host_written "$1" | grep -vxF -f "$HOSTS/h$1.files" | while IFS= read -r path; do
        # A folder in the host's layer need not be new: it is there, too, when something in it is.
        [ -d "$hosts_disk/pristine/root$path" ] || printf '%s\n' "$path"
    done || :
}

# What a case has made on the hosts by now counts as theirs.
hosts_are_ready() {
    local host
    for host in "${!HOST_PID[@]}"; do
        host_written "$host" >"$HOSTS/h$host.files"
    done
}

# Paths of all that was ever written on the host: its layer, and what was mounted over it; but for the journals.
host_written() { # I
    local place name own
    own=$(readlink -f "${BASE:-$WORK}")
    while read -r place name; do
        (cd "$place" 2>/dev/null && find . -mindepth 1 ! -type c -printf "$name/%P\n" 2>/dev/null) || :
    done < <(hosts_places "$1") | grep -v "^$own" || :
}

# Nothing of a run is left on the hosts, or on those that are named: no process at all, no file of ours.
assert_hosts_clean() { # RUN_ID [I...]
    local host found id=$1
    shift
    [ $# -gt 0 ] || set -- "${!HOST_PID[@]}"
    for host in "$@"; do
        found=$(host_processes "$host")
        [ -z "$found" ] || fail "$(printf 'processes are left on h%s:\n%s' "$host" "$found")"
        found=$(host_files "$host" "$id")
        [ -z "$found" ] || fail "$(printf 'files are left on h%s:\n%s' "$host" "$found")"
    done
}

# Starts to watch one host or all: command lines and environments of all processes, and all files that were written
# (but for host keys), are searched again and again for private keys and certificates in PEM (but for the worker's
# program, which has some of its library) and for each line of at least 16 characters of the files, which need not be
# there yet.
host_watch_secrets() { # I|all [FILE...]
    local host hosts=$1 pairs=()
    shift
    [ "$hosts" != all ] || hosts=${!HOST_PID[*]}
    command -v python3 >/dev/null || skip "host_watch_secrets needs python3"
    for host in $hosts; do
        pairs+=("$host:${HOST_PID[host]}")
    done
    : | tee "$HOSTS/found" >"$HOSTS/rounds"
    setpriv --pdeathsig KILL "${hosts_tool}_watch.py" "$HOSTS" "$hosts_disk" "${pairs[@]}" -- "$@" \
        </dev/null >>"$HOSTS/log" 2>&1 &
    hosts_watcher=$!
    hosts_helpers+=("$hosts_watcher")
    hosts_await "[ -s $HOSTS/rounds ] || ! kill -0 $hosts_watcher"
}

# Lets the watcher finish a last round, stops it and prints what it found, a line each: "h2: PLACE".
host_secrets_found() {
    local rounds
    rounds=$(wc -l <"$HOSTS/rounds")
    hosts_await "[ \$(wc -l <$HOSTS/rounds) -ge $((rounds + 2)) ] || ! kill -0 $hosts_watcher"
    kill -0 "$hosts_watcher" 2>/dev/null || fail "$(printf 'the watcher ended:\n'; hosts_logs)"
    kill "$hosts_watcher"
    wait "$hosts_watcher" 2>/dev/null || :
    sort -u "$HOSTS/found"
}

assert_no_secrets() {
    local found
    found=$(host_secrets_found) || exit 1
    [ -z "$found" ] || fail "$(printf 'secrets were seen on hosts:\n%s' "$found")"
}

# From here on: what the functions above are made of.

hosts_need() { # COUNT
    local command
    [ "$(id -u)" -eq 0 ] || skip "test hosts need root (namespaces, mounts)"
    [ -z "${hosts_job:-}" ] || fail "hosts_start: there are hosts already; call hosts_stop first"
    if ! [ "$1" -ge 1 ] || [ "$1" -gt 250 ]; then fail "hosts_start: '$1' is no number from 1 to 250"; fi
    for command in /usr/sbin/sshd ssh ssh-keygen ip unshare nsenter setpriv; do
        command -v "$command" >/dev/null ||
            skip "test hosts need $command (packages openssh-server, openssh-client, iproute2, util-linux)"
    done
    unshare --net --mount --propagation unchanged --pid --uts --ipc --fork true 2>"$WORK/unshare" ||
        skip "test hosts need the right to make namespaces (CAP_SYS_ADMIN): $(cat "$WORK/unshare")"
    rm "$WORK/unshare"
}

hosts_sshd_config() { # LINE...
    [ $# -eq 0 ] || printf '%s\n' "$@"
    cat <<'END'
HostKey /etc/ssh/ssh_host_ed25519_key
HostKey /etc/ssh/ssh_host_ecdsa_key
AuthorizedKeysFile /etc/ssh/authorized_keys/%u .ssh/authorized_keys
PidFile /run/sshd.pid
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
LogLevel VERBOSE
Subsystem sftp /usr/lib/openssh/sftp-server
END
}

hosts_make_key() { # ed25519|ecdsa|rsa|locked
    local type=$1 phrase=''
    if [ "$1" = locked ]; then type=ed25519 phrase=mayfly; fi
    ssh-keygen -q -t "$type" -N "$phrase" -C "$1" -f "$HOSTS/id_$1"
}

# Waits for a condition; when the switch ended instead, so does the case, with what the switch said.
hosts_await() { # CONDITION
    local code=0 deadline=$((SECONDS + ${LIMIT_SECONDS:-60}))
    until eval "$1" >/dev/null 2>&1; do
        if ! kill -0 "$hosts_job" 2>/dev/null; then
            wait "$hosts_job" 2>/dev/null || code=$?
            if [ "$code" -eq 77 ]; then skip "$(tail -n 3 "$HOSTS/log")"; fi
            fail "$(printf 'the test hosts ended with code %s:\n' "$code"; hosts_logs)"
        fi
        [ "$SECONDS" -lt "$deadline" ] || fail "$(printf 'never came true: %s\n' "$1"; hosts_logs)"
        sleep 0.02
    done
}

# What the switch and each sshd said last.
hosts_logs() {
    tail -n 20 "$HOSTS/log" "$hosts_disk"/h*/upper/var/log/sshd.log 2>/dev/null || :
}

# Until it greets and says goodbye, so that no half-open login of ours counts for MaxStartups.
host_await_sshd() { # I
    # shellcheck disable=SC2016
    hosts_await "hosts_run bash -c 'exec 3<>/dev/tcp/$(host_address "$1")/$(host_port "$1") && read -r -t 5 line <&3 &&
        [[ \$line = SSH-2.0-* ]] && echo >&3 && cat <&3'"
}

# Writes the host's keys to known_hosts, instead of those that are there.
hosts_note_key() { # I
    local address port key old=()
    port=$(host_port "$1")
    for key in "/proc/${HOST_PID[$1]}/root/etc/ssh/"ssh_host_*_key.pub; do
        read -r key <"$key"
        for address in "$(host_address "$1")" "$hosts_network6$1"; do
            old+=("$address " "[$address]:")
            [ "$port" = 22 ] || address="[$address]:$port"
            echo "$address ${key% *}"
        done
    done >"$HOSTS/key"
    touch "$HOSTS/known_hosts"
    { printf '%s\n' "${old[@]}" | grep -vF -f - "$HOSTS/known_hosts" || :; } |
        cat - "$HOSTS/key" >"$HOSTS/known_hosts.new"
    mv "$HOSTS/known_hosts.new" "$HOSTS/known_hosts"
    rm "$HOSTS/key"
}

hosts_hash_keys() {
    cp "$HOSTS/known_hosts" "$HOSTS/known_hosts.hashed"
    ssh-keygen -q -H -f "$HOSTS/known_hosts.hashed" >/dev/null 2>&1
    rm -f "$HOSTS/known_hosts.hashed.old"
}

# So that what calls $MAYFLY_BIN runs in the network of the hosts.
hosts_wrap_mayfly() {
    hosts_mayfly=${MAYFLY_BIN:-}
    [ -n "$hosts_mayfly" ] || return 0
    MAYFLY_BIN=$HOSTS/mayfly
    cat >"$MAYFLY_BIN" <<END
#!/bin/sh
exec nsenter --net=/proc/$HOSTS_SWITCH/ns/net -- '$hosts_mayfly' "\$@"
END
    chmod +x "$MAYFLY_BIN"
}

hosts_keep() {
    local host
    for host in "${!HOST_PID[@]}"; do
        mkdir -p "$WORK/kept"
        cp -a "$hosts_disk/h$host/upper" "$WORK/kept/h$host" 2>/dev/null || :
    done
}

hosts_clean_up() {
    hosts_stop
    clean_up
}

# Process ids of all that runs on the hosts.
hosts_pids() { # I...
    local host space names=()
    for host in "$@"; do
        space=$(readlink "/proc/${HOST_PID[host]}/ns/pid")
        space=${space//[^0-9]/}
        names+=(-o -lname "pid:\[$space\]")
    done
    { find /proc/[0-9]*/ns/pid -maxdepth 0 \( -false "${names[@]}" \) 2>/dev/null || :; } | cut -d/ -f3
}

hosts_command_of() { # PID
    { tr '\0' ' ' <"/proc/$1/cmdline" || :; } 2>/dev/null
}

# "PLACE NAME" of each disk of the hosts: where the machine sees it, and what its host calls it (nothing for its root).
hosts_places() { # I...
    local host
    for host in "$@"; do
        echo "$hosts_disk/h$host/upper"
    done
    # shellcheck disable=SC2016
    for host in "$@"; do
        echo "/proc/${HOST_PID[host]}/mountinfo"
    done | xargs awk '/ - tmpfs / { root = FILENAME; sub(/mountinfo$/, "root", root); print root $5, $5 }'
}
