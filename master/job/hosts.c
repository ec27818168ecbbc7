/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of hosts: see hosts.h. What could be taken for something else later on - an option, a part
 * of a shell line, another field - is refused here, so that nobody behind has to think of it.
 */
#include "master/job/hosts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/job/tree.h"

#define FILE_BYTES_MAX (4u << 20)
#define NAME_BYTES_MAX 255u

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory while reading a list of hosts");
}

static int refuse(const char *entry, struct mf_error *error, const char *why)
{
    char shown[TREE_PLACE_MAX];
    tree_show(entry, shown, sizeof shown);
    return mf_raise(error, MF_EUSAGE, "host '%s': %s", shown, why);
}

static bool is_digits(const char *text, size_t length)
{
    return length > 0 && strspn(text, "0123456789") >= length;
}

/* Only digits, no sign. -1 when it is no number from 1 to max. */
static int parse_number(const char *text, uint32_t max, uint32_t *out)
{
    uint32_t value = 0;
    size_t length = strlen(text);
    if (!is_digits(text, length) || length > 9)
        return -1;
    for (; *text != '\0'; text++)
        value = value * 10 + (uint32_t)(*text - '0');
    if (value < 1 || value > max)
        return -1;
    *out = value;
    return 0;
}

static int check_bytes(struct mf_bytes entry, const char *text, struct mf_error *error)
{
    if (entry.length == 0)
        return mf_raise(error,
                        MF_EUSAGE,
                        "an entry is empty; expected a host such as user@host:22/4, or ':' for "
                        "this machine");
    if (entry.length > HOST_TEXT_MAX)
        return refuse(text, error, "an entry has at most 400 bytes");
    for (size_t i = 0; i < entry.length; i++) {
        unsigned char c = entry.data[i];
        if (c == ' ' || c == '\t')
            return refuse(text, error, "there is a blank inside; entries are separated by commas");
        if (c == ',')
            return refuse(text, error, "there is a comma inside; expected one host");
        if (c < 0x20 || c == 0x7f)
            return refuse(text, error, "there is a control character inside");
        if (c >= 0x80)
            return refuse(
                text, error, "expected ASCII letters only; an international name starts with xn--");
    }
    if (*text == '-')
        return refuse(text, error, "it starts with a dash, as an option does");
    return 0;
}

/* Takes the number of slots off `rest`, at its end or, as GNU Parallel has it, at its front. */
static int take_slots(struct job_host *host, char **rest, const char *entry, struct mf_error *error)
{
    char *slash = strchr(*rest, '/');
    if (slash == NULL)
        return 0;
    if (strchr(slash + 1, '/') != NULL)
        return refuse(entry, error, "there are several slashes; expected user@host:port/slots");
    *slash = '\0';
    char *slots = slash + 1;
    if (is_digits(*rest, strlen(*rest)) && !is_digits(slots, strlen(slots))) {
        slots = *rest;
        *rest = slash + 1;
    }
    if (parse_number(slots, HOST_SLOTS_MAX, &host->slots) < 0)
        return refuse(
            entry, error, "behind the slash, a number of slots from 1 to 4096 is expected");
    return 0;
}

/* Takes the port off the end of an address or name; a bare IPv6 address has none. */
static int take_port(struct job_host *host, char **rest, const char *entry, struct mf_error *error)
{
    char *text = *rest, *colon = strchr(text, ':'), *port = NULL;
    uint32_t number;
    if (*text == '[') {
        char *end = strchr(text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':') || strchr(text, ':') == NULL ||
            strchr(text, ':') > end)
            return refuse(entry, error, "brackets hold an IPv6 address: [address]:port");
        port = end[1] == ':' ? end + 2 : NULL;
        *end = '\0';
        *rest = text + 1;
    } else if (colon != NULL && strchr(colon + 1, ':') == NULL) {
        *colon = '\0';
        port = colon + 1;
    }
    if (port == NULL)
        return 0;
    if (parse_number(port, 65535, &number) < 0)
        return refuse(entry, error, "behind the colon, a port from 1 to 65535 is expected");
    host->port = (uint16_t)number;
    return 0;
}

