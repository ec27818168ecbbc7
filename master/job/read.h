/* SPDX-License-Identifier: Apache-2.0 */
/* Within the job module: the tree becomes struct job, driven by the schema, and is then checked as
 * a whole. */
#ifndef MAYFLY_MASTER_JOB_READ_H
#define MAYFLY_MASTER_JOB_READ_H

#include "master/job/job.h"
#include "master/job/schema.h"
#include "master/job/tree.h"

struct reader {
    struct job *job;
    struct tree tree;
    int seen[SCHEMA_MAX];      /* by row of the schema: the node of its value, 0 = not given */
    struct job_secret *secret; /* the one that is being read */
    bool is_changed;           /* the tree is no longer what the file says */
};

/* Defaults, then what the file says. */
int read_job(struct reader *reader, struct mf_error *error);

/* What no single key can show: kinds, options that need each other, placeholders (check.c). */
int check_job(struct reader *reader, struct mf_error *error);

/* The same for the split `queue`, once the trigger is known; and for what only its templates may
 * hold (check_queue.c). */
int check_queue_split(const struct reader *reader, struct mf_error *error);
int check_queue_template(const struct reader *reader,
                         const char *key,
                         const char *text,
                         struct mf_error *error);

/* The same for `workers`; reads the host file (check_workers.c). */
int check_workers(struct reader *reader, struct mf_error *error);

/* The same for `workers.command` (check_command.c). */
int check_command(const struct reader *reader, struct mf_error *error);

/* The same for `trigger`; completes what depends on its kind (check_trigger.c). */
int check_trigger(struct reader *reader, struct mf_error *error);
void trigger_fini(struct job_trigger *trigger);

/* The node of a key's value, 0 when it was not given. */
int reader_seen(const struct reader *reader, const char *path);

/* From here on the key counts as not given, and is not in the copy. */
void reader_drop(struct reader *reader, const char *path);

/* MF_EUSAGE with the place of the key's value before the sentence: "FILE:LINE: key: ...". */
int reader_raise(const struct reader *reader,
                 const char *path,
                 struct mf_error *error,
                 const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

/* The one of `paths` that was given; NULL and an error for none or several. `words` names them. */
const char *reader_only_one(const struct reader *reader,
                            const char *parent,
                            const char *const *paths,
                            size_t count,
                            const char *words,
                            struct mf_error *error);
/* Whether it can be a job's name. */
bool is_job_name(const char *name);

/* An absolute path of a text: ~/ is the home, else from the job's folder. NULL, with a sentence
 * that has no place yet or MF_ENOMEM. */
char *read_path_text(const struct job *job, const char *text, struct mf_error *error);

/* A value from outside (read_secrets.c). Each: 0, or -1 with a sentence that has no place yet or
 * MF_ENOMEM. A new one of `secrets`; NULL likewise. */
struct job_secret *read_secret_add(struct job *job, const char *name, struct mf_error *error);
/* Begins one; `place` is for messages. */
int read_secret_begin(struct job_secret *secret, const char *place, struct mf_error *error);
/* What `key` of it says: a text. A command's texts are added by strings_add. */
int read_secret_source(const struct job *job,
                       struct job_secret *secret,
                       const char *key,
                       const char *text,
                       struct mf_error *error);
/* It has exactly one source. */
int read_secret_end(const struct job_secret *secret, struct mf_error *error);
void read_secret_fini(struct job_secret *secret);
void read_secrets_fini(struct job *job);

/* `notify` (read_notify.c). Appends an empty one; `place` is for messages. -1: likewise. */
int read_notify_begin(struct job *job, const char *place, struct mf_error *error);
/* The newest one is read; `has_on` = with that key. What no single key of it can show; the sentence
 * has its place. */
int read_notify_end(struct job *job, bool has_on, struct mf_error *error);
void read_notify_fini(struct job *job);

/* Appends a copy. -1 and MF_ENOMEM. */
int strings_add(struct job_strings *strings, const char *text, struct mf_error *error);
void strings_fini(struct job_strings *strings);

#endif
