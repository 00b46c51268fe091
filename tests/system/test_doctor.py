# SPDX-License-Identifier: MIT
"""`chasqui doctor`: it is content with what is in order, and finds each promise that is broken."""

import json

import pytest
from ctl_desk import Ctl, FakeBroker, conf_with
from harness import free_port


@pytest.fixture
def ctl(tmp_path, database):
    return Ctl(tmp_path / "ctl", database)


@pytest.fixture
def clinic(ctl):
    """Two robots and a little of everything that is in order."""
    ctl.run("worker", "add", "r1", "--base-url", "http://10.0.0.1:9000", "--capacity", 8)
    ctl.run("worker", "add", "r2", "--base-url", "http://10.0.0.2:9000")
    ctl.session(1)
    job, ref = ctl.session(2, state="opening")
    ctl.lease(job, ref)
    job, ref = ctl.session(3, state="closing")
    ctl.lease(job, ref, "close")
    ctl.session(4, state="closed")
    ctl.session(5, state="lost")
    job, ref = ctl.session(6, robot="r2", state="opening", place=False, generation=2)
    ctl.database.execute("UPDATE chasqui_sessions SET robot_id = NULL WHERE id = %s", ref)
    ctl.database.execute("UPDATE portal_jobs SET status = 'done' WHERE id = %s", job)
    ctl.database.execute("INSERT INTO chasqui_session_migrations VALUES (%s, 'robot_down', 0, 0, NOW(6), NOW(6))", job)
    running = ctl.job(7, "running", "action")
    ctl.lease(running, None, "action")
    ctl.job(8, "failed", "action")
    ctl.job(9, "running", None)  # Laravel's own
    queue_fill(ctl)
    return ctl


def queue_fill(ctl):
    """Batch 1 runs, with an item of each state; batch 2 has ended; two jobs wait by themselves."""
    execute = ctl.database.execute
    for batch, status, finished in ((1, "running", None), (2, "done", "2026-01-01")):
        execute(
            "INSERT INTO chasqui_batches (id, token_id, portal, action, priority, turn, status, created_at, finished_at) VALUES (%s, 1, 'sunat', "
            "'sunat.menu_sol_login', 5, 1, %s, NOW(6) - INTERVAL 1 HOUR, %s)",
            batch, status, finished,
        )  # fmt: skip
    job, ref = ctl.session(40, state="opening", reason="queue")
    ctl.lease(job, ref)
    execute("UPDATE chasqui_jobs SET batch_id = 1, idx = 0 WHERE job_id = %s", job)
    for idx, state, ready, job_id in ((0, "running", None, job), (1, "queued", 1, None), (2, "done", None, None), (3, "failed", None, None)):
        execute("INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn, job_id) VALUES (1, %s, %s, %s, %s, 4, 1, %s)",
                idx, 40 + idx, state, ready, job_id)  # fmt: skip
    execute("INSERT INTO chasqui_items (batch_id, idx, company_id, state, urgency, turn) VALUES (2, 0, 50, 'done', 4, 1)")
    for company, status, ready, due in ((51, "queued", 1, None), (52, "retrying", None, "2030-01-01")):
        job = ctl.job(company, status)
        execute("UPDATE chasqui_jobs SET batch_id = 0, idx = job_id WHERE job_id = %s", job)
        execute("INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, due_at, urgency, turn, job_id) VALUES (0, %s, %s, %s, %s, %s, 4, 1, %s)",
                job, company, status, ready, due, job)  # fmt: skip


def test_what_is_in_order_is_in_order(clinic):
    found, code = clinic.doctor()
    assert code == 0
    assert set(found) == {"migrating"} and found["migrating"][0][0] == "note"
    told = clinic.run("doctor")
    assert "every promise holds" in told.stdout and "only the database" in told.stdout
    before = clinic.snapshot()
    clinic.run("doctor")
    assert clinic.snapshot() == before


