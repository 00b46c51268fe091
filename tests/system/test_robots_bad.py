# SPDX-License-Identifier: MIT
"""Each way a robot can misbehave in a session: a clear error of the table, nobody else harmed, no URL told."""

import json
import threading
import time

import pytest

from harness.http import connect
from harness.wait import ran_s, wait_until

ACTIONS = {
    "sunat.echo": {"method": "POST", "path": "/sunat/echo", "session": "use", "timeout_ms": 15000},
    "sunat.peek": {"method": "GET", "path": "/sunat/echo", "session": "use", "timeout_ms": 15000},
}
BRISK = {"sunat.echo": {**ACTIONS["sunat.echo"], "timeout_ms": 1500}}
BAD_LISTS = [
    ("hang", 504, "deadline_exceeded", {}),
    ("reset", 502, "robot_unreachable", {}),
    ("close_before_answer", 502, "robot_unreachable", {}),
    ("garbage", 502, "robot_bad_response", {}),
    ("status", 502, "robot_error", {"status": 500}),
    ("status", 502, "robot_error", {"status": 503}),
    ("status", 502, "robot_error", {"status": 599, "body": "<html>"}),
    ("redirect", 502, "robot_error", {"location": "http://127.0.0.1:1/"}),
    ("redirect", 502, "robot_error", {"location": "/health", "status": 307}),
    ("drip", 504, "deadline_exceeded", {"bytes_per_s": 100}),
    ("drip", 504, "deadline_exceeded", {"bytes_per_s": 100, "head": True}),
    ("endless", 502, "robot_bad_response", {}),
    ("cut", 502, "robot_bad_response", {}),
    ("html", 502, "robot_bad_response", {}),
    ("not_json", 502, "robot_bad_response", {}),
    ("empty", 502, "robot_bad_response", {}),
]


@pytest.fixture
def brisk(make_system):
    """What looks after sessions gives up on the robot soon."""
    return make_system(settings={"timeout.robot_ms": 1500, "timeout.close_ms": 4000})


def told_nothing(system, answer):
    text = answer.body.decode()
    for robot in system.robots.values():
        assert robot.url not in text and f"127.0.0.1:{robot.port}" not in text, text


@pytest.mark.parametrize("mode, status, error, more", BAD_LISTS)
def test_a_bad_list(system, mode, status, error, more):
    session = system.api.login(1)
    system.robot.behave("list", mode, **more)
    answer = system.api.list(session, headers={"X-Deadline-Ms": "1800" if status == 504 else "25000"}).expect(status, error)
    told_nothing(system, answer)
    system.robot.behave_well()
    system.api.list(session).expect(200)  # the session stays


def test_what_the_robot_says_is_passed_on_without_its_url(system):
    session = system.api.login(2)
    url = system.robot.url
    words = {"ok": False, "error": "broken", "message": f"no se pudo abrir {url}/x ni 127.0.0.1:{system.robot.port}"}
    system.robot.behave("list", "status", status=500, body=words)
    answer = system.api.list(session).expect(502, "robot_error")
    told_nothing(system, answer)
    assert answer.json["robot"] == {"status": 500, "error": "broken", "message": "no se pudo abrir r1/x ni r1"}
    for body in ("x" * 100_000, "[1]", '{"error":5,"message":null}'):
        system.robot.behave("list", "status", status=500, body=body)
        told = system.api.list(session).expect(502, "robot_error").json["robot"]
        assert told == {"status": 500, "error": None, "message": None}
    system.robot.behave("list", "status", status=500, body='{"error":"a\\u0000b\\ud83d"}')
    assert system.api.list(session).expect(502, "robot_error").json["robot"]["error"] == "ab\ufffd"
    system.robot.behave("list", "status", status=500, body={"error": "e" * 9000, "message": "m"})
    told_nothing(system, system.api.list(session).expect(502, "robot_error"))


