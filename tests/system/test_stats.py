# SPDX-License-Identifier: MIT
"""The operators' numbers: what is right, what is wrong in words, and that promtool finds nothing to say."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from broker_alone import SECRET, broker, dispatcher, make_broker, make_dispatcher, says  # noqa: F401
from harness.http import Api, Client
from harness.wait import wait_until


def stats(system, **query):
    return system.ops.get("/api/v1/ops/stats", query=query).expect(200).json


def codes(told):
    return [row["code"] for row in told["words"]]


def wait_code(system, code, timeout=3):
    """The state as soon as it says so; issue: within 3 s."""
    found = [None]

    def said():
        found[0] = stats(system, history=0)
        return code in codes(found[0])

    wait_until(said, timeout, f"the words say {code}", every=0.1)
    return found[0]


def wait_well(system, timeout=15):
    return wait_until(lambda: (told := stats(system, history=0))["state"] == "ok" and told, timeout, "all is well")


# --- shapes ------------------------------------------------------------------------------------------------------


def test_what_it_says(system):
    system.api.execute(7).expect(200)
    told = wait_until(lambda: (now := stats(system))["places"] and now["robots"][0]["places_used"] == 1 and now["robots"][0]["wanted"] and codes(now) == ["well"] and now, 10,
                      "a summary came, and the dispatcher told of its robots")  # fmt: skip
    assert told["state"] == "ok" and codes(told) == ["well"] and told["words"][0]["text"] == "All is well: 1 dispatcher, 1 robot."
    assert [lane["lane"] for lane in told["lanes"]] == ["control", "interactive", "login", "batch"]
    login = told["lanes"][2]
    assert login["done_total"] == 1 and login["failed_total"] == 0 and login["latency_s"]["n"] == 1 and login["latency_s"]["p50"] > 0
    (robot,) = told["robots"]
    assert robot["name"] == "r1" and robot["verdict"] == "up" and robot["wanted"] == "active" and robot["why"] == ""
    assert robot["places_used"] == 1 and robot["places_total"] == 10 and robot["drain"] is None
    assert told["places"]["used"] == 1 and told["places"]["free"] == 9
    told = wait_until(lambda: (now := stats(system))["robots"][0]["logins_done_total"] == now["dispatchers"][0]["stats"]["logins_done_total"] == 1 and now,
                      5, "the dispatcher told of the log-in")  # fmt: skip
    (robot,) = told["robots"]
    assert robot["login_s"]["n"] == 1 and robot["logins_in_flight"] == 0 and set(robot["errors"].values()) == {0}
    (one,) = told["dispatchers"]
    assert one["name"] == "dispatcher-1" and one["connected"] and one["database"]["ok"] and one["database"]["threads"] == 4
    assert one["database"]["op_s"]["n"] > 0 and one["stats"]["logins_done_total"] >= 1
    (health,) = told["healthds"]
    assert health["heard"] and health["up"] == 1 and health["silent_since"] is None
    assert told["queue"]["depth"] == {"n": 0, "capped": False} and told["queue"]["paused"] is None and told["queue"]["oldest_age_s"] is None
    execute = [row for row in told["broker"]["routes"] if row["route"] == "/api/v1/app/jobs/execute"]
    assert execute[0]["codes"] == {"200": 1} and execute[0]["latency_s"]["n"] == 1
    assert told["history"]["step_s"] == 10 and len(told["history"]["done_per_s"]["login"]) == told["history"]["n"]
    assert "history" not in stats(system, history=0)
    system.ops.get("/api/v1/ops/stats", query={"history": "2"}).expect(422)


def test_companies_that_wait_and_use(system):
    for company in (7, 8):
        session = system.api.execute(company).expect(200).json["session_id"]
        system.api.list(session).expect(200)
    told = wait_until(lambda: len((now := stats(system))["companies"]["use_most"]) == 2 and now, 5, "companies are told")
    rows = {row["company_id"]: row for row in told["companies"]["use_most"]}
    assert rows[7]["requests"] == 2 and rows[8]["busy_s"] > 0


def test_faults_of_a_robot_by_class(make_system):
    system = make_system()
    system.robot.behave("login", "status", status=400, body={"ok": False, "error": "bad_password"})
    system.api.execute(7).expect(502, "robot_error")
    told = wait_until(lambda: (now := stats(system))["robots"][0]["errors"]["refused"] == 1 and now, 10, "the refusal is counted")
    assert told["robots"][0]["errors_total"]["said_no"] == 0 and told["robots"][0]["logins_failed_total"] == 1
    system.robot.behave("login", "status", status=500)
    system.api.execute(8).expect(502, "robot_error")
    wait_until(lambda: stats(system)["robots"][0]["errors"]["said_no"] == 1, 10, "the fault is counted apart")
    assert "chasqui_robot_errors_total" in Client(system.ops_url).get("/metrics").body.decode()


# --- in words ----------------------------------------------------------------------------------------------------


def test_each_process_that_dies_is_said_and_forgotten(make_system):
    system = make_system(robots=2, dispatchers=2, healthds=2)
    wait_well(system)
    system.dispatchers[1].kill9()
    told = wait_code(system, "dispatcher_gone")
    row = next(row for row in told["words"] if row["code"] == "dispatcher_gone")
    assert row["who"] == "dispatcher-2" and row["level"] == "warn" and row["text"].startswith("Dispatcher dispatcher-2 went ")
    assert row["text_es"].startswith("El dispatcher dispatcher-2 se fue hace ") and row["todo"] and told["state"] == "warn"
    gone = next(one for one in told["dispatchers"] if one["name"] == "dispatcher-2")
    assert not gone["connected"] and gone["gone_since"]
    system.dispatchers[1].start()
    wait_well(system)
    system.healthds[0].kill9()
    wait_code(system, "healthd_silent_some")
    system.healthds[1].kill9()
    assert wait_code(system, "healthd_silent")["state"] == "warn"
    for healthd in system.healthds:
        healthd.start()
    wait_well(system)
    name = next(iter(system.robots))
    system.robots[name].kill9()
    row = next(row for row in wait_code(system, "robot_down", 5)["words"] if row["code"] == "robot_down")
    assert row["who"] == name and "refused" in row["text"]

    def change():  # is noted once a second
        return next(one for one in stats(system)["robots"] if one["name"] == name)["last_change"]

    wait_until(lambda: (change() or {}).get("to") == "down" and change()["at"], 3, "its change is told")
    system.robots[name].start()
    wait_well(system)


def test_a_dispatcher_that_was_stopped_is_not_missed(make_system):
    """A stop and a start in order are no alarm, not even for a moment; a name is the same again after a kill."""
    system = make_system(dispatchers=2, ready=False)
    for process in system.dispatchers:
        conf = Path(process.argv[2])
        conf.write_text("".join(line for line in conf.read_text().splitlines(True) if 'name = "dispatcher-' not in line))
    system.start().wait_ready()

    def names():
        return {row["name"] for row in system.ops.get("/api/v1/ops/dispatchers").expect(200).json["dispatchers"] if row["connected"]}

    def missing():
        return [name for name, value in system.metrics().items() if name.startswith("chasqui_dispatcher_connected{") and value == 0]

    before = wait_until(lambda: len(names()) == 2 and names(), 10, "both are here")
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+-\d+", name) for name in before)
    system.dispatchers[1].stop()
    wait_until(lambda: len(names()) == 1, 10, "one is left")
    assert missing() == [] and "dispatcher_gone" not in codes(stats(system))

    def same_again():  # somebody else on this machine may have taken the number meanwhile
        if system.dispatchers[1].alive():
            system.dispatchers[1].kill9()
        system.dispatchers[1].start()
        wait_until(lambda: len(names()) == 2, 10, "both are here")
        return names() == before

    wait_until(same_again, 30, "it has the name that it had")
    wait_until(lambda: "dispatcher_gone" not in codes(stats(system)) and missing() == [], 10, "nobody is missed")


def test_another_broker_that_died_is_said(make_system):
    system = make_system(brokers=2, dispatchers=2)
    wait_well(system)
    system.brokers[1].kill9()
    endpoint = system.endpoints["broker", 1]["broker.bind"]
    text = f"2 of 2 dispatchers do not reach broker {endpoint}."
    row = wait_until(lambda: next((row for row in stats(system, history=0)["words"] if row["text"] == text), None), 3, text, every=0.1)
    assert row["code"] == "broker_lost" and row["who"] == endpoint and row["level"] == "warn" and row["todo"]
    system.brokers[1].start()
    wait_well(system)


def test_a_dead_database_is_said(system, mariadb):
    wait_well(system)
    mariadb.kill9()
    told = wait_code(system, "database_gone")
    assert told["state"] == "bad" and told["words"][0]["text"].startswith("The database cannot be reached (1 of 1 dispatcher): ")
    mariadb.ensure_running()
    wait_well(system, 30)


def test_no_dispatcher_at_all(broker):
    def said():
        answer = Client(broker.ops_url).get("/readyz")
        return answer.status == 503

    wait_until(said, 5)


def test_all_places_taken(make_system):
    system = make_system(capacity=1)
    system.api.execute(7).expect(200)
    row = next(row for row in wait_code(system, "places_full", 10)["words"] if row["code"] == "places_full")
    assert row["text"] == "All 1 places are taken." and row["level"] == "warn"


@pytest.mark.long(25)
def test_places_that_are_kept_for_interactive_log_ins(make_system):
    """Two dispatchers that claim at once leave them too, and it is said why work waits although places are free."""
    system = make_system(capacity=10, dispatchers=2, robot_options={"login_ms": "1500-2500"})
    batch = system.api.batch(list(range(1, 31))).expect(202).json["batch_id"]

    def said(text):
        return any(row["text"] == text for row in stats(system)["words"])

    wait_until(lambda: any(row["code"].startswith("busy") for row in stats(system)["words"]), 15, "while it moves it is busy, and no warning", every=0.1)
    kept = "All places for queued work are taken; 21 jobs wait. 1 place is kept for interactive log-ins."
    wait_until(lambda: said(kept), 45, kept, every=0.1)
    queue = stats(system)["queue"]
    assert queue["clear_s"] is None and queue["moves"] is False, "no end is told while nothing moves"
    shape = system.api.get(f"/api/v1/app/batches/{batch}").expect(200).json["batch"]
    company = system.ops.get("/api/v1/ops/companies/30").expect(200).json["company"]
    assert shape["eta_s"] is None and shape["eta_min_s"] is None
    for waits in (shape["waits_for"], company["waiting"][0]["why"]):
        assert [(one["reason"], one["detail"]) for one in waits] == [("waiting_for_place", "All places for queued work are taken; 1 place is kept for interactive log-ins.")]
    system.api.execute(99).expect(200)
    wait_until(lambda: said("All places are taken; 21 jobs wait."), 25, "all are taken", every=0.1)


def test_a_robot_that_is_emptied_is_said(system):
    system.api.execute(7).expect(200)
    system.ops.post("/api/v1/ops/workers/r1/drain", {"reason": "new version"}).expect(200)
    left = "Robot r1 is draining: 1 session is left."
    wait_until(lambda: ("robot_draining", left) in [(row["code"], row["text"]) for row in stats(system, history=0)["words"]], 10, left)
    system.api.close(system.api.active(7).json["session_id"]).expect(200)
    empty = "Robot r1 is empty, and gets no sessions until it is resumed."
    wait_until(lambda: any(row["text"] == empty for row in stats(system, history=0)["words"]), 10, empty)


def test_probes_take_time(system):
    health = wait_until(lambda: (now := stats(system, history=0)["healthds"][0])["probe_s"]["n"] and now, 12, "a full state came, and another")
    assert 0 < health["probe_s"]["p50"] <= health["probe_s"]["p99"] < 1
    assert system.metric("chasqui_probe_seconds_count") > 0


def test_items_that_met_a_session_have_waited_too(system):
    system.api.execute(7).expect(200)
    items = [{"company_id": company, "params": {"ruc": "1", "usuario": "u", "clave": "c"}} for company in (7, 8)]
    batch = system.api.post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login", "items": items}).expect(202).json["batch_id"]
    wait_until(lambda: system.api.get(f"/api/v1/app/batches/{batch}").json["batch"]["status"] == "done", 10)
    told = wait_until(lambda: ((now := stats(system, history=0))["queue"] or {}).get("done_total") == 2 and now, 10, "both are counted as done")
    assert told["queue"]["wait_s"]["n"] == 2
    (one,) = told["dispatchers"]
    assert one["stats"]["queue_done_total"] == 1 and one["stats"]["queue_met_total"] == 1


def test_streamed_bytes_and_their_rate(system):
    session = system.api.login(7)
    token = system.api.list(session).json["items"][0]["file_token"]
    size = len(system.api.download(session, token).expect(200).body)
    streams = wait_until(lambda: (now := stats(system, history=0)["broker"]["streams"])["bytes_per_s"] and now, 5)
    assert streams["total"] == 1 and streams["bytes_total"] == size and 0 < streams["bytes_per_s"] <= size


# --- Prometheus --------------------------------------------------------------------------------------------------


@pytest.fixture
def promtool():
    found = shutil.which("promtool")
    assert found, "promtool is missing: make deps"
    return found


def test_promtool_finds_nothing_to_say(system, promtool):
    system.api.execute(7).expect(200)
    wait_until(lambda: stats(system)["places"], 10)
    text = Client(system.ops_url).get("/metrics").expect(200).body
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    assert done.returncode == 0 and not done.stdout and not done.stderr, (done.stdout + done.stderr).decode()
    for name in ("company", "session", "job_id"):
        assert f"{name}=" not in text.decode() and f"{name}_id=" not in text.decode()


# --- the wire ----------------------------------------------------------------------------------------------------


def test_numbers_of_a_second_implementation(broker, dispatcher):
    """Histograms in PING, ROBOT_STATS and COMPANY_STATS as SPEC.md has them."""
    import msgpack

    ping = {"seq": 1, "incarnation": dispatcher.incarnation, "limits": [8] * 4, "database_ok": True}
    dispatcher.order(dispatcher.send, "PING", **ping, stats={"database_op_seconds": [5000, 1, 0, 1], "queue_done_total": 5})
    dispatcher.order(dispatcher.send, "PING", **ping, stats={"database_op_seconds": [9000, 1, 0, 3], "queue_done_total": 25})
    row = ["r9", "draining", 2, 10, 1, [0], [0, 0, 0, 0, 0, 0, 0]]
    later = ["r9", "draining", 1, 13, 1, [900000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3], [0, 4, 0, 0, 0, 0, 0]]
    dispatcher.order(dispatcher.send, "ROBOT_STATS", msgpack.packb([row]), revision=1)
    dispatcher.order(dispatcher.send, "ROBOT_STATS", msgpack.packb([later]), revision=1)
    dispatcher.order(dispatcher.send, "COMPANY_STATS", msgpack.packb([[20131, 3, 4500, 2, 100]]), window_s=300)
    attempt = ["sunat", "sunat.login", "refused", "bad", 7]
    dispatcher.order(dispatcher.send, "ATTEMPT_STATS", msgpack.packb([attempt]), count=1)  # before this broker knew it
    dispatcher.order(dispatcher.send, "ATTEMPT_STATS", msgpack.packb([[*attempt[:4], 9], ["sunat", "sunat.login", "done", "", 1]]), count=2)
    dispatcher.order(dispatcher.send, "ROBOT_STATS", msgpack.packb([["r9"]]), revision=1)  # malformed: dropped and counted
    api = Api(broker.ops_url, SECRET)
    told = wait_until(lambda: (now := api.get("/api/v1/ops/stats").expect(200).json)["companies"]["wait_most"] and now, 5)
    (robot,) = told["robots"]
    assert robot["name"] == "r9" and robot["wanted"] == "draining" and robot["logins_in_flight"] == 1
    assert robot["logins_done_total"] == 3 and robot["errors"]["timeout"] == 4 and robot["login_s"]["n"] == 3
    assert told["companies"]["wait_most"] == [{"company_id": 20131, "waits": 3, "wait_s": 4.5}]
    wait_until(lambda: broker.stat("bus_malformed_total") == 1, 5, "the last one was read")
    (one,) = told["dispatchers"]
    assert one["database"]["op_s"]["n"] == 2
    text = Client(broker.ops_url).get("/metrics").body.decode()
    assert 'chasqui_database_op_seconds_bucket{process="dispatcher",name="d1",le="0.005"} 4' in text
    assert 'chasqui_attempts_total{portal="sunat",action="sunat.login",outcome="refused",robot_error="bad"} 2' in text
    assert 'chasqui_attempts_total{portal="sunat",action="sunat.login",outcome="done",robot_error=""} 1' in text
    dispatcher.close()


def test_two_dispatchers_of_one_name_are_said(broker, make_dispatcher):
    for _ in range(4):
        make_dispatcher(broker, name="d1")
    row = wait_until(lambda: [row for row in stats(broker)["words"] if row["code"] == "name_twice"], 5, "it is said")[0]
    assert row["who"] == "d1" and "dispatcher.name" in row["todo"]


def test_a_summary_is_asked_for_and_shown(broker, make_dispatcher):
    body = {
        "at_ms": 1, "queue": {"ready": [{"priority": 9, "n": 3, "capped": False}, {"priority": 5, "n": 99997, "capped": True}],
        "oldest_age_ms": 90000, "scheduled": {"n": 4, "capped": False}, "batches_open": {"n": 1, "capped": False},
        "paused": {"reason": "patch <b>day</b>", "by": "token:1:ana", "since_ms": 1700000000000}},
        "robots": [{"name": "r1", "total": 5, "used": 5, "abandoned": 2, "left": 3, "movable": 1, "drain_since_ms": 1700000000000, "drain_deadline_ms": 0}],
    }  # fmt: skip
    make_dispatcher(broker, name="d1", on={"OPS_SUMMARY": says(json.dumps(body).encode())})
    api = Api(broker.ops_url, SECRET)
    said = {"queue_paused", "robot_abandoned", "healthd_silent"}
    told = wait_until(lambda: said <= set(codes(now := api.get("/api/v1/ops/stats").expect(200).json)) and now, 8)
    queue = told["queue"]
    assert queue["depth"] == {"n": 100000, "capped": True} and queue["oldest_age_s"] >= 90 and queue["scheduled"]["n"] == 4
    assert queue["paused"]["reason"] == "patch <b>day</b>" and queue["paused"]["until"] is None and queue["paused"]["by"] == "token:1:ana"


# --- live --------------------------------------------------------------------------------------------------------


def test_statistics_come_each_second(system):
    from test_sse import Events

    began = time.monotonic()
    events = Events(system.ops_url, "/api/v1/ops/events", system.token)
    told = [next_stats(events) for _ in range(4)]
    assert 2 < time.monotonic() - began < 15
    assert [set(one) for one in told][1:] == [set(stats(system))] * 3
    assert told[0]["history"]["n"] >= 1 and all(one["history"]["n"] <= 2 for one in told[1:])
    events.close()
    quiet = Events(system.ops_url, "/api/v1/ops/events?stats=0", system.token)
    system.api.execute(7).expect(200)
    assert quiet.next()[0] in ("session", "job")
    quiet.close()


def next_stats(events):
    while (event := events.next())[0] != "stats":
        pass
    return event[1]


# --- logs --------------------------------------------------------------------------------------------------------

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_one_request_id_through_all_processes_and_to_the_robot(make_system):
    system = make_system(settings={"log.format": "json", "log.slow_ms": 300})
    trace = {"X-Request-Id": "trace-me.1", "traceparent": TRACE}
    session = system.api.execute(7, headers=trace).expect(200).json["session_id"]
    system.robot.behave("list", "delay", ms=400)
    system.api.list(session, headers={**trace, "X-Request-Id": "trace-me.2"}).expect(200)
    system.api.delete(f"/api/v1/app/sessions/{session}", headers={**trace, "X-Request-Id": "trace-me.3"}).expect(200)
    for call, number in (("login", 1), ("list", 2), ("delete", 3)):
        headers = {name.lower(): value for name, value in system.robot.calls(call)[0]["headers"].items()}
        assert headers["x-request-id"] == f"trace-me.{number}" and headers["traceparent"] == TRACE, call
    for process in (system.brokers[0], system.dispatchers[0]):
        process.wait_log(r'"slow".*"trace-me\.2"')
        lines = [json.loads(line) for line in process.text().splitlines() if line.startswith("{")]
        assert all(line["time"] and line["level"] and line["event"] and isinstance(line["pid"], int) for line in lines)
        slow = next(line for line in lines if line.get("request") == "trace-me.2" and line["event"] == "slow")
        assert slow["level"] == "info" and slow["ms"] >= 400 and slow["queue_ms"] <= slow["ms"] - 395, "the robot's time is not in it"
        assert slow["dispatcher_ms"] >= 400 if process is system.brokers[0] else slow["robot_ms"] >= 400 and slow["db_ms"] <= slow["ms"] - 395
        assert any(line.get("request") == "trace-me.1" for line in lines)
