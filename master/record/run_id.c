/* SPDX-License-Identifier: Apache-2.0 */
/* Ids of runs: see run_id.h. */
#include "master/record/run_id.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

void run_id_make(const char *job_name, enum run_id_maker maker, char run_id[RUN_ID_SIZE])
{
    uint16_t random = 0;
    time_t now = time(NULL);
    struct tm tm;
    char stamp[20];
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint16_t)getpid();
    random = (uint16_t)((random & ~1u) | (maker == RUN_ID_BY_TRIGGER));
    snprintf(run_id, RUN_ID_SIZE, "%s-%.60s-%04x", stamp, job_name, random);
}
