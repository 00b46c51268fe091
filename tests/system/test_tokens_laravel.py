# SPDX-License-Identifier: MIT
"""Tokens of the application: by a view over Laravel's table, and by introspection (RFC 7662). What cannot be verified is 503, never 401 and never let in."""

import base64
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from harness.http import Api
from harness.ports import free_port
from harness.system import ROOT
from harness.wait import last_before, ran_s, wait_until

SAMPLE = (ROOT / "packaging/laravel/chasqui_tokens_view.sql").read_text()
SANCTUM = """
CREATE TABLE users (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, company_id BIGINT UNSIGNED NOT NULL, name VARCHAR(255) NOT NULL);
CREATE TABLE personal_access_tokens (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, tokenable_type VARCHAR(255) NOT NULL, tokenable_id BIGINT UNSIGNED NOT NULL,
  name VARCHAR(255) NOT NULL, token VARCHAR(64) NOT NULL UNIQUE, abilities TEXT NULL, last_used_at TIMESTAMP NULL, created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL)
  DEFAULT CHARSET = utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE TABLE other (id BIGINT UNSIGNED NOT NULL, secret_sha256 CHAR(64) NOT NULL, company_id BIGINT UNSIGNED NULL, abilities TEXT NULL, expires_at DATETIME NULL)
"""
VIEW = "CREATE OR REPLACE VIEW chasqui_laravel_tokens AS "


def run(system, text):
    for statement in "\n".join(line for line in text.splitlines() if not line.strip().startswith("--")).split(";"):
        if statement.strip():
            system.database.execute(statement)


def sanctum(system, company, secret, abilities='["*"]'):
    """As User::createToken(): the text that the front-end gets."""
    with system.db.cursor() as cursor:
        cursor.execute("INSERT INTO users (company_id, name) VALUES (%s, 'u')", (company,))
        cursor.execute("INSERT INTO personal_access_tokens (tokenable_type, tokenable_id, name, token, abilities) VALUES ('App\\\\Models\\\\User', %s, 'web', %s, %s)",
                       (cursor.lastrowid, hashlib.sha256(secret.encode()).hexdigest(), abilities))  # fmt: skip
        return f"{cursor.lastrowid}|{secret}"


def word(system, code):
    return next((one for one in system.ops.get("/api/v1/ops/stats").expect(200).json["words"] if one["code"] == code), None)


def api(system, token):
    return Api(system.api_url(), token)


