# SPDX-License-Identifier: MIT
"""Every code of common/errors.def, provoked: a code without a row here fails, and so does a row without a code.

A row is a function that brings about the answer; the table says with which HTTP status it comes. One system serves them all, so a
row leaves it as it found it.
"""

import re
import threading
from types import SimpleNamespace

import pytest
from harness.http import Api, Client, raw
from harness.system import ROOT
from harness.wait import wait_until

TABLE = {(code, int(status)) for code, status in re.findall(r'^ERR\(\w+, "(\w+)", (\d+)', (ROOT / "common" / "errors.def").read_text(), re.M)}
ROWS = {}
ACTIONS = {"sunat.echo": {"method": "POST", "path": "/sunat/echo", "session": "use", "timeout_ms": 20000},
           "small.login": {"method": "POST", "path": "/small/login", "session": "create"}}
PORTALS = {"small": {"logins_per_minute": 1}}
SETTINGS = {"dispatcher.concurrency": 2, "queue.max_depth": 1, "session.migrate_timeout_s": 10, "auth.laravel_view": "no_such_view"}


class World:
    def __init__(self, system, mariadb):
        self.system, self.mariadb = system, mariadb
        self.company = 100

    def __getattr__(self, name):
        return getattr(self.system, name)

    def login(self, **more):
        """A session of a company that nobody had before."""
        self.company += 1
        return self.api.login(self.company, **more)

    def narrow(self, company, **more):
        return Api(self.api_url(), self.system.make_token(company, **more))


def provokes(code, status=None):
    """status: for a code that comes with several."""

    def keep(fn):
        rows = [row for row in TABLE if row[0] == code and status in (None, row[1])] or [(code, status)]
        assert len(rows) == 1 and rows[0] not in ROWS, f"{code}: which status?"
        ROWS[rows[0]] = fn
        return fn

    return keep


def well(world):
    """Between rows: robots good, nobody logged in."""
    for robot in world.robots.values():
        robot.behave_well()
    for row in world.database.rows("SELECT robot_session_id AS id FROM chasqui_sessions WHERE state = 'active'"):
        world.api.close(row["id"])
    return world.database.value("SELECT COUNT(session_ref) FROM chasqui_places") == 0


# --- what the broker refuses ---------------------------------------------------------------------------------------


@provokes("bad_request")
def _(world):
    return world.api.post("/api/v1/app/jobs/execute", body=b"{", headers={"Content-Type": "application/json"})


