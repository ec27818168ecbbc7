#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reckons what a run's hosts were used for from run.db, by docs/control.md alone, and compares it with summary.json.

Shares nothing with master/record/cost.c: between two stamps of a host each moment is looked at by itself.
usage: cost_check.py RUN_FOLDER"""
import json
import sqlite3
import sys

folder = sys.argv[1]
with open(f"{folder}/summary.json", encoding="utf-8") as file:
    summary = json.load(file)
db = sqlite3.connect(f"file:{folder}/run.db?mode=ro", uri=True)
end = db.execute("select ended_us from run").fetchone()[0]
hosts = {}
# Workers from Slurm have one place, and what is paid for is the nodes.
for number, host, slots, launched, joined, ended in db.execute(
    "select id, coalesce(case place when 'slurm' then host end, place, host) as name, slots,"
    " coalesce(launched_us, joined_us) as begun, joined_us, ended_us from worker"
    " where begun is not null and name is not null"
):
    ended = max(end if ended is None else ended, launched)
    (leaving,) = db.execute(
        "select min(wall_us) from event where worker = ? and kind in ('worker dismissed', 'worker lost')", [number]
    ).fetchone()
    leaving = ended if leaving is None else min(max(leaving, launched), ended)
    joined = leaving if joined is None else min(max(joined, launched), leaving)
    (busy,) = db.execute("select total(wall_us) from attempt where worker = ? and wall_us > 0", [number]).fetchone()
    hosts.setdefault(host, []).append((launched, joined, leaving, ended, slots or 1, busy))

keys = ("launching", "busy", "idle", "dismissing")
wanted = []
for host, workers in hosts.items():
    stamps = sorted({stamp for worker in workers for stamp in worker[:4]})
    time = dict.fromkeys(("launching", "ready", "dismissing", "slots"), 0)
    for begin, stop in zip(stamps, stamps[1:]):
        of = lambda first: [w for w in workers if w[first] <= begin and stop <= w[first + 1]]
        phase = "ready" if of(1) else "launching" if of(0) else "dismissing" if of(2) else None
        if phase:
            time[phase] += stop - begin
        time["slots"] += (stop - begin) * sum(w[4] for w in of(1))
    share = min(1, sum(w[5] for w in workers) / time["slots"]) if time["slots"] else 0
    busy = time["ready"] * share
    wanted.append(
        {
            "host": host,
            "workers": len(workers),
            "launching": time["launching"] / 1e6,
            "busy": busy / 1e6,
            "idle": (time["ready"] - busy) / 1e6,
            "dismissing": time["dismissing"] / 1e6,
        }
    )

cost = summary["cost"]
problems = []


def compare(name, got, want):
    for key in (*keys, "paid"):
        value = want[key] if key in want else sum(want[part] for part in keys)
        # Stamps are whole microseconds; each host's busy time is cut to one.
        if got[key] < 0 or abs(got[key] - value) > 2e-6 * (1 + len(wanted)):
            problems.append(f"{name}: {key} is {got[key]}, and was {value}")
    if got["workers"] != want["workers"]:
        problems.append(f"{name}: {got['workers']} workers, and there were {want['workers']}")


if [share["host"] for share in cost["hosts"]] != sorted(hosts):
    problems.append(f"hosts: {[share['host'] for share in cost['hosts']]}, and there were {sorted(hosts)}")
else:
    for got, want in zip(cost["hosts"], sorted(wanted, key=lambda share: share["host"])):
        compare(got["host"], got, want)
compare("all", cost, {key: sum(share[key] for share in wanted) for key in (*keys, "workers")})
for problem in problems:
    print(problem)
sys.exit(1 if problems else 0)
