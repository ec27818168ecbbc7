# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# A cluster: slurmctld, two slurmd (nodes n1 and n2, four processors each; n2 does not see $CLUSTER/unseen) and munged,
# from a configuration folder of its own. Sourced after lib.sh by a script that has begun with `slurm_alone "$@"`: the whole script runs in network,
# mount, UTS and PID namespaces of its own, so that ports, /etc/hosts, homes and processes are its own, and nothing of
# it outlives the script.

# Runs the script again, within its own namespaces; comes back there.
slurm_alone() { # [ARGUMENT...]
    local command
    [ -z "${SLURM_ALONE:-}" ] || return 0 # it is the cluster's folder
    [ "$(id -u)" -eq 0 ] || skip "a cluster needs root (namespaces, mounts)"
    for command in slurmctld slurmd munged sbatch ip unshare; do
        command -v "$command" >/dev/null ||
            skip "this needs $command (packages slurmctld, slurmd, slurm-client, munge, iproute2, util-linux)"
    done
    CLUSTER=$(readlink -f "$(mktemp -d "${TMPDIR:-/tmp}/mayfly-cluster.XXXXXX")")
    SLURM_ALONE=$CLUSTER unshare --net --mount --propagation unchanged --uts --pid --fork --kill-child \
        --mount-proc "$(readlink -f "$0")" "$@" &
    command=$!
    trap 'kill -KILL $command 2>/dev/null; exit 1' INT TERM
    trap 'rm -rf "$CLUSTER"' EXIT # with the last process of the namespace
    wait "$command"
    exit
}

# Makes sure that the cluster runs: one for all cases of the script. Sets CLUSTER, SLURM_CONF.
slurm_start() {
    CLUSTER=$SLURM_ALONE
    export SLURM_CONF=$CLUSTER/slurm.conf
    [ -e "$SLURM_CONF" ] || slurm_make
    # shellcheck disable=SC2016
    wait_until '[ "$(timeout 5 sinfo -h -p batch -o %T)" = idle ]'
}

slurm_make() {
    # What is mounted below stays in the namespace that mounts it, also in a chroot, where / can't be made private.
    mount --bind "$CLUSTER" "$CLUSTER"
    mount --make-private "$CLUSTER"
    mkdir -p "$CLUSTER/state" "$CLUSTER/spool" "$CLUSTER/munge" "$CLUSTER/unseen"
    # The account's home on the nodes, and nothing else of it: these tests may lie in its home themselves.
    mkdir "$CLUSTER/home"
    awk -F: -v OFS=: -v home="$CLUSTER/home" '$3 == 0 { $6 = home } { print }' /etc/passwd >"$CLUSTER/passwd"
    mount --bind "$CLUSTER/passwd" /etc/passwd
    printf '127.0.0.1 localhost\n10.78.0.1 login\n' >"$CLUSTER/hosts"
    mount --bind "$CLUSTER/hosts" /etc/hosts
    hostname login
    ip link set lo up
    ip link add cluster type bridge
    ip addr add 10.78.0.1/24 dev cluster
    ip link set cluster up
    head -c 1024 /dev/urandom >"$CLUSTER/munge/key"
    chmod 400 "$CLUSTER/munge/key"
    chmod 711 "$CLUSTER/munge"
    slurm_daemon munged munged --force --foreground --key-file="$CLUSTER/munge/key" \
        --socket="$CLUSTER/munge/socket" --pid-file="$CLUSTER/munge/pid" --log-file="$CLUSTER/munge/log" \
        --seed-file="$CLUSTER/munge/seed"
    wait_until "[ -S $CLUSTER/munge/socket ]"
    slurm_configuration >"$CLUSTER/slurm.conf"
    # slurmd asks for control groups, though nothing here uses them, and refuses those of some machines.
    echo CgroupPlugin=cgroup/v1 >"$CLUSTER/cgroup.conf"
    mountpoint -q /sys/fs/cgroup || mount -t tmpfs none /sys/fs/cgroup
    slurm_daemon slurmctld slurmctld -D
    slurm_daemon n1 slurmd -D -N n1
    # shellcheck disable=SC2016
    slurm_daemon n2 unshare --mount --propagation unchanged sh -c 'mount -t tmpfs none "$0" && exec slurmd -D -N n2' "$CLUSTER/unseen"
}

# It outlives the case, and ends with the script's own processes.
slurm_daemon() { # NAME COMMAND...
    "${@:2}" >"$CLUSTER/$1.out" 2>&1 </dev/null &
    disown
}

slurm_configuration() {
    cat <<END
ClusterName=test
SlurmctldHost=login
AuthType=auth/munge
AuthInfo=socket=$CLUSTER/munge/socket
SlurmUser=root
StateSaveLocation=$CLUSTER/state
SlurmdSpoolDir=$CLUSTER/spool/%n
SlurmctldPidFile=$CLUSTER/slurmctld.pid
SlurmdPidFile=$CLUSTER/slurmd.%n.pid
SlurmctldLogFile=$CLUSTER/slurmctld.log
SlurmdLogFile=$CLUSTER/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_min_interval=100000
MpiDefault=none
MinJobAge=60
KillWait=5
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname=login NodeAddr=10.78.0.1 Port=6818 CPUs=4
NodeName=n2 NodeHostname=login NodeAddr=10.78.0.1 Port=6819 CPUs=4
PartitionName=batch Nodes=n1,n2 Default=YES MaxTime=60 State=UP
PartitionName=two Nodes=n2 MaxTime=60 State=UP
PartitionName=closed Nodes=n1,n2 AllowAccounts=nobody State=UP
END
}

# Nothing is left: no job, no folder of the run, no worker.
assert_cluster_clean() {
    assert_equal "$(squeue -h --array)" "" "jobs in squeue"
    assert_equal "$(cd "$CLUSTER/home" && find . -path '*mayfly*')" "" "files in the account's home"
    assert_no_file "$RUN/slurm"
    assert_nothing_left "$RUN_ID"
}
