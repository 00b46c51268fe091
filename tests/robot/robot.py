#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The demo robot: speaks the whole robot contract (design, section 5), and misbehaves on request.

Owns its sessions ("browsers"), the highest epoch seen for each company and portal, and the answers given under each
Idempotency-Key. All of it lives in memory: a restart is a new boot id and nothing else remembered, as with real browsers.
It tells the portal of each log-in, log-out and start, and asks it before each use of a session.

How it fails: when its portal cannot be reached, calls that need it are answered 502 `portal_unreachable`, and a close still
closes here. A log-in runs on when its caller goes away, as a browser would; only a fence, a DELETE or the end of the process
stops it. Exceptions of a handler are a 500 and a line on standard error.

    robot.py --listen 127.0.0.1:0 --name r1 --capacity 10 --portal http://127.0.0.1:NNNN

Besides the contract it has POST and GET /{portal}/echo and POST /{portal}/submit (actions in a session; the second one must not
run twice, and is counted by company) and, for tests:

    POST   /_test/behave {call: behaviour, [behaviour, ...] or null}     see misbehave.py; {} clears, GET shows
    GET    /_test/calls?call=&company_id=     the calls that came, oldest first; DELETE forgets them
    POST   /_test/file {company_id, name, size, content_type?, disposition?} -> {file_token}
    POST   /_test/forget {session_id}         drops a session as if it had never been; the portal is told
    POST   /_test/orphan {company_id, portal} -> {session_id}: a session nobody asked for
    POST   /_test/reboot                      new boot id, all sessions and everything remembered gone
    POST   /_test/settings {capacity?, login_ms?: "A-B"}
    GET    /_test/submitted                   {company_id: how often it was submitted}; a reboot does not forget it
    GET    /_test/transfers                   {active, started, bytes_sent, aborted} of files
"""

import argparse
import asyncio
import json
import random
import re
import secrets
import sys
import time
from collections import OrderedDict, deque
from urllib.parse import quote

import aiohttp
from aiohttp import web

import content
from misbehave import CALLS, Switches, close, misbehave, reset_connection
from serve import serve

ANSWERS_KEPT = 20_000
CALLS_KEPT = 20_000
PORTAL_TIMEOUT_S = 100  # a log-in that we gave up and the site did not would be a session that nobody knows of


class PortalUnreachable(Exception):
    pass


class PortalRefused(Exception):
    """The site answered a log-in with no: (status, error, message)."""


class PortalClient:
    """The robot's line to its portal; without a URL everything is allowed and nobody is told."""

    def __init__(self, url, robot):
        self.url = url and url.rstrip("/")
        self.robot = robot
        self.http = None

    async def ask(self, method, path, **fields):
        if not self.url:
            return 200
        if self.http is None:
            self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PORTAL_TIMEOUT_S))
        body = {"params": fields} if method == "GET" else {"json": fields}
        try:
            async with self.http.request(method, self.url + path, **body) as answer:
                if answer.status in (401, 503):  # the site says no
                    said = json.loads(await answer.read())
                    raise PortalRefused(answer.status, said.get("error"), said.get("message"))
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as why:
            print(f"portal unreachable path={path} why={why!r}", file=sys.stderr, flush=True)
            raise PortalUnreachable from why

    async def login(self, session):
        await self.ask(
            "POST", "/login", company_id=session.company_id, portal=session.portal, robot=self.robot,
            boot_id=session.boot_id, session_id=session.id,
        )  # fmt: skip

    async def logout(self, session):
        await self.ask("POST", "/logout", session_id=session.id, robot=self.robot)

    async def boot(self, boot_id):
        await self.ask("POST", "/boot", robot=self.robot, boot_id=boot_id)

    async def alive(self, session):
        return await self.ask("GET", "/alive", session_id=session.id, robot=self.robot) == 200

    async def stop(self):
        if self.http:
            await self.http.close()


class Session:
    """A browser. It takes a place from the moment its log-in starts."""

    def __init__(self, session_id, boot_id, company_id, portal, job_uid, epoch):
        self.id = session_id
        self.boot_id = boot_id
        self.company_id = company_id
        self.portal = portal
        self.job_uid = job_uid
        self.epoch = epoch  # None counts as 0
        self.state = "opening"  # opening, active, closing
        self.stop = asyncio.Event()  # set: the log-in that opens it must not succeed
        self.login = None  # the task that opens it
        self.closing = None  # the task that closes it

    def public(self):
        return {
            "session_id": self.id, "company_id": self.company_id, "portal": self.portal, "job_uid": self.job_uid,
            "epoch": self.epoch, "state": self.state,
        }  # fmt: skip


