# SPDX-License-Identifier: MIT
"""A broker without dispatcher and database, and dispatchers by script: for what a real one would never do."""

import json
import queue
import re
import threading
import time

import msgpack
import pytest

from harness.http import Api, Client, metrics
from harness.ports import free_port
from harness.process import Process
from harness.system import ROOT, program, zpl
from harness.wait import wait_until
from harness.wire import CODES, OP_NAMES, VERSION, FakeDispatcher, decode

SECRET = "1|secret"
LOGIN = {"company_id": 7, "portal": "sunat", "action": "sunat.menu_sol_login", "params": {"usuario": "u", "clave": "c"}}
ECHO = {"company_id": 7, "portal": "sunat", "action": "sunat.echo", "session_id": "s-1"}
EXECUTE = "/api/v1/app/jobs/execute"
CHUNK = 262144


class LoneBroker(Process):
    def __init__(self, directory, settings=None, actions=None):
        address = "127.0.0.1:{}".format
        self.settings = {
            "broker.http": address(free_port()),
            "broker.ops": address(free_port()),
            "broker.bind": "tcp://" + address(free_port()),
            "health.endpoints": "tcp://" + address(free_port()),
            "log.level": "debug",
            "broker.start_delay_ms": 0,
            "broker.stop_delay_ms": 0,
            **(settings or {}),
        }
        directory.mkdir(parents=True, exist_ok=True)
        conf = directory / "broker.conf"
        conf.write_text(zpl(self.settings, actions))
        super().__init__("broker", [program("chasqui-broker"), "-c", conf], directory / "broker.log", cwd=ROOT)
        self.url = "http://" + self.settings["broker.http"]
        self.ops_url = "http://" + self.settings["broker.ops"]
        self.bind = self.settings["broker.bind"]
        self.api = Api(self.url, SECRET)
        self.ops = Api(self.ops_url, SECRET)

    def up(self):
        self.start()
        self.wait_log("event=started")
        return self

    def stat(self, name):
        """The broker's own counter."""
        text = Client(self.ops_url).get("/metrics").expect(200).body.decode()
        return sum(value for key, value in metrics(text).items() if key.startswith(f'chasqui_{name}{{process="broker"'))

    def lane(self, name):
        """The row of a lane in the statistics, as /metrics has it: {"depth": 3, ...}."""
        text = Client(self.ops_url).get("/metrics").expect(200).body.decode()
        found = re.findall(rf'^chasqui_lane_(\w+){{lane="{name}"}} (\S+)$', text, re.M)
        return {key: float(value) for key, value in found}

    def grown_kib(self, before):
        """Memory since `before` (rss_kib()); 0 with a sanitizer, which keeps what was freed."""
        is_sanitized = b"__asan_init" in program("chasqui-broker").read_bytes()
        return 0 if is_sanitized else self.rss_kib() - before

    def ready(self):
        return Client(self.ops_url).get("/readyz").status == 200


def token_body(number=1, abilities=("app", "ops"), companies=None, rate=0, expires_at_ms=0):
    told = {"id": number, "name": f"t{number}", "abilities": list(abilities), "all": companies is None,
            "companies": companies or [], "rate_per_minute": rate, "expires_at_ms": expires_at_ms}  # fmt: skip
    return json.dumps(told).encode()


class Scripted(FakeDispatcher):
    """Answers in a thread of its own. on["BUZON_LIST"] = fn(self, header, payload), called there; an op without one is kept
    in `held`. `seen` has all requests as (op, header, payload), other messages as (name, header, payload)."""

    def __init__(self, broker, on=None, **more):
        super().__init__(broker.bind, **more)
        self.on = {"TOKEN_VERIFY": lambda me, header, _: me.reply(header, token_body(header["token_id"])), **(on or {})}
        self.seen, self.held = [], []
        self.silent = self.ended = False
        self.seq = self.answered = 1
        self.database_ok, self.draining, self.at_limit = True, False, ""
        self.orders = queue.SimpleQueue()
        try:
            self.greet()
        except AssertionError:
            FakeDispatcher.close(self)
            raise
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def send(self, message, payload=b"", /, **header):  # a REPLY has a field `message` too
        frames = [bytes([VERSION, CODES[message]]), msgpack.packb(header, use_bin_type=True)]
        self.socket.send_multipart([*frames, payload] if payload else frames)

    def ping(self):
        self.send("PING", seq=self.seq, incarnation=self.incarnation, limits=self.limits(), database_ok=self.database_ok, draining=self.draining,
                  at_limit=self.at_limit)  # fmt: skip

    def serve(self):
        pinged = 0.0
        while not self.ended:
            while not self.orders.empty():
                self.orders.get()()
            if self.silent:
                time.sleep(0.005)
                continue
            if time.monotonic() > pinged + 0.3:
                self.ping()
                pinged = time.monotonic()
            while self.socket.poll(5):
                self.take(*decode(self.socket.recv_multipart()))
                if self.silent or self.ended or not self.orders.empty():
                    break
        self.context.destroy(linger=0)

    def take(self, name, header, payload):
        if name == "PING":
            self.send("PONG", seq=header.get("seq", 0))
        elif name == "PONG":
            self.answered = header.get("seq", 0)
        elif name != "REQUEST":
            self.seen.append((name, header, payload))
        else:
            op = OP_NAMES[header.get("op", 0)]
            if op == "OPS_SUMMARY" and op not in self.on:
                self.reply(header, error="not_implemented", status=501)  # the broker's own question is not the test's
                return
            self.seen.append((op, header, payload))
            if op in self.on:
                self.on[op](self, header, payload)
                self.ping()
            else:
                self.held.append((header, payload))

    def await_credit(self, number):
        """Inside a script: the limit that the next CHUNK_CREDIT of that request brings."""
        while self.socket.poll(10_000):
            name, header, payload = decode(self.socket.recv_multipart())
            if name == "CHUNK_CREDIT" and header["id"] == number:
                return header["limit"]
            self.take(name, header, payload)
        raise AssertionError("no CHUNK_CREDIT")

    def order(self, fn, *args, **more):
        """fn(*args) in the dispatcher's thread."""
        done = threading.Event()
        self.orders.put(lambda: (fn(*args, **more), done.set()))
        assert done.wait(5)

    def limit(self, window):
        """Its window from now on. The broker goes by it when this returns: it has answered the PING that tells it."""

        def tell():
            self.window = window
            self.incarnation += 1
            self.finished = [0, 0, 0, 0]
            self.seq += 1
            self.ping()
            return self.seq

        asked = []
        self.order(lambda: asked.append(tell()))
        wait_until(lambda: self.answered == asked[0], 5, "the broker knows the window")

    def saw(self, *names):
        return [one for one in self.seen if one[0] in names]

    def wait_seen(self, name, count=1, timeout=5):
        wait_until(lambda: len(self.saw(name)) >= count, timeout, f"{count} {name} at {self.name}; seen {[s[0] for s in self.seen]}")
        return self.saw(name)[count - 1]

    def close(self):
        """Its connection ends."""
        if not self.ended:
            self.ended = True
            self.thread.join(5)


