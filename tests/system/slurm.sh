#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Workers from a real Slurm: its daemons run from a configuration of the test's own.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/slurm_lib.sh"
slurm_alone "$@"

# Subtasks beyond FREE (500) wait for the file `gate`. COUNT (4) workers.
slurm_job() { # RANGE [KEY...]
    local key
    job <<END
mayfly: 1
split: {range: 1-$1}
task: {shell: 'until [ {} -le ${FREE:-500} ] || [ -e "$PWD/gate" ]; do sleep 0.05; done; echo {}'}
workers:
  launcher: slurm
  count: ${COUNT:-4}
  slots: 2
END
    shift
    for key in "$@"; do
        printf '  %s\n' "$key" >>job.yaml
    done
}

case_a_worker_is_cancelled_in_the_middle() {
    slurm_start
    slurm_job 1000
    start_job
    wait_until '[ "$(query "select count(*) from worker where state = '\''ready'\''")" = 4 ]'
    wait_until '[ "$(query "select count(*) from attempt")" -ge 490 ]' # the others wait for the gate
    assert_equal "$(find "$RUN/slurm" -name 'input.*')" "" "launch inputs that were not removed"
    scancel "$(squeue -h --array -t R -o '%F_%K' | head -n 1)"
    wait_until '[ "$(query "select count(*) from worker")" = 5 ]' # another takes its place
    touch gate
    await_end
    assert_exit 0
    seq 1000 >wanted
    assert_same out wanted
    assert_equal "$(summary '.workers | "\(.lost) \(.unverified)"')" "1 0"
    assert_equal "$(query "select distinct verified_by from worker")" scheduler
    counts >/dev/null
    assert_equal "$(summary '[.cost.hosts[].host] | join(" ")')" "n1 n2" "the hosts that were paid for"
    assert_contains err "is gone with its job"
    assert_contains err "of Slurm: it was cancelled"
    assert_cluster_clean
}

case_what_slurm_says_is_said() {
    slurm_start
    slurm_job 10
    touch gate
    run_job --set workers.slurm.partition=nowhere
    assert_exit 3
    assert_contains err "slurm: sbatch refuses the workers (exit code 1): Batch job submission failed: Invalid partition"
    mayfly check job.yaml --set workers.slurm.partition=nowhere
    assert_exit 3
    assert_contains out "slurm: sbatch refuses the workers (exit code 1): allocation failure: Invalid partition name"
    mayfly check job.yaml
    assert_exit 0
    start_job --set workers.slurm.partition=closed
    wait_until 'grep -q "workers wait in Slurm.s queue: Job.s account" err'
    mayfly cancel "$RUN_ID"
    await_end
    assert_exit 4
    assert_equal "$(summary '.cost | .paid == 0 and (.hosts | length) == 0')" true "what was paid while all waited in the queue"
    assert_cluster_clean
}

kill_master() {
    kill -KILL "$PID"
    wait "$PID" 2>/dev/null || :
}

# As start_job: comes back as soon as the new master has said something.
start_resume() {
    "$MAYFLY_BIN" resume "$RUN_ID" >out 2>err </dev/null &
    PID=$!
    wait_until "grep -q resuming: err || ! kill -0 $PID"
}

in_state() { # STATE COUNT: so many tasks
    [ "$(squeue -h --array -t "$1" -o %i | wc -l)" = "$2" ]
}

assert_complete() { # COUNT
    assert_exit 0
    seq "$1" >wanted
    assert_same "$RUN/result" wanted
    assert_equal "$(counts)" "$1 0 0 0"
}

# Four workers fill the cluster, two wait in the queue, and the master dies: the next one finds them all, and uses them.
case_the_master_is_killed() {
    slurm_start
    COUNT=6 slurm_job 600
    start_job
    wait_until '[ "$(query "select count(*) from worker where state = '\''ready'\''")" = 4 ] && in_state PD 2'
    wait_until '[ "$(query "select count(*) from attempt")" -ge 490 ]'
    kill_master
    squeue -h --array -o '%F %K' | sort >before
    start_resume
    wait_until '[ "$(grep -c "says that it holds" "$RUN/master.log")" = 4 ]'
    assert_equal "$(grep -c 'still waits in a queue' "$RUN/master.log")" 2 "workers that waited"
    squeue -h --array -o '%F %K' | sort >after
    assert_same after before
    scancel "$(squeue -h --array -t R -o '%F_%K' | head -n 1)"
    wait_until '[ "$(query "select count(*) from worker where id in (5, 6) and joined_us is not null")" = 1 ]'
    touch gate
    await_end
    assert_complete 600
    assert_equal "$(query "select count(*), count(distinct subtask) from attempt where state = 'done'")" "600|600"
    assert_cluster_clean
}

