# SPDX-License-Identifier: MIT
"""What one token may hold of a broker: connections, and turns. Another token's callers get in all the same."""

import socket
import time

import pytest

from broker_alone import Later, make_broker, make_dispatcher, says, token_body  # noqa: F401
from harness.http import Api, address, connect
from harness.wait import wait_until

HOG, OTHER = "1|hog", "2|other"
EVENTS = b"GET /api/v1/app/batches/5/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n"
LIST = b"GET /api/v1/app/buzon/list?session_id=s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n"
BATCH = b'{"ok":true,"batch":{"id":5,"status":"running","total":9,"counts":{"queued":9,"done":0},"eta_s":null}}'


@pytest.fixture
def door(make_broker, make_dispatcher):  # noqa: F811
    def make(**settings):
        made = make_broker(settings)
        one = make_dispatcher(made)
        one.on["BUZON_LIST"] = says()
        one.on["BATCH_GET"] = says(BATCH)
        made.other = Api(made.url, OTHER)
        made.other.list("s").expect(200)
        return made

    return make


def is_open(wire):
    wire.settimeout(0.1)
    try:
        return wire.recv(65536) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def first_line(wire, timeout=5):
    wire.settimeout(timeout)
    try:
        return wire.recv(65536).split(b"\r\n")[0]
    except (TimeoutError, OSError):
        return b""


def opened(made, what, count):
    """So many connections of the hog that asked; what came back on each."""
    hogs = [connect(made.url) for _ in range(count)]
    for wire in hogs:
        wire.sendall(what % HOG.encode())
    return hogs, [first_line(wire, 30) for wire in hogs]


def closed(hogs):
    for wire in hogs:
        wire.close()


def test_idle_connections_of_one_token_shut_nobody_out(door):
    made = door(**{"broker.max_connections": 60})
    others = connect(made.url)
    others.sendall(LIST % OTHER.encode())
    assert b"200" in first_line(others)
    hogs = []
    for _ in range(4):
        more, lines = opened(made, LIST, 20)
        assert lines.count(b"HTTP/1.1 200 OK") == 20, lines
        hogs += more
        made.other.list("s").expect(200)
    wait_until(lambda: sum(map(is_open, hogs)) <= 30, 5, "one token has half of the connections idle at most, the newest")
    assert is_open(hogs[-1]) and is_open(others), "another's idle one stays"
    assert made.stat("http_guests_cut_total") >= 50
    closed([*hogs, others])


def test_streams_of_one_token_shut_nobody_out(door):
    made = door(**{"broker.max_connections": 60})
    hogs, lines = opened(made, EVENTS, 55)
    assert lines.count(b"HTTP/1.1 200 OK") == 30 and lines.count(b"HTTP/1.1 503 Service Unavailable") == 25, lines
    made.other.list("s").expect(200)
    assert made.stat("token_held_total") == 25
    refused = Api(made.url, HOG).list("s").expect(503, "queue_full")
    assert refused.headers["Retry-After"] and "this company or token" in refused.json["message"]
    closed(hogs)
    wait_until(lambda: Api(made.url, HOG).list("s").status == 200, 20, "the room is given back")


def test_guesses_take_one_turn_among_them(make_broker, make_dispatcher):  # noqa: F811
    """Tokens that nobody knows, each with a number of its own, do not stand before those that are known, nor before another address's."""
    made = make_broker()
    slow = make_dispatcher(made)
    slow.on["JOBS"] = says()
    held = []

    def verify(me, header, _):
        if header["token_id"] > 100:
            held.append(header)
        else:
            me.reply(header, token_body(header["token_id"]))

    slow.on["TOKEN_VERIFY"] = verify
    Api(made.url, OTHER).get("/api/v1/app/jobs").expect(200)
    slow.limit(1)
    crowd = [socket.create_connection(address(made.url), timeout=10, source_address=("127.0.0.2", 0)) for _ in range(80)]
    for n, wire in enumerate(crowd):
        wire.sendall(LIST % f"{n + 1000}|guess".encode())
    wait_until(lambda: held and made.lane("control")["depth"] >= 60, 10, "they wait for a dispatcher")
    done = [Later(Api(made.url, token, timeout=60).get, "/api/v1/app/jobs") for token in (OTHER, "5|new")]
    wait_until(lambda: made.stat("http_parked") >= 82, 10, "so do two others")

    def refuse_one():
        slow.reply(held.pop(0), error="unauthenticated")
        slow.ping()

    guesses = 0
    while any(one.is_alive() for one in done):
        if held:
            guesses += 1
            slow.order(refuse_one)
        time.sleep(0.005)
    slow.on["TOKEN_VERIFY"] = lambda me, header, _: me.reply(header, error="unauthenticated")
    while held:
        slow.order(refuse_one)
    assert {one.answer().status for one in done} == {200} and guesses < 40, guesses
    closed(crowd)


def test_an_id_without_a_letter_is_none(door):
    """A robot's echo of it could not be told from another request's."""
    made = door()
    for odd in ("-", "...", "_-_", "-" * 128):
        answer = made.other.list("s", headers={"X-Request-Id": odd}).expect(200)
        assert answer.headers["X-Request-Id"] != odd
