#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2030,SC2031,SC2119,SC2317 # single quotes and subshells are meant as they are
# The test hosts themselves: that they are apart from this machine and from each other, that what is broken on
# purpose is broken, that what is searched for is found, and that nothing is left.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"

assert_hosts_gone() { # FOLDER PID...
    local pid
    assert_no_file "$1"
    ! grep -F "$1" /proc/[0-9]*/mountinfo 2>/dev/null || fail "a mount below $1 is left"
    for pid in "${@:2}"; do
        assert_no_file "/proc/$pid"
    done
}

case_login_and_isolation() {
    local i
    unset MAYFLY_JOURNAL # its folder would be there, too
    hosts_start 8
    for i in $(seq 8); do
        assert_equal "$(hosts_ssh "$i" 'hostname; id -un; pwd; echo $SSH_CONNECTION | cut -d " " -f 1,3,4; echo ${LC_ALL-none}')" \
            "$(printf '%s\n' "h$i" etl /home/etl "$hosts_network.254 $(host_address "$i") 22" none)"
        hosts_ssh "$i" "echo $i >~/mine; echo $i >/tmp/mine; sleep 1000 </dev/null >/dev/null 2>&1 & echo \$! >/var/tmp/pid"
    done
    for i in $(seq 8); do
        assert_equal "$(hosts_ssh "$i" 'cat ~/mine /tmp/mine; pgrep -c sleep; ps -o args= -p $(cat /var/tmp/pid)')" \
            "$(printf '%s\n' "$i" "$i" 1 "sleep 1000")" "files and processes of host $i:"
        assert_equal "$(host_processes "$i" | sed 's/^[0-9]* //; s/ $//')" "sleep 1000" "host_processes $i:"
        assert_equal "$(host_exec "$i" sh -c 'ls -A /tmp /home /root /srv /dev/shm; ls -d /*work* 2>&1' | grep -c work)" 1
    done
    [ ! -e /proc/net/if_inet6 ] ||
        assert_equal "$(hosts_run bash -c "read -r line </dev/tcp/$(host_address6 3)/22; echo \${line%%-*}")" SSH
    # Neither what is the case's nor the checkout is there; the machine's programs are.
    ! host_exec 1 ls "$WORK" >/dev/null 2>&1 || fail "host 1 sees $WORK"
    ! host_exec 1 ls "$hosts_tool" >/dev/null 2>&1 || fail "host 1 sees $hosts_tool"
    ! host_exec 1 ls "$(readlink -f "$hosts_mayfly")" >/dev/null 2>&1 || fail "host 1 sees $hosts_mayfly"
    host_exec 1 tar --version >/dev/null
    assert_no_file /tmp/mine
    assert_no_file /var/tmp/mine
}

# Puts another key in the place of the one that hosts_ssh takes.
use_key() { # TYPE
    local key
    key=$(hosts_key "$1")
    [ "$1" = ed25519 ] || { mv "$key" "$HOSTS/id_ed25519" && mv "$key.pub" "$HOSTS/id_ed25519.pub"; }
}

case_who_may_log_in() {
    local type
    hosts_start 1
    for type in ed25519 ecdsa rsa; do
        use_key "$type"
        assert_equal "$(hosts_ssh 1 echo in)" in "with a key of type $type:"
    done
    use_key locked
    ! hosts_ssh 1 true 2>err || fail "the key opened without its passphrase"
    ssh-keygen -q -p -P mayfly -N '' -f "$HOSTS/id_ed25519" >/dev/null
    hosts_ssh 1 true
    mv "$HOSTS/known_hosts.hashed" "$HOSTS/known_hosts"
    assert_not_contains "$HOSTS/known_hosts" "$hosts_network"
    hosts_ssh 1 true
    host_new_key 1
    ! hosts_ssh 1 true 2>err || fail "nobody minded that the host key changed"
    assert_contains err "REMOTE HOST IDENTIFICATION HAS CHANGED"
}

