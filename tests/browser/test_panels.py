# SPDX-License-Identifier: MIT
"""Every panel, and every action, against a system that works."""

import re

import pytest
from selenium.webdriver.common.keys import Keys

from dashboard import PICTURES
from harness.http import Api
from harness.wait import wait_until


def test_the_overview_says_it_in_words(operator, house):
    operator.see("3 of 3 robots up", within=".state")
    operator.see("Throughput, last hour", "Wait, last hour", "Queue by lane", "Durable queue", "Processes", "Robots", "Companies", "Requests by route")
    lanes = wait_until(lambda: len(rows := operator.rows("section[aria-labelledby=lanes-h] tbody tr")) == 5 and rows, 5, "a summary came")
    assert [row.split("\n")[0] for row in lanes] == ["control", "interactive", "log-in", "batch intake", "durable queue"]
    boots = [f"start {one['boot_id'][:8]}" for one in house.system.ops.get("/api/v1/ops/stats").json["dispatchers"]]
    operator.see("dispatcher-1", "dispatcher-2", "healthd", "Broker", *boots, "takes 256 more", "0 B/s out", "gaps 0", within="section[aria-labelledby=processes-h] tbody")
    operator.see("POST /api/v1/app/jobs/execute", within="section[aria-labelledby=routes-h]")
    for panel in operator.all("main .panel"):
        assert panel.find_elements("css selector", ".asof"), panel.text[:80]
    at = operator.text(".state-live")
    wait_until(lambda: operator.text(".state-live") != at, 3, "the time goes on")


