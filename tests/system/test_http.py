# SPDX-License-Identifier: MIT
"""The broker's HTTP, in and out, with dispatchers by script: every check in its order, bodies, answers, operators, the end."""

import datetime
import http.client
import json
import re
import threading
import time

import pytest

from broker_alone import (  # noqa: F401
    CHUNK, ECHO, EXECUTE, LOGIN, SECRET, Later, broker, by_secret, dispatcher, fails, make_broker, make_dispatcher, says, token_says,
)  # fmt: skip
from harness.http import Api, Client, connect, raw
from harness.wait import wait_until
from harness.wire import encode
from test_doors_stop import refused

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


# --- in and out --------------------------------------------------------------------------------------------------


def test_a_list_goes_in_and_out(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says(b'{"items":[]}', session_id="s-2")
    answer = broker.api.list("s-1", 3, headers={"X-Request-Id": "abc.1", "traceparent": TRACE, "X-Deadline-Ms": "9000"})
    answer.expect(200)
    assert answer.json == {"items": []}
    _, request, payload = dispatcher.saw("BUZON_LIST")[0]
    assert (request["session_id"], request["page"], request["request_id"]) == ("s-1", 3, "abc.1")
    assert request["traceparent"] == TRACE and 5000 < request["deadline_ms"] <= 9000
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


# --- the order of checks -----------------------------------------------------------------------------------------


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
    assert answer.headers["Allow"] == "POST, OPTIONS"
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
        ("HEAD", EXECUTE, 405), ("OPTIONS", "/nothing", 404), ("options", "/api/v1/app/buzon/list", 405), ("POST", "/api/v1/app/buzon/list", 405),
        ("PUT", "/api/v1/app/sessions/x", 405), ("GET", EXECUTE, 405), ("TRACE", EXECUTE, 405), ("GET", "/", 404), ("GET", "/healthz", 404),
        ("GET", "/api/v1/app/buzon/list/", 404), ("GET", "/api/v1/app/../app/buzon/list", 404), ("GET", "/api/v1/ops/stats", 404),
    ):  # fmt: skip
        answer = api.request(method, path)
        assert answer.status == status, (method, path, answer)
        assert status != 405 or answer.headers["Allow"]


def test_jobs_and_batches_reach_a_dispatcher(broker, dispatcher):
    app = "/api/v1/app"
    for op in ("JOBS", "BATCH_GET", "BATCH_ITEMS", "BATCH_CANCEL"):
        dispatcher.on[op] = says(b'{"ok":true}')
    dispatcher.on["JOB_CANCEL"] = says(b'{"ok":true,"status":"running"}', status=202)
    for method, path in (("GET", "/jobs"), ("DELETE", "/jobs/12"), ("POST", "/batches"), ("GET", "/batches/1"), ("DELETE", "/batches/1"),
                         ("GET", "/batches/1/events"), ("GET", "/batches/1/items")):  # fmt: skip
        Client(broker.url).request(method, app + path).expect(401, "unauthenticated")
    broker.api.get(app + "/jobs?status=failed&portal=sunat&company_id=7&batch_id=8&cursor=9&limit=10").expect(200)
    broker.api.get(app + "/jobs").expect(200)
    (_, first, _), (_, second, _) = dispatcher.saw("JOBS")
    assert [first[name] for name in ("state", "portal", "company_id", "batch_id", "cursor", "limit")] == ["failed", "sunat", 7, 8, 9, 10]
    assert second["limit"] == 50 and not {"state", "portal", "company_id", "batch_id"} & set(second)
    broker.api.delete(app + "/jobs/12").expect(202)
    broker.api.delete(app + "/jobs/ABCDEFGHIJKL-1700000000").expect(202)
    broker.api.delete(app + "/jobs/x").expect(404, "job_not_found")
    (_, first, _), (_, second, _) = dispatcher.saw("JOB_CANCEL")
    assert first["job_id"] == 12 and second["job_uid"] == "ABCDEFGHIJKL-1700000000"
    broker.api.get(app + "/batches/31").expect(200)
    broker.api.delete(app + "/batches/32").expect(200)
    broker.api.get(app + "/batches/33/items?status=queued&cursor=0&limit=200").expect(200)
    items = dispatcher.saw("BATCH_ITEMS")[0][1]
    assert (dispatcher.saw("BATCH_GET")[0][1]["batch_id"], dispatcher.saw("BATCH_CANCEL")[0][1]["batch_id"]) == (31, 32)
    assert (items["batch_id"], items["state"], items.get("cursor", 0), items["limit"]) == (33, "queued", 0, 200)
    for path in ("abc", "0", "-1", "99999999999999999999", "1%2f2"):
        for method, more in (("GET", ""), ("DELETE", ""), ("GET", "/items"), ("GET", "/events")):
            broker.api.request(method, f"{app}/batches/{path}{more}").expect(404, "batch_not_found")
    for query, fields in (("/jobs?status=open&limit=201&cursor=x", {"status", "limit", "cursor"}), ("/jobs?portal=X&batch_id=0", {"portal", "batch_id"}),
                          ("/batches/1/items?status=open&limit=0", {"status", "limit"})):  # fmt: skip
        assert set(broker.api.get(app + query).expect(422).json["errors"]) == fields


