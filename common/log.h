/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's own log: a line an entry, "2026-11-22T08:45:12.123Z info sentence". Control
 * characters in a sentence are written as \xNN, so that no peer can forge a line. One log a
 * process. Any thread.
 *
 * A line for the journal of systemd is "<6>sentence": it takes the level from there and puts a
 * stamp of its own to it.
 */
#ifndef MAYFLY_COMMON_LOG_H
#define MAYFLY_COMMON_LOG_H

enum mf_level { MF_DEBUG, MF_INFO, MF_WARNING, MF_ERROR };

/* Entries of `level` and above go to `fd` (not owned) from now on; fd -1 drops them. Starts as -1.
 */
void mf_log_to(int fd, enum mf_level level);
/* From now on lines are for the journal when that is what `fd` leads to ($JOURNAL_STREAM names it),
 * else as above. */
void mf_log_for_journal(int fd);
void mf_log(enum mf_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
