# SPDX-License-Identifier: MIT
"""Batches over HTTP: JSON and NDJSON in, chunks out to dispatchers by script, and what happens when either side dies in the middle."""

import contextlib
import gzip
import hashlib
import json
import re
import socket
import threading
import time

import pytest

from broker_alone import (  # noqa: F401
    SECRET, Later, by_secret, died, fails, make_broker, make_dispatcher, says, token_says,
)  # fmt: skip
from harness.http import Client, connect, raw
from harness.wait import PATIENCE, stays, wait_until

BATCHES = "/api/v1/app/batches"
ABOUT = {"portal": "sunat", "action": "sunat.menu_sol_login"}
QUERY = "?portal=sunat&action=sunat.menu_sol_login"
NDJSON = {"Content-Type": "application/x-ndjson"}
BODY_MAX, LINE_MAX = 262144, 20480
HOOKS = "https://hooks.example/,https://b.example/in"


@pytest.fixture
def broker(make_broker):
    return make_broker({"webhook.allow": HOOKS})


class Ledger:
    """A dispatcher's side of uploads: what is recorded, by batch and index. Several dispatchers may share one, as they share a database."""

    def __init__(self):
        self.batches, self.by_key, self.sizes = {}, {}, []
        self.lock = threading.Lock()

    def on(self):
        return {"BATCH_OPEN": self.open, "BATCH_BODY": self.body, "BATCH_CLOSE": self.close}

    def open(self, me, header, _):
        with self.lock:
            key = (header["token_id"], header["idempotency_key"])
            is_known = key in self.by_key
            number = self.by_key.setdefault(key, 100 + len(self.by_key))
            batch = self.batches.setdefault(number, {"header": header, "lines": {}, "status": "open"})
        if is_known and batch["header"]["body_digest"] != header["body_digest"]:
            me.reply(header, error="idempotency_mismatch")
        else:
            told = {"ok": True, "batch_id": number, "status": batch["status"]}
            me.reply(header, json.dumps(told).encode(), replayed=is_known)

    def body(self, me, header, payload):
        lines = self.batches[header["batch_id"]]["lines"]
        rejected, first = [], header.get("index", 0)
        assert payload.endswith(b"\n") and len(payload) <= BODY_MAX
        self.sizes.append(len(payload))
        texts = payload[:-1].split(b"\n")
        for index, text in enumerate(texts, first):
            if b'"company_id"' not in text:
                rejected.append({"index": index, "error": "validation_failed", "errors": {"company_id": ["is needed"]}})
            elif json.loads(lines.setdefault(index, text)) != json.loads(text):
                me.reply(header, error="idempotency_mismatch")
                return
        told = {"ok": True, "accepted": len(texts) - len(rejected), "rejected_total": len(rejected), "rejected": rejected[:1000]}
        me.reply(header, json.dumps(told).encode())

    def close(self, me, header, _):
        batch = self.batches[header["batch_id"]]
        batch["status"], batch["told"] = "running", header.get("index", 0)
        me.reply(header, json.dumps({"ok": True, "batch_id": header["batch_id"], "status": "running"}).encode())

    def only(self):
        assert len(self.batches) == 1, self.batches.keys()
        return next(iter(self.batches.values()))

    def lines(self):
        return self.only()["lines"]


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def dispatcher(broker, make_dispatcher, ledger):
    return make_dispatcher(broker, name="d1", on=ledger.on())


def item(company, **more):
    return {"company_id": company, **more}


def ndjson(companies, end="\n"):
    return "".join(json.dumps(item(n)) + end for n in companies).encode()


def send(broker, body, query=QUERY, **headers):
    return broker.api.request("POST", BATCHES + query, body=body, headers={**NDJSON, **headers})


def head(length=None, more="", query=QUERY):
    framing = f"Content-Length: {length}\r\n" if length is not None else "Transfer-Encoding: chunked\r\n"
    return (f"POST {BATCHES}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n"
            f"Content-Type: application/x-ndjson\r\n{framing}{more}\r\n").encode()  # fmt: skip


