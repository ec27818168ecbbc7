/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of the protocol, version 1: see message_shape.h.
 *
 * Keys are never reused. Reserved, not used yet, skipped when they come: hello 20 (address a worker
 * listens on, for a master that dials), welcome 10 (renewed credential), subtask 20 to 29 and task
 * 43 to 49 (staging over the wire).
 */
#include "common/message_shape.h"

#include "common/message.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SHAPE(name_, type, table)                                                                  \
    {                                                                                              \
        .name = name_, .size = sizeof(type), .count = COUNT(table), .fields = table                \
    }

#define FIELD(number, type, member, kind_, ...)                                                    \
    {                                                                                              \
        .key = number, .kind = MF_KIND_##kind_, .offset = offsetof(struct type, member),           \
        .name = #member, __VA_ARGS__                                                               \
    }
#define ALWAYS .required = true
#define UP_TO(n) .max = (n)
#define BETWEEN(a, b) .min = (a), .max = (b)
#define COUNTED(type, member) .max = MF_BATCH_MAX, .count_offset = offsetof(struct type, member)
#define SECRETS(type)                                                                              \
    UP_TO(MF_SECRETS_MAX), .count_offset = offsetof(struct type, secret_count),                    \
                           .shape = &secret_shape

#define SIZE_RANGE UP_TO(INT64_MAX) /* what SQLite can hold */

/* The keys 1 to 6 of every request. */
#define REQUEST(type)                                                                              \
    FIELD(1, type, request.worker, U32, ALWAYS, BETWEEN(1, UINT32_MAX)),                           \
        FIELD(2, type, request.token, TOKEN, ALWAYS, UP_TO(MF_TOKEN_SIZE)),                        \
        FIELD(3, type, request.lane, U32, UP_TO(MF_LANES - 1)),                                    \
        FIELD(4, type, request.sequence, U64, ALWAYS, BETWEEN(1, UINT64_MAX)),                     \
        FIELD(5, type, request.epoch, REQUEST_EPOCH, UP_TO(UINT32_MAX)),                           \
        FIELD(6, type, request.session, U64, ALWAYS, UP_TO(UINT64_MAX))

/* The keys 1 to 3 of everything that speaks of an attempt. */
#define FENCE(type)                                                                                \
    FIELD(1, type, subtask, SUBTASK, BETWEEN(1, MF_SUBTASK_MAX)),                                  \
        FIELD(2, type, attempt, U32, BETWEEN(1, MF_ATTEMPT_MAX), .absent = 1),                     \
        FIELD(3, type, epoch, EPOCH, BETWEEN(1, UINT32_MAX))

static const struct mf_field held_fields[] = {
    FENCE(mf_held),
    FIELD(4, mf_held, state, U32, UP_TO(MF_HELD_ENDED)),
};
static const struct mf_shape held_shape = SHAPE("held", struct mf_held, held_fields);

static const struct mf_field hello_fields[] = {
    REQUEST(mf_hello),
    FIELD(7, mf_hello, protocol, U32, ALWAYS, UP_TO(UINT32_MAX)),
    FIELD(8, mf_hello, version, TEXT, ALWAYS, UP_TO(64)),
    FIELD(9, mf_hello, run_id, TEXT, ALWAYS, UP_TO(256)),
    FIELD(10, mf_hello, slots, U32, ALWAYS, BETWEEN(1, MF_BATCH_MAX)),
    FIELD(11, mf_hello, pid, U32, UP_TO(INT32_MAX)),
    FIELD(12, mf_hello, host, TEXT, ALWAYS, UP_TO(256)),
    FIELD(13, mf_hello, system, TEXT, ALWAYS, UP_TO(512)),
    FIELD(14, mf_hello, cpus, U32, UP_TO(UINT32_MAX)),
    FIELD(15, mf_hello, memory_bytes, U64, SIZE_RANGE),
    FIELD(16, mf_hello, wall_us, I64, ),
    FIELD(17, mf_hello, held, LIST, COUNTED(mf_hello, held_count), .shape = &held_shape),
};

static const struct mf_field fence_fields[] = {FENCE(mf_fence)};
static const struct mf_shape fence_shape = SHAPE("fence", struct mf_fence, fence_fields);

