# SPDX-License-Identifier: MIT
"""The command `chasqui` at a database of its own, rows as dispatchers would have made them, and a broker that answers from a script."""

import getpass
import json
import os
import re
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

from harness import System
from harness.served import Served


class Ctl:
    """The command on one database, with tables and keys."""

    def __init__(self, directory, database):
        self.system = System(directory, database)
        self.directory = self.system.directory
        self.database = database
        self.run("keys", "init", self.directory / "keys")
        self.run("migrate")

    def run(self, *words, **more):
        return self.system.ctl(*words, **more)

    def json(self, *words, **more):
        return self.system.ctl_json(*words, **more)

    def refuses(self, code, said, *words, **more):
        """Ends with the code and says why on standard error; with --json also as the one object on standard output."""
        before = self.snapshot()
        told = self.run(*words, check=False, **more)
        assert told.returncode == code, f"{words}: {told.returncode}\n{told.stdout}{told.stderr}"
        assert re.search(said, told.stderr), told.stderr
        again = self.run(*words, "--json", check=False, **more)
        answer = json.loads(again.stdout)
        assert again.returncode == code
        assert answer["ok"] is False and re.search(said, answer["message"]), answer
        assert self.snapshot() == before, f"{words} changed something"
        return told

    def snapshot(self):
        tables = sorted(next(iter(row.values())) for row in self.database.rows("SHOW TABLES LIKE 'chasqui%%'"))
        return {name: self.database.rows(f"SELECT * FROM {name}") for name in tables}

    def audit(self):
        rows = self.database.rows("SELECT actor, action, subject, detail FROM chasqui_audit ORDER BY id")
        for row in rows:
            assert row["actor"] == f"cli:{getpass.getuser()}@{socket.gethostname()}"
        return [(row["action"], row["subject"]) for row in rows]

    def revision(self):
        return self.database.value("SELECT revision FROM chasqui_revision")

    def doctor(self):
        """({check: [level, text, do]}, exit code), without the note that no broker was asked."""
        told = self.run("doctor", "--json", check=False)
        answer = json.loads(told.stdout)
        assert answer["ok"] is (told.returncode == 0)
        found = {}
        for one in answer["findings"]:
            assert set(one) == {"level", "check", "text", "do"} and one["text"]
            if one["check"] != "robots_not_asked":
                found.setdefault(one["check"], []).append((one["level"], one["text"], one["do"]))
        return found, told.returncode

    # --- rows as dispatchers make them -----------------------------------------------------------------------------

    def job(self, company, status="done", kind="login", **columns):
        """Ours; answers its id."""
        with self.database.connect() as db, db.cursor() as cursor:
            names = {"job_uid": f"UID{company}-{os.urandom(4).hex()}", "company_id": company, "portal": "sunat", "action": "sunat.menu_sol_login",
                     "status": status, **columns}  # fmt: skip
            sets = ", ".join(f"{name} = %s" for name in names)
            cursor.execute(f"INSERT INTO portal_jobs SET {sets}, created_at = NOW() - INTERVAL 1 DAY", list(names.values()))
            job = cursor.lastrowid
            if kind:
                cursor.execute(
                    "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal) VALUES (%s, %s, %s, %s, 'sunat')",
                    (job, names["job_uid"], kind, company),
                )
            return job

    def session(self, company, robot="r1", state="active", place=True, **columns):
        """A session with its job, epoch and place, all in order; answers (job, session row's id)."""
        base_url = self.database.value("SELECT base_url FROM chasqui_robots WHERE name = %s AND removed = 0", robot)
        live = state in ("opening", "active", "closing")
        status = {"opening": "running", "lost": "failed", "expired": "failed"}.get(state, "done")
        session_id = None if state == "opening" else f"s-{company}"
        job = self.job(company, status, robot_session_id=session_id, robot_worker_base_url=session_id and base_url)
        robot_id = self.database.value("SELECT id FROM chasqui_robots WHERE name = %s AND removed = 0", robot)
        names = {"job_id": job, "current_job_id": job, "company_id": company, "portal": "sunat", "live": 1 if live else None, "state": state,
                 "robot_id": robot_id, "robot_session_id": session_id, "live_session_id": session_id if live else None, "epoch": 1,
                 **columns}  # fmt: skip
        with self.database.connect() as db, db.cursor() as cursor:
            cursor.execute(f"INSERT INTO chasqui_sessions SET {', '.join(f'{n} = %s' for n in names)}, since = NOW(6)", list(names.values()))
            ref = cursor.lastrowid
            cursor.execute("INSERT IGNORE INTO chasqui_epochs VALUES (%s, 'sunat', 1)", (company,))
            if place and live:
                cursor.execute("UPDATE chasqui_places SET session_ref = %s WHERE robot_id = %s AND session_ref IS NULL LIMIT 1", (ref, robot_id))
                assert cursor.rowcount == 1
        return job, ref

    def lease(self, job, ref, kind="login", expires="NOW(6) + INTERVAL 1 HOUR"):
        self.database.execute(
            "INSERT INTO chasqui_leases (job_id, token, kind, session_ref, holder, boot_id, taken_at, limit_at, expires_at) VALUES (%s, %s, %s, %s, "
            f"'d1', 'b1', NOW(6), NOW(6), {expires})",
            job, os.urandom(16), kind, ref,
        )  # fmt: skip



class FakeBroker(Served):
    """Answers from a script and records what it was asked."""

    def __init__(self, answers):
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self):
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                while self.headers.get("Transfer-Encoding") == "chunked" and (size := int(self.rfile.readline(), 16)) >= 0:
                    body += self.rfile.read(size)
                    self.rfile.readline()
                    if not size:
                        break
                outer.asked.append((self.command, url.path, parse_qs(url.query), dict(self.headers), body))
                status, answer = answers(self.command, url.path, parse_qs(url.query))
                text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = handle_any  # noqa: N815

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


def conf_with(ctl, **settings):
    told = {name.replace("__", "."): value for name, value in settings.items()}
    return ctl.system.write_conf("chasqui-other", {**ctl.system.settings, **told})
