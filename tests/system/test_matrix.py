# SPDX-License-Identifier: MIT
"""Every route of broker/routes.def against {no token, foreign company, missing ability, revoked, another tenant's id}.

A new route needs a row in ROWS: what its request looks like, and where it takes a company or the id of something that belongs to one.
"""

import json
import re
import time
from dataclasses import dataclass, field

import pytest

from harness.http import Api
from harness.system import ROOT
from harness.wait import last_before

ROUTES = {
    (listener, method, path): ability
    for listener, method, path, ability in re.findall(
        r'^ROUTE\(LISTENER_(\w+), "(\w+)", "([^"]+)", ABILITY_(\w+),', (ROOT / "broker/routes.def").read_text(), re.M
    )
}
LOGIN = {"portal": "sunat", "action": "sunat.menu_sol_login"}
FIELD_FIRST = {int: (), str: ((422, "validation_failed"),)}  # a company as a text may be refused as a field
NOTHING = {"session": "no-such-session", "job": "987654321", "uid": "NOSUCHJOB123-1750000000", "batch": "987654321"}
A, O = "/api/v1/app", "/api/v1/ops"


@dataclass
class Row:
    thing: str = ""  # what {} stands for: session, job, batch, or a word of its own
    query: dict = field(default_factory=dict)  # its values may be "{session}" and the like
    body: dict | None = None
    company: str = ""  # "query" or "body": there it takes a company_id
    is_open: bool = False  # no token is asked for
    also: list = field(default_factory=list)  # more things that {} may stand for


