# SPDX-License-Identifier: MIT
"""Variants of what life did to the doors (HTTP as clients, load balancers, PHP and spreadsheets speak it), made up from the contract alone."""

import json
import socket

import pytest

from harness.http import Api, Client, raw
from harness.wait import wait_until

LOGIN = {"ruc": "1", "usuario": "DEMO", "clave": "demo"}


def head(text):
    """(status, {header: value}, body) of one raw answer."""
    top, _, body = text.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    return int(lines[0].split()[1]), {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}, body


def ask(url, target, method="GET", *lines, body=b"", version="1.1"):
    text = "\r\n".join([f"{method} {target} HTTP/{version}", "Host: any.example:99", *lines, "Connection: close", "", ""])
    return head(raw(url, text.encode() + body))


def test_load_balancers_and_uptime_robots(system):
    """HEAD and OPTIONS wherever GET is, with and without a token, of 1.0 too."""
    auth = f"Authorization: Bearer {system.token}"
    for path in ("/healthz", "/readyz", "/metrics", "/"):
        status, headers, body = ask(system.ops_url, path, "HEAD")
        assert status == 200 and body == b"" and int(headers["content-length"]) > 0, path
        status, headers, body = ask(system.ops_url, path, "OPTIONS")
        assert status in (200, 204) and "GET" in headers["allow"] and "HEAD" in headers["allow"], (path, status, headers)
    assert ask(system.ops_url, "/healthz", "HEAD", version="1.0")[0] == 200
    session = system.api.login(1, params=LOGIN)
    status, headers, body = ask(system.api_url(), f"/api/v1/app/buzon/list?session_id={session}", "HEAD", auth)
    assert status == 200 and body == b""
    assert ask(system.api_url(), f"/api/v1/app/sessions/{session}", "HEAD", auth)[0] == 200
    assert ask(system.api_url(), "/api/v1/app/sessions/nobody", "HEAD", auth)[2] == b""
    assert ask(system.api_url(), "/api/v1/app/jobs/execute", "OPTIONS")[1]["allow"].replace(" ", "").split(",").count("POST") == 1
    assert ask(system.api_url(), "/api/v1/app/jobs/execute", "HEAD", auth)[0] == 405
    assert ask(system.api_url(), "/nothing", "OPTIONS")[0] == 404


def test_targets_in_absolute_form(system):
    auth = f"Authorization: Bearer {system.token}"
    host = system.api_url()
    for target in (f"{host}/api/v1/app/jobs", "http://proxy.example/api/v1/app/jobs?limit=1", "HTTP://UPPER.example/api/v1/app/jobs"):
        assert ask(host, target, "GET", auth)[0] == 200, target
    assert ask(system.ops_url, f"{system.ops_url}/healthz")[0] == 200
    assert ask(system.ops_url, "http://x.example", "GET")[0] in (200, 404)


def test_what_php_and_windows_write(system):
    """Types, marks, empty arrays and numbers as texts."""
    whole = {"company_id": 7, "portal": "sunat", "action": "sunat.menu_sol_login", "params": LOGIN}
    post = Client(system.api_url(), {"Authorization": f"Bearer {system.token}"}).post
    path = "/api/v1/app/jobs/execute"
    for kind in ("application/json", "application/json; charset=utf-8", "application/json;charset=UTF8", 'application/json; charset="utf-8"',
                 "Application/JSON ; charset=Utf-8"):  # fmt: skip
        post(path, body=json.dumps(whole).encode(), headers={"Content-Type": kind}).expect(200)
    post(path, body=json.dumps(whole).encode(), headers={"Content-Type": "application/json; charset=latin1"}).expect(415)
    post(path, body=b"\xef\xbb\xbf" + json.dumps(whole).encode(), headers={"Content-Type": "application/json"}).expect(200)
    post(path, {**whole, "company_id": "7"}).expect(200)
    post(path, {**whole, "params": []}).expect(200)
    for bad in ("07x", "", "-7", "7.0", " 7", "99999999999999999999"):
        post(path, {**whole, "company_id": bad}).expect(422, "validation_failed")
    post(path, {**whole, "params": [1]}).expect(422, "validation_failed")
    line = json.dumps({"company_id": "8", "params": []}).encode() + b"\r\n"
    for kind in ("application/x-ndjson", "application/ndjson", "application/jsonl"):
        told = post("/api/v1/app/batches", query={"portal": "sunat", "action": "sunat.menu_sol_login"}, body=b"\xef\xbb\xbf" + line,
                    headers={"Content-Type": kind}).expect(202).json  # fmt: skip
        assert told["accepted"] == 1, kind


