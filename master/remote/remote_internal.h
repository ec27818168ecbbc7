/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of remote/ share. remote.c owns the connection's life and its queue; a step is a
 * function of one state, which does what can be done without waiting:
 *
 *     connect.c   name, addresses, TCP          login.c     agent, key files
 *     session.c   handshake, the end            command.c   a command on a channel
 *     host_key.c  what known_hosts says
 *
 * and, with the other back end, of one process each command:
 *
 *     openssh.c        the process     openssh_args.c   its command line
 *     openssh_words.c  what it says
 *
 * direct.c uses these parts for commands whose streams are the caller's own.
 *
 * jump.c is the way to a host by others, tunnel.c the channel that they open for it; alive.c asks
 * a host that has fallen silent. Before all that, config.c asks what the user's ssh configuration
 * says of the host.
 */
#ifndef MAYFLY_MASTER_REMOTE_REMOTE_INTERNAL_H
#define MAYFLY_MASTER_REMOTE_REMOTE_INTERNAL_H

#include <libssh2.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/loop.h"
#include "master/remote/ask.h"
#include "master/remote/key_file.h"
#include "master/remote/known_hosts.h"
#include "master/remote/remote.h"
#include "master/remote/settings.h"

/* In the order in which a connection goes through them: all before idle is the login, all behind
 * it a command. */
#define REMOTE_STATES(X)                                                                           \
    X(CONFIG, config)                                                                              \
    X(JUMP, jump)                                                                                  \
    X(PASSPHRASE, passphrase)                                                                      \
    X(RESOLVE, resolve)                                                                            \
    X(CONNECT, connect)                                                                            \
    X(HANDSHAKE, handshake)                                                                        \
    X(HOST_KEY, host_key)                                                                          \
    X(KEYS, keys)                                                                                  \
    X(AGENT, agent)                                                                                \
    X(KEY_FILE, key_file)                                                                          \
    X(REFUSED, refused)                                                                            \
    X(OPENSSH_LOGIN, openssh_login)                                                                \
    X(IDLE, idle)                                                                                  \
    X(OPEN, open)                                                                                  \
    X(EXEC, exec)                                                                                  \
    X(TRANSFER, transfer)                                                                          \
    X(FREE, free)                                                                                  \
    X(TUNNEL_OPEN, tunnel_open)                                                                    \
    X(TUNNEL, tunnel)                                                                              \
    X(OPENSSH_IDLE, openssh_idle)                                                                  \
    X(OPENSSH_RUN, openssh_run)                                                                    \
    X(FAILED, failed)

#define REMOTE_ENUM(upper, lower) REMOTE_##upper,
enum remote_state { REMOTE_STATES(REMOTE_ENUM) };
#undef REMOTE_ENUM

enum remote_step {
    STEP_ON,    /* the state has changed, or more can be done at once */
    STEP_WAIT,  /* for the descriptor, a mailbox, a deadline, or a command */
    STEP_FAILED /* remote->error says why */
};

struct command {
    struct command *next;
    char *text;
    struct mf_bytes input;
    size_t sent; /* of input */
    bool ended;  /* the end of the input was said */
    bool begun;  /* the host was asked to run it */
    struct mf_buffer output, problem;
    remote_f *done;
    void *arg;
};

/* Which call on the channel waits until more can be written. libssh2 wants the very same call
 * again before any other that could write. */
enum stuck { STUCK_NOT, STUCK_OUTPUT, STUCK_PROBLEM, STUCK_INPUT, STUCK_END };

/* What the host said before its banner. */
struct greeting {
    char text[128]; /* the beginning of its first line, printable */
    size_t length;
    size_t total;   /* bytes until the banner */
    unsigned state; /* how much of "SSH-" the current line has matched; 5 = it cannot */
    bool line_over; /* the first line is */
    bool ssh;       /* the banner has come */
};

struct login {
    LIBSSH2_AGENT *agent;
    struct libssh2_agent_publickey *identity; /* the agent's key that is being tried */
    bool agent_done;
    struct key_file key;
    char *path;         /* of `key`; owned */
    char *locked;       /* the first key file that a passphrase would unlock; owned */
    const char *phrase; /* of `key`; the book's. NULL = it needs none */
    bool only_key;      /* of the agent's keys only that in `key` */
    unsigned next_file;
    unsigned tried_count;
    char tried[512];   /* "the agent's ssh-ed25519 SHA256:..., ..." */
    char remarks[512]; /* why others were not tried */
};

