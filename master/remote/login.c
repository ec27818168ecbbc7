/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging in with keys: those of the agent, then those in files; or only the one that was named.
 *
 * What the host accepts is asked only when all was in vain, for the sentence that says so: asking
 * first would cost every login a round trip. What keeps a key from being tried becomes a remark of
 * that sentence.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "master/remote/remote_internal.h"

static const char *const default_files[] = {"id_ed25519", "id_ecdsa"};
#define DEFAULT_FILES (sizeof default_files / sizeof *default_files)

/* Puts an item behind a list in `text`; what does not fit is cut. */
static void add_item(char *text, size_t size, const char *between, const char *item)
{
    size_t at = strlen(text);
    if (snprintf(text + at, size - at, "%s%s", at == 0 ? "" : between, item) >= (int)(size - at))
        memcpy(text + size - 4, "...", 4);
}

static void remark(struct login *login, const char *text)
{
    add_item(login->remarks, sizeof login->remarks, "; ", text);
}

static void note_tried(struct login *login, const char *text)
{
    login->tried_count++;
    add_item(login->tried, sizeof login->tried, ", ", text);
}

static enum remote_step logged_in(struct remote *remote)
{
    login_fini(remote);
    remote_set_state(remote, REMOTE_IDLE);
    return STEP_ON;
}

static enum remote_step next_key(struct remote *remote)
{
    remote_set_state(remote, REMOTE_KEYS);
    return STEP_ON;
}

/* The host did not only refuse a key. */
static bool is_over(const struct remote *remote)
{
    return remote->lost != 0 || remote->farewell[0] != '\0';
}

static enum remote_step login_broke(struct remote *remote)
{
    if (strstr(remote->farewell, "Too many authentication failures") != NULL)
        return remote_fail(
            remote,
            false,
            "%s ended the login of %s after %u keys (%s), which are too many for its "
            "MaxAuthTries: name the right one with -i",
            remote->place,
            remote->user,
            remote->login.tried_count,
            remote->login.tried);
    return session_broke(remote, "logging in");
}

/* Takes `path`. */
static int set_path(struct login *login, char *path, struct mf_error *error)
{
    mf_free(login->path);
    login->path = path;
    return path != NULL ? 0 : mf_raise(error, MF_ENOMEM, "out of memory: the path of a key file");
}

/* A key that OpenSSH's client could use. */
static void note_foreign(struct remote *remote)
{
    const struct login *login = &remote->login;
    if (login->key.foreign)
        remote_cannot(remote, "%.160s is a key of type %s", login->path, login->key.type);
}

/* Whether the key, read and locked, can be used all the same, with what somebody has said. */
static bool has_phrase(struct remote *remote)
{
    struct login *login = &remote->login;
    const struct ask *ask = config_ask(remote);
    login->phrase = ask == NULL ? NULL : ask_known(ask, login->path);
    if (login->phrase == NULL && login->locked == NULL)
        login->locked = mf_strdup(login->path);
    return login->phrase != NULL;
}

/* Nothing else is left to be tried: somebody is asked, if there is anybody, and then the login
 * begins anew, since no host waits that long. False: nobody is asked. */
static bool ask_for_phrase(struct remote *remote)
{
    struct login *login = &remote->login;
    const struct ask *ask = config_ask(remote);
    if (ask == NULL || login->locked == NULL || !ask_is_possible(ask, login->locked))
        return false;
    mf_free(remote->locked);
    remote->locked = login->locked;
    login->locked = NULL;
    remote_release(remote);
    remote->deadline_us = MF_NEVER;
    remote_set_state(remote, REMOTE_PASSPHRASE);
    return true;
}

enum remote_step step_passphrase(struct remote *remote)
{
    switch (ask_for(config_ask(remote), remote->loop, remote->locked)) {
    case ASK_SAID:
        return config_go_on(remote);
    case ASK_WAITS:
        return STEP_WAIT;
    default:
        return remote_fail(
            remote,
            false,
            "cannot log in to %s: the key %s needs a passphrase, and nobody says the "
            "right one: unlock it once with ssh-add %s",
            remote->place,
            remote->locked,
            remote->locked);
    }
}

/* The key that was named can't be used, whatever the host thinks of it. */
static enum remote_step identity_failed(struct remote *remote)
{
    mf_error_prefix(&remote->error, "cannot log in to %s", remote->place);
    return STEP_FAILED;
}

/* Files that the configuration names: before the agent, so that they do not come too late for a
 * host that takes few attempts. A locked one is looked for in the agent. */
