#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# book.sh ACCOUNT AMOUNT MESSAGE: books the amount (negative: a withdrawal) in ~/ledger/ACCOUNT.csv and prints the entry.
# Exit code 65: the booking is none, or is not covered. A booking that is made already is not made again: an attempt may
# be executed more than once, and MESSAGE, its number in the queue, tells.
set -eu
export LC_ALL=C

refuse() {
    echo "book.sh: $*" >&2
    exit 65
}

account=$1 amount=$2 message=$3
case $account in
'' | *[!a-z0-9-]*) refuse "an account is of small letters, digits and -" ;;
esac
case ${amount#-} in
'' | 0* | *[!0-9]* | ??????????*) refuse "the amount is not a whole number other than 0, of at most nine digits" ;;
esac

header=message,amount,balance
ledger=$HOME/ledger/$account.csv
entries=$header last=$header
if [ -e "$ledger" ]; then
    entries=$(cat "$ledger")
    last=$(tail -n 1 "$ledger")
fi
if [ "${last%%,*}" != "$message" ]; then
    balance=0
    [ "$last" = "$header" ] || balance=${last##*,}
    balance=$((balance + amount))
    [ "$balance" -ge 0 ] || refuse "$account has $((balance - amount)): a withdrawal of ${amount#-} is not covered"
    last=$message,$amount,$balance
    # Whole or not at all.
    mkdir -p "$HOME/ledger"
    printf '%s\n' "$entries" "$last" >"$ledger.new"
    mv "$ledger.new" "$ledger"
fi
printf '%s\n' "$header" "$last"
