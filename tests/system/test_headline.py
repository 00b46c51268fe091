# SPDX-License-Identifier: MIT
"""What the headline says is so: number, pace and end agree at each look, and no end is told while nothing moves."""

import json
import re
import time

import pytest

from broker_alone import SECRET, broker, dispatcher, make_broker, make_dispatcher, says  # noqa: F401
from harness.database_proxy import DatabaseProxy
from harness.http import Api
from harness.wait import ran_s, wait_until

FULL = ("places_full", "places_kept")
END = re.compile(r"^Busy: ([\d,]+) jobs? waits?, about (\d+|< 1) (s|min|h) at this pace \(([\d,]+) ended in the last (\d+) s\)\.$")
WAITS = re.compile(r"([\d,]+) jobs? waits?\b")
SECONDS = {"s": 1, "min": 60, "h": 3600}


def number(text):
    return int(text.replace(",", ""))


def check(told):
    """Does one answer agree with itself?"""
    queue, first = told["queue"], told["words"][0]
    for row in told["words"]:
        if row["code"].startswith("busy") or row["code"] in FULL:
            waits = WAITS.search(row["text"])
            assert (number(waits[1]) if waits else 0) == queue["depth"]["n"], row["text"]
    end = next((END.match(row["text"]) for row in told["words"] if row["code"] == "busy_until"), None)
    assert (end is not None) == any(row["code"] == "busy_until" for row in told["words"])
    if first["code"] == "busy":
        assert queue["clear_s"] is None
    if not end:
        return
    assert queue["moves"]
    waiting, ended, span = number(end[1]), number(end[4]), int(end[5])
    assert abs(waiting * span / ended - queue["clear_s"]) < 0.01 and 15 <= span <= 61
    told_s = 0 if end[2] == "< 1" else int(end[2]) * SECONDS[end[3]]
    assert 0 <= queue["clear_s"] - told_s < SECONDS[end[3]]
    assert ended <= queue["done_total"] + queue["failed_total"]


def summary(**more):
    """Of a dispatcher that has 2,694 jobs of sunat set aside, two others ready, and a robot with places."""
    count = {"n": 0, "capped": False}
    return {"at_ms": 1, "queue": {"ready": [{"priority": 5, "n": 2, "capped": False}], "oldest_age_ms": 900, "scheduled": count, "batches_open": count, "paused": None},
            "held": {"sunat": 2694}, "portals": [], "pauses": [], "doubtful": [], "robots": [{"name": "r1", "total": 10, "used": 1, "abandoned": 0}], **more}  # fmt: skip


def pause(reason):
    return {"portal": "sunat", "action": None, "batch_id": None, "reason": reason, "until": None, "by": "token:1:ana"}


@pytest.mark.parametrize(
    "told,depth,held,text",
    [
        ({"doubtful": ["sunat"]}, 2696, 0, None),
        ({"doubtful": ["sat"]}, 2, 2694, None),
        ({"doubtful": ["sunat"], "pauses": [pause("calm")]}, 2, 2694, "The queue is paused for sunat: calm. 2,694 jobs wait."),
        ({"pauses": [pause("calm")], "queue": {**summary()["queue"], "ready": []}}, 0, 2694, "The queue is paused for sunat: calm. 2,694 jobs wait."),
        ({"pauses": [pause("calm")], "held": {}}, 2, 0, "The queue is paused for sunat: calm."),
    ],
)
def test_what_is_set_aside_is_said(broker, make_dispatcher, told, depth, held, text):  # noqa: F811
    make_dispatcher(broker, name="d1", on={"OPS_SUMMARY": says(json.dumps(summary(**told)).encode())})
    api = Api(broker.ops_url, SECRET)
    now = wait_until(lambda: (now := api.get("/api/v1/ops/stats").expect(200).json)["queue"] and now, 8)
    assert (now["queue"]["depth"]["n"], now["queue"]["held"]) == (depth, held)
    said = [row["text"] for row in now["words"] if row["level"] == "ok"]
    assert text is None or text in said, said


def test_a_summary_is_as_old_as_it_says(broker, make_dispatcher):  # noqa: F811
    """What another broker asked for a moment ago is told again: what waits must not seem to wait for a shorter time than before."""
    make_dispatcher(broker, name="d1", on={"OPS_SUMMARY": says(json.dumps(summary(age_ms=7000)).encode())})
    api = Api(broker.ops_url, SECRET)
    now = wait_until(lambda: (now := api.get("/api/v1/ops/stats").expect(200).json)["queue"] and now, 8)
    assert 7.9 <= now["queue"]["oldest_age_s"] < 12


def robots_hold(**held):
    """A summary with nothing that waits; robot="used/total"."""
    rows = [{"name": name, "used": int(of.split("/")[0]), "total": int(of.split("/")[1]), "abandoned": 0} for name, of in held.items()]
    return says(json.dumps(summary(held={}, queue={**summary()["queue"], "ready": []}, robots=rows)).encode())