static bool use_next_named(struct remote *remote)
{
    const struct settings *settings = remote->settings;
    struct login *login = &remote->login;
    struct mf_error problem;
    while (login->next_file < settings->identity_count) {
        const char *path = settings->identities[login->next_file++];
        if (set_path(login, mf_strdup(path), &problem) < 0)
            return false;
        key_file_fini(&login->key);
        if (key_file_read(&login->key, login->path, &problem) < 0) {
            note_foreign(remote);
            remark(login, problem.text);
            continue;
        }
        login->only_key = login->key.locked && !has_phrase(remote);
        remote_set_state(remote, login->only_key ? REMOTE_AGENT : REMOTE_KEY_FILE);
        return true;
    }
    return false;
}

static enum remote_step use_named(struct remote *remote)
{
    struct login *login = &remote->login;
    if (use_next_named(remote))
        return STEP_ON;
    login->only_key = false;
    bool is_over = login->agent_done || remote->settings->only_identities;
    remote_set_state(remote, is_over ? REMOTE_REFUSED : REMOTE_AGENT);
    return STEP_ON;
}

static enum remote_step use_identity(struct remote *remote)
{
    struct login *login = &remote->login;
    if (login->tried_count > 0 || login->agent_done) {
        remote_set_state(remote, REMOTE_REFUSED);
        return STEP_ON;
    }
    if (set_path(login, mf_strdup(remote->config->identity), &remote->error) < 0)
        return STEP_FAILED;
    if (key_file_read(&login->key, login->path, &remote->error) < 0) {
        note_foreign(remote);
        return identity_failed(remote);
    }
    login->only_key = login->key.locked && !has_phrase(remote);
    remote_set_state(remote, login->only_key ? REMOTE_AGENT : REMOTE_KEY_FILE);
    return STEP_ON;
}

/* Whether the file is there and can be used without asking anybody. */
static bool load_default(struct remote *remote, const char *name)
{
    struct login *login = &remote->login;
    struct mf_error problem;
    if (set_path(login, mf_format("%s/.ssh/%s", remote->home, name), &problem) < 0 ||
        access(login->path, F_OK) < 0)
        return false;
    key_file_fini(&login->key);
    if (key_file_read(&login->key, login->path, &problem) < 0) {
        note_foreign(remote);
        remark(login, problem.text);
        return false;
    }
    if (!login->key.locked || has_phrase(remote))
        return true;
    mf_raise(&problem, MF_ESETUP, "%s needs a passphrase (ssh-add %s)", login->path, login->path);
    remark(login, problem.text);
    key_file_fini(&login->key);
    return false;
}

/* Keys that many have and libssh2 can't use: say why they were passed over. */
static void look_for_foreign(struct remote *remote)
{
    static const struct {
        const char *name, *type;
    } foreign[] = {{"id_rsa", "ssh-rsa"},
                   {"id_ecdsa_sk", "sk-ecdsa-sha2-nistp256@openssh.com"},
                   {"id_ed25519_sk", "sk-ssh-ed25519@openssh.com"}};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        struct mf_error problem;
        char *path = mf_format("%s/.ssh/%s", remote->home, foreign[i].name);
        if (path != NULL && access(path, F_OK) == 0 &&
            key_type_usable(foreign[i].type, path, &problem) < 0) {
            remark(&remote->login, problem.text);
            remote_cannot(remote, "%.160s is a key of type %s", path, foreign[i].type);
        }
        mf_free(path);
    }
}

enum remote_step step_keys(struct remote *remote)
{
    struct login *login = &remote->login;
    /* The key that was named is for the hosts of the job: a hop on the way may have its own. */
    bool has_named = remote->settings != NULL && remote->settings->identity_count > 0;
    if (has_named && (remote->config->identity == NULL || remote->beyond != NULL))
        return use_named(remote);
    if (remote->config->identity != NULL)
        return use_identity(remote);
    if (!login->agent_done) {
        remote_set_state(remote, REMOTE_AGENT);
        return STEP_ON;
    }
    if (remote->home == NULL)
        remark(login, "HOME is not set, so there are no key files");
    while (remote->home != NULL && login->next_file < DEFAULT_FILES)
        if (load_default(remote, default_files[login->next_file++])) {
            remote_set_state(remote, REMOTE_KEY_FILE);
            return STEP_ON;
        }
    if (remote->home != NULL)
        look_for_foreign(remote);
    remote_set_state(remote, REMOTE_REFUSED);
    return STEP_ON;
}

