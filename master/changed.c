/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changed inputs: see changed.h. Pieces of one input follow each other in the plan, so that each is
 * looked at once; an input that comes again elsewhere is counted again.
 */
#include "master/changed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/buffer.h"
#include "master/run_folder.h"
#include "master/split/plan_seg.h"
#include "master/split/split.h"

struct look {
    const struct job *job;
    struct changed *changed;
    struct mf_buffer path; /* of the input looked at last, as planned */
    struct mf_buffer absolute;
    struct mf_subtask last;
    bool is_changed; /* that one */
};

static void name_input(struct look *look, const char *what)
{
    struct changed *changed = look->changed;
    size_t length = strlen(changed->names);
    if (++changed->inputs > CHANGED_NAMED)
        return;
    snprintf(changed->names + length,
             sizeof changed->names - length,
             "%s%.*s (%s)",
             length == 0 ? "" : ", ",
             (int)(look->path.length < 256 ? look->path.length : 256),
             (const char *)look->path.data,
             what);
}

static bool is_as_planned(const struct stat *facts, const struct mf_subtask *piece)
{
    return S_ISREG(facts->st_mode) && (uint64_t)facts->st_size == piece->input_size &&
           (uint64_t)facts->st_ino == piece->input_inode &&
           (int64_t)facts->st_mtim.tv_sec * 1000000000 + facts->st_mtim.tv_nsec ==
               piece->input_mtime_ns;
}

/* 0, with look->is_changed; -1: memory is exhausted. */
static int look_at(struct look *look, const struct mf_subtask *piece, struct mf_error *error)
{
    struct stat facts;
    look->last = *piece;
    look->is_changed = false;
    mf_buffer_clear(&look->path);
    mf_buffer_clear(&look->absolute);
    if (mf_buffer_append(&look->path, piece->path.data, piece->path.length, error) < 0)
        return -1;
    if (piece->path.data[0] != '/' &&
        (mf_buffer_append_text(&look->absolute, look->job->folder, error) < 0 ||
         mf_buffer_append_text(&look->absolute, "/", error) < 0))
        return -1;
    if (mf_buffer_append(&look->absolute, piece->path.data, piece->path.length, error) < 0)
        return -1;
    const char *path = mf_buffer_text(&look->absolute);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the path of an input");
    if (stat(path, &facts) < 0)
        name_input(look, strerror(errno));
    else if (!is_as_planned(&facts, piece))
        name_input(look, "changed");
    else
        return 0;
    look->is_changed = true;
    return 0;
}

static bool is_last(const struct look *look, const struct mf_subtask *piece)
{
    return mf_bytes_equal(mf_buffer_view(&look->path), piece->path) &&
           look->last.input_size == piece->input_size &&
           look->last.input_mtime_ns == piece->input_mtime_ns &&
           look->last.input_inode == piece->input_inode;
}

static int look_at_all(struct look *look,
                       struct plan_reader *reader,
                       const struct plan_rest *rest,
                       struct mf_error *error)
{
    struct mf_subtask piece;
    size_t next = 0;
    int rc;
    while ((rc = plan_reader_next(reader, &piece, error)) > 0) {
        if (piece.id <= rest->mark &&
            (next == rest->open_count || rest->open[next].subtask != piece.id))
            continue;
        next += piece.id <= rest->mark;
        if (piece.path.length == 0 || piece.input_inode == 0)
            continue;
        if (!is_last(look, &piece) && look_at(look, &piece, error) < 0)
            return -1;
        look->changed->subtasks += look->is_changed;
    }
    return rc;
}

int changed_find(const struct job *job,
                 const char *run_folder,
                 const struct plan_rest *rest,
                 struct changed *changed,
                 struct mf_error *error)
{
    struct look look = {.job = job, .changed = changed};
    *changed = (struct changed){0};
    if (split_is_derivable(job))
        return 0;
    char *path = run_path(run_folder, "plan.seg");
    struct plan_reader *reader = NULL;
    int rc = path == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a path") : 0;
    if (rc == 0)
        rc = (reader = plan_reader_open(path, error)) == NULL
                 ? -1
                 : look_at_all(&look, reader, rest, error);
    plan_reader_destroy(reader);
    mf_buffer_fini(&look.path);
    mf_buffer_fini(&look.absolute);
    mf_free(path);
    return rc;
}