def test_charts_tell_their_values(operator):
    operator.see("Throughput, last hour")
    wait_until(lambda: int(operator.all(".chart svg")[0].get_attribute("aria-valuemax")) >= 2, 30, "three moments are there")
    chart = operator.all(".chart svg")[0]
    operator.js("arguments[0].focus()", chart)
    now = chart.get_attribute("aria-valuetext")
    operator.key(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    wait_until(lambda: operator.all(".chart svg")[0].get_attribute("aria-valuetext")[:8] != now[:8], 3, "another moment is told")
    assert "durable queue" in operator.text(".chart .legend")


def test_drain_and_resume_a_robot(operator, house):
    operator.go("robots").see("r1", "r2", "r3", "places used", within="main")
    operator.press("Drain r3").see("It gets no new sessions", "Sessions on it: ", "It can move ", " and must wait for ", within="dialog")
    operator.js("""window.said = []; const look = () => { const text = document.querySelector('[aria-labelledby=robot-r3]')?.innerText || ''; if (/Drained|Begun –/.test(text)) window.said.push(text); };
        new MutationObserver(look).observe(document.getElementById('page'), {subtree: true, childList: true, characterData: true});""")
    operator.confirm("Drain", reason="patches")
    operator.see("r3 drains.").see("draining", "Draining:", "no stored credentials", "There is no deadline.", within="[aria-labelledby=robot-r3]")
    assert house.system.database.value("SELECT wanted FROM chasqui_robots WHERE name = 'r3'") == "draining"
    assert not operator.js("return window.said"), "not known is not none"
    operator.press("Resume r3").confirm("Resume")
    operator.see_no("draining", within="[aria-labelledby=robot-r3]")
    assert house.system.database.value("SELECT wanted FROM chasqui_robots WHERE name = 'r3'") == "active"
    operator.go("audit").see("patches", within="main")


def test_change_disable_and_add_a_robot(operator, house):
    system = house.system

    def row(name, column):
        return system.database.value(f"SELECT {column} FROM chasqui_robots WHERE name = %s AND removed = 0", name)

    operator.go("robots").see("r2", within="main")
    operator.press("Change r2").see("The fields show what is set now", within="dialog")
    before = row("r2", "capacity")
    assert operator.field("Capacity (sessions at once)").get_attribute("value") == str(before or "auto")
    operator.confirm("Change").see("Nothing is to be changed.", within="dialog")
    operator.field("Capacity (sessions at once)").send_keys(Keys.BACKSPACE * 6, "many")
    operator.confirm("Change").see("Capacity is a number of 1 to 100000, or auto.", within="dialog")
    operator.field("Capacity (sessions at once)").send_keys(Keys.BACKSPACE * 4, "9")
    operator.confirm("Change", reason="less memory").see("r2 is changed.")
    assert row("r2", "capacity") == 9
    operator.press("Change r2").field("Base URL").send_keys("http://127.0.0.1:9")
    operator.confirm("Change").see("drain or disable it before", within="dialog")
    operator.press("Never mind", "dialog")
    operator.press("Change r2").field("Capacity (sessions at once)").send_keys(Keys.BACKSPACE, "auto")
    operator.confirm("Change").see("r2 is changed.")
    assert row("r2", "capacity") is None
    # one that holds sessions is not disabled
    busy = system.database.value("SELECT r.name FROM chasqui_robots r JOIN chasqui_sessions s ON s.robot_id = r.id AND s.live = 1 LIMIT 1")
    operator.press(f"Disable {busy}").confirm("Disable").see("a disabled robot is not probed: drain it first", within="dialog")
    operator.press("Never mind", "dialog")
    operator.press("Add a robot")
    for label, text in (("Name (what clients see)", "r9"), ("Base URL", "http://127.0.0.1:9"), ("Capacity (sessions at once)", "4")):
        operator.field(label).send_keys(text)
    operator.confirm("Add a robot").see("r9 is known.")
    try:
        assert row("r9", "capacity") == 4
        operator.press("Disable r9").confirm("Disable", reason="only tried").see("r9 is disabled.")
        operator.press("Enable r9").confirm("Enable")
        wait_until(lambda: row("r9", "wanted") == "active", 5)
    finally:
        system.ctl("worker", "remove", "r9", "--force")
    operator.go("audit").see("less memory", "only tried", within="main")


def test_failures_by_class(operator, house):
    operator.go("errors").see("robot_error", "log-ins", "What was said last", within="main")
    assert "1" in operator.rows()[0] and "20110" not in operator.text("main")
    for size in ("narrow", "wide"):
        operator.size(size).see("robot_error", within="main").picture(PICTURES / f"errors-with-rows-{size}.png")
        assert operator.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, size
    operator.size("narrow").go("robots").see("Change", within="main")
    cut = operator.js("return [...document.querySelectorAll('.card')].some(card => [...card.querySelectorAll('button')].some(one => one.getBoundingClientRect().right > card.getBoundingClientRect().right))")
    assert not cut, "every button of a robot is inside its card"
    operator.size("wide").go("errors").see("robot_error", within="main")
    operator.press("Last job", "main").see("Timeline", "20110", within="main")
    operator.go("errors?since=3600&portal=other").see("Nothing has failed.", within="main")


@pytest.mark.parametrize("view,field", [("errors?portal=Sunat+Per%C3%BA", "portal: must be 1 to 64"), ("jobs?worker=%3F%3F", "worker: must be the name of a worker"), ("history?portal=-5", "portal: must be 1 to 64"), ("batches?status=foo", "status: "), ("audit?search=" + "%C3%A1" * 60, "search: must be a text of at most 100 bytes")])
def test_a_filter_that_is_refused_shows_nothing(operator, house, view, field):
    """Neither what another filter found, nor that there is nothing."""
    name = view.partition("?")[0]
    operator.go(name)
    wait_until(lambda: operator.rows("main tbody tr"), 40, "there are rows")
    for go in (operator.go, operator.open):
        go(view).see("Some fields are not valid.", field, within="main .failure", timeout=40)
        assert not operator.rows("main tbody tr")
        claims = ("Nothing has failed.", "No job is like that.", "Nobody has done anything like that.", "There is no batch.", "Retry these", "CSV", "Retry all found", "No robot was called")
        assert not [claim for claim in claims if claim in operator.js("return [...document.querySelectorAll('main .empty, main button')].map(one => one.innerText).join()")]


def test_a_dialog_says_which_field_is_wrong(operator, house):
    def beside(label):
        return operator.js("return document.getElementById(arguments[0].getAttribute('aria-describedby'))?.innerText || ''", operator.field(label))

    def refused(label, words):
        wait_until(lambda: words in beside(label), 10, f"{label}: {words}; {operator.text('dialog')}")
        assert operator.field(label).get_attribute("aria-invalid") == "true"

    operator.go("robots").see("r2", within="main")
    operator.press("Change r2").field("Viewer URL").clear()
    operator.field("Viewer URL").send_keys("javascript:alert(1)")
    operator.field("Capacity (sessions at once)").send_keys(Keys.BACKSPACE * 6, "999999")
    operator.confirm("Change").see("Some fields are not valid.", within="dialog")
    refused("Viewer URL", "must be an http or https URL")
    refused("Capacity (sessions at once)", "1 to 100000")
    operator.press("Never mind", "dialog")
    operator.press("Drain r2").confirm("Drain", reason="ñ" * 150)
    refused("Reason (for the audit trail)", "is 300 bytes long, at most 200 are kept")
    operator.press("Never mind", "dialog")
    operator.go("tokens").press("Make a token").field("Name").send_keys("x")
    operator.field("Companies: ids, or * for all").send_keys("20101")
    operator.confirm("Make a token")
    refused("May", "see every company")
    # another view, by the browser's own button: the dialog goes with the one that it was of
    operator.js("history.back()")
    operator.see("Add a robot", within="main", timeout=40)
    wait_until(lambda: not operator.all("dialog"), 5, "no dialog is left")
    # what the robot itself reports is the most
    operator.press("Change r2").field("Capacity (sessions at once)").send_keys(Keys.BACKSPACE * 6, "99")
    operator.confirm("Change").see("r2 is changed. Its capacity stays 12: the robot reports 12.")
    operator.press("Change r2").field("Capacity (sessions at once)").send_keys(Keys.BACKSPACE * 6, "auto")
    operator.confirm("Change").see("r2 is changed.").see_no("stays 12", timeout=15)


def test_make_use_and_revoke_a_token(operator, house):
    system = house.system
    operator.go("tokens").see("Calls a minute", within="main")
    operator.press("Make a token").see("shown once", within="dialog")
    operator.field("Name").send_keys("Ana's laptop")
    operator.field("Companies: ids, or * for all").send_keys("12, x")
    operator.confirm("Make a token").see("Companies are numbers", within="dialog")
    operator.field("Companies: ids, or * for all").send_keys(Keys.BACKSPACE * 10)
    operator.confirm("Make a token", reason="a month of work", **{"Good until": "30 days"}).see("Copy it now", within="dialog")
    secret = operator.text("dialog code")
    assert re.fullmatch(r"[0-9]+[|][A-Za-z0-9]{20,}", secret)
    Api(system.ops_url, secret).get("/api/v1/ops/me").expect(200)
    operator.key(Keys.ESCAPE).see(secret, within="dialog")  # it is shown this once
    operator.press("I have kept it", "dialog").see("Ana's laptop can be used.").see_no(secret)
    row = system.database.row("SELECT abilities, all_companies, expires_at > NOW() + INTERVAL 29 DAY AS good FROM chasqui_tokens WHERE id = %s", secret.split("|")[0])
    assert (row["abilities"], row["all_companies"], row["good"]) == ("ops:read", 1, 1)
    operator.press("Revoke Ana's laptop").confirm("Revoke", reason="over").see("Ana's laptop is revoked.")
    wait_until(lambda: Api(system.ops_url, secret).get("/api/v1/ops/me").status == 401, 30, "it is refused")
    operator.go("audit").see("over", within="main")
    assert secret.split("|")[1] not in operator.text()


def test_pause_and_resume_the_queue(operator, house):
    operator.press("Pause", "section[aria-labelledby=queue-h]").see("No queued job begins any more", within="dialog")
    operator.confirm("Pause", reason="SUNAT is closed", For="15 minutes")
    operator.see("SUNAT is closed", "Until", within="section[aria-labelledby=queue-h]")
    operator.see("paused", within=".state")
    # once a dispatcher has it as an alert it is acknowledged and muted where it is read
    operator.see("Acknowledge", "Mute", within=".state", timeout=60)
    operator.js("scrollTo(0, 0)")
    operator.press("Acknowledge: The queue is paused: SUNAT is closed.", ".state").confirm("Acknowledge", reason="we know")
    operator.see("known to", "we know", within=".state", timeout=60)
    wait_until(lambda: not operator.all(".state.is-warn"), 10, "what somebody knows of is no warning any more")
    operator.go("alerts").see("The queue is paused: SUNAT is closed.", "known to", "we know", within="[aria-labelledby=alerts-h]", timeout=40)
    operator.press("Mute: The queue is paused: SUNAT is closed.", "main").confirm("Mute", For="2 h").see("muted until", within="[aria-labelledby=alerts-h]").see("queue_paused", within="[aria-labelledby=mutes-h]")
    operator.press("Unmute: queue_paused", "main").confirm("Unmute").see("Nothing is muted.", within="[aria-labelledby=mutes-h]")
    operator.see_no("muted until", within="[aria-labelledby=alerts-h]").go("").see("Queue by lane", within="main", timeout=40).see("Mute", within=".state", timeout=60).gone("Acknowledge: The queue is paused: SUNAT is closed.", ".state")  # another sentence may still have one
    operator.press("Mute: The queue is paused: SUNAT is closed.", ".state").confirm("Mute", For="2 h")
    operator.see("muted until", "Unmute", within=".state", timeout=60)
    operator.press("Unmute: The queue is paused: SUNAT is closed.", ".state").confirm("Unmute")
    operator.see_no("muted until", within=".state", timeout=60)
    operator.see("Let the browser tell me", within=".state")
    operator.press("Resume", "section[aria-labelledby=queue-h]").confirm("Resume")
    operator.see_no("SUNAT is closed", within="section[aria-labelledby=queue-h]")
    wait_until(lambda: all(one["state"] != "open" for one in house.system.ops.get("/api/v1/ops/alerts").json["alerts"]), 60, "it is over")
    operator.go("alerts").see("The queue is paused: SUNAT is closed.", within="[aria-labelledby=over-h]", timeout=40)


def test_pages_follow_pauses_when_nothing_runs(operator, house):
    """A pause that somebody makes or ends elsewhere is seen at once, though no job changes."""
    system = house.system
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "month end"}).expect(200)
    try:
        for company in range(20150, 20153):
            system.api.queue(company).expect(202)
        operator.go("companies/20150").see("The queue is paused.", "month end", within="main", timeout=40)
        system.ops.post("/api/v1/ops/queue/pause", {"portal": "sunat", "reason": "hold it", "for_s": 3600}).expect(200)
        system.ops.post("/api/v1/ops/queue/resume", {}).expect(200)
        operator.see_no("month end", within="main", timeout=12)
        operator.go("portals").see("hold it", within="main", timeout=40)
        wait_until(lambda: held(operator) == "3", 12, "what is held back is told")
        system.ops.post("/api/v1/ops/queue/resume", {"portal": "sunat"}).expect(200)
        operator.see_no("hold it", within="main", timeout=12)
    finally:
        system.ops.post("/api/v1/ops/queue/resume", {"portal": "sunat"})
        system.ops.post("/api/v1/ops/queue/resume", {})
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM portal_jobs WHERE status IN ('queued', 'running')") == 0, 30, "they are done")


