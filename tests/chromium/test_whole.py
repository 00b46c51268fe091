# SPDX-License-Identifier: MIT
"""Real browsers through the whole of Chasqui: two robots, eight companies, what dies and what does not."""

import subprocess
import threading

import pytest
from conftest import VIEWER_KEY, portal_counts
from harness import wait_until

COMPANIES = range(20701, 20709)


@pytest.fixture
def whole(make_system, make_robot, viewer_key_file):
    system = make_system(robots=0, ready=False, settings={"viewer.key_file": viewer_key_file, "healthd.timeout_ms": 2000, "log.level": "info"})
    system.chromium = {name: make_robot(name, "--capacity", 6, "--sessions-per-browser", 1) for name in ("c1", "c2")}
    for robot in system.chromium.values():
        system.register(robot, viewer_url=robot.url)
    return system.start().wait_ready()


def params(company):
    return {"ruc": str(company), "usuario": "DEMO", "clave": "demo"}


def log_in_all(system):
    """{company: answer}, all at once."""
    answers = {}

    def one(company):
        answers[company] = system.api.execute(company, params=params(company), remember=company % 2 == 0, timeout=150)

    threads = [threading.Thread(target=one, args=(company,)) for company in COMPANIES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {company: answer.expect(200).json for company, answer in answers.items()}


def test_eight_companies_on_two_robots(whole, site):
    system = whole
    sessions = {company: answer["session_id"] for company, answer in log_in_all(system).items()}
    assert len(set(sessions.values())) == 8
    assert portal_counts(site)["logins"] == 8 and portal_counts(site)["kicks"] == 0

    # Lists are sticky, files are the portal's bytes, whoever asks.
    tokens = {}
    for company, session in sessions.items():
        page = system.api.list(session, page=1).expect(200).json
        assert page["company_id"] == company
        tokens[company] = page["items"][0]["file_token"]
    first, again, other = (system.api.download(sessions[company], tokens[company]).expect(200).body for company in (20701, 20701, 20702))
    assert first == again != other and first.startswith(b"%PDF")

    # The viewer's link is signed: it works as it is, and not without its signature.
    viewer = system.api.get(f"/api/v1/app/sessions/{sessions[20701]}").expect(200).json["viewer_url"]
    holder = next(robot for robot in system.chromium.values() if viewer.startswith(robot.url))
    path = viewer.removeprefix(holder.url)
    assert holder.http.request("GET", path).status == 200 and VIEWER_KEY not in path
    assert holder.http.request("GET", path.partition("?")[0]).status == 403

    # A browser dies: its session is expired, every other one lives.
    before = {one["session_id"] for robot in system.chromium.values() for one in robot.ask("GET", "/sessions")["sessions"]}
    pid = next(int(line.partition("pid=")[2]) for line in holder.text().splitlines() if "event=browser_started" in line)
    subprocess.run(["kill", "-9", str(pid)], check=True)

    def gone():
        left = {one["session_id"] for robot in system.chromium.values() for one in robot.ask("GET", "/sessions")["sessions"]}
        return before - left

    victim = wait_until(gone, 30, "the robot notices").pop()
    system.api.list(victim).expect(410, "session_expired")
    for company, session in sessions.items():
        if session != victim:
            system.api.list(session).expect(200)

    # A robot dies: sessions with stored credentials move, and their old ids answer; the others are lost.
    dead, alive = holder, next(robot for robot in system.chromium.values() if robot is not holder)
    held = {one["company_id"]: one["session_id"] for one in dead.ask("GET", "/sessions")["sessions"]}
    dead.kill9()
    for company, session in held.items():
        if company % 2 == 0:
            wait_until(lambda session=session: system.api.list(session).status == 200, 90, f"company {company} moved")
        else:
            wait_until(lambda session=session: system.api.list(session).status == 410, 90, f"company {company} is lost")
    moved = {one["company_id"] for one in alive.ask("GET", "/sessions")["sessions"]}
    assert {company for company in held if company % 2 == 0} <= moved
    # The portal saw one log-in a company, and one more for each that moved: the first browser died with its robot.
    assert portal_counts(site)["logins"] == 8 + sum(company % 2 == 0 for company in held)
