# SPDX-License-Identifier: MIT
"""clients/laravel, with a Laravel application and a whole Chasqui: what the application's own documentation shows goes through Chasqui once
two lines are changed, and back when they are taken out."""

import json
import re
from collections import Counter

import pytest
from harness.laravel import PACKAGE, Laravel, missing, replacement
from harness.system import ROOT
from harness.wait import wait_until

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "")
LOGIN = {"portal": "sunat", "action": "sunat.menu_sol_login", "params": {"ruc": "20100000001", "usuario": "DEMO", "clave": "demo"}}


@pytest.fixture
def databases(mariadb):
    """Dropped when the systems on them are closed."""
    made = []
    yield made
    for database in made:
        mariadb.ensure_running().drop_database(database)


@pytest.fixture
def laravel(tmp_path, mariadb, databases):
    """The application with its tables, not served yet."""
    database = mariadb.create_database()
    databases.append(database)
    made = Laravel(tmp_path, database, PORTAL_JOBS_SHAPE="relaxed")
    made.database = database
    made.migrate()
    return made


@pytest.fixture
def both(laravel, make_system):
    """(the application, a system on its database, {company: token})."""
    tokens = laravel.fill(9)
    # Laravel names no session when it asks a robot for a file.
    system = make_system(database=laravel.database, robots=2, capacity=20, robot_options={"session_check": False})
    robots = [{"base_url": robot.url, "viewer_url": "https://viewer.example"} for robot in system.robots.values()]
    laravel.env.update(CHASQUI_URL=system.api_url(), CHASQUI_TOKEN=system.make_token("*", "app"), ROBOT_WORKERS=json.dumps(robots))
    yield laravel, system, tokens
    laravel.stop()


def login(client, company):
    return client.post("/api/v1/app/jobs/execute", {"company_id": company, **LOGIN})


def three_cases(laravel, token, company, page=None):
    """Log-in, list and download as the application's own documentation has them; answers the session."""
    client = laravel.client(token)
    told = login(client, company).expect(200).json
    session = told["session_id"]
    assert told["ok"] and (told.get("reused") or "sunat" in told["robot"]["titulo"].lower()), told
    listed = client.get("/api/v1/app/buzon/list", query={"session_id": session, "page": page}).expect(200).json
    assert listed["company_id"] == company and listed["page"] == (page or 1) and listed["items"]
    item = listed["items"][0]
    file = client.get("/api/v1/app/buzon/download", query={"session_id": session, "file_token": item["file_token"]}).expect(200)
    assert len(file.body) == item["size"] and file.headers["Content-Type"] == "application/pdf"
    assert "attachment" in file.headers["Content-Disposition"]
    again = login(client, company).expect(200).json
    assert again["reused"] is True and again["session_id"] == session
    return session


