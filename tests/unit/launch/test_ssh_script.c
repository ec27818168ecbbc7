/* SPDX-License-Identifier: Apache-2.0 */
/* The shell lines for hosts, through the login shells that accounts have: sh, bash, fish, tcsh. */
#include "master/launch/ssh_script.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/buffer.h"
#include "common/checksum.h"
#include "master/launch/answer.h"

#define SHA "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define PROGRAM "#!/bin/sh\necho started \"$@\"; cat\n"

static const char *const shells[] = {"/bin/sh", "/bin/bash", "/usr/bin/fish", "/usr/bin/tcsh"};
static const struct script_part anew;
static char home[] = "/tmp/mayfly-script-XXXXXX";
static char machine[65];

struct answer {
    int code;
    char output[4096];
};

/* As sshd does it: SHELL -c COMMAND. Both streams come together. */
static struct answer run(const char *shell, const char *command, const char *input)
{
    struct answer answer = {0};
    char in_path[64];
    snprintf(in_path, sizeof in_path, "%s/in", home);
    FILE *in = fopen(in_path, "w");
    assert_non_null(in);
    fputs(input, in);
    fclose(in);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("HOME", home, 1);
        unsetenv("XDG_CACHE_HOME");
        if (freopen(in_path, "r", stdin) == NULL)
            _exit(99);
        dup2(fds[1], 1);
        dup2(fds[1], 2);
        close(fds[0]);
        close(fds[1]);
        execl(shell, shell, "-c", command, (char *)NULL);
        _exit(98);
    }
    close(fds[1]);
    size_t length = 0;
    ssize_t n;
    while ((n = read(fds[0], answer.output + length, sizeof answer.output - 1 - length)) > 0)
        length += (size_t)n;
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    answer.code = WEXITSTATUS(status);
    return answer;
}

static void assert_says(const struct answer *answer, const char *text)
{
    if (strstr(answer->output, text) == NULL)
        fail_msg("exit code %d, does not say \"%s\":\n%s", answer->code, text, answer->output);
}

static void shell_line(const char *line)
{
    char *command = mf_format("cd %s && %s", home, line);
    assert_int_equal(system(command), 0);
    mf_free(command);
}

static bool is_there(const char *shell)
{
    if (access(shell, X_OK) == 0)
        return true;
    print_message("SKIPPED: %s is not installed\n", shell);
    return false;
}

static void test_plain_words(void **state)
{
    (void)state;
    char *lines[] = {script_program(SHA, "x86_64", "start RUN"),
                     script_upload(SHA, 1000, &anew),
                     script_check(SHA, "x86_64", 1000)};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const char *first = strchr(lines[i], '\'');
        assert_non_null(first);
        const char *last = strchr(first + 1, '\'');
        assert_non_null(last);
        assert_null(strpbrk(last + 1, "'\"\\!$`\n"));
        for (const char *at = first + 1; at < last; at++)
            assert_null(strchr("\\!\n", *at)); /* strchr finds NUL, too: there is none inside */
        mf_free(lines[i]);
    }
}

static void test_copy_and_start(void **state)
{
    (void)state;
    char *program = script_program(SHA, machine, "start RUN");
    char *upload = script_upload(SHA, strlen(PROGRAM), &anew);
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (!is_there(shells[i]))
            continue;
        struct answer answer = run(shells[i], program, "");
        assert_int_equal(answer.code, SCRIPT_NO_PROGRAM);
        assert_says(&answer, "mayfly 1 system Linux ");
        answer = run(shells[i], upload, PROGRAM);
        if (answer.code != 0)
            fail_msg("%s: %d: %s", shells[i], answer.code, answer.output);
        answer = run(shells[i], program, "secret\n");
        assert_int_equal(answer.code, 0);
        assert_says(&answer, "started start RUN\nsecret\n");
        shell_line("[ $(stat -c %a .cache/mayfly) = 700 ] && [ -x .cache/mayfly/bin/" SHA
                   "/mayfly-worker ] && [ $(find .cache/mayfly -type f | wc -l) = 1 ]");
        shell_line("rm -rf .cache");
    }
    mf_free(program);
    mf_free(upload);
}