def held(page):
    return page.js("return [...document.querySelectorAll('[aria-labelledby=portal-sunat] dl div')].find(one => one.querySelector('dt').innerText === 'Held back').querySelector('dd').innerText")


def test_find_migrate_and_close_a_session(operator, house):
    system = house.system
    system.set_credentials(20190, ruc="20190", usuario="D", clave="d")
    session = system.api.login(20190)
    operator.go("sessions").see("20101", "20190", within="main")
    operator.field("Session").send_keys(session, Keys.ENTER)
    wait_until(lambda: len(operator.rows()) == 1, 5, "only that one")
    viewer = operator.find("Viewer of the session of company 20190")
    assert viewer.get_attribute("href") == f"https://viewer.example/viewer/{session}" and "noopener" in viewer.get_attribute("rel")
    operator.go("sessions?company_id=20190").see("20190", within="tbody")
    operator.press("Migrate the session of company 20190").confirm("Migrate", reason="try another")
    operator.see("The session is on its way.")
    wait_until(lambda: system.api.active(20190).json.get("session_id") not in (None, session), 15, "it moved")
    operator.press("Refresh").see("active", within="tbody")
    operator.press("Close the session of company 20190").see("20190", within="dialog").confirm("Close")
    operator.see("The session is closed.").see("No session is like that.", within="main")
    system.api.active(20190).expect(404)


