/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of OpenSSH's client. What the user's configuration says counts where it is about
 * reaching a host and logging in; all that asks somebody, opens a terminal, forwards, shares or
 * outlives the command is switched off.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/remote/remote_internal.h"

/* Debug lines of these functions tell how far a login came; ssh's own level stays at errors, since
 * from the next one on it would mix a host's banner into standard error. */
#define WORDS                                                                                      \
    "LogVerbose=*:ssh_userauth2():*,*:client_input_channel_req():*,*:verify_host_key():*,"         \
    "*:kex_exchange_identification():*,*:ssh_connect_direct():*,*:ssh_proxy_connect():*,"          \
    "*:input_userauth_failure():*,*:channel_input_open_failure():*,*:client_status_confirm():*,*:" \
    "sshpkt_vfatal():*,*:ssh_packet_read_poll_seqnr():*,*:server_alive_check():*"

static const char *const always[] = {"-T",
                                     "-x",
                                     "-a",
                                     "-oBatchMode=yes",
                                     "-oLogLevel=ERROR",
                                     "-o" WORDS,
                                     "-oControlMaster=no",
                                     "-oControlPath=none",
                                     "-oControlPersist=no",
                                     "-oClearAllForwardings=yes",
                                     "-oPermitLocalCommand=no",
                                     "-oRemoteCommand=none",
                                     "-oForkAfterAuthentication=no",
                                     "-oStdinNull=no",
                                     "-oSessionType=default",
                                     "-oEscapeChar=none",
                                     "-oTunnel=no",
                                     "-oUpdateHostKeys=no",
                                     "-oNumberOfPasswordPrompts=0"};

/* Of several values ssh takes the first: these stand before what is there always. */
static const char *const at_terminal[] = {"-oEscapeChar=~"};
static const char *const that_asks[] = {"-oBatchMode=no",
                                        "-oNumberOfPasswordPrompts=3", /* of passphrases */
                                        "-oPasswordAuthentication=no",
                                        "-oKbdInteractiveAuthentication=no"};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void add(struct openssh_command *command, char *text)
{
    if (text == NULL || command->count + 1 >= OPENSSH_ARGS_MAX) {
        command->is_short = true;
        mf_free(text);
        return;
    }
    command->argv[command->count++] = text;
}

/* An option whose value is a path: in quotes, since its value may be a list, and without the
 * placeholders that ssh knows. */
static void add_path(struct openssh_command *command, const char *name, const char *path)
{
    char *text = mf_malloc(strlen(name) + 2 * strlen(path) + 6);
    size_t at = 0;
    if (text != NULL) {
        at = (size_t)sprintf(text, "-o%s=\"", name);
        for (; *path != '\0'; path++) {
            if (*path == '"' || *path == '\\')
                text[at++] = '\\';
            if (*path == '%')
                text[at++] = '%';
            text[at++] = *path;
        }
        text[at++] = '"';
        text[at] = '\0';
    }
    add(command, text);
}

/* ssh looks for the usual files at the home of the user data base: where HOME is another one, they
 * are named. */
static void add_usual(struct openssh_command *command, const struct remote *remote)
{
    static const char *const names[] = {
        "id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"};
    const struct settings *settings = remote->settings;
    char path[512];
    if (config_is_at_home(remote))
        return;
    if (remote->config->known_hosts == NULL && (settings == NULL || !settings->has_user_known)) {
        snprintf(path, sizeof path, "%s/.ssh/known_hosts", remote->home);
        add_path(command, "UserKnownHostsFile", path);
    }
    if (remote->config->identity != NULL || (settings != NULL && settings->identity_count > 0))
        return;
    for (size_t i = 0; i < COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/.ssh/%s", remote->home, names[i]);
        add_path(command, "IdentityFile", path);
    }
}