/* -1: there is no agent that could be used; a remark says why. */
static int open_agent(struct remote *remote)
{
    struct login *login = &remote->login;
    const char *path = getenv("SSH_AUTH_SOCK");
    const char *named = remote->settings == NULL ? NULL : remote->settings->agent;
    char text[256];
    if (named != NULL)
        path = strcmp(named, "none") == 0 ? NULL : named;
    if (path == NULL || path[0] == '\0') {
        remark(login, "no agent is running (SSH_AUTH_SOCK is not set)");
        return -1;
    }
    login->agent = libssh2_agent_init(remote->session);
    if (login->agent != NULL && named != NULL)
        libssh2_agent_set_identity_path(login->agent, named);
    if (login->agent == NULL || libssh2_agent_connect(login->agent) != 0 ||
        libssh2_agent_list_identities(login->agent) != 0) {
        snprintf(text, sizeof text, "the agent at %.160s (SSH_AUTH_SOCK) does not answer", path);
        remark(login, text);
        if (login->agent != NULL)
            libssh2_agent_free(login->agent);
        login->agent = NULL;
        return -1;
    }
    return 0;
}

/* Whether the agent's key is one to try. */
static bool is_wanted(struct remote *remote)
{
    struct login *login = &remote->login;
    struct mf_bytes blob = mf_bytes_of(login->identity->blob, login->identity->blob_len);
    char type[KNOWN_TYPE_SIZE], name[320];
    struct mf_error problem;
    if (login->only_key)
        return mf_bytes_equal(blob, mf_buffer_view(&login->key.public_key));
    if (known_key_type(blob, type) < 0)
        return false;
    const char *comment = login->identity->comment;
    snprintf(name, sizeof name, "the agent's key '%.200s'", comment == NULL ? "" : comment);
    if (key_type_usable(type, name, &problem) == 0)
        return true;
    remark(login, problem.text);
    remote_cannot(remote, "%.160s is one of type %s", name, type);
    return false;
}

static void note_agent_key(struct login *login)
{
    struct mf_bytes blob = mf_bytes_of(login->identity->blob, login->identity->blob_len);
    char type[KNOWN_TYPE_SIZE] = "", print[KNOWN_PRINT_SIZE], text[256];
    known_key_type(blob, type);
    known_key_print(blob, print);
    snprintf(text, sizeof text, "the agent's %s %s", type, print);
    note_tried(login, text);
}

/* Goes on to the agent's next key that is to be tried; false at the end. */
static bool next_identity(struct remote *remote)
{
    struct login *login = &remote->login;
    struct libssh2_agent_publickey *next = NULL;
    while (libssh2_agent_get_identity(login->agent, &next, login->identity) == 0) {
        login->identity = next;
        if (is_wanted(remote))
            return true;
    }
    if (login->identity == NULL)
        remark(login, "the agent has no keys (ssh-add adds one)");
    else if (login->only_key)
        remark(login, "the agent has other keys");
    return false;
}

static enum remote_step leave_agent(struct remote *remote)
{
    struct login *login = &remote->login;
    if (login->only_key && remote->config->identity == NULL) {
        struct mf_error problem;
        mf_raise(&problem, MF_ESETUP, "%s needs a passphrase (ssh-add it)", login->path);
        remark(login, problem.text);
        login->identity = NULL;
        return next_key(remote);
    }
    login->agent_done = true;
    if (login->only_key && ask_for_phrase(remote))
        return STEP_ON;
    if (login->only_key && login->tried_count == 0)
        return remote_fail(
            remote,
            false,
            "cannot log in to %s: the key %s needs a passphrase (%s): unlock it once "
            "with ssh-add %s",
            remote->place,
            remote->login.path,
            remote->login.remarks,
            remote->login.path);
    return next_key(remote);
}

enum remote_step step_agent(struct remote *remote)
{
    struct login *login = &remote->login;
    if (login->agent == NULL && open_agent(remote) < 0)
        return leave_agent(remote);
    if (login->identity == NULL && !next_identity(remote))
        return leave_agent(remote);
    int rc = libssh2_agent_userauth(login->agent, remote->user, login->identity);
    if (remote_blocked(rc))
        return STEP_WAIT;
    if (rc == 0)
        return logged_in(remote);
    note_agent_key(login);
    if (is_over(remote))
        return login_broke(remote);
    return next_identity(remote) ? STEP_ON : leave_agent(remote);
}

/* What was said does not unlock the key. */
static enum remote_step was_wrong(struct remote *remote)
{
    struct login *login = &remote->login;
    ask_was_wrong(config_ask(remote), login->path);
    mf_free(login->locked);
    login->locked = mf_strdup(login->path);
    login->phrase = NULL;
    if (ask_for_phrase(remote))
        return STEP_ON;
    return remote_fail(
        remote,
        false,
        "cannot log in to %s: the key %s needs a passphrase, and nobody says the right "
        "one: unlock it once with ssh-add %s",
        remote->place,
        login->path,
        login->path);
}

