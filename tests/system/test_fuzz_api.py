# SPDX-License-Identifier: MIT
"""Every route with every field at its worst, made from the description of the API: an answer below 500, and nothing reaches the database that it would refuse."""

import json
import random
import re
from urllib.parse import quote

from harness.http import Api
from harness.system import program

TEXTS = ["", " ", "ñ", "\u202e", "\U0001f480", "x" * 300, "a" * 3000, "'", "\"", "\\", "%", "%00", "\x00", "\x7f", "\r\nX-Evil: 1", "../..", "null", "true", "-1", "0", "1", "9" * 19,
         "9223372036854775807", "9223372036854775808", "18446744073709551615", "1e308", "NaN", "0x10", "1.5", "2026-02-30T25:61:61Z", "0000-01-01T00:00:00Z",
         "9999-12-31T23:59:59Z", "99999-01-01T00:00:00Z", "1969-12-31T23:59:59-23:59", "2038-01-19T03:14:08Z", "{}", "[]", "*", "a,b", "sunat", "done", "failed", "active", "MTIz", "eyJ9", "MHwx"]  # fmt: skip
VALUES = [*TEXTS, None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 1e308, 0.1, [], {}, [None], ["ñ"] * 3, {"a": {"b": []}}, [{}] * 3, ["app"], [1, 2], [2**63 - 1]]


def operations():
    spec = json.loads((program("made") / "openapi.json").read_text())
    for path, item in spec["paths"].items():
        for method in ("get", "put", "post", "delete", "patch"):
            if method in item:
                yield path, method.upper(), item[method], spec


def schema_of(spec, schema):
    while "$ref" in schema:
        at = spec
        for part in schema["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        schema = at
    return schema


def test_every_field_of_every_route_at_its_worst(make_system):
    system = make_system(robots=1, settings={"robot.pass": "/sunat/other", "log.level": "info", "webhook.allow": "http://127.0.0.1:9/"})
    system.check_doctor = False
    session = system.api.login(5)
    system.api.batch([6, 7]).expect(202)
    known = {"session_id": session, "company_id": 5, "portal": "sunat", "action": "sunat.menu_sol_login", "id": 1, "params": {}, "items": [{"company_id": 8}], "name": "n", "reason": "r", "page": 1,
             "file_token": "x", "limit": 5, "credentials": {"usuario": "u"}, "base_url": "http://127.0.0.1:1", "companies": [5], "abilities": ["app"], "index": 0}  # fmt: skip
    rng, wrong, seen = random.Random(7), [], {}
    def ask(base, method, path, query, body, what, headers=None):
        target = path + ("?" + "&".join(f"{quote(k)}={quote(str(v), safe='')}" for k, v in query.items()) if query else "")
        try:
            got = Api(base, system.token, timeout=12).request(method, target, body, headers={"X-Deadline-Ms": "4000", **(headers or {})})
        except Exception as why:
            wrong.append((what, repr(why)))
            return
        seen[got.status] = seen.get(got.status, 0) + 1
        is_failed = got.status >= 500 and got.error not in ("queue_full", "robot_error", "robot_unreachable", "no_free_worker", "deadline_exceeded")
        if is_failed and got.error in ("no_dispatcher", "outcome_unknown"):  # no finding when its dispatcher got no turn for 2 s, on a busy machine
            is_failed = not re.search(r'event=dispatcher .*to=gone why="?silent', system.brokers[0].text())
        if is_failed or got.error == "refused_by_database" or "X-Evil" in got.headers:
            wrong.append((what, got.status, got.body[:300]))

    for path, method, operation, spec in operations():
        if path.endswith("/events"):
            continue  # it does not end
        base = system.ops_url if "/ops/" in path or not path.startswith("/api/v1/app") else system.api_url()
        parameters = [schema_of(spec, one) for one in operation.get("parameters", [])]
        at = {one["name"]: known.get(one["name"], "1") for one in parameters if one["in"] == "path"}
        query = {one["name"]: known.get(one["name"], "1") for one in parameters if one["in"] == "query" and one.get("required")}
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        fields = schema_of(spec, content.get("schema", {})).get("properties", {})
        required = schema_of(spec, content.get("schema", {})).get("required", [])
        body = {name: known.get(name, "x") for name in required}

        def full(given, path=path):
            return path.format(**{name: quote(str(value), safe="") for name, value in given.items()})

        for one in parameters:
            for value in ["ñ", *rng.sample(TEXTS, 9)]:
                what = (method, path, one["in"], one["name"], value[:40])
                if one["in"] == "query":
                    ask(base, method, full(at), {**query, one["name"]: value}, body if fields and method != "GET" else None, what)
                elif one["in"] == "path" and value not in ("", "../.."):
                    ask(base, method, full({**at, one["name"]: value}), query, body if fields and method != "GET" else None, what)
                elif one["in"] == "header" and value.isprintable() and value.isascii():
                    ask(base, method, full(at), query, body if fields and method != "GET" else None, what, {one["name"]: value})
        for name in fields:
            for value in rng.sample(VALUES, 9):
                ask(base, method, full(at), query, {**body, name: value}, (method, path, "body", name, str(value)[:40]))
    assert sum(seen.values()) > 1000 and not wrong, wrong[:20]
    assert system.metric("chasqui_replies_refused_total") == 0
    assert all(process.alive() for process in system.processes)
