# SPDX-License-Identifier: MIT
"""portal_jobs as a Laravel application makes and treats it: foreign keys, an ENUM, soft deletes, children, rows that are deleted under
live sessions, columns and triggers that refuse. Nobody but the one who is meant suffers, and what stands is named."""

import datetime
import json

import pytest

from harness.wait import wait_until

LARAVEL = """
CREATE TABLE companies (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, ruc CHAR(11) UNIQUE, name VARCHAR(255) NOT NULL, created_at TIMESTAMP NULL,
  updated_at TIMESTAMP NULL, deleted_at TIMESTAMP NULL) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE users (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, company_id BIGINT UNSIGNED NOT NULL, name VARCHAR(255) NOT NULL,
  CONSTRAINT users_company_id_foreign FOREIGN KEY (company_id) REFERENCES companies (id)) DEFAULT CHARSET=utf8mb4;
CREATE TABLE portal_jobs (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, job_uid VARCHAR(40) NOT NULL, company_id BIGINT UNSIGNED NOT NULL,
  user_id BIGINT UNSIGNED NULL, portal VARCHAR(30) NOT NULL, action VARCHAR(60) NOT NULL,
  status ENUM('pending','running','done','failed') NOT NULL DEFAULT 'pending', payload JSON NULL, result JSON NULL, error TEXT NULL,
  started_at TIMESTAMP NULL, finished_at TIMESTAMP NULL, created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL, deleted_at TIMESTAMP NULL,
  UNIQUE KEY portal_jobs_job_uid_unique (job_uid), KEY (company_id, portal, status),
  CONSTRAINT portal_jobs_company_id_foreign FOREIGN KEY (company_id) REFERENCES companies (id),
  CONSTRAINT portal_jobs_user_id_foreign FOREIGN KEY (user_id) REFERENCES users (id)) DEFAULT CHARSET=latin1;
CREATE TABLE portal_documents (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, portal_job_id BIGINT UNSIGNED NOT NULL, asunto VARCHAR(255) NOT NULL,
  CONSTRAINT portal_documents_portal_job_id_foreign FOREIGN KEY (portal_job_id) REFERENCES portal_jobs (id) ON DELETE CASCADE) DEFAULT CHARSET=utf8mb4;
"""


@pytest.fixture
def databases(mariadb):
    """Dropped when the systems on them are closed."""
    made = []
    yield made
    for database in made:
        mariadb.ensure_running().drop_database(database)


@pytest.fixture
def laravel(databases, mariadb, make_system):
    """make(**options) -> a system on a database that Laravel made; companies 1-99 exist."""

    def make(**options):
        database = mariadb.create_database()
        databases.append(database)
        for statement in LARAVEL.split(";\n"):
            if statement.strip():
                database.execute(statement)
        database.execute("INSERT INTO companies (id, name) SELECT seq, 'c' FROM seq_1_to_99")
        return make_system(database=database, **options)

    return make


def ended(system, batch_id, timeout=60):
    def look():
        batch = system.api.get(f"/api/v1/app/batches/{batch_id}").expect(200).json["batch"]
        return batch["counts"] if batch["finished_at"] else None

    return wait_until(look, timeout, f"batch {batch_id} has ended")


def run_batch(system, companies):
    return ended(system, system.api.batch(companies).expect(202).json["batch_id"])


def items(system, batch_id):
    return {one["company_id"]: one for one in system.api.get(f"/api/v1/app/batches/{batch_id}/items?limit=200").expect(200).json["items"]}


def words(system):
    return {one["code"]: one["text"] for one in system.ops.get("/api/v1/ops/stats?history=0").expect(200).json["words"]}


def findings(system):
    return {one["check"]: one["text"] for one in system.ctl_json("doctor", check=False)["findings"]}


