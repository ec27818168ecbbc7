/* SPDX-License-Identifier: Apache-2.0 */
/* Gather sql: table results, types, the statement's limits, the CSV that comes out. */
#include "tests/unit/gather/gather_fixture.h"

#include <pthread.h>

#include "common/alloc.h"

static void use(struct gather_test *test, enum output_format format, const char *sql)
{
    test->job.output.format = format;
    test->job.gather_sql = (char *)(uintptr_t)sql;
}

/* Declares columns; the caller's array lives as long as the test. */
static void declare(struct gather_test *test, struct job_column *columns, size_t count)
{
    test->job.output.columns = columns;
    test->job.output.column_count = count;
}

static void csv_totals(void **state)
{
    struct gather_test *test = *state;
    struct job_column n = {(char *)(uintptr_t) "n", COLUMN_INTEGER};
    declare(test, &n, 1);
    use(test,
        OUTPUT_CSV,
        "select word, sum(n) as n, typeof(max(n)) as t, count(distinct subtask) as s"
        " from results group by word order by n desc, word;  -- the end\n");
    gather_results(
        test, TEXTS("word,n\nmay,1\nfly,2\n", "word,n\r\nmay,+10\r\n\"a, \"\"b\"\"\",3", "word,n"));
    expect_result(test,
                  GATHER_SQL,
                  "word,n,t,s\nmay,11,integer,2\n\"a, \"\"b\"\"\",3,integer,1\nfly,2,integer,1\n");
}

static void text_has_lines(void **state)
{
    struct gather_test *test = *state;
    use(test, OUTPUT_TEXT, "select subtask, line from results");
    gather_results(test, TEXTS("b b\nc", "", "a\n\nd\n"));
    expect_result(test, GATHER_SQL, "subtask,line\n1,\"b b\"\n1,c\n3,a\n3,\"\"\n3,d\n");
}

static void tsv_and_types(void **state)
{
    struct gather_test *test = *state;
    struct job_column columns[] = {{(char *)(uintptr_t) "i", COLUMN_INTEGER},
                                   {(char *)(uintptr_t) "r", COLUMN_REAL}};
    declare(test, columns, 2);
    use(test, OUTPUT_TSV, "select i, r, x, typeof(i), typeof(r), typeof(x) from results");
    gather_results(test, TEXTS("i\tr\tx\n-5\t1e3\t\"q\n\t\t\n9223372036854775807\t0.1\t7\n"));
    expect_result(test,
                  GATHER_SQL,
                  "i,r,x,typeof(i),typeof(r),typeof(x)\n"
                  "-5,1000.0,\"\"\"q\",integer,real,text\n"
                  ",,\"\",null,null,text\n"
                  "9223372036854775807,0.1,7,integer,real,text\n");
}

static void jsonl_columns_come_as_they_appear(void **state)
{
    struct gather_test *test = *state;
    struct job_column columns[] = {{(char *)(uintptr_t) "name", COLUMN_TEXT},
                                   {(char *)(uintptr_t) "n", COLUMN_INTEGER}};
    declare(test, columns, 2);
    use(test, OUTPUT_JSONL, "select * from results");
    gather_results(test,
                   TEXTS("{\"n\": 1, \"name\": \"x\"}\n{\"name\": 5, \"l\": [1, {\"a\": null}]}\n",
                         "{\"l\": true, \"r\": 0.5, \"n\": null}"));
    expect_result(test,
                  GATHER_SQL,
                  "subtask,name,n,l,r\n"
                  "1,x,1,,\n"
                  "1,5,,\"[1,{\"\"a\"\":null}]\",\n"
                  "2,,,1,0.5\n");
}

static void run_db_is_attached(void **state)
{
    struct gather_test *test = *state;
    use(test,
        OUTPUT_TEXT,
        "select a.subtask, a.exit_code, r.run_id, s.state from run.attempt a, run.run r,"
        " run.subtask s where s.subtask = a.subtask");
    gather_results(test, TEXTS("x\n"));
    expect_result(
        test, GATHER_SQL, "subtask,exit_code,run_id,state\n1,0,20261122-084512-test-7f3a,done\n");
}

static void no_results_still_answer(void **state)
{
    struct gather_test *test = *state;
    struct job_column n = {(char *)(uintptr_t) "n", COLUMN_INTEGER};
    declare(test, &n, 1);
    use(test, OUTPUT_CSV, "select count(*) as c, sum(n) as n from results");
    expect_result(test, GATHER_SQL, "c,n\n0,\n");
}

static void bytes_that_are_not_utf8_and_nul_stay(void **state)
{
    struct gather_test *test = *state;
    use(test, OUTPUT_TEXT, "select line from results");
    gather_file(test, 1, "a\0b\n\xff\n", 6);
    test->job.gather = GATHER_SQL;
    assert_int_equal(gather_run(&test->job, test->run.folder, &test->bytes, NULL, &test->error), 0);
    gather_read(test);
    assert_int_equal(test->bytes, 15);
    assert_memory_equal(test->text, "line\n\"a\0b\"\n\"\xff\"\n", 15);
}

