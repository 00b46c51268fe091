# SPDX-License-Identifier: MIT
"""A robot that stalls is not dead: its sessions wait for it, calls to them are answered at once, and all goes on when it answers again. One
whose process is gone is dead: its sessions move or are lost at once."""

import threading
import time

import pytest
from harness import Proxy, Robot
from harness.wait import ran_s, stays, wait_until

LOGIN = {"ruc": "20100000001", "usuario": "DEMO", "clave": "demo"}


def worker(system, name):
    return next(one for one in system.ops.get("/api/v1/ops/workers").expect(200).json["workers"] if one["name"] == name)


def state_of(system, company):
    return system.database.row("SELECT state, reason FROM chasqui_sessions WHERE company_id = %s ORDER BY id DESC LIMIT 1", company)


def logged_in_on(system, robot, companies, **more):
    """A session of each company, all on that robot."""
    others = [one for one in system.robots.values() if one is not robot]
    for one in others:
        system.ctl("worker", "drain", one.name)

    def login(company):
        told = system.api.execute(company, params=LOGIN, **more).expect(200).json
        if told["robot"]["worker"] == robot.name:
            return told["session_id"]
        return system.api.close(told["session_id"]).expect(200) and None  # that dispatcher has not heard of the drain yet

    made = {company: wait_until(lambda c=company: login(c), 10, f"a session on {robot.name}") for company in companies}
    for one in others:
        system.ctl("worker", "resume", one.name)
    return made


def wait_down(system, robot, how, timeout=20):
    return wait_until(lambda: (lambda w: w if (w["verdict"], w["down_as"]) == ("down", how) else None)(worker(system, robot.name)), timeout,
                      f"{robot.name} is {how}")  # fmt: skip


def at_once(call, status, error, within=5):
    """The answer, which does not wait for the robot."""
    began = ran_s()
    answer = call().expect(status, error)
    assert ran_s() - began < within
    return answer


def assert_said(system, waiting, movable):
    """How many sessions wait for r1, and until when: in the statistics, in words, on the command line, by doctor, for Prometheus."""

    def silence():
        row = next(one for one in system.ops.get("/api/v1/ops/stats").json["robots"] if one["name"] == "r1")
        return row["silence"] if row["silence"] and row["silence"]["sessions_waiting"] == waiting else None

    told = wait_until(silence, 10, "the card says it")
    assert told["movable"] == movable and told["since"] < told["migrate_at"] < told["lost_at"]
    words = {one["code"]: one for one in system.ops.get("/api/v1/ops/stats").json["words"]}
    assert f"{waiting} sessions wait for it" in words["robot_silent"]["text"] and "robot_down" not in words
    row = worker(system, "r1")
    assert row["sessions_waiting"] == waiting and row["migrate_at"] < row["lost_at"]
    assert f"silent: {waiting} wait" in system.ctl("worker", "list").stdout
    healthy, findings = system.doctor()
    assert healthy and f"sessions that wait for it: {waiting}" in findings
    assert system.metric("chasqui_robot_sessions_waiting") == waiting


def test_a_stall_costs_nothing(make_system):
    system = make_system(robots=2, dispatchers=2, settings={"session.migrate_after_s": 90},  # longer than all of this takes
                         actions={"sunat.echo": {"method": "POST", "path": "/sunat/echo", "session": "use"}})  # fmt: skip
    home = system.robots["r1"]
    sessions = logged_in_on(system, home, (1, 2, 3, 4))
    stored = logged_in_on(system, home, (5,), remember=True)[5]
    home.pause()
    told = wait_down(system, home, "silent")
    assert told["why"] == "timeout" and told["since"]
    assert_said(system, waiting=5, movable=1)
    for call in (
        lambda: system.api.list(sessions[1]),
        lambda: system.api.list(stored),
        lambda: system.api.get("/api/v1/app/buzon/download", query={"session_id": sessions[1], "file_token": "x"}),
        lambda: system.api.execute(1, action="sunat.echo", session_id=sessions[1]),
        lambda: system.api.execute(1, params=LOGIN),
        lambda: system.api.execute(2, params=LOGIN, force_new=True),
        lambda: system.api.close(sessions[3]),
    ):
        answer = at_once(call, 503, "robot_unreachable")
        assert int(answer.headers["Retry-After"]) > 0 and home.url not in str(answer.json)
    key = {"Idempotency-Key": "during-a-stall"}
    at_once(lambda: system.api.execute(4, params=LOGIN, headers=key), 503, "robot_unreachable")
    assert system.api.session(sessions[1]).expect(200).json["state"] == "active"
    assert system.api.active(1).expect(200).json["session_id"] == sessions[1]
    for company in range(20, 24):  # nothing new goes there
        assert system.api.execute(company, params=LOGIN).expect(200).json["robot"]["worker"] == "r2"
    batch = system.api.post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login",
                                                    "items": [{"company_id": 2}, {"company_id": 30, "params": LOGIN}]}).expect(202).json["batch_id"]  # fmt: skip
    counts = lambda: system.api.get(f"/api/v1/app/batches/{batch}").json["batch"]["counts"]  # noqa: E731
    wait_until(lambda: counts()["done"] == 1, 10, "the other item is done")
    stays(lambda: counts()["queued"] == 1, 1, every=0.1)
    home.resume()
    wait_until(lambda: counts()["done"] == 2, 20, "the item met its session")
    items = system.api.get(f"/api/v1/app/batches/{batch}/items").json["items"]
    assert (items[0]["session_id"], items[0]["attempts"]) == (sessions[2], 0)
    for company, session in {**sessions, 5: stored}.items():
        answer = wait_until(lambda s=session: (lambda a: a if a.status == 200 else None)(system.api.list(s)), 20, "as it was")
        assert answer.json["company_id"] == company and "X-Session-Id" not in answer.headers
    again = wait_until(lambda: system.api.execute(4, params=LOGIN, headers=key).expect(200).json, 10, "the key stood for nothing")
    assert again["session_id"] == sessions[4] and again["reused"]
    assert len(home.sessions()) == 5 and system.metric("chasqui_sessions_lost_total") == 0
    assert system.database.value("SELECT COUNT(*) FROM chasqui_session_migrations") == 0
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_robots WHERE down_seen IS NOT NULL OR down_ms > 0") == 0, 10, "it counts as well")