def no(status, error, message, **more):
    return status, {"ok": False, "error": error, "message": message, **more}


def said(outcome):
    status, body = outcome
    return web.json_response(body, status=status)


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class Robot:
    def __init__(self, name, capacity, portal_url, *, seed_only, login_ms, session_check, boot_header):
        self.name = name
        self.capacity = capacity
        self.seed_only = seed_only
        self.login_ms = login_ms
        self.session_check = session_check
        self.boot_header = boot_header and not seed_only
        self.portal = PortalClient(portal_url, name)
        self.switches = Switches()
        self.calls = deque(maxlen=CALLS_KEPT)
        self.files = {}  # token -> (content.File, disposition or None); survives a reboot, being a disk
        self.submitted = {}  # company_id -> times; what was sent to an authority stays sent
        self.transfers = {"active": 0, "started": 0, "bytes_sent": 0, "aborted": 0}
        self.forget_everything()

    def forget_everything(self):
        self.boot_id = secrets.token_hex(8)
        self.sessions = {}  # id -> Session
        self.highest = {}  # (company_id, portal) -> highest epoch seen or fenced
        self.answers = OrderedDict()  # Idempotency-Key -> the log-in's task

    # --- sessions ----------------------------------------------------------------------------------------------

    def new_session(self, company_id, portal, job_uid, epoch, behaviour=None):
        """Makes a session in state opening. Answers it and the id that callers are told."""
        session_id = told = secrets.token_hex(16)
        mode = (behaviour or {}).get("mode")
        if mode == "wrong_session_id":
            told = behaviour["session_id"]
        elif mode == "long_session_id":
            told = session_id = "L" * 150 + session_id
        elif mode == "duplicate_session_id":
            told = next((session.id for session in reversed(self.sessions.values())), session_id)
        if told not in self.sessions:
            session_id = told
        session = Session(session_id, self.boot_id, company_id, portal, job_uid, epoch)
        self.sessions[session_id] = session
        for number in range(content.PAGES * content.PAGE_ITEMS):
            file = content.message_file(self.name, company_id, number)
            self.files.setdefault(file.token, (file, None))
        return session, told

    async def end(self, session):
        """Returns once the session is gone, here and at the portal. Any number of callers may wait for it."""
        if session.state == "opening" and session.login:
            session.stop.set()
            await asyncio.shield(session.login)
            if session.state == "opening":
                return
        if session.closing is None:
            session.closing = asyncio.create_task(self.close_browser(session))
        await asyncio.shield(session.closing)

    async def close_browser(self, session):
        session.state = "closing"
        try:
            await self.portal.logout(session)
        except PortalUnreachable:
            pass  # the browser is closed all the same
        if self.sessions.get(session.id) is session:
            del self.sessions[session.id]

    async def use(self, session_id, portal=None):
        """The active session of that id, or None when it is gone; kicked out ones are found here."""
        session = self.sessions.get(session_id)
        if session is None or session.state != "active" or portal not in (None, session.portal):
            return None
        if not await self.portal.alive(session):
            if self.sessions.get(session_id) is session:
                del self.sessions[session_id]
            return None
        return session

    # --- the contract ------------------------------------------------------------------------------------------

    async def login(self, request):
        body, portal = request["json"], request.match_info["portal"]
        if not isinstance(body, dict) or not is_count(body.get("company_id")):
            return said(no(422, "bad_request", "company_id is missing"))
        key = request.headers.get("Idempotency-Key")
        task = self.answers.get(key) if key else None
        if task is None:
            epoch = None if self.seed_only else body.get("epoch")
            of = (body["company_id"], portal)
            if epoch is not None and not is_count(epoch):
                return said(no(422, "bad_request", "epoch is not a number"))
            if epoch is not None and epoch <= self.highest.get(of, -1):
                return said(no(409, "stale_epoch", f"epoch {epoch} is not above {self.highest[of]}"))
            if len(self.sessions) >= self.capacity:
                return said(no(503, "full", f"all {self.capacity} browsers are taken"))
            if epoch is not None:
                self.highest[of] = epoch
            session, told = self.new_session(
                body["company_id"], portal, body.get("job_uid"), epoch, request.get("behaviour")
            )
            task = session.login = asyncio.create_task(self.open_browser(session, told, body))
            if key:
                self.answers[key] = task
                if len(self.answers) > ANSWERS_KEPT:
                    self.answers.popitem(last=False)
        outcome = await asyncio.shield(task)
        if outcome is None:
            reset_connection(request)
        return said(outcome)

    async def open_browser(self, session, told, body):
        """The log-in itself. Answers (status, body), or None when the robot went down under it."""
        try:
            try:
                await asyncio.wait_for(session.stop.wait(), random.uniform(*self.login_ms) / 1000)
            except asyncio.TimeoutError:
                pass
            if not session.stop.is_set() and body.get("clave") == "wrong":
                return no(401, "bad_credentials", "usuario o clave incorrectos")
            if not session.stop.is_set():
                try:
                    await self.portal.login(session)
                    if session.stop.is_set():
                        await self.portal.logout(session)
                except PortalRefused as refused:
                    return no(*refused.args)
                except PortalUnreachable:
                    return no(502, "portal_unreachable", "the portal does not answer")
            if session.boot_id != self.boot_id:
                return None
            if session.stop.is_set():
                return no(409, "stale_epoch", "fenced while it ran")
            session.state = "active"
            return 200, {
                "ok": True,
                "session_id": told,
                "url": f"https://{session.portal}.example/menu?company={session.company_id}",
                "titulo": f"Menú {session.portal} {session.company_id}",
            }
        finally:
            if session.state == "opening" and self.sessions.get(session.id) is session:
                del self.sessions[session.id]

    async def list(self, request):
        session = await self.use(request.query.get("session_id"), request.match_info["portal"])
        if session is None:
            return said(no(404, "session_not_found", "no such session"))
        page = request.query.get("page", "1")
        if not re.fullmatch("[1-9][0-9]{0,5}", page):
            return said(no(422, "bad_page", "page is a number from 1"))
        mail = content.mailbox_page(self.name, session.company_id, int(page))
        return web.Response(text=json.dumps(mail, ensure_ascii=False), content_type="application/json")

    async def echo(self, request):
        fields = request["json"] if request.method == "POST" else dict(request.query)
        if not isinstance(fields, dict):
            return said(no(422, "bad_request", "an object is wanted"))
        session = await self.use(fields.get("session_id"), request.match_info["portal"])
        if session is None:
            return said(no(404, "session_not_found", "no such session"))
        return web.json_response({"ok": True, "company_id": session.company_id, "echo": fields})

    async def submit(self, request):
        fields = request["json"]
        session = await self.use(fields.get("session_id") if isinstance(fields, dict) else None, request.match_info["portal"])
        if session is None:
            return said(no(404, "session_not_found", "no such session"))
        times = self.submitted[session.company_id] = self.submitted.get(session.company_id, 0) + 1
        return web.json_response({"ok": True, "company_id": session.company_id, "times": times})

    async def file(self, request):
        known = self.files.get(request.match_info["file_token"])
        if known and self.session_check:
            session = await self.use(request.query.get("session_id"))
            if session is None or session.company_id != known[0].company_id:
                known = None
        if known is None:
            return said(no(404, "file_not_found", "no such file"))
        return await self.send(request, *known)

    async def send(self, request, file, disposition):
        ascii_name = file.name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_")
        response = web.StreamResponse(
            headers={
                "Content-Type": file.content_type,
                "Content-Disposition": disposition
                or f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(file.name, safe='')}",
            }
        )
        response.content_length = file.size
        if request.get("behaviour", {}).get("mode") == "gzip":
            response.headers["Content-Encoding"] = "gzip"
        behaviour = request.get("behaviour", {})
        mode = behaviour.get("mode")
        rate = behaviour["bytes_per_s"] if mode == "drip" else None
        limit = behaviour.get("bytes", file.size // 2) if mode == "cut" else file.size
        self.transfers["started"] += 1
        self.transfers["active"] += 1
        sent = 0
        try:
            if mode == "close_before_answer":
                close(request)
            await response.prepare(request)
            for block in content.chunks(file.token, file.size):
                view = memoryview(block)[: limit - sent]
                step = max(1, rate // 50) if rate else len(view)
                for at in range(0, len(view), step or 1):
                    part = view[at : at + step]
                    await response.write(part)
                    sent += len(part)
                    self.transfers["bytes_sent"] += len(part)
                    if rate:
                        await asyncio.sleep(len(part) / rate)
            if sent < file.size:
                close(request)
            await response.write_eof()
            return response
        except BaseException:
            self.transfers["aborted"] += 1
            raise
        finally:
            self.transfers["active"] -= 1

    async def other(self, request):
        """Tells what came; ?status=N answers with that, ?bytes=N with so many of them."""
        if request.query.get("session_id") not in self.sessions:
            return said(no(404, "session_not_found", "no such session"))
        status, size = int(request.query.get("status", 200)), int(request.query.get("bytes", 0))
        if status == 204:
            return web.Response(status=204)
        if not size:
            told = {"method": request.method, "target": request.raw_path, "headers": dict(request.headers), "body": request["json"]}
            return web.json_response(told, status=status, headers={"Set-Cookie": "a=b", "Connection": "X-Odd", "X-Odd": "1"})
        response = web.StreamResponse(status=status, headers={"Content-Type": "application/zip", "Content-Length": str(size)})
        await response.prepare(request)
        for block in content.chunks("other", size):
            await response.write(block)
        await response.write_eof()
        return response

    async def health(self, request):
        told = {"ok": True, "sessions": len(self.sessions), "capacity": self.capacity}
        if not self.seed_only:
            told["boot_id"] = self.boot_id
        return web.json_response(told)

    def optional(self):
        if self.seed_only:
            raise web.HTTPNotFound(text='{"ok":false,"error":"not_found"}', content_type="application/json")

    async def delete(self, request):
        self.optional()
        session = self.sessions.get(request.match_info["id"])
        if session is None:
            return said(no(404, "session_not_found", "no such session"))
        await self.end(session)
        return web.json_response({"ok": True})

    async def list_sessions(self, request):
        self.optional()
        return web.json_response({"ok": True, "sessions": [session.public() for session in self.sessions.values()]})

    async def fence(self, request):
        self.optional()
        body = request["json"]
        if not isinstance(body, dict) or not is_count(body.get("company_id")) or not is_count(body.get("epoch")):
            return said(no(422, "bad_request", "company_id, portal and epoch are wanted"))
        of, epoch = (body["company_id"], body.get("portal")), body["epoch"]
        self.highest[of] = max(epoch, self.highest.get(of, -1))
        ended = []
        while below := [
            session
            for session in self.sessions.values()
            if (session.company_id, session.portal) == of and (session.epoch or 0) <= epoch
        ]:
            ended += [session.id for session in below]
            await asyncio.gather(*(self.end(session) for session in below))
        return web.json_response({"ok": True, "epoch": epoch, "ended": ended})

    # --- for tests ---------------------------------------------------------------------------------------------

    async def test_behave(self, request):
        try:
            if request.method == "POST":
                self.switches.set(await request.json())
        except ValueError as why:
            return said(no(422, "bad_behaviour", str(why)))
        return web.json_response(self.switches.table)

    async def test_calls(self, request):
        if request.method == "DELETE":
            self.calls.clear()
        call, company = request.query.get("call"), request.query.get("company_id")
        return web.json_response(
            [
                record
                for record in self.calls
                if call in (None, record["call"]) and company in (None, str(record["company_id"]))
            ]
        )

    async def test_file(self, request):
        told = await request.json()
        file = content.File(
            content.file_token(self.name, told["company_id"], told["name"]),
            told["company_id"], told["name"], told["size"], told.get("content_type", "application/octet-stream"),
        )  # fmt: skip
        self.files[file.token] = (file, told.get("disposition"))
        return web.json_response({"ok": True, "file_token": file.token})

    async def test_forget(self, request):
        session = self.sessions.pop((await request.json())["session_id"], None)
        if session:
            await self.portal.logout(session)
        return web.json_response({"ok": session is not None}, status=200 if session else 404)

    async def test_orphan(self, request):
        told = await request.json()
        session, _ = self.new_session(told["company_id"], told["portal"], told.get("job_uid"), told.get("epoch"))
        await self.portal.login(session)
        session.state = "active"
        return web.json_response({"ok": True, "session_id": session.id})

    async def test_reboot(self, request):
        opening = [session for session in self.sessions.values() if session.state == "opening" and session.login]
        self.forget_everything()
        for session in opening:
            session.stop.set()
        if opening:
            await asyncio.wait([session.login for session in opening])
        await self.portal.boot(self.boot_id)
        return web.json_response({"ok": True, "boot_id": self.boot_id})

    async def test_settings(self, request):
        told = await request.json()
        self.capacity = told.get("capacity", self.capacity)
        if "login_ms" in told:
            self.login_ms = span(told["login_ms"])
        return web.json_response({"ok": True, "capacity": self.capacity, "login_ms": self.login_ms})

    async def test_submitted(self, request):
        return web.json_response(self.submitted)

    async def test_transfers(self, request):
        return web.json_response(self.transfers)

    # --- around every call -------------------------------------------------------------------------------------

    def company_of(self, request, body):
        """Whom a call is about, for the record and for behaviours of one company."""
        if isinstance(body, dict) and "company_id" in body:
            return body["company_id"]
        session_id = request.query.get("session_id") or request.match_info.get("id")
        if session_id is None and isinstance(body, dict):
            session_id = body.get("session_id")
        session = self.sessions.get(session_id)
        return session and session.company_id

    def middleware(self):
        names = {
            self.login: "login", self.list: "list", self.file: "file", self.health: "health", self.delete: "delete",
            self.list_sessions: "sessions", self.fence: "fence", self.echo: "echo", self.submit: "submit", self.other: "other",
        }  # fmt: skip
        assert sorted(names.values()) == sorted(CALLS)

        @web.middleware
        async def around(request, handler):
            call = names.get(request.match_info.handler)
            if call is None:
                return await handler(request)
            text = (await request.read()).decode("utf-8", "replace")
            try:
                body = json.loads(text) if text else None
            except ValueError:
                body = text
            request["call"], request["json"] = call, body
            record = {
                "time": time.time(), "call": call, "method": request.method, "path": request.path,
                "query": dict(request.query), "headers": dict(request.headers), "body": body, "raw": text,
                "company_id": self.company_of(request, body), "status": None, "ended": None,
            }  # fmt: skip
            self.calls.append(record)
            behaviour = self.switches.take(call, record["company_id"])
            try:
                answer = await (misbehave(behaviour, request, handler) if behaviour else handler(request))
            except PortalUnreachable:
                answer = said(no(502, "portal_unreachable", "the portal does not answer"))
            except ConnectionError:
                raise asyncio.CancelledError from None  # closed by the client, or on purpose: nobody to answer
            record["status"], record["ended"] = answer.status, time.time()
            return answer

        return around

    async def add_boot_header(self, request, response):
        if self.boot_header:
            response.headers["X-Robot-Boot"] = self.boot_id

    async def start(self, app):
        try:
            await self.portal.boot(self.boot_id)
        except PortalUnreachable:
            pass  # said on standard error; log-ins will answer 502 until it is there

    async def stop(self, app):
        try:
            await self.portal.boot(None)  # the browsers end with their robot
        except PortalUnreachable:
            pass
        await self.portal.stop()

    def app(self):
        app = web.Application(middlewares=[self.middleware()], client_max_size=16 << 20)
        app.on_response_prepare.append(self.add_boot_header)
        app.on_startup.append(self.start)
        app.on_cleanup.append(self.stop)
        app.add_routes(
            [
                web.post("/_test/behave", self.test_behave),
                web.get("/_test/behave", self.test_behave),
                web.get("/_test/calls", self.test_calls),
                web.delete("/_test/calls", self.test_calls),
                web.post("/_test/file", self.test_file),
                web.post("/_test/forget", self.test_forget),
                web.post("/_test/orphan", self.test_orphan),
                web.post("/_test/reboot", self.test_reboot),
                web.post("/_test/settings", self.test_settings),
                web.get("/_test/submitted", self.test_submitted),
                web.get("/_test/transfers", self.test_transfers),
                web.get("/health", self.health, allow_head=False),
                web.get("/files/{file_token}", self.file, allow_head=False),
                web.post("/sessions/fence", self.fence),
                web.get("/sessions", self.list_sessions, allow_head=False),
                web.delete("/sessions/{id}", self.delete),
                web.post("/{portal}/login", self.login),
                web.get("/{portal}/buzon/list", self.list, allow_head=False),
                web.get("/{portal}/echo", self.echo, allow_head=False),
                web.post("/{portal}/echo", self.echo),
                web.post("/{portal}/submit", self.submit),
                web.route("*", "/{portal}/other/{tail:.*}", self.other),
            ]
        )
        return app


def span(text):
    low, _, high = text.partition("-")
    return float(low), float(high or low)


def main():
    options = argparse.ArgumentParser(description="The demo robot.")
    options.add_argument("--listen", default="127.0.0.1:0", metavar="ADDRESS:PORT")
    options.add_argument("--name", default="r1")
    options.add_argument("--capacity", type=int, default=10, metavar="N", help="sessions and running log-ins at once")
    options.add_argument("--portal", metavar="URL", help="the portal to log in to; none: every log-in succeeds")
    options.add_argument("--login-ms", type=span, default=(20, 60), metavar="A-B", help="how long a log-in takes")
    options.add_argument("--seed-only", action="store_true", help="only the calls that every robot knows")
    options.add_argument("--no-session-check", action="store_true", help="files for whoever knows the token")
    options.add_argument("--boot-header", choices=("on", "off"), default="on", help="X-Robot-Boot")
    given = options.parse_args()
    robot = Robot(
        given.name, given.capacity, given.portal, seed_only=given.seed_only, login_ms=given.login_ms,
        session_check=not given.no_session_check, boot_header=given.boot_header == "on",
    )  # fmt: skip
    asyncio.run(serve(robot.app(), given.listen))


if __name__ == "__main__":
    main()