static void a_value_of_the_wrong_type_is_named(void **state)
{
    struct gather_test *test = *state;
    struct job_column n = {(char *)(uintptr_t) "n", COLUMN_INTEGER};
    declare(test, &n, 1);
    use(test, OUTPUT_CSV, "select 1");
    gather_results(test, TEXTS("w,n\na,1\n", "w,n\n\"b\nb\",2\nc,3x\n"));
    expect_failure(test,
                   GATHER_SQL,
                   MF_EINPUT,
                   TEXTS("subtask 2", "line 4", "column n", "'3x'", "an integer"));
}

static void integers_have_64_bits(void **state)
{
    struct gather_test *test = *state;
    struct job_column n = {(char *)(uintptr_t) "n", COLUMN_INTEGER};
    declare(test, &n, 1);
    use(test, OUTPUT_CSV, "select 1");
    gather_results(test, TEXTS("n\n9223372036854775808\n"));
    expect_failure(test, GATHER_SQL, MF_EINPUT, TEXTS("line 2", "9223372036854775808"));
}

static void ragged_rows_are_named(void **state)
{
    struct gather_test *test = *state;
    use(test, OUTPUT_CSV, "select 1");
    gather_results(test, TEXTS("a,b\n1,2\n1,2,3\n"));
    expect_failure(
        test, GATHER_SQL, MF_EINPUT, TEXTS("subtask 1", "line 3", "3 values", "header has 2"));
}

static void headers_must_agree(void **state)
{
    struct gather_test *test = *state;
    use(test, OUTPUT_CSV, "select 1");
    gather_results(test, TEXTS("a,b\n", "b,a\n"));
    expect_failure(test, GATHER_SQL, MF_EINPUT, TEXTS("subtask 2", "header"));
}

static void declared_columns_must_be_there(void **state)
{
    struct gather_test *test = *state;
    struct job_column n = {(char *)(uintptr_t) "n", COLUMN_INTEGER};
    declare(test, &n, 1);
    use(test, OUTPUT_CSV, "select 1");
    gather_results(test, TEXTS("a,N\n"));
    expect_failure(test, GATHER_SQL, MF_EINPUT, TEXTS("subtask 1", "'n'"));
}

static void column_names_must_be_usable(void **state)
{
    struct gather_test *test = *state;
    use(test, OUTPUT_CSV, "select 1");
    gather_results(test, TEXTS("a,A\n"));
    expect_failure(test, GATHER_SQL, MF_EINPUT, TEXTS("two columns", "'A'"));
}

static void our_column_name_is_taken(void **state)
{
    struct gather_test *test = *state;
    use(test, OUTPUT_JSONL, "select 1");
    gather_results(test, TEXTS("{\"Subtask\": 1}\n"));
    expect_failure(test, GATHER_SQL, MF_EINPUT, TEXTS("subtask 1, line 1", "rename"));
}

