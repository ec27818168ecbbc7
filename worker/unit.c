/* SPDX-License-Identifier: Apache-2.0 */
/* Units of staging: see unit.h. */
#include "worker/unit.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"

#define INPUT_MODE 0400

static int out_of_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory: the inputs to fetch");
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* Where an input is if it is in its own place; heap, NULL when memory is exhausted. */
static char *place_of(const char *job_folder, struct mf_bytes path)
{
    if (path.length > 0 && path.data[0] == '/')
        return mf_memdup(path.data, path.length);
    return mf_format("%s/%.*s", job_folder, (int)path.length, (const char *)path.data);
}

static bool
is_the_same(const char *place, bool is_folder, uint64_t size, int64_t mtime_ns, uint64_t inode)
{
    struct stat st;
    if (stat(place, &st) < 0)
        return false;
    if (is_folder)
        return S_ISDIR(st.st_mode);
    return S_ISREG(st.st_mode) && (uint64_t)st.st_size == size && (uint64_t)st.st_ino == inode &&
           (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec == mtime_ns;
}

bool unit_is_needed(const struct unit_rules *rules, const struct mf_subtask *subtask)
{
    if (rules->is_grouped)
        return subtask->item.length > 0;
    if (subtask->path.length == 0)
        return false;
    if (rules->staging == MF_STAGING_ALWAYS)
        return true;
    char *place = place_of(rules->job_folder, subtask->path);
    bool is_there =
        place != NULL &&
        is_the_same(
            place, false, subtask->input_size, subtask->input_mtime_ns, subtask->input_inode);
    mf_free(place);
    return !is_there;
}

/* The range of its input that the subtask needs: all of it, or a header and a piece. */
static void
set_range(const struct unit_rules *rules, const struct mf_subtask *subtask, struct fetch_file *file)
{
    if (rules->stdin_mode == MF_STDIN_INPUT || !file->is_known) {
        file->length = subtask->input_size;
        return;
    }
    file->header_length = subtask->header_length;
    file->offset = subtask->offset;
    file->length = subtask->length;
}

static void add_number(struct mf_sha256 *sum, uint64_t number)
{
    mf_sha256_update(sum, mf_bytes_of(&number, sizeof number));
}

void unit_key(const struct unit_rules *rules,
              const struct mf_subtask *subtask,
              char key[CACHE_KEY_SIZE])
{
    struct fetch_file range = {.is_known = subtask->input_inode != 0};
    unsigned char digest[MF_SHA256_SIZE];
    char text[MF_SHA256_TEXT];
    struct mf_sha256 sum;
    mf_sha256_init(&sum);
    if (rules->is_grouped) {
        mf_sha256_update(&sum, subtask->item);
    } else {
        set_range(rules, subtask, &range);
        mf_sha256_update(&sum, subtask->path);
        add_number(&sum, subtask->input_size);
        add_number(&sum, (uint64_t)subtask->input_mtime_ns);
        add_number(&sum, subtask->input_inode);
        add_number(&sum, range.header_length);
        add_number(&sum, range.offset);
        add_number(&sum, range.length);
    }
    mf_sha256_finish(&sum, digest);
    mf_sha256_text(digest, text);
    memcpy(key, text, CACHE_KEY_SIZE - 1);
    key[CACHE_KEY_SIZE - 1] = '\0';
}

static struct unit *
alloc_unit(const struct cache *cache, const char *key, uint32_t file_count, struct mf_error *error)
{
    struct unit *unit = mf_calloc(1, sizeof *unit);
    if (unit != NULL) {
        memcpy(unit->key, key, strlen(key) + 1);
        unit->last = &unit->first;
        unit->entry.lock_fd = -1;
        unit->transfer.fd = -1;
        unit->transfer.owner = unit;
        unit->transfer.entry = &unit->entry;
        unit->transfer.files = mf_calloc(file_count, sizeof *unit->transfer.files);
        unit->folder = cache_path(cache, key);
        if (unit->transfer.files != NULL && unit->folder != NULL) {
            unit->transfer.file_count = file_count;
            return unit;
        }
    }
    unit_destroy(unit);
    out_of_memory(error);
    return NULL;
}

void unit_destroy(struct unit *unit)
{
    if (unit == NULL)
        return;
    for (uint32_t i = 0; unit->transfer.files != NULL && i < unit->transfer.file_count; i++) {
        mf_free(unit->transfer.files[i].name);
        mf_free(unit->transfer.files[i].shown);
        mf_free(unit->transfer.files[i].place);
    }
    mf_free(unit->transfer.files);
    mf_free(unit->folder);
    mf_free(unit->path);
    mf_buffer_fini(&unit->item);
    mf_free(unit);
}

static struct unit *create_group(const struct unit_rules *rules,
                                 const struct cache *cache,
                                 const char *key,
                                 const struct mf_subtask *subtask,
                                 struct mf_error *error)
{
    const char *at = (const char *)subtask->item.data, *end = at + subtask->item.length;
    uint32_t count = 0;
    for (const char *nul = at; (nul = memchr(nul, '\0', (size_t)(end - nul))) != NULL; nul++)
        count++;
    struct unit *unit = alloc_unit(cache, key, count, error);
    for (uint32_t i = 0; unit != NULL && i < count; i++, at += strlen(at) + 1) {
        struct fetch_file *file = &unit->transfer.files[i];
        file->member = i;
        file->mode = INPUT_MODE;
        file->shown = mf_strdup(at);
        file->name = mf_format("%u/%s", i, base_name(at));
        if (rules->staging == MF_STAGING_AUTO && access(at, F_OK) == 0)
            file->place = mf_strdup(at);
        if (file->shown == NULL || file->name == NULL) {
            unit_destroy(unit);
            out_of_memory(error);
            return NULL;
        }
    }
    return unit;
}

struct unit *unit_create(const struct unit_rules *rules,
                         const struct cache *cache,
                         const char *key,
                         const struct mf_subtask *subtask,
                         struct mf_error *error)
{
    struct unit *unit = rules->is_grouped ? create_group(rules, cache, key, subtask, error)
                                          : alloc_unit(cache, key, 1, error);
    if (unit == NULL)
        return NULL;
    unit->transfer.subtask = subtask->id;
    if (rules->is_grouped)
        return unit;
    struct fetch_file *file = &unit->transfer.files[0];
    file->shown = mf_memdup(subtask->path.data, subtask->path.length);
    file->name = file->shown == NULL ? NULL : mf_strdup(base_name(file->shown));
    unit->path = file->name == NULL ? NULL : mf_format("%s/%s", unit->folder, file->name);
    if (unit->path == NULL) {
        unit_destroy(unit);
        out_of_memory(error);
        return NULL;
    }
    file->mode = INPUT_MODE;
    file->is_known = subtask->input_inode != 0;
    file->size = subtask->input_size;
    file->mtime_ns = subtask->input_mtime_ns;
    file->inode = subtask->input_inode;
    set_range(rules, subtask, file);
    unit->bytes = file->header_length + file->length;
    return unit;
}

struct unit *
unit_create_job(const struct mf_task *task, const struct cache *cache, struct mf_error *error)
{
    struct unit *unit = alloc_unit(cache, CACHE_JOB_KEY, task->own_file_count, error);
    for (uint32_t i = 0; unit != NULL && i < task->own_file_count; i++) {
        const struct mf_task_file *own = &task->own_files[i];
        struct fetch_file *file = &unit->transfer.files[i];
        file->file = i + 1;
        file->name = mf_memdup(own->path.data, own->path.length);
        file->shown = mf_memdup(own->path.data, own->path.length);
        if (file->name == NULL || file->shown == NULL) {
            unit_destroy(unit);
            out_of_memory(error);
            return NULL;
        }
        file->is_known = true;
        file->is_folder = own->is_folder;
        file->mode = own->mode;
        file->size = file->length = own->size;
        file->mtime_ns = own->mtime_ns;
        file->inode = own->inode;
        unit->bytes += own->is_folder ? 0 : own->size;
    }
    return unit;
}

bool unit_job_is_in_place(const struct mf_task *task)
{
    bool is_there = true;
    for (uint32_t i = 0; is_there && i < task->own_file_count; i++) {
        const struct mf_task_file *own = &task->own_files[i];
        char *place = place_of(task->job_folder, own->path);
        is_there = place != NULL &&
                   is_the_same(place, own->is_folder, own->size, own->mtime_ns, own->inode);
        mf_free(place);
    }
    return is_there;
}

int unit_list(struct unit *unit, struct mf_error *error)
{
    if (unit->path != NULL || strcmp(unit->key, CACHE_JOB_KEY) == 0)
        return 0;
    mf_buffer_clear(&unit->item);
    for (uint32_t i = 0; i < unit->transfer.file_count; i++) {
        const struct fetch_file *file = &unit->transfer.files[i];
        char *staged = mf_format("%s/%s", unit->folder, file->name);
        if (staged == NULL)
            return out_of_memory(error);
        /* Another worker may have fetched the group: what is not here is in its own place. */
        const char *used = file->is_in_place || access(staged, F_OK) < 0 ? file->shown : staged;
        int rc = mf_buffer_append(&unit->item, used, strlen(used) + 1, error);
        mf_free(staged);
        if (rc < 0)
            return -1;
    }
    return 0;
}
