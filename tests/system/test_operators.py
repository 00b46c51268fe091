# SPDX-License-Identifier: MIT
"""An operator's commands and their routes: robots that are changed and taken out of use, failures by class, the audit trail, the one line for Nagios."""

import json
import re
import signal
import subprocess
import time

import pytest

from harness import program, wait_until
from harness.http import Api
from harness.process import clean_env
from harness.system import ROOT

OPS = "/api/v1/ops"
LOGIN_REFUSED = {"status": 401, "body": {"ok": False, "error": "bad_credentials", "message": "wrong password"}}


def worker(system, name):
    return next(one for one in system.ops.get(f"{OPS}/workers").expect(200).json["workers"] if one["name"] == name)


def patch(system, robot, **body):
    return system.ops.request("PATCH", f"{OPS}/workers/{robot}", body)


def audited(system, action):
    return system.database.rows("SELECT actor, subject, detail FROM chasqui_audit WHERE action = %s ORDER BY id", action)


def test_robots_are_added_and_changed_over_http(make_system):
    system = make_system(robots=1)
    spare = system.add_robot("spare", register=False)
    made = {"name": "spare", "base_url": spare.url + "/", "capacity": 3, "reason": "more room"}
    assert system.ops.post(f"{OPS}/workers", made).expect(200).json == {"ok": True, "worker": "spare", "changed": True, "capacity_stays": None}
    wait_until(lambda: worker(system, "spare")["verdict"] == "up", 10)
    told = worker(system, "spare")
    assert (told["capacity"], told["set_capacity"], told["has_viewer"], told["wanted"]) == (3, 3, False, "active")
    assert spare.url not in system.ops.get(f"{OPS}/workers").body.decode(), "no answer tells a base URL"
    refused = system.ops.post(f"{OPS}/workers", made).expect(409, "wrong_state")
    assert refused.json["message"] == "there is a robot spare already"
    refused = system.ops.post(f"{OPS}/workers", {**made, "name": "other"}).expect(409, "wrong_state")
    assert "as robot spare" in refused.json["message"] and spare.url not in refused.body.decode()
    # fields
    for body, field in (
        ({"base_url": "http://a"}, "name"), ({"name": "a b", "base_url": "http://a"}, "name"), ({"name": "x"}, "base_url"),
        ({"name": "x", "base_url": "ftp://a"}, "base_url"), ({"name": "x", "base_url": "http://u:p@a"}, "base_url"),
        ({"name": "x", "base_url": None}, "base_url"), ({"name": "x", "base_url": 7}, "base_url"),
        ({"name": "x", "base_url": "http://" + "a" * 300}, "base_url"), ({"name": "x", "base_url": "http://a", "capacity": 0}, "capacity"),
        ({"name": "x", "base_url": "http://a", "capacity": "7"}, "capacity"), ({"name": "x", "base_url": "http://a", "viewer_url": "no"}, "viewer_url"),
        ({"name": "x", "base_url": "http://a", "url": "http://b"}, "url"),
    ):  # fmt: skip
        assert field in system.ops.post(f"{OPS}/workers", body).expect(422, "validation_failed").json["errors"], body
    for body, field in (({}, "capacity"), ({"reason": "x"}, "capacity"), ({"name": "y"}, "name"), ({"capacity": 100001}, "capacity"), ({"base_url": ""}, "base_url")):
        assert field in patch(system, "spare", **body).expect(422, "validation_failed").json["errors"], body
    patch(system, "nobody", capacity=4).expect(404, "not_found")
    # only what is given is changed; places are there at once
    wait_until(lambda: worker(system, "spare")["reported_capacity"] == 10, 10, "it reports its capacity")
    told = patch(system, "spare", capacity=12, reason="a bigger machine").expect(200).json
    assert (told["changed"], told["capacity_stays"]) == (True, 10), "it holds no more than it reports"
    said = system.ctl("worker", "set", "spare", "--capacity", 13).stdout
    assert said == "robot spare: capacity 12 -> 13; stays 10: the robot reports 10\n"
    assert patch(system, "spare", capacity=12).expect(200).json["changed"] is True
    assert patch(system, "spare", capacity=12).expect(200).json["changed"] is False
    assert patch(system, "spare", viewer_url="https://viewer.example/x").expect(200).json["changed"] is True
    told = worker(system, "spare")
    assert (told["capacity"], told["set_capacity"], told["reported_capacity"], told["has_viewer"]) == (10, 12, 10, True)
    assert told["viewer_url"] == "https://viewer.example/x"
    assert system.database.value("SELECT COUNT(*) FROM chasqui_places p JOIN chasqui_robots r ON r.id = p.robot_id WHERE r.name = 'spare'") >= 10
    assert patch(system, "spare", capacity=None, viewer_url=None).expect(200).json["changed"] is True
    assert (worker(system, "spare")["set_capacity"], worker(system, "spare")["has_viewer"]) == (None, False)
    rows = audited(system, "worker_set")
    assert [row["detail"] for row in rows] == ["capacity 3 -> 12: a bigger machine", "capacity 12 -> 13", "capacity 13 -> 12", "viewer URL none -> https://viewer.example/x",
                                               "viewer URL https://viewer.example/x -> none, capacity 12 -> as reported"]  # fmt: skip
    assert all(row["actor"].startswith(("token:", "cli:")) and row["subject"] == "spare" for row in rows)
    # the trail that operators read names no base URL
    assert spare.url not in system.ops.get(f"{OPS}/audit").body.decode()


