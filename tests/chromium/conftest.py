# SPDX-License-Identifier: MIT
"""Fixtures of the tests with real browsers: those of the system tests, the portal and the robot of examples/."""

import hashlib
import hmac
import json
import time

import pytest
from harness.fixtures import *  # noqa: F403
from harness.node import chromium_robot, web_portal
from selenium import webdriver

VIEWER_KEY = "a key of the tests, long enough"


@pytest.fixture(scope="session")
def web_portal_server(tmp_path_factory):
    server = web_portal(tmp_path_factory.mktemp("web-portal")).start()
    yield server
    server.stop()


@pytest.fixture
def site(web_portal_server):
    """The web portal, with nobody logged in and all switches off."""
    web_portal_server.ask("POST", "/_admin/reset", {})
    web_portal_server.ask("POST", "/_admin", {"maintenance": False, "captcha": False, "slow_ms": 0})
    return web_portal_server


@pytest.fixture
def viewer_key_file(tmp_path):
    path = tmp_path / "viewer.key"
    path.write_text(VIEWER_KEY + "\n")
    path.chmod(0o400)
    return path


@pytest.fixture
def make_robot(tmp_path, site, viewer_key_file):
    """make_robot("r1", "--capacity", 4) starts a robot that drives Chromium."""
    made = []

    def make(name, *arguments):
        robot = chromium_robot(tmp_path, name, site.url, "--viewer-key-file", viewer_key_file, *arguments)
        made.append(robot)
        return robot.start()

    yield make
    for robot in made:
        robot.stop(timeout=60)


@pytest.fixture
def robot(make_robot):
    return make_robot("r1", "--capacity", 6, "--sessions-per-browser", 2)


class Calls:
    """The robot's own contract, as Chasqui speaks it."""

    def __init__(self, robot):
        self.http = robot.http

    def login(self, company=20123, epoch=1, key=None, clave="demo"):
        fields = {"company_id": company, "portal": "sunat", "job_uid": "A", "epoch": epoch, "ruc": str(company), "usuario": "DEMO", "clave": clave}
        return self.http.request("POST", "/sunat/login", fields, headers={"Idempotency-Key": key or f"A{company}.{epoch}"}, timeout=120)

    def session(self, company=20123, **more):
        return self.login(company, **more).expect(200).json["session_id"]

    def list(self, session, page=1):
        return self.http.request("GET", "/sunat/buzon/list", query={"session_id": session, "page": page}, timeout=60)

    def file(self, session, token):
        return self.http.request("GET", f"/files/{token}", query={"session_id": session})

    def close(self, session):
        return self.http.request("DELETE", f"/sessions/{session}")

    def fence(self, company, epoch):
        return self.http.request("POST", "/sessions/fence", {"company_id": company, "portal": "sunat", "epoch": epoch})


@pytest.fixture
def calls(robot):
    return Calls(robot)


def viewer_query(session, rights="view", until=None, key=VIEWER_KEY):
    until = until or int(time.time()) + 600
    claim = f"{session}\n{until}\n{rights}".encode()
    return f"until={until}&rights={rights}&signature={hmac.new(key.encode(), claim, hashlib.sha256).hexdigest()}"


def portal_pdf(site, company, number):
    """The file as the portal gives it to a person who logs in. Ends the session that the robot has, so it comes last."""
    http = site.http
    body = f"tipo=ruc&ruc={company}&usuario=OTHER&clave=demo".encode()
    answer = http.request("POST", "/login", body=body, headers={"Content-Type": "application/x-www-form-urlencoded"}).expect(302)
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    return http.request("GET", f"/buzon/{number}.pdf", headers={"Cookie": cookie}).expect(200).body


def portal_counts(site):
    return json.loads(site.http.request("GET", "/_admin").expect(200).body)


@pytest.fixture
def browser():
    """The person who looks."""
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"):
        options.add_argument(flag)
    made = webdriver.Chrome(options=options)
    yield made
    made.quit()


def pictures(browser):
    return int(browser.find_element("id", "picture").get_attribute("data-pictures") or 0)
