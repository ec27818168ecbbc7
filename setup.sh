#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Sets Mayfly up on Debian 12: packages, build, demonstration, tests. Each command can be repeated; what is
# done already is left alone. Needs root or sudo for packages only.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

build_packages=(gcc libc6-dev cmake ninja-build pkg-config libnng-dev libmsgpack-dev libsqlite3-dev libyaml-dev
    libmbedtls-dev libssl-dev libsodium-dev libjansson-dev libssh2-1-dev zlib1g-dev libhiredis-dev
    libcurl4-openssl-dev)
demo_packages=(bsdextrautils openssh-server openssh-client)
# For jobs/renditions: what it runs, and pictures.
picture_packages=(imagemagick lomiri-wallpapers-16.04 sway-backgrounds)
# For jobs/page-count: what counts pages, and what makes documents of manual pages.
document_packages=(poppler-utils groff)
test_packages=(libcmocka-dev binutils sqlite3 iproute2 openssl procps jq mawk python3 util-linux openssh-server
    openssh-client nftables fish tcsh faketime hostname cron systemd tzdata python3-croniter libhiredis0.14
    redis-server)
# libgearman-dev: so that the benchmark of the peer is compiled and analysed, too.
lint_packages=(git clang clang-tidy clang-format cppcheck shellcheck libclang-rt-14-dev libgearman-dev)
bench_packages=(gearman-job-server gearman-tools libgearman-dev openssh-server openssh-client pdsh)

# Tests wait more than they compute: for leases, for logins, for a disk.
test_jobs=$((2 * $(nproc)))

usage() {
    cat <<'END'
usage: ./setup.sh COMMAND

  deps [GROUP...]   install Debian packages that are missing; groups: build (default), demo, pictures, documents,
                    test, lint, bench
  build             build release binaries: build/release/mayfly and build/release/mayfly-worker
  demo              deps, build, then run jobs/etl-packages on this machine and over SSH, and show its result
  test [ARG...]     deps, build, then run all tests; further arguments go to ctest (for example -R gather)
  help              this text
END
}

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf 'setup.sh: %s\n' "$*" >&2
    exit 1
}

# Runs quietly; shows what the command said only when it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    [ "$status" -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$status"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    elif command -v sudo >/dev/null; then
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else
        fail "packages are installed as root: run this as root, or install sudo"
    fi
}

check_debian() {
    local id='' version=''
    if [ -r /etc/os-release ]; then
        id=$(sed -n 's/^ID=//p' /etc/os-release | tr -d '"')
        version=$(sed -n 's/^VERSION_ID=//p' /etc/os-release | tr -d '"')
    fi
    [ "$id $version" = "debian 12" ] ||
        fail "this is ${id:-an unknown system} ${version:-}; Mayfly is built and tested on Debian 12 (bookworm)"
}

have_package() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Those of the named packages that are not installed, on one line.
missing_of() {
    local package missing=()
    for package in "$@"; do
        have_package "$package" || missing+=("$package")
    done
    echo "${missing[*]}"
}

have_lists() {
    compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null
}

update_lists() {
    say "deps: fetching package lists (apt-get update)"
    quietly as_root apt-get update -q || fail "apt-get update failed: see above; is the network up?"
    have_lists || fail "apt-get update brought no package lists: check /etc/apt/sources.list and sources.list.d"
}

