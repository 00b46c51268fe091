# SPDX-License-Identifier: MIT
"""Who may do what: tokens, abilities, companies, rate limits, secrets, strangers on the bus."""

import json
import os
import random
import re
import stat
import threading
from datetime import datetime, timezone

import pytest

from harness.http import Api, Client, connect
from harness.wait import wait_until

SECRETS = {"ruc": "20100000001", "usuario": "CANARY-user-7f3a", "clave": "CANARY-pass-9c1e"}


def body_without_id(answer):
    body = answer.json
    body.pop("request_id")
    return body


def test_no_token_and_every_wrong_token_get_one_answer(system):
    good = system.token
    number, _, secret = good.partition("|")
    wrong = [None, "", "x", "|", f"{number}|", f"|{secret}", f"{number}|{secret}x", f"{number}|{secret[:-1]}",
             f"999999|{secret}", f"{secret}|{number}", f"-{number}|{secret}", f"{number}||{secret}", "9" * 400 + "|a"]  # fmt: skip
    bodies = set()
    for token in wrong:
        answer = Api(system.api_url(), token).active(1).expect(401, "unauthenticated")
        assert "X-RateLimit-Limit" not in answer.headers
        bodies.add(json.dumps(body_without_id(answer), sort_keys=True))
    assert len(bodies) == 1
    for header in (f"Basic {good}", f"Bearer  {good} x", "Bearer"):
        Client(system.api_url(), {"Authorization": header}).get("/api/v1/app/sessions/active").expect(401, "unauthenticated")
    system.api.active(1).expect(404, "session_not_found")


def test_revocation_is_seen_within_five_seconds(system):
    api = system.api_for()
    api.active(1).expect(404)
    system.ctl("token", "revoke", api.token.partition("|")[0])
    wait_until(lambda: api.active(1).status == 401, 5.5, "the revoked token is refused")


def test_expired_token_is_refused(system):
    api = system.api_for()
    api.active(1).expect(404)
    number = int(api.token.partition("|")[0])
    system.database.execute("UPDATE chasqui_tokens SET expires_at = UTC_TIMESTAMP(6) WHERE id = %s", number)
    wait_until(lambda: api.active(1).status == 401, 5.5, "the expired token is refused")


