/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What master and worker say to each other, as structs. docs/protocol.md describes the bytes.
 *
 * A worker only ever requests (nng REQ), the master only ever replies (nng REP):
 *
 *     hello -> welcome | refused     once per session and epoch, lane 0
 *     poll  -> work | refused        lanes 0 and 1; brings finished results, gets subtasks, control
 *     chunk -> received | refused    lane 2; a piece of a log, a large result or an output file
 *     fetch -> piece | refused       lanes 3 and 4; a part of an input or of a file of the job
 *     bye   -> received              the last word of a worker, lane 0 or 1
 *
 * A lane is a strict alternation of request and reply with its own rising sequence number. A
 * request that comes again with the same (worker, lane, sequence) is the same request: the master
 * answers it with the very reply it gave before (a piece is read once more instead). That is what
 * makes nng's resending harmless.
 *
 * Ownership: decoded structs borrow all bytes and strings from the message they were decoded from
 * and their arrays from the decoder (struct mf_decoder), until its next use. Encoders append one
 * whole frame to a buffer.
 */
#ifndef MAYFLY_COMMON_MESSAGE_H
#define MAYFLY_COMMON_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/mayfly.h"

#define MF_PROTOCOL MAYFLY_PROTOCOL_VERSION
#define MF_TOKEN_SIZE 32
#define MF_LANES 5
#define MF_LANE_CHUNK 2
#define MF_LANE_FETCH 3 /* the first of those that only carry fetches */

/* Caps, checked before anything is allocated. */
#define MF_FRAME_MAX (4u << 20)    /* bytes of a frame on the wire; nng's RECVMAXSZ on both sides */
#define MF_INFLATED_MAX (8u << 20) /* bytes of a frame's body when inflated */
#define MF_DEPTH_MAX 8             /* nesting of a body */
#define MF_BATCH_MAX 4096          /* subtasks or results in one message */
#define MF_STRING_MAX (1u << 20)   /* one string or path */
#define MF_CHUNK_MAX (512u << 10)  /* data of one chunk */
#define MF_PIECE_MAX (512u << 10)  /* data of one piece */
#define MF_INLINE_MAX (64u << 10)  /* a result of at most this size travels and is stored inline */
#define MF_SECRETS_MAX 32          /* secrets of a job */
#define MF_SECRET_MAX (64u << 10)  /* the value of one */
#define MF_SECRET_NAME_MAX 64
#define MF_PEM_MAX (8u << 10) /* a certificate or key */
#define MF_DETAIL_MAX 4096    /* a sentence: the detail of a result, a reason, a refusal */
#define MF_SUBTASK_MAX ((UINT64_C(1) << 47) - 1) /* run.db's key is subtask * 65536 + attempt */
#define MF_ATTEMPT_MAX 65535
/* A batch whose weights (mf_subtask_weight, mf_result_weight) sum up to this fits into a frame. */
#define MF_BATCH_WEIGHT (MF_FRAME_MAX - (128u << 10))

/* Numbers are never reused; retired ones stay listed. */
enum mf_message_type {
    MF_HELLO = 1,
    MF_POLL = 2,
    MF_CHUNK = 3,
    MF_BYE = 4,
    MF_FETCH = 5,
    MF_WELCOME = 65,
    MF_WORK = 66,
    MF_RECEIVED = 67,
    MF_REFUSED = 68,
    MF_PIECE = 69
};

/* Why an attempt ended as it did. Numbers are on the wire and never reused; names are in run.db. */
#define MF_CAUSES(X)                                                                               \
    X(MF_CAUSE_NONE, 0, "none")       /* exit code 0: the result counts */                         \
    X(MF_CAUSE_EXIT, 1, "exit")       /* another exit code */                                      \
    X(MF_CAUSE_SIGNAL, 2, "signal")   /* killed by a signal */                                     \
    X(MF_CAUSE_TIMEOUT, 3, "timeout") /* ended by us at its time limit */                          \
    X(MF_CAUSE_NOT_STARTED,                                                                        \
      4,                                                                                           \
      "not started") /* command not found, not executable, no memory ... */                        \
    X(MF_CAUSE_OUTPUT_TOO_LARGE, 5, "output too large")                                            \
    X(MF_CAUSE_OUTPUT_MISSING, 6, "output missing") /* an outputs: glob matched nothing */         \
    X(MF_CAUSE_INPUT_MISSING, 7, "input missing")   /* vanished between plan and use; final */     \
    X(MF_CAUSE_INPUT_CHANGED,                                                                      \
      8,                                                                                           \
      "input changed") /* size, mtime or inode differ from the plan; final */                      \
    X(MF_CAUSE_WORKER_ERROR,                                                                       \
      9,                                                                                           \
      "worker error")                      /* disk full on the worker, folder not writable ... */  \
    X(MF_CAUSE_CANCELLED, 10, "cancelled") /* ended by us on the master's order; never recorded */ \
    X(MF_CAUSE_LOST, 11, "lost")     /* its worker or slot process died; no failure of its */      \
    X(MF_CAUSE_POISON, 12, "poison") /* its workers died too often; made by the master only */

