#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The job jobs/etl-packages as a plain Unix pipeline (awk, sort, sqlite3): one pass over the prepared file,
# without splitting. Its output has the same bytes as Mayfly's `result`. Shares no line with the job: versions
# are compared by dpkg itself, dependencies are rows of a table, not JSON.
#
# usage: etl_pipeline.sh PACKAGES >RESULT     (PACKAGES: what prepare.sh wrote)
set -euo pipefail
export LC_ALL=C

if [ $# -ne 1 ] || [ ! -r "$1" ]; then
    echo "usage: etl_pipeline.sh PACKAGES >RESULT" >&2
    exit 2
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/etl-pipeline.XXXXXX")
trap 'rm -rf "$work"' EXIT
tab=$'\t'

# One row a paragraph: name, version, section, installed, size, maintainer, and the dependencies as they stand.
awk 'BEGIN { RS = ""; FS = "\n"; OFS = "\t" }
    {
        delete f
        gsub(/\t/, " ")
        gsub(/\n +/, " ")
        for (i = 1; i <= NF; i++) {
            at = index($i, ": ")
            if (at)
                f[tolower(substr($i, 1, at - 1))] = substr($i, at + 2)
        }
        if (f["package"] != "")
            print f["package"], f["version"], f["section"] ? f["section"] : "unknown", f["installed-size"] + 0,
                  f["size"] + 0, f["maintainer"], f["pre-depends"] "," f["depends"]
    }' "$1" >"$work/all"

# Names that stand once are kept as they are. Of the others the newest version is, and of rows with that
# version the least.
sort -t "$tab" -k1,1 -k2,2 -k3,3 -k4,4n -k5,5n -k6,6 "$work/all" >"$work/sorted"
cut -f1 "$work/sorted" | uniq -d >"$work/several"
join -t "$tab" -v1 "$work/sorted" "$work/several" >"$work/kept"
best_name='' best_version='' best_row=''
while IFS= read -r row; do
    name=${row%%"$tab"*}
    version=${row#*"$tab"}
    version=${version%%"$tab"*}
    if [ "$name" != "$best_name" ]; then
        [ -z "$best_name" ] || printf '%s\n' "$best_row"
    elif [ "$version" = "$best_version" ] || dpkg --compare-versions "$version" lt "$best_version"; then
        continue
    fi
    best_name=$name best_version=$version best_row=$row
done < <(join -t "$tab" "$work/sorted" "$work/several"; printf '\n') >>"$work/kept"

# One row a need: what is needed (the first alternative, without version and architecture), and by whom.
awk 'BEGIN { FS = OFS = "\t" }
    {
        n = split($7, need, " *, *")
        for (i = 1; i <= n; i++) {
            sub(/^ */, "", need[i])
            match(need[i], /^[a-z0-9A-Z.+-]*/)
            if (RLENGTH > 0)
                print substr(need[i], 1, RLENGTH), $1, $4, $5, $6
        }
    }' "$work/kept" | sort -u >"$work/needs"
cut -f1-6 "$work/kept" >"$work/packages"

sqlite3 -batch "$work/etl.db" <<SQL | tr -d '\r'
create table package(name text, version text, section text, installed int, size int, maintainer text);
create table need(needed text, name text, installed int, size int, maintainer text);
.mode ascii
.separator "\t" "\n"
.import '$work/packages' package
.import '$work/needs' need
.mode csv
.headers on
select 'section' as kind, section as name, count(*) as packages, count(distinct maintainer) as maintainers,
       sum(installed) as installed_kib, sum(size) as download_bytes
from package group by section order by 3 desc, 2;
.headers off
select 'needed', needed, count(*), count(distinct maintainer), sum(installed), sum(size)
from need group by needed order by 3 desc, 2 limit 25;
SQL
