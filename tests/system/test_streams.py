# SPDX-License-Identifier: MIT
"""Answers in chunks: whole or cut, never more in memory than a window, stopped when their client goes."""

import json
import re
import socket
import time

from broker_alone import (  # noqa: F401
    CHUNK, SECRET, Later, broker, died, dispatcher, make_broker, make_dispatcher, pair, says,
)  # fmt: skip
from harness.http import connect
from harness.wait import wait_until


def head(me, header, **more):
    me.send("REPLY_HEAD", id=header["id"], **{"status": 200, "content_type": "application/pdf", **more})


def chunk(me, header, seq, data=b"", **more):
    me.send("CHUNK", data, id=header["id"], seq=seq, **more)


def whole(data, piece=CHUNK, **more):
    """A script that streams data, as far as its credit goes, and counts it back in."""

    def script(me, header, _):
        pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
        head(me, header, **more)
        limit, sent = 4, 0
        while sent < len(pieces):
            while sent < min(limit, len(pieces)):
                chunk(me, header, sent, pieces[sent])
                sent += 1
            if sent < len(pieces):
                limit = max(limit, me.await_credit(header["id"]))
        chunk(me, header, sent, last=True)
        me.finished[1] += 1

    return script


def test_a_download(broker, dispatcher):
    data = bytes(range(256)) * 10_000
    dispatcher.on["BUZON_DOWNLOAD"] = whole(data, has_length=True, length=len(data), filename='Bole"ta ñandú.pdf', attachment=True, session_id="s-2")
    answer = broker.api.download("s", "tok").expect(200)
    assert answer.body == data and answer.headers["Content-Length"] == str(len(data))
    assert answer.headers["Content-Type"] == "application/pdf" and answer.headers["X-Session-Id"] == "s-2"
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=\"Bole_ta _and_.pdf\"; filename*=UTF-8''Bole%22ta%20%C3%B1and%C3%BA.pdf"
    )
    assert answer.headers["Cache-Control"] == "no-store" and answer.headers["X-Content-Type-Options"] == "nosniff"
    dispatcher.on["BUZON_DOWNLOAD"] = whole(data, piece=1000)
    answer = broker.api.download("s", "tok").expect(200)
    assert answer.body == data and answer.headers["Transfer-Encoding"] == "chunked" and "Content-Disposition" not in answer.headers
    assert broker.stat("streams_total") == 2 and broker.stat("stream_out_bytes_total") == 2 * len(data)
    wait_until(lambda: broker.stat("streams_active") == 0, 5)
    assert not dispatcher.saw("CANCEL")


def test_an_empty_download_and_a_long_list(broker, dispatcher):
    dispatcher.on["BUZON_DOWNLOAD"] = whole(b"", has_length=True, length=0, attachment=True)
    answer = broker.api.download("s", "tok").expect(200)
    assert answer.body == b"" and answer.headers["Content-Disposition"] == "attachment"
    dispatcher.on["BUZON_DOWNLOAD"] = whole(b"")
    assert broker.api.download("s", "tok").expect(200).body == b""
    rows = json.dumps(["x" * 100] * 20_000).encode()
    dispatcher.on["BUZON_LIST"] = whole(rows, content_type="application/json", has_length=True, length=len(rows))
    assert broker.api.list("s").expect(200).body == rows


def test_names_cannot_break_out_of_their_header(broker, dispatcher):
    for name in ('a"; x=y', "a\\b", "a\r\nSet-Cookie: x", "..", "\x7f", "é" * 256, "a;b,c'd%e"):
        dispatcher.on["BUZON_DOWNLOAD"] = whole(b"x", filename=name, attachment=True)
        answer = broker.api.download("s", "tok").expect(200)
        assert re.fullmatch(r"attachment; filename=\"[A-Za-z0-9._ -]+\"; filename\*=UTF-8''[A-Za-z0-9._%-]+", answer.headers["Content-Disposition"]), name
        assert "Set-Cookie" not in answer.headers


