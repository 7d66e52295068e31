"""test_complete - rows of a handler, the end of its job and the result in one transaction: in C, and by SQL alone"""
import os
import sys
import unittest

import psycopg2

from mesh import ROOT, eventually
from queue_mesh import QueueTest


class Complete(QueueTest):
    def begin(self):
        super().begin()
        self.notes = self.start_notes()
        self.known("notes", "export")

    def start_notes(self):
        return self.mesh.start("notes", WEFT_DATABASE_URL=self.url)

    def exports(self):
        return self.database.sql("SELECT id, notes FROM exports ORDER BY id")

    def add_notes(self, count):
        self.database.sql("INSERT INTO notes (title, text) SELECT 'n' || i, '' FROM generate_series(1, %d) i" % count)

    def lock(self, table):
        connection = psycopg2.connect(self.url)
        connection.cursor().execute("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE" % table)
        self.addCleanup(connection.close)
        return connection

    # ---- in C ----

    def test_an_export_as_a_job(self):
        self.add_notes(250)
        job = self.enqueue("export", {}, service="notes")
        done = self.ends(job, "succeeded")
        (id, notes), = self.exports()
        self.assertEqual((done["result"]["id"], done["result"]["notes"], notes), (id, 250, 250))
        self.assertEqual((done["max_attempts"], done["timeout_ms"]), (5, 600000))  # as the method says
        day, = self.database.sql("SELECT extract(epoch FROM expires_at - finished_at) FROM weft_job_done")
        self.assertEqual(int(day[0]), 86400)
        self.assertEqual(self.states(), {"succeeded": 1})

    def test_its_progress(self):
        self.add_notes(150)
        lock = self.lock("exports")  # the end has to wait
        job = self.enqueue("export", {}, service="notes")
        eventually(lambda: [self.get(job).get(key) for key in ("progress", "state")] == [{"notes": 150, "total": 150}, "running"],
                   what="its progress is seen while it runs")  # an attempt that waits for the lock for 5 s is over
        lock.rollback()
        self.ends(job, "succeeded")

    def test_a_handler_that_dies_before_its_end_leaves_nothing(self):
        self.add_notes(10)
        lock = self.lock("exports")
        job = self.enqueue("export", {}, service="notes")
        eventually(lambda: self.database.sql("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE "
                                             "'INSERT INTO exports%'"), what="it is about to end")
        self.notes.kill()
        self.start_notes()
        lock.rollback()
        done = self.ends(job, "succeeded", timeout=40)
        self.assertEqual(self.exports(), [(done["result"]["id"], 10)])
        self.assertEqual(done["attempt"], 2)
        self.consistent()

    def test_a_handler_that_sleeps_through_its_fence_changes_nothing(self):
        self.add_notes(10)
        lock = self.lock("notes")
        job = self.enqueue("export", {}, service="notes")
        eventually(lambda: self.database.sql("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE "
                                             "'%FROM notes%'"), what="it runs")
        self.notes.signal(19)  # SIGSTOP: lost to the broker within seconds
        self.start_notes()
        lock.rollback()
        done = self.ends(job, "succeeded", timeout=40)
        self.assertEqual(done["attempt"], 2)
        self.notes.signal(18)
        eventually(lambda: self.notes.ready(), what="it is awake")
        eventually(lambda: self.notes.metric("weft_handler_in_flight") == 0, what="its attempt has ended")
        self.assertEqual(self.exports(), [(done["result"]["id"], 10)])
        self.assertEqual(self.get(job)["result"], done["result"])
        self.consistent()

    def test_a_cancel_ends_its_query(self):
        lock = self.lock("notes")
        job = self.enqueue("export", {}, service="notes")
        waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FROM notes%'"
        eventually(lambda: self.database.sql(waits), what="it runs")
        self.jobs("cancel", id=job["id"])
        self.ends(job, "cancelled", "CANCELLED")
        eventually(lambda: not self.database.sql(waits), what="its query was cancelled")
        lock.rollback()
        self.assertEqual(self.exports(), [])

    def test_a_replica_that_leaves_puts_back_what_takes_too_long(self):
        leaver = self.replica(WEFT_DRAIN_MS="500")  # well before the lock makes the attempt fail, after 5 s
        self.replicas[0].kill()
        eventually(lambda: self.mesh.service("jobs").get("workers") == 1, what="the broker knows that one is gone")
        eventually(lambda: self.count("lease_until > now()", "weft_job_replica") == 1, what="so does the other")
        self.add_notes(10)
        lock = self.lock("exports")
        job = self.enqueue("export", {}, service="notes")
        eventually(lambda: self.get(job).get("progress"), what="it runs")
        self.assertEqual(leaver.stop(), 0)
        self.assertEqual(self.database.sql("SELECT attempts, lost FROM weft_job WHERE state <> 1"), [(0, 1)])
        lock.rollback()
        self.replica()
        done = self.ends(job, "succeeded", timeout=40)
        self.assertEqual(done["attempt"], 1)  # none was used up
        self.assertEqual(self.exports(), [(done["result"]["id"], 10)])
        self.consistent()

    # ---- by SQL ----

    def ledger(self):
        process = self.mesh.spawn("ledger", [sys.executable, "-B", ROOT / "tests/integration/sql_worker.py", self.mesh.back,
                                             self.url])
        process.expected = "may die"
        eventually(lambda: self.mesh.service("ledger").get("workers", 0) > 0, what="the ledger is there")
        self.known("ledger", "book")
        return process

    def booked(self):
        return [row[0] for row in self.database.sql("SELECT amount FROM ledger")]

    def test_any_language_by_sql(self):
        self.database.sql("CREATE TABLE ledger (amount int)")
        self.ledger()
        done = self.ends(self.enqueue("book", {"amount": 7}, service="ledger"), "succeeded")
        self.assertEqual((done["result"], self.booked()), ({"booked": 7}, [7]))

    def test_a_worker_that_dies_behind_its_commit_has_done_its_job(self):
        self.database.sql("CREATE TABLE ledger (amount int)")
        ledger = self.ledger()
        job = self.enqueue("book", {"amount": 8, "dies": True}, service="ledger")
        ledger.wait()
        done = self.ends(job, "succeeded")
        self.assertEqual((done["result"], done["attempt"], self.booked()), ({"booked": 8}, 1, [8]))
        self.consistent()

    def test_an_old_fence_by_sql(self):
        self.database.sql("CREATE TABLE ledger (amount int)")
        ledger = self.ledger()
        gate, refused = self.path("gate"), self.path("refused")
        job = self.enqueue("book", {"amount": 9, "late": gate, "refused": refused}, service="ledger")
        eventually(lambda: self.mesh.outstanding("ledger") == 1, what="it runs")
        ledger.signal(19)
        eventually(lambda: self.mesh.service("ledger").get("workers", 0) == 0, what="it is lost")
        self.ledger()
        self.open("gate")
        done = self.ends(job, "succeeded", timeout=40)
        ledger.signal(18)
        eventually(lambda: os.path.exists(refused), what="the first attempt was refused")
        self.assertEqual((done["attempt"], self.booked()), (2, [9]))
        self.consistent()


if __name__ == "__main__":
    unittest.main()
