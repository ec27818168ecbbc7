#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The history checker finds nothing in a history that is right, and each kind of violation where one was made by hand:
the last test asks that every rule has been broken once."""
import os
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check  # noqa: E402

SCHEMA = os.path.join(os.path.dirname(check.__file__), "../../master/record/schema.sql")
RUN = "20260102-030405-made-0001"
BIG = b"x" * 70000
ONE, THREE, FOUR, FIVE = b"one\n", b"three\n", b"four\n", b"five\n"
broken = set()  # indexes of the rules that a test has seen broken


def crc(data, start=0):
    return f"{zlib.crc32(data, start):08x}"


class Made:
    """Six subtasks on two workers, the master killed once. 1: done. 2: done with a large result and two outputs. 3: failed
    once, then done in the second epoch, where worker 1 was known from the first. 4: void on worker 1, which came second;
    done on worker 2. 5: dead, superseded, then done: somebody had asked. 6: poison."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "mayfly/runs", RUN)
        self.journals = os.path.join(folder, "journals")
        self.finals = os.path.join(folder, "finals")
        os.makedirs(self.folder)
        os.makedirs(self.journals)
        self.db = sqlite3.connect(os.path.join(self.folder, "run.db"))
        with open(SCHEMA, encoding="utf-8") as file:
            self.db.executescript(file.read())
        self.db.execute("""INSERT INTO run(one, schema_version, version, run_id, job_name, job, durability, state, epoch,
            high_water, total, done, failed, dead, cancelled, started_us)
            VALUES(1, 1, '0', ?, 'made', '', 'full', 'partial', 3, 10, 6, 5, 0, 1, 0, 1)""", (RUN,))
        self.row(1, 1, 1, 1, ONE)
        self.row(2, 1, 1, 2, None, size=len(BIG), outputs=2)
        self.row(3, 1, 1, 1, state="retried", cause="exit", exit_code=1)
        self.row(3, 2, 2, 1, THREE)
        self.row(4, 2, 1, 2, FOUR)
        self.row(5, 1, 2, 2, state="dead", cause="timeout", superseded=1)
        self.row(5, 2, 3, 2, FIVE)
        self.row(6, 1, 2, 2, state="dead", cause="poison")
        place = os.path.join(self.folder, "outputs/0/2")
        self.write(place + ".result", BIG)
        self.write(place + "/a", b"A")
        self.write(place + "/b/c", b"C")
        outputs = crc(b"b/c\0C", zlib.crc32(b"a\0A"))
        self.lines = {1: [], 2: []}
        self.clock = 1000
        for worker, line in (
                (1, "joined 1"), (2, "joined 1"),
                (1, "start 1 1 1"), (1, f"end 1 1 1 0 0 0 4 {crc(ONE)} 0 00000000"),
                (2, "start 2 1 1"), (2, f"end 2 1 1 0 0 0 {len(BIG)} {crc(BIG)} 2 {outputs}"),
                (1, "acknowledged 1 1 1 1"), (2, "acknowledged 2 1 1 1"),
                (1, "start 3 1 1"), (1, "end 3 1 1 1 1 0 0 00000000 0 00000000"), (1, "acknowledged 3 1 1 1"),
                (1, "start 4 1 1"), (2, "start 4 2 1"),
                (2, f"end 4 2 1 0 0 0 5 {crc(FOUR)} 0 00000000"), (2, "acknowledged 4 2 1 1"),
                (1, f"end 4 1 1 0 0 0 5 {crc(FOUR)} 0 00000000"), (1, "acknowledged 4 1 1 1"),
                (1, "joined 2"), (2, "joined 2"),
                (1, "start 3 2 2"), (1, f"end 3 2 2 0 0 0 6 {crc(THREE)} 0 00000000"),
                (1, "acknowledged 3 2 2 2"),
                (2, "start 5 1 2"), (2, "end 5 1 2 3 0 15 0 00000000 0 00000000"), (2, "acknowledged 5 1 2 2"),
                (2, "start 6 1 2"),
                (2, "joined 3"),
                (2, "start 5 2 3"), (2, f"end 5 2 3 0 0 0 5 {crc(FIVE)} 0 00000000"),
                (2, "acknowledged 5 2 3 3")):
            self.say(worker, line)
        self.db.execute("UPDATE attempt SET signal = 15 WHERE cause = 'timeout'")
        self.taken = "1 1\n1 2\n1 4\n2 3\n2 6\n"

    def row(self, subtask, attempt, epoch, worker, result=None, size=None, outputs=0, state="done", cause="none",
            exit_code=0, superseded=0):
        size = len(result or b"") if size is None else size
        self.db.execute("""INSERT INTO attempt(id, state, superseded, cause, exit_code, signal, epoch, worker, ended_us,
            wall_us, user_us, system_us, peak_kib, result_bytes, output_count, output_bytes, result)
            VALUES(?, ?, ?, ?, ?, 0, ?, ?, 5, 1, 1, 1, 1, ?, ?, 0, ?)""",
                        (subtask << 16 | attempt, state, superseded, cause, exit_code, epoch, worker, size, outputs, result))

    def write(self, path, data):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)

    def say(self, worker, line):
        self.clock += 1
        kind, rest = line.split(" ", 1)
        self.lines[worker].append(f"{kind} {self.clock} {self.clock + 10**15} {rest}")

    def drop(self, worker, kind, rest):
        """Removes a line, whatever its stamps are."""
        kept = [line for line in self.lines[worker] if not (line.startswith(kind) and line.endswith(f" {rest}"))]
        assert len(kept) == len(self.lines[worker]) - 1, (kind, rest)
        self.lines[worker] = kept

    def change(self, worker, part, other):
        assert any(part in line for line in self.lines[worker]), part
        self.lines[worker] = [line.replace(part, other) for line in self.lines[worker]]

    def save(self):
        self.db.commit()
        self.db.close()
        for worker, lines in self.lines.items():
            self.write(os.path.join(self.journals, f"{RUN}-{worker}.journal"), "".join(f"{line}\n" for line in lines).encode())
        self.write(self.finals, self.taken.encode())


