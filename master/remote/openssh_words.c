/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What OpenSSH's client says, turned into what the other back end would have said: the same
 * sentences with the same remedies, and the same decision whether to try again. What it says is
 * known for the versions of many years; what is not known is passed on in its own words.
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "master/remote/remote_internal.h"

#define EXIT_OWN 255 /* of ssh itself, and of a command that says so */

const char *openssh_let_in(const char *said)
{
    return strstr(said, "Authenticated to ");
}

bool openssh_is_connecting(const struct remote *remote)
{
    const char *said = (const char *)remote->openssh.said.data;
    return remote->state == REMOTE_OPENSSH_LOGIN &&
           (said == NULL || strstr(said, "Connection established") == NULL);
}

int openssh_exit_code(const char *said, int status)
{
    if (said == NULL || !WIFEXITED(status))
        return -1;
    if (strstr(said, "rtype exit-signal") != NULL)
        return 128 + 9; /* which signal it was is not told */
    if (strstr(said, "rtype exit-status") != NULL || WEXITSTATUS(status) != EXIT_OWN)
        return WEXITSTATUS(status);
    return -1;
}

/* What stands behind `word` up to the end of that line, or of `until`; "" when it is not there. */
static const char *
behind(const char *said, const char *word, const char *until, char *text, size_t size)
{
    const char *from = strstr(said, word);
    text[0] = '\0';
    if (from == NULL)
        return text;
    from += strlen(word);
    size_t length = strcspn(from, "\r\n");
    const char *to = until == NULL ? NULL : strstr(from, until);
    if (to != NULL && (size_t)(to - from) < length)
        length = (size_t)(to - from);
    remote_print(text, size, from, length);
    return text;
}

/* The last line that is not about how far it came. Those that we asked for begin with a place in
 * ssh's source. */
static void last_word(const char *said, char *text, size_t size)
{
    text[0] = '\0';
    for (const char *line = said; line != NULL && *line != '\0';) {
        size_t length = strcspn(line, "\r\n");
        const char *mark = memmem(line, length, " (pid=", 6);
        const char *from =
            mark == NULL ? NULL : memmem(mark, length - (size_t)(mark - line), "): ", 3);
        from = from == NULL ? line : from + 3;
        bool is_way = strncmp(line, "debug", 5) == 0 || strncmp(line, "@@@", 3) == 0 ||
                      strncmp(from, "Authenticated to ", 17) == 0;
        if (length > 0 && !is_way)
            remote_print(text, size, from, length - (size_t)(from - line));
        line += length;
        line += strspn(line, "\r\n");
    }
    if (strncmp(text, "ssh: ", 5) == 0)
        memmove(text, text + 5, strlen(text + 5) + 1);
}

static enum remote_step unresolved(struct remote *remote, const char *said)
{
    char name[256], why[128];
    behind(said, "Could not resolve hostname ", ":", name, sizeof name);
    char *start = strstr(said, "Could not resolve hostname ");
    behind(start, ": ", NULL, why, sizeof why);
    if (strstr(why, "Temporary failure") != NULL)
        return remote_fail(remote,
                           true,
                           "the name %s cannot be resolved now: the name servers do not answer",
                           name);
    return remote_fail(remote,
                       false,
                       "the host name %s does not resolve (%s): check its spelling, or add it to "
                       "/etc/hosts",
                       name,
                       why);
}

/* "connect to host NAME port N: reason" */
static enum remote_step unconnected(struct remote *remote, const char *said)
{
    char why[128];
    const char *start = strstr(said, "connect to host "), *at = strstr(start, " port ");
    behind(at == NULL ? start : at, ": ", NULL, why, sizeof why);
    const char *remedy = "check host, port, and the network between";
    if (strcmp(why, "Connection refused") == 0)
        remedy = "is sshd running there, and on this port?";
    else if (strcmp(why, "Connection timed out") == 0)
        remedy = "is it up, and does a firewall let it through?";
    return remote_fail(remote,
                       strstr(why, "reset") != NULL,
                       "cannot connect to %s (%s): %s",
                       remote->place,
                       why,
                       remedy);
}

/* Type and fingerprint of the key that the host showed, or of its certificate. */
static void shown_key(const char *said, char *type, size_t type_size, char *print, size_t size)
{
    behind(said, "Server host key: ", " ", type, type_size);
    if (type[0] == '\0')
        behind(said, "Server host certificate: ", " ", type, type_size);
    behind(said, " SHA256:", ",", print, size);
}

