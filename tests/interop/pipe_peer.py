# SPDX-License-Identifier: MIT
"""Both sides of pipe:// in Python, standard library only, written from docs/pipe.md: streams for telex_peer.Channel, or for plain bytes.

    stream = dial("/tmp/echo")              # a client's, not yet accepted
    listener = Listener("/tmp/echo"); stream = listener.accept()
"""
import errno
import fcntl
import os
import re
import select
import signal
import stat
import struct
import time

signal.signal(signal.SIGPIPE, signal.SIG_IGN)

HELLO = re.compile(rb"telex pipe 1 ([0-9a-f]{32})\n")
SIZE = 46
READ, WRITE = os.O_RDONLY | os.O_NONBLOCK, os.O_WRONLY | os.O_NONBLOCK


def sign(fd):
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def writer(fd):
    """The number of the process that signed, or None."""
    kind, _whence, _start, _length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)))
    return pid if kind != fcntl.F_UNLCK else None


class Stream:
    """What telex_peer wants of a socket, over two FIFOs; `outlet` is what is selected for writing."""

    family = None

    def __init__(self, incoming, outlet):
        self.incoming, self.outlet = incoming, outlet
        self.keeper = self.knock = None
        self.names = []

    def fileno(self):
        return self.incoming

    def setblocking(self, _flag):
        pass

    def accepted(self):
        if self.knock is None:
            return True
        if os.fstat(self.incoming).st_nlink > 0:
            return False
        for fd in (self.knock, self.keeper):
            os.close(fd)
        self.knock = self.keeper = None
        return True

    def _listener_is_gone(self):
        poll = select.poll()
        poll.register(self.knock, 0)
        return bool(poll.poll(0)) and not self.accepted()

    def recv(self, size):
        before = self.accepted()
        content = os.read(self.incoming, size)
        if content or before:
            return content
        if self._listener_is_gone():
            raise ConnectionResetError("the listener ended before it accepted")
        raise BlockingIOError

    def send(self, content):
        self.accepted()
        return os.write(self.outlet, content)

    def shutdown(self, _how):
        if self.outlet is not None:
            os.close(self.outlet)
            self.outlet = None

    def close(self):
        if not self.accepted():
            for name in self.names:
                os.unlink(name)
        for fd in (self.incoming, self.outlet, self.keeper, self.knock):
            if fd is not None:
                os.close(fd)
        self.incoming = self.outlet = self.keeper = self.knock = None


def dial(path):
    try:
        knock = os.open(path, WRITE | os.O_NOFOLLOW)
    except OSError as error:
        raise ConnectionRefusedError(path) if error.errno in (errno.ENXIO, errno.ENOENT) else error
    facts = os.fstat(knock)
    if not stat.S_ISFIFO(facts.st_mode) or facts.st_uid not in (0, os.geteuid()):
        os.close(knock)
        raise ConnectionRefusedError(path)
    token = os.urandom(16).hex()
    up, down = f"{path}.{token}.up", f"{path}.{token}.down"
    os.mkfifo(up, 0o600)
    os.mkfifo(down, 0o600)
    keeper = os.open(up, READ)
    stream = Stream(os.open(down, READ), os.open(up, WRITE))
    stream.keeper, stream.knock, stream.names = keeper, knock, [up, down]
    sign(stream.outlet)
    os.write(knock, b"telex pipe 1 %s\n" % token.encode())
    return stream


class Listener:
    def __init__(self, path):
        self.path, self.bytes = path, b""
        now = f"{path}.{os.urandom(16).hex()}.new"
        os.mkfifo(now, 0o600)
        self.fd = os.open(now, os.O_RDWR | os.O_NONBLOCK)
        os.link(now, path)  # where renaming over nothing is not to be had
        os.unlink(now)

    def _hello(self, deadline):
        while True:
            found = HELLO.search(self.bytes)
            if found:
                self.bytes = self.bytes[found.end():]
                return found.group(1).decode()
            self.bytes = self.bytes[1 - SIZE:]
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            self.bytes += os.read(self.fd, 4096)

    def _open(self, name, flags):
        fd = os.open(name, flags | os.O_NOFOLLOW)
        facts = os.fstat(fd)
        if stat.S_ISFIFO(facts.st_mode) and facts.st_uid == os.geteuid() and facts.st_nlink == 1 and not facts.st_mode & 0o077:
            return fd
        os.close(fd)
        raise PermissionError(name)

    def accept(self, timeout=10):
        deadline = time.monotonic() + timeout
        while True:
            token = self._hello(deadline)
            up, down = f"{self.path}.{token}.up", f"{self.path}.{token}.down"
            opened = []
            try:
                opened.append(self._open(up, READ))
                os.close(self._open(up, WRITE))
                opened.append(self._open(down, WRITE))
            except OSError as error:
                for fd in opened:
                    os.close(fd)
                if error.errno == errno.ENXIO:
                    os.unlink(up)
                    os.unlink(down)
                continue
            sign(opened[1])
            stream = Stream(*opened)
            stream.pid = writer(opened[0])
            os.unlink(up)
            os.unlink(down)
            return stream

    def close(self):
        os.unlink(self.path)
        os.close(self.fd)
