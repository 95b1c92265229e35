#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""telex and a peer that was written from docs/wire.md alone, in both directions, over unix and tcp; and what a peer does that means harm.

test_python_peer.py [--list] [NAME...]; TELEX is the path of the telex command. Without it the peer talks to itself only.
"""
import sys

sys.dont_write_bytecode = True

import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import telex_peer as peer

TELEX = os.environ.get("TELEX")
SECONDS = 30 * int(os.environ.get("TESTING_SLOW", "1"))
MIB = 1 << 20

cases = []
directory = None


def case(function):
    cases.append(function)
    return function


def equal(got, expected):
    assert got == expected, f"{str(got)[:200]!r} instead of {str(expected)[:200]!r}"


def path(name):
    return f"unix://{directory}/{name}"


# ---- the telex command ----


@contextlib.contextmanager
def telex(*arguments, stdin=subprocess.DEVNULL):
    """A telex process; killed when it is still there at the end."""
    process = subprocess.Popen([TELEX, *arguments], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def telex_listening(*arguments, count=1):
    """A telex process that listens, and where."""
    with telex(*arguments) as process:
        addresses = []
        while len(addresses) < count:
            line = process.stderr.readline().decode()
            assert line, f"telex {arguments} ended"
            found = re.search(r"listening on (\S+)", line)
            addresses += [found.group(1)] if found else []
        yield process, addresses


def ended(process, status=0):
    """What the process wrote, once it has ended so."""
    out, error = process.communicate(timeout=SECONDS)
    assert process.returncode == status, f"exit status {process.returncode} instead of {status}: {error.decode()}"
    return out, error.decode()


def serving(*arguments):
    return telex_listening("serve", path("server"), "tcp://127.0.0.1:0", *arguments, count=2)


@contextlib.contextmanager
def echo_server():
    """A telex serve --echo, over both media; it must live at the end and answer, whatever was done to it."""
    with serving("--echo") as (process, addresses):
        yield addresses
        for address in addresses:
            channel = peer.connect(address)
            equal(channel.call("still there?", timeout=10).text, "still there?")
            equal(channel.close(), 0)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        ended(process)


# ---- the peer with itself ----


@contextlib.contextmanager
def pair(address, dialing=None, accepting=None):
    """Two channels of this process; each moves in its own calls, so the greetings need a thread."""
    listener, accepted = peer.listen(address), []
    thread = threading.Thread(target=lambda: accepted.append(listener.accept(accepting)))
    thread.start()
    channel = peer.connect(listener.address, dialing)
    thread.join()
    try:
        yield channel, accepted[0]
    finally:
        channel.kill()
        accepted[0].kill()
        listener.close()


def settle(*channels):
    """Moves all that can move."""
    quiet = 0
    while quiet < 3:
        moved = [channel.process(0) for channel in channels]
        quiet = 0 if any(moved) else quiet + 1


@case
def alone_messages():
    for address in (path("pair"), "unix://@telex-peer-%d" % os.getpid(), "tcp://127.0.0.1:0", "tcp://[::1]:0"):
        with pair(address) as (a, b):
            for data in ("text", b"bytes\0\xff", "", b"", "né"):
                a.send(data, lane=3, kind=7)
                message = b.receive(5)
                equal(message.text if message.is_text else message.data, data)
                equal((message.lane, message.kind), (3, 7))
            settle(a, b)
            equal(a.untaken(), 0)


@case
def alone_pieces_interleave():
    with pair(path("pair")) as (a, b):
        sizes = {0: 3 * MIB, 1: 2 * MIB, 2: 65536, 3: 65537, 254: 10}
        for lane, size in sizes.items():
            a.send(bytes([lane]) * size, lane=lane)
        order = []
        for _ in sizes:
            settle(a, b)
            message = b.receive(5)
            equal(message.data, bytes([message.lane]) * sizes[message.lane])
            order.append(message.lane)
        equal(order[-1], 0)
        assert order.index(254) < order.index(1), order


@case
def alone_rendezvous():
    with pair(path("pair")) as (a, b):
        equal(a.send_sync("nobody takes it", timeout=0.05), "unknown")
        settle(a, b)
        equal(a.outcome(1), "withdrawn")
        number = a.send("taken back late")
        settle(a, b)
        equal(b.receive(5).number, number)
        a.withdraw(number)
        settle(a, b)
        equal(a.outcome(number), "taken")
        long = a.send(bytes(8 * MIB))
        a.process(0)
        a.withdraw(long)
        equal(a.outcome(long), "withdrawn")
        settle(a, b)
        a.send("after it")
        settle(a, b)
        equal(b.receive(5).text, "after it")
        b._report()
        settle(a, b)
        equal(a.untaken(), 0)


@case
def alone_calls():
    with pair(path("pair")) as (a, b):
        first, second, third = (a.start_call(text, lane=2) for text in ("one", "two", "three"))
        settle(a, b)
        requests = [b.receive(5) for _ in range(3)]
        b.reply(requests[1], "2")
        b.fail(requests[0], peer.FAILED, "no one")
        a.cancel(third)
        settle(a, b)
        equal(a.finish_call(second, 5).text, "2")
        try:
            a.finish_call(first, 5)
            assert False, "the call did not fail"
        except peer.CallFailed as failed:
            equal((failed.code, failed.sentence), (2, "no one"))
        assert third in b.cancelled
        b.reply(requests[2], "late")
        settle(a, b)
        equal(a.late, 1)


@case
def alone_descriptors():
    give = peer.Greeting(descriptors=4)
    with pair(path("pair"), give, peer.Greeting(descriptors=4)) as (a, b):
        reader, writer = os.pipe()
        a.send("before")
        a.send("with", descriptors=[writer])
        a.send("after")
        os.close(writer)
        messages = [b.receive(5) for _ in range(3)]
        equal([len(message.descriptors) for message in messages], [0, 1, 0])
        os.write(messages[1].descriptors[0], b"x")
        os.close(messages[1].descriptors[0])
        equal(os.read(reader, 2), b"x")
        os.close(reader)


@case
def alone_the_end():
    with pair(path("pair")) as (a, b):
        a.send("one")
        a.send("two")
        settle(a, b)
        b.receive(5)
        closing = threading.Thread(target=lambda: results.append(a.close(5)))
        results = []
        closing.start()
        b.receive(5)
        try:
            b.receive(5)
            assert False, "no end"
        except peer.Closed as closed:
            equal((closed.code, closed.taken), (0, 0))
        equal(b.close(5), 0)
        closing.join()
        equal(results, [0])


# ---- telex serves ----


@case
def serve_echo():
    with echo_server() as addresses:
        for address in addresses:
            channel = peer.connect(address)
            equal(channel.theirs.program, "telex")
            for data in ("text", b"bytes\0\xff\n", "", b"", "é" * 5000, bytes(65536), bytes(65537), bytes(range(256)) * 4096):
                reply = channel.call(data, timeout=10)
                equal(reply.text if reply.is_text else reply.data, data)
            numbers = [channel.start_call(str(i)) for i in range(100)]
            for i in reversed(range(100)):
                equal(channel.finish_call(numbers[i], 10).text, str(i))
            equal(channel.close(), 0)


@case
def serve_echo_many():
    with echo_server() as addresses:
        for address in addresses:
            channel = peer.connect(address)
            for i in range(3000):
                channel.send(f"message {i}")
            for i in range(3000):
                equal(channel.receive(10).text, f"message {i}")
            equal(channel.close(), 0)


@case
def serve_echo_lanes():
    with telex_listening("serve", path("server") + "?buffer=64MiB", "tcp://127.0.0.1:0?buffer=64MiB", "--echo", count=2) as (_process, addresses):
        for address in addresses:
            channel = peer.connect(address)
            sizes = {1: 6 * MIB, 2: 4 * MIB, 3: MIB, 7: 65537, 254: 100}
            for lane, size in sizes.items():
                channel.send(bytes([lane]) * size, lane=lane, kind=lane)
            got = [channel.receive(20) for _ in sizes]
            equal(sorted((message.lane, message.kind, len(message.data)) for message in got), [(lane, lane, size) for lane, size in sizes.items()])
            assert all(set(message.data) == {message.lane} for message in got)
            equal(channel.close(), 0)


@case
def serve_echo_sync():
    with echo_server() as addresses:
        for address in addresses:
            channel = peer.connect(address)
            for data in ("hand to hand", bytes(MIB)):
                equal(channel.send_sync(data, timeout=10), "taken")
                equal(len(channel.receive(10).data), len(data))
            equal(channel.close(), 0)


@case
def serve_echo_bounded():
    """A small window and a queue of two: the server must keep to the credit, which the peer checks, and everything must still get through."""
    with echo_server() as addresses:
        for address in addresses:
            channel = peer.connect(address, peer.Greeting(window=peer.WINDOW_LEAST, queue=2))
            equal(channel.queue, 2)
            for i in range(0, 60, 2):
                numbers = [channel.start_call(bytes([i]) * (1 + j * 10000)) for j in (i, i + 1)]
                for j, number in enumerate(numbers):
                    equal(channel.finish_call(number, 20).data, bytes([i]) * (1 + (i + j) * 10000))
            for i in range(50):
                channel.send(bytes(50000))
                equal(len(channel.receive(10).data), 50000)
            equal(channel.close(), 0)


@case
def serve_echo_fixed():
    with echo_server() as addresses:
        channel = peer.connect(addresses[0], peer.Greeting(fixed=8))
        equal(channel.call("12345678", timeout=5).text, "12345678")
        channel.close()


@case
def serve_command():
    with serving("--", "tr", "a-z", "A-Z") as (process, addresses):
        for address in addresses:
            channel = peer.connect(address)
            equal(channel.call("shout", timeout=10).text, "SHOUT")
            equal(channel.close(), 0)
        process.send_signal(signal.SIGTERM)
        ended(process)


@case
def serve_command_fails():
    with serving("--", "sh", "-c", "exit 3") as (_process, addresses):
        channel = peer.connect(addresses[0])
        try:
            channel.call("anything", timeout=10)
            assert False, "the call did not fail"
        except peer.CallFailed as failed:
            equal(failed.code, peer.FAILED)
            assert "3" in failed.sentence, failed.sentence
        equal(channel.close(), 0)


@case
def serve_cancel():
    with serving("--", "sh", "-c", "read -r seconds; sleep $seconds; echo slept") as (_process, addresses):
        for address in addresses:
            channel = peer.connect(address)
            slow = channel.start_call("20\n")
            channel.process(0)
            time.sleep(0.2)
            started = time.monotonic()
            channel.cancel(slow)
            equal(channel.call("0\n", timeout=10).text, "slept")
            channel.close()
            assert time.monotonic() - started < 8


# ---- frames by hand ----


class Hand:
    """A connection on which any bytes can be sent, and the frames that come are collected."""

    def __init__(self, address, greeting=None, greet=True):
        self.stream = peer.open_stream(address)
        self.decoder, self.greeting, self.content, self.over = peer.Decoder(), None, b"", False
        if greet:
            self.send((greeting or peer.Greeting(window=64 * MIB)).encode())

    def send(self, *contents):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for content in contents:
                self.stream.sendall(content)

    def frame(self):
        """The next frame; None at the end of the stream."""
        while True:
            if self.greeting is None and self.content:
                decoded = peer.Greeting.decode(self.content)
                if decoded:
                    self.greeting, length = decoded
                    self.decoder.feed(self.content[length:])
            frame = self.decoder.next() if self.greeting else None
            if frame or self.over:
                return frame
            try:
                content = self.stream.recv(1 << 16)
            except ConnectionResetError:
                content = b""
            self.over = not content
            if self.greeting is None:
                self.content += content
            else:
                self.decoder.feed(content)

    def until(self, kind):
        """The next control frame of this type."""
        while True:
            frame = self.frame()
            assert frame, f"the stream ended before a control frame of type {kind}"
            if frame.lane == peer.CONTROL and frame.kind == kind:
                return frame

    def refused(self, code, words):
        """The other side says goodbye so, and closes."""
        frame = self.until(peer.BYE)
        equal(struct.unpack_from("<I", frame.body)[0], code)
        sentence = frame.body[16:].decode()
        assert words in sentence, sentence
        equal(self.frame(), None)
        self.stream.close()

    def closed(self):
        """The other side closes without a word."""
        equal(self.frame(), None)
        equal(self.content, b"")
        self.stream.close()


def message(data=b"", lane=0, flags=0, number=1, kind=0):
    return peer.encode_frame(data, kind, lane, flags, number)


def first_piece(data, total, number=1, flags=0, lane=0):
    return message(struct.pack("<Q", total) + data, lane, flags | peer.MORE, number)


@case
def hand_bad_greetings():
    good = peer.Greeting().encode()
    bad = [
        b"GET / HTTP/1.0\r\n\r\n",
        b"\0" * 72,
        good[:7] + b"\x1b" + good[8:],
        good[:8] + struct.pack("<HH", 2, 1) + good[12:],
        good[:12] + struct.pack("<I", 71) + good[16:],
        good[:12] + struct.pack("<I", 2**32 - 1) + good[16:],
        good[:32] + struct.pack("<Q", peer.WINDOW_LEAST - 1) + good[40:],
        peer.Greeting(items=[(9, b"")]).encode(),
        peer.Greeting(items=[(1, b"bank")]).encode(),
        peer.Greeting(items=[(0x8009, b""), (0x8009, b"")]).encode(),
        peer.Greeting(items=[(5, b"\xff")], program="").encode(),
    ]
    with echo_server() as addresses:
        for address in addresses:
            for content in bad:
                hand = Hand(address, greet=False)
                hand.send(content)
                hand.closed()


@case
def hand_refused_greetings():
    with serving("--echo") as (_process, addresses):
        for address in addresses:
            Hand(address, peer.Greeting(2, 3)).refused(peer.BYE_VERSION, "versions")
            Hand(address, peer.Greeting(fixed=100, longest=99)).refused(peer.BYE_REFUSED, "100")
    with telex_listening("serve", path("sized") + "?size=8", "--echo") as (_process, addresses):
        Hand(path("sized"), peer.Greeting(fixed=9)).refused(peer.BYE_REFUSED, "9")
        channel = peer.connect(path("sized"))
        equal(channel.fixed, 8)
        equal(channel.call("12345678", timeout=5).text, "12345678")
        channel.close()
        hand = Hand(path("sized"))
        hand.send(message(b"1234567"))
        hand.refused(peer.BYE_PROTOCOL, "7 bytes")


@case
def hand_broken_rules():
    control, bomb = peer.encode_control, struct.pack("<IHBBQ", 2**32 - 1, 0, 0, 0, 1)
    broken = [
        (bomb, "4294967295 bytes"),
        (message(bytes(65537)), "65537"),
        (first_piece(b"x", 2**63), "9223372036854775808"),
        (first_piece(b"x", 16 * MIB + 1), "16777217"),
        (first_piece(b"x", 1), "goes on"),
        (first_piece(b"", 9), "empty piece"),
        (first_piece(b"x", 4) + message(b"12345"), "add up"),
        (first_piece(b"x", 4) + message(b"12"), "add up"),
        (first_piece(b"x", 4) + message(b"123", flags=peer.MORE), "add up"),
        (first_piece(b"x", 4) + message(b"123", number=2), "mixes pieces"),
        (first_piece(b"x", 4) + message(b"123", flags=peer.TEXT), "mixes pieces"),
        (first_piece(b"x", 16 * MIB) + first_piece(b"x", MIB, 2, 0, 1), "together"),
        (message(b"\xc3\x28", flags=peer.TEXT), "UTF-8"),
        (message(b"\xed\xa0\x80", flags=peer.TEXT), "UTF-8"),
        (message(flags=peer.RESERVED), "flags"),
        (message(flags=peer.OPTIONAL), "flags"),
        (message(bytes(8), flags=peer.CALL | peer.REPLY), "both"),
        (message(bytes(8), flags=peer.REPLY), "request 0"),
        (message(b"1234567", flags=peer.REPLY), "too short"),
        (message(number=0), "number 0"),
        (message(number=7) + message(number=7), "rise"),
        (message(number=7) + message(number=6), "rise"),
        (message(struct.pack("<I", 9), flags=peer.EXTENSION), "extensions"),
        (message(struct.pack("<IHH", 4, 9, 0), flags=peer.EXTENSION), "extension 9"),
        (message(struct.pack("<IHHI", 8, 1, 4, 1), flags=peer.EXTENSION), "descriptors"),
        (control(99), "not known"),
        (peer.encode_frame(b"", peer.CANCEL, peer.CONTROL, peer.TEXT, 1), "flags"),
        (control(peer.CANCEL, 0), "number 0"),
        (control(peer.TAKEN, 1, bytes(16)), "only 0 were sent"),
        (control(peer.OUTCOME, 1, bytes(4)), "outcome 0"),
        (control(peer.FAIL, 1, b"\1\0\0\0\xff"), "UTF-8"),
        (peer.encode_bye(0, 5), "only 0 were sent"),
        (peer.encode_bye(0, 0) + message(b"more"), "after its goodbye"),
    ]
    with echo_server() as addresses:
        for address in addresses:
            for content, words in broken:
                hand = Hand(address)
                hand.send(content)
                try:
                    hand.refused(peer.BYE_PROTOCOL, words)
                except AssertionError as error:
                    raise AssertionError(f"{words}: {error}") from error


@case
def hand_skipped():
    """Unknown optional items, frames and extensions are skipped; fails, cancels and outcomes of nothing are ignored."""
    with echo_server() as addresses:
        for address in addresses:
            items = [(0x8001, b"bank"), (0x8009, b"unknown"), (0xFFFF, bytes(3000))]
            hand = Hand(address, peer.Greeting(features=2**32 - 2, items=items))
            hand.send(peer.encode_frame(bytes(65536), 99, peer.CONTROL, peer.OPTIONAL, 5), peer.encode_frame(b"", 0, peer.CONTROL, peer.OPTIONAL, 0))
            hand.send(peer.encode_control(peer.CANCEL, 77), peer.encode_control(peer.FAIL, 77, struct.pack("<I", 2), "what?"))
            hand.send(peer.encode_control(peer.OUTCOME, 77, struct.pack("<I", 2)), peer.encode_control(peer.CREDIT, 0, bytes(16)))
            hand.send(message(struct.pack("<Q", 77) + b"a reply to nothing", flags=peer.REPLY, number=10))
            extension = peer.pack_items([(0x8009, bytes(4000)), (0x800A, b"")])
            hand.send(message(struct.pack("<I", len(extension)) + extension + b"extended", flags=peer.EXTENSION, number=11))
            frame = hand.frame()
            while frame.lane == peer.CONTROL:
                frame = hand.frame()
            equal((frame.body, frame.lane), (b"extended", 0))
            hand.send(peer.encode_bye(0, 1))
            hand.stream.close()


@case
def hand_byte_by_byte():
    with echo_server() as addresses:
        for address in addresses:
            hand = Hand(address, greet=False)
            content = peer.Greeting(pid=1).encode() + message(b"slowly", flags=peer.CALL | peer.TEXT) + first_piece(b"in ", 9, 2, peer.CALL) + message(b"pieces", 0, peer.CALL, 2)
            for byte in content:
                hand.send(bytes([byte]))
                time.sleep(0.0005)
            bodies = []
            while len(bodies) < 2:
                frame = hand.frame()
                bodies += [frame.body] if frame.lane == 0 else []
            equal(bodies, [b"slowly", b"in pieces"])
            hand.stream.close()


@case
def hand_withdraw():
    """One that is midway: dropped, outcome 2, and the lane is free again. One that was taken: outcome 1. The count covers what was taken only."""
    with echo_server() as addresses:
        for address in addresses:
            hand = Hand(address)
            withdraw = [peer.encode_control(peer.WITHDRAW, number) for number in range(10)]
            hand.send(message(b"one", number=1), first_piece(b"x", 100000, 2, peer.SYNC), withdraw[2], message(b"three", flags=peer.SYNC, number=3))
            frame = hand.until(peer.OUTCOME)
            equal((frame.number, frame.body), (2, struct.pack("<I", 2)))
            while True:
                frame = hand.until(peer.TAKEN)
                if frame.number == 3:
                    break
            equal(struct.unpack("<QB7x", frame.body), (2, 0))
            hand.send(withdraw[3])
            frame = hand.until(peer.OUTCOME)
            equal((frame.number, frame.body), (3, struct.pack("<I", 1)))
            hand.stream.close()


@case
def hand_withdraw_in_time():
    """A synchronous message and its withdrawal in one write: it must not be taken."""
    with echo_server() as addresses:
        for address in addresses:
            for _ in range(20):
                hand = Hand(address)
                hand.send(message(b"never", flags=peer.SYNC, number=5) + peer.encode_control(peer.WITHDRAW, 5) + message(b"ask", flags=peer.CALL, number=6))
                frame = hand.until(peer.OUTCOME)
                equal((frame.number, frame.body), (5, struct.pack("<I", 2)))
                frame = hand.frame()
                while frame.lane == peer.CONTROL:
                    frame = hand.frame()
                equal((frame.body, frame.request), (b"ask", 6))
                hand.stream.close()


@case
def hand_truncated():
    """Peers that die midway, at every byte of a greeting, a frame and a message in pieces."""
    content = peer.Greeting(pid=1).encode() + message(b"hello", flags=peer.TEXT) + first_piece(b"begun ", 100, 2)
    with echo_server() as addresses:
        for address in addresses:
            for length in range(0, len(content) + 1):
                hand = Hand(address, greet=False)
                hand.send(content[:length])
                hand.stream.close()


@case
def hand_bye_amid_a_frame():
    """The server's frame has left in part only when a goodbye comes: it finishes the frame, then tells what it took, and says goodbye itself."""
    with echo_server() as addresses:
        for address in addresses:
            hand = Hand(address)
            count = 2  # more, and the server would part with a client that does not read
            for number in range(1, count + 1):
                parts = [bytes([number]) * 65536] * 16
                pieces = [first_piece(parts[0], MIB, number)] + [message(part, 0, peer.MORE, number) for part in parts[1:-1]] + [message(parts[-1], 0, 0, number)]
                hand.send(*pieces)
            time.sleep(0.3)
            hand.send(peer.encode_bye(0, 0))
            hand.stream.shutdown(socket.SHUT_WR)
            taken = hand.until(peer.BYE)
            equal(struct.unpack_from("<IIQ", taken.body)[2], count)
            equal(hand.frame(), None)
            hand.stream.close()


