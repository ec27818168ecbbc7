#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Expressions made at random, and what python3-croniter says of them, in UTC.

Both are asked for the next times of each, and for all of a year for some: there ours come from ticks, each minute,
as they do in earnest. Prints each difference; exit code 1 when there is one.

Left out, because croniter (1.3.5) differs on purpose or by its limits (docs/triggers.md names those that users may
meet):
  - a step of all days (*/2) with a restricted other field of days: for croniter one that fits is enough, for cron (and
    us) a field that begins with a star does not restrict, so that both have to fit;
  - all days named one by one (1-31, 0-6) with a restricted other field: for croniter that is a star;
  - mon#2 with a restricted day of month: croniter looks at the weekday alone;
  - mon#2 beside other weekdays: croniter refuses it;
  - the last Friday is l5 there, 5L here;
  - weekdays over the end of the week (fri-mon): croniter knows but fri-sun;
  - steps longer than the field has values: refused here, croniter takes the first value.

Where they differ and days that not every month has are named (29 to 31, L beside others), a third and slow reckoning
decides: there croniter passes over the first days of the next month (`*/30` after 15 February: the 31st would be 3 March,
so it goes on from there), and finds nothing for `31` in April or a weekday.
"""
import argparse
import datetime
import os
import random
import subprocess
import sys

try:
    from croniter import croniter
    from croniter.croniter import CroniterBadDateError
except ImportError:
    print("SKIPPED: there is no python3-croniter")
    sys.exit(1 if os.environ.get("CI") == "true" else 77)

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()
FIELDS = [(0, 59, None), (0, 23, None), (1, 31, None), (1, 12, MONTHS), (0, 6, WEEKDAYS)]
YEAR = 1735689600, 1767225600  # 2025


def value(rng, field, number):
    names = FIELDS[field][2]
    if names is None or rng.random() < 0.5:
        if field == 4 and number == 0 and rng.random() < 0.3:
            return "7"
        return str(number)
    name = names[number - FIELDS[field][0]]
    return rng.choice([name, name.upper(), name.capitalize()])


def item(rng, field):
    low, high, _ = FIELDS[field]
    kind = rng.random()
    first = rng.randint(low, high)
    if kind < 0.55:
        return value(rng, field, first)
    last = rng.randint(first, high)
    text = f"{first}-{last}" if field == 4 else f"{value(rng, field, first)}-{value(rng, field, last)}"
    if kind < 0.8:
        return text
    if kind < 0.95:
        return f"{text}/{rng.randint(1, high - low + 1)}"
    return f"{first}/{rng.randint(1, high - low + 1)}"


def field_text(rng, field, star):
    low, high, _ = FIELDS[field]
    kind = rng.random()
    if kind < star:
        return "*"
    if kind < star + 0.1:
        return f"*/{rng.randint(1, high - low + 1)}"
    return ",".join(item(rng, field) for _ in range(rng.choice([1, 1, 1, 2, 3])))


def days_text(rng):
    text = field_text(rng, 2, 0.5)
    if text[0] != "*" and rng.random() < 0.2:
        return rng.choice(["L", text + ",L"])
    return text


def weekday_text(rng):
    if rng.random() < 0.15:
        name = value(rng, 4, rng.randint(0, 6))
        return rng.choice([f"{name}#{rng.randint(1, 5)}", f"{rng.randint(0, 6)}L"])
    return field_text(rng, 4, 0.5)


def is_full(text, field):
    return croniter("0 0 " + ("* * " + text if field == 4 else text + " * *")).expanded[field] == ["*"]


def is_different(days, weekdays):
    """What is left out, see above."""
    special = "#" in weekdays or "L" in weekdays
    if days == "*" or weekdays == "*":
        return False
    if special:
        return True
    starred = days[0] == "*" or weekdays[0] == "*"
    return starred or is_full(days, 2) or is_full(weekdays, 4)


def expression(rng):
    while True:
        days, weekdays = days_text(rng), weekday_text(rng)
        if is_different(days, weekdays):
            continue
        minutes, hours, months = field_text(rng, 0, 0.15), field_text(rng, 1, 0.3), field_text(rng, 3, 0.6)
        blank = rng.choice([" ", " ", "  ", "\t"]) if rng.random() < 0.1 else " "
        return (" " if blank == "\t" else blank).join([minutes, hours, days, months, weekdays])


def for_croniter(text):
    fields = text.split()
    if text[0] == "@":
        return text
    if fields[4].endswith("L"):
        fields[4] = "l" + fields[4][:-1]
    return " ".join(fields)


def theirs_next(text, start, count):
    times = []
    iterator = croniter(for_croniter(text), start)
    try:
        for _ in range(count):
            times.append(int(iterator.get_next(float)))
    except CroniterBadDateError:
        pass
    return times


def theirs_until(text, start, end):
    times = []
    iterator = croniter(for_croniter(text), start)
    while True:
        try:
            at = int(iterator.get_next(float))
        except CroniterBadDateError:
            return times
        if at > end:
            return times
        times.append(at)


def ask(program, questions):
    text = "".join(q + "\n" for q in questions)
    return subprocess.run([program], input=text, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]


def is_same(answer, theirs, count, start):
    if answer.startswith("error"):
        return not theirs and "never fires" in answer
    ours = [int(t) for t in answer.split()]
    if len(theirs) < count:  # croniter looks 50 years ahead
        rest = ours[len(theirs):]
        return ours[:len(theirs)] == theirs and rest[0] - (theirs or [start])[-1] > 49 * 365 * 86400
    return ours == theirs


def numbers(text, field):
    """The values of one field, read as simply as can be."""
    low, high, names = FIELDS[field]
    found = set()
    for part in text.lower().split(","):
        for i, name in enumerate(names or []):
            part = part.replace(name, str(low + i))
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if first == "l":
            continue
        top = 7 if field == 4 else high
        begin, end = (low, top) if first == "*" else (int(first), int(last or (top if step else first)))
        found.update(n % 7 if field == 4 else n for n in range(begin, end + 1, int(step or 1)))
    return found


def slowly(text, start, count):
    """Day for day; no mon#2 or 5L."""
    fields = text.split()
    minutes, hours, days, months, weekdays = (numbers(fields[i], i) for i in range(5))
    either = fields[2][0] != "*" and fields[4][0] != "*"
    is_last = "L" in fields[2]
    times = []
    day = datetime.date(1970, 1, 1) + datetime.timedelta(days=start // 86400)
    while len(times) < count:
        fits = day.day in days or (is_last and (day + datetime.timedelta(days=1)).day == 1)
        fits_weekday = day.isoweekday() % 7 in weekdays
        if day.month in months and (fits or fits_weekday if either else fits and fits_weekday):
            midnight = (day - datetime.date(1970, 1, 1)).days * 86400
            times += [midnight + h * 3600 + m * 60 for h in sorted(hours) for m in sorted(minutes)]
            times = [t for t in times if t > start]
        day += datetime.timedelta(days=1)
    return times[:count]


def is_known(text, answer, start, count):
    fields = text.split()
    if "#" in fields[4] or "L" in fields[4] or answer.startswith("error"):
        return False
    names_rare = max(numbers(fields[2], 2) or {31}) > 28
    return names_rare and [int(t) for t in answer.split()] == slowly(text, start, count)


def compare_next(program, rng, args):
    cases = []
    for _ in range(args.expressions):
        start = rng.randint(0, 4102444800)  # 1970 to 2100
        cases.append((expression(rng), start, args.times))
    answers = ask(program, [f"next\t{start}\t{count}\t{text}" for text, start, count in cases])
    assert len(answers) == len(cases)
    wrong = compared = known = 0
    for (text, start, count), answer in zip(cases, answers):
        theirs = theirs_next(text, start, count)
        compared += len(theirs)
        if is_same(answer, theirs, count, start):
            continue
        if is_known(text, answer, start, count):
            known += 1
        else:
            wrong += 1
            print(f"{text!r} after {start}:\n  ours     {answer}\n  croniter {theirs}")
    print(f"{len(cases)} expressions, {compared} times: {wrong} differ, {known} where croniter is known to be wrong")
    wrong += known > len(cases) // 100
    return wrong


YEARLY = ["0 2 * * mon-fri", "*/15 9-17 * * mon-fri", "0 0 L * *", "0 9 * * mon#2", "30 4 1,15 * 5", "0 0 29 2 *", "5 */6 * * *",
          "0 22 * * 5L", "@daily", "@weekly", "@monthly", "@hourly", "@yearly", "59 23 31 12 *", "0 12 * * sat,sun"]


def compare_year(program, rng, args):
    texts = YEARLY + [expression(rng) for _ in range(args.yearly)]
    texts = [t for t in texts if len(theirs_until(t, YEAR[0], YEAR[0] + 8 * 86400)) < 800]
    answers = ask(program, [f"ticks\t{YEAR[0]}\t{YEAR[1]}\t{text}" for text in texts])
    assert len(answers) == len(texts)
    wrong = compared = known = 0
    for text, answer in zip(texts, answers):
        theirs = theirs_until(text, *YEAR)
        compared += len(theirs)
        ours = [] if answer.startswith("error: cron expression: ") and not theirs else [int(t) for t in answer.split()]
        if ours == theirs:
            continue
        after = slowly(text, YEAR[1], 1)[0] if ours and is_known(text, answer, YEAR[0], len(ours)) else 0
        if after and slowly(text, ours[-1], 1) == [after]:  # and it is all of the year
            known += 1
        else:
            wrong += 1
            print(f"{text!r} in 2025: ours {len(ours)}, croniter {len(theirs)}; only one of them:",
                  sorted(set(ours) ^ set(theirs))[:10])
    print(f"{len(texts)} expressions through a year, {compared} firings: {wrong} differ, {known} where croniter is known to be wrong")
    return wrong + (known > len(texts) // 10)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--expressions", type=int, default=1000)
    parser.add_argument("--times", type=int, default=12)
    parser.add_argument("--yearly", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    wrong = compare_next(args.program, rng, args) + compare_year(args.program, rng, args)
    sys.exit(1 if wrong else 0)


main()