def test_a_robot_moves_to_another_address_with_its_sessions(make_system):
    """Only while it gets no log-ins; its sessions are reached at the new one, and nothing is logged in twice."""
    system = make_system(robots=1)
    session = system.api.login(1)
    robot = system.robots["r1"]
    elsewhere = robot.url.replace("127.0.0.1", "localhost")
    refused = patch(system, "r1", base_url=elsewhere).expect(409, "wrong_state").json["message"]
    assert refused == "robot r1 gets log-ins: drain or disable it before its base URL is changed"
    assert "drain or disable it" in system.ctl("worker", "set", "r1", "--base-url", elsewhere, check=False).stderr
    system.ctl("worker", "drain", "r1")
    told = system.ctl("worker", "set", "r1", "--base-url", elsewhere + "/").stdout
    assert told == f"robot r1: base URL {robot.url} -> {elsewhere}\n"
    system.api.list(session).expect(200)
    system.ctl("worker", "enable", "r1")
    wait_until(lambda: worker(system, "r1")["verdict"] == "up" and worker(system, "r1")["wanted"] == "active", 10)
    system.api.list(session).expect(200)
    assert system.api.execute(1).expect(200).json["reused"] is True
    wait_until(lambda: system.api.execute(2).status == 200, 10)
    assert {row["u"] for row in system.database.rows("SELECT DISTINCT robot_worker_base_url AS u FROM portal_jobs")} == {elsewhere}


def test_out_of_use_and_back(make_system):
    system = make_system(robots=2)
    session = system.api.login(1)
    name = system.api.active(1).json["worker"]
    other = next(one for one in system.robots if one != name)
    refused = system.ops.post(f"{OPS}/workers/{name}/disable", {"reason": "repair"}).expect(409, "wrong_state").json["message"]
    assert "1 live and 0 abandoned" in refused and "drain it first" in refused
    assert "drain it first" in system.ctl("worker", "disable", name, check=False).stderr
    assert system.ops.post(f"{OPS}/workers/{other}/disable", {"reason": "repair"}).expect(200).json["wanted"] == "disabled"
    assert worker(system, other)["wanted"] == "disabled"
    system.ops.post(f"{OPS}/workers/nobody/disable").expect(404)
    system.ops.post(f"{OPS}/workers/{other}/disable", {"force": "yes"}).expect(422)
    wait_until(lambda: all(system.api.login(company) and system.api.active(company).json["worker"] == name for company in (2, 3)), 5)
    assert "disabled already" in system.ctl("worker", "disable", other).stdout
    system.ops.post(f"{OPS}/workers/{other}/enable").expect(200)
    assert worker(system, other)["wanted"] == "active"
    # --force: it holds a session all the same, which goes on
    told = system.ctl("worker", "disable", name, "--force", "--reason", "no time").stdout
    assert "nobody probes it, and it holds 3 sessions" in told
    system.api.list(session).expect(200)
    system.ctl("worker", "enable", name)
    assert [row["detail"] for row in audited(system, "worker_want")] == [
        "active -> disabled: repair", "disabled -> active", "active -> disabled: no time", "disabled -> active"]  # fmt: skip
    system.wait_healthy()


