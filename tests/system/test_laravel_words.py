# SPDX-License-Identifier: MIT
"""laravel.status.*: an application whose statuses have other names keeps them. Its ENUM takes no other word, so that whatever is
written in ours is refused; what Chasqui tells is in ours all the same. laravel.columns: payload and result are filled."""

import json
import threading

import pytest

from harness.wait import wait_until

WORDS = {"queued": "pending", "retrying": "pending", "running": "processing", "done": "completed", "failed": "error"}
TABLE = """CREATE TABLE portal_jobs (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, job_uid VARCHAR(40) NOT NULL UNIQUE, company_id BIGINT UNSIGNED NOT NULL,
  portal VARCHAR(30) NOT NULL, action VARCHAR(60) NOT NULL, status ENUM('pending','processing','completed','error','cancelled') NOT NULL DEFAULT 'pending',
  user_id BIGINT UNSIGNED NULL, payload JSON NULL, result JSON NULL, created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL, deleted_at TIMESTAMP NULL, KEY (company_id, portal, status))
  DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"""


@pytest.fixture
def database(mariadb):
    made = mariadb.create_database()
    yield made
    mariadb.ensure_running().drop_database(made)


def findings(system):
    return {one["check"]: one for one in system.ctl_json("doctor", check=False)["findings"]}


def job_ended(system, job_id):
    def look():
        job = system.api.job(job_id).expect(200).json["job"]
        return job if job["finished_at"] else None

    return wait_until(look, 60, f"job {job_id} has ended")


def batch_ended(system, batch_id):
    def look():
        batch = system.api.get(f"/api/v1/app/batches/{batch_id}").expect(200).json["batch"]
        return batch["counts"] if batch["finished_at"] else None

    return wait_until(look, 60, f"batch {batch_id} has ended")


def jobs(system, status):
    return {job["company_id"] for job in system.ops.get(f"/api/v1/ops/jobs?status={status}").expect(200).json["jobs"]}


