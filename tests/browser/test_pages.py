# SPDX-License-Identifier: MIT
"""The pages of one thing each: a batch, a company, a portal, a schedule; and the search box that leads to them."""

import time

import pytest
from selenium.webdriver.common.keys import Keys

from dashboard import PICTURES
from harness.wait import wait_until
from house import built


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Its own: a morning's failures would be the first rows of other tests' lists."""
    yield from built(tmp_path_factory)


@pytest.fixture
def morning(house):
    """Two runs of a schedule with stored credentials, one of which the portal refuses in the second."""
    system = house.system
    for company in (20901, 20902, 20903):
        system.set_credentials(company, ruc=str(company), usuario="D", clave="d")
    system.ctl("schedule", "add", "morning", "--cron", "0 7 * * 1-5", "--zone", "America/Lima", "--portal", "sunat", "--action", "sunat.menu_sol_login", "--stored")
    runs = []
    try:
        for _ in range(2):
            runs.append(system.ctl_json("schedule", "run", "morning")["batch_id"])
            wait_until(lambda: system.api.get(f"/api/v1/app/batches/{runs[-1]}").json["batch"]["status"] == "done", 60, "the run has ended")
            for robot in system.robots.values():
                robot.behave("login", "status", status=422, body={"ok": False, "error": "bad_credentials", "message": "Clave incorrecta"}, company_id=20903)
            for session in system.database.rows("SELECT robot_session_id AS id FROM chasqui_sessions WHERE live = 1 AND company_id IN (20901, 20902, 20903)"):
                system.api.close(session["id"]).expect(200)
        yield runs
    finally:
        system.ctl("schedule", "remove", "morning")
        for company in (20901, 20902, 20903):
            system.ctl("credentials", "remove", "--company", company, "--portal", "sunat")


def test_a_batch_a_company_its_credentials_and_a_schedule(operator, house, morning):
    system, (before, batch) = house.system, morning
    # reached from anywhere with one key
    operator.go("audit").see("Refresh", within="main", timeout=40).key("/")
    wait_until(lambda: operator.focused()["tag"] == "INPUT", 5, "the box has the focus")
    operator.key(str(batch), Keys.ENTER).see(f"Found for {batch}", f"Job {batch}", within="main", timeout=40)
    operator.press(f"Batch {batch}", "main").see("What failed in it", within="main", timeout=40)
    operator.see(f"Batch {batch}", "2 done", "1 failed", "bad_credentials", "Against the run before", "How it went", "Its robots, the slowest first", "What took longest", within="main")
    rows = {row.split("\n")[0].split("\t")[0].strip(): row for row in operator.rows("section[aria-labelledby=compare-h] tbody tr")}
    assert "+1" in rows["failed"] and "−1" in rows["done"] and "±0" in rows["Items"], rows
    operator.press("failed 1", ".chipsbar").see("20903", within="section[aria-labelledby=items-h]").see_no("20902", within="section[aria-labelledby=items-h]")
    for size in ("narrow", "wide"):
        operator.size(size).see("What failed in it", within="main").picture(PICTURES / f"batch-compared-{size}.png")
        assert operator.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, size
    # one class of one batch is tried again, after a look at how many
    assert operator.find("Failures as CSV", "main")
    robots = system.robots.values()
    for robot in robots:
        robot.behave_well()
    operator.press("Retry those that failed with robot_error bad_credentials", "main").see("1 job would be retried.", within="dialog")
    operator.press("Never mind", "dialog")
    # its priority is what it is until somebody chooses
    open_one = system.api.post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login", "priority": 3, "available_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400)), "items": [{"company_id": 20901}]}).expect(202).json["batch_id"]
    operator.go(f"batches/{open_one}").press("Change priority", "main")
    assert operator.field_of("ask-priority").get_attribute("value") == "3"
    operator.press("Never mind", "dialog").press(f"Cancel what is left of batch {open_one}", "main").confirm("Cancel")
    operator.go(f"batches/{batch}").see("What failed in it", within="main", timeout=40)
    assert operator.all("section[aria-labelledby=batch-h] .badge.is-warn"), "one of three failed: it is not all well"
    # the company, and its credentials
    operator.press("20903", "section[aria-labelledby=items-h]").see("Company 20903", "Stored credentials", "bad_credentials", "It has no live session.", within="main", timeout=40)
    system.api.login(20950)
    operator.go("companies/20950").find("Viewer of the session of company 20950", timeout=40)
    operator.go("companies/20903").see("Stored credentials", "bad_credentials", within="main", timeout=40)
    operator.press("Use the credentials of company 20903 again").confirm("Lift", reason="unlocked").see("are used again").see("not refused", within="main")
    # the schedule that made it
    operator.go("schedules").see("morning", "Next times (America/Lima)", "07:00", "2 done, 1 failed of 3", within="[aria-labelledby=schedule-morning]", timeout=40)
    assert len(operator.all("[aria-labelledby=schedule-morning] .dot")) == 2 and len(operator.all("[aria-labelledby=schedule-morning] .times li")) == 5
    operator.size("narrow").picture(PICTURES / "schedules-with-runs-narrow.png").size("wide").picture(PICTURES / "schedules-with-runs-wide.png")
    operator.press("Disable morning").confirm("Disable", reason="holiday").see("rests", "Enable", within="[aria-labelledby=schedule-morning]")
    operator.press("Enable morning").confirm("Enable").see("Disable", within="[aria-labelledby=schedule-morning]")
    operator.press("Run morning now").confirm("Run now")
    wait_until(lambda: len(operator.all("[aria-labelledby=schedule-morning] .dot.is-ok")) == 2, 60, "the third run is there, and well")
    operator.go("audit").see("holiday", "unlocked", within="main", timeout=40)


def test_a_portal_is_paused_and_resumed(operator, house):
    operator.go("portals").see("sunat", "Log-ins go to it.", "Last hour", "no limit", within="main", timeout=40)
    operator.press("Pause sunat").see("other portals are not touched", within="dialog")
    operator.confirm("Pause", reason="maintenance", For="30 minutes").see("sunat is paused.").see("maintenance", "Until", "wait for the end of the pause", within="[aria-labelledby=portal-sunat]")
    for size in ("narrow", "wide"):
        operator.size(size).see("maintenance", within="main").picture(PICTURES / f"portals-paused-{size}.png")
        assert operator.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, size
    row = house.system.ops.get("/api/v1/ops/portals").json["portals"]
    assert [(one["portal"], one["reason"]) for one in next(p for p in row if p["name"] == "sunat")["pauses"]] == [("sunat", "maintenance")]
    operator.press("Resume sunat").confirm("Resume").see_no("maintenance", within="[aria-labelledby=portal-sunat]")


def test_the_search_box_finds_what_there_is(operator, house):
    system = house.system
    job = system.database.row("SELECT id, job_uid FROM portal_jobs WHERE company_id = 20110 ORDER BY id LIMIT 1")
    session = system.api.active(20101).json["session_id"]

    def find(text):
        operator.go("sessions").see("Refresh", within="main", timeout=40).field_of("find").send_keys(text, Keys.ENTER)
        return operator

    find(job["job_uid"]).see(f"Job {job['id']}", "Timeline", within="main", timeout=40)
    find("20110").see("Company 20110", within="main", timeout=40)
    find(session).see("20101", within="tbody", timeout=40)
    for text in (session[:8], session[:6], session[:16] + "…", session.upper()):  # as a list cuts it, as somebody copies it
        find(text).see("20101", within="tbody", timeout=40)
    find("r2").see("r2", within=".cards", timeout=40).see_no("r3", within=".cards")
    find("r").see("Found for r", "Robot r1", "Robot r3", within="main", timeout=40)
    find(f"batch {house.batch}").see("12 of 12", within="section[aria-labelledby=batch-h]", timeout=40)
    find("lote 999999").see("Nothing is called lote 999999.", within="main", timeout=40)
    find("dail").see("daily", "Next times", within="main", timeout=40)
    find("una").see("sunat", "Log-ins go to it.", within="main", timeout=40)
    find("nobody-knows").see("Nothing is called nobody-knows.", within="main", timeout=40)
    operator.go("jobs").see("20110", within="main", timeout=40).field("Company").send_keys("1/2")
    assert operator.js("return document.activeElement.id") == "f-jobs-company_id", "whoever types a / means it"


def test_a_question_whose_connection_broke_is_asked_once_more(operator):
    operator.go("sessions").see("Refresh", within="main", timeout=40)
    operator.js("const real = window.fetch, broken = new Set(); window.fetch = (path, options) => { if (broken.has(path)) return real(path, options);"
                " broken.add(path); return Promise.reject(new TypeError('the network changed')); }")  # fmt: skip
    operator.field_of("find").send_keys("nobody", Keys.ENTER)
    operator.see("Nothing is called nobody.", within="main", timeout=40).js("location.reload()")


def test_the_keys_go_to_views_and_tell_themselves(operator):
    operator.key("gr").see("r3", "Add a robot", within="main", timeout=40).key("?").see("Keys", "Schedules", within="dialog").press("Good", "dialog")
    wait_until(lambda: not operator.all("dialog"), 5, "it is closed")
    operator.key("go").see("Queue by lane", within="main", timeout=40).choose("Language", "Español")
    operator.js("document.activeElement.blur()")
    operator.key("?").see("Teclas", "Horarios", within="dialog").key(Keys.ESCAPE)
    wait_until(lambda: not operator.all("dialog"), 5, "it is closed")
    operator.key("gj").see("20110", within="main", timeout=40).choose("Idioma", "English").field("Company").send_keys("gr?")
    assert operator.js("return [location.hash, document.activeElement.value, document.querySelector('dialog')]") == ["#/jobs", "gr?", None]


def test_history_sets_today_beside_yesterday(operator, house):
    job = house.system.database.value("SELECT MIN(job_id) FROM chasqui_jobs")
    portal = house.system.database.value("SELECT portal FROM chasqui_jobs WHERE job_id = %s", job)
    for robot, ago_h, slow in (("hare", 25, 0), ("hare", 1, 0), ("tortoise", 1, 1)):  # robots of its own: the house's are as quick as the machine
        columns = ", ".join(str(5 if name == f"robot_{9 if slow else 3}" or name == "wait_0" else 0) for name in [f"{what}_{i}" for what in ("wait", "robot") for i in range(10)])
        house.system.database.execute("INSERT IGNORE INTO chasqui_history SELECT FROM_UNIXTIME((UNIX_TIMESTAMP() DIV 60 - %s * 60 + 5) * 60), %s, %s, 'login', 'done', 5, " + columns, ago_h, portal, robot)
    operator.go("history").see("Attempts that were done", "a day before", "Robots, the slowest first", within="main", timeout=40)
    operator.see("tortoise", within="section[aria-labelledby=history-robots-h]").picture(PICTURES / "history-wide.png")
    assert operator.js("return document.querySelectorAll('.is-ghost').length") >= 3
    assert operator.js("return document.querySelector('section[aria-labelledby=history-robots-h] tbody tr').innerText").startswith("tortoise")
    operator.size("narrow").see("tortoise", within="section[aria-labelledby=history-robots-h]").picture(PICTURES / "history-narrow.png")
    operator.size("wide").go("history?range=604800").see("a week before", within="main", timeout=40)
    operator.js("window.saved = []; URL.createObjectURL = blob => { blob.text().then(text => window.saved.push(text)); return 'data:,'; }; HTMLAnchorElement.prototype.click = () => {}")
    operator.press("History as CSV")
    assert wait_until(lambda: operator.js("return window.saved[0]"), 20, "the file is made").lstrip("\ufeff").startswith("when,at,done")


def test_a_slow_robot_is_marked_where_robots_are_shown(operator, house):
    portal = house.system.database.value("SELECT portal FROM chasqui_jobs ORDER BY job_id LIMIT 1")
    columns = lambda bin: ", ".join(str(50 if name in (f"robot_{bin}", "wait_0") else 0) for name in [f"{what}_{i}" for what in ("wait", "robot") for i in range(10)])
    for minute in range(50):  # with this one, and in the place of the house's own: a step of ten minutes that has just begun says something too
        for robot in ("r1", "r2", "r3"):
            house.system.database.execute("REPLACE INTO chasqui_history SELECT FROM_UNIXTIME((UNIX_TIMESTAMP() DIV 60 - %s) * 60), %s, %s, 'login', 'done', 50, " + columns(9 if robot == "r2" else 1), minute, portal, robot)
    operator.open("robots").see("slow since", within="[aria-labelledby=robot-r2]", timeout=40)
    assert "slow" not in operator.text("[aria-labelledby=robot-r1]")
    operator.go("").see("slow since", within="section[aria-labelledby=robots-h]", timeout=40)


def test_errors_are_retried_by_class_and_saved(operator, house):
    operator.go("errors").see("robot_error", within="main", timeout=40)
    # what becomes a file is caught: its text, and that no cell is a formula
    operator.js("window.saved = []; URL.createObjectURL = blob => { blob.text().then(text => window.saved.push(text)); return 'data:,'; }; HTMLAnchorElement.prototype.click = () => {}")
    operator.press("CSV of those that failed with robot_error bad_credentials")
    text = wait_until(lambda: operator.js("return window.saved[0]"), 20, "the file is made")
    head, *rows = text.strip().split("\r\n")
    assert head.lstrip("\ufeff").startswith("id,job_uid,company_id") and any(",20110," in row and "bad_credentials" in row for row in rows)
    operator.press("Retry those that failed with robot_error bad_credentials").see("jobs would be retried.", "robot_error", within="dialog").key(Keys.ESCAPE)
    assert operator.js("return [...document.querySelectorAll('svg.bars')].map(one => [one.children.length, one.querySelectorAll('.fill-bad').length > 0]).join()").startswith("12,true")
    operator.picture(PICTURES / "errors-course-wide.png")
    operator.press("All failed jobs found as CSV")
    text = wait_until(lambda: operator.js("return window.saved[1]"), 20, "the file is made")
    assert len(text.strip().split("\r\n")) > len(rows) and ",20110," in text
    told = operator.js("""return (async () => { const {csv} = await import('/dashboard/csv.js'); return csv([{a: '=1+1', b: 'x;"y"', c: -5}], ['a', 'b', 'c']); })()""")
    assert told == '\ufeffa,b,c\r\n"\'=1+1","x;""y""",-5\r\n'


