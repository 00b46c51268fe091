# SPDX-License-Identifier: MIT
"""Log-ins: the answer, no duplicate, placing, each way a robot can misbehave, adopted rows."""

import json
import threading

import pytest

from harness.wait import wait_until

LOGIN = {"ruc": "20100000001", "usuario": "DEMO", "clave": "demo"}


def together(calls):
    """Runs all at once; answers their results in order."""
    results = [None] * len(calls)

    def run(at, call):
        results[at] = call()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_login_answers_everything_a_backend_needs(system):
    answer = system.api.execute(1, params=LOGIN).expect(200).json
    assert answer["ok"] is True and answer["robot"]["worker"] == "r1"
    assert answer["viewer_url"] == "https://viewer.example/viewer/" + answer["session_id"]
    assert set(answer["robot"]) == {"url", "titulo", "worker"}
    assert answer["job_uid"].partition("-")[0].isalnum() and len(answer["job_uid"].partition("-")[0]) == 12
    job = system.api.job(answer["job_id"]).expect(200).json["job"]
    assert job["status"] == "done" and job["session_id"] == answer["session_id"] and job["worker"] == "r1"
    assert system.api.job(answer["job_uid"]).expect(200).json["job"] == job
    assert {"started", "done"} <= {event["event"] for event in job["timeline"]}
    row = system.database.row("SELECT * FROM portal_jobs WHERE id = %s", answer["job_id"])
    assert row["robot_worker_base_url"] == system.robot.url and row["robot_session_id"] == answer["session_id"]
    sent = system.robot.calls("login")[0]
    assert sent["body"]["epoch"] == 1 and sent["body"]["job_uid"] == answer["job_uid"]
    assert sent["headers"]["Idempotency-Key"] == f"{answer['job_uid']}.1"
    assert system.database.value("SELECT params FROM chasqui_jobs WHERE job_id = %s", answer["job_id"]) is None


def test_request_id_and_traceparent_reach_the_robot(system):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = system.api.execute(2, params=LOGIN, headers={"X-Request-Id": "my.id-1", "traceparent": trace}).expect(200)
    assert answer.headers["X-Request-Id"] == "my.id-1"
    headers = system.robot.calls("login")[0]["headers"]
    assert headers["X-Request-Id"] == "my.id-1" and headers["traceparent"] == trace


def test_a_second_execute_returns_the_session(system):
    first = system.api.execute(3, params=LOGIN).expect(200).json
    second = system.api.execute(3, params=LOGIN).expect(200).json
    assert second["reused"] is True and second["session_id"] == first["session_id"] and second["job_id"] == first["job_id"]
    assert len(system.robot.calls("login")) == 1


def test_one_that_comes_while_a_login_runs_gets_409_with_its_job(make_system):
    system = make_system(dispatchers=3, settings={"queue.lease_ms": 10000})
    system.robot.settings(login_ms="5000-5000")
    answers = together([lambda: system.api.execute(4, params=LOGIN)] * 6)
    won = [one for one in answers if one.status == 200]
    busy = [one for one in answers if one.status == 409]
    assert len(won) == 1 and len(busy) == 5
    assert {one.error for one in busy} == {"login_in_progress"}
    assert {one.json["job_id"] for one in busy} == {won[0].json["job_id"]}
    assert len(system.robot.calls("login")) == 1


def test_force_new_closes_first(system):
    first = system.api.login(5)
    second = system.api.execute(5, params=LOGIN, force_new=True).expect(200).json
    assert second["session_id"] != first and "reused" not in second
    gone = system.api.list(first).expect(410, "session_closed").json
    assert gone["successor_session_id"] == second["session_id"] and gone["state"] == "closed"
    assert system.portal.violations() == []


def test_force_new_with_an_unconfirmed_close_changes_nothing(system):
    first = system.api.login(6)
    system.robot.behave("delete", "reset")
    system.api.execute(6, params=LOGIN, force_new=True).expect(502, "robot_unreachable")
    system.robot.behave_well()
    system.api.list(first).expect(200)


def test_force_new_side_by_side_with_unconfirmed_closes_changes_nothing(make_system):
    """Who meets another's close, which is then not confirmed, closes by itself: the old session is nobody's answer."""
    system = make_system(dispatchers=2)
    first = system.api.login(6)
    system.robot.behave("delete", "reset")
    answers = together([lambda: system.api.execute(6, params=LOGIN, force_new=True)] * 12)
    assert {(one.status, one.error) for one in answers} == {(502, "robot_unreachable")}
    system.robot.behave_well()
    system.api.list(first).expect(200)
    answers = together([lambda: system.api.execute(6, params=LOGIN, force_new=True)] * 12)
    told = {one.json.get("session_id") for one in answers if one.status == 200}
    assert told and first not in told and {one.error for one in answers if one.status != 200} <= {"login_in_progress"}
    assert system.portal.violations() == []