static const struct mf_field result_fields[] = {
    FENCE(mf_result),
    FIELD(4, mf_result, cause, U32, UP_TO(MF_CAUSE_POISON)),
    FIELD(5, mf_result, exit_code, I32, ),
    FIELD(6, mf_result, signal, I32, ),
    FIELD(7, mf_result, age_us, U64, SIZE_RANGE),
    FIELD(8, mf_result, wall_us, U64, SIZE_RANGE),
    FIELD(9, mf_result, user_us, U64, SIZE_RANGE),
    FIELD(10, mf_result, system_us, U64, SIZE_RANGE),
    FIELD(11, mf_result, peak_kib, U64, SIZE_RANGE),
    FIELD(12, mf_result, result_bytes, U64, SIZE_RANGE),
    FIELD(13, mf_result, inline_result, BYTES, UP_TO(MF_INLINE_MAX)),
    FIELD(14, mf_result, checksum, U32, UP_TO(UINT32_MAX)),
    FIELD(15, mf_result, output_count, U32, UP_TO(UINT32_MAX)),
    FIELD(16, mf_result, output_bytes, U64, SIZE_RANGE),
    FIELD(17, mf_result, detail, BYTES, UP_TO(MF_DETAIL_MAX)),
};
static const struct mf_shape result_shape = SHAPE("result", struct mf_result, result_fields);

static const struct mf_field poll_fields[] = {
    REQUEST(mf_poll),
    FIELD(7, mf_poll, free_places, U32, UP_TO(UINT32_MAX)),
    FIELD(8, mf_poll, running, LIST, COUNTED(mf_poll, running_count), .shape = &fence_shape),
    FIELD(9, mf_poll, returned, LIST, COUNTED(mf_poll, returned_count), .shape = &fence_shape),
    FIELD(10, mf_poll, results, LIST, COUNTED(mf_poll, result_count), .shape = &result_shape),
};

static const struct mf_field chunk_fields[] = {
    REQUEST(mf_chunk),
    FIELD(7, mf_chunk, kind, U32, ALWAYS, BETWEEN(MF_CHUNK_RESULT, MF_CHUNK_LIVE)),
    FIELD(8, mf_chunk, subtask, U64, UP_TO(MF_SUBTASK_MAX)),
    FIELD(9, mf_chunk, attempt, U32, UP_TO(MF_ATTEMPT_MAX)),
    FIELD(10, mf_chunk, epoch, EPOCH, UP_TO(UINT32_MAX)),
    FIELD(11, mf_chunk, path, NAME, UP_TO(MF_STRING_MAX)),
    FIELD(12, mf_chunk, mode, U32, UP_TO(07777)),
    FIELD(13, mf_chunk, offset, U64, SIZE_RANGE),
    FIELD(14, mf_chunk, data, BYTES, UP_TO(MF_CHUNK_MAX)),
    FIELD(15, mf_chunk, last, BOOL, ),
    FIELD(16, mf_chunk, cut_bytes, U64, SIZE_RANGE),
    FIELD(17, mf_chunk, sha256, DIGEST, UP_TO(32)),
};

static const struct mf_field bye_fields[] = {
    REQUEST(mf_bye),
    FIELD(7, mf_bye, reason, TEXT, ALWAYS, UP_TO(MF_DETAIL_MAX)),
};

static const struct mf_field fetch_fields[] = {
    REQUEST(mf_fetch),
    FIELD(7, mf_fetch, subtask, U64, UP_TO(MF_SUBTASK_MAX)),
    FIELD(8, mf_fetch, file, U32, UP_TO(MF_BATCH_MAX)),
    FIELD(9, mf_fetch, member, U32, UP_TO(MF_STRING_MAX)),
    FIELD(10, mf_fetch, offset, U64, SIZE_RANGE),
    FIELD(11, mf_fetch, length, U32, UP_TO(MF_PIECE_MAX)),
};