#define MF_CAUSE_ENUM(name, number, text) name = number,
enum mf_cause { MF_CAUSES(MF_CAUSE_ENUM) };

const char *mf_cause_name(int cause);     /* "unknown" for a number that has no name */
int mf_cause_from_name(const char *name); /* -1 for a name that is none */

/* The start of every request. */
struct mf_request {
    uint32_t worker; /* id within the run, from 1, never reused */
    unsigned char
        token[MF_TOKEN_SIZE]; /* in every request, since nng may resend it on a new pipe */
    uint32_t lane;
    uint64_t sequence; /* rising by one per lane and session, from 1 */
    uint32_t epoch;    /* of the welcome; 0 in a hello */
    uint64_t session;  /* random, made by the worker when it starts */
};

/* How far an attempt is that a worker holds: in its slots' queue, in a slot, or ended with a result
 * that nobody has acknowledged. */
enum mf_held_state { MF_HELD_QUEUED = 0, MF_HELD_RUNNING = 1, MF_HELD_ENDED = 2 };

struct mf_held {
    uint64_t subtask;
    uint32_t attempt;
    uint32_t epoch; /* of the master that issued it */
    uint32_t state; /* enum mf_held_state */
};

struct mf_hello {
    struct mf_request request;
    uint32_t protocol;
    const char *version; /* of the software, for the refusal's sentence and the worker table */
    const char *run_id;
    uint32_t slots;
    uint32_t pid;
    const char *host;   /* uname -n */
    const char *system; /* uname -srm */
    uint32_t cpus;
    uint64_t memory_bytes;
    int64_t wall_us; /* the worker's clock, for its offset */
    uint32_t held_count;
    const struct mf_held *held; /* of a worker that had another master before: what it still has */
};

enum mf_executor { MF_EXECUTOR_COMMAND = 1, MF_EXECUTOR_SHELL = 2, MF_EXECUTOR_NOOP = 3 };
enum mf_stdin { MF_STDIN_NONE = 0, MF_STDIN_ITEM = 1, MF_STDIN_PIECE = 2, MF_STDIN_INPUT = 3 };

enum mf_staging {
    MF_STAGING_NEVER = 0, /* all is in its place */
    MF_STAGING_AUTO = 1,  /* what is not in its place, the very same file, is fetched */
    MF_STAGING_ALWAYS = 2
};

/* One of the job's own files as the master has it; folders come before what is in them. */
struct mf_task_file {
    struct mf_bytes path; /* relative to the job's folder */
    uint64_t size;
    int64_t mtime_ns;
    uint64_t inode;
    uint32_t mode; /* permission bits */
    bool is_folder;
};

/* What all subtasks of a run share; sent once, in the welcome. */
struct mf_task {
    uint32_t executor; /* enum mf_executor */
    uint32_t argc;
    const char **argv; /* templates; for MF_EXECUTOR_SHELL one element, the shell line */
    uint32_t env_count;
    const char **env;      /* "NAME=value", templates in the values */
    const char *cwd;       /* relative to the attempt's folder, NULL = that folder */
    uint32_t stdin_mode;   /* enum mf_stdin */
    uint32_t output_count; /* outputs: globs, relative to the attempt's folder */
    const char **outputs;
    uint32_t file_count; /* files: of the job's own; paths relative to the job's folder */
    const char **files;
    const char *job_folder; /* absolute on the master; where files: and relative inputs are (shared
                               places) */
    const char *prepared_folder; /* $MAYFLY_PREPARED, NULL = none */
    uint64_t timeout_us;         /* 0 = none */
    uint64_t kill_after_us;      /* from TERM to KILL */
    uint64_t output_max;         /* bytes of a result; more fails the attempt */
    uint64_t log_max;            /* bytes kept of a log stream; more is cut and marked */
    uint32_t staging;            /* enum mf_staging */
    uint32_t own_file_count; /* what `files` names, all that is in folders too; only when staging
                                is possible */
    const struct mf_task_file *own_files;
    bool is_grouped; /* items are lists of absolute paths of inputs, each ended by NUL */
};

/* One of the job's secrets. */
struct mf_secret {
    const char *name;     /* letters, digits and _, as in the job file */
    uint32_t version;     /* rises by one whenever the value changes, from 1 */
    struct mf_bytes data; /* the value */
};

struct mf_welcome {
    uint32_t epoch;
    uint64_t lease_us;
    uint64_t orphan_us;
    struct mf_task task;
    uint32_t secret_count;
    const struct mf_secret *secrets;
};

