/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of hosts: in a job file, on the command line, in a file of their own. An entry is
 * `user@host:port/slots`; user, port and slots may be left out, and GNU Parallel's
 * `slots/user@host` is taken too. An IPv6 address with a port stands in brackets. `:` or `:/slots`
 * is this machine. Names are not resolved here. Not thread-safe.
 */
#ifndef MAYFLY_MASTER_JOB_HOSTS_H
#define MAYFLY_MASTER_JOB_HOSTS_H

#include "common/buffer.h"
#include "common/error.h"
#include "master/job/job.h"

#define HOSTS_MAX 10000u
#define HOST_SLOTS_MAX 4096u
#define HOST_TEXT_MAX 400u /* bytes of an entry */

/*
 * All of these append to `hosts` (zero-initialised is empty) and fail with MF_EUSAGE and a sentence
 * that shows the entry, or MF_ENOMEM; then some of the new entries may be in already.
 */

/* One entry, without blanks around it. */
int hosts_add(struct job_hosts *hosts, struct mf_bytes entry, struct mf_error *error);

/* "a,b,c"; blanks around the commas do not count. */
int hosts_add_list(struct job_hosts *hosts, const char *text, struct mf_error *error);

/* The text of a host file: an entry a line, LF or CR LF; what follows a # that starts a line or
 * stands behind a blank is a comment. At least one entry is expected. Errors name path and line. */
int hosts_add_lines(struct job_hosts *hosts,
                    const char *path,
                    struct mf_bytes text,
                    struct mf_error *error);

/* The same, of a file or a pipe. */
int hosts_read(struct job_hosts *hosts, const char *path, struct mf_error *error);

void hosts_fini(struct job_hosts *hosts);

#endif
