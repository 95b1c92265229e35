#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Types the shell sessions of README.md, and compares what comes with what stands there. Paths below /tmp and the port are replaced."""
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile


def sessions(text):
    """Each indented block with `$ ` in it, as a list of (command, expected lines)."""
    found = []
    for block in re.findall(r"(?:^    .*\n)+", text, re.M):
        lines = [line[4:] for line in block.splitlines()]
        if not lines[0].startswith("$ "):
            continue
        session = []
        for line in lines:
            if line.startswith("$ "):
                session.append((line[2:], []))
            else:
                session[-1][1].append(line)
        found.append(session)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def type_in(command, expected, environment, directory):
    """What `command` printed; one that ends with & goes on, once it has printed as many lines as are expected. Returns (lines, process or None)."""
    background = command.endswith("&")
    process = subprocess.Popen(["sh", "-c", ("exec " if background else "") + command.rstrip("& ")], env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if background:
        return [process.stdout.readline().rstrip("\n") for _ in expected], process
    return process.communicate(timeout=10)[0].splitlines(), None


def main():
    status = 0
    with open(os.path.join(os.environ["SOURCE"], "README.md"), encoding="utf-8") as file:
        text = file.read()
    environment = dict(os.environ, PATH=os.path.dirname(os.environ["TELEX"]) + ":" + os.environ["PATH"])
    with tempfile.TemporaryDirectory() as directory:
        text = text.replace("/tmp/", directory + "/").replace("7000", str(free_port()))
        servers = []
        for number, session in enumerate(sessions(text), 1):
            wrong = []
            for command, expected in session:
                said, server = type_in(command, expected, environment, directory)
                servers += [server] if server else []
                if said != expected:
                    wrong.append(f"{command}: said {said}, README.md says {expected}")
            print(f"not ok readme.session_{number} # {wrong[0]}" if wrong else f"ok readme.session_{number}")
            status |= bool(wrong)
        for server in servers:
            server.send_signal(signal.SIGTERM)
        ended = [server.wait(timeout=10) for server in servers]
        print("ok readme.servers_end" if not any(ended) else f"not ok readme.servers_end # exit status {ended}")
        status |= any(ended)
    return int(status)


sys.exit(main())
