#!/usr/bin/python3
"""generate - writes the vectors beside it.  Uses python3-msgpack and nothing of weft, so that what it says and what
libweft does are two opinions.  Run it after a change here; the unit tests read the files that it wrote."""
import json
import os
import struct

import msgpack

ID = bytes.fromhex("0102030405060708")
KINDS = {"REQUEST": 1, "REPLY": 2, "PARTIAL": 3, "CANCEL": 4, "READY": 5, "PING": 6, "PONG": 7, "DRAIN": 8, "BYE": 9,
         "WHO": 10}
ELEMENTS = {"REQUEST": 9, "REPLY": 7, "PARTIAL": 7, "CANCEL": 3, "READY": 5, "PING": 4, "PONG": 4, "DRAIN": 3,
            "BYE": 3, "WHO": 4}
NIL, EMPTY = b"\xc0", b"\x80"
pack = msgpack.packb


def u32(number):
    return b"\xce" + struct.pack(">I", number)


def frame(kind, *elements, id=ID, extra=()):
    """The frame of a kind with its elements already encoded, and `extra` encoded ones behind them."""
    count = 3 + len(elements) + len(extra)
    number = KINDS[kind] if isinstance(kind, str) else kind
    return bytes([0x90 | count, 1, number]) + b"\xc4\x08" + id + b"".join(elements) + b"".join(extra)


def request(service=b"\xa4echo", method=b"\xa4echo", ttl=u32(30000), priority=b"\x01", meta=EMPTY, body=NIL, **more):
    return frame("REQUEST", service, method, ttl, priority, meta, body, **more)


def reply(status=b"\x00", load=u32(0), meta=EMPTY, body=NIL, kind="REPLY", **more):
    return frame(kind, status, load, meta, body, **more)


def nested(depth):
    return b"\x91" * (depth - 1) + b"\x90"


DESCRIPTOR = {"name": "echo", "version": "1.0.0", "instance": "7f3a", "methods": [
    {"name": "echo", "idempotent": True, "timeout_ms": 1000, "http": ["POST /v1/echo"]}]}
LONG_SERVICE = "a" + ".b1_-" * 12 + "cd"
LONG_METHOD = "m" + "x" * 62
META_4096 = pack({"k": "v" * (4096 - 6)})
META_4097 = pack({"k": "v" * (4096 - 5)})
assert len(META_4096) == 4096 and len(META_4097) == 4097 and len(LONG_SERVICE) == 63 and len(LONG_METHOD) == 63

# ---- messages ---------------------------------------------------------------------------------------------

valid, invalid, bad_values = [], [], []


def good(name, data, canonical=False, **fields):
    """`fields` as decoded; `canonical`: also what weft's own encoder writes for them."""
    kind = fields.pop("kind")
    entry = {"name": name, "hex": data.hex(), "canonical": canonical, "kind": kind,
             "id": fields.pop("id", ID).hex()}
    for key, value in fields.items():
        if key in ("body", "descriptor"):
            entry[key + "_hex"] = value.hex()
            try:
                entry[key] = msgpack.unpackb(value, timestamp=0, strict_map_key=False)
                json.dumps(entry[key])
            except (ValueError, TypeError, RecursionError, msgpack.exceptions.StackError):
                entry.pop(key, None)  # the hex says it
        else:
            entry[key] = value
    valid.append(entry)


def good_request(name, canonical=False, id=ID, extra=(), **over):
    encoded = {"service": b"\xa4echo", "method": b"\xa4echo", "ttl": u32(30000), "priority": b"\x01", "meta": EMPTY,
               "body": NIL}
    encoded.update(over)
    good(name, request(id=id, extra=extra, **encoded), canonical, kind="REQUEST", id=id,
         service=msgpack.unpackb(encoded["service"]), method=msgpack.unpackb(encoded["method"]),
         ttl_ms=msgpack.unpackb(encoded["ttl"]), priority=msgpack.unpackb(encoded["priority"]),
         meta=msgpack.unpackb(encoded["meta"]), body=encoded["body"])


def good_reply(name, canonical=False, kind="REPLY", extra=(), read_as=None, **over):
    encoded = {"status": b"\x00", "load": u32(0), "meta": EMPTY, "body": NIL}
    encoded.update(over)
    status = msgpack.unpackb(encoded["status"]) if read_as is None else read_as
    good(name, reply(kind=kind, extra=extra, **encoded), canonical, kind=kind, status=status,
         load=msgpack.unpackb(encoded["load"]), meta=msgpack.unpackb(encoded["meta"]), body=encoded["body"])