OPEN = Row(is_open=True)
READ = Row()
ACT = Row(body={"reason": "matrix"})
ROWS = {
    ("APP", "GET", f"{A}/buzon/list"): Row(query={"session_id": "{session}"}),
    ("APP", "GET", f"{A}/buzon/download"): Row(query={"session_id": "{session}", "file_token": "f1"}),
    ("APP", "POST", f"{A}/jobs/execute"): Row(body={**LOGIN, "action": "sunat.echo", "session_id": "{session}", "company_id": 2}, company="body"),
    ("APP", "GET", f"{A}/sessions/active"): Row(query={"portal": "sunat"}, company="query"),
    ("APP", "GET", f"{A}/jobs"): Row(query={"batch_id": "{batch}"}, company="query"),
    ("APP", "POST", f"{A}/batches"): Row(body={**LOGIN, "items": [{"company_id": 1}]}, company="items"),
    ("APP", "GET", f"{A}/sessions/{{}}"): Row("session"),
    ("APP", "DELETE", f"{A}/sessions/{{}}"): Row("session"),
    ("APP", "GET", f"{A}/jobs/{{}}"): Row("job", also=["uid"]),
    ("APP", "DELETE", f"{A}/jobs/{{}}"): Row("job", also=["uid"]),
    ("APP", "GET", f"{A}/batches/{{}}"): Row("batch"),
    ("APP", "DELETE", f"{A}/batches/{{}}"): Row("batch"),
    ("APP", "GET", f"{A}/batches/{{}}/events"): Row("batch"),
    ("APP", "GET", f"{A}/batches/{{}}/items"): Row("batch"),
    ("APP", "POST", f"{A}/sessions/{{}}/touch"): Row("session"),
    ("APP", "PUT", f"{A}/credentials"): Row(body={"company_id": 2, "portal": "sunat", "credentials": {"usuario": "u"}}, company="body"),
    ("APP", "DELETE", f"{A}/credentials"): Row(body={"company_id": 2, "portal": "sunat"}, company="body"),
    ("APP", "ANY", f"{A}/robot/{{*}}"): Row(query={"session_id": "{session}"}),
    ("OPS", "GET", f"{O}/tokens"): READ,
    ("OPS", "POST", f"{O}/tokens"): Row(body={"abilities": ["app"], "companies": [2], "reason": "matrix"}),
    ("OPS", "DELETE", f"{O}/tokens/{{}}"): Row("987654321", body={"reason": "matrix"}),
    ("APP", "GET", f"{A}/batches/{{}}/results"): Row("batch"),
    ("APP", "GET", f"{A}/batches/{{}}/items/{{}}/results"): Row("batch"),
    ("APP", "GET", "/api/v1/openapi.json"): OPEN,
    ("OPS", "GET", "/api/v1/openapi.json"): OPEN,
    ("OPS", "GET", "/healthz"): OPEN,
    ("OPS", "GET", "/readyz"): OPEN,
    ("OPS", "GET", "/metrics"): OPEN,
    ("OPS", "GET", "/"): OPEN,
    ("OPS", "GET", "/dashboard/{}"): OPEN,
    ("OPS", "POST", "/login"): OPEN,
    ("OPS", "POST", "/logout"): OPEN,
    ("OPS", "GET", f"{O}/me"): READ,
    ("OPS", "GET", f"{O}/stats"): READ,
    ("OPS", "GET", f"{O}/dispatchers"): READ,
    ("OPS", "GET", f"{O}/workers"): READ,
    ("OPS", "GET", f"{O}/sessions"): READ,
    ("OPS", "GET", f"{O}/doctor"): READ,
    ("OPS", "GET", f"{O}/jobs"): READ,
    ("OPS", "GET", f"{O}/batches"): READ,
    ("OPS", "GET", f"{O}/audit"): READ,
    ("OPS", "GET", f"{O}/errors"): READ,
    ("OPS", "GET", f"{O}/history"): READ,
    ("OPS", "GET", f"{O}/tokens/use"): READ,
    ("OPS", "GET", f"{O}/events"): READ,
    ("OPS", "GET", f"{O}/queue"): READ,
    ("OPS", "GET", f"{O}/portals"): READ,
    ("OPS", "GET", f"{O}/alerts"): READ,
    ("OPS", "POST", f"{O}/alerts/{{}}/ack"): Row("987654321", body={"reason": "matrix"}),
    ("OPS", "POST", f"{O}/alerts/mute"): Row(body={"code": "matrix", "for_s": 1}),
    ("OPS", "POST", f"{O}/alerts/unmute"): Row(body={"code": "matrix"}),
    ("OPS", "POST", f"{O}/alerts/test"): ACT,
    ("OPS", "GET", f"{O}/jobs/{{}}"): Row("job"),
    ("OPS", "GET", f"{O}/jobs/{{}}/why"): Row("job"),
    ("OPS", "POST", f"{O}/jobs/bulk"): Row(body={"action": "cancel", "filter": {"status": "queued"}}),
    ("OPS", "POST", f"{O}/queue/pause"): ACT,
    ("OPS", "POST", f"{O}/queue/resume"): ACT,
    ("OPS", "POST", f"{O}/workers"): Row(body={"name": "matrix", "base_url": "http://127.0.0.1:9"}),
    ("OPS", "PATCH", f"{O}/workers/{{}}"): Row("r1", body={"capacity": 9}),
    ("OPS", "POST", f"{O}/workers/{{}}/disable"): Row("r1", body={"reason": "matrix"}),
    ("OPS", "POST", f"{O}/workers/{{}}/enable"): Row("r1", body={"reason": "matrix"}),
    ("OPS", "POST", f"{O}/workers/{{}}/drain"): Row("r1", body={"reason": "matrix"}),
    ("OPS", "POST", f"{O}/workers/{{}}/resume"): Row("r1", body={"reason": "matrix"}),
    ("OPS", "POST", f"{O}/sessions/{{}}/close"): Row("session", body={"reason": "matrix"}),
    ("OPS", "POST", f"{O}/sessions/{{}}/migrate"): Row("session", body={"reason": "matrix"}),
    ("OPS", "GET", f"{O}/companies/{{}}"): Row("1"),
    ("OPS", "GET", f"{O}/batches/{{}}"): Row("batch"),
    ("OPS", "GET", f"{O}/batches/{{}}/items"): Row("batch"),
    ("OPS", "GET", f"{O}/credentials/refused"): READ,
    ("OPS", "POST", f"{O}/credentials/lift"): Row(body={"company_id": 2, "portal": "sunat", "reason": "matrix"}),
    ("OPS", "GET", f"{O}/schedules"): READ,
    ("OPS", "POST", f"{O}/schedules/{{}}/run"): Row("morning", body={"reason": "matrix"}),
    ("OPS", "POST", f"{O}/schedules/{{}}/enable"): Row("morning", body={"reason": "matrix"}),
    ("OPS", "POST", f"{O}/schedules/{{}}/disable"): Row("morning", body={"reason": "matrix"}),
    ("OPS", "POST", f"{O}/batches/{{}}/priority"): Row("batch", body={"priority": 5, "reason": "matrix"}),
    ("OPS", "POST", f"{O}/batches/{{}}/cancel"): Row("batch", body={"reason": "matrix"}),
    ("OPS", "POST", f"{O}/jobs/{{}}/retry"): Row("job", body={"reason": "matrix"}),
    ("OPS", "POST", f"{O}/jobs/{{}}/cancel"): Row("job", body={"reason": "matrix"}),
}  # fmt: skip


