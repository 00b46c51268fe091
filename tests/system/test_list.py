# SPDX-License-Identifier: MIT
"""The mailbox list: from the robot that holds the session, its bytes unchanged; look-ups together; dispatchers that die."""

import json
import re
import threading
import time

import pytest

from harness import content
from harness.http import connect
from harness.wait import wait_until

LIMIT = 8 << 20


def together(calls):
    """Runs all at once; answers their results in order."""
    results = [None] * len(calls)

    def run(number, call):
        results[number] = call()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_the_robots_page_comes_unchanged(system):
    session = system.api.login(1)
    for page in (None, 1, 2, 3, 9):
        answer = system.api.list(session, page).expect(200)
        assert answer.json == content.mailbox_page("r1", 1, page or 1)
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert "X-Session-Id" not in answer.headers
    sent = system.robot.calls("list")
    assert [call["query"]["page"] for call in sent] == ["1", "1", "2", "3", "9"]
    assert {call["query"]["session_id"] for call in sent} == {session}


def test_every_session_is_listed_at_its_own_robot(make_system):
    system = make_system(robots=3, dispatchers=2)
    sessions = {company: system.api.login(company) for company in range(10, 19)}
    homes = {company: system.robot_of(session) for company, session in sessions.items()}
    assert len({home.name for home in homes.values()}) == 3
    for robot in system.robots.values():
        robot.forget_calls()
    answers = together([lambda c=c, s=s: (c, system.api.list(s, 2)) for c, s in sessions.items() for _ in range(5)])
    for company, answer in answers:
        assert answer.expect(200).json == content.mailbox_page(homes[company].name, company, 2)
    for robot in system.robots.values():
        here = {company for company, home in homes.items() if home is robot}
        assert {call["company_id"] for call in robot.calls("list")} == here


def test_ids_travel_to_the_robot(system):
    session = system.api.login(2)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = system.api.list(session, headers={"X-Request-Id": "list-42", "traceparent": trace}).expect(200)
    assert answer.headers["X-Request-Id"] == "list-42"
    headers = system.robot.calls("list")[-1]["headers"]
    assert headers["X-Request-Id"] == "list-42" and headers["traceparent"] == trace
    system.robot.behave("list", "status", status=500)
    system.api.list(session, headers={"X-Request-Id": "list-43"}).expect(502, "robot_error")
    line = system.dispatcher.wait_log(r"event=answered request=list-43 .*").group()
    assert re.search(r" job=\d+ robot=r1 ms=\d+ queue_ms=\d+ db_ms=\d+ robot_ms=\d+", line)
    assert session not in system.dispatcher.text() and session not in system.broker.text()


@pytest.mark.parametrize("status", [400, 401, 403, 409, 418, 422, 429])
def test_other_statuses_pass_with_their_body(system, status):
    session = system.api.login(3)
    body = {"ok": False, "error": "the_robots_own", "message": "sus propias palabras", "n": [1, 2.5]}
    system.robot.behave("list", "status", status=status, body=body)
    assert system.api.list(session).expect(status).json == body
    system.robot.behave_well()
    system.api.list(session).expect(200)


@pytest.mark.parametrize("size", [500_000, 524_288, 524_289, 3_000_000, LIMIT])
def test_long_lists(system, size):
    """Over 512 KiB they are streamed; the client sees no difference."""
    session = system.api.login(4)
    text = '{"pad":"ñ' + "x" * (size - 12) + '"}'
    assert len(text.encode()) == size
    system.robot.behave("list", "status", status=200, body=text)
    answer = system.api.list(session).expect(200)
    assert answer.body == text.encode() and int(answer.headers["Content-Length"]) == size


def test_a_byte_order_mark_is_dropped(system):
    """JSON has none (RFC 8259), and PHP's json_decode() refuses it: a client gets the list that it means."""
    session = system.api.login(5)
    for body in ('{"items":[1,2.50]}', ' [\n{"a":"\ufeff"}]', '{"pad":"' + "x" * 600_000 + '"}'):
        for status in (200, 422):
            system.robot.behave("list", "status", status=status, body="\ufeff" + body)
            answer = system.api.list(session).expect(status)
            assert answer.body == body.encode() and int(answer.headers["Content-Length"]) == len(body.encode())
    system.robot.behave("list", "status", status=200, body="\ufeff")
    system.api.list(session).expect(502, "robot_bad_response")
    system.robot.behave("list", "status", status=200, body="\ufeff<html>")
    system.api.list(session).expect(502, "robot_bad_response")


def test_over_the_limit_is_refused(make_system):
    system = make_system(settings={"limit.list_bytes": 100_000})
    session = system.api.login(5)
    system.robot.behave("list", "status", status=200, body="[" + " " * 99_998 + "]")
    system.api.list(session).expect(200)
    system.robot.behave("list", "status", status=200, body="[" + " " * 99_999 + "]")
    system.api.list(session).expect(502, "robot_bad_response")
    system.robot.behave("list", "status", status=500, body="[" + " " * 99_999 + "]")
    system.api.list(session).expect(502, "robot_error")


def test_json_is_known_by_its_type_and_first_byte(system):
    session = system.api.login(6)
    good = [("application/json", "[]"), ("application/problem+json; charset=utf-8", "{}"), ("APPLICATION/JSON", ' \n\t[1]'),
            ("application/json", '{"cut":')]  # fmt: skip
    bad = [("text/html", "{}"), ("application/json", ""), ("application/json", " "), ("application/json", "null"),
           ("application/json", '"text"'), ("application/jsonx", "{}"), ("json", "{}")]  # fmt: skip
    for kind, body in good:
        system.robot.behave("list", "status", status=200, content_type=kind, body=body)
        assert system.api.list(session).expect(200).body == body.encode()
    for kind, body in bad:
        system.robot.behave("list", "status", status=200, content_type=kind, body=body)
        system.api.list(session).expect(502, "robot_bad_response")