class Watching:
    """A command that watches, from when it has said for the first time how many are left."""

    def __init__(self, system, *words):
        self.log = system.directory / "watching.err"
        with open(self.log, "w", encoding="utf-8") as said:
            self.popen = subprocess.Popen([program("chasqui"), "-c", system.write_conf("waiting", system.settings), *words], env=clean_env(), cwd=ROOT,
                                          stdout=subprocess.PIPE, stderr=said, text=True)  # fmt: skip
        wait_until(lambda: " left, " in self.log.read_text(), 10, "it watches")

    def end(self, timeout=60):
        out, _ = self.popen.communicate(timeout=timeout)
        return self.popen.returncode, out, self.log.read_text()


def test_drain_wait(make_system):
    system = make_system(robots=2, settings={"session.idle_timeout_s": 60, "session.drain_idle_s": 86400})
    system.set_credentials(1, usuario="u", clave="c")
    moves, closes = system.api.login(1), system.api.login(2)
    one, two = (system.api.active(company).json["worker"] for company in (1, 2))
    told = [worker(system, name) for name in {one, two}]
    assert (sum(row["sessions"] for row in told), sum(row["movable"] for row in told)) == (2, 1), "before a drain it is known how many can move"
    name = one
    words = ["worker", "drain", name, "--wait", "--reason", "patch day", "--deadline", "1m"]
    # Ctrl-C ends the watching only
    watching = Watching(system, *words)
    assert worker(system, name)["wanted"] == "draining"
    watching.popen.send_signal(signal.SIGINT)
    code, out, said = watching.end()
    assert code == 1 and "goes on draining: 1 session left" in said.splitlines()[-1] or two == name, (out, said)
    # somebody wants it back meanwhile
    watching = Watching(system, *words)
    system.ctl("worker", "resume", name)
    code, out, said = watching.end()
    assert code == 1 and f"robot {name} is active now: somebody else changed it" in said
    # it ends by itself when the last session has gone, and says how many were left meanwhile
    watching = Watching(system, *words)
    for session in (moves, closes):
        if system.robots[name].alive():
            system.api.close(session)
    code, out, said = watching.end()
    assert code == 0 and out == f"robot {name} is empty\n", (out, said)
    assert json.loads(system.ctl("worker", "drain", name, "--wait", "--json").stdout) == {"ok": True, "message": f"robot {name} is empty"}


@pytest.fixture
def failed(make_system):
    """Companies 1 and 2 with wrong passwords, 3 with a robot that broke, a batch of them; one session that was lost."""
    system = make_system(robots=1)
    system.robot.behave("login", "status", **LOGIN_REFUSED)
    for company in (1, 2, 3):
        system.api.execute(company).expect(502)
    system.robot.behave("login", "status", **LOGIN_REFUSED, times=1, company_id=1)
    batch = system.api.batch([1, 4]).expect(202).json["batch_id"]
    wait_until(lambda: system.api.get(f"/api/v1/app/batches/{batch}").json["batch"]["counts"]["failed"] == 1, 20)
    session = system.api.login(9)
    system.robot.forget(session)
    system.api.list(session).expect(410)
    return system, batch


def classes(answer):
    return {(one["error"], one["kind"]): one for one in answer.expect(200).json["errors"]}


