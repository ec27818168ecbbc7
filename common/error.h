/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: a code that decides what happens next and a sentence for the reader.
 *
 * Functions that can fail take `struct mf_error *error` last and return -1 or NULL. The sentence
 * names the thing, the place and the remedy. An error is returned or logged, never both. `error`
 * may be NULL where nobody reads it.
 */
#ifndef MAYFLY_COMMON_ERROR_H
#define MAYFLY_COMMON_ERROR_H

enum mf_code {
    MF_OK = 0,
    MF_EUSAGE = 1,    /* wrong command line or job file: exit code 2 */
    MF_ESETUP = 2,    /* cannot be carried out here: no host, no disk, no place: exit code 3 */
    MF_ENOMEM = 3,    /* memory is exhausted: exit code 3 */
    MF_ESYSTEM = 4,   /* a system call or library failed: exit code 3 */
    MF_EINPUT = 5,    /* an input vanished, changed or is malformed: exit code 1 */
    MF_EPROTOCOL = 6, /* a peer said something that it must not say */
    MF_EFULL = 7      /* a disk is full: what failed may pass when there is room: exit code 3 */
};

struct mf_error {
    int code; /* enum mf_code */
    char text[1016];
};

/* Fills *error (if not NULL; a longer sentence is cut) and returns -1. */
int mf_raise(struct mf_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As mf_raise with MF_ESYSTEM; ": " and the text of errno (as it is on entry) are appended. */
int mf_raise_errno(struct mf_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * As mf_raise_errno, of a write: the remedy is appended. MF_EFULL when there is no room (disk,
 * quota, limit on the size of files), MF_ESETUP otherwise. Not for a sync that failed: what it left
 * behind is not known, so it cannot be tried again.
 */
int mf_raise_write(struct mf_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts "prefix: " before the text that *error already holds, keeps its code, returns -1. */
int mf_error_prefix(struct mf_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * The same, with a -1 that compilers and analysers can see: without it they follow paths on which a
 * failure was raised and not returned.
 */
#define mf_raise(...)                                                                              \
    __extension__({                                                                                \
        mf_raise(__VA_ARGS__);                                                                     \
        -1;                                                                                        \
    })
#define mf_raise_errno(...)                                                                        \
    __extension__({                                                                                \
        mf_raise_errno(__VA_ARGS__);                                                               \
        -1;                                                                                        \
    })
#define mf_raise_write(...)                                                                        \
    __extension__({                                                                                \
        mf_raise_write(__VA_ARGS__);                                                               \
        -1;                                                                                        \
    })
#define mf_error_prefix(...)                                                                       \
    __extension__({                                                                                \
        mf_error_prefix(__VA_ARGS__);                                                              \
        -1;                                                                                        \
    })

/* The exit code of the command line for an enum mf_code. */
int mf_error_exit_code(int code);

#endif