@case
def hand_silent():
    """Many who say nothing, or half a greeting, delay nobody."""
    with echo_server() as addresses:
        for address in addresses:
            hands = [Hand(address, greet=False) for _ in range(50)]
            for hand in hands[::2]:
                hand.send(peer.MAGIC)
            started = time.monotonic()
            channel = peer.connect(address)
            channel.call("quick?", timeout=5)
            channel.close()
            assert time.monotonic() - started < 3
            for hand in hands:
                hand.stream.close()


# ---- telex listens ----


@case
def listen_prints():
    for address in (path("listen"), "tcp://127.0.0.1:0"):
        with telex_listening("listen", address, "-n", "4") as (process, addresses):
            channel = peer.connect(addresses[0])
            channel.send("one")
            equal(channel.send_sync("two", timeout=10), "taken")
            channel.send("")
            channel.send("x" * 50000)
            equal(channel.close(), 0)
            out, _error = ended(process)
            equal(out, b"one\ntwo\n\n" + b"x" * 50000 + b"\n")


@case
def listen_answers_no_calls():
    with telex_listening("listen", path("listen")) as (_process, addresses):
        channel = peer.connect(addresses[0])
        try:
            channel.call("anybody?", timeout=10)
            assert False, "the call did not fail"
        except peer.CallFailed as failed:
            equal(failed.code, peer.NO_HANDLER)
        channel.close()