def test_headers_that_would_not_travel(system):
    session = system.api.login(3)
    for kind in ("\xff/\xfe", "a/" + "b" * 4000, "nonsense", "/"):
        system.robot.behave("list", "status", status=418, content_type=kind, body="short")
        answer = system.api.list(session).expect(418)
        assert answer.headers["Content-Type"] == "application/octet-stream" and answer.body == b"short"
    many = {f"X-Pad-{n}": "y" * 4000 for n in range(40)}
    system.robot.behave("list", "status", status=200, body="{}", headers=many)
    system.api.list(session).expect(502, "robot_bad_response")


def test_nobody_waits_for_a_robot_that_hangs(make_system):
    """50 calls hang at one robot; the other's answers come at once."""
    system = make_system(robots=2)
    sessions = [system.api.login(company) for company in range(10, 14)]
    bad = system.robot_of(sessions[0])
    good = next(session for session in sessions if system.robot_of(session) is not bad)
    bad.behave("list", "hang")
    hung = []
    threads = [
        threading.Thread(target=lambda: hung.append(system.api.list(sessions[0], headers={"X-Deadline-Ms": "9000"})))
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    bad.wait_call("list", count=50)
    for _ in range(20):
        system.api.list(good).expect(200)
    assert not hung, "all of them wait still"
    for thread in threads:
        thread.join()
    assert {(answer.status, answer.error) for answer in hung} == {(504, "deadline_exceeded")}


def test_an_action_in_a_session(make_system):
    system = make_system(actions=ACTIONS)
    session = system.api.login(20)
    answer = system.api.execute(20, action="sunat.echo", session_id=session, params={"x": [1, "ñ"], "deep": {"y": None}})
    body = answer.expect(200).json
    assert set(body) == {"ok", "job_id", "job_uid", "session_id", "result"} and body["session_id"] == session
    assert body["result"]["echo"] == {
        "x": [1, "ñ"], "deep": {"y": None}, "session_id": session, "company_id": 20, "portal": "sunat",
        "job_uid": body["job_uid"],
    }  # fmt: skip
    sent = system.robot.calls("echo")[-1]
    assert sent["method"] == "POST" and sent["headers"]["Idempotency-Key"] == body["job_uid"]
    job = system.api.job(body["job_id"]).expect(200).json["job"]
    assert (job["status"], job["action"], job["session_id"], job["worker"]) == ("done", "sunat.echo", session, "r1")
    peeked = system.api.execute(20, action="sunat.peek", session_id=session).expect(200).json
    sent = system.robot.calls("echo")[-1]
    assert sent["method"] == "GET" and sent["query"] == {"session_id": session, "job_uid": peeked["job_uid"]}
    assert system.database.value("SELECT COUNT(*) FROM chasqui_leases") == 0


@pytest.mark.parametrize(
    "mode, status, error, more",
    [
        ("status", 502, "robot_error", {"status": 500}),
        ("status", 502, "robot_error", {"status": 422, "body": {"ok": False, "error": "bad_month", "message": "no hay"}}),
        ("status", 502, "robot_error", {"status": 200, "body": {"ok": False, "error": "bad_month", "message": "no hay"}}),
        ("reset", 502, "robot_unreachable", {}),
        ("garbage", 502, "robot_bad_response", {}),
        ("not_json", 502, "robot_bad_response", {}),
        ("status", 502, "robot_bad_response", {"status": 200, "body": "[1]"}),
        ("empty", 502, "robot_bad_response", {}),
        ("cut", 502, "robot_bad_response", {}),
        ("hang", 504, "deadline_exceeded", {}),
    ],
)
def test_a_bad_action(make_system, mode, status, error, more):
    system = make_system(actions=BRISK if mode == "hang" else ACTIONS)
    session = system.api.login(21)
    system.robot.behave("echo", mode, **more)
    answer = system.api.execute(21, action="sunat.echo", session_id=session).expect(status, error)
    told_nothing(system, answer)
    job = system.api.job(answer.json["job_id"]).expect(200).json["job"]
    assert (job["status"], job["error"]) == ("failed", error)
    assert len(system.robot.calls("echo")) == 1  # never repeated
    if "body" in more and error == "robot_error":
        assert answer.json["robot"] == {"status": more["status"], "error": "bad_month", "message": "no hay"}
    system.robot.behave_well()
    system.api.execute(21, action="sunat.echo", session_id=session).expect(200)


def test_an_action_of_a_session_that_is_gone(make_system):
    system = make_system(actions=ACTIONS)
    session = system.api.login(22)
    system.robot.forget(session)
    system.api.execute(22, action="sunat.echo", session_id=session).expect(410, "session_expired")
    system.api.execute(22, action="sunat.echo", session_id=session).expect(410, "session_expired")
    assert len(system.robot.calls("echo")) == 1


def test_an_action_goes_on_when_its_client_leaves(make_system):
    system = make_system(actions=ACTIONS)
    session = system.api.login(23)
    system.robot.behave("echo", "delay", ms=2000)
    body = json.dumps({"company_id": 23, "portal": "sunat", "action": "sunat.echo", "session_id": session}).encode()
    head = f"POST /api/v1/app/jobs/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {system.token}\r\nContent-Type: application/json\r\n"
    with connect(system.api_url()) as wire:
        wire.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        system.robot.wait_call("echo")

    def ended():
        row = system.database.row("SELECT status, error FROM portal_jobs WHERE action = 'sunat.echo'")
        return row if row["status"] != "running" else None

    assert wait_until(ended, 10) == {"status": "done", "error": None}


def test_an_actions_dispatcher_that_dies_is_outcome_unknown(make_system):
    system = make_system(actions=ACTIONS, dispatchers=2)
    session = system.api.login(24)
    system.robot.behave("echo", "delay", ms=6000)
    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(system.api.execute(24, action="sunat.echo", session_id=session))
    )
    caller.start()
    system.robot.wait_call("echo")
    holder = system.database.value("SELECT holder FROM chasqui_leases WHERE kind = 'action'")
    next(process for process in system.dispatchers if process.name == holder).kill9()
    caller.join()
    answers[0].expect(502, "outcome_unknown")

    def ended():
        row = system.database.row("SELECT status, error FROM portal_jobs WHERE action = 'sunat.echo'")
        return row if row["status"] != "running" else None

    assert wait_until(ended, 15) == {"status": "failed", "error": "outcome_unknown"}
    assert len(system.robot.calls("echo")) == 1


