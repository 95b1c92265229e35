# SPDX-License-Identifier: MIT
"""A telex peer in Python, standard library only, written from docs/wire.md: wire=telex over unix and tcp.

    channel = connect("unix:///tmp/echo")
    print(channel.call("hello").text)
    channel.close()

There is no thread: things move within calls on the channel, in process() for instance. Deadlines are seconds from now; None is for ever.
"""
import array
import collections
import os
import select
import socket
import struct
import sys
import time

MAGIC = b"telex\r\n\x1a"
VERSION = 1
FIXED, GREETING_MOST = 72, 4096
HEADER, PIECE, EXTENSIONS_MOST, SENTENCE_MOST, SKIPPED_MOST = 16, 65536, 4096, 1000, 65536
WINDOW_LEAST = 131072
LONGEST_FRAME = HEADER + 8 + 8 + 4 + EXTENSIONS_MOST + PIECE
CONTROL = 255
ANY = 2**64 - 1  # any length, or no bound

TEXT, CALL, REPLY, SYNC, MORE, EXTENSION, OPTIONAL, RESERVED = (1 << bit for bit in range(8))
TAKEN, CREDIT, WITHDRAW, OUTCOME, CANCEL, FAIL, BYE = range(1, 8)
SIZES = {TAKEN: (16, 16), CREDIT: (16, 16), WITHDRAW: (0, 0), OUTCOME: (4, 4), CANCEL: (0, 0), FAIL: (4, 4 + SENTENCE_MOST), BYE: (16, 16 + SENTENCE_MOST)}
NUMBERED, NUMBERLESS = (TAKEN, WITHDRAW, OUTCOME, CANCEL, FAIL), (TAKEN, CREDIT, BYE)
NO_HANDLER, FAILED, LIMIT, REFUSED, CANCELLED = range(1, 6)  # codes of fail
BYE_CLOSED, BYE_VERSION, BYE_LIMIT, BYE_REFUSED, BYE_PROTOCOL = range(5)
FEATURE_DESCRIPTORS = 1

LIFE = os.urandom(16)


class ProtocolError(Exception):
    """The other side broke the rules; the sentence says which."""


class Closed(Exception):
    """The other side said goodbye: code, sentence, and how many messages it took."""

    def __init__(self, code, sentence, taken):
        super().__init__(sentence or "the peer closed the channel")
        self.code, self.sentence, self.taken = code, sentence, taken


class Broken(Exception):
    """The stream ended without a goodbye."""


class CallFailed(Exception):
    """A call got no reply: code and sentence of the other side."""

    def __init__(self, code, sentence):
        super().__init__(sentence or f"the call failed with code {code}")
        self.code, self.sentence = code, sentence


# ---- the greeting ----


def pack_items(items):
    return b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in items)


def unpack_items(content):
    """(type, optional, value) of each item."""
    items, seen = [], set()
    while content:
        if len(content) < 4 or len(content) < 4 + struct.unpack_from("<H", content, 2)[0]:
            raise ProtocolError("an item is cut off")
        kind, length = struct.unpack_from("<HH", content)
        if kind & 0x7FFF in seen:
            raise ProtocolError(f"item {kind & 0x7FFF} is there twice")
        seen.add(kind & 0x7FFF)
        items.append((kind & 0x7FFF, bool(kind & 0x8000), bytes(content[4:4 + length])))
        content = content[4 + length:]
    return items