def test_an_application_keeps_its_words(database, make_system):
    table = database
    table.execute(TABLE)
    settings = {f"laravel.status.{own}": word for own, word in WORDS.items()}
    system = make_system(database=table, capacity=60, dispatchers=2, settings=settings | {"laravel.columns": "user_id, payload, result", "queue.max_attempts": 1, "queue.lease_ms": 3000})
    api, robot = system.api, system.robot
    columns = table.value("SELECT COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'portal_jobs' AND COLUMN_NAME = 'status'")
    assert columns == "enum('pending','processing','completed','error','cancelled')"  # migrate had nothing to add

    def filled(job_id):
        row = table.row("SELECT user_id, payload, result, job_uid FROM portal_jobs WHERE id = %s", job_id)
        assert row["user_id"] is None and json.loads(row["payload"])["job_uid"] == row["job_uid"]
        return json.loads(row["payload"]), row["result"] and json.loads(row["result"])

    def word(job_id):
        return table.value("SELECT status FROM portal_jobs WHERE id = %s", job_id)

    # Laravel's own row: its session is found, reused and adopted
    old = robot.orphan(1)
    table.execute("INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, updated_at) "
                  "VALUES ('LARAVEL-1', 1, 'sunat', 'x', 'completed', %s, %s, UTC_TIMESTAMP(), UTC_TIMESTAMP())", robot.url, old)  # fmt: skip
    table.execute("INSERT INTO portal_jobs (job_uid, company_id, portal, action, status) VALUES ('LARAVEL-2', 2, 'sunat', 'x', 'error')")
    api.list(old).expect(200)
    assert api.execute(1).expect(200).json["session_id"] == old
    # execute
    done = api.execute(3).expect(200).json["job_id"]
    assert word(done) == "completed" and api.job(done).expect(200).json["job"]["status"] == "done"
    payload, result = filled(done)
    assert (payload["company_id"], payload["portal"], payload["action"]) == (3, "sunat", "sunat.menu_sol_login") and "params" not in payload
    assert result["ok"] is True and result["session_id"] == api.active(3).expect(200).json["session_id"] and result["job_id"] == done and result["worker"] == "r1"
    # a refusal, and putting it back
    robot.behave("login", "status", company_id=4, status=422, body='{"ok": false, "error": "bad_credentials"}')
    failed = job_ended(system, api.queue(4).expect(202).json["job_id"])
    assert failed["status"] == "failed" and word(failed["id"]) == "error"
    result = filled(failed["id"])[1]
    assert result["ok"] is False and result["error"] == failed["error"] and result["message"] == failed["message"], result
    assert system.ctl("jobs", "retry", "--status", "failed", "--preview").stdout.split()[:1] != ["0"]
    robot.behave_well()
    system.ctl("jobs", "retry", str(failed["id"]))
    assert job_ended(system, failed["id"])["status"] == "done" and word(failed["id"]) == "completed"
    assert filled(failed["id"])[1]["ok"] is True
    # what waits, and what is cancelled
    system.ctl("queue", "pause")
    waiting = api.queue(5).expect(202).json["job_id"]
    assert filled(waiting)[1] is None and word(waiting) == "pending" and jobs(system, "queued") == {5} and jobs(system, "retrying") == set()
    assert system.ops.get(f"/api/v1/ops/jobs/{waiting}/why").expect(200).json["status"] == "queued"
    assert "1 " in system.ctl("jobs", "cancel", "--company", "5", "--preview").stdout
    system.ctl("jobs", "cancel", str(waiting))
    assert word(waiting) == "cancelled" and filled(waiting)[1]["message"] == "The job was cancelled."
    system.ctl("queue", "resume")
    # a batch, with what it waits for between two tries
    batch = api.batch([*range(10, 20)]).expect(202).json["batch_id"]
    assert batch_ended(system, batch)["done"] == 10
    assert all(one["session_id"] == filled(one["id"])[1]["session_id"] for one in system.ops.get(f"/api/v1/ops/jobs?batch_id={batch}").expect(200).json["jobs"])
    assert jobs(system, "done") >= {1, 3, 4, *range(10, 20)} and jobs(system, "failed") == {2}
    listed = api.get("/api/v1/app/jobs?company_id=2").expect(200).json["jobs"]
    assert [job["status"] for job in listed] == ["failed"]
    assert {one["n"] for one in system.ops.get("/api/v1/ops/errors").expect(200).json["errors"]} == {1}
    # a dispatcher that dies over a log-in
    robot.behave("login", "delay", company_id=30, ms=6000)
    answers = []
    caller = threading.Thread(target=lambda: answers.append(api.execute(30, timeout=60)))
    caller.start()
    robot.wait_call("login", company_id=30)
    assert table.value("SELECT status FROM portal_jobs WHERE company_id = 30") == "processing" and jobs(system, "running") == {30}
    holder = table.value("SELECT holder FROM chasqui_leases WHERE kind = 'login'")
    dead = next(process for process in system.dispatchers if process.name == holder)
    dead.kill9()
    caller.join()
    wait_until(lambda: table.value("SELECT status FROM portal_jobs WHERE company_id = 30 ORDER BY id DESC LIMIT 1") in ("completed", "error"), 60, "it is settled")
    dead.start()
    api.login(30)
    assert not {"status_not_taken", "status_not_translated"} & set(findings(system))
    # rows from before the words were set, and a table that was changed since
    table.execute("ALTER TABLE portal_jobs MODIFY status ENUM('pending','processing','completed','cancelled','done','error') NOT NULL")
    table.execute("UPDATE portal_jobs SET status = 'done' WHERE id = %s", done)
    found = findings(system)["status_not_translated"]
    assert "is done" in found["text"] and found["do"] == "UPDATE portal_jobs SET status = 'completed' WHERE status = 'done'"
    table.execute(found["do"])
    table.execute("UPDATE portal_jobs SET status = 'error' WHERE status = 'cancelled'")
    table.execute("ALTER TABLE portal_jobs MODIFY status ENUM('pending','processing','completed','error') NOT NULL")
    told = findings(system)
    assert "the word cancelled" in told["status_not_taken"]["text"] and "status_not_translated" not in told
    system.dispatchers[0].restart()
    system.dispatchers[0].wait_log("event=status_not_taken word=cancelled", 30)
    table.execute(f"ALTER TABLE portal_jobs MODIFY {columns.replace('enum', 'status ENUM')} NOT NULL")


def test_a_check_is_tried_with_the_words(database, make_system):
    database.execute(TABLE.replace("ENUM('pending','processing','completed','error','cancelled') NOT NULL DEFAULT 'pending'",
                                   "VARCHAR(20) NOT NULL CHECK (status IN ('pending','processing','completed','error','cancelled'))"))  # fmt: skip
    system = make_system(database=database, settings={f"laravel.status_{own}": word for own, word in WORDS.items()})
    assert system.api.execute(1).expect(200)
    assert database.value("SELECT status FROM portal_jobs") == "completed" and "portal_jobs" not in findings(system)
    conf = system.write_conf("other", {name: value for name, value in system.settings.items() if name != "laravel.status_done"})
    refused = system.ctl("migrate", check=False, conf=conf)
    assert refused.returncode == 1 and "refuses the word done" in refused.stderr, refused
    for line, why in (("status.done = error", "laravel.status_failed: is the word for done too|laravel.status_done"), ("status.done = it's", "letters")):
        text = system.conf.read_text().replace("laravel\n", "laravel\n    " + line.replace("= ", '= "') + '"\n')
        path = system.conf.with_name("bad.conf")
        path.write_text("\n".join(row for row in text.splitlines() if "status_done" not in row) + "\n")
        refused = system.ctl("migrate", check=False, conf=path)
        assert refused.returncode == 2 and any(part in refused.stderr for part in why.split("|")), refused