static void test_wrong_system(void **state)
{
    (void)state;
    shell_line(
        "mkdir -p bin && printf '#!/bin/sh\\necho $FAKE\\n' >bin/uname && chmod +x bin/uname");
    char *old_path = mf_strdup(getenv("PATH")), *path = mf_format("%s/bin:%s", home, old_path);
    setenv("PATH", path, 1);
    char *program = script_program(SHA, "x86_64", "start RUN");
    static const struct {
        const char *system;
        int code;
    } cases[] = {{"Linux 6.1.0-18-amd64 aarch64", SCRIPT_WRONG_SYSTEM},
                 {"FreeBSD 14.0 x86_64", SCRIPT_WRONG_SYSTEM},
                 {"Linux 3.10.0-1160.el7.x86_64 x86_64", SCRIPT_OLD_KERNEL},
                 {"Linux 4.3.0 x86_64", SCRIPT_OLD_KERNEL},
                 {"Linux 4.4.0 x86_64", SCRIPT_NO_PROGRAM},
                 {"Linux 5.10-rc1 x86_64", SCRIPT_NO_PROGRAM},
                 {"Linux 6.18.44-fc-v595 x86_64", SCRIPT_NO_PROGRAM}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("FAKE", cases[i].system, 1);
        struct answer answer = run("/bin/sh", program, "");
        assert_int_equal(answer.code, cases[i].code);
        assert_says(&answer, cases[i].system);
    }
    setenv("PATH", old_path, 1);
    mf_free(program);
    mf_free(path);
    mf_free(old_path);
}

/* What somebody else put where the program is looked for is never executed. */
static void test_foreign_place(void **state)
{
    (void)state;
    char *program = script_program(SHA, machine, "start RUN");
    shell_line("mkdir -p .cache/mayfly/bin/" SHA " && cd .cache/mayfly/bin/" SHA
               " && printf '#!/bin/sh\\necho foreign\\n' >mayfly-worker && chmod +x mayfly-worker");
    shell_line("chmod 777 .cache/mayfly");
    assert_int_equal(run("/bin/sh", program, "").code, SCRIPT_NO_PROGRAM);
    shell_line("chmod 700 .cache/mayfly");
    struct answer answer = run("/bin/sh", program, "");
    assert_says(&answer, "foreign");
    if (geteuid() == 0) {
        shell_line("chown 12345 .cache/mayfly");
        assert_int_equal(run("/bin/sh", program, "").code, SCRIPT_NO_PROGRAM);
    }
    shell_line("rm -rf .cache");
    mf_free(program);
}

static void test_cut_off(void **state)
{
    (void)state;
    char *upload = script_upload(SHA, strlen(PROGRAM) + 1, &anew);
    struct answer answer = run("/bin/sh", upload, PROGRAM);
    assert_int_equal(answer.code, SCRIPT_NO_COPY);
    shell_line("[ ! -e .cache/mayfly ]");
    mf_free(upload);
}

/* A program of 3000 bytes and its name; what is copied of it from `kib` on. */
struct long_program {
    char text[3001];
    char sha256[65];
};

static void make_long_program(struct long_program *program)
{
    unsigned char digest[MF_SHA256_SIZE];
    for (size_t i = 0; i < 3000; i++)
        program->text[i] = (char)('a' + i * 7 % 23);
    program->text[3000] = '\0';
    struct mf_sha256 sum;
    mf_sha256_init(&sum);
    mf_sha256_update(&sum, mf_bytes_of(program->text, 3000));
    mf_sha256_finish(&sum, digest);
    mf_sha256_text(digest, program->sha256);
}

static struct answer
copy(const struct long_program *program, const struct script_part *part, const char *input)
{
    char *upload = script_upload(program->sha256, 3000, part);
    struct answer answer = run("/bin/sh", upload, input);
    mf_free(upload);
    return answer;
}

/* What the look for the program tells of parts. */
static struct script_part find_part(const struct long_program *program)
{
    struct script_part part = {.kept_s = 30};
    char *start = script_program(program->sha256, machine, "start RUN");
    struct answer answer = run("/bin/sh", start, "");
    assert_int_equal(answer.code, SCRIPT_NO_PROGRAM);
    answer_part(answer.output, 3000 / 1024, &part);
    mf_free(start);
    return part;
}

static void assert_whole(const struct long_program *program)
{
    char *check =
        mf_format("cd .cache/mayfly/bin/%s && [ -x mayfly-worker ] && "
                  "[ \"$(sha256sum <mayfly-worker)\" = '%s  -' ] && [ $(ls -A | wc -l) = 1 ]",
                  program->sha256,
                  program->sha256);
    shell_line(check);
    shell_line("rm -rf .cache");
    mf_free(check);
}

