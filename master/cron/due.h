/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a cron trigger is due now, given up to when all is settled. It decides and does nothing:
 * whoever calls makes the firings and moves `last_due_us` in one transaction.
 */
#ifndef MAYFLY_MASTER_CRON_DUE_H
#define MAYFLY_MASTER_CRON_DUE_H

#include <stddef.h>

#include "common/clock.h"
#include "master/cron/cron.h"

enum cron_catchup {
    CRON_CATCHUP_NONE, /* what was missed is dropped */
    CRON_CATCHUP_LAST, /* one firing, of the last one, for all that was missed */
    CRON_CATCHUP_ALL   /* each one */
};

#define CRON_DUE_MAX 32u              /* firings of one call */
#define CRON_COUNT_MAX 100000u        /* how far missed ones are counted */
#define CRON_TICK_US (60 * 1000000LL) /* between two ticks of the machine's scheduler */

struct cron_question {
    const struct cron *cron;
    const char *zone;    /* NULL = the machine's */
    int64_t last_due_us; /* all that was due up to then is settled: never earlier than installed */
    int64_t now_us;
    enum cron_catchup catchup;
    /* Between two questions: what is late by no more than two of these was not missed. */
    int64_t tick_us;
    /* Each firing is late by 0 to jitter_us; the same for the same seed and time. */
    int64_t jitter_us;
    uint64_t seed;
};

struct cron_answer {
    /* What to fire, oldest first: when each was due, without its jitter. */
    int64_t due_us[CRON_DUE_MAX];
    size_t count;
    int64_t last_due_us; /* new; may be earlier than the old one (is_back) */
    /* Of those that came late: dropped, or stood for by the last one. At most CRON_COUNT_MAX. */
    uint64_t missed;
    int64_t first_missed_us, last_missed_us;
    bool has_more;   /* more is due at once: catchup all, and there was no room in due_us */
    bool is_back;    /* the clock was set back by so much that it begins anew from now */
    bool is_unset;   /* the clock is years behind: nothing is due until it is set */
    int64_t next_us; /* when to ask again, jitter included; MF_NEVER = there is nothing more */
};

/* -1: as zone_check. */
int cron_due(const struct cron_question *question,
             struct cron_answer *answer,
             struct mf_error *error);

/* How much later the firing that is due at due_us comes. */
int64_t cron_jitter(uint64_t seed, int64_t due_us, int64_t jitter_us);
/* A seed of a text: the name of the trigger and the machine, say. */
uint64_t cron_seed(const char *text);

/* A sentence about what is not as usual in an answer (missed, clock), in UTC; "" when all is.
 * Returns text. */
#define CRON_NOTE_SIZE 256
const char *
cron_note(const struct cron_answer *answer, enum cron_catchup catchup, char text[CRON_NOTE_SIZE]);

#endif
