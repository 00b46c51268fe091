# SPDX-License-Identifier: MIT
"""Events out: what events.url is told, signed, at least once, those of a session in their order; and what happens when it takes nothing."""

import json
import re
import time

from harness.wait import stays, wait_until
from test_webhook import Receiver, check_signature


def told(receiver, kind=None):
    events = [json.loads(body) for _path, _headers, body in receiver.calls]
    return [event for event in events if kind in (None, event["event"])]


def wait_told(receiver, kind, count=1, timeout=20):
    return wait_until(lambda: (got := told(receiver, kind)) and len(got) >= count and got, timeout, f"{count} {kind}")


def outbox(system):
    return system.database.value("SELECT COUNT(*) FROM chasqui_outbox")


def word(system):
    return next((one for one in system.ops.get("/api/v1/ops/stats").expect(200).json["words"] if one["code"] == "events_not_taken"), None)


def test_what_happens_is_told_in_order(make_system):
    with Receiver() as receiver:
        before = make_system(robots=1)
        before.api.login(99)  # before anybody asked for events: it is nobody's
        system = before
        for process in system.dispatchers:
            process.stop()
        system.settings.update({"events.url": f"{receiver.url}/hook", "webhook.backoff_ms": 50, "webhook.timeout_ms": 10000})  # what was told in time is told once
        system.dispatchers[0] = system.make("dispatcher", 0)
        system.dispatchers[0].start()
        system.wait_ready()
        session = system.api.login(1)
        opened, finished = wait_told(receiver, "session.opened")[0], wait_told(receiver, "job.finished")[0]
        assert opened["session"]["session_id"] == session and opened["session"]["company_id"] == 1 and opened["session"]["worker"] == "r1"
        assert finished["job"]["status"] == "done" and finished["job"]["session_id"] == session and finished["at"].endswith("Z")
        for call in receiver.calls:
            check_signature(system, call)
        assert len({call[1]["X-Chasqui-Delivery"] for call in receiver.calls}) == len(receiver.calls)
        # Wrong credentials, a close, a 404 of the robot, a batch.
        system.robot.behave("login", "status", status=422, body={"ok": False, "error": "bad_credentials", "message": f"no, {system.robot.url}"}, times=1)
        system.api.execute(2, params={"clave": "x"}).expect(502)
        failed = wait_until(lambda: next((one for one in told(receiver, "job.finished") if one["job"]["status"] == "failed"), None), 10, "the failure")
        assert failed["job"]["company_id"] == 2 and failed["job"]["error"] == "robot_error"
        system.api.close(session).expect(200)
        ended = wait_told(receiver, "session.ended")[0]
        assert ended["session"]["state"] == "closed" and ended["session"]["job_id"] == opened["session"]["job_id"]
        gone = system.api.login(3)
        system.robot.forget(gone)
        system.api.list(gone).expect(410)
        assert wait_told(receiver, "session.ended", 2)[1]["session"]["state"] == "expired"
        batch = system.api.batch([11, 12, 13]).expect(202).json["batch_id"]
        done = wait_told(receiver, "batch.finished")[0]
        assert done["batch"]["id"] == batch and done["batch"]["counts"]["done"] == 3
        wait_told(receiver, "job.finished", 6)
        # A session is opened before it ends, and its job's end comes between.
        wait_until(lambda: outbox(system) == 0, 10, "all is told")
        kinds = [one["event"] for one in told(receiver) if (one.get("session") or one.get("job") or {}).get("company_id") == 1]
        assert kinds == ["session.opened", "job.finished", "session.ended"]
        everything = b"".join(body for _, _, body in receiver.calls).decode()
        assert system.robot.url not in everything and "clave" not in everything and not re.search(r'"company_id":99\b', everything)
        wait_until(lambda: system.metric("chasqui_events_delivered_total") == len(receiver.calls), 5, "they are counted")
        # Adopted, and moved.
        system.database.execute("INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, updated_at) "
                                "VALUES ('LARAVEL', 50, 'sunat', 'sunat.menu_sol_login', 'done', %s, 'theirs', NOW(), NOW())", system.robot.url)  # fmt: skip
        system.api.active(50).expect(200)
        assert wait_until(lambda: next((one for one in told(receiver, "session.opened") if one["session"]["company_id"] == 50), None), 10, "adopted")
        moving = system.api.login(4, remember=True)
        system.add_robot("r2")
        system.wait_probed()
        system.ctl("sessions", "migrate", moving)
        assert wait_told(receiver, "session.moved", timeout=40)[0]["session"]["worker"] == "r2"


