# SPDX-License-Identifier: MIT
"""What robots said, and portals as things of their own: pauses of a part, the breaker, politeness, refused credentials."""

import csv
import math
import os
import time

import pytest
from harness.wait import ran_s, stays, wait_until
from test_events_out import told, wait_told
from test_webhook import Receiver

ENDED = ("done", "failed", "cancelled")


def job_of(system, job_id):
    return system.api.job(job_id).expect(200).json["job"]


def ended(system, job_id, timeout=30):
    return wait_until(lambda: (job := job_of(system, job_id))["status"] in ENDED and job, timeout, f"job {job_id} has ended")


def refuse(company, status, error, message="no", **more):
    """A behaviour of the robot's log-in for one company."""
    return {"mode": "status", "company_id": company, "status": status, "body": {"ok": False, "error": error, "message": message}, **more}


def test_the_robots_own_words_are_kept(system):
    robot, api = system.robot, system.api
    robot.ask("POST", "/_test/behave", {"login": [
        refuse(1, 500, "browser_crashed", "Chrome died", times=2),
        refuse(2, 401, "bad_credentials", "clave inválida"),
        refuse(3, 503, "portal_timeout", "x" * 499 + "ñ" * 10),
        {"mode": "garbage", "company_id": 4},
    ]})  # fmt: skip
    first, wrong = (api.queue(company).expect(202).json["job_id"] for company in (1, 2))
    told = api.execute(3).expect(502, "robot_error").json
    assert told["robot"] == {"status": 503, "error": "portal_timeout", "message": "x" * 499 + "ñ"}

    job = ended(system, first)  # two faults of the robot, then well
    assert job["status"] == "done" and job["attempts"] == 3 and job["error"] is None
    assert (job["robot_status"], job["robot_error"], job["robot_message"]) == (500, "browser_crashed", "Chrome died")
    log = job["attempts_log"]
    assert [(one["n"], one["outcome"], one["worker"]) for one in log] == [(1, "robot", "r1"), (2, "robot", "r1"), (3, "done", "r1")]
    assert log[0]["robot_error"] == "browser_crashed" and "robot_error" not in log[2] and log[2]["robot_status"] == 200
    assert all(one["queued_ms"] >= 0 and one["robot_ms"] >= 0 for one in log) and log[2]["robot_ms"] > 0
    assert [one.get("robot_message") for one in job["timeline"] if one["event"] == "retrying"] == ["Chrome died"] * 2

    job = ended(system, wrong)  # the customer's, and tried once
    assert job["status"] == "failed" and job["error"] == "robot_error" and job["attempts"] == 1
    assert (job["robot_status"], job["robot_error"], job["robot_message"]) == (401, "bad_credentials", "clave inválida")
    assert [one["outcome"] for one in job["attempts_log"]] == ["refused"]

    def attempts(outcome, error):
        return system.metrics().get(f'chasqui_attempts_total{{portal="sunat",action="sunat.menu_sol_login",outcome="{outcome}",robot_error="{error}"}}')

    wait_until(lambda: (attempts("robot", "browser_crashed"), attempts("done", ""), attempts("refused", "bad_credentials")) == (2, 1, 1), 20, "attempts are counted")
    job = job_of(system, told["job_id"])
    assert job["robot_error"] == "portal_timeout" and job["robot_message"] == "x" * 499 + "ñ" and job["attempts_log"][0]["outcome"] == "portal"
    silent = api.execute(4).json["job_id"]
    job = job_of(system, silent)
    assert job["robot_status"] is None and job["robot_error"] is None and job["attempts_log"][0]["outcome"] == "robot"

    def found(client, path, **query):
        return [one["id"] for one in client.get(path, query=query).expect(200).json["jobs"]]

    for client, path in ((api, "/api/v1/app/jobs"), (system.ops, "/api/v1/ops/jobs")):
        assert found(client, path, robot_error="bad_credentials") == [wrong]
        assert found(client, path, error="robot_error", portal="sunat") == [told["job_id"], wrong]
        assert found(client, path, error="robot_error", robot_error="portal_timeout", company_id=3) == [told["job_id"]]
        assert found(client, path, error="no_free_worker") == [] == found(client, path, robot_error="' OR 1=1")
        client.get(path, query={"error": "Bad Code"}).expect(422, "validation_failed")

    batch = api.batch([2, 5]).expect(202).json["batch_id"]
    path = f"/api/v1/app/batches/{batch}/items"
    wait_until(lambda: api.get(f"/api/v1/app/batches/{batch}").json["batch"]["status"] == "done", 20, "the batch has ended")
    items = api.get(path).expect(200).json["items"]
    assert [(one["status"], one["robot_status"], one["robot_error"], one["robot_message"]) for one in items] == [
        ("failed", 401, "bad_credentials", "clave inválida"), ("done", None, None, None)]  # fmt: skip
    assert [one["index"] for one in api.get(path, query={"robot_error": "bad_credentials", "error": "robot_error"}).json["items"]] == [0]
    assert api.get(path, query={"error": "outcome_unknown"}).json["items"] == []

    bulk = {"action": "retry", "filter": {"robot_error": "bad_credentials", "batch_id": batch}, "preview": True}
    assert system.ops.post("/api/v1/ops/jobs/bulk", bulk).expect(200).json["n"] == 1
    bulk["filter"]["error"] = "no_free_worker"
    assert system.ops.post("/api/v1/ops/jobs/bulk", bulk).expect(200).json["n"] == 0
    # The same at a terminal.
    shown = system.ctl("jobs", "show", first).stdout
    assert "Chrome died" in shown and "browser_crashed" in shown and "ROBOT SAID" in shown
    rows = list(csv.DictReader(system.ctl("jobs", "list", "--csv", "--robot-error", "bad_credentials", "--limit", 1).stdout.lstrip("\ufeff").splitlines()))
    assert [(row["company_id"], row["robot_status"], row["robot_error"], row["robot_message"]) for row in rows] == [("2", "401", "bad_credentials", "clave inválida")]
    rows = list(csv.DictReader(system.ctl("batch", "items", batch, "--csv", "--status", "failed").stdout.lstrip("\ufeff").splitlines()))
    assert [(row["index"], row["error"], row["robot_error"]) for row in rows] == [("0", "robot_error", "bad_credentials")]
    assert system.ctl("jobs", "retry", "--batch", batch, "--robot-error", "bad_credentials", "--preview").stdout == "1 job would be tried again\n"
    told = system.ctl("batch", "retry", batch, "--robot-error", "bad_credential", "--preview").stderr
    assert told == f"no robot said bad_credential in batch {batch} (did you mean bad_credentials?); they said: bad_credentials\n"
    assert system.ctl("jobs", "cancel", "--error", "robot_error", "--preview").stdout == "0 jobs would be cancelled\n"
    for wrong_words in ([], [first, "--batch", batch], [first, "--preview"], ["--error", "Bad"]):
        assert system.ctl("jobs", "retry", *wrong_words, check=False).returncode == 2
    robot.behave("login")
    assert system.ctl("batch", "retry", batch, "--error", "robot_error").stdout == "1 job is queued again\n"
    wait_until(lambda: api.get(f"/api/v1/app/batches/{batch}").json["batch"]["counts"]["done"] == 2, 20, "the item was tried again")


