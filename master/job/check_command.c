/* SPDX-License-Identifier: Apache-2.0 */
/* Within the job module: whether the keys of `workers.command` go together. */
#include <string.h>

#include "common/placeholder.h"
#include "master/job/read.h"

#define PLACEHOLDERS_MAX 5

/* What each command may say, and what it must: a list that does not say whose it is would name
 * workers of others. */
static const struct {
    const char *path, *lack;
    const char *must[3];
    struct mf_named may[PLACEHOLDERS_MAX + 1];
} commands[] = {
    {"workers.command.start",
     "{script} or {worker}: what it starts could not know which worker it is",
     {"script", "worker", "name"},
     {{"run", NULL}, {"worker", NULL}, {"name", NULL}, {"script", NULL}, {"folder", NULL}}},
    {"workers.command.list",
     "{run}: it would name what does not belong to the run, and that would be stopped",
     {"run", "folder", NULL},
     {{"run", NULL}, {"folder", NULL}}},
    {"workers.command.stop",
     "{id}: it could not know what to end",
     {"id", NULL, NULL},
     {{"id", NULL}, {"run", NULL}, {"folder", NULL}}},
};

static const struct job_strings *words_of(const struct job *job, size_t i)
{
    const struct job_strings *all[] = {&job->launch.start, &job->launch.list, &job->launch.stop};
    return all[i];
}

static bool says(const struct job_strings *words, const char *const must[3])
{
    for (size_t i = 0; i < words->count; i++)
        for (size_t k = 0; k < 3 && must[k] != NULL; k++)
            if (mf_placeholder_names(words->items[i], must[k]))
                return true;
    return false;
}

static int check_one(const struct reader *reader, size_t i, struct mf_error *error)
{
    const char *path = commands[i].path;
    const struct job_strings *words = words_of(reader->job, i);
    struct mf_error inner;
    size_t count = 0;
    if (reader_seen(reader, path) == 0)
        return reader_raise(reader,
                            reader_seen(reader, "workers.command") > 0 ? "workers.command"
                                                                       : "workers.launcher",
                            error,
                            "launcher command needs workers.command.%s, and it is missing",
                            strrchr(path, '.') + 1);
    if (words->count == 0 || *words->items[0] == '\0')
        return reader_raise(
            reader, path, error, "the list is empty; its first part is the program");
    while (commands[i].may[count].name != NULL)
        count++;
    for (size_t k = 0; k < words->count; k++)
        if (mf_placeholder_fill(words->items[k], commands[i].may, count, NULL, &inner) < 0)
            return reader_raise(reader, path, error, "%s", inner.text);
    if (!says(words, commands[i].must))
        return reader_raise(reader, path, error, "it has to say %s", commands[i].lack);
    return 0;
}

int check_command(const struct reader *reader, struct mf_error *error)
{
    const struct job *job = reader->job;
    if (job->launcher != LAUNCHER_COMMAND)
        return reader_seen(reader, "workers.command") == 0
                   ? 0
                   : reader_raise(
                         reader, "workers.command", error, "it counts with launcher: command only");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (check_one(reader, i, error) < 0)
            return -1;
    const char *program = job->launch.program;
    if (program != NULL && (*program != '/' || strpbrk(program, "'\n") != NULL))
        return reader_raise(reader,
                            "workers.command.program",
                            error,
                            "expected an absolute path without quotes, got '%.200s'",
                            program);
    return 0;
}
