/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cron expressions as text: see cron.h. The text is read once from left to right; `at` is where the
 * reader stands, so that what is said of something wrong can name its position. The values of the
 * five fields are collected as sets of bits and go into the struct when all is well.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "master/cron/calendar.h"
#include "master/cron/cron.h"

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

struct field {
    const char *name, *expected;
    unsigned least, most, values; /* values: how many there are */
    const char *names;            /* three letters each; NULL = numbers only */
};

static const struct field fields[FIELDS] = {
    {"minute", "0 to 59", 0, 59, 60, NULL},
    {"hour", "0 to 23", 0, 23, 24, NULL},
    {"day of month", "1 to 31, or L for the last", 1, 31, 31, NULL},
    {"month", "1 to 12, or jan to dec", 1, 12, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
    {"weekday", "0 to 7 (0 and 7 are Sunday), or sun to sat", 0, 7, 7, "sunmontuewedthufrisat"},
};

struct reader {
    const char *text;
    size_t at;
    unsigned field; /* FIELDS = not in one */
    uint64_t sets[FIELDS];
    bool is_open[FIELDS]; /* begins with a star: not restricted */
    uint8_t nth[7];
    bool has_last_day;
    struct mf_error *error;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The word at `at`, fit to be shown. */
static const char *shown(const struct reader *reader, size_t at, char word[32])
{
    size_t n = 0;
    const char *p = reader->text + at;
    for (; n < 24 && p[n] != '\0' && !is_blank(p[n]) && p[n] != ','; n++)
        word[n] = (char)(p[n] > ' ' && p[n] <= '~' ? p[n] : '?');
    if (n == 24)
        memcpy(word + 21, "...", 3);
    if (n == 0 && p[0] == ',')
        word[n++] = ',';
    word[n] = '\0';
    return word;
}

/* "weekday (field 5), position 9: "xyz" is ...; expected ..." */
static int wrong(const struct reader *reader, size_t at, const char *what, const char *expected)
{
    char word[32], place[64] = "";
    shown(reader, at, word);
    if (reader->field < FIELDS)
        snprintf(
            place, sizeof place, "%s (field %u), ", fields[reader->field].name, reader->field + 1);
    return mf_raise(reader->error,
                    MF_EUSAGE,
                    "cron expression: %sposition %zu: %s%s%s%s; expected %s",
                    place,
                    at + 1,
                    word[0] == '\0' ? "" : "\"",
                    word[0] == '\0' ? "it ends here" : word,
                    word[0] == '\0' ? "" : "\" ",
                    word[0] == '\0' ? "" : what,
                    expected);
}

static char peek(const struct reader *reader)
{
    return reader->text[reader->at];
}

/* Digits; a number that is too large is `most` + 1. */
static unsigned take_number(struct reader *reader, unsigned most)
{
    unsigned value = 0;
    for (; is_digit(peek(reader)); reader->at++)
        if (value <= most)
            value = value * 10 + (unsigned)(peek(reader) - '0');
    return value <= most ? value : most + 1;
}

/* Three letters that are a name of this field; -1 when they are none. */
static int take_name(struct reader *reader, unsigned *value)
{
    const struct field *field = &fields[reader->field];
    const char *p = reader->text + reader->at;
    for (unsigned i = 0; field->names != NULL && i < field->values; i++) {
        if (strncasecmp(p, field->names + (size_t)i * 3, 3) != 0)
            continue;
        *value = field->least + i;
        reader->at += 3;
        return 0;
    }
    return -1;
}

static int take_value(struct reader *reader, unsigned *value)
{
    const struct field *field = &fields[reader->field];
    size_t start = reader->at;
    if (is_digit(peek(reader))) {
        *value = take_number(reader, field->most);
        if (*value < field->least || *value > field->most)
            return wrong(reader, start, "is out of range", field->expected);
        return 0;
    }
    if (take_name(reader, value) < 0)
        return wrong(reader, start, "is no value of this field", field->expected);
    return 0;
}

static void set_bits(struct reader *reader, unsigned first, unsigned last, unsigned step)
{
    for (unsigned v = first; v <= last; v += step)
        reader->sets[reader->field] |= 1ull << (reader->field == WEEKDAY ? v % 7 : v);
}

/* "/10", when it stands here. */
static int take_step(struct reader *reader, unsigned *step)
{
    const struct field *field = &fields[reader->field];
    char expected[96];
    *step = 1;
    if (peek(reader) != '/')
        return 0;
    size_t start = ++reader->at;
    snprintf(expected,
             sizeof expected,
             "a step from 1 to %u%s",
             field->values,
             reader->field < DAY ? " (longer ones: @every 90m)" : "");
    if (!is_digit(peek(reader)))
        return wrong(reader, start, "is no step", expected);
    *step = take_number(reader, field->values);
    if (*step < 1 || *step > field->values)
        return wrong(reader, start, "is no step of this field", expected);
    return 0;
}

/* "mon#2" or "5L": the value was read. 1 when it was one of them. */
static int take_nth(struct reader *reader, unsigned weekday)
{
    char c = peek(reader);
    if (reader->field != WEEKDAY || (c != '#' && c != 'l' && c != 'L'))
        return 0;
    size_t start = ++reader->at;
    unsigned n = 0;
    if (c == '#') {
        n = take_number(reader, 5);
        if (n < 1 || n > 5)
            return wrong(reader,
                         start,
                         "is no number of a weekday",
                         "1 to 5, as in mon#2, the second Monday");
    }
    reader->nth[weekday % 7] |= (uint8_t)(1u << n);
    return 1;
}

/* The end of a range; a range of weekdays may go over the end of the week. */
static int take_last(struct reader *reader, size_t start, unsigned first, unsigned *last)
{
    reader->at++;
    if (take_value(reader, last) < 0)
        return -1;
    if (*last < first && reader->field == WEEKDAY)
        *last += 7;
    if (*last < first)
        return wrong(
            reader, start, "runs backwards", "the smaller value first (22-4 is 22-23,0-4)");
    return 0;
}

/* What begins with a value: 5, 1-5, 10-40/5, 10/5, mon#2. */
static int take_range(struct reader *reader)
{
    size_t start = reader->at;
    unsigned first, last, step;
    if (take_value(reader, &first) < 0)
        return -1;
    int rc = take_nth(reader, first);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    last = first;
    if (peek(reader) == '-') {
        if (take_last(reader, start, first, &last) < 0)
            return -1;
    } else if (peek(reader) == '/') {
        last = fields[reader->field].most;
    }
    if (take_step(reader, &step) < 0)
        return -1;
    set_bits(reader, first, last, step);
    return 0;
}

/* A star, with or without a step; or a question mark. */
static int take_all(struct reader *reader)
{
    const struct field *field = &fields[reader->field];
    unsigned step = 1;
    if (reader->text[reader->at++] == '*' && take_step(reader, &step) < 0)
        return -1;
    set_bits(reader, field->least, field->least + field->values - 1, step);
    return 0;
}

static bool is_last_day(const struct reader *reader)
{
    char c = peek(reader);
    return reader->field == DAY && (c == 'L' || c == 'l');
}

static int take_item(struct reader *reader)
{
    char c = peek(reader);
    bool is_mark = c == '?' && (reader->field == DAY || reader->field == WEEKDAY);
    if (c == '*' || is_mark)
        return take_all(reader);
    if (is_last_day(reader)) {
        reader->at++;
        reader->has_last_day = true;
        return 0;
    }
    if (c == '?')
        return wrong(reader, reader->at, "is for days only", fields[reader->field].expected);
    return take_range(reader);
}

static int take_field(struct reader *reader)
{
    char first = peek(reader);
    reader->is_open[reader->field] = first == '*' || first == '?';
    for (;;) {
        if (take_item(reader) < 0)
            return -1;
        char c = peek(reader);
        if (c == '\0' || is_blank(c))
            return 0;
        if (c != ',')
            return wrong(reader,
                         reader->at,
                         "does not belong here",
                         "a comma, a blank, or after a value - or / and a number");
        reader->at++;
    }
}

static void skip_blanks(struct reader *reader)
{
    while (is_blank(peek(reader)))
        reader->at++;
}

static void fill(const struct reader *reader, struct cron *cron)
{
    const uint64_t *sets = reader->sets;
    *cron = (struct cron){.minutes = sets[MINUTE],
                          .hours = (uint32_t)sets[HOUR],
                          .days = (uint32_t)sets[DAY],
                          .months = (uint16_t)sets[MONTH],
                          .weekdays = (uint8_t)sets[WEEKDAY],
                          .has_last_day = reader->has_last_day,
                          .is_either = !reader->is_open[DAY] && !reader->is_open[WEEKDAY],
                          .is_wild = reader->is_open[HOUR] || sets[HOUR] == (1u << 24) - 1};
    memcpy(cron->nth, reader->nth, sizeof cron->nth);
}

static int parse_fields(struct reader *reader, struct cron *cron)
{
    for (reader->field = 0; reader->field < FIELDS; reader->field++) {
        skip_blanks(reader);
        if (peek(reader) == '\0')
            return wrong(
                reader, reader->at, "", "five fields: minute, hour, day of month, month, weekday");
        if (take_field(reader) < 0)
            return -1;
    }
    skip_blanks(reader);
    if (peek(reader) != '\0')
        return wrong(reader,
                     reader->at,
                     "is a sixth field",
                     "five: minute, hour, day of month, month, weekday (seconds: @every 30s)");
    fill(reader, cron);
    return 0;
}

/* "1h30m" into microseconds. */
static int parse_every(struct reader *reader, struct cron *cron)
{
    static const char expected[] = "@every and a duration of whole seconds up to 366 days, as 90s, "
                                   "1h30m or 2d";
    static const char units[] = "smhd";
    static const int64_t seconds[] = {1, 60, 3600, 86400};
    int64_t total = 0, most = 366 * 86400;
    size_t start = reader->at;
    do {
        bool is_number = is_digit(peek(reader));
        unsigned value = take_number(reader, (unsigned)most);
        const char *unit = peek(reader) == '\0' ? NULL : strchr(units, peek(reader));
        if (!is_number || unit == NULL)
            return wrong(reader, start, "is no duration", expected);
        total += value * seconds[unit - units];
        reader->at++;
        if (total > most)
            return wrong(reader, start, "is too long", expected);
    } while (peek(reader) != '\0' && !is_blank(peek(reader)));
    if (total == 0)
        return wrong(reader, start, "is no time at all", expected);
    *cron = (struct cron){.every_us = total * 1000000, .is_wild = true};
    return 0;
}

static const struct {
    const char *name, *fields;
} macros[] = {
    {"yearly", "0 0 1 1 *"},
    {"annually", "0 0 1 1 *"},
    {"monthly", "0 0 1 * *"},
    {"weekly", "0 0 * * 0"},
    {"daily", "0 0 * * *"},
    {"midnight", "0 0 * * *"},
    {"hourly", "0 * * * *"},
};

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && strncasecmp(text, word, length) == 0;
}

/* The word after the @. */
static int parse_macro(struct reader *reader, struct cron *cron)
{
    size_t start = reader->at++;
    const char *word = reader->text + reader->at;
    size_t length = 0;
    while (is_letter(word[length]))
        length++;
    reader->at += length;
    bool is_whole = word[length] == '\0' || is_blank(word[length]);
    skip_blanks(reader);
    if (is_whole && is_word(word, length, "every"))
        return parse_every(reader, cron);
    for (size_t i = 0; is_whole && i < sizeof macros / sizeof *macros; i++) {
        struct reader other = {.text = macros[i].fields, .error = reader->error};
        if (is_word(word, length, macros[i].name))
            return parse_fields(&other, cron);
    }
    return wrong(reader,
                 start,
                 is_word(word, length, "reboot") ? "is not a time" : "is unknown",
                 "@yearly, @monthly, @weekly, @daily, @midnight, @hourly, or @every 90s");
}

int cron_parse(const char *text, struct cron *cron, struct mf_error *error)
{
    struct reader reader = {.text = text, .field = FIELDS, .error = error};
    struct cron value = {0};
    if (strlen(text) > CRON_TEXT_MAX)
        return mf_raise(error,
                        MF_EUSAGE,
                        "cron expression: it has %zu bytes; at most %u are expected",
                        strlen(text),
                        CRON_TEXT_MAX);
    skip_blanks(&reader);
    int rc = peek(&reader) == '@' ? parse_macro(&reader, &value) : parse_fields(&reader, &value);
    if (rc < 0)
        return -1;
    skip_blanks(&reader);
    if (peek(&reader) != '\0') {
        reader.field = FIELDS;
        return wrong(&reader, reader.at, "is too much", "nothing more");
    }
    if (value.every_us == 0 && calendar_after(&value, 0) == CALENDAR_NEVER)
        return mf_raise(error,
                        MF_EUSAGE,
                        "cron expression: \"%s\" never fires: no month of those given has such a "
                        "day; change the day of month, the month or the weekday",
                        text);
    *cron = value;
    return 0;
}
