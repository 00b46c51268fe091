# SPDX-License-Identifier: MIT
"""Rows of portal_jobs that a transaction of Laravel holds for seconds: each waits for itself alone, and all of them end as they should."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from harness.wait import ran_s, stays, wait_until

LOOKED_UP_S = 2  # of a list or a look-up, on a busy machine
HELD_UP_S = 8  # of what waits for no held row, on a busy machine; a lock is waited for for 10 s
HOLD_S = 5  # longer than a lease lasts
SLOW = "1500-2500"  # ms of a log-in: its row is held before its end comes
ROOM = {"capacity": 200, "settings": {"queue.robot_logins": 200}}


@pytest.fixture
def holding(make_system):
    """holding(system, job_ids): DB::transaction(fn () => each PortalJob::lockForUpdate()->find($id), then a slow call), until the block ends."""

    @contextmanager
    def hold(system, job_ids):
        with system.database.connect() as connection, connection.cursor() as cursor:
            cursor.execute("START TRANSACTION")
            for job_id in job_ids:
                assert cursor.execute("SELECT * FROM portal_jobs WHERE id = %s FOR UPDATE", [job_id]) == 1
            yield
            connection.commit()

    return hold


def timed(call):
    """(answer, seconds)."""
    began = ran_s()
    return call(), ran_s() - began


def jobs(system, companies, status):
    """{company: job id} of those with a job of that status."""
    rows = system.database.rows("SELECT company_id, id FROM portal_jobs WHERE company_id IN %s AND status = %s", list(companies), status)
    return {row["company_id"]: row["id"] for row in rows}


def wait_jobs(system, companies, status, timeout=10):
    """{company: job id} as soon as each has a job of that status."""

    def all_of_them():
        found = jobs(system, companies, status)
        return found if len(found) == len(companies) else None

    return wait_until(all_of_them, timeout, f"{len(companies)} jobs are {status}")


def done_in_time(system, companies):
    """All of them are done, although rows of others are held."""
    _, took = timed(lambda: wait_jobs(system, companies, "done", HELD_UP_S))
    assert took < HELD_UP_S, took


def check_whole(system, companies):
    """One log-in each, and what the robot told is in the rows of the same company."""
    companies = set(companies)
    told = {one["company_id"]: one["session_id"] for one in system.robot.sessions() if one["company_id"] in companies}
    rows = system.database.rows(
        "SELECT j.company_id, j.status, j.attempts, j.worker, j.robot_worker_base_url AS url, j.robot_session_id AS id, s.robot_session_id AS own "
        "FROM portal_jobs j LEFT JOIN chasqui_sessions s ON s.job_id = j.id AND s.live = 1 AND s.state = 'active' WHERE j.company_id IN %s", companies)  # fmt: skip
    assert sorted(row["company_id"] for row in rows) == sorted(companies)
    for row in rows:
        assert row["id"] == row["own"] == told[row["company_id"]], row
        assert (row["status"], row["worker"], row["url"]) == ("done", system.robot.name, system.robot.url), row
        assert row["attempts"] <= 1, row
    logins = Counter(call["company_id"] for call in system.robot.calls("login"))
    assert {company: logins[company] for company in companies} == dict.fromkeys(companies, 1)
    assert system.metric("chasqui_rescues_total") == system.metric("chasqui_leases_lost_total") == 0


def test_a_held_row_stops_no_list(make_system, holding):
    """More rows are held than there are database threads, at the ends of log-ins that callers and a batch wait for."""
    system = make_system(**ROOM)
    sessions = [system.api.login(company) for company in range(101, 106)]
    fresh = system.api_for()  # its token is looked up while rows are held
    system.robot.settings(login_ms=SLOW)
    called, queued = range(1, 21), range(21, 41)
    with ThreadPoolExecutor(len(called)) as pool:
        answers = [pool.submit(system.api.execute, company) for company in called]
        system.api.batch(queued).expect(202)
        running = wait_jobs(system, [*called, *queued], "running")
        held = [*called[::4], *queued[::4]]
        with holding(system, [running[company] for company in held]):
            system.robot.wait_call("login", count=len(sessions) + len(running))
            wait_until(lambda: len(system.robot.sessions()) == len(sessions) + len(running), 10, "the robot has done them all")
            looks = [lambda look=look, session=session: look(session) for session in sessions for look in (system.api.list, system.api.session)]
            looks += [lambda: fresh.list(sessions[0]), lambda: fresh.job(running[held[0]]), lambda: fresh.active(101)]
            looks += [lambda: system.ops.get("/api/v1/ops/stats?history=0")]
            until = time.monotonic() + HOLD_S
            while time.monotonic() < until:
                for look in looks:
                    answer, took = timed(look)
                    assert answer.status == 200 and took < LOOKED_UP_S, (answer, took)
            assert set(jobs(system, running, "running")) >= set(held)
        wait_jobs(system, running, "done")
        assert {answer.result().status for answer in answers} == {200}
    check_whole(system, running)


def test_held_rows_stop_no_other_log_in(make_system, holding):
    system = make_system(**ROOM)
    system.robot.settings(login_ms=SLOW)
    companies = range(1, 41)
    batch_id = system.api.batch(companies).expect(202).json["batch_id"]
    running = wait_jobs(system, companies, "running")
    held = companies[3::10]
    others = [company for company in companies if company not in held]
    with ThreadPoolExecutor(5) as pool, holding(system, [running[company] for company in held]):
        done_in_time(system, others)
        answers = list(pool.map(lambda company: timed(lambda: system.api.execute(company)), range(101, 106)))
        assert all(answer.status == 200 and took < HELD_UP_S for answer, took in answers), answers
        stays(lambda: system.metric("chasqui_rescues_total") == 0, HOLD_S, "the held ones keep their leases", every=0.2)
    wait_jobs(system, held, "done")
    batch = wait_until(lambda: (told := system.api.get(f"/api/v1/app/batches/{batch_id}").expect(200).json["batch"])["finished_at"] and told, 10, "its end")
    assert batch["counts"]["done"] == len(companies)
    check_whole(system, [*companies, *range(101, 106)])


def test_a_held_waiting_job_stops_no_queue(make_system, holding):
    system = make_system(**ROOM)
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "test"}).expect(200)
    single, batch = range(1, 11), range(11, 31)
    waiting = {company: system.api.queue(company).expect(202).json["job_id"] for company in single}
    system.api.batch(batch).expect(202)
    held = single[::3]
    others = [company for company in (*single, *batch) if company not in held]
    with holding(system, [waiting[company] for company in held]):
        system.ops.post("/api/v1/ops/queue/resume", {}).expect(200)
        done_in_time(system, others)
        late = range(31, 34)
        for company in late:
            system.api.queue(company).expect(202)
        done_in_time(system, late)
        assert not {call["company_id"] for call in system.robot.calls("login")} & set(held)
    wait_jobs(system, held, "done")
    check_whole(system, [*single, *batch, *late])
    assert {system.api.job(job_id).expect(200).json["job"]["attempts"] for job_id in waiting.values()} == {1}


def test_stats_say_what_is_held(make_system, holding):
    """The operators' page names the duty that waits for rows, and no more says so when they are free."""
    system = make_system(**ROOM)
    system.robot.settings(login_ms=SLOW)
    companies = range(1, 21)
    system.api.batch(companies).expect(202)
    running = wait_jobs(system, companies, "running")

    def said():
        words = system.ops.get("/api/v1/ops/stats?history=0").expect(200).json["words"]
        return [one for one in words if one["code"].startswith("database_") and not one["text"].startswith("Until ")]

    with holding(system, [running[company] for company in companies[::4]]):
        wait_until(lambda: all(call["ended"] for call in system.robot.calls("login")), 20, "the robot has answered")
        told, took = timed(lambda: wait_until(said, 10, "it is said that rows are waited for", every=0.1))
        assert took < 10 and all(one["level"] == "warn" and one["who"] for one in told), (told, took)
    wait_jobs(system, companies, "done")
    wait_until(lambda: not said(), 10, "it is over", every=0.1)
    check_whole(system, companies)
