"""test_spec - the example of SPEC.md and the vectors, read with python3-msgpack alone."""
import json
import pathlib
import re
import unittest

import msgpack

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def example():
    """The messages of SPEC.md, Example: each block of indented hex, what stands behind two or more blanks is prose."""
    text = (PROTO / "SPEC.md").read_text().split("## 12. Example")[1].split("## 13.")[0]
    for block in re.findall(r"(?:^    .*\n)+", text, re.M):
        data = b""
        for line in block.splitlines():
            data += bytes.fromhex(re.match(r"((?:[0-9a-f]{2} ?)+)(?:  |$)", line.strip()).group(1))
        unpacker = msgpack.Unpacker()
        unpacker.feed(data)
        yield from ((data, message) for message in unpacker)


class Spec(unittest.TestCase):
    def test_example_is_what_it_says(self):
        messages = [message for _, message in example()]
        self.assertEqual([message[1] for message in messages], [5, 2, 1, 1, 2, 2, 6, 7])
        ready, answer, request, handed, reply, returned, ping, pong = messages
        self.assertEqual((ready[3]["name"], ready[3]["methods"][0]["idempotent"], ready[4]), ("notes", True, 6))
        self.assertEqual(answer[2:], [ready[2], 0, 0, {}, None])
        self.assertEqual(request[3:], ["notes", "get", 5000, 1, {"tenant": "acme"}, {"id": 7}])
        self.assertEqual(handed[3:], ["notes", "get", 4988, 1, {"tenant": "acme"}, {"id": 7}])
        self.assertEqual((reply[2], returned[2]), (handed[2], request[2]))
        self.assertEqual((reply[4], returned[4]), (3, 12310))
        self.assertEqual(reply[5:], returned[5:])
        self.assertEqual((pong[2], pong[3]), (ping[2], 0x0123456789abcdef))

    def test_example_is_in_the_vectors(self):
        patches = json.loads((PROTO / "vectors/patches.json").read_text())["patches"]
        shown = {data.hex() for data, _ in example()}
        named = [vector for vector in patches if vector["name"].startswith("SPEC.md")]
        self.assertEqual(len(named), 2)
        for vector in named:
            self.assertIn(vector["before"], shown)
            self.assertIn(vector["after"], shown)

    def test_valid_vectors_say_what_msgpack_reads(self):
        names = ["", "REQUEST", "REPLY", "PARTIAL", "CANCEL", "READY", "PING", "PONG", "DRAIN", "BYE", "WHO"]
        fields = {"REQUEST": ("service", "method", "ttl_ms", "priority", "meta", "body"),
                  "REPLY": ("status", "load", "meta", "body"), "PARTIAL": ("status", "load", "meta", "body"),
                  "READY": ("descriptor", "capacity"), "PING": ("load",), "PONG": ("epoch",), "WHO": ("epoch",)}
        vectors = json.loads((PROTO / "vectors/messages.json").read_text())["valid"]
        for vector in vectors:
            with self.subTest(vector["name"]):
                message = msgpack.unpackb(bytes.fromhex(vector["hex"]))
                self.assertEqual(names[message[1]], vector["kind"])
                self.assertEqual(message[2].hex(), vector["id"])
                for at, field in enumerate(fields.get(vector["kind"], ())):
                    if field == "status" and message[3] > 16:
                        self.assertEqual(vector["status"], 2)
                    elif field in vector:
                        self.assertEqual(message[3 + at], vector[field])


if __name__ == "__main__":
    unittest.main()