/* A worker's renewed credential: what it shows and says from now on. PEM texts. */
struct mf_renewal {
    const char *certificate_pem;
    const char *key_pem;
    struct mf_bytes token; /* MF_TOKEN_SIZE bytes */
};

/* One subtask as it is offered. Absent fields are zero. */
struct mf_subtask {
    uint64_t id;
    uint32_t attempt;
    uint32_t epoch;
    bool has_number; /* the item is `number`, written in decimal */
    int64_t number;
    struct mf_bytes item; /* the item otherwise: a value, a line, a path */
    struct mf_bytes
        path;        /* of the input, relative to the job's folder or absolute; empty = no input */
    uint64_t offset; /* the piece within the input */
    uint64_t length;
    uint64_t header_length; /* bytes at the input's start that go before the piece (a CSV header) */
    uint64_t input_size;    /* the input as planned: it must still be so */
    int64_t input_mtime_ns;
    uint64_t input_inode; /* 0 = not checked */
    struct mf_bytes
        fields;      /* the item's named fields: a msgpack map of strings, as bytes; empty = none */
    int64_t message; /* the id of the queue's message that it is; 0 = none */
};

/* The end of one attempt. */
struct mf_result {
    uint64_t subtask;
    uint32_t attempt;
    uint32_t epoch;
    uint32_t cause; /* enum mf_cause */
    int32_t exit_code;
    int32_t signal;
    uint64_t age_us; /* how long ago it ended, when the poll was sent: the master stamps */
    uint64_t wall_us;
    uint64_t user_us;
    uint64_t system_us;
    uint64_t peak_kib;
    uint64_t result_bytes; /* of standard output; more than inline_result holds: it came as a file,
                              by chunks */
    struct mf_bytes inline_result;
    uint32_t checksum;     /* crc32 of an inline result; files carry a sha256 with their chunks */
    uint32_t output_count; /* outputs: files sent by chunks before this result */
    uint64_t output_bytes;
    struct mf_bytes detail; /* a sentence, when there is more to say than the cause */
};

struct mf_fence {
    uint64_t subtask;
    uint32_t attempt;
    uint32_t epoch;
};

struct mf_poll {
    struct mf_request request;
    uint32_t free_places; /* slots with nothing to do */
    uint32_t running_count;
    const struct mf_fence *running; /* in a slot now; at most one or two a slot */
    uint32_t returned_count;
    const struct mf_fence *returned; /* taken back as asked, never started */
    uint32_t result_count;
    const struct mf_result *results;
};

/* The answer to a poll. That it came acknowledges all results of that poll: they are committed;
 * unless it says `unrecorded`. */
struct mf_work {
    uint32_t subtask_count;
    const struct mf_subtask *subtasks;
    uint32_t take_back_count;
    const struct mf_fence *take_back; /* give back what is not started */
    uint32_t cancel_count;
    const struct mf_fence *cancel; /* end these at once */
    bool drain;                    /* nothing new will come */
    bool dismiss;                  /* send what is left, say bye, clean up and end */
    bool unrecorded;        /* the results are not recorded yet: keep them, send them again */
    uint32_t renewal_count; /* 0 or 1 */
    const struct mf_renewal *renewals;
    uint32_t secret_count; /* those that have changed */
    const struct mf_secret *secrets;
};

enum mf_chunk_kind {
    MF_CHUNK_RESULT = 1, /* standard output of a done attempt that is too large to be inline */
    MF_CHUNK_OUTPUT = 2, /* an outputs: file; path is relative to the attempt's folder */
    MF_CHUNK_STDOUT =
        3, /* captured streams: attempts that are not done, and standard error of all */
    MF_CHUNK_STDERR = 4,
    MF_CHUNK_WORKER_LOG = 5, /* the worker's own log; subtask 0 */
    MF_CHUNK_LIVE = 6 /* standard output of an attempt that runs; shown, and void at its end */
};

struct mf_chunk {
    struct mf_request request;
    uint32_t kind; /* enum mf_chunk_kind */
    uint64_t subtask;
    uint32_t attempt;
    uint32_t epoch;
    struct mf_bytes path;
    uint32_t mode;   /* permission bits of an output */
    uint64_t offset; /* of data in the file or stream */
    struct mf_bytes data;
    bool last;              /* the file or stream ends with this chunk */
    uint64_t cut_bytes;     /* with last: bytes of the stream that were dropped at log_max */
    struct mf_bytes sha256; /* with last, for results and outputs: 32 bytes over the whole file */
};

/* Asks for a part of a file that the run has, by what the worker was told of it. With no subtask
 * and no file nothing is asked for: it says that the lane's last piece has come. */
