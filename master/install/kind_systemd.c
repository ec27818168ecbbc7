/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers of the user's systemd: two files in its folder of units, and the link that enables the
 * timer. The files and the link are made here, whether systemd can be reached or not; then it is
 * told, or people are told how to tell it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/write.h"
#include "master/install/kinds.h"
#include "master/install/program.h"
#include "master/install/unit.h"

#define WANTS "timers.target.wants"
#define UNIT_MAX (64u * 1024)

/* Paths of one timer; heap. */
struct paths {
    char name[UNIT_NAME_SIZE];
    char *folder; /* of units */
    char *file[UNIT_COUNT];
    char *link;
};

static void paths_fini(struct paths *paths)
{
    mf_free(paths->folder);
    mf_free(paths->file[UNIT_SERVICE]);
    mf_free(paths->file[UNIT_TIMER]);
    mf_free(paths->link);
}

static int paths_init(struct paths *paths, const struct install *install, struct mf_error *error)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    *paths = (struct paths){0};
    unit_name(install, paths->name);
    if (config != NULL && config[0] == '/')
        paths->folder = mf_format("%s/systemd/user", config);
    else if (home != NULL && home[0] == '/')
        paths->folder = mf_format("%s/.config/systemd/user", home);
    else
        return mf_raise(error,
                        MF_ESETUP,
                        "there is no place for units of systemd: neither XDG_CONFIG_HOME nor HOME "
                        "is an absolute path; set one of them");
    bool is_short = paths->folder == NULL;
    for (int i = 0; i < UNIT_COUNT && !is_short; i++) {
        paths->file[i] = mf_format("%s/%s.%s", paths->folder, paths->name, unit_suffix(i));
        is_short = paths->file[i] == NULL;
    }
    if (!is_short)
        paths->link = mf_format("%s/" WANTS "/%s.timer", paths->folder, paths->name);
    if (!is_short && paths->link != NULL)
        return 0;
    paths_fini(paths);
    return mf_raise(error, MF_ENOMEM, "out of memory: a path");
}

/* Makes the folders of a path, up to its last slash. */
static int make_folders(const char *path, struct mf_error *error)
{
    char *copy = mf_strdup(path);
    int rc = copy == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path") : 0;
    for (char *slash = copy; rc == 0 && (slash = strchr(slash + 1, '/')) != NULL; *slash = '/') {
        *slash = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            rc = mf_raise_write(error, "cannot make the folder %s", copy);
    }
    mf_free(copy);
    return rc;
}

/* 1 with its text, 0 when there is no such file. */
static int read_file(const char *path, struct mf_buffer *text, struct mf_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return mf_raise_errno(error, "cannot open %s", path);
    int rc = mf_buffer_reserve(text, UNIT_MAX, error);
    ssize_t got = rc < 0 ? 0 : read(fd, text->data, UNIT_MAX);
    if (rc == 0 && (got < 0 || got == UNIT_MAX))
        rc = mf_raise(error, MF_ESYSTEM, "cannot read %s as a unit", path);
    close(fd);
    if (rc < 0)
        return -1;
    text->length = (size_t)got;
    return 1;
}

/* Whole or not at all. */
static int write_whole(const char *path, struct mf_bytes text, struct mf_error *error)
{
    char *temporary = mf_format("%s.new", path);
    if (temporary == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int rc = 0;
    if (fd < 0 || mf_write_all(fd, text) < 0 || fsync(fd) < 0)
        rc = mf_raise_write(error, "cannot write %s", temporary);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && rename(temporary, path) < 0)
        rc = mf_raise_write(error, "cannot rename %s to %s", temporary, path);
    if (rc < 0)
        unlink(temporary);
    mf_free(temporary);
    return rc;
}

