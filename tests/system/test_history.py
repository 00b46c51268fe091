# SPDX-License-Identifier: MIT
"""What attempts came to, beside the time before: by HTTP and by command line, after a restart of everything. See tests/unit/test_store_history.c."""

import csv
import io
import json
import re

from harness.wait import wait_until

LOGIN = {"usuario": "U", "clave": "demo", "ruc": "1"}


def attempts_copied(system, ago_s, robot, robot_ms, n):
    """`n` more of the attempt that is there, as if they had ended so long ago."""
    system.database.execute(
        "INSERT INTO chasqui_job_events (job_id, at, event, worker, attempt, outcome, queued_ms, robot_ms) "
        "SELECT MIN(job_id), NOW(6) - INTERVAL %s SECOND, 'done', %s, 1, 'done', 20, %s FROM chasqui_jobs, seq_1_to_1000 WHERE seq <= %s GROUP BY seq",
        ago_s, robot, robot_ms, n,
    )  # fmt: skip


def test_today_beside_yesterday(make_system):
    system = make_system(robots=2, dispatchers=2)
    system.api.execute(7, params=LOGIN).expect(200)
    assert system.ops.get("/api/v1/ops/history").expect(200).json["totals"]["now"]["attempts"] == 0
    system.database.execute("UPDATE chasqui_job_events SET at = at - INTERVAL 40 HOUR")  # ids grow with time
    attempts_copied(system, 86400 + 7200, "r1", 2000, 12)
    for hour in (3, 2, 1):
        attempts_copied(system, hour * 3600, "r1", 2000, 5)
        attempts_copied(system, hour * 3600, "r2", 2000 if hour == 3 else 9000, 5)
    system.database.execute("UPDATE chasqui_history_at SET minute = UTC_TIMESTAMP() - INTERVAL 2 DAY - INTERVAL SECOND(UTC_TIMESTAMP()) SECOND, event_id = 0")

    def summed():
        told = system.ops.get("/api/v1/ops/history").expect(200).json
        return told["totals"]["now"]["attempts"] >= 30 and told

    told = wait_until(summed, 90, "the minutes are summed up")
    assert told["totals"]["before"]["done"] == 13 and told["n"] == 144 and told["step_s"] == 600
    assert [robot["worker"] for robot in told["robots"]] == ["r2", "r1"]
    assert told["robots"][0]["slow_since"] and told["robots"][1]["slow_since"] is None
    assert sum(told["series"]["now"]["done"]) == told["totals"]["now"]["done"]
    only = system.ops.get("/api/v1/ops/history?range=604800&worker=r1").expect(200).json
    assert [robot["worker"] for robot in only["robots"]] == ["r1"] and only["totals"]["now"]["done"] >= 27
    assert system.ops.get("/api/v1/ops/history?portal=other").expect(200).json["totals"]["now"]["attempts"] == 0
    for query in ("range=1", "range=", "range=86400.0", "worker=%2F", "portal=A", "days=7"):
        system.ops.get("/api/v1/ops/history?" + query).expect(422, "validation_failed")

    shown = system.ctl("history").stdout
    assert "LAST 24 HOURS" in shown and "A DAY BEFORE" in shown and "SLOW SINCE" in shown and " P95 " in shown
    assert re.search(r"^wait, 95 of 100 +[\d.]+-[\d.]+ s ", shown, re.M), "the class of a wait: where in it is not known"
    assert json.loads(system.ctl("history", "--json").stdout)["totals"]["before"]["done"] == 13
    begins = system.ops.get("/api/v1/ops/history?range=604800").expect(200).json["from"]
    rows = list(csv.DictReader(io.StringIO(system.ctl("history", "--range", "7d", "--csv").stdout.lstrip("\ufeff"))))
    week = system.ops.get("/api/v1/ops/history?range=604800").expect(200).json
    assert rows[0]["at"] in (begins, week["from"]) and rows[168]["at"] < rows[0]["at"] and len({row["at"] for row in rows}) == 336
    assert len(rows) == 336 and sum(int(row["done"]) for row in rows if row["when"] == "now") >= 42
    assert system.ctl("history", "--range", "2d", check=False).returncode == 2
    for process in system.dispatchers + system.brokers:
        process.restart()
    system.wait_ready()
    assert system.ops.get("/api/v1/ops/history").expect(200).json["totals"]["now"]["attempts"] >= 30