def test_tokens_of_sanctum_by_a_view(make_system):
    system = make_system(settings={"auth.laravel_view": "chasqui_laravel_tokens", "auth.rate_per_minute": 90, "auth.timeout_ms": 2500, "laravel.time_zone": "America/Lima"})
    run(system, SANCTUM)
    token = sanctum(system, 7, "s3cr3tSanctum")
    number, _, secret = token.partition("|")

    # A view that is not there, or is not what it should be: 503, one cause, for operators in words, and ours go on.
    for definition, cause in (
        (None, "is not there"),
        ("SELECT id, token AS secret_sha256, 7 AS company_id, abilities FROM personal_access_tokens", "no column expires_at"),
        ("SELECT id, UNHEX(token) AS secret_sha256, 7 AS company_id, abilities, NULL AS expires_at FROM personal_access_tokens", "column secret_sha256"),
        ("SELECT id, token AS secret_sha256, name AS company_id, abilities, NULL AS expires_at FROM personal_access_tokens", "column company_id"),
        ("SELECT id, token AS secret_sha256, 7 AS company_id, abilities, 5 AS expires_at FROM personal_access_tokens", "column expires_at"),
        ("SELECT id, secret_sha256, company_id, abilities, expires_at FROM other WHERE SLEEP(8) = 0", "takes too long"),
    ):
        if definition:
            run(system, VIEW + definition)
        system.database.execute("INSERT INTO other VALUES (%s, SHA2(%s, 256), 1, 'app', NULL)", number, secret)
        for shown in (token, secret, "99|wrong")[: 2 if "SLEEP" in (definition or "") else 3]:  # a number that is not there is no slow look
            took = []

            def told(shown=shown, cause=cause, took=took):
                began = time.monotonic()
                got = api(system, shown).active(7).expect(503, "auth_unavailable")
                took.append(time.monotonic() - began)
                return cause in got.json["message"] and got

            assert wait_until(told, 8, cause).headers["Retry-After"] and min(took) < 7
        system.api.active(7).expect(404)
        wait_until(lambda cause=cause: cause in (word(system, "tokens_unverified") or {"text": ""})["text"], 10, f"{cause} is said")
    assert system.metric("chasqui_tokens_unverified_total") > 0

    # The sample view, as it is shipped: no restart.
    run(system, SAMPLE)
    wait_until(lambda: api(system, token).active(7).status == 404, 10, "it is seen")
    wait_until(lambda: not word(system, "tokens_unverified"), 10, "nothing is wrong any more")
    session = api(system, token).execute(7, params={}).expect(200)
    assert session.headers["X-RateLimit-Limit"] == "90"
    api(system, secret).list(session.json["session_id"]).expect(200)  # without its id
    api(system, token.upper()).active(7).expect(401, "unauthenticated")
    for wrong in (f"{int(number) + 1}|{secret}", f"{number}|x", "x", secret[:-1], f"{number}|", f"x|{secret}", hashlib.sha256(secret.encode()).hexdigest()):
        api(system, wrong).active(7).expect(401, "unauthenticated")
    api(system, token).execute(8, params={}).expect(403, "company_forbidden")
    mine = api(system, token).batch([7]).expect(202).json["batch_id"]
    api(system, token).get(f"/api/v1/app/batches/{mine}").expect(200)
    for abilities, status in (('["app"]', 404), ('["app","ops"]', 404), ('["read"]', 403), (None, 403), ("[]", 403), ("not json", 403)):
        other = sanctum(system, 9, f"s-{abilities}", abilities)
        api(system, other).active(9).expect(status)
        Api(system.ops_url, other).get("/api/v1/ops/stats").expect(403, "forbidden")
    api(system, sanctum(system, 5, "other-company")).list(session.json["session_id"]).expect(404, "session_not_found")
    # Ours and theirs may have the same number.
    ours = system.make_token(3, "app")
    system.database.execute("DELETE FROM personal_access_tokens WHERE id = %s", ours.split("|")[0])
    system.database.execute("UPDATE personal_access_tokens SET id = %s WHERE id = %s", ours.split("|")[0], number)
    api(system, ours).active(3).expect(404, "session_not_found")
    wait_until(lambda: api(system, f"{ours.split('|')[0]}|{secret}").active(7).status == 200, 8, "theirs")

    # Log-out.
    system.database.execute("DELETE FROM personal_access_tokens WHERE token = %s", hashlib.sha256(secret.encode()).hexdigest())
    assert last_before(lambda: api(system, secret).active(7), 401, 8) < 5.1

    # An end in Laravel's own time (-05:00), and several companies.
    system.database.execute("DELETE FROM other")
    for name, company, minutes in (("later", 21, 60), ("later", 22, 60), ("over", 21, -2), ("soon", 21, 0.05), ("half", 21, 60), ("half", 22, -1)):
        system.database.execute("INSERT INTO other VALUES (%s, %s, %s, 'read, app', UTC_TIMESTAMP() - INTERVAL 5 HOUR + INTERVAL %s SECOND)",
                                {"later": 1, "over": 2, "soon": 3, "half": 4}[name], hashlib.sha256(name.encode()).hexdigest().upper(), company, minutes * 60)  # fmt: skip
    run(system, VIEW + "SELECT * FROM other")
    wait_until(lambda: api(system, "later").active(22).status == 404, 10, "the new view")
    api(system, "later").active(21).expect(404)
    api(system, "over").active(21).expect(401)
    wait_until(lambda: api(system, "soon").active(21).status == 401, 8, "it ends")
    api(system, "half").active(21).expect(404)
    api(system, "half").active(22).expect(403, "company_forbidden")
    told = "".join(process.log.read_text() for process in system.processes)
    assert "s3cr3tSanctum" not in told and hashlib.sha256(secret.encode()).hexdigest() not in told


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # of five some connections would wait for a second