def test_find_a_job_and_its_story(operator, house):
    failed = house.system.database.row("SELECT id, job_uid FROM portal_jobs WHERE company_id = 20110")
    operator.go("jobs").see("20110", "The robot said no", within="main")
    operator.press("failed", ".chipsbar")
    wait_until(lambda: all("failed" in row for row in operator.rows()), 5, "failed ones only")
    operator.go("jobs").field("Job id or uid").send_keys(failed["job_uid"], Keys.ENTER)
    wait_until(lambda: len(operator.rows()) == 1, 5, "that one")
    operator.press(str(failed["id"]), "tbody").see(f"Job {failed['id']}", "The robot said no", "Timeline", "Started on", within="main")
    assert operator.all(".timeline-bars .phase.is-run") and "Failed" in operator.text(".story")
    operator.go(f"jobs?company_id=20110&status=failed").see("20110", within="tbody")


def test_retry_and_cancel_a_job(operator, house):
    system = house.system
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "hold"}).expect(200)
    failed = system.database.value("SELECT id FROM portal_jobs WHERE company_id = 20110 ORDER BY id LIMIT 1")
    operator.go(f"jobs/{failed}").press("Retry").confirm("Retry", reason="new password")
    operator.see("The job is queued again.").see("queued", "What it waits for", "The queue is paused", "hold", within="main")
    operator.press("Cancel", "main").confirm("Cancel")
    operator.see("cancelled", "Cancelled", within="main")
    system.ops.post("/api/v1/ops/queue/resume", {}).expect(200)


