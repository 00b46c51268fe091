#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The government's site behind the demo robots, and the judge of Chasqui's first invariant.

Like the real one it lets a company be logged in once: when a second session of a company begins while one lives, it kicks
out the first. Every such kick is a violation and is recorded; a test that ends with violations has failed.

One overlap is allowed: a session that was abandoned on a robot which could not be reached. Whoever cuts a robot off says so (POST /outage, and
when it ends). A kick counts as `abandoned` instead when the two sessions are on different robots, and either the first one's was out of reach at some time
since that session began, or one of the two robots is, or was moments before its session began: a log-in that stood still there ends before it can be
fenced. Never on the same robot, which must fence what was left behind before it gets new work.

Owns the truth about which sessions live at the site. Knows robots by name and boot id only, and calls nobody. Nothing is
kept on disk: when it dies, its memory of sessions and violations dies with it, and robots answer 502.

    portal.py --listen 127.0.0.1:0        prints "listening http://127.0.0.1:NNNN"

    POST /login   {company_id, portal, robot, boot_id, session_id}
    POST /logout  {session_id, robot}
    POST /boot    {robot, boot_id}        the robot's browsers of any other boot id died, and their sessions with them
    GET  /alive?session_id=               200, or 404 when it was kicked out or never was
    GET  /sessions    GET /report         who lives; counts and violations
    GET  /times                           when log-ins came: those that were turned away, and the others
    POST /outage  {robot, out: true|false}   nobody reaches that robot from now on, or again
    POST /maintenance {portal, error, message?}   the site is down from now on: log-ins are turned away with that error; error null: up again
    POST /refuse  {portal, companies: [...], error}   those companies' passwords are refused from now on; error null: no longer
    POST /reset                           forget everything
"""

import argparse
import asyncio
import time

from aiohttp import web

from serve import serve


FENCED_WITHIN_S = 3  # after a robot is in reach again


class Portal:
    def __init__(self):
        self.reset_all()

    def reset_all(self):
        self.live = {}  # (company_id, portal) -> session
        self.by_session = {}  # (robot, session_id) -> the same session
        self.violations = []
        self.abandoned = []  # kicks that are allowed
        self.outages = {}  # robot -> when its last outage ended; None while it lasts
        self.down = {}  # portal -> {error, message}
        self.refused = {}  # (company_id, portal) -> error
        self.turned_away = []  # times of log-ins that came while the site was down
        self.login_times = []  # of all that came while it was up
        self.logins = self.logouts = self.kicked = 0
        self.max_live = 0  # most sessions a company had at once at one portal, the one about to be kicked included

    def drop(self, session):
        del self.live[session["company_id"], session["portal"]]
        del self.by_session[session["robot"], session["session_id"]]

    def may_be_abandoned(self, first, second):
        ended, late = self.outages.get(first["robot"], 0), self.outages.get(second["robot"], 0)
        is_first = ended is None or ended >= first["since"] - FENCED_WITHIN_S
        is_second = late is None or late >= second["since"] - FENCED_WITHIN_S
        return first["robot"] != second["robot"] and (is_first or is_second)

    async def login(self, request):
        told = await request.json()
        session = {name: told.get(name) for name in ("company_id", "portal", "robot", "boot_id", "session_id")}
        session["since"] = time.time()
        if session["portal"] in self.down:
            self.turned_away.append(session["since"])
            return web.json_response({"ok": False, **self.down[session["portal"]]}, status=503)
        self.login_times.append(session["since"])
        if error := self.refused.get((session["company_id"], session["portal"])):
            return web.json_response({"ok": False, "error": error, "message": "usuario o clave incorrectos"}, status=401)
        self.logins += 1
        first = self.live.get((session["company_id"], session["portal"]))
        if first:
            self.drop(first)
            self.kicked += 1
            brief = ("robot", "session_id", "since")
            kicks = self.abandoned if self.may_be_abandoned(first, session) else self.violations
            kicks.append(
                {
                    "time": session["since"],
                    "company_id": session["company_id"],
                    "portal": session["portal"],
                    "first": {name: first[name] for name in brief},
                    "second": {name: session[name] for name in brief},
                }
            )
        self.live[session["company_id"], session["portal"]] = session
        self.by_session[session["robot"], session["session_id"]] = session
        self.max_live = max(self.max_live, 2 if first else 1)
        return web.json_response({"ok": True, "kicked": bool(first)})

    async def logout(self, request):
        told = await request.json()
        session = self.by_session.get((told.get("robot"), told.get("session_id")))
        if session:
            self.drop(session)
            self.logouts += 1
        return web.json_response({"ok": True, "was_live": bool(session)})

    async def boot(self, request):
        told = await request.json()
        dead = [
            session
            for session in self.live.values()
            if session["robot"] == told.get("robot") and session["boot_id"] != told.get("boot_id")
        ]
        for session in dead:
            self.drop(session)
        return web.json_response({"ok": True, "dropped": len(dead)})

    async def outage(self, request):
        told = await request.json()
        self.outages[told["robot"]] = None if told.get("out") else time.time()
        return web.json_response({"ok": True})

    async def maintenance(self, request):
        told = await request.json()
        if told.get("error"):
            self.down[told["portal"]] = {"error": told["error"], "message": told.get("message", "Sistema en mantenimiento")}
        else:
            self.down.pop(told["portal"], None)
        return web.json_response({"ok": True})

    async def refuse(self, request):
        told = await request.json()
        for company in told["companies"]:
            if told.get("error"):
                self.refused[company, told["portal"]] = told["error"]
            else:
                self.refused.pop((company, told["portal"]), None)
        return web.json_response({"ok": True})

    async def alive(self, request):
        wanted, robot = request.query.get("session_id"), request.query.get("robot")
        if robot is not None:
            known = (robot, wanted) in self.by_session
        else:
            known = any(session_id == wanted for _, session_id in self.by_session)
        return web.json_response({"ok": known, "alive": known}, status=200 if known else 404)

    async def sessions(self, request):
        return web.json_response({"ok": True, "sessions": list(self.live.values())})

    async def report(self, request):
        return web.json_response(
            {
                "live": len(self.live),
                "logins": self.logins,
                "logouts": self.logouts,
                "kicked": self.kicked,
                "violations": self.violations,
                "abandoned": self.abandoned,
                "max_live_per_company": self.max_live,
            }
        )

    async def times(self, request):
        return web.json_response({"turned_away": self.turned_away, "logins": self.login_times})

    async def reset(self, request):
        self.reset_all()
        return web.json_response({"ok": True})

    def app(self):
        app = web.Application()
        app.add_routes(
            [
                web.post("/login", self.login),
                web.post("/logout", self.logout),
                web.post("/boot", self.boot),
                web.post("/outage", self.outage),
                web.post("/maintenance", self.maintenance),
                web.post("/refuse", self.refuse),
                web.get("/alive", self.alive),
                web.get("/sessions", self.sessions),
                web.get("/report", self.report),
                web.get("/times", self.times),
                web.post("/reset", self.reset),
            ]
        )
        return app


def main():
    options = argparse.ArgumentParser(description="The portal behind the demo robots.")
    options.add_argument("--listen", default="127.0.0.1:0", metavar="ADDRESS:PORT")
    asyncio.run(serve(Portal().app(), options.parse_args().listen))


if __name__ == "__main__":
    main()
