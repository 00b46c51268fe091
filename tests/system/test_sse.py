# SPDX-License-Identifier: MIT
"""Server-sent events: a batch's progress and the operators' feed, with dispatchers by script."""

import json
import socket
import time

import pytest

from broker_alone import (  # noqa: F401
    SECRET, by_secret, broker, dispatcher, fails, make_broker, make_dispatcher, says,
)  # fmt: skip
from harness.http import connect
from harness.wait import ran_s, stays, wait_until

FEED = "/api/v1/ops/events?stats=0"


def events_of(number):
    return f"/api/v1/app/batches/{number}/events"


class Events:
    """A client that follows, over a socket of its own."""

    def __init__(self, url, path, token=SECRET):
        self.wire = connect(url)
        self.got, self.text, self.took = b"", b"", []
        self.wire.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        while b"\r\n\r\n" not in self.got:
            self.more()
        head, _, self.got = self.got.partition(b"\r\n\r\n")
        first, *fields = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = dict(field.split(": ", 1) for field in fields)

    def more(self):
        """Bytes; False at the end of the connection."""
        part = self.wire.recv(65536)
        self.got += part
        return bool(part)

    def body(self):
        """An answer that is no stream."""
        while len(self.got) < int(self.headers["Content-Length"]):
            assert self.more()
        return json.loads(self.got)

    def chunk(self):
        """The next chunk of the answer, b"" at its end."""
        while True:
            size, found, rest = self.got.partition(b"\r\n")
            if found and len(rest) >= int(size, 16) + 2:
                length = int(size, 16)
                self.got = rest[length + 2 :]
                return rest[:length]
            assert self.more(), "the connection was cut"

    def next(self, timeout=10):
        """The next event as (name, data), or comment as (":", text); None at the end."""
        self.wire.settimeout(timeout)
        while True:
            while b"\n\n" not in self.text:
                part = self.chunk()
                if not part:
                    assert not self.text
                    return None
                self.text += part
            block, _, self.text = self.text.partition(b"\n\n")
            first, *more = block.decode().split("\n")
            if first.startswith(": "):
                return ":", first[2:]
            if first.startswith("event: "):
                (data,) = more
                assert data.startswith("data: ")
                self.took.append(first[7:])
                return first[7:], json.loads(data[6:])
            assert first == "retry: 2000" and not self.took

    def quiet(self, seconds):
        """Nothing comes meanwhile."""
        with pytest.raises(socket.timeout):
            self.next(seconds)

    def close(self):
        self.wire.close()


class Batch:
    """What a script says of batches, and how often it was asked."""

    def __init__(self, done=0, status="running"):
        self.done, self.status = done, status

    def __call__(self, me, header, _):
        me.reply(header, json.dumps({"ok": True, "batch": self.now(header["batch_id"])}).encode())

    def now(self, number):
        return {"id": number, "status": self.status, "total": 9, "counts": {"queued": 9 - self.done, "done": self.done}, "eta_s": None}


@pytest.fixture
def batch(dispatcher):  # noqa: F811
    made = dispatcher.on["BATCH_GET"] = Batch()
    return made


@pytest.fixture
def follow(broker):  # noqa: F811
    made = []

    def open_one(path, token=SECRET, ops=False):
        made.append(Events(broker.ops_url if ops else broker.url, path, token))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def changed(dispatcher, number, **more):  # noqa: F811
    dispatcher.order(dispatcher.send, "EVENT", **{"kind": "batch", "id": number, "company_id": 7, "state": "running", **more})


# --- a batch -----------------------------------------------------------------------------------------------------


def test_progress_comes_at_once_and_at_each_change(dispatcher, batch, follow):  # noqa: F811
    one = follow(events_of(5))
    assert one.status == 200 and one.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert one.headers["Cache-Control"] == "no-store" and one.headers["X-Request-Id"]
    assert one.next() == ("progress", batch.now(5))
    began = ran_s()
    batch.done = 1
    changed(dispatcher, 5)
    assert one.next() == ("progress", batch.now(5)) and ran_s() - began < 3.5, "not only when it asks by itself"
    changed(dispatcher, 5)  # nothing is new
    changed(dispatcher, 6)  # another batch
    one.quiet(1)


def test_it_ends_when_the_batch_is_over(broker, dispatcher, batch, follow):  # noqa: F811
    for status in ("done", "cancelled"):
        batch.status, batch.done = "running", 0
        one = follow(events_of(5))
        assert one.next()[0] == "progress"
        batch.status, batch.done = status, 9
        changed(dispatcher, 5, state=status)
        assert [one.next(), one.next(), one.next()] == [("progress", batch.now(5)), ("done", batch.now(5)), None]
        again = follow(events_of(5))  # it is over already
        assert [again.next(), again.next(), again.next()] == [("progress", batch.now(5)), ("done", batch.now(5)), None]
    wait_until(lambda: broker.stat("sse_active") == 0 == broker.stat("flights"), 5)


