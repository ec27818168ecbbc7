/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a job file: see value.h. Nothing here depends on the locale. */
#include "master/job/value.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits at *p: their value, *p behind them. -1 when there are none or they do not fit. */
static int take_digits(const char **p, uint64_t *out)
{
    uint64_t value = 0;
    if (!is_digit(**p))
        return -1;
    for (; is_digit(**p); (*p)++) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(**p - '0'), &value))
            return -1;
    }
    *out = value;
    return 0;
}

static int take_integer(const char **p, int64_t *out)
{
    bool is_negative = **p == '-';
    uint64_t value;
    if (is_negative || **p == '+')
        (*p)++;
    if (take_digits(p, &value) < 0 || value > (uint64_t)INT64_MAX + (is_negative ? 1 : 0))
        return -1;
    *out = is_negative ? (int64_t)(0 - value) : (int64_t)value;
    return 0;
}

/* "12" or "12.5" times `unit`, exact to the unit's last digit. */
static int scale(uint64_t whole, const char *fraction, size_t digits, uint64_t unit, uint64_t *out)
{
    uint64_t value, part = 0, divisor = 1;
    if (digits > 9 || __builtin_mul_overflow(whole, unit, &value))
        return -1;
    for (size_t i = 0; i < digits; i++) {
        part = part * 10 + (uint64_t)(fraction[i] - '0');
        divisor *= 10;
    }
    __extension__ unsigned __int128 more = (unsigned __int128)part * unit / divisor;
    return __builtin_add_overflow(value, (uint64_t)more, out) ? -1 : 0;
}

/* Digits, perhaps with a fraction; *p behind them. */
static int take_decimal(const char **p, uint64_t *whole, const char **fraction, size_t *digits)
{
    *digits = 0;
    if (take_digits(p, whole) < 0)
        return -1;
    if (**p != '.')
        return 0;
    *fraction = ++*p;
    while (is_digit(**p))
        (*p)++;
    *digits = (size_t)(*p - *fraction);
    return *digits == 0 ? -1 : 0;
}

int value_integer(const char *text, int64_t *out)
{
    int64_t value;
    if (take_integer(&text, &value) < 0 || *text != '\0')
        return -1;
    *out = value;
    return 0;
}

int value_number(const char *text, double *out)
{
    bool is_negative = *text == '-';
    uint64_t whole;
    const char *fraction = NULL;
    size_t digits;
    text += is_negative ? 1 : 0;
    if (take_decimal(&text, &whole, &fraction, &digits) < 0 || *text != '\0')
        return -1;
    double value = (double)whole, unit = 1;
    for (size_t i = 0; i < digits; i++) {
        unit /= 10;
        value += unit * (fraction[i] - '0');
    }
    *out = is_negative ? -value : value;
    return 0;
}

int value_bool(const char *text, bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *out = i % 2 == 1;
            return 0;
        }
    }
    return -1;
}

int value_duration(const char *text, uint64_t *us)
{
    static const struct {
        const char *name;
        uint64_t us;
    } units[] = {{"us", 1},
                 {"ms", 1000},
                 {"s", 1000000},
                 {"m", 60000000},
                 {"h", 3600000000ull},
                 {"d", 86400000000ull}};
    uint64_t total = 0;
    if (strcmp(text, "0") == 0) {
        *us = 0;
        return 0;
    }
    do {
        uint64_t whole, part = 0;
        const char *fraction = NULL;
        size_t digits, n = 0, unit = 0;
        if (take_decimal(&text, &whole, &fraction, &digits) < 0)
            return -1;
        while (text[n] >= 'a' && text[n] <= 'z')
            n++;
        for (; unit < sizeof units / sizeof *units; unit++) {
            if (strlen(units[unit].name) == n && memcmp(units[unit].name, text, n) == 0)
                break;
        }
        if (unit == sizeof units / sizeof *units ||
            scale(whole, fraction, digits, units[unit].us, &part) < 0 ||
            __builtin_add_overflow(total, part, &total))
            return -1;
        text += n;
    } while (*text != '\0');
    if (total > INT64_MAX / 4) /* times are added to clocks */
        return -1;
    *us = total;
    return 0;
}

int value_size(const char *text, uint64_t *bytes)
{
    static const char letters[] = "kmgtp";
    uint64_t whole, unit = 1, value;
    const char *fraction = NULL;
    size_t digits;
    if (take_decimal(&text, &whole, &fraction, &digits) < 0)
        return -1;
    char lower = (char)(*text >= 'A' && *text <= 'Z' ? *text + 32 : *text);
    const char *letter = lower == '\0' ? NULL : strchr(letters, lower);
    if (letter != NULL) {
        uint64_t step = text[1] == 'i' ? 1024 : 1000;
        for (const char *p = letters; p <= letter; p++)
            unit *= step;
        text += step == 1024 ? 2 : 1;
    }
    if (*text == 'B' || *text == 'b')
        text++;
    if (*text != '\0' || scale(whole, fraction, digits, unit, &value) < 0 || value > INT64_MAX)
        return -1;
    *bytes = value;
    return 0;
}

int value_share(const char *text, double *share)
{
    char number[32];
    double value;
    size_t n = strlen(text);
    if (n < 2 || n > sizeof number || text[n - 1] != '%')
        return -1;
    memcpy(number, text, n - 1);
    number[n - 1] = '\0';
    if (value_number(number, &value) < 0 || value < 0 || value > 100)
        return -1;
    *share = value / 100;
    return 0;
}

int value_range(const char *text, int64_t *first, int64_t *last, int64_t *step)
{
    int64_t from, to, by = 1;
    if (take_integer(&text, &from) < 0 || *text++ != '-' || take_integer(&text, &to) < 0)
        return -1;
    if (*text == ':') {
        text++;
        if (take_integer(&text, &by) < 0)
            return -1;
    }
    if (*text != '\0' || by == 0)
        return -1;
    *first = from;
    *last = to;
    *step = by;
    return 0;
}
