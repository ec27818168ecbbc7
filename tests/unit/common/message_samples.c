/* SPDX-License-Identifier: Apache-2.0 */
/* The samples: see message_samples.h. The golden bytes never change within protocol version 1: a
 * change of theirs is a new version. */
#include "message_samples.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(text)                                                                                \
    {                                                                                              \
        .data = (const unsigned char *)(text), .length = sizeof(text) - 1                          \
    }

#define REQUEST(lane_, sequence_, epoch_)                                                          \
    {                                                                                              \
        .worker = 3, .token = "0123456789abcdef0123456789abcdef", .lane = lane_,                   \
        .sequence = sequence_, .epoch = epoch_, .session = 0xfedcba9876543210                      \
    }

const struct mf_hello sample_hello = {
    .request = REQUEST(0, 1, 0),
    .protocol = 1,
    .version = "0.1.0",
    .run_id = "20261122-084512-wordcount-7f3a",
    .slots = 2,
    .pid = 4711,
    .host = "node-7",
    .system = "Linux 6.1.0-18-amd64 x86_64",
    .cpus = 16,
    .memory_bytes = 68719476736,
    .wall_us = 1795337112123456,
};

static const struct mf_held held[] = {
    {7, 1, 2, MF_HELD_RUNNING}, {8, 3, 2, MF_HELD_QUEUED}, {9000000000, 65535, 1, MF_HELD_ENDED}};
const struct mf_hello sample_rejoining = {
    .request = REQUEST(0, 1, 0),
    .protocol = 1,
    .version = "0.1.0",
    .run_id = "r",
    .slots = 1,
    .host = "node-7",
    .system = "Linux",
    .held_count = 3,
    .held = held,
};

static const struct mf_fence running[] = {{7, 1, 2}, {8, 3, 2}};
static const struct mf_fence returned[] = {{12, 1, 1}};
static const struct mf_result results[] = {
    {.subtask = 1,
     .attempt = 1,
     .epoch = 2,
     .age_us = 1200,
     .wall_us = 930,
     .user_us = 400,
     .system_us = 210,
     .peak_kib = 1964,
     .result_bytes = 3,
     .inline_result = BYTES("42\n"),
     .checksum = 0x9a8a6d5f,
     .output_count = 2,
     .output_bytes = 100000},
    {.subtask = 2,
     .attempt = 1,
     .epoch = 2,
     .cause = MF_CAUSE_EXIT,
     .exit_code = -64,
     .detail = BYTES("exit code 64")},
    {.subtask = 9000000000,
     .attempt = 65535,
     .epoch = 1,
     .cause = MF_CAUSE_SIGNAL,
     .signal = 9,
     .result_bytes = 70000},
};
const struct mf_poll sample_poll = {
    .request = REQUEST(1, 300, 2),
    .free_places = 1,
    .running_count = 2,
    .running = running,
    .returned_count = 1,
    .returned = returned,
    .result_count = 3,
    .results = results,
};

const struct mf_chunk sample_chunk = {
    .request = REQUEST(2, 70000, 2),
    .kind = MF_CHUNK_OUTPUT,
    .subtask = 9,
    .attempt = 4,
    .epoch = 1,
    .path = BYTES("out/\xff name.txt"),
    .mode = 0640,
    .offset = 524288,
    .data = BYTES("a\0b\n"),
    .last = true,
    .cut_bytes = 5,
    .sha256 = BYTES("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"
                    "\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x20"),
};

const struct mf_bye sample_bye = {.request = REQUEST(0, 9, 2), .reason = "dismissed"};