BROKEN = {
    "two_live": (
        "ALTER TABLE chasqui_sessions DROP KEY one_live",
        "INSERT INTO chasqui_sessions (job_id, generation, current_job_id, company_id, portal, live, state, since, robot_id, epoch) SELECT job_id + "
        "1000, 1, job_id + 1000, company_id, portal, 1, 'active', since, robot_id, 1 FROM chasqui_sessions WHERE company_id = 1",
    ),
    "unique_keys": ("ALTER TABLE chasqui_sessions DROP KEY one_live",),
    "live_not_current": ("UPDATE chasqui_sessions SET current_job_id = NULL WHERE company_id = 1",),
    "live_state": ("UPDATE chasqui_sessions SET state = 'lost' WHERE company_id = 1",),
    "epoch": ("DELETE FROM chasqui_epochs WHERE company_id = 1",),
    "place_stale": (
        "UPDATE chasqui_places SET session_ref = (SELECT id FROM chasqui_sessions WHERE company_id = 4) WHERE session_ref IS NULL AND slot = 8 AND robot_id = 1",
    ),
    "place_elsewhere": ("UPDATE chasqui_sessions SET robot_id = 2 WHERE company_id = 1",),
    "live_without_place": (
        "UPDATE chasqui_places SET session_ref = NULL WHERE session_ref = (SELECT id FROM chasqui_sessions WHERE company_id = 1)",
    ),
    "capacity_breach": (
        "UPDATE chasqui_robots SET capacity = 1 WHERE name = 'r1'",
        "INSERT INTO chasqui_audit (at, actor, action, subject, detail) VALUES (NOW(6) - INTERVAL 1 HOUR, 'robot:r1', 'worker_capacity', 'r1', '8 -> 1')",
    ),
    "robot_without_places": ("DELETE FROM chasqui_places WHERE robot_id = 2",),
    "job_without_lease": ("DELETE FROM chasqui_leases WHERE kind = 'action'",),
    "lease_of_ended_job": ("UPDATE portal_jobs SET status = 'done' WHERE company_id = 7",),
    "lease_of_nothing": ("UPDATE chasqui_leases SET job_id = 999999, session_ref = 999999 WHERE kind = 'action'",),
    "lease_wrong_session": ("UPDATE chasqui_sessions SET state = 'active', live_session_id = robot_session_id WHERE company_id = 3",),
    "params_left": ("UPDATE chasqui_jobs SET params = 'x' WHERE company_id = 8",),
    "opening_without_lease": ("DELETE FROM chasqui_leases WHERE kind = 'login'",),
    "closing_without_lease": ("DELETE FROM chasqui_leases WHERE kind = 'close'",),
    "done_but_gone": ("UPDATE portal_jobs SET status = 'done' WHERE company_id = 5",),
    "active_but_not_done": ("UPDATE portal_jobs SET status = 'failed' WHERE company_id = 1",),
    "running_but_ended": ("UPDATE portal_jobs SET status = 'running' WHERE company_id = 4",),
    "session_id_differs": ("UPDATE portal_jobs SET robot_session_id = 'S-1' WHERE company_id = 1",),
    "item_without_lease": ("UPDATE chasqui_items SET state = 'running', ready = NULL, job_id = 1 WHERE batch_id = 1 AND idx = 1",),
    "lease_without_item": ("UPDATE chasqui_items SET state = 'queued' WHERE company_id = 40",),
    "job_without_item": ("UPDATE chasqui_items SET due_at = NULL WHERE company_id = 52",),
    "item_of_ended_batch": ("UPDATE chasqui_items SET state = 'retrying' WHERE company_id = 50",),
    "base_url_differs": ("UPDATE portal_jobs SET robot_worker_base_url = 'http://10.0.0.2:9000' WHERE company_id = 1",),
}  # fmt: skip


@pytest.mark.parametrize("check", BROKEN)
def test_each_broken_promise_is_found(clinic, check):
    for statement in BROKEN[check]:
        clinic.database.execute(statement)
    found, code = clinic.doctor()
    assert code == 1
    assert check in found, found
    level, _text, remedy = found[check][0]
    assert level == "broken" and remedy
    told = clinic.run("doctor", check=False)
    assert told.returncode == 1 and f"broken  {check}: " in told.stdout and "every promise" not in told.stdout


