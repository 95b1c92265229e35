# SPDX-License-Identifier: MIT
"""What the fuzzers begin with: a few good inputs of each kind, made here, so that no corpus of binary files needs to be kept."""
import struct

TEXT, CALL, REPLY, SYNC, MORE, EXTENSION, OPTIONAL = 1, 2, 4, 8, 16, 32, 64
CONTROL = 255


def frame(body, lane=0, flags=0, number=1, kind=0):
    return struct.pack("<IHBBQ", len(body), kind, lane, flags, number) + body


def item(kind, value):
    return struct.pack("<HH", kind, len(value)) + value


def greeting(items=b"", lowest=1, highest=1):
    fixed = struct.pack("<HHIIIQQQQ", lowest, highest, 72 + len(items), 1, 16, 16 << 20, 1 << 20, 8, 2**64 - 1)
    return b"telex\r\n\x1a" + fixed + bytes(range(16)) + items


def pieces():
    first = frame(struct.pack("<Q", 12) + b"to be ", lane=1, flags=MORE, number=4)
    return first + frame(b"or not", lane=1, number=4)


def extended():
    items = item(1, struct.pack("<I", 2)) + item(0x8009, b"unknown")
    return frame(struct.pack("<I", len(items)) + items + b"with descriptors", flags=EXTENSION, number=5)


CONTROLS = {
    "taken": frame(struct.pack("<QQ", 9, 3), CONTROL, 0, 7, 1),
    "credit": frame(struct.pack("<QQ", 1 << 20, 2**64 - 1), CONTROL, 0, 0, 2),
    "withdraw": frame(b"", CONTROL, 0, 8, 3),
    "outcome": frame(struct.pack("<I", 2), CONTROL, 0, 8, 4),
    "cancel": frame(b"", CONTROL, 0, 3, 5),
    "fail": frame(struct.pack("<I", 2) + "pas prêt".encode(), CONTROL, 0, 3, 6),
    "bye": frame(struct.pack("<IIQ", 4, 0, 9) + b"reserved bits", CONTROL, 0, 0, 7),
    "unknown": frame(b"some day", CONTROL, OPTIONAL, 1, 99),
}

DATA = {
    "text": frame(b"hello", flags=TEXT),
    "empty": frame(b"", number=2),
    "call": frame(b"what?", flags=TEXT | CALL | SYNC, number=3),
    "reply": frame(struct.pack("<Q", 3) + b"that", flags=TEXT | REPLY, number=1),
    "pieces": pieces(),
    "extended": extended(),
}

CHUNK, DESCRIPTORS, PRESENT = 64, 32, 128


def record(body, flags=0, lane=0, number=1, kind=0):
    """A record of a ring of shared memory (src/medium/shm/layout.h)."""
    padding = bytes(-len(body) % 16)
    return struct.pack("<IHBBQ", len(body), kind, lane, flags | PRESENT, number) + body + padding


def chunk(slot, length):
    return struct.pack("<IIQ", slot, 0, length)


def attach(kind=1, ring=16384, arena=65536, version=1):
    return struct.pack("<IHHQQIII", 0x4D4C5854, version, kind, ring, arena, 1, 0, 0) + bytes(28)


RECORDS = {
    "text": record(b"hello", TEXT),
    "call": record(b"what?", TEXT | CALL, number=2),
    "reply": record(struct.pack("<Q", 1) + b"that", REPLY, number=3),
    "chunk": record(chunk(1, 5000), CHUNK, number=4),
    "pieces": record(struct.pack("<Q", 12) + b"to be ", MORE, 1, 5) + record(b"or not", 0, 1, 5),
    "chunks": record(struct.pack("<Q", 5000) + chunk(0, 4096), MORE | CHUNK, 2, 6) + record(chunk(1, 904), CHUNK, 2, 6),
    "descriptors": record(struct.pack("<Q", 1) + b"one", DESCRIPTORS, number=7),
    "fail": record(frame(struct.pack("<I", 2) + b"not now", CONTROL, 0, 1, 6), 0, CONTROL),
    "withdrawn": record(struct.pack("<Q", 12) + b"to be ", MORE, 3, 8) + record(frame(b"", CONTROL, 0, 8, 3), 0, CONTROL),
    "bye": record(frame(struct.pack("<IIQ", 0, 0, 0), CONTROL, 0, 0, 7), 0, CONTROL),
}


def rings():
    everything = b"".join(RECORDS.values())
    plain = {name: bytes([0, 1]) + bytes(7) + content for name, content in RECORDS.items()}
    return {**plain, **{f"all{how}": bytes([how, 1]) + bytes(7) + everything for how in range(0, 64, 5)}}


HELLO = b"telex pipe 1 0123456789abcdef0123456789abcdef\n"

SEEDS = {
    "address": {
        "unix": b"unix:///tmp/name",
        "abstract": b"unix://@name?max=64KiB&wire=lines",
        "pipe": b"pipe:///tmp/name?mode=0622&wire=lines",
        "tcp": b"tcp://127.0.0.1:7000?wait=block&full=drop-oldest&queue=8",
        "ipv6": b"tcp://[::1]:0?window=1MiB&mode=0660&program=p%C3%A9&greeting=500ms",
        "fault": b"fault+tcp://localhost:7000?fault=split:1,seed:2&size=64",
        "encoded": b"unix:///tmp/a%20b%3Fc",
        "fd": b"fd:3,4?wire=lines",
        "fd_one_way": b"fault+fd:-,7?wire=raw",
        "stdio": b"stdio:?max=1MiB",
    },
    "greeting": {
        "plain": greeting(),
        "named": greeting(item(0x8005, b"hello") + item(0x8006, struct.pack("<Q", 4711))),
        "later": greeting(item(0x8005, b"hello"), 2, 3),
        "protocol": greeting(item(0x8001, b"bank") + item(0x8002, struct.pack("<I", 2)) + item(0x8003, bytes(64)) + item(0x8004, b"teller")),
        "insists": greeting(item(1, b"bank")),
    },
    "pipe_hello": {
        "one": b"\x2d" + HELLO,
        "cut": b"\x03" + HELLO[:20] + HELLO + HELLO[20:],
        "late": b"\x10garbage" + HELLO[:-1] + b"\r\n" + HELLO + b"telex pipe 2 " + HELLO,
    },
    "shm_attach": {
        "good": bytes(2) + greeting() + attach(),
        "two_parts": bytes([1, 80]) + greeting() + attach(),
        "named": bytes(2) + greeting(item(0x8005, b"hello")) + attach(),
        "refusal": bytes(2) + greeting() + attach(2),
        "larger": bytes(2) + greeting() + attach(1, 32768),
        "later": bytes(2) + greeting() + attach(1, 16384, 65536, 2),
        "one_descriptor": bytes([6, 0]) + greeting() + attach(),
    },
    "shm_ring": rings(),
    "utf8": {
        "ascii": b"plain text, longer than one stride",
        "mixed": "naïve café 日本語 \U0001f600 \U0010ffff".encode(),
        "edges": "\x7f\x80߿ࠀ퟿\ue000�￿\U00010000".encode(),
    },
    "wire_lines": {
        "lines": b"\x10\x03one\ntwo\r\n\nfour\n",
        "long": b"\x04\x01a line that is longer than the room\r\nrest",
        "returns": b"\x06\x02a\rb\r\r\n\r\n\r",
    },
    "wire_telex": {**CONTROLS, **DATA, "all": b"".join(DATA.values()) + b"".join(CONTROLS.values())},
}
