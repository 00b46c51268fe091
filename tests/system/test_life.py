# SPDX-License-Identifier: MIT
"""The life of sessions: closing, 404, idling, restarts, migration, rescue, reconciliation."""

import threading

from harness.wait import stays, wait_until

LOGIN = {"ruc": "20100000001", "usuario": "DEMO", "clave": "demo"}


def status_of(system, company):
    return system.database.row("SELECT state, reason FROM chasqui_sessions WHERE company_id = %s ORDER BY id DESC LIMIT 1", company)


def places_used(system):
    return system.database.value("SELECT COUNT(session_ref) FROM chasqui_places")


def test_close_and_close_again(system):
    session = system.api.login(1)
    assert system.api.close(session).expect(200).json == {"ok": True, "session_id": session, "state": "closed"}
    again = system.api.close(session).expect(410, "session_closed").json
    assert again["state"] == "closed" and again["since"] and again["successor_session_id"] is None
    assert system.robot.sessions() == [] and places_used(system) == 0
    system.api.session(session).expect(410, "session_closed")
    system.api.active(1).expect(404, "session_not_found")


def test_an_unconfirmed_close_changes_nothing(system):
    session = system.api.login(2)
    system.robot.behave("delete", "status", status=500)
    system.api.close(session).expect(502, "robot_unreachable")
    system.robot.behave_well()
    system.api.list(session).expect(200)
    system.api.close(session).expect(200)


def test_session_by_id_and_active(system):
    session = system.api.login(3)
    one = system.api.session(session).expect(200).json
    assert one == system.api.active(3).expect(200).json
    assert set(one) == {"ok", "session_id", "job_id", "company_id", "portal", "worker", "viewer_url", "state", "started_at", "last_activity_at"}
    assert one["state"] == "active" and one["worker"] == "r1"
    assert system.robot.url not in str(one)


def test_operators_list_what_is_live(system):
    closed, active = system.api.login(41), system.api.login(42)
    system.api.close(closed).expect(200)
    listed = {state: [one["session_id"] for one in system.ops.get(f"/api/v1/ops/sessions?state={state}").expect(200).json["sessions"]]
              for state in ("live", "active", "closed")}  # fmt: skip
    assert listed == {"live": [active], "active": [active], "closed": [closed]}
    assert active in system.ctl("sessions", "list", "--state", "live").stdout


def test_the_robots_404_expires_the_session_once(system):
    session = system.api.login(4)
    job = system.api.active(4).json["job_id"]
    system.robot.forget(session)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(system.api.list(session))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(one.status, one.error) for one in answers} == {(410, "session_expired")}
    assert system.api.job(job).json["job"]["status"] == "failed"
    assert places_used(system) == 0
    wait_until(lambda: system.metric("chasqui_sessions_expired_total") == 1, 5, "counted once")
    system.api.execute(4, params=LOGIN).expect(200)


def test_idle_sessions_are_closed_on_the_robot(make_system):
    system = make_system(settings={"session.idle_timeout_s": 4})
    idle, used = system.api.login(5), system.api.login(6)

    def use():
        system.api.list(used).expect(200)
        return status_of(system, 5)["state"] == "expired"

    wait_until(use, 10, "the idle one is closed", every=0.1)
    system.api.list(used).expect(200)
    system.api.list(idle).expect(410, "session_expired")
    assert [one["company_id"] for one in system.robot.sessions()] == [6]


def test_a_robot_that_restarted_lost_its_sessions(system):
    session = system.api.login(7)
    system.robot.reboot()
    wait_until(lambda: status_of(system, 7)["state"] == "lost", 10, "lost")
    gone = system.api.list(session).expect(410, "session_lost").json
    assert gone["reason"] == "robot_restarted" and places_used(system) == 0
    system.api.execute(7, params=LOGIN).expect(200)


def test_a_restart_with_stored_credentials_moves_the_session(make_system):
    system = make_system(robots=2)
    session = system.api.login(8, remember=True)
    home = system.robot_of(session)
    home.reboot()
    answer = wait_until(lambda: (lambda a: a if a.status == 200 else None)(system.api.list(session)), 15, "it moved")
    assert answer.headers["X-Session-Id"] != session
    assert system.database.value("SELECT robot_session_id FROM portal_jobs WHERE company_id = 8") == answer.headers["X-Session-Id"]
    assert status_of(system, 8)["state"] == "active"


def test_a_dead_robots_sessions_migrate_and_the_old_id_goes_on(make_system):
    system = make_system(robots=3)
    sessions = {n: system.api.login(100 + n, remember=True) for n in range(9)}
    lost = system.api.login(150)
    dead = system.robot_of(lost)
    dead.kill9()
    wait_until(lambda: system.metric("chasqui_robots_down") == 1, 10, "judged down")
    for n, session in sessions.items():
        answer = wait_until(lambda s=session: (lambda a: a if a.status == 200 else None)(system.api.list(s)), 15, "it goes on")
        assert answer.json["company_id"] == 100 + n
    wait_until(lambda: status_of(system, 150)["state"] == "lost", 10, "without credentials: lost")
    system.api.list(lost).expect(410, "session_lost")
    assert system.portal.violations() == []


def test_an_abandoned_session_is_fenced_before_its_robot_gets_work(make_system):
    system = make_system(robots=2, settings={"session.migrate_after_s": 0})
    system.allow_violations = True  # the one overlap that is allowed: the robot cannot be reached
    session = system.api.login(9, remember=True)
    home = system.robot_of(session)
    home.pause()
    wait_until(lambda: system.api.list(session).status == 200, 20, "it moved")
    assert system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE close_pending = 1") == 1
    home.resume()
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE close_pending = 1") == 0, 15, "fenced")
    assert [one for one in home.sessions() if one["company_id"] == 9] == []
    system.api.list(session).expect(200)


