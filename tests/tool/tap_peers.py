#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""telex tap between two peers that see every frame (tests/interop/telex_peer.py): what arrives is what was sent, where bytes pass as they are
and where messages are sent again. Where the two ways differ, each case says how."""
import sys

sys.dont_write_bytecode = True

import contextlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import traceback

SOURCE = os.environ["SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "interop"))
import telex_peer as peer

SECONDS = 10 * int(os.environ.get("TESTING_SLOW", "1"))
MEDIA = ("unix", "tcp")
STRANGERS = 200


class Tapped:
    """A far side that listens, a tap in front of it, and a peer that came through it."""

    def __init__(self, directory, medium, again):
        self.directory, self.again = directory, again
        self.query = "?descriptors=16" if again and medium == "unix" else "?max=16MiB" if again else ""
        self.listener = peer.listen(f"unix://{directory}/far" if medium == "unix" else "tcp://127.0.0.1:0")
        new = f"unix://{directory}/tap" if medium == "unix" else "tcp://127.0.0.1:0"
        self.log = open(os.path.join(directory, "log"), "wb")
        self.process = subprocess.Popen([os.environ["TELEX"], "tap", "--json", new + self.query, self.listener.address + self.query], stdout=self.log, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline().strip()
        assert line.startswith("listening on "), line
        self.address = line.removeprefix("listening on ").split("?")[0]
        self.near, self.far = self.connect()

    def connect(self):
        greeting = peer.Greeting(features=peer.FEATURE_DESCRIPTORS, descriptors=16)
        far = []
        accepting = threading.Thread(target=lambda: far.append(self.listener.accept(greeting)))
        accepting.start()
        near = peer.connect(self.address, peer.Greeting(features=peer.FEATURE_DESCRIPTORS, descriptors=16))
        accepting.join(SECONDS)
        return near, far[0]

    def events(self, *names):
        with open(os.path.join(self.directory, "log"), encoding="utf-8") as file:
            found = [json.loads(line) for line in file]
        return [event for event in found if event["event"] in names]

    def eventually(self, names, count):
        """The log comes just before what it tells of, or just after: waits for so many of these events."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and len(self.events(*names)) < count:
            time.sleep(0.01)
        return self.events(*names)

    def close(self):
        for channel in (self.near, self.far):
            channel.stream.close()
        self.process.send_signal(signal.SIGTERM)
        said = self.process.stderr.read()
        status = self.process.wait(SECONDS)
        self.log.close()
        self.listener.close()
        assert status == 0, f"exit status {status}: {said}"
        assert "AddressSanitizer" not in said and "runtime error" not in said, said


def step(channel, seconds):
    """Moves what can be moved for so long at most."""
    with contextlib.suppress(TimeoutError):
        channel.process(seconds)


def moving(channel):
    """Keeps a peer's control frames moving while another one is waited for. Ends with the with."""

    @contextlib.contextmanager
    def manager():
        over = threading.Event()

        def move():
            while not over.is_set():
                try:
                    step(channel, 0.01)
                except Exception:
                    return

        thread = threading.Thread(target=move)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    return manager()


def equal(got, expected):
    assert got == expected, f"{str(got)[:200]!r} instead of {str(expected)[:200]!r}"


def messages(tapped):
    """Kind, type, lane and bytes of messages, both ways, long and empty ones."""
    said = [("", 0, 0), ("über", 7, 3), (b"", 65535, 254), (bytes(range(256)), 1, 0), ("x" * 65536, 0, 0), (os.urandom(300000), 2, 9)]
    for sender, receiver in ((tapped.near, tapped.far), (tapped.far, tapped.near)):
        for data, kind, lane in said:
            sender.send(data, lane, kind)
        with moving(sender):
            for data, kind, lane in said:
                got = receiver.receive(SECONDS)
                equal((got.text if got.is_text else got.data, got.kind, got.lane), (data, kind, lane))
    logged = tapped.eventually(["message"], 12)
    equal([(event["direction"], event["size"], event["type"], event["lane"], event["kind"]) for event in logged],
          [(way, len(data if isinstance(data, bytes) else data.encode()), kind, lane, "binary" if isinstance(data, bytes) else "text") for way in "><" for data, kind, lane in said])
    equal((logged[1]["text"], logged[3]["hex"], logged[5]["shown"]), ("über", bytes(range(256)).hex(), 65536))


