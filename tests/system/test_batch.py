# SPDX-License-Identifier: MIT
"""Batches and jobs from the client to the database and the robots: intake, progress, items, cancelling, who sees what, operators."""

import json
import threading
import time

import pytest

from harness.wait import stays, wait_until

BATCHES = "/api/v1/app/batches"
NDJSON = {"Content-Type": "application/x-ndjson"}
QUERY = {"portal": "sunat", "action": "sunat.menu_sol_login"}


@pytest.fixture
def paused(system):
    """The queue is paused: what is put in stays there."""
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "test"}).expect(200)
    return system


def resume(system):
    return system.ops.post("/api/v1/ops/queue/resume", {}).expect(200).json["queue"]


def shape(api, batch_id):
    return api.get(f"{BATCHES}/{batch_id}").expect(200).json["batch"]


def items(api, batch_id, **query):
    """All pages."""
    found, cursor = [], None
    while True:
        page = api.get(f"{BATCHES}/{batch_id}/items", query={**query, "cursor": cursor}).expect(200).json
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def ended(api, batch_id, status="done", timeout=30):
    return wait_until(lambda: (batch := shape(api, batch_id))["status"] == status and batch["finished_at"] and batch, timeout, f"batch is {status}")


def ndjson(lines, key=None):
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return {"query": QUERY, "headers": {**NDJSON, **({"Idempotency-Key": key} if key else {})}, "body": body}


# --- taking in --------------------------------------------------------------------------------------------------------


def test_a_batch_is_taken_in_run_and_done(make_system):
    system = make_system(robots=2, capacity=30)
    given = [{"company_id": company, "params": {"ruc": "20", "usuario": "DEMO", "clave": "demo"}} for company in range(1, 41)]
    given.insert(3, {"company_id": "x"})
    told = system.api.batch(given).expect(202).json
    assert told["accepted"] == 40 and told["rejected_total"] == 1
    assert told["rejected"] == [{"index": 3, "error": "validation_failed", "errors": {"company_id": ["must be an integer of 1 or more"]}}]
    batch = ended(system.api, told["batch_id"])
    assert batch["total"] == 40 and batch["counts"] == {"queued": 0, "running": 0, "retrying": 0, "done": 40, "failed": 0, "cancelled": 0}
    assert batch["eta_s"] is None
    shown = items(system.api, told["batch_id"], limit=7)
    assert [item["index"] for item in shown] == [index for index in range(41) if index != 3]
    assert {item["status"] for item in shown} == {"done"} and len({item["session_id"] for item in shown}) == 40
    one = shown[5]
    assert system.api.active(one["company_id"]).expect(200).json["session_id"] == one["session_id"]
    job = system.api.job(one["job_id"]).expect(200).json["job"]
    assert job["job_uid"] == one["job_uid"] and job["batch_id"] == told["batch_id"] and job["worker"] == one["worker"]
    assert system.database.value("SELECT COUNT(*) FROM chasqui_items WHERE params IS NOT NULL") == 0


def test_params_reach_the_robot_and_are_sealed_before(paused):
    told = paused.api.batch([{"company_id": 1, "params": {"ruc": "20100000001", "usuario": "SECRETO", "clave": "demo"}}]).expect(202).json
    kept = paused.database.value("SELECT CONVERT(HEX(params) USING utf8) FROM chasqui_items")
    assert "SECRETO".encode().hex().upper() not in kept
    resume(paused)
    ended(paused.api, told["batch_id"])
    assert paused.robot.calls("login")[0]["body"]["usuario"] == "SECRETO"


def test_the_same_body_again_is_the_same_batch(paused):
    lines = [{"company_id": company} for company in range(1, 2001)] + [{"company_id": 0}]
    first = paused.api.post(BATCHES, **ndjson(lines, "k-1")).expect(202)
    again = paused.api.post(BATCHES, **ndjson(lines, "k-1")).expect(202)
    assert again.json == first.json and again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert paused.database.value("SELECT COUNT(*) FROM chasqui_items") == 2000
    paused.api.post(BATCHES, **ndjson([*lines, {"company_id": 3000}], "k-1")).expect(422, "idempotency_mismatch")
    lines[7] = {"company_id": 7777}
    paused.api.post(BATCHES, **ndjson(lines, "k-1")).expect(422, "idempotency_mismatch")
    assert paused.database.value("SELECT COUNT(*) FROM chasqui_items") == 2000
    other = paused.api_for().post(BATCHES, **ndjson(lines, "k-1")).expect(202).json  # another token's key is another key
    assert other["batch_id"] != first.json["batch_id"]