class Greeting:
    def __init__(self, lowest=VERSION, highest=VERSION, features=0, descriptors=0, longest=16 << 20, window=1 << 20, queue=0, fixed=ANY, life=LIFE, program="python", pid=None, items=()):
        self.lowest, self.highest, self.features, self.descriptors = lowest, highest, features, descriptors
        self.longest, self.window, self.queue, self.fixed, self.life = longest, window, queue, fixed, life
        self.program, self.pid, self.items = program, pid, list(items)

    def encode(self):
        items = list(self.items)
        if self.program:
            items.append((0x8005, self.program.encode()[:63].decode(errors="ignore").encode()))
        if self.pid is not None:
            items.append((0x8006, struct.pack("<Q", self.pid)))
        content = pack_items(items)
        fixed = struct.pack("<HHIIIQQQQ", self.lowest, self.highest, FIXED + len(content), self.features, self.descriptors, self.longest, self.window, self.queue, self.fixed)
        return MAGIC + fixed + self.life + content

    @classmethod
    def decode(cls, content):
        """(greeting, length), or None if more bytes are needed."""
        if content[:8] != MAGIC[:len(content)]:
            raise ProtocolError("the peer does not speak wire=telex")
        if len(content) < 16:
            return None
        lowest, highest, length = struct.unpack_from("<HHI", content, 8)
        if not 1 <= lowest <= highest:
            raise ProtocolError(f"the greeting speaks versions {lowest} to {highest}")
        if not FIXED <= length <= GREETING_MOST:
            raise ProtocolError(f"the greeting says it has {length} bytes")
        if len(content) < length:
            return None
        features, descriptors, longest, window, queue, fixed = struct.unpack_from("<IIQQQQ", content, 16)
        if window < WINDOW_LEAST:
            raise ProtocolError(f"the greeting has a window of {window} bytes")
        greeting = cls(lowest, highest, features, descriptors, longest, window, queue, fixed, bytes(content[56:72]), "")
        for kind, optional, value in unpack_items(content[FIXED:length]):
            greeting._take_item(kind, optional, value)
        return greeting, length

    def _take_item(self, kind, optional, value):
        if kind == 5:
            if len(value) > 63 or b"\0" in value:
                raise ProtocolError("the program's name is too long or no text")
            self.program = decode_text(value)
        elif kind == 6:
            if len(value) != 8:
                raise ProtocolError("the number of the process has 8 bytes")
            self.pid = struct.unpack("<Q", value)[0]
        elif not optional:
            raise ProtocolError(f"the greeting insists on item {kind}")


# ---- frames ----


def decode_text(content):
    try:
        return bytes(content).decode()
    except UnicodeDecodeError:
        raise ProtocolError("text that is not valid UTF-8") from None


def encode_frame(body=b"", kind=0, lane=0, flags=0, number=0):
    return struct.pack("<IHBBQ", len(body), kind, lane, flags, number) + body


def encode_control(kind, number=0, body=b"", sentence=""):
    while len(sentence.encode()) > SENTENCE_MOST:
        sentence = sentence[:-1]
    return encode_frame(body + sentence.encode(), kind, CONTROL, 0, number)


def encode_bye(code, taken, sentence=""):
    return encode_control(BYE, 0, struct.pack("<IIQ", code, 0, taken), sentence)


Frame = collections.namedtuple("Frame", "kind lane flags number first request total descriptors body size")  # size: header included


class Decoder:
    """Bytes to frames, for one direction."""

    def __init__(self):
        self.content = bytearray()
        self.midway = set()  # lanes

    def feed(self, content):
        self.content += content

    def next(self):
        """The next whole frame, or None. Sizes are checked before their bytes are waited for."""
        if len(self.content) < HEADER:
            return None
        size, kind, lane, flags, number = struct.unpack_from("<IHBBQ", self.content)
        if lane == CONTROL:
            self._check_control(size, kind, flags, number)
        else:
            self._check_data(size, lane, flags, number)
        if len(self.content) < HEADER + size:
            return None
        body = bytes(self.content[HEADER:HEADER + size])
        del self.content[:HEADER + size]
        if lane == CONTROL:
            return Frame(kind, lane, flags, number, False, 0, 0, 0, body, HEADER + size)
        return self._data(kind, lane, flags, number, body)

    @staticmethod
    def _check_control(size, kind, flags, number):
        if flags & ~OPTIONAL:
            raise ProtocolError(f"a control frame with flags {flags:#x}")
        if kind not in SIZES:
            if not flags & OPTIONAL or size > SKIPPED_MOST:
                raise ProtocolError(f"a control frame of unknown type {kind}")
            return
        least, most = SIZES[kind]
        if not least <= size <= most:
            raise ProtocolError(f"a control frame of type {kind} with {size} bytes")
        if kind not in (NUMBERED if number else NUMBERLESS):
            raise ProtocolError(f"a control frame of type {kind} with number {number}")

    def _check_data(self, size, lane, flags, number):
        if size > LONGEST_FRAME - HEADER:
            raise ProtocolError(f"a frame of {size} bytes")
        if flags & (OPTIONAL | RESERVED) or flags & CALL and flags & REPLY:
            raise ProtocolError(f"a message with flags {flags:#x}")
        if number == 0:
            raise ProtocolError("a message with number 0")
        if lane in self.midway and flags & EXTENSION:
            raise ProtocolError("extensions in a later piece")

    def _data(self, kind, lane, flags, number, body):
        first, whole = lane not in self.midway, HEADER + len(body)
        request = total = descriptors = 0
        if first:
            request, total, descriptors, body = self._prefix(flags, body)
        if len(body) > PIECE:
            raise ProtocolError(f"{len(body)} message bytes in one frame")
        if not body and (flags & MORE or not first):
            raise ProtocolError("an empty piece")
        if first and flags & MORE and total <= len(body):
            raise ProtocolError(f"a message of {total} bytes goes on after {len(body)}")
        if flags & MORE:
            self.midway.add(lane)
        else:
            self.midway.discard(lane)
        return Frame(kind, lane, flags, number, first, request, total, descriptors, body, whole)

    @staticmethod
    def _prefix(flags, body):
        request = total = descriptors = 0
        try:
            if flags & REPLY:
                request, body = struct.unpack_from("<Q", body)[0], body[8:]
                if request == 0:
                    raise ProtocolError("a reply to request 0")
            if flags & MORE:
                total, body = struct.unpack_from("<Q", body)[0], body[8:]
            if flags & EXTENSION:
                length, body = struct.unpack_from("<I", body)[0], body[4:]
                if length > EXTENSIONS_MOST or length > len(body):
                    raise ProtocolError(f"{length} bytes of extensions")
                for item, optional, value in unpack_items(body[:length]):
                    if item == 1 and len(value) == 4 and value != bytes(4):
                        descriptors = struct.unpack("<I", value)[0]
                    elif item == 1 or not optional:
                        raise ProtocolError(f"extension {item} is wrong or not known")
                body = body[length:]
        except struct.error:
            raise ProtocolError("a frame too short for its flags") from None
        return request, total, descriptors, body