# ---- telex dials ----


@contextlib.contextmanager
def listening():
    """Listeners over both media."""
    listeners = [peer.listen(path("python")), peer.listen("tcp://127.0.0.1:0")]
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


def received(channel):
    """All that comes until the goodbye."""
    messages = []
    with contextlib.suppress(peer.Closed):
        while True:
            messages.append(channel.receive(10))
    return messages


@case
def send_arguments():
    with listening() as listeners:
        for listener in listeners:
            for flags in ([], ["--sync"]):
                with telex("send", *flags, listener.address, "one", "", "dreißig") as process:
                    channel = listener.accept()
                    messages = received(channel)
                    equal([message.text for message in messages], ["one", "", "dreißig"])
                    equal([message.is_sync for message in messages], [bool(flags)] * 3)
                    equal([message.is_text for message in messages], [True] * 3)
                    equal(channel.close(), 0)
                    ended(process)


@case
def send_binary():
    content = os.urandom(5 * MIB + 3)
    with listening() as listeners:
        for listener in listeners:
            with telex("send", "--binary", listener.address, stdin=subprocess.PIPE) as process:
                feeder = threading.Thread(target=lambda: (process.stdin.write(content), process.stdin.close()))
                feeder.start()
                channel = listener.accept(peer.Greeting(window=peer.WINDOW_LEAST))
                messages = received(channel)
                equal([message.is_text for message in messages], [False])
                assert messages[0].data == content
                channel.close()
                feeder.join()
                process.stdin = None
                ended(process)


