# SPDX-License-Identifier: MIT
"""Demo robots and their portal as processes, and a client for their /_test calls."""

import importlib.util
import re
import sys
from pathlib import Path

from .http import Client
from .ports import free_port, kept_port
from .process import Process
from .wait import wait_until

ROBOT_DIR = Path(__file__).resolve().parents[2] / "robot"
PYTHON = sys.executable or "/usr/bin/python3"


def _load(name):
    spec = importlib.util.spec_from_file_location(f"demo_robot_{name}", ROBOT_DIR / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


content = _load("content")  # whole(token, size), chunks(token, size), mailbox_page(robot, company, page)


class Service(Process):
    """Something of tests/robot/ that says `listening URL`. It keeps its port over restarts."""

    def __init__(self, name, script, arguments, log, port=None, host="127.0.0.1"):
        self.port = port or free_port()
        self.url = f"http://{host}:{self.port}"
        self.http = Client(self.url)
        argv = [PYTHON, ROBOT_DIR / script, "--listen", f"{host}:{self.port}", *arguments]
        super().__init__(name, argv, log, env={"PYTHONDONTWRITEBYTECODE": "1"})

    def start(self, wait=True):
        super().start()
        return self.wait_listening() if wait else self

    def wait_listening(self):
        self.wait_log(r"^listening " + re.escape(self.url) + "$", 20)
        return self

    def ask(self, method, path, json_body=None, **more):
        return self.http.request(method, path, json_body, **more).expect(200).json


class Portal(Service):
    """The judge: report()["violations"] must be empty."""

    def __init__(self, directory, port=None):
        super().__init__("portal", "portal.py", [], Path(directory) / "portal.log", port or kept_port())

    def report(self):
        return self.ask("GET", "/report")

    def violations(self):
        return self.report()["violations"]

    def abandoned(self):
        """The overlaps that are allowed: with a session left behind on a robot that was out of reach."""
        return self.report()["abandoned"]

    def outage(self, robot, out):
        """Nobody reaches that robot from now on (out), or again."""
        self.ask("POST", "/outage", {"robot": robot, "out": out})

    def maintenance(self, error, portal="sunat"):
        """The site is down from now on, with that error; None: up again."""
        self.ask("POST", "/maintenance", {"portal": portal, "error": error})

    def refuse(self, companies, error="bad_credentials", portal="sunat"):
        """Those companies' passwords are wrong from now on; error None: right again."""
        self.ask("POST", "/refuse", {"portal": portal, "companies": list(companies), "error": error})

    def times(self):
        """When log-ins came: {"turned_away": [...], "logins": [...]}."""
        return self.ask("GET", "/times")

    def sessions(self):
        return self.ask("GET", "/sessions")["sessions"]

    def live_of(self, company_id, portal="sunat"):
        """The site's live session of a company, or None."""
        found = [one for one in self.sessions() if (one["company_id"], one["portal"]) == (company_id, portal)]
        return found[0] if found else None

    def browsers_died(self, robot):
        """A robot was killed: its sessions ended with it."""
        self.ask("POST", "/boot", {"robot": robot, "boot_id": "none"})

    def reset(self):
        self.ask("POST", "/reset", {})


class Robot(Service):
    def __init__(self, directory, name, portal=None, *, capacity=10, login_ms="5-15", port=None, seed_only=False,
                 session_check=True, boot_header=True, host="127.0.0.1"):  # fmt: skip
        self.portal = portal
        arguments = ["--name", name, "--capacity", capacity, "--login-ms", login_ms]
        arguments += ["--portal", portal.url] if portal else []
        arguments += ["--seed-only"] if seed_only else []
        arguments += [] if session_check else ["--no-session-check"]
        arguments += [] if boot_header else ["--boot-header", "off"]
        super().__init__(name, "robot.py", arguments, Path(directory) / f"robot-{name}.log", port, host)

    def kill9(self):
        """The process and its browsers die; the site notices that they are gone."""
        super().kill9()
        if self.portal and self.portal.alive():
            self.portal.browsers_died(self.name)

    # --- the robot's own calls ---------------------------------------------------------------------------------

    def health(self):
        return self.ask("GET", "/health")

    def sessions(self):
        return self.ask("GET", "/sessions")["sessions"]

    def sessions_at_portal(self):
        """Ids of this robot's sessions, as the site sees them."""
        return [one["session_id"] for one in self.portal.sessions() if one["robot"] == self.name]

    # --- /_test ------------------------------------------------------------------------------------------------

    def behave(self, call, mode=None, **settings):
        """behave("login", "hang", times=1); without a mode the call is good again."""
        return self.ask("POST", "/_test/behave", {call: {"mode": mode, **settings} if mode else None})

    def behave_well(self):
        return self.ask("POST", "/_test/behave", {})

    def calls(self, call=None, company_id=None):
        """Recorded calls, oldest first: time, call, method, path, query, headers, body, company_id, status, ended (when)."""
        return self.ask("GET", "/_test/calls", query={"call": call, "company_id": company_id})

    def forget_calls(self):
        self.ask("DELETE", "/_test/calls")

    def wait_call(self, call, company_id=None, count=1, timeout=10):
        """Waits until that many calls came; answers them."""

        def come():
            got = self.calls(call, company_id)
            return got if len(got) >= count else None

        return wait_until(come, timeout, f"{count} {call} at {self.name}")

    def add_file(self, company_id, name, size, **more):
        """Answers its file_token. What it holds: content.whole(token, size)."""
        told = {"company_id": company_id, "name": name, "size": size, **more}
        return self.ask("POST", "/_test/file", told)["file_token"]

    def forget(self, session_id):
        return self.ask("POST", "/_test/forget", {"session_id": session_id})

    def reboot(self):
        """Answers the new boot id."""
        return self.ask("POST", "/_test/reboot", {})["boot_id"]

    def orphan(self, company_id, portal="sunat", **more):
        """Answers the id of a session that nobody recorded."""
        return self.ask("POST", "/_test/orphan", {"company_id": company_id, "portal": portal, **more})["session_id"]

    def settings(self, **settings):
        """capacity=N, login_ms="A-B"."""
        return self.ask("POST", "/_test/settings", settings)

    def submitted(self):
        """How often the unsafe action ran, by company."""
        return {int(company): times for company, times in self.ask("GET", "/_test/submitted").items()}

    def transfers(self):
        return self.ask("GET", "/_test/transfers")
