# SPDX-License-Identifier: MIT
"""Other queues, durable as ours is: beanstalkd that syncs each job, and BullMQ on a Redis that syncs each write.

Each accepts n jobs of the size of a batch item, then hands all of them out and has them deleted. The jobs do nothing: no robot
is called. Both answer {"accept_per_s", "drain_per_s"}.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from harness import Process, free_port, wait_until
from npm import environment

HERE = Path(__file__).resolve().parent
TOGETHER = 500  # commands in one piece


def item(n):
    return json.dumps({"company_id": n, "params": {"ruc": f"20{n:09}", "usuario": "DEMO", "clave": "demo"}}, separators=(",", ":"))


def can_connect(port):
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    return True


class Wire:
    """A connection on which many commands are under way."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.reader = self.socket.makefile("rb", 1 << 20)

    def ask(self, commands, answer):
        self.socket.sendall(b"".join(commands))
        return [answer(self.reader) for _ in commands]


def reserved(reader):
    """RESERVED <id> <bytes>, and the body: the id."""
    words = reader.readline().split()
    assert words[0] == b"RESERVED", words
    reader.read(int(words[2]) + 2)
    return words[1]


def line(reader):
    return reader.readline()


def beanstalkd(directory, n):
    directory.mkdir()
    port = free_port()
    process = Process("beanstalkd", [shutil.which("beanstalkd") or "/usr/bin/beanstalkd", "-l", "127.0.0.1", "-p", port, "-b", directory,
                                     "-f", 0], directory / "log").start()  # fmt: skip
    try:
        wait_until(lambda: can_connect(port), 10, "beanstalkd listens")
        wire = Wire(port)
        bodies = [item(number).encode() for number in range(n)]
        puts = [b"put 5 0 120 %d\r\n%s\r\n" % (len(body), body) for body in bodies]
        started = time.monotonic()
        for at in range(0, n, TOGETHER):
            assert all(answer.startswith(b"INSERTED") for answer in wire.ask(puts[at : at + TOGETHER], line))
        accepted = time.monotonic()
        for at in range(0, n, TOGETHER):
            ids = wire.ask([b"reserve\r\n"] * min(TOGETHER, n - at), reserved)
            wire.ask([b"delete %s\r\n" % one for one in ids], line)
        ended = time.monotonic()
    finally:
        process.stop()
    return {"accept_per_s": n / (accepted - started), "drain_per_s": n / (ended - accepted)}


def bullmq(directory, n):
    directory.mkdir()
    port = free_port()
    process = Process("redis", ["redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", directory, "--appendonly", "yes",
                                "--appendfsync", "always", "--save", ""], directory / "log").start()  # fmt: skip
    try:
        wait_until(lambda: can_connect(port), 10, "redis listens")
        done = subprocess.run(["node", HERE / "bull.js", str(port), str(n)], capture_output=True, text=True, timeout=600, check=False,
                              env={**os.environ, **environment()})  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    finally:
        process.stop()
