# SPDX-License-Identifier: MIT
"""Who sends a request: verdicts of dispatchers, kept for less than 5 s; abilities; rate limits."""

import http.client
import json
import time

import pytest

from broker_alone import (  # noqa: F401
    ECHO, EXECUTE, LOGIN, Later, broker, by_secret, dispatcher, fails, make_broker, make_dispatcher, says, token_body, token_says,
)  # fmt: skip
from harness.http import Api, Client
from harness.wait import last_before, wait_until


def test_a_verdict_is_asked_for_once(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    for _ in range(5):
        broker.api.list("s").expect(200)
    Api(broker.url, "1|other").list("s").expect(200)
    asked = [request for _, request, _ in dispatcher.saw("TOKEN_VERIFY")]
    assert len(asked) == 2 and asked[0]["token_id"] == asked[1]["token_id"] == 1
    assert len(asked[0]["secret_hash"]) == 32 and asked[0]["secret_hash"] != asked[1]["secret_hash"]
    assert broker.stat("token_cache_hits_total") >= 4


def test_those_who_come_meanwhile_wait_for_the_same_question(broker, dispatcher):
    verify = dispatcher.on.pop("TOKEN_VERIFY")
    dispatcher.on["BUZON_LIST"] = says()
    late = [Later(broker.api.list, "s") for _ in range(20)] + [Later(broker.api.post, EXECUTE, LOGIN) for _ in range(5)]
    dispatcher.on["EXECUTE_LOGIN"] = says()
    dispatcher.wait_seen("TOKEN_VERIFY")
    wait_until(lambda: broker.stat("http_parked") == 25, 5, "all wait")
    assert len(dispatcher.saw("TOKEN_VERIFY")) == 1 and not dispatcher.saw("EXECUTE_LOGIN")
    dispatcher.order(verify, dispatcher, *dispatcher.held[0])
    assert all(one.answer().status == 200 for one in late)
    assert len(dispatcher.saw("TOKEN_VERIFY")) == 1


def test_bad_tokens_get_one_answer_and_are_cached(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = by_secret(t1={})
    bodies = set()
    for token in (None, "", "x", "|", "5|", "|x", "5|x", "5|x", "0|x", "-5|x", "05|x", "5 |x", "99999999999999999999|x", "5|" + "x" * 600):
        answer = Api(broker.url, token).list("s").expect(401, "unauthenticated")
        bodies.add(json.dumps({**answer.json, "request_id": ""}))
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert len(bodies) == 1 and len(dispatcher.saw("TOKEN_VERIFY")) == 1
    for scheme in ("Basic 5|x", "Bearer", "Bearer  5|x", "5|x"):
        Client(broker.url, {"Authorization": scheme}).get("/api/v1/app/buzon/list?session_id=s").expect(401)
    dispatcher.on["BUZON_LIST"] = says()
    Client(broker.url, {"Authorization": "bearer 1|x"}).get("/api/v1/app/buzon/list?session_id=s").expect(200)


def test_a_revoked_token_is_asked_for_again(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    broker.api.list("s").expect(200)
    dispatcher.on["TOKEN_VERIFY"] = fails("unauthenticated")
    broker.api.list("s").expect(200)
    dispatcher.order(dispatcher.send, "EVENT", kind="token_revoked", id=1)
    wait_until(lambda: broker.api.list("s").status == 401, 2, "the event is heard")


def test_verdicts_end_within_five_seconds(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = by_secret(t1={}, t2={"expires_at_ms": int(time.time() * 1000) + 3000})
    dispatcher.on["BUZON_LIST"] = says()
    short, lost = Api(broker.url, "2|x"), Api(broker.url, "3|x")
    broker.api.list("s").expect(200)
    short.list("s").expect(200)
    lost.list("s").expect(401)
    dispatcher.on["TOKEN_VERIFY"] = by_secret(t3={})
    began = time.monotonic()
    assert last_before(lambda: short.list("s"), 401) < 3.1, "a token ends with its own expiry"
    for ask, status in ((lambda: broker.api.list("s"), 401), (lambda: lost.list("s"), 200)):  # a good verdict ends, and a bad one
        asked = time.monotonic() - began
        assert asked + last_before(ask, status) < max(5.1, asked + 0.1)


def test_a_busy_token_never_waits(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    verify = dispatcher.on["TOKEN_VERIFY"]
    dispatcher.on["TOKEN_VERIFY"] = lambda me, header, payload: (time.sleep(0.15), verify(me, header, payload))
    broker.api.list("s").expect(200)
    for _ in range(5):
        misses, asked = broker.stat("token_cache_misses_total"), len(dispatcher.saw("TOKEN_VERIFY"))
        longest, last = 0.0, time.monotonic()
        end = last + 5.5
        while last < end:
            broker.api.list("s").expect(200)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        if longest < 0.5:  # else it was not busy all the time
            break
    assert broker.stat("token_cache_misses_total") == misses
    assert 1 <= len(dispatcher.saw("TOKEN_VERIFY")) - asked <= 2


def test_unverifiable_is_no_401(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = fails("database_unavailable")
    answer = broker.api.list("s").expect(503, "database_unavailable")
    assert answer.headers["Retry-After"]
    dispatcher.on["TOKEN_VERIFY"] = says(b"nonsense")
    broker.api.list("s").expect(503, "no_dispatcher")
    dispatcher.on["TOKEN_VERIFY"] = says(token_body(2))
    broker.api.list("s").expect(503, "no_dispatcher")
    del dispatcher.on["TOKEN_VERIFY"]
    broker.api.list("s", headers={"X-Deadline-Ms": "300"}).expect(504, "deadline_exceeded")
    dispatcher.close()
    wait_until(lambda: not broker.ready(), 5, "it is noticed")
    assert broker.api.list("s").status == 503
    assert not dispatcher.saw("BUZON_LIST")


def test_abilities(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = by_secret(
        t1={"abilities": ["app"]}, t2={"abilities": ["ops:read"]}, t3={"abilities": ["ops"]}, t4={"abilities": ["ops"], "companies": [1]}, t5={"abilities": []},
    )  # fmt: skip
    dispatcher.on["BUZON_LIST"] = dispatcher.on["OPS_WORKER_WANT"] = says()
    app = [Api(broker.url, f"{n}|x").list("s").status for n in range(1, 6)]
    read = [Api(broker.ops_url, f"{n}|x").get("/api/v1/ops/stats").status for n in range(1, 6)]
    write = [Api(broker.ops_url, f"{n}|x").post("/api/v1/ops/workers/r1/drain", {}).status for n in range(1, 6)]
    assert (app, read, write) == ([200, 403, 403, 403, 403], [403, 200, 200, 403, 403], [403, 403, 200, 403, 403])


def test_a_token_of_the_application_brings_its_user(broker, dispatcher):
    foreign = 1 << 62
    said = [*((foreign, user) for user in (12, "12", 2**63 - 1, 0, -1, 2**63, "ana", 1.5, [12], None)), (0, 12)]

    def verify(me, header, _):
        number, user = said[header["token_id"] - 1]
        me.reply(header, json.dumps({**json.loads(token_body(number + header["token_id"])), "user_id": user}).encode())

    dispatcher.on["TOKEN_VERIFY"] = verify
    dispatcher.on["EXECUTE_LOGIN"] = dispatcher.on["EXECUTE_QUEUED"] = dispatcher.on["EXECUTE_ACTION"] = says()
    for number in range(1, len(said) + 1):
        Api(broker.url, f"{number}|x").post(EXECUTE, LOGIN).expect(200)
    Api(broker.url, "1|x").post(EXECUTE, ECHO).expect(200)
    Api(broker.url, "1|x").post(EXECUTE, LOGIN, headers={"Prefer": "respond-async"})
    dispatcher.wait_seen("EXECUTE_QUEUED")
    users = [header.get("user_id") for _, header, _ in dispatcher.saw("EXECUTE_LOGIN", "EXECUTE_ACTION", "EXECUTE_QUEUED")]
    assert users == [12, 12, 2**63 - 1, *[None] * 8, 12, 12]


def test_rate_limits(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = token_says(rate=4)
    for op in ("BUZON_LIST", "JOB_GET", "SESSION_GET", "EXECUTE_ACTION", "EXECUTE_LOGIN"):
        dispatcher.on[op] = says()
    left = []
    for call in (lambda: broker.api.list("s"), lambda: broker.api.session("s"), lambda: broker.api.job(1), lambda: broker.api.post(EXECUTE, ECHO),
                 lambda: broker.api.post(EXECUTE, LOGIN), lambda: broker.api.list("s")):  # fmt: skip
        answer = call().expect(200)
        assert answer.headers["X-RateLimit-Limit"] == "4"
        left.append(int(answer.headers["X-RateLimit-Remaining"]))
    assert left == [3, 2, 2, 1, 1, 0]
    for answer in (broker.api.list("s"), broker.api.close("s"), broker.api.post(EXECUTE, ECHO), broker.api.active(1)):
        answer.expect(429, "rate_limited")
        wait_s, reset = int(answer.headers["Retry-After"]), int(answer.headers["X-RateLimit-Reset"])
        assert 50 <= wait_s <= 60 and abs(reset - time.time() - wait_s) < 5 and answer.headers["X-RateLimit-Remaining"] == "0"
    broker.api.job(1).expect(200)
    broker.api.post(EXECUTE, LOGIN).expect(200)
    assert broker.stat("rate_limited_total") == 4


def test_what_is_under_way_ends_with_its_token(broker, dispatcher):
    """A file that does not end, and who waits for an answer: within 5 s of the revocation, as requests that come then."""
    begun = []

    def stream(me, header, _):
        begun.append(header["id"])
        me.send("REPLY_HEAD", id=header["id"], status=200, content_type="application/pdf")
        me.send("CHUNK", b"first", id=header["id"], seq=0)

    dispatcher.on["BUZON_DOWNLOAD"] = stream
    dispatcher.on["TOKEN_VERIFY"] = by_secret(t1={}, t2={})
    gone, other = Api(broker.url, "2|x"), Api(broker.url, "1|x")
    files = [one.open_download("s", "t") for one in (gone, other)]
    waiting = [Later(gone.list, "s"), Later(gone.post, EXECUTE, LOGIN)]
    late = Later(other.list, "s")
    wait_until(lambda: len(dispatcher.held) == 3 and len(begun) == 2, 10, "all are with the dispatcher")
    dispatcher.on["TOKEN_VERIFY"] = by_secret(t1={})
    began = time.monotonic()
    for one in waiting:
        one.answer().expect(401, "unauthenticated")
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        files[0].read()
    assert time.monotonic() - began < 12, "5 s, and a busy machine"
    asked = {header["id"] for header, _ in dispatcher.held if header["token_id"] == 2 and header.get("session_id")} | {begun[0]}
    wait_until(lambda: asked <= {header["id"] for _, header, _ in dispatcher.saw("CANCEL")}, 5, "the dispatcher need not go on with list and file")
    header, _ = next(one for one in dispatcher.held if one[0].get("session_id") == "s" and one[0]["token_id"] == 1)
    dispatcher.order(dispatcher.reply, header, b"{}")
    dispatcher.order(dispatcher.send, "CHUNK", id=begun[1], seq=1, last=True)
    late.answer().expect(200)
    assert files[1].read() == b"first", "another token's goes on"
    for one in files:
        one.connection.close()
