# SPDX-License-Identifier: MIT
"""Processes that stand still (SIGSTOP) instead of dying, several of each kind, clocks that are wrong, robots that hold thousands.

Whoever asks is answered before its deadline, and nothing is lost once everything moves again.
"""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import Api
from harness.wait import ran_s, stays, wait_until

LOGIN = {"ruc": "20100000001", "usuario": "DEMO", "clave": "demo"}
GRACE_S = 3  # of a busy machine, beyond a deadline
HELD_UP_S = 8  # of a log-in that waits for no other, on a busy machine; a lock is waited for for 10 s
CLOCK = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *at)
{
    int rc = (int)syscall(SYS_clock_gettime, id, at);
    if (rc == 0 && id == CLOCK_REALTIME)
        at->tv_sec += atol(getenv("CLOCK_OFF_BY"));
    return rc;
}
"""


def timed(call):
    """(answer, seconds)."""
    began = ran_s()
    return call(), ran_s() - began


def together(calls):
    """All at once: [(answer, seconds)] in order."""
    results = [None] * len(calls)

    def run(at, call):
        results[at] = timed(call)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_database_that_stands_still(make_system, mariadb):
    system = make_system(dispatchers=2, settings={"db.stall_ms": 20000})  # the deadline ends their wait, nothing else
    session = system.api.login(1)
    job = system.api.active(1).json["job_id"]
    deadline = {"X-Deadline-Ms": "1500"}
    mariadb.process.pause()
    api = system.api
    answers = together([
        lambda: api.list(session, headers=deadline), lambda: api.download(session, "a-token", headers=deadline),
        lambda: api.active(1, headers=deadline), lambda: api.session(session, headers=deadline), lambda: api.job(job, headers=deadline),
        lambda: api.execute(2, params=LOGIN, headers=deadline), lambda: api.close(session, headers=deadline),
    ])  # fmt: skip
    assert all(answer.status in (503, 504) and took < 1.5 + GRACE_S for answer, took in answers), answers
    mariadb.process.resume()
    wait_until(lambda: system.api.execute(2, params=LOGIN).status == 200, 20, "company 2 gets its session")
    answer = wait_until(lambda: (lambda a: a if a.status in (200, 410) else None)(system.api.list(session)), 20, "it is known what came of the close")
    assert answer.status == 200 or answer.error == "session_closed"
    assert len([one for one in system.robot.sessions() if one["company_id"] == 2]) == 1


def test_a_dispatcher_that_stands_still(make_system):
    system = make_system(dispatchers=2)
    session = system.api.login(3)
    token = system.robot.add_file(3, "file", 300_000)
    system.dispatchers[0].pause()
    calls = [lambda: system.api.list(session, headers={"X-Deadline-Ms": "8000"})] * 20
    calls += [lambda: system.api.download(session, token, headers={"X-Deadline-Ms": "8000"})] * 4
    calls += [lambda n=n: system.api.execute(30 + n, params=LOGIN) for n in range(6)]
    answers = together(calls)
    assert all(answer.status == 200 for answer, _ in answers[:24]), answers
    assert all(answer.status in (200, 503) for answer, _ in answers[24:]), answers  # 503: it was sent there and never began
    system.dispatchers[0].resume()
    for n in range(6):
        wait_until(lambda n=n: system.api.execute(30 + n, params=LOGIN).status == 200, 20, f"company {30 + n}")
    assert len(system.robot.sessions()) == 7


def test_the_only_dispatcher_stands_still(system):
    session = system.api.login(4)
    system.dispatcher.pause()
    answers = together([lambda: system.api.list(session, headers={"X-Deadline-Ms": "300"}), lambda: system.api.list(session),
                        lambda: system.api.execute(5, params=LOGIN, headers={"X-Deadline-Ms": "6000"})])  # fmt: skip
    (short, short_s), (long, long_s), (login, login_s) = answers
    short.expect(504, "deadline_exceeded")
    long.expect(503, "no_dispatcher")
    assert login.status in (503, 504) and short_s < 0.3 + GRACE_S and long_s < 10 and login_s < 6 + GRACE_S
    system.dispatcher.resume()
    system.wait_ready()
    system.api.list(session).expect(200)
    wait_until(lambda: system.api.execute(5, params=LOGIN).status == 200, 20, "company 5")


def test_all_of_it_stands_still_at_once(make_system, mariadb):
    """A virtual machine that gets no processor time for longer than a silence: nobody is judged silent, and what was under way goes on."""
    system = make_system(settings={"queue.lease_ms": 30000, "db.stall_ms": 30000, "healthd.timeout_ms": 20000})
    session, closed = system.api.login(4), system.api.login(5)
    for call in ("list", "delete", "login"):
        system.robot.behave(call, "delay", ms=1000)
    calls = [lambda: system.api.list(session), lambda: system.api.close(closed), lambda: system.api.execute(6, params=LOGIN)]
    everything = [*system.processes, system.robot, system.portal, mariadb.process]
    with ThreadPoolExecutor(len(calls)) as pool:
        waiting = [pool.submit(call) for call in calls]
        system.robot.wait_call("list")
        system.robot.wait_call("delete")
        system.robot.wait_call("login", company_id=6)
        for process in everything:
            process.signal(signal.SIGSTOP)
        wait_until(lambda: all(process.status("State").startswith("T") for process in everything), 5, "everything stands still")
        stays(lambda: all(process.status("State").startswith("T") for process in everything), 3)
        for process in everything:
            process.resume()
        answers = [one.result() for one in waiting]
    assert [answer.status for answer in answers] == [200, 200, 200], answers
    assert "why=silent" not in system.broker.text() + system.dispatcher.text()


def test_a_robot_that_stands_still_during_a_log_in(make_system):
    system = make_system(settings={"healthd.down_after": 3}, robots=2)
    for robot in system.robots.values():
        robot.settings(login_ms="2000-2000")
    answers = []
    caller = threading.Thread(target=lambda: answers.append(timed(lambda: system.api.execute(6, params=LOGIN, headers={"X-Deadline-Ms": "2500"}))))
    caller.start()
    robot = wait_until(lambda: next((one for one in system.robots.values() if one.calls("login")), None), 10, "a robot works on it")
    robot.pause()
    caller.join()
    answer, took = answers[0]
    assert took < 2.5 + GRACE_S and answer.status in (502, 504) and answer.json["job_id"], answer
    robot.resume()
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_leases") == 0, 30, "it is settled")
    wait_until(lambda: system.api.execute(6, params=LOGIN).status == 200, 15, "the next log-in")
    wait_until(lambda: sum(len(one.sessions()) for one in system.robots.values()) == 1, 15, "one session is left")


def test_two_brokers_and_two_healthds(make_system):
    system = make_system(brokers=2, healthds=2, dispatchers=2, robots=2)
    first, second = system.api_at(0), system.api_at(1)
    session = first.login(7)
    second.list(session).expect(200)
    assert second.execute(7, params=LOGIN).expect(200).json["reused"] is True
    system.healthds[0].kill9()
    system.brokers[0].kill9()
    home = system.robot_of(session)
    other = next(robot for robot in system.robots.values() if robot is not home)
    second.list(session).expect(200)
    ops = Api(system.ops_url_of(1), system.token)

    def verdicts():
        return {one["name"]: one["verdict"] for one in ops.get("/api/v1/ops/workers").expect(200).json["workers"]}

    other.kill9()
    wait_until(lambda: verdicts() == {home.name: "up", other.name: "down"}, 15, "the other healthd tells")
    other.start()
    wait_until(lambda: verdicts() == {home.name: "up", other.name: "up"}, 15, "and that it is back")
    system.brokers[0].start()
    system.healthds[0].start()
    system.wait_ready()
    first.list(session).expect(200)
    first.close(session).expect(200)
    second.list(session).expect(410, "session_closed")


# --- clocks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock_off_by(preloaded):
    """clock_off_by(process, seconds): its next life has another idea of the time of day."""
    library = preloaded("clock", CLOCK)

    def set_off(process, seconds):
        process.env.update({**library, "CLOCK_OFF_BY": str(seconds)})

    return set_off


def test_wrong_clocks_end_nothing_early(make_system, clock_off_by):
    """Waits are by the monotonic clock, and what is compared between processes by the database's."""
    system = make_system(ready=False, dispatchers=2, settings={"session.idle_timeout_s": 300})
    for process, seconds in zip(system.processes, (7200, -7200, 3600, -3600), strict=True):
        clock_off_by(process, seconds)
    system.start().wait_ready().wait_probed()
    session = system.api.login(8, remember=True)
    api = system.api_for(8)
    for _ in range(10):
        api.list(session).expect(200)
    row = system.database.row("SELECT ABS(TIMESTAMPDIFF(SECOND, last_activity_at, NOW(6))) AS off, state FROM chasqui_sessions WHERE company_id = 8")
    assert row["state"] == "active" and row["off"] < 60
    system.robot.settings(login_ms="3000-3000")
    answers = together([lambda: system.api.execute(9, params=LOGIN)] * 2)
    assert sorted(answer.status for answer, _ in answers) == [200, 409]
    stays(lambda: system.api.session(session).status == 200, 1, "nothing is swept early")
    system.api.close(session).expect(200)
    assert system.metric("chasqui_leases_lost_total") == system.metric("chasqui_rescues_total") == 0