def test_queued_force_new_side_by_side_is_not_answered_with_the_old_session(make_system):
    system = make_system(dispatchers=2)
    system.api.login(6)
    system.robot.behave("delete", "reset")
    body = {"company_id": 6, "portal": "sunat", "action": "sunat.menu_sol_login", "params": LOGIN, "force_new": True}
    for _ in range(4):
        answers = together([lambda: system.api.post("/api/v1/app/jobs/execute", body, headers={"Prefer": "respond-async"})] * 16)
        assert {(one.status, one.error) for one in answers} <= {(202, None), (502, "robot_unreachable")}


def test_placing_by_fewest_sessions_for_the_capacity(make_system):
    system = make_system(robots=0, ready=False, dispatchers=3)
    system.add_robot("small", capacity=5)
    system.add_robot("large", capacity=15)
    system.start().wait_ready().wait_probed()
    wait_until(lambda: [w["capacity"] for w in system.ops.get("/api/v1/ops/workers").json["workers"]] == [15, 5], 10, "capacities")
    for n in range(12):
        system.api.login(100 + n)
    held = {name: len(robot.sessions()) for name, robot in system.robots.items()}
    assert held == {"small": 3, "large": 9}


def test_full_means_503_and_a_freed_place_is_taken(make_system):
    system = make_system(robots=2, capacity=2)
    wait_until(lambda: all(w["capacity"] == 2 for w in system.ops.get("/api/v1/ops/workers").json["workers"]), 10, "capacities")
    sessions = [system.api.login(200 + n) for n in range(4)]
    refused = system.api.execute(204, params=LOGIN).expect(503, "no_free_worker")
    assert int(refused.headers["Retry-After"]) > 0
    system.api.close(sessions[0]).expect(200)
    system.api.execute(204, params=LOGIN).expect(200)


def test_more_places_than_a_log_in_counts(make_system):
    """With more than a few held places a log-in chooses by its dispatcher's last count. Robots fill evenly all the same, and each place is used."""
    system = make_system(robots=0, ready=False, dispatchers=2, settings={"queue.interactive_percent": 0})
    system.add_robot("small", capacity=60)
    system.add_robot("large", capacity=120)
    system.start().wait_ready().wait_probed()
    wait_until(lambda: [w["capacity"] for w in system.ops.get("/api/v1/ops/workers").json["workers"]] == [120, 60], 10, "capacities")

    def log_in(first, n):
        number = system.api.batch(range(first, first + n)).expect(202).json["batch_id"]
        wait_until(lambda: system.api.get(f"/api/v1/app/batches/{number}").json["batch"]["status"] == "done", 60, "the batch is done")
        assert system.api.get(f"/api/v1/app/batches/{number}").json["batch"]["counts"]["done"] == n

    log_in(1000, 90)
    for n in range(30):
        system.api.login(1200 + n)
    held = {name: len(robot.sessions()) for name, robot in system.robots.items()}
    assert sum(held.values()) == 120 and 34 <= held["small"] <= 46, held
    log_in(1300, 58)
    sessions = [system.api.login(1400 + n) for n in range(2)]
    assert {name: len(robot.sessions()) for name, robot in system.robots.items()} == {"small": 60, "large": 120}
    system.api.execute(1500, params=LOGIN).expect(503, "no_free_worker")
    system.api.close(sessions[0]).expect(200)
    system.api.login(1500)
    queued = system.api.queue(1600).expect(202).json["job_id"]
    system.api.close(sessions[1]).expect(200)
    wait_until(lambda: system.api.job(queued).json["job"]["status"] == "done", 20, "the place that was freed is taken from the queue too")


def test_never_on_a_draining_or_down_robot(make_system):
    system = make_system(robots=3)
    system.ctl("worker", "drain", "r1")
    system.robots["r2"].kill9()
    wait_until(lambda: system.metric("chasqui_robots_down") == 1, 10, "r2 is down")
    wait_until(lambda: any(w["name"] == "r2" and w["verdict"] == "down" for w in system.ops.get("/api/v1/ops/workers").json["workers"]), 5, "told")
    for n in range(6):
        assert system.api.execute(300 + n, params=LOGIN).expect(200).json["robot"]["worker"] == "r3"


def test_a_full_robot_is_left_for_another_without_counting_an_attempt(make_system):
    system = make_system(robots=2)
    system.robots["r1"].behave("login", "status", status=503, body={"ok": False, "error": "full"})
    answers = [system.api.execute(400 + n, params=LOGIN).expect(200).json for n in range(4)]
    assert {one["robot"]["worker"] for one in answers} == {"r2"}
    assert all(system.api.job(one["job_id"]).json["job"]["attempts"] == 1 for one in answers)