/* Runs systemctl --user with these; 0 when it did it, 1 when not (said), -1. */
static int
tell(const char *verb, const char *option, const char *unit, char *said, struct mf_error *error)
{
    const char *argv[7] = {"systemctl", "--user", verb};
    struct program_end end = {0};
    size_t n = 3;
    if (option != NULL)
        argv[n++] = option;
    if (unit != NULL)
        argv[n++] = unit;
    int rc = program_run(argv, mf_bytes_of(NULL, 0), &end, error);
    if (rc == 1)
        snprintf(said, PROGRAM_SAID_SIZE, "there is no program systemctl");
    else if (rc == 0 && end.code != 0) {
        program_said(&end, said);
        rc = 1;
    }
    program_end_fini(&end);
    return rc;
}

int systemd_is_usable(char why[WHY_SIZE], struct mf_error *error)
{
    int rc = tell("show-environment", NULL, NULL, why, error);
    return rc < 0 ? -1 : rc == 0;
}

int systemd_find(const struct install *install, struct mf_error *error)
{
    struct paths paths;
    if (paths_init(&paths, install, error) < 0)
        return -1;
    int rc = access(paths.file[UNIT_TIMER], F_OK) == 0 ? 1 : 0;
    paths_fini(&paths);
    return rc;
}

/* Writes one unit unless it is as it should be, or somebody has edited it. */
static int put_unit(const struct install *install,
                    enum unit unit,
                    const char *path,
                    struct install_report *report,
                    struct mf_error *error)
{
    struct mf_buffer now = {0}, wanted = {0};
    int rc = read_file(path, &now, error);
    bool is_there = rc == 1;
    enum mark_state state = is_there ? unit_look(install, mf_buffer_view(&now)) : MARK_INTACT;
    rc = rc < 0 ? -1 : unit_text(install, unit, &wanted, error);
    if (rc == 0 && state == MARK_NONE)
        rc = mf_raise(error,
                      MF_ESETUP,
                      "%s is there already and is not Mayfly's: give it another name",
                      path);
    else if (rc == 0 && state == MARK_EDITED)
        rc = install_say(report,
                         error,
                         "%s was edited by hand and is left as it is (to have it anew: mayfly "
                         "trigger remove, then install)",
                         path);
    else if (rc == 0 && !mf_bytes_equal(mf_buffer_view(&now), mf_buffer_view(&wanted))) {
        rc = write_whole(path, mf_buffer_view(&wanted), error);
        report->has_changed = true;
    }
    mf_buffer_fini(&now);
    mf_buffer_fini(&wanted);
    return rc;
}

static int
put_link(const struct paths *paths, struct install_report *report, struct mf_error *error)
{
    char target[UNIT_NAME_SIZE + 16];
    snprintf(target, sizeof target, "../%s.timer", paths->name);
    if (access(paths->link, F_OK) == 0)
        return 0;
    unlink(paths->link); /* one that leads nowhere */
    if (symlink(target, paths->link) < 0)
        return mf_raise_write(error, "cannot make the link %s", paths->link);
    report->has_changed = true;
    return 0;
}

/* Where systemd does not look after this user without a login. */
static int say_linger(struct install_report *report, struct mf_error *error)
{
    char path[256];
    const char *user = getenv("USER");
    if (user == NULL || strchr(user, '/') != NULL)
        return 0;
    snprintf(path, sizeof path, "/var/lib/systemd/linger/%.200s", user);
    if (access(path, F_OK) == 0 || errno != ENOENT)
        return 0;
    return install_say(
        report,
        error,
        "your systemd runs while you are logged in only, and ends what runs when you "
        "log out: loginctl enable-linger keeps it");
}

static int
start_timer(const struct paths *paths, struct install_report *report, struct mf_error *error)
{
    char said[PROGRAM_SAID_SIZE], timer[UNIT_NAME_SIZE + 8];
    snprintf(timer, sizeof timer, "%s.timer", paths->name);
    int rc = tell("daemon-reload", NULL, NULL, said, error);
    if (rc == 0)
        rc = tell("enable", "--now", timer, said, error);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return say_linger(report, error);
    return install_say(
        report,
        error,
        "your systemd cannot be told now (%s): the timer starts when it does next, or "
        "by systemctl --user daemon-reload and systemctl --user start %s in a session "
        "of yours",
        said,
        timer);
}

