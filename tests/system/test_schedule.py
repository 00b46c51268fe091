# SPDX-License-Identifier: MIT
"""Recurring batches: `chasqui schedule`, and what dispatchers make of it."""

import re

import pytest
from ctl_desk import Ctl
from harness.wait import wait_until

LOGIN = ("--portal", "sunat", "--action", "sunat.menu_sol_login")


@pytest.fixture
def ctl(tmp_path, database):
    return Ctl(tmp_path / "ctl", database)


def batches(database):
    return database.rows("SELECT id, status, total, priority, callback_url, token_id FROM chasqui_batches ORDER BY id")


# --- the command -----------------------------------------------------------------------------------------------------


def test_a_schedule_is_added_shown_and_removed(ctl):
    told = ctl.run("schedule", "add", "morning", "--cron", "0 11 * * 1-5", *LOGIN, "--priority", 7, "--company", 1, "--company", 2,
                   "--callback-url", "https://a.example/x").stdout  # fmt: skip
    assert re.search(r"schedule morning is made, 2 items; it runs next at \d{4}-\d\d-\d\d 11:00 UTC", told)
    one = ctl.json("schedule", "list")["schedules"][0]
    assert one["name"] == "morning" and one["cron"] == "0 11 * * 1-5" and one["items"] == 2 and one["enabled"] and not one["stored"]
    assert one["priority"] == 7 and one["callback_url"] == "https://a.example/x" and one["next_at"].endswith("T11:00:00.000Z")
    assert one["last_batch_id"] is None
    assert re.search(r"^NAME +CRON +ZONE .*\nmorning +0 11 \* \* 1-5 +UTC ", ctl.run("schedule", "list").stdout)
    shown = ctl.json("schedule", "show", "morning")["schedule"]
    assert shown["runs"] == []
    shown = ctl.run("schedule", "show", "morning").stdout
    assert "not run yet" in shown and "{" not in shown and re.search(r"^cron         0 11 \* \* 1-5\nzone         UTC$", shown, re.M) and re.search(r"^items +2$", shown, re.M)
    assert "is disabled" in ctl.run("schedule", "disable", "morning").stdout
    one = ctl.json("schedule", "list")["schedules"][0]
    assert one["next_at"] is None and not one["enabled"]
    assert "11:00 UTC" in ctl.run("schedule", "enable", "morning").stdout
    assert "is removed" in ctl.run("schedule", "remove", "morning").stdout
    assert ctl.json("schedule", "list")["schedules"] == []
    assert ctl.database.rows("SELECT * FROM chasqui_schedule_items") == []
    assert [action for action, subject in ctl.audit() if subject == "schedule:morning"] == [
        "schedule_add", "schedule_disable", "schedule_enable", "schedule_remove",
    ]  # fmt: skip


def test_a_schedule_is_changed(ctl):
    ctl.run("schedule", "add", "morning", "--cron", "0 11 * * 1-5", *LOGIN, "--company", 1)
    before = ctl.database.row("SELECT * FROM chasqui_schedules")
    shown = ctl.run("schedule", "set", "morning", "--at", "6:30", "--zone", "America/Lima", "--preview").stdout
    lines = shown.splitlines()
    assert lines[0] == "schedule morning would change: cron 0 11 * * 1-5 -> 30 6 * * 1-5, zone UTC -> America/Lima" and len(lines) == 6
    assert all(re.search(r" (Mon|Tue|Wed|Thu|Fri) \d{4}-\d\d-\d\d 06:30 America/Lima \(\d{4}-\d\d-\d\d 11:30 UTC\)$", line) for line in lines[1:]), shown
    assert ctl.database.row("SELECT * FROM chasqui_schedules") == before
    told = ctl.json("schedule", "set", "morning", "--at", "6:30", "--zone", "America/Lima", "--priority", 8, "--reason", "earlier")
    assert (told["changed"], told["cron"], told["zone"], told["priority"], told["enabled"]) == (True, "30 6 * * 1-5", "America/Lima", 8, True)
    one = ctl.json("schedule", "show", "morning")["schedule"]
    assert (one["cron"], one["zone"], one["priority"], one["next"]) == ("30 6 * * 1-5", "America/Lima", 8, told["next"]) and len(told["next"]) == 5
    assert ctl.json("schedule", "set", "morning", "--priority", 8)["changed"] is False
    assert "none: it is disabled" in ctl.run("schedule", "set", "morning", "--disable").stdout and not ctl.json("schedule", "list")["schedules"][0]["enabled"]
    assert "00:00 -05:00" in ctl.run("schedule", "set", "morning", "--cron", "@daily", "--zone=-05:00", "--enable", "--preview").stdout
    assert ctl.json("schedule", "set", "morning", "--enable")["next"] == told["next"]
    details = [row["detail"] for row in ctl.database.rows("SELECT detail FROM chasqui_audit WHERE action = 'schedule_set' ORDER BY id")]
    assert details == ["cron 0 11 * * 1-5 -> 30 6 * * 1-5, zone UTC -> America/Lima, priority 5 -> 8: earlier", "enabled yes -> no", "enabled no -> yes"]
    for words, why in (((), "give what is to change"), (("--at", "24:00"), "--at is a time of the day"), (("--at", "7"), "--at is a time"), (("--cron", "x"), "--cron x:"),
                       (("--at", "7:00", "--cron", "@daily"), "one of --cron and --at"), (("--zone", "Mars"), "--zone"), (("--enable", "--disable"), "one of --enable")):  # fmt: skip
        ctl.refuses(2, why, "schedule", "set", "morning", *words)
    ctl.refuses(1, "there is no schedule nobody", "schedule", "set", "nobody", "--disable")


