#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Outputs on hosts that are not what the job says, or do not stay what they are while they are sent.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts_lib.sh"
. "$(dirname "$0")/ssh_bad_lib.sh"

case_a_glob_that_matches_nothing() {
    hosts_start 2
    job <<'END'
mayfly: 1
split: {range: 1-4}
task: {shell: 'n={}; [ $n = 3 ] || echo $n >"out.$n"', outputs: ["out.*"]}
tolerate: 1
END
    over_ssh run_job --hosts "$(entries 1 2)"
    assert_equal "$(counts)" "3 0 1 0"
    assert_equal "$(summary .state)" partial
    assert_contains err "subtask 3 failed on h"
    assert_contains err 'output missing: outputs: "out.*" matches nothing in the attempt'"'"'s folder: mend the glob, or let the command make such a file'
    assert_hosts_clean
}

# After its attempt has ended, somebody on the host writes to a large output while it travels: what came home is neither
# the old one nor the new one, and so it is no result.
case_an_output_that_changes() {
    local how
    hosts_start 1
    job <<'END'
mayfly: 1
split: {range: 1-1}
task: {shell: 'head -c 100000000 /dev/zero >large', outputs: large}
END
    for how in 'oflag=append conv=notrunc,nocreat' 'conv=notrunc,nocreat' 'seek=1M oflag=seek_bytes conv=nocreat'; do
        over_ssh start_job --hosts "$(entries 1)"
        # shellcheck disable=SC2016
        host_exec 1 timeout 30 bash -c '
            until file=$(compgen -G "/home/etl/.cache/mayfly/runs/*/*/attempts/*.out/*"); do :; done
            while [ -e "$file" ]; do printf x | dd of="$file" status=none '"$how"' 2>/dev/null || :; done'
        await_end
        assert_exit 1
        assert_equal "$(counts)" "0 0 1 0"
        assert_contains err "something on this host writes to it after its attempt has ended"
        assert_contains err "subtask 1 failed on h1: worker error: "
        assert_equal "$(find "$RUN" -path '*/outputs/*' -type f)" ""
        assert_nothing_left "$RUN_ID"
        assert_hosts_clean
    done
}

run_cases "$@"
