# SPDX-License-Identifier: MIT
"""A system with some history, for the tests that look at it and break nothing."""

from harness import MariaDB, Portal, System
from harness.wait import wait_until


class House:
    """A system that has seen some work."""

    def __init__(self, system, server):
        self.system, self.server = system, server
        self.batch = None

    def live(self):
        """Sessions, a batch that is done, jobs that failed and one that waits."""
        system = self.system
        for company in range(20101, 20109):
            system.api.login(company)
        for robot in system.robots.values():
            robot.behave("login", "status", status=422, body={"ok": False, "error": "bad_credentials", "message": "Clave incorrecta"}, company_id=20110)
        system.api.execute(20110, params={"ruc": "20110", "usuario": "D", "clave": "d"}).expect(502, "robot_error")
        items = [{"company_id": company, "params": {"ruc": str(company), "usuario": "D", "clave": "d"}} for company in range(20120, 20132)]
        told = system.api.post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login", "items": items}).expect(202).json
        self.batch = told["batch_id"]
        wait_until(lambda: system.api.get(f"/api/v1/app/batches/{self.batch}").json["batch"]["status"] == "done", 30, "the batch is done")
        system.ctl("schedule", "add", "daily", "--cron", "0 7 * * *", "--zone", "America/Lima", "--portal", "sunat", "--action", "sunat.menu_sol_login", "--company", 20120)
        return self


def built(tmp_path_factory):
    """Builds a house, yields it, and takes it down: for a fixture's `yield from`."""
    server = MariaDB(tmp_path_factory.mktemp("house-db")).start()
    portal = Portal(tmp_path_factory.mktemp("house-portal")).start()
    system = System(tmp_path_factory.mktemp("house") / "chasqui", server.create_database(), portal, dispatchers=2, settings={"alerts.every_s": 1}).setup()
    for _ in range(3):
        system.add_robot(capacity=12)
    system.start().wait_ready().wait_probed()
    yield House(system, server).live()
    wrong = system.close()
    portal.stop()
    server.close()
    assert not wrong, "\n".join(wrong)