@case
def send_lines():
    with listening() as listeners:
        for listener in listeners:
            with telex("send", listener.address, stdin=subprocess.PIPE) as process:
                process.stdin.write(b"".join(b"%d\n" % i for i in range(5000)))
                process.stdin.close()
                process.stdin = None
                channel = listener.accept(peer.Greeting(queue=16))
                equal([message.text for message in received(channel)], [str(i) for i in range(5000)])
                channel.close()
                ended(process)


@case
def send_and_nobody_takes():
    """The peer reads everything and takes one of three; then it says goodbye: telex counts two."""
    with listening() as listeners:
        for listener in listeners:
            with telex("send", "--deadline", "5s", listener.address, "one", "two", "three") as process:
                channel = listener.accept()
                channel.receive(5)
                while len(channel.inbox) < 2 and not channel.bye:
                    channel.process(5)
                channel.close()
                _out, error = ended(process, 1)
                assert "2" in error, error


@case
def send_closing_amid_data():
    """telex has said goodbye while the peer was still sending: that is thrown away, and what the peer takes then counts."""
    with listening() as listeners:
        for listener in listeners:
            with telex("send", listener.address, "one") as process:
                channel = listener.accept()
                while not channel.decoder.content and not channel.inbox:
                    channel.process(5)
                time.sleep(0.3)
                channel.stream.setblocking(True)
                data = bytes(65536)
                channel.stream.sendall(first_piece(data, 14 * len(data)) + message(data, 0, peer.MORE) * 12 + message(data))
                channel.stream.setblocking(False)
                channel.number = channel.sent_messages = 1
                channel.state[1] = (0, "offered")
                with contextlib.suppress(peer.Closed):
                    channel.receive(5)
                    channel.receive(5)
                channel.say_bye()
                channel.close()
                ended(process)