def test_what_a_schedule_cannot_be(ctl):
    assert "is made, 1 item;" in ctl.run("schedule", "add", "there", "--cron", "@daily", *LOGIN, "--company", 1).stdout
    add = ("schedule", "add", "s")
    ctl.refuses(2, "--cron is missing", *add, *LOGIN, "--company", 1)
    ctl.refuses(2, "no month of it", *add, "--cron", "0 6 31 2 *", *LOGIN, "--company", 1)
    ctl.refuses(2, "the minute must be", *add, "--cron", "60 * * * *", *LOGIN, "--company", 1)
    ctl.refuses(2, "--portal is missing", *add, "--cron", "@daily", "--action", "x.y", "--company", 1)
    ctl.refuses(2, "begin with its portal", *add, "--cron", "@daily", "--portal", "sunat", "--action", "other.login", "--company", 1)
    ctl.refuses(2, "give one of", *add, "--cron", "@daily", *LOGIN)
    ctl.refuses(2, "give one of", *add, "--cron", "@daily", *LOGIN, "--company", 1, "--stored")
    ctl.refuses(2, "--company must be", *add, "--cron", "@daily", *LOGIN, "--company", "-5")
    ctl.refuses(2, "0 to 9", *add, "--cron", "@daily", *LOGIN, "--priority", 10, "--company", 1)
    ctl.refuses(2, "http or https URL", *add, "--cron", "@daily", *LOGIN, "--callback-url", "ftp://a", "--company", 1)
    ctl.refuses(2, "a schedule's name", "schedule", "add", "a b", "--cron", "@daily", *LOGIN, "--company", 1)
    ctl.refuses(1, "there is a schedule there already; chasqui schedule remove there first, or", "schedule", "add", "there", "--cron", "@daily", *LOGIN, "--company", 1)
    ctl.refuses(1, "cannot be read", *add, "--cron", "@daily", *LOGIN, "--file", "/nowhere")
    # what batch submit refuses is refused today, not each morning
    known = "is not an action that is known here"
    daily = (*add, "--cron", "@daily", "--company", 1, "--portal")
    ctl.refuses(2, rf"--action sunat.login {known} \(did you mean sunat.menu_sol_login\?\). With --force", *daily, "sunat", "--action", "sunat.login")
    ctl.refuses(2, r"known here \(did you mean the portal sunat\?\)", *daily, "SUNAT", "--action", "SUNAT.menu_sol_login")
    ctl.refuses(2, "is not a log-in", *daily, "sunat", "--action", "sunat.buzon_list")
    ctl.refuses(2, rf"--then sunat.mailbox {known} \(did you mean sunat.buzon_list\?\)", *add, "--cron", "@daily", *LOGIN, "--company", 1, "--then", "sunat.mailbox")
    ctl.refuses(2, "is a log-in, which makes a session", *add, "--cron", "@daily", *LOGIN, "--company", 1, "--then", "sunat.menu_sol_login")
    ctl.refuses(2, "a name that is set here", *add, "--cron", "@daily", *LOGIN, "--company", 1, "--then", 'sunat.buzon_list={"epoch":1}')
    assert "is made" in ctl.run("schedule", "add", "elsewhere", "--cron", "@daily", "--portal", "x", "--action", "x.y", "--company", 1, "--force").stdout
    assert ctl.run("names", "actions").stdout.split() == ["sunat.menu_sol_login", "sunat.buzon_list"] and ctl.run("names", "portals").stdout == "sunat\n"
    for verb in ("show", "remove", "enable", "disable", "run"):
        ctl.refuses(1, "there is no schedule nobody", "schedule", verb, "nobody")


