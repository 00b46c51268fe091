# SPDX-License-Identifier: MIT
"""A whole Chasqui: any number of each process, robots, a database and the operators' command.

Owns a directory (configuration, keys, logs) and everything it starts. A configuration file is written for each process, with
what that process may know: only dispatchers and the command see the database. Timers are short, so that tests wait little.

close() stops all of it and answers what went wrong meanwhile: a process that died by itself, a sanitizer's report, an
invariant that `chasqui doctor` finds broken, a violation that the portal saw, a process that did not end at SIGTERM.
"""

import json
import os
import subprocess
from pathlib import Path

from .http import Api, Client, metrics
from .ports import free_port
from .process import Process, clean_env
from .robots import Robot
from .wait import TimedOut, wait_until

ROOT = Path(__file__).resolve().parents[3]
SHORT_TIMERS = {
    "healthd.interval_ms": 100,
    "healthd.timeout_ms": 1000,
    "healthd.down_after": 3,
    "healthd.up_after": 2,
    "session.sweep_ms": 100,
    "queue.lease_ms": 4000,  # a stall of a test's machine is no death
    "log.level": "debug",
    "broker.start_delay_ms": 0,
    "broker.stop_delay_ms": 0,
}
KNOWN_BY = {  # sections of the file that each role gets, besides its own
    "broker": ("alerts", "health", "timeout", "limit", "queue", "webhook", "curve", "log", "actions"),
    "dispatcher": ("alerts", "db", "health", "session", "timeout", "queue", "limit", "robot", "retention", "schedule", "webhook", "seal", "laravel", "ratelimit", "auth", "events", "viewer", "curve", "log",
                   "actions"),
    "healthd": ("health", "robot", "curve", "log"),
}  # fmt: skip
DOCTOR_PATIENCE_S = 15


def program(name):
    """The path of a built program; CHASQUI_BUILD names the directory."""
    return (ROOT / os.environ.get("CHASQUI_BUILD", "build")).resolve() / name


def is_sanitized():
    """Built with AddressSanitizer: what it frees it keeps, and no other library may be preloaded."""
    return b"__asan_init" in program("chasqui-broker").read_bytes()


def zpl(settings, actions=None, portals=None):
    """The text of a configuration file, from {"section.key": value}; actions = {name: {key: value}}, portals likewise."""
    sections = {}
    for name, value in settings.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, []).append(f'    {key} = "{value}"')
    lines = [line for section, rows in sections.items() for line in (section, *rows)]
    for title, rows in (("actions", actions), ("portals", portals)):
        lines += [title] if rows else []
        for name, keys in (rows or {}).items():
            lines += [f"    {name}", *(f'        {key} = "{value}"' for key, value in keys.items())]
    return "\n".join(lines) + "\n"