static const struct mf_field file_fields[] = {
    FIELD(1, mf_task_file, path, NAME, ALWAYS, UP_TO(MF_STRING_MAX)),
    FIELD(2, mf_task_file, size, U64, SIZE_RANGE),
    FIELD(3, mf_task_file, mtime_ns, I64, ),
    FIELD(4, mf_task_file, inode, U64, UP_TO(UINT64_MAX)),
    FIELD(5, mf_task_file, mode, U32, UP_TO(07777)),
    FIELD(6, mf_task_file, is_folder, BOOL, ),
};
static const struct mf_shape file_shape = SHAPE("file", struct mf_task_file, file_fields);

static const struct mf_field task_fields[] = {
    FIELD(1, mf_task, executor, U32, ALWAYS, BETWEEN(MF_EXECUTOR_COMMAND, MF_EXECUTOR_NOOP)),
    FIELD(2, mf_task, argv, PATHS, COUNTED(mf_task, argc)),
    FIELD(3, mf_task, env, PATHS, COUNTED(mf_task, env_count)),
    FIELD(4, mf_task, cwd, PATH, UP_TO(MF_STRING_MAX)),
    FIELD(5, mf_task, stdin_mode, U32, UP_TO(MF_STDIN_INPUT)),
    FIELD(6, mf_task, outputs, PATHS, COUNTED(mf_task, output_count)),
    FIELD(7, mf_task, files, PATHS, COUNTED(mf_task, file_count)),
    FIELD(8, mf_task, job_folder, PATH, ALWAYS, UP_TO(MF_STRING_MAX)),
    FIELD(9, mf_task, prepared_folder, PATH, UP_TO(MF_STRING_MAX)),
    FIELD(10, mf_task, timeout_us, U64, SIZE_RANGE),
    FIELD(11, mf_task, kill_after_us, U64, SIZE_RANGE),
    FIELD(12, mf_task, output_max, U64, SIZE_RANGE),
    FIELD(13, mf_task, log_max, U64, SIZE_RANGE),
    FIELD(40, mf_task, staging, U32, UP_TO(MF_STAGING_ALWAYS)),
    FIELD(41, mf_task, own_files, LIST, COUNTED(mf_task, own_file_count), .shape = &file_shape),
    FIELD(42, mf_task, is_grouped, BOOL, ),
};
static const struct mf_shape task_shape = SHAPE("task", struct mf_task, task_fields);

static const struct mf_field secret_fields[] = {
    FIELD(1, mf_secret, name, TEXT, ALWAYS, UP_TO(MF_SECRET_NAME_MAX)),
    FIELD(2, mf_secret, version, U32, ALWAYS, BETWEEN(1, UINT32_MAX)),
    FIELD(3, mf_secret, data, BYTES, UP_TO(MF_SECRET_MAX)),
};
static const struct mf_shape secret_shape = SHAPE("secret", struct mf_secret, secret_fields);

static const struct mf_field renewal_fields[] = {
    FIELD(1, mf_renewal, certificate_pem, TEXT, ALWAYS, UP_TO(MF_PEM_MAX)),
    FIELD(2, mf_renewal, key_pem, TEXT, ALWAYS, UP_TO(MF_PEM_MAX)),
    FIELD(3, mf_renewal, token, DIGEST, ALWAYS, UP_TO(MF_TOKEN_SIZE)),
};
static const struct mf_shape renewal_shape = SHAPE("renewal", struct mf_renewal, renewal_fields);

static const struct mf_field welcome_fields[] = {
    FIELD(1, mf_welcome, epoch, U32, ALWAYS, BETWEEN(1, UINT32_MAX)),
    FIELD(2, mf_welcome, lease_us, U64, ALWAYS, BETWEEN(1, INT64_MAX)),
    FIELD(3, mf_welcome, orphan_us, U64, ALWAYS, BETWEEN(1, INT64_MAX)),
    FIELD(4, mf_welcome, task, MAP, ALWAYS, .shape = &task_shape),
    FIELD(11, mf_welcome, secrets, LIST, SECRETS(mf_welcome)),
};

