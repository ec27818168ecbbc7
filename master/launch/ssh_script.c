/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shell lines: see ssh_script.h. $p goes over the places in the order of worker/place.c. A program
 * is only executed, and a place only used, when it belongs to the account and nobody else can write
 * there: /tmp and /var/tmp are open to all. Each program that is run costs a host a millisecond,
 * and of many workers there may be many on one: the user's number is only asked for when it is
 * needed.
 */
#include "master/launch/ssh_script.h"

#include <stdio.h>

#include "common/alloc.h"

#define PLACES                                                                                     \
    "${XDG_CACHE_HOME:+\"$XDG_CACHE_HOME/mayfly\"} \"$HOME/.cache/mayfly\" "                       \
    "/var/tmp/mayfly- /tmp/mayfly-"

/* Ends the names of those that are the account's by its number. */
#define END_NAME "case $p in */mayfly-) p=$p$(id -u);; esac; "

/* $1: uname -m that is expected. The kernel's version is compared as one number. */
#define CHECK_SYSTEM                                                                               \
    "m=$1; u=$(uname -srm); echo \"mayfly 1 system $u\"; set -- $u; "                              \
    "[ \"$1 $3\" = \"Linux $m\" ] || exit 92; "                                                    \
    "k=${2%%%%-*}; a=${k%%%%.*}; b=${k#*.}; b=${b%%%%.*}; [ $((a*100+b)) -ge 404 ] || exit 93; "

/* Takes back what was made of the folder $d below $p; an empty .cache was most likely made by us.
 */
#define LEAVE                                                                                      \
    "rmdir \"$d\" \"$p/bin\" \"$p\" 2>/dev/null; "                                                 \
    "case $p in */.cache/mayfly) rmdir \"${p%%/*}\" 2>/dev/null;; esac; "

/* $p is a folder of ours that nobody else can write to. */
#define IS_OURS "[ -O \"$p\" ] && case $(ls -ld \"$p\") in d?\?\?\?-?\?-*) true;; *) false;; esac"

/* Whether the file $t can have so many KiB: a quota does not show in what df says, and when the
 * program is under way it is too late for another place. */
#define FILL(kib) "dd if=/dev/zero of=\"$t\" bs=1024 count=" kib " 2>/dev/null"
#define NO_ROOM(kib)                                                                               \
    " takes no file of " kib " KiB (is there a quota of the account, or a limit on files?);"

/* A part may be taken away while it is looked at: without its size it is none. */
char *script_program(const char *sha256, const char *machine, const char *arguments)
{
    return mf_format(
        "sh -c 's=$1; shift; " CHECK_SYSTEM "for p in " PLACES "; do " END_NAME
        "w=$p/bin/$s/mayfly-worker; if [ -x \"$w\" ] && " IS_OURS "; then exec \"$w\" %s; fi; "
        "for f in \"$p/bin/$s\"/.part-* \"$p/bin/$s\"/.new-*; do [ -f \"$f\" ] && " IS_OURS
        " && z=$(wc -c < \"$f\") && echo \"mayfly 1 part $((z/1024)) ${f##*/}\"; done; "
        "done; exit 91' mayfly %s %s",
        arguments,
        sha256,
        machine);
}

/* The beginning of the program into $t: nothing, or $c KiB of $o. That of a copy which was cut is
 * taken (by one, if several try); another one may be written to still, and is copied. */
#define BEGIN_FILE                                                                                 \
    "case $o in -) true > \"$t\";; "                                                               \
    ".part-*) mv \"$d/$o\" \"$t\" && dd if=/dev/null of=\"$t\" bs=1024 seek=\"$c\";; "             \
    "*) dd if=\"$d/$o\" of=\"$t\" bs=1024 count=\"$c\";; esac 2>/dev/null"

/* Whether $t is the program: SSH sees to it that what it carries is right; of what lay here only
 * the checksum tells. */
#define IS_WHOLE "{ [ \"$o\" = - ] || [ \"$(sha256sum < \"$t\")\" = \"$s  -\" ]; }"

/* Nothing more came: what is there waits for a while to be taken by the next try. */
#define KEEP_PART                                                                                  \
    "q=$d/.part-$h; mv -f \"$t\" \"$q\"; (i=0; while [ -f \"$q\" ] && [ $i -lt $l ]; do sleep 1; " \
    "i=$((i+1)); done; rm -f \"$q\"; " LEAVE ") < /dev/null > /dev/null 2>&1 & exit 95"

#define RECEIVE                                                                                    \
    "t=$d/.new-$h; w=$d/mayfly-worker; " BEGIN_FILE " && chmod 700 \"$t\" || "                     \
    "{ rm -f \"$t\" \"$d/.fill-$h\"; " LEAVE "exit 96; }; rm -f \"$d/.fill-$h\"; "                 \
    "if cat >> \"$t\"; then "                                                                      \
    "[ -f \"$t\" ] || { [ -x \"$w\" ] && exit 0; " LEAVE "exit 96; }; "                            \
    "z=$(($(wc -c < \"$t\")+0)); "                                                                 \
    "if [ $z -eq \"$n\" ] && " IS_WHOLE " && mv -f \"$t\" \"$w\"; then "                           \
    "rm -f \"$d\"/.part-* \"$d\"/.new-*; exit 0; fi; "                                             \
    "if [ $z -lt \"$n\" ] && [ $z -ge 1024 ] && sha256sum < /dev/null > /dev/null 2>&1; "          \
    "then " KEEP_PART "; fi; "                                                                     \
    "rm -f \"$t\"; " LEAVE "[ \"$o\" = - ] || exit 96; exit 95; fi; "                              \
    "rm -f \"$t\"; " LEAVE "exit 95; "

