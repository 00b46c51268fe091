# SPDX-License-Identifier: MIT
"""Tokens made and revoked over HTTP, credentials set over HTTP, and a session that is kept by a touch."""

import json
import time

from harness.http import Api
from harness.wait import ran_s, wait_until

TOKENS = "/api/v1/ops/tokens"
CREDENTIALS = "/api/v1/app/credentials"


def test_tokens_are_made_listed_and_revoked(system):
    made = system.ops.post(TOKENS, {"name": "Fachada Ñ", "abilities": ["app"], "companies": [7, "8"], "rate_per_minute": 30, "expires_s": 3600, "reason": "new front"})
    token = made.expect(201).json
    number, _, secret = token["token"].partition("|")
    assert int(number) == token["id"] and len(secret) == 48 and token["state"] == "good" and token["companies"] == [7, 8]
    assert made.headers["Cache-Control"] == "no-store"
    # It works, for its companies, under its limit.
    api = Api(system.api_url(), token["token"])
    assert api.execute(7).expect(200).headers["X-RateLimit-Limit"] == "30"
    api.execute(9).expect(403, "company_forbidden")
    # Its secret is shown once: no list, no row of the audit trail and no log holds it.
    listed = system.ops.get(TOKENS).expect(200)
    row = next(one for one in listed.json["tokens"] if one["id"] == token["id"])
    assert row == {"id": token["id"], "name": "Fachada Ñ", "state": "good", "abilities": ["app"], "all_companies": False, "companies": [7, 8], "rate_per_minute": 30,
                   "expires_at": token["expires_at"], "created_at": token["created_at"], "revoked_at": None}  # fmt: skip
    reader = Api(system.ops_url, system.make_token("*", "ops:read"))
    assert reader.get(f"{TOKENS}?limit=1").expect(200).json["next_cursor"] == listed.json["tokens"][0]["id"] + 1
    reader.post(TOKENS, {"abilities": "app", "companies": [1]}).expect(403, "forbidden")
    reader.delete(f"{TOKENS}/{token['id']}").expect(403, "forbidden")
    audit = system.database.row("SELECT * FROM chasqui_audit WHERE action = 'token_create' AND subject = %s", f"token:{token['id']}")
    assert audit["actor"].startswith("token:") and audit["detail"] == "app; Fachada Ñ: new front" and audit["peer"] and audit["request_id"]
    everything = json.dumps(system.database.rows("SELECT * FROM chasqui_audit"), default=str) + listed.body.decode()
    everything += "".join(process.log.read_text() for process in system.processes)
    assert secret not in everything
    assert str(token["id"]) in system.ctl("token", "list").stdout
    # Revoked, it is refused at once: brokers are told.
    began = ran_s()
    assert system.ops.delete(f"{TOKENS}/{token['id']}", {"reason": "left"}).expect(200).json == {"ok": True, "id": token["id"], "state": "revoked"}
    wait_until(lambda: api.active(7).status == 401, 5, "it is refused")
    assert ran_s() - began < 4
    system.ops.delete(f"{TOKENS}/{token['id']}").expect(200)  # again
    system.ops.delete(f"{TOKENS}/99999999").expect(404, "not_found")
    system.ops.delete(f"{TOKENS}/x").expect(404, "not_found")
    assert system.database.value("SELECT COUNT(*) FROM chasqui_audit WHERE action = 'token_revoke' AND subject = %s", f"token:{token['id']}") == 1
    # What is no token makes none.
    before = system.database.value("SELECT COUNT(*) FROM chasqui_tokens")
    for field, body in NO_TOKENS:
        answer = system.ops.post(TOKENS, body).expect(422, "validation_failed")
        assert field in answer.json["errors"], (body, answer)
    assert system.database.value("SELECT COUNT(*) FROM chasqui_tokens") == before


NO_TOKENS = [
    ("abilities", {"companies": [1]}),
    ("abilities", {"companies": [1], "abilities": []}),
    ("abilities", {"companies": [1], "abilities": ["root"]}),
    ("abilities", {"companies": [1], "abilities": [["app"]]}),
    ("abilities", {"companies": [1], "abilities": "ops"}),
    ("companies", {"abilities": ["app"]}),
    ("companies", {"abilities": ["app"], "companies": []}),
    ("companies", {"abilities": ["app"], "companies": [0]}),
    ("companies", {"abilities": ["app"], "companies": list(range(1, 1002))}),
    ("companies", {"abilities": ["app"], "companies": [1], "all_companies": True}),
    ("name", {"abilities": ["app"], "companies": "*", "name": "x" * 101}),
    ("name", {"abilities": ["app"], "companies": "*", "name": "a\nb"}),
    ("rate_per_minute", {"abilities": ["app"], "companies": "*", "rate_per_minute": -1}),
    ("expires_at", {"abilities": ["app"], "companies": "*", "expires_at": "2001-01-01T00:00:00Z"}),
    ("expires_at", {"abilities": ["app"], "companies": "*", "expires_at": "2999-01-01T00:00:00Z"}),
    ("expires_s", {"abilities": ["app"], "companies": "*", "expires_s": 0}),
    ("ability", {"abilities": ["app"], "companies": "*", "ability": "ops"}),
]  # fmt: skip


