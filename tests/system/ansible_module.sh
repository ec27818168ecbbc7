#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The module mayfly_run, called as Ansible calls it: with its arguments as JSON. Runs are local ones.
. "$(dirname "$0")/lib.sh"

python=/usr/bin/python3 # Debian's, which has Ansible
"$python" -c 'import ansible.module_utils.basic' 2>/dev/null || skip "this needs Ansible (package ansible-core)"
module=$(readlink -f "$(dirname "$0")/../../ansible/plugins/modules/mayfly_run.py")

# Its answer is in `answer`.
call() { # CODE JSON
    local code=0
    jq -n "{ANSIBLE_MODULE_ARGS: ($2 + {executable: env.MAYFLY_BIN})}" | "$python" "$module" >answer 2>err || code=$?
    [ "$code" = "$1" ] || fail "$(printf 'exit code %s:\n' "$code"; cat answer err)"
}

answer() { # FILTER
    jq -r "$1" answer
}

refused() { # TEXT JSON
    call 1 "$2"
    [[ "$(answer .msg)" == *"$1"* ]] || fail "expected '$1' in: $(answer .msg)"
    [ -z "$(ls "$XDG_STATE_HOME/mayfly/runs" 2>/dev/null)" ] || fail "a run was made"
}

runs() {
    "$MAYFLY_BIN" ls --json | jq length
}

gated() {
    job <<END
mayfly: 1
split: {range: 1-3}
task: {shell: 'until [ -e $PWD/gate ]; do sleep 0.02; done; echo {}'}
END
}

case_a_run_and_its_summary() {
    gated
    touch gate
    call 0 '{job: "job.yaml", params: {"split.range": "1-2"}, hosts: [":/2"], _ansible_check_mode: true}'
    assert_equal "$(answer '"\(.changed) \(.run_id)"')" "true "
    assert_equal "$(runs)" 0
    call 0 '{job: "job.yaml", params: {"split.range": "1-2", "task.retries": 0}, hosts: [":/2"]}'
    assert_equal "$(answer '"\(.changed) \(.joined) \(.state) \(.summary.subtasks.done)"')" "true false succeeded 2"
    assert_same "$(answer .summary.result)" <(seq 2)
    # It is over: looking at it again changes nothing.
    call 0 "{run_id: \"$(answer .run_id)\"}"
    assert_equal "$(answer '"\(.changed) \(.state)"')" "false succeeded"
}

# While the first lives, whatever the hosts are; and after its end, until somebody has seen that.
case_the_same_job_is_joined() {
    local first
    gated
    call 0 '{job: "job.yaml", join: true, wait: false}'
    first=$(answer .run_id)
    call 0 '{job: "./job.yaml", join: true, wait: false, hosts: [":/2"]}'
    assert_equal "$(answer '"\(.run_id) \(.changed) \(.joined)"')" "$first false true"
    call 1 '{job: "job.yaml", join: true, timeout: 1}'
    [[ "$(answer .msg)" == "run $first goes on after 1 s: "* ]] || fail "$(answer .msg)"
    # Killed before it could note what it had started.
    mv "$XDG_STATE_HOME/mayfly-ansible/$(note_name)" "$XDG_STATE_HOME/mayfly-ansible/$(note_name).new"
    touch gate
    call 0 '{job: "job.yaml", join: true, forget: false}'
    assert_equal "$(answer '"\(.run_id) \(.state)"')" "$first succeeded"
    call 0 '{job: "job.yaml", join: true}'
    assert_equal "$(answer .run_id)" "$first"
    assert_equal "$(runs)" 1
    call 0 '{job: "job.yaml", join: true}'
    [ "$(answer .run_id)" != "$first" ] || fail "it was joined after its end had been seen"
}

note_name() {
    printf '["%s/job.yaml", {}]' "$(readlink -f .)" | sha256sum | cut -d' ' -f1
}

# The master has died in the midst: told by who only waits, resumed by who joins.
case_an_interrupted_run() {
    gated
    call 0 '{job: "job.yaml", join: true, wait: false}'
    wait_until "$MAYFLY_BIN status last --json | jq -e '.subtasks.total == 3'"
    kill -KILL "$(sed -n 's/.* process \([0-9]*\)$/\1/p' "$XDG_STATE_HOME/mayfly/runs/$(answer .run_id)/master.log" | head -n 1)"
    call 1 "{run_id: \"$(answer .run_id)\"}"
    [[ "$(answer .msg)" == *" is interrupted; \`mayfly resume "* ]] || fail "$(answer .msg)"
    touch gate
    call 0 '{job: "job.yaml", join: true}'
    assert_equal "$(answer '"\(.joined) \(.state)"')" "true succeeded"
    assert_same "$(answer .summary.result)" <(seq 3)
    assert_equal "$(runs)" 1
}

# Both at once: one starts it, the other one waits and joins.
case_two_at_once() {
    gated
    (call 0 '{job: "job.yaml", join: true, wait: false}') &
    mkdir other
    (
        cd other
        call 0 '{job: "../job.yaml", join: true, wait: false}'
    )
    wait $!
    assert_equal "$(runs)" 1
    assert_equal "$(jq -r .run_id answer)" "$(jq -r .run_id other/answer)"
    touch gate
    call 0 '{job: "job.yaml", join: true}'
}

case_what_fails_says_why() {
    gated
    touch gate
    refused "unknown key 'nonsense'" '{job: "job.yaml", params: {nonsense: 1}}'
    refused "none.yaml" '{job: "none.yaml"}'
    refused "none.yaml" '{job: "none.yaml", join: true}'
    refused "unknown key" '{job: "job.yaml", params: {nonsense: 1}, _ansible_check_mode: true}'
    refused "'a=b' is no key" '{job: "job.yaml", params: {"a=b": 1}}'
    refused "'a,b' is no host" '{job: "job.yaml", hosts: ["a,b"]}'
    refused "expected a number of seconds" '{job: "job.yaml", timeout: -1}'
    refused "one of the following is required: job, run_id" '{wait: false}'
    refused "mutually exclusive: hosts|inventory" '{job: "job.yaml", hosts: ["a"], inventory: "b"}'
    refused "there are no runs yet" '{run_id: "20000101-000000-x-0000"}'
    "$python" "$module" '{"ANSIBLE_MODULE_ARGS": {"job": "job.yaml", "executable": "mayfly-none"}}' \
        >answer 2>err && fail "there is no such program"
    [[ "$(answer .msg)" == *mayfly-none* ]] || fail "$(answer .msg)"
    call 1 '{job: "job.yaml", params: {"task.shell": "exit 3", "task.retries": 0}, join: true}'
    [[ "$(answer .msg)" == *"has ended, failed: more subtasks failed than are tolerated;"* ]] || fail "$(answer .msg)"
    assert_equal "$(answer '"\(.state) \(.summary.subtasks.dead)"')" "failed 3"
    # A failure was seen: the next one is another run.
    call 1 '{job: "job.yaml", params: {"task.shell": "exit 3", "task.retries": 0}, join: true}'
    assert_equal "$(runs)" 2
}

run_cases "$@"
