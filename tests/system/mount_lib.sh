# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# File systems of their own for system tests; sourced after lib.sh.

# Runs this script's function NAME where FOLDER is a tmpfs with these options. In a chroot the mounts of a new
# namespace can't be made private: there they are undone by hand.
on_tmpfs() { # FOLDER OPTIONS NAME
    local how=(--mount)
    [ "$(id -u)" -eq 0 ] || how+=(--map-root-user)
    unshare "${how[@]}" true 2>/dev/null || how+=(--propagation unchanged)
    unshare "${how[@]}" true 2>/dev/null || skip "no right to mount: run as root"
    local name
    for name in $(compgen -A function); do
        declare -fx "${name?}"
    done
    export LIMIT_SECONDS WORK
    export MAYFLY_BIN
    unshare "${how[@]}" bash -euc "mount -t tmpfs -o '$2' tmpfs '$1'
        trap \"cd /; umount -l '$1'\" EXIT
        cd '$PWD'; $3"
}
