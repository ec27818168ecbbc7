/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts: a run's files are written by the real code on a disk that remembers what was synced,
 * and found again as they may be after a cut at any moment. With `durability: full` all that was
 * said to be recorded is there, with its files; what is there is whole; the real code goes on with
 * it.
 *
 * environment: MAYFLY_POWER_CUT_SEEDS (2), MAYFLY_POWER_CUT_FIRST (1)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/checksum.h"
#include "common/clock.h"
#include "master/plan.h"
#include "master/record/intake.h"
#include "master/record/log_store.h"
#include "master/record/record.h"
#include "master/record/run_db.h"
#include "master/record/tree.h"
#include "master/run_folder.h"
#include "master/split/plan_seg.h"
#include "tests/unit/disk/disk_shim.h"

#define BATCHES 24u
#define ROWS 9u
#define CUTS_MAX 40u
#define CUT_EACH 12u /* about one of so many changes */
#define PIECES 600u
#define LARGE 5000u /* bytes of a result that is a file */

/* What had been promised when the power was cut. */
struct promised {
    uint32_t epoch;
    uint32_t batches; /* recorded */
    uint64_t mark;
    uint32_t planned;
};

struct world {
    char base[256], state[300]; /* a folder of our own; the watched one in it */
    char *folder;               /* of the run */
    char run_id[RUN_ID_SIZE];
    struct recorder *recorder;
    struct record_row rows[BATCHES][ROWS];
    struct record_batch batches[BATCHES];
    unsigned char results[BATCHES * ROWS + 1][64];
    struct promised promised; /* atomics */
    uint64_t random;
    unsigned cut_count;
    struct promised cuts[CUTS_MAX];
};

static uint64_t next_random(struct world *world)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return world->random;
}

static bool is_file(uint64_t subtask)
{
    return subtask % 7 == 3;
}

static bool has_outputs(uint64_t subtask)
{
    return subtask % 11 == 5;
}

static size_t small_result(uint64_t subtask, unsigned char *out)
{
    return (size_t)snprintf((char *)out, 64, "result of %llu", (unsigned long long)subtask);
}

static void large_result(uint64_t subtask, unsigned char *out)
{
    for (unsigned i = 0; i < LARGE; i++)
        out[i] = (unsigned char)(subtask * 31 + i * 7 + i / 256);
}

static void cut_path(const struct world *world, unsigned cut, char *path, size_t size)
{
    snprintf(path, size, "%s/cut%u", world->base, cut);
}

static void maybe_cut(void *arg, unsigned long change)
{
    struct world *world = arg;
    char path[320];
    (void)change;
    if (world->cut_count == CUTS_MAX || next_random(world) % CUT_EACH != 0)
        return;
    struct promised *cut = &world->cuts[world->cut_count];
    cut->epoch = __atomic_load_n(&world->promised.epoch, __ATOMIC_ACQUIRE);
    cut->batches = __atomic_load_n(&world->promised.batches, __ATOMIC_ACQUIRE);
    cut->mark = __atomic_load_n(&world->promised.mark, __ATOMIC_ACQUIRE);
    cut->planned = __atomic_load_n(&world->promised.planned, __ATOMIC_ACQUIRE);
    cut_path(world, world->cut_count++, path, sizeof path);
    disk_cut(path, next_random(world));
}

static void on_committed(struct record_batch *batch, void *arg)
{
    struct world *world = arg;
    if (batch->error.code != MF_OK)
        abort();
    if (batch->owner != NULL) /* behind the high-water mark */
        __atomic_store_n(&world->promised.mark, 1000, __ATOMIC_RELEASE);
    else
        __atomic_fetch_add(&world->promised.batches, 1, __ATOMIC_RELEASE);
}

static struct recorder *
open_recorder(struct world *world, const char *folder, uint32_t *epoch, struct mf_error *error)
{
    char *path = run_path(folder, "run.db");
    int notice;
    struct record_config config = {.path = path,
                                   .run_id = world->run_id,
                                   .job_name = "power",
                                   .job_text = "mayfly: 1\n",
                                   .durability_full = true,
                                   .network_fs = -1,
                                   .committed = on_committed,
                                   .arg = world};
    struct recorder *recorder = record_open(&config, epoch, &notice, error);
    mf_free(path);
    return recorder;
}

static void must(int rc, const struct mf_error *error)
{
    if (rc < 0)
        fail_msg("%s", error->text);
}