case_a_configuration_of_its_own() {
    hosts_start 2 "MaxStartups 2:90:4" "PubkeyAcceptedAlgorithms ssh-ed25519"
    assert_equal "$(host_exec 1 /usr/sbin/sshd -T | grep -E '^(maxstartups|pubkeyacceptedalgorithms)' | sort)" \
        "$(printf '%s\n' "maxstartups 2:90:4" "pubkeyacceptedalgorithms ssh-ed25519")"
    hosts_ssh 1 true
    CODE=0
    (
        LIMIT_SECONDS=5 hosts_job='' WORK=$WORK/bad
        mkdir "$WORK"
        hosts_start 1 "NoSuchLine yes"
    ) 2>err || CODE=$?
    assert_exit 1
    assert_contains err "NoSuchLine"
    host_sshd_config 2 "Port 2222"
    assert_equal "$(hosts_ssh 2 'echo $SSH_CONNECTION' | cut -d ' ' -f 4)" 2222
}

# What $MAYFLY_BIN starts, here the workers of this machine, reaches the hosts.
case_mayfly_is_in_their_network() {
    hosts_start 2
    cat >greet.sh <<'END'
#!/bin/bash
exec 3<>"/dev/tcp/$1/22"
read -r line <&3
echo "${line%%-*}"
END
    chmod +x greet.sh
    job <<END
mayfly: 1
split: {range: 1-2}
task: {command: [./greet.sh, "$hosts_network.{}"], files: [greet.sh]}
END
    succeed
    assert_same "$RUN/result" <(printf 'SSH\nSSH\n')
}

case_links_and_servers_fail() {
    hosts_start 2
    host_cut 1
    ! hosts_ssh 1 -o ConnectTimeout=1 true 2>err || fail "the link is not cut"
    hosts_ssh 2 true
    host_mend 1
    wait_until "hosts_ssh 1 -o ConnectTimeout=1 true"

    host_block_dialling 2
    hosts_ssh 2 true
    assert_equal "$(hosts_ssh 2 "timeout 0.5 bash -c ': </dev/tcp/$(host_address 1)/22'; echo \$?")" 124
    hosts_ssh 1 "bash -c ': </dev/tcp/$(host_address 2)/22'"

    # A session lives on without the sshd that began it.
    mkfifo never
    hosts_ssh 1 'echo in; cat' >session 2>err <>never &
    wait_until "grep -q in session"
    assert_equal "$(host_sessions 1)" 1
    host_stop_sshd 1
    ! hosts_ssh 1 true 2>err || fail "sshd still answers"
    assert_contains err "Connection refused"
    assert_equal "$(host_sessions 1)" 1
    assert_equal "$(host_processes 1 | grep -c 'cat $')" 1
    host_start_sshd 1
    hosts_ssh 1 true

    host_hang 2 2000 "SSH-2.0-silent
"
    CODE=0
    hosts_run timeout 1 ssh -v -F none -p 2000 "etl@$(host_address 2)" 2>err </dev/null || CODE=$?
    assert_exit 124
    assert_contains err "remote software version silent"
    assert_equal "$(host_processes 2)" ""

    host_power_off 2
    ! hosts_ssh 2 -o ConnectTimeout=1 true 2>err || fail "it answers without power"
    hosts_ssh 1 true
}

case_shells_and_programs() {
    local shell
    hosts_start 1
    host_banner 1 "welcome to the machine"
    for shell in sh bash fish tcsh; do
        host_shell 1 "$shell"
        hosts_ssh 1 'ps -u etl -o comm= | cat' >out
        grep -qx "$shell" out || fail "the login shell is not $shell: $(cat out)"
        # The Bourne shell of Debian reads no file when it is not interactive.
        [ "$shell" = sh ] || assert_contains out "welcome to the machine"
    done
    host_uname 1 riscv64 3.2.1
    assert_equal "$(hosts_ssh 1 uname -srm | tail -n 1)" "Linux 3.2.1 riscv64"
}

