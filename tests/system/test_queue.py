# SPDX-License-Identifier: MIT
"""Queued log-ins: Prefer, Idempotency-Key, retries, cancelling, priority, places kept back, the dead and the stopped."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.wait import stays, wait_until

LOGIN = {"ruc": "20100000001", "usuario": "DEMO", "clave": "demo"}
ACTIONS = {"sunat.menu_sol_login": {"method": "POST", "path": "/sunat/login", "session": "create", "timeout_ms": 120000,
                                    "final_errors": "bad_credentials"},
           "sunat.echo": {"method": "POST", "path": "/sunat/echo", "session": "use", "timeout_ms": 5000}}  # fmt: skip


def job_of(system, job_id):
    return system.api.job(job_id).expect(200).json["job"]


def ended(system, job_id, status, timeout=20):
    return wait_until(lambda: (job := job_of(system, job_id))["status"] == status and job, timeout, f"job {job_id} is {status}")


def events_of(job):
    return [one["event"] for one in job["timeline"]]


# --- Prefer ------------------------------------------------------------------------------------------------------


def test_respond_async_is_answered_at_once_and_done_soon(system):
    answer = system.api.queue(1).expect(202)
    told = answer.json
    assert told == {"ok": True, "job_id": told["job_id"], "job_uid": told["job_uid"], "status": "queued"}
    assert answer.headers["Location"] == f"/api/v1/app/jobs/{told['job_id']}"
    assert answer.headers["Preference-Applied"] == "respond-async"
    job = ended(system, told["job_id"], "done")
    assert events_of(job) == ["queued", "started", "done"] and job["attempts"] == 1
    assert system.api.active(1).expect(200).json["session_id"] == job["session_id"]
    again = system.api.queue(1).expect(200).json  # its session is there: at once
    assert again["reused"] and again["session_id"] == job["session_id"]


def test_wait_gets_the_outcome_or_a_202(system):
    done = system.api.queue(2, "wait=20").expect(200)
    assert done.json["session_id"] == system.api.active(2).json["session_id"] and done.json["job_id"]
    system.robot.behave("login", "delay", ms=8000)
    began = time.monotonic()
    late = system.api.queue(3, "wait=1").expect(202)
    assert 0.9 < time.monotonic() - began < 7 and late.json["status"] == "queued" and late.headers["Preference-Applied"] == "wait=1"
    assert system.api.queue(3, "wait=1").expect(202).json["job_id"] == late.json["job_id"]  # joined, and not there in time
    joined = system.api.queue(3, "wait=60").expect(200).json  # the one that runs: its result
    assert joined["session_id"] == system.api.active(3).json["session_id"]
    system.robot.behave("login", "delay", ms=4000)
    system.api.queue(4).expect(202)
    system.robot.wait_call("login", company_id=4)
    assert system.api.queue(4).expect(409, "login_in_progress").json["job_id"]


def test_a_second_log_in_of_a_company_gets_the_first_ones_session(system):
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "test"}).expect(200)
    first = system.api.queue(1).expect(202).json["job_id"]
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(system.api.queue(1, "wait=20")))
    waiter.start()
    second = wait_until(lambda: system.database.value("SELECT MAX(id) FROM portal_jobs WHERE id > %s", first), 10, "it is queued")
    system.ops.post("/api/v1/ops/queue/resume", {}).expect(200)
    waiter.join()
    session = ended(system, first, "done")["session_id"]
    told = answers[0].expect(200).json
    assert told["session_id"] == session and ended(system, second, "done")["session_id"] == session
    assert len(system.robot.calls("login")) == 1


def test_a_queued_log_in_waits_for_a_place(make_system):
    system = make_system(robots=1, capacity=1)
    first = system.api.login(1)
    queued = system.api.queue(2).expect(202).json["job_id"]
    system.api.execute(3, params=LOGIN).expect(503, "no_free_worker")
    stays(lambda: job_of(system, queued)["status"] == "queued", 1)
    system.api.close(first).expect(200)
    ended(system, queued, "done", 5)


def test_an_idle_system_begins_within_milliseconds(make_system):
    system = make_system(capacity=50)
    system.api.login(50)
    took = []
    for company in range(1, 21):
        began = time.time()
        system.api.queue(company).expect(202)
        took.append(system.robot.wait_call("login", company_id=company)[0]["time"] - began)
    assert sorted(took)[10] < 0.5, took  # the poll alone would need a second for each


def test_available_at(system):
    soon = time.time() + 2
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(soon))
    job = system.api.queue(1, available_at=at).expect(202).json["job_id"]
    stays(lambda: job_of(system, job)["status"] == "queued" or time.time() >= int(soon), 0.5)
    ended(system, job, "done")
    assert system.robot.calls("login")[0]["time"] >= int(soon)


# --- Idempotency-Key -------------------------------------------------------------------------------------------------


def test_the_same_key_gets_the_same_answer(system):
    key = {"Idempotency-Key": "k-1"}
    first = system.api.execute(1, params=LOGIN, headers=key).expect(200)
    again = system.api.execute(1, params=LOGIN, headers=key).expect(200)
    assert again.body == first.body and again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    system.api.execute(1, params={**LOGIN, "clave": "other"}, headers=key).expect(422, "idempotency_mismatch")
    other = system.api.execute(2, params=LOGIN, headers=key).expect(200)  # another company's key is another key
    assert other.json["session_id"] != first.json["session_id"]
    system.api.close(first.json["session_id"]).expect(200)
    assert system.api.execute(1, params=LOGIN, headers=key).expect(200).body == first.body
    assert len(system.robot.calls("login")) == 2


def test_the_same_key_waits_with_the_first(system):
    system.robot.behave("login", "delay", ms=1000)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(system.api.execute(1, params=LOGIN, headers={"Idempotency-Key": "k"}))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {200} and len({answer.body for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 5
    assert len(system.robot.calls("login")) == 1


def test_a_failure_is_kept_and_a_refusal_is_not(make_system):
    system = make_system(robots=1, capacity=1)
    key = {"Idempotency-Key": "k-1"}
    system.robot.behave("login", "status", status=403, body={"ok": False, "error": "bad_credentials"}, times=1)
    first = system.api.execute(1, params=LOGIN, headers=key).expect(502, "robot_error")
    again = system.api.execute(1, params=LOGIN, headers=key).expect(502, "robot_error")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert {**again.json, "request_id": 0} == {**first.json, "request_id": 0}
    held = system.api.login(2)
    system.api.execute(3, params=LOGIN, headers=key).expect(503, "no_free_worker")
    system.api.close(held).expect(200)
    system.api.execute(3, params=LOGIN, headers=key).expect(200)  # nothing had been made


def test_a_key_on_respond_async_stands_for_one_job(system):
    key = {"Idempotency-Key": "k-1"}
    first = system.api.queue(1, headers=key).expect(202)
    ended(system, first.json["job_id"], "done")
    again = system.api.queue(1, headers=key).expect(202)
    assert again.json == first.json and again.headers["Idempotency-Replayed"] == "true"


def test_a_key_on_an_action_keeps_its_result(make_system):
    system = make_system(actions=ACTIONS)
    session = system.api.login(1)
    key = {"Idempotency-Key": "k-1"}
    first = system.api.execute(1, action="sunat.echo", session_id=session, params={"x": 1}, headers=key).expect(200)
    again = system.api.execute(1, action="sunat.echo", session_id=session, params={"x": 1}, headers=key).expect(200)
    assert again.body == first.body and again.headers["Idempotency-Replayed"] == "true"
    assert len(system.robot.calls("echo")) == 1
    kept = system.database.value("SELECT GROUP_CONCAT(HEX(answer)) FROM chasqui_idempotency")
    assert session.encode().hex().upper() not in kept  # sealed


# --- attempts -----------------------------------------------------------------------------------------------------------


def test_a_failure_is_tried_again_with_back_off(make_system):
    system = make_system(actions=ACTIONS)
    system.robot.behave("login", "status", status=400, body={"ok": False, "error": "portal_busy"}, times=1)
    job = system.api.queue(1).expect(202).json["job_id"]
    done = ended(system, job, "done")
    assert done["attempts"] == 2 and events_of(done) == ["queued", "started", "retrying", "started", "done"]
    system.robot.behave("login", "status", status=400, body={"ok": False, "error": "portal_busy"}, times=3)
    job = system.api.queue(2).expect(202).json["job_id"]
    failed = ended(system, job, "failed", 40)
    assert failed["attempts"] == 3 and failed["error"] == "robot_error" and failed["finished_at"]
    assert system.database.value("SELECT COUNT(session_ref) FROM chasqui_places") == 1


def test_a_final_error_is_not_tried_again(make_system):
    system = make_system(actions=ACTIONS)
    system.robot.behave("login", "status", status=401, body={"ok": False, "error": "bad_credentials"})
    job = system.api.queue(1).expect(202).json["job_id"]
    assert ended(system, job, "failed")["attempts"] == 1
    assert len(system.robot.calls("login")) == 1


def test_a_full_robot_costs_no_attempt(make_system):
    system = make_system(robots=1)
    system.robot.behave("login", "status", status=503, body={"ok": False, "error": "full"}, times=2)
    job = system.api.queue(1).expect(202).json["job_id"]
    done = ended(system, job, "done", 30)
    assert done["attempts"] == 1 and "waits_again" in events_of(done)


def test_an_unknown_outcome_is_settled_before_the_next_attempt(make_system):
    system = make_system(robots=2)
    for robot in system.robots.values():
        robot.behave("login", "close_before_answer", times=1)
    job = system.api.queue(1).expect(202).json["job_id"]
    ended(system, job, "done", 30)
    assert system.portal.violations() == []
    assert sum(len(robot.sessions()) for robot in system.robots.values()) == 1


# --- cancelling and retrying by hand -------------------------------------------------------------------------------------


def test_cancel_before_during_and_after(make_system):
    system = make_system(robots=1, capacity=1)
    held = system.api.login(1)
    waits = system.api.queue(2).expect(202).json
    told = system.api.delete(f"/api/v1/app/jobs/{waits['job_id']}").expect(200).json
    assert told == {"ok": True, "job_id": waits["job_id"], "job_uid": waits["job_uid"], "status": "cancelled"}
    system.api.delete(f"/api/v1/app/jobs/{waits['job_uid']}").expect(409, "wrong_state")
    system.api.close(held).expect(200)
    system.robot.behave("login", "delay", ms=60000)
    runs = system.api.queue(3).expect(202).json["job_id"]
    system.robot.wait_call("login", company_id=3)
    assert system.api.delete(f"/api/v1/app/jobs/{runs}").expect(202).json["status"] == "running"
    cancelled = ended(system, runs, "cancelled", 10)
    assert events_of(cancelled)[-1] == "cancelled" and cancelled["error"] is None
    system.robot.behave_well()
    wait_until(lambda: system.robot.sessions() == [], 5, "nothing is left on the robot")
    wait_until(lambda: system.database.value("SELECT COUNT(session_ref) FROM chasqui_places") == 0, 5, "no place is kept")
    system.api_for(9).delete(f"/api/v1/app/jobs/{runs}").expect(404, "job_not_found")
    system.api.delete("/api/v1/app/jobs/999999").expect(404, "job_not_found")


def test_a_waiter_of_a_cancelled_log_in_is_told(system):
    system.robot.behave("login", "delay", ms=60000)
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(system.api.execute(1, params=LOGIN)))
    waiter.start()
    job = wait_until(lambda: system.database.value("SELECT MAX(id) FROM portal_jobs WHERE status = 'running'"), 10, "it runs")
    system.robot.wait_call("login", company_id=1)
    system.api.delete(f"/api/v1/app/jobs/{job}").expect(202)
    waiter.join()
    assert answers[0].expect(409, "wrong_state").json["job_id"] == job


def test_retry_by_hand(make_system):
    system = make_system(actions=ACTIONS)
    system.set_credentials(1, ruc="20100000001", usuario="DEMO", clave="demo")
    system.robot.behave("login", "status", status=401, body={"ok": False, "error": "bad_credentials"}, times=1)
    job = system.api.queue(1).expect(202).json["job_id"]
    ended(system, job, "failed")
    system.ops.post(f"/api/v1/ops/jobs/{job}/retry").expect(200)
    done = ended(system, job, "done")
    assert done["attempts"] == 1 and done["error"] is None
    system.ops.post(f"/api/v1/ops/jobs/{job}/retry").expect(409, "wrong_state")
    assert system.database.value("SELECT COUNT(*) FROM chasqui_audit WHERE action LIKE '%%retry%%'") == 1


# --- order, shares, pause -----------------------------------------------------------------------------------------------


def test_interactive_log_ins_have_places_kept_back(make_system):
    system = make_system(robots=1, capacity=10, settings={"queue.interactive_percent": 20})
    system.api.batch(range(1, 21)).expect(202)
    wait_until(lambda: system.database.value("SELECT COUNT(session_ref) FROM chasqui_places") == 8, 20, "the share is used")
    stays(lambda: system.database.value("SELECT COUNT(session_ref) FROM chasqui_places") == 8, 1)
    system.api.login(100)
    system.api.login(101)
    system.api.execute(102, params=LOGIN).expect(503, "no_free_worker")


def test_queued_log_ins_run_beside_each_other_up_to_a_bound(make_system):
    system = make_system(robots=1, capacity=30, settings={"queue.interactive_percent": 0, "dispatcher.concurrency": 2})
    system.robot.behave("login", "delay", ms=4000)
    system.api.batch(range(1, 21)).expect(202)

    def running():
        return system.database.value("SELECT COUNT(*) FROM chasqui_leases")

    wait_until(lambda: running() == 8, 20, "four times dispatcher.concurrency run")
    stays(lambda: running() <= 8, 1)


def test_a_pause_holds_the_queue_and_nothing_else(make_system):
    system = make_system()
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "portal under maintenance"}).expect(200)
    job = system.api.queue(1).expect(202).json["job_id"]
    stays(lambda: job_of(system, job)["status"] == "queued", 1.5)
    system.api.login(2)
    system.ops.post("/api/v1/ops/queue/resume", {"reason": "it is back"}).expect(200)
    ended(system, job, "done", 5)


def test_one_log_in_of_a_company_at_a_time(make_system):
    system = make_system(robots=3, dispatchers=3, capacity=30)
    jobs = [system.api.queue(1 + n % 5).json["job_id"] for n in range(40)]
    for job in set(jobs):
        ended(system, job, "done")
    assert system.portal.violations() == []
    assert sum(len(robot.sessions()) for robot in system.robots.values()) == 5


# --- those who die ------------------------------------------------------------------------------------------------------


def test_a_dead_dispatchers_queued_log_ins_are_rescued(make_system):
    system = make_system(robots=2, dispatchers=2, robot_options={"login_ms": "300-600"})
    jobs = [system.api.queue(company).expect(202).json["job_id"] for company in range(1, 13)]
    holder = wait_until(lambda: system.database.value("SELECT holder FROM chasqui_leases LIMIT 1"), 10, "one of them works")
    killed = next(one for one in system.dispatchers if one.name == holder)
    killed.kill9()
    for job in jobs:
        ended(system, job, "done", 30)
    killed.start()
    assert system.portal.violations() == []


def test_a_dispatcher_that_knows_no_robots_yet_rescues_nothing(make_system):
    """It could not ask what became of a log-in, and one more would be the company's second."""
    system = make_system(robots=2, robot_options={"login_ms": "2500-3000"})
    jobs = [system.api.queue(company).expect(202).json["job_id"] for company in range(1, 5)]

    def called():
        return sum(len(robot.calls("login")) for robot in system.robots.values())

    wait_until(lambda: called() == 4, 10, "all are called")
    system.dispatchers[0].kill9()
    with system.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLES chasqui_robots WRITE")  # its list of robots will be late
        system.dispatchers[0].start()
        system.dispatchers[0].wait_log("event=orphans leases=[1-9]")
        stays(lambda: "event=rescued" not in system.dispatchers[0].text(), 2)
        cursor.execute("UNLOCK TABLES")
    for job in jobs:
        assert ended(system, job, "done", 30)["attempts"] == 1
    assert called() == 4
    assert system.portal.violations() == []


