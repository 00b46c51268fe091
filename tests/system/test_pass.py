# SPDX-License-Identifier: MIT
"""Requests that go on to the robot of a session as they are: robot.pass, and all that must not get through."""

import pytest

from harness import content
from harness.http import Api, Client
from harness.wait import wait_until

ROBOT = "/api/v1/app/robot/"
SETTINGS = {"robot.pass": "/sunat/other, /sunat/login, /sessions", "limit.json_body_bytes": 200_000}


@pytest.fixture
def passing(make_system):
    return make_system(settings=SETTINGS)


def ask(system, method, path, session, query=None, **more):
    return system.api.request(method, ROBOT + path, query={"session_id": session, **(query or {})}, **more)


def test_method_query_and_body_arrive_and_no_more(passing):
    system = passing
    session = system.api.login(1)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        body = None if method == "GET" else b"\x01not JSON"
        sent = {"Content-Type": "application/x-own", "Accept": "text/plain", "Accept-Language": "es-PE", "Cookie": "a=secret",
                "Connection": "keep-alive, X-Hop", "X-Hop": "1", "TE": "trailers", "Proxy-Authorization": "Basic eDp5", "X-Request-Id": "pass-1",
                "Idempotency-Key": "k1"}  # fmt: skip
        path = "sunat/other/a%20b/%C3%B1?x=1&y=%26&session_id=" + session + "&z"
        answer = system.api.request(method, ROBOT + path, headers=sent, body=body).expect(200)
        told = answer.json
        assert told["method"] == method and told["target"] == f"/sunat/other/a%20b/%C3%B1?session_id={session}&x=1&y=%26&z"
        assert told["body"] == (body.decode() if body else None)
        heads = {name.lower(): value for name, value in told["headers"].items()}
        assert heads["accept"] == "text/plain" and heads["accept-language"] == "es-PE"
        assert heads["x-request-id"] == "pass-1" and heads["idempotency-key"] == "k1"
        assert not {"cookie", "authorization", "proxy-authorization", "x-hop", "te", "connection"} & set(heads)
        if body:
            assert heads["content-type"] == "application/x-own"
        gone = {name.lower() for name in answer.headers}
        assert not {"set-cookie", "x-odd"} & gone and answer.headers["X-Content-Type-Options"] == "nosniff"
    told = ask(system, "POST", "sunat/other/form", session).expect(200).json
    assert "Content-Type" not in told["headers"], "none was said"
    head = ask(system, "HEAD", "sunat/other/x", session)
    assert head.status == 200 and not head.body


def test_what_the_robot_says_comes_back(passing):
    system = passing
    session = system.api.login(1)
    assert ask(system, "GET", "sunat/other/x", session, {"status": 418}).expect(418).json["method"] == "GET"
    assert ask(system, "GET", "sunat/other/x", session, {"status": 404}).status == 404
    assert ask(system, "DELETE", "sunat/other/x", session, {"status": 204}).expect(204).body == b""
    told = ask(system, "GET", "sunat/other/x", session, {"status": 503}).expect(502, "robot_error").json
    assert told["robot"]["status"] == 503
    ask(system, "GET", "sunat/other/x", session, {"status": 302}).expect(502, "robot_error")
    system.api.session(session).expect(200)
    file = ask(system, "GET", "sunat/other/x", session, {"bytes": 3_000_000}).expect(200)
    assert file.body == content.whole("other", 3_000_000) and file.headers["Content-Type"] == "application/zip"
    assert file.headers["Content-Length"] == "3000000"
    ask(system, "POST", "sunat/other/x", session, body=b"x" * 200_000).expect(200)
    ask(system, "POST", "sunat/other/x", session, body=b"x" * 200_001).expect(413, "payload_too_large")
    system.robot.behave("other", "hang", seconds=30)
    ask(system, "GET", "sunat/other/x", session, headers={"X-Deadline-Ms": "1500"}).expect(504, "deadline_exceeded")
    system.robot.behave_well()


OTHERS = [
    "sunat/buzon/list", "sunat/otherwise", "sunat", "sunat/other/../buzon/list", "sunat/other/%2e%2e/buzon/list", "sunat/other/..%2fbuzon%2flist",
    "sunat/other/%252e%252e/x", "sunat/other/a%2Fb", "sunat/other/a%5Cb", "sunat/other/..;/x", "sunat/other//x", "/sunat/other/x",
    "http://127.0.0.1:1/sunat/other", "//127.0.0.1:1/x", "sunat/login", "sessions", "health",
]  # fmt: skip


def test_other_paths_are_not_found(passing):
    system, session = passing, passing.api.login(1)
    before = len(system.robot.calls())
    for path in OTHERS:
        ask(system, "GET", path, session).expect(404, "not_found")
        ask(system, "POST", path, session, json_body={"company_id": 1}).expect(404, "not_found")
    assert not [call for call in system.robot.calls()[before:] if call["call"] in ("other", "login", "list", "echo")]


def test_sessions_are_their_companys_and_named_once(passing):
    system = passing
    session, theirs = system.api.login(1), system.api.login(2)
    mine = Api(system.api_url(), system.make_token(1, "app"))
    mine.get(f"{ROBOT}sunat/other/x?session_id={session}").expect(200)
    foreign = mine.get(f"{ROBOT}sunat/other/x?session_id={theirs}").expect(404, "session_not_found")
    none = mine.get(f"{ROBOT}sunat/other/x?session_id=nobody").expect(404, "session_not_found")
    assert {**foreign.json, "request_id": ""} == {**none.json, "request_id": ""}
    mine.get(f"{ROBOT}sunat/other/x").expect(422, "validation_failed")
    for query in (f"session_id={session}&session_id={theirs}", f"session_id={session}&session%5Fid={theirs}", f"session_id={session}&SESSION_ID={theirs}",
                  f"session_id={session}&session.id={theirs}", f"session_id={session}&session_id[]={theirs}", f"session_id={session}&a=1;session_id={theirs}",
                  f"session_id={session}&a={'x' * 8200}"):  # fmt: skip
        mine.get(f"{ROBOT}sunat/other/x?{query}").expect(422, "validation_failed")
    assert {call["query"]["session_id"] for call in system.robot.calls("other")} == {session}
    # it is a use: a session that is closed is gone here too
    system.api.close(session).expect(200)
    mine.get(f"{ROBOT}sunat/other/x?session_id={session}").expect(410, "session_closed")
    told = system.api.request("OPTIONS", f"{ROBOT}sunat/other/x")
    assert told.status == 204 and told.headers["Allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    system.api.request("TRACE", f"{ROBOT}sunat/other/x").expect(405, "method_not_allowed")


def test_a_pass_keeps_a_session_and_without_the_list_it_is_off(make_system):
    system = make_system(settings={"robot.pass": "sunat/other", "session.idle_timeout_s": 4})
    used, idle = system.api.login(1), system.api.login(2)

    def idle_is_gone():
        ask(system, "GET", "sunat/other/x", used).expect(200)
        return system.api.session(idle).status == 410

    wait_until(idle_is_gone, 30)
    ask(system, "GET", "sunat/other/x", used).expect(200)


def test_off_by_default(system):
    session = system.api.login(1)
    ask(system, "GET", "sunat/other/x", session).expect(404, "not_found")
    assert not system.robot.calls("other")
    Client(system.api_url()).get("/api/v1/app/robot/sunat/other?session_id=x").expect(401, "unauthenticated")