def test_what_is_above_capacity_takes_no_place_of_others(broker, make_dispatcher):  # noqa: F811
    """Sessions that were taken in above a robot's capacity leave the free places of others free."""
    one = make_dispatcher(broker, name="d1", on={"OPS_SUMMARY": robots_hold(r1="7/10", r2="6/10", r3="216/30", r4="17/30", r5="358/310")})
    api = Api(broker.ops_url, SECRET)

    def told():
        return api.get("/api/v1/ops/stats").expect(200).json

    wait_until(lambda: told()["places"], 8)
    until = time.monotonic() + 7
    while time.monotonic() < until:
        now = told()
        assert [row["text"] for row in now["words"] if row["code"] in FULL] == [], "r1, r2 and r4 have places"
        time.sleep(0.5)
    assert {key: now["places"][key] for key in ("used", "total", "free")} == {"used": 370, "total": 390, "free": 20}
    assert {row["name"]: (row["places_used"], row["places_total"]) for row in now["robots"]}["r5"] == (358, 310)
    one.on["OPS_SUMMARY"] = robots_hold(r1="10/10", r2="10/10", r3="216/30", r4="30/30", r5="358/310")
    full = wait_until(lambda: [row["text"] for row in told()["words"] if row["code"] in FULL], 15)
    assert full == ["All 390 places are taken."]


@pytest.mark.long(50)
def test_many_at_their_limit_are_one(broker, make_dispatcher):  # noqa: F811
    """Each of a few is said, with its limit even when none of its calls is left; many are one alert."""
    one = make_dispatcher(broker, name="d1")
    api = Api(broker.ops_url, SECRET)

    def told(*kinds):
        return [row for row in api.get("/api/v1/ops/stats").expect(200).json["words"] if any(kind in row["code"] for kind in kinds)]

    one.at_limit = "company:901:interactive:0:16:0,company:902:interactive:16:16:3,token:1:interactive:0:4:0"
    wait_until(lambda: len(told("at_limit")) == 3, 10)
    assert {row["text"] for row in told("at_limit")} == {
        "Company 901 has had 16 calls in flight, as many as it may have.",
        "Company 902 has had 16 calls in flight, as many as it may have; 3 wait.",
        "Token 1 has had 4 questions at the database, as many as it may have.",
    }
    one.at_limit = ",".join(f"company:{901 + n}:login:16:16:{n}" for n in range(8)) + ",token:1:batch:4:4:0"
    many = "8 companies have had as many calls in flight as they may have; among them {}."
    wait_until(lambda: [row["text"] for row in told("compan")] == [many.format("908, 907, 906")], 10)
    assert [row["who"] for row in told("compan")] == [None] and len(told("token_at_limit")) == 1
    one.at_limit = "company:901:login:16:16:1"
    until = time.monotonic() + 25
    while time.monotonic() < until:
        assert [row["code"] for row in told("compan")] == ["companies_at_limit"], "few are not many alerts a moment after they were many"
        time.sleep(0.5)
    assert re.match(r"Until \d+ s ago: 8 companies have had ", told("compan")[0]["text"])
    wait_until(lambda: [row["text"] for row in told("compan")] == ["Company 901 has had 16 calls in flight, as many as it may have; 1 waits."], 25)


def looks(system, until, timeout):
    """Looks each 0.3 s, at all that is said, until `until` holds: the answers."""
    seen, end = [], time.monotonic() + timeout
    while not seen or not until(seen):
        assert time.monotonic() < end, seen[-1]["words"]
        told = system.ops.get("/api/v1/ops/stats", query={"history": 0}).expect(200).json
        check(told)
        seen.append(told)
        time.sleep(0.3)
    return seen


def first(told):
    return told["words"][0]["code"]


def still(told):
    """No place is free, and nothing is under way."""
    return told["places"]["free"] == 0 and told["queue"]["running"]["n"] == 0 and told["queue"]["depth"]["n"] > 0


def close(system, n):
    for row in system.ops.get("/api/v1/ops/sessions", query={"state": "active"}).expect(200).json["sessions"][:n]:
        system.ops.post(f"/api/v1/ops/sessions/{row['session_id']}/close").expect(200)


