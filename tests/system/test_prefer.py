# SPDX-License-Identifier: MIT
"""Execute that does not wait, or not long: Prefer, Idempotency-Key and available_at, with dispatchers by script."""

import datetime
import hashlib
import json
import re
import time

import pytest

from broker_alone import (  # noqa: F401
    ECHO, EXECUTE, LOGIN, Later, broker, died, dispatcher, fails, make_broker, make_dispatcher, pair, says, token_says,
)  # fmt: skip
from harness.http import connect, raw
from harness.wait import stays, wait_until

QUEUED = b'{"ok":true,"job_id":41,"job_uid":"ABCDEFGHIJKL-1700000000","status":"queued"}'


def later_time(**more):
    at = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(**more)
    return at.isoformat().replace("+00:00", "Z"), int(at.timestamp() * 1000)


def queued(me, header, _):
    me.reply(header, QUEUED, status=202)


def accepts(me, header, _):
    me.send("ACCEPTED", id=header["id"], job_id=55)
    me.held.append((header, _))


# --- Prefer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefer, applied, wait_ms", [
    ("respond-async", "respond-async", 0), ("Respond-Async; x=y, handling=lenient", "respond-async", 0), ("wait=0", "wait=0", 0),
    ("respond-async, wait=5", "respond-async, wait=5", 5000), ('wait="7"', "wait=7", 7000), ("WAIT = 120", "wait=120", 120_000),
])  # fmt: skip
def test_a_log_in_that_is_queued(broker, dispatcher, prefer, applied, wait_ms):
    dispatcher.on["EXECUTE_QUEUED"] = queued
    answer = broker.api.post(EXECUTE, {**LOGIN, "priority": 2}, headers={"Prefer": prefer}).expect(202)
    assert answer.json == json.loads(QUEUED)
    assert answer.headers["Location"] == "/api/v1/app/jobs/41" and answer.headers["Preference-Applied"] == applied
    _, asked, params = dispatcher.saw("EXECUTE_QUEUED")[0]
    assert json.loads(params) == LOGIN["params"] and asked.get("wait_ms", 0) == wait_ms
    assert (asked["company_id"], asked["portal"], asked["action"], asked["priority"]) == (7, "sunat", LOGIN["action"], 2)
    assert re.fullmatch(r"[A-Z0-9]{12}-\d{10}", asked["job_uid"]) and not dispatcher.saw("EXECUTE_LOGIN")
    wanted = wait_ms or 28_000
    assert wanted - 4500 < asked["deadline_ms"] <= wanted


