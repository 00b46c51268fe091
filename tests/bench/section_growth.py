# SPDX-License-Identifier: MIT
"""What grows, and what a list costs then: rows, robots, dispatchers, idle connections. 64 connections, by rounds.

Of the Chasquis that are compared only the one that is measured runs; the others stand still.
"""

import socket
from contextlib import contextmanager

from chasqui import Chasqui
from harness import wait_until
from harness.http import address
from load import Target
from robots import Robots
from rounds import by_label, collect, figure, ratio
from section_list import LIST
from usage import Meter

TITLE = "Growth"
CONNECTIONS = 64
ROWS = (1_000, 100_000, 1_000_000)
ROBOTS = (10, 100, 1_000)
DISPATCHERS = (1, 2, 4)
IDLE = (0, 10_000)
ASKED = 10_000  # sessions that are asked for, at most


def target_of(lab, chasqui):
    ids = chasqui.some_ids(ASKED)
    assert ids, "no sessions"
    return Target("chasqui", chasqui.api_url(), lab.paths(LIST, ids), chasqui.labels(), chasqui.token)


def measured(lab, target):
    target.load(CONNECTIONS, 1)
    meter = Meter(target.processes).start()
    told = target.load(CONNECTIONS, lab.options.seconds)
    return {**told, "cpu_us": meter.per(told["requests"]), "memory_kib": meter.memory()}


def compared(lab, what, points, measure):
    """measure(point) by rounds; figures by point, and ratios to the first."""
    rounds = max(2, min(3, lab.options.rounds))
    taken = collect(rounds, list(points), measure,
                    lambda n, point, told: lab.say(f"  {what} {point:>9,} round {n + 1} {told['rate']:>9,.0f}/s  p99 "
                                                   f"{told['p99_us'] / 1000:6.2f} ms  errors {told['errors']}"))  # fmt: skip
    first = points[0]
    return {
        str(point): {key: figure(taken[point], key) for key in ("rate", "p50_us", "p99_us", "errors")}
        | {key: by_label(taken[point], key) for key in ("cpu_us", "memory_kib")}
        | {"ratio": ratio(taken[point], taken[first], "rate")}
        for point in points
    }


def several(lab, what, points, make):
    """A Chasqui for each point, of which one runs at a time."""
    made = {}
    for point in points:
        chasqui = lab.keep(make(point))
        made[point] = (chasqui, target_of(lab, chasqui))
        chasqui.pause()
        lab.say(f"  {what} {point:,} stands")

    def measure(point):
        chasqui, target = made[point]
        chasqui.wake()
        try:
            return measured(lab, target)
        finally:
            chasqui.pause()

    result = compared(lab, what, points, measure)
    for chasqui, _ in made.values():
        chasqui.wake()
        lab.drop(chasqui)
    return result


def by_rows(lab):
    def make(rows):
        chasqui = Chasqui(lab.room(f"rows{rows}"), lab.mariadb, lab.robots, capacity=10)
        chasqui.fill(rows)
        return chasqui

    return several(lab, "rows", points_of(lab, ROWS), make)


def by_robots(lab):
    parts = []

    def make(count):
        robots = lab.keep(Robots(lab.room(f"robots{count}"), count, network=10 + len(parts)))
        parts.append(robots)
        chasqui = Chasqui(lab.room(f"chasqui{count}r"), lab.mariadb, [robots], capacity=10)
        chasqui.fill(ASKED)
        return chasqui

    result = several(lab, "robots", points_of(lab, ROBOTS), make)
    for robots in parts:
        lab.drop(robots)
    return result


def by_dispatchers(lab):
    chasqui = lab.keep(Chasqui(lab.room("dispatchers"), lab.mariadb, lab.robots, capacity=10, dispatchers=max(DISPATCHERS)))
    chasqui.fill(ASKED)
    target = target_of(lab, chasqui)

    def measure(count):
        for process in chasqui.dispatchers[count:]:
            process.pause()
        for process in chasqui.dispatchers[:count]:
            process.resume()
        wait_until(lambda: chasqui.metric("chasqui_dispatchers") == count, 20, f"{count} dispatchers")
        return measured(lab, target)

    result = compared(lab, "dispatchers", DISPATCHERS, measure)
    for process in chasqui.dispatchers:
        process.resume()
    lab.drop(chasqui)
    return result


@contextmanager
def idle(url, path, token, count):
    """So many connections, each of which had an answer and is kept open."""
    head = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    wires = []
    try:
        for _ in range(count):
            wires.append(socket.create_connection(address(url), timeout=30))
            wires[-1].sendall(head)
            if len(wires) % 50 == 0:
                for wire in wires[-50:]:
                    assert wire.recv(65536).startswith(b"HTTP/1.1 200")
        yield
    finally:
        for wire in wires:
            wire.close()


def by_idle(lab):
    chasqui = lab.keep(Chasqui(lab.room("idle"), lab.mariadb, lab.robots, capacity=10))
    chasqui.fill(ASKED)
    target = target_of(lab, chasqui)
    path = LIST.format(id=chasqui.some_ids(1)[0])

    first_kib = {}  # of the broker: what it has freed later stays in its heap for a while

    def measure(count):
        with idle(chasqui.api_url(), path, chasqui.token, count):
            told = measured(lab, target)
        wait_until(lambda: chasqui.metric("chasqui_http_connections") < 100, 30, "the connections are closed")
        first_kib.setdefault(count, told["memory_kib"]["broker"])
        return told

    result = compared(lab, "idle", points_of(lab, IDLE), measure)
    lab.drop(chasqui)
    none, many = points_of(lab, IDLE)
    return {"idle": result, "idle_connection_kib": (first_kib[many] - first_kib[none]) / many}


def points_of(lab, points):
    """Of a short run without the largest."""
    if not lab.options.short:
        return points
    return points[:-1] if len(points) > 2 else (points[0], points[-1] // 10)


def run(lab):
    return {"rows": by_rows(lab), "robots": by_robots(lab), "dispatchers": by_dispatchers(lab), **by_idle(lab)}
