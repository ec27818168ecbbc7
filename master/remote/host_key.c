/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a host is who it was: the known_hosts files are read before the handshake, since the type
 * of key to ask for is that which is recorded; the key is judged after it and before anything else
 * is said.
 */
#include <errno.h>
#include <fcntl.h>
#include <mbedtls/base64.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "master/remote/remote_internal.h"

#define FILES_MAX SETTINGS_FILES
#define FILE_MAX (64u << 20)
#define LOCK_TRIES 200
#define LOCK_PAUSE_NS 5000000

/* Types that libssh2 1.10 can verify, the quickest first; ssh-rsa is refused by sshd since 8.8. */
static const char *const types[] = {
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"};
#define TYPE_COUNT (sizeof types / sizeof *types)

/* The path of file `index` on the heap; NULL when there is none or no memory. */
static char *file_path(const struct remote *remote, unsigned index)
{
    const struct settings *settings = remote->settings;
    if (remote->config->known_hosts != NULL)
        return index == 0 ? mf_strdup(remote->config->known_hosts) : NULL;
    if (settings != NULL && settings->known_count > 0)
        return index < settings->known_count ? mf_strdup(settings->known[index]) : NULL;
    if (index > 0)
        return index == 1 ? mf_strdup("/etc/ssh/ssh_known_hosts") : NULL;
    return mf_format("%s/.ssh/known_hosts", remote->home == NULL ? "" : remote->home);
}

/* Under which name and port the host stands in them. */
static const char *known_name(const struct remote *remote)
{
    bool has_alias = remote->settings != NULL && remote->settings->key_alias != NULL;
    return has_alias ? remote->settings->key_alias : remote->host;
}

static uint16_t known_port(const struct remote *remote)
{
    bool has_alias = remote->settings != NULL && remote->settings->key_alias != NULL;
    return has_alias ? 22 : remote->port;
}

static int read_fd(int fd, const char *path, struct mf_buffer *text, struct mf_error *error)
{
    for (;;) {
        if (mf_buffer_reserve(text, 65536, error) < 0)
            return -1;
        ssize_t got = read(fd, text->data + text->length, 65536);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mf_raise_errno(error, "cannot read %s", path);
        if (got == 0)
            return 0;
        text->length += (size_t)got;
        if (text->length > FILE_MAX)
            return mf_raise(error, MF_ESETUP, "%s is larger than 64 MiB: clean it up", path);
    }
}

/* Adds what the open file says. */
static int scan_fd(struct remote *remote,
                   struct known_host *known,
                   int fd,
                   const char *path,
                   unsigned index,
                   struct mf_error *error)
{
    struct mf_buffer text = {0};
    int rc = read_fd(fd, path, &text, error);
    if (rc == 0)
        rc = known_host_scan(
            known, mf_buffer_view(&text), index, known_name(remote), known_port(remote), error);
    mf_buffer_fini(&text);
    return rc;
}

static int scan_file(struct remote *remote, unsigned index, struct mf_error *error)
{
    char *path = file_path(remote, index);
    if (path == NULL)
        return 0;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        rc = scan_fd(remote, &remote->known, fd, path, index, error);
        close(fd);
    } else if (errno != ENOENT) {
        rc = mf_raise_errno(error, "cannot read the known hosts in %s", path);
    }
    mf_free(path);
    return rc;
}

/* Puts the types of which a key is recorded, or those of which none is, behind the list. RSA only
 * where it is recorded. */
static void list_types(struct remote *remote, bool recorded)
{
    char *list = remote->host_key_types;
    for (unsigned i = 0; i < TYPE_COUNT; i++) {
        size_t at = strlen(list), room = sizeof remote->host_key_types - at;
        bool wanted = recorded || strcmp(types[i], "ssh-rsa") != 0;
        if (wanted && known_host_has_type(&remote->known, types[i]) == recorded)
            snprintf(list + at, room, "%s%s", at == 0 ? "" : ",", types[i]);
    }
}

int host_key_prepare(struct remote *remote, struct mf_error *error)
{
    for (unsigned i = 0; i < FILES_MAX; i++)
        if (scan_file(remote, i, error) < 0)
            return -1;
    /* The others too, so that it can be said what the host has instead. */
    list_types(remote, true);
    list_types(remote, false);
    return 0;
}