static void cut_at(const struct long_program *program, size_t bytes)
{
    char beginning[3001];
    snprintf(beginning, sizeof beginning, "%.*s", (int)bytes, program->text);
    struct answer answer = copy(program, &(struct script_part){.kept_s = 30}, beginning);
    assert_int_equal(answer.code, SCRIPT_NO_COPY);
}

/* A copy that was cut goes on behind the last whole KiB, and may be cut again. */
static void test_goes_on(void **state)
{
    (void)state;
    struct long_program program;
    make_long_program(&program);
    cut_at(&program, 1500);
    struct script_part part = find_part(&program);
    assert_int_equal(part.kib, 1);
    assert_int_equal(strncmp(part.name, ".part-", 6), 0);
    char middle[1201];
    snprintf(middle, sizeof middle, "%.*s", 1200, program.text + 1024);
    assert_int_equal(copy(&program, &part, middle).code, SCRIPT_NO_COPY);
    part = find_part(&program);
    assert_int_equal(part.kib, 2);
    assert_int_equal(copy(&program, &part, program.text + 2048).code, 0);
    assert_whole(&program);
}

/* One that hangs still holds what it has got: that is copied. It itself, should it go on, ends
 * well. */
static void test_goes_on_beside_one_that_hangs(void **state)
{
    (void)state;
    struct long_program program;
    make_long_program(&program);
    cut_at(&program, 1500);
    char *line = mf_format("mv .cache/mayfly/bin/%s/.part-* .cache/mayfly/bin/%s/.new-other-1",
                           program.sha256,
                           program.sha256);
    shell_line(line);
    mf_free(line);
    struct script_part part = find_part(&program);
    assert_string_equal(part.name, ".new-other-1");
    assert_int_equal(copy(&program, &part, program.text + 1024).code, 0);
    assert_whole(&program);
}

/* It was taken away between the look whether it is there and that at its size. */
static void test_a_part_that_goes_meanwhile(void **state)
{
    (void)state;
    struct long_program program;
    make_long_program(&program);
    cut_at(&program, 1500);
    shell_line("mkdir -p bin && printf '#!/bin/sh\\nexit 1\\n' >bin/wc && chmod +x bin/wc");
    char *old_path = mf_strdup(getenv("PATH")), *path = mf_format("%s/bin:%s", home, old_path);
    setenv("PATH", path, 1);
    struct script_part part = find_part(&program);
    setenv("PATH", old_path, 1);
    assert_string_equal(part.name, "");
    shell_line("rm -rf .cache bin/wc");
    mf_free(path);
    mf_free(old_path);
}

/* Of two masters that go on with the same part one gets it; the other one begins anew. */
static void test_two_want_the_same_part(void **state)
{
    (void)state;
    struct long_program program;
    make_long_program(&program);
    cut_at(&program, 1500);
    struct script_part part = find_part(&program);
    char middle[501];
    snprintf(middle, sizeof middle, "%.*s", 500, program.text + 1024);
    assert_int_equal(copy(&program, &part, middle).code,
                     SCRIPT_NO_COPY); /* cut again: another name */
    assert_int_equal(copy(&program, &part, program.text + 1024).code, SCRIPT_NO_PART);
    assert_int_equal(copy(&program, &anew, program.text).code, 0);
    assert_whole(&program); /* no part is left behind */
}

/* What is no beginning of the program shows in the checksum, and does not stay. */
static void test_a_wrong_part(void **state)
{
    (void)state;
    struct long_program program, other;
    make_long_program(&program);
    other = program;
    other.text[700] = '!';
    cut_at(&other, 1500);
    struct script_part part = find_part(&program);
    assert_int_equal(part.kib, 1);
    assert_int_equal(copy(&program, &part, program.text + 1024).code, SCRIPT_NO_PART);
    shell_line("[ ! -e .cache ]");
    cut_at(&program, 1500); /* what belongs to another version is not seen at all */
    memset(other.sha256, 'a', 64);
    assert_string_equal(find_part(&other).name, "");
    shell_line("rm -rf .cache");
}

