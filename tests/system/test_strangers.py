# SPDX-License-Identifier: MIT
"""Connections that show no good token: many of them, from one address or from all, keep nobody out and hold little memory."""

import socket
import time
from contextlib import suppress

import pytest

from broker_alone import SECRET, broker, dispatcher, make_broker, make_dispatcher, says  # noqa: F401
from harness.http import Client, address, connect
from harness.wait import wait_until

LIST = b"GET /api/v1/app/buzon/list?session_id=s HTTP/1.1\r\nHost: a\r\n%s\r\n"
KNOWN = LIST % f"Authorization: Bearer {SECRET}\r\n".encode()
UNKNOWN = LIST % b""


def connect_from(source, url):
    made = socket.create_connection(address(url), timeout=10, source_address=(source, 0))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def is_open(wire):
    wire.setblocking(False)
    try:
        return wire.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        wire.setblocking(True)
        wire.settimeout(10)


def ask(wire, what):
    wire.sendall(what)
    return wire.recv(65536).split(b"\r\n")[0]


@pytest.fixture
def door(make_broker, make_dispatcher):  # noqa: F811
    def make(**settings):
        made = make_broker({"broker.request_timeout_ms": 60000, **settings})
        make_dispatcher(made).on["BUZON_LIST"] = says()
        made.api.list("s").expect(200)
        return made

    return make


def test_500_silent_ones_of_one_address_shut_nobody_out(door):
    made = door(**{"broker.max_connections": 400, "broker.anonymous_per_address": 100})
    known = connect_from("127.0.0.2", made.url)
    assert b"200" in ask(known, KNOWN)
    other = connect_from("127.0.0.3", made.url)
    flood = [connect_from("127.0.0.2", made.url) for _ in range(500)]
    for n, wire in enumerate(flood):
        if is_open(wire) and n % 3:
            try:
                wire.sendall(KNOWN[:n % 60])  # silent, or a head that drips
            except OSError:
                pass
    made.api.list("s").expect(200)
    assert b"200" in ask(connect_from("127.0.0.2", made.url), KNOWN), "the address itself, as behind a proxy"
    wait_until(lambda: sum(map(is_open, flood)) <= 100, 5, "the eldest are closed")
    assert [n for n, wire in enumerate(flood) if not is_open(wire)] == list(range(400)), "the newest are not"
    assert is_open(other) and b"200" in ask(other, KNOWN), "nor are those of another address"
    assert b"200" in ask(known, KNOWN), "nor is a connection that has shown a good token"
    assert made.stat("http_strangers_cut_total") >= 400 and made.stat("http_strangers") <= 110
    for wire in (*flood, known, other):
        wire.close()


def test_those_that_come_at_a_time_and_ask_are_all_heard(door):
    made = door(**{"broker.anonymous_per_address": 20})
    cut = made.stat("http_strangers_cut_total")
    made.pause()
    wires = [connect(made.url) for _ in range(200)]
    for wire in wires:
        wire.sendall(KNOWN)
    made.resume()
    assert [wire.recv(65536).split(b"\r\n")[0] for wire in wires] == [b"HTTP/1.1 200 OK"] * 200
    assert made.stat("http_strangers_cut_total") == cut
    for wire in wires:
        wire.close()


def test_those_that_ask_a_moment_after_they_came_are_all_heard(door):
    made = door(**{"broker.anonymous_per_address": 20})
    for _ in range(10):
        cut, began = made.stat("http_strangers_cut_total"), time.monotonic()
        wires = [connect(made.url) for _ in range(38)]
        made.api.list("s").expect(200)
        with suppress(OSError):
            for wire in wires:
                wire.sendall(KNOWN)
        if time.monotonic() - began < 0.8:  # else it was no moment
            break
        for wire in wires:
            wire.close()
    assert [wire.recv(65536).split(b"\r\n")[0] for wire in wires] == [b"HTTP/1.1 200 OK"] * 38
    assert made.stat("http_strangers_cut_total") == cut
    for wire in wires:
        wire.close()


def test_a_full_listener_lets_the_eldest_stranger_go(door):
    made = door(**{"broker.max_connections": 60, "broker.anonymous_per_address": 100000})
    known = connect(made.url)
    assert b"200" in ask(known, KNOWN)
    flood = [connect_from(f"127.0.1.{n + 1}", made.url) for n in range(150)]
    for _ in range(2):
        made.api.list("s").expect(200)
    assert b"200" in ask(known, KNOWN)
    flood.append(known)
    for wire in flood:
        wire.close()
    Client(made.ops_url).get("/healthz").expect(200)


def test_who_is_refused_is_a_stranger_still(door):
    made = door(**{"broker.anonymous_per_address": 20})
    flood = [connect(made.url) for _ in range(60)]
    for wire in flood:
        if is_open(wire):
            wire.sendall(UNKNOWN)
    wait_until(lambda: sum(map(is_open, flood)) <= 25, 5, "all but the newest are closed")
    # The last ones may be refused just now, and come behind us again before our request is read: then ours is the eldest that asks nothing.
    wait_until(lambda: made.api.list("s").status == 200, 5, "who asks at once is heard")
    for wire in flood:
        wire.close()