def cut_off(alone, dispatcher, script, version="1.1"):
    """What a client gets of a stream by this script, up to its end; True when that was a reset."""
    dispatcher.on["BUZON_DOWNLOAD"] = script
    request = f"GET /api/v1/app/buzon/download?session_id=s&file_token=t HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n"
    got, was_reset = b"", False
    with connect(alone.url) as wire:
        wire.sendall(request.encode())
        try:
            while part := wire.recv(65536):
                got += part
        except ConnectionResetError:
            was_reset = True
    return got.partition(b"\r\n\r\n")[2], was_reset


def test_a_broken_stream_is_cut_and_never_ended(broker, dispatcher):
    def broken(me, header, _, **more):
        head(me, header, **more)
        chunk(me, header, 0, b"a" * 1000)
        chunk(me, header, 1, broken=True)

    body, _ = cut_off(broker, dispatcher, lambda *a: broken(*a, has_length=True, length=5000))
    assert len(body) < 5000
    body, _ = cut_off(broker, dispatcher, broken)
    assert not body.endswith(b"0\r\n\r\n")
    body, was_reset = cut_off(broker, dispatcher, broken, "1.0")
    assert was_reset  # without a length and without chunks only a reset tells the end from a cut
    for wrong in (999, 1001):  # the sender's own length does not fit

        def short(me, header, _, told=wrong):
            head(me, header, has_length=True, length=told)
            chunk(me, header, 0, b"a" * 1000)
            chunk(me, header, 1, last=True)

        assert len(cut_off(broker, dispatcher, short)[0]) < wrong

    def gap(me, header, _):
        head(me, header)
        chunk(me, header, 0, b"a")
        chunk(me, header, 2, b"c")
        chunk(me, header, 3, last=True)

    assert not cut_off(broker, dispatcher, gap)[0].endswith(b"0\r\n\r\n")
    dispatcher.on["BUZON_DOWNLOAD"] = whole(b"fine", has_length=True, length=4)
    assert broker.api.download("s", "t").expect(200).body == b"fine"


def test_a_stream_whose_dispatcher_dies_is_cut(broker, pair):
    first, second = pair

    def begin(me, header, _):
        head(me, header, has_length=True, length=5000)
        chunk(me, header, 0, b"a" * 1000)

    second.on["BUZON_DOWNLOAD"] = whole(b"x" * 5000)
    got = Later(cut_off, broker, first, begin)
    wait_until(lambda: broker.stat("stream_out_bytes_total") == 1000, 5)
    died(first, second, "link")
    assert got.answer()[0] == b"a" * 1000
    assert not second.saw("BUZON_DOWNLOAD")


def test_a_download_before_its_first_byte_is_sent_again(broker, pair):
    first, second = pair
    second.on["BUZON_DOWNLOAD"] = whole(b"second")
    late = Later(broker.api.download, "s", "t")
    first.wait_seen("BUZON_DOWNLOAD")
    died(first, second, "link")
    assert late.answer().expect(200).body == b"second"


