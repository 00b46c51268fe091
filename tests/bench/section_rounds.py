# SPDX-License-Identifier: MIT
"""Batches whose items log in, list twice and close: how many a second with robots that answer at once, and how full the places stay
with robots that take 2-8 s to log in.

Fullness: while items wait, the places that sessions and log-ins hold, as a share of the places that queued work may have. Looked at
every 50 ms, in the database, from the moment at which all are taken for the first time.
"""

import json
import time

from chasqui import Chasqui
from harness import Robot, System, wait_until
from robots import Robots
from usage import Meter

TITLE = "Rounds"
ROUND = {"then": [{"action": "sunat.buzon_list"}, {"action": "sunat.buzon_list", "params": {"page": 2}}], "close": True}
AT_ONCE_ROBOTS, AT_ONCE_PLACES, AT_ONCE_ITEMS = 20, 50, 10_000
SLOW_ROBOTS, SLOW_PLACES, SLOW_ITEMS, SLOW_MS = 4, 25, 1000, "2000-8000"
FIRST_COMPANY = 700_000_000
LIMIT_S = 600


def batch(api, n):
    return api.batch(range(FIRST_COMPANY, FIRST_COMPANY + n), **ROUND).expect(202).json["batch_id"]


def is_over(api, number):
    told = api.get(f"/api/v1/app/batches/{number}").expect(200).json["batch"]
    return told["status"] in ("done", "cancelled") and told


def at_once(lab):
    n = AT_ONCE_ITEMS // 10 if lab.options.short else AT_ONCE_ITEMS
    robots = lab.keep(Robots(lab.room("rounds"), AT_ONCE_ROBOTS, network=24))
    chasqui = lab.keep(Chasqui(lab.room("chasqui"), lab.mariadb, [robots], capacity=AT_ONCE_PLACES))
    meter, started = Meter(chasqui.labels()).start(), time.monotonic()
    number = batch(chasqui.api, n)
    told = wait_until(lambda: is_over(chasqui.api, number), LIMIT_S, "the rounds are done", every=0.05)
    took_s = time.monotonic() - started
    assert told["counts"]["done"] == n, json.dumps(told["counts"])
    result = {"n": n, "rate": n / took_s, "cpu_us": meter.per(n)}
    lab.say(f"  {result['rate']:,.0f} rounds/s with robots that answer at once")
    lab.drop(chasqui)
    lab.drop(robots)
    return result


def fullness(lab):
    n = SLOW_ITEMS // 4 if lab.options.short else SLOW_ITEMS
    system = lab.keep(System(lab.room("chasqui"), lab.mariadb.create_database(), dispatchers=3, settings={
        "db.socket": lab.mariadb.socket, "queue.interactive_percent": 0, "log.level": "warn"}))  # fmt: skip
    system.setup()
    for number in range(SLOW_ROBOTS):
        robot = lab.keep(Robot(system.directory, f"slow{number}", capacity=SLOW_PLACES, login_ms=SLOW_MS).start())
        system.register(robot)
    system.start().wait_ready()
    number, places = batch(system.api, n), SLOW_ROBOTS * SLOW_PLACES
    used, began = [], None
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        taken = system.database.value("SELECT COUNT(session_ref) FROM chasqui_places")
        if not system.database.value("SELECT COUNT(*) FROM chasqui_items WHERE batch_id = %s AND state = 'queued'", number):
            break
        began = began or (time.monotonic() if taken == places else None)
        if began:
            used.append(taken / places)
        time.sleep(0.05)
    took_s = time.monotonic() - began
    told = wait_until(lambda: is_over(system.api, number), LIMIT_S, "the rounds are done", every=0.2)
    assert told["counts"]["done"] == n, json.dumps(told["counts"])
    result = {"n": n, "places": places, "seconds": took_s, "percent": 100 * sum(used) / len(used), "lowest": 100 * min(used)}
    lab.say(f"  places used while items wait: {result['percent']:.1f} %, at the lowest {result['lowest']:.0f} %, over {took_s:.0f} s")
    return result


def run(lab):
    return {"at_once": at_once(lab), "fullness": fullness(lab)}
