/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords of Redis servers: see redis_password.h. */
#include "master/source/redis_password.h"

#include <string.h>

#include "common/alloc.h"
#include "master/secret_read.h"

/* Copies `text` unless it is NULL; false when memory is exhausted. */
static bool copy(char **to, const char *text)
{
    *to = text == NULL ? NULL : mf_strdup(text);
    return text == NULL || *to != NULL;
}

static bool copy_command(struct job_strings *to, const struct job_strings *command)
{
    if (command->count == 0)
        return true;
    to->items = mf_calloc(command->count, sizeof *to->items);
    if (to->items == NULL)
        return false;
    for (; to->count < command->count; to->count++)
        if (!copy(&to->items[to->count], command->items[to->count]))
            return false;
    return true;
}

int redis_password_init(struct redis_password *password,
                        const struct job_secret *source,
                        const char *folder,
                        struct mf_error *error)
{
    struct job_secret *own = &password->source;
    *password = (struct redis_password){0};
    if (source == NULL)
        return 0;
    if (copy(&own->place, source->place) && copy(&own->file, source->file) &&
        copy(&own->env, source->env) && copy_command(&own->command, &source->command) &&
        copy(&password->folder, folder))
        return 0;
    return mf_raise(error, MF_ENOMEM, "out of memory: the password of a Redis server");
}

void redis_password_fini(struct redis_password *password)
{
    struct job_secret *own = &password->source;
    mf_free(own->place);
    mf_free(own->file);
    mf_free(own->env);
    for (size_t i = 0; i < own->command.count; i++)
        mf_free(own->command.items[i]);
    mf_free(own->command.items);
    mf_free(password->folder);
    *password = (struct redis_password){0};
}

bool redis_password_is_there(const struct redis_password *password)
{
    const struct job_secret *own = &password->source;
    return own->file != NULL || own->env != NULL || own->command.count > 0;
}

int redis_password_read(const struct redis_password *password,
                        struct mf_buffer *value,
                        struct mf_error *error)
{
    const int stop = 0;
    const struct secret_patience patience = {.signal_fd = -1, .stop = &stop};
    if (secret_read(password->folder, &password->source, &patience, value, error) < 0)
        return -1;
    secret_trim(value);
    int rc = 0;
    if (value->length == 0 || memchr(value->data, '\0', value->length) != NULL)
        rc = mf_raise(
            error, MF_EUSAGE, "%s: the value is empty, or has a NUL in it", password->source.place);
    if (rc == 0 && mf_buffer_text(value) == NULL)
        rc = mf_raise(error, MF_ENOMEM, "out of memory: the password of a Redis server");
    if (rc < 0)
        secret_wipe(value);
    return rc;
}