enum remote_step step_key_file(struct remote *remote)
{
    struct login *login = &remote->login;
    int rc = libssh2_userauth_publickey_frommemory(remote->session,
                                                   remote->user,
                                                   strlen(remote->user),
                                                   NULL,
                                                   0,
                                                   login->key.text,
                                                   login->key.length,
                                                   login->phrase);
    if (remote_blocked(rc))
        return STEP_WAIT;
    if (rc == 0)
        return logged_in(remote);
    if (rc != LIBSSH2_ERROR_AUTHENTICATION_FAILED && rc != LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED &&
        !is_over(remote)) {
        if (login->phrase != NULL)
            return was_wrong(remote);
        mf_raise(&remote->error,
                 MF_ESETUP,
                 "%s cannot be used as a private key: is it damaged, or of a rare kind? (make one "
                 "with ssh-keygen -t ed25519)",
                 login->path);
        if (remote->config->identity != NULL)
            return identity_failed(remote);
        remark(login, remote->error.text);
        return next_key(remote);
    }
    note_tried(login, login->path);
    key_file_fini(&login->key);
    login->phrase = NULL;
    return is_over(remote) ? login_broke(remote) : next_key(remote);
}

/* ssh takes a certificate that lies beside a key by itself. `key` is taken. */
static void look_for_certificate(struct remote *remote, char *key)
{
    char *path = key == NULL ? NULL : mf_format("%s-cert.pub", key);
    if (path != NULL && access(path, F_OK) == 0)
        remote_cannot(remote, "there is a certificate, %.160s", path);
    mf_free(path);
    mf_free(key);
}

static void look_for_certificates(struct remote *remote)
{
    static const char *const names[] = {"id_ed25519", "id_ecdsa", "id_rsa"};
    const struct settings *settings = remote->settings;
    bool has_named = settings != NULL && settings->identity_count > 0;
    if (remote->config->identity != NULL)
        look_for_certificate(remote, mf_strdup(remote->config->identity));
    for (unsigned i = 0; has_named && i < settings->identity_count; i++)
        look_for_certificate(remote, mf_strdup(settings->identities[i]));
    if (has_named || remote->config->identity != NULL || remote->home == NULL)
        return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        look_for_certificate(remote, mf_format("%s/.ssh/%s", remote->home, names[i]));
}

/* Ways in that libssh2 does not know: a certificate beside a key, a ticket of Kerberos. */
static void look_for_other_ways(struct remote *remote, const char *methods)
{
    const char *tickets = getenv("KRB5CCNAME");
    look_for_certificates(remote);
    char file[64];
    snprintf(file, sizeof file, "/tmp/krb5cc_%u", (unsigned)geteuid());
    if (strstr(methods, "gssapi-with-mic") != NULL && (tickets != NULL || access(file, F_OK) == 0))
        remote_cannot(remote, "the host takes " KERBEROS ", and there are tickets");
}

enum remote_step step_refused(struct remote *remote)
{
    const struct login *login = &remote->login;
    if (login->locked != NULL && ask_for_phrase(remote))
        return STEP_ON;
    char methods[128] = "nothing that it tells";
    const char *list =
        libssh2_userauth_list(remote->session, remote->user, (unsigned)strlen(remote->user));
    if (list == NULL && remote_blocked(libssh2_session_last_errno(remote->session)))
        return STEP_WAIT;
    if (list == NULL && libssh2_userauth_authenticated(remote->session))
        return logged_in(remote);
    if (list != NULL)
        remote_print(methods, sizeof methods, list, strlen(list));
    look_for_other_ways(remote, methods);
    const char *open = login->remarks[0] == '\0' ? "" : " (", *close = *open == '\0' ? "" : ")";
    if (login->tried_count == 0)
        return remote_fail(remote,
                           false,
                           "there is no key to log in to %s as %s with%s%s%s; it accepts %s: make "
                           "one with ssh-keygen -t ed25519 and bring it there with ssh-copy-id, or "
                           "name one with -i",
                           remote->place,
                           remote->user,
                           open,
                           login->remarks,
                           close,
                           methods);
    return remote_fail(remote,
                       false,
                       "%s refuses the login of %s with %s%s%s%s; it accepts %s: add the key to "
                       "~/.ssh/authorized_keys there (ssh-copy-id), or name another with -i",
                       remote->place,
                       remote->user,
                       login->tried,
                       open,
                       login->remarks,
                       close,
                       methods);
}

void login_fini(struct remote *remote)
{
    struct login *login = &remote->login;
    if (login->agent != NULL)
        libssh2_agent_free(login->agent);
    key_file_fini(&login->key);
    mf_free(login->path);
    mf_free(login->locked);
    *login = (struct login){0};
}