def test_a_young_job_may_be_on_its_way(clinic):
    clinic.database.execute("UPDATE portal_jobs SET started_at = NOW(3) WHERE company_id = 7")
    clinic.database.execute("DELETE FROM chasqui_leases WHERE kind = 'action'")
    assert clinic.doctor()[1] == 0


def test_a_row_that_laravel_deleted_is_a_note(clinic):
    clinic.database.execute("DELETE FROM portal_jobs WHERE company_id = 8")
    found, code = clinic.doctor()
    assert code == 0 and found["job_without_row"][0][0] == "note"


def test_notes_do_not_fail(clinic):
    clinic.session(20, state="lost", close_pending=1)
    clinic.session(21, state="migrated", close_pending=1)
    clinic.database.execute("UPDATE chasqui_robots SET capacity = 1 WHERE name = 'r1'")
    clinic.database.execute("INSERT INTO chasqui_audit (at, actor, action, subject, detail) VALUES (NOW(6), 'robot:r1', 'worker_capacity', 'r1', '8 -> 1')")
    clinic.database.execute("UPDATE chasqui_leases SET expires_at = NOW(6) - INTERVAL 1 HOUR WHERE kind = 'action'")
    found, code = clinic.doctor()
    assert code == 0
    assert set(found) == {"migrating", "abandoned", "above_capacity", "lease_run_out"}
    assert len(found["abandoned"]) == 1 and "there: 2;" in found["abandoned"][0][1] and "remove r1 --force" in found["abandoned"][0][2]


def test_notes_about_the_queue(clinic):
    execute = clinic.database.execute
    execute("UPDATE chasqui_batches SET status = 'running', finished_at = NULL WHERE id = 2")
    execute("INSERT INTO chasqui_batches (id, token_id, portal, action, priority, turn, status, created_at) VALUES (3, 1, 'sunat', 'a', 5, 1, 'open', NOW(6) - "
            "INTERVAL 25 HOUR)")  # fmt: skip
    execute("INSERT INTO chasqui_webhooks (batch_id, state, attempts, due_at, delivery, created_at, settled_at, last_error) VALUES (1, 'waiting', 1, NOW(6) - "
            "INTERVAL 10 MINUTE, 'x', NOW(6), NULL, NULL), (2, 'given_up', 8, NULL, 'y', NOW(6), NOW(6), 'it answered 500')")  # fmt: skip
    execute("INSERT INTO chasqui_schedules (name, cron, portal, action, actor, next_at, created_at) VALUES ('s', '@daily', 'sunat', 'a', 'x', NOW(6) - INTERVAL "
            "1 HOUR, NOW(6))")  # fmt: skip
    found, code = clinic.doctor()
    assert code == 0
    assert set(found) == {"migrating", "batch_not_ended", "batch_open_long", "webhook_waits", "webhook_given_up", "schedule_waits"}
    assert "answered 500" in found["webhook_given_up"][0][1] and "secret_file" in found["webhook_waits"][0][2]


def test_above_capacity_is_a_breach_unless_the_robot_lowered_it(clinic):
    clinic.database.execute("UPDATE chasqui_robots SET capacity = 1 WHERE name = 'r1'")
    found, code = clinic.doctor()
    assert code == 1 and "above_capacity" not in found and "of 1" in found["capacity_breach"][0][1]
    clinic.database.execute("UPDATE chasqui_sessions SET adopted = 1")  # Laravel's may be more
    assert clinic.doctor()[1] == 0


def test_base_urls_compare_as_urls(clinic):
    clinic.database.execute("UPDATE portal_jobs SET robot_worker_base_url = 'HTTP://10.0.0.1:9000/' WHERE company_id = 1")
    assert clinic.doctor()[1] == 0


