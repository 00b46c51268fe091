# SPDX-License-Identifier: MIT
"""Everything mixed for some minutes: no process dies, nothing grows, no accepted job is lost, every answer comes in time.

Three minutes in `make test`, with one database thread and small limits; `make soak` runs an hour (SOAK_MINUTES=N; SOAK_SEED=N
repeats its dice, as far as threads let it). What it found and measured is in build/soak.txt.
"""

import os
import random

import pytest
import soak as life
from harness import is_sanitized
from harness.wait import wait_until
from test_webhook import Receiver

MINUTES = float(os.environ.get("SOAK_MINUTES", "3"))
SEED = int(os.environ.get("SOAK_SEED", random.randrange(1000)))
WARM_S = min(600, 0.4 * 60 * MINUTES)
GROWTH_PERCENT_AN_HOUR = 5
# What may grow whatever the time: the heap's grain, sockets of the moment.
FLOOR = {"rss_kib": 2048 if MINUTES > 10 else 4096, "fds": 12 if MINUTES > 10 else 24}
STATEMENTS_A_CONNECTION = 256
SETTINGS = {
    "dispatcher.db_threads": 1, "dispatcher.concurrency": 32, "queue.max_depth": 300, "session.idle_timeout_s": 25, "session.migrate_timeout_s": 20,
    "session.drain_idle_s": 1, "timeout.login_ms": 6000, "timeout.list_ms": 5000, "timeout.close_ms": 3000, "timeout.download_first_byte_ms": 5000,
    "timeout.download_idle_ms": 3000, "limit.list_bytes": 1048576, "webhook.backoff_ms": 100, "webhook.timeout_ms": 1500, "queue.lease_ms": 4000,
    # A robot that only stalls is not to be judged dead: that would make the overlap that is allowed.
    "healthd.interval_ms": 500, "healthd.timeout_ms": 2000, "healthd.down_after": 6,
    "log.level": "info",
}  # fmt: skip


@pytest.mark.long(190)
@pytest.mark.timeout(60 * MINUTES + 600)
def test_everything_mixed(make_system, mariadb):
    with Receiver(*random.choices((200, 200, 500, 503, "hang"), k=20000), 200) as receiver:
        system = make_system(robots=3, capacity=40, brokers=2, dispatchers=2, actions=life.ACTIONS, settings={**SETTINGS, "webhook.allow": receiver.url})
        system.allow_violations = True  # they are looked at here
        for company in range(1, 9):
            system.set_credentials(company, usuario="DEMO", clave="demo", ruc=str(company))
        system.ctl("schedule", "add", "soak", "--cron", "* * * * *", "--portal", "sunat", "--action", "sunat.menu_sol_login", "--stored")
        soak = life.Soak(system, mariadb, receiver, SEED)
        for body, think_s, count in (
            (life.log_in, 0.4, 5), (life.use, 0.15, 5), (life.close_some, 0.5, 2), (life.batch, 4, 2), (life.follow, 1, 3), (life.look, 0.05, 2),
            (life.operate, 0.5, 2), (life.trouble, 3, 1), (life.shake, max(60, 6 * MINUTES), 1),
        ):  # fmt: skip
            soak.add(body, think_s, count)
        soak.run(60 * MINUTES)
        life.heal(soak)
        report = [f"soak: {MINUTES:g} minutes, seed {SEED}", *tell(soak)]
        try:
            all_ends(soak)
            whole(soak, report)
        except AssertionError as why:
            soak.complain("the end", str(why))
        life.save([*report, *(f"WRONG {kind}: {text}" for kind, text in soak.wrong.items())])
        assert not soak.wrong, "\n".join(f"{kind}: {text}" for kind, text in soak.wrong.items())
        system.wait_ready().wait_healthy(60)


