/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's ssh configuration: `ssh -G HOST` says what it comes to, so there is no reader of ours.
 * Asked once a host and run: the book keeps the answers. What the job and the command line say
 * wins.
 *
 * ssh takes `~` from the user data base. Where HOME is another folder, that counts here: its
 * .ssh/config is named to ssh, and without one there is none.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/remote/remote_internal.h"

struct page {
    struct page *next;
    char *key;
    struct settings settings;
};

struct remote_book {
    struct page *first;
    struct ask ask;
};

struct remote_book *remote_book_create(struct mf_error *error)
{
    struct remote_book *book = mf_calloc(1, sizeof *book);
    if (book == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: what is known of hosts");
    else
        ask_init(&book->ask);
    return book;
}

void remote_book_destroy(struct remote_book *book)
{
    while (book != NULL && book->first != NULL) {
        struct page *page = book->first;
        book->first = page->next;
        settings_fini(&page->settings);
        mf_free(page->key);
        mf_free(page);
    }
    if (book != NULL)
        ask_fini(&book->ask);
    mf_free(book);
}

void remote_book_hold(struct remote_book *book, void (*hold)(void *arg, bool asks), void *arg)
{
    book->ask.hold = hold;
    book->ask.hold_arg = arg;
}

struct ask *config_ask(const struct remote *remote)
{
    return remote->config->book == NULL ? NULL : &remote->config->book->ask;
}

/* Who was asked for; heap. */
static char *key_of(const struct remote *remote)
{
    return mf_format("%s %u %s",
                     remote->named_host,
                     (unsigned)remote->named_port,
                     remote->named_user ? remote->user : "");
}

static const struct settings *find(const struct remote_book *book, const char *key)
{
    for (const struct page *page = book->first; page != NULL; page = page->next)
        if (strcmp(page->key, key) == 0)
            return &page->settings;
    return NULL;
}

static const char *user_home(const struct remote *remote)
{
    const struct passwd *entry = getpwuid(geteuid());
    return entry != NULL ? entry->pw_dir : remote->home == NULL ? "/" : remote->home;
}

bool config_is_at_home(const struct remote *remote)
{
    return remote->home == NULL || strcmp(remote->home, user_home(remote)) == 0;
}

/* Sets config_file: NULL = ssh knows where. */
int config_find(struct remote *remote, struct mf_error *error)
{
    const char *named = remote->config->ssh_config;
    if (named == NULL && config_is_at_home(remote))
        return 0;
    remote->config_file =
        named != NULL ? mf_strdup(named) : mf_format("%s/.ssh/config", remote->home);
    if (named == NULL && remote->config_file != NULL && access(remote->config_file, F_OK) < 0) {
        mf_free(remote->config_file);
        remote->config_file = mf_strdup("none");
    }
    return remote->config_file == NULL
               ? mf_raise(error, MF_ENOMEM, "out of memory: the ssh configuration")
               : 0;
}

/* Heap text for heap text. */
static int replace(char **text, const char *with, struct mf_error *error)
{
    char *copy = mf_strdup(with);
    if (copy == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the ssh configuration");
    mf_free(*text);
    *text = copy;
    return 0;
}

enum remote_step config_go_on(struct remote *remote)
{
    remote_set_place(remote);
    remote_set_deadline(remote);
    remote_set_state(remote,
                     remote->elsewhere[0] != '\0' ? REMOTE_OPENSSH_IDLE
                     : remote->jump != NULL       ? REMOTE_JUMP
                                                  : REMOTE_RESOLVE);
    if (remote->state == REMOTE_JUMP)
        remote->deadline_us = MF_NEVER; /* each hop has its own */
    return STEP_ON;
}

/* What of it libssh2 can't. */
static void look_for_proxies(struct remote *remote)
{
    const struct settings *settings = remote->settings;
    if (remote->elsewhere[0] != '\0')
        return;
    if (settings->proxy != NULL && remote->jump == NULL)
        remote_cannot(remote, "it is reached by a ProxyCommand (%.160s)", settings->proxy);
    else if (settings->elsewhere[0] != '\0')
        remote_cannot(remote, "%s", settings->elsewhere);
}

static enum remote_step no_memory(struct remote *remote)
{
    mf_raise(&remote->error, MF_ENOMEM, "out of memory: the ssh configuration");
    return STEP_FAILED;
}

static enum remote_step apply(struct remote *remote, const struct settings *settings)
{
    struct mf_error *error = &remote->error;
    remote->settings = settings;
    if (replace(&remote->host, settings->hostname, error) < 0)
        return STEP_FAILED;
    if (!remote->named_user && settings->user != NULL &&
        replace(&remote->user, settings->user, error) < 0)
        return STEP_FAILED;
    if (remote->named_port == 0 && settings->port != 0)
        remote->port = settings->port;
    remote_set_place(remote);
    if (remote->jump == NULL && settings->jump != NULL &&
        (remote->jump = mf_strdup(settings->jump)) == NULL)
        return no_memory(remote);
    look_for_proxies(remote);
    if (remote->elsewhere[0] == '\0' || remote->config->client == REMOTE_OPENSSH)
        return config_go_on(remote);
    if (remote->config->client == REMOTE_LIBSSH2)
        return remote_fail(remote,
                           false,
                           "%s cannot be logged in to by libssh2: %s; use --ssh-client openssh",
                           remote->place,
                           remote->elsewhere);
    if (strcmp(remote->elsewhere, remote->was_elsewhere) != 0)
        remote_say_elsewhere(remote);
    return config_go_on(remote);
}

/* ssh has no configuration that could be used: it says why. */
static enum remote_step unusable(struct remote *remote)
{
    const char *problem = mf_buffer_text(&remote->asking.problem);
    char why[400] = "";
    for (const char *line = problem; line != NULL && *line != '\0';) {
        size_t length = strcspn(line, "\r\n");
        /* The first one names the place; that it has no terminal does not matter. */
        if (length > 0 && why[0] == '\0' && strncmp(line, "Pseudo-terminal", 15) != 0)
            remote_print(why, sizeof why, line, length);
        line += length;
        line += strspn(line, "\r\n");
    }
    return remote_fail(remote,
                       false,
                       "the ssh configuration cannot be used for %s: %s: mend it, or do without "
                       "(--ssh-config none)",
                       remote->named_host,
                       why[0] == '\0' ? "ssh -G fails and says nothing" : why);
}

static enum remote_step take_answer(struct remote *remote)
{
    struct mf_error *error = &remote->error;
    const struct settings_scope scope = {.home = remote->home == NULL ? "/" : remote->home,
                                         .user_home = user_home(remote),
                                         .name = remote->named_host};
    const char *text = mf_buffer_text(&remote->asking.output);
    struct remote_book *book = remote->config->book;
    if (remote->openssh.status != 0)
        return unusable(remote);
    struct page *page = mf_calloc(1, sizeof *page);
    if (text == NULL || page == NULL || (page->key = key_of(remote)) == NULL ||
        settings_parse(&page->settings, text, &scope, error) < 0) {
        if (page == NULL || page->key == NULL)
            mf_raise(error, MF_ENOMEM, "out of memory: the ssh configuration");
        else
            settings_fini(&page->settings);
        if (page != NULL)
            mf_free(page->key);
        mf_free(page);
        return STEP_FAILED;
    }
    page->next = book->first;
    book->first = page;
    openssh_end(remote);
    return apply(remote, &page->settings);
}

/* Whether the user has one: a name that does not resolve may be an alias in it. */
static bool has_own(const struct remote *remote)
{
    char *path = remote->home == NULL ? NULL : mf_format("%s/.ssh/config", remote->home);
    bool is_there = path != NULL && access(path, F_OK) == 0;
    mf_free(path);
    return is_there;
}

static enum remote_step ask(struct remote *remote)
{
    if (!openssh_is_there()) {
        remote->has_unread = has_own(remote);
        if (remote->config->ssh_config == NULL)
            return config_go_on(remote);
        return remote_fail(remote,
                           false,
                           "%s cannot be read, since OpenSSH's client, ssh, is not installed here: "
                           "install openssh-client, or do without (--ssh-config none)",
                           remote->config->ssh_config);
    }
    if (openssh_ask(remote) < 0)
        return STEP_FAILED;
    return STEP_ON;
}

enum remote_step step_config(struct remote *remote)
{
    struct remote_book *book = remote->config->book;
    bool is_none = remote->config_file != NULL && strcmp(remote->config_file, "none") == 0;
    if (book == NULL || is_none)
        return config_go_on(remote);
    if (remote->openssh.pid == 0) {
        char *key = key_of(remote);
        const struct settings *known = key == NULL ? NULL : find(book, key);
        mf_free(key);
        return known != NULL ? apply(remote, known) : ask(remote);
    }
    int rc = openssh_pump(remote);
    return rc < 0 ? STEP_FAILED : rc > 0 ? take_answer(remote) : STEP_WAIT;
}

void config_fini(struct remote *remote)
{
    mf_buffer_fini(&remote->asking.output);
    mf_buffer_fini(&remote->asking.problem);
    mf_buffer_fini(&remote->forwarding.output);
    mf_buffer_fini(&remote->forwarding.problem);
    mf_free(remote->config_file);
    remote->config_file = NULL;
}
