/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intruder KIND INPUT [FOLDER]: one peer that does not belong to a run, or lies. INPUT is the
 * launch input of a real worker of that run, as the launcher wrote it: an intruder that has seen
 * more than any intruder should. Prints one line for each message: "<what>: <answer>", where the
 * answer is the refusal's code and sentence, the type of another answer, or "no answer".
 *
 *     foreign    certificates: of another authority (made in FOLDER),
 *     expired    of the run's authority (FOLDER is the run's keys/) but expired,
 *     none       none at all
 *     replay     joins in the worker's place, moves on, and sends the same hello bytes again on
 *                other connections, with the right certificate and without one
 *     fetch      joins in the worker's place, and asks for all kinds of files
 *     silent     connects and says nothing, until its connection is closed
 *     others     see lies[]: a right certificate, and something wrong in what is said
 *
 * It leaves without closing anything: nng 1.5.2 can wait for ever for the send of a connection that
 * the other side has closed.
 */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/tls/tls.h>
#include <nng/supplemental/util/platform.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/message.h"
#include "master/scatter/authority.h"
#include "worker/launch_input.h"

#define ANSWER_MS 2500

struct identity {
    const char *certificate_pem, *key_pem; /* NULL = none */
};

static struct launch_input input;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "intruder: %s: %s\n", what, why);
    exit(2);
}

static void check(int rc, const char *what)
{
    if (rc != 0)
        die(what, nng_strerror(rc));
}

/* Trusts whoever answers, so that only the master's own checks count. */
static nng_socket dial(const struct identity *identity)
{
    nng_socket socket;
    nng_dialer dialer;
    nng_tls_config *tls;
    check(nng_req0_open(&socket), "socket");
    check(nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, 2147483647), "resend time");
    check(nng_tls_config_alloc(&tls, NNG_TLS_MODE_CLIENT), "TLS");
    check(nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_NONE), "TLS mode");
    if (identity->certificate_pem != NULL)
        check(nng_tls_config_own_cert(tls, identity->certificate_pem, identity->key_pem, NULL),
              "certificate");
    check(nng_dialer_create(&dialer, socket, input.addresses[0]), input.addresses[0]);
    check(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, tls), "TLS of the dialer");
    check(nng_dialer_start(dialer, NNG_FLAG_NONBLOCK), "dialer");
    nng_tls_config_free(tls);
    return socket;
}

static void say_answer(const char *what, nng_msg *reply)
{
    struct mf_decoder *decoder = mf_decoder_create();
    struct mf_message message;
    struct mf_error error;
    struct mf_bytes frame = mf_bytes_of(nng_msg_body(reply), nng_msg_len(reply));
    if (mf_decode(decoder, frame, &message, &error) < 0)
        printf("%s: not a message: %s\n", what, error.text);
    else if (message.type == MF_REFUSED)
        printf("%s: refused %u: %s\n", what, message.refused.code, message.refused.text);
    else if (message.type == MF_PIECE)
        printf("%s: cause %u, \"%.*s\"\n",
               what,
               message.piece.cause,
               (int)message.piece.data.length,
               (const char *)message.piece.data.data);
    else
        printf("%s: answer of type %d\n", what, message.type);
    mf_decoder_destroy(decoder);
}

/* Sends without waiting for a connection, then waits for what comes. */
static void say(const char *what, nng_socket socket, struct mf_bytes frame)
{
    nng_ctx context;
    nng_aio *aio;
    nng_msg *message;
    check(nng_ctx_open(&context, socket), "context");
    check(nng_aio_alloc(&aio, NULL, NULL), "aio");
    check(nng_msg_alloc(&message, 0), "message");
    check(nng_msg_append(message, frame.data, frame.length), "message");
    nng_aio_set_timeout(aio, ANSWER_MS);
    nng_aio_set_msg(aio, message);
    nng_ctx_send(context, aio);
    nng_aio_wait(aio);
    if (nng_aio_result(aio) != 0) {
        nng_msg_free(message);
    } else {
        nng_ctx_recv(context, aio);
        nng_aio_wait(aio);
    }
    if (nng_aio_result(aio) == 0) {
        say_answer(what, nng_aio_get_msg(aio));
        nng_msg_free(nng_aio_get_msg(aio));
    } else {
        printf("%s: no answer\n", what);
    }
    fflush(stdout);
}

static struct mf_request request_of(uint64_t session)
{
    struct mf_request request = {.worker = input.worker, .sequence = 1, .session = session};
    memcpy(request.token, input.token, MF_TOKEN_SIZE);
    return request;
}

static struct mf_hello hello_of(uint64_t session)
{
    return (struct mf_hello){.request = request_of(session),
                             .protocol = MF_PROTOCOL,
                             .version = "intruder",
                             .run_id = input.run_id,
                             .slots = 4,
                             .pid = (uint32_t)getpid(),
                             .host = "intruder",
                             .system = "intruder"};
}