def test_a_seed_only_robot_is_waited_out_by_the_databases_clock(make_system, clock_off_by):
    system = make_system(ready=False, settings={"timeout.login_ms": 6000, "session.lost_after_s": 1}, robot_options={"seed_only": True})
    clock_off_by(system.dispatcher, 3600)
    system.start().wait_ready().wait_probed()
    system.api.login(10)
    system.allow_violations = True
    system.robot.pause()
    pending = "SELECT COUNT(*) FROM chasqui_sessions WHERE close_pending = 1"
    wait_until(lambda: system.database.value(pending) == 1, 15, "it is abandoned")
    system.robot.resume()
    kept = "SELECT COUNT(*) FROM chasqui_sessions WHERE close_pending = 1 OR since < NOW(6) - INTERVAL 5 SECOND"
    stays(lambda: system.database.value(kept) == 1, 5.5, "its place is kept", every=0.05)
    wait_until(lambda: system.database.value(pending) == 0, 15, "and freed after the limit")


# --- many --------------------------------------------------------------------------------------------------------


def told_of(n):
    return {"session_id": f"many-{n}", "company_id": 1000 + n, "portal": "sunat", "job_uid": f"MANYMANYMANY-{1700000000 + n}", "epoch": 1,
            "state": "active"}  # fmt: skip