static int put_all(const struct install *install,
                   const struct paths *paths,
                   struct install_report *report,
                   struct mf_error *error)
{
    char *log = mf_format("%s/tick.log", install->state_folder);
    int rc = log == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path")
                         : make_folders(log, error);
    mf_free(log);
    if (rc < 0 || make_folders(paths->link, error) < 0)
        return -1;
    for (int i = 0; i < UNIT_COUNT; i++)
        if (put_unit(install, i, paths->file[i], report, error) < 0)
            return -1;
    if (put_link(paths, report, error) < 0)
        return -1;
    return start_timer(paths, report, error);
}

int systemd_install(const struct install *install,
                    struct install_report *report,
                    struct mf_error *error)
{
    struct paths paths;
    report->kind = INSTALL_SYSTEMD;
    if (paths_init(&paths, install, error) < 0)
        return -1;
    int rc = put_all(install, &paths, report, error);
    paths_fini(&paths);
    return rc;
}

static int remove_unit(const struct install *install,
                       const char *path,
                       struct install_report *report,
                       struct mf_error *error)
{
    struct mf_buffer now = {0};
    int rc = read_file(path, &now, error);
    enum mark_state state = rc == 1 ? unit_look(install, mf_buffer_view(&now)) : MARK_NONE;
    mf_buffer_fini(&now);
    if (rc <= 0)
        return rc;
    if (state == MARK_NONE)
        return install_say(report, error, "%s is not Mayfly's and is left alone", path);
    if (state == MARK_EDITED &&
        install_say(report, error, "%s was edited by hand; it is removed now", path) < 0)
        return -1;
    if (unlink(path) < 0)
        return mf_raise_errno(error, "cannot remove %s", path);
    report->has_changed = true;
    return 0;
}

static int remove_all(const struct install *install,
                      const struct paths *paths,
                      struct install_report *report,
                      struct mf_error *error)
{
    char said[PROGRAM_SAID_SIZE], timer[UNIT_NAME_SIZE + 8];
    snprintf(timer, sizeof timer, "%s.timer", paths->name);
    int told = tell("disable", "--now", timer, said, error);
    if (told < 0)
        return -1;
    for (int i = 0; i < UNIT_COUNT; i++)
        if (remove_unit(install, paths->file[i], report, error) < 0)
            return -1;
    if (access(paths->file[UNIT_TIMER], F_OK) != 0 && unlink(paths->link) == 0)
        report->has_changed = true;
    if (told == 0)
        return tell("daemon-reload", NULL, NULL, said, error) < 0 ? -1 : 0;
    return install_say(report,
                       error,
                       "your systemd cannot be told now (%s): if the timer runs, it ends with your "
                       "session, or by systemctl --user stop %s",
                       said,
                       timer);
}

int systemd_remove(const struct install *install,
                   struct install_report *report,
                   struct mf_error *error)
{
    struct paths paths;
    report->kind = INSTALL_SYSTEMD;
    if (paths_init(&paths, install, error) < 0)
        return -1;
    int rc =
        access(paths.file[UNIT_TIMER], F_OK) == 0 || access(paths.file[UNIT_SERVICE], F_OK) == 0
            ? remove_all(install, &paths, report, error)
            : 0;
    paths_fini(&paths);
    return rc;
}

int systemd_print(const struct install *install, FILE *out, struct mf_error *error)
{
    struct paths paths;
    int rc = paths_init(&paths, install, error);
    for (int i = 0; rc == 0 && i < UNIT_COUNT; i++) {
        struct mf_buffer text = {0};
        rc = unit_text(install, i, &text, error);
        if (rc == 0)
            fprintf(out,
                    "%s# %s\n%.*s",
                    i == 0 ? "" : "\n",
                    paths.file[i],
                    (int)text.length,
                    text.data);
        mf_buffer_fini(&text);
    }
    paths_fini(&paths);
    return rc;
}
