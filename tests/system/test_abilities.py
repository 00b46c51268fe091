# SPDX-License-Identifier: MIT
"""Who may do what: every route of routes.def, with every kind of token."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from harness.http import Api, Client
from harness.system import ROOT

ROUTES = re.findall(r'^ROUTE\(LISTENER_(\w+), "(\w+)", "([^"]+)", ABILITY_(\w+),', (ROOT / "broker/routes.def").read_text(), re.M)
OPEN = {"/healthz", "/readyz", "/metrics", "/", "/dashboard/{}", "/login", "/logout"}  # the operators' listener, without a token
DESCRIPTION = "/api/v1/openapi.json"  # of both listeners, without a token


def at(system, listener, token):
    return Api(system.api_url() if listener == "APP" else system.ops_url, token)


def ask(system, listener, method, path, token, thing="1"):
    """The status; of an answer that does not end, its head's. The body is what the route could take for good."""
    filled = path.replace("{}", thing).replace("{*}", thing)
    method = "PUT" if method == "ANY" else method
    body = {"reason": "try", "deadline_s": 1} if method == "POST" else None
    answer = at(system, listener, token).open(method, filled, body, timeout=10)
    try:
        return answer.status
    finally:
        answer.connection.close()


def everything(system):
    tables = [next(iter(row.values())) for row in system.database.rows("SHOW TABLES")]
    skip = {"chasqui_leases", "chasqui_portal_minutes", "chasqui_history", "chasqui_history_at"}  # renewed, added to each second, summed up each minute
    return {name: system.database.rows(f"SELECT * FROM {name}") for name in tables if name not in skip}


@pytest.fixture
def world(system):
    """A job, a session and a robot that could be acted on."""
    system.set_credentials(7, usuario="u", clave="c")
    session = system.api.login(7)
    job = system.api.active(7).json["job_id"]
    return system, {"jobs": str(job), "sessions": session, "workers": "r1", "batches": "1", "dashboard": "x"}


def thing_of(path, things):
    return things.get(re.sub(r"^/(api/v1/\w+/)?(\w+).*", r"\2", path), "1")


def test_the_table_is_what_the_design_says():
    for listener, method, path, ability in ROUTES:
        if listener == "APP" and path != DESCRIPTION:
            assert ability == "APP", path
        elif path in OPEN or path == DESCRIPTION:
            assert ability == "NONE", path
        else:
            assert ability == ("OPS_READ" if method == "GET" else "OPS"), f"{method} {path}: reading is ops:read, acting is ops"


def test_a_token_that_may_read_can_act_on_nothing(world):
    system, things = world
    token = system.make_token("*", "ops:read")
    acting = [(method, path) for listener, method, path, ability in ROUTES if listener == "OPS" and ability == "OPS"]
    assert len(acting) >= 9
    before = everything(system)
    calls = len(system.robot.calls())
    for method, path in acting:
        target = path.replace("{}", thing_of(path, things))
        for body in ({"reason": "no"}, None):
            answer = at(system, "OPS", token).request(method, target, body)
            answer.expect(403, "forbidden")
    after = everything(system)
    for table in before:
        assert before[table] == after[table], f"{table} changed"
    assert [call for call in system.robot.calls()[calls:] if call["call"] not in ("health", "sessions")] == []
    for listener, method, path, ability in ROUTES:
        if ability == "OPS_READ":
            status = ask(system, listener, method, path, token, thing_of(path, things))
            assert status in (200, 404, 503), f"{path}: {status}"
        elif ability == "APP":
            assert ask(system, listener, method, path, token, thing_of(path, things)) == 403, path


def test_a_client_sees_nothing_of_the_operators(world):
    system, things = world
    tokens = [system.make_token("*", "app"), system.make_token(7, "app"), system.make_token(7, "app"), system.make_token(7, "app")]
    for token, abilities in zip(tokens[2:], ("app,ops", "app,ops:read")):  # the command makes no such token
        system.database.execute("UPDATE chasqui_tokens SET abilities = %s WHERE id = %s", abilities, token.split("|")[0])
    for token in tokens:
        for listener, method, path, ability in ROUTES:
            if ability in ("OPS", "OPS_READ"):
                assert ask(system, listener, method, path, token, thing_of(path, things)) == 403, f"{path}: ops needs every company"