def rows_of_sessions(system, count, extra=0, missing=None, strange=()):
    """Active sessions many-1 ... of the only robot, which also tells of them, without the missing one and with the strange ones."""
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_places") == count + extra, 15, "places")
    robot = system.database.value("SELECT id FROM chasqui_robots")
    system.database.execute(
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, updated_at) "
        "SELECT CONCAT('MANYMANYMANY-', 1700000000 + seq), 1000 + seq, 'sunat', 'sunat.menu_sol_login', 'done', %s, CONCAT('many-', seq), NOW(), NOW() "
        f"FROM seq_1_to_{count}", system.robot.url)  # fmt: skip
    system.database.execute(
        "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal) SELECT id, job_uid, 'login', company_id, portal FROM portal_jobs")
    system.database.execute("INSERT INTO chasqui_epochs (company_id, portal, epoch) SELECT company_id, portal, 1 FROM portal_jobs")
    told = [told_of(n) for n in range(1, count + 1) if n != missing]
    system.robot.behave("sessions", "status", status=200, body={"sessions": told + [*strange]})
    system.database.execute(
        "INSERT INTO chasqui_sessions (job_id, current_job_id, company_id, portal, live, state, since, robot_id, robot_session_id, live_session_id, "
        "epoch, started_at, last_activity_at) SELECT id, id, company_id, portal, 1, 'active', NOW(6), %s, robot_session_id, robot_session_id, 1, NOW(6), "
        "NOW(6) FROM portal_jobs", robot)  # fmt: skip
    system.database.execute(
        "UPDATE chasqui_places p JOIN (SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS n FROM chasqui_sessions) s ON s.n = p.slot SET p.session_ref = s.id")