class Introspection:
    """An authorisation server by script: `answer` is what it says, a function of the token or (status, body)."""

    def __init__(self):
        self.calls = []
        self.answer = lambda token: (200, {"active": False})
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):  # noqa: N802
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                token = parse_qs(body)["token"][0]
                outer.calls.append((self.path, dict(self.headers), body, token))
                status, said = outer.answer(token)
                text = said if isinstance(said, bytes) else json.dumps(said).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Location", "/elsewhere")
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.port = free_port()
        self.start = lambda: Server(("127.0.0.1", self.port), Handler)
        self.server = None
        self.up()

    def up(self):
        self.server = self.start()
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def down(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def idp():
    server = Introspection()
    yield server
    server.down()


def slow(seconds, said):
    def answer(_token):
        time.sleep(seconds)
        return 200, said

    return answer


def test_tokens_by_introspection(make_system, idp, tmp_path):
    secret = tmp_path / "introspect.secret"
    secret.write_text("chasqui:p4ss+wörd\n")
    secret.chmod(0o400)
    system = make_system(settings={"auth.introspect_url": f"http://127.0.0.1:{idp.port}/oauth/introspect", "auth.introspect_secret_file": secret, "auth.timeout_ms": 4000})
    n = iter(range(10**6))
    good = {"active": True, "scope": "read app", "companies": [7, "8"], "sub": "user-5", "exp": int(time.time()) + 3600}

    def ask(company=7, said=None, answer=None):
        """With a token that nobody has asked about."""
        idp.answer = answer or (lambda _token: said if isinstance(said, tuple) else (200, said))
        return api(system, f"token-{next(n)}").active(company)

    jwt = "eyJ." + "x+/_-~." * 160 + "=="
    idp.answer = lambda token: (200, good if token == jwt else {"active": False})
    session = api(system, jwt).execute(7, params={}).expect(200)
    assert session.headers["X-RateLimit-Limit"] == "600"
    path, headers, body, token = idp.calls[0]
    assert path == "/oauth/introspect" and token == jwt and "token_type_hint=access_token" in body and headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["Authorization"] == "Basic " + base64.b64encode("chasqui:p4ss+wörd".encode()).decode() and "X-Robot-Boot" not in headers
    calls = len(idp.calls)
    for _ in range(10):
        api(system, jwt).list(session.json["session_id"]).expect(200)
    assert len(idp.calls) - calls <= 2, "a verdict is kept"
    # Ours are not shown to it.
    calls = len(idp.calls)
    system.api.active(7).expect(200)
    assert len(idp.calls) == calls
    # Verdicts.
    ask(said={"active": False}).expect(401, "unauthenticated")
    ask(8, said=good).expect(404)
    ask(9, said=good).expect(403, "company_forbidden")
    ask(9, said={**good, "companies": "*"}).expect(404)
    ask(said={**good, "companies": []}).expect(403, "company_forbidden")
    ask(said={**good, "exp": int(time.time()) - 5}).expect(401)
    ask(said={**good, "nbf": int(time.time()) + 500}).expect(401)
    ask(said={**good, "scope": "read ops"}).expect(403, "forbidden")
    ask(said={name: good[name] for name in ("active", "companies")}).expect(403, "forbidden")
    idp.answer = lambda _token: (200, {**good, "companies": "*", "scope": "app ops ops:read"})
    Api(system.ops_url, "operator").get("/api/v1/ops/stats").expect(403, "forbidden")
    assert len(idp.calls) == calls + 10
    # No verdicts.
    for said, cause in (
        ((500, {}), "it answered 500"),
        ((302, {}), "it answered 302"),
        ((401, {}), "refuses our credential"),
        ((200, b"<html>"), "not JSON"),
        ((200, b""), "not JSON"),
        ((200, b'{"active":true,"active":false}'), "not JSON"),
        ((200, [True]), "whether the token is active"),
        ({}, "whether the token is active"),
        ({**good, "active": "true"}, "whether the token is active"),
        ({"active": True, "scope": "app"}, "does not name the token's companies"),
        ({**good, "companies": 7}, "does not name the token's companies"),
        ({**good, "companies": ["seven"]}, "no numbers"),
        ({**good, "exp": "tomorrow"}, "a time that is none"),
        ({**good, "exp": 9223372036854776}, "a time that is none"),
        ({**good, "nbf": -9223372036854775808}, "a time that is none"),
        ({**good, "exp": int(time.time() * 1000)}, "a time that is none"),
        ({**good, "filler": "x" * 70000}, "larger than 64 KiB"),
    ):
        answer = ask(said=said).expect(503, "auth_unavailable")
        assert cause in answer.json["message"] and str(idp.port) not in answer.json["message"], (said, answer)
    assert "chasqui_tokens_unverified_total" in str(system.metrics())
    # Slow: nobody else waits.
    idp.answer = slow(6, good)
    late = [threading.Thread(target=lambda i=i: api(system, f"late-{i}").active(7).expect(503, "auth_unavailable")) for i in range(40)]
    for one in late:
        one.start()
    began = ran_s()
    for _ in range(20):
        system.api.list(session.json["session_id"]).expect(200)
    assert ran_s() - began < 3.9
    for one in late:
        one.join()
    assert ran_s() - began < 20
    wait_until(lambda: "does not answer in time" in (word(system, "tokens_unverified") or {"text": ""})["text"], 10, "it is said")
    # Guesses by the dozen, each as slow: who is known goes on.
    idp.answer = lambda token: (200, good) if token == jwt else slow(0.9, {"active": False})(token)
    over = time.monotonic() + 7  # longer than a verdict is kept

    def guess(who):
        for turn in iter(int, 1):
            if time.monotonic() > over:
                return
            assert api(system, f"guess-{who}-{turn}").active(7).status in (401, 503)

    guesses = [threading.Thread(target=guess, args=(who,)) for who in range(80)]
    for one in guesses:
        one.start()
    while time.monotonic() < over:
        answer = api(system, jwt).list(session.json["session_id"])
        assert answer.status == 200 or "too many" not in answer.json["message"], answer  # else the server was too slow for this machine
        time.sleep(0.1)
    for one in guesses:
        one.join()
    # Down, and back.
    idp.down()
    assert "cannot be reached" in ask(said=good).expect(503, "auth_unavailable").json["message"]
    idp.up()
    assert ask(said=good).expect(200)
    wait_until(lambda: not word(system, "tokens_unverified"), 10, "it is over")
    # Log-out.
    idp.answer = lambda token: (200, good)
    api(system, jwt).active(7).expect(200)
    idp.answer = lambda token: (200, {"active": False})
    assert last_before(lambda: api(system, jwt).active(7), 401, 8) < 5.1
    told = "".join(process.log.read_text() for process in system.processes) + json.dumps(system.database.rows("SELECT * FROM chasqui_audit"), default=str)
    assert jwt not in told and "p4ss" not in told and "late-1" not in told


def test_a_start_that_is_refused(make_system, tmp_path):
    open_to_all = tmp_path / "open.secret"
    open_to_all.write_text("a:b")
    open_to_all.chmod(0o444)
    for settings, why in (
        ({"auth.laravel_view": "tokens; DROP TABLE x"}, "laravel_view_refused"),
        ({"auth.introspect_url": "ftp://x/"}, "introspect_url_refused"),
        ({"auth.introspect_url": "https://x/", "auth.introspect_secret_file": open_to_all}, "introspect_secret_refused.*0400"),
    ):
        system = make_system(ready=False, robots=0, settings=settings)
        system.dispatcher.start()
        system.dispatcher.expect_death()
        system.dispatcher.wait_log(why)
        wait_until(lambda system=system: not system.dispatcher.alive(), 10, "it ended")
