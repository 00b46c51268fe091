# SPDX-License-Identifier: MIT
"""A batch of log-ins while every process, MariaDB included, is killed with -9 at random and started again.

Every item ends exactly once, no company ever has two live sessions at the portal, no place leaks (doctor, at teardown), the batch
closes and its events say so. `make chaos` runs it at full size: 10,000 log-ins over 4 robots, 20 kills.

The third test has robots among the victims: they are killed, stalled, restarted and cut off by a proxy. Their sessions may be lost; what may be left
behind is only what the portal's judge allows, and nothing of it is left in the end.
"""

import http.client
import json
import os
import random
import threading
import time

import pymysql
import pytest
from harness import Proxy
from harness.wait import wait_until

ITEMS = int(os.environ.get("CHASQUI_CHAOS_ITEMS", "300"))
KILLS = int(os.environ.get("CHASQUI_CHAOS_KILLS", "6"))
SEED = int(os.environ.get("CHASQUI_CHAOS_SEED", "11"))
PATIENCE_S = 60 + ITEMS / 20
ROBOTS = 4
LONGEST_STALL_S = float(os.environ.get("CHASQUI_CHAOS_STALL_S", "4"))
# No robot dies here. One that a starved machine let be judged down would make the one overlap that is allowed.
PATIENT = {"healthd.timeout_ms": 5000, "healthd.down_after": 20}


def submit(system, dice):
    """Sends the batch until it is accepted whole; the key makes one of all tries."""
    lines = b"".join(json.dumps({"company_id": company, "params": {"usuario": "DEMO", "clave": "demo"}}).encode() + b"\n"
                     for company in range(1, ITEMS + 1))  # fmt: skip
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": f"chaos-{SEED}"}
    query = {"portal": "sunat", "action": "sunat.menu_sol_login"}

    def accepted():
        try:
            at = dice.randrange(len(system.brokers))
            answer = system.api_at(at).post("/api/v1/app/batches", query=query, headers=headers, body=lines, timeout=60)
        except http.client.HTTPException as why:
            raise OSError(str(why)) from None
        return answer.expect(202).json

    told = wait_until(accepted, 60, "the batch is accepted", every=0.2)
    assert told["accepted"] == ITEMS and told["rejected_total"] == 0
    return told["batch_id"]


class Killer(threading.Thread):
    """Kills and starts again, one process at a time, as the batch gets on; the dice say how far and which."""

    def __init__(self, system, mariadb, dice, batch_id):
        super().__init__(daemon=True)
        self.system, self.mariadb, self.dice, self.batch_id = system, mariadb, dice, batch_id
        self.killed = []
        self.failure = None

    def run(self):
        try:
            moments = sorted(self.dice.uniform(0, 0.95) * ITEMS for _ in range(KILLS))
            for number, moment in enumerate(moments):
                wait_until(lambda: self.done() >= moment, PATIENCE_S, f"{moment} items are done")  # noqa: B023
                self.kill_one(number)
        except Exception as why:  # shown by the test
            self.failure = why

    def done(self):
        return counts(self.system, self.batch_id).get("done", 0)

    def kill_one(self, number):
        everyone = [*self.system.dispatchers, *self.system.brokers, *self.system.healthds, self.mariadb]
        victim = everyone[number] if number < len(everyone) else self.dice.choice(everyone)  # each at least once, when there are enough
        self.killed.append(getattr(victim, "name", "mariadb"))
        victim.kill9()
        victim.start()


def rows_of(system, sql, *args):
    try:
        return system.database.rows(sql, *args)
    except pymysql.MySQLError as why:  # it was killed just now
        raise OSError(str(why)) from None


def counts(system, batch_id):
    rows = rows_of(system, "SELECT state, COUNT(*) AS n FROM chasqui_items WHERE batch_id = %s GROUP BY state", batch_id)
    return {row["state"]: row["n"] for row in rows}


def is_done(system, batch_id):
    return rows_of(system, "SELECT status FROM chasqui_batches WHERE id = %s", batch_id)[0]["status"] == "done"


def last_events(system, batch_id):
    """The names of the events that a late subscriber gets."""
    answer = system.api.open("GET", f"/api/v1/app/batches/{batch_id}/events", timeout=20)
    try:
        return [line[7:].strip() for line in answer.read().decode().splitlines() if line.startswith("event: ")]
    finally:
        answer.connection.close()


