#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# count.sh DOCUMENT: the pages of a PDF, as a line of JSON. Exit code 65: it is none; 69: poppler's pdfinfo is not here.
set -eu
export LC_ALL=C.UTF-8

if ! command -v pdfinfo >/dev/null; then
    echo "count.sh: pdfinfo is not on this host: install Debian's package poppler-utils" >&2
    exit 69
fi
pages=$(pdfinfo -- "$1" | sed -n 's/^Pages: *\([0-9][0-9]*\)$/\1/p')
if [ -z "$pages" ]; then
    echo "count.sh: ${1##*/} is not a PDF that poppler can read" >&2
    exit 65
fi
name=$(printf '%s' "${1##*/}" | sed 's/[\\"]/\\&/g')
printf '{"document": "%s", "pages": %s}\n' "$name" "$pages"