def test_numbers_reach_the_robot_as_they_were_written(system):
    numbers = '{"a":0.1,"b":1e2,"c":1.0,"d":123456789012345678901234567890,"e":-0.0,"f":1E-7,"g":0.30000000000000004,"clave":"demo"}'
    body = '{"company_id":9,"portal":"sunat","action":"sunat.menu_sol_login","params":' + numbers + "}"
    answer = system.api.post("/api/v1/app/jobs/execute", body=body.encode(), headers={"Content-Type": "application/json"})
    if answer.status == 422:  # a number no double holds may be refused, never changed
        body = body.replace('"d":123456789012345678901234567890,', "")
        answer = system.api.post("/api/v1/app/jobs/execute", body=body.encode(), headers={"Content-Type": "application/json"})
    answer.expect(200)
    sent = system.robot.wait_call("login", 9)[-1]["body"]
    assert sent["a"] == 0.1 and sent["g"] == 0.30000000000000004 and isinstance(sent["c"], float)


def test_operators_who_misspell_act_on_nothing(system):
    system.api.login(3, params=LOGIN)
    for path, query in (("jobs", "statuss=failed"), ("sessions", "compny_id=3"), ("batches", "state=running"), ("audit", "serch=x"), ("stats", "histroy=0"),
                        ("workers", "name=r1")):  # fmt: skip
        system.ops.get(f"/api/v1/ops/{path}?{query}").expect(422, "validation_failed")
    for path, body in (("queue/pause", {"reason": "x", "portl": "sunat"}), ("jobs/bulk", {"action": "cancel", "filter": {}, "previw": True}),
                       ("workers/r1/drain", {"deadline": 5}), ("queue/resume", {"portl": "sunat"})):  # fmt: skip
        system.ops.post(f"/api/v1/ops/{path}", body).expect(422, "validation_failed")
    assert system.ops.get("/api/v1/ops/queue").json.get("paused") in (None, False)


@pytest.mark.parametrize("where", ["localhost", "*"])
def test_both_families(make_system, where):
    from harness import free_port

    port = free_port()
    system = make_system(ready=False, settings={"broker.http": f"{where}:{port}"})
    system.broker.start()
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        def answers(family=family, host=host):
            with socket.socket(family) as one:
                one.settimeout(3)
                one.connect((host, port))
                return True

        wait_until(answers, 15, f"{host} answers")


def test_a_stop_is_announced_before_the_doors_close(make_system):
    """SIGTERM: for some seconds readiness says stopping while everything is still served, with Connection: close."""
    system = make_system(dispatchers=1, settings={"broker.stop_delay_ms": 7000})
    session = system.api.login(1, params=LOGIN)
    system.broker.popen.terminate()
    system.broker.told_to_end = True
    told = wait_until(lambda: (answer := Client(system.ops_url, timeout=5).get("/readyz")).status == 503 and answer, 3, "it says so")
    assert told.json["why"] == "stopping"
    answer = Api(system.api_url(), system.token).list(session).expect(200)
    assert answer.headers.get("Connection", "").lower() == "close"
    wait_until(lambda: not system.broker.alive(), 20, "it ended")
    system.broker.start()
    system.wait_ready()
