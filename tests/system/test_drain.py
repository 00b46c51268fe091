# SPDX-License-Identifier: MIT
"""A robot that an operator empties: its sessions leave when they are idle, or at a deadline; none is ever lost by it."""

from harness.wait import stays, wait_until

# Flushed every 3 s, so a session is seen as idle 7 s after its last call, and idles out after 12 at the earliest.
SETTINGS = {"session.idle_timeout_s": 12, "session.drain_idle_s": 4}
WORKERS = "/api/v1/ops/workers"


def drain(system, name, **body):
    return system.ops.post(f"{WORKERS}/{name}/drain", body or None).expect(200).json


def worker(system, name):
    return next(one for one in system.ops.get(WORKERS).expect(200).json["workers"] if one["name"] == name)


def worker_of(system, company):
    return system.api.active(company).expect(200).json["worker"]


def session_on(system, company, name, stored=True):
    """A session of the company on that robot."""
    other = next(one for one in system.robots if one != name)
    system.ctl("worker", "drain", other)
    wait_until(lambda: worker(system, other)["wanted"] == "draining", 5)
    if stored:
        system.set_credentials(company, usuario="u", clave="c")

    def login():
        told = system.api.execute(company).expect(200).json
        if told["robot"]["worker"] == name:
            return told["session_id"]
        system.api.close(told["session_id"]).expect(200)  # the dispatcher had not heard of the drain yet
        return system.robots[other].forget_calls() and None

    session = wait_until(login, 10, f"a session on {name}")
    system.ctl("worker", "resume", other)
    return session


def test_idle_sessions_move_and_the_others_stay(make_system):
    system = make_system(robots=2, settings=SETTINGS)
    moves = session_on(system, 1, "r1")
    stays_there = session_on(system, 2, "r1", stored=False)
    drain(system, "r1", reason="new version")
    told = worker(system, "r1")["drain"]
    assert told["sessions_left"] == 2 and told["movable"] == 1 and told["since"] and told["deadline"] is None
    wait_until(lambda: worker_of(system, 1) == "r2", 12, "the idle one moved")
    system.api.list(moves).expect(200)  # its old id goes on working
    assert system.api.list(stays_there).expect(200) and worker_of(system, 2) == "r1"
    left = worker(system, "r1")["drain"]
    assert left["sessions_left"] == 1 and left["movable"] == 0
    assert len(system.robots["r1"].sessions()) == 1 and len(system.robots["r2"].sessions()) == 1
    row = system.database.row("SELECT actor, peer, subject, detail FROM chasqui_audit WHERE action = 'worker_want' AND actor LIKE 'token:%%' ORDER BY id DESC LIMIT 1")
    assert row["subject"] == "r1" and row["detail"] == "active -> draining: new version" and row["peer"].startswith("127.0.0.1:")


def test_a_session_in_use_waits_for_the_deadline(make_system):
    system = make_system(robots=2, settings={"session.idle_timeout_s": 40, "session.drain_idle_s": 86400})
    session = session_on(system, 1, "r1")
    system.api.list(session).expect(200)
    drain(system, "r1")
    stays(lambda: worker_of(system, 1) == "r1", 2)
    drain(system, "r1", deadline_s=1)
    told = worker(system, "r1")["drain"]
    assert told["deadline"] > told["since"]
    wait_until(lambda: worker_of(system, 1) == "r2", 10, "it moved at the deadline")
    system.api.list(session).expect(200)
    wait_until(lambda: worker(system, "r1")["drain"]["sessions_left"] == 0, 5)
    system.ops.post(f"{WORKERS}/r1/drain", {"deadline_s": -1}).expect(422, "validation_failed")
    system.ops.post(f"{WORKERS}/r1/drain", {"deadline_s": "soon"}).expect(422, "validation_failed")


def test_without_room_elsewhere_nothing_is_lost_and_nobody_waits(make_system):
    system = make_system(robots=2, capacity=1, settings={"session.idle_timeout_s": 40, "session.drain_idle_s": 0, "session.migrate_timeout_s": 1})
    first = session_on(system, 1, "r1")
    second = session_on(system, 2, "r2")
    drain(system, "r1", deadline_s=0)
    for _ in range(10):
        system.api.list(first).expect(200)
    stays(lambda: worker_of(system, 1) == "r1", 3)
    system.api.close(second).expect(200)
    wait_until(lambda: worker_of(system, 1) == "r2", 10, "it moves as soon as there is room")
    system.api.list(first).expect(200)


def test_nobody_is_logged_in_before_the_robot_it_leaves_has_ended_it(make_system):
    system = make_system(robots=2, settings={"session.idle_timeout_s": 40, "session.drain_idle_s": 86400})
    session = session_on(system, 1, "r1")
    system.robots["r1"].behave("fence", "status", status=500)
    drain(system, "r1", deadline_s=0)
    wait_until(lambda: (system.database.value("SELECT MAX(attempts) FROM chasqui_session_migrations") or 0) >= 2, 20, "further turns")
    assert not system.robots["r2"].calls("login", 1) and len(system.robots["r1"].sessions()) == 1
    system.robots["r1"].behave("fence")
    wait_until(lambda: worker_of(system, 1) == "r2", 20, "it moves when the old one is ended")
    system.api.list(session).expect(200)
    assert not system.portal.violations()


def test_resume_ends_it(make_system):
    system = make_system(robots=2, settings={"session.idle_timeout_s": 40, "session.drain_idle_s": 86400})
    session_on(system, 1, "r1")
    drain(system, "r1", deadline_s=3600)
    system.ops.post(f"{WORKERS}/r1/resume").expect(200)
    one = worker(system, "r1")
    assert one["wanted"] == "active" and one["drain"] is None
    row = system.database.row("SELECT drain_since, drain_deadline FROM chasqui_robots WHERE name = 'r1'")
    assert row == {"drain_since": None, "drain_deadline": None}
    assert worker_of(system, 1) == "r1"


def test_the_command(make_system):
    system = make_system(robots=2, settings={"session.idle_timeout_s": 40, "session.drain_idle_s": 86400})
    session_on(system, 1, "r1")
    session_on(system, 2, "r1", stored=False)
    assert "of its 2 sessions 1 can move" in system.ctl("worker", "drain", "r1").stdout
    assert "was draining already" in system.ctl("worker", "drain", "r1").stdout
    assert "is draining: of its 2" in system.ctl("worker", "drain", "r1", "--deadline", "1h").stdout
    assert worker(system, "r1")["drain"]["deadline"]
    assert system.ctl("worker", "drain", "r1", "--deadline", "soon", check=False).returncode == 2
    assert "1 can move to other robots, 1 must be waited for" in system.ctl("worker", "drain", "r1").stdout
    wait_until(lambda: "2 sessions left" in system.ctl("stats").stdout, 10)