@pytest.mark.long(55)
def test_the_headline_agrees_with_itself(make_system):
    system = make_system(capacity=4, robot_options={"login_ms": "400-800"}, settings={"queue.interactive_percent": 0, "alerts.every_s": 1, "alerts.gone_s": 5})
    body = {"portal": "sunat", "action": "sunat.menu_sol_login"}
    params = {"ruc": "20100000001", "usuario": "DEMO", "clave": "demo"}
    items = [{"company_id": n, "params": params} for n in range(1, 161)]
    system.api.post("/api/v1/app/batches", {**body, "close": True, "items": items}).expect(202)
    seen = looks(system, lambda seen: first(seen[-1]) == "busy_until", 60)
    assert "places_full" not in {first(told) for told in seen}, "rounds that take turns are busy, and no warning"
    seen = looks(system, lambda seen: seen[-1]["queue"]["depth"]["n"] < 25, 90)
    assert {first(told) for told in seen} <= {"busy", "busy_until"} and sum(first(told) == "busy_until" for told in seen) > len(seen) * 0.8

    # log-ins that keep their places fill these: at once no end is told, then that all are taken, and that stays so
    items = [{"company_id": n, "params": params} for n in range(1001, 1061)]
    system.api.post("/api/v1/app/batches", {**body, "priority": 9, "items": items}).expect(202)
    seen = looks(system, lambda seen: sum(map(still, seen)) > 40, 60)
    stopped = next(i for i, told in enumerate(seen) if still(told))
    assert not any(first(told) == "busy_until" for told in seen[stopped + 16 :]), "4.8 s: what is seen of the places is up to 2 s old, and a report may be late"
    assert [first(told) for told in seen[-10:]] == ["places_full"] * 10
    changes = sum(first(a) != first(b) for a, b in zip(seen, seen[1:], strict=False))
    assert changes <= 4, [first(told) for told in seen]

    # an open alert says the numbers of now, and ends a little after the headline has left it
    def alert():
        return next((one for one in system.ops.get("/api/v1/ops/alerts").expect(200).json["alerts"] if one["code"] == "places_full"), None)

    def agrees():
        told, one = system.ops.get("/api/v1/ops/stats", query={"history": 0}).expect(200).json, alert()
        return one and one["said_s_ago"] == 0 and one["state"] == "open" and one["text"] == told["words"][0]["text"]

    wait_until(agrees, 10, "the alert says what the headline says")
    waited = seen[-1]["queue"]["depth"]["n"]
    close(system, 2)
    looks(system, lambda seen: seen[-1]["queue"]["depth"]["n"] == waited - 2, 20)
    for batch in system.ops.get("/api/v1/ops/batches").expect(200).json["batches"]:
        system.api.delete(f"/api/v1/app/batches/{batch['id']}")
    looks(system, lambda seen: seen[-1]["queue"]["depth"]["n"] == 0 and not still(seen[-1]), 20)
    close(system, 4)
    gone = looks(system, lambda seen: "places_full" not in [row["code"] for row in seen[-1]["words"]], 60)
    assert gone
    begun = ran_s()
    wait_until(lambda: alert()["state"] == "ended", 20, "the alert ends")
    assert ran_s() - begun < 15
    assert not alert()["text"].startswith("Until"), "what is over says what it was"


@pytest.mark.long(25)
def test_no_end_is_told_while_no_robot_answers(make_system, mariadb):
    proxy = DatabaseProxy("127.0.0.1", mariadb.port).start()
    settings = {"queue.interactive_percent": 0, "db.port": proxy.port}
    system = make_system(database=mariadb.create_database(), capacity=4, robot_options={"login_ms": "200-400"}, settings=settings)
    params = {"ruc": "20100000001", "usuario": "DEMO", "clave": "demo"}
    items = [{"company_id": n, "params": params} for n in range(1, 601)]
    wait_until(lambda: system.ops.get("/api/v1/ops/stats").expect(200).json["queue"], 10, "the queue is known")
    batch = system.api.post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login", "close": True, "items": items}).expect(202).json["batch_id"]
    looks(system, lambda seen: seen[-1]["queue"]["depth"]["n"] and seen[-1]["queue"]["batches_open"]["n"], 4.5)  # soon after it arrives: a summary that nobody hurries comes each 5 s
    looks(system, lambda seen: first(seen[-1]) == "busy_until", 60)
    slow = proxy.inject("INTO chasqui_held", do="late", late_s=0.7)  # what the pause holds counts with what waits for some seconds
    system.ops.post("/api/v1/ops/queue/pause", {"portal": "sunat", "reason": "calm"}).expect(200)
    begun = looks(system, lambda seen: seen[-1]["words"][0]["code"] == "queue_part_paused", 4.5)[-1:]
    seen = begun + looks(system, lambda seen: len(seen) > 12, 60)
    assert {first(told) for told in seen} == {"queue_part_paused"} and not any(told["queue"]["clear_s"] for told in seen), "what holds work back comes first"
    assert {told["state"] for told in seen} == {"ok"}, "with a reason it is no fault"
    assert slow.hits and seen[0]["queue"]["depth"]["n"] > 0
    proxy.clear()
    system.ops.post("/api/v1/ops/queue/resume", {"portal": "sunat", "reason": "over"}).expect(200)
    looks(system, lambda seen: first(seen[-1]) == "busy_until", 30)
    for robot in system.robots.values():
        robot.pause()
    begun = time.monotonic()
    while (asked := time.monotonic()) < begun + 14:
        told = system.ops.get("/api/v1/ops/stats", query={"history": 0}).expect(200).json
        check(told)
        left = system.ops.get(f"/api/v1/ops/batches/{batch}").expect(200).json["batch"]
        if asked > begun + 7:  # the last report of an end comes up to 3 s late
            assert told["queue"]["clear_s"] is None and not any(row["code"] == "busy_until" for row in told["words"]), told["words"]
            assert left["eta_s"] is None, left
        time.sleep(0.3)