# ---- messages ----


class Message:
    def __init__(self, data=b"", is_text=False, kind=0, lane=0, number=0, request=0, is_call=False, is_reply=False, is_sync=False, descriptors=()):
        self.data, self.is_text, self.kind, self.lane, self.number, self.request = data, is_text, kind, lane, number, request
        self.is_call, self.is_reply, self.is_sync, self.descriptors = is_call, is_reply, is_sync, list(descriptors)
        self.cost = 0

    @property
    def text(self):
        return self.data.decode()

    @property
    def flags(self):
        return (self.is_text and TEXT) | (self.is_call and CALL) | (self.is_reply and REPLY) | (self.is_sync and SYNC)


class Outgoing:
    """A message on its way out."""

    def __init__(self, message):
        self.message, self.sent, self.begun, self.abandoned = message, 0, False, False

    def piece(self):
        """The next frame, as (bytes, descriptors, whether it is the last)."""
        message = self.message
        body = message.data[self.sent:self.sent + PIECE]
        last = self.sent + len(body) == len(message.data)
        flags, prefix, descriptors = message.flags | (0 if last else MORE), b"", []
        if not self.begun:
            if message.is_reply:
                prefix += struct.pack("<Q", message.request)
            if not last:
                prefix += struct.pack("<Q", len(message.data))
            if message.descriptors:
                flags |= EXTENSION
                items = pack_items([(1, struct.pack("<I", len(message.descriptors)))])
                prefix += struct.pack("<I", len(items)) + items
                descriptors = message.descriptors
        return encode_frame(prefix + body, message.kind, message.lane, flags, message.number), descriptors, last

    def advance(self):
        self.begun = True
        self.sent = min(self.sent + PIECE, len(self.message.data))

    @property
    def is_long(self):
        return len(self.message.data) > PIECE


class Lane:
    """What a receiver keeps of a lane."""

    def __init__(self):
        self.last = 0          # highest number that began to arrive
        self.waiting = set()   # arrived or midway, and neither taken nor withdrawn
        self.taken = 0         # highest number taken
        self.told = 0

    def taken_up_to(self):
        return min(self.taken, min(self.waiting) - 1) if self.waiting else self.taken


# ---- a channel ----


