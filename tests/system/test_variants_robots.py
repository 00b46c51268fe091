# SPDX-License-Identifier: MIT
"""Variants of robots as they are: full, failed, frozen, answering everything with a page, made up from the contract alone."""

import json
import time

from harness.wait import wait_until

LOGIN = {"ruc": "1", "usuario": "DEMO", "clave": "demo"}


def test_full_and_failed(make_system):
    """429, and 503 without an error of its own, is full; everything else that is no session is a failed attempt."""
    system = make_system(settings={"queue.max_attempts": 3})
    robot = system.robot
    for number, (status, body, kind) in enumerate((
        (503, "", "application/json"), (503, "<h1>Service Unavailable</h1>", "text/html"), (503, '{"error":"full"}', "application/json"),
        (429, '{"ok":false,"error":"slow_down"}', "application/json"), (503, '{"ok":false}', "application/json"),
    )):  # fmt: skip
        robot.behave("login", "status", status=status, body=body, content_type=kind, times=1)
        system.api.execute(100 + number, params=LOGIN).expect(503, "no_free_worker")
        wait_until(lambda: system.api.execute(100 + number, params=LOGIN).status == 200, 45, "it is asked again after its back-off", every=0.3)  # noqa: B023
    for number, (status, body) in enumerate((
        (503, '{"ok":false,"error":"portal_unavailable"}'), (503, '{"error":"portal_maintenance","message":"de 2 a 4"}'), (500, "oops"),
        (200, '{"ok":false,"error":"bad_credentials","message":"Clave incorrecta"}'), (404, "{}"),
    )):  # fmt: skip
        robot.behave("login", "status", status=status, body=body, times=1)
        answer = system.api.execute(200 + number, params=LOGIN)
        assert answer.status == 502, (status, body, answer)
    for number, status in enumerate((201, 202, 203, 206, 299)):
        made = {"ok": True, "session_id": f"made-{status}", "url": "https://x", "titulo": "t"}
        robot.behave("login", "status", status=status, body=json.dumps(made), times=1)
        assert system.api.execute(300 + number, params=LOGIN).expect(200).json["session_id"] == f"made-{status}"
    system.check_doctor = False  # those sessions are nowhere


def test_a_wrong_password_is_tried_once(make_system):
    system = make_system(settings={"queue.max_attempts": 3}, capacity=30)
    for number, error in enumerate(("bad_credentials", "invalid_credentials", "account_locked", "unknown_company")):
        company = 10 + number
        system.robot.behave("login", "status", status=401, body=json.dumps({"ok": False, "error": error, "message": "no"}), company_id=company)
        job = system.api.queue(company).expect(202).json["job_id"]
        wait_until(lambda: system.api.job(job).json["job"]["status"] == "failed", 20, f"{error} is final")  # noqa: B023
        assert len(system.robot.calls("login", company)) == 1, error


def test_a_page_for_everything_confirms_nothing(make_system):
    system = make_system()
    session = system.api.login(1, params=LOGIN)
    pages = (
        {"status": 200, "body": "<html>ok</html>", "content_type": "text/html"}, {"status": 200, "body": '"ok"'}, {"status": 200, "body": "[]"},
        {"status": 200, "body": '{"status":"ok"}'}, {"status": 302, "body": "", "headers": {"Location": "/"}},
    )  # fmt: skip
    for page in pages[:4]:
        system.robot.behave("delete", "status", **page)
        answer = system.api.close(session)
        assert answer.status != 200, (page, answer)
        system.api.list(session).expect(200)
    # After five such answers in a row the robot counts as one that does not speak DELETE: closed here, and the place is kept.
    system.robot.behave("delete", "status", **pages[4])
    system.api.close(session).expect(200)
    assert system.database.value("SELECT COUNT(*) FROM chasqui_places WHERE session_ref IS NOT NULL") == 1
    session = system.api.login(2, params=LOGIN)
    for call in ("sessions", "fence"):
        for page in pages:
            system.robot.behave(call, "status", **page)
            time.sleep(0.3)
            system.api.list(session).expect(200)
    system.robot.behave_well()
    system.api.close(session).expect(200)
    system.check_doctor = False  # what the first close left on the robot


def test_a_robot_that_freezes_keeps_its_sessions(make_system):
    """Eight seconds at full CPU: nothing is lost, calls meanwhile are answered, and all goes on by itself."""
    system = make_system(robots=2)
    sessions = [system.api.login(company, params=LOGIN) for company in range(1, 7)]
    robot = next(iter(system.robots.values()))
    robot.pause()
    end = time.monotonic() + 8
    while time.monotonic() < end:
        for session in sessions:
            answer = system.api.list(session, headers={"X-Deadline-Ms": "1500"})
            assert answer.status in (200, 503, 504), answer
    robot.resume()
    for session in sessions:
        wait_until(lambda: system.api.list(session).status == 200, 20, "it goes on")  # noqa: B023
    assert system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE state = 'lost'") == 0
    assert system.portal.violations() == []
