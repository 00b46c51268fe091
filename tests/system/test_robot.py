# SPDX-License-Identifier: MIT
"""The demo robot and its portal: a test that leans on them must be able to believe them."""

import http.client
import json
import socket
import struct
import threading
import time

import pytest
from harness import Client, connect, content, raw, stays, wait_until


def login_body(company_id=7, epoch=1, **more):
    return {"company_id": company_id, "epoch": epoch, "job_uid": f"J{company_id}", "ruc": "20", "clave": "demo", **more}


def log_in(robot, company_id=7, epoch=1, portal="sunat", **more):
    return robot.http.post(f"/{portal}/login", login_body(company_id, epoch, **more)).expect(200).json["session_id"]


def mailbox(robot, session_id, page=1, portal="sunat"):
    return robot.http.get(f"/{portal}/buzon/list", query={"session_id": session_id, "page": page})


def in_background(work):
    """Runs work() in a thread; answers a function that waits for its result."""
    kept = {}

    def run():
        try:
            kept["answer"] = work()
        except Exception as why:
            kept["failure"] = why

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result(timeout=10):
        thread.join(timeout)
        assert not thread.is_alive(), "still running"
        if "failure" in kept:
            raise kept["failure"]
        return kept["answer"]

    return result


@pytest.fixture
def robot(robot_factory):
    return robot_factory("r1", capacity=3)


# --- the contract ----------------------------------------------------------------------------------------------


def test_health_tells_sessions_capacity_and_boot(robot):
    answer = robot.http.get("/health").expect(200)
    assert answer.json == {"ok": True, "sessions": 0, "capacity": 3, "boot_id": answer.headers["X-Robot-Boot"]}
    log_in(robot)
    assert robot.health()["sessions"] == 1


def test_login_list_and_file(robot, portal):
    answer = robot.http.post("/sunat/login", login_body()).expect(200).json
    assert answer["ok"] and answer["url"] and answer["titulo"] and len(answer["session_id"]) <= 100
    session_id = answer["session_id"]
    assert portal.live_of(7)["session_id"] == session_id
    page = mailbox(robot, session_id).expect(200).json
    assert page == content.mailbox_page("r1", 7, 1) and page["company_id"] == 7 and len(page["items"]) == 10
    assert mailbox(robot, session_id, page=4).expect(200).json["items"] == []
    item = page["items"][0]
    file = robot.http.get(f"/files/{item['file_token']}", query={"session_id": session_id}).expect(200)
    assert file.headers["Content-Type"] == "application/pdf" and "filename*=UTF-8''" in file.headers["Content-Disposition"]
    assert len(file.body) == item["size"] and file.body == content.whole(item["file_token"], item["size"])


def test_every_kind_of_answer_carries_the_boot_id(robot):
    boot_id = robot.health()["boot_id"]
    session_id = log_in(robot)
    for answer in (
        mailbox(robot, session_id),
        mailbox(robot, "nobody"),
        robot.http.get("/sessions"),
        robot.http.get("/no/such/path"),
        robot.http.delete("/sessions/nobody"),
        robot.http.post("/sessions/fence", {"company_id": 1, "portal": "sunat", "epoch": 1}),
    ):
        assert answer.headers["X-Robot-Boot"] == boot_id


def test_session_belongs_to_its_portal_path(robot):
    session_id = log_in(robot, portal="sunat")
    mailbox(robot, session_id, portal="sunafil").expect(404)


def test_delete_closes_and_is_404_afterwards(robot, portal):
    session_id = log_in(robot)
    robot.http.delete(f"/sessions/{session_id}").expect(200)
    assert portal.sessions() == [] and portal.report()["logouts"] == 1
    robot.http.delete(f"/sessions/{session_id}").expect(404)
    mailbox(robot, session_id).expect(404)


def test_sessions_are_listed(robot):
    session_id = log_in(robot, epoch=4)
    assert robot.sessions() == [
        {"session_id": session_id, "company_id": 7, "portal": "sunat", "job_uid": "J7", "epoch": 4, "state": "active"}
    ]


