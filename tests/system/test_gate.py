# SPDX-License-Identifier: MIT
"""What stands in front of HTTP: malformed and smuggled requests over raw sockets, each refused and none taken for a good one."""

import json
import random
import re

import pytest

from broker_alone import SECRET, broker, dispatcher, make_broker, make_dispatcher, says  # noqa: F401
from harness.http import Client, connect, raw
from harness.wait import wait_until

GOOD = f"GET /api/v1/app/buzon/list?session_id=s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode()
INNER = f"GET /api/v1/app/jobs/31337 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode()


def post(fields, body=b"", version="1.1", host=b"Host: x\r\n"):
    """A POST with these raw lines among its fields."""
    head = f"POST /api/v1/app/jobs/execute HTTP/{version}\r\n".encode() + host
    return head + f"Authorization: Bearer {SECRET}\r\n".encode() + fields + b"\r\n" + body


def line(text, fields=b"Host: x\r\n"):
    return text + b"\r\n" + fields + f"Authorization: Bearer {SECRET}\r\n\r\n".encode()


LIST = b"GET /api/v1/app/buzon/list?session_id=s"
CHUNKS = b"0\r\n\r\n" + INNER
BAD = {
    "length and chunked": post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
    "chunked and length": post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", CHUNKS),
    "two equal lengths": post(b"Content-Length: 0\r\nContent-Length: 0\r\n", INNER),
    "two lengths": post(b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(INNER), INNER),
    "two lengths in other letters": post(b"Content-Length: %d\r\ncontent-length: 9\r\n" % len(INNER), INNER),
    "two lengths apart": post(b"Content-Length: 9\r\nX: y\r\nAccept: */*\r\nContent-Length: %d\r\n" % len(INNER), INNER),
    "two lengths of a GET": line(LIST + b" HTTP/1.1", b"Host: x\r\nContent-Length: 2\r\nContent-Length: %d\r\n" % len(INNER)) + INNER,
    "two lengths without a path": b"GET /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER,
    "two lengths of OPTIONS": b"OPTIONS /api/v1/app/buzon/list HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 9\r\n\r\n" + INNER,
    "a list of equal lengths": post(b"Content-Length: %d, %d\r\n" % (len(INNER), len(INNER)), INNER),
    "a length behind a no-break space": post(b"Content-Length: \xa00\r\n", INNER),
    "no coding and a length": post(b"Transfer-Encoding:\r\nContent-Length: 0\r\n", INNER),
    "a bare CR in a name": post(b"X\rY: 1\r\nContent-Length: 0\r\n", INNER),
    "a folded Host": post(b"Content-Length: 0\r\n", INNER, host=b"Host: x\r\n y\r\n"),
    "chunked twice": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
    "chunked and identity": post(b"Transfer-Encoding: chunked, identity\r\n", CHUNKS),
    "identity": post(b"Transfer-Encoding: identity\r\n", CHUNKS),
    "almost chunked": post(b"Transfer-Encoding: xchunked\r\n", CHUNKS),
    "chunked behind a vertical tab": post(b"Transfer-Encoding: \x0bchunked\r\n", CHUNKS),
    "chunked in quotes": post(b'Transfer-Encoding: "chunked"\r\n', CHUNKS),
    "a space before the colon": post(b"Transfer-Encoding : chunked\r\n", CHUNKS),
    "a tab before the colon": post(b"Transfer-Encoding\t: chunked\r\n", CHUNKS),
    "a space before the name": post(b"Content-Length: 0\r\n", INNER, host=b" Host: x\r\n"),
    "a folded value": post(b"X: a\r\n b\r\nContent-Length: 0\r\n", INNER),
    "a name made by folding": post(b"Transfer-: chunked\r\n Encoding\r\n", CHUNKS),
    "chunked in HTTP/1.0": post(b"Transfer-Encoding: chunked\r\n", CHUNKS, version="1.0"),
    "length +0": post(b"Content-Length: +0\r\n", INNER),
    "length -1": post(b"Content-Length: -1\r\n", INNER),
    "length in hex": post(b"Content-Length: 0x0\r\n", INNER),
    "length 0,0": post(b"Content-Length: 0,0\r\n", INNER),
    "length 0 0": post(b"Content-Length: 0 0\r\n", INNER),
    "length without digits": post(b"Content-Length:\r\n", INNER),
    "length beyond 64 bits": post(b"Content-Length: 18446744073709551616\r\n", INNER),
    "bare LFs": line(LIST + b" HTTP/1.1").replace(b"\r\n", b"\n"),
    "one bare LF": post(b"X: a\nContent-Length: 0\r\n", INNER),
    "a bare LF hides a field": post(b"X: a\nTransfer-Encoding: chunked\r\n", CHUNKS),
    "a bare CR in a value": post(b"X: a\rContent-Length: 9\r\nContent-Length: 0\r\n", INNER),
    "a NUL in a value": line(LIST + b" HTTP/1.1", b"Host: x\r\nX: a\x00b\r\n"),
    "a NUL in a name": line(LIST + b" HTTP/1.1", b"Host: x\r\nX\x00Y: a\r\n"),
    "a NUL in the target": line(LIST + b"\x00 HTTP/1.1"),
    "a control character in a value": line(LIST + b" HTTP/1.1", b"Host: x\r\nX: a\x01\r\n"),
    "a name that is no token": line(LIST + b" HTTP/1.1", b"Host: x\r\nX(Y): a\r\n"),
    "a name beyond ASCII": line(LIST + b" HTTP/1.1", b"Host: x\r\nX\xc3\xa9: a\r\n"),
    "no name": line(LIST + b" HTTP/1.1", b"Host: x\r\n: a\r\n"),
    "no colon": line(LIST + b" HTTP/1.1", b"Host: x\r\nnothing\r\n"),
    "%00 in the path": line(b"GET /api/v1/app/sessions/a%00b HTTP/1.1"),
    "%00 in the query": line(LIST + b"%00 HTTP/1.1"),
    "a bad escape": line(LIST + b"%zz HTTP/1.1"),
    "half an escape": line(LIST + b"%4 HTTP/1.1"),
    "a space in the target": line(LIST + b" x HTTP/1.1"),
    "two spaces": line(b"GET  /api/v1/app/buzon/list?session_id=s HTTP/1.1"),
    "tabs for spaces": line(b"GET\t/api/v1/app/buzon/list?session_id=s\tHTTP/1.1"),
    "a byte beyond ASCII": line(LIST + b"\xc3\xa9 HTTP/1.1"),
    "a fragment": line(LIST + b"#x HTTP/1.1"),
    "a target of another scheme": line(b"GET ftp://x/api/v1/app/buzon/list?session_id=s HTTP/1.1"),
    "a target with a user": line(b"GET http://u:p@x/api/v1/app/buzon/list?session_id=s HTTP/1.1"),
    "a target without slash": line(b"GET api/v1/app/buzon/list?session_id=s HTTP/1.1"),
    "OPTIONS *": line(b"OPTIONS * HTTP/1.1"),
    "CONNECT": line(b"CONNECT x:443 HTTP/1.1"),
    "two hosts": line(LIST + b" HTTP/1.1", b"Host: x\r\nHost: y\r\n"),
    "no host": line(LIST + b" HTTP/1.1", b""),
    "two tokens": line(LIST + b" HTTP/1.1", b"Host: x\r\nAuthorization: Bearer 1|other\r\n"),
    "HTTP/0.9": b"GET /api/v1/app/buzon/list?session_id=s\r\n\r\n",
    "HTTP/1.2": line(LIST + b" HTTP/1.2"),
    "HTTP/2.0": line(LIST + b" HTTP/2.0"),
    "HTTP/1.10": line(LIST + b" HTTP/1.10"),
    "http in small letters": line(LIST + b" http/1.1"),
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) + b"\r\n\r\n",
    "a chunk without size": post(b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk with a minus": post(b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", b"-2\r\n{}\r\n0\r\n\r\n"),
    "a chunk of 2^64": post(b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", b"10000000000000000\r\n{}\r\n0\r\n\r\n"),
    "a chunk with a plus": post(b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", b"+2\r\n{}\r\n0\r\n\r\n"),
    "a chunk with 0x": post(b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", b"0x2\r\n{}\r\n0\r\n\r\n"),
    "a chunk behind a space": post(b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", b" 2\r\n{}\r\n0\r\n\r\n"),
    "a chunk's size before a CR": post(b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", b"2\r{}\r\n0\r\n\r\n"),
    "a chunk that does not end": post(b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", b"2\r\n{}XX0\r\n\r\n"),
}  # fmt: skip


def statuses(data):
    """The statuses of the answers in these bytes."""
    return [int(one) for one in re.findall(rb"(?:^|\n|\})HTTP/1\.1 (\d{3}) ", data)]


def test_there_are_enough_kinds():
    assert len(BAD) >= 35


def test_a_good_request_passes(broker, dispatcher):  # noqa: F811
    dispatcher.on["BUZON_LIST"] = says(b'{"page":1}')
    with connect(broker.url) as wire:
        wire.sendall(GOOD + GOOD)  # pipelined
        got = b""
        while got.count(b'{"page":1}') < 2:
            got += wire.recv(65536)
    assert statuses(got) == [200, 200]


@pytest.fixture
def tried(broker, dispatcher):  # noqa: F811
    dispatcher.on["BUZON_LIST"] = says(b'{"page":1}')
    broker.api.list("s").expect(200)
    yield broker, dispatcher
    broker.api.list("s").expect(200)
    assert broker.alive()


def test_each_bad_request_is_refused(tried):
    alone, asked = tried
    for kind, data in BAD.items():
        before = len(asked.seen)
        got = raw(alone.url, data)
        found = statuses(got)
        assert all(400 <= status < 600 and status != 500 for status in found), f"{kind}: {got!r}"
        assert len(found) <= 2, f"{kind}: {got!r}"  # two are the library's own, which says it twice
        assert asked.seen[before:] == [], f"{kind} reached a dispatcher: {asked.seen[before:]}"
        alone.api.list("s").expect(200)
    assert alone.stat("gate_refused_total") > 30
    assert not asked.saw("JOB_GET", "EXECUTE_LOGIN", "EXECUTE_ACTION")


def test_the_gates_own_refusals_have_the_shape_of_all_errors(tried):
    alone, _ = tried
    for kind in ("length and chunked", "a folded value", "%00 in the query", "two hosts", "a bare CR in a value", "no host"):
        got = raw(alone.url, BAD[kind].replace(b"Host: x", b"X-Request-Id: my-id.1\r\nHost: x"))
        head, _, body = got.partition(b"\r\n\r\n")
        assert statuses(got) == [400], f"{kind}: {got!r}"
        told = json.loads(body)
        assert told["ok"] is False and told["error"] == "bad_request" and told["message"] and told["request_id"]
        assert b"connection: close" in head.lower() and b"application/json" in head
        assert f"X-Request-Id: {told['request_id']}".encode() in head


def test_nothing_is_read_behind_a_chunked_body(tried):
    alone, asked = tried
    asked.on["EXECUTE_LOGIN"] = says(b'{"ok":true,"session_id":"s"}')
    body = json.dumps({"company_id": 1, "portal": "sunat", "action": "sunat.menu_sol_login"}).encode()
    fields = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    got = raw(alone.url, post(fields, b"%x;ext=\"\r\n\"\r\n%s\r\n0\r\nX: y\r\n\r\n" % (len(body), body) + INNER))
    assert all(status in (200, 400) for status in statuses(got)) and len(statuses(got)) == 1
    got = raw(alone.url, post(fields, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) + INNER))
    assert statuses(got) == [200] and b"connection: close" in got.lower()
    assert not asked.saw("JOB_GET")


@pytest.mark.parametrize("size, status", [(15_000, 200), (17_000, 431), (20_000, 431), (60_000, 431), (2_000_000, 431)])
def test_large_heads(tried, size, status):
    alone, _ = tried
    filler = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 990) for n in range(size // 1000))
    got = raw(alone.url, GOOD[:-2] + b"Connection: close\r\n" + filler + b"\r\n")
    assert statuses(got)[:1] == [status], got[:300]
    if status == 431 and size < 18_000:  # larger ones are refused by the library, without JSON
        assert json.loads(got.partition(b"\r\n\r\n")[2])["error"] == "headers_too_large"


def test_a_large_target(tried):
    alone, _ = tried
    for size, status in ((15_000, 422), (18_000, 431), (500_000, 414)):
        got = raw(alone.url, line(LIST + b"s" * size + b" HTTP/1.1", b"Host: x\r\nConnection: close\r\n"))
        assert statuses(got)[:1] == [status], (size, got[:300])


def test_many_fields(tried):
    alone, _ = tried
    for count, size, status in ((100, 1, 200), (240, 1, 200), (30, 525, 200), (270, 1, 431), (3000, 1, 431)):
        fields = b"".join(b"X%d: %s\r\n" % (n, b"1" * size) for n in range(count))
        got = raw(alone.url, GOOD[:-2] + b"Connection: close\r\n" + fields + b"\r\n")
        assert statuses(got)[:1] == [status], (count, got[:300])


def test_noise_while_a_good_client_is_served(make_broker, make_dispatcher):  # noqa: F811
    alone = make_broker({"broker.request_timeout_ms": 200})  # half a request is cut soon
    asked = make_dispatcher(alone, name="d1")
    asked.on["BUZON_LIST"] = says(b'{"page":1}')
    dice = random.Random(7)
    kinds = list(BAD.values())
    for _ in range(150):
        data = bytearray(dice.choice(kinds))
        for _ in range(dice.randrange(1, 8)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        got = raw(alone.url, bytes(data) if dice.random() < 0.8 else dice.randbytes(400), half_close=True)
        assert all(status in (200, *range(400, 506)) for status in statuses(got)), (data, got)
        wait_until(lambda: alone.api.list("s").status == 200, 5, "a good client is served")  # it is cut, too, when it stalls for 0.2 s
    assert not asked.saw("EXECUTE_LOGIN", "EXECUTE_ACTION")


def test_the_same_gate_stands_before_the_operators(broker):  # noqa: F811
    for kind in ("length and chunked", "two hosts", "a folded value"):
        assert statuses(raw(broker.ops_url, BAD[kind])) == [400], kind
    Client(broker.ops_url).get("/healthz").expect(200)


def test_slow_heads_and_bodies_are_cut(make_broker, make_dispatcher):  # noqa: F811
    alone = make_broker({"broker.request_timeout_ms": 3000, "broker.idle_timeout_s": 60})
    make_dispatcher(alone).on["BUZON_LIST"] = says()
    alone.api.list("s").expect(200)
    whole = post(b"Content-Type: application/json\r\nContent-Length: 50\r\n", b"{" * 20)
    wires = [connect(alone.url) for _ in range(5)]
    wires[0].sendall(b"G")
    wires[1].sendall(GOOD[:60])
    wires[2].sendall(whole)
    wires[3].sendall(GOOD)  # answered, then drips the next one
    assert b"200 OK" in wires[3].recv(65536)
    wires[4].sendall(GOOD)  # answered, then says nothing: an idle connection may stay
    assert b"200 OK" in wires[4].recv(65536)
    for wire in wires:
        wire.setblocking(False)
    open_ones = set(range(4))

    def drip_until_cut():
        for n in sorted(open_ones):
            try:
                if wires[n].recv(100) == b"":
                    open_ones.discard(n)
            except BlockingIOError:
                try:
                    wires[n].send(b"\x20" if n == 2 else GOOD[:1] if n == 0 else b"a")
                except OSError:
                    open_ones.discard(n)
            except OSError:
                open_ones.discard(n)
        return not open_ones

    wait_until(drip_until_cut, 8, "all slow ones are cut", every=0.1)
    wires[4].setblocking(True)
    wires[4].sendall(GOOD)
    assert b"200 OK" in wires[4].recv(65536)
    assert alone.stat("http_slow_total") >= 4
    for wire in wires:
        wire.close()


def test_a_thousand_idle_connections_do_no_harm(broker, dispatcher):  # noqa: F811
    dispatcher.on["BUZON_LIST"] = says()
    wires = [connect(broker.url) for _ in range(1000)]
    for number, wire in enumerate(wires):
        wire.sendall(GOOD[: number % 70])
    broker.api.list("s").expect(200)
    for wire in wires:
        wire.close()
    broker.api.list("s").expect(200)
    wait_until(lambda: broker.stat("http_connections") <= 2, 5, "they are forgotten")
