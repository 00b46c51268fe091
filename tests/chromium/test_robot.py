# SPDX-License-Identifier: MIT
"""The robot that drives Chromium, by its contract, at the web portal."""

import itertools
import json
import subprocess

import pytest
from conftest import Calls, pictures, portal_counts, portal_pdf, viewer_query
from harness import program, wait_until
from harness.process import clean_env
from selenium.webdriver.common.action_chains import ActionChains


def test_log_in_list_file_close(site, robot, calls):
    answer = calls.login().expect(200)
    session = answer.json["session_id"]
    assert answer.json["titulo"] == "Menú SOL 20123" and answer.json["url"].endswith("/menu")
    assert answer.headers["X-Robot-Boot"] == robot.ask("GET", "/health")["boot_id"]
    page = calls.list(session, 2).expect(200).json
    assert (page["page"], page["pages"], len(page["items"])) == (2, 3, 10)
    assert page["items"][0]["subject"] == "Esquela de citación 20123-011"
    file = calls.file(session, page["items"][0]["file_token"]).expect(200)
    assert file.headers["Content-Type"] == "application/pdf" and "constancia-11.pdf" in file.headers["Content-Disposition"]
    assert file.body == portal_pdf(site, 20123, 11)
    calls.file("0" * 32, page["items"][0]["file_token"]).expect(404, "file_not_found")
    calls.close(session).expect(200)
    calls.close(session).expect(404)
    calls.list(session).expect(404)
    assert portal_counts(site)["accounts"] == ["20123/OTHER"]


def test_keys_epochs_and_fences(site, robot, calls):
    session = calls.session(epoch=3, key="K.3")
    assert calls.login(epoch=3, key="K.3").json["session_id"] == session
    calls.login(epoch=3, key="L.3").expect(409, "stale_epoch")
    assert calls.fence(20123, 3).expect(200).json["ended"] == [session]
    calls.list(session).expect(404)
    calls.login(epoch=3, key="M.3").expect(409, "stale_epoch")
    calls.session(epoch=4)
    assert portal_counts(site)["logins"] == 2 and portal_counts(site)["kicks"] == 0


def test_what_the_portal_refuses(site, robot, calls):
    calls.login(company=20201, clave="no").expect(401, "bad_credentials")
    for epoch in (2, 3):
        calls.login(company=20201, epoch=epoch, clave="no").expect(401, "bad_credentials")
    calls.login(company=20201, epoch=4).expect(403, "account_locked")
    site.ask("POST", "/_admin", {"captcha": True})
    calls.login(company=20202).expect(403, "captcha_required")
    site.ask("POST", "/_admin", {"captcha": False, "maintenance": True})
    calls.login(company=20203).expect(503, "portal_maintenance")
    site.ask("POST", "/_admin", {"maintenance": False})
    assert robot.ask("GET", "/health")["sessions"] == 0


def test_a_session_that_the_portal_ended_is_gone(site, robot, calls):
    session = calls.session()
    site.ask("POST", "/_admin/reset", {})
    calls.list(session).expect(404, "session_not_found")
    assert robot.ask("GET", "/sessions")["sessions"] == []


def test_a_full_robot_says_so(make_robot):
    calls = Calls(make_robot("small", "--capacity", 1))
    calls.session(20301)
    calls.login(20302).expect(503, "full")


def test_a_killed_browser_takes_its_sessions_only(robot, calls):
    """Two contexts a browser: two sessions go, the third lives, and the places are free again."""
    sessions = [calls.session(company) for company in (20401, 20402, 20403)]
    pids = [int(line.partition("pid=")[2]) for line in robot.text().splitlines() if "event=browser_started" in line]
    assert len(pids) == 2
    subprocess.run(["kill", "-9", str(pids[0])], check=True)
    wait_until(lambda: len(robot.ask("GET", "/sessions")["sessions"]) == 1, 20, "the robot notices")
    statuses = [calls.list(session).status for session in sessions]
    assert sorted(statuses) == [200, 404, 404] and statuses[2] == 200
    calls.session(20401, epoch=2)


def test_sigterm_logs_everybody_out(site, robot, calls):
    for company in (20501, 20502):
        calls.session(company)
    robot.stop(timeout=60)
    assert portal_counts(site)["live"] == 0


def test_worker_test_is_content(robot, tmp_path):
    credentials = tmp_path / "credentials.json"
    credentials.write_text(json.dumps({"ruc": "20601", "usuario": "DEMO", "clave": "demo"}))
    done = subprocess.run(
        [program("chasqui"), "worker", "test", robot.url, "--credentials", credentials, "--json"], env=clean_env(), capture_output=True,
        text=True, timeout=180, check=False,
    )  # fmt: skip
    probes = {row["probe"]: row["outcome"] for row in json.loads(done.stdout)["probes"]}
    assert done.returncode == 0 and {name for name, outcome in probes.items() if outcome != "ok"} == set(), done.stdout


# --- the viewer --------------------------------------------------------------------------------------------------------


def state(browser):
    return browser.find_element("id", "state").text


def test_an_address_alone_shows_nothing(robot, calls):
    session = calls.session()
    for query in ("", viewer_query(session, until=1000), viewer_query("0" * 32), viewer_query(session, key="another key"),
                  viewer_query(session).replace("rights=view", "rights=control")):  # fmt: skip
        assert robot.http.request("GET", f"/viewer/{session}?{query}").status == 403


def test_the_viewer_shows_the_page_live_and_takes_hands_only_with_the_right(site, robot, calls, browser):
    session = calls.session()
    browser.get(f"{robot.url}/viewer/{session}?{viewer_query(session)}")
    wait_until(lambda: pictures(browser) >= 2, 30, "pictures come as the page's clock goes")
    assert state(browser) == "Live, read-only." and not browser.find_element("id", "text").is_displayed()
    browser.get(f"{robot.url}/viewer/{session}?{viewer_query(session, 'control')}")
    wait_until(lambda: pictures(browser) >= 1, 30, "a picture")
    box, width, height = browser.execute_script("return [document.getElementById('picture').getBoundingClientRect().toJSON(), width, height]")
    picture = browser.find_element("id", "picture")

    def click(x, y):
        """On the page, which is 1280 x 800, through its picture."""
        across = int(x * box["width"] / width - box["width"] / 2)
        down = int(y * box["height"] / height - box["height"] / 2)
        ActionChains(browser).move_to_element_with_offset(picture, across, down).click().perform()

    heights = itertools.cycle(range(190, 260, 10))  # the first link of the menu is there

    def mailbox_is_open():
        click(300, next(heights))
        return portal_counts(site)["visits"]["buzon"] > 0

    wait_until(mailbox_is_open, 30, "the click opens the mailbox", every=0.7)
    calls.close(session).expect(200)
    wait_until(lambda: state(browser) == "The session has ended.", 20, "the viewer ends with the session")

