# SPDX-License-Identifier: MIT
"""Peers that hold a good role key and say whatever the wire allows: every field at its bounds, rows and numbers without sense. Nobody dies of it."""

import json
import random
import re
import threading
import time
from pathlib import Path

import msgpack
import zmq
from zmq.auth.thread import ThreadAuthenticator

from broker_alone import EXECUTE, LOGIN, Later, make_broker, token_body  # noqa: F401
from harness.http import Client
from harness.ports import free_port
from harness.wait import wait_until
from harness.wire import CODES, LANE_OF, OP_NAMES, VERSION, FakeDispatcher, Peer, decode, encode, unbundle

PROTO = (Path(__file__).resolve().parents[2] / "proto" / "proto.def").read_text(encoding="utf-8")
CONSTANTS = {"UINT64_MAX": 2**64 - 1, "INT64_MAX": 2**63 - 1, "LANE_COUNT": 4, "LANE_COUNT - 1": 3, "OP_COUNT - 1": len(OP_NAMES) - 1,
             "PROTO_COMPANIES_MAX": 1000, "CHUNK_MAX": 262144, "CHUNK_WINDOW": 4}  # fmt: skip
FIELDS = {}
for kind, message, field, most in re.findall(r"F_(\w+)\((\w+), (\w+)(?:, ([^)]+))?\)", PROTO):
    if message.isupper() and field != "field":
        FIELDS.setdefault(message, []).append((kind, field, CONSTANTS.get(most) or (int(most) if most.isdigit() else 0)))
TEXTS = ["x", "ñ\u202e", "\r\nX-Evil: 1", "\x1b[2J", "../../x", "'\"\\", "=1+1", "%n%s%p", "a b", "-1", "9" * 30, "null", "active", "done", "running", "sunat",
         "sunat.menu_sol_login", "\U0001f480", "\ud7ff"]  # fmt: skip
STATS = re.findall(r"^(?:STAT|HISTOGRAM)\([^,]+, (\w+)", (Path(__file__).resolve().parents[2] / "common" / "stat.def").read_text(encoding="utf-8"), re.M)
NUMBERS = [0, 1, 2, 199, 500, 599, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**64 - 1]
SECONDS = 5


