/* SPDX-License-Identifier: Apache-2.0 */
/* Split `queue`: the messages of a run and no others, in their order, page by page; what a body is;
 * and that looking claims nothing. */
#include "tests/unit/split/split_fixture.h"

#include "common/alloc.h"
#include "common/placeholder.h"
#include "master/queue/queue.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, queue_setup, queue_teardown)
#define NOW 1700000000000000LL

static struct queues *queues;
static struct queue_info documents;

static int queue_setup(void **state)
{
    assert_int_equal(split_setup(state), 0);
    struct split_test *test = *state;
    assert_int_equal(setenv("XDG_STATE_HOME", test->folder, 1), 0);
    queues = NULL;
    return 0;
}

static int queue_teardown(void **state)
{
    queues_close(queues);
    return split_teardown(state);
}

static void ok(const struct split_test *test, int rc)
{
    if (rc < 0)
        fail_msg("%s", test->error.text);
}

static void make_queue(struct split_test *test)
{
    char *path = queues_path(&test->error);
    int64_t id;
    assert_non_null(path);
    ok(test, queues_open(path, true, &queues, &test->error));
    ok(test,
       queue_create(queues, "documents", &(struct queue_settings){0}, NOW, &id, &test->error));
    ok(test, queue_find(queues, "documents", &documents, &test->error));
    mf_free(path);
}

static void push(struct split_test *test, struct mf_bytes body)
{
    ok(test,
       queue_push(queues, &documents, &(struct queue_message){.body = body}, NOW, &test->error));
}

static void push_text(struct split_test *test, const char *text)
{
    push(test, mf_bytes_text(text));
}

static uint64_t claim(struct split_test *test, const char *run_id, uint64_t most)
{
    uint64_t count;
    ok(test, queues_begin(queues, &test->error));
    ok(test, queue_claim(queues, documents.id, run_id, most, &count, &test->error));
    ok(test, queues_commit(queues, &test->error));
    return count;
}

static struct job *job_of(struct split_test *test, const char *rest)
{
    char text[512];
    snprintf(text, sizeof text, "mayfly: 1\n%s", rest);
    struct job *job = job_parse("j.yaml", test->folder, mf_bytes_text(text), NULL, 0, &test->error);
    if (job == NULL)
        fail_msg("%s", test->error.text);
    return job;
}

/* "MESSAGE:ITEM " of all pieces, or the error's sentence. */
static const char *plan_for(struct split_test *test, const struct job *job, const char *run_id)
{
    static struct mf_buffer out;
    struct mf_subtask piece;
    uint64_t count = 0;
    int rc = -1;
    mf_buffer_clear(&out);
    struct split *split = split_create_for(job, NULL, run_id, &test->error);
    while (split != NULL && (rc = split_next(split, &piece, &test->error)) == 1) {
        assert_int_equal(piece.id, ++count);
        ok(test,
           mf_buffer_printf(&out,
                            NULL,
                            "%d:%.*s ",
                            (int)piece.message,
                            (int)piece.item.length,
                            (const char *)piece.item.data));
    }
    if (rc < 0)
        ok(test, mf_buffer_append_text(&out, test->error.text, NULL));
    split_destroy(split);
    return mf_buffer_text(&out);
}

#define PLAIN "split: {queue: documents}\ntask: {command: [echo, '{}']}\n"

static void a_run_has_its_own_messages_in_their_order(void **state)
{
    struct split_test *test = *state;
    make_queue(test);
    static const char *const bodies[] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < 5; i++)
        push_text(test, bodies[i]);
    assert_int_equal(claim(test, "run-1", 2), 2);
    assert_int_equal(claim(test, "run-2", 2), 2);
    struct job *job = job_of(test, PLAIN);
    assert_string_equal(plan_for(test, job, "run-1"), "1:a 2:b ");
    assert_string_equal(plan_for(test, job, "run-2"), "3:c 4:d ");
    assert_string_equal(plan_for(test, job, "run-1"), "1:a 2:b ");
    assert_non_null(strstr(plan_for(test, job, "run-3"), "no message that can be claimed"));
    job_destroy(job);
}

static void large_batches_are_read_page_by_page(void **state)
{
    enum { COUNT = 2500, SIZE = 2000 };
    struct split_test *test = *state;
    static char body[SIZE];
    make_queue(test);
    memset(body, 'x', sizeof body);
    ok(test, queues_begin(queues, &test->error));
    for (int i = 0; i < COUNT; i++)
        push(test, mf_bytes_of(body, i % 7 == 0 ? SIZE : 1));
    ok(test, queues_commit(queues, &test->error));
    assert_int_equal(claim(test, "run", 0), COUNT);
    struct job *job = job_of(test, PLAIN);
    struct split *split = split_create_for(job, NULL, "run", &test->error);
    struct mf_subtask piece;
    assert_non_null(split);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(split_next(split, &piece, &test->error), 1);
        assert_int_equal(piece.message, i + 1);
        assert_int_equal(piece.item.length, i % 7 == 0 ? SIZE : 1);
    }
    assert_int_equal(split_next(split, &piece, &test->error), 0);
    split_destroy(split);
    job_destroy(job);
}

static void looking_claims_nothing(void **state)
{
    struct split_test *test = *state;
    make_queue(test);
    for (int i = 0; i < 3; i++)
        push_text(test, "x");
    struct job *job =
        job_of(test, "split: {queue: documents, max_batch: 2}\ntask: {command: [echo, '{}']}\n");
    assert_string_equal(plan_for(test, job, NULL), "1:x 2:x ");
    assert_string_equal(plan_for(test, job, NULL), "1:x 2:x ");
    ok(test, queue_find(queues, "documents", &documents, &test->error));
    assert_int_equal(documents.ready, 3);
    assert_int_equal(documents.claimed, 0);
    job_destroy(job);
}

