#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2119 # cases have no arguments
# The jobs of jobs/, unchanged, on eight hosts that have nothing but sshd: inputs and files go there, results and
# outputs come home, and all of it has the bytes that one worker on this machine makes.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_lib.sh"
SOURCE=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")

# What the subtasks call waits on each host for its gate, so that all eight have a part in it.
gate_program() { # NAME
    local host
    for host in "${!HOST_PID[@]}"; do
        host_program "$host" "$1" <<END
#!/bin/sh
until [ -e /run/gate ]; do sleep 0.05; done
exec /usr/bin/$1 "\$@"
END
    done
}

# The job as job.yaml, which start_job and run_job take; what it names is beside it.
take_job() { # NAME
    cp -r "$SOURCE/jobs/$1/." .
}

# Every file of the run's outputs with its checksum.
list_outputs() {
    (cd "$RUN/outputs" 2>/dev/null && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) || :
}

# The job with one worker here and with eight there; leaves result.1, result.8, outputs.1 and outputs.8.
compare_one_and_eight() { # PROGRAM [ARGUMENT...]
    local program=$1 host
    shift
    succeed --set workers.count=1 --set workers.slots=1 "$@"
    cp "$RUN/result" result.1
    list_outputs >outputs.1
    counts >counts.1
    hosts_start 8
    gate_program "$program"
    over_ssh start_job "$(entries 1 2 3 4 5 6 7 8)" "$@"
    await_running 8
    open_gates
    await_end
    assert_exit 0
    assert_equal "$(summary .state)" succeeded "state"
    assert_equal "$(counts)" "$(cat counts.1)"
    cp "$RUN/result" result.8
    list_outputs >outputs.8
    assert_same result.8 result.1
    assert_same outputs.8 outputs.1
    assert_equal "$(query "select count(distinct worker) from attempt where state = 'done'")" 8 "workers that did a part"
    assert_equal "$(summary '.hosts | length') $(verified | wc -w)" "8 8" "hosts that were looked at and verified"
    assert_contains err "8 of 8 hosts verified: no process, file or credential of the run is left"
    for host in "${!HOST_PID[@]}"; do
        host_exec "$host" rm "/usr/local/bin/$program"
    done
    assert_hosts_clean "$RUN_ID"
    assert_pristine
    assert_nothing_left "$RUN_ID"
}

case_etl_packages() {
    compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || skip "no package lists: run 'apt-get update'"
    take_job etl-packages
    compare_one_and_eight awk
    [ "$(wc -l <result.8)" -gt 30 ] || fail "the result has only $(wc -l <result.8) lines"
    "$SOURCE/tests/system/etl_pipeline.sh" "$RUN/prepared/Packages" >pipeline
    assert_same result.8 pipeline
}

# Some pictures: the whole set takes long.
case_renditions() {
    local package
    for package in imagemagick lomiri-wallpapers-16.04 sway-backgrounds; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            skip "$package is not installed: run './setup.sh deps pictures'"
    done
    mkdir pictures
    cp /usr/share/backgrounds/Picture_1A_by_freespace.jpg \
        /usr/share/backgrounds/sway/Sway_Wallpaper_Blue_{768x1024_Portrait,768x1024,1136x640}.png pictures
    take_job renditions
    compare_one_and_eight convert --set "prepare=[./prepare.sh, \"$PWD/pictures\"]"
    assert_equal "$(counts)" "16 0 0 0"
    assert_equal "$(wc -l <outputs.8)" 16 "files that came home"
    assert_equal "$(tail -n +2 result.8 | grep -c ',1$')" 4 "pictures that are ready"
}

run_cases "$@"