/* "FILE:LINE" of a recorded key. */
static const char *
place_of(const struct remote *remote, const struct known_key *key, char *text, size_t size)
{
    char *path = key == NULL ? NULL : file_path(remote, key->file);
    snprintf(text, size, "%s:%u", path == NULL ? "?" : path, key == NULL ? 0 : key->line);
    mf_free(path);
    return text;
}

static int lock(int fd, const char *path, struct mf_error *error)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    for (unsigned i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return mf_raise_errno(error, "cannot lock %s", path);
        nanosleep(&pause, NULL);
    }
    return mf_raise(
        error, MF_ESETUP, "%s is locked by another process: find it with fuser %s", path, path);
}

/* One write of one line. The end of the file may be a line without its end. */
static int append_line(struct remote *remote, int fd, struct mf_bytes key, struct mf_error *error)
{
    char name[512], type[KNOWN_TYPE_SIZE];
    size_t length = 0, room = key.length / 3 * 4 + 8;
    off_t size = lseek(fd, 0, SEEK_END);
    char last = '\n';
    if (size > 0 && pread(fd, &last, 1, size - 1) != 1)
        last = '\n';
    if (known_host_name(name, sizeof name, known_name(remote), known_port(remote)) < 0 ||
        known_key_type(key, type) < 0)
        return mf_raise(error, MF_ESETUP, "the host name %.40s... is too long", remote->host);
    unsigned char *text = mf_malloc(room);
    char *line = NULL;
    if (text != NULL && mbedtls_base64_encode(text, room, &length, key.data, key.length) == 0)
        line = mf_format("%s%s %s %s\n", last == '\n' ? "" : "\n", name, type, (char *)text);
    mf_free(text);
    if (line == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a line of known_hosts");
    ssize_t written = write(fd, line, strlen(line));
    bool whole = written == (ssize_t)strlen(line);
    mf_free(line);
    if (written < 0)
        return mf_raise_errno(error, "cannot write the key of %s", remote->place);
    return whole ? 0 : mf_raise(error, MF_ESYSTEM, "the disk is full");
}

/* Adds the key, unless somebody has meanwhile. */
static int
accept_into(struct remote *remote, const char *path, struct mf_bytes key, struct mf_error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return mf_raise_errno(error, "cannot add the key of %s to %s", remote->place, path);
    struct known_host known = {0};
    const struct known_key *which;
    int rc = lock(fd, path, error);
    if (rc == 0)
        rc = scan_fd(remote, &known, fd, path, 0, error);
    enum known_verdict verdict = known_host_judge(&known, key, &which);
    if (rc == 0 && verdict == KNOWN_NEVER_SEEN) {
        rc = append_line(remote, fd, key, error);
        if (rc < 0)
            mf_error_prefix(error, "cannot add the key of %s to %s", remote->place, path);
    } else if (rc == 0 && verdict != KNOWN_GOOD) {
        rc = mf_raise(error,
                      MF_ESETUP,
                      "%s shows two different host keys: one was just added to %s, line %u",
                      remote->place,
                      path,
                      which == NULL ? 0 : which->line);
    }
    known_host_fini(&known);
    close(fd); /* and unlocks */
    return rc;
}

static int accept_new(struct remote *remote, struct mf_bytes key, struct mf_error *error)
{
    if (remote->config->known_hosts == NULL && remote->home != NULL) {
        char *folder = mf_format("%s/.ssh", remote->home);
        if (folder != NULL)
            mkdir(folder, 0700); /* if it is missing still, opening the file says so */
        mf_free(folder);
    }
    char *path = file_path(remote, 0);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the path of known_hosts");
    int rc = accept_into(remote, path, key, error);
    if (rc == 0) {
        char print[KNOWN_PRINT_SIZE];
        mf_log(MF_INFO,
               "the host %s is new: its key %s was added to %s",
               remote->place,
               known_key_print(key, print),
               path);
    }
    mf_free(path);
    return rc;
}

static enum remote_step never_seen(struct remote *remote, const char *type, const char *print)
{
    char *path = file_path(remote, 0);
    char port[16] = "";
    if (remote->port != 22)
        snprintf(port, sizeof port, "-p %u ", (unsigned)remote->port);
    remote_fail(remote,
                false,
                "the host %s is not known (its %s key is %s): compare that, then add it with "
                "ssh-keyscan %s%s >> %s, or use --accept-new",
                remote->place,
                type,
                print,
                port,
                remote->host,
                path == NULL ? "known_hosts" : path);
    mf_free(path);
    return STEP_FAILED;
}

static enum remote_step refuse(struct remote *remote,
                               enum known_verdict verdict,
                               const struct known_key *which,
                               const char *type,
                               const char *print)
{
    char place[512], name[512];
    place_of(remote, which, place, sizeof place);
    known_host_name(name, sizeof name, known_name(remote), known_port(remote));
    if (verdict == KNOWN_CHANGED)
        return remote_fail(remote,
                           false,
                           "THE HOST KEY OF %s HAS CHANGED: it now shows the %s key %s, which is "
                           "not the one in %s; somebody may be listening in between, so ask who "
                           "looks after the host, and only if it was set up anew remove the old "
                           "line with ssh-keygen -R '%s' -f '%.*s'",
                           remote->place,
                           type,
                           print,
                           place,
                           name,
                           (int)(strrchr(place, ':') - place),
                           place);
    if (verdict == KNOWN_IS_REVOKED)
        return remote_fail(remote,
                           false,
                           "the host key of %s (%s %s) is marked @revoked in %s: the host needs a "
                           "new key before it can be trusted",
                           remote->place,
                           type,
                           print,
                           place);
    if (verdict == KNOWN_BY_AUTHORITY)
        remote_cannot(remote, "the host is known by a @cert-authority, in %.160s", place);
    if (verdict == KNOWN_BY_AUTHORITY)
        return remote_fail(remote,
                           false,
                           "the host %s is known only by a @cert-authority (%s), and host "
                           "certificates are not supported by this client: add its key itself, "
                           "%s %s",
                           remote->place,
                           place,
                           type,
                           print);
    bool rsa = which != NULL && strcmp(which->type, "ssh-rsa") == 0;
    if (rsa)
        remote_cannot(remote, "of the host only an RSA key is recorded, in %.160s", place);
    return remote_fail(remote,
                       false,
                       "of the host %s %s key is recorded (%s), and it shows another, %s %s%s: "
                       "compare that, then add it with ssh-keyscan -t %s -p %u %s",
                       remote->place,
                       rsa ? "only an RSA" : "another type of",
                       place,
                       type,
                       print,
                       rsa ? " (libssh2 1.10 knows RSA only with SHA-1, refused by today's sshd)"
                           : "",
                       strncmp(type, "ecdsa", 5) == 0 ? "ecdsa" : "ed25519",
                       (unsigned)remote->port,
                       remote->host);
}

enum remote_step step_host_key(struct remote *remote)
{
    size_t length = 0;
    int kind = 0;
    char type[KNOWN_TYPE_SIZE] = "", print[KNOWN_PRINT_SIZE];
    const char *blob = libssh2_session_hostkey(remote->session, &length, &kind);
    struct mf_bytes key = mf_bytes_of(blob, blob == NULL ? 0 : length);
    if (known_key_type(key, type) < 0)
        return remote_fail(remote, false, "%s shows no host key: look at its sshd", remote->place);
    known_key_print(key, print);
    const struct known_key *which = NULL;
    enum known_verdict verdict = known_host_judge(&remote->known, key, &which);
    if (verdict == KNOWN_NEVER_SEEN && remote_accepts_new(remote)) {
        if (accept_new(remote, key, &remote->error) < 0)
            return STEP_FAILED;
    } else if (verdict == KNOWN_NEVER_SEEN) {
        return never_seen(remote, type, print);
    } else if (verdict != KNOWN_GOOD) {
        return refuse(remote, verdict, which, type, print);
    }
    known_host_fini(&remote->known);
    remote_set_state(remote, REMOTE_KEYS);
    return STEP_ON;
}
