/* SPDX-License-Identifier: Apache-2.0 */
/* What sbatch is asked, and what is made of its answers. */
#include "master/launch/slurm_sbatch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/spawn.h"

static void assert_arguments(const struct launch_slurm *options,
                             bool is_test,
                             uint32_t count,
                             const char *const *wanted)
{
    struct slurm_arguments arguments = {0};
    struct mf_error error;
    assert_int_equal(
        slurm_arguments_make(
            options, "/usr/bin/sbatch", "mayfly-RUN", is_test, count, &arguments, &error),
        0);
    size_t i = 0;
    for (; wanted[i] != NULL; i++) {
        assert_true(i < arguments.count);
        assert_string_equal(arguments.items[i], wanted[i]);
    }
    assert_int_equal(arguments.count, i);
    assert_null(arguments.items[i]);
    slurm_arguments_fini(&arguments);
}

static void test_arguments(void **state)
{
    static const char *const more[] = {"--constraint=avx2", "--qos=low"};
    const struct launch_slurm bare = {0}, full = {.partition = "batch",
                                                  .account = "physics",
                                                  .time_us = 60000001,
                                                  .memory = (1 << 20) + 1,
                                                  .cpus = 4,
                                                  .options = more,
                                                  .option_count = 2};
    (void)state;
    assert_arguments(&bare,
                     false,
                     1,
                     (const char *const[]){"/usr/bin/sbatch",
                                           "--parsable",
                                           "--no-requeue",
                                           "--export=NIL",
                                           "--output=/dev/null",
                                           "--chdir=/",
                                           "--nodes=1",
                                           "--ntasks=1",
                                           "--job-name=mayfly-RUN",
                                           "--array=0-0",
                                           "--cpus-per-task=1",
                                           NULL});
    assert_arguments(&full,
                     true,
                     16,
                     (const char *const[]){"/usr/bin/sbatch",
                                           "--test-only",
                                           "--no-requeue",
                                           "--export=NIL",
                                           "--output=/dev/null",
                                           "--chdir=/",
                                           "--nodes=1",
                                           "--ntasks=1",
                                           "--job-name=mayfly-RUN",
                                           "--array=0-15",
                                           "--cpus-per-task=4",
                                           "--partition=batch",
                                           "--account=physics",
                                           "--time=2", /* minutes and megabytes, rounded up */
                                           "--mem=2M",
                                           "--constraint=avx2",
                                           "--qos=low",
                                           NULL});
}

static void test_the_job_is_read(void **state)
{
    static const struct {
        const char *output;
        uint32_t job;
    } cases[] = {
        {"17\n", 17},
        {"17", 17},
        {"4294967295;cluster\n", UINT32_MAX},
        {"a site's wrapper greets\n3 rules to know\n17\n", 17},
        {"", 0},
        {"0\n", 0},
        {"4294967296\n", 0},
        {"-5\n", 0},
        {"17 jobs are too many\n", 0},
        {"Submitted batch job 17\n", 0}, /* it was asked for the number alone */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t job = 0;
        assert_int_equal(slurm_job_read(cases[i].output, &job), cases[i].job != 0);
        assert_int_equal(job, cases[i].job);
    }
}

