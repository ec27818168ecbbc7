/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows the quoting of a POSIX shell line, byte by byte, and says at each place whether a quoted
 * value may be put there without becoming code. When in doubt the answer is no. Never allocates;
 * any thread.
 */
#ifndef MAYFLY_COMMON_SHELL_SCAN_H
#define MAYFLY_COMMON_SHELL_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#define MF_SHELL_DEPTH 32
#define MF_SHELL_HEREDOCS 4
#define MF_SHELL_DELIMITER 64

struct mf_shell_heredoc {
    char delimiter[MF_SHELL_DELIMITER];
    bool strip_tabs;
    bool is_quoted; /* its body is taken as it is */
};

/* Zero-initialised stands before the first byte. */
struct mf_shell_scan {
    unsigned char stack[MF_SHELL_DEPTH]; /* open quotes, substitutions and parentheses */
    size_t depth;
    bool escaped; /* the byte before was an active backslash */
    bool in_word; /* a # here is no comment */
    bool in_comment;
    size_t here_end; /* before this offset: a here-document's delimiter or body */
    struct mf_shell_heredoc heredocs[MF_SHELL_HEREDOCS]; /* announced, their bodies not reached */
    size_t heredoc_count;
    const char *unclear; /* from here on shells differ, or we can't tell: why */
};

/* NULL when a value may be put at offset `at` (the scan stands there), else where it would be, as
 * in "inside double quotes". */
const char *mf_shell_obstacle(const struct mf_shell_scan *scan, size_t at);

/* Goes on over one unit of text (a byte or an operator) at offset `at`; returns the offset behind
 * it. */
size_t mf_shell_step(struct mf_shell_scan *scan, const char *text, size_t at);

/* At the end of the text: a quote, bracket or here-document is still open. */
bool mf_shell_is_open(const struct mf_shell_scan *scan);

/* A value was put at `at`: it is part of a word. */
void mf_shell_value(struct mf_shell_scan *scan);

#endif