static const struct mf_field subtask_fields[] = {
    FIELD(1, mf_subtask, id, SUBTASK, BETWEEN(1, MF_SUBTASK_MAX)),
    FIELD(2, mf_subtask, attempt, U32, BETWEEN(1, MF_ATTEMPT_MAX), .absent = 1),
    FIELD(3, mf_subtask, epoch, EPOCH, BETWEEN(1, UINT32_MAX)),
    FIELD(4, mf_subtask, number, NUMBER, .count_offset = offsetof(struct mf_subtask, has_number)),
    FIELD(5, mf_subtask, item, BYTES, UP_TO(MF_STRING_MAX)),
    FIELD(6, mf_subtask, path, NAME, UP_TO(MF_STRING_MAX)),
    FIELD(7, mf_subtask, offset, U64, SIZE_RANGE),
    FIELD(8, mf_subtask, length, U64, SIZE_RANGE),
    FIELD(9, mf_subtask, header_length, U64, SIZE_RANGE),
    FIELD(10, mf_subtask, input_size, U64, SIZE_RANGE),
    FIELD(11, mf_subtask, input_mtime_ns, I64, ),
    FIELD(12, mf_subtask, input_inode, U64, UP_TO(UINT64_MAX)),
    FIELD(13, mf_subtask, fields, FIELDS, UP_TO(MF_STRING_MAX)),
    FIELD(14, mf_subtask, message, I64, ),
};
static const struct mf_shape subtask_shape = SHAPE("subtask", struct mf_subtask, subtask_fields);

static const struct mf_field work_fields[] = {
    {.key = 1, .kind = MF_KIND_DEFAULT_EPOCH, .max = UINT32_MAX, .name = "epoch"},
    FIELD(2, mf_work, subtasks, LIST, COUNTED(mf_work, subtask_count), .shape = &subtask_shape),
    FIELD(3, mf_work, take_back, LIST, COUNTED(mf_work, take_back_count), .shape = &fence_shape),
    FIELD(4, mf_work, cancel, LIST, COUNTED(mf_work, cancel_count), .shape = &fence_shape),
    FIELD(5, mf_work, drain, BOOL, ),
    FIELD(6, mf_work, dismiss, BOOL, ),
    FIELD(7, mf_work, unrecorded, BOOL, ),
    FIELD(10,
          mf_work,
          renewals,
          LIST,
          UP_TO(1),
          .count_offset = offsetof(struct mf_work, renewal_count),
          .shape = &renewal_shape),
    FIELD(11, mf_work, secrets, LIST, SECRETS(mf_work)),
};

static const struct mf_field refused_fields[] = {
    FIELD(1, mf_refused, code, U32, ALWAYS, BETWEEN(1, UINT32_MAX)),
    FIELD(2, mf_refused, text, TEXT, ALWAYS, UP_TO(MF_DETAIL_MAX)),
};

static const struct mf_field piece_fields[] = {
    FIELD(1, mf_piece, cause, U32, UP_TO(MF_CAUSE_CANCELLED)),
    FIELD(2, mf_piece, detail, BYTES, UP_TO(MF_DETAIL_MAX)),
    FIELD(3, mf_piece, data, BYTES, UP_TO(MF_PIECE_MAX)),
    FIELD(4, mf_piece, checksum, U32, UP_TO(UINT32_MAX)),
    FIELD(5, mf_piece, size, U64, SIZE_RANGE),
    FIELD(6, mf_piece, mtime_ns, I64, ),
    FIELD(7, mf_piece, inode, U64, UP_TO(UINT64_MAX)),
};

const struct mf_shape mf_shape_hello = SHAPE("hello", struct mf_hello, hello_fields);
const struct mf_shape mf_shape_poll = SHAPE("poll", struct mf_poll, poll_fields);
const struct mf_shape mf_shape_chunk = SHAPE("chunk", struct mf_chunk, chunk_fields);
const struct mf_shape mf_shape_bye = SHAPE("bye", struct mf_bye, bye_fields);
const struct mf_shape mf_shape_fetch = SHAPE("fetch", struct mf_fetch, fetch_fields);
const struct mf_shape mf_shape_welcome = SHAPE("welcome", struct mf_welcome, welcome_fields);
const struct mf_shape mf_shape_work = SHAPE("work", struct mf_work, work_fields);
const struct mf_shape mf_shape_received = {.name = "received"};
const struct mf_shape mf_shape_refused = SHAPE("refused", struct mf_refused, refused_fields);
const struct mf_shape mf_shape_piece = SHAPE("piece", struct mf_piece, piece_fields);