def test_silent_for_too_long(make_system):
    """Sessions with stored credentials move first, the others are lost later; time counts on while everybody who counts it is restarted."""
    system = make_system(robots=2, dispatchers=2, settings={"session.migrate_after_s": 1, "session.lost_after_s": 8, "session.idle_timeout_s": 4})
    system.allow_violations = True  # the moved one's old session lives on, on a robot that cannot be reached
    home = system.robots["r1"]
    stored = logged_in_on(system, home, (1,), remember=True)[1]
    plain = logged_in_on(system, home, (2,))[2]
    for session in (stored, plain):  # they idle from now on
        system.api.list(session).expect(200)
    began = time.monotonic()
    home.pause()
    wait_down(system, home, "silent")
    system.healthd.restart()
    for dispatcher in system.dispatchers:
        dispatcher.kill9()
        dispatcher.start()
    moved = wait_until(lambda: (lambda a: a if a.status == 200 else None)(system.api.list(stored)), 30, "it moved")
    assert moved.headers["X-Session-Id"] != stored
    wait_until(lambda: state_of(system, 2)["state"] == "lost", 40, "the other is lost")
    assert time.monotonic() - began > 8
    assert state_of(system, 2)["reason"] == "robot_silent"
    assert system.api.list(plain).expect(410, "session_lost").json["reason"] == "robot_silent"
    assert system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE close_pending = 1") == 2
    assert system.api.execute(2, params=LOGIN).expect(200).json["robot"]["worker"] == "r2"
    home.resume()
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE close_pending = 1") == 0, 20, "fenced")
    assert home.sessions() == []
    wait_until(lambda: worker(system, "r1")["abandoned"] == 0, 10)


def test_dead_robots(make_system):
    """Killed, killed while it hung, restarted at once: its sessions end at once, whatever session.lost_after_s says."""
    system = make_system(robots=2)
    home = system.robots["r1"]
    session = logged_in_on(system, home, (1,))[1]
    home.kill9()
    wait_until(lambda: state_of(system, 1)["state"] == "lost", 15, "dead: lost at once")
    assert state_of(system, 1)["reason"] == "robot_down" and wait_down(system, home, "dead")["why"] == "refused"
    system.api.list(session).expect(410, "session_lost")
    home.start()
    wait_until(lambda: worker(system, "r1")["verdict"] == "up" and worker(system, "r1")["abandoned"] == 0, 15)

    logged_in_on(system, home, (2,))
    home.pause()
    wait_down(system, home, "silent")
    assert state_of(system, 2)["state"] == "active"
    home.kill9()
    wait_until(lambda: state_of(system, 2)["state"] == "lost", 15, "first silent, then dead")
    home.start()
    wait_until(lambda: worker(system, "r1")["verdict"] == "up", 15)

    logged_in_on(system, home, (3,))
    home.kill9()
    home.start(wait=False)
    wait_until(lambda: state_of(system, 3)["state"] == "lost", 15, "restarted")
    assert state_of(system, 3)["reason"] in ("robot_restarted", "robot_down")
    home.wait_listening()
    assert system.portal.violations() == []