def test_a_robot_that_holds_thousands_of_sessions(make_system):
    """Reconciliation and doctor find the one that is missing and the one that is strange among 3,000."""
    count = 3000
    system = make_system(robots=0, ready=False)
    system.add_robot("r1", capacity=count + 10)
    system.start().wait_ready().wait_probed()
    strange = [{"session_id": "strange", "company_id": 99, "portal": "sunat", "state": "active"}, told_of(1)]
    rows_of_sessions(system, count, 10, 1500, strange)
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1") == count - 1, 20, "the missing one is ended")
    gone = system.database.row("SELECT robot_session_id AS id, state, reason FROM chasqui_sessions WHERE live IS NULL")
    assert gone == {"id": "many-1500", "state": "expired", "reason": "not_on_robot"}
    before = system.dispatcher.cpu_s()
    findings = system.ops.get("/api/v1/ops/doctor").expect(200).json["findings"]
    assert system.dispatcher.cpu_s() - before < 2
    checks = sorted(one["check"] for one in findings)
    assert checks == ["two_sessions_on_robots", "unknown_on_robot"], findings
    assert any("company 99, sunat" in one["text"] for one in findings)
    system.check_doctor = False


def test_a_slow_flush_of_activity_leaves_threads_to_others(make_system):
    """The uses of 450 sessions are written in three statements, all of which wait for a lock; look-ups go on."""
    count = 450
    system = make_system(robots=0, ready=False, settings={"dispatcher.db_threads": 2, "session.idle_timeout_s": 30})
    system.add_robot("r1", capacity=count)
    system.start().wait_ready().wait_probed()
    rows_of_sessions(system, count)
    system.check_doctor = False
    with system.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT id FROM chasqui_sessions WHERE live = 1 FOR UPDATE")
        for n in range(1, count + 1):
            system.api.post(f"/api/v1/app/sessions/many-{n}/touch").expect(200)
        blocked = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'UPDATE chasqui_sessions%%SET last_activity_at%%'"
        wait_until(lambda: system.database.value(blocked) > 0, 10, "a flush waits")
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            answer, took = timed(lambda: system.api.session("many-7"))
            assert answer.status == 200 and took < GRACE_S, (answer, took)
            assert system.database.value(blocked) <= 1
    written = "SELECT COUNT(*) FROM chasqui_sessions WHERE last_activity_at > started_at + INTERVAL 1 SECOND"
    wait_until(lambda: system.database.value(written) == count, 15, "all of it is written in the end")


def test_log_ins_do_not_wait_for_a_company_whose_row_is_locked(make_system):
    """Places and outcomes are written in groups: what waits in one of them is written apart, and waits for itself alone."""
    system = make_system(robots=1, capacity=200)
    system.api.login(1)
    system.api.login(2)
    system.api.close(system.api.active(2).json["session_id"]).expect(200)
    system.robot.behave("login", "delay", ms=4000)
    locked = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT epoch FROM chasqui_epochs%%'"
    with ThreadPoolExecutor(40) as pool, system.database.connect() as connection, connection.cursor() as cursor:
        answers = [pool.submit(system.api.execute, 2)]
        wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_leases") == 1, 10, "the robot is asked")
        system.robot.behave_well()
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")  # the rows alone, no gap beside them
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT epoch FROM chasqui_epochs WHERE company_id IN (1, 2) FOR UPDATE")
        answers += [pool.submit(system.api.execute, 1) for _ in range(2)]
        wait_until(lambda: system.database.value(locked) == 3, 10, "two log-ins and an outcome wait for the row")
        for n in range(10, 30):
            answer, took = timed(lambda: system.api.execute(n))
            assert answer.status == 200 and took < HELD_UP_S, (answer, took)
        answer, took = timed(lambda: list(pool.map(system.api.execute, range(30, 60))))
        assert {one.status for one in answer} == {200} and took < HELD_UP_S, took
        connection.rollback()
        assert [one.result().status for one in answers] == [200, 200, 200]
    assert system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1 AND company_id IN (1, 2)") == 2