def test_a_removed_robots_running_log_ins_fail_and_their_batch_ends(make_system):
    system = make_system(robots=1, robot_options={"login_ms": "60000-60000"})
    batch = system.api.batch([{"company_id": 1}, {"company_id": 2}]).expect(202).json["batch_id"]
    wait_until(lambda: len(system.robot.calls("login")) == 2, 10, "both run")
    system.ctl("worker", "remove", "r1", "--force")

    def told():
        return system.api.get(f"/api/v1/app/batches/{batch}").expect(200).json["batch"]

    wait_until(lambda: told()["status"] == "done", 10, "the batch has ended")
    assert told()["counts"]["failed"] == 2
    assert system.database.value("SELECT COUNT(*) FROM chasqui_leases") == 0


def test_a_stopping_dispatcher_lets_go_at_once(make_system):
    system = make_system(robots=1, dispatchers=2, settings={"queue.lease_ms": 60000}, robot_options={"login_ms": "100-200"})
    jobs = [system.api.queue(company).expect(202).json["job_id"] for company in range(1, 7)]
    system.dispatchers[0].stop()
    for job in jobs:
        ended(system, job, "done", 20)
    system.dispatchers[0].start()
    system.wait_ready()


def test_the_database_away_loses_nothing(make_system, mariadb):
    system = make_system(robots=2, dispatchers=2, robot_options={"login_ms": "50-300"})
    jobs = [system.api.queue(company).expect(202).json["job_id"] for company in range(1, 15)]
    mariadb.kill9()
    mariadb.start()
    system.wait_ready()
    for job in jobs:
        ended(system, job, "done", 40)
    assert system.portal.violations() == []