def test_items_of_a_file_are_sealed(ctl):
    file = ctl.directory / "companies.csv"
    file.write_text("company_id,usuario,clave\n7,A,canary-one\n8,B,\"canary, \"\"two\"\"\"\n7,C,again\n9,,\n")
    assert "4 items" in ctl.run("schedule", "add", "f", "--cron", "@hourly", *LOGIN, "--file", file).stdout
    rows = ctl.database.rows("SELECT idx, company_id, round, params FROM chasqui_schedule_items ORDER BY idx")
    assert [(row["idx"], row["company_id"], row["round"]) for row in rows] == [(0, 7, 0), (1, 8, 0), (2, 7, 1), (3, 9, 0)]
    assert rows[0]["params"] and b"canary" not in rows[0]["params"] and rows[3]["params"] is None
    file.write_text("company_id,clave\n7,a\nx,b\n8,c,d\n")
    ctl.refuses(1, "2 rows are not good; no schedule", "schedule", "add", "g", "--cron", "@hourly", *LOGIN, "--file", file)
    told = ctl.run("schedule", "add", "g", "--cron", "@hourly", *LOGIN, "--file", file, check=False).stderr
    assert "line 3: company_id must be" in told and "line 4: it has 3 fields" in told


def test_run_makes_a_batch_at_once(ctl):
    ctl.database.execute("INSERT INTO chasqui_credentials SELECT seq, 'sunat', 'x', NOW(6) FROM seq_1_to_5100")
    ctl.run("schedule", "add", "all", "--cron", "@yearly", *LOGIN, "--stored")
    told = ctl.json("schedule", "run", "all")
    assert told["items"] == 5100 and not told["filling"]
    assert "5,100 items" in ctl.run("schedule", "run", "all").stdout  # again: another batch
    assert [(one["status"], one["total"]) for one in batches(ctl.database)] == [("running", 5100)] * 2
    runs = ctl.json("schedule", "show", "all")["schedule"]["runs"]
    assert len(runs) == 2 and runs[0]["actor"].startswith("cli:") and runs[0]["batch_id"] == told["batch_id"] + 1
    assert ctl.json("schedule", "list")["schedules"][0]["last_batch_id"] == told["batch_id"] + 1


# --- with dispatchers ------------------------------------------------------------------------------------------------


def due_now(database, name):
    """As if this minute had been the schedule's next time."""
    database.execute("UPDATE chasqui_schedules SET next_at = FROM_UNIXTIME(UNIX_TIMESTAMP(NOW(6)) DIV 60 * 60) WHERE name = %s", name)


def test_a_schedule_runs_once_and_logs_in(make_system):
    system = make_system(dispatchers=3)
    file = system.directory / "companies.csv"
    file.write_text("company_id,ruc,usuario,clave\n" + "".join(f"{n},20{n:09},DEMO,demo\n" for n in range(1, 6)))
    system.ctl("schedule", "add", "each", "--cron", "* * * * *", *LOGIN, "--file", file)
    due_now(system.database, "each")
    wait_until(lambda: [one["status"] for one in batches(system.database)][:1] == ["done"], 30, "the batch is done")
    assert len(system.robot.sessions()) == 5
    assert all(call["body"]["usuario"] == "DEMO" for call in system.robot.calls("login"))
    first = system.database.row("SELECT * FROM chasqui_schedule_runs WHERE batch_id IS NOT NULL ORDER BY run_at LIMIT 1")
    assert first["actor"].startswith("dispatcher:dispatcher-")
    twice = "SELECT COUNT(*) FROM chasqui_batches b WHERE (SELECT COUNT(*) FROM chasqui_schedule_runs r WHERE r.batch_id = b.id) <> 1"
    assert system.database.value(twice) == 0
    wait_until(lambda: system.metric("chasqui_schedule_runs_total") >= 1, 5, "it is counted")
    system.ctl("schedule", "disable", "each")