case_disks_are_bad() {
    hosts_start 2
    hosts_ssh 1 'echo kept >~/kept'
    host_limit_disk 1 2m
    assert_equal "$(hosts_ssh 1 'cat ~/kept; head -c 1000000 /dev/zero >~/a && head -c 2000000 /dev/zero 2>&1 >/tmp/b | grep -o "No space"')" \
        "$(printf 'kept\nNo space')"
    host_remount 2 /home/etl ro
    assert_equal "$(hosts_ssh 2 'touch ~/a 2>&1 | grep -o "Read-only"')" "Read-only"
    host_exec 2 umount /home/etl
    host_remount 2 /home/etl noexec
    assert_equal "$(hosts_ssh 2 'echo "echo ran" >~/a; chmod +x ~/a; ~/a 2>&1 | grep -o "Permission denied"')" "Permission denied"
}

case_what_is_left_is_found() {
    hosts_start 2
    assert_equal "$(host_new_files 1; host_files 1; host_processes 1)" ""
    assert_hosts_clean r-1
    hosts_ssh 1 'mkdir -p ~/.cache/mayfly/runs/r-1; echo a >~/plain; echo a >/dev/shm/x-r-1'
    assert_equal "$(host_files 1)" "$(printf '%s\n' /home/etl/.cache/mayfly{,/runs{,/r-1}})"
    assert_equal "$(host_files 1 r-1 | grep -c .)" 4
    assert_equal "$(host_new_files 1 | sort)" "$(printf '%s\n' /dev/shm/x-r-1 /home/etl/{.cache{,/mayfly{,/runs{,/r-1}}},plain})"
    CODE=0
    (assert_hosts_clean r-1) 2>err || CODE=$?
    assert_exit 1
    assert_contains err "files are left on h1"
    assert_hosts_clean r-1 2
    host_limit_disk 2 1m
    hosts_ssh 2 'mkdir /tmp/mayfly-1; sleep 1000 </dev/null >/dev/null 2>&1 &'
    (assert_hosts_clean r-1 2) 2>err || CODE=$?
    assert_contains err "sleep 1000"
    assert_equal "$(host_files 2)" "/tmp/mayfly-1"
}

# A secret in a file, in a file of a small disk, in an environment, in a command line; and no false alarm.
case_secrets_are_seen() {
    hosts_start 4
    echo "0123456789abcdefghij" >token
    openssl ecparam -name prime256v1 -genkey -noout -out key.pem
    hosts_ssh 1 'printf -- "-----BEGIN EC PRIVATE KEY-----\n\0" >~/a-program'
    host_watch_secrets all token not-there-yet
    assert_no_secrets
    host_watch_secrets all token not-there-yet
    echo "another secret, made later" >not-there-yet
    hosts_ssh 1 'cat >~/one' <token
    host_limit_disk 2 1m
    hosts_ssh 2 'cat >/tmp/two' <key.pem
    hosts_ssh 3 'TOKEN=0123456789abcdefghij sleep 1000 </dev/null >/dev/null 2>&1 &'
    hosts_ssh 4 'sh -c "sleep 1000; : another secret, made later" </dev/null >/dev/null 2>&1 &'
    host_secrets_found | sed 's/process [0-9]*/process N/' >found
    assert_contains found "h1: file /home/etl/one"
    assert_contains found "h2: file /tmp/two"
    assert_contains found "h3: environ of process N: sleep 1000"
    assert_contains found "h4: cmdline of process N: sh -c sleep 1000"
    assert_not_contains found "a-program"

    # A watcher that saw nothing because it is gone is no proof.
    host_watch_secrets 1
    assert_no_secrets
    host_watch_secrets 1
    kill -KILL "$hosts_watcher"
    CODE=0
    (assert_no_secrets) 2>err || CODE=$?
    assert_exit 1
    assert_contains err "the watcher ended"
}

