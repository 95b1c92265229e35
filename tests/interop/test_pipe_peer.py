#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pipe:// with peers that are not libtelex, in both directions: in Python (pipe_peer.py, written from docs/pipe.md), and the shell script that stands in
docs/pipe.md, as it stands there. TELEX is the path of the telex command, SOURCE that of the sources."""
import sys

sys.dont_write_bytecode = True

import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import tempfile
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pipe_peer
import telex_peer

TELEX, SOURCE = os.environ["TELEX"], pathlib.Path(os.environ["SOURCE"])
SECONDS = 60 * int(os.environ.get("TESTING_SLOW", "1"))
cases = []


def case(function):
    cases.append(function)
    return function


class Telex:
    """A telex process; with `listening`, once it listens."""

    def __init__(self, *arguments, listening=False, **how):
        self.process = subprocess.Popen([TELEX, *arguments], stdin=how.get("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if listening:
            line = self.process.stderr.readline()
            assert b"listening on" in line, line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def fifos(directory):
    return sorted(each.name for each in directory.iterdir() if each.is_fifo())


def shell_client():
    """The script of docs/pipe.md."""
    (script,) = re.findall(r"```sh\n(.*?)```", (SOURCE / "docs" / "pipe.md").read_text(), re.S)
    return script


@case
def python_dials(directory):
    path = str(directory / "echo")
    with Telex("serve", f"pipe://{path}", "--echo", listening=True) as server:
        channels = [telex_peer.Channel(pipe_peer.dial(path)) for _ in range(20)]
        for i, channel in enumerate(channels):
            assert channel.call(f"number {i}").text == f"number {i}"
            assert pipe_peer.writer(channel.stream.incoming) == server.process.pid
        assert channels[0].call("x" * 3_000_000).text == "x" * 3_000_000
        assert fifos(directory) == ["echo"]
        for channel in channels:
            assert channel.close() == 0
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0
    assert fifos(directory) == []


@case
def python_listens(directory):
    path = str(directory / "echo")
    listener = pipe_peer.Listener(path)
    knock = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(knock, b"telex pipe 1 0123")  # somebody's that was cut
    os.close(knock)
    for i in range(3):
        with Telex("call", f"pipe://{path}", f"question {i}") as client:
            stream = listener.accept()
            assert stream.pid == client.process.pid
            channel = telex_peer.Channel(stream, None, 10, True)
            message = channel.receive(10)
            assert message.text == f"question {i}"
            channel.reply(message, f"answer {i}")
            out, error = client.process.communicate(timeout=SECONDS)
            assert (out, client.process.returncode) == (b"answer %d\n" % i, 0), (out, error)
            channel.close()
    listener.close()
    assert fifos(directory) == []
    with Telex("call", f"pipe://{path}", "anybody?") as client:
        assert b"nobody listens" in client.process.communicate(timeout=SECONDS)[1]


@case
def plain_lines(directory):
    path = str(directory / "lines")
    with Telex("serve", f"pipe://{path}?wire=lines", "--echo", listening=True):
        stream = pipe_peer.dial(path)
        stream.send(b"one\ntwo\n")
        stream.shutdown(None)
        got = b""
        while True:
            select.select([stream], [], [], 10)
            try:
                more = stream.recv(100)
            except BlockingIOError:
                continue
            if not more:
                break
            got += more
        assert got == b"one\ntwo\n", got
        stream.close()


@case
def shells_dial(directory):
    path = directory / "words"
    script = shell_client().replace("path=/tmp/words", f"path={path}")
    assert str(path) in script
    with Telex("serve", f"pipe://{path}?wire=lines", "--", "wc", "-w", listening=True):
        for shell in ("sh", "bash"):
            clients = [subprocess.Popen([shell, "-euc", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(5)]
            for client in clients:
                out, error = client.communicate(timeout=SECONDS)
                assert (out.strip(), client.returncode) == (b"6", 0), (shell, out, error)
        assert fifos(directory) == ["words"]


@case
def a_shell_sees_the_end(directory):
    path = directory / "words"
    script = shell_client().replace("path=/tmp/words", f"path={path}") + "\nread -r nothing <&5 || echo ended\n"
    with Telex("serve", f"pipe://{path}?wire=lines", "--echo", listening=True) as server:
        client = subprocess.Popen(["sh", "-uc", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert client.stdout.readline() == b"to be or not to be\n"
        server.process.kill()
        assert client.communicate(timeout=SECONDS)[0] == b"ended\n"


@case
def a_killed_shell_is_noticed(directory):
    """By a listener that waits for its lines: they are all there, and then the end."""
    path = directory / "words"
    script = shell_client().replace("path=/tmp/words", f"path={path}").replace("read -r answer", "kill -9 $$; read -r answer")
    with Telex("listen", "-n", "1", f"pipe://{path}?wire=lines") as receiver:
        assert b"listening on" in receiver.process.stderr.readline()
        client = subprocess.Popen(["sh", "-uc", script], stdin=subprocess.DEVNULL)
        assert client.wait(SECONDS) == -signal.SIGKILL
        assert receiver.process.communicate(timeout=SECONDS)[0] == b"to be or not to be\n"
    assert fifos(directory) == []


def out_of_time(_signal, _frame):
    raise AssertionError(f"did not end within {SECONDS} s")


def run(function):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="telex-pipe-"))
    os.environ["XDG_RUNTIME_DIR"] = str(directory)
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(SECONDS)
    try:
        function(directory)
        why = None
    except Exception as error:
        traceback.print_exc()
        why = f"{type(error).__name__} {error}".replace("\n", " ")[:300]
    finally:
        signal.alarm(0)
        shutil.rmtree(directory, ignore_errors=True)
    print(f"not ok interop.pipe.{function.__name__} # {why}" if why else f"ok interop.pipe.{function.__name__}", flush=True)
    return why is None


def main():
    if "--list" in sys.argv[1:]:
        print("\n".join("interop.pipe." + one.__name__ for one in cases))
        return 0
    wanted = [name for name in sys.argv[1:] if not name.startswith("-")]
    return 0 if all([run(one) for one in cases if not wanted or any(name in one.__name__ for name in wanted)]) else 1


if __name__ == "__main__":
    sys.exit(main())