def test_stored_credentials_decide_at_run_time(make_system):
    system = make_system()
    system.ctl("schedule", "add", "stored", "--cron", "0 6 * * *", *LOGIN, "--stored")
    for company in (11, 12):
        system.set_credentials(company, ruc=f"20{company:09}", usuario="DEMO", clave="demo")
    system.ctl("schedule", "run", "stored")
    wait_until(lambda: [one["status"] for one in batches(system.database)] == ["done"], 30, "the batch is done")
    assert sorted(one["company_id"] for one in system.robot.sessions()) == [11, 12]
    # the same by HTTP
    ops = system.ops
    one = ops.get("/api/v1/ops/schedules").expect(200).json["schedules"][0]
    assert (one["name"], one["zone"], one["stored"], one["enabled"], len(one["next"])) == ("stored", "UTC", True, True, 5)
    assert [(run["status"], run["done"], run["failed"], run["total"]) for run in one["runs"]] == [("done", 2, 0, 2)]
    made = ops.post("/api/v1/ops/schedules/stored/run", {"reason": "again"}).expect(200).json["batch_id"]
    wait_until(lambda: [run["status"] for run in ops.get("/api/v1/ops/schedules").json["schedules"][0]["runs"]] == ["done", "done"], 30, "it ran again")
    assert ops.get(f"/api/v1/ops/batches/{made}").expect(200).json["batch"]["previous"]["counts"]["done"] == 2
    assert {item["status"] for item in ops.get(f"/api/v1/ops/batches/{made}/items").expect(200).json["items"]} == {"done"}
    ops.get(f"/api/v1/ops/batches/{made}/items", query={"stat": "done"}).expect(422, "validation_failed")
    ops.get("/api/v1/ops/batches/999").expect(404, "batch_not_found")
    system.database.execute("UPDATE chasqui_batches SET status = 'open', finished_at = NULL WHERE id <> %s", made)
    assert "it has not ended: both runs go on side by side" in system.ctl("batch", "show", made).stdout
    system.database.execute("UPDATE chasqui_batches SET status = 'done', finished_at = NOW(6) WHERE id <> %s", made)
    assert ops.post("/api/v1/ops/schedules/stored/disable", {"reason": "holiday"}).expect(200).json["next_at"] is None
    assert ops.get("/api/v1/ops/schedules").json["schedules"][0]["next"] == []
    assert ops.post("/api/v1/ops/schedules/stored/enable").expect(200).json["next_at"].endswith("T06:00:00.000Z")
    ops.post("/api/v1/ops/schedules/none/run").expect(404, "not_found")
    audit = system.database.rows("SELECT action, actor, detail FROM chasqui_audit WHERE subject = 'schedule:stored' AND actor LIKE 'token:%%' ORDER BY id")
    assert [(row["action"], row["detail"]) for row in audit] == [
        ("schedule_run", f"batch {made}: again"), ("schedule_disable", "holiday"), ("schedule_enable", None)]  # fmt: skip
    system.database.execute("UPDATE chasqui_schedules SET action = 'sunat.no_such_action'")
    assert "not a log-in" in ops.post("/api/v1/ops/schedules/stored/run").expect(409, "wrong_state").json["message"]


def test_a_missed_time_is_recorded_and_not_run(make_system):
    system = make_system(ready=False, robots=0)
    system.ctl("schedule", "add", "late", "--cron", "0 6 * * *", *LOGIN, "--company", 1)
    system.database.execute("UPDATE chasqui_schedules SET cron = CONCAT(MINUTE(NOW()), ' ', HOUR(NOW()), ' * * *'), next_at = "
                            "FROM_UNIXTIME(UNIX_TIMESTAMP(NOW(6)) DIV 60 * 60) - INTERVAL 2 DAY")  # fmt: skip
    system.database.execute("UPDATE chasqui_schedules SET cron = CONCAT(MINUTE(NOW() - INTERVAL 2 HOUR), ' ', HOUR(NOW() - INTERVAL 2 HOUR), ' * * *')")
    system.start().wait_ready()
    run = wait_until(lambda: system.database.row("SELECT * FROM chasqui_schedule_runs"), 20, "it is recorded")
    assert run["batch_id"] is None and run["missed"] >= 2
    assert system.database.value("SELECT next_at > NOW() FROM chasqui_schedules") == 1
    assert batches(system.database) == []
    assert "missed" in system.ctl("schedule", "list").stdout


def test_a_dispatcher_that_dies_while_it_fills_leaves_it_to_another(make_system):
    system = make_system(robots=0, dispatchers=2)
    system.database.execute("INSERT INTO chasqui_credentials SELECT seq, 'sunat', 'x', NOW(6) FROM seq_1_to_30000")
    system.ctl("schedule", "add", "large", "--cron", "* * * * *", *LOGIN, "--stored")
    system.ctl("queue", "pause", "--reason", "only the filling is looked at")
    due_now(system.database, "large")
    wait_until(lambda: system.database.value("SELECT COUNT(*) FROM chasqui_items") > 0, 20, "it is being filled")
    for process in system.dispatchers:
        process.kill9()
    system.dispatchers[0].start()
    wait_until(lambda: batches(system.database)[0]["status"] == "running", 30, "it is whole")
    one = batches(system.database)[0]
    assert one["total"] == 30000
    assert system.database.value("SELECT COUNT(DISTINCT company_id) FROM chasqui_items WHERE batch_id = %s", one["id"]) == 30000
    system.ctl("schedule", "disable", "large")


def test_what_cannot_run_is_disabled(make_system):
    system = make_system(robots=0)
    system.ctl("schedule", "add", "gone", "--cron", "* * * * *", "--portal", "sunat", "--action", "sunat.no_such_action", "--company", 1, "--force")
    due_now(system.database, "gone")
    wait_until(lambda: not system.ctl_json("schedule", "list")["schedules"][0]["enabled"], 20, "it is disabled", every=0.2)
    assert batches(system.database) == []
    assert system.database.value("SELECT COUNT(*) FROM chasqui_audit WHERE action = 'schedule_disable'") == 1