# --- pauses of a part ------------------------------------------------------------------------------------------------

SAT = {"sat.menu_sat_login": {"method": "POST", "path": "/sat/login", "session": "create", "timeout_ms": 20000}}
PAUSE, RESUME = "/api/v1/ops/queue/pause", "/api/v1/ops/queue/resume"


def batch_of(system, batch_id):
    return system.api.get(f"/api/v1/app/batches/{batch_id}").expect(200).json["batch"]


def turned_away_items(system, batch_id):
    return system.api.get(f"/api/v1/app/batches/{batch_id}/items", query={"robot_error": "portal_maintenance", "limit": 200}).expect(200).json["items"]


def done(system, batch_id, n, timeout=30):
    return wait_until(lambda: (b := batch_of(system, batch_id))["counts"]["done"] == n and b, timeout, f"{n} of batch {batch_id} are done")


def portal_of(system, name="sunat"):
    return next(one for one in system.ops.get("/api/v1/ops/portals").expect(200).json["portals"] if one["name"] == name)


def test_a_part_of_the_queue_is_paused(make_system):
    system = make_system(capacity=80, actions=SAT)
    api, ops = system.api, system.ops
    sat = {"portal": "sat", "action": "sat.menu_sat_login"}
    assert (portal_of(system)["state"], portal_of(system, "sat")["pauses"]) == ("up", [])
    told = ops.post(PAUSE, {"portal": "sunat", "reason": "they asked for it", "for_s": 600}).expect(200).json["queue"]
    assert told["paused"] is None and [(one["portal"], one["action"], one["batch_id"], one["reason"]) for one in told["pauses"]] == [
        ("sunat", None, None, "they asked for it")]  # fmt: skip
    held = api.batch(range(1, 16)).expect(202).json["batch_id"]
    single = api.queue(20).expect(202).json["job_id"]
    other = api.batch(range(1, 6), **sat).expect(202).json["batch_id"]
    done(system, other, 5)
    wait_until(lambda: ops.get("/api/v1/ops/queue").json["queue"]["held"]["n"] == 16, 10, "all of sunat is set aside")
    assert portal_of(system)["held"] == 16 and portal_of(system)["ready"] == 0 and portal_of(system)["pauses"][0]["by"].startswith("token:")
    assert batch_of(system, held)["counts"]["queued"] == 15 and not system.robot.calls("login", 1)[1:]
    why = ops.get(f"/api/v1/ops/jobs/{single}/why").expect(200).json["why"]
    assert [(one["reason"], one.get("why")) for one in why if one["reason"] == "paused"] == [("paused", "they asked for it")]
    shape = batch_of(system, held)
    assert [(one["reason"], one["why"], one["by"]) for one in shape["waits_for"]] == [("paused", "they asked for it", None)] and shape["eta_s"] is None
    waiting = ops.get("/api/v1/ops/companies/3").expect(200).json["company"]["waiting"]
    assert [(one["batch_id"], one["before"], one["why"][0]["reason"]) for one in waiting] == [(held, None, "paused")]
    assert "A pause of this part of the queue holds it. (they asked for it)" in system.ctl("batch", "show", held).stdout
    assert "A pause of this part of the queue holds it. (they asked for it)" in system.ctl("why", 3).stdout
    wait_until(lambda: "waiting=16 held=16" in system.ctl("check", check=False).stdout, 15, "what is held waits, too")
    listed = next(line for line in system.ctl("portal", "list").stdout.splitlines() if line.startswith("sunat"))
    assert "paused: they asked for it" in listed and told["pauses"][0]["until"][:10] + " " + told["pauses"][0]["until"][11:16] in listed
    wait_until(lambda: "The queue is paused for sunat: they asked for it." in str(ops.get("/api/v1/ops/stats").json), 15, "the page says so")
    said = next(one for one in ops.get("/api/v1/ops/stats").json["words"] if one["code"] == "queue_part_paused")
    assert (said["level"], said["todo"]) == ("ok", "chasqui queue resume --portal sunat")  # it is wanted, and has a reason
    api.login(30)  # who waits is let through

    # Several hold beside each other: the batch's stays when the portal's ends.
    system.ctl("queue", "pause", "--batch", held, "--reason", "and this one")
    shown = system.ctl("queue", "status").stdout
    assert "portal sunat: they asked for it" in shown and f"batch {held}: and this one" in shown and "held" in shown
    ops.post(RESUME, {"portal": "sunat"}).expect(200)
    ended(system, single)
    stays(lambda: batch_of(system, held)["counts"]["queued"] == 15, 1.5)
    told = system.ctl("queue", "resume", "--batch", held).stdout
    assert "held" not in told, "the counts are those of after it"
    began = ran_s()
    done(system, held, 15)
    assert ran_s() - began < 10 and ops.get("/api/v1/ops/queue").json["queue"]["held"]["n"] == 0
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_held") == 0, 5, "nothing is looked for any more")

    # One of an action ends by itself; a cancelled batch needs no resume.
    ops.post(PAUSE, {"action": "sat.menu_sat_login", "reason": "for a while", "for_s": 600}).expect(200)
    late = api.batch(range(41, 44), **sat).expect(202).json["batch_id"]
    gone = api.batch(range(51, 54), **sat).expect(202).json["batch_id"]
    wait_until(lambda: portal_of(system, "sat")["held"] == 6, 10, "they are held")
    api.delete(f"/api/v1/app/batches/{gone}").expect(200)
    ops.post(PAUSE, {"action": "sat.menu_sat_login", "reason": "for a moment", "for_s": 1}).expect(200)
    done(system, late, 3)
    assert batch_of(system, gone)["counts"]["cancelled"] == 3

    for body, error in (({"portal": "sunta"}, "portal"), ({"action": "sat.menu"}, "action"), ({"portal": "sunat", "action": "sat.menu_sat_login"}, "portal"),
                        ({"batch_id": 0}, "batch_id"), ({"portals": "sunat"}, "portals"), ({"portal": "a b"}, "portal")):  # fmt: skip
        assert error in ops.post(PAUSE, {"reason": "x", **body}).expect(422, "validation_failed").json["errors"]
        if "batch_id" not in body:
            assert error in ops.post(RESUME, body).expect(422, "validation_failed").json["errors"]
    ops.post(PAUSE, {"reason": "x", "batch_id": 99999}).expect(404, "batch_not_found")
    subjects = [row["subject"] for row in system.database.rows("SELECT subject FROM chasqui_audit WHERE action LIKE 'queue.%%' ORDER BY id")]
    assert subjects == ["queue portal=sunat", f"queue batch={held}", "queue portal=sunat", f"queue batch={held}"] + ["queue action=sat.menu_sat_login"] * 2


