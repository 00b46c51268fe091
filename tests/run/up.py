#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make run`: a whole Chasqui in the foreground, its data under var/.

A private MariaDB, two demo robots with their portal (ROBOT=chromium: robots that drive Chromium, examples/; or ROBOTS="URL URL ..."), healthd, broker and two dispatchers. One company
is logged in through the whole chain, and what to try next is printed. Ctrl-C or SIGTERM stops everything that was started, by
its pid, in order. A process that dies is started again a few times, so that kill -9 can be tried on anything. A second run
finds its data.

Owns var/ (one run at a time: var/run.lock), or the directory that RUN_DIR names. Addresses are taken from the environment, see
ADDRESSES; a port that is taken is named before anything is started.
"""

import ctypes
import fcntl
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "system"))

from harness import Api, Client, MariaDB, Portal, Process, Robot, address, program, wait_until  # noqa: E402
from harness.node import chromium_robot, web_portal  # noqa: E402
from harness.process import clean_env  # noqa: E402
from harness.system import zpl  # noqa: E402

VAR = Path(os.environ.get("RUN_DIR", ROOT / "var")).resolve()
LOG = VAR / "log"
ADDRESSES = {  # name in the environment: default
    "BROKER_HTTP": "127.0.0.1:8080",
    "BROKER_OPS": "127.0.0.1:8081",
    "BROKER_BIND": "tcp://127.0.0.1:5570",
    "HEALTHD_BIND": "tcp://127.0.0.1:5571",
    "HEALTHD_CONTROL": "tcp://127.0.0.1:5572",
    "DEMO_PORTAL": "127.0.0.1:9100",
    "DEMO_ROBOT_1": "127.0.0.1:9101",
    "DEMO_ROBOT_2": "127.0.0.1:9102",
}
COMPANY = 20123
RESTARTS = 5  # of one process within a minute
LOGIN = {"company_id": COMPANY, "portal": "sunat", "action": "sunat.menu_sol_login"}
PARAMS = {"ruc": "20000020123", "usuario": "DEMO", "clave": "demo"}
# Another company has an account of its own: a portal ends the older session of an account that logs in again.
NEXT = {"company_id": 20124, "params": {**PARAMS, "ruc": "20000020124"}}


class Failed(Exception):
    """Told to the user as it is."""


class Stop(BaseException):
    """Ctrl-C or SIGTERM. Not an Exception: no wait may take it for "not yet"."""


def say(text=""):
    print(text, flush=True)


def shown(path):
    """A path as people like it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


# --- before anything is started -------------------------------------------------------------------------------------


def lock():
    """One run at a time here; held until this process ends."""
    held = open(VAR / "run.lock", "a+", encoding="utf-8")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.seek(0)
        raise Failed(f"make run is running here already (pid {held.read().strip() or '?'}); stop that one first") from None
    held.truncate(0)
    held.write(f"{os.getpid()}\n")
    held.flush()
    return held


def addresses(own_robots):
    told = {name: os.environ.get(name, default) for name, default in ADDRESSES.items()}
    if own_robots:
        for name in ("DEMO_PORTAL", "DEMO_ROBOT_1", "DEMO_ROBOT_2"):
            del told[name]
    for name, where in told.items():
        try:
            host, port = address(where)
            with socket.socket() as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((host, port))
        except (OSError, ValueError) as why:
            example = ADDRESSES[name].rpartition(":")[0] + ":" + str(int(ADDRESSES[name].rpartition(":")[2]) + 1000)
            reason = getattr(why, "strerror", None) or why
            raise Failed(f"{where} cannot be used ({reason}); choose another: {name}={example} make run") from None
    return told


def end_leftover(pid_file, datadir):
    """A MariaDB that a killed run left behind on our data is ended properly."""
    try:
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except (OSError, ValueError):
        return
    if f"--datadir={datadir}" not in command:
        return
    say(f"a MariaDB of an earlier run is still there (pid {pid}): ending it")
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 60, f"pid {pid} ends")


# --- the parts --------------------------------------------------------------------------------------------------------