def test_prefer_in_two_headers(broker, dispatcher):
    dispatcher.on["EXECUTE_QUEUED"] = queued
    body = json.dumps(LOGIN).encode()
    head = f"POST {EXECUTE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 1|secret\r\nContent-Type: application/json\r\nConnection: close\r\n"
    got = raw(broker.url, f"{head}Prefer: respond-async\r\nPrefer: wait=9, wait=1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    assert got.startswith(b"HTTP/1.1 202 ") and b"\r\nPreference-Applied: respond-async, wait=9\r\n" in got


def test_the_result_comes_in_time(broker, dispatcher):
    result = b'{"ok":true,"job_id":41,"session_id":"s-1"}'
    late = Later(broker.api.post, EXECUTE, LOGIN, headers={"Prefer": "wait=10"})
    _, asked, _ = dispatcher.wait_seen("EXECUTE_QUEUED")
    dispatcher.order(dispatcher.send, "ACCEPTED", id=asked["id"], job_id=41)
    dispatcher.order(dispatcher.reply, asked, result)
    answer = late.answer().expect(200)
    assert answer.body == result and answer.headers["Preference-Applied"] == "wait=10" and "Location" not in answer.headers
    dispatcher.on["EXECUTE_QUEUED"] = says(b'{"ok":true,"reused":true}')
    answer = broker.api.post(EXECUTE, LOGIN, headers={"Prefer": "respond-async"}).expect(200)
    assert answer.json["reused"] and "Preference-Applied" not in answer.headers
    dispatcher.on["EXECUTE_QUEUED"] = fails("login_in_progress", b'{"job_id":3}')
    answer = broker.api.post(EXECUTE, LOGIN, headers={"Prefer": "respond-async"}).expect(409, "login_in_progress")
    assert answer.json["job_id"] == 3 and "Preference-Applied" not in answer.headers


def test_the_result_does_not_come_in_time(broker, dispatcher):
    dispatcher.on["EXECUTE_QUEUED"] = accepts
    began = time.monotonic()
    answer = broker.api.post(EXECUTE, LOGIN, headers={"Prefer": "wait=3"}).expect(202)
    assert 2.9 < time.monotonic() - began < 15
    asked = dispatcher.saw("EXECUTE_QUEUED")[0][1]
    assert answer.json == {"ok": True, "job_id": 55, "job_uid": asked["job_uid"], "status": "queued"}
    assert answer.headers["Location"] == "/api/v1/app/jobs/55" and answer.headers["Preference-Applied"] == "wait=3"
    assert dispatcher.wait_seen("CANCEL")[1]["id"] == asked["id"]  # nobody waits, the job goes on
    assert broker.stat("deadline_exceeded_total") == 0
    dispatcher.order(dispatcher.reply, asked, b"{}")
    wait_until(lambda: broker.stat("replies_late_total") == 1, 5)


def test_the_job_of_somebody_else(broker, dispatcher):
    def another(me, header, _):
        me.send("ACCEPTED", id=header["id"], job_id=56, job_uid="ZZZZZZ-1700000000")

    dispatcher.on["EXECUTE_QUEUED"] = another
    answer = broker.api.post(EXECUTE, LOGIN, headers={"Prefer": "wait=3", "Idempotency-Key": "k"}).expect(202)
    assert (answer.json["job_id"], answer.json["job_uid"]) == (56, "ZZZZZZ-1700000000")


def test_nothing_was_accepted_in_time(broker, dispatcher):
    answer = broker.api.post(EXECUTE, LOGIN, headers={"Prefer": "wait=1"}).expect(504, "deadline_exceeded")
    assert "job_id" not in answer.json and "Location" not in answer.headers
    began = time.monotonic()
    broker.api.post(EXECUTE, LOGIN, headers={"Prefer": "wait=60", "X-Deadline-Ms": "300"}).expect(504)
    broker.api.post(EXECUTE, LOGIN, headers={"Prefer": "respond-async", "X-Deadline-Ms": "300"}).expect(504)
    assert time.monotonic() - began < 15


def test_a_queued_log_in_is_sent_as_often_as_needed(broker, pair, make_dispatcher):
    first, second = pair
    third = make_dispatcher(broker, name="d3")
    third.limit(0)
    late = Later(broker.api.post, EXECUTE, LOGIN, headers={"Prefer": "wait=20"})
    _, asked, params = first.wait_seen("EXECUTE_QUEUED")
    died(first, second, "link")
    _, again, same = second.wait_seen("EXECUTE_QUEUED")
    third.on["EXECUTE_QUEUED"] = says(b'{"ok":true,"session_id":"s-9"}')
    died(second, third, "link")
    assert late.answer().expect(200).json["session_id"] == "s-9"
    last = third.saw("EXECUTE_QUEUED")[0]
    assert params == same == last[2] and asked["job_uid"] == again["job_uid"] == last[1]["job_uid"]
    assert broker.stat("resends_total") == 2


def test_an_accepted_job_outlives_all_dispatchers(broker, dispatcher):
    dispatcher.on["EXECUTE_QUEUED"] = accepts
    late = Later(broker.api.post, EXECUTE, LOGIN, headers={"Prefer": "wait=20"})
    dispatcher.wait_seen("EXECUTE_QUEUED")
    dispatcher.limit(8)  # the broker has it: a connection that ends drops what it has not sent
    dispatcher.close()
    assert late.answer(10).expect(202).json["job_id"] == 55


def test_a_client_that_goes_away_changes_nothing(broker, dispatcher):
    dispatcher.on["EXECUTE_QUEUED"] = accepts
    body = json.dumps(LOGIN).encode()
    head = f"POST {EXECUTE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 1|secret\r\nContent-Type: application/json\r\nPrefer: wait=30\r\n"
    with connect(broker.url) as wire:
        wire.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        dispatcher.wait_seen("EXECUTE_QUEUED")
    wait_until(lambda: broker.stat("flights") == 0, 5)
    dispatcher.wait_seen("CANCEL")


def test_bad_preferences(broker, dispatcher):
    for prefer in ("wait=121", "wait=-1", "wait", "wait=", "wait=1.5", "wait=x", "respond-async, wait=ten"):
        answer = broker.api.post(EXECUTE, LOGIN, headers={"Prefer": prefer}).expect(422, "validation_failed")
        assert list(answer.json["errors"]) == ["Prefer"], prefer
    dispatcher.on["EXECUTE_LOGIN"] = says(b'{"ok":true}')
    for prefer in ("return=minimal", "x=wait", "", "a; wait=9"):
        answer = broker.api.post(EXECUTE, LOGIN, headers={"Prefer": prefer}).expect(200)
        assert "Preference-Applied" not in answer.headers
    assert len(dispatcher.saw("EXECUTE_LOGIN")) == 4 and not dispatcher.saw("EXECUTE_QUEUED")


def test_prefer_is_not_for_an_action_in_a_session(broker, dispatcher):
    dispatcher.on["EXECUTE_ACTION"] = says(b'{"ok":true}')
    for prefer in ("respond-async", "wait=5", "wait=x"):
        assert "Preference-Applied" not in broker.api.post(EXECUTE, ECHO, headers={"Prefer": prefer}).expect(200).headers
    assert len(dispatcher.saw("EXECUTE_ACTION")) == 3


# --- available_at ------------------------------------------------------------------------------------------------


def test_a_log_in_for_later(broker, dispatcher):
    dispatcher.on["EXECUTE_QUEUED"] = queued
    text, ms = later_time(hours=3)
    broker.api.post(EXECUTE, {**LOGIN, "available_at": text}, headers={"Prefer": "respond-async"}).expect(202)
    broker.api.post(EXECUTE, {**LOGIN, "available_at": later_time(hours=-3)[0]}, headers={"Prefer": "wait=1"}).expect(202)
    first, second = (one[1] for one in dispatcher.saw("EXECUTE_QUEUED"))
    assert first["available_at_ms"] == ms and 0 < second["available_at_ms"] < ms  # whether it has passed, the database's clock says


def test_times_that_cannot_be(broker, dispatcher):
    prefer = {"Prefer": "respond-async"}
    for at in ("tomorrow", 1767225600, "2026-02-30T00:00:00Z", "2026-01-31T06:00:00", "2026-01-31T06:00:00-05:00", later_time(days=367)[0]):
        answer = broker.api.post(EXECUTE, {**LOGIN, "available_at": at}, headers=prefer).expect(422)
        assert list(answer.json["errors"]) == ["available_at"], at
    good = later_time(hours=1)[0]
    assert list(broker.api.post(EXECUTE, {**LOGIN, "available_at": good}).expect(422).json["errors"]) == ["available_at"]
    assert list(broker.api.post(EXECUTE, {**ECHO, "available_at": good}, headers=prefer).expect(422).json["errors"]) == ["available_at"]
    dispatcher.on["EXECUTE_LOGIN"] = says()
    broker.api.post(EXECUTE, {**LOGIN, "available_at": None}).expect(200)


# --- Idempotency-Key ---------------------------------------------------------------------------------------------


def test_the_key_and_the_bodys_hash(broker, dispatcher):
    dispatcher.on["EXECUTE_LOGIN"] = dispatcher.on["EXECUTE_ACTION"] = says(b'{"ok":true}')
    dispatcher.on["EXECUTE_QUEUED"] = queued
    for headers, op, body in (({}, "EXECUTE_LOGIN", LOGIN), ({}, "EXECUTE_ACTION", ECHO), ({"Prefer": "wait=3"}, "EXECUTE_QUEUED", LOGIN)):
        text = json.dumps(body, indent=1).encode()
        sent = {**headers, "Content-Type": "application/json", "Idempotency-Key": "orden 7/2"}
        broker.api.request("POST", EXECUTE, body=text, headers=sent)
        broker.api.request("POST", EXECUTE, body=text, headers={**sent, "Idempotency-Key": None})
        (_, keyed, _), (_, plain, _) = dispatcher.saw(op)
        assert keyed["idempotency_key"] == "orden 7/2" and keyed["body_digest"] == hashlib.sha256(text).digest()
        assert "idempotency_key" not in plain and "body_digest" not in plain


def test_answers_that_were_stored(broker, dispatcher):
    keyed = {"Idempotency-Key": "k"}
    dispatcher.on["EXECUTE_LOGIN"] = says(b'{"ok":true,"job_id":3}', replayed=True)
    assert broker.api.post(EXECUTE, LOGIN, headers=keyed).expect(200).headers["Idempotency-Replayed"] == "true"
    dispatcher.on["EXECUTE_LOGIN"] = lambda me, header, _: me.reply(header, b'{"job_id":3}', error="robot_error", replayed=True)
    answer = broker.api.post(EXECUTE, LOGIN, headers=keyed).expect(502, "robot_error")
    assert answer.headers["Idempotency-Replayed"] == "true" and answer.json["job_id"] == 3
    dispatcher.on["EXECUTE_QUEUED"] = lambda me, header, _: me.reply(header, QUEUED, status=202, replayed=True)
    answer = broker.api.post(EXECUTE, LOGIN, headers={**keyed, "Prefer": "respond-async"}).expect(202)
    assert answer.headers["Idempotency-Replayed"] == "true" and answer.headers["Location"] == "/api/v1/app/jobs/41"
    dispatcher.on["EXECUTE_LOGIN"] = says(b'{"ok":true}')
    assert "Idempotency-Replayed" not in broker.api.post(EXECUTE, LOGIN, headers=keyed).expect(200).headers
    dispatcher.on["EXECUTE_LOGIN"] = fails("idempotency_mismatch")
    broker.api.post(EXECUTE, LOGIN, headers=keyed).expect(422, "idempotency_mismatch")


def test_bad_keys(broker, dispatcher):
    for key in (b"", b"k" * 256, "ñ".encode(), b"a\tb"):
        answer = broker.api.post(EXECUTE, LOGIN, headers={"Idempotency-Key": key}).expect(422, "validation_failed")
        assert list(answer.json["errors"]) == ["Idempotency-Key"], key
    dispatcher.on["EXECUTE_LOGIN"] = says()
    broker.api.post(EXECUTE, LOGIN, headers={"Idempotency-Key": "k" * 255}).expect(200)
    body = json.dumps(LOGIN).encode()
    head = f"POST {EXECUTE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 1|secret\r\nContent-Type: application/json\r\nConnection: close\r\n"
    got = raw(broker.url, f"{head}Idempotency-Key: a\r\nIdempotency-Key: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    assert got.startswith(b"HTTP/1.1 422 ") and b"Idempotency-Key" in got
    dispatcher.on["BUZON_LIST"] = says()
    broker.api.list("s", headers={"Idempotency-Key": "ñ".encode()}).expect(200)  # not asked for there


def test_a_keyed_log_in_is_awaited_under_its_job(broker, pair):
    first, second = pair
    second.on["JOB_AWAIT"] = says(b'{"ok":true,"job_id":9}')
    late = Later(broker.api.post, EXECUTE, LOGIN, headers={"Idempotency-Key": "k"})
    _, request, _ = first.wait_seen("EXECUTE_LOGIN")
    first.order(first.send, "ACCEPTED", id=request["id"], job_id=9, job_uid="ZZZZZZ-1700000000")
    first.limit(8)  # the broker has it
    died(first, second, "link")
    assert late.answer().expect(200).json["job_id"] == 9
    assert second.saw("JOB_AWAIT")[0][1]["job_uid"] == "ZZZZZZ-1700000000"


def test_a_key_says_nothing_before_the_fields_are_right(broker, dispatcher):
    dispatcher.on["TOKEN_VERIFY"] = token_says(companies=[1])
    broker.api.post(EXECUTE, LOGIN, headers={"Idempotency-Key": "k", "Prefer": "wait=5"}).expect(403, "company_forbidden")
    stays(lambda: not dispatcher.saw("EXECUTE_QUEUED", "EXECUTE_LOGIN"), 0.2)
