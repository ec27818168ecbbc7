/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quoting of a shell line: see shell_scan.h.
 *
 * A stack holds what is open. Contexts that take bytes as they are (single quotes, backticks) are
 * leaves; a command substitution starts afresh whatever it stands in. Where dash, bash and others
 * read a line differently (`$'`, `((`, quotes within ${}), or where telling would need a whole
 * parser (case within a substitution), the scan becomes "unclear" and stays so: that costs a
 * refused job file, never a value that is executed.
 */
#include "common/shell_scan.h"

#include <string.h>

enum context { CODE, SINGLE, DOUBLE, BACKTICK, SUBSTITUTION, PARENTHESIS, ARITHMETIC, BRACES };

static enum context top(const struct mf_shell_scan *scan)
{
    return scan->depth == 0 ? CODE : (enum context)scan->stack[scan->depth - 1];
}

/* The context that decides how bytes are read: parentheses only group. */
static enum context effective(const struct mf_shell_scan *scan)
{
    for (size_t i = scan->depth; i > 0; i--) {
        if (scan->stack[i - 1] == SUBSTITUTION)
            return CODE;
        if (scan->stack[i - 1] != PARENTHESIS)
            return (enum context)scan->stack[i - 1];
    }
    return CODE;
}

static void push(struct mf_shell_scan *scan, enum context context)
{
    if (scan->depth == MF_SHELL_DEPTH)
        scan->unclear = "in a line that is nested too deeply";
    else
        scan->stack[scan->depth++] = (unsigned char)context;
}

static void pop(struct mf_shell_scan *scan)
{
    scan->depth--;
}

static bool is_within_substitution(const struct mf_shell_scan *scan)
{
    return memchr(scan->stack, SUBSTITUTION, scan->depth) != NULL;
}

/* `$` and what may follow it, the same in code, double quotes, braces and arithmetic. 0: nothing
 * special. */
static size_t open_dollar(struct mf_shell_scan *scan, const char *p)
{
    if (p[1] == '(' && p[2] == '(') {
        push(scan, ARITHMETIC);
        return 3;
    }
    if (p[1] == '(') {
        push(scan, SUBSTITUTION);
        scan->in_word = false;
        return 2;
    }
    if (p[1] == '{') {
        push(scan, BRACES);
        return 2;
    }
    if (p[1] == '[')
        scan->unclear = "behind $[, which shells read differently";
    if (p[1] == '\'' && effective(scan) == CODE)
        scan->unclear = "behind $', which shells read differently";
    return 0;
}

/* A backslash: what follows is taken as it is; a line that goes on is joined as if nothing stood
 * here. */
static size_t step_backslash(struct mf_shell_scan *scan, const char *text, size_t at)
{
    if (text[at + 1] != '\n') {
        scan->escaped = true;
        return at + 1;
    }
    if (at > 0 && strchr("$<(){", text[at - 1]) != NULL)
        scan->unclear = "behind an operator that goes on in the next line";
    return at + 2;
}

static bool ends_word(char c)
{
    return c == '\0' || strchr(" \t\n;&|()<>", c) != NULL;
}

/* `<<` at p: remembers the delimiter, whose quotes are taken off. Returns where the delimiter ends.
 */
static size_t announce_heredoc(struct mf_shell_scan *scan, const char *text, size_t at)
{
    if (scan->heredoc_count == MF_SHELL_HEREDOCS) {
        scan->unclear = "behind too many here-documents";
        return at;
    }
    struct mf_shell_heredoc *heredoc = &scan->heredocs[scan->heredoc_count++];
    size_t length = 0;
    char quote = '\0';
    heredoc->strip_tabs = text[at] == '-';
    heredoc->is_quoted = false;
    at += heredoc->strip_tabs ? 1 : 0;
    while (text[at] == ' ' || text[at] == '\t')
        at++;
    if (text[at] == '\\' && text[at + 1] == '\n')
        scan->unclear = "behind a here-document whose delimiter is in the next line";
    for (; text[at] != '\0' && (quote != '\0' || !ends_word(text[at])); at++) {
        if (text[at] == quote) {
            quote = '\0';
        } else if (quote == '\0' && (text[at] == '\'' || text[at] == '"')) {
            quote = text[at];
            heredoc->is_quoted = true;
        } else if (text[at] == '\\' && text[at + 1] == '\n') {
            scan->unclear = "behind a here-document whose delimiter goes on in the next line";
        } else if (text[at] == '\\' && quote == '\0') {
            heredoc->is_quoted = true;
        } else {
            if (length + 1 < MF_SHELL_DELIMITER)
                heredoc->delimiter[length++] = text[at];
            else
                scan->unclear = "behind a here-document with a very long delimiter";
        }
    }
    heredoc->delimiter[length] = '\0';
    return at;
}

/* What makes shells look further than the next line when they search for the end of a
 * here-document. */
static bool is_plain_body_line(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (line[i] == '`' ||
            (line[i] == '$' && i + 1 < length && (line[i + 1] == '(' || line[i + 1] == '{')))
            return false;
    }
    return length == 0 || line[length - 1] != '\\';
}

/* The offset behind the bodies of all announced here-documents, the first of which starts at `at`.
 */