def test_capacity_counts_running_log_ins(robot):
    robot.settings(capacity=2, login_ms="60000")
    first = in_background(lambda: robot.http.post("/sunat/login", login_body(1)))
    wait_until(lambda: robot.health()["sessions"] == 1, what="the log-in runs")
    assert robot.sessions()[0]["state"] == "opening"
    second = in_background(lambda: robot.http.post("/sunat/login", login_body(2)))
    wait_until(lambda: robot.health()["sessions"] == 2, what="the second runs")
    robot.http.post("/sunat/login", login_body(3)).expect(503, "full")
    for company in (1, 2):
        robot.http.post("/sessions/fence", {"company_id": company, "portal": "sunat", "epoch": 1}).expect(200)
    first().expect(409, "stale_epoch")
    second().expect(409, "stale_epoch")
    robot.settings(login_ms="1")
    log_in(robot, 3)


def test_wrong_credentials_leave_nothing(robot, portal):
    answer = robot.http.post("/sunat/login", login_body(clave="wrong")).expect(401, "bad_credentials")
    assert answer.json["ok"] is False and answer.json["message"]
    assert robot.sessions() == [] and portal.report()["logins"] == 0


def test_echo_is_an_action_in_a_session(robot):
    session_id = log_in(robot)
    sent = {"session_id": session_id, "n": 1, "text": "año"}
    assert robot.http.post("/sunat/echo", sent).expect(200).json["echo"] == sent
    told = robot.http.get("/sunat/echo", query={"session_id": session_id, "n": 1}).expect(200).json
    assert told == {"ok": True, "company_id": 7, "echo": {"session_id": session_id, "n": "1"}}
    robot.http.post("/sunat/echo", {"session_id": "nobody"}).expect(404)


# --- files -----------------------------------------------------------------------------------------------------


def test_a_file_belongs_to_its_company(robot, robot_factory):
    mine, theirs = log_in(robot, 7), log_in(robot, 8)
    token = content.message_file("r1", 7, 0).token
    robot.http.get(f"/files/{token}", query={"session_id": theirs}).expect(404)
    robot.http.get(f"/files/{token}").expect(404)
    robot.http.get(f"/files/{token}", query={"session_id": mine}).expect(200)
    assert robot.http.get("/files/no-such-token", query={"session_id": mine}).expect(404).error == "file_not_found"
    careless = robot_factory("r2", session_check=False)
    log_in(careless, 9)
    careless.http.get(f"/files/{content.message_file('r2', 9, 0).token}").expect(200)


@pytest.mark.parametrize("size", [0, 1, content.BLOCK_BYTES, 3 * content.BLOCK_BYTES + 5])
def test_a_registered_file_has_any_size(robot, size):
    session_id = log_in(robot)
    token = robot.add_file(7, "x.bin", size, content_type="application/zip")
    file = robot.http.get(f"/files/{token}", query={"session_id": session_id}).expect(200)
    assert file.headers["Content-Type"] == "application/zip" and int(file.headers["Content-Length"]) == size
    assert file.body == content.whole(token, size)


def test_a_large_file_streams_fast_and_flat(robot):
    session_id = log_in(robot)
    size = 512 << 20
    token = robot.add_file(7, "big.bin", size)
    before = robot.rss_kib()
    began, got = robot.cpu_s(), 0
    answer = robot.http.open("GET", f"/files/{token}", query={"session_id": session_id})
    while part := answer.read(1 << 20):
        got += len(part)
    rate = got / (robot.cpu_s() - began)
    assert got == size
    wait_until(lambda: robot.transfers() == {"active": 0, "started": 1, "bytes_sent": size, "aborted": 0}, what="it has ended")
    assert robot.rss_kib() - before < 32 * 1024
    assert rate > 100e6, f"{rate / 1e6:.0f} MB in a second of the processor's time"


def test_a_client_that_goes_away_stops_its_transfer(robot):
    session_id = log_in(robot)
    size = 1 << 30
    token = robot.add_file(7, "big.bin", size)
    with connect(robot.url) as wire:
        wire.sendall(f"GET /files/{token}?session_id={session_id} HTTP/1.1\r\nHost: r\r\n\r\n".encode())
        assert wire.recv(100)
        assert robot.transfers()["active"] == 1
    wait_until(lambda: robot.transfers()["active"] == 0, what="the transfer stopped")
    told = robot.transfers()
    assert told["aborted"] == 1 and told["bytes_sent"] < size / 4


# --- idempotency, epochs, fence --------------------------------------------------------------------------------


def test_same_key_same_answer(robot, portal):
    def send():
        return robot.http.post("/sunat/login", login_body(), headers={"Idempotency-Key": "J7.1"}).expect(200).json

    assert send() == send()
    assert portal.report()["logins"] == 1 and len(robot.sessions()) == 1