def test_an_operator_looks_back(failed):
    system, batch = failed
    wait_until(lambda: system.api.get(f"/api/v1/app/batches/{batch}").json["batch"]["status"] == "done", 60, "no more jobs are made")
    system.database.execute("UPDATE portal_jobs SET created_at = created_at - INTERVAL 2 DAY WHERE company_id = 1 AND batch_id IS NULL")  # the oldest
    ids = [one["id"] for one in system.ops.get(f"{OPS}/jobs").expect(200).json["jobs"]]

    def since(**query):
        return [one["id"] for one in system.ops.get(f"{OPS}/jobs", query={**query, "limit": 200}).expect(200).json["jobs"]]

    assert since(since=86400) == ids[:-1] and since(since=3 * 86400) == ids
    yesterday = system.database.value("SELECT DATE_FORMAT(NOW() - INTERVAL 1 DAY, '%%Y-%%m-%%dT%%H:%%i:%%sZ')")
    assert since(until=yesterday) == ids[-1:] and since(since=yesterday) == ids[:-1] and since(since=86400, company_id=1) != since(company_id=1)
    assert since(since=yesterday, until=yesterday) == []
    # those that failed, by when they failed: the one that was made two days ago failed today
    assert since(status="failed", since=86400) == since(status="failed") and ids[-1] in since(status="failed")
    assert since(status="failed", until=yesterday) == []
    system.database.execute("UPDATE portal_jobs SET finished_at = finished_at - INTERVAL 47 HOUR WHERE id = %s", ids[-1])
    assert since(status="failed", until=yesterday) == ids[-1:] and ids[-1] not in since(status="failed", since=86400)
    for wrong in ({"until": "later"}, {"since": "x"}):
        system.ops.get(f"{OPS}/jobs", query=wrong).expect(422, "validation_failed")
    shown = system.ctl("jobs", "list", "--status", "failed", "--since", "24h", "--csv").stdout.splitlines()
    assert len(shown) - 1 == len(since(status="failed", since=86400)) and shown[0].startswith("\ufeffid,job_uid,company_id")
    assert system.ctl_json("jobs", "list", "--until", yesterday)["jobs"][0]["id"] == ids[-1]
    assert system.ctl("jobs", "list", "--until", "later", check=False).returncode == 2

    api = Api(system.api_url(), system.make_token("*", "app", 1))
    session = system.api.login(9)
    api.list(session).expect(200)
    wait_until(lambda: api.list(session).status == 429, 20, "the token asked too often")
    told = system.ctl_json("token", "list")["tokens"]
    assert [(one["calls"] > 0, one["limited"] > 0) for one in told if one["rate_per_minute"] == 1] == [(True, True)]
    assert "TOO OFTEN  LAST REFUSED (UTC)" in system.ctl("token", "list").stdout
    conf = system.directory / "no-token.conf"
    conf.write_text("\n".join(line for line in system.conf.read_text().splitlines() if not line.strip().startswith("token =")) + "\n")
    assert "TOO OFTEN" not in system.ctl("token", "list", conf=conf).stdout

    which = ("sessions", "close", "--worker", "r1", "--portal", "sunat", "--company", 9)
    assert system.ctl(*which, "--preview").stdout == "1 session would be closed\n"
    assert system.ctl(*which, "--idle", "30m").stdout == "0 sessions are closed\n"

    def idle_one_is_closed():  # the dispatcher may write only now that it was used above
        system.database.execute("UPDATE chasqui_sessions SET last_activity_at = NOW(6) - INTERVAL 1 HOUR WHERE state = 'active'")
        return system.ctl_json(*which, "--idle", "30m", "--reason", "forgotten") == {"ok": True, "preview": False, "n": 1, "refused": 0}

    wait_until(idle_one_is_closed, 10)
    assert audited(system, "session_close")[-1]["detail"] == f"active -> closed: forgotten; session {session}, company 9"
    assert session not in [one["session_id"] for one in system.robot.sessions()]
    two = [system.api.login(company) for company in (21, 22)]
    told = system.ctl("sessions", "close", *two, "S-none", "--reason", "by hand", check=False)
    assert (told.returncode, told.stdout) == (1, "".join(f"session {one} is closed\n" for one in two)) and "session_not_found" in told.stderr
    assert [one["detail"] for one in audited(system, "session_close")[-2:]] == [f"active -> closed: by hand; session {one}, company {company}" for one, company in zip(two, (21, 22), strict=True)]
    for wrong in ((), (session, "--worker", "r1"), (session, "--preview"), ("--idle", "x")):
        assert system.ctl("sessions", "close", *wrong, check=False).returncode == 2, wrong

    live = subprocess.Popen([program("chasqui"), "-c", system.conf, "why", "9", "--watch"], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_env())
    for _ in range(2):
        assert any(re.search(r"company 9 at \d\d:\d\d:\d\d UTC\n", line) for line in iter(live.stdout.readline, ""))
    live.send_signal(signal.SIGINT)
    live.communicate(timeout=60)
    assert live.returncode == 0


