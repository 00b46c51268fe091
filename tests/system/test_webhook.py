# SPDX-License-Identifier: MIT
"""Callbacks: who is told that a batch has ended, what is signed, what is tried again and what is never called."""

import hashlib
import hmac
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness.served import Served
from harness.wait import stays, wait_until

FAST = {"webhook.backoff_ms": 50}


class Receiver(Served):
    """Answers by a script: `answers` holds statuses for the calls to come, the last one for all that follow. Records what came."""

    def __init__(self, *answers):
        self.answers = list(answers) or [200]
        self.calls = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.calls.append((self.path, dict(self.headers), body))
                status = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                if status == "hang":
                    time.sleep(4)
                    return
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("Location", f"{outer.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def wait_calls(self, count, timeout=15):
        return wait_until(lambda: self.calls if len(self.calls) >= count else None, timeout, f"{count} calls")


def submit(system, companies, callback_url=None, expect=202):
    items = [{"company_id": n, "params": {"ruc": f"20{n:09}", "usuario": "DEMO", "clave": "demo"}} for n in companies]
    body = {"portal": "sunat", "action": "sunat.menu_sol_login", "items": items}
    if callback_url:
        body["callback_url"] = callback_url
    return system.api.post("/api/v1/app/batches", body).expect(expect).json


def webhook(system, batch_id):
    return system.database.row("SELECT state, attempts, last_error FROM chasqui_webhooks WHERE batch_id = %s", batch_id)


def settled(system, batch_id, state, timeout=20):
    return wait_until(lambda: (row := webhook(system, batch_id)) and row["state"] == state and row, timeout, f"the callback is {state}")


def check_signature(system, call):
    secret = (system.directory / "keys" / "webhook.key").read_text().strip().encode()
    _path, headers, body = call
    wanted = hmac.new(secret, headers["X-Chasqui-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Chasqui-Signature"] == f"v1={wanted}"
    assert abs(int(headers["X-Chasqui-Timestamp"]) - time.time()) < 60
    assert headers["Content-Type"] == "application/json" and len(headers["X-Chasqui-Delivery"]) == 32


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


def test_the_end_of_a_batch_is_told_and_signed(make_system, receiver):
    system = make_system(settings={**FAST, "webhook.allow": f"{receiver.url}/done/"})
    batch = submit(system, (1, 2, 3), f"{receiver.url}/done/x?y=1")["batch_id"]
    call = receiver.wait_calls(1)[0]
    check_signature(system, call)
    told = json.loads(call[2])
    assert call[0] == "/done/x?y=1" and told["event"] == "batch.finished" and set(told) == {"event", "batch"}
    shown = system.api.get(f"/api/v1/app/batches/{batch}").expect(200).json["batch"]
    assert told["batch"].pop("callback")["attempts"] == 1 == shown.pop("callback")["attempts"]  # this one is under way when it is told
    assert told["batch"] == shown
    assert told["batch"]["status"] == "done" and told["batch"]["counts"]["done"] == 3
    assert settled(system, batch, "delivered")["attempts"] == 1
    assert "Authorization" not in call[1] and "X-Robot-Boot" not in call[1]
    wait_until(lambda: system.metric("chasqui_webhooks_delivered_total") == 1, 5, "it is counted")
    submit(system, (4,))  # without a callback_url: nobody is told
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_batches WHERE finished_at IS NOT NULL") == 2, 15, "the other has ended")
    stays(lambda: len(receiver.calls) == 1, 0.5)


def test_failures_are_tried_again_under_the_same_delivery(make_system):
    with Receiver(500, "hang", 503, 204) as receiver:
        system = make_system(settings={**FAST, "webhook.timeout_ms": 3000, "webhook.allow": receiver.url})
        batch = submit(system, (1,), f"{receiver.url}/x")["batch_id"]
        receiver.wait_calls(1, 30)
        began = time.monotonic()
        calls = receiver.wait_calls(4, 30)
        assert time.monotonic() - began < 15, "each is tried again when its wait is over, not at the next look"
        for call in calls:
            check_signature(system, call)
        assert len({call[1]["X-Chasqui-Delivery"] for call in calls}) == 1
        row = settled(system, batch, "delivered")
        assert row["attempts"] == 4 and row["last_error"] is None
        wait_until(lambda: system.metric("chasqui_webhooks_failed_total") == 3, 5, "they are counted")
        stays(lambda: len(receiver.calls) == 4, 1)


def test_what_never_works_is_given_up(make_system):
    with Receiver(500) as receiver:
        system = make_system(settings={**FAST, "webhook.allow": receiver.url, "webhook.max_attempts": 3})
        batch = submit(system, (1,), f"{receiver.url}/x")["batch_id"]
        row = settled(system, batch, "given_up", 30)
        assert row["attempts"] == 3 and row["last_error"] == "it answered 500" and len(receiver.calls) == 3
        audit = system.database.row("SELECT * FROM chasqui_audit WHERE action = 'webhook_given_up'")
        assert audit["subject"] == f"batch:{batch}" and audit["actor"] == "dispatcher:dispatcher-1" and audit["detail"] == "it answered 500"
        healthy, told = system.doctor()
        assert healthy and "webhook_given_up" in told


def test_a_receiver_that_is_down_for_long_gets_its_callback_in_the_end(make_system):
    """A deploy of the receiver: more tries fail than were ever allowed, and as old as a callback may be it is still tried."""
    with Receiver(*[503] * 10, 200, 503) as receiver:
        system = make_system(settings={**FAST, "webhook.allow": receiver.url, "webhook.backoff_ms": 10})
        batch = submit(system, (1,), f"{receiver.url}/x")["batch_id"]
        receiver.wait_calls(3, 30)
        system.database.execute("UPDATE chasqui_webhooks SET created_at = NOW(6) - INTERVAL 71 HOUR")
        calls = receiver.wait_calls(11, 60)
        assert len({call[1]["X-Chasqui-Delivery"] for call in calls}) == 1
        assert settled(system, batch, "delivered")["attempts"] == 11
        # After three days it is given up, and said.
        late = submit(system, (2,), f"{receiver.url}/x")["batch_id"]
        receiver.wait_calls(13, 30)
        system.database.execute("UPDATE chasqui_webhooks SET created_at = NOW(6) - INTERVAL 73 HOUR WHERE batch_id = %s", late)
        assert settled(system, late, "given_up", 30)["last_error"] == "it answered 503"
        wait_until(lambda: system.metric("chasqui_webhooks_given_up_total") == 1, 5, "it is counted")
        assert "webhook_given_up" in system.doctor()[1]


def test_redirects_are_not_followed(make_system):
    with Receiver(302) as receiver:
        system = make_system(settings={**FAST, "webhook.allow": receiver.url, "webhook.max_attempts": 2})
        batch = submit(system, (1,), f"{receiver.url}/x")["batch_id"]
        row = settled(system, batch, "given_up", 30)
        assert "redirects are not followed" in row["last_error"]
        assert {path for path, _, _ in receiver.calls} == {"/x"}


def test_only_what_the_allow_list_lets_through_is_called(make_system, receiver):
    system = make_system(settings={**FAST, "webhook.allow": "https://hooks.example/"})
    refused = submit(system, (1,), f"{receiver.url}/x", expect=422)
    assert "callback_url" in refused["errors"]
    # Recorded past the door, as by a broker with another list: the dispatcher does not call it either.
    batch = submit(system, (1,), "https://hooks.example/x")["batch_id"]
    system.database.execute("UPDATE chasqui_batches SET callback_url = %s WHERE id = %s", f"{receiver.url}/x", batch)
    system.database.execute("UPDATE chasqui_webhooks SET state = 'waiting', due_at = NOW(6) WHERE batch_id = %s", batch)
    row = settled(system, batch, "given_up", 30)
    assert "webhook.allow" in row["last_error"] and receiver.calls == []


def test_the_robots_address_list_is_not_for_callbacks(make_system, receiver):
    """robot.allow_addresses is about robots; a callback goes where webhook.allow says."""
    system = make_system(robots=0, settings={**FAST, "webhook.allow": receiver.url, "robot.allow_addresses": "10.0.0.0/8"})
    batch = submit(system, (1,), f"{receiver.url}/x")["batch_id"]
    system.api.delete(f"/api/v1/app/batches/{batch}").expect(200)
    told = json.loads(receiver.wait_calls(1)[0][2])["batch"]
    assert told["status"] == "cancelled" and told["counts"]["cancelled"] == 1
    settled(system, batch, "delivered")


def test_without_a_secret_nothing_is_sent_and_doctor_knows(make_system, receiver):
    system = make_system(settings={**FAST, "webhook.allow": receiver.url, "webhook.secret_file": None})
    system.dispatcher.wait_log("no_webhook_secret")
    batch = submit(system, (1,), f"{receiver.url}/x")["batch_id"]
    wait_until(lambda: webhook(system, batch), 20, "the batch has ended")
    system.database.execute("UPDATE chasqui_webhooks SET due_at = NOW(6) - INTERVAL 6 MINUTE")
    healthy, told = system.doctor()
    assert healthy and "webhook_waits" in told and "webhook.secret_file" in told
    assert receiver.calls == []
    # A dispatcher that has one makes up for it.
    system.settings["webhook.secret_file"] = system.directory / "keys" / "webhook.key"
    system.add_dispatcher()
    check_signature(system, receiver.wait_calls(1, 30)[0])
    settled(system, batch, "delivered")


def test_a_dispatcher_that_dies_in_a_try_leaves_it_to_another(make_system):
    with Receiver("hang", 200) as receiver:
        system = make_system(dispatchers=2, settings={**FAST, "webhook.allow": receiver.url})
        batch = submit(system, (1,), f"{receiver.url}/x")["batch_id"]
        receiver.wait_calls(1)
        for process in system.dispatchers:
            process.kill9()
        for process in system.dispatchers:
            process.start()
        system.database.execute("UPDATE chasqui_webhooks SET due_at = NOW(6) WHERE token IS NOT NULL")  # its lease ends; that takes 16 s
        calls = receiver.wait_calls(2, 30)
        assert calls[0][1]["X-Chasqui-Delivery"] == calls[1][1]["X-Chasqui-Delivery"]
        settled(system, batch, "delivered")
        stays(lambda: len(receiver.calls) == 2, 1)


def test_a_secret_that_others_can_read_stops_the_start(make_system):
    system = make_system(ready=False, robots=0)
    (system.directory / "keys" / "webhook.key").chmod(0o440)
    process = system.dispatcher
    process.start()
    process.expect_death()
    process.wait_log("webhook_secret_refused.*0400")
    wait_until(lambda: not process.alive(), 10, "it ended")


@pytest.mark.long(15)
def test_a_receiver_that_hangs_delays_nobody_else(make_system, receiver):
    """Hundreds of callbacks to a receiver that hangs are due first: only a few are under way at once, and another's comes at once."""
    with Receiver("hang") as hangs:
        system = make_system(settings={**FAST, "webhook.timeout_ms": 3000, "webhook.allow": f"{hangs.url},{receiver.url}"})
        system.database.execute(
            "INSERT INTO chasqui_batches (id, token_id, portal, action, priority, turn, status, total, callback_url, created_at, finished_at) SELECT 100000 + seq, "
            "900000, 'sunat', 'sunat.menu_sol_login', 5, 1, 'done', 0, %s, NOW(6), NOW(6) FROM seq_1_to_600",
            f"{hangs.url}/x",
        )
        system.database.execute(
            "INSERT INTO chasqui_webhooks (batch_id, state, due_at, delivery, created_at) SELECT 100000 + seq, 'waiting', NOW(6) - INTERVAL 1 HOUR, "
            "LEFT(CONCAT(seq, REPEAT('x', 16)), 16), NOW(6) FROM seq_1_to_600"
        )
        hangs.wait_calls(4, 30)
        submit(system, (1,), f"{receiver.url}/x")
        receiver.wait_calls(1, 30)
        under_way = "SELECT COUNT(*) FROM chasqui_webhooks WHERE batch_id > 100000 AND token IS NOT NULL"
        assert system.database.value(under_way) <= 8  # four, and those whose end is being written
        assert len(hangs.calls) < 300  # the others were not all tried before it
        wait_until(lambda: len(hangs.calls) > 8, 30, "the others are tried too")
        system.database.execute("UPDATE chasqui_webhooks SET due_at = NULL, state = 'delivered' WHERE batch_id > 100000")