def test_it_asks_at_most_twice_a_second(dispatcher, batch, follow):  # noqa: F811
    one = follow(events_of(5))
    one.next()
    began, before = time.monotonic(), len(dispatcher.saw("BATCH_GET"))
    asked = 0
    while asked < 3 or time.monotonic() < began + 2:
        batch.done += 1
        changed(dispatcher, 5)
        asked = len(dispatcher.saw("BATCH_GET")) - before
    assert asked <= 1 + 2 * (time.monotonic() - began), asked
    last = one.next()
    while last[1]["counts"]["done"] != batch.done:
        last = one.next(2)
    assert len(one.took) <= len(dispatcher.saw("BATCH_GET"))


def test_it_asks_now_and_then_without_an_event(dispatcher, batch, follow):  # noqa: F811
    began = time.monotonic()
    one = follow(events_of(5))
    one.next()
    batch.done = 4
    assert one.next(20) == ("progress", batch.now(5))
    assert 4 < time.monotonic() - began < 14


def test_many_followers_share_one_question(broker, dispatcher, batch, follow):  # noqa: F811
    crowd = [follow(events_of(5)) for _ in range(20)]
    assert all(one.next()[0] == "progress" for one in crowd)
    before = len(dispatcher.saw("BATCH_GET"))
    assert before == 20  # each was let in by its own
    batch.done = 3
    changed(dispatcher, 5)
    assert all(one.next() == ("progress", batch.now(5)) for one in crowd)
    assert len(dispatcher.saw("BATCH_GET")) == before + 1 and broker.stat("sse_active") == 20
    for one in crowd[:19]:
        one.close()
    wait_until(lambda: broker.stat("sse_active") == 1, 5, "who went away is forgotten")
    batch.done = 4
    changed(dispatcher, 5)
    assert crowd[19].next() == ("progress", batch.now(5))


def test_a_batch_that_is_not_there(dispatcher, follow):  # noqa: F811
    dispatcher.on["BATCH_GET"] = fails("batch_not_found")
    one = follow(events_of(5))
    assert one.status == 404 and one.headers["Content-Type"] == "application/json"
    assert one.body()["error"] == "batch_not_found"
    dispatcher.on["BATCH_GET"] = fails("database_unavailable")
    assert follow(events_of(5)).status == 503
    for nonsense in (b"", b"{}", b'{"batch":7}', b'{"batch":{"status":3}}'):
        dispatcher.on["BATCH_GET"] = says(nonsense)
        assert follow(events_of(5)).status == 503


def test_a_batch_that_disappears(broker, dispatcher, batch, follow):  # noqa: F811
    one = follow(events_of(5))
    one.next()
    dispatcher.on["BATCH_GET"] = fails("batch_not_found")
    changed(dispatcher, 5)
    assert one.next() is None
    wait_until(lambda: broker.stat("sse_active") == 0, 5)


def test_a_dispatcher_that_has_no_answer_for_a_while(broker, dispatcher, batch, follow, make_dispatcher):  # noqa: F811
    one = follow(events_of(5))
    one.next()
    for trouble in (fails("database_unavailable"), says(b"nonsense")):
        dispatcher.on["BATCH_GET"] = trouble
        changed(dispatcher, 5)
        one.quiet(0.7)
    dispatcher.close()
    wait_until(lambda: broker.stat("dispatchers") == 0, 5)
    other = Batch(done=8)
    make_dispatcher(broker, name="d2", on={"BATCH_GET": other})
    assert one.next(10) == ("progress", other.now(5))


@pytest.mark.long(15)
def test_keep_alive(dispatcher, batch, follow):  # noqa: F811
    began = time.monotonic()
    one, feed = follow(events_of(5)), follow(FEED, ops=True)
    one.next()
    assert one.next(30) == (":", "keep-alive") and 14 < time.monotonic() - began < 25
    assert feed.next(10) == (":", "keep-alive")