def test_a_token_of_some_companies(paused):
    api = paused.api_for(company=5)
    told = api.batch([5, 6, 5]).expect(202).json
    assert told["accepted"] == 2
    assert told["rejected"] == [{"index": 1, "error": "company_forbidden", "errors": {"company_id": ["is not a company of this token"]}}]
    none = api.batch([6]).expect(202).json
    assert none["accepted"] == 0 and shape(api, none["batch_id"])["status"] == "done"


def test_twenty_thousand_items_while_lists_go_on(system):
    session = system.api.login(90001)
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "test"}).expect(200)
    slowest, stop = [0.0], threading.Event()

    def read_lists():
        while not stop.is_set():
            began = time.monotonic()
            system.api.list(session).expect(200)
            slowest[0] = max(slowest[0], time.monotonic() - began)

    reader = threading.Thread(target=read_lists)
    reader.start()
    told = system.api.post(BATCHES, **ndjson({"company_id": company} for company in range(1, 20001))).expect(202).json
    stop.set()
    reader.join()
    assert told["accepted"] == 20000 and shape(system.api, told["batch_id"])["counts"]["queued"] == 20000
    assert slowest[0] < 5, slowest
    cancelled = system.api.delete(f"{BATCHES}/{told['batch_id']}").expect(200).json
    assert cancelled == {"ok": True, "batch_id": told["batch_id"], "status": "cancelled"}
    assert ended(system.api, told["batch_id"], "cancelled")["counts"]["cancelled"] == 20000
    system.api.delete(f"{BATCHES}/{told['batch_id']}").expect(409, "wrong_state")


def test_a_dispatcher_dies_while_a_batch_comes_in(make_system):
    system = make_system(dispatchers=2)
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "test"}).expect(200)
    answers = []
    lines = [{"company_id": company, "params": {"usuario": "DEMO"}} for company in range(1, 30001)]
    sender = threading.Thread(target=lambda: answers.append(system.api.post(BATCHES, **ndjson(lines, "k"), timeout=60)))
    sender.start()
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_items") > 0, 20, "items come in")
    system.dispatchers[0].kill9()
    sender.join()
    told = answers[0].expect(202).json
    assert told["accepted"] == 30000 and told["rejected_total"] == 0
    assert system.database.value("SELECT COUNT(DISTINCT company_id) FROM chasqui_items") == 30000
    assert shape(system.api, told["batch_id"])["total"] == 30000
    system.api.delete(f"{BATCHES}/{told['batch_id']}").expect(200)
    system.dispatchers[0].start()


def test_available_at_of_a_batch(system):
    at = int(time.time()) + 3
    told = system.api.batch([1, 2], available_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))).expect(202).json
    stays(lambda: shape(system.api, told["batch_id"])["counts"]["queued"] == 2 or time.time() >= at, 0.5)
    ended(system.api, told["batch_id"])
    assert all(call["time"] >= at for call in system.robot.calls("login"))


# --- cancelling -----------------------------------------------------------------------------------------------------------


def test_cancel_stops_what_runs_too(make_system):
    system = make_system(robots=1, capacity=2)
    system.robot.behave("login", "delay", ms=30000)
    told = system.api.batch(range(1, 6)).expect(202).json
    system.robot.wait_call("login", count=1)
    wait_until(lambda: shape(system.api, told["batch_id"])["counts"]["running"] >= 1, 10, "some run")
    system.api.delete(f"{BATCHES}/{told['batch_id']}").expect(200)
    batch = ended(system.api, told["batch_id"], "cancelled", 25)
    assert batch["counts"]["cancelled"] == 5 and batch["total"] == 5
    assert {item["status"] for item in items(system.api, told["batch_id"])} == {"cancelled"}
    wait_until(lambda: system.database.value("SELECT COUNT(session_ref) FROM chasqui_places") == 0, 10, "no place is held")


# --- who sees what ----------------------------------------------------------------------------------------------------------