# --- a portal that goes down --------------------------------------------------------------------------------------------

ITEMS = int(os.environ.get("CHASQUI_PORTAL_ITEMS", 200))  # 2000, and two minutes: what the page promises
DOWN_S = int(os.environ.get("CHASQUI_PORTAL_DOWN_S", 8))


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.mark.long(25)
def test_a_portal_goes_down_under_a_batch(make_system, portal, receiver):
    is_full = DOWN_S >= 60
    probe_s = 30 if is_full else 2
    settings = {"queue.robot_logins": 2, "queue.probe_ms": probe_s * 1000, "queue.interactive_percent": 0, "events.url": receiver.url}
    system = make_system(robots=4, dispatchers=3, capacity=ITEMS, settings=settings, robot_options={"login_ms": "120-240"})
    batch = system.api.batch(range(1, ITEMS + 1)).expect(202).json["batch_id"]
    wait_until(lambda: batch_of(system, batch)["counts"]["done"] >= 20, 30, "it runs")
    began = time.monotonic()
    portal.maintenance("portal_maintenance")
    wait_until(lambda: portal_of(system)["state"] == "tripped", 10, "it is known")

    def said():
        rows = [row for row in system.ops.get("/api/v1/ops/stats").json["words"] if row["code"].startswith("portal_")]
        return rows and rows[0]

    row = wait_until(said, 15, "the page says so")
    assert row["code"] == "portal_tripped" and row["who"] == "sunat" and row["text"].startswith("Portal sunat has been down for ")
    assert "(portal_maintenance)" in row["text"] and "wait; one probes it" in row["text"]
    assert "tripped" in system.ctl("portal", "list").stdout
    shape = batch_of(system, batch)
    assert [(one["reason"], one["error"]) for one in shape["waits_for"]] == [("portal_unavailable", "portal_maintenance")] and shape["eta_s"] is None
    assert "The portal is down" in system.ctl("batch", "show", batch).stdout
    system.ctl("queue", "pause", "--portal", "sunat", "--reason", "the portal is down")  # as a worried operator does: then nobody probes it
    wait_until(lambda: (now := said()) and "its log-ins are paused, so nobody asks it" in now["text"] and "chasqui queue resume" in now["todo"], 15, "and says so")
    assert [one["reason"] for one in batch_of(system, batch)["waits_for"]] == ["paused", "portal_unavailable"]
    assert "nobody asks it" in system.ctl("batch", "show", batch).stdout and "now and then" not in system.ctl("batch", "show", batch).stdout
    system.ctl("queue", "resume", "--portal", "sunat")
    wait_until(lambda: (now := said()) and "one probes it" in now["text"], 15, "it is probed again")
    while time.monotonic() - began < DOWN_S:
        time.sleep(0.2)
    reached, down_s = len(portal.times()["turned_away"]), time.monotonic() - began
    assert reached <= 8 + math.ceil(down_s / probe_s), f"{reached} log-ins reached it while it was down for {down_s:.1f} s; 8 were under way"

    # Who waits for a log-in probes once a second; the others are told at once. A company that has a session needs no portal.
    answers, began = [], time.monotonic()
    while len(answers) < 12 or (len({one.status for one in answers}) < 2 and len(answers) < 200):
        answers.append(system.api.execute(5000 + len(answers)))
    assert {(one.status, one.error) for one in answers} == {(503, "portal_unavailable"), (502, "robot_error")}
    refused = next(one for one in answers if one.status == 503)
    assert refused.headers["Retry-After"] == "1" and "sunat is down (portal_maintenance)" in refused.json["message"]
    assert sum(one.status == 502 for one in answers) <= 1 + math.ceil(time.monotonic() - began)
    somebody = system.database.value("SELECT company_id FROM chasqui_sessions WHERE state = 'active' LIMIT 1")
    assert system.api.execute(somebody).expect(200).json["reused"]

    portal.maintenance(None)
    done(system, batch, ITEMS, timeout=180 if is_full else 60)
    wait_until(lambda: batch_of(system, batch)["status"] == "done", 10, "the batch has ended")
    assert system.database.value("SELECT MAX(attempts) FROM portal_jobs WHERE batch_id = %s", batch) == 1, "an attempt was lost to it"
    assert {one["status"] for one in turned_away_items(system, batch)} == {"done"}  # by their last failed attempt; what people read says nothing of it
    assert "portal_maintenance" not in system.ctl("batch", "items", batch, "--csv").stdout + system.ctl("jobs", "list", "--batch", batch, "--csv").stdout
    wait_until(lambda: portal_of(system)["state"] == "up", 120, "it is back")
    wait_until(lambda: portal_of(system)["last_hour"]["done"] >= ITEMS, 10, "how its attempts ended is counted")
    assert portal_of(system)["last_hour"]["portal"] >= reached and portal_of(system)["last_hour"]["refused"] == 0
    wait_until(lambda: system.metric("chasqui_portals_tripped_total") >= 1, 5, "it is counted")
    recovered = wait_told(receiver, "portal.recovered", len(wait_told(receiver, "portal.tripped")))
    assert told(receiver, "portal.tripped")[0]["portal"] == {"portal": "sunat", "state": "tripped", "why": "portal_maintenance"}
    assert len(told(receiver, "portal.tripped")) == len(recovered) and recovered[-1]["portal"]["state"] == "returning"


