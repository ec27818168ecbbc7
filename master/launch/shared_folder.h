/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder that the master and the places of its workers both see, under the same name:
 * mayfly-worker; input.W, what worker W needs to join, for its user alone, removed by whoever takes
 * it; start.W, the script that does so (launcher command); out.W, what that said; jobs, a line
 * "W TEXT ." for each worker that was submitted, for a later master of the run: a line without its
 * end was torn by a crash, and counts for nothing. No credential goes through a scheduler: a batch
 * script is kept by slurmctld, and by some sites for ever.
 */
#ifndef MAYFLY_MASTER_LAUNCH_SHARED_FOLDER_H
#define MAYFLY_MASTER_LAUNCH_SHARED_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

/* Makes the folder, which may be there already, and copies the program `binary` into it (NULL:
 * none is wanted). `key` is that of the job file that names another folder: one with a quote or a
 * line end in its name is refused, as it stands in scripts. */
int shared_folder_make(const char *folder,
                       const char *binary,
                       const char *key,
                       struct mf_error *error);
int shared_folder_put_input(const char *folder,
                            uint32_t worker,
                            const char *input,
                            struct mf_error *error);
void shared_folder_drop_input(const char *folder, uint32_t worker);
/* Nobody has taken it yet. */
bool shared_folder_has_input(const char *folder, uint32_t worker);
int shared_folder_put_script(const char *folder,
                             uint32_t worker,
                             struct mf_bytes script,
                             struct mf_error *error);
/* Appends a line that a later master finds; `text` is one line. */
int shared_note_add(struct mf_buffer *notes,
                    uint32_t worker,
                    const char *text,
                    struct mf_error *error);
/* Adds these lines in one write. Durable when it returns 0. It replaces none: the last line of a
 * worker counts. */
int shared_folder_note(const char *folder, struct mf_bytes notes, struct mf_error *error);
/* Something was noted, or was about to be. */
bool shared_folder_has_notes(const char *folder);
typedef void shared_note_f(void *arg, uint32_t worker, const char *text);
/* Hands over each line as it was noted, the oldest first; false: there are none. */
bool shared_folder_read_notes(const char *folder, shared_note_f *note, void *arg);
/* The text that was noted last of the worker, cut to `size`. */
bool shared_folder_find(const char *folder, uint32_t worker, char *text, size_t size);
/* What the worker's job has said, NUL-terminated, cut to `size`; false: nothing that can be seen.
 */
bool shared_folder_read_output(const char *folder, uint32_t worker, char *text, size_t size);
/* Removes all of it; the files that were there. -1: some is left. */
int shared_folder_remove(const char *folder, uint32_t *removed, struct mf_error *error);

#endif