def test_failures_by_class(failed):
    system, batch = failed
    body = system.ops.get(f"{OPS}/errors").expect(200).json
    assert body["capped"] is False and body["looked"] == sum(one["n"] for one in body["errors"]) == 5
    found = classes(system.ops.get(f"{OPS}/errors"))
    login = found["robot_error", "login"]
    assert (login["n"], login["companies"], login["portal"], login["worker"]) == (4, 3, "sunat", "r1")
    assert login["first_at"] < login["last_at"] and login["message"] and login["last_job_id"]
    assert login["robot_error"] == "bad_credentials" and found["session_expired", "session"]["robot_error"] is None
    curve = classes(system.ops.get(f"{OPS}/errors?since=3600"))["robot_error", "login"]["curve"]
    assert login["curve"] is None and len(curve) == 12 and sum(curve) == 4
    assert found["session_expired", "session"]["n"] == 1, "a session that was lost later is not a log-in that failed"
    of_batch = classes(system.ops.get(f"{OPS}/errors?batch_id={batch}"))
    assert list(of_batch) == [("robot_error", "login")] and of_batch["robot_error", "login"]["n"] == 1, "as many as the batch counts"
    assert classes(system.ops.get(f"{OPS}/errors?portal=other")) == {}
    assert len(classes(system.ops.get(f"{OPS}/errors?since=3600&portal=sunat"))) == 2
    assert classes(system.ops.get(f"{OPS}/errors?since=2099-01-01T00:00:00Z")) == {}
    for query in ("since=yesterday", "since=0", "since=99999999999", "batch_id=x", "portal=A-B", "status=failed"):
        system.ops.get(f"{OPS}/errors?{query}").expect(422, "validation_failed")
    # old ones are not within the last hour
    system.database.execute("UPDATE portal_jobs SET finished_at = NOW() - INTERVAL 2 HOUR WHERE error = 'session_expired'")
    assert list(classes(system.ops.get(f"{OPS}/errors?since=3600"))) == [("robot_error", "login")]
    assert len(classes(system.ops.get(f"{OPS}/errors?since=9000"))) == 2
    # the command
    said = system.ctl("errors", "--since", "1h").stdout.splitlines()
    assert said[0].split()[:1] == ["ERROR"] and len(said) == 5 and said[1].startswith("robot_error")
    line = "chasqui jobs retry --status failed --error robot_error --robot-error bad_credentials --preview"
    assert said[4].strip() == line
    assert system.ctl(*line.split()[1:]).stdout == "4 jobs would be tried again\n", "as many as the class counts"
    # what was not asked of the robot again is another class
    system.database.execute("UPDATE portal_jobs SET error = 'credentials_refused' WHERE batch_id = %s AND error = 'robot_error'", batch)
    assert system.ctl("jobs", "retry", "--batch", batch, "--robot-error", "bad_credentials", "--preview").stdout == "0 jobs would be tried again\n"
    assert system.ctl("jobs", "retry", "--batch", batch, "--error", "credentials_refused", "--robot-error", "bad_credentials", "--preview").stdout.startswith("1 job")
    assert system.ctl_json("jobs", "list", "--robot-error", "bad_credentials", "--batch", batch)["jobs"] == []
    assert system.ctl_json("batch", "items", batch, "--robot-error", "bad_credentials")["items"] == []
    assert len(system.ctl_json("batch", "items", batch, "--error", "credentials_refused", "--robot-error", "bad_credentials")["items"]) == 1
    system.database.execute("UPDATE portal_jobs SET error = 'robot_error' WHERE error = 'credentials_refused'")
    assert len(system.ctl_json("errors", "--batch", batch)["errors"]) == 1
    assert system.ctl("errors", "--portal", "other").stdout == "nothing failed\n"
    assert "--since" in system.ctl("errors", "--since", "soon", check=False).stderr
    # of yesterday: what failed today is not in it, and its curve is that day's
    assert system.ctl("errors", "--since", "yesterday", "--until", "today").stdout == "nothing failed\n"
    system.database.execute("UPDATE portal_jobs SET finished_at = NOW() - INTERVAL 27 HOUR WHERE error = 'robot_error' ORDER BY id LIMIT 1")
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 24 * 3600))
    begins = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 36 * 3600))
    (day,) = system.ops.get(f"{OPS}/errors?since={begins}&until={ends}").expect(200).json["errors"]
    assert day["n"] == 1 and day["curve"] == [0] * 8 + [1] + [0] * 3, day["curve"]
    system.ops.get(f"{OPS}/errors?until=yesterday").expect(422, "validation_failed")