case_nothing_is_left() {
    local folder pids
    hosts_start 3
    folder=$HOSTS
    hosts_ssh 2 'setsid sleep 1000 </dev/null >/dev/null 2>&1 &'
    pids="$HOSTS_SWITCH $(hosts_pids 1; hosts_pids 2; hosts_pids 3)"
    host_hang 1 2000
    host_watch_secrets 1
    hosts_stop
    # shellcheck disable=SC2086 # several
    assert_hosts_gone "$folder" $pids
    hosts_stop
    hosts_start 1 # and again, in the same case
    hosts_ssh 1 true
}

# The shell that started them is killed with no chance to clean up: all goes with it, and others are not disturbed.
case_the_test_is_killed() {
    local shell pid
    hosts_start 1
    mkfifo ../never
    mkdir "$WORK/other"
    (
        WORK=$WORK/other
        hosts_job=''
        hosts_start 2
        { echo "$HOSTS_SWITCH" && hosts_pids 1 && hosts_pids 2; } >../pids.new
        mv ../pids.new ../pids
        read -r _ <../never
    ) &
    shell=$!
    wait_until "[ -s ../pids ]"
    kill -KILL "$shell"
    wait "$shell" 2>/dev/null || :
    while read -r pid; do
        wait_until "[ ! -e /proc/$pid ]"
    done <../pids
    hosts_ssh 1 true
    assert_file ../other/hosts/id_ed25519
    rm -r ../other # nothing is mounted there
}

# The files of the case are hidden where they lie, not only below /tmp.
case_folder_in_usr() {
    local folder
    folder=$(mktemp -d /usr/local/lib/mayfly-selftest.XXXXXX)
    chmod 755 "$folder"
    TMPDIR=$folder "$hosts_tool" run 1 bash -c 'ssh -F none -i "$HOSTS_KEY" -o UserKnownHostsFile="$HOSTS_KNOWN" \
        "$(cat "$HOSTS_LIST")" "cd $TMPDIR && ls -A && echo seen"' >out || :
    rmdir "$folder"
    assert_equal "$(cat out)" seen
}

# What a machine lacks is said by a skip, in words.
case_what_is_missing_is_named() {
    CODE=0
    (CI=false && id() { echo 1000; } && hosts_start 1) 2>err || CODE=$?
    assert_exit 77
    assert_contains err "need root"
    CODE=0
    CI=false setpriv --bounding-set=-sys_admin "${hosts_tool}_selftest.sh" case_nothing_is_left >out 2>err || CODE=$?
    assert_exit 77
    assert_contains err "CAP_SYS_ADMIN"
    CODE=0
    CI=false setpriv --bounding-set=-mknod "${hosts_tool}_selftest.sh" case_nothing_is_left >out 2>err || CODE=$?
    assert_exit 77
    assert_contains err "device nodes"
}

case_the_command() {
    local pid
    "$hosts_tool" run 2 bash -c 'for host in $(cat "$HOSTS_LIST"); do
        ssh -F none -i "$HOSTS_KEY" -o UserKnownHostsFile="$HOSTS_KNOWN" "$host" hostname
    done' >out
    assert_equal "$(cat out)" "$(printf 'h1\nh2')"
    CODE=0
    "$hosts_tool" run 1 sh -c 'exit 5' || CODE=$?
    assert_exit 5
    "$hosts_tool" start 1 >out 2>err &
    pid=$!
    wait_until "grep -q Ctrl-C out"
    assert_equal "$(bash -c "$(sed -n 's|^ *\(nsenter .*\) COMMAND$|\1|p' out) $(sed -n 's/^ *\(ssh .*\)/\1/p' out) hostname")" h1
    kill -TERM "$pid"
    wait "$pid" || :
    assert_equal "$(ls "$TMPDIR")" ""
}

run_cases "$@"