def test_nobody_gets_in_without_a_token(world):
    system, things = world
    for token in (None, "1|wrong", "nonsense"):
        for listener, method, path, ability in ROUTES:
            if ability != "NONE":
                assert ask(system, listener, method, path, token, thing_of(path, things)) == 401, path
    text = Client(system.ops_url).get("/metrics").expect(200).body.decode()
    assert "20100000001" not in text


def test_each_action_leaves_who_when_where_before_and_after(world):
    system, things = world
    ops = system.ops
    told = {"X-Request-Id": "acts.1"}
    ops.post("/api/v1/ops/queue/pause", {"reason": "night", "expires_s": 60}, headers=told).expect(200)
    ops.post("/api/v1/ops/queue/resume", headers=told).expect(200)
    ops.post("/api/v1/ops/workers/r1/drain", {"reason": "patch"}, headers=told).expect(200)
    ops.post("/api/v1/ops/workers/r1/resume", headers=told).expect(200)
    ops.post(f"/api/v1/ops/sessions/{things['sessions']}/migrate", {"reason": "closer"}, headers=told).expect(202)
    ops.post(f"/api/v1/ops/sessions/{things['sessions']}/close", {"reason": "they asked"}, headers=told).expect(200)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {"portal": "sunat", "action": "sunat.menu_sol_login", "available_at": tomorrow, "items": [{"company_id": 9}]}
    batch = system.api.post("/api/v1/app/batches", body).expect(202).json["batch_id"]
    ops.post(f"/api/v1/ops/batches/{batch}/cancel", {"reason": "wrong file"}, headers=told).expect(200)
    job = system.api.queue(8, available_at=tomorrow).expect(202).json["job_id"]
    ops.post(f"/api/v1/ops/jobs/{job}/cancel", {"reason": "by mistake"}, headers=told).expect(200)
    ops.post(f"/api/v1/ops/jobs/{job}/retry", {"reason": "after all"}, headers=told).expect(200)
    rows = {row["action"]: row for row in reversed(ops.get("/api/v1/ops/audit", query={"limit": 50}).expect(200).json["audit"])}
    for action, subject, detail in (
        ("queue.pause", "queue", r"going -> paused until \S+Z: night"),
        ("queue.resume", "queue", r"paused -> going"),
        ("worker_want", "r1", r"draining -> active"),
        ("session_migrate", f"job:{things['jobs']}", r"r1 -> another robot: closer"),
        ("job.cancel", f"job:{job}", r"queued -> cancelled: by mistake"),
        ("job.retry", f"job:{job}", r"cancelled -> queued: after all"),
        ("session_close", f"job:{things['jobs']}", r"active -> closed: they asked; session \S+, company \d+"),
        ("batch.cancel", f"batch:{batch}", r"running -> cancelled: wrong file"),
    ):
        row = rows[action]
        assert row["subject"] == subject and re.fullmatch(detail, row["detail"]), row
        assert re.fullmatch(r"token:\d+:.*", row["actor"]) and row["peer"].startswith("127.0.0.1:") and row["request_id"] == "acts.1" and row["at"]


def test_a_tokens_long_name_travels(world):
    """A hundred characters are more than a hundred bytes: what is cut is cut at a character, for the dispatcher takes nothing else."""
    system, things = world
    for name in ("a" + "ñ" * 99, "€" * 100, "a" * 100):
        token = system.make_token("*", "app,ops", 0, "--name", name)
        Api(system.api_url(), token).list(things["sessions"], headers={"X-Deadline-Ms": "5000"}).expect(200)
        Api(system.ops_url, token).post("/api/v1/ops/queue/resume", {}).expect(200)
