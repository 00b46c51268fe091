# SPDX-License-Identifier: MIT
"""Log-ins, each durable: by synchronous execute, and by batches, which other queues are measured beside.

A batch is accepted while its robots are drained, so that nothing is claimed meanwhile: what it costs to have it wait is seen
then, and it is cancelled; others are then drained for real, one after another: a robot call, a place, a session and a job row for
each item.
An idle system tells how many queries it makes, and how long a job takes from its request to the robot's call.
"""

import json
import shutil
import time

from chasqui import Chasqui
from harness import wait_until
from load import wrk
from npm import npm_install
from queues import beanstalkd, bullmq, item
from robots import Robots
from rounds import by_label, collect, figure, ratio
from section_profile import ROWS, by_library, perf, shares
from usage import Meter

TITLE = "Log-ins and batches"
CONNECTIONS = 64
FARM = {"synchronous": (100, 1000), "batches": (200, 300), "idle": (4, 1000)}  # robots, places of each
IDLE_S = 20
HELD = (10, 50_000)  # places, before log-ins by execute
ALONE = 300  # jobs on an idle system, one after another
ACCEPTED = 100_000
DRAINED = 15_000
DRAINS = 3
OTHERS = 10_000
BATCHES = "/api/v1/app/batches"
LOGIN = {"portal": "sunat", "action": "sunat.menu_sol_login"}
IDLE_COMPANY = 400_000_000
FIRST_DRAINED = 500_000_000  # companies that nobody else logs in
DRAIN_LIMIT_S = 180
ASKED_EVERY_S = 0.25  # whether a batch is done; each answer counts all of its items


def synchronous(lab):
    """Log-ins by execute, 64 at a time: while few places are held, and while many are. One of the two runs at a time."""
    made, first = {}, {}
    for number, held in enumerate(HELD):
        held = held // 10 if lab.options.short else held
        count, places = FARM["synchronous"]
        robots = lab.keep(Robots(lab.room("synchronous"), count, network=20 + number))
        made[held] = lab.keep(Chasqui(lab.room("chasqui"), lab.mariadb, [robots], capacity=places))
        first[held] = 1_000_000
        batch_drain(made[held], FIRST_DRAINED, held)
        made[held].pause()

    def measure(held):
        first[held] += 20_000_000
        chasqui = made[held]
        chasqui.wake()
        meter = Meter(chasqui.labels()).start()
        told = wrk(chasqui.api_url(), "logins.lua", [first[held], chasqui.token], connections=CONNECTIONS, seconds=lab.options.seconds)
        told["cpu_us"] = meter.per(told["requests"])
        chasqui.pause()
        return told

    taken = collect(min(3, lab.options.rounds), list(made), measure,
                    lambda n, held, told: lab.say(f"  execute {held:>6,} held, round {n + 1} {told['rate']:8,.0f} log-ins/s  p99 "
                                                  f"{told['p99_us'] / 1000:.1f} ms  errors {told['errors']}"))  # fmt: skip
    result = {
        str(held): {key: figure(taken[held], key) for key in ("rate", "p50_us", "p99_us", "errors")} | {"cpu_us": by_label(taken[held], "cpu_us")}
        for held in made
    }
    few, many = made
    result[str(many)]["ratio"] = ratio(taken[many], taken[few], "rate")
    for chasqui in made.values():
        chasqui.wake()
        lab.drop(chasqui)
    return result


def submit(chasqui, first, n):
    """(answer, seconds)."""
    body = "".join(item(first + number) + "\n" for number in range(n)).encode()
    started = time.monotonic()
    answer = chasqui.api.post(BATCHES, query=LOGIN, body=body, headers={"Content-Type": "application/x-ndjson"}, timeout=300)
    return answer, time.monotonic() - started


def batch_is_done(chasqui, number):
    return chasqui.api.get(f"{BATCHES}/{number}").expect(200).json["batch"]["status"] in ("done", "cancelled")


def batch_drain(chasqui, first, n):
    """Logs n companies in by a batch: the seconds that it took."""
    started = time.monotonic()
    number = submit(chasqui, first, n)[0].expect(202).json["batch_id"]
    wait_until(lambda: batch_is_done(chasqui, number), DRAIN_LIMIT_S, "the batch is done", every=ASKED_EVERY_S)
    counts = chasqui.api.get(f"{BATCHES}/{number}").expect(200).json["batch"]["counts"]
    assert counts["done"] == n, json.dumps(counts)
    return time.monotonic() - started


def drain_measured(lab, chasqui, first, n):
    meter, counted = Meter(chasqui.labels()).start(), counters(chasqui)
    rate = n / batch_drain(chasqui, first, n)
    told = {"rate": rate, "cpu_us": meter.per(n), "database": {title: (now - counted[title]) / n for title, now in counters(chasqui).items()}}
    lab.say(f"  batch: {rate:,.0f} log-ins drained a second; each: {json.dumps(told['database'])}")
    return told


def robots_want(chasqui, what):
    for one in chasqui.nginx:
        for name in one.names:
            chasqui.ctl("worker", what, name)