/* Where the rest has no room the part goes, too: the next copy begins anew. */
static void test_no_room_for_the_rest(void **state)
{
    (void)state;
    struct long_program program;
    make_long_program(&program);
    cut_at(&program, 1500);
    struct script_part part = find_part(&program);
    char *upload = script_upload(program.sha256, 3000, &part);
    char *limited = mf_format("trap : XFSZ; ulimit -f 8; %s", upload);
    assert_int_equal(run("/bin/sh", limited, program.text + 1024).code, SCRIPT_NO_PART);
    shell_line("[ ! -e .cache ]");
    mf_free(limited);
    mf_free(upload);
}

/* A part that nobody takes goes by itself. */
static void test_a_part_is_not_kept_for_ever(void **state)
{
    (void)state;
    struct long_program program;
    make_long_program(&program);
    char *upload = script_upload(program.sha256, 3000, &(struct script_part){.kept_s = 0});
    assert_int_equal(run("/bin/sh", upload, program.text + 1000).code, SCRIPT_NO_COPY);
    shell_line("until [ ! -e .cache ]; do sleep 0.01; done");
    mf_free(upload);
}

/* Of what a host says, only what may stand in a shell line is taken. */
static void test_names_of_parts(void **state)
{
    (void)state;
    struct script_part part;
    answer_part(
        "mayfly 1 part 3 .part-a$(id)\nmayfly 1 part 4 ../x\nmayfly 1 part 5 .new-a b\n"
        "mayfly 1 part 2 .part-h1-7\nmayfly 1 part 1 .new-h1-8\nmayfly 1 part 9 .new-h1-9\n",
        8,
        &part);
    assert_string_equal(part.name, ".part-h1-7");
    assert_int_equal(part.kib, 2);
    answer_part("mayfly 1 part 0 .part-h1-7\nmayfly 1 part 1\n", 8, &part);
    assert_string_equal(part.name, "");
}

static void test_check(void **state)
{
    (void)state;
    char *check = script_check(SHA, machine, 1000);
    shell_line("rm -rf .cache");
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (!is_there(shells[i]))
            continue;
        struct answer answer = run(shells[i], check, "");
        assert_int_equal(answer.code, 0);
        assert_says(&answer, "mayfly 1 system Linux ");
        assert_says(&answer, "mayfly 1 facts ");
        assert_says(&answer, "mayfly 1 program no\n");
        assert_says(&answer, "mayfly 1 user ");
        assert_says(&answer, "/.cache/mayfly\n");
        shell_line("[ ! -e .cache ]"); /* it changes nothing */
    }
    mf_free(check);
}

/* What df cannot know: no file may be as large as the program. Each place is named, before anything
 * is taken from standard input; nothing stays. */
static void test_no_large_file(void **state)
{
    (void)state;
    char *lines[] = {script_check(SHA, machine, 1000), script_upload(SHA, strlen(PROGRAM), &anew)};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char *limited = mf_format("trap : XFSZ; ulimit -f 8; %s", lines[i]);
        struct answer answer = run("/bin/sh", limited, PROGRAM);
        assert_int_equal(answer.code, SCRIPT_NO_PLACE);
        assert_says(&answer, "/.cache/mayfly takes no file of 1024 KiB (is there a quota");
        assert_says(&answer, "; /tmp/mayfly-");
        shell_line("[ ! -e .cache ]");
        mf_free(limited);
        mf_free(lines[i]);
    }
}

static int set_up(void **state)
{
    (void)state;
    struct utsname name;
    uname(&name);
    snprintf(machine, sizeof machine, "%s", name.machine);
    return mkdtemp(home) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    char *command = mf_format("rm -rf %s", home);
    int rc = system(command);
    mf_free(command);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain_words),
                                       cmocka_unit_test(test_copy_and_start),
                                       cmocka_unit_test(test_wrong_system),
                                       cmocka_unit_test(test_foreign_place),
                                       cmocka_unit_test(test_cut_off),
                                       cmocka_unit_test(test_goes_on),
                                       cmocka_unit_test(test_goes_on_beside_one_that_hangs),
                                       cmocka_unit_test(test_a_part_that_goes_meanwhile),
                                       cmocka_unit_test(test_two_want_the_same_part),
                                       cmocka_unit_test(test_a_wrong_part),
                                       cmocka_unit_test(test_no_room_for_the_rest),
                                       cmocka_unit_test(test_a_part_is_not_kept_for_ever),
                                       cmocka_unit_test(test_names_of_parts),
                                       cmocka_unit_test(test_check),
                                       cmocka_unit_test(test_no_large_file)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