static enum remote_step unknown_key(struct remote *remote, const char *said)
{
    char type[64], print[96], port[16] = "";
    shown_key(said, type, sizeof type, print, sizeof print);
    if (remote->port != 22)
        snprintf(port, sizeof port, "-p %u ", (unsigned)remote->port);
    return remote_fail(remote,
                       false,
                       "the host %s is not known (its %s key is SHA256:%s): compare that, then add "
                       "it with ssh-keyscan %s%s >> %s, or use --accept-new",
                       remote->place,
                       type,
                       print,
                       port,
                       remote->host,
                       remote->config->known_hosts == NULL ? "~/.ssh/known_hosts"
                                                           : remote->config->known_hosts);
}

static enum remote_step changed_key(struct remote *remote, const char *said)
{
    char type[64], print[96], place[256], line[300], name[300];
    shown_key(said, type, sizeof type, print, sizeof print);
    const char *offending = strstr(said, "Offending ");
    behind(offending == NULL ? said : offending, " in ", NULL, line, sizeof line);
    behind(line, "", ":", place, sizeof place);
    if (known_host_name(name, sizeof name, remote->host, remote->port) < 0)
        name[0] = '\0';
    return remote_fail(remote,
                       false,
                       "THE HOST KEY OF %s HAS CHANGED: it now shows the %s key SHA256:%s, which "
                       "is not the one in %s; somebody may be listening in between, so ask who "
                       "looks after the host, and only if it was set up anew remove the old line "
                       "with ssh-keygen -R '%s' -f '%s'",
                       remote->place,
                       type,
                       print,
                       line,
                       name,
                       place);
}

/* The first key file that ssh may have passed over since it asks nobody; NULL = none. */
static const char *locked_file(const struct remote *remote)
{
    const struct settings *settings = remote->settings;
    const char *named = remote->config->identity;
    unsigned count = named != NULL ? 1 : settings == NULL ? 0 : settings->identity_count;
    for (unsigned i = 0; i < count; i++) {
        struct key_file key;
        struct mf_error problem;
        const char *path = named != NULL ? named : settings->identities[i];
        (void)key_file_read(&key, path, &problem);
        bool is_locked = key.locked;
        key_file_fini(&key);
        if (is_locked)
            return path;
    }
    return NULL;
}

static enum remote_step refused(struct remote *remote, const char *said)
{
    char methods[128], locked[400] = "";
    const char *file = locked_file(remote);
    if (file != NULL)
        snprintf(locked,
                 sizeof locked,
                 "; %.160s needs a passphrase, and this client has that only from an agent: "
                 "ssh-add %.160s",
                 file,
                 file);
    behind(said, "Permission denied (", ")", methods, sizeof methods);
    if (methods[0] == '\0')
        snprintf(methods, sizeof methods, "nothing that it tells");
    if (strstr(said, "UNPROTECTED PRIVATE KEY FILE") != NULL)
        return remote_fail(remote,
                           false,
                           "cannot log in to %s: others can read the private key %s, so ssh does "
                           "not use it: chmod 600 it",
                           remote->place,
                           remote->config->identity == NULL ? "" : remote->config->identity);
    return remote_fail(
        remote,
        false,
        "%s refuses the login of %s with %s (OpenSSH's client%s); it accepts %s: add "
        "the key to ~/.ssh/authorized_keys there (ssh-copy-id), or name another "
        "with -i",
        remote->place,
        remote->user,
        remote->config->identity == NULL ? "the agent's and the usual keys"
                                         : remote->config->identity,
        locked,
        methods);
}

static enum remote_step nothing_in_common(struct remote *remote, const char *said)
{
    char what[64], offer[256];
    behind(said, "no matching ", " found", what, sizeof what);
    behind(said, "Their offer: ", NULL, offer, sizeof offer);
    return remote_fail(remote,
                       false,
                       "%s has no %s in common with OpenSSH's client here (it offers %s): mend its "
                       "sshd_config, or allow one of these in ~/.ssh/config",
                       remote->place,
                       what,
                       offer);
}

