# SPDX-License-Identifier: MIT
"""What a real browser costs, and what Chasqui adds to it: the figures of the README, in build/robot-figures.txt.

A measurement, not a bound: it fails only when something does not work.
"""

import os
import statistics
import threading
import time
from pathlib import Path

from harness.system import ROOT

COMPANIES = range(20801, 20813)
AT_ONCE = 4
LISTS = 60
IDLE_S = 20


def tree(pid):
    """The process and everything that it started."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def usage(pid):
    """(proportional memory in MiB, processor seconds) of a process tree; shared pages count once."""
    memory_kib, ticks = 0, 0
    for one in tree(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            memory_kib += next(int(line.split()[1]) for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
        ticks += int(fields[11]) + int(fields[12])
    return memory_kib / 1024, ticks / os.sysconf("SC_CLK_TCK")


def timed(what):
    began = time.monotonic()
    what().expect(200)
    return (time.monotonic() - began) * 1000


def test_figures(make_system, make_robot, viewer_key_file):
    system = make_system(robots=0, ready=False, settings={"viewer.key_file": viewer_key_file, "healthd.timeout_ms": 2000})
    robot = make_robot("c1", "--capacity", len(COMPANIES), "--logins-at-once", AT_ONCE, "--sessions-per-browser", 4)
    system.register(robot, viewer_url=robot.url)
    system.start().wait_ready()
    memory_before, cpu_before = usage(robot.pid)

    sessions, left, lock = {}, list(COMPANIES), threading.Lock()

    def worker():
        while True:
            with lock:
                if not left:
                    return
                company = left.pop()
            sessions[company] = system.api.execute(company, params={"ruc": str(company), "usuario": "DEMO", "clave": "demo"}, timeout=150).expect(200).json["session_id"]

    began = time.monotonic()
    workers = [threading.Thread(target=worker) for _ in range(AT_ONCE)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    login_s = time.monotonic() - began
    memory, cpu = usage(robot.pid)
    assert len(sessions) == len(COMPANIES) and memory > memory_before

    time.sleep(IDLE_S)
    idle_cpu = usage(robot.pid)[1] - cpu
    session = sessions[COMPANIES.start]
    direct, through = [], []
    for _ in range(LISTS):  # in turns, so that the machine's noise meets both
        direct.append(timed(lambda: robot.http.request("GET", "/sunat/buzon/list", query={"session_id": session, "page": 1}, timeout=60)))
        through.append(timed(lambda: system.api.list(session, page=1)))
    added = statistics.median(through) - statistics.median(direct)
    lines = [
        f"{len(COMPANIES)} sessions, {AT_ONCE} log-ins at a time, {os.cpu_count()} cores",
        f"memory of a session: {(memory - memory_before) / len(COMPANIES):.0f} MiB (proportional set size)",
        f"processor time of a log-in: {(cpu - cpu_before) / len(COMPANIES):.2f} s",
        f"processor of a session that nobody uses: {100 * idle_cpu / IDLE_S / len(COMPANIES):.1f} % of a core",
        f"log-ins a minute: {60 * len(COMPANIES) / login_s:.0f}",
        f"a list: {statistics.median(direct):.1f} ms at the robot, {statistics.median(through):.1f} ms through Chasqui, which adds {added:.1f} ms",
    ]
    Path(ROOT / os.environ["CHASQUI_BUILD"] / "robot-figures.txt").write_text("\n".join(lines) + "\n")
    print("\n" + "\n".join(lines))
