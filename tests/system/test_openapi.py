# SPDX-License-Identifier: MIT
"""The description of the API: valid, the same that the programs were made from, and what a running system answers fits it."""

import json
import re

import jsonschema

from harness.http import Client
from harness.system import ROOT, program


def made():
    return json.loads((program("made") / "openapi.json").read_text())


METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def look_at(spec):
    """What the OpenAPI 3.1 specification asks of a document, as far as this one uses it; Debian 12 has no validator of it."""
    assert set(spec) <= {"openapi", "info", "servers", "paths", "components", "security", "tags"} and {"title", "version"} <= set(spec["info"])

    def references(value):
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for one in value.values():
                yield from references(one)
        elif isinstance(value, list):
            for one in value:
                yield from references(one)

    for reference in set(references(spec)):
        at = spec
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]

    def schemas():
        yield from spec["components"]["schemas"].values()
        for path, item in spec["paths"].items():
            for method in METHODS & set(item):
                operation = item[method]
                yield from (one["schema"] for one in operation["parameters"] if "schema" in one)
                for content in (operation.get("requestBody", {}), *(row for row in operation["responses"].values())):
                    yield from (media["schema"] for media in content.get("content", {}).values())

    for schema in schemas():
        jsonschema.Draft202012Validator.check_schema(schema)
    for name, schema in spec["components"]["schemas"].items():
        checker = jsonschema.Draft202012Validator({**schema, "components": spec["components"]})
        for example in schema.get("examples", []):
            checker.validate(example)
    operations = [(path, method, item[method]) for path, item in spec["paths"].items() for method in METHODS & set(item)]
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(ids) == len(set(ids)) > 60
    for path, method, operation in operations:
        where = [(one["in"], one["name"]) for one in operation["parameters"] if "$ref" not in one]
        assert path.startswith("/") and len(where) == len(set(where)), path
        assert {name for of, name in where if of == "path"} == set(re.findall(r"{(\w+)}", path)), path
        assert all(one["required"] for one in operation["parameters"] if one.get("in") == "path"), path
        assert set(operation) <= {"operationId", "tags", "summary", "description", "security", "parameters", "requestBody", "responses"}
        assert all("description" in row or "$ref" in row for row in operation["responses"].values()), path


def test_the_description_is_valid_and_whole():
    spec = made()
    assert spec["openapi"] == "3.1.0"
    look_at(spec)
    assert json.loads((ROOT / "docs/openapi.json").read_text()) == spec, "cp build/made/openapi.json docs/openapi.json"
    routes = re.findall(r'^ROUTE\(LISTENER_\w+, "(\w+)", "([^"]+)",', (ROOT / "broker/routes.def").read_text(), re.M)
    known = {(method.upper(), re.sub(r"\{\w+\}", "{}", path)) for path, item in spec["paths"].items() for method in item}
    for method, path in routes:
        for one in ["GET", "POST", "PUT", "PATCH", "DELETE"] if method == "ANY" else [method]:
            assert (one, path.replace("{*}", "{}")) in known, (one, path)
    codes = re.findall(r'^ERR\(\w+, "(\w+)"', (ROOT / "common/errors.def").read_text(), re.M)
    assert set(spec["components"]["schemas"]["ErrorCode"]["enum"]) == set(codes)
    for path, item in spec["paths"].items():
        for method, operation in item.items():
            for parameter in operation.get("parameters", []) if isinstance(operation, dict) else []:
                assert "$ref" in parameter or parameter["description"] and parameter["schema"], (path, method, parameter)
    properties = [
        (name, field, schema)
        for name, whole in spec["components"]["schemas"].items()
        for field, schema in whole.get("properties", {}).items()
    ]
    assert len(properties) > 60
    assert not [row for row in properties if not ({"type", "$ref", "const", "anyOf", "description"} & set(row[2]))]


