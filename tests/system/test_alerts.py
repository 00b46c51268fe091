# SPDX-License-Identifier: MIT
"""What is wrong is told to people: once by all brokers and dispatchers, until somebody knows of it, and when it is over."""

import base64
import email
import email.policy
import json
import socketserver

from harness.http import Api
from harness.served import Served
from harness.wait import stays, wait_until
from test_webhook import Receiver, check_signature

FAST = {"alerts.every_s": 1, "alerts.after_s": 1, "alerts.gone_s": 3, "webhook.backoff_ms": 50, "webhook.timeout_ms": 10000, "session.lost_after_s": 600}
NAMES = {"alerts.mail_from": "chasqui@example.com", "alerts.mail_to": "ana@example.com, luis@example.org"}


class MailServer(Served):
    """Takes mails, or answers RCPT with `refusal`. What came: (from, [to], message)."""

    def __init__(self):
        self.mails, self.refusal, self.logins = [], None, []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, line):
                self.wfile.write(line.encode() + b"\r\n")

            def handle(self):
                sender, receivers = None, []
                self.say("220 mail.example ESMTP")
                for line in self.rfile:
                    word, rest = line[:4].upper().decode(), line.decode().strip()
                    if word == "EHLO":
                        self.say("250-mail.example")
                        self.say("250-AUTH PLAIN LOGIN")
                        self.say("250 8BITMIME")
                    elif word == "AUTH":
                        outer.logins.append(rest)
                        self.say("235 ok")
                    elif word == "MAIL":
                        sender = rest
                        self.say("250 ok")
                    elif word == "RCPT":
                        receivers.append(rest)
                        self.say(outer.refusal or "250 ok")
                    elif word == "DATA":
                        self.say("354 go on")
                        lines = []
                        for text in self.rfile:
                            if text == b".\r\n":
                                break
                            lines.append(text[1:] if text.startswith(b"..") else text)
                        outer.mails.append((sender, receivers, b"".join(lines)))
                        self.say("250 taken")
                    elif word == "QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("502 what?")

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"smtp://127.0.0.1:{self.server.server_address[1]}"

    def read(self):
        """[(subject, text)]"""
        parsed = [email.message_from_bytes(raw, policy=email.policy.default) for _from, _to, raw in self.mails]
        return [(str(one["Subject"]), one.get_content()) for one in parsed]


def told(receiver):
    """All alerts that were taken or not, as (what, code)."""
    return [(one["what"], one["code"]) for call in list(receiver.calls) for one in json.loads(call[2])["alerts"]]


def is_told(receiver, what, code, timeout=30):
    wait_until(lambda: (what, code) in told(receiver), timeout, f"{code} is told as {what}")


def word(system, code, broker=0):
    stats = Api(system.ops_url_of(broker), system.token).get("/api/v1/ops/stats?history=0").expect(200).json
    found = [one for one in stats["words"] if one["code"] == code]
    return found[0] if found else None


def alert(system, code):
    found = [one for one in system.ctl_json("alerts")["alerts"] if one["code"] == code]
    return found[0] if found else None