def test_the_robot_gets_what_is_left_of_the_deadline(system):
    session = system.api.login(7)
    system.robot.behave("list", "hang")

    def robot_ms():
        mark = system.dispatcher.mark()
        system.api.list(session, headers={"X-Deadline-Ms": "1500"}).expect(504, "deadline_exceeded")
        return int(system.dispatcher.wait_log(r"op=BUZON_LIST status=504 .* robot_ms=(\d+)", start=mark).group(1))

    wait_until(lambda: 500 <= robot_ms() <= 1300, 5, "500 ms are kept for the way back")  # again, when something stalled meanwhile
    system.robot.behave("list", "delay", ms=700)
    system.api.list(session, headers={"X-Deadline-Ms": "8000"}).expect(200)


def test_the_robots_own_limit(make_system):
    system = make_system(settings={"timeout.list_ms": 300})
    session = system.api.login(8)
    system.robot.behave("list", "hang")
    system.api.list(session, headers={"X-Deadline-Ms": "20000"}).expect(504, "deadline_exceeded")
    took = system.dispatcher.wait_log(r"op=BUZON_LIST status=504 .* robot_ms=(\d+)")
    assert 300 <= int(took.group(1)) < 5000  # on a busy machine; the deadline was 20 s


def test_look_ups_that_wait_together_are_one_query(system, mariadb):
    sessions = [system.api.login(company) for company in range(30, 36)]
    for session in sessions:
        system.api.list(session).expect(200)
    assert wait_until(lambda: system.metric("chasqui_lookups_total") == len(sessions), 5, "the counters have travelled")
    before = system.metric("chasqui_lookups_total"), system.metric("chasqui_lookup_queries_total")
    requests = 60
    mariadb.process.pause()
    answers = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(system.api.list(sessions[n % 6]))) for n in range(requests)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: system.metric("chasqui_requests_in_flight") >= requests, 10, "all wait for the database")
    mariadb.process.resume()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * requests

    def counted():
        now = system.metric("chasqui_lookups_total"), system.metric("chasqui_lookup_queries_total")
        return now if now[0] >= before[0] + requests else None

    after = wait_until(counted, 5, "the counters have travelled")
    assert after[1] - before[1] <= 6, (before, after)


def test_a_list_is_sent_to_another_dispatcher_when_its_own_dies(make_system):
    system = make_system(dispatchers=2)
    session = system.api.login(40)
    system.robot.behave("list", "hang", times=1)
    answers = []
    caller = threading.Thread(target=lambda: answers.append(system.api.list(session)))
    caller.start()
    system.robot.wait_call("list")

    def at_work():
        now = system.metrics()
        return [one for one in system.dispatchers if now.get(f'chasqui_requests_in_flight{{process="dispatcher",name="{one.name}"}}')]

    def holder():  # the one of which two reports say so: a report may be of the log-in, or of another question
        first = at_work()
        time.sleep(2.2)
        return first[0] if len(first) == 1 and first == at_work() else None

    wait_until(holder, 20, "one of them works on it").kill9()
    caller.join()
    assert answers[0].expect(200).json == content.mailbox_page("r1", 40, 1)
    assert len(system.robot.calls("list")) == 2


def test_a_client_that_leaves_ends_the_robots_call(system):
    session = system.api.login(41)
    system.robot.behave("list", "hang", times=1)
    with connect(system.api_url()) as wire:
        wire.sendall(
            f"GET /api/v1/app/buzon/list?session_id={session} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {system.token}\r\n\r\n".encode()
        )
        system.robot.wait_call("list")
        wait_until(lambda: system.metric("chasqui_requests_in_flight") == 1, 5, "a dispatcher works on it")
    wait_until(lambda: system.metric("chasqui_requests_in_flight") == 0, 5, "the dispatcher let go")
    system.api.list(session).expect(200)


def test_many_at_once_are_all_answered(make_system):
    """More than dispatcher.concurrency: what is over the credit waits at the broker."""
    system = make_system(settings={"dispatcher.concurrency": 8}, robots=2)
    sessions = {company: system.api.login(company) for company in range(50, 54)}
    system.robot.behave("list", "delay", ms=20)
    answers = together([lambda c=c, s=s: (c, system.api.list(s)) for c, s in sessions.items() for _ in range(20)])
    assert all(answer.expect(200).json["company_id"] == company for company, answer in answers)
    assert system.metric("chasqui_bus_malformed_total") == 0


def test_a_robot_that_refuses_connections(make_system):
    system = make_system(settings={"healthd.down_after": 100})  # it is not judged down while we look
    session = system.api.login(42)
    system.robot.kill9()
    answer = system.api.list(session).expect(502, "robot_unreachable")
    assert system.robot.url not in answer.body.decode() and str(system.robot.port) not in answer.body.decode()
    system.check_doctor = False


def test_a_superseded_session_of_laravel_names_its_successor(system):
    old, now = system.robot.orphan(60), None
    system.allow_violations = True  # two log-ins of one company: Laravel's doing
    system.database.execute(
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at,"
        " updated_at) VALUES ('LARAVEL1-1700000000', 60, 'sunat', 'sunat.menu_sol_login', 'done', %s, %s, NOW() - INTERVAL 2 DAY,"
        " NOW() - INTERVAL 2 DAY)", system.robot.url, old)  # fmt: skip
    now = system.api.login(60)
    gone = system.api.list(old).expect(410, "session_lost").json
    assert (gone["reason"], gone["successor_session_id"]) == ("superseded", now)
    assert json.dumps(gone).find(system.robot.url) < 0
