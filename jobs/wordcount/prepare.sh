#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes the descriptions of all packages in this machine's lists to $MAYFLY_PREPARED/descriptions.txt, one a
# line. Whole or not at all: a half-written copy never bears the final name.
set -eu
export LC_ALL=C

fail() {
    echo "prepare.sh: $*" >&2
    exit 1
}

[ -n "${MAYFLY_PREPARED:-}" ] || fail "MAYFLY_PREPARED is not set; run this by 'mayfly run job.yaml'"
helper=/usr/lib/apt/apt-helper
[ -x "$helper" ] || fail "$helper is missing; this job needs the package apt (Debian or a relative of it)"
lists=${MAYFLY_APT_LISTS:-/var/lib/apt/lists}
set -- "$lists"/*_Packages*
[ -e "$1" ] || fail "no package lists in $lists; run 'apt-get update' first"

part=$MAYFLY_PREPARED/descriptions.part
for list in "$@"; do
    "$helper" cat-file "$list" || fail "cannot read $list; run 'apt-get update' again"
done >"$MAYFLY_PREPARED/Packages.part"
sed -n 's/^Description: //p' "$MAYFLY_PREPARED/Packages.part" >"$part"
rm "$MAYFLY_PREPARED/Packages.part"
[ -s "$part" ] || fail "the package lists in $lists hold no descriptions; run 'apt-get update' again"
mv "$part" "$MAYFLY_PREPARED/descriptions.txt"
