#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2119 # what stands in single quotes is meant as it is
# Launcher command with a real scheduler behind it: Slurm, as docs/launchers.md says.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/slurm_lib.sh"
slurm_alone "$@"

case_slurm_by_its_commands() {
    slurm_start
    job <<END
mayfly: 1
split: {range: 1-100}
task: {shell: 'until [ {} -le 50 ] || [ -e "$PWD/gate" ]; do sleep 0.05; done; echo {}'}
workers:
  launcher: command
  count: 3
  slots: 2
  command:
    start: [sbatch, --parsable, --no-requeue, --export=NIL, --output=/dev/null, "--job-name=mayfly-{run}", "{script}"]
    list: [squeue, --noheader, "--name=mayfly-{run}", "--format=%i"]
    stop: [scancel, "{id}"]
    join: 0
END
    mayfly check job.yaml
    assert_exit 0
    start_job
    wait_until '[ "$(query "select count(*) from worker where state = '\''ready'\''")" = 3 ]'
    scancel "$(squeue -h -t R -o %i | head -n 1)"
    wait_until '[ "$(query "select count(*) from worker")" = 4 ]' # another takes its place
    touch gate
    await_end
    assert_exit 0
    seq 100 >wanted
    assert_same out wanted
    assert_equal "$(summary '.workers | "\(.lost) \(.unverified)"')" "1 0"
    assert_equal "$(query "select distinct verified_by from worker")" command
    assert_no_file "$RUN/workers"
    assert_cluster_clean
}

run_cases "$@"