@provokes("headers_too_large")
def _(world):
    text = raw(world.api_url(), b"GET /api/v1/app/buzon/list HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 17000 + b"\r\n\r\n").decode()

    class Told:
        status = int(text.split(" ", 2)[1])
        error = re.search(r'"error":"(\w+)"', text)[1]

    return Told


@provokes("not_found")
def _(world):
    return world.api.get("/api/v1/app/nothing")


@provokes("method_not_allowed")
def _(world):
    return world.api.post("/api/v1/app/buzon/list", {})


@provokes("unauthenticated")
def _(world):
    return Client(world.api_url()).get("/api/v1/app/jobs")


@provokes("forbidden")
def _(world):
    return Api(world.ops_url, world.make_token(1, "app")).get("/api/v1/ops/stats")


@provokes("rate_limited")
def _(world):
    api = world.narrow(1, rate=1)
    api.active(1)
    return api.active(1)


@provokes("payload_too_large")
def _(world):
    return world.api.post("/api/v1/app/jobs/execute", body=b" " * 1_100_000, headers={"Content-Type": "application/json"})


@provokes("unsupported_media_type")
def _(world):
    return world.api.post("/api/v1/app/jobs/execute", body=b"a=1", headers={"Content-Type": "application/x-www-form-urlencoded"})


@provokes("validation_failed")
def _(world):
    return world.api.execute(0)


@provokes("company_forbidden")
def _(world):
    return world.narrow(1).active(2)


@provokes("queue_full")
def _(world):
    session, answers = world.login(), []
    world.robot.behave("list", "hang")
    many = [threading.Thread(target=lambda: answers.append(world.api.list(session, headers={"X-Deadline-Ms": "3000"}))) for _ in range(30)]
    for one in many:
        one.start()
    for one in many:
        one.join()
    world.robot.behave_well()
    return next((answer for answer in answers if answer.error == "queue_full"), answers[0])


@provokes("deadline_exceeded")
def _(world):
    session = world.login()
    world.robot.behave("list", "hang", times=1)
    return world.api.list(session, headers={"X-Deadline-Ms": "500"})


# --- what is not there, or not any more --------------------------------------------------------------------------------


@provokes("session_not_found")
def _(world):
    return world.api.list("nobody")


@provokes("job_not_found")
def _(world):
    return world.api.job(10**12)


@provokes("batch_not_found")
def _(world):
    return world.api.get(f"/api/v1/app/batches/{10**12}")


@provokes("file_not_found")
def _(world):
    return world.api.download(world.login(), "nothing")


@provokes("session_closed")
def _(world):
    session = world.login()
    world.api.close(session).expect(200)
    return world.api.list(session)


@provokes("session_expired")
def _(world):
    session = world.login()
    world.robot.forget(session)
    return world.api.list(session)


@provokes("session_lost")
def _(world):
    session = world.login()
    world.robot.reboot()
    return wait_until(lambda: (answer := world.api.list(session)).error == "session_lost" and answer, 20, "the restart is noticed")


@provokes("wrong_state")
def _(world):
    job = world.api.execute(1, params={"clave": "demo"}).expect(200).json["job_id"]
    return world.api.delete(f"/api/v1/app/jobs/{job}")


@provokes("login_in_progress")
def _(world):
    world.robot.behave("login", "delay", ms=6000, times=1)
    first = threading.Thread(target=world.api.execute, args=(2,))
    first.start()
    world.robot.wait_call("login", 2)
    answer = world.api.execute(2)
    first.join()
    return answer


@provokes("idempotency_mismatch")
def _(world):
    headers = {"Idempotency-Key": "codes"}
    world.api.execute(3, params={"clave": "demo"}, headers=headers).expect(200)
    return world.api.execute(3, params={"clave": "other"}, headers=headers)


# --- robots ---------------------------------------------------------------------------------------------------------------


@provokes("robot_error")
def _(world):
    world.robot.behave("login", "status", status=422, body={"ok": False, "error": "bad_credentials", "message": "no"}, times=1)
    return world.api.execute(4)


@provokes("robot_bad_response")
def _(world):
    session = world.login()
    world.robot.behave("list", "html", times=1)
    return world.api.list(session)


@provokes("robot_unreachable", 502)
def _(world):
    session = world.login()
    world.robot.behave("list", "reset")
    return world.api.list(session)


@provokes("robot_unreachable", 503)
def _(world):
    """It is judged down, and its session is kept."""
    session = world.login()
    world.robot.pause()
    answer = wait_until(lambda: (got := world.api.list(session, headers={"X-Deadline-Ms": "1000"})).status == 503 and got, 20, "it is judged down")
    world.robot.resume()
    wait_until(lambda: world.api.list(session).status == 200, 30, "it goes on")
    return answer


@provokes("no_free_worker")
def _(world):
    for _ in range(3):
        world.login()
    return world.api.execute(5)


@provokes("portal_unavailable")
def _(world):
    world.api.execute(7001, "small", "small.login").expect(200)
    return world.api.execute(7002, "small", "small.login")


@provokes("session_migrating")
def _(world):
    """Its robot restarted, and no other one has a place for it."""
    session = world.login(remember=True)
    world.robot.behave("login", "hang")
    world.robot.reboot()
    answer = wait_until(lambda: (got := world.api.list(session, headers={"X-Deadline-Ms": "1500"})).status != 200 and got, 20, "the restart is noticed")
    world.robot.behave_well()
    wait_until(lambda: world.api.list(session).status in (200, 410), 60, "the migration is over")
    return answer


# --- our own processes, and the database -------------------------------------------------------------------------------------


@provokes("outcome_unknown")
def _(world):
    session = world.login()
    world.robot.behave("echo", "hang", times=1)
    answers = []
    body = {"company_id": world.company, "portal": "sunat", "action": "sunat.echo", "session_id": session}
    caller = threading.Thread(target=lambda: answers.append(world.api.post("/api/v1/app/jobs/execute", body)))
    caller.start()
    world.robot.wait_call("echo")
    world.dispatcher.kill9()
    caller.join()
    world.dispatcher.start()
    world.wait_ready()
    return answers[0]


@provokes("step_failed")
def _(world):
    """No answer of its own: an item of a batch ends with it."""
    world.company += 1
    world.robot.behave("list", "status", status=500)
    batch = world.api.batch([world.company], then=[{"action": "sunat.buzon_list"}], close=True).expect(202).json["batch_id"]
    path = f"/api/v1/app/batches/{batch}"
    wait_until(lambda: world.api.get(path).json["batch"]["finished_at"], 20, "the batch has ended")
    return SimpleNamespace(status=502, error=world.api.get(f"{path}/items").json["items"][0]["error"])


@provokes("no_dispatcher")
def _(world):
    world.dispatcher.stop()
    answer = wait_until(lambda: (got := world.api.active(1)).error == "no_dispatcher" and got, 10, "it is noticed")
    world.dispatcher.start()
    world.wait_ready()
    return answer


@provokes("database_unavailable")
def _(world):
    world.mariadb.kill9()
    answer = world.api.active(1)
    world.mariadb.start()
    wait_until(lambda: world.api.active(1).status != 503, 10, "the database is there again")  # /readyz may not know yet that it was gone
    return answer


@provokes("auth_unavailable")
def _(world):
    """Tokens of the application, and a view that is not there."""
    return Api(world.api_url(), "1|of-the-application").active(1)


@provokes("refused_by_database")
def _(world):
    world.database.execute("ALTER TABLE portal_jobs ADD CONSTRAINT no_777 CHECK (company_id <> 777)")
    answer = world.api.execute(777)
    world.database.execute("ALTER TABLE portal_jobs DROP CONSTRAINT no_777")
    return answer


def test_every_code_has_a_row():
    assert sorted(TABLE - ROWS.keys()) == [], "codes that nobody provokes: write a row, or take the code away"
    assert sorted(ROWS.keys() - TABLE, key=str) == [], "rows of codes that are no more"


@pytest.mark.long(25)
def test_every_code_is_answered(make_system, mariadb):
    world = World(make_system(capacity=3, settings=SETTINGS, actions=ACTIONS, portals=PORTALS), mariadb)
    wrong = []
    for (code, status), provoke in ROWS.items():
        if (code, status) not in TABLE:
            continue
        try:
            answer = provoke(world)
            if (answer.status, answer.error) != (status, code):
                wrong.append(f"{code}: {answer!r}")
        except AssertionError as why:
            wrong.append(f"{code}: {why}")
        wait_until(lambda: well(world), 20, f"all is well after {code}")
    assert not wrong, "\n".join(wrong)
