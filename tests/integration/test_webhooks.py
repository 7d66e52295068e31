"""test_webhooks - completions told to receivers: signed as the Standard Webhooks specification has it, again until taken,
never to where the operator does not allow"""
import base64
import hashlib
import hmac
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
import unittest

from mesh import PATIENCE, eventually
from queue_mesh import QueueTest

INVALID, PRECONDITION = 3, 9
SECRET = os.urandom(32)
OLD_SECRET = os.urandom(24)


def text(secret):
    return "whsec_" + base64.b64encode(secret).decode()


def signatures(headers, body, secret):
    """Those that this secret makes of a request, by the text of the specification: HMAC-SHA256 over id.timestamp.payload,
    base64, behind "v1,"."""
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


class Receiver:
    """An HTTP(S) server on loopback that keeps what it got.  `answer(path, times)` gives status, headers and seconds to wait
    for the Nth request of a path."""

    def __init__(self, context=None, host="127.0.0.1"):
        self.got = []  # (path, headers, body)
        self.answer = lambda path, times: (200, {}, 0)
        self.closing = threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((self.path, dict(self.headers), body))
                status, headers, wait = receiver.answer(self.path, len(receiver.of(self.path)))
                receiver.closing.wait(wait)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass  # the other side gave up
        self.server = Server((host, 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = "%s://%s:%d" % ("https" if context else "http", host, self.server.server_port)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def of(self, path):
        return [one for one in list(self.got) if one[0] == path]

    def close(self):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


class WebhookTest(QueueTest):
    ENV = {"WEFT_WEBHOOK_SECRET": text(SECRET), "WEFT_WEBHOOK_ALLOW": "loopback,http"}

    def begin(self):
        super().begin()
        self.receiver = Receiver()
        self.addCleanup(self.receiver.close)
        self.worker("ok", "fail", "gate")

    def got(self, path, times=1, timeout=30.0):
        """The Nth request of a path."""
        return eventually(lambda: len(self.receiver.of(path)) >= times and self.receiver.of(path)[times - 1], timeout,
                          "request %d of %s" % (times, path))

    def row(self, job):
        rows = self.database.sql("SELECT attempts, given_up_at IS NOT NULL, last_error, extract(epoch FROM next_at - now())::float"
                                 " FROM weft_job_callback WHERE job = %s" % job["id"])
        return rows[0] if rows else None

    def settled(self, job, attempts):
        """Waits until that many attempts have been written down; gives the row."""
        def look():
            row = self.row(job)
            return row and row[0] >= attempts and row[2] and (row[1] or row[3] < 55 or row[3] > 65) and row
        return eventually(look, 60.0, "attempt %d is written down" % attempts)

    def hurry(self, job):
        """The next attempt, now."""
        self.database.sql("UPDATE weft_job_callback SET next_at = now() WHERE job = %s RETURNING 1" % job["id"])


class Webhooks(WebhookTest):

    def test_signed_and_complete(self):
        job = self.enqueue("ok", {"x": 1, "text": "h\u00e9"}, callback_url=self.receiver.url + "/hook?a=b")
        path, headers, body = self.got("/hook?a=b")
        self.assertEqual(headers["content-type"], "application/json")
        self.assertTrue(headers["webhook-id"].startswith("msg_%s_" % job["id"]))
        self.assertLess(abs(int(headers["webhook-timestamp"]) - time.time()), 60 * PATIENCE)
        self.assertEqual(headers["webhook-signature"], signatures(headers, body, SECRET))
        payload = json.loads(body)
        now = self.get(job)
        self.assertEqual((payload["type"], payload["timestamp"]), ("job.succeeded", now["finished_at"]))
        for key in ("id", "service", "method", "state", "done", "result", "attempt", "created_at", "finished_at"):
            self.assertEqual(payload["data"][key], now[key], key)
        self.assertNotIn("input", payload["data"])
        eventually(lambda: self.row(job) is None, what="the row is gone")
        self.assertEqual(self.get(job)["callback"], {"state": "delivered"})
        self.assertEqual(len(self.receiver.got), 1)

    def test_failed_and_cancelled_ones_are_told_too(self):
        failed = self.enqueue("fail", {"status": 5, "message": "gone"}, callback_url=self.receiver.url + "/failed")
        cancelled = self.enqueue("gate", {"path": self.path("never")}, callback_url=self.receiver.url + "/cancelled")
        waiting = self.enqueue("ok", delay_ms=3600000, callback_url=self.receiver.url + "/waiting")
        self.assertNotIn("callback", self.get(waiting))
        self.started(cancelled)
        self.jobs("cancel", id=cancelled["id"])
        self.jobs("cancel", id=waiting["id"])
        payload = json.loads(self.got("/failed")[2])
        self.assertEqual((payload["type"], payload["data"]["id"], payload["data"]["error"]["code"]),
                         ("job.failed", failed["id"], "NOT_FOUND"))
        for path in ("/cancelled", "/waiting"):
            payload = json.loads(self.got(path)[2])
            self.assertEqual((payload["type"], payload["data"]["state"]), ("job.cancelled", "cancelled"))

    def test_again_after_500_under_the_same_id(self):
        self.receiver.answer = lambda path, times: (500 if times < 3 else 204, {}, 0)
        paths = ("/again%d" % number for number in range(100))

        def failed_once():  # and looked at before the next attempt
            path = next(paths)
            job = self.enqueue("ok", callback_url=self.receiver.url + path)
            row = self.settled(job, 1)
            callback = self.get(job)["callback"]
            self.assertEqual((row[0], row[1], row[2]), (1, False, "HTTP 500"))
            self.assertTrue(0 < row[3] <= 6, row)
            self.assertEqual((callback["state"], callback["attempts"], callback["last_error"]), ("pending", 1, "HTTP 500"))
            self.assertIn("next_at", callback)
            return path, job
        path, job = eventually(failed_once, what="it is to be tried again")
        self.hurry(job)
        row = self.settled(job, 2)
        self.assertTrue(6 < row[3] <= 36, row)
        self.hurry(job)
        self.got(path, 3)
        eventually(lambda: self.row(job) is None, what="it was taken")
        requests = self.receiver.of(path)
        self.assertEqual(len(requests), 3)
        self.assertEqual(len({headers["webhook-id"] for _, headers, _ in requests}), 1)
        self.assertEqual(len({body for _, _, body in requests}), 1)
        for _, headers, body in requests:
            self.assertEqual(headers["webhook-signature"], signatures(headers, body, SECRET))

    def test_retry_after_is_honoured(self):
        self.receiver.answer = lambda path, times: (429, {"retry-after": "3000"}, 0)
        row = self.settled(self.enqueue("ok", callback_url=self.receiver.url + "/busy"), 1)
        self.assertTrue(2900 < row[3] < 3700, row)

    def test_gone_and_the_last_attempt_give_up(self):
        self.receiver.answer = lambda path, times: (410 if path == "/gone" else 503, {}, 0)
        gone = self.enqueue("ok", callback_url=self.receiver.url + "/gone")
        last = self.enqueue("ok", callback_url=self.receiver.url + "/last")
        self.assertEqual(self.settled(gone, 1)[:3], (1, True, "HTTP 410"))
        self.assertEqual(self.get(gone)["callback"]["state"], "given_up")
        self.settled(last, 1)
        self.database.sql("UPDATE weft_job_callback SET attempts = 11, next_at = now() WHERE job = %s RETURNING 1" % last["id"])
        self.assertEqual(self.settled(last, 12)[:3], (12, True, "HTTP 503"))
        eventually(lambda: self.replicas[0].metric("weft_jobs_webhooks_total", 'outcome="given_up"') == 2, what="both count")
        self.hurry(gone)
        self.hurry(last)
        done = self.enqueue("ok", callback_url=self.receiver.url + "/other")
        self.settled(done, 1)
        self.assertEqual((len(self.receiver.of("/gone")), len(self.receiver.of("/last"))), (1, 2))

    def test_a_redirect_is_not_followed(self):
        self.receiver.answer = lambda path, times: (307, {"location": self.receiver.url + "/secret"}, 0) \
            if path == "/moved" else (200, {}, 0)
        row = self.settled(self.enqueue("ok", callback_url=self.receiver.url + "/moved"), 1)
        self.assertEqual(row[2], "HTTP 307: redirects are not followed")
        self.assertEqual(self.receiver.of("/secret"), [])

    def test_a_slow_receiver_blocks_nobody(self):
        self.receiver.answer = lambda path, times: (200, {}, 3600)
        slow = [self.enqueue("ok", callback_url=self.receiver.url + "/slow") for _ in range(12)]
        other = Receiver(host="127.0.0.2")
        self.addCleanup(other.close)
        eventually(lambda: len(self.receiver.of("/slow")) == 4, what="as many as one host gets at once")
        jobs = [self.enqueue("ok", callback_url=other.url + "/fast") for _ in range(20)]
        eventually(lambda: len(other.of("/fast")) == 20, what="the others are told")
        eventually(lambda: all(self.row(job) is None for job in jobs), what="their rows are gone")
        self.assertEqual(len(self.receiver.of("/slow")), 4)
        self.assertEqual(sum(self.row(job)[0] for job in slow), 4)

    def test_a_job_that_is_run_again_is_told_again(self):
        path = self.path("ok")
        job = self.enqueue("fail", {"status": 5, "path": path}, callback_url=self.receiver.url + "/twice")
        self.got("/twice")
        eventually(lambda: self.row(job) is None, what="it was taken")
        self.open("ok")
        self.jobs("retry", id=job["id"])
        self.got("/twice", 2)
        first, second = self.receiver.of("/twice")
        self.assertEqual([json.loads(one[2])["type"] for one in (first, second)], ["job.failed", "job.succeeded"])
        self.assertNotEqual(first[1]["webhook-id"], second[1]["webhook-id"])

    def test_what_is_refused_at_once(self):
        for url, why in (("ftp://example.com/", "scheme"), ("https://10.0.0.1/", "private"),
                         ("https://169.254.169.254/", "link-local"), ("https://user:x@example.com/", "user"),
                         ("/hook", "URL"), ("https://[::ffff:10.0.0.1]/", "private"),
                         ("https://example.com/" + "x" * 2048, "")):
            with self.subTest(url):
                self.assertIn(why, str(self.refused(INVALID, self.enqueue, "ok", callback_url=url)))

    def test_a_schedule_may_have_one(self):
        self.jobs("schedule-put", name="s", cron="@daily", service="work", method="ok",
                  callback_url=self.receiver.url + "/scheduled")
        job = self.jobs("schedule-run", name="s")
        self.assertEqual(json.loads(self.got("/scheduled")[2])["data"]["id"], job["id"])


class Many(WebhookTest):
    REPLICAS = 2

    def test_each_job_is_taken_once(self):
        self.receiver.answer = lambda path, times: (200, {}, 0.01)
        jobs = self.enqueue_many([{"method": "ok", "callback_url": self.receiver.url + "/many"} for _ in range(200)])
        eventually(lambda: self.count(table="weft_job_callback") == 0 and len(self.receiver.of("/many")) >= 200, 60.0,
                   "all were taken")
        told = [json.loads(body)["data"]["id"] for _, _, body in self.receiver.of("/many")]
        self.assertEqual(sorted(told), sorted(job["id"] for job in jobs))

    def test_a_killed_replica_loses_none(self):
        self.receiver.answer = lambda path, times: (200, {}, 3600)
        job = self.enqueue("ok", callback_url=self.receiver.url + "/held")
        self.got("/held")
        holder = eventually(lambda: next((replica for replica in self.replicas if replica.metric("weft_jobs_webhooks_in_flight")),
                                         None), what="one holds it")
        holder.kill()
        self.receiver.answer = lambda path, times: (200, {}, 0)
        self.hurry(job)  # as when the lease of a minute has ended
        self.got("/held", 2)
        eventually(lambda: self.row(job) is None, what="the other one told it")
        first, second = self.receiver.of("/held")
        self.assertEqual(first[1]["webhook-id"], second[1]["webhook-id"])


class Allowed(WebhookTest):
    """Loopback is not."""
    ENV = {"WEFT_WEBHOOK_SECRET": text(SECRET) + " " + text(OLD_SECRET), "WEFT_WEBHOOK_ALLOW": "http"}

    def test_the_address_counts_when_it_is_connected_to(self):
        self.assertIn("loopback", str(self.refused(INVALID, self.enqueue, "ok", callback_url=self.receiver.url + "/x")))
        # A name is taken, whatever it means just now; what it means when the connection is made is what counts.
        job = self.enqueue("ok", callback_url=self.receiver.url.replace("127.0.0.1", "localhost") + "/x")
        row = self.settled(job, 1)
        self.assertEqual(row[2], "the address of the host is not allowed (loopback)")
        self.assertEqual(self.receiver.got, [])
        eventually(lambda: self.replicas[0].metric("weft_jobs_webhooks_refused_total") == 1, what="it is counted")
        # The operator allows it from now on; and both secrets sign.
        self.replicas[0].stop(30)
        self.replica(WEFT_WEBHOOK_ALLOW="http 127.0.0.0/8 ::1")
        self.hurry(job)
        _, headers, body = self.got("/x")
        self.assertEqual(headers["webhook-signature"].split(" "),
                         [signatures(headers, body, SECRET), signatures(headers, body, OLD_SECRET)])


class Off(QueueTest):

    def test_without_a_secret_none_is_taken(self):
        self.worker("ok")
        error = self.refused(PRECONDITION, self.enqueue, "ok", callback_url="https://example.com/")
        self.assertIn("WEFT_WEBHOOK_SECRET", str(error))

    def test_bad_settings_stop_the_start(self):
        for name, value in (("WEFT_WEBHOOK_SECRET", "hunter2"), ("WEFT_WEBHOOK_SECRET", "whsec_c2hvcnQ="),
                            ("WEFT_WEBHOOK_ALLOW", "everything"), ("WEFT_WEBHOOK_CA", "/nowhere")):
            with self.subTest(value):
                process = self.mesh.start("jobs", ready=False, WEFT_DATABASE_URL=self.url, **{name: value})
                self.assertNotEqual(process.wait(), 0)
                self.assertIn(name, process.text())
                if name == "WEFT_WEBHOOK_SECRET":
                    self.assertNotIn(value.removeprefix("whsec_"), process.text())


class Tls(WebhookTest):
    """https, with certificates that count."""
    ENV = {"WEFT_WEBHOOK_SECRET": text(SECRET), "WEFT_WEBHOOK_ALLOW": "loopback"}

    def begin(self):
        super().begin()
        self.secure, self.ca = self.server("localhost")
        self.stranger, _ = self.server("localhost")
        self.replicas[0].stop(30)
        self.replicas = [self.replica(WEFT_WEBHOOK_CA=self.ca)]

    def server(self, name):
        """A receiver with a certificate of its own for that name, and the certificate's file."""
        stem = str(self.mesh.folder / ("tls%d" % len(list(self.mesh.folder.iterdir()))))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", stem + ".key", "-out",
                        stem + ".pem", "-days", "2", "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:" + name],
                       check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(stem + ".pem", stem + ".key")
        receiver = Receiver(context)
        self.addCleanup(receiver.close)
        return receiver, stem + ".pem"

    def test_certificates_are_checked(self):
        good = self.enqueue("ok", callback_url=self.secure.url.replace("127.0.0.1", "localhost") + "/good")
        name = self.enqueue("ok", callback_url=self.secure.url + "/name")  # the certificate is for another name
        other = self.enqueue("ok", callback_url=self.stranger.url.replace("127.0.0.1", "localhost") + "/other")
        eventually(lambda: self.secure.of("/good"), what="the good one is told")
        eventually(lambda: self.row(good) is None, what="its row is gone")
        for job in (name, other):
            self.assertIn("SSL", self.settled(job, 1)[2])
        self.assertEqual((self.secure.of("/name"), self.stranger.got), ([], []))
        self.refused(INVALID, self.enqueue, "ok", callback_url=self.receiver.url + "/plain")


if __name__ == "__main__":
    unittest.main()
