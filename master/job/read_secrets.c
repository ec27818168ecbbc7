/* SPDX-License-Identifier: Apache-2.0 */
/* Values from outside, `secrets` of a job file first of all: names and where they come from. The
 * values themselves are none of the job's business. */
#include <string.h>

#include "common/alloc.h"
#include "master/job/read.h"

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory while reading the job file");
}

/* It is a file's name, and may become a variable in a script. */
static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    size_t length = strlen(name);
    return length > 0 && length <= MF_SECRET_NAME_MAX && strchr(letters, name[0]) != NULL &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")] ==
               '\0';
}

struct job_secret *read_secret_add(struct job *job, const char *name, struct mf_error *error)
{
    if (!is_name(name)) {
        mf_raise(error,
                 MF_EUSAGE,
                 "expected a name of at most %d letters, digits and _ that does not begin "
                 "with a digit",
                 MF_SECRET_NAME_MAX);
        return NULL;
    }
    if (job->secret_count == MF_SECRETS_MAX) {
        mf_raise(error, MF_EUSAGE, "a job can have at most %d secrets", MF_SECRETS_MAX);
        return NULL;
    }
    struct job_secret *secrets =
        mf_realloc(job->secrets, (job->secret_count + 1) * sizeof *secrets);
    if (secrets == NULL) {
        raise_memory(error);
        return NULL;
    }
    job->secrets = secrets;
    struct job_secret *secret = &secrets[job->secret_count++];
    *secret = (struct job_secret){.name = mf_strdup(name)};
    if (secret->name != NULL)
        return secret;
    raise_memory(error);
    return NULL;
}

int read_secret_begin(struct job_secret *secret, const char *place, struct mf_error *error)
{
    secret->place = mf_strdup(place);
    return secret->place == NULL ? raise_memory(error) : 0;
}

int read_secret_source(const struct job *job,
                       struct job_secret *secret,
                       const char *key,
                       const char *text,
                       struct mf_error *error)
{
    if (strcmp(key, "file") == 0) {
        secret->file = read_path_text(job, text, error);
        return secret->file == NULL ? -1 : 0;
    }
    if (*text == '\0' || strchr(text, '=') != NULL)
        return mf_raise(error, MF_EUSAGE, "expected the name of a variable");
    secret->env = mf_strdup(text);
    return secret->env == NULL ? raise_memory(error) : 0;
}

int read_secret_end(const struct job_secret *secret, struct mf_error *error)
{
    int sources = (secret->file != NULL) + (secret->command.count > 0) + (secret->env != NULL);
    return sources == 1 ? 0
                        : mf_raise(error,
                                   MF_EUSAGE,
                                   "expected exactly one of file, command and env, got %s",
                                   sources == 0 ? "none" : "several");
}

void read_secret_fini(struct job_secret *secret)
{
    mf_free(secret->name);
    mf_free(secret->place);
    mf_free(secret->text);
    mf_free(secret->file);
    mf_free(secret->env);
    strings_fini(&secret->command);
    *secret = (struct job_secret){0};
}

void read_secrets_fini(struct job *job)
{
    for (size_t i = 0; i < job->secret_count; i++)
        read_secret_fini(&job->secrets[i]);
    mf_free(job->secrets);
    job->secrets = NULL;
    job->secret_count = 0;
}