# The run is not gone on with.
case_a_dead_run_is_cleaned() {
    slurm_start
    mkdir shared
    COUNT=6 FREE=0 slurm_job 10 "slurm: {folder: $PWD/shared}"
    start_job
    # Four have begun, and taken their credentials.
    wait_until 'in_state PD 2 && [ "$(find shared -name "input.*" | wc -l)" = 2 ]'
    kill_master
    mayfly clean "$RUN_ID"
    assert_exit 0
    assert_equal "$(cat err)" ""
    assert_equal "$(ls shared)" "" "what is left in the shared folder"
    wait_until '[ -z "$(squeue -h)" ] && is_all_gone "$RUN_ID"'
    assert_cluster_clean
}

kill_at() { # POINT
    slurm_start
    slurm_job 20
    MAYFLY_CRASH=$1 mayfly run job.yaml 2>/dev/null
    find_run
    assert_equal "$CODE" 137 "killed at $1"
    mayfly resume "$RUN_ID"
    assert_complete 20
    assert_equal "$(summary '.workers.unverified')" 0
    assert_cluster_clean
}

# An array was submitted, and the master died before it could note that.
case_the_master_is_killed_at_a_submission() {
    kill_at slurm.before-note
}

long_the_master_is_killed_after_a_submission() {
    kill_at slurm.after-note
}

long_time_is_over() {
    slurm_start
    COUNT=1 FREE=0 slurm_job 1
    start_job
    wait_until 'in_state R 1'
    scontrol update JobId="$(squeue -h -o %A)" EndTime="$(date -d '+2 seconds' +%Y-%m-%dT%H:%M:%S)"
    wait_until 'grep -q "is gone with its job .* of Slurm: its time was over" err'
    touch gate
    await_end
    assert_complete 1
    assert_cluster_clean
}

long_scancel_is_refused() {
    slurm_start
    COUNT=6 FREE=0 slurm_job 10
    mkdir "$WORK/bin"
    printf '#!/bin/sh\necho "scancel: error: Kill job error on job id 1: Access/permission denied" >&2\nexit 1\n' \
        >"$WORK/bin/scancel"
    chmod +x "$WORK/bin/scancel"
    PATH=$WORK/bin:$PATH start_job
    wait_until 'in_state R 4 && in_state PD 2'
    scontrol hold "$(squeue -h -o %F -t PD | head -n 1)"
    touch gate
    await_end
    assert_exit 0
    assert_contains err "jobs named mayfly-$RUN_ID are still in squeue, scancel is refused: scancel: error: Kill job error"
    assert_equal "$(summary '.hosts[0] | "\(.verified) \(.verified_by)"')" "false none"
    assert_no_file "$RUN/slurm"
    scancel --name="mayfly-$RUN_ID"
    wait_until '[ -z "$(squeue -h)" ]'
    assert_cluster_clean
}

long_a_node_that_does_not_see_the_folder() {
    slurm_start
    slurm_job 10 'slurm: {partition: two, folder: '"$CLUSTER/unseen}"
    run_job
    assert_exit 3
    assert_contains err "ended and left no word in $CLUSTER/unseen/mayfly-$RUN_ID (Slurm says FAILED (NonZeroExitCode)): do the nodes see that folder"
    assert_equal "$(ls "$CLUSTER/unseen")" "" "what is left in the shared folder"
    assert_cluster_clean
}

# Programs that answer as those of Slurm do when its controller does not.
case_a_slurm_that_is_not_there() {
    local name
    slurm_job 10
    mkdir "$WORK/bin"
    for name in sbatch squeue; do
        printf '#!/bin/sh\necho "%s: error: Unable to contact slurm controller (connect failure)" >&2\nexit 1\n' $name \
            >"$WORK/bin/$name"
        chmod +x "$WORK/bin/$name"
    done
    PATH=$WORK/bin:$PATH run_job
    assert_exit 3
    assert_contains err "slurm: its controller cannot be reached (Unable to contact slurm controller (connect failure))"
    assert_contains err "slurm: NOT verified: squeue cannot say"
    assert_no_file "$RUN/slurm"
    PATH=/nowhere mayfly run job.yaml
    assert_exit 3
    assert_contains err "launcher slurm needs sbatch, squeue and scancel, and they are not in PATH"
}

run_cases "$@"
