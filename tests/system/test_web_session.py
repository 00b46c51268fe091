# SPDX-License-Identifier: MIT
"""People who log in with a browser: the cookie, and what it is good for. The page itself: tests/browser."""

import re

import pytest

from harness import Client
from harness.wait import wait_until

ME, DRAIN = "/api/v1/ops/me", "/api/v1/ops/workers/r1/drain"


class Person(Client):
    """A browser's manners: the page's Origin with what changes something, and the cookie it was given."""

    def __init__(self, system, broker=0):
        super().__init__(system.ops_url_of(broker))
        self.origin = self.base_url
        self.cookie = None

    def log_in(self, token):
        answer = self.post("/login", {"token": token})
        if given := answer.headers.get("Set-Cookie"):
            self.cookie = given.partition(";")[0]
        return answer

    def request(self, method, path, json_body=None, *, headers=None, **more):
        own = {"Cookie": self.cookie, "Origin": self.origin if method != "GET" else None}
        return super().request(method, path, json_body, headers={**own, **(headers or {})}, **more)


@pytest.fixture
def person(system):
    return Person(system)


def test_the_page_and_its_files(person):
    page = person.get("/").expect(200)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert page.headers["X-Frame-Options"] == "DENY" and page.headers["X-Content-Type-Options"] == "nosniff"
    files = re.findall(r'(?:src|href)="(dashboard/[^"]+)"', page.body.decode())
    assert len(files) > 10
    for path in files:
        answer = person.get("/" + path).expect(200)
        assert person.get("/" + path, headers={"If-None-Match": answer.headers["ETag"]}).expect(304).body == b""
        imports = re.findall(r"from '\./([a-z]+\.js)'", answer.body.decode())
        assert all(f"dashboard/{name}" in files for name in imports), path
    for path in ("/dashboard/", "/dashboard/x.js", "/dashboard/..%2fops.c", "/dashboard/index.html/x"):
        person.get(path).expect(404)


def test_the_cookie(system, person):
    answer = person.log_in(system.token).expect(200)
    told = answer.headers["Set-Cookie"]
    assert re.fullmatch(r"chasqui_ops=[\w-]{100,}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict", told)
    assert answer.headers["Cache-Control"] == "no-store"
    assert system.token.partition("|")[2] not in told + answer.body.decode()
    me = person.get(ME).expect(200).json
    assert me["ability"] == "ops" and me["token"]["id"] == int(system.token.partition("|")[0])
    person.get("/api/v1/ops/workers").expect(200)
    person.get(ME, headers={"Cookie": f"a=b; {person.cookie}; c=d"}).expect(200)
    person.get(ME, headers={"Cookie": f"chasqui_ops=old; {person.cookie}"}).expect(200)
    bad = person.cookie[:60] + ("A" if person.cookie[60] != "A" else "B") + person.cookie[61:]
    for cookie in (None, "chasqui_ops=", "chasqui_ops=x", bad, person.cookie + "A", person.cookie[:-1], "x" + person.cookie):
        person.get(ME, headers={"Cookie": cookie}).expect(401, "unauthenticated")
    Client(system.api_url()).get("/api/v1/app/sessions/none", headers={"Cookie": person.cookie}).expect(401)
    told = person.post("/login", {"token": system.token}, headers={"Origin": "https://" + person.base_url[7:]}).expect(200)
    assert told.headers["Set-Cookie"].endswith("; Secure")


def test_what_changes_something_must_come_from_the_page(system, person):
    person.log_in(system.token).expect(200)
    for origin in (None, "null", "http://evil.example", "https://evil.example", person.base_url + ".evil.example", "http://localhost"):
        person.post(DRAIN, {}, headers={"Origin": origin}).expect(403, "forbidden")
        person.post("/login", {"token": system.token}, headers={"Origin": origin}).expect(403, "forbidden")
        person.post("/logout", headers={"Origin": origin}).expect(403, "forbidden")
    assert system.ops.get("/api/v1/ops/workers").json["workers"][0]["wanted"] == "active"
    person.post(DRAIN, {}).expect(200)
    system.ops.post("/api/v1/ops/workers/r1/resume", {}).expect(200)  # a bearer needs no Origin


def test_who_reads_changes_nothing(system, person):
    person.log_in(system.make_token("*", "ops:read")).expect(200)
    assert person.get(ME).expect(200).json["ability"] == "ops:read"
    person.get("/api/v1/ops/sessions").expect(200)
    person.post(DRAIN, {}).expect(403, "forbidden")


def test_refused(system, person):
    person.log_in(system.make_token("*", "app")).expect(403, "forbidden")
    for body in ({}, {"token": 7}, {"token": None}):
        person.post("/login", body).expect(422, "validation_failed")
    person.post("/login", body=b"token=x", headers={"Content-Type": "application/x-www-form-urlencoded"}).expect(415)
    for token in ("", "x", "1|", "999|" + "x" * 40, system.token[:-1], system.token + "x", "|" + system.token):
        answer = person.log_in(token).expect(401, "unauthenticated")
        assert "Set-Cookie" not in answer.headers


def test_who_guesses_is_stopped(system, person):
    for n in range(10):
        person.log_in(f"{n + 1}|wrong{n}").expect(401)
    answer = person.log_in(system.token).expect(429, "rate_limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    system.ops.get(ME).expect(200)  # others go on


def test_a_revoked_token_ends_its_cookies(system, person):
    token = system.make_token("*", "ops")
    person.log_in(token).expect(200)
    system.ctl("token", "revoke", token.partition("|")[0])
    wait_until(lambda: person.get(ME).status == 401, 6, "the cookie is refused")


def test_log_out(system, person):
    person.log_in(system.token).expect(200)
    other = Person(system)
    other.log_in(system.token).expect(200)
    told = person.post("/logout").expect(200).headers["Set-Cookie"]
    assert told.startswith("chasqui_ops=; ") and "Max-Age=0" in told
    person.get(ME).expect(401)  # also for one who kept it
    other.get(ME).expect(200)


def test_any_broker_knows_it_also_after_a_restart(make_system):
    system = make_system(brokers=2)
    person, second = Person(system), Person(system, broker=1)
    person.log_in(system.token).expect(200)
    second.cookie = person.cookie
    second.get(ME).expect(200)
    system.broker.kill9()
    system.broker.start()
    system.wait_ready()
    person.get(ME).expect(200)


def test_without_keys_a_restart_logs_out(make_system):
    system = make_system(curve=False)
    person = Person(system)
    person.log_in(system.token).expect(200)
    person.get(ME).expect(200)
    system.broker.kill9()
    system.broker.start()
    system.wait_ready()
    person.get(ME).expect(401)


def test_without_a_dispatcher_nobody_gets_in(system, person):
    person.log_in(system.token).expect(200)
    system.dispatcher.kill9()
    wait_until(lambda: person.get(ME).status == 503, 10, "nobody can be asked about the token")
    assert Person(system).log_in(system.token).status == 503
    system.dispatcher.start()
    wait_until(lambda: person.get(ME).status == 200, 10, "the cookie is good again")