def test_a_robot_that_comes_back_in_time_keeps_its_sessions(make_system):
    system = make_system(robots=1, settings={"session.migrate_after_s": 0})
    session = system.api.login(10, remember=True)
    system.robot.pause()
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_session_migrations") == 1, 10, "planned")
    system.robot.resume()  # nowhere else to go, and now it is back
    wait_until(lambda: system.api.list(session).status == 200, 20, "as it was")
    assert system.robot.sessions()[0]["session_id"] == session


def test_operators_move_a_session(make_system):
    system = make_system(robots=2)
    session = system.api.login(11, remember=True)
    home = system.robot_of(session)
    system.ctl("sessions", "migrate", session)
    wait_until(lambda: status_of(system, 11) == {"state": "active", "reason": None}, 10, "moved")
    answer = system.api.list(session).expect(200)
    assert home.sessions() == [] and answer.headers["X-Session-Id"] != session
    assert system.portal.violations() == []
    assert system.database.value("SELECT COUNT(*) FROM chasqui_audit WHERE action = 'session_migrate'") == 1


def test_all_healthds_silent_means_unknown_and_work_goes_on(system):
    system.healthd.kill9()
    wait_until(lambda: all(w["verdict"] == "unknown" for w in system.ops.get("/api/v1/ops/workers").json["workers"]), 15, "unknown")
    system.api.list(system.api.login(12)).expect(200)


def test_reconciliation_both_ways(system):
    kept = system.api.login(13)
    session = system.api.login(14)
    stranger = system.robot.orphan(15)
    system.robot.forget(session)
    wait_until(lambda: status_of(system, 14)["state"] == "expired", 20, "missing on the robot")
    assert status_of(system, 14)["reason"] == "not_on_robot"
    assert {one["session_id"] for one in system.robot.sessions()} == {kept, stranger}  # what is not ours is left alone
    wait_until(lambda: system.metric("chasqui_robot_orphans") == 1, 5, "counted")


def test_a_killed_dispatchers_login_is_settled_by_another(make_system):
    system = make_system(dispatchers=2)
    system.robot.settings(login_ms="5000-5000")
    answers = []
    caller = threading.Thread(target=lambda: answers.append(system.api.execute(16, params=LOGIN, timeout=60)))
    caller.start()
    system.robot.wait_call("login", count=1)
    holder = system.database.value("SELECT holder FROM chasqui_leases")
    next(process for process in system.dispatchers if process.name == holder).kill9()
    caller.join()
    assert answers[0].status in (200, 503), answers
    if answers[0].status == 200:
        system.api.list(answers[0].json["session_id"]).expect(200)
        assert system.database.value("SELECT boot_id FROM chasqui_sessions WHERE live = 1") == system.robot.health()["boot_id"]
    else:
        assert answers[0].error == "no_dispatcher" and answers[0].json["job_id"]
        system.api.execute(16, params=LOGIN).expect(200)
    assert system.portal.violations() == []


def test_a_paused_dispatcher_cannot_finish_what_was_taken_from_it(make_system):
    system = make_system(dispatchers=2)
    system.robot.settings(login_ms="5000-5000")
    answers = []
    caller = threading.Thread(target=lambda: answers.append(system.api.execute(17, params=LOGIN, timeout=60)))
    caller.start()
    system.robot.wait_call("login", count=1)
    holder = system.database.value("SELECT holder FROM chasqui_leases")
    paused = next(process for process in system.dispatchers if process.name == holder)
    paused.pause()
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_leases") == 0, 20, "rescued")
    paused.resume()
    caller.join()
    stays(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1") <= 1, 1)
    assert len(system.robot.sessions()) <= 1 and system.portal.violations() == []


def test_mariadb_away_and_back(make_system, mariadb):
    system = make_system()
    session = system.api.login(18)
    mariadb.kill9()
    system.api.list(session).expect(503, "database_unavailable")
    wait_until(lambda: not system.ready(), 5, "not ready")
    mariadb.start()
    wait_until(lambda: system.api.list(session).status == 200, 15, "back")


def test_drained_robot_gets_nothing_and_keeps_what_it_has(make_system):
    system = make_system(robots=2)
    session = system.api.login(19)
    home = system.robot_of(session)
    mark = system.dispatcher.mark()
    system.ops.post(f"/api/v1/ops/workers/{home.name}/drain", {"reason": "update"}).expect(200)
    system.dispatcher.wait_log("event=robots revision=", start=mark)  # it has heard of it
    system.api.list(session).expect(200)
    for n in range(4):
        assert system.api.execute(190 + n, params=LOGIN).expect(200).json["robot"]["worker"] != home.name
    assert system.database.value("SELECT COUNT(*) FROM chasqui_audit WHERE action = 'worker_want'") == 1


def test_sigterm_drains(make_system):
    system = make_system(dispatchers=2)
    system.robot.settings(login_ms="700-700")
    answers = []
    callers = [threading.Thread(target=lambda n=n: answers.append(system.api.execute(400 + n, params=LOGIN))) for n in range(4)]
    for caller in callers:
        caller.start()
    system.robot.wait_call("login", count=4)
    system.dispatchers[0].stop(timeout=40)
    for caller in callers:
        caller.join()
    assert [one.status for one in answers] == [200] * 4
