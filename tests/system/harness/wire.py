# SPDX-License-Identifier: MIT
"""CHASQUI/1 in Python, from proto/SPEC.md alone: a second implementation that keeps the specification honest.

A FakeDispatcher speaks to a real broker, a FakeBroker to a real dispatcher, a HealthPeer to a real healthd.
"""

import re
import secrets
import struct
import time
from pathlib import Path

import msgpack
import zmq
import zmq.auth

VERSION = 1
CODES = {
    "HELLO": 1, "WELCOME": 2, "CREDIT": 3, "PING": 4, "PONG": 5, "BYE": 6, "REQUEST": 7, "ACCEPTED": 8, "REPLY": 9,
    "REPLY_HEAD": 10, "CHUNK": 11, "CHUNK_CREDIT": 12, "CANCEL": 13, "EVENT": 14, "WAKE": 15, "REFUSED": 16, "ROBOTS": 17, "HEALTH": 18,
    "ROBOT_STATS": 19, "COMPANY_STATS": 20, "MANY": 21, "ATTEMPT_STATS": 22,
}  # fmt: skip
NAMES = {code: name for name, code in CODES.items()}
LANES = ["control", "interactive", "login", "batch"]
SPEC = Path(__file__).resolve().parents[3] / "proto" / "SPEC.md"
OPS = re.findall(r"^\| ([A-Z_]+) \| \d+ \| (\w+) \|", SPEC.read_text(encoding="utf-8"), re.M)
OP_NAMES = [name for name, _ in OPS]
LANE_OF = {name: LANES.index(lane) for name, lane in OPS}


def encode(message, payload=b"", **header):
    frames = [bytes([VERSION, CODES[message]]), msgpack.packb(header, use_bin_type=True)]
    return [*frames, payload] if payload else frames


def decode(frames):
    """(name, header, payload)."""
    assert 2 <= len(frames) <= 3 and len(frames[0]) == 2 and frames[0][0] == VERSION, frames
    return NAMES[frames[0][1]], msgpack.unpackb(frames[1], raw=False), frames[2] if len(frames) == 3 else b""


def bundle(messages):
    """The payload of a MANY: of messages as encode() makes them."""
    parts = []
    for frames in messages:
        payload = frames[2] if len(frames) == 3 else b""
        parts += [struct.pack(">II", len(frames[1]), len(payload)), frames[0], frames[1], payload]
    return b"".join(parts)


def unbundle(payload):
    """The messages of a MANY, as decode() tells them."""
    while payload:
        header, body = struct.unpack(">II", payload[:8])
        yield decode([payload[8:10], payload[10 : 10 + header], payload[10 + header : 10 + header + body]])
        payload = payload[10 + header + body :]


class Peer:
    """A socket of a role, with CURVE when `keys` (a directory of `chasqui keys init`) is given."""

    def __init__(self, kind, keys=None, role="dispatcher", server="broker"):
        self.context = zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.linger = 0
        if keys:
            public, secret = zmq.auth.load_certificate(Path(keys) / f"{role}.key_secret")
            self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
            if server:
                self.socket.curve_serverkey = zmq.auth.load_certificate(Path(keys) / f"{server}.key")[0]
            else:
                self.socket.curve_server = True

    def receive(self, timeout=5.0):
        """Frames, or None."""
        return self.socket.recv_multipart() if self.socket.poll(timeout * 1000) else None

    def close(self):
        self.context.destroy(linger=0)


class FakeDispatcher(Peer):
    def __init__(self, endpoint, keys=None, name=None, boot_id=None):
        super().__init__(zmq.DEALER, keys, "dispatcher", "broker")
        self.name, self.boot_id = name or "fake-" + secrets.token_hex(4), boot_id or secrets.token_hex(8)
        self.incarnation = secrets.randbits(63) | 1
        self.finished, self.window = [0, 0, 0, 0], 8
        self.socket.connect(endpoint)

    def send(self, message, payload=b"", **header):
        self.socket.send_multipart(encode(message, payload, **header))

    def limits(self):
        return [done + self.window for done in self.finished]

    def ping(self):
        self.send("PING", seq=1, incarnation=self.incarnation, limits=self.limits(), database_ok=True)

    def greet(self, timeout=30.0):
        """HELLO until WELCOME, then credit."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.send("HELLO", name=self.name, boot_id=self.boot_id, version="test", capacity=self.window)
            frames = self.receive(0.5)
            while frames:
                if decode(frames)[0] == "WELCOME":
                    self.ping()
                    return self
                frames = self.receive(0.1)
        raise AssertionError("no WELCOME")

    def next(self, wanted="REQUEST", timeout=5.0):
        """The next message of that name, as (header, payload); answers heartbeats meanwhile."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            frames = self.receive(min(left, 0.4))
            self.ping()
            if not frames:
                continue
            name, header, payload = decode(frames)
            if name == "PING":
                self.send("PONG", seq=header.get("seq", 0))
            if name == "REQUEST" and OP_NAMES[header.get("op", 0)] == "OPS_SUMMARY":
                self.reply(header, status=501, error="not_implemented")  # the broker's own question is not the test's
            elif name == wanted:
                return header, payload
        raise AssertionError(f"no {wanted} within {timeout} s")

    def reply(self, request, payload=b"", **header):
        self.finished[request.get("lane", 0)] += 1
        self.send("REPLY", payload, id=request["id"], **{"status": 200, **header})

    def verify_tokens(self, body):
        """Answers the next request, which must be TOKEN_VERIFY."""
        header, _ = self.next()
        assert OP_NAMES[header.get("op", 0)] == "TOKEN_VERIFY", header
        self.reply(header, body)


class HealthPeer:
    """A dispatcher's two sockets towards healthd."""

    def __init__(self, publish, control, keys=None):
        self.sub = Peer(zmq.SUB, keys, "dispatcher", "healthd")
        self.sub.socket.subscribe(b"")
        self.sub.socket.connect(publish)
        self.control = Peer(zmq.DEALER, keys, "dispatcher", "healthd")
        self.control.socket.connect(control)
        self.known, self.seq, self.incarnation = {}, None, None

    def tell(self, revision, rows):
        self.control.socket.send_multipart(encode("ROBOTS", msgpack.packb(rows), revision=revision))

    def next(self, timeout=20.0):
        """The next HEALTH, applied to `known` (name -> row). Sequence numbers must have no gap."""
        frames = self.sub.receive(timeout)
        assert frames, "healthd is silent"
        name, header, payload = decode(frames)
        assert name == "HEALTH"
        if self.incarnation == header["incarnation"]:
            assert header["seq"] == self.seq + 1, "a gap in the sequence"
        self.incarnation, self.seq = header["incarnation"], header["seq"]
        if header.get("full"):
            self.known = {}
        for row in msgpack.unpackb(payload) if payload else []:
            self.known[row[0]] = row
        return header

    def wait(self, condition, timeout=30.0):
        """Takes messages until condition(known)."""
        end = time.monotonic() + timeout
        while not condition(self.known):
            assert time.monotonic() < end, self.known
            self.next()
        return self.known

    def close(self):
        self.sub.close()
        self.control.close()