class TestCheck(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="mayfly-check.")
        self.addCleanup(self.scratch.cleanup)
        self.made = Made(self.scratch.name)

    def found(self):
        self.made.save()
        violations = check.check_run(self.made.folder, self.made.journals, [self.made.finals])
        for violation in violations:
            for number, (guarantee, sentence, _) in enumerate(check.RULES):
                words = [part for part in sentence.split("{}") if len(part) > 3]
                if violation.startswith(guarantee + ":") and all(word in violation for word in words):
                    broken.add(number)
        return violations

    def assert_found(self, part, *others):
        """This is what is found, and besides it only what follows from it."""
        found = self.found()
        self.assertTrue(any(part in violation for violation in found), found)
        for violation in found:
            self.assertTrue(any(each in violation for each in (part, *others)), violation)

    def test_a_right_history(self):
        self.assertEqual(self.found(), [])

    def test_two_final_records(self):
        self.made.row(1, 2, 1, 1, ONE)
        self.made.say(1, "start 1 2 1")
        self.made.say(1, f"end 1 2 1 0 0 0 4 {crc(ONE)} 0 00000000")
        self.assert_found("G1: subtask 1 has 2 final records", "the run says", "is not let in", "which no master",
                          "summary")

    def test_a_subtask_beyond_the_plan(self):
        self.made.db.execute("UPDATE run SET total = 5, dead = 0")
        self.assert_found("G1: subtask 6 (attempt 1) is not in the plan of 5 subtasks", "the run says")

    def test_done_with_a_cause(self):
        self.made.db.execute("UPDATE attempt SET cause = 'exit' WHERE subtask = 1")
        self.assert_found("G1: subtask 1 (attempt 1) is done with the cause exit", "recorded as exit")

    def test_wrong_counts(self):
        self.made.db.execute("UPDATE run SET done = 6")
        self.assert_found("G1: the run says done 6, the table has 5")

    def test_a_lost_record(self):
        self.made.db.execute("DELETE FROM attempt WHERE subtask = 2")
        found = self.found()
        self.assertIn("G1: the run says cancelled 0, the table has 1", found)
        self.assertIn("G3: subtask 2 had a final record in epoch 1 and has none any more", found)

    def test_success_without_all(self):
        self.made.db.execute("UPDATE run SET state = 'succeeded'")
        self.assert_found("G1: the run succeeded with 5 of 6 subtasks done")

    def test_another_summary(self):
        self.made.write(os.path.join(self.made.folder, "summary.json"),
                        b'{"subtasks": {"total": 6, "done": 4, "failed": 0, "dead": 2, "cancelled": 0}}')
        self.assert_found("G1: summary.json says")

    def test_a_row_of_no_execution(self):
        self.made.drop(1, "end", f"1 1 1 0 0 0 4 {crc(ONE)} 0 00000000")
        self.assert_found("G2: subtask 1 attempt 1 (epoch 1): recorded of worker 1 as none, which no worker has")

    def test_a_row_of_another_worker(self):
        self.made.db.execute("UPDATE attempt SET worker = 2 WHERE subtask = 1")
        self.assert_found("G2: subtask 1 attempt 1 (epoch 1): recorded of worker 2", "G3: subtask 1 attempt 1 (epoch 1)")

    def test_another_cause(self):
        self.made.db.execute("UPDATE attempt SET exit_code = 2 WHERE subtask = 3 AND state = 'retried'")
        self.assert_found("G2: subtask 3 attempt 1 (epoch 1): recorded as exit, exit code 2, signal 0; worker 1 journaled "
                          "exit, 1, 0")

    def test_another_result(self):
        self.made.db.execute("UPDATE attempt SET result = CAST('two' || char(10) AS BLOB) WHERE subtask = 1")
        self.assert_found("G2: subtask 1 attempt 1 (epoch 1): 4 bytes with the checksum")

    def test_another_large_result(self):
        self.made.write(os.path.join(self.made.folder, "outputs/0/2.result"), BIG[:-1] + b"y")
        self.assert_found("G2: subtask 2 attempt 1 (epoch 1): 70000 bytes with the checksum")

    def test_no_large_result(self):
        os.unlink(os.path.join(self.made.folder, "outputs/0/2.result"))
        self.assert_found("G2: subtask 2 attempt 1: 70000 bytes are recorded, no are there", "with the checksum")

    def test_another_output(self):
        self.made.write(os.path.join(self.made.folder, "outputs/0/2/b/c"), b"D")
        self.assert_found("G2: subtask 2 attempt 1 (epoch 1): 2 outputs with the checksum")

    def test_an_output_less(self):
        os.unlink(os.path.join(self.made.folder, "outputs/0/2/a"))
        self.assert_found("G2: subtask 2 attempt 1: 2 outputs are recorded, 1 are there", "outputs with the checksum")

    def test_an_end_without_a_start(self):
        self.made.drop(2, "start", "2 1 1")
        self.assert_found("G2: subtask 2 attempt 1 (epoch 1) has ended on worker 2 without having been started")

    def test_one_fence_twice(self):
        self.made.say(2, "start 1 1 1")
        self.assert_found("G2: subtask 1 attempt 1 (epoch 1) was started 2 times under the same fence, on workers 1,2")

    def test_an_acknowledged_result_that_is_not_there(self):
        self.made.db.execute("DELETE FROM attempt WHERE subtask = 3 AND state = 'retried'")
        self.assert_found("G3: subtask 3 attempt 1 (epoch 1): worker 1 was told in epoch 1 that it is recorded, but")

    def test_an_acknowledged_result_that_lost_only_later(self):
        """As it would be after a crash that took a row with it: the other attempt was only started then."""
        self.made.db.execute("DELETE FROM attempt WHERE subtask = 1")
        self.made.row(1, 2, 2, 1, ONE)
        self.made.say(1, "start 1 2 2")
        self.made.say(1, f"end 1 2 2 0 0 0 4 {crc(ONE)} 0 00000000")
        self.made.taken = ""
        self.assert_found("G3: subtask 1 attempt 1 (epoch 1): worker 1 was told in epoch 1 that it is recorded, but")

    def test_an_execution_after_an_acknowledged_end(self):
        self.made.say(2, "start 1 2 2")
        self.made.taken = ""
        self.assert_found("G3: subtask 1 attempt 2 was started in epoch 2 on worker 2, although a master of epoch 1 had")

    def test_an_execution_after_a_final_record_that_nobody_was_told_of(self):
        self.made.drop(1, "acknowledged", "1 1 1 1")
        self.made.say(2, "start 1 2 2")
        self.assert_found("G3: subtask 1 attempt 2 was started in epoch 2 on worker 2, although its final record is of epoch")

    def test_a_final_record_that_is_gone(self):
        self.made.taken += "1 7\n"
        self.assert_found("G3: subtask 7 had a final record in epoch 1 and has none any more")

    def test_an_epoch_that_was_not(self):
        self.made.db.execute("UPDATE attempt SET epoch = 4 WHERE subtask = 6")
        self.assert_found("epochs: subtask 6 attempt 1 is of epoch 4, the run has come to epoch 3 only")

    def test_an_epoch_that_falls(self):
        self.made.say(1, "joined 1")
        self.assert_found("epochs: worker 1 joined in epoch 1 after it had joined in epoch 2")

    def test_a_start_before_its_epoch(self):
        self.made.drop(1, "joined", "2")
        self.assert_found("epochs: subtask 3 attempt 2 of epoch 2 was started on worker 1, which no master",
                          "epochs: worker 1 was told of subtask 3 attempt 2 by a master of epoch 2")

    def test_told_by_another_epoch(self):
        self.made.change(1, " 3 2 2 2", " 3 2 2 3")
        self.assert_found("epochs: worker 1 was told of subtask 3 attempt 2 by a master of epoch 3, which had not let it in")

    def test_superseded_in_the_last_epoch(self):
        self.made.db.execute("UPDATE run SET epoch = 2")
        self.made.taken = ""
        self.assert_found("retries: subtask 5 attempt 1 (dead) is superseded: it is", "epochs: subtask 5 attempt 2 is of")

    def test_superseded_though_it_was_done(self):
        self.made.db.execute("UPDATE attempt SET superseded = 1 WHERE subtask = 1")
        self.assert_found("retries: subtask 1 attempt 1 (done) is superseded: it is", "the run says")

    def test_a_malformed_journal(self):
        self.made.lines[1].append("end 1 2 3")
        self.assert_found("journal: ", )

    def test_a_torn_last_line(self):
        self.made.lines[1].append("start 1 2 3")
        self.made.save()
        path = os.path.join(self.made.journals, f"{RUN}-1.journal")
        os.truncate(path, os.path.getsize(path) - 3)
        self.assertEqual(check.check_run(self.made.folder, self.made.journals), [])

    def test_the_finals_are_told(self):
        self.made.save()
        said = subprocess.run([check.__file__, "finals", self.made.folder], stdout=subprocess.PIPE, check=True, text=True)
        self.assertEqual(sorted(said.stdout.split("\n")), ["", "3 1", "3 2", "3 3", "3 4", "3 5", "3 6"])

    def test_all_runs_of_a_state_folder(self):
        self.made.db.execute("UPDATE run SET done = 6")
        self.made.save()
        said = subprocess.run([check.__file__, "all", self.scratch.name, self.made.journals], stdout=subprocess.PIPE,
                              check=False, text=True)
        self.assertEqual(said.returncode, 1)
        self.assertEqual(said.stdout, f"{RUN}: G1: the run says done 6, the table has 5\n")

    def test_a_database_that_is_none(self):
        self.made.save()
        self.made.write(os.path.join(self.made.folder, "run.db"), b"no database, but a text of some length" * 100)
        with self.assertRaises(check.Damaged):
            check.check_run(self.made.folder, self.made.journals)


def tearDownModule():
    if len(broken) < len(check.RULES) and len(sys.argv) == 1:
        raise AssertionError(f"never broken: {[check.RULES[i][1] for i in range(len(check.RULES)) if i not in broken]}")


if __name__ == "__main__":
    unittest.main()
