#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The extract step: writes a plain copy of this machine's package lists to $MAYFLY_PREPARED/Packages.
# apt keeps them compressed or not, as it is configured; apt-helper reads both. Whole or not at all: a
# half-written copy never bears the final name.
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

# The shell sorts what a glob yields: bytewise, since LC_ALL is C.
set -- "$lists"/*_Packages*
[ -e "$1" ] || fail "no package lists in $lists; run 'apt-get update' first"

for list in "$@"; do
    "$helper" cat-file "$list" || fail "cannot read $list; run 'apt-get update' again"
    echo # ends the last paragraph, also when the list does not
done >"$MAYFLY_PREPARED/Packages.part"
[ "$(wc -c <"$MAYFLY_PREPARED/Packages.part")" -gt $# ] || fail "the package lists in $lists are empty; run 'apt-get update' again"
mv "$MAYFLY_PREPARED/Packages.part" "$MAYFLY_PREPARED/Packages"
echo "prepare.sh: $# lists, $(wc -c <"$MAYFLY_PREPARED/Packages") bytes" >&2
