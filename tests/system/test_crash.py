# SPDX-License-Identifier: MIT
"""kill -9 of any one process at random moments during 200 log-ins with 3 dispatchers and 2 brokers.

No company ever has two live sessions, no place leaks (doctor, at teardown), every caller whose broker lived gets its answer
before its deadline, and the others find the outcome by asking.
"""

import http.client
import os
import random
import threading
import time

import pytest
from harness.wait import PATIENCE, wait_until

LOGINS = int(os.environ.get("CHASQUI_CRASH_LOGINS", "200"))
KILLS = int(os.environ.get("CHASQUI_CRASH_KILLS", "6"))
DEADLINE_MS = 30000
LOGIN = {"ruc": "20100000001", "usuario": "DEMO", "clave": "demo"}


@pytest.mark.long(20)
def test_kill_9_of_any_process_during_log_ins(make_system, mariadb):
    dice = random.Random(int(os.environ.get("CHASQUI_CRASH_SEED", "7")))
    system = make_system(robots=3, capacity=LOGINS, dispatchers=3, brokers=2, robot_options={"login_ms": "20-200"})
    companies = list(range(1, LOGINS + 1))
    lock = threading.Lock()
    broker_deaths = {0: 0, 1: 0}
    broker_down = {0: False, 1: False}
    late, broken, statuses = [], [], {}

    def work(number):
        while True:
            with lock:
                if not companies:
                    return
                company = companies.pop()
            at = number % 2
            deaths, was_down, began = broker_deaths[at], broker_down[at], time.monotonic()
            try:
                answer = system.api_at(at).execute(company, params=LOGIN, headers={"X-Deadline-Ms": str(DEADLINE_MS)}, timeout=45)
                with lock:
                    statuses[company] = answer.status
                    if time.monotonic() - began > DEADLINE_MS / 1000 + 1 * PATIENCE:
                        late.append(company)
            except (OSError, http.client.HTTPException) as why:
                with lock:
                    statuses[company] = 0
                    if broker_deaths[at] == deaths and not was_down and not broker_down[at]:
                        broken.append((company, repr(why)))

    workers = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for worker in workers:
        worker.start()
    victims = ["dispatcher", "broker", "healthd", "mariadb", "dispatcher", "dispatcher"]
    dice.shuffle(victims)
    for kill in range(KILLS):
        left = len(companies)
        some = dice.randrange(1, 2 * LOGINS // (KILLS + 2))
        wait_until(lambda: len(companies) <= max(0, left - some), 60, "some log-ins", every=dice.uniform(0.001, 0.02))  # noqa: B023
        what = victims[kill % len(victims)]
        if what == "mariadb":
            mariadb.kill9()
            mariadb.start()
            continue
        processes = {"dispatcher": system.dispatchers, "broker": system.brokers, "healthd": system.healthds}[what]
        at = dice.randrange(len(processes))
        if what == "broker":
            broker_deaths[at] += 1
            broker_down[at] = True
        processes[at].kill9()
        processes[at].start()
        if what == "broker":
            wait_until(lambda: system.ready(at), 20, "the broker is back")  # noqa: B023
            broker_down[at] = False
    for worker in workers:
        worker.join()
    assert not late, late
    assert not broken, broken
    assert len(statuses) == LOGINS
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_leases") == 0, 60, "everything is settled")
    system.wait_ready()
    for company in range(1, LOGINS + 1):  # whoever lost its answer finds the outcome by asking
        if statuses[company] != 200:
            told = wait_until(lambda: (lambda a: a if a.status in (200, 404) else None)(system.api.active(company)), 30, f"company {company}")  # noqa: B023
            live = system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1 AND company_id = %s", company)
            assert live == (told.status == 200), (company, told)
            wait_until(lambda: system.api.execute(company, params=LOGIN).status == 200, 30, f"company {company}")  # noqa: B023
    assert system.portal.violations() == []
    system.wait_agreed()
    live = system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1")
    assert live == LOGINS == sum(len(robot.sessions()) for robot in system.robots.values())


def test_a_lease_that_ended_meanwhile_is_not_lost(make_system):
    """A renewal that passes the end of its log-in finds no lease: that is not somebody else's doing."""
    system = make_system(robots=1, capacity=400, settings={"queue.lease_ms": 500, "queue.robot_logins": 64}, robot_options={"login_ms": "100-160"})
    batch = system.api.batch(range(1, 301)).expect(202).json["batch_id"]
    wait_until(lambda: system.api.get(f"/api/v1/app/batches/{batch}").json["batch"]["counts"]["done"] == 300, 60, "the batch is done")
    assert system.metric("chasqui_leases_lost_total") <= system.metric("chasqui_rescues_total")  # of which there are some where processes stall
