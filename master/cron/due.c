/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is due: see due.h. All that was due since the last answer is walked through in order, missed
 * ones are counted, and those that came in time are fired. What lies so far back that a walk would
 * take long (a clock that was set forward by years) is jumped over, to the last ones.
 */
#include "master/cron/due.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "master/cron/here.h"

#define MINUTE_US (60 * 1000000LL)
#define HOUR_US (60 * MINUTE_US)
#define DAY_US (24 * HOUR_US)
/* A clock that was set back: fixed times are not repeated within three hours (as cron does it, and
 * longer than any change of daylight-saving time); those that follow real time go on at once, but
 * for the small steps of a clock that is kept. */
#define BACK_FIXED_US (3 * HOUR_US)
#define BACK_WILD_US (5 * MINUTE_US)
/* 2024-01-01: the clock of a machine that does not know the time yet shows less. */
#define UNSET_US (1704067200 * 1000000LL)

uint64_t cron_seed(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

int64_t cron_jitter(uint64_t seed, int64_t due_us, int64_t jitter_us)
{
    if (jitter_us <= 0)
        return 0;
    uint64_t x = seed ^ (uint64_t)due_us * 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (int64_t)((x ^ x >> 31) % ((uint64_t)jitter_us + 1));
}

static int64_t comes(const struct cron_question *question, int64_t due)
{
    int64_t jitter = cron_jitter(question->seed, due, question->jitter_us);
    return due > MF_NEVER - jitter ? MF_NEVER : due + jitter;
}

static bool is_missed(const struct cron_question *question, int64_t due)
{
    return question->now_us - comes(question, due) > 2 * question->tick_us;
}

static void note_missed(struct cron_answer *answer, int64_t due)
{
    if (answer->missed == 0)
        answer->first_missed_us = due;
    answer->last_missed_us = due;
    if (answer->missed < CRON_COUNT_MAX)
        answer->missed++;
}

/* The latest one of @every in (last, now]. */
static int64_t latest_every(const struct cron_question *question, int64_t last)
{
    int64_t every = question->cron->every_us;
    return last + (question->now_us - last) / every * every;
}

/*
 * Some time in [last, now) after which there are few that are due, of those that are due in between
 * the last ones.
 */
static int64_t near_the_end(const struct cron_question *question, int64_t last)
{
    static const int64_t windows[] = {HOUR_US, DAY_US, 32 * DAY_US, 367 * DAY_US};
    if (question->cron->every_us != 0) {
        int64_t latest = latest_every(question, last);
        int64_t few = 2 * CRON_DUE_MAX * question->cron->every_us;
        return latest - few > last ? latest - few : last;
    }
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        int64_t from = question->now_us - windows[i];
        if (from > last && cron_next_here(question->cron, from) <= question->now_us)
            return from;
    }
    return last;
}

/* Takes the next one in; false when there is no room for it. */
static bool take(const struct cron_question *question, struct cron_answer *answer, int64_t due)
{
    bool is_late = is_missed(question, due);
    bool is_fired = !is_late || question->catchup == CRON_CATCHUP_ALL;
    if (is_fired && answer->count == CRON_DUE_MAX) {
        answer->has_more = true;
        return false;
    }
    if (is_late && question->catchup != CRON_CATCHUP_ALL)
        note_missed(answer, due);
    if (is_fired)
        answer->due_us[answer->count++] = due;
    answer->last_due_us = due;
    return true;
}

static void walk(const struct cron_question *question, struct cron_answer *answer)
{
    int64_t due = cron_next_here(question->cron, answer->last_due_us);
    for (uint64_t n = 0; comes(question, due) <= question->now_us; n++) {
        if (!take(question, answer, due))
            return;
        if (n == CRON_COUNT_MAX) {
            int64_t from = near_the_end(question, due);
            answer->last_due_us = from;
            due = from;
        }
        due = cron_next_here(question->cron, due);
    }
    answer->next_us = comes(question, due);
}

/* Whether the clock is so far behind what is settled that it was set back. */
static bool is_set_back(const struct cron_question *question)
{
    int64_t most = question->cron->is_wild ? BACK_WILD_US : BACK_FIXED_US;
    return question->last_due_us - question->now_us > most;
}

static void answer_it(const struct cron_question *question, struct cron_answer *answer)
{
    *answer = (struct cron_answer){.last_due_us = question->last_due_us, .next_us = MF_NEVER};
    if (question->now_us < UNSET_US) {
        answer->is_unset = true;
        answer->next_us = question->now_us + MINUTE_US;
        return;
    }
    if (is_set_back(question)) {
        answer->is_back = true;
        answer->last_due_us = question->now_us;
    }
    walk(question, answer);
    bool is_stood_for = answer->count == 0 && answer->missed > 0;
    if (question->catchup == CRON_CATCHUP_LAST && is_stood_for)
        answer->due_us[answer->count++] = answer->last_missed_us;
    if (answer->has_more)
        answer->next_us = question->now_us;
}

int cron_due(const struct cron_question *question,
             struct cron_answer *answer,
             struct mf_error *error)
{
    struct zone_before before;
    if (zone_enter(question->zone, &before, error) < 0)
        return -1;
    answer_it(question, answer);
    zone_leave(&before);
    return 0;
}

static void note_late(const struct cron_answer *answer, enum cron_catchup catchup, char *text)
{
    char first[MF_STAMP_SIZE], last[MF_STAMP_SIZE];
    mf_stamp(answer->first_missed_us, first);
    mf_stamp(answer->last_missed_us, last);
    first[16] = last[16] = '\0'; /* minutes are enough */
    bool is_one = answer->missed == 1;
    snprintf(text,
             CRON_NOTE_SIZE,
             "%s%" PRIu64 " %s missed, %s%s%s UTC (the machine was off, or nobody looked): %s",
             answer->missed == CRON_COUNT_MAX ? "more than " : "",
             answer->missed,
             is_one ? "time was" : "times were",
             first,
             is_one ? "" : " to ",
             is_one ? "" : last,
             catchup == CRON_CATCHUP_NONE ? "dropped (catchup: none)"
                                          : "one run stands for all (catchup: last)");
}

const char *
cron_note(const struct cron_answer *answer, enum cron_catchup catchup, char text[CRON_NOTE_SIZE])
{
    text[0] = '\0';
    if (answer->is_unset)
        snprintf(text, CRON_NOTE_SIZE, "the clock of this machine is not set: nothing is due yet");
    else if (answer->is_back)
        snprintf(text, CRON_NOTE_SIZE, "the clock was set back: it begins anew from now");
    else if (answer->missed > 0)
        note_late(answer, catchup, text);
    return text;
}