def test_a_receiver_that_is_down_gets_all_of_it_in_the_end(make_system):
    with Receiver(503) as receiver:
        system = make_system(dispatchers=2, settings={"events.url": f"{receiver.url}/hook", "webhook.backoff_ms": 100, "webhook.timeout_ms": 10000})
        sessions = [system.api.login(company) for company in range(1, 11)]
        for session in sessions:
            system.api.close(session).expect(200)
        receiver.wait_calls(3)
        wait_until(lambda: (one := word(system)) and "503" in one["text"], 20, "it is said")  # a try that took too long says other words
        # It is asked now and then, not for each event.
        began, calls = time.monotonic(), len(receiver.calls)
        stays(lambda: len(receiver.calls) - calls <= 2 + 12 * (time.monotonic() - began), 2)
        # A dispatcher that dies meanwhile loses nothing.
        system.dispatchers[0].kill9()
        system.dispatchers[0].start()
        calls = len(receiver.calls)
        receiver.answers[:] = [200]
        wait_until(lambda: outbox(system) == 0 and not system.database.value("SELECT COUNT(*) FROM chasqui_job_events WHERE out_state IS NOT NULL"), 60, "all is told")
        good = [json.loads(body) for _p, _h, body in receiver.calls[calls:]]
        for company in range(1, 11):
            kinds = [one["event"] for one in good if (one.get("session") or one["job"])["company_id"] == company]
            assert [kind for n, kind in enumerate(kinds) if kind not in kinds[:n]] == ["session.opened", "job.finished", "session.ended"], kinds
        wait_until(lambda: not word(system), 10, "it is over")
        # Given up after three days, and told again by hand.
        receiver.answers[:] = [500]
        system.api.login(20)
        wait_until(lambda: outbox(system) == 1, 10, "it waits")
        system.database.execute("UPDATE chasqui_job_events SET at = NOW(6) - INTERVAL 73 HOUR WHERE out_state IS NOT NULL AND event = 'done'")
        wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_job_events WHERE out_state = 2") == 1, 40, "it is given up")
        assert system.database.value("SELECT detail FROM chasqui_audit WHERE action = 'event_given_up'") == "it answered 500"
        calls = len(receiver.calls)
        receiver.answers[:] = [200]
        system.database.execute("UPDATE chasqui_job_events SET at = NOW(6) WHERE out_state = 2")
        assert "1 events wait" in system.ctl("events", "resend").stdout
        wait_until(lambda: [one["event"] for one in told(receiver)[calls:] if (one.get("session") or one.get("job"))["company_id"] == 20][-2:] == ["session.opened", "job.finished"], 90, "again")
        assert "no event was given up" in system.ctl("events", "resend").stdout
        assert int(system.ctl("events", "resend", "--for", "1h").stdout.split()[0]) >= 21
        wait_until(lambda: len(told(receiver)) >= calls + 30, 60, "all of the hour")


def test_events_without_a_secret_do_not_start(make_system):
    system = make_system(ready=False, robots=0, settings={"events.url": "https://hooks.example/", "webhook.secret_file": None})
    system.dispatcher.start()
    system.dispatcher.expect_death()
    system.dispatcher.wait_log("events_refused.*webhook.secret_file")
    wait_until(lambda: not system.dispatcher.alive(), 10, "it ended")