def calls(tapped):
    """Replies find their requests, whatever the order; failures have their code and sentence; both ways."""
    for asking, asked in ((tapped.near, tapped.far), (tapped.far, tapped.near)):
        numbers = [asking.start_call(f"question {i}", lane=i, kind=i) for i in range(5)]
        with moving(asking):
            requests = [asked.receive(SECONDS) for _ in numbers]
        equal([(request.text, request.is_call, request.lane, request.kind) for request in requests], [(f"question {i}", True, i, i) for i in range(5)])
        asked.fail(requests[2], peer.REFUSED, "not <this> one")
        for i in (4, 0, 3, 1):
            asked.reply(requests[i], f"answer {i}", kind=9)
        with moving(asked):
            for i in (0, 1, 3, 4):
                reply = asking.finish_call(numbers[i], SECONDS)
                equal((reply.text, reply.kind, reply.request), (f"answer {i}", 9, numbers[i]))
            try:
                asking.finish_call(numbers[2], SECONDS)
                raise AssertionError("a call that failed got a reply")
            except peer.CallFailed as failed:
                equal((failed.code, failed.sentence), (peer.REFUSED, "not <this> one"))
    events = tapped.eventually(["call", "reply", "fail"], 20)
    equal([len([event for event in events if event["event"] == name]) for name in ("call", "reply", "fail")], [10, 8, 2])
    equal([event["sentence"] for event in events if event["event"] == "fail"], ["not <this> one"] * 2)
    asked = {(event["direction"], event["number"]): event["text"] for event in events if event["event"] == "call"}
    for event in events:
        if event["event"] == "reply":
            other = ">" if event["direction"] == "<" else "<"
            equal(event["text"], asked[other, event["request"]].replace("question", "answer"))


def cancelled(tapped):
    """A cancellation reaches who was asked."""
    number = tapped.near.start_call("slow")
    tapped.near.flush(SECONDS)
    request = tapped.far.receive(SECONDS)
    tapped.near.cancel(number)
    until = time.monotonic() + SECONDS
    while request.number not in tapped.far.cancelled and time.monotonic() < until:
        step(tapped.near, 0.01)
        step(tapped.far, 0.01)
    assert request.number in tapped.far.cancelled, "no cancellation came"
    equal([event["request"] for event in tapped.eventually(["cancel"], 1)], [number])
    tapped.far.reply(request, "too late")
    tapped.far.send("next")
    with moving(tapped.far):
        equal(tapped.near.receive(SECONDS).text, "next")


def rendezvous(tapped):
    """Bytes: taken when the far side took it, withdrawn where it did not. Sent again: taken by the tap, and nothing behind it passes until it was taken."""
    with moving(tapped.far):
        outcome = tapped.near.send_sync("first", timeout=0.3)
        deadline = time.monotonic() + SECONDS
        while outcome == "unknown" and time.monotonic() < deadline:
            step(tapped.near, 0.05)
            outcome = tapped.near.outcome(1)
    equal(outcome, "taken" if tapped.again else "withdrawn")
    if tapped.again:
        tapped.near.send("behind it")
        tapped.near.flush(SECONDS)
        step(tapped.far, 0.2)
        equal([message.text for message in tapped.far.inbox], ["first"])
        got = tapped.far.receive(SECONDS)
        equal((got.text, got.is_sync), ("first", True))
        equal(tapped.far.receive(SECONDS).text, "behind it")
    result = []
    sending = threading.Thread(target=lambda: result.append(tapped.near.send_sync("second", timeout=SECONDS)))
    sending.start()
    got = tapped.far.receive(SECONDS)
    equal((got.text, got.is_sync), ("second", True))
    with moving(tapped.far):
        sending.join(SECONDS)
    equal(result, ["taken"])
    taken = tapped.eventually(["taken"], 2 if tapped.again else 1)
    equal([(event["direction"], event["number"]) for event in taken], [("<", 1), ("<", 3)] if tapped.again else [("<", 2)])
    equal(len(tapped.events("withdrawn")), 0 if tapped.again else 1)


def both_synchronous(tapped):
    """Both sides hand over by rendezvous at the same time, and nobody waits for ever."""
    with peer_threads(tapped.near) as near, peer_threads(tapped.far) as far:
        near.send_all([(f"near {i}", bool(i % 2)) for i in range(40)])
        far.send_all([(f"far {i}", bool(i % 2)) for i in range(40)])
        equal(near.receive_all(40), [f"far {i}" for i in range(40)])
        equal(far.receive_all(40), [f"near {i}" for i in range(40)])


