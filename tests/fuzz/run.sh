#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh PROGRAM CORPUS FOUND: fuzzes for MAYFLY_FUZZ_SECONDS (15). Inputs that find something new, and the one
# that breaks it, are kept in FOUND; the seeds in CORPUS stay as they are.
set -euo pipefail
program=$1 corpus=$2 found=$3
seconds=${MAYFLY_FUZZ_SECONDS:-15}
mkdir -p "$found"
seeds=()
if [ -d "$corpus" ]; then
    seeds=("$corpus")
fi
exec "$program" "-max_total_time=$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
    "-artifact_prefix=$found/broke-" "$found" "${seeds[@]}"