static void malformed_csv_is_named(void **state)
{
    static const struct {
        const char *csv, *line, *what;
    } cases[] = {{"a\n\"x", "line 2", "ends within a quote"},
                 {"a\n\"x\"y\n", "line 2", "behind a closing quote"},
                 {"a\n\"x\"\ry\n", "line 2", "behind a closing quote"},
                 {"a\nb\nx\"y\n", "line 3", "inside an unquoted value"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *inner;
        gather_setup(&inner);
        use(inner, OUTPUT_CSV, "select 1");
        gather_results(inner, TEXTS(cases[i].csv));
        expect_failure(inner, GATHER_SQL, MF_EINPUT, TEXTS(cases[i].line, cases[i].what));
        gather_teardown(&inner);
    }
    (void)state;
}

static void wrong_sql_is_a_usage_error(void **state)
{
    struct gather_test *test = *state;
    gather_results(test, TEXTS("x\n"));
    static const struct {
        const char *sql, *what;
    } cases[] = {
        {"selec 1", "syntax error"},
        {"select nosuch from results", "no such column"},
        {"select 1; select 2", "exactly one"},
        {"", "exactly one"},
        {"delete from results", "not authorized"},
        {"drop table results", "not authorized"},
        {"attach '/tmp/x' as y", "not authorized"},
        {"pragma user_version", "not authorized"},
        {"update run.run set state = 'x' returning state", "not authorized"},
        {"select * from pragma_database_list", "not authorized"},
        {"select load_extension('x')", "not authorized"},
        {"insert into results values(1, 'x') returning subtask", "not authorized"},
        {"select abs(-9223372036854775807 - 1)", "integer overflow"},
        {"with recursive n(i) as (select 1 union all select i + 1 from n where i < 3)"
         " select i, json('{') from n",
         "malformed JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        use(test, OUTPUT_TEXT, cases[i].sql);
        expect_failure(test, GATHER_SQL, MF_EUSAGE, TEXTS("gather: sql: ", cases[i].what));
    }
}

struct stopper {
    const char *folder;
    volatile int stop;
};

/* Stops the gather once its database is there. */
static void *stop_later(void *arg)
{
    struct stopper *stopper = arg;
    char path[4096];
    snprintf(path, sizeof path, "%s/gather.db", stopper->folder);
    while (access(path, F_OK) < 0)
        usleep(1000);
    __atomic_store_n(&stopper->stop, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void a_query_can_be_stopped(void **state)
{
    struct gather_test *test = *state;
    struct stopper stopper = {.folder = test->run.folder};
    pthread_t thread;
    use(test,
        OUTPUT_TEXT,
        "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n");
    test->job.gather = GATHER_SQL;
    assert_int_equal(pthread_create(&thread, NULL, stop_later, &stopper), 0);
    int result =
        gather_run(&test->job, test->run.folder, &test->bytes, &stopper.stop, &test->error);
    pthread_join(thread, NULL);
    assert_int_equal(result, -1);
    assert_int_equal(test->error.code, MF_ESETUP);
    assert_non_null(strstr(test->error.text, "stopped"));
}

static void exhausted_memory_is_reported(void **state)
{
    struct gather_test *test = *state;
    static const struct {
        enum gather_kind kind;
        enum output_format format;
    } cases[] = {{GATHER_CONCAT, OUTPUT_TEXT},
                 {GATHER_CSV, OUTPUT_CSV},
                 {GATHER_JSONL, OUTPUT_JSONL},
                 {GATHER_SQL, OUTPUT_TEXT},
                 {GATHER_SQL, OUTPUT_TSV},
                 {GATHER_SQL, OUTPUT_CSV},
                 {GATHER_SQL, OUTPUT_JSONL}};
    struct job_column n = {(char *)(uintptr_t) "n", COLUMN_INTEGER};
    gather_results(test, TEXTS("{}\n{}"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int result = -1;
        use(test, cases[i].format, "select count(*) from results");
        declare(test, &n, cases[i].format == OUTPUT_JSONL);
        test->job.gather = cases[i].kind;
        for (unsigned long at = 1; result < 0; at++) {
            mf_alloc_fail_at(at);
            result = gather_run(&test->job, test->run.folder, &test->bytes, NULL, &test->error);
            mf_alloc_fail_at(0);
            assert_int_equal(gather_read(test) != NULL, result == 0);
            if (result < 0)
                assert_int_equal(test->error.code, MF_ENOMEM);
        }
    }
}

/* The same query and data through the sqlite3 shell, if it is there. */
static void output_is_that_of_the_sqlite3_shell(void **state)
{
    struct gather_test *test = *state;
    const char *sql = "select 1.0/3 as \"one third\", 1e300*1e10 as inf, -0.0 as z, 100.0 as h,"
                      " 123456789012345678 as i, 1e15 as e, 2.5e-7 as s, 'it''s' as q,"
                      " 'a;b|c' as p, null as n, '' as e2, x'616263' as b, 'x' as x";
    if (system("sqlite3 -version > /dev/null 2>&1") != 0)
        skip();
    char command[2048], expected[1024] = "";
    snprintf(command, sizeof command, "%s/query.sql", test->run.folder);
    FILE *script = fopen(command, "w");
    assert_non_null(script);
    fprintf(script, "%s;\n", sql);
    fclose(script);
    snprintf(command,
             sizeof command,
             "sqlite3 -csv -header :memory: < '%s/query.sql' | tr -d '\\r'",
             test->run.folder);
    FILE *shell = popen(command, "r");
    expected[fread(expected, 1, sizeof expected - 1, shell)] = '\0';
    assert_int_equal(pclose(shell), 0);
    use(test, OUTPUT_TEXT, sql);
    expect_result(test, GATHER_SQL, expected);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gather_setup, gather_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(csv_totals),
        TEST(text_has_lines),
        TEST(tsv_and_types),
        TEST(jsonl_columns_come_as_they_appear),
        TEST(run_db_is_attached),
        TEST(no_results_still_answer),
        TEST(bytes_that_are_not_utf8_and_nul_stay),
        TEST(a_value_of_the_wrong_type_is_named),
        TEST(integers_have_64_bits),
        TEST(ragged_rows_are_named),
        TEST(headers_must_agree),
        TEST(declared_columns_must_be_there),
        TEST(column_names_must_be_usable),
        TEST(our_column_name_is_taken),
        cmocka_unit_test(malformed_csv_is_named),
        TEST(wrong_sql_is_a_usage_error),
        TEST(a_query_can_be_stopped),
        TEST(exhausted_memory_is_reported),
        TEST(output_is_that_of_the_sqlite3_shell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
