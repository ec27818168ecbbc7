/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placeholders in the templates of a job: one substitution for job files (checked when they are
 * read) and workers (which fill them in). The rules are those of docs/job-file.md: {} {path}
 * {value} {offset} {length} {id} {attempt} {message} {field:NAME}, {NAME} for a field where no
 * built-in has that name; never after `$`; {{name}} is literal {name}; any other brace stays as it
 * is.
 */
#ifndef MAYFLY_COMMON_PLACEHOLDER_H
#define MAYFLY_COMMON_PLACEHOLDER_H

#include "common/buffer.h"
#include "common/error.h"
#include "common/message.h"

enum mf_quoting {
    MF_QUOTE_NONE, /* an argument of a command, a value of env: bytes as they are */
    MF_QUOTE_SHELL /* in a shell line: bare when made of letters, digits and _@%+=:,./- only, else
                      in single quotes */
};

/* Appends the expanded template. -1 with MF_EINPUT when a {field:NAME} is not among the subtask's
 * fields. */
int mf_placeholder_expand(const char *text,
                          const struct mf_subtask *subtask,
                          enum mf_quoting quoting,
                          struct mf_buffer *out,
                          struct mf_error *error);

/*
 * Checks a template when the job is read: unfinished or unknown {field:...}; in a shell line, a
 * placeholder inside quotes, backticks or a here-document is MF_EUSAGE (the value could become
 * code), with the column named.
 */
int mf_placeholder_check(const char *text, enum mf_quoting quoting, struct mf_error *error);

/* A placeholder of a template that is not about a subtask, and its value. */
struct mf_named {
    const char *name, *value;
};

/*
 * Appends the template with the values of these placeholders and no others, as they are; the other
 * rules are those above. `out` NULL: only looks whether it is right. MF_EUSAGE when a placeholder
 * is none of them: a sentence that names those there are.
 */
int mf_placeholder_fill(const char *text,
                        const struct mf_named *values,
                        size_t count,
                        struct mf_buffer *out,
                        struct mf_error *error);

/* Whether the template holds {name}, whatever that is. */
bool mf_placeholder_names(const char *text, const char *name);

/* Whether the template holds any placeholder: if not, it need not be expanded per subtask. */
bool mf_placeholder_is_constant(const char *text);

/* Whether the template holds the built-in of that name ("" for {}), or, for "field", any
 * {field:NAME}. */
bool mf_placeholder_has(const char *text, const char *name);

/* Whether fields of the subtask may go in: any {field:NAME}, or a {NAME} that is no built-in. */
bool mf_placeholder_wants_fields(const char *text);

#endif