class Whole:
    def __init__(self, own_robots, with_chromium):
        self.own_robots = own_robots
        self.with_chromium = with_chromium
        self.at = addresses(own_robots)
        self.conf = VAR / "chasqui.conf"
        self.crew = []  # (process, how to start it), in the order of their start
        self.deaths = {}
        self.server = self.token = self.portal = None
        self.told = ""  # the last answer on the way to a log-in

    def add(self, process, start=None):
        """Starts it, and keeps it running from now on."""
        self.crew.append((process, start or process.start))
        self.crew[-1][1]()
        say(f"  {process.name:<14} pid {process.pid:<8} {shown(process.log)}")

    def ctl(self, *words, **more):
        done = subprocess.run(
            [program("chasqui"), "-c", self.conf, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=clean_env(),
            check=False, **more,
        )  # fmt: skip
        if done.returncode != 0:
            raise Failed(f"chasqui {words[0]}: {done.stderr.strip()}")
        return done.stdout

    # --- database, keys, token, configuration

    def start_database(self):
        server = MariaDB(VAR / "mariadb", durable=True, options=[f"--pid-file={VAR}/mariadb/mariadb.pid"])
        server.process.log = LOG / "mariadb.log"
        end_leftover(VAR / "mariadb" / "mariadb.pid", server.datadir)
        self.server = server
        self.add(server.process, server.start)
        self.database = server.create_database("chasqui", password=self.kept("db.password", lambda: secrets.token_hex(16)))

    def kept(self, name, make):
        """The text of var/NAME, made at the first run; only its owner may read it."""
        path = VAR / name
        if not path.exists():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as out:
                out.write(make() + "\n")
        return path.read_text().strip()

    def write_conf(self):
        """Two files, so that only who may know the database does."""
        front = {
            "broker.http": self.at["BROKER_HTTP"],
            "broker.ops": self.at["BROKER_OPS"],
            "broker.bind": self.at["BROKER_BIND"],
            "healthd.bind": self.at["HEALTHD_BIND"],
            "healthd.control": self.at["HEALTHD_CONTROL"],
            "health.endpoints": self.at["HEALTHD_BIND"],
            "curve.dir": VAR / "curve",
        }
        whole = {
            **front,
            "db.host": self.database.host,
            "db.port": self.database.port,
            "db.user": self.database.user,
            "db.name": self.database.name,
            "db.password_file": VAR / "db.password",
            "dispatcher.brokers": self.at["BROKER_BIND"],
            "health.control": self.at["HEALTHD_CONTROL"],
            "seal.key_file": VAR / "curve" / "seal.key",
            **({"webhook.secret_file": VAR / "curve" / "webhook.key"} if (VAR / "curve" / "webhook.key").exists() else {}),
            "ctl.api_url": "http://" + self.at["BROKER_HTTP"],
            "ctl.ops_url": "http://" + self.at["BROKER_OPS"],
            **({"ctl.token": self.token} if self.token else {}),
            **({"viewer.key_file": VAR / "viewer.key", "viewer.rights": "control"} if self.with_chromium else {}),
        }
        for path, settings in ((self.conf, whole), (VAR / "front.conf", front)):
            path.touch(mode=0o600)
            path.write_text(zpl(settings))

    def token_is_good(self, token):
        number, _, secret = token.partition("|")
        row = number.isdigit() and self.database.row(
            "SELECT secret_sha256 FROM chasqui_tokens WHERE id = %s AND revoked_at IS NULL AND expires_at IS NULL", int(number)
        )
        return bool(row) and row["secret_sha256"] == hashlib.sha256(secret.encode()).digest()

    def set_up(self):
        if self.with_chromium:
            self.kept("viewer.key", lambda: secrets.token_hex(32))
        self.write_conf()
        say(self.ctl("migrate").strip().splitlines()[-1])
        if not (VAR / "curve").exists():
            self.ctl("keys", "init", str(VAR / "curve"))
            say(f"made keys in {shown(VAR)}/curve")
        path = VAR / "token"
        if path.exists() and not self.token_is_good(path.read_text().strip()):
            path.unlink()
        create = ("token", "create", "--company", "*", "--ability", "app,ops", "--rate", "0", "--name", "make run")
        self.token = self.kept("token", lambda: self.ctl(*create).strip())
        self.write_conf()

    # --- robots

    def start_robots(self):
        """{name: base URL}."""
        if self.own_robots:
            return {f"robot-{number}": url for number, url in enumerate(self.own_robots, 1)}
        if self.with_chromium:
            return self.start_chromium()
        self.portal = Portal(LOG, port=address(self.at["DEMO_PORTAL"])[1])
        self.add(self.portal)
        robots = {}
        for number in (1, 2):
            robot = Robot(LOG, f"r{number}", self.portal, login_ms="300-900", port=address(self.at[f"DEMO_ROBOT_{number}"])[1])
            robot.name = f"robot-r{number}"
            self.add(robot)
            robots[f"r{number}"] = robot.url
        return robots

    def start_chromium(self):
        """The portal and two robots of examples/."""
        portal = web_portal(LOG, listen=self.at["DEMO_PORTAL"])
        self.add(portal)
        robots = {}
        for number in (1, 2):
            where = self.at[f"DEMO_ROBOT_{number}"]
            robot = chromium_robot(LOG, f"robot-r{number}", portal.url, "--viewer-key-file", VAR / "viewer.key", listen=where)
            self.add(robot)
            robots[f"r{number}"] = robot.url
        return robots

    def register(self, robots):
        """The robots of this run are known under their URL and wanted; those of other runs get no new log-ins."""
        known = {one["name"]: one for one in json.loads(self.ctl("worker", "list", "--json"))["workers"]}
        by_url = {one["base_url"]: one["name"] for one in known.values()}
        for name, url in robots.items():
            url = url.rstrip("/")
            if url in by_url:
                self.ctl("worker", "resume", by_url[url])
                continue
            if name in known:
                self.ctl("worker", "remove", name, "--force")
            viewer = () if self.own_robots else ("--viewer-url", url if self.with_chromium else "https://viewer.example")
            self.ctl("worker", "add", name, "--base-url", url, *viewer)
        for url, name in by_url.items():
            is_ours = name in robots or url in {told.rstrip("/") for told in robots.values()}
            if not is_ours and known[name]["wanted"] == "active":
                self.ctl("worker", "drain", name)
                say(f"robot {name} is of another run and gets no new log-ins; to use it: chasqui worker resume {name}")

    # --- the programs

    def start_programs(self):
        def make(name, role, conf, env=None):
            return Process(name, [program(f"chasqui-{role}"), "-c", conf], LOG / f"{name}.log", env=env, cwd=ROOT)

        front = VAR / "front.conf"
        self.add(make("healthd", "healthd", front))
        for number in (1, 2):
            name = f"dispatcher-{number}"
            self.add(make(name, "dispatcher", self.conf, {"CHASQUI_DISPATCHER_NAME": name}))
        self.add(make("broker", "broker", front))
        ops = Client("http://" + self.at["BROKER_OPS"], timeout=5)

        def ready():
            for process, _ in self.crew:
                if not process.alive():
                    raise Failed(f"{process.name} ended by itself:\n{process.tail(15)}")
            return ops.get("/readyz").status == 200

        wait_until(ready, 30, "the broker is ready")

    # --- life and end

    def watch(self):
        """Waits for deaths, for ever."""
        while True:
            try:
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            except ChildProcessError:
                raise Failed("nothing runs any more") from None
            for entry in list(self.crew):
                if not entry[0].alive():
                    self.died(entry)

    def died(self, entry):
        process, start = entry
        code = process.popen.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        say(f"{process.name} (pid {process.pid}) {how}")
        now = time.monotonic()
        recent = [at for at in self.deaths.get(process.name, ()) if at > now - 60]
        self.deaths[process.name] = [*recent, now]
        if isinstance(process, Robot) and self.portal and self.portal.alive():
            self.portal.browsers_died(process.name.removeprefix("robot-"))
        if len(recent) >= RESTARTS:
            self.crew.remove(entry)
            say(f"  it died {RESTARTS + 1} times within a minute and stays down; see {shown(process.log)}")
            return
        try:
            start()
            say(f"  started again as pid {process.pid}")
        except (AssertionError, RuntimeError, OSError) as why:
            say(f"  it does not start: {str(why).splitlines()[0]}")

    def stop(self):
        """In the opposite order: the broker first, so that what is in flight ends; the database last."""
        for process, _ in reversed(self.crew):
            if not process.alive():
                continue
            try:
                process.stop(timeout=60 if process.name == "mariadb" else 30)
                say(f"  {process.name} stopped")
            except AssertionError as why:
                say(f"  {str(why).splitlines()[0]}")
        if self.server:
            self.server.close()


# --- one log-in through all of it ----------------------------------------------------------------------------------------


def log_in(whole):
    """(session id, first file's token, viewer), by HTTP as a backend would. Sessions of a run before may still be moving."""
    api = Api("http://" + whole.at["BROKER_HTTP"], whole.token, timeout=150)
    began = time.monotonic()

    def whole_way():
        answer = api.post("/api/v1/app/jobs/execute", {**LOGIN, "params": PARAMS, "remember": True})
        if answer.status != 200:
            whole.told = f"execute answered {answer.status}: {answer.body.decode(errors='replace')[:300]}"
            return None
        session = answer.json
        page = api.list(session["session_id"], page=1)
        whole.told = f"list answered {page.status}: {page.body.decode(errors='replace')[:300]}"
        return (session, page.json) if page.status == 200 else None

    session, page = wait_until(whole_way, 5 if whole.own_robots else 60, "the log-in succeeds", every=0.5)
    how = "is logged in already" if session.get("reused") else f"logged in, in {time.monotonic() - began:.1f} s"
    say(f"company {COMPANY} {how}: session {session['session_id']} on robot {session['robot']['worker']}")
    items = page.get("items") or [{}]
    return session["session_id"], items[0].get("file_token", "FILE_TOKEN"), session.get("viewer_url")


def show_next(whole, session_id, file_token, viewer_url=None):
    api, ops = "http://" + whole.at["BROKER_HTTP"], "http://" + whole.at["BROKER_OPS"]
    chasqui = shown(program("chasqui"))
    bearer = '-H "Authorization: Bearer $TOKEN"'
    watch = f"  # watch the company's browser live, for an hour; mouse and keyboard act on it\n  {viewer_url}\n\n" if whole.with_chromium else ""
    say(f"""
Try next, in another terminal:

  cd {ROOT}
  TOKEN=$(cat {shown(VAR)}/token)

  # log a company in; while its session lives, the same one is answered
  curl -s {bearer} -H 'Content-Type: application/json' \\
    -d '{json.dumps({**LOGIN, **NEXT})}' {api}/api/v1/app/jobs/execute

  # list the mailbox of company {COMPANY}, from the robot that holds its session
  curl -s {bearer} '{api}/api/v1/app/buzon/list?session_id={session_id}&page=1'

  # download a file
  curl -s {bearer} -OJ '{api}/api/v1/app/buzon/download?session_id={session_id}&file_token={file_token}'

{watch}  # look at it as an operator: {ops}/ in a browser, with that token; or
  export CHASQUI_CONF={whole.conf}
  {chasqui} worker list
  {chasqui} sessions list
  {chasqui} doctor
  curl -s {ops}/metrics | grep ^chasqui_ | head

  # kill anything with kill -9 and watch; it is started again

Ctrl-C stops everything.""")


def run():
    own_robots = os.environ.get("ROBOTS", "").split()
    kind = os.environ.get("ROBOT", "demo")
    if kind not in ("demo", "chromium"):
        raise Failed("ROBOT is demo or chromium")
    LOG.mkdir(parents=True, exist_ok=True)
    held = lock()
    whole = Whole(own_robots, kind == "chromium" and not own_robots)
    try:
        say("starting:")
        whole.start_database()
        whole.set_up()
        whole.register(whole.start_robots())
        whole.start_programs()
        try:
            show_next(whole, *log_in(whole))
        except AssertionError:
            if not own_robots:
                raise Failed(f"company {COMPANY} could not be logged in: {whole.told}") from None
            say(f"company {COMPANY} could not be logged in on your robots with made-up credentials: {whole.told}")
            show_next(whole, "SESSION_ID", "FILE_TOKEN")
        whole.watch()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        say("\nstopping:")
        whole.stop()
        held.close()


def main():
    def stop(_number, _frame):
        raise Stop

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    if os.environ.get("MAKELEVEL"):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: when make is killed, all of it stops
    Process.own_session = True
    try:
        run()
    except Stop:
        return 0
    except (Failed, AssertionError, RuntimeError) as why:
        print(f"make run: {why}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