def test_a_robot_that_takes_connections_and_says_nothing_is_not_called_when_down(make_system):
    """Stopped, it still accepts: the first calls time out, and once it is judged down nobody calls it."""
    system = make_system(robots=2)
    session = system.api.login(30)
    home = system.robot_of(session)
    home.pause()
    wait_until(lambda: worker(system, home.name)["verdict"] == "down", 10)
    begun = time.monotonic()
    system.api.list(session).expect(503, "robot_unreachable")  # it may only be busy: the session is kept
    assert time.monotonic() - begun < 15, "a call of it would last 28 s"
    told = worker(system, home.name)
    assert told["why"] == "timeout" and told["since"] and told["down_as"] == "silent" and told["abandoned"] == 0
    home.resume()
    wait_until(lambda: worker(system, home.name)["verdict"] == "up", 10)
    assert all(call["query"].get("session_id") != session for call in home.calls("list"))
    system.api.list(session).expect(200)


def worker(system, name):
    return next(one for one in system.ops.get("/api/v1/ops/workers").expect(200).json["workers"] if one["name"] == name)


def test_stale_news_of_a_restart_do_no_harm(make_system):
    """healthd tells the old boot id for a while after a restart: sessions of the new boot stay."""
    system = make_system(settings={"healthd.interval_ms": 1000}, dispatchers=2)
    for round_number in range(3):
        system.api.login(40 + round_number)
        system.robot.reboot()
        session = system.api.login(50 + round_number)
        for _ in range(30):
            system.api.list(session).expect(200)
        assert system.database.value("SELECT state FROM chasqui_sessions WHERE robot_session_id = %s", session) == "active"


