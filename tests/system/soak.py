# SPDX-License-Identifier: MIT
"""Ordinary life, all at once: the actors of test_soak.py, what they keep for the end, and the measurements.

An actor is a thread that repeats one piece of work with dice of its own until the soak is over. Every answer must come in time and
must be one that the API knows; what was accepted is remembered, so that the test can see it end. Whatever an actor finds wrong is
kept in Soak.wrong (the first of each kind); an actor never ends the soak.
"""

import http.client
import itertools
import json
import random
import re
import statistics
import threading
import time
from collections import Counter
from pathlib import Path

import pymysql

from harness.system import ROOT

LOGIN = {"usuario": "DEMO", "clave": "demo"}
PORTALS = ("sunat", "acme")
ACTIONS = {  # besides the built-in ones
    "acme.menu_login": {"path": "/acme/login", "session": "create", "timeout_ms": 6000},
    "sunat.menu_sol_login": {"path": "/sunat/login", "session": "create", "timeout_ms": 6000, "final_errors": "bad_credentials"},
    "sunat.echo": {"path": "/sunat/echo", "session": "use", "timeout_ms": 4000},
}
KNOWN = set(re.findall(r'^ERR\(\w+, "(\w+)"', (ROOT / "common" / "errors.def").read_text(), re.M))
# Codes that a client who does everything right never sees, whatever dies.
NEVER = {"bad_request", "unauthenticated", "forbidden", "company_forbidden", "not_found", "method_not_allowed", "unsupported_media_type",
         "headers_too_large", "not_implemented", "rate_limited"}  # fmt: skip
LATE_S = 12  # beyond its deadline, on a busy machine
PEOPLE = 200  # companies that log in by themselves
CROWD = range(1000, 9000)  # companies of batches
TROUBLES = [  # (call, mode, settings), each for a few calls
    ("login", "status", {"status": 500}), ("login", "status", {"status": 429, "body": {"ok": False}}),
    ("login", "status", {"status": 422, "body": {"ok": False, "error": "bad_credentials", "message": "Clave incorrecta"}}),
    ("login", "status", {"status": 503, "body": {"ok": False, "error": "portal_unavailable", "message": "mantenimiento"}}),
    ("login", "hang", {}), ("login", "reset", {}), ("login", "garbage", {}), ("login", "html", {}), ("login", "truncated_json", {}),
    ("login", "close_before_answer", {}), ("login", "delay", {"ms": 2500}),
    ("list", "hang", {}), ("list", "cut", {}), ("list", "html", {}), ("list", "empty", {}), ("list", "status", {"status": 500}),
    ("list", "endless", {}), ("list", "drip", {"bytes_per_s": 2000}),
    ("file", "cut", {}), ("file", "hang", {}), ("file", "drip", {"bytes_per_s": 50000}), ("file", "status", {"status": 500}),
    ("delete", "hang", {}), ("delete", "status", {"status": 500}), ("delete", "reset", {}),
    ("sessions", "html", {}), ("sessions", "not_json", {}), ("sessions", "hang", {}), ("fence", "status", {"status": 500}), ("fence", "hang", {}),
    ("health", "status", {"status": 500}), ("health", "hang", {}), ("echo", "hang", {}), ("echo", "reset", {}),
]  # fmt: skip


