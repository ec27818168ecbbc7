/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run knows of how it was started and of its messages: `firing.json` in the run folder,
 * written whole before its master begins. It is a copy of the row in queues.db (firing.h) and of
 * the event that a chained run is about; with it and plan.seg the run needs queues.db only to
 * settle. Runs that have nothing to do with queues and triggers have none.
 */
#ifndef MAYFLY_MASTER_FIRING_NOTE_H
#define MAYFLY_MASTER_FIRING_NOTE_H

#include <jansson.h>
#include <stdint.h>

#include "common/error.h"

/* Texts are NULL where there is nothing to say. Zero-initialised is none. */
struct firing_note {
    char *trigger; /* NULL: by hand */
    char *cause;   /* count, bytes, age, cron, after, hand */
    char *queue;   /* whose messages the run has */
    char *event;   /* cause after: the JSON of what happened */
    int64_t due_us;
    uint64_t messages;
};

int firing_note_write(const char *folder, const struct firing_note *note, struct mf_error *error);
/* 1 and *note, which the caller ends; 0 when there is none; -1: MF_EINPUT when it is damaged. */
int firing_note_read(const char *folder, struct firing_note *note, struct mf_error *error);
void firing_note_fini(struct firing_note *note);

/* {trigger, cause, queue, messages, due}, for status and summary: a new reference, NULL when memory
 * is exhausted. */
json_t *firing_note_json(const struct firing_note *note);
/* The same of a run folder; json null when there is none, or when it can't be read. */
json_t *firing_note_json_of(const char *folder);
/* "trigger pages (count), queue documents, 100 messages" into out. */
const char *firing_note_text(const json_t *note, char *out, size_t size);

#endif