def assert_whole(system, batch_id, live):
    wait_until(lambda: rows_of(system, "SELECT COUNT(*) AS n FROM chasqui_leases")[0]["n"] == 0, 60, "everything is settled")
    system.wait_ready()
    system.wait_agreed()
    assert counts(system, batch_id) == {"done": ITEMS}
    jobs = system.database.row("SELECT COUNT(*) AS n, COUNT(DISTINCT company_id) AS companies FROM portal_jobs WHERE batch_id = %s", batch_id)
    assert jobs == {"n": ITEMS, "companies": ITEMS}  # each item has one job, whoever died
    assert system.database.value("SELECT COUNT(*) FROM portal_jobs WHERE batch_id = %s AND (status <> 'done' OR finished_at IS NULL)", batch_id) == 0
    assert system.portal.violations() == []
    assert system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1") == live
    assert sum(len(robot.sessions()) for robot in system.robots.values()) == live
    assert system.database.value("SELECT COUNT(session_ref) FROM chasqui_places") == live
    told = system.api.get(f"/api/v1/app/batches/{batch_id}").expect(200).json["batch"]
    assert told["status"] == "done" and told["counts"]["done"] == told["total"] == ITEMS and told["finished_at"]
    assert last_events(system, batch_id)[-1] == "done"


def until_done(system, batch_id, killer):
    def done():
        if killer.failure:
            raise RuntimeError(f"the killer failed: {killer.failure!r}")
        return is_done(system, batch_id)

    try:
        wait_until(done, PATIENCE_S, "the batch is done", every=0.2)
    except AssertionError as why:
        raise AssertionError(f"{why}; {counts(system, batch_id)}; killed {killer.killed}") from None


