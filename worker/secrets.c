/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets as files: see secrets.h. Values are never kept here, only names and versions. */
#include "worker/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/write.h"
#include "worker/place.h"

struct held {
    char name[MF_SECRET_NAME_MAX + 1];
    uint32_t version;
};

struct secrets {
    char *link;   /* in the worker's folder */
    char *memory; /* the folder in memory; NULL = link is the folder itself */
    struct held held[MF_SECRETS_MAX];
    uint32_t count;
};

/* It becomes a path. */
static bool is_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= MF_SECRET_NAME_MAX && name[0] != '.' &&
           strchr(name, '/') == NULL;
}

static int write_secret(int folder, const struct mf_secret *secret)
{
    char name[MF_SECRET_NAME_MAX + 8];
    snprintf(name, sizeof name, ".%s.new", secret->name);
    unlinkat(folder, name, 0);
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int rc = mf_write_all(fd, secret->data);
    int code = errno;
    if (close(fd) < 0 && rc == 0) {
        rc = -1;
        code = errno;
    }
    if (rc == 0 && (rc = renameat(folder, name, folder, secret->name)) < 0)
        code = errno;
    if (rc < 0)
        unlinkat(folder, name, 0);
    errno = code;
    return rc;
}

static struct held *find(struct secrets *secrets, const char *name)
{
    for (uint32_t i = 0; i < secrets->count; i++)
        if (strcmp(secrets->held[i].name, name) == 0)
            return &secrets->held[i];
    return NULL;
}

/* An older version than the one that is there is a message that was overtaken. */
static int
put(struct secrets *secrets, int folder, const struct mf_secret *secret, struct mf_error *error)
{
    struct held *held = find(secrets, secret->name);
    if (!is_name(secret->name) || (held == NULL && secrets->count == MF_SECRETS_MAX))
        return mf_raise(error, MF_EPROTOCOL, "the master sent a secret that has no usable name");
    if (held != NULL && secret->version <= held->version)
        return 0;
    if (write_secret(folder, secret) < 0)
        return mf_raise_errno(error, "cannot write the secret %s", secret->name);
    if (held == NULL) {
        held = &secrets->held[secrets->count++];
        snprintf(held->name, sizeof held->name, "%s", secret->name);
    }
    held->version = secret->version;
    return 0;
}

static int open_folder(const struct secrets *secrets, struct mf_error *error)
{
    const char *path = secrets->memory != NULL ? secrets->memory : secrets->link;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : mf_raise_errno(error, "cannot open the folder of secrets %s", path);
}

static int put_all(struct secrets *secrets,
                   const struct mf_secret *list,
                   uint32_t count,
                   struct mf_error *error)
{
    int folder = open_folder(secrets, error);
    int rc = folder < 0 ? -1 : 0;
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = put(secrets, folder, &list[i], error);
    if (folder >= 0)
        close(folder);
    return rc;
}

static void leave_memory(struct secrets *secrets)
{
    struct mf_error error;
    if (secrets->memory == NULL)
        return;
    if (place_remove(secrets->memory, NULL, &error) < 0)
        mf_log(MF_WARNING, "the secrets in %s cannot be removed: %s", secrets->memory, error.text);
    else
        place_leave(secrets->memory, true);
    mf_free(secrets->memory);
    secrets->memory = NULL;
}

static bool is_in_memory(const char *path)
{
    struct statfs fs;
    char *above = mf_strdup(path), *slash = above == NULL ? NULL : strrchr(above, '/');
    if (slash != NULL && slash != above)
        *slash = '\0';
    bool is = above != NULL && statfs(above, &fs) == 0 &&
              (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
    mf_free(above);
    return is;
}

/* All of them in memory, or nothing there. */
static int try_memory(struct secrets *secrets,
                      char *memory,
                      const char *run_id,
                      uint32_t worker,
                      const struct mf_secret *list,
                      uint32_t count)
{
    struct mf_error error;
    if (!is_in_memory(memory))
        return -1;
    secrets->memory = place_make_in(memory, run_id, worker, &error);
    if (secrets->memory != NULL && put_all(secrets, list, count, &error) == 0) {
        if (symlink(secrets->memory, secrets->link) == 0)
            return 0;
        mf_raise_errno(&error, "cannot make the link %s", secrets->link);
    }
    mf_log(MF_WARNING, "secrets are not kept in memory: %s", error.text);
    leave_memory(secrets);
    secrets->count = 0;
    return -1;
}

struct secrets *secrets_create(char *memory,
                               const char *run_id,
                               uint32_t worker,
                               const char *folder,
                               const struct mf_secret *list,
                               uint32_t count,
                               struct mf_error *error)
{
    struct secrets *secrets = mf_calloc(1, sizeof *secrets);
    if (secrets == NULL || (secrets->link = mf_format("%s/" SECRETS_NAME, folder)) == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: the secrets");
        goto fail;
    }
    if (memory != NULL && try_memory(secrets, memory, run_id, worker, list, count) == 0)
        return secrets;
    if (mkdir(secrets->link, 0700) < 0) {
        mf_raise_errno(error, "cannot make the folder of secrets %s", secrets->link);
        goto fail;
    }
    if (put_all(secrets, list, count, error) == 0)
        return secrets;
fail:
    secrets_destroy(secrets);
    return NULL;
}

void secrets_take(struct secrets *secrets, const struct mf_secret *list, uint32_t count)
{
    struct mf_error error;
    if (secrets == NULL)
        return;
    for (uint32_t i = 0; i < count; i++)
        if (put_all(secrets, &list[i], 1, &error) < 0)
            mf_log(MF_WARNING, "%s", error.text);
        else
            mf_log(MF_INFO, "the secret %s is renewed", list[i].name);
}

int secrets_welcome(struct secrets **secrets,
                    const struct launch_input *input,
                    const char *folder,
                    const struct mf_welcome *welcome,
                    struct mf_error *error)
{
    if (welcome->secret_count == 0)
        return 0;
    if (*secrets != NULL) {
        for (uint32_t i = 0; i < (*secrets)->count; i++)
            (*secrets)->held[i].version = 0;
        secrets_take(*secrets, welcome->secrets, welcome->secret_count);
        return 0;
    }
    char *memory = place_of_secrets();
    *secrets = secrets_create(memory,
                              input->run_id,
                              input->worker,
                              folder,
                              welcome->secrets,
                              welcome->secret_count,
                              error);
    mf_free(memory);
    return *secrets == NULL ? -1 : 0;
}

void secrets_destroy(struct secrets *secrets)
{
    if (secrets == NULL)
        return;
    leave_memory(secrets);
    if (secrets->link != NULL)
        place_remove(secrets->link, NULL, NULL);
    mf_free(secrets->link);
    mf_free(secrets);
}