def read_answer(wire):
    """(status, JSON) of the only answer on a raw connection."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = wire.recv(65536)
        assert part, got
        got += part
    top, _, body = got.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", top)[1])
    while len(body) < length:
        body += wire.recv(65536)
    return int(top.split()[1]), json.loads(body)


# --- in and out --------------------------------------------------------------------------------------------------


def test_a_batch_as_json(broker, dispatcher, ledger):
    items = [item(7, params={"usuario": "ñ\n", "clave": "c"}), item(8), item(9)]
    body = {**ABOUT, "priority": 8, "callback_url": "https://hooks.example/done?x=1", "items": items, "unknown": 1}
    answer = broker.api.post(BATCHES, body).expect(202)
    assert answer.json == {"ok": True, "batch_id": 100, "accepted": 3, "rejected_total": 0, "rejected": []}
    assert answer.headers["Location"] == BATCHES + "/100" and "Idempotency-Replayed" not in answer.headers
    assert [op for op, _, _ in dispatcher.seen if op.startswith("BATCH")] == ["BATCH_OPEN", "BATCH_BODY", "BATCH_CLOSE"]
    opened = ledger.only()["header"]
    assert [opened[name] for name in ("portal", "action", "priority", "callback_url")] == [*ABOUT.values(), 8, body["callback_url"]]
    assert len(opened["body_digest"]) == 32 and re.fullmatch(r"[0-9a-f]{32}", opened["idempotency_key"])
    assert opened["token_id"] == 1 and opened["all_companies"] is True and opened["lane"] == 3
    assert [json.loads(line) for line in ledger.lines().values()] == items
    assert ledger.only()["told"] == 3 and broker.stat("uploads") == 0


def test_a_batch_as_ndjson(broker, dispatcher, ledger):
    query = QUERY + "&priority=0&callback_url=https%3A%2F%2Fb.example%2Fin"
    answer = send(broker, ndjson(range(1, 5)), query, **{"X-Request-Id": "up.1"}).expect(202)
    assert answer.json == {"ok": True, "batch_id": 100, "accepted": 4, "rejected_total": 0, "rejected": []}
    opened = ledger.only()["header"]
    assert opened.get("priority", 0) == 0 and opened["callback_url"] == "https://b.example/in" and opened["request_id"] == "up.1"
    assert [json.loads(line)["company_id"] for line in ledger.lines().values()] == [1, 2, 3, 4]
    assert not [one for one in dispatcher.seen if one[0] == "CANCEL"]
    answer = send(broker, iter([ndjson([1, 2]), ndjson([3])])).expect(202)  # chunked
    assert answer.json["accepted"] == 3 and answer.headers["Connection"] == "close"


def test_the_key_and_what_the_batch_is(broker, dispatcher, ledger):
    send(broker, ndjson([1]), **{"Idempotency-Key": "a b"}).expect(202)
    assert ledger.only()["header"]["idempotency_key"] == "a b"
    digest = ledger.only()["header"]["body_digest"]
    assert digest == hashlib.sha256(b"sunat\nsunat.menu_sol_login\n5\n\n\n").digest()
    broker.api.post(BATCHES, {**ABOUT, "items": [item(1)]}, headers={"Idempotency-Key": "a b"}).expect(202)  # the same, as JSON
    send(broker, ndjson([1]), QUERY + "&priority=6", **{"Idempotency-Key": "a b"}).expect(422, "idempotency_mismatch")
    at = "&available_at=2020-01-01T00:00:00Z"  # has passed, and is part of it all the same
    send(broker, ndjson([1]), QUERY + at, **{"Idempotency-Key": "a b"}).expect(422, "idempotency_mismatch")
    send(broker, ndjson([1]), QUERY + at, **{"Idempotency-Key": "later"}).expect(202)
    assert dispatcher.saw("BATCH_OPEN")[-1][1]["available_at_ms"] == 1577836800000  # whether it has passed, the database's clock says


def test_a_closed_batch_is_replayed(broker, dispatcher, ledger):
    keyed = {"Idempotency-Key": "k"}
    first = send(broker, ndjson(range(1, 4)), **keyed).expect(202)
    again = send(broker, ndjson(range(1, 4)), **keyed).expect(202)
    assert again.json == first.json and again.headers["Idempotency-Replayed"] == "true"
    assert len(ledger.batches) == 1
    answer = send(broker, ndjson([1, 7, 3]), **keyed).expect(422, "idempotency_mismatch")
    assert answer.json["batch_id"] == 100


# --- lines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body, lines", [
    (b'{"company_id":1}\r\n{"company_id":2}\r\n', 2), (b'{"company_id":1}\n{"company_id":2}', 2), (b'{"company_id":1}\r\n{"company_id":2}\r', 2),
    (b'\n\n{"company_id":1}\n \t\n\r\n{"company_id":2}\n\n', 2), (b'{"company_id":1}', 1), (b'{"company_id":1}\n   ', 1),
    (b'  {"company_id":1}  \n', 1), (b'{"company_id":1}\n\r{"company_id":2}\n', 2),
])  # fmt: skip
def test_how_lines_end(broker, dispatcher, ledger, body, lines):
    assert send(broker, body).expect(202).json["accepted"] == lines
    assert list(ledger.lines()) == list(range(lines)) and ledger.only()["told"] == lines
    assert all(json.loads(line)["company_id"] == index + 1 for index, line in ledger.lines().items())


def test_lines_split_anywhere(broker, dispatcher, ledger):
    body = ndjson(range(1, 40), "\r\n")
    with connect(broker.url) as wire:
        wire.sendall(head(len(body)))
        for at in range(0, len(body), 7):
            wire.sendall(body[at : at + 7])
            if at % 70 == 0:
                seen = broker.stat("upload_bytes_total")
                wait_until(lambda: broker.stat("upload_bytes_total") >= min(at, seen), 5)
        assert read_answer(wire) == (202, {"ok": True, "batch_id": 100, "accepted": 39, "rejected_total": 0, "rejected": []})
    with connect(broker.url) as wire:
        wire.sendall(head())
        for at in range(0, len(body), 5):  # a chunk of HTTP is no border either
            wire.sendall(b"%x\r\n%s\r\n" % (len(body[at : at + 5]), body[at : at + 5]))
        wire.sendall(b"0\r\n\r\n")
        status, answer = read_answer(wire)
        assert (status, answer["accepted"]) == (202, 39)
    for batch in ledger.batches.values():
        assert [json.loads(line)["company_id"] for line in batch["lines"].values()] == list(range(1, 40))


def test_lines_come_to_the_database_as_they_come(broker, dispatcher, ledger):
    with connect(broker.url) as wire:
        wire.sendall(head(10_000))
        wire.sendall(ndjson([1]) + b'{"company_id"')
        wait_until(lambda: ledger.batches and len(ledger.lines()) == 1, 5, "the first line is recorded")
        wire.sendall(b":2}\n")
        wait_until(lambda: len(ledger.lines()) == 2, 5, "the second one")
        assert broker.stat("uploads") == 1 and ledger.only()["status"] == "open"


def test_bad_lines_are_rejected_by_index(broker, dispatcher, ledger):
    body = ndjson([1]) + b"nonsense\n" + ndjson([2]) + b"\n[]\n" + ndjson([3])
    answer = send(broker, body).expect(202).json
    assert (answer["accepted"], answer["rejected_total"]) == (3, 2)
    assert [one["index"] for one in answer["rejected"]] == [1, 3]
    assert answer["rejected"][0] == {"index": 1, "error": "validation_failed", "errors": {"company_id": ["is needed"]}}
    assert list(ledger.lines()) == [0, 2, 4] and ledger.only()["told"] == 5
    answer = broker.api.post(BATCHES, {**ABOUT, "items": [7, item(1), None, {"params": {}}, "x"]}).expect(202).json
    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (1, [0, 2, 3, 4])


def test_json_of_many_lines_is_said_once(broker, dispatcher, ledger):
    """One sentence says what is wrong and what to do, not an error for each line."""
    items, whole = [item(1, params={"clave": 'a"}\\{'}), item(2)], {**ABOUT, "items": [item(1)]}
    bodies = ["\n".join(json.dumps(one, indent=2) for one in items), json.dumps(items, indent=4), json.dumps(whole, indent=1), "[\n" + json.dumps(item(1)) + "\n]",
              "{", '{"company_id":1,\n"params":{"a":"}"}}\n' * 3000, "\ufeff \r\n{\r\n \"company_id\": 1\r\n}\r\n"]  # fmt: skip
    for text in bodies:
        body = text.encode()
        for sent in (body, iter([body])):
            told = send(broker, sent).expect(400, "bad_request").json
            assert "one whole JSON object a line" in told["message"] and "jq -c" in told["message"], told
    assert not ledger.batches
    wait_until(lambda: broker.stat("uploads") == 0, 5, "none is left")
    answer = send(broker, ndjson([1]) + b'{\n"x": 2\n}\n').expect(202).json  # what a later line is, its own error says
    assert (answer["accepted"], answer["rejected_total"]) == (1, 3)


def test_the_first_thousand_are_named(broker, dispatcher, ledger):
    answer = send(broker, b"{}\n" * 250_000 + ndjson([1])).expect(202).json
    assert (answer["accepted"], answer["rejected_total"]) == (1, 250_000)
    assert [one["index"] for one in answer["rejected"]] == list(range(1000))


def test_lines_that_are_too_long(broker, dispatcher, ledger):
    def long(size):
        return b'{"company_id":5,"x":"' + b"y" * (size - 23) + b'"}'

    assert len(long(LINE_MAX)) == LINE_MAX
    lines = [b'{"company_id":1}', long(LINE_MAX), long(LINE_MAX + 1), b'{"company_id":2}', long(3 << 20), long(LINE_MAX) + b"\r", long(LINE_MAX + 1)]
    answer = send(broker, b"\n".join(lines)).expect(202).json
    assert (answer["accepted"], answer["rejected_total"]) == (4, 3)
    assert answer["rejected"] == [{"index": index, "error": "payload_too_large"} for index in (2, 4, 6)]
    assert list(ledger.lines()) == [0, 1, 3, 5] and ledger.lines()[5] == long(LINE_MAX)
    answer = broker.api.post(BATCHES, {**ABOUT, "items": [item(1), item(2, x="y" * LINE_MAX), item(3)]}).expect(202).json
    assert (answer["accepted"], answer["rejected"]) == (2, [{"index": 1, "error": "payload_too_large"}])
    assert send(broker, long(LINE_MAX + 1)).expect(202).json["rejected_total"] == 1


def test_a_body_without_an_item(broker, dispatcher, ledger):
    for body in (b"", b"\n\n", b" \r\n\t\n", iter([b"\n"])):
        answer = send(broker, body).expect(422, "validation_failed")
        assert list(answer.json["errors"]) == ["items"]
    for items in ([], {}, "x", None, 7):
        assert list(broker.api.post(BATCHES, {**ABOUT, "items": items}).expect(422).json["errors"]) == ["items"]
    assert list(broker.api.post(BATCHES, ABOUT).expect(422).json["errors"]) == ["items"]
    assert not dispatcher.saw("BATCH_OPEN") and broker.stat("uploads") == 0


# --- refusals ----------------------------------------------------------------------------------------------------


def test_fields_of_a_batch(broker, dispatcher, ledger):
    good = {**ABOUT, "items": [item(1)]}
    for change, field in (
        ({"portal": "SUNAT"}, "portal"), ({"portal": None}, "portal"), ({"action": "sunat.nothing"}, "action"), ({"action": None}, "action"),
        ({"priority": 10}, "priority"), ({"priority": "5"}, "priority"), ({"callback_url": 5}, "callback_url"),
        ({"callback_url": "https://evil.example/"}, "callback_url"), ({"callback_url": "https://hooks.example@evil.example/"}, "callback_url"),
        ({"callback_url": "https://hooks.example/" + "x" * 480}, "callback_url"), ({"available_at": "soon"}, "available_at"),
        ({"available_at": "2199-01-01T00:00:00Z"}, "available_at"),
    ):  # fmt: skip
        assert list(broker.api.post(BATCHES, {**good, **change}).expect(422).json["errors"]) == [field], change
    for query, fields in (
        ("", {"portal", "action"}), (QUERY + "&priority=x", {"priority"}), (QUERY + "&priority=10", {"priority"}),
        (QUERY + "&callback_url=ftp%3A%2F%2Fhooks.example%2F", {"callback_url"}), (QUERY + "&portal=sunat", {"portal"}),
        (QUERY + "&available_at=x", {"available_at"}),
    ):  # fmt: skip
        assert set(send(broker, ndjson([1]), query).expect(422).json["errors"]) == fields, query
    assert list(send(broker, ndjson([1]), **{"Idempotency-Key": "k" * 256}).expect(422).json["errors"]) == ["Idempotency-Key"]
    assert list(send(broker, ndjson([1]), **{"X-Deadline-Ms": "1"}).expect(422).json["errors"]) == ["X-Deadline-Ms"]
    assert not dispatcher.saw("BATCH_OPEN")


def test_an_action_in_a_session_makes_no_batch(make_broker, make_dispatcher):
    alone = make_broker(actions={"sunat.echo": {"method": "POST", "path": "/sunat/echo", "session": "use", "timeout_ms": 5000}})
    make_dispatcher(alone)
    answer = alone.api.post(BATCHES, {"portal": "sunat", "action": "sunat.echo", "items": [item(1)]}).expect(422)
    assert list(answer.json["errors"]) == ["action"]
    answer = alone.api.post(BATCHES, {**ABOUT, "callback_url": "https://hooks.example/", "items": [item(1)]}).expect(422)
    assert list(answer.json["errors"]) == ["callback_url"]  # none is allowed


def test_types_and_codings(broker, dispatcher, ledger):
    for kind in ("text/csv", "application/x-ndjsonx", "application/x-ndjson; charset=latin1", None):
        broker.api.request("POST", BATCHES + QUERY, body=ndjson([1]), headers={"Content-Type": kind}).expect(415, "unsupported_media_type")
    for coding in ("gzip", "br", "gzip, identity", ""):
        answer = send(broker, gzip.compress(ndjson([1])), **{"Content-Encoding": coding}).expect(415, "unsupported_media_type")
        assert answer.headers["Accept-Encoding"] == "identity"
        broker.api.post(BATCHES, {**ABOUT, "items": [item(1)]}, headers={"Content-Encoding": coding}).expect(415)
    assert not dispatcher.saw("BATCH_OPEN")
    send(broker, ndjson([1]), **{"Content-Encoding": "identity"}).expect(202)
    kind = "Application/X-NDJSON; charset=UTF-8"
    broker.api.request("POST", BATCHES + QUERY, body=ndjson([1]), headers={"Content-Type": kind}).expect(202)


def test_bodies_that_are_no_json(broker, dispatcher, ledger):
    for body in (b"", b"{", b"[]", ndjson([1, 2]), b'{"items":[1],"items":[1]}'):
        broker.api.request("POST", BATCHES, body=body, headers={"Content-Type": "application/json"}).expect(400, "bad_request")
    assert not dispatcher.saw("BATCH_OPEN")


def test_the_largest_json_body(make_broker, make_dispatcher, ledger):
    alone = make_broker({"limit.batch_body_bytes": 100_000})
    make_dispatcher(alone, on=ledger.on())
    good = {**ABOUT, "items": [item(n) for n in range(1, 2000)]}
    alone.api.post(BATCHES, good).expect(202)
    headers = {"Content-Type": "application/json"}
    alone.api.request("POST", BATCHES, body=b" " * 100_001, headers=headers).expect(413, "payload_too_large")
    alone.api.request("POST", BATCHES, body=iter([b" " * 60_000, b" " * 60_000]), headers=headers).expect(413)
    assert send(alone, ndjson(range(1, 30_000))).expect(202).json["accepted"] == 29_999  # lines have no limit


def test_a_json_batch_of_the_default_size(broker, dispatcher, ledger):
    items = [item(n, params={"usuario": f"U{n:07}", "clave": "x" * 40}) for n in range(1, 100_001)]
    body = json.dumps({**ABOUT, "items": items}, separators=(",", ":")).encode()
    assert 9 << 20 < len(body) < 16 << 20
    answer = broker.api.request("POST", BATCHES, body=body, headers={"Content-Type": "application/json"}).expect(202).json
    assert (answer["accepted"], len(ledger.lines())) == (100_000, 100_000)
    assert json.loads(ledger.lines()[99_999]) == items[-1]


def test_who_may_and_in_which_order(broker, dispatcher, ledger):
    dispatcher.on["TOKEN_VERIFY"] = by_secret(t1={}, t2={"abilities": ["ops:read"]})
    Client(broker.url).request("POST", BATCHES, body=ndjson([1]), headers=NDJSON).expect(401)
    Client(broker.url, {"Authorization": "Bearer 2|x"}).request("POST", BATCHES, body=ndjson([1]), headers=NDJSON).expect(403, "forbidden")
    broker.api.request("PUT", BATCHES, body=b"").expect(405)
    Client(broker.url).request("POST", BATCHES, body=b"x" * 20_000_000, headers={"Content-Type": "text/x"}).expect(401)


def test_a_token_that_is_revoked_in_the_middle(broker, dispatcher, ledger):
    with connect(broker.url) as wire:
        wire.sendall(head(100_000) + ndjson([1]))
        wait_until(lambda: ledger.batches and len(ledger.lines()) == 1, 5)
        dispatcher.on["TOKEN_VERIFY"] = fails("unauthenticated")
        began, sent = time.monotonic(), 15
        while not broker.stat("uploads") == 0:
            assert time.monotonic() < began + 8 * PATIENCE
            wire.sendall(ndjson([2]))
            sent += len(ndjson([2]))
            time.sleep(0.1)
        assert time.monotonic() - began < 6 * PATIENCE
        wire.sendall(b"\n" * (100_000 - sent - len(ndjson([1])) + 15))
        status, answer = read_answer(wire)
        assert (status, answer["error"], answer["batch_id"]) == (401, "unauthenticated", 100)
    assert ledger.only()["status"] == "open"


def test_the_token_travels_along(broker, dispatcher, ledger):
    dispatcher.on["TOKEN_VERIFY"] = token_says(companies=[3, 5])
    send(broker, ndjson([3, 4])).expect(202)
    for op in ("BATCH_OPEN", "BATCH_BODY", "BATCH_CLOSE"):
        asked = dispatcher.saw(op)[0][1]
        assert asked["companies"] == [3, 5] and asked["token_name"] == "t1" and "all_companies" not in asked and asked["peer"]


def test_a_refused_upload_gets_its_answer_before_its_body(broker, dispatcher):
    for more in ("", "Expect: 100-continue\r\n"):
        got = raw(broker.url, head(10**12, more, "?portal=sunat"))
        assert got.startswith(b"HTTP/1.1 422 ") and b'"action"' in got and b"100 Continue" not in got
    assert send(broker, iter([b"x" * 100_000] * 300), "?portal=sunat").expect(422)  # chunked: it is read and thrown away


def test_expect_100_continue(broker, dispatcher, ledger):
    body = ndjson([1, 2])
    with connect(broker.url) as wire:
        wire.sendall(head(len(body), "Expect: 100-continue\r\n"))
        assert wire.recv(100).startswith(b"HTTP/1.1 100 ")
        wire.sendall(body)
        assert read_answer(wire)[1]["accepted"] == 2


# --- much --------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_items_in_flat_memory(broker, dispatcher, ledger):
    def lines(first, count):
        return "".join('{"company_id":%d,"params":{"usuario":"U%07d","clave":"%s"}}\n' % (n, n, "x" * 40) for n in range(first, first + count)).encode()

    send(broker, lines(1, 5000)).expect(202)
    before, bytes_before = broker.rss_kib(), broker.stat("upload_bytes_total")
    answer = send(broker, (lines(n, 1000) for n in range(1, 100_001, 1000))).expect(202)
    assert answer.json["accepted"] == 100_000 and answer.json["rejected_total"] == 0
    assert broker.stat("upload_bytes_total") - bytes_before > 9_000_000
    assert broker.grown_kib(before) < 6_000, "memory grew with the body"
    recorded = ledger.batches[101]["lines"]
    assert len(recorded) == 100_000 and json.loads(recorded[99_999])["company_id"] == 100_000
    assert max(ledger.sizes) > BODY_MAX * 0.9 and broker.stat("upload_items_total") == 105_000
    wait_until(lambda: broker.stat("uploads") == 0 and broker.stat("flights") == 0, 5)  # the broker's own questions are flights, too


def test_a_dispatcher_that_does_not_acknowledge_stops_the_reading(broker, dispatcher, ledger):
    del dispatcher.on["BATCH_BODY"]
    before, sent = broker.rss_kib(), 0
    block = ndjson(range(10_000, 20_000))
    with connect(broker.url) as wire:
        wire.sendall(head(10**10))
        wire.settimeout(1)
        with pytest.raises(socket.timeout):
            while sent < 200 << 20:
                sent += wire.send(block)
        dispatcher.wait_seen("BATCH_BODY", 4)
        stays(lambda: len(dispatcher.saw("BATCH_BODY")) == 4, 0.5, "four are under way, not more")
        taken = broker.stat("upload_bytes_total")
        assert taken < 5 * BODY_MAX and sent < 16 << 20 and broker.grown_kib(before) < 8_000
        assert broker.stat("uploads_paused_total") >= 1 and broker.stat("http_parked") == 1
        dispatcher.on["SESSION_GET"] = says()
        broker.api.session("s").expect(200)  # others go on
        dispatcher.on["BATCH_BODY"] = ledger.body
        for header, payload in list(dispatcher.held):
            dispatcher.order(ledger.body, dispatcher, header, payload)
        dispatcher.order(dispatcher.ping)
        wait_until(lambda: broker.stat("upload_bytes_total") > taken + (1 << 20), 5, "it is read again")


def test_nobody_waits_behind_uploads(broker, dispatcher, ledger):
    del dispatcher.on["BATCH_BODY"]
    dispatcher.on["BUZON_LIST"] = dispatcher.on["EXECUTE_LOGIN"] = says(b'{"ok":true}')
    block, wires = ndjson(range(10_000, 60_000)), []
    try:
        for _ in range(6):
            wires.append(connect(broker.url))
            wires[-1].sendall(head(10**10))
            wires[-1].setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    wires[-1].send(block)
        dispatcher.wait_seen("BATCH_BODY", 8)  # all the credit of the lane
        wait_until(lambda: broker.lane("batch")["depth"] >= 4, 5, "the others wait for it")
        for number in range(20):
            began = time.monotonic()
            broker.api.list("s").expect(200)
            broker.api.execute(number + 1).expect(200)
            assert time.monotonic() - began < 10  # behind the uploads it would wait for its deadline, which is 28 s
    finally:
        for wire in wires:
            wire.close()
    assert 8 < len(dispatcher.saw("BATCH_OPEN")) + len(dispatcher.saw("BATCH_BODY")) <= 6 + 8


def test_a_client_that_is_slow_but_steady_is_not_cut(make_broker, make_dispatcher, ledger):
    alone = make_broker({"broker.request_timeout_ms": 3000})
    make_dispatcher(alone, on=ledger.on())
    body = ndjson(range(1, 9))
    began = time.monotonic()
    with connect(alone.url) as wire:
        wire.sendall(head(len(body)))
        for number, line in enumerate(body.splitlines(keepends=True)):
            end = began + 0.5 * (number + 1)
            wait_until(lambda: time.monotonic() > end, 5)
            wire.sendall(line)
        assert time.monotonic() - began > 3.5
        assert read_answer(wire)[1]["accepted"] == 8
    with connect(alone.url) as wire:
        began = time.monotonic()
        wire.sendall(head(1000) + ndjson([1]))
        wire.settimeout(30)
        assert wire.recv(10) == b"" and time.monotonic() - began > 2.9  # silent: it is cut
    with connect(alone.url) as wire:  # a JSON body has its limit as ever
        wire.sendall(head(1000).replace(b"x-ndjson", b"json"))
        wire.settimeout(0.1)
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() < began + 30:
                wire.sendall(b" ")
                with contextlib.suppress(socket.timeout):
                    assert wire.recv(10) == b""
                    raise OSError
    assert alone.stat("http_slow_total") == 2 and alone.stat("uploads_cut_total") == 1


def test_too_many_uploads_at_once(broker, dispatcher, ledger):
    wires = []
    try:
        for number in range(64):
            if number == 32:
                wait_until(lambda: broker.stat("uploads") == 32, 10)
                send(broker, ndjson([1])).expect(503, "queue_full")  # one token has half of them at most
                send(broker, ndjson([1]), Authorization="Bearer 2|secret").expect(202)
            wires.append(connect(broker.url))
            wires[-1].sendall(head(1000).replace(SECRET.encode(), b"%d|secret" % (1 + number // 32)) + ndjson([number + 1]))
        wait_until(lambda: broker.stat("uploads") == 64, 10)
        send(broker, ndjson([1]), Authorization="Bearer 3|secret").expect(503, "queue_full")
        broker.api.post(BATCHES, {**ABOUT, "items": [item(1)]}).expect(503, "queue_full")
    finally:
        for wire in wires:
            wire.close()
    wait_until(lambda: broker.stat("uploads") == 0, 10)
    send(broker, ndjson([1])).expect(202)


# --- cut, resumed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_body_that_is_cut(broker, dispatcher, ledger, framing, end):
    body = ndjson(range(1, 101))
    part = body[: len(body) // 2 + 5]
    assert not part.endswith(b"\n")
    keyed = "Idempotency-Key: morning\r\n"
    wire = connect(broker.url)
    wire.sendall(head(len(body), keyed) + part if framing == "length" else head(None, keyed) + b"%x\r\n%s\r\n" % (len(part), part))
    wait_until(lambda: broker.stat("upload_bytes_total") == len(part), 5, "it is read")
    if end == "reset":
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wire.close()
    whole = part.count(b"\n")
    wait_until(lambda: broker.stat("uploads") == 0, 5, "the upload ends")
    assert len(ledger.lines()) == whole and ledger.only()["status"] == "open", "whole lines, and no half one"
    assert not dispatcher.saw("BATCH_CLOSE") and broker.stat("uploads_cut_total") == 1
    answer = send(broker, body, **{"Idempotency-Key": "morning"}).expect(202)
    assert answer.json == {"ok": True, "batch_id": 100, "accepted": 100, "rejected_total": 0, "rejected": []}
    assert "Idempotency-Replayed" not in answer.headers and ledger.only()["status"] == "running"
    assert [json.loads(line)["company_id"] for line in ledger.lines().values()] == list(range(1, 101))


def test_a_cut_hands_on_what_was_not_sent_yet(broker, dispatcher, ledger):
    """The first chunk is not acknowledged when the client dies: the lines behind it are handed on all the same."""
    del dispatcher.on["BATCH_BODY"]
    with connect(broker.url) as wire:
        wire.sendall(head(10_000) + ndjson([1]))
        dispatcher.wait_seen("BATCH_BODY")
        wire.sendall(ndjson([2, 3]) + b'{"company_id":4')
        wait_until(lambda: broker.stat("upload_bytes_total") > 60, 5)
    wait_until(lambda: broker.stat("uploads_cut_total") == 1, 5)
    dispatcher.wait_seen("BATCH_BODY", 2)
    for header, payload in dispatcher.held:
        dispatcher.order(ledger.body, dispatcher, header, payload)
    dispatcher.order(dispatcher.ping)
    wait_until(lambda: broker.stat("uploads") == 0, 5)
    assert [json.loads(line)["company_id"] for line in ledger.lines().values()] == [1, 2, 3] and ledger.only()["status"] == "open"


def test_a_cut_before_the_batch_is_open(broker, dispatcher, ledger):
    del dispatcher.on["BATCH_OPEN"]
    with connect(broker.url) as wire:
        wire.sendall(head(10_000) + ndjson([1, 2]) + b'{"company_id":3}')
        dispatcher.wait_seen("BATCH_OPEN")
    with connect(broker.url) as wire:
        wire.sendall(head(10_000) + b'{"company_id":3}')  # not a line yet
        wait_until(lambda: broker.stat("uploads") == 2, 5)
    wait_until(lambda: broker.stat("uploads_cut_total") == 2, 5)
    dispatcher.order(ledger.open, dispatcher, *dispatcher.held[0])
    dispatcher.order(dispatcher.ping)
    wait_until(lambda: broker.stat("uploads") == 0, 5)
    assert len(ledger.lines()) == 2 and len(dispatcher.saw("BATCH_OPEN")) == 1


def test_a_client_that_does_not_wait_for_the_answer(broker, dispatcher, ledger):
    """Its body was whole: the batch is closed."""
    del dispatcher.on["BATCH_BODY"]
    body = ndjson([1, 2])
    with connect(broker.url) as wire:
        wire.sendall(head(len(body)) + body)
        dispatcher.wait_seen("BATCH_BODY")
    wait_until(lambda: broker.stat("http_gone_total") == 1, 5)
    dispatcher.order(ledger.body, dispatcher, *dispatcher.held[0])
    dispatcher.order(dispatcher.ping)
    wait_until(lambda: ledger.only()["status"] == "running", 5)
    assert broker.stat("uploads_cut_total") == 0


def test_a_json_batch_whose_client_goes_away(broker, dispatcher, ledger):
    del dispatcher.on["BATCH_OPEN"]
    body = json.dumps({**ABOUT, "items": [item(n) for n in range(1, 50_001)]}).encode()
    with connect(broker.url) as wire:
        wire.sendall(head(len(body)).replace(b"x-ndjson", b"json") + body)
        dispatcher.wait_seen("BATCH_OPEN")
    wait_until(lambda: broker.stat("http_gone_total") == 1, 5)
    dispatcher.order(ledger.open, dispatcher, *dispatcher.held[0])
    dispatcher.order(dispatcher.ping)
    wait_until(lambda: ledger.only()["status"] == "running", 10)
    assert len(ledger.lines()) == 50_000


# --- dispatchers that die ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["link", "silence"])
@pytest.mark.parametrize("op", ["BATCH_OPEN", "BATCH_BODY", "BATCH_CLOSE"])
def test_a_dispatcher_dies_in_the_middle(broker, make_dispatcher, ledger, op, how):
    first = make_dispatcher(broker, name="d1", on=ledger.on())
    second = make_dispatcher(broker, name="d2", on=ledger.on())
    third = make_dispatcher(broker, name="d3", on=ledger.on())
    broker.api.session("x" * 101).expect(404)
    for other in (second, third):
        other.limit(0)
        del other.on["BATCH_OPEN"], other.on["BATCH_BODY"], other.on["BATCH_CLOSE"]
    script = first.on.pop(op)
    late = Later(send, broker, ndjson(range(1, 2001)))
    asked = first.wait_seen(op)
    for other in (second, third):
        other.on.update({**ledger.on(), op: script})
    del second.on[op]
    died(first, second, how)
    second.wait_seen(op)
    died(second, third, how)
    assert late.answer().expect(202).json["accepted"] == 2000
    for seen in (second.saw(op), third.saw(op)):
        again = next(one for one in seen if one[1].get("index") == asked[1].get("index"))
        for name in ("batch_id", "idempotency_key", "body_digest"):
            assert asked[1].get(name) == again[1].get(name)
        assert asked[2] == again[2]
    assert len(ledger.lines()) == 2000


def test_dispatchers_share_the_chunks(broker, make_dispatcher, ledger):
    both = [make_dispatcher(broker, name=name, on=ledger.on()) for name in ("d1", "d2")]
    send(broker, ndjson(range(1, 100_001))).expect(202)
    assert len(ledger.lines()) == 100_000
    assert all(one.saw("BATCH_BODY") for one in both)


def test_dispatchers_vanish_in_the_middle(broker, make_dispatcher, ledger):
    only = make_dispatcher(broker, name="d1", on=ledger.on())
    body = ndjson(range(1, 501))
    keyed = "Idempotency-Key: k\r\n"
    with connect(broker.url) as wire:
        wire.sendall(head(len(body), keyed) + body[:5000])
        wait_until(lambda: ledger.batches and ledger.lines() and broker.stat("flights") == 0, 5)
        only.close()
        wire.sendall(body[5000:9000])
        wait_until(lambda: broker.stat("uploads_failed_total") == 1, 10)
        wire.sendall(body[9000:])
        status, answer = read_answer(wire)
        assert status == 503 and answer["error"] == "no_dispatcher" and answer["batch_id"] == 100
        wire.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")  # the connection is kept
        assert wire.recv(100).startswith(b"HTTP/1.1 404 ")
    recorded = len(ledger.lines())
    assert recorded < 500 and ledger.only()["status"] == "open"
    make_dispatcher(broker, name="d2", on=ledger.on())
    answer = send(broker, body, **{"Idempotency-Key": "k"}).expect(202).json
    assert (answer["batch_id"], answer["accepted"], len(ledger.lines())) == (100, 500, 500)


def test_no_dispatcher_from_the_beginning(broker, dispatcher):
    broker.api.session("x" * 101).expect(404)  # the token is known
    dispatcher.close()
    wait_until(lambda: broker.stat("dispatchers") == 0, 5)
    answer = send(broker, ndjson(range(1, 100_000))).expect(503, "no_dispatcher")
    assert "batch_id" not in answer.json and answer.headers["Retry-After"] == "1"
    broker.api.post(BATCHES, {**ABOUT, "items": [item(1)]}).expect(503, "no_dispatcher")


def test_a_dispatcher_that_is_silent_about_a_chunk(broker, dispatcher, ledger):
    del dispatcher.on["BATCH_BODY"]
    began = time.monotonic()
    answer = send(broker, ndjson([1, 2]), **{"X-Deadline-Ms": "3500"}).expect(504, "deadline_exceeded")
    assert time.monotonic() - began < 20 and answer.json["batch_id"] == 100
    assert dispatcher.wait_seen("CANCEL")[1]["id"] == dispatcher.saw("BATCH_BODY")[0][1]["id"]


def test_errors_of_dispatchers(broker, dispatcher, ledger):
    for op in ("BATCH_OPEN", "BATCH_BODY", "BATCH_CLOSE"):
        script = dispatcher.on[op]
        for error, status in (("database_unavailable", 503), ("wrong_state", 409), ("batch_not_found", 404)):
            dispatcher.on[op] = fails(error, b'{"extra":1}', "Words.")
            answer = send(broker, ndjson(range(1, 30_000))).expect(status, error)
            assert answer.json["message"] == "Words." and answer.json["extra"] == 1
            assert ("batch_id" in answer.json) == (op != "BATCH_OPEN")
        for nonsense in (says(b""), says(b"[]"), says(b'{"ok":true}'), says(b'{"ok":true,"batch_id":0,"accepted":-1,"rejected_total":0}'),
                         says(status=500), fails("no_such_code")):  # fmt: skip
            dispatcher.on[op] = nonsense
            answer = send(broker, ndjson([1]))
            assert answer.status == 503 or (op == "BATCH_CLOSE" and answer.status == 202), answer
        dispatcher.on[op] = script
    send(broker, ndjson([1])).expect(202)
    wait_until(lambda: broker.stat("uploads") == 0 and broker.stat("flights") == 0, 5)


def test_a_stop_in_the_middle_of_an_upload(broker, dispatcher, ledger):
    with connect(broker.url) as wire:
        wire.sendall(head(10_000) + ndjson([1]) + b"{")
        wait_until(lambda: ledger.batches and len(ledger.lines()) == 1, 5)
        assert broker.stop(20) == 0
        assert wire.recv(100) == b""
    assert ledger.only()["status"] == "open"