def test_a_batch_while_everything_dies(make_system, mariadb):
    dice = random.Random(SEED)
    system = make_system(robots=ROBOTS, capacity=3000, dispatchers=3, brokers=2, robot_options={"login_ms": "20-200"},
                         settings={"queue.robot_logins": max(4, ITEMS // 150), **PATIENT})  # fmt: skip
    batch_id = submit(system, dice)
    killer = Killer(system, mariadb, dice, batch_id)
    killer.start()
    until_done(system, batch_id, killer)
    killer.join()
    assert killer.failure is None and len(killer.killed) == KILLS
    assert_whole(system, batch_id, ITEMS)


def test_a_batch_waits_for_places_while_everything_dies(make_system, mariadb):
    """A few places a robot, and a client that closes sessions as they come: each place is taken as it frees."""
    dice = random.Random(SEED + 1)
    places = max(3, ITEMS // 200)
    system = make_system(robots=ROBOTS, capacity=places, dispatchers=3, brokers=2, robot_options={"login_ms": "20-200"},
                         settings={"queue.interactive_percent": 0, **PATIENT})  # fmt: skip
    batch_id = submit(system, dice)
    over = threading.Event()
    seen = []

    def close_some():
        while not over.is_set():
            try:
                rows = system.database.rows("SELECT robot_session_id AS id FROM chasqui_sessions WHERE state = 'active' LIMIT 50")
                seen.append(system.database.value("SELECT COUNT(session_ref) FROM chasqui_places"))
                for row in rows:
                    system.api_at(dice.randrange(2)).close(row["id"], timeout=30)
            except Exception:  # whatever died: the next round closes it
                time.sleep(0.05)

    closers = [threading.Thread(target=close_some) for _ in range(4)]
    killer = Killer(system, mariadb, dice, batch_id)
    for thread in (*closers, killer):
        thread.start()
    try:
        until_done(system, batch_id, killer)
        killer.join()
        wait_until(lambda: rows_of(system, "SELECT COUNT(*) AS n FROM chasqui_sessions WHERE live = 1")[0]["n"] == 0, 60, "all are closed")
    finally:
        over.set()
        for thread in closers:
            thread.join()
    assert killer.failure is None and len(killer.killed) == KILLS
    assert max(seen) <= ROBOTS * places
    assert_whole(system, batch_id, 0)


class Saboteur(threading.Thread):
    """Does something to one robot at a time, and to a process of ours now and then, until it is told to stop."""

    def __init__(self, system, dice, proxies):
        super().__init__(daemon=True)
        self.system, self.dice, self.proxies = system, dice, proxies
        self.over = threading.Event()
        self.done = []
        self.failure = None

    def run(self):
        try:
            deeds = [self.kill, self.stall, self.restart, self.part]
            number = 0
            while not self.over.is_set():
                robot = self.dice.choice(list(self.system.robots.values()))
                deed = deeds[number] if number < len(deeds) else self.dice.choice(deeds)
                self.done.append(f"{deed.__name__} {robot.name}")
                deed(robot)
                if number % 3 == 2:
                    victim = self.dice.choice([*self.system.dispatchers, *self.system.brokers, *self.system.healthds])
                    self.done.append(f"kill {victim.name}")
                    victim.kill9()
                    victim.start()
                number += 1
                self.over.wait(self.dice.uniform(0.5, 2))
        except Exception as why:  # shown by the test
            self.failure = why

    def kinds(self):
        """How many kinds of deeds are over."""
        return len({deed.split()[0] for deed in self.done[:-1]} & {"kill", "stall", "restart", "part"})

    def pause(self, shortest):
        time.sleep(self.dice.uniform(shortest, LONGEST_STALL_S))  # how long the fault lasts: not a wait for anything

    def kill(self, robot):
        robot.kill9()  # the site notices that its browsers are gone
        self.pause(0.5)
        robot.start()

    def restart(self, robot):
        robot.kill9()
        robot.start()

    def stall(self, robot):
        self.system.portal.outage(robot.name, True)
        robot.pause()
        self.pause(3)
        robot.resume()
        self.system.portal.outage(robot.name, False)

    def part(self, robot):
        self.system.portal.outage(robot.name, True)
        self.proxies[robot.name].cut()
        self.pause(3)
        self.proxies[robot.name].mend()
        self.system.portal.outage(robot.name, False)


def robots_behind_proxies(system, capacity):
    proxies = {}
    for _ in range(ROBOTS):
        robot = system.add_robot(capacity=capacity, register=False, login_ms="20-200")
        proxies[robot.name] = Proxy(robot.port)
        system.ctl("worker", "add", robot.name, "--base-url", proxies[robot.name].url, "--viewer-url", "https://viewer.example")
    return proxies


def assert_overlaps_allowed(system):
    """What the judge let pass was really given up by us: the first session's row had ended before the second began; or the second one is a log-in
    that stood still on a robot out of reach, which no row of ours ever held as a session."""
    assert system.portal.violations() == []
    for one in system.portal.abandoned():
        rows = system.database.rows("SELECT state, UNIX_TIMESTAMP(since) AS since FROM chasqui_sessions WHERE robot_session_id = %s", one["first"]["session_id"])
        is_first_given_up = all(row["state"] in ("lost", "migrated") and float(row["since"]) <= one["time"] for row in rows)
        second = system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE robot_session_id = %s", one["second"]["session_id"])
        assert is_first_given_up or second == 0, (one, rows)


def metric_or_none(system, name):
    """One more than it is, so that 0 counts; None while that broker is being killed."""
    try:
        return system.metric(name) + 1
    except (OSError, http.client.HTTPException):
        return None


def round_begin(system, dice, companies, params):
    """A batch of the same companies again; answers its id."""
    items = [{"company_id": company, "params": params} for company in range(1, companies + 1)]
    try:
        told = system.api_at(dice.randrange(2)).post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login", "items": items}, timeout=60)
    except http.client.HTTPException as why:
        raise OSError(str(why)) from None
    return told.expect(202).json["batch_id"]


@pytest.mark.long(20)
def test_a_batch_while_robots_die_and_stall(make_system):
    dice = random.Random(SEED + 2)
    companies = max(40, ITEMS // 4)
    system = make_system(robots=0, dispatchers=3, brokers=2, healthds=2,
                         settings={"queue.robot_logins": max(4, ITEMS // 150), "queue.max_attempts": 30, "session.migrate_after_s": 2,
                                   "session.lost_after_s": 5, "timeout.login_ms": 4000, "timeout.robot_ms": 1000, "timeout.close_ms": 2000, "healthd.timeout_ms": 1000})  # fmt: skip
    proxies = robots_behind_proxies(system, companies)
    saboteur = Saboteur(system, dice, proxies)
    wanted = {"ruc": "20100000001", "usuario": "DEMO", "clave": "demo"}
    abandoned_most = 0
    try:
        system.wait_ready()
        for company in range(1, 11):
            system.set_credentials(company, **wanted)
        saboteur.start()
        number = 0
        while number < max(2, ITEMS // 300) or saboteur.kinds() < 4:  # the same companies again: sessions are met, moved, lost and opened anew
            number += 1
            batch_id = wait_until(lambda: round_begin(system, dice, companies, wanted), 60, "the batch is accepted", every=0.3)
            wait_until(lambda b=batch_id: is_done(system, b), PATIENCE_S * 2, f"batch {number} is done; {saboteur.done}", every=0.2)
            assert saboteur.failure is None, saboteur.failure
            abandoned_most = max(abandoned_most, wait_until(lambda: metric_or_none(system, "chasqui_abandoned_sessions"), 60, "a broker tells its numbers") - 1)
            ids = system.database.rows("SELECT robot_session_id AS id FROM chasqui_sessions WHERE state = 'active' LIMIT 20")
            for row in ids:
                try:
                    system.api_at(dice.randrange(2)).list(row["id"], headers={"X-Deadline-Ms": "1500"})
                except (OSError, http.client.HTTPException):
                    pass  # that broker was killed just now
        saboteur.over.set()
        saboteur.join()
        assert saboteur.failure is None, saboteur.failure
        print("chaos:", len(saboteur.done), "deeds to robots and processes, batches:", number, "abandoned at most:", abandoned_most, "overlaps allowed:", len(system.portal.abandoned()))
        wait_until(lambda: system.metric("chasqui_robot_abandoned") == 0, 90, "what was abandoned is fenced", every=0.2)
        system.wait_agreed()
        assert_overlaps_allowed(system)
    finally:
        saboteur.over.set()
        saboteur.join(LONGEST_STALL_S + 5)
        for proxy in proxies.values():
            proxy.mend()
