# SPDX-License-Identifier: MIT
"""Operators act on all jobs that a filter finds: counted first, then step by step, once in the audit trail."""

import pytest

BULK = "/api/v1/ops/jobs/bulk"
JOBS = (
    "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, priority, attempts, batch_id, worker, error, created_at, updated_at) "
    "SELECT CONCAT('BULK', LPAD(seq, 8, '0'), '-', %s), 5000 + MOD(seq, 7), 'sunat', 'sunat.menu_sol_login', %s, 5, 1, %s, %s, %s, NOW(), NOW() FROM seq_1_to_{n}"
)
OURS = (
    "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal, batch_id, idx) SELECT id, job_uid, 'login', company_id, portal, %s, id "
    "FROM portal_jobs WHERE job_uid LIKE CONCAT('BULK%%-', %s)"
)
ITEMS = (
    "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn, due_at, job_id) SELECT q.batch_id, q.idx, q.company_id, j.status, "
    "NULL, 4, 1, IF(j.status = 'queued', NOW() + INTERVAL 1 DAY, NULL), j.id FROM portal_jobs j JOIN chasqui_jobs q ON q.job_id = j.id WHERE "
    "j.job_uid LIKE CONCAT('BULK%%-', %s)"
)


def fill(system, mark, n, status, *, batch=0, worker=None, error=None):
    """n jobs of seven companies, with their items; queued ones are not due before tomorrow."""
    system.database.execute(JOBS.replace("{n}", str(n)), mark, status, batch or None, worker, error)
    system.database.execute(OURS, batch, mark)
    system.database.execute(ITEMS, mark)


def count(system, **where):
    test = " AND ".join(f"{name} = %s" for name in where)
    return system.database.value(f"SELECT COUNT(*) FROM portal_jobs WHERE {test}", *where.values())


@pytest.fixture
def paused(system):
    """A system whose queue begins nothing."""
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "test"}).expect(200)
    return system


def bulk(system, action, filter=None, **more):
    return system.ops.post(BULK, {"action": action, "filter": filter or {}, **more}, headers={"X-Deadline-Ms": "150000"}, timeout=160)


def test_cancel(paused):
    fill(paused, 1, 700, "queued")
    fill(paused, 2, 50, "done")
    assert bulk(paused, "cancel", preview=True).expect(200).json == {"ok": True, "n": 700, "capped": False}
    assert bulk(paused, "cancel", {"company_id": 5003}, preview=True).json["n"] == 100
    assert bulk(paused, "cancel", {"status": "done"}, preview=True).json["n"] == 0
    assert count(paused, status="queued") == 700
    assert bulk(paused, "cancel", {"company_id": 5003}, reason="not theirs").expect(200).json["n"] == 100
    assert count(paused, status="cancelled", company_id=5003) == 100 == count(paused, status="cancelled")
    assert bulk(paused, "cancel", {"status": "queued"}).expect(200).json == {"ok": True, "n": 600, "capped": False}
    assert count(paused, status="queued") == 0 and count(paused, status="done") == 50
    assert paused.database.value("SELECT COUNT(*) FROM chasqui_items WHERE state = 'queued'") == 0
    assert paused.database.value("SELECT COUNT(*) FROM chasqui_job_events WHERE event = 'cancelled'") == 700
    rows = paused.database.rows("SELECT * FROM chasqui_audit WHERE action = 'jobs.cancel' ORDER BY id")
    assert [row["detail"] for row in rows] == ["100 queued -> 100 cancelled: not theirs", "600 queued -> 600 cancelled"]
    assert rows[0]["actor"].startswith("token:") and "company=5003 batch=* " in rows[0]["subject"]


def test_retry(paused):
    fill(paused, 1, 350, "failed", worker="r1", error="robot_error")
    fill(paused, 2, 20, "cancelled", worker="r2")
    fill(paused, 3, 30, "done", worker="r1")
    assert bulk(paused, "retry", preview=True).json["n"] == 370
    assert bulk(paused, "retry", {"worker": "r2"}, preview=True).json["n"] == 20
    assert bulk(paused, "retry", {"portal": "sat"}, preview=True).json["n"] == 0
    assert bulk(paused, "retry", {"status": "failed"}).expect(200).json["n"] == 350
    assert count(paused, status="queued", attempts=0) == 350 and count(paused, status="cancelled") == 20
    assert paused.database.value("SELECT COUNT(*) FROM chasqui_items WHERE state = 'queued' AND ready = 1") == 350
    assert bulk(paused, "retry", {"status": "failed"}).expect(200).json["n"] == 0
    details = [row["detail"] for row in paused.database.rows("SELECT detail FROM chasqui_audit WHERE action = 'jobs.retry' ORDER BY id")]
    assert details == ["350 failed -> 350 queued", "no jobs"]
    paused.ops.post("/api/v1/ops/jobs/bulk", {"action": "cancel", "filter": {}}).expect(200)
    paused.ops.post("/api/v1/ops/queue/resume", {}).expect(200)


def test_of_a_batch(paused):
    batch = paused.api.post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login", "items": [{"company_id": 1}]}).expect(202).json["batch_id"]
    fill(paused, 1, 150, "failed", batch=batch)
    fill(paused, 2, 10, "failed")
    assert bulk(paused, "retry", {"batch_id": batch}, preview=True).json["n"] == 150
    assert bulk(paused, "retry", {"batch_id": batch}).expect(200).json["n"] == 150
    assert count(paused, status="failed") == 10
    paused.ops.post(f"/api/v1/ops/batches/{batch}/cancel", {}).expect(200)
    assert count(paused, status="cancelled", batch_id=batch) == 150
    paused.ops.post("/api/v1/ops/batches/999999/cancel", {}).expect(404, "batch_not_found")
    paused.ops.post("/api/v1/ops/batches/x/cancel", {}).expect(404, "batch_not_found")


def test_many_are_counted_and_changed_up_to_a_limit(paused):
    fill(paused, 1, 10500, "failed")
    assert bulk(paused, "retry", preview=True).expect(200).json == {"ok": True, "n": 10000, "capped": True}
    told = bulk(paused, "retry").expect(200).json
    assert told == {"ok": True, "n": 10000, "capped": True}
    assert bulk(paused, "retry").expect(200).json == {"ok": True, "n": 500, "capped": False}
    paused.database.execute("UPDATE portal_jobs SET status = 'cancelled'")
    paused.database.execute("DELETE FROM chasqui_items")


def test_what_is_refused(system):
    for body in ({}, {"action": "close", "filter": {}}, {"action": "retry"}, {"action": "retry", "filter": []}, {"action": "retry", "filter": {"state": "failed"}},
                 {"action": "retry", "filter": {"company_id": "seven"}}, {"action": "retry", "filter": {"status": "odd"}}, {"action": "cancel", "filter": {"worker": "a b"}},
                 {"action": "cancel", "filter": {}, "preview": 1}, {"action": "cancel", "filter": {}, "reason": "x" * 201}):  # fmt: skip
        system.ops.post(BULK, body).expect(422, "validation_failed")
    reader = type(system.ops)(system.ops_url, system.make_token("*", "ops:read"))
    for body in ({"action": "retry", "filter": {}, "preview": True}, {"action": "retry", "filter": {}}):
        reader.post(BULK, body).expect(403, "forbidden")
