#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Workers from a real Slurm: its daemons run from a configuration of the test's own.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/slurm_lib.sh"
slurm_alone "$@"

slurm_job() { # RANGE [KEY...]
    local key
    job <<END
mayfly: 1
split: {range: 1-$1}
task: {shell: 'until [ {} -le 500 ] || [ -e "$PWD/gate" ]; do sleep 0.05; done; echo {}'}
workers:
  launcher: slurm
  count: 4
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
    assert_cluster_clean
}

case_what_slurm_says_is_said() {
    slurm_start
    slurm_job 10
    touch gate
    run_job --set workers.slurm.partition=nowhere
    assert_exit 3
    assert_contains err "slurm: sbatch refuses the workers (exit code 1): Batch job submission failed: Invalid partition"
    start_job --set workers.slurm.partition=closed
    wait_until 'grep -q "workers wait in Slurm.s queue: Job.s account" err'
    mayfly cancel "$RUN_ID"
    await_end
    assert_exit 4
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
