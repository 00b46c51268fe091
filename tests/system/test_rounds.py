# SPDX-License-Identifier: MIT
"""Rounds: an item logs in, runs its steps in that session, and closes it; what robots answered is kept and streamed.

`make chaos` has the last one at full size: 3,000 companies over 4 robots with 25 places each, 20 kills.
"""

import json
import os
import random
import threading

import pytest
from harness.wait import wait_until

ITEMS = int(os.environ.get("CHASQUI_ROUNDS_ITEMS", "60"))
KILLS = int(os.environ.get("CHASQUI_ROUNDS_KILLS", "3"))
SEED = int(os.environ.get("CHASQUI_CHAOS_SEED", "11"))
PATIENCE_S = 90 + ITEMS / 5

BATCHES = "/api/v1/app/batches"
SUBMIT = {"sunat.submit": {"path": "/sunat/submit", "session": "use", "timeout_ms": 15000}}
OTHER = {"aduana.list": {"method": "GET", "path": "/aduana/list", "session": "use"}}
LIST = {"action": "sunat.buzon_list"}
LOGIN = ("--portal", "sunat", "--action", "sunat.menu_sol_login")


def shape(api, batch_id):
    return api.get(f"{BATCHES}/{batch_id}").expect(200).json["batch"]


def items(api, batch_id):
    return api.get(f"{BATCHES}/{batch_id}/items", query={"limit": 200}).expect(200).json["items"]


def ended(api, batch_id, timeout=40):
    return wait_until(lambda: (batch := shape(api, batch_id))["finished_at"] and batch, timeout, "the batch has ended")


def results(api, batch_id, path="results", **query):
    answer = api.get(f"{BATCHES}/{batch_id}/{path}", query=query).expect(200)
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.body.decode().splitlines()]


def assert_nothing_left(system, sessions=0):
    assert sum(len(robot.sessions()) for robot in system.robots.values()) == sessions
    assert system.database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1") == sessions
    assert system.database.value("SELECT COUNT(session_ref) FROM chasqui_places") == sessions
    assert system.database.value("SELECT COUNT(*) FROM chasqui_leases") == 0


def test_more_companies_than_places_are_logged_in_listed_and_freed(make_system):
    system = make_system(robots=2, capacity=3, actions=SUBMIT)
    then = [{"action": "sunat.buzon_list", "params": {"page": 2}}, LIST, {"action": "sunat.submit", "params": {"form": "621"}}]
    told = system.api.batch(range(1, 31), then=then, close=True, name="Mañana").expect(202).json
    batch = ended(system.api, told["batch_id"])
    assert batch["counts"]["done"] == 30 and batch["status"] == "done"
    assert batch["name"] == "Mañana" and batch["close"] is True
    assert batch["then"] == ["sunat.buzon_list", "sunat.buzon_list", "sunat.submit"]
    assert_nothing_left(system)
    shown = items(system.api, told["batch_id"])
    assert {item["status"] for item in shown} == {"done"} and {item["step"] for item in shown} == {2}
    got = results(system.api, told["batch_id"])
    assert [(one["index"], one["step"]) for one in got] == [(index, step) for index in range(30) for step in range(3)]
    assert [set(one) for one in got[:1]] == [{"index", "company_id", "job_id", "step", "action", "status", "body"}]
    assert all(one["status"] == 200 and one["company_id"] == one["index"] + 1 for one in got)
    assert got[0]["body"]["page"] == 2 and got[1]["body"]["page"] == 1 and got[2]["body"] == {"ok": True, "company_id": 1, "times": 1}
    assert got[0]["action"] == "sunat.buzon_list" and got[0]["job_id"] == shown[0]["job_id"]
    assert sum((robot.submitted() for robot in system.robots.values()), start=Counted()) == {company: 1 for company in range(1, 31)}
    call = next(call for robot in system.robots.values() for call in robot.calls("submit"))
    assert call["body"]["form"] == "621" and call["headers"]["Idempotency-Key"].startswith(call["body"]["job_uid"] + ".")
    assert [one["index"] for one in results(system.api, told["batch_id"], after=27)] == [28, 28, 28, 29, 29, 29]
    assert results(system.api, told["batch_id"], after=29) == []
    assert [json.loads(line) for line in system.ctl("batch", "results", told["batch_id"]).stdout.splitlines()] == got
    assert "batch_not_found" in system.ctl("batch", "results", told["batch_id"] + 1, check=False).stderr
    assert results(system.api, told["batch_id"], "items/7/results") == got[21:24]
    system.api.get(f"{BATCHES}/{told['batch_id']}/items/30/results").expect(404, "not_found")
    system.api.get(f"{BATCHES}/{told['batch_id']}/items/x/results").expect(404, "not_found")
    system.api.get(f"{BATCHES}/{told['batch_id'] + 1}/results").expect(404, "batch_not_found")
    system.api.get(f"{BATCHES}/{told['batch_id']}/results", query={"after": "x"}).expect(422, "validation_failed")
    system.api_for(company=5).get(f"{BATCHES}/{told['batch_id']}/results").expect(404, "batch_not_found")
    sealed = system.database.value("SELECT CONVERT(HEX(body) USING utf8) FROM chasqui_results LIMIT 1")
    assert b"page".hex().upper() not in sealed
    job = system.api.job(shown[0]["job_id"]).expect(200).json["job"]
    assert job["status"] == "done" and [event["event"] for event in job["timeline"]] == ["queued", "started", "logged_in", "session_closed", "done"]


