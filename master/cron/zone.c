/* SPDX-License-Identifier: Apache-2.0 */
/* Zones of glibc: see zone.h. A zone that glibc does not know is UTC for it, without a word: so its
 * file is looked at first. */
#include "master/cron/zone.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"

#define FOLDER "/usr/share/zoneinfo"
#define OWN "/etc/localtime"
/* More than any zone is away from UTC. */
#define FURTHEST (16 * 3600)
#define STEP (6 * 3600)

static bool is_own(const char *zone)
{
    return zone == NULL || zone[0] == '\0';
}

static bool is_plain(const char *zone)
{
    size_t length = strlen(zone);
    if (length >= ZONE_NAME_SIZE || zone[0] == '/' || strstr(zone, "..") != NULL)
        return false;
    return strspn(zone, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/") ==
           length;
}

static bool is_zone_file(const char *path)
{
    char magic[4];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, magic, sizeof magic);
    close(fd);
    return got == (ssize_t)sizeof magic && memcmp(magic, "TZif", 4) == 0;
}

int zone_check(const char *zone, struct mf_error *error)
{
    char path[sizeof FOLDER + ZONE_NAME_SIZE + 1];
    if (is_own(zone) || strcmp(zone, "UTC") == 0)
        return 0;
    /* right/ counts leap seconds, which stamps do not. */
    if (is_plain(zone) && strncmp(zone, "right/", 6) != 0) {
        snprintf(path, sizeof path, "%s/%s", FOLDER, zone);
        if (is_zone_file(path))
            return 0;
    }
    if (access(FOLDER, R_OK) != 0)
        return mf_raise(error,
                        MF_ESETUP,
                        "time zone \"%.64s\": there are no zones on this machine (%s); install the "
                        "package tzdata",
                        zone,
                        FOLDER);
    return mf_raise(error,
                    MF_EUSAGE,
                    "time zone \"%.64s\" is unknown on this machine; expected a name such as "
                    "Europe/Vienna or UTC, upper and lower case as there (timedatectl "
                    "list-timezones shows all)",
                    zone);
}

const char *zone_own_name(char text[ZONE_NAME_SIZE])
{
    char link[512];
    ssize_t length = readlink(OWN, link, sizeof link - 1);
    link[length < 0 ? 0 : length] = '\0';
    const char *name = strstr(link, "zoneinfo/");
    bool is_named = name != NULL && name[9] != '\0' && strlen(name + 9) < ZONE_NAME_SIZE;
    snprintf(text, ZONE_NAME_SIZE, "%s", is_named ? name + 9 : "local time");
    return text;
}

int zone_enter(const char *zone, struct zone_before *before, struct mf_error *error)
{
    before->tz = NULL;
    if (zone_check(zone, error) < 0)
        return -1;
    char *wanted = is_own(zone) ? mf_strdup(":" OWN) : mf_format(":%s", zone);
    const char *tz = getenv("TZ");
    if (tz != NULL)
        before->tz = mf_strdup(tz);
    if (wanted == NULL || (tz != NULL && before->tz == NULL) || setenv("TZ", wanted, 1) != 0) {
        mf_free(wanted);
        mf_free(before->tz);
        return mf_raise(error, MF_ENOMEM, "out of memory: a time zone");
    }
    mf_free(wanted);
    tzset();
    return 0;
}

void zone_leave(struct zone_before *before)
{
    if (before->tz == NULL)
        unsetenv("TZ");
    else
        setenv("TZ", before->tz, 1);
    mf_free(before->tz);
    tzset();
}

int64_t zone_offset(int64_t at)
{
    time_t time = at;
    struct tm tm;
    return localtime_r(&time, &tm) == NULL ? 0 : tm.tm_gmtoff;
}

/* The offset differs between from and to: the first time with that of `to`. */
static int64_t narrow(int64_t from, int64_t to)
{
    int64_t offset = zone_offset(to);
    while (to - from > 1) {
        int64_t middle = from + (to - from) / 2;
        if (zone_offset(middle) == offset)
            to = middle;
        else
            from = middle;
    }
    return to;
}

int64_t zone_change(int64_t from, int64_t to)
{
    int64_t before = zone_offset(from);
    for (int64_t at = from; at < to;) {
        int64_t next = to - at > STEP ? at + STEP : to;
        if (zone_offset(next) != before)
            return narrow(at, next);
        at = next;
    }
    return to + 1;
}

int64_t zone_reach(int64_t wall)
{
    int64_t early = zone_offset(wall - FURTHEST), late = zone_offset(wall + FURTHEST);
    if (early == late)
        return wall - late;
    int64_t change = narrow(wall - FURTHEST, wall + FURTHEST);
    if (wall - early < change)
        return wall - early;
    return wall - late < change ? change : wall - late;
}