def test_who_sees_a_batch_and_its_jobs(system):
    narrow, wide, every = system.api_for(company=1), system.api_for(company=(1, 2)), system.api
    told = narrow.batch([1]).expect(202).json
    both = wide.batch([1, 2]).expect(202).json
    ended(every, told["batch_id"])
    ended(every, both["batch_id"])
    assert shape(wide, told["batch_id"])["total"] == 1
    missing = narrow.get(f"{BATCHES}/999999").expect(404, "batch_not_found")
    for path in ("", "/items"):
        hidden = narrow.get(f"{BATCHES}/{both['batch_id']}{path}").expect(404, "batch_not_found")
        assert {**hidden.json, "request_id": 0} == {**missing.json, "request_id": 0}
    narrow.delete(f"{BATCHES}/{both['batch_id']}").expect(404, "batch_not_found")
    jobs = narrow.get("/api/v1/app/jobs").expect(200).json["jobs"]
    assert jobs and {job["company_id"] for job in jobs} == {1}
    assert {job["company_id"] for job in wide.get("/api/v1/app/jobs").expect(200).json["jobs"]} == {1, 2}
    narrow.get("/api/v1/app/jobs", query={"company_id": 2}).expect(403, "company_forbidden")


def test_pages_of_jobs(system):
    system.database.execute("INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, created_at) VALUES ('LARAVEL-1', 9, 'sunat', 'x', 'done', NOW())")
    for company in range(1, 6):
        system.api.login(company)
    pages, cursor = [], None
    while True:
        page = system.api.get("/api/v1/app/jobs", query={"limit": 2, "cursor": cursor, "status": "done"}).expect(200).json
        pages.append([job["company_id"] for job in page["jobs"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == [[5, 4], [3, 2], [1, 9]]
    listed = system.api.get("/api/v1/app/jobs", query={"company_id": 3}).expect(200)
    assert [job["status"] for job in listed.json["jobs"]] == ["done"]
    assert system.robot.url not in listed.body.decode()


# --- operators ---------------------------------------------------------------------------------------------------------------


def test_why_a_job_waits_and_putting_back(paused):
    api, ops = paused.api, paused.ops
    job = api.queue(1).expect(202).json["job_id"]
    why = ops.get(f"/api/v1/ops/jobs/{job}/why").expect(200).json
    assert why["status"] == "queued" and why["why"][0]["reason"] == "paused" and why["why"][0]["why"] == "test"
    api.delete(f"/api/v1/app/jobs/{job}").expect(200)
    assert ops.get(f"/api/v1/ops/jobs/{job}/why").expect(200).json["why"][0]["reason"] == "ended"
    api.delete(f"/api/v1/app/jobs/{job}").expect(409, "wrong_state")
    back = ops.post(f"/api/v1/ops/jobs/{job}/retry", {"reason": "by hand"}).expect(200).json
    assert back["job_id"] == job and back["status"] == "queued"
    ops.post(f"/api/v1/ops/jobs/{job}/retry", {}).expect(409, "wrong_state")
    ops.post("/api/v1/ops/jobs/999999/retry", {}).expect(404, "job_not_found")
    assert resume(paused)["paused"] is None
    wait_until(lambda: api.job(job).json["job"]["status"] == "done", 10, "it is done")
    trail = ops.get("/api/v1/ops/audit").expect(200).json["audit"]
    assert [row["action"] for row in trail[:4]] == ["queue.resume", "job.retry", "job.cancel", "queue.pause"]
    assert trail[1]["detail"] == "cancelled -> queued: by hand" and trail[1]["subject"] == f"job:{job}"
    assert [row["action"] for row in ops.get("/api/v1/ops/audit", query={"search": "by hand"}).expect(200).json["audit"]] == ["job.retry"]


def test_a_job_put_back_opens_its_batch_again(make_system):
    system = make_system(actions={"sunat.menu_sol_login": {"method": "POST", "path": "/sunat/login", "session": "create", "timeout_ms": 60000,
                                                           "final_errors": "bad_credentials"}})  # fmt: skip
    system.robot.behave("login", "status", status=401, body={"ok": False, "error": "bad_credentials"}, times=1)
    told = system.api.batch([1]).expect(202).json
    assert ended(system.api, told["batch_id"])["counts"]["failed"] == 1
    item = items(system.api, told["batch_id"])[0]
    assert item["status"] == "failed" and item["error"] == "robot_error" and item["attempts"] == 1
    system.ops.post(f"/api/v1/ops/jobs/{item['job_id']}/retry", {}).expect(200)
    wait_until(lambda: shape(system.api, told["batch_id"])["counts"]["done"] == 1, 10, "it is done")
    batch = ended(system.api, told["batch_id"])
    assert batch["counts"]["failed"] == 0 and batch["total"] == 1


def test_the_queue_of_operators(paused):
    paused.api.batch(range(1, 31)).expect(202)
    paused.api.queue(50, priority=9).expect(202)
    queue = paused.ops.get("/api/v1/ops/queue").expect(200).json["queue"]
    assert queue["ready"] == {"n": 31, "capped": False} and queue["running"] == 0
    assert [(depth["priority"], depth["n"]) for depth in queue["by_priority"]] == [(9, 1), (5, 30)]
    assert queue["paused"]["reason"] == "test" and queue["paused"]["by"].startswith("token:")
    listed = paused.ops.get("/api/v1/ops/batches", query={"limit": 1}).expect(200).json["batches"]
    assert listed[0]["status"] == "running" and listed[0]["counts"]["queued"] == 30
    jobs = paused.ops.get("/api/v1/ops/jobs", query={"status": "queued"}).expect(200).json["jobs"]
    assert [job["company_id"] for job in jobs] == [50]


# --- how it goes --------------------------------------------------------------------------------------------------------


def test_how_a_batch_goes(make_system):
    """While it runs: what has run longest. At its end: when its items ended, and which robot was slow."""
    system = make_system(robots=2, capacity=30, settings={"queue.lease_ms": 10000})
    quick, slow = system.robots.values()
    system.api.login(12)  # its item finds this session
    refused = {"mode": "status", "status": 422, "body": {"ok": False, "error": "bad_credentials"}, "company_id": 7}
    for robot, ms in ((quick, 0), (slow, 3000)):
        robot.ask("POST", "/_test/behave", {"login": [refused, {"mode": "delay", "ms": 9000, "company_id": 5}, {"mode": "delay", "ms": ms}]})
    batch = system.api.batch(list(range(1, 13))).expect(202).json["batch_id"]

    def course(**more):
        return system.ops.get(f"/api/v1/ops/batches/{batch}", query={"course": 1, **more}).expect(200).json["course"]

    stuck = wait_until(lambda: (one := course()) and len(one["tail"]) == 1 and one["tail"][0]["company_id"] == 5 and one, 20, "one runs still")["tail"][0]
    assert (stuck["index"], stuck["status"], stuck["attempts"], stuck["error"]) == (4, "running", 1, None) and stuck["job_id"] and stuck["took_ms"] < 20_000
    ended(system.api, batch)
    went = course()
    assert sum(went["done"]) == 10 and sum(went["failed"]) == 1 and went["n"] == len(went["done"]) <= 60
    assert (went["looked"], went["sampled"], went["untimed"]) == (12, False, 1)
    assert went["tail"][0]["company_id"] == 5 and went["tail"][0]["took_ms"] >= 9000 and len(went["tail"]) == 10
    assert sum(one["attempts"] for one in went["robots"]) == 11 and sum(one["failed"] for one in went["robots"]) == 1 and not any(one["faults"] for one in went["robots"])
    assert [one["worker"] for one in went["robots"]] == [slow.name, quick.name] and went["robots"][0]["login_p50_ms"] >= 3000
    assert "course" not in system.ops.get(f"/api/v1/ops/batches/{batch}").expect(200).json
    system.ops.get(f"/api/v1/ops/batches/{batch}", query={"course": "yes"}).expect(422, "validation_failed")
    shown = system.ctl("batch", "show", batch, "--course")
    lines = shown.stdout.split("\n")
    head = next(i for i, line in enumerate(lines) if line.startswith("ROBOT"))
    assert lines[head + 1].split()[0] == slow.name and lines[head + 2].split()[0] == quick.name, shown.stdout
    head = next(i for i, line in enumerate(lines) if line.lstrip().startswith("LONGEST"))
    assert lines[head + 1].split()[1:4] == ["4", "5", "done"], shown.stdout
    assert sum(line.count("#") > 0 for line in lines) >= 2 and any(line.endswith("x") for line in lines), shown.stdout
    assert "1 item ended without a time" in shown.stderr
    assert system.ctl_json("batch", "show", batch, "--course")["course"] == course()
    assert "one of --course and --follow" in system.ctl("batch", "show", batch, "--course", "--follow", check=False).stderr