@case
def send_to_the_dying():
    with listening() as listeners:
        for listener in listeners:
            with telex("send", listener.address, stdin=subprocess.PIPE) as process:
                channel = listener.accept()
                process.stdin.write(b"one\n")
                process.stdin.flush()
                channel.receive(5)
                channel.kill()
                process.stdin.write(b"two\n" * 1000)
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
                process.stdin = None
                ended(process, 1)


@case
def refusing_telex():
    with listening() as listeners:
        for listener in listeners:
            for refuse, greeting in (((peer.BYE_LIMIT, "come again tomorrow"), None), (None, peer.Greeting(2, 3))):
                with telex("send", listener.address, "hello") as process:
                    with contextlib.suppress(peer.ProtocolError):
                        listener.accept(greeting, refuse=refuse)
                    _out, error = ended(process, 4)
                    assert (refuse[1] if refuse else "versions") in error, error


@case
def receive_prints():
    with listening() as listeners:
        for listener in listeners:
            with telex("receive", listener.address) as process:
                channel = listener.accept()
                channel.send("news")
                equal(channel.send_sync("by hand", timeout=10), "taken")
                channel.send("x" * 300000)
                equal(channel.close(0.2), 1)  # more than a pipe holds: it is not taken before somebody reads what is printed
                out, _error = ended(process)
                equal(out, b"news\nby hand\n" + b"x" * 300000 + b"\n")


