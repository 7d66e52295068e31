"""test_path - a request goes all the way to PostgreSQL and back, and its effect outlives every process"""
import json
import subprocess
import unittest

from mesh import Database, MeshTest, eventually


class Path(MeshTest):
    SHARED = True

    @classmethod
    def setUpClass(cls):
        cls.database = Database()
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.database.close()

    def begin(self):
        super().begin(self)
        self.start_notes(self)

    def start_notes(self):
        self.notes = self.mesh.start("notes", WEFT_DATABASE_URL=self.database.url)
        eventually(lambda: self.mesh.http("GET", "/v1/notes").status == 200, what="notes is served")

    def create(self, title="a", text="b", **headers):
        reply = self.mesh.http("POST", "/v1/notes", {"title": title, "text": text}, headers)
        self.assertEqual(reply.status, 201, reply)
        self.assertEqual(reply.headers["Location"], "/v1/notes/%d" % reply.json["id"])
        return reply

    def test_note_is_written_read_and_there_after_all_processes_restarted(self):
        location = self.create("a", "b \u20ac").headers["Location"]
        reply = self.mesh.http("GET", location)
        self.assertEqual((reply.status, reply.json["title"], reply.json["text"]), (200, "a", "b \u20ac"))
        cls = type(self)
        for process in (cls.notes, cls.gateway, cls.broker):
            self.assertEqual(process.stop(), 0)
        for name in self.PROGRAMS:
            setattr(cls, name, self.mesh.start(name))
        cls.start_notes(cls)
        self.assertEqual(self.mesh.http("GET", location).json, reply.json)

    def test_curl_as_in_the_documentation(self):
        base = "http://127.0.0.1:%d" % self.mesh.http_port
        done = subprocess.run(["curl", "-si", "--json", '{"title":"a","text":"b"}', base + "/v1/notes"],
                              capture_output=True, text=True, check=True)
        self.assertTrue(done.stdout.startswith("HTTP/1.1 201"), done.stdout)
        self.assertIn("Location: /v1/notes/", done.stdout)
        done = subprocess.run(["curl", "-si", "-d", '{"title":"a","text":"b"}', base + "/v1/notes"],
                              capture_output=True, text=True, check=True)
        self.assertTrue(done.stdout.startswith("HTTP/1.1 415"), done.stdout)
        problem = json.loads(done.stdout.split("\n\n", 1)[1])
        self.assertIn("application/json", problem["detail"])

    def test_life_of_a_note(self):
        note = self.create("first", "text").json
        path = "/v1/notes/%d" % note["id"]
        changed = self.mesh.http("PUT", path, {"version": note["version"], "title": "second", "text": "t"})
        self.assertEqual((changed.status, changed.json["title"]), (200, "second"), changed)
        stale = self.mesh.http("PUT", path, {"version": note["version"], "title": "third", "text": "t"})
        self.assertIn(stale.status, (409, 412), stale)
        self.assertEqual(self.mesh.http("GET", path).json["title"], "second")
        self.assertIn(self.mesh.http("DELETE", path).status, (200, 204))
        self.problem(self.mesh.http("GET", path), 404, "NOT_FOUND")
        self.problem(self.mesh.http("DELETE", path), 404, "NOT_FOUND")

    def test_list_pages_by_cursor(self):
        made = [self.create("page %d" % n).json["id"] for n in range(7)]
        seen, cursor = [], ""
        while True:
            page = self.mesh.http("GET", "/v1/notes?limit=3" + cursor).json
            seen += [note["id"] for note in page["notes"]]
            self.assertLessEqual(len(page["notes"]), 3)
            if not page.get("cursor"):
                break
            cursor = "&cursor=" + page["cursor"]
        self.assertEqual(seen, sorted(seen, reverse=True))
        self.assertEqual(len(seen), len(set(seen)))
        self.assertLessEqual(set(made), set(seen))

    def test_search(self):
        note = self.create("gardening", "the quick brown zebra").json
        found = self.mesh.http("GET", "/v1/notes/search?q=zebra").json["notes"]
        self.assertIn(note["id"], [one["id"] for one in found])
        self.assertEqual(self.mesh.http("GET", "/v1/notes/search?q=xylophone").json["notes"], [])

    def test_input_is_checked_before_the_handler(self):
        for body in ({}, {"title": ""}, {"title": "a", "text": "b", "x": 1}, {"title": 1, "text": "b"}, [], 7):
            self.problem(self.mesh.http("POST", "/v1/notes", body), 422)
        for path in ("/v1/notes/0", "/v1/notes/-1", "/v1/notes/x", "/v1/notes/99999999999999999999"):
            self.assertIn(self.mesh.http("GET", path).status, (400, 422), path)

    def test_command_line_reaches_the_same_note(self):
        note = self.create("by http", "b").json
        done = self.mesh.weft("call", "notes.get", json.dumps({"id": note["id"]}), "--output", "json")
        self.assertEqual((done.returncode, json.loads(done.stdout)), (0, note), done.stderr)
        done = self.mesh.weft("call", "notes.get", '{"id":999999999}')
        self.assertEqual(done.returncode, 3)
        self.assertIn("NOT_FOUND", done.stderr + done.stdout)

    def test_text_of_all_kinds_survives(self):
        for text in ("", "'; DROP TABLE notes; --", "\u20ac\U0001d11e\u0001", "%s%n\\", "x" * 100000):
            note = self.create("kinds", text).json
            self.assertEqual(self.mesh.http("GET", "/v1/notes/%d" % note["id"]).json["text"], text)
        reply = self.mesh.http("POST", "/v1/notes", {"title": "nul", "text": "a\0b"})  # PostgreSQL cannot hold a NUL
        self.assertIn(reply.status, (400, 422), reply)


if __name__ == "__main__":
    unittest.main()
