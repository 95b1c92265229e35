#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A peer in shared memory, written from docs/shm-layout.md alone, talks to `telex serve --echo`. It never sleeps by the bell, but rings it."""
import fcntl
import mmap
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

RING, ARENA, PAGE = 16384, 8192, 8192
HEAD, COST, COSTLY, MESSAGES, PREFIX, ASLEEP_IN, ASLEEP_OUT, RELEASED = 0, 8, 16, 24, 32, 64, 72, 4096
TEXT, CALL, REPLY, SYNC, MORE, CHUNK, PRESENT = 1, 2, 4, 8, 16, 64, 128
OFFERED, TAKEN = 1, 2
BYE = 7
SEAL, SHRINK, GROW, FUTURE_WRITE = 1, 2, 4, 16


def soon(look):
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        found = look()
        if found:
            return found
        time.sleep(0.001)
    raise AssertionError("nothing came")


def memory(size, seals):
    fd = os.memfd_create("peer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    os.posix_fallocate(fd, 0, size)
    mapped = mmap.mmap(fd, size)
    fcntl.fcntl(fd, 1033, seals)  # F_ADD_SEALS
    return fd, mapped


class Peer:
    def __init__(self, path, version=1):
        fd, self.own = memory(PAGE + RING + ARENA, SHRINK | GROW | FUTURE_WRITE | SEAL)
        decisions_fd, self.decisions = memory(4096, SHRINK | GROW)
        greeting = b"telex\r\n\x1a" + struct.pack("<HHIIIQQQQ", 1, 1, 72, 0, 0, 1 << 24, 1 << 20, 0, 2**64 - 1) + os.urandom(16)
        attach = struct.pack("=IHHQQIII28x", 0x4D4C5854, version, 1, RING, ARENA, 0, 0, 0)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        socket.send_fds(self.socket, [greeting + attach], [fd, decisions_fd])
        data, fds, _flags, _address = socket.recv_fds(self.socket, 8192, 8)
        length = struct.unpack_from("<I", data, 12)[0]
        _magic, self.version, self.kind, self.ring, self.arena, _flags, self.code, said = struct.unpack_from("=IHHQQIII", data, length)
        self.sentence = data[length + 64 : length + 64 + said].decode()
        if fds:
            self.theirs = mmap.mmap(fds[0], PAGE + self.ring + self.arena, prot=mmap.PROT_READ)
        for each in [fd, decisions_fd, *fds]:
            os.close(each)
        self.tail = self.at = self.rung = self.returned = self.taken = self.cost = 0

    def look(self, offset):
        return struct.unpack_from("=Q", self.theirs, offset)[0]

    def tell(self, offset, value):
        self.own[offset : offset + 8] = struct.pack("=Q", value)

    def ring_for(self, offset):
        number = self.look(offset)
        if number not in (0, self.rung):  # numbers of both words are never the same
            self.rung = number
            self.socket.send(b"!")

    def put(self, number, flags, body, lane=0, kind=0):
        at, record = PAGE + self.tail % RING, 16 + (len(body) + 15) // 16 * 16
        soon(lambda: self.tail - self.look(HEAD) + record + 16 <= RING)
        for i in range(0, len(body), 16):  # it may go on at the ring's beginning
            place = PAGE + (self.tail + 16 + i) % RING
            self.own[place : place + len(body[i : i + 16])] = body[i : i + 16]
        self.tell(at + 8, number)
        self.tell(PAGE + (self.tail + record) % RING, 0)
        self.tell(at, len(body) | kind << 32 | lane << 48 | (flags | PRESENT) << 56)
        self.tail += record
        self.ring_for(ASLEEP_IN)

    def chunk(self, slot, data):
        self.own[PAGE + RING + slot * 4096 : PAGE + RING + slot * 4096 + len(data)] = data
        return struct.pack("=IIQ", slot, 0, len(data))

    def get(self):
        """The next record as (number, lane, flags, bytes), taken; those of a chunk are copied and given back."""
        at = PAGE + self.at % self.ring
        what = soon(lambda: self.look(at))
        size, lane, flags, number = what & 0xFFFFFFFF, what >> 48 & 255, what >> 56 & ~PRESENT, self.look(at + 8)
        body = b"".join(self.theirs[PAGE + (self.at + 16 + i) % self.ring :][: min(16, size - i)] for i in range(0, size, 16))
        self.at += 16 + (size + 15) // 16 * 16
        if flags & CHUNK:
            slot, _zero, length = struct.unpack("=IIQ", body[-16:])
            start = PAGE + self.ring + slot * 4096
            body = body[:-16] + self.theirs[start : start + length]
            entry = RELEASED + self.returned % 1024 * 4
            self.own[entry : entry + 4] = struct.pack("=I", self.returned // 1024 + 1 << 10 | slot)
            self.returned += 1
        self.taken += lane != 255
        self.tell(HEAD, self.at)
        if lane != 255 and not flags & REPLY:
            self.cost += 16 + (size + 15) // 16 * 16 + (len(body) if flags & CHUNK else 0)
            self.tell(COST, self.cost)
            self.tell(COSTLY, struct.unpack_from("=Q", self.own, COSTLY)[0] + 1)
        self.tell(PREFIX, self.taken)
        self.tell(MESSAGES, self.taken)
        self.ring_for(ASLEEP_OUT)
        return number, lane, flags, body


def calls(peer):
    peer.put(1, TEXT | CALL, b"hello")
    number, lane, flags, body = peer.get()
    assert (number, lane, flags) == (1, 0, TEXT | REPLY) and body == struct.pack("=Q", 1) + b"hello", (number, lane, flags, body)


def goes_round(peer):
    for number in range(1, 200):  # several times round its ring, and round mine
        text = b"%d" % number * (number * 7 % 300)
        peer.put(number, TEXT | CALL, text)
        assert peer.get()[3][8:] == text
    soon(lambda: peer.look(MESSAGES) == 199 and peer.look(PREFIX) == 199 and peer.look(HEAD) == peer.tail and peer.look(COST) == peer.tail)


def chunks(peer):
    data = bytes(range(256)) * 20
    for number in range(1, 301):  # more than its arena has, so that it needs what I give back
        peer.put(number, CALL | CHUNK, peer.chunk(0, data), lane=3)
        got, lane, flags, body = peer.get()
        assert (got, lane) == (number, 3) and flags & CHUNK and body[8:] == data
        soon(lambda at=number - 1: struct.unpack_from("=I", peer.theirs, RELEASED + at * 4)[0] == 1 << 10)  # slot 0 in the first lap


def pieces(peer):
    peer.put(1, TEXT | CALL | MORE, struct.pack("=Q", 12) + b"one ")
    peer.put(2, TEXT | CALL, b"between", lane=1)
    assert peer.get()[3][8:] == b"between"
    peer.put(1, TEXT | CALL | MORE, b"two ")
    peer.put(1, TEXT | CALL, b"four")
    assert peer.get()[3][8:] == b"one two four"


def rendezvous(peer):
    peer.decisions[0:8] = struct.pack("=Q", 1 << 2 | OFFERED)
    peer.put(1, TEXT | SYNC, b"taken")
    soon(lambda: struct.unpack_from("=Q", peer.decisions, 0)[0] == 1 << 2 | TAKEN)
    assert peer.get()[3] == b"taken"
    peer.decisions[0:8] = struct.pack("=Q", 2 << 2 | 3)  # withdrawn before it is seen
    peer.put(2, TEXT | SYNC, b"withdrawn")
    peer.put(3, TEXT | CALL, b"after it")
    assert peer.get()[3][8:] == b"after it"
    soon(lambda: peer.look(PREFIX) == 3)
    assert peer.look(MESSAGES) == 2


def ends(peer):
    peer.put(1, TEXT | CALL, b"last")
    peer.get()
    peer.put(0, 0, struct.pack("<IHBBQIIQ", 16, BYE, 255, 0, 0, 0, 0, 1), lane=255)
    number, lane, _flags, body = peer.get()
    assert (number, lane) == (0, 255) and struct.unpack("<IHBBQIIQ", body)[1] == BYE and struct.unpack("<IHBBQIIQ", body)[7] == 1
    peer.socket.settimeout(10)
    try:
        while peer.socket.recv(256):
            pass
    except ConnectionResetError:
        pass  # rings that nobody read


def lies(peer):
    peer.taken = 1000  # of none that was sent; it is noticed when the other looks for room
    for number in range(1, 1000):
        peer.put(number, TEXT | CALL, b"?" * 1000)
        _number, lane, _flags, body = peer.get()
        if lane == 255:
            break
    assert struct.unpack_from("<IHBBQI", body)[5] == 4, body  # a bye: broke the rules


def main():
    status = 0
    if platform.machine() not in ("x86_64", "i686"):
        print("ok interop.shm_peer # skip: Python knows no memory order, and this machine needs one")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        path = directory + "/socket"
        server = subprocess.Popen([os.environ["TELEX"], "serve", "--echo", "shm://" + path], stderr=subprocess.PIPE, text=True)
        server.stderr.readline()
        for case in (calls, goes_round, chunks, pieces, rendezvous, ends, lies):
            try:
                case(Peer(path))
                print(f"ok interop.shm_peer.{case.__name__}")
            except (AssertionError, OSError, struct.error) as error:
                print(f"not ok interop.shm_peer.{case.__name__} # {type(error).__name__}: {error}")
                status = 1
        other = Peer(path, version=2)
        fine = other.kind == 2 and other.code == 1 and "layout 2" in other.sentence
        print("ok interop.shm_peer.other_layout" if fine else f"not ok interop.shm_peer.other_layout # {other.kind}, {other.code}, {other.sentence}")
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=20)
    return status | (not fine)


sys.exit(main())