def test_same_key_joins_the_log_in_that_runs(robot, portal):
    robot.settings(login_ms="300")

    def send():
        return robot.http.post("/sunat/login", login_body(), headers={"Idempotency-Key": "J7.1"}).expect(200).json

    answers = [in_background(send) for _ in range(5)]
    assert len({answer()["session_id"] for answer in answers}) == 1 and portal.report()["logins"] == 1


def test_log_in_runs_on_without_its_caller(robot):
    robot.settings(login_ms="200")
    with connect(robot.url) as wire:
        body = json.dumps(login_body()).encode()
        wire.sendall(b"POST /sunat/login HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        robot.wait_call("login")
    wait_until(lambda: [one["state"] for one in robot.sessions()] == ["active"], what="the session opened")


def test_stale_epochs_are_refused(robot):
    log_in(robot, epoch=5)
    for epoch in (5, 4):
        robot.http.post("/sunat/login", login_body(epoch=epoch)).expect(409, "stale_epoch")
    log_in(robot, company_id=8, epoch=1)
    log_in(robot, company_id=7, portal="sunafil", epoch=1)


def test_fence_closes_what_is_at_or_below(robot, portal):
    kept = log_in(robot, 8, epoch=3)
    ended = log_in(robot, 7, epoch=3)
    answer = robot.http.post("/sessions/fence", {"company_id": 7, "portal": "sunat", "epoch": 2}).expect(200)
    assert answer.json["ended"] == []
    answer = robot.http.post("/sessions/fence", {"company_id": 7, "portal": "sunat", "epoch": 9}).expect(200)
    assert answer.json["ended"] == [ended]
    assert [one["session_id"] for one in portal.sessions()] == [kept]
    robot.http.post("/sunat/login", login_body(epoch=9)).expect(409, "stale_epoch")
    log_in(robot, epoch=10)


def test_fence_ends_a_log_in_that_runs_before_it_answers(robot, portal):
    robot.settings(login_ms="60000")
    running = in_background(lambda: robot.http.post("/sunat/login", login_body(epoch=2)))
    robot.wait_call("login")
    robot.http.post("/sessions/fence", {"company_id": 7, "portal": "sunat", "epoch": 2}).expect(200)
    assert robot.sessions() == [] and portal.sessions() == []
    running().expect(409, "stale_epoch")


def test_fence_ends_orphans(robot, portal):
    orphan = robot.orphan(7)
    mailbox(robot, orphan).expect(200)
    assert robot.sessions()[0]["epoch"] is None
    robot.http.post("/sessions/fence", {"company_id": 7, "portal": "sunat", "epoch": 0}).expect(200)
    mailbox(robot, orphan).expect(404)


def test_fence_is_exact_under_fire(robot, portal):
    """Whatever log-ins come while a fence runs: once it answered, nothing at or below it lives or comes."""
    robot.settings(capacity=100, login_ms="0-30")
    sent = [
        in_background(lambda epoch=epoch: robot.http.post("/sunat/login", login_body(epoch=epoch)))
        for epoch in range(1, 21)
    ]
    robot.wait_call("login", count=10)
    robot.http.post("/sessions/fence", {"company_id": 7, "portal": "sunat", "epoch": 20}).expect(200)
    assert robot.sessions() == [] and portal.sessions() == []
    assert all(answer().status in (200, 409) for answer in sent)
    assert robot.sessions() == [] and portal.sessions() == []


# --- the portal ------------------------------------------------------------------------------------------------


def test_second_session_kicks_out_the_first(robot_factory, portal):
    one, two = robot_factory("r1"), robot_factory("r2")
    first, second = log_in(one), log_in(two)
    told = portal.report()
    assert told["kicked"] == 1 and told["live"] == 1 and told["max_live_per_company"] == 2
    violation = told["violations"][0]
    assert (violation["company_id"], violation["portal"]) == (7, "sunat")
    assert (violation["first"]["robot"], violation["first"]["session_id"]) == ("r1", first)
    assert (violation["second"]["robot"], violation["second"]["session_id"]) == ("r2", second)
    assert len(one.sessions()) == 1, "the robot learns it at the next use"
    mailbox(one, first).expect(404)
    mailbox(two, second).expect(200)
    assert one.sessions() == []


def test_other_portals_and_companies_do_not_kick(robot, portal):
    log_in(robot, 7), log_in(robot, 8), log_in(robot, 7, portal="sunafil")
    told = portal.report()
    assert told["violations"] == [] and told["live"] == 3 and told["max_live_per_company"] == 1


def test_alive(robot, portal):
    session_id = log_in(robot)
    portal.http.get("/alive", query={"session_id": session_id}).expect(200)
    portal.http.get("/alive", query={"session_id": "nobody"}).expect(404)


def test_reboot_ends_sessions_and_running_log_ins(robot, portal):
    session_id = log_in(robot)
    robot.settings(login_ms="60000")
    running = in_background(lambda: robot.http.post("/sunat/login", login_body(8)))
    robot.wait_call("login", company_id=8)
    old = robot.health()["boot_id"]
    new = robot.reboot()
    assert new != old and robot.health()["boot_id"] == new
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        running()
    mailbox(robot, session_id).expect(404)
    assert portal.sessions() == [] and robot.sessions() == []


def test_real_restart_and_kill_empty_the_portal(robot, portal):
    log_in(robot)
    boot = robot.health()["boot_id"]
    robot.restart().wait_listening()
    assert robot.health()["boot_id"] != boot and portal.sessions() == []
    log_in(robot)
    robot.kill9()
    assert portal.sessions() == []
    robot.start()
    log_in(robot)
    assert portal.violations() == []


def test_portal_away(robot_factory, portal):
    robot = robot_factory("r1")
    session_id = log_in(robot)
    portal.kill9()
    robot.http.post("/sunat/login", login_body(8)).expect(502, "portal_unreachable")
    mailbox(robot, session_id).expect(502, "portal_unreachable")
    robot.http.delete(f"/sessions/{session_id}").expect(200)
    assert robot.health()["sessions"] == 0


# --- kinds of robots -------------------------------------------------------------------------------------------


def test_seed_only_knows_nothing_optional(robot_factory):
    robot = robot_factory("old", seed_only=True)
    answer = robot.http.get("/health").expect(200)
    assert answer.json == {"ok": True, "sessions": 0, "capacity": 10} and "X-Robot-Boot" not in answer.headers
    session_id = log_in(robot, epoch=5)
    other = log_in(robot, company_id=8, epoch=5)
    assert mailbox(robot, session_id).status == mailbox(robot, other).status == 200
    robot.http.get("/sessions").expect(404)
    robot.http.delete(f"/sessions/{session_id}").expect(404)
    robot.http.post("/sessions/fence", {"company_id": 7, "portal": "sunat", "epoch": 9}).expect(404)
    mailbox(robot, session_id).expect(200)
    log_in(robot, company_id=9, epoch=0)
    log_in(robot, company_id=9, epoch=0)  # no epochs: it lets itself be used twice


def test_boot_header_can_be_off(robot_factory):
    robot = robot_factory("r1", boot_header=False)
    answer = robot.http.get("/health").expect(200)
    assert answer.json["boot_id"] and "X-Robot-Boot" not in answer.headers


def test_without_a_portal(robot_factory):
    robot = robot_factory("r1", with_portal=False)
    mailbox(robot, log_in(robot)).expect(200)


# --- what tests can ask ----------------------------------------------------------------------------------------


def test_calls_are_recorded(robot):
    headers = {"Idempotency-Key": "J7.1", "X-Request-Id": "req-1", "Traceparent": "00-x"}
    session_id = robot.http.post("/sunat/login", login_body(), headers=headers).json["session_id"]
    mailbox(robot, session_id, page=2)
    mailbox(robot, "nobody")
    (login,) = robot.calls("login")
    assert login["method"] == "POST" and login["path"] == "/sunat/login" and login["body"] == login_body()
    assert login["headers"].items() >= headers.items() and login["status"] == 200 and login["company_id"] == 7
    listed = robot.calls("list")
    assert [one["status"] for one in listed] == [200, 404] and [one["company_id"] for one in listed] == [7, None]
    assert listed[0]["query"] == {"session_id": session_id, "page": "2"}
    assert len(robot.calls(company_id=7)) == 2
    robot.forget_calls()
    assert robot.calls() == []


def test_forget(robot, portal):
    session_id = log_in(robot)
    robot.forget(session_id)
    mailbox(robot, session_id).expect(404)
    assert portal.sessions() == [] and robot.health()["sessions"] == 0


def test_unknown_behaviour_is_refused(robot):
    for table in ({"login": {"mode": "hnag"}}, {"lgoin": {"mode": "hang"}}, {"login": 1}):
        robot.http.post("/_test/behave", table).expect(422)


# --- misbehaviour ----------------------------------------------------------------------------------------------


@pytest.fixture
def session_id(robot):
    return log_in(robot)


def raw_list(robot, session_id, timeout=5):
    request = f"GET /sunat/buzon/list?session_id={session_id} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n"
    return raw(robot.url, request.encode(), timeout)


def test_hang(robot, session_id):
    robot.behave("list", "hang")
    with pytest.raises(socket.timeout):
        raw_list(robot, session_id, timeout=0.3)


def test_reset(robot, session_id):
    robot.behave("list", "reset")
    with pytest.raises(ConnectionResetError):
        mailbox(robot, session_id)


def test_garbage(robot, session_id):
    robot.behave("list", "garbage")
    assert raw_list(robot, session_id).startswith(b"\x16\x03\x01 this is not HTTP")


def test_status(robot, session_id):
    robot.behave("list", "status", status=418, body="<b>tea</b>", content_type="text/html", headers={"X-A": "1"})
    answer = mailbox(robot, session_id).expect(418)
    assert answer.body == b"<b>tea</b>" and answer.headers["Content-Type"] == "text/html" and answer.headers["X-A"] == "1"
    robot.behave("list", "status")
    mailbox(robot, session_id).expect(500, "robot_broken")


def test_redirect(robot, session_id):
    robot.behave("list", "redirect", location="http://elsewhere.example/")
    assert mailbox(robot, session_id).expect(302).headers["Location"] == "http://elsewhere.example/"


def test_drip(robot, session_id):
    whole = mailbox(robot, session_id).body
    robot.behave("list", "drip", bytes_per_s=len(whole) * 3)
    began = time.monotonic()
    assert mailbox(robot, session_id).expect(200).body == whole
    assert 0.2 < time.monotonic() - began < 10
    robot.behave("list", "drip", bytes_per_s=10, head=True)
    with connect(robot.url) as wire:
        wire.sendall(f"GET /sunat/buzon/list?session_id={session_id} HTTP/1.1\r\nHost: r\r\n\r\n".encode())
        assert len(first := wire.recv(1000)) < 80 and b"HTTP/1.1 200 OK\r\n".startswith(first[:17]), "not even the head comes at once"


def test_drip_of_a_file(robot, session_id):
    token = robot.add_file(7, "slow.bin", 1000)
    robot.behave("file", "drip", bytes_per_s=3000)
    began = time.monotonic()
    assert robot.http.get(f"/files/{token}", query={"session_id": session_id}).body == content.whole(token, 1000)
    assert time.monotonic() - began > 0.2


def test_cut(robot, session_id):
    robot.behave("list", "cut")
    with pytest.raises(http.client.IncompleteRead):
        mailbox(robot, session_id)
    token = robot.add_file(7, "cut.bin", 3_000_000)
    robot.behave("file", "cut")
    with pytest.raises(http.client.IncompleteRead) as cut:
        robot.http.get(f"/files/{token}", query={"session_id": session_id})
    assert cut.value.partial == content.whole(token, 3_000_000)[:1_500_000]
    assert robot.transfers()["aborted"] == 1


@pytest.mark.parametrize("call", ["list", "file"])
def test_endless(robot, session_id, call):
    robot.behave(call, "endless")
    path = "/sunat/buzon/list" if call == "list" else f"/files/{content.message_file('r1', 7, 0).token}"
    answer = robot.http.open("GET", path, query={"session_id": session_id})
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert len(answer.read(20_000_000)) == 20_000_000
    answer.close()


@pytest.mark.parametrize(
    "mode, body",
    [("html", b"<!doctype html>"), ("not_json", b"hello"), ("empty", b""), ("truncated_json", b'{"ok": true')],
)
def test_bodies_that_are_no_json(robot, session_id, mode, body):
    robot.behave("list", mode)
    answer = mailbox(robot, session_id).expect(200)
    assert answer.body.startswith(body) and ("html" in answer.headers["Content-Type"]) == (mode == "html")
    with pytest.raises(ValueError):
        answer.json


def test_overlay(robot):
    robot.behave("login", "overlay", fields={"titulo": "other", "url": None})
    told = robot.http.post("/sunat/login", login_body()).expect(200).json
    assert told["titulo"] == "other" and "url" not in told and told["session_id"]


def test_delay(robot, session_id):
    robot.behave("list", "delay", ms=200)
    began = time.monotonic()
    mailbox(robot, session_id).expect(200)
    assert time.monotonic() - began >= 0.2


def test_close_before_answer_has_done_the_work(robot, portal):
    robot.behave("login", "close_before_answer", times=1)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        robot.http.post("/sunat/login", login_body(), headers={"Idempotency-Key": "J7.1"})
    assert portal.live_of(7)["session_id"] == robot.sessions()[0]["session_id"]
    again = robot.http.post("/sunat/login", login_body(), headers={"Idempotency-Key": "J7.1"}).expect(200)
    assert again.json["session_id"] == robot.sessions()[0]["session_id"]


def test_modes_without_work_leave_no_session(robot, portal):
    robot.behave("login", "status", status=500)
    robot.http.post("/sunat/login", login_body()).expect(500)
    assert robot.sessions() == [] and portal.sessions() == []
    robot.behave("login", "status", status=500, work=True)
    robot.http.post("/sunat/login", login_body()).expect(500)
    assert len(robot.sessions()) == 1 and portal.live_of(7)


def test_session_ids_that_are_wrong(robot, portal):
    honest = log_in(robot, 1)
    robot.behave("login", "duplicate_session_id", times=1)
    assert log_in(robot, 2) == honest
    assert len(robot.sessions()) == 2 and portal.live_of(2)["session_id"] != honest
    robot.behave("login", "wrong_session_id", session_id="of-another-robot", times=1)
    assert log_in(robot, 3) == "of-another-robot"
    assert portal.live_of(3)["session_id"] == "of-another-robot"
    robot.http.delete("/sessions/of-another-robot").expect(200)
    robot.behave("login", "long_session_id", times=1)
    long = log_in(robot, 4)
    assert len(long) > 100
    robot.http.delete(f"/sessions/{long}").expect(200)
    assert len(log_in(robot, 5)) <= 100


def test_times_and_company(robot):
    robot.settings(capacity=10)
    robot.behave("login", "status", status=500, times=2, company_id=1)
    statuses = [robot.http.post("/sunat/login", login_body(company, epoch)).status for epoch, company in
                enumerate((2, 1, 1, 1), 1)]  # fmt: skip
    assert statuses == [200, 500, 500, 200]
    robot.ask("POST", "/_test/behave", {"login": [{"mode": "html", "times": 1}, {"mode": "empty", "times": 1}]})
    bodies = [robot.http.post("/sunat/login", login_body(3, epoch)).body for epoch in (1, 2, 3)]
    assert bodies[0].startswith(b"<!doctype") and bodies[1] == b"" and b"session_id" in bodies[2]


@pytest.mark.parametrize("call", ["login", "list", "file", "health", "delete", "sessions", "fence", "echo"])
def test_every_call_can_misbehave_and_be_good_again(robot, session_id, call):
    requests = {
        "login": lambda: robot.http.post("/sunat/login", login_body(8, epoch=1)),
        "list": lambda: mailbox(robot, session_id),
        "file": lambda: robot.http.get(f"/files/{content.message_file('r1', 7, 0).token}?session_id={session_id}"),
        "health": lambda: robot.http.get("/health"),
        "delete": lambda: robot.http.delete(f"/sessions/{session_id}"),
        "sessions": lambda: robot.http.get("/sessions"),
        "fence": lambda: robot.http.post("/sessions/fence", {"company_id": 9, "portal": "sunat", "epoch": 1}),
        "echo": lambda: robot.http.post("/sunat/echo", {"session_id": session_id}),
    }
    robot.behave(call, "status", status=599)
    assert requests[call]().status == 599
    robot.behave_well()
    assert requests[call]().status == 200


def test_robot_stays_good_for_others_while_one_hangs(robot, session_id):
    robot.behave("list", "hang", company_id=8)
    other = log_in(robot, 8)
    with connect(robot.url) as wire:
        wire.sendall(f"GET /sunat/buzon/list?session_id={other} HTTP/1.1\r\nHost: r\r\n\r\n".encode())
        robot.wait_call("list", company_id=8)
        stays(lambda: mailbox(robot, session_id).status == 200, 0.3, every=0.05)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_stops_at_once_although_calls_hang(robot):
    robot.behave("health", "hang")
    with connect(robot.url) as wire:
        wire.sendall(b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n")
        robot.wait_call("health")
        assert robot.stop(timeout=15) == 0
    assert "Traceback" not in robot.text(0)


def test_client_helpers_do_not_follow_or_decode(robot):
    robot.behave("health", "status", status=307, headers={"Location": "/", "Content-Encoding": "gzip"}, body="plain")
    assert Client(robot.url).get("/health").expect(307).body == b"plain"