static void test_refusals(void **state)
{
    static const struct {
        int code;
        const char *problem, *sentence;
        bool again;
    } cases[] = {
        {1,
         "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
         "slurm: sbatch refuses the workers (exit code 1): Batch job submission failed: Invalid "
         "partition name specified; look at workers.slurm",
         false},
        {1,
         "sbatch: error: Unable to contact slurm controller (connect failure)\n",
         "slurm: its controller cannot be reached (Unable to contact slurm controller (connect "
         "failure)): is slurmctld running, and is this machine a part of the cluster?",
         true},
        {1,
         "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
         "slurm: its controller cannot be reached (Batch job submission failed: Socket timed out "
         "on send/recv operation): is slurmctld running, and is this machine a part of the "
         "cluster?",
         true},
        {1,
         "sbatch: error: If munged is up, restart with --num-threads=10\n"
         "sbatch: error: Munge encode failed: Failed to access \"/run/munge/munge.socket.2\"\n"
         "sbatch: error: Batch job submission failed: Protocol authentication error\n",
         "slurm: its controller does not know who asks (Batch job submission failed: Protocol "
         "authentication error): is munged running here, with the cluster's key?",
         false},
        {0, "", "slurm: sbatch has taken the workers, but names no job: it said nothing", false},
        {137,
         "",
         "slurm: sbatch refuses the workers (exit code 137): it said nothing; look at "
         "workers.slurm",
         false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char reason[800];
        struct child_result result = {
            .code = cases[i].code, .output = "", .problem = cases[i].problem};
        assert_int_equal(slurm_refusal(&result, reason, sizeof reason), cases[i].again);
        assert_string_equal(reason, cases[i].sentence);
    }
}

static char folder[] = "/tmp/mayfly-sbatch-XXXXXX";

static void put(const char *name, const char *text, mode_t mode)
{
    char path[100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static void get(const char *name, char *text, size_t size)
{
    char path[100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

/* As slurmd does it: the script by its shell, with the task's number. Its exit code. */
static int run_script(const struct mf_buffer *script, const char *task)
{
    char path[100];
    struct mf_buffer text = {0};
    struct mf_error error;
    assert_true(mf_buffer_append(&text, script->data, script->length, &error) >= 0);
    put("script", mf_buffer_text(&text), 0700);
    mf_buffer_fini(&text);
    snprintf(path, sizeof path, "%s/script", folder);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("SLURM_ARRAY_TASK_ID", task, 1);
        setenv("SLURM_ARRAY_JOB_ID", "17", 1);
        setenv("SLURMD_NODENAME", "n7", 1);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 2);
        execl("/bin/sh", "sh", path, (char *)NULL);
        _exit(99);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The task with index I is worker I of the list; it takes its input, and sweeps in the end. */
static void test_the_script(void **state)
{
    const uint32_t workers[] = {7, 9, 12};
    struct mf_buffer script = {0};
    struct mf_error error;
    char text[1000], path[100], wanted[200];
    (void)state;
    assert_non_null(mkdtemp(folder));
    put("mayfly-worker",
        "#!/bin/sh\ncase $1 in start) echo started \"$@\"; cat; exit 5;; esac\n"
        "echo \"$@\" >\"$(dirname \"$0\")/swept\"\n",
        0700);
    put("input.9", "secret of 9\n", 0600);
    put("input.12", "secret of 12\n", 0600);
    assert_int_equal(slurm_script_make(folder, "RUN", workers, 3, &script, &error), 0);
    assert_int_equal(run_script(&script, "1"), 5);
    get("out.9", text, sizeof text);
    assert_non_null(strstr(text, "mayfly 1 job 17 1\n"));
    assert_non_null(strstr(text, "mayfly 1 node n7\n"));
    assert_non_null(strstr(text, "mayfly 1 address "));
    assert_non_null(strstr(text, "started start RUN --stay\nsecret of 9\n"));
    get("swept", text, sizeof text);
    snprintf(wanted, sizeof wanted, "sweep RUN --worker 9\n");
    assert_string_equal(text, wanted);
    snprintf(path, sizeof path, "%s/input.9", folder);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof path, "%s/input.12", folder);
    assert_int_equal(access(path, F_OK), 0);
    /* Its input is not there (any more): nothing is started, and nothing is left. */
    assert_int_not_equal(run_script(&script, "0"), 0);
    snprintf(path, sizeof path, "%s/out.7", folder);
    assert_int_equal(access(path, F_OK), -1);
    mf_buffer_fini(&script);
    static const char *const files[] = {"mayfly-worker", "input.12", "out.9", "swept", "script"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
}

static bool has_variable(char *const *environment, const char *variable)
{
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, variable, strlen(variable)) == 0)
            return true;
    return false;
}

/* What a user has set for squeue by hand must not hide jobs from us. */
static void test_the_environment(void **state)
{
    struct mf_error error;
    (void)state;
    setenv("SQUEUE_STATES", "RUNNING", 1);
    setenv("SCANCEL_STATE", "PENDING", 1);
    setenv("SBATCH_WAIT", "1", 1);
    setenv("SBATCH_PARTITION", "batch", 1);
    setenv("SLURM_CONF", "/etc/slurm.conf", 1);
    char **environment = slurm_environment(&error);
    assert_non_null(environment);
    assert_false(has_variable(environment, "SQUEUE_"));
    assert_false(has_variable(environment, "SCANCEL_"));
    assert_false(has_variable(environment, "SBATCH_WAIT"));
    assert_true(has_variable(environment, "SBATCH_PARTITION=batch"));
    assert_true(has_variable(environment, "SLURM_CONF=/etc/slurm.conf"));
    mf_free(environment);
}

static void test_programs_are_found(void **state)
{
    char path[100];
    (void)state;
    setenv("PATH", "/nowhere::/bin:/usr/bin", 1);
    assert_true(mf_program_find("sh", path, sizeof path));
    assert_string_equal(path, "/bin/sh");
    assert_false(mf_program_find("no-such-program", path, sizeof path));
    unsetenv("PATH");
    assert_false(mf_program_find("sh", path, sizeof path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_the_job_is_read),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_the_script),
        cmocka_unit_test(test_the_environment),
        cmocka_unit_test(test_programs_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