def test_jobs_of_a_time_by_the_readers_clock(operator, house):
    operator.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "America/Lima"})
    try:
        operator.open("jobs").see("20110", "America/Lima", within="main", timeout=40).press("Yesterday", "main").see("No job is like that.", within="main", timeout=40)
        assert operator.js("return /since=[^&]*T05%3A00%3A00Z&until=[^&]*T05%3A00%3A00Z/.test(location.hash)"), operator.js("return location.hash")
        assert operator.field("Made from").get_attribute("value").endswith("T00:00") and not operator.named("Retry all found…", "main")
        operator.press("Today", "main").see("20110", within="tbody", timeout=40).press("failed", ".chipsbar")
        wait_until(lambda: all("failed" in row for row in operator.rows()), 20, "the state and the time filter together")
        operator.js("window.saved = []; URL.createObjectURL = blob => { blob.text().then(text => window.saved.push(text)); return 'data:,'; }; HTMLAnchorElement.prototype.click = () => {}")
        assert operator.field("Failed from").get_attribute("value").endswith("T00:00") and "when they failed" in operator.text("main")
        operator.press("All found as CSV")
        assert ",20110," in wait_until(lambda: operator.js("return window.saved[0]"), 20, "the file is made")
        # from a field: it stands in the address in UTC
        operator.js("const field = arguments[0]; field.value = '2030-01-31T01:30'; field.form.requestSubmit()", operator.field("Failed from"))
        operator.see("No job is like that.", within="main", timeout=40)
        assert "since=2030-01-31T06%3A30%3A00Z" in operator.js("return location.hash")
        operator.press("Any time", "main").see("20110", "Retry all found…", within="main", timeout=40)
    finally:
        operator.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def test_sessions_are_closed_in_bulk(operator, house):
    session, _ = (house.system.api.login(company) for company in (20981, 20982))
    operator.go("sessions?company_id=20981").see("20981", within="main", timeout=40).press("Close all found…").see("1 session is active.", "Company: 20981", within="dialog")
    operator.field_of("ask-idle").send_keys("30")
    operator.field_of("ask-reason").send_keys("forgotten", Keys.ENTER)
    operator.see("0 sessions are closed; 0 were refused.", timeout=40)
    operator.press("Close all found…").see("1 session is active.", within="dialog").field_of("ask-reason").send_keys("forgotten", Keys.ENTER)
    operator.see("1 session is closed; 0 were refused.", timeout=40)
    live = "SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1 AND company_id = %s"
    assert (house.system.database.value(live, 20981), house.system.database.value(live, 20982)) == (0, 1)
    operator.go("sessions?state=closed&company_id=20981").press(f"Audit trail of session {session}", "main").see("session_close", "forgotten", "20981", within="tbody", timeout=40)


