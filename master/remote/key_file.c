/* SPDX-License-Identifier: Apache-2.0 */
/* Private key files: see key_file.h. OpenSSH's own format shows type and public key also of a
 * locked key; the older PEM ones show their kind in the first line. */
#include "master/remote/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <mbedtls/base64.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/remote/known_hosts.h"

#define FILE_MAX (64u << 10)

static const char openssh_begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
static const char openssh_end[] = "-----END OPENSSH PRIVATE KEY-----";
static const char openssh_magic[] = "openssh-key-v1"; /* with its NUL */

int key_type_usable(const char *type, const char *name, struct mf_error *error)
{
    if (strncmp(type, "sk-", 3) == 0)
        return mf_raise(
            error,
            MF_ESETUP,
            "%s is a key on a hardware token, which this client cannot use: make another "
            "with ssh-keygen -t ed25519",
            name);
    if (strcmp(type, "ssh-rsa") == 0)
        return mf_raise(
            error,
            MF_ESETUP,
            "%s is an RSA key, which this client (libssh2 1.10) can only use with SHA-1, "
            "refused by today's sshd: make another with ssh-keygen -t ed25519",
            name);
    if (type[0] == '\0' || strcmp(type, "ssh-ed25519") == 0 ||
        strcmp(type, "ecdsa-sha2-nistp256") == 0 || strcmp(type, "ecdsa-sha2-nistp384") == 0 ||
        strcmp(type, "ecdsa-sha2-nistp521") == 0)
        return 0;
    return mf_raise(error,
                    MF_ESETUP,
                    "%s is a key of type %s, which this client does not know: make another with "
                    "ssh-keygen -t ed25519",
                    name,
                    type);
}

static int read_text(struct key_file *key, const char *path, struct mf_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0) {
        if (errno == ENOENT)
            mf_raise(error, MF_ESETUP, "the key file %s does not exist", path);
        else
            mf_raise_errno(error, "cannot read the key file %s", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    if (!S_ISREG(status.st_mode) || status.st_size > (off_t)FILE_MAX) {
        close(fd);
        return mf_raise(error, MF_ESETUP, "%s is not a private key (no file, or too large)", path);
    }
    key->text = mf_calloc(1, FILE_MAX + 1);
    ssize_t got = key->text == NULL ? 0 : read(fd, key->text, FILE_MAX);
    int saved = errno;
    close(fd);
    if (key->text == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the key file %s", path);
    errno = saved;
    if (got < 0)
        return mf_raise_errno(error, "cannot read the key file %s", path);
    key->length = (size_t)got;
    return 0;
}

/* Takes a string (four bytes of length, then the bytes) from *rest. */
static int take_string(struct mf_bytes *rest, struct mf_bytes *string)
{
    if (rest->length < 4)
        return -1;
    const unsigned char *d = rest->data;
    size_t length = (size_t)d[0] << 24 | (size_t)d[1] << 16 | (size_t)d[2] << 8 | (size_t)d[3];
    if (length > rest->length - 4)
        return -1;
    *string = mf_bytes_of(d + 4, length);
    rest->data += 4 + length;
    rest->length -= 4 + length;
    return 0;
}

/* What stands in front of the secret part. 0 also when it is damaged: libssh2 will say so. */
static int read_openssh_head(struct key_file *key, struct mf_bytes rest, struct mf_error *error)
{
    struct mf_bytes cipher, kdf, options, public_key;
    size_t magic = sizeof openssh_magic;
    if (rest.length < magic || memcmp(rest.data, openssh_magic, magic) != 0)
        return 0;
    rest.data += magic;
    rest.length -= magic;
    if (take_string(&rest, &cipher) < 0 || take_string(&rest, &kdf) < 0 ||
        take_string(&rest, &options) < 0 || rest.length < 4)
        return 0;
    rest.data += 4; /* the number of keys: always one */
    rest.length -= 4;
    if (take_string(&rest, &public_key) < 0 || known_key_type(public_key, key->type) < 0)
        return 0;
    key->locked = !mf_bytes_equal(cipher, mf_bytes_text("none"));
    return mf_buffer_append(&key->public_key, public_key.data, public_key.length, error);
}

static int read_openssh(struct key_file *key, const char *begin, struct mf_error *error)
{
    const char *from = begin + sizeof openssh_begin - 1;
    const char *to = strstr(from, openssh_end);
    if (to == NULL)
        return 0;
    size_t room = (size_t)(to - from), length = 0;
    unsigned char *data = mf_malloc(room + 3);
    char *lines = mf_malloc(room + 1);
    int rc = -1;
    if (data == NULL || lines == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a key");
    } else {
        size_t n = 0;
        for (const char *c = from; c < to; c++)
            if (*c != '\n' && *c != '\r' && *c != ' ')
                lines[n++] = *c;
        rc = 0;
        if (mbedtls_base64_decode(data, room, &length, (unsigned char *)lines, n) == 0)
            rc = read_openssh_head(key, mf_bytes_of(data, length), error);
        explicit_bzero(lines, room + 1);
        explicit_bzero(data, room + 3);
    }
    mf_free(data);
    mf_free(lines);
    return rc;
}

static int look(struct key_file *key, const char *path, struct mf_error *error)
{
    const char *begin = strstr(key->text, "-----BEGIN ");
    if (strstr(key->text, "PuTTY-User-Key-File") == key->text)
        return mf_raise(error,
                        MF_ESETUP,
                        "%s is a key of PuTTY: convert it with puttygen %s -O private-openssh-new",
                        path,
                        path);
    if (strncmp(key->text, "ssh-", 4) == 0 || strncmp(key->text, "ecdsa-", 6) == 0)
        return mf_raise(error,
                        MF_ESETUP,
                        "%s is a public key: name the private one, the file without .pub",
                        path);
    if (begin == NULL || strstr(begin, "PRIVATE KEY-----") == NULL)
        return mf_raise(
            error, MF_ESETUP, "%s is not a private key: make one with ssh-keygen -t ed25519", path);
    if (strncmp(begin, openssh_begin, sizeof openssh_begin - 1) == 0) {
        if (read_openssh(key, begin, error) < 0)
            return -1;
    } else if (strstr(begin, "-----BEGIN RSA ") == begin) {
        strcpy(key->type, "ssh-rsa");
        key->locked = strstr(begin, "ENCRYPTED") != NULL;
    } else if (strstr(begin, "-----BEGIN DSA ") == begin) {
        strcpy(key->type, "ssh-dss");
    } else {
        key->locked = strstr(begin, "ENCRYPTED") != NULL;
    }
    int rc = key_type_usable(key->type, path, error);
    key->foreign = rc < 0;
    return rc;
}

int key_file_read(struct key_file *key, const char *path, struct mf_error *error)
{
    *key = (struct key_file){0};
    if (read_text(key, path, error) == 0 && look(key, path, error) == 0)
        return 0;
    struct key_file what = {.foreign = key->foreign, .locked = key->locked};
    memcpy(what.type, key->type, sizeof what.type);
    key_file_fini(key);
    *key = what;
    return -1;
}

void key_file_fini(struct key_file *key)
{
    if (key->text != NULL)
        explicit_bzero(key->text, key->length);
    mf_free(key->text);
    mf_buffer_fini(&key->public_key);
    *key = (struct key_file){0};
}