@case
def receive_binary_with_credit():
    """More than any window, through telex's own credit."""
    with listening() as listeners:
        for listener in listeners:
            with telex("receive", "--binary", listener.address + "?window=128KiB&queue=3") as process:
                out = []
                reader = threading.Thread(target=lambda: out.append(process.stdout.read()))
                reader.start()
                channel = listener.accept()
                equal((channel.theirs.window, channel.queue), (peer.WINDOW_LEAST, 3))
                expected = b""
                for i in range(60):
                    data = bytes([i]) * (i * i * 97)
                    expected += data
                    channel.send(data)
                equal(channel.close(20), 0)
                reader.join()
                assert out[0] == expected


@case
def receive_rubbish():
    """What the dialing side of telex does with broken rules: it ends with a sentence and a goodbye."""
    for content, words in ((message(b"\xff", flags=peer.TEXT), "UTF-8"), (struct.pack("<IHBBQ", 2**32 - 1, 0, 0, 0, 1), "4294967295"), (message(number=0), "number 0")):
        listener = peer.listen(path("rubbish"))
        with telex("receive", listener.address) as process:
            channel = listener.accept()
            channel.stream.setblocking(True)
            channel.stream.sendall(content)
            try:
                channel.receive(5)
                assert False, "no goodbye"
            except peer.Closed as closed:
                equal(closed.code, peer.BYE_PROTOCOL)
                assert words in closed.sentence, closed.sentence
            channel.close()
            _out, error = ended(process, 4)
            assert words in error, error
        listener.close()