static const char *argv[] = {"./count.sh", "{path}"};
static const char *env[] = {"LC_ALL=C", "ITEM={}"};
static const char *outputs[] = {"*.csv"};
static const char *files[] = {"count.sh", "d\xe9j\xe0"};
const struct mf_welcome sample_welcome = {
    .epoch = 2,
    .lease_us = 30000000,
    .orphan_us = 600000000,
    .task = {.executor = MF_EXECUTOR_COMMAND,
             .argc = 2,
             .argv = argv,
             .env_count = 2,
             .env = env,
             .cwd = "sub",
             .stdin_mode = MF_STDIN_PIECE,
             .output_count = 1,
             .outputs = outputs,
             .file_count = 2,
             .files = files,
             .job_folder = "/home/etl/job",
             .prepared_folder = "/home/etl/prepared",
             .timeout_us = 900000000,
             .kill_after_us = 5000000,
             .output_max = 67108864,
             .log_max = 16777216},
};

static const struct mf_subtask subtasks[] = {
    {.id = 1, .attempt = 1, .epoch = 2, .has_number = true, .number = 10},
    {.id = 2, .attempt = 1, .epoch = 2, .has_number = true, .number = 15},
    {.id = 40, .attempt = 2, .epoch = 1, .has_number = true, .number = -3},
    {.id = 41,
     .attempt = 1,
     .epoch = 2,
     .item = BYTES("a line"),
     .path = BYTES("books/a b.txt"),
     .offset = 4096,
     .length = 1024,
     .header_length = 17,
     .input_size = 9999,
     .input_mtime_ns = 1795337112123456789,
     .input_inode = 131077,
     .fields = BYTES("\x81\xa4name\xa5value")},
};
static const struct mf_fence take_back[] = {{5, 1, 2}, {6, 1, 2}};
static const struct mf_fence cancel[] = {{3, 2, 2}};
const struct mf_work sample_work = {
    .subtask_count = 4,
    .subtasks = subtasks,
    .take_back_count = 2,
    .take_back = take_back,
    .cancel_count = 1,
    .cancel = cancel,
    .drain = true,
    .dismiss = true,
};

const struct mf_refused sample_refused = {
    .code = MF_REFUSAL_TOKEN,
    .text = "the token is not that of worker 3",
};

static const struct mf_task_file own_files[] = {
    {.path = BYTES("lib"), .mode = 0755, .is_folder = true},
    {.path = BYTES("lib/d\xe9j\xe0.sh"),
     .size = 1234,
     .mtime_ns = 1795337112123456789,
     .inode = 131078,
     .mode = 0750},
};
const struct mf_welcome sample_staged = {
    .epoch = 1,
    .lease_us = 1,
    .orphan_us = 2,
    .task = {.executor = MF_EXECUTOR_COMMAND,
             .job_folder = "/job",
             .staging = MF_STAGING_AUTO,
             .own_file_count = 2,
             .own_files = own_files,
             .is_grouped = true},
};

static const struct mf_secret secrets[] = {
    {.name = "API_KEY", .version = 1, .data = BYTES("s3cr3t\n")},
    {.name = "EMPTY", .version = 70000},
};
const struct mf_welcome sample_secret = {
    .epoch = 1,
    .lease_us = 1,
    .orphan_us = 2,
    .task = {.executor = MF_EXECUTOR_COMMAND, .job_folder = "/job"},
    .secret_count = 2,
    .secrets = secrets,
};

static const struct mf_renewal renewal = {
    .certificate_pem = "-----BEGIN CERTIFICATE-----\n",
    .key_pem = "-----BEGIN EC PRIVATE KEY-----\n",
    .token = BYTES("0123456789abcdef0123456789abcdef"),
};
const struct mf_work sample_renewal = {
    .renewal_count = 1,
    .renewals = &renewal,
    .secret_count = 1,
    .secrets = secrets,
};

const struct mf_fetch sample_fetch = {
    .request = REQUEST(4, 12, 2),
    .subtask = 9,
    .file = 2,
    .member = 3,
    .offset = 1048576,
    .length = 524288,
};

const struct mf_piece sample_piece = {
    .cause = MF_CAUSE_INPUT_CHANGED,
    .detail = BYTES("the input has changed"),
    .data = BYTES("a\0b\n"),
    .checksum = 0x9a8a6d5f,
    .size = 1048580,
    .mtime_ns = -1795337112123456789,
    .inode = 0xfedcba9876543210,
};

