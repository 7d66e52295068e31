"""test_exports - notes.export, the example of long work: the same method for those who wait and for the queue."""
import json
import sys
import unittest

import psycopg2

from mesh import ROOT, Database, MeshTest, eventually

sys.path.insert(0, str(ROOT / "tests/interop"))
import client as plain  # noqa: E402


class Exports(MeshTest):
    SHARED = True

    def begin(self):  # of the class
        MeshTest.begin(self)
        self.database = Database()
        self.addClassCleanup(self.database.close)
        self.mesh.start("notes", WEFT_DATABASE_URL=self.database.url)
        eventually(lambda: self.mesh.http("GET", "/v1/notes").status == 200, what="notes is served")
        self.database.sql("INSERT INTO notes (title, text) SELECT 'note ' || i, CASE WHEN i % 10 = 0 THEN 'tenth \u00fc\U0001f600'"
                          " ELSE 'text' END FROM generate_series(1, 250) i")

    def lines(self, path):
        """The whole document, slice by slice."""
        text, offset = "", 0
        while offset is not None:
            part = self.mesh.http("GET", "%s?offset=%d" % (path, offset))
            self.assertEqual(part.status, 200, part)
            text += part.json["text"]
            offset = part.json.get("next")
        self.assertEqual(len(text), part.json["characters"])
        return [json.loads(line) for line in text.splitlines()]

    def test_all_of_them_for_one_who_waits(self):
        reply = self.mesh.http("POST", "/v1/notes/exports", {}, {"Accept": "application/json"})
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual(reply.json["partials"], [{"notes": 100, "total": 250}, {"notes": 200, "total": 250},
                                                  {"notes": 250, "total": 250}])
        result = reply.json["result"]
        self.assertEqual(result["notes"], 250)
        lines = self.lines("/v1/notes/exports/%d" % result["id"])
        self.assertEqual([line["title"] for line in lines], ["note %d" % i for i in range(1, 251)])
        self.assertEqual(lines[9], self.mesh.http("GET", "/v1/notes/10").json)

    def test_progress_as_events(self):
        reply = self.mesh.http("POST", "/v1/notes/exports", {}, {"Accept": "text/event-stream"})
        self.assertEqual(reply.headers["Content-Type"].split(";")[0], "text/event-stream")
        self.assertEqual(reply.body.decode().count('data: {"notes":'), 3)
        self.assertIn("event: done", reply.body.decode())

    def test_those_that_match(self):
        result = self.mesh.http("POST", "/v1/notes/exports", {"q": "tenth"}, {"Accept": "application/json"}).json["result"]
        export = self.mesh.http("GET", "/v1/notes/exports/%d" % result["id"]).json
        self.assertEqual((export["q"], export["notes"]), ("tenth", 25))
        self.assertEqual({line["text"] for line in self.lines("/v1/notes/exports/%d" % result["id"])},
                         {"tenth \u00fc\U0001f600"})

    def test_nothing_matches(self):
        result = self.mesh.http("POST", "/v1/notes/exports", {"q": "nowhere"}, {"Accept": "application/json"}).json["result"]
        self.assertEqual((result["notes"], result["bytes"]), (0, 0))
        self.assertEqual(self.lines("/v1/notes/exports/%d" % result["id"]), [])

    def test_a_document_of_several_slices(self):
        self.database.sql("INSERT INTO notes (title, text) SELECT 'large', repeat(chr(128512), 90000) FROM generate_series(1, 3)")
        result = self.mesh.http("POST", "/v1/notes/exports", {"q": "large"}, {"Accept": "application/json"}).json["result"]
        path = "/v1/notes/exports/%d" % result["id"]
        self.assertEqual(self.mesh.http("GET", path).json["next"], 100000)
        self.assertEqual([len(line["text"]) for line in self.lines(path)], 3 * [90000])
        self.assertEqual(self.mesh.http("GET", path + "?offset=16777216").json["text"], "")
        self.database.sql("DELETE FROM notes WHERE title = 'large'")

    def test_more_than_an_export_may_have(self):
        self.database.sql("INSERT INTO notes (title, text) SELECT 'huge', repeat('x', 100000) FROM generate_series(1, 170)")
        before = self.database.sql("SELECT count(*) FROM exports")
        reply = self.mesh.http("POST", "/v1/notes/exports", {"q": "huge"}, {"Accept": "text/event-stream"})
        self.assertIn("OUT_OF_RANGE", reply.body.decode())
        self.assertEqual(self.database.sql("SELECT count(*) FROM exports"), before)
        self.database.sql("DELETE FROM notes WHERE title = 'huge'")

    def test_one_that_is_not_there(self):
        self.problem(self.mesh.http("GET", "/v1/notes/exports/999999"), 404, "NOT_FOUND")

    def test_a_cancel_ends_it_and_leaves_nothing(self):
        before = self.database.sql("SELECT count(*) FROM exports")
        asking = plain.Client(self.mesh.front)
        lock = psycopg2.connect(self.database.url)
        lock.cursor().execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")  # it cannot get on
        try:
            id = asking.submit("notes", "export", {}, timeout_ms=60000)
            eventually(lambda: self.mesh.outstanding("notes") == 1, what="the export runs")
            asking.cancel(id)
            eventually(lambda: self.mesh.outstanding("notes") == 0, what="the export has ended")
        finally:
            lock.rollback()
            lock.close()
            asking.close()
        self.assertEqual(self.database.sql("SELECT count(*) FROM exports"), before)


if __name__ == "__main__":
    unittest.main()
