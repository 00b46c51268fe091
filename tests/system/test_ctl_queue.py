# SPDX-License-Identifier: MIT
"""`chasqui batch`, `jobs` and `queue`: with a broker that answers from a script, and with all of Chasqui."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import time

import pytest
from ctl_desk import Ctl, FakeBroker, conf_with
from harness import free_port, program, wait_until
from harness.process import clean_env

SUBMIT = ("--portal", "sunat", "--action", "sunat.menu_sol_login")


@pytest.fixture
def ctl(tmp_path, database):
    return Ctl(tmp_path / "ctl", database)


def at(ctl, broker):
    return conf_with(ctl, ctl__api_url=broker.url, ctl__ops_url=broker.url, ctl__token="7|abc")


def batch_jv(status="running", total=10, finished=None, **counts):
    known = dict.fromkeys(("queued", "running", "retrying", "done", "failed", "cancelled"), 0)
    return {"id": 12, "status": status, "portal": "sunat", "action": "sunat.menu_sol_login", "priority": 5, "total": total,
            "counts": {**known, **counts}, "eta_s": 130, "created_at": "2026-01-01T06:00:00.000Z", "available_at": None,
            "finished_at": finished}  # fmt: skip


# --- what is asked, and how it is shown --------------------------------------------------------------------------------


def test_jobs_are_listed_with_filters_and_pages(ctl):
    def answers(_method, _path, query):
        first = 300 - int(query.get("cursor", ["0"])[0])
        jobs = [{"id": n, "company_id": 1, "action": "sunat.menu_sol_login", "status": "failed", "attempts": 3, "worker": "r1", "batch_id": None,
                 "error": "robot_error", "created_at": "2026-01-01T06:00:00.123Z"} for n in range(first, max(0, first - int(query["limit"][0])), -1)]  # fmt: skip
        return 200, {"ok": True, "jobs": jobs, "next_cursor": 300 - jobs[-1]["id"] + 1 if jobs[-1]["id"] > 1 else None}

    with FakeBroker(answers) as broker:
        conf = at(ctl, broker)
        told = ctl.json("jobs", "list", "--status", "failed", "--company", 7, "--portal", "sunat", "--batch", 12, "--worker", "r1", "--search", "a b",
                        "--limit", 250, conf=conf)  # fmt: skip
        assert len(told["jobs"]) == 250 and told["more"]
        assert [one[2]["limit"] for one in broker.asked] == [["200"], ["50"]]
        query = broker.asked[0][2]
        assert {name: query[name][0] for name in query if name != "limit"} == {
            "status": "failed", "company_id": "7", "portal": "sunat", "batch_id": "12", "worker": "r1", "search": "a b",
        }  # fmt: skip
        shown = ctl.run("jobs", "list", "--limit", 2, conf=conf)
        assert re.search(r"JOB +COMPANY +ACTION", shown.stdout) and "2026-01-01 06:00" in shown.stdout and "more" in shown.stderr
        for words, rows, more in (((), 300, False), (("--limit", 250), 250, True)):  # a table for a spreadsheet is whole
            shown = ctl.run("jobs", "list", "--csv", *words, conf=conf)
            assert len(shown.stdout.splitlines()) == rows + 1 and shown.stdout.count("job_uid") == 1 and ("there are more" in shown.stderr) is more
        for words in (("--status", "live"), ("--batch", 0), ("--company", 0), ("--limit", 0), ("--search", "")):
            assert ctl.run("jobs", "list", *words, conf=conf, check=False).returncode == 2


def test_days_are_those_of_the_readers_zone(ctl, monkeypatch):
    with FakeBroker(lambda *_: (200, {"ok": True, "jobs": [], "next_cursor": None})) as broker:
        conf = at(ctl, broker)

        def asked(*words):
            said = ctl.run("jobs", "list", *words, conf=conf).stderr
            query = broker.asked[-1][2]
            return {name: query[name][0] for name in ("since", "until") if name in query}, said

        monkeypatch.setenv("TZ", "<-05>5")
        times, said = asked("--since", "2026-11-29", "--until", "2026-11-30 07:30")
        assert times == {"since": "2026-11-29T05:00:00.000Z", "until": "2026-11-30T12:30:00.000Z"}
        assert "--since 2026-11-29 is 2026-11-29 00:00 -0500 (-05)\n" in said
        now = time.time() - 5 * 3600
        today = time.strftime("%Y-%m-%dT05:00:00.000Z", time.gmtime(now))
        yesterday = time.strftime("%Y-%m-%dT05:00:00.000Z", time.gmtime(now - 86400))
        assert asked("--since", "yesterday", "--until", "today")[0] == {"since": yesterday, "until": today}
        assert asked("--since", "2h") == ({"since": "7200"}, "") and asked("--until", "2026-01-31T06:00:00Z")[0]["until"].startswith("2026-01-31T06")
        for wrong in ("tomorrow", "2026-02-30", "2026-11-30 24:00", "2026-11-30 7:00", "2026-1-2", "2026-11-30x", "30-11-2026"):
            assert ctl.run("jobs", "list", "--since", wrong, conf=conf, check=False).returncode == 2, wrong


def test_items_that_wait_are_no_jobs_yet(ctl):
    with FakeBroker(lambda *_: (200, {"ok": True, "jobs": [], "next_cursor": None})) as broker:
        conf = at(ctl, broker)
        told = ctl.run("jobs", "list", "--status", "queued", conf=conf)
        assert told.stdout == "no such jobs\n" and "chasqui batch items ID --status queued" in told.stderr
        assert "batch items 12 --status cancelled" in ctl.run("jobs", "list", "--status", "cancelled", "--batch", 12, conf=conf).stderr
        assert ctl.run("jobs", "list", "--status", "failed", conf=conf).stderr == ""


def test_a_job_is_shown_with_its_timeline_and_why(ctl):
    job = {"id": 7, "job_uid": "ABCDEFGHIJKL-1", "company_id": 1, "portal": "sunat", "action": "sunat.menu_sol_login", "status": "retrying", "priority": 5,
           "attempts": 1, "batch_id": 3, "session_id": None, "worker": "r1", "error": "robot_error", "message": "no", "created_at": "2026-01-01T06:00:00.000Z",
           "timeline": [{"at": "2026-01-01T06:00:00.000Z", "event": "queued"}, {"at": "2026-01-01T06:00:01.500Z", "event": "started", "worker": "r1",
                                                                               "dispatcher": "d1"}]}  # fmt: skip
    why = {"ok": True, "job_id": 7, "status": "retrying", "why": [{"reason": "retry", "detail": "it failed and is tried again"},
                                                                  {"reason": "paused", "detail": "It is held.", "why": "x", "until": "2026-01-01T06:00:00Z"}]}  # fmt: skip

    with FakeBroker(lambda _m, path, _q: (200, why if path.endswith("/why") else {"ok": True, "job": job})) as broker:
        conf = at(ctl, broker)
        shown = ctl.run("jobs", "show", 7, conf=conf).stdout
        assert re.search(r"^why +it failed and is tried again\n +It is held\. \(x\) Until 2026-01-01T06:00:00Z\.$", shown, re.MULTILINE)
        assert re.search(r"2026-01-01 06:00:01\.500 +started +r1 +d1", shown)
        assert [one[1] for one in broker.asked] == ["/api/v1/ops/jobs/7", "/api/v1/ops/jobs/7/why"]
        assert ctl.json("jobs", "show", "ABCDEFGHIJKL-1", conf=conf)["why"] == why["why"]
        well = {"n": 1, "worker": "r1", "queued_ms": 5, "robot_ms": 177, "outcome": "done", "robot_status": 200}
        job["attempts_log"] = [{**well, "steps": {"outcome": "failed", "error": "step_failed"}}, {**well, "steps": {"outcome": "done", "error": None}}, {**well, "n": 2}]
        shown = ctl.run("jobs", "show", 7, conf=conf).stdout
        assert re.search(r"^ +1 +r1 .*  log-in done; steps failed: step_failed +200 ", shown, re.MULTILINE)
        assert re.search(r"^1 again +r1 .*  log-in done; steps done +200 ", shown, re.MULTILINE) and re.search(r"^ +2 +r1 .*  done +200 ", shown, re.MULTILINE)
        job["status"] = "done"
        before = len(broker.asked)
        assert "why" not in ctl.run("jobs", "show", 7, conf=conf).stdout and len(broker.asked) == before + 1
        assert ctl.run("jobs", "show", "../x", conf=conf, check=False).returncode == 2


def test_jobs_are_retried_and_cancelled_each_by_itself(ctl):
    def answers(_method, path, _query):
        if "/8/" in path:
            return 409, {"ok": False, "error": "wrong_state", "message": "It runs."}
        return 200, {"ok": True, "job_id": 7, "status": "running" if "/9/" in path else "queued"}

    with FakeBroker(answers) as broker:
        conf = at(ctl, broker)
        assert ctl.run("jobs", "retry", 7, conf=conf).stdout == "job 7 is queued again\n"
        told = ctl.run("jobs", "cancel", 7, 8, 9, "--reason", "wrong day", conf=conf, check=False)
        assert told.returncode == 1 and told.stderr == "chasqui: wrong_state: It runs.\n"
        assert told.stdout == "job 7 is cancelled\njob 9 runs just now; it was asked to stop\n"
        assert [one[:2] for one in broker.asked[-3:]] == [("POST", f"/api/v1/ops/jobs/{n}/cancel") for n in (7, 8, 9)]
        assert {one[4] for one in broker.asked[-3:]} == {b'{"reason":"wrong day"}'}
        answer = json.loads(ctl.run("jobs", "retry", 7, 8, "--json", conf=conf, check=False).stdout)
        assert not answer["ok"] and [one["ok"] for one in answer["jobs"]] == [True, False]


def test_the_queue_is_shown_paused_and_resumed(ctl):
    queue = {"ready": {"n": 100345, "capped": True}, "by_priority": [{"n": 100000, "capped": True, "priority": 5}, {"n": 345, "capped": False, "priority": 9}],
             "oldest_s": 130, "scheduled": {"n": 4, "capped": False}, "running": 64,
             "paused": {"by": "token:1:ops", "reason": "the site is down\x1b[2J", "since": "2026-01-01T06:00:00.000Z", "until": None}}  # fmt: skip
    with FakeBroker(lambda *_: (200, {"ok": True, "queue": queue})) as broker:
        conf = at(ctl, broker)
        shown = ctl.run("queue", "status", conf=conf).stdout
        assert "waiting    100,345+ (100,000+ with priority 5, 345 with priority 9)" in shown
        assert "oldest     for 2m10s" in shown and "running    64" in shown and r"reason   the site is down\x1b[2J" in shown
        assert "later      4 (to be tried again" in shown
        assert ctl.json("queue", "status", conf=conf)["queue"] == queue
        ctl.run("queue", "pause", "--reason", "x", "--for", "30m", conf=conf)
        assert broker.asked[-1][:2] == ("POST", "/api/v1/ops/queue/pause")
        assert json.loads(broker.asked[-1][4]) == {"reason": "x", "for_s": 1800}
        until, too_late = (time.strftime("%Y-%m-%dT06:00:00Z", time.gmtime(time.time() + days * 86400)) for days in (30, 368))
        ctl.run("queue", "pause", "--until", until, conf=conf)
        assert json.loads(broker.asked[-1][4]) == {"reason": "paused from the command line", "until": until}
        queue.update(paused=None, pauses=[{"portal": "sunat", "by": "ana", "reason": "it is down"}])
        shown = ctl.run("queue", "status", conf=conf).stdout
        assert re.search(r"^paused     portal sunat: it is down by ana$", shown, re.M) and shown.count("paused") == 1, shown
        asked = len(broker.asked)
        for words in (("--until", "yesterday"), ("--until", "2001-01-31T06:00:00Z"), ("--until", too_late), ("--for", "367d")):
            assert ctl.run("queue", "pause", *words, conf=conf, check=False).returncode == 2
        assert len(broker.asked) == asked
        told = ctl.run("queue", "resume", conf=conf)
        assert broker.asked[-1][:2] == ("POST", "/api/v1/ops/queue/resume") and json.loads(broker.asked[-1][4]) == {}
        part = "portal sunat (chasqui queue resume --portal sunat)"
        assert told.stderr == f"nothing was resumed: the queue as a whole is not paused; paused is: {part}\n"
        assert ctl.run("queue", "resume", "--portal", "sunat", conf=conf).stderr == ""
        queue["pauses"].append({"portal": "sunat", "action": "sunat.buzon_list", "batch_id": 7, "by": "ana", "reason": None})
        words = "portal sunat action sunat.buzon_list batch 7 (chasqui queue resume --portal sunat --action sunat.buzon_list --batch 7)"
        told = ctl.run("queue", "resume", "--portal", "sunat", "--batch", 7, conf=conf)
        assert told.stderr == f"nothing was resumed: portal sunat batch 7 is not paused; paused is: {part}, {words}\n"
        assert ctl.run("queue", "resume", "--batch", 7, "--portal", "sunat", "--action", "sunat.buzon_list", "--reason", "x", conf=conf).stderr == ""
        queue.update(pauses=[])
        told = ctl.run("queue", "resume", "--json", conf=conf)
        assert told.stderr == "nothing was resumed: the queue as a whole is not paused\n" and json.loads(told.stdout)["queue"] == queue
        queue.update(paused={"by": "ana"})
        assert ctl.run("queue", "resume", conf=conf).stderr == ""
        assert "paused is: the queue as a whole (chasqui queue resume)\n" in ctl.run("queue", "resume", "--portal", "sunat", conf=conf).stderr
        assert ctl.run("queue", "pause", "--for", "1h", "--until", "x", conf=conf, check=False).returncode == 2
        assert ctl.run("queue", "pause", "--for", "soon", conf=conf, check=False).returncode == 2


def test_a_pause_of_a_portal_that_is_down_is_warned_of(ctl):
    refused = []

    def answers(method, path, _query):
        if path.endswith("/portals") or (refused and method == "GET"):
            portals = [{"name": "sunat", "state": "tripped"}, {"name": "afip", "state": "up"}]
            return (403, {"ok": False, "error": "forbidden", "message": "no"}) if refused else (200, {"ok": True, "portals": portals})
        return 200, {"ok": True, "queue": {"ready": {"n": 1}, "pauses": [{"portal": "sunat", "by": "ana"}]}}

    with FakeBroker(answers) as broker:
        conf = at(ctl, broker)
        for words, said in ((("--portal", "sunat"), "sunat is down; while it is paused nothing probes it\n"), (("--portal", "afip"), ""), ((), "")):
            assert ctl.run("queue", "pause", *words, conf=conf).stderr == said
        refused.append(True)  # a remark that cannot be made holds nothing up
        for verb in ("pause", "resume"):
            told = ctl.run("queue", verb, "--portal", "sunat", conf=conf)
            assert told.stderr == "" and "paused     portal sunat" in told.stdout


def test_batches_are_listed_shown_and_cancelled(ctl):
    items = [{"index": 0, "company_id": 5, "status": "failed", "job_id": 3, "attempts": 3, "worker": "r1", "session_id": None, "error": "robot_error", "message": "no"}]

    running = [2]

    def answers(_method, path, _query):
        if path.endswith("/items"):
            return 200, {"ok": True, "items": items, "next_cursor": None}
        if path.startswith("/api/v1/ops/"):
            newest = [{**batch_jv(), "id": 15, "name": "other"}, {**batch_jv(done=4, running=2, queued=4), "name": "morning"}, {**batch_jv(), "id": 9, "name": "morning"}]
            return 200, {"ok": True, "batches": newest, "next_cursor": None, "batch_id": 12}
        return 200, {"ok": True, "batch": batch_jv(done=4, running=running[0], queued=4), "batch_id": 12, "status": "cancelled"}

    with FakeBroker(answers) as broker:
        broker.server.RequestHandlerClass.do_DELETE = broker.server.RequestHandlerClass.do_GET
        conf = at(ctl, broker)
        assert re.search(r"12 +running +- +morning +sunat.menu_sol_login +5 +10 +4 +0 +0 +2 +4 ", ctl.run("batch", "list", conf=conf).stdout)
        told = ctl.run("jobs", "list", "--batch", "morning", conf=conf, check=False)
        assert "morning is batch 12" in told.stderr, "the newest of that name"
        assert ctl.run("errors", "--batch", "evening", conf=conf, check=False).stderr.endswith("there is no batch evening\n")
        shown = ctl.run("batch", "status", 12, conf=conf).stdout
        assert re.search(r"^queued +4$", shown, re.MULTILINE) and re.search(r"^left +2m10s$", shown, re.MULTILINE)
        assert re.search(r"0 +5 +failed +3 +3 +r1 +- +robot_error +no", ctl.run("batch", "items", 12, "--status", "failed", conf=conf).stdout)
        assert broker.asked[-1][1:3] == ("/api/v1/app/batches/12/items", {"limit": ["200"], "status": ["failed"]})
        assert ctl.run("batch", "cancel", 12, conf=conf).stdout == "batch 12 is cancelled: what runs just now was asked to stop\n"
        assert broker.asked[-2][:2] == ("DELETE", "/api/v1/app/batches/12")
        asked = len(broker.asked)
        assert ctl.run("batch", "cancel", 12, "--preview", conf=conf).stdout == "6 items would be cancelled; running now, and asked to stop: 2\n"
        assert [one[:2] for one in broker.asked[asked:]] == [("GET", "/api/v1/app/batches/12")]
        ctl.run("batch", "cancel", 12, "--reason", "wrong file", conf=conf)
        assert broker.asked[-2][:2] == ("POST", "/api/v1/ops/batches/12/cancel") and json.loads(broker.asked[-2][4]) == {"reason": "wrong file"}
        running[0] = 0
        assert ctl.run("batch", "cancel", 12, conf=conf).stdout == "batch 12 is cancelled\n"
        # by name, the newest; one company's items
        for words, path in ((("morning",), "12"), ((), "15"), (("7",), "7")):
            ctl.run("batch", "show", *words, conf=conf)
            assert broker.asked[-1][1] == f"/api/v1/app/batches/{path}"
        assert ctl.run("batch", "show", "evening", conf=conf, check=False).stderr == "chasqui: there is no batch evening\n"
        told = ctl.run("batch", "items", "morning", conf=conf)
        assert told.stderr == "morning is batch 12\n" and broker.asked[-1][1] == "/api/v1/app/batches/12/items"
        told = ctl.run("batch", "retry", "morning", "--preview", conf=conf)
        assert told.stderr == "morning is batch 12\n" and json.loads(broker.asked[-2][4])["filter"] == {"batch_id": 12}
        for verb in ("items", "retry"):
            assert ctl.run("batch", verb, "evening", conf=conf, check=False).stderr == "chasqui: there is no batch evening\n"
        items.append({**items[0], "index": 1, "company_id": 6})
        assert [one["company_id"] for one in ctl.json("batch", "items", 12, "--company", 6, conf=conf)["items"]] == [6]


def test_a_batch_that_is_not_there_is_said(ctl):
    there = []

    def answers(_method, path, _query):
        if "/batches/" in path:
            return (200, {"ok": True, "batch": batch_jv()}) if there else (404, {"ok": False, "error": "not_found", "message": "There is no such batch."})
        return 200, {"ok": True, "errors": [], "jobs": [], "n": 0, "capped": bool(there), "looked_to": "2026-01-01T06:00:00.000Z", "next_cursor": None}

    commands = [("jobs", "list", "--batch", 99, "--csv"), ("errors", "--batch", 99), ("errors", "--batch", 99, "--csv"), ("batch", "retry", 99), ("jobs", "list", "--batch", 99), ("jobs", "cancel", "--batch", 99)]
    with FakeBroker(answers) as broker:
        conf = at(ctl, broker)
        for words in commands:
            told = ctl.run(*words, conf=conf, check=False)
            assert (told.returncode, told.stdout, told.stderr) == (1, "", "chasqui: not_found: There is no such batch.\n"), words
        there.append(99)
        for words in commands:
            assert ctl.run(*words, conf=conf, check=False).returncode == 0, words
        told = ctl.run("errors", "--batch", 99, "--csv", conf=conf)
        assert told.stdout.startswith("\ufefferror,robot_error,kind,n,companies,first_at") and told.stderr.startswith("only the newest 20,000 failed jobs")
        assert re.fullmatch("\ufeffid,job_uid,[a-z_,]+,finished_at\n", ctl.run("jobs", "list", "--batch", 99, "--csv", conf=conf).stdout)


def test_a_robot_error_that_no_robot_said_is_told(ctl):
    said = ["bad_credentials", "captcha", None, "captcha"]

    def answers(_method, path, _query):
        if path.endswith("/errors"):
            return 200, {"ok": True, "errors": [{"error": "robot_error", "robot_error": one, "n": 3} for one in said], "capped": False}
        return 200, {"ok": True, "batch": batch_jv(), "n": 0, "capped": False}

    with FakeBroker(answers) as broker:
        conf = at(ctl, broker)
        for words in (("batch", "retry", 12, "--preview"), ("jobs", "retry", "--batch", 12)):
            told = ctl.run(*words, "--robot-error", "bad_credential", conf=conf)
            assert told.stderr == "no robot said bad_credential in batch 12 (did you mean bad_credentials?); they said: bad_credentials, captcha\n"
            assert told.stdout.startswith("0 jobs ")
        assert broker.asked[-1][1:3] == ("/api/v1/ops/errors", {"batch_id": ["12"]})
        assert ctl.run("batch", "retry", 12, "--robot-error", "captcha", conf=conf).stderr == ""  # all are queued again already
        said.clear()
        assert "they said nothing that failed" in ctl.run("batch", "retry", 12, "--robot-error", "x", conf=conf).stderr


def test_no_broker_or_no_ability_is_said(ctl):
    port = free_port()
    conf = conf_with(ctl, ctl__api_url=f"http://127.0.0.1:{port}", ctl__ops_url=f"http://127.0.0.1:{port}")
    file = ctl.directory / "c.csv"
    file.write_text("company_id\n1\n")
    for words in (("jobs", "list"), ("jobs", "show", 1), ("queue", "status"), ("batch", "list"), ("batch", "status", 1), ("batch", "submit", file, *SUBMIT)):
        told = ctl.run(*words, conf=conf, check=False)
        assert told.returncode == 1 and f"127.0.0.1:{port}" in told.stderr, words
    with FakeBroker(lambda *_: (403, {"ok": False, "error": "forbidden", "message": "No."})) as broker:
        assert "ability app" in ctl.run("batch", "status", 1, conf=at(ctl, broker), check=False).stderr
        assert "ability ops" in ctl.run("queue", "status", conf=at(ctl, broker), check=False).stderr


# --- what a file may be ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text,said",
    [
        ("", "holds no items"),
        ("\n \n", "holds no items"),
        ("company,clave\n1,x\n", "line 1: no column is named company_id; there is company, clave\n"),
        ("empresa;clave\n1;x\n", "no column is named company_id; there is empresa, clave\n"),
        ("canary,1\nx,2\n", "no column is named company_id; the first row must name the columns\n"),
        ("company_id,clave,clave\n1,x,y\n", "two columns are named clave"),
        ("company_id,,clave\n1,x,y\n", "a column has no name"),
        ("company_id,epoch\n1,2\n", "a column cannot be named epoch"),
        ("company_id\n", "holds no items"),
    ],
)
def test_files_that_are_refused_whole(ctl, text, said):
    file = ctl.directory / "c.csv"
    file.write_text(text)
    told = ctl.run("batch", "submit", file, *SUBMIT, check=False)
    assert told.returncode == 1 and said in told.stderr
    assert "canary" not in told.stderr  # it may be a secret


def test_what_a_broker_does_not_know_is_named(ctl, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("company_id\n1\n")
    told = {}
    with FakeBroker(lambda *_: (422, {"ok": False, "error": "validation_failed", "message": "Some fields are not good.", "errors": told})) as broker:
        conf = at(ctl, broker)
        told["action"] = ["is not an action that is known here"]
        said = ctl.run("batch", "submit", file, "--portal", "sunat", "--action", "sunat.login", conf=conf, check=False).stderr
        assert "action is not an action that is known here (did you mean sunat.menu_sol_login?).\n" in said
        del told["action"]
        told["then"] = ["step 1: its action is not known here"]
        said = ctl.run("batch", "submit", file, *SUBMIT, "--then", "sunat.buzon_list", "--then", "sunat.mailbox", conf=conf, check=False).stderr
        assert "then step 1: its action is not known here (did you mean sunat.buzon_list?).\n" in said
        del told["then"]
        told["portal"] = ["is not a portal that is known here"]
        said = ctl.run("queue", "pause", "--portal", "SUNAT", conf=conf, check=False)
        assert said.returncode == 1 and "portal is not a portal that is known here (did you mean the portal sunat?).\n" in said.stderr
        assert "did you mean" not in ctl.run("queue", "pause", "--portal", "sunat", conf=conf, check=False).stderr


def test_what_submit_cannot_be(ctl):
    file = ctl.directory / "c.csv"
    file.write_text("company_id\n1\n")
    ctl.refuses(2, "--portal is missing", "batch", "submit", file, "--action", "sunat.x")
    ctl.refuses(2, "--action is missing", "batch", "submit", file, "--portal", "sunat")
    ctl.refuses(2, "begin with its portal", "batch", "submit", file, "--portal", "sunat", "--action", "acme.x")
    ctl.refuses(2, "printable ASCII", "batch", "submit", file, *SUBMIT, "--key", "ñ")
    ctl.refuses(2, "http or https URL", "batch", "submit", file, *SUBMIT, "--callback-url", "x")
    ctl.refuses(1, "cannot be read", "batch", "submit", "/nowhere", *SUBMIT)


# --- with all of Chasqui ---------------------------------------------------------------------------------------------------------


def batch_of(told):
    return int(re.search(r"batch (\d+):", told.stdout).group(1))


def test_a_csv_file_is_submitted_followed_and_known_again(make_system):
    system = make_system(robots=1, capacity=50)
    file = system.directory / "companies.csv"
    rows = ["company_id,ruc,usuario,clave", *(f'{n},20{n:09},"DEMO","a ""b"", c"' for n in range(1, 21)), "x,1,2,3", "", "22,only", "0,1,DEMO,x"]
    file.write_text("\r\n".join(rows) + "\r\n")
    told = system.ctl("batch", "submit", file, *SUBMIT, "--priority", 7, check=False)
    assert told.returncode == 1  # two rows are not good; the one with fewer cells is, they count as empty
    assert "21 items accepted, 2 rejected" in told.stdout
    assert "line 22: company_id must be" in told.stderr and "line 25: company_id must" in told.stderr
    batch = batch_of(told)
    done = system.ctl("batch", "status", batch, "--follow")
    assert f"batch {batch} is done: 21 done, 0 failed, 0 cancelled" in done.stdout and "21/21" in done.stderr
    assert {call["body"].get("clave") for call in system.robot.calls("login")} >= {'a "b", c'}
    again = system.ctl("batch", "submit", file, *SUBMIT, "--priority", 7, check=False)
    assert "submitted before" in again.stdout and batch_of(again) == batch
    listed = system.ctl_json("batch", "list")["batches"]
    assert [one["id"] for one in listed] == [batch]
    assert len(system.ctl_json("batch", "items", batch)["items"]) == 21
    assert len(system.ctl_json("jobs", "list", "--batch", batch, "--status", "done")["jobs"]) == 21
    shown = system.ctl_json("jobs", "show", system.ctl_json("jobs", "list", "--limit", 1)["jobs"][0]["id"])
    assert [one["event"] for one in shown["job"]["timeline"]][-1] == "done"


def test_ndjson_from_standard_input(make_system):
    system = make_system(robots=1, capacity=50)
    lines = ['{"company_id":1,"params":{"ruc":"1","usuario":"DEMO","clave":"demo"}}', "", '{"company_id":"two"}', "[]", '{"company_id":3}', "x" * 30000]
    told = system.ctl("batch", "submit", "-", *SUBMIT, "--json", "--key", "k1", stdin="\n".join(lines), check=False)
    answer = json.loads(told.stdout)
    assert told.returncode == 1 and answer["accepted"] == 2 and answer["rejected_total"] == 3 and answer["key"] == "k1" and not answer["replayed"]
    assert {one["line"] for one in answer["rejected"]} == {3, 4, 6}
    again = json.loads(system.ctl("batch", "submit", "-", *SUBMIT, "--json", "--key", "k1", stdin="\n".join(lines), check=False).stdout)
    assert again["batch_id"] == answer["batch_id"] and again["replayed"]


def test_a_large_file_goes_up_in_one_request_with_flat_memory(make_system):
    system = make_system(robots=0)
    system.ctl("queue", "pause", "--reason", "only the upload is looked at")
    file = system.directory / "large.csv"
    file.write_text("company_id\n" + "".join(f"{n}\n" for n in range(1, 50001)))
    answer = system.ctl_json("batch", "submit", file, *SUBMIT, timeout=300)
    assert answer["accepted"] == 50000 and answer["rejected_total"] == 0
    assert system.database.value("SELECT total FROM chasqui_batches WHERE id = %s", answer["batch_id"]) == 50000


def test_an_upload_that_was_cut_goes_on(make_system):
    system = make_system(robots=0)
    system.ctl("queue", "pause", "--reason", "only the upload is looked at")
    file = system.directory / "large.csv"
    file.write_text("company_id\n" + "".join(f"{n}\n" for n in range(1, 60001)))
    words = [program("chasqui"), "-c", system.conf, "batch", "submit", file, *SUBMIT]
    cut = subprocess.Popen(list(map(str, words)), env=clean_env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_items") > 0, 30, "some of it is in", every=0.001)
    cut.kill()
    cut.wait()
    answer = system.ctl_json("batch", "submit", file, *SUBMIT, timeout=300)
    assert answer["accepted"] == 60000
    assert system.database.rows("SELECT status, total FROM chasqui_batches") == [{"status": "running", "total": 60000}]
    assert system.database.value("SELECT COUNT(DISTINCT company_id) FROM chasqui_items") == 60000


def test_retry_cancel_pause_and_resume(make_system):
    system = make_system(robots=1)
    system.robot.behave("login", "status", status=401, body={"ok": False, "error": "bad_credentials"})
    failed = system.api.execute(1, params={"ruc": "1"}).json["job_id"]
    system.robot.behave_well()
    system.ctl("queue", "pause", "--reason", "a test", "--for", "10m")
    assert system.ctl_json("queue", "status")["queue"]["paused"]["reason"] == "a test"
    assert "is queued again" in system.ctl("jobs", "retry", failed).stdout
    shown = system.ctl("jobs", "show", failed).stdout
    assert re.search(r"^why +\S", shown, re.MULTILINE)
    assert "is cancelled" in system.ctl("jobs", "cancel", failed).stdout
    refused = system.ctl("jobs", "cancel", failed, check=False)
    assert refused.returncode == 1 and refused.stderr == "chasqui: wrong_state: The job has ended.\n"
    system.ctl("jobs", "retry", failed)
    system.ctl("queue", "pause", "--portal", "sunat")
    assert system.ctl("queue", "resume").stderr == ""
    assert system.ctl_json("queue", "status")["queue"]["paused"] is None
    part = "portal sunat (chasqui queue resume --portal sunat)"
    assert system.ctl("queue", "resume").stderr == f"nothing was resumed: the queue as a whole is not paused; paused is: {part}\n"
    assert system.ctl("queue", "resume", "--portal", "sunat").stderr == ""
    wait_until(lambda: system.ctl_json("jobs", "show", failed)["job"]["status"] == "done", 20, "it is done", every=0.2)


# --- the progress bar -----------------------------------------------------------------------------------------------------------


def follow_on_terminal(conf, columns, *words):
    """What a terminal of that width is sent."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([str(program("chasqui")), "-c", str(conf), *map(str, words)], stdout=slave, stderr=slave, stdin=slave, env=clean_env())
    os.close(slave)
    seen = b""
    try:
        while part := os.read(master, 4096):
            seen += part
    except OSError:
        pass
    os.close(master)
    process.wait()
    return process.returncode, seen.decode()


