# SPDX-License-Identifier: MIT
"""The database goes elsewhere: refuses, forgets, hangs, becomes read-only. Callers are answered, operators read why, and it heals by itself."""

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import Client, DatabaseProxy, free_port
from harness.wait import PATIENCE, wait_until

LOGIN = {"ruc": "20100000001", "usuario": "DEMO", "clave": "demo"}


def readyz(system):
    answer = Client(system.ops_url, timeout=5).get("/readyz")
    return answer.status, answer.json.get("why")


def codes(system):
    return {one["code"] for one in system.ops.get("/api/v1/ops/stats").expect(200).json["words"]}


@pytest.fixture
def proxy(mariadb):
    """In front of the server; stays there for the end of the system."""
    made = DatabaseProxy("127.0.0.1", mariadb.port).start()
    yield made
    made.clear()
    made.resume()


def through(make_system, mariadb, proxy):
    return make_system(database=mariadb.create_database(), settings={"db.port": proxy.port, "db.stall_ms": 2000})


def logs_in(system, company):
    body = {"company_id": company, "portal": "sunat", "action": "sunat.menu_sol_login", "params": LOGIN}
    wait_until(lambda: system.api.post("/api/v1/app/jobs/execute", body).status == 200, 20, f"company {company} logs in", every=0.2)


def test_a_row_that_is_refused_is_named(make_system):
    system = make_system()
    system.database.execute("CREATE TABLE companies (id BIGINT UNSIGNED PRIMARY KEY) ENGINE=InnoDB")
    system.database.execute("INSERT INTO companies VALUES (1)")
    system.database.execute("ALTER TABLE portal_jobs ADD CONSTRAINT portal_jobs_company_id_foreign FOREIGN KEY (company_id) REFERENCES companies (id)")
    body = {"company_id": 2, "portal": "sunat", "action": "sunat.menu_sol_login", "params": LOGIN}
    answer = system.api.post("/api/v1/app/jobs/execute", body).expect(409).json
    assert answer["error"] == "refused_by_database"
    assert answer["errors"]["table"] == ["portal_jobs"] and answer["errors"]["constraint"] == ["portal_jobs_company_id_foreign"]
    system.api.login(1)
    wait_until(lambda: "database_refuses" in codes(system), 10, "the refusal is said")
    assert system.metric("chasqui_database_refused_total") >= 1
    system.database.execute("ALTER TABLE portal_jobs DROP FOREIGN KEY portal_jobs_company_id_foreign")


def test_statements_that_are_forgotten_are_prepared_again(make_system, mariadb, proxy):
    system = through(make_system, mariadb, proxy)
    for company, number in enumerate((1243, 1615, 1295, 1210), 1):
        rule = proxy.inject(".", error=number, kind="execute", chance=0.2, times=20)
        logs_in(system, company)
        wait_until(lambda rule=rule: rule.hits >= 5, 20, "statements were forgotten")
        proxy.clear()
    wait_until(lambda: system.metric("chasqui_database_statements_prepared_again_total") > 10, 10, "they were counted")


def test_a_read_only_server_is_said_and_left(make_system, mariadb):
    system = make_system()
    session = system.api.login(1)
    mariadb.sql("SET GLOBAL read_only = 1")
    try:
        wait_until(lambda: readyz(system) == (503, "database_read_only"), 5, "readyz says read-only")
        wait_until(lambda: "database_read_only" in codes(system), 5, "stats say read-only")
        system.api.list(session).expect(200)
        body = {"company_id": 2, "portal": "sunat", "action": "sunat.menu_sol_login", "params": LOGIN}
        answer = system.api.post("/api/v1/app/jobs/execute", body).expect(503).json
        assert answer["error"] == "database_unavailable" and "read-only" in answer["message"]
    finally:
        mariadb.sql("SET GLOBAL read_only = 0")
    wait_until(lambda: system.ready(), 10, "it heals")
    system.api.login(2)


