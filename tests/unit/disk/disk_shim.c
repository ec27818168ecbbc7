/* SPDX-License-Identifier: Apache-2.0 */
/* See disk_shim.h. Calls go to the kernel by syscall(2), so that nothing of the C library's or a
 * sanitizer's own stands in between. */
#include "tests/unit/disk/disk_shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SECTOR 512u
#define TABLE 4096u
#define NO_SIZE UINT64_MAX

/* A write or, with data NULL, a change of the size to `offset`. */
struct change {
    struct change *next;
    uint64_t offset, length;
    unsigned char *data;
};

struct entry {
    struct entry *next;
    ino_t inode;
    bool is_folder;
    char name[NAME_MAX + 1];
};

/* A file or a folder, by its inode. */
struct node {
    struct node *chain;
    ino_t inode;
    unsigned char *data; /* synced */
    uint64_t size, capacity;
    struct change *first, **last;
    struct entry *entries; /* synced */
};

static struct {
    pthread_mutex_t lock;
    char folder[PATH_MAX];
    struct node *nodes[TABLE];
    unsigned long changes;
    void (*before)(void *arg, unsigned long change);
    void *arg;
    struct {
        unsigned long n, count;
        int number;
        bool stays;
    } fail[DISK_CALLS];
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local bool is_inside; /* the shim's own calls are not watched */

void disk_fail(enum disk_call call, unsigned long n, int number, bool stays)
{
    pthread_mutex_lock(&disk.lock);
    disk.fail[call].n = n;
    disk.fail[call].number = number;
    disk.fail[call].stays = stays;
    disk.fail[call].count = 0;
    pthread_mutex_unlock(&disk.lock);
}

unsigned long disk_count(enum disk_call call)
{
    pthread_mutex_lock(&disk.lock);
    unsigned long count = disk.fail[call].count;
    pthread_mutex_unlock(&disk.lock);
    return count;
}

/* 0, an errno or DISK_SHORT. */
static int must_fail(enum disk_call call)
{
    unsigned long n = disk.fail[call].n, count = ++disk.fail[call].count;
    bool fails = n != 0 && (count == n || (disk.fail[call].stays && count > n));
    return fails ? disk.fail[call].number : 0;
}

static struct node *node_of(ino_t inode)
{
    struct node **at = &disk.nodes[inode % TABLE];
    while (*at != NULL && (*at)->inode != inode)
        at = &(*at)->chain;
    if (*at == NULL) {
        *at = calloc(1, sizeof **at);
        (*at)->inode = inode;
        (*at)->last = &(*at)->first;
    }
    return *at;
}

static void drop_changes(struct node *node)
{
    for (struct change *change = node->first, *next; change != NULL; change = next) {
        next = change->next;
        free(change->data);
        free(change);
    }
    node->first = NULL;
    node->last = &node->first;
}

static void drop_entries(struct node *node)
{
    for (struct entry *entry = node->entries, *next; entry != NULL; entry = next) {
        next = entry->next;
        free(entry);
    }
    node->entries = NULL;
}

static void resize(struct node *node, uint64_t size)
{
    if (size > node->capacity) {
        node->capacity = size * 2;
        node->data = realloc(node->data, node->capacity);
    }
    if (size > node->size)
        memset(node->data + node->size, 0, size - node->size);
    node->size = size;
}

static void apply(struct node *node, uint64_t offset, const unsigned char *data, uint64_t length)
{
    if (offset + length > node->size)
        resize(node, offset + length);
    memcpy(node->data + offset, data, length);
}

/* Whether the descriptor leads below the watched folder; its facts. */
static bool is_watched(int fd, struct stat *facts)
{
    char link[64], path[PATH_MAX];
    size_t length = strlen(disk.folder);
    if (length == 0 || is_inside || fstat(fd, facts) < 0)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return false;
    path[n] = '\0';
    return strncmp(path, disk.folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static void announce(void)
{
    disk.changes++;
    if (disk.before == NULL)
        return;
    is_inside = true;
    disk.before(disk.arg, disk.changes);
    is_inside = false;
}

static void note(const struct stat *facts, uint64_t offset, const void *data, size_t length)
{
    struct node *node = node_of(facts->st_ino);
    if (facts->st_size == 0 && data != NULL) { /* a new file, perhaps under an old number */
        drop_changes(node);
        node->size = 0;
    }
    struct change *change = calloc(1, sizeof *change);
    change->offset = offset;
    change->length = length;
    if (data != NULL) {
        change->data = malloc(length + 1);
        memcpy(change->data, data, length);
    }
    *node->last = change;
    node->last = &change->next;
}

static struct entry *list_folder(const char *path)
{
    struct entry *entries = NULL;
    DIR *dir = opendir(path);
    const struct dirent *found;
    while (dir != NULL && (found = readdir(dir)) != NULL) {
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0)
            continue;
        struct entry *entry = calloc(1, sizeof *entry);
        entry->inode = found->d_ino;
        entry->is_folder = found->d_type == DT_DIR;
        snprintf(entry->name, sizeof entry->name, "%s", found->d_name);
        entry->next = entries;
        entries = entry;
    }
    if (dir != NULL)
        closedir(dir);
    return entries;
}

static void sync_node(int fd, const struct stat *facts)
{
    struct node *node = node_of(facts->st_ino);
    if (S_ISDIR(facts->st_mode)) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        drop_entries(node);
        node->entries = list_folder(link);
        return;
    }
    for (struct change *change = node->first; change != NULL; change = change->next) {
        if (change->data == NULL)
            resize(node, change->offset);
        else
            apply(node, change->offset, change->data, change->length);
    }
    drop_changes(node);
}

void disk_watch(const char *folder)
{
    pthread_mutex_lock(&disk.lock);
    for (unsigned i = 0; i < TABLE; i++)
        for (struct node *node = disk.nodes[i], *next; node != NULL; node = next) {
            next = node->chain;
            drop_changes(node);
            drop_entries(node);
            free(node->data);
            free(node);
        }
    memset(disk.nodes, 0, sizeof disk.nodes);
    disk.changes = 0;
    disk.before = NULL;
    disk.folder[0] = '\0';
    if (folder != NULL && realpath(folder, disk.folder) == NULL)
        abort();
    pthread_mutex_unlock(&disk.lock);
}

unsigned long disk_changes(void)
{
    pthread_mutex_lock(&disk.lock);
    unsigned long changes = disk.changes;
    pthread_mutex_unlock(&disk.lock);
    return changes;
}

void disk_before_change(void (*f)(void *arg, unsigned long change), void *arg)
{
    pthread_mutex_lock(&disk.lock);
    disk.before = f;
    disk.arg = arg;
    pthread_mutex_unlock(&disk.lock);
}

/* Of what was not synced: nothing, all, the oldest part, or any sectors. */
enum keep { KEEP_NOTHING, KEEP_ALL, KEEP_OLDEST, KEEP_ANY, KEEPS };

struct cut {
    uint64_t random;
    enum keep keep;
};

static uint64_t next_random(struct cut *cut)
{
    cut->random ^= cut->random << 13;
    cut->random ^= cut->random >> 7;
    cut->random ^= cut->random << 17;
    return cut->random;
}

static bool survives(struct cut *cut)
{
    switch (cut->keep) {
    case KEEP_NOTHING:
        return false;
    case KEEP_ANY:
        return next_random(cut) % 2 == 0;
    default:
        return true;
    }
}

static void apply_sectors(struct node *file, const struct change *change, struct cut *cut)
{
    for (uint64_t at = 0; at < change->length;) {
        uint64_t length = SECTOR - (change->offset + at) % SECTOR;
        if (length > change->length - at)
            length = change->length - at;
        if (survives(cut))
            apply(file, change->offset + at, change->data + at, length);
        at += length;
    }
}

static void cut_file(ino_t inode, const char *to, struct cut *cut)
{
    const struct node *node = node_of(inode);
    struct node file = {0};
    resize(&file, node->size);
    if (node->size > 0)
        memcpy(file.data, node->data, node->size);
    for (const struct change *change = node->first; change != NULL; change = change->next) {
        if (cut->keep == KEEP_OLDEST && next_random(cut) % 8 == 0)
            break;
        if (change->data != NULL)
            apply_sectors(&file, change, cut);
        else if (survives(cut))
            resize(&file, change->offset);
    }
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (uint64_t n = 0; n < file.size;) {
        long written = syscall(SYS_write, fd, file.data + n, file.size - n);
        if (written < 0)
            abort();
        n += (uint64_t)written;
    }
    close(fd);
    free(file.data);
}

static const struct entry *find_entry(const struct entry *entries, const char *name)
{
    while (entries != NULL && strcmp(entries->name, name) != 0)
        entries = entries->next;
    return entries;
}

static void cut_folder(ino_t inode, const char *from, const char *to, struct cut *cut);

static void cut_entry(const struct entry *entry, const char *from, const char *to, struct cut *cut)
{
    char source[PATH_MAX], target[PATH_MAX];
    if (snprintf(source, sizeof source, "%s/%s", from, entry->name) >= PATH_MAX ||
        snprintf(target, sizeof target, "%s/%s", to, entry->name) >= PATH_MAX)
        abort();
    size_t length = strlen(entry->name);
    if (entry->is_folder)
        cut_folder(entry->inode, source, target, cut);
    else if (length < 4 || strcmp(entry->name + length - 4, "-shm") != 0)
        cut_file(entry->inode, target, cut);
}

/* Each name leads to what it led to at the last sync, or to what it leads to now. */
static void cut_folder(ino_t inode, const char *from, const char *to, struct cut *cut)
{
    const struct node *node = node_of(inode);
    struct entry *now = list_folder(from);
    mkdir(to, 0700);
    for (const struct entry *old = node->entries; old != NULL; old = old->next) {
        const struct entry *other = find_entry(now, old->name);
        bool is_same = other != NULL && other->inode == old->inode;
        if (is_same || !survives(cut))
            cut_entry(old, from, to, cut);
        else if (other != NULL)
            cut_entry(other, from, to, cut);
    }
    for (struct entry *entry = now, *next; entry != NULL; entry = next) {
        next = entry->next;
        if (find_entry(node->entries, entry->name) == NULL && survives(cut))
            cut_entry(entry, from, to, cut);
        free(entry);
    }
}

void disk_cut(const char *to, uint64_t seed)
{
    struct stat facts;
    struct cut cut = {.random = seed * 0x9e3779b97f4a7c15u | 1};
    cut.keep = (enum keep)(next_random(&cut) % KEEPS);
    if (stat(disk.folder, &facts) < 0)
        abort();
    cut_folder(facts.st_ino, disk.folder, to, &cut);
}

static ssize_t write_to(int fd, const void *data, size_t length, off_t offset, bool has_offset)
{
    struct stat facts;
    pthread_mutex_lock(&disk.lock);
    bool is_file = fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
    int number = is_inside || !is_file ? 0 : must_fail(DISK_WRITE);
    ssize_t result = -1;
    if (number == DISK_SHORT && length > 1)
        length /= 2;
    else if (number > 0)
        goto end;
    bool watched = is_file && is_watched(fd, &facts);
    off_t at = has_offset || !watched                 ? offset
               : (fcntl(fd, F_GETFL) & O_APPEND) != 0 ? facts.st_size
                                                      : lseek(fd, 0, SEEK_CUR);
    if (watched)
        announce();
    result = has_offset ? syscall(SYS_pwrite64, fd, data, length, offset)
                        : syscall(SYS_write, fd, data, length);
    if (watched && result > 0)
        note(&facts, (uint64_t)at, data, (size_t)result);
end:
    pthread_mutex_unlock(&disk.lock);
    if (number > 0)
        errno = number;
    return result;
}

static int sync_to(int fd)
{
    struct stat facts;
    pthread_mutex_lock(&disk.lock);
    int number = is_inside ? 0 : must_fail(DISK_SYNC);
    int result = -1;
    if (number <= 0) {
        bool watched = is_watched(fd, &facts);
        if (watched)
            announce();
        /* Nothing is synced in truth: that only takes time. */
        result = fcntl(fd, F_GETFD) < 0 ? -1 : 0;
        if (watched)
            sync_node(fd, &facts);
    }
    pthread_mutex_unlock(&disk.lock);
    if (number > 0)
        errno = number;
    return result;
}

static int truncate_to(int fd, off_t size)
{
    struct stat facts;
    pthread_mutex_lock(&disk.lock);
    bool watched = is_watched(fd, &facts);
    if (watched)
        announce();
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (watched && result == 0)
        note(&facts, (uint64_t)size, NULL, 0);
    pthread_mutex_unlock(&disk.lock);
    return result;
}

/* What stands instead of the C library's. SQLite is built for large files and calls the others. */
ssize_t write(int fd, const void *data, size_t length)
{
    return write_to(fd, data, length, 0, false);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    return write_to(fd, data, length, offset, true);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    return write_to(fd, data, length, offset, true);
}

int fsync(int fd)
{
    return sync_to(fd);
}

int fdatasync(int fd)
{
    return sync_to(fd);
}

int ftruncate(int fd, off_t size)
{
    return truncate_to(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return truncate_to(fd, size);
}

int rename(const char *from, const char *to)
{
    pthread_mutex_lock(&disk.lock);
    int number = is_inside ? 0 : must_fail(DISK_RENAME);
    int result = number > 0 ? -1 : (int)syscall(SYS_rename, from, to);
    pthread_mutex_unlock(&disk.lock);
    if (number > 0)
        errno = number;
    return result;
}
