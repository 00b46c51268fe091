# SPDX-License-Identifier: MIT
"""The operators' doors: names that are not known are refused, metrics can be closed, foreign Hosts are sent away, clocks of processes do not count."""

import datetime
import json
from pathlib import Path

import pytest

from broker_alone import SECRET, broker, by_secret, dispatcher, make_broker, make_dispatcher, says  # noqa: F401
from harness import is_sanitized
from harness.http import Client, raw
from harness.wait import wait_until

OPS = "/api/v1/ops"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def test_names_that_are_not_known_are_refused(broker, dispatcher):
    for op in ("OPS_JOBS", "OPS_SESSIONS", "OPS_BATCHES", "OPS_AUDIT", "OPS_WORKERS", "OPS_QUEUE", "OPS_QUEUE_PAUSE", "OPS_QUEUE_RESUME",
               "OPS_WORKER_WANT", "OPS_JOBS_BULK", "OPS_JOBS_COUNT", "OPS_JOB_RETRY", "OPS_JOB_GET", "JOBS"):  # fmt: skip
        dispatcher.on[op] = says(b'{"ok":true}')
    before = len(dispatcher.saw("OPS_JOBS", "OPS_QUEUE_PAUSE"))
    for path, field in (
        ("/jobs?state=failed", "state"), ("/jobs?status=failed&company=7", "company"), ("/jobs?Status=failed", "Status"), ("/sessions?status=live", "status"),
        ("/batches?portal=sunat", "portal"), ("/audit?who=x", "who"), ("/errors?status=failed", "status"), ("/workers?name=r1", "name"), ("/queue?portal=x", "portal"),
        ("/stats?histroy=0", "histroy"), ("/dispatchers?x=1", "x"), ("/me?x", "x"), ("/jobs/12?x=1", "x"), ("/jobs/12/why?x=1", "x"),
        ("/events?stat=0", "stat"), ("/doctor?fast=1", "fast"), ("/jobs?%C3%A9=1", "??"),
    ):  # fmt: skip
        answer = broker.ops.get(OPS + path).expect(422, "validation_failed")
        assert answer.json["errors"] == {field: ["is not known here"]}, (path, answer)
    for path, body, field in (
        ("/queue/pause", {"reason": "x", "portl": "sunat"}, "portl"), ("/queue/pause", {"reason": "x", "for": 60}, "for"),
        ("/queue/resume", {"portl": "sunat"}, "portl"), ("/workers/r1/drain", {"deadline": 5}, "deadline"), ("/workers/r1/resume", {"x": None}, "x"),
        ("/jobs/bulk", {"action": "cancel", "filter": {}, "preveiw": True}, "preveiw"), ("/jobs/12/retry", {"why": "x"}, "why"),
        ("/jobs/bulk", {"action": "cancel", "filter": {"sttus": "failed"}}, "filter"), ("/sessions/s/close", {"force": True}, "force"),
        ("/batches/5/cancel", {"all": True}, "all"), ("/queue/pause?portal=sunat", {"reason": "x"}, "portal"),
    ):  # fmt: skip
        assert list(broker.ops.post(OPS + path, body).expect(422, "validation_failed").json["errors"]) == [field], (path, body)
    assert len(dispatcher.saw("OPS_JOBS", "OPS_QUEUE_PAUSE", "OPS_JOBS_BULK", "OPS_WORKER_WANT", "OPS_JOB_RETRY")) == before
    broker.ops.get(OPS + "/jobs?status=failed&portal=sunat&company_id=7&batch_id=8&worker=r1&search=a&cursor=1&limit=5").expect(200)
    broker.ops.get(OPS + "/sessions?state=live&session_id=s&worker=r1&company_id=7&cursor=1&limit=5").expect(200)
    broker.ops.post(OPS + "/queue/pause", {"reason": "x", "for_s": 5}).expect(200)
    broker.ops.post(OPS + "/workers/r1/drain", {"reason": "x", "deadline_s": 5}).expect(200)
    broker.api.get("/api/v1/app/jobs?anything=1").expect(200)  # the app API ignores what it does not know


def test_metrics_behind_a_token(make_broker, make_dispatcher):
    alone = make_broker({"broker.metrics": "token"})
    make_dispatcher(alone).on["TOKEN_VERIFY"] = by_secret(t1={}, t2={"abilities": ["ops:read"]}, t3={"abilities": ["app"]})
    get = Client(alone.ops_url).get
    get("/metrics").expect(401, "unauthenticated")
    get("/metrics", headers={"Authorization": "Bearer 9|x"}).expect(401)
    get("/metrics", headers={"Authorization": "Bearer 3|x"}).expect(403, "forbidden")
    assert b"chasqui_" in get("/metrics", headers={"Authorization": "Bearer 2|x"}).expect(200).body
    for path in ("/healthz", "/readyz", "/"):
        get(path).expect(200)