@pytest.mark.parametrize("columns", [80, 40, 20])
def test_the_bar_fits_the_terminal(ctl, columns):
    steps = [batch_jv(total=12345, queued=12345), batch_jv(total=12345, done=5000, running=64, retrying=12, failed=3, queued=7266),
             batch_jv("done", total=12345, done=12342, failed=3, finished="2026-01-01T07:00:00.000Z")]  # fmt: skip
    with FakeBroker(lambda *_: (200, {"ok": True, "batch": steps.pop(0) if len(steps) > 1 else steps[0]})) as broker:
        code, seen = follow_on_terminal(at(ctl, broker), columns, "batch", "status", 12, "--follow")
    assert code == 1  # three failed
    drawn = [line for line in re.split(r"[\r\n]+", seen) if "%" in line]
    assert len(drawn) == 3 and all(len(line) <= columns - 1 for line in drawn)
    assert "batch 12 is done: 12,342 done, 3 failed, 0 cancelled" in seen
    if columns == 80:
        assert re.match(r" 40% \[####+\.+\] 5,003/12,345  64 running  12 retrying  3 failed  ETA 2m10s *$", drawn[1]), drawn[1]


@pytest.mark.parametrize("columns", [100, 60])
def test_the_bar_says_why_a_batch_stands(ctl, columns):
    waits = [{"reason": "paused", "detail": "A pause of this part of the queue holds it.", "why": "\x1b[2Jmañana: el SOL está en mantenimiento",
              "until": "2026-01-01T06:00:00.000Z"}]  # fmt: skip
    steps = [{**batch_jv(total=3000, done=1005, retrying=9, queued=1986), "waits_for": waits, "eta_s": None}, batch_jv("done", total=3000, done=3000,
                                                                                                     finished="2026-01-01T07:00:00.000Z")]  # fmt: skip

    def answers(*_):
        return 200, {"ok": True, "batch": steps.pop(0) if len(steps) > 1 else steps[0]}

    whole = r" 33% 1,005/3,000  9 retrying  waits: paused: \x1b[2Jmañana: el SOL está en mantenimiento, until 2026-01-01 06:00 UTC"
    with FakeBroker(answers) as broker:
        conf, first = at(ctl, broker), steps[0]
        _, seen = follow_on_terminal(conf, columns, "batch", "show", 12, "--follow")
        drawn = next(line for line in re.split(r"[\r\n]+", seen) if "33%" in line)
        assert len(drawn) == columns - 1 and drawn == whole[: columns - 2] + "…", drawn
        steps.insert(0, first)
        assert ctl.run("batch", "show", 12, "--follow", conf=conf).stderr.splitlines()[0] == whole


def test_following_outlives_a_broker_that_is_restarted(ctl):
    answers = [(503, {"ok": False, "error": "no_dispatcher", "message": "-"}), (200, {"ok": True, "batch": batch_jv(done=10)}),
               (200, {"ok": True, "batch": batch_jv("done", done=10, finished="2026-01-01T07:00:00.000Z")})]  # fmt: skip
    with FakeBroker(lambda *_: answers.pop(0)) as broker:
        told = ctl.run("batch", "status", 12, "--follow", "--json", conf=at(ctl, broker))
    assert json.loads(told.stdout)["batch"]["status"] == "done"
    with FakeBroker(lambda *_: (404, {"ok": False, "error": "batch_not_found", "message": "-"})) as broker:
        told = ctl.run("batch", "status", 12, "--follow", conf=at(ctl, broker), check=False)
        assert told.returncode == 1 and "batch_not_found" in told.stderr and len(broker.asked) == 1