apt_install() {
    quietly as_root apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

install_groups() {
    local group wanted=() missing
    for group in "$@"; do
        case $group in
        build) wanted+=("${build_packages[@]}") ;;
        demo) wanted+=("${demo_packages[@]}") ;;
        pictures) wanted+=("${picture_packages[@]}") ;;
        documents) wanted+=("${document_packages[@]}") ;;
        test) wanted+=("${test_packages[@]}" "${picture_packages[@]}" "${document_packages[@]}") ;;
        lint) wanted+=("${lint_packages[@]}") ;;
        bench) wanted+=("${bench_packages[@]}") ;;
        *) fail "unknown group '$group'; groups are build, demo, pictures, documents, test, lint, bench" ;;
        esac
    done
    read -r -a missing <<<"$(missing_of "${wanted[@]}")"
    have_lists || update_lists # the jobs on real data read the lists, too
    if [ ${#missing[@]} -eq 0 ]; then
        say "deps: nothing is missing ($*)"
        return
    fi
    say "deps: installing ${missing[*]}"
    if ! apt_install "${missing[@]}"; then
        update_lists # old lists name files that are gone
        apt_install "${missing[@]}" || fail "apt-get install failed: see above"
    fi
}

command_deps() {
    check_debian
    [ $# -gt 0 ] || set -- build
    install_groups "$@"
}

# With the tests where their library is installed.
build() {
    local tests=OFF
    ! have_package libcmocka-dev || tests=ON
    say "build: cmake --preset release"
    quietly cmake --preset release -DMAYFLY_TESTS="$tests" || fail "cmake failed: see above"
    say "build: compiling into build/release"
    quietly cmake --build --preset release -- --quiet || fail "the build failed: see above"
}

command_build() {
    local missing
    missing=$(missing_of "${build_packages[@]}")
    [ -z "$missing" ] || fail "missing packages: $missing; run './setup.sh deps' first"
    build
    say "build: $(build/release/mayfly version | head -n 1)"
}

show_table() {
    if command -v column >/dev/null; then
        column -t -s , "$1"
    else
        tr , '\t' <"$1"
    fi
}

# A run of jobs/etl-packages: demo_run NAME OPTION... leaves NAME.csv and NAME.json.
demo_run() {
    local name=$1 status=0
    shift
    build/release/mayfly run jobs/etl-packages/job.yaml --json -o "$PWD/build/demo/$name.csv" "$@" \
        >"build/demo/$name.json" || status=$?
    [ "$status" -eq 0 ] || fail "the run ended with exit code $status; its summary is build/demo/$name.json"
}

# An sshd of our own on loopback: own keys, own configuration, a folder for what workers write; ended with this script.
demo_sshd() {
    local folder=$PWD/build/demo/ssh try
    [ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd # sshd's own requirement
    rm -rf "$folder"
    mkdir -p "$folder/cache"
    ssh-keygen -q -t ed25519 -N '' -f "$folder/host_key"
    ssh-keygen -q -t ed25519 -N '' -f "$folder/key"
    cat >"$folder/config" <<END
ListenAddress 127.0.0.1
HostKey $folder/host_key
AuthorizedKeysFile $folder/key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
SetEnv XDG_CACHE_HOME=$folder/cache
END
    for try in 1 2 3 4 5 6 7 8; do
        sshd_port=$((20000 + RANDOM % 20000))
        /usr/sbin/sshd -D -e -f "$folder/config" -p "$sshd_port" 2>"$folder/log" </dev/null &
        sshd_pid=$!
        trap 'kill "$sshd_pid" 2>/dev/null || true' EXIT
        for _ in $(seq 100); do
            ! grep -q "^Server listening" "$folder/log" || break 2
            kill -0 "$sshd_pid" 2>/dev/null || break
            sleep 0.05
        done
        [ "$try" -lt 8 ] || fail "sshd does not start: $(cat "$folder/log")"
    done
    printf '[127.0.0.1]:%s %s\n' "$sshd_port" "$(cut -d' ' -f1,2 "$folder/host_key.pub")" >"$folder/known_hosts"
}

command_demo() {
    local folder ssh=$PWD/build/demo/ssh
    command_deps build demo
    build
    mkdir -p build/demo
    say "demo: mayfly run jobs/etl-packages/job.yaml (this machine's package index, a slot per core)"
    demo_run local
    demo_sshd
    say "demo: the same job over SSH: mayfly run ... --hosts 127.0.0.1:$sshd_port (an sshd of our own)"
    demo_run ssh --hosts "127.0.0.1:$sshd_port" -i "$ssh/key" --known-hosts "$ssh/known_hosts" \
        --set workers.staging=always
    kill "$sshd_pid"
    wait "$sshd_pid" || true
    cmp build/demo/local.csv build/demo/ssh.csv || fail "the two results differ"
    [ -z "$(find "$ssh/cache" -mindepth 1)" ] || fail "something is left in $ssh/cache"
    say "demo: the results of the two runs are the same, byte for byte; nothing is left on the host"
    folder=$(run_folder build/demo/ssh.json)
    say "demo: the result"
    { head -n 16 build/demo/local.csv; sed -n '/^needed,/p' build/demo/local.csv | head -n 10; } >build/demo/shown.csv
    show_table build/demo/shown.csv
    say "demo: shown were 15 sections and 10 of the most-needed packages; all $(($(wc -l <build/demo/local.csv) - 1)) rows are in"
    cat <<END
    result       $PWD/build/demo/local.csv (and ssh.csv)
    run folder   $folder
                 result, summary.json, run.db (each attempt; any SQL tool reads it), logs/, master.log
    look at it   build/release/mayfly status last
                 build/release/mayfly results last 7 | head
                 build/release/mayfly sql last "select state, count(*) from subtask group by state"
                 build/release/mayfly logs last
END
}

# The folder that holds the run's `log` (an absolute path in the summary).
run_folder() {
    dirname "$(sed -n 's/.*"log": *"\([^"]*\)".*/\1/p' "$1" | head -n 1)"
}

command_test() {
    command_deps build test
    build
    say "test: ctest --preset release -j $test_jobs $*"
    ctest --preset release -j "$test_jobs" "$@"
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
deps) command_deps "$@" ;;
build) command_build ;;
demo) command_demo ;;
test) command_test "$@" ;;
help | -h | --help) usage ;;
*)
    usage >&2
    fail "unknown command '$command'"
    ;;
esac