def test_all_brokers_and_dispatchers_tell_once(make_system, portal):
    with Receiver() as receiver, MailServer() as mails:
        system = make_system(brokers=2, dispatchers=2, settings={**FAST, **NAMES, "alerts.url": f"{receiver.url}/secret-path", "alerts.smtp_url": mails.url,
                                                                 "alerts.language": "es", "alerts.batch_failed_percent": 20})  # fmt: skip
        assert [one["ok"] for one in system.ctl_json("alerts", "test")["channels"]] == [True, True]
        assert told(receiver).count(("test", "test")) == 1 and len([text for _, text in mails.read() if "Esto es una prueba" in text]) == 1
        # a batch that fails is told at once, and is not said to be over
        portal.refuse([7], "bad_credentials")
        items = [{"company_id": n, "params": {"ruc": f"20{n:09}", "usuario": "DEMO", "clave": "demo"}} for n in (6, 7)]
        system.api.post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login", "items": items}).expect(202)
        is_told(receiver, "happened", "batch_failed")
        system.robot.kill9()
        is_told(receiver, "begun", "robots_down")
        check_signature(system, receiver.calls[-1])
        wait_until(lambda: any("Todos los robots" in text or "El único robot está caído" in text for _subject, text in mails.read()), 30, "the mail comes, in Spanish")
        _from, to, raw = mails.mails[-1]
        assert all(raw.isascii() for _, _, raw in mails.mails) and b"\r\nTo: ana@example.com,\r\n luis@example.org\r\n" in raw
        assert [line.split()[1] for line in to] == ["TO:<ana@example.com>", "TO:<luis@example.org>"]
        assert all(subject.startswith("Chasqui: ") for subject, _ in mails.read())
        one = wait_until(lambda: (one := alert(system, "robots_down"))["told"]["webhook"] and one, 15, "that it was told is recorded")
        assert one["state"] == "open"
        for number in (0, 1):
            wait_until(lambda number=number: (w := word(system, "robots_down", number)) and w["alert"] and w["alert"]["id"] == one["id"], 15, "both brokers know it")
        stays(lambda: told(receiver).count(("begun", "robots_down")) == 1, 3, "it is told once")
        system.robot.start()
        is_told(receiver, "ended", "robots_down")
        wait_until(lambda: any("terminó" in text and "Duró" in text for _subject, text in mails.read()), 30, "that it is over is mailed")
        assert told(receiver).count(("begun", "robots_down")) == 1 and told(receiver).count(("happened", "batch_failed")) == 1
        assert alert(system, "robots_down")["state"] == "ended"
        for process in [*system.dispatchers, *system.brokers]:
            assert "secret-path" not in process.text()


def test_it_is_acknowledged_muted_refused_and_kept_in_bounds(make_system):
    with Receiver(500) as receiver, MailServer() as mails:
        mails.refusal = "550 who is that?"
        system = make_system(settings={**FAST, **NAMES, "alerts.url": receiver.url, "alerts.smtp_url": mails.url, "alerts.repeat_s": 1, "alerts.hour_max": 4})
        tried = system.ctl_json("alerts", "test", check=False)["channels"]
        assert [(one["channel"], one["ok"]) for one in tried] == [("webhook", False), ("mail", False)]
        assert "500" in tried[0]["why"] and "550" in tried[1]["why"]
        # muted before it happens: nobody is told
        system.ctl("alerts", "mute", "robot_down", "--for", "2h", "--reason", "being moved")
        system.robot.kill9()
        # what cannot be sent is tried again, and said
        wait_until(lambda: word(system, "alerts_not_sent"), 30, "that nothing is taken is said")
        wait_until(lambda: {one["channel"]: one["last_error"] for one in system.ctl_json("alerts")["channels"]} == {"webhook": "it answered 500", "mail": "the mail server answered 550"}, 30,
                   "why stands in the list")  # fmt: skip
        receiver.answers[:] = [200]
        is_told(receiver, "again", "robots_down")  # taken, and told again since nobody knows of it
        assert ("begun", "robot_down") not in told(receiver)
        one = alert(system, "robots_down")
        assert alert(system, "robot_down")["muted_until"]
        system.ctl("alerts", "ack", one["id"], "--reason", "on it")
        wait_until(lambda: (w := word(system, "robots_down")) and w["alert"]["acked_by"], 15, "the page knows who knows of it")
        again = told(receiver).count(("again", "robots_down"))
        stays(lambda: told(receiver).count(("again", "robots_down")) <= again + 1, 3, "one may have been under way, no more")
        # an hour's messages are bounded, whatever happens
        system.ctl("alerts", "unmute", "robot_down")
        wait_until(lambda: json.loads(receiver.calls[-1][2])["last_of_hour"], 30, "the last message of the hour says so")
        count = len(receiver.calls)
        stays(lambda: len(receiver.calls) == count, 3)
        audit = [row["action"] for row in system.ctl_json("audit", "list", "--action", "alert")["audit"]]
        assert audit == ["alert_unmute", "alert_ack", "alert_mute"]
        # what is no such thing
        for words, code in ((("ack", "987654"), 1), (("unmute", "robot_down"), 1), (("mute", "robot_down"), 2), (("mute", "Robot Down", "--for", "1h"), 1)):
            assert system.ctl("alerts", *words, check=False).returncode == code, words
        system.ops.post("/api/v1/ops/alerts/mute", {"code": "robot_down", "for_s": 60, "robot": "r1"}).expect(422)
        assert "muted" not in system.ctl("alerts").stdout.split("robots_down")[0]
        system.robot.start()
        system.wait_probed(system.robot)


