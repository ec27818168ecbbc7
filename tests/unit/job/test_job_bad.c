/* SPDX-License-Identifier: Apache-2.0 */
/* Bad job files: each gives one clear sentence with file, line, key and remedy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "master/job/job.h"

#define TASK "task: {command: [echo, \"{}\"]}\n"
#define HEAD "mayfly: 1\nsplit: {range: 1-3}\n"

static void expect_bytes(struct mf_bytes text, const char *sentence)
{
    struct mf_error error = {0};
    struct job *job = job_parse("j.yaml", "/jobs", text, NULL, 0, &error);
    if (job != NULL)
        fail_msg("taken, but expected: %s", sentence);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_string_equal(error.text, sentence);
}

static void expect(const char *text, const char *sentence)
{
    expect_bytes(mf_bytes_text(text), sentence);
}

static void expect_set(const char *set, const char *sentence)
{
    struct mf_error error = {0};
    struct job *job = job_parse("j.yaml", "/jobs", mf_bytes_text(HEAD TASK), &set, 1, &error);
    if (job != NULL)
        fail_msg("taken, but expected: %s", sentence);
    assert_int_equal(error.code, MF_EUSAGE);
    assert_string_equal(error.text, sentence);
}

static void what_is_no_yaml(void **state)
{
    (void)state;
    expect("", "j.yaml: the job file is empty; it starts with 'mayfly: 1'");
    expect("# nothing but words\n", "j.yaml: the job file is empty; it starts with 'mayfly: 1'");
    expect("- a\n- b\n",
           "j.yaml:1: a job file is a mapping of keys to values that starts with 'mayfly: 1'");
    expect_bytes(mf_bytes_of("\x7f"
                             "ELF\0\0",
                             6),
                 "j.yaml: not a YAML text: it holds a NUL byte at offset 4");
    expect("mayfly: 1\nname: \xff\xfe\n",
           "j.yaml: not a YAML text: invalid leading UTF-8 octet at byte 16");
    expect("mayfly: 1\n\tname: x\n",
           "j.yaml:2: not valid YAML: while scanning a plain scalar, found a tab character "
           "that violates indentation "
           "(column 1); indent with spaces, not tabs, and quote texts that start with a sign such "
           "as % or @");
    expect("mayfly: 1\nname: [a\n",
           "j.yaml:3: not valid YAML: while parsing a flow sequence, did not find expected ',' or "
           "']' (column 1); within [ ] "
           "and { }, quote texts that hold a bracket, brace, comma or colon");
    expect(HEAD TASK "---\nmayfly: 1\n",
           "j.yaml:5: a second YAML document starts here; one is expected");
    expect("mayfly: 1\nname: \"a\\0b\"\n", "j.yaml:2: a text holds a NUL character");
    expect("mayfly: 1\nname: !!binary aGFsbG8=\n",
           "j.yaml:2: YAML tags (!) are not supported; write the value without one");
    expect("mayfly: 1\n? [a]\n: b\n", "j.yaml:2: a key must be a word, not a list or mapping");
}

static void what_is_too_much(void **state)
{
    (void)state;
    size_t size = (1u << 20) + 1;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, '#', size);
    expect_bytes(mf_bytes_of(text, size),
                 "j.yaml: a job file of more than 1 MiB; is this the right file?");
    memset(text, '[', 400);
    memset(text + 400, ']', 400);
    text[800] = '\0';
    char *deep = mf_format("mayfly: 1\nname: %s\n", text);
    assert_non_null(deep);
    expect(deep, "j.yaml:2: nested too deeply, or aliases (*) that make the file too large");
    mf_free(deep);
    expect("mayfly: 1\nname: &a [*a]\n",
           "j.yaml:2: nested too deeply, or aliases (*) that make the file too large");
    free(text);
    expect("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
           "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
           "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
           "g: [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
           "j.yaml:1: nested too deeply, or aliases (*) that make the file too large");
}

#define START "start: [s, '{script}']"
#define LIST ", list: [l, '{run}']"
#define STOP ", stop: [t, '{id}']"
#define COMMAND(keys) HEAD TASK "workers:\n  launcher: command\n  command: {" keys "}\n"
static void launch_commands(void **state)
{
    (void)state;
    expect(HEAD TASK "workers: {launcher: command}\n",
           "j.yaml:4: workers.launcher: launcher command needs workers.command.start, and it is "
           "missing");
    expect(HEAD TASK "workers: {command: {timeout: 1s}}\n",
           "j.yaml:4: workers.command: it counts with launcher: command only");
    expect(COMMAND(START LIST),
           "j.yaml:6: workers.command: launcher command needs workers.command.stop, and it is "
           "missing");
    expect(COMMAND("start: []" LIST STOP),
           "j.yaml:6: workers.command.start: the list is empty; its first part is the program");
    expect(COMMAND("start: [s, '{nmae}']" LIST STOP),
           "j.yaml:6: workers.command.start: there is no placeholder {nmae} here, but {run} "
           "{worker} {name} {script} {folder}; for the text itself write {{nmae}}");
    expect(COMMAND("start: [s]" LIST STOP),
           "j.yaml:6: workers.command.start: it has to say {script} or {worker}: what it starts "
           "could not know which worker it is");
    expect(COMMAND(START ", list: [l]" STOP),
           "j.yaml:6: workers.command.list: it has to say {run}: it would name what does not "
           "belong to the run, and that would be stopped");
    expect(COMMAND(START LIST ", stop: [t, '{name}']"),
           "j.yaml:6: workers.command.stop: there is no placeholder {name} here, but {id} {run} "
           "{folder}; for the text itself write {{name}}");
    expect(COMMAND(START LIST ", stop: [t]"),
           "j.yaml:6: workers.command.stop: it has to say {id}: it could not know what to end");
    expect(COMMAND(START LIST STOP ", program: mayfly-worker"),
           "j.yaml:6: workers.command.program: expected an absolute path without quotes, got "
           "'mayfly-worker'");
    expect(HEAD TASK "workers:\n  launcher: command\n  hosts: [a]\n  command: {" START LIST STOP
                     "}\n",
           "j.yaml:5: workers.launcher: with command your commands choose the hosts: leave the "
           "list out, and say workers.count");
}

static void keys(void **state)
{
    (void)state;
    expect("split: {range: 1-3}\n" TASK,
           "j.yaml: the key 'mayfly' is missing; a job file starts with 'mayfly: 1'");
    expect("mayfly: 2\nsomething: new\n",
           "j.yaml:1: mayfly: expected version 1 of the job file's format, the only one that this "
           "program knows, got '2'");
    expect(HEAD TASK "gathr: csv\n",
           "j.yaml:4: the job file: unknown key 'gathr'; did you mean 'gather'?");
    expect(HEAD "task:\n  comand: [echo]\n",
           "j.yaml:4: task: unknown key 'comand'; did you mean 'command'?");
    expect(HEAD TASK "kill_after: 5s\n",
           "j.yaml:4: the job file: unknown key 'kill_after'; did you mean 'task.kill_after'?");
    expect(HEAD TASK "credentials: {zzzzzz: 1}\n",
           "j.yaml:4: credentials: unknown key 'zzzzzz'; known keys here are ttl");
    expect(HEAD TASK "\"a\\nb\\e\": 1\n",
           "j.yaml:4: the job file: unknown key 'a\\x0ab\\x1b'; known keys here are mayfly, name, "
           "folder, prepare, split, task, "
           "gather, workers, timeout, tolerate, on_failure, durability, lease, orphan_limit, "
           "disk_wait, "
           "credentials, secrets, trigger, notify");
    expect(HEAD TASK "name: a\nname: b\n", "j.yaml:5: duplicate key 'name', first given in line 4");
    expect(HEAD "x: &x {a: b}\ntask:\n  <<: *x\n",
           "j.yaml:5: merge keys (<<) are not supported; write the keys out");
    expect(HEAD TASK "secrets: {A: {url: B}}\n",
           "j.yaml:4: secrets.A: unknown key 'url'; known keys here are file, command, env");
    expect(HEAD TASK "secrets:\n  1A: {env: B}\n",
           "j.yaml:5: secrets.1A: expected a name of at most 64 letters, digits and _ that does "
           "not begin with a digit");
    expect(HEAD TASK "secrets:\n  ../A: {env: B}\n",
           "j.yaml:5: secrets.../A: expected a name of at most 64 letters, digits and _ that does "
           "not begin with a digit");
    expect(HEAD TASK "secrets:\n  A: {env: B, file: c}\n",
           "j.yaml:5: secrets.A: expected exactly one of file, command and env, got several");
    expect(HEAD TASK "secrets:\n  A: {}\n",
           "j.yaml:5: secrets.A: expected exactly one of file, command and env, got none");
    expect(HEAD TASK "secrets:\n  A: {env: ''}\n",
           "j.yaml:5: secrets.A.env: expected the name of a variable");
    expect(HEAD TASK "secrets:\n  A: {file: ''}\n",
           "j.yaml:5: secrets.A.file: expected a path, got an empty text");
    expect(HEAD TASK "workers: {slurm: {time: 1h}}\n",
           "j.yaml:4: workers.slurm: it counts with launcher: slurm only");
    expect(HEAD TASK "gather: fold\n", "j.yaml:4: gather: 'fold' is not available in this version");
    expect("mayfly: 1\nsplit: queue\n" TASK,
           "j.yaml:2: split: the bare word 'queue' means that of trigger.queue, which is not "
           "given; expected for example {queue: documents}");
    expect("mayfly: 1\nsplit: {matrix: {}}\n" TASK,
           "j.yaml:2: split.matrix: not available in this version");
    expect("mayfly: 1\nsplit: {range: 1-3, only: [2, 0]}\n" TASK,
           "j.yaml:2: split.only: expected numbers from 1 and ranges such as 5-9, got '0'");
    expect("mayfly: 1\nsplit: {range: 1-3, only: 3-2}\n" TASK,
           "j.yaml:2: split.only: expected numbers from 1 and ranges such as 5-9, got '3-2'");
    expect("mayfly: 1\nsplit: {range: 1-3, only: []}\n" TASK,
           "j.yaml:2: split.only: the list is empty; at least one number is expected");
    expect(HEAD TASK "folder: here\n", "j.yaml:4: folder: expected an absolute path, got 'here'");
    expect("mayfly: 1\nsplit: {bytes: 1MiB}\n" TASK,
           "j.yaml:2: split.bytes: split kind 'bytes' is not available in this version; as an "
           "option it goes with lines "
           "or records");
    expect("mayfly: 1\n" TASK,
           "j.yaml: split: this key is missing; for example 'split: {range: 1-10}'");
    expect(HEAD,
           "j.yaml: task: this key is missing; for example 'task: {command: [echo, \"{}\"]}'");
}

static void types(void **state)
{
    (void)state;
    expect(HEAD "task: {command: echo}\n",
           "j.yaml:3: task.command: expected a list of texts, got 'echo'");
    expect(HEAD "task:\n  command: [echo]\n  timeout: soon\n",
           "j.yaml:5: task.timeout: expected a duration such as 500ms, 15m or 1h, got 'soon'");
    expect(HEAD "task: {command: [echo], timeout: [1s]}\n",
           "j.yaml:3: task.timeout: expected a duration such as 500ms, 15m or 1h, got a list");
    expect(HEAD "task: {command: [echo], timeout: }\n",
           "j.yaml:3: task.timeout: expected a duration such as 500ms, 15m or 1h, got nothing");
    expect(HEAD "task: {command: [echo, [a]]}\n",
           "j.yaml:3: task.command: expected a text in this list, got a list");
    expect(HEAD "task: {command: [echo, {path}]}\n",
           "j.yaml:3: task.command: expected a text in this list, got a mapping; put placeholders "
           "in quotes: \"{}\"");
    expect(HEAD "task: {command: [echo, ~]}\n",
           "j.yaml:3: task.command: expected a text in this list, got nothing");
    expect(HEAD TASK "gather: cvs\n",
           "j.yaml:4: gather: expected none or concat or jsonl or csv, or a mapping, got 'cvs'; "
           "did you mean 'csv'?");
    expect(HEAD TASK "workers: {count: 0}\n",
           "j.yaml:4: workers.count: expected 1 to 10000, got '0'");
    expect(HEAD TASK "workers: {count: 99999999999999999999}\n",
           "j.yaml:4: workers.count: expected a whole number, got '99999999999999999999'");
    expect(HEAD TASK "lease: 1ms\n", "j.yaml:4: lease: expected 0.1 to 86400 s, got '1ms'");
    expect(HEAD TASK "tolerate: 200%\n",
           "j.yaml:4: tolerate: expected a whole number or a share such as 1%, got '200%'");
    expect(HEAD TASK "tolerate: -1\n",
           "j.yaml:4: tolerate: expected a whole number or a share such as 1%, got '-1'");
    expect("mayfly: 1\nsplit: {range: 1..3}\n" TASK,
           "j.yaml:2: split.range: expected a range such as 1-100 or \"0-10:2\" or a mapping, got "
           "'1..3'");
    expect("mayfly: 1\nsplit: {range: {from: 1}}\n" TASK,
           "j.yaml:2: split.range: both 'from' and 'to' are expected");
    expect("mayfly: 1\nsplit: {range: {from: 1, to: 2, step: 0}}\n" TASK,
           "j.yaml:2: split.range.step: expected a number that is not 0");
    expect(HEAD "task: {command: [a], retries: {final_codes: [1, 300]}}\n",
           "j.yaml:3: task.retries.final_codes: expected a list of exit codes from 1 to 255, at "
           "most 32, got '300'");
    expect(HEAD "task: {command: [a], stragglers: {factor: 0.5}}\n",
           "j.yaml:3: task.stragglers.factor: expected 0, or a number from 1: nothing is slow by "
           "taking less than the others");
    expect(HEAD "task: {command: [a], output: {format: csv, columns: {n: int}}}\n",
           "j.yaml:3: task.output.columns.n: expected text or integer or real, got 'int'");
    expect(HEAD TASK "name: a b\n",
           "j.yaml:4: name: expected at most 64 letters, digits, - and _ that start with a "
           "letter or digit, got 'a b'");
}

static void what_does_not_go_together(void **state)
{
    (void)state;
    expect("mayfly: 1\nsplit: {range: 1-3, list: [a]}\n" TASK,
           "j.yaml:2: split.list: split.range is given too; exactly one of files, lines, records, "
           "range, list and queue is expected");
    expect(
        "mayfly: 1\nsplit: {allow_empty: true}\n" TASK,
        "j.yaml:2: split: exactly one of files, lines, records, range, list and queue is expected");
    expect("mayfly: 1\nsplit: {records: x}\n" TASK,
           "j.yaml:2: split.records: split.format is missing; csv, tsv, jsonl or paragraphs is "
           "expected");
    expect("mayfly: 1\nsplit: {range: 1-2, group: 1k}\n" TASK,
           "j.yaml:2: split.group: this option is only for files");
    expect("mayfly: 1\nsplit: {lines: x, count: 1, bytes: 1k}\n" TASK,
           "j.yaml:2: split.bytes: split.count is given too; one of the two is expected");
    expect("mayfly: 1\nsplit: {files: []}\n" TASK,
           "j.yaml:2: split.files: the list is empty; at least one glob is expected");
    expect("mayfly: 1\nsplit: {files: $MAYFLY_PREPARED/x}\n" TASK,
           "j.yaml:2: split.files: '$MAYFLY_PREPARED/x' needs the key 'prepare' or "
           "'trigger.after', which make that folder");
    expect(HEAD "task: {command: [a], shell: b}\n",
           "j.yaml:3: task.shell: task.command is given too; exactly one of command and shell is "
           "expected");
    expect(HEAD "task: {}\n", "j.yaml:3: task: exactly one of command and shell is expected");
    expect(HEAD "task: {command: []}\n",
           "j.yaml:3: task.command: the list is empty; its first part is the program");
    expect(HEAD "task: {shell: ' '}\n", "j.yaml:3: task.shell: the shell line is empty");
#ifndef MAYFLY_BENCH
    expect(HEAD "task: {noop: true}\n",
           "j.yaml:3: task.noop: this executor is only in programs that were built for benchmarks "
           "(MAYFLY_BENCH)");
#endif
    expect(HEAD "task: {command: [a], stdin: piece}\n",
           "j.yaml:3: task.stdin: only the splits lines and records have pieces");
    expect(HEAD "task: {command: [a], files: [../x]}\n",
           "j.yaml:3: task.files: '../x' leaves the job's folder; expected a relative path without "
           "'..'");
    expect(HEAD "task: {command: [a], cwd: /tmp}\n",
           "j.yaml:3: task.cwd: '/tmp' leaves the attempt's folder; expected a relative path "
           "without '..'");
    expect(HEAD "task: {command: [a], env: {1A: x}}\n",
           "j.yaml:3: task.env: '1A=x' does not start with a variable's name of letters, digits "
           "and _");
    expect(HEAD "task: {command: [a], env: {MAYFLY_X: x}}\n",
           "j.yaml:3: task.env: names that start with MAYFLY_ are Mayfly's own: 'MAYFLY_X'");
    expect(HEAD "task: {command: [a], output: {columns: {n: integer}}}\n",
           "j.yaml:3: task.output.columns: columns need 'format: csv', tsv or jsonl; the format is "
           "text");
    expect(HEAD "task: {command: [a], output: jsonl}\ngather: csv\n",
           "j.yaml:4: gather: csv does not go with 'output: jsonl'; gather by jsonl or sql");
    expect(HEAD TASK "gather: {concat: {}, csv: {}}\n",
           "j.yaml:4: gather.csv: gather.concat is given too; exactly one of none, concat, jsonl, "
           "csv and sql is expected");
    expect(HEAD TASK "lease: 1h\n", "j.yaml:4: lease: orphan_limit must not be shorter than lease");
    expect(HEAD TASK "prepare: []\n", "j.yaml:4: prepare: the command is empty");
}

static void placeholders(void **state)
{
    (void)state;
    expect(HEAD "task:\n  shell: echo '{}'\n",
           "j.yaml:4: task.shell: column 7: {} stands inside single quotes, where its value could "
           "become code; put it "
           "bare into the line (Mayfly quotes the value itself) or set a variable to it first");
    expect(HEAD "task: {command: [cat, '{path}']}\n",
           "j.yaml:3: task.command: {path} is of no use here: this split has no input files; {} is "
           "the value");
    expect(HEAD "task: {command: [cat, '{field:x}']}\n",
           "j.yaml:3: task.command: {field:NAME} is of no use here: only messages of a queue that "
           "are JSON objects have fields");
    expect(
        HEAD "task: {command: [cat, '{message}']}\n",
        "j.yaml:3: task.command: {message} is of no use here: only the split queue has messages; "
        "{{message}} is the text itself");
    expect("mayfly: 1\nsplit: {queue: q, items: files}\ntask: {command: [cat, '{field:x}']}\n",
           "j.yaml:3: task.command: {field:NAME} is of no use here: only messages of a queue that "
           "are JSON objects have fields");
    expect("mayfly: 1\nsplit: {queue: q}\ntask: {command: [cat, '{path}']}\n",
           "j.yaml:3: task.command: {path} is of no use here: this split has no input files; {} is "
           "the value");
    expect("mayfly: 1\nsplit: {files: x, group: 1k}\ntask: {command: [cat, '{}']}\n",
           "j.yaml:3: task.command: {} is of no use here: with split.group, a subtask has several "
           "inputs; their paths "
           "come on standard input");
}

static void options_name_themselves(void **state)
{
    (void)state;
    expect_set("task.timeout=soon",
               "--set task.timeout=soon: task.timeout: expected a duration such as 500ms, 15m or "
               "1h, got 'soon'");
    expect_set("task.timout=1s",
               "--set task.timout=1s: task: unknown key 'timout'; did you mean 'timeout'?");
    expect_set("task.command.x=1",
               "--set task.command.x=1: command is a list in the job file, not a mapping");
    expect_set("novalue", "--set novalue: expected key=value, for example task.timeout=15m");
    expect_set("=1", "--set =1: expected key=value, for example task.timeout=15m");
    expect_set("\x83=1",
               "--set \x83=1: a key of --set is written in printable ASCII; give others as a "
               "mapping {KEY: VALUE}");
    expect_set("a..b=1", "--set a..b=1: a part of the key is empty");
    expect_set(
        "name=[a",
        "--set name=[a: its value:2: not valid YAML: while parsing a flow sequence, did not find "
        "expected ',' or ']' (column 1); within [ ] and { }, quote texts that hold a bracket, "
        "brace, comma or colon");
    expect_set("task={a: 1, a: 2}",
               "--set task={a: 1, a: 2}: duplicate key 'a', first given in line 1");
    expect_set("name=", "--set name=: name: expected text, got nothing");
}

static void files_that_cannot_be_read(void **state)
{
    (void)state;
    char folder[] = "/tmp/mayfly-job-XXXXXX", path[64], sentence[160];
    struct mf_error error = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/none.yaml", folder);
    assert_null(job_load(path, NULL, 0, &error));
    assert_int_equal(error.code, MF_EUSAGE);
    snprintf(sentence,
             sizeof sentence,
             "%s: the job file cannot be opened: No such file or directory",
             path);
    assert_string_equal(error.text, sentence);
    assert_null(job_load(folder, NULL, 0, &error));
    snprintf(sentence,
             sizeof sentence,
             "%s/job.yaml: the job file cannot be opened: No such file or directory",
             folder);
    assert_string_equal(error.text, sentence);
    if (geteuid() != 0) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fclose(file);
        assert_int_equal(chmod(path, 0), 0);
        assert_null(job_load(path, NULL, 0, &error));
        snprintf(sentence,
                 sizeof sentence,
                 "%s: the job file cannot be opened: Permission denied",
                 path);
        assert_string_equal(error.text, sentence);
        unlink(path);
    }
    assert_null(job_load("/dev/zero", NULL, 0, &error));
    assert_string_equal(error.text,
                        "/dev/zero: a job file of more than 1 MiB; is this the right file?");
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_yaml),
        cmocka_unit_test(what_is_too_much),
        cmocka_unit_test(keys),
        cmocka_unit_test(launch_commands),
        cmocka_unit_test(types),
        cmocka_unit_test(what_does_not_go_together),
        cmocka_unit_test(placeholders),
        cmocka_unit_test(options_name_themselves),
        cmocka_unit_test(files_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