good_request("request, smallest", canonical=True)
good_request("request with meta and body", canonical=True, service=pack("notes"), method=pack("create"),
             meta=pack({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tenant": "acme"}),
             body=pack({"title": "a", "text": "b", "n": [1, -1, 2.5, None, True]}))
good_request("request, service of several parts, 63 bytes, method of 63 bytes", canonical=True,
             service=pack(LONG_SERVICE), method=pack(LONG_METHOD))
good_request("request, id of zeros", canonical=True, id=bytes(8))
good_request("request, id of ones", canonical=True, id=b"\xff" * 8)
for number in range(4):
    good_request("request, priority %d" % number, canonical=True, priority=bytes([number]))
good_request("request, ttl 1", canonical=True, ttl=u32(1))
good_request("request, longest ttl", canonical=True, ttl=u32(86400000))
for name, data in (("fixint", b"\x64"), ("uint 8", b"\xcc\xc8"), ("uint 16", b"\xcd\x03\xe8"),
                   ("uint 64", b"\xcf" + struct.pack(">Q", 1000)), ("int 8", b"\xd0\x64"),
                   ("int 16", b"\xd1\x03\xe8"), ("int 32", b"\xd2\x00\x00\x03\xe8"),
                   ("int 64", b"\xd3" + struct.pack(">q", 1000)), ("uint 8 where a fixint does", b"\xcc\x05")):
    good_request("request, ttl as " + name, ttl=data)
good_request("request, priority as uint 64", priority=b"\xcf" + bytes(7) + b"\x02")
good_request("request, names as str 8", service=b"\xd9\x04echo", method=b"\xd9\x04echo")
good_request("request, names as str 16 and str 32", service=b"\xda\x00\x04echo", method=b"\xdb\x00\x00\x00\x04echo")
good_request("request, meta as map 16", meta=b"\xde\x00\x01\xa1k\xa1v")
good_request("request, meta as map 32 of no keys", meta=b"\xdf\x00\x00\x00\x00")
good_request("request, meta of 4096 bytes", canonical=True, meta=META_4096)
good_request("request, meta key of 64 bytes and empty value", canonical=True, meta=pack({"k" * 64: ""}))
good_request("request, meta with NUL and text beyond ASCII", canonical=True, meta=pack({"x": "a\0\u00e9\u20ac\U0001d11e"}))
good_request("request, body nested 32 deep", canonical=True, body=nested(32))
good_request("request, body with a bin and a timestamp", canonical=True,
             body=b"\x92\xc4\x02\x00\xff\xd6\xff\x00\x00\x00\x01")
good_request("request with an unknown element behind it", extra=(pack({"later": [1]}),))
good_request("request of 15 elements", extra=(NIL,) * 6)
good_reply("reply, smallest", canonical=True)
good_reply("reply with meta and body", canonical=True, load=u32(3), meta=pack({"wait_us": "12", "http.status": "201"}),
           body=pack({"id": 7}))
good_reply("reply, an error", canonical=True, status=b"\x05",
           body=pack({"message": "no note 7", "executed": "maybe", "hop": "handler"}))
for number in range(17):
    good_reply("reply, status %d" % number, canonical=True, status=bytes([number]))
good_reply("reply, status of a later protocol is read as UNKNOWN", status=b"\x11", read_as=2)
good_reply("reply, largest status is read as UNKNOWN", status=u32(2 ** 32 - 1), read_as=2)
good_reply("reply, status as uint 16", status=b"\xcd\x00\x05")
good_reply("reply, load as fixint", load=b"\x07")
good_reply("reply, load as uint 64", load=b"\xcf" + struct.pack(">Q", 2 ** 32 - 1))
good_reply("reply, largest load", canonical=True, load=u32(2 ** 32 - 1))
good_reply("reply with two unknown elements behind it", body=pack([1, 2]), extra=(pack("x"), pack({})))
good_reply("partial, smallest", canonical=True, kind="PARTIAL")
good_reply("partial with a body", canonical=True, kind="PARTIAL", load=u32(1), body=pack({"n": 1}))
for kind in ("CANCEL", "DRAIN", "BYE"):
    good(kind.lower(), frame(kind), True, kind=kind)
    good(kind.lower() + " with an unknown element behind it", frame(kind, extra=(pack([1, [2]]),)), kind=kind)
good("ready", frame("READY", pack(DESCRIPTOR), b"\x06"), True, kind="READY", descriptor=pack(DESCRIPTOR), capacity=6)
good("ready, capacity 0", frame("READY", pack(DESCRIPTOR), b"\x00"), True, kind="READY", descriptor=pack(DESCRIPTOR),
     capacity=0)
good("ready, largest capacity", frame("READY", pack(DESCRIPTOR), b"\xcd\xff\xff"), True, kind="READY",
     descriptor=pack(DESCRIPTOR), capacity=65535)
good("ready with an unknown element behind it", frame("READY", pack(DESCRIPTOR), b"\x06", extra=(pack("eu-1"),)),
     kind="READY", descriptor=pack(DESCRIPTOR), capacity=6)
good("ping", frame("PING", u32(0)), True, kind="PING", load=0)
good("ping with a load", frame("PING", u32(70000)), True, kind="PING", load=70000)
good("ping, load as fixint", frame("PING", b"\x05"), kind="PING", load=5)
good("pong of a peer that is no broker", frame("PONG", b"\x00"), True, kind="PONG", epoch=0)
good("pong of a broker", frame("PONG", pack(0x0123456789abcdef)), True, kind="PONG", epoch=0x0123456789abcdef)
good("pong with an unknown element behind it", frame("PONG", b"\x01", extra=(NIL,)), kind="PONG", epoch=1)
good("who", frame("WHO", pack(0x7edcba9876543210)), True, kind="WHO", epoch=0x7edcba9876543210)


def bad(name, data, rule, kind=None, id=None, status="INVALID_ARGUMENT", answer=None):
    """`kind`, `id`: what a receiver can still read.  `answer`: the status of a broker's REPLY; null: dropped."""
    invalid.append({"name": name, "hex": data.hex(), "rule": rule, "status": status,
                    "kind": kind or 0, "id": (id or bytes(8)).hex(), "answer": answer})


def bad_request(name, rule, data=None, **over):
    bad(name, request(**over) if data is None else data, rule, KINDS["REQUEST"], ID, answer="INVALID_ARGUMENT")


def bad_ready(name, rule, descriptor, capacity=b"\x01"):
    bad(name, frame("READY", descriptor, capacity), rule, KINDS["READY"], ID, answer="INVALID_ARGUMENT")


def bad_other(name, rule, kind, data):
    bad(name, data, rule, KINDS[kind], ID)


BEGIN = "message: does not begin with an array of version, kind and id"
bad("empty frame", b"", BEGIN)
bad("one byte", b"\x99", BEGIN)
bad("text", b"GET / HTTP/1.1\r\n\r\n", BEGIN)
bad("a map", b"\x83" + frame("CANCEL")[1:], BEGIN)
bad("nil", b"\xc0" * 13, BEGIN)
bad("array of two elements", b"\x92" + frame("CANCEL")[1:], BEGIN)
bad("array 16, which moves the fixed offsets", b"\xdc\x00\x03" + frame("CANCEL")[1:], BEGIN)
bad("version as uint 8, which moves the fixed offsets", b"\x93\xcc\x01" + frame("CANCEL")[2:], BEGIN)
bad("negative version", b"\x93\xff" + frame("CANCEL")[2:], BEGIN)
bad("negative kind", b"\x93\x01\xff" + frame("CANCEL")[3:], BEGIN)
bad("kind as str", b"\x93\x01\xa14\xc4\x08" + ID, BEGIN)
bad("id as str", b"\x93\x01\x04\xa8" + ID, BEGIN)
bad("id of 7 bytes", b"\x93\x01\x04\xc4\x07" + ID[:7], BEGIN)
bad("id of 9 bytes", b"\x93\x01\x04\xc4\x09" + ID + b"\x09", BEGIN)
bad("id as bin 16", b"\x93\x01\x04\xc5\x00\x08" + ID, BEGIN)
bad("id cut off", frame("CANCEL")[:-1], BEGIN)
VERSION = "version: only 1 is spoken here"
for number in (0, 2, 127):
    bad("request of version %d" % number, b"\x99" + bytes([number]) + request()[2:], VERSION, 1, ID, "UNIMPLEMENTED",
        "UNIMPLEMENTED")
bad("reply of version 2", b"\x97\x02" + reply()[2:], VERSION, 2, ID, "UNIMPLEMENTED")
bad("partial of version 2", b"\x97\x02" + reply(kind="PARTIAL")[2:], VERSION, 3, ID, "UNIMPLEMENTED")
bad("kind 99 of version 2", b"\x93\x02\x63" + frame("CANCEL")[3:], VERSION, 99, ID, "UNIMPLEMENTED", "UNIMPLEMENTED")
bad("kind 0", frame(0), "kind: unknown", 0, ID)
bad("kind 11", frame(11), "kind: unknown", 11, ID)
bad("kind 127 with elements", frame(127, NIL, NIL), "kind: unknown", 127, ID)

FEW = "message: too few elements for its kind"
for kind, count in ELEMENTS.items():
    if count == 3:
        continue
    whole = {"REQUEST": request(), "REPLY": reply(), "PARTIAL": reply(kind="PARTIAL"),
             "READY": frame("READY", pack(DESCRIPTOR), b"\x01"), "PING": frame("PING", u32(0)),
             "PONG": frame("PONG", b"\x00"), "WHO": frame("WHO", b"\x01")}[kind]
    answer = "INVALID_ARGUMENT" if kind in ("REQUEST", "READY") else None
    bad(kind.lower() + ", too few elements", bytes([0x90 | (count - 1)]) + whole[1:], FEW, KINDS[kind], ID,
        answer=answer)
    bad(kind.lower() + ", only the first three elements", frame(kind), FEW, KINDS[kind], ID, answer=answer)
BEHIND = "message: bytes behind its end"
for kind, data in (("CANCEL", frame("CANCEL")), ("DRAIN", frame("DRAIN")), ("BYE", frame("BYE")),
                   ("PING", frame("PING", u32(1))), ("PONG", frame("PONG", b"\x00")),
                   ("WHO", frame("WHO", b"\x01"))):
    bad_other(kind.lower() + " with a byte behind it", BEHIND, kind, data + b"\xc0")
bad_request("request with an unknown element and a byte behind it", BEHIND, request(extra=(NIL,)) + b"\xc0")
bad("ready with a byte behind it", frame("READY", pack(DESCRIPTOR), b"\x01") + b"\xc0", BEHIND, 5, ID,
    answer="INVALID_ARGUMENT")
EXTRA = "message: an element behind the known ones is not valid msgpack"
bad_other("cancel, an element announced that is missing", EXTRA, "CANCEL", b"\x94" + frame("CANCEL")[1:])
bad_other("cancel, an element behind it cut off", EXTRA, "CANCEL", frame("CANCEL", extra=(b"\xa3ab",)))
bad_other("cancel, a reserved byte behind it", EXTRA, "CANCEL", frame("CANCEL", extra=(b"\xc1",)))
bad_other("cancel, an element behind it announces 2^32-1 values", EXTRA, "CANCEL",
          frame("CANCEL", extra=(b"\xdd\xff\xff\xff\xff",)))
bad_other("cancel, an element behind it nested 33 deep", EXTRA, "CANCEL", frame("CANCEL", extra=(nested(33),)))

STR, NAME = "service: must be a str", "service: not a valid name"
bad_request("request, service missing", STR, request()[:13])
bad_request("request, service as bin", STR, service=b"\xc4\x04echo")
bad_request("request, service as number", STR, service=b"\x07")
bad_request("request, service cut off", STR, request()[:16])
bad_request("request, service announces 2^32-1 bytes", STR, service=b"\xdb\xff\xff\xff\xff")
for name, text in (("empty", ""), ("64 bytes", "a" * 64), ("capital letter", "Echo"), ("digit first", "1echo"),
                   ("hyphen first", "-echo"), ("dot first", ".echo"), ("dot last", "echo."),
                   ("two dots", "a..b"), ("part begins with a digit", "a.1b"), ("slash", "a/b"), ("space", "a b"),
                   ("NUL", "a\0b"), ("beyond ASCII", "\u00e9cho")):
    bad_request("request, service: " + name, NAME, service=pack(text))
bad_request("request, service that is not UTF-8", NAME, service=b"\xa2a\xff")
STR, NAME = "method: must be a str", "method: not a valid name"
bad_request("request, method as nil", STR, method=NIL)
bad_request("request, method cut off", STR, request()[:19])
for name, text in (("empty", ""), ("64 bytes", "a" * 64), ("dot", "a.b"), ("capital letter", "eCho"),
                   ("digit first", "1"), ("underscore first", "_a"), ("NUL", "a\0")):
    bad_request("request, method: " + name, NAME, method=pack(text))
TTL = "ttl_ms: must be an integer from 1 to 86400000"
for name, data in (("0", b"\x00"), ("0 as uint 32", u32(0)), ("a millisecond over a day", u32(86400001)),
                   ("negative", b"\xff"), ("negative int 64", b"\xd3" + b"\xff" * 8),
                   ("2^64-1", b"\xcf" + b"\xff" * 8), ("float", b"\xcb\x40\x8f\x40\x00\x00\x00\x00\x00"),
                   ("str", b"\xa41000"), ("nil", NIL), ("bool", b"\xc3")):
    bad_request("request, ttl: " + name, TTL, ttl=data)
bad_request("request, ttl cut off", TTL, request()[:26])
PRIORITY = "priority: must be an integer from 0 to 3"
for name, data in (("4", b"\x04"), ("-1", b"\xff"), ("256", b"\xcd\x01\x00"), ("2^32 + 1", b"\xcf\0\0\0\x01\0\0\0\x01"),
                   ("nil", NIL)):
    bad_request("request, priority: " + name, PRIORITY, priority=data)
META, KEY = "meta: must be a map of str to str", "meta: a key must have 1 to 64 bytes"
for name, data in (("nil", NIL), ("array", b"\x90"), ("value is a number", b"\x81\xa1k\x01"),
                   ("value is nil", b"\x81\xa1k\xc0"), ("value is a map", b"\x81\xa1k\x80"),
                   ("value is bin", b"\x81\xa1k\xc4\x01v"), ("key is a number", b"\x81\x01\xa1v"),
                   ("announces 2^32-1 pairs", b"\xdf\xff\xff\xff\xff"), ("announces 65535 pairs", b"\xde\xff\xff")):
    bad_request("request, meta: " + name, META, meta=data)
bad_request("request, meta announces a pair more than there is", META, meta=b"\x82\xa1k\xa1v", body=b"")
bad_request("request, meta: empty key", KEY, meta=b"\x81\xa0\xa1v")
bad_request("request, meta: key of 65 bytes", KEY, meta=pack({"k" * 65: "v"}))
bad_request("request, meta: key that is not UTF-8", "meta: must be UTF-8", meta=b"\x81\xa1\xff\xa1v")
bad_request("request, meta: value that is not UTF-8", "meta: must be UTF-8", meta=b"\x81\xa1k\xa3\xed\xa0\x80")
bad_request("request, meta of 4097 bytes", "meta: longer than 4096 bytes", meta=META_4097)
bad_request("request, body missing", "body: missing", body=b"")
bad_request("request, body cut off, an element behind it", "body: not valid msgpack", body=b"", extra=(b"\xa3ab",))
bad_request("request, body nested 33 deep, an element behind it", "body: not valid msgpack", body=nested(33),
            extra=(NIL,))

for kind in ("REPLY", "PARTIAL"):
    low = kind.lower()
    rule = "status: must be an unsigned integer of 32 bits"
    bad_other(low + ", status as str", rule, kind, reply(kind=kind, status=b"\xa2OK"))
    bad_other(low + ", status negative", rule, kind, reply(kind=kind, status=b"\xff"))
    bad_other(low + ", status of 2^32", rule, kind, reply(kind=kind, status=b"\xcf" + struct.pack(">Q", 2 ** 32)))
    rule = "load: must be an unsigned integer of 32 bits"
    bad_other(low + ", load as nil", rule, kind, reply(kind=kind, load=NIL))
    bad_other(low + ", load of 2^32", rule, kind, reply(kind=kind, load=b"\xcf" + struct.pack(">Q", 2 ** 32)))
    bad_other(low + ", load negative", rule, kind, reply(kind=kind, load=b"\xd0\x80"))
    bad_other(low + ", meta as nil", META, kind, reply(kind=kind, meta=NIL))
    bad_other(low + ", meta of 4097 bytes", "meta: longer than 4096 bytes", kind, reply(kind=kind, meta=META_4097))
    bad_other(low + ", body missing", "body: missing", kind, reply(kind=kind, body=b""))
bad_other("partial that is an error", "status: must be 0 in a PARTIAL", "PARTIAL", reply(kind="PARTIAL", status=b"\x01"))
for name, data in (("nil", NIL), ("array", b"\x90"), ("str", b"\xa1d"), ("announces 2^32-1 pairs", b"\xdf\xff\xff\xff\xff")):
    bad_ready("ready, descriptor: " + name, "descriptor: must be a map", data)
bad_ready("ready, descriptor cut off", "descriptor: not valid msgpack", b"\x82\xa4name\xa4echo", b"")
bad_ready("ready, descriptor nested 33 deep", "descriptor: not valid msgpack", b"\x81\xa1x" + nested(32))
CAPACITY = "capacity: must be an integer from 0 to 65535"
for name, data in (("65536", b"\xce\x00\x01\x00\x00"), ("negative", b"\xff"), ("str", b"\xa11"), ("missing", b"")):
    bad_ready("ready, capacity: " + name, CAPACITY, pack(DESCRIPTOR), data)
bad_other("ping, load as str", "load: must be an unsigned integer of 32 bits", "PING", frame("PING", b"\xa15"))
bad_other("ping, load of 2^32", "load: must be an unsigned integer of 32 bits", "PING",
          frame("PING", b"\xcf" + struct.pack(">Q", 2 ** 32)))
for kind in ("PONG", "WHO"):
    bad_other(kind.lower() + ", epoch negative", "epoch: must be an unsigned integer", kind, frame(kind, b"\xff"))
    bad_other(kind.lower() + ", epoch cut off", "epoch: must be an unsigned integer", kind, frame(kind, b"\xcf\x01\x02"))
bad_other("who, epoch 0", "epoch: must not be 0 in a WHO", "WHO", frame("WHO", b"\x00"))

# ---- values -----------------------------------------------------------------------------------------------

values = []


def value(name, data, rule=None):
    values.append({"name": name, "hex": data.hex(), "valid": rule is None, "rule": rule})


CUT = "truncated value"
for name, data in (("nil", NIL), ("false", b"\xc2"), ("true", b"\xc3"), ("0", b"\x00"), ("127", b"\x7f"),
                   ("-1", b"\xff"), ("-32", b"\xe0"), ("uint 8", b"\xcc\xff"), ("uint 16", b"\xcd\xff\xff"),
                   ("uint 32", u32(2 ** 32 - 1)), ("uint 64", b"\xcf" + b"\xff" * 8), ("int 8", b"\xd0\x80"),
                   ("int 16", b"\xd1\x80\x00"), ("int 32", b"\xd2\x80\0\0\0"), ("int 64", b"\xd3\x80" + bytes(7)),
                   ("1 in nine bytes", b"\xd3" + bytes(7) + b"\x01"), ("float 32", b"\xca\x3f\x80\0\0"),
                   ("float 64", b"\xcb\x3f\xf0" + bytes(6)), ("NaN", b"\xcb\x7f\xf8" + bytes(6)),
                   ("empty str", b"\xa0"), ("str of 31 bytes", pack("a" * 31)), ("str 8", pack("a" * 255)),
                   ("str 16", pack("a" * 256)), ("str 32", b"\xdb\0\0\0\x01a"), ("str with NUL", b"\xa1\0"),
                   ("str, two, three and four bytes each", pack("\u00e9\u20ac\U0001d11e\U0010ffff")),
                   ("empty bin", b"\xc4\x00"), ("bin with any bytes", b"\xc4\x02\xff\xfe"), ("bin 16", b"\xc5\0\x01a"),
                   ("bin 32", b"\xc6\0\0\0\x01a"), ("timestamp 32", b"\xd6\xff\0\0\0\x01"),
                   ("timestamp 64", b"\xd7\xff" + struct.pack(">Q", 999999999 << 34 | 1)),
                   ("timestamp 96", b"\xc7\x0c\xff" + struct.pack(">Iq", 999999999, -1)),
                   ("timestamp 32 as ext 8", b"\xc7\x04\xff\0\0\0\x01"), ("empty array", b"\x90"),
                   ("array 16", b"\xdc\0\x01\xc0"), ("array 32", b"\xdd\0\0\0\x01\xc0"), ("empty map", b"\x80"),
                   ("map 16", b"\xde\0\x01\xa1k\xc0"), ("map 32", b"\xdf\0\0\0\x01\xa1k\xc0"),
                   ("map with a key twice", b"\x82\xa1k\x01\xa1k\x02"), ("arrays nested 32 deep", nested(32)),
                   ("maps nested 32 deep", b"\x81\xa1k" * 31 + b"\x80"),
                   ("siblings at depth 32", b"\x91" * 31 + b"\x90"),
                   ("mixed", pack({"a": [1, {"b": [{}, [], "c"]}], "d": {"e": None}}))):
    value(name, data)
for name, data in (("nothing", b""), ("uint 8", b"\xcc"), ("uint 16", b"\xcd\x01"), ("uint 32", b"\xce\0\0\0"),
                   ("uint 64", b"\xcf" + bytes(7)), ("int 64", b"\xd3" + bytes(7)), ("float 32", b"\xca\0\0\0"),
                   ("float 64", b"\xcb" + bytes(7)), ("str", b"\xa3ab"), ("str 8 without length", b"\xd9"),
                   ("str 32 announcing 2^32-1 bytes", b"\xdb\xff\xff\xff\xffa"),
                   ("bin 32 announcing 2^32-1 bytes", b"\xc6\xff\xff\xff\xffa"),
                   ("ext 32 announcing 2^32-1 bytes", b"\xc9\xff\xff\xff\xff\xffa"), ("ext 8", b"\xc7\x04"),
                   ("timestamp", b"\xd6\xff\0\0\0"), ("array within an array", b"\x92\x91\x01")):
    value("cut off: " + name, data, CUT)
MANY = "more elements announced than bytes are left"
for name, data in (("array 32 of 2^32-1", b"\xdd\xff\xff\xff\xff"), ("map 32 of 2^32-1", b"\xdf\xff\xff\xff\xff"),
                   ("map 32 of 2^31", b"\xdf\x80\0\0\0"), ("array 16 of 65535", b"\xdc\xff\xff"),
                   ("map 16 of 65535", b"\xde\xff\xff"), ("array of one too many", b"\x93\x01\x02"),
                   ("map of one too many", b"\x82\xa1k\x01"), ("map whose last value is missing", b"\x81\xa1"[:2]),
                   ("array 32 of 2^32-1 within arrays", b"\x91" * 31 + b"\xdd\xff\xff\xff\xff")):
    value("announced: " + name, data, MANY)
value("map cut off in its value", b"\x81\xa1k\xcc", CUT)
value("reserved byte 0xc1", b"\xc1", "reserved byte 0xc1")
value("reserved byte within", b"\x92\x01\xc1", "reserved byte 0xc1")
DEEP = "nested too deeply"
value("arrays nested 33 deep", nested(33), DEEP)
value("arrays nested 1,000 deep", b"\x91" * 1000 + b"\xc0", DEEP)
value("maps nested 33 deep", b"\x81\xa1k" * 32 + b"\x80", DEEP)
value("empty map at depth 33", b"\x91" * 32 + b"\x80", DEEP)
UTF8 = "str that is not UTF-8"
for name, data in (("0xff", b"\xff"), ("lone continuation", b"\x80"), ("overlong slash", b"\xc0\xaf"),
                   ("overlong NUL", b"\xc1\x80"), ("overlong of three", b"\xe0\x9f\xbf"),
                   ("overlong of four", b"\xf0\x8f\xbf\xbf"), ("surrogate", b"\xed\xa0\x80"),
                   ("beyond U+10FFFF", b"\xf4\x90\x80\x80"), ("lead of five", b"\xf8\x88\x80\x80\x80"),
                   ("two of three", b"\xe2\x82"), ("three of four", b"\xf0\x9d\x84"), ("one of two", b"\xc3"),
                   ("behind 16 letters", b"a" * 16 + b"\xff")):
    value("str: " + name, bytes([0xa0 | len(data)]) + data, UTF8)
value("key that is not UTF-8", b"\x81\xa1\xff\x01", UTF8)
for name, data in (("number", b"\x01"), ("nil", NIL), ("bin", b"\xc4\x01k"), ("array", b"\x90"), ("map", b"\x80"),
                   ("timestamp", b"\xd6\xff\0\0\0\x01")):
    value("map key: " + name, b"\x81" + data + b"\x01", "map key that is no str")
value("second map key is a number", b"\x82\xa1k\x01\x02\x03", "map key that is no str")
value("key of a map in an array in a map", b"\x81\xa1k\x91\x81\x01\x02", "map key that is no str")
value("ext of type 1", b"\xd4\x01\x00", "ext type that is no timestamp")
value("ext of type -2", b"\xc7\x04\xfe\0\0\0\x01", "ext type that is no timestamp")
value("timestamp of 1 byte", b"\xd4\xff\x00", "timestamp of a wrong size")
value("timestamp of 16 bytes", b"\xd8\xff" + bytes(16), "timestamp of a wrong size")
value("timestamp 64 of 10^9 nanoseconds", b"\xd7\xff" + struct.pack(">Q", 10 ** 9 << 34),
      "timestamp with a second or more of nanoseconds")
value("timestamp 96 of 10^9 nanoseconds", b"\xc7\x0c\xff" + struct.pack(">Iq", 10 ** 9, 0),
      "timestamp with a second or more of nanoseconds")
value("a byte behind it", b"\xc0\xc0", "bytes behind the value")
value("a byte behind an array", b"\x91\x01\x02", "bytes behind the value")

# What a broker lets pass in a body, and whoever reads it refuses: every invalid value, in a REQUEST.
for entry in values:
    if not entry["valid"] and entry["hex"]:
        bad_values.append({"name": "request, body: " + entry["name"],
                           "hex": request(body=bytes.fromhex(entry["hex"])).hex(), "rule": entry["rule"]})
bad_values.append({"name": "ready, descriptor with a key that is no str",
                   "hex": frame("READY", b"\x81\x01\x02", b"\x01").hex(), "rule": "map key that is no str"})

# ---- descriptors ------------------------------------------------------------------------------------------

descriptors = []


def descriptor(name, thing, rule=None):
    data = thing if isinstance(thing, bytes) else pack(thing)
    entry = {"name": name, "hex": data.hex(), "valid": rule is None, "rule": rule}
    if not isinstance(thing, bytes):
        entry["descriptor"] = thing
    descriptors.append(entry)


def base(**over):
    thing = {"name": "notes", "version": "1.4.2", "instance": "7f3a", "methods": [{"name": "get"}]}
    thing.update(over)
    return {key: what for key, what in thing.items() if what is not Ellipsis}


def method(**over):
    one = {"name": "get"}
    one.update(over)
    return base(methods=[{key: what for key, what in one.items() if what is not Ellipsis}])


descriptor("smallest", base())
descriptor("no methods", base(methods=[]))
descriptor("everything", base(summary="Keeps notes", methods=[
    {"name": "get", "summary": "Reads one", "input": {"type": "object"}, "output": True, "scope": "notes:read",
     "http": ["GET /v1/notes/{id}"], "idempotent": True, "timeout_ms": 1000, "streaming": False},
    {"name": "create", "http": ["POST /v1/notes"]}]))
descriptor("unknown keys", base(team="a", methods=[{"name": "get", "cost": 3, "version": 7}]))
descriptor("eight bindings", method(http=["GET /v1/n/%d" % i for i in range(8)]))
descriptor("same path, other verb", method(http=["%s /v1/n/{id}" % v for v in ("GET", "POST", "PUT", "PATCH", "DELETE")]))
descriptor("literal beside parameter", method(http=["GET /v1/n/{id}", "GET /v1/n/latest"]))
descriptor("literal behind a parameter", method(http=["POST /v1/n/{id}/archive"]))
descriptor("all characters of a literal", method(http=["GET /v1/n/aZ09-._~!$&'()*+,;=:@"]))
descriptor("path of 255 bytes", method(http=["GET /v1/" + "n" * 251]))
for text in ("0.0.0", "1.2.3-alpha.1", "1.2.3+build.01", "1.2.3-0a.-.x+y", "99999999999999999999.0.0"):
    descriptor("version " + text, base(version=text))
descriptor("instance of 64 bytes", base(instance="i" * 64))
descriptor("1024 methods", base(methods=[{"name": "m%d" % i} for i in range(1024)]))
descriptor("timeout of a day", method(timeout_ms=86400000))
descriptor("not msgpack", b"\xc1", "descriptor: reserved byte 0xc1 at byte 0")
descriptor("cut off", pack(base())[:-1], "descriptor: truncated value at byte %d" % (len(pack(base())) - 4))
descriptor("bytes behind it", pack(base()) + b"\0", "descriptor: bytes behind the value at byte %d" % len(pack(base())))
descriptor("no bytes", b"", "descriptor: must have 1 to 262144 bytes")
descriptor("array", [], "descriptor: must be a map")
for key in ("name", "version", "instance", "methods"):
    descriptor("without " + key, base(**{key: ...}), key + ": is required")
descriptor("name twice", b"\x85" + pack(base())[1:] + b"\xa4name\xa1x", "name: given twice")
descriptor("name as number", base(name=7), "name: must be a str")
descriptor("name with a capital", base(name="Notes"), "name: not a valid name")
descriptor("name of 64 bytes", base(name="n" * 64), "name: longer than 63 bytes")
for text in ("", "1", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+", "1.2.3-a_b", "1.2.x",
             " 1.2.3", "1.2.3 "):
    descriptor("version '%s'" % text, base(version=text), "version: not a semantic version")
descriptor("version of 65 bytes", base(version="1.2.3-" + "a" * 59), "version: longer than 64 bytes")
descriptor("version as number", base(version=1.0), "version: must be a str")
descriptor("instance empty", base(instance=""), "instance: must not be empty")
descriptor("instance of 65 bytes", base(instance="i" * 65), "instance: longer than 64 bytes")
descriptor("methods as map", base(methods={}), "methods: must be an array of maps")
descriptor("a method that is a str", base(methods=["get"]), "methods[0].method: must be a map")
descriptor("1025 methods", base(methods=[{"name": "m%d" % i} for i in range(1025)]), "methods: more than 1024")
descriptor("two methods of a name", base(methods=[{"name": "a"}, {"name": "b"}, {"name": "a"}]),
           "methods: two methods named a")
descriptor("method without name", base(methods=[{"name": "a"}, {}]), "methods[1].name: is required")
descriptor("method name with a dot", method(name="a.b"), "methods[0].name: not a valid name")
descriptor("summary as number", method(summary=1), "methods[0].summary: must be a str")
descriptor("input as str", method(input="object"), "methods[0].input: must be a map or a boolean")
descriptor("output as nil", method(output=None), "methods[0].output: must be a map or a boolean")
descriptor("scope as array", method(scope=[]), "methods[0].scope: must be a str")
descriptor("idempotent as 1", method(idempotent=1), "methods[0].idempotent: must be a boolean")
descriptor("streaming as nil", method(streaming=None), "methods[0].streaming: must be a boolean")
for name, thing in (("0", 0), ("a day and 1 ms", 86400001), ("negative", -1), ("float", 1.5)):
    descriptor("timeout " + name, method(timeout_ms=thing), "methods[0].timeout_ms: must be an integer from 1 to 86400000")
descriptor("job, all of it", method(job={
    "max_attempts": 1000, "timeout_ms": 86400000, "backoff_ms": 1, "backoff_max_ms": 86400000, "keep_ms": 7776000000,
    "concurrency": 65535, "final": ["NOT_FOUND", "ABORTED", "NOT_FOUND"]}))
descriptor("job, empty", method(job={}))
descriptor("job, no code is final", method(job={"final": []}))
descriptor("job, unknown keys", method(job={"colour": "blue"}))
descriptor("job as array", method(job=[]), "methods[0].job: must be a map")
descriptor("job with a key twice", b"\x84" + pack(base(methods=...))[1:] + b"\xa7methods\x91\x82\xa4name\xa3get\xa3job\x82" +
           2 * (pack("timeout_ms") + b"\x01"), "methods[0].job.timeout_ms: given twice")
for key, most in (("max_attempts", 1000), ("timeout_ms", 86400000), ("backoff_ms", 86400000), ("backoff_max_ms", 86400000),
                  ("keep_ms", 7776000000), ("concurrency", 65535)):
    for name, thing in (("0", 0), ("beyond", most + 1), ("negative", -1), ("str", "1"), ("nil", None)):
        descriptor("job, %s %s" % (key, name), method(job={key: thing}),
                   "methods[0].job.%s: must be an integer from 1 to %d" % (key, most))
descriptor("job, backoff_max_ms below backoff_ms", method(job={"backoff_ms": 11, "backoff_max_ms": 10}),
           "methods[0].job.backoff_max_ms: must not be below backoff_ms")
descriptor("job, final as str", method(job={"final": "ABORTED"}), "methods[0].job.final: must be an array of code names")
descriptor("job, 33 final codes", method(job={"final": 33 * ["ABORTED"]}), "methods[0].job.final: more than 32 codes")
for name, thing in (("number", 5), ("OK", "OK"), ("lower case", "not_found"), ("unknown", "GONE"), ("empty", "")):
    descriptor("job, final " + name, method(job={"final": [thing]}),
               "methods[0].job.final: must name codes of errors, such as NOT_FOUND")
descriptor("http as str", method(http="GET /v1/n"), "methods[0].http: must be an array of str")
descriptor("nine bindings", method(http=["GET /v1/n/%d" % i for i in range(9)]), "methods[0].http: more than 8 bindings")
for name, text, rule in (
        ("number", 7, "must be a str"), ("empty", "", "must be a verb, one space and a path"),
        ("no space", "GET/v1/n", "must be a verb, one space and a path"),
        ("verb HEAD", "HEAD /v1/n", "verb must be GET, POST, PUT, PATCH or DELETE"),
        ("verb in lower case", "get /v1/n", "verb must be GET, POST, PUT, PATCH or DELETE"),
        ("not under /v1/", "GET /notes", "path must be under /v1/"), ("only /v1/", "GET /v1/", "path must be under /v1/"),
        ("/v1", "GET /v1", "path must be under /v1/"), ("two spaces", "GET  /v1/n", "path must be under /v1/"),
        ("call", "GET /v1/call", "path is reserved"), ("under call", "GET /v1/call/x", "path is reserved"),
        ("jobs", "POST /v1/jobs/{id}", "path is reserved"), ("schedules", "GET /v1/schedules", "path is reserved"),
        ("services", "GET /v1/services/x", "path is reserved"),
        ("begins with a parameter", "GET /v1/{x}/y", "path must not begin with a parameter"),
        ("empty segment", "GET /v1/n//x", "not a valid path segment"),
        ("slash last", "GET /v1/n/", "not a valid path segment"), ("dots", "GET /v1/n/../x", "not a valid path segment"),
        ("query", "GET /v1/n?x=1", "not a valid path segment"), ("percent", "GET /v1/n/%20", "not a valid path segment"),
        ("NUL", "GET /v1/n/\0", "not a valid path segment"), ("parameter within text", "GET /v1/n/a{id}", "not a valid path segment"),
        ("open parameter", "GET /v1/n/{id", "not a valid parameter"),
        ("empty parameter", "GET /v1/n/{}", "not a valid parameter"),
        ("text behind a parameter", "GET /v1/n/{id}x", "not a valid parameter"),
        ("parameter begins with a digit", "GET /v1/n/{1d}", "not a valid parameter"),
        ("parameter twice", "GET /v1/n/{id}/x/{id}", "parameter named twice"),
        ("path of 256 bytes", "GET /v1/" + "n" * 252, "path longer than 255 bytes")):
    descriptor("binding: " + name, method(http=[text]), "methods[0].http[0]: " + rule)
descriptor("jobs binds /v1/jobs and /v1/schedules", base(name="jobs", methods=[
    {"name": "a", "http": ["POST /v1/jobs", "PUT /v1/schedules/{name}", "GET /v1/jobs/{id}/events", "GET /v1/n"]}]))
descriptor("jobs binds its own, its name stands last", {**base(name=..., methods=[{"name": "a", "http": ["GET /v1/jobs/{id}"]}]),
                                                        "name": "jobs"})
descriptor("jobs binds what is the gateway's", base(name="jobs", methods=[{"name": "a", "http": ["GET /v1/jobs", "GET /v1/services"]}]),
           "methods[0].http[1]: path is reserved")
for text in ("jobs2", "job", "my.jobs", "schedules"):
    descriptor(text + " binds what is of jobs", base(name=text, methods=[{"name": "a"}, {"name": "b", "http": ["GET /v1/schedules/x"]}]),
               "methods[1].http[0]: path is reserved")
descriptor("second binding is wrong", method(http=["GET /v1/n", "x"]),
           "methods[0].http[1]: must be a verb, one space and a path")
descriptor("two bindings that match the same requests",
           base(methods=[{"name": "a", "http": ["GET /v1/n/{id}"]}, {"name": "b", "http": ["GET /v1/n/{id}"]}]),
           "http: two bindings match what GET /v1/n/{id} does")

# ---- patches ----------------------------------------------------------------------------------------------

OTHER_ID = bytes.fromhex("00000a0b00000003")
patches = []


def patch(name, before, after, **what):
    patches.append({"name": name, "before": before.hex(), **what, "after": after.hex()})


patch("id", request(), request(id=OTHER_ID), id=OTHER_ID.hex())
CLIENT_ID, BROKER_ID = bytes.fromhex("8f3c1d0a52e6b947"), bytes.fromhex("9d41f2c700000011")
EXAMPLE = {"service": pack("notes"), "method": pack("get"), "meta": pack({"tenant": "acme"}), "body": pack({"id": 7})}
patch("SPEC.md, Example: request", request(ttl=u32(5000), id=CLIENT_ID, **EXAMPLE),
      request(ttl=u32(4988), id=BROKER_ID, **EXAMPLE), id=BROKER_ID.hex(), ttl_ms=4988)
EXAMPLE = {"meta": pack({"wait_us": "40", "handler_us": "850"}), "body": pack({"id": 7, "title": "a"})}
patch("SPEC.md, Example: reply", reply(load=u32(3), id=BROKER_ID, **EXAMPLE),
      reply(load=u32(12310), id=CLIENT_ID, **EXAMPLE), id=CLIENT_ID.hex(), load=12310)
for name, before, after in (("uint 32", u32(30000), u32(29750)), ("fixint", b"\x64", b"\x63"),
                            ("uint 8", b"\xcc\xc8", b"\xcc\x05"), ("uint 16", b"\xcd\x03\xe8", b"\xcd\x00\x07"),
                            ("uint 64", b"\xcf" + struct.pack(">Q", 30000), b"\xcf" + struct.pack(">Q", 29750)),
                            ("int 32", b"\xd2\x00\x00\x75\x30", b"\xd2\x00\x00\x74\x36")):
    patch("ttl as " + name, request(ttl=before), request(ttl=after), ttl_ms=msgpack.unpackb(after))
patch("ttl that would grow stays", request(ttl=u32(100)), request(ttl=u32(100)), ttl_ms=101)
patch("ttl of 0 is written as 1", request(), request(ttl=u32(1)), ttl_ms=0)
for name, before, after in (("uint 32", u32(3), u32(1250)), ("int 32", b"\xd2\0\0\0\x03", u32(1250)),
                            ("uint 64", b"\xcf" + struct.pack(">Q", 3), b"\xcf" + struct.pack(">Q", 1250)),
                            ("fixint becomes 0", b"\x03", b"\x00"), ("uint 8 becomes 0", b"\xcc\x03", b"\xcc\x00"),
                            ("uint 16 becomes 0", b"\xcd\x00\x03", b"\xcd\x00\x00")):
    patch("load as " + name, reply(load=before), reply(load=after), load=1250)
patch("load of a partial", reply(kind="PARTIAL", load=u32(3)), reply(kind="PARTIAL", load=u32(2 ** 32 - 1)),
      load=2 ** 32 - 1)


def write(name, things):
    """One vector per line: easy to compare, easy to search."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    with open(path, "w", encoding="ascii") as out:
        out.write("{\n")
        for at, (key, entries) in enumerate(things.items()):
            out.write('"%s": [\n%s\n]%s\n' % (key, ",\n".join(json.dumps(entry) for entry in entries),
                                              "," if at + 1 < len(things) else ""))
        out.write("}\n")


write("messages.json", {"valid": valid, "invalid": invalid, "bad_values": bad_values})
write("values.json", {"values": values})
write("descriptors.json", {"descriptors": descriptors})
write("patches.json", {"patches": patches})