static void send_file(struct intake *intake,
                      uint64_t subtask,
                      enum mf_chunk_kind kind,
                      const char *name,
                      const unsigned char *data)
{
    struct mf_error error;
    struct mf_sha256 sum;
    unsigned char digest[MF_SHA256_SIZE];
    mf_sha256_init(&sum);
    mf_sha256_update(&sum, mf_bytes_of(data, LARGE));
    mf_sha256_finish(&sum, digest);
    for (unsigned at = 0; at < LARGE; at += LARGE / 2) {
        struct mf_chunk chunk = {.kind = kind,
                                 .subtask = subtask,
                                 .attempt = 1,
                                 .epoch = 1,
                                 .path = mf_bytes_text(name),
                                 .mode = 0600,
                                 .offset = at,
                                 .data = mf_bytes_of(data + at, LARGE / 2),
                                 .last = at > 0,
                                 .sha256 = mf_bytes_of(digest, at > 0 ? sizeof digest : 0)};
        must(intake_chunk(intake, 1, &chunk, &error), &error);
    }
}

static void bring_files(struct intake *intake, const struct record_row *row)
{
    static unsigned char data[LARGE];
    const struct mf_fence fence = {.subtask = row->subtask, .attempt = 1, .epoch = 1};
    struct mf_error error;
    large_result(row->subtask, data);
    if (is_file(row->subtask))
        send_file(intake, row->subtask, MF_CHUNK_RESULT, "", data);
    if (has_outputs(row->subtask)) {
        send_file(intake, row->subtask, MF_CHUNK_OUTPUT, "top", data);
        send_file(intake, row->subtask, MF_CHUNK_OUTPUT, "a/b/deep", data);
    }
    if (is_file(row->subtask) || has_outputs(row->subtask))
        must(
            intake_accept(
                intake, 1, &fence, is_file(row->subtask), has_outputs(row->subtask), false, &error),
            &error);
}

static void fill_row(struct world *world, struct record_row *row, uint64_t subtask)
{
    *row = (struct record_row){
        .subtask = subtask, .attempt = 1, .epoch = 1, .worker = 1, .state = RECORD_DONE};
    if (is_file(subtask)) {
        row->result_bytes = LARGE;
    } else {
        row->has_result = true;
        row->result_bytes = small_result(subtask, world->results[subtask]);
        row->result = mf_bytes_of(world->results[subtask], row->result_bytes);
    }
    row->output_count = has_outputs(subtask) ? 2 : 0;
}

static int on_planned(void *arg, uint64_t subtask, uint32_t last_attempt, uint32_t failures)
{
    struct world *world = arg;
    (void)subtask, (void)last_attempt, (void)failures;
    __atomic_fetch_add(&world->promised.planned, 1, __ATOMIC_RELEASE);
    return 0;
}

static struct job *make_job(const struct world *world)
{
    char text[512];
    struct mf_error error;
    int n = snprintf(text,
                     sizeof text,
                     "mayfly: 1\nsplit: {lines: [\"%s/input\"], count: 1}\n"
                     "task: {command: [/bin/true]}\n",
                     world->base);
    assert_true(n > 0 && (size_t)n < sizeof text);
    struct job *job = job_parse("job.yaml", world->base, mf_bytes_text(text), NULL, 0, &error);
    if (job == NULL)
        fail_msg("%s", error.text);
    return job;
}

static void send_log(struct intake *intake, uint64_t subtask)
{
    struct mf_error error;
    char text[3000];
    memset(text, 'a' + (int)(subtask % 26), sizeof text);
    for (unsigned i = 0; i < sizeof text; i += 3) /* so that it does not shrink to nothing */
        text[i] = (char)('!' + (subtask * 7 + i * i) % 90);
    struct mf_chunk chunk = {.kind = MF_CHUNK_STDERR,
                             .subtask = subtask,
                             .attempt = 1,
                             .epoch = 1,
                             .data = mf_bytes_of(text, sizeof text),
                             .last = true};
    must(intake_chunk(intake, 1, &chunk, &error), &error);
}