struct mf_fetch {
    struct mf_request request;
    uint64_t subtask; /* whose input; 0 = a file of the job */
    uint32_t file;    /* of mf_task.own_files, from 1 */
    uint32_t member;  /* of a grouped item, from 0 */
    uint64_t offset;
    uint32_t length; /* 0: only what the file is now */
};

struct mf_bye {
    struct mf_request request;
    const char *reason;
};

enum mf_refusal {
    MF_REFUSAL_PROTOCOL = 1, /* another protocol version */
    MF_REFUSAL_TOKEN = 2,    /* unknown worker or wrong token, or another worker's pipe */
    MF_REFUSAL_RUN = 3,      /* another run, or a run that has ended */
    MF_REFUSAL_MALFORMED = 4,
    MF_REFUSAL_SESSION =
        5, /* this worker id is in use by another session, or an epoch that is over */
    MF_REFUSAL_EXPIRED = 6,
    MF_REFUSAL_EPOCH = 7 /* another master serves the run now, with a higher epoch: say hello again.
                            The connection stays, and with it all that the worker holds */
};

struct mf_refused {
    uint32_t code;    /* enum mf_refusal */
    const char *text; /* a sentence for a reader */
};

/* The answer to a fetch: the bytes, or why there are none. */
struct mf_piece {
    uint32_t cause; /* enum mf_cause: NONE; INPUT_MISSING, INPUT_CHANGED, WORKER_ERROR with a
                       detail; CANCELLED: the subtask is over */
    struct mf_bytes detail;
    struct mf_bytes data; /* as long as was asked for, or up to the file's end */
    uint32_t checksum;    /* crc32 of data */
    uint64_t size;        /* the whole file as it was read */
    int64_t mtime_ns;
    uint64_t inode;
};

/* A decoded message; which member counts follows from type. */
struct mf_message {
    enum mf_message_type type;
    union {
        struct mf_hello hello;
        struct mf_poll poll;
        struct mf_chunk chunk;
        struct mf_bye bye;
        struct mf_fetch fetch;
        struct mf_welcome welcome;
        struct mf_work work;
        struct mf_refused refused;
        struct mf_piece piece;
    };
};

/* Encoders: append one whole frame to `out`. -1 with MF_ENOMEM, or MF_EPROTOCOL when a cap is
 * exceeded. */
int mf_encode_hello(const struct mf_hello *hello, struct mf_buffer *out, struct mf_error *error);
int mf_encode_poll(const struct mf_poll *poll, struct mf_buffer *out, struct mf_error *error);
int mf_encode_chunk(const struct mf_chunk *chunk, struct mf_buffer *out, struct mf_error *error);
int mf_encode_bye(const struct mf_bye *bye, struct mf_buffer *out, struct mf_error *error);
int mf_encode_fetch(const struct mf_fetch *fetch, struct mf_buffer *out, struct mf_error *error);
int mf_encode_welcome(const struct mf_welcome *welcome,
                      struct mf_buffer *out,
                      struct mf_error *error);
int mf_encode_work(const struct mf_work *work, struct mf_buffer *out, struct mf_error *error);
int mf_encode_received(struct mf_buffer *out, struct mf_error *error);
int mf_encode_refused(const struct mf_refused *refused,
                      struct mf_buffer *out,
                      struct mf_error *error);
/* `deflate`: whether it is worth trying; the caller knows the data. */
int mf_encode_piece(const struct mf_piece *piece,
                    bool deflate,
                    struct mf_buffer *out,
                    struct mf_error *error);

/* An upper bound of the bytes that one item takes in a message: see MF_BATCH_WEIGHT. */
size_t mf_subtask_weight(const struct mf_subtask *subtask);
size_t mf_result_weight(const struct mf_result *result);

/* Scratch memory of a decoder: reused from message to message, so that a batch costs no allocation
 * of its own. */
struct mf_decoder;
struct mf_decoder *mf_decoder_create(void);
void mf_decoder_destroy(struct mf_decoder *decoder);

/*
 * Decodes one frame. *message borrows from `frame` and from the decoder until the decoder's next
 * use (a compressed frame is inflated into the decoder's memory). -1 with MF_EPROTOCOL and a
 * sentence that says what is wrong with the message; MF_ENOMEM. Never reads outside the frame,
 * never allocates for a declared count before that count was checked against the bytes that remain.
 * Unknown keys are skipped, unknown message types are an error.
 */
int mf_decode(struct mf_decoder *decoder,
              struct mf_bytes frame,
              struct mf_message *message,
              struct mf_error *error);

/*
 * The decoder's memory, detached: what the last decoded message borrows besides its frame now lives
 * until mf_decoder_destroy of the returned decoder, and `decoder` starts with fresh memory. For
 * results that wait for their commit. NULL when memory is exhausted (the decoder keeps its memory
 * then).
 */
struct mf_decoder *mf_decoder_detach(struct mf_decoder *decoder);

#endif