def filled(value, things):
    text = json.dumps(value)
    for name, thing in things.items():
        text = text.replace("{" + name + "}", str(thing))
    return json.loads(text)


class Asker:
    def __init__(self, system):
        self.system = system

    def ask(self, route, token, things, thing=None, **more):
        """The whole answer; of events only the head, and what an error says."""
        listener, method, path = route
        row = ROWS[route]
        api = Api(self.system.api_url() if listener == "APP" else self.system.ops_url, token)
        target = path.replace("{}", str(things.get(thing or row.thing, row.thing or "x")))
        query = {**filled(row.query, things), **more.get("query", {})}
        body = {**filled(row.body, things), **more.get("body", {})} if row.body is not None else None
        target, method = target.replace("{*}", "sunat/other/x"), {"ANY": "POST"}.get(method, method)
        answer = api.open(method, target, body, query=query, headers={"X-Request-Id": "matrix", **more.get("headers", {})}, timeout=15)
        try:
            is_endless = answer.status == 200 and answer.headers["Content-Type"].startswith("text/event-stream")
            kept = {name: value for name, value in answer.headers.items() if name not in ("Date", "X-RateLimit-Remaining", "X-RateLimit-Reset")}
            return answer.status, kept, b"" if is_endless else answer.read()
        finally:
            answer.connection.close()


def code_of(answer):
    try:
        return json.loads(answer[2]).get("error")
    except ValueError:
        return None


@pytest.fixture
def world(make_system):
    """Everything that company 1 may own; and tokens of all kinds."""
    system = make_system(actions={"sunat.echo": {"method": "POST", "path": "/sunat/echo", "session": "use", "timeout_ms": 5000}}, settings={"robot.pass": "/sunat/other"})
    session = system.api.login(1)
    batch = system.api.batch([1, 19], available_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))).expect(202).json["batch_id"]
    active = system.api.active(1).json
    job = system.api.job(active["job_id"]).json["job"]
    things = {"session": session, "job": job["id"], "uid": job["job_uid"], "batch": batch}
    return system, Asker(system), things


def test_each_route_has_a_row():
    assert set(ROUTES) == set(ROWS), f"missing: {set(ROUTES) - set(ROWS)}, gone: {set(ROWS) - set(ROUTES)}"
    for route, ability in ROUTES.items():
        assert ROWS[route].is_open == (ability == "NONE"), route
        assert route[0] == "OPS" or "{}" not in route[2] or ROWS[route].thing in NOTHING, f"{route}: say whose {{}} is"


