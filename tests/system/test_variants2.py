# SPDX-License-Identifier: MIT
"""Variants made up from the contract and from public bug reports alone: retention beside Laravel's children (cascade, restrict, soft-deleted);
statement texts in many sizes; ids that no double holds; receivers of callbacks that are away in every way; wall time in odd zones."""

import threading

import pytest
from harness.wait import stays, wait_until
from test_laravel_rows import databases, laravel  # noqa: F401
from test_variants import Results
from test_webhook import FAST, Receiver, settled, submit

LOGIN = {"ruc": "1", "usuario": "DEMO", "clave": "demo"}
OLD = "NOW() - INTERVAL 400 DAY"


def aged(system, company):
    """The company's job, as if it had ended 400 days ago."""
    system.api.close(system.api.login(company)).expect(200)
    job = system.database.value("SELECT MAX(id) FROM portal_jobs WHERE company_id = %s", company)
    system.database.execute(f"UPDATE portal_jobs SET created_at = {OLD}, updated_at = {OLD}, finished_at = {OLD} WHERE id = %s", job)
    system.database.execute("UPDATE chasqui_sessions SET since = NOW(6) - INTERVAL 400 DAY WHERE job_id = %s", job)
    system.database.execute("UPDATE chasqui_job_events SET at = NOW(6) - INTERVAL 400 DAY WHERE job_id = %s", job)
    return job


def pruned(system):
    """A pass of retention went over all: a trace of ours that is old enough is gone."""
    system.database.execute("INSERT INTO chasqui_idempotency (scope, digest, created_at) VALUES (REPEAT('v', 32), REPEAT('d', 32), NOW(6) - INTERVAL 400 DAY)")
    system.dispatcher.stop()
    system.dispatcher.start()
    system.wait_ready()
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_idempotency WHERE scope = REPEAT('v', 32)") == 0, 60, "a pass of retention", every=0.2)


@pytest.mark.long(15)
def test_rows_with_children(laravel):  # noqa: F811
    """kept: nothing of Laravel's goes. delete: what Laravel forbids stays, and holds up nothing else."""
    system = laravel(settings={"retention.portal_jobs": "delete"})
    database = system.database
    database.execute("CREATE TABLE invoices (id BIGINT AUTO_INCREMENT PRIMARY KEY, job BIGINT UNSIGNED NOT NULL, FOREIGN KEY (job) REFERENCES portal_jobs (id))")
    plain, restricted, deleted, failed = (aged(system, company) for company in (1, 2, 3, 4))
    database.execute("INSERT INTO invoices (job) VALUES (%s)", restricted)
    database.execute(f"UPDATE portal_jobs SET deleted_at = {OLD} WHERE id = %s", deleted)
    database.execute("UPDATE portal_jobs SET status = 'failed' WHERE id = %s", failed)
    theirs = []
    for company, ended in ((5, OLD), (6, "NULL")):
        database.execute(f"INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, created_at, updated_at, finished_at) VALUES ('LARAVEL-{company}', {company}, "
                         f"'sunat', 'x', 'done', {OLD}, {OLD}, {ended})")  # fmt: skip
        theirs.append(database.value("SELECT MAX(id) FROM portal_jobs"))
        database.execute("INSERT INTO portal_documents (portal_job_id, asunto) VALUES (%s, 'a')", theirs[-1])
    pruned(system)
    wait_until(lambda: database.value("SELECT COUNT(*) FROM portal_jobs WHERE id IN (%s, %s)", plain, failed) == 0, 60, "ours that nothing holds are gone")
    left = {row["id"] for row in database.rows("SELECT id FROM portal_jobs")}
    assert {restricted, *theirs} <= left, left
    assert database.value("SELECT COUNT(*) FROM invoices") == 1 and database.value("SELECT COUNT(*) FROM portal_documents") == 2
    begun = system.metric("chasqui_database_ops_failed_total")
    stays(lambda: system.metric("chasqui_database_ops_failed_total") - begun <= 1, 6)  # not again every two seconds
    system.api.list(system.api.login(7)).expect(200)
    system.check_doctor = False