class Counted(dict):
    def __add__(self, other):
        return Counted({key: self.get(key, 0) + other.get(key, 0) for key in {*self, *other}})


# --- what goes wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.long(20)
def test_each_step_that_fails_fails_its_item_alone(make_system):
    system = make_system(robots=1, capacity=4, actions=SUBMIT, settings={"limit.list_bytes": 20000, "timeout.list_ms": 4000})
    robot = system.robot
    met = system.api.login(6)
    bad = [
        {"mode": "not_json", "company_id": 1},
        {"mode": "status", "status": 500, "body": {"ok": False, "error": "portal_down", "message": "vuelva más tarde"}, "company_id": 2},
        {"mode": "status", "status": 200, "body": {"ok": False, "error": "locked"}, "company_id": 4},
        {"mode": "hang", "company_id": 5, "times": 1},
        {"mode": "status", "status": 200, "body": "[" + "1," * 11000 + "1]", "company_id": 7},
        {"mode": "status", "status": 404, "company_id": 9},
        {"mode": "garbage", "company_id": 10},
    ]
    robot.ask("POST", "/_test/behave", {"list": bad, "submit": [{"mode": "close_before_answer", "company_id": 3}]})
    then = [LIST, {"action": "sunat.submit"}]
    batch_id = system.api.batch(range(1, 11), then=then, close=True).expect(202).json["batch_id"]
    batch = ended(system.api, batch_id)
    shown = {item["company_id"]: item for item in items(system.api, batch_id)}
    why = {company: (item["status"], item["error"], item["step"]) for company, item in shown.items()}
    failed = {1: ("robot_bad_response", 0), 2: ("step_failed", 0), 3: ("outcome_unknown", 1), 4: ("step_failed", 0), 7: ("robot_bad_response", 0),
              9: ("session_expired", 0), 10: ("robot_bad_response", 0)}  # fmt: skip
    assert why == {company: ("failed", *failed[company]) if company in failed else ("done", None, 1) for company in range(1, 11)}
    assert batch["counts"]["failed"] == 7 and batch["counts"]["done"] == 3
    assert "portal_down" in shown[2]["message"] and "vuelva más tarde" in shown[2]["message"] and "sunat.buzon_list" in shown[2]["message"]
    assert robot.submitted() == {3: 1, 5: 1, 6: 1, 8: 1}
    assert len(robot.calls("login", 5)) == 2 and shown[5]["attempts"] == 2 and len(robot.calls("login", 9)) == 3
    got = results(system.api, batch_id)
    assert [(one["company_id"], one["step"], one["status"]) for one in got] == [
        (2, 0, 500), (3, 0, 200), (4, 0, 200), (5, 0, 200), (5, 1, 200), (6, 0, 200), (6, 1, 200), (8, 0, 200), (8, 1, 200),
    ]  # fmt: skip
    assert got[0]["body"]["error"] == "portal_down"
    assert system.api.active(6).expect(200).json["session_id"] == met  # the one that was met stays
    assert_nothing_left(system, sessions=1)

    # by hand: a refused GET is repeated, a step whose outcome is unknown is not
    robot.behave_well()
    for company in (2, 3):
        system.ops.post(f"/api/v1/ops/jobs/{shown[company]['job_id']}/retry", {}).expect(200)
    wait_until(lambda: shape(system.api, batch_id)["finished_at"] and shape(system.api, batch_id)["counts"]["done"] == 4, 20, "the retries have ended")
    shown = {item["company_id"]: item for item in items(system.api, batch_id)}
    assert (shown[2]["status"], shown[3]["status"], shown[3]["error"]) == ("done", "failed", "outcome_unknown")
    assert robot.submitted() == {2: 1, 3: 1, 5: 1, 6: 1, 8: 1}
    assert_nothing_left(system, sessions=1)

    # a client who is given the round's session keeps it; a round that is cancelled leaves nothing
    robot.behave("submit", "delay", ms=4000)
    batch_id = system.api.batch([21, 22], then=[{"action": "sunat.submit"}], close=True).expect(202).json["batch_id"]
    robot.wait_call("submit", 21)
    robot.wait_call("submit", 22)
    shared = system.api.execute(21).expect(200).json
    assert shared["reused"] is True
    told = system.api.execute(22, force_new=True).expect(409, "login_in_progress").json
    assert told["job_id"] == items(system.api, batch_id)[1]["job_id"]
    system.api.close(system.api.active(22).expect(200).json["session_id"]).expect(409, "wrong_state")
    assert {item["step"] for item in items(system.api, batch_id)} == {0}
    ended(system.api, batch_id)
    assert system.api.active(21).expect(200).json["session_id"] == shared["session_id"]
    assert_nothing_left(system, sessions=2)
    batch_id = system.api.batch([31, 32], then=[{"action": "sunat.submit"}], close=True).expect(202).json["batch_id"]
    robot.wait_call("submit", 31)
    robot.wait_call("submit", 32)
    system.api.delete(f"{BATCHES}/{batch_id}").expect(200)
    assert ended(system.api, batch_id)["counts"]["cancelled"] == 2
    assert_nothing_left(system, sessions=2)

    # the log-in alone, closed; twins; and without a close
    batch_id = system.api.batch([41, 42, 41], close=True).expect(202).json["batch_id"]
    assert ended(system.api, batch_id)["counts"]["done"] == 3 and results(system.api, batch_id) == []
    assert_nothing_left(system, sessions=2)
    batch_id = system.api.batch([51, 51], then=[LIST]).expect(202).json["batch_id"]
    assert ended(system.api, batch_id)["counts"]["done"] == 2 and len(results(system.api, batch_id)) == 2
    assert_nothing_left(system, sessions=3)

    # what is too old goes; a robot that dies in a step
    system.dispatcher.stop()
    system.database.execute("UPDATE chasqui_results SET at = NOW(6) - INTERVAL 8 DAY WHERE batch_id = %s", batch_id)
    kept = system.database.value("SELECT COUNT(*) FROM chasqui_results")
    system.dispatcher.start()
    system.wait_ready()
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_results") == kept - 2, 40, "the old results are pruned", every=0.3)


