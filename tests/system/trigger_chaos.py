#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pushers race against a threshold while processes are killed: see trigger_chaos.sh, which prepares the queue and looks at
what came of it.

usage: trigger_chaos.py MAYFLY QUEUE MESSAGES KILLS SEED

Pushes the bodies 1 to MESSAGES from PUSHERS threads, each some at a time, and again when the process that pushed them was
killed (their bodies are their keys). A tick runs over and over. Meanwhile KILLS times a process is killed: one that
pushes or ticks, one that starts a master, or a master. Comes back when all is pushed and settled, and killed.
"""

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time

PUSHERS = 20
KILLS_OF_A_RUN = 4  # many more, and the sweep lets it rest for a minute
RUN_ID = re.compile(rb"[0-9]{8}-[0-9]{6}-[A-Za-z0-9_-]+-[0-9a-f]{4}")
LIMIT = float(os.environ.get("LIMIT_SECONDS", "60"))

mayfly, queue, messages, kills, seed = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
mark = f"XDG_STATE_HOME={os.environ['XDG_STATE_HOME']}\0".encode()
children = set()
lock = threading.Lock()
over = threading.Event()
bodies = iter(range(1, messages + 1))


def call(arguments, text=""):
    """Runs mayfly, open to be killed; whether it did what it should."""
    with subprocess.Popen([mayfly, *arguments], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as process:
        with lock:
            children.add(process.pid)
        said = process.communicate(text)[1]
        with lock:
            children.discard(process.pid)
    if process.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"mayfly {' '.join(arguments)}: exit code {process.returncode}: {said}")
    return process.returncode == 0


def push(number):
    rng = random.Random(seed * 1000 + number)
    while True:
        with lock:
            part = [str(body) for _, body in zip(range(rng.randint(1, 40)), bodies)]
        if not part:
            return
        while not call(["queue", "push", queue, "--unique", "--stdin", "--quiet"], "\n".join(part)):
            pass


def tick():
    while not over.is_set():
        call(["trigger", "tick"])
        over.wait(0.1)


def masters():
    """Process ids of starters and masters of this test, with their command lines."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                line = file.read().split(b"\0")
            if line[0].endswith(b"/mayfly") and line[1] in (b"submit", b"resume"):
                with open(f"/proc/{name}/environ", "rb") as file:
                    if mark in file.read() + b"\0":
                        found.append((int(name), b" ".join(line)))
        except (OSError, IndexError, ValueError):
            continue
    return sorted(found)


def choose(rng):
    """One of those that may be killed, with its command line; None when there is none now."""
    own = [(pid, b"") for pid in sorted(children)]
    kinds = [kind for kind in (masters(), own) if kind]
    return rng.choice(rng.choice(kinds)) if kinds else None


def kill_one(rng, killed_of):
    """Kills a process, if there is one; whether it did."""
    with lock:
        victim = choose(rng)
        run = RUN_ID.search(victim[1]) if victim else None
        run = run.group() if run else None
        if not victim or (run and killed_of.get(run, 0) >= KILLS_OF_A_RUN):
            return False
        try:
            os.kill(victim[0], signal.SIGKILL)
        except ProcessLookupError:
            return False
        killed_of[run] = killed_of.get(run, 0) + 1
        return True


def kill(count):
    rng, killed_of = random.Random(seed), {}
    while count > 0 and not over.is_set():
        time.sleep(rng.uniform(0.005, 0.08))
        count -= kill_one(rng, killed_of)
    of_runs = sum(n for run, n in killed_of.items() if run)
    print(f"killed: {sum(killed_of.values())}, {of_runs} of them starters and masters")


def standing():
    path = os.path.join(os.environ["XDG_STATE_HOME"], "mayfly", "queues.db")
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    row = db.execute("SELECT pushed, ready, claimed, done, (SELECT count(*) FROM firing WHERE state = 'open')"
                     " FROM queue WHERE name = ?", (queue,)).fetchone()
    db.close()
    return row


def main():
    pushers = [threading.Thread(target=push, args=(n,)) for n in range(PUSHERS)]
    killer, ticker = threading.Thread(target=kill, args=(kills,)), threading.Thread(target=tick)
    for thread in (*pushers, killer, ticker):
        thread.start()
    for thread in pushers:
        thread.join()
    # Nothing may stand still for long, however much there is to do.
    before, deadline = None, time.monotonic() + LIMIT
    while True:
        now = standing()
        if now[0] == messages and now[1] == now[2] == now[4] == 0:
            break
        if now != before:
            before, deadline = now, time.monotonic() + LIMIT
        if time.monotonic() > deadline:
            over.set()
            sys.exit(f"nothing goes on any more: pushed, ready, claimed, done, open firings are {now}")
        time.sleep(0.1)
    over.set()
    killer.join()
    ticker.join()


main()