def test_many_jobs_at_once_after_a_look_at_how_many(operator, house):
    system = house.system
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "hold"}).expect(200)
    for company in range(20170, 20175):
        system.api.queue(company).expect(202)
    operator.go("jobs?status=queued").see("20170", within="tbody")
    operator.press("Cancel all found…").see("State: queued", "5 jobs would be cancelled.", within="dialog")
    operator.press("Never mind", "dialog")
    assert system.database.value("SELECT COUNT(*) FROM portal_jobs WHERE status = 'queued'") == 5
    operator.press("Cancel all found…").see("5 jobs", within="dialog").confirm("Cancel", reason="wrong day")
    operator.see("5 jobs are cancelled", "No job is like that.")
    operator.go("jobs?status=cancelled").see("20170").press("Retry all found…")
    operator.see("jobs would be retried.", within="dialog").key(Keys.ESCAPE)
    wait_until(lambda: not operator.all("dialog"), 3, "Esc closes it")
    system.ops.post("/api/v1/ops/queue/resume", {}).expect(200)


def test_batches_show_how_far_they_are(operator, house):
    operator.go("batches").see("100 %", "12 of 12", "12 done", within="main")
    operator.press("Jobs", "tbody").see(f"batch {house.batch}", within="tbody")
    system = house.system
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "hold"}).expect(200)
    items = [{"company_id": company} for company in range(30000, 30020)]
    told = system.api.post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login", "items": items}).expect(202).json
    operator.go("batches").see("0 of 20", "20 queued", within="main")
    system.ops.post("/api/v1/ops/queue/pause", {"batch_id": told["batch_id"], "reason": "wrong month", "for_s": 3600}).expect(200)
    system.ops.post("/api/v1/ops/queue/resume", {}).expect(200)
    # its own pause: why, by whom and until when; ended and made here
    name = f"batch {told['batch_id']}"
    operator.go(f"batches/{told['batch_id']}").see("wrong month", "Paused by token:", "Until", "stands still: paused", within="section[aria-labelledby=batch-h]", timeout=40)
    assert "paused" in operator.text("section[aria-labelledby=batch-h] .badge")
    operator.go("").see(f"Batch {told['batch_id']} is paused: wrong month.", f"chasqui queue resume --batch {told['batch_id']}", within=".state", timeout=40)
    wait_until(lambda: not operator.all(".state.is-warn"), 10, "an operator wants it so")
    operator.see("20 held back", within=".state", timeout=40).see("20 held back", within=".tiles").see("Held back", within="section[aria-labelledby=queue-h]")
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "hold"}).expect(200)
    operator.go(f"batches/{told['batch_id']}").press(f"Resume {name}", "main").confirm("Resume").see_no("wrong month", within="main").see("The whole queue was paused by", "hold", within="main")
    operator.press(f"Pause {name}", "main").see("other batches are not touched", within="dialog").confirm("Pause", reason="after all").see("after all", within="main")
    operator.press(f"Resume {name}", "main").confirm("Resume").see_no("after all", within="main")
    operator.go("batches").press(f"Cancel what is left of batch {told['batch_id']}").confirm("Cancel")
    operator.see("The batch is cancelled.").see("20 cancelled", within="main")
    system.ops.post("/api/v1/ops/queue/resume", {}).expect(200)