def test_two_lines_send_the_application_through_chasqui(both):
    laravel, system, tokens = both
    jobs = "SELECT COUNT(*) FROM chasqui_jobs WHERE company_id = %s"
    # As it was: Laravel asks the robots by itself.
    laravel.start()
    three_cases(laravel, tokens[1], 1)
    assert system.database.value(jobs, 1) == 0
    laravel.stop()

    laravel.replace("RobotSessionService", "RobotClient")
    laravel.start()
    session = three_cases(laravel, tokens[2], 2, page=2)
    assert system.database.value(jobs, 2) == 1
    assert system.api.session(session).expect(200).json["company_id"] == 2
    # Laravel's own row of it leads to the session too: getWorkerByJobId() asks for jobs by the ids that Laravel gave out.
    row = system.database.value("SELECT MAX(id) FROM portal_jobs WHERE company_id = 2 AND user_id IS NOT NULL")
    assert system.api.job(row).expect(200).json["job"]["session_id"] == session
    # Laravel's session of before is met, not opened a second time.
    assert login(laravel.client(tokens[1]), 1).expect(200).json["reused"] is True
    laravel.client(tokens[3]).get("/api/v1/app/buzon/list", query={"session_id": session}).expect(404, "session_not_found")
    # A wrong password: the robot's words, as the application shows them.
    wrong = {"company_id": 4, **LOGIN, "params": {"clave": "wrong"}}
    assert laravel.client(tokens[4]).post("/api/v1/app/jobs/execute", wrong).expect(502, "robot_error").json["job_id"]

    # A session that ended is over, though Laravel's own row still says "done": the next log-in opens one.
    system.api.close(session).expect(200)
    assert laravel.client(tokens[2]).get("/api/v1/app/buzon/list", query={"session_id": session}).expect(404)
    assert three_cases(laravel, tokens[2], 2) != session
    laravel.stop()

    # With the pool replaced too, Laravel knows no robot's address.
    robots, laravel.env["ROBOT_WORKERS"] = laravel.env["ROBOT_WORKERS"], "[]"
    laravel.change("config/chasqui.php", "'replace' => [", f"'replace' => [{replacement('RobotWorkerPool')} ")
    laravel.start()
    three_cases(laravel, tokens[5], 5)
    of_laravel = "SELECT COUNT(*) FROM portal_jobs WHERE company_id = 5 AND user_id IS NOT NULL AND robot_worker_base_url IS"
    assert (system.database.value(f"{of_laravel} NULL"), system.database.value(f"{of_laravel} NOT NULL")) == (1, 0)
    # What Chasqui cannot answer at present is said so, with its own status.
    mine = system.api.active(5).expect(200).json["session_id"]
    system.broker.stop()
    gone = laravel.client(tokens[5]).get("/api/v1/app/buzon/list", query={"session_id": mine}).expect(503, "broker_unreachable")
    assert gone.headers["Retry-After"] == "5" and system.api_url() not in gone.body.decode()
    laravel.stop()

    # And back, without a Chasqui: Laravel finds the session where it was opened, and asks the robot by itself.
    laravel.env["ROBOT_WORKERS"] = robots
    laravel.change("config/chasqui.php", "'replace' => [", "'replaced' => [")
    laravel.start()
    assert three_cases(laravel, tokens[5], 5) == mine
    system.broker.start()
    system.wait_ready()


def test_the_package_with_its_own_tests(both):
    laravel, system, _tokens = both
    told = laravel.phpunit(PACKAGE / "tests").stdout
    assert re.search(r"^OK \(\d+ tests", told, re.M), told
    # What such an application wrote by hand for Chasqui finds the same names here: client, exceptions, methods.
    assert '"done":2' in laravel.artisan("portal:login-all", "--limit=2").stdout
    # Each code of Chasqui has an exception and an advice.
    codes = set(re.findall(r'^ERR\([A-Z_]+, "([a-z_]+)"', (ROOT / "common/errors.def").read_text(), re.M))
    known = set(re.findall(r"^        '([a-z_]+)' => \[", (PACKAGE / "src/Exceptions/Codes.php").read_text(), re.M))
    assert codes == known


def test_the_migrations_may_run_before_and_after_chasquis(tmp_path, mariadb, databases, make_system):
    database = mariadb.create_database()
    databases.append(database)
    laravel = Laravel(tmp_path, database)  # user_id and payload are NOT NULL
    laravel.artisan("vendor:publish", "--tag=chasqui-migrations")
    laravel.artisan("vendor:publish", "--tag=chasqui-config")
    laravel.artisan("migrate", "--force")
    tokens = laravel.fill(2)
    shape = {row["Field"]: (row["Type"], row["Null"]) for row in database.rows("SHOW COLUMNS FROM portal_jobs")}
    assert shape["user_id"] == ("bigint(20) unsigned", "YES") and shape["payload"] == ("longtext", "YES")
    assert shape["robot_session_id"] == ("varchar(100)", "YES")
    made = database.row("SHOW CREATE TABLE portal_jobs")["Create Table"]
    assert "CHECK (json_valid(`payload`))" in made and "portal_jobs_user_id_foreign" in made, "what a column is besides stays"
    system = make_system(database=database)
    assert system.api.login(1)
    # Again, with all of it there already; and back, which leaves Chasqui what it needs.
    database.execute("DELETE FROM migrations WHERE migration LIKE '2026_%%'")
    assert "163248" in laravel.artisan("migrate", "--force").stdout
    laravel.artisan("migrate:rollback", "--force", "--step=2")
    assert system.api.login(2) and tokens