def test_the_company_of_a_list_of_jobs(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = token_says(companies=[3, 5])
    dispatcher.on["JOBS"] = says(b'{"ok":true}')
    broker.api.get("/api/v1/app/jobs?company_id=4").expect(403, "company_forbidden")
    broker.api.get("/api/v1/app/jobs?company_id=5").expect(200)
    broker.api.get("/api/v1/app/jobs").expect(200)
    assert [asked[1]["companies"] for asked in dispatcher.saw("JOBS")] == [[3, 5], [3, 5]]


# --- bodies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b'"x"', b"null", b"7", b'{"a":1,"a":2}', b'{"a":1}x', b'{"a":01}', b'{"a":"\xff"}', b"\xef\xbb\xbf", b"\xfe\xff\x00{\x00}", b"{'a':1}",
    b'{"a":' * 33 + b"1" + b"}" * 33, b"[" * 100, b'{"a":NaN}', b'{"a":"\x00"}', b"{\x00}", b"\x00" * 10,
])  # fmt: skip
def test_bodies_that_are_no_json_object(broker, dispatcher, body):
    answer = broker.api.request("POST", EXECUTE, body=body, headers={"Content-Type": "application/json"})
    answer.expect(400, "bad_request")
    assert "\x00" not in answer.json["message"]


def test_bodies_with_wrong_fields(broker, dispatcher):
    for change, field in (
        ({"company_id": "7 "}, "company_id"), ({"company_id": "0"}, "company_id"), ({"company_id": "9" * 19}, "company_id"), ({"company_id": 0}, "company_id"), ({"company_id": 7.5}, "company_id"), ({"company_id": True}, "company_id"),
        ({"portal": "SUNAT"}, "portal"), ({"portal": "afip"}, "portal"), ({"action": "sunat.nothing"}, "action"), ({"action": 5}, "action"),
        ({"params": [1]}, "params"), ({"params": {"epoch": 1}}, "params.epoch"), ({"params": {"company_id": 1}}, "params.company_id"),
        ({"session_id": "x"}, "session_id"), ({"priority": 10}, "priority"), ({"force_new": "yes"}, "force_new"), ({"remember": 1}, "remember"),
    ):  # fmt: skip
        answer = broker.api.post(EXECUTE, {**LOGIN, **change}).expect(422, "validation_failed")
        assert list(answer.json["errors"]) == [field] and answer.json["errors"][field][0], (change, answer)
    broker.api.post(EXECUTE, {**ECHO, "session_id": None}).expect(422)
    for body, field in ((b'{"company_id":7,"x":"\\u0000"}', "body"), (b'{"company_id":99999999999999999999}', "company_id")):
        answer = broker.api.request("POST", EXECUTE, body=body, headers={"Content-Type": "application/json"})
        assert field in answer.expect(422).json["errors"]
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
    assert alone.grown_kib(before) < 4096


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
    assert 117_000 < first["deadline_ms"] <= 121_000  # the action's limit and a second, less what has passed
    dispatcher.on["EXECUTE_ACTION"] = says()
    broker.api.post(EXECUTE, ECHO).expect(200)
    _, action, payload = dispatcher.saw("EXECUTE_ACTION")[0]
    assert action["session_id"] == "s-1" and action["job_uid"] and 2000 < action["deadline_ms"] <= 6000 and payload == b""


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