def test_what_a_round_cannot_be(make_system):
    system = make_system(actions={**SUBMIT, **OTHER})
    good = {"action": "sunat.submit"}
    for then, why in (
        ([{"action": "sunat.nothing"}], "step 0: its action is not known here"),
        ([good, {"action": "sunat.menu_sol_login"}], "step 1: its action is a log-in, which makes a session"),
        ([{"action": "aduana.list"}], "step 0: its action is of another portal"),
        ([good] * 9, "must be a list of at most 8 steps"),
        ("sunat.submit", "must be a list of at most 8 steps"),
        ([{**good, "params": {"session_id": "x"}}], None),
    ):
        answer = system.api.batch([1], then=then).expect(422, "validation_failed")
        assert list(answer.json["errors"]) == ["then"] and (why is None or answer.json["errors"]["then"] == [why]), answer.json
        query = {"portal": "sunat", "action": "sunat.menu_sol_login", "then": json.dumps(then)}
        answer = system.api.post(BATCHES, query=query, headers={"Content-Type": "application/x-ndjson"}, body=b'{"company_id":1}\n').expect(422)
        assert list(answer.json["errors"]) == ["then"]
    assert list(system.api.batch([1], close="yes").expect(422).json["errors"]) == ["close"]
    assert list(system.api.batch([1], name="x" * 101).expect(422).json["errors"]) == ["name"]
    assert list(system.api.batch([1], name="a\nb").expect(422).json["errors"]) == ["name"]
    query = {"portal": "sunat", "action": "sunat.menu_sol_login", "then": "[", "close": "maybe"}
    answer = system.api.post(BATCHES, query=query, headers={"Content-Type": "application/x-ndjson"}, body=b'{"company_id":1}\n').expect(422)
    assert set(answer.json["errors"]) == {"then", "close"}
    assert system.database.value("SELECT COUNT(*) FROM chasqui_batches") == 0

    # the same from NDJSON, from the command line, and from a schedule
    query = {"portal": "sunat", "action": "sunat.menu_sol_login", "then": json.dumps([LIST, good]), "close": "true", "name": "ñandú"}
    told = system.api.post(BATCHES, query=query, headers={"Content-Type": "application/x-ndjson"}, body=b'{"company_id":1}\n').expect(202).json
    assert ended(system.api, told["batch_id"])["name"] == "ñandú"
    assert [one["action"] for one in results(system.api, told["batch_id"])] == ["sunat.buzon_list", "sunat.submit"]
    assert "--then must be an action of the portal" in system.ctl("batch", "submit", "-", *LOGIN, "--then", "x.y", check=False).stderr
    submit = ("batch", "submit", "-", *LOGIN, "--then", 'sunat.buzon_list={"page":3}', "--then", "sunat.submit", "--close", "--name", "por la mañana")
    batch_id = system.ctl_json(*submit, stdin="company_id\n2\n3\n")["batch_id"]
    assert ended(system.api, batch_id)["name"] == "por la mañana"
    assert [(one["company_id"], one["step"], one["body"].get("page")) for one in results(system.api, batch_id)] == [(2, 0, 3), (2, 1, None), (3, 0, 3), (3, 1, None)]
    system.ctl("schedule", "add", "morning", "--cron", "@daily", *LOGIN, "--company", 4, "--then", 'sunat.buzon_list={"page":2}', "--then", "sunat.submit", "--close")
    shown = system.ctl_json("schedule", "show", "morning")["schedule"]
    assert shown["then"] == ["sunat.buzon_list", "sunat.submit"] and shown["close"] is True
    for words in (("show", "morning"), ("list",)):
        assert "sunat.buzon_list, sunat.submit, close" in system.ctl("schedule", *words).stdout
    batch_id = system.ctl_json("schedule", "run", "morning")["batch_id"]
    assert ended(system.api, batch_id)["name"] == "morning"
    assert [one["body"].get("page") for one in results(system.api, batch_id)] == [2, None]
    assert_nothing_left(system)


