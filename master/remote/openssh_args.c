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
    "sshpkt_vfatal():*,*:ssh_packet_read_poll_seqnr():*"

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

static void add_policy(struct openssh_command *command, const struct remote_config *config)
{
    add(command,
        mf_strdup(config->accept_new ? "-oStrictHostKeyChecking=accept-new"
                                     : "-oStrictHostKeyChecking=yes"));
    if (config->known_hosts != NULL) {
        add_path(command, "UserKnownHostsFile", config->known_hosts);
        add(command, mf_strdup("-oGlobalKnownHostsFile=none"));
    }
    if (config->identity != NULL) {
        add_path(command, "IdentityFile", config->identity);
        add(command, mf_strdup("-oIdentitiesOnly=yes"));
    }
}

int openssh_command(const struct remote *remote,
                    int log_fd,
                    struct openssh_command *command,
                    struct mf_error *error)
{
    *command = (struct openssh_command){0};
    add(command, mf_strdup("ssh"));
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        add(command, mf_strdup(always[i]));
    if (remote->config->ssh_config != NULL) {
        add(command, mf_strdup("-F"));
        add(command, mf_strdup(remote->config->ssh_config));
    }
    add(command, mf_strdup("-E"));
    add(command, mf_format("/proc/%d/fd/%d", (int)getpid(), log_fd));
    add(command, mf_format("-oConnectTimeout=%u", remote_connect_seconds(remote)));
    add(command, mf_strdup("-oServerAliveInterval=10"));
    add(command, mf_strdup("-oServerAliveCountMax=3"));
    add_policy(command, remote->config);
    if (remote->named_port != 0)
        add(command, mf_format("-p%u", (unsigned)remote->named_port));
    if (remote->named_user)
        add(command, mf_format("-l%s", remote->user));
    add(command, mf_strdup("--"));
    add(command, mf_strdup(remote->host));
    add(command, mf_strdup(remote->first->text));
    if (!command->is_short)
        return 0;
    openssh_command_fini(command);
    return mf_raise(error, MF_ENOMEM, "out of memory: a command line of ssh");
}

void openssh_command_fini(struct openssh_command *command)
{
    for (size_t i = 0; i < command->count; i++)
        mf_free(command->argv[i]);
    *command = (struct openssh_command){0};
}
