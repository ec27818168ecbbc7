/* SPDX-License-Identifier: Apache-2.0 */
/* Within the station: one try to tell one subscriber of one event. A kind of subscriber is a file;
 * each blocks until the try is over, at the latest after the subscriber's timeout, or soon after
 * *stop is set. Any thread. */
#ifndef MAYFLY_MASTER_NOTIFY_TELL_H
#define MAYFLY_MASTER_NOTIFY_TELL_H

#include <stdint.h>

#include "common/buffer.h"
#include "master/job/job.h"

/* All borrowed for the call. */
struct tell {
    const struct job *job;
    const struct job_notify *to;
    const char *folder; /* of the run */
    const char *run_id;
    const char *id; /* of the event, the same in each try: RUN:ROW */
    const char *event;
    const char *payload;  /* without the id */
    struct mf_bytes body; /* JSON with the id */
    const int *stop;      /* atomic; not 0: give up */
};

enum told_verdict {
    TOLD,       /* the subscriber has it */
    TELL_LATER, /* this may pass: to be tried again */
    TELL_NEVER  /* trying again as it is does not help */
};

struct told {
    enum told_verdict verdict;
    int64_t wait_us; /* TELL_LATER: the subscriber asked for that time; 0 = it did not */
    char text[400];  /* one sentence, when it was not told */
};

/* Fills *told. */
void told_set(struct told *told, enum told_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void tell_command(const struct tell *tell, struct told *told); /* command and shell */
void tell_webhook(const struct tell *tell, struct told *told);
void tell_queue(const struct tell *tell, struct told *told);

#endif