def test_answers_fit_their_description(make_system):
    system = make_system(settings={"robot.pass": "/sunat/other"})
    spec = Client(system.api_url()).get("/api/v1/openapi.json").expect(200).json
    assert spec == Client(system.ops_url).get("/api/v1/openapi.json").expect(200).json == made()
    seen = set()

    def fits(answer, method, path):
        responses = spec["paths"][path][method]["responses"]
        row = responses.get(str(answer.status), responses["default"])
        if "$ref" in row:
            row = spec["components"]["responses"]["Error"]
        (schema,) = [content["schema"] for content in row["content"].values()]
        checker = jsonschema.Draft202012Validator({**schema, "components": spec["components"]})
        problems = [f"{list(error.absolute_path)}: {error.message}" for error in checker.iter_errors(answer.json)]
        assert not problems, (method, path, answer.status, problems, answer)
        seen.add((method, path, answer.status))
        return answer

    app, ops, api, desk = "/api/v1/app", "/api/v1/ops", system.api, system.ops
    login = fits(api.execute(1, params={"usuario": "u"}), "post", f"{app}/jobs/execute").expect(200).json
    fits(api.execute(1), "post", f"{app}/jobs/execute").expect(200)
    session, job = login["session_id"], login["job_id"]
    queued = fits(api.queue(2), "post", f"{app}/jobs/execute").expect(202).json
    batch = fits(api.batch([3, 4, {"company_id": 0}], name="n"), "post", f"{app}/batches").expect(202).json["batch_id"]
    fits(api.list(session), "get", f"{app}/buzon/list").expect(200)
    fits(api.active(1), "get", f"{app}/sessions/active").expect(200)
    fits(api.session(session), "get", f"{app}/sessions/{{session_id}}").expect(200)
    fits(api.post(f"{app}/sessions/{session}/touch"), "post", f"{app}/sessions/{{session_id}}/touch").expect(200)
    for one in (job, queued["job_id"], queued["job_uid"]):
        fits(api.job(one), "get", f"{app}/jobs/{{job}}").expect(200)
    fits(api.get(f"{app}/jobs?limit=10"), "get", f"{app}/jobs").expect(200)
    fits(api.get(f"{app}/batches/{batch}"), "get", f"{app}/batches/{{batch_id}}").expect(200)
    fits(api.get(f"{app}/batches/{batch}/items"), "get", f"{app}/batches/{{batch_id}}/items").expect(200)
    fits(api.put(f"{app}/credentials", {"company_id": 1, "portal": "sunat", "credentials": {"usuario": "u"}}), "put", f"{app}/credentials").expect(200)
    fits(api.delete(f"{app}/credentials", {"company_id": 1, "portal": "sunat"}), "delete", f"{app}/credentials").expect(200)
    for path in ("me", "stats", "dispatchers", "workers", "sessions", "jobs", "batches", "audit", "tokens", "tokens/use", "errors", "queue", "portals", "doctor"):
        fits(desk.get(f"{ops}/{path}"), "get", f"{ops}/{path}").expect(200)
    fits(desk.get(f"{ops}/jobs/{job}"), "get", f"{ops}/jobs/{{job}}").expect(200)
    token = fits(desk.post(f"{ops}/tokens", {"abilities": ["app"], "companies": [5]}), "post", f"{ops}/tokens").expect(201).json
    fits(desk.delete(f"{ops}/tokens/{token['id']}"), "delete", f"{ops}/tokens/{{id}}").expect(200)
    fits(desk.post(f"{ops}/queue/pause", {"reason": "r", "portal": "sunat"}), "post", f"{ops}/queue/pause").expect(200)
    fits(desk.post(f"{ops}/queue/resume", {"portal": "sunat"}), "post", f"{ops}/queue/resume").expect(200)
    fits(api.close(session), "delete", f"{app}/sessions/{{session_id}}").expect(200)
    # refusals: one shape, and each code is in the list
    fits(api.session(session), "get", f"{app}/sessions/{{session_id}}").expect(410, "session_closed")
    fits(api.session("nobody"), "get", f"{app}/sessions/{{session_id}}").expect(404, "session_not_found")
    fits(api.execute(None), "post", f"{app}/jobs/execute").expect(422, "validation_failed")
    fits(Client(system.api_url()).get(f"{app}/jobs"), "get", f"{app}/jobs").expect(401, "unauthenticated")
    fits(desk.get(f"{ops}/jobs?statuss=x"), "get", f"{ops}/jobs").expect(422, "validation_failed")
    fits(api.delete(f"{app}/jobs/{job}"), "delete", f"{app}/jobs/{{job}}").expect(409, "wrong_state")
    assert len(seen) > 30