def test_the_audit_trail_is_searched(operator, house):
    system = house.system
    system.ops.post("/api/v1/ops/workers/r2/drain", {"reason": "a needle"}).expect(200)
    system.ops.post("/api/v1/ops/workers/r2/resume", {"reason": "no longer"}).expect(200)
    operator.go("audit").see("a needle", within="main")
    operator.field("Who, what or to what").send_keys("needle", Keys.ENTER)
    wait_until(lambda: len(operator.rows()) == 1, 5, "one row")
    assert "token:" in operator.text("tbody") and "127.0.0.1" in operator.text("tbody")


def test_what_changes_is_said_and_shown_when_asked_for(operator, house):
    operator.go("jobs").see("Refresh", "20110", within="main")
    house.system.api.login(20195)
    operator.see("since you looked", within="main")
    operator.press("Show").see("20195", within="tbody").see_no("since you looked")
    assert len([row for row in operator.rows() if "20195" in row.split()]) == 1


@pytest.mark.parametrize("robot_is", ["sick", "down"])
def test_a_robot_that_is_not_well_is_named(dashboard_of, make_system, robot_is):
    system = make_system(robots=2)
    page = dashboard_of(system).see("2 of 2 robots up", within=".state")
    robot = system.robots["r2"]
    if robot_is == "sick":
        robot.behave("health", "status", status=500)
    else:
        robot.kill9()
    page.see("r2", within=".state", timeout=5)
    page.go("robots").see("down", within="[aria-labelledby=robot-r2]", timeout=5)
    assert page.text(".cards").index("r2") < page.text(".cards").index("r1")  # what needs help comes first
    robot.behave_well() if robot_is == "sick" else robot.start()
    page.see_no("r2", within=".state", timeout=10)


def test_ids_that_no_double_holds_are_shown_whole(operator, house):
    company = 2**53 + 1
    house.system.api.login(company)
    operator.go(f"sessions?company_id={company}").see(str(company), within="tbody")
    operator.go(f"jobs?company_id={company}").see(str(company), within="tbody")
    told = house.system.ops.post("/api/v1/ops/jobs/bulk", {"action": "retry", "filter": {"company_id": str(company)}, "preview": True}).expect(200)
    assert told.json["ok"]