def test_a_password_is_not_sent_in_the_clear(make_system, tmp_path):
    password, plain = tmp_path / "password", base64.b64encode(b"\0user\0canary-5").decode()
    password.touch(mode=0o400)
    password.chmod(0o600)
    password.write_text("canary-5\n")
    password.chmod(0o400)
    with MailServer() as mails:
        system = make_system(settings={**NAMES, "alerts.smtp_url": mails.url, "alerts.smtp_user": "user", "alerts.smtp_password_file": password})
        channel = system.ctl_json("alerts", "test", check=False)["channels"][0]
        assert channel["ok"] is False and "encryption" in channel["why"] and not mails.logins and not mails.mails
        assert not any(secret in system.dispatcher.text() for secret in ("canary-5", plain))


def test_what_the_database_knows_is_told_and_that_it_is_gone(make_system, mariadb):
    with Receiver() as receiver:
        system = make_system(robots=0, settings={**FAST, "alerts.url": receiver.url})
        system.ctl("queue", "pause", "--reason", "it is not done in time")
        system.ctl("schedule", "add", "nightly", "--cron", "0 6 * * *", "--portal", "sunat", "--action", "sunat.menu_sol_login", "--company", 1, "--done-by", "7:30", "--zone", "America/Lima")
        assert system.ctl("schedule", "set", "nightly", "--done-by", "25:00", check=False).returncode == 2
        assert system.ctl_json("schedule", "set", "nightly", "--done-by", "none", "--preview")["done_by"] is None
        assert system.ctl_json("schedule", "show", "nightly")["schedule"]["done_by"] == "07:30"
        system.ctl("schedule", "run", "nightly")
        wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_schedule_runs") == 1, 30, "it runs")
        stays(lambda: not any(code == "schedule_late" for _, code in told(receiver)), 1.5, "its time has not come")
        # as if it had begun two hours ago, to be done an hour ago by Lima's clocks
        system.database.execute("UPDATE chasqui_schedules SET done_by = DATE_FORMAT(NOW() - INTERVAL 6 HOUR, '%%H:%%i')")
        system.database.execute("UPDATE chasqui_schedule_runs SET run_at = NOW(6) - INTERVAL 2 HOUR")
        is_told(receiver, "happened", "schedule_late")
        system.database.execute("INSERT INTO chasqui_schedule_runs (schedule_id, run_at, missed, actor, made_at) SELECT id, NOW(6) - INTERVAL 5 HOUR, 2, 'x', NOW(6) FROM chasqui_schedules")
        is_told(receiver, "happened", "schedule_missed")
        stays(lambda: told(receiver).count(("happened", "schedule_late")) == 1, 2)
        late = alert(system, "schedule_late")
        assert late["who"] == "nightly" and "(America/Lima)" in late["text"] and late["state"] == "happened"
        system.ctl("schedule", "disable", "nightly")
        # the database is gone: told without it, and that it is back
        mariadb.kill9()
        is_told(receiver, "begun", "database_gone", 60)
        mariadb.ensure_running()
        is_told(receiver, "ended", "database_gone", 60)
        system.wait_ready()