def test_foreign_hosts_are_sent_away(make_broker):
    alone = make_broker({"broker.ops_hosts": "panel.example.com, 127.0.0.1:8081, [::1]"})
    for host, status in (
        ("panel.example.com", 200), ("PANEL.example.com:8443", 200), ("127.0.0.1:8081", 200), ("[::1]:9", 200), ("127.0.0.1:8082", 403),
        ("evil.example.com", 403), ("panel.example.com.evil.org", 403), ("xpanel.example.com", 403), ("", 403),
    ):  # fmt: skip
        for path in ("/", "/healthz", "/metrics", f"{OPS}/stats"):
            got = raw(alone.ops_url, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            wanted = 401 if status == 200 and path.startswith(OPS) else status
            assert got.startswith(b"HTTP/1.1 %d" % wanted), (host, path, got)
    got = raw(alone.ops_url, b"POST /login HTTP/1.1\r\nHost: evil.example.com\r\nOrigin: http://evil.example.com\r\nContent-Type: application/json\r\n"
              b"Content-Length: 15\r\nConnection: close\r\n\r\n" + b'{"token":"1|x"}')  # fmt: skip
    told = json.loads(got.partition(b"\r\n\r\n")[2])
    assert told["error"] == "forbidden" and "evil.example.com" in told["message"] and "panel.example.com" in told["message"]
    target = b"GET http://evil.example.com/healthz HTTP/1.1\r\nHost: panel.example.com\r\nConnection: close\r\n\r\n"
    assert raw(alone.ops_url, target).startswith(b"HTTP/1.1 403")  # the target's host is the one that counts


def test_a_page_behind_another_name_is_told_both(broker):
    answer = Client(broker.ops_url).post("/login", {"token": "1|x"}, headers={"Origin": "https://panel.example.com", "Host": "127.0.0.1:8081"})
    message = answer.expect(403, "forbidden").json["message"]
    assert "https://panel.example.com" in message and "127.0.0.1:8081" in message and "proxy_set_header Host" in message


def test_the_page_asks_below_where_it_is(broker):
    page = Client(broker.ops_url).get("/").expect(200).body.decode()
    assert 'href="/' not in page and 'src="/' not in page
    for name in ("app.js", "broker.js", "login.js"):
        text = Client(broker.ops_url).get(f"/dashboard/{name}").expect(200).body.decode()
        assert "'/api/" not in text and "'/dashboard" not in text and "'/login'" not in text


@pytest.mark.skipif(not Path(FAKETIME).exists(), reason="libfaketime is not installed")
@pytest.mark.parametrize("shift", ["+3h", "-3h"])
def test_a_brokers_clock_does_not_count(make_system, shift):
    if is_sanitized():
        pytest.skip("a sanitizer does not share LD_PRELOAD")
    system = make_system(robots=1, ready=False)
    system.brokers[0].env = {"LD_PRELOAD": FAKETIME, "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
    system.start().wait_ready().wait_probed()
    left = "SELECT TIMESTAMPDIFF(SECOND, NOW(6), {})"
    now = datetime.datetime.now(datetime.timezone.utc)

    def at(minutes):
        return (now + datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")

    system.ops.post(OPS + "/queue/pause", {"reason": "x", "for_s": 600}).expect(200)
    assert 580 <= system.database.value(left.format("until_at") + " FROM chasqui_pause") <= 600
    system.ops.post(OPS + "/queue/pause", {"reason": "x", "until": at(30)}).expect(200)
    assert 1700 <= system.database.value(left.format("until_at") + " FROM chasqui_pause") <= 1800
    refused = system.ops.post(OPS + "/queue/pause", {"reason": "x", "until": at(-1)}).expect(422, "validation_failed")
    assert list(refused.json["errors"]) == ["until"]
    system.ops.post(OPS + "/queue/resume", {}).expect(200)
    system.ops.post(OPS + "/workers/r1/drain", {"deadline_s": 900}).expect(200)
    assert 880 <= system.database.value(left.format("drain_deadline") + " FROM chasqui_robots") <= 900
    system.ops.post(OPS + "/workers/r1/resume", {}).expect(200)
    body = {"company_id": 7, "portal": "sunat", "action": "sunat.menu_sol_login", "params": {"usuario": "u", "clave": "c"}}
    later = system.api.post("/api/v1/app/jobs/execute", {**body, "available_at": at(60)}, headers={"Prefer": "respond-async"}).expect(202)
    passed = system.api.post("/api/v1/app/jobs/execute", {**body, "company_id": 8, "available_at": at(-60)}, headers={"Prefer": "respond-async"}).expect(202)
    wait_until(lambda: system.api.job(passed.json["job_id"]).expect(200).json["job"]["status"] == "done", 20)
    assert system.api.job(later.json["job_id"]).expect(200).json["job"]["status"] == "queued"
    token = system.ctl_json("token", "create", "--company", "*", "--ability", "ops:read", "--expires", "1h")["token"]
    Client(system.ops_url).get(OPS + "/queue", headers={"Authorization": f"Bearer {token}"}).expect(200)