def test_the_matrix(world):
    system, asker, things = world
    guarded = [route for route in ROUTES if not ROWS[route].is_open]
    other = system.make_token(2, "app")
    # no token
    for route in guarded:
        for token in (None, "1|wrong", "x" * 300):
            answer = asker.ask(route, token, things)
            assert answer[0] == 401 and code_of(answer) == "unauthenticated", (route, token, answer)
    # missing ability; and an operator's ability that is not for every company, which the command does not make
    reader, plain, narrow = system.make_token("*", "ops:read"), system.make_token("*", "app"), system.make_token(2, "app")
    system.database.execute("UPDATE chasqui_tokens SET abilities = 'app,ops' WHERE id = %s", narrow.split("|")[0])
    for route in guarded:
        lacking = [reader] if ROUTES[route] in ("APP", "OPS") else []
        lacking += [plain, other, narrow] if route[0] == "OPS" else []
        for token in lacking:
            answer = asker.ask(route, token, things)
            assert answer[0] == 403 and code_of(answer) == "forbidden", (route, token, answer)
    # foreign company, wherever one is named, as a number and as PHP writes it
    for route in guarded:
        where = ROWS[route].company
        if not where:
            continue
        for company in (1, "1"):
            if where == "items":
                answer = asker.ask(route, other, things, body={"items": [{"company_id": company}, {"company_id": 2}]})
                told = json.loads(answer[2])
                assert answer[0] == 202 and told["accepted"] == 1 and told["rejected"][0]["error"] == "company_forbidden", (route, answer)
            else:
                answer = asker.ask(route, other, things, **{where: {"company_id": company}})
                assert (answer[0], code_of(answer)) in ((403, "company_forbidden"), *FIELD_FIRST[type(company)]), (route, answer)
    # what belongs to another tenant is what does not exist: same status, same head, same bytes
    for route in guarded:
        row = ROWS[route]
        if route[0] != "APP" or not (row.thing or filled([row.query, row.body], things) != [row.query, row.body]):
            continue
        for thing in [row.thing, *row.also]:
            theirs, none = (asker.ask(route, other, which, thing) for which in (things, NOTHING))
            assert theirs == none, (route, thing, theirs, none)
            assert theirs[0] == 404 or not ROWS[route].thing, (route, theirs)
    # nothing of it did anything
    system.api.session(things["session"]).expect(200)
    assert system.api.job(things["job"]).json["job"]["status"] == "done"
    assert system.api.get(f"{A}/batches/{things['batch']}").json["batch"]["counts"]["cancelled"] == 0
    assert not [call for call in system.robot.calls() if call["call"] in ("list", "file", "echo", "delete", "other")]


def test_a_key_is_its_company_s_and_its_token_s_own(world):
    """An Idempotency-Key that two tenants choose alike, one token for both companies included, is two keys."""
    system, _, _ = world
    mine, theirs = (Api(system.api_url(), system.make_token(company, "app")) for company in (3, 4))
    key = {"Idempotency-Key": "shared"}
    told = [api.execute(company, headers=key, params={"usuario": "u"}).expect(200)
            for api, company in ((mine, 3), (theirs, 4), (system.api, 5))]  # fmt: skip
    assert all(answer.headers["Idempotency-Replayed"] is None for answer in told)
    assert len({answer.json["session_id"] for answer in told}) == len({answer.json["job_id"] for answer in told}) == 3
    again = system.api.execute(3, headers=key, params={"usuario": "u"}).expect(200)
    assert again.headers["Idempotency-Replayed"] == "true" and again.json == told[0].json, "a company's key, whoever acts for it"
    mine.execute(4, headers=key, params={"usuario": "u"}).expect(403, "company_forbidden")
    batches = [api.batch([{"company_id": company}], headers=key).expect(202) for api, company in ((mine, 3), (theirs, 4))]
    assert all(answer.headers["Idempotency-Replayed"] is None for answer in batches)
    assert batches[0].json["batch_id"] != batches[1].json["batch_id"]
    own = [api.get(f"{A}/jobs?limit=200").expect(200).json["jobs"] for api in (mine, theirs)]
    assert [{job["company_id"] for job in jobs} for jobs in own] == [{3}, {4}]


def test_revoked_tokens_are_refused_everywhere_within_5_seconds(world):
    system, asker, things = world
    app, ops = system.make_token(1, "app"), system.make_token("*", "ops")
    Api(system.api_url(), app).active(1).expect(200)
    Api(system.ops_url, ops).get(f"{O}/me").expect(200)
    events = Api(system.api_url(), app).open("GET", f"{A}/batches/{things['batch']}/events", timeout=20)
    for token in (app, ops):  # behind the back of every process: nobody is told
        system.database.execute("UPDATE chasqui_tokens SET revoked_at = NOW() WHERE id = %s", token.split("|")[0])
    began = time.monotonic()
    for ask in (lambda: Api(system.api_url(), app).active(1), lambda: Api(system.ops_url, ops).get(f"{O}/me")):
        asked = time.monotonic() - began
        assert asked + last_before(ask, 401, 8) < max(5.1, asked + 0.1), "who asks later than that is refused, however long the answer takes"
    try:
        while events.readline():
            assert time.monotonic() - began < 12, "events go on after the token's end"
    finally:
        events.connection.close()
    for route, ability in ROUTES.items():
        if not ROWS[route].is_open:
            answer = asker.ask(route, app if ability == "APP" else ops, things)
            assert answer[0] == 401, (route, answer)