/* A run as its master writes it: marks, plan, files, rows, logs. */
static void work(struct world *world, struct log_writer *logs, struct intake *intake)
{
    struct mf_error error;
    struct job *job = make_job(world);
    struct plan *plan = plan_create(job, world->folder, NULL, true, &error);
    assert_non_null(plan);
    struct record_run mark = {.has_high_water = true, .high_water = 1000};
    struct record_batch marked = {.owner = world};
    must(record_run(world->recorder, &mark, &error), &error);
    record_submit(world->recorder, &marked);
    for (unsigned b = 0; b < BATCHES; b++) {
        must(plan_pull(plan, PIECES / BATCHES, MF_NEVER, on_planned, world, &error), &error);
        for (unsigned i = 0; i < ROWS; i++) {
            fill_row(world, &world->rows[b][i], b * ROWS + i + 1);
            send_log(intake, b * ROWS + i + 1);
            bring_files(intake, &world->rows[b][i]);
        }
        if (b % 3 == 0)
            must(log_writer_flush(logs, &error), &error);
        world->batches[b] = (struct record_batch){.rows = world->rows[b], .row_count = ROWS};
        record_submit(world->recorder, &world->batches[b]);
        if (b % 5 == 4)
            must(record_flush(world->recorder, &error), &error);
    }
    must(record_close(world->recorder, &error), &error);
    plan_destroy(plan);
    job_destroy(job);
}

static void run_and_cut(struct world *world)
{
    struct mf_error error;
    uint32_t epoch;
    disk_watch(world->state);
    disk_before_change(maybe_cut, world);
    world->folder = run_folder_create("power", world->run_id, &error);
    if (world->folder == NULL)
        fail_msg("%s", error.text);
    world->recorder = open_recorder(world, world->folder, &epoch, &error);
    if (world->recorder == NULL)
        fail_msg("%s", error.text);
    __atomic_store_n(&world->promised.epoch, epoch, __ATOMIC_RELEASE);
    char *logs_path = run_path(world->folder, "logs");
    struct log_writer *logs = log_writer_open(logs_path, &error);
    assert_non_null(logs);
    struct intake *intake = intake_create(world->folder, logs, true, 1 << 20, &error);
    assert_non_null(intake);
    work(world, logs, intake);
    intake_destroy(intake);
    log_writer_close(logs);
    mf_free(logs_path);
    disk_watch(NULL);
}

static void expect_file(const char *folder, uint64_t subtask, const char *below)
{
    static unsigned char wanted[LARGE], got[LARGE + 1];
    char path[1024];
    snprintf(path,
             sizeof path,
             "%s/outputs/%llu/%llu%s",
             folder,
             (unsigned long long)(subtask / 1000),
             (unsigned long long)subtask,
             below);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s is recorded, and not there", path);
    ssize_t length = read(fd, got, sizeof got);
    close(fd);
    large_result(subtask, wanted);
    if (length != LARGE || memcmp(got, wanted, LARGE) != 0)
        fail_msg("%s is recorded, and not whole: %zd bytes", path, length);
}

static void check_row(const char *folder, sqlite3_stmt *row)
{
    uint64_t subtask = (uint64_t)sqlite3_column_int64(row, 0);
    unsigned char wanted[64];
    if (is_file(subtask)) {
        expect_file(folder, subtask, ".result");
    } else {
        size_t length = small_result(subtask, wanted);
        assert_int_equal(sqlite3_column_bytes(row, 1), length);
        assert_memory_equal(sqlite3_column_blob(row, 1), wanted, length);
    }
    if (has_outputs(subtask)) {
        expect_file(folder, subtask, "/top");
        expect_file(folder, subtask, "/a/b/deep");
    }
}

static int64_t integer(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

/* All that was promised has a row; each row has what it names; the table is sound. */
static void check_rows(const char *folder, const struct promised *promised)
{
    struct mf_error error;
    char *path = run_path(folder, "run.db");
    sqlite3 *db = run_db_open(path, &error);
    if (db == NULL)
        fail_msg("%s", error.text);
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal(sqlite3_column_text(stmt, 0), "ok");
    sqlite3_finalize(stmt);
    assert_true(integer(db, "SELECT high_water FROM run") >= (int64_t)promised->mark);
    static const char sql[] = "SELECT id >> 16, result FROM attempt ORDER BY id";
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    uint64_t count = 0;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        assert_int_equal(sqlite3_column_int64(stmt, 0), ++count);
        check_row(folder, stmt);
    }
    sqlite3_finalize(stmt);
    run_db_close(db);
    mf_free(path);
    if (count % ROWS != 0 || count < (uint64_t)promised->batches * ROWS)
        fail_msg("%llu rows are there, %u were recorded",
                 (unsigned long long)count,
                 promised->batches * ROWS);
}