class Soak:
    def __init__(self, system, mariadb, receiver, seed):
        self.system, self.mariadb, self.receiver, self.seed = system, mariadb, receiver, seed
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.answers = Counter()  # (call, status, error)
        self.slowest = {}
        self.wrong = {}  # kind -> first text
        self.jobs, self.batches = set(), {}
        self.sessions = []  # the newest ids, to be used
        self.samples = {}  # (process, what) -> [(seconds, value)]
        self.actors = []
        self.started = time.monotonic()
        self.is_broken = False  # a process died: there is nothing left to see

    # --- what is kept ------------------------------------------------------------------------------------------

    def complain(self, kind, text):
        with self.lock:
            self.wrong.setdefault(kind, f"at {time.monotonic() - self.started:.0f} s: {text}")

    def call(self, kind, what, deadline_s=28):
        """Makes a call and judges its answer; None when there was none."""
        began = time.monotonic()
        try:
            answer = what()
        except http.client.IncompleteRead:  # a robot cut its file, and that is how a caller learns of it
            with self.lock:
                self.answers[kind, 200, "cut"] += 1
            return None
        except (OSError, http.client.HTTPException) as why:
            self.complain(f"{kind}: no answer", f"{why!r} after {time.monotonic() - began:.1f} s")
            return None
        took = time.monotonic() - began
        error = answer.error if answer.status >= 400 else None
        with self.lock:
            self.answers[kind, answer.status, error] += 1
            self.slowest[kind] = max(took, self.slowest.get(kind, 0))
        if answer.status >= 400 and (error not in KNOWN or error in NEVER or answer.status in (500, 501)):
            self.complain(f"{kind}: {answer.status} {error}", repr(answer))
        if took > deadline_s + LATE_S:
            self.complain(f"{kind}: late", f"{took:.1f} s for a deadline of {deadline_s} s: {answer!r}")
        return answer

    def keep_job(self, answer):
        """What was accepted must end."""
        if answer is not None and (answer.status in (200, 202) or answer.error == "deadline_exceeded"):
            job = answer.json.get("job_id")
            with self.lock:
                if job:
                    self.jobs.add(job)
                if answer.json.get("session_id"):
                    self.sessions = [*self.sessions[-400:], answer.json["session_id"]]
        return answer

    def any_session(self, dice):
        with self.lock:
            return dice.choice(self.sessions) if self.sessions else None

    def api(self, dice):
        return self.system.api_at(dice.randrange(len(self.system.brokers)))

    def ops(self, dice):
        made = self.system.ops
        made.base_url = self.system.ops_url_of(dice.randrange(len(self.system.brokers)))
        return made

    # --- actors ------------------------------------------------------------------------------------------------

    def add(self, body, think_s, count=1):
        for number in range(count):
            dice = random.Random(f"{self.seed} {body.__name__} {number}")
            self.actors.append(threading.Thread(target=self.act, args=(body, think_s, dice), name=f"{body.__name__}-{number}", daemon=True))

    def act(self, body, think_s, dice):
        while not self.over.wait(dice.expovariate(1 / think_s)):
            try:
                body(self, dice)
            except (pymysql.MySQLError, ConnectionError):  # the test's own eyes, while the database restarts
                continue
            except Exception as why:  # an actor never ends the soak
                self.complain(f"{body.__name__}: {type(why).__name__}", repr(why)[:2000])

    def run(self, seconds):
        for actor in self.actors:
            actor.start()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.is_broken:
            self.sample()
            time.sleep(min(1, left))
        self.over.set()
        for actor in self.actors:
            actor.join(200)
            if actor.is_alive():
                self.complain(f"{actor.name} hangs", "it did not end within 200 s of the end")

    # --- measurements ------------------------------------------------------------------------------------------

    def sample(self):
        now = time.monotonic() - self.started
        for process in self.system.processes:
            if not process.alive():
                self.complain(f"{process.name} died", process.tail(60))
                self.is_broken = True
                continue
            self.samples.setdefault((process.name, "rss_kib"), []).append((now, process.rss_kib()))
            self.samples.setdefault((process.name, "fds"), []).append((now, process.fds()))
        try:
            count = int(self.mariadb.sql("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")[0]["Value"])
            self.samples.setdefault(("mariadb", "statements"), []).append((now, count))
        except pymysql.MySQLError:
            pass

    def table(self, warm_s):
        """Rows of (process, what, at warm-up's end, at the end, growth by fit over the time between, growth an hour in %)."""
        rows = []
        for (name, what), points in self.samples.items():
            points = minima([point for point in points if point[0] >= warm_s])
            if len(points) < 4:
                continue
            slope, base = theil_sen(points)
            span = points[-1][0] - points[0][0]
            rows.append((name, what, points[0][1], points[-1][1], slope * span, 100 * slope * 3600 / max(base, 1)))
        return rows