static void add_policy(struct openssh_command *command, const struct remote *remote)
{
    const struct remote_config *config = remote->config;
    add(command,
        mf_strdup(remote_accepts_new(remote) ? "-oStrictHostKeyChecking=accept-new"
                                             : "-oStrictHostKeyChecking=yes"));
    if (config->known_hosts != NULL) {
        add_path(command, "UserKnownHostsFile", config->known_hosts);
        add(command, mf_strdup("-oGlobalKnownHostsFile=none"));
    }
    if (config->identity != NULL) {
        add_path(command, "IdentityFile", config->identity);
        add(command, mf_strdup("-oIdentitiesOnly=yes"));
    }
    if (strstr(remote->elsewhere, KERBEROS) != NULL)
        add(command, mf_strdup("-oGSSAPIAuthentication=yes"));
}

static void add_each(struct openssh_command *command, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add(command, mf_strdup(texts[i]));
}

static void add_config(struct openssh_command *command, const struct remote *remote)
{
    if (remote->config_file == NULL)
        return;
    add(command, mf_strdup("-F"));
    add(command, mf_strdup(remote->config_file));
}

/* As it was named: what the configuration says of that, ssh finds out by itself. */
static void add_target(struct openssh_command *command, const struct remote *remote)
{
    if (remote->named_port != 0)
        add(command, mf_format("-p%u", (unsigned)remote->named_port));
    if (remote->named_user)
        add(command, mf_format("-l%s", remote->user));
    add(command, mf_strdup("--"));
    add(command, mf_strdup(remote->named_host));
}

static int end_of(struct openssh_command *command, struct mf_error *error)
{
    if (!command->is_short)
        return 0;
    openssh_command_fini(command);
    return mf_raise(error, MF_ENOMEM, "out of memory: a command line of ssh");
}

/* 'a' for a, whatever is in it. */
static int append_quoted(struct mf_buffer *out, const char *text, struct mf_error *error)
{
    if (mf_buffer_append_text(out, "'", error) < 0)
        return -1;
    for (; *text != '\0'; text++) {
        int rc = *text == '\'' ? mf_buffer_append_text(out, "'\\''", error)
                               : mf_buffer_append(out, text, 1, error);
        if (rc < 0)
            return -1;
    }
    return mf_buffer_append_text(out, "' ", error);
}

static void add_hop(struct openssh_command *command,
                    const struct remote *remote,
                    const struct remote_target *hop)
{
    add(command, mf_strdup("ssh"));
    if (remote->openssh.may_ask)
        add_each(command, that_asks, COUNT(that_asks));
    add(command, mf_strdup("-oBatchMode=yes"));
    add(command, mf_strdup("-oLogLevel=ERROR"));
    add(command, mf_strdup("-oControlMaster=no"));
    add(command, mf_strdup("-oControlPath=none"));
    add(command, mf_strdup("-oUpdateHostKeys=no"));
    add_config(command, remote);
    add(command, mf_format("-oConnectTimeout=%u", remote_connect_seconds(remote)));
    add_policy(command, remote);
    add_usual(command, remote);
    if (hop->port != 0)
        add(command, mf_format("-p%u", (unsigned)hop->port));
    if (hop->user != NULL)
        add(command, mf_format("-l%s", hop->user));
}

#define WAY "MAYFLY_SSH_WAY_"
/* Quotes and placeholders of one hop within another would multiply: each has its own variable. */
#define PROXY "ProxyCommand=sh -c \"$" WAY "%u\" sh %%h %%p"

/* "WAY_<number>=exec ssh ... host", from $2 on to host $1 port $2; heap. */
static char *line_of_hop(const struct remote *remote,
                         const struct remote_target *hop,
                         unsigned number,
                         bool more)
{
    struct openssh_command inner = {0};
    struct mf_buffer out = {0};
    int rc = mf_buffer_printf(&out, NULL, WAY "%u=exec ", number);
    add_hop(&inner, remote, hop);
    if (more)
        add(&inner, mf_format("-o" PROXY, number + 1));
    for (size_t i = 0; rc == 0 && i < inner.count; i++)
        rc = append_quoted(&out, inner.argv[i], NULL);
    if (rc == 0)
        rc = mf_buffer_append_text(&out, "-W \"[$1]:$2\" -- ", NULL);
    if (rc == 0)
        rc = append_quoted(&out, hop->host, NULL);
    char *text = rc < 0 || inner.is_short || mf_buffer_text(&out) == NULL
                     ? NULL
                     : mf_strdup((char *)out.data);
    openssh_command_fini(&inner);
    mf_buffer_fini(&out);
    return text;
}