def test_what_the_table_refuses_ends_alone(laravel):
    system = laravel(capacity=90, settings={"queue.max_attempts": 2})
    answer = system.api.execute(901).expect(409, "refused_by_database")
    assert answer.json["errors"]["constraint"] == ["portal_jobs_company_id_foreign"] and answer.json["errors"]["table"] == ["portal_jobs"]
    system.set_credentials(902, ruc="20000000902", usuario="DEMO", clave="demo")  # a company that was deleted, and is on a schedule

    # foreign key: the innocent ones of the same claim go on
    batch_id = system.api.batch([*range(1, 31), *range(901, 907)]).expect(202).json["batch_id"]
    assert (lambda c: (c["done"], c["failed"]))(ended(system, batch_id)) == (30, 6)
    refused = items(system, batch_id)[903]
    assert refused["error"] == "refused_by_database" and "portal_jobs_company_id_foreign" in refused["message"] and refused["job_id"] is None
    told = wait_until(lambda: words(system).get("refused_by_database"), 10, "the page names it")
    assert "portal_jobs_company_id_foreign" in told
    assert "portal_jobs_company_id_foreign" in findings(system)["refused_by_database"]
    system.ctl("schedule", "add", "all", "--cron", "0 7 * * *", "--portal", "sunat", "--action", "sunat.menu_sol_login", "--stored")
    system.ctl("schedule", "run", "all")
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_refusals r JOIN chasqui_items i ON i.batch_id = r.batch_id AND "
                                             "i.idx = r.idx WHERE i.company_id = 902 AND r.batch_id > %s", batch_id), 20, "902 ended")  # fmt: skip

    # a trigger that refuses the completion: the session does not stay on its robot
    system.database.execute("CREATE TRIGGER no_done BEFORE UPDATE ON portal_jobs FOR EACH ROW IF NEW.company_id = 40 AND NEW.status = 'done' THEN "
                            "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the ledger is closed'; END IF")  # fmt: skip
    batch_id = system.api.batch([40, 41]).expect(202).json["batch_id"]
    assert (lambda c: (c["done"], c["failed"]))(ended(system, batch_id)) == (1, 1)
    assert "the ledger is closed" in items(system, batch_id)[40]["message"]
    wait_until(lambda: not [one for one in system.robot.sessions() if one["company_id"] == 40], 10, "no session of 40 stays")
    assert system.api.execute(40).expect(409, "refused_by_database")
    # one that refuses every change of a row: the job ends in our own tables, and the row follows when it can
    system.database.execute("DROP TRIGGER no_done")
    system.database.execute("CREATE TRIGGER no_more BEFORE UPDATE ON portal_jobs FOR EACH ROW IF NEW.company_id = 42 THEN SIGNAL SQLSTATE '45000' "
                            "SET MESSAGE_TEXT = 'frozen'; END IF")  # fmt: skip
    batch_id = system.api.batch([42, 43]).expect(202).json["batch_id"]
    assert (lambda c: (c["done"], c["failed"]))(ended(system, batch_id)) == (1, 1)
    job_id = items(system, batch_id)[42]["job_id"]
    job = system.api.job(job_id).expect(200).json["job"]
    assert (job["status"], job["error"]) == ("failed", "refused_by_database"), job
    system.database.execute("DROP TRIGGER no_more")
    system.database.execute("UPDATE chasqui_refusals SET due_at = NOW(6) WHERE job_id = %s", job_id)
    wait_until(lambda: system.database.value("SELECT status FROM portal_jobs WHERE id = %s", job_id) == "failed", 20, "the row follows")

    # a later migration: everything is refused, and says so; it mends itself
    system.database.execute("ALTER TABLE portal_jobs ADD COLUMN tenant_id BIGINT UNSIGNED NOT NULL")
    assert system.api.execute(50).expect(409, "refused_by_database").json["errors"]["column"] == ["tenant_id"]
    assert run_batch(system, [51, 52])["failed"] == 2
    wait_until(lambda: "tenant_id" in words(system).get("refused_by_database", ""), 10, "the page names the column")
    assert "tenant_id" in findings(system)["portal_jobs"]
    assert "tenant_id" in system.ctl("migrate", check=False).stderr
    system.database.execute("ALTER TABLE portal_jobs DROP COLUMN tenant_id")
    assert run_batch(system, [51, 52])["done"] == 2
    system.api.login(50)


@pytest.mark.long(60)
def test_rows_deleted_under_live_sessions(laravel):
    system = laravel(capacity=40)
    api, database = system.api, system.database
    session = {company: api.login(company) for company in range(1, 8)}

    def gone(company):
        return not [one for one in system.robot.sessions() if one["session_id"] == session[company]]

    # soft-deleted: it does not exist for the application
    database.execute("UPDATE portal_jobs SET deleted_at = NOW() WHERE company_id = 1")
    wait_until(lambda: api.list(session[1]).status == 404, 15, "the session is not found")
    api.active(1).expect(404, "session_not_found")
    assert api.login(1) != session[1]
    wait_until(lambda: gone(1), 10, "it is closed on its robot")
    # deleted for good, with its children, while a batch wants the same company
    database.execute("INSERT INTO portal_documents (portal_job_id, asunto) SELECT id, 'x' FROM portal_jobs WHERE company_id = 2")
    database.execute("DELETE FROM portal_jobs WHERE company_id IN (2, 3)")
    assert run_batch(system, [2, 3, 20])["done"] == 3
    wait_until(lambda: gone(2) and gone(3), 15, "they are closed on their robot")
    api.list(session[2]).expect(404, "session_not_found")
    # a log-in whose row is deleted while the robot works on it
    system.robot.behave("login", "delay", company_id=30, ms=6000)
    batch_id = api.batch([30, 31]).expect(202).json["batch_id"]
    system.robot.wait_call("login", company_id=30)
    wait_until(lambda: database.execute("DELETE FROM portal_jobs WHERE company_id = 30"), 5, "deleted")
    counts = ended(system, batch_id)
    assert (counts["done"], counts["cancelled"]) == (1, 1), counts
    wait_until(lambda: not [one for one in system.robot.sessions() if one["company_id"] == 30], 15, "no session of 30 stays")
    # TRUNCATE: every number begins anew
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
        cursor.execute("TRUNCATE TABLE portal_jobs")
    fresh = api.login(50)
    api.list(fresh).expect(200)
    wait_until(lambda: gone(4) and gone(5) and gone(6), 20, "all old sessions are closed")
    assert run_batch(system, [4, 5, 51])["done"] == 3
    wait_until(lambda: database.value("SELECT COUNT(*) FROM chasqui_jobs q LEFT JOIN portal_jobs j ON j.id = q.job_id WHERE j.id IS NULL") == 0, 90,
               "nothing is left of deleted jobs")  # fmt: skip