def test_wrong_password_is_the_robots_word(system):
    answer = system.api.execute(7, params=dict(LOGIN, clave="wrong")).expect(502, "robot_error").json
    assert answer["robot"]["error"] == "bad_credentials" and answer["robot"]["status"] == 401 and answer["job_id"]
    assert system.api.job(answer["job_id"]).json["job"]["error"] == "robot_error"
    system.api.execute(7, params=LOGIN).expect(200)


@pytest.mark.parametrize(
    "mode, status, error, more",
    [
        ("reset", 502, "robot_unreachable", {}),
        ("garbage", 502, "robot_bad_response", {}),
        ("cut", 502, "robot_bad_response", {}),
        ("truncated_json", 502, "robot_bad_response", {}),
        ("empty", 502, "robot_bad_response", {}),
        ("not_json", 502, "robot_bad_response", {}),
        ("html", 502, "robot_bad_response", {}),
        ("endless", 502, "robot_bad_response", {}),
        ("long_session_id", 502, "robot_bad_response", {}),
        ("close_before_answer", 502, "robot_unreachable", {}),
        ("status", 502, "robot_error", {"status": 500}),
        ("redirect", 502, "robot_error", {"location": "http://127.0.0.1:1/"}),
    ],
)
def test_a_misbehaving_robot(system, mode, status, error, more):
    """A clear error with the job; no session stays behind, no place leaks; the next log-in works."""
    system.robot.behave("login", mode, times=1, **more)
    answer = system.api.execute(8, params=LOGIN).expect(status, error)
    assert answer.json["job_id"] and system.robot.url not in answer.body.decode()
    wait_until(lambda: system.api.job(answer.json["job_id"]).json["job"]["status"] == "failed", 10, "settled")
    assert system.robot.sessions() == []
    system.api.execute(8, params=LOGIN).expect(200)
    assert system.portal.violations() == []


def test_a_hanging_robot_is_fenced_at_the_limit(make_system):
    system = make_system(settings={"timeout.login_ms": 1000})
    system.robot.behave("login", "hang", times=1)
    answer = system.api.execute(9, params=LOGIN).expect(504, "deadline_exceeded").json
    assert answer["job_id"]
    wait_until(lambda: system.robot.calls("fence"), 5, "the fence")
    wait_until(lambda: system.api.execute(9, params=LOGIN).status == 200, 10, "the next log-in")


def test_a_session_id_that_is_live_elsewhere(make_system):
    system = make_system(robots=1)
    live = system.api.login(10)
    system.robot.behave("login", "duplicate_session_id", times=1, company_id=11)
    system.api.execute(11, params=LOGIN).expect(502, "robot_bad_response")
    system.api.list(live).expect(200)
    assert [one["company_id"] for one in system.robot.sessions()] == [10]


def test_deadline_with_the_job_while_the_login_goes_on(system):
    system.robot.settings(login_ms="7000-7000")
    answer = system.api.execute(12, params=LOGIN, headers={"X-Deadline-Ms": "3500"}).expect(504, "deadline_exceeded").json
    wait_until(lambda: system.api.job(answer["job_id"]).json["job"]["status"] == "done", 10, "the log-in went on")
    assert system.api.execute(12, params=LOGIN).expect(200).json["reused"] is True


def test_stale_epoch_is_raised(system):
    system.api.close(system.api.login(13)).expect(200)
    system.database.execute("UPDATE chasqui_epochs SET epoch = 0 WHERE company_id = 13")
    system.api.execute(13, params=LOGIN).expect(200)
    wait_until(lambda: system.metric("chasqui_stale_epoch_total") >= 1, 5, "counted")


def laravel_row(system, session_id, company=20, url=None, status="done", age_s=0):
    system.database.execute(
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at,"
        " updated_at) VALUES (CONCAT('LARAVEL', FLOOR(RAND()*1e9), '-1700000000'), %s, 'sunat', 'sunat.menu_sol_login', %s, %s, %s,"
        " NOW() - INTERVAL %s SECOND, NOW() - INTERVAL %s SECOND)", company, status, url or system.robot.url, session_id, age_s, age_s)  # fmt: skip


def test_laravels_own_session_is_adopted(system):
    session = system.robot.orphan(20)
    laravel_row(system, session, url=system.robot.url + "/", age_s=90000)
    system.api.list(session).expect(200)
    assert system.database.value("SELECT adopted FROM chasqui_sessions WHERE robot_session_id = %s", session) == 1
    assert system.api.active(20).expect(200).json["session_id"] == session
    assert system.api.execute(20, params=LOGIN).expect(200).json["reused"] is True


