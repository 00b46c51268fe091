# SPDX-License-Identifier: MIT
"""The grants of packaging/laravel are enough, in the order of docs/laravel.md, and name every table."""

import re

from harness.http import Api
from harness.system import ROOT
from harness.wait import wait_until

GRANTS, COMMAND = ((ROOT / "packaging/laravel" / name).read_text() for name in ("grants.sql", "grants_command.sql"))


def test_every_table_of_ours_is_named():
    made = {name for path in (ROOT / "migrations").glob("*.sql") for name in re.findall(r"CREATE TABLE IF NOT EXISTS (chasqui_\w+)", path.read_text())}
    assert made == set(re.findall(r"ON app\.(chasqui_\w+) TO 'chasqui'@", GRANTS)) - {"chasqui_laravel_tokens"}


def test_the_documented_grants_are_enough(make_system, mariadb):
    """A dispatcher with those of its own, and the command with those of its own, do what they do."""
    system = make_system(ready=False, robots=0)
    name, ops_password = system.database.name, "Ops-of-the-test-1"
    users = {"chasqui": ("g_dispatcher", "Dispatcher-of-the-test-1"), "chasqui_ops": ("g_ops", ops_password)}

    def grant(text):
        lines = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
        for statement in filter(str.strip, lines.split(";")):
            for mine, (user, password) in users.items():
                statement = statement.replace(f"'{mine}'@'10.0.0.%'", f"'{user}'@'127.0.0.1'")
            statement = statement.replace("app.", f"`{name}`.").replace("change-me-too", ops_password).replace("change-me", users["chasqui"][1])
            mariadb.sql(statement.replace("CREATE USER IF NOT EXISTS", "CREATE OR REPLACE USER"))

    def as_user(which):
        user, password = users[which]
        file = system.directory / f"{user}.password"
        file.touch(mode=0o600)
        file.write_text(password + "\n")
        system.settings.update({"db.user": user, "db.password_file": file})

    grant(COMMAND)
    as_user("chasqui_ops")
    system.conf = system.write_conf("chasqui", system.settings)
    assert "nothing to do" in system.ctl("migrate").stdout
    for table in [row[next(iter(row))] for row in system.database.rows("SHOW TABLES LIKE 'chasqui%%'")]:
        mariadb.sql(f"DROP TABLE `{name}`.`{table}`")
    mariadb.sql(f"DROP TABLE `{name}`.portal_jobs")
    system.setup()
    grant(GRANTS)  # on tables that are there
    as_user("chasqui")
    system.dispatchers[0] = system.make("dispatcher", 0)
    as_user("chasqui_ops")
    system.add_robot()
    system.start().wait_ready().wait_probed()
    session = system.api.login(1, remember=True)
    system.api.list(session).expect(200)
    system.api.post(f"/api/v1/app/sessions/{session}/touch").expect(200)
    system.api.put("/api/v1/app/credentials", {"company_id": 5, "portal": "sunat", "credentials": {"usuario": "u"}}).expect(200)
    token = system.ops.post("/api/v1/ops/tokens", {"abilities": ["app"], "companies": [5]}).expect(201).json
    Api(system.api_url(), token["token"]).active(5).expect(404)
    system.ops.delete(f"/api/v1/ops/tokens/{token['id']}").expect(200)
    batch = system.api.batch([11, 12, 13]).expect(202).json["batch_id"]
    wait_until(lambda: system.api.get(f"/api/v1/app/batches/{batch}").json["batch"]["status"] == "done", 30, "the batch")
    system.api.close(session).expect(200)
    system.ops.get("/api/v1/ops/doctor").expect(200)
    system.ops.post("/api/v1/ops/queue/pause", {"reason": "grants", "for_s": 1}).expect(200)
    system.ctl("adopt")
    system.ctl("credentials", "list")
    healthy, told = system.doctor()
    assert healthy, told
    log = system.dispatcher.log.read_text()
    assert "denied" not in log, log[-3000:]  # MariaDB's word in 1044, 1142 and 1143