def tell(soak):
    """The report's lines; complains about what grew."""
    lines = [f"{'process':14} {'what':11} {'warm':>9} {'end':>9} {'grown':>9} {'%/hour':>8}"]
    measured_s = 60 * MINUTES - WARM_S
    judged = {"fds"} if is_sanitized() else set(FLOOR)
    for name, what, first, last, grown, percent in soak.table(WARM_S):
        lines.append(f"{name:14} {what:11} {first:9.0f} {last:9.0f} {grown:9.0f} {percent:8.1f}")
        may = max(FLOOR.get(what, 0), first * GROWTH_PERCENT_AN_HOUR / 100 * measured_s / 3600)
        if what in judged and grown > may:
            soak.complain(f"{name} {what} grows", lines[-1])
    for (name, what), points in soak.samples.items():
        if what == "rss_kib" and len(points) >= 20:
            tenths = [min(value for _, value in points[len(points) * n // 10 : len(points) * (n + 1) // 10]) for n in range(10)]
            lines.append(f"{name:14} {what} by tenths of the time: {' '.join(str(value) for value in tenths)}")
    connections = len(soak.system.dispatchers) * (SETTINGS["dispatcher.db_threads"] + 1)  # one is for look-ups and leases
    most = max(count for _, count in soak.samples["mariadb", "statements"])
    lines.append(f"statements: at most {most} on {connections} connections")
    if most > connections * STATEMENTS_A_CONNECTION:
        soak.complain("statements", lines[-1])
    for (kind, status, error), count in sorted(soak.answers.items(), key=str):
        lines.append(f"{count:7} {kind:28} {status} {error or ''}  (slowest {soak.slowest.get(kind, 0):.1f} s)")
    return lines


def all_ends(soak):
    """What still waits is cancelled, what runs ends, and each accepted job and item has an end."""
    system, database = soak.system, soak.system.database
    for row in database.rows("SELECT id FROM chasqui_batches WHERE status IN ('open', 'running')"):
        system.ops.post(f"/api/v1/ops/batches/{row['id']}/cancel", {})
    system.ops.post("/api/v1/ops/jobs/bulk", {"action": "cancel", "filter": {"status": "queued"}})
    system.ops.post("/api/v1/ops/jobs/bulk", {"action": "cancel", "filter": {"status": "retrying"}})

    def ended():
        left = database.rows("SELECT id, status, action FROM portal_jobs WHERE status NOT IN ('done', 'failed', 'cancelled') LIMIT 5")
        items = database.rows("SELECT batch_id, idx, state FROM chasqui_items WHERE state NOT IN ('done', 'failed', 'cancelled') LIMIT 5")
        open_ = database.rows("SELECT id, status FROM chasqui_batches WHERE status IN ('open', 'running') LIMIT 5")
        assert not left and not items and not open_, f"{left} {items} {open_}"
        return True

    wait_until(ended, 150, "every job, item and batch has ended", every=0.5)


def whole(soak, report):
    database = soak.system.database
    known = {row["id"] for row in database.rows("SELECT id FROM portal_jobs")}
    lost = sorted(soak.jobs - known)
    assert not lost, f"accepted jobs that are not there: {lost[:10]}"
    for batch_id, accepted in soak.batches.items():
        n = database.value("SELECT COUNT(*) FROM chasqui_items WHERE batch_id = %s", batch_id)
        assert n == accepted, f"batch {batch_id}: {accepted} accepted, {n} there"
    report.append(f"accepted: {len(soak.jobs)} jobs, {len(soak.batches)} batches of {sum(soak.batches.values())} items; callbacks {len(soak.receiver.calls)}")
    overlaps = soak.system.portal.violations()
    allowed = [one for one in overlaps if is_allowed(database, one)]
    report.append(f"overlaps at the portal: {len(overlaps)}, {len(allowed)} of abandoned sessions")
    assert len(allowed) == len(overlaps), f"two sessions at once: {[one for one in overlaps if one not in allowed][:3]}"


def is_allowed(database, overlap):
    """Design, invariant 1: a session that was abandoned on a robot that could not be reached may outlive us there."""
    robots = (overlap["first"]["robot"], overlap["second"]["robot"])
    return database.value(
        "SELECT COUNT(*) FROM chasqui_sessions s JOIN chasqui_robots r ON r.id = s.robot_id WHERE s.company_id = %s AND s.portal = %s "
        "AND s.state = 'lost' AND r.name IN (%s, %s)", overlap["company_id"], overlap["portal"], *robots)  # fmt: skip