def test_laravels_sessions_are_adopted_together(make_system):
    """First uses of one moment share transactions, and each has the answer that it would have alone; through two dispatchers."""
    system = make_system(dispatchers=2)
    sessions = {company: system.robot.orphan(company) for company in range(100, 140)}
    for company, session in sessions.items():
        laravel_row(system, session, company)
    system.database.execute("ALTER TABLE chasqui_sessions ADD CONSTRAINT not_that_one CHECK (company_id <> 139)")
    answers = together([lambda session=session: system.api.list(session) for session in [*sessions.values()] * 2])
    refused = [answer for answer in answers if answer.status != 200]
    assert [(answer.status, answer.error) for answer in refused] == [(409, "refused_by_database")] * 2
    assert answers[39] in refused and answers[79] in refused
    rows = system.database.rows("SELECT s.company_id, s.robot_session_id id FROM chasqui_sessions s JOIN chasqui_places p ON p.session_ref = s.id AND "
                                "p.robot_id = s.robot_id WHERE s.live = 1 AND s.adopted = 1")  # fmt: skip
    assert sorted((row["company_id"], row["id"]) for row in rows) == sorted(sessions.items())[:-1]
    assert system.database.value("SELECT COUNT(*) FROM chasqui_job_events WHERE event = 'adopted'") == 39
    system.database.execute("ALTER TABLE chasqui_sessions DROP CONSTRAINT not_that_one")
    system.api.list(sessions[139]).expect(200)


def test_execute_reuses_laravels_session_only_if_young(make_system):
    system = make_system(settings={"session.idle_timeout_s": 600})
    young, old = system.robot.orphan(21), system.robot.orphan(22)
    laravel_row(system, young, 21, age_s=10)
    laravel_row(system, old, 22, age_s=700)
    assert system.api.execute(21, params=LOGIN).expect(200).json["session_id"] == young
    system.allow_violations = True  # the old one is Laravel's; execute logs in anew
    assert system.api.execute(22, params=LOGIN).expect(200).json["session_id"] != old
    # Nor is an old one shown as the active session: an application that asks first would go from one dead session to the next.
    assert system.api.active(21).expect(200).json["session_id"] == young
    laravel_row(system, "of-last-month", 23, age_s=700)
    system.api.active(23).expect(404, "session_not_found")
    assert system.database.value("SELECT COUNT(*) FROM portal_jobs WHERE company_id = 23 AND status = 'done'") == 1


def test_laravels_unregistered_robot(system):
    laravel_row(system, "abc123", 23, url="http://192.0.2.1:9000")
    gone = system.api.list("abc123").expect(410, "session_lost").json
    assert gone["reason"] == "robot_unknown"
    healthy, told = system.doctor()
    assert "worker add" in told


def test_stickiness_is_read_from_portal_jobs(make_system):
    """The robot of a call is always the one that portal_jobs names."""
    system = make_system(robots=2)
    session = system.api.login(24)
    home = system.robot_of(session)
    other = next(robot for robot in system.robots.values() if robot is not home)
    other.forget_calls()
    system.database.execute("UPDATE portal_jobs SET robot_worker_base_url = %s WHERE robot_session_id = %s", other.url, session)
    system.api.list(session)
    assert other.calls("list") and json.dumps(other.calls("list")[0]["query"]).find(session) > 0
    system.check_doctor = False


def test_numbers_in_params_reach_the_robot_as_they_were_written(system):
    """Through execute, the queue, a batch of JSON, one of NDJSON, and stored credentials."""
    numbers = '"n":[0.1,1e2,1.0,-0,12345678901234567890,0.30,5E-324]'

    def arrived(company):
        calls = wait_until(lambda: system.robot.calls("login", company_id=company), 20, f"a log-in of {company}")
        return numbers in calls[-1]["raw"]

    json_type = {"Content-Type": "application/json"}
    head = '"portal":"sunat","action":"sunat.menu_sol_login"'

    def post(path, text, headers, status, query=None):
        return system.api.request("POST", path, body=text.encode(), headers=headers, query=query).expect(status)

    post("/api/v1/app/jobs/execute", f'{{"company_id":1,{head},"params":{{{numbers}}},"remember":true}}', json_type, 200)
    post("/api/v1/app/jobs/execute", f'{{"company_id":2,{head},"params":{{{numbers}}}}}', {**json_type, "Prefer": "respond-async"}, 202)
    post("/api/v1/app/batches", f'{{{head},"items":[{{"company_id":3,"params":{{{numbers}}}}}]}}', json_type, 202)
    post("/api/v1/app/batches", f'{{"company_id":4,"params":{{{numbers}}}}}\n', {"Content-Type": "application/x-ndjson"}, 202,
         {"portal": "sunat", "action": "sunat.menu_sol_login"})  # fmt: skip
    system.ctl("credentials", "set", "--company", 5, "--portal", "sunat", stdin=f"{{{numbers}}}")
    system.api.execute(5, params={"usuario": "DEMO"}).expect(200)
    for company in range(1, 6):
        assert arrived(company), company