@pytest.mark.parametrize("prefer", ["wait=abc", "wait=-1", "wait=121"])
def test_bad_preferences(system, prefer):
    assert "Prefer" in system.api.queue(1, prefer).expect(422, "validation_failed").json["errors"]


def last_place(system, batch_id, company_from):
    """How many items the claim takes before the last of those, and how many those are."""
    rows = system.database.rows("SELECT batch_id, company_id FROM chasqui_items WHERE ready = 1 ORDER BY ready, urgency, turn, batch_id, idx")
    mine = [at for at, row in enumerate(rows) if row["batch_id"] == batch_id and row["company_id"] >= company_from]
    return mine[-1], len(mine)


def test_a_token_that_floods_the_queue_does_not_hold_up_the_others(make_system):
    """Within one priority, whatever one token put in before, another's item waits for few of them."""
    system = make_system()
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "test"}).expect(200)
    flood, other = system.api_for(), system.api_for()

    def all_at_once(fn, n):
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(fn, range(n)))

    all_at_once(lambda n: flood.queue(1 + n).expect(202), 600)
    all_at_once(lambda n: flood.batch([10_000 + 20 * n + k for k in range(20)]).expect(202), 60)
    flood.batch(range(100_000, 105_000)).expect(202)
    batch = other.batch(range(200_000, 200_010)).expect(202).json["batch_id"]
    for company in range(300_000, 300_010):
        other.queue(company).expect(202)
    for which, begins in ((batch, 200_000), (0, 300_000)):
        place, n = last_place(system, which, begins)
        assert n == 10 and place < 500, (which, place)
    system.check_doctor = False
    system.database.execute("DELETE FROM chasqui_items WHERE batch_id = 0 AND company_id < 1000")
    flood.queue(900_000).expect(202)  # what is gone holds nobody up
    assert last_place(system, 0, 900_000)[0] < 100