def says(payload=b'{"ok":true}', **more):
    """A script that replies so."""
    return lambda me, header, _: me.reply(header, payload, **more)


def fails(error, payload=b"", message=""):
    return lambda me, header, _: me.reply(header, payload, error=error, message=message)


class Later(threading.Thread):
    """A request in a thread; answer() waits for what came of it."""

    def __init__(self, call, *args, **more):
        super().__init__(daemon=True)
        self.call, self.args, self.more = call, args, more
        self.result = self.error = None
        self.start()

    def run(self):
        try:
            self.result = self.call(*self.args, **self.more)
        except Exception as why:  # given to whoever asks for the answer
            self.error = why

    def answer(self, timeout=30):
        self.join(timeout)
        assert not self.is_alive(), "no answer yet"
        if self.error:
            raise self.error
        return self.result


def token_says(**more):
    """A script for TOKEN_VERIFY."""
    return lambda me, header, _: me.reply(header, token_body(header["token_id"], **more))


def by_secret(**tokens):
    """Verdicts by token id: name=n1 -> token_body arguments; others are unknown."""

    def script(me, header, _):
        more = tokens.get(f"t{header['token_id']}")
        if more is None:
            me.reply(header, error="unauthenticated")
        else:
            me.reply(header, token_body(header["token_id"], **more))

    return script


@pytest.fixture
def make_broker(tmp_path):
    """make_broker(settings={...}, actions={...}) -> LoneBroker that runs."""
    made = []

    def make(settings=None, actions=None):
        made.append(LoneBroker(tmp_path / f"broker-{len(made) + 1}", settings, actions))
        return made[-1].up()

    yield make
    wrong = []
    for broker in made:
        code = broker.stop()
        if report := broker.sanitizer_report():
            wrong.append(report)
        elif broker.died_unexpectedly() or code not in (0, -9):
            wrong.append(f"ended with {code} {broker.deaths}\n{broker.tail()}")
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def make_dispatcher():
    """make_dispatcher(broker, name="d1") -> Scripted that is connected."""
    made = []

    def make(broker, **more):
        made.append(Scripted(broker, **more))
        wait_until(broker.ready, 5, "the broker is ready")
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def broker(make_broker):
    return make_broker(actions={"sunat.echo": {"method": "POST", "path": "/sunat/echo", "session": "use", "timeout_ms": 5000}})


@pytest.fixture
def dispatcher(broker, make_dispatcher):
    return make_dispatcher(broker, name="d1")


@pytest.fixture
def pair(broker, make_dispatcher):
    """Two dispatchers, of which the second gives no credit yet: what is asked for goes to the first."""
    first = make_dispatcher(broker, name="d1")
    second = make_dispatcher(broker, name="d2")
    broker.api.session("x" * 101).expect(404)
    second.limit(0)
    wait_until(lambda: second_credit(broker) == 0, 5)
    return first, second


def second_credit(alone):
    """The interactive credit of d2 as the broker sees it."""
    rows = alone.ops.get("/api/v1/ops/dispatchers").expect(200).json["dispatchers"]
    return next(row["credit"]["interactive"] for row in rows if row["name"] == "d2")


def died(first, second, how):
    """The first one dies, then the second one takes requests."""
    if how == "silence":
        first.silent = True
    elif how == "link":
        first.close()
    elif how == "reboot":
        first.boot_id = "another"
        first.order(first.send, "HELLO", name=first.name, boot_id="another", capacity=8)
        first.silent = True
    else:
        first.order(first.send, "REFUSED", reason="no")
        first.silent = True
    second.limit(8)