static size_t bodies_end(struct mf_shell_scan *scan, const char *text, size_t at)
{
    for (size_t i = 0; i < scan->heredoc_count; i++) {
        const struct mf_shell_heredoc *heredoc = &scan->heredocs[i];
        size_t wanted = strlen(heredoc->delimiter);
        for (bool found = false; !found && text[at] != '\0';) {
            const char *line = text + at;
            if (heredoc->strip_tabs)
                line += strspn(line, "\t");
            size_t length = strcspn(line, "\n");
            found = length == wanted && memcmp(line, heredoc->delimiter, wanted) == 0;
            if (!found && !heredoc->is_quoted && !is_plain_body_line(line, length))
                scan->unclear = "behind a here-document with substitutions in it";
            at = (size_t)(line - text) + length + (line[length] == '\n' ? 1 : 0);
        }
    }
    scan->heredoc_count = 0;
    return at;
}

static size_t close_parenthesis(struct mf_shell_scan *scan, const char *p)
{
    if (top(scan) == ARITHMETIC) {
        if (p[1] != ')')
            scan->unclear = "behind $((, which is not closed by ))";
        pop(scan);
        return p[1] == ')' ? 2 : 1;
    }
    scan->in_word = top(scan) == SUBSTITUTION;
    if (top(scan) == SUBSTITUTION || top(scan) == PARENTHESIS)
        pop(scan);
    return 1;
}

static size_t step_code(struct mf_shell_scan *scan, const char *text, size_t at)
{
    const char *p = text + at;
    bool was_in_word = scan->in_word;
    size_t used = 1;
    if (*p == '\\') {
        scan->in_word = was_in_word || p[1] != '\n';
        return step_backslash(scan, text, at);
    }
    scan->in_word = !ends_word(*p);
    if (*p == '#' && !was_in_word) {
        scan->in_comment = true;
    } else if (*p == '\'') {
        push(scan, SINGLE);
    } else if (*p == '"') {
        push(scan, DOUBLE);
    } else if (*p == '`') {
        push(scan, BACKTICK);
    } else if (*p == '$') {
        size_t opened = open_dollar(scan, p);
        used = opened == 0 ? 1 : opened;
    } else if (*p == '(') {
        if (p[1] == '(' || (at > 0 && text[at - 1] == '='))
            scan->unclear = "behind (( or =(, which shells read differently";
        push(scan, PARENTHESIS);
    } else if (*p == ')') {
        used = close_parenthesis(scan, p);
    } else if (*p == '<' && p[1] == '<') {
        used = p[2] == '<' ? 3 : 2;
        if (used == 2)
            scan->here_end = announce_heredoc(scan, text, at + 2);
    } else if (*p == '\n' && scan->heredoc_count > 0) {
        scan->here_end = bodies_end(scan, text, at + 1);
    } else if (!was_in_word && strncmp(p, "case", 4) == 0 && ends_word(p[4]) &&
               is_within_substitution(scan)) {
        scan->unclear = "behind a case within $( ), whose ) can't be told apart";
    }
    return at + used;
}

/* Double quotes, ${ } and $(( )): only $, `, \ and the closing character count. */
static size_t
step_quoted(struct mf_shell_scan *scan, enum context context, const char *text, size_t at)
{
    const char *p = text + at;
    size_t used = 1;
    if (*p == '\\')
        return step_backslash(scan, text, at);
    if (*p == '`') {
        push(scan, BACKTICK);
    } else if (*p == '$') {
        size_t opened = open_dollar(scan, p);
        used = opened == 0 ? 1 : opened;
    } else if (context == DOUBLE) {
        if (*p == '"')
            pop(scan);
    } else if (*p == '\'' || *p == '"') {
        scan->unclear = "behind quotes within ${ } or $(( )), which shells read differently";
    } else if (context == BRACES) {
        if (*p == '}')
            pop(scan);
    } else if (*p == '(') {
        push(scan, PARENTHESIS);
    } else if (*p == ')') {
        used = close_parenthesis(scan, p);
    }
    return at + used;
}

const char *mf_shell_obstacle(const struct mf_shell_scan *scan, size_t at)
{
    static const char *const names[] = {
        [CODE] = NULL,
        [SINGLE] = "inside single quotes",
        [DOUBLE] = "inside double quotes",
        [BACKTICK] = "inside backticks",
        [ARITHMETIC] = "inside $(( ))",
        [BRACES] = "inside ${ }",
    };
    if (at < scan->here_end)
        return "inside a here-document";
    if (scan->in_comment)
        return "inside a comment";
    if (scan->unclear != NULL)
        return scan->unclear;
    if (scan->escaped)
        return "behind a backslash";
    /* A line end in the value could be taken for the start of the here-document's body. */
    if (scan->heredoc_count > 0 && scan->depth > 0)
        return "within brackets on the line of a here-document";
    return names[effective(scan)];
}

bool mf_shell_is_open(const struct mf_shell_scan *scan)
{
    return scan->depth > 0 || scan->heredoc_count > 0 || scan->escaped;
}

size_t mf_shell_step(struct mf_shell_scan *scan, const char *text, size_t at)
{
    if (scan->here_end > at && scan->heredoc_count == 0)
        return at + 1;
    if (scan->in_comment && text[at] != '\n')
        return at + 1;
    scan->in_comment = false;
    if (scan->escaped) {
        scan->escaped = false;
        return at + 1;
    }
    enum context context = effective(scan);
    if (context == CODE)
        return step_code(scan, text, at);
    if (context == SINGLE || context == BACKTICK) {
        if (context == BACKTICK && text[at] == '\\')
            scan->escaped = true;
        else if (text[at] == (context == SINGLE ? '\'' : '`'))
            pop(scan);
        return at + 1;
    }
    return step_quoted(scan, context, text, at);
}

void mf_shell_value(struct mf_shell_scan *scan)
{
    scan->in_word = true;
    scan->escaped = false;
}
