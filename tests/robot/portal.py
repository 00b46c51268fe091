#!/usr/bin/python3
"""The government's site behind the demo robots, and the judge of Chasqui's first invariant.

Like the real one it lets a company be logged in once: when a second session of a company begins while one lives, it kicks
out the first. Every such kick is a violation and is recorded; a test that ends with violations has failed.

Owns the truth about which sessions live at the site. Knows robots by name and boot id only, and calls nobody. Nothing is
kept on disk: when it dies, its memory of sessions and violations dies with it, and robots answer 502.

    portal.py --listen 127.0.0.1:0        prints "listening http://127.0.0.1:NNNN"

    POST /login   {company_id, portal, robot, boot_id, session_id}
    POST /logout  {session_id, robot}
    POST /boot    {robot, boot_id}        the robot's browsers of any other boot id died, and their sessions with them
    GET  /alive?session_id=               200, or 404 when it was kicked out or never was
    GET  /sessions    GET /report         who lives; counts and violations
    POST /reset                           forget everything
"""

import argparse
import asyncio
import time

from aiohttp import web

from serve import serve


class Portal:
    def __init__(self):
        self.reset_all()

    def reset_all(self):
        self.live = {}  # (company_id, portal) -> session
        self.by_session = {}  # (robot, session_id) -> the same session
        self.violations = []
        self.logins = self.logouts = self.kicked = 0
        self.max_live = 0  # most sessions a company had at once at one portal, the one about to be kicked included

    def drop(self, session):
        del self.live[session["company_id"], session["portal"]]
        del self.by_session[session["robot"], session["session_id"]]

    async def login(self, request):
        told = await request.json()
        session = {name: told.get(name) for name in ("company_id", "portal", "robot", "boot_id", "session_id")}
        session["since"] = time.time()
        self.logins += 1
        first = self.live.get((session["company_id"], session["portal"]))
        if first:
            self.drop(first)
            self.kicked += 1
            brief = ("robot", "session_id", "since")
            self.violations.append(
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
                "max_live_per_company": self.max_live,
            }
        )

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
                web.get("/alive", self.alive),
                web.get("/sessions", self.sessions),
                web.get("/report", self.report),
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
