/* SPDX-License-Identifier: Apache-2.0 */
/* See slurm_notes.h. */
#include "master/launch/slurm_notes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/launch/answer.h"
#include "master/launch/shared_folder.h"

int slurm_note_job(const char *folder,
                   uint32_t job,
                   const uint32_t *workers,
                   uint32_t count,
                   struct mf_error *error)
{
    struct mf_buffer notes = {0};
    char text[32];
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        snprintf(text, sizeof text, "%u %u", job, i);
        rc = shared_note_add(&notes, workers[i], text, error);
    }
    if (rc == 0)
        rc = shared_folder_note(folder, mf_buffer_view(&notes), error);
    mf_buffer_fini(&notes);
    return rc;
}

/* So many numbers, each behind blanks. */
static bool read_numbers(const char *text, uint32_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *end;
        text += strspn(text, " ");
        unsigned long long value = strtoull(text, &end, 10);
        if (*text < '0' || *text > '9' || value > UINT32_MAX)
            return false;
        numbers[i] = (uint32_t)value;
        text = end;
    }
    return true;
}

bool slurm_find_job(const char *folder, uint32_t worker, uint32_t *job, uint32_t *index)
{
    char output[1024], text[64];
    uint32_t numbers[2];
    bool is_known =
        (shared_folder_find(folder, worker, text, sizeof text) && read_numbers(text, numbers, 2)) ||
        (shared_folder_read_output(folder, worker, output, sizeof output) &&
         answer_line(output, "job", text, sizeof text) && read_numbers(text, numbers, 2));
    if (!is_known)
        return false;
    *job = numbers[0];
    *index = numbers[1];
    return true;
}