/* A part that does not fit goes, so that the next copy, which begins anew, has its room. */
#define DROP_PART "[ \"$o\" = - ] || { rm -f \"$d/$o\" \"$t\"; " LEAVE "exit 96; }; "

/* The file $t keeps the folder: until it is there, whoever leaves may take that away, and each of
 * the folders above it (LEAVE): tried again as often. */
#define BEGIN_PLACE "{ mkdir -p \"$d\" && " IS_OURS " && (true > \"$t\"); } 2>/dev/null"

char *script_upload(const char *sha256, size_t size, const struct script_part *part)
{
    return mf_format("sh -c 's=$1 n=$2 k=$3 o=$4 c=$5 l=$6 e=; umask 077; h=$(uname -n)-$$; "
                     "for p in " PLACES "; do " END_NAME "d=$p/bin/$s; t=$d/.fill-$h; "
                     "[ \"$o\" = - ] || [ -f \"$d/$o\" ] || continue; "
                     "if " BEGIN_PLACE " || " BEGIN_PLACE " || " BEGIN_PLACE " || " BEGIN_PLACE
                     "; then "
                     "chmod 700 \"$t\"; "
                     "if [ -x \"$t\" ]; then set -- $(df -Pk \"$d\" | tail -n 1); "
                     "if [ \"${4:-0}\" -ge \"$k\" ]; then "
                     "if " FILL("$k") "; then true > \"$t\"; " RECEIVE "else e=\"$e $p" NO_ROOM(
                         "$k") "\"; fi; "
                               "else e=\"$e $p has only ${4:-0} KiB free, $k are needed;\"; fi; "
                               "else e=\"$e $p is on a file system mounted noexec;\"; fi; "
                               "rm -f \"$t\"; else e=\"$e $p cannot be written or is not ours "
                               "alone;\"; fi; " DROP_PART LEAVE "done; [ \"$o\" = - ] || exit 96; "
                               "echo \"no place for the worker:$e\" >&2; "
                               "exit 94' mayfly %s %zu %zu %s %u %u",
                     sha256,
                     size,
                     size / 1024 + 1024,
                     part->name[0] == '\0' ? "-" : part->name,
                     part->kib,
                     part->kept_s);
}

/* The nearest folder that is there tells whether the place could be made; only a file of a moment
 * is written, as large as the program. */
char *script_check(const char *sha256, const char *machine, size_t size)
{
    return mf_format(
        "sh -c 's=$1 n=$2 e=; shift; shift; " CHECK_SYSTEM
        "echo \"mayfly 1 facts $(getconf _NPROCESSORS_ONLN) "
        "$(sed -n \"s/^MemTotal: *//p\" /proc/meminfo | tr -dc 0-9) $(date +%%s)\"; "
        "echo \"mayfly 1 user $(id -un 2>/dev/null)\"; "
        "for p in " PLACES "; do " END_NAME
        "w=$p/bin/$s/mayfly-worker; if [ -x \"$w\" ] && " IS_OURS
        "; then echo \"mayfly 1 program yes\"; set -- $(df -Pk \"$p\" | tail -n 1); "
        "echo \"mayfly 1 place ${4:-0} $p\"; exit 0; fi; done; echo \"mayfly 1 program no\"; "
        "umask 077; for p in " PLACES "; do " END_NAME
        "q=$p; until [ -d \"${q:-/}\" ]; do q=${q%%/*}; done; "
        "t=${q:-/}/.mayfly-probe-$$; o=yes; x=no; f=0; r=yes; "
        "if [ \"$q\" = \"$p\" ]; then " IS_OURS " || o=no; fi; "
        "if [ $o = yes ] && (true > \"$t\") 2>/dev/null; then "
        "chmod 700 \"$t\"; [ -x \"$t\" ] && x=yes; "
        "set -- $(df -Pk \"${q:-/}\" | tail -n 1); f=${4:-0}; "
        "[ $x = no ] || [ \"$f\" -lt \"$n\" ] || " FILL(
            "$n") " || r=no; "
                  "rm -f \"$t\"; else o=no; fi; "
                  "if [ $o = no ]; then e=\"$e $p cannot be written or is not ours alone;\"; "
                  "elif [ $x = no ]; then e=\"$e $p is on a file system mounted noexec;\"; "
                  "elif [ \"$f\" -lt \"$n\" ]; then e=\"$e $p has only $f KiB free, $n are "
                  "needed;\"; "
                  "elif [ $r = no ]; then e=\"$e $p" NO_ROOM(
                      "$n") "\"; "
                            "else [ -z \"$e\" ] || echo \"mayfly 1 passed${e%%;}\"; "
                            "echo \"mayfly 1 place $f $p\"; exit 0; fi; done; "
                            "echo \"no place for the worker:$e\" >&2; exit 94' mayfly %s %zu %s",
        sha256,
        size / 1024 + 1024,
        machine);
}
