# SPDX-License-Identifier: MIT
"""The cut-over: Laravel's sessions are taken in, each at its first use, or all at once by `chasqui adopt`."""

import subprocess
import time

from chasqui import Chasqui
from harness import wait_until
from load import HERE
from robots import Robots
from section_list import LIST

TITLE = "Adoption of Laravel's sessions"
CONNECTIONS = 64
FIRST_USES, AT_ONCE = 10_000, 100_000
LIMIT_S = 180


def adopted(chasqui):
    return chasqui.database.value("SELECT COUNT(*) FROM chasqui_sessions")


def first_uses(lab, robots, n):
    """Seconds until each of n sessions was asked for once, 64 at a time."""
    chasqui = lab.keep(Chasqui(lab.room("uses"), lab.mariadb, [robots], capacity=n))
    chasqui.fill_legacy(n)
    ids = [row["id"] for row in chasqui.database.rows("SELECT robot_session_id id FROM portal_jobs")]
    words = [lab.paths(LIST, ids), chasqui.token]
    command = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{LIMIT_S}s", "--timeout", "20s", "-s", HERE / "each.lua", chasqui.api_url(), "--", *words]
    started = time.monotonic()
    load = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: adopted(chasqui) == n, LIMIT_S, f"{n:,} sessions are taken in", every=0.1)
        took_s = time.monotonic() - started
    finally:
        load.terminate()
        load.wait()
    lab.drop(chasqui)
    return {"n": n, "seconds": took_s}


def at_once(lab, robots, n):
    chasqui = lab.keep(Chasqui(lab.room("once"), lab.mariadb, [robots], capacity=n))
    chasqui.fill_legacy(n)
    started = time.monotonic()
    chasqui.ctl("adopt", timeout=LIMIT_S)
    took_s = time.monotonic() - started
    assert adopted(chasqui) == n, adopted(chasqui)
    lab.drop(chasqui)
    return {"n": n, "rate": n / took_s}


def run(lab):
    less = 10 if lab.options.short else 1
    robots = lab.keep(Robots(lab.room("adopt"), 20, network=40))
    told = {"first_uses": first_uses(lab, robots, FIRST_USES // less), "at_once": at_once(lab, robots, AT_ONCE // less)}
    lab.say(f"  {told['first_uses']['n']:,} first uses: {told['first_uses']['seconds']:.1f} s; chasqui adopt: {told['at_once']['rate']:,.0f} sessions/s")
    return told