def test_unverifiable_is_503_and_never_let_through(system):
    stranger = system.api_for()
    for process in system.dispatchers:
        process.kill9()
    answer = stranger.active(1)
    assert answer.status == 503 and answer.error in ("no_dispatcher", "database_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


def test_another_companys_session_and_job_look_like_none(system):
    mine, other = system.api_for(101), system.api_for(202)
    session = mine.login(101)
    job = mine.active(101).expect(200).json["job_id"]
    pairs = [
        (other.session(session), other.session("no-such-session-here")),
        (other.list(session), other.list("no-such-session-here")),
        (other.download(session, "a-token"), other.download("no-such-session-here", "a-token")),
        (other.close(session), other.close("no-such-session-here")),
        (other.job(job), other.job(job + 1_000_000)),
    ]
    for real, none in pairs:
        assert real.status == none.status == 404
        assert body_without_id(real) == body_without_id(none)
        assert sorted(real.headers.keys()) == sorted(none.headers.keys())
    other.active(101).expect(403, "company_forbidden")
    other.execute(101).expect(403, "company_forbidden")
    mine.list(session).expect(200)


def test_a_token_for_several_companies(system):
    both = system.api_for([301, 302])
    assert both.login(301) != both.login(302)
    both.execute(303).expect(403, "company_forbidden")


def test_abilities(system):
    app, reader = system.api_for("*", "app"), system.make_token("*", "ops:read")
    assert app.active(1).status == 404
    Api(system.ops_url, app.token).get("/api/v1/ops/sessions").expect(403, "forbidden")
    Api(system.api_url(), reader).active(1).expect(403, "forbidden")
    ops = Api(system.ops_url, reader)
    ops.get("/api/v1/ops/sessions").expect(200)
    for path in ("/workers/r1/drain", "/workers/r1/resume", "/sessions/none/close", "/sessions/none/migrate",
                 "/jobs/1/retry", "/jobs/1/cancel", "/queue/pause", "/queue/resume"):  # fmt: skip
        ops.post("/api/v1/ops" + path, {}).expect(403, "forbidden")
    assert system.ctl("token", "create", "--company", 5, "--ability", "ops", check=False).returncode != 0


def test_rate_limit_with_laravels_headers(system):
    api = system.api_for("*", "app", 3)
    left = []
    for _ in range(3):
        answer = api.session("none-of-these").expect(404)
        assert answer.headers["X-RateLimit-Limit"] == "3"
        left.append(int(answer.headers["X-RateLimit-Remaining"]))
    assert left == [2, 1, 0]
    refused = api.session("none-of-these").expect(429, "rate_limited")
    wait_s, reset = int(refused.headers["Retry-After"]), int(refused.headers["X-RateLimit-Reset"])
    now = datetime.now(timezone.utc).timestamp()
    assert 1 <= wait_s <= 60 and abs(reset - now - wait_s) <= 5
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert api.job(1).expect(404).headers["X-RateLimit-Limit"] == "3"  # jobs are not counted, but told
    assert "X-RateLimit-Limit" not in system.api.active(1).headers  # rate 0 = off


def files_below(directory):
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


@pytest.mark.parametrize("how", ["done", "wrong password", "robot hangs up"])
def test_canary_secrets_stay_inside(system, how):
    """Credentials of a log-in are not in any log, nor in the database in the clear, nor in an answer."""
    params = dict(SECRETS, clave="wrong") if how == "wrong password" else dict(SECRETS)
    if how == "robot hangs up":
        system.robot.behave("login", "close_before_answer", times=1)
    answer = system.api.execute(404, params=params, remember=True)
    system.ctl("credentials", "set", "--company", 405, "--portal", "sunat", stdin=json.dumps(SECRETS))
    assert b"CANARY" not in answer.body
    sent = system.robot.calls("login")[-1]["body"]
    assert "CANARY-user-7f3a" in json.dumps(sent)  # it did travel
    for table in [next(iter(row.values())) for row in system.database.rows("SHOW TABLES")]:
        for row in system.database.rows(f"SELECT * FROM `{table}`"):
            for value in row.values():
                text = value if isinstance(value, bytes) else str(value).encode()
                assert b"CANARY" not in text, f"a secret stands in {table}"
    for path in files_below(system.directory):
        if path.name.startswith("robot-"):
            continue
        assert b"CANARY" not in path.read_bytes(), f"a secret stands in {path.name}"


def test_secrets_are_not_in_arguments_environment_or_cores(system):
    token_secret = system.token.partition("|")[2]
    password = system.database.password
    for process in system.processes:
        seen = b"".join(open(f"/proc/{process.pid}/{name}", "rb").read() for name in ("cmdline", "environ"))
        assert token_secret.encode() not in seen and password.encode() not in seen
    limits = open(f"/proc/{system.dispatcher.pid}/limits", encoding="ascii").read()
    assert re.search(r"Max core file size\s+0\s+0", limits)


def test_the_broker_drops_a_database_password(make_system):
    system = make_system(ready=False, robots=0)
    conf = system.directory / "broker-1.conf"
    conf.write_text(conf.read_text() + 'db\n    password = "CANARY-db-password"\n')
    system.start().wait_ready()
    log = system.broker.log.read_text()
    assert "CANARY" not in log and "db_password_dropped" in log


def test_random_bytes_on_every_port_while_a_good_client_is_served(system):
    session = system.api.login(501)
    ports = [system.endpoints["broker", 0]["broker.bind"], system.endpoints["healthd", 0]["healthd.bind"],
             system.endpoints["healthd", 0]["healthd.control"], system.api_url(), system.ops_url]  # fmt: skip
    stop = threading.Event()

    def throw(url, seed):
        dice = random.Random(seed)
        while not stop.wait(0.005):  # the good client is in this process
            try:
                with connect(url, timeout=2) as wire:
                    start = b"\xff\0\0\0\0\0\0\0\1\x7f\3\1CURVE" if dice.random() < 0.4 else b""
                    wire.sendall(start + dice.randbytes(dice.randrange(1, 4000)))
            except OSError:
                pass

    throwers = [threading.Thread(target=throw, args=(url, seed)) for seed, url in enumerate(ports)]
    for thrower in throwers:
        thrower.start()
    try:
        for page in range(1, 151):
            system.api.list(session, page % 3 + 1).expect(200)
    finally:
        stop.set()
        for thrower in throwers:
            thrower.join()
    assert all(process.alive() for process in system.processes)
    system.api.list(session).expect(200)


def test_without_a_key_on_the_allow_list_nobody_gets_in(make_system):
    """A dispatcher whose key was taken from the allow-list is refused, and let in again within 5 s when it is back."""
    system = make_system()
    allowed = system.directory / "keys" / "allow" / "dispatcher.key"
    kept = allowed.read_bytes()
    allowed.unlink()
    system.broker.wait_log(r"event=allow_read .*keys=3", 10)
    system.dispatcher.kill9()
    refused = system.metric("chasqui_bus_refused_total")

    def turned_away():
        if not system.dispatcher.alive():
            system.dispatcher.start()
        return system.metric("chasqui_bus_refused_total") > refused

    try:
        wait_until(turned_away, 15, "the dispatcher is refused")
        assert not system.ready()
    finally:
        allowed.write_bytes(kept)
    system.wait_ready(20)
    assert os.path.exists(allowed)


def test_over_a_local_socket_only_its_owner_gets_in(make_system, tmp_path):
    file = tmp_path / "broker.sock"
    before = os.umask(0)
    try:
        local = {"broker.bind": f"ipc://{file}", "dispatcher.brokers": f"ipc://{file}"}
        system = make_system(robots=1, curve=False, settings=local)
    finally:
        os.umask(before)
    assert stat.S_ISSOCK(file.stat().st_mode) and stat.S_IMODE(file.stat().st_mode) & 0o077 == 0
    session = system.api.login(7)
    listed = system.api.list(session).expect(200).json
    assert system.api.download(session, listed["items"][0]["file_token"]).expect(200).body
    system.broker.kill9()
    system.broker.start()
    system.wait_ready()
    system.api.list(session).expect(200)
