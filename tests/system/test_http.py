"""The broker's HTTP, in and out, with dispatchers by script: every check in its order, tokens, lanes, deadlines, dispatchers
that die, streams."""

import http.client
import json
import re
import socket
import threading
import time

import pytest
import zmq

from broker_alone import (  # noqa: F401
    SECRET, Later, broker, dispatcher, fails, make_broker, make_dispatcher, says, token_body,
)  # fmt: skip
from harness.http import Api, Client, connect, raw
from harness.wait import stays, wait_until
from harness.wire import encode

LOGIN = {"company_id": 7, "portal": "sunat", "action": "sunat.menu_sol_login", "params": {"usuario": "u", "clave": "c"}}
ECHO = {"company_id": 7, "portal": "sunat", "action": "sunat.echo", "session_id": "s-1"}
EXECUTE = "/api/v1/app/jobs/execute"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CHUNK = 262144


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


# --- in and out ------------------------------------------------------------------------------------------------


def test_a_list_goes_in_and_out(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says(b'{"items":[]}', session_id="s-2")
    answer = broker.api.list("s-1", 3, headers={"X-Request-Id": "abc.1", "traceparent": TRACE, "X-Deadline-Ms": "9000"})
    answer.expect(200)
    assert answer.json == {"items": []}
    _, request, payload = dispatcher.saw("BUZON_LIST")[0]
    assert (request["session_id"], request["page"], request["request_id"]) == ("s-1", 3, "abc.1")
    assert request["traceparent"] == TRACE and 8000 < request["deadline_ms"] <= 9000
    assert request["token_id"] == 1 and request["token_name"] == "t1" and request["all_companies"] is True
    assert re.fullmatch(r"127\.0\.0\.1:\d+", request["peer"]) and payload == b""
    wanted = {"X-Request-Id": "abc.1", "Content-Type": "application/json", "Cache-Control": "no-store",
              "X-Content-Type-Options": "nosniff", "X-Session-Id": "s-2"}  # fmt: skip
    assert {name: answer.headers[name] for name in wanted} == wanted
    assert "X-RateLimit-Limit" not in answer.headers


def test_a_connection_is_kept(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    dispatcher.on["EXECUTE_LOGIN"] = says()
    head = f"Host: x\r\nAuthorization: Bearer {SECRET}\r\n"
    body = json.dumps(LOGIN)
    with connect(broker.url) as wire:
        for text in (
            f"GET /api/v1/app/buzon/list?session_id=s HTTP/1.1\r\n{head}\r\n",
            f"POST {EXECUTE} HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}",
            f"GET /nothing HTTP/1.1\r\n{head}\r\n",
            f"POST {EXECUTE} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
            f"GET /api/v1/app/buzon/list?session_id=s HTTP/1.1\r\n{head}\r\n",
        ):
            wire.sendall(text.encode())
            got = wire.recv(65536)
            assert b"\r\n\r\n" in got and b"connection: close" not in got.lower(), got
        wire.sendall(f"GET /api/v1/app/buzon/list?session_id=s HTTP/1.0\r\n{head}\r\n".encode())
        assert b"200 OK" in wire.recv(65536) and wire.recv(10) == b""


def test_request_ids(broker, dispatcher):
    ours = re.compile(r"[0-9a-f]{32}")
    dispatcher.on["SESSION_GET"] = fails("session_not_found")
    for sent, kept in (("A-z_0.9", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("", False), ("é", False), (None, False)):
        answer = broker.api.session("s", headers={"X-Request-Id": sent and sent.encode()}).expect(404)
        assert answer.json["request_id"] == answer.headers["X-Request-Id"]
        assert (answer.json["request_id"] == sent) if kept else ours.fullmatch(answer.json["request_id"])
    for path in ("/nothing", EXECUTE):
        assert Client(broker.url).get(path, headers={"X-Request-Id": "mine"}).headers["X-Request-Id"] == "mine"
    assert ours.fullmatch(Client(broker.ops_url).get("/healthz").headers["X-Request-Id"])


def test_what_is_no_trace_is_not_passed_on(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    for sent in ("00-xyz", TRACE.upper(), TRACE + "-1"):
        broker.api.list("s", headers={"traceparent": sent}).expect(200)
    assert not any(request.get("traceparent") for _, request, _ in dispatcher.saw("BUZON_LIST"))


# --- the order of checks ---------------------------------------------------------------------------------------


def test_checks_come_in_their_order(make_broker, make_dispatcher):
    alone = make_broker({"limit.json_body_bytes": 2000})
    asked = make_dispatcher(alone)
    asked.on["TOKEN_VERIFY"] = by_secret(t1={"companies": [1], "rate": 2}, t2={"abilities": ["ops:read"], "companies": [1]})
    json_type, bad_json, wrong = "application/json", b'{"a":', json.dumps({**LOGIN, "company_id": 0, "session_id": "s"}).encode()
    good, big = json.dumps(LOGIN).encode(), b"x" * 3000
    far = {"X-Deadline-Ms": "1"}

    def post(token, content_type, body, path=EXECUTE, headers=None):
        sent = {"Content-Type": content_type, **(headers or {})}
        return Api(alone.url, token).request("POST", path, body=body, headers=sent)

    assert raw(alone.url, b"POST /nothing HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n").startswith(b"HTTP/1.1 400")
    post(None, "text/x", big, "/api/v1/app/jobs/nothing/here").expect(404, "not_found")
    answer = Client(alone.url).request("PATCH", EXECUTE, body=big).expect(405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"
    answer = post("9|x", "text/x", big).expect(401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer" and "X-RateLimit-Limit" not in answer.headers
    post("2|x", "text/x", big).expect(403, "forbidden")
    post(SECRET, "text/x", big).expect(413, "payload_too_large")
    post(SECRET, "text/x", bad_json).expect(415, "unsupported_media_type")
    post(SECRET, None, bad_json).expect(415, "unsupported_media_type")
    post(SECRET, json_type, bad_json, headers=far).expect(400, "bad_request")
    answer = post(SECRET, json_type, wrong, headers=far).expect(422, "validation_failed")
    assert set(answer.json["errors"]) == {"company_id", "session_id", "X-Deadline-Ms"}
    post(SECRET, json_type, good).expect(403, "company_forbidden")
    assert not asked.saw("EXECUTE_LOGIN")
    Api(alone.url, SECRET).list("a/b").expect(422)
    answer = Api(alone.url, SECRET).list("a/b", headers=far).expect(429, "rate_limited")  # one was the execute with session_id
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    post(SECRET, json_type, wrong, headers=far).expect(429, "rate_limited")
    post(SECRET, json_type, good).expect(403, "company_forbidden")  # a log-in is not counted


def test_the_company_of_a_query_and_of_a_body(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = token_says(companies=[3, 5])
    dispatcher.on["SESSION_ACTIVE"] = fails("session_not_found")
    broker.api.active(4).expect(403, "company_forbidden")
    broker.api.active(5).expect(404, "session_not_found")
    broker.api.execute(4).expect(403, "company_forbidden")
    _, request, _ = dispatcher.saw("SESSION_ACTIVE")[0]
    assert request["companies"] == [3, 5] and "all_companies" not in request
    assert (request["company_id"], request["portal"]) == (5, "sunat")


def test_methods_and_paths(broker):
    api = Client(broker.url)
    for method, path, status in (
        ("HEAD", "/api/v1/app/buzon/list", 405), ("OPTIONS", "/api/v1/app/buzon/list", 405), ("POST", "/api/v1/app/buzon/list", 405),
        ("PUT", "/api/v1/app/sessions/x", 405), ("GET", EXECUTE, 405), ("TRACE", EXECUTE, 405), ("GET", "/", 404), ("GET", "/healthz", 404),
        ("GET", "/api/v1/app/buzon/list/", 404), ("GET", "/api/v1/app/../app/buzon/list", 404), ("GET", "/api/v1/ops/stats", 404),
    ):  # fmt: skip
        answer = api.request(method, path)
        assert answer.status == status, (method, path, answer)
        assert status != 405 or answer.headers["Allow"]


def test_later_parts_say_so_after_authentication(broker, dispatcher):
    for method, path in (
        ("GET", "/api/v1/app/jobs"), ("DELETE", "/api/v1/app/jobs/12"), ("POST", "/api/v1/app/batches"), ("GET", "/api/v1/app/batches/1"),
        ("DELETE", "/api/v1/app/batches/1"), ("GET", "/api/v1/app/batches/1/events"), ("GET", "/api/v1/app/batches/1/items"),
    ):  # fmt: skip
        Client(broker.url).request(method, path).expect(401, "unauthenticated")
        broker.api.request(method, path).expect(501, "not_implemented")
    for method, path in (("GET", "/jobs"), ("GET", "/batches"), ("GET", "/audit"), ("GET", "/events"), ("GET", "/jobs/1/why"),
                         ("POST", "/jobs/1/retry"), ("POST", "/queue/pause")):  # fmt: skip
        Client(broker.ops_url).request(method, "/api/v1/ops" + path).expect(401)
        broker.ops.request(method, "/api/v1/ops" + path).expect(501, "not_implemented")
    for header in ({"Prefer": "respond-async"}, {"Prefer": "wait=5"}, {"Prefer": "a, Respond-Async"}, {"Idempotency-Key": "k"}):
        broker.api.post(EXECUTE, LOGIN, headers=header).expect(501, "not_implemented")
    assert not dispatcher.saw("EXECUTE_LOGIN")


# --- bodies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b'"x"', b"null", b"7", b'{"a":1,"a":2}', b'{"a":1}x', b'{"a":01}', b'{"a":"\xff"}', b"\xef\xbb\xbf{}", b"{'a':1}",
    b'{"a":' * 33 + b"1" + b"}" * 33, b"[" * 100, b'{"a":NaN}', b'{"a":"\x00"}', b"{\x00}", b"\x00" * 10,
])  # fmt: skip
def test_bodies_that_are_no_json_object(broker, dispatcher, body):
    answer = broker.api.request("POST", EXECUTE, body=body, headers={"Content-Type": "application/json"})
    answer.expect(400, "bad_request")
    assert "\x00" not in answer.json["message"]


def test_bodies_with_wrong_fields(broker, dispatcher):
    for change, field in (
        ({"company_id": "7"}, "company_id"), ({"company_id": 0}, "company_id"), ({"company_id": 7.5}, "company_id"), ({"company_id": True}, "company_id"),
        ({"portal": "SUNAT"}, "portal"), ({"portal": "afip"}, "portal"), ({"action": "sunat.nothing"}, "action"), ({"action": 5}, "action"),
        ({"params": []}, "params"), ({"params": {"epoch": 1}}, "params.epoch"), ({"params": {"company_id": 1}}, "params.company_id"),
        ({"session_id": "x"}, "session_id"), ({"priority": 10}, "priority"), ({"force_new": "yes"}, "force_new"), ({"remember": 1}, "remember"),
    ):  # fmt: skip
        answer = broker.api.post(EXECUTE, {**LOGIN, **change}).expect(422, "validation_failed")
        assert list(answer.json["errors"]) == [field] and answer.json["errors"][field][0], (change, answer)
    broker.api.post(EXECUTE, {**ECHO, "session_id": None}).expect(422)
    for body in (b'{"company_id":7,"x":"\\u0000"}', b'{"company_id":99999999999999999999}'):
        answer = broker.api.request("POST", EXECUTE, body=body, headers={"Content-Type": "application/json"})
        assert list(answer.expect(422).json["errors"]) == ["body"]
    assert not dispatcher.saw("EXECUTE_LOGIN", "EXECUTE_ACTION")


def test_queries_with_wrong_fields(broker, dispatcher):
    get = broker.api.get
    for path, fields in (
        ("/buzon/list", {"session_id"}), ("/buzon/list?session_id=s&page=0", {"page"}), ("/buzon/list?session_id=s&page=x", {"page"}),
        ("/buzon/list?session_id=s&session_id=s", {"session_id"}), ("/buzon/list?session_id=s&page=1&page=1", {"page"}),
        ("/buzon/list?session_id=" + "s" * 101, {"session_id"}), ("/buzon/list?session_id=a%2fb", {"session_id"}),
        ("/buzon/download?session_id=s", {"file_token"}), ("/buzon/download?session_id=s&file_token=..", {"file_token"}),
        ("/buzon/download?session_id=s&file_token=%2e%2e%2fx", {"file_token"}), ("/buzon/download?session_id=s&file_token=a%5cb", {"file_token"}),
        ("/buzon/download?session_id=s&file_token=a%0d%0ab", {"file_token"}), ("/buzon/download?session_id=s&file_token=%25%30%30", {"file_token"}),
        ("/sessions/active", {"company_id", "portal"}), ("/sessions/active?company_id=0&portal=X", {"company_id", "portal"}),
    ):  # fmt: skip
        answer = get("/api/v1/app" + path).expect(422, "validation_failed")
        assert set(answer.json["errors"]) == fields, (path, answer)
    for deadline in ("99", "150001", "x", "", "1e3"):
        answer = broker.api.list("s", headers={"X-Deadline-Ms": deadline}).expect(422)
        assert list(answer.json["errors"]) == ["X-Deadline-Ms"]
    assert not dispatcher.saw("BUZON_LIST", "BUZON_DOWNLOAD", "SESSION_ACTIVE")


def test_paths_that_cannot_be(broker, dispatcher):
    for path in ("a%2fb", "a%20b", "%ff", "x" * 101, "a%5cb", "%2e%2e%2f"):
        broker.api.session(path).expect(404, "session_not_found")
        broker.api.close(path).expect(404, "session_not_found")
    for path in ("abc", "0", "-1", "99999999999999999999", "ABCDEF-", "abcdef-1", "1%00"[:1] + "x"):
        broker.api.job(path).expect(404, "job_not_found")
    dispatcher.on["JOB_GET"] = says(b'{"ok":true,"job":{}}')
    broker.api.job("12").expect(200)
    broker.api.job("ABCDEFGHIJKL-1700000000").expect(200)
    first, second = (request for _, request, _ in dispatcher.saw("JOB_GET"))
    assert first["job_id"] == 12 and second["job_uid"] == "ABCDEFGHIJKL-1700000000"
    dispatcher.on["SESSION_GET"] = says()
    broker.api.session("a%41%7E").expect(200)
    assert dispatcher.saw("SESSION_GET")[0][1]["session_id"] == "aA~"


def test_large_bodies_get_their_answer(make_broker, make_dispatcher):
    alone = make_broker({"limit.json_body_bytes": 4096})
    make_dispatcher(alone)
    headers = {"Content-Type": "application/json"}
    for size in (4097, 100_000, 4_000_000):
        alone.api.request("POST", EXECUTE, body=b"x" * size, headers=headers).expect(413, "payload_too_large")
        alone.api.request("POST", EXECUTE, body=iter([b"x" * size]), headers=headers).expect(413, "payload_too_large")  # chunked
        Client(alone.url).request("POST", EXECUTE, body=b"x" * size, headers=headers).expect(401)
        alone.api.request("GET", "/api/v1/app/sessions/x", body=b"x" * size).expect(413)
    head = f"POST {EXECUTE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Type: application/json\r\n"
    for more in ("Content-Length: 999999999999\r\n", "Content-Length: 5000\r\nExpect: 100-continue\r\n"):
        got = raw(alone.url, (head + more + "\r\n").encode())
        assert got.startswith(b"HTTP/1.1 413 ") and b"100 Continue" not in got
    before = alone.rss_kib()
    for _ in range(20):
        Client(alone.url).request("POST", EXECUTE, body=b"x" * 4_000_000, headers=headers).expect(401)
    assert alone.rss_kib() - before < 4096


def test_expect_100_continue(broker, dispatcher):
    dispatcher.on["EXECUTE_LOGIN"] = says(b'{"ok":true}')
    body = json.dumps(LOGIN).encode()
    head = f"POST {EXECUTE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Type: application/json\r\n"
    with connect(broker.url) as wire:
        wire.sendall(f"{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert wire.recv(100).startswith(b"HTTP/1.1 100 ")
        wire.sendall(body)
        assert wire.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_log_in_carries_its_fields(broker, dispatcher):
    dispatcher.on["EXECUTE_LOGIN"] = says(b'{"ok":true,"job_id":3}')
    broker.api.post(EXECUTE, {**LOGIN, "priority": 9, "force_new": True, "remember": True, "x": [1]}).expect(200)
    broker.api.post(EXECUTE, {**LOGIN, "params": {"clave": "ñ\u20ac\n"}}).expect(200)
    (_, first, params), (_, second, other) = dispatcher.saw("EXECUTE_LOGIN")
    assert json.loads(params) == LOGIN["params"] and json.loads(other) == {"clave": "ñ\u20ac\n"}
    assert (first["company_id"], first["portal"], first["action"], first["priority"]) == (7, "sunat", LOGIN["action"], 9)
    assert first["force_new"] and first["remember"] and second["priority"] == 5 and "remember" not in second
    assert re.fullmatch(r"[A-Z0-9]{12}-\d{10}", first["job_uid"]) and first["job_uid"] != second["job_uid"]
    assert 120_000 < first["deadline_ms"] <= 121_000  # the action's limit and a second
    dispatcher.on["EXECUTE_ACTION"] = says()
    broker.api.post(EXECUTE, ECHO).expect(200)
    _, action, payload = dispatcher.saw("EXECUTE_ACTION")[0]
    assert action["session_id"] == "s-1" and action["job_uid"] and 5000 < action["deadline_ms"] <= 6000 and payload == b""


# --- answers of dispatchers --------------------------------------------------------------------------------------


def test_errors_are_merged(broker, dispatcher):
    extra = {"state": "expired", "since": "2026-01-01T00:00:00Z", "reason": "idle", "successor_session_id": None,
             "ok": True, "error": "x", "request_id": "forged"}  # fmt: skip
    dispatcher.on["BUZON_LIST"] = fails("session_expired", json.dumps(extra).encode(), "It idled out.")
    answer = broker.api.list("s", headers={"X-Request-Id": "r1"}).expect(410, "session_expired")
    assert answer.json == {**extra, "ok": False, "error": "session_expired", "message": "It idled out.", "request_id": "r1"}
    dispatcher.on["BUZON_LIST"] = fails("no_free_worker")
    answer = broker.api.list("s").expect(503, "no_free_worker")
    assert answer.headers["Retry-After"] == "5" and answer.json["message"] == "No robot has a free place."
    dispatcher.on["BUZON_LIST"] = says(b'{"robot":"said so"}', status=418)
    assert broker.api.list("s").expect(418).json == {"robot": "said so"}
    dispatcher.on["BUZON_LIST"] = says(b"<x/>", content_type="text/xml")
    assert broker.api.list("s").expect(200).headers["Content-Type"] == "text/xml"
    dispatcher.on["BUZON_LIST"] = says(b"")
    assert broker.api.list("s").expect(200).body == b""


def test_answers_without_sense(broker, dispatcher):
    for script in (
        fails("no_such_code"), fails("ok"), fails("robot_error", b"[1]"), fails("robot_error", b"{"), says(status=0), says(status=101),
    ):  # fmt: skip
        dispatcher.on["BUZON_LIST"] = script
        broker.api.list("s").expect(503, "no_dispatcher")
    assert broker.stat("replies_refused_total") == 6
    dispatcher.on["BUZON_LIST"] = says(b"x", content_type="text/x\r\nSet-Cookie: a=b", session_id="a\r\nb")
    answer = broker.api.list("s").expect(200)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert "Set-Cookie" not in answer.headers and "X-Session-Id" not in answer.headers


def test_malformed_messages_are_counted_and_harm_nobody(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    bad = [
        [b"\x01"], [b"\x01\x09", b"\x80", b"x" * (512 * 1024 + 1)], [b"\x01\x63", b"\x80"], [b"\x01\x09", b"\xc1"],
        encode("REPLY", id=-1), encode("REPLY", id="x"), encode("REQUEST", id=1), encode("CHUNK", b"x" * (CHUNK + 1), id=1),
    ]  # fmt: skip
    for frames in bad:
        dispatcher.order(dispatcher.socket.send_multipart, frames)
    wait_until(lambda: broker.stat("bus_malformed_total") >= len(bad), 5, "they are counted")
    dispatcher.order(dispatcher.send, "REPLY", id=424242, status=200)
    wait_until(lambda: broker.stat("replies_late_total") >= 1, 5, "an answer to nobody is counted")
    broker.api.list("s").expect(200)


# --- tokens ------------------------------------------------------------------------------------------------------


def test_a_verdict_is_asked_for_once(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    for _ in range(5):
        broker.api.list("s").expect(200)
    Api(broker.url, "1|other").list("s").expect(200)
    asked = [request for _, request, _ in dispatcher.saw("TOKEN_VERIFY")]
    assert len(asked) == 2 and asked[0]["token_id"] == asked[1]["token_id"] == 1
    assert len(asked[0]["secret_hash"]) == 32 and asked[0]["secret_hash"] != asked[1]["secret_hash"]
    assert broker.stat("token_cache_hits_total") >= 4


def test_those_who_come_meanwhile_wait_for_the_same_question(broker, dispatcher):
    verify = dispatcher.on.pop("TOKEN_VERIFY")
    dispatcher.on["BUZON_LIST"] = says()
    late = [Later(broker.api.list, "s") for _ in range(20)] + [Later(broker.api.post, EXECUTE, LOGIN) for _ in range(5)]
    dispatcher.on["EXECUTE_LOGIN"] = says()
    dispatcher.wait_seen("TOKEN_VERIFY")
    wait_until(lambda: broker.stat("http_parked") == 25, 5, "all wait")
    assert len(dispatcher.saw("TOKEN_VERIFY")) == 1 and not dispatcher.saw("EXECUTE_LOGIN")
    dispatcher.order(verify, dispatcher, *dispatcher.held[0])
    assert all(one.answer().status == 200 for one in late)
    assert len(dispatcher.saw("TOKEN_VERIFY")) == 1


def test_bad_tokens_get_one_answer_and_are_cached(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = by_secret(t1={})
    bodies = set()
    for token in (None, "", "x", "|", "5|", "|x", "5|x", "5|x", "0|x", "-5|x", "05|x", "5 |x", "99999999999999999999|x", "5|" + "x" * 600):
        answer = Api(broker.url, token).list("s").expect(401, "unauthenticated")
        bodies.add(json.dumps({**answer.json, "request_id": ""}))
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert len(bodies) == 1 and len(dispatcher.saw("TOKEN_VERIFY")) == 1
    for scheme in ("Basic 5|x", "Bearer", "Bearer  5|x", "5|x"):
        Client(broker.url, {"Authorization": scheme}).get("/api/v1/app/buzon/list?session_id=s").expect(401)
    dispatcher.on["BUZON_LIST"] = says()
    Client(broker.url, {"Authorization": "bearer 1|x"}).get("/api/v1/app/buzon/list?session_id=s").expect(200)


def test_a_revoked_token_is_asked_for_again(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    broker.api.list("s").expect(200)
    dispatcher.on["TOKEN_VERIFY"] = fails("unauthenticated")
    broker.api.list("s").expect(200)
    dispatcher.order(dispatcher.send, "EVENT", kind="token_revoked", id=1)
    wait_until(lambda: broker.api.list("s").status == 401, 2, "the event is heard")


def test_verdicts_end_within_five_seconds(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = by_secret(t1={}, t2={"expires_at_ms": int(time.time() * 1000) + 1000})
    dispatcher.on["BUZON_LIST"] = says()
    short, lost = Api(broker.url, "2|x"), Api(broker.url, "3|x")
    broker.api.list("s").expect(200)
    short.list("s").expect(200)
    lost.list("s").expect(401)
    dispatcher.on["TOKEN_VERIFY"] = by_secret(t3={})
    began = time.monotonic()
    wait_until(lambda: short.list("s").status == 401, 2, "a token ends with its own expiry")
    wait_until(lambda: broker.api.list("s").status == 401, 5, "a good verdict ends")
    wait_until(lambda: lost.list("s").status == 200, 5, "a bad verdict ends")
    assert time.monotonic() - began < 5


def test_a_busy_token_never_waits(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    verify = dispatcher.on["TOKEN_VERIFY"]
    dispatcher.on["TOKEN_VERIFY"] = lambda me, header, payload: (time.sleep(0.15), verify(me, header, payload))
    broker.api.list("s").expect(200)
    misses, end = broker.stat("token_cache_misses_total"), time.monotonic() + 5.5
    while time.monotonic() < end:
        broker.api.list("s").expect(200)
    assert broker.stat("token_cache_misses_total") == misses
    assert len(dispatcher.saw("TOKEN_VERIFY")) == 2


def test_unverifiable_is_no_401(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = fails("database_unavailable")
    answer = broker.api.list("s").expect(503, "database_unavailable")
    assert answer.headers["Retry-After"]
    dispatcher.on["TOKEN_VERIFY"] = says(b"nonsense")
    broker.api.list("s").expect(503, "no_dispatcher")
    dispatcher.on["TOKEN_VERIFY"] = says(token_body(2))
    broker.api.list("s").expect(503, "no_dispatcher")
    del dispatcher.on["TOKEN_VERIFY"]
    broker.api.list("s", headers={"X-Deadline-Ms": "300"}).expect(504, "deadline_exceeded")
    dispatcher.close()
    wait_until(lambda: not broker.ready(), 5, "it is noticed")
    assert broker.api.list("s").status == 503
    assert not dispatcher.saw("BUZON_LIST")


def test_abilities(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = by_secret(
        t1={"abilities": ["app"]}, t2={"abilities": ["ops:read"]}, t3={"abilities": ["ops"]}, t4={"abilities": ["ops"], "companies": [1]}, t5={"abilities": []},
    )  # fmt: skip
    dispatcher.on["BUZON_LIST"] = dispatcher.on["OPS_WORKER_WANT"] = says()
    app = [Api(broker.url, f"{n}|x").list("s").status for n in range(1, 6)]
    read = [Api(broker.ops_url, f"{n}|x").get("/api/v1/ops/stats").status for n in range(1, 6)]
    write = [Api(broker.ops_url, f"{n}|x").post("/api/v1/ops/workers/r1/drain", {}).status for n in range(1, 6)]
    assert (app, read, write) == ([200, 403, 403, 403, 403], [403, 200, 200, 403, 403], [403, 403, 200, 403, 403])


def test_rate_limits(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = token_says(rate=4)
    for op in ("BUZON_LIST", "JOB_GET", "SESSION_GET", "EXECUTE_ACTION", "EXECUTE_LOGIN"):
        dispatcher.on[op] = says()
    left = []
    for call in (lambda: broker.api.list("s"), lambda: broker.api.session("s"), lambda: broker.api.job(1), lambda: broker.api.post(EXECUTE, ECHO),
                 lambda: broker.api.post(EXECUTE, LOGIN), lambda: broker.api.list("s")):  # fmt: skip
        answer = call().expect(200)
        assert answer.headers["X-RateLimit-Limit"] == "4"
        left.append(int(answer.headers["X-RateLimit-Remaining"]))
    assert left == [3, 2, 2, 1, 1, 0]
    for answer in (broker.api.list("s"), broker.api.close("s"), broker.api.post(EXECUTE, ECHO), broker.api.active(1)):
        answer.expect(429, "rate_limited")
        wait_s, reset = int(answer.headers["Retry-After"]), int(answer.headers["X-RateLimit-Reset"])
        assert 50 <= wait_s <= 60 and abs(reset - time.time() - wait_s) < 2 and answer.headers["X-RateLimit-Remaining"] == "0"
    broker.api.job(1).expect(200)
    broker.api.post(EXECUTE, LOGIN).expect(200)
    assert broker.stat("rate_limited_total") == 4


# --- lanes, credit, deadlines ------------------------------------------------------------------------------------


def limited(me, window):
    """Its window from now on, in its own thread."""
    me.window = window
    me.incarnation += 1
    me.finished = [0, 0, 0, 0]
    me.ping()


def test_credit_is_never_exceeded(broker, dispatcher):
    broker.api.session("x" * 101).expect(404)  # the token is known
    dispatcher.order(limited, dispatcher, 3)
    late = [Later(broker.api.list, f"s{n}") for n in range(10)]
    dispatcher.wait_seen("BUZON_LIST", 3)
    wait_until(lambda: broker.stat("queue_depth_interactive") == 7, 5, "the others wait")
    stays(lambda: len(dispatcher.saw("BUZON_LIST")) == 3, 0.5)
    dispatcher.on["SESSION_GET"] = says()
    broker.api.session("s").expect(200)  # another lane goes on
    dispatcher.on["BUZON_LIST"] = says()
    for header, payload in list(dispatcher.held):
        dispatcher.order(dispatcher.on["BUZON_LIST"], dispatcher, header, payload)
    dispatcher.order(dispatcher.ping)
    assert [one.answer().status for one in late] == [200] * 10
    assert broker.stat("flights") == 0 and broker.stat("queue_depth_interactive") == 0


def test_no_company_starves_another(broker, dispatcher):
    broker.api.session("x" * 101).expect(404)
    dispatcher.order(limited, dispatcher, 1)
    crowd = [Later(broker.api.execute, 1) for _ in range(30)]
    wait_until(lambda: broker.stat("queue_depth_login") == 29, 5, "one is taken, the others wait")
    few = [Later(broker.api.execute, company) for company in (2, 3)]
    wait_until(lambda: broker.stat("queue_depth_login") == 31, 5)
    dispatcher.on["EXECUTE_LOGIN"] = says()
    dispatcher.order(dispatcher.on["EXECUTE_LOGIN"], dispatcher, *dispatcher.held[0])
    dispatcher.order(dispatcher.ping)
    assert all(one.answer().status == 200 for one in crowd + few)
    order = [request["company_id"] for _, request, _ in dispatcher.saw("EXECUTE_LOGIN")]
    assert max(order.index(2), order.index(3)) < 12, order


def test_a_full_lane_refuses(make_broker, make_dispatcher):
    alone = make_broker({"queue.max_depth": 5})
    asked = make_dispatcher(alone)
    asked.on["JOB_GET"] = says()
    alone.api.job(1).expect(200)
    asked.order(limited, asked, 0)
    late = [Later(alone.api.list, "s", headers={"X-Deadline-Ms": "1500"}) for _ in range(5)]
    wait_until(lambda: alone.stat("queue_depth_interactive") == 5, 5)
    answer = alone.api.list("s").expect(503, "queue_full")
    assert answer.headers["Retry-After"] == "1" and alone.stat("queue_full_total") == 1
    assert all(one.answer().expect(504, "deadline_exceeded") for one in late)
    assert alone.stat("queue_depth_interactive") == 0 and not asked.saw("BUZON_LIST")
    lanes = alone.ops.get("/api/v1/ops/stats")
    assert lanes.status in (200, 504)


def test_what_waited_too_long_is_never_sent(broker, dispatcher):
    broker.api.session("x" * 101).expect(404)
    dispatcher.order(limited, dispatcher, 0)
    began = time.monotonic()
    broker.api.list("s", headers={"X-Deadline-Ms": "300"}).expect(504, "deadline_exceeded")
    assert 0.25 < time.monotonic() - began < 1
    dispatcher.order(limited, dispatcher, 8)
    stays(lambda: not dispatcher.saw("BUZON_LIST"), 0.3)
    assert broker.stat("deadline_exceeded_total") == 1


def test_deadlines_at_a_dispatcher(broker, dispatcher):
    began = time.monotonic()
    broker.api.list("s", headers={"X-Deadline-Ms": "400"}).expect(504, "deadline_exceeded")
    assert 0.35 < time.monotonic() - began < 1
    cancelled = dispatcher.wait_seen("CANCEL")[1]["id"]
    assert cancelled == dispatcher.saw("BUZON_LIST")[0][1]["id"]
    dispatcher.order(dispatcher.reply, dispatcher.held[0][0], b"{}")
    wait_until(lambda: broker.stat("replies_late_total") == 1, 5, "the late answer is counted")
    late = Later(broker.api.execute, 7, headers={"X-Deadline-Ms": "700"})
    _, request, _ = dispatcher.wait_seen("EXECUTE_LOGIN")
    dispatcher.order(dispatcher.send, "ACCEPTED", id=request["id"], job_id=55)
    answer = late.answer().expect(504, "deadline_exceeded")
    assert answer.json["job_id"] == 55 and answer.json["job_uid"] == request["job_uid"]
    assert len(dispatcher.saw("CANCEL")) == 1  # a log-in goes on


def test_a_client_that_goes_away(broker, dispatcher):
    def ask_and_go(data):
        with connect(broker.url) as wire:
            wire.sendall(data)
            wait_until(lambda: broker.stat("flights") == 1, 5, "it is worked on")

    head = f"Host: x\r\nAuthorization: Bearer {SECRET}\r\n"
    ask_and_go(f"GET /api/v1/app/buzon/list?session_id=s HTTP/1.1\r\n{head}\r\n".encode())
    assert dispatcher.wait_seen("CANCEL")[1]["id"] == dispatcher.saw("BUZON_LIST")[0][1]["id"]
    wait_until(lambda: broker.stat("flights") == 0, 5)
    body = json.dumps(LOGIN)
    ask_and_go(f"POST {EXECUTE} HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    wait_until(lambda: broker.stat("flights") == 0, 5)
    assert len(dispatcher.saw("CANCEL")) == 1 and broker.stat("http_gone_total") == 2
    wait_until(lambda: broker.stat("http_parked") == 0, 5)


# --- dispatchers that come, go and die ----------------------------------------------------------------------------


def test_without_a_dispatcher(broker):
    began = time.monotonic()
    answer = broker.api.list("s").expect(503, "no_dispatcher")
    assert answer.headers["Retry-After"] == "1" and time.monotonic() - began < 1
    assert Client(broker.ops_url).get("/readyz").expect(503).json["ok"] is False
    Client(broker.ops_url).get("/healthz").expect(200)
    assert Client(broker.ops_url).get("/").status == 501


def test_it_waits_for_a_dispatcher_that_comes_back(broker, make_dispatcher):
    first = make_dispatcher(broker, name="d1")
    first.on["BUZON_LIST"] = says()
    broker.api.list("s").expect(200)
    first.close()
    late = Later(broker.api.list, "s")
    second = make_dispatcher(broker, name="d1", on={"BUZON_LIST": says(b'{"by":2}')})
    assert late.answer().expect(200).json == {"by": 2}
    second.close()
    began = time.monotonic()
    broker.api.list("s").expect(503, "no_dispatcher")
    assert time.monotonic() - began < 4


@pytest.fixture
def pair(broker, make_dispatcher):
    """Two dispatchers, of which the second gives no credit yet: what is asked for goes to the first."""
    first = make_dispatcher(broker, name="d1")
    second = make_dispatcher(broker, name="d2")
    broker.api.session("x" * 101).expect(404)
    second.order(limited, second, 0)
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
    second.order(limited, second, 8)


@pytest.mark.parametrize("how", ["link", "silence", "reboot", "refused"])
def test_a_list_is_sent_to_a_second_dispatcher(broker, pair, how):
    first, second = pair
    second.on["BUZON_LIST"] = says(b'{"by":2}')
    late = Later(broker.api.list, "s", 4)
    _, before, _ = first.wait_seen("BUZON_LIST")
    died(first, second, how)
    assert late.answer().expect(200).json == {"by": 2}
    _, after, _ = second.saw("BUZON_LIST")[0]
    for name in ("session_id", "page", "request_id", "op", "token_id"):
        assert before[name] == after[name]
    assert after["deadline_ms"] <= before["deadline_ms"] and after["id"] != before["id"]
    assert broker.stat("resends_total") == 1


def test_but_only_once(broker, pair, make_dispatcher):
    first, second = pair
    late = Later(broker.api.list, "s")
    first.wait_seen("BUZON_LIST")
    died(first, second, "link")
    second.wait_seen("BUZON_LIST")
    third = make_dispatcher(broker, name="d3")
    second.close()
    late.answer().expect(503, "no_dispatcher")
    assert not third.saw("BUZON_LIST")


def test_a_log_in_is_awaited_at_another_dispatcher(broker, pair):
    first, second = pair
    second.on["JOB_AWAIT"] = says(b'{"ok":true,"job_id":9,"session_id":"s-9"}')
    late = Later(broker.api.post, EXECUTE, LOGIN)
    _, request, _ = first.wait_seen("EXECUTE_LOGIN")
    died(first, second, "link")
    assert late.answer().expect(200).json["session_id"] == "s-9"
    _, awaited, _ = second.saw("JOB_AWAIT")[0]
    assert awaited["job_uid"] == request["job_uid"] and awaited.get("lane", 0) == 0
    assert not second.saw("EXECUTE_LOGIN")


def test_a_log_in_that_never_was(broker, pair):
    first, second = pair
    second.on["JOB_AWAIT"] = fails("job_not_found")
    late = Later(broker.api.post, EXECUTE, LOGIN)
    first.wait_seen("EXECUTE_LOGIN")
    died(first, second, "link")
    late.answer().expect(503, "no_dispatcher")


def test_what_may_have_been_done_is_not_repeated(broker, pair):
    first, second = pair
    calls = [Later(broker.api.post, EXECUTE, ECHO), Later(broker.api.close, "s"), Later(broker.ops.post, "/api/v1/ops/workers/r1/drain", {}),
             Later(broker.ops.post, "/api/v1/ops/sessions/s/migrate", {})]  # fmt: skip
    for op in ("EXECUTE_ACTION", "SESSION_CLOSE", "OPS_WORKER_WANT", "OPS_SESSION_MIGRATE"):
        first.wait_seen(op)
    action = first.saw("EXECUTE_ACTION")[0][1]
    first.order(first.send, "ACCEPTED", id=action["id"], job_id=77)
    died(first, second, "link")
    answers = [one.answer().expect(502, "outcome_unknown").json for one in calls]
    assert answers[0]["job_id"] == 77 and answers[0]["job_uid"] == action["job_uid"] and "job_id" not in answers[1]
    assert not [one for one in second.seen if one[0] != "TOKEN_VERIFY"]


def test_a_dispatcher_that_forgot_us_greets_again(broker, dispatcher):
    dispatcher.on["JOB_GET"] = says()
    broker.api.job(1).expect(200)
    late = Later(broker.api.list, "s")
    dispatcher.wait_seen("BUZON_LIST")
    dispatcher.on["BUZON_LIST"] = says(b'{"again":1}')
    dispatcher.order(dispatcher.send, "HELLO", name=dispatcher.name, boot_id=dispatcher.boot_id, capacity=8)
    dispatcher.wait_seen("WELCOME")
    dispatcher.order(limited, dispatcher, 8)
    assert late.answer().expect(200).json == {"again": 1}


def test_a_dispatcher_that_was_silent_is_taken_back(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    broker.api.list("s").expect(200)
    dispatcher.silent = True
    wait_until(lambda: not broker.ready(), 5, "it is given up")
    dispatcher.silent = False
    wait_until(broker.ready, 5, "it is heard again")
    broker.api.list("s").expect(200)


def test_strangers_are_told_to_greet(broker, dispatcher):
    stranger = zmq.Context().socket(zmq.DEALER)
    stranger.linger = 0
    stranger.connect(broker.bind)
    try:
        for frames, reason in (([b"\x02\x01", b"\x80"], b"version"), (encode("PING", seq=1), b"HELLO")):
            stranger.send_multipart(frames)
            assert stranger.poll(5000)
            got = stranger.recv_multipart()
            assert got[0] == b"\x01\x10" and reason in got[1]
    finally:
        stranger.context.destroy(linger=0)
    assert broker.ready()


def test_a_dispatcher_with_a_database_is_preferred(broker, pair):
    first, second = pair
    first.order(limited, first, 100)
    first.database_ok = False
    second.order(limited, second, 8)
    first.order(first.ping)
    second.on["BUZON_LIST"] = says()

    def told():
        rows = broker.ops.get("/api/v1/ops/dispatchers").json["dispatchers"]
        return {row["name"]: row["database_ok"] for row in rows} == {"d1": False, "d2": True}

    wait_until(told, 5)
    for _ in range(5):
        broker.api.list("s").expect(200)
    assert len(second.saw("BUZON_LIST")) == 5


def test_the_most_free_credit_is_used(broker, pair):
    first, second = pair
    first.order(limited, first, 4)
    second.order(limited, second, 8)
    wait_until(lambda: second_credit(broker) == 8, 5)
    late = [Later(broker.api.list, f"s{n}") for n in range(8)]
    wait_until(lambda: len(first.saw("BUZON_LIST") + second.saw("BUZON_LIST")) == 8, 5)
    assert len(first.saw("BUZON_LIST")) == 2 and len(second.saw("BUZON_LIST")) == 6
    for one in (first, second):
        for header, _ in list(one.held):
            one.order(one.reply, header, b"{}")
    assert all(one.answer().status == 200 for one in late)


def test_bye_drains_a_dispatcher(broker, pair):
    first, second = pair
    late = Later(broker.api.list, "s")
    header = first.wait_seen("BUZON_LIST")[1]
    first.draining = True
    first.order(first.send, "BYE", reason="stopping")
    second.order(limited, second, 8)
    second.on["BUZON_LIST"] = says()
    for _ in range(3):
        broker.api.list("s").expect(200)
    assert len(first.saw("BUZON_LIST")) == 1
    first.order(first.reply, header, b'{"by":1}')
    assert late.answer().expect(200).json == {"by": 1}


def test_wakes_are_passed_on(broker, pair):
    first, second = pair
    first.order(first.send, "WAKE", what="place")
    assert second.wait_seen("WAKE")[1] == {"what": "place"}
    assert not first.saw("WAKE")


def test_a_stalled_broker_blames_nobody(broker, dispatcher):
    late = Later(broker.api.post, EXECUTE, ECHO)
    header = dispatcher.wait_seen("EXECUTE_ACTION")[1]
    broker.pause()
    stays(lambda: True, 3)
    broker.resume()
    dispatcher.order(dispatcher.reply, header, b'{"ok":true}')
    late.answer().expect(200)


# --- streams -----------------------------------------------------------------------------------------------------


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
        assert len(sent) * CHUNK < 8 << 20 and broker.rss_kib() - before < 8192
        stuck, taken = len(sent), 0
        while taken < 16 << 20:
            taken += len(wire.recv(1 << 20))
            dispatcher.order(more, dispatcher)
        assert len(sent) > stuck and broker.rss_kib() - before < 8192
        dispatcher.on["BUZON_LIST"] = says()
        broker.api.list("s").expect(200)
    assert dispatcher.wait_seen("CANCEL")[1]["id"] == dispatcher.stream["id"]
    wait_until(lambda: broker.stat("streams_active") == 0, 5)


def test_a_flood_beyond_the_credit_is_cut(broker, dispatcher):
    def flood(me, header, _):
        head(me, header, has_length=True, length=1 << 40)
        for seq in range(200):
            chunk(me, header, seq, b"z" * CHUNK)

    dispatcher.on["BUZON_DOWNLOAD"] = flood
    answer = broker.api.open_download("s", "t")
    wait_until(lambda: broker.stat("streams_active") == 0, 10, "it is cut")
    assert broker.rss_kib() < 100_000
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
    assert 1.5 < time.monotonic() - began < 5 and alone.stat("streams_silent_total") == 1
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


# --- operators ---------------------------------------------------------------------------------------------------


def test_operators_calls_reach_a_dispatcher(broker, dispatcher):
    ops = "/api/v1/ops"
    for op in ("OPS_SESSIONS", "OPS_WORKERS", "OPS_WORKER_WANT", "OPS_SESSION_CLOSE", "OPS_DOCTOR"):
        dispatcher.on[op] = says(b'{"ok":true}')
    dispatcher.on["OPS_SESSION_MIGRATE"] = says(b'{"ok":true}', status=202)
    broker.ops.get(ops + "/workers").expect(200)
    broker.ops.get(ops + "/doctor").expect(200)
    broker.ops.get(ops + "/sessions?state=active&company_id=4&worker=r-1&cursor=9&limit=10").expect(200)
    asked = dispatcher.saw("OPS_SESSIONS")[0][1]
    assert [asked[name] for name in ("state", "company_id", "worker", "cursor", "limit")] == ["active", 4, "r-1", 9, 10]
    broker.ops.post(ops + "/workers/r%2D1/drain", {"reason": "mantenimiento"}).expect(200)
    broker.ops.request("POST", ops + "/workers/r1/resume").expect(200)
    (_, drain, _), (_, resume, _) = dispatcher.saw("OPS_WORKER_WANT")
    assert (drain["worker"], drain["state"], drain["reason"]) == ("r-1", "draining", "mantenimiento")
    assert (resume["worker"], resume["state"]) == ("r1", "active") and "reason" not in resume
    broker.ops.post(ops + "/sessions/s-1/close", {}).expect(200)
    broker.ops.post(ops + "/sessions/s-1/migrate", {}).expect(202)
    broker.ops.post(ops + "/sessions/a%2fb/close", {}).expect(404, "session_not_found")
    broker.ops.post(ops + "/workers/a%20b/drain", {}).expect(404, "not_found")
    broker.ops.post(ops + "/workers/r1/drain", {"reason": 5}).expect(422)
    broker.ops.request("POST", ops + "/workers/r1/drain", body=b"{}").expect(415)
    broker.ops.get(ops + "/sessions?limit=0&state=x").expect(422)


def test_stats_and_dispatchers(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    broker.api.list("s").expect(200)
    told = broker.ops.get("/api/v1/ops/stats").expect(200).json
    assert told["ok"] and told["lanes"]["interactive"]["dispatched"] == 1 and told["lanes"]["control"]["depth"] == 0
    assert set(told["lanes"]) == {"control", "interactive", "login", "batch"} and told["uptime_s"] >= 0
    row = broker.ops.get("/api/v1/ops/dispatchers").expect(200).json["dispatchers"][0]
    assert row["name"] == "d1" and row["boot_id"] == dispatcher.boot_id and row["database_ok"] and not row["draining"]
    assert row["credit"]["interactive"] == 8 and row["in_flight"] == 0 and row["last_seen_ms"] < 2000


def test_metrics(broker, dispatcher):
    dispatcher.order(dispatcher.send, "PING", seq=1, incarnation=dispatcher.incarnation, limits=[8] * 4, database_ok=True, stats={"requests_total": 41, "none": 1})

    def told():
        got = Client(broker.ops_url).get("/metrics").body.decode()
        return got if "} 41" in got else None

    text = wait_until(told, 5)
    assert 'chasqui_requests_total{process="dispatcher",name="d1"} 41' in text
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    assert Client(broker.ops_url).get("/metrics").headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for name in ("http_requests_total", "http_2xx_total", "dispatched_control_total", "flights", "dispatchers"):
        assert f"chasqui_{name}{{" in text


# --- the end -----------------------------------------------------------------------------------------------------


def test_a_stop_signal_drains(broker, dispatcher):
    dispatcher.on["JOB_GET"] = says()
    idle = connect(broker.url)
    broker.api.job(1).expect(200)
    late = Later(broker.api.list, "s")
    header = dispatcher.wait_seen("BUZON_LIST")[1]
    broker.told_to_end = True
    broker.popen.terminate()
    dispatcher.wait_seen("BYE")
    with pytest.raises(OSError):
        connect(broker.url)
    assert broker.alive()
    dispatcher.order(dispatcher.reply, header, b'{"last":1}')
    answer = late.answer()
    assert answer.expect(200).json == {"last": 1} and answer.headers["Connection"] == "close"
    assert broker.popen.wait(5) == 0
    idle.close()


def test_a_stop_signal_does_not_wait_for_ever(broker, dispatcher):
    late = Later(broker.api.list, "s")
    dispatcher.wait_seen("BUZON_LIST")
    began = time.monotonic()
    assert broker.stop(20) == 0
    assert 9 < time.monotonic() - began < 15
    with pytest.raises((OSError, http.client.HTTPException)):
        late.answer()


def test_many_at_once(broker, make_dispatcher):
    for name in ("d1", "d2"):
        make_dispatcher(broker, name=name).on["BUZON_LIST"] = says(b'{"ok":true}')
    wrong = []

    def client(number):
        for n in range(40):
            answer = broker.api.list(f"s{number}", n + 1, headers={"X-Request-Id": f"{number}.{n}"})
            if answer.status != 200 or answer.headers["X-Request-Id"] != f"{number}.{n}":
                wrong.append(answer)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert broker.stat("flights") == 0 and broker.stat("http_5xx_total") == 0