static int check_ipv6(const char *name, const char *entry, struct mf_error *error)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr binary;
    size_t length = strcspn(name, "%"); /* behind it, the interface of a link-local address */
    snprintf(address, sizeof address, "%.*s", (int)length, name);
    bool has_bad_zone =
        name[length] == '%' && (name[length + 1] == '\0' || strpbrk(name + length + 1, ":%[]"));
    if (length >= sizeof address || inet_pton(AF_INET6, address, &binary) != 1 || has_bad_zone)
        return refuse(entry,
                      error,
                      "this is no IPv6 address, and several colons are nothing else; with a port "
                      "write [address]:port");
    return 0;
}

static int check_name(const char *name, const char *entry, struct mf_error *error)
{
    size_t length = strlen(name);
    if (length == 0)
        return refuse(entry, error, "the host's name is missing; this machine is ':' alone");
    if (strchr(name, ':') != NULL)
        return check_ipv6(name, entry, error);
    if (length > NAME_BYTES_MAX)
        return refuse(entry, error, "a host's name has at most 255 bytes");
    if (*name == '-')
        return refuse(entry, error, "the host's name starts with a dash, as an option does");
    if (is_digits(name, length))
        return refuse(entry, error, "the host's name is a bare number");
    if (strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") < length)
        return refuse(
            entry, error, "a host's name has letters, digits, dots, dashes and underscores only");
    return 0;
}

/* Names for a login; what a shell or a log would trip over is no name anywhere. */
static int check_user(const char *user, const char *entry, struct mf_error *error)
{
    if (*user == '\0')
        return refuse(entry, error, "the user's name before the @ is missing");
    if (*user == '-')
        return refuse(entry, error, "the user's name starts with a dash, as an option does");
    if (strpbrk(user, "'\"`$\\;&|<>(){}[]*?!#~/:") != NULL)
        return refuse(entry, error, "there is a sign in the user's name that no user's name has");
    return 0;
}

/* Cuts `rest`, a copy of the entry, into its parts. The host's strings are its own. */
static int parse_entry(struct job_host *host, char *rest, const char *entry, struct mf_error *error)
{
    if (take_slots(host, &rest, entry, error) < 0)
        return -1;
    host->name = mf_strdup(rest);
    if (host->name == NULL)
        return raise_memory(error);
    if (strcmp(rest, ":") == 0) {
        host->is_local = true;
        return 0;
    }
    char *at = strrchr(rest, '@'), *user = at == NULL ? NULL : rest;
    if (at != NULL) {
        *at = '\0';
        rest = at + 1;
    }
    if (*rest == ':' && strchr(rest + 1, ':') == NULL)
        return refuse(entry, error, "':' is this machine and takes neither user nor port");
    if ((user != NULL && check_user(user, entry, error) < 0) ||
        take_port(host, &rest, entry, error) < 0 || check_name(rest, entry, error) < 0)
        return -1;
    host->host = mf_strdup(rest);
    host->user = user == NULL ? NULL : mf_strdup(user);
    return host->host == NULL || (user != NULL && host->user == NULL) ? raise_memory(error) : 0;
}

static void host_fini(struct job_host *host)
{
    mf_free(host->text);
    mf_free(host->name);
    mf_free(host->user);
    mf_free(host->host);
    mf_free(host->identity);
    *host = (struct job_host){0};
}

/* Room for one more: capacity is the next power of two, so that it need not be stored. */
static int make_room(struct job_hosts *hosts, struct mf_error *error)
{
    if (hosts->count == HOSTS_MAX)
        return mf_raise(error, MF_EUSAGE, "more than %u hosts in one list", HOSTS_MAX);
    if ((hosts->count & (hosts->count - 1)) != 0)
        return 0;
    size_t capacity = hosts->count == 0 ? 1 : hosts->count * 2;
    struct job_host *items = mf_realloc(hosts->items, capacity * sizeof *items);
    if (items == NULL)
        return raise_memory(error);
    hosts->items = items;
    return 0;
}

int hosts_add(struct job_hosts *hosts, struct mf_bytes entry, struct mf_error *error)
{
    struct job_host host = {0};
    char *rest = mf_memdup(entry.data, entry.length);
    host.text = mf_memdup(entry.data, entry.length);
    int rc = host.text == NULL || rest == NULL ? raise_memory(error)
                                               : check_bytes(entry, host.text, error);
    if (rc == 0)
        rc = parse_entry(&host, rest, host.text, error);
    if (rc == 0)
        rc = make_room(hosts, error);
    if (rc == 0)
        hosts->items[hosts->count++] = host;
    else
        host_fini(&host);
    mf_free(rest);
    return rc;
}

static struct mf_bytes trim(struct mf_bytes text)
{
    while (text.length > 0 && strchr(" \t", text.data[0]) != NULL && text.data[0] != '\0') {
        text.data++;
        text.length--;
    }
    while (text.length > 0 &&
           (text.data[text.length - 1] == ' ' || text.data[text.length - 1] == '\t'))
        text.length--;
    return text;
}

int hosts_add_list(struct job_hosts *hosts, const char *text, struct mf_error *error)
{
    for (;;) {
        size_t length = strcspn(text, ",");
        if (hosts_add(hosts, trim(mf_bytes_of(text, length)), error) < 0)
            return -1;
        if (text[length] == '\0')
            return 0;
        text += length + 1;
    }
}

/* The entry of a line: without line end, comment and blanks. */
static struct mf_bytes strip_line(struct mf_bytes line)
{
    if (line.length > 0 && line.data[line.length - 1] == '\r')
        line.length--;
    for (size_t i = 0; i < line.length; i++) {
        if (line.data[i] == '#' && (i == 0 || line.data[i - 1] == ' ' || line.data[i - 1] == '\t'))
            line.length = i;
    }
    return trim(line);
}

int hosts_add_lines(struct job_hosts *hosts,
                    const char *path,
                    struct mf_bytes text,
                    struct mf_error *error)
{
    size_t before = hosts->count, number = 0;
    while (text.length > 0) {
        const unsigned char *end = memchr(text.data, '\n', text.length);
        size_t length = end == NULL ? text.length : (size_t)(end - text.data);
        struct mf_bytes entry = strip_line(mf_bytes_of(text.data, length));
        number++;
        if (entry.length > 0 && hosts_add(hosts, entry, error) < 0)
            return error != NULL && error->code == MF_ENOMEM
                       ? -1
                       : mf_error_prefix(error, "%s:%zu", path, number);
        length += end == NULL ? 0 : 1;
        text = mf_bytes_of(text.data + length, text.length - length);
    }
    if (hosts->count == before)
        return mf_raise(error,
                        MF_EUSAGE,
                        "%s: the host file names no host; expected one a line, such as "
                        "user@host:22/4",
                        path);
    return 0;
}

static int raise_unreadable(const char *path, struct mf_error *error)
{
    mf_raise_errno(error, "%s: the host file cannot be read", path);
    if (error != NULL)
        error->code = MF_EUSAGE;
    return -1;
}

static int read_all(int fd, const char *path, struct mf_buffer *text, struct mf_error *error)
{
    while (text->length <= FILE_BYTES_MAX) {
        if (mf_buffer_reserve(text, 16384, error) < 0)
            return -1;
        ssize_t n = read(fd, text->data + text->length, 16384);
        if (n == 0)
            return 0;
        if (n > 0)
            text->length += (size_t)n;
        else if (errno != EINTR)
            return raise_unreadable(path, error);
    }
    return mf_raise(
        error, MF_EUSAGE, "%s: a host file of more than 4 MiB; is this the right file?", path);
}

int hosts_read(struct job_hosts *hosts, const char *path, struct mf_error *error)
{
    struct mf_buffer text = {0};
    /* Not blocking: a pipe that nobody writes to must not hang. One that has a writer is awaited.
     */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return raise_unreadable(path, error);
    int rc = fcntl(fd, F_SETFL, O_RDONLY) < 0 ? raise_unreadable(path, error)
                                              : read_all(fd, path, &text, error);
    close(fd);
    if (rc == 0)
        rc = hosts_add_lines(hosts, path, mf_buffer_view(&text), error);
    mf_buffer_fini(&text);
    return rc;
}

void hosts_fini(struct job_hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++)
        host_fini(&hosts->items[i]);
    mf_free(hosts->items);
    *hosts = (struct job_hosts){0};
}
