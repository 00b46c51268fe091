# SPDX-License-Identifier: MIT
"""Who may come in, and what somebody who only reads finds."""

import re
from pathlib import Path

from harness import Api, Client
from harness.wait import wait_until


def test_a_token_opens_and_logging_out_closes(dash, house):
    dash.open().see("Show an operator")
    dash.field("Token").send_keys("1|wrong")
    dash.press("Log in").see("This token is not known")
    dash.field("Token").clear()
    dash.log_in(house.system.token)
    dash.see("live", within=".state")
    assert dash.driver.get_cookies()[0]["httpOnly"] and dash.js("return document.cookie + localStorage.length + JSON.stringify(sessionStorage)") == "0{}"
    dash.driver.refresh()
    dash.see("Queue by lane")
    dash.press("Log out").see("Show an operator")
    dash.driver.refresh()
    dash.see("Show an operator")


def test_a_token_without_the_ability_stays_outside(dash, house):
    dash.open().field("Token").send_keys(house.system.make_token("*", "app"))
    dash.press("Log in").see("it needs the ability ops or ops:read")


def test_a_revoked_token_is_shown_the_door(dash, house):
    token = house.system.make_token("*", "ops")
    dash.open().log_in(token).see("Queue by lane")
    house.system.ctl("token", "revoke", token.partition("|")[0])
    dash.see("You were logged out", timeout=12)


def test_who_only_reads_is_offered_nothing_to_change(dash, house):
    dash.open().log_in(house.system.make_token("*", "ops:read")).see("reads only")
    acting = {"Pause", "Resume", "Drain", "Close", "Migrate", "Retry", "Cancel", "Retry all found…", "Cancel all found…"}
    for view, sign in (("", "Queue by lane"), ("robots", "r3"), ("sessions", "20101"), ("jobs", "20110"), ("batches", "sunat.menu_sol_login"), ("audit", "Refresh")):
        dash.go(view).see(sign, within="main")
        names = set(dash.js("return [...document.querySelectorAll('button')].map(one => one.innerText.trim())"))
        assert not names & acting, view


def test_a_reading_token_acts_on_nothing(dash, house):
    """Each route of the table that is not a GET: with the token, and with the cookie that it gets."""
    table = (Path(__file__).parents[2] / "broker" / "routes.def").read_text()
    acts = re.findall(r'LISTENER_OPS, "([A-Z]+)", "(/api/[^"]+)"', table)
    acts = [(method, path.replace("{}", "1")) for method, path in acts if method != "GET"]
    assert len(acts) >= 10
    token = house.system.make_token("*", "ops:read")
    reader = Api(house.system.ops_url, token)
    cookie = reader.post("/login", {"token": token}, headers={"Origin": reader.base_url}).expect(200).headers["Set-Cookie"].partition(";")[0]
    page = Client(house.system.ops_url, {"Cookie": cookie, "Origin": reader.base_url})
    before = house.system.database.value("SELECT COUNT(*) FROM chasqui_audit")
    for method, path in acts:
        for client in (reader, page):
            client.request(method, path, {"action": "retry", "filter": {}, "reason": "x"}).expect(403, "forbidden")
    assert house.system.database.value("SELECT COUNT(*) FROM chasqui_audit") == before


def test_a_broker_that_stops_says_so(dashboard_of, make_system):
    system = make_system()
    page = dashboard_of(system).see("live")
    system.broker.stop()
    page.see("The broker does not answer", timeout=3)
    system.broker.start()
    system.wait_ready()
    page.see("live", within=".state", timeout=10)
    wait_until(lambda: "does not answer" not in page.text(".state"), 5, "all is well again")