static void check_plan(const char *folder, uint32_t planned)
{
    struct mf_error error;
    char *path = run_path(folder, "plan.seg");
    struct plan_reader *reader = access(path, F_OK) == 0 ? plan_reader_open(path, &error) : NULL;
    struct mf_subtask piece;
    uint32_t count = 0;
    int rc = 0;
    if (reader == NULL && access(path, F_OK) == 0)
        fail_msg("%s", error.text);
    while (reader != NULL && (rc = plan_reader_next(reader, &piece, &error)) > 0) {
        assert_int_equal(piece.id, ++count);
        assert_int_equal(piece.length, 9);
        assert_int_equal(piece.offset, (count - 1) * 9);
    }
    if (rc < 0)
        fail_msg("%s", error.text);
    if (count < planned)
        fail_msg("%u pieces are in the plan, %u were handed out", count, planned);
    plan_reader_destroy(reader);
    mf_free(path);
}

/* How many pieces of the subtask can be read (0 = all). Damage is named, and passed by. */
static unsigned read_logs(const char *path, uint64_t subtask)
{
    struct mf_error error;
    struct log_piece piece;
    unsigned count = 0, named = 0;
    int rc;
    struct log_reader *reader = log_reader_open(path, &error);
    assert_non_null(reader);
    while ((rc = log_reader_next(reader, subtask, 0, 0, 0, &piece, &error)) != 0) {
        if (rc < 0 && (error.code != MF_EINPUT || ++named == 1000))
            fail_msg("%s", error.text);
        if (rc > 0) {
            assert_true(piece.data.length <= 3000);
            count++;
        }
    }
    log_reader_close(reader);
    return count;
}

/* Logs are not promised: what is whole can be read, and gone on with. */
static void check_logs(const char *folder)
{
    struct mf_error error;
    char *path = run_path(folder, "logs");
    unsigned before = read_logs(path, 0);
    struct log_writer *writer = log_writer_open(path, &error);
    if (writer == NULL)
        fail_msg("%s", error.text);
    must(log_writer_append(writer, 77777, 1, 1, LOG_STDERR, mf_bytes_text("new"), 0, &error),
         &error);
    must(log_writer_flush(writer, &error), &error);
    log_writer_close(writer);
    assert_int_equal(read_logs(path, 77777), 1);
    assert_int_equal(read_logs(path, 0), before + 1);
    mf_free(path);
}

static void check_cut(struct world *world, unsigned cut)
{
    const struct promised *promised = &world->cuts[cut];
    struct mf_error error;
    char base[320], folder[700];
    uint32_t epoch;
    cut_path(world, cut, base, sizeof base);
    if (promised->epoch == 0)
        return; /* nothing was promised: there may be no run yet */
    snprintf(folder, sizeof folder, "%s/mayfly/runs/%s", base, world->run_id);
    if (access(folder, F_OK) < 0)
        fail_msg("the run folder is not there: %s", folder);
    check_rows(folder, promised);
    check_plan(folder, promised->planned);
    check_logs(folder);
    struct recorder *recorder = open_recorder(world, folder, &epoch, &error);
    if (recorder == NULL)
        fail_msg("%s", error.text);
    assert_true(epoch > promised->epoch);
    must(record_close(recorder, &error), &error);
}

static void write_input(const struct world *world)
{
    char path[320];
    snprintf(path, sizeof path, "%s/input", world->base);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (unsigned i = 0; i < PIECES * 2; i++)
        fprintf(file, "line%04u\n", i);
    assert_int_equal(fclose(file), 0);
}

static unsigned number_of(const char *name, unsigned fallback)
{
    const char *text = getenv(name);
    return text == NULL ? fallback : (unsigned)strtoul(text, NULL, 10);
}

static void what_was_promised_is_there(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    unsigned first = number_of("MAYFLY_POWER_CUT_FIRST", 1), cuts = 0;
    unsigned last = first + number_of("MAYFLY_POWER_CUT_SEEDS", 2);
    for (unsigned seed = first; seed < last; seed++) {
        struct world *world = calloc(1, sizeof *world);
        world->random = seed * 0x9e3779b97f4a7c15u | 1;
        snprintf(world->base, sizeof world->base, "%s/mayfly-cut-XXXXXX", tmp ? tmp : "/tmp");
        assert_non_null(mkdtemp(world->base));
        snprintf(world->state, sizeof world->state, "%s/state", world->base);
        assert_int_equal(mkdir(world->state, 0700), 0);
        assert_int_equal(setenv("XDG_STATE_HOME", world->state, 1), 0);
        write_input(world);
        run_and_cut(world);
        print_message("seed %u: %u cuts\n", seed, world->cut_count);
        for (unsigned cut = 0; cut < world->cut_count; cut++)
            check_cut(world, cut);
        cuts += world->cut_count;
        mf_free(world->folder);
        tree_remove(world->base, NULL);
        free(world);
    }
    assert_true(cuts >= (last - first) * 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_promised_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
