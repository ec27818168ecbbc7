#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Text on standard input; its words and how often each stands there, as CSV, on standard output. A word is a
# run of ASCII letters (the job sets LC_ALL=C), in lower case.
set -eu
echo word,n
tr -cs '[:alpha:]' '\n' | tr '[:upper:]' '[:lower:]' | sort | uniq -c | awk '$2 != "" { print $2 "," $1 }'