def test_who_did_what(make_system):
    system = make_system(robots=2)
    session, uid = system.api.login(1), system.api.active(1).json["job_id"]
    system.ops.post(f"{OPS}/sessions/{session}/close", {"reason": "asked by phone"}).expect(200)
    assert "closed_by_operator" in system.ctl("why", 1).stdout
    system.ctl("worker", "drain", "r1", "--reason", "patch day")
    system.ctl("worker", "set", "r2", "--capacity", 7)
    rows = system.ops.get(f"{OPS}/audit?subject={session}").expect(200).json["audit"]
    assert [(row["action"], row["subject"]) for row in rows] == [("session_close", f"job:{uid}")] and "asked by phone" in rows[0]["detail"]
    assert system.ops.get(f"{OPS}/audit?search={session}").expect(200).json["audit"] == rows, "the search box finds who closed a session"
    job_uid = system.api.job(uid).json["job"]["job_uid"]
    assert system.ops.get(f"{OPS}/audit?search={job_uid}").expect(200).json["audit"] == rows

    def actions(query):
        return [row["action"] for row in system.ops.get(f"{OPS}/audit?{query}").expect(200).json["audit"]]

    assert actions("action=worker_s") == ["worker_set"] and set(actions("action=worker")) == {"worker_set", "worker_want", "worker_add"}
    assert actions("subject=r1") == ["worker_want", "worker_add"] and actions("subject=r") == []
    closed = system.ops.get(f"{OPS}/companies/1").expect(200).json["company"]["ended"]
    assert [(one["session_id"], one["state"], one["reason"], one["worker"]) for one in closed] == [(session, "closed", "closed_by_operator", closed[0]["worker"])]
    assert closed[0]["by"] == rows[0]["actor"]
    # a session is found by the beginning of its id, as a page shows it cut
    for given, found in ((session, [session]), (session[:6], [session]), (session[:5], []), (session + "x", [])):
        assert [one["session_id"] for one in system.ops.get(f"{OPS}/sessions", query={"session_id": given}).expect(200).json["sessions"]] == found, given
    # the command line is one actor, whether it writes its row itself or asks a broker
    other = system.api.login(2)
    system.ctl("sessions", "close", other)
    actor = system.database.value("SELECT actor FROM chasqui_audit WHERE action = 'worker_set'")
    assert actor.startswith("cli:")
    by = audited(system, "session_close")[-1]["actor"]
    assert by.startswith("token:") and by.endswith(" " + actor)
    assert [row["action"] for row in system.ctl_json("audit", "list", "--actor", actor)["audit"]][:3] == ["session_close", "worker_set", "worker_want"]
    system.ops.post(f"{OPS}/sessions/{system.api.login(3)}/close", {}, headers={"X-Chasqui-Actor": "root"}).expect(200)
    assert not audited(system, "session_close")[-1]["actor"].endswith(" root"), "what is no such name is not taken"
    system.database.execute("DELETE FROM chasqui_audit WHERE action = 'session_close' AND subject <> %s", f"job:{uid}")
    assert actions("actor=token:&action=session") == ["session_close"] and "session_close" not in actions("actor=cli:")
    assert actions("since=3600&subject=r2&action=worker_set") == ["worker_set"] and actions("since=2099-01-01T00:00:00Z") == []
    system.database.execute("UPDATE chasqui_audit SET at = at - INTERVAL 2 HOUR WHERE action = 'worker_add'")
    assert actions("since=3600&action=worker") == ["worker_set", "worker_want"]
    page = system.ops.get(f"{OPS}/audit?since=3600&action=worker&limit=1").expect(200).json
    assert page["next_cursor"] and [row["action"] for row in system.ops.get(f"{OPS}/audit?since=3600&action=worker&limit=1&cursor={page['next_cursor']}").json["audit"]] == ["worker_want"]
    assert system.ops.get(f"{OPS}/audit?since=3600&action=worker&cursor={page['next_cursor']}").json["next_cursor"] is None
    system.ops.get(f"{OPS}/audit?since=soon").expect(422, "validation_failed")
    said = system.ctl("audit", "list", "--subject", session).stdout
    assert "session_close" in said and "asked by phone" in said
    assert [row["action"] for row in system.ctl_json("audit", "list", "--action", "worker", "--since", "1h")["audit"]] == ["worker_set", "worker_want"]
    assert system.ctl("audit", "list", "--actor", "nobody").stdout == "no such rows\n"
    assert "--since" in system.ctl("audit", "list", "--since", "x", check=False).stderr