def test_a_robot_alone_trips_nothing(make_system):
    system = make_system(robots=2, capacity=100, settings={"queue.max_attempts": 30})
    bad, good = system.robots["r1"], system.robots["r2"]
    good.settings(login_ms="20-40")
    bad.behave("login", "status", status=503, body={"ok": False, "error": "portal_unavailable"}, times=60)
    batch = system.api.batch(range(1, 81)).expect(202).json["batch_id"]
    states = set()

    def look():
        states.add(portal_of(system)["state"])
        return batch_of(system, batch)["counts"]["done"] == 80

    wait_until(look, 60, "all are done")
    assert "tripped" not in states and system.metric("chasqui_portals_tripped_total") == 0


# --- politeness ------------------------------------------------------------------------------------------------------------


def most_within(times, seconds):
    """The most of them that lie within so many seconds."""
    times = sorted(times)
    return max((sum(1 for late in times[i:] if late < early + seconds) for i, early in enumerate(times)), default=0)


@pytest.mark.long(15)
def test_limits_hold_for_all_dispatchers_together(make_system, portal):
    limits = {"sunat": {"logins_at_once": 3}, "sat": {"logins_per_minute": 60}}
    system = make_system(robots=3, dispatchers=3, capacity=40, actions=SAT, portals=limits, robot_options={"login_ms": "150-250"})
    shown = portal_of(system, "sat")["limits"]
    assert shown == {"logins_per_minute": 60, "logins_at_once": 0, "breaker": True}
    posted = time.time()
    paced = system.api.batch(range(1, 16), portal="sat", action="sat.menu_sat_login").expect(202).json["batch_id"]
    few = system.api.batch(range(101, 121)).expect(202).json["batch_id"]
    most = [0]

    def look():
        opening = system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE state = 'opening' AND portal = 'sunat'")
        most[0] = max(most[0], opening)
        return batch_of(system, few)["counts"]["done"] == 20

    def times_of(portal):
        return sorted(call["time"] for robot in system.robots.values() for call in robot.calls("login") if call["path"] == f"/{portal}/login")

    wait_until(look, 40, "all of sunat are done", every=0.02)
    begun = times_of("sunat")
    assert most[0] <= 3 and most_within(begun, 0.14) <= 3 <= most_within(begun, 0.25), "a log-in takes 150 to 250 ms"
    done(system, paced, 15, timeout=60)
    begun = times_of("sat")
    assert len(begun) == 15 and all(at >= posted + n - 1 for n, at in enumerate(begun)), "60 a minute are one a second, and two at once"
    assert system.database.value("SELECT MAX(attempts) FROM portal_jobs") == 1
    wait_until(lambda: system.api.execute(900, "sat", "sat.menu_sat_login").status == 200, 10, "its turn comes")  # who waits counts as well
    told = [system.api.execute(901, "sat", "sat.menu_sat_login")]
    while told[-1].status == 200 and len(told) < 100:
        told.append(system.api.execute(901 + len(told), "sat", "sat.menu_sat_login"))
    told[-1].expect(503, "portal_unavailable")


