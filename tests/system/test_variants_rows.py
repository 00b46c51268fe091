# SPDX-License-Identifier: MIT
"""Variants of hostile texts and of what other people's migrations, deletions and constraints do to our rows, made up from the contract alone."""

import json

from harness.wait import wait_until

LOGIN = {"ruc": "1", "usuario": "DEMO", "clave": "demo"}
TEXTS = ["ñ" * 400, "€" * 256, "😀" * 300, "a" * 254 + "é", "x\u0000y\u0001\u001b[31m", "\ud800 alone", "e\u0301" * 300, "\u202eabc\u2028def", "\uffff\ufffe", "'; DROP TABLE x --\\"]


def jobs_of(system, batch):
    return {row["company_id"]: row for row in system.api.get("/api/v1/app/jobs", query={"batch_id": batch, "limit": 200}).expect(200).json["jobs"]}


def run(system, companies, timeout=40):
    batch = system.api.batch([{"company_id": company, "params": LOGIN} for company in companies]).expect(202).json["batch_id"]
    wait_until(lambda: system.api.get(f"/api/v1/app/batches/{batch}").json["batch"]["status"] == "done", timeout, f"batch {batch} has ended")
    return system.api.get(f"/api/v1/app/batches/{batch}").json["batch"]["counts"], batch


def test_whatever_a_robot_says_is_recorded(make_system):
    system = make_system(capacity=200)
    robot = system.robot
    for number, text in enumerate(TEXTS):
        company = 100 + number
        robot.behave("login", "overlay", fields={"titulo": text, "url": "https://x.example/" + text}, times=1)
        session = system.api.execute(company, params=LOGIN).expect(200).json["session_id"]
        system.api.list(session).expect(200)
        system.api.active(company).expect(200)
    for number, text in enumerate(TEXTS):
        body = json.dumps({"ok": False, "error": text, "message": text})
        robot.behave("login", "status", status=422, body=body, times=1)
        answer = system.api.execute(200 + number, params=LOGIN).expect(502, "robot_error")
        job = answer.json.get("job_id")
        assert job is None or system.api.job(job).expect(200).json["job"]["status"] == "failed"
    # In a group none holds up another.
    for number, text in enumerate(TEXTS[:5]):
        robot.ask("POST", "/_test/behave", {"login": [{"mode": "overlay", "fields": {"titulo": text}, "company_id": 300 + n} for n in range(0, 40, 7)]})
        counts, _ = run(system, range(300 + 40 * 0, 340))
        assert counts["done"] == 40, (text, counts)
        for n in range(300, 340):
            system.api.close(system.api.active(n).json["session_id"])


def test_whatever_a_robot_calls_its_boot(make_system):
    system = make_system()
    for number, boot in enumerate(("münchen", "😀" * 20, "x" * 300, 17, None, {"a": 1}, "a\u0000b")):
        system.robot.behave("health", "overlay", fields={"boot_id": boot})
        system.wait_probed()
        wait_until(lambda: system.api.execute(50 + number, params=LOGIN).status == 200, 20, f"a log-in with boot id {boot!r}")  # noqa: B023


def test_what_a_constraint_refuses_ends_alone(make_system):
    system = make_system(capacity=200, settings={"queue.max_attempts": 2})
    db = system.database
    db.execute("CREATE TABLE companies (id BIGINT UNSIGNED PRIMARY KEY)")
    db.execute("INSERT INTO companies SELECT seq FROM seq_1_to_2000")
    kinds = {
        "a foreign key": ("ALTER TABLE portal_jobs ADD CONSTRAINT fk FOREIGN KEY (company_id) REFERENCES companies (id)", "ALTER TABLE portal_jobs DROP FOREIGN KEY fk", 5000),
        "a check": ("ALTER TABLE portal_jobs ADD CONSTRAINT ck CHECK (company_id <> 1005)", "ALTER TABLE portal_jobs DROP CONSTRAINT ck", 1005),
        "a trigger": ("CREATE TRIGGER tr BEFORE INSERT ON portal_jobs FOR EACH ROW IF NEW.company_id = 1105 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF",
                      "DROP TRIGGER tr", 1105),
        "a division": ("CREATE TRIGGER tr BEFORE INSERT ON portal_jobs FOR EACH ROW BEGIN IF NEW.company_id = 1205 THEN INSERT INTO companies VALUES (1); END IF; END",
                       "DROP TRIGGER tr", 1205),
    }  # fmt: skip
    for base, (kind, (make, drop, bad)) in enumerate(kinds.items()):
        db.execute(make)
        good = range(1300 + 100 * base, 1312 + 100 * base)
        counts, _ = run(system, [*list(good)[:6], bad, *list(good)[6:]])
        assert counts["done"] == 12 and counts["failed"] == 1, (kind, counts)
        answer = system.api.execute(bad, params=LOGIN)
        answer.expect(409, "refused_by_database")
        told = lambda: json.dumps(system.ops.get("/api/v1/ops/stats").json["words"])  # noqa: E731
        wait_until(lambda told=told: "portal_jobs" in told() or "refus" in told(), 10, f"{kind} is said")
        db.execute(drop)
    db.execute("ALTER TABLE portal_jobs ADD COLUMN tenant INT NOT NULL")
    system.api.execute(1900, params=LOGIN).expect(409, "refused_by_database")
    counts, _ = run(system, range(1901, 1905))
    assert counts["failed"] == 4
    wait_until(lambda: "tenant" in json.dumps(system.ops.get("/api/v1/ops/stats").json["words"]), 12, "the column is named")
    db.execute("ALTER TABLE portal_jobs DROP COLUMN tenant")
    counts, _ = run(system, range(1906, 1909))
    assert counts["done"] == 3


def test_rows_that_go_away_under_live_sessions(make_system):
    system = make_system(capacity=50)
    db = system.database
    db.execute("ALTER TABLE portal_jobs ADD COLUMN deleted_at TIMESTAMP NULL")
    ways = {
        1: "DELETE FROM portal_jobs WHERE company_id = 1",
        2: "UPDATE portal_jobs SET deleted_at = NOW() WHERE company_id = 2",
        3: "UPDATE portal_jobs SET robot_session_id = NULL, robot_worker_base_url = NULL WHERE company_id = 3",
        4: "DELETE FROM portal_jobs WHERE company_id = 4 OR company_id = 5",
    }
    for company in (1, 2, 3, 4, 5):
        system.api.login(company, params=LOGIN)
    for statement in ways.values():
        db.execute(statement)
    for company in (1, 2, 4, 5):
        wait_until(lambda: system.api.execute(company, params=LOGIN).status == 200, 40, f"company {company} logs in again")  # noqa: B023
    counts, _ = run(system, range(20, 26))
    assert counts["done"] == 6
    assert system.portal.violations() == []
    system.database.execute("UPDATE portal_jobs SET robot_session_id = 'gone', robot_worker_base_url = 'http://127.0.0.1:1' WHERE company_id = 3")
    system.check_doctor = False