# --- dispatchers die -------------------------------------------------------------------------------------------------------


class Killer(threading.Thread):
    """Kills dispatchers with -9 and starts them again, spread over the batch."""

    def __init__(self, system, dice, batch_id):
        super().__init__(daemon=True)
        self.system, self.dice, self.batch_id = system, dice, batch_id
        self.kills, self.failure = 0, None

    def progress(self):
        """Steps that ended, of all."""
        return int(self.system.database.value("SELECT COALESCE(SUM(steps_done), 0) FROM chasqui_items WHERE batch_id = %s", self.batch_id))

    def is_over(self):
        return self.system.database.value("SELECT finished_at IS NOT NULL FROM chasqui_batches WHERE id = %s", self.batch_id)

    def run(self):
        try:
            for moment in sorted(self.dice.uniform(0, 2.7) * ITEMS for _ in range(KILLS)):
                wait_until(lambda: self.progress() >= moment or self.is_over(), PATIENCE_S, f"{moment} steps have ended")  # noqa: B023
                victim = self.dice.choice(self.system.dispatchers)
                victim.kill9()
                victim.start()
                self.kills += 1
        except Exception as why:  # shown by the test
            self.failure = why


def test_dispatchers_die_in_every_step(make_system):
    dice = random.Random(SEED)
    system = make_system(robots=4, capacity=max(4, ITEMS // 120), dispatchers=3, actions=SUBMIT, settings={"healthd.timeout_ms": 5000, "healthd.down_after": 20})
    unknown = [company for company in range(1, ITEMS + 1) if company % 17 == 0]  # the answer to their unsafe step never comes
    for robot in system.robots.values():
        spoilt = [{"mode": "close_before_answer", "company_id": company} for company in unknown]
        robot.ask("POST", "/_test/behave", {"list": {"mode": "delay", "ms": 60}, "submit": [*spoilt, {"mode": "delay", "ms": 60}]})
    batch_id = system.api.batch(range(1, ITEMS + 1), then=[LIST, {"action": "sunat.submit"}, LIST], close=True).expect(202).json["batch_id"]
    killer = Killer(system, dice, batch_id)
    killer.start()
    killer.join(PATIENCE_S)
    assert not killer.failure, killer.failure
    assert not killer.is_alive() and killer.kills == KILLS
    wait_until(lambda: killer.is_over(), PATIENCE_S, "the batch has ended", every=0.2)
    assert_nothing_left(system)  # at the very moment when it has ended
    system.wait_ready()
    rows = system.database.rows("SELECT idx, company_id, state, step, steps_done FROM chasqui_items WHERE batch_id = %s ORDER BY idx", batch_id)
    ran = sum((robot.submitted() for robot in system.robots.values()), start=Counted())
    assert not {company: times for company, times in ran.items() if times > 1}, "an unsafe step ran twice"
    done = {row["company_id"] for row in rows if row["state"] == "done"}
    assert len(rows) == ITEMS and {row["state"] for row in rows} <= {"done", "failed"}
    failed = system.database.rows("SELECT company_id, error FROM portal_jobs WHERE batch_id = %s AND status = 'failed'", batch_id)
    assert {row["error"] for row in failed} <= {"outcome_unknown"}, failed
    assert len(failed) == ITEMS - len(done) and not done & set(unknown) and len(failed) <= len(unknown) + 20 * KILLS
    assert done <= set(ran)
    unsent = set(unknown) - set(ran)  # their dispatcher was killed after it wrote down that the step begins, and before it asked the robot
    assert len(unsent) <= KILLS, unsent
    jobs = system.database.row("SELECT COUNT(*) AS n, COUNT(DISTINCT company_id) AS companies FROM portal_jobs WHERE batch_id = %s", batch_id)
    assert jobs == {"n": ITEMS, "companies": ITEMS}
    got = results(system.api, batch_id)
    assert [(one["company_id"], one["step"]) for one in got if one["company_id"] in done] == [(company, step) for company in sorted(done) for step in range(3)]
    assert all(one["step"] == 0 for one in got if one["company_id"] not in done)


# --- operators -------------------------------------------------------------------------------------------------------------


def test_a_batch_is_a_thing_and_a_company_is_explained(make_system):
    system = make_system(actions=SUBMIT)
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "test"}).expect(200)
    first = system.api.batch([1, 2, 3], name="primero").expect(202).json["batch_id"]
    second = system.api.batch([4, 5], name="segundo", then=[LIST, {"action": "sunat.submit"}], close=True).expect(202).json["batch_id"]
    waiting = system.ops.get("/api/v1/ops/companies/5").expect(200).json["company"]["waiting"]
    assert [(one["batch_id"], one["index"], one["batch_name"], one["priority"]) for one in waiting] == [(second, 1, "segundo", 5)]
    behind = waiting[0]["before"]
    assert behind >= 2
    assert "has priority 9" in system.ctl("batch", "priority", second, 9, "--reason", "el jefe").stdout
    system.ops.post(f"/api/v1/ops/batches/{second}/priority", {"priority": 9}).expect(200)
    system.ops.post(f"/api/v1/ops/batches/{second}/priority", {"priority": 10}).expect(422)
    system.ops.post(f"/api/v1/ops/batches/{second}/priority", {"priorty": 1}).expect(422)
    system.ops.post("/api/v1/ops/batches/99/priority", {"priority": 1}).expect(404, "batch_not_found")
    assert system.ops.get("/api/v1/ops/companies/5").expect(200).json["company"]["waiting"][0]["before"] == 1
    assert system.ops.get("/api/v1/ops/audit", query={"search": "el jefe"}).expect(200).json["audit"][0]["detail"] == "5 -> 9: el jefe"
    shown = system.ctl("batch", "show", second).stdout
    assert "segundo" in shown and "sunat.buzon_list, sunat.submit, close" in shown and shape(system.api, second)["made_by"].startswith("token:")
    system.robot.ask("POST", "/_test/behave", {"list": [{"mode": "status", "status": 503, "body": {"ok": False, "error": "portal_down", "message": '=1+"ñ"'}, "company_id": 4}]})
    system.robot.behave("submit", "delay", ms=4000)
    system.ops.post("/api/v1/ops/queue/resume", {}).expect(200)
    system.robot.wait_call("submit", 5)
    company = system.ops.get("/api/v1/ops/companies/5").expect(200).json["company"]
    assert company["sessions"][0]["state"] == "active" and company["sessions"][0]["in_a_round"] is True
    assert [(one["batch_id"], one["step"], one["kind"]) for one in company["running"]] == [(second, "sunat.submit", "round")]
    assert company["waiting"] == []
    ended(system.api, first)
    ended(system.api, second)
    said = system.ctl("why", 4).stdout
    assert "step_failed" in said and "no session is live" in said and "no credentials are stored" in said
    company = system.ops.get("/api/v1/ops/companies/4").expect(200).json["company"]
    assert company["failures"][0]["error"] == "step_failed" and len(company["recent"]) == 1
    assert "  log-in done; steps failed: step_failed  " in system.ctl("jobs", "show", company["failures"][0]["job_id"]).stdout
    system.ctl("credentials", "set", "--company", 4, "--portal", "sunat", stdin='{"usuario":"DEMO","clave":"demo"}')
    assert [one["portal"] for one in system.ctl_json("why", 4)["company"]["credentials"]] == ["sunat"]
    system.ops.get("/api/v1/ops/companies/x").expect(404, "not_found")
    table = system.ctl("batch", "items", second, "--status", "failed", "--csv").stdout
    head, row = table.splitlines()
    assert head == "\ufeffindex,company_id,status,finished_at,error,message,robot_status,robot_error,robot_message,step,attempts,job_id,job_uid,worker,session_id"
    start, ended_at, rest = row[: len("0,4,failed,")], *row[len("0,4,failed,") :].split(",", 1)
    assert start == "0,4,failed," and ended_at.endswith("Z") and len(ended_at) == 20
    assert rest.startswith('step_failed,"Step 0 (sunat.buzon_list): the robot refused: portal_down: =1+""ñ""",503,portal_down,"\'=1+""ñ""",0,1,')
    assert "1 job would be tried again" in system.ctl("batch", "retry", second, "--preview").stdout
    system.robot.behave_well()
    system.ctl("batch", "retry", second)
    wait_until(lambda: shape(system.api, second)["finished_at"] and shape(system.api, second)["counts"]["done"] == 2, 20, "it is done")
    system.ops.post(f"/api/v1/ops/batches/{second}/priority", {"priority": 1}).expect(409, "wrong_state")
