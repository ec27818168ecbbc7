#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Workers on 64 test hosts, each with an sshd of its own and the stock MaxStartups (root is needed): from the start of
# mayfly until all workers have joined, beside one `true` on all of them by pdsh or by clush (whichever is faster) with
# OpenSSH's defaults. With the worker's program there already; and with its copy, beside that and `scp` to all of them.
# Milliseconds, in turns.
# usage: launch64.sh     environment: ROUNDS, HOSTS_NUMBER (64), MAYFLY (build/release/mayfly), BENCH_DIR
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

number=${HOSTS_NUMBER:-64}
mayfly=${MAYFLY:-$source_folder/build/release/mayfly}
need "$mayfly" "run './setup.sh build' first"
need /usr/bin/pdsh "run './setup.sh deps bench' first"
need /usr/bin/clush "run './setup.sh deps bench' first"

# What hosts_lib.sh wants of the lib.sh of the tests.
skip() {
    fail "$*"
}
clean_up() {
    cleanup
}
WORK=$scratch/work MAYFLY_BIN=$(readlink -f "$mayfly")
mkdir "$WORK"
# shellcheck source=tests/system/hosts_lib.sh
. "$source_folder/tests/system/hosts_lib.sh"
hosts_start "$number"

# shellcheck disable=SC2154 # hosts_lib.sh gives hosts_network
{
    list=$(seq -f "etl@$hosts_network.%g" "$number" | paste -sd,)
    all="$hosts_network.[1-$number]"
}
ssh_options=(-F none -i "$HOSTS/id_ed25519" -o BatchMode=yes -o IdentitiesOnly=yes -o LogLevel=ERROR
    -o GlobalKnownHostsFile=none -o "UserKnownHostsFile=$HOSTS/known_hosts")
cat >"$scratch/many.yaml" <<END
mayfly: 1
split: {range: 1-$number}
task: {shell: sleep 1}
workers: {slots: 1}
END

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

run_pdsh() {
    hosts_run env PDSH_SSH_ARGS="${ssh_options[*]} -l%u %h" pdsh -R ssh -S -l etl -f "$number" -w "$all" true
}

run_clush() {
    hosts_run clush -S -q -l etl -f "$number" -o "${ssh_options[*]}" -w "$all" true
}

copy_to_all() {
    seq -f "etl@$hosts_network.%g:copy" "$number" |
        hosts_run xargs -P "$number" -I{} scp -q "${ssh_options[@]}" "$mayfly-worker" {}
}

# Milliseconds from the start of mayfly until the last worker had joined, and until the first subtask began. Each host
# has its worker, or the figures are worth nothing.
all_joined() { # OPTION...
    local start row
    start=$(now_us)
    "$MAYFLY_BIN" run "$scratch/many.yaml" -q --hosts "$list" -i "$HOSTS/id_ed25519" --known-hosts "$HOSTS/known_hosts" \
        --json "$@" >"$scratch/summary" 2>"$scratch/err" || fail "$(cat "$scratch/err")"
    row=$("$MAYFLY_BIN" sql last "select count(joined_us) || ' ' || max(joined_us) || ' ' ||
        (select min(started_us) from attempt) from worker" | tail -n 1)
    [ "${row%% *}" = "$number" ] || fail "not all $number workers have joined: $row"
    awk -v start="$start" '{ printf "%.1f %.1f\n", ($2 - start) / 1000, ($3 - start) / 1000 }' <<<"$row"
}

for ((round = 1; round <= rounds; round++)); do
    all_joined --keep-worker >/dev/null
    all_joined --keep-worker >>"$scratch/warm"
    ms run_pdsh >>"$scratch/pdsh"
    ms run_clush >>"$scratch/clush"
    all_joined >/dev/null # takes the program away at its end
    all_joined >>"$scratch/cold"
    ms copy_to_all >>"$scratch/scp"
done
peer=$(printf '%s\n' "$(median <"$scratch/pdsh")" "$(median <"$scratch/clush")" | sort -n | head -n 1)
copy=$(median <"$scratch/scp")
joined=$(cut -d' ' -f1 "$scratch/cold" | median)
head_line
figure "$number workers joined / true there" "$(cut -d' ' -f1 "$scratch/warm" | median)" "$peer" "<= 0.8"
figure "with the copy / 0.8 x that + scp" "$joined" "$(awk -v a="$peer" -v b="$copy" 'BEGIN { print 0.8 * a + b }')" "<= 1.0"
figure "the first subtask / all joined" "$(cut -d' ' -f2 "$scratch/cold" | median)" "$joined" "< 1.0"
echo "pdsh: $(median <"$scratch/pdsh") ms; clush: $(median <"$scratch/clush") ms; scp: $copy ms"