@case
def call_answered():
    with listening() as listeners:
        for listener in listeners:
            with telex("call", listener.address, "2+2") as process:
                channel = listener.accept()
                request = channel.receive(5)
                assert request.is_call and request.text == "2+2"
                channel.send("not a reply")
                channel.reply(request, "4")
                with contextlib.suppress(peer.Closed):
                    channel.receive(5)
                channel.close()
                out, _error = ended(process)
                equal(out, b"4\n")


@case
def call_overtakes():
    """A reply overtakes an older message that nobody takes: that one must not be told as taken."""
    with listening() as listeners:
        for listener in listeners:
            with telex("call", listener.address, "2+2") as process:
                channel = listener.accept()
                request = channel.receive(5)
                older = channel.send("nobody takes it")
                channel.reply(request, "4")
                with contextlib.suppress(peer.Closed):
                    channel.receive(5)
                equal(channel.outcome(older), "offered")
                equal(channel.close(), 1)
                ended(process)


@case
def call_and_too_much_comes():
    """A peer that sends more than its credit allows to somebody who does not take."""
    with listening() as listeners:
        for listener in listeners:
            with telex("call", listener.address + "?window=128KiB", "one") as process:
                channel = listener.accept()
                channel.stream.setblocking(True)
                channel.stream.sendall(b"".join(message(bytes(10000), number=number) for number in range(1, 15)))
                channel.stream.setblocking(False)
                while not channel.bye:
                    channel.process(5)
                equal(channel.bye.code, peer.BYE_PROTOCOL)
                channel.close()
                ended(process, 4)