class System:
    def __init__(self, directory, database, portal=None, *, brokers=1, dispatchers=1, healthds=1, curve=True,
                 settings=None, actions=None, portals=None, abilities="app,ops", rate=0):  # fmt: skip
        """Writes the configuration; setup() and start() do the rest. `settings` = {"section.key": value} for all
        processes; None as a value leaves the key out. `rate` 0 = no rate limit on the token."""
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.database = database
        self.portal = portal
        self.abilities, self.rate = abilities, rate
        self.actions, self.portals = actions, portals
        self.robots = {}
        self.token = None
        self.endpoints = {}
        self.settings = self.shared_settings(curve, brokers, healthds, settings or {})
        self.conf = self.write_conf("chasqui", self.settings)
        self.healthds = [self.make("healthd", n) for n in range(healthds)]
        self.brokers = [self.make("broker", n) for n in range(brokers)]
        self.dispatchers = [self.make("dispatcher", n) for n in range(dispatchers)]
        self._db = None
        self.allow_violations = False  # a test in which sessions overlap by design sets it
        self.check_doctor = True

    # --- configuration -----------------------------------------------------------------------------------------

    def shared_settings(self, curve, brokers, healthds, extra):
        for number in range(brokers):
            self.endpoints["broker", number] = {
                "broker.http": f"{self.host(number)}:{free_port()}",
                "broker.ops": f"{self.host(number)}:{free_port()}",
                "broker.bind": f"tcp://{self.host(number)}:{free_port()}",
            }
        for number in range(healthds):
            self.endpoints["healthd", number] = {
                "healthd.bind": f"tcp://{self.host(number)}:{free_port()}",
                "healthd.control": f"tcp://{self.host(number)}:{free_port()}",
            }
        first = self.endpoints.get(("broker", 0), {})
        for name in list(first):
            first[name] = extra.get(name, first[name])  # a fixed address is the first broker's
        password_file = self.directory / "db.password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.database.password + "\n")
        made = {
            "db.host": self.database.host,
            "db.port": self.database.port,
            "db.user": self.database.user,
            "db.password_file": password_file,
            "db.name": self.database.name,
            "dispatcher.brokers": self.all_endpoints("broker", "broker.bind"),
            "health.endpoints": self.all_endpoints("healthd", "healthd.bind"),
            "health.control": self.all_endpoints("healthd", "healthd.control"),
            "seal.key_file": self.directory / "keys" / "seal.key",
            "webhook.secret_file": self.directory / "keys" / "webhook.key",
            "curve.dir": self.directory / "keys" if curve else None,
            "ctl.api_url": "http://" + first["broker.http"] if first else None,
            "ctl.ops_url": "http://" + first["broker.ops"] if first else None,
            **SHORT_TIMERS,
            **extra,
        }
        return {name: value for name, value in made.items() if value not in (None, "")}

    def host(self, number):
        """Where the processes of that number listen."""
        return "127.0.0.1"

    def all_endpoints(self, role, key):
        return ",".join(keys[key] for (of, _), keys in self.endpoints.items() if of == role)

    def write_conf(self, name, settings):
        path = self.directory / f"{name}.conf"
        path.touch(mode=0o600)
        path.write_text(zpl(settings, *((None, None) if name.startswith("healthd") else (self.actions, self.portals))))
        return path

    def make(self, role, number):
        """A process of that role with its own file; not started."""
        known = (role, *KNOWN_BY[role])
        mine = {name: value for name, value in self.settings.items() if name.partition(".")[0] in known}
        mine.update(self.endpoints.get((role, number), {}))
        name = f"{role}-{number + 1}"
        if role == "dispatcher":
            mine["dispatcher.name"] = name
        conf = self.write_conf(name, mine)
        return Process(name, [program(f"chasqui-{role}"), "-c", conf], self.directory / f"{name}.log", cwd=ROOT)

    def add_dispatcher(self):
        """One more, started."""
        self.dispatchers.append(self.make("dispatcher", len(self.dispatchers)))
        return self.dispatchers[-1].start()

    # --- the command -------------------------------------------------------------------------------------------

    def ctl(self, *words, stdin=None, check=True, timeout=60, conf=None):
        """Runs `chasqui`; answers the finished process (returncode, stdout, stderr)."""
        done = subprocess.run(
            [program("chasqui"), "-c", conf or self.conf, *map(str, words)],
            input=stdin if stdin is not None else "", capture_output=True, text=True, timeout=timeout, cwd=ROOT,
            env=clean_env(), check=False,
        )  # fmt: skip
        with open(self.directory / "chasqui.log", "a", encoding="utf-8") as log:
            log.write(f"chasqui {words[0]} ... -> {done.returncode}\n{done.stderr}")
        assert not check or done.returncode == 0, f"chasqui {words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def ctl_json(self, *words, **more):
        return json.loads(self.ctl(*words, "--json", **more).stdout)

    def make_token(self, company="*", ability="app", rate=0, *more):
        """company: one, or a list; answers `id|secret`."""
        companies = company if isinstance(company, (list, tuple)) else [company]
        words = [word for one in companies for word in ("--company", one)]
        told = self.ctl("token", "create", *words, "--ability", ability, "--rate", rate, *more).stdout
        return next(word for word in reversed(told.split()) if "|" in word)

    def api_for(self, company="*", ability="app", rate=0, broker=0):
        """A client with a token of its own."""
        return Api(self.api_url(broker), self.make_token(company, ability, rate))

    def set_credentials(self, company, portal="sunat", **credentials):
        self.ctl("credentials", "set", "--company", company, "--portal", portal, stdin=json.dumps(credentials))

    def setup(self):
        """Keys, tables, a token; fit for being done again."""
        if not (self.directory / "keys").exists():
            self.ctl("keys", "init", self.directory / "keys")
        self.ctl("migrate")
        self.token = self.make_token("*", self.abilities, self.rate)
        self.settings["ctl.token"] = self.token
        self.conf = self.write_conf("chasqui", self.settings)
        return self

    # --- processes ---------------------------------------------------------------------------------------------

    @property
    def processes(self):
        return [*self.dispatchers, *self.brokers, *self.healthds]

    @property
    def broker(self):
        return self.brokers[0]

    @property
    def dispatcher(self):
        return self.dispatchers[0]

    @property
    def healthd(self):
        return self.healthds[0]

    @property
    def robot(self):
        """The first robot."""
        return next(iter(self.robots.values()))

    def start(self):
        for process in (*self.healthds, *self.brokers, *self.dispatchers):
            if not process.alive():
                process.start()
        return self

    def add_robot(self, name=None, *, capacity=10, register=True, viewer_url="https://viewer.example", told_capacity=None,
                  **options):  # fmt: skip
        """Starts a demo robot and makes it known. `told_capacity` is the operator's --capacity; options: see Robot."""
        name = name or f"r{len(self.robots) + 1}"
        robot = self.robots[name] = Robot(self.directory, name, self.portal, capacity=capacity, **options).start()
        if register:
            self.register(robot, viewer_url, told_capacity)
        return robot

    def register(self, robot, viewer_url="https://viewer.example", capacity=None):
        words = ["worker", "add", robot.name, "--base-url", robot.url]
        words += ["--viewer-url", viewer_url] if viewer_url else []
        words += ["--capacity", capacity] if capacity else []
        self.ctl(*words)

    def robot_of(self, session_id):
        """The robot that really holds a session."""
        holding = [
            robot
            for robot in self.robots.values()
            if robot.alive() and any(one["session_id"] == session_id for one in robot.sessions())
        ]
        assert len(holding) == 1, f"{len(holding)} robots hold {session_id}"
        return holding[0]

    # --- doors -------------------------------------------------------------------------------------------------

    def api_url(self, broker=0):
        return "http://" + self.endpoints["broker", broker]["broker.http"]

    def ops_url_of(self, broker=0):
        return "http://" + self.endpoints["broker", broker]["broker.ops"]

    @property
    def ops_url(self):
        return self.ops_url_of()

    @property
    def api(self):
        return Api(self.api_url(), self.token)

    def api_at(self, broker):
        return Api(self.api_url(broker), self.token)

    @property
    def ops(self):
        return Api(self.ops_url, self.token)

    @property
    def db(self):
        """A connection that is kept (autocommit, dict rows, UTC); self.database has rows(), row(), value(), execute()."""
        if self._db is None or not self._db.open:
            self._db = self.database.connect()
        return self._db

    def metrics(self, broker=0):
        """{"name{labels}": value} of a broker, which also exports what the other processes tell it."""
        return metrics(Client(self.ops_url_of(broker)).get("/metrics").expect(200).body.decode())

    def metric(self, name, broker=0):
        """The sum of a family over its labels; 0 when it is absent."""
        return sum(value for key, value in self.metrics(broker).items() if key.partition("{")[0] == name)

    # --- conditions --------------------------------------------------------------------------------------------

    def ready(self, broker=0):
        return Client(self.ops_url_of(broker), timeout=5).get("/readyz").status == 200

    def wait_ready(self, timeout=30):
        """Every broker that runs has a dispatcher with credit and a database."""
        for number, process in enumerate(self.brokers):

            def fit(number=number, process=process):
                if not process.alive():
                    raise RuntimeError(f"{process.name} ended\n{process.tail()}")
                return self.ready(number)

            if process.alive() or process.died_unexpectedly():
                try:
                    wait_until(fit, timeout, f"{process.name} is ready")
                except TimedOut as why:
                    raise TimedOut(f"{why}\n{self.tails()}") from None
        return self

    def wait_probed(self, *robots, count=None, timeout=10):
        """Every healthd has probed these robots (default: all that run) often enough to judge them up."""
        count = count or len(self.healthds) * (int(self.settings["healthd.up_after"]) + 1)
        for robot in robots or [robot for robot in self.robots.values() if robot.alive()]:
            before = len(robot.calls("health"))
            robot.wait_call("health", count=before + count, timeout=timeout)

    # --- the end -----------------------------------------------------------------------------------------------

    def doctor(self):
        """(healthy, what doctor printed)."""
        done = self.ctl("doctor", "--json", check=False)
        try:
            kept = json.loads(done.stdout)["promises_kept"]  # whether requests can be served is not asked here
        except (ValueError, KeyError):
            kept = False
        return kept, done.stdout + done.stderr

    def wait_healthy(self, timeout=DOCTOR_PATIENCE_S):
        """Doctor finds every invariant whole; what is on its way may need a moment."""
        told = [None]

        def whole():
            healthy, told[0] = self.doctor()
            return healthy

        try:
            wait_until(whole, timeout, "doctor is content", every=0.2)
        except TimedOut as why:
            raise TimedOut(f"{why}\n{told[0]}") from None

    def wait_agreed(self, timeout=90):
        """Nothing is under way: no lease, no place that is kept; robots and database hold the same sessions, and each its place."""
        value, rows = self.database.value, self.database.rows

        def agree():
            known = [row["id"] or "" for row in rows("SELECT robot_session_id AS id FROM chasqui_sessions WHERE live = 1")]
            held = [one["session_id"] for robot in self.robots.values() for one in robot.sessions()]
            return sorted(known) == sorted(held) and value("SELECT COUNT(session_ref) FROM chasqui_places") == len(held)

        wait_until(lambda: value("SELECT COUNT(*) FROM chasqui_leases") == 0, timeout, "everything is settled")
        wait_until(lambda: not value("SELECT COUNT(*) FROM chasqui_sessions WHERE close_pending <> 0"), timeout, "no place is kept", every=0.2)
        wait_until(agree, timeout, "robots and database hold the same sessions", every=0.3)

    def tails(self, lines=40):
        everyone = [*self.processes, *self.robots.values()]
        return "\n".join(process.tail(lines) for process in everyone)

    def close(self):
        """Stops everything and answers the list of what went wrong, empty if nothing did. Never raises."""
        wrong = []

        def attempt(what):
            try:
                what()
            except Exception as why:  # each part of the end is tried, whatever the others did
                wrong.append(str(why))

        everyone = [*self.processes, *self.robots.values()]
        for process in everyone:
            if process.alive():
                attempt(process.resume)
        if self.check_doctor and self.token and all(process.alive() for process in self.processes):
            attempt(self.wait_healthy)
        if self.portal and self.portal.alive() and not self.allow_violations:
            attempt(lambda: wrong.extend(f"portal saw two sessions: {one}" for one in self.portal.violations()))
        for process in everyone:
            attempt(process.stop)
        for process in everyone:
            code = process.popen.returncode if process.popen else 0
            if report := process.sanitizer_report():
                wrong.append(f"{process.name}: sanitizer\n{report}")
            elif process.died_unexpectedly():
                wrong.append(f"{process.name} died by itself, code {process.deaths}\n{process.tail()}")
            elif code not in (0, -9) and not process.may_die:
                wrong.append(f"{process.name} ended with code {code}\n{process.tail()}")
        log = self.directory / "chasqui.log"
        if log.exists() and ("Sanitizer" in (text := log.read_text()) or "runtime error:" in text):
            wrong.append(f"chasqui: sanitizer\n{text[-4000:]}")
        if self._db is not None and self._db.open:
            attempt(self._db.close)
        return wrong
