/* SPDX-License-Identifier: Apache-2.0 */
/* What `mayfly-worker start` and `mayfly-worker sweep` print, read the same way whatever carried it
 * here. Login banners may stand before it. */
#ifndef MAYFLY_MASTER_LAUNCH_ANSWER_H
#define MAYFLY_MASTER_LAUNCH_ANSWER_H

#include <stddef.h>

#include "master/launch/launcher.h"
#include "master/launch/ssh_script.h"

/* "mayfly 1 started <worker> <pid> <port>" of that worker: fills pid and port of *report. */
bool answer_started(const char *output, uint32_t worker, struct launch_report *report);

/* The same of a job's output (worker_script.h), which also says where it is: its first address, in
 * `address` as long as *report. */
bool answer_from_job(
    const char *output, uint32_t worker, char *address, size_t size, struct launch_report *report);

/* The text behind "mayfly 1 <word> ", on a line of its own, cut to `size`. */
bool answer_line(const char *output, const char *word, char *text, size_t size);

/* Of the lines "mayfly 1 part <KiB> <name>" that with the most KiB, up to `most`: fills name and
 * kib of *part, whose name is empty when there is none of use. */
void answer_part(const char *output, size_t most, struct script_part *part);

/*
 * The JSON line of a sweep: fills all of *report but host and place. `left` (of `size` bytes) holds
 * what report->left points at. `problem` is what stood on standard error.
 */
void answer_swept(const char *output,
                  const char *problem,
                  int code,
                  char *left,
                  size_t size,
                  struct sweep_report *report);

/* The lines of script_check: fills system, folder, has_program and the figures of *report. */
void answer_checked(const char *output, struct check_report *report);

/* The last line of a program's standard error that says something, into `text`. */
void answer_problem(const char *problem, char *text, size_t size);

#endif
