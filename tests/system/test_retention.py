# SPDX-License-Identifier: MIT
"""Retention: what is too old goes by itself, with all that is its, and nothing else does."""

from harness.wait import wait_until

OLD = "NOW(6) - INTERVAL 40 DAY"


def count(system, table):
    return system.database.value(f"SELECT COUNT(*) FROM {table}")


def age(system, company):
    """As if that company's session and job were of 40 days ago."""
    execute = system.database.execute
    job = system.database.value("SELECT MAX(id) FROM portal_jobs WHERE company_id = %s", company)
    execute("UPDATE portal_jobs SET created_at = NOW() - INTERVAL 40 DAY, finished_at = NOW() - INTERVAL 40 DAY WHERE id = %s", job)
    execute(f"UPDATE chasqui_sessions SET since = {OLD} WHERE job_id = %s", job)
    execute(f"UPDATE chasqui_job_events SET at = {OLD} WHERE job_id = %s", job)
    return job


def test_old_jobs_batches_and_traces_go(make_system):
    system = make_system(dispatchers=2, settings={"session.idle_timeout_s": 3600, "retention.portal_jobs": "delete"})
    closed, live, young = system.api.login(1), system.api.login(2), system.api.login(3)
    system.api.close(closed).expect(200)
    system.api.close(young).expect(200)
    items = [{"company_id": n, "params": {"ruc": "1", "usuario": "DEMO", "clave": "demo"}} for n in (11, 12)]
    batch = system.api.post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login", "items": items}).expect(202).json["batch_id"]
    wait_until(lambda: system.api.get(f"/api/v1/app/batches/{batch}").json["batch"]["status"] == "done", 20, "the batch is done")
    for dispatcher in system.dispatchers:
        dispatcher.stop()  # passes begin a few seconds after the start, then every 10 minutes
    gone, kept = age(system, 1), age(system, 2)
    system.database.execute(f"UPDATE chasqui_batches SET created_at = {OLD}, finished_at = {OLD}")
    system.database.execute(f"UPDATE chasqui_audit SET at = {OLD}")
    system.database.execute(
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, created_at, finished_at) VALUES ('LARAVEL-1', 9, 'sunat', 'x', 'done', "
        "NOW() - INTERVAL 400 DAY, NOW() - INTERVAL 400 DAY)"
    )
    system.database.execute(f"INSERT INTO chasqui_idempotency (scope, digest, created_at) VALUES (REPEAT('s', 32), REPEAT('d', 32), {OLD})")
    audited = count(system, "chasqui_audit")
    for dispatcher in system.dispatchers:
        dispatcher.start()
    system.wait_ready()
    wait_until(lambda: count(system, "chasqui_batches") == 0, 40, "the batch is pruned", every=0.2)
    wait_until(lambda: count(system, "chasqui_idempotency") == 1, 40, "the old key is pruned, the batch's is young", every=0.2)
    assert count(system, "chasqui_items") == 0
    left = {row["id"] for row in system.database.rows("SELECT id FROM portal_jobs")}
    assert gone not in left and kept in left and len(left) == 5  # of companies 2 and 3, the batch's two, which are young, Laravel's
    assert system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE job_id = %s", gone) == 0
    assert system.database.value("SELECT COUNT(*) FROM chasqui_job_events WHERE job_id = %s", gone) == 0
    assert count(system, "chasqui_audit") == audited  # 365 days
    system.api.list(live).expect(200)
    system.api.session(closed).expect(404, "session_not_found")
    system.api.session(young).expect(410, "session_closed")
    system.api.job(gone).expect(404, "job_not_found")
    wait_until(lambda: system.metric("chasqui_pruned_total") >= 7, 10, "it is counted")