def test_two_processes_behind_one_url(make_system):
    """A load balancer over two robots: it is recognised and said, and no session ends because boot ids alternate."""
    system = make_system(robots=1)
    pods = [Robot(system.directory, name, system.portal).start() for name in ("pod-a", "pod-b")]
    proxy = Proxy(*(pod.port for pod in pods))
    try:
        system.ctl("worker", "drain", "r1")
        system.ctl("worker", "add", "pods", "--base-url", proxy.url)
        sessions = {}
        for company in range(1, 7):
            answer = wait_until(lambda c=company: (lambda a: a if a.status == 200 else None)(system.api.execute(c, params=LOGIN)), 15, "logged in")
            sessions[company] = answer.json["session_id"]
        answers = {(answer.status, answer.error) for _ in range(5) for answer in map(system.api.list, sessions.values())}
        assert answers <= {(200, None), (503, "robot_unreachable")} and (200, None) in answers
        told = wait_until(lambda: (lambda w: w if w["why"] == "two_boots" else None)(worker(system, "pods")), 15, "it is said")
        assert told["verdict"] == "suspect"
        wait_until(lambda: "robot_two_boots" in {one["code"] for one in system.ops.get("/api/v1/ops/stats").json["words"]}, 10, "in words")
        wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_audit WHERE action = 'worker_two_boots' AND subject = 'pods'") == 1, 10, "once")
        assert "two processes answer under the URL of pods" in system.doctor()[1]
        stays(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE state = 'active'") == 6, 2, every=0.1)
        system.ctl("worker", "resume", "r1")
        companies = iter(range(30, 90))
        goes_to = lambda: system.api.execute(next(companies), params=LOGIN).expect(200).json["robot"]["worker"]  # noqa: E731
        wait_until(lambda: goes_to() == "r1", 5, "the dispatcher has heard of it", every=0.2)
        for company in range(20, 23):  # while another robot has a place it gets nothing new
            assert system.api.execute(company, params=LOGIN).expect(200).json["robot"]["worker"] == "r1"
        assert system.portal.violations() == []
    finally:
        for pod in pods:
            pod.stop()
        proxy.stop()
        system.check_doctor = False


def test_healthy_but_silent(make_system):
    """A robot that is well by /health but answers no call is suspect by the calls themselves, until it answers again."""
    system = make_system(robots=2, settings={"timeout.list_ms": 4000})
    home = system.robots["r1"]
    session = logged_in_on(system, home, (1,))[1]
    home.behave("list", "hang")

    def call_six(**headers):
        answers = []
        callers = [threading.Thread(target=lambda: answers.append(system.api.list(session, headers=headers))) for _ in range(6)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        return {(answer.status, answer.error) for answer in answers}

    # A deadline that the caller chose tells nothing about the robot, which may be given longer.
    assert call_six(**{"X-Deadline-Ms": "2000"}) == {(504, "deadline_exceeded")}
    stays(lambda: worker(system, "r1")["verdict"] == "up", 2)
    assert call_six() == {(504, "deadline_exceeded")}
    told = wait_until(lambda: (lambda w: w if w["verdict"] == "suspect" else None)(worker(system, "r1")), 5, "suspect")
    assert told["why"] == "healthy but silent" and home.health()["ok"]

    def shown():
        told = system.ops.get("/api/v1/ops/stats").json
        row = next(one for one in told["robots"] if one["name"] == "r1")
        return row["verdict"] == "suspect" and row["why"] == "healthy but silent" and any(
            one["code"] == "robot_suspect" and "healthy but silent" in one["text"] for one in told["words"])  # fmt: skip

    wait_until(shown, 10, "page and words say it")
    for company in range(20, 24):
        assert system.api.execute(company, params=LOGIN).expect(200).json["robot"]["worker"] == "r2"
    home.behave_well()
    for _ in range(3):
        system.api.list(session).expect(200)
    wait_until(lambda: worker(system, "r1")["verdict"] == "up", 5, "it answers")


@pytest.mark.long(15)
def test_an_action_may_take_the_time_that_it_is_given(make_system):
    """A slow action that is answered within its own time limit does not make its robot suspect."""
    actions = {"sunat.report": {"method": "POST", "path": "/sunat/echo", "session": "use", "timeout_ms": 60000}}
    system = make_system(robots=1, actions=actions)
    home = system.robots["r1"]
    session = logged_in_on(system, home, (1,))[1]
    home.behave("echo", "delay", ms=14_000)
    answers = []
    callers = [threading.Thread(target=lambda: answers.append(system.api.execute(1, action="sunat.report", session_id=session, timeout=60).status)) for _ in range(6)]
    for caller in callers:
        caller.start()
    wait_until(lambda: len(home.calls("echo")) == 6, 10, "the robot works")
    for caller in callers:
        caller.join()
    assert answers == [200] * 6 and "robot_mute" not in system.dispatcher.text()
