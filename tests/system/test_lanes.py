# SPDX-License-Identifier: MIT
"""Lanes, credit and deadlines of a broker, and dispatchers that come, go and die."""

import json
import time

import pytest
import zmq

from broker_alone import (  # noqa: F401
    ECHO, EXECUTE, LOGIN, SECRET, Later, broker, died, dispatcher, fails, make_broker, make_dispatcher, pair, says, second_credit,
)  # fmt: skip
from harness.http import Client, connect
from harness.wait import stays, wait_until
from harness.wire import encode


# --- lanes, credit, deadlines ------------------------------------------------------------------------------------


def test_credit_is_never_exceeded(broker, dispatcher):
    broker.api.session("x" * 101).expect(404)  # the token is known
    dispatcher.limit(3)
    late = [Later(broker.api.list, f"s{n}") for n in range(10)]
    dispatcher.wait_seen("BUZON_LIST", 3)
    wait_until(lambda: broker.lane("interactive")["depth"] == 7, 5, "the others wait")
    stays(lambda: len(dispatcher.saw("BUZON_LIST")) == 3, 0.5)
    dispatcher.on["SESSION_GET"] = says()
    broker.api.session("s").expect(200)  # another lane goes on
    dispatcher.on["BUZON_LIST"] = says()
    for header, payload in list(dispatcher.held):
        dispatcher.order(dispatcher.on["BUZON_LIST"], dispatcher, header, payload)
    dispatcher.order(dispatcher.ping)
    assert [one.answer().status for one in late] == [200] * 10
    wait_until(lambda: broker.stat("flights") == 0, 5)  # the broker's own questions are flights, too
    assert broker.lane("interactive")["depth"] == 0


def test_no_company_starves_another(broker, dispatcher):
    broker.api.session("x" * 101).expect(404)
    dispatcher.limit(1)
    crowd = [Later(broker.api.execute, 1) for _ in range(30)]
    wait_until(lambda: broker.lane("login")["depth"] == 29, 5, "one is taken, the others wait")
    few = [Later(broker.api.execute, company) for company in (2, 3)]
    wait_until(lambda: broker.lane("login")["depth"] == 31, 5)
    dispatcher.on["EXECUTE_LOGIN"] = says()
    dispatcher.order(dispatcher.on["EXECUTE_LOGIN"], dispatcher, *dispatcher.held[0])
    dispatcher.order(dispatcher.ping)
    assert all(one.answer().status == 200 for one in crowd + few)
    order = [request["company_id"] for _, request, _ in dispatcher.saw("EXECUTE_LOGIN")]
    assert max(order.index(2), order.index(3)) < 12, order


def test_a_full_lane_refuses(make_broker, make_dispatcher):
    alone = make_broker({"queue.max_depth": 5})
    asked = make_dispatcher(alone)
    asked.on["JOB_GET"] = says()
    alone.api.job(1).expect(200)
    asked.limit(0)
    late = [Later(alone.api.list, "s", headers={"X-Deadline-Ms": "5000"}) for _ in range(5)]
    wait_until(lambda: alone.lane("interactive")["depth"] == 5, 5)
    answer = alone.api.list("s").expect(503, "queue_full")
    assert answer.headers["Retry-After"] == "1" and alone.stat("queue_full_total") == 1
    assert all(one.answer().expect(504, "deadline_exceeded") for one in late)
    assert alone.lane("interactive")["depth"] == 0 and not asked.saw("BUZON_LIST")
    asked.limit(8)  # for the token, which was verified too long ago
    alone.ops.get("/api/v1/ops/stats").expect(200)


def test_what_waited_too_long_is_never_sent(broker, dispatcher):
    broker.api.session("x" * 101).expect(404)
    dispatcher.limit(0)
    began = time.monotonic()
    broker.api.list("s", headers={"X-Deadline-Ms": "300"}).expect(504, "deadline_exceeded")
    assert 0.25 < time.monotonic() - began < 10  # of 28 s without it
    dispatcher.limit(8)
    stays(lambda: not dispatcher.saw("BUZON_LIST"), 0.3)
    assert broker.stat("deadline_exceeded_total") == 1


def test_deadlines_at_a_dispatcher(broker, dispatcher):
    began = time.monotonic()
    broker.api.list("s", headers={"X-Deadline-Ms": "3000"}).expect(504, "deadline_exceeded")
    assert 2.9 < time.monotonic() - began < 20
    cancelled = dispatcher.wait_seen("CANCEL")[1]["id"]
    assert cancelled == dispatcher.saw("BUZON_LIST")[0][1]["id"]
    dispatcher.order(dispatcher.reply, dispatcher.held[0][0], b"{}")
    wait_until(lambda: broker.stat("replies_late_total") == 1, 5, "the late answer is counted")
    late = Later(broker.api.execute, 7, headers={"X-Deadline-Ms": "4000"})
    _, request, _ = dispatcher.wait_seen("EXECUTE_LOGIN")
    dispatcher.order(dispatcher.send, "ACCEPTED", id=request["id"], job_id=55)
    answer = late.answer().expect(504, "deadline_exceeded")
    assert answer.json["job_id"] == 55 and answer.json["job_uid"] == request["job_uid"]
    assert len(dispatcher.saw("CANCEL")) == 1  # a log-in goes on