class Channel:
    def __init__(self, stream, greeting=None, timeout=10, accepting=False, refuse=None):
        """Takes over a connected socket and greets; the accepting side answers, so that a refusal comes together with its greeting.
        refuse: (code, sentence) with which the peer is turned away."""
        self.stream = stream
        stream.setblocking(False)
        self.ours = greeting or Greeting(pid=os.getpid())
        if stream.family == socket.AF_UNIX and self.ours.descriptors:
            self.ours.features |= FEATURE_DESCRIPTORS
        self.decoder = Decoder()
        self.out = collections.deque()      # [bytes, descriptors]: frames, whole or begun, that go next
        self.queues = {}                    # lane: Outgoing in order
        self.turn = collections.deque()     # lanes that take turns
        self.number = 0
        self.state = {}                     # number sent: (lane, "offered" | "taken" | "withdrawn" | "unknown")
        self.open = {}                      # lane: numbers that no count of taken messages has covered
        self.sent_messages = 0
        self.costly_bytes = self.costly_messages = 0  # begun, of those that cost credit: all but replies
        self.peer_taken = self.withdrawn = 0
        self.lanes = {}
        self.midway = {}                    # lane: [Message, parts, total]
        self.inbox = collections.deque()
        self.taken_costly = 0
        self.taken = self.told_taken = self.taken_bytes = self.thrown = self.arrived_bytes = self.arrived_messages = self.midway_cost = 0
        self.calls = {}                     # number: None, Message or CallFailed
        self.cancelled = set()              # requests of the peer that it gave up
        self.late = 0
        self.descriptors = collections.deque()
        self.said_bye = self.ended = False
        self.bye = None                     # Closed, once the peer said it
        self.error = None                   # why nothing more can come
        self._greet(time.monotonic() + timeout, accepting, refuse)

    # -- greeting --

    def _greet(self, deadline, accepting, refuse):
        if not accepting:
            self.out.append([self.ours.encode(), []])
        content = b""
        while True:
            self._write()
            decoded = Greeting.decode(content) if content else None
            if decoded:
                break
            if self.ended:
                raise Broken("the peer closed before it greeted")
            self._wait(deadline)
            content += self._read()
        if accepting:
            self.out.append([self.ours.encode(), []])
        self.theirs, length = decoded
        self.decoder.feed(content[length:])
        self._agree(refuse)
        self._write()

    def _agree(self, refuse):
        ours, theirs = self.ours, self.theirs
        self.version = min(ours.highest, theirs.highest)
        self.longest = min(ours.longest, theirs.longest)
        self.fixed = min(ours.fixed, theirs.fixed)
        bounds = [queue for queue in (ours.queue, theirs.queue) if queue]
        self.queue = min(bounds) if bounds else ANY
        passing = ours.features & theirs.features & FEATURE_DESCRIPTORS
        self.most_descriptors = theirs.descriptors if passing else 0
        self.limit_bytes, self.limit_messages = theirs.window, self.queue
        self.granted_bytes, self.granted_messages = ours.window, self.queue
        if self.version < max(ours.lowest, theirs.lowest):
            refuse = (BYE_VERSION, f"versions {ours.lowest} to {ours.highest} here, {theirs.lowest} to {theirs.highest} there")
        elif ours.fixed != theirs.fixed and ANY not in (ours.fixed, theirs.fixed):
            refuse = (BYE_REFUSED, f"messages of {ours.fixed} bytes here, of {theirs.fixed} there")
        elif self.fixed != ANY and self.fixed > self.longest:
            refuse = (BYE_REFUSED, f"messages of {self.fixed} bytes, but at most {self.longest} are accepted")
        if refuse:
            self._give_up(*refuse)
            raise ProtocolError(refuse[1])

    # -- the stream --

    def _wait(self, deadline, write=True):
        """Waits until the stream can be read, or written if there is something to write."""
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        readers = [] if self.ended else [self.stream]
        outlet = getattr(self.stream, "outlet", self.stream)
        readable, writable, _ = select.select(readers, [outlet] if write and self.out else [], [], left)
        if not readable and not writable:
            raise TimeoutError

    def _read(self):
        try:
            if self.ours.descriptors:
                content, ancillary, _flags, _address = self.stream.recvmsg(1 << 16, socket.CMSG_SPACE(64 * 4))
                for level, kind, data in ancillary:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        descriptors = array.array("i")
                        descriptors.frombytes(data[:len(data) - len(data) % descriptors.itemsize])
                        self.descriptors.extend(descriptors)
            else:
                content = self.stream.recv(1 << 16)
        except BlockingIOError:
            return b""
        except ConnectionError:
            content = b""
        self.ended = self.ended or not content
        return content

    def _write(self):
        """Writes what can be written now."""
        while self.out:
            content, descriptors = self.out[0]
            try:
                if descriptors:
                    rights = array.array("i", descriptors)
                    count = self.stream.sendmsg([content], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                else:
                    count = self.stream.send(content)
            except BlockingIOError:
                return
            except ConnectionError:
                self.out.clear()
                return
            if count == len(content):
                self.out.popleft()
            else:
                self.out[0] = [memoryview(content)[count:], []]

    # -- what leaves --

    def _control(self, content):
        """A control frame goes next, but never into the middle of a frame that has begun."""
        if self.said_bye:
            return
        self.out.append([content, []])
        self._write()

    def _may_begin(self, outgoing):
        heads = [queue[0] for queue in self.queues.values() if queue and queue[0].message.is_reply == outgoing.message.is_reply]
        midway = sum(len(head.message.data) for head in heads if head.begun and head.is_long)
        return outgoing.begun or not outgoing.is_long or midway == 0 or midway + len(outgoing.message.data) <= self.longest

    def _stage_lane(self, lane):
        """The next piece of the lane goes out. False: there is none, or it may not."""
        queue = self.queues[lane]
        if not queue:
            return False
        outgoing = queue[0]
        if outgoing.abandoned:
            queue.popleft()
            self.out.append([encode_control(WITHDRAW, outgoing.message.number), []])
            return True
        content, descriptors, last = outgoing.piece()
        begins = not outgoing.begun
        costs = not outgoing.message.is_reply
        if costs and (self.costly_bytes + len(content) > self.limit_bytes or self.costly_messages + begins > self.limit_messages):
            return False
        if not self._may_begin(outgoing):
            return False
        self.costly_bytes += costs * len(content)
        self.costly_messages += costs * begins
        self.sent_messages += begins
        outgoing.advance()
        self.out.append([content, descriptors])
        if last:
            queue.popleft()
        return True

    def _stage(self):
        """Lanes take turns, a piece each, as long as the stream takes them."""
        while not self.out and not self.said_bye and self.bye is None:
            for _ in range(len(self.turn)):
                self.turn.rotate(-1)
                if self._stage_lane(self.turn[-1]):
                    break
            else:
                return
            self._write()

    def _idle(self):
        return not self.out and not any(self.queues.values())

    # -- what arrives --

    def process(self, timeout=0):
        """Moves what can be moved; waits for something to move, at most so long. Returns whether anything arrived."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._write()
        self._stage()
        try:
            self._wait(deadline)
        except TimeoutError:
            if timeout:
                raise
        arrived = self._take_in()
        if not self.inbox:
            self._report()
        self._write()
        self._stage()
        return arrived

    def _take_in(self):
        if self.ended or self.error:
            if self.error:
                raise self.error
            return False
        content = self._read()
        self.decoder.feed(content)
        try:
            while True:
                frame = self.decoder.next()
                if frame is None:
                    break
                if self.bye:
                    raise ProtocolError("a frame after the goodbye")
                if frame.lane == CONTROL:
                    self._on_control(frame)
                else:
                    self._on_data(frame)
        except ProtocolError as error:
            self.error = error
            self._give_up(BYE_PROTOCOL, str(error))
            raise
        return bool(content)

    def _give_up(self, code, sentence):
        if not self.said_bye:
            self.out.append([encode_bye(code, self.taken, sentence), []])
            if not any(descriptors for _content, descriptors in self.out):  # one write, so that a refusal comes together with its greeting
                self.out = collections.deque([[b"".join(bytes(content) for content, _descriptors in self.out), []]])
            self.said_bye = True
            patience = time.monotonic() + 2
            while self.out and time.monotonic() < patience:
                self._write()
                select.select([], [getattr(self.stream, "outlet", self.stream)], [], 0.01)
        self.stream.close()
        self.ended = True

    def _on_data(self, frame):
        cost = 0 if frame.flags & REPLY else frame.size
        self.arrived_bytes += cost
        self.arrived_messages += frame.first and cost > 0
        if self.arrived_bytes > self.granted_bytes or self.arrived_messages > self.granted_messages:
            raise ProtocolError("more than the credit allows")
        if frame.first:
            message = self._begin(frame)
        else:
            message = self._continue(frame)
        message.cost += cost
        if frame.flags & MORE:
            self.midway_cost += cost
            self._grant()
            return
        if frame.lane in self.midway:
            _message, parts, _total = self.midway.pop(frame.lane)
            message.data = b"".join(parts)
            self.midway_cost -= message.cost - cost
        self._arrived(message)

    def _begin(self, frame):
        length = frame.total if frame.flags & MORE else len(frame.body)
        if length > self.ours.longest or self.fixed not in (ANY, length):
            raise ProtocolError(f"a message of {length} bytes; at most {self.ours.longest}")
        alike = sum(total for message, _parts, total in self.midway.values() if message.is_reply == bool(frame.flags & REPLY))  # replies are added up apart
        if frame.flags & MORE and alike and length + alike > self.ours.longest:
            raise ProtocolError("too much midway at once")
        if frame.descriptors > self.ours.descriptors or frame.descriptors > len(self.descriptors):
            raise ProtocolError(f"{frame.descriptors} descriptors with a message")
        lane = self.lanes.setdefault(frame.lane, Lane())
        if frame.number <= lane.last:
            raise ProtocolError(f"number {frame.number} after {lane.last}")
        lane.last = frame.number
        lane.waiting.add(frame.number)
        flags = frame.flags
        message = Message(frame.body, bool(flags & TEXT), frame.kind, frame.lane, frame.number, frame.request, bool(flags & CALL), bool(flags & REPLY), bool(flags & SYNC))
        message.descriptors = [self.descriptors.popleft() for _ in range(frame.descriptors)]
        if flags & MORE:
            self.midway[frame.lane] = [message, [frame.body], length]
        return message

    def _continue(self, frame):
        message, parts, total = self.midway[frame.lane]
        if (frame.number, frame.kind, frame.flags & ~MORE) != (message.number, message.kind, message.flags):
            raise ProtocolError("pieces of two messages on one lane")
        parts.append(frame.body)
        so_far = sum(map(len, parts))
        if so_far > total or (so_far == total) == bool(frame.flags & MORE):
            raise ProtocolError("pieces that do not add up")
        return message

    def _arrived(self, message):
        if message.is_text:
            decode_text(message.data)
        if self.said_bye:
            return  # it is thrown away
        if not message.is_reply:
            self.inbox.append(message)
            return
        self._take(message)
        if self.calls.get(message.request, message) is None:
            self.calls[message.request] = message
        else:
            self.late += 1

    def _on_control(self, frame):
        act = {TAKEN: self._on_taken, CREDIT: self._on_credit, WITHDRAW: self._on_withdraw, OUTCOME: self._on_outcome, CANCEL: self._on_cancel, FAIL: self._on_fail, BYE: self._on_bye}
        if frame.kind in act:
            act[frame.kind](frame)

    def _on_taken(self, frame):
        total, lane = struct.unpack_from("<QB", frame.body)
        if lane == CONTROL or frame.body[9:] != bytes(7) or frame.number > self.number or total > self.sent_messages:
            raise ProtocolError("a count of taken messages that cannot be")
        numbers = self.open.get(lane, ())
        while numbers and numbers[0] <= frame.number:
            number = numbers.popleft()
            if self.outcome(number) in ("offered", "unknown"):
                self.state[number] = (lane, "taken")
        self.peer_taken = max(self.peer_taken, total)

    def _on_credit(self, frame):
        limit_bytes, limit_messages = struct.unpack("<QQ", frame.body)
        self.limit_bytes = max(self.limit_bytes, limit_bytes)
        self.limit_messages = max(self.limit_messages, limit_messages)

    def _on_withdraw(self, frame):
        for lane, (message, _parts, _total) in list(self.midway.items()):
            if message.number == frame.number:
                del self.midway[lane]
                self.decoder.midway.discard(lane)
                self.midway_cost -= message.cost
                self._throw_away(message)
                return
        for message in list(self.inbox):
            if message.number == frame.number:
                self.inbox.remove(message)
                self._throw_away(message)
                return
        self._control(encode_control(OUTCOME, frame.number, struct.pack("<I", 1)))

    def _throw_away(self, message):
        self.lanes[message.lane].waiting.discard(message.number)
        self.taken_bytes += message.cost
        self.thrown += not message.is_reply
        self._control(encode_control(OUTCOME, message.number, struct.pack("<I", 2)))
        self._grant()

    def _on_outcome(self, frame):
        code = struct.unpack("<I", frame.body)[0]
        if code not in (1, 2):
            raise ProtocolError(f"outcome {code}")
        lane, state = self.state.get(frame.number, (0, ""))
        if state == "unknown" or (state == "offered" and code == 1):
            self.state[frame.number] = (lane, "taken" if code == 1 else "withdrawn")
            self.withdrawn += code == 2

    def _on_cancel(self, frame):
        for message in list(self.inbox):
            if message.number == frame.number and message.is_call:
                self.inbox.remove(message)
                self._take(message)
                return
        self.cancelled.add(frame.number)

    def _on_fail(self, frame):
        code, sentence = struct.unpack_from("<I", frame.body)[0], decode_text(frame.body[4:])
        if self.calls.get(frame.number, 0) is None:
            self.calls[frame.number] = CallFailed(code, sentence)
        else:
            self.late += 1

    def _on_bye(self, frame):
        code, zero, taken = struct.unpack_from("<IIQ", frame.body)
        if zero or taken > self.sent_messages:
            raise ProtocolError("a goodbye that cannot be")
        self.peer_taken = max(self.peer_taken, taken)
        self.bye = Closed(code, decode_text(frame.body[16:]), taken)
        for queue in self.queues.values():
            queue.clear()

    # -- what was taken --

    def _take(self, message):
        lane = self.lanes[message.lane]
        lane.waiting.discard(message.number)
        lane.taken = max(lane.taken, message.number)
        self.taken += 1
        self.taken_costly += not message.is_reply
        self.taken_bytes += message.cost
        self._grant()
        if message.is_sync or self.bye:
            self._report()

    def _grant(self):
        """Tells the credit when half of the window has come together, or the peer could be stuck."""
        limit_bytes = self.taken_bytes + self.ours.window + self.midway_cost
        limit_messages = ANY if self.queue == ANY else self.taken_costly + self.thrown + self.queue
        little = self.granted_bytes - self.arrived_bytes < LONGEST_FRAME and limit_bytes > self.granted_bytes
        if limit_bytes - self.granted_bytes >= self.ours.window // 2 or little or limit_messages != self.granted_messages:
            self.granted_bytes = max(self.granted_bytes, limit_bytes)
            self.granted_messages = max(self.granted_messages, limit_messages)
            self._control(encode_control(CREDIT, 0, struct.pack("<QQ", self.granted_bytes, self.granted_messages)))

    def _report(self):
        for number, lane in self.lanes.items():
            up_to, total = lane.taken_up_to(), lane is self.lanes[max(self.lanes)] and self.taken != self.told_taken
            if up_to > lane.told or total:
                lane.told, self.told_taken = up_to, self.taken
                self._control(encode_control(TAKEN, up_to, struct.pack("<QB7x", self.taken, number)))

    # -- for the program --

    def _until(self, done, timeout):
        """Processes until done() is not None, and returns that."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            result = done()
            if result is not None:
                return result
            if self.error:
                raise self.error
            if self.bye:
                raise self.bye
            if self.ended:
                raise Broken("the peer ended without a goodbye")
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self.process(left)

    def _queue(self, message):
        if self.bye:
            raise self.bye
        if len(message.data) > self.longest or self.fixed not in (ANY, len(message.data)):
            raise ValueError(f"a message of {len(message.data)} bytes")
        if len(message.descriptors) > self.most_descriptors:
            raise ValueError(f"{len(message.descriptors)} descriptors")
        self.number += 1
        message.number = self.number
        self.state[self.number] = (message.lane, "offered")
        if message.lane not in self.queues:
            self.queues[message.lane], self.open[message.lane] = collections.deque(), collections.deque()
            self.turn.append(message.lane)
        self.open[message.lane].append(self.number)
        self.queues[message.lane].append(Outgoing(message))
        self._write()
        self._stage()
        return self.number

    @staticmethod
    def _message(data, **rest):
        is_text = isinstance(data, str)
        return Message(data.encode() if is_text else bytes(data), is_text, **rest)

    def send(self, data, lane=0, kind=0, descriptors=()):
        """Queues text (str) or bytes; returns the number."""
        return self._queue(self._message(data, lane=lane, kind=kind, descriptors=descriptors))

    def send_sync(self, data, lane=0, kind=0, timeout=None):
        """Sends by rendezvous; returns the outcome: "taken", or "withdrawn" or "unknown" when the time was over first."""
        number = self._queue(self._message(data, lane=lane, kind=kind, is_sync=True))
        try:
            self._until(lambda: self.outcome(number) if self.outcome(number) != "offered" else None, timeout)
        except TimeoutError:
            self.withdraw(number)
        return self.outcome(number)

    def outcome(self, number):
        return self.state[number][1]

    def withdraw(self, number):
        """Takes a message back, if it still can be; outcome() tells."""
        lane, state = self.state[number]
        if state != "offered":
            return
        for outgoing in list(self.queues.get(lane, ())):
            if outgoing.message.number == number:
                self.state[number] = (lane, "withdrawn")
                self.withdrawn += 1
                if outgoing.begun:
                    outgoing.abandoned = True
                else:
                    self.queues[lane].remove(outgoing)
                self._stage()
                return
        self.state[number] = (lane, "unknown")
        self._control(encode_control(WITHDRAW, number))

    def flush(self, timeout=None):
        """Until all that was sent has been written."""
        self._until(lambda: True if self._idle() else None, timeout)

    def receive(self, timeout=None):
        """The next message. Raises TimeoutError, Closed, Broken or ProtocolError."""
        while True:
            if not self.inbox:
                self._report()
            self._until(lambda: self.inbox or None, timeout)
            while self.inbox[0].is_sync and not self.ended and self.process(0):
                if not self.inbox:
                    break  # it was withdrawn
            if self.inbox:
                message = self.inbox.popleft()
                self._take(message)
                return message

    def start_call(self, data, lane=0, kind=0):
        """Sends a request without waiting for its reply; returns its number."""
        message = self._message(data, lane=lane, kind=kind, is_call=True)
        self.calls[self.number + 1] = None
        return self._queue(message)

    def finish_call(self, number, timeout=None):
        """Waits for the reply. Raises CallFailed; on TimeoutError the call still waits."""
        result = self._until(lambda: self.calls[number], timeout)
        del self.calls[number]
        if isinstance(result, CallFailed):
            raise result
        return result

    def call(self, data, lane=0, kind=0, timeout=None):
        number = self.start_call(data, lane, kind)
        try:
            return self.finish_call(number, timeout)
        except TimeoutError:
            self.cancel(number)
            raise

    def cancel(self, number):
        """Nobody waits for the reply any more."""
        if self.calls.pop(number, 0) is None:
            self._control(encode_control(CANCEL, number))

    def reply(self, request, data, kind=0):
        return self._queue(self._message(data, lane=request.lane, kind=kind, request=request.number, is_reply=True))

    def fail(self, request, code, sentence=""):
        self._control(encode_control(FAIL, request.number, struct.pack("<I", code), sentence))

    def say_bye(self, code=BYE_CLOSED, sentence=""):
        """Ends this side's direction, after what is written already."""
        if not self.said_bye:
            self._report()
            self.out.append([encode_bye(code, self.taken, sentence), []])
            self.said_bye = True

    def close(self, timeout=10):
        """Sends what is queued, says goodbye, reads to the other side's end. Returns how many messages are not known taken."""
        deadline = time.monotonic() + timeout
        try:
            if not self.bye:
                self.flush(timeout)
        except (Closed, Broken, ProtocolError, TimeoutError):
            pass
        try:
            if not self.error:
                self.say_bye()
                self._finish(deadline)
        except (ProtocolError, TimeoutError, OSError):
            pass
        self.stream.close()
        return self.untaken()

    def _finish(self, deadline):
        while self.out:
            self._write()
            if self.out:
                self._wait(deadline)
                self._take_in()
        self.stream.shutdown(socket.SHUT_WR)
        while not self.ended:
            self._wait(deadline)
            self._take_in()

    def untaken(self):
        return self.number - self.peer_taken - self.withdrawn

    def kill(self):
        """Ends the stream at once, without a goodbye."""
        self.stream.close()


# ---- addresses ----


def _parse(address):
    """(family, what connect and bind want)."""
    scheme, _, where = address.partition("://")
    if scheme == "unix":
        return socket.AF_UNIX, "\0" + where[1:] if where.startswith("@") else where
    if scheme != "tcp":
        raise ValueError(f"{address}: unix:// and tcp:// are known here")
    host, _, port = where.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    return family, (host.strip("[]"), int(port))


def open_stream(address, timeout=10):
    """A connected socket, before any greeting."""
    family, where = _parse(address)
    stream = socket.socket(family, socket.SOCK_STREAM)
    stream.settimeout(timeout)
    stream.connect(where)
    if family != socket.AF_UNIX:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def connect(address, greeting=None, timeout=10):
    return Channel(open_stream(address, timeout), greeting, timeout)


class Listener:
    def __init__(self, address):
        family, where = _parse(address)
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(where)
        self.socket.listen()
        self.address, self.path = address, where if address.startswith("unix:///") else None
        if family != socket.AF_UNIX:
            host, port = self.socket.getsockname()[:2]
            self.address = f"tcp://[{host}]:{port}" if family == socket.AF_INET6 else f"tcp://{host}:{port}"

    def accept(self, greeting=None, timeout=10, refuse=None):
        """The next peer, once it has greeted."""
        self.socket.settimeout(timeout)
        stream, _address = self.socket.accept()
        if stream.family != socket.AF_UNIX:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Channel(stream, greeting, timeout, True, refuse)

    def close(self):
        self.socket.close()
        if self.path:
            os.unlink(self.path)


def listen(address):
    return Listener(address)


def main():
    """telex_peer.py echo ADDRESS: answers calls and sends messages back, until the peer closes."""
    listener = listen(sys.argv[2])
    print("listening on", listener.address, file=sys.stderr, flush=True)
    channel = listener.accept(timeout=3600)
    try:
        while True:
            message = channel.receive()
            data = message.text if message.is_text else message.data
            if message.is_call:
                channel.reply(message, data)
            else:
                channel.send(data, message.lane, message.kind)
    except Closed:
        channel.close()
    listener.close()


if __name__ == "__main__":
    main()