def batches(lab, chasqui):
    n_accepted, n_drained = (ACCEPTED // 10, DRAINED // 10) if lab.options.short else (ACCEPTED, DRAINED)
    robots_want(chasqui, "drain")
    before = Meter(chasqui.labels()).memory() | {"table": items_bytes(chasqui) // 1024}
    answer, took_s = submit(chasqui, FIRST_DRAINED * 2, n_accepted)
    told = answer.expect(202).json
    assert told["accepted"] == n_accepted, told
    lab.say(f"  batch: {n_accepted / took_s:,.0f} items accepted a second")
    after = Meter(chasqui.labels()).memory() | {"table": items_bytes(chasqui) // 1024}
    chasqui.api.delete(f"{BATCHES}/{told['batch_id']}")
    wait_until(lambda: batch_is_done(chasqui, told["batch_id"]), DRAIN_LIMIT_S, "the batch is cancelled", every=0.2)
    robots_want(chasqui, "resume")
    drains = [drain_measured(lab, chasqui, FIRST_DRAINED + number * n_drained, n_drained) for number in range(DRAINS)]
    return {
        "items": n_accepted,
        "drained": n_drained,
        "accept_per_s": n_accepted / took_s,
        "drain_per_s": figure(drains, "rate"),
        "cpu_us": by_label(drains, "cpu_us"),
        "database": by_label(drains, "database"),
        "profile": profiled(lab, chasqui, n_drained // 8),
        "waiting_kib": {label: max(0, after[label] - before[label]) * 10_000 / n_accepted for label in after if label not in ("mariadb", "robots")},
    }


COUNTED = {  # what a name of the server's status begins with
    "rows inserted": "Handler_write", "rows updated": "Handler_update", "rows deleted": "Handler_delete", "rows read": "Handler_read_",
    "statements": "Com_stmt_execute", "bytes of log": "Innodb_os_log_written",
}  # fmt: skip


def counters(chasqui):
    told = [(row["Variable_name"], row["Value"]) for row in chasqui.server.sql("SHOW GLOBAL STATUS")]
    return {title: sum(int(value) for name, value in told if name.startswith(begin)) for title, begin in COUNTED.items()}


def profiled(lab, chasqui, n):
    """One more batch, watched: where the processor time goes."""
    watched = {"mariadb": chasqui.server.process, "dispatcher": chasqui.dispatcher} if shutil.which("perf") else {}
    files = {name: lab.room(f"perf-{name}") for name in watched}
    tracers = [perf(process, 4, files[name]) for name, process in watched.items()]
    batch_drain(chasqui, FIRST_DRAINED * 3, n)
    for tracer in tracers:
        tracer.wait()
    return {name: {"libraries": by_library(file), "symbols": shares(file)[:ROWS]} for name, file in files.items()}


def items_bytes(chasqui):
    name = f"{chasqui.database.name}/chasqui_items"
    return chasqui.server.sql(f"SELECT file_size AS n FROM information_schema.innodb_sys_tablespaces WHERE name = '{name}'")[0]["n"]


def idle(lab, chasqui):
    """Queries a second while nothing happens, and the milliseconds from a request to its robot call."""
    seconds, n = (5, ALONE // 10) if lab.options.short else (IDLE_S, ALONE)

    def queries():
        return int(chasqui.server.sql("SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'")[0]["Value"])

    time.sleep(2)  # what the start left to do
    first, started = queries(), time.monotonic()
    time.sleep(seconds)
    rate = (queries() - first) / (time.monotonic() - started)
    sent = {}
    for number in range(n):
        request = f"bench-{number}"
        sent[request] = time.time()
        chasqui.api.queue(IDLE_COMPANY + number, headers={"X-Request-Id": request}).expect(202)
        time.sleep(0.02)
    robots = chasqui.nginx[0]
    wait_until(lambda: len(robots.moments()) == n, 20, "every robot was called", every=0.2)
    waits = sorted((moment - sent[request]) * 1000 for request, moment in robots.moments().items())
    told = {"queries_per_s": rate, "n": n, "p50_ms": waits[n // 2], "p99_ms": waits[n * 99 // 100]}
    lab.say(f"  idle: {json.dumps(told)}")
    return told


def others(lab):
    n = OTHERS // 10 if lab.options.short else OTHERS
    result = {"beanstalkd": beanstalkd(lab.room("beanstalkd"), n)}
    missing = npm_install("bullmq@5")
    result["bullmq"] = {"missing": missing} if missing else bullmq(lab.room("redis"), n)
    for name, told in result.items():
        lab.say(f"  {name}: {json.dumps(told)}")
    return result


def on_farm(lab, number, name, measure):
    """measure(lab, chasqui) with as many robots and places as it needs."""
    count, places = FARM[name]
    robots = lab.keep(Robots(lab.room(name), count, network=24 + number, log_logins=name == "idle"))
    chasqui = lab.keep(Chasqui(lab.room("chasqui"), lab.mariadb, [robots], capacity=places))
    result = measure(lab, chasqui)
    lab.drop(chasqui)
    lab.drop(robots)
    return result


def run(lab):
    return {
        "execute": synchronous(lab),
        "batch": on_farm(lab, 2, "batches", batches),
        "idle": on_farm(lab, 3, "idle", idle),
        "others": others(lab),
    }