# --- credentials that were refused -------------------------------------------------------------------------------------------


def test_refused_credentials_are_not_used_again(make_system, portal):
    system = make_system(capacity=40)
    api, robot = system.api, system.robot
    for company in (1, 2, 3):
        system.set_credentials(company, usuario="DEMO", clave="old")
    portal.refuse([1, 2])
    system.ctl("schedule", "add", "morning", "--cron", "@yearly", "--portal", "sunat", "--action", "sunat.menu_sol_login", "--stored")

    def run():
        told = system.ctl_json("schedule", "run", "morning")
        batch = told.get("batch_id") or told["batch"]["id"]
        wait_until(lambda: batch_of(system, batch)["status"] == "done", 20, "the batch has ended")
        return batch, {one["company_id"]: one for one in api.get(f"/api/v1/app/batches/{batch}/items").json["items"]}

    batch, items = run()
    assert {company: (one["status"], one["error"], one["robot_error"]) for company, one in items.items()} == {
        1: ("failed", "robot_error", "bad_credentials"), 2: ("failed", "robot_error", "bad_credentials"), 3: ("done", None, None)}  # fmt: skip
    rows = system.ctl_json("credentials", "list", "--refused")["credentials"]
    assert [(one["company_id"], one["robot_error"], one["robot_status"]) for one in rows] == [(1, "bad_credentials", 401), (2, "bad_credentials", 401)]
    assert "usuario o clave incorrectos" in system.ctl("credentials", "list", "--refused").stdout and portal_of(system)["refused_credentials"] == 2

    first = batch
    batch, items = run()  # not once more
    before = batch_of(system, batch)["previous"]
    assert (before["id"], before["total"], before["counts"]["done"], before["counts"]["failed"]) == (first, 3, 1, 2) and before["took_s"] is not None
    assert batch_of(system, first)["previous"] is None
    shown = system.ctl("batch", "show", batch).stdout
    assert f"batch {first}: 1 done, 2 failed" in shown
    assert len(robot.calls("login", 1)) == 1 == len(robot.calls("login", 2))
    assert [(items[n]["status"], items[n]["error"], items[n]["attempts"]) for n in (1, 2)] == [("failed", "credentials_refused", 1)] * 2
    assert "bad_credentials" in items[1]["message"] and items[1]["robot_error"] == "bad_credentials"
    assert (items[1]["robot_status"], items[1]["robot_message"]) == (401, "usuario o clave incorrectos")  # as it was said then
    job = job_of(system, items[1]["job_id"])
    assert [one["outcome"] for one in job["attempts_log"]] == ["not_called"]
    found = system.ops.get("/api/v1/ops/jobs", query={"error": "credentials_refused", "batch_id": batch}).json["jobs"]
    assert {one["company_id"] for one in found} == {1, 2}

    # Trying those again calls no robot: that is said before, and on the page.
    preview = {"action": "retry", "filter": {"batch_id": batch}, "preview": True}
    assert system.ops.post("/api/v1/ops/jobs/bulk", preview).expect(200).json == {"ok": True, "n": 2, "capped": False, "credentials_refused": 2}
    told = system.ctl("batch", "retry", batch, "--preview").stdout
    assert told.startswith("2 jobs would be tried again; all of them fail again at once, since the stored credentials are still refused"), told
    assert "credentials_refused" not in system.ops.post("/api/v1/ops/jobs/bulk", {**preview, "action": "cancel"}).expect(200).json

    # Who asks for it may: params of one's own, and a log-in that somebody waits for.
    api.execute(1).expect(502, "robot_error")
    assert len(robot.calls("login", 1)) == 2
    portal.refuse([1, 2], None)
    params = api.batch([{"company_id": 2, "params": {"clave": "new"}}]).expect(202).json["batch_id"]
    done(system, params, 1)
    for row in system.database.rows("SELECT robot_session_id AS id FROM chasqui_sessions WHERE state = 'active'"):
        api.close(row["id"]).expect(200)
    assert [one["company_id"] for one in system.ctl_json("credentials", "list", "--refused")["credentials"]] == [1, 2]  # those were others

    # Lifted: by an operator, by a log-in with them that succeeds, by others.
    told = system.ops.get("/api/v1/ops/credentials/refused", query={"limit": 1}).expect(200).json
    assert [(one["company_id"], one["robot_error"], one["robot_status"]) for one in told["refused"]] == [(1, "bad_credentials", 401)] and told["next_cursor"] == 1
    told = system.ops.get("/api/v1/ops/credentials/refused", query={"cursor": 1, "portal": "sunat"}).expect(200).json
    assert [one["company_id"] for one in told["refused"]] == [2] and told["next_cursor"] is None
    system.ops.get("/api/v1/ops/credentials/refused", query={"comp": 1}).expect(422, "validation_failed")
    lift = {"company_id": 2, "portal": "sunat", "reason": "unlocked"}
    assert "portal" in system.ops.post("/api/v1/ops/credentials/lift", {"company_id": 2}).expect(422, "validation_failed").json["errors"]
    system.ops.post("/api/v1/ops/credentials/lift", lift).expect(200)
    system.ops.post("/api/v1/ops/credentials/lift", lift).expect(404, "not_found")
    known = system.ops.get("/api/v1/ops/companies/1").expect(200).json["company"]["credentials"]
    assert [(one["portal"], one["refused_error"]) for one in known] == [("sunat", "bad_credentials")] and known[0]["refused_at"]
    assert "bad_credentials" in system.ctl("why", 1).stdout
    assert system.ctl("credentials", "lift", "--company", 2, "--portal", "sunat", check=False).returncode == 1
    audit = system.database.row("SELECT actor, subject, detail FROM chasqui_audit WHERE action = 'credentials_lift'")
    assert audit["actor"].startswith("token:") and (audit["subject"], audit["detail"]) == ("company:2/sunat", "unlocked")
    api.close(api.execute(1).expect(200).json["session_id"]).expect(200)
    assert system.ctl_json("credentials", "list", "--refused")["credentials"] == []
    portal.refuse([3], "account_locked")
    run()
    assert [one["robot_error"] for one in system.ctl_json("credentials", "list", "--refused")["credentials"]] == ["account_locked"]
    portal.refuse([3], None)
    system.set_credentials(3, usuario="DEMO", clave="new")
    assert system.ctl_json("credentials", "list", "--refused")["credentials"] == []
    _, items = run()
    assert items[3]["status"] == "done"
    wait_until(lambda: system.metric("chasqui_credentials_refused_total") >= 2, 5, "they are counted")
