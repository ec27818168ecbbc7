#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# jobs/etl-packages/transform.awk on paragraphs that real lists seldom hold, and its version order against
# dpkg's own. Needs no Mayfly. usage: etl_transform.sh [SOURCE_FOLDER]
set -euo pipefail
export LC_ALL=C

source=${1:-$(dirname "$0")/../..}
transform=$source/jobs/etl-packages/transform.awk
work=$(mktemp -d "${TMPDIR:-/tmp}/etl-transform.XXXXXX")
trap 'rm -rf "$work"' EXIT
failures=0

# expect NAME WANTED: compares standard input with WANTED.
expect() {
    local got
    got=$(cat)
    if [ "$got" != "$2" ]; then
        printf 'FAIL %s\n  wanted %s\n  got    %s\n' "$1" "$2" "$got"
        failures=$((failures + 1))
    fi
}

# One row, without the header and the version's order.
row() {
    awk -f "$transform" | sed 1d | sed 's/,"[0-9][^"]*1","/,"/'
}

printf 'Package: a\nVersion: 1\nSection: utils\nInstalled-Size: 12\nSize: 345\nMaintainer: A "B" <c@d>\n\n' | row |
    expect "quotes in a maintainer" '"a","1","utils",12,345,"A ""B"" <c@d>","[]"'
printf 'Package: a\nVersion: 1\nDepends: x (>= 1),\n y | z,\n\tp:any, x\nPre-Depends: q\nTag: t::u,\n v::w\n' | row |
    expect "several lines, alternatives, architectures, a name twice" \
        '"a","1","unknown",0,0,"","[""q"",""x"",""y"",""p""]"'
printf '\n\n\nPackage: a\r\nVersion: 1\r\nInstalled-Size: 1e9\r\n\r\n\n\n' | row |
    expect "CR LF, empty lines around, a size that is no number" '"a","1","unknown",0,0,"","[]"'
printf 'Package: a\nVersion: 1\n\nPACKAGE: b\nversion: 2' | row |
    expect "no newline at the end, field names in capitals" \
        $'"a","1","unknown",0,0,"","[]"\n"b","2","unknown",0,0,"","[]"'
printf 'Source: s\nVersion: 1\n\n continued\nno colon\n' | row | expect "a paragraph that is no package" ''
printf '' | awk -f "$transform" |
    expect "no input" 'name,version,version_order,section,installed_kib,download_bytes,maintainer,dependencies'

# Each pair of these, in this order, must be ordered as dpkg orders it.
versions=(0~ 0 1 1~rc1 1.0~~ 1.0~ 1.0 1.0-0 1.0-1 1.0-1~deb12u1 1.0-1+b1 1.0-10 1.0-9 1.0a 1.0+ 1.0.1 1.01 1.1
    1:0 2:0.1-3 10 9 1.0-1-1 2023.01.01 1.9999999999999999999 1.10000000000000000000 1a2b 1a10b)
for v in "${versions[@]}"; do
    printf 'Package: p\nVersion: %s\n\n' "$v"
done | awk -f "$transform" | sed 1d | cut -d'"' -f6 >"$work/orders"
mapfile -t orders <"$work/orders"
[ "${#orders[@]}" -eq "${#versions[@]}" ] || { echo "FAIL ${#orders[@]} orders of ${#versions[@]} versions"; exit 1; }
for i in "${!versions[@]}"; do
    for ((j = 0; j < i; j++)); do
        if [[ ${orders[i]} < ${orders[j]} ]]; then relation=lt
        elif [[ ${orders[i]} == "${orders[j]}" ]]; then relation=eq
        else relation=gt; fi
        if ! dpkg --compare-versions "${versions[i]}" "$relation" "${versions[j]}"; then
            echo "FAIL version ${versions[i]} is not $relation ${versions[j]}"
            failures=$((failures + 1))
        fi
    done
done

[ "$failures" -eq 0 ] || { echo "$failures failed"; exit 1; }
echo "transform.awk: all as expected"