@case
def call_long():
    with listening() as listeners:
        for listener in listeners:
            with telex("call", "--binary", listener.address, "-", stdin=subprocess.PIPE) as process:
                process.stdin.write(bytes(MIB))
                process.stdin.close()
                process.stdin = None
                channel = listener.accept()
                out = []
                reader = threading.Thread(target=lambda: out.append(process.stdout.read()))
                reader.start()
                request = channel.receive(10)
                equal(request.data, bytes(MIB))
                channel.reply(request, bytes(range(256)) * 8192)
                with contextlib.suppress(peer.Closed):
                    channel.receive(10)
                channel.close()
                reader.join()
                assert out[0] == bytes(range(256)) * 8192


@case
def call_fails():
    with listening() as listeners:
        for listener in listeners:
            for code in (peer.NO_HANDLER, peer.FAILED, peer.LIMIT, peer.REFUSED, peer.CANCELLED, 1234):
                with telex("call", listener.address, "please") as process:
                    channel = listener.accept()
                    channel.fail(channel.receive(5), code, f"reason {code}")
                    with contextlib.suppress(peer.Closed):
                        channel.receive(5)
                    channel.close()
                    process.wait(timeout=SECONDS)
                    assert process.returncode in (1, 4), process.returncode
                    _out, error = ended(process, process.returncode)
                    assert f"reason {code}" in error, error


@case
def call_cancelled():
    with listening() as listeners:
        for listener in listeners:
            with telex("call", "--deadline", "300ms", listener.address, "slow") as process:
                channel = listener.accept()
                request = channel.receive(5)
                with contextlib.suppress(peer.Closed, TimeoutError):
                    channel.receive(5)
                assert request.number in channel.cancelled
                channel.close()
                ended(process, 3)


@case
def ping_python():
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "telex_peer.py")
    for flags in ([], ["--sync"]):
        with subprocess.Popen([sys.executable, "-B", script, "echo", path("echo")], stderr=subprocess.PIPE) as python:
            assert b"listening on" in python.stderr.readline()
            with telex("ping", "-n", "200", *flags, path("echo")) as process:
                ended(process)
            python.wait(timeout=SECONDS)
            equal(python.returncode, 0)


# ---- running ----


def out_of_time(_signal, _frame):
    raise AssertionError(f"did not end within {SECONDS} s")


def run(function):
    global directory
    directory = tempfile.mkdtemp(prefix="telex-interop-")
    os.environ["XDG_RUNTIME_DIR"] = directory
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(SECONDS)
    try:
        function()
        why = None
    except Exception as error:  # also those of the peer: whatever it is, this case failed and the next is tried
        place = error.__traceback__
        while place.tb_next and place.tb_next.tb_frame.f_code.co_filename == __file__:
            place = place.tb_next
        why = f"line {place.tb_lineno}: {type(error).__name__} {error}".replace("\n", " ")
    finally:
        signal.alarm(0)
        shutil.rmtree(directory, ignore_errors=True)
    name = "interop." + function.__name__
    print(f"not ok {name} # {why}" if why else f"ok {name}", flush=True)
    return why is None


def main():
    wanted = [name for name in sys.argv[1:] if not name.startswith("-")]
    chosen = [one for one in cases if not wanted or any(name in one.__name__ for name in wanted)]
    if not TELEX:
        chosen = [one for one in chosen if one.__name__.startswith("alone_")]
    if "--list" in sys.argv[1:]:
        print("\n".join("interop." + one.__name__ for one in chosen))
        return 0
    return 0 if all([run(one) for one in chosen]) else 1


if __name__ == "__main__":
    sys.exit(main())