/* It ended before anybody was let in. */
static enum remote_step hung_up(struct remote *remote, const char *said)
{
    char greeting[128];
    behind(said, "banner line 0: ", NULL, greeting, sizeof greeting);
    remote->crowded = strncmp(greeting, "Exceeded MaxStartups", 20) == 0 ||
                      strncmp(greeting, "Not allowed at", 14) == 0;
    if (remote->crowded)
        return remote_fail(remote,
                           true,
                           "%s refused a login ('%s'): too many at once for MaxStartups in its "
                           "sshd_config",
                           remote->place,
                           greeting);
    if (greeting[0] != '\0')
        return remote_fail(remote,
                           false,
                           "%s is not an SSH server (it says '%s'): check host and port",
                           remote->place,
                           greeting);
    return remote_fail(remote,
                       true,
                       "%s closed the connection before it said anything: too many logins at once "
                       "for MaxStartups in its sshd_config, or this machine is not admitted there",
                       remote->place);
}

/* What a proxy has said on standard error is the reason, whatever ssh makes of it. */
static enum remote_step proxy_failed(struct remote *remote)
{
    char why[300];
    const char *text = mf_buffer_text(&remote->openssh.command->problem);
    last_word(text == NULL ? "" : text, why, sizeof why);
    return remote_fail(remote,
                       false,
                       "the way to %s by its ProxyCommand or ProxyJump ended before %s answered%s%s"
                       ": try ssh %s, and look at the ssh configuration",
                       remote->place,
                       remote->place,
                       why[0] == '\0' ? "" : ": ",
                       why,
                       remote->named_host);
}

static enum remote_step not_begun(struct remote *remote, const char *said)
{
    remote->openssh.command->begun = false;
    if (strstr(said, "exec request failed") != NULL)
        return remote_fail(remote,
                           false,
                           "%s lets %s log in but runs no command for it: look at the account's "
                           "authorized_keys and at sshd_config there",
                           remote->place,
                           remote->user);
    return remote_fail(remote,
                       false,
                       "%s lets %s log in but opens no session: look at MaxSessions in its "
                       "sshd_config",
                       remote->place,
                       remote->user);
}

static bool says(const char *said, const char *words)
{
    return strstr(said, words) != NULL;
}

enum remote_step openssh_failed(struct remote *remote)
{
    const char *said = mf_buffer_text(&remote->openssh.said);
    char word[400];
    if (said == NULL)
        return remote_fail(remote, false, "out of memory: what ssh says of %s", remote->place);
    last_word(said, word, sizeof word);
    if (remote->openssh.command->begun &&
        (says(said, "open failed") || says(said, "request failed on")))
        return not_begun(remote, said);
    if (remote->openssh.command->begun && says(said, "Timeout, server "))
        return remote_fail(remote,
                           true,
                           "%s has not answered for a while: is it up, and the network between?",
                           remote->place);
    if (remote->openssh.command->begun)
        return remote_fail(remote,
                           true,
                           "%s broke the connection while running a command (%s)",
                           remote->place,
                           word[0] == '\0' ? "closed by the host" : word);
    if (says(said, "Could not resolve hostname "))
        return unresolved(remote, said);
    if (says(said, "connect to host "))
        return unconnected(remote, said);
    if (says(said, "REMOTE HOST IDENTIFICATION HAS CHANGED"))
        return changed_key(remote, said);
    if (says(said, "REVOKED HOST KEY DETECTED"))
        return remote_fail(remote,
                           false,
                           "the host key of %s is marked @revoked: the host needs a new key before "
                           "it can be trusted",
                           remote->place);
    if (says(said, "key is known for ") || says(said, "Host key verification failed"))
        return unknown_key(remote, said);
    if (says(said, "Too many authentication failures"))
        return remote_fail(remote,
                           false,
                           "%s ended the login of %s after too many keys for its MaxAuthTries: "
                           "name the right one with -i",
                           remote->place,
                           remote->user);
    if (says(said, "Permission denied ("))
        return refused(remote, said);
    if (says(said, "no matching "))
        return nothing_in_common(remote, said);
    if (says(said, "ssh_proxy_connect()"))
        return proxy_failed(remote);
    bool was_cut = says(said, "Connection closed by") || says(said, "Connection reset by");
    if (says(said, "kex_exchange_identification: ") ||
        (was_cut && !says(said, "Remote protocol version")))
        return hung_up(remote, said);
    return remote_fail(remote,
                       was_cut,
                       "cannot log in to %s: OpenSSH's client says: %s",
                       remote->place,
                       word[0] == '\0' ? "nothing" : word);
}