def test_an_app_token_that_closes_is_in_the_trail(make_system):
    system = make_system()
    session, uid = system.api.login(35003), system.api.active(35003).json["job_id"]
    system.api.close(session).expect(200)
    row = system.ctl_json("audit", "list", "--subject", session)["audit"]
    assert len(row) == 1 and row[0]["action"] == "session_close" and row[0]["actor"].startswith("token:")
    assert (row[0]["subject"], row[0]["detail"]) == (f"job:{uid}", f"active -> closed; session {session}, company 35003")
    for how in (("--subject", session[:6]), ("--subject", f"job:{uid}"), ("--search", 35003), ("--search", session[:8])):
        assert system.ctl_json("audit", "list", "--action", "session", *how)["audit"] == row, how
    assert system.ctl("audit", "list", "--subject", session[:5], "--action", "session").stdout == "no such rows\n"
    system.api.close(session).expect(410, "session_closed")
    assert len(audited(system, "session_close")) == 1, "one for each close"
    system.database.execute("UPDATE chasqui_sessions SET robot_session_id = 'gone'")
    assert system.ctl_json("audit", "list", "--subject", session)["audit"] == row, "the row outlives its session"


def test_which_token_is_limited(make_system):
    system = make_system()
    session = system.api.login(1)
    token = system.make_token(1, "app", 3, "--name", "too fast")
    fast = Api(system.api_url(), token)
    answers = [fast.list(session).status for _ in range(6)]
    assert answers.count(200) == 3 and answers.count(429) == 3
    used = system.ops.get(f"{OPS}/tokens/use").expect(200).json["tokens"]
    assert used[0]["name"] == "too fast" and (used[0]["calls"], used[0]["limited"]) == (3, 3) and used[0]["id"] == int(token.split("|")[0])
    assert used[0]["last_at"] >= used[0]["last_limited_at"] and all(one["limited"] == 0 for one in used[1:])


def check(system, *words):
    told = system.ctl("check", *words, check=False)
    assert not told.stderr and len(told.stdout.splitlines()) == 1, told
    return told.returncode, told.stdout


def test_one_line_for_nagios(make_system):
    system = make_system(robots=2)
    system.api.login(1)

    def says(code, *words):
        """Waits for a line of that code with these words."""

        def one_line():
            found, line = check(system, *words)
            assert found == code, line
            return line

        return wait_until(one_line, 15, f"it ends with {code}")

    line = wait_until(lambda: "places_used=1" in (line := says(0)) and line, 15)
    assert line.startswith("CHASQUI OK - All is well") and " | waiting=0 " in line and "places=20" in line
    assert json.loads(says(0, "--json"))["level"] == "ok"
    system.robots["r2"].kill9()
    assert says(1).startswith("CHASQUI WARNING - ")
    system.robots["r1"].kill9()
    line = json.loads(says(2, "--json"))
    assert line["ok"] is False and line["level"] == "critical"
    conf = system.write_conf("no-token", {**system.settings, "ctl.token": "9|nothing"})
    told = system.ctl("check", conf=conf, check=False)
    assert told.returncode == 2 and "ctl.token" in told.stdout and not told.stderr
    system.broker.stop()
    told = system.ctl("check", check=False)
    assert told.returncode == 2 and told.stdout.startswith("CHASQUI CRITICAL - no broker answers at ") and not told.stderr


def test_no_filter_is_too_odd_for_the_database(make_system):
    """Each filter of each list, as the description of the API has them: what cannot be found is not found, or is 422; the database refuses nothing."""
    system = make_system(robots=1)
    session = system.api.login(7)
    wrong = []
    for path, methods in json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"].items():
        filters = [one["name"] for one in methods.get("get", {}).get("parameters", ()) if one.get("in") == "query"]
        for name in filters if "{" not in path and "/events" not in path else ():
            for value in ("ñ", "日本", "😀", "%_\\", "' OR 1=1 --", "\u00a0", "İ", "0", "-1", "99999999999999999999", "a" * 300, session):
                client = system.ops if "/ops/" in path else system.api
                answer = client.get(path, query={name: value})
                if answer.status not in (200, 404, 410, 422):
                    wrong.append(f"{path}?{name}={value}: {answer.status} {answer.error}")
    assert not wrong, "\n".join(wrong)
