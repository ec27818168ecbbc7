#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# make_documents.sh FOLDER COUNT [MAN_FOLDER...]: makes up to COUNT documents (PDF) of the manual pages of this machine,
# or of those below the folders, and lets them arrive in FOLDER: each is written under another name and renamed.
set -eu
export LC_ALL=C

fail() {
    echo "make_documents.sh: $*" >&2
    exit 1
}

[ $# -ge 2 ] || fail "usage: make_documents.sh FOLDER COUNT [MAN_FOLDER...]"
command -v groff >/dev/null || fail "groff is not here; run './setup.sh deps documents' or 'apt-get install groff'"
folder=$1 count=$2
shift 2
[ $# -gt 0 ] || set -- /usr/share/man/man1 /usr/share/man/man5 /usr/share/man/man8
mkdir -p "$folder"

# The pages, one a line; those that only lead to another one (.so) are left out by their size.
pages=$(find "$@" -type f -size +1 2>/dev/null | sort | head -n "$count")
[ -n "$pages" ] || fail "there are no manual pages in $*: name a folder that has some"
made=0
for page in $pages; do
    name=${page##*/}
    name=${name%.gz}
    gzip -cdf <"$page" | groff -k -t -man -Tpdf >"$folder/.$name.part" 2>/dev/null || fail "groff cannot set $page"
    mv "$folder/.$name.part" "$folder/$name.pdf"
    made=$((made + 1))
done
echo "make_documents.sh: $made documents are in $folder" >&2