LISTENER = r"""\Event::listen(\Chasqui\Laravel\Events\Told::class, function ($told) {
    file_put_contents(storage_path('logs/told.log'), json_encode([get_class($told), $told->payload]) . "\n", FILE_APPEND | LOCK_EX);
}); """


def test_events_and_commands(laravel, make_system):
    """What Chasqui tells becomes Laravel's events; artisan logs companies in and shows what became of it."""
    tokens = laravel.fill(9)
    hook = f"{laravel.url}/api/hooks/chasqui"
    settings = {"events.url": hook, "webhook.allow": hook, "webhook.backoff_ms": 100}
    system = make_system(database=laravel.database, capacity=20, settings=settings)
    laravel.env.update(CHASQUI_URL=system.api_url(), CHASQUI_TOKEN=system.make_token("*", "app"))
    laravel.env.update(CHASQUI_WEBHOOK_PATH="api/hooks/chasqui", CHASQUI_WEBHOOK_SECRET_FILE=str(system.settings["webhook.secret_file"]))
    laravel.change("app/Providers/AppServiceProvider.php", "public function boot() { ", "public function boot() { " + LISTENER)
    cast = "'status' => \\Chasqui\\Laravel\\Casts\\JobStatus::class, "
    laravel.change("app/Models/PortalJob.php", "$casts = [", "$casts = [" + cast)
    laravel.start()

    assert "token" in laravel.artisan("chasqui:status").stdout
    sheet = laravel.directory / "companies.csv"
    sheet.write_text("company_id;usuario;clave\r\n1;DEMO;demo\r\n2;DEMO;wrong\r\n3;DEMO;demo\r\n")
    done = laravel.artisan("chasqui:login", sheet, "--key=monday", f"--callback={hook}", check=False)
    assert done.returncode == 1 and "2 logged in, 1 failed" in done.stdout and "3/3" in done.stdout + done.stderr, done
    assert re.search(r"\| 2 +\| robot_error", done.stdout), done.stdout
    batch = re.search(r"Batch (\d+):", done.stdout)[1]
    again = laravel.artisan("chasqui:login", sheet, "--key=monday", f"--callback={hook}", "--detach")
    assert f"Batch {batch}:" in again.stdout
    assert re.search(r"\| done +\| 2", laravel.artisan("chasqui:status", batch).stdout)
    system.set_credentials(4, ruc="20100000004", usuario="DEMO", clave="demo")
    assert "1 logged in, 0 failed" in laravel.artisan("chasqui:login", "--company=4").stdout
    system.api.close(system.api.active(4).json["session_id"]).expect(200)

    def told():
        log = laravel.directory / "storage/logs/told.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def heard(**counts):
        return Counter(kind.rpartition("\\")[2] for kind, _ in told()) == counts

    # Of the first batch twice: as its callback, and as an event.
    wait_until(lambda: heard(SessionOpened=3, JobFinished=4, SessionEnded=1, BatchFinished=3), 60, "Laravel heard of it all")
    ended = next(body for kind, body in told() if kind.endswith("SessionEnded"))
    assert ended["session"]["company_id"] == 4 and ended["session"]["state"] == "closed"
    # Statuses that the application's model does not know are read as those that it knows.
    system.ctl("queue", "pause", "--reason", "test")
    waits = system.api.queue(5).expect(202).json["job_id"]
    mine = laravel.client(tokens[5])
    shown = mine.get(f"/api/v1/app/jobs/{waits}").expect(200).json
    assert (shown["job"]["status"], shown["label"]) == ("pending", "En cola")
    system.api.delete(f"/api/v1/app/jobs/{waits}").expect(200)
    assert [(one["status"], one["label"]) for one in mine.get("/api/v1/app/jobs").expect(200).json["data"]] == [("failed", "Falló")]
    assert system.database.value("SELECT status FROM portal_jobs WHERE id = %s", waits) == "cancelled"
    system.ctl("queue", "resume")
    wait_until(lambda: heard(SessionOpened=3, JobFinished=5, SessionEnded=1, BatchFinished=3), 30, "its end is told")
    # Each was told once.
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_outbox") == 0, 30, "nothing is left to tell")
    assert heard(SessionOpened=3, JobFinished=5, SessionEnded=1, BatchFinished=3)