def test_how_a_batch_goes(operator, house):
    """What runs longest stands there while it runs; at the end its curve, and the slowest robot first."""
    system = house.system
    names = sorted(system.robots)
    for ms, name in zip((300, 900, 2200), names, strict=True):
        refused = {"mode": "status", "status": 422, "body": {"ok": False, "error": "bad_credentials"}}
        behaviours = [{**refused, "company_id": company} for company in (20704, 20713)] + [{"mode": "delay", "ms": 15000, "company_id": 20730}, {"mode": "delay", "ms": ms}]
        system.robots[name].ask("POST", "/_test/behave", {"login": behaviours})
    items = [{"company_id": company, "params": {"ruc": str(company), "usuario": "D", "clave": "d"}} for company in range(20701, 20736)]
    try:
        batch = system.api.post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login", "close": True, "items": items}).expect(202).json["batch_id"]
        operator.go(f"batches/{batch}").see("How it goes", "What has run longest", within="main", timeout=40)
        operator.see("20730", "running", within="[aria-labelledby=course-tail-h]", timeout=40)
        for size in ("narrow", "wide"):
            operator.size(size).see("20730", within="[aria-labelledby=course-tail-h]", timeout=40).picture(PICTURES / f"batch-goes-{size}.png")
            assert operator.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, size
        operator.see("How it went", "What took longest", "Failed in each", within="main", timeout=60)
        robots = [row.split()[0] for row in operator.rows("[aria-labelledby=course-robots-h] tbody tr")]
        assert robots == names[::-1], robots
        assert operator.rows("[aria-labelledby=course-tail-h] tbody tr")[0].split()[0] == "20730"
        drawn = operator.js("return [...document.querySelectorAll('[aria-labelledby=course-h] svg')].map(one => one.getAttribute('aria-label'))")
        assert len(drawn) == 2 and drawn[0].startswith("Done in each") and drawn[1].startswith("Failed in each"), drawn
        for size in ("narrow", "wide"):
            operator.size(size).see("How it went", within="main").picture(PICTURES / f"batch-went-{size}.png")
            assert operator.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, size
        operator.js("document.querySelector('[aria-labelledby=course-tail-h] tbody a[href^=\"#/jobs/\"]').click()")
        operator.see("Timeline", within="main", timeout=40)
    finally:
        for robot in system.robots.values():
            robot.behave_well()