def test_unregistered_robots_of_laravel_get_their_line(clinic):
    known = {"robot_session_id": "x1", "robot_worker_base_url": "HTTP://10.0.0.1:9000/"}
    clinic.job(30, "done", None, **known)
    clinic.job(31, "done", None, robot_session_id="x2", robot_worker_base_url="http://10.0.0.9:9000/")
    clinic.job(32, "running", None, robot_session_id="x3", robot_worker_base_url="http://10.0.0.9:9000/")
    clinic.job(33, "failed", None, robot_session_id="x4", robot_worker_base_url="http://old/")
    clinic.job(34, "done", None, robot_session_id="x5", robot_worker_base_url="robot:9000")
    found, code = clinic.doctor()
    assert code == 0
    told = {text: remedy for level, text, remedy in found["robot_unknown"]}
    assert len(told) == 2
    good = next(text for text in told if "10.0.0.9" in text)
    assert "(2 rows)" in good and told[good] == "chasqui worker add 10.0.0.9-9000 --base-url http://10.0.0.9:9000"
    clinic.run(*told[good].split()[1:])
    assert len(clinic.doctor()[0]["robot_unknown"]) == 1


def test_many_findings_are_counted(clinic):
    for company in range(100, 130):
        clinic.job(company, "running")
    found, code = clinic.doctor()
    assert code == 1
    assert len(found["job_without_lease"]) == 21 and "10 more" in found["job_without_lease"][-1][1]


def test_the_brokers_part_is_merged(clinic):
    finding = {"level": "note", "check": "robot_down", "text": "r1 is down", "do": "look at the robot"}
    answer = {"ok": True, "findings": [finding]}
    with FakeBroker(lambda *_: (200, answer)) as broker:
        conf = conf_with(clinic, ctl__ops_url=broker.url, ctl__token="7|abc")
        told = clinic.json("doctor", conf=conf)
        assert told["ok"] and told["robots_asked"] and finding in told["findings"]
        assert [one[:2] for one in broker.asked] == [("GET", "/api/v1/ops/doctor"), ("GET", "/api/v1/ops/stats")]
        assert "what the robots hold" in clinic.run("doctor", conf=conf).stdout
        finding["level"] = "broken"
        told = clinic.run("doctor", "--json", conf=conf, check=False)
        assert told.returncode == 1 and json.loads(told.stdout)["ok"] is False


def test_without_a_broker_the_database_part_is_made(clinic):
    conf = conf_with(clinic, ctl__ops_url=f"http://127.0.0.1:{free_port()}", ctl__token="7|abc")
    told = clinic.run("doctor", "--json", conf=conf, check=False)
    answer = json.loads(told.stdout)
    assert told.returncode == 1 and answer["promises_kept"] and not (answer["ok"] or answer["serving"] or answer["robots_asked"])
    assert [one["check"] for one in answer["findings"] if one["level"] == "down"] == ["no_broker"]
    told = clinic.run("doctor", conf=conf, check=False)
    assert told.returncode == 1 and "every promise holds" in told.stdout and "requests cannot be served" in told.stdout


def test_when_nothing_can_be_served_it_says_so_once(clinic):
    """A broker without dispatcher: its words are asked for though what the robots hold is not known."""
    words = [{"level": "bad", "code": "no_dispatcher", "text": "No dispatcher is connected: nothing can be done.", "todo": "Start it."},
             {"level": "warn", "code": "healthd_silent", "text": "No healthd has been heard for 9 s.", "todo": "Start it."},
             {"level": "ok", "code": "idle", "text": "x", "todo": ""}]  # fmt: skip

    def answers(_method, path, _query):
        return (503, {"ok": False, "error": "no_dispatcher"}) if path.endswith("doctor") else (200, {"ok": True, "words": words})

    with FakeBroker(answers) as broker:
        conf = conf_with(clinic, ctl__ops_url=broker.url, ctl__token="7|abc")
        told = clinic.run("doctor", conf=conf, check=False)
        assert told.returncode == 1 and "down    no_dispatcher: " in told.stdout and "note    healthd_silent: " in told.stdout
        assert told.stdout.count("no_dispatcher:") == 1 and told.stdout.endswith("requests cannot be served\n")
        words.pop(0)
        told = clinic.run("doctor", "--json", conf=conf)
        assert json.loads(told.stdout)["ok"]
