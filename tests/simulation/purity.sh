#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Purity of the scheduler: its objects import nothing but what the list below names.
#     purity.sh libmayfly_schedule.a
set -eu
archive=$1
allowed='
memcpy memmove memset memcmp
mf_malloc mf_calloc mf_realloc mf_free mf_raise
__memcpy_chk __memmove_chk __memset_chk __stack_chk_fail _GLOBAL_OFFSET_TABLE_ __clzdi2
'

defined=$(nm --defined-only "$archive" | awk 'NF == 3 { print $3 }')
[ -n "$defined" ] || { echo "simulation.purity: $archive defines nothing" >&2; exit 1; }
impure=$(nm -u "$archive" | awk '$1 == "U" { print $2 }' | sort -u | while read -r name; do
    # shellcheck disable=SC2086 # words, not lines
    printf '%s\n' $allowed $defined | grep -qxF "$name" || echo "$name"
done)
if [ -n "$impure" ]; then
    echo "simulation.purity: the scheduler must be pure, but it imports: $impure" >&2
    exit 1
fi
echo "simulation.purity: the scheduler imports memory functions, our allocator and our error text, and nothing else"