def test_sessions_are_picked_one_by_one(operator, house):
    """With the pointer and with keys; a session that goes is picked no longer; then they are closed, or moved, together."""
    system, companies = house.system, list(range(20961, 20967))
    for company in companies[:5]:
        system.set_credentials(company, ruc=str(company), usuario="D", clave="d")
    sessions = {company: system.api.login(company) for company in companies}
    live = "SELECT COUNT(*) FROM chasqui_sessions WHERE state = 'active' AND company_id BETWEEN 20961 AND 20966"

    def tick(company):
        label = f"Pick the session of company {company} ({sessions[company]})"
        return wait_until(lambda: operator.js("return [...document.querySelectorAll('tbody input[type=checkbox]')].find(one => one.ariaLabel === arguments[0])", label), 40, label)

    def is_on():
        return sorted(operator.js("return [...document.querySelectorAll('tbody input:checked')].map(one => Number(/company (\\d+)/.exec(one.ariaLabel)[1]))"))

    operator.go("sessions").see("20961", "20966", "None is picked.", within="main", timeout=40)
    assert not operator.all(".picks.is-acts")
    tick(20961).click()
    operator.js("arguments[0].focus()", tick(20962))
    operator.key(Keys.SPACE).see("2 are picked.", within=".picks-n")
    assert is_on() == [20961, 20962] and operator.js("return document.querySelector('.picks-all input').indeterminate")
    # what happens meanwhile takes nothing away
    other = system.api.login(20967)
    operator.see("since you looked", within="main", timeout=20).press("Show", "main").see("20967", within="tbody", timeout=20)
    assert is_on() == [20961, 20962]
    # one that goes is no longer picked, neither here nor in the dialog
    tick(20963).click()
    operator.see("3 are picked.", within=".picks-n").press("Close the picked…", ".picks.is-acts").see("Sessions that would be closed: 3", "20963", within="dialog")
    system.api.close(sessions[20963]).expect(200)
    operator.see("Sessions that would be closed: 2", within="dialog", timeout=20).see_no("20963", within="dialog")
    for size in ("narrow", "wide"):
        operator.size(size).see("2 are picked.", within="main").picture(PICTURES / f"sessions-picked-dialog-{size}.png")
    operator.press("Never mind", "dialog").see("2 are picked.", within=".picks-n")
    for size in ("narrow", "wide"):
        operator.size(size).see("2 are picked.", within="main").picture(PICTURES / f"sessions-picked-{size}.png", whole=False)
        assert operator.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, size
    operator.press("Close the picked…", ".picks.is-acts").confirm("Close", reason="picked by hand").see("2 sessions are closed; 0 were refused.", timeout=40)
    operator.see("None is picked.", within=".picks-n")
    assert system.database.value(live) == 3
    assert system.database.value("SELECT COUNT(*) FROM chasqui_audit WHERE action = 'session_close' AND detail LIKE '%%picked by hand;%%'") == 2
    # a stretch with the shift key, all on this page, none; and they move, but for the one without credentials
    operator.go("sessions?worker=none").see("No session is like that.", within="main").go("sessions").see("20964", within="tbody", timeout=40)
    operator.js("document.querySelector('.picks-all input').click()")
    wait_until(lambda: len(is_on()) == len(operator.all("tbody input[type=checkbox]")), 10, "all are picked")
    operator.press("Pick none", ".picks.is-acts").see("None is picked.", within=".picks-n")
    order = [int(row) for row in operator.js("return [...document.querySelectorAll('tbody input')].map(one => /company (\\d+)/.exec(one.ariaLabel)[1])")]
    first, last = sorted((order.index(20964), order.index(20966)))
    tick(order[first]).click()
    operator.js("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true, shiftKey: true}))", tick(order[last]))
    assert sorted(order[first:last + 1]) == [20964, 20965, 20966]
    wait_until(lambda: is_on() == [20964, 20965, 20966], 5, "all of the stretch are picked")
    operator.press("Migrate the picked…", ".picks.is-acts").see("Sessions that would move: 3", within="dialog").confirm("Migrate", reason="try others")
    operator.see("2 sessions are on their way; 1 was refused.", timeout=40)
    wait_until(lambda: all(system.api.active(company).json.get("session_id") not in (None, sessions[company]) for company in (20964, 20965)), 30, "they moved")
    assert system.api.active(20966).json["session_id"] == sessions[20966]
    operator.choose("Language", "Español").see("Ninguna marcada.", "de esta página", within="main")
    operator.choose("Idioma", "English").see("None is picked.", within="main")
    for session in (other, sessions[20966]):
        system.api.close(session).expect(200)