class Noise:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def number(self, most=2**64 - 1):
        pick = self.random.choice([*NUMBERS, most, most // 2, max(most - 1, 0)])
        return pick if pick <= most else pick % (most + 1)

    def text(self, most):
        text = self.random.choice([*TEXTS, "a" * most, "é" * (most // 2)])
        return text.encode()[:most].decode("utf-8", "ignore")

    def stats(self):
        told = {}
        for _ in range(self.random.randrange(12)):
            name = self.random.choice([*STATS, self.text(40) or "x"])
            told[name] = self.number() if self.random.random() < 0.7 else [self.number() for _ in range(self.random.choice([1, 3, 18, 19]))]
        return told

    def field(self, kind, most):
        if kind == "U64":
            return self.number(most)
        if kind == "BOOL":
            return self.random.random() < 0.5
        if kind == "BIN":
            return self.random.randbytes(self.random.choice([0, 1, most]))
        if kind == "U64S":
            return [self.number() for _ in range(self.random.choice([0, 1, min(most, 4)]))]
        if kind == "STATS":
            return self.stats()
        return self.text(most)

    def header(self, message, **fixed):
        return {**{name: self.field(kind, most) for kind, name, most in FIELDS[message] if self.random.random() < 0.6}, **fixed}

    def thing(self, depth=0):
        kind = self.random.randrange(8 if depth < 3 else 5)
        if kind < 2:
            return self.number()
        if kind < 4:
            return self.text(60)
        if kind == 4:
            return self.random.choice([None, True, -1, 1.5e308, b"\xff", float("nan")])
        return [self.thing(depth + 1) for _ in range(self.random.randrange(9))]

    def rows(self, shape):
        make = {"n": self.number, "t": lambda: self.text(64), "*": self.thing, "N": lambda: [self.number() for _ in range(self.random.choice([18, 19, 4]))],
                "s": lambda: self.random.choice(["r1", "r2", "up", "down", "suspect", "sunat", "active"]), "u": lambda: self.random.choice(URLS)}  # fmt: skip
        rows = [[make[one]() for one in shape] for _ in range(self.random.randrange(6))]
        return msgpack.packb(rows if self.random.random() < 0.8 else self.thing())

    def json(self):
        numbers = [0, -1, 1, 2**53, 2**63 - 1, -(2**63), 1e308, -0.5]
        value = lambda: self.random.choice([*numbers, *TEXTS[:-1], None, True, [], {}, [1, 2], {"a": 1}, "x" * 5000])
        names = ["id", "name", "abilities", "companies", "all", "rate_per_minute", "expires_in_ms", "expires_at_ms", "ok", "batch_id", "status", "accepted",
                 "rejected_total", "rejected", "batch", "jobs", "queue", "robots", "at_ms", "kept_back_percent", "next_cursor", "session_id", "robot", "errors"]  # fmt: skip
        if self.random.random() < 0.1:
            return self.random.choice([b"", b"[", b"[]", b"nul", b'"x"', b"{}" * 3, b"\xff", b"[" * 200])
        return json.dumps({name: value() for name in self.random.sample(names, self.random.randrange(1, 9))}).encode()


URLS = ["http://127.0.0.1:1", "file:///etc/passwd", "http://", "x", "http://127.0.0.1:1/\r\nX: y", "gopher://127.0.0.1:1/x", "http://[::1", "https://127.0.0.1:99999"]


def test_a_dispatcher_that_says_anything_to_a_broker(make_broker):  # noqa: F811
    broker = make_broker()
    noise, bad = Noise(1), FakeDispatcher(broker.bind)
    bad.greet()
    end = time.monotonic() + SECONDS
    good = json.loads(token_body(1))

    def tell(message, payload=b"", /, **header):
        frames = [bytes([VERSION, CODES[message]]), msgpack.packb(header, use_bin_type=True)]
        bad.socket.send_multipart([*frames, payload] if payload else frames)

    def answer(header):
        number = header["id"]
        if OP_NAMES[header.get("op", 0)] == "TOKEN_VERIFY" and noise.random.random() < 0.9:
            tell("REPLY", json.dumps({**good, "id": header.get("token_id", 1)}).encode(), id=number, status=200)
            return
        kind = noise.random.randrange(6)
        if kind < 3:
            tell("REPLY", noise.json(), **noise.header("REPLY", id=number, **({"status": 200, "error": ""} if kind else {})))
        elif kind == 3:
            tell("ACCEPTED", **noise.header("ACCEPTED", id=number))
        else:
            tell("REPLY_HEAD", **noise.header("REPLY_HEAD", id=number, status=noise.random.choice([200, 204, 206, 304, 101, 0, 599])))
            for seq in range(noise.random.randrange(6)):
                tell("CHUNK", b"x" * noise.random.choice([0, 1, 262144]), id=number, seq=seq)
            tell("CHUNK", id=number, seq=noise.number(), last=noise.random.random() < 0.5, broken=noise.random.random() < 0.5)

    def serve():
        told = 0.0
        while time.monotonic() < end:
            while bad.socket.poll(2):
                name, header, payload = decode(bad.socket.recv_multipart())
                for name, header, payload in unbundle(payload) if name == "MANY" else [(name, header, payload)]:
                    if name == "REQUEST":
                        bad.finished[header.get("lane", 0)] += 1
                        answer(header)
                    elif name == "PING":
                        tell("PONG", seq=header.get("seq", 0))
            if time.monotonic() > told + 0.05:
                told = time.monotonic()
                tell("PING", **noise.header("PING", incarnation=bad.incarnation, limits=bad.limits(), database_ok=True, draining=False, database=""))
                kind = noise.random.choice(["ROBOT_STATS", "COMPANY_STATS", "ATTEMPT_STATS", "EVENT", "WAKE", "CREDIT", "CHUNK", "REPLY", "ACCEPTED", "MANY", "PONG"])
                payload = {"ROBOT_STATS": lambda: noise.rows("ssnnnNNn"), "COMPANY_STATS": lambda: noise.rows("nnnnn"), "ATTEMPT_STATS": lambda: noise.rows("ttttn"),
                           "MANY": lambda: noise.random.randbytes(50)}.get(kind, lambda: b"")()  # fmt: skip
                tell(kind, payload, **({"incarnation": bad.incarnation, "limits": bad.limits()} if kind == "CREDIT" else noise.header(kind)))

    thread = threading.Thread(target=serve)
    thread.start()
    wait_until(broker.ready, 10)
    answers = {}

    def ask(n):
        rng = random.Random(n)
        while time.monotonic() < end - 0.5:
            what = rng.choice([("GET", "/api/v1/app/buzon/list?session_id=s"), ("GET", "/api/v1/app/buzon/download?session_id=s&file_token=t"), ("GET", "/api/v1/app/jobs"),
                               ("POST", EXECUTE), ("GET", "/api/v1/app/batches/5"), ("GET", "/api/v1/app/batches/5/events"), ("POST", "/api/v1/app/batches"), ("GET", "/api/v1/app/sessions/s"),
                               ("GET", "/api/v1/app/batches/5/results")])  # fmt: skip
            ops = rng.choice(["/metrics", "/api/v1/ops/stats", "/api/v1/ops/workers", "/api/v1/ops/dispatchers", "/api/v1/ops/queue", "/api/v1/ops/portals", "/api/v1/ops/tokens"])
            try:
                if rng.random() < 0.3:
                    answers.setdefault(broker.ops.get(ops, timeout=2).status, ops)
                else:
                    body = None if what[0] == "GET" else {**LOGIN, "items": [{"company_id": 7}]} if "batches" in what[1] else LOGIN
                    got = broker.api.request(*what, body, headers={"X-Deadline-Ms": "800"}, timeout=2)
                    assert "X-Evil" not in got.headers, got
                    answers.setdefault(got.status, what)
            except AssertionError:
                raise
            except Exception as why:  # a stream that is cut, a client that waits no longer
                answers.setdefault(type(why).__name__, what)

    askers = [Later(ask, n) for n in range(6)]
    for one in askers:
        one.answer(60)
    thread.join()
    bad.close()
    assert broker.alive() and 200 in answers, answers


def certified(peer):
    """Lets in everybody who holds our public key."""
    zap = ThreadAuthenticator(peer.context)
    zap.start()
    zap.configure_curve(domain="*", location=zmq.auth.CURVE_ALLOW_ANY)
    return zap


def test_a_broker_that_says_anything_to_a_dispatcher(make_system):
    bind = f"tcp://127.0.0.1:{free_port()}"
    system = make_system(robots=1, settings={"robot.pass": "/sunat/other", "log.level": "info", "webhook.allow": "http://127.0.0.1:9/"})
    session = system.api.login(5)
    system.check_doctor = False
    keys = system.settings["curve.dir"]
    bad = Peer(zmq.ROUTER, keys, "broker", None)
    bad.socket.bind(bind)
    other = system.make("dispatcher", 1)
    conf = Path(other.argv[-1])
    conf.write_text(re.sub(r'brokers = ".*"', f'brokers = "{bind}"', conf.read_text()))
    system.dispatchers.append(other)
    zap = certified(bad)
    other.start()
    noise, end, seen = Noise(1), None, set()
    route, sent, ids, limits = None, 0, {}, [0, 0, 0, 0]
    counts = [0, 0, 0, 0]
    began = time.monotonic()
    while end is None or time.monotonic() < end:
        assert time.monotonic() < began + 60 + SECONDS
        while bad.socket.poll(3):
            who, *frames = bad.socket.recv_multipart()
            name, header, payload = decode(frames)
            for name, header, payload in unbundle(payload) if name == "MANY" else [(name, header, payload)]:
                if name == "HELLO":
                    route = who
                    bad.socket.send_multipart([who, *encode("WELCOME", name="bad", boot_id="b", many=True, attempts=True)])
                elif name == "PING":
                    limits = header.get("limits") or limits
                    bad.socket.send_multipart([who, *encode("PONG", seq=header.get("seq", 0))])
                    end = end or time.monotonic() + SECONDS
                elif name == "CREDIT":
                    limits = header["limits"]
                elif name == "REPLY":
                    seen.add(ids[header["id"]])
        if not route or not end:
            continue
        for _ in range(5):
            op = noise.random.choice(OP_NAMES)
            lane = LANE_OF[op]
            if counts[lane] >= limits[lane]:
                continue
            counts[lane] += 1
            sent += 1
            fixed = {"id": sent, "op": OP_NAMES.index(op), "lane": lane, "deadline_ms": noise.random.choice([0, 1, 1000, 600000]), "all_companies": noise.random.random() < 0.9}
            if noise.random.random() < 0.5:
                fixed |= {"session_id": session, "portal": "sunat", "action": "sunat.menu_sol_login"}
            if noise.random.random() < 0.5:
                fixed |= {"job_id": noise.random.choice([0, 1, 2]), "batch_id": noise.random.choice([0, 1, 2]), "state": "", "cursor": noise.random.choice([0, 2**63 - 1]), "error": "", "robot_error": ""}
            if op == "OPS_WORKER_WANT":
                fixed |= {"worker": "nobody"}
            ids[sent] = op
            payload = noise.random.choice([b"", b"{}", noise.json(), noise.rows("ntn"), b'{"company_id":1}\n{"company_id":2,"params":{"x":1}}\n', noise.random.randbytes(200), b"x" * 1000000])
            header = noise.header("REQUEST", **fixed)
            bad.socket.send_multipart([route, *encode("REQUEST", payload, **header)])
            if noise.random.random() < 0.2:
                bad.socket.send_multipart([route, *encode("CANCEL", id=noise.random.choice([sent, noise.number()]))])
            if noise.random.random() < 0.2:
                bad.socket.send_multipart([route, *encode("CHUNK_CREDIT", id=noise.random.choice([sent, noise.number()]), limit=noise.number())])
            if noise.random.random() < 0.1:
                kind = noise.random.choice(["PING", "PONG", "WAKE", "REFUSED", "MANY"])
                bad.socket.send_multipart([route, *encode(kind, noise.random.randbytes(40) if kind == "MANY" else b"", **noise.header(kind))])
        time.sleep(0.02)
    assert other.alive() and system.dispatcher.alive() and len(seen) > 5, seen
    zap.stop()
    bad.close()
    wait_until(system.ready, 5)  # its token may have been revoked, and its queue paused


def test_a_healthd_and_a_dispatcher_that_say_anything(make_system):
    """Verdicts of a hostile healthd to broker and dispatcher, and robots of a hostile dispatcher to healthd."""
    system = make_system(robots=1, settings={"log.level": "info"})
    system.check_doctor = False
    noise = Noise(3)
    keys, published = system.settings["curve.dir"], system.endpoints["healthd", 0]["healthd.bind"]
    control = Peer(zmq.DEALER, keys, "dispatcher", "healthd")
    control.socket.connect(system.endpoints["healthd", 0]["healthd.control"])
    for n in range(50):
        control.socket.send_multipart(encode("ROBOTS", noise.rows(noise.random.choice(["tus", "sus", "suu", "t*s"])), revision=10**6 + n if n % 5 else noise.number(2**62)))
        time.sleep(0.03)
    time.sleep(1)
    assert system.healthd.alive()
    control.close()
    system.healthd.stop()
    bad = Peer(zmq.XPUB, keys, "healthd", None)
    zap = certified(bad)
    wait_until(lambda: not bind_fails(bad, published), 10)
    time.sleep(2)
    for n in range(100):
        header = noise.header("HEALTH", incarnation="i", seq=n, full=noise.random.random() < 0.3, interval_ms=noise.number(600000))
        bad.socket.send_multipart(encode("HEALTH", noise.rows(noise.random.choice(["ssnnnttns", "tsnnnttnt", "ss*******", "ssnnntnnt"])), **header))
        if n % 10 == 0:
            Client(system.ops_url).get("/metrics").expect(200)
            system.ops.get("/api/v1/ops/stats").expect(200)
            system.ops.get("/api/v1/ops/workers")
        time.sleep(0.02)
    assert system.broker.alive() and system.dispatcher.alive()
    zap.stop()
    bad.close()


def bind_fails(peer, where):
    try:
        peer.socket.bind(where)
        return False
    except zmq.ZMQError:
        return True
