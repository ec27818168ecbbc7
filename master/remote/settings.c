/* SPDX-License-Identifier: Apache-2.0 */
/* Settings out of what `ssh -G` prints: see settings.h. Lists of files are not quoted there, so
 * that a known_hosts file with a blank in its name cannot be told from two. */
#include "master/remote/settings.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/buffer.h"

static const char *const usual_identities[] = {"~/.ssh/id_rsa",
                                               "~/.ssh/id_ecdsa",
                                               "~/.ssh/id_ecdsa_sk",
                                               "~/.ssh/id_ed25519",
                                               "~/.ssh/id_ed25519_sk",
                                               "~/.ssh/id_xmss",
                                               "~/.ssh/id_dsa"};

struct reader {
    struct settings *settings;
    const struct settings_scope *scope;
    unsigned usual; /* identities that are the usual ones */
    bool has_known; /* some known_hosts file is not */
    struct mf_error *error;
};

static int no_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory: the ssh configuration");
}

static void cannot(struct reader *reader, const char *word, const char *value)
{
    snprintf(reader->settings->elsewhere,
             sizeof reader->settings->elsewhere,
             "the ssh configuration has %s %.180s",
             word,
             value);
}

static int append_placeholder(struct reader *reader, char c, struct mf_buffer *out)
{
    const struct settings *settings = reader->settings;
    const struct passwd *entry;
    switch (c) {
    case '%':
        return mf_buffer_append_text(out, "%", reader->error);
    case 'd':
        return mf_buffer_append_text(out, reader->scope->home, reader->error);
    case 'h':
        return mf_buffer_append_text(
            out, settings->hostname == NULL ? "" : settings->hostname, reader->error);
    case 'n':
        return mf_buffer_append_text(out, reader->scope->name, reader->error);
    case 'p':
        return mf_buffer_printf(
            out, reader->error, "%u", settings->port == 0 ? 22 : (unsigned)settings->port);
    case 'r':
        return mf_buffer_append_text(
            out, settings->user == NULL ? "" : settings->user, reader->error);
    case 'i':
        return mf_buffer_printf(out, reader->error, "%u", (unsigned)geteuid());
    case 'u':
        entry = getpwuid(geteuid());
        return mf_buffer_append_text(out, entry == NULL ? "" : entry->pw_name, reader->error);
    default:
        return 1;
    }
}

/* The path with `~` and placeholders put in; heap. Those that only ssh knows are noted. */
static char *expand(struct reader *reader, const char *word, const char *path)
{
    struct mf_buffer out = {0};
    const char *home = reader->scope->home, *from = path;
    int rc = 0;
    if (strncmp(from, "~/", 2) == 0) {
        rc = mf_buffer_append_text(&out, home, reader->error);
        from++;
    } else if (*from != '/' && strcmp(from, "none") != 0) {
        rc = mf_buffer_printf(&out, reader->error, "%s/", home);
    }
    for (; rc == 0 && *from != '\0'; from++) {
        if (*from == '%' && from[1] != '\0')
            rc = append_placeholder(reader, *++from, &out);
        else
            rc = mf_buffer_append(&out, from, 1, reader->error);
        if (strncmp(from, "${", 2) == 0)
            rc = 1;
    }
    if (rc > 0)
        cannot(reader, word, path);
    char *text = rc < 0 || mf_buffer_text(&out) == NULL ? NULL : mf_strdup((char *)out.data);
    mf_buffer_fini(&out);
    if (text == NULL)
        no_memory(reader->error);
    return text;
}

static int set_text(struct reader *reader, char **text, const char *value)
{
    mf_free(*text);
    *text = mf_strdup(value);
    return *text == NULL ? no_memory(reader->error) : 0;
}

static int
add_file(struct reader *reader, char **files, unsigned *count, const char *word, const char *path)
{
    if (*count == SETTINGS_FILES)
        return 0;
    files[*count] = expand(reader, word, path);
    if (files[*count] == NULL)
        return -1;
    ++*count;
    return 0;
}

static int add_identity(struct reader *reader, const char *path)
{
    struct settings *settings = reader->settings;
    for (size_t i = 0; i < sizeof usual_identities / sizeof *usual_identities; i++)
        reader->usual += strcmp(path, usual_identities[i]) == 0;
    return add_file(reader, settings->identities, &settings->identity_count, "IdentityFile", path);
}

/* Of the user or of the machine: a list. */
static int add_known(struct reader *reader, const char *value, bool is_user)
{
    char usual[512];
    snprintf(usual,
             sizeof usual,
             "%s/.ssh/known_hosts %s/.ssh/known_hosts2",
             reader->scope->user_home,
             reader->scope->user_home);
    bool is_usual =
        strcmp(value, is_user ? usual : "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2") == 0;
    struct settings *settings = reader->settings;
    reader->has_known = reader->has_known || !is_usual;
    settings->has_user_known = settings->has_user_known || (is_user && !is_usual);
    char *list = is_usual && is_user ? mf_format("%s/.ssh/known_hosts", reader->scope->home)
                                     : mf_strdup(value);
    char *rest = list;
    int rc = list == NULL ? no_memory(reader->error) : 0;
    for (char *path; rc == 0 && (path = strsep(&rest, " \t")) != NULL;)
        if (*path != '\0' && strcmp(path, "none") != 0)
            rc = add_file(
                reader, settings->known, &settings->known_count, "UserKnownHostsFile", path);
    mf_free(list);
    return rc;
}