static void encode(const struct mf_hello *hello, struct mf_buffer *frame)
{
    struct mf_error error;
    mf_buffer_clear(frame);
    if (mf_encode_hello(hello, frame, &error) < 0)
        die("hello", error.text);
}

static void lie_token(struct mf_hello *hello, struct mf_buffer *frame)
{
    hello->request.token[7] ^= 1;
    encode(hello, frame);
}

static void lie_worker(struct mf_hello *hello, struct mf_buffer *frame)
{
    hello->request.worker = 4711;
    encode(hello, frame);
}

static void lie_session(struct mf_hello *hello, struct mf_buffer *frame)
{
    encode(hello, frame);
}

static void lie_protocol(struct mf_hello *hello, struct mf_buffer *frame)
{
    hello->protocol = 999;
    encode(hello, frame);
}

static void lie_run(struct mf_hello *hello, struct mf_buffer *frame)
{
    hello->run_id = "20200101-000000-other-0000";
    encode(hello, frame);
}

static void lie_poll(struct mf_hello *hello, struct mf_buffer *frame)
{
    struct mf_result result = {.subtask = 1, .attempt = 1, .epoch = 1};
    struct mf_poll poll = {
        .request = hello->request, .free_places = 4, .result_count = 1, .results = &result};
    poll.request.epoch = 1;
    poll.request.sequence = 7;
    mf_encode_poll(&poll, frame, NULL);
}

static void lie_reply(struct mf_hello *hello, struct mf_buffer *frame)
{
    (void)hello;
    mf_encode_received(frame, NULL);
}

static void lie_garbage(struct mf_hello *hello, struct mf_buffer *frame)
{
    (void)hello;
    for (unsigned i = 0; i < 3000; i++)
        mf_buffer_append(frame, &(unsigned char){(unsigned char)(i * 7919 >> 3)}, 1, NULL);
}

/* A right header, but what follows it is noise. */
static void lie_body(struct mf_hello *hello, struct mf_buffer *frame)
{
    encode(hello, frame);
    for (size_t i = frame->length / 4; i < frame->length; i++)
        frame->data[i] = (unsigned char)(frame->data[i] ^ (i * 31));
}

static void lie_size(struct mf_hello *hello, struct mf_buffer *frame)
{
    encode(hello, frame);
    if (mf_buffer_reserve(frame, MF_FRAME_MAX, NULL) < 0)
        die("size", "out of memory");
    memset(frame->data + frame->length, 0, MF_FRAME_MAX);
    frame->length += MF_FRAME_MAX;
}

static const struct lie {
    const char *name;
    void (*tell)(struct mf_hello *hello, struct mf_buffer *frame);
} lies[] = {{"wrong-token", lie_token},
            {"unknown-worker", lie_worker},
            {"second-session", lie_session},
            {"protocol", lie_protocol},
            {"other-run", lie_run},
            {"forged-result", lie_poll},
            {"reply", lie_reply},
            {"garbage", lie_garbage},
            {"bad-body", lie_body},
            {"oversized", lie_size}};

static int tell_lie(const char *kind)
{
    struct identity own = {input.certificate_pem, input.key_pem};
    struct mf_buffer frame = {0};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        if (strcmp(lies[i].name, kind) != 0)
            continue;
        struct mf_hello hello = hello_of(UINT64_C(0x1badcafe));
        nng_socket socket = dial(&own);
        lies[i].tell(&hello, &frame);
        say(kind, socket, mf_buffer_view(&frame));
        return 0;
    }
    fprintf(stderr, "intruder: no kind \"%s\"\n", kind);
    return 2;
}

static int show_certificate(const char *kind, const char *folder)
{
    struct authority *authority = NULL;
    struct credential credential = {0};
    struct mf_error error;
    struct mf_buffer frame = {0};
    if (strcmp(kind, "foreign") == 0)
        authority = authority_create(folder, input.run_id, &error);
    else if (strcmp(kind, "expired") == 0)
        authority = authority_open(folder, input.run_id, &error);
    if (strcmp(kind, "none") != 0) {
        if (authority == NULL)
            die(kind, error.text);
        int rc = strcmp(kind, "foreign") == 0
                     ? authority_issue(authority, input.worker, &credential, &error)
                     : authority_issue_at(authority,
                                          input.worker,
                                          "20200101000000",
                                          "20200102000000",
                                          &credential,
                                          &error);
        if (rc < 0)
            die(kind, error.text);
    }
    struct identity identity = {credential.certificate_pem, credential.key_pem};
    struct mf_hello hello = hello_of(UINT64_C(0x1badcafe));
    encode(&hello, &frame);
    nng_socket socket = dial(&identity);
    say(kind, socket, mf_buffer_view(&frame));
    return 0;
}

