/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets on a host: where they are put, how they change, and that they go. */
#include "worker/secrets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/magic.h>

#include "common/alloc.h"
#include "worker/place.h"

#define RUN "20260101-000000-test-0000"

struct state {
    char folder[64], memory[96];
    struct secrets *secrets;
    struct mf_error error;
};

/* /dev/shm is in memory wherever tests run; without it there is nothing to see there. */
static bool has_memory(void)
{
    struct statfs fs;
    return statfs("/dev/shm", &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

static int set_up(void **place)
{
    struct state *state = mf_calloc(1, sizeof *state);
    const char *base = getenv("TMPDIR");
    snprintf(state->folder,
             sizeof state->folder,
             "%.30s/mayfly-secrets-XXXXXX",
             base == NULL ? "/tmp" : base);
    *place = state;
    if (mkdtemp(state->folder) == NULL)
        return -1;
    snprintf(state->memory, sizeof state->memory, "/dev/shm/%s", strrchr(state->folder, '/') + 1);
    return 0;
}

static int tear_down(void **place)
{
    struct state *state = *place;
    secrets_destroy(state->secrets);
    int rc = place_remove(state->folder, NULL, &state->error);
    if (access(state->memory, F_OK) == 0)
        rc = -1; /* nothing may be left there */
    mf_free(state);
    return rc;
}

static struct mf_secret secret(const char *name, uint32_t version, const char *value)
{
    return (struct mf_secret){.name = name, .version = version, .data = mf_bytes_text(value)};
}

static void create(struct state *state, char *memory, const struct mf_secret *list, uint32_t count)
{
    state->secrets = secrets_create(memory, RUN, 3, state->folder, list, count, &state->error);
    if (state->secrets == NULL)
        fail_msg("%s", state->error.text);
}

static const char *path_of(const struct state *state, const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/" SECRETS_NAME "/%s", state->folder, name);
    return path;
}

static void assert_value(const struct state *state, const char *name, const char *value)
{
    char text[64] = "";
    struct stat status;
    const char *path = path_of(state, name);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode, S_IFREG | 0600);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(text, value);
}

static void assert_folder(const struct state *state, bool in_memory)
{
    struct stat status;
    const char *link = path_of(state, "");
    assert_int_equal(stat(link, &status), 0);
    assert_int_equal(status.st_mode, S_IFDIR | 0700);
    char *folder = realpath(link, NULL);
    assert_non_null(folder);
    assert_int_equal(strncmp(folder, "/dev/shm/", 9) == 0, in_memory);
    free(folder);
}

static void secrets_are_in_memory_and_leave_nothing(void **place)
{
    struct state *state = *place;
    const struct mf_secret list[] = {secret("ONE", 1, "first"), secret("TWO", 1, "\n")};
    if (!has_memory())
        skip();
    create(state, state->memory, list, 2);
    assert_folder(state, true);
    assert_value(state, "ONE", "first");
    assert_value(state, "TWO", "\n");
    secrets_destroy(state->secrets);
    state->secrets = NULL;
    assert_int_equal(access(state->memory, F_OK), -1);
    assert_int_equal(access(path_of(state, ""), F_OK), -1);
}

static void without_memory_they_are_in_the_workers_folder(void **place)
{
    struct state *state = *place;
    const struct mf_secret list[] = {secret("ONE", 1, "first")};
    char nowhere[] = "/nonexistent/place";
    create(state, nowhere, list, 1);
    assert_folder(state, false);
    assert_value(state, "ONE", "first");
}

/* Somebody else may have made our folder in a place that belongs to all. */
static void a_folder_that_others_can_write_to_is_not_used(void **place)
{
    struct state *state = *place;
    const struct mf_secret list[] = {secret("ONE", 1, "first")};
    if (!has_memory())
        skip();
    assert_int_equal(mkdir(state->memory, 0700), 0);
    assert_int_equal(chmod(state->memory, 0777), 0);
    create(state, state->memory, list, 1);
    assert_folder(state, false);
    assert_value(state, "ONE", "first");
    rmdir(state->memory);
}

static void a_value_changes_in_place(void **place)
{
    struct state *state = *place;
    const struct mf_secret list[] = {secret("ONE", 2, "first"), secret("TWO", 1, "other")};
    const struct mf_secret changed = secret("ONE", 3, "second"), old = secret("ONE", 2, "late");
    struct stat before, after;
    create(state, has_memory() ? state->memory : NULL, list, 2);
    FILE *reader = fopen(path_of(state, "ONE"), "r");
    assert_non_null(reader);
    assert_int_equal(stat(path_of(state, "TWO"), &before), 0);
    secrets_take(state->secrets, &changed, 1);
    secrets_take(state->secrets, &old, 1); /* overtaken on its way */
    assert_value(state, "ONE", "second");
    assert_int_equal(stat(path_of(state, "TWO"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    char text[16] = "";
    assert_int_equal(fread(text, 1, sizeof text - 1, reader), 5); /* who has it open keeps it */
    assert_string_equal(text, "first");
    fclose(reader);
}

static void another_epoch_counts_whatever_its_versions(void **place)
{
    struct state *state = *place;
    char run[] = RUN;
    const struct launch_input input = {.run_id = run, .worker = 3};
    struct mf_secret list[] = {secret("ONE", 7, "first")};
    const struct mf_welcome welcome = {.secret_count = 1, .secrets = list};
    create(state, has_memory() ? state->memory : NULL, list, 1);
    list[0] = secret("ONE", 1, "second");
    assert_int_equal(
        secrets_welcome(&state->secrets, &input, state->folder, &welcome, &state->error), 0);
    assert_value(state, "ONE", "second");
}

static void names_stay_in_the_folder(void **place)
{
    static const char *const names[] = {"../x", "a/b", "", ".x", "..", "."};
    struct state *state = *place;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct mf_secret list[] = {secret(names[i], 1, "value")};
        assert_null(secrets_create(NULL, RUN, 3, state->folder, list, 1, &state->error));
        assert_int_equal(state->error.code, MF_EPROTOCOL);
        assert_int_equal(access(path_of(state, ""), F_OK), -1);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(secrets_are_in_memory_and_leave_nothing),
        CASE(without_memory_they_are_in_the_workers_folder),
        CASE(a_folder_that_others_can_write_to_is_not_used),
        CASE(a_value_changes_in_place),
        CASE(another_epoch_counts_whatever_its_versions),
        CASE(names_stay_in_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