static unsigned number(const char *value)
{
    unsigned long n = strtoul(value, NULL, 10);
    return n > 86400 ? 86400 : (unsigned)n;
}

/* Paths come last, since their placeholders are of what comes before: two passes. */
static int take_plain(struct reader *reader, const char *word, const char *value)
{
    struct settings *settings = reader->settings;
    bool is_none = strcmp(value, "none") == 0;
    if (strcmp(word, "hostname") == 0)
        return set_text(reader, &settings->hostname, value);
    if (strcmp(word, "user") == 0)
        return set_text(reader, &settings->user, value);
    if (strcmp(word, "port") == 0)
        settings->port = (uint16_t)strtoul(value, NULL, 10);
    else if (strcmp(word, "identitiesonly") == 0)
        settings->only_identities = strcmp(value, "yes") == 0;
    else if (strcmp(word, "stricthostkeychecking") == 0)
        settings->accept_new = strcmp(value, "accept-new") == 0 || strcmp(value, "no") == 0 ||
                               strcmp(value, "off") == 0 || strcmp(value, "false") == 0;
    else if (strcmp(word, "hostkeyalias") == 0)
        return set_text(reader, &settings->key_alias, value);
    else if (strcmp(word, "proxyjump") == 0 && !is_none)
        return set_text(reader, &settings->jump, value);
    else if (strcmp(word, "proxycommand") == 0 && !is_none)
        return set_text(reader, &settings->proxy, value);
    else if (strcmp(word, "connecttimeout") == 0)
        settings->connect_s = number(value);
    else if (strcmp(word, "serveraliveinterval") == 0)
        settings->alive_s = number(value);
    else if (strcmp(word, "serveralivecountmax") == 0)
        settings->alive_count = number(value);
    else if (strcmp(word, "addressfamily") == 0)
        settings->family = strcmp(value, "inet") == 0    ? AF_INET
                           : strcmp(value, "inet6") == 0 ? AF_INET6
                                                         : AF_UNSPEC;
    else if ((strcmp(word, "certificatefile") == 0 || strcmp(word, "pkcs11provider") == 0 ||
              strcmp(word, "revokedhostkeys") == 0 || strcmp(word, "knownhostscommand") == 0 ||
              strcmp(word, "bindaddress") == 0 || strcmp(word, "bindinterface") == 0) &&
             !is_none)
        cannot(reader, word, value);
    return 0;
}

static int take_paths(struct reader *reader, const char *word, const char *value)
{
    struct settings *settings = reader->settings;
    if (strcmp(word, "identityfile") == 0)
        return strcmp(value, "none") == 0 ? 0 : add_identity(reader, value);
    if (strcmp(word, "userknownhostsfile") == 0)
        return add_known(reader, value, true);
    if (strcmp(word, "identityagent") != 0 || strcmp(value, "SSH_AUTH_SOCK") == 0)
        return 0;
    mf_free(settings->agent);
    settings->agent = expand(reader, "IdentityAgent", value);
    return settings->agent == NULL ? -1 : 0;
}

static int take_global(struct reader *reader, const char *word, const char *value)
{
    return strcmp(word, "globalknownhostsfile") == 0 ? add_known(reader, value, false) : 0;
}

typedef int take_f(struct reader *reader, const char *word, const char *value);

static int read_lines(struct reader *reader, const char *text, take_f *take)
{
    char *copy = mf_strdup(text), *rest = copy;
    int rc = copy == NULL ? no_memory(reader->error) : 0;
    for (char *line; rc == 0 && (line = strsep(&rest, "\n")) != NULL;) {
        char *value = strchr(line, ' ');
        if (value == NULL)
            continue;
        *value++ = '\0';
        value[strcspn(value, "\r")] = '\0';
        rc = take(reader, line, value);
    }
    mf_free(copy);
    return rc;
}

static void forget_files(char **files, unsigned *count)
{
    while (*count > 0)
        mf_free(files[--*count]);
}

int settings_parse(struct settings *settings,
                   const char *text,
                   const struct settings_scope *scope,
                   struct mf_error *error)
{
    struct reader reader = {.settings = settings, .scope = scope, .error = error};
    if (read_lines(&reader, text, take_plain) < 0 || read_lines(&reader, text, take_paths) < 0 ||
        read_lines(&reader, text, take_global) < 0)
        return -1;
    if (settings->hostname == NULL)
        return mf_raise(error, MF_ESETUP, "ssh -G %s prints no settings", scope->name);
    /* All of them, and nothing else: nobody has chosen any. */
    if (reader.usual == settings->identity_count && reader.usual > 2)
        forget_files(settings->identities, &settings->identity_count);
    if (!reader.has_known)
        forget_files(settings->known, &settings->known_count);
    return 0;
}

void settings_fini(struct settings *settings)
{
    char *texts[] = {settings->hostname,
                     settings->user,
                     settings->agent,
                     settings->key_alias,
                     settings->jump,
                     settings->proxy};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        mf_free(texts[i]);
    forget_files(settings->identities, &settings->identity_count);
    forget_files(settings->known, &settings->known_count);
    *settings = (struct settings){0};
}