/* OpenSSH's client, which runs the first command. */
struct openssh {
    pid_t pid;                              /* 0: none */
    int pidfd, input, output, problem, log; /* -1: none, or over */
    int log_end;       /* of our pipe, held open so that ssh can open it by its name */
    int status;        /* when it is over */
    bool has_terminal; /* for a direct command (direct.h): as struct direct_manner has it */
    bool may_ask;
    struct mf_buffer said;   /* what ssh itself logged */
    struct command *command; /* whose streams they are; not owned */
};

#define OPENSSH_ARGS_MAX 64

struct openssh_command {
    char *argv[OPENSSH_ARGS_MAX]; /* NULL at its end; owned */
    char **env;                   /* as ours, with the ways of hops; NULL = as ours. Owned */
    size_t own_env;               /* how many at its beginning are owned */
    size_t count;
    bool is_short; /* of memory, or of room */
};

#define TUNNEL_PIECE 32768u

/* From this host on to another one. */
struct tunnel {
    int fd;           /* our socket; -1: none, or over */
    uint32_t watched; /* events in the loop; UNWATCHED */
    bool is_wanted;   /* and not begun yet */
    char *host;
    uint16_t port;
    bool up_over;    /* nothing more comes from the socket */
    char *up, *down; /* TUNNEL_PIECE each: on its way into the channel, out of it */
    size_t up_at, up_length, down_at, down_length;
};

struct lookup;

struct remote {
    struct mf_loop *loop;
    const struct remote_config *config;
    char *user, *host;
    char *named_host; /* as it was named: maybe an alias of `host` */
    char *home;       /* NULL: unknown */
    uint16_t port;
    bool named_user;                 /* not by default */
    uint16_t named_port;             /* 0: not said */
    char place[600];                 /* "host", "host:port" or "alias (host)", for sentences */
    const struct settings *settings; /* of the book; NULL = none are read */
    char *config_file;               /* for ssh; NULL = its own choice */
    struct command asking;           /* `ssh -G` */
    struct command forwarding;       /* `ssh -W` */
    char *locked;                    /* the key whose passphrase is waited for */
    char *jump;                      /* the way there; NULL = none */
    struct remote *via;              /* the last hop of it; owned */
    struct remote *beyond;           /* whose hop this is */
    struct tunnel tunnel;            /* of a hop */
    enum remote_state state;
    int64_t deadline_us; /* of the login */
    bool kicked;         /* a step can be done without an event */
    bool busy;           /* steps are being done: who closes must not free */
    bool closed;
    bool called; /* a callback was: whoever waits must look again what for */

    struct lookup *lookup; /* under way */
    struct addrinfo *addresses, *address;
    int64_t address_deadline_us;
    int connect_errno;         /* of the last address */
    char connect_problem[160]; /* in words */
    char peer_address[64], own_address[64];

    int fd;           /* -1: none */
    uint32_t watched; /* events in the loop; UNWATCHED */
    uint32_t wanted;  /* events that the current step waits for; 0 = ask libssh2 */
    int lost;         /* errno of the socket, LOST_END when the host closed it, 0 while it lives */
    bool cut;         /* we have hung up: libssh2 must not touch the socket any more */
    int64_t heard_us,
        asked_us; /* when bytes came last, and when it was asked whether it is alive */

    LIBSSH2_SESSION *session;
    bool shaking; /* libssh2 is in the middle of a handshake */
    struct greeting greeting;
    char farewell[160]; /* the host's reason for disconnecting, in its words */
    char host_key_types[192];
    struct known_host known;
    struct login login;

    LIBSSH2_CHANNEL *channel;
    enum stuck stuck;
    int code; /* of the command that has ended */
    bool code_known;
    struct command *first, **last;

    struct openssh openssh;
    char was_elsewhere[256]; /* as an earlier connection said it */
    char elsewhere[256]; /* why libssh2 can't, where OpenSSH's client may; "" = nothing speaks so */

    bool answered;
    bool again, crowded;
    struct mf_error error; /* valid in REMOTE_FAILED */
};

/* In `elsewhere`, when that is the reason: ssh is told to use it. */
#define KERBEROS "Kerberos (GSSAPI)"

#define UNWATCHED UINT32_MAX
#define LOST_END (-1)