static int replay(void)
{
    struct identity own = {input.certificate_pem, input.key_pem}, nobody = {NULL, NULL};
    struct mf_buffer hello_frame = {0}, poll_frame = {0};
    struct mf_hello hello = hello_of(UINT64_C(0x5e551011));
    /* Results that it never had come home, so that the answer comes at once. */
    struct mf_fence never = {.subtask = 1, .attempt = 65000, .epoch = 1};
    struct mf_poll poll = {
        .request = hello.request, .returned_count = 1, .returned = &never, .free_places = 0};
    encode(&hello, &hello_frame);
    nng_socket first = dial(&own);
    say("hello", first, mf_buffer_view(&hello_frame));
    poll.request.epoch = 1;
    poll.request.sequence = 2;
    mf_encode_poll(&poll, &poll_frame, NULL);
    say("poll", first, mf_buffer_view(&poll_frame));
    nng_socket second = dial(&own);
    say("hello again", second, mf_buffer_view(&hello_frame));
    nng_socket third = dial(&nobody);
    say("hello without a certificate", third, mf_buffer_view(&hello_frame));
    mf_buffer_clear(&poll_frame);
    poll.request.sequence = 3;
    mf_encode_poll(&poll, &poll_frame, NULL);
    say("poll on the first connection", first, mf_buffer_view(&poll_frame));
    return 0;
}

/* A worker of the run that asks for more than it was offered. */
static int fetch_all(void)
{
    static const struct {
        const char *name;
        uint32_t lane;
        struct mf_fetch fetch;
    } questions[] = {
        {"own file", 3, {.file = 1, .length = 100}},
        {"folder", 3, {.file = 2, .length = 100}},
        {"no such file", 3, {.file = 3, .length = 100}},
        {"input", 3, {.subtask = 1, .length = 100}},
        {"member of no group", 3, {.subtask = 1, .member = 1000, .length = 4}},
        {"beyond the end", 3, {.subtask = 1, .offset = 1000000000000, .length = 100}},
        {"no such subtask", 3, {.subtask = 99999, .length = 100}},
        {"nothing", 3, {.length = 100}},
        {"wrong lane", 2, {.subtask = 1, .length = 100}},
    };
    struct identity own = {input.certificate_pem, input.key_pem};
    struct mf_buffer frame = {0};
    struct mf_hello hello = hello_of(UINT64_C(0xfe7c4));
    uint64_t sequence = 0;
    encode(&hello, &frame);
    nng_socket socket = dial(&own);
    say("hello", socket, mf_buffer_view(&frame));
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        struct mf_fetch fetch = questions[i].fetch;
        struct mf_error error;
        fetch.request = hello.request;
        fetch.request.epoch = 1;
        fetch.request.lane = questions[i].lane;
        fetch.request.sequence = questions[i].lane == 3 ? ++sequence : 1;
        mf_buffer_clear(&frame);
        if (mf_encode_fetch(&fetch, &frame, &error) < 0)
            die(questions[i].name, error.text);
        say(questions[i].name, socket, mf_buffer_view(&frame));
    }
    return 0;
}

static void on_gone(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)pipe;
    (void)event;
    static const char line[] = "silent: the connection is closed\n";
    int *is_over = arg;
    if (__atomic_exchange_n(is_over, 1, __ATOMIC_SEQ_CST) == 0 &&
        write(1, line, sizeof line - 1) < 0)
        perror("intruder");
    _exit(0);
}

/* A right certificate and not a word, until the other side has enough of it. */
static int stay_silent(void)
{
    static int is_over;
    const struct identity own = {input.certificate_pem, input.key_pem};
    nng_socket socket = dial(&own);
    check(nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, on_gone, &is_over), "notice");
    nng_msleep(60000);
    printf("silent: still connected\n");
    return 1;
}

int main(int argc, char **argv)
{
    struct mf_error error;
    if (argc < 3) {
        fprintf(stderr, "usage: intruder KIND INPUT [FOLDER]\n");
        return 2;
    }
    int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || launch_input_read(fd, &input, &error) < 0)
        die(argv[2], fd < 0 ? "cannot be opened" : error.text);
    close(fd);
    int rc;
    if (strcmp(argv[1], "replay") == 0)
        rc = replay();
    else if (strcmp(argv[1], "fetch") == 0)
        rc = fetch_all();
    else if (strcmp(argv[1], "silent") == 0)
        rc = stay_silent();
    else if (argc > 3 || strcmp(argv[1], "none") == 0)
        rc = show_certificate(argv[1], argc > 3 ? argv[3] : "");
    else
        rc = tell_lie(argv[1]);
    fflush(stdout);
    _exit(rc);
}