def test_operators_jobs_and_queue(broker, dispatcher):
    ops = "/api/v1/ops"
    for method, path in (("GET", "/jobs"), ("GET", "/batches"), ("GET", "/audit"), ("GET", "/events"), ("GET", "/queue"), ("GET", "/jobs/1"),
                         ("GET", "/jobs/1/why"), ("POST", "/jobs/1/retry"), ("POST", "/jobs/1/cancel"), ("POST", "/queue/pause"),
                         ("POST", "/queue/resume")):  # fmt: skip
        Client(broker.ops_url).request(method, ops + path).expect(401)
    for op in ("JOBS", "JOB_GET", "JOB_WHY", "JOB_RETRY", "JOB_CANCEL", "BATCHES", "AUDIT", "QUEUE", "QUEUE_PAUSE", "QUEUE_RESUME"):
        dispatcher.on["OPS_" + op] = says(b'{"ok":true}')
    broker.ops.get(ops + "/jobs?status=queued&portal=sunat&company_id=7&batch_id=8&worker=r-1&search=a%C3%B1o&cursor=9&limit=10").expect(200)
    asked = dispatcher.saw("OPS_JOBS")[0][1]
    names = ("state", "portal", "company_id", "batch_id", "worker", "search", "cursor", "limit")
    assert [asked[name] for name in names] == ["queued", "sunat", 7, 8, "r-1", "año", 9, 10]
    broker.ops.get(ops + "/jobs?search=%FF").expect(422)
    broker.ops.get(ops + "/jobs?search=" + "x" * 101).expect(422)
    broker.ops.get(ops + "/batches?status=open&limit=5").expect(200)
    broker.ops.get(ops + "/audit?search=drain&cursor=4").expect(200)
    broker.ops.get(ops + "/queue").expect(200)
    assert dispatcher.saw("OPS_BATCHES")[0][1]["state"] == "open" and dispatcher.saw("OPS_AUDIT")[0][1]["search"] == "drain"
    broker.ops.get(ops + "/jobs/12").expect(200)
    broker.ops.get(ops + "/jobs/ABCDEFGHIJKL-1700000000/why").expect(200)
    broker.ops.post(ops + "/jobs/12/retry", {"reason": "portal is back"}).expect(200)
    broker.ops.request("POST", ops + "/jobs/12/cancel").expect(200)
    broker.ops.request("POST", ops + "/jobs/x/cancel").expect(404, "job_not_found")
    broker.ops.get(ops + "/jobs/0").expect(404, "job_not_found")
    assert dispatcher.saw("OPS_JOB_GET")[0][1]["job_id"] == 12
    assert dispatcher.saw("OPS_JOB_WHY")[0][1]["job_uid"] == "ABCDEFGHIJKL-1700000000"
    retry, cancel = dispatcher.saw("OPS_JOB_RETRY")[0][1], dispatcher.saw("OPS_JOB_CANCEL")[0][1]
    assert (retry["job_id"], retry["reason"]) == (12, "portal is back") and "reason" not in cancel