def test_a_slow_client_holds_one_event(broker, dispatcher, batch):  # noqa: F811
    """It takes nothing for a while, and then the last state, not each of them."""
    padding = "x" * 12_000

    def big(me, header, _):
        told = {**batch.now(5), "padding": padding}
        me.reply(header, json.dumps({"ok": True, "batch": told}).encode())

    dispatcher.on["BATCH_GET"] = big
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.connect(connect(broker.url).getpeername())
    before = broker.rss_kib()
    wire.sendall(f"GET {events_of(5)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode())
    for _ in range(12):
        batch.done += 1
        asked = len(dispatcher.saw("BATCH_GET"))
        changed(dispatcher, 5)
        dispatcher.wait_seen("BATCH_GET", asked + 1)
    assert broker.grown_kib(before) < 4096
    batch.status = "done"
    changed(dispatcher, 5)
    got = b""
    wire.settimeout(10)
    while b"event: done" not in got or not got.endswith(b"0\r\n\r\n"):
        part = wire.recv(4096)
        assert part, got[-200:]
        got += part
    wire.close()


def test_a_token_that_is_revoked_ends_its_events(broker, dispatcher, batch, follow):  # noqa: F811
    dispatcher.on["TOKEN_VERIFY"] = by_secret(t1={}, t2={})
    mine, other = follow(events_of(5), "2|x"), follow(events_of(5))
    feed = follow(FEED, "2|x", ops=True)
    mine.next(), other.next()
    dispatcher.on["TOKEN_VERIFY"] = by_secret(t1={})
    began = time.monotonic()
    assert mine.next() is None and feed.next() is None
    assert time.monotonic() - began < 10
    wait_until(lambda: broker.stat("sse_active") == 1, 5)
    batch.done = 2
    changed(dispatcher, 5)
    assert other.next() == ("progress", batch.now(5))
    stays(lambda: broker.stat("sse_active") == 1, 0.3)


def test_a_stop_ends_the_events(broker, dispatcher, batch, follow):  # noqa: F811
    one, feed = follow(events_of(5)), follow(FEED, ops=True)
    one.next()
    began = time.monotonic()
    assert broker.stop(20) == 0 and time.monotonic() - began < 10
    assert one.next() is None and feed.next() is None


def test_old_clients(broker, dispatcher, batch):  # noqa: F811
    with connect(broker.url) as wire:
        wire.sendall(f"GET {events_of(5)} HTTP/1.0\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode())
        got = b""
        while not got.endswith(b"}\n\n"):
            got += wire.recv(4096)
        assert b"chunked" not in got and b"event: progress\ndata: {" in got


# --- the feed ----------------------------------------------------------------------------------------------------


def test_the_feed_tells_what_changes(broker, dispatcher, follow):  # noqa: F811
    one, two = follow(FEED, ops=True), follow(FEED, ops=True)
    assert one.status == 200 and one.headers["Content-Type"].startswith("text/event-stream")
    wait_until(lambda: broker.stat("sse_active") == 2, 5)
    for kind, number, state in (("job", 3, "done"), ("batch", 4, "running"), ("session", 5, "active"), ("token_revoked", 6, ""), ("x\ny", 7, "z")):
        changed(dispatcher, number, kind=kind, state=state)
    for follower in (one, two):
        assert follower.next() == ("job", {"id": 3, "company_id": 7, "state": "done"})
        assert follower.next() == ("batch", {"id": 4, "company_id": 7, "state": "running"})
        assert follower.next() == ("session", {"id": 5, "company_id": 7, "state": "active"})
        follower.quiet(0.3)
    dispatcher.on["TOKEN_VERIFY"] = by_secret(t3={"abilities": ["app"]}, t4={"abilities": ["ops:read"]})
    assert follow(FEED, "3|x", ops=True).status == 403 and follow(FEED, "4|x", ops=True).status == 200


def test_a_feed_that_is_not_taken(broker, dispatcher):  # noqa: F811
    host = connect(broker.ops_url).getpeername()
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.connect(host)
    wire.sendall(f"GET {FEED} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode())
    wait_until(lambda: broker.stat("sse_active") == 1, 5)

    def many():
        for number in range(5000):
            dispatcher.send("EVENT", kind="job", id=number, company_id=7, state="running")

    def lose(at_least):
        for _ in range(100):
            dispatcher.order(many)
            if broker.stat("sse_lost_total") > at_least:
                break
        assert broker.stat("sse_lost_total") > at_least

    lose(10_000)  # what may be kept for one client is kept now
    before = broker.rss_kib()
    lose(60_000)
    assert broker.grown_kib(before) < 1024 + 2048  # the heap keeps up to 2 MiB of what was freed
    got = b""
    wire.settimeout(10)

    def told():
        return sum(json.loads(part.partition(b"\n")[0])["count"] for part in got.split(b"event: lost\ndata: ")[1:] if b"\n" in part)

    while told() < 10_000:  # what the kernel takes in between makes it several
        part = wire.recv(65536)
        assert part
        got += part
        dispatcher.order(dispatcher.send, "EVENT", kind="job", id=1, company_id=7, state="done")
    assert told() <= broker.stat("sse_lost_total")
    wire.close()
    wait_until(lambda: broker.stat("sse_active") == 0, 10)


def test_revoked_by_an_event(dispatcher, batch, follow):  # noqa: F811
    one = follow(events_of(5))
    one.next()
    dispatcher.on["TOKEN_VERIFY"] = lambda me, header, _: me.reply(header, error="unauthenticated")
    began = ran_s()
    dispatcher.order(dispatcher.send, "EVENT", kind="token_revoked", id=1)
    assert one.next() is None and ran_s() - began < 4


def test_a_verdict_is_renewed_while_events_go_on(dispatcher, batch, follow):  # noqa: F811
    one = follow(events_of(5))
    one.next()
    before = len(dispatcher.saw("TOKEN_VERIFY"))
    one.quiet(8)
    assert 1 <= len(dispatcher.saw("TOKEN_VERIFY")) - before <= 4
