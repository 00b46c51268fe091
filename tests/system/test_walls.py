# SPDX-License-Identifier: MIT
"""No company and no robot uses up what others need: calls in flight are bounded, and what only waits holds no credit."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.wait import ran_s, wait_until

CROWD = 280  # more than a lane has credits (256)
STILL_S = 1.5  # a robot that ended no call for so long may have had its line refused, which is after 2 s
NOISE_S = 6.0  # a p99 below it says nothing on a busy machine; without the walls it is a deadline, or the end of a slow log-in


def p99(call, times=40):
    """Of calls that must all succeed, one after another."""
    took = []
    for n in range(times):
        began = ran_s()
        call(n).expect(200)
        took.append(ran_s() - began)
    return sorted(took)[-1 - times // 100]


def at_rest(system):
    """Every credit is back and nothing waits."""
    wait_until(lambda: not system.metric("chasqui_requests_parked") and not system.metric("chasqui_flights"), 20, "nothing is in flight")


def alerts(system):
    return {(row["code"], row["who"]): row["text"] for row in system.ops.get("/api/v1/ops/stats?history=0").expect(200).json["words"]}


@pytest.fixture
def two(make_system):
    """Two robots with a session each: company 1 and company 2, on different ones."""
    system = make_system(robots=2, capacity=100, settings={"log.level": "info", "healthd.timeout_ms": 5000})
    sessions = {company: system.api.login(company) for company in (1, 2)}
    robots = {company: system.robot_of(session) for company, session in sessions.items()}
    for company in range(3, 30):
        if robots[1] is not robots[2]:
            break
        sessions[2] = system.api.login(company)
        robots[2] = system.robot_of(sessions[2])
    assert robots[1] is not robots[2]
    return system, sessions, robots


@pytest.mark.long(35)
def test_a_robot_that_hangs_and_a_company_that_waits(two):
    system, sessions, robots = two
    system.check_doctor = False  # it tells of a minute of errors, and of a robot that was silent, which is the test
    crowd = system.api_for(1)
    calm = p99(lambda n: system.api.list(sessions[2], n + 1))
    robots[1].behave("list", "hang")
    with ThreadPoolExecutor(CROWD) as pool:
        waiting = [pool.submit(crowd.list, sessions[1], headers={"X-Deadline-Ms": "20000"}) for _ in range(CROWD)]
        beyond = ("chasqui_requests_parked", "chasqui_bulkhead_refused_total")  # they wait for two seconds, and are refused then
        wait_until(lambda: sum(map(system.metric, beyond)) > 50, 30, "the others wait without a credit")
        stormy = p99(lambda n: system.api.list(sessions[2], n + 1))
        assert stormy < max(2 * calm, NOISE_S), (calm, stormy)
        name = robots[1].name
        told = wait_until(lambda: alerts(system).get(("robot_at_limit", name)), 5, "the alert names the robot")
        assert "128 calls in flight" in told, told
        # the line does not move: who comes now is told so at once, and so are those who wait
        began = time.monotonic()
        wait_until(lambda: crowd.list(sessions[1], headers={"X-Deadline-Ms": "3000"}).error == "queue_full", 10, "refused")
        refused = crowd.list(sessions[1]).expect(503, "queue_full")
        assert refused.headers["Retry-After"] == "1" and name in refused.json["message"], (refused, time.monotonic() - began)
        answers = [one.result() for one in waiting]
    kinds = sorted({(answer.status, answer.error) for answer in answers})
    assert kinds == [(503, "queue_full"), (504, "deadline_exceeded")], kinds
    assert sum(answer.status == 504 for answer in answers) == 128
    robots[1].behave_well()
    system.api.list(sessions[1]).expect(200)
    at_rest(system)
    wait_until(lambda: ("robot_at_limit", name) not in alerts(system), 20, "the alert goes")


def longest_silence(robot, began):
    """The longest time, in seconds, in which the robot ended no list; the first one counts from `began`."""
    ends = sorted([began, *(call["ended"] for call in robot.calls("list") if call["ended"])])
    return max(later - earlier for earlier, later in zip(ends, ends[1:], strict=False))


def test_a_burst_waits_its_turn(two):
    """More callers than the limit, of a robot that answers: nobody is refused. One that the machine held up for as long as that did not answer, and is
    asked again."""
    system, sessions, robots = two
    robots[1].behave("list", "delay", ms=300)
    crowd = system.api_for(1)
    for _ in range(5):
        robots[1].forget_calls()
        began = time.time()
        with ThreadPoolExecutor(CROWD) as pool:
            answers = list(pool.map(lambda n: (system.api if n else crowd).list(sessions[1]), range(CROWD)))
        kinds = {(answer.status, answer.error) for answer in answers}
        if kinds == {(200, None)}:
            break
        assert kinds <= {(200, None), (503, "queue_full")} and longest_silence(robots[1], began) > STILL_S, kinds
        at_rest(system)
    assert kinds == {(200, None)}
    at_rest(system)


@pytest.mark.long(20)
@pytest.mark.parametrize("how", ["same key", "wait", "running"])
def test_log_ins_that_only_wait(two, how):
    system, _, robots = two
    companies = iter(range(1000, 2000))
    calm = p99(lambda n: system.api.execute(next(companies)), 15)
    slow = 500
    for robot in robots.values():
        robot.behave("login", "delay", ms=9000, company_id=slow)
    headers = {"same key": {"Idempotency-Key": "k"}, "wait": {"Prefer": "wait=20"}, "running": {}}[how]
    if how == "running":
        system.api.queue(slow).expect(202)
        headers = {"Prefer": "wait=20"}
    with ThreadPoolExecutor(CROWD) as pool:
        waiting = [pool.submit(system.api.execute, slow, headers=headers, params={"usuario": "u"}) for _ in range(CROWD)]
        wait_until(lambda: system.metric("chasqui_requests_parked") >= CROWD - 5, 15, "they wait without a credit")
        stormy = p99(lambda n: system.api.execute(next(companies)), 15)
        assert stormy < max(2 * calm, NOISE_S), (calm, stormy)
        answers = [one.result() for one in waiting]
    may = {200} if how == "same key" else {200, 202}  # who prefers to wait is answered 202 when its time is over
    assert {answer.status for answer in answers} <= may, {(answer.status, answer.error) for answer in answers}
    assert len({answer.json["session_id"] for answer in answers if answer.status == 200}) == 1
    at_rest(system)


def test_who_waits_survives_the_dispatcher(make_system):
    system = make_system(robots=1, dispatchers=2, settings={"log.level": "info"})
    system.robot.behave("login", "delay", ms=6000)
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(system.api.execute, 5, headers={"Idempotency-Key": "k"}, params={"usuario": "u"}) for _ in range(40)]
        wait_until(lambda: system.metric("chasqui_requests_parked") >= 30, 10, "they wait")
        system.dispatchers[0].kill9()
        answers = [one.result() for one in waiting]
    assert len({(answer.status, answer.error, answer.json["job_id"]) for answer in answers}) == 1, answers[0]


def test_questions_of_one_token_leave_the_database_to_others(two):
    system, _, _ = two
    crowd, other = system.api_for(1), system.api_for(2)
    other.job(10**9).expect(404)
    calm = p99(lambda n: other.get("/api/v1/app/jobs?limit=50"))
    until = time.monotonic() + 4

    def ask(_):
        while time.monotonic() < until:
            crowd.get("/api/v1/app/jobs?limit=200").expect(200)

    with ThreadPoolExecutor(60) as pool:
        asking = [pool.submit(ask, n) for n in range(60)]
        stormy = p99(lambda n: other.get("/api/v1/app/jobs?limit=50"), 20)
        [one.result() for one in asking]
    assert stormy < max(2 * calm, NOISE_S), (calm, stormy)
    at_rest(system)


def test_what_a_token_can_make_grow_is_bounded(make_system):
    system = make_system(robots=1, capacity=5, settings={"log.level": "info"})
    api = system.api_for(7, rate=2)  # so 20 requests a minute that make rows
    answers = [api.execute(7, headers={"Idempotency-Key": f"k{n}"}, params={}) for n in range(21)]
    assert [answer.status for answer in answers[:20]] == [200] * 20
    refused = answers[20].expect(429, "rate_limited")
    assert int(refused.headers["Retry-After"]) <= 60
    assert system.database.value("SELECT COUNT(*) FROM chasqui_idempotency") == 20
    body = b'{"company_id":7}\n'
    for content in ("application/json", "application/x-ndjson"):
        query = {} if content == "application/json" else {"portal": "sunat", "action": "sunat.menu_sol_login"}
        api.post("/api/v1/app/batches", body=body, query=query, headers={"Content-Type": content}).expect(429)
    assert api.active(7).headers["X-RateLimit-Limit"] == "2", "its own window is another one"
    # unfinished batches
    token = system.make_token(8)
    number = token.split("|")[0]
    system.database.execute(
        "INSERT INTO chasqui_batches (token_id, portal, action, priority, turn, status, available_at, created_at) SELECT %s, 'sunat', "
        "'sunat.menu_sol_login', 5, 1, 'running', NOW() + INTERVAL 1 DAY, NOW() FROM seq_1_to_1000", number)  # fmt: skip
    one = [{"company_id": 8}]
    full = type(api)(system.api_url(), token)
    told = full.batch(one).expect(429, "rate_limited")
    assert "1,000 batches" in told.json["message"]
    system.api_for(9).batch([{"company_id": 9}]).expect(202)
    system.database.execute("UPDATE chasqui_batches SET finished_at = NOW(), status = 'done' WHERE token_id = %s LIMIT 1", number)
    full.batch(one).expect(202)


def test_the_callers_of_one_broker_do_not_shut_out_those_of_another(make_system):
    """A company that fills its limit at one broker, on a robot that is slow: the other broker's callers have a share of their own."""
    system = make_system(brokers=2, capacity=20, settings={"dispatcher.concurrency": 16})
    sessions = {company: system.api.login(company) for company in (1, 2)}
    system.robot.behave("list", "delay", ms=700)
    with ThreadPoolExecutor(96) as pool:
        crowd = [pool.submit(lambda: system.api.list(sessions[1])) for _ in range(96)]
        system.robot.wait_call("list", 1)
        began = ran_s()
        system.api_at(1).list(sessions[2]).expect(200)
        took = ran_s() - began
        assert not all(one.done() for one in crowd)
        assert {one.result().status for one in crowd} == {200}
    assert took < 5, took