class peer_threads:
    """A peer driven by one thread of its own, which sends one after another, synchronously or not, and receives meanwhile."""

    def __init__(self, channel):
        self.channel, self.to_send, self.got, self.error, self.over = channel, [], [], None, False

    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()

    def send_all(self, texts):
        self.to_send = list(texts)

    def run(self):
        waiting = None
        try:
            while not self.over:
                if waiting is not None and self.channel.outcome(waiting) == "taken":
                    waiting = None
                if waiting is None and self.to_send:
                    text, sync = self.to_send.pop(0)
                    number = self.channel._queue(self.channel._message(text, is_sync=sync))
                    waiting = number if sync else None
                step(self.channel, 0.005)
                while self.channel.inbox:
                    self.got.append(self.channel.receive(0).text)
        except Exception as error:
            self.error = error

    def receive_all(self, count):
        until = time.monotonic() + SECONDS
        while len(self.got) < count and self.error is None and time.monotonic() < until:
            time.sleep(0.01)
        assert self.error is None, self.error
        return self.got


def descriptors(tapped):
    """Sent again, descriptors pass on unix. Where bytes pass, both sides are told that the other one takes none."""
    if not tapped.again:
        assert not tapped.near.theirs.features & peer.FEATURE_DESCRIPTORS, "the greeting offers descriptors"
        return
    if tapped.query != "?descriptors=16":
        return
    reading, writing = os.pipe()
    tapped.near.send("take this", descriptors=[writing])
    tapped.near.flush(SECONDS)
    os.close(writing)
    got = tapped.far.receive(SECONDS)
    equal((got.text, len(got.descriptors)), ("take this", 1))
    os.write(got.descriptors[0], b"through")
    os.close(got.descriptors[0])
    equal(os.read(reading, 100), b"through")
    equal(os.read(reading, 100), b"")  # nobody else has kept it
    os.close(reading)
    equal(tapped.events("message")[0]["descriptors"], 1)


def goodbye(tapped):
    """What was sent before a goodbye arrives before it."""
    for i in range(100):
        tapped.near.send(f"last words {i}")
    closing = threading.Thread(target=tapped.near.close)
    closing.start()
    equal([tapped.far.receive(SECONDS).text for _ in range(100)], [f"last words {i}" for i in range(100)])
    try:
        tapped.far.receive(SECONDS)
        raise AssertionError("a message after the last")
    except peer.Closed as closed:
        equal(closed.code, peer.BYE_CLOSED)
    tapped.far.close()
    closing.join(SECONDS)
    equal(tapped.near.untaken(), 0)
    tapped.eventually(["close"], 1)
    equal([event["direction"] for event in tapped.events("goodbye")][:1], [">"])


def far_gone(tapped):
    """What the far side said before it closed arrives, also if it comes slowly and there is nobody left to send to."""
    if not tapped.address.startswith("unix"):
        return  # tcp throws away what a reset overtakes
    said = [os.urandom(100000) for _ in range(6)]
    for data in said:
        tapped.far.send(data)
    tapped.far.flush(SECONDS)
    tapped.far.say_bye()
    while tapped.far.out:
        tapped.far._write()
    tapped.far.stream.close()
    time.sleep(0.1)
    tapped.near.send("nobody hears this")
    with contextlib.suppress(TimeoutError):
        tapped.near._write()
    time.sleep(0.3)
    for data in said:
        equal(tapped.near.receive(SECONDS).data, data)
    try:
        tapped.near.receive(SECONDS)
        raise AssertionError("a message after the last")
    except peer.Closed:
        pass


def died(near_dies):
    def case(tapped):
        """A death is one for the other side, too, where bytes pass; else it is a goodbye. What was sent before it arrives."""
        dying, living = (tapped.near, tapped.far) if near_dies else (tapped.far, tapped.near)
        dying.send("last words")
        dying.flush(SECONDS)
        step(dying, 0.05)
        dying.kill()
        equal(living.receive(SECONDS).text, "last words")
        try:
            living.receive(SECONDS)
            raise AssertionError("a message of the dead")
        except peer.Broken:
            assert not tapped.again, "broken, where a goodbye was to come"
        except peer.Closed:
            assert tapped.again, "a goodbye for a death"
        ends = tapped.eventually(["end"], 1)
        equal((ends[0]["direction"], "sentence" in ends[0]), (">" if near_dies else "<", True))

    return case


def tap_ends(tapped):
    """SIGTERM ends the channels, too: within the time that a test has."""
    tapped.process.send_signal(signal.SIGTERM)
    for channel in (tapped.near, tapped.far):
        try:
            channel.receive(SECONDS)
            raise AssertionError("a message from nobody")
        except (peer.Broken, peer.Closed, ConnectionError):
            channel.stream.close()


