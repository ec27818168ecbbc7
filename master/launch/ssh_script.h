/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few shell lines that run on a host, before the worker's program is there and to start it.
 * They are read by whatever login shell the account has and then by any POSIX sh: in single quotes,
 * so without quotes, backslashes, exclamation marks and line ends of their own.
 */
#ifndef MAYFLY_MASTER_LAUNCH_SSH_SCRIPT_H
#define MAYFLY_MASTER_LAUNCH_SSH_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes of the lines; others are those of the worker's program. */
enum {
    SCRIPT_NO_PROGRAM = 91,   /* the worker's program of this version is not there */
    SCRIPT_WRONG_SYSTEM = 92, /* another operating system or architecture */
    SCRIPT_OLD_KERNEL = 93,
    SCRIPT_NO_PLACE = 94, /* no folder is writable and executable; reasons on standard error */
    SCRIPT_NO_COPY = 95,  /* the program did not arrive whole (no space, cut off) */
    SCRIPT_NO_PART = 96   /* what was there of the program is no good, or gone: begin anew */
};

#define SCRIPT_KERNEL_MIN "4.4"

/* What an earlier copy has left of the program. */
struct script_part {
    char name[128]; /* of the file; "" = nothing, or it is not to be used */
    unsigned kib;   /* how much of it is used */
    unsigned kept_s;
};

/* All return text on the heap, NULL when memory is exhausted. `sha256` names the version of the
 * program (hexadecimal), `machine` is uname -m of what it was built for. */

/*
 * Prints "mayfly 1 system <uname -srm>", then becomes `mayfly-worker ARGUMENTS`. When that is not
 * there, "mayfly 1 part <KiB> <name>" for each beginning of it that is.
 */
char *script_program(const char *sha256, const char *machine, const char *arguments);
/*
 * Puts its standard input in place as the program of `size` bytes, by rename; with a part the input
 * is what comes behind the first `kib` KiB, and the whole has to have that checksum. When the input
 * ends too early, what has come is kept as a part for `kept_s` seconds, and then removed by a shell
 * that waits for that. Everything below bin/<sha256> is a beginning of the same bytes, so that
 * whatever two masters do there at once, they do not mix; the first to be through is so for all.
 */
char *script_upload(const char *sha256, size_t size, const struct script_part *part);
/*
 * Looks at the host and changes nothing: "mayfly 1 system ...", "mayfly 1 facts <cores> <memory
 * KiB> <epoch seconds>", "mayfly 1 user <name>", "mayfly 1 place <path> <free KiB>", "mayfly 1
 * program yes|no"; "mayfly 1 passed <reasons>" when another place came first.
 */
char *script_check(const char *sha256, const char *machine, size_t size);

#endif