def test_credentials_come_in_and_never_out(system):
    secret = {"ruc": "20000000007", "usuario": "DEMO", "clave": "s3cr3t-Ñandú", "n": 0.10}
    mine = Api(system.api_url(), system.make_token(7, "app"))
    answer = mine.put(CREDENTIALS, {"company_id": "7", "portal": "sunat", "credentials": secret}).expect(200)
    assert answer.json["ok"] and answer.json["company_id"] == 7 and answer.json["updated_at"]
    # A log-in without params uses them, byte for byte.
    mine.execute(7, params={}).expect(200)
    sent = system.robot.calls("login")[-1]
    assert {key: sent["body"][key] for key in secret} == secret, sent
    # Nowhere in the clear.
    assert "s3cr3t" not in json.dumps(system.database.rows("SELECT * FROM chasqui_audit"), default=str)
    dump = json.dumps(system.database.rows("SELECT HEX(sealed) AS h FROM chasqui_credentials"))
    assert "s3cr3t".encode().hex().upper() not in dump
    assert all("s3cr3t" not in process.log.read_text() for process in system.processes)
    audit = system.database.row("SELECT * FROM chasqui_audit WHERE action = 'credentials_set'")
    assert audit["subject"] == "company:7/sunat" and audit["actor"].startswith("token:")
    # What is refused changes nothing.
    mine.put(CREDENTIALS, {"company_id": 8, "portal": "sunat", "credentials": secret}).expect(403, "company_forbidden")
    mine.delete(CREDENTIALS, {"company_id": 8, "portal": "sunat"}).expect(403, "company_forbidden")
    for body, field in (
        ({"company_id": 7, "portal": "sunat"}, "credentials"),
        ({"company_id": 7, "portal": "sunat", "credentials": {}}, "credentials"),
        ({"company_id": 7, "portal": "sunat", "credentials": "x"}, "credentials"),
        ({"company_id": 7, "portal": "sunat", "credentials": {"epoch": 1}}, "credentials.epoch"),
        ({"company_id": 7, "portal": "sunat", "credentials": {"x": "y" * 16384}}, "credentials"),
        ({"company_id": 7, "portal": "SUNAT", "credentials": {"x": "y"}}, "portal"),
        ({"portal": "sunat", "credentials": {"x": "y"}}, "company_id"),
    ):
        assert field in mine.put(CREDENTIALS, body).expect(422, "validation_failed").json["errors"]
    mine.get(CREDENTIALS).expect(405)
    assert system.database.value("SELECT COUNT(*) FROM chasqui_credentials") == 1
    # Any name is a portal's: a company has 64 at most, so that nobody fills the table.
    for number in range(63):
        mine.put(CREDENTIALS, {"company_id": 7, "portal": f"p{number}", "credentials": {"x": "y"}}).expect(200)
    assert "portal" in mine.put(CREDENTIALS, {"company_id": 7, "portal": "onemore", "credentials": {"x": "y"}}).expect(422).json["errors"]
    mine.put(CREDENTIALS, {"company_id": 7, "portal": "p5", "credentials": {"x": "z"}}).expect(200)
    system.database.execute("DELETE FROM chasqui_credentials WHERE portal = 'p5'")
    mine.put(CREDENTIALS, {"company_id": 7, "portal": "onemore", "credentials": {"x": "y"}}).expect(200)
    system.database.execute("DELETE FROM chasqui_credentials WHERE portal <> 'sunat'")
    # They are forgotten, by the body or, for clients that cannot send one, by the query.
    mine.delete(f"{CREDENTIALS}?company_id=7&portal=sunat").expect(200)
    mine.delete(CREDENTIALS, {"company_id": 7, "portal": "sunat"}).expect(404, "not_found")
    assert system.database.value("SELECT COUNT(*) FROM chasqui_audit WHERE action = 'credentials_remove'") == 1


def test_without_a_seal_key_nothing_is_stored_and_a_touch_keeps_a_session(make_system):
    """One system for both: it has no seal key, and sessions that idle out soon."""
    system = make_system(settings={"seal.key_file": None, "session.idle_timeout_s": 4})
    answer = system.api.put(CREDENTIALS, {"company_id": 1, "portal": "sunat", "credentials": {"x": "y"}}).expect(422, "validation_failed")
    assert "seal.key_file" in answer.json["errors"]["credentials"][0]
    kept, left = system.api.execute(1, params={}).expect(200).json["session_id"], system.api.execute(2, params={}).expect(200).json["session_id"]
    touched = f"/api/v1/app/sessions/{kept}/touch"
    began = time.monotonic()
    calls = len(system.robot.calls())
    first = system.api.post(touched).expect(200).json
    assert first["session_id"] == kept and first["state"] == "active" and first["last_activity_at"] >= first["started_at"]

    def ended():
        system.api.post(touched, {}).expect(200)
        return system.api.session(left).status == 410

    wait_until(ended, 20, "the other one idles out", every=0.5)
    while time.monotonic() - began < 9:  # longer than any session lives without a use
        system.api.post(touched).expect(200)
        time.sleep(0.5)
    system.api.session(kept).expect(200)
    assert not [call for call in system.robot.calls()[calls:] if call["call"] in ("list", "file", "login")], "a touch calls no robot"
    Api(system.api_url(), system.make_token(2, "app")).post(touched).expect(404, "session_not_found")
    system.api.post(f"/api/v1/app/sessions/{left}/touch").expect(410)
    system.api.get(touched).expect(405)