ODD_LISTS = ["{}", "[]", '{"sessions":{}}', '{"sessions":[7,null,[],{"session_id":5},{"session_id":"x","job_uid":7,"epoch":"a"}', "", "\x00"]
BAD_CALLS = [
    ("hang", {}), ("reset", {}), ("garbage", {}), ("status", {"status": 500}), ("redirect", {"location": "http://127.0.0.1:1/"}), ("endless", {}),
    ("empty", {}), ("html", {}), ("drip", {"bytes_per_s": 5, "head": True}), ("close_before_answer", {}), ("cut", {"bytes": 3}),
]  # fmt: skip


@pytest.mark.parametrize("mode, more", BAD_CALLS)
def test_a_bad_close(brisk, mode, more):
    """The caller is told in time that it is not confirmed, or that it is; what is true is found out afterwards."""
    session = brisk.api.login(60)
    brisk.robot.behave("delete", mode, **more)
    began = ran_s()
    answer = brisk.api.close(session, headers={"X-Deadline-Ms": "1500"})
    assert ran_s() - began < 4 and answer.status in (200, 502, 504), answer
    told_nothing(brisk, answer)
    brisk.robot.behave_well()

    def known():
        now = brisk.api.close(session)
        return now.status == 200 or now.error in ("session_closed", "session_expired")

    wait_until(known, 20, "it is closed in the end")
    wait_until(lambda: brisk.robot.sessions() == [], 20, "on the robot too: one that lied is asked for its list")
    wait_until(lambda: brisk.database.value("SELECT COUNT(session_ref) FROM chasqui_places") == 0, 5, "no place is kept")


def test_a_second_close_waits_for_the_first(brisk):
    session = brisk.api.login(63)
    brisk.robot.behave("delete", "hang", times=1)
    answers = []

    def close(deadline_ms):
        answers.append(brisk.api.close(session, headers={"X-Deadline-Ms": deadline_ms}))

    threads = [threading.Thread(target=close, args=(deadline_ms,)) for deadline_ms in ("1500", "20000")]
    threads[0].start()
    brisk.robot.wait_call("delete")
    threads[1].start()
    brisk.api.close(session, headers={"X-Deadline-Ms": "1000"}).expect(409, "wrong_state")  # not "closed": nobody knows yet
    for thread in threads:
        thread.join()
    assert [(one.status, one.error) for one in answers] == [(504, "deadline_exceeded"), (200, None)]
    assert brisk.robot.sessions() == []


@pytest.mark.parametrize("mode, more", [(mode, more) for mode, more in BAD_CALLS if mode not in ("empty", "html")])  # a 200 is its word
def test_a_bad_fence(brisk, mode, more):
    """Place and company stay taken until the robot has said clearly that nothing runs."""
    brisk.robot.behave("login", "close_before_answer", times=1)  # it did log in
    brisk.robot.behave("fence", mode, times=3, **more)
    answer = brisk.api.execute(61, params={"ruc": "1", "usuario": "u", "clave": "c"}, headers={"X-Deadline-Ms": "2000"})
    assert answer.status in (502, 504) and answer.json["job_id"], answer
    told_nothing(brisk, answer)
    wait_until(lambda: brisk.api.execute(61, params={"ruc": "1", "usuario": "u", "clave": "c"}).status == 200, 30, "the next log-in")
    assert len([one for one in brisk.robot.sessions() if one["company_id"] == 61]) == 1
    assert brisk.portal.violations() == []


@pytest.mark.parametrize("mode, more", [*BAD_CALLS, *(("status", {"status": 200, "body": body}) for body in ODD_LISTS)])
def test_a_bad_session_list_ends_nothing(brisk, mode, more):
    session = brisk.api.login(62)
    brisk.robot.behave("sessions", mode, **more)
    before = len(brisk.robot.calls("sessions"))
    wait_until(lambda: len(brisk.robot.calls("sessions")) >= before + 2, 30, "it was asked twice more")
    brisk.api.list(session).expect(200)
    findings = brisk.ops.get("/api/v1/ops/doctor", timeout=20).expect(200)
    told_nothing(brisk, findings)
    assert brisk.database.value("SELECT state FROM chasqui_sessions") == "active"
    brisk.robot.behave_well()