/* The hops in front of our own environment, the last one first. */
static int add_ways(struct openssh_command *command, const struct remote *remote)
{
    size_t count = 0, hops = 0;
    for (char *const *at = environ; *at != NULL; at++)
        count++;
    for (const char *at = remote->jump; at != NULL; at = strchr(at + 1, ','))
        hops++;
    char *list = mf_strdup(remote->jump);
    command->env = mf_calloc(count + hops + 1, sizeof *command->env);
    if (list == NULL || command->env == NULL) {
        mf_free(list);
        return -1;
    }
    memcpy(command->env + hops, environ, count * sizeof *environ);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < hops; i++) {
        char *comma = strrchr(list, ',');
        struct remote_target hop;
        if (comma != NULL)
            *comma = '\0';
        rc = jump_parse(comma == NULL ? list : comma + 1, &hop);
        if (rc == 0 && (command->env[i] = line_of_hop(remote, &hop, i + 1, i + 1 < hops)) == NULL)
            rc = -1;
        command->own_env += rc == 0;
    }
    mf_free(list);
    return rc;
}

int openssh_command(const struct remote *remote,
                    int log_fd,
                    struct openssh_command *command,
                    struct mf_error *error)
{
    *command = (struct openssh_command){0};
    add(command, mf_strdup("ssh"));
    if (remote->openssh.may_ask)
        add_each(command, that_asks, COUNT(that_asks));
    if (remote->openssh.has_terminal)
        add_each(command, at_terminal, COUNT(at_terminal));
    add_each(command, always, COUNT(always));
    if (remote->openssh.has_terminal)
        add(command, mf_strdup("-tt")); /* behind -T, it counts */
    add_config(command, remote);
    add(command, mf_strdup("-E"));
    add(command, mf_format("/proc/%d/fd/%d", (int)getpid(), log_fd));
    add(command, mf_format("-oConnectTimeout=%u", remote_connect_seconds(remote)));
    if (remote->settings == NULL || remote->settings->alive_s == 0) {
        add(command, mf_strdup("-oServerAliveInterval=10"));
        add(command, mf_strdup("-oServerAliveCountMax=2"));
    }
    add_policy(command, remote);
    add_usual(command, remote);
    if (remote->jump != NULL) {
        add(command, mf_format("-o" PROXY, 1u));
        if (add_ways(command, remote) < 0) {
            openssh_command_fini(command);
            return mf_raise(
                error, MF_ESETUP, "the ProxyJump %s cannot be used by ssh", remote->jump);
        }
    }
    if (remote->openssh.command == &remote->forwarding)
        add(command, mf_format("-W[%s]:%u", remote->tunnel.host, (unsigned)remote->tunnel.port));
    add_target(command, remote);
    if (remote->openssh.command != &remote->forwarding)
        add(command, mf_strdup(remote->openssh.command->text));
    return end_of(command, error);
}

int openssh_question(const struct remote *remote,
                     struct openssh_command *command,
                     struct mf_error *error)
{
    *command = (struct openssh_command){0};
    add(command, mf_strdup("ssh"));
    add(command, mf_strdup("-G"));
    add(command, mf_strdup("-T"));
    add_config(command, remote);
    add_target(command, remote);
    return end_of(command, error);
}

void openssh_command_fini(struct openssh_command *command)
{
    for (size_t i = 0; i < command->count; i++)
        mf_free(command->argv[i]);
    for (size_t i = 0; i < command->own_env; i++)
        mf_free(command->env[i]);
    mf_free(command->env);
    *command = (struct openssh_command){0};
}
