"""What robots said, and portals as things of their own: pauses of a part, the breaker, politeness, refused credentials."""

import csv

from harness.wait import wait_until

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
    rows = list(csv.DictReader(system.ctl("jobs", "list", "--csv", "--robot-error", "bad_credentials", "--limit", 1).stdout.splitlines()))
    assert [(row["company_id"], row["robot_status"], row["robot_error"], row["robot_message"]) for row in rows] == [("2", "401", "bad_credentials", "clave inválida")]
    rows = list(csv.DictReader(system.ctl("batch", "items", batch, "--csv", "--status", "failed").stdout.splitlines()))
    assert [(row["index"], row["error"], row["robot_error"]) for row in rows] == [("0", "robot_error", "bad_credentials")]
    assert system.ctl("jobs", "retry", "--batch", batch, "--robot-error", "bad_credentials", "--preview").stdout == "1 job would be tried again\n"
    assert system.ctl("jobs", "cancel", "--error", "robot_error", "--preview").stdout == "0 jobs would be cancelled\n"
    for wrong_words in ([], [first, "--batch", batch], [first, "--preview"], ["--error", "Bad"]):
        assert system.ctl("jobs", "retry", *wrong_words, check=False).returncode == 2
    robot.behave("login")
    assert system.ctl("batch", "retry", batch, "--error", "robot_error").stdout == "1 job is queued again\n"
    wait_until(lambda: api.get(f"/api/v1/app/batches/{batch}").json["batch"]["counts"]["done"] == 2, 20, "the item was tried again")