def refuse(system, companies, body):
    """Log-ins of these companies get that answer from the robot."""
    told = [{"mode": "status", "status": 422, "body": json.dumps(body), "company_id": company} for company in companies]
    system.robot.ask("POST", "/_test/behave", {"login": told})


def test_a_message_column_that_is_narrow(laravel):
    system = laravel(capacity=40, settings={"queue.max_attempts": 1})
    api, database = system.api, system.database
    database.execute("ALTER TABLE portal_jobs MODIFY message VARCHAR(40) CHARACTER SET latin1 NULL")
    said = {"ok": False, "error": "ñandú", "message": "日本 y mucho más de lo que cabe en la columna; €" * 9}
    refuse(system, (3, 4), said)
    api.execute(3).expect(502, "robot_error")  # its row may be refused, the table is looked at then
    database.execute("UPDATE chasqui_refusals SET due_at = NOW(6)")
    wait_until(lambda: database.value("SELECT status FROM portal_jobs WHERE company_id = 3") == "failed", 20, "its row follows")
    assert (lambda c: (c["done"], c["failed"]))(run_batch(system, [4, 5])) == (1, 1)
    for company in (3, 4):
        row = database.row("SELECT status, message FROM portal_jobs WHERE company_id = %s", company)
        assert row["status"] == "failed" and len(row["message"]) == 40 and "ñandú: ??" in row["message"], row
    assert database.value("SELECT COUNT(*) FROM chasqui_refusals") == 0


def test_a_fresh_table_under_a_running_system(laravel):
    """artisan migrate:fresh: portal_jobs goes, and comes again without what `chasqui migrate` adds."""
    system = laravel(capacity=20)
    system.api.login(1)
    make = next(one for one in LARAVEL.split(";\n") if "CREATE TABLE portal_jobs" in one)

    def run(*statements):
        with system.database.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
            for statement in statements:
                cursor.execute(statement)

    def named():
        return "portal_jobs" in json.dumps(system.ops.get("/api/v1/ops/stats?history=0").expect(200).json["words"])

    for company, statements in ((2, ["DROP TABLE portal_jobs", make]), (3, ["DROP TABLE portal_jobs"])):
        run(*statements)
        assert system.api.execute(company, headers={"X-Deadline-Ms": "5000"}).status in (409, 503, 504)
        wait_until(named, 10, "the page names the table")
        told = system.ctl("doctor", check=False)
        assert told.returncode == 1 and "portal_jobs" in told.stdout + told.stderr, told
        if len(statements) == 1:
            run(make)
        system.ctl("migrate")
        wait_until(lambda company=company: system.api.execute(company).status == 200, 30, "log-ins go on")
        system.api.list(system.api.active(company).expect(200).json["session_id"]).expect(200)
    assert run_batch(system, [4, 5])["done"] == 2


def test_laravel_in_lima(laravel):
    """Wall time in TIMESTAMP columns of a server in UTC."""
    system = laravel(settings={"laravel.time_zone": "America/Lima", "session.idle_timeout_s": 3600})
    api, database, robot = system.api, system.database, system.robot
    wall = "UTC_TIMESTAMP() - INTERVAL 5 HOUR"
    old = robot.orphan(1)
    database.execute(f"INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, updated_at) "
                     f"VALUES ('LARAVEL-1', 1, 'sunat', 'x', 'done', %s, %s, {wall}, {wall})", robot.url, old)  # fmt: skip
    answer = api.execute(1).expect(200).json  # young by Laravel's clock: no second log-in at the cut-over
    assert answer["session_id"] == old and answer["reused"]
    api.login(2)
    row = database.row(f"SELECT TIMESTAMPDIFF(SECOND, created_at, {wall}) AS c, TIMESTAMPDIFF(SECOND, updated_at, {wall}) AS u, "
                       f"TIMESTAMPDIFF(SECOND, started_at, {wall}) AS s, TIMESTAMPDIFF(SECOND, finished_at, {wall}) AS f FROM portal_jobs WHERE company_id = 2")  # fmt: skip
    assert all(-5 <= value <= 60 for value in row.values()), row
    job = api.get("/api/v1/app/jobs?company_id=2").expect(200).json["jobs"][0]
    created = datetime.datetime.fromisoformat(job["created_at"].replace("Z", "+00:00"))
    assert abs((datetime.datetime.now(datetime.timezone.utc) - created).total_seconds()) < 120
    assert "laravel_clock" not in findings(system)
    database.execute("INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, created_at) VALUES ('LARAVEL-2', 3, 'sunat', 'x', 'done', UTC_TIMESTAMP())")
    assert "5" in findings(system)["laravel_clock"]