/* remote.c */
void remote_set_state(struct remote *remote, enum remote_state state);
/* For the callback of a descriptor; arg is the remote. */
void remote_on_event(void *arg, uint32_t events);
/* Raises remote->error; whether another attempt may succeed is `again`. Returns STEP_FAILED. */
enum remote_step remote_fail(struct remote *remote, bool again, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Notes why this is nothing for libssh2; what fails is then tried by OpenSSH's client, if that is
 * allowed. */
void remote_cannot(struct remote *remote, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* After remote_fail, outside of a step. */
void remote_give_up(struct remote *remote);
void remote_say_elsewhere(const struct remote *remote);
void remote_set_place(struct remote *remote); /* from host, port and name */
bool remote_accepts_new(const struct remote *remote);
/* The login has its whole time from now on. */
void remote_set_deadline(struct remote *remote);
unsigned remote_connect_seconds(const struct remote *remote);
void remote_release(struct remote *remote); /* all that belongs to one attempt to log in */
/* A copy of what a host says, cut to size, without what could disturb a terminal. */
void remote_print(char *text, size_t size, const char *said, size_t length);
/* Whether a call of libssh2 has to be repeated later. */
static inline bool remote_blocked(int rc)
{
    return rc == LIBSSH2_ERROR_EAGAIN;
}

/* connect.c */
enum remote_step step_resolve(struct remote *remote);
enum remote_step step_connect(struct remote *remote);
void connect_fini(struct remote *remote); /* what is left of looking up and connecting */

/* session.c */
enum remote_step step_handshake(struct remote *remote);
int session_start(struct remote *remote, struct mf_error *error);
void session_end(struct remote *remote);
/* The connection broke, or the host broke the protocol: a sentence out of all that is known.
 * `doing`: "logging in". */
enum remote_step session_broke(struct remote *remote, const char *doing);

/* host_key.c */
int host_key_prepare(struct remote *remote, struct mf_error *error);
enum remote_step step_host_key(struct remote *remote);

/* login.c */
enum remote_step step_keys(struct remote *remote);
enum remote_step step_agent(struct remote *remote);
enum remote_step step_key_file(struct remote *remote);
enum remote_step step_refused(struct remote *remote);
enum remote_step step_passphrase(struct remote *remote);
void login_fini(struct remote *remote);

/* config.c */
int config_find(struct remote *remote, struct mf_error *error);
bool config_is_at_home(const struct remote *remote); /* HOME is what ssh takes for it, too */
enum remote_step step_config(struct remote *remote);
enum remote_step config_go_on(struct remote *remote); /* to the first state that connects */
struct ask *config_ask(const struct remote *remote);  /* NULL: nobody is to be asked */
void config_fini(struct remote *remote);

/* jump.c */
/* An entry of a ProxyJump; *target borrows from `text`, which is cut. -1: it is none. */
int jump_parse(char *text, struct remote_target *target);
enum remote_step step_jump(struct remote *remote);
/* What failed beyond a hop that has failed did so for the hop's reason. */
void jump_explain(struct remote *remote);
void jump_fini(struct remote *remote);

/* tunnel.c */
void tunnel_init(struct remote *remote);
enum remote_step tunnel_begin(struct remote *remote); /* one that is wanted, when it is idle */
enum remote_step step_tunnel_open(struct remote *remote);
enum remote_step step_tunnel(struct remote *remote);
void tunnel_fini(struct remote *remote);

/* alive.c: asks when it is time to, gives the connection up when there was no answer for too long.
 * Returns when it has to be called again. */
int64_t alive_tick(struct remote *remote, int64_t now_us);

/* openssh.c */
int openssh_ask(struct remote *remote); /* starts `ssh -G` */
/* 1: the program is over and all that it said was read; 0: not yet; -1: failed. */
int openssh_pump(struct remote *remote);
bool openssh_is_there(void); /* in PATH */
void openssh_init(struct remote *remote);
enum remote_step step_openssh_idle(struct remote *remote);
enum remote_step step_openssh_login(struct remote *remote);
enum remote_step step_openssh_run(struct remote *remote);
void openssh_end(struct remote *remote); /* also of one that runs */

/* openssh_args.c: the command line for the first command; ssh logs to our descriptor log_fd. */
int openssh_command(const struct remote *remote,
                    int log_fd,
                    struct openssh_command *command,
                    struct mf_error *error);
int openssh_question(const struct remote *remote,
                     struct openssh_command *command,
                     struct mf_error *error); /* `ssh -G` */
void openssh_command_fini(struct openssh_command *command);

/* openssh_words.c: the line by which it says that it was let in; NULL = it was not, yet. */
const char *openssh_let_in(const char *said);
/* Whether it waits for the connection still. */
bool openssh_is_connecting(const struct remote *remote);
/* The command's exit code; -1: it did not run to its end. `status` as of waitpid. */
int openssh_exit_code(const char *said, int status);
/* A sentence out of what it said. */
enum remote_step openssh_failed(struct remote *remote);

/* command.c */
enum remote_step step_idle(struct remote *remote);
enum remote_step step_open(struct remote *remote);
enum remote_step step_exec(struct remote *remote);
enum remote_step step_transfer(struct remote *remote);
enum remote_step step_free(struct remote *remote);
/* Takes the first command out of the queue and answers it. */
void command_answer(struct remote *remote, struct remote_result *result);
void command_free(struct command *command);

#endif