CASES = {
    "messages": messages,
    "calls": calls,
    "cancelled": cancelled,
    "rendezvous": rendezvous,
    "both_synchronous": both_synchronous,
    "descriptors": descriptors,
    "goodbye": goodbye,
    "far_gone": far_gone,
    "peer_dies": died(True),
    "far_side_dies": died(False),
    "tap_ends": tap_ends,
}


def strange_stream(choice):
    """A greeting, mostly, and frames of which some lie. No goodbye is among them: the far side would have to answer it."""
    stream = peer.Greeting(program="liar" * choice.randint(0, 10), features=0).encode() if choice.random() < 0.9 else choice.randbytes(choice.randint(1, 100))
    for _ in range(choice.randint(0, 60)):
        body = choice.randbytes(choice.choice((0, 1, 4, 8, 16, 40, 5000)))
        size = len(body) if choice.random() < 0.9 else choice.choice((0, 1, 2**32 - 1, len(body) + 1))
        lane = choice.choice((0, 0, 1, 254, 255, 255))
        kind = choice.choice((0, 1, 2, 3, 4, 5, 6, 8)) if lane == 255 else choice.randint(0, 2**16 - 1)
        flags = choice.choice((0, 1, 2, 4, 8, 16, 20, 32, 52, 63, 255)) if lane != 255 or choice.random() < 0.1 else 0
        stream += struct.pack("<IHBBQ", size, kind, lane, flags, choice.choice((0, 1, 2, 2**64 - 1))) + body
    return stream


def read_all(connection, to):
    connection.settimeout(SECONDS)
    while content := connection.recv(65536):
        to.append(content)
    connection.close()


def strangers():
    """Whatever bytes come, they pass unchanged, and the tap lives on: it only watches."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as far:
        far.bind(f"{directory}/far")
        far.listen(100)
        process = subprocess.Popen([os.environ["TELEX"], "tap", "--json", f"unix://{directory}/tap", f"unix://{directory}/far"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        log = []
        reading = threading.Thread(target=lambda: log.extend(process.stdout))
        reading.start()
        process.stderr.readline()
        for seed in range(STRANGERS):
            choice = random.Random(seed)
            stream, got = strange_stream(choice), []
            with socket.socket(socket.AF_UNIX) as near:
                near.connect(f"{directory}/tap")
                far.settimeout(SECONDS)
                receiving = threading.Thread(target=read_all, args=(far.accept()[0], got))
                receiving.start()
                at = 0
                while at < len(stream):
                    count = choice.choice((1, 7, 16, 100, 4096, len(stream)))
                    near.sendall(stream[at : at + count])
                    at += count
            receiving.join(SECONDS)
            assert b"".join(got) == stream, f"seed {seed}: {len(b''.join(got))} bytes came, of {len(stream)}, or others"
            assert process.poll() is None, f"seed {seed}: the tap has ended with {process.returncode}"
        process.send_signal(signal.SIGTERM)
        equal(process.wait(SECONDS), 0)
        reading.join(SECONDS)
        for line in log:
            json.loads(line)
        equal(sum('"close"' in line for line in log), STRANGERS)


def main():
    failed = 0
    if len(sys.argv) == 1 or sys.argv[1] == "strangers":
        try:
            strangers()
            print("ok tool_tap_peers.strangers", flush=True)
        except Exception as error:
            traceback.print_exc(file=sys.stdout)
            print(f"not ok tool_tap_peers.strangers # {error}")
            failed = 1
    for medium in MEDIA:
        for again in (False, True):
            for name, case in CASES.items():
                if len(sys.argv) > 1 and sys.argv[1] not in f"{medium} {name} {'again' if again else 'bytes'}":
                    continue
                name = f"tool_tap_peers.{medium}_{'again' if again else 'bytes'}_{name}"
                with tempfile.TemporaryDirectory() as directory:
                    os.environ["XDG_RUNTIME_DIR"] = directory
                    tapped = None
                    why = ""
                    try:
                        tapped = Tapped(directory, medium, again)
                        case(tapped)
                    except Exception as error:
                        traceback.print_exc(file=sys.stdout)
                        why = f"{type(error).__name__}: {error}"
                    try:
                        if tapped is not None:
                            tapped.close()
                    except Exception as error:
                        why = why or f"at the end: {type(error).__name__}: {error}"
                    print(f"not ok {name} # {why}" if why else f"ok {name}", flush=True)
                    failed += bool(why)
    return 1 if failed else 0


sys.exit(main())
