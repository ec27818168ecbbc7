/* SPDX-License-Identifier: Apache-2.0 */
/* The calendar: see calendar.h. Days are numbers since 1970-01-01; years begin in March inside of
 * the conversion, so that the day that is not always there is their last. */
#include "master/cron/calendar.h"

#define YEARS 400
#define DAYS_OF_YEARS 146097

struct date {
    int64_t year;
    unsigned month, day; /* from 1 */
    unsigned length;     /* days of the month */
};

int64_t calendar_floor(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned month_length(int64_t year, unsigned month)
{
    static const unsigned char lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return lengths[month - 1] + (month == 2 && is_leap(year) ? 1u : 0u);
}

static struct date date_of(int64_t day)
{
    struct date date;
    int64_t shifted = day + 719468; /* since 0000-03-01 */
    int64_t era = calendar_floor(shifted, DAYS_OF_YEARS);
    int64_t n = shifted - era * DAYS_OF_YEARS; /* in its 400 years */
    int64_t year = (n - n / 1460 + n / 36524 - n / 146096) / 365;
    int64_t of_year = n - (365 * year + year / 4 - year / 100);
    unsigned month = (unsigned)((5 * of_year + 2) / 153); /* March is 0 */
    date.day = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
    date.month = month < 10 ? month + 3 : month - 9;
    date.year = year + era * YEARS + (date.month <= 2 ? 1 : 0);
    date.length = month_length(date.year, date.month);
    return date;
}

static unsigned weekday_of(int64_t day)
{
    return (unsigned)(day + 4 - calendar_floor(day + 4, 7) * 7);
}

static bool fits_weekday(const struct cron *cron, const struct date *date, unsigned weekday)
{
    unsigned nth = cron->nth[weekday];
    bool is_last = date->day + 7 > date->length;
    return (cron->weekdays >> weekday & 1) != 0 || (nth >> ((date->day - 1) / 7 + 1) & 1) != 0 ||
           ((nth & 1) != 0 && is_last);
}

static bool fits_day(const struct cron *cron, const struct date *date, unsigned weekday)
{
    bool day =
        (cron->days >> date->day & 1) != 0 || (cron->has_last_day && date->day == date->length);
    bool week = fits_weekday(cron, date, weekday);
    return cron->is_either ? day || week : day && week;
}

/* The first minute of a day from `from` (minutes) on; -1 when there is none. */
static int minute_of_day(const struct cron *cron, int from)
{
    for (int hour = from / 60; hour < 24; hour++) {
        if ((cron->hours >> hour & 1) == 0)
            continue;
        int first = hour == from / 60 ? from % 60 : 0;
        uint64_t rest = cron->minutes >> first;
        if (rest != 0)
            return hour * 60 + first + __builtin_ctzll(rest);
    }
    return -1;
}

int64_t calendar_after(const struct cron *cron, int64_t wall)
{
    int64_t next = calendar_floor(wall, 60) + 1; /* minutes */
    int64_t day = calendar_floor(next, 1440), end = day + DAYS_OF_YEARS + 1;
    int from = (int)(next - day * 1440);
    while (day < end) {
        struct date date = date_of(day);
        if ((cron->months >> date.month & 1) == 0) {
            day += date.length - date.day + 1;
            from = 0;
            continue;
        }
        int minute = fits_day(cron, &date, weekday_of(day)) ? minute_of_day(cron, from) : -1;
        if (minute >= 0)
            return (day * 1440 + minute) * 60;
        day++;
        from = 0;
    }
    return CALENDAR_NEVER;
}