#define ENCODE(name)                                                                               \
    static int encode_##name(struct mf_buffer *out, struct mf_error *error)                        \
    {                                                                                              \
        return mf_encode_##name(&sample_##name, out, error);                                       \
    }
ENCODE(hello)
ENCODE(poll)
ENCODE(chunk)
ENCODE(bye)
ENCODE(welcome)
ENCODE(work)
ENCODE(refused)
ENCODE(fetch)

static int encode_rejoining(struct mf_buffer *out, struct mf_error *error)
{
    return mf_encode_hello(&sample_rejoining, out, error);
}

static int encode_staged(struct mf_buffer *out, struct mf_error *error)
{
    return mf_encode_welcome(&sample_staged, out, error);
}

static int encode_secret(struct mf_buffer *out, struct mf_error *error)
{
    return mf_encode_welcome(&sample_secret, out, error);
}

static int encode_renewal(struct mf_buffer *out, struct mf_error *error)
{
    return mf_encode_work(&sample_renewal, out, error);
}

static int encode_piece(struct mf_buffer *out, struct mf_error *error)
{
    return mf_encode_piece(&sample_piece, true, out, error);
}

const struct sample samples[SAMPLE_COUNT] = {
    {"hello",
     MF_HELLO,
     encode_hello,
     "4d460101000000000000009c"
     "8e010302c42030313233343536373839616263646566303132333435363738396162636465660401"
     "06cffedcba9876543210070108a5302e312e3009be32303236313132322d3038343531322d776f72"
     "64636f756e742d376633610a020bcd12670ca66e6f64652d370dbb4c696e757820362e312e302d31"
     "382d616d643634207838365f36340e100fcf000000100000000010cf000660d97ed1f840"},
    {"poll",
     MF_POLL,
     encode_poll,
     "4d46010200000000000000a5"
     "8a010302c42030313233343536373839616263646566303132333435363738396162636465660301"
     "04cd012c050206cffedcba987654321007010892810107810203099182010c03010a938a07cd04b0"
     "08cd03a209cd01900accd20bcd07ac0c030dc40334320a0ece9a8a6d5f0f0210ce000186a0830401"
     "05d0c011c40c6578697420636f64652036348601cf0000000218711a0002cdffff0301040206090c"
     "ce00011170"},
    {"chunk",
     MF_CHUNK,
     encode_chunk,
     "4d460103000000000000008d"
     "de0011010302c4203031323334353637383961626364656630313233343536373839616263646566"
     "030204ce00011170050206cffedcba98765432100702080909040a010bc40e6f75742fff206e616d"
     "652e7478740ccd01a00dce000800000ec4046100620a0fc3100511c4200102030405060708090a0b"
     "0c0d0e0f101112131415161718191a1b1c1d1e1f20"},
    {"bye",
     MF_BYE,
     encode_bye,
     "4d460104000000000000003f"
     "86010302c42030313233343536373839616263646566303132333435363738396162636465660409"
     "050206cffedcba987654321007a96469736d6973736564"},
    {"welcome",
     MF_WELCOME,
     encode_welcome,
     "4d460141000000000000009e"
     "84010202ce01c9c38003ce23c34600048d01010292c40a2e2f636f756e742e7368c4067b70617468"
     "7d0392c4084c435f414c4c3d43c4074954454d3d7b7d04c40373756205020691c4052a2e63737607"
     "92c408636f756e742e7368c40464e96ae008c40d2f686f6d652f65746c2f6a6f6209c4122f686f6d"
     "652f65746c2f70726570617265640ace35a4e9000bce004c4b400cce040000000dce01000000"},
    {"work",
     MF_WORK,
     encode_work,
     "4d460142000000000000006c"
     "860102029481040a8104058401280202030104ee8905c40661206c696e6506c40d626f6f6b732f61"
     "20622e74787407cd100008cd040009110acd270f0bcf18ea51976431bd150cce000200050dc40c81"
     "a46e616d65a576616c75650392810105800491820103020205c306c3"},
    {"hello again",
     MF_HELLO,
     encode_rejoining,
     "4d4601010000000000000070"
     "8b010302c42030313233343536373839616263646566303132333435363738396162636465660401"
     "06cffedcba9876543210070108a5302e312e3009a1720a010ca66e6f64652d370da54c696e757811"
     "938301070302040182020303028401cf0000000218711a0002cdffff03010402"},
    {"received",
     MF_RECEIVED,
     mf_encode_received,
     "4d4601430000000000000001"
     "80"},
    {"refused",
     MF_REFUSED,
     encode_refused,
     "4d4601440000000000000027"
     "82010202d92174686520746f6b656e206973206e6f742074686174206f6620776f726b65722033"},
    {"staged welcome",
     MF_WELCOME,
     encode_staged,
     "4d460141000000000000004c"
     "840101020103020485010108c4042f6a6f62280129928301c4036c696205cd01ed06c38501c40b6c"
     "69622f64e96ae02e736802cd04d203cf18ea51976431bd1504ce0002000605cd01e82ac3"},
    {"welcome with secrets",
     MF_WELCOME,
     encode_secret,
     "4d4601410000000000000038"
     "850101020103020482010108c4042f6a6f620b92"
     "8301a74150495f4b4559020103c4077333637233740a"
     "8201a5454d50545902ce00011170"},
    {"renewal",
     MF_WORK,
     encode_renewal,
     "4d460142000000000000007e"
     "820a918301bc2d2d2d2d2d424547494e2043455254494649434154452d2d2d2d2d0a"
     "02bf2d2d2d2d2d424547494e2045432050524956415445204b45592d2d2d2d2d0a"
     "03c4203031323334353637383961626364656630313233343536373839616263646566"
     "0b918301a74150495f4b4559020103c4077333637233740a"},
    {"fetch",
     MF_FETCH,
     encode_fetch,
     "4d4601050000000000000048"
     "8b010302c42030313233343536373839616263646566303132333435363738396162636465660304"
     "040c050206cffedcba98765432100709080209030ace001000000bce00080000"},
    {"piece",
     MF_PIECE,
     encode_piece,
     "4d4601450000000000000042"
     "87010802c41574686520696e70757420686173206368616e67656403c4046100620a04ce9a8a6d5f"
     "05ce0010000406d3e715ae689bce42eb07cffedcba9876543210"},
};