def test_a_database_that_hangs_is_noticed(make_system, mariadb, proxy):
    system = through(make_system, mariadb, proxy)
    session = system.api.login(1)
    began = time.monotonic()
    proxy.hang()
    wait_until(lambda: readyz(system) == (503, "database_unavailable"), 8, "readyz says so")
    assert time.monotonic() - began < 6 * PATIENCE
    asked = time.monotonic()
    answer = system.api.list(session)
    assert answer.status == 503 and time.monotonic() - asked < 10  # of 28 s that it has
    wait_until(lambda: "database_hung" in codes(system), 5, "stats say so")
    proxy.resume()
    wait_until(lambda: system.ready(), 15, "it heals")
    system.api.list(session).expect(200)


def test_the_next_server_is_used_and_the_first_again(make_system, mariadb, proxy):
    database = mariadb.create_database()
    first = proxy
    hosts = f"127.0.0.1:{first.port},127.0.0.1:{mariadb.port}"
    system = make_system(database=database, settings={"db.host": hosts, "db.stall_ms": 2000, "db.back_after_s": 2})
    system.api.login(1)

    def used(port):
        rows = system.ops.get("/api/v1/ops/dispatchers").expect(200).json["dispatchers"]
        return [one["database"]["host"] for one in rows if one["connected"]] == [f"127.0.0.1:{port}"]

    wait_until(lambda: used(first.port) and first.connections > 0, 5, "the first one is used")
    first.inject("UPDATE|INSERT|DELETE", error=1290)
    wait_until(lambda: used(mariadb.port), 10, "the second one is used")
    logs_in(system, 2)
    first.clear()
    wait_until(lambda: used(first.port), 20, "the first one is used again")
    wait_until(lambda: system.metric("chasqui_database_failovers_total") >= 2, 5, "both were counted")
    logs_in(system, 3)
    first.stop()
    logs_in(system, 4)


@pytest.mark.long(20)
def test_claims_side_by_side_keep_a_robots_limit(make_system, mariadb, proxy):
    """COMMITs come late, so that three dispatchers' claims do not see each other's log-ins; a robot runs two of the queue's at once all the same."""
    settings = {"db.port": proxy.port, "queue.robot_logins": 2, "queue.interactive_percent": 0}
    system = make_system(dispatchers=3, capacity=100, database=mariadb.create_database(), settings=settings, robot_options={"login_ms": "500-600"})
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "test"}).expect(200)
    batch = system.api.batch(range(1, 13)).expect(202).json["batch_id"]
    proxy.inject("^COMMIT$", do="late", late_s=0.3)
    system.ops.post("/api/v1/ops/queue/resume", {}).expect(200)
    most = 0

    def done():
        nonlocal most
        most = max(most, system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE state = 'opening'"))
        return system.api.get(f"/api/v1/app/batches/{batch}").json["batch"]["counts"]["done"] == 12

    wait_until(done, 60, "all are logged in", every=0.05)
    assert most == 2


@pytest.mark.long(20)
def test_who_stands_still_in_a_transaction_holds_its_rows_for_a_while_only(make_system, mariadb, proxy):
    system = make_system(database=mariadb.create_database(), settings={"db.port": proxy.port, "db.stall_ms": 60000})

    def open_s():
        return mariadb.sql("SELECT COALESCE(MAX(TIMESTAMPDIFF(SECOND, trx_started, NOW())), -1) AS s FROM information_schema.innodb_trx WHERE trx_rows_modified > 0")[0]["s"]

    proxy.inject("^COMMIT$", do="late", late_s=60, kind="query")
    sender = threading.Thread(target=system.api.queue, args=(1,))
    sender.start()
    wait_until(lambda: open_s() >= 2, 10, "a transaction stands still", every=0.3)  # the table is read anew when nobody asked for 0.1 s
    wait_until(lambda: open_s() < 2, 14, "the server ends it", every=0.3)
    proxy.clear()
    sender.join()
    logs_in(system, 1)


def test_doctor_asks_each_server(make_system, mariadb):
    silent = free_port()
    system = make_system(database=mariadb.create_database(), settings={"db.host": f"127.0.0.1:{mariadb.port},127.0.0.1:{silent}"})

    def doctor():
        done = system.ctl("doctor", "--json", check=False)
        return done.returncode, {one["check"]: one for one in json.loads(done.stdout)["findings"]}

    status, found = doctor()
    assert status == 0 and found["database_host"]["level"] == "note" and f"127.0.0.1:{silent}" in found["database_host"]["text"], found
    mariadb.sql("SET GLOBAL read_only = 1")
    try:
        system.broker.kill9()  # without a broker it is seen all the same
        status, found = doctor()
    finally:
        mariadb.sql("SET GLOBAL read_only = 0")
        system.broker.start()
    assert status == 1 and found["database_read_only"]["level"] == "down", found
    wait_until(lambda: system.ready(), 20, "it heals")


def test_a_log_in_that_cannot_be_recorded_is_tried_less_and_less(make_system, mariadb):
    system = make_system()
    system.robot.behave("login", "delay", ms=6000)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: system.api.execute(1, params=LOGIN))
        system.robot.wait_call("login", 1)
        mariadb.kill9()
        system.dispatcher.wait_log(r"event=login_waits_for_database .* tries=4 ", timeout=20)
        mariadb.start()
        answer = waiting.result()
    waits = [int(ms) for ms in re.findall(r"event=login_waits_for_database .* in_ms=(\d+)", Path(system.dispatcher.log).read_text())]
    assert waits[3] >= 4 * 200 and waits[0] < 400, waits
    assert answer.status in (200, 503), answer
    wait_until(lambda: system.api.active(1).status == 200, 20, "it is recorded")
    assert len(system.robot.calls("login", 1)) == 1


