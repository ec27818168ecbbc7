#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the history of runs against what Mayfly guarantees, by two witnesses that know nothing of each other: run.db
with the files that it names, and the journals that the workers kept (MAYFLY_JOURNAL, worker/journal.h). It shares no
code with the scheduler and knows none of its states; each rule below is a query whose rows are violations.

    check.py check RUN_FOLDER JOURNALS [--finals FILE]...    one run; exit code 1 and a line for each violation
    check.py all STATE_FOLDER JOURNALS                       each run of $XDG_STATE_HOME that no master works at
    check.py finals RUN_FOLDER                               "EPOCH SUBTASK" of each final record, as it is now

The last is for tests that kill masters: taken between a kill and the next start, it says which subtasks no later epoch
may execute again, also those whose record no worker was ever told of. Clocks: order is taken from the monotonic one,
which all workers of one machine (its network namespaces included) share.
"""
import argparse
import fcntl
import glob
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import zlib

CAUSES = ("none", "exit", "signal", "timeout", "not started", "output too large", "output missing", "input missing",
          "input changed", "worker error", "cancelled", "lost", "poison")
TOLD = 10  # violations of one rule that are written out

TABLES = """
CREATE TABLE cause(number INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE joined(worker, line, mono, wall, epoch);
CREATE TABLE start(worker, line, mono, wall, subtask, attempt, epoch);
CREATE TABLE ended(worker, line, mono, wall, subtask, attempt, epoch, cause, exit_code, signal, bytes, crc, outputs,
                   outputs_crc);
CREATE TABLE acknowledged(worker, line, mono, wall, subtask, attempt, epoch, master);
CREATE TABLE finals(epoch, subtask);
CREATE TABLE row(subtask, attempt, epoch, worker, state, superseded, cause, exit_code, signal, ended_us, result_bytes,
                 crc, outputs, outputs_crc);
"""

# After all is read. `last_end`: a second end of an attempt on its worker counts instead of the first.
INDEXES = """
CREATE INDEX start_key ON start(subtask, attempt, epoch);
CREATE INDEX ended_key ON ended(subtask, attempt, epoch, worker, line);
CREATE INDEX row_key ON row(subtask, attempt, epoch);
CREATE INDEX joined_key ON joined(worker, line);
CREATE VIEW last_end AS
    SELECT *, max(line) FROM ended GROUP BY subtask, attempt, epoch, worker;
CREATE VIEW final AS SELECT * FROM row WHERE superseded = 0 AND state <> 'retried';
CREATE TABLE mended AS SELECT DISTINCT subtask FROM row WHERE superseded = 1;
"""

# (guarantee, sentence, query); {} are the columns of the query's rows. `run` is the row of run.db.
RULES = (
    ("G1", "subtask {} has {} final records",
     "SELECT subtask, count(*) FROM final GROUP BY subtask HAVING count(*) > 1"),
    ("G1", "subtask {} (attempt {}) is not in the plan of {} subtasks",
     "SELECT subtask, attempt, total FROM row, run WHERE subtask < 1 OR subtask > total"),
    ("G1", "subtask {} (attempt {}) is {} with the cause {}",
     "SELECT subtask, attempt, state, cause FROM row WHERE (state = 'done') <> (cause = 'none')"),
    ("G1", "the run says {} {}, the table has {}", """
        SELECT column1, said, found FROM (
            SELECT 'done' AS column1, run.done AS said, (SELECT count(*) FROM final WHERE state = 'done') AS found FROM run
            UNION ALL SELECT 'failed', run.failed, (SELECT count(*) FROM final WHERE state = 'failed') FROM run
            UNION ALL SELECT 'dead', run.dead, (SELECT count(*) FROM final WHERE state = 'dead') FROM run
            UNION ALL SELECT 'cancelled', run.cancelled, run.total - (SELECT count(*) FROM final) FROM run)
        WHERE found IS NOT NULL AND said <> found AND (SELECT is_over FROM run)"""),
    ("G1", "the run succeeded with {} of {} subtasks done",
     "SELECT (SELECT count(*) FROM final WHERE state = 'done') AS n, total FROM run WHERE state = 'succeeded' AND n <> total"),
    ("G2", "subtask {} attempt {} (epoch {}): recorded of worker {} as {}, which no worker has journaled", """
        SELECT subtask, attempt, epoch, worker, cause FROM row
        WHERE cause NOT IN ('poison', 'lost') AND NOT EXISTS (
            SELECT 1 FROM ended WHERE ended.subtask = row.subtask AND ended.attempt = row.attempt AND
                ended.epoch = row.epoch AND ended.worker = row.worker)"""),
    ("G2", "subtask {} attempt {} (epoch {}): recorded as {}, exit code {}, signal {}; worker {} journaled {}, {}, {}", """
        SELECT row.subtask, row.attempt, row.epoch, row.cause, row.exit_code, row.signal, row.worker, cause.name,
            last_end.exit_code, last_end.signal
        FROM row JOIN last_end USING (subtask, attempt, epoch, worker) LEFT JOIN cause ON number = last_end.cause
        WHERE row.cause <> 'poison' AND (row.cause IS NOT cause.name OR row.exit_code <> last_end.exit_code OR
            row.signal <> last_end.signal)"""),
    ("G2", "subtask {} attempt {} (epoch {}): {} bytes with the checksum {} are recorded; worker {} journaled {} bytes, {}", """
        SELECT row.subtask, row.attempt, row.epoch, row.result_bytes, row.crc, row.worker, bytes, last_end.crc
        FROM row JOIN last_end USING (subtask, attempt, epoch, worker)
        WHERE row.state = 'done' AND (row.result_bytes <> bytes OR row.crc IS NOT last_end.crc)"""),
    ("G2", "subtask {} attempt {} (epoch {}): {} outputs with the checksum {} are there; worker {} journaled {}, {}", """
        SELECT row.subtask, row.attempt, row.epoch, row.outputs, row.outputs_crc, row.worker, last_end.outputs,
            last_end.outputs_crc
        FROM row JOIN last_end USING (subtask, attempt, epoch, worker)
        WHERE row.state = 'done' AND
            (row.outputs <> last_end.outputs OR row.outputs_crc IS NOT last_end.outputs_crc)"""),
    ("G2", "subtask {} attempt {} (epoch {}) has ended on worker {} without having been started", """
        SELECT subtask, attempt, epoch, worker FROM ended JOIN cause ON number = cause
        WHERE name IN ('none', 'exit', 'signal', 'timeout', 'output too large', 'output missing') AND NOT EXISTS (
            SELECT 1 FROM start WHERE start.subtask = ended.subtask AND start.attempt = ended.attempt AND
                start.epoch = ended.epoch AND start.worker = ended.worker AND start.line < ended.line)"""),
    ("G2", "subtask {} attempt {} (epoch {}) was started {} times under the same fence, on workers {}", """
        SELECT subtask, attempt, epoch, count(*), group_concat(worker) FROM start GROUP BY subtask, attempt, epoch
        HAVING count(*) > 1"""),
    ("G3", "subtask {} attempt {} (epoch {}): worker {} was told in epoch {} that it is recorded, but there is no such row", """
        SELECT a.subtask, a.attempt, a.epoch, a.worker, a.master
        FROM acknowledged AS a LEFT JOIN last_end AS e USING (subtask, attempt, epoch, worker)
        LEFT JOIN cause ON number = e.cause
        WHERE coalesce(name, '') NOT IN ('cancelled', 'lost')
            AND NOT EXISTS (SELECT 1 FROM row WHERE row.subtask = a.subtask AND row.attempt = a.attempt AND
                row.epoch = a.epoch AND row.worker = a.worker)
            -- void: another attempt had won by then
            AND NOT EXISTS (SELECT 1 FROM row LEFT JOIN last_end AS w USING (subtask, attempt, epoch, worker)
                WHERE row.subtask = a.subtask AND row.state <> 'retried' AND
                    (w.mono <= a.mono OR (w.mono IS NULL AND row.ended_us <= a.wall)))
            -- or the run was cancelled
            AND NOT (EXISTS (SELECT 1 FROM run WHERE is_over AND state <> 'succeeded')
                AND NOT EXISTS (SELECT 1 FROM final WHERE final.subtask = a.subtask))"""),
    ("G3", "subtask {} attempt {} was started in epoch {} on worker {}, although a master of epoch {} had recorded its end", """
        SELECT DISTINCT s.subtask, s.attempt, s.epoch, s.worker, a.master
        FROM acknowledged AS a JOIN final AS f USING (subtask, attempt, epoch, worker)
        JOIN start AS s ON s.subtask = a.subtask AND s.epoch > a.master"""),
    ("G3", "subtask {} attempt {} was started in epoch {} on worker {}, although its final record is of epoch {} or before", """
        SELECT s.subtask, s.attempt, s.epoch, s.worker, min(finals.epoch)
        FROM finals JOIN start AS s ON s.subtask = finals.subtask AND s.epoch > finals.epoch
        WHERE s.subtask NOT IN (SELECT subtask FROM mended)
        GROUP BY s.subtask, s.attempt, s.epoch, s.worker"""),
    ("G3", "subtask {} had a final record in epoch {} and has none any more", """
        SELECT subtask, min(epoch) FROM finals
        WHERE subtask NOT IN (SELECT subtask FROM final) AND subtask NOT IN (SELECT subtask FROM mended)
        GROUP BY subtask"""),
    ("epochs", "subtask {} attempt {} is of epoch {}, the run has come to epoch {} only", """
        SELECT t.subtask, t.attempt, t.epoch, run.epoch FROM (
            SELECT subtask, attempt, epoch FROM row UNION SELECT subtask, attempt, epoch FROM start
            UNION SELECT subtask, attempt, epoch FROM ended) AS t, run
        WHERE t.epoch > run.epoch OR t.epoch < 1"""),
    ("epochs", "worker {} joined in epoch {} after it had joined in epoch {}", """
        SELECT worker, epoch, before FROM (
            SELECT worker, epoch, lag(epoch) OVER (PARTITION BY worker ORDER BY line) AS before FROM joined)
        WHERE epoch < before"""),
    ("epochs", "subtask {} attempt {} of epoch {} was started on worker {}, which no master of that epoch has let in", """
        SELECT subtask, attempt, epoch, worker FROM start WHERE epoch > coalesce((SELECT max(epoch) FROM joined
            WHERE joined.worker = start.worker AND joined.line < start.line), 0)"""),
    ("epochs", "worker {} was told of subtask {} attempt {} by a master of epoch {}, which had not let it in", """
        SELECT worker, subtask, attempt, master FROM acknowledged WHERE master <> coalesce((SELECT max(epoch) FROM joined
            WHERE joined.worker = acknowledged.worker AND joined.line < acknowledged.line), 0)"""),
    ("retries", "subtask {} attempt {} ({}) is superseded: it is of the last epoch, or was no dead letter", """
        SELECT subtask, attempt, row.state FROM row, run WHERE superseded = 1 AND
            (row.epoch >= run.epoch OR subtask NOT IN (
                SELECT subtask FROM row WHERE superseded = 1 AND state IN ('failed', 'dead')))"""),
)


class Damaged(Exception):
    """run.db cannot be read: nothing can be said."""


def file_crc(path, start=0):
    size, crc = 0, start
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            crc = zlib.crc32(data, crc)
            size += len(data)
    return size, crc


def outputs_of(folder):
    """How many files are below it, and the checksum over names and contents in the order of names."""
    names = []
    for parent, _, files in os.walk(os.fsencode(folder)):
        names += [os.path.relpath(os.path.join(parent, name), os.fsencode(folder)) for name in files]
    crc = 0
    for name in sorted(names):
        crc = file_crc(os.path.join(os.fsencode(folder), name), zlib.crc32(name + b"\0", crc))[1]
    return len(names), f"{crc:08x}"


class History:
    def __init__(self, folder):
        self.folder = folder
        self.violations = []
        self.db = sqlite3.connect(":memory:")
        self.db.executescript(TABLES)
        self.db.executemany("INSERT INTO cause VALUES(?, ?)", enumerate(CAUSES))

    def say(self, rule, text):
        self.violations.append(f"{rule}: {text}")

    def read_journals(self, journals):
        run_id = os.path.basename(os.path.normpath(self.folder))
        for path in sorted(glob.glob(os.path.join(glob.escape(journals), f"{run_id}-*.journal"))):
            worker = int(path[:-len(".journal")].rsplit("-", 1)[1])
            with open(path, "rb") as file:
                self.read_journal(path, worker, file.read())

    def read_journal(self, path, worker, data):
        shapes = {"joined": ("joined", 3), "start": ("start", 5), "end": ("ended", 12), "acknowledged": ("acknowledged", 6)}
        texts = {9: str, 11: str}  # the checksums
        rows = {kind: [] for kind in shapes}
        lines = data.split(b"\n")
        lines.pop()  # behind the last line feed: nothing, or a line that a full disk or a power cut has torn
        for number, line in enumerate(lines, 1):
            kind, *words = line.decode("ascii", "replace").split()
            if kind == "crash" and len(words) == 3:
                continue
            if kind not in shapes or len(words) != shapes[kind][1]:
                self.say("journal", f"{path}:{number} is malformed: {line[:80]!r}")
                continue
            rows[kind].append((worker, number, *(texts.get(i, int)(word) for i, word in enumerate(words))))
        for kind, (table, words) in shapes.items():
            self.db.executemany(f"INSERT INTO {table} VALUES({','.join('?' * (words + 2))})", rows[kind])

    def read_run(self):
        """Copies what is needed out of run.db; with a log beside it from a copy, so that nothing changes there."""
        source = os.path.join(self.folder, "run.db")
        with tempfile.TemporaryDirectory(prefix="mayfly-history.") as scratch:
            options = "mode=ro&immutable=1"
            if os.path.exists(source + "-wal"):
                for end in ("", "-wal"):
                    shutil.copyfile(source + end, os.path.join(scratch, "run.db") + end)
                source, options = os.path.join(scratch, "run.db"), "mode=rw"
            try:
                with sqlite3.connect(f"file:{source.replace('?', '%3f').replace('#', '%23')}?{options}", uri=True) as run:
                    self.copy_run(run)
            except sqlite3.DatabaseError as error:
                raise Damaged(f"{source} cannot be read: {error}") from error
            finally:
                run.close()

    def copy_run(self, run):
        columns = "state, reason, epoch, total, done, failed, dead, cancelled"
        self.db.execute("CREATE TABLE run(state, reason, epoch, total, done, failed, dead, cancelled, is_over)")
        for row in run.execute(f"SELECT {columns} FROM run"):
            over = row[0] in ("succeeded", "partial", "failed", "cancelled")
            self.db.execute("INSERT INTO run VALUES(?,?,?,?,?,?,?,?,?)", (*row, over))
        run.text_factory = bytes
        query = """SELECT id >> 16, id & 65535, epoch, worker, state, superseded, cause, exit_code, signal, ended_us,
            result_bytes, output_count, result FROM attempt ORDER BY id"""
        self.db.executemany(f"INSERT INTO row VALUES({','.join('?' * 14)})",
                            (self.attempt(*row) for row in run.execute(query)))

    def attempt(self, subtask, attempt, epoch, worker, state, superseded, cause, exit_code, signal, ended_us, size, outputs,
                result):
        state, cause = state.decode(), cause.decode()
        crc = outputs_crc = None
        if state == "done":
            place = os.path.join(self.folder, "outputs", str(subtask // 1000), str(subtask))
            if result is not None or size == 0:
                found, crc = len(result or b""), f"{zlib.crc32(result or b''):08x}"
            elif os.path.isfile(place + ".result"):
                found, crc = file_crc(place + ".result")
                crc = f"{crc:08x}"
            else:
                found = "no"
            if found != size:
                self.say("G2", f"subtask {subtask} attempt {attempt}: {size} bytes are recorded, {found} are there")
            there, outputs_crc = outputs_of(place)
            if there != outputs:
                self.say("G2", f"subtask {subtask} attempt {attempt}: {outputs} outputs are recorded, {there} are there")
        return (subtask, attempt, epoch, worker, state, superseded, cause, exit_code, signal, ended_us, size, crc, outputs,
                outputs_crc)

    def read_finals(self, path):
        with open(path, encoding="ascii") as file:
            self.db.executemany("INSERT INTO finals VALUES(?, ?)", (tuple(map(int, line.split())) for line in file))

    def check_summary(self):
        path = os.path.join(self.folder, "summary.json")
        over = self.db.execute("SELECT is_over, done, failed, dead, cancelled, total FROM run").fetchone()
        if over is None or not over[0] or not os.path.exists(path):
            return
        with open(path, encoding="utf-8") as file:
            said = json.load(file)["subtasks"]
        counts = {"done": over[1], "failed": over[2], "dead": over[3], "cancelled": over[4]}
        # A plan that was not finished has no total; of one that broke off, what was planned is said.
        total = sum(counts.values())
        is_right = said["total"] == total or (over[5] is None and said["total"] is None)
        if any(said[key] != counts[key] for key in counts) or not is_right:
            self.say("G1", f"summary.json says {said}, run.db {counts}")

    def check(self):
        self.db.executescript(INDEXES)
        for guarantee, sentence, query in RULES:
            found = self.db.execute(query).fetchall()
            for row in found[:TOLD]:
                self.say(guarantee, sentence.format(*row))
            if len(found) > TOLD:
                self.say(guarantee, f"... and {len(found) - TOLD} more of the kind")
        self.check_summary()
        return self.violations


def is_worked_at(folder):
    """Whether a master holds the run's lock."""
    try:
        with open(os.path.join(folder, "master.lock"), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def check_run(folder, journals, finals=()):
    history = History(folder)
    history.read_journals(journals)
    history.read_run()
    for path in finals:
        history.read_finals(path)
    return history.check()


def check_all(state, journals):
    violations = []
    for folder in sorted(glob.glob(os.path.join(glob.escape(state), "mayfly/runs/*/"))):
        if not os.path.exists(os.path.join(folder, "run.db")) or is_worked_at(folder):
            continue
        try:
            violations += [f"{os.path.basename(folder[:-1])}: {text}" for text in check_run(folder, journals)]
        except Damaged as damage:
            print(f"not checked: {damage}", file=sys.stderr)
    return violations


def print_finals(folder):
    history = History(folder)
    history.read_run()
    history.db.executescript(INDEXES)
    for row in history.db.execute("SELECT run.epoch, subtask FROM final, run"):
        print(*row)


def main():
    parser = argparse.ArgumentParser(description="Checks the history of runs against what Mayfly guarantees.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("check")
    one.add_argument("folder")
    one.add_argument("journals")
    one.add_argument("--finals", action="append", default=[])
    every = commands.add_parser("all")
    every.add_argument("state")
    every.add_argument("journals")
    commands.add_parser("finals").add_argument("folder")
    options = parser.parse_args()
    try:
        if options.command == "finals":
            print_finals(options.folder)
            return 0
        violations = (check_all(options.state, options.journals) if options.command == "all" else
                      check_run(options.folder, options.journals, options.finals))
    except Damaged as damage:
        print(f"check.py: {damage}", file=sys.stderr)
        return 2
    for violation in violations:
        print(violation)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