def test_a_client_that_goes_away(broker, dispatcher):
    def ask_and_go(data):
        with connect(broker.url) as wire:
            wire.sendall(data)
            wait_until(lambda: broker.stat("flights") == 1, 5, "it is worked on")

    head = f"Host: x\r\nAuthorization: Bearer {SECRET}\r\n"
    ask_and_go(f"GET /api/v1/app/buzon/list?session_id=s HTTP/1.1\r\n{head}\r\n".encode())
    assert dispatcher.wait_seen("CANCEL")[1]["id"] == dispatcher.saw("BUZON_LIST")[0][1]["id"]
    wait_until(lambda: broker.stat("flights") == 0, 5)
    body = json.dumps(LOGIN)
    ask_and_go(f"POST {EXECUTE} HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    wait_until(lambda: broker.stat("flights") == 0, 5)
    assert len(dispatcher.saw("CANCEL")) == 1 and broker.stat("http_gone_total") == 2
    wait_until(lambda: broker.stat("http_parked") == 0, 5)


# --- dispatchers that come, go and die ---------------------------------------------------------------------------


def test_without_a_dispatcher(broker):
    began = time.monotonic()
    answer = broker.api.list("s").expect(503, "no_dispatcher")
    assert answer.headers["Retry-After"] == "1" and time.monotonic() - began < 10  # of 28 s
    assert Client(broker.ops_url).get("/readyz").expect(503).json["ok"] is False
    Client(broker.ops_url).get("/healthz").expect(200)
    assert Client(broker.ops_url).get("/").expect(200).headers["Content-Type"].startswith("text/html")


def test_it_waits_for_a_dispatcher_that_comes_back(broker, make_dispatcher):
    def comes_back():
        first = make_dispatcher(broker, name="d1")
        first.on["BUZON_LIST"] = says()
        broker.api.list("s").expect(200)
        first.close()
        wait_until(lambda: not broker.ready(), 5, "it is missed")
        late = Later(broker.api.list, "s")
        wait_until(lambda: broker.lane("interactive")["depth"] == 1, 1, "the list waits for one that comes")
        second = make_dispatcher(broker, name="d1", on={"BUZON_LIST": says(b'{"by":2}')})
        answer = late.answer()
        second.close()
        return answer.expect(200).json == {"by": 2}

    wait_until(comes_back, 10, "it is waited for")  # for 2 s: again, when it came later than that
    began = time.monotonic()
    broker.api.list("s").expect(503, "no_dispatcher")
    assert time.monotonic() - began < 15  # of 28 s


@pytest.mark.parametrize("how", ["link", "silence", "reboot", "refused"])
def test_a_list_is_sent_to_a_second_dispatcher(broker, pair, how):
    first, second = pair
    second.on["BUZON_LIST"] = says(b'{"by":2}')
    late = Later(broker.api.list, "s", 4)
    _, before, _ = first.wait_seen("BUZON_LIST")
    died(first, second, how)
    assert late.answer().expect(200).json == {"by": 2}
    _, after, _ = second.saw("BUZON_LIST")[0]
    for name in ("session_id", "page", "request_id", "op", "token_id"):
        assert before[name] == after[name]
    assert after["deadline_ms"] <= before["deadline_ms"] and after["id"] != before["id"]
    assert broker.stat("resends_total") == 1


def test_but_only_once(broker, pair, make_dispatcher):
    first, second = pair
    late = Later(broker.api.list, "s")
    first.wait_seen("BUZON_LIST")
    died(first, second, "link")
    second.wait_seen("BUZON_LIST")
    third = make_dispatcher(broker, name="d3")
    second.close()
    late.answer().expect(503, "no_dispatcher")
    assert not third.saw("BUZON_LIST")


def test_a_log_in_is_awaited_at_another_dispatcher(broker, pair):
    first, second = pair
    second.on["JOB_AWAIT"] = says(b'{"ok":true,"job_id":9,"session_id":"s-9"}')
    late = Later(broker.api.post, EXECUTE, LOGIN)
    _, request, _ = first.wait_seen("EXECUTE_LOGIN")
    died(first, second, "link")
    assert late.answer().expect(200).json["session_id"] == "s-9"
    _, awaited, _ = second.saw("JOB_AWAIT")[0]
    assert awaited["job_uid"] == request["job_uid"] and awaited.get("lane", 0) == 0
    assert not second.saw("EXECUTE_LOGIN")


def test_a_log_in_that_never_was(broker, pair):
    first, second = pair
    second.on["JOB_AWAIT"] = fails("job_not_found")
    late = Later(broker.api.post, EXECUTE, LOGIN)
    first.wait_seen("EXECUTE_LOGIN")
    died(first, second, "link")
    late.answer().expect(503, "no_dispatcher")


def test_what_may_have_been_done_is_not_repeated(broker, pair):
    first, second = pair
    calls = [Later(broker.api.post, EXECUTE, ECHO), Later(broker.api.close, "s"), Later(broker.ops.post, "/api/v1/ops/workers/r1/drain", {}),
             Later(broker.ops.post, "/api/v1/ops/sessions/s/migrate", {})]  # fmt: skip
    for op in ("EXECUTE_ACTION", "SESSION_CLOSE", "OPS_WORKER_WANT", "OPS_SESSION_MIGRATE"):
        first.wait_seen(op)
    action = first.saw("EXECUTE_ACTION")[0][1]
    first.order(first.send, "ACCEPTED", id=action["id"], job_id=77)
    died(first, second, "link")
    answers = [one.answer().expect(502, "outcome_unknown").json for one in calls]
    assert answers[0]["job_id"] == 77 and answers[0]["job_uid"] == action["job_uid"] and "job_id" not in answers[1]
    assert not [one for one in second.seen if one[0] != "TOKEN_VERIFY"]


def test_a_dispatcher_that_forgot_us_greets_again(broker, dispatcher):
    dispatcher.on["JOB_GET"] = says()
    broker.api.job(1).expect(200)
    late = Later(broker.api.list, "s")
    dispatcher.wait_seen("BUZON_LIST")
    dispatcher.on["BUZON_LIST"] = says(b'{"again":1}')
    dispatcher.order(dispatcher.send, "HELLO", name=dispatcher.name, boot_id=dispatcher.boot_id, capacity=8)
    dispatcher.wait_seen("WELCOME")
    dispatcher.limit(8)
    assert late.answer().expect(200).json == {"again": 1}


def test_a_dispatcher_that_was_silent_is_taken_back(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says()
    broker.api.list("s").expect(200)
    dispatcher.silent = True
    wait_until(lambda: not broker.ready(), 5, "it is given up")
    dispatcher.silent = False
    wait_until(broker.ready, 5, "it is heard again")
    broker.api.list("s").expect(200)


def test_strangers_are_told_to_greet(broker, dispatcher):
    stranger = zmq.Context().socket(zmq.DEALER)
    stranger.linger = 0
    stranger.connect(broker.bind)
    try:
        for frames, reason in (([b"\x02\x01", b"\x80"], b"version"), (encode("PING", seq=1), b"HELLO")):
            stranger.send_multipart(frames)
            assert stranger.poll(5000)
            got = stranger.recv_multipart()
            assert got[0] == b"\x01\x10" and reason in got[1]
    finally:
        stranger.context.destroy(linger=0)
    assert broker.ready()


def test_a_dispatcher_with_a_database_is_preferred(broker, pair):
    first, second = pair
    first.limit(100)
    first.database_ok = False
    second.limit(8)
    first.order(first.ping)
    second.on["BUZON_LIST"] = says()

    def told():
        rows = broker.ops.get("/api/v1/ops/dispatchers").json["dispatchers"]
        return {row["name"]: row["database_ok"] for row in rows} == {"d1": False, "d2": True}

    wait_until(told, 5)
    for _ in range(5):
        broker.api.list("s").expect(200)
    assert len(second.saw("BUZON_LIST")) == 5


def test_the_most_free_credit_is_used(broker, pair):
    first, second = pair
    first.limit(4)
    second.limit(8)
    wait_until(lambda: second_credit(broker) == 8, 5)
    late = []
    for n in range(8):  # one by one: what comes at a time goes to one of them
        late.append(Later(broker.api.list, f"s{n}"))
        wait_until(lambda n=n: len(first.saw("BUZON_LIST") + second.saw("BUZON_LIST")) == n + 1, 5)
    assert len(first.saw("BUZON_LIST")) == 2 and len(second.saw("BUZON_LIST")) == 6
    for one in (first, second):
        for header, _ in list(one.held):
            one.order(one.reply, header, b"{}")
    assert all(one.answer().status == 200 for one in late)


def test_bye_drains_a_dispatcher(broker, pair):
    first, second = pair
    late = Later(broker.api.list, "s")
    header = first.wait_seen("BUZON_LIST")[1]
    first.draining = True
    first.order(first.send, "BYE", reason="stopping")
    second.limit(8)
    second.on["BUZON_LIST"] = says()
    for _ in range(3):
        broker.api.list("s").expect(200)
    assert len(first.saw("BUZON_LIST")) == 1
    first.order(first.reply, header, b'{"by":1}')
    assert late.answer().expect(200).json == {"by": 1}


def test_wakes_are_passed_on(broker, pair):
    first, second = pair
    first.order(first.send, "WAKE", what="place")
    assert second.wait_seen("WAKE")[1] == {"what": "place"}
    assert not first.saw("WAKE")


def test_a_stalled_broker_blames_nobody(broker, dispatcher):
    late = Later(broker.api.post, EXECUTE, ECHO)
    header = dispatcher.wait_seen("EXECUTE_ACTION")[1]
    broker.pause()
    stays(lambda: True, 3)
    broker.resume()
    dispatcher.order(dispatcher.reply, header, b'{"ok":true}')
    late.answer().expect(200)
