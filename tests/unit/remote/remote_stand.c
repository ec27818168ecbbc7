/* SPDX-License-Identifier: Apache-2.0 */
/* An sshd of a test's own: see remote_stand.h. */
#include "tests/unit/remote/remote_stand.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"

#define SSHD "/usr/sbin/sshd"
#define WAIT_US 60000000

void stand_shell(const char *format, ...)
{
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (system(line) != 0)
        fail_msg("failed: %s", line);
}

int stand_listen(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

uint16_t stand_free_port(void)
{
    uint16_t port;
    close(stand_listen(&port));
    return port;
}

static bool answers(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char byte;
    bool ok = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
              recv(fd, &byte, 1, 0) == 1 && byte == 'S';
    close(fd);
    return ok;
}

/* HOME: so that no shell reads start files of this machine's user. */
static void write_config(struct stand *stand, const char *more)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config", stand->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "Port %u\nListenAddress 127.0.0.1\nPidFile none\nUsePAM no\nStrictModes no\n"
            "HostKey %s/host_ed25519\nHostKey %s/host_ecdsa\nAuthorizedKeysFile "
            "%s/authorized_keys\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin yes\nUseDNS no\nLogLevel VERBOSE\nSetEnv HOME=%s/home\n%s\n",
            (unsigned)stand->port,
            stand->folder,
            stand->folder,
            stand->folder,
            stand->folder,
            more);
    fclose(file);
}

/* sshd ends with this program, however that ends. */
static pid_t spawn_sshd(const struct stand *stand)
{
    char config[128], log[128];
    snprintf(config, sizeof config, "%s/config", stand->folder);
    snprintf(log, sizeof log, "%s/sshd.log", stand->folder);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() == parent)
            execl(SSHD, SSHD, "-D", "-f", config, "-E", log, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void start_sshd(struct stand *stand, const char *more)
{
    for (unsigned attempt = 0; attempt < 5; attempt++) {
        stand->port = stand_free_port();
        write_config(stand, more);
        stand->sshd = spawn_sshd(stand);
        int64_t limit = mf_monotonic_us() + WAIT_US;
        int status = 0;
        while (waitpid(stand->sshd, &status, WNOHANG) == 0 && mf_monotonic_us() < limit) {
            if (answers(stand->port))
                return;
            usleep(5000);
        }
    }
    stand_shell("cat %s/sshd.log >&2", stand->folder);
    fail_msg("sshd does not start");
}

void stand_start(struct stand *stand, const char *more)
{
    *stand = (struct stand){.sshd = -1};
    if (access(SSHD, X_OK) < 0) {
        fprintf(stderr, "SKIPPED: there is no %s: install openssh-server\n", SSHD);
        exit(77); /* ctest counts it */
    }
    if (geteuid() == 0)
        mkdir("/run/sshd", 0755); /* where sshd locks itself in until somebody has logged in */
    snprintf(stand->folder, sizeof stand->folder, "/tmp/mayfly-remote-XXXXXX");
    assert_non_null(mkdtemp(stand->folder));
    const char *f = stand->folder;
    stand_shell("cd %s && mkdir -m 700 home home/.ssh && ssh-keygen -q -t ed25519 -N '' -f "
                "host_ed25519 && ssh-keygen -q -t ecdsa -N '' -f host_ecdsa && ssh-keygen -q -t "
                "ed25519 -N '' -f key && cp key.pub authorized_keys",
                f);
    start_sshd(stand, more);
    stand_shell("cd %s && for k in host_*.pub; do echo \"[127.0.0.1]:%u $(cut -d' ' -f1,2 $k)\"; "
                "done > known",
                f,
                (unsigned)stand->port);
    snprintf(stand->key, sizeof stand->key, "%s/key", f);
    snprintf(stand->known, sizeof stand->known, "%s/known", f);
    stand->config = (struct remote_config){
        .identity = stand->key, .known_hosts = stand->known, .connect_us = 30000000};
    char home[96];
    snprintf(home, sizeof home, "%s/home", f);
    setenv("HOME", home, 1);
    unsetenv("SSH_AUTH_SOCK");
    stand->loop = mf_loop_create(NULL);
    assert_non_null(stand->loop);
}

void stand_stop(struct stand *stand)
{
    if (stand->sshd > 0) {
        kill(stand->sshd, SIGTERM);
        waitpid(stand->sshd, NULL, 0);
    }
    mf_loop_destroy(stand->loop);
    stand_shell("rm -rf %s", stand->folder);
}

struct remote *
stand_open_at(struct stand *stand, const struct remote_config *config, const char *host, int port)
{
    struct mf_error error;
    struct remote_target target = {.host = host, .port = (uint16_t)port};
    struct remote *remote = remote_open(stand->loop, config, &target, &error);
    assert_non_null(remote);
    return remote;
}

struct remote *stand_open(struct stand *stand, const struct remote_config *config)
{
    return stand_open_at(stand, config, "127.0.0.1", stand->port);
}

static void on_done(void *arg, const struct remote_result *result)
{
    struct answer *answer = arg;
    answer->calls++;
    answer->code = result->code;
    answer->again = result->again;
    answer->output = strdup(result->output);
    answer->problem = strdup(result->problem);
    if (result->code == -1)
        snprintf(answer->error, sizeof answer->error, "%s", result->error.text);
}

void stand_exec(struct remote *remote,
                const char *command,
                struct mf_bytes input,
                struct answer *answer)
{
    *answer = (struct answer){0};
    assert_int_equal(remote_exec(remote, command, input, on_done, answer, NULL), 0);
}

void stand_wait(struct stand *stand, struct remote **remotes, struct answer *answers_, unsigned n)
{
    int64_t limit = mf_monotonic_us() + WAIT_US;
    for (;;) {
        unsigned missing = 0;
        for (unsigned i = 0; i < n; i++)
            missing += answers_[i].calls == 0;
        if (missing == 0)
            return;
        if (mf_monotonic_us() > limit)
            fail_msg("%u of %u answers did not come", missing, n);
        int64_t next = limit;
        for (unsigned i = 0; i < n; i++) {
            int64_t tick = remote_tick(remotes[i], mf_monotonic_us());
            next = tick < next ? tick : next;
        }
        assert_int_equal(mf_loop_step(stand->loop, next, NULL), 0);
    }
}

void stand_once(struct stand *stand,
                const struct remote_config *config,
                const char *command,
                struct answer *answer)
{
    struct remote *remote = stand_open(stand, config);
    stand_exec(remote, command, (struct mf_bytes){0}, answer);
    stand_wait(stand, &remote, answer, 1);
    remote_close(remote);
}

void answer_fini(struct answer *answer)
{
    free(answer->output);
    free(answer->problem);
    *answer = (struct answer){0};
}

void answer_says(const struct answer *answer, const char *part)
{
    assert_int_equal(answer->code, -1);
    if (strstr(answer->error, part) == NULL)
        fail_msg("'%s' is not in: %s", part, answer->error);
}

unsigned stand_descriptors(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}