/* What a shell line makes of the first piece; the error's sentence when it can't. */
static const char *expand(struct split_test *test, const struct job *job)
{
    static struct mf_buffer out;
    struct mf_subtask piece;
    mf_buffer_clear(&out);
    struct split *split = split_create_for(job, NULL, NULL, &test->error);
    assert_non_null(split);
    assert_int_equal(split_next(split, &piece, &test->error), 1);
    if (mf_placeholder_expand(job->shell, &piece, MF_QUOTE_SHELL, &out, &test->error) < 0) {
        mf_buffer_clear(&out);
        ok(test, mf_buffer_append_text(&out, test->error.text, NULL));
    }
    split_destroy(split);
    return mf_buffer_text(&out);
}

static void objects_have_fields(void **state)
{
    struct split_test *test = *state;
    static const char body[] =
        " {\"name\": \"a b\", \"n\": 5, \"r\": 1.5, \"yes\": true, \"no\": null,"
        " \"list\": [1, \"x\"], \"message\": \"mine\"}";
    make_queue(test);
    push_text(test, body);
    struct job *job = job_of(test,
                             "split: {queue: documents}\n"
                             "task: {shell: 'e {name} {n} {r} {yes} {no} {list} {field:message} "
                             "{message} {other}'}\n");
    assert_string_equal(expand(test, job), "e 'a b' 5 1.5 true '' '[1,\"x\"]' mine 1 {other}");
    job_destroy(job);
    job = job_of(test, "split: {queue: documents}\ntask: {shell: 'e {field:other}'}\n");
    assert_string_equal(expand(test, job), "subtask 1 has no field 'other'");
    job_destroy(job);
}

static void what_is_no_object_has_none(void **state)
{
    struct split_test *test = *state;
    static const char *const bodies[] = {"{\"name\": ", "[1]", "", "{}", "{\"a\": 1} x"};
    make_queue(test);
    struct job *job =
        job_of(test, "split: {queue: documents}\ntask: {shell: 'e {name} {field:name}'}\n");
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        push_text(test, bodies[i]);
        assert_string_equal(expand(test, job), "subtask 1 has no field 'name'");
        assert_int_equal(claim(test, "run", 0), 1); /* out of the way */
    }
    job_destroy(job);
}

static void a_body_may_be_the_path_of_an_input(void **state)
{
    struct split_test *test = *state;
    struct mf_subtask piece;
    char absolute[128];
    make_queue(test);
    put(test, "in put.txt", "12345");
    snprintf(absolute, sizeof absolute, "%s/in put.txt", test->folder);
    push_text(test, "in put.txt");
    push_text(test, absolute);
    push_text(test, "../no such file");
    push(test, mf_bytes_of("in put.txt\0x", 12));
    push_text(test, "");
    struct job *job =
        job_of(test, "split: {queue: documents, items: files}\ntask: {command: [cat, '{path}']}\n");
    struct split *split = split_create_for(job, NULL, NULL, &test->error);
    assert_non_null(split);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(split_next(split, &piece, &test->error), 1);
        assert_true(mf_bytes_equal(piece.path, mf_bytes_text("in put.txt")));
        assert_true(mf_bytes_equal(piece.item, piece.path));
        assert_int_equal(piece.length, 5);
        assert_true(piece.input_size == 5 && piece.input_inode != 0);
    }
    for (int i = 0; i < 3; i++) { /* they fail by themselves, not the plan */
        assert_int_equal(split_next(split, &piece, &test->error), 1);
        assert_true(piece.path.length > 0 && piece.path.data[0] == '/');
        char path[256];
        snprintf(path, sizeof path, "%.*s", (int)piece.path.length, (const char *)piece.path.data);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(piece.input_inode, 0);
    }
    assert_int_equal(split_next(split, &piece, &test->error), 0);
    split_destroy(split);
    job_destroy(job);
}

static void the_bare_word_is_the_queue_of_the_trigger(void **state)
{
    struct split_test *test = *state;
    struct job *job = job_of(test,
                             "trigger: {queue: documents, when: 5, max_batch: 7}\nsplit: queue\n"
                             "task: {command: [echo, '{}']}\n");
    assert_string_equal(job->split.queue, "documents");
    assert_int_equal(job->split.batch_max, 7);
    job_destroy(job);
    job = job_of(test,
                 "trigger: {queue: documents, when: 5, max_batch: 7}\n"
                 "split: {queue: papers, allow_empty: true}\ntask: {command: [echo, '{}']}\n");
    assert_string_equal(job->split.queue, "papers");
    assert_int_equal(job->split.batch_max, 1000);
    job_destroy(job);
}

static void a_queue_that_is_not_there_is_named(void **state)
{
    struct split_test *test = *state;
    struct job *job = job_of(test, "split: {queue: papers}\ntask: {command: [echo, '{}']}\n");
    assert_string_equal(
        plan_for(test, job, NULL),
        "there is no queue 'papers', and none at all: mayfly queue create papers makes it");
    make_queue(test);
    assert_non_null(strstr(plan_for(test, job, NULL), "papers"));
    assert_non_null(strstr(test->error.text, "documents"));
    job_destroy(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_run_has_its_own_messages_in_their_order),
        CASE(large_batches_are_read_page_by_page),
        CASE(looking_claims_nothing),
        CASE(objects_have_fields),
        CASE(what_is_no_object_has_none),
        CASE(a_body_may_be_the_path_of_an_input),
        CASE(the_bare_word_is_the_queue_of_the_trigger),
        CASE(a_queue_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