def minima(points, width=10):
    """The least of each ten seconds: what is held, without what a moment's work needs."""
    parts = {}
    for at, value in points:
        parts[int(at // width)] = min(value, parts.get(int(at // width), value))
    return [(slot * width, value) for slot, value in sorted(parts.items())]


def theil_sen(points):
    """(slope, value at the first point): the median of all pairs' slopes, which no outlier moves."""
    points = points if len(points) <= 400 else points[:: len(points) // 400 + 1]
    slope = statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2))
    return slope, statistics.median(value - slope * (at - points[0][0]) for at, value in points)


# --- clients -----------------------------------------------------------------------------------------------------


def log_in(soak, dice):
    """A log-in of one of the kinds that there are."""
    company, portal = dice.randint(1, PEOPLE), dice.choice(PORTALS)
    action = "sunat.menu_sol_login" if portal == "sunat" else "acme.menu_login"
    more, headers, deadline = {"params": {**LOGIN, "ruc": str(company), "n": 0.1}}, {}, 30
    kind = dice.choice(("plain", "plain", "plain", "new", "remember", "async", "async", "wait", "key", "hurry", "wrong"))
    if kind == "new":
        more["force_new"] = True
    elif kind == "remember":
        more["remember"] = True
    elif kind == "async":
        headers["Prefer"] = "respond-async"
    elif kind == "wait":
        headers["Prefer"] = f"wait={dice.randint(1, 5)}"
    elif kind == "key":
        headers["Idempotency-Key"] = f"soak-{company}-{portal}-{int(time.monotonic()) // 5}"
    elif kind == "hurry":
        headers["X-Deadline-Ms"] = str(dice.randint(100, 2000))
    elif kind == "wrong":
        more["params"]["clave"] = "wrong"
    if kind != "hurry" and "Prefer" not in headers:
        headers["X-Deadline-Ms"] = "20000"
    soak.keep_job(soak.call(f"log-in {kind}", lambda: soak.api(dice).execute(company, portal, action, headers=headers, **more), deadline))


def use(soak, dice):
    """What a backend does in a session."""
    session, api = soak.any_session(dice), soak.api(dice)
    if not session:
        return
    kind = dice.choice(("list", "list", "list", "download", "download", "leave", "echo", "active", "get", "close"))
    if kind == "list":
        soak.call(kind, lambda: api.list(session, dice.choice((None, 1, 2, 3))))
    elif kind in ("download", "leave"):
        download(soak, api, session, dice, kind)
    elif kind == "echo":
        soak.keep_job(soak.call(kind, lambda: echo(soak, api, session), 20))
    elif kind == "active":
        soak.call(kind, lambda: api.active(dice.randint(1, PEOPLE), dice.choice(PORTALS)))
    elif kind == "get":
        soak.call(kind, lambda: api.session(session))
    else:
        soak.call(kind, lambda: api.close(session))


def echo(soak, api, session):
    row = soak.system.database.row("SELECT company_id FROM chasqui_sessions WHERE robot_session_id = %s ORDER BY generation DESC LIMIT 1", session)
    body = {"company_id": row["company_id"] if row else 1, "portal": "sunat", "action": "sunat.echo", "session_id": session, "params": {"a": [1, 2.5]}}
    return api.post("/api/v1/app/jobs/execute", body, headers={"X-Deadline-Ms": "10000"})


def download(soak, api, session, dice, kind):
    listed = api.list(session)
    if listed.status != 200 or not listed.json.get("items"):
        return
    token = dice.choice(listed.json["items"])["file_token"]
    if kind == "download":
        soak.call(kind, lambda: api.download(session, token), 60)
        return
    answer = api.open_download(session, token)
    answer.read(dice.randint(1, 5000))
    soak.over.wait(dice.random())  # a client that is slow, and then goes away
    answer.connection.close()


def close_some(soak, dice):
    """Companies are many and places few: sessions end as they would after their work."""
    rows = soak.system.database.rows("SELECT robot_session_id AS id, company_id FROM chasqui_sessions WHERE state = 'active' ORDER BY RAND() LIMIT 40")
    for row in rows:
        if row["company_id"] >= CROWD.start or dice.random() < 0.2:
            soak.call("close", lambda row=row: soak.api(dice).close(row["id"]))


def batch(soak, dice):
    """Of an odd size, as JSON or NDJSON, sometimes cut and sent again, cancelled, or with a callback."""
    waiting = soak.system.database.value("SELECT COUNT(*) FROM chasqui_items WHERE state IN ('queued', 'running', 'retrying')")
    if waiting > 3500:
        return
    size = min(3000, int(2 ** (dice.random() * 11.6)) + dice.randint(0, 3))
    items = [{"company_id": dice.choice(CROWD), "params": {**LOGIN, "ruc": "2"}} for _ in range(size)]
    if dice.random() < 0.2:
        items[0]["params"]["clave"] = "wrong"
    fields = {"portal": "sunat", "action": "sunat.menu_sol_login", "priority": dice.randint(0, 9)}
    if dice.random() < 0.5:
        fields["callback_url"] = soak.receiver.url + "/done"
    headers = {"Idempotency-Key": f"soak-batch-{dice.getrandbits(60)}"}
    api = soak.api(dice)
    if dice.random() < 0.5:
        answer = soak.call("batch json", lambda: api.post("/api/v1/app/batches", {**fields, "items": items}, headers=headers, timeout=100), 60)
    else:
        lines = b"".join(json.dumps(item).encode() + b"\n" for item in items)
        headers["Content-Type"] = "application/x-ndjson"
        if dice.random() < 0.3:
            cut(api, fields, headers, lines[: dice.randint(1, len(lines))], len(lines))
        answer = soak.call("batch ndjson", lambda: api.post("/api/v1/app/batches", query=fields, headers=headers, body=lines, timeout=100), 60)
    if answer is None or answer.status != 202:
        return
    told = answer.json
    with soak.lock:
        soak.batches[told["batch_id"]] = told["accepted"]
    if told["accepted"] != size:
        soak.complain("batch: items lost", f"{size} sent: {told}")
    if dice.random() < 0.2:
        soak.over.wait(dice.random() * 3)
        soak.call("batch cancel", lambda: api.delete(f"/api/v1/app/batches/{told['batch_id']}"))


def cut(api, fields, headers, part, announced):
    """An upload whose client goes away in the middle."""
    try:
        query = "&".join(f"{name}={value}" for name, value in fields.items() if name != "callback_url")
        if "callback_url" in fields:
            query += "&callback_url=" + fields["callback_url"].replace(":", "%3A").replace("/", "%2F")
        connection = http.client.HTTPConnection(*api.base_url.rpartition("//")[2].split(":"), timeout=10)
        connection.putrequest("POST", f"/api/v1/app/batches?{query}")
        for name, value in {**api.headers, **headers, "Content-Length": str(announced + 10)}.items():
            connection.putheader(name, value)
        connection.endheaders(part)
        connection.close()
    except OSError:
        pass


def follow(soak, dice):
    """Server-sent events, read for a while, or not read at all."""
    with soak.lock:
        known = list(soak.batches)[-10:]
    if known and dice.random() < 0.6:
        client, path = soak.api(dice), f"/api/v1/app/batches/{dice.choice(known)}/events"
    else:
        client, path = soak.ops(dice), "/api/v1/ops/events"
    try:
        answer = client.open("GET", path, timeout=3)
        until = time.monotonic() + dice.uniform(0.5, 6)
        if dice.random() < 0.3:
            soak.over.wait(until - time.monotonic())
        while time.monotonic() < until and not soak.over.is_set() and answer.fp and answer.read1(65536):
            pass
        answer.connection.close()
    except OSError:
        pass


# --- operators ---------------------------------------------------------------------------------------------------

WORDS = {
    "status": ("queued", "running", "retrying", "done", "failed", "cancelled"), "state": ("live", "opening", "active", "closing", "closed", "expired", "lost"),
    "portal": PORTALS, "worker": ("r1", "r2", "nobody"), "search": ("sol", "%_\\", "ñ"), "limit": (1, 7, 200), "company_id": (1, 2, 1500), "batch_id": (1, 2),
    "cursor": (5, 1000000), "session_id": ("abc",), "error": ("robot_error",), "robot_error": ("bad_credentials",),
}  # fmt: skip
LISTS = {  # path: filters
    "/api/v1/ops/jobs": ("status", "portal", "worker", "search", "limit", "company_id", "batch_id", "cursor"),
    "/api/v1/ops/sessions": ("state", "worker", "session_id", "company_id", "limit", "cursor"),
    "/api/v1/ops/batches": ("limit", "cursor"), "/api/v1/ops/audit": ("search", "limit", "cursor"),
    "/api/v1/app/jobs": ("status", "portal", "company_id", "batch_id", "limit", "cursor"),
}  # fmt: skip
COMBINATIONS = [(path, chosen) for path, names in LISTS.items() for n in range(len(names) + 1) for chosen in itertools.combinations(names, n)]


def look(soak, dice):
    """A list with the next combination of filters: each combination is a statement of its own."""
    with soak.lock:
        at = soak.answers["look", 0, None]
        soak.answers["look", 0, None] += 1
    path, chosen = COMBINATIONS[(at * 101) % len(COMBINATIONS)]  # 101 is prime to their number: all come once before one comes twice
    query = {name: dice.choice(WORDS[name]) for name in chosen}
    client = soak.api(dice) if "/app/" in path else soak.ops(dice)
    soak.call(f"look {path}", lambda: client.get(path, query=query))


def operate(soak, dice):
    ops = soak.ops(dice)
    with soak.lock:
        job = dice.choice(sorted(soak.jobs)[-300:]) if soak.jobs else 1
        known = list(soak.batches)
    kind = dice.choice(("stats", "workers", "dispatchers", "queue", "why", "job", "retry", "cancel", "bulk", "preview", "drain", "pause", "close", "migrate",
                        "doctor", "metrics", "items", "token"))  # fmt: skip
    if kind in ("stats", "workers", "dispatchers", "queue", "doctor"):
        soak.call(f"ops {kind}", lambda: ops.get(f"/api/v1/ops/{kind}"))
    elif kind == "metrics":
        soak.call(f"ops {kind}", lambda: ops.get("/metrics"))
    elif kind == "why":
        soak.call("ops why", lambda: ops.get(f"/api/v1/ops/jobs/{job}/why"))
    elif kind == "job":
        soak.call("ops job", lambda: soak.api(dice).job(job))
    elif kind in ("retry", "cancel"):
        soak.call(f"ops {kind}", lambda: ops.post(f"/api/v1/ops/jobs/{job}/{kind}", {"reason": "soak"}))
    elif kind in ("bulk", "preview"):
        body = {"action": dice.choice(("retry", "cancel")), "filter": {"company_id": dice.randint(1, PEOPLE)}, "preview": kind == "preview"}
        soak.call(f"ops {kind}", lambda: ops.post("/api/v1/ops/jobs/bulk", body))
    elif kind == "drain":
        name = dice.choice(list(soak.system.robots))
        soak.call("ops drain", lambda: ops.post(f"/api/v1/ops/workers/{name}/drain", {"deadline_s": dice.randint(0, 3)}))
        soak.over.wait(dice.uniform(0.5, 4))
        soak.call("ops resume", lambda: ops.post(f"/api/v1/ops/workers/{name}/resume", {}))
    elif kind == "pause":
        soak.call("ops pause", lambda: ops.post("/api/v1/ops/queue/pause", {"reason": "soak", "expires_s": 2}))
        soak.over.wait(dice.uniform(0.2, 3))
        soak.call("ops unpause", lambda: ops.post("/api/v1/ops/queue/resume", {}))
    elif kind in ("close", "migrate") and (session := soak.any_session(dice)):
        soak.call(f"ops {kind}", lambda: ops.post(f"/api/v1/ops/sessions/{session}/{kind}", {}))
    elif kind == "items" and known:
        query = {"status": dice.choice((None, "queued", "done", "failed")), "limit": dice.choice((None, 3, 200))}
        soak.call("items", lambda: soak.api(dice).get(f"/api/v1/app/batches/{dice.choice(known)}/items", query=query))
    elif kind == "token" and soak.mariadb.process.alive():
        made = soak.system.ctl("token", "create", "--company", dice.randint(1, PEOPLE), "--ability", "app", "--rate", 0, check=False)
        if made.returncode == 0:
            soak.system.ctl("token", "revoke", made.stdout.strip().splitlines()[-1].partition("|")[0], check=False)


# --- faults ------------------------------------------------------------------------------------------------------


def trouble(soak, dice):
    """A robot refuses, stalls, answers rubbish, or is started again."""
    robot = dice.choice(list(soak.system.robots.values()))
    kind = dice.choice(("behave", "behave", "behave", "behave", "stall", "kill", "restart", "reboot", "capacity"))
    if kind == "behave":
        call, mode, settings = dice.choice(TROUBLES)
        robot.behave(call, mode, times=dice.randint(1, 6), **settings)
    elif kind == "stall":
        robot.pause()
        soak.over.wait(dice.uniform(0.5, 6))
        robot.resume()
    elif kind == "kill":
        robot.kill9()
        soak.over.wait(dice.uniform(0, 2))
        robot.start()
    elif kind == "restart":
        robot.restart()
    elif kind == "reboot":
        robot.reboot()
    else:
        robot.settings(capacity=dice.randint(5, 40))
        soak.over.wait(5)
        robot.settings(capacity=40)


def shake(soak, dice):
    """The database dies or stands still."""
    if dice.random() < 0.5:
        soak.mariadb.kill9()
        soak.over.wait(dice.uniform(0, 2))
        soak.mariadb.start(60)
    else:
        soak.mariadb.process.pause()
        time.sleep(dice.uniform(1, 4))
        soak.mariadb.process.resume()


def heal(soak):
    """Everything is well again."""
    soak.mariadb.ensure_running()
    for robot in soak.system.robots.values():
        if robot.alive():
            robot.resume()
        else:
            robot.start()
        robot.behave_well()
        robot.settings(capacity=40)
    for name in soak.system.robots:
        soak.system.ops.post(f"/api/v1/ops/workers/{name}/resume", {})
    soak.system.ops.post("/api/v1/ops/queue/resume", {})
    soak.receiver.answers = [200]


def save(lines):
    path = Path(ROOT / "build" / "soak.txt")
    if path.parent.is_dir():
        path.write_text("\n".join(lines) + "\n")
    print("\n" + "\n".join(lines))