def test_statements_in_many_sizes(make_system):
    """One connection, and more texts than it may hold: nothing ends, nothing grows."""
    system = make_system(capacity=300, settings={"dispatcher.db_threads": 1, "ratelimit.per_minute": 0})
    sizes = (1, 2, 3, 5, 8, 13, 21, 34, 55)
    batches = [system.api.batch(range(1000 * size, 1000 * size + size)).expect(202).json["batch_id"] for size in sizes]
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_batches WHERE finished_at IS NULL") == 0, 120, "all batches")
    filters = ("status=done", "portal=sunat", "company_id=1000", f"batch_id={batches[0]}", "error=x", "robot_error=y", "limit=7")
    for bits in range(1 << len(filters)):
        query = "&".join(one for at, one in enumerate(filters) if bits >> at & 1)
        system.ops.get(f"/api/v1/ops/jobs?{query}").expect(200)
        if bits % 4 == 0:
            system.api.get("/api/v1/app/jobs?" + query).expect(200)
    lists = [system.api.active(55000 + n).expect(200).json["session_id"] for n in range(55)]
    for size in (1, 7, 30, 55):
        threads = [threading.Thread(target=system.api.list, args=(session,)) for session in lists[:size]]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert system.dispatcher.alive() and system.metric("chasqui_database_statements_held") <= 256
    system.api.list(lists[0]).expect(200)


def test_ids_that_no_double_holds(system):
    results, api = Results(), system.api
    for company in (2**53 + 1, 2**53 + 3, 2**63 - 1):
        session = api.execute(company, params=LOGIN).expect(200).json["session_id"]
        results.play("ids", f"{company} as a text", lambda c=company, s=session: check(api.execute(str(c), params=LOGIN).expect(200).json["session_id"], s))
        results.play("ids", f"{company} active", lambda c=company, s=session: check(api.active(c).expect(200).json["company_id"], c))
        results.play("ids", f"{company} in the session", lambda c=company, s=session: check(api.session(s).expect(200).json["company_id"], c))
        results.play("ids", f"{company} as a filter", lambda c=company: check(companies(api, f"/api/v1/app/jobs?company_id={c}"), {c}))
        results.play("ids", f"{company} as operators' filter", lambda c=company: check(companies(system.ops, f"/api/v1/ops/jobs?company_id={c}"), {c}))
        results.play("ids", f"{company} in a batch", lambda c=company: check(api.batch([{"company_id": c}, {"company_id": str(c)}]).expect(202).json["accepted"], 2))
    for company in (2**64, -1, 0, 1.5, 1e20, "1e3", "007x", "", True):
        results.play("ids", f"{company!r} is none", lambda c=company: api.execute(c, params=LOGIN).expect(422, "validation_failed").json["errors"]["company_id"] and "said")
    results.judge()


def companies(api, path):
    return {row["company_id"] for row in api.get(path).expect(200).json["jobs"]}


def check(got, wanted):
    assert got == wanted, (got, wanted)
    return "as it was"


def test_receivers_that_are_away(make_system):
    """Whatever a receiver says while it is deployed, it gets its callback afterwards, under the same delivery id."""
    away = {"503": 503, "404 of a proxy": 404, "429": 429, "502": 502, "410": 410, "401": 401}
    receivers = {name: Receiver(status, status, 200) for name, status in away.items()}
    for receiver in receivers.values():
        receiver.__enter__()
    try:
        system = make_system(capacity=50, settings={**FAST, "webhook.allow": ",".join(receiver.url for receiver in receivers.values())})
        batches = {name: submit(system, (10 + at,), f"{receivers[name].url}/x")["batch_id"] for at, name in enumerate(away)}
        for name, receiver in receivers.items():
            calls = receiver.wait_calls(3, 60)
            assert len({call[1]["X-Chasqui-Delivery"] for call in calls}) == 1, name
            assert settled(system, batches[name], "delivered", 30)["attempts"] == 3, name
    finally:
        for receiver in receivers.values():
            receiver.__exit__()


def test_wall_time_in_odd_zones(laravel):  # noqa: F811
    """Zones of half hours, with and without summer time: a row that Laravel wrote now is young, and what we write reads as now there."""
    system = laravel(settings={"laravel.time_zone": "Asia/Kathmandu", "session.idle_timeout_s": 3600})
    wall = "UTC_TIMESTAMP() + INTERVAL 345 MINUTE"
    old = system.robot.orphan(1)
    system.database.execute(f"INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, updated_at) "
                            f"VALUES ('LARAVEL-1', 1, 'sunat', 'x', 'done', %s, %s, {wall}, {wall})", system.robot.url, old)  # fmt: skip
    answer = system.api.execute(1).expect(200).json
    assert answer["session_id"] == old and answer["reused"]
    system.api.login(2)
    row = system.database.row(f"SELECT TIMESTAMPDIFF(SECOND, created_at, {wall}) AS c, TIMESTAMPDIFF(SECOND, updated_at, {wall}) AS u, TIMESTAMPDIFF(SECOND, finished_at, {wall}) AS f "
                              "FROM portal_jobs WHERE company_id = 2")  # fmt: skip
    assert all(-5 <= value <= 120 for value in row.values()), row