def test_no_statement_can_be_prepared(make_system, mariadb):
    """Others hold all prepared statements that the server allows: that is said by name, and it goes on by itself."""
    system = make_system(dispatchers=2)
    session = system.api.login(1)
    mariadb.sql("SET GLOBAL max_prepared_stmt_count = 0")
    try:
        for api, path in ((system.api, f"/api/v1/app/buzon/list?session_id={session}"), (system.ops, "/api/v1/ops/stats")):
            said = wait_until(lambda a=api, p=path: (answer := a.get(p)).status == 503 and answer.json, 60, "it cannot be served")
            assert said["error"] == "database_unavailable"
            wait_until(lambda a=api, p=path: "max_prepared_stmt_count is reached" in str(a.get(p).json), 20, "why")
        said = system.ctl("doctor", check=False)
        assert "max_prepared_stmt_count" in said.stdout + said.stderr and said.returncode, (said.stdout, said.stderr)
        begun = system.add_dispatcher()  # one that is started now
        wait_until(lambda: "max_prepared_stmt_count" in begun.text(), 20, "it says so, too")
    finally:
        mariadb.sql("SET GLOBAL max_prepared_stmt_count = 16382")
    logs_in(system, 2)
    system.api.list(session).expect(200)
    wait_until(lambda: "database_statements" not in codes(system), 90, "it is over")
    assert all(one.alive() for one in system.dispatchers)


@pytest.fixture
def started_again(make_system, mariadb, proxy):
    """A dispatcher is killed and starts again, while a log-in waits at the broker. Answers the log-in, and how long it took since then."""
    system = through(make_system, mariadb, proxy)
    system.api.login(1)

    def run(company, before):
        for _ in range(5):
            system.dispatcher.kill9()
            wait_until(lambda: not system.ready(), 2, "the broker has noticed", every=0.01)
            before()
            with ThreadPoolExecutor() as pool:
                waiting = pool.submit(system.api.execute, company, params=LOGIN, headers={"X-Deadline-Ms": "20000"})
                time.sleep(0.1)
                began = time.monotonic()
                system.dispatcher.start()
                answer, took = waiting.result(), time.monotonic() - began
            if answer.error != "no_dispatcher":  # it was back within the 2 s for which the broker waits
                break
        return answer, took

    return run


def test_a_dispatcher_that_starts_takes_requests_once_it_knows_the_robots(started_again, proxy):
    """Until then they wait at the broker: the database is not away."""
    answer, _ = started_again(2, lambda: proxy.inject("FROM chasqui_revision", do="late", late_s=0.5))
    answer.expect(200)


@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_a_dispatcher_that_starts_without_a_database_says_so_soon(started_again, proxy, how):
    def away():
        if how == "hangs":
            proxy.hang()
            return
        proxy.refuse = True
        proxy.cut()

    try:
        answer, took = started_again(3, away)
        answer.expect(503, "database_unavailable")
        assert took < 10, took  # of 20 s that it has
    finally:
        proxy.refuse = False