int sample_unhex(const char *hex, struct mf_buffer *out, struct mf_error *error)
{
    for (const char *at = hex; *at != '\0'; at++) {
        if (isspace((unsigned char)*at))
            continue;
        char digits[3] = {at[0], at[1], '\0'};
        unsigned char byte = (unsigned char)strtoul(digits, NULL, 16);
        if (mf_buffer_append(out, &byte, 1, error) < 0)
            return -1;
        at++;
    }
    return 0;
}

int sample_encode_again(const struct mf_message *message,
                        struct mf_buffer *out,
                        struct mf_error *error)
{
    switch (message->type) {
    case MF_HELLO:
        return mf_encode_hello(&message->hello, out, error);
    case MF_POLL:
        return mf_encode_poll(&message->poll, out, error);
    case MF_CHUNK:
        return mf_encode_chunk(&message->chunk, out, error);
    case MF_BYE:
        return mf_encode_bye(&message->bye, out, error);
    case MF_WELCOME:
        return mf_encode_welcome(&message->welcome, out, error);
    case MF_WORK:
        return mf_encode_work(&message->work, out, error);
    case MF_RECEIVED:
        return mf_encode_received(out, error);
    case MF_REFUSED:
        return mf_encode_refused(&message->refused, out, error);
    case MF_FETCH:
        return mf_encode_fetch(&message->fetch, out, error);
    case MF_PIECE:
        return mf_encode_piece(&message->piece, true, out, error);
    }
    return mf_raise(error, MF_EPROTOCOL, "message type %d is not known", (int)message->type);
}