def test_operators_pause_the_queue(broker, dispatcher):
    pause, resume = "/api/v1/ops/queue/pause", "/api/v1/ops/queue/resume"
    dispatcher.on["OPS_QUEUE_PAUSE"] = dispatcher.on["OPS_QUEUE_RESUME"] = says(b'{"ok":true,"queue":{}}')
    broker.ops.post(pause, {"reason": "mantenimiento"}).expect(200)
    broker.ops.post(pause, {"reason": "x", "for_s": 60}).expect(200)
    broker.ops.post(pause, {"reason": "x", "expires_s": 60}).expect(200)  # what older clients say
    until = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(hours=2)
    broker.ops.post(pause, {"reason": "x", "until": until.isoformat().replace("+00:00", "Z")}).expect(200)
    forever, minute, again, named = (one[1] for one in dispatcher.saw("OPS_QUEUE_PAUSE"))
    assert forever["reason"] == "mantenimiento" and forever.get("until_ms", 0) == 0
    assert minute["for_ms"] == again["for_ms"] == 60_000 and "until_ms" not in minute and named["until_ms"] == until.timestamp() * 1000
    for body, fields in (
        ({}, {"reason"}), ({"reason": ""}, {"reason"}), ({"reason": 5}, {"reason"}), ({"reason": "x", "expires_s": 0}, {"expires_s"}),
        ({"reason": "x", "for_s": "60"}, {"for_s"}), ({"reason": "x", "until": "soon"}, {"until"}),
        ({"reason": "x", "until": "2020-01-01T00:00:00Z"}, {"until"}), ({"reason": "x", "expires_s": 1, "until": "2099-01-01T00:00:00Z"}, {"until"}),
    ):  # fmt: skip
        assert set(broker.ops.post(pause, body).expect(422).json["errors"]) == fields, body
    broker.ops.request("POST", pause).expect(415)
    broker.ops.post(resume, {"reason": "listo"}).expect(200)
    broker.ops.request("POST", resume).expect(200)
    assert dispatcher.saw("OPS_QUEUE_RESUME")[0][1]["reason"] == "listo"


def test_stats_and_dispatchers(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    broker.api.list("s").expect(200)
    told = broker.ops.get("/api/v1/ops/stats").expect(200).json
    lanes = {row["lane"]: row for row in told["lanes"]}
    assert told["ok"] and lanes["interactive"]["done_total"] == 1 and lanes["control"]["depth"] == 0
    assert list(lanes) == ["control", "interactive", "login", "batch"] and told["broker"]["uptime_s"] >= 0
    row = broker.ops.get("/api/v1/ops/dispatchers").expect(200).json["dispatchers"][0]
    assert row["name"] == "d1" and row["boot_id"] == dispatcher.boot_id and row["database_ok"] and not row["draining"]
    assert row["credit"]["interactive"] == 8 and row["in_flight"] == 0 and row["last_seen_ms"] < 10_000


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
    for name in ("http_requests_total", "http_2xx_total", "lane_done_total", "flights", "dispatchers"):
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
    wait_until(lambda: refused(broker.url), 5, "its door is closed")
    assert broker.alive()
    dispatcher.order(dispatcher.reply, header, b'{"last":1}')
    answer = late.answer()
    assert answer.expect(200).json == {"last": 1} and answer.headers["Connection"] == "close"
    assert broker.popen.wait(20) == 0
    idle.close()


def test_a_stop_signal_does_not_wait_for_ever(make_broker, make_dispatcher):
    alone = make_broker({"broker.deadline_ms": 1500})  # the end is 2 s after it
    asked = make_dispatcher(alone)
    late = Later(alone.api.list, "s", headers={"X-Deadline-Ms": "100000"})
    asked.wait_seen("BUZON_LIST")
    began = time.monotonic()
    assert alone.stop(20) == 0
    assert 3 < time.monotonic() - began < 15
    with pytest.raises((OSError, http.client.HTTPException)):
        late.answer()


def test_many_at_once(broker, make_dispatcher):
    for name in ("d1", "d2"):
        make_dispatcher(broker, name=name).on["BUZON_LIST"] = says(b'{"ok":true}')
    failed_before = broker.stat("http_5xx_total")  # /readyz has said so until a dispatcher was there
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
    wait_until(lambda: broker.stat("flights") == 0, 5)  # the broker's own questions are flights, too
    assert broker.stat("http_5xx_total") == failed_before
