# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# An sshd of the benchmark's own on loopback, for those that need a host. Sourced after lib.sh, starts at once.
# Variables: port, ssh_options (OpenSSH's defaults but for key and known hosts); in $scratch: key, known (127.0.0.1),
# known-all (127.0.0.*), home.
# shellcheck disable=SC2154,SC2034 # lib.sh gives and uses these

need /usr/sbin/sshd "run './setup.sh deps bench' first"

if [ "$(id -u)" -eq 0 ]; then mkdir -p /run/sshd; fi
ssh-keygen -q -t ed25519 -N '' -f "$scratch/host"
ssh-keygen -q -t ed25519 -N '' -f "$scratch/key"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$scratch/host.pub")" >"$scratch/known"
mkdir "$scratch/home" # so that no shell reads start files of this machine's user
# All on 127.0.0.x with one port, so that there are many names.
sed "s/127.0.0.1/127.0.0.*/" "$scratch/known" >"$scratch/known-all"
cat >"$scratch/sshd_config" <<END
Port $port
ListenAddress 0.0.0.0
HostKey $scratch/host
AuthorizedKeysFile $scratch/key.pub
PidFile none
StrictModes no
UsePAM no
MaxStartups 100
Subsystem sftp internal-sftp
PermitRootLogin yes
SetEnv HOME=$scratch/home
END
/usr/sbin/sshd -D -f "$scratch/sshd_config" -E "$scratch/sshd.log" &
peer_pid=$!

ssh_options=(-F none -o "Port=$port" -i "$scratch/key" -o BatchMode=yes -o IdentitiesOnly=yes
    -o "UserKnownHostsFile=$scratch/known-all")
for ((i = 0; i < 500; i++)); do
    if ssh "${ssh_options[@]}" 127.0.0.1 true 2>/dev/null; then break; fi
    sleep 0.02
done

# ms COMMAND...: its wall-clock time.
ms() {
    local start
    start=$(now_us)
    "$@" >"$scratch/out" 2>"$scratch/err" || {
        cat "$scratch/err" >&2
        fail "failed: $*"
    }
    awk -v us=$(($(now_us) - start)) 'BEGIN { printf "%.1f\n", us / 1000 }'
}