def test_the_slowest_client_holds_back_the_dispatcher(broker, dispatcher):
    sent = []

    def endless(me, header, _):
        me.stream = header
        head(me, header, has_length=True, length=1 << 40)
        for seq in range(4):
            chunk(me, header, seq, b"z" * CHUNK)
            sent.append(seq)

    def more(me):
        limit = max([one["limit"] for _, one, _ in me.saw("CHUNK_CREDIT")], default=4)
        while len(sent) < limit:
            chunk(me, me.stream, len(sent), b"z" * CHUNK)
            sent.append(len(sent))

    dispatcher.on["BUZON_DOWNLOAD"] = endless
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wire.connect(("127.0.0.1", int(broker.url.rpartition(":")[2])))
        wire.sendall(f"GET /api/v1/app/buzon/download?session_id=s&file_token=t HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode())
        dispatcher.wait_seen("BUZON_DOWNLOAD")
        before = broker.rss_kib()

        def stands():
            count = len(sent)
            dispatcher.order(more, dispatcher)
            return len(sent) == count

        wait_until(lambda: all(stands() for _ in range(20)), 10, "no more credit comes", every=0.05)
        assert len(sent) * CHUNK < 8 << 20 and broker.grown_kib(before) < 16_384
        stuck, taken = len(sent), 0
        while taken < 16 << 20:
            taken += len(wire.recv(1 << 20))
            dispatcher.order(more, dispatcher)
        assert len(sent) > stuck and broker.grown_kib(before) < 16_384
        dispatcher.on["BUZON_LIST"] = says()
        broker.api.list("s").expect(200)
    assert dispatcher.wait_seen("CANCEL")[1]["id"] == dispatcher.stream["id"]
    wait_until(lambda: broker.stat("streams_active") == 0, 5)


def test_a_flood_beyond_the_credit_is_cut(broker, dispatcher):
    def flood(me, header, _):
        head(me, header, has_length=True, length=1 << 40)
        for seq in range(200):
            chunk(me, header, seq, b"z" * CHUNK)

    before = broker.rss_kib()
    dispatcher.on["BUZON_DOWNLOAD"] = flood
    answer = broker.api.open_download("s", "t")
    wait_until(lambda: broker.stat("streams_active") == 0, 10, "it is cut")
    # How many fit into the client's socket before one is too many, only the kernel knows; that one is counted nowhere.
    wait_until(lambda: broker.stat("replies_late_total") + broker.stat("stream_out_bytes_total") / CHUNK == 199, 10, "the rest is read and dropped")
    assert broker.grown_kib(before) < 32_768
    answer.connection.close()
    broker.api.session("x" * 101).expect(404)


def test_a_stream_client_that_goes_away_while_nothing_comes(broker, dispatcher):
    dispatcher.on["BUZON_DOWNLOAD"] = lambda me, header, _: head(me, header, has_length=True, length=100)
    answer = broker.api.open_download("s", "t")
    assert answer.status == 200
    answer.close()
    answer.connection.close()
    dispatcher.wait_seen("CANCEL")
    wait_until(lambda: broker.stat("flights") == 0, 5)


def test_a_stream_whose_dispatcher_falls_silent_is_cut(make_broker, make_dispatcher):
    alone = make_broker({"timeout.download_idle_ms": 100})
    asked = make_dispatcher(alone)
    began = time.monotonic()
    cut_off(alone, asked, lambda me, header, _: head(me, header, has_length=True, length=100))
    assert 1.5 < time.monotonic() - began < 12 and alone.stat("streams_silent_total") == 1
    asked.wait_seen("CANCEL")


def test_a_client_that_takes_nothing_is_cut(make_broker, make_dispatcher):
    alone = make_broker({"broker.idle_timeout_s": 1})
    asked = make_dispatcher(alone)
    asked.on["BUZON_LIST"] = says(b"x" * 500_000)

    def pump(me, header, _):
        head(me, header, has_length=True, length=1 << 40)
        for seq in range(4):
            chunk(me, header, seq, b"z" * CHUNK)

    asked.on["BUZON_DOWNLOAD"] = pump
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.connect(("127.0.0.1", int(alone.url.rpartition(":")[2])))
        wire.sendall(f"GET /api/v1/app/buzon/download?session_id=s&file_token=t HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode())
        wait_until(lambda: alone.stat("streams_active") == 1, 5)
        wait_until(lambda: alone.stat("streams_active") == 0 or asked.order(feed, asked), 8, "it is cut", every=0.1)
    asked.wait_seen("CANCEL")


def feed(me):
    """Keeps to the credit that came."""
    header = me.saw("BUZON_DOWNLOAD")[-1][1]
    me.fed = getattr(me, "fed", 4)
    limit = max([one["limit"] for _, one, _ in me.saw("CHUNK_CREDIT")], default=4)
    while me.fed < limit:
        chunk(me, header, me.fed, b"z" * CHUNK)
        me.fed += 1
