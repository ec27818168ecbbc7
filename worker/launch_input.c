/* SPDX-License-Identifier: Apache-2.0 */
/* The launch input: see launch_input.h. */
#include "worker/launch_input.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <mbedtls/platform_util.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"

#define INPUT_MAX (64u << 10)

static int read_line(int fd, char *line, size_t size, struct mf_error *error)
{
    size_t n = 0;
    while (n + 1 < size && memchr(line, '\n', n) == NULL) {
        ssize_t got = read(fd, line + n, size - 1 - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mf_raise_errno(error, "cannot read the launch input");
        if (got == 0)
            break;
        n += (size_t)got;
    }
    line[n] = '\0';
    if (memchr(line, '\n', n) == NULL)
        return mf_raise(
            error, MF_EPROTOCOL, "the launch input (%zu bytes) is not one whole line of JSON", n);
    return 0;
}

static char *take_text(json_t *root, const char *key, struct mf_error *error)
{
    const char *text = json_string_value(json_object_get(root, key));
    if (text == NULL) {
        mf_raise(error, MF_EPROTOCOL, "the launch input has no text \"%s\"", key);
        return NULL;
    }
    char *copy = mf_strdup(text);
    if (copy == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: the launch input");
    return copy;
}

/* NULL when it is not there. */
static int take_optional(json_t *root, const char *key, char **text, struct mf_error *error)
{
    if (json_object_get(root, key) == NULL)
        return 0;
    *text = take_text(root, key, error);
    return *text == NULL ? -1 : 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_token(const char *hex, unsigned char *token, struct mf_error *error)
{
    if (hex == NULL || strlen(hex) != 2 * MF_TOKEN_SIZE)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "the launch input has no token of %d hex digits",
                        2 * MF_TOKEN_SIZE);
    for (unsigned i = 0; i < MF_TOKEN_SIZE; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return mf_raise(error, MF_EPROTOCOL, "the launch input's token is not hexadecimal");
        token[i] = (unsigned char)(high << 4 | low);
    }
    return 0;
}

/* Takes `address`. One that is there already is not tried twice. */
static int add_address(struct launch_input *input, char *address, struct mf_error *error)
{
    if (address == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the launch input");
    for (uint32_t i = 0; i < input->address_count; i++)
        if (strcmp(input->addresses[i], address) == 0) {
            mf_free(address);
            return 0;
        }
    input->addresses[input->address_count++] = address;
    return 0;
}

/* Where the login that started this worker came from, if it was one. */
static int add_ssh_address(json_int_t port, struct launch_input *input, struct mf_error *error)
{
    const char *connection = getenv("SSH_CONNECTION");
    char client[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (port < 1 || port > UINT16_MAX || connection == NULL)
        return 0;
    size_t length = strcspn(connection, " ");
    if (length >= sizeof client)
        return 0;
    memcpy(client, connection, length);
    client[length] = '\0';
    bool is_v6 = inet_pton(AF_INET6, client, &address) == 1;
    if (!is_v6 && inet_pton(AF_INET, client, &address) != 1)
        return 0;
    return add_address(
        input,
        mf_format(
            "tls+tcp://%s%s%s:%u", is_v6 ? "[" : "", client, is_v6 ? "]" : "", (unsigned)port),
        error);
}

static void drop_addresses(struct launch_input *input)
{
    while (input->address_count > 0)
        mf_free(input->addresses[--input->address_count]);
}

static int take_addresses(json_t *root, struct launch_input *input, struct mf_error *error)
{
    json_t *list = json_object_get(root, "addresses");
    size_t count = json_array_size(list);
    if (count > LAUNCH_ADDRESSES_MAX - 1)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "the launch input has %zu addresses, up to %d are allowed",
                        count,
                        LAUNCH_ADDRESSES_MAX - 1);
    if (add_ssh_address(json_integer_value(json_object_get(root, "ssh_port")), input, error) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text == NULL)
            return mf_raise(
                error, MF_EPROTOCOL, "address %zu of the launch input is not a text", i + 1);
        if (add_address(input, mf_strdup(text), error) < 0)
            return -1;
    }
    return 0;
}

static int parse_addresses(json_t *root, struct launch_input *input, struct mf_error *error)
{
    if (take_addresses(root, input, error) < 0)
        return -1;
    input->listens = json_is_true(json_object_get(root, "listen"));
    if (input->address_count == 0 && !input->listens)
        return mf_raise(error, MF_EPROTOCOL, "the launch input has no address of a master");
    return 0;
}

static int parse(json_t *root, struct launch_input *input, struct mf_error *error)
{
    json_int_t version = json_integer_value(json_object_get(root, "version"));
    if (version != 1)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "the launch input has version %lld, this worker knows version 1",
                        (long long)version);
    json_int_t worker = json_integer_value(json_object_get(root, "worker"));
    json_int_t slots = json_integer_value(json_object_get(root, "slots"));
    if (worker < 1 || worker > UINT32_MAX || slots < 0 || slots > 4096)
        return mf_raise(error,
                        MF_EPROTOCOL,
                        "the launch input has worker %lld with %lld slots",
                        (long long)worker,
                        (long long)slots);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    input->worker = (uint32_t)worker;
    input->slots = slots > 0 ? (uint32_t)slots : (uint32_t)(cores > 0 ? cores : 1);
    json_int_t orphan_us = json_integer_value(json_object_get(root, "orphan_us"));
    input->keep_program = json_is_true(json_object_get(root, "keep_program"));
    input->orphan_us = orphan_us > 0 ? (uint64_t)orphan_us : 600000000u;
    if ((input->run_id = take_text(root, "run", error)) == NULL ||
        (input->authority_pem = take_text(root, "authority", error)) == NULL ||
        (input->certificate_pem = take_text(root, "certificate", error)) == NULL ||
        (input->key_pem = take_text(root, "key", error)) == NULL ||
        take_optional(root, "journal", &input->journal_folder, error) < 0 ||
        take_optional(root, "crash", &input->crash, error) < 0)
        return -1;
    if (parse_token(json_string_value(json_object_get(root, "token")), input->token, error) < 0)
        return -1;
    return parse_addresses(root, input, error);
}

int launch_input_read(int fd, struct launch_input *input, struct mf_error *error)
{
    *input = (struct launch_input){0};
    char *line = mf_malloc(INPUT_MAX);
    if (line == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the launch input");
    json_t *root = NULL;
    int rc = read_line(fd, line, INPUT_MAX, error);
    if (rc == 0) {
        json_error_t why;
        root = json_loads(line, JSON_REJECT_DUPLICATES, &why);
        rc = root == NULL
                 ? mf_raise(error, MF_EPROTOCOL, "the launch input is not JSON: %s", why.text)
                 : parse(root, input, error);
    }
    mbedtls_platform_zeroize(line, INPUT_MAX);
    mf_free(line);
    json_decref(root);
    if (rc < 0)
        launch_input_fini(input);
    return rc;
}

static bool is_same(const struct launch_input *a, const struct launch_input *b)
{
    if (a->address_count != b->address_count)
        return false;
    for (uint32_t i = 0; i < a->address_count; i++)
        if (strcmp(a->addresses[i], b->addresses[i]) != 0)
            return false;
    return true;
}

bool launch_input_renew(struct launch_input *input, const char *folder)
{
    struct launch_input other = {0};
    char *path = mf_format("%s/addresses", folder);
    json_t *root = path == NULL ? NULL : json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    bool is_new = root != NULL && take_addresses(root, &other, NULL) == 0 &&
                  other.address_count > 0 && !is_same(input, &other);
    if (is_new) {
        drop_addresses(input);
        memcpy(input->addresses, other.addresses, sizeof input->addresses);
        input->address_count = other.address_count;
    } else {
        drop_addresses(&other);
    }
    json_decref(root);
    mf_free(path);
    return is_new;
}

/* Bound for a moment, so that the kernel picks one; it is free again when it is listened on. */
int launch_input_reserve_port(struct launch_input *input, struct mf_error *error)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    if (!input->listens)
        return 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        mf_raise_errno(error, "cannot find a port on which the master could be waited for");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    close(fd);
    input->listen_port = ntohs(address.sin_port);
    return 0;
}

void launch_input_fini(struct launch_input *input)
{
    if (input->key_pem != NULL)
        mbedtls_platform_zeroize(input->key_pem, strlen(input->key_pem));
    mbedtls_platform_zeroize(input->token, sizeof input->token);
    mf_free(input->run_id);
    mf_free(input->authority_pem);
    mf_free(input->certificate_pem);
    mf_free(input->key_pem);
    mf_free(input->journal_folder);
    mf_free(input->crash);
    drop_addresses(input);
    *input = (struct launch_input){0};
}
