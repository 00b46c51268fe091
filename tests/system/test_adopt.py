# SPDX-License-Identifier: MIT
"""`chasqui adopt`: Laravel's live sessions become ours at the cut-over, all at once."""

import threading

import pytest

from harness.wait import ran_s

N = 4000


@pytest.fixture
def desk(make_system):
    """The command and a database that Laravel filled; nothing runs."""
    system = make_system(ready=False, robots=0)
    system.setup() if not system.token else None
    for name, port, capacity in (("r1", 9001, 1500), ("r2", 9002, 100)):
        system.ctl("worker", "add", name, "--base-url", f"http://10.0.0.7:{port}", "--capacity", capacity)
    return system


def fill(system, rows, base="http://10.0.0.7:9001/", first=1, age_s=60, **more):
    columns = {"job_uid": "CONCAT('LARAVEL', seq)", "company_id": "seq", "portal": "'sunat'", "action": "'sunat.menu_sol_login'", "status": "'done'",
               "robot_worker_base_url": f"'{base}'", "robot_session_id": "CONCAT('s-', seq)", "created_at": f"NOW() - INTERVAL {age_s} SECOND",
               "updated_at": f"NOW() - INTERVAL {age_s} SECOND", **more}  # fmt: skip
    system.database.execute(f"INSERT INTO portal_jobs ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM seq_{first}_to_{first + rows - 1}")


def live(system):
    return system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1")


def test_laravels_sessions_are_taken_in_at_once(desk):
    fill(desk, N)
    fill(desk, 150, "http://10.0.0.7:9002", first=10001)
    fill(desk, 30, "http://10.0.0.9:9999", first=20001)
    # What is none of them: too old, deleted or never opened ones, and a company that has a session already.
    fill(desk, 10, first=30001, age_s=4000)
    fill(desk, 10, first=30101, status="'failed'")
    fill(desk, 10, first=30201, robot_session_id="NULL")
    fill(desk, 1, first=30301, company_id="0")
    fill(desk, 2, "", first=30401)
    for n, bad in enumerate(("a b", "a/b", "a%%b", "a?b", "a#b", r"a\\b", "a\tb", "ñ", ".", "..")):
        fill(desk, 1, first=30501 + n, robot_session_id=f"'{bad}'")
    # A company's newest row is its session.
    fill(desk, 1, first=7, age_s=5, robot_session_id="'newer'", job_uid="'NEWER'")
    told = desk.ctl_json("adopt", "--preview")
    assert told == {"ok": True, "preview": True, "found": N + 150, "adopted": 0, "above_capacity": 0, "unknown_robots": [{"base_url": "http://10.0.0.9:9999", "sessions": 30}]}
    assert live(desk) == 0
    began = ran_s()
    told = desk.ctl_json("adopt")
    took = ran_s() - began
    assert told["adopted"] == N + 150 and told["above_capacity"] == N - 1500 + 50
    print(f"{(N + 150) / took:.0f} sessions a second")
    assert took < 10
    assert live(desk) == N + 150
    assert desk.database.value("SELECT robot_session_id FROM chasqui_sessions WHERE company_id = 7") == "newer"
    assert desk.database.value("SELECT COUNT(*) FROM chasqui_places p JOIN chasqui_sessions s ON s.id = p.session_ref AND s.robot_id = p.robot_id") == N + 150
    assert desk.database.value("SELECT COUNT(*) FROM chasqui_places WHERE session_ref IS NULL") == 0, "full robots count as full"
    assert desk.database.value("SELECT COUNT(*) FROM chasqui_job_events WHERE event = 'adopted'") == N + 150
    row = desk.database.row("SELECT * FROM chasqui_sessions WHERE company_id = 3")
    assert (row["state"], row["generation"], row["adopted"], row["reason"]) == ("active", 1, 1, "adopted") and row["last_activity_at"] > row["started_at"]
    assert desk.database.value("SELECT detail FROM chasqui_audit WHERE action = 'adopt'") == f"{N + 150} sessions, {N - 1450} of them above capacity"
    # Again: nothing is left; a robot that is registered later is found.
    assert desk.ctl_json("adopt")["adopted"] == 0
    assert "worker add NAME --base-url http://10.0.0.9:9999" in desk.ctl("adopt").stderr
    desk.ctl("worker", "add", "r3", "--base-url", "http://10.0.0.9:9999")
    assert "30 sessions of Laravel are adopted, 20 of them" in desk.ctl("adopt").stdout
    healthy, told = desk.doctor()
    assert healthy, told


def test_each_character_that_a_caller_can_name_is_taken(desk):
    good = {chr(c) for c in range(0x21, 0x7F)} - set("/\\%?#.")
    with desk.database.connect() as connection, connection.cursor() as cursor:
        for n, one in enumerate(sorted(good)):
            cursor.execute("INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, updated_at) "
                           "VALUES (%s, %s, 'sunat', 'sunat.menu_sol_login', 'done', 'http://10.0.0.7:9001', %s, NOW(), NOW())", (f"U{n}", n + 1, f"{n}{one}"))  # fmt: skip
        connection.commit()
    assert desk.ctl_json("adopt")["adopted"] == len(good) == 88


def test_what_is_held_already_is_not_read(desk):
    desk.ctl("worker", "set", "r1", "--capacity", N)
    fill(desk, N)

    def rows_read():
        return int(desk.database.row("SHOW GLOBAL STATUS LIKE 'Handler_read_next'")["Value"])

    before = rows_read()
    assert desk.ctl_json("adopt")["above_capacity"] == 0
    each = (rows_read() - before) / N
    print(f"{each:.1f} rows read by an index in turn for each session")
    assert each < 11


def test_two_at_once_take_each_session_once(desk):
    fill(desk, 1000)
    answers = []
    both = [threading.Thread(target=lambda: answers.append(desk.ctl_json("adopt"))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sum(answer["adopted"] for answer in answers) == live(desk) == 1000
    assert desk.database.value("SELECT COUNT(DISTINCT session_ref) FROM chasqui_places WHERE session_ref IS NOT NULL") == 1000


def test_places_between_held_ones_are_taken(desk):
    desk.database.execute("UPDATE chasqui_places p JOIN chasqui_robots r ON r.id = p.robot_id SET p.session_ref = 1000000 + p.slot WHERE r.name = 'r2' AND MOD(p.slot, 3) = 0")
    fill(desk, 40, "http://10.0.0.7:9002")
    fill(desk, 40, "http://10.0.0.7:9002//", first=101)  # Laravel's URL is compared without its slashes
    assert desk.ctl_json("adopt")["above_capacity"] == 80 - 67
    rows = desk.database.rows("SELECT p.slot, s.company_id FROM chasqui_places p JOIN chasqui_sessions s ON s.id = p.session_ref AND s.robot_id = p.robot_id ORDER BY p.slot")
    assert len({row["company_id"] for row in rows}) == 80
    assert [row["slot"] for row in rows] == [slot for slot in range(1, 101) if slot % 3] + list(range(101, 114))


def test_a_url_that_no_robot_has_is_named_once(desk):
    fill(desk, 3, "http://10.0.0.9:9999")
    fill(desk, 2, "http://10.0.0.9:9999/", first=101)
    fill(desk, 7, "http://10.0.0.8:9999", first=201)
    told = desk.ctl_json("adopt", "--preview")
    assert told["found"] == 0
    assert told["unknown_robots"] == [{"base_url": "http://10.0.0.8:9999", "sessions": 7}, {"base_url": "http://10.0.0.9:9999", "sessions": 5}]
