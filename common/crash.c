/* SPDX-License-Identifier: Apache-2.0 */
/* Crash points: see crash.h. A point that is armed has the number of passes that are left to it. */
#include "common/crash.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef MAYFLY_CRASH_POINTS

#define NAME_MAX_LENGTH 64

bool mf_crash_is_armed;

#define NAME(name, text) text,
static const char *const names[MF_CRASH_POINT_COUNT] = {MF_CRASH_POINTS(NAME)};

static uint64_t passes_left[MF_CRASH_POINT_COUNT]; /* 0 = not armed */
static void (*tell)(const char *point);

static int find_point(const char *name, size_t length)
{
    for (int i = 0; i < MF_CRASH_POINT_COUNT; i++)
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
            return i;
    return -1;
}

/* The number behind `mark` at *at, else 1; -1: malformed. */
static int take_number(const char **at, char mark, uint64_t *number)
{
    char *end;
    *number = 1;
    if (**at != mark)
        return 0;
    *number = strtoull(*at + 1, &end, 10);
    if (end == *at + 1 || *number == 0)
        return -1;
    *at = end;
    return 0;
}

/* Arms one entry, if it is this process's; *at is moved behind it. */
static int arm_one(const char **at, uint32_t worker, struct mf_error *error)
{
    const char *start = *at;
    size_t length = strcspn(start, ":@,");
    int point = find_point(start, length);
    uint64_t pass, whose;
    if (point < 0)
        return mf_raise(error,
                        MF_EUSAGE,
                        "MAYFLY_CRASH: there is no point \"%.*s\"; common/crash.h lists them",
                        (int)(length < NAME_MAX_LENGTH ? length : NAME_MAX_LENGTH),
                        start);
    *at += length;
    if (take_number(at, ':', &pass) < 0 || take_number(at, '@', &whose) < 0 ||
        (**at != '\0' && **at != ','))
        return mf_raise(error,
                        MF_EUSAGE,
                        "MAYFLY_CRASH: \"%.100s\" is not of the form POINT[:N][@WORKER]",
                        start);
    if (**at == ',')
        (*at)++;
    if (strncmp(start, "worker.", 7) != 0)
        whose = 0;
    if (whose != worker)
        return 0;
    passes_left[point] = pass;
    mf_crash_is_armed = true;
    return 0;
}

int mf_crash_arm(const char *specification, uint32_t worker, struct mf_error *error)
{
    while (specification != NULL && *specification != '\0')
        if (arm_one(&specification, worker, error) < 0)
            return -1;
    return 0;
}

void mf_crash_tell(void (*last_words)(const char *point))
{
    tell = last_words;
}

void mf_crash_pass(enum mf_crash_point point)
{
    if (passes_left[point] == 0 || __atomic_sub_fetch(&passes_left[point], 1, __ATOMIC_RELAXED) > 0)
        return;
    if (tell != NULL)
        tell(names[point]);
    kill(getpid(), SIGKILL);
    for (;;) /* until it has arrived */
        pause();
}

#else

int mf_crash_arm(const char *specification, uint32_t worker, struct mf_error *error)
{
    (void)worker;
    if (specification == NULL || *specification == '\0')
        return 0;
    return mf_raise(error,
                    MF_EUSAGE,
                    "MAYFLY_CRASH is set, but this program was built without crash points "
                    "(-DMAYFLY_CRASH_POINTS=ON)");
}

void mf_crash_tell(void (*last_words)(const char *point))
{
    (void)last_words;
}

#endif
